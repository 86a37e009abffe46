//! Checks that each queue delivered what was published to it: nothing lost, twice, out of order or damaged.
//!
//! One [`Checker`] serves a whole run. It knows messages by (queue, producer, sequence number) and keeps, for each pair of
//! queue and producer, the set of sequence numbers seen as ranges: one range as long as nothing is missing.
//! It does not decide when a run is over; a message that is still on its way when [`Checker::summary`] is asked counts
//! as lost.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use crate::body::{self, MessageId, Verified};

/// Most ranges kept for one pair of queue and producer. At the limit the lowest gap is given up: its messages count as
/// lost at once and as duplicates should they still come.
const RANGES_MAX: usize = 1 << 20;

/// What a run's messages went through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct VerifySummary {
    /// Bodies whose CRC matched.
    pub intact: u64,
    /// Bodies that were damaged.
    pub corrupt: u64,
    /// Published (with confirms on: and confirmed) but not delivered.
    pub lost: u64,
    /// Delivered again without the redelivered flag.
    pub duplicated: u64,
    /// Delivered again with the redelivered flag, which a broker may do.
    pub redelivered: u64,
    /// Delivered to a consumer after a later message of the same producer, without the redelivered flag.
    pub out_of_order: u64,
    /// Messages of another run, left in the queue by it.
    pub foreign: u64,
    /// Delivered though the publisher was never told so, or was told the contrary; allowed.
    pub unconfirmed: u64,
}

impl VerifySummary {
    /// Whether the broker broke a promise.
    pub(crate) fn violated(&self) -> bool {
        self.corrupt + self.lost + self.duplicated + self.out_of_order > 0
    }
}

/// Where a delivery came from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Source {
    /// Index of the queue in the run's topology.
    pub(crate) queue: u32,
    /// Number of the consumer; order is judged for each one apart.
    pub(crate) consumer: u32,
    /// The delivery's redelivered flag.
    pub(crate) redelivered: bool,
}

/// Follows all messages of a run. See the module.
#[derive(Debug)]
pub(crate) struct Checker {
    run: u32,
    seen: HashMap<(u32, u32), SequenceSet>,
    last: HashMap<(u32, u32), u64>,
    summary: VerifySummary,
}

impl Checker {
    pub(crate) fn new(run: u32) -> Self {
        Self {
            run,
            seen: HashMap::new(),
            last: HashMap::new(),
            summary: VerifySummary::default(),
        }
    }

    /// Takes note of one delivered body.
    pub(crate) fn delivered(&mut self, source: Source, body: &[u8]) {
        let id = match body::verify(body) {
            Verified::Intact(id) => id,
            Verified::Corrupt => {
                self.summary.corrupt += 1;
                return;
            }
        };
        if id.run != self.run {
            self.summary.foreign += 1;
            return;
        }
        self.summary.intact += 1;
        let seen = self.seen.entry((source.queue, id.producer)).or_default();
        if !seen.insert(id.sequence) {
            if source.redelivered {
                self.summary.redelivered += 1;
            } else {
                self.summary.duplicated += 1;
            }
            return;
        }
        self.check_order(source, id);
    }

    fn check_order(&mut self, source: Source, id: MessageId) {
        let last = self
            .last
            .entry((source.consumer, id.producer))
            .or_insert(id.sequence);
        if id.sequence >= *last {
            *last = id.sequence;
        } else if !source.redelivered {
            self.summary.out_of_order += 1;
        }
    }

    /// The verdict. `expected` holds, for each pair of queue and producer, the messages that must have come out.
    pub(crate) fn summary(&self, expected: &[Expected]) -> VerifySummary {
        let mut summary = self.summary;
        for pair in expected {
            match self.seen.get(&(pair.queue, pair.producer)) {
                Some(seen) => {
                    summary.lost += pair.published.missing_from(seen);
                    summary.unconfirmed += seen.missing_from(&pair.published);
                }
                None => summary.lost += pair.published.count(),
            }
        }
        summary
    }
}

