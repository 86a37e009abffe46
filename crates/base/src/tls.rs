//! What is known of a connection's TLS: plain facts that frontends show and log in by.

/// The TLS of a connection, in RabbitMQ's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsDetails {
    /// `tlsv1.2` or `tlsv1.3`.
    pub protocol: &'static str,
    /// For example `ecdhe_rsa`; `any` in TLS 1.3.
    pub key_exchange: &'static str,
    /// For example `aes_256_gcm`.
    pub cipher: &'static str,
    /// The message authentication, `aead`.
    pub hash: &'static str,
    /// What the client has proved to be, if it was asked.
    pub certificate: Option<ClientCertificate>,
}

/// A client's certificate that was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The distinguished name as RFC 4514 writes it.
    pub subject: String,
    /// The same of who issued it.
    pub issuer: String,
    /// From when until when it holds.
    pub validity: String,
    /// In hexadecimal.
    pub serial_number: String,
    /// The name of the user it stands for, where it has one (`ssl_cert_login_from`).
    pub login: Option<String>,
}
