//! Where log lines go: the standard streams, files, a syslog server, the journal, an exchange.
//!
//! One layer takes every event, looks who wants it by its category (the event's target) and level, and gives each output the line in
//! its own form ([`mod@line`]). A thread that logs waits for files and streams and for nothing else: [`exchange`] and what is behind a
//! [`feed`] have threads and bounded queues of their own.

pub(crate) mod exchange;
mod feed;
mod file;
mod journald;
mod line;
mod syslog;

use config::log::{CATEGORIES, ColorEscapes, JournalValue, LogFormat, LogLevel, LogSettings};
use exchange::{Lines, Publisher};
use feed::{Entry, Feed};
use file::{LogFile, Target};
use journald::Journald;
use line::Line;
use parking_lot::{Mutex, RwLock};
use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use syslog::Syslog;
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

/// The category of everything that has no other.
const DEFAULT: &str = "default";

/// What is running after [`start`].
pub(crate) struct Started {
    /// Publishes lines to the exchange, as soon as there is a node.
    pub(crate) publisher: Publisher,
    /// Opens files again and changes levels.
    pub(crate) control: Control,
}

/// Starts logging.
///
/// # Errors
/// A file cannot be opened, or a thread cannot be started.
pub(crate) fn start(settings: &LogSettings) -> io::Result<Started> {
    let (lines, publisher) = exchange::channel();
    let outputs = Outputs::new(settings, &lines)?;
    let control = Control {
        outputs: Arc::new(RwLock::new(outputs)),
        lines,
    };
    let layer = Logging(Arc::clone(&control.outputs));
    tracing_subscriber::registry().with(layer).init();
    Ok(Started { publisher, control })
}

/// Levels and files, which can change while the log is in use.
struct Log {
    /// By category, [`DEFAULT`] last; the order of [`CATEGORIES`].
    levels: Vec<[AtomicU8; OUTPUTS]>,
    /// Outputs that a category has: others stay silent at every level.
    has_output: Vec<[bool; OUTPUTS]>,
    /// Files by path, and the file of each category.
    files: BTreeMap<PathBuf, Mutex<LogFile>>,
    file_of: Vec<Option<PathBuf>>,
}

/// Kinds of outputs, as they are counted in [`Log::levels`].
const OUTPUTS: usize = 5;
const CONSOLE: usize = 0;
const FILE: usize = 1;
const EXCHANGE: usize = 2;
const SYSLOG: usize = 3;
const JOURNALD: usize = 4;

impl Log {
    fn new(settings: &LogSettings) -> io::Result<Self> {
        let is_on = [
            settings.console.is_on,
            true,
            settings.exchange.is_some(),
            settings.syslog.is_some(),
            settings.journald.is_some(),
        ];
        let of_output = [
            settings.console.output.level,
            settings.file_output.level,
            settings.exchange.as_ref().and_then(|output| output.level),
            settings
                .syslog
                .as_ref()
                .and_then(|syslog| syslog.output.level),
            settings
                .journald
                .as_ref()
                .and_then(|journald| journald.output.level),
        ];
        let mut levels = Vec::new();
        let mut has_output = Vec::new();
        let mut file_of = Vec::new();
        let mut files = BTreeMap::new();
        for name in CATEGORIES.iter().chain([&DEFAULT]) {
            let category = settings.categories.get(*name);
            let own_level = category.and_then(|category| category.level);
            let own_file = category.and_then(|category| category.file.clone());
            let path = own_file.or_else(|| settings.file.clone());
            if let Some(path) = &path
                && !files.contains_key(path)
            {
                let rotation = category.and_then(|category| category.rotation.clone());
                let rotation = rotation.unwrap_or_else(|| settings.rotation.clone());
                files.insert(path.clone(), Mutex::new(LogFile::open(path, rotation)?));
            }
            let threshold = |output: usize| {
                let has_place = output != FILE || path.is_some();
                let rank = match (own_level, of_output[output]) {
                    (Some(own), Some(of_output)) => rank(own).min(rank(of_output)),
                    (Some(level), None) | (None, Some(level)) => rank(level),
                    (None, None) => rank(settings.level),
                };
                AtomicU8::new(if is_on[output] && has_place { rank } else { 0 })
            };
            has_output.push([
                is_on[CONSOLE],
                path.is_some(),
                is_on[EXCHANGE],
                is_on[SYSLOG],
                is_on[JOURNALD],
            ]);
            levels.push([
                threshold(CONSOLE),
                threshold(FILE),
                threshold(EXCHANGE),
                threshold(SYSLOG),
                threshold(JOURNALD),
            ]);
            file_of.push(path);
        }
        Ok(Self {
            levels,
            has_output,
            files,
            file_of,
        })
    }

