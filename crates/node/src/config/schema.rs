//! Which keys `rabbitmq.conf` may hold, what they accept and what they mean.
//!
//! One table, [`KEYS`], is the only place that knows a key: reading a file, error texts and `docs/configuration.md` all come from
//! it. Two more tables name RabbitMQ's keys that are accepted without effect and those that are refused until they work.
//! Nothing here reads files or the environment.

use super::error::{Place, Problem};
use super::{
    AuthMechanism, DefaultLimits, DefaultPolicy, DiskFreeLimit, ListenAddress, LogLevel,
    MemoryHighWatermark, Secret, Settings, size,
};
use frontend_amqp091::Existing;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::num::NonZeroU16;
use std::time::Duration;

/// RabbitMQ's hard cap of `max_message_size`: 512 MiB.
pub const MESSAGE_SIZE_CAP_BYTES: u64 = 512 << 20;
/// No client may be offered smaller frames (RabbitMQ's floor).
pub const FRAME_SIZE_MIN_BYTES: u64 = 8_192;
/// No client may be offered larger frames: a connection may have to hold one in memory.
pub const FRAME_SIZE_CAP_BYTES: u64 = 16 << 20;
/// Most shards a node may be told to run.
pub const SHARDS_MAX: u16 = 256;

/// A key of the configuration file.
pub struct Key {
    /// Its name; a part `$…` stands for a name the operator chooses.
    pub name: &'static str,
    /// Another spelling of the same key, if there is one.
    pub alias: Option<&'static str>,
    /// The default, as it would be written.
    pub default: &'static str,
    /// One sentence for an operator.
    pub meaning: &'static str,
    /// Takes the chosen part of the key (empty if there is none) and the value. The error says what was expected.
    apply: fn(&mut Draft, &str, &str) -> Result<(), String>,
}

/// Settings while files are applied to them: what is a list in the end is a map by the operator's names until then, so
/// that a later file can replace one element.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) settings: Settings,
    listeners_off: bool,
    listeners: BTreeMap<String, ListenAddress>,
    loopback_users_off: bool,
    loopback_users: BTreeMap<String, bool>,
    user_tags: BTreeMap<String, bool>,
    auth_mechanisms: BTreeMap<(u64, String), AuthMechanism>,
    management_off: bool,
    management_port: Option<u16>,
    management_ip: Option<IpAddr>,
    cors_origins: BTreeMap<String, String>,
    memory_relative: Option<f64>,
    memory_absolute: Option<u64>,
    disk_relative: Option<f64>,
    disk_absolute: Option<u64>,
}

impl Draft {
    /// Whether a file says where to listen; then the environment does not.
    pub(super) fn has_listeners(&self) -> bool {
        self.listeners_off || !self.listeners.is_empty()
    }

    /// Turns the collected names into lists.
    pub(super) fn finish(self) -> Result<Settings, Vec<Problem>> {
        let mut settings = self.settings;
        let mut problems = Vec::new();
        if self.listeners_off {
            settings.tcp_listeners.clear();
        } else if !self.listeners.is_empty() {
            settings.tcp_listeners = self.listeners.into_values().collect();
        }
        let management = &mut settings.management;
        if self.management_off {
            management.listeners.clear();
        }
        for listener in &mut management.listeners {
            listener.ip = self.management_ip;
            listener.port = self.management_port.unwrap_or(listener.port);
        }
        management.cors_allow_origins = self.cors_origins.into_values().collect();
        if self.loopback_users_off {
            settings.loopback_users.clear();
        } else if !self.loopback_users.is_empty() {
            settings.loopback_users = chosen(self.loopback_users);
        }
        if !self.user_tags.is_empty() {
            settings.default_user_tags = chosen(self.user_tags);
        }
        if !self.auth_mechanisms.is_empty() {
            settings.auth_mechanisms = self.auth_mechanisms.into_values().collect();
        }
        match (self.memory_relative, self.memory_absolute) {
            (Some(_), Some(_)) => problems.push(Problem::Conflict {
                first: "vm_memory_high_watermark.relative",
                second: "vm_memory_high_watermark.absolute",
            }),
            (Some(fraction), None) => {
                settings.memory_high_watermark = MemoryHighWatermark::Relative(fraction)
            }
            (None, Some(bytes)) => {
                settings.memory_high_watermark = MemoryHighWatermark::Absolute(bytes)
            }
            (None, None) => {}
        }
        match (self.disk_relative, self.disk_absolute) {
            (Some(_), Some(_)) => problems.push(Problem::Conflict {
                first: "disk_free_limit.relative",
                second: "disk_free_limit.absolute",
            }),
            (Some(fraction), None) => settings.disk_free_limit = DiskFreeLimit::Relative(fraction),
            (None, Some(bytes)) => settings.disk_free_limit = DiskFreeLimit::Absolute(bytes),
            (None, None) => {}
        }
        if problems.is_empty() {
            Ok(settings)
        } else {
            Err(problems)
        }
    }
}

