//! What is logged, where to and in which form. Plain data with defaults; the program makes outputs of it.

use crate::size;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use transport::ClientTlsSettings;

/// Categories that have levels and files of their own; everything else is `default`.
pub const CATEGORIES: &[&str] = &[
    "connection",
    "channel",
    "queue",
    "mirroring",
    "federation",
    "upgrade",
    "user",
    "ra",
];

/// What is logged and where to.
#[derive(Clone, Debug, PartialEq)]
pub struct LogSettings {
    /// Least severe level that is logged.
    pub level: LogLevel,
    /// Levels and files of categories that have some.
    pub categories: BTreeMap<String, CategoryLog>,
    /// The standard streams.
    pub console: ConsoleLog,
    /// The file, if there is one: its path is absolute or from the working directory.
    pub file: Option<PathBuf>,
    /// Level and form in files.
    pub file_output: LogOutput,
    /// When files make room for new ones.
    pub rotation: Rotation,
    /// The exchange `amq.rabbitmq.log`; `None` if the log does not go there.
    pub exchange: Option<LogOutput>,
    /// A syslog server; `None` if the log does not go there.
    pub syslog: Option<SyslogSettings>,
    /// The journal of systemd; `None` if the log does not go there.
    pub journald: Option<JournaldSettings>,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self {
            level: LogLevel::Info,
            categories: BTreeMap::new(),
            console: ConsoleLog::default(),
            file: None,
            file_output: LogOutput::default(),
            rotation: Rotation::default(),
            exchange: None,
            syslog: None,
            journald: None,
        }
    }
}

/// A category of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CategoryLog {
    /// Least severe level; `None` for that of the log.
    pub level: Option<LogLevel>,
    /// Its own file, in place of the common one.
    pub file: Option<PathBuf>,
    /// When that file makes room for a new one; `None` for the rule of the common one.
    pub rotation: Option<Rotation>,
}

/// Level and form of one output.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogOutput {
    /// Least severe level here; `None` for that of the log.
    pub level: Option<LogLevel>,
    /// How a line looks.
    pub format: LogFormat,
}

/// The standard streams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsoleLog {
    /// Whether the log goes there.
    pub is_on: bool,
    /// Level and form.
    pub output: LogOutput,
    /// The standard output instead of the standard error stream.
    pub to_stdout: bool,
    /// Colours; `None` if the stream is a terminal.
    pub colors: Option<bool>,
    /// What stands before a line of each level to colour it.
    pub escapes: ColorEscapes,
}

impl Default for ConsoleLog {
    fn default() -> Self {
        Self {
            is_on: true,
            output: LogOutput::default(),
            to_stdout: false,
            colors: None,
            escapes: ColorEscapes::default(),
        }
    }
}

/// What colours a line of each level: escape sequences of a terminal, empty for none.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of levels")]
pub struct ColorEscapes {
    pub debug: String,
    pub info: String,
    pub warning: String,
    pub error: String,
}

impl Default for ColorEscapes {
    fn default() -> Self {
        Self {
            debug: "\u{1b}[38;5;246m".to_owned(),
            info: String::new(),
            warning: "\u{1b}[38;5;214m".to_owned(),
            error: "\u{1b}[38;5;160m".to_owned(),
        }
    }
}

/// An escape sequence as configuration files write it: `\e` or `\033` for the escape character.
pub(crate) fn escape_sequence(value: &str) -> String {
    value.replace("\\e", "\u{1b}").replace("\\033", "\u{1b}")
}

/// How a line looks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFormat {
    /// A JSON object in place of a text.
    pub json: bool,
    /// How the time is written.
    pub time: TimeFormat,
    /// How the level is written.
    pub level: LevelFormat,
    /// A message of several lines stays one line.
    pub single_line: bool,
    /// The text, with `$time`, `$level`, `$pid` and `$msg` in it.
    pub plaintext: String,
    /// The fields of the object and their names there, in their order.
    pub json_fields: Vec<(String, String)>,
    /// The numbers of levels in the object's field `verbosity`, by the name of the level; levels that are not there have none.
    pub verbosity: BTreeMap<String, i64>,
}

