//! Loading certificates, watching their files, and handshakes.
//!
//! [`TlsAcceptor::start`] fails if anything is wrong. Later, a file that has changed is read again within [`WATCH_INTERVAL`]; if it is wrong
//! then, that is logged and the old certificate stays. Connections keep what they were opened with.

use crate::certificate;
use crate::ciphers;
use crate::keys;
use crate::settings::{LoginFrom, TlsSettings, TlsVersion};
use arc_swap::ArcSwap;
use base::tls::TlsDetails;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{
    DigitallySignedStruct, DistinguishedName, ProtocolVersion, RootCertStore, ServerConfig,
    ServerConnection, SignatureScheme, SupportedProtocolVersion, version,
};
use rustls_pki_types::{CertificateDer, UnixTime};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use thiserror::Error;
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// How often files are looked at.
const WATCH_INTERVAL: Duration = Duration::from_secs(2);

/// What the first byte of a TLS handshake is.
const HANDSHAKE_RECORD: u8 = 22;

/// Why TLS cannot be spoken.
#[derive(Clone, Debug, Error)]
pub enum TlsError {
    /// A file is missing or wrong.
    #[error("{file}: {reason}", file = file.display())]
    File {
        /// Which.
        file: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The settings do not fit together.
    #[error("{0}")]
    Settings(String),
}

impl TlsError {
    pub(crate) fn file(path: &Path, reason: impl ToString) -> Self {
        Self::File {
            file: path.to_owned(),
            reason: reason.to_string(),
        }
    }
}

/// A socket that speaks TLS now.
pub struct Handshaken {
    /// The socket and the state of TLS on it, which may hold bytes of the client already.
    pub stream: Box<TlsStream<TcpStream>>,
    /// What was agreed on.
    pub details: TlsDetails,
}

/// Does the handshakes of a kind of listener.
pub struct TlsAcceptor {
    settings: TlsSettings,
    config: ArcSwap<ServerConfig>,
}

impl TlsAcceptor {
    /// Reads all files.
    ///
    /// # Errors
    /// One is missing or wrong, or the settings do not fit together.
    pub fn start(settings: TlsSettings) -> Result<Arc<Self>, TlsError> {
        let config = load(&settings)?;
        Ok(Arc::new(Self {
            settings,
            config: ArcSwap::from_pointee(config),
        }))
    }

    /// Reads the files again; if one is wrong, what was read before stays.
    ///
    /// # Errors
    /// As [`TlsAcceptor::start`].
    pub fn reload(&self) -> Result<(), TlsError> {
        self.config.store(Arc::new(load(&self.settings)?));
        Ok(())
    }

    /// Watches the files until the task is dropped.
    pub async fn watch(self: Arc<Self>) {
        let mut seen = self.stamps();
        let mut interval = tokio::time::interval(WATCH_INTERVAL);
        loop {
            interval.tick().await;
            let stamps = self.stamps();
            if stamps == seen {
                continue;
            }
            seen = stamps;
            match self.reload() {
                Ok(()) => tracing::info!("TLS certificates were read again"),
                Err(error) => {
                    tracing::error!(%error, "TLS certificates have changed and cannot be used; the old ones stay");
                }
            }
        }
    }

    /// When each file was changed, and its size.
    fn stamps(&self) -> Vec<Option<(SystemTime, u64)>> {
        let files = [
            &self.settings.cacertfile,
            &self.settings.certfile,
            &self.settings.keyfile,
        ];
        let stamp = |path: &PathBuf| {
            let metadata = std::fs::metadata(path).ok()?;
            Some((metadata.modified().ok()?, metadata.len()))
        };
        files.into_iter().flatten().map(stamp).collect()
    }

