//! Definitions that are imported at start.

use super::kind::*;
use super::*;

pub(super) static KEYS: &[Key] = &[
    Key {
        name: "management.load_definitions",
        alias: None,
        env: "rabbitmq_management.load_definitions",
        kind: TEXT,
        default: "none",
        meaning: "The same as `load_definitions`, as it was called before; `none` for nothing.",
        state: State::Honoured(|draft, _, value| {
            if value != "none" {
                draft.definitions_path = Some(value.into());
            }
            Ok(())
        }),
    },
    Key {
        name: "load_definitions",
        alias: Some("definitions.local.path"),
        env: "rabbit.load_definitions",
        kind: TEXT,
        default: "",
        meaning: "File of definitions that is imported at each start, all of it or nothing, or a directory of such files, which are taken together in the order of their names. With it no default user and virtual host are made.",
        state: State::Honoured(|draft, _, value| {
            draft.definitions_path = Some(value.into());
            Ok(())
        }),
    },
    Key {
        name: "definitions.import_backend",
        alias: None,
        env: "rabbit.definitions.import_backend",
        kind: TEXT,
        default: "local_filesystem",
        meaning: "Where definitions come from: `local_filesystem`, or `https` for `definitions.https.url`.",
        state: State::Honoured(|draft, _, value| {
            draft.definitions_https = match value {
                "local_filesystem" | "rabbit_definitions_import_local_filesystem" => false,
                "https" | "rabbit_definitions_import_https" => true,
                _ => return Err("local_filesystem or https".to_owned()),
            };
            Ok(())
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

/// An option of TLS to the server that has definitions.
macro_rules! tls_key {
    ($option:literal, $kind:expr, $default:literal, $meaning:literal) => {
        Key {
            name: concat!("definitions.tls.", $option),
            alias: None,
            env: concat!("rabbit.definitions.ssl_options.", $option),
            kind: $kind,
            default: $default,
            meaning: $meaning,
            state: State::Honoured(|draft, _, value| {
                draft.settings.definitions.tls.set($option, value)
            }),
        }
    };
}

pub(super) static HTTPS_KEYS: &[Key] = &[
    Key {
        name: "definitions.https.url",
        alias: None,
        env: "rabbit.definitions.url",
        kind: SECRET,
        default: "",
        meaning: "Address of the definitions that are imported at each start with `definitions.import_backend = https`, all of them or nothing. Redirections are not followed.",
        state: State::Honoured(|draft, _, value| {
            if !value.starts_with("https://") {
                return Err("an address that begins with https://".to_owned());
            }
            draft.definitions_url = Some(Secret::from(value));
            Ok(())
        }),
    },
    tls_key!(
        "verify",
        VERIFY,
        "verify_peer",
        "`verify_none` takes any server for the one that is meant."
    ),
    tls_key!(
        "cacertfile",
        TEXT,
        "",
        "Certificates that vouch for the server, a PEM file; those that the operating system trusts if unset."
    ),
    tls_key!(
        "certfile",
        TEXT,
        "",
        "A certificate that the server may ask for, a PEM file."
    ),
    tls_key!(
        "keyfile",
        TEXT,
        "",
        "Its private key, a PEM file; in `certfile` if unset."
    ),
    tls_key!(
        "password",
        SECRET,
        "",
        "Password of the private key (PKCS#8)."
    ),
    tls_key!(
        "depth",
        BYTE,
        "10",
        "Intermediate certificates between that of the server and a trusted one."
    ),
    tls_key!(
        "crl_check",
        CRL_CHECK,
        "false",
        "Lists of revoked certificates are not read; anything but `false` is refused."
    ),
    Key {
        name: "definitions.tls.versions.$version",
        alias: None,
        env: "rabbit.definitions.ssl_options.versions",
        kind: TEXT,
        default: "",
        meaning: "A version that is spoken, `tlsv1.2` or `tlsv1.3`; both if unset.",
        state: State::Honoured(|draft, part, value| {
            let tls = &mut draft.settings.definitions.tls;
            tls.set(&format!("versions.{part}"), value)
        }),
    },
    Key {
        name: "definitions.tls.ciphers.$cipher",
        alias: None,
        env: "rabbit.definitions.ssl_options.ciphers",
        kind: TEXT,
        default: "",
        meaning: "A cipher suite by its name in OpenSSL or at IANA, in the order of the numbers; all that are safe if unset.",
        state: State::Honoured(|draft, part, value| {
            let tls = &mut draft.settings.definitions.tls;
            tls.set(&format!("ciphers.{part}"), value)
        }),
    },
];

rows! {
    // There is nothing of this to choose for who opens a connection.
    State::Accepted => {
        "definitions.tls.fail_if_no_peer_cert", "rabbit.definitions.ssl_options.fail_if_no_peer_cert", BOOLEAN, "";
        "definitions.tls.reuse_session", "rabbit.definitions.ssl_options.reuse_session", BOOLEAN, "";
        "definitions.tls.log_alert", "rabbit.definitions.ssl_options.log_alert", BOOLEAN, "";
        "definitions.tls.secure_renegotiate", "rabbit.definitions.ssl_options.secure_renegotiate", BOOLEAN, "";
        "definitions.tls.reuse_sessions", "rabbit.definitions.ssl_options.reuse_sessions", BOOLEAN, "";
        "definitions.tls.log_level", "rabbit.definitions.ssl_options.log_level", LOG_LEVEL, "";
    }
    State::Refused(NO_SUCH_TLS) => {
        "definitions.tls.cert", "rabbit.definitions.ssl_options.cert", TEXT, "";
        "definitions.tls.dh", "rabbit.definitions.ssl_options.dh", TEXT, "";
    }
}
