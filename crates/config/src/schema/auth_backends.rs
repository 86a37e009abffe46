//! Who lets users in beside the node itself: the chain of backends, the HTTP server, the cache.

use super::kind::*;
use super::*;
use ::auth::{BackendName, HttpMethod};
use http_client::Url;

pub(super) static KEYS: &[Key] = &[
    Key {
        name: "auth_backends.$num",
        alias: None,
        env: "rabbit.auth_backends",
        kind: TEXT,
        default: "internal",
        meaning: "A backend that lets users in and decides about them: `internal`, `internal_loopback`, `http`, `ldap`, `oauth2`, `cache` or `dummy`, tried in the order of the numbers; setting any replaces the default.",
        state: State::Honoured(|draft, number, value| {
            let link = draft.auth_backend(number)?;
            let name = Some(BackendName::parse(value)?);
            (link.authn, link.authz) = (name, name);
            Ok(())
        }),
    },
    Key {
        name: "auth_backends.$num.authn",
        alias: None,
        env: "",
        kind: TEXT,
        default: "",
        meaning: "A backend that lets users in; it decides about them as well if no other is named.",
        state: State::Honoured(|draft, number, value| {
            draft.auth_backend(number)?.authn = Some(BackendName::parse(value)?);
            Ok(())
        }),
    },
    Key {
        name: "auth_backends.$num.authz",
        alias: None,
        env: "",
        kind: TEXT,
        default: "",
        meaning: "The backend that decides about these users; it lets them in as well if no other is named.",
        state: State::Honoured(|draft, number, value| {
            draft.auth_backend(number)?.authz = Some(BackendName::parse(value)?);
            Ok(())
        }),
    },
    Key {
        name: "warren.auth_recheck_interval",
        alias: None,
        env: "",
        kind: NON_NEGATIVE,
        default: "600",
        meaning: "Milliseconds after which a backend is asked again whether open connections may still do what it allowed them; 0 asks only when a connection needs an answer that is older than 60 seconds.",
        state: State::Honoured(|draft, _, value| {
            let interval_ms: u32 = value.parse().map_err(|_| "milliseconds from 0")?;
            draft.settings.auth.recheck_interval = Duration::from_millis(interval_ms.into());
            Ok(())
        }),
    },
    Key {
        name: "auth_http.http_method",
        alias: None,
        env: "rabbitmq_auth_backend_http.http_method",
        kind: &[Type::OneOf(&["get", "post"])],
        default: "get",
        meaning: "How the HTTP server is asked; with `post`, passwords are in no address.",
        state: State::Honoured(|draft, _, value| {
            draft.settings.auth.http.method = match value {
                "get" => HttpMethod::Get,
                _ => HttpMethod::Post,
            };
            Ok(())
        }),
    },
    Key {
        name: "auth_http.user_path",
        alias: None,
        env: "rabbitmq_auth_backend_http.user_path",
        kind: TEXT,
        default: "http://localhost:8000/auth/user",
        meaning: "Where the HTTP server is asked who may log in.",
        state: State::Honoured(|draft, _, value| {
            draft.settings.auth.http.user_path = url(value)?;
            Ok(())
        }),
    },
    Key {
        name: "auth_http.vhost_path",
        alias: None,
        env: "rabbitmq_auth_backend_http.vhost_path",
        kind: TEXT,
        default: "http://localhost:8000/auth/vhost",
        meaning: "Where it is asked who may open which virtual host.",
        state: State::Honoured(|draft, _, value| {
            draft.settings.auth.http.vhost_path = url(value)?;
            Ok(())
        }),
    },
    Key {
        name: "auth_http.resource_path",
        alias: None,
        env: "rabbitmq_auth_backend_http.resource_path",
        kind: TEXT,
        default: "http://localhost:8000/auth/resource",
        meaning: "Where it is asked who may do what with a queue or an exchange.",
        state: State::Honoured(|draft, _, value| {
            draft.settings.auth.http.resource_path = url(value)?;
            Ok(())
        }),
    },
    Key {
        name: "auth_http.topic_path",
        alias: None,
        env: "rabbitmq_auth_backend_http.topic_path",
        kind: TEXT,
        default: "http://localhost:8000/auth/topic",
        meaning: "Where it is asked who may use which routing key on a topic exchange.",
        state: State::Honoured(|draft, _, value| {
            draft.settings.auth.http.topic_path = url(value)?;
            Ok(())
        }),
    },
    Key {
        name: "auth_http.request_timeout",
        alias: None,
        env: "rabbitmq_auth_backend_http.request_timeout",
        kind: INTEGER,
        default: "15000",
        meaning: "Milliseconds that an answer may take; then it is no.",
        state: State::Honoured(|draft, _, value| {
            draft.settings.auth.http.request_timeout = milliseconds(value)?;
            Ok(())
        }),
    },
    Key {
        name: "auth_http.connection_timeout",
        alias: None,
        env: "rabbitmq_auth_backend_http.connection_timeout",
        kind: INTEGER,
        default: "15000",
        meaning: "Milliseconds that it may take to reach the server.",
        state: State::Honoured(|draft, _, value| {
            draft.settings.auth.http.connection_timeout = milliseconds(value)?;
            Ok(())
        }),
    },
    Key {
        name: "auth_http.authorization_failure_disclosure",
        alias: None,
        env: "rabbitmq_auth_backend_http.authorization_failure_disclosure",
        kind: BOOLEAN,
        default: "false",
        meaning: "Whether clients are told the reasons that the server gives for a refusal.",
        state: State::Honoured(|draft, _, value| {
            draft.settings.auth.http.discloses_reasons = boolean(value)?;
            Ok(())
        }),
    },
    Key {
        name: "auth_cache.cached_backend",
        alias: None,
        env: "rabbitmq_auth_backend_cache.cached_backend",
        kind: TEXT,
        default: "internal",
        meaning: "What the backend `cache` is in front of.",
        state: State::Honoured(|draft, _, value| {
            let name = BackendName::parse(value)?;
            let cache = &mut draft.settings.auth.cache;
            (cache.authn, cache.authz) = (name, name);
            Ok(())
        }),
    },
    Key {
        name: "auth_cache.cached_backend.authn",
        alias: None,
        env: "",
        kind: TEXT,
        default: "",
        meaning: "What it is in front of when users log in.",
        state: State::Honoured(|draft, _, value| {
            draft.settings.auth.cache.authn = BackendName::parse(value)?;
            Ok(())
        }),
    },
    Key {
        name: "auth_cache.cached_backend.authz",
        alias: None,
        env: "",
        kind: TEXT,
        default: "",
        meaning: "What it is in front of when it is decided about users.",
        state: State::Honoured(|draft, _, value| {
            draft.settings.auth.cache.authz = BackendName::parse(value)?;
            Ok(())
        }),
    },
    Key {
        name: "auth_cache.cache_ttl",
        alias: None,
        env: "rabbitmq_auth_backend_cache.cache_ttl",
        kind: NON_NEGATIVE,
        default: "15000",
        meaning: "Milliseconds that an answer is remembered.",
        state: State::Honoured(|draft, _, value| {
            let ttl_ms: u32 = value.parse().map_err(|_| "milliseconds from 0")?;
            draft.settings.auth.cache.ttl = Duration::from_millis(ttl_ms.into());
            Ok(())
        }),
    },
    Key {
        name: "auth_cache.cache_refusals",
        alias: None,
        env: "rabbitmq_auth_backend_cache.cache_refusals",
        kind: BOOLEAN,
        default: "false",
        meaning: "Whether refusals are remembered, too.",
        state: State::Honoured(|draft, _, value| {
            draft.settings.auth.cache.keeps_refusals = boolean(value)?;
            Ok(())
        }),
    },
    Key {
        name: "auth_cache.cache_module",
        alias: None,
        env: "rabbitmq_auth_backend_cache.cache_module",
        kind: &[Type::OneOf(&[
            "rabbit_auth_cache_ets",
            "rabbit_auth_cache_dict",
            "rabbit_auth_cache_ets_segmented",
            "rabbit_auth_cache_ets_segmented_stateless",
        ])],
        default: "rabbit_auth_cache_ets",
        meaning: "How RabbitMQ keeps what is remembered; all of them remember the same, and so does this node.",
        state: State::Honoured(|_, _, _| Ok(())),
    },
];

