//! Shovels, federation, traces.

use super::kind::*;
use super::*;

pub(super) static KEYS: &[Key] = &[
    Key {
        name: "tracing.dir",
        alias: None,
        env: "rabbitmq_tracing.directory",
        kind: TEXT,
        default: "/var/tmp/rabbitmq-tracing",
        meaning: "Directory of the files that traces write.",
        state: State::Honoured(|draft, _, value| {
            draft.settings.trace_files.directory = PathBuf::from(value);
            Ok(())
        }),
    },
    Key {
        name: "tracing.username",
        alias: None,
        env: "rabbitmq_tracing.username",
        kind: TEXT,
        default: "guest",
        meaning: "User who reads the copies of traced messages, unless a trace names another.",
        state: State::Honoured(|draft, _, value| {
            draft.settings.trace_files.username = name(value)?;
            Ok(())
        }),
    },
    Key {
        name: "tracing.password",
        alias: None,
        env: "rabbitmq_tracing.password",
        kind: SECRET,
        default: "guest",
        meaning: "The password of that user.",
        state: State::Honoured(|draft, _, value| {
            draft.settings.trace_files.password = Secret::from(value);
            Ok(())
        }),
    },
];

rows! {
    State::Refused(NO_FEDERATION) => {
        "federation.exchanges.connection_close_timeout", "rabbitmq_exchange_federation.connection_close_timeout", NON_NEGATIVE, "5000";
        "federation.exchanges.shutdown.link_batch_size", "rabbitmq_exchange_federation.shutdown_link_batch_size", POSITIVE, "";
        "federation.exchanges.shutdown.timeout", "rabbitmq_exchange_federation.shutdown_timeout", POSITIVE, "";
        "federation.exchanges.shutdown.throttle_delay", "rabbitmq_exchange_federation.shutdown_throttle_delay", NON_NEGATIVE, "";
        "federation.queues.connection_close_timeout", "rabbitmq_queue_federation.connection_close_timeout", NON_NEGATIVE, "5000";
        "federation.queues.shutdown.link_batch_size", "rabbitmq_queue_federation.shutdown_link_batch_size", POSITIVE, "";
        "federation.queues.shutdown.timeout", "rabbitmq_queue_federation.shutdown_timeout", POSITIVE, "";
        "federation.queues.shutdown.throttle_delay", "rabbitmq_queue_federation.shutdown_throttle_delay", NON_NEGATIVE, "";
    }
    State::Refused(NO_SHOVEL) => {
        "shovel.operating_mode", "rabbitmq_shovel.operating_mode", TEXT, "";
        "shovel.topology.predeclared", "rabbitmq_shovel.topology.predeclared", TEXT, "";
        "shovel.local.max_credit", "rabbitmq_shovel.max_local_shovel_credit", INTEGER, "";
        "shovel.delete_after_duration_floor", "rabbitmq_shovel.delete_after_duration_floor", INTEGER, "";
    }
    State::Refused(NO_TLS) => {
        "amqp_client.ssl_options", "amqp_client.ssl_options", NONE, "";
        "amqp_client.ssl_options.verify", "amqp_client.ssl_options.verify", VERIFY, "";
        "amqp_client.ssl_options.cacertfile", "amqp_client.ssl_options.cacertfile", TEXT, "";
        "amqp_client.ssl_options.certfile", "amqp_client.ssl_options.certfile", TEXT, "";
        "amqp_client.ssl_options.cacerts.$name", "amqp_client.ssl_options.cacerts", TEXT, "";
        "amqp_client.ssl_options.cert", "amqp_client.ssl_options.cert", TEXT, "";
        "amqp_client.ssl_options.crl_check", "amqp_client.ssl_options.crl_check", CRL_CHECK, "";
        "amqp_client.ssl_options.depth", "amqp_client.ssl_options.depth", BYTE, "";
        "amqp_client.ssl_options.key.RSAPrivateKey", "amqp_client.ssl_options.key", TEXT, "";
        "amqp_client.ssl_options.key.DSAPrivateKey", "amqp_client.ssl_options.key", TEXT, "";
        "amqp_client.ssl_options.key.PrivateKeyInfo", "amqp_client.ssl_options.key", TEXT, "";
        "amqp_client.ssl_options.keyfile", "amqp_client.ssl_options.keyfile", TEXT, "";
        "amqp_client.ssl_options.log_alert", "amqp_client.ssl_options.log_alert", BOOLEAN, "";
        "amqp_client.ssl_options.password", "amqp_client.ssl_options.password", SECRET, "";
        "amqp_client.ssl_options.psk_identity", "amqp_client.ssl_options.psk_identity", TEXT, "";
        "amqp_client.ssl_options.reuse_sessions", "amqp_client.ssl_options.reuse_sessions", BOOLEAN, "";
        "amqp_client.ssl_options.secure_renegotiate", "amqp_client.ssl_options.secure_renegotiate", BOOLEAN, "";
        "amqp_client.ssl_options.versions.$version", "amqp_client.ssl_options.versions", TEXT, "";
        "amqp_client.ssl_options.sni", "amqp_client.ssl_options.server_name_indication", TEXT, "";
    }
}
