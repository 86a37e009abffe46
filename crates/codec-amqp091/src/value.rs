//! Field tables: the typed name-value lists in method arguments and message headers.
//!
//! [`Table`] is the undecoded bytes; its iterator reads one field at a time and allocates nothing. A table inside a
//! table is again a [`Table`], which knows how deep it is, so that a caller who recurses is stopped in time. Turning
//! tables into owned values is the caller's part.
//!
//! ```text
//! table   size u32 | field …            field   key shortstr | value
//! array   size u32 | value …            value   tag | data
//!
//! t bool   b i8   B u8   s i16   u u16   I i32   i u32   l i64   f f32   d f64   D scale u8, u32   S longstr
//! x binary, as S   A array   F table   T u64, seconds since 1970   V nothing
//! ```
//!
//! Compat: the tags are RabbitMQ's, which differ from the specification's; `L` is read as `l` too.
//! Spec: AMQP 0-9-1 §4.2.5.5; RabbitMQ docs: amqp-0-9-1-errata#section_3.

use crate::error::DecodeError;
use crate::wire::{Reader, long_size, push_longstr, push_shortstr};

/// How deep tables and arrays may be nested; the outermost one has depth 1.
pub const TABLE_DEPTH_MAX: u8 = 32;

/// How many fields a table or array may have; [`Table::validate`] counts those of everything nested in it too.
pub const TABLE_FIELD_COUNT_MAX: usize = 65_536;

/// The value of a field, borrowed from the bytes around it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// `t`
    Bool(bool),
    /// `b`
    I8(i8),
    /// `B`
    U8(u8),
    /// `s`
    I16(i16),
    /// `u`
    U16(u16),
    /// `I`
    I32(i32),
    /// `i`
    U32(u32),
    /// `l`, and `L` when read
    I64(i64),
    /// `f`
    F32(f32),
    /// `d`
    F64(f64),
    /// `D`: number of decimal digits, then the unscaled value.
    Decimal(u8, u32),
    /// `S`: text by convention, any bytes by specification.
    LongStr(&'a [u8]),
    /// `A`
    Array(Array<'a>),
    /// `T`: seconds since 1970.
    Timestamp(u64),
    /// `F`
    Table(Table<'a>),
    /// `V`
    Void,
    /// `x`
    Binary(&'a [u8]),
}

/// A table as its bytes, without the length in front. Nothing about the content is checked until it is iterated.
#[derive(Clone, Copy, Debug)]
pub struct Table<'a> {
    bytes: &'a [u8],
    depth: u8,
}

/// An array as its bytes, without the length in front.
#[derive(Clone, Copy, Debug)]
pub struct Array<'a> {
    bytes: &'a [u8],
    depth: u8,
}

impl<'a> Table<'a> {
    /// A table of these bytes, which do not include the length.
    #[inline]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, depth: 1 }
    }

    /// A table without fields.
    #[inline]
    pub const fn empty() -> Self {
        Self::new(&[])
    }

    /// Whether there is no field.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The fields as they are on the wire, without the length in front.
    #[inline]
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The fields in the order of the wire, keys possibly repeated, up to and including the first error.
    #[inline]
    pub fn iter(&self) -> TableIter<'a> {
        TableIter(Fields::new(self.bytes, self.depth))
    }

    /// The value of the first field of this name.
    ///
    /// # Errors
    /// A field before it cannot be read.
    pub fn get(&self, key: &[u8]) -> Result<Option<Value<'a>>, DecodeError> {
        for field in *self {
            let (name, value) = field?;
            if name == key {
                return Ok(Some(value));
            }
        }
        Ok(None)
    }

    /// Reads everything, with all that is nested in it.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn validate(&self) -> Result<(), DecodeError> {
        let mut fields_left = TABLE_FIELD_COUNT_MAX;
        validate_value(Value::Table(*self), &mut fields_left)
    }
}

