//! Exchanges, queues, virtual hosts: limits and defaults.

use super::kind::*;
use super::*;

pub(super) static KEYS: &[Key] = &[
    Key {
        name: "cluster_queue_limit",
        alias: None,
        env: "rabbit.cluster_queue_limit",
        kind: OR_INFINITY,
        default: "infinity",
        meaning: "Queues that may exist in all vhosts together when another one is declared.",
        state: State::Honoured(|draft, _, value| {
            draft.settings.queue_limit = match value {
                "infinity" => None,
                value => Some(value.parse().map_err(|_| "an integer from 0 or infinity")?),
            };
            Ok(())
        }),
    },
    Key {
        name: "channel_tx_message_max",
        alias: None,
        env: "rabbit.channel_tx_message_max",
        kind: OR_INFINITY,
        default: "infinity",
        meaning: "Messages that a transaction may hold before it is committed.",
        state: State::Honoured(|draft, _, value| {
            draft.settings.tx_messages_max = match value {
                "infinity" => None,
                value => Some(value.parse().map_err(|_| "an integer from 0 or infinity")?),
            };
            Ok(())
        }),
    },
    Key {
        name: "exchange_types.local_random.enabled",
        alias: None,
        env: "rabbit.local_random_exchange_enabled",
        kind: BOOLEAN,
        default: "true",
        meaning: "Whether exchanges of the type `x-local-random` may be declared.",
        state: State::Honoured(|draft, _, value| {
            draft.settings.local_random_enabled = boolean(value)?;
            Ok(())
        }),
    },
    Key {
        name: "cluster_exchange_limit",
        alias: None,
        env: "rabbit.cluster_exchange_limit",
        kind: OR_INFINITY,
        default: "infinity",
        meaning: "Exchanges that may exist in all vhosts together, predeclared ones with them, when another one is declared.",
        state: State::Honoured(|draft, _, value| {
            draft.settings.exchange_limit = match value {
                "infinity" => None,
                value => Some(value.parse().map_err(|_| "an integer from 0 or infinity")?),
            };
            Ok(())
        }),
    },
    Key {
        name: "consumer_timeout",
        alias: None,
        env: "rabbit.consumer_timeout",
        kind: POSITIVE,
        default: "1800000",
        meaning: "Milliseconds that a consumer of a quorum queue may keep a message, unless queue or consumer say otherwise.",
        state: State::Honoured(|draft, _, value| {
            draft.settings.consumer_timeout_ms = positive(value)?;
            Ok(())
        }),
    },
    Key {
        name: "consumer_max_per_channel",
        alias: None,
        env: "rabbit.consumer_max_per_channel",
        kind: OR_INFINITY,
        default: "infinity",
        meaning: "Consumers a channel may have.",
        state: State::Honoured(|draft, _, value| {
            draft.settings.consumer_max_per_channel = match value {
                "infinity" => None,
                value => Some(positive(value).map_err(|_| "an integer above 0 or infinity")?),
            };
            Ok(())
        }),
    },
    Key {
        name: "warren.default_consumer_prefetch.count",
        alias: None,
        env: "rabbit.default_consumer_prefetch",
        kind: NON_NEGATIVE,
        default: "0",
        meaning: "Prefetch count of channels that ask for none, at most 65535; 0 for no limit. In Erlang terms it is `{default_consumer_prefetch, {false, Count}}`.",
        state: State::Honoured(|draft, _, value| {
            draft.settings.consumer_prefetch.count =
                value.parse().map_err(|_| "an integer from 0 to 65535")?;
            Ok(())
        }),
    },
    Key {
        name: "warren.default_consumer_prefetch.global",
        alias: None,
        env: "rabbit.default_consumer_prefetch",
        kind: BOOLEAN,
        default: "false",
        meaning: "`true` makes it the limit of a channel, if `deprecated_features.permit.global_qos` allows that.",
        state: State::Honoured(|draft, _, value| {
            draft.settings.consumer_prefetch.is_global = boolean(value)?;
            Ok(())
        }),
    },
    Key {
        name: "max_message_size",
        alias: None,
        env: "rabbit.max_message_size",
        kind: INTEGER_OR_UNIT,
        default: "16777216",
        meaning: "Largest message body in bytes, at most 512 MiB.",
        state: State::Honoured(|draft, _, value| {
            draft.settings.message_size_max_bytes = size::parse_information_unit(value)
                .filter(|bytes| (1..=MESSAGE_SIZE_CAP_BYTES).contains(bytes))
                .ok_or("bytes, an integer from 1 to 536870912")?;
            Ok(())
        }),
    },
    Key {
        name: "max_connections",
        alias: Some("connection_max"),
        env: "rabbit.connection_max",
        kind: OR_INFINITY,
        default: "infinity",
        meaning: "Client connections that the node takes.",
        state: State::Honoured(|draft, _, value| {
            draft.settings.connections_max = or_infinity(value)?;
            Ok(())
        }),
    },
    Key {
        name: "channel_max_per_node",
        alias: None,
        env: "rabbit.channel_max_per_node",
        kind: OR_INFINITY,
        default: "infinity",
        meaning: "Channels that all connections of the node may have together.",
        state: State::Honoured(|draft, _, value| {
            draft.settings.channels_max_per_node = or_infinity(value)?;
            Ok(())
        }),
    },
    Key {
        name: "vhost_max",
        alias: None,
        env: "rabbit.vhost_max",
        kind: OR_INFINITY,
        default: "infinity",
        meaning: "Virtual hosts that may exist.",
        state: State::Honoured(|draft, _, value| {
            draft.settings.metadata.vhosts_max = or_infinity(value)?;
            Ok(())
        }),
    },
    Key {
        name: "default_queue_type",
        alias: None,
        env: "rabbit.default_queue_type",
        kind: TEXT,
        default: "classic",
        meaning: "Type of durable queues that are declared without one in virtual hosts that say none: `classic`, `quorum` or `stream`.",
        state: State::Honoured(|draft, _, value| {
            if !["classic", "quorum", "stream"].contains(&value) {
                return Err("classic, quorum or stream".to_owned());
            }
            draft.settings.metadata.default_queue_type = value.to_owned();
            Ok(())
        }),
    },
    Key {
        name: "runtime_parameters.limits.$category",
        alias: None,
        env: "rabbit.runtime_parameters.limits",
        kind: NON_NEGATIVE,
        default: "",
        meaning: "Runtime parameters of one kind that may exist in all virtual hosts together, for example of `policy` or `operator_policy`.",
        state: State::Honoured(|draft, category, value| {
            let max = value.parse().map_err(|_| "an integer from 0")?;
            let limits = &mut draft.settings.metadata.parameters_max;
            limits.insert(category.to_owned(), max);
            Ok(())
        }),
    },
    Key {
        name: "default_limits.vhosts.$id.pattern",
        alias: None,
        env: "rabbit.default_limits.vhosts",
        kind: TEXT,
        default: "",
        meaning: "Names of the new virtual hosts that get these limits, a regular expression; all if unset. Of several groups the first by `$id` counts.",
        state: State::Honoured(|draft, id, value| limits(draft, id).set("pattern", value)),
    },
    Key {
        name: "default_limits.vhosts.$id.max_connections",
        alias: None,
        env: "rabbit.default_limits.vhosts",
        kind: POSITIVE,
        default: "",
        meaning: "Client connections that such a virtual host takes.",
        state: State::Honoured(|draft, id, value| limits(draft, id).set("max_connections", value)),
    },
    Key {
        name: "default_limits.vhosts.$id.max_queues",
        alias: None,
        env: "rabbit.default_limits.vhosts",
        kind: POSITIVE,
        default: "",
        meaning: "Queues that it may hold.",
        state: State::Honoured(|draft, id, value| limits(draft, id).set("max_queues", value)),
    },
    Key {
        name: "default_policies.operator.$id.vhost_pattern",
        alias: None,
        env: "rabbit.default_policies.operator",
        kind: TEXT,
        default: "",
        meaning: "Names of the new virtual hosts that get this operator policy, a regular expression; all if unset.",
        state: State::Honoured(|draft, id, value| {
            policy(draft, id).set(id, "vhost_pattern", value)
        }),
    },
    Key {
        name: "default_policies.operator.$id.queue_pattern",
        alias: None,
        env: "rabbit.default_policies.operator",
        kind: TEXT,
        default: "",
        meaning: "Its pattern.",
        state: State::Honoured(|draft, id, value| {
            policy(draft, id).set(id, "queue_pattern", value)
        }),
    },
    Key {
        name: "default_policies.operator.$id.apply_to",
        alias: None,
        env: "rabbit.default_policies.operator",
        kind: TEXT,
        default: "",
        meaning: "What it applies to.",
        state: State::Honoured(|draft, id, value| policy(draft, id).set(id, "apply_to", value)),
    },
    Key {
        name: "default_policies.operator.$id.expires",
        alias: None,
        env: "rabbit.default_policies.operator",
        kind: DURATION,
        default: "",
        meaning: "Its `expires`, for example `1h`.",
        state: State::Honoured(|draft, id, value| policy(draft, id).set(id, "expires", value)),
    },
    Key {
        name: "default_policies.operator.$id.message_ttl",
        alias: None,
        env: "rabbit.default_policies.operator",
        kind: DURATION,
        default: "",
        meaning: "Its `message-ttl`.",
        state: State::Honoured(|draft, id, value| policy(draft, id).set(id, "message_ttl", value)),
    },
    Key {
        name: "default_policies.operator.$id.max_length",
        alias: None,
        env: "rabbit.default_policies.operator",
        kind: POSITIVE,
        default: "",
        meaning: "Its `max-length`.",
        state: State::Honoured(|draft, id, value| policy(draft, id).set(id, "max_length", value)),
    },
    Key {
        name: "default_policies.operator.$id.max_length_bytes",
        alias: None,
        env: "rabbit.default_policies.operator",
        kind: SIZE,
        default: "",
        meaning: "Its `max-length-bytes`.",
        state: State::Honoured(|draft, id, value| {
            policy(draft, id).set(id, "max_length_bytes", value)
        }),
    },
    Key {
        name: "default_policies.operator.$id.max_in_memory_length",
        alias: None,
        env: "rabbit.default_policies.operator",
        kind: POSITIVE,
        default: "",
        meaning: "Its `max-in-memory-length`.",
        state: State::Honoured(|draft, id, value| {
            policy(draft, id).set(id, "max_in_memory_length", value)
        }),
    },
    Key {
        name: "default_policies.operator.$id.max_in_memory_bytes",
        alias: None,
        env: "rabbit.default_policies.operator",
        kind: SIZE,
        default: "",
        meaning: "Its `max-in-memory-bytes`.",
        state: State::Honoured(|draft, id, value| {
            policy(draft, id).set(id, "max_in_memory_bytes", value)
        }),
    },
    Key {
        name: "default_policies.operator.$id.delivery_limit",
        alias: None,
        env: "rabbit.default_policies.operator",
        kind: POSITIVE,
        default: "",
        meaning: "Its `delivery-limit`.",
        state: State::Honoured(|draft, id, value| {
            policy(draft, id).set(id, "delivery_limit", value)
        }),
    },
    Key {
        name: "default_policies.operator.$id.classic_queues.queue_version",
        alias: None,
        env: "rabbit.default_policies.operator",
        kind: POSITIVE,
        default: "",
        meaning: "Its `queue-version`.",
        state: State::Honoured(|draft, id, value| {
            policy(draft, id).set(id, "queue_version", value)
        }),
    },
    Key {
        name: "deprecated_features.permit.$feature",
        alias: None,
        env: "rabbit.permit_deprecated_features",
        kind: BOOLEAN,
        default: "",
        meaning: "Whether clients may use a deprecated feature, for example `global_qos`.",
        state: State::Honoured(|draft, feature, value| {
            draft
                .settings
                .deprecated_features
                .insert(feature.to_owned(), boolean(value)?);
            Ok(())
        }),
    },
    Key {
        name: "message_interceptors.incoming.set_header_timestamp.overwrite",
        alias: None,
        env: "rabbit.message_interceptors",
        kind: BOOLEAN,
        default: "",
        meaning: "Adds the time of arrival to messages: header `timestamp_in_ms` and property `timestamp`. `true` replaces a publisher's own, `false` keeps it; unset, nothing is added.",
        state: State::Honoured(|draft, _, value| {
            draft.settings.interceptors.timestamp = Some(existing(value)?);
            Ok(())
        }),
    },
    Key {
        name: "message_interceptors.incoming.set_header_routing_node.overwrite",
        alias: None,
        env: "rabbit.message_interceptors",
        kind: BOOLEAN,
        default: "",
        meaning: "Adds the name of this node to messages: header `x-routed-by`. `true` replaces a publisher's own, `false` keeps it; unset, nothing is added.",
        state: State::Honoured(|draft, _, value| {
            draft.settings.interceptors.routing_node = Some(existing(value)?);
            Ok(())
        }),
    },
    Key {
        name: "event_exchange.vhost",
        alias: None,
        env: "rabbitmq_event_exchange.vhost",
        kind: TEXT,
        default: "",
        meaning: "Vhost of the exchange `amq.rabbitmq.event`; `default_vhost` if unset.",
        state: State::Honoured(|draft, _, value| {
            draft.settings.event_exchange_vhost = Some(name(value)?);
            Ok(())
        }),
    },
    Key {
        name: "event_exchange.protocol",
        alias: None,
        env: "rabbitmq_event_exchange.protocol",
        kind: &[Type::OneOf(&["amqp_0_9_1", "amqp_1_0"])],
        default: "amqp_0_9_1",
        meaning: "Form of the messages of `amq.rabbitmq.event`; `amqp_0_9_1` is the only one.",
        state: State::Honoured(|_, _, value| match value {
            "amqp_0_9_1" => Ok(()),
            _ => Err("amqp_0_9_1".to_owned()),
        }),
    },
];

