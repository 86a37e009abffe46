//! Dead letters whose queue keeps them until all queues that they go to have them (at-least-once dead lettering).
//!
//! The shard publishes such a letter like any client with confirms, from an address of its own, and the queue hears when the
//! last answer has come, or that there was nobody to answer. Limit: each queue has a bounded number of them under way.

use super::Shard;
use base::{ConnectionId, Now, Position, QueueId, ShardId};
use broker::command::{ChannelId, ConfirmTo, Reply};
use std::collections::BTreeMap;

/// The serial of an address that is no connection's.
const DEAD_LETTERS: u64 = u64::MAX;

/// A dead letter under way.
#[derive(Debug)]
struct Awaited {
    queue: QueueId,
    position: Position,
    /// Answers that have not come.
    missing: usize,
    refused: bool,
}

/// The dead letters of a shard that are under way, by the sequence number of their confirms.
#[derive(Debug, Default)]
pub(super) struct Arrivals {
    last: u64,
    awaited: BTreeMap<u64, Awaited>,
}

/// Whether answers to that address are for [`Shard::dead_letters_answered`].
pub(super) fn is_dead_letter_address(to: ChannelId) -> bool {
    to.connection.serial == DEAD_LETTERS
}

impl Arrivals {
    /// What to ask the queues for that a letter goes to; there are `missing` of them.
    pub(super) fn expect(
        &mut self,
        shard: ShardId,
        (queue, position): (QueueId, Position),
        missing: usize,
    ) -> ConfirmTo {
        self.last += 1;
        let awaited = Awaited {
            queue,
            position,
            missing,
            refused: false,
        };
        self.awaited.insert(self.last, awaited);
        ConfirmTo {
            channel: ChannelId {
                connection: ConnectionId {
                    shard,
                    serial: DEAD_LETTERS,
                },
                number: 0,
                epoch: 0,
            },
            sequence: self.last,
        }
    }

    /// Takes an answer; gives those letters about which nothing more will come.
    fn answered(&mut self, first: u64, last: u64, refused: bool) -> Vec<Awaited> {
        let mut done = Vec::new();
        for (&sequence, awaited) in self.awaited.range_mut(first..=last) {
            awaited.missing = awaited.missing.saturating_sub(1);
            awaited.refused |= refused;
            if awaited.missing == 0 {
                done.push(sequence);
            }
        }
        done.iter()
            .filter_map(|sequence| self.awaited.remove(sequence))
            .collect()
    }
}

impl Shard {
    /// Queues have taken dead letters of this shard, or refused them.
    pub(super) fn dead_letters_answered(&mut self, now: Now, reply: &Reply) {
        let done = if let Reply::Confirm { first, last } = *reply {
            self.arrivals.answered(first, last, false)
        } else if let Reply::Nack { first, last } = *reply {
            self.arrivals.answered(first, last, true)
        } else {
            return;
        };
        for awaited in done {
            let place = (awaited.queue, awaited.position);
            self.dead_letter_arrived(now, place, !awaited.refused);
        }
    }

    /// Tells a queue what became of a dead letter that it keeps.
    pub(super) fn dead_letter_arrived(
        &mut self,
        now: Now,
        (queue, position): (QueueId, Position),
        arrived: bool,
    ) {
        if let Some(machine) = self.queues.get_mut(&queue) {
            machine.dead_letter_arrived(
                now,
                position,
                arrived,
                &mut self.windows,
                &mut self.effects,
            );
            self.touched.push(queue);
        }
    }
}
