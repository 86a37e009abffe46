//! Argument values: what a client may attach to a declare, a binding, a consumer or a message header.
//!
//! The variants are those of AMQP field tables as RabbitMQ reads them; other protocols map onto them.

use bytes::Bytes;

/// One value of an argument table.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `t`
    Bool(bool),
    /// Any of the signed and unsigned integer types `b B s u I i l`; the width is kept for error texts and echoing.
    Int(IntKind, i64),
    /// `f`
    Float(f32),
    /// `d`
    Double(f64),
    /// `D`: scale and unscaled value.
    Decimal(u8, u32),
    /// `S`: text by convention, bytes by specification.
    LongStr(Bytes),
    /// `A`
    Array(Vec<Self>),
    /// `T`: seconds since 1970.
    Timestamp(u64),
    /// `F`
    Table(Arguments),
    /// `V`
    Void,
    /// `x`
    Binary(Bytes),
}

/// Width and signedness of an integer on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IntKind {
    /// `b`
    I8,
    /// `B`
    U8,
    /// `s`
    I16,
    /// `u`
    U16,
    /// `I`
    I32,
    /// `i`
    U32,
    /// `l` (and `L`, which RabbitMQ reads as `l`)
    I64,
}

impl Value {
    /// RabbitMQ's name of the value's type, as its error texts print it.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Bool(_) => "bool",
            Self::Int(IntKind::I8, _) => "byte",
            Self::Int(IntKind::U8, _) => "unsignedbyte",
            Self::Int(IntKind::I16, _) => "short",
            Self::Int(IntKind::U16, _) => "unsignedshort",
            Self::Int(IntKind::I32, _) => "signedint",
            Self::Int(IntKind::U32, _) => "unsignedint",
            Self::Int(IntKind::I64, _) => "long",
            Self::Float(_) => "float",
            Self::Double(_) => "double",
            Self::Decimal(..) => "decimal",
            Self::LongStr(_) => "longstr",
            Self::Array(_) => "array",
            Self::Timestamp(_) => "timestamp",
            Self::Table(_) => "table",
            Self::Void => "void",
            Self::Binary(_) => "binary",
        }
    }

    /// The value as an integer, if it is one.
    pub fn as_int(&self) -> Option<i64> {
        if let Self::Int(_, value) = self {
            Some(*value)
        } else {
            None
        }
    }

    /// The value as UTF-8 text, if it is a long string that holds some.
    pub fn as_str(&self) -> Option<&str> {
        if let Self::LongStr(bytes) = self {
            std::str::from_utf8(bytes).ok()
        } else {
            None
        }
    }
}

/// A table of named values, sorted bytewise by key and without duplicates (the first one wins), as RabbitMQ keeps them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Arguments(Vec<(Box<str>, Value)>);

impl Arguments {
    /// A table from pairs in any order; of two equal keys the earlier one stays.
    pub fn from_pairs(pairs: impl IntoIterator<Item = (Box<str>, Value)>) -> Self {
        let mut pairs: Vec<_> = pairs.into_iter().collect();
        pairs.sort_by(|(a, _), (b, _)| a.as_bytes().cmp(b.as_bytes()));
        pairs.dedup_by(|later, kept| later.0 == kept.0);
        Self(pairs)
    }

    /// The value of `key`.
    pub fn get(&self, key: &str) -> Option<&Value> {
        let index = self
            .0
            .binary_search_by(|(k, _)| k.as_bytes().cmp(key.as_bytes()))
            .ok()?;
        Some(&self.0[index].1)
    }

    /// Sets or replaces the value of `key`.
    pub fn insert(&mut self, key: &str, value: Value) {
        match self
            .0
            .binary_search_by(|(k, _)| k.as_bytes().cmp(key.as_bytes()))
        {
            Ok(index) => self.0[index].1 = value,
            Err(index) => self.0.insert(index, (key.into(), value)),
        }
    }

    /// All pairs in key order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(key, value)| (&**key, value))
    }

    /// Number of pairs.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no pair.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_two_equal_keys_stays() {
        let table = Arguments::from_pairs([
            ("b".into(), Value::Bool(true)),
            ("a".into(), Value::Void),
            ("b".into(), Value::Bool(false)),
        ]);
        let keys: Vec<_> = table.iter().map(|(key, _)| key).collect();
        assert_eq!(keys, ["a", "b"]);
        assert_eq!(table.get("b"), Some(&Value::Bool(true)));
    }
}
