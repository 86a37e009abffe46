//! Listeners, sockets and what AMQP connections may do.

use super::kind::*;
use super::*;

pub(super) static KEYS: &[Key] = &[
    Key {
        name: "listeners.tcp",
        alias: None,
        env: "rabbit.tcp_listeners",
        kind: NONE,
        default: "",
        meaning: "`none` turns plain TCP listeners off.",
        state: State::Honoured(|draft, _, value| {
            none_only(value)?;
            draft.listeners_off = true;
            Ok(())
        }),
    },
    Key {
        name: "listeners.tcp.$name",
        alias: None,
        env: "rabbit.tcp_listeners",
        kind: LISTENER,
        default: "5672",
        meaning: "A listener: `port` on all addresses, `ip:port` or `[ipv6]:port`.",
        state: State::Honoured(|draft, name, value| {
            let address = ListenAddress::parse(value)?;
            draft.listeners.insert(name.to_owned(), address);
            Ok(())
        }),
    },
    Key {
        name: "tcp_listen_options.backlog",
        alias: None,
        env: "rabbit.tcp_listen_options.backlog",
        kind: INTEGER,
        default: "128",
        meaning: "Connections the kernel may hold before they are accepted.",
        state: State::Honoured(|draft, _, value| {
            draft.settings.tcp_listen_options.backlog = positive(value)?;
            Ok(())
        }),
    },
    Key {
        name: "tcp_listen_options.nodelay",
        alias: None,
        env: "rabbit.tcp_listen_options.nodelay",
        kind: BOOLEAN,
        default: "true",
        meaning: "TCP_NODELAY on accepted sockets.",
        state: State::Honoured(|draft, _, value| {
            draft.settings.tcp_listen_options.nodelay = boolean(value)?;
            Ok(())
        }),
    },
    Key {
        name: "tcp_listen_options.keepalive",
        alias: None,
        env: "rabbit.tcp_listen_options.keepalive",
        kind: BOOLEAN,
        default: "false",
        meaning: "SO_KEEPALIVE on accepted sockets.",
        state: State::Honoured(|draft, _, value| {
            draft.settings.tcp_listen_options.keepalive = boolean(value)?;
            Ok(())
        }),
    },
    Key {
        name: "tcp_listen_options.sndbuf",
        alias: None,
        env: "rabbit.tcp_listen_options.sndbuf",
        kind: INTEGER,
        default: "",
        meaning: "SO_SNDBUF in bytes; the kernel's default if unset.",
        state: State::Honoured(|draft, _, value| {
            draft.settings.tcp_listen_options.send_buffer_bytes = Some(positive(value)?);
            Ok(())
        }),
    },
    Key {
        name: "tcp_listen_options.recbuf",
        alias: None,
        env: "rabbit.tcp_listen_options.recbuf",
        kind: INTEGER,
        default: "",
        meaning: "SO_RCVBUF in bytes; the kernel's default if unset.",
        state: State::Honoured(|draft, _, value| {
            draft.settings.tcp_listen_options.receive_buffer_bytes = Some(positive(value)?);
            Ok(())
        }),
    },
    Key {
        name: "handshake_timeout",
        alias: None,
        env: "rabbit.handshake_timeout",
        kind: OR_INFINITY,
        default: "10000",
        meaning: "Milliseconds a client has from TCP connect to connection.open; `infinity` for no limit.",
        state: State::Honoured(|draft, _, value| {
            draft.settings.handshake_timeout = match value {
                "infinity" => None,
                value => Some(Duration::from_millis(
                    positive::<u32>(value)
                        .map_err(|_| "milliseconds above 0 or infinity")?
                        .into(),
                )),
            };
            Ok(())
        }),
    },
    Key {
        name: "heartbeat",
        alias: None,
        env: "rabbit.heartbeat",
        kind: INTEGER,
        default: "60",
        meaning: "Heartbeat interval in seconds that clients are offered; 0 offers none.",
        state: State::Honoured(|draft, _, value| {
            draft.settings.heartbeat_s = value
                .parse()
                .map_err(|_| "seconds, an integer from 0 to 65535")?;
            Ok(())
        }),
    },
    Key {
        name: "frame_max",
        alias: None,
        env: "rabbit.frame_max",
        kind: SIZE,
        default: "131072",
        meaning: "Largest frame that clients are offered, in bytes, from 8192 to 16 MiB.",
        state: State::Honoured(|draft, _, value| {
            draft.settings.frame_size_max_bytes = frame_size(value)?;
            Ok(())
        }),
    },
    Key {
        name: "initial_frame_max",
        alias: None,
        env: "rabbit.initial_frame_max",
        kind: SIZE,
        default: "8192",
        meaning: "Largest frame accepted before connection.tune-ok, in bytes, from 8192 to 16 MiB.",
        state: State::Honoured(|draft, _, value| {
            draft.settings.initial_frame_size_max_bytes = frame_size(value)?;
            Ok(())
        }),
    },
    Key {
        name: "channel_max",
        alias: Some("max_channels_per_connection"),
        env: "rabbit.channel_max",
        kind: INTEGER,
        default: "2047",
        meaning: "Channels a connection may have, from 1 to 65535; 0 means 65535.",
        state: State::Honoured(|draft, _, value| {
            let count: u16 = value.parse().map_err(|_| "an integer from 0 to 65535")?;
            draft.settings.channel_max = if count == 0 { u16::MAX } else { count };
            Ok(())
        }),
    },
    Key {
        name: "proxy_protocol",
        alias: None,
        env: "rabbit.proxy_protocol",
        kind: BOOLEAN,
        default: "false",
        meaning: "Whether every AMQP connection begins with a header of the PROXY protocol, version 1 or 2, which says who the client is.",
        state: State::Honoured(|draft, _, value| {
            draft.settings.proxy_protocol = boolean(value)?;
            Ok(())
        }),
    },
    Key {
        name: "warren.management.proxy_protocol",
        alias: None,
        env: "",
        kind: BOOLEAN,
        default: "false",
        meaning: "The same for connections of the HTTP API.",
        state: State::Honoured(|draft, _, value| {
            draft.settings.management.proxy_protocol = boolean(value)?;
            Ok(())
        }),
    },
];

