//! A message as the log keeps it.
//!
//! ```text
//! u8 version (1) | u8 flags | u8 priority | [u64 expires_at_ms] | [u64 expiration_ms]
//!   | str exchange | str routing key | [extra keys] | [deaths] | [u32 failed deliveries] | [delay] | [trace]
//!   | u32 len, properties | body
//!
//! flags       bit 0 persistent, 1 expires_at_ms, 2 expiration_ms, 3 extra keys, 4 deaths, 5 failed, 6 delay, 7 trace
//! str         u8 len, bytes
//! keys        u16 count, str …
//! extra keys  keys CC, keys BCC
//! deaths      str queue, u8 reason, str exchange of the first | u8 count, death …, newest first
//! death       str queue | u8 reason | u64 count | u64 time_s | u64 original_expiration_ms + 1, 0 for none
//!               | str exchange | keys
//! reason      1 rejected, 2 expired, 3 maxlen, 4 delivery_limit
//! delay       u64 due_at_ms | str vhost | u8 1, str exchange or u8 2 (3: retry), u64 queue | u8 0 or u8 1, str message-id
//! trace       u128 trace_id | u64 span_id | u64 published_us | u16 len, state
//! ```
//! The exchange is where the tail begins that the copies of one message in many queues share. All integers are little-endian.
//! The log's record around it carries
//! length and checksum, so nothing is checked twice here; a payload that does not parse is an error of the log all the same
//! and is reported, never guessed at.

use base::{Name, QueueId};
use broker::death::{Death, Deaths, FirstDeath};
use broker::delay::{DelayTarget, Delayed};
use broker::effect::DeadLetterReason;
use broker::message::{Address, ExtraRoutingKeys, Message, SharedMessage, TraceContext};
use bytes::{Buf, Bytes};
use std::collections::HashMap;
use std::sync::Arc;

const VERSION: u8 = 1;
const PERSISTENT: u8 = 1;
const EXPIRES_AT: u8 = 1 << 1;
const EXPIRATION: u8 = 1 << 2;
const EXTRA_KEYS: u8 = 1 << 3;
const DEATHS: u8 = 1 << 4;
const FAILED: u8 = 1 << 5;
const DELAY: u8 = 1 << 6;
const TRACE: u8 = 1 << 7;

/// A message on its way into the log.
#[derive(Debug)]
pub(crate) struct StoredMessage {
    pub(crate) message: SharedMessage,
    pub(crate) expires_at_ms: Option<u64>,
    /// Of a message in a delay store: the same message with what it waits for.
    pub(crate) delayed: Option<Arc<Delayed>>,
    /// Whether other queues give the log the same message.
    pub(crate) is_shared: bool,
}

/// Holders of a message above which several of them are queues.
const SHARED_HOLDERS_MIN: usize = 4;

/// Size of a message, in bytes, from which on the log is spared a copy of it for each queue.
const SHARED_BYTES_MIN: usize = 64;

impl StoredMessage {
    /// A queue's message.
    pub(crate) fn of_queue(message: &SharedMessage, expires_at_ms: Option<u64>) -> Self {
        // It is decided once: holders come and go, and the log counts on the answer.
        let is_shared = Arc::strong_count(message) > SHARED_HOLDERS_MIN
            && message.size_bytes() >= SHARED_BYTES_MIN;
        Self {
            message: Arc::clone(message),
            expires_at_ms,
            delayed: None,
            is_shared,
        }
    }
}

impl store::Payload for StoredMessage {
    fn len(&self) -> usize {
        let message = &self.message;
        self.head_len()
            + 1
            + message.exchange().len()
            + 1
            + message.routing_key().len()
            + message
                .extra_routing_keys
                .as_deref()
                .map_or(0, extra_keys_size)
            + message.deaths.as_deref().map_or(0, deaths_size)
            + if failed_deliveries(message) > 0 { 4 } else { 0 }
            + self.delayed.as_deref().map_or(0, delay_size)
            + message.address.trace.as_deref().map_or(0, trace_size)
            + 4
            + message.properties.len()
            + message.body.len()
    }

