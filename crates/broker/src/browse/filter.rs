//! Which messages are meant.
//!
//! A filter is a small expression in JSON:
//!
//! ```json
//! {"all": [{"routing_key": "order.*"}, {"header": "attempt", "min": 3}, {"any": [{"body": "timeout"}, {"json": "$.error"}]}]}
//! ```
//!
//! | term | holds if |
//! |---|---|
//! | `{"all": […]}` | all of them hold; none given: always |
//! | `{"any": […]}` | one of them holds |
//! | `{"not": …}` | it does not hold |
//! | `{"header": NAME, TEST}` | the header is there and its value passes |
//! | `{"routing_key": GLOB}` | a routing key that consumers see matches; `*` is any text, `?` any byte |
//! | `{"exchange": NAME}` | it was published to that exchange |
//! | `{"body": TEXT}` | the body contains the text |
//! | `{"json": PATH, TEST}` | the body is JSON and the path (RFC 9535) leads to a value that passes |
//! | `{"redelivered": BOOL}` | it was or was not delivered before |
//! | `{"unacknowledged": BOOL}` | a consumer has it, or none has |
//!
//! A test is `"equals": VALUE`, `"contains": TEXT`, `"min"` and `"max"` with numbers or texts, or `"exists": false`; without
//! one it is enough that the header or value exists.
//!
//! Limits: [`TERMS_MAX`], [`DEPTH_MAX`], [`TEXT_BYTES_MAX`]; a JSON body above [`JSON_BODY_BYTES_MAX`] matches no path. A path has at
//! most one `..`, no union and `$` only at its beginning, so that what it costs grows with the body and not with a power of it.

use crate::message::Message;
use crate::value::{Arguments, Value};
use serde_json::Value as Json;
use serde_json_path::JsonPath;
use std::cell::OnceCell;
use std::cmp::Ordering;
use thiserror::Error;

/// Terms of one filter.
pub const TERMS_MAX: usize = 64;

/// How deeply terms may stand in each other.
pub const DEPTH_MAX: usize = 8;

/// Bytes of any name, text, pattern or path.
pub const TEXT_BYTES_MAX: usize = 1024;

/// A body above this is not read as JSON.
pub const JSON_BODY_BYTES_MAX: usize = 1 << 20;

/// Why a filter is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct FilterError(String);

fn refuse<T>(reason: impl Into<String>) -> Result<T, FilterError> {
    Err(FilterError(reason.into()))
}

/// A condition on a message.
#[derive(Clone, Debug, Default)]
pub struct Filter(Option<Term>);

#[derive(Clone, Debug)]
enum Term {
    All(Vec<Self>),
    Any(Vec<Self>),
    Not(Box<Self>),
    Header(Box<str>, Test),
    RoutingKey(Box<[u8]>),
    Exchange(Box<str>),
    Body(Box<[u8]>),
    Json(Box<JsonPath>, Test),
    Redelivered(bool),
    Unacknowledged(bool),
}

#[derive(Clone, Debug)]
enum Test {
    Exists(bool),
    Equals(Json),
    Contains(Box<str>),
    Range {
        min: Option<Json>,
        max: Option<Json>,
    },
}

/// What is true of a message in its queue, whatever is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// It was delivered before.
    pub redelivered: bool,
    /// A consumer has it and has not settled it.
    pub unacknowledged: bool,
}

/// A message that a filter looks at. Headers and body are decoded once, and only if a term asks for them.
pub struct Candidate<'a, H: Fn() -> Arguments> {
    message: &'a Message,
    standing: Standing,
    decode_headers: H,
    headers: OnceCell<Arguments>,
    json: OnceCell<Option<Json>>,
}

impl<'a, H: Fn() -> Arguments> Candidate<'a, H> {
    /// `headers` decodes the message's headers, which the core cannot.
    pub fn new(message: &'a Message, standing: Standing, headers: H) -> Self {
        Self {
            message,
            standing,
            decode_headers: headers,
            headers: OnceCell::new(),
            json: OnceCell::new(),
        }
    }

    fn header(&self, name: &str) -> Option<&Value> {
        self.headers.get_or_init(&self.decode_headers).get(name)
    }

