//! The TLS settings of one kind of listener, as `rabbitmq.conf` names them.
//!
//! They are plain data. What a file holds is only looked at when a listener starts.

use crate::ciphers;
use rustls::SupportedCipherSuite;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

/// Intermediate certificates that may stand between a client's and one that is trusted, unless `depth` says otherwise (Erlang's
/// default).
const DEPTH_DEFAULT: u8 = 10;

/// `ssl_options` of one kind of listener.
#[derive(Clone, PartialEq)]
pub struct TlsSettings {
    /// Certificates that vouch for clients, PEM.
    pub cacertfile: Option<PathBuf>,
    /// The server's certificate and those that vouch for it, PEM.
    pub certfile: Option<PathBuf>,
    /// The server's private key, PEM.
    pub keyfile: Option<PathBuf>,
    /// What protects the private key.
    pub password: Option<KeyPassword>,
    /// Whether clients are asked for a certificate.
    pub verify_peer: bool,
    /// Whether clients must have one.
    pub fail_if_no_peer_cert: bool,
    /// Intermediate certificates between a client's and a trusted one.
    pub depth: u8,
    /// Versions by the operator's names for them; all if empty.
    pub versions: BTreeMap<String, TlsVersion>,
    /// Cipher suites in the order of the operator's numbers for them; all if empty.
    pub ciphers: BTreeMap<(u64, String), SupportedCipherSuite>,
    /// The order of the suites is the server's, not the client's.
    pub honor_cipher_order: bool,
    /// Clients may go on with a session of before.
    pub reuse_sessions: bool,
    /// Which part of a client's certificate is the user's name.
    pub login_from: LoginFrom,
    /// Whether certificates of clients may have been revoked.
    pub crl_check: CrlCheck,
    /// Where lists of revoked certificates are, by the operator's names for the places.
    pub crl_sources: BTreeMap<String, CrlSource>,
}

/// What is looked for in lists of revoked certificates (`crl_check`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CrlCheck {
    /// Nothing.
    #[default]
    Off,
    /// All certificates up to a trusted one; each has to have a list of its issuer that is not too old.
    All,
    /// The same, but only the client's own certificate.
    Peer,
    /// All certificates, as far as there are lists.
    BestEffort,
}

/// A place of lists of revoked certificates (`crl_sources`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CrlSource {
    /// A directory whose files are lists, PEM or DER; `None` until it is said.
    pub path: Option<PathBuf>,
}

/// A password that does not show.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyPassword(pub(crate) String);

impl fmt::Debug for KeyPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyPassword(…)")
    }
}

impl fmt::Debug for TlsSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsSettings")
            .field("cacertfile", &self.cacertfile)
            .field("certfile", &self.certfile)
            .field("keyfile", &self.keyfile)
            .field("verify_peer", &self.verify_peer)
            .field("fail_if_no_peer_cert", &self.fail_if_no_peer_cert)
            .finish_non_exhaustive()
    }
}

impl Default for TlsSettings {
    fn default() -> Self {
        Self {
            cacertfile: None,
            certfile: None,
            keyfile: None,
            password: None,
            verify_peer: false,
            fail_if_no_peer_cert: false,
            depth: DEPTH_DEFAULT,
            versions: BTreeMap::new(),
            ciphers: BTreeMap::new(),
            honor_cipher_order: true,
            reuse_sessions: true,
            login_from: LoginFrom::DistinguishedName,
            crl_check: CrlCheck::Off,
            crl_sources: BTreeMap::new(),
        }
    }
}

/// A version of TLS that is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum TlsVersion {
    V1_2,
    V1_3,
}

/// Which part of a client's certificate is the user's name (`ssl_cert_login_from`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginFrom {
    /// All of the subject.
    DistinguishedName,
    /// Its common names, with commas between them.
    CommonName,
    /// The alternative name of this kind and index among its kind.
    SubjectAlternativeName(SanType, usize),
}

/// A kind of alternative name (`ssl_cert_login_san_type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum SanType {
    Dns,
    Ip,
    Email,
    Uri,
    OtherName,
}

impl SanType {
    /// Reads a value of `ssl_cert_login_san_type`.
    ///
    /// # Errors
    /// What was expected.
    pub fn parse(value: &str) -> Result<Self, String> {
        match value {
            "dns" => Ok(Self::Dns),
            "ip" => Ok(Self::Ip),
            "email" => Ok(Self::Email),
            "uri" => Ok(Self::Uri),
            "other_name" => Ok(Self::OtherName),
            _ => Err("dns, ip, email, uri or other_name".to_owned()),
        }
    }
}

/// Options that have no effect for a reason that holds whatever their value: this TLS has no such thing to tune.
const WITHOUT_EFFECT: [&str; 4] = [
    "bypass_pem_cache",
    "log_alert",
    "log_level",
    "secure_renegotiate",
];

