//! What a shard can be asked about its queues and connections, and what it answers.
//!
//! A question names at most [`SLICE`] things, so that a shard is never held up for long; whoever wants more asks again. The
//! answers are plain copies: nothing outside a shard ever sees its machines.

use base::{ConnectionId, QueueId};
use broker::command::ConsumerId;
use broker::delay::{DelayTarget, Listed, Selector};
use broker::queue::Counters;
use broker::value::Arguments;
use frontend_amqp091::{ChannelDetails, ConnectionDetails, ConnectionSummary};
use tokio::sync::oneshot;

/// Queues or connections that one question may be about.
pub const SLICE: usize = 1_000;

/// Connections of one question about little of each.
pub(crate) const SUMMARY_SLICE: usize = 4_000;

/// A question to one shard. An answer that nobody waits for any more is dropped.
#[derive(Debug)]
pub(crate) enum Query {
    /// Figures of these queues; those that are gone are left out.
    Queues {
        ids: Vec<QueueId>,
        answer: oneshot::Sender<Vec<QueueFigures>>,
    },
    /// Queues whose figures have changed since this was asked last, at most [`SLICE`].
    Changes {
        answer: oneshot::Sender<QueueChanges>,
    },
    /// Consumers of these queues.
    Consumers {
        ids: Vec<QueueId>,
        answer: oneshot::Sender<Vec<ConsumerFigures>>,
    },
    /// How many delayed messages wait for each target.
    DelayedCounts {
        answer: oneshot::Sender<Vec<DelayedCount>>,
    },
    /// The delayed messages that are due next, at most [`SLICE`].
    Delayed {
        selector: Selector,
        max: usize,
        answer: oneshot::Sender<Vec<Listed>>,
    },
    /// Drops delayed messages; answers how many.
    CancelDelayed {
        selector: Selector,
        answer: oneshot::Sender<u64>,
    },
    /// Connections of the slots from `from` on, at most [`SLICE`].
    Connections {
        from: usize,
        answer: oneshot::Sender<ConnectionPage<ConnectionFigures>>,
    },
    /// The same with what lists look for, at most [`SUMMARY_SLICE`].
    Summaries {
        from: usize,
        answer: oneshot::Sender<ConnectionPage<ConnectionSummary>>,
    },
    /// The same with the bytes of each, and with the first page those of connections that have ended, summed for each vhost.
    Bytes {
        from: usize,
        answer: oneshot::Sender<ConnectionPage<VhostBytes>>,
    },
    /// These connections; those that are gone are left out.
    ConnectionsOf {
        ids: Vec<ConnectionId>,
        answer: oneshot::Sender<Vec<ConnectionFigures>>,
    },
    /// Ends a connection; answers whether there was one.
    Close {
        connection: ConnectionId,
        reason: String,
        answer: oneshot::Sender<bool>,
    },
}

/// Bytes on connections to a vhost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct VhostBytes {
    pub(crate) vhost: base::Name,
    pub(crate) bytes: ByteCounts,
}

/// Bytes that clients sent and were sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ByteCounts {
    /// Bytes that they sent.
    pub received: u64,
    /// Bytes that they were sent, or will be.
    pub sent: u64,
}

impl ByteCounts {
    /// Adds what there was elsewhere.
    pub fn add(&mut self, other: &Self) {
        self.received += other.received;
        self.sent += other.sent;
    }
}

/// What a queue holds and did, at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct QueueFigures {
    /// The queue.
    pub id: QueueId,
    /// Messages that wait.
    pub ready: u64,
    /// Bytes of their bodies.
    pub ready_bytes: u64,
    /// Messages delivered and not settled.
    pub unacked: u64,
    /// Bytes of theirs that are in memory.
    pub unacked_bytes: u64,
    /// Messages that came back and wait to be tried again.
    pub delayed: u64,
    /// Bytes of their bodies.
    pub delayed_bytes: u64,
    /// When the first and the last of them are due, milliseconds since 1970.
    pub delayed_until_ms: Option<(u64, u64)>,
    /// Messages that were settled and are kept by the replay window.
    pub replayable: u64,
    /// Bytes of their bodies.
    pub replayable_bytes: u64,
    /// Consumers.
    pub consumers: u32,
    /// The share of the time, from 0 to 1, in which they took what there was, lately.
    pub consumer_capacity: f64,
    /// Bytes of messages in memory.
    pub ram_bytes: u64,
    /// What happened since the queue was first used after the node's start.
    pub counters: Counters,
    /// The tag of the consumer that has the queue for itself.
    pub exclusive_consumer_tag: Option<base::Name>,
    /// The consumer that a single-active-consumer queue serves, and its tag.
    pub single_active_consumer: Option<(ConsumerId, base::Name)>,
    /// Nobody has read yet of which priorities the messages are.
    pub has_unknown_levels: bool,
    /// What only some queues have, if this is one.
    pub rare: Option<Box<RareFigures>>,
}

/// What only quorum queues have that know priorities or keep dead letters until they have arrived.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RareFigures {
    /// How many messages wait of each priority, lowest first, as far as that is known.
    pub levels: Vec<(u8, u64)>,
    /// Messages that died and have not arrived elsewhere.
    pub dead: u64,
    /// Bytes of their bodies.
    pub dead_bytes: u64,
}

/// What has changed in queues of a shard since somebody asked for it.
#[derive(Debug, Default)]
pub struct QueueChanges {
    /// What was told before no longer counts: what follows is about all queues of the shard.
    pub is_anew: bool,
    /// Figures of queues in which something happened, with their vhosts. Of a queue of which nothing was ever told nothing ever
    /// happened since the node's start, and nothing was in it then.
    pub figures: Vec<(base::Name, QueueFigures)>,
    /// Queues that are gone.
    pub gone: Vec<QueueId>,
    /// Queues that the next answer may be about.
    pub left: usize,
}

/// How many delayed messages wait for one exchange or queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DelayedCount {
    /// The vhost of the target.
    pub vhost: base::Name,
    /// The target.
    pub target: DelayTarget,
    /// Messages.
    pub count: u64,
}

/// A consumer of a queue, at one moment.
#[derive(Clone, Debug)]
pub struct ConsumerFigures {
    /// Its queue.
    pub queue: QueueId,
    /// The consumer.
    pub id: ConsumerId,
    /// Its tag.
    pub tag: base::Name,
    /// Messages count as settled once they are sent.
    pub no_ack: bool,
    /// It has the queue for itself.
    pub exclusive: bool,
    /// Unacknowledged messages allowed at once, 0 for no limit.
    pub prefetch_count: u16,
    /// It gets messages; false while it waits behind a single active consumer.
    pub is_active: bool,
    /// The arguments it was started with.
    pub arguments: Arguments,
}

/// A connection, at one moment.
#[derive(Clone, Debug)]
pub struct ConnectionFigures {
    /// The connection.
    pub details: ConnectionDetails,
    /// Its open channels, by number.
    pub channels: Vec<ChannelDetails>,
}

/// Some connections of a shard.
#[derive(Debug)]
pub(crate) struct ConnectionPage<T> {
    pub(crate) connections: Vec<T>,
    /// The slot to go on from, if there are more.
    pub(crate) next: Option<usize>,
}
