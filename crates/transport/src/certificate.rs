//! What a client's certificate says, in RabbitMQ's words, and whom it stands for.
//!
//! The certificate was verified before. RFC 4514 for names; RabbitMQ docs: ssl, access-control#certificate-authentication.

use crate::acceptor::TlsError;
use crate::keys;
use crate::settings::{LoginFrom, SanType};
use base::tls::ClientCertificate;
use rustls_pki_types::CertificateDer;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;
use x509_parser::prelude::{ASN1Time, FromDer as _, GeneralName, X509Certificate, X509Name};

/// Object identifiers of a name's parts and how they are written.
const ATTRIBUTES: [(&str, &str); 17] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.4", "SN"),
    ("2.5.4.5", "SERIALNUMBER"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.9", "STREET"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.12", "TITLE"),
    ("2.5.4.42", "GIVENNAME"),
    ("2.5.4.43", "INITIALS"),
    ("2.5.4.44", "GENERATIONQUALIFIER"),
    ("2.5.4.65", "PSEUDONYM"),
    ("0.9.2342.19200300.100.1.1", "UID"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("1.2.840.113549.1.9.1", "EMAILADDRESS"),
];

/// Reads a certificate; `None` if it is none.
pub(crate) fn read(
    certificate: &CertificateDer<'_>,
    login_from: LoginFrom,
) -> Option<ClientCertificate> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let validity = certificate.validity();
    Some(ClientCertificate {
        subject: distinguished_name(certificate.subject()),
        issuer: distinguished_name(certificate.issuer()),
        validity: format!(
            "{} - {}",
            time(validity.not_before),
            time(validity.not_after)
        ),
        serial_number: format!("{:X}", certificate.serial),
        login: login(&certificate, login_from),
    })
}

/// When each certificate of a PEM file ceases to hold, in seconds since 1970.
///
/// # Errors
/// The file cannot be read or holds something else.
pub fn expiry_times(file: &Path) -> Result<Vec<i64>, TlsError> {
    let chain = keys::certificates(file)?;
    let ends = chain.iter().map(|certificate| {
        let (_, certificate) =
            X509Certificate::from_der(certificate).map_err(|error| TlsError::file(file, error))?;
        Ok(certificate.validity().not_after.timestamp())
    });
    ends.collect()
}

/// A time in seconds since 1970 as RabbitMQ's health check shows it.
pub fn shown_time(seconds: i64) -> String {
    ASN1Time::from_timestamp(seconds).map_or_else(
        |_| seconds.to_string(),
        |at| time(at).replace('T', " ").replace('Z', ""),
    )
}

fn login(certificate: &X509Certificate<'_>, from: LoginFrom) -> Option<String> {
    match from {
        LoginFrom::DistinguishedName => Some(distinguished_name(certificate.subject())),
        LoginFrom::CommonName => {
            let names: Vec<_> = certificate
                .subject()
                .iter_common_name()
                .filter_map(|name| name.attr_value().as_str_like())
                .collect();
            (!names.is_empty()).then(|| names.join(","))
        }
        LoginFrom::SubjectAlternativeName(kind, index) => certificate
            .subject_alternative_name()
            .ok()??
            .value
            .general_names
            .iter()
            .filter_map(|name| alternative_name(name, kind))
            .nth(index),
    }
}

/// The name, if it is of this kind.
fn alternative_name(name: &GeneralName<'_>, kind: SanType) -> Option<String> {
    match (name, kind) {
        (GeneralName::DNSName(name), SanType::Dns)
        | (GeneralName::RFC822Name(name), SanType::Email)
        | (GeneralName::URI(name), SanType::Uri) => Some((*name).to_owned()),
        (GeneralName::IPAddress(bytes), SanType::Ip) => {
            if let Ok(bytes) = <[u8; 4]>::try_from(*bytes) {
                return Some(Ipv4Addr::from(bytes).to_string());
            }
            let bytes = <[u8; 16]>::try_from(*bytes).ok()?;
            Some(Ipv6Addr::from(bytes).to_string())
        }
        (GeneralName::OtherName(_, value), SanType::OtherName) => {
            // An explicit tag around a string: two headers of two bytes for names of up to 125 bytes.
            let text = value.get(4..).unwrap_or_default();
            let text = std::str::from_utf8(text).ok()?;
            let text: String = text.chars().filter(|c| !c.is_control()).collect();
            (!text.is_empty()).then_some(text)
        }
        _ => None,
    }
}

