//! The running store: its handle, its threads and how they are woken.
//!
//! Three threads, each a loop around a plain machine: the log's writer, the mover and the reader.
//! They share the index ([`crate::index`]) and nothing else.

use crate::mover::Mover;
use crate::reader::Reader;
use crate::recovery::{self, Opened};
use crate::shared::{Counters, Shared};
use crate::wal::{self, Step, Wal};
use crate::{
    BATCH_BYTES_MAX, Batch, Disk, Event, EventSink, MetadataIndex, Options, Payload,
    RECORD_BYTES_MAX, Record, Recovered, StoreError,
};
use base::{Position, QueueId, ShardId};
use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use std::any::Any;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Records for which nobody waits are synced this long after the first of them was written.
const LAZY_SYNC_AFTER: Duration = Duration::from_millis(10);
/// How often somebody who lacks space looks for it.
const DISK_FULL_RETRY: Duration = Duration::from_millis(500);

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
    /// Bytes of segments and of log files that were kept in their place.
    pub segment_bytes: u64,
    /// Segments and log files that were kept in their place.
    pub segments: u64,
    /// Records written to the log.
    pub records: u64,
    /// Of those: messages.
    pub messages_written: u64,
    /// Messages that were read back for queues that had only their places in memory.
    pub messages_read: u64,
    /// Bytes written to the log.
    pub written_bytes: u64,
    /// Writes to the log: one for all batches that waited.
    pub writes: u64,
    /// Syncs of the log.
    pub syncs: u64,
    /// Messages that were moved from the log to segments.
    pub messages_moved: u64,
    /// Full log files that were kept, since most of their messages were live.
    pub files_kept: u64,
}

/// A mailbox with a bell. What is in it is taken all at once.
struct Mailbox<T> {
    content: Mutex<Content<T>>,
    bell: Condvar,
}

struct Content<T> {
    items: Vec<T>,
    /// Something outside the mailbox changed that the owner looks at.
    nudged: bool,
    stop: Option<Stop>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    /// After what was submitted is done.
    InOrder,
    /// At once.
    Abort,
}

impl<T> Mailbox<T> {
    fn new() -> Self {
        Self {
            content: Mutex::new(Content {
                items: Vec::new(),
                nudged: false,
                stop: None,
            }),
            bell: Condvar::new(),
        }
    }

    /// Refuses when the owner is told to stop.
    fn post(&self, item: T) -> Result<(), StoreError> {
        let mut content = self.content.lock();
        if content.stop.is_some() {
            return Err(StoreError::Closed);
        }
        content.items.push(item);
        drop(content);
        self.bell.notify_one();
        Ok(())
    }

    fn nudge(&self) {
        self.content.lock().nudged = true;
        self.bell.notify_one();
    }

    fn stop(&self, how: Stop) {
        self.content.lock().stop.get_or_insert(how);
        self.bell.notify_one();
    }

    /// Moves all items into `into`, waiting for something to happen or for the deadline if `wait` says so.
    fn take(&self, into: &mut Vec<T>, wait: Wait) -> Option<Stop> {
        let mut content = self.content.lock();
        while content.items.is_empty() && !content.nudged && content.stop.is_none() {
            match wait {
                Wait::No => break,
                Wait::Forever => self.bell.wait(&mut content),
                Wait::Until(deadline) => {
                    if self.bell.wait_until(&mut content, deadline).timed_out() {
                        break;
                    }
                }
            }
        }
        content.nudged = false;
        into.append(&mut content.items);
        content.stop
    }
}

#[derive(Clone, Copy, Debug)]
enum Wait {
    No,
    Forever,
    Until(Instant),
}

struct Inner<P> {
    shared: Arc<Shared>,
    wal: Mailbox<Batch<P>>,
    mover: Mailbox<(Bytes, MetadataIndex)>,
    reader: Mailbox<LoadRequest>,
    threads: Mutex<Threads>,
}

#[derive(Default)]
struct Threads {
    wal: Option<JoinHandle<()>>,
    others: Vec<JoinHandle<()>>,
    lock: Option<Box<dyn Any + Send + Sync>>,
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
    let dir = options.dir.clone();
    let (opened, recovered) = recovery::recover(options, disk, events)?;
    let Opened {
        shared,
        next_epoch,
        has_reserve,
        lock,
    } = opened;
    let inner = Arc::new(Inner {
        shared: Arc::clone(&shared),
        wal: Mailbox::new(),
        mover: Mailbox::new(),
        reader: Mailbox::new(),
        threads: Mutex::default(),
    });
    let wal = Wal::new(Arc::clone(&shared), next_epoch, recovered.metadata_index);
    let mover = Mover::new(Arc::clone(&shared), has_reserve);
    let reader = Reader::new(shared);
    let start = |name: &str, run: Box<dyn FnOnce() + Send>| {
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(run);
        thread.map_err(|error| StoreError::io("start thread for", &dir, error))
    };
    let mut threads = Threads {
        lock: Some(lock),
        ..Threads::default()
    };
    let of = || Arc::clone(&inner);
    let (inner_wal, inner_mover, inner_reader) = (of(), of(), of());
    threads.others.push(start(
        "store-mover",
        Box::new(move || run_mover(&inner_mover, mover)),
    )?);
    threads.others.push(start(
        "store-reader",
        Box::new(move || run_reader(&inner_reader, reader)),
    )?);
    threads.wal = Some(start(
        "store-wal",
        Box::new(move || run_wal(&inner_wal, wal)),
    )?);
    *inner.threads.lock() = threads;
    Ok((
        Store {
            handle: Handle { inner },
        },
        recovered,
    ))
}