/// The names that are switched on.
fn chosen(names: BTreeMap<String, bool>) -> Vec<String> {
    names
        .into_iter()
        .filter_map(|(name, on)| on.then_some(name))
        .collect()
}

/// All keys that have an effect, by topic.
pub static KEYS: &[Key] = &[
    Key {
        name: "listeners.tcp",
        alias: None,
        default: "",
        meaning: "`none` turns plain TCP listeners off.",
        apply: |draft, _, value| {
            none_only(value)?;
            draft.listeners_off = true;
            Ok(())
        },
    },
    Key {
        name: "listeners.tcp.$name",
        alias: None,
        default: "5672",
        meaning: "A listener: `port` on all addresses, `ip:port` or `[ipv6]:port`.",
        apply: |draft, name, value| {
            let address = ListenAddress::parse(value)?;
            draft.listeners.insert(name.to_owned(), address);
            Ok(())
        },
    },
    Key {
        name: "tcp_listen_options.backlog",
        alias: None,
        default: "128",
        meaning: "Connections the kernel may hold before they are accepted.",
        apply: |draft, _, value| {
            draft.settings.tcp_listen_options.backlog = positive(value)?;
            Ok(())
        },
    },
    Key {
        name: "tcp_listen_options.nodelay",
        alias: None,
        default: "true",
        meaning: "TCP_NODELAY on accepted sockets.",
        apply: |draft, _, value| {
            draft.settings.tcp_listen_options.nodelay = boolean(value)?;
            Ok(())
        },
    },
    Key {
        name: "tcp_listen_options.keepalive",
        alias: None,
        default: "false",
        meaning: "SO_KEEPALIVE on accepted sockets.",
        apply: |draft, _, value| {
            draft.settings.tcp_listen_options.keepalive = boolean(value)?;
            Ok(())
        },
    },
    Key {
        name: "tcp_listen_options.sndbuf",
        alias: None,
        default: "",
        meaning: "SO_SNDBUF in bytes; the kernel's default if unset.",
        apply: |draft, _, value| {
            draft.settings.tcp_listen_options.send_buffer_bytes = Some(positive(value)?);
            Ok(())
        },
    },
    Key {
        name: "tcp_listen_options.recbuf",
        alias: None,
        default: "",
        meaning: "SO_RCVBUF in bytes; the kernel's default if unset.",
        apply: |draft, _, value| {
            draft.settings.tcp_listen_options.receive_buffer_bytes = Some(positive(value)?);
            Ok(())
        },
    },
    Key {
        name: "handshake_timeout",
        alias: None,
        default: "10000",
        meaning: "Milliseconds a client has from TCP connect to connection.open; `infinity` for no limit.",
        apply: |draft, _, value| {
            draft.settings.handshake_timeout = match value {
                "infinity" => None,
                value => Some(Duration::from_millis(
                    positive::<u32>(value)
                        .map_err(|_| "milliseconds above 0 or infinity")?
                        .into(),
                )),
            };
            Ok(())
        },
    },
    Key {
        name: "heartbeat",
        alias: None,
        default: "60",
        meaning: "Heartbeat interval in seconds that clients are offered; 0 offers none.",
        apply: |draft, _, value| {
            draft.settings.heartbeat_s = value
                .parse()
                .map_err(|_| "seconds, an integer from 0 to 65535")?;
            Ok(())
        },
    },
    Key {
        name: "frame_max",
        alias: None,
        default: "131072",
        meaning: "Largest frame that clients are offered, in bytes, from 8192 to 16 MiB.",
        apply: |draft, _, value| {
            draft.settings.frame_size_max_bytes = frame_size(value)?;
            Ok(())
        },
    },
    Key {
        name: "initial_frame_max",
        alias: None,
        default: "8192",
        meaning: "Largest frame accepted before connection.tune-ok, in bytes, from 8192 to 16 MiB.",
        apply: |draft, _, value| {
            draft.settings.initial_frame_size_max_bytes = frame_size(value)?;
            Ok(())
        },
    },
    Key {
        name: "channel_max",
        alias: Some("max_channels_per_connection"),
        default: "2047",
        meaning: "Channels a connection may have, from 1 to 65535; 0 means 65535.",
        apply: |draft, _, value| {
            let count: u16 = value.parse().map_err(|_| "an integer from 0 to 65535")?;
            draft.settings.channel_max = if count == 0 { u16::MAX } else { count };
            Ok(())
        },
    },
    Key {
        name: "cluster_exchange_limit",
        alias: None,
        default: "infinity",
        meaning: "Exchanges that may exist in all vhosts together, predeclared ones with them, when another one is declared.",
        apply: |draft, _, value| {
            draft.settings.exchange_limit = match value {
                "infinity" => None,
                value => Some(value.parse().map_err(|_| "an integer from 0 or infinity")?),
            };
            Ok(())
        },
    },
    Key {
        name: "consumer_timeout",
        alias: None,
        default: "1800000",
        meaning: "Milliseconds that a consumer of a quorum queue may keep a message, unless queue or consumer say otherwise.",
        apply: |draft, _, value| {
            draft.settings.consumer_timeout_ms = positive(value)?;
            Ok(())
        },
    },
    Key {
        name: "consumer_max_per_channel",
        alias: None,
        default: "infinity",
        meaning: "Consumers a channel may have.",
        apply: |draft, _, value| {
            draft.settings.consumer_max_per_channel = match value {
                "infinity" => None,
                value => Some(positive(value).map_err(|_| "an integer above 0 or infinity")?),
            };
            Ok(())
        },
    },
    Key {
        name: "max_message_size",
        alias: None,
        default: "16777216",
        meaning: "Largest message body in bytes, at most 512 MiB.",
        apply: |draft, _, value| {
            draft.settings.message_size_max_bytes = size::parse_information_unit(value)
                .filter(|bytes| (1..=MESSAGE_SIZE_CAP_BYTES).contains(bytes))
                .ok_or("bytes, an integer from 1 to 536870912")?;
            Ok(())
        },
    },
    Key {
        name: "management.tcp",
        alias: None,
        default: "",
        meaning: "`none` turns the HTTP API off.",
        apply: |draft, _, value| {
            none_only(value)?;
            draft.management_off = true;
            Ok(())
        },
    },
    Key {
        name: "management.tcp.port",
        alias: Some("management.listener.port"),
        default: "15672",
        meaning: "Port of the HTTP API.",
        apply: |draft, _, value| {
            draft.management_port = Some(value.parse().map_err(|_| "a port, 0 to 65535")?);
            Ok(())
        },
    },
    Key {
        name: "management.tcp.ip",
        alias: Some("management.listener.ip"),
        default: "",
        meaning: "Address of the HTTP API; all if unset.",
        apply: |draft, _, value| {
            draft.management_ip = Some(value.parse().map_err(|_| "an IP address")?);
            Ok(())
        },
    },
    Key {
        name: "management.http.max_body_size",
        alias: None,
        default: "10000000",
        meaning: "Largest body of an HTTP request, in bytes.",
        apply: |draft, _, value| {
            draft.settings.management.http_max_body_bytes = positive::<u32>(value)? as usize;
            Ok(())
        },
    },
    Key {
        name: "management.cors.allow_origins.$n",
        alias: None,
        default: "",
        meaning: "An origin whose pages may use the HTTP API, or `*`.",
        apply: |draft, n, value| {
            draft.cors_origins.insert(n.to_owned(), value.to_owned());
            Ok(())
        },
    },
    Key {
        name: "management.cors.max_age",
        alias: None,
        default: "1800",
        meaning: "Seconds for which browsers remember what origins may do.",
        apply: |draft, _, value| {
            draft.settings.management.cors_max_age_s =
                value.parse().map_err(|_| "seconds, an integer")?;
            Ok(())
        },
    },
    Key {
        name: "management.path_prefix",
        alias: None,
        default: "",
        meaning: "What stands before all paths of the HTTP API, for example `/rabbit`.",
        apply: |draft, _, value| {
            if !value.starts_with('/') || value.ends_with('/') {
                return Err("a path that begins, and does not end, with a slash".to_owned());
            }
            draft.settings.management.path_prefix = value.to_owned();
            Ok(())
        },
    },
    Key {
        name: "management.restrictions.operator_policy_changes.disabled",
        alias: None,
        default: "false",
        meaning: "`true` refuses changes of operator policies over HTTP.",
        apply: |draft, _, value| {
            draft.settings.management.operator_policy_changes_disabled = boolean(value)?;
            Ok(())
        },
    },
    Key {
        name: "vm_memory_high_watermark.relative",
        alias: None,
        default: "0.6",
        meaning: "Fraction of the machine's memory above which publishers are blocked.",
        apply: |draft, _, value| {
            draft.memory_relative = Some(fraction(value)?);
            Ok(())
        },
    },
    Key {
        name: "vm_memory_high_watermark.absolute",
        alias: None,
        default: "",
        meaning: "The same as a size, for example `2GB`.",
        apply: |draft, _, value| {
            draft.memory_absolute = Some(information_unit(value)?);
            Ok(())
        },
    },
    Key {
        name: "total_memory_available_override_value",
        alias: None,
        default: "",
        meaning: "Memory of the machine as a size, where the measured one is wrong.",
        apply: |draft, _, value| {
            draft.settings.total_memory_override_bytes = Some(information_unit(value)?);
            Ok(())
        },
    },
    Key {
        name: "disk_free_limit.absolute",
        alias: None,
        default: "50000000",
        meaning: "Free disk space as a size below which publishers are blocked.",
        apply: |draft, _, value| {
            draft.disk_absolute = Some(information_unit(value)?);
            Ok(())
        },
    },
    Key {
        name: "disk_free_limit.relative",
        alias: None,
        default: "",
        meaning: "The same as a multiple of the machine's memory.",
        apply: |draft, _, value| {
            draft.disk_relative = Some(non_negative(value)?);
            Ok(())
        },
    },
    Key {
        name: "max_connections",
        alias: Some("connection_max"),
        default: "infinity",
        meaning: "Client connections that the node takes.",
        apply: |draft, _, value| {
            draft.settings.connections_max = or_infinity(value)?;
            Ok(())
        },
    },
    Key {
        name: "channel_max_per_node",
        alias: None,
        default: "infinity",
        meaning: "Channels that all connections of the node may have together.",
        apply: |draft, _, value| {
            draft.settings.channels_max_per_node = or_infinity(value)?;
            Ok(())
        },
    },
    Key {
        name: "vhost_max",
        alias: None,
        default: "infinity",
        meaning: "Virtual hosts that may exist.",
        apply: |draft, _, value| {
            draft.settings.metadata.vhosts_max = or_infinity(value)?;
            Ok(())
        },
    },
    Key {
        name: "default_queue_type",
        alias: None,
        default: "classic",
        meaning: "Type of durable queues that are declared without one in virtual hosts that say none: `classic`, `quorum` or `stream`.",
        apply: |draft, _, value| {
            if !["classic", "quorum", "stream"].contains(&value) {
                return Err("classic, quorum or stream".to_owned());
            }
            draft.settings.metadata.default_queue_type = value.to_owned();
            Ok(())
        },
    },
    Key {
        name: "runtime_parameters.limits.$category",
        alias: None,
        default: "",
        meaning: "Runtime parameters of one kind that may exist in all virtual hosts together, for example of `policy` or `operator_policy`.",
        apply: |draft, category, value| {
            let max = value.parse().map_err(|_| "an integer from 0")?;
            let limits = &mut draft.settings.metadata.parameters_max;
            limits.insert(category.to_owned(), max);
            Ok(())
        },
    },
    Key {
        name: "default_limits.vhosts.$id.pattern",
        alias: None,
        default: "",
        meaning: "Names of the new virtual hosts that get these limits, a regular expression; all if unset. Of several groups the first by `$id` counts.",
        apply: |draft, id, value| limits(draft, id).set("pattern", value),
    },
    Key {
        name: "default_limits.vhosts.$id.max_connections",
        alias: None,
        default: "",
        meaning: "Client connections that such a virtual host takes.",
        apply: |draft, id, value| limits(draft, id).set("max_connections", value),
    },
    Key {
        name: "default_limits.vhosts.$id.max_queues",
        alias: None,
        default: "",
        meaning: "Queues that it may hold.",
        apply: |draft, id, value| limits(draft, id).set("max_queues", value),
    },
    Key {
        name: "default_policies.operator.$id.vhost_pattern",
        alias: None,
        default: "",
        meaning: "Names of the new virtual hosts that get this operator policy, a regular expression; all if unset.",
        apply: |draft, id, value| policy(draft, id).set(id, "vhost_pattern", value),
    },
    Key {
        name: "default_policies.operator.$id.queue_pattern",
        alias: None,
        default: "",
        meaning: "Its pattern.",
        apply: |draft, id, value| policy(draft, id).set(id, "queue_pattern", value),
    },
    Key {
        name: "default_policies.operator.$id.apply_to",
        alias: None,
        default: "",
        meaning: "What it applies to.",
        apply: |draft, id, value| policy(draft, id).set(id, "apply_to", value),
    },
    Key {
        name: "default_policies.operator.$id.expires",
        alias: None,
        default: "",
        meaning: "Its `expires`, for example `1h`.",
        apply: |draft, id, value| policy(draft, id).set(id, "expires", value),
    },
    Key {
        name: "default_policies.operator.$id.message_ttl",
        alias: None,
        default: "",
        meaning: "Its `message-ttl`.",
        apply: |draft, id, value| policy(draft, id).set(id, "message_ttl", value),
    },
    Key {
        name: "default_policies.operator.$id.max_length",
        alias: None,
        default: "",
        meaning: "Its `max-length`.",
        apply: |draft, id, value| policy(draft, id).set(id, "max_length", value),
    },
    Key {
        name: "default_policies.operator.$id.max_length_bytes",
        alias: None,
        default: "",
        meaning: "Its `max-length-bytes`.",
        apply: |draft, id, value| policy(draft, id).set(id, "max_length_bytes", value),
    },
    Key {
        name: "default_policies.operator.$id.max_in_memory_length",
        alias: None,
        default: "",
        meaning: "Its `max-in-memory-length`.",
        apply: |draft, id, value| policy(draft, id).set(id, "max_in_memory_length", value),
    },
    Key {
        name: "default_policies.operator.$id.max_in_memory_bytes",
        alias: None,
        default: "",
        meaning: "Its `max-in-memory-bytes`.",
        apply: |draft, id, value| policy(draft, id).set(id, "max_in_memory_bytes", value),
    },
    Key {
        name: "default_policies.operator.$id.delivery_limit",
        alias: None,
        default: "",
        meaning: "Its `delivery-limit`.",
        apply: |draft, id, value| policy(draft, id).set(id, "delivery_limit", value),
    },
    Key {
        name: "default_policies.operator.$id.classic_queues.queue_version",
        alias: None,
        default: "",
        meaning: "Its `queue-version`.",
        apply: |draft, id, value| policy(draft, id).set(id, "queue_version", value),
    },
    Key {
        name: "default_vhost",
        alias: None,
        default: "/",
        meaning: "Virtual host that a new node begins with.",
        apply: |draft, _, value| {
            draft.settings.default_vhost = name(value)?;
            Ok(())
        },
    },
    Key {
        name: "default_user",
        alias: None,
        default: "guest",
        meaning: "User that a new node begins with.",
        apply: |draft, _, value| {
            draft.settings.default_user = name(value)?;
            Ok(())
        },
    },
    Key {
        name: "default_pass",
        alias: None,
        default: "guest",
        meaning: "That user's password; `encrypted:` values are not supported yet.",
        apply: |draft, _, value| {
            draft.settings.default_pass = Secret::parse(value)?;
            Ok(())
        },
    },
    Key {
        name: "default_permissions.configure",
        alias: None,
        default: ".*",
        meaning: "That user's configure permission in the default vhost, a regular expression.",
        apply: |draft, _, value| {
            draft.settings.default_permissions.configure = value.to_owned();
            Ok(())
        },
    },
    Key {
        name: "default_permissions.write",
        alias: None,
        default: ".*",
        meaning: "The write permission.",
        apply: |draft, _, value| {
            draft.settings.default_permissions.write = value.to_owned();
            Ok(())
        },
    },
    Key {
        name: "default_permissions.read",
        alias: None,
        default: ".*",
        meaning: "The read permission.",
        apply: |draft, _, value| {
            draft.settings.default_permissions.read = value.to_owned();
            Ok(())
        },
    },
    Key {
        name: "default_user_tags.$tag",
        alias: None,
        default: "administrator",
        meaning: "`true` gives that user the tag; setting any replaces the default.",
        apply: |draft, tag, value| {
            draft.user_tags.insert(tag.to_owned(), boolean(value)?);
            Ok(())
        },
    },
    Key {
        name: "loopback_users",
        alias: None,
        default: "",
        meaning: "`none` lets every user log in from any address.",
        apply: |draft, _, value| {
            none_only(value)?;
            draft.loopback_users_off = true;
            Ok(())
        },
    },
    Key {
        name: "loopback_users.$user",
        alias: None,
        default: "guest",
        meaning: "`true` restricts the user to loopback addresses; setting any replaces the default.",
        apply: |draft, user, value| {
            draft
                .loopback_users
                .insert(user.to_owned(), boolean(value)?);
            Ok(())
        },
    },
    Key {
        name: "auth_mechanisms.$number",
        alias: None,
        default: "PLAIN, AMQPLAIN, ANONYMOUS",
        meaning: "A SASL mechanism offered to clients, in the order of the numbers; setting any replaces the default.",
        apply: |draft, number, value| {
            let mechanism = match value {
                "PLAIN" => AuthMechanism::Plain,
                "AMQPLAIN" => AuthMechanism::AmqPlain,
                "ANONYMOUS" => AuthMechanism::Anonymous,
                _ => return Err("PLAIN, AMQPLAIN or ANONYMOUS".to_owned()),
            };
            let order = number.parse().unwrap_or(u64::MAX);
            draft
                .auth_mechanisms
                .insert((order, number.to_owned()), mechanism);
            Ok(())
        },
    },
    Key {
        name: "anonymous_login_user",
        alias: None,
        default: "guest",
        meaning: "User that SASL ANONYMOUS logs in as; `none` refuses such logins.",
        apply: |draft, _, value| {
            draft.settings.anonymous_login_user = match value {
                "none" => None,
                value => Some(name(value)?),
            };
            Ok(())
        },
    },
    Key {
        name: "cluster_name",
        alias: None,
        default: "",
        meaning: "Name that clients see in the server properties; the node name if unset.",
        apply: |draft, _, value| {
            draft.settings.cluster_name = Some(name(value)?);
            Ok(())
        },
    },
    Key {
        name: "deprecated_features.permit.$feature",
        alias: None,
        default: "",
        meaning: "Whether clients may use a deprecated feature, for example `global_qos`.",
        apply: |draft, feature, value| {
            draft
                .settings
                .deprecated_features
                .insert(feature.to_owned(), boolean(value)?);
            Ok(())
        },
    },
    Key {
        name: "message_interceptors.incoming.set_header_timestamp.overwrite",
        alias: None,
        default: "",
        meaning: "Adds the time of arrival to messages: header `timestamp_in_ms` and property `timestamp`. `true` replaces a publisher's own, `false` keeps it; unset, nothing is added.",
        apply: |draft, _, value| {
            draft.settings.interceptors.timestamp = Some(existing(value)?);
            Ok(())
        },
    },
    Key {
        name: "message_interceptors.incoming.set_header_routing_node.overwrite",
        alias: None,
        default: "",
        meaning: "Adds the name of this node to messages: header `x-routed-by`. `true` replaces a publisher's own, `false` keeps it; unset, nothing is added.",
        apply: |draft, _, value| {
            draft.settings.interceptors.routing_node = Some(existing(value)?);
            Ok(())
        },
    },
    Key {
        name: "event_exchange.vhost",
        alias: None,
        default: "",
        meaning: "Vhost of the exchange `amq.rabbitmq.event`; `default_vhost` if unset.",
        apply: |draft, _, value| {
            draft.settings.event_exchange_vhost = Some(name(value)?);
            Ok(())
        },
    },
    Key {
        name: "event_exchange.protocol",
        alias: None,
        default: "amqp_0_9_1",
        meaning: "Form of the messages of `amq.rabbitmq.event`; `amqp_0_9_1` is the only one.",
        apply: |_, _, value| match value {
            "amqp_0_9_1" => Ok(()),
            _ => Err("amqp_0_9_1".to_owned()),
        },
    },
    Key {
        name: "log.level",
        alias: Some("log.default.level"),
        default: "info",
        meaning: "Least severe level that is logged: `debug`, `info`, `notice`, `warning`, `error`, `critical`, `alert`, `emergency` or `none`.",
        apply: |draft, _, value| {
            draft.settings.log.level = LogLevel::parse(value)?;
            Ok(())
        },
    },
    Key {
        name: "log.console",
        alias: None,
        default: "true",
        meaning: "Whether the log goes to the standard error stream.",
        apply: |draft, _, value| {
            draft.settings.log.console = boolean(value)?;
            Ok(())
        },
    },
    Key {
        name: "log.console.level",
        alias: None,
        default: "",
        meaning: "Level of the console log where it differs from `log.level`.",
        apply: |draft, _, value| {
            draft.settings.log.console_level = Some(LogLevel::parse(value)?);
            Ok(())
        },
    },
    Key {
        name: "log.exchange",
        alias: None,
        default: "false",
        meaning: "Whether the log goes to the exchange `amq.rabbitmq.log` of the default vhost; the routing key of a line is its level.",
        apply: |draft, _, value| {
            draft.settings.log.exchange = boolean(value)?;
            Ok(())
        },
    },
    Key {
        name: "log.exchange.level",
        alias: None,
        default: "",
        meaning: "Level of the log in the exchange where it differs from `log.level`.",
        apply: |draft, _, value| {
            draft.settings.log.exchange_level = Some(LogLevel::parse(value)?);
            Ok(())
        },
    },
    Key {
        name: "warren.shards",
        alias: None,
        default: "",
        meaning: "Threads that serve connections and queues; one less than the machine has cores if unset, at least 1.",
        apply: |draft, _, value| {
            let count = value
                .parse::<NonZeroU16>()
                .ok()
                .filter(|count| count.get() <= SHARDS_MAX);
            draft.settings.shards = Some(count.ok_or("an integer from 1 to 256")?);
            Ok(())
        },
    },
];

