//! Tokens of OAuth 2 for tests, and the keys that sign them.
//!
//! It knows nothing of what a token is good for.

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use jsonwebtoken::{Algorithm, EncodingKey};
use rcgen::KeyPair;
use serde_json::{Value, json};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// A key for ES256 with an id.
pub struct Signer {
    id: String,
    public_pem: String,
    key: EncodingKey,
}

impl Signer {
    /// A new key.
    ///
    /// # Errors
    /// There is no randomness.
    pub fn new(id: &str) -> anyhow::Result<Self> {
        Self::of(id, &KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?)
    }

    /// The key in `ID.key` of a directory, which is made if it is not there; `ID.pem` is its public half.
    ///
    /// # Errors
    /// The directory cannot be used.
    pub fn kept_in(directory: &Path, id: &str) -> anyhow::Result<Self> {
        let file = directory.join(format!("{id}.key"));
        let pair = if file.is_file() {
            KeyPair::from_pem(&std::fs::read_to_string(&file)?)?
        } else {
            let pair = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
            std::fs::write(&file, pair.serialize_pem())?;
            pair
        };
        let signer = Self::of(id, &pair)?;
        std::fs::write(directory.join(format!("{id}.pem")), &signer.public_pem)?;
        Ok(signer)
    }

    fn of(id: &str, pair: &KeyPair) -> anyhow::Result<Self> {
        Ok(Self {
            id: id.to_owned(),
            public_pem: pair.public_key_pem(),
            key: EncodingKey::from_ec_pem(pair.serialize_pem().as_bytes())?,
        })
    }

    /// The public half of the key.
    pub fn public_pem(&self) -> &str {
        &self.public_pem
    }

    /// A token with these claims.
    ///
    /// # Errors
    /// It cannot be signed.
    pub fn sign(&self, claims: &Value) -> anyhow::Result<String> {
        self.sign_with_header(
            &json!({"alg": "ES256", "typ": "JWT", "kid": self.id}),
            claims,
        )
    }

    /// The same with another header, whatever that says.
    ///
    /// # Errors
    /// It cannot be signed.
    pub fn sign_with_header(&self, header: &Value, claims: &Value) -> anyhow::Result<String> {
        let message = unsigned(header, claims);
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &self.key, Algorithm::ES256)
            .context("sign a token")?;
        Ok(format!("{message}.{signature}"))
    }
}

/// The first two parts of a token.
pub fn unsigned(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| BASE64URL.encode(value.to_string());
    format!("{}.{}", part(header), part(claims))
}

/// The time in seconds since 1970.
pub fn now_s() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| now.as_secs())
}
