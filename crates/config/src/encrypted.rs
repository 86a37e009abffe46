//! Values that are encrypted in files: `encrypted:BASE64`.
//!
//! RabbitMQ's form, so that values from its tools can be used: 16 bytes of salt, 16 of initialisation vector, then AES in CBC mode
//! over an Erlang term in the external format. The key comes from the passphrase by PBKDF2.
//! It keeps no secret and reads no random numbers: salt and vector are arguments.

use aes::cipher::{BlockModeDecrypt, BlockModeEncrypt, KeyIvInit, block_padding::Pkcs7};
use std::fmt;

const SALT_SIZE: usize = 16;
const VECTOR_SIZE: usize = 16;
/// Largest value in bytes, encrypted.
const VALUE_SIZE_MAX_BYTES: usize = 1 << 20;
/// Most rounds of PBKDF2 that a configuration may ask for: a start may take seconds, not hours.
pub const ITERATIONS_MAX: u32 = 10_000_000;

/// A cipher, by its length of key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the ciphers'")]
pub enum Cipher {
    Aes128Cbc,
    Aes192Cbc,
    Aes256Cbc,
}

impl Cipher {
    /// Reads Erlang's name, of today or of before OTP 22.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "aes_128_cbc" | "aes_cbc128" | "aes_cbc" => Some(Self::Aes128Cbc),
            "aes_192_cbc" => Some(Self::Aes192Cbc),
            "aes_256_cbc" | "aes_cbc256" => Some(Self::Aes256Cbc),
            _ => None,
        }
    }
}

/// The hash of PBKDF2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the hashes'")]
pub enum Hash {
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

impl Hash {
    /// Reads Erlang's name.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "sha224" => Some(Self::Sha224),
            "sha256" => Some(Self::Sha256),
            "sha384" => Some(Self::Sha384),
            "sha512" => Some(Self::Sha512),
            _ => None,
        }
    }
}

/// How a key comes from a passphrase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scheme {
    /// The cipher.
    pub cipher: Cipher,
    /// The hash.
    pub hash: Hash,
    /// Rounds of PBKDF2, 1 to [`ITERATIONS_MAX`].
    pub iterations: u32,
}

/// What RabbitMQ's documents say; values are made with it here.
pub const STRONG: Scheme = Scheme {
    cipher: Cipher::Aes256Cbc,
    hash: Hash::Sha512,
    iterations: 1000,
};

/// What RabbitMQ 4.3's tools use if they are told nothing.
pub const OF_TOOLS: Scheme = Scheme {
    cipher: Cipher::Aes128Cbc,
    hash: Hash::Sha256,
    iterations: 1,
};

/// How values are decrypted.
#[derive(Clone, PartialEq, Eq)]
pub struct Decoder {
    /// The passphrase.
    pub passphrase: String,
    /// The scheme; `None` tries [`STRONG`] and [`OF_TOOLS`].
    pub scheme: Option<Scheme>,
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder")
            .field("scheme", &self.scheme)
            .finish_non_exhaustive()
    }
}

impl Decoder {
    /// The text behind a value in base 64.
    ///
    /// # Errors
    /// It is not one, or the passphrase is wrong.
    pub fn decode(&self, base64: &str) -> Result<String, &'static str> {
        self.decode_with(base64, text_of_term)
    }

    /// What `read` makes of the bytes behind a value in base 64: an Erlang term in the external format.
    ///
    /// # Errors
    /// It is not one, or the passphrase is wrong.
    pub fn decode_with<T>(
        &self,
        base64: &str,
        read: impl Fn(&[u8]) -> Option<T>,
    ) -> Result<T, &'static str> {
        const WRONG: &str = "the value or the passphrase is wrong";
        let mut bytes = Vec::new();
        if base64.len() <= VALUE_SIZE_MAX_BYTES {
            bytes = decode_base64(base64.trim()).ok_or("it is not base 64")?;
        }
        let (salt, rest) = bytes.split_at_checked(SALT_SIZE).ok_or(WRONG)?;
        let (vector, encrypted) = rest.split_at_checked(VECTOR_SIZE).ok_or(WRONG)?;
        let schemes = self
            .scheme
            .map_or_else(|| vec![STRONG, OF_TOOLS], |scheme| vec![scheme]);
        schemes
            .into_iter()
            .find_map(|scheme| {
                let key = scheme.key(&self.passphrase, salt);
                read(&scheme.cipher.decrypt(&key, vector, encrypted)?)
            })
            .ok_or(WRONG)
    }
}

