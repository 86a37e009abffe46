//! Logins to the web UI with OAuth 2: what its pages must know, and tokens for codes.
//!
//! The provider is asked from here, so that a client's secret stays on the node and pages load nothing from elsewhere.
//! No token is kept, and none is looked into: that happens when it comes as `Authorization: Bearer`.

use crate::call::{Answer, Call, Outcome};
use crate::error::ApiError;
use crate::json::{Json, Object, object};
use crate::query::{self, Query};
use auth_oauth2::{LoginProvider, ProviderSettings, SetupError};
use http_client::Url;
use hyper::Method;
use node::config::{LogonType, OAuthResource, Settings};
use std::collections::BTreeMap;

/// Scopes that are asked for, unless the settings say otherwise.
const SCOPES: &str = "openid profile";
/// Below a provider's address: where it describes itself (OpenID Connect Discovery).
const DESCRIPTION: &str = "/.well-known/openid-configuration";
/// Longest request for a token.
const FORM_BYTES_MAX: usize = 64 << 10;
/// What a page may say in a request for a token (RFC 6749, RFC 7636).
const OF_PAGE: [&str; 6] = [
    "grant_type",
    "code",
    "redirect_uri",
    "code_verifier",
    "refresh_token",
    "scope",
];

/// The resource servers that users may log in for, by id.
#[derive(Debug, Default)]
pub(crate) struct Logins {
    servers: BTreeMap<String, Server>,
    disable_basic_auth: bool,
}

#[derive(Debug)]
struct Server {
    own: OAuthResource,
    common: OAuthResource,
    provider_url: Url,
    provider: LoginProvider,
}

impl Logins {
    /// As the settings say; none unless they switch these logins on.
    ///
    /// # Errors
    /// What they say of a provider does not fit together, or a file is missing or wrong.
    pub(crate) fn new(settings: &Settings) -> Result<Self, SetupError> {
        let oauth = &settings.management.api.oauth;
        let mut logins = Self {
            servers: BTreeMap::new(),
            disable_basic_auth: oauth.disable_basic_auth.unwrap_or(true),
        };
        if !oauth.enabled {
            return Ok(logins);
        }
        for (id, provider) in settings.auth.oauth2.servers() {
            let mut named = oauth.resource_servers.iter();
            let own = named.find(|(name, own)| *own.id.as_ref().unwrap_or(name) == id);
            let own = own.map(|(_, own)| own.clone()).unwrap_or_default();
            if !own.disabled
                && let Some(server) = Server::new(own, &oauth.common, provider)?
            {
                logins.servers.insert(id, server);
            }
        }
        if logins.servers.is_empty() {
            tracing::warn!(
                "management.oauth_enabled: there is no resource server with a client id and a provider; users log in with passwords"
            );
        }
        Ok(logins)
    }

    fn server(&self, call: &Call) -> Result<&Server, ApiError> {
        let id: &str = call.parameter(0);
        self.servers.get(id).ok_or(ApiError::NoObject)
    }
}

impl Server {
    /// `None` if nobody can log in for it.
    fn new(
        own: OAuthResource,
        common: &OAuthResource,
        provider: &ProviderSettings,
    ) -> Result<Option<Self>, SetupError> {
        let common = common.clone();
        let url = own.provider_url.as_ref().or(common.provider_url.as_ref());
        let Some(provider_url) = url.or(provider.issuer.as_ref()).cloned() else {
            return Ok(None);
        };
        let description = own.metadata_url.as_ref().or(common.metadata_url.as_ref());
        let description = description.cloned().or_else(|| {
            let base = url?.target().trim_end_matches('/');
            Some(provider_url.with_target(&format!("{base}{DESCRIPTION}")))
        });
        let server = Self {
            provider: LoginProvider::new(provider, description)?,
            own,
            common,
            provider_url,
        };
        let can = server.logon_type() == LogonType::IdpInitiated || server.client_id().is_some();
        Ok(can.then_some(server))
    }

