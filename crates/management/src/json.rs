//! JSON values for responses: built once, written once.
//!
//! Keys of our own are static text, so that a listing of many objects allocates little. What clients send is read as
//! `serde_json::Value`, whose depth the parser limits.

use base::Name;
use broker::value::{Arguments, Value};
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};
use std::borrow::Cow;
use std::cmp::Ordering;

/// A value of a response.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Json {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Cow<'static, str>),
    Name(Name),
    List(Vec<Self>),
    Object(Object),
}

/// An object; keys stay in the order in which they were added.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Object(Vec<(Cow<'static, str>, Json)>);

/// An [`Object`] from keys and values.
macro_rules! object {
    ($($key:expr => $value:expr),* $(,)?) => {{
        #[allow(unused_mut, reason = "an object without keys does not change")]
        let mut object = $crate::json::Object::default();
        $(object.push($key, $value);)*
        object
    }};
}
pub(crate) use object;

impl Object {
    /// Adds a key that is not there yet.
    pub(crate) fn push(&mut self, key: impl Into<Cow<'static, str>>, value: impl Into<Json>) {
        self.0.push((key.into(), value.into()));
    }

    /// Adds all keys of another object.
    pub(crate) fn append(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// The value of a key.
    pub(crate) fn get(&self, key: &str) -> Option<&Json> {
        self.0
            .iter()
            .find(|(own, _)| own == key)
            .map(|(_, value)| value)
    }

    /// How many keys there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no key.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Keeps the keys that a test takes.
    pub(crate) fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.0.retain(|(key, _)| keep(key));
    }
}

impl Json {
    /// The value at a path of keys.
    pub(crate) fn at<'a>(&self, mut path: impl Iterator<Item = &'a str>) -> Option<&Self> {
        match path.next() {
            None => Some(self),
            Some(key) => match self {
                Self::Object(object) => object.get(key)?.at(path),
                Self::Null
                | Self::Bool(_)
                | Self::Int(_)
                | Self::Float(_)
                | Self::Text(_)
                | Self::Name(_)
                | Self::List(_) => None,
            },
        }
    }

    /// The text, if it is one.
    pub(crate) fn as_str(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Name(name) => Some(name),
            Self::Null
            | Self::Bool(_)
            | Self::Int(_)
            | Self::Float(_)
            | Self::List(_)
            | Self::Object(_) => None,
        }
    }

    /// Compares as Erlang orders terms: numbers, then atoms, then lists, then text. Any two values have one order, so that any list
    /// can be sorted.
    pub(crate) fn compare(&self, other: &Self) -> Ordering {
        self.rank()
            .cmp(&other.rank())
            .then_with(|| self.number().total_cmp(&other.number()))
            .then_with(|| self.int().cmp(&other.int()))
            .then_with(|| self.as_str().cmp(&other.as_str()))
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Int(_) | Self::Float(_) => 0,
            Self::Bool(false) => 1,
            Self::Null => 2,
            Self::Bool(true) => 3,
            Self::List(_) | Self::Object(_) => 4,
            Self::Text(_) | Self::Name(_) => 5,
        }
    }

    /// Of what is no number, 0.
    #[expect(clippy::cast_precision_loss, reason = "only for an order")]
    fn number(&self) -> f64 {
        match self {
            Self::Int(value) => *value as f64,
            Self::Float(value) => *value,
            Self::Null
            | Self::Bool(_)
            | Self::Text(_)
            | Self::Name(_)
            | Self::List(_)
            | Self::Object(_) => 0.0,
        }
    }

    fn int(&self) -> Option<i64> {
        if let Self::Int(value) = self {
            Some(*value)
        } else {
            None
        }
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Int(value) => serializer.serialize_i64(*value),
            Self::Float(value) => serializer.serialize_f64(*value),
            Self::Text(value) => serializer.serialize_str(value),
            Self::Name(value) => serializer.serialize_str(value),
            Self::List(values) => {
                let mut list = serializer.serialize_seq(Some(values.len()))?;
                for value in values {
                    list.serialize_element(value)?;
                }
                list.end()
            }
            Self::Object(object) => {
                let mut map = serializer.serialize_map(Some(object.0.len()))?;
                for (key, value) in &object.0 {
                    map.serialize_entry(key, value)?;
                }
                map.end()
            }
        }
    }
}

