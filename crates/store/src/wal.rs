//! The writer of the log: turns waiting batches into one write and at most one sync.
//!
//! A plain synchronous machine around the log files; the thread that drives it is in `store.rs`.
//! It does not read, and it does not empty full files: that is the mover's work.
//!
//! Invariants: a file is sealed and synced before anything is written to the next one. A batch never spans two
//! files or two groups. An event is sent only after what it says is true. After the first error nothing is
//! written or synced again.

use crate::error::IoContext;
use crate::format::{self, Encoder, FLAG_CLEAN, FileSeed, Kind, Tails, WalHeader, Written};
use crate::index::{Change, FreeFile, WalEntry, WalFile};
use crate::shared::{Counters, Needs, Shared};
use crate::{Batch, DiskFile, Event, MetadataIndex, Payload, Record, StoreError};
use hashbrown::HashSet;
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Payload bytes after which a group takes no further batch: large enough for the disk's full speed, small
/// enough that the first batch in it does not wait long.
const GROUP_BYTES_TARGET: u64 = 4 << 20;
/// A write buffer larger than this is given back to the system when groups are small again.
const BUFFER_BYTES_KEPT: usize = 8 << 20;

/// What a call of [`Wal::step`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing waits.
    Idle,
    /// A group was written.
    Wrote,
    /// There is no file to write to: the disk is full.
    DiskFull,
    /// There is no file to write to until the mover has emptied one.
    MoverLags,
}

struct Current {
    epoch: u32,
    first_lsn: u64,
    seed: FileSeed,
    path: PathBuf,
    file: Arc<dyn DiskFile>,
    /// Where the next group goes; 0 before the file's header is written.
    offset: u64,
    capacity: u64,
}

/// The log's writer.
pub(crate) struct Wal<P> {
    shared: Arc<Shared>,
    /// With their sizes as [`batch_bytes`] counts them.
    waiting: VecDeque<(u64, Batch<P>)>,
    current: Option<Current>,
    next_epoch: u32,
    /// From here on no name of a log file was used by this process: the mover may be about to remove one that was.
    next_slot: u32,
    next_metadata: u64,
    /// Number of the next group.
    lsn: u64,
    durable_lsn: u64,
    buffer: Vec<u8>,
    changes: Vec<Change>,
    /// Of the group that is being written.
    tails: Tails,
    done: Vec<Event>,
}

impl<P: Payload> Wal<P> {
    /// A writer that begins a new file with `next_epoch`, which no file has had.
    pub(crate) fn new(shared: Arc<Shared>, next_epoch: u32, metadata: MetadataIndex) -> Self {
        Self {
            shared,
            waiting: VecDeque::new(),
            current: None,
            next_epoch,
            next_slot: 0,
            next_metadata: metadata.0 + 1,
            lsn: 1,
            durable_lsn: 0,
            buffer: Vec::new(),
            changes: Vec::new(),
            tails: Tails::new(),
            done: Vec::new(),
        }
    }

    /// Whether something was written that a power cut would undo.
    pub(crate) fn is_unsynced(&self) -> bool {
        self.durable_lsn + 1 < self.lsn
    }

    /// The epoch of the next file: changes when the current one is full.
    pub(crate) fn files_begun(&self) -> u32 {
        self.next_epoch
    }

    /// Adds batches behind those that wait.
    pub(crate) fn push(&mut self, batches: impl IntoIterator<Item = Batch<P>>) {
        let sized = |batch| (batch_bytes(&batch), batch);
        self.waiting.extend(batches.into_iter().map(sized));
    }

    /// Writes the next group of waiting batches, syncs it if one of them asks for that, and reports them.
    ///
    /// # Errors
    /// The log has ended; the caller must not use it again.
    pub(crate) fn step(&mut self) -> Result<Step, StoreError> {
        let Some((first_bytes, _)) = self.waiting.front() else {
            return Ok(Step::Idle);
        };
        let needed = first_bytes + overhead();
        if self
            .current
            .as_ref()
            .is_none_or(|current| current.offset + needed > current.capacity)
        {
            let begun = self.begin_file(needed)?;
            if begun != Step::Wrote {
                return Ok(begun);
            }
        }
        self.write_group()?;
        Ok(Step::Wrote)
    }

