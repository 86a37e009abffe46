//! What was found in the data directory at start.

use crate::MetadataIndex;
use base::{Position, QueueId};
use bytes::Bytes;
use std::collections::HashMap;
use std::ops::Range;

/// The content of a data directory, as [`crate::open`] found it.
#[derive(Debug, Default)]
pub struct Recovered {
    /// The last process shut the store down in order.
    pub clean: bool,
    /// The newest metadata snapshot.
    pub metadata_snapshot: Option<Bytes>,
    /// The commands after the snapshot, in order.
    pub metadata_commands: Vec<Bytes>,
    /// Index of the last metadata command known; the next one submitted takes the one behind it.
    pub metadata_index: MetadataIndex,
    /// Every queue incarnation that ever had a record and was not dropped.
    pub queues: HashMap<QueueId, RecoveredQueue>,
    /// What could not be read back. Empty after any crash of a healthy disk.
    pub damage: Vec<Damage>,
}

impl Recovered {
    /// Whether metadata is missing, so that a queue unknown to the metadata is no proof that it was deleted:
    /// the caller must not use [`crate::Handle::retain_queues`] then.
    pub fn is_metadata_damaged(&self) -> bool {
        self.damage
            .iter()
            .any(|damage| matches!(damage, Damage::Metadata { .. }))
    }
}

/// What the store holds of a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecoveredQueue {
    /// Live messages.
    pub messages: u64,
    /// Their payload bytes; those of partly settled segments are estimated.
    pub bytes: u64,
    /// Position of the first live message; `next` if there is none.
    pub first: Position,
    /// Next free position: greater than any that was ever written, as far as is known.
    pub next: Position,
    /// All positions below this may have been delivered before.
    pub delivered_until: Position,
}

/// Something stored that is lost or unreadable. It is named as exactly as the bytes allow.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Damage {
    /// Messages of a known queue.
    Messages {
        /// The queue incarnation.
        queue: QueueId,
        /// The positions among which they are.
        positions: Range<Position>,
        /// File name within the data directory.
        file: String,
    },
    /// The record of a settlement, delivery mark or deletion of a known queue: some of its messages may return.
    Marks {
        /// The queue incarnation.
        queue: QueueId,
        /// File name within the data directory.
        file: String,
    },
    /// A part of a file whose records cannot be told any more.
    Bytes {
        /// File name within the data directory.
        file: String,
        /// Offsets in the file.
        range: Range<u64>,
    },
    /// Metadata commands, or the snapshot itself (then the range starts at 1).
    Metadata {
        /// The lost commands.
        commands: Range<u64>,
        /// File name within the data directory.
        file: String,
    },
    /// Both copies of the checkpoint are unreadable. Nothing stored is lost, but settled messages may return.
    Checkpoint {
        /// File name within the data directory.
        file: String,
    },
}
