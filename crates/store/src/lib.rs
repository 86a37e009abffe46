//! The node's log: what must survive a power cut is a record in it.
//!
//! The store is a durable ordered map `QueueId -> Position -> payload`, an ordered list of metadata commands and
//! one metadata snapshot. Payloads, commands and snapshots are opaque bytes: it deliberately knows nothing of
//! AMQP, of what a message is, or of who may read it.
//!
//! ```text
//!   shards ── Batch ──► wal thread ── one write, one sync ──► wal-0000, wal-0001, … (preallocated, reused)
//!                          │ Durable{ticket}                       │ full
//!   shards ◄───────────────┘                                       ▼
//!      ▲                                            mover thread: what is still live
//!      │ Loaded                                                    │
//!   reader thread ◄── wal files, segments ◄────── segment-… , checkpoint, metadata-log, metadata-snapshot
//! ```
//!
//! * A batch is written whole or not at all, and is reported durable only after `fdatasync` returned.
//! * The first failed operation on the log ends it for good. A full disk does not: batches wait for space.
//! * Damage is named (queue, positions), never taken for the end of the log, and never stops the start.
//!
//! The files are drawn in `docs/internals/data-files.md`.

mod atomic_file;
mod batch;
mod checkpoint;
mod disk;

mod error;
mod event;
mod format;
mod index;
mod inspect;
mod kept;
mod mover;
mod options;
mod reader;
mod recovered;
mod recovery;
mod segment;
mod shared;
mod store;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;
mod wal;

pub use batch::{BATCH_BYTES_MAX, Batch, MetadataIndex, Payload, RECORD_BYTES_MAX, Record};
pub use disk::{Disk, DiskFile, RealDisk};
pub use error::StoreError;
pub use event::{Event, EventSink, Loaded};
pub use inspect::inspect;
pub use options::Options;
pub use recovered::{Damage, Recovered, RecoveredQueue};
pub use store::{Handle, LoadRequest, Statistics, Store, open};
