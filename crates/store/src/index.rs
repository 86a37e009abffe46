//! Where everything live is: the only state that the store's threads share.
//!
//! A message in a log file costs 24 bytes here; one in a segment or a kept log file costs a bit or less, since such
//! a file's messages of one queue (a [`Run`]) are one entry with a bitmap of those still live.
//! Nothing here does I/O; the lock around it is held for memory work only.

use crate::RecoveredQueue;
use crate::disk::DiskFile;
use crate::format::FileSeed;
use crate::kept::{KeptLog, Stretch};
use crate::segment::segment_name;
use base::{Position, QueueId};
use bytes::Bytes;
use hashbrown::{HashMap, HashSet};
use roaring::RoaringBitmap;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;
use std::sync::Arc;

/// A live message in a log file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WalEntry {
    pub(crate) position: u64,
    /// Which log file: its epoch.
    pub(crate) epoch: u32,
    /// Offset of the record in the file.
    pub(crate) offset: u32,
    /// Payload bytes, at most [`crate::RECORD_BYTES_MAX`]; [`WalEntry::DEAD`] marks a settled one.
    pub(crate) length: u32,
    pub(crate) transient: bool,
    /// Payload bytes of its own record if its tail is in another; 0 if all of it is in its own.
    pub(crate) reference: u8,
}

impl WalEntry {
    const DEAD: u32 = u32::MAX;

    fn is_live(&self) -> bool {
        self.length != Self::DEAD
    }

    /// Payload bytes of its own record.
    pub(crate) fn own_bytes(&self) -> u32 {
        match self.reference {
            0 => self.length,
            reference => u32::from(reference),
        }
    }
}

/// The messages of one queue that are in log files, by position.
#[derive(Debug, Default)]
pub(crate) struct WalEntries {
    /// Ascending positions; settled ones in the middle are marked dead until there are too many of them.
    ordered: VecDeque<WalEntry>,
    dead: usize,
    /// Messages written after one of a higher position, such as transient ones that are paged out late.
    late: BTreeMap<u64, WalEntry>,
}

impl WalEntries {
    const COMPACT_AT: usize = 64;

    pub(crate) fn insert(&mut self, entry: WalEntry) {
        match self.ordered.back() {
            Some(last) if last.position >= entry.position => {
                self.late.insert(entry.position, entry);
            }
            _ => self.ordered.push_back(entry),
        }
    }

    /// Removes all in `range`.
    fn settle(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let start = self
            .ordered
            .partition_point(|entry| entry.position < range.start);
        for entry in self.ordered.range_mut(start..) {
            if entry.position >= range.end {
                break;
            }
            if entry.is_live() {
                entry.length = WalEntry::DEAD;
                self.dead += 1;
            }
        }
        while !self.late.is_empty() {
            let Some((&position, _)) = self.late.range(range.clone()).next() else {
                break;
            };
            self.late.remove(&position);
        }
        self.drop_dead();
    }

    fn drop_dead(&mut self) {
        while self.ordered.front().is_some_and(|entry| !entry.is_live()) {
            self.ordered.pop_front();
            self.dead -= 1;
        }
        while self.ordered.back().is_some_and(|entry| !entry.is_live()) {
            self.ordered.pop_back();
            self.dead -= 1;
        }
        if self.dead > Self::COMPACT_AT && self.dead > self.ordered.len() / 2 {
            self.ordered.retain(WalEntry::is_live);
            self.dead = 0;
        }
        if self.ordered.capacity() > Self::COMPACT_AT
            && self.ordered.len() < self.ordered.capacity() / 8
        {
            self.ordered.shrink_to(self.ordered.len() * 2);
        }
    }

    /// Removes those of one log file.
    pub(crate) fn remove_epoch(&mut self, epoch: u32) {
        self.ordered
            .retain(|entry| entry.is_live() && entry.epoch != epoch);
        self.dead = 0;
        self.late.retain(|_, entry| entry.epoch != epoch);
        self.drop_dead();
    }

