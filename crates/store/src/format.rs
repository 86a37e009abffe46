//! Bytes on disk: file headers, records and their checksums. No I/O and no decisions.
//!
//! ```text
//! record   0        4        8        12  13  14   16       24       32
//!          ├────────┼────────┼────────┼───┼───┼────┼────────┼────────┼───────────┬─────────┐
//!          │head crc│body crc│ length │typ│flg│magi│ queue  │position│  payload  │ 0 … pad │
//!          └────────┴────────┴────────┴───┴───┴────┴────────┴────────┴───────────┴─────────┘
//! ```
//!
//! All integers are little endian; records start at multiples of [`ALIGN`].
//! The head crc covers bytes 4..32 and is seeded with the directory's identity, the file's epoch (or segment id)
//! and the record's offset: a record that is stale, copied elsewhere or forged inside a payload does not parse.
//! The body crc covers the payload and is itself covered by the head crc.

use crate::{MetadataIndex, Payload, Record};
use base::{Position, QueueId};
use crc32fast::Hasher;
use hashbrown::HashMap;
use hashbrown::hash_map::Entry;

/// Version of a data directory, kept in its file `format`: 2 may have shared tails in its log files. A directory of version 1 is
/// one of version 2 that has none.
pub(crate) const FORMAT_VERSION: u8 = 2;
/// Version in the headers of all other files. A change of their layout that [`FORMAT_VERSION`] does not tell increments it.
pub(crate) const FILE_VERSION: u8 = 1;
/// Version of the checkpoint, which has one of its own: 2 may name log files that were kept. 1 can be read.
pub(crate) const CHECKPOINT_VERSION: u8 = 2;

/// Records start at multiples of this many bytes.
pub(crate) const ALIGN: usize = 8;
/// Size of a record's header.
pub(crate) const RECORD_HEADER_BYTES: usize = 32;
const MAGIC: u16 = 0x4D57;

/// Where records start in a log file: behind two copies of its header, each in a sector of its own.
pub(crate) const WAL_DATA_OFFSET: usize = 1024;
const WAL_HEADER_COPIES: [usize; 2] = [0, 512];
const WAL_MAGIC: [u8; 8] = *b"WARRNWAL";
/// Where records start in a segment file.
pub(crate) const SEGMENT_DATA_OFFSET: usize = 64;
const SEGMENT_MAGIC: [u8; 8] = *b"WARRNSEG";
const FILE_HEADER_BYTES: usize = 48;

/// Room that a group's own record takes.
pub(crate) const GROUP_BYTES: usize = RECORD_HEADER_BYTES + 8;
/// Room that the record at the end of a full log file takes.
pub(crate) const SEAL_BYTES: usize = RECORD_HEADER_BYTES;

/// The message was paged out only to save memory.
pub(crate) const FLAG_TRANSIENT: u8 = 1;
/// The seal was written by an orderly shutdown.
pub(crate) const FLAG_CLEAN: u8 = 2;
/// The message's payload is a [`Reference`]: its tail is in another record of the file.
pub(crate) const FLAG_REFERENCE: u8 = 4;

/// What a reference takes in front of the head.
pub(crate) const REFERENCE_BYTES: usize = 8;
/// Longest head of a message that may refer to a tail, so that the size of its record fits one byte of the index.
pub(crate) const REFERENCE_HEAD_MAX: usize = 128;

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// Starts the records that were written together; `queue` holds the group's lsn, `position` the newest lsn
    /// known durable when it was written, the payload the bytes (u32) and count (u32) of its records.
    Group = 1,
    Message = 2,
    /// Payload: first position that is not settled (u64).
    Settled = 3,
    DeliveredUpTo = 4,
    DropQueue = 5,
    /// `position` holds the metadata index.
    Metadata = 6,
    /// The end of a full, recovered or closed log file; it was durable before anything was written elsewhere.
    Seal = 7,
    /// What several messages of its group end with. Nothing says that they are gone: it goes with its file.
    Tail = 8,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Self> {
        [
            Self::Group,
            Self::Message,
            Self::Settled,
            Self::DeliveredUpTo,
            Self::DropQueue,
            Self::Metadata,
            Self::Seal,
            Self::Tail,
        ]
        .into_iter()
        .find(|kind| *kind as u8 == byte)
    }
}

