//! Keys that verify signatures, from JSON web keys (RFC 7517) and PEM.
//!
//! A key is of one kind and verifies only algorithms of its kind, so a public key is never used as a shared secret, whatever a token says.
//! Not supported: the curves P-521, secp256k1 and Ed448.

use jsonwebtoken::{Algorithm as Jose, DecodingKey};
use serde::Deserialize;
use std::fmt;
use std::str::FromStr;

/// An algorithm that tokens may be signed with (RFC 7518, 8037).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Algorithm(Jose);

impl FromStr for Algorithm {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        // UAA's own names come first.
        let name = match name {
            "HMACSHA256" => "HS256",
            "HMACSHA384" => "HS384",
            "HMACSHA512" => "HS512",
            "SHA256withRSA" => "RS256",
            "SHA512withRSA" => "RS512",
            name => name,
        };
        name.parse().map(Self).map_err(|_| {
            "HS256, HS384, HS512, RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384 or EdDSA"
                .to_owned()
        })
    }
}

impl fmt::Debug for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A key and what it may verify.
#[derive(Clone)]
pub(crate) struct Key {
    key: DecodingKey,
    algorithms: Vec<Algorithm>,
}

/// Never with what is in it: it may be a shared secret.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({:?})", self.algorithms)
    }
}

/// The members of a JSON web key that count.
#[derive(Deserialize)]
struct Jwk {
    kty: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
    k: Option<String>,
    value: Option<String>,
}

impl Key {
    /// Reads a JSON web key.
    ///
    /// # Errors
    /// Why it cannot be used, in RabbitMQ's words where it has some.
    pub(crate) fn from_jwk(value: &serde_json::Value) -> Result<Self, &'static str> {
        let jwk = Jwk::deserialize(value).map_err(|_| "invalid_key")?;
        if jwk
            .purpose
            .as_deref()
            .is_some_and(|purpose| purpose != "sig")
        {
            return Err("key_is_not_for_signatures");
        }
        let kty = jwk.kty.as_deref().ok_or("no_kty")?;
        let missing = "fields_missing_for_kty";
        let (key, mut algorithms) = match kty {
            "RSA" => {
                let n = jwk.n.as_deref().ok_or(missing)?;
                let e = jwk.e.as_deref().ok_or(missing)?;
                (DecodingKey::from_rsa_components(n, e), RSA)
            }
            "EC" => {
                let x = jwk.x.as_deref().ok_or(missing)?;
                let y = jwk.y.as_deref().ok_or(missing)?;
                let algorithms = match jwk.crv.as_deref().ok_or(missing)? {
                    "P-256" => P256,
                    "P-384" => P384,
                    _ => return Err("unsupported_curve"),
                };
                (DecodingKey::from_ec_components(x, y), algorithms)
            }
            "OKP" => {
                let x = jwk.x.as_deref().ok_or(missing)?;
                if jwk.crv.as_deref() != Some("Ed25519") {
                    return Err("unsupported_curve");
                }
                (DecodingKey::from_ed_components(x), ED)
            }
            "oct" => {
                let k = jwk.k.as_deref().ok_or(missing)?;
                (secret(k), HMAC)
            }
            // UAA's own kind, with a secret in clear.
            "MAC" => {
                let value = jwk.value.as_deref().ok_or(missing)?;
                (Ok(DecodingKey::from_secret(value.as_bytes())), HMAC)
            }
            _ => return Err("unknown_kty"),
        };
        let key = key.map_err(|_| "invalid_key")?;
        let only = jwk.alg.as_deref().and_then(|name| name.parse().ok());
        let only = only.filter(|Algorithm(only)| algorithms.contains(only));
        let narrowed = only.map(|Algorithm(only)| [only]);
        if let Some(narrowed) = &narrowed {
            algorithms = narrowed;
        } else if jwk.alg.is_some() {
            return Err("unsupported_algorithm");
        }
        Ok(Self::new(key, algorithms))
    }

    /// Reads a public key or a certificate.
    ///
    /// # Errors
    /// What was expected.
    pub(crate) fn from_pem(pem: &[u8]) -> Result<Self, &'static str> {
        if memchr::memmem::find(pem, b"PRIVATE KEY-----").is_some() {
            return Err("a public key is expected here, and this is a private one");
        }
        DecodingKey::from_rsa_pem(pem)
            .map(|key| Self::new(key, RSA))
            .or_else(|_| DecodingKey::from_ec_pem(pem).map(|key| Self::new(key, EC)))
            .or_else(|_| DecodingKey::from_ed_pem(pem).map(|key| Self::new(key, ED)))
            .map_err(|_| "a public key (RSA, P-256, P-384 or Ed25519) in PEM is expected here")
    }

    fn new(key: DecodingKey, algorithms: &[Jose]) -> Self {
        Self {
            key,
            algorithms: algorithms.iter().copied().map(Algorithm).collect(),
        }
    }

    /// Whether the signature (base64url) of a text is made with this key and the algorithm of this name.
    pub(crate) fn verifies(&self, algorithm: Algorithm, message: &str, signature: &str) -> bool {
        self.algorithms.contains(&algorithm)
            && jsonwebtoken::crypto::verify(signature, message.as_bytes(), &self.key, algorithm.0)
                .unwrap_or(false)
    }
}

