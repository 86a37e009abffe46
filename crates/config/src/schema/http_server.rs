//! What the listeners of the HTTP API and of the metrics do for their clients: each has its own.

use super::kind::*;
use super::*;

described! {
    State::HonouredWhole(|draft, key, value| {
        let settings = &mut draft.settings;
        let (Some(site), Some(listener), Some(option)) = (key.first(), key.get(1), key.last()) else {
            return Err("no such setting".to_owned());
        };
        let service = match (site.as_str(), listener.as_str()) {
            // `management.listener` is an older name of `management.tcp`.
            ("management", "tcp" | "listener") => &mut settings.management.service,
            ("management", _) => &mut settings.management.tls_service,
            (_, "tcp") => &mut settings.prometheus.service,
            _ => &mut settings.prometheus.tls_service,
        };
        let milliseconds = || positive::<u32>(value).map(|ms| Some(Duration::from_millis(ms.into())));
        match option.as_str() {
            "compress" => service.compresses = boolean(value)?,
            "request_timeout" => service.request_timeout = milliseconds()?,
            "idle_timeout" => service.idle_timeout = milliseconds()?,
            "inactivity_timeout" => service.inactivity_timeout = milliseconds()?,
            "max_keepalive" => service.requests_max = Some(positive(value)?),
            "max_connections" if value == "infinity" => service.connections_max = None,
            "max_connections" => service.connections_max = Some(positive(value)?),
            _ => service.backlog = Some(positive(value)?),
        }
        Ok(())
    }) => {
        "management.tcp.compress", "rabbitmq_management.tcp_config.cowboy_opts.compress", BOOLEAN, "true", "Whether answers are compressed for clients that can read it.";
        "management.tcp.request_timeout", "rabbitmq_management.tcp_config.cowboy_opts.request_timeout", NON_NEGATIVE, "10000", "Milliseconds after which a connection without a whole request is closed; at most 2,000 while more than half of all connections are taken.";
        "management.tcp.idle_timeout", "rabbitmq_management.tcp_config.cowboy_opts.idle_timeout", NON_NEGATIVE, "", "Milliseconds for which nothing may come of a request that has begun. A body as a whole may take 30,000, or this if it is longer.";
        "management.tcp.inactivity_timeout", "rabbitmq_management.tcp_config.cowboy_opts.inactivity_timeout", NON_NEGATIVE, "", "Milliseconds for which nothing at all may come or go.";
        "management.tcp.max_keepalive", "rabbitmq_management.tcp_config.cowboy_opts.max_keepalive", NON_NEGATIVE, "", "Requests after which a connection is closed; any number if unset.";
        "management.tcp.max_connections", "rabbitmq_management.tcp_config.max_connections", OR_INFINITY, "4096", "Connections at once; others wait. More than 4,096 are as many.";
        "management.listener.server.compress", "rabbitmq_management.listener.cowboy_opts.compress", BOOLEAN, "true", "As `management.tcp.compress`.";
        "management.listener.server.request_timeout", "rabbitmq_management.listener.cowboy_opts.request_timeout", NON_NEGATIVE, "10000", "As `management.tcp.request_timeout`.";
        "management.listener.server.idle_timeout", "rabbitmq_management.listener.cowboy_opts.idle_timeout", NON_NEGATIVE, "", "As `management.tcp.idle_timeout`.";
        "management.listener.server.inactivity_timeout", "rabbitmq_management.listener.cowboy_opts.inactivity_timeout", NON_NEGATIVE, "", "As `management.tcp.inactivity_timeout`.";
        "management.listener.server.max_keepalive", "rabbitmq_management.listener.cowboy_opts.max_keepalive", NON_NEGATIVE, "", "As `management.tcp.max_keepalive`.";
        "management.ssl.compress", "rabbitmq_management.ssl_config.cowboy_opts.compress", BOOLEAN, "true", "As `management.tcp.compress`.";
        "management.ssl.request_timeout", "rabbitmq_management.ssl_config.cowboy_opts.request_timeout", NON_NEGATIVE, "10000", "As `management.tcp.request_timeout`.";
        "management.ssl.idle_timeout", "rabbitmq_management.ssl_config.cowboy_opts.idle_timeout", NON_NEGATIVE, "", "As `management.tcp.idle_timeout`.";
        "management.ssl.inactivity_timeout", "rabbitmq_management.ssl_config.cowboy_opts.inactivity_timeout", NON_NEGATIVE, "", "As `management.tcp.inactivity_timeout`.";
        "management.ssl.max_keepalive", "rabbitmq_management.ssl_config.cowboy_opts.max_keepalive", NON_NEGATIVE, "", "As `management.tcp.max_keepalive`.";
        "management.ssl.max_connections", "rabbitmq_management.ssl_config.max_connections", OR_INFINITY, "4096", "As `management.tcp.max_connections`.";
        "management.ssl.backlog", "rabbitmq_management.ssl_config.backlog", INTEGER, "1024", "Connections that may wait to be accepted.";
        "prometheus.tcp.compress", "rabbitmq_prometheus.tcp_config.cowboy_opts.compress", BOOLEAN, "true", "As `management.tcp.compress`.";
        "prometheus.tcp.request_timeout", "rabbitmq_prometheus.tcp_config.cowboy_opts.request_timeout", NON_NEGATIVE, "10000", "As `management.tcp.request_timeout`.";
        "prometheus.tcp.idle_timeout", "rabbitmq_prometheus.tcp_config.cowboy_opts.idle_timeout", NON_NEGATIVE, "", "As `management.tcp.idle_timeout`.";
        "prometheus.tcp.inactivity_timeout", "rabbitmq_prometheus.tcp_config.cowboy_opts.inactivity_timeout", NON_NEGATIVE, "", "As `management.tcp.inactivity_timeout`.";
        "prometheus.tcp.max_keepalive", "rabbitmq_prometheus.tcp_config.cowboy_opts.max_keepalive", NON_NEGATIVE, "", "As `management.tcp.max_keepalive`.";
        "prometheus.tcp.max_connections", "rabbitmq_prometheus.tcp_config.max_connections", OR_INFINITY, "4096", "As `management.tcp.max_connections`.";
        "prometheus.ssl.compress", "rabbitmq_prometheus.ssl_config.cowboy_opts.compress", BOOLEAN, "true", "As `management.tcp.compress`.";
        "prometheus.ssl.request_timeout", "rabbitmq_prometheus.ssl_config.cowboy_opts.request_timeout", NON_NEGATIVE, "10000", "As `management.tcp.request_timeout`.";
        "prometheus.ssl.idle_timeout", "rabbitmq_prometheus.ssl_config.cowboy_opts.idle_timeout", NON_NEGATIVE, "", "As `management.tcp.idle_timeout`.";
        "prometheus.ssl.inactivity_timeout", "rabbitmq_prometheus.ssl_config.cowboy_opts.inactivity_timeout", NON_NEGATIVE, "", "As `management.tcp.inactivity_timeout`.";
        "prometheus.ssl.max_keepalive", "rabbitmq_prometheus.ssl_config.cowboy_opts.max_keepalive", NON_NEGATIVE, "", "As `management.tcp.max_keepalive`.";
        "prometheus.ssl.max_connections", "rabbitmq_prometheus.ssl_config.max_connections", OR_INFINITY, "4096", "As `management.tcp.max_connections`.";
        "prometheus.ssl.backlog", "rabbitmq_prometheus.ssl_config.backlog", INTEGER, "1024", "As `management.ssl.backlog`.";
    }
}

rows! {
    State::Accepted => {
        "management.tcp.shutdown_timeout", "rabbitmq_management.tcp_config.cowboy_opts.shutdown_timeout", NON_NEGATIVE, "";
        "management.listener.server.shutdown_timeout", "rabbitmq_management.listener.cowboy_opts.shutdown_timeout", NON_NEGATIVE, "";
        "management.ssl.shutdown_timeout", "rabbitmq_management.ssl_config.cowboy_opts.shutdown_timeout", NON_NEGATIVE, "";
        "prometheus.tcp.shutdown_timeout", "rabbitmq_prometheus.tcp_config.cowboy_opts.shutdown_timeout", NON_NEGATIVE, "";
        "prometheus.ssl.shutdown_timeout", "rabbitmq_prometheus.ssl_config.cowboy_opts.shutdown_timeout", NON_NEGATIVE, "";
    }
}
