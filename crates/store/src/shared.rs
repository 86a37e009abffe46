//! What the store's threads have in common.

use crate::index::Index;
use crate::{Disk, Event, EventSink, Options, StoreError};
use parking_lot::Mutex;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// Offsets in log files and segments have 32 bits, and one batch or message may exceed the size wanted.
const WAL_FILE_BYTES_MAX: u64 = 1 << 30;
const WAL_FILE_BYTES_MIN: u64 = 4 << 10;
const SEGMENT_BYTES_MAX: u64 = 1 << 30;

/// Who found the disk full.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub(crate) enum Needs {
    /// The log wants a file.
    Wal = 1,
    /// The mover wants to write a segment, checkpoint or snapshot.
    Mover = 2,
}

/// Counters behind [`crate::Statistics`].
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) records: AtomicU64,
    pub(crate) messages_written: AtomicU64,
    pub(crate) messages_read: AtomicU64,
    pub(crate) written_bytes: AtomicU64,
    pub(crate) writes: AtomicU64,
    pub(crate) syncs: AtomicU64,
    pub(crate) messages_moved: AtomicU64,
    pub(crate) files_kept: AtomicU64,
}

impl Counters {
    pub(crate) fn add(counter: &AtomicU64, count: u64) {
        counter.fetch_add(count, Ordering::Relaxed);
    }
}

/// The store without its threads.
pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) events: Arc<dyn EventSink>,
    /// Random number of this data directory; seeds all checksums.
    pub(crate) identity: u64,
    /// Random number of this process's life, for the log files it writes.
    pub(crate) salt: u64,
    pub(crate) index: Mutex<Index>,
    pub(crate) counters: Counters,
    pub(crate) pending_bytes: AtomicU64,
    failure: OnceLock<StoreError>,
    full: AtomicU8,
}

impl Shared {
    pub(crate) fn new(
        options: Options,
        disk: Arc<dyn Disk>,
        events: Arc<dyn EventSink>,
        identity: u64,
    ) -> Self {
        let wal_file_bytes = options
            .wal_file_bytes
            .clamp(WAL_FILE_BYTES_MIN, WAL_FILE_BYTES_MAX);
        let segment_bytes_max = options.segment_bytes_max.min(SEGMENT_BYTES_MAX);
        let options = Options {
            wal_file_bytes,
            segment_bytes_max,
            ..options
        };
        Self {
            options,
            disk,
            events,
            identity,
            salt: random(),
            index: Mutex::default(),
            counters: Counters::default(),
            pending_bytes: AtomicU64::new(0),
            failure: OnceLock::new(),
            full: AtomicU8::new(0),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.options.dir.join(name)
    }

    /// Why the log has ended, if it has.
    pub(crate) fn failure(&self) -> Option<&StoreError> {
        self.failure.get()
    }

    /// Ends the log. Only the first error is reported.
    pub(crate) fn fail(&self, error: StoreError) {
        if self.failure.set(error.clone()).is_ok() {
            self.pending_bytes.store(0, Ordering::Relaxed);
            self.events.event(Event::Failed(error));
        }
    }

    /// Notes whether somebody lacks space, and tells the owners when the first begins and the last ends to.
    pub(crate) fn set_disk_full(&self, who: Needs, full: bool) {
        let bit = who as u8;
        let before = if full {
            self.full.fetch_or(bit, Ordering::Relaxed)
        } else if self.full.load(Ordering::Relaxed) & bit != 0 {
            self.full.fetch_and(!bit, Ordering::Relaxed)
        } else {
            return;
        };
        if full && before == 0 {
            let available_bytes = self.disk.free_space(&self.options.dir).unwrap_or(0);
            self.events.event(Event::DiskFull { available_bytes });
        }
        if !full && before == bit {
            self.events.event(Event::DiskOk);
        }
    }

    /// Whether the mover could give space back.
    pub(crate) fn has_dead_segments(&self) -> bool {
        !self.index.lock().dead_segments.is_empty()
    }

    /// Full log files that the mover leaves alone: fewer than there may be, or the log could not go on.
    pub(crate) fn wal_files_kept(&self) -> usize {
        self.options.wal_files_kept.min(self.wal_files_max() - 2)
    }

    /// Log files that may exist: at least one being written and one being emptied.
    pub(crate) fn wal_files_max(&self) -> usize {
        self.options.wal_files_max.max(2)
    }
}

/// A random number without a dependency: the standard library seeds its hash tables from the operating system.
pub(crate) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}