impl<'a> Array<'a> {
    /// An array of these bytes, which do not include the length.
    #[inline]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, depth: 1 }
    }

    /// Whether there is no value.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The values as they are on the wire, without the length in front.
    #[inline]
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The values in order, up to and including the first error.
    #[inline]
    pub fn iter(&self) -> ArrayIter<'a> {
        ArrayIter(Fields::new(self.bytes, self.depth))
    }
}

/// Recursion is bounded: a value below [`TABLE_DEPTH_MAX`] is never handed out.
fn validate_value(value: Value<'_>, fields_left: &mut usize) -> Result<(), DecodeError> {
    let mut visit = |value: Result<Value<'_>, DecodeError>| {
        *fields_left = fields_left
            .checked_sub(1)
            .ok_or(DecodeError::TooManyFields)?;
        validate_value(value?, fields_left)
    };
    if let Value::Table(table) = value {
        for field in table {
            visit(field.map(|(_, value)| value))?;
        }
    }
    if let Value::Array(array) = value {
        for value in array {
            visit(value)?;
        }
    }
    Ok(())
}

impl Default for Table<'_> {
    fn default() -> Self {
        Self::empty()
    }
}

/// Equal bytes, wherever the table stands.
impl PartialEq for Table<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for Table<'_> {}

/// Equal bytes, wherever the array stands.
impl PartialEq for Array<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for Array<'_> {}

impl<'a> IntoIterator for Table<'a> {
    type Item = Result<(&'a [u8], Value<'a>), DecodeError>;
    type IntoIter = TableIter<'a>;

    fn into_iter(self) -> TableIter<'a> {
        self.iter()
    }
}

impl<'a> IntoIterator for Array<'a> {
    type Item = Result<Value<'a>, DecodeError>;
    type IntoIter = ArrayIter<'a>;

    fn into_iter(self) -> ArrayIter<'a> {
        self.iter()
    }
}

/// Iterator over the fields of a [`Table`]; ends after the first error.
#[derive(Clone)]
pub struct TableIter<'a>(Fields<'a>);

/// Iterator over the values of an [`Array`]; ends after the first error.
#[derive(Clone)]
pub struct ArrayIter<'a>(Fields<'a>);

impl<'a> Iterator for TableIter<'a> {
    type Item = Result<(&'a [u8], Value<'a>), DecodeError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.0.next(|fields| {
            let key = fields
                .reader
                .shortstr()
                .ok_or(DecodeError::TableTruncated)?;
            Ok((key, fields.value()?))
        })
    }
}

impl<'a> Iterator for ArrayIter<'a> {
    type Item = Result<Value<'a>, DecodeError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.0.next(Fields::value)
    }
}

/// What both iterators share.
#[derive(Clone)]
struct Fields<'a> {
    reader: Reader<'a>,
    /// Depth of the table or array that is read.
    depth: u8,
    /// Fields that may still come.
    fields_left: usize,
}

impl<'a> Fields<'a> {
    #[inline]
    fn new(bytes: &'a [u8], depth: u8) -> Self {
        Self {
            reader: Reader::new(bytes),
            depth,
            fields_left: TABLE_FIELD_COUNT_MAX,
        }
    }

