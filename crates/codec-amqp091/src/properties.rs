//! The properties of a basic content: 14 optional fields behind a word of flags.
//!
//! A broker hands properties on as the bytes that came, so the usual operation is [`PropertyScan::scan`], which checks
//! them in one walk and picks out what routing and queues need. [`BasicProperties`] is all of them. Neither looks into
//! the headers table. What a value means, and whether it is allowed, is the frontend's part.
//!
//! ```text
//! flags u16 | content_type S | content_encoding S | headers F | delivery_mode B | priority B | correlation_id S |
//! bit   15                 14         13                12             11               10
//!
//! reply_to S | expiration S | message_id S | timestamp T | type S | user_id S | app_id S | cluster_id S
//!   9             8              7              6             5       4           3          2
//!
//! S short string, F table, B octet, T u64; bit 1 is unused, bit 0 would announce more flags
//! ```
//!
//! Spec: AMQP 0-9-1 §4.2.6.1.

use crate::error::DecodeError;
use crate::value::Table;
use crate::wire::{Reader, complete, push_longstr, push_shortstr, shortstr_size};

const CONTENT_TYPE: u16 = 1 << 15;
const CONTENT_ENCODING: u16 = 1 << 14;
const HEADERS: u16 = 1 << 13;
const DELIVERY_MODE: u16 = 1 << 12;
const PRIORITY: u16 = 1 << 11;
const CORRELATION_ID: u16 = 1 << 10;
const REPLY_TO: u16 = 1 << 9;
const EXPIRATION: u16 = 1 << 8;
const MESSAGE_ID: u16 = 1 << 7;
const TIMESTAMP: u16 = 1 << 6;
const MESSAGE_TYPE: u16 = 1 << 5;
const USER_ID: u16 = 1 << 4;
const APP_ID: u16 = 1 << 3;
const CLUSTER_ID: u16 = 1 << 2;

/// Flags that no property has. Those with the continuation bit are refused too: bytes that only some readers
/// understand must not reach a consumer.
const UNKNOWN: u16 = 0b11;

/// All properties, borrowed from the content header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BasicProperties<'a> {
    /// MIME type of the body.
    pub content_type: Option<&'a [u8]>,
    /// MIME encoding of the body.
    pub content_encoding: Option<&'a [u8]>,
    /// Headers of the application.
    pub headers: Option<Table<'a>>,
    /// 1 transient, 2 persistent.
    pub delivery_mode: Option<u8>,
    /// Priority, from 0.
    pub priority: Option<u8>,
    /// Which request this answers.
    pub correlation_id: Option<&'a [u8]>,
    /// Queue for answers.
    pub reply_to: Option<&'a [u8]>,
    /// Time to live in milliseconds, as decimal digits.
    pub expiration: Option<&'a [u8]>,
    /// Id given by the application.
    pub message_id: Option<&'a [u8]>,
    /// Seconds since 1970.
    pub timestamp: Option<u64>,
    /// The property `type`: a name for the kind of message.
    pub message_type: Option<&'a [u8]>,
    /// User who published; the broker checks it.
    pub user_id: Option<&'a [u8]>,
    /// Application that published.
    pub app_id: Option<&'a [u8]>,
    /// Reserved.
    pub cluster_id: Option<&'a [u8]>,
}