    fn json(&self) -> Option<&Json> {
        let body = &self.message.body;
        let decode = || {
            (body.len() <= JSON_BODY_BYTES_MAX)
                .then(|| serde_json::from_slice(body).ok())
                .flatten()
        };
        self.json.get_or_init(decode).as_ref()
    }
}

impl Filter {
    /// A filter that every message passes.
    pub const ALL: Self = Self(None);

    /// Reads a filter; `null` and `{}` mean all messages.
    ///
    /// # Errors
    /// What is wrong with it, by the name of the term.
    pub fn parse(json: &Json) -> Result<Self, FilterError> {
        let nothing = json.is_null() || json.as_object().is_some_and(serde_json::Map::is_empty);
        if nothing {
            return Ok(Self::ALL);
        }
        let mut terms = 0;
        parse_term(json, 0, &mut terms).map(|term| Self(Some(term)))
    }

    /// Whether the message passes.
    pub fn matches<H: Fn() -> Arguments>(&self, candidate: &Candidate<'_, H>) -> bool {
        self.0.as_ref().is_none_or(|term| term.holds(candidate))
    }
}

impl Term {
    fn holds<H: Fn() -> Arguments>(&self, candidate: &Candidate<'_, H>) -> bool {
        let message = candidate.message;
        match self {
            Self::All(terms) => terms.iter().all(|term| term.holds(candidate)),
            Self::Any(terms) => terms.iter().any(|term| term.holds(candidate)),
            Self::Not(term) => !term.holds(candidate),
            Self::Header(name, test) => {
                test.passes(candidate.header(name).map(header_to_json).as_ref())
            }
            Self::RoutingKey(glob) => message
                .visible_routing_keys()
                .any(|key| glob_matches(glob, key)),
            Self::Exchange(name) => **message.exchange() == **name,
            Self::Body(text) => memchr::memmem::find(&message.body, text).is_some(),
            Self::Json(path, test) => {
                let Some(json) = candidate.json() else {
                    return matches!(test, Test::Exists(false));
                };
                let found = path.query(json);
                if found.is_empty() {
                    return test.passes(None);
                }
                found.iter().any(|value| test.passes(Some(value)))
            }
            Self::Redelivered(expected) => candidate.standing.redelivered == *expected,
            Self::Unacknowledged(expected) => candidate.standing.unacknowledged == *expected,
        }
    }
}

impl Test {
    fn passes(&self, value: Option<&Json>) -> bool {
        let Some(value) = value else {
            return matches!(self, Self::Exists(false));
        };
        match self {
            Self::Exists(expected) => *expected,
            Self::Equals(expected) => compare(value, expected)
                .map_or_else(|| value == expected, |order| order == Ordering::Equal),
            Self::Contains(text) => value.as_str().is_some_and(|value| value.contains(&**text)),
            Self::Range { min, max } => {
                let above = min.as_ref().is_none_or(|min| {
                    matches!(
                        compare(value, min),
                        Some(Ordering::Greater | Ordering::Equal)
                    )
                });
                let below = max.as_ref().is_none_or(|max| {
                    matches!(compare(value, max), Some(Ordering::Less | Ordering::Equal))
                });
                above && below
            }
        }
    }
}

/// Numbers by value and texts bytewise; nothing else has an order.
fn compare(a: &Json, b: &Json) -> Option<Ordering> {
    match (a, b) {
        (Json::Number(a), Json::Number(b)) => match (a.as_i64(), b.as_i64()) {
            (Some(a), Some(b)) => Some(a.cmp(&b)),
            _ => a.as_f64()?.partial_cmp(&b.as_f64()?),
        },
        (Json::String(a), Json::String(b)) => Some(a.cmp(b)),
        _ => None,
    }
}

/// A header's value; tables and arrays are only known to exist.
fn header_to_json(value: &Value) -> Json {
    match value {
        Value::Bool(value) => (*value).into(),
        Value::Int(_, value) => (*value).into(),
        Value::Float(value) => f64::from(*value).into(),
        Value::Double(value) => (*value).into(),
        Value::Decimal(scale, unscaled) => {
            (f64::from(*unscaled) / 10_f64.powi(i32::from(*scale))).into()
        }
        Value::Timestamp(value) => (*value).into(),
        Value::LongStr(bytes) | Value::Binary(bytes) => String::from_utf8_lossy(bytes).into(),
        Value::Array(_) | Value::Table(_) | Value::Void => Json::Null,
    }
}