impl Default for LogFormat {
    fn default() -> Self {
        Self {
            json: false,
            time: TimeFormat::Rfc3339Space,
            level: LevelFormat::Lower,
            single_line: false,
            plaintext: "$time [$level] $pid $msg".to_owned(),
            json_fields: ["time", "level", "msg", "domain", "line", "pid", "category"]
                .map(|name| (name.to_owned(), name.to_owned()))
                .into(),
            verbosity: BTreeMap::new(),
        }
    }
}

/// How the time is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "RabbitMQ's names")]
pub enum TimeFormat {
    Rfc3339Space,
    Rfc3339T,
    EpochMicroseconds,
    EpochSeconds,
    LagerDefault,
}

/// How the level is written: lower or upper case, whole or its first letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum LevelFormat {
    Lower,
    Upper,
    Lower3,
    Upper3,
    Lower4,
    Upper4,
}

/// When a file makes room for a new one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rotation {
    /// At this size in bytes.
    pub size_bytes: Option<u64>,
    /// At this time.
    pub date: Option<RotationDate>,
    /// Old files that stay: `.0` is the newest.
    pub count: u32,
    /// Old files are compressed with gzip and end in `.gz`.
    pub compresses: bool,
}

/// A time that comes again and again, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RotationDate {
    /// Day of the month, 1 to 31.
    pub month_day: Option<u8>,
    /// Day of the week, 0 (Sunday) to 6.
    pub week_day: Option<u8>,
    /// Hour of the day; `None` for every hour.
    pub hour: Option<u8>,
    /// Minute of the hour.
    pub minute: u8,
}

impl RotationDate {
    /// Reads `$D0` (midnight), `$W0D23` (Sundays at 23:00), `$M1D0` (the first of a month) or `$H30` (each hour at its half).
    pub fn parse(text: &str) -> Option<Self> {
        let mut rest = text.strip_prefix('$')?;
        let mut date = Self {
            month_day: None,
            week_day: None,
            hour: None,
            minute: 0,
        };
        let mut parts = 0;
        while let Some(letter) = rest.chars().next() {
            let digits = &rest[letter.len_utf8()..];
            let end = digits.find(|c: char| !c.is_ascii_digit());
            let (number, behind) = digits.split_at(end.unwrap_or(digits.len()));
            let number: u8 = number.parse().ok()?;
            match letter {
                'M' if parts == 0 && (1..=31).contains(&number) => date.month_day = Some(number),
                'W' if parts == 0 && number <= 6 => date.week_day = Some(number),
                'D' if date.hour.is_none() && number <= 23 => date.hour = Some(number),
                'H' if number <= 59 && behind.is_empty() => date.minute = number,
                _ => return None,
            }
            parts += 1;
            rest = behind;
        }
        if date.hour.is_none() && (date.month_day.is_some() || date.week_day.is_some()) {
            date.hour = Some(0);
        }
        (parts > 0).then_some(date)
    }
}

/// A syslog server.
#[derive(Clone, Debug, PartialEq)]
pub struct SyslogSettings {
    /// Level and form.
    pub output: LogOutput,
    /// Host name, address, or the path of a socket.
    pub host: String,
    /// Port of the host.
    pub port: u16,
    /// How lines travel.
    pub transport: SyslogTransport,
    /// RFC 5424 rather than RFC 3164.
    pub is_rfc5424: bool,
    /// Name of the program.
    pub identity: String,
    /// The facility's number, 0 to 23.
    pub facility: u8,
    /// A message of several lines is several messages.
    pub splits_lines: bool,
    /// Whom to trust and who we are, over TLS.
    pub tls: ClientTlsSettings,
}

impl Default for SyslogSettings {
    fn default() -> Self {
        Self {
            output: LogOutput {
                level: None,
                format: LogFormat {
                    plaintext: "$msg".to_owned(),
                    ..LogFormat::default()
                },
            },
            host: "127.0.0.1".to_owned(),
            port: 514,
            transport: SyslogTransport::Udp,
            is_rfc5424: false,
            identity: "rabbitmq-server".to_owned(),
            facility: 3,
            splits_lines: true,
            tls: ClientTlsSettings::default(),
        }
    }
}

