//! The HTTP API and statistics.

use super::kind::*;
use super::*;

pub(super) static KEYS: &[Key] = &[
    Key {
        name: "management.tcp",
        alias: None,
        env: "",
        kind: NONE,
        default: "",
        meaning: "`none` turns the HTTP API off.",
        state: State::Honoured(|draft, _, value| {
            none_only(value)?;
            draft.management_off = true;
            Ok(())
        }),
    },
    Key {
        name: "management.tcp.port",
        alias: Some("management.listener.port"),
        env: "rabbitmq_management.tcp_config.port",
        kind: INTEGER,
        default: "15672",
        meaning: "Port of the HTTP API.",
        state: State::Honoured(|draft, _, value| {
            draft.management_port = Some(value.parse().map_err(|_| "a port, 0 to 65535")?);
            Ok(())
        }),
    },
    Key {
        name: "management.tcp.ip",
        alias: Some("management.listener.ip"),
        env: "rabbitmq_management.tcp_config.ip",
        kind: TEXT,
        default: "",
        meaning: "Address of the HTTP API; all if unset.",
        state: State::Honoured(|draft, _, value| {
            draft.management_ip = Some(value.parse().map_err(|_| "an IP address")?);
            Ok(())
        }),
    },
    Key {
        name: "management.http.max_body_size",
        alias: None,
        env: "rabbitmq_management.max_http_body_size",
        kind: NON_NEGATIVE,
        default: "10000000",
        meaning: "Largest body of an HTTP request, in bytes.",
        state: State::Honoured(|draft, _, value| {
            draft.settings.management.http_max_body_bytes = positive::<u32>(value)? as usize;
            Ok(())
        }),
    },
    Key {
        name: "management.http_log_dir",
        alias: None,
        env: "rabbitmq_management.http_log_dir",
        kind: TEXT,
        default: "none",
        meaning: "Directory of `access.log`, which has a line for each HTTP request; `none` for no such file.",
        state: State::Honoured(|draft, _, value| {
            draft.settings.management.access_log_dir = (value != "none").then(|| value.into());
            Ok(())
        }),
    },
    Key {
        name: "http_dispatch.access_log_dir",
        alias: None,
        env: "rabbitmq_web_dispatch.access_log_dir",
        kind: TEXT,
        default: "none",
        meaning: "As `management.http_log_dir`.",
        state: State::Honoured(|draft, _, value| {
            draft.settings.management.access_log_dir = (value != "none").then(|| value.into());
            Ok(())
        }),
    },
    Key {
        name: "management.cors.allow_origins.$n",
        alias: None,
        env: "rabbitmq_management.cors_allow_origins",
        kind: TEXT,
        default: "",
        meaning: "An origin whose pages may use the HTTP API, or `*`.",
        state: State::Honoured(|draft, n, value| {
            draft.cors_origins.insert(n.to_owned(), value.to_owned());
            Ok(())
        }),
    },
    Key {
        name: "management.cors.allow_origins",
        alias: None,
        env: "",
        kind: NONE,
        default: "",
        meaning: "`none`: no origin.",
        state: State::Honoured(|draft, _, value| {
            none_only(value)?;
            draft.cors_origins.clear();
            Ok(())
        }),
    },
    Key {
        name: "management.cors.max_age",
        alias: None,
        env: "rabbitmq_management.cors_max_age",
        kind: NON_NEGATIVE,
        default: "1800",
        meaning: "Seconds for which browsers remember what origins may do.",
        state: State::Honoured(|draft, _, value| {
            draft.settings.management.cors_max_age_s =
                value.parse().map_err(|_| "seconds, an integer")?;
            Ok(())
        }),
    },
    Key {
        name: "management.path_prefix",
        alias: None,
        env: "rabbitmq_management.path_prefix",
        kind: TEXT,
        default: "",
        meaning: "What stands before all paths of the HTTP API, for example `/rabbit`.",
        state: State::Honoured(|draft, _, value| {
            if !value.starts_with('/') || value.ends_with('/') {
                return Err("a path that begins, and does not end, with a slash".to_owned());
            }
            draft.settings.management.path_prefix = value.to_owned();
            Ok(())
        }),
    },
    Key {
        name: "management.restrictions.operator_policy_changes.disabled",
        alias: None,
        env: "rabbitmq_management.restrictions.operator_policy_changes.disabled",
        kind: BOOLEAN,
        default: "false",
        meaning: "`true` refuses changes of operator policies over HTTP.",
        state: State::Honoured(|draft, _, value| {
            draft.settings.management.operator_policy_changes_disabled = boolean(value)?;
            Ok(())
        }),
    },
    Key {
        name: "management.listener.ssl",
        alias: None,
        env: "rabbitmq_management.listener.ssl",
        kind: BOOLEAN,
        default: "false",
        meaning: "`true` makes `management.tcp.port` a port with TLS; an older way to say `management.ssl.port`.",
        state: State::Honoured(|draft, _, value| {
            draft.management_listener_has_tls = boolean(value)?;
            Ok(())
        }),
    },
    Key {
        name: "management.ssl.port",
        alias: None,
        env: "rabbitmq_management.ssl_config.port",
        kind: INTEGER,
        default: "",
        meaning: "Port of the HTTP API with TLS, by custom 15671; none if unset.",
        state: State::Honoured(|draft, _, value| {
            draft.management_tls_port = Some(value.parse().map_err(|_| "a port, 0 to 65535")?);
            Ok(())
        }),
    },
    Key {
        name: "management.ssl.ip",
        alias: None,
        env: "rabbitmq_management.ssl_config.ip",
        kind: TEXT,
        default: "",
        meaning: "Address of the HTTP API with TLS; all if unset.",
        state: State::Honoured(|draft, _, value| {
            draft.management_tls_ip = Some(value.parse().map_err(|_| "an IP address")?);
            Ok(())
        }),
    },
    Key {
        name: "management.ssl.verify",
        alias: Some("management.listener.ssl_opts.verify"),
        env: "rabbitmq_management.ssl_config.verify",
        kind: VERIFY,
        default: "verify_none",
        meaning: "`verify_peer` asks clients for a certificate, which must then be good.",
        state: State::Honoured(|draft, _, value| {
            draft.settings.management.tls.set("verify", value)
        }),
    },
    Key {
        name: "management.ssl.fail_if_no_peer_cert",
        alias: Some("management.listener.ssl_opts.fail_if_no_peer_cert"),
        env: "rabbitmq_management.ssl_config.fail_if_no_peer_cert",
        kind: BOOLEAN,
        default: "false",
        meaning: "Whether clients without a certificate are refused, with `verify_peer`.",
        state: State::Honoured(|draft, _, value| {
            draft
                .settings
                .management
                .tls
                .set("fail_if_no_peer_cert", value)
        }),
    },
    Key {
        name: "management.ssl.cacertfile",
        alias: Some("management.listener.ssl_opts.cacertfile"),
        env: "rabbitmq_management.ssl_config.cacertfile",
        kind: TEXT,
        default: "",
        meaning: "Certificates that vouch for clients, a PEM file. It is read again when it changes, as all files of TLS are.",
        state: State::Honoured(|draft, _, value| {
            draft.settings.management.tls.set("cacertfile", value)
        }),
    },
    Key {
        name: "management.ssl.certfile",
        alias: Some("management.listener.ssl_opts.certfile"),
        env: "rabbitmq_management.ssl_config.certfile",
        kind: TEXT,
        default: "",
        meaning: "The certificate of the server and those that vouch for it, a PEM file.",
        state: State::Honoured(|draft, _, value| {
            draft.settings.management.tls.set("certfile", value)
        }),
    },
    Key {
        name: "management.ssl.keyfile",
        alias: Some("management.listener.ssl_opts.keyfile"),
        env: "rabbitmq_management.ssl_config.keyfile",
        kind: TEXT,
        default: "",
        meaning: "Its private key, a PEM file; in `certfile` if unset.",
        state: State::Honoured(|draft, _, value| {
            draft.settings.management.tls.set("keyfile", value)
        }),
    },
    Key {
        name: "management.ssl.password",
        alias: Some("management.listener.ssl_opts.password"),
        env: "rabbitmq_management.ssl_config.password",
        kind: SECRET,
        default: "",
        meaning: "Password of the private key (PKCS#8).",
        state: State::Honoured(|draft, _, value| {
            draft.settings.management.tls.set("password", value)
        }),
    },
    Key {
        name: "management.ssl.depth",
        alias: Some("management.listener.ssl_opts.depth"),
        env: "rabbitmq_management.ssl_config.depth",
        kind: BYTE,
        default: "10",
        meaning: "Intermediate certificates between that of a client and a trusted one.",
        state: State::Honoured(|draft, _, value| draft.settings.management.tls.set("depth", value)),
    },
    Key {
        name: "management.ssl.versions.$version",
        alias: Some("management.listener.ssl_opts.versions.$version"),
        env: "rabbitmq_management.ssl_config.versions",
        kind: TEXT,
        default: "",
        meaning: "A version that is spoken, `tlsv1.2` or `tlsv1.3`; both if unset.",
        state: State::Honoured(|draft, part, value| {
            draft
                .settings
                .management
                .tls
                .set(&format!("versions.{part}"), value)
        }),
    },
    Key {
        name: "management.ssl.ciphers.$cipher",
        alias: None,
        env: "rabbitmq_management.ssl_config.ciphers",
        kind: TEXT,
        default: "",
        meaning: "A cipher suite by its name in OpenSSL or at IANA, in the order of the numbers; all that are safe if unset.",
        state: State::Honoured(|draft, part, value| {
            draft
                .settings
                .management
                .tls
                .set(&format!("ciphers.{part}"), value)
        }),
    },
    Key {
        name: "management.ssl.honor_cipher_order",
        alias: Some("management.listener.ssl_opts.honor_cipher_order"),
        env: "rabbitmq_management.ssl_config.honor_cipher_order",
        kind: BOOLEAN,
        default: "true",
        meaning: "Whether the order of cipher suites is that of the server.",
        state: State::Honoured(|draft, _, value| {
            draft
                .settings
                .management
                .tls
                .set("honor_cipher_order", value)
        }),
    },
    Key {
        name: "management.ssl.honor_ecc_order",
        alias: Some("management.listener.ssl_opts.honor_ecc_order"),
        env: "rabbitmq_management.ssl_config.honor_ecc_order",
        kind: BOOLEAN,
        default: "true",
        meaning: "The order of curves is that of the server; `false` is refused.",
        state: State::Honoured(|draft, _, value| {
            draft.settings.management.tls.set("honor_ecc_order", value)
        }),
    },
    Key {
        name: "management.ssl.reuse_sessions",
        alias: Some("management.listener.ssl_opts.reuse_sessions"),
        env: "rabbitmq_management.ssl_config.reuse_sessions",
        kind: BOOLEAN,
        default: "true",
        meaning: "Whether clients may go on with a session of before.",
        state: State::Honoured(|draft, _, value| {
            draft.settings.management.tls.set("reuse_sessions", value)
        }),
    },
    Key {
        name: "management.ssl.client_renegotiation",
        alias: Some("management.listener.ssl_opts.client_renegotiation"),
        env: "rabbitmq_management.ssl_config.client_renegotiation",
        kind: BOOLEAN,
        default: "false",
        meaning: "There is none; `true` is refused.",
        state: State::Honoured(|draft, _, value| {
            draft
                .settings
                .management
                .tls
                .set("client_renegotiation", value)
        }),
    },
];

