//! The management APIs of both sides, over HTTP or HTTPS: one request a connection.

use anyhow::{Context as _, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http_client::{Client, Limits, Method, Request, Url, header};
use serde_json::{Map, Value};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;
use transport::{ClientTls, ClientTlsSettings};

/// What a request may cost: a large import takes a while.
const LIMITS: Limits = Limits {
    timeout: Duration::from_secs(300),
    answer_bytes_max: 512 << 20,
};
/// As much of an error as is shown.
const ERROR_CHARS_MAX: usize = 2000;

/// Where an HTTP API is and who uses it; never with a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HttpUri {
    pub(crate) user: String,
    pub(crate) host: String,
    /// The listener, without a path.
    listener: Url,
    /// In front of `/api`.
    prefix: String,
}

impl FromStr for HttpUri {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (scheme, port_default, rest) = match text.split_once("://") {
            Some(("http", rest)) => ("http", 15_672, rest),
            Some(("https", rest)) => ("https", 15_671, rest),
            _ => return Err("it should begin with http:// or https://".to_owned()),
        };
        let (authority, prefix) = match rest.split_once('/') {
            Some((authority, path)) => (authority, path.trim_end_matches('/')),
            None => (rest, ""),
        };
        let (user, address) = authority.rsplit_once('@').unwrap_or(("guest", authority));
        if user.contains(':') {
            return Err("a password does not belong on the command line".to_owned());
        }
        let (host, port) = match address.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (
                host,
                port.parse::<u16>()
                    .map_err(|_| format!("bad port {port:?}"))?,
            ),
            _ => (address, port_default),
        };
        Ok(Self {
            user: user.to_owned(),
            host: host.trim_matches(['[', ']']).to_owned(),
            listener: format!("{scheme}://{host}:{port}/").parse()?,
            prefix: if prefix.is_empty() {
                String::new()
            } else {
                format!("/{prefix}")
            },
        })
    }
}

/// A management API.
pub(crate) struct Api {
    uri: HttpUri,
    password: String,
    client: Client,
}

impl Api {
    /// An API whose server, over HTTPS, is vouched for by a file of certificates, or by those that the operating system trusts.
    pub(crate) fn new(
        uri: HttpUri,
        password: String,
        cacertfile: Option<PathBuf>,
    ) -> anyhow::Result<Self> {
        let mut settings = ClientTlsSettings::default();
        settings.tls.cacertfile = cacertfile;
        let tls = match uri.listener.is_https() {
            true => Some(ClientTls::new(&settings)?),
            false => None,
        };
        Ok(Self {
            uri,
            password,
            client: Client::new(tls, LIMITS),
        })
    }

    pub(crate) fn password(&self) -> &str {
        &self.password
    }

    /// An object below `/api`.
    pub(crate) async fn get(&self, path: &str) -> anyhow::Result<Map<String, Value>> {
        let Value::Object(object) = self.json(path).await? else {
            bail!("{path} answers with something that is no object")
        };
        Ok(object)
    }

    /// A list below `/api`.
    pub(crate) async fn get_list(&self, path: &str) -> anyhow::Result<Vec<Value>> {
        let Value::Array(list) = self.json(path).await? else {
            bail!("{path} answers with something that is no list")
        };
        Ok(list)
    }

    async fn json(&self, path: &str) -> anyhow::Result<Value> {
        let body = self.request(Method::GET, path, Bytes::new()).await?;
        serde_json::from_slice(&body).with_context(|| format!("{path} does not answer with JSON"))
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> anyhow::Result<()> {
        let body = Bytes::from(body.to_string());
        self.request(Method::POST, path, body).await.map(drop)
    }

    async fn request(&self, method: Method, path: &str, body: Bytes) -> anyhow::Result<Bytes> {
        let HttpUri {
            user,
            listener,
            prefix,
            ..
        } = &self.uri;
        let token = BASE64.encode(format!("{user}:{}", self.password));
        let request = Request::builder()
            .method(method)
            .header(header::AUTHORIZATION, format!("Basic {token}"))
            .header(header::CONTENT_TYPE, "application/json")
            .body(body)?;
        let url = listener.with_target(&format!("{prefix}/api{path}"));
        let answer = self.client.send(&url, request).await;
        let answer = answer.with_context(|| format!("user '{user}' at {listener}"))?;
        let status = answer.status;
        ensure!(
            status.is_success(),
            "user '{user}' at {listener}: {path}: {status}: {}",
            reason(&answer.body)
        );
        Ok(answer.body)
    }
}

/// What an error's body says.
fn reason(answer: &[u8]) -> String {
    let told = serde_json::from_slice::<Value>(answer).ok();
    let told = told
        .as_ref()
        .and_then(|body| body["reason"].as_str())
        .map(str::to_owned);
    let text = told.unwrap_or_else(|| String::from_utf8_lossy(answer).into_owned());
    text.chars().take(ERROR_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris_are_read_and_passwords_refused() {
        let uri: HttpUri = "http://ops@[::1]:8080/mq/".parse().unwrap();
        assert_eq!((uri.user.as_str(), uri.host.as_str()), ("ops", "::1"));
        assert_eq!(uri.prefix, "/mq");
        assert_eq!(uri.listener.to_string(), "http://[::1]:8080/");
        let uri: HttpUri = "http://host".parse().unwrap();
        assert_eq!(uri.user, "guest");
        assert_eq!(uri.listener.to_string(), "http://host:15672/");
        let uri: HttpUri = "https://host/mq".parse().unwrap();
        assert_eq!(uri.listener.to_string(), "https://host:15671/");
        for bad in [
            "http://a:b@host",
            "ftp://host",
            "host",
            "http://h:x",
            "http://:1",
        ] {
            assert!(bad.parse::<HttpUri>().is_err(), "{bad}");
        }
    }
}
