//! Empties full log files: what is still live goes to segments, the rest is forgotten, the file is reused.
//! A log file that is mostly live is not emptied but kept (`kept.rs`), until so much in it is settled that it pays.
//!
//! A plain synchronous machine like the log's writer; its thread is in `store.rs`. Each step ends with the
//! directory in a state from which recovery gives the same content as before:
//!
//! 1. segments are written and synced, then their names (a crash leaves files that no checkpoint names);
//! 2. the checkpoint that names them and absorbs the log file replaces the old one;
//! 3. only then the log file may be written again, and segments that the checkpoint left out are removed.
//!
//! To keep a log file takes the second step alone.

use crate::atomic_file::AtomicFile;
use crate::checkpoint::put_u64;
use crate::error::IoContext;
use crate::index::{FreeFile, Index, Run, Segment};
use crate::kept::KeptLog;
use crate::reader::WalSource;
use crate::segment::{RunSource, SegmentBuilder, WrittenSegment, read_run, segment_name};
use crate::shared::{Counters, Needs, Shared};
use crate::{MetadataIndex, StoreError};
use base::QueueId;
use bytes::Bytes;
use roaring::RoaringBitmap;
use std::ops::Range;
use std::sync::Arc;

/// Empty log files that are kept for reuse; more, left from a burst, are removed.
const FREE_FILES_MAX: usize = 2;
/// So many small segments are merged into one.
const SMALL_SEGMENTS_MAX: usize = 16;
/// Payload bytes that one step of compaction reads from a segment at once.
const COMPACTION_READ_BYTES: usize = 1 << 20;
/// Held back, so that on a full disk there is room for the checkpoint that lets old segments go.
const RESERVE_NAME: &str = "reserve";
const RESERVE_BYTES: u64 = 4 << 20;

/// The second of the store's machines.
pub(crate) struct Mover {
    shared: Arc<Shared>,
    snapshot: Option<(Bytes, MetadataIndex)>,
    has_reserve: bool,
}

impl Mover {
    pub(crate) fn new(shared: Arc<Shared>, has_reserve: bool) -> Self {
        Self {
            shared,
            snapshot: None,
            has_reserve,
        }
    }

    /// Whether `name` is a file of this module that is neither log, segment nor atomic file.
    pub(crate) fn is_reserve(name: &str) -> bool {
        name == RESERVE_NAME
    }

    /// Takes a metadata snapshot, to be stored by the next step. A newer one replaces one that waits.
    pub(crate) fn metadata_snapshot(&mut self, snapshot: Bytes, covers: MetadataIndex) {
        if self
            .snapshot
            .as_ref()
            .is_none_or(|(_, waiting)| *waiting < covers)
        {
            self.snapshot = Some((snapshot, covers));
        }
    }

    /// Does the most urgent piece of work. Returns whether there was any.
    ///
    /// # Errors
    /// A full disk may be tried again; after any other error the caller ends the log.
    pub(crate) fn step(&mut self) -> Result<bool, StoreError> {
        match self.work() {
            Ok(worked) => {
                self.shared.set_disk_full(Needs::Mover, false);
                Ok(worked)
            }
            Err(error) if error.is_disk_full() => {
                self.shared.set_disk_full(Needs::Mover, true);
                self.free_space()?;
                Err(error)
            }
            Err(error) => Err(error),
        }
    }

    fn work(&mut self) -> Result<bool, StoreError> {
        if let Some((snapshot, covers)) = &self.snapshot {
            self.store_snapshot(snapshot, *covers)?;
            self.snapshot = None;
            return Ok(true);
        }
        if let Some(epoch) = self.next_to_retire() {
            self.retire(epoch)?;
            return Ok(true);
        }
        if !self.shared.index.lock().dead_segments.is_empty() {
            self.checkpoint(None)?;
            return Ok(true);
        }
        let sparse = self.sparse_segments();
        if !sparse.is_empty() {
            self.compact(&sparse)?;
            return Ok(true);
        }
        self.keep_reserve()?;
        Ok(false)
    }

    fn next_to_retire(&self) -> Option<u32> {
        let index = self.shared.index.lock();
        let mut sealed = index.sealed();
        let oldest = sealed.next()?;
        (sealed.count() + 1 > self.shared.wal_files_kept()).then_some(oldest)
    }

