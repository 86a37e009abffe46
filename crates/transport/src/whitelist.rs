//! Certificates of clients that are trusted for themselves, whoever signed them.
//!
//! A certificate is known by all of its bytes. RabbitMQ's trust store compares issuer and serial number alone, which everybody can write into a certificate of
//! their own. What keeps the list up to date is elsewhere.

use crate::certificate;
use crate::keys;
use crate::settings::LoginFrom;
use arc_swap::ArcSwap;
use base::tls::ClientCertificate;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, SignatureScheme};
use rustls_pki_types::{CertificateDer, UnixTime};
use std::collections::HashSet;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use x509_parser::prelude::{ASN1Time, FromDer as _, X509Certificate};

/// A certificate that can be in a [`Whitelist`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedCertificate {
    der: CertificateDer<'static>,
    /// What it says.
    pub says: ClientCertificate,
    /// Its number, as a decimal.
    pub serial_number: String,
}

impl TrustedCertificate {
    /// Reads the one certificate of a PEM file.
    ///
    /// # Errors
    /// The file cannot be read, or holds something else.
    pub fn read(path: &Path) -> Result<Self, String> {
        let bytes = keys::read(path).map_err(|error| error.to_string())?;
        Self::from_pem(&bytes).map_err(|reason| format!("{}: {reason}", path.display()))
    }

    /// Reads the one certificate of a PEM text.
    ///
    /// # Errors
    /// It holds something else.
    pub fn from_pem(text: &[u8]) -> Result<Self, String> {
        let der = keys::one_certificate(text)?;
        let (_, parsed) = X509Certificate::from_der(&der).map_err(|error| error.to_string())?;
        let serial_number = parsed.serial.to_string();
        let says = certificate::read(&der, LoginFrom::DistinguishedName);
        Ok(Self {
            says: says.ok_or("it is no certificate of X.509")?,
            serial_number,
            der,
        })
    }
}

/// The certificates that are trusted now.
#[derive(Default)]
pub struct Whitelist(ArcSwap<HashSet<CertificateDer<'static>>>);

impl fmt::Debug for Whitelist {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Whitelist")
            .field("length", &self.0.load().len())
            .finish()
    }
}

impl Whitelist {
    /// Trusts these and no others from the next handshake on.
    pub fn replace<'a>(&self, certificates: impl Iterator<Item = &'a TrustedCertificate>) {
        let certificates = certificates.map(|certificate| certificate.der.clone());
        self.0.store(Arc::new(certificates.collect()));
    }

    fn holds(&self, certificate: &CertificateDer<'_>) -> bool {
        self.0.load().contains(certificate)
    }
}

/// Lets in whom the certificates of `cacertfile` vouch for, and whoever is on the list. Everybody has to have a certificate.
#[derive(Debug)]
pub(crate) struct WhitelistVerifier {
    pub(crate) whitelist: Arc<Whitelist>,
    /// Without `cacertfile` only the list counts.
    pub(crate) authorities: Option<Arc<dyn ClientCertVerifier>>,
    pub(crate) provider: Arc<CryptoProvider>,
}

impl WhitelistVerifier {
    /// Whether the certificate is on the list, and its time has come and not gone.
    fn is_trusted(&self, certificate: &CertificateDer<'_>, now: UnixTime) -> bool {
        let is_valid = || {
            let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
            let now = ASN1Time::from_timestamp(i64::try_from(now.as_secs()).ok()?).ok()?;
            Some(certificate.validity().is_valid_at(now))
        };
        self.whitelist.holds(certificate) && is_valid() == Some(true)
    }
}

/// Whether an authority has taken a certificate back, or may have: then its being on the list does not help.
fn is_about_revocation(error: &rustls::Error) -> bool {
    use CertificateError::{
        ExpiredRevocationList, ExpiredRevocationListContext, Revoked, UnknownRevocationStatus,
    };
    let rustls::Error::InvalidCertificate(reason) = error else {
        return matches!(error, rustls::Error::InvalidCertRevocationList(_));
    };
    matches!(
        reason,
        Revoked
            | UnknownRevocationStatus
            | ExpiredRevocationList
            | ExpiredRevocationListContext { .. }
    )
}

impl ClientCertVerifier for WhitelistVerifier {
    fn client_auth_mandatory(&self) -> bool {
        true
    }

    /// None: a client would think that only those of these authorities are taken.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let by_authorities = match &self.authorities {
            Some(authorities) => authorities.verify_client_cert(end_entity, intermediates, now),
            None => Err(CertificateError::UnknownIssuer.into()),
        };
        match by_authorities {
            Err(error) if !is_about_revocation(&error) && self.is_trusted(end_entity, now) => {
                Ok(ClientCertVerified::assertion())
            }
            decided => decided,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
