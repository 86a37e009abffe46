//! The trust store. The settings themselves know what their values may be; they are used while the plugin is enabled.

use super::kind::*;
use super::*;

described! {
    State::HonouredWhole(|draft, key, value| {
        let option = key.iter().skip(1).map(String::as_str).collect::<Vec<_>>().join(".");
        draft.settings.auth.trust_store.set(&option, value)
    }) => {
        "trust_store.providers.$name", "rabbitmq_trust_store.providers", TEXT, "[rabbit_trust_store_file_provider]", "Who says which certificates of clients are trusted: `file` or `http`.";
        "trust_store.refresh_interval", "rabbitmq_trust_store.refresh_interval", NON_NEGATIVE, "30", "Seconds after which the providers are asked again; 0 leaves that to `refresh_trust_store`.";
        "trust_store.directory", "rabbitmq_trust_store.directory", TEXT, "trust_store/whitelist in the data directory", "Where the certificates are, a PEM file each.";
        "trust_store.url", "rabbitmq_trust_store.url", TEXT, "", "Where an HTTP server has the list of certificates.";
        "trust_store.https_request_timeout", "rabbitmq_trust_store.https_request_timeout", NON_NEGATIVE, "20000", "Milliseconds that an answer of the HTTP server may take.";
        "trust_store.ssl_options.verify", "rabbitmq_trust_store.ssl_options.verify", VERIFY, "verify_peer", "`verify_none` takes any certificate of the HTTP server; otherwise it must be good.";
        "trust_store.ssl_options.cacertfile", "rabbitmq_trust_store.ssl_options.cacertfile", TEXT, "", "Certificates that vouch for the HTTP server, a PEM file; otherwise those of the operating system.";
        "trust_store.ssl_options.certfile", "rabbitmq_trust_store.ssl_options.certfile", TEXT, "", "The node's own certificate, where the HTTP server asks for one, a PEM file.";
        "trust_store.ssl_options.keyfile", "rabbitmq_trust_store.ssl_options.keyfile", TEXT, "", "Its private key, a PEM file.";
        "trust_store.ssl_options.password", "rabbitmq_trust_store.ssl_options.password", SECRET, "", "What protects the private key.";
        "trust_store.ssl_options.depth", "rabbitmq_trust_store.ssl_options.depth", BYTE, "10", "Intermediate certificates that may stand between the HTTP server's and one that is trusted.";
        "trust_store.ssl_options.versions.$version", "rabbitmq_trust_store.ssl_options.versions", TEXT, "", "A version that is spoken: `tlsv1.2` or `tlsv1.3`; all if none is named.";
        "trust_store.ssl_options.ciphers.$cipher", "rabbitmq_trust_store.ssl_options.ciphers", TEXT, "", "A cipher suite that is offered, in the order of the numbers; all if none is named.";
        "trust_store.ssl_options.crl_check", "rabbitmq_trust_store.ssl_options.crl_check", CRL_CHECK, "false", "`false`: lists of revoked certificates are not read.";
        "trust_store.ssl_options.reuse_sessions", "rabbitmq_trust_store.ssl_options.reuse_sessions", BOOLEAN, "", "Whether a session of before is gone on with.";
        "trust_store.ssl_options.client_renegotiation", "rabbitmq_trust_store.ssl_options.client_renegotiation", BOOLEAN, "", "`false`: there is no renegotiation.";
    }
}

rows! {
    State::Accepted => {
        "trust_store.ssl_options", "rabbitmq_trust_store.ssl_options", NONE, "";
        "trust_store.ssl_options.fail_if_no_peer_cert", "rabbitmq_trust_store.ssl_options.fail_if_no_peer_cert", BOOLEAN, "";
        "trust_store.ssl_options.honor_cipher_order", "rabbitmq_trust_store.ssl_options.honor_cipher_order", BOOLEAN, "";
        "trust_store.ssl_options.log_alert", "rabbitmq_trust_store.ssl_options.log_alert", BOOLEAN, "";
        "trust_store.ssl_options.secure_renegotiate", "rabbitmq_trust_store.ssl_options.secure_renegotiate", BOOLEAN, "";
    }
    State::Refused(NO_SUCH_TLS) => {
        "trust_store.ssl_options.cert", "rabbitmq_trust_store.ssl_options.cert", TEXT, "";
        "trust_store.ssl_options.dh", "rabbitmq_trust_store.ssl_options.dh", TEXT, "";
        "trust_store.ssl_options.dhfile", "rabbitmq_trust_store.ssl_options.dhfile", TEXT, "";
        "trust_store.ssl_options.psk_identity", "rabbitmq_trust_store.ssl_options.psk_identity", TEXT, "";
        "trust_store.ssl_options.key.RSAPrivateKey", "rabbitmq_trust_store.ssl_options.key", TEXT, "";
        "trust_store.ssl_options.key.DSAPrivateKey", "rabbitmq_trust_store.ssl_options.key", TEXT, "";
        "trust_store.ssl_options.key.PrivateKeyInfo", "rabbitmq_trust_store.ssl_options.key", TEXT, "";
    }
}