impl Scheme {
    /// Encrypts a text as an Erlang binary, in base 64. `salt` and `vector` must be random.
    pub fn encode(
        self,
        passphrase: &str,
        salt: [u8; SALT_SIZE],
        vector: [u8; VECTOR_SIZE],
        text: &str,
    ) -> String {
        let mut term = vec![131, 109];
        term.extend((text.len() as u32).to_be_bytes());
        term.extend(text.as_bytes());
        self.encode_bytes(passphrase, salt, vector, &term)
    }

    /// Encrypts a term in Erlang's external format, in base 64. `salt` and `vector` must be random.
    pub fn encode_bytes(
        self,
        passphrase: &str,
        salt: [u8; SALT_SIZE],
        vector: [u8; VECTOR_SIZE],
        term: &[u8],
    ) -> String {
        let key = self.key(passphrase, &salt);
        let encrypted = self.cipher.encrypt(&key, &vector, term);
        encode_base64(&[&salt[..], &vector, &encrypted].concat())
    }

    /// 32 bytes, of which the cipher takes what it needs.
    fn key(self, passphrase: &str, salt: &[u8]) -> [u8; 32] {
        let mut key = [0; 32];
        let rounds = self.iterations.clamp(1, ITERATIONS_MAX);
        let secret = passphrase.as_bytes();
        match self.hash {
            Hash::Sha224 => pbkdf2::pbkdf2_hmac::<sha2::Sha224>(secret, salt, rounds, &mut key),
            Hash::Sha256 => pbkdf2::pbkdf2_hmac::<sha2::Sha256>(secret, salt, rounds, &mut key),
            Hash::Sha384 => pbkdf2::pbkdf2_hmac::<sha2::Sha384>(secret, salt, rounds, &mut key),
            Hash::Sha512 => pbkdf2::pbkdf2_hmac::<sha2::Sha512>(secret, salt, rounds, &mut key),
        }
        key
    }
}

impl Cipher {
    fn decrypt(self, key: &[u8; 32], vector: &[u8], encrypted: &[u8]) -> Option<Vec<u8>> {
        macro_rules! decrypt {
            ($cipher:ty, $size:expr) => {
                cbc::Decryptor::<$cipher>::new_from_slices(&key[..$size], vector)
                    .ok()?
                    .decrypt_padded_vec::<Pkcs7>(encrypted)
                    .ok()
            };
        }
        match self {
            Self::Aes128Cbc => decrypt!(aes::Aes128, 16),
            Self::Aes192Cbc => decrypt!(aes::Aes192, 24),
            Self::Aes256Cbc => decrypt!(aes::Aes256, 32),
        }
    }

    fn encrypt(self, key: &[u8; 32], vector: &[u8], clear: &[u8]) -> Vec<u8> {
        macro_rules! encrypt {
            ($cipher:ty, $size:expr) => {
                cbc::Encryptor::<$cipher>::new_from_slices(&key[..$size], vector)
                    .expect("the key is as long as the cipher wants, the vector 16 bytes")
                    .encrypt_padded_vec::<Pkcs7>(clear)
            };
        }
        match self {
            Self::Aes128Cbc => encrypt!(aes::Aes128, 16),
            Self::Aes192Cbc => encrypt!(aes::Aes192, 24),
            Self::Aes256Cbc => encrypt!(aes::Aes256, 32),
        }
    }
}

