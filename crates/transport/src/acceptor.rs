//! Loading certificates, watching their files, and handshakes.
//!
//! [`TlsAcceptor::start`] fails if anything is wrong. Later, a file that has changed is read again within [`WATCH_INTERVAL`]; if it is wrong
//! then, that is logged and the old certificate stays. Connections keep what they were opened with.

use crate::certificate;
use crate::ciphers;
use crate::keys;
use crate::settings::{CrlCheck, LoginFrom, TlsSettings, TlsVersion};
use crate::whitelist::{Whitelist, WhitelistVerifier};
use arc_swap::{ArcSwap, ArcSwapOption};
use base::tls::TlsDetails;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{
    DigitallySignedStruct, DistinguishedName, ProtocolVersion, RootCertStore, ServerConfig,
    ServerConnection, SignatureScheme, SupportedProtocolVersion, version,
};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};
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
    whitelist: ArcSwapOption<Whitelist>,
    config: ArcSwap<ServerConfig>,
}

impl TlsAcceptor {
    /// Reads all files.
    ///
    /// # Errors
    /// One is missing or wrong, or the settings do not fit together.
    pub fn start(settings: TlsSettings) -> Result<Arc<Self>, TlsError> {
        let config = load(&settings, None)?;
        Ok(Arc::new(Self {
            settings,
            whitelist: ArcSwapOption::empty(),
            config: ArcSwap::from_pointee(config),
        }))
    }

    /// From the next handshake on clients have to have a certificate that is on this list or that an authority vouches for; `None` ends that.
    ///
    /// # Errors
    /// As [`TlsAcceptor::start`]; then nothing has changed.
    pub fn set_whitelist(&self, whitelist: Option<Arc<Whitelist>>) -> Result<(), TlsError> {
        let config = load(&self.settings, whitelist.as_ref())?;
        self.whitelist.store(whitelist);
        self.config.store(Arc::new(config));
        Ok(())
    }

