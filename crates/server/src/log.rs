//! Where log lines go.

use crate::log_exchange::{self, Publisher};
use node::config::{LogLevel, LogSettings};
use std::io::IsTerminal;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

/// Starts logging to the standard error stream (the standard output is for the ready line) and, where it is wanted, to an
/// exchange; what publishes there is returned.
pub(crate) fn start(settings: &LogSettings) -> Option<Publisher> {
    let console = settings.console.then(|| {
        let ansi = std::io::stderr().is_terminal();
        fmt::layer()
            .with_ansi(ansi)
            .with_writer(std::io::stderr)
            .with_target(false)
            .with_filter(filter(settings.console_level.unwrap_or(settings.level)))
    });
    let (lines, publisher) = log_exchange::channel();
    let exchange = settings.exchange.then(|| {
        fmt::layer()
            .with_ansi(false)
            .with_writer(lines)
            .with_target(false)
            .with_filter(filter(settings.exchange_level.unwrap_or(settings.level)))
    });
    tracing_subscriber::registry()
        .with(console)
        .with(exchange)
        .init();
    settings.exchange.then_some(publisher)
}

fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Warning => LevelFilter::WARN,
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::None => LevelFilter::OFF,
    }
}