    /// Those of one log file, in order of position.
    pub(crate) fn of_epoch(&self, epoch: u32) -> impl Iterator<Item = WalEntry> + '_ {
        self.range(0..u64::MAX)
            .filter(move |entry| entry.epoch == epoch)
    }

    /// The live ones in `range`, in order of position.
    pub(crate) fn range(&self, range: Range<u64>) -> impl Iterator<Item = WalEntry> + '_ {
        let start = self
            .ordered
            .partition_point(|entry| entry.position < range.start);
        let end = range.end;
        let mut ordered = self
            .ordered
            .range(start..)
            .take_while(move |entry| entry.position < end)
            .filter(|entry| entry.is_live())
            .copied()
            .peekable();
        let mut late = self
            .late
            .range(range.start..range.end.max(range.start))
            .map(|(_, entry)| *entry)
            .peekable();
        std::iter::from_fn(move || match (ordered.peek(), late.peek()) {
            (Some(first), Some(other)) if other.position < first.position => late.next(),
            (Some(_), _) => ordered.next(),
            (None, _) => late.next(),
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.ordered.len() - self.dead + self.late.len()
    }

    pub(crate) fn contains(&self, position: u64) -> bool {
        self.range(position..position.saturating_add(1))
            .next()
            .is_some()
    }
}

/// Messages of one queue in one segment or kept log file, in order of position and of offset.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Run {
    pub(crate) segment: u64,
    /// Offset of the first record in the file.
    pub(crate) offset: u32,
    /// Offset behind the last record.
    pub(crate) end: u32,
    /// Position of the first record, live or not; positions in `live` are relative to it.
    pub(crate) first: u64,
    /// Position of the last record, less than 2³² behind `first`.
    pub(crate) last: u64,
    /// Records.
    pub(crate) count: u32,
    /// Their payload bytes.
    pub(crate) bytes: u64,
    /// Paged out only to save memory: not in checkpoints, gone at the next start.
    pub(crate) transient: bool,
    /// What is left of them.
    pub(crate) live: RoaringBitmap,
    /// In a kept log file: the places between which other records lie. None in a segment, where the run is one piece.
    pub(crate) stretches: Box<[Stretch]>,
}

impl Run {
    /// Removes the positions in `range`; returns how many there were.
    fn settle(&mut self, range: &Range<u64>) -> u64 {
        match self.relative(range) {
            Some(relative) => self.live.remove_range(relative),
            None => 0,
        }
    }

    /// `range` as a non-empty range of `live`, or nothing.
    pub(crate) fn relative(&self, range: &Range<u64>) -> Option<std::ops::RangeInclusive<u32>> {
        if range.is_empty() || range.start > self.last || range.end <= self.first {
            return None;
        }
        let from = range.start.max(self.first) - self.first;
        let last = (range.end - 1).min(self.last) - self.first;
        Some(from as u32..=last as u32)
    }

    /// First live position in `range`.
    pub(crate) fn first_in(&self, range: &Range<u64>) -> Option<u64> {
        self.live
            .range(self.relative(range)?)
            .next()
            .map(|position| self.first + u64::from(position))
    }

    pub(crate) fn contains(&self, position: u64) -> bool {
        (self.first..=self.last).contains(&position)
            && self.live.contains((position - self.first) as u32)
    }

    /// Payload bytes of `count` of its messages, on average.
    fn payload_bytes(&self, count: u64) -> u64 {
        self.bytes * count / u64::from(self.count.max(1))
    }

    /// What `count` of its messages would take elsewhere, on average: as much as they take here, or more if they share their
    /// tails here.
    fn live_bytes(&self, count: u64) -> u64 {
        self.file_bytes().max(self.bytes) * count / u64::from(self.count.max(1))
    }

    fn file_bytes(&self) -> u64 {
        if self.stretches.is_empty() {
            return u64::from(self.end - self.offset);
        }
        let bytes = |stretch: &Stretch| u64::from(stretch.end - stretch.start);
        self.stretches.iter().map(bytes).sum()
    }

