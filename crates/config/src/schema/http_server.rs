//! What the listeners of the HTTP API and of the metrics do for their clients: each has its own.

use super::kind::*;
use super::*;

described! {
    State::HonouredWhole(|draft, key, value| {
        let settings = &mut draft.settings;
        let [site, listener, option] = key else {
            return Err("no such setting".to_owned());
        };
        let service = match (site.as_str(), listener.as_str()) {
            ("management", "tcp") => &mut settings.management.service,
            ("management", _) => &mut settings.management.tls_service,
            (_, "tcp") => &mut settings.prometheus.service,
            _ => &mut settings.prometheus.tls_service,
        };
        if option == "compress" {
            service.compresses = boolean(value)?;
        } else {
            service.request_timeout = Some(Duration::from_millis(positive::<u32>(value)?.into()));
        }
        Ok(())
    }) => {
        "management.tcp.compress", "rabbitmq_management.tcp_config.cowboy_opts.compress", BOOLEAN, "true", "Whether answers are compressed for clients that can read it.";
        "management.tcp.request_timeout", "rabbitmq_management.tcp_config.cowboy_opts.request_timeout", NON_NEGATIVE, "10000", "Milliseconds after which a connection without a whole request is closed; at most 2,000 while more than half of all connections are taken.";
        "management.ssl.compress", "rabbitmq_management.ssl_config.cowboy_opts.compress", BOOLEAN, "true", "As `management.tcp.compress`.";
        "management.ssl.request_timeout", "rabbitmq_management.ssl_config.cowboy_opts.request_timeout", NON_NEGATIVE, "10000", "As `management.tcp.request_timeout`.";
        "prometheus.tcp.compress", "rabbitmq_prometheus.tcp_config.cowboy_opts.compress", BOOLEAN, "true", "As `management.tcp.compress`.";
        "prometheus.tcp.request_timeout", "rabbitmq_prometheus.tcp_config.cowboy_opts.request_timeout", NON_NEGATIVE, "10000", "As `management.tcp.request_timeout`.";
        "prometheus.ssl.compress", "rabbitmq_prometheus.ssl_config.cowboy_opts.compress", BOOLEAN, "true", "As `management.tcp.compress`.";
        "prometheus.ssl.request_timeout", "rabbitmq_prometheus.ssl_config.cowboy_opts.request_timeout", NON_NEGATIVE, "10000", "As `management.tcp.request_timeout`.";
    }
}