    /// Makes everything written durable.
    pub(crate) fn sync(&mut self) -> Result<(), StoreError> {
        let Some(current) = self.current.as_ref().filter(|_| self.is_unsynced()) else {
            return Ok(());
        };
        current
            .file
            .datasync()
            .context("sync log file", &current.path)?;
        Counters::add(&self.shared.counters.syncs, 1);
        self.durable_lsn = self.lsn - 1;
        Ok(())
    }

    /// Ends the log in order: what was written is durable and marked as complete.
    pub(crate) fn close(&mut self) -> Result<(), StoreError> {
        // Without a file since the start there is nothing to mark the end of, except a file that is left from before.
        if self.current.is_none() && self.begin_file(0)? != Step::Wrote {
            return Ok(());
        }
        self.seal(FLAG_CLEAN)
    }

    /// Seals the current file and takes the next one, with room for `needed` bytes. Says `Wrote` on success.
    fn begin_file(&mut self, needed: u64) -> Result<Step, StoreError> {
        self.seal(0)?;
        let capacity = self.shared.options.wal_file_bytes.max(needed + overhead());
        let free = match self.take_free_file(capacity) {
            Ok(Some(free)) => free,
            Ok(None) => return Ok(Step::MoverLags),
            Err(error) if error.is_disk_full() => {
                self.shared.set_disk_full(Needs::Wal, true);
                return Ok(Step::DiskFull);
            }
            Err(error) => return Err(error),
        };
        let path = self.shared.path(&free.name);
        if free.capacity < capacity
            && let Err(error) = self.allocate(&free, capacity, &path)
        {
            if !error.is_disk_full() {
                return Err(error);
            }
            self.discard(free)?;
            self.shared.set_disk_full(Needs::Wal, true);
            return Ok(Step::DiskFull);
        }
        self.shared.set_disk_full(Needs::Wal, false);
        let epoch = self.next_epoch;
        self.next_epoch += 1;
        let file = Arc::clone(&free.file);
        let capacity = capacity.max(free.capacity);
        let seed = FileSeed::wal(self.shared.identity, u64::from(epoch), self.shared.salt);
        let state = WalFile {
            seed,
            salt: self.shared.salt,
            name: free.name,
            file: free.file,
            capacity,
            queues: HashSet::new(),
            metadata_last: 0,
            has_tails: false,
            sealed: false,
        };
        self.shared.index.lock().wal_files.insert(epoch, state);
        self.current = Some(Current {
            epoch,
            first_lsn: self.lsn,
            seed,
            path,
            file,
            offset: 0,
            capacity,
        });
        Ok(Step::Wrote)
    }

    /// Gives a file its space, and its name a place in the directory.
    fn allocate(&self, free: &FreeFile, capacity: u64, path: &Path) -> Result<(), StoreError> {
        let directory = &self.shared.options.dir;
        free.file
            .preallocate(capacity)
            .context("allocate log file", path)?;
        free.file.datasync().context("sync log file", path)?;
        self.shared
            .disk
            .sync_dir(directory)
            .context("sync directory", directory)
    }

    /// A file that waits for reuse, preferably large enough, or a new and empty one if there may be one more.
    fn take_free_file(&mut self, capacity: u64) -> Result<Option<FreeFile>, StoreError> {
        let name = {
            let mut index = self.shared.index.lock();
            let large = index
                .free_files
                .iter()
                .position(|free| free.capacity >= capacity);
            if let Some(at) = large.or_else(|| index.free_files.len().checked_sub(1)) {
                return Ok(Some(index.free_files.swap_remove(at)));
            }
            if index.wal_files.len() >= self.shared.wal_files_max() {
                return Ok(None);
            }
            let used: HashSet<&str> = index
                .wal_files
                .values()
                .map(|file| file.name.as_str())
                .collect();
            let kept: HashSet<u32> = index.kept_logs().map(|kept| kept.slot).collect();
            let slot = (self.next_slot..)
                .find(|slot| !kept.contains(slot) && !used.contains(wal_name(*slot).as_str()))
                .expect("names do not run out");
            self.next_slot = slot + 1;
            wal_name(slot)
        };
        let path = self.shared.path(&name);
        let file = self
            .shared
            .disk
            .create(&path)
            .context("create log file", &path)?;
        Ok(Some(FreeFile {
            name,
            file,
            capacity: 0,
        }))
    }