    /// Where to read on at `offset`: from there or from behind it, up to where something else begins.
    pub(crate) fn piece_at(&self, offset: u64) -> Option<Range<u64>> {
        let piece = match self.stretches.is_empty() {
            true => u64::from(self.offset)..u64::from(self.end),
            false => {
                let at = |stretch: &Stretch| u64::from(stretch.end) <= offset;
                let stretch = self.stretches.get(self.stretches.partition_point(at))?;
                u64::from(stretch.start)..u64::from(stretch.end)
            }
        };
        (offset < piece.end).then(|| offset.max(piece.start)..piece.end)
    }

    /// Offset of a record that is not behind that of `position`, as near as is known.
    pub(crate) fn seek(&self, position: u64) -> u32 {
        let relative = position.saturating_sub(self.first);
        let before = |stretch: &Stretch| u64::from(stretch.first) <= relative;
        match self.stretches.partition_point(before) {
            0 => self.offset,
            behind => self.stretches[behind - 1].start,
        }
    }
}

/// What the store holds of one queue. Made by its first record.
#[derive(Debug, Default)]
pub(crate) struct QueueIndex {
    /// Next free position.
    pub(crate) next: u64,
    pub(crate) delivered_until: u64,
    pub(crate) wal: WalEntries,
    /// By first position; they may overlap.
    pub(crate) runs: Vec<Run>,
    /// Live messages that turned out unreadable when they were to be moved.
    pub(crate) lost: BTreeSet<u64>,
}

impl QueueIndex {
    pub(crate) fn insert_run(&mut self, run: Run) {
        let at = self.runs.partition_point(|other| other.first <= run.first);
        self.runs.insert(at, run);
    }

    pub(crate) fn recovered(&self) -> RecoveredQueue {
        let runs = self
            .runs
            .iter()
            .map(|run| (run.live.len(), run.payload_bytes(run.live.len())));
        let (in_runs, run_bytes) = runs.fold((0, 0), |sum, run| (sum.0 + run.0, sum.1 + run.1));
        let everything = 0..u64::MAX;
        let first_in_wal = self
            .wal
            .range(everything.clone())
            .next()
            .map(|entry| entry.position);
        let first_in_runs = self
            .runs
            .iter()
            .filter_map(|run| run.first_in(&everything))
            .min();
        RecoveredQueue {
            messages: self.wal.len() as u64 + in_runs,
            bytes: self
                .wal
                .range(everything)
                .map(|entry| u64::from(entry.length))
                .sum::<u64>()
                + run_bytes,
            first: Position(
                first_in_wal
                    .into_iter()
                    .chain(first_in_runs)
                    .min()
                    .unwrap_or(self.next),
            ),
            next: Position(self.next),
            delivered_until: Position(self.delivered_until),
        }
    }
}

/// A log file in use.
pub(crate) struct WalFile {
    pub(crate) seed: FileSeed,
    /// Of the process that wrote it.
    pub(crate) salt: u64,
    /// File name within the data directory.
    pub(crate) name: String,
    pub(crate) file: Arc<dyn DiskFile>,
    /// Bytes set aside for it.
    pub(crate) capacity: u64,
    /// Queues that had a message in it.
    pub(crate) queues: HashSet<QueueId>,
    /// Index of the last metadata command in it, 0 if none.
    pub(crate) metadata_last: u64,
    /// Whether messages in it share their tails.
    pub(crate) has_tails: bool,
    /// Nothing more is written to it.
    pub(crate) sealed: bool,
}

/// A log file that waits for reuse.
pub(crate) struct FreeFile {
    pub(crate) name: String,
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) capacity: u64,
}

/// A segment, or a log file that was kept as one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Segment {
    /// Size of the file.
    pub(crate) file_bytes: u64,
    /// Bytes of its records, live or not; of a kept log file its size.
    pub(crate) record_bytes: u64,
    /// Estimate of what those that are live would take elsewhere. More than `record_bytes` if many share their tails here.
    pub(crate) live_bytes: u64,
    /// Runs that have live messages.
    pub(crate) runs: u32,
    /// Queues that had messages in it when it was written.
    pub(crate) queues: Vec<QueueId>,
    /// Which log file it is, if it is one.
    pub(crate) kept: Option<KeptLog>,
}