/// The text of a binary, string or atom in Erlang's external term format.
fn text_of_term(term: &[u8]) -> Option<String> {
    let text = match term {
        [131, 109, a, b, c, d, text @ ..] => {
            let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
            (text.len() == length).then_some(text)?
        }
        [131, 107 | 100 | 118, a, b, text @ ..] => {
            let length = usize::from(u16::from_be_bytes([*a, *b]));
            (text.len() == length).then_some(text)?
        }
        [131, 115 | 119, length, text @ ..] => {
            (text.len() == usize::from(*length)).then_some(text)?
        }
        _ => return None,
    };
    // A string has Latin 1 characters below 256; everything else is UTF-8.
    String::from_utf8(text.to_vec()).ok().or_else(|| {
        (term.get(1) == Some(&107)).then(|| text.iter().map(|b| char::from(*b)).collect())
    })
}

fn decode_base64(text: &str) -> Option<Vec<u8>> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.decode(text).ok()
}

fn encode_base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(base64: &str, scheme: Option<Scheme>) -> Result<String, &'static str> {
        let passphrase = "pass phrase".to_owned();
        Decoder { passphrase, scheme }.decode(base64)
    }

    /// From `rabbitmqctl encode` and `encrypt_conf_value` of RabbitMQ 4.3.6.
    #[test]
    fn values_of_rabbitmqs_tools_are_read() {
        for value in [
            "X+vBOtLCH6EWT7Uor+UegcH0UPZWawc+tept3KCmyyeDrsuZX+8WHRq52c35mKJS",
            "/Iw1E6CjgUoaUw19H07e/Dwh+08Qlf71Dzj3W350cLTzrrbmXInTam5etykxL2qD",
            "5wtVDFli+W+hvmjl3cxSzL4P3wAmmW+PjAgQizAPCqBPHQD8g+e5rASl5lhpQ3YT",
            "vbwGVhWlyEBgHi/p1n6xr2srSzNssqLJRdgqKryD//GH9VfDLoOXkRTILnR+bb6h",
        ] {
            assert_eq!(decode(value, None).as_deref(), Ok("s3cr#t"), "{value}");
        }
        assert_eq!(
            decode(
                "mdjhTwYsmi0SEVWc44EmmAB/WGufjhGO0/ZxvH8yK7FGp9WW05NNOFK2DjYbPCrX",
                None
            )
            .as_deref(),
            Ok("secret")
        );
        let weak = Scheme {
            cipher: Cipher::Aes128Cbc,
            hash: Hash::Sha256,
            iterations: 10,
        };
        assert_eq!(
            decode(
                "Plarx/Mk2XTjUhaTKgTK0ob6yTwQvRkCulAi7jQ6ZIVtLY0cM66DW7P7l/dE9Plg",
                Some(weak)
            )
            .as_deref(),
            Ok("s3cr#t")
        );
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        for cipher in [Cipher::Aes128Cbc, Cipher::Aes192Cbc, Cipher::Aes256Cbc] {
            for hash in [Hash::Sha224, Hash::Sha256, Hash::Sha384, Hash::Sha512] {
                let scheme = Scheme {
                    cipher,
                    hash,
                    iterations: 3,
                };
                let value = scheme.encode("pass phrase", [1; 16], [2; 16], "grün");
                assert_eq!(decode(&value, Some(scheme)).as_deref(), Ok("grün"));
            }
        }
    }

    #[test]
    fn wrong_passphrases_and_values_are_refused() {
        let value = STRONG.encode("another", [1; 16], [2; 16], "x");
        assert!(decode(&value, None).is_err());
        for value in ["", "abc", "AAAA", "!!!", &"A".repeat(64)] {
            assert!(decode(value, None).is_err(), "{value}");
        }
    }

    #[test]
    fn a_passphrase_is_not_in_debug_output() {
        let decoder = Decoder {
            passphrase: "swordfish".to_owned(),
            scheme: None,
        };
        assert!(!format!("{decoder:?}").contains("swordfish"));
    }
}