/// The journal of systemd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournaldSettings {
    /// Level; the form is not used, for the journal has fields.
    pub output: LogOutput,
    /// The fields beside `MESSAGE`: name and value, in their order.
    pub fields: Vec<(String, JournalValue)>,
}

/// What is in a field of the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JournalValue {
    /// The same text in each entry.
    Fixed(String),
    /// The time of the event as syslog writes it.
    Timestamp,
    /// The id of this process.
    ProcessId,
    /// syslog's number of the level.
    Priority,
    /// The thread, in the form of an Erlang process.
    Pid,
    /// The source file.
    File,
    /// The line in it.
    Line,
    /// The module.
    Module,
    /// RabbitMQ's name of the level.
    Level,
    /// The category.
    Domain,
}

impl Default for JournaldSettings {
    fn default() -> Self {
        let fields = journal_fields(JOURNAL_FIELDS);
        Self {
            output: LogOutput::default(),
            fields: fields.expect("the default can be read"),
        }
    }
}

/// RabbitMQ's fields, as its files write them.
pub(crate) const JOURNAL_FIELDS: &str = "SYSLOG_IDENTIFIER=\"rabbitmq-server\" syslog_timestamp syslog_pid priority ERL_PID=pid \
     CODE_FILE=file CODE_LINE=line CODE_MFA=mfa";

/// Reads `name`, `NAME=name` and `NAME="text"`, with spaces between them.
///
/// # Errors
/// What was expected.
pub(crate) fn journal_fields(value: &str) -> Result<Vec<(String, JournalValue)>, String> {
    let mut fields = Vec::new();
    let mut rest = value.trim_start();
    while !rest.is_empty() {
        let end = rest.find(|c: char| c == '=' || c.is_whitespace());
        let (name, behind) = rest.split_at(end.unwrap_or(rest.len()));
        let (field, after) = match behind.strip_prefix('=') {
            None => (journal_value(name)?, behind),
            Some(text) => match text.strip_prefix('"') {
                Some(text) => {
                    let (text, after) = text.split_once('"').ok_or("a closing quotation mark")?;
                    (JournalValue::Fixed(text.to_owned()), after)
                }
                None => {
                    let end = text.find(char::is_whitespace).unwrap_or(text.len());
                    let (source, after) = text.split_at(end);
                    (journal_value(source)?, after)
                }
            },
        };
        let name = name.to_ascii_uppercase();
        // Names that begin with an underscore are the journal's own.
        let is_name = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
        let begins = name.chars().next().is_some_and(|c| c.is_ascii_uppercase());
        if !begins || !name.chars().all(is_name) {
            return Err("names of letters, digits and underscores".to_owned());
        }
        fields.push((name, field));
        rest = after.trim_start();
    }
    Ok(fields)
}

fn journal_value(name: &str) -> Result<JournalValue, String> {
    Ok(match name {
        "syslog_timestamp" => JournalValue::Timestamp,
        "syslog_pid" | "os_pid" => JournalValue::ProcessId,
        "priority" => JournalValue::Priority,
        "pid" => JournalValue::Pid,
        "file" => JournalValue::File,
        "line" => JournalValue::Line,
        "mfa" => JournalValue::Module,
        "level" => JournalValue::Level,
        "domain" => JournalValue::Domain,
        _ => {
            return Err(
                "syslog_timestamp, syslog_pid, priority, pid, file, line, mfa, level, domain or a text in quotation marks"
                    .to_owned(),
            );
        }
    })
}

/// How lines travel to a syslog server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum SyslogTransport {
    Udp,
    Tcp,
    Tls,
}

/// The number of a facility.
pub(crate) fn facility(name: &str) -> Option<u8> {
    Some(match name {
        "kern" | "kernel" => 0,
        "user" => 1,
        "mail" => 2,
        "daemon" => 3,
        "auth" => 4,
        "syslog" => 5,
        "lpr" => 6,
        "news" => 7,
        "uucp" => 8,
        "cron" => 9,
        "authpriv" => 10,
        "ftp" => 11,
        "ntp" => 12,
        "audit" => 13,
        "alert" => 14,
        "clock" => 15,
        _ => {
            let number: u8 = name.strip_prefix("local")?.parse().ok()?;
            (number <= 7).then_some(16 + number)?
        }
    })
}