impl<P: Payload> Store<P> {
    /// A handle for submitting and loading.
    pub fn handle(&self) -> Handle<P> {
        self.handle.clone()
    }
}

impl<P: Payload> Drop for Store<P> {
    fn drop(&mut self) {
        self.handle.inner.stop(Stop::Abort);
    }
}

impl<P> Inner<P> {
    /// Stops the threads and gives up the directory; nothing happens the second time.
    fn stop(&self, how: Stop) {
        let mut threads = self.threads.lock();
        self.wal.stop(how);
        if let Some(thread) = threads.wal.take() {
            // The panic of a thread has been printed; the log counts as failed then.
            let _ = thread.join();
        }
        self.mover.stop(how);
        self.reader.stop(how);
        for thread in threads.others.drain(..) {
            let _ = thread.join();
        }
        threads.lock = None;
    }
}

impl<P: Payload> Handle<P> {
    /// Hands a batch to the log; never blocks. The answer is [`Event::Durable`] or [`Event::Written`].
    ///
    /// # Errors
    /// If the log has ended (see [`Event::Failed`]), the store is shut down, or the batch is too large: no event
    /// follows then.
    pub fn submit(&self, batch: Batch<P>) -> Result<(), StoreError> {
        let shared = &self.inner.shared;
        if let Some(error) = shared.failure() {
            return Err(error.clone());
        }
        for record in &batch.records {
            let bytes = match record {
                Record::Message { payload, .. } => payload.len(),
                Record::Metadata(command) => command.len(),
                Record::Settled { .. }
                | Record::DeliveredUpTo { .. }
                | Record::DropQueue { .. } => 0,
            };
            if bytes > RECORD_BYTES_MAX {
                return Err(StoreError::RecordTooLarge {
                    bytes,
                    bytes_max: RECORD_BYTES_MAX,
                });
            }
        }
        let bytes = wal::batch_bytes(&batch);
        if bytes > BATCH_BYTES_MAX {
            return Err(StoreError::BatchTooLarge {
                bytes,
                bytes_max: BATCH_BYTES_MAX,
            });
        }
        shared.pending_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.inner.wal.post(batch).inspect_err(|_| {
            shared.pending_bytes.fetch_sub(bytes, Ordering::Relaxed);
        })
    }

    /// Asks for live messages; the answer is [`Event::Loaded`]. It knows at least the batches reported
    /// durable or written before the call. After a shutdown there is no answer.
    pub fn load(&self, request: LoadRequest) {
        // A refusal means that the store is closing, and so is whoever asks.
        let _ = self.inner.reader.post(request);
    }

    /// Forgets all queues that are not in `live`. To be used once, after recovery and before the first load, and
    /// not when [`Recovered::is_metadata_damaged`].
    pub fn retain_queues(&self, live: &HashSet<QueueId>) {
        self.inner.shared.index.lock().retain(live);
        self.inner.mover.nudge();
    }

    /// Bytes that were submitted and are not written yet. They grow without limit when the disk is full or
    /// slow, so owners stop reading from publishers in time.
    pub fn pending_bytes(&self) -> u64 {
        self.inner.shared.pending_bytes.load(Ordering::Relaxed)
    }

    /// Bytes that it takes in memory to know where messages are.
    pub fn index_bytes(&self) -> u64 {
        self.inner.shared.index.lock().memory_bytes()
    }

    /// Stores a snapshot of the metadata that contains all commands up to and with `covers`, which may then be forgotten.
    pub fn metadata_snapshot(&self, snapshot: Bytes, covers: MetadataIndex) {
        // When the store is closing, the commands are still in the log.
        let _ = self.inner.mover.post((snapshot, covers));
    }