    #[inline]
    fn next<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, DecodeError>,
    ) -> Option<Result<T, DecodeError>> {
        if self.reader.is_empty() {
            return None;
        }
        let item = match self.fields_left.checked_sub(1) {
            Some(left) => {
                self.fields_left = left;
                read(self)
            }
            None => Err(DecodeError::TooManyFields),
        };
        if item.is_err() {
            self.reader = Reader::new(&[]);
        }
        Some(item)
    }

    #[inline]
    fn value(&mut self) -> Result<Value<'a>, DecodeError> {
        let tag = self.reader.octet().ok_or(DecodeError::TableTruncated)?;
        if !b"tbBsuIilLfdDSATFVx".contains(&tag) {
            return Err(DecodeError::UnknownFieldType { tag });
        }
        if matches!(tag, b'A' | b'F') && self.depth >= TABLE_DEPTH_MAX {
            return Err(DecodeError::NestingTooDeep);
        }
        self.data(tag).ok_or(DecodeError::TableTruncated)
    }

    /// The data of a value, or `None` if it is cut off.
    #[inline]
    fn data(&mut self, tag: u8) -> Option<Value<'a>> {
        let depth = self.depth + 1;
        let reader = &mut self.reader;
        Some(match tag {
            b't' => Value::Bool(reader.octet()? != 0),
            b'b' => Value::I8(reader.octet()?.cast_signed()),
            b'B' => Value::U8(reader.octet()?),
            b's' => Value::I16(reader.short()?.cast_signed()),
            b'u' => Value::U16(reader.short()?),
            b'I' => Value::I32(reader.long()?.cast_signed()),
            b'i' => Value::U32(reader.long()?),
            b'l' | b'L' => Value::I64(reader.longlong()?.cast_signed()),
            b'f' => Value::F32(f32::from_bits(reader.long()?)),
            b'd' => Value::F64(f64::from_bits(reader.longlong()?)),
            b'D' => Value::Decimal(reader.octet()?, reader.long()?),
            b'S' => Value::LongStr(reader.longstr()?),
            b'x' => Value::Binary(reader.longstr()?),
            b'T' => Value::Timestamp(reader.longlong()?),
            b'A' => Value::Array(Array {
                bytes: reader.longstr()?,
                depth,
            }),
            b'F' => Value::Table(Table {
                bytes: reader.longstr()?,
                depth,
            }),
            // `value` lets only the tags above and `V` through.
            _ => Value::Void,
        })
    }
}

/// Appends a value with its tag. A table or array is copied as it is.
pub fn encode_value(value: &Value<'_>, out: &mut Vec<u8>) {
    /// Appends `tag` and `data` in one go.
    fn push<const N: usize>(tag: u8, data: [u8; N], out: &mut Vec<u8>) {
        out.reserve(N + 1);
        out.push(tag);
        out.extend_from_slice(&data);
    }
    fn push_long(tag: u8, data: &[u8], out: &mut Vec<u8>) {
        out.reserve(data.len() + 5);
        out.push(tag);
        push_longstr(data, out);
    }
    match *value {
        Value::Bool(value) => push(b't', [u8::from(value)], out),
        Value::I8(value) => push(b'b', value.to_be_bytes(), out),
        Value::U8(value) => push(b'B', value.to_be_bytes(), out),
        Value::I16(value) => push(b's', value.to_be_bytes(), out),
        Value::U16(value) => push(b'u', value.to_be_bytes(), out),
        Value::I32(value) => push(b'I', value.to_be_bytes(), out),
        Value::U32(value) => push(b'i', value.to_be_bytes(), out),
        Value::I64(value) => push(b'l', value.to_be_bytes(), out),
        Value::F32(value) => push(b'f', value.to_bits().to_be_bytes(), out),
        Value::F64(value) => push(b'd', value.to_bits().to_be_bytes(), out),
        Value::Decimal(scale, unscaled) => {
            let [u0, u1, u2, u3] = unscaled.to_be_bytes();
            push(b'D', [scale, u0, u1, u2, u3], out);
        }
        Value::LongStr(bytes) => push_long(b'S', bytes, out),
        Value::Array(array) => push_long(b'A', array.bytes, out),
        Value::Timestamp(seconds) => push(b'T', seconds.to_be_bytes(), out),
        Value::Table(table) => push_long(b'F', table.bytes, out),
        Value::Void => push(b'V', [], out),
        Value::Binary(bytes) => push_long(b'x', bytes, out),
    }
}