    fn head_len(&self) -> usize {
        3 + 8 * usize::from(self.expires_at_ms.is_some())
            + 8 * usize::from(self.message.expiration_ms.is_some())
    }

    fn tail_id(&self) -> Option<usize> {
        // The copies of a message differ in their flags and in when they expire: that is the head.
        self.is_shared.then(|| Arc::as_ptr(&self.message).addr())
    }

    fn write_head_to(&self, out: &mut Vec<u8>) {
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
        if message.extra_routing_keys.is_some() {
            flags |= EXTRA_KEYS;
        }
        if message.deaths.is_some() {
            flags |= DEATHS;
        }
        if failed_deliveries(message) > 0 {
            flags |= FAILED;
        }
        if self.delayed.is_some() {
            flags |= DELAY;
        }
        if message.address.trace.is_some() {
            flags |= TRACE;
        }
        out.extend_from_slice(&[VERSION, flags, message.priority]);
        for time in [self.expires_at_ms, message.expiration_ms]
            .into_iter()
            .flatten()
        {
            out.extend_from_slice(&time.to_le_bytes());
        }
    }

    fn write_tail_to(&self, out: &mut Vec<u8>) {
        let message = &self.message;
        push_short(message.exchange().as_bytes(), out);
        push_short(message.routing_key(), out);
        if let Some(extra) = &message.extra_routing_keys {
            push_keys(&extra.cc, out);
            push_keys(&extra.bcc, out);
        }
        if let Some(deaths) = &message.deaths {
            push_deaths(deaths, out);
        }
        let failed = failed_deliveries(message);
        if failed > 0 {
            out.extend_from_slice(&failed.to_le_bytes());
        }
        if let Some(delayed) = &self.delayed {
            push_delay(delayed, out);
        }
        if let Some(trace) = &message.address.trace {
            push_trace(trace, out);
        }
        let properties = u32::try_from(message.properties.len()).expect("properties fit one frame");
        out.extend_from_slice(&properties.to_le_bytes());
        out.extend_from_slice(&message.properties);
        out.extend_from_slice(&message.body);
    }
}

/// AMQP limits names and keys to 255 bytes; whoever made the message checked that.
fn push_short(short: &[u8], out: &mut Vec<u8>) {
    out.push(u8::try_from(short.len()).expect("a short string has at most 255 bytes"));
    out.extend_from_slice(short);
}

fn push_keys(keys: &[Bytes], out: &mut Vec<u8>) {
    let count = u16::try_from(keys.len()).expect("a publish has at most 1000 extra keys");
    out.extend_from_slice(&count.to_le_bytes());
    for key in keys {
        push_short(key, out);
    }
}

fn push_deaths(deaths: &Deaths, out: &mut Vec<u8>) {
    let first = deaths.first();
    push_short(first.queue.as_bytes(), out);
    out.push(reason_code(first.reason));
    push_short(first.exchange.as_bytes(), out);
    out.push(u8::try_from(deaths.iter().len()).expect("a history has at most 128 deaths"));
    for death in deaths.iter() {
        push_short(death.queue.as_bytes(), out);
        out.push(reason_code(death.reason));
        let expiration = death
            .original_expiration_ms
            .map_or(0, |expiration_ms| expiration_ms.saturating_add(1));
        for number in [death.count, death.time_s, expiration] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        push_short(death.exchange.as_bytes(), out);
        push_keys(&death.routing_keys, out);
    }
}

fn push_delay(delayed: &Delayed, out: &mut Vec<u8>) {
    out.extend_from_slice(&delayed.due_at_ms.to_le_bytes());
    push_short(delayed.vhost.as_bytes(), out);
    match &delayed.target {
        DelayTarget::Exchange(exchange) => {
            out.push(1);
            push_short(exchange.as_bytes(), out);
        }
        DelayTarget::Queue(queue) | DelayTarget::Retry(queue) => {
            let retry = matches!(delayed.target, DelayTarget::Retry(_));
            out.push(if retry { 3 } else { 2 });
            out.extend_from_slice(&queue.0.to_le_bytes());
        }
    }
    out.push(u8::from(delayed.message_id.is_some()));
    if let Some(message_id) = &delayed.message_id {
        push_short(message_id, out);
    }
}