impl Segment {
    /// Its name within the data directory; `id` is its own.
    pub(crate) fn name(&self, id: u64) -> String {
        self.kept.map_or_else(|| segment_name(id), KeptLog::name)
    }

    /// The seed of its records' checksums.
    pub(crate) fn seed(&self, identity: u64, id: u64) -> FileSeed {
        match self.kept {
            Some(kept) => FileSeed::wal(identity, u64::from(kept.epoch), kept.salt),
            None => FileSeed::segment(identity, id),
        }
    }

    /// Estimate of how much of it is live, in thousandths.
    pub(crate) fn live_permille(&self) -> u64 {
        self.live_bytes * 1000 / self.record_bytes.max(1)
    }

    /// Estimate of the bytes that rewriting it would give back.
    pub(crate) fn dead_bytes(&self) -> u64 {
        self.record_bytes.saturating_sub(self.live_bytes)
    }
}

/// Metadata commands that no snapshot covers.
#[derive(Debug, Default)]
pub(crate) struct MetadataLog {
    /// Index of the last command that the snapshot contains.
    pub(crate) covered: u64,
    pub(crate) commands: VecDeque<(u64, Bytes)>,
    pub(crate) bytes: u64,
    /// A snapshot is asked for when `bytes` exceeds this.
    pub(crate) snapshot_at: u64,
}

/// A change of the index, made after its record was written.
#[derive(Debug)]
pub(crate) enum Change {
    Message { queue: QueueId, entry: WalEntry },
    Settled { queue: QueueId, range: Range<u64> },
    DeliveredUpTo { queue: QueueId, until: u64 },
    DropQueue { queue: QueueId },
    Metadata { index: u64, command: Bytes },
}

/// Everything live.
#[derive(Default)]
pub(crate) struct Index {
    pub(crate) queues: HashMap<QueueId, QueueIndex>,
    /// Log files in use, by epoch.
    pub(crate) wal_files: BTreeMap<u32, WalFile>,
    pub(crate) free_files: Vec<FreeFile>,
    pub(crate) segments: HashMap<u64, Segment>,
    /// Segments without live messages that the last checkpoint may still name.
    pub(crate) dead_segments: Vec<u64>,
    pub(crate) metadata: MetadataLog,
    /// All log files up to this epoch are absorbed by the checkpoint.
    pub(crate) retired_epoch: u32,
    pub(crate) next_segment: u64,
}

impl Index {
    /// Bytes that messages and runs of them take here, without what the allocator adds.
    pub(crate) fn memory_bytes(&self) -> u64 {
        let queues = self.queues.values().map(|queue| {
            let entries = queue.wal.ordered.capacity() + queue.wal.late.len();
            size_of::<QueueIndex>()
                + entries * size_of::<WalEntry>()
                + queue.runs.capacity() * size_of::<Run>()
        });
        queues.sum::<usize>() as u64
    }

    /// Applies what was written to the log file of `epoch`. Returns whether a metadata snapshot is due.
    pub(crate) fn apply(&mut self, epoch: u32, changes: impl IntoIterator<Item = Change>) -> bool {
        let mut snapshot_due = false;
        let mut last_queue = None;
        for change in changes {
            match change {
                Change::Message { queue, entry } => {
                    let state = self.queues.entry(queue).or_default();
                    state.next = state.next.max(entry.position.saturating_add(1));
                    state.wal.insert(entry);
                    if last_queue != Some(queue) || entry.reference != 0 {
                        last_queue = Some(queue);
                        if let Some(file) = self.wal_files.get_mut(&epoch) {
                            file.queues.insert(queue);
                            file.has_tails |= entry.reference != 0;
                        }
                    }
                }
                Change::Settled { queue, range } => self.settle(queue, range),
                Change::DeliveredUpTo { queue, until } => {
                    let state = self.queues.entry(queue).or_default();
                    state.delivered_until = state.delivered_until.max(until);
                    state.next = state.next.max(until);
                }
                Change::DropQueue { queue } => self.drop_queue(queue),
                Change::Metadata { index, command } => {
                    if let Some(file) = self.wal_files.get_mut(&epoch) {
                        file.metadata_last = index;
                    }
                    snapshot_due |= self.metadata.push(index, command);
                }
            }
        }
        snapshot_due
    }

