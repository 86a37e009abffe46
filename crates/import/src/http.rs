//! As much of an HTTP client as the management APIs of both sides need: one request a connection, no TLS.

use anyhow::{Context as _, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper::{Method, Request, header};
use hyper_util::rt::TokioIo;
use serde_json::{Map, Value};
use std::str::FromStr;
use std::time::Duration;
use tokio::net::TcpStream;

/// Largest answer that is taken.
const ANSWER_BYTES_MAX: usize = 512 << 20;
/// Longest wait for an answer: a large import takes a while.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(300);
/// As much of an error as is shown.
const ERROR_CHARS_MAX: usize = 2000;

/// Where an HTTP API is and who uses it; never with a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HttpUri {
    pub(crate) user: String,
    pub(crate) host: String,
    pub(crate) port: u16,
    /// In front of `/api`.
    prefix: String,
}

impl FromStr for HttpUri {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with("https://") {
            return Err("https is not supported; use a tunnel to the HTTP listener".to_owned());
        }
        let rest = text
            .strip_prefix("http://")
            .ok_or("it should begin with http://")?;
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
                port.parse().map_err(|_| format!("bad port {port:?}"))?,
            ),
            _ => (address, 15_672),
        };
        Ok(Self {
            user: user.to_owned(),
            host: host.trim_matches(['[', ']']).to_owned(),
            port,
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
}

impl Api {
    pub(crate) fn new(uri: HttpUri, password: String) -> Self {
        Self { uri, password }
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
            user, host, port, ..
        } = &self.uri;
        tokio::time::timeout(ANSWER_TIMEOUT, self.ask(method, path, body))
            .await
            .with_context(|| format!("{host}:{port} does not answer"))?
            .with_context(|| format!("user '{user}' at {host}:{port}"))
    }

    async fn ask(&self, method: Method, path: &str, body: Bytes) -> anyhow::Result<Bytes> {
        let HttpUri {
            user,
            host,
            port,
            prefix,
        } = &self.uri;
        let stream = TcpStream::connect((host.as_str(), *port))
            .await
            .context("connect")?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let connection = tokio::spawn(connection);
        let token = BASE64.encode(format!("{user}:{}", self.password));
        let request = Request::builder()
            .method(method)
            .uri(format!("{prefix}/api{path}"))
            .header(header::HOST, format!("{host}:{port}"))
            .header(header::AUTHORIZATION, format!("Basic {token}"))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))?;
        let response = sender.send_request(request).await?;
        let status = response.status();
        let answer = Limited::new(response.into_body(), ANSWER_BYTES_MAX)
            .collect()
            .await
            .map_err(|error| anyhow::anyhow!("read the answer: {error}"))?
            .to_bytes();
        connection.abort();
        ensure!(status.is_success(), "{path}: {status}: {}", reason(&answer));
        Ok(answer)
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
        assert_eq!(
            (uri.user.as_str(), uri.host.as_str(), uri.port),
            ("ops", "::1", 8080)
        );
        assert_eq!(uri.prefix, "/mq");
        let uri: HttpUri = "http://host".parse().unwrap();
        assert_eq!((uri.user.as_str(), uri.port), ("guest", 15_672));
        for bad in ["http://a:b@host", "https://host", "host", "http://h:x"] {
            assert!(bad.parse::<HttpUri>().is_err(), "{bad}");
        }
    }
}