rows! {
    State::Only(&["false"], "clients are shown by their addresses") => {
        "reverse_dns_lookups", "rabbit.reverse_dns_lookups", BOOLEAN, "false";
    }
    State::Only(&["0"], "listeners open when the node is ready for clients, and not before") => {
        "listeners.startup_delay", "rabbit.listeners_startup_delay", INTEGER, "0";
    }
    State::Only(&["infinity"], "connection_max is the limit of the node's connections") => {
        "ranch_connection_max", "rabbit.ranch_connection_max", OR_INFINITY, "infinity";
    }
    State::Only(&["none"], "options have names of their own") => {
        "tcp_listen_options", "rabbit.tcp_listen_options", NONE, "";
    }
    State::Only(&["false"], "packets to clients go through the routing table") => {
        "tcp_listen_options.dontroute", "rabbit.tcp_listen_options.dontroute", BOOLEAN, "";
    }
    State::Refused("listeners are opened by the node itself") => {
        "tcp_listen_options.fd", "rabbit.tcp_listen_options.fd", INTEGER, "";
    }
    State::Refused("write it as listeners.tcp.default") => {
        "tcp_listen_options.port", "rabbit.tcp_listen_options.port", INTEGER, "";
    }
    State::Refused("packets have the priority that the system gives them") => {
        "tcp_listen_options.priority", "rabbit.tcp_listen_options.priority", INTEGER, "";
        "tcp_listen_options.tos", "rabbit.tcp_listen_options.tos", INTEGER, "";
    }
    State::Accepted => {
        "num_acceptors.tcp", "rabbit.num_tcp_acceptors", INTEGER, "10";
        "socket_writer.gc_threshold", "rabbit.writer_gc_threshold", OFF_OR_INTEGER, "1000000000";
        "tcp_listen_options.buffer", "rabbit.tcp_listen_options.buffer", INTEGER, "";
        "tcp_listen_options.delay_send", "rabbit.tcp_listen_options.delay_send", BOOLEAN, "";
        "tcp_listen_options.exit_on_close", "rabbit.tcp_listen_options.exit_on_close", BOOLEAN, "false";
        "tcp_listen_options.high_msgq_watermark", "rabbit.tcp_listen_options.high_msgq_watermark", INTEGER, "";
        "tcp_listen_options.high_watermark", "rabbit.tcp_listen_options.high_watermark", INTEGER, "";
        "tcp_listen_options.low_msgq_watermark", "rabbit.tcp_listen_options.low_msgq_watermark", INTEGER, "";
        "tcp_listen_options.low_watermark", "rabbit.tcp_listen_options.low_watermark", INTEGER, "";
        "tcp_listen_options.send_timeout", "rabbit.tcp_listen_options.send_timeout", INTEGER, "";
        "tcp_listen_options.send_timeout_close", "rabbit.tcp_listen_options.send_timeout_close", BOOLEAN, "";
        "tcp_listen_options.linger.on", "rabbit.tcp_listen_options.linger", BOOLEAN, "{true,0}";
        "tcp_listen_options.linger.timeout", "rabbit.tcp_listen_options.linger", NON_NEGATIVE, "{true,0}";
    }
}