/// Appends fields to a buffer; together they are the content of a [`Table`].
///
/// Nested tables and arrays are written in place by a closure, and their length is filled in when it returns.
///
/// ```
/// use codec_amqp091::{Table, TableWriter, Value};
///
/// let mut bytes = Vec::new();
/// let mut properties = TableWriter::new(&mut bytes);
/// properties.field(b"product", &Value::LongStr(b"example"));
/// properties.table(b"capabilities", |capabilities| capabilities.field(b"basic.nack", &Value::Bool(true)));
/// assert_eq!(Table::new(&bytes).get(b"product"), Ok(Some(Value::LongStr(b"example"))));
/// ```
pub struct TableWriter<'o> {
    out: &'o mut Vec<u8>,
}

impl<'o> TableWriter<'o> {
    /// A writer that appends to `out`, without a length in front.
    #[inline]
    pub fn new(out: &'o mut Vec<u8>) -> Self {
        Self { out }
    }

    /// Appends a field. Keys longer than 255 bytes are cut.
    pub fn field(&mut self, key: &[u8], value: &Value<'_>) {
        push_shortstr(key, self.out);
        encode_value(value, self.out);
    }

    /// Appends a field whose value is the table that `write` writes.
    pub fn table(&mut self, key: &[u8], write: impl FnOnce(&mut TableWriter<'_>)) {
        push_shortstr(key, self.out);
        self.out.push(b'F');
        write_table(self.out, write);
    }

    /// Appends a field whose value is the array that `write` writes.
    pub fn array(&mut self, key: &[u8], write: impl FnOnce(&mut ArrayWriter<'_>)) {
        push_shortstr(key, self.out);
        self.out.push(b'A');
        write_array(self.out, write);
    }
}

/// Appends values to a buffer; together they are the content of an [`Array`]. See [`TableWriter`].
pub struct ArrayWriter<'o> {
    out: &'o mut Vec<u8>,
}

impl<'o> ArrayWriter<'o> {
    /// A writer that appends to `out`, without a length in front.
    #[inline]
    pub fn new(out: &'o mut Vec<u8>) -> Self {
        Self { out }
    }

    /// Appends a value.
    pub fn value(&mut self, value: &Value<'_>) {
        encode_value(value, self.out);
    }