/// Rows of `ssl_options` of the HTTP backend: option, place in Erlang terms, kind, meaning.
macro_rules! tls_rows {
    ($($option:literal, $env:literal, $kind:expr, $meaning:literal;)*) => {
        pub(super) static TLS_KEYS: &[Key] = &[$(Key {
            name: concat!("auth_http.ssl_options.", $option),
            alias: None,
            env: concat!("rabbitmq_auth_backend_http.", $env),
            kind: $kind,
            default: "",
            meaning: $meaning,
            state: State::Honoured(|draft, chosen, value| {
                set_tls(draft, $option, chosen, value)
            }),
        },)*];
    };
}

tls_rows! {
    "verify", "ssl_options.verify", VERIFY, "`verify_none` takes any certificate of the server; otherwise it must be good.";
    "cacertfile", "ssl_options.cacertfile", TEXT, "Certificates that vouch for the server, a PEM file; otherwise those of the operating system.";
    "certfile", "ssl_options.certfile", TEXT, "The node's own certificate, where the server asks for one, a PEM file.";
    "keyfile", "ssl_options.keyfile", TEXT, "Its private key, a PEM file.";
    "password", "ssl_options.password", SECRET, "What protects the private key.";
    "depth", "ssl_options.depth", BYTE, "Intermediate certificates that may stand between the server's and one that is trusted.";
    "versions.$version", "ssl_options.versions", TEXT, "A version that is spoken: `tlsv1.2` or `tlsv1.3`; all if none is named.";
    "ciphers.$cipher", "ssl_options.ciphers", TEXT, "A cipher suite that is offered, in the order of the numbers; all if none is named.";
    "sni", "ssl_options.server_name_indication", TEXT, "The name that the server's certificate must have; otherwise the host of the address.";
    "hostname_verification", "ssl_hostname_verification", WILDCARD, "Names are always checked, and wildcards in them taken.";
    "reuse_sessions", "ssl_options.reuse_sessions", BOOLEAN, "Whether a session of before is gone on with.";
    "client_renegotiation", "ssl_options.client_renegotiation", BOOLEAN, "`false`: there is no renegotiation.";
    "crl_check", "ssl_options.crl_check", CRL_CHECK, "`false`: lists of revoked certificates are not read.";
}