/// What a queue owes to its consumers from one producer.
#[derive(Clone, Debug)]
pub(crate) struct Expected {
    pub(crate) queue: u32,
    pub(crate) producer: u32,
    /// With verification: the sequence numbers the broker took responsibility for.
    pub(crate) published: SequenceSet,
    /// How many messages were sent.
    pub(crate) sent: u64,
}

/// A set of sequence numbers, as ranges: small as long as it has few gaps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SequenceSet {
    /// First number to the number behind the last one; ranges neither touch nor overlap.
    ranges: BTreeMap<u64, u64>,
}

impl SequenceSet {
    /// All numbers below `end`.
    #[cfg(test)]
    pub(crate) fn below(end: u64) -> Self {
        let mut set = Self::default();
        if end > 0 {
            set.ranges.insert(0, end);
        }
        set
    }

    pub(crate) fn count(&self) -> u64 {
        self.ranges.iter().map(|(start, end)| end - start).sum()
    }

    /// Adds a number; false if it was there.
    pub(crate) fn insert(&mut self, number: u64) -> bool {
        // `u64::MAX` cannot be in a half-open range; no producer counts that far.
        if number == u64::MAX {
            return false;
        }
        // In the common case the number is the one behind the last range.
        if let Some(mut last) = self.ranges.last_entry()
            && *last.get() == number
        {
            *last.get_mut() = number + 1;
            return true;
        }
        let below = self.ranges.range(..=number).next_back();
        let below = below.map(|(start, end)| (*start, *end));
        if below.is_some_and(|(_, end)| number < end) {
            return false;
        }
        let start = match below {
            Some((start, end)) if end == number => start,
            _ => number,
        };
        let end = self.ranges.remove(&(number + 1)).unwrap_or(number + 1);
        self.ranges.insert(start, end);
        self.limit_ranges();
        true
    }

    fn limit_ranges(&mut self) {
        if self.ranges.len() > RANGES_MAX
            && let (Some((first, _)), Some((_, end))) =
                (self.ranges.pop_first(), self.ranges.pop_first())
        {
            self.ranges.insert(first, end);
        }
    }

    /// Takes a number out.
    pub(crate) fn remove(&mut self, number: u64) {
        let around = self.ranges.range(..=number).next_back();
        let Some((start, end)) = around.map(|(start, end)| (*start, *end)) else {
            return;
        };
        if number >= end {
            return;
        }
        if start == number {
            self.ranges.remove(&start);
        } else {
            self.ranges.insert(start, number);
        }
        if number + 1 < end {
            self.ranges.insert(number + 1, end);
        }
    }

    /// How many of these numbers `other` lacks.
    pub(crate) fn missing_from(&self, other: &Self) -> u64 {
        self.count() - self.common(other)
    }