rows! {
    State::Refused("classic queues have no mirrors since RabbitMQ 4.0") => {
        "default_policies.operator.$id.classic_queues.ha_mode", "rabbit.default_policies.operator", TEXT, "";
        "default_policies.operator.$id.classic_queues.ha_params", "rabbit.default_policies.operator", TEXT, "";
        "default_policies.operator.$id.classic_queues.ha_sync_mode", "rabbit.default_policies.operator", TEXT, "";
    }
    State::Only(&["true"], "a type of queues cannot be switched off") => {
        "queue_types.classic.enabled", "rabbit.classic_queues_enabled", BOOLEAN, "";
        "queue_types.quorum.enabled", "rabbit.quorum_queues_enabled", BOOLEAN, "";
    }
    State::Only(&["false"], NO_STREAMS) => {
        "queue_types.stream.enabled", "rabbit.stream_queues_enabled", BOOLEAN, "";
    }
    State::Only(&["continue", "transient", "persistent"], "a vhost whose log has failed does not stop the node") => {
        "vhost_restart_strategy", "rabbit.vhost_restart_strategy", &[Type::OneOf(&["stop_node", "continue", "transient", "persistent"])], "continue";
    }
    State::Accepted => {
        "consumer_disconnected_timeout", "rabbit.consumer_disconnected_timeout", POSITIVE, "60000";
        "channel_interceptor.priorities.$name", "rabbit.channel_interceptor_priorities", INTEGER, "";
    }
    State::Refused("interceptors are incoming.set_header_timestamp and incoming.set_header_routing_node") => {
        "message_interceptors.$stage.$name.$key", "rabbit.message_interceptors", BOOLEAN, "";
    }
    State::Accepted => {
        "message_store_shutdown_timeout", "rabbit.msg_store_shutdown_timeout", POSITIVE, "600000";
        "queue_index_embed_msgs_below", "rabbit.queue_index_embed_msgs_below", SIZE, "4096";
        "classic_queue.default_version", "rabbit.classic_queue_default_version", POSITIVE, "";
    }
}
