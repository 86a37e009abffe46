//! Publisher confirms of one channel (RabbitMQ docs: confirms#publisher-confirms).
//!
//! Each publish gets the next sequence number and waits for the answers of all queues it was routed to. What became ready
//! during a turn leaves together: a prefix of the outstanding numbers as one cumulative `basic.ack`, the others one by one.
//! It does not know queues; it counts answers.
//!
//! Invariant: a number is answered exactly once, and a cumulative ack covers no number that still waits or was refused.

use crate::counts::{PublishLineIndex, Traffic, Unconfirmed};
use smallvec::SmallVec;
use std::collections::VecDeque;
use std::time::Duration;

/// One outstanding publish, by its sequence number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slot {
    /// Waits for this many queues. `refused` if one of them said no already.
    Waiting { queues: u32, refused: bool },
    /// Every queue has it.
    Ready,
    /// All queues answered and at least one refused it.
    Refused,
    /// Answered out of order; stays until everything before it is answered.
    Answered { refused: bool },
}

/// What goes to the publisher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Confirm {
    /// `basic.ack`
    Ack { sequence: u64, multiple: bool },
    /// `basic.nack`
    Nack { sequence: u64 },
}

/// The numbers that wait.
#[derive(Debug)]
pub(crate) struct ConfirmTracker {
    /// Sequence number of the first slot.
    first: u64,
    slots: VecDeque<Slot>,
    /// Numbers that became ready since the last flush.
    ready: Vec<u64>,
    /// For statistics.
    unconfirmed: Unconfirmed,
    /// What was confirmed and is not counted yet.
    uncounted: SmallVec<[(PublishLineIndex, u64); 1]>,
}

impl Default for ConfirmTracker {
    fn default() -> Self {
        Self {
            first: 1,
            slots: VecDeque::new(),
            ready: Vec::new(),
            unconfirmed: Unconfirmed::default(),
            uncounted: SmallVec::new(),
        }
    }
}

impl ConfirmTracker {
    /// Whether every publish was answered, once [`Self::flush`] said so.
    pub(crate) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Publishes that are not answered, for listings.
    pub(crate) fn unconfirmed(&self) -> usize {
        self.slots
            .iter()
            .filter(|slot| !matches!(slot, Slot::Answered { .. }))
            .count()
    }

    /// The number of a publish that goes to `queues` queues; `line` is that of its exchange.
    pub(crate) fn publish(&mut self, queues: usize, line: PublishLineIndex, now: Duration) -> u64 {
        let sequence = self.first + self.slots.len() as u64;
        self.unconfirmed.published(line, sequence, now);
        if queues == 0 {
            self.slots.push_back(Slot::Ready);
            self.ready.push(sequence);
        } else {
            let queues = u32::try_from(queues).unwrap_or(u32::MAX);
            self.slots.push_back(Slot::Waiting {
                queues,
                refused: false,
            });
        }
        sequence
    }

    /// One queue answered `first..=last`. Numbers that do not wait are ignored.
    pub(crate) fn answer(&mut self, first: u64, last: u64, refuses: bool) {
        let end = self.first + self.slots.len() as u64;
        for sequence in first.max(self.first)..last.saturating_add(1).min(end) {
            let slot = &mut self.slots[(sequence - self.first) as usize];
            let Slot::Waiting { queues, refused } = *slot else {
                continue;
            };
            let refused = refused || refuses;
            if queues > 1 {
                *slot = Slot::Waiting {
                    queues: queues - 1,
                    refused,
                };
                continue;
            }
            *slot = if refused { Slot::Refused } else { Slot::Ready };
            self.ready.push(sequence);
        }
    }

    /// The number that the next publish gets.
    pub(crate) fn next(&self) -> u64 {
        self.first + self.slots.len() as u64
    }

