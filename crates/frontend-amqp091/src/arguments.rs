//! Field tables of the wire as the core's argument tables, and back.
//!
//! Recursion in both directions is bounded by the codec's nesting limit: it hands out nothing deeper.

use base::Name;
use broker::value::{Arguments, IntKind, Value};
use bytes::Bytes;
use codec_amqp091 as codec;
use codec_amqp091::DecodeError;

/// Reads a table.
///
/// # Errors
/// The table is malformed.
pub fn from_table(table: codec::Table<'_>) -> Result<Arguments, DecodeError> {
    if table.is_empty() {
        return Ok(Arguments::default());
    }
    table.validate()?;
    let pairs: Result<Vec<_>, DecodeError> = table
        .iter()
        .map(|field| {
            field.and_then(|(key, value)| {
                Ok((String::from_utf8_lossy(key).into(), from_value(value)?))
            })
        })
        .collect();
    Ok(Arguments::from_pairs(pairs?))
}

fn from_value(value: codec::Value<'_>) -> Result<Value, DecodeError> {
    Ok(match value {
        codec::Value::Bool(value) => Value::Bool(value),
        codec::Value::I8(value) => Value::Int(IntKind::I8, value.into()),
        codec::Value::U8(value) => Value::Int(IntKind::U8, value.into()),
        codec::Value::I16(value) => Value::Int(IntKind::I16, value.into()),
        codec::Value::U16(value) => Value::Int(IntKind::U16, value.into()),
        codec::Value::I32(value) => Value::Int(IntKind::I32, value.into()),
        codec::Value::U32(value) => Value::Int(IntKind::U32, value.into()),
        codec::Value::I64(value) => Value::Int(IntKind::I64, value),
        codec::Value::F32(value) => Value::Float(value),
        codec::Value::F64(value) => Value::Double(value),
        codec::Value::Decimal(scale, unscaled) => Value::Decimal(scale, unscaled),
        codec::Value::LongStr(bytes) => Value::LongStr(Bytes::copy_from_slice(bytes)),
        codec::Value::Array(array) => Value::Array(
            array
                .iter()
                .map(|value| value.and_then(from_value))
                .collect::<Result<_, _>>()?,
        ),
        codec::Value::Timestamp(seconds) => Value::Timestamp(seconds),
        codec::Value::Table(table) => Value::Table(from_nested(table)?),
        codec::Value::Void => Value::Void,
        codec::Value::Binary(bytes) => Value::Binary(Bytes::copy_from_slice(bytes)),
    })
}

fn from_nested(table: codec::Table<'_>) -> Result<Arguments, DecodeError> {
    let pairs: Result<Vec<_>, DecodeError> = table
        .iter()
        .map(|field| {
            field.and_then(|(key, value)| {
                Ok((String::from_utf8_lossy(key).into(), from_value(value)?))
            })
        })
        .collect();
    Ok(Arguments::from_pairs(pairs?))
}

/// Writes a table's fields.
pub fn write(arguments: &Arguments, writer: &mut codec::TableWriter<'_>) {
    for (key, value) in arguments.iter() {
        write_field(key, value, writer);
    }
}

/// Writes one field.
pub(crate) fn write_field(key: &str, value: &Value, writer: &mut codec::TableWriter<'_>) {
    let key = key.as_bytes();
    match value {
        Value::Array(values) => writer.array(key, |writer| write_array(values, writer)),
        Value::Table(table) => writer.table(key, |writer| write(table, writer)),
        Value::Bool(_)
        | Value::Int(..)
        | Value::Float(_)
        | Value::Double(_)
        | Value::Decimal(..)
        | Value::LongStr(_)
        | Value::Timestamp(_)
        | Value::Void
        | Value::Binary(_) => writer.field(key, &to_scalar(value)),
    }
}