/// The identity of a file, from which the checksums of its records are seeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileSeed(u64);

impl FileSeed {
    /// Of a log file in its `epoch`, written by the process of `salt`.
    pub(crate) fn wal(identity: u64, epoch: u64, salt: u64) -> Self {
        Self(mix(identity ^ mix(epoch ^ mix(salt))))
    }

    /// Of the segment `id`.
    pub(crate) fn segment(identity: u64, id: u64) -> Self {
        Self(mix(identity ^ mix(!id)))
    }

    fn at(self, offset: u64) -> Hasher {
        let seed = (self.0 ^ (self.0 >> 32)) as u32;
        // Offsets are multiples of 8: all offsets of a file below 32 GiB get different seeds.
        Hasher::new_with_initial(seed ^ (offset / ALIGN as u64) as u32)
    }
}

/// The finaliser of SplitMix64: a bijection that spreads every input bit.
pub(crate) fn mix(mut value: u64) -> u64 {
    value = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

/// A record's header, parsed and verified.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header {
    pub(crate) kind: Kind,
    pub(crate) flags: u8,
    pub(crate) queue: u64,
    pub(crate) position: u64,
    /// Payload bytes.
    pub(crate) length: u32,
    body_crc: u32,
}

impl Header {
    /// Bytes from this record's start to the next one's.
    pub(crate) fn record_bytes(&self) -> usize {
        padded(RECORD_HEADER_BYTES + self.length as usize)
    }

    /// Whether `payload` is what was written.
    pub(crate) fn matches(&self, payload: &[u8]) -> bool {
        payload.len() == self.length as usize && crc32fast::hash(payload) == self.body_crc
    }
}

/// Rounds up to where the next record starts.
pub(crate) fn padded(bytes: usize) -> usize {
    bytes.next_multiple_of(ALIGN)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

/// Reads the header at the start of `bytes`, which lie at `offset` of their file. `None` if there is none.
pub(crate) fn parse_header(bytes: &[u8], seed: FileSeed, offset: u64) -> Option<Header> {
    let bytes = bytes.get(..RECORD_HEADER_BYTES)?;
    if bytes[14..16] != MAGIC.to_le_bytes() {
        return None;
    }
    let mut crc = seed.at(offset);
    crc.update(&bytes[4..]);
    if crc.finalize() != u32_at(bytes, 0) {
        return None;
    }
    Some(Header {
        kind: Kind::from_byte(bytes[12])?,
        flags: bytes[13],
        queue: u64_at(bytes, 16),
        position: u64_at(bytes, 24),
        length: u32_at(bytes, 8),
        body_crc: u32_at(bytes, 4),
    })
}

/// Reads the record at the start of `bytes`. `None` if its header or payload is not as written or is cut off.
pub(crate) fn parse_record(bytes: &[u8], seed: FileSeed, offset: u64) -> Option<(Header, &[u8])> {
    let header = parse_header(bytes, seed, offset)?;
    let payload = payload_of(bytes, &header)?;
    header.matches(payload).then_some((header, payload))
}

/// The payload behind a header, unverified. `None` if it is cut off.
pub(crate) fn payload_of<'a>(bytes: &'a [u8], header: &Header) -> Option<&'a [u8]> {
    bytes.get(RECORD_HEADER_BYTES..RECORD_HEADER_BYTES + header.length as usize)
}

/// Where the tail of a message is that shares it with others.
///
/// ```text
/// payload of the message   u32 offset in the file of the record with the tail | u32 bytes of the tail | head
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reference {
    /// Offset of the tail's record in the same file.
    pub(crate) offset: u32,
    /// Bytes of the tail.
    pub(crate) length: u32,
}