    fn settle(&mut self, queue: QueueId, range: Range<u64>) {
        let Some(state) = self.queues.get_mut(&queue) else {
            return;
        };
        state.wal.settle(range.clone());
        if !state.lost.is_empty() {
            state.lost.retain(|position| !range.contains(position));
        }
        let mut emptied = false;
        for run in state
            .runs
            .iter_mut()
            .take_while(|run| run.first < range.end)
        {
            let count = run.settle(&range);
            if count > 0 {
                let segment = self
                    .segments
                    .get_mut(&run.segment)
                    .expect("a run's segment is known");
                segment.live_bytes = segment.live_bytes.saturating_sub(run.live_bytes(count));
                emptied |= run.live.is_empty();
            }
        }
        if emptied {
            for run in state.runs.extract_if(.., |run| run.live.is_empty()) {
                release_run(&mut self.segments, &mut self.dead_segments, &run);
            }
        }
    }

    pub(crate) fn drop_queue(&mut self, queue: QueueId) {
        let Some(state) = self.queues.remove(&queue) else {
            return;
        };
        for run in &state.runs {
            release_run(&mut self.segments, &mut self.dead_segments, run);
        }
    }

    /// Adds a run whose segment is registered; without live messages it is left out.
    pub(crate) fn add_run(&mut self, queue: QueueId, run: Run) {
        let Some(state) = self.queues.get_mut(&queue) else {
            return;
        };
        if run.live.is_empty() {
            return;
        }
        let segment = self
            .segments
            .get_mut(&run.segment)
            .expect("segments are registered before their runs");
        segment.runs += 1;
        segment.live_bytes += run.live_bytes(run.live.len());
        state.insert_run(run);
    }

    /// Takes the run at this place of a segment from its queue.
    pub(crate) fn remove_run(&mut self, queue: QueueId, segment: u64, offset: u32) -> Option<Run> {
        let state = self.queues.get_mut(&queue)?;
        let at = state
            .runs
            .iter()
            .position(|run| run.segment == segment && run.offset == offset)?;
        let run = state.runs.remove(at);
        release_run(&mut self.segments, &mut self.dead_segments, &run);
        Some(run)
    }

    /// Marks segments without a run as dead; for those that were registered and got none.
    pub(crate) fn bury_empty(&mut self, segments: &[u64]) {
        for id in segments {
            if self
                .segments
                .get(id)
                .is_some_and(|segment| segment.runs == 0)
                && !self.dead_segments.contains(id)
            {
                self.dead_segments.push(*id);
            }
        }
    }

    /// Whether a live message of this position is known.
    pub(crate) fn contains(&self, queue: QueueId, position: u64) -> bool {
        self.queues.get(&queue).is_some_and(|state| {
            state.wal.contains(position) || state.runs.iter().any(|run| run.contains(position))
        })
    }

    /// Full log files, oldest first.
    pub(crate) fn sealed(&self) -> impl Iterator<Item = u32> + '_ {
        self.wal_files
            .iter()
            .filter(|(_, file)| file.sealed)
            .map(|(epoch, _)| *epoch)
    }

    /// Drops all queues that are not in `live`.
    pub(crate) fn retain(&mut self, live: &std::collections::HashSet<QueueId>) {
        let gone: Vec<_> = self
            .queues
            .keys()
            .filter(|queue| !live.contains(*queue))
            .copied()
            .collect();
        for queue in gone {
            self.drop_queue(queue);
        }
    }

    /// The queues in a fixed order.
    pub(crate) fn queues_sorted(&self) -> Vec<(QueueId, &QueueIndex)> {
        let mut queues: Vec<_> = self.queues.iter().map(|(id, state)| (*id, state)).collect();
        queues.sort_unstable_by_key(|(id, _)| *id);
        queues
    }
}

