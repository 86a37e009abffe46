//! What the owners of queues hand to the log.

use base::{Position, QueueId, ShardId};
use bytes::Bytes;

/// Largest payload of one record: 512 MiB, RabbitMQ's own ceiling for a message, and room for its envelope.
pub const RECORD_BYTES_MAX: usize = 513 << 20;

/// Largest batch: 2 GiB as encoded. It makes the log file that takes it larger than usual.
pub const BATCH_BYTES_MAX: u64 = 2 << 30;

/// The opaque content of a stored message. It is encoded on the log's thread, straight into the write buffer.
///
/// It has a head and a tail. Payloads that say that they have the same tail are written with one copy of it.
pub trait Payload: Send + 'static {
    /// Size in bytes of head and tail; used for limits and accounting.
    fn len(&self) -> usize;

    /// Size in bytes of what [`Payload::write_head_to`] appends. It matters only beside a [`Payload::tail_id`].
    fn head_len(&self) -> usize;

    /// Whether the payload has no bytes.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Payloads that live at the same time and say the same here have the same tail. `None`, and always `None`, for those
    /// whose tail is most probably theirs alone.
    fn tail_id(&self) -> Option<usize> {
        None
    }

    /// Appends the head to `out`, and does nothing else with it.
    fn write_head_to(&self, out: &mut Vec<u8>);

    /// Appends the tail to `out`, and does nothing else with it.
    fn write_tail_to(&self, out: &mut Vec<u8>);
}

impl Payload for Bytes {
    fn len(&self) -> usize {
        Self::len(self)
    }

    fn head_len(&self) -> usize {
        Self::len(self)
    }

    fn write_head_to(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self);
    }

    fn write_tail_to(&self, _: &mut Vec<u8>) {}
}

/// One entry of the log.
#[derive(Debug)]
pub enum Record<P> {
    /// A message of a queue. A position is used once in the life of a queue incarnation.
    Message {
        /// The queue incarnation.
        queue: QueueId,
        /// Its place in the queue.
        position: Position,
        /// Paged out only to save memory: forgotten at recovery.
        transient: bool,
        /// The content.
        payload: P,
    },
    /// Messages that are gone from the queue: acked, expired, dropped, purged. Positions without a message may be included.
    Settled {
        /// The queue incarnation.
        queue: QueueId,
        /// First settled position.
        from: Position,
        /// First position that is not settled.
        until: Position,
    },
    /// All positions below `until` may have been delivered once: what is left of them is redelivered after a restart.
    DeliveredUpTo {
        /// The queue incarnation.
        queue: QueueId,
        /// First position that was never delivered.
        until: Position,
    },
    /// The queue is deleted: everything of it may go.
    DropQueue {
        /// The queue incarnation.
        queue: QueueId,
    },
    /// The next metadata command; each takes the next [`MetadataIndex`]. One owner writes them all, in order.
    Metadata(Bytes),
}

/// Records that are written together: after a crash either all of them are there or none, unless the disk damaged some.
#[derive(Debug)]
pub struct Batch<P> {
    /// Who is told when it is done.
    pub shard: ShardId,
    /// The owner's own number, returned in the event; tickets of one shard are answered in the order of submission.
    pub ticket: u64,
    /// Whether somebody waits for this to be on stable storage.
    pub sync: bool,
    /// What to write, in order.
    pub records: Vec<Record<P>>,
}

/// Counts the metadata commands of a data directory: the first is 1. The last one known at start is
/// [`crate::Recovered::metadata_index`]; each [`Record::Metadata`] submitted takes the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MetadataIndex(pub u64);