/// Severity of a log line. RabbitMQ's finer steps map to the next one here that loses nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum LogLevel {
    Debug,
    /// Also `notice`.
    Info,
    Warning,
    /// Also `critical`, `alert` and `emergency`.
    Error,
    None,
}

impl LogLevel {
    /// Reads RabbitMQ's name.
    ///
    /// # Errors
    /// What was expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "debug" => Ok(Self::Debug),
            "info" | "notice" => Ok(Self::Info),
            "warning" => Ok(Self::Warning),
            "error" | "critical" | "alert" | "emergency" => Ok(Self::Error),
            "none" => Ok(Self::None),
            _ => Err(
                "debug, info, notice, warning, error, critical, alert, emergency or none"
                    .to_owned(),
            ),
        }
    }
}

/// What files and variables say of the log until all of it is known.
#[derive(Debug, Default)]
pub(crate) struct LogDraft {
    pub(crate) dir: Option<PathBuf>,
    /// `log.file`: `false`, or a name.
    pub(crate) file: Option<String>,
    pub(crate) console: Option<bool>,
    pub(crate) exchange_on: bool,
    pub(crate) exchange: LogOutput,
    pub(crate) syslog_on: bool,
    pub(crate) syslog: SyslogSettings,
    pub(crate) journald_on: bool,
    pub(crate) journald: JournaldSettings,
}

impl LogDraft {
    /// `RABBITMQ_LOG`: levels, and the console's form.
    ///
    /// # Errors
    /// What was expected.
    pub(crate) fn set_levels(log: &mut LogSettings, text: &str) -> Result<(), String> {
        for part in text.split(',').map(str::trim) {
            match part.split_once('=') {
                Some((category, level)) if CATEGORIES.contains(&category) => {
                    let level = Some(LogLevel::parse(level)?);
                    let categories = &mut log.categories;
                    categories.entry(category.to_owned()).or_default().level = level;
                }
                Some(("default", level)) => log.level = LogLevel::parse(level)?,
                Some(_) => return Err("category=level of a known category".to_owned()),
                None => match part {
                    "+color" => log.console.colors = Some(true),
                    "-color" => log.console.colors = Some(false),
                    "+json" => log.console.output.format.json = true,
                    "-json" => log.console.output.format.json = false,
                    level => log.level = LogLevel::parse(level)?,
                },
            }
        }
        Ok(())
    }

    /// Puts everything together. `variable_logs` is RABBITMQ_LOGS, `variable_dir` the directory that variables name.
    pub(crate) fn finish(
        self,
        log: &mut LogSettings,
        node_name: &str,
        variable_logs: Option<String>,
        variable_dir: Option<PathBuf>,
    ) {
        let has_dir = self.dir.is_some() || variable_dir.is_some();
        let dir = self.dir.or(variable_dir).unwrap_or_default();
        let own_name = format!("{node_name}.log");
        log.file = match (variable_logs.as_deref(), self.file.as_deref()) {
            (Some("-"), _) | (None, Some("false")) => None,
            (Some(path), _) => Some(PathBuf::from(path)),
            (None, Some(name)) => Some(dir.join(name)),
            (None, None) => has_dir.then(|| dir.join(own_name)),
        };
        log.console.is_on = match variable_logs.as_deref() {
            Some("-") => true,
            _ => self.console.unwrap_or_else(|| log.file.is_none()),
        };
        for category in log.categories.values_mut() {
            if let Some(file) = &mut category.file {
                *file = dir.join(&*file);
            }
        }
        log.exchange = self.exchange_on.then_some(self.exchange);
        log.syslog = self.syslog_on.then_some(self.syslog);
        log.journald = self.journald_on.then_some(self.journald);
    }
}

