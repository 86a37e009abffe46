//! Bytes on their way to the client.
//!
//! Frames are encoded into one growing vector. A large message body is not copied: its `Bytes` is kept beside the vector
//! with the place where it belongs, and the driver writes both with one vectored write.
//! It does not write, and it has no limit of its own: the connection stops reading while it is too full.
//!
//! ```text
//! encoded:  [deliver|header|body header][end|deliver|…]
//!                                       ^ insert: 16 KiB body
//! ```

use bytes::Bytes;
use codec_amqp091::{FRAME_MIN_SIZE, FRAME_OVERHEAD};
use std::collections::VecDeque;
use std::io::IoSlice;

/// Bodies of this size and more are written from where they are instead of being copied. Smaller ones fit one frame, whatever
/// was negotiated.
pub(crate) const COPY_SIZE_MAX: usize = FRAME_MIN_SIZE as usize - FRAME_OVERHEAD;
/// An empty buffer that is larger than this gives its memory back.
const IDLE_CAPACITY_MAX: usize = 64 * 1024;
/// Written bytes at the front of the vector are dropped once there are this many and they are the larger part.
const COMPACT_SIZE_MIN: usize = 64 * 1024;

/// What is to be sent, in order.
#[derive(Debug, Default)]
pub struct OutBuffer {
    encoded: Vec<u8>,
    /// Bytes of `encoded` that were written.
    written: usize,
    inserts: VecDeque<Insert>,
    /// Bytes in `inserts` that are still to be written.
    inserted_bytes: usize,
    /// Bytes that were ever added. The heartbeat looks whether it moved.
    appended_total: u64,
    /// How often some of it was written.
    writes: u64,
}

#[derive(Debug)]
struct Insert {
    /// Offset in `encoded` before which the chunk belongs.
    at: usize,
    chunk: Bytes,
}

impl OutBuffer {
    /// Bytes that wait.
    pub fn len(&self) -> usize {
        self.encoded.len() - self.written + self.inserted_bytes
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Fills `slices` with what is next, in order, and returns how many were set.
    pub fn io_slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut used = 0;
        let mut from = self.written;
        let mut put = |part: &'a [u8]| {
            if part.is_empty() {
                return true;
            }
            let Some(slot) = slices.get_mut(used) else {
                return false;
            };
            *slot = IoSlice::new(part);
            used += 1;
            true
        };
        for insert in &self.inserts {
            if !put(&self.encoded[from..insert.at]) || !put(&insert.chunk) {
                return used;
            }
            from = insert.at;
        }
        put(&self.encoded[from..]);
        used
    }

    /// Forgets the first `count` bytes, which were written.
    ///
    /// # Panics
    /// If fewer bytes wait.
    pub fn advance(&mut self, mut count: usize) {
        assert!(count <= self.len(), "more bytes written than there were");
        self.writes += 1;
        while let Some(insert) = self.inserts.front_mut() {
            let before = insert.at - self.written;
            if count < before {
                break;
            }
            count -= before;
            self.written = insert.at;
            let of_chunk = count.min(insert.chunk.len());
            bytes::Buf::advance(&mut insert.chunk, of_chunk);
            self.inserted_bytes -= of_chunk;
            count -= of_chunk;
            if !insert.chunk.is_empty() {
                break;
            }
            self.inserts.pop_front();
        }
        self.written += count;
        self.reclaim();
    }

    /// How often some of it was written.
    pub(crate) fn writes(&self) -> u64 {
        self.writes
    }

    /// The vector to encode frames into.
    pub(crate) fn encoded(&mut self) -> &mut Vec<u8> {
        &mut self.encoded
    }

    /// Adds bytes without copying them.
    pub(crate) fn insert(&mut self, chunk: Bytes) {
        self.inserted_bytes += chunk.len();
        self.appended_total += chunk.len() as u64;
        self.inserts.push_back(Insert {
            at: self.encoded.len(),
            chunk,
        });
    }

    /// A mark that changes whenever something was added.
    pub(crate) fn mark(&self) -> u64 {
        self.appended_total + self.encoded.len() as u64
    }

    fn reclaim(&mut self) {
        if self.is_empty() {
            self.appended_total += self.encoded.len() as u64;
            self.encoded.clear();
            self.written = 0;
            if self.encoded.capacity() > IDLE_CAPACITY_MAX {
                self.encoded = Vec::new();
            }
        } else if self.written >= COMPACT_SIZE_MIN && self.written > self.encoded.len() / 2 {
            self.appended_total += self.written as u64;
            self.encoded.drain(..self.written);
            for insert in &mut self.inserts {
                insert.at -= self.written;
            }
            self.written = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents(out: &OutBuffer) -> Vec<u8> {
        let mut slices = [IoSlice::new(&[]); 16];
        let used = out.io_slices(&mut slices);
        slices[..used]
            .iter()
            .flat_map(|slice| slice.to_vec())
            .collect()
    }

    fn filled() -> (OutBuffer, Vec<u8>) {
        let mut out = OutBuffer::default();
        out.encoded().extend_from_slice(b"abc");
        out.insert(Bytes::from_static(b"DEF"));
        out.insert(Bytes::from_static(b"GH"));
        out.encoded().extend_from_slice(b"ij");
        out.insert(Bytes::from_static(b"K"));
        (out, b"abcDEFGHijK".to_vec())
    }

    #[test]
    fn inserts_stay_in_their_place() {
        let (out, expected) = filled();
        assert_eq!(contents(&out), expected);
        assert_eq!(out.len(), expected.len());
    }

    #[test]
    fn every_partial_write_leaves_the_rest() {
        for first in 0..=11 {
            for second in 0..=(11 - first) {
                let (mut out, expected) = filled();
                out.advance(first);
                out.advance(second);
                assert_eq!(
                    contents(&out),
                    &expected[first + second..],
                    "{first} then {second}"
                );
                assert_eq!(out.len(), 11 - first - second);
            }
        }
    }

    #[test]
    fn a_steady_backlog_does_not_grow_the_vector() {
        let mut out = OutBuffer::default();
        out.encoded().extend_from_slice(&[7; 1000]);
        for _ in 0..10_000 {
            out.encoded().extend_from_slice(&[7; 1000]);
            out.advance(1000);
        }
        assert!(out.encoded.capacity() < 4 * COMPACT_SIZE_MIN);
        assert_eq!(out.len(), 1000);
    }

    #[test]
    fn the_mark_moves_with_every_addition_and_never_by_writing() {
        let (mut out, expected) = filled();
        let mark = out.mark();
        out.advance(expected.len());
        assert_eq!(out.mark(), mark);
        out.encoded().push(1);
        assert_ne!(out.mark(), mark);
    }
}