impl<'a> BasicProperties<'a> {
    /// Reads flags and property list.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`], [`DecodeError::Trailing`], [`DecodeError::UnknownPropertyFlags`].
    #[inline]
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let (flags, list) = split_flags(bytes)?;
        Self::decode_list(flags, list, bytes)
    }

    fn decode_list(flags: u16, list: &'a [u8], bytes: &'a [u8]) -> Result<Self, DecodeError> {
        if flags & UNKNOWN != 0 {
            return Err(DecodeError::UnknownPropertyFlags { flags });
        }
        let mut reader = Reader::new(list);
        let properties = Self::read(flags, &mut reader);
        complete(bytes, &reader, properties)
    }

    #[inline]
    fn read(flags: u16, reader: &mut Reader<'a>) -> Option<Self> {
        /// The value if its flag is set. The outer `Option` is whether the bytes were there.
        #[inline]
        fn optional<'a, T>(
            is_set: bool,
            reader: &mut Reader<'a>,
            read: impl FnOnce(&mut Reader<'a>) -> Option<T>,
        ) -> Option<Option<T>> {
            if is_set {
                read(reader).map(Some)
            } else {
                Some(None)
            }
        }
        let has = |flag| flags & flag != 0;
        Some(Self {
            content_type: optional(has(CONTENT_TYPE), reader, Reader::shortstr)?,
            content_encoding: optional(has(CONTENT_ENCODING), reader, Reader::shortstr)?,
            headers: optional(has(HEADERS), reader, Reader::table)?,
            delivery_mode: optional(has(DELIVERY_MODE), reader, Reader::octet)?,
            priority: optional(has(PRIORITY), reader, Reader::octet)?,
            correlation_id: optional(has(CORRELATION_ID), reader, Reader::shortstr)?,
            reply_to: optional(has(REPLY_TO), reader, Reader::shortstr)?,
            expiration: optional(has(EXPIRATION), reader, Reader::shortstr)?,
            message_id: optional(has(MESSAGE_ID), reader, Reader::shortstr)?,
            timestamp: optional(has(TIMESTAMP), reader, Reader::longlong)?,
            message_type: optional(has(MESSAGE_TYPE), reader, Reader::shortstr)?,
            user_id: optional(has(USER_ID), reader, Reader::shortstr)?,
            app_id: optional(has(APP_ID), reader, Reader::shortstr)?,
            cluster_id: optional(has(CLUSTER_ID), reader, Reader::shortstr)?,
        })
    }

    /// Appends flags and property list. Short strings longer than 255 bytes are cut.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let short = |out: &mut Vec<u8>, value: Option<&[u8]>| {
            if let Some(value) = value {
                push_shortstr(value, out);
            }
        };
        out.reserve(self.size());
        out.extend_from_slice(&self.flags().to_be_bytes());
        short(out, self.content_type);
        short(out, self.content_encoding);
        if let Some(headers) = self.headers {
            push_longstr(headers.as_bytes(), out);
        }
        out.extend(self.delivery_mode);
        out.extend(self.priority);
        short(out, self.correlation_id);
        short(out, self.reply_to);
        short(out, self.expiration);
        short(out, self.message_id);
        if let Some(timestamp) = self.timestamp {
            out.extend_from_slice(&timestamp.to_be_bytes());
        }
        short(out, self.message_type);
        short(out, self.user_id);
        short(out, self.app_id);
        short(out, self.cluster_id);
    }

    fn flags(&self) -> u16 {
        let flag = |flag, is_set| if is_set { flag } else { 0 };
        flag(CONTENT_TYPE, self.content_type.is_some())
            | flag(CONTENT_ENCODING, self.content_encoding.is_some())
            | flag(HEADERS, self.headers.is_some())
            | flag(DELIVERY_MODE, self.delivery_mode.is_some())
            | flag(PRIORITY, self.priority.is_some())
            | flag(CORRELATION_ID, self.correlation_id.is_some())
            | flag(REPLY_TO, self.reply_to.is_some())
            | flag(EXPIRATION, self.expiration.is_some())
            | flag(MESSAGE_ID, self.message_id.is_some())
            | flag(TIMESTAMP, self.timestamp.is_some())
            | flag(MESSAGE_TYPE, self.message_type.is_some())
            | flag(USER_ID, self.user_id.is_some())
            | flag(APP_ID, self.app_id.is_some())
            | flag(CLUSTER_ID, self.cluster_id.is_some())
    }

    /// Bytes that `encode` will write.
    fn size(&self) -> usize {
        let strings = [
            self.content_type,
            self.content_encoding,
            self.correlation_id,
            self.reply_to,
            self.expiration,
            self.message_id,
            self.message_type,
            self.user_id,
            self.app_id,
            self.cluster_id,
        ];
        let strings: usize = strings
            .into_iter()
            .flatten()
            .map(|s| 1 + shortstr_size(s))
            .sum();
        let headers = self
            .headers
            .map_or(0, |headers| 4 + headers.as_bytes().len());
        let octets =
            usize::from(self.delivery_mode.is_some()) + usize::from(self.priority.is_some());
        2 + strings + headers + octets + self.timestamp.map_or(0, |_| 8)
    }
}

