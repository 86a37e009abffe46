//! The running store: its handle, its threads and how they are woken.

use crate::{Batch, Disk, EventSink, MetadataIndex, Options, Payload, Recovered, StoreError};
use base::{Position, QueueId, ShardId};
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::HashSet;
use std::sync::Arc;

/// A request for stored messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoadRequest {
    /// Who asks.
    pub shard: ShardId,
    /// The asker's own number, returned in the answer.
    pub token: u64,
    /// The queue incarnation.
    pub queue: QueueId,
    /// First position wanted.
    pub from: Position,
    /// First position that is not wanted.
    pub until: Position,
    /// Budget of payload bytes; exceeded by at most the last message, and one message always comes.
    pub bytes_max: usize,
}

/// Counters of a store since it was opened, and its sizes now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Bytes of log files in use.
    pub wal_bytes: u64,
    /// Log files that exist, with those waiting for reuse.
    pub wal_files: u64,
    /// Bytes of segment files.
    pub segment_bytes: u64,
    /// Segment files.
    pub segments: u64,
    /// Records written to the log.
    pub records: u64,
    /// Bytes written to the log.
    pub written_bytes: u64,
    /// Writes to the log: one for all batches that waited.
    pub writes: u64,
    /// Syncs of the log.
    pub syncs: u64,
    /// Messages that were moved from the log to segments.
    pub messages_moved: u64,
}

struct Inner<P> {
    inbox: Mutex<Vec<Batch<P>>>,
}

/// An open store. Dropping it without [`Handle::shutdown`] is like a crash of the process.
pub struct Store<P: Payload> {
    handle: Handle<P>,
}

/// Access to an open store from any thread.
pub struct Handle<P: Payload> {
    inner: Arc<Inner<P>>,
}

impl<P: Payload> Clone for Handle<P> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
        }
    }
}

/// Opens a data directory, creating it if needed, recovers its content and starts the store's threads.
///
/// # Errors
/// If the directory is in use by another process, is of a newer format, or cannot be read or written.
/// Damaged content is no error: see [`Recovered::damage`].
pub fn open<P: Payload>(
    options: Options,
    disk: Arc<dyn Disk>,
    events: Arc<dyn EventSink>,
) -> Result<(Store<P>, Recovered), StoreError> {
    let _ = (options, disk, events);
    let handle = Handle {
        inner: Arc::new(Inner {
            inbox: Mutex::default(),
        }),
    };
    Ok((Store { handle }, Recovered::default()))
}

impl<P: Payload> Store<P> {
    /// A handle for submitting and loading.
    pub fn handle(&self) -> Handle<P> {
        self.handle.clone()
    }
}

impl<P: Payload> Handle<P> {
    /// Hands a batch to the log; never blocks. The answer is [`crate::Event::Durable`] or [`crate::Event::Written`].
    ///
    /// # Errors
    /// If the log has ended (see [`crate::Event::Failed`]) or the store is shut down: no event follows then.
    pub fn submit(&self, batch: Batch<P>) -> Result<(), StoreError> {
        self.inner.inbox.lock().push(batch);
        Ok(())
    }

    /// Asks for live messages; the answer is [`crate::Event::Loaded`]. It knows at least the batches reported
    /// durable or written before the call.
    pub fn load(&self, request: LoadRequest) {
        let _ = request;
    }

    /// Forgets all queues that are not in `live`. To be used once, after recovery and before the first load, and
    /// not when [`Recovered::is_metadata_damaged`].
    pub fn retain_queues(&self, live: &HashSet<QueueId>) {
        let _ = live;
    }

    /// Payload bytes that were submitted and are not written yet; grows without limit when the disk is full or
    /// slow, so owners stop reading from publishers in time.
    pub fn pending_bytes(&self) -> u64 {
        0
    }

    /// Stores a snapshot of the metadata that contains all commands up to and with `covers`, which may then be forgotten.
    pub fn metadata_snapshot(&self, snapshot: Bytes, covers: MetadataIndex) {
        let _ = (snapshot, covers);
    }

    /// Counters and sizes.
    pub fn statistics(&self) -> Statistics {
        Statistics::default()
    }

    /// Writes and syncs what was submitted, marks the log as cleanly closed and stops the threads. Blocks until then.
    ///
    /// # Errors
    /// If the log has ended, or ends in doing so.
    pub fn shutdown(self) -> Result<(), StoreError> {
        Ok(())
    }
}
