//! A small client of the HTTP API: one request a connection, answers as a whole.

use crate::Broker;
use anyhow::{Context, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long an answer may take, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// An answer.
#[derive(Clone, Debug)]
pub struct Response {
    /// Its status code.
    pub status: u16,
    /// Names in lower case, in order.
    pub headers: Vec<(String, String)>,
    /// The body, as it came.
    pub body: Vec<u8>,
}

impl Response {
    /// The first header of that name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(own, _)| own == name)
            .map(|(_, value)| value.as_str())
    }

    /// The body as JSON; null if it is empty.
    ///
    /// # Errors
    /// It is something else.
    pub fn json(&self) -> anyhow::Result<Value> {
        if self.body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&self.body)
            .with_context(|| format!("not JSON: {}", String::from_utf8_lossy(&self.body)))
    }
}

/// A user of the API.
#[derive(Clone, Debug)]
pub struct Http {
    address: SocketAddr,
    authorization: Option<String>,
}

impl Http {
    /// Guest, at a broker.
    pub fn new(broker: &Broker) -> Self {
        Self::at(broker.http_address()).login("guest", "guest")
    }

    /// Nobody, at an address.
    pub fn at(address: SocketAddr) -> Self {
        Self {
            address,
            authorization: None,
        }
    }

    /// Somebody else.
    #[must_use]
    pub fn login(&self, user: &str, password: &str) -> Self {
        let token = BASE64.encode(format!("{user}:{password}"));
        Self {
            address: self.address,
            authorization: Some(format!("Basic {token}")),
        }
    }

    /// GET of a path below `/api`, which has to succeed.
    ///
    /// # Errors
    /// It does not.
    pub fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.ok("GET", path, None)
    }

    /// PUT, which has to succeed.
    ///
    /// # Errors
    /// It does not.
    pub fn put(&self, path: &str, body: Value) -> anyhow::Result<Value> {
        self.ok("PUT", path, Some(body))
    }

    /// POST, which has to succeed.
    ///
    /// # Errors
    /// It does not.
    pub fn post(&self, path: &str, body: Value) -> anyhow::Result<Value> {
        self.ok("POST", path, Some(body))
    }

    /// DELETE, which has to succeed.
    ///
    /// # Errors
    /// It does not.
    pub fn delete(&self, path: &str) -> anyhow::Result<Value> {
        self.ok("DELETE", path, None)
    }

    fn ok(&self, method: &str, path: &str, body: Option<Value>) -> anyhow::Result<Value> {
        let response = self.request(method, path, body.as_ref())?;
        ensure!(
            (200..300).contains(&response.status),
            "{method} {path}: {} {}",
            response.status,
            String::from_utf8_lossy(&response.body)
        );
        response.json()
    }

    /// Any request to a path below `/api`.
    ///
    /// # Errors
    /// There is no answer, or none that is HTTP.
    pub fn request(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Response> {
        let body = body.map(Value::to_string).unwrap_or_default();
        self.request_with(method, path, &[], body.as_bytes())
    }

    /// The same with further headers and any body.
    ///
    /// # Errors
    /// As [`Http::request`].
    pub fn request_with(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> anyhow::Result<Response> {
        self.request_at(method, &format!("/api{path}"), headers, body)
    }

    /// The same with any path.
    ///
    /// # Errors
    /// As [`Http::request`].
    pub fn request_at(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> anyhow::Result<Response> {
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n");
        if let Some(authorization) = &self.authorization {
            head.push_str(&format!("Authorization: {authorization}\r\n"));
        }
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(&format!(
            "Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        ));
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(body);
        let answer = self.raw(&bytes)?;
        parse(&answer, method == "HEAD")
    }

    /// Sends bytes and reads until the server closes.
    ///
    /// # Errors
    /// It does not answer in time.
    pub fn raw(&self, bytes: &[u8]) -> anyhow::Result<Vec<u8>> {
        let mut stream = TcpStream::connect(self.address).context("connect to the HTTP API")?;
        stream.set_read_timeout(Some(PATIENCE))?;
        // A server that refuses a long request does not read it to its end; what it says counts.
        let _ = stream.write_all(bytes);
        let mut answer = Vec::new();
        match stream.read_to_end(&mut answer) {
            Ok(_) => {}
            Err(_) if !answer.is_empty() => {}
            Err(error) => return Err(error).context("read an HTTP answer"),
        }
        Ok(answer)
    }
}

fn parse(answer: &[u8], is_head: bool) -> anyhow::Result<Response> {
    let end = answer
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .context("no HTTP answer")?;
    let head = String::from_utf8_lossy(&answer[..end]);
    let mut lines = head.split("\r\n");
    let status = lines
        .next()
        .and_then(|line| line.split(' ').nth(1))
        .context("no status line")?
        .parse()
        .context("no status code")?;
    let headers: Vec<_> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
        .collect();
    let mut body = answer[end + 4..].to_vec();
    let is_chunked = headers
        .iter()
        .any(|(name, value)| name == "transfer-encoding" && value == "chunked");
    if is_chunked && !is_head {
        body = dechunked(&body).context("broken chunks")?;
    }
    Ok(Response {
        status,
        headers,
        body,
    })
}

fn dechunked(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = rest.windows(2).position(|window| window == b"\r\n")?;
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..line]).ok()?, 16).ok()?;
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(rest.get(line + 2..line + 2 + size)?);
        rest = rest.get(line + 2 + size + 2..)?;
    }
}
