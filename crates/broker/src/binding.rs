//! A binding: the rule that leads messages from an exchange to a queue or to another exchange.

use crate::command::Destination;
use crate::value::{Arguments, Value};
use base::Name;
use bytes::Bytes;
use std::cmp::Ordering;

/// One binding. Source, destination, binding key and arguments together are its identity: binding the same again changes nothing.
#[derive(Clone, Debug)]
pub struct Binding {
    /// The exchange that messages come from.
    pub source: Name,
    /// Where they go.
    pub destination: Destination,
    /// The binding key; the protocol calls it routing key. At most 255 bytes, not necessarily UTF-8.
    pub binding_key: Bytes,
    /// The arguments as given.
    pub arguments: Arguments,
    /// Survives a restart: source and destination are both durable.
    pub durable: bool,
    /// Stands for `arguments` in comparisons, which tables of floats cannot take part in.
    arguments_key: Box<[u8]>,
}

impl Binding {
    /// A binding of these parts.
    pub fn new(
        source: Name,
        destination: Destination,
        binding_key: Bytes,
        arguments: Arguments,
        durable: bool,
    ) -> Self {
        let mut key = Vec::new();
        encode_table(&mut key, &arguments);
        Self {
            source,
            destination,
            binding_key,
            arguments,
            durable,
            arguments_key: key.into(),
        }
    }

    /// Bytes that are equal for bindings with equal arguments only.
    pub(crate) fn arguments_key(&self) -> &[u8] {
        &self.arguments_key
    }

    fn identity(&self) -> (&Name, &Destination, &[u8], &[u8]) {
        (
            &self.source,
            &self.destination,
            &self.binding_key,
            &self.arguments_key,
        )
    }
}

impl PartialEq for Binding {
    fn eq(&self, other: &Self) -> bool {
        self.identity() == other.identity()
    }
}

impl Eq for Binding {}

impl PartialOrd for Binding {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Binding {
    fn cmp(&self, other: &Self) -> Ordering {
        self.identity().cmp(&other.identity())
    }
}

/// Appends bytes that are equal for equal tables only. An empty table gives none.
fn encode_table(out: &mut Vec<u8>, table: &Arguments) {
    for (key, value) in table.iter() {
        encode_bytes(out, key.as_bytes());
        encode_value(out, value);
    }
}

/// The recursion is as deep as the value, which whoever decoded it has limited.
pub(crate) fn encode_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Bool(value) => out.extend([b't', u8::from(*value)]),
        Value::Int(kind, value) => {
            out.extend([b'i', *kind as u8]);
            out.extend(value.to_be_bytes());
        }
        Value::Float(value) => {
            out.push(b'f');
            out.extend(value.to_bits().to_be_bytes());
        }
        Value::Double(value) => {
            out.push(b'd');
            out.extend(value.to_bits().to_be_bytes());
        }
        Value::Decimal(scale, unscaled) => {
            out.extend([b'D', *scale]);
            out.extend(unscaled.to_be_bytes());
        }
        Value::LongStr(bytes) => {
            out.push(b'S');
            encode_bytes(out, bytes);
        }
        Value::Binary(bytes) => {
            out.push(b'x');
            encode_bytes(out, bytes);
        }
        Value::Array(values) => {
            out.push(b'A');
            out.extend(values.len().to_be_bytes());
            values.iter().for_each(|value| encode_value(out, value));
        }
        Value::Timestamp(seconds) => {
            out.push(b'T');
            out.extend(seconds.to_be_bytes());
        }
        Value::Table(table) => {
            out.push(b'F');
            out.extend(table.len().to_be_bytes());
            encode_table(out, table);
        }
        Value::Void => out.push(b'V'),
    }
}

fn encode_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend(bytes.len().to_be_bytes());
    out.extend(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::IntKind;

    fn binding(arguments: &[(&str, Value)]) -> Binding {
        let arguments = Arguments::from_pairs(
            arguments
                .iter()
                .map(|(key, value)| ((*key).into(), value.clone())),
        );
        Binding::new(
            "x".into(),
            Destination::Queue("q".into()),
            Bytes::from_static(b"k"),
            arguments,
            true,
        )
    }

    #[test]
    fn arguments_are_part_of_the_identity() {
        let text = |text: &'static str| Value::LongStr(Bytes::from_static(text.as_bytes()));
        let variants = [
            binding(&[]),
            binding(&[("a", text("b"))]),
            binding(&[("ab", text(""))]),
            binding(&[("a", Value::Int(IntKind::I32, 1))]),
            binding(&[("a", Value::Int(IntKind::I64, 1))]),
            binding(&[("a", Value::Double(f64::NAN))]),
            binding(&[("a", Value::Array(vec![Value::Void]))]),
        ];
        for (i, a) in variants.iter().enumerate() {
            for (j, b) in variants.iter().enumerate() {
                assert_eq!(a == b, i == j, "{a:?} and {b:?}");
            }
        }
    }
}