/// Linear in both: on a mismatch only the last `*` takes one byte more.
fn glob_matches(glob: &[u8], text: &[u8]) -> bool {
    let (mut g, mut t) = (0, 0);
    let mut star = None;
    while t < text.len() {
        match glob.get(g) {
            Some(b'*') => {
                star = Some((g, t));
                g += 1;
            }
            Some(&expected) if expected == b'?' || expected == text[t] => {
                g += 1;
                t += 1;
            }
            _ => {
                let Some((star_at, taken)) = star else {
                    return false;
                };
                star = Some((star_at, taken + 1));
                g = star_at + 1;
                t = taken + 1;
            }
        }
    }
    glob[g..].iter().all(|&byte| byte == b'*')
}

fn parse_term(json: &Json, depth: usize, terms: &mut usize) -> Result<Term, FilterError> {
    *terms += 1;
    if *terms > TERMS_MAX {
        return refuse(format!("a filter has at most {TERMS_MAX} terms"));
    }
    if depth > DEPTH_MAX {
        return refuse(format!(
            "the terms of a filter stand at most {DEPTH_MAX} deep in each other"
        ));
    }
    let Some(object) = json.as_object() else {
        return refuse("a term of a filter is an object");
    };
    let kinds = [
        "all",
        "any",
        "not",
        "header",
        "routing_key",
        "exchange",
        "body",
        "json",
        "redelivered",
        "unacknowledged",
    ];
    let mut found = kinds
        .into_iter()
        .filter_map(|kind| Some((kind, object.get(kind)?)));
    let (Some((kind, value)), None) = (found.next(), found.next()) else {
        return refuse(format!(
            "a term of a filter has exactly one of: {}",
            kinds.join(", ")
        ));
    };
    let tested = matches!(kind, "header" | "json");
    for key in object.keys() {
        let is_test = matches!(
            key.as_str(),
            "equals" | "contains" | "min" | "max" | "exists"
        );
        if key != kind && !(tested && is_test) {
            return refuse(format!("'{key}' has no meaning beside '{kind}'"));
        }
    }
    let list = |terms: &mut usize| -> Result<Vec<Term>, FilterError> {
        let Some(list) = value.as_array() else {
            return refuse(format!("'{kind}' needs a list"));
        };
        list.iter()
            .map(|term| parse_term(term, depth + 1, terms))
            .collect()
    };
    Ok(match kind {
        "all" => Term::All(list(terms)?),
        "any" => Term::Any(list(terms)?),
        "not" => Term::Not(Box::new(parse_term(value, depth + 1, terms)?)),
        "header" => Term::Header(text(kind, value)?.into(), parse_test(object)?),
        "routing_key" => Term::RoutingKey(text(kind, value)?.as_bytes().into()),
        "exchange" => Term::Exchange(text(kind, value)?.into()),
        "body" => Term::Body(text(kind, value)?.as_bytes().into()),
        "json" => Term::Json(
            Box::new(parse_path(text(kind, value)?)?),
            parse_test(object)?,
        ),
        _ => match value.as_bool() {
            Some(expected) if kind == "redelivered" => Term::Redelivered(expected),
            Some(expected) => Term::Unacknowledged(expected),
            None => return refuse(format!("'{kind}' is true or false")),
        },
    })
}

fn text<'a>(name: &str, value: &'a Json) -> Result<&'a str, FilterError> {
    match value.as_str() {
        Some(text) if text.len() <= TEXT_BYTES_MAX => Ok(text),
        Some(_) => refuse(format!("'{name}' has at most {TEXT_BYTES_MAX} bytes")),
        None => refuse(format!("'{name}' needs a text")),
    }
}

