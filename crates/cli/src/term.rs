//! Values as the tools show them: Erlang's terms, since scripts were written for those.
//!
//! Printing on one line is here, and as JSON; printing over several lines is in [`crate::pretty`].

use serde_json::Value as Json;
use std::fmt::{self, Write as _};

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Term {
    /// `running`
    Atom(String),
    /// `42`
    Int(i128),
    /// `0.5`
    Float(f64),
    /// `<<"text">>`; bytes, mostly text.
    Binary(Vec<u8>),
    /// `[1,2]`
    List(Vec<Self>),
    /// `{a,1}`
    Tuple(Vec<Self>),
    /// `#{a => 1}`
    Map(Vec<(Self, Self)>),
    /// `<0.1.0>`
    Pid(String),
}

impl Term {
    pub(crate) fn atom(text: impl Into<String>) -> Self {
        Self::Atom(text.into())
    }

    pub(crate) fn text(text: impl AsRef<str>) -> Self {
        Self::Binary(text.as_ref().as_bytes().to_vec())
    }

    pub(crate) fn int(value: impl Into<i128>) -> Self {
        Self::Int(value.into())
    }

    pub(crate) fn bool(value: bool) -> Self {
        Self::atom(if value { "true" } else { "false" })
    }

    /// What stands where there is no value.
    pub(crate) fn none() -> Self {
        Self::atom("")
    }

    /// `{Key,Value}`
    pub(crate) fn pair(key: &str, value: Self) -> Self {
        Self::Tuple(vec![Self::atom(key), value])
    }

    /// A list of atoms.
    pub(crate) fn atoms<T: Into<String>>(names: impl IntoIterator<Item = T>) -> Self {
        Self::List(names.into_iter().map(Self::atom).collect())
    }

    /// JSON as a term: text as binaries, objects as maps.
    pub(crate) fn from_json(value: &Json) -> Self {
        match value {
            Json::Null => Self::none(),
            Json::Bool(value) => Self::bool(*value),
            Json::Number(number) => match number.as_i128() {
                Some(integer) => Self::Int(integer),
                None => Self::Float(number.as_f64().unwrap_or_default()),
            },
            Json::String(text) => Self::text(text),
            Json::Array(values) => Self::List(values.iter().map(Self::from_json).collect()),
            Json::Object(fields) => Self::Map(
                fields
                    .iter()
                    .map(|(key, value)| (Self::atom(key), Self::from_json(value)))
                    .collect(),
            ),
        }
    }

    /// An argument table as the control socket writes it: rows of name, type and value.
    pub(crate) fn table(value: &Json) -> Self {
        let rows = value.as_array().into_iter().flatten();
        Self::List(
            rows.filter_map(|row| {
                let kind = row.get(1)?.as_str()?;
                Some(Self::Tuple(vec![
                    Self::text(row.get(0)?.as_str()?),
                    Self::atom(kind),
                    Self::typed(kind, row.get(2)?),
                ]))
            })
            .collect(),
        )
    }

    fn typed(kind: &str, value: &Json) -> Self {
        match (kind, value) {
            ("table", table) => Self::table(table),
            ("array", Json::Array(values)) => Self::List(
                values
                    .iter()
                    .filter_map(|entry| {
                        let kind = entry.get(0)?.as_str()?;
                        let value = Self::typed(kind, entry.get(1)?);
                        Some(Self::Tuple(vec![Self::atom(kind), value]))
                    })
                    .collect(),
            ),
            ("void", _) => Self::atom("undefined"),
            (_, other) => Self::from_json(other),
        }
    }

    /// As JSON, with tuples as lists and lists of pairs as objects.
    pub(crate) fn to_json(&self) -> Json {
        match self {
            Self::Atom(text) if text == "true" => Json::Bool(true),
            Self::Atom(text) if text == "false" => Json::Bool(false),
            Self::Atom(text) | Self::Pid(text) => Json::from(text.as_str()),
            Self::Int(value) => i64::try_from(*value).map_or_else(
                |_| u64::try_from(*value).map_or_else(|_| Json::from(*value as f64), Json::from),
                Json::from,
            ),
            Self::Float(value) => Json::from(*value),
            Self::Binary(bytes) => Json::from(String::from_utf8_lossy(bytes)),
            Self::List(items) => Self::object_of(items).unwrap_or_else(|| list_json(items)),
            Self::Tuple(items) => list_json(items),
            Self::Map(pairs) => Json::Object(
                pairs
                    .iter()
                    .map(|(key, value)| (key.plain(), value.to_json()))
                    .collect(),
            ),
        }
    }