    /// Gives back a file that could not get its space.
    fn discard(&self, free: FreeFile) -> Result<(), StoreError> {
        if free.capacity > 0 {
            self.shared.index.lock().free_files.push(free);
            return Ok(());
        }
        let path = self.shared.path(&free.name);
        self.shared
            .disk
            .unlink(&path)
            .context("remove log file", &path)
    }

    /// Marks the end of the current file and makes it durable.
    fn seal(&mut self, flags: u8) -> Result<(), StoreError> {
        // The seal says that all before it is durable, so it must not reach the disk first.
        self.sync()?;
        let Some(current) = self.current.take() else {
            return Ok(());
        };
        self.buffer.clear();
        let offset = begin_buffer(&mut self.buffer, &self.shared, &current);
        let seed = current.seed;
        Encoder {
            out: &mut self.buffer,
            base: offset,
            seed,
        }
        .record(Kind::Seal, flags, (self.lsn, self.lsn), |_| ());
        current
            .file
            .write_at(&self.buffer, current.offset)
            .context("write log file", &current.path)?;
        current
            .file
            .datasync()
            .context("sync log file", &current.path)?;
        Counters::add(&self.shared.counters.syncs, 1);
        if let Some(file) = self.shared.index.lock().wal_files.get_mut(&current.epoch) {
            file.sealed = true;
        }
        Ok(())
    }

    fn write_group(&mut self) -> Result<(), StoreError> {
        let mut current = self.current.take().expect("step has begun a file");
        let (sync, submitted) = self.encode_group(&current);
        current
            .file
            .write_at(&self.buffer, current.offset)
            .context("write log file", &current.path)?;
        current.offset += self.buffer.len() as u64;
        self.lsn += 1;
        if sync {
            current
                .file
                .datasync()
                .context("sync log file", &current.path)?;
            self.durable_lsn = self.lsn - 1;
        }
        self.count_group(sync);
        let epoch = current.epoch;
        self.current = Some(current);
        // Not while groups need it: memory that is new to the process costs more than the copy into it.
        if self.buffer.len() < self.buffer.capacity() / 4 {
            self.buffer.shrink_to(BUFFER_BYTES_KEPT);
        }
        self.buffer.clear();

        let snapshot_due = self
            .shared
            .index
            .lock()
            .apply(epoch, self.changes.drain(..));
        // Accounting goes down before the events, so that an owner that is told so may submit more.
        let _ = self.shared.pending_bytes.fetch_update(
            Ordering::Relaxed,
            Ordering::Relaxed,
            |pending| Some(pending.saturating_sub(submitted)),
        );
        for event in self.done.drain(..) {
            self.shared.events.event(event);
        }
        if snapshot_due {
            self.shared.events.event(Event::SnapshotWanted);
        }
        Ok(())
    }

    fn count_group(&self, sync: bool) {
        let counters = &self.shared.counters;
        Counters::add(&counters.writes, 1);
        Counters::add(&counters.records, self.changes.len() as u64);
        let is_message = |change: &&Change| matches!(change, Change::Message { .. });
        let messages = self.changes.iter().filter(is_message).count();
        Counters::add(&counters.messages_written, messages as u64);
        Counters::add(&counters.written_bytes, self.buffer.len() as u64);
        Counters::add(&counters.syncs, u64::from(sync));
    }

    /// Fills the buffer with as many waiting batches as one group takes. Returns whether one of them asks for a
    /// sync, and their size as [`batch_bytes`] counts it.
    fn encode_group(&mut self, current: &Current) -> (bool, u64) {
        self.buffer.clear();
        let base = begin_buffer(&mut self.buffer, &self.shared, current);
        let seed = current.seed;
        let room = current.capacity - current.offset;
        let mut encoder = Encoder {
            out: &mut self.buffer,
            base,
            seed,
        };
        let start = encoder.begin_group();
        let (mut sync, mut submitted, mut used, mut records) = (false, 0, overhead(), 0);
        let mut batches = Vec::new();
        // A name stays with its tail while batches wait: all of a group were there before the first of them is encoded and dropped.
        self.tails.clear();
        while let Some((bytes, _)) = self.waiting.front() {
            let bytes = *bytes;
            if records > 0 && (used + bytes > room || submitted > GROUP_BYTES_TARGET) {
                break;
            }
            let (_, batch) = self.waiting.pop_front().expect("the front was looked at");
            used += bytes;
            submitted += bytes;
            sync |= batch.sync;
            records += batch.records.len().max(1) as u32;
            batches.push((batch.shard, batch.ticket));
            encoder.out.reserve(bytes as usize);
            for record in batch.records {
                let metadata = MetadataIndex(self.next_metadata);
                let written = encoder.owner_record(&record, metadata, &mut self.tails);
                self.changes
                    .push(change_of(record, current.epoch, written, metadata));
                if let Some(Change::Metadata { .. }) = self.changes.last() {
                    self.next_metadata += 1;
                }
            }
        }
        let records = records + self.tails.len() as u32;
        encoder.end_group(start, records, self.lsn, self.durable_lsn);
        self.done
            .extend(batches.into_iter().map(|(shard, ticket)| match sync {
                true => Event::Durable { shard, ticket },
                false => Event::Written { shard, ticket },
            }));
        (sync, submitted)
    }
}

