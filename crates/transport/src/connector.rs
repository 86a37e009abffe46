//! TLS towards servers: what the node itself connects to, such as key servers and directories.
//!
//! A server is verified unless the settings say otherwise, by `cacertfile` or else by the certificates the operating system trusts. A name
//! in a certificate may have a wildcard. Files are read once, when a [`ClientTls`] is made.

use crate::acceptor::{TlsError, provider};
use crate::keys;
use crate::settings::{TlsSettings, TlsVersion};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme,
    StreamOwned, SupportedProtocolVersion, version,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use std::fmt;
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::client::TlsStream;

/// `ssl_options` of a connection that the node opens.
#[derive(Clone, Debug, PartialEq)]
pub struct ClientTlsSettings {
    /// What servers' settings have too.
    pub tls: TlsSettings,
    /// The name that the server's certificate must have; `None` stands for the host that was connected to.
    pub server_name: Option<String>,
}

impl Default for ClientTlsSettings {
    fn default() -> Self {
        Self {
            tls: TlsSettings {
                verify_peer: true,
                ..TlsSettings::default()
            },
            server_name: None,
        }
    }
}

impl ClientTlsSettings {
    /// Sets an option by its name behind `ssl_options.`, for example `verify` or `versions.1`.
    ///
    /// # Errors
    /// What was expected, or why it cannot be.
    pub fn set(&mut self, option: &str, value: &str) -> Result<(), String> {
        match option {
            "sni" | "server_name_indication" if value == "disable" => {
                return Err("a name: the server's name is always sent".to_owned());
            }
            "sni" | "server_name_indication" => self.server_name = Some(value.to_owned()),
            // Names are always checked, and wildcards in them taken: both values are served.
            "hostname_verification" if ["wildcard", "none"].contains(&value) => {}
            "hostname_verification" => return Err("wildcard or none".to_owned()),
            "crl_check" if value == "false" => {}
            "crl_check" | "crl_sources" => {
                return Err("false: lists of revoked certificates are not read here".to_owned());
            }
            "peer_verification" => self.tls.set("verify", value)?,
            // These concern servers only.
            "fail_if_no_peer_cert" | "honor_cipher_order" | "honor_ecc_order"
                if value.parse::<bool>().is_ok() => {}
            _ => self.tls.set(option, value)?,
        }
        Ok(())
    }
}

/// TLS on a socket that blocks.
pub type TlsOverTcp = StreamOwned<ClientConnection, std::net::TcpStream>;

/// Opens TLS on sockets that are connected.
#[derive(Clone)]
pub struct ClientTls {
    config: Arc<ClientConfig>,
    server_name: Option<String>,
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTls")
            .field("server_name", &self.server_name)
            .finish_non_exhaustive()
    }
}

impl ClientTls {
    /// Reads all files.
    ///
    /// # Errors
    /// One is missing or wrong, or the settings do not fit together.
    pub fn new(settings: &ClientTlsSettings) -> Result<Self, TlsError> {
        Ok(Self {
            config: Arc::new(load(&settings.tls)?),
            server_name: settings.server_name.clone(),
        })
    }

    /// What rustls makes of the settings, for libraries that do the handshake themselves.
    pub fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.config)
    }

    /// Does the handshake on a socket that blocks, with the time limits that the socket has.
    ///
    /// # Errors
    /// As [`ClientTls::connect`].
    pub fn connect_blocking(
        &self,
        host: &str,
        mut stream: std::net::TcpStream,
    ) -> io::Result<TlsOverTcp> {
        let mut connection =
            ClientConnection::new(self.config(), self.name_of(host)?).map_err(io::Error::other)?;
        while connection.is_handshaking() {
            connection.complete_io(&mut stream)?;
        }
        Ok(StreamOwned::new(connection, stream))
    }

    /// Does the handshake; the caller bounds the time it may take. `host` is whom it connected to, without brackets.
    ///
    /// # Errors
    /// The server does not speak TLS, has no common version or suite, or is not trusted.
    pub async fn connect<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        host: &str,
        stream: S,
    ) -> io::Result<TlsStream<S>> {
        tokio_rustls::TlsConnector::from(self.config())
            .connect(self.name_of(host)?, stream)
            .await
    }

    /// The name that the server's certificate must have.
    fn name_of(&self, host: &str) -> io::Result<ServerName<'static>> {
        let name = self.server_name.as_deref().unwrap_or(host).to_owned();
        ServerName::try_from(name)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))
    }
}

