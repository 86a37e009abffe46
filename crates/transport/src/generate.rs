//! A certificate authority for tests, with a certificate for a server and one for a client.
//!
//! It is for trying things out: the keys are written without a password, and nothing is ever revoked.

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Why nothing, or not everything, was written.
#[derive(Debug, Error)]
pub enum GenerateError {
    /// A name cannot be put into a certificate.
    #[error("make certificate")]
    Certificate(#[from] rcgen::Error),
    /// A file cannot be written, or is there already.
    #[error("write {file}", file = file.display())]
    File {
        /// Which.
        file: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

/// Writes `ca_certificate.pem`, `ca_key.pem`, and `server_` and `client_` pairs of the same into a directory, which is made if it is not there.
/// `host` is the server's name besides `localhost`; `user` is the client's common name.
///
/// # Errors
/// A file is there already, or cannot be written.
pub fn generate(directory: &Path, host: &str, user: &str) -> Result<(), GenerateError> {
    fs::create_dir_all(directory).map_err(|source| GenerateError::File {
        file: directory.to_owned(),
        source,
    })?;
    let mut authority = named("WarrenMQ test CA");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let authority_key = KeyPair::generate()?;
    let certificate = authority.self_signed(&authority_key)?;
    write(directory, "ca", &certificate.pem(), &authority_key)?;
    let issuer = Issuer::new(authority, authority_key);

    let mut server = named(host);
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    server.subject_alt_names = vec![
        SanType::DnsName("localhost".try_into()?),
        SanType::IpAddress(Ipv4Addr::LOCALHOST.into()),
        SanType::IpAddress(Ipv6Addr::LOCALHOST.into()),
    ];
    if host != "localhost" {
        let name = SanType::DnsName(host.try_into()?);
        server.subject_alt_names.push(name);
    }
    let mut client = named(user);
    client.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    client.subject_alt_names = vec![SanType::DnsName(user.try_into()?)];
    for (name, params) in [("server", server), ("client", client)] {
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &issuer)?;
        write(directory, name, &certificate.pem(), &key)?;
    }
    Ok(())
}

fn named(common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    params
}

fn write(
    directory: &Path,
    name: &str,
    certificate: &str,
    key: &KeyPair,
) -> Result<(), GenerateError> {
    let pem = key.serialize_pem();
    for (part, text, mode) in [("certificate", certificate, 0o644), ("key", &pem, 0o600)] {
        let file = directory.join(format!("{name}_{part}.pem"));
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&file)
            .and_then(|mut open| open.write_all(text.as_bytes()))
            .map_err(|source| GenerateError::File { file, source })?;
    }
    Ok(())
}