impl Reference {
    /// The reference in the payload of a message, and the head behind it. `None` if the payload is the message itself.
    pub(crate) fn of<'a>(header: &Header, payload: &'a [u8]) -> Option<(Self, &'a [u8])> {
        if header.kind != Kind::Message || header.flags & FLAG_REFERENCE == 0 {
            return None;
        }
        let (reference, head) = payload.split_at_checked(REFERENCE_BYTES)?;
        let (offset, length) = (u32_at(reference, 0), u32_at(reference, 4));
        Some((Self { offset, length }, head))
    }
}

/// The tails that were written in a group, by what their owner calls them.
pub(crate) type Tails = HashMap<usize, Reference>;

/// Where a record is and what it is the record of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Written {
    /// Offset in the file.
    pub(crate) offset: u64,
    /// Bytes of its payload; of a message, of head and tail.
    pub(crate) length: u32,
    /// Of a message whose tail is elsewhere: the bytes of its record's own payload; 0 for all others.
    pub(crate) reference: u8,
}

/// Whether `payload` is written with a reference: what it calls its tail.
pub(crate) fn tail_id(payload: &impl Payload) -> Option<usize> {
    payload
        .tail_id()
        .filter(|_| payload.head_len() <= REFERENCE_HEAD_MAX)
}

/// Appends records to a buffer that will be written at `base` of the file.
#[derive(Debug)]
pub(crate) struct Encoder<'a> {
    pub(crate) out: &'a mut Vec<u8>,
    /// Offset in the file of the buffer's first byte.
    pub(crate) base: u64,
    pub(crate) seed: FileSeed,
}

