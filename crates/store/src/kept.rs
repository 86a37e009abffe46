//! Log files that stay where they are: when nearly all that a full log file holds is live, copying it would cost
//! a second write of everything and gain nothing.
//!
//! Such a file becomes a segment like any other, with two differences: its records have the log's checksums, and
//! between the records of a queue lie those of other queues and the log's own. So a run of it knows the stretches
//! of the file in which its records are close together.
//!
//! A file whose messages share their tails is kept, too, while moving them would need more room than the file takes. Only a log
//! file has shared tails: what is moved is whole.
//!
//! Nothing here does I/O: what is kept is durable with the checkpoint that the mover writes next.

use crate::Options;
use crate::format::{RECORD_HEADER_BYTES, padded};
use crate::index::{Index, Run, Segment, WalEntry};
use crate::wal::{wal_name, wal_slot};
use base::QueueId;
use roaring::RoaringBitmap;

/// Which log file a segment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeptLog {
    /// The number in its name.
    pub(crate) slot: u32,
    pub(crate) epoch: u32,
    /// Of the process that wrote it.
    pub(crate) salt: u64,
}

impl KeptLog {
    /// Its name within the data directory.
    pub(crate) fn name(self) -> String {
        wal_name(self.slot)
    }
}

/// A part of a kept log file in which records of one run lie close together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stretch {
    /// Offset of the first of them.
    pub(crate) start: u32,
    /// Offset behind the last.
    pub(crate) end: u32,
    /// Position of the first, relative to that of the run.
    pub(crate) first: u32,
}

/// Between two records of one stretch lies no more than this, or than the second of them: a group's own record, or
/// a few settlements.
const GAP_BYTES_MAX: u32 = 128;
/// A stretch ends behind this many bytes, so that reading can begin near any position.
const STRETCH_BYTES_MAX: u32 = 1 << 20;

impl Index {
    /// The log files that were kept.
    pub(crate) fn kept_logs(&self) -> impl Iterator<Item = KeptLog> + '_ {
        self.segments.values().filter_map(|segment| segment.kept)
    }

    /// Keeps the log file of `epoch`, the oldest, if enough of it is live and it can be read in large pieces.
    /// Returns whether it did.
    pub(crate) fn keep_log_file(&mut self, epoch: u32, options: &Options) -> bool {
        let Some((kept, capacity, has_tails)) = self.wal_files.get(&epoch).and_then(|file| {
            let slot = wal_slot(&file.name)?;
            let salt = file.salt;
            Some((KeptLog { slot, epoch, salt }, file.capacity, file.has_tails))
        }) else {
            return false;
        };
        let id = self.next_segment;
        let pieces_max = (capacity / options.kept_piece_bytes_min.max(1)) as usize;
        let pieces_limit = if has_tails { usize::MAX } else { pieces_max };
        let Some(found) = self.runs_of_log_file(epoch, id, pieces_limit) else {
            return false;
        };
        // However finely mixed, what would grow when it is moved stays.
        let grows = has_tails && found.live_bytes > capacity;
        let is_worth_it = found.live_bytes * 100 >= capacity * options.kept_live_percent_min
            && found.pieces <= pieces_max;
        if found.runs.is_empty() || !(is_worth_it || grows) {
            return false;
        }
        let mut queues: Vec<_> = found.runs.iter().map(|(queue, _)| *queue).collect();
        queues.dedup();
        for queue in &queues {
            if let Some(state) = self.queues.get_mut(queue) {
                state.wal.remove_epoch(epoch);
            }
        }
        let segment = Segment {
            file_bytes: capacity,
            record_bytes: capacity,
            queues,
            kept: Some(kept),
            ..Segment::default()
        };
        self.segments.insert(id, segment);
        self.next_segment = id + 1;
        for (queue, run) in found.runs {
            self.add_run(queue, run);
        }
        // A checkpoint from now on names the file, so a start must not replay it beside that.
        self.wal_files.remove(&epoch);
        self.retired_epoch = epoch;
        true
    }

    /// The live messages of a log file as runs of the segment `id`. `None` if they lie in too many pieces.
    fn runs_of_log_file(&self, epoch: u32, id: u64, pieces_max: usize) -> Option<Runs> {
        let mut queues: Vec<_> = self.wal_files.get(&epoch)?.queues.iter().copied().collect();
        queues.sort_unstable();
        let mut runs = Runs::default();
        for queue in queues {
            let Some(state) = self.queues.get(&queue) else {
                continue;
            };
            let mut open: [Option<Builder>; 2] = [None, None];
            for entry in state.wal.of_epoch(epoch) {
                let builder = &mut open[usize::from(entry.transient)];
                if !builder.as_ref().is_some_and(|run| run.takes(&entry)) {
                    runs.add(queue, builder.replace(Builder::new(id, &entry)));
                }
                let builder = builder
                    .as_mut()
                    .expect("it was there or has just been made");
                runs.pieces += usize::from(builder.push(&entry));
                runs.live_bytes += moved_bytes(&entry);
                if runs.pieces > pieces_max {
                    return None;
                }
            }
            open.into_iter()
                .for_each(|builder| runs.add(queue, builder));
        }
        Some(runs)
    }
}