/// The name of a log file; names are reused, epochs are not.
pub(crate) fn wal_name(slot: u32) -> String {
    format!("{WAL_PREFIX}{slot:04}")
}

/// The number in a log file's name.
pub(crate) fn wal_slot(name: &str) -> Option<u32> {
    let slot = name.strip_prefix(WAL_PREFIX)?.parse().ok()?;
    (wal_name(slot) == name).then_some(slot)
}

/// What the names of log files begin with.
pub(crate) const WAL_PREFIX: &str = "wal-";

/// Starts a write to `current`, with the file's header if it is the first; returns the offset of the next record.
fn begin_buffer(buffer: &mut Vec<u8>, shared: &Shared, current: &Current) -> u64 {
    if current.offset == 0 {
        let header = WalHeader {
            epoch: u64::from(current.epoch),
            first_lsn: current.first_lsn,
            salt: shared.salt,
        };
        format::write_wal_header(buffer, shared.identity, header);
    }
    // The encoder's base is the file offset of the buffer's first byte, with or without a header in it.
    current.offset
}

/// What a file holds besides batches, generously.
fn overhead() -> u64 {
    (format::WAL_DATA_OFFSET + format::GROUP_BYTES + format::SEAL_BYTES) as u64
}

/// An upper bound of what a batch takes in the log.
pub(crate) fn batch_bytes<P: Payload>(batch: &Batch<P>) -> u64 {
    let mut tails = HashSet::new();
    let records = batch.records.iter();
    records.map(|record| record_bytes(record, &mut tails)).sum()
}

/// `tails` names the tails that were counted.
fn record_bytes<P: Payload>(record: &Record<P>, tails: &mut HashSet<usize>) -> u64 {
    let payload = match record {
        Record::Message { payload, .. } => match format::tail_id(payload) {
            None => payload.len(),
            Some(id) => {
                let tail = payload.len() - payload.head_len();
                let own = format::REFERENCE_BYTES + payload.head_len();
                let tail = format::padded(format::RECORD_HEADER_BYTES + tail);
                own + if tails.insert(id) { tail } else { 0 }
            }
        },
        Record::Metadata(command) => command.len(),
        Record::Settled { .. } => 8,
        Record::DeliveredUpTo { .. } | Record::DropQueue { .. } => 0,
    };
    format::padded(format::RECORD_HEADER_BYTES + payload) as u64
}

fn change_of<P: Payload>(
    record: Record<P>,
    epoch: u32,
    written: Written,
    metadata: MetadataIndex,
) -> Change {
    match record {
        Record::Message {
            queue,
            position,
            transient,
            payload: _,
        } => {
            let offset = u32::try_from(written.offset).expect("log files are smaller than 4 GiB");
            Change::Message {
                queue,
                entry: WalEntry {
                    position: position.0,
                    epoch,
                    offset,
                    length: written.length,
                    transient,
                    reference: written.reference,
                },
            }
        }
        Record::Settled { queue, from, until } => Change::Settled {
            queue,
            range: from.0..until.0,
        },
        Record::DeliveredUpTo { queue, until } => Change::DeliveredUpTo {
            queue,
            until: until.0,
        },
        Record::DropQueue { queue } => Change::DropQueue { queue },
        Record::Metadata(command) => Change::Metadata {
            index: metadata.0,
            command,
        },
    }
}