fn push_trace(trace: &TraceContext, out: &mut Vec<u8>) {
    out.extend_from_slice(&trace.trace_id.to_le_bytes());
    out.extend_from_slice(&trace.span_id.to_le_bytes());
    out.extend_from_slice(&trace.published_us.to_le_bytes());
    let length = u16::try_from(trace.state.len()).expect("a state has at most 512 bytes");
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(trace.state.as_bytes());
}

fn trace_size(trace: &TraceContext) -> usize {
    16 + 8 + 8 + 2 + trace.state.len()
}

fn delay_size(delayed: &Delayed) -> usize {
    let target = match &delayed.target {
        DelayTarget::Exchange(exchange) => 1 + exchange.len(),
        DelayTarget::Queue(_) | DelayTarget::Retry(_) => 8,
    };
    let message_id = delayed.message_id.as_ref().map_or(0, |id| 1 + id.len());
    8 + 1 + delayed.vhost.len() + 1 + target + 1 + message_id
}

fn keys_size(keys: &[Bytes]) -> usize {
    2 + keys.iter().map(|key| 1 + key.len()).sum::<usize>()
}

fn extra_keys_size(extra: &ExtraRoutingKeys) -> usize {
    keys_size(&extra.cc) + keys_size(&extra.bcc)
}

fn failed_deliveries(message: &Message) -> u32 {
    let deaths = message.deaths.as_deref();
    deaths.map_or(0, Deaths::failed_deliveries)
}

fn deaths_size(deaths: &Deaths) -> usize {
    let death_size = |death: &Death| {
        1 + death.queue.len() + 1 + 24 + 1 + death.exchange.len() + keys_size(&death.routing_keys)
    };
    let first = deaths.first();
    let first_size = 1 + first.queue.len() + 1 + 1 + first.exchange.len();
    first_size + 1 + deaths.iter().map(death_size).sum::<usize>()
}

fn reason_code(reason: DeadLetterReason) -> u8 {
    match reason {
        DeadLetterReason::Rejected => 1,
        DeadLetterReason::Expired => 2,
        DeadLetterReason::MaxLength => 3,
        DeadLetterReason::DeliveryLimit => 4,
    }
}

fn reason(code: u8) -> Option<DeadLetterReason> {
    match code {
        1 => Some(DeadLetterReason::Rejected),
        2 => Some(DeadLetterReason::Expired),
        3 => Some(DeadLetterReason::MaxLength),
        4 => Some(DeadLetterReason::DeliveryLimit),
        _ => None,
    }
}

/// Exchange names seen while loading, so that a million messages share one copy of the name. Bounded: cleared when full.
#[derive(Debug, Default)]
pub(crate) struct NameCache {
    names: HashMap<Bytes, Name>,
    /// The last address: messages that lie together were mostly published alike.
    last: Option<Arc<Address>>,
}

/// Names kept in a [`NameCache`] at most.
const NAMES_MAX: usize = 1024;

impl NameCache {
    fn name(&mut self, bytes: &Bytes) -> Option<Name> {
        if let Some(name) = self.names.get(bytes) {
            return Some(name.clone());
        }
        let name = Name::from(std::str::from_utf8(bytes).ok()?);
        if self.names.len() >= NAMES_MAX {
            self.names.clear();
        }
        self.names
            .insert(Bytes::copy_from_slice(bytes), name.clone());
        Some(name)
    }