macro_rules! from_integers {
    ($($integer:ty),*) => {
        $(impl From<$integer> for Json {
            fn from(value: $integer) -> Self {
                Self::Int(i64::try_from(value).unwrap_or(i64::MAX))
            }
        })*
    };
}
from_integers!(u8, u16, u32, u64, usize, i32, i64, u128);

impl From<bool> for Json {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<f64> for Json {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl From<&'static str> for Json {
    fn from(value: &'static str) -> Self {
        Self::Text(Cow::Borrowed(value))
    }
}

impl From<String> for Json {
    fn from(value: String) -> Self {
        Self::Text(Cow::Owned(value))
    }
}

impl From<&Name> for Json {
    fn from(value: &Name) -> Self {
        Self::Name(value.clone())
    }
}

impl From<Name> for Json {
    fn from(value: Name) -> Self {
        Self::Name(value)
    }
}

impl From<Object> for Json {
    fn from(value: Object) -> Self {
        Self::Object(value)
    }
}

impl<T: Into<Self>> From<Vec<T>> for Json {
    fn from(values: Vec<T>) -> Self {
        Self::List(values.into_iter().map(Into::into).collect())
    }
}

impl<T: Into<Self>> From<Option<T>> for Json {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

impl From<&Arguments> for Json {
    fn from(arguments: &Arguments) -> Self {
        let mut object = Object::default();
        for (key, value) in arguments.iter() {
            object.push(key.to_owned(), Self::from(value));
        }
        Self::Object(object)
    }
}

/// Bytes that are no text are shown as text with replacement characters, as nothing better fits into JSON.
pub(crate) fn text(bytes: &[u8]) -> Json {
    Json::Text(Cow::Owned(String::from_utf8_lossy(bytes).into_owned()))
}

impl From<&Value> for Json {
    fn from(value: &Value) -> Self {
        match value {
            Value::Bool(value) => Self::Bool(*value),
            Value::Int(_, value) => Self::Int(*value),
            Value::Float(value) => finite(f64::from(*value)),
            Value::Double(value) => finite(*value),
            Value::Decimal(scale, unscaled) => {
                finite(f64::from(*unscaled) / 10_f64.powi((*scale).into()))
            }
            Value::LongStr(bytes) | Value::Binary(bytes) => text(bytes),
            Value::Array(values) => Self::List(values.iter().map(Self::from).collect()),
            Value::Timestamp(seconds) => Self::from(*seconds),
            Value::Table(table) => Self::from(table),
            Value::Void => Self::Null,
        }
    }
}

/// JSON has no infinity.
fn finite(value: f64) -> Json {
    if value.is_finite() {
        Json::Float(value)
    } else {
        Json::Null
    }
}

impl From<&serde_json::Value> for Json {
    fn from(value: &serde_json::Value) -> Self {
        use serde_json::Value as V;
        match value {
            V::Null => Self::Null,
            V::Bool(value) => Self::Bool(*value),
            V::Number(number) => number
                .as_i64()
                .map_or_else(|| finite(number.as_f64().unwrap_or_default()), Self::Int),
            V::String(text) => Self::Text(Cow::Owned(text.clone())),
            V::Array(values) => Self::List(values.iter().map(Self::from).collect()),
            V::Object(fields) => {
                let mut object = Object::default();
                for (key, value) in fields {
                    object.push(key.clone(), Self::from(value));
                }
                Self::Object(object)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_as_json() {
        let value: Json = object! {
            "n" => 1_u64,
            "rate" => 0.0,
            "list" => vec!["a\"", "b"],
            "none" => Option::<u64>::None,
            "empty" => Object::default(),
        }
        .into();
        let written = serde_json::to_string(&value).unwrap();
        assert_eq!(
            written,
            r#"{"n":1,"rate":0.0,"list":["a\"","b"],"none":null,"empty":{}}"#
        );
    }

    #[test]
    fn the_order_is_that_of_erlang_terms() {
        let order: [Json; 9] = [
            Json::from(1_u64),
            Json::from(1.5),
            Json::from(2_u64),
            Json::from(9_007_199_254_740_992.0),
            Json::from(1_u64 << 53),
            Json::from((1_u64 << 53) + 1),
            Json::from(false),
            Json::Null,
            Json::from("a"),
        ];
        for pair in order.windows(2) {
            assert_eq!(pair[0].compare(&pair[1]), Ordering::Less, "{pair:?}");
        }
    }
}