fn parse_test(object: &serde_json::Map<String, Json>) -> Result<Test, FilterError> {
    let scalar = |name: &str| -> Result<Option<Json>, FilterError> {
        match object.get(name) {
            Some(Json::Array(_) | Json::Object(_)) => refuse(format!(
                "'{name}' needs a number, a text, a boolean or null"
            )),
            Some(Json::String(_)) => {
                text(name, &object[name])?;
                Ok(object.get(name).cloned())
            }
            value => Ok(value.cloned()),
        }
    };
    let (min, max) = (scalar("min")?, scalar("max")?);
    let mut tests = Vec::new();
    if let Some(value) = scalar("equals")? {
        tests.push(Test::Equals(value));
    }
    if let Some(value) = object.get("contains") {
        tests.push(Test::Contains(text("contains", value)?.into()));
    }
    if let Some(value) = object.get("exists") {
        let Some(expected) = value.as_bool() else {
            return refuse("'exists' is true or false");
        };
        tests.push(Test::Exists(expected));
    }
    for bound in [&min, &max].into_iter().flatten() {
        if !bound.is_number() && !bound.is_string() {
            return refuse("'min' and 'max' need a number or a text");
        }
    }
    if min.is_some() || max.is_some() {
        tests.push(Test::Range { min, max });
    }
    if tests.len() > 1 {
        return refuse("a term has one of 'equals', 'contains', 'exists' or a range");
    }
    Ok(tests.pop().unwrap_or(Test::Exists(true)))
}