/// RabbitMQ's keys that are read and have no effect, since they tune a runtime that is not here.
/// Each stands for itself and for all keys below it.
pub static WITHOUT_EFFECT: &[&str] = &[
    "background_gc_enabled",
    "background_gc_target_interval",
    "classic_queue.default_version",
    "cluster_keepalive_interval",
    "cluster_partition_handling",
    "credentials_obfuscation",
    "default_worker_pool_size",
    "delegate_count",
    "erlang",
    "hipe_compile",
    "memory_monitor_interval",
    "message_store_shutdown_timeout",
    "metadata_store",
    "mirroring_sync_batch_size",
    "mirroring_sync_max_throughput",
    "mnesia_table_loading_retry_limit",
    "mnesia_table_loading_retry_timeout",
    "num_acceptors",
    "queue_index_embed_msgs_below",
    "raft",
    "socket_writer",
    "sysmon_handler",
    "tcp_listen_options.buffer",
    "tcp_listen_options.delay_send",
    "tcp_listen_options.exit_on_close",
    "tcp_listen_options.high_msgq_watermark",
    "tcp_listen_options.high_watermark",
    "tcp_listen_options.linger",
    "tcp_listen_options.low_msgq_watermark",
    "tcp_listen_options.low_watermark",
    "tcp_listen_options.send_timeout",
    "tcp_listen_options.send_timeout_close",
    "vm_memory_calculation_strategy",
    "vm_memory_high_watermark_paging_ratio",
];