rows! {
    State::Accepted => {
        "auth_http.ssl_options", "rabbitmq_auth_backend_http.ssl_options", NONE, "";
        "auth_http.ssl_options.fail_if_no_peer_cert", "rabbitmq_auth_backend_http.ssl_options.fail_if_no_peer_cert", BOOLEAN, "";
        "auth_http.ssl_options.log_alert", "rabbitmq_auth_backend_http.ssl_options.log_alert", BOOLEAN, "";
        "auth_http.ssl_options.secure_renegotiate", "rabbitmq_auth_backend_http.ssl_options.secure_renegotiate", BOOLEAN, "";
        "auth_http.ssl_options.honor_cipher_order", "rabbitmq_auth_backend_http.ssl_options.honor_cipher_order", BOOLEAN, "";
        "auth_http.ssl_options.honor_ecc_order", "rabbitmq_auth_backend_http.ssl_options.honor_ecc_order", BOOLEAN, "";
    }
    State::Refused(NO_SUCH_TLS) => {
        "auth_http.ssl_options.cert", "rabbitmq_auth_backend_http.ssl_options.cert", TEXT, "";
        "auth_http.ssl_options.dh", "rabbitmq_auth_backend_http.ssl_options.dh", TEXT, "";
        "auth_http.ssl_options.dhfile", "rabbitmq_auth_backend_http.ssl_options.dhfile", TEXT, "";
        "auth_http.ssl_options.psk_identity", "rabbitmq_auth_backend_http.ssl_options.psk_identity", TEXT, "";
        "auth_http.ssl_options.key.RSAPrivateKey", "rabbitmq_auth_backend_http.ssl_options.key", TEXT, "";
        "auth_http.ssl_options.key.DSAPrivateKey", "rabbitmq_auth_backend_http.ssl_options.key", TEXT, "";
        "auth_http.ssl_options.key.PrivateKeyInfo", "rabbitmq_auth_backend_http.ssl_options.key", TEXT, "";
    }
}

fn set_tls(draft: &mut Draft, option: &str, chosen: &str, value: &str) -> Result<(), String> {
    let tls = &mut draft.settings.auth.http.tls;
    match option.split_once(".$") {
        None => tls.set(option, value),
        Some((option, _)) => tls.set(&format!("{option}.{chosen}"), value),
    }
}

fn url(value: &str) -> Result<Url, String> {
    value.parse()
}

fn milliseconds(value: &str) -> Result<Duration, String> {
    Ok(Duration::from_millis(positive::<u32>(value)?.into()))
}
