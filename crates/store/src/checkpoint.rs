//! The checkpoint: what the log files that were recycled have left, apart from message content.
//!
//! It names every live segment, log files that were kept among them, and, of each queue, its next position and the still live messages of each run.
//! It is replaced whole once per recycled log file, with one sync, however many queues there are.
//! Transient runs are left out: no start needs them.

use crate::format::FILE_VERSION;
use crate::index::{Index, QueueIndex, Run, Segment};
use crate::kept::{KeptLog, Stretch};
use base::QueueId;
use bytes::Buf;
use roaring::RoaringBitmap;

/// Size of an encoded [`Stretch`].
const STRETCH_BYTES: usize = 12;

impl Index {
    /// Encodes everything that is in segments, with all log files up to `retired_epoch` absorbed.
    pub(crate) fn encode_checkpoint(&self, retired_epoch: u32) -> Vec<u8> {
        let mut out = Vec::new();
        put_u64(&mut out, u64::from(retired_epoch));
        put_u64(&mut out, self.next_segment);
        let mut segments: Vec<_> = self
            .segments
            .iter()
            .filter(|(_, segment)| segment.runs > 0)
            .collect();
        segments.sort_unstable_by_key(|(id, _)| **id);
        put_u64(&mut out, segments.len() as u64);
        for (id, segment) in segments {
            put_u64(&mut out, *id);
            put_u64(&mut out, segment.file_bytes);
            put_u64(&mut out, segment.record_bytes);
            put_u64(&mut out, u64::from(segment.kept.is_some()));
            if let Some(kept) = segment.kept {
                let numbers = [u64::from(kept.slot), u64::from(kept.epoch), kept.salt];
                numbers
                    .into_iter()
                    .for_each(|number| put_u64(&mut out, number));
            }
        }
        put_u64(&mut out, self.queues.len() as u64);
        for (id, queue) in self.queues_sorted() {
            put_u64(&mut out, id.0);
            put_u64(&mut out, queue.next);
            put_u64(&mut out, queue.delivered_until);
            let runs = || queue.runs.iter().filter(|run| !run.transient);
            put_u64(&mut out, runs().count() as u64);
            for run in runs() {
                put_run(&mut out, run);
                if self.segments[&run.segment].kept.is_some() {
                    put_stretches(&mut out, &run.stretches);
                }
            }
        }
        out
    }

    /// Fills an empty index from a checkpoint. `None` if it does not make sense, which its checksum makes unlikely.
    pub(crate) fn decode_checkpoint(version: u8, mut bytes: &[u8]) -> Option<Self> {
        let input = &mut bytes;
        let mut index = Self {
            retired_epoch: u32::try_from(u64_of(input)?).ok()?,
            ..Self::default()
        };
        index.next_segment = u64_of(input)?;
        for _ in 0..u64_of(input)? {
            let (id, file_bytes, record_bytes) = (u64_of(input)?, u64_of(input)?, u64_of(input)?);
            let kept = match version > FILE_VERSION && u64_of(input)? != 0 {
                true => Some(KeptLog {
                    slot: u32::try_from(u64_of(input)?).ok()?,
                    epoch: u32::try_from(u64_of(input)?).ok()?,
                    salt: u64_of(input)?,
                }),
                false => None,
            };
            index.segments.insert(
                id,
                Segment {
                    file_bytes,
                    record_bytes,
                    kept,
                    ..Segment::default()
                },
            );
        }
        for _ in 0..u64_of(input)? {
            let queue = QueueId(u64_of(input)?);
            let (next, delivered_until) = (u64_of(input)?, u64_of(input)?);
            index.queues.insert(
                queue,
                QueueIndex {
                    next,
                    delivered_until,
                    ..QueueIndex::default()
                },
            );
            for _ in 0..u64_of(input)? {
                let mut run = run_of(input)?;
                let segment = index.segments.get_mut(&run.segment)?;
                if segment.kept.is_some() {
                    run.stretches = stretches_of(input)?;
                }
                if segment.queues.last() != Some(&queue) {
                    segment.queues.push(queue);
                }
                index.add_run(queue, run);
            }
        }
        input.is_empty().then_some(index)
    }
}

pub(crate) fn put_u64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_le_bytes());
}

pub(crate) fn u64_of(input: &mut &[u8]) -> Option<u64> {
    input.try_get_u64_le().ok()
}

/// Appends a run; also used by the footers of segments.
pub(crate) fn put_run(out: &mut Vec<u8>, run: &Run) {
    for value in [
        run.segment,
        u64::from(run.offset),
        u64::from(run.end),
        run.first,
        run.last,
    ] {
        put_u64(out, value);
    }
    for value in [u64::from(run.count), run.bytes, u64::from(run.transient)] {
        put_u64(out, value);
    }
    let mut live = run.live.clone();
    live.optimize();
    put_u64(out, live.serialized_size() as u64);
    live.serialize_into(out)
        .expect("writing to memory does not fail");
}

