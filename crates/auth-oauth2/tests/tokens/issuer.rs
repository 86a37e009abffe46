//! An issuer that describes itself and its keys over HTTPS.

use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use transport::{TlsAcceptor, TlsSettings, generate};

/// It ends with the value.
pub(crate) struct Issuer {
    address: SocketAddr,
    directory: TempDir,
    state: Arc<Mutex<State>>,
    serving: JoinHandle<()>,
}

#[derive(Default)]
struct State {
    keys: String,
    key_requests: usize,
}

impl Issuer {
    pub(crate) async fn start(keys: Vec<Value>) -> Self {
        let directory = TempDir::new().unwrap();
        generate(directory.path(), "localhost", "nobody").unwrap();
        let acceptor = TlsAcceptor::start(TlsSettings {
            certfile: Some(directory.path().join("server_certificate.pem")),
            keyfile: Some(directory.path().join("server_key.pem")),
            ..TlsSettings::default()
        })
        .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let serving = tokio::spawn({
            let state = Arc::clone(&state);
            async move {
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    serve(&acceptor, stream, address, &state).await;
                }
            }
        });
        let issuer = Self {
            address,
            directory,
            state,
            serving,
        };
        issuer.publish(keys);
        issuer
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.address)
    }

    /// The certificate that vouches for it.
    pub(crate) fn ca_file(&self) -> PathBuf {
        self.directory.path().join("ca_certificate.pem")
    }

    pub(crate) fn publish(&self, keys: Vec<Value>) {
        self.answer_keys_with(&json!({ "keys": keys }).to_string());
    }

    pub(crate) fn answer_keys_with(&self, body: &str) {
        self.state.lock().unwrap().keys = body.to_owned();
    }

    pub(crate) fn key_requests(&self) -> usize {
        self.state.lock().unwrap().key_requests
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(
    acceptor: &TlsAcceptor,
    stream: TcpStream,
    address: SocketAddr,
    state: &Mutex<State>,
) {
    // A client that does not trust us goes.
    let Ok(accepted) = acceptor.accept(stream).await else {
        return;
    };
    let mut stream = accepted.stream;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else {
            return;
        };
        head.push(byte);
    }
    let head = String::from_utf8(head).unwrap();
    let (status, body) = match head.split(' ').nth(1).unwrap() {
        "/.well-known/openid-configuration" => {
            let issuer = format!("https://{address}");
            let document = json!({"issuer": issuer, "jwks_uri": format!("{issuer}/keys")});
            ("200 OK", document.to_string())
        }
        "/keys" => {
            let mut state = state.lock().unwrap();
            state.key_requests += 1;
            ("200 OK", state.keys.clone())
        }
        _ => ("404 Not Found", String::new()),
    };
    let answer = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    // A client that has gone does not hear the answer.
    let _ = stream.write_all(answer.as_bytes()).await;
    let _ = stream.shutdown().await;
}