    fn set_level(&self, category: Option<&str>, level: LogLevel) -> bool {
        let names = CATEGORIES.iter().chain([&DEFAULT]);
        let mut found = false;
        let outputs = self.levels.iter().zip(&self.has_output);
        for (name, (levels, has_output)) in names.zip(outputs) {
            if category.is_some_and(|category| category != *name) {
                continue;
            }
            found = true;
            for (output, exists) in levels.iter().zip(has_output) {
                if *exists {
                    output.store(rank(level), Ordering::Relaxed);
                }
            }
        }
        found
    }

    fn wants(&self, category: usize, output: usize, level: Level) -> bool {
        rank_of(level) <= self.levels[category][output].load(Ordering::Relaxed)
    }
}

/// How much a level lets through; 0 is nothing.
fn rank(level: LogLevel) -> u8 {
    match level {
        LogLevel::None => 0,
        LogLevel::Error => 1,
        LogLevel::Warning => 2,
        LogLevel::Info => 3,
        LogLevel::Debug => 4,
    }
}

fn rank_of(level: Level) -> u8 {
    match level {
        Level::ERROR => 1,
        Level::WARN => 2,
        Level::INFO => 3,
        Level::DEBUG => 4,
        Level::TRACE => u8::MAX,
    }
}

/// The category of an event, as an index of [`Log::levels`].
fn category_of(metadata: &Metadata<'_>) -> usize {
    let known = CATEGORIES
        .iter()
        .position(|name| *name == metadata.target());
    known.unwrap_or(CATEGORIES.len())
}

struct Console {
    format: LogFormat,
    colors: Option<ColorEscapes>,
    to_stdout: bool,
}

/// Where lines go, and which; the settings may say something else later.
struct Outputs {
    log: Log,
    console: Option<Console>,
    file: LogFormat,
    exchange: Option<(Lines, LogFormat)>,
    syslog: Option<(Feed, LogFormat)>,
    journald: Option<(Feed, Vec<(String, JournalValue)>)>,
}

/// The layer that gives lines to outputs.
struct Logging(Arc<RwLock<Outputs>>);

impl<S: Subscriber> Layer<S> for Logging {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.0.read().wants(metadata) {
            Interest::always()
        } else {
            Interest::never()
        }
    }

    fn enabled(&self, metadata: &Metadata<'_>, _context: Context<'_, S>) -> bool {
        self.0.read().wants(metadata)
    }

    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        self.0.read().write(event);
    }
}

impl Outputs {
    fn new(settings: &LogSettings, lines: &Lines) -> io::Result<Self> {
        let mut outputs = Self {
            log: Log::new(settings)?,
            console: None,
            file: settings.file_output.format.clone(),
            exchange: None,
            syslog: None,
            journald: None,
        };
        if settings.console.is_on {
            let to_stdout = settings.console.to_stdout;
            let is_terminal = match to_stdout {
                true => io::stdout().is_terminal(),
                false => io::stderr().is_terminal(),
            };
            outputs.console = Some(Console {
                format: settings.console.output.format.clone(),
                colors: (settings.console.colors.unwrap_or(is_terminal))
                    .then(|| settings.console.escapes.clone()),
                to_stdout,
            });
        }
        if let Some(exchange) = &settings.exchange {
            outputs.exchange = Some((lines.clone(), exchange.format.clone()));
        }
        if let Some(syslog) = &settings.syslog {
            let feed = Feed::start("syslog", Syslog::new(syslog)?)?;
            outputs.syslog = Some((feed, syslog.output.format.clone()));
        }
        if let Some(journald) = &settings.journald {
            let feed = Feed::start("journald", Journald::open(Path::new(journald::SOCKET))?)?;
            outputs.journald = Some((feed, journald.fields.clone()));
        }
        Ok(outputs)
    }