/// The properties a broker acts on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PropertyScan<'a> {
    /// 1 transient, 2 persistent.
    pub delivery_mode: Option<u8>,
    /// Priority, from 0.
    pub priority: Option<u8>,
    /// Time to live in milliseconds, as decimal digits.
    pub expiration: Option<&'a [u8]>,
    /// Queue for answers.
    pub reply_to: Option<&'a [u8]>,
    /// User who published.
    pub user_id: Option<&'a [u8]>,
    /// Headers of the application, not looked into.
    pub headers: Option<Table<'a>>,
}

impl<'a> PropertyScan<'a> {
    /// Checks flags and property list (without the content of the headers) and picks out what is needed.
    ///
    /// # Errors
    /// As [`BasicProperties::decode`].
    #[inline]
    pub fn scan(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        /// What most clients send, besides nothing at all and a delivery mode alone.
        const TYPE_AND_MODE: u16 = CONTENT_TYPE | DELIVERY_MODE;
        let (flags, list) = split_flags(bytes)?;
        match (flags, list) {
            (0, []) => Ok(Self::default()),
            (DELIVERY_MODE, &[mode]) => Ok(Self {
                delivery_mode: Some(mode),
                ..Self::default()
            }),
            (TYPE_AND_MODE, &[size, .., mode]) if list.len() == usize::from(size) + 2 => Ok(Self {
                delivery_mode: Some(mode),
                ..Self::default()
            }),
            _ => Ok(BasicProperties::decode_list(flags, list, bytes)?.into()),
        }
    }
}

impl<'a> From<BasicProperties<'a>> for PropertyScan<'a> {
    #[inline]
    fn from(all: BasicProperties<'a>) -> Self {
        Self {
            delivery_mode: all.delivery_mode,
            priority: all.priority,
            expiration: all.expiration,
            reply_to: all.reply_to,
            user_id: all.user_id,
            headers: all.headers,
        }
    }
}

#[inline]
fn split_flags(bytes: &[u8]) -> Result<(u16, &[u8]), DecodeError> {
    let Some((flags, list)) = bytes.split_first_chunk::<2>() else {
        return Err(DecodeError::truncated(bytes));
    };
    Ok((u16::from_be_bytes(*flags), list))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_flag_words_take_the_short_way_with_the_same_result() {
        let type_and_mode = [&[0x90, 0, 10][..], b"text/plain", &[2]].concat();
        for bytes in [&[0, 0][..], &[0x10, 0, 2], &type_and_mode, &[0x90, 0, 0, 1]] {
            let all = BasicProperties::decode(bytes).unwrap();
            assert_eq!(PropertyScan::scan(bytes), Ok(all.into()));
        }
        assert_eq!(
            PropertyScan::scan(&type_and_mode).unwrap().delivery_mode,
            Some(2)
        );
    }

    #[test]
    fn broken_properties_are_refused() {
        let truncated = |bytes: &[u8]| Err(DecodeError::truncated(bytes));
        let trailing = |bytes: &[u8]| Err(DecodeError::trailing(bytes));
        let unknown = |flags| Err(DecodeError::UnknownPropertyFlags { flags });
        for (bytes, expect) in [
            (&[][..], truncated(&[])),
            (&[0], truncated(&[0])),
            (&[0, 0, 1], trailing(&[0, 0, 1])),
            (&[0x10, 0], truncated(&[0x10, 0])),
            (&[0x10, 0, 1, 1], trailing(&[0x10, 0, 1, 1])),
            (&[0x90, 0, 1, b'a'], truncated(&[0x90, 0, 1, b'a'])),
            (&[0x90, 0, 0, 1, 1], trailing(&[0x90, 0, 0, 1, 1])),
            (
                &[0x20, 0, 255, 255, 255, 255],
                truncated(&[0x20, 0, 255, 255, 255, 255]),
            ),
            (&[0x00, 0x40, 0, 0], truncated(&[0x00, 0x40, 0, 0])),
            (&[0, 1, 0, 1, 0, 1], unknown(1)),
            (&[0, 2], unknown(2)),
        ] {
            assert_eq!(
                BasicProperties::decode(bytes).map(|_| ()),
                expect,
                "{bytes:?}"
            );
            assert_eq!(PropertyScan::scan(bytes).map(|_| ()), expect, "{bytes:?}");
        }
    }

    #[test]
    fn the_headers_are_not_looked_into() {
        let bytes = [0x20, 0, 0, 0, 0, 1, 77];
        assert_eq!(
            PropertyScan::scan(&bytes)
                .unwrap()
                .headers
                .unwrap()
                .as_bytes(),
            [77]
        );
    }
}
