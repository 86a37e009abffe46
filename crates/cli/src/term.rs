//! Values as the tools show them: Erlang's terms, since scripts were written for those.
//!
//! Printing on one line is here, and as JSON; printing over several lines is in [`crate::pretty`].

use broker::event::pretty::{escaped, is_printable};
use serde_json::Value as Json;
use std::fmt;

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
    /// A function of an expression that is evaluated, by its number there.
    Fun(usize),
}

impl Term {
    pub(crate) fn atom(text: impl Into<String>) -> Self {
        Self::Atom(text.into())
    }

    pub(crate) fn text(text: impl AsRef<str>) -> Self {
        Self::Binary(text.as_ref().as_bytes().to_vec())
    }

    /// Text as a list of its characters.
    pub(crate) fn characters(text: &str) -> Self {
        Self::List(text.chars().map(|c| Self::int(u32::from(c))).collect())
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
            Self::Fun(_) => Json::from(self.to_string()),
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
            Self::Int(_)
            | Self::Float(_)
            | Self::List(_)
            | Self::Tuple(_)
            | Self::Map(_)
            | Self::Fun(_) => self.to_string(),
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
            Self::Float(value) => float(*value),
            Self::Int(_) | Self::Fun(_) => self.to_string(),
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
            Self::Atom(text) if is_elixir_atom(text) => format!(":{text}"),
            Self::Atom(text) => format!(":\"{}\"", escaped(text, '"')),
            Self::Binary(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => format!("\"{}\"", escaped(text, '"')),
                Err(_) => format!("<<{}>>", joined(bytes, ", ", u8::to_string)),
            },
            Self::List(items) => match (text_of(items), keywords(items)) {
                (Some(text), _) => format!("~c\"{}\"", escaped(&text, '"')),
                (None, Some(pairs)) => format!("[{pairs}]"),
                (None, None) => format!("[{}]", joined(items, ", ", Self::inspect)),
            },
            Self::Tuple(items) => format!("{{{}}}", joined(items, ", ", Self::inspect)),
            Self::Map(pairs) => {
                let pairs = joined(pairs, ", ", |(key, value)| match key {
                    Self::Atom(key) => format!("{}: {}", inspected_key(key), value.inspect()),
                    _ => format!("{} => {}", key.inspect(), value.inspect()),
                });
                format!("%{{{pairs}}}")
            }
            Self::Pid(pid) => format!("#PID{pid}"),
            Self::Float(value) => float(*value),
            Self::Int(_) | Self::Fun(_) => self.to_string(),
        }
    }

    /// As Erlang's `~w` writes it: text as its bytes or characters.
    pub(crate) fn flat(&self) -> String {
        match self {
            Self::Binary(bytes) => format!("<<{}>>", joined(bytes, ",", u8::to_string)),
            Self::List(items) => format!("[{}]", joined(items, ",", Self::flat)),
            Self::Tuple(items) => format!("{{{}}}", joined(items, ",", Self::flat)),
            Self::Map(pairs) => {
                let pairs = joined(pairs, ",", |(key, value)| {
                    format!("{} => {}", key.flat(), value.flat())
                });
                format!("#{{{pairs}}}")
            }
            Self::Atom(_) | Self::Int(_) | Self::Float(_) | Self::Pid(_) | Self::Fun(_) => {
                self.to_string()
            }
        }
    }
}

/// The text of a list of printable characters, if it is one.
pub(crate) fn text_of(items: &[Term]) -> Option<String> {
    let code = |item: &Term| match item {
        Term::Int(code) => u32::try_from(*code).ok().and_then(char::from_u32),
        _ => None,
    };
    let text: String = items.iter().map(code).collect::<Option<_>>()?;
    // As Erlang sees it: Latin 1 is text, more is not.
    let is_latin = text.chars().all(|c| u32::from(c) < 256);
    (!text.is_empty() && is_latin && is_printable(&text)).then_some(text)
}

/// A list of pairs of atoms and values, as Elixir shows it.
fn keywords(items: &[Term]) -> Option<String> {
    let pair = |item: &Term| match item {
        Term::Tuple(pair) => match pair.as_slice() {
            [Term::Atom(key), value] if is_plain_atom(key) => {
                Some(format!("{key}: {}", value.inspect()))
            }
            _ => None,
        },
        _ => None,
    };
    let pairs: Vec<String> = items.iter().map(pair).collect::<Option<_>>()?;
    (!pairs.is_empty()).then(|| pairs.join(", "))
}

