//! The few requests of the management API that a scale run needs: virtual hosts and policies. One request a connection, no TLS.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use client_amqp091::AmqpUri;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Method, Request, header};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// Largest answer that is taken: these requests have none, or an error.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// Longest wait for an answer: deleting a virtual host takes a while.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(300);

/// A broker's management API.
#[derive(Clone, Debug)]
pub(crate) struct Api {
    /// Host and port.
    address: String,
    authorization: String,
}

impl Api {
    /// The API at `http` with the user and password of `amqp`.
    ///
    /// # Errors
    /// It is not an address of the form `http://HOST:PORT`.
    pub(crate) fn new(http: &str, amqp: &AmqpUri) -> anyhow::Result<Self> {
        let Some(address) = http.strip_prefix("http://") else {
            bail!("{http} should begin with http://");
        };
        let token = BASE64.encode(format!("{}:{}", amqp.user, amqp.password));
        Ok(Self {
            address: address.trim_end_matches('/').to_owned(),
            authorization: format!("Basic {token}"),
        })
    }

    /// Puts an object below `/api`.
    pub(crate) async fn put(&self, path: &str, body: &'static str) -> anyhow::Result<()> {
        self.request(Method::PUT, path, body).await
    }

    /// Deletes an object below `/api`.
    pub(crate) async fn delete(&self, path: &str) -> anyhow::Result<()> {
        self.request(Method::DELETE, path, "").await
    }

    async fn request(&self, method: Method, path: &str, body: &'static str) -> anyhow::Result<()> {
        let what = format!("{method} {path} at {}", self.address);
        tokio::time::timeout(ANSWER_TIMEOUT, self.ask(method, path, body))
            .await
            .with_context(|| format!("{what}: no answer"))?
            .with_context(|| what)
    }

    async fn ask(&self, method: Method, path: &str, body: &'static str) -> anyhow::Result<()> {
        let stream = TcpStream::connect(&self.address).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let connection = tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(format!("/api{path}"))
            .header(header::HOST, &self.address)
            .header(header::AUTHORIZATION, &self.authorization)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from_static(body.as_bytes())))?;
        let response = sender.send_request(request).await?;
        let status = response.status();
        let answer = Limited::new(response.into_body(), ANSWER_BYTES_MAX);
        let answer = answer.collect().await;
        connection.abort();
        let text = answer.map(|answer| String::from_utf8_lossy(&answer.to_bytes()).into_owned());
        ensure!(
            status.is_success(),
            "{status}: {}",
            text.unwrap_or_default()
        );
        Ok(())
    }
}