fn write_array(values: &[Value], writer: &mut codec::ArrayWriter<'_>) {
    for value in values {
        match value {
            Value::Array(values) => writer.array(|writer| write_array(values, writer)),
            Value::Table(table) => writer.table(|writer| write(table, writer)),
            Value::Bool(_)
            | Value::Int(..)
            | Value::Float(_)
            | Value::Double(_)
            | Value::Decimal(..)
            | Value::LongStr(_)
            | Value::Timestamp(_)
            | Value::Void
            | Value::Binary(_) => writer.value(&to_scalar(value)),
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the kind says that the value fits"
)]
#[expect(clippy::cast_sign_loss, reason = "the kind says that the value fits")]
fn to_scalar(value: &Value) -> codec::Value<'_> {
    match value {
        Value::Bool(value) => codec::Value::Bool(*value),
        Value::Int(IntKind::I8, value) => codec::Value::I8(*value as i8),
        Value::Int(IntKind::U8, value) => codec::Value::U8(*value as u8),
        Value::Int(IntKind::I16, value) => codec::Value::I16(*value as i16),
        Value::Int(IntKind::U16, value) => codec::Value::U16(*value as u16),
        Value::Int(IntKind::I32, value) => codec::Value::I32(*value as i32),
        Value::Int(IntKind::U32, value) => codec::Value::U32(*value as u32),
        Value::Int(IntKind::I64, value) => codec::Value::I64(*value),
        Value::Float(value) => codec::Value::F32(*value),
        Value::Double(value) => codec::Value::F64(*value),
        Value::Decimal(scale, unscaled) => codec::Value::Decimal(*scale, *unscaled),
        Value::LongStr(bytes) => codec::Value::LongStr(bytes),
        Value::Timestamp(seconds) => codec::Value::Timestamp(*seconds),
        Value::Binary(bytes) => codec::Value::Binary(bytes),
        // Callers write these two in place, since they nest.
        Value::Void | Value::Array(_) | Value::Table(_) => codec::Value::Void,
    }
}

/// A name off the wire.
///
/// # Errors
/// It is not UTF-8.
pub(crate) fn name(bytes: &[u8]) -> Result<Name, crate::exception::Exception> {
    Ok(Name::from(text(bytes)?))
}

/// Text off the wire.
///
/// # Errors
/// It is not UTF-8.
pub(crate) fn text(bytes: &[u8]) -> Result<&str, crate::exception::Exception> {
    std::str::from_utf8(bytes).map_err(|_| crate::exception::Violation::MalformedName.into())
}

/// A name to be declared: RabbitMQ takes line breaks out of it.
///
/// # Errors
/// It is not UTF-8.
pub(crate) fn declared_name(bytes: &[u8]) -> Result<Name, crate::exception::Exception> {
    let text = text(bytes)?;
    if text.contains(['\r', '\n']) {
        return Ok(Name::from(text.replace(['\r', '\n'], "")));
    }
    Ok(Name::from(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_survives_both_directions() {
        let nested = Arguments::from_pairs([("x".into(), Value::Int(IntKind::I8, -1))]);
        let values = vec![
            Value::Bool(true),
            Value::Int(IntKind::I8, -8),
            Value::Int(IntKind::U8, 200),
            Value::Int(IntKind::I16, -1600),
            Value::Int(IntKind::U16, 60_000),
            Value::Int(IntKind::I32, i64::from(i32::MIN)),
            Value::Int(IntKind::U32, i64::from(u32::MAX)),
            Value::Int(IntKind::I64, i64::MIN),
            Value::Float(1.5),
            Value::Double(-2.5),
            Value::Decimal(2, 314),
            Value::LongStr(Bytes::from_static(b"text")),
            Value::Timestamp(u64::MAX),
            Value::Void,
            Value::Binary(Bytes::from_static(&[0, 255])),
            Value::Table(nested.clone()),
            Value::Array(vec![Value::Table(nested), Value::Array(vec![Value::Void])]),
        ];
        let arguments = Arguments::from_pairs(
            values
                .into_iter()
                .enumerate()
                .map(|(index, value)| (format!("key{index:02}").into(), value)),
        );
        let mut bytes = Vec::new();
        write(&arguments, &mut codec::TableWriter::new(&mut bytes));
        assert_eq!(from_table(codec::Table::new(&bytes)), Ok(arguments));
    }

    #[test]
    fn line_breaks_leave_declared_names() {
        assert_eq!(declared_name(b"a\r\nb\n").unwrap(), "ab");
        assert!(declared_name(&[0xFF]).is_err());
    }
}