/// What is live in a log file.
#[derive(Default)]
struct Runs {
    runs: Vec<(QueueId, Run)>,
    /// What it would take elsewhere.
    live_bytes: u64,
    /// Stretches of all runs.
    pieces: usize,
}

impl Runs {
    fn add(&mut self, queue: QueueId, builder: Option<Builder>) {
        self.runs
            .extend(builder.map(|builder| (queue, builder.finish())));
    }
}

/// Builds a run from log entries of ascending positions and offsets.
struct Builder {
    run: Run,
    stretches: Vec<Stretch>,
    /// Positions, relative to the run's first, that follow each other and are not in its bitmap yet.
    fresh: std::ops::Range<u32>,
}

impl Builder {
    fn new(segment: u64, first: &WalEntry) -> Self {
        let run = Run {
            segment,
            offset: first.offset,
            end: first.offset,
            first: first.position,
            last: first.position,
            count: 0,
            bytes: 0,
            transient: first.transient,
            live: RoaringBitmap::new(),
            stretches: Box::default(),
        };
        Self {
            run,
            stretches: Vec::new(),
            fresh: 0..0,
        }
    }

    /// Whether `entry` can be the next.
    fn takes(&self, entry: &WalEntry) -> bool {
        entry.offset >= self.run.end && entry.position - self.run.first < u64::from(u32::MAX)
    }

    /// Adds a message; returns whether it begins a stretch.
    fn push(&mut self, entry: &WalEntry) -> bool {
        let size = record_bytes(entry);
        let relative = (entry.position - self.run.first) as u32;
        let end = entry.offset + size;
        let begins = match self.stretches.last_mut() {
            Some(last)
                if entry.offset - last.end <= size.max(GAP_BYTES_MAX)
                    && last.end - last.start < STRETCH_BYTES_MAX =>
            {
                last.end = end;
                false
            }
            _ => {
                let (start, first) = (entry.offset, relative);
                self.stretches.push(Stretch { start, end, first });
                true
            }
        };
        if relative != self.fresh.end {
            self.run.live.insert_range(self.fresh.clone());
            self.fresh.start = relative;
        }
        self.fresh.end = relative + 1;
        let run = &mut self.run;
        (run.end, run.last) = (end, entry.position);
        run.count += 1;
        run.bytes += u64::from(entry.length);
        begins
    }

    fn finish(mut self) -> Run {
        self.run.live.insert_range(self.fresh);
        self.run.live.optimize();
        self.run.stretches = self.stretches.into_boxed_slice();
        self.run
    }
}

/// Bytes of a message's own record.
fn record_bytes(entry: &WalEntry) -> u32 {
    padded(RECORD_HEADER_BYTES + entry.own_bytes() as usize) as u32
}