/// RabbitMQ's keys that would have an effect and do not yet: an operator must not believe that they do.
/// Each stands for itself and for all keys below it.
pub static NOT_SUPPORTED: &[&str] = &[
    "amqp10_client",
    "amqp_client",
    "anonymous_login_pass",
    "auth_backends",
    "auth_cache",
    "auth_http",
    "auth_ldap",
    "auth_oauth2",
    "aws",
    "channel_interceptor",
    "channel_tx_message_max",
    "classic_queue",
    "cluster_formation",
    "cluster_queue_limit",
    "cluster_tags",
    "collect_statistics",
    "collect_statistics_interval",
    "consumer_disconnected_timeout",
    "credential_validator",
    "default_policies",
    "default_users",
    "definitions",
    "distribution",
    "exchange_types",
    "federation",
    "http_dispatch",
    "link_max_per_session",
    "listeners.ssl",
    "listeners.startup_delay",
    "load_definitions",
    "log",
    "management",
    "management_agent",
    "message_interceptors",
    "motd_file",
    "mqtt",
    "net_ticktime",
    "node_tags",
    "password_hashing_module",
    "prevent_startup_if_node_was_reset",
    "product",
    "prometheus",
    "proxy_protocol",
    "queue_leader_locator",
    "queue_master_locator",
    "queue_types",
    "quorum_queue",
    "ranch_connection_max",
    "reverse_dns_lookups",
    "session_max_per_connection",
    "shovel",
    "ssl_allow_poodle_attack",
    "ssl_cert_login_from",
    "ssl_cert_login_san_index",
    "ssl_cert_login_san_type",
    "ssl_handshake_timeout",
    "ssl_options",
    "stomp",
    "stream",
    "tcp_listen_options",
    "tracing",
    "trust_store",
    "vhost_restart_strategy",
    "web_mqtt",
    "web_stomp",
];