impl LogFormat {
    /// Sets what one of the keys `formatter…` says.
    ///
    /// # Errors
    /// What was expected.
    pub(crate) fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        match key {
            "formatter" => self.json = value == "json",
            "time_format" => {
                self.time = match value {
                    "rfc3339_space" => TimeFormat::Rfc3339Space,
                    "rfc3339_T" => TimeFormat::Rfc3339T,
                    "epoch_usecs" => TimeFormat::EpochMicroseconds,
                    "epoch_secs" => TimeFormat::EpochSeconds,
                    "lager_default" => TimeFormat::LagerDefault,
                    _ => {
                        return Err(
                            "rfc3339_space, rfc3339_T, epoch_usecs, epoch_secs or lager_default"
                                .to_owned(),
                        );
                    }
                }
            }
            "level_format" => {
                self.level = match value {
                    "uc" => LevelFormat::Upper,
                    "lc3" => LevelFormat::Lower3,
                    "uc3" => LevelFormat::Upper3,
                    "lc4" => LevelFormat::Lower4,
                    "uc4" => LevelFormat::Upper4,
                    _ => LevelFormat::Lower,
                }
            }
            "single_line" => self.single_line = value == "on",
            "plaintext.format" => self.plaintext = value.to_owned(),
            "json.verbosity_map" => self.verbosity = verbosity(value)?,
            _ => self.json_fields = json_fields(value),
        }
        Ok(())
    }
}

/// `time level:severity pid:-`: fields that come, under another name, or not at all.
fn json_fields(map: &str) -> Vec<(String, String)> {
    let mut fields = LogFormat::default().json_fields;
    for part in map.split_whitespace() {
        let (name, shown) = part.split_once(':').unwrap_or((part, part));
        fields.retain(|(known, _)| known != name);
        if shown != "-" && name != "*" {
            fields.push((name.to_owned(), shown.to_owned()));
        }
    }
    fields
}

/// `debug:7 info:6 error:3`: the numbers of levels.
fn verbosity(map: &str) -> Result<BTreeMap<String, i64>, String> {
    let expected = || "level:number of some levels, such as debug:7 info:6".to_owned();
    map.split_whitespace()
        .map(|part| {
            let (level, number) = part.split_once(':').ok_or_else(expected)?;
            let known = LogLevel::parse(level).map_err(|_| expected())?;
            let number = number.parse().map_err(|_| expected())?;
            (known != LogLevel::None)
                .then(|| (level.to_owned(), number))
                .ok_or_else(expected)
        })
        .collect()
}

/// A size in bytes as rotation takes it: 0 is none.
pub(crate) fn rotation_size(value: &str) -> Result<Option<u64>, String> {
    let bytes = size::parse_information_unit(value).ok_or("bytes")?;
    Ok((bytes > 0).then_some(bytes))
}

/// An address, for `log.syslog.ip`.
pub(crate) fn is_ip(value: &str) -> bool {
    value.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_the_journal_are_those_of_rabbitmq() {
        let fields = journal_fields("A=\"two words\" priority B=pid").unwrap();
        let expected = [
            ("A", JournalValue::Fixed("two words".to_owned())),
            ("PRIORITY", JournalValue::Priority),
            ("B", JournalValue::Pid),
        ];
        assert_eq!(
            fields,
            expected.map(|(name, value)| (name.to_owned(), value))
        );
        assert_eq!(JournaldSettings::default().fields.len(), 8);
        for bad in ["nonsense", "A=nonsense", "A=\"x", "_A=pid", "=pid", "Ä=pid"] {
            assert!(journal_fields(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn rotation_dates_are_those_of_rabbitmq() {
        let date = |month_day, week_day, hour, minute| {
            Some(RotationDate {
                month_day,
                week_day,
                hour,
                minute,
            })
        };
        for (text, expected) in [
            ("$D0", date(None, None, Some(0), 0)),
            ("$D23", date(None, None, Some(23), 0)),
            ("$W0D23", date(None, Some(0), Some(23), 0)),
            ("$W5", date(None, Some(5), Some(0), 0)),
            ("$M1D0", date(Some(1), None, Some(0), 0)),
            ("$H00", date(None, None, None, 0)),
            ("$D12H30", date(None, None, Some(12), 30)),
            ("", None),
            ("D0", None),
            ("$", None),
            ("$D24", None),
            ("$X1", None),
            ("$H30D1", None),
            ("$M0", None),
        ] {
            assert_eq!(RotationDate::parse(text), expected, "{text}");
        }
    }
}