    fn write(&self, event: &Event<'_>) {
        let metadata = event.metadata();
        let level = *metadata.level();
        let category = category_of(metadata);
        let line = Line::new(event, CATEGORIES.get(category).copied());
        if let Some(console) = &self.console
            && self.log.wants(category, CONSOLE, level)
        {
            let mut text = match &console.colors {
                Some(escapes) if !console.format.json => line.colored(&console.format, escapes),
                _ => line.text(&console.format),
            };
            text.push('\n');
            // Nobody can be told that the console is gone.
            let _gone = match console.to_stdout {
                true => io::stdout().write_all(text.as_bytes()),
                false => io::stderr().write_all(text.as_bytes()),
            };
        }
        if self.log.wants(category, FILE, level)
            && let Some(path) = &self.log.file_of[category]
            && let Some(file) = self.log.files.get(path)
        {
            let mut text = line.text(&self.file);
            text.push('\n');
            file.lock().write(text.as_bytes(), line.time);
        }
        if let Some((lines, format)) = &self.exchange
            && self.log.wants(category, EXCHANGE, level)
        {
            lines.send(line.level_name(), line.text(format));
        }
        if let Some((syslog, format)) = &self.syslog
            && self.log.wants(category, SYSLOG, level)
        {
            syslog.send(Entry {
                level,
                time: line.time,
                text: line.text(format),
                fields: Vec::new(),
            });
        }
        if let Some((journald, fields)) = &self.journald
            && self.log.wants(category, JOURNALD, level)
        {
            let filled = fields.iter().filter_map(|(name, value)| {
                let value = line.journal_value(value)?;
                Some((name.clone(), value))
            });
            journald.send(Entry {
                level,
                time: line.time,
                text: line.message_with_fields(),
                fields: filled.collect(),
            });
        }
    }

    fn wants(&self, metadata: &Metadata<'_>) -> bool {
        let category = category_of(metadata);
        (0..OUTPUTS).any(|output| self.log.wants(category, output, *metadata.level()))
    }
}

/// What can be done to the log while it is in use.
#[derive(Clone)]
pub(crate) struct Control {
    outputs: Arc<RwLock<Outputs>>,
    lines: Lines,
}

impl Control {
    /// Follows other settings from now on. What was set by command is forgotten.
    ///
    /// # Errors
    /// As [`start`]; then everything stays as it is.
    pub(crate) fn follow(&self, settings: &LogSettings) -> io::Result<()> {
        // Threads that log wait only while the one takes the place of the other.
        let outputs = Outputs::new(settings, &self.lines)?;
        let before = std::mem::replace(&mut *self.outputs.write(), outputs);
        drop(before);
        tracing::callsite::rebuild_interest_cache();
        Ok(())
    }

    /// Opens all files again, after somebody has moved them.
    pub(crate) fn reopen(&self) {
        self.change(LogFile::reopen);
    }

    /// Whether there is a file at all.
    pub(crate) fn has_files(&self) -> bool {
        !self.outputs.read().log.files.is_empty()
    }

    fn change(&self, change: impl Fn(&mut LogFile)) {
        let outputs = self.outputs.read();
        let files = outputs.log.files.values();
        files.for_each(|file| change(&mut file.lock()));
    }
}

impl node::LogControl for Control {
    fn rotate(&self) {
        self.change(LogFile::rotate);
    }

    fn files(&self) -> Vec<PathBuf> {
        self.outputs.read().log.files.keys().cloned().collect()
    }