    fn address(&mut self, exchange: &Bytes, routing_key: &Bytes) -> Option<Arc<Address>> {
        if let Some(last) = &self.last
            && last.routing_key == *routing_key
            && *last.exchange.as_bytes() == **exchange
        {
            return Some(Arc::clone(last));
        }
        // A copy, so that the address does not hold what was read with it.
        let routing_key = Bytes::copy_from_slice(routing_key);
        let address = Address::new(self.name(exchange)?, routing_key);
        self.last = Some(Arc::clone(&address));
        Some(address)
    }
}

/// What a payload of a delay store says besides its message.
struct DelayHeader {
    due_at_ms: u64,
    vhost: Name,
    target: DelayTarget,
    message_id: Option<Bytes>,
}

/// Reads a payload of a queue back; `None` if it is not one.
pub(crate) fn decode(
    payload: Bytes,
    names: &mut NameCache,
) -> Option<(SharedMessage, Option<u64>)> {
    let (message, expires_at_ms, delay) = decode_any(payload, names)?;
    delay.is_none().then_some((message, expires_at_ms))
}

/// Reads a payload of a delay store back; `None` if it is not one.
pub(crate) fn decode_delayed(payload: Bytes, names: &mut NameCache) -> Option<Delayed> {
    let (message, _, delay) = decode_any(payload, names)?;
    let delay = delay?;
    Some(Delayed {
        vhost: delay.vhost,
        target: delay.target,
        due_at_ms: delay.due_at_ms,
        message_id: delay.message_id,
        message,
    })
}

fn decode_any(
    mut payload: Bytes,
    names: &mut NameCache,
) -> Option<(SharedMessage, Option<u64>, Option<DelayHeader>)> {
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
    let extra_routing_keys = if flags & EXTRA_KEYS != 0 {
        let (cc, bcc) = (keys(&mut payload)?, keys(&mut payload)?);
        Some(Arc::new(ExtraRoutingKeys { cc, bcc }))
    } else {
        None
    };
    let mut history = None;
    if flags & DEATHS != 0 {
        history = Some(deaths(&mut payload, names)?);
    }
    if flags & FAILED != 0 {
        let failed = take(&mut payload, 4)?.get_u32_le();
        history = history.map(|deaths| deaths.after_failed_deliveries(failed));
    }
    let delay = if flags & DELAY != 0 {
        Some(delay_header(&mut payload, names)?)
    } else {
        None
    };
    let address = if flags & TRACE != 0 {
        let trace = Some(Box::new(trace(&mut payload)?));
        let routing_key = Bytes::copy_from_slice(&routing_key);
        Address::traced(names.name(&exchange)?, routing_key, trace)
    } else {
        names.address(&exchange, &routing_key)?
    };
    let properties_length = take(&mut payload, 4)?.get_u32_le();
    let properties = take(&mut payload, usize::try_from(properties_length).ok()?)?;
    let message = Message {
        address,
        properties,
        body: payload,
        persistent: flags & PERSISTENT != 0,
        priority,
        expiration_ms,
        extra_routing_keys,
        deaths: history.map(Arc::new),
    };
    Some((Arc::new(message), expires_at_ms, delay))
}

fn trace(payload: &mut Bytes) -> Option<TraceContext> {
    let mut fixed = take(payload, 16 + 8 + 8 + 2)?;
    let (trace_id, span_id) = (fixed.get_u128_le(), fixed.get_u64_le());
    let published_us = fixed.get_u64_le();
    let state = take(payload, usize::from(fixed.get_u16_le()))?;
    Some(TraceContext {
        trace_id,
        span_id,
        published_us,
        state: std::str::from_utf8(&state).ok()?.into(),
    })
}

fn delay_header(payload: &mut Bytes, names: &mut NameCache) -> Option<DelayHeader> {
    Some(DelayHeader {
        due_at_ms: take(payload, 8)?.get_u64_le(),
        vhost: names.name(&short(payload)?)?,
        target: match take(payload, 1)?[0] {
            1 => DelayTarget::Exchange(names.name(&short(payload)?)?),
            2 => DelayTarget::Queue(QueueId(take(payload, 8)?.get_u64_le())),
            3 => DelayTarget::Retry(QueueId(take(payload, 8)?.get_u64_le())),
            _ => return None,
        },
        message_id: match take(payload, 1)?[0] {
            0 => None,
            1 => Some(short(payload)?),
            _ => return None,
        },
    })
}

