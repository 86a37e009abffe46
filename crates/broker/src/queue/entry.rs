//! One message of a queue, in 32 bytes beside the message itself.

use crate::message::{Message, SharedMessage};
use base::{Now, Position};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

/// What a message in RAM is taken to cost beside its own bytes: the entry, the shared allocation, buffer slack.
pub(super) const MESSAGE_OVERHEAD_BYTES: usize = 256;

/// Messages up to this size are copied when they stay in the queue, see [`detach`].
const DETACH_BYTES_MAX: usize = 4 << 10;

/// A message that goes to more queues than this is detached before it gets there, see [`detach_for`].
const DETACHED_TARGETS_MIN: usize = 8;

/// Holders of a message above which it was detached before: what they are besides queues is a few at most.
const DETACHED_HOLDERS_MIN: usize = 2 * DETACHED_TARGETS_MIN;

/// Properties that most messages have: none, or just a delivery mode.
const COMMON_PROPERTIES: [&[u8]; 3] = [&[0, 0], &[0x10, 0, 1], &[0x10, 0, 2]];

/// When a message expires, in nanoseconds of the monotonic clock; [`Deadline::NEVER`] for most messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Deadline(u64);

impl Deadline {
    pub(super) const NEVER: Self = Self(u64::MAX);

    /// `ttl_ms` from now.
    pub(super) fn after(now: Now, ttl_ms: u64) -> Self {
        Self(nanos(now.monotonic).saturating_add(ttl_ms.saturating_mul(1_000_000)))
    }

    /// From the wall-clock time in a record; it may have passed.
    pub(super) fn from_wall(now: Now, expires_at_ms: Option<u64>) -> Self {
        let Some(at) = expires_at_ms else {
            return Self::NEVER;
        };
        match at.checked_sub(now.wall_ms) {
            Some(left_ms) => Self::after(now, left_ms),
            None => Self(
                nanos(now.monotonic).saturating_sub((now.wall_ms - at).saturating_mul(1_000_000)),
            ),
        }
    }

    /// The wall-clock time for a record, seen from `now`.
    pub(super) fn to_wall_ms(self, now: Now) -> Option<u64> {
        if self == Self::NEVER {
            return None;
        }
        let left = i128::from(self.0) - i128::from(nanos(now.monotonic));
        let at = i128::from(now.wall_ms) + left.div_euclid(1_000_000);
        Some(u64::try_from(at.max(0)).unwrap_or(u64::MAX))
    }

    pub(super) fn has_passed(self, now: Now) -> bool {
        self.0 <= nanos(now.monotonic)
    }

    /// The moment, if there is one.
    pub(super) fn moment(self) -> Option<Duration> {
        (self != Self::NEVER).then(|| Duration::from_nanos(self.0))
    }
}

/// Nanoseconds since the process started; enough for 584 years.
fn nanos(monotonic: Duration) -> u64 {
    u64::try_from(monotonic.as_nanos()).unwrap_or(u64::MAX - 1)
}

/// A message that waits in the queue or was delivered and not settled.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) position: Position,
    pub(super) deadline: Deadline,
    /// `None`: evicted; the store has it.
    pub(super) message: Option<SharedMessage>,
    /// Size of the body, for length limits and statistics.
    pub(super) body_bytes: u32,
    /// The queue's priority level; 0 without priorities.
    pub(super) level: u8,
    /// The log has it or will get it with the next collect, so its settlement is logged too.
    pub(super) logged: bool,
    /// A transient message that the log got only so that it can leave RAM.
    pub(super) spilled: bool,
    /// Delivered before.
    pub(super) redelivered: bool,
}

impl Entry {
    /// RAM that the payload takes; nothing when it is evicted.
    pub(super) fn ram_bytes(&self) -> usize {
        self.message.as_deref().map_or(0, ram_bytes)
    }

    /// See [`detach`].
    #[inline]
    pub(super) fn detach(&mut self) {
        if let Some(message) = &mut self.message {
            detach(message);
        }
    }

    /// Drops the payload and says how much RAM that frees.
    pub(super) fn evict(&mut self) -> usize {
        let freed = self.ram_bytes();
        self.message = None;
        freed
    }
}

/// Gives a small message memory of its own. Properties and body are slices of what was read from a socket; a few of them that wait
/// would keep all of it. The routing key is no such slice.
#[inline]
pub(crate) fn detach(message: &mut SharedMessage) {
    if message.size_bytes() > DETACH_BYTES_MAX || Arc::strong_count(message) > DETACHED_HOLDERS_MIN
    {
        return;
    }
    copy_parts(message);
}

