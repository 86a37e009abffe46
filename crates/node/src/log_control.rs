//! The log of the process, for those who may change it while it is in use: the command line tools and the HTTP API.
//!
//! A process has one log, so this is one place for it. What the log is, and how it is written, is the program's.

use config::log::LogLevel;
use std::path::PathBuf;
use std::sync::OnceLock;

/// What can be done to the log.
pub trait LogControl: Send + Sync {
    /// Begins new files.
    fn rotate(&self);
    /// The files that are written.
    fn files(&self) -> Vec<PathBuf>;
    /// Sets the level of one category, or of all. `false` if there is no such category.
    fn set_level(&self, category: Option<&str>, level: LogLevel) -> bool;
}

static CONTROL: OnceLock<Box<dyn LogControl>> = OnceLock::new();

/// Says what the log of this process is; the first one counts.
pub fn install_log_control(control: Box<dyn LogControl>) {
    let _first = CONTROL.set(control);
}

/// The log of this process, if it has one.
pub fn log_control() -> Option<&'static dyn LogControl> {
    CONTROL.get().map(Box::as_ref)
}