/// Reads what [`put_run`] wrote.
pub(crate) fn run_of(input: &mut &[u8]) -> Option<Run> {
    let segment = u64_of(input)?;
    let (offset, end) = (
        u32::try_from(u64_of(input)?).ok()?,
        u32::try_from(u64_of(input)?).ok()?,
    );
    let (first, last) = (u64_of(input)?, u64_of(input)?);
    let (count, bytes) = (u32::try_from(u64_of(input)?).ok()?, u64_of(input)?);
    let transient = u64_of(input)? != 0;
    let size = usize::try_from(u64_of(input)?).ok()?;
    let (bitmap, rest) = input.split_at_checked(size)?;
    let live = RoaringBitmap::deserialize_from(bitmap).ok()?;
    *input = rest;
    let span = last.checked_sub(first)?;
    let fits = offset <= end
        && span <= u64::from(u32::MAX)
        && live.max().is_none_or(|max| u64::from(max) <= span);
    fits.then_some(Run {
        segment,
        offset,
        end,
        first,
        last,
        count,
        bytes,
        transient,
        live,
        stretches: Box::default(),
    })
}

fn put_stretches(out: &mut Vec<u8>, stretches: &[Stretch]) {
    put_u64(out, stretches.len() as u64);
    for stretch in stretches {
        for value in [stretch.start, stretch.end, stretch.first] {
            out.extend_from_slice(&value.to_le_bytes());
        }
    }
}

fn stretches_of(input: &mut &[u8]) -> Option<Box<[Stretch]>> {
    let count = usize::try_from(u64_of(input)?).ok()?;
    let (bytes, rest) = input.split_at_checked(count.checked_mul(STRETCH_BYTES)?)?;
    *input = rest;
    let stretches = bytes.chunks_exact(STRETCH_BYTES).map(|mut bytes| Stretch {
        start: bytes.get_u32_le(),
        end: bytes.get_u32_le(),
        first: bytes.get_u32_le(),
    });
    Some(stretches.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::CHECKPOINT_VERSION;

    /// As it was written before log files could be kept.
    #[test]
    fn a_checkpoint_of_version_1_is_read() {
        let mut bytes = Vec::new();
        for number in [12, 8, 1, 7, 4096, 4000, 1, 3, 70, 60, 0] {
            put_u64(&mut bytes, number);
        }
        let index = Index::decode_checkpoint(1, &bytes).unwrap();
        assert_eq!(index.segments[&7].file_bytes, 4096);
        assert_eq!(index.segments[&7].kept, None);
        assert_eq!(index.queues[&QueueId(3)].next, 70);
    }

    #[test]
    fn a_kept_log_file_reads_back_with_its_stretches() {
        let mut index = Index::default();
        index.queues.insert(QueueId(3), QueueIndex::default());
        let kept = KeptLog {
            slot: 5,
            epoch: 9,
            salt: u64::MAX,
        };
        let segment = Segment {
            file_bytes: 4096,
            record_bytes: 4096,
            queues: vec![QueueId(3)],
            kept: Some(kept),
            ..Segment::default()
        };
        index.segments.insert(1, segment);
        let stretch = |start, end, first| Stretch { start, end, first };
        let run = Run {
            segment: 1,
            offset: 1024,
            end: 3000,
            first: 50,
            last: 59,
            count: 10,
            bytes: 100,
            transient: false,
            live: [0, 9].into_iter().collect(),
            stretches: Box::new([stretch(1024, 2000, 0), stretch(2500, 3000, 6)]),
        };
        index.add_run(QueueId(3), run.clone());
        let bytes = index.encode_checkpoint(9);
        let back = Index::decode_checkpoint(CHECKPOINT_VERSION, &bytes).unwrap();
        assert_eq!(back.queues[&QueueId(3)].runs, [run]);
        assert_eq!(back.segments[&1].kept, Some(kept));
        for cut in 0..bytes.len() {
            assert!(Index::decode_checkpoint(CHECKPOINT_VERSION, &bytes[..cut]).is_none());
        }
    }

    #[test]
    fn a_checkpoint_reads_back_without_transient_runs() {
        let mut index = Index {
            next_segment: 8,
            ..Index::default()
        };
        index.queues.insert(
            QueueId(3),
            QueueIndex {
                next: 70,
                delivered_until: 60,
                ..QueueIndex::default()
            },
        );
        index.segments.insert(
            7,
            Segment {
                file_bytes: 4096,
                queues: vec![QueueId(3)],
                ..Segment::default()
            },
        );
        let live: RoaringBitmap = [1, 5, 9].into_iter().collect();
        let run = Run {
            segment: 7,
            offset: 64,
            end: 900,
            first: 50,
            last: 59,
            count: 10,
            bytes: 100,
            transient: false,
            live,
            stretches: Box::default(),
        };
        index.add_run(QueueId(3), run.clone());
        index.add_run(
            QueueId(3),
            Run {
                transient: true,
                offset: 900,
                end: 1000,
                ..run.clone()
            },
        );
        let bytes = index.encode_checkpoint(12);
        let back = Index::decode_checkpoint(CHECKPOINT_VERSION, &bytes).unwrap();
        assert_eq!((back.retired_epoch, back.next_segment), (12, 8));
        assert_eq!(back.queues[&QueueId(3)].runs, [run]);
        assert_eq!(
            (back.segments[&7].runs, back.segments[&7].live_bytes),
            (1, 250)
        );
        for cut in 0..bytes.len() {
            assert!(Index::decode_checkpoint(CHECKPOINT_VERSION, &bytes[..cut]).is_none());
        }
    }
}