    fn object_of(items: &[Self]) -> Option<Json> {
        if items.is_empty() {
            return None;
        }
        let pairs = items.iter().map(|item| match item {
            Self::Tuple(pair) => match pair.as_slice() {
                [Self::Atom(key), value] => Some((key.clone(), value.to_json())),
                _ => None,
            },
            _ => None,
        });
        pairs.collect::<Option<_>>().map(Json::Object)
    }

    /// Without quotes and brackets, where it is text.
    pub(crate) fn plain(&self) -> String {
        match self {
            Self::Atom(text) | Self::Pid(text) => text.clone(),
            Self::Binary(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            Self::Int(_) | Self::Float(_) | Self::List(_) | Self::Tuple(_) | Self::Map(_) => {
                self.to_string()
            }
        }
    }

    /// A cell of a table: text as it is, argument tables without the types of their values.
    pub(crate) fn cell(&self) -> String {
        match self {
            Self::List(items) if !items.is_empty() && items.iter().all(Self::is_table_row) => {
                format!("[{}]", joined(items, ",", Self::table_row))
            }
            Self::List(items) => format!("[{}]", joined(items, ", ", Self::cell)),
            // A version, as that of a connection's protocol.
            Self::Tuple(items) if items.iter().all(|item| matches!(item, Self::Int(_))) => {
                format!("{{{}}}", joined(items, ",", Self::cell))
            }
            // A key of a document and what it has.
            Self::Tuple(items) if matches!(items.as_slice(), [Self::Binary(_), _]) => {
                format!("{{{}}}", joined(items, ", ", Self::to_string))
            }
            Self::Tuple(items) => format!("{{{}}}", joined(items, ", ", Self::cell)),
            Self::Map(pairs) => {
                let mut pairs: Vec<(String, &Self)> = pairs
                    .iter()
                    .map(|(key, value)| (key.cell(), value))
                    .collect();
                pairs.sort_by(|a, b| a.0.cmp(&b.0));
                let pairs = joined(&pairs, ", ", |(key, value)| {
                    format!("{key} => {}", value.cell())
                });
                format!("#{{{pairs}}}")
            }
            Self::Float(_) | Self::Int(_) => self.to_string(),
            Self::Atom(_) | Self::Binary(_) | Self::Pid(_) => self.plain(),
        }
    }

    fn is_table_row(&self) -> bool {
        matches!(self, Self::Tuple(row) if matches!(row.as_slice(), [Self::Binary(_), Self::Atom(_), _]))
    }

    fn table_row(&self) -> String {
        match self {
            Self::Tuple(row) => match row.as_slice() {
                [name, Self::Atom(kind), value] => {
                    format!("{{\"{}\",{}}}", name.plain(), value.table_value(kind))
                }
                _ => self.cell(),
            },
            _ => self.cell(),
        }
    }

    fn table_value(&self, kind: &str) -> String {
        match (kind, self) {
            ("table", Self::List(rows)) => format!("[{}]", joined(rows, ",", Self::table_row)),
            ("array", Self::List(items)) => {
                let items = joined(items, ",", |item| match item {
                    Self::Tuple(entry) => match entry.as_slice() {
                        [Self::Atom(kind), value] => value.table_value(kind),
                        _ => item.cell(),
                    },
                    _ => item.cell(),
                });
                format!("[{items}]")
            }
            (_, Self::Binary(_)) => format!("\"{}\"", self.plain()),
            (_, other) => other.cell(),
        }
    }

    /// As Elixir's `inspect` writes it.
    pub(crate) fn inspect(&self) -> String {
        match self {
            Self::Atom(text) if matches!(text.as_str(), "true" | "false" | "nil") => text.clone(),
            Self::Atom(text) if is_plain_atom(text) => format!(":{text}"),
            Self::Atom(text) => format!(":\"{}\"", escaped(text, '"')),
            Self::Binary(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => format!("\"{}\"", escaped(text, '"')),
                Err(_) => format!("<<{}>>", joined(bytes, ", ", u8::to_string)),
            },
            Self::List(items) => format!("[{}]", joined(items, ", ", Self::inspect)),
            Self::Tuple(items) => format!("{{{}}}", joined(items, ", ", Self::inspect)),
            Self::Map(pairs) => {
                let pairs = joined(pairs, ", ", |(key, value)| match key {
                    Self::Atom(key) => format!("{}: {}", inspected_key(key), value.inspect()),
                    _ => format!("{} => {}", key.inspect(), value.inspect()),
                });
                format!("%{{{pairs}}}")
            }
            Self::Pid(pid) => format!("#PID{pid}"),
            Self::Int(_) | Self::Float(_) => self.to_string(),
        }
    }
}

/// A key in Elixir's syntax, which has quotes if it is no plain word.
pub(crate) fn inspected_key(key: &str) -> String {
    if is_plain_atom(key) {
        key.to_owned()
    } else {
        format!("\"{}\"", escaped(key, '"'))
    }
}

fn list_json(items: &[Term]) -> Json {
    Json::Array(items.iter().map(Term::to_json).collect())
}

fn joined<T>(items: &[T], separator: &str, write: impl Fn(&T) -> String) -> String {
    let texts: Vec<String> = items.iter().map(write).collect();
    texts.join(separator)
}

/// As Erlang writes it, on one line.
impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Atom(text) if is_plain_atom(text) => f.write_str(text),
            Self::Atom(text) => write!(f, "'{}'", escaped(text, '\'')),
            Self::Int(value) => value.fmt(f),
            Self::Float(value) => f.write_str(&float(*value)),
            Self::Binary(bytes) if bytes.is_empty() => f.write_str("<<>>"),
            Self::Binary(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) if is_printable(text) => {
                    let utf8 = if text.is_ascii() { "" } else { "/utf8" };
                    write!(f, "<<\"{}\"{utf8}>>", escaped(text, '"'))
                }
                Ok(_) | Err(_) => write!(f, "<<{}>>", joined(bytes, ",", u8::to_string)),
            },
            Self::List(items) => write!(f, "[{}]", joined(items, ",", Self::to_string)),
            Self::Tuple(items) => write!(f, "{{{}}}", joined(items, ",", Self::to_string)),
            Self::Map(pairs) => {
                let pairs = joined(pairs, ",", |(key, value)| format!("{key} => {value}"));
                write!(f, "#{{{pairs}}}")
            }
            Self::Pid(pid) => f.write_str(pid),
        }
    }
}