/// The parts from last to first.
fn distinguished_name(name: &X509Name<'_>) -> String {
    let parts: Vec<String> = name
        .iter_rdn()
        .map(|rdn| {
            let attributes: Vec<String> = rdn
                .iter()
                .map(|attribute| {
                    let id = attribute.attr_type().to_id_string();
                    let known = ATTRIBUTES.iter().find(|(known, _)| *known == id);
                    let label = known.map_or(id.as_str(), |(_, label)| *label);
                    let value = attribute.attr_value().as_str_like().unwrap_or_default();
                    format!("{label}={}", escaped(&value))
                })
                .collect();
            attributes.join("+")
        })
        .collect();
    parts.into_iter().rev().collect::<Vec<_>>().join(",")
}

/// A value as RFC 4514 writes it; what is not printable ASCII as the hexadecimal form of its bytes.
fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    let last = value.len().saturating_sub(1);
    for (index, byte) in value.bytes().enumerate() {
        match byte {
            b' ' | b'#' if index == 0 => {
                text.push('\\');
                text.push(char::from(byte));
            }
            b' ' if index == last => text.push_str("\\ "),
            b'"' | b'+' | b',' | b';' | b'<' | b'>' | b'\\' => {
                text.push('\\');
                text.push(char::from(byte));
            }
            0..32 | 126.. => {
                let _ = write!(text, "\\{byte:02X}");
            }
            _ => text.push(char::from(byte)),
        }
    }
    text
}

fn time(time: ASN1Time) -> String {
    let at = time.to_datetime();
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z",
        at.year(),
        u8::from(at.month()),
        at.day(),
        at.hour(),
        at.minute(),
        at.second()
    )
}

/// Text of any of the kinds of string.
trait StringLike {
    fn as_str_like(&self) -> Option<String>;
}

impl StringLike for x509_parser::der_parser::asn1_rs::Any<'_> {
    fn as_str_like(&self) -> Option<String> {
        use x509_parser::der_parser::asn1_rs::Tag;
        match self.tag() {
            Tag::BmpString => {
                let units: Vec<u16> = self
                    .data
                    .chunks_exact(2)
                    .map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
                    .collect();
                String::from_utf16(&units).ok()
            }
            Tag::T61String => Some(self.data.iter().map(|byte| char::from(*byte)).collect()),
            _ => std::str::from_utf8(self.data).ok().map(str::to_owned),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType as San};

    fn certificate() -> CertificateDer<'static> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CountryName, "DE");
        params
            .distinguished_name
            .push(DnType::OrganizationName, "A, B & Söhne");
        params.distinguished_name.push(DnType::CommonName, "alice");
        params.subject_alt_names = vec![
            San::DnsName("a.example".try_into().unwrap()),
            San::DnsName("b.example".try_into().unwrap()),
            San::Rfc822Name("alice@example".try_into().unwrap()),
            San::URI("urn:alice".try_into().unwrap()),
            San::IpAddress([10, 0, 0, 1].into()),
        ];
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().clone()
    }

    #[test]
    fn names_are_written_as_rabbitmq_writes_them() {
        let read = read(&certificate(), LoginFrom::DistinguishedName).unwrap();
        assert_eq!(read.subject, r"CN=alice,O=A\, B & S\C3\B6hne,C=DE");
        assert_eq!(read.login.as_deref(), Some(&*read.subject));
        assert_eq!(read.validity, "1975-01-01T00:00:00Z - 4096-01-01T00:00:00Z");
    }

    #[test]
    fn a_login_is_the_part_that_was_asked_for() {
        let login = |from| read(&certificate(), from).unwrap().login;
        let san = |kind, index| login(LoginFrom::SubjectAlternativeName(kind, index));
        assert_eq!(login(LoginFrom::CommonName).as_deref(), Some("alice"));
        assert_eq!(san(SanType::Dns, 1).as_deref(), Some("b.example"));
        assert_eq!(san(SanType::Dns, 2), None);
        assert_eq!(san(SanType::Email, 0).as_deref(), Some("alice@example"));
        assert_eq!(san(SanType::Uri, 0).as_deref(), Some("urn:alice"));
        assert_eq!(san(SanType::Ip, 0).as_deref(), Some("10.0.0.1"));
        assert_eq!(san(SanType::OtherName, 0), None);
    }

    #[test]
    fn what_is_no_certificate_is_nobodys() {
        assert_eq!(
            read(&CertificateDer::from(vec![1, 2, 3]), LoginFrom::CommonName),
            None
        );
    }

    #[test]
    fn special_characters_are_escaped() {
        assert_eq!(escaped(" #a b "), r"\ #a b\ ");
        assert_eq!(escaped("#1"), r"\#1");
        assert_eq!(escaped("<a;b\"c\\"), r#"\<a\;b\"c\\"#);
    }
}
