//! A message as the log keeps it.
//!
//! ```text
//! u8 version (1) | u8 flags | [u64 expires_at_ms] | u8 len, exchange | u8 len, routing key | u32 len, properties | body
//! flags: bit 0 persistent, bit 1 expires_at_ms present, bit 2 expiration property present (u64 follows expires_at_ms)
//! bits 4-7 unused, zero
//! ```
//! All integers are little-endian. The priority is kept behind the flags as one octet. The log's record around it carries
//! length and checksum, so nothing is checked twice here; a payload that does not parse is an error of the log all the same
//! and is reported, never guessed at.

use broker::message::{Message, SharedMessage};
use bytes::{Buf, Bytes};
use std::collections::HashMap;
use std::sync::Arc;

use base::Name;

const VERSION: u8 = 1;
const PERSISTENT: u8 = 1;
const EXPIRES_AT: u8 = 1 << 1;
const EXPIRATION: u8 = 1 << 2;

/// A message on its way into the log.
#[derive(Debug)]
pub(crate) struct StoredMessage {
    pub(crate) message: SharedMessage,
    pub(crate) expires_at_ms: Option<u64>,
}

impl store::Payload for StoredMessage {
    fn len(&self) -> usize {
        let message = &self.message;
        3 + 8 * usize::from(self.expires_at_ms.is_some())
            + 8 * usize::from(message.expiration_ms.is_some())
            + 1
            + message.exchange.len()
            + 1
            + message.routing_key.len()
            + 4
            + message.properties.len()
            + message.body.len()
    }

    fn write_to(&self, out: &mut Vec<u8>) {
        let message = &self.message;
        let mut flags = 0;
        if message.persistent {
            flags |= PERSISTENT;
        }
        if self.expires_at_ms.is_some() {
            flags |= EXPIRES_AT;
        }
        if message.expiration_ms.is_some() {
            flags |= EXPIRATION;
        }
        out.extend_from_slice(&[VERSION, flags, message.priority]);
        for time in [self.expires_at_ms, message.expiration_ms]
            .into_iter()
            .flatten()
        {
            out.extend_from_slice(&time.to_le_bytes());
        }
        // AMQP limits both to 255 bytes; whoever made the message checked that.
        for short in [message.exchange.as_bytes(), &message.routing_key] {
            out.push(u8::try_from(short.len()).expect("a short string has at most 255 bytes"));
            out.extend_from_slice(short);
        }
        let properties = u32::try_from(message.properties.len()).expect("properties fit one frame");
        out.extend_from_slice(&properties.to_le_bytes());
        out.extend_from_slice(&message.properties);
        out.extend_from_slice(&message.body);
    }
}

/// Exchange names seen while loading, so that a million messages share one copy of the name. Bounded: cleared when full.
#[derive(Debug, Default)]
pub(crate) struct NameCache(HashMap<Bytes, Name>);

/// Names kept in a [`NameCache`] at most.
const NAMES_MAX: usize = 1024;

impl NameCache {
    fn name(&mut self, bytes: &Bytes) -> Option<Name> {
        if let Some(name) = self.0.get(bytes) {
            return Some(name.clone());
        }
        let name = Name::from(std::str::from_utf8(bytes).ok()?);
        if self.0.len() >= NAMES_MAX {
            self.0.clear();
        }
        self.0.insert(Bytes::copy_from_slice(bytes), name.clone());
        Some(name)
    }
}

/// Reads a payload back; `None` if it is not one.
pub(crate) fn decode(
    mut payload: Bytes,
    names: &mut NameCache,
) -> Option<(SharedMessage, Option<u64>)> {
    let header = take(&mut payload, 3)?;
    let (version, flags, priority) = (header[0], header[1], header[2]);
    if version != VERSION {
        return None;
    }
    let mut time = |flag: u8| -> Option<Option<u64>> {
        if flags & flag == 0 {
            return Some(None);
        }
        Some(Some(take(&mut payload, 8)?.get_u64_le()))
    };
    let expires_at_ms = time(EXPIRES_AT)?;
    let expiration_ms = time(EXPIRATION)?;
    let exchange = short(&mut payload)?;
    let routing_key = short(&mut payload)?;
    let properties_length = take(&mut payload, 4)?.get_u32_le();
    let properties = take(&mut payload, usize::try_from(properties_length).ok()?)?;
    let message = Message {
        exchange: names.name(&exchange)?,
        routing_key,
        properties,
        body: payload,
        persistent: flags & PERSISTENT != 0,
        priority,
        expiration_ms,
    };
    Some((Arc::new(message), expires_at_ms))
}

fn take(payload: &mut Bytes, length: usize) -> Option<Bytes> {
    (payload.len() >= length).then(|| payload.split_to(length))
}

fn short(payload: &mut Bytes) -> Option<Bytes> {
    let length = take(payload, 1)?[0];
    take(payload, usize::from(length))
}

#[cfg(test)]
mod tests {
    use super::*;
    use store::Payload;

    fn stored(expires_at_ms: Option<u64>, expiration_ms: Option<u64>) -> StoredMessage {
        let message = Message {
            exchange: Name::from("logs"),
            routing_key: Bytes::from_static(b"a.\xff"),
            properties: Bytes::from_static(&[0x10, 0, 2]),
            body: Bytes::from_static(b"hello"),
            persistent: true,
            priority: 7,
            expiration_ms,
        };
        StoredMessage {
            message: Arc::new(message),
            expires_at_ms,
        }
    }

    #[test]
    fn a_message_reads_back_as_it_was_written() {
        for (expires, expiration) in [
            (None, None),
            (Some(5), None),
            (Some(u64::MAX), Some(1000)),
            (None, Some(0)),
        ] {
            let stored = stored(expires, expiration);
            let mut bytes = Vec::new();
            stored.write_to(&mut bytes);
            assert_eq!(bytes.len(), stored.len());
            let (message, expires_at_ms) = decode(bytes.into(), &mut NameCache::default()).unwrap();
            assert_eq!(expires_at_ms, expires);
            assert_eq!(format!("{message:?}"), format!("{:?}", stored.message));
        }
    }

    #[test]
    fn a_cut_payload_is_refused_or_has_a_shorter_body() {
        let stored = stored(Some(1), Some(2));
        let mut bytes = Vec::new();
        stored.write_to(&mut bytes);
        let body_start = bytes.len() - 5;
        for length in 0..body_start {
            let cut = Bytes::copy_from_slice(&bytes[..length]);
            assert!(
                decode(cut, &mut NameCache::default()).is_none(),
                "at {length}"
            );
        }
    }
}
