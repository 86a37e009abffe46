//! What lies between a TCP socket and a protocol: the PROXY header and TLS.
//!
//! Settings are read by name as `rabbitmq.conf` has them ([`TlsSettings`]), certificates are loaded and watched ([`TlsAcceptor`]), and
//! a handshake gives a rustls connection, which the caller drives as it likes. [`ClientTls`] is the other side, for what the
//! node itself connects to. Nothing here knows a protocol above, listens,
//! or decides who may log in.
//!
//! RabbitMQ docs: ssl, networking#proxy-protocol.

mod acceptor;
mod certificate;
mod ciphers;
mod connector;
mod generate;
mod keys;
pub mod proxy_header;
mod settings;
mod whitelist;

pub use acceptor::{Handshaken, TlsAcceptor, TlsError};
pub use certificate::{expiry_times, shown_time};
pub use connector::{ClientTls, ClientTlsSettings, TlsOverTcp};
pub use generate::{GenerateError, generate};
pub use rustls::ServerConnection;
pub use settings::{CrlCheck, CrlSource, LoginFrom, SanType, TlsSettings, TlsVersion};
pub use tokio_rustls::server::TlsStream;
pub use whitelist::{TrustedCertificate, Whitelist};