    fn text<'a>(&'a self, of: impl Fn(&'a OAuthResource) -> &'a Option<String>) -> Option<&'a str> {
        of(&self.own)
            .as_ref()
            .or_else(|| of(&self.common).as_ref())
            .map(String::as_str)
    }

    fn client_id(&self) -> Option<&str> {
        self.text(|from| &from.client_id)
    }

    fn logon_type(&self) -> LogonType {
        let own = self.own.initiated_logon_type;
        own.or(self.common.initiated_logon_type).unwrap_or_default()
    }

    fn item(&self, id: &str) -> Object {
        let params = [&self.common, &self.own].map(|from| &from.authorization_endpoint_params);
        let params: BTreeMap<&String, &String> = params.into_iter().flatten().collect();
        let mut of_authorization = Object::default();
        for (name, value) in params {
            of_authorization.push(name.clone(), value.clone());
        }
        let text = |text: Option<&str>| text.map(|text| Json::from(text.to_owned()));
        let mut item = object! {
            "id" => id.to_owned(),
            "label" => self.own.label.clone().unwrap_or_else(|| id.to_owned()),
            "oauth_client_id" => text(self.client_id()),
            "oauth_scopes" => self.text(|from| &from.scopes).unwrap_or(SCOPES).to_owned(),
            "oauth_response_type" => "code",
            "oauth_initiated_logon_type" => self.logon_type().as_str(),
            "oauth_provider_url" => self.provider_url.to_string(),
        };
        item.push("oauth_authorization_endpoint_params", of_authorization);
        item
    }

    /// The form that the provider gets: what the page says, and what it must not know.
    fn form(&self, of_page: &Query) -> Result<String, ApiError> {
        let grant = of_page.get("grant_type").unwrap_or_default();
        if !matches!(grant, "authorization_code" | "refresh_token") {
            return Err(ApiError::bad(
                "grant_type must be authorization_code or refresh_token",
            ));
        }
        let said = OF_PAGE
            .into_iter()
            .filter_map(|key| Some((key, of_page.get(key)?)));
        let client_id = self.client_id().map(|id| ("client_id", id));
        let secret = self.own.client_secret.as_ref();
        let secret = secret.or(self.common.client_secret.as_ref());
        let secret = secret.map(|secret| ("client_secret", secret.expose()));
        let params = [&self.common, &self.own].map(|from| &from.token_endpoint_params);
        let params = params.into_iter().flatten();
        let params = params.map(|(name, value)| (name.as_str(), value.as_str()));
        let pairs: BTreeMap<&str, &str> =
            said.chain(params).chain(client_id).chain(secret).collect();
        let pairs = pairs.into_iter().map(|(key, value)| {
            let [key, value] = [key, value].map(|text| query::encode(text.as_bytes()));
            format!("{key}={value}")
        });
        Ok(pairs.collect::<Vec<_>>().join("&"))
    }
}

/// Whether and where users log in.
pub(crate) async fn settings(call: Call) -> Outcome {
    let logins = &call.state.oauth;
    if logins.servers.is_empty() {
        return Ok(object! { "oauth_enabled" => false }.into());
    }
    let servers = logins.servers.iter();
    let servers: Vec<Object> = servers.map(|(id, server)| server.item(id)).collect();
    Ok(object! {
        "oauth_enabled" => true,
        "oauth_disable_basic_auth" => logins.disable_basic_auth,
        "oauth_resource_servers" => servers,
    }
    .into())
}

/// Where a browser is sent.
pub(crate) async fn endpoints(call: Call) -> Outcome {
    let server = call.state.oauth.server(&call)?;
    let endpoints = server.provider.endpoints().await.map_err(unreachable)?;
    let mut item = object! { "authorization_endpoint" => endpoints.authorization };
    for (key, value) in [
        ("end_session_endpoint", endpoints.end_session),
        ("issuer", endpoints.issuer),
    ] {
        if let Some(value) = value {
            item.push(key, value);
        }
    }
    Ok(item.into())
}

/// A token for a code or for a refresh token.
pub(crate) async fn token(call: Call) -> Outcome {
    debug_assert_eq!(call.method, Method::POST);
    let server = call.state.oauth.server(&call)?;
    if call.body.len() > FORM_BYTES_MAX {
        return Err(ApiError::TooLarge);
    }
    let form = Query::parse(&String::from_utf8_lossy(&call.body));
    let answer = server.provider.token(server.form(&form)?).await;
    let answer = answer.map_err(unreachable)?;
    Ok(Answer::Passed(answer.status, Json::from(&answer.body)))
}

fn unreachable(reason: String) -> ApiError {
    tracing::error!(%reason, "OAuth 2: the provider cannot be asked");
    ApiError::BadGateway("the OAuth 2 provider cannot be asked; the log says why".to_owned())
}