/// Floats are told from integers by their point.
pub(crate) fn float(value: f64) -> String {
    let text = format!("{value:?}");
    if text.contains(['.', 'e', 'n', 'i']) {
        text
    } else {
        format!("{text}.0")
    }
}

fn is_printable(text: &str) -> bool {
    text.chars().all(|c| {
        !c.is_control()
            || matches!(
                c,
                '\n' | '\r' | '\t' | '\u{8}' | '\u{b}' | '\u{c}' | '\u{1b}'
            )
    })
}

/// Whether an atom needs no quotes.
fn is_plain_atom(text: &str) -> bool {
    const RESERVED: [&str; 28] = [
        "after", "and", "andalso", "band", "begin", "bnot", "bor", "bsl", "bsr", "bxor", "case",
        "catch", "cond", "div", "end", "fun", "if", "let", "maybe", "not", "of", "or", "orelse",
        "receive", "rem", "try", "when", "xor",
    ];
    text.starts_with(|c: char| c.is_ascii_lowercase())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '@'))
        && !RESERVED.contains(&text)
}

fn escaped(text: &str, quote: char) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            '\u{8}' => out.push_str("\\b"),
            '\u{b}' => out.push_str("\\v"),
            '\u{c}' => out.push_str("\\f"),
            '\u{1b}' => out.push_str("\\e"),
            '\\' => out.push_str("\\\\"),
            c if c == quote => {
                out.push('\\');
                out.push(c);
            }
            c if c.is_control() => _ = write!(out, "\\x{{{:X}}}", u32::from(c)),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn terms_are_written_as_erlang_writes_them() {
        let written = |term: Term| term.to_string();
        assert_eq!(written(Term::atom("rabbit@localhost")), "rabbit@localhost");
        assert_eq!(written(Term::atom("apply-to")), "'apply-to'");
        assert_eq!(written(Term::none()), "''");
        assert_eq!(written(Term::text("q\t3")), "<<\"q\\t3\">>");
        assert_eq!(written(Term::text("ü")), "<<\"ü\"/utf8>>");
        assert_eq!(written(Term::Binary(vec![255, 1])), "<<255,1>>");
        assert_eq!(written(Term::Float(2.0)), "2.0");
        let pairs = Term::Map(vec![(Term::atom("k"), Term::atom("v"))]);
        assert_eq!(written(Term::List(vec![pairs])), "[#{k => v}]");
    }

    #[test]
    fn argument_tables_have_three_forms() {
        let table = Term::table(&json!([
            ["x", "long", 1],
            [
                "y",
                "array",
                [
                    ["long", 1],
                    ["longstr", "z"],
                    ["table", [["k", "bool", true]]]
                ]
            ]
        ]));
        assert_eq!(table.cell(), r#"[{"x",1},{"y",[1,"z",[{"k",true}]]}]"#);
        assert_eq!(
            table.to_json(),
            json!([["x", "long", 1], ["y", "array", {"long": 1, "longstr": "z", "table": [["k", "bool", true]]}]])
        );
        assert_eq!(
            table.to_string(),
            r#"[{<<"x">>,long,1},{<<"y">>,array,[{long,1},{longstr,<<"z">>},{table,[{<<"k">>,bool,true}]}]}]"#
        );
    }
}
