//! Segment files: messages that outlived their log file, in order of queue and position.
//!
//! ```text
//! ├─ header(64) ─┼─ run: records of queue A ─┼─ run: queue B ─┼ … ┼─ footer ─┼─ trailer(32) ─┤
//! ```
//!
//! A segment is built in memory, written once and never changed. A queue with much to store fills segments of its
//! own; many queues with little share one, so that a log file with 10,000 queues in it costs one sync and not
//! 10,000. The footer repeats the runs; it is read only when the checkpoint is lost.
//! A log file that was kept (`kept.rs`) is read by the same code.

use crate::StoreError;
use crate::checkpoint::{put_run, put_u64, run_of, u64_of};
use crate::disk::DiskFile;
use crate::error::IoContext;
use crate::format::{
    self, Encoder, FLAG_TRANSIENT, FileSeed, Kind, RECORD_HEADER_BYTES, Reference,
};
use crate::index::Run;
use crate::shared::Shared;
use base::QueueId;
use bytes::Bytes;
use roaring::RoaringBitmap;
use std::io;
use std::ops::Range;
use std::sync::Arc;

/// What the names of segments begin with.
pub(crate) const SEGMENT_PREFIX: &str = "segment-";
const TRAILER_BYTES: usize = 32;
const TRAILER_MAGIC: u64 = u64::from_le_bytes(*b"WARRNEND");
/// How much of a run is read at once.
const READ_BYTES: usize = 128 << 10;

/// The file name of a segment; ids are never reused.
pub(crate) fn segment_name(id: u64) -> String {
    format!("{SEGMENT_PREFIX}{id:010}")
}

/// The id in a segment's file name.
pub(crate) fn segment_id(name: &str) -> Option<u64> {
    name.strip_prefix(SEGMENT_PREFIX)?.parse().ok()
}

/// Builds one segment in memory.
pub(crate) struct SegmentBuilder {
    id: u64,
    seed: FileSeed,
    bytes: Vec<u8>,
    runs: Vec<(QueueId, Run)>,
}

/// A segment that is written and durable.
pub(crate) struct WrittenSegment {
    pub(crate) id: u64,
    pub(crate) file_bytes: u64,
    /// All messages of the runs are live.
    pub(crate) runs: Vec<(QueueId, Run)>,
}

impl SegmentBuilder {
    pub(crate) fn new(identity: u64, id: u64) -> Self {
        let mut bytes = Vec::new();
        format::write_segment_header(&mut bytes, identity, id);
        Self {
            id,
            seed: FileSeed::segment(identity, id),
            bytes,
            runs: Vec::new(),
        }
    }

    /// Bytes so far.
    pub(crate) fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Adds a message. Those of one queue and transience come together, in order of position.
    pub(crate) fn push(&mut self, queue: QueueId, position: u64, transient: bool, payload: &[u8]) {
        let flags = if transient { FLAG_TRANSIENT } else { 0 };
        let mut encoder = Encoder {
            out: &mut self.bytes,
            base: 0,
            seed: self.seed,
        };
        let offset = encoder.record(Kind::Message, flags, (queue.0, position), |out| {
            out.extend_from_slice(payload)
        });
        let continues = self.runs.last().is_some_and(|(last_queue, run)| {
            *last_queue == queue
                && run.transient == transient
                && position > run.last
                && position - run.first <= u64::from(u32::MAX)
        });
        if !continues {
            let offset = u32::try_from(offset).expect("segments are smaller than 4 GiB");
            let live = RoaringBitmap::new();
            let empty = Run {
                segment: self.id,
                offset,
                end: offset,
                first: position,
                last: position,
                count: 0,
                bytes: 0,
                transient,
                live,
                stretches: Box::default(),
            };
            self.runs.push((queue, empty));
        }
        let (_, run) = self.runs.last_mut().expect("a run was begun");
        run.last = position;
        run.end = u32::try_from(self.bytes.len()).expect("segments are smaller than 4 GiB");
        run.count += 1;
        run.bytes += payload.len() as u64;
        run.live.insert((position - run.first) as u32);
    }

    /// Writes and syncs the file; its name is durable after the next sync of the directory.
    pub(crate) fn write(mut self, shared: &Shared) -> Result<WrittenSegment, StoreError> {
        for (_, run) in &mut self.runs {
            run.live.optimize();
        }
        self.put_footer();
        let path = shared.path(&segment_name(self.id));
        let file = shared
            .disk
            .create(&path)
            .context("create segment file", &path)?;
        let written = WrittenSegment {
            id: self.id,
            file_bytes: self.bytes.len() as u64,
            runs: self.runs,
        };
        if let Err(error) = file
            .preallocate(written.file_bytes)
            .context("allocate segment file", &path)
        {
            if error.is_disk_full() {
                shared
                    .disk
                    .unlink(&path)
                    .context("remove segment file", &path)?;
            }
            return Err(error);
        }
        file.write_at(&self.bytes, 0)
            .context("write segment file", &path)?;
        file.datasync().context("sync segment file", &path)?;
        Ok(written)
    }

