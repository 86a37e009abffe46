//! Names of cipher suites: IANA's, OpenSSL's and, part by part, Erlang's.
//!
//! Only suites that are offered have names here; the old ones (CBC, RSA key exchange, RC4) have not.

use rustls::SupportedCipherSuite;
use rustls::crypto::aws_lc_rs::cipher_suite as suites;

/// One suite under all its names.
struct Names {
    suite: SupportedCipherSuite,
    iana: &'static str,
    /// TLS 1.3 suites have the same name everywhere.
    openssl: &'static str,
    key_exchange: &'static str,
    cipher: &'static str,
}

static ALL: &[Names] = &[
    Names {
        suite: suites::TLS13_AES_256_GCM_SHA384,
        iana: "TLS_AES_256_GCM_SHA384",
        openssl: "TLS_AES_256_GCM_SHA384",
        key_exchange: "any",
        cipher: "aes_256_gcm",
    },
    Names {
        suite: suites::TLS13_AES_128_GCM_SHA256,
        iana: "TLS_AES_128_GCM_SHA256",
        openssl: "TLS_AES_128_GCM_SHA256",
        key_exchange: "any",
        cipher: "aes_128_gcm",
    },
    Names {
        suite: suites::TLS13_CHACHA20_POLY1305_SHA256,
        iana: "TLS_CHACHA20_POLY1305_SHA256",
        openssl: "TLS_CHACHA20_POLY1305_SHA256",
        key_exchange: "any",
        cipher: "chacha20_poly1305",
    },
    Names {
        suite: suites::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        iana: "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        openssl: "ECDHE-ECDSA-AES256-GCM-SHA384",
        key_exchange: "ecdhe_ecdsa",
        cipher: "aes_256_gcm",
    },
    Names {
        suite: suites::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        iana: "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        openssl: "ECDHE-ECDSA-AES128-GCM-SHA256",
        key_exchange: "ecdhe_ecdsa",
        cipher: "aes_128_gcm",
    },
    Names {
        suite: suites::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        iana: "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        openssl: "ECDHE-ECDSA-CHACHA20-POLY1305",
        key_exchange: "ecdhe_ecdsa",
        cipher: "chacha20_poly1305",
    },
    Names {
        suite: suites::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        iana: "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        openssl: "ECDHE-RSA-AES256-GCM-SHA384",
        key_exchange: "ecdhe_rsa",
        cipher: "aes_256_gcm",
    },
    Names {
        suite: suites::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        iana: "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        openssl: "ECDHE-RSA-AES128-GCM-SHA256",
        key_exchange: "ecdhe_rsa",
        cipher: "aes_128_gcm",
    },
    Names {
        suite: suites::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
        iana: "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        openssl: "ECDHE-RSA-CHACHA20-POLY1305",
        key_exchange: "ecdhe_rsa",
        cipher: "chacha20_poly1305",
    },
];

/// The suite of this name.
pub(crate) fn by_name(name: &str) -> Option<SupportedCipherSuite> {
    ALL.iter()
        .find(|names| names.iana == name || names.openssl == name)
        .map(|names| names.suite)
}

/// What a configuration may say.
pub(crate) fn expected() -> String {
    let names: Vec<_> = ALL.iter().map(|names| names.openssl).collect();
    format!("one of {}", names.join(", "))
}

/// Key exchange and cipher of a suite in Erlang's words.
pub(crate) fn parts(suite: SupportedCipherSuite) -> (&'static str, &'static str) {
    ALL.iter()
        .find(|names| names.suite == suite)
        .map_or(("", ""), |names| (names.key_exchange, names.cipher))
}