/// Whether Elixir writes an atom without quotes.
fn is_elixir_atom(text: &str) -> bool {
    let mut chars = text.chars();
    let is_name = chars
        .next()
        .is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '@'));
    is_name || is_operator(text)
}

/// An atom that Elixir writes without quotes though Erlang does not.
fn is_operator(text: &str) -> bool {
    !text.is_empty()
        && text
            .chars()
            .all(|c| matches!(c, '+' | '-' | '*' | '/' | '<' | '>' | '=' | '|' | '&' | '!'))
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
            Self::Float(value) => f.write_str(&shortest(*value)),
            Self::Binary(bytes) if bytes.is_empty() => f.write_str("<<>>"),
            Self::Binary(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) if is_printable(text) => {
                    let utf8 = if text.is_ascii() { "" } else { "/utf8" };
                    write!(f, "<<\"{}\"{utf8}>>", escaped(text, '"'))
                }
                Ok(_) | Err(_) => write!(f, "<<{}>>", joined(bytes, ",", u8::to_string)),
            },
            Self::List(items) => match text_of(items) {
                Some(text) => write!(f, "\"{}\"", escaped(&text, '"')),
                None => write!(f, "[{}]", joined(items, ",", Self::to_string)),
            },
            Self::Tuple(items) => write!(f, "{{{}}}", joined(items, ",", Self::to_string)),
            Self::Map(pairs) => {
                let pairs = joined(pairs, ",", |(key, value)| format!("{key} => {value}"));
                write!(f, "#{{{pairs}}}")
            }
            Self::Pid(pid) => f.write_str(pid),
            Self::Fun(number) => write!(f, "#Fun<erl_eval.{number}>"),
        }
    }
}

/// A float as Erlang writes it: with an exponent where that is shorter.
fn shortest(value: f64) -> String {
    let scientific = format!("{value:e}");
    let Some((mantissa, exponent)) = scientific.split_once('e') else {
        return scientific;
    };
    let (sign, mantissa) = match mantissa.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", mantissa),
    };
    let digits = mantissa.replace('.', "");
    let exponent: i64 = exponent.parse().unwrap_or_default();
    let (length, place) = (digits.len() as i64, exponent + 1);
    let with_exponent = || {
        let (first, rest) = digits.split_at(1);
        let rest = if rest.is_empty() { "0" } else { rest };
        format!("{sign}{first}.{rest}e{exponent}")
    };
    let cost = exponent.to_string().len() as i64 + if length == 1 { 3 } else { 2 };
    let zeros = |count: i64| "0".repeat(usize::try_from(count).unwrap_or_default());
    if value == 0.0 {
        format!("{sign}0.0")
    } else if place <= 0 {
        if place == 0 || 2 - place <= cost {
            format!("{sign}0.{}{digits}", zeros(-place))
        } else {
            with_exponent()
        }
    } else if place >= length {
        if place - length + 2 <= cost {
            format!("{sign}{digits}{}.0", zeros(place - length))
        } else {
            with_exponent()
        }
    } else {
        let (whole, fraction) = digits.split_at(usize::try_from(place).unwrap_or_default());
        format!("{sign}{whole}.{fraction}")
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
    fn floats_are_as_short_as_erlang_writes_them() {
        for (value, text) in [
            (0.0, "0.0"),
            (-0.5, "-0.5"),
            (0.6, "0.6"),
            (0.05, "0.05"),
            (0.000_01, "1.0e-5"),
            (60.0, "60.0"),
            (1000.0, "1.0e3"),
            (1024.0, "1024.0"),
            (1e10, "1.0e10"),
            (0.1 + 0.2, "0.30000000000000004"),
            (12.5, "12.5"),
        ] {
            assert_eq!(shortest(value), text);
        }
    }

    #[test]
    fn characters_and_keywords_are_seen_as_such() {
        let place = Term::List(vec![
            Term::pair("file", Term::characters("a.erl")),
            Term::pair("line", Term::int(7)),
        ]);
        assert_eq!(place.inspect(), "[file: ~c\"a.erl\", line: 7]");
        assert_eq!(place.to_string(), "[{file,\"a.erl\"},{line,7}]");
        assert_eq!(Term::atom("/").inspect(), ":/");
        assert_eq!(Term::atom("X").inspect(), ":X");
        assert_eq!(Term::atom("a-b").inspect(), ":\"a-b\"");
        assert_eq!(Term::List(vec![Term::int(1)]).to_string(), "[1]");
        assert_eq!(Term::characters("ab").flat(), "[97,98]");
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