fn parse_path(text: &str) -> Result<JsonPath, FilterError> {
    let mut outside_quotes = String::with_capacity(text.len());
    let (mut quote, mut escaped) = (None, false);
    for character in text.chars() {
        match quote {
            Some(_) if escaped => escaped = false,
            Some(_) if character == '\\' => escaped = true,
            Some(open) if character == open => quote = None,
            Some(_) => {}
            None if matches!(character, '\'' | '"') => quote = Some(character),
            None => outside_quotes.push(character),
        }
    }
    let costs_too_much = outside_quotes.matches("..").count() > 1
        || outside_quotes.contains(',')
        || outside_quotes.matches('$').count() > 1;
    if costs_too_much {
        return refuse(format!(
            "the path '{text}' costs too much: at most one '..', no ',' and no second '$' are allowed"
        ));
    }
    JsonPath::parse(text).map_err(|error| FilterError(format!("the path '{text}': {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Address;
    use crate::value::IntKind;
    use bytes::Bytes;
    use serde_json::json;

    fn message(routing_key: &'static str, body: &'static str) -> Message {
        Message {
            address: Address::new("orders".into(), Bytes::from_static(routing_key.as_bytes())),
            properties: Bytes::new(),
            body: Bytes::from_static(body.as_bytes()),
            persistent: false,
            priority: 0,
            expiration_ms: None,
            extra_routing_keys: None,
            deaths: None,
        }
    }

    fn headers() -> Arguments {
        Arguments::from_pairs([
            ("attempt".into(), Value::Int(IntKind::I32, 3)),
            ("tenant".into(), Value::LongStr(Bytes::from_static(b"blue"))),
            ("list".into(), Value::Array(Vec::new())),
        ])
    }

    #[track_caller]
    fn check(filter: &Json, expected: bool) {
        let body = r#"{"customer": {"id": 17, "name": "Ada"}, "lines": [{"sku": "a"}, {"sku": "b"}], "total": 9.5}"#;
        let message = message("order.created.eu", body);
        let standing = Standing {
            redelivered: true,
            unacknowledged: false,
        };
        let candidate = Candidate::new(&message, standing, headers);
        let filter_text = filter.to_string();
        let filter = Filter::parse(filter).unwrap();
        assert_eq!(filter.matches(&candidate), expected, "{filter_text}");
    }

    #[test]
    fn each_term_looks_at_its_part_of_the_message() {
        check(&json!({}), true);
        check(&Json::Null, true);
        check(&json!({"header": "attempt"}), true);
        check(&json!({"header": "nothing"}), false);
        check(&json!({"header": "nothing", "exists": false}), true);
        check(&json!({"header": "attempt", "equals": 3}), true);
        check(&json!({"header": "attempt", "equals": 3.0}), true);
        check(&json!({"header": "attempt", "equals": "3"}), false);
        check(&json!({"header": "attempt", "min": 3, "max": 3}), true);
        check(&json!({"header": "attempt", "min": 4}), false);
        check(&json!({"header": "tenant", "contains": "lu"}), true);
        check(&json!({"header": "tenant", "max": "bluf"}), true);
        check(&json!({"header": "list"}), true);
        check(&json!({"header": "list", "min": 0}), false);
        check(&json!({"routing_key": "order.*"}), true);
        check(&json!({"routing_key": "order.*.?u"}), true);
        check(&json!({"routing_key": "order"}), false);
        check(&json!({"exchange": "orders"}), true);
        check(&json!({"body": "\"Ada\""}), true);
        check(&json!({"body": "Bob"}), false);
        check(&json!({"json": "$.customer.id", "equals": 17}), true);
        check(&json!({"json": "$.customer.id", "min": 18}), false);
        check(&json!({"json": "$.lines[*].sku", "equals": "b"}), true);
        check(&json!({"json": "$..sku", "equals": "c"}), false);
        check(&json!({"json": "$.lines[?@.sku == 'b']"}), true);
        check(&json!({"json": "$.missing", "exists": false}), true);
        check(&json!({"redelivered": true}), true);
        check(&json!({"not": {"redelivered": true}}), false);
        check(&json!({"unacknowledged": false}), true);
        check(&json!({"unacknowledged": true}), false);
        check(&json!({"all": []}), true);
        check(&json!({"any": []}), false);
        check(
            &json!({"all": [{"body": "Ada"}, {"any": [{"body": "Bob"}, {"exchange": "orders"}]}]}),
            true,
        );
    }

    #[test]
    fn a_body_that_is_no_json_has_no_path() {
        let message = message("k", "not json");
        let standing = Standing {
            redelivered: false,
            unacknowledged: true,
        };
        let candidate = Candidate::new(&message, standing, Arguments::default);
        let matches = |json: Json| Filter::parse(&json).unwrap().matches(&candidate);
        assert!(!matches(json!({"json": "$"})));
        assert!(matches(json!({"json": "$", "exists": false})));
    }

    #[test]
    fn globs_match_whole_texts() {
        let check = |glob: &str, text: &str, expected: bool| {
            assert_eq!(
                glob_matches(glob.as_bytes(), text.as_bytes()),
                expected,
                "{glob} {text}"
            );
        };
        check("", "", true);
        check("*", "", true);
        check("a*b*c", "aXbYbZc", true);
        check("a*b*c", "aXbYbZ", false);
        check("?", "", false);
        check("a?c", "abc", true);
        check(&"*a".repeat(100), &"a".repeat(255), true);
        check(&("*a".repeat(100) + "b"), &"a".repeat(255), false);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let refused = |json: Json| Filter::parse(&json).unwrap_err().to_string();
        assert_eq!(refused(json!([])), "a term of a filter is an object");
        assert_eq!(refused(json!({"all": 1})), "'all' needs a list");
        assert_eq!(
            refused(json!({"body": "a", "equals": 1})),
            "'equals' has no meaning beside 'body'"
        );
        assert_eq!(
            refused(json!({"header": "a", "equals": 1, "min": 1})),
            "a term has one of 'equals', 'contains', 'exists' or a range"
        );
        assert_eq!(
            refused(json!({"body": "x".repeat(1025)})),
            "'body' has at most 1024 bytes"
        );
        assert!(refused(json!({"json": "$["})).starts_with("the path '$[': "));
        for path in ["$..a..b", "$['a','b']", "$[?$.a]"] {
            assert!(
                refused(json!({"json": path})).contains("costs too much"),
                "{path}"
            );
        }
        assert!(Filter::parse(&json!({"json": "$['a..b,c..$']"})).is_ok());
        let many: Vec<_> = (0..TERMS_MAX).map(|_| json!({"body": "a"})).collect();
        assert_eq!(
            refused(json!({"any": many})),
            "a filter has at most 64 terms"
        );
        let deep = (0..=DEPTH_MAX).fold(json!({"body": "a"}), |term, _| json!({"not": term}));
        assert!(refused(deep).contains("at most 8 deep"));
    }
}
