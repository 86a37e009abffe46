//! Delayed messages: what a publish may ask for, and the machine that keeps messages until they are due.
//!
//! A message waits at an exchange or before a queue that allows it ([`router`](crate::router) finds out) if one of its headers
//! asks for it ([`Wait`]). It goes to the delay store of its connection's shard, is written to the log like the message of
//! a queue, and comes out as [`Due`]. The shard then routes it by the bindings of that time.
//!
//! Who may publish, what happens to a message that is due, and how its headers look are not decided here.
//! See `docs/internals/delayed-messages.md`.

mod schedule;
mod store;
#[cfg(test)]
mod tests;

pub use schedule::{Listed, Only, Selector};
pub use store::{DELAY_RAM_BYTES_MAX, DelaySink, DelayStore, Due};

use crate::Error;
use crate::command::ConfirmTo;
use crate::message::SharedMessage;
use crate::value::{Arguments, Value};
use base::{Name, QueueId, QueueRef, ShardId};
use bytes::Bytes;

/// Argument of an `x-delayed-message` exchange that names the type by whose rules it routes.
pub const DELAYED_TYPE: &str = "x-delayed-type";

/// Argument of exchanges of any type and of queues: messages that ask for it wait there. A boolean, false by default.
pub const DELAYED_PUBLISH: &str = "x-delayed-publish";

/// Header: how long to wait, in milliseconds, 1–[`DELAY_MS_MAX`].
pub const DELAY_HEADER: &str = "x-delay";

/// Header: until when to wait, in milliseconds since 1970 or as an AMQP timestamp, 0–[`DELIVER_AT_MS_MAX`].
pub const DELIVER_AT_HEADER: &str = "x-deliver-at";

/// Latest `x-deliver-at`: the end of the year 9999.
pub const DELIVER_AT_MS_MAX: u64 = 253_402_300_799_999;

/// Longest `x-delay`.
pub const DELAY_MS_MAX: i64 = 4_294_967_295;

/// Set in the ids of delay stores; the metadata counts queue ids up from 1 and never gets there. Places of message ids have bit 63.
const STORE_ID: u64 = 1 << 62;

/// The delay store that a shard's connections use.
pub fn store_of(shard: ShardId) -> QueueRef {
    QueueRef {
        id: QueueId(STORE_ID | u64::from(shard.0)),
        shard,
    }
}

/// The number of the shard whose store has that id, if it is one of a delay store. A node that now has fewer shards than that
/// leaves it to another shard.
pub fn store_number(id: QueueId) -> Option<u16> {
    let number = id.0 & !STORE_ID;
    (id.0 & STORE_ID != 0)
        .then(|| u16::try_from(number).ok())
        .flatten()
}

/// Where a message goes when it is due.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum DelayTarget {
    /// It is routed by this exchange of the vhost.
    Exchange(Name),
    /// It enters this queue.
    Queue(QueueId),
    /// It comes back to this queue, to be tried again.
    Retry(QueueId),
}

/// How long a message asks to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Milliseconds from now, 1–[`DELAY_MS_MAX`].
    For(u32),
    /// Wall clock, milliseconds since 1970; it may have passed.
    Until(u64),
}

impl Wait {
    /// What the headers ask for; `None` if nothing that makes a message wait. `x-delay` goes before `x-deliver-at`.
    ///
    /// Compat: `x-delay` may be an integer, a float (its fraction is dropped) or a text with an integer; what is anything else or
    /// out of range means no delay. An `x-deliver-at` that is no such time is refused.
    ///
    /// # Errors
    /// `Precondition`, for the header `x-deliver-at`.
    pub fn of(headers: &Arguments) -> Option<Result<Self, Error>> {
        let relative = headers.get(DELAY_HEADER).and_then(delay_ms);
        if let Some(Ok(delay_ms @ 1..)) = relative.map(u32::try_from) {
            return Some(Ok(Self::For(delay_ms)));
        }
        headers.get(DELIVER_AT_HEADER).map(|value| {
            let at = if let Value::Timestamp(seconds) = value {
                seconds.checked_mul(1000)
            } else {
                value.as_int().and_then(|at| u64::try_from(at).ok())
            };
            let at = at.filter(|&at| at <= DELIVER_AT_MS_MAX);
            at.map(Self::Until).ok_or_else(|| {
                let text = format!(
                    "invalid header '{DELIVER_AT_HEADER}': expected milliseconds since 1970 or a timestamp, up to the year 9999"
                );
                Error::Precondition(text.into())
            })
        })
    }

    /// The wall-clock time at which the wait ends.
    pub fn due_at_ms(self, wall_ms: u64) -> u64 {
        match self {
            Self::For(delay_ms) => wall_ms.saturating_add(delay_ms.into()),
            Self::Until(at) => at,
        }
    }
}

/// The number in an `x-delay` header, whatever its type.
pub fn delay_ms(value: &Value) -> Option<i64> {
    match value {
        Value::Int(_, delay) => Some(*delay),
        // Casts saturate, and what is not a number becomes 0: both mean no delay.
        Value::Float(delay) => Some(*delay as i64),
        Value::Double(delay) => Some(*delay as i64),
        Value::LongStr(text) => std::str::from_utf8(text).ok()?.parse().ok(),
        Value::Bool(_)
        | Value::Decimal(..)
        | Value::Array(_)
        | Value::Timestamp(_)
        | Value::Table(_)
        | Value::Void
        | Value::Binary(_) => None,
    }
}

/// A message for a delay store.
#[derive(Clone, Debug)]
pub struct DelayRequest {
    /// The vhost of the target.
    pub vhost: Name,
    /// Where it goes when it is due.
    pub target: DelayTarget,
    /// How long it waits.
    pub wait: Wait,
    /// Its message-id property, by which it can be cancelled.
    pub message_id: Option<Bytes>,
    /// The message as it will be published then.
    pub message: SharedMessage,
    /// Who waits for the confirm, if anybody.
    pub confirm: Option<ConfirmTo>,
}

/// A message that waits.
#[derive(Clone, Debug)]
pub struct Delayed {
    /// The vhost of the target.
    pub vhost: Name,
    /// Where it goes when it is due.
    pub target: DelayTarget,
    /// Wall clock, milliseconds since 1970.
    pub due_at_ms: u64,
    /// Its message-id property.
    pub message_id: Option<Bytes>,
    /// The message as it will be published then.
    pub message: SharedMessage,
}
