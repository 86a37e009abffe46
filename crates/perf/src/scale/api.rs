//! The few requests of the management API that a run needs: virtual hosts and policies, one request a connection; and somebody who
//! asks for lists. No TLS.

use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use client_amqp091::AmqpUri;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Method, Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// Largest answer that is taken: these requests have none, or an error.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// Largest list that is taken.
const LIST_BYTES_MAX: usize = 1 << 30;
/// Longest wait for an answer: deleting a virtual host takes a while.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(300);
/// Longest wait until something deleted is gone.
const GONE_TIMEOUT: Duration = Duration::from_secs(600);
/// Time between two questions whether it is.
const GONE_STEP: Duration = Duration::from_secs(1);

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

    /// Deletes an object below `/api`, if there is one, and waits until it is gone: a broker that needs long for it may hang up
    /// and stop half-way, so it is told again.
    pub(crate) async fn delete(&self, path: &str) -> anyhow::Result<()> {
        let deadline = Instant::now() + GONE_TIMEOUT;
        let mut answer = self.request(Method::DELETE, path, "").await;
        loop {
            let is_there = self.answer(Method::GET, path, "").await;
            if matches!(is_there, Ok((StatusCode::NOT_FOUND, _))) {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return answer.and_then(|()| bail!("{path} at {} does not go", self.address));
            }
            tokio::time::sleep(GONE_STEP).await;
            if answer.is_err() {
                answer = self.request(Method::DELETE, path, "").await;
            }
        }
    }

    /// A connection for many requests.
    ///
    /// # Errors
    /// The API cannot be reached.
    pub(crate) async fn connect(&self) -> anyhow::Result<Asker> {
        let stream = TcpStream::connect(&self.address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        Ok(Asker {
            api: self.clone(),
            sender,
            connection: tokio::spawn(async move { drop(connection.await) }),
        })
    }

    /// # Errors
    /// There is no answer, or another than success.
    async fn request(&self, method: Method, path: &str, body: &'static str) -> anyhow::Result<()> {
        let what = format!("{method} {path} at {}", self.address);
        let (status, text) = self.answer(method, path, body).await?;
        ensure!(status.is_success(), "{what}: {status}: {text}");
        Ok(())
    }

    async fn answer(
        &self,
        method: Method,
        path: &str,
        body: &'static str,
    ) -> anyhow::Result<(StatusCode, String)> {
        let what = format!("{method} {path} at {}", self.address);
        tokio::time::timeout(ANSWER_TIMEOUT, self.ask(method, path, body))
            .await
            .with_context(|| format!("{what}: no answer"))?
            .with_context(|| what)
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: &'static str,
    ) -> anyhow::Result<(StatusCode, String)> {
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
        Ok((status, text.unwrap_or_default()))
    }
}

/// Somebody who asks for one thing after the other.
pub(crate) struct Asker {
    api: Api,
    sender: http1::SendRequest<Full<Bytes>>,
    connection: JoinHandle<()>,
}

impl Asker {
    /// Asks for a path below `/api`; returns how long it took until the answer was there as a whole, and how long that is in bytes.
    ///
    /// # Errors
    /// There is no answer, or an error.
    pub(crate) async fn get(&mut self, path: &str) -> anyhow::Result<(Duration, usize)> {
        if self.sender.ready().await.is_err() {
            // The server ends connections that do nothing for a while.
            *self = self.api.connect().await?;
        }
        let request = Request::builder()
            .uri(format!("/api{path}"))
            .header(header::HOST, &self.api.address)
            .header(header::AUTHORIZATION, &self.api.authorization)
            .body(Full::default())?;
        let began = Instant::now();
        let answer = async {
            let response = self.sender.send_request(request).await?;
            ensure!(response.status().is_success(), "{}", response.status());
            let mut body = Limited::new(response.into_body(), LIST_BYTES_MAX);
            let mut length = 0;
            while let Some(frame) = body.frame().await {
                let frame = frame.map_err(|error| anyhow::anyhow!(error))?;
                length += frame.data_ref().map_or(0, Bytes::len);
            }
            Ok(length)
        };
        let length = tokio::time::timeout(ANSWER_TIMEOUT, answer)
            .await
            .with_context(|| format!("GET {path}: no answer"))?
            .with_context(|| format!("GET {path}"))?;
        Ok((began.elapsed(), length))
    }
}

impl Drop for Asker {
    fn drop(&mut self) {
        self.connection.abort();
    }
}
