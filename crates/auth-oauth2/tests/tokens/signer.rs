//! Keys that sign tokens.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use jsonwebtoken::{Algorithm, EncodingKey, jwk::Jwk};
use rcgen::{KeyPair, RsaKeySize};
use serde_json::{Map, Value, json};

/// What a key is and signs with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Rs256,
    Rs512,
    Ps384,
    Es256,
    Es384,
    EdDsa,
    Hs256,
}

impl Kind {
    pub(crate) const ALL: [Self; 7] = [
        Self::Rs256,
        Self::Rs512,
        Self::Ps384,
        Self::Es256,
        Self::Es384,
        Self::EdDsa,
        Self::Hs256,
    ];

    fn algorithm(self) -> Algorithm {
        match self {
            Self::Rs256 => Algorithm::RS256,
            Self::Rs512 => Algorithm::RS512,
            Self::Ps384 => Algorithm::PS384,
            Self::Es256 => Algorithm::ES256,
            Self::Es384 => Algorithm::ES384,
            Self::EdDsa => Algorithm::EdDSA,
            Self::Hs256 => Algorithm::HS256,
        }
    }
}

/// A new key with an id.
pub(crate) struct Signer {
    id: String,
    kind: Kind,
    /// `None` for a shared secret.
    pair: Option<KeyPair>,
    key: EncodingKey,
}

impl Signer {
    pub(crate) fn new(id: &str, kind: Kind) -> Self {
        let pair = match kind {
            Kind::Rs256 | Kind::Rs512 | Kind::Ps384 => {
                Some(KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap())
            }
            Kind::Es256 => Some(KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap()),
            Kind::Es384 => Some(KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap()),
            Kind::EdDsa => Some(KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap()),
            Kind::Hs256 => None,
        };
        let pem = pair.as_ref().map(KeyPair::serialize_pem);
        let pem = pem.as_deref().map_or(&b""[..], str::as_bytes);
        let key = match kind {
            Kind::Rs256 | Kind::Rs512 | Kind::Ps384 => EncodingKey::from_rsa_pem(pem).unwrap(),
            Kind::Es256 | Kind::Es384 => EncodingKey::from_ec_pem(pem).unwrap(),
            Kind::EdDsa => EncodingKey::from_ed_pem(pem).unwrap(),
            Kind::Hs256 => EncodingKey::from_secret(KeyPair::generate().unwrap().serialized_der()),
        };
        Self {
            id: id.to_owned(),
            kind,
            pair,
            key,
        }
    }

    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// The public part as a web key, or the secret.
    pub(crate) fn jwk(&self) -> Value {
        let mut jwk = match (&self.pair, self.kind) {
            (Some(pair), Kind::EdDsa) => {
                let x = BASE64URL.encode(pair.public_key_raw());
                json!({"kty": "OKP", "crv": "Ed25519", "x": x})
            }
            _ => {
                let jwk = Jwk::from_encoding_key(&self.key, self.kind.algorithm()).unwrap();
                serde_json::to_value(jwk).unwrap()
            }
        };
        jwk["kid"] = json!(self.id);
        jwk
    }

    pub(crate) fn public_pem(&self) -> Option<String> {
        self.pair.as_ref().map(KeyPair::public_key_pem)
    }

    pub(crate) fn private_pem(&self) -> String {
        self.pair.as_ref().unwrap().serialize_pem()
    }

    pub(crate) fn sign(&self, claims: &Value) -> String {
        self.sign_with_header(json!({}), claims)
    }

    /// With more in its header; `null` takes something out.
    pub(crate) fn sign_with_header(&self, changes: Value, claims: &Value) -> String {
        let mut header = Map::new();
        let algorithm = format!("{:?}", self.kind.algorithm());
        header.insert("alg".to_owned(), json!(algorithm));
        header.insert("kid".to_owned(), json!(self.id));
        header.extend(changes.as_object().unwrap().clone());
        header.retain(|_, value| !value.is_null());
        sign(
            &Value::Object(header),
            claims,
            &self.key,
            self.kind.algorithm(),
        )
    }
}

/// A token that is signed with a shared secret (HS256).
pub(crate) fn sign_with_secret(id: &str, secret: &[u8], claims: &Value) -> String {
    let header = json!({"alg": "HS256", "kid": id});
    let key = EncodingKey::from_secret(secret);
    sign(&header, claims, &key, Algorithm::HS256)
}

fn sign(header: &Value, claims: &Value, key: &EncodingKey, algorithm: Algorithm) -> String {
    let encoded = |value: &Value| BASE64URL.encode(value.to_string());
    let message = format!("{}.{}", encoded(header), encoded(claims));
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), key, algorithm).unwrap();
    format!("{message}.{signature}")
}
