//! Publishes that wait for their confirm.
//!
//! Delivery tags count up from 1 on each channel, so a ring buffer indexed by tag holds them: a confirm of the oldest
//! ones pops them off the front, one out of order only marks its entry.

use std::collections::VecDeque;

/// A publish that waits for its confirm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Publish {
    /// When it was (meant to be) sent.
    pub(crate) sent_ns: u64,
    /// Index of its lane on the channel.
    pub(crate) lane: u32,
    /// Its number on the lane.
    pub(crate) sequence: u64,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Unconfirmed {
    /// Tag of the first entry.
    first: u64,
    /// `None` for those that were confirmed out of order.
    entries: VecDeque<Option<Publish>>,
    outstanding: u64,
}

impl Unconfirmed {
    pub(crate) fn new() -> Self {
        Self {
            first: 1,
            entries: VecDeque::new(),
            outstanding: 0,
        }
    }

    /// How many wait.
    #[inline]
    pub(crate) fn outstanding(&self) -> u64 {
        self.outstanding
    }

    /// The next publish was sent.
    #[inline]
    pub(crate) fn push(&mut self, publish: Publish) {
        self.entries.push_back(Some(publish));
        self.outstanding += 1;
    }

    /// Settles one publish, or with `multiple` all up to it, and calls `settled` for each that had been waiting.
    /// Returns how many these were. Tags that were never given out, or were settled before, count nothing; tag 0 with
    /// `multiple` means all.
    pub(crate) fn settle(
        &mut self,
        delivery_tag: u64,
        multiple: bool,
        mut settled: impl FnMut(Publish),
    ) -> u64 {
        let before = self.outstanding;
        let mut settle = |entry: &mut Option<Publish>| {
            if let Some(publish) = entry.take() {
                self.outstanding -= 1;
                settled(publish);
            }
        };
        if multiple {
            let count = match delivery_tag {
                0 => self.entries.len() as u64,
                tag => tag
                    .saturating_add(1)
                    .saturating_sub(self.first)
                    .min(self.entries.len() as u64),
            };
            self.entries
                .drain(..count as usize)
                .for_each(|mut entry| settle(&mut entry));
            self.first += count;
        } else if let Some(index) = delivery_tag.checked_sub(self.first)
            && let Some(entry) = usize::try_from(index)
                .ok()
                .and_then(|index| self.entries.get_mut(index))
        {
            settle(entry);
            while let Some(None) = self.entries.front() {
                self.entries.pop_front();
                self.first += 1;
            }
        }
        before - self.outstanding
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unconfirmed(count: u64) -> Unconfirmed {
        let mut unconfirmed = Unconfirmed::new();
        for tag in 1..=count {
            unconfirmed.push(Publish {
                sent_ns: tag * 10,
                lane: 0,
                sequence: tag - 1,
            });
        }
        unconfirmed
    }

    fn settle(unconfirmed: &mut Unconfirmed, delivery_tag: u64, multiple: bool) -> Vec<u64> {
        let mut tags = Vec::new();
        let count = unconfirmed.settle(delivery_tag, multiple, |publish| {
            tags.push(publish.sent_ns / 10)
        });
        assert_eq!(count, tags.len() as u64);
        tags
    }

    #[test]
    fn confirms_in_order_single_and_multiple() {
        let mut waiting = unconfirmed(5);
        assert_eq!(settle(&mut waiting, 1, false), [1]);
        assert_eq!(settle(&mut waiting, 4, true), [2, 3, 4]);
        assert_eq!(waiting.outstanding(), 1);
        assert_eq!(settle(&mut waiting, 0, true), [5]);
        assert_eq!(waiting.outstanding(), 0);
    }

    #[test]
    fn confirms_out_of_order_are_settled_once() {
        let mut waiting = unconfirmed(4);
        assert_eq!(settle(&mut waiting, 3, false), [3]);
        assert_eq!(settle(&mut waiting, 1, false), [1]);
        assert_eq!(settle(&mut waiting, 3, false), [0; 0]);
        assert_eq!(settle(&mut waiting, 4, true), [2, 4]);
        assert_eq!(waiting.outstanding(), 0);
    }

    #[test]
    fn tags_that_were_never_given_out_settle_nothing() {
        let mut waiting = unconfirmed(2);
        assert_eq!(settle(&mut waiting, 7, false), [0; 0]);
        assert_eq!(settle(&mut waiting, 0, false), [0; 0]);
        assert_eq!(settle(&mut waiting, u64::MAX, true), [1, 2]);
        assert_eq!(settle(&mut waiting, 1, true), [0; 0]);
    }
}