    fn set_level(&self, category: Option<&str>, level: LogLevel) -> bool {
        let found = self.outputs.read().log.set_level(category, level);
        tracing::callsite::rebuild_interest_cache();
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use config::log::{CategoryLog, LogOutput};

    fn log(settings: &LogSettings) -> Log {
        Log::new(settings).unwrap()
    }

    #[test]
    fn the_stricter_of_category_and_output_counts() {
        let mut settings = LogSettings::default();
        settings.console.output.level = Some(LogLevel::Warning);
        settings.exchange = Some(LogOutput::default());
        let category = CategoryLog {
            level: Some(LogLevel::Debug),
            ..CategoryLog::default()
        };
        settings
            .categories
            .insert("connection".to_owned(), category);
        let log = log(&settings);
        let default = CATEGORIES.len();
        assert!(!log.wants(0, CONSOLE, Level::INFO));
        assert!(log.wants(0, EXCHANGE, Level::DEBUG));
        assert!(log.wants(default, EXCHANGE, Level::INFO));
        assert!(!log.wants(default, EXCHANGE, Level::DEBUG));
        assert!(!log.wants(default, FILE, Level::ERROR));
        assert!(!log.wants(default, SYSLOG, Level::ERROR));
        assert!(!log.wants(0, EXCHANGE, Level::TRACE));
    }

    #[test]
    fn levels_change_while_the_log_is_in_use() {
        let log = log(&LogSettings::default());
        assert!(log.set_level(Some("queue"), LogLevel::Debug));
        assert!(!log.set_level(Some("nonsense"), LogLevel::Debug));
        let queue = CATEGORIES.iter().position(|name| *name == "queue").unwrap();
        assert!(log.wants(queue, CONSOLE, Level::DEBUG));
        assert!(!log.wants(0, CONSOLE, Level::DEBUG));
        assert!(!log.wants(queue, SYSLOG, Level::ERROR));
        assert!(log.set_level(None, LogLevel::Error));
        assert!(!log.wants(queue, CONSOLE, Level::INFO));
        assert!(log.set_level(None, LogLevel::None));
        assert!(!log.wants(queue, CONSOLE, Level::ERROR));
        assert!(log.set_level(None, LogLevel::Info));
        assert!(log.wants(queue, CONSOLE, Level::INFO));
        assert!(!log.wants(queue, FILE, Level::ERROR));
    }

    #[test]
    fn a_category_may_have_a_file_of_its_own() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let category = CategoryLog {
            file: Some(path("queue.log")),
            ..CategoryLog::default()
        };
        let settings = LogSettings {
            file: Some(path("node.log")),
            categories: [("queue".to_owned(), category)].into(),
            ..LogSettings::default()
        };
        let log = log(&settings);
        let queue = CATEGORIES.iter().position(|name| *name == "queue").unwrap();
        assert_eq!(log.file_of[queue], Some(path("queue.log")));
        assert_eq!(log.file_of[0], Some(path("node.log")));
        assert_eq!(log.files.len(), 2);
    }

    #[test]
    fn other_settings_take_the_place_of_the_first() {
        use node::LogControl;
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let settings = |name: &str, level| LogSettings {
            file: Some(path(name)),
            level,
            ..LogSettings::default()
        };
        let (lines, _publisher) = exchange::channel();
        let first = Outputs::new(&settings("a.log", LogLevel::Info), &lines).unwrap();
        let control = Control {
            outputs: Arc::new(RwLock::new(first)),
            lines,
        };
        control.follow(&settings("b.log", LogLevel::Debug)).unwrap();
        assert_eq!(control.files(), [path("b.log")]);
        assert!(control.outputs.read().log.wants(0, FILE, Level::DEBUG));
        // What cannot be opened changes nothing.
        std::fs::create_dir(path("c.log")).unwrap();
        control
            .follow(&settings("c.log", LogLevel::Info))
            .unwrap_err();
        assert_eq!(control.files(), [path("b.log")]);
    }
}