    /// On a full disk, gives up the reserve to write the checkpoint that lets dead segments go.
    fn free_space(&mut self) -> Result<(), StoreError> {
        if !self.has_reserve || self.shared.index.lock().dead_segments.is_empty() {
            return Ok(());
        }
        let path = self.shared.path(RESERVE_NAME);
        self.shared
            .disk
            .unlink(&path)
            .context("remove reserve file", &path)?;
        self.has_reserve = false;
        self.checkpoint(None)
    }

    fn keep_reserve(&mut self) -> Result<(), StoreError> {
        // Before the first segment there is nothing that a checkpoint could let go.
        if self.has_reserve || self.shared.index.lock().segments.is_empty() {
            return Ok(());
        }
        let path = self.shared.path(RESERVE_NAME);
        let file = self
            .shared
            .disk
            .create(&path)
            .context("create reserve file", &path)?;
        match file
            .preallocate(RESERVE_BYTES)
            .context("allocate reserve file", &path)
        {
            Ok(()) => self.has_reserve = true,
            // It is only a precaution; the next idle step tries again.
            Err(error) if error.is_disk_full() => {
                self.shared
                    .disk
                    .unlink(&path)
                    .context("remove reserve file", &path)?;
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Makes a start independent of replaying a full log file: keeps or empties it.
    fn retire(&self, epoch: u32) -> Result<(), StoreError> {
        let metadata_last = self.shared.index.lock().wal_files[&epoch].metadata_last;
        self.store_metadata_log(metadata_last)?;
        let kept = self
            .shared
            .index
            .lock()
            .keep_log_file(epoch, &self.shared.options);
        if kept {
            Counters::add(&self.shared.counters.files_kept, 1);
            return self.checkpoint(None);
        }
        self.empty(epoch)
    }

    /// Moves what is live in a full log file to segments and frees the file.
    fn empty(&self, epoch: u32) -> Result<(), StoreError> {
        let (file, seed, path, mut queues) = {
            let index = self.shared.index.lock();
            let wal_file = index
                .wal_files
                .get(&epoch)
                .expect("only the mover removes log files");
            let queues: Vec<_> = wal_file.queues.iter().copied().collect();
            (
                Arc::clone(&wal_file.file),
                wal_file.seed,
                self.shared.path(&wal_file.name),
                queues,
            )
        };
        queues.sort_unstable();
        let mut source = WalSource::new(&file, seed);
        let mut output = Output::new(&self.shared);
        let mut moved = Vec::new();
        for queue in queues {
            let entries: Vec<_> = match self.shared.index.lock().queues.get(&queue) {
                Some(state) => state.wal.of_epoch(epoch).collect(),
                None => continue,
            };
            let mut unreadable = Vec::new();
            for transient in [false, true] {
                for entry in entries.iter().filter(|entry| entry.transient == transient) {
                    match source.read(queue, entry).context("read log file", &path)? {
                        Some(payload) => output.push(queue, entry.position, transient, payload)?,
                        None => unreadable.push(entry.position),
                    }
                }
            }
            moved.push((queue, unreadable));
        }
        let segments = output.finish()?;
        self.install(&segments, |index| {
            for (queue, unreadable) in &moved {
                take_from_wal(index, *queue, epoch, unreadable);
            }
        });
        self.checkpoint(Some(epoch))
    }

    /// Rewrites what is live in `sparse` segments and kept log files.
    fn compact(&self, sparse: &[u64]) -> Result<(), StoreError> {
        let runs = self.runs_of(sparse);
        let mut output = Output::new(&self.shared);
        let mut moved = Vec::new();
        for (queue, run) in runs {
            let mut unreadable = Vec::new();
            let (name, seed) = {
                let index = self.shared.index.lock();
                let segment = &index.segments[&run.segment];
                let seed = segment.seed(self.shared.identity, run.segment);
                (segment.name(run.segment), seed)
            };
            let path = self.shared.path(&name);
            let file = match self.shared.disk.open(&path) {
                Ok(file) => Some(file),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
                Err(error) => return Err(error).context("open segment file", &path),
            };
            let (mut from, mut cursor) = (run.first, run.offset);
            while let Some(next) = run.first_in(&(from..u64::MAX)) {
                let Some(file) = &file else {
                    unreadable.push(next..run.last + 1);
                    break;
                };
                let range = next..run.last + 1;
                let source = RunSource {
                    file,
                    seed,
                    queue,
                    run: &run,
                };
                let content = read_run(&source, range, COMPACTION_READ_BYTES, cursor)
                    .context("read segment file", &path)?;
                for (position, payload) in &content.messages {
                    output.push(queue, *position, run.transient, payload)?;
                }
                unreadable.extend(content.damaged);
                (from, cursor) = (content.reached, content.cursor);
            }
            moved.push((queue, run, unreadable));
        }
        let segments = output.finish()?;
        self.install(&segments, |index| {
            for (queue, run, unreadable) in &moved {
                take_from_segment(index, *queue, run, unreadable);
            }
        });
        self.checkpoint(None)
    }

    /// Puts written segments into the index in the place of what `remove` takes out, in one step for readers.
    /// Messages that were settled since they were copied stay settled.
    fn install(&self, segments: &[WrittenSegment], remove: impl FnOnce(&mut Index)) {
        let mut index = self.shared.index.lock();
        // What is live is asked before the removal, run by run.
        let mut live_runs = Vec::new();
        for segment in segments {
            let mut queues: Vec<_> = segment.runs.iter().map(|(queue, _)| *queue).collect();
            queues.dedup();
            let record_bytes = segment
                .runs
                .iter()
                .map(|(_, run)| u64::from(run.end - run.offset))
                .sum();
            let file_bytes = segment.file_bytes;
            let state = Segment {
                file_bytes,
                record_bytes,
                queues,
                ..Segment::default()
            };
            index.segments.insert(segment.id, state);
            index.next_segment = index.next_segment.max(segment.id + 1);
            for (queue, run) in &segment.runs {
                live_runs.push((
                    *queue,
                    Run {
                        live: still_live(&index, *queue, run),
                        ..run.clone()
                    },
                ));
            }
        }
        remove(&mut index);
        for (queue, run) in live_runs {
            Counters::add(&self.shared.counters.messages_moved, run.live.len());
            index.add_run(queue, run);
        }
        let ids: Vec<_> = segments.iter().map(|segment| segment.id).collect();
        index.bury_empty(&ids);
    }

    /// Writes a checkpoint of the index, which absorbs the log file `retired`, and frees what it leaves out.
    fn checkpoint(&self, retired: Option<u32>) -> Result<(), StoreError> {
        let dir = &self.shared.options.dir;
        let (bytes, retired_epoch, dead) = {
            let index = self.shared.index.lock();
            let retired_epoch = retired.unwrap_or(index.retired_epoch);
            let dead: Vec<_> = index
                .dead_segments
                .iter()
                .map(|id| (*id, index.segments[id].kept))
                .collect();
            (index.encode_checkpoint(retired_epoch), retired_epoch, dead)
        };
        AtomicFile::Checkpoint.write(&*self.shared.disk, dir, &bytes)?;
        let kept = dead.iter().filter_map(|(_, kept)| *kept);
        let mut freed = kept
            .filter_map(|kept| self.free_kept(kept).transpose())
            .collect::<Result<Vec<_>, _>>()?;
        let surplus = {
            let mut index = self.shared.index.lock();
            index.retired_epoch = retired_epoch;
            for (id, _) in &dead {
                index.segments.remove(id);
            }
            let Index {
                dead_segments,
                segments,
                ..
            } = &mut *index;
            dead_segments.retain(|id| segments.contains_key(id));
            index.free_files.append(&mut freed);
            if let Some(file) = retired.and_then(|epoch| index.wal_files.remove(&epoch)) {
                index.free_files.push(FreeFile {
                    name: file.name,
                    file: file.file,
                    capacity: file.capacity,
                });
            }
            let kept = index.free_files.len().min(FREE_FILES_MAX);
            index.free_files.split_off(kept)
        };
        for file in surplus {
            let path = self.shared.path(&file.name);
            self.shared
                .disk
                .unlink(&path)
                .context("remove log file", &path)?;
        }
        for (id, _) in dead.iter().filter(|(_, kept)| kept.is_none()) {
            let path = self.shared.path(&segment_name(*id));
            self.remove_if_there(&path)?;
        }
        Ok(())
    }

    /// A kept log file that no checkpoint names any more, to be written again; nothing if it was missing at start.
    fn free_kept(&self, kept: KeptLog) -> Result<Option<FreeFile>, StoreError> {
        let name = kept.name();
        let path = self.shared.path(&name);
        let file = match self.shared.disk.open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).context("open log file", &path),
        };
        let capacity = file.len().context("read log file", &path)?;
        Ok(Some(FreeFile {
            name,
            file,
            capacity,
        }))
    }

    fn remove_if_there(&self, path: &std::path::Path) -> Result<(), StoreError> {
        match self.shared.disk.unlink(path) {
            // A segment that was missing at start is damage that has been reported.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            other => other.context("remove segment file", path),
        }
    }

    /// Segments and kept log files worth rewriting: the emptiest while there is more garbage than the options allow,
    /// and small ones when there are many.
    fn sparse_segments(&self) -> Vec<u64> {
        let options = &self.shared.options;
        let index = self.shared.index.lock();
        let in_use = || {
            index
                .segments
                .iter()
                .filter(|(_, segment)| segment.runs > 0)
        };
        let (live, dead) = in_use().fold((0, 0), |(live, dead), (_, segment)| {
            // Messages that share their tails do not make room for garbage elsewhere.
            let own = segment.live_bytes.min(segment.record_bytes);
            (live + own, dead + segment.dead_bytes())
        });
        let mut garbage = dead.saturating_sub(live + options.garbage_bytes_min);
        let mut sparse = Vec::new();
        if garbage > 0 {
            let mut emptiest: Vec<_> = in_use()
                .filter(|(_, segment)| segment.dead_bytes() > 0)
                .map(|(id, segment)| (segment.live_permille(), *id, segment.dead_bytes()))
                .collect();
            emptiest.sort_unstable();
            for (_, id, dead_bytes) in emptiest {
                sparse.push(id);
                garbage = garbage.saturating_sub(dead_bytes);
                if garbage == 0 {
                    break;
                }
            }
        } else {
            let is_small = |segment: &Segment| segment.file_bytes <= options.segment_bytes_max / 8;
            let small = in_use().filter(|(_, segment)| is_small(segment));
            sparse.extend(small.map(|(id, _)| *id));
            sparse.sort_unstable();
            if sparse.len() < SMALL_SEGMENTS_MAX {
                return Vec::new();
            }
        }
        // One step rewrites at most about one segment's worth.
        let mut live_bytes = 0;
        sparse.retain(|id| {
            let before = live_bytes;
            live_bytes += index.segments[id].live_bytes;
            before == 0 || live_bytes <= options.segment_bytes_max
        });
        sparse
    }

    /// The runs in `segments`, by queue and position.
    fn runs_of(&self, segments: &[u64]) -> Vec<(QueueId, Run)> {
        let index = self.shared.index.lock();
        let mut queues: Vec<_> = segments
            .iter()
            .flat_map(|id| index.segments[id].queues.iter().copied())
            .collect();
        queues.sort_unstable();
        queues.dedup();
        let mut runs = Vec::new();
        for queue in queues {
            let Some(state) = index.queues.get(&queue) else {
                continue;
            };
            let of_segments = state
                .runs
                .iter()
                .filter(|run| segments.contains(&run.segment));
            let start = runs.len();
            runs.extend(of_segments.map(|run| (queue, run.clone())));
            runs[start..].sort_by_key(|(_, run)| run.transient);
        }
        runs
    }

    /// Makes all metadata commands up to `last` durable outside the log file that is to be reused.
    fn store_metadata_log(&self, last: u64) -> Result<(), StoreError> {
        let mut payload = Vec::new();
        {
            let index = self.shared.index.lock();
            if last <= index.metadata.covered {
                return Ok(());
            }
            for (number, command) in index
                .metadata
                .commands
                .iter()
                .take_while(|(number, _)| *number <= last)
            {
                put_u64(&mut payload, *number);
                put_u64(&mut payload, command.len() as u64);
                payload.extend_from_slice(command);
            }
        }
        AtomicFile::MetadataLog.write(&*self.shared.disk, &self.shared.options.dir, &payload)
    }

    fn store_snapshot(&self, snapshot: &Bytes, covers: MetadataIndex) -> Result<(), StoreError> {
        if covers.0 <= self.shared.index.lock().metadata.covered {
            return Ok(());
        }
        let mut payload = Vec::with_capacity(8 + snapshot.len());
        put_u64(&mut payload, covers.0);
        payload.extend_from_slice(snapshot);
        AtomicFile::MetadataSnapshot.write(
            &*self.shared.disk,
            &self.shared.options.dir,
            &payload,
        )?;
        self.shared
            .index
            .lock()
            .metadata
            .cover(covers.0, self.shared.options.metadata_log_bytes_max);
        Ok(())
    }
}

/// Which messages of a copied run are live at this moment, wherever the index has them.
fn still_live(index: &Index, queue: QueueId, copied: &Run) -> RoaringBitmap {
    let mut live = RoaringBitmap::new();
    let Some(state) = index.queues.get(&queue) else {
        return live;
    };
    let range = copied.first..copied.last.saturating_add(1);
    for entry in state.wal.range(range.clone()) {
        live.insert((entry.position - copied.first) as u32);
    }
    for run in &state.runs {
        let Some(relative) = run.relative(&range) else {
            continue;
        };
        for position in run.live.range(relative) {
            live.insert((run.first + u64::from(position) - copied.first) as u32);
        }
    }
    live & &copied.live
}

fn take_from_wal(index: &mut Index, queue: QueueId, epoch: u32, unreadable: &[u64]) {
    let Some(state) = index.queues.get_mut(&queue) else {
        return;
    };
    if !unreadable.is_empty() {
        let live = state.wal.of_epoch(epoch).map(|entry| entry.position);
        let lost = live.filter(|position| unreadable.contains(position));
        state.lost.extend(lost);
    }
    state.wal.remove_epoch(epoch);
}

fn take_from_segment(index: &mut Index, queue: QueueId, copied: &Run, unreadable: &[Range<u64>]) {
    let Some(run) = index.remove_run(queue, copied.segment, copied.offset) else {
        return;
    };
    let Some(state) = index.queues.get_mut(&queue) else {
        return;
    };
    for range in unreadable {
        if let Some(relative) = run.relative(range) {
            state.lost.extend(
                run.live
                    .range(relative)
                    .map(|position| run.first + u64::from(position)),
            );
        }
    }
}

/// Collects messages into segments of limited size.
struct Output<'a> {
    shared: &'a Shared,
    next_id: u64,
    builder: Option<SegmentBuilder>,
    written: Vec<WrittenSegment>,
}