fn release_run(segments: &mut HashMap<u64, Segment>, dead: &mut Vec<u64>, run: &Run) {
    let segment = segments
        .get_mut(&run.segment)
        .expect("a run's segment is known");
    segment.live_bytes = segment
        .live_bytes
        .saturating_sub(run.live_bytes(run.live.len()));
    segment.runs -= 1;
    if segment.runs == 0 {
        dead.push(run.segment);
    }
}

impl MetadataLog {
    /// Adds a command; returns whether a snapshot is due.
    pub(crate) fn push(&mut self, index: u64, command: Bytes) -> bool {
        if index <= self.last() {
            return false;
        }
        self.bytes += command.len() as u64;
        self.commands.push_back((index, command));
        if self.bytes <= self.snapshot_at {
            return false;
        }
        // Asked again only when the commands have doubled, should the first request be slow to be answered.
        self.snapshot_at = self.bytes * 2;
        true
    }

    /// Index of the last command known.
    pub(crate) fn last(&self) -> u64 {
        self.commands
            .back()
            .map_or(self.covered, |(index, _)| *index)
    }

    /// Forgets what a snapshot contains.
    pub(crate) fn cover(&mut self, covers: u64, bytes_max: u64) {
        self.covered = self.covered.max(covers);
        while self
            .commands
            .front()
            .is_some_and(|(index, _)| *index <= covers)
        {
            let (_, command) = self.commands.pop_front().expect("the front was looked at");
            self.bytes -= command.len() as u64;
        }
        self.snapshot_at = self.bytes + bytes_max;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(position: u64) -> WalEntry {
        WalEntry {
            position,
            epoch: 1,
            offset: 0,
            length: 10,
            transient: false,
            reference: 0,
        }
    }

    fn positions(entries: &WalEntries) -> Vec<u64> {
        entries
            .range(0..u64::MAX)
            .map(|entry| entry.position)
            .collect()
    }

    #[test]
    fn an_entry_is_small() {
        assert_eq!(size_of::<WalEntry>(), 24);
    }

    #[test]
    fn late_messages_take_their_place() {
        let mut entries = WalEntries::default();
        for position in [5, 9, 7, 1, 12] {
            entries.insert(entry(position));
        }
        assert_eq!(positions(&entries), [1, 5, 7, 9, 12]);
        entries.settle(5..8);
        assert_eq!(positions(&entries), [1, 9, 12]);
        assert_eq!(entries.len(), 3);
        assert!(entries.contains(9) && !entries.contains(7));
    }

    #[test]
    fn settling_in_the_middle_frees_memory_in_the_end() {
        let mut entries = WalEntries::default();
        (0..10_000).for_each(|position| entries.insert(entry(position)));
        (1..9_999).for_each(|position| entries.settle(position..position + 1));
        assert_eq!(positions(&entries), [0, 9_999]);
        assert!(entries.ordered.capacity() < 1_000);
    }

    #[test]
    fn a_segment_dies_with_its_last_message() {
        let mut index = Index::default();
        index.queues.insert(QueueId(1), QueueIndex::default());
        index.segments.insert(3, Segment::default());
        let live = RoaringBitmap::from_sorted_iter(0..10).unwrap();
        let run = Run {
            segment: 3,
            offset: 64,
            end: 99,
            first: 100,
            last: 109,
            count: 10,
            bytes: 20,
            transient: false,
            live,
            stretches: Box::default(),
        };
        index.add_run(QueueId(1), run);
        index.settle(QueueId(1), 0..105);
        assert_eq!(index.queues[&QueueId(1)].recovered().first, Position(105));
        assert_eq!(index.segments[&3].live_bytes, 18);
        assert!(index.dead_segments.is_empty());
        index.settle(QueueId(1), 105..u64::MAX);
        assert_eq!(index.dead_segments, [3]);
    }
}
