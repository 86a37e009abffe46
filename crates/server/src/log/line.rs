//! One event as a line of text or a JSON object, in the forms that RabbitMQ has.

use base::Civil;
use config::log::{ColorEscapes, JournalValue, LevelFormat, LogFormat, TimeFormat};
use serde_json::Value;
use std::fmt::{self, Write};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tracing::field::{Field, Visit};
use tracing::{Event, Level};

/// An event.
pub(super) struct Line {
    /// Since 1970.
    pub(super) time: Duration,
    level: Level,
    category: Option<&'static str>,
    module: Option<&'static str>,
    message: String,
    /// The other fields: in a text they stand behind the message.
    fields: Vec<(&'static str, String)>,
    source: Option<(&'static str, u32)>,
}

impl Line {
    pub(super) fn new(event: &Event<'_>, category: Option<&'static str>) -> Self {
        let metadata = event.metadata();
        let time = SystemTime::now().duration_since(UNIX_EPOCH);
        let mut line = Self {
            time: time.unwrap_or_default(),
            level: *metadata.level(),
            category,
            module: metadata.module_path(),
            message: String::new(),
            fields: Vec::new(),
            source: metadata.file().zip(metadata.line()),
        };
        event.record(&mut line);
        line
    }

    /// RabbitMQ's name of the level.
    pub(super) fn level_name(&self) -> &'static str {
        match self.level {
            Level::ERROR => "error",
            Level::WARN => "warning",
            Level::INFO => "info",
            Level::DEBUG | Level::TRACE => "debug",
        }
    }

    /// The line, without a line end.
    pub(super) fn text(&self, format: &LogFormat) -> String {
        if format.json {
            return self.json(format);
        }
        let head = self.plain(format, "");
        let message = self.message_with_fields();
        if format.single_line {
            return head + &message.replace('\n', ", ");
        }
        // Every line of a message has the head in front, so that each can be found.
        let lines: Vec<String> = message
            .split('\n')
            .map(|part| self.plain(format, part))
            .collect();
        lines.join("\n")
    }

    /// The line with what colours its level around it.
    pub(super) fn colored(&self, format: &LogFormat, escapes: &ColorEscapes) -> String {
        let text = self.text(format);
        let escape = match self.level {
            Level::ERROR => &escapes.error,
            Level::WARN => &escapes.warning,
            Level::INFO => &escapes.info,
            Level::DEBUG | Level::TRACE => &escapes.debug,
        };
        match escape.as_str() {
            "" => text,
            escape => format!("{escape}{text}\u{1b}[0m"),
        }
    }

    /// What a field of the journal holds; `None` if this event has no such thing.
    pub(super) fn journal_value(&self, value: &JournalValue) -> Option<String> {
        let mut text = String::new();
        match value {
            JournalValue::Fixed(fixed) => text.clone_from(fixed),
            JournalValue::Timestamp => text = syslog_time(self.time),
            JournalValue::ProcessId => text = std::process::id().to_string(),
            JournalValue::Priority => text = severity(self.level).to_string(),
            JournalValue::Pid => write_pid(&mut text),
            JournalValue::File => self.source?.0.clone_into(&mut text),
            JournalValue::Line => text = self.source?.1.to_string(),
            JournalValue::Module => self.module?.clone_into(&mut text),
            JournalValue::Level => self.level_name().clone_into(&mut text),
            JournalValue::Domain => text = self.domain(),
        }
        Some(text)
    }

    fn domain(&self) -> String {
        match self.category {
            Some(category) => format!("rabbitmq.{category}"),
            None => "rabbitmq".to_owned(),
        }
    }

    fn plain(&self, format: &LogFormat, message: &str) -> String {
        let mut out = String::new();
        let mut rest = format.plaintext.as_str();
        while let Some((before, behind)) = rest.split_once('$') {
            out.push_str(before);
            let end = behind.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            let (name, after) = behind.split_at(end.unwrap_or(behind.len()));
            match name {
                "time" => write_time(&mut out, self.time, format.time),
                "level" => out.push_str(&self.level_as(format.level)),
                "pid" => write_pid(&mut out),
                "msg" => out.push_str(message),
                other => {
                    out.push('$');
                    out.push_str(other);
                }
            }
            rest = after;
        }
        out.push_str(rest);
        out
    }

    fn json(&self, format: &LogFormat) -> String {
        let mut out = String::from("{");
        for (name, shown) in &format.json_fields {
            let mut text = String::new();
            let value = match name.as_str() {
                "time" => match format.time {
                    TimeFormat::EpochMicroseconds => (self.time.as_micros() as u64).into(),
                    TimeFormat::EpochSeconds => self.time.as_secs_f64().into(),
                    TimeFormat::Rfc3339Space | TimeFormat::Rfc3339T | TimeFormat::LagerDefault => {
                        write_time(&mut text, self.time, format.time);
                        Value::from(text)
                    }
                },
                "level" => self.level_as(format.level).into(),
                "msg" => self.message_with_fields().into(),
                "pid" => {
                    write_pid(&mut text);
                    text.into()
                }
                "domain" => self.domain().into(),
                "category" => self.category.unwrap_or(super::DEFAULT).into(),
                "file" => self.source.map_or(Value::Null, |(file, _)| file.into()),
                "line" => self.source.map_or(Value::Null, |(_, line)| line.into()),
                other => {
                    let field = self.fields.iter().find(|(name, _)| *name == other);
                    field.map_or(Value::Null, |(_, value)| value.as_str().into())
                }
            };
            if value.is_null() {
                continue;
            }
            if out.len() > 1 {
                out.push(',');
            }
            // Writing to a string does not fail.
            let _ = write!(out, "{}:{value}", Value::from(shown.as_str()));
        }
        if let Some(number) = format.verbosity.get(self.level_name()) {
            let comma = if out.len() > 1 { "," } else { "" };
            let _ = write!(out, "{comma}\"verbosity\":{number}");
        }
        out.push('}');
        out
    }

    pub(super) fn message_with_fields(&self) -> String {
        let mut text = self.message.clone();
        for (name, value) in &self.fields {
            let _ = write!(text, " {name}={value}");
        }
        text
    }

    fn level_as(&self, format: LevelFormat) -> String {
        let name = self.level_name();
        let (three, four) = match self.level {
            Level::ERROR => ("err", "erro"),
            Level::WARN => ("wrn", "warn"),
            Level::INFO => ("inf", "info"),
            Level::DEBUG | Level::TRACE => ("dbg", "dbug"),
        };
        match format {
            LevelFormat::Lower => name.to_owned(),
            LevelFormat::Upper => name.to_uppercase(),
            LevelFormat::Lower3 => three.to_owned(),
            LevelFormat::Upper3 => three.to_uppercase(),
            LevelFormat::Lower4 => four.to_owned(),
            LevelFormat::Upper4 => four.to_uppercase(),
        }
    }
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.message.push_str(value);
        } else {
            self.fields.push((field.name(), value.to_owned()));
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            let _ = write!(self.message, "{value:?}");
        } else {
            self.fields.push((field.name(), format!("{value:?}")));
        }
    }
}