    fn common(&self, other: &Self) -> u64 {
        let mut common = 0;
        let mut theirs = other.ranges.iter().peekable();
        for (start, end) in &self.ranges {
            while let Some((other_start, other_end)) = theirs.peek() {
                let (from, to) = ((*start).max(**other_start), (*end).min(**other_end));
                common += to.saturating_sub(from);
                // A range of theirs that reaches beyond this one of ours may meet our next one too.
                if *other_end > end {
                    break;
                }
                theirs.next();
            }
        }
        common
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: u32 = 11;

    fn body(producer: u32, sequence: u64) -> Vec<u8> {
        let mut body = body::new_body(48, RUN);
        body::stamp(&mut body, 1, producer, sequence);
        body::seal(&mut body);
        body
    }

    fn source(redelivered: bool) -> Source {
        Source {
            queue: 0,
            consumer: 0,
            redelivered,
        }
    }

    /// Delivers the given sequence numbers of producer 0 and judges against `published` messages.
    fn check(deliveries: &[u64], published: u64) -> VerifySummary {
        let mut checker = Checker::new(RUN);
        for sequence in deliveries {
            checker.delivered(source(false), &body(0, *sequence));
        }
        checker.summary(&[Expected {
            queue: 0,
            producer: 0,
            published: SequenceSet::below(published),
            sent: published,
        }])
    }

    #[test]
    fn a_faithful_broker_passes() {
        let summary = check(&[0, 1, 2, 3], 4);
        assert!(!summary.violated());
        assert_eq!(summary.intact, 4);
    }

    #[test]
    fn missing_messages_are_lost() {
        assert_eq!(check(&[0, 2, 5], 7).lost, 4);
        assert_eq!(check(&[], 3).lost, 3);
    }

    #[test]
    fn a_second_copy_is_a_duplicate_unless_flagged() {
        let summary = check(&[0, 1, 1, 0], 2);
        assert_eq!((summary.duplicated, summary.out_of_order), (2, 0));

        let mut checker = Checker::new(RUN);
        checker.delivered(source(false), &body(0, 0));
        checker.delivered(source(true), &body(0, 0));
        let summary = checker.summary(&[]);
        assert_eq!((summary.duplicated, summary.redelivered), (0, 1));
        assert!(!summary.violated());
    }

    #[test]
    fn an_earlier_message_after_a_later_one_is_out_of_order() {
        let summary = check(&[0, 2, 1, 3], 4);
        assert_eq!((summary.out_of_order, summary.lost), (1, 0));
    }

    #[test]
    fn order_is_judged_for_each_consumer_and_producer_apart() {
        let mut checker = Checker::new(RUN);
        for (consumer, producer, sequence) in [(0, 0, 1), (1, 0, 0), (0, 1, 0), (1, 0, 2)] {
            let source = Source {
                queue: 0,
                consumer,
                redelivered: false,
            };
            checker.delivered(source, &body(producer, sequence));
        }
        assert_eq!(checker.summary(&[]).out_of_order, 0);
    }

    #[test]
    fn the_same_message_in_two_queues_is_no_duplicate() {
        let mut checker = Checker::new(RUN);
        for queue in [0, 1] {
            let source = Source {
                queue,
                consumer: queue,
                redelivered: false,
            };
            checker.delivered(source, &body(0, 0));
        }
        assert!(!checker.summary(&[]).violated());
    }

    #[test]
    fn damaged_and_foreign_bodies_are_counted_apart() {
        let mut checker = Checker::new(RUN);
        let mut damaged = body(0, 0);
        damaged[40] ^= 1;
        checker.delivered(source(false), &damaged);
        let mut foreign = body::new_body(48, RUN + 1);
        body::seal(&mut foreign);
        checker.delivered(source(false), &foreign);
        let summary = checker.summary(&[]);
        assert_eq!(
            (summary.corrupt, summary.foreign, summary.intact),
            (1, 1, 0)
        );
    }

    #[test]
    fn a_message_that_was_not_confirmed_may_come_or_not() {
        let mut confirmed = SequenceSet::below(2);
        confirmed.insert(3);
        let mut checker = Checker::new(RUN);
        for sequence in [0, 1, 2, 3] {
            checker.delivered(source(false), &body(0, sequence));
        }
        let summary = checker.summary(&[Expected {
            queue: 0,
            producer: 0,
            published: confirmed,
            sent: 4,
        }]);
        assert_eq!((summary.lost, summary.unconfirmed), (0, 1));
        assert!(!summary.violated());
    }

    #[test]
    fn sequence_sets_agree_with_a_plain_set() {
        // A fixed walk through all residues, so that ranges grow at both ends and merge.
        let mut set = SequenceSet::default();
        let mut plain = std::collections::BTreeSet::new();
        for step in 0..400_u64 {
            let number = step * 37 % 101;
            assert_eq!(set.insert(number), plain.insert(number));
            assert_eq!(set.count(), plain.len() as u64);
            let below = SequenceSet::below(50);
            let common = plain.iter().filter(|number| **number < 50).count() as u64;
            assert_eq!(set.missing_from(&below), plain.len() as u64 - common);
            assert_eq!(below.missing_from(&set), 50 - common);
        }
        assert_eq!(set, SequenceSet::below(101));
        for step in 0..101_u64 {
            let number = step * 37 % 101;
            set.remove(number);
            set.remove(number);
            assert_eq!(set.count(), 100 - step);
        }
    }
}
