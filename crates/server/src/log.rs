//! Where log lines go.

use std::io::IsTerminal;

use node::config::{LogLevel, LogSettings};
use tracing::level_filters::LevelFilter;

/// Starts logging to the standard error stream; the standard output is for the ready line.
pub(crate) fn start(settings: &LogSettings) {
    let level = if settings.console {
        settings.console_level.unwrap_or(settings.level)
    } else {
        LogLevel::None
    };
    let filter = match level {
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Warning => LevelFilter::WARN,
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::None => LevelFilter::OFF,
    };
    let ansi = std::io::stderr().is_terminal();
    tracing_subscriber::fmt()
        .with_ansi(ansi)
        .with_max_level(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        .init();
}