    /// Reads the files again; if one is wrong, what was read before stays.
    ///
    /// # Errors
    /// As [`TlsAcceptor::start`].
    pub fn reload(&self) -> Result<(), TlsError> {
        let whitelist = self.whitelist.load_full();
        let config = load(&self.settings, whitelist.as_ref())?;
        self.config.store(Arc::new(config));
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
        let files = files.into_iter().flatten().cloned();
        let directories = self.settings.crl_sources.values();
        let directories = directories.filter_map(|source| source.path.as_deref());
        // A directory that cannot be read now is told of when it is read again.
        let lists = directories.flat_map(|directory| keys::files(directory).unwrap_or_default());
        files.chain(lists).map(|path| stamp(&path)).collect()
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

fn load(
    settings: &TlsSettings,
    whitelist: Option<&Arc<Whitelist>>,
) -> Result<ServerConfig, TlsError> {
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
    let builder = match whitelist {
        Some(whitelist) => {
            let has_authorities = settings.cacertfile.is_some();
            let authorities = has_authorities.then(|| verifier(settings, Arc::clone(&provider)));
            builder.with_client_cert_verifier(Arc::new(WhitelistVerifier {
                whitelist: Arc::clone(whitelist),
                authorities: authorities.transpose()?,
                provider,
            }))
        }
        None if settings.verify_peer => {
            builder.with_client_cert_verifier(verifier(settings, provider)?)
        }
        None => builder.with_no_client_auth(),
    };
    let mut config = builder
        .with_single_cert(chain, key)
        .map_err(|error| TlsError::file(keyfile, error))?;
    config.ignore_client_order = settings.honor_cipher_order;
    // Who goes on with a session of before shows no certificate, which may be off the list by now.
    if !settings.reuse_sessions || whitelist.is_some() {
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
    let builder = match settings.crl_check {
        CrlCheck::Off => builder,
        CrlCheck::All => builder
            .with_crls(revocation_lists(settings)?)
            .enforce_revocation_expiration(),
        CrlCheck::Peer => builder
            .with_crls(revocation_lists(settings)?)
            .only_check_end_entity_revocation()
            .enforce_revocation_expiration(),
        CrlCheck::BestEffort => builder
            .with_crls(revocation_lists(settings)?)
            .allow_unknown_revocation_status(),
    };
    let inner = builder
        .build()
        .map_err(|error| TlsError::file(cacertfile, error))?;
    Ok(Arc::new(DepthVerifier {
        inner,
        depth: usize::from(settings.depth),
    }))
}

/// The lists in all places that the settings name, of which there is at least one.
fn revocation_lists(
    settings: &TlsSettings,
) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsError> {
    let mut lists = Vec::new();
    for (index, source) in &settings.crl_sources {
        let missing = || format!("ssl_options.crl_sources.{index} needs a path");
        let path = source.path.as_deref();
        let path = path.ok_or_else(|| TlsError::Settings(missing()))?;
        lists.extend(keys::revocation_lists(path)?);
    }
    if settings.crl_sources.is_empty() {
        return Err(TlsError::Settings(
            "ssl_options.crl_check needs crl_sources.1 = dir and crl_sources.1.path".to_owned(),
        ));
    }
    // Without any list rustls looks for nothing.
    if lists.is_empty() && settings.crl_check != CrlCheck::BestEffort {
        return Err(TlsError::Settings(
            "ssl_options.crl_check finds no list in crl_sources".to_owned(),
        ));
    }
    Ok(lists)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ClientTls, ClientTlsSettings, TrustedCertificate};
    use rcgen::{
        BasicConstraints, CertificateParams, CertificateRevocationListParams, IsCa, Issuer,
        KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber, date_time_ymd,
    };
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    /// Writes an authority, a server's certificate with the number 1 and a client's with the number 2.
    fn authority(directory: &Path) -> Issuer<'static, KeyPair> {
        let write = |name: &str, text: String| {
            std::fs::write(directory.join(name), text).unwrap();
        };
        let mut ca = CertificateParams::default();
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        write("ca.pem", ca.self_signed(&key).unwrap().pem());
        let issuer = Issuer::new(ca, key);
        for (name, number) in [("server", 1_u64), ("client", 2)] {
            let key = KeyPair::generate().unwrap();
            let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
            params.serial_number = Some(SerialNumber::from(number));
            let certificate = params.signed_by(&key, &issuer).unwrap();
            write(&format!("{name}.pem"), certificate.pem());
            write(&format!("{name}.key"), key.serialize_pem());
        }
        issuer
    }

    fn list(issuer: &Issuer<'static, KeyPair>, revoked: &[u64], until_year: i32) -> String {
        let revoked = revoked.iter().map(|number| RevokedCertParams {
            serial_number: SerialNumber::from(*number),
            revocation_time: date_time_ymd(2020, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2020, 1, 1),
            next_update: date_time_ymd(until_year, 1, 1),
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(issuer).unwrap().pem().unwrap()
    }

    /// Whether the client with the number 2 is let in.
    async fn is_let_in(acceptor: &TlsAcceptor, directory: &Path) -> bool {
        let mut client = ClientTlsSettings::default();
        client.tls.cacertfile = Some(directory.join("ca.pem"));
        client.tls.certfile = Some(directory.join("client.pem"));
        client.tls.keyfile = Some(directory.join("client.key"));
        let client = ClientTls::new(&client).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serve = async {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(mut accepted) = acceptor.accept(stream).await else {
                return false;
            };
            // What is refused is refused in the handshake.
            let _ = accepted.stream.write_all(&[7]).await;
            let _ = accepted.stream.shutdown().await;
            true
        };
        let ask = async {
            let stream = TcpStream::connect(address).await.unwrap();
            if let Ok(mut stream) = client.connect("localhost", stream).await {
                let _ = stream.read_u8().await;
            }
        };
        tokio::join!(serve, ask).0
    }

    /// A certificate that nobody vouches for, with its key, in the place of the client's.
    fn stranger(directory: &Path, until_year: i32) -> TrustedCertificate {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.serial_number = Some(SerialNumber::from(77_u64));
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(until_year, 1, 1);
        // As `openssl req -x509` makes them.
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        std::fs::write(directory.join("client.pem"), certificate.pem()).unwrap();
        std::fs::write(directory.join("client.key"), key.serialize_pem()).unwrap();
        TrustedCertificate::read(&directory.join("client.pem")).unwrap()
    }

    #[tokio::test]
    async fn a_certificate_on_the_whitelist_needs_nobody_who_vouches_for_it() {
        let directory = tempfile::TempDir::new().unwrap();
        let at = directory.path();
        authority(at);
        let settings = TlsSettings {
            certfile: Some(at.join("server.pem")),
            keyfile: Some(at.join("server.key")),
            ..TlsSettings::default()
        };
        let with_authority = TlsSettings {
            cacertfile: Some(at.join("ca.pem")),
            ..settings.clone()
        };
        let acceptor = TlsAcceptor::start(settings).unwrap();
        let with_authority = TlsAcceptor::start(with_authority).unwrap();
        assert!(is_let_in(&acceptor, at).await);
        let whitelist = Arc::new(Whitelist::default());
        for acceptor in [&acceptor, &with_authority] {
            let whitelist = Some(Arc::clone(&whitelist));
            acceptor.set_whitelist(whitelist).unwrap();
        }
        // An authority still vouches for its own, where there is one.
        assert!(!is_let_in(&acceptor, at).await);
        assert!(is_let_in(&with_authority, at).await);

        // Another one with the same issuer and number is another one.
        let twin = stranger(at, 4000);
        let known = stranger(at, 4000);
        assert_eq!(twin.says.issuer, known.says.issuer);
        assert_eq!(known.serial_number, "77");
        for (list, is_in) in [(vec![], false), (vec![twin], false), (vec![known], true)] {
            whitelist.replace(list.iter());
            assert_eq!(is_let_in(&acceptor, at).await, is_in);
            acceptor.reload().unwrap();
            assert_eq!(is_let_in(&acceptor, at).await, is_in);
            assert_eq!(is_let_in(&with_authority, at).await, is_in);
        }
        let expired = stranger(at, 2021);
        whitelist.replace([expired].iter());
        assert!(!is_let_in(&acceptor, at).await);
        assert!(!is_let_in(&with_authority, at).await);

        // Without the list nobody is asked for a certificate.
        acceptor.set_whitelist(None).unwrap();
        assert!(is_let_in(&acceptor, at).await);
    }

    #[test]
    fn a_file_of_the_whitelist_holds_one_certificate() {
        let directory = tempfile::TempDir::new().unwrap();
        let at = directory.path();
        authority(at);
        let ca = std::fs::read(at.join("ca.pem")).unwrap();
        assert!(TrustedCertificate::from_pem(&ca).is_ok());
        assert!(TrustedCertificate::from_pem(&ca.repeat(2)).is_err());
        assert!(TrustedCertificate::from_pem(b"nonsense").is_err());
        assert!(TrustedCertificate::read(&at.join("client.key")).is_err());
        assert!(TrustedCertificate::read(&at.join("nothing")).is_err());
    }

    #[tokio::test]
    async fn a_certificate_that_was_revoked_is_refused() {
        let directory = tempfile::TempDir::new().unwrap();
        let at = directory.path();
        let issuer = authority(at);
        let lists = at.join("lists");
        std::fs::create_dir(&lists).unwrap();
        let mut settings = TlsSettings {
            cacertfile: Some(at.join("ca.pem")),
            certfile: Some(at.join("server.pem")),
            keyfile: Some(at.join("server.key")),
            verify_peer: true,
            fail_if_no_peer_cert: true,
            ..TlsSettings::default()
        };
        settings.set("crl_check", "true").unwrap();
        assert!(TlsAcceptor::start(settings.clone()).is_err());
        let path = lists.to_str().unwrap();
        settings.set("crl_sources.1", "dir").unwrap();
        settings.set("crl_sources.1.path", path).unwrap();

        let start = |check: &str| {
            let mut settings = settings.clone();
            settings.set("crl_check", check).unwrap();
            TlsAcceptor::start(settings).unwrap()
        };
        // Without a list nobody knows, and only the best effort does without.
        assert!(is_let_in(&start("false"), at).await);
        assert!(TlsAcceptor::start(settings.clone()).is_err());
        assert!(is_let_in(&start("best_effort"), at).await);

        let file = lists.join("ca.crl");
        std::fs::write(&file, list(&issuer, &[1], 4000)).unwrap();
        let acceptor = start("peer");
        assert!(is_let_in(&acceptor, at).await);
        let stamps = acceptor.stamps();
        std::fs::write(&file, list(&issuer, &[1, 2], 4000)).unwrap();
        assert_ne!(acceptor.stamps(), stamps);
        acceptor.reload().unwrap();
        assert!(!is_let_in(&acceptor, at).await);
        assert!(!is_let_in(&start("best_effort"), at).await);

        // A list that is too old says nothing.
        std::fs::write(&file, list(&issuer, &[], 2021)).unwrap();
        assert!(!is_let_in(&start("true"), at).await);
        assert!(is_let_in(&start("best_effort"), at).await);
        // Until it is whole, the old ones stay.
        std::fs::write(&file, "nonsense").unwrap();
        assert!(acceptor.reload().is_err());
    }
}