/// Applies one entry of a file to the draft. `Ok(Some(note))` if it was accepted without effect.
pub(super) fn apply(
    draft: &mut Draft,
    place: &Place,
    key: &str,
    value: &str,
) -> Result<Option<String>, Problem> {
    if let Some((schema, part)) = find(key) {
        return (schema.apply)(draft, &part, value)
            .map(|()| None)
            .map_err(|expected| Problem::BadValue {
                place: place.clone(),
                key: key.to_owned(),
                value: if schema.name.contains("pass") {
                    "***".to_owned()
                } else {
                    value.to_owned()
                },
                expected,
            });
    }
    if key == "log.file" && value == "false" {
        return Ok(None);
    }
    if WITHOUT_EFFECT
        .iter()
        .any(|prefix| is_at_or_below(key, prefix))
    {
        return Ok(Some(format!("{place}: {key} has no effect here")));
    }
    if NOT_SUPPORTED
        .iter()
        .any(|prefix| is_at_or_below(key, prefix))
    {
        return Err(Problem::NotSupported {
            place: place.clone(),
            key: key.to_owned(),
        });
    }
    Err(Problem::UnknownKey {
        place: place.clone(),
        key: key.to_owned(),
        similar: similar(key),
    })
}

/// The key's row and the part that the operator chose.
fn find(key: &str) -> Option<(&'static Key, String)> {
    KEYS.iter().find_map(|row| {
        let (stem, chosen) = row.name.split_once(".$").unwrap_or((row.name, ""));
        if stem == row.name {
            return (key == row.name || Some(key) == row.alias).then(|| (row, String::new()));
        }
        let part = key
            .strip_prefix(stem)?
            .strip_prefix('.')?
            .strip_suffix(chosen.trim_start_matches(|c| c != '.'))?
            .replace("\\.", "\u{0}");
        (!part.contains('.')).then(|| (row, part.replace('\u{0}', ".")))
    })
}