/// Detaches a message that is about to go to so many queues that each of them would otherwise keep a copy.
#[inline]
pub fn detach_for(message: &mut SharedMessage, queues: usize) {
    if queues > DETACHED_TARGETS_MIN {
        detach(message);
    }
}

fn copy_parts(message: &mut SharedMessage) {
    let properties = COMMON_PROPERTIES
        .into_iter()
        .find(|common| *common == message.properties)
        .map_or_else(
            || Bytes::copy_from_slice(&message.properties),
            Bytes::from_static,
        );
    let body = Bytes::copy_from_slice(&message.body);
    // Others may have it, too: then each that keeps it has a copy.
    let own = Arc::make_mut(message);
    own.properties = properties;
    own.body = body;
}

/// RAM that a message takes.
pub(crate) fn ram_bytes(message: &Message) -> usize {
    message.size_bytes() + MESSAGE_OVERHEAD_BYTES
}

/// Size of the body as an entry keeps it. Bodies are limited far below 4 GiB by the frontends.
pub(super) fn body_bytes(message: &Message) -> u32 {
    u32::try_from(message.body.len()).unwrap_or(u32::MAX)
}

/// How often consumers failed with the message in queues where it was before; then it counts as delivered before.
#[inline]
pub(super) fn failed_before(message: &Message) -> u32 {
    message
        .deaths
        .as_ref()
        .map_or(0, |deaths| deaths.failed_deliveries())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Address;

    #[test]
    fn a_small_message_lets_go_of_the_read_buffer_and_a_large_one_keeps_it() {
        for (size, detached) in [(10, true), (DETACH_BYTES_MAX, false)] {
            let buffer = Bytes::from(vec![7; 3 + size]);
            let message = Message {
                address: Address::new("x".into(), Bytes::from_static(b"k")),
                properties: buffer.slice(..3),
                body: buffer.slice(3..),
                persistent: false,
                priority: 0,
                expiration_ms: None,
                extra_routing_keys: None,
                deaths: None,
            };
            let shared = Arc::new(message);
            let mut entry = Entry {
                position: Position(0),
                deadline: Deadline::NEVER,
                body_bytes: body_bytes(&shared),
                message: Some(Arc::clone(&shared)),
                level: 0,
                logged: false,
                spilled: false,
                redelivered: false,
            };
            entry.detach();
            let kept = entry.message.expect("it was put there");
            assert_eq!(kept.properties, shared.properties);
            assert_eq!(kept.body, shared.body);
            drop(shared);
            assert_eq!(buffer.is_unique(), detached);
        }
    }

    #[test]
    fn what_many_queues_have_is_not_copied_for_each_of_them() {
        let buffer = Bytes::from(vec![7; 100]);
        let mut message = Arc::new(Message {
            address: Address::new("x".into(), Bytes::from_static(b"k")),
            properties: buffer.slice(..3),
            body: buffer.slice(3..),
            persistent: false,
            priority: 0,
            expiration_ms: None,
            extra_routing_keys: None,
            deaths: None,
        });
        detach_for(&mut message, 1);
        assert!(!buffer.is_unique(), "one queue does that for itself");
        detach_for(&mut message, 1000);
        assert!(buffer.is_unique());
        let body = message.body.as_ptr();
        let mut held: Vec<_> = (0..1000).map(|_| Arc::clone(&message)).collect();
        held.iter_mut().for_each(detach);
        assert!(held.iter().all(|held| held.body.as_ptr() == body));
    }

    #[test]
    fn an_entry_is_32_bytes() {
        assert_eq!(size_of::<Entry>(), 32);
    }

    #[test]
    fn a_deadline_survives_the_way_through_the_wall_clock() {
        let now = Now {
            monotonic: Duration::from_millis(500),
            wall_ms: 1_000_000,
        };
        let deadline = Deadline::after(now, 2_000);
        assert_eq!(deadline.to_wall_ms(now), Some(1_002_000));
        let restarted = Now {
            monotonic: Duration::from_millis(5),
            wall_ms: 1_001_500,
        };
        assert_eq!(
            Deadline::from_wall(restarted, Some(1_002_000)).moment(),
            Some(Duration::from_millis(505))
        );
        assert_eq!(Deadline::NEVER.to_wall_ms(now), None);
    }
}
