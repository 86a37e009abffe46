//! What a web page needs of a provider to log somebody in: its endpoints, and tokens for codes.
//!
//! The page sends browsers to the authorization endpoint; the provider is asked for tokens from here, so that a client's secret never
//! reaches a browser and the page needs no access to other hosts. It keeps no tokens and does not look into them.

use crate::settings::{ProviderSettings, SetupError};
use http_client::{Client, Limits, Request, StatusCode, Url, header};
use serde_json::Value;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;
use transport::ClientTls;

/// How old a provider's description of itself may be.
const ENDPOINTS_AGE_MAX: Duration = Duration::from_secs(300);
/// What asking a provider may cost.
const LIMITS: Limits = Limits {
    timeout: Duration::from_secs(10),
    answer_bytes_max: 1 << 20,
};

/// Where a provider is asked for what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoints {
    /// Where browsers go to log in.
    pub authorization: String,
    /// Where tokens are had.
    pub token: Url,
    /// Where browsers go to log out.
    pub end_session: Option<String>,
    /// Who the provider says it is.
    pub issuer: Option<String>,
}

/// What a provider answers to a request for a token.
#[derive(Clone, Debug)]
pub struct TokenAnswer {
    /// 200, or why not.
    pub status: StatusCode,
    /// As the provider has written it.
    pub body: Value,
}

/// A provider that logs users in.
#[derive(Debug)]
pub struct LoginProvider {
    client: Client,
    settings: ProviderSettings,
    description: Option<Url>,
    known: Mutex<Option<(Instant, Endpoints)>>,
}

impl LoginProvider {
    /// The provider of these settings; it describes itself at `description`, if that is given, or where its issuer says.
    ///
    /// # Errors
    /// The settings do not fit together, or a file is missing or wrong.
    pub fn new(settings: &ProviderSettings, description: Option<Url>) -> Result<Self, SetupError> {
        let tls = ClientTls::new(&settings.https)
            .map_err(|error| SetupError::new(format!("auth_oauth2.https: {error}")))?;
        let description = match description {
            Some(url) => Some(url),
            None => settings.discovery().transpose()?,
        };
        Ok(Self {
            client: Client::new(Some(tls), LIMITS),
            settings: settings.clone(),
            description,
            known: Mutex::new(None),
        })
    }

    /// Its endpoints: those that are configured, and else those that it names itself.
    ///
    /// # Errors
    /// It cannot be asked, or names none.
    pub async fn endpoints(&self) -> Result<Endpoints, String> {
        let mut known = self.known.lock().await;
        if let Some((at, endpoints)) = known.as_ref()
            && at.elapsed() < ENDPOINTS_AGE_MAX
        {
            return Ok(endpoints.clone());
        }
        let endpoints = self.find().await?;
        *known = Some((Instant::now(), endpoints.clone()));
        Ok(endpoints)
    }

    async fn find(&self) -> Result<Endpoints, String> {
        let own = &self.settings;
        let complete = own.authorization_endpoint.is_some() && own.token_endpoint.is_some();
        let document = match &self.description {
            Some(url) if !complete => self.json(url).await?,
            _ => Value::Null,
        };
        let text = |key: &str| document.get(key).and_then(Value::as_str).map(str::to_owned);
        let configured = |url: &Option<Url>| url.as_ref().map(ToString::to_string);
        let missing = |key: &str| format!("the provider names no {key}");
        let authorization = configured(&own.authorization_endpoint)
            .or_else(|| text("authorization_endpoint"))
            .ok_or_else(|| missing("authorization_endpoint"))?;
        let token = match &own.token_endpoint {
            Some(url) => url.clone(),
            None => text("token_endpoint")
                .ok_or_else(|| missing("token_endpoint"))?
                .parse()
                .map_err(|expected| format!("token_endpoint: expected {expected}"))?,
        };
        Ok(Endpoints {
            authorization,
            token,
            end_session: configured(&own.end_session_endpoint)
                .or_else(|| text("end_session_endpoint")),
            issuer: configured(&own.issuer).or_else(|| text("issuer")),
        })
    }