fn is_at_or_below(key: &str, prefix: &str) -> bool {
    key.strip_prefix(prefix)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// The three nearest names, nearest first.
fn similar(key: &str) -> Vec<&'static str> {
    /// Longer keys are no typing mistake; the limit also bounds the work.
    const COMPARED_MAX_BYTES: usize = 80;
    if key.len() > COMPARED_MAX_BYTES {
        return Vec::new();
    }
    let mut names: Vec<_> = KEYS
        .iter()
        .map(|row| (edit_distance(key, row.name), row.name))
        .collect();
    names.sort_unstable();
    names.into_iter().take(3).map(|(_, name)| name).collect()
}

/// Levenshtein distance in bytes.
fn edit_distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let substitute = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = substitute.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

fn limits<'a>(draft: &'a mut Draft, id: &str) -> &'a mut DefaultLimits {
    let groups = &mut draft.settings.metadata.vhost_limits;
    groups.entry(id.to_owned()).or_default()
}

fn policy<'a>(draft: &'a mut Draft, id: &str) -> &'a mut DefaultPolicy {
    let groups = &mut draft.settings.metadata.operator_policies;
    groups.entry(id.to_owned()).or_default()
}

fn or_infinity(value: &str) -> Result<Option<u64>, String> {
    match value {
        "infinity" => Ok(None),
        value => positive(value)
            .map(Some)
            .map_err(|_| "an integer above 0 or infinity".to_owned()),
    }
}