impl TlsSettings {
    /// Sets an option by its name behind `ssl_options.`, for example `verify` or `versions.1`.
    ///
    /// # Errors
    /// What was expected, or why it cannot be.
    pub fn set(&mut self, option: &str, value: &str) -> Result<(), String> {
        let (name, chosen) = option.split_once('.').unwrap_or((option, ""));
        match name {
            "cacertfile" => self.cacertfile = Some(path(value)?),
            "certfile" => self.certfile = Some(path(value)?),
            "keyfile" => self.keyfile = Some(path(value)?),
            "password" => self.password = Some(KeyPassword(value.to_owned())),
            "verify" => {
                self.verify_peer = match value {
                    "verify_peer" => true,
                    "verify_none" => false,
                    _ => return Err("verify_peer or verify_none".to_owned()),
                }
            }
            "fail_if_no_peer_cert" => self.fail_if_no_peer_cert = boolean(value)?,
            "depth" => self.depth = value.parse().map_err(|_| "a number from 0 to 255")?,
            "versions" => {
                let version = version(value)?;
                self.versions.insert(chosen.to_owned(), version);
            }
            "ciphers" => {
                let suite = ciphers::by_name(value).ok_or_else(ciphers::expected)?;
                let order = chosen.parse().unwrap_or(u64::MAX);
                self.ciphers.insert((order, chosen.to_owned()), suite);
            }
            "honor_cipher_order" => self.honor_cipher_order = boolean(value)?,
            "reuse_sessions" => self.reuse_sessions = boolean(value)?,
            "honor_ecc_order" if boolean(value)? => {}
            "honor_ecc_order" => return Err("true: the server's order of curves counts".to_owned()),
            "client_renegotiation" if !boolean(value)? => {}
            "client_renegotiation" => {
                return Err("false: there is no renegotiation".to_owned());
            }
            "crl_check" => {
                self.crl_check = match value {
                    "false" => CrlCheck::Off,
                    "true" => CrlCheck::All,
                    "peer" => CrlCheck::Peer,
                    "best_effort" => CrlCheck::BestEffort,
                    _ => return Err("true, false, peer or best_effort".to_owned()),
                }
            }
            "crl_sources" => self.set_crl_source(chosen, value)?,
            name if WITHOUT_EFFECT.contains(&name) => {}
            _ => return Err(format!("no value: TLS option {name} is not supported")),
        }
        Ok(())
    }

    /// `1` is what kind of place it is, `1.path` where.
    fn set_crl_source(&mut self, option: &str, value: &str) -> Result<(), String> {
        let (index, field) = option.split_once('.').unwrap_or((option, ""));
        let source = self.crl_sources.entry(index.to_owned()).or_default();
        match (field, value) {
            ("", "dir") => {}
            ("path", _) => source.path = Some(path(value)?),
            _ => return Err("dir and its path: lists are not fetched".to_owned()),
        }
        Ok(())
    }

    /// Whether a version may be spoken.
    pub(crate) fn speaks(&self, version: TlsVersion) -> bool {
        self.versions.is_empty() || self.versions.values().any(|one| *one == version)
    }
}

fn path(value: &str) -> Result<PathBuf, String> {
    if value.is_empty() {
        Err("a path".to_owned())
    } else {
        Ok(PathBuf::from(value))
    }
}

fn boolean(value: &str) -> Result<bool, String> {
    value.parse().map_err(|_| "true or false".to_owned())
}

fn version(value: &str) -> Result<TlsVersion, String> {
    match value {
        "tlsv1.2" => Ok(TlsVersion::V1_2),
        "tlsv1.3" => Ok(TlsVersion::V1_3),
        "tlsv1" | "tlsv1.1" | "sslv3" => {
            Err("tlsv1.2 or tlsv1.3: older versions are broken and not spoken".to_owned())
        }
        _ => Err("tlsv1.2 or tlsv1.3".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_taken_or_refused_and_never_ignored() {
        let mut settings = TlsSettings::default();
        for (option, value) in [
            ("cacertfile", "/ca.pem"),
            ("verify", "verify_peer"),
            ("fail_if_no_peer_cert", "true"),
            ("depth", "2"),
            ("versions.1", "tlsv1.3"),
            ("ciphers.1", "TLS_AES_256_GCM_SHA384"),
            ("ciphers.2", "ECDHE-RSA-AES128-GCM-SHA256"),
            ("ciphers.3", "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"),
            ("client_renegotiation", "false"),
            ("secure_renegotiate", "true"),
            ("crl_check", "peer"),
            ("crl_sources.1", "dir"),
            ("crl_sources.1.path", "/crl"),
        ] {
            assert_eq!(settings.set(option, value), Ok(()), "{option} = {value}");
        }
        assert!(settings.verify_peer && settings.fail_if_no_peer_cert);
        assert!(settings.speaks(TlsVersion::V1_3) && !settings.speaks(TlsVersion::V1_2));
        assert_eq!(settings.ciphers.len(), 3);
        for (option, value) in [
            ("verify", "yes"),
            ("versions.1", "tlsv1.1"),
            ("versions.1", "x"),
            ("ciphers.1", "RC4-MD5"),
            ("client_renegotiation", "true"),
            ("crl_check", "always"),
            ("crl_sources.1", "http"),
            ("crl_sources.1.timeout", "5"),
            ("psk_identity", "x"),
            ("depth", "-1"),
            ("dhfile", "/x"),
        ] {
            assert!(settings.set(option, value).is_err(), "{option} = {value}");
        }
    }

    #[test]
    fn the_password_does_not_show() {
        let mut settings = TlsSettings::default();
        settings.set("password", "canary").unwrap();
        assert!(!format!("{settings:?} {:?}", settings.password).contains("canary"));
    }
}