fn take(payload: &mut Bytes, length: usize) -> Option<Bytes> {
    (payload.len() >= length).then(|| payload.split_to(length))
}

fn short(payload: &mut Bytes) -> Option<Bytes> {
    let length = take(payload, 1)?[0];
    take(payload, usize::from(length))
}

fn keys(payload: &mut Bytes) -> Option<Box<[Bytes]>> {
    let count = take(payload, 2)?.get_u16_le();
    (0..count).map(|_| short(payload)).collect()
}

fn deaths(payload: &mut Bytes, names: &mut NameCache) -> Option<Deaths> {
    let first = FirstDeath {
        queue: names.name(&short(payload)?)?,
        reason: reason(take(payload, 1)?[0])?,
        exchange: names.name(&short(payload)?)?,
    };
    let count = take(payload, 1)?[0];
    let deaths: Option<Vec<_>> = (0..count).map(|_| death(payload, names)).collect();
    Deaths::from_parts(first, deaths?)
}

fn death(payload: &mut Bytes, names: &mut NameCache) -> Option<Death> {
    Some(Death {
        queue: names.name(&short(payload)?)?,
        reason: reason(take(payload, 1)?[0])?,
        count: take(payload, 8)?.get_u64_le(),
        time_s: take(payload, 8)?.get_u64_le(),
        original_expiration_ms: take(payload, 8)?.get_u64_le().checked_sub(1),
        exchange: names.name(&short(payload)?)?,
        routing_keys: keys(payload)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use store::Payload;

    fn stored(expires_at_ms: Option<u64>, expiration_ms: Option<u64>) -> StoredMessage {
        let message = Message {
            address: Address::new("logs".into(), Bytes::from_static(b"a.\xff")),
            properties: Bytes::from_static(&[0x10, 0, 2]),
            body: Bytes::from_static(b"hello"),
            persistent: true,
            priority: 7,
            expiration_ms,
            extra_routing_keys: None,
            deaths: None,
        };
        StoredMessage {
            message: Arc::new(message),
            expires_at_ms,
            delayed: None,
            is_shared: false,
        }
    }

    fn written(stored: &StoredMessage) -> Vec<u8> {
        let mut bytes = Vec::new();
        stored.write_head_to(&mut bytes);
        assert_eq!(bytes.len(), stored.head_len());
        stored.write_tail_to(&mut bytes);
        assert_eq!(bytes.len(), stored.len());
        bytes
    }

    fn dead_lettered() -> StoredMessage {
        let mut stored = stored(Some(5), None);
        let message = Arc::make_mut(&mut stored.message);
        message.extra_routing_keys = Some(Arc::new(ExtraRoutingKeys {
            cc: Box::new([Bytes::from_static(b"c1"), Bytes::new()]),
            bcc: Box::new([Bytes::from_static(b"b")]),
        }));
        let death = Death {
            queue: "work".into(),
            reason: DeadLetterReason::Rejected,
            count: 1,
            time_s: 1000,
            exchange: "logs".into(),
            routing_keys: Box::new([Bytes::from_static(b"a"), Bytes::from_static(b"c1")]),
            original_expiration_ms: Some(0),
        };
        let again = Death {
            queue: "wait".into(),
            reason: DeadLetterReason::Expired,
            original_expiration_ms: None,
            ..death.clone()
        };
        let deaths = Deaths::with(None, death);
        message.deaths = Some(Arc::new(
            Deaths::with(Some(&deaths), again).after_failed_deliveries(3),
        ));
        stored
    }

    fn traced() -> StoredMessage {
        let mut stored = dead_lettered();
        let trace = TraceContext {
            trace_id: u128::MAX - 1,
            span_id: 7,
            published_us: 1_700_000_000_000_001,
            state: "a=b".into(),
        };
        Arc::make_mut(&mut stored.message).address = Address::traced(
            "logs".into(),
            Bytes::from_static(b"a"),
            Some(Box::new(trace)),
        );
        stored
    }

    #[test]
    fn a_message_reads_back_as_it_was_written() {
        for stored in [
            stored(None, None),
            stored(Some(5), None),
            stored(Some(u64::MAX), Some(1000)),
            stored(None, Some(0)),
            dead_lettered(),
            traced(),
        ] {
            let bytes = written(&stored);
            let (message, expires_at_ms) = decode(bytes.into(), &mut NameCache::default()).unwrap();
            assert_eq!(expires_at_ms, stored.expires_at_ms);
            assert_eq!(format!("{message:?}"), format!("{:?}", stored.message));
        }
    }

    fn delayed(target: DelayTarget, message_id: Option<&'static [u8]>) -> StoredMessage {
        let mut stored = dead_lettered();
        stored.expires_at_ms = None;
        stored.delayed = Some(Arc::new(Delayed {
            vhost: "/".into(),
            target,
            due_at_ms: 1_700_000_000_123,
            message_id: message_id.map(Bytes::from_static),
            message: Arc::clone(&stored.message),
        }));
        stored
    }

    #[test]
    fn a_delayed_message_reads_back_as_it_was_written_and_is_no_queues_message() {
        for stored in [
            delayed(DelayTarget::Exchange("later".into()), Some(b"m-1")),
            delayed(DelayTarget::Queue(QueueId(7)), None),
            delayed(DelayTarget::Retry(QueueId(8)), None),
        ] {
            let payload = Bytes::from(written(&stored));
            let read = decode_delayed(payload.clone(), &mut NameCache::default()).unwrap();
            assert_eq!(
                format!("{read:?}"),
                format!("{:?}", stored.delayed.as_deref().unwrap())
            );
            assert!(decode(payload, &mut NameCache::default()).is_none());
        }
    }

    #[test]
    fn a_cut_payload_is_refused_or_has_a_shorter_body() {
        let target = DelayTarget::Exchange("later".into());
        for stored in [
            stored(Some(1), Some(2)),
            dead_lettered(),
            traced(),
            delayed(target, Some(b"m")),
        ] {
            let bytes = written(&stored);
            let body_start = bytes.len() - 5;
            for length in 0..body_start {
                let cut = Bytes::copy_from_slice(&bytes[..length]);
                assert!(
                    decode_any(cut, &mut NameCache::default()).is_none(),
                    "at {length}"
                );
            }
        }
    }

    #[test]
    fn copies_of_a_message_in_many_queues_differ_in_the_head_alone() {
        let message = dead_lettered().message;
        assert!(!StoredMessage::of_queue(&message, None).is_shared);
        let queues: Vec<_> = (0..10).map(|_| Arc::clone(&message)).collect();
        let large = Message {
            body: vec![7; SHARED_BYTES_MIN].into(),
            ..(*message).clone()
        };
        assert!(
            !StoredMessage::of_queue(&queues[0], None).is_shared,
            "too small"
        );
        let queues: Vec<_> = std::iter::repeat_n(Arc::new(large), 10).collect();
        let copies = [None, Some(5)].map(|expires| StoredMessage::of_queue(&queues[0], expires));
        let tails = copies.each_ref().map(|copy| {
            let mut tail = Vec::new();
            copy.write_tail_to(&mut tail);
            (copy.tail_id().expect("many have it"), tail)
        });
        assert_eq!(tails[0], tails[1]);
        assert_ne!(written(&copies[0]), written(&copies[1]));
    }

    #[test]
    fn an_unknown_version_is_refused() {
        let mut bytes = written(&stored(None, None));
        bytes[0] = VERSION + 1;
        assert!(decode(bytes.into(), &mut NameCache::default()).is_none());
    }
}