    /// Counters and sizes.
    pub fn statistics(&self) -> Statistics {
        let shared = &self.inner.shared;
        let index = shared.index.lock();
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let Counters {
            records,
            messages_written,
            messages_read,
            written_bytes,
            writes,
            syncs,
            messages_moved,
            files_kept,
        } = &shared.counters;
        Statistics {
            wal_bytes: index.wal_files.values().map(|file| file.capacity).sum(),
            wal_files: (index.wal_files.len() + index.free_files.len()) as u64,
            segment_bytes: index
                .segments
                .values()
                .map(|segment| segment.file_bytes)
                .sum(),
            segments: index.segments.len() as u64,
            records: read(records),
            messages_written: read(messages_written),
            messages_read: read(messages_read),
            written_bytes: read(written_bytes),
            writes: read(writes),
            syncs: read(syncs),
            messages_moved: read(messages_moved),
            files_kept: read(files_kept),
        }
    }

    /// Writes and syncs what was submitted, marks the log as cleanly closed and stops the threads. Blocks until then;
    /// when the disk is full, what waits is given up.
    ///
    /// # Errors
    /// If the log has ended, or ends in doing so.
    pub fn shutdown(self) -> Result<(), StoreError> {
        self.inner.stop(Stop::InOrder);
        self.inner
            .shared
            .failure()
            .map_or(Ok(()), |error| Err(error.clone()))
    }
}

fn run_wal<P: Payload>(inner: &Inner<P>, mut wal: Wal<P>) {
    // A panic here must not look like a slow disk.
    let _ended = EndGuard { inner };
    let mut batches = Vec::new();
    let mut wait = Wait::Forever;
    let mut unsynced_since: Option<Instant> = None;
    loop {
        let stop = inner.wal.take(&mut batches, wait);
        if stop == Some(Stop::Abort) || inner.shared.failure().is_some() {
            return;
        }
        wal.push(batches.drain(..));
        let files_before = wal.files_begun();
        let step = match turn(&mut wal, &mut unsynced_since) {
            Ok(step) => step,
            Err(error) => return inner.shared.fail(error),
        };
        if wal.files_begun() != files_before
            || step == Step::MoverLags
            || inner.shared.has_dead_segments()
        {
            inner.mover.nudge();
        }
        if stop == Some(Stop::InOrder) && matches!(step, Step::Idle | Step::DiskFull) {
            if let Err(error) = wal.close() {
                inner.shared.fail(error);
            }
            return;
        }
        wait = match step {
            Step::Wrote => Wait::No,
            Step::Idle => {
                unsynced_since.map_or(Wait::Forever, |since| Wait::Until(since + LAZY_SYNC_AFTER))
            }
            Step::DiskFull => Wait::Until(Instant::now() + DISK_FULL_RETRY),
            // The mover nudges when it has emptied a file; it may itself wait for space.
            Step::MoverLags => Wait::Until(Instant::now() + DISK_FULL_RETRY),
        };
    }
}

/// One write, and the sync of what nobody waits for when it is due.
fn turn<P: Payload>(
    wal: &mut Wal<P>,
    unsynced_since: &mut Option<Instant>,
) -> Result<Step, StoreError> {
    let step = wal.step()?;
    if !wal.is_unsynced() {
        *unsynced_since = None;
        return Ok(step);
    }
    let now = Instant::now();
    if now.duration_since(*unsynced_since.get_or_insert(now)) >= LAZY_SYNC_AFTER {
        wal.sync()?;
        *unsynced_since = None;
    }
    Ok(step)
}

/// Ends the log when its thread ends by a panic.
struct EndGuard<'a, P> {
    inner: &'a Inner<P>,
}

impl<P> Drop for EndGuard<'_, P> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.inner.shared.fail(StoreError::Closed);
        }
    }
}

fn run_mover<P>(inner: &Inner<P>, mut mover: Mover) {
    let _ended = EndGuard { inner };
    let mut snapshots = Vec::new();
    let mut wait = Wait::No;
    loop {
        let stop = inner.mover.take(&mut snapshots, wait);
        for (snapshot, covers) in snapshots.drain(..) {
            mover.metadata_snapshot(snapshot, covers);
        }
        if stop.is_some() || inner.shared.failure().is_some() {
            // What is not moved yet is in the log, and a snapshot that is not stored yet is made again.
            return;
        }
        wait = match mover.step() {
            Ok(true) => Wait::No,
            Ok(false) => Wait::Forever,
            Err(error) if error.is_disk_full() => Wait::Until(Instant::now() + DISK_FULL_RETRY),
            Err(error) => {
                inner.shared.fail(error);
                inner.wal.nudge();
                return;
            }
        };
        if matches!(wait, Wait::No) {
            inner.wal.nudge();
        }
    }
}

fn run_reader<P>(inner: &Inner<P>, mut reader: Reader) {
    let mut requests = Vec::new();
    loop {
        if inner.reader.take(&mut requests, Wait::Forever).is_some() {
            return;
        }
        for request in requests.drain(..) {
            inner
                .shared
                .events
                .event(Event::Loaded(reader.load(&request)));
        }
    }
}
