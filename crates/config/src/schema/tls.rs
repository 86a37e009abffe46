//! TLS: listeners, certificates, logins by certificate.

use super::kind::*;
use super::*;

pub(super) static KEYS: &[Key] = &[];

rows! {
    State::Accepted => {
        "num_acceptors.ssl", "rabbit.num_ssl_acceptors", INTEGER, "10";
    }
    State::Refused(NO_TLS) => {
        "listeners.ssl", "rabbit.ssl_listeners", NONE, "";
        "listeners.ssl.$name", "rabbit.ssl_listeners", LISTENER, "";
        "ssl_allow_poodle_attack", "rabbit.ssl_allow_poodle_attack", BOOLEAN, "false";
        "ssl_options.verify", "rabbit.ssl_options.verify", VERIFY, "";
        "ssl_options.fail_if_no_peer_cert", "rabbit.ssl_options.fail_if_no_peer_cert", BOOLEAN, "";
        "ssl_options.cacertfile", "rabbit.ssl_options.cacertfile", TEXT, "";
        "ssl_options.certfile", "rabbit.ssl_options.certfile", TEXT, "";
        "ssl_options.cert", "rabbit.ssl_options.cert", TEXT, "";
        "ssl_options.crl_check", "rabbit.ssl_options.crl_check", CRL_CHECK, "";
        "ssl_options.depth", "rabbit.ssl_options.depth", BYTE, "";
        "ssl_options.dh", "rabbit.ssl_options.dh", TEXT, "";
        "ssl_options.dhfile", "rabbit.ssl_options.dhfile", TEXT, "";
        "ssl_options.keyfile", "rabbit.ssl_options.keyfile", TEXT, "";
        "ssl_options.log_alert", "rabbit.ssl_options.log_alert", BOOLEAN, "";
        "ssl_options.password", "rabbit.ssl_options.password", SECRET, "";
        "ssl_options.psk_identity", "rabbit.ssl_options.psk_identity", TEXT, "";
        "ssl_options.reuse_sessions", "rabbit.ssl_options.reuse_sessions", BOOLEAN, "";
        "ssl_options.secure_renegotiate", "rabbit.ssl_options.secure_renegotiate", BOOLEAN, "";
        "ssl_options.versions.$version", "rabbit.ssl_options.versions", TEXT, "";
        "ssl_options.ciphers.$cipher", "rabbit.ssl_options.ciphers", TEXT, "";
        "ssl_options", "rabbit.ssl_options", NONE, "";
        "ssl_options.key.RSAPrivateKey", "rabbit.ssl_options.key", TEXT, "";
        "ssl_options.key.DSAPrivateKey", "rabbit.ssl_options.key", TEXT, "";
        "ssl_options.key.PrivateKeyInfo", "rabbit.ssl_options.key", TEXT, "";
        "ssl_options.client_renegotiation", "rabbit.ssl_options.client_renegotiation", BOOLEAN, "";
        "ssl_options.honor_cipher_order", "rabbit.ssl_options.honor_cipher_order", BOOLEAN, "";
        "ssl_options.honor_ecc_order", "rabbit.ssl_options.honor_ecc_order", BOOLEAN, "";
        "ssl_options.log_level", "rabbit.ssl_options.log_level", LOG_LEVEL, "";
        "ssl_options.crl_sources.$index", "rabbit.ssl_options.crl_cache", &[Type::OneOf(&["http", "dir"])], "";
        "ssl_options.crl_sources.$index.timeout", "rabbit.ssl_options.crl_cache", INTEGER, "";
        "ssl_options.crl_sources.$index.path", "rabbit.ssl_options.crl_cache", TEXT, "";
        "ssl_options.bypass_pem_cache", "ssl.bypass_pem_cache", BOOLEAN, "";
        "ssl_cert_login_from", "rabbit.ssl_cert_login_from", &[Type::OneOf(&["distinguished_name", "common_name", "subject_alternative_name", "subject_alt_name"])], "distinguished_name";
        "ssl_cert_login_san_type", "rabbit.ssl_cert_login_san_type", &[Type::OneOf(&["dns", "ip", "email", "uri", "other_name"])], "";
        "ssl_cert_login_san_index", "rabbit.ssl_cert_login_san_index", NON_NEGATIVE, "";
        "ssl_handshake_timeout", "rabbit.ssl_handshake_timeout", INTEGER, "5000";
    }
    State::Refused(NO_TRUST_STORE) => {
        "trust_store.providers.$name", "rabbitmq_trust_store.providers", TEXT, "[rabbit_trust_store_file_provider]";
        "trust_store.refresh_interval", "rabbitmq_trust_store.refresh_interval", INTEGER, "";
        "trust_store.directory", "rabbitmq_trust_store.directory", TEXT, "";
        "trust_store.url", "rabbitmq_trust_store.url", TEXT, "";
        "trust_store.https_request_timeout", "rabbitmq_trust_store.https_request_timeout", NON_NEGATIVE, "20000";
        "trust_store.ssl_options.verify", "rabbitmq_trust_store.ssl_options.verify", VERIFY, "";
        "trust_store.ssl_options.fail_if_no_peer_cert", "rabbitmq_trust_store.ssl_options.fail_if_no_peer_cert", BOOLEAN, "";
        "trust_store.ssl_options.cacertfile", "rabbitmq_trust_store.ssl_options.cacertfile", TEXT, "";
        "trust_store.ssl_options.certfile", "rabbitmq_trust_store.ssl_options.certfile", TEXT, "";
        "trust_store.ssl_options.cert", "rabbitmq_trust_store.ssl_options.cert", TEXT, "";
        "trust_store.ssl_options.crl_check", "rabbitmq_trust_store.ssl_options.crl_check", CRL_CHECK, "";
        "trust_store.ssl_options.depth", "rabbitmq_trust_store.ssl_options.depth", BYTE, "";
        "trust_store.ssl_options.dh", "rabbitmq_trust_store.ssl_options.dh", TEXT, "";
        "trust_store.ssl_options.dhfile", "rabbitmq_trust_store.ssl_options.dhfile", TEXT, "";
        "trust_store.ssl_options.keyfile", "rabbitmq_trust_store.ssl_options.keyfile", TEXT, "";
        "trust_store.ssl_options.log_alert", "rabbitmq_trust_store.ssl_options.log_alert", BOOLEAN, "";
        "trust_store.ssl_options.password", "rabbitmq_trust_store.ssl_options.password", SECRET, "";
        "trust_store.ssl_options.psk_identity", "rabbitmq_trust_store.ssl_options.psk_identity", TEXT, "";
        "trust_store.ssl_options.reuse_sessions", "rabbitmq_trust_store.ssl_options.reuse_sessions", BOOLEAN, "";
        "trust_store.ssl_options.secure_renegotiate", "rabbitmq_trust_store.ssl_options.secure_renegotiate", BOOLEAN, "";
        "trust_store.ssl_options.versions.$version", "rabbitmq_trust_store.ssl_options.versions", TEXT, "";
        "trust_store.ssl_options.ciphers.$cipher", "rabbitmq_trust_store.ssl_options.ciphers", TEXT, "";
        "trust_store.ssl_options", "rabbitmq_trust_store.ssl_options", NONE, "";
        "trust_store.ssl_options.key.RSAPrivateKey", "rabbitmq_trust_store.ssl_options.key", TEXT, "";
        "trust_store.ssl_options.key.DSAPrivateKey", "rabbitmq_trust_store.ssl_options.key", TEXT, "";
        "trust_store.ssl_options.key.PrivateKeyInfo", "rabbitmq_trust_store.ssl_options.key", TEXT, "";
        "trust_store.ssl_options.client_renegotiation", "rabbitmq_trust_store.ssl_options.client_renegotiation", BOOLEAN, "";
        "trust_store.ssl_options.honor_cipher_order", "rabbitmq_trust_store.ssl_options.honor_cipher_order", BOOLEAN, "";
    }
}