    /// What became of a publish; `None` while queues have not answered.
    pub(crate) fn outcome(&self, sequence: u64) -> Option<Result<(), &'static str>> {
        const REFUSED: &str = "a queue refused the message";
        let Some(offset) = sequence.checked_sub(self.first) else {
            return Some(Ok(()));
        };
        match self.slots.get(usize::try_from(offset).ok()?)? {
            Slot::Waiting { .. } => None,
            Slot::Ready | Slot::Answered { refused: false } => Some(Ok(())),
            Slot::Refused | Slot::Answered { refused: true } => Some(Err(REFUSED)),
        }
    }

    /// Whether [`Self::flush`] has something to say.
    pub(crate) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Says everything that became ready, in as few answers as the protocol allows.
    pub(crate) fn flush(&mut self, mut emit: impl FnMut(Confirm)) {
        if self.ready.is_empty() {
            return;
        }
        self.flush_prefix(&mut emit);
        let mut ready = std::mem::take(&mut self.ready);
        ready.sort_unstable();
        for sequence in ready
            .drain(..)
            .skip_while(|sequence| *sequence < self.first)
        {
            let slot = &mut self.slots[(sequence - self.first) as usize];
            match slot {
                Slot::Ready => emit(Confirm::Ack {
                    sequence,
                    multiple: false,
                }),
                Slot::Refused => emit(Confirm::Nack { sequence }),
                Slot::Waiting { .. } | Slot::Answered { .. } => continue,
            }
            *slot = Slot::Answered {
                refused: *slot == Slot::Refused,
            };
        }
        self.ready = ready;
    }

    fn flush_prefix(&mut self, emit: &mut impl FnMut(Confirm)) {
        let mut run = Run::default();
        while let Some(slot) = self.slots.front() {
            let is_confirmed = match slot {
                Slot::Waiting { .. } => break,
                Slot::Ready => {
                    run.add(self.first);
                    true
                }
                Slot::Answered { refused } => !refused,
                Slot::Refused => {
                    // Numbers after this one must not be covered by a cumulative ack before it is refused on its own.
                    run.ack(emit);
                    emit(Confirm::Nack {
                        sequence: self.first,
                    });
                    false
                }
            };
            self.slots.pop_front();
            self.first += 1;
            let line = self.unconfirmed.pop();
            if let (true, Some(line)) = (is_confirmed, line) {
                match self.uncounted.last_mut() {
                    Some((last, count)) if *last == line => *count += 1,
                    _ => self.uncounted.push((line, 1)),
                }
            }
        }
        run.ack(emit);
    }

    /// Hands over what [`Self::flush`] confirmed, by the line of its exchange.
    pub(crate) fn count(
        &mut self,
        traffic: &Traffic,
        now: Duration,
        mut confirmed: impl FnMut(PublishLineIndex, u64),
    ) {
        self.unconfirmed.answered_before(self.first, now, traffic);
        for (line, count) in self.uncounted.drain(..) {
            confirmed(line, count);
        }
    }

    /// Nobody counts what [`Self::flush`] confirmed.
    pub(crate) fn forget_counts(&mut self) {
        self.uncounted.clear();
    }
}

/// Ready numbers at the front that were not said yet.
#[derive(Default)]
struct Run {
    length: u64,
    last: u64,
}

impl Run {
    fn add(&mut self, sequence: u64) {
        self.length += 1;
        self.last = sequence;
    }

    fn ack(&mut self, emit: &mut impl FnMut(Confirm)) {
        if self.length > 0 {
            emit(Confirm::Ack {
                sequence: self.last,
                multiple: self.length > 1,
            });
            self.length = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flushed(tracker: &mut ConfirmTracker) -> Vec<Confirm> {
        let mut all = Vec::new();
        tracker.flush(|confirm| all.push(confirm));
        all
    }

    fn published(queues: &[usize]) -> ConfirmTracker {
        let mut tracker = ConfirmTracker::default();
        for queues in queues {
            tracker.publish(*queues, PublishLineIndex::NONE, Duration::ZERO);
        }
        tracker
    }

    #[test]
    fn a_prefix_is_acked_at_once() {
        let mut tracker = published(&[1; 5]);
        tracker.answer(1, 4, false);
        assert_eq!(
            flushed(&mut tracker),
            [Confirm::Ack {
                sequence: 4,
                multiple: true
            }]
        );
        tracker.answer(5, 5, false);
        assert_eq!(
            flushed(&mut tracker),
            [Confirm::Ack {
                sequence: 5,
                multiple: false
            }]
        );
        assert_eq!(tracker.unconfirmed(), 0);
        assert!(tracker.is_empty());
    }

    #[test]
    fn a_number_waits_for_all_its_queues() {
        let mut tracker = published(&[2, 1]);
        tracker.answer(1, 1, false);
        tracker.answer(2, 2, false);
        assert_eq!(
            flushed(&mut tracker),
            [Confirm::Ack {
                sequence: 2,
                multiple: false
            }]
        );
        tracker.answer(1, 1, false);
        assert_eq!(
            flushed(&mut tracker),
            [Confirm::Ack {
                sequence: 1,
                multiple: false
            }]
        );
    }

    #[test]
    fn a_cumulative_ack_never_covers_a_refused_number() {
        let mut tracker = published(&[1; 5]);
        tracker.answer(1, 2, false);
        tracker.answer(3, 3, true);
        tracker.answer(4, 5, false);
        assert_eq!(
            flushed(&mut tracker),
            [
                Confirm::Ack {
                    sequence: 2,
                    multiple: true
                },
                Confirm::Nack { sequence: 3 },
                Confirm::Ack {
                    sequence: 5,
                    multiple: true
                },
            ]
        );
    }

    #[test]
    fn one_refusal_refuses_the_publish_but_waits_for_the_other_queue() {
        let mut tracker = published(&[2]);
        tracker.answer(1, 1, true);
        assert_eq!(flushed(&mut tracker), []);
        tracker.answer(1, 1, false);
        assert_eq!(flushed(&mut tracker), [Confirm::Nack { sequence: 1 }]);
    }

    #[test]
    fn unroutable_is_ready_at_once_and_foreign_numbers_are_ignored() {
        let mut tracker = published(&[0]);
        tracker.answer(0, u64::MAX, true);
        assert_eq!(
            flushed(&mut tracker),
            [Confirm::Ack {
                sequence: 1,
                multiple: false
            }]
        );
        tracker.answer(1, 7, false);
        assert_eq!(flushed(&mut tracker), []);
    }
}
