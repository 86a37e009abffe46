//! Definitions that are imported at start.

use super::kind::*;
use super::*;

pub(super) static KEYS: &[Key] = &[
    Key {
        name: "load_definitions",
        alias: Some("definitions.local.path"),
        env: "rabbit.load_definitions",
        kind: TEXT,
        default: "",
        meaning: "File of definitions that is imported at each start, all of it or nothing, or a directory of such files, which are taken together in the order of their names. With it no default user and virtual host are made.",
        state: State::Honoured(|draft, _, value| {
            draft.settings.definitions.path = Some(value.into());
            Ok(())
        }),
    },
    Key {
        name: "definitions.import_backend",
        alias: None,
        env: "rabbit.definitions.import_backend",
        kind: TEXT,
        default: "local_filesystem",
        meaning: "Where definitions come from; `https` is not supported yet.",
        state: State::Honoured(|_, _, value| match value {
            "local_filesystem" | "rabbit_definitions_import_local_filesystem" => Ok(()),
            _ => Err("local_filesystem; https is not supported yet".to_owned()),
        }),
    },
    Key {
        name: "definitions.skip_if_unchanged",
        alias: None,
        env: "rabbit.definitions.skip_if_unchanged",
        kind: BOOLEAN,
        default: "false",
        meaning: "Whether nothing is imported while the files have the content that was imported last.",
        state: State::Honoured(|draft, _, value| {
            draft.settings.definitions.skip_if_unchanged = boolean(value)?;
            Ok(())
        }),
    },
    Key {
        name: "definitions.hashing.algorithm",
        alias: None,
        env: "rabbit.definitions.hashing_algorithm",
        kind: &[Type::OneOf(&["sha224", "sha256", "sha384", "sha512"])],
        default: "sha256",
        meaning: "The digest by which the content of files is compared.",
        state: State::Honoured(|draft, _, value| {
            draft.settings.definitions.hashing = match value {
                "sha224" => ContentHash::Sha224,
                "sha256" => ContentHash::Sha256,
                "sha384" => ContentHash::Sha384,
                "sha512" => ContentHash::Sha512,
                _ => return Err("sha224, sha256, sha384 or sha512".to_owned()),
            };
            Ok(())
        }),
    },
];

rows! {
    State::Refused(NOT_YET) => {
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