/// Bytes of the record that a message would have in a segment.
fn moved_bytes(entry: &WalEntry) -> u64 {
    padded(RECORD_HEADER_BYTES + entry.length as usize) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::FileSeed;
    use crate::index::{Change, WalFile};
    use crate::testing::SimDisk;
    use crate::{Disk, Options};
    use hashbrown::HashSet;
    use std::path::Path;

    const CAPACITY: u64 = 64 << 10;

    /// An index with one log file, which holds these messages: queue, position, transient, one behind the other.
    fn index(messages: &[(u64, u64, bool)], payload_bytes: u32) -> Index {
        let mut index = Index::default();
        let state = WalFile {
            seed: FileSeed::wal(1, 7, 3),
            salt: 3,
            name: "wal-0004".into(),
            file: SimDisk::new().create(Path::new("/wal-0004")).unwrap(),
            capacity: CAPACITY,
            queues: HashSet::new(),
            metadata_last: 0,
            has_tails: false,
            sealed: true,
        };
        index.wal_files.insert(7, state);
        let mut offset = 1024;
        let changes = messages.iter().map(|&(queue, position, transient)| {
            let entry = WalEntry {
                position,
                epoch: 7,
                offset,
                length: payload_bytes,
                transient,
                reference: 0,
            };
            offset += record_bytes(&entry);
            Change::Message {
                queue: QueueId(queue),
                entry,
            }
        });
        let changes: Vec<_> = changes.collect();
        index.apply(7, changes);
        index
    }

    fn options() -> Options {
        Options {
            kept_piece_bytes_min: 2 << 10,
            ..Options::new("/data")
        }
    }

    fn runs(index: &Index, queue: u64) -> Vec<(Vec<u64>, usize)> {
        let positions = |run: &Run| {
            run.live
                .iter()
                .map(|at| run.first + u64::from(at))
                .collect()
        };
        let runs = index.queues[&QueueId(queue)].runs.iter();
        runs.map(|run| (positions(run), run.stretches.len()))
            .collect()
    }

    #[test]
    fn a_log_file_is_kept_when_half_of_it_is_live() {
        for (count, kept) in [(31, false), (32, true)] {
            let messages: Vec<_> = (0..count).map(|position| (1, position, false)).collect();
            let mut index = index(&messages, 992);
            assert_eq!(index.keep_log_file(7, &options()), kept);
            assert_eq!(index.wal_files.is_empty(), kept);
            assert_eq!(index.retired_epoch, if kept { 7 } else { 0 });
            assert_eq!(
                index.queues[&QueueId(1)].wal.len(),
                if kept { 0 } else { 31 }
            );
        }
    }

    #[test]
    fn what_is_settled_does_not_count() {
        let messages: Vec<_> = (0..40).map(|position| (1, position, false)).collect();
        let mut index = index(&messages, 992);
        let (queue, range) = (QueueId(1), 0..10);
        index.apply(8, [Change::Settled { queue, range }]);
        assert!(!index.keep_log_file(7, &options()));
    }

    #[test]
    fn queues_in_large_pieces_are_kept_and_finely_mixed_ones_are_not() {
        for (piece, kept) in [(1, false), (2, true), (8, true)] {
            let messages: Vec<_> = (0..60)
                .map(|number| (number / piece % 3, number, false))
                .collect();
            let mut index = index(&messages, 992);
            assert_eq!(index.keep_log_file(7, &options()), kept, "{piece}");
            if kept {
                let pieces: usize = (0..3).map(|queue| runs(&index, queue)[0].1).sum();
                assert_eq!(pieces as u64, 60_u64.div_ceil(piece));
            }
        }
    }

    #[test]
    fn late_and_transient_messages_are_in_runs_of_their_own() {
        let mut messages: Vec<_> = (10..50).map(|position| (1, position, false)).collect();
        messages.insert(20, (1, 5, false));
        messages.insert(30, (1, 100, true));
        let mut index = index(&messages, 992);
        assert!(index.keep_log_file(7, &options()));
        let (early, rest, transient) = (vec![5], (10..50).collect(), vec![100]);
        let pieces: usize = runs(&index, 1).iter().map(|run| run.1).sum();
        let positions: Vec<_> = runs(&index, 1).into_iter().map(|run| run.0).collect();
        // Position 10 lies before 5 in the file, so it cannot be in one run with it.
        assert_eq!(positions, [early, rest, transient]);
        // One foreign record of the same size does not end a stretch.
        assert_eq!(pieces, 3);
        assert_eq!(runs(&index, 1).len(), 3);
    }

    #[test]
    fn reading_begins_near_the_position() {
        let mut builder: Option<Builder> = None;
        for position in 0..5000_u32 {
            let entry = WalEntry {
                position: u64::from(position) + 10,
                epoch: 7,
                offset: 1024 + position * 1056,
                length: 1024,
                transient: false,
                reference: 0,
            };
            builder
                .get_or_insert_with(|| Builder::new(1, &entry))
                .push(&entry);
        }
        let run = builder.unwrap().finish();
        assert_eq!(run.stretches.len(), 6);
        for position in [10, 500, 4000, 5009] {
            let offset = 1024 + (position as u32 - 10) * 1056;
            let start = run.seek(position);
            assert!(start <= offset && offset - start <= STRETCH_BYTES_MAX);
            assert_eq!(
                run.piece_at(u64::from(start)).unwrap().start,
                u64::from(start)
            );
        }
        assert_eq!(run.seek(0), run.offset);
        assert_eq!(run.piece_at(u64::from(run.end)), None);
    }
}
