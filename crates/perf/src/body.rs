//! What a message body carries.
//!
//! ```text
//!   0        8        12         16         24      28
//!   +--------+--------+----------+----------+-------+----------
//!   | sent   | run    | producer | sequence | crc32 | filler …
//!   | u64 ns | u32    | u32      | u64      | u32   |
//!   +--------+--------+----------+----------+-------+----------
//! ```
//!
//! All integers are big endian. A body is as long as the user asked for and the layout is simply cut off there: from
//! 8 bytes on there is a time and so a latency, from 28 bytes on the body can be verified.
//! The CRC covers everything but itself, filler included; it is written only when verification is on.

/// Bytes needed for the time of sending.
pub(crate) const TIMESTAMP_LEN: usize = 8;
/// Bytes needed for verification.
pub(crate) const VERIFIED_LEN: usize = 28;

const RUN: usize = 8;
const PRODUCER: usize = 12;
const SEQUENCE: usize = 16;
const CRC: usize = 24;

/// The identity of one message of one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MessageId {
    /// Tells this run from leftovers of another in the same queue.
    pub(crate) run: u32,
    /// Number of the producer channel within the run.
    pub(crate) producer: u32,
    /// Counts each producer's messages from 0.
    pub(crate) sequence: u64,
}

/// What reading a body for verification found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verified {
    /// The body is as it was sent.
    Intact(MessageId),
    /// Too short, or the CRC does not match.
    Corrupt,
}

/// A body of `size` bytes with its fixed parts and filler in place.
pub(crate) fn new_body(size: usize, run: u32) -> Vec<u8> {
    // The filler is not constant, so that a wrong offset or a compressing path shows.
    let mut body: Vec<u8> = (0..size).map(|index| (index % 251) as u8).collect();
    put(&mut body, RUN, &run.to_be_bytes());
    body
}

/// Stamps the next message's time, producer and sequence number into `body`.
#[inline]
pub(crate) fn stamp(body: &mut [u8], sent_ns: u64, producer: u32, sequence: u64) {
    put(body, 0, &sent_ns.to_be_bytes());
    put(body, PRODUCER, &producer.to_be_bytes());
    put(body, SEQUENCE, &sequence.to_be_bytes());
}

/// Writes the CRC over the stamped body.
pub(crate) fn seal(body: &mut [u8]) {
    if let Some(crc) = checksum(body) {
        put(body, CRC, &crc.to_be_bytes());
    }
}

/// The time of sending, if the body is long enough to carry one.
#[inline]
pub(crate) fn sent_ns(body: &[u8]) -> Option<u64> {
    body.first_chunk().copied().map(u64::from_be_bytes)
}

/// Reads and checks a sealed body.
pub(crate) fn verify(body: &[u8]) -> Verified {
    let (Some(expected), Some(found)) = (checksum(body), u32_at(body, CRC)) else {
        return Verified::Corrupt;
    };
    let (Some(run), Some(producer), Some(sequence)) = (
        u32_at(body, RUN),
        u32_at(body, PRODUCER),
        u64_at(body, SEQUENCE),
    ) else {
        return Verified::Corrupt;
    };
    if expected != found {
        return Verified::Corrupt;
    }
    Verified::Intact(MessageId {
        run,
        producer,
        sequence,
    })
}

/// Writes `bytes` at `offset`, or as much of them as the body has room for.
fn put(body: &mut [u8], offset: usize, bytes: &[u8]) {
    if let Some(field) = body.get_mut(offset..) {
        let len = field.len().min(bytes.len());
        field[..len].copy_from_slice(&bytes[..len]);
    }
}

fn checksum(body: &[u8]) -> Option<u32> {
    let (head, rest) = (body.get(..CRC)?, body.get(VERIFIED_LEN..)?);
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(head);
    hasher.update(rest);
    Some(hasher.finalize())
}

fn u32_at(body: &[u8], offset: usize) -> Option<u32> {
    body.get(offset..)?
        .first_chunk()
        .copied()
        .map(u32::from_be_bytes)
}

fn u64_at(body: &[u8], offset: usize) -> Option<u64> {
    body.get(offset..)?
        .first_chunk()
        .copied()
        .map(u64::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_body_reads_back() {
        for size in [VERIFIED_LEN, 29, 1024] {
            let mut body = new_body(size, 7);
            stamp(&mut body, 123_456_789, 3, 42);
            seal(&mut body);
            assert_eq!(body.len(), size);
            assert_eq!(sent_ns(&body), Some(123_456_789));
            let id = MessageId {
                run: 7,
                producer: 3,
                sequence: 42,
            };
            assert_eq!(verify(&body), Verified::Intact(id));
        }
    }

    #[test]
    fn any_changed_byte_is_corruption() {
        let mut body = new_body(40, 1);
        stamp(&mut body, 5, 2, 6);
        seal(&mut body);
        for index in 0..body.len() {
            let mut damaged = body.clone();
            damaged[index] ^= 0x10;
            assert_eq!(verify(&damaged), Verified::Corrupt, "byte {index}");
        }
        assert_eq!(verify(&body[..39]), Verified::Corrupt);
        assert_eq!(verify(&[]), Verified::Corrupt);
    }

    #[test]
    fn short_bodies_are_cut_not_refused() {
        for size in 0..VERIFIED_LEN {
            let mut body = new_body(size, u32::MAX);
            stamp(&mut body, 9, 9, 9);
            seal(&mut body);
            assert_eq!(body.len(), size);
            assert_eq!(sent_ns(&body), (size >= TIMESTAMP_LEN).then_some(9));
        }
    }
}
