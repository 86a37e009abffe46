//! What the store tells the owners of queues.

use crate::StoreError;
use base::{Position, QueueId, ShardId};
use bytes::Bytes;
use std::ops::Range;

/// Receives the store's events. Called from the store's threads, so it only puts them in mailboxes.
pub trait EventSink: Send + Sync + 'static {
    /// Takes one event. Must not block and must not call [`crate::Handle::shutdown`].
    fn event(&self, event: Event);
}

/// Something the store did or needs.
#[derive(Debug)]
pub enum Event {
    /// The batch is on stable storage.
    Durable {
        /// Who submitted it.
        shard: ShardId,
        /// Its ticket.
        ticket: u64,
    },
    /// The batch, which asked for no sync, is with the operating system; it reaches the disk with the next sync.
    Written {
        /// Who submitted it.
        shard: ShardId,
        /// Its ticket.
        ticket: u64,
    },
    /// Answer to [`crate::Handle::load`].
    Loaded(Loaded),
    /// The metadata commands since the last snapshot have grown large: answer with [`crate::Handle::metadata_snapshot`].
    SnapshotWanted,
    /// There is no room for the next file. Batches wait, and are written when there is.
    DiskFull {
        /// Free bytes of the file system as it reports them.
        available_bytes: u64,
    },
    /// The file that found no room has it now.
    DiskOk,
    /// The log has ended: no batch that was not reported durable before this ever will be.
    Failed(StoreError),
}

/// Messages read back from the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// Who asked.
    pub shard: ShardId,
    /// The queue incarnation.
    pub queue: QueueId,
    /// The asker's own number.
    pub token: u64,
    /// Live messages in order of position.
    pub messages: Vec<(Position, Bytes)>,
    /// Start of the range asked for.
    pub from: Position,
    /// Everything live and readable in `from..reached` is in `messages`; the next load starts here.
    pub reached: Position,
    /// Positions within `from..reached` that hold a live message that cannot be read back. The owner settles them.
    pub damaged: Vec<Range<Position>>,
}
