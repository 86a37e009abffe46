//! Password hashes in RabbitMQ's form, and the check of a login.

use super::User;
use crate::command::{HashAlgorithm, PasswordHash};
use crate::metadata::Metadata;
use base::Name;
use md5::Md5;
use sha2::{Digest, Sha256, Sha512};
use std::sync::Arc;
use subtle::ConstantTimeEq;
use thiserror::Error;

/// Bytes of salt in front of a digest.
const SALT_BYTES: usize = 4;

/// Why a login was refused. It is for the log; the client must not learn the difference.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AuthFailure {
    /// No such user, no password, or a wrong one.
    #[error("user '{user}' - invalid credentials")]
    InvalidCredentials {
        /// The name that was tried.
        user: Name,
    },
    /// The user may only come from this machine.
    #[error("user '{user}' can only connect via localhost")]
    NotLoopback {
        /// The name that was tried.
        user: Name,
    },
}

impl PasswordHash {
    /// The hash of a password by RabbitMQ's default algorithm. The caller chooses the salt, at random.
    pub fn new(password: &[u8], salt: [u8; SALT_BYTES]) -> Self {
        Self::with_algorithm(HashAlgorithm::Sha256, password, salt)
    }

    /// The hash of a password.
    pub fn with_algorithm(
        algorithm: HashAlgorithm,
        password: &[u8],
        salt: [u8; SALT_BYTES],
    ) -> Self {
        let mut salted = salt.to_vec();
        salted.extend(digest(algorithm, &salt, password));
        Self {
            algorithm,
            salted: salted.into(),
        }
    }

    /// Whether this is the password. The time taken says nothing about how much of it is right.
    pub fn verifies(&self, password: &[u8]) -> bool {
        let Some((salt, expected)) = self.salted.split_at_checked(SALT_BYTES) else {
            return false;
        };
        digest(self.algorithm, salt, password)
            .ct_eq(expected)
            .into()
    }
}

fn digest(algorithm: HashAlgorithm, salt: &[u8], password: &[u8]) -> Vec<u8> {
    fn of<D: Digest>(salt: &[u8], password: &[u8]) -> Vec<u8> {
        D::new()
            .chain_update(salt)
            .chain_update(password)
            .finalize()
            .to_vec()
    }
    match algorithm {
        HashAlgorithm::Sha256 => of::<Sha256>(salt, password),
        HashAlgorithm::Sha512 => of::<Sha512>(salt, password),
        HashAlgorithm::Md5 => of::<Md5>(salt, password),
    }
}

/// Checks a name and a password.
///
/// Unknown users and users without a password cost the same work as those with a hash of the default algorithm. Empty passwords never log in.
/// `loopback_users` may come from this machine only (RabbitMQ docs: access-control#loopback-users).
///
/// # Errors
/// [`AuthFailure`]
pub fn authenticate(
    metadata: &Metadata,
    user: &str,
    password: &[u8],
    peer_is_loopback: bool,
    loopback_users: &[Name],
) -> Result<Arc<User>, AuthFailure> {
    let found = metadata.user(user);
    let hash = found.and_then(|user| user.password_hash.clone());
    let verified = match &hash {
        Some(hash) => hash.verifies(password),
        None => {
            // The result is thrown away: what counts is that it takes the same time.
            let nobody = PasswordHash {
                algorithm: HashAlgorithm::Sha256,
                salted: Arc::from([0; SALT_BYTES + 32]),
            };
            std::hint::black_box(nobody.verifies(password));
            false
        }
    };
    match found {
        Some(found) if verified && !password.is_empty() => {
            if !peer_is_loopback && loopback_users.iter().any(|name| *name == *user) {
                return Err(AuthFailure::NotLoopback { user: user.into() });
            }
            Ok(Arc::clone(found))
        }
        Some(_) | None => Err(AuthFailure::InvalidCredentials { user: user.into() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::MetadataCommand;

    /// From RabbitMQ's documentation of password hashes: salt 908D C60A, password `test12`.
    #[test]
    fn the_documented_example_gives_the_documented_hash() {
        let hash = PasswordHash::new(b"test12", [0x90, 0x8d, 0xc6, 0x0a]);
        let hex: String = hash
            .salted
            .iter()
            .map(|byte| format!("{byte:02X}"))
            .collect();
        assert_eq!(
            hex,
            "908DC60AA5B924B3096B8897D65A3B5F80FA5DB62A94B83122CDF4F8FEAD10D515D8F391"
        );
    }

    #[test]
    fn each_algorithm_verifies_its_own_hashes() {
        for algorithm in [
            HashAlgorithm::Sha256,
            HashAlgorithm::Sha512,
            HashAlgorithm::Md5,
        ] {
            let hash = PasswordHash::with_algorithm(algorithm, b"secret", [1, 2, 3, 4]);
            assert!(hash.verifies(b"secret"));
            assert!(!hash.verifies(b"Secret"));
        }
        let short = PasswordHash {
            algorithm: HashAlgorithm::Sha256,
            salted: Arc::from([1, 2]),
        };
        assert!(!short.verifies(b""));
    }

    #[test]
    fn a_login_needs_the_password_and_the_right_place() {
        let mut metadata = Metadata::new(1);
        let put = |name: &str, password: Option<&[u8]>| MetadataCommand::PutUser {
            name: name.into(),
            password_hash: password.map(|password| PasswordHash::new(password, [7; 4])),
            tags: vec![],
        };
        for command in [
            put("guest", Some(b"guest")),
            put("cert", None),
            put("blank", Some(b"")),
        ] {
            metadata.apply(&command).unwrap();
        }
        let login = |user: &str, password: &[u8], local| {
            authenticate(&metadata, user, password, local, &["guest".into()])
                .map(|user| user.name.to_string())
        };
        assert_eq!(login("guest", b"guest", true), Ok("guest".into()));
        assert_eq!(
            login("guest", b"guest", false),
            Err(AuthFailure::NotLoopback {
                user: "guest".into()
            })
        );
        for (user, password) in [
            ("guest", &b"wrong"[..]),
            ("cert", b""),
            ("cert", b"x"),
            ("blank", b""),
            ("nobody", b"x"),
        ] {
            assert_eq!(
                login(user, password, true),
                Err(AuthFailure::InvalidCredentials { user: user.into() })
            );
        }
    }
}