impl<'a> Output<'a> {
    fn new(shared: &'a Shared) -> Self {
        let next_id = shared.index.lock().next_segment;
        Self {
            shared,
            next_id,
            builder: None,
            written: Vec::new(),
        }
    }

    fn push(
        &mut self,
        queue: QueueId,
        position: u64,
        transient: bool,
        payload: &[u8],
    ) -> Result<(), StoreError> {
        let builder = self.builder.get_or_insert_with(|| {
            self.next_id += 1;
            SegmentBuilder::new(self.shared.identity, self.next_id - 1)
        });
        builder.push(queue, position, transient, payload);
        if builder.len() >= self.shared.options.segment_bytes_max {
            self.write_segment()?;
        }
        Ok(())
    }

    /// Writes what is left and makes the names of all segments durable.
    fn finish(mut self) -> Result<Vec<WrittenSegment>, StoreError> {
        self.write_segment()?;
        if !self.written.is_empty() {
            let dir = &self.shared.options.dir;
            self.shared
                .disk
                .sync_dir(dir)
                .context("sync directory", dir)?;
        }
        Ok(self.written)
    }

    fn write_segment(&mut self) -> Result<(), StoreError> {
        let Some(builder) = self.builder.take().filter(|builder| !builder.is_empty()) else {
            return Ok(());
        };
        match builder.write(self.shared) {
            Ok(segment) => {
                self.written.push(segment);
                Ok(())
            }
            Err(error) if error.is_disk_full() => {
                // Give back what this attempt took; the next one starts from the beginning.
                for segment in self.written.drain(..) {
                    let path = self.shared.path(&segment_name(segment.id));
                    self.shared
                        .disk
                        .unlink(&path)
                        .context("remove segment file", &path)?;
                }
                Err(error)
            }
            Err(error) => Err(error),
        }
    }
}
