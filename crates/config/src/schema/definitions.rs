//! Definitions that are imported at start.

use super::kind::*;
use super::*;

pub(super) static KEYS: &[Key] = &[];

rows! {
    State::Refused(NOT_YET) => {
        "load_definitions", "rabbit.load_definitions", TEXT, "";
        "definitions.local.path", "rabbit.definitions.local_path", TEXT, "";
        "definitions.import_backend", "rabbit.definitions.import_backend", TEXT, "";
        "definitions.skip_if_unchanged", "rabbit.definitions.skip_if_unchanged", BOOLEAN, "";
        "definitions.hashing.algorithm", "rabbit.definitions.hashing_algorithm", &[Type::OneOf(&["sha", "sha224", "sha256", "sha384", "sha512"])], "";
        "definitions.https.url", "rabbit.definitions.url", SECRET, "";
        "definitions.tls.verify", "rabbit.definitions.ssl_options.verify", VERIFY, "";
        "definitions.tls.fail_if_no_peer_cert", "rabbit.definitions.ssl_options.fail_if_no_peer_cert", BOOLEAN, "";
        "definitions.tls.cacertfile", "rabbit.definitions.ssl_options.cacertfile", TEXT, "";
        "definitions.tls.certfile", "rabbit.definitions.ssl_options.certfile", TEXT, "";
        "definitions.tls.cert", "rabbit.definitions.ssl_options.cert", TEXT, "";
        "definitions.tls.reuse_session", "rabbit.definitions.ssl_options.reuse_session", BOOLEAN, "";
        "definitions.tls.crl_check", "rabbit.definitions.ssl_options.crl_check", CRL_CHECK, "";
        "definitions.tls.depth", "rabbit.definitions.ssl_options.depth", BYTE, "";
        "definitions.tls.dh", "rabbit.definitions.ssl_options.dh", TEXT, "";
        "definitions.tls.keyfile", "rabbit.definitions.ssl_options.keyfile", TEXT, "";
        "definitions.tls.log_alert", "rabbit.definitions.ssl_options.log_alert", BOOLEAN, "";
        "definitions.tls.password", "rabbit.definitions.ssl_options.password", SECRET, "";
        "definitions.tls.secure_renegotiate", "rabbit.definitions.ssl_options.secure_renegotiate", BOOLEAN, "";
        "definitions.tls.reuse_sessions", "rabbit.definitions.ssl_options.reuse_sessions", BOOLEAN, "";
        "definitions.tls.versions.$version", "rabbit.definitions.ssl_options.versions", TEXT, "";
        "definitions.tls.ciphers.$cipher", "rabbit.definitions.ssl_options.ciphers", TEXT, "";
        "definitions.tls.log_level", "rabbit.definitions.ssl_options.log_level", LOG_LEVEL, "";
    }
}