    /// Does the handshake of an accepted socket; the caller bounds the time it may take.
    ///
    /// # Errors
    /// The client does not speak TLS, has no common version or suite, does not trust us, or we do not trust it.
    pub async fn accept(&self, stream: TcpStream) -> io::Result<Handshaken> {
        let mut first = [0];
        if stream.peek(&mut first).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if first[0] != HANDSHAKE_RECORD {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the client does not speak TLS; is it meant for the plain port?",
            ));
        }
        let config = self.config.load_full();
        let stream = tokio_rustls::TlsAcceptor::from(config)
            .accept(stream)
            .await?;
        let details = details(stream.get_ref().1, self.settings.login_from);
        Ok(Handshaken {
            stream: Box::new(stream),
            details,
        })
    }
}

/// What a handshake has agreed on.
fn details(connection: &ServerConnection, login_from: LoginFrom) -> TlsDetails {
    let protocol = match connection.protocol_version() {
        Some(ProtocolVersion::TLSv1_2) => "tlsv1.2",
        _ => "tlsv1.3",
    };
    let (key_exchange, cipher) = connection
        .negotiated_cipher_suite()
        .map_or(("", ""), ciphers::parts);
    let certificate = connection
        .peer_certificates()
        .and_then(|chain| certificate::read(chain.first()?, login_from));
    TlsDetails {
        protocol,
        key_exchange,
        cipher,
        hash: "aead",
        certificate,
    }
}

fn load(settings: &TlsSettings) -> Result<ServerConfig, TlsError> {
    let missing = |name: &str| TlsError::Settings(format!("TLS needs ssl_options.{name}"));
    let certfile = settings.certfile.as_deref();
    let certfile = certfile.ok_or_else(|| missing("certfile"))?;
    // Both may be in one file.
    let keyfile = settings.keyfile.as_deref().unwrap_or(certfile);
    let chain = keys::certificates(certfile)?;
    let key = keys::private_key(keyfile, settings.password.as_ref())?;
    let provider = Arc::new(provider(settings));
    let mut versions: Vec<&'static SupportedProtocolVersion> = Vec::new();
    if settings.speaks(TlsVersion::V1_3) {
        versions.push(&version::TLS13);
    }
    if settings.speaks(TlsVersion::V1_2) {
        versions.push(&version::TLS12);
    }
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&versions)
        .map_err(|error| TlsError::Settings(error.to_string()))?;
    let builder = if settings.verify_peer {
        builder.with_client_cert_verifier(verifier(settings, provider)?)
    } else {
        builder.with_no_client_auth()
    };
    let mut config = builder
        .with_single_cert(chain, key)
        .map_err(|error| TlsError::file(keyfile, error))?;
    config.ignore_client_order = settings.honor_cipher_order;
    if !settings.reuse_sessions {
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    Ok(config)
}

/// The cipher suites that may be used.
pub(crate) fn provider(settings: &TlsSettings) -> CryptoProvider {
    let mut provider = aws_lc_rs::default_provider();
    if !settings.ciphers.is_empty() {
        provider.cipher_suites = settings.ciphers.values().copied().collect();
    }
    provider
}

fn verifier(
    settings: &TlsSettings,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let Some(cacertfile) = settings.cacertfile.as_deref() else {
        return Err(TlsError::Settings(
            "ssl_options.verify = verify_peer needs ssl_options.cacertfile".to_owned(),
        ));
    };
    let mut roots = RootCertStore::empty();
    for certificate in keys::certificates(cacertfile)? {
        roots
            .add(certificate)
            .map_err(|error| TlsError::file(cacertfile, error))?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let builder = if settings.fail_if_no_peer_cert {
        builder
    } else {
        builder.allow_unauthenticated()
    };
    let inner = builder
        .build()
        .map_err(|error| TlsError::file(cacertfile, error))?;
    Ok(Arc::new(DepthVerifier {
        inner,
        depth: usize::from(settings.depth),
    }))
}

/// Uses only so many of the intermediate certificates that a client sends.
#[derive(Debug)]
struct DepthVerifier {
    inner: Arc<dyn ClientCertVerifier>,
    depth: usize,
}

impl ClientCertVerifier for DepthVerifier {
    fn offer_client_auth(&self) -> bool {
        self.inner.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.inner.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let usable = intermediates.len().min(self.depth);
        self.inner
            .verify_client_cert(end_entity, &intermediates[..usable], now)
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