    fn put_footer(&mut self) {
        let start = self.bytes.len();
        put_u64(&mut self.bytes, self.runs.len() as u64);
        for (queue, run) in &self.runs {
            put_u64(&mut self.bytes, queue.0);
            put_run(&mut self.bytes, run);
        }
        let crc = crc32fast::hash(&self.bytes[start..]);
        let length = (self.bytes.len() - start) as u64;
        for value in [length, u64::from(crc), self.id, TRAILER_MAGIC] {
            put_u64(&mut self.bytes, value);
        }
    }
}

/// Reads the runs of a segment from its footer, all messages live. `None` if the footer is damaged.
pub(crate) fn read_footer(file: &dyn DiskFile, id: u64) -> io::Result<Option<Vec<(QueueId, Run)>>> {
    let size = file.len()?;
    let Some(footer_end) = size.checked_sub(TRAILER_BYTES as u64) else {
        return Ok(None);
    };
    let mut trailer = [0; TRAILER_BYTES];
    if file.read_at(&mut trailer, footer_end)? != TRAILER_BYTES {
        return Ok(None);
    }
    let [length, crc, own_id, magic] = [0, 8, 16, 24].map(|at| format::u64_at(&trailer, at));
    if magic != TRAILER_MAGIC || own_id != id || length > footer_end {
        return Ok(None);
    }
    let mut footer = vec![0; length as usize];
    if file.read_at(&mut footer, footer_end - length)? != footer.len()
        || u64::from(crc32fast::hash(&footer)) != crc
    {
        return Ok(None);
    }
    Ok(parse_footer(&footer))
}

fn parse_footer(mut footer: &[u8]) -> Option<Vec<(QueueId, Run)>> {
    let input = &mut footer;
    let count = u64_of(input)?;
    let mut runs = Vec::new();
    for _ in 0..count {
        runs.push((QueueId(u64_of(input)?), run_of(input)?));
    }
    Some(runs)
}

/// What reading a run gave.
#[derive(Debug, Default)]
pub(crate) struct RunContent {
    /// Live messages in order.
    pub(crate) messages: Vec<(u64, Bytes)>,
    /// Everything live and readable below this is in `messages`.
    pub(crate) reached: u64,
    /// Live positions among which some could not be read.
    pub(crate) damaged: Vec<Range<u64>>,
    /// Where the record of `reached` is, or some record before it.
    pub(crate) cursor: u32,
}

/// A run and where it is.
pub(crate) struct RunSource<'a> {
    pub(crate) file: &'a Arc<dyn DiskFile>,
    pub(crate) seed: FileSeed,
    pub(crate) queue: QueueId,
    pub(crate) run: &'a Run,
}

/// Reads the live messages of a run in `range`, until `bytes_max` payload bytes are read; at least one.
/// `start` is the offset of a record that is not behind the first one wanted.
pub(crate) fn read_run(
    source: &RunSource<'_>,
    range: Range<u64>,
    bytes_max: usize,
    start: u32,
) -> io::Result<RunContent> {
    let RunSource {
        file,
        seed,
        queue,
        run,
    } = *source;
    let mut window = Window::new(file, 0);
    let mut tails = TailSource::new(file, seed);
    let mut content = RunContent {
        reached: range.end,
        cursor: start,
        ..RunContent::default()
    };
    let mut offset = u64::from(start);
    let mut expected = range.start;
    let mut bytes = 0;
    while let Some(next) = run.first_in(&(expected..range.end)) {
        if bytes >= bytes_max && !content.messages.is_empty() {
            content.reached = next;
            break;
        }
        if offset >= window.end {
            let Some(piece) = run.piece_at(offset) else {
                // All records were looked at: what was not among them is damaged.
                content.damaged.push(next..range.end.min(run.last + 1));
                break;
            };
            (offset, window.end) = (piece.start, piece.end);
        }
        let Some(header) =
            format::parse_header(window.read(offset, RECORD_HEADER_BYTES)?, seed, offset)
        else {
            // Damage: go on behind it. What it hid shows at the next message that is wanted.
            offset = next_record(&mut window, seed, offset)?;
            continue;
        };
        let at = offset;
        offset += header.record_bytes() as u64;
        // In a kept log file there are also other queues, and messages that are in no run.
        if header.kind != Kind::Message || header.queue != queue.0 || !run.contains(header.position)
        {
            continue;
        }
        content.cursor = at as u32;
        if header.position < expected {
            continue;
        }
        if header.position > next {
            content.damaged.push(next..header.position.min(range.end));
        }
        if header.position >= range.end {
            break;
        }
        let record = window.read(at, RECORD_HEADER_BYTES + header.length as usize)?;
        let payload = format::payload_of(record, &header).filter(|payload| header.matches(payload));
        let whole = match payload.map(|payload| (payload, Reference::of(&header, payload))) {
            Some((_, Some((reference, head)))) => tails
                .read(reference)?
                .map(|tail| Bytes::from([head, tail].concat())),
            Some((payload, None)) => Some(Bytes::copy_from_slice(payload)),
            None => None,
        };
        match whole {
            Some(whole) => {
                bytes += whole.len();
                content.messages.push((header.position, whole));
            }
            None => content.damaged.push(header.position..header.position + 1),
        }
        expected = header.position + 1;
    }
    Ok(content)
}

