//! What a queue machine asks of the shard that runs it.

use crate::command::{ChannelId, Outcome, Reply};
use crate::message::SharedMessage;
use base::{Name, Position, QueueId};
use bytes::Bytes;

/// Where a queue machine puts its requests; the shard reuses one buffer for all of them.
pub type Effects = Vec<Effect>;

/// One request to the runtime. They are executed in the order in which they were made.
#[derive(Debug)]
pub enum Effect {
    /// Tell a channel something.
    Reply {
        /// The channel.
        to: ChannelId,
        /// What it is told.
        reply: Reply,
    },
    /// The queue has messages for the log, or settled some that are in it: the shard asks for them with
    /// `Queue::collect_records` when the log takes its next batch. Made once until then.
    RecordsWaiting {
        /// The queue.
        queue: QueueId,
        /// Somebody waits for a confirm, so the batch should go as soon as the log is free.
        urgent: bool,
    },
    /// Read stored messages: live ones from `from` on, in order, up to about `bytes_max` bytes and at least one.
    Load {
        /// The queue.
        queue: QueueId,
        /// First position wanted.
        from: Position,
        /// Where to stop: the first position that is not wanted.
        until: Position,
        /// Budget in bytes.
        bytes_max: usize,
    },
    /// Read stored messages as with `Load`, for somebody who only looks; answered with `Queue::handle_looked_up`.
    LookUp {
        /// The queue.
        queue: QueueId,
        /// First position wanted.
        from: Position,
        /// Where to stop: the first position that is not wanted.
        until: Position,
        /// Budget in bytes.
        bytes_max: usize,
    },
    /// Wake the queue at this time with `Queue::handle_timeout`. A later request replaces an earlier one.
    Wake {
        /// The queue.
        queue: QueueId,
        /// Monotonic time.
        at: std::time::Duration,
    },
    /// A message was acknowledged this long after it had entered its queue. One message of a queue is measured at a time.
    Acknowledged {
        /// From its publish to its ack.
        after: std::time::Duration,
    },
    /// The queue has to go: its last consumer left (auto-delete), it expired, or `Delete` was granted.
    /// The shard proposes `MetadataCommand::DeleteQueue`; the answer to `reply` (if any) follows when that is durable.
    Delete {
        /// The queue.
        queue: QueueId,
        /// Who gets [`Reply::Deleted`], with the count of ready messages.
        reply: Option<(ChannelId, u64)>,
    },
    /// A message is to be tried again later, or has been tried often enough: the shard counts the attempt and puts it into its
    /// delay store, or dead-letters it. The queue has settled it already; both are in one batch of the log.
    Retry {
        /// The queue it comes from and goes back to.
        queue: QueueId,
        /// Its place there.
        position: Position,
        /// The message as it was in the queue.
        message: SharedMessage,
        /// How it came back.
        outcome: Outcome,
    },
    /// A message died and the queue has a dead-letter exchange: the shard adds the death to its headers and publishes it there.
    DeadLetter {
        /// The queue it died in.
        queue: QueueId,
        /// The message as it was in the queue.
        message: SharedMessage,
        /// Why it died.
        reason: DeadLetterReason,
        /// How often consumers failed with it, in this queue and those before.
        failed_deliveries: u32,
        /// Its place in the queue, if the queue keeps it until all queues that it goes to have it: then the shard says so with
        /// `Queue::dead_letter_arrived`. `None`: the queue has settled it already (at most once, RabbitMQ docs: dlx#safety).
        awaited: Option<Position>,
        /// `x-dead-letter-exchange`; it may not exist, then the message is dropped.
        exchange: Name,
        /// `x-dead-letter-routing-key`; `None` for the message's own routing keys.
        routing_key: Option<Bytes>,
    },
}

/// Why a message was dead-lettered (RabbitMQ docs: dlx).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeadLetterReason {
    /// Rejected or nacked without requeue.
    Rejected,
    /// Its time to live ran out.
    Expired,
    /// The queue was full.
    MaxLength,
    /// Consumers failed with it more often than the queue allows.
    DeliveryLimit,
}

impl DeadLetterReason {
    /// The word for it in the `x-death` header.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rejected => "rejected",
            Self::Expired => "expired",
            Self::MaxLength => "maxlen",
            Self::DeliveryLimit => "delivery_limit",
        }
    }
}