fn none_only(value: &str) -> Result<(), String> {
    if value == "none" {
        Ok(())
    } else {
        Err("none".to_owned())
    }
}

fn boolean(value: &str) -> Result<bool, String> {
    value.parse().map_err(|_| "true or false".to_owned())
}

/// What becomes of a value that a publisher has set.
fn existing(overwrite: &str) -> Result<Existing, String> {
    Ok(match boolean(overwrite)? {
        true => Existing::Overwrite,
        false => Existing::Keep,
    })
}

fn positive<T: std::str::FromStr + PartialOrd + From<u8>>(value: &str) -> Result<T, String> {
    let number = value.parse().ok().filter(|number| *number >= T::from(1));
    number.ok_or_else(|| "an integer above 0".to_owned())
}

fn frame_size(value: &str) -> Result<u32, String> {
    size::parse_byte_size(value)
        .filter(|bytes| (FRAME_SIZE_MIN_BYTES..=FRAME_SIZE_CAP_BYTES).contains(bytes))
        .and_then(|bytes| u32::try_from(bytes).ok())
        .ok_or_else(|| "bytes, an integer from 8192 to 16777216".to_owned())
}

fn information_unit(value: &str) -> Result<u64, String> {
    size::parse_information_unit(value)
        .ok_or_else(|| "a size such as 50000000, 64MB or 2GiB".to_owned())
}

fn non_negative(value: &str) -> Result<f64, String> {
    let number = value
        .parse::<f64>()
        .ok()
        .filter(|number| number.is_finite() && *number >= 0.0);
    number.ok_or_else(|| "a number of at least 0".to_owned())
}

fn fraction(value: &str) -> Result<f64, String> {
    non_negative(value)
        .ok()
        .filter(|number| *number <= 1.0)
        .ok_or_else(|| "a number from 0 to 1".to_owned())
}

/// Vhost and user names travel in AMQP short strings.
pub(super) fn name(value: &str) -> Result<String, String> {
    if (1..=255).contains(&value.len()) {
        Ok(value.to_owned())
    } else {
        Err("a name of 1 to 255 bytes".to_owned())
    }
}