impl Encoder<'_> {
    /// Appends a record whose payload `write` appends; returns the offset of the record in the file.
    pub(crate) fn record(
        &mut self,
        kind: Kind,
        flags: u8,
        (queue, position): (u64, u64),
        write: impl FnOnce(&mut Vec<u8>),
    ) -> u64 {
        let start = self.out.len();
        self.out.resize(start + RECORD_HEADER_BYTES, 0);
        write(self.out);
        self.finish(start, kind, flags, (queue, position));
        self.base + start as u64
    }

    /// Starts a group; [`Encoder::end_group`] fills in what is known at its end.
    pub(crate) fn begin_group(&mut self) -> usize {
        let start = self.out.len();
        self.out.resize(start + GROUP_BYTES, 0);
        start
    }

    /// Completes the group begun at `start`.
    pub(crate) fn end_group(&mut self, start: usize, records: u32, lsn: u64, durable_lsn: u64) {
        let bytes = (self.out.len() - start - GROUP_BYTES) as u32;
        self.out[start + RECORD_HEADER_BYTES..][..4].copy_from_slice(&bytes.to_le_bytes());
        self.out[start + RECORD_HEADER_BYTES + 4..][..4].copy_from_slice(&records.to_le_bytes());
        let body = crc32fast::hash(&self.out[start + RECORD_HEADER_BYTES..start + GROUP_BYTES]);
        self.head(start, (8, body), Kind::Group, 0, (lsn, durable_lsn));
    }

    /// Appends a record as its owner described it. The tail of a message is left out if `tails` has it; otherwise, if others
    /// may share it, it gets there.
    pub(crate) fn owner_record<P: Payload>(
        &mut self,
        record: &Record<P>,
        metadata: MetadataIndex,
        tails: &mut Tails,
    ) -> Written {
        let before = self.out.len();
        let offset = match record {
            Record::Message {
                queue,
                position,
                transient,
                payload,
            } => {
                let flags = if *transient { FLAG_TRANSIENT } else { 0 };
                let ids = (queue.0, position.0);
                if let Some(id) = tail_id(payload) {
                    let tail = match tails.entry(id) {
                        Entry::Occupied(known) => *known.get(),
                        Entry::Vacant(new) => *new.insert(self.tail(payload)),
                    };
                    return self.referring(flags, ids, payload, tail);
                }
                self.record(Kind::Message, flags, ids, |out| {
                    payload.write_head_to(out);
                    payload.write_tail_to(out);
                })
            }
            Record::Settled { queue, from, until } => {
                self.record(Kind::Settled, 0, (queue.0, from.0), |out| {
                    out.extend_from_slice(&until.0.to_le_bytes())
                })
            }
            Record::DeliveredUpTo { queue, until } => {
                self.record(Kind::DeliveredUpTo, 0, (queue.0, until.0), |_| ())
            }
            Record::DropQueue { queue } => self.record(Kind::DropQueue, 0, (queue.0, 0), |_| ()),
            Record::Metadata(command) => self.record(Kind::Metadata, 0, (0, metadata.0), |out| {
                out.extend_from_slice(command)
            }),
        };
        Written {
            offset,
            length: u32_at(self.out, before + 8),
            reference: 0,
        }
    }

    /// Appends the tail of a message, which others may refer to as well.
    fn tail<P: Payload>(&mut self, payload: &P) -> Reference {
        let before = self.out.len();
        let offset = self.record(Kind::Tail, 0, (0, 0), |out| payload.write_tail_to(out));
        Reference {
            offset: u32::try_from(offset).expect("log files are smaller than 4 GiB"),
            length: u32_at(self.out, before + 8),
        }
    }

    /// Appends a message whose tail is elsewhere.
    fn referring<P: Payload>(
        &mut self,
        flags: u8,
        ids: (u64, u64),
        payload: &P,
        tail: Reference,
    ) -> Written {
        let before = self.out.len();
        let offset = self.record(Kind::Message, flags | FLAG_REFERENCE, ids, |out| {
            out.extend_from_slice(&tail.offset.to_le_bytes());
            out.extend_from_slice(&tail.length.to_le_bytes());
            payload.write_head_to(out);
        });
        let own = u32_at(self.out, before + 8);
        Written {
            offset,
            length: own - REFERENCE_BYTES as u32 + tail.length,
            reference: u8::try_from(own).expect("REFERENCE_HEAD_MAX limits it"),
        }
    }

    fn finish(&mut self, start: usize, kind: Kind, flags: u8, ids: (u64, u64)) {
        let payload = &self.out[start + RECORD_HEADER_BYTES..];
        let length =
            u32::try_from(payload.len()).expect("submit refuses payloads above RECORD_BYTES_MAX");
        let body = crc32fast::hash(payload);
        self.head(start, (length, body), kind, flags, ids);
        self.out.resize(padded(self.out.len()), 0);
    }

    fn head(
        &mut self,
        start: usize,
        (length, body_crc): (u32, u32),
        kind: Kind,
        flags: u8,
        ids: (u64, u64),
    ) {
        let (queue, position) = ids;
        let mut crc = self.seed.at(self.base + start as u64);
        let header = &mut self.out[start..start + RECORD_HEADER_BYTES];
        header[4..8].copy_from_slice(&body_crc.to_le_bytes());
        header[8..12].copy_from_slice(&length.to_le_bytes());
        header[12] = kind as u8;
        header[13] = flags;
        header[14..16].copy_from_slice(&MAGIC.to_le_bytes());
        header[16..24].copy_from_slice(&queue.to_le_bytes());
        header[24..32].copy_from_slice(&position.to_le_bytes());
        crc.update(&header[4..]);
        header[..4].copy_from_slice(&crc.finalize().to_le_bytes());
    }
}

/// What the header of a log file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct WalHeader {
    /// Counts uses of log files: the next file has a higher one.
    pub(crate) epoch: u64,
    /// Lsn of the first group in the file.
    pub(crate) first_lsn: u64,
    /// Random number of the process that wrote it. A power cut may leave records of an epoch whose header is lost,
    /// and the epoch is then used again: the salt tells the records apart.
    pub(crate) salt: u64,
}