    async fn json(&self, url: &Url) -> Result<Value, String> {
        let answer = self.client.get(url).await;
        let answer = answer.map_err(|error| error.to_string())?;
        if answer.status != StatusCode::OK {
            return Err(format!("{url:?}: {}", answer.status));
        }
        serde_json::from_slice(&answer.body).map_err(|_| format!("{url:?}: the answer is no JSON"))
    }

    /// Asks for a token with a form (RFC 6749, 4.1.3 and 6).
    ///
    /// # Errors
    /// The provider cannot be asked, or its answer is no JSON.
    pub async fn token(&self, form: String) -> Result<TokenAnswer, String> {
        let url = self.endpoints().await?.token;
        let request = Request::post("/")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(header::ACCEPT, "application/json")
            .body(form.into())
            .map_err(|error| error.to_string())?;
        let answer = self.client.send(&url, request).await;
        let answer = answer.map_err(|error| error.to_string())?;
        let body = serde_json::from_slice(&answer.body)
            .map_err(|_| format!("{url:?}: the answer is no JSON"))?;
        let status = answer.status;
        Ok(TokenAnswer { status, body })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    /// Answers one request; gives all of it.
    async fn serve(listener: &TcpListener, body: &str) -> String {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = vec![0; 4096];
        let mut length = 0;
        loop {
            length += stream.read(&mut request[length..]).await.unwrap();
            let text = String::from_utf8_lossy(&request[..length]).into_owned();
            let whole = text.split_once("\r\n\r\n").is_some_and(|(head, body)| {
                let announced = head
                    .lines()
                    .find_map(|line| line.strip_prefix("content-length: "));
                announced.map_or(0, |length| length.parse().unwrap()) == body.len()
            });
            if whole {
                let length = body.len();
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}");
                stream.write_all(head.as_bytes()).await.unwrap();
                return text;
            }
        }
    }

    #[tokio::test]
    async fn a_provider_names_its_endpoints_once_and_gives_tokens() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let description = format!("http://{address}/.well-known/openid-configuration");
        let description = description.parse().unwrap();
        let settings = ProviderSettings::default();
        let provider = LoginProvider::new(&settings, Some(description)).unwrap();
        let document = format!(
            "{{\"authorization_endpoint\":\"https://a/login\",\"token_endpoint\":\"http://{address}/token\"}}"
        );
        let (asked, endpoints) = tokio::join!(serve(&listener, &document), provider.endpoints());
        assert!(asked.starts_with("GET /.well-known/openid-configuration"));
        let endpoints = endpoints.unwrap();
        assert_eq!(endpoints.authorization, "https://a/login");
        assert_eq!(endpoints.end_session, None);
        assert_eq!(provider.endpoints().await.unwrap(), endpoints);

        let form = "grant_type=refresh_token".to_owned();
        let answer = "{\"access_token\":\"t\"}";
        let (asked, token) = tokio::join!(serve(&listener, answer), provider.token(form));
        assert!(asked.starts_with("POST /token"), "{asked}");
        assert!(
            asked.ends_with("\r\n\r\ngrant_type=refresh_token"),
            "{asked}"
        );
        assert_eq!(token.unwrap().body["access_token"], "t");
    }

    #[tokio::test]
    async fn what_is_configured_is_not_asked_for() {
        let settings = ProviderSettings {
            authorization_endpoint: Some("https://a/login".parse().unwrap()),
            token_endpoint: Some("https://a/token".parse().unwrap()),
            ..ProviderSettings::default()
        };
        let provider = LoginProvider::new(&settings, None).unwrap();
        assert_eq!(
            provider.endpoints().await.unwrap().authorization,
            "https://a/login"
        );
        let nothing = LoginProvider::new(&ProviderSettings::default(), None).unwrap();
        assert!(nothing.endpoints().await.is_err());
    }
}
