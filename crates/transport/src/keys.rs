//! Private keys and certificates from PEM files.
//!
//! Keys may be PKCS#1, SEC 1, PKCS#8, or PKCS#8 with a password (PBES2). Keys in OpenSSL's old encrypted form are refused.

use crate::acceptor::TlsError;
use crate::settings::KeyPassword;
use pkcs8::EncryptedPrivateKeyInfoRef;
use pkcs8::der::pem::PemLabel as _;
use pkcs8::der::{Decode as _, SecretDocument};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{
    CertificateDer, CertificateRevocationListDer, PrivateKeyDer, PrivatePkcs8KeyDer,
};
use std::path::{Path, PathBuf};

/// Longest file of certificates or keys that is read, in bytes.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// Files of lists of revoked certificates in one directory.
const FILES_MAX: usize = 1_000;

/// All certificates of a file, of which there is at least one.
pub(crate) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let bytes = read(path)?;
    let certificates = CertificateDer::pem_slice_iter(&bytes)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| TlsError::file(path, error))?;
    if certificates.is_empty() {
        return Err(TlsError::file(path, "it holds no certificate"));
    }
    Ok(certificates)
}

/// All lists of revoked certificates in the files of a directory; what begins with a dot is left out.
pub(crate) fn revocation_lists(
    directory: &Path,
) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsError> {
    let mut lists = Vec::new();
    for path in files(directory)? {
        let bytes = read(&path)?;
        if !bytes.starts_with(b"-----BEGIN") {
            lists.push(CertificateRevocationListDer::from(bytes));
            continue;
        }
        for list in CertificateRevocationListDer::pem_slice_iter(&bytes) {
            lists.push(list.map_err(|error| TlsError::file(&path, error))?);
        }
    }
    Ok(lists)
}

/// The files of a directory, in the order of their names.
pub(crate) fn files(directory: &Path) -> Result<Vec<PathBuf>, TlsError> {
    let wrong = |error| TlsError::file(directory, error);
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(wrong)? {
        let path = entry.map_err(wrong)?.path();
        let name = path.file_name().unwrap_or_default();
        if path.is_file() && !name.as_encoded_bytes().starts_with(b".") {
            files.push(path);
        }
        if files.len() > FILES_MAX {
            return Err(TlsError::file(directory, "it has too many files"));
        }
    }
    files.sort();
    Ok(files)
}

/// The private key of a file.
pub(crate) fn private_key(
    path: &Path,
    password: Option<&KeyPassword>,
) -> Result<PrivateKeyDer<'static>, TlsError> {
    let bytes = read(path)?;
    let text = std::str::from_utf8(&bytes).map_err(|_| TlsError::file(path, "it is no PEM"))?;
    if text.contains("Proc-Type: 4,ENCRYPTED") {
        return Err(TlsError::file(
            path,
            "the key is encrypted in OpenSSL's old form; convert it with `openssl pkcs8 -topk8`",
        ));
    }
    let begin = format!("-----BEGIN {}-----", EncryptedPrivateKeyInfoRef::PEM_LABEL);
    let Some(start) = text.find(&begin) else {
        return PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| TlsError::file(path, error));
    };
    let password =
        password.ok_or_else(|| TlsError::file(path, "the key needs ssl_options.password"))?;
    let end = format!("-----END {}-----", EncryptedPrivateKeyInfoRef::PEM_LABEL);
    let length = text[start..]
        .find(&end)
        .ok_or_else(|| TlsError::file(path, "the key has no end"))?;
    let pem = &text[start..start + length + end.len()];
    let (_, encrypted) =
        SecretDocument::from_pem(pem).map_err(|error| TlsError::file(path, error))?;
    let encrypted = EncryptedPrivateKeyInfoRef::from_der(encrypted.as_bytes())
        .map_err(|error| TlsError::file(path, error))?;
    let key = encrypted
        .decrypt(&password.0)
        .map_err(|_| TlsError::file(path, "the password does not open the key"))?;
    Ok(PrivatePkcs8KeyDer::from(key.as_bytes().to_vec()).into())
}

/// The only certificate of a PEM text.
pub(crate) fn one_certificate(text: &[u8]) -> Result<CertificateDer<'static>, String> {
    let mut found = CertificateDer::pem_slice_iter(text);
    match (found.next(), found.next()) {
        (Some(Ok(certificate)), None) => Ok(certificate),
        (Some(Err(error)), _) => Err(error.to_string()),
        (None, _) => Err("it holds no certificate".to_owned()),
        (Some(Ok(_)), Some(_)) => Err("it holds more than one certificate".to_owned()),
    }
}

/// A file that is not too long.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let size = std::fs::metadata(path)
        .map_err(|error| TlsError::file(path, error))?
        .len();
    if size > FILE_BYTES_MAX {
        return Err(TlsError::file(path, "it is too long"));
    }
    std::fs::read(path).map_err(|error| TlsError::file(path, error))
}
