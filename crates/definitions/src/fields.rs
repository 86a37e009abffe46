//! Fields of JSON objects, and argument tables.

use crate::Error;
use broker::json::{Json, Map};
use broker::value::{Arguments, IntKind, Value};
use bytes::Bytes;

/// A JSON object.
pub type Object = Map<String, Json>;

/// Deepest nesting of an object; argument tables may not be deeper.
pub const DEPTH_MAX: usize = 30;

/// What readers of objects ask for.
pub trait Fields {
    /// A key that must be there.
    ///
    /// # Errors
    /// It is not.
    fn require(&self, key: &str) -> Result<&Json, Error>;

    /// A text that must be there.
    ///
    /// # Errors
    /// It is not, or is no text.
    fn require_text(&self, key: &str) -> Result<&str, Error>;

    /// A switch; off if it is not there. RabbitMQ takes texts as well.
    ///
    /// # Errors
    /// It is something else.
    fn switch(&self, key: &str) -> Result<bool, Error>;

    /// A list of texts, or texts with commas between; none if it is not there.
    ///
    /// # Errors
    /// It is something else.
    fn texts(&self, key: &str) -> Result<Vec<Box<str>>, Error>;

    /// An argument table; RabbitMQ writes an empty one as a list as well.
    ///
    /// # Errors
    /// There is a null in it, or it is something else.
    fn arguments(&self) -> Result<Arguments, Error>;
}

impl Fields for Object {
    fn require(&self, key: &str) -> Result<&Json, Error> {
        self.get(key)
            .ok_or_else(|| Error::KeyMissing(key.to_owned()))
    }

    fn require_text(&self, key: &str) -> Result<&str, Error> {
        self.require(key)?
            .as_str()
            .ok_or_else(|| Error::NotText(key.to_owned()))
    }

    fn switch(&self, key: &str) -> Result<bool, Error> {
        match self.get(key) {
            None | Some(Json::Null) => Ok(false),
            Some(Json::Bool(value)) => Ok(*value),
            Some(Json::String(text)) if text == "true" => Ok(true),
            Some(Json::String(text)) if text == "false" => Ok(false),
            Some(other) => Err(Error::NotBoolean(
                other
                    .as_str()
                    .map_or_else(|| other.to_string(), str::to_owned),
            )),
        }
    }

    fn texts(&self, key: &str) -> Result<Vec<Box<str>>, Error> {
        match self.get(key) {
            None | Some(Json::Null) => Ok(Vec::new()),
            Some(Json::String(texts)) => Ok(texts
                .split(',')
                .map(str::trim)
                .filter(|text| !text.is_empty())
                .map(Box::from)
                .collect()),
            Some(Json::Array(texts)) => texts
                .iter()
                .map(|text| text.as_str().map(Box::from))
                .collect::<Option<_>>()
                .ok_or_else(|| Error::invalid(format!("{key} must be text"))),
            Some(_) => Err(Error::invalid(format!("{key} must be text or a list"))),
        }
    }

    fn arguments(&self) -> Result<Arguments, Error> {
        match self.get("arguments") {
            Some(Json::Object(fields)) => {
                to_arguments(fields).ok_or_else(|| Error::invalid("null_not_allowed"))
            }
            None | Some(Json::Null) => Ok(Arguments::default()),
            Some(Json::Array(values)) if values.is_empty() => Ok(Arguments::default()),
            Some(_) => Err(Error::invalid("arguments must be an object")),
        }
    }
}

/// Whether limits say anything: RabbitMQ writes none as an empty object or an empty list.
pub fn is_set(limits: &Json) -> bool {
    match limits {
        Json::Object(fields) => !fields.is_empty(),
        Json::Array(values) => !values.is_empty(),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => false,
    }
}

/// Whether an object is nested too deeply. The parser allows 128 levels, so this recursion ends there.
pub fn is_too_deep(fields: &Object) -> bool {
    fn of(value: &Json) -> usize {
        match value {
            Json::Array(values) => 1 + values.iter().map(of).max().unwrap_or(0),
            Json::Object(fields) => depth(fields),
            Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => 0,
        }
    }
    fn depth(fields: &Object) -> usize {
        1 + fields.values().map(of).max().unwrap_or(0)
    }
    depth(fields) > DEPTH_MAX
}

/// A value that somebody wrote, as an argument. `None` for `null`, which RabbitMQ refuses.
///
/// The recursion is as deep as the parser allowed.
pub fn to_value(value: &Json) -> Option<Value> {
    Some(match value {
        Json::Null => return None,
        Json::Bool(value) => Value::Bool(*value),
        Json::Number(number) => match number.as_i64() {
            Some(integer) => Value::Int(IntKind::I64, integer),
            None => Value::Double(number.as_f64()?),
        },
        Json::String(text) => Value::LongStr(Bytes::copy_from_slice(text.as_bytes())),
        Json::Array(values) => Value::Array(values.iter().map(to_value).collect::<Option<_>>()?),
        Json::Object(fields) => Value::Table(to_arguments(fields)?),
    })
}

/// An object that somebody wrote, as an argument table.
pub fn to_arguments(fields: &Object) -> Option<Arguments> {
    let pairs: Option<Vec<_>> = fields
        .iter()
        .map(|(key, value)| Some((key.as_str().into(), to_value(value)?)))
        .collect();
    Some(Arguments::from_pairs(pairs?))
}
