//! TLS: listeners, certificates, logins by certificate.

use super::kind::*;
use super::*;
use transport::{LoginFrom, SanType};

pub(super) static KEYS: &[Key] = &[
    Key {
        name: "listeners.ssl",
        alias: None,
        env: "",
        kind: NONE,
        default: "",
        meaning: "`none` turns TLS listeners off.",
        state: State::Honoured(|draft, _, _| {
            draft.tls_listeners_off = true;
            Ok(())
        }),
    },
    Key {
        name: "listeners.ssl.$name",
        alias: None,
        env: "rabbit.ssl_listeners",
        kind: LISTENER,
        default: "",
        meaning: "A TLS listener, by custom on 5671: `port` on all addresses, `ip:port` or `[ipv6]:port`.",
        state: State::Honoured(|draft, name, value| {
            let address = ListenAddress::parse(value)?;
            draft.tls_listeners.insert(name.to_owned(), address);
            Ok(())
        }),
    },
    Key {
        name: "ssl_options",
        alias: None,
        env: "",
        kind: NONE,
        default: "",
        meaning: "`none` says that there are no TLS options, and changes nothing.",
        state: State::Honoured(|_, _, _| Ok(())),
    },
    Key {
        name: "ssl_cert_login_from",
        alias: None,
        env: "rabbit.ssl_cert_login_from",
        kind: &[Type::OneOf(&[
            "distinguished_name",
            "common_name",
            "subject_alternative_name",
            "subject_alt_name",
        ])],
        default: "distinguished_name",
        meaning: "Which part of a client's certificate is the name of the user for the mechanism EXTERNAL.",
        state: State::Honoured(|draft, _, value| {
            draft.settings.tls.login_from = match value {
                "distinguished_name" => LoginFrom::DistinguishedName,
                "common_name" => LoginFrom::CommonName,
                _ => LoginFrom::SubjectAlternativeName(SanType::Dns, 0),
            };
            Ok(())
        }),
    },
    Key {
        name: "ssl_cert_login_san_type",
        alias: None,
        env: "rabbit.ssl_cert_login_san_type",
        kind: &[Type::OneOf(&["dns", "ip", "email", "uri", "other_name"])],
        default: "dns",
        meaning: "Which kind of alternative name it is.",
        state: State::Honoured(|draft, _, value| {
            draft.login_san_type = Some(SanType::parse(value)?);
            Ok(())
        }),
    },
    Key {
        name: "ssl_cert_login_san_index",
        alias: None,
        env: "rabbit.ssl_cert_login_san_index",
        kind: NON_NEGATIVE,
        default: "0",
        meaning: "Which of them, from 0.",
        state: State::Honoured(|draft, _, value| {
            draft.login_san_index = value.parse().map_err(|_| "a number from 0")?;
            Ok(())
        }),
    },
    Key {
        name: "ssl_handshake_timeout",
        alias: None,
        env: "rabbit.ssl_handshake_timeout",
        kind: INTEGER,
        default: "5000",
        meaning: "Milliseconds that a TLS handshake may take.",
        state: State::Honoured(|draft, _, value| {
            draft.settings.tls_handshake_timeout =
                Duration::from_millis(positive::<u32>(value)?.into());
            Ok(())
        }),
    },
    Key {
        name: "ssl_options.verify",
        alias: None,
        env: "rabbit.ssl_options.verify",
        kind: VERIFY,
        default: "verify_none",
        meaning: "`verify_peer` asks clients for a certificate, which must then be good.",
        state: State::Honoured(|draft, _, value| draft.settings.tls.set("verify", value)),
    },
    Key {
        name: "ssl_options.fail_if_no_peer_cert",
        alias: None,
        env: "rabbit.ssl_options.fail_if_no_peer_cert",
        kind: BOOLEAN,
        default: "false",
        meaning: "Whether clients without a certificate are refused, with `verify_peer`.",
        state: State::Honoured(|draft, _, value| {
            draft.settings.tls.set("fail_if_no_peer_cert", value)
        }),
    },
    Key {
        name: "ssl_options.cacertfile",
        alias: None,
        env: "rabbit.ssl_options.cacertfile",
        kind: TEXT,
        default: "",
        meaning: "Certificates that vouch for clients, a PEM file. It is read again when it changes, as all files of TLS are.",
        state: State::Honoured(|draft, _, value| draft.settings.tls.set("cacertfile", value)),
    },
    Key {
        name: "ssl_options.certfile",
        alias: None,
        env: "rabbit.ssl_options.certfile",
        kind: TEXT,
        default: "",
        meaning: "The certificate of the server and those that vouch for it, a PEM file.",
        state: State::Honoured(|draft, _, value| draft.settings.tls.set("certfile", value)),
    },
    Key {
        name: "ssl_options.keyfile",
        alias: None,
        env: "rabbit.ssl_options.keyfile",
        kind: TEXT,
        default: "",
        meaning: "Its private key, a PEM file; in `certfile` if unset.",
        state: State::Honoured(|draft, _, value| draft.settings.tls.set("keyfile", value)),
    },
    Key {
        name: "ssl_options.password",
        alias: None,
        env: "rabbit.ssl_options.password",
        kind: SECRET,
        default: "",
        meaning: "Password of the private key (PKCS#8).",
        state: State::Honoured(|draft, _, value| draft.settings.tls.set("password", value)),
    },
    Key {
        name: "ssl_options.depth",
        alias: None,
        env: "rabbit.ssl_options.depth",
        kind: BYTE,
        default: "10",
        meaning: "Intermediate certificates between that of a client and a trusted one.",
        state: State::Honoured(|draft, _, value| draft.settings.tls.set("depth", value)),
    },
    Key {
        name: "ssl_options.versions.$version",
        alias: None,
        env: "rabbit.ssl_options.versions",
        kind: TEXT,
        default: "",
        meaning: "A version that is spoken, `tlsv1.2` or `tlsv1.3`; both if unset.",
        state: State::Honoured(|draft, part, value| {
            draft.settings.tls.set(&format!("versions.{part}"), value)
        }),
    },
    Key {
        name: "ssl_options.ciphers.$cipher",
        alias: None,
        env: "rabbit.ssl_options.ciphers",
        kind: TEXT,
        default: "",
        meaning: "A cipher suite by its name in OpenSSL or at IANA, in the order of the numbers; all that are safe if unset.",
        state: State::Honoured(|draft, part, value| {
            draft.settings.tls.set(&format!("ciphers.{part}"), value)
        }),
    },
    Key {
        name: "ssl_options.honor_cipher_order",
        alias: None,
        env: "rabbit.ssl_options.honor_cipher_order",
        kind: BOOLEAN,
        default: "true",
        meaning: "Whether the order of cipher suites is that of the server.",
        state: State::Honoured(|draft, _, value| {
            draft.settings.tls.set("honor_cipher_order", value)
        }),
    },
    Key {
        name: "ssl_options.honor_ecc_order",
        alias: None,
        env: "rabbit.ssl_options.honor_ecc_order",
        kind: BOOLEAN,
        default: "true",
        meaning: "The order of curves is that of the server; `false` is refused.",
        state: State::Honoured(|draft, _, value| draft.settings.tls.set("honor_ecc_order", value)),
    },
    Key {
        name: "ssl_options.reuse_sessions",
        alias: None,
        env: "rabbit.ssl_options.reuse_sessions",
        kind: BOOLEAN,
        default: "true",
        meaning: "Whether clients may go on with a session of before.",
        state: State::Honoured(|draft, _, value| draft.settings.tls.set("reuse_sessions", value)),
    },
    Key {
        name: "ssl_options.client_renegotiation",
        alias: None,
        env: "rabbit.ssl_options.client_renegotiation",
        kind: BOOLEAN,
        default: "false",
        meaning: "There is none; `true` is refused.",
        state: State::Honoured(|draft, _, value| {
            draft.settings.tls.set("client_renegotiation", value)
        }),
    },
    Key {
        name: "ssl_options.crl_check",
        alias: None,
        env: "rabbit.ssl_options.crl_check",
        kind: CRL_CHECK,
        default: "false",
        meaning: "Whether certificates of clients are looked for in lists of revoked ones: `true` for all up to a trusted one, `peer` for the client's own, `best_effort` where there is a list.",
        state: State::Honoured(|draft, _, value| draft.settings.tls.set("crl_check", value)),
    },
    Key {
        name: "ssl_options.crl_sources.$index",
        alias: None,
        env: "rabbit.ssl_options.crl_cache",
        kind: &[Type::OneOf(&["http", "dir"])],
        default: "",
        meaning: "Where the lists are: `dir` is a directory. `http` is refused: they are not fetched.",
        state: State::Honoured(|draft, index, value| {
            let option = format!("crl_sources.{index}");
            draft.settings.tls.set(&option, value)
        }),
    },
    Key {
        name: "ssl_options.crl_sources.$index.path",
        alias: None,
        env: "rabbit.ssl_options.crl_cache",
        kind: TEXT,
        default: "",
        meaning: "The directory. Its files, PEM or DER, are read again when they change.",
        state: State::Honoured(|draft, index, value| {
            let option = format!("crl_sources.{index}.path");
            draft.settings.tls.set(&option, value)
        }),
    },
];

