//! Newtype identifiers.

use std::fmt;

/// One shard (worker thread) of a node, counted from 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShardId(pub u16);

impl ShardId {
    /// The shard as an index into a table with one row a shard.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// A client connection: the shard that drives its socket and a serial number that is never reused while the node runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId {
    /// The shard whose thread owns the connection.
    pub shard: ShardId,
    /// Unique within the life of the node process, over all shards.
    pub serial: u64,
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.shard.0, self.serial)
    }
}

/// Number of an AMQP channel within its connection, 1–65535 (0 is the connection itself).
pub type ChannelNumber = u16;

/// A channel's own small number for a consumer; it stands for the consumer tag on the message path.
pub type ConsumerTagIndex = u32;

/// One incarnation of a queue.
///
/// Given out by the metadata state machine, never reused: a queue that is deleted and declared again gets
/// a new id, so that no record of the old one can come back in the new one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QueueId(pub u64);

impl fmt::Display for QueueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where a queue's machine lives: enough to send it a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QueueRef {
    /// The incarnation.
    pub id: QueueId,
    /// The shard that owns it.
    pub shard: ShardId,
}

/// Place of a message in its queue: counts up from 0 for each message that enters and never changes, also when
/// the message is requeued.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Position(pub u64);

impl Position {
    /// The place behind this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}