rows! {
    State::Accepted => {
        "management.delegate_count", "rabbitmq_management.delegate_count", NON_NEGATIVE, "5";
        "management.db_cache_multiplier", "rabbitmq_management.management_db_cache_multiplier", NON_NEGATIVE, "5";
    }
    State::Accepted => {
        "management.ssl.secure_renegotiate", "rabbitmq_management.ssl_config.secure_renegotiate", BOOLEAN, "";
    }
    State::Accepted => {
        "management.listener.ssl_opts.secure_renegotiate", "rabbitmq_management.listener.ssl_opts.secure_renegotiate", BOOLEAN, "";
        "management.listener.ssl_opts.log_alert", "rabbitmq_management.listener.ssl_opts.log_alert", BOOLEAN, "";
        "management.listener.ssl_opts", "rabbitmq_management.listener.ssl_opts", NONE, "";
    }
    State::Refused(NO_SUCH_TLS) => {
        "management.listener.ssl_opts.cert", "rabbitmq_management.listener.ssl_opts.cert", TEXT, "";
        "management.listener.ssl_opts.crl_check", "rabbitmq_management.listener.ssl_opts.crl_check", CRL_CHECK, "";
        "management.listener.ssl_opts.dh", "rabbitmq_management.listener.ssl_opts.dh", TEXT, "";
        "management.listener.ssl_opts.dhfile", "rabbitmq_management.listener.ssl_opts.dhfile", TEXT, "";
        "management.listener.ssl_opts.key.RSAPrivateKey", "rabbitmq_management.listener.ssl_opts.key", TEXT, "";
        "management.listener.ssl_opts.key.DSAPrivateKey", "rabbitmq_management.listener.ssl_opts.key", TEXT, "";
        "management.listener.ssl_opts.key.PrivateKeyInfo", "rabbitmq_management.listener.ssl_opts.key", TEXT, "";
        "management.listener.ssl_opts.psk_identity", "rabbitmq_management.listener.ssl_opts.psk_identity", TEXT, "";
    }
}
