//! As much of an HTTP client as the node needs for others' services: HTTP/1.1 and HTTPS, one request a connection.
//!
//! It follows no redirects, keeps no cookies and no connections, and knows nothing of what is asked. Time and the size of an answer are
//! bounded by [`Limits`].

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HOST};
use hyper_util::rt::TokioIo;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use transport::ClientTls;

pub use hyper::{Method, Request, StatusCode, header};

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum HttpError {
    /// It took longer than [`Limits::timeout`].
    #[error("{0} does not answer in time")]
    Timeout(String),
    /// The server cannot be reached, or is not trusted.
    #[error("connect to {address}: {source}")]
    Connect {
        /// Host and port.
        address: String,
        /// What the operating system or TLS said.
        source: std::io::Error,
    },
    /// The server does not speak HTTP, or its answer is cut off or longer than [`Limits::answer_bytes_max`].
    #[error("{address}: {reason}")]
    Answer {
        /// Host and port.
        address: String,
        /// What is wrong.
        reason: String,
    },
    /// The address begins with `https:` and there are no settings of TLS.
    #[error("{0} is HTTPS, and TLS is not configured")]
    NoTls(String),
}

/// An address that begins with `http://` or `https://`.
#[derive(Clone, PartialEq, Eq)]
pub struct Url {
    https: bool,
    /// Without brackets.
    host: String,
    port: u16,
    /// Path and query.
    target: String,
}

impl Url {
    /// Whether TLS is spoken.
    pub fn is_https(&self) -> bool {
        self.https
    }

    /// Path and query.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// The same server with another path and query, which begins with a slash.
    #[must_use]
    pub fn with_target(&self, target: &str) -> Self {
        Self {
            target: target.to_owned(),
            ..self.clone()
        }
    }

    /// Host and port as `Host` and messages have them.
    fn authority(&self) -> String {
        let default = if self.https { 443 } else { 80 };
        let host = if self.host.contains(':') {
            format!("[{}]", self.host)
        } else {
            self.host.clone()
        };
        if self.port == default {
            host
        } else {
            format!("{host}:{}", self.port)
        }
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.https { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority(), self.target)
    }
}

/// Without the query, which may hold secrets.
impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.target.split('?').next().unwrap_or_default();
        f.write_str(&self.with_target(path).to_string())
    }
}

impl FromStr for Url {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || "an address such as https://host:port/path".to_owned();
        let uri: hyper::Uri = text.parse().map_err(|_| expected())?;
        let https = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(expected()),
        };
        let authority = uri.authority().ok_or_else(expected)?;
        if authority.as_str().contains('@') {
            return Err("an address without user and password".to_owned());
        }
        let host = authority.host().trim_matches(['[', ']']);
        if host.is_empty() {
            return Err(expected());
        }
        let target = uri.path_and_query().map_or("/", |target| target.as_str());
        Ok(Self {
            https,
            host: host.to_owned(),
            port: authority.port_u16().unwrap_or(if https { 443 } else { 80 }),
            target: target.to_owned(),
        })
    }
}

/// What one request may cost.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// From the first packet to the last.
    pub timeout: Duration,
    /// Longest body of an answer.
    pub answer_bytes_max: usize,
}

/// What a server has said.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: header::HeaderMap,
    /// The body.
    pub body: Bytes,
}

/// Asks servers.
#[derive(Clone, Debug)]
pub struct Client {
    tls: Option<ClientTls>,
    limits: Limits,
    /// From the first packet until the server can be asked; never more than [`Limits::timeout`].
    connect_timeout: Duration,
}

impl Client {
    /// One that asks over HTTPS only if there is TLS.
    pub fn new(tls: Option<ClientTls>, limits: Limits) -> Self {
        Self {
            tls,
            limits,
            connect_timeout: limits.timeout,
        }
    }

    /// The same, that gives up when a server cannot be reached for this long.
    #[must_use]
    pub fn with_connect_timeout(self, connect_timeout: Duration) -> Self {
        Self {
            connect_timeout,
            ..self
        }
    }

    /// Asks for what is at an address.
    ///
    /// # Errors
    /// There is no answer. An answer with any status is one.
    pub async fn get(&self, url: &Url) -> Result<Answer, HttpError> {
        self.send(url, Request::new(Bytes::new())).await
    }

    /// Sends a request to an address, whose path and query take the place of the request's own.
    ///
    /// # Errors
    /// There is no answer. An answer with any status is one.
    pub async fn send(&self, url: &Url, request: Request<Bytes>) -> Result<Answer, HttpError> {
        tokio::time::timeout(self.limits.timeout, self.ask(url, request))
            .await
            .map_err(|_| HttpError::Timeout(url.authority()))?
    }

    async fn ask(&self, url: &Url, request: Request<Bytes>) -> Result<Answer, HttpError> {
        let failed = |source| HttpError::Connect {
            address: url.authority(),
            source,
        };
        let connect = TcpStream::connect((url.host.as_str(), url.port));
        let stream = tokio::time::timeout(self.connect_timeout, connect)
            .await
            .map_err(|_| HttpError::Timeout(url.authority()))?
            .map_err(failed)?;
        if !url.https {
            return self.exchange(url, request, stream).await;
        }
        let tls = self.tls.as_ref();
        let tls = tls.ok_or_else(|| HttpError::NoTls(url.authority()))?;
        let stream = tls.connect(&url.host, stream).await.map_err(failed)?;
        self.exchange(url, request, stream).await
    }