fn file_header(magic: [u8; 8], identity: u64, numbers: [u64; 3]) -> [u8; FILE_HEADER_BYTES] {
    let mut header = [0; FILE_HEADER_BYTES];
    header[..8].copy_from_slice(&magic);
    header[8] = FILE_VERSION;
    for (number, at) in numbers.iter().zip([16, 24, 32]) {
        header[at..at + 8].copy_from_slice(&number.to_le_bytes());
    }
    let mut crc = Hasher::new_with_initial(mix(identity) as u32);
    crc.update(&header[..40]);
    header[40..44].copy_from_slice(&crc.finalize().to_le_bytes());
    header
}

fn parse_file_header(bytes: &[u8], magic: [u8; 8], identity: u64) -> Option<[u64; 3]> {
    let bytes = bytes.get(..FILE_HEADER_BYTES)?;
    let numbers = [16, 24, 32].map(|at| u64_at(bytes, at));
    (bytes == file_header(magic, identity, numbers)).then_some(numbers)
}

/// Appends what stands in front of the records of a log file.
pub(crate) fn write_wal_header(out: &mut Vec<u8>, identity: u64, header: WalHeader) {
    let start = out.len();
    out.resize(start + WAL_DATA_OFFSET, 0);
    let bytes = file_header(
        WAL_MAGIC,
        identity,
        [header.epoch, header.first_lsn, header.salt],
    );
    for copy in WAL_HEADER_COPIES {
        out[start + copy..][..FILE_HEADER_BYTES].copy_from_slice(&bytes);
    }
}

/// The header of a log file. `None` if no copy of it is whole: the file was never written, or is damaged.
pub(crate) fn parse_wal_header(bytes: &[u8], identity: u64) -> Option<WalHeader> {
    // A power cut may leave one copy of the old epoch beside one of the new.
    WAL_HEADER_COPIES
        .into_iter()
        .filter_map(|copy| parse_file_header(bytes.get(copy..)?, WAL_MAGIC, identity))
        .map(|[epoch, first_lsn, salt]| WalHeader {
            epoch,
            first_lsn,
            salt,
        })
        .max()
}

/// Whether both copies of a log file's header were written once.
pub(crate) fn has_wal_header(bytes: &[u8]) -> bool {
    let written = |copy: usize| {
        bytes
            .get(copy..copy + FILE_HEADER_BYTES)
            .is_some_and(|copy| copy.iter().any(|byte| *byte != 0))
    };
    WAL_HEADER_COPIES.into_iter().all(written)
}

/// Appends what stands in front of the records of a segment.
pub(crate) fn write_segment_header(out: &mut Vec<u8>, identity: u64, id: u64) {
    let start = out.len();
    out.extend_from_slice(&file_header(SEGMENT_MAGIC, identity, [id, 0, 0]));
    out.resize(start + SEGMENT_DATA_OFFSET, 0);
}

/// A record of the log, as recovery reads it back.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Parsed<'a> {
    Message {
        queue: QueueId,
        position: Position,
        transient: bool,
        /// Bytes of head and tail.
        length: u32,
        /// As in [`Written`].
        reference: u8,
    },
    Settled {
        queue: QueueId,
        from: Position,
        until: Position,
    },
    DeliveredUpTo {
        queue: QueueId,
        until: Position,
    },
    DropQueue {
        queue: QueueId,
    },
    Metadata {
        index: u64,
        command: &'a [u8],
    },
    Group {
        lsn: u64,
        durable_lsn: u64,
        bytes: usize,
    },
    Seal {
        clean: bool,
    },
    Tail,
}