fn load(settings: &TlsSettings) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(provider(settings));
    let mut versions: Vec<&'static SupportedProtocolVersion> = Vec::new();
    if settings.speaks(TlsVersion::V1_3) {
        versions.push(&version::TLS13);
    }
    if settings.speaks(TlsVersion::V1_2) {
        versions.push(&version::TLS12);
    }
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&versions)
        .map_err(|error| TlsError::Settings(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(verifier(settings, provider)?);
    let Some(certfile) = settings.certfile.as_deref() else {
        return Ok(builder.with_no_client_auth());
    };
    // Both may be in one file.
    let keyfile = settings.keyfile.as_deref().unwrap_or(certfile);
    let chain = keys::certificates(certfile)?;
    let key = keys::private_key(keyfile, settings.password.as_ref())?;
    builder
        .with_client_auth_cert(chain, key)
        .map_err(|error| TlsError::file(keyfile, error))
}

fn verifier(
    settings: &TlsSettings,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, TlsError> {
    if !settings.verify_peer {
        return Ok(Arc::new(TrustsAnybody { provider }));
    }
    let mut roots = RootCertStore::empty();
    match settings.cacertfile.as_deref() {
        Some(file) => {
            for certificate in keys::certificates(file)? {
                roots
                    .add(certificate)
                    .map_err(|error| TlsError::file(file, error))?;
            }
        }
        None => {
            // What is wrong with one of the system's certificates is no reason to trust none of the others.
            let found = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(found.certs);
        }
    }
    if roots.is_empty() {
        return Err(TlsError::Settings(
            "verify_peer needs cacertfile: the operating system trusts no certificate".to_owned(),
        ));
    }
    let inner = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map_err(|error| TlsError::Settings(error.to_string()))?;
    Ok(Arc::new(DepthVerifier {
        inner,
        depth: usize::from(settings.depth),
    }))
}

/// Uses only so many of the intermediate certificates that a server sends.
#[derive(Debug)]
struct DepthVerifier {
    inner: Arc<WebPkiServerVerifier>,
    depth: usize,
}

impl ServerCertVerifier for DepthVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let usable = intermediates.len().min(self.depth);
        let intermediates = &intermediates[..usable];
        self.inner
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// For `verify_none`: takes any certificate whose key the server has.
#[derive(Debug)]
struct TrustsAnybody {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for TrustsAnybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{TlsAcceptor, generate};
    use std::path::Path;
    use tempfile::TempDir;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    fn server_settings(directory: &Path) -> TlsSettings {
        TlsSettings {
            cacertfile: Some(directory.join("ca_certificate.pem")),
            certfile: Some(directory.join("server_certificate.pem")),
            keyfile: Some(directory.join("server_key.pem")),
            ..TlsSettings::default()
        }
    }

    /// What becomes of one connection to a server with these settings.
    async fn connect(
        server: TlsSettings,
        client: &ClientTlsSettings,
        host: &str,
    ) -> Result<u8, String> {
        let acceptor = TlsAcceptor::start(server).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serve = async {
            let (stream, _) = listener.accept().await.unwrap();
            if let Ok(mut accepted) = acceptor.accept(stream).await {
                // A client that does not trust us is gone by now.
                let _ = accepted.stream.write_all(&[7]).await;
                let _ = accepted.stream.shutdown().await;
            }
        };
        let ask = async {
            let tls = ClientTls::new(client).map_err(|error| error.to_string())?;
            let stream = TcpStream::connect(address).await.unwrap();
            let mut stream = tls
                .connect(host, stream)
                .await
                .map_err(|error| error.to_string())?;
            stream.read_u8().await.map_err(|error| error.to_string())
        };
        tokio::join!(serve, ask).1
    }

    #[tokio::test]
    async fn a_server_is_verified_unless_the_settings_say_otherwise() {
        let directory = TempDir::new().unwrap();
        let directory = directory.path();
        generate(directory, "mq.example", "alice").unwrap();
        let server = server_settings(directory);
        let ca = directory.join("ca_certificate.pem");

        let mut client = ClientTlsSettings::default();
        client.set("cacertfile", ca.to_str().unwrap()).unwrap();
        assert_eq!(connect(server.clone(), &client, "127.0.0.1").await, Ok(7));
        assert_eq!(connect(server.clone(), &client, "mq.example").await, Ok(7));
        let wrong = connect(server.clone(), &client, "other.example").await;
        assert!(wrong.unwrap_err().contains("not valid for name"));
        client.set("sni", "mq.example").unwrap();
        assert_eq!(
            connect(server.clone(), &client, "other.example").await,
            Ok(7)
        );

        let other = TempDir::new().unwrap();
        generate(other.path(), "localhost", "bob").unwrap();
        let ca = other.path().join("ca_certificate.pem");
        client.set("cacertfile", ca.to_str().unwrap()).unwrap();
        let wrong = connect(server.clone(), &client, "127.0.0.1").await;
        assert!(wrong.unwrap_err().contains("invalid peer certificate"));
        client.set("verify", "verify_none").unwrap();
        assert_eq!(connect(server, &client, "127.0.0.1").await, Ok(7));
    }

    #[tokio::test]
    async fn a_certificate_of_our_own_is_shown() {
        let directory = TempDir::new().unwrap();
        let directory = directory.path();
        generate(directory, "localhost", "alice").unwrap();
        let mut server = server_settings(directory);
        server.verify_peer = true;
        server.fail_if_no_peer_cert = true;
        let file = |name: &str| directory.join(name).to_str().unwrap().to_owned();
        let mut client = ClientTlsSettings::default();
        client
            .set("cacertfile", &file("ca_certificate.pem"))
            .unwrap();
        assert!(connect(server.clone(), &client, "127.0.0.1").await.is_err());
        client
            .set("certfile", &file("client_certificate.pem"))
            .unwrap();
        client.set("keyfile", &file("client_key.pem")).unwrap();
        assert_eq!(connect(server, &client, "127.0.0.1").await, Ok(7));
    }

    #[test]
    fn options_are_taken_or_refused_and_never_ignored() {
        let mut client = ClientTlsSettings::default();
        for (option, value) in [
            ("hostname_verification", "wildcard"),
            ("peer_verification", "verify_peer"),
            ("depth", "2"),
            ("versions.1", "tlsv1.3"),
            ("fail_if_no_peer_cert", "true"),
        ] {
            assert_eq!(client.set(option, value), Ok(()), "{option} = {value}");
        }
        for (option, value) in [
            ("hostname_verification", "strict"),
            ("sni", "disable"),
            ("psk_identity", "x"),
            ("crl_check", "peer"),
        ] {
            assert!(client.set(option, value).is_err(), "{option} = {value}");
        }
    }
}
