//! Messages that a channel was given and has not settled, by delivery tag.
//!
//! Tags only grow, so the list is sorted by itself: an ack of the oldest is a pop, one in the middle a search that begins
//! with a good guess and leaves a hole. It grows with what queues deliver, which prefetch counts and the connection's send
//! windows bound. It does not talk to queues.
//!
//! Invariant: tags ascend; the first entry is not a hole; holes are never more than half of a long list.

use base::{ConsumerTagIndex, Position, QueueRef};
use std::collections::VecDeque;

/// A position that no message has.
const NOWHERE: Position = Position(u64::MAX);

/// Shorter lists are not searched for holes.
const COMPACT_LENGTH_MIN: usize = 64;

/// A message that waits for its ack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Delivery {
    pub(crate) tag: u64,
    pub(crate) queue: QueueRef,
    pub(crate) position: Position,
    /// Who got it; `None` for basic.get.
    pub(crate) consumer: Option<ConsumerTagIndex>,
}

#[derive(Debug, Default)]
pub(crate) struct Unacked {
    entries: VecDeque<Entry>,
    holes: usize,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    delivery: Delivery,
    settled: bool,
}

impl Unacked {
    pub(crate) fn len(&self) -> usize {
        self.entries.len() - self.holes
    }

    /// Adds a delivery; its tag must be larger than all before.
    pub(crate) fn push(&mut self, delivery: Delivery) {
        debug_assert!(
            self.entries
                .back()
                .is_none_or(|last| last.delivery.tag < delivery.tag)
        );
        self.entries.push_back(Entry {
            delivery,
            settled: false,
        });
    }

    /// Takes one delivery out, if it is there.
    pub(crate) fn remove(&mut self, tag: u64) -> Option<Delivery> {
        let first = self.entries.front()?.delivery.tag;
        if tag == first {
            let delivery = self.entries.pop_front()?.delivery;
            self.trim();
            return Some(delivery);
        }
        let index = self.index_of(first, tag)?;
        let entry = &mut self.entries[index];
        if entry.settled {
            return None;
        }
        entry.settled = true;
        let delivery = entry.delivery;
        self.holes += 1;
        self.compact();
        Some(delivery)
    }

    /// Takes out everything up to and including `tag`, 0 meaning everything, in order of tags. `None` if there is no
    /// such tag: not even a later one can be meant then.
    pub(crate) fn remove_up_to(&mut self, tag: u64) -> Option<impl Iterator<Item = Delivery> + '_> {
        let count = if tag == 0 {
            self.entries.len()
        } else {
            let index = self.index_of(self.entries.front()?.delivery.tag, tag)?;
            if self.entries[index].settled {
                return None;
            }
            index + 1
        };
        self.holes -= self
            .entries
            .range(..count)
            .filter(|entry| entry.settled)
            .count();
        let mut taken: VecDeque<Entry> = if count == self.entries.len() {
            std::mem::take(&mut self.entries)
        } else {
            self.entries.drain(..count).collect()
        };
        self.trim();
        taken.retain(|entry| !entry.settled);
        Some(taken.into_iter().map(|entry| entry.delivery))
    }

    /// The queue has taken messages of its own back: what is said about them from now on is heard and means nothing.
    pub(crate) fn forget_positions(
        &mut self,
        queue: QueueRef,
        consumer: Option<ConsumerTagIndex>,
        positions: &[Position],
    ) {
        for entry in &mut self.entries {
            let delivery = &mut entry.delivery;
            if delivery.queue == queue
                && delivery.consumer == consumer
                && positions.contains(&delivery.position)
            {
                delivery.position = NOWHERE;
            }
        }
    }

    /// Puts deliveries back that were taken out, at their places.
    pub(crate) fn restore(&mut self, deliveries: impl IntoIterator<Item = Delivery>) {
        self.entries.retain(|entry| !entry.settled);
        self.holes = 0;
        self.entries
            .extend(deliveries.into_iter().map(|delivery| Entry {
                delivery,
                settled: false,
            }));
        self.entries
            .make_contiguous()
            .sort_by_key(|entry| entry.delivery.tag);
    }

    fn index_of(&self, first: u64, tag: u64) -> Option<usize> {
        // Tags ascend by at least one, so the entry is at `tag - first` or before; it is exactly there unless tags in
        // between belonged to deliveries without ack.
        let latest = usize::try_from(tag.checked_sub(first)?).ok()?;
        if let Some(entry) = self.entries.get(latest)
            && entry.delivery.tag == tag
        {
            return Some(latest);
        }
        self.entries
            .binary_search_by_key(&tag, |entry| entry.delivery.tag)
            .ok()
    }

    fn trim(&mut self) {
        while self.entries.front().is_some_and(|entry| entry.settled) {
            self.entries.pop_front();
            self.holes -= 1;
        }
    }

    fn compact(&mut self) {
        if self.entries.len() >= COMPACT_LENGTH_MIN && self.holes > self.entries.len() / 2 {
            self.entries.retain(|entry| !entry.settled);
            self.holes = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivery(tag: u64) -> Delivery {
        Delivery {
            tag,
            queue: QueueRef {
                id: base::QueueId(1),
                shard: base::ShardId(0),
            },
            position: Position(tag),
            consumer: None,
        }
    }

    fn unacked(tags: impl IntoIterator<Item = u64>) -> Unacked {
        let mut unacked = Unacked::default();
        for tag in tags {
            unacked.push(delivery(tag));
        }
        unacked
    }

    fn take(unacked: &mut Unacked, tag: u64) -> Option<Vec<u64>> {
        Some(
            unacked
                .remove_up_to(tag)?
                .map(|delivery| delivery.tag)
                .collect(),
        )
    }

    #[test]
    fn tags_with_gaps_are_found() {
        let mut unacked = unacked([2, 3, 7, 8, 20]);
        assert_eq!(unacked.remove(7).map(|d| d.tag), Some(7));
        assert_eq!(unacked.remove(7), None);
        assert_eq!(unacked.remove(5), None);
        assert_eq!(unacked.remove(1), None);
        assert_eq!(unacked.remove(u64::MAX), None);
        assert_eq!(take(&mut unacked, 7), None);
        assert_eq!(take(&mut unacked, 8), Some(vec![2, 3, 8]));
        assert_eq!(unacked.len(), 1);
        assert_eq!(take(&mut unacked, 0), Some(vec![20]));
        assert_eq!(take(&mut unacked, 0), Some(vec![]));
        assert_eq!(take(&mut unacked, 20), None);
    }

    #[test]
    fn acks_in_reverse_leave_no_more_holes_than_entries() {
        let mut unacked = unacked(1..=10_000);
        for tag in (2..=10_000).rev() {
            assert!(unacked.remove(tag).is_some());
            assert!(unacked.entries.len() <= 2 * unacked.len() + COMPACT_LENGTH_MIN);
        }
        assert_eq!(unacked.len(), 1);
        assert!(unacked.remove(1).is_some());
        assert!(unacked.entries.is_empty());
    }

    #[test]
    fn what_is_restored_is_in_its_place() {
        let mut unacked = unacked(1..=5);
        let taken: Vec<_> = [4, 2]
            .iter()
            .filter_map(|tag| unacked.remove(*tag))
            .collect();
        unacked.restore(taken);
        assert_eq!(take(&mut unacked, 0), Some(vec![1, 2, 3, 4, 5]));
    }
}
