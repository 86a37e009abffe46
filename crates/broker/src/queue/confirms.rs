//! Confirms that a queue owes to publishers.
//!
//! Two stages: a confirm *waits* until the log has its message, then joins a *run* of consecutive sequence numbers of its
//! channel. Runs become replies when they are flushed, so a batch costs one reply a channel and not one a message.

use crate::command::{ChannelId, ConfirmTo, Reply};
use crate::effect::{Effect, Effects};
use base::Position;
use smallvec::SmallVec;
use std::collections::VecDeque;

/// Channels whose runs are open at once; one more and all are flushed.
const RUNS_MAX: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Confirm,
    Nack,
}

/// Sequence numbers `first..=last` of a channel.
#[derive(Clone, Copy, Debug)]
struct Run {
    channel: ChannelId,
    verdict: Verdict,
    first: u64,
    last: u64,
}

/// Consecutive publishes of a channel at consecutive positions.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    channel: ChannelId,
    position: Position,
    sequence: u64,
    count: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Confirms {
    /// In order of position.
    waiting: VecDeque<Waiting>,
    runs: SmallVec<[Run; 1]>,
}

impl Confirms {
    /// Nobody waits and nothing is left to flush.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.runs.is_empty()
    }

    pub(super) fn nobody_waits(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The message is as safe as it gets.
    pub(crate) fn confirm(&mut self, to: ConfirmTo, effects: &mut Effects) {
        self.extend(
            Run {
                channel: to.channel,
                verdict: Verdict::Confirm,
                first: to.sequence,
                last: to.sequence,
            },
            effects,
        );
    }

    /// The message was refused.
    pub(crate) fn nack(&mut self, to: ConfirmTo, effects: &mut Effects) {
        self.extend(
            Run {
                channel: to.channel,
                verdict: Verdict::Nack,
                first: to.sequence,
                last: to.sequence,
            },
            effects,
        );
    }

    /// Holds the confirm back until the log has `position`, which is higher than any before.
    pub(crate) fn wait(&mut self, position: Position, to: ConfirmTo) {
        if let Some(last) = self.waiting.back_mut()
            && last.channel == to.channel
            && last.sequence + last.count == to.sequence
            && last.position.0 + last.count == position.0
        {
            last.count += 1;
            return;
        }
        self.waiting.push_back(Waiting {
            channel: to.channel,
            position,
            sequence: to.sequence,
            count: 1,
        });
    }

    /// The message at `position` was settled before the log heard of it: its confirm need not wait, unless others do before it.
    pub(super) fn release_settled(&mut self, position: Position, effects: &mut Effects) {
        if self
            .waiting
            .front()
            .is_some_and(|first| first.position == position)
        {
            self.release_until(position.next(), effects);
        }
    }

    /// The log has everything below `until`.
    pub(crate) fn release_until(&mut self, until: Position, effects: &mut Effects) {
        while let Some(first) = self.waiting.front_mut()
            && first.position < until
        {
            let count = first.count.min(until.0 - first.position.0);
            let run = Run {
                channel: first.channel,
                verdict: Verdict::Confirm,
                first: first.sequence,
                last: first.sequence + count - 1,
            };
            first.position.0 += count;
            first.sequence += count;
            first.count -= count;
            if first.count == 0 {
                self.waiting.pop_front();
            }
            self.extend(run, effects);
        }
    }

    /// The log will not have them: everybody who waits is refused.
    pub(crate) fn refuse_waiting(&mut self, effects: &mut Effects) {
        for waiting in std::mem::take(&mut self.waiting) {
            let run = Run {
                channel: waiting.channel,
                verdict: Verdict::Nack,
                first: waiting.sequence,
                last: waiting.sequence + waiting.count - 1,
            };
            self.extend(run, effects);
        }
    }

    /// Sends what is ready.
    pub(crate) fn flush(&mut self, effects: &mut Effects) {
        effects.extend(self.runs.drain(..).map(|run| Effect::Reply {
            to: run.channel,
            reply: match run.verdict {
                Verdict::Confirm => Reply::Confirm {
                    first: run.first,
                    last: run.last,
                },
                Verdict::Nack => Reply::Nack {
                    first: run.first,
                    last: run.last,
                },
            },
        }));
    }

    fn extend(&mut self, run: Run, effects: &mut Effects) {
        // The newest runs are at the end; a channel's open run is its last one.
        let open = self
            .runs
            .iter_mut()
            .rev()
            .find(|open| open.channel == run.channel);
        if let Some(open) = open
            && open.verdict == run.verdict
            && open.last + 1 == run.first
        {
            open.last = run.last;
            return;
        }
        if self.runs.len() == RUNS_MAX {
            self.flush(effects);
        }
        self.runs.push(run);
    }

    pub(crate) fn check_invariants(&self) {
        assert!(
            self.waiting.iter().all(|waiting| waiting.count > 0),
            "an empty run of waiting confirms"
        );
        let ends = self
            .waiting
            .iter()
            .map(|waiting| waiting.position.0 + waiting.count);
        let starts = self
            .waiting
            .iter()
            .skip(1)
            .map(|waiting| waiting.position.0);
        assert!(
            ends.zip(starts).all(|(end, start)| end <= start),
            "waiting confirms out of order"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channel(number: u16) -> ChannelId {
        ChannelId {
            connection: base::ConnectionId::default(),
            number,
            epoch: 0,
        }
    }

    fn to(number: u16, sequence: u64) -> ConfirmTo {
        ConfirmTo {
            channel: channel(number),
            sequence,
        }
    }

    fn flushed(confirms: &mut Confirms) -> Vec<(u16, &'static str, u64, u64)> {
        let mut effects = Effects::new();
        confirms.flush(&mut effects);
        effects
            .into_iter()
            .map(|effect| {
                let Effect::Reply { to, reply } = effect else {
                    panic!("unexpected {effect:?}");
                };
                if let Reply::Confirm { first, last } = reply {
                    return (to.number, "confirm", first, last);
                }
                let Reply::Nack { first, last } = reply else {
                    panic!("unexpected {reply:?}");
                };
                (to.number, "nack", first, last)
            })
            .collect()
    }

    #[test]
    fn consecutive_sequences_of_interleaved_channels_become_one_run_each() {
        let (mut confirms, mut effects) = (Confirms::default(), Effects::new());
        for sequence in 1..=3 {
            confirms.confirm(to(1, sequence), &mut effects);
            confirms.confirm(to(2, sequence + 7), &mut effects);
        }
        confirms.nack(to(1, 4), &mut effects);
        confirms.confirm(to(1, 5), &mut effects);
        assert_eq!(
            flushed(&mut confirms),
            [
                (1, "confirm", 1, 3),
                (2, "confirm", 8, 10),
                (1, "nack", 4, 4),
                (1, "confirm", 5, 5)
            ]
        );
    }

    #[test]
    fn waiting_confirms_are_released_up_to_a_position_in_the_middle_of_a_run() {
        let (mut confirms, mut effects) = (Confirms::default(), Effects::new());
        for sequence in 1..=5 {
            confirms.wait(Position(10 + sequence), to(1, sequence));
        }
        confirms.release_until(Position(14), &mut effects);
        assert_eq!(flushed(&mut confirms), [(1, "confirm", 1, 3)]);
        confirms.check_invariants();
        confirms.release_settled(Position(15), &mut effects);
        assert_eq!(flushed(&mut confirms), [], "an older one still waits");
        confirms.refuse_waiting(&mut effects);
        assert_eq!(flushed(&mut confirms), [(1, "nack", 4, 5)]);
        assert!(confirms.is_empty());
    }
}
