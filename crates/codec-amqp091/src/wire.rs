//! The primitive types of method arguments: reading them from a slice, and writing a method frame around them.
//! Spec: AMQP 0-9-1 §4.2.5.

use crate::error::DecodeError;
use crate::frame::{FRAME_END, FRAME_OVERHEAD, FrameKind, frame_header};
use crate::value::Table;

/// Longest short string in bytes.
pub(crate) const SHORTSTR_SIZE_MAX: usize = 255;

/// Reads primitives from the front of a slice; `None` when there are not enough bytes.
#[derive(Clone)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    #[inline]
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    #[inline]
    fn chunk<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (chunk, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(*chunk)
    }

    #[inline]
    fn bytes(&mut self, size: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.rest.split_at_checked(size)?;
        self.rest = rest;
        Some(bytes)
    }

    #[inline]
    pub(crate) fn octet(&mut self) -> Option<u8> {
        self.chunk().map(u8::from_be_bytes)
    }

    #[inline]
    pub(crate) fn short(&mut self) -> Option<u16> {
        self.chunk().map(u16::from_be_bytes)
    }

    #[inline]
    pub(crate) fn long(&mut self) -> Option<u32> {
        self.chunk().map(u32::from_be_bytes)
    }

    #[inline]
    pub(crate) fn longlong(&mut self) -> Option<u64> {
        self.chunk().map(u64::from_be_bytes)
    }

    #[inline]
    pub(crate) fn shortstr(&mut self) -> Option<&'a [u8]> {
        let size = self.octet()?;
        self.bytes(usize::from(size))
    }

    #[inline]
    pub(crate) fn longstr(&mut self) -> Option<&'a [u8]> {
        let size = self.long()?;
        self.bytes(usize::try_from(size).ok()?)
    }

    #[inline]
    pub(crate) fn table(&mut self) -> Option<Table<'a>> {
        self.longstr().map(Table::new)
    }
}

/// Class id, method id and arguments of a method frame's payload.
#[inline]
pub(crate) fn split_ids(payload: &[u8]) -> Result<(u16, u16, &[u8]), DecodeError> {
    let Some((&[c0, c1, m0, m1], arguments)) = payload.split_first_chunk::<4>() else {
        return Err(DecodeError::truncated(payload));
    };
    Ok((
        u16::from_be_bytes([c0, c1]),
        u16::from_be_bytes([m0, m1]),
        arguments,
    ))
}

/// What was read from `arguments`, if all of it was there and nothing is left.
#[inline]
pub(crate) fn complete<T>(
    arguments: &[u8],
    reader: &Reader<'_>,
    value: Option<T>,
) -> Result<T, DecodeError> {
    match value {
        Some(value) if reader.is_empty() => Ok(value),
        Some(_) => Err(DecodeError::trailing(arguments)),
        None => Err(DecodeError::truncated(arguments)),
    }
}

/// Appends one method frame whose size is known in advance, so that the buffer grows at most once.
pub(crate) struct Writer<'o> {
    out: &'o mut Vec<u8>,
}

impl<'o> Writer<'o> {
    /// Writes everything before the arguments, which will take `size` bytes.
    #[inline]
    pub(crate) fn method(
        out: &'o mut Vec<u8>,
        channel: u16,
        class_id: u16,
        method_id: u16,
        size: usize,
    ) -> Self {
        out.reserve(size + 4 + FRAME_OVERHEAD);
        let [h0, h1, h2, h3, h4, h5, h6] = frame_header(FrameKind::Method, channel, size + 4);
        let [c0, c1] = class_id.to_be_bytes();
        let [m0, m1] = method_id.to_be_bytes();
        out.extend_from_slice(&[h0, h1, h2, h3, h4, h5, h6, c0, c1, m0, m1]);
        Self { out }
    }

    #[inline]
    pub(crate) fn octet(&mut self, value: u8) {
        self.out.push(value);
    }

    #[inline]
    pub(crate) fn short(&mut self, value: u16) {
        self.out.extend_from_slice(&value.to_be_bytes());
    }

    #[inline]
    pub(crate) fn long(&mut self, value: u32) {
        self.out.extend_from_slice(&value.to_be_bytes());
    }

    #[inline]
    pub(crate) fn longlong(&mut self, value: u64) {
        self.out.extend_from_slice(&value.to_be_bytes());
    }

    #[inline]
    pub(crate) fn shortstr(&mut self, value: &[u8]) {
        push_shortstr(value, self.out);
    }

    #[inline]
    pub(crate) fn longstr(&mut self, value: &[u8]) {
        push_longstr(value, self.out);
    }

    #[inline]
    pub(crate) fn end(self) {
        self.out.push(FRAME_END);
    }
}

/// The part of `value` that a short string can hold.
#[inline]
fn shortstr_cut(value: &[u8]) -> &[u8] {
    &value[..value.len().min(SHORTSTR_SIZE_MAX)]
}

/// Bytes of `value` as a short string, without its length octet.
#[inline]
pub(crate) fn shortstr_size(value: &[u8]) -> usize {
    shortstr_cut(value).len()
}

/// Appends a short string. Longer ones are cut at 255 bytes: a wrong name is better than a broken stream.
#[inline]
pub(crate) fn push_shortstr(value: &[u8], out: &mut Vec<u8>) {
    let value = shortstr_cut(value);
    out.push(value.len() as u8);
    out.extend_from_slice(value);
}

#[inline]
pub(crate) fn push_longstr(value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&long_size(value.len()).to_be_bytes());
    out.extend_from_slice(value);
}

/// A length as the wire has it.
///
/// # Panics
/// Only for more than 4 GiB of our own data; nothing that came from a peer can be that long.
#[inline]
pub(crate) fn long_size(size: usize) -> u32 {
    u32::try_from(size).expect("what is encoded fits a frame, and a frame says its size in 32 bits")
}