    async fn exchange<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
        &self,
        url: &Url,
        request: Request<Bytes>,
        stream: S,
    ) -> Result<Answer, HttpError> {
        let failed = |reason: String| HttpError::Answer {
            address: url.authority(),
            reason,
        };
        let (mut parts, body) = request.into_parts();
        let invalid = "the request cannot be written";
        parts.uri = url.target.parse().map_err(|_| failed(invalid.to_owned()))?;
        let host = url.authority().parse();
        let host = host.map_err(|_| failed(invalid.to_owned()))?;
        parts.headers.insert(HOST, host);
        let close = header::HeaderValue::from_static("close");
        parts.headers.insert(CONNECTION, close);

        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| failed(error.to_string()))?;
        let exchange = async {
            let request = Request::from_parts(parts, Full::new(body));
            let answer = sender
                .send_request(request)
                .await
                .map_err(|error| failed(error.to_string()))?;
            let (parts, body) = answer.into_parts();
            let body = Limited::new(body, self.limits.answer_bytes_max)
                .collect()
                .await
                .map_err(|error| failed(error.to_string()))?
                .to_bytes();
            Ok(Answer {
                status: parts.status,
                headers: parts.headers,
                body,
            })
        };
        // The connection is driven here, so that nothing is left of it when the caller gives up.
        let drive = async {
            let _ = connection.await;
            std::future::pending::<()>().await;
        };
        tokio::select! {
            answer = exchange => answer,
            () = drive => unreachable!("it never ends"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use transport::{ClientTlsSettings, TlsAcceptor, TlsSettings, generate};

    const LIMITS: Limits = Limits {
        timeout: Duration::from_secs(20),
        answer_bytes_max: 16,
    };

    async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        String::from_utf8(head).unwrap()
    }

    /// Answers one request on plain TCP; gives its head.
    async fn serve(listener: &TcpListener, answer: &str) -> String {
        let (mut stream, _) = listener.accept().await.unwrap();
        let head = read_head(&mut stream).await;
        stream.write_all(answer.as_bytes()).await.unwrap();
        head
    }

    #[test]
    fn addresses_are_read() {
        for (text, shown) in [
            ("https://host", "https://host/"),
            ("https://host:443/a?b=c", "https://host/a?b=c"),
            ("http://[::1]:8080/x", "http://[::1]:8080/x"),
            ("http://127.0.0.1:80", "http://127.0.0.1/"),
        ] {
            assert_eq!(text.parse::<Url>().unwrap().to_string(), shown);
        }
        for bad in ["host", "ftp://host", "https://", "https://u:p@host/", "/x"] {
            assert!(bad.parse::<Url>().is_err(), "{bad}");
        }
        let secret: Url = "https://host/a?token=canary".parse().unwrap();
        assert_eq!(format!("{secret:?}"), "https://host/a");
    }

    #[tokio::test]
    async fn an_answer_comes_with_its_status_and_body() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let url: Url = format!("http://{address}/a?b").parse().unwrap();
        let client = Client::new(None, LIMITS);
        let answer = "HTTP/1.1 404 Not Found\r\ncontent-length: 3\r\n\r\nno!";
        let (head, answer) = tokio::join!(serve(&listener, answer), client.get(&url));
        assert!(head.starts_with("GET /a?b HTTP/1.1\r\n"), "{head}");
        assert!(head.contains(&format!("host: {address}\r\n")), "{head}");
        let answer = answer.unwrap();
        assert_eq!(answer.status, StatusCode::NOT_FOUND);
        assert_eq!(&answer.body[..], b"no!");
    }

    #[tokio::test]
    async fn a_long_or_broken_answer_is_an_error() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let url: Url = format!("http://{address}/").parse().unwrap();
        let client = Client::new(None, LIMITS);
        for answer in [
            "HTTP/1.1 200 OK\r\ncontent-length: 17\r\n\r\n12345678901234567",
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n123",
            "SSH-2.0-OpenSSH\r\n\r\n",
            "",
        ] {
            let (_, answer) = tokio::join!(serve(&listener, answer), client.get(&url));
            assert!(
                matches!(answer, Err(HttpError::Answer { .. })),
                "{answer:?}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_is_silent_is_left() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let url: Url = format!("http://{address}/").parse().unwrap();
        let answer = Client::new(None, LIMITS).get(&url).await;
        assert!(matches!(answer, Err(HttpError::Timeout(_))), "{answer:?}");
    }

    #[tokio::test]
    async fn https_is_spoken_with_servers_that_are_trusted() {
        let directory = tempfile::TempDir::new().unwrap();
        let directory = directory.path();
        generate(directory, "localhost", "alice").unwrap();
        let acceptor = TlsAcceptor::start(TlsSettings {
            certfile: Some(directory.join("server_certificate.pem")),
            keyfile: Some(directory.join("server_key.pem")),
            ..TlsSettings::default()
        })
        .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let url: Url = format!("https://{address}/keys").parse().unwrap();
        let serve = async {
            let (stream, _) = listener.accept().await.unwrap();
            let mut stream = acceptor.accept(stream).await.unwrap().stream;
            let head = read_head(&mut stream).await;
            let answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
            stream.write_all(answer.as_bytes()).await.unwrap();
            stream.flush().await.unwrap();
            head
        };
        let mut settings = ClientTlsSettings::default();
        settings.tls.cacertfile = Some(directory.join("ca_certificate.pem"));
        let client = Client::new(Some(ClientTls::new(&settings).unwrap()), LIMITS);
        let (head, answer) = tokio::join!(serve, client.get(&url));
        assert!(head.starts_with("GET /keys HTTP/1.1\r\n"));
        assert_eq!(&answer.unwrap().body[..], b"ok");

        let without = Client::new(None, LIMITS);
        let (accepted, refused) = tokio::join!(listener.accept(), without.get(&url));
        accepted.unwrap();
        assert!(matches!(refused, Err(HttpError::NoTls(_))));
    }
}