/// syslog's number of a level.
pub(super) fn severity(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}

/// A time as RFC 3164 writes it, in UTC.
pub(super) fn syslog_time(time: Duration) -> String {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let Civil {
        month,
        day,
        hour,
        minute,
        second,
        ..
    } = Civil::from_unix(time.as_secs());
    let month = MONTHS[usize::from(month) - 1];
    format!("{month} {day:>2} {hour:02}:{minute:02}:{second:02}")
}

/// The thread in the form of an Erlang process: scripts cut lines at it.
fn write_pid(out: &mut String) {
    static THREADS: AtomicU32 = AtomicU32::new(1);
    thread_local! {
        static NUMBER: u32 = THREADS.fetch_add(1, Ordering::Relaxed);
    }
    // A thread that is ending has no number any more.
    let number = NUMBER.try_with(|number| *number).unwrap_or(0);
    let _ = write!(out, "<0.{number}.0>");
}

fn write_time(out: &mut String, time: Duration, format: TimeFormat) {
    let Civil {
        year,
        month,
        day,
        hour,
        minute,
        second,
        ..
    } = Civil::from_unix(time.as_secs());
    let micros = time.subsec_micros();
    let _ = match format {
        TimeFormat::Rfc3339Space => write!(
            out,
            "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{micros:06}+00:00"
        ),
        TimeFormat::Rfc3339T => write!(
            out,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}+00:00"
        ),
        TimeFormat::LagerDefault => write!(
            out,
            "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{:03}",
            micros / 1000
        ),
        TimeFormat::EpochMicroseconds => write!(out, "{}", time.as_micros()),
        TimeFormat::EpochSeconds => write!(out, "{}.{micros:06}", time.as_secs()),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line() -> Line {
        Line {
            time: Duration::new(1_763_822_297, 635_863_000),
            level: Level::WARN,
            category: Some("connection"),
            module: Some("node::listener"),
            message: "two\nlines".to_owned(),
            fields: vec![("peer", "127.0.0.1:1".to_owned())],
            source: Some(("src/x.rs", 7)),
        }
    }

    fn without_pid(text: String) -> String {
        let mut out = String::new();
        let mut rest = text.as_str();
        while let Some((before, behind)) = rest.split_once("<0.") {
            out += before;
            out += "<P>";
            rest = behind.split_once('>').unwrap().1;
        }
        out + rest
    }

    #[test]
    fn lines_look_as_rabbitmqs() {
        let text = line().text(&LogFormat::default());
        assert_eq!(
            without_pid(text),
            "2025-11-22 14:38:17.635863+00:00 [warning] <P> two\n\
             2025-11-22 14:38:17.635863+00:00 [warning] <P> lines peer=127.0.0.1:1"
        );
    }

    #[test]
    fn forms_can_be_chosen() {
        for (format, expected) in [
            (
                LogFormat {
                    plaintext: "$level|$msg|$other|$time".to_owned(),
                    level: LevelFormat::Upper4,
                    time: TimeFormat::EpochSeconds,
                    single_line: true,
                    ..LogFormat::default()
                },
                "WARN||$other|1763822297.635863two, lines peer=127.0.0.1:1",
            ),
            (
                LogFormat {
                    json: true,
                    ..LogFormat::default()
                },
                "{\"time\":\"2025-11-22 14:38:17.635863+00:00\",\"level\":\"warning\",\"msg\":\"two\\nlines peer=127.0.0.1:1\",\
                 \"domain\":\"rabbitmq.connection\",\"line\":7,\"pid\":\"<P>\",\"category\":\"connection\"}",
            ),
            (
                LogFormat {
                    json: true,
                    time: TimeFormat::EpochMicroseconds,
                    json_fields: vec![
                        ("time".to_owned(), "t".to_owned()),
                        ("peer".to_owned(), "peer".to_owned()),
                        ("none".to_owned(), "none".to_owned()),
                    ],
                    verbosity: [("warning".to_owned(), 4)].into(),
                    ..LogFormat::default()
                },
                "{\"t\":1763822297635863,\"peer\":\"127.0.0.1:1\",\"verbosity\":4}",
            ),
        ] {
            assert_eq!(without_pid(line().text(&format)), expected);
        }
    }

    #[test]
    fn colours_can_be_chosen() {
        let mut escapes = ColorEscapes::default();
        let format = LogFormat {
            plaintext: "$level".to_owned(),
            single_line: true,
            ..LogFormat::default()
        };
        let colored = line().colored(&format, &escapes);
        assert!(colored.starts_with("\u{1b}[38;5;214mwarning"), "{colored}");
        assert!(colored.ends_with("\u{1b}[0m"), "{colored}");
        escapes.warning.clear();
        assert!(line().colored(&format, &escapes).starts_with("warning"));
    }

    #[test]
    fn the_calendar_is_right() {
        let date = |seconds| {
            let civil = Civil::from_unix(seconds);
            (
                civil.year,
                civil.month,
                civil.day,
                civil.week_day,
                civil.hour,
            )
        };
        assert_eq!(date(0), (1970, 1, 1, 4, 0));
        assert_eq!(date(951_782_400), (2000, 2, 29, 2, 0));
        assert_eq!(date(951_868_799), (2000, 2, 29, 2, 23));
        assert_eq!(date(951_868_800), (2000, 3, 1, 3, 0));
        assert_eq!(date(4_107_542_400), (2100, 3, 1, 1, 0));
        assert_eq!(date(1_798_761_599), (2026, 12, 31, 4, 23));
    }
}