/// Offset of the next whole header behind `offset`; the end of the window's part if there is none.
fn next_record(window: &mut Window<'_>, seed: FileSeed, offset: u64) -> io::Result<u64> {
    let mut at = offset + format::ALIGN as u64;
    while at + (RECORD_HEADER_BYTES as u64) <= window.end {
        if format::parse_header(window.read(at, RECORD_HEADER_BYTES)?, seed, at).is_some() {
            return Ok(at);
        }
        at += format::ALIGN as u64;
    }
    Ok(window.end)
}

/// Reads a file forwards in large pieces.
pub(crate) struct Window<'a> {
    file: &'a Arc<dyn DiskFile>,
    start: u64,
    bytes: Vec<u8>,
    end: u64,
}

impl<'a> Window<'a> {
    /// Of the part of `file` before `end`.
    pub(crate) fn new(file: &'a Arc<dyn DiskFile>, end: u64) -> Self {
        Self {
            file,
            start: 0,
            bytes: Vec::new(),
            end,
        }
    }

    /// `length` bytes at `offset`, fewer if the file or the part ends before.
    pub(crate) fn read(&mut self, offset: u64, length: usize) -> io::Result<&[u8]> {
        let length = length.min(self.end.saturating_sub(offset) as usize);
        let inside =
            offset >= self.start && offset + length as u64 <= self.start + self.bytes.len() as u64;
        if !inside {
            let wanted = length
                .max(READ_BYTES)
                .min(self.end.saturating_sub(offset) as usize);
            self.bytes.resize(wanted, 0);
            let count = self.file.read_at(&mut self.bytes, offset)?;
            self.bytes.truncate(count);
            self.start = offset;
        }
        let from = (offset - self.start) as usize;
        Ok(&self.bytes[from..(from + length).min(self.bytes.len())])
    }
}

/// Reads parts of a file: through a window where one lies closely behind the other, since more such will follow, and one by one
/// where they do not.
pub(crate) struct Near<'a> {
    window: Window<'a>,
    last_end: u64,
    single: Vec<u8>,
}

impl<'a> Near<'a> {
    /// What lies no further behind the last part than this is read through the window.
    const NEAR_BYTES: u64 = 8 << 10;

    pub(crate) fn new(file: &'a Arc<dyn DiskFile>) -> Self {
        Self {
            window: Window::new(file, u64::MAX),
            last_end: 0,
            single: Vec::new(),
        }
    }

    /// `length` bytes at `offset`, fewer if the file ends before.
    pub(crate) fn read(&mut self, offset: u64, length: usize) -> io::Result<&[u8]> {
        let near = offset >= self.last_end && offset - self.last_end < Self::NEAR_BYTES;
        self.last_end = offset + length as u64;
        if near {
            return self.window.read(offset, length);
        }
        self.single.resize(length, 0);
        let count = self.window.file.read_at(&mut self.single, offset)?;
        Ok(&self.single[..count])
    }
}

/// Reads the tails that messages of one log file share.
pub(crate) struct TailSource<'a> {
    records: Near<'a>,
    seed: FileSeed,
}

impl<'a> TailSource<'a> {
    pub(crate) fn new(file: &'a Arc<dyn DiskFile>, seed: FileSeed) -> Self {
        Self {
            records: Near::new(file),
            seed,
        }
    }

    /// The tail that a message refers to. `None` if it is damaged.
    pub(crate) fn read(&mut self, reference: Reference) -> io::Result<Option<&[u8]>> {
        let offset = u64::from(reference.offset);
        let size = RECORD_HEADER_BYTES + reference.length as usize;
        let record = format::parse_record(self.records.read(offset, size)?, self.seed, offset);
        let tail = record.filter(|(header, _)| header.kind == Kind::Tail);
        Ok(tail.map(|(_, tail)| tail))
    }
}