rows! {
    State::Accepted => {
        "num_acceptors.ssl", "rabbit.num_ssl_acceptors", INTEGER, "10";
        "ssl_allow_poodle_attack", "rabbit.ssl_allow_poodle_attack", BOOLEAN, "false";
        "ssl_options.log_alert", "rabbit.ssl_options.log_alert", BOOLEAN, "";
        "ssl_options.secure_renegotiate", "rabbit.ssl_options.secure_renegotiate", BOOLEAN, "";
        "ssl_options.log_level", "rabbit.ssl_options.log_level", LOG_LEVEL, "";
        "ssl_options.bypass_pem_cache", "ssl.bypass_pem_cache", BOOLEAN, "";
    }
    State::Refused(NO_SUCH_TLS) => {
        "ssl_options.cert", "rabbit.ssl_options.cert", TEXT, "";
        "ssl_options.dh", "rabbit.ssl_options.dh", TEXT, "";
        "ssl_options.dhfile", "rabbit.ssl_options.dhfile", TEXT, "";
        "ssl_options.psk_identity", "rabbit.ssl_options.psk_identity", TEXT, "";
        "ssl_options.key.RSAPrivateKey", "rabbit.ssl_options.key", TEXT, "";
        "ssl_options.key.DSAPrivateKey", "rabbit.ssl_options.key", TEXT, "";
        "ssl_options.key.PrivateKeyInfo", "rabbit.ssl_options.key", TEXT, "";
        "ssl_options.crl_sources.$index.timeout", "rabbit.ssl_options.crl_cache", INTEGER, "";
    }
}