impl<'a> Parsed<'a> {
    /// `None` if the payload has the wrong size for its kind.
    pub(crate) fn new(header: &Header, payload: &'a [u8]) -> Option<Self> {
        let queue = QueueId(header.queue);
        let position = Position(header.position);
        Some(match header.kind {
            Kind::Message => {
                let transient = header.flags & FLAG_TRANSIENT != 0;
                let (length, reference) = match Reference::of(header, payload) {
                    Some((tail, head)) => (
                        u32::try_from(head.len()).ok()?.checked_add(tail.length)?,
                        u8::try_from(payload.len()).ok()?,
                    ),
                    None if header.flags & FLAG_REFERENCE != 0 => return None,
                    None => (header.length, 0),
                };
                Self::Message {
                    queue,
                    position,
                    transient,
                    length,
                    reference,
                }
            }
            Kind::Settled => Self::Settled {
                queue,
                from: position,
                until: Position(u64::from_le_bytes(payload.try_into().ok()?)),
            },
            Kind::DeliveredUpTo => Self::DeliveredUpTo {
                queue,
                until: position,
            },
            Kind::DropQueue => Self::DropQueue { queue },
            Kind::Metadata => Self::Metadata {
                index: header.position,
                command: payload,
            },
            Kind::Group if payload.len() == 8 => Self::Group {
                lsn: header.queue,
                durable_lsn: header.position,
                bytes: u32_at(payload, 0) as usize,
            },
            Kind::Group => return None,
            Kind::Seal => Self::Seal {
                clean: header.flags & FLAG_CLEAN != 0,
            },
            Kind::Tail => Self::Tail,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn encode(seed: FileSeed, base: u64) -> Vec<u8> {
        let mut out = Vec::new();
        let record = Record::Message {
            queue: QueueId(7),
            position: Position(9),
            transient: true,
            payload: Bytes::from_static(b"body"),
        };
        Encoder {
            out: &mut out,
            base,
            seed,
        }
        .owner_record(&record, MetadataIndex(0), &mut Tails::new());
        out
    }

    #[test]
    fn a_record_reads_back_only_where_it_was_written() {
        let seed = FileSeed::wal(1, 5, 0);
        let bytes = encode(seed, 1024);
        assert_eq!(bytes.len() % ALIGN, 0);
        let (header, payload) = parse_record(&bytes, seed, 1024).unwrap();
        assert_eq!(
            (header.kind, header.queue, header.position, payload),
            (Kind::Message, 7, 9, &b"body"[..])
        );
        assert!(parse_record(&bytes, seed, 1032).is_none(), "another place");
        assert!(
            parse_record(&bytes, FileSeed::wal(1, 6, 0), 1024).is_none(),
            "another epoch"
        );
        assert!(
            parse_record(&bytes, FileSeed::wal(2, 5, 0), 1024).is_none(),
            "another directory"
        );
        assert!(
            parse_record(&bytes, FileSeed::segment(1, 5), 1024).is_none(),
            "another kind of file"
        );
    }

    #[test]
    fn every_flipped_bit_of_a_record_is_seen() {
        let seed = FileSeed::wal(1, 5, 0);
        let bytes = encode(seed, 0);
        for bit in 0..(RECORD_HEADER_BYTES + 4) * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(parse_record(&flipped, seed, 0).is_none(), "bit {bit}");
        }
    }

    #[test]
    fn the_newer_copy_of_a_log_header_wins() {
        let header = |epoch| WalHeader {
            epoch,
            first_lsn: 1,
            salt: 2,
        };
        let (mut old, mut new) = (Vec::new(), Vec::new());
        write_wal_header(&mut old, 1, header(4));
        write_wal_header(&mut new, 1, header(5));
        assert_eq!(parse_wal_header(&new, 1), Some(header(5)));
        new[512..].copy_from_slice(&old[512..]);
        assert_eq!(parse_wal_header(&new, 1), Some(header(5)));
        new[0] ^= 1;
        assert_eq!(parse_wal_header(&new, 1), Some(header(4)));
        new[512] ^= 1;
        assert_eq!(parse_wal_header(&new, 1), None);
    }
}