const RSA: &[Jose] = &[
    Jose::RS256,
    Jose::RS384,
    Jose::RS512,
    Jose::PS256,
    Jose::PS384,
    Jose::PS512,
];
const EC: &[Jose] = &[Jose::ES256, Jose::ES384];
const P256: &[Jose] = &[Jose::ES256];
const P384: &[Jose] = &[Jose::ES384];
const ED: &[Jose] = &[Jose::EdDSA];
const HMAC: &[Jose] = &[Jose::HS256, Jose::HS384, Jose::HS512];

fn secret(base64url: &str) -> Result<DecodingKey, jsonwebtoken::errors::Error> {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    URL_SAFE_NO_PAD
        .decode(base64url.trim_end_matches('='))
        .map(|secret| DecodingKey::from_secret(&secret))
        .map_err(|_| jsonwebtoken::errors::ErrorKind::InvalidKeyFormat.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn keys_that_cannot_be_used_say_why() {
        for (jwk, expected) in [
            (json!({}), "no_kty"),
            (json!(7), "invalid_key"),
            (json!({"kty": "XYZ"}), "unknown_kty"),
            (json!({"kty": "RSA", "n": "AQAB"}), "fields_missing_for_kty"),
            (json!({"kty": "RSA", "n": "!", "e": "AQAB"}), "invalid_key"),
            (
                json!({"kty": "RSA", "use": "enc", "n": "AQAB", "e": "AQAB"}),
                "key_is_not_for_signatures",
            ),
            (
                json!({"kty": "RSA", "alg": "RSA-OAEP", "n": "AQAB", "e": "AQAB"}),
                "unsupported_algorithm",
            ),
            (
                json!({"kty": "RSA", "alg": "HS256", "n": "AQAB", "e": "AQAB"}),
                "unsupported_algorithm",
            ),
            (
                json!({"kty": "EC", "crv": "P-521", "x": "AQ", "y": "AQ"}),
                "unsupported_curve",
            ),
            (
                json!({"kty": "OKP", "crv": "Ed448", "x": "AQ"}),
                "unsupported_curve",
            ),
        ] {
            assert_eq!(Key::from_jwk(&jwk).unwrap_err(), expected, "{jwk}");
        }
        assert!(Key::from_pem(b"nonsense").is_err());
    }

    #[test]
    fn a_secret_does_not_show() {
        let key = Key::from_jwk(&json!({"kty": "MAC", "alg": "HMACSHA256", "value": "canary"}));
        assert_eq!(format!("{:?}", key.unwrap()), "Key([HS256])");
    }
}