    /// Appends the table that `write` writes.
    pub fn table(&mut self, write: impl FnOnce(&mut TableWriter<'_>)) {
        self.out.push(b'F');
        write_table(self.out, write);
    }

    /// Appends the array that `write` writes.
    pub fn array(&mut self, write: impl FnOnce(&mut ArrayWriter<'_>)) {
        self.out.push(b'A');
        write_array(self.out, write);
    }
}

/// Appends a table with its length in front.
pub fn write_table(out: &mut Vec<u8>, write: impl FnOnce(&mut TableWriter<'_>)) {
    with_length(out, |out| write(&mut TableWriter { out }));
}

fn write_array(out: &mut Vec<u8>, write: impl FnOnce(&mut ArrayWriter<'_>)) {
    with_length(out, |out| write(&mut ArrayWriter { out }));
}

/// Runs `write` behind four bytes, then fills in how much it wrote.
fn with_length(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    write(out);
    let size = long_size(out.len() - start - 4);
    out[start..start + 4].copy_from_slice(&size.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_error(bytes: &[u8], expect: &DecodeError) {
        assert_eq!(
            Table::new(bytes).validate().as_ref(),
            Err(expect),
            "{bytes:?}"
        );
        let mut iter = Table::new(bytes).iter();
        while let Some(Ok(_)) = iter.next() {}
        assert!(
            iter.next().is_none(),
            "the iterator ends at the first error"
        );
    }

    /// `levels` tables, each the only field of the one before it.
    fn nested(levels: usize) -> Vec<u8> {
        let mut bytes = vec![1, b'k', b'V'];
        for _ in 1..levels {
            let inner = std::mem::take(&mut bytes);
            bytes.extend_from_slice(&[1, b'k']);
            encode_value(&Value::Table(Table::new(&inner)), &mut bytes);
        }
        bytes
    }

    #[test]
    fn broken_tables_are_told_apart() {
        for tag in (0..=255u8).filter(|tag| !b"tbBsuIilLfdDSATFVx".contains(tag)) {
            check_error(
                &[1, b'k', tag, 0, 0, 0, 0],
                &DecodeError::UnknownFieldType { tag },
            );
        }
        for bytes in [
            &[1][..],
            &[1, b'k'],
            &[5, b'k', b'V'],
            &[1, b'k', b't'],
            &[1, b'k', b'l', 0, 0, 0],
            &[1, b'k', b'D', 255, 0],
            &[1, b'k', b'S', 0, 0, 0, 9, b'x'],
            &[1, b'k', b'S', 255, 255, 255, 255],
            &[1, b'k', b'F', 128, 0, 0, 0, 1],
            &[1, b'k', b'F', 0, 0, 0, 2, 1, b'k'],
            &[1, b'k', b'A', 0, 0, 0, 2, b'u', 0],
        ] {
            check_error(bytes, &DecodeError::TableTruncated);
        }
    }

    #[test]
    fn nesting_is_limited_and_does_not_use_the_stack() {
        assert_eq!(Table::new(&nested(32)).validate(), Ok(()));
        check_error(&nested(33), &DecodeError::NestingTooDeep);
        check_error(&nested(1000), &DecodeError::NestingTooDeep);
        // Lengths that lie: 100,000 levels that all claim the rest, tables as well as arrays.
        let tables = [1, b'k', b'F', 0, 0, 0, 7].repeat(100_000);
        assert!(Table::new(&tables).validate().is_err());
        let mut deep = Vec::new();
        for level in 0..100_000u32 {
            deep.push(b'A');
            deep.extend_from_slice(&((99_999 - level) * 5).to_be_bytes());
        }
        let field = [&[1, b'k'][..], &deep].concat();
        check_error(&field, &DecodeError::NestingTooDeep);
    }

    #[test]
    fn the_number_of_fields_is_limited() {
        let many = |count: usize| [0, b'V'].repeat(count);
        assert_eq!(Table::new(&many(TABLE_FIELD_COUNT_MAX)).validate(), Ok(()));
        check_error(
            &many(TABLE_FIELD_COUNT_MAX + 1),
            &DecodeError::TooManyFields,
        );
        let mut spread = Vec::new();
        let mut writer = TableWriter::new(&mut spread);
        for _ in 0..2 {
            let half = vec![b'V'; TABLE_FIELD_COUNT_MAX / 2];
            writer.field(b"k", &Value::Array(Array::new(&half)));
        }
        check_error(&spread, &DecodeError::TooManyFields);
    }

    #[test]
    fn nested_writers_fill_in_lengths() {
        let mut bytes = vec![7];
        write_table(&mut bytes, |table| {
            table.array(b"a", |array| {
                array.value(&Value::U8(1));
                array.table(|table| table.field(b"x", &Value::Void));
                array.array(|_| ());
            });
            table.table(b"t", |_| ());
        });
        assert_eq!(bytes[..5], [7, 0, 0, 0, 29]);
        let table = Table::new(&bytes[5..]);
        assert_eq!(table.validate(), Ok(()));
        let Ok(Some(Value::Array(array))) = table.get(b"a") else {
            panic!("{table:?}")
        };
        let values: Vec<_> = array.iter().map(Result::unwrap).collect();
        assert_eq!(values[0], Value::U8(1));
        assert_eq!(values[1], Value::Table(Table::new(b"\x01xV")));
        assert_eq!(values[2], Value::Array(Array::new(b"")));
        assert_eq!(table.get(b"t"), Ok(Some(Value::Table(Table::empty()))));
        assert_eq!(table.get(b"none"), Ok(None));
    }

    #[test]
    fn l_is_read_in_both_spellings() {
        let minus_two = (-2i64).to_be_bytes();
        let bytes = [&b"\x01kL"[..], &minus_two].concat();
        assert_eq!(Table::new(&bytes).get(b"k"), Ok(Some(Value::I64(-2))));
    }
}
