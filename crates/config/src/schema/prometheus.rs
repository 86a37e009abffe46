//! The metrics' listener.

use super::kind::*;
use super::*;

/// An option of the listener's TLS, as `ssl_options` has it.
macro_rules! tls {
    ($name:literal, $env:literal, $option:literal, $kind:expr, $default:literal, $meaning:literal) => {
        Key {
            name: $name,
            alias: None,
            env: $env,
            kind: $kind,
            default: $default,
            meaning: $meaning,
            state: State::Honoured(|draft, _, value| {
                draft.settings.prometheus.tls.set($option, value)
            }),
        }
    };
}

pub(super) static KEYS: &[Key] = &[
    Key {
        name: "prometheus.tcp.listener",
        alias: None,
        env: "rabbitmq_prometheus.tcp_config",
        kind: NONE_OR_ADDRESS,
        default: "",
        meaning: "Address and port of the metrics, or a port; `none` turns them off.",
        state: State::Honoured(|draft, _, value| {
            if value == "none" {
                draft.prometheus_off = true;
                return Ok(());
            }
            let address = ListenAddress::parse(value)?;
            draft.prometheus_ip = address.ip;
            draft.prometheus_port = Some(address.port);
            Ok(())
        }),
    },
    Key {
        name: "prometheus.tcp.port",
        alias: None,
        env: "rabbitmq_prometheus.tcp_config.port",
        kind: INTEGER,
        default: "15692",
        meaning: "Port of the metrics. If it is taken and no file names it, the node starts without metrics.",
        state: State::Honoured(|draft, _, value| {
            draft.prometheus_port = Some(value.parse().map_err(|_| "a port, 0 to 65535")?);
            Ok(())
        }),
    },
    Key {
        name: "prometheus.tcp.ip",
        alias: None,
        env: "rabbitmq_prometheus.tcp_config.ip",
        kind: TEXT,
        default: "",
        meaning: "Address of the metrics; all if unset.",
        state: State::Honoured(|draft, _, value| {
            draft.prometheus_ip = Some(value.parse().map_err(|_| "an IP address")?);
            Ok(())
        }),
    },
    Key {
        name: "prometheus.path",
        alias: None,
        env: "rabbitmq_prometheus.path",
        kind: TEXT,
        default: "/metrics",
        meaning: "Path of the metrics.",
        state: State::Honoured(|draft, _, value| {
            if value.trim_matches('/').is_empty() {
                return Err("a path with a name in it, such as /metrics".to_owned());
            }
            draft.settings.prometheus.path = value.to_owned();
            Ok(())
        }),
    },
    Key {
        name: "prometheus.return_per_object_metrics",
        alias: None,
        env: "rabbitmq_prometheus.return_per_object_metrics",
        kind: BOOLEAN,
        default: "false",
        meaning: "`true` tells of each queue, channel and connection where sums are told otherwise.",
        state: State::Honoured(|draft, _, value| {
            draft.settings.prometheus.per_object = boolean(value)?;
            Ok(())
        }),
    },
    Key {
        name: "prometheus.filter_aggregated_queue_metrics_pattern",
        alias: None,
        env: "rabbitmq_prometheus.filter_aggregated_queue_metrics_pattern",
        kind: TEXT,
        default: "",
        meaning: "A regular expression; queues whose names match are left out of sums.",
        state: State::Honoured(|draft, _, value| {
            let pattern = Pattern::new(value).map_err(|error| error.to_string())?;
            draft.settings.prometheus.filter = Some(pattern);
            Ok(())
        }),
    },
    Key {
        name: "prometheus.authentication.enabled",
        alias: None,
        env: "rabbitmq_prometheus.authentication.enabled",
        kind: BOOLEAN,
        default: "false",
        meaning: "`true` asks for name and password of a user who may monitor.",
        state: State::Honoured(|draft, _, value| {
            draft.settings.prometheus.authentication = boolean(value)?;
            Ok(())
        }),
    },
    Key {
        name: "prometheus.ssl.port",
        alias: None,
        env: "rabbitmq_prometheus.ssl_config.port",
        kind: INTEGER,
        default: "",
        meaning: "Port of the metrics with TLS, by custom 15691; none if unset.",
        state: State::Honoured(|draft, _, value| {
            draft.prometheus_tls_port = Some(value.parse().map_err(|_| "a port, 0 to 65535")?);
            Ok(())
        }),
    },
    Key {
        name: "prometheus.ssl.ip",
        alias: None,
        env: "rabbitmq_prometheus.ssl_config.ip",
        kind: TEXT,
        default: "",
        meaning: "Address of the metrics with TLS; all if unset.",
        state: State::Honoured(|draft, _, value| {
            draft.prometheus_tls_ip = Some(value.parse().map_err(|_| "an IP address")?);
            Ok(())
        }),
    },
    tls!(
        "prometheus.ssl.verify",
        "rabbitmq_prometheus.ssl_config.ssl_opts.verify",
        "verify",
        VERIFY,
        "verify_none",
        "As `management.ssl.verify`."
    ),
    tls!(
        "prometheus.ssl.fail_if_no_peer_cert",
        "rabbitmq_prometheus.ssl_config.ssl_opts.fail_if_no_peer_cert",
        "fail_if_no_peer_cert",
        BOOLEAN,
        "false",
        "As `management.ssl.fail_if_no_peer_cert`."
    ),
    tls!(
        "prometheus.ssl.cacertfile",
        "rabbitmq_prometheus.ssl_config.ssl_opts.cacertfile",
        "cacertfile",
        TEXT,
        "",
        "As `management.ssl.cacertfile`."
    ),
    tls!(
        "prometheus.ssl.certfile",
        "rabbitmq_prometheus.ssl_config.ssl_opts.certfile",
        "certfile",
        TEXT,
        "",
        "As `management.ssl.certfile`."
    ),
    tls!(
        "prometheus.ssl.keyfile",
        "rabbitmq_prometheus.ssl_config.ssl_opts.keyfile",
        "keyfile",
        TEXT,
        "",
        "As `management.ssl.keyfile`."
    ),
    tls!(
        "prometheus.ssl.password",
        "rabbitmq_prometheus.ssl_config.ssl_opts.password",
        "password",
        SECRET,
        "",
        "As `management.ssl.password`."
    ),
    tls!(
        "prometheus.ssl.depth",
        "rabbitmq_prometheus.ssl_config.ssl_opts.depth",
        "depth",
        BYTE,
        "10",
        "As `management.ssl.depth`."
    ),
    tls!(
        "prometheus.ssl.honor_cipher_order",
        "rabbitmq_prometheus.ssl_config.ssl_opts.honor_cipher_order",
        "honor_cipher_order",
        BOOLEAN,
        "true",
        "As `management.ssl.honor_cipher_order`."
    ),
    tls!(
        "prometheus.ssl.honor_ecc_order",
        "rabbitmq_prometheus.ssl_config.ssl_opts.honor_ecc_order",
        "honor_ecc_order",
        BOOLEAN,
        "true",
        "As `management.ssl.honor_ecc_order`."
    ),
    tls!(
        "prometheus.ssl.reuse_sessions",
        "rabbitmq_prometheus.ssl_config.ssl_opts.reuse_sessions",
        "reuse_sessions",
        BOOLEAN,
        "true",
        "As `management.ssl.reuse_sessions`."
    ),
    tls!(
        "prometheus.ssl.client_renegotiation",
        "rabbitmq_prometheus.ssl_config.ssl_opts.client_renegotiation",
        "client_renegotiation",
        BOOLEAN,
        "false",
        "As `management.ssl.client_renegotiation`."
    ),
    Key {
        name: "prometheus.ssl.versions.$version",
        alias: None,
        env: "rabbitmq_prometheus.ssl_config.ssl_opts.versions",
        kind: TEXT,
        default: "",
        meaning: "As `management.ssl.versions.$version`.",
        state: State::Honoured(|draft, part, value| {
            let option = format!("versions.{part}");
            draft.settings.prometheus.tls.set(&option, value)
        }),
    },
    Key {
        name: "prometheus.ssl.ciphers.$cipher",
        alias: None,
        env: "rabbitmq_prometheus.ssl_config.ssl_opts.ciphers",
        kind: TEXT,
        default: "",
        meaning: "As `management.ssl.ciphers.$cipher`.",
        state: State::Honoured(|draft, part, value| {
            let option = format!("ciphers.{part}");
            draft.settings.prometheus.tls.set(&option, value)
        }),
    },
];

rows! {
    State::Accepted => {
        "prometheus.ssl.secure_renegotiate", "rabbitmq_prometheus.ssl_config.ssl_opts.secure_renegotiate", BOOLEAN, "";
    }
}
