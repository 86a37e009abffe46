//! What the log knows of a queue, and what it still has to be told.
//!
//! Every message of a batch is covered by one ticket, so "is it in the log" is a comparison of positions: below
//! `collected_until` it was handed over, below `durable_until` it is safe. Transient messages go to the log only to leave RAM
//! ("spilled"), in batches of their own bound.
//!
//! Settles go to the log when a batch leaves anyway, and nobody waits for them. Who must know that they are safe puts a *barrier*
//! behind them: it is answered with the batch that took the last of them.
//!
//! Limit: each barrier follows a settle of its channel, so there are never more than messages that were settled.
//!
//! It does not hold messages and does not talk to the log itself.

use super::RecordSink;
use super::entry::Entry;
use crate::Error;
use crate::command::{ChannelId, Reply};
use crate::effect::{Effect, Effects};
use base::{Position, QueueId};
use std::collections::VecDeque;

/// Settled ranges for which room is kept between batches.
const SETTLES_KEPT: usize = 64;

/// Whether the shard knows that there is something to collect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Announced {
    No,
    Lazy,
    Urgent,
}

/// A batch that was handed to the log.
#[derive(Clone, Copy, Debug)]
struct Ticket {
    ticket: u64,
    collected_until: Position,
    spilled_until: Position,
    has_settles: bool,
}

/// The ticket of a barrier whose settles were not collected yet.
const NEXT_TICKET: u64 = u64::MAX;

/// A channel that waits until what was settled before is safe.
#[derive(Clone, Copy, Debug)]
struct Barrier {
    channel: ChannelId,
    /// The batch it waits for, or [`NEXT_TICKET`].
    ticket: u64,
}

#[derive(Debug)]
pub(super) struct Journal {
    queue: QueueId,
    collected_until: Position,
    durable_until: Position,
    spilled_until: Position,
    spill_durable_until: Position,
    tickets: VecDeque<Ticket>,
    /// Settled positions that the log still has to be told, `from..until`, as they came.
    settles: Vec<(Position, Position)>,
    /// Something was settled, or came back, that a note tells the log.
    notes_waiting: bool,
    /// In ascending order of tickets.
    barriers: VecDeque<Barrier>,
    announced: Announced,
    /// One past the highest position that was ever delivered for acknowledgement.
    delivered_until: Position,
    delivered_reported: Position,
    /// Transient messages shall go with the next batch.
    spill_wanted: bool,
    failed: bool,
}

impl Journal {
    /// Everything below `next` is known to the log.
    pub(super) fn new(queue: QueueId, next: Position, delivered_until: Position) -> Self {
        Self {
            queue,
            collected_until: next,
            durable_until: next,
            spilled_until: next,
            spill_durable_until: next,
            tickets: VecDeque::new(),
            settles: Vec::new(),
            notes_waiting: false,
            barriers: VecDeque::new(),
            announced: Announced::No,
            delivered_until,
            delivered_reported: delivered_until,
            spill_wanted: false,
            failed: false,
        }
    }

    /// First position that was not yet collected.
    pub(super) fn collected_until(&self) -> Position {
        self.collected_until
    }

    pub(super) fn spilled_until(&self) -> Position {
        self.spilled_until
    }

    pub(super) fn delivered_until(&self) -> Position {
        self.delivered_until
    }

    pub(super) fn failed(&self) -> bool {
        self.failed
    }

    pub(super) fn spill_wanted(&self) -> bool {
        self.spill_wanted
    }

    /// The log has a record of it, or will before any later record.
    pub(super) fn is_submitted(&self, entry: &Entry) -> bool {
        (entry.logged && entry.position < self.collected_until) || entry.spilled
    }

    /// The store can give it back, so it may leave RAM.
    pub(super) fn is_written(&self, entry: &Entry) -> bool {
        (entry.logged && entry.position < self.durable_until)
            || (entry.spilled && entry.position < self.spill_durable_until)
    }

    /// Nothing is on its way to the log and nothing waits for it.
    pub(super) fn is_quiet(&self) -> bool {
        self.tickets.is_empty()
            && self.settles.is_empty()
            && self.barriers.is_empty()
            && self.announced == Announced::No
            && !self.failed
    }

    /// Something is on its way to the log, so [`Journal::durable`] or [`Journal::fail`] will be called.
    pub(super) fn is_busy(&self) -> bool {
        !self.tickets.is_empty() || self.announced != Announced::No
    }

    /// Has a batch taken soon; told to the shard at most once a batch, and once more if it becomes urgent.
    pub(super) fn announce(&mut self, urgent: bool, effects: &mut Effects) {
        let wanted = if urgent {
            Announced::Urgent
        } else {
            Announced::Lazy
        };
        if self.announced >= wanted || self.failed {
            return;
        }
        self.announced = wanted;
        effects.push(Effect::RecordsWaiting {
            queue: self.queue,
            urgent,
        });
    }

    /// Asks for transient messages in the next batch, if there may be some that no batch had a chance to take.
    pub(super) fn want_spill(&mut self, next: Position, effects: &mut Effects) {
        if !self.failed && !self.spill_wanted && self.spilled_until < next {
            self.spill_wanted = true;
            self.announce(false, effects);
        }
    }

    /// The message is gone for good. True if the log never heard of it and never will.
    pub(super) fn settle(&mut self, entry: &Entry, effects: &mut Effects) -> bool {
        if !self.is_submitted(entry) {
            return entry.logged;
        }
        self.settle_range(entry.position, entry.position.next(), effects);
        false
    }

    /// Settles `from..until`, of which the log knows at least a part.
    pub(super) fn settle_range(&mut self, from: Position, until: Position, effects: &mut Effects) {
        if self.failed {
            return;
        }
        match self.settles.last_mut() {
            Some(last) if last.1 == from => last.1 = until,
            Some(last) if last.0 == until => last.0 = from,
            Some(_) | None => self.settles.push((from, until)),
        }
        self.announce(false, effects);
    }

    /// Something was settled, or came back, that will be in the next batch as a note.
    pub(super) fn settle_by_note(&mut self, effects: &mut Effects) {
        if self.failed {
            return;
        }
        self.notes_waiting = true;
        self.announce(false, effects);
    }

    /// Tells the channel when everything settled so far is safe; now, if it is.
    pub(super) fn barrier(&mut self, channel: ChannelId, effects: &mut Effects) {
        if self.failed {
            return effects.push(not_safe(channel));
        }
        let ticket = if self.settles.is_empty() && !self.notes_waiting {
            let mut newest_first = self.tickets.iter().rev();
            match newest_first.find(|ticket| ticket.has_settles) {
                Some(last) => last.ticket,
                None => return effects.push(safe(channel)),
            }
        } else {
            self.announce(true, effects);
            NEXT_TICKET
        };
        self.barriers.push_back(Barrier { channel, ticket });
    }

    /// Takes the barriers that nobody will answer any more.
    pub(super) fn take_barriers(&mut self) -> impl Iterator<Item = ChannelId> + use<> {
        std::mem::take(&mut self.barriers)
            .into_iter()
            .map(|barrier| barrier.channel)
    }

    /// The message went out and waits for its acknowledgement.
    pub(super) fn delivered(&mut self, entry: &Entry, effects: &mut Effects) {
        if self.delivered_until <= entry.position {
            self.delivered_until = entry.position.next();
            if entry.logged {
                self.announce(false, effects);
            }
        }
    }

    /// Tells the sink everything but messages and closes the batch: it covers all positions below `next`.
    pub(super) fn collect(
        &mut self,
        ticket: u64,
        next: Position,
        report_delivered: bool,
        sink: &mut impl RecordSink,
    ) {
        let has_notes = std::mem::take(&mut self.notes_waiting);
        let has_settles = has_notes || !self.settles.is_empty();
        for barrier in self.barriers.iter_mut().rev() {
            if barrier.ticket != NEXT_TICKET {
                break;
            }
            barrier.ticket = ticket;
        }
        self.settles.sort_unstable();
        self.settles.dedup_by(|next, range| {
            let joins = next.0 <= range.1;
            if joins {
                range.1 = range.1.max(next.1);
            }
            joins
        });
        for (from, until) in self.settles.drain(..) {
            sink.settled(self.queue, from, until);
        }
        self.settles.shrink_to(SETTLES_KEPT);
        if report_delivered && self.delivered_reported < self.delivered_until {
            self.delivered_reported = self.delivered_until;
            sink.delivered_until(self.queue, self.delivered_until);
        }
        self.collected_until = next;
        if self.spill_wanted {
            self.spilled_until = next;
            self.spill_wanted = false;
        }
        self.announced = Announced::No;
        self.tickets.push_back(Ticket {
            ticket,
            collected_until: self.collected_until,
            spilled_until: self.spilled_until,
            has_settles,
        });
    }

    /// All batches up to `ticket` are on stable storage. Returns the position below which that holds.
    pub(super) fn durable(&mut self, ticket: u64, effects: &mut Effects) -> Position {
        while let Some(barrier) = self
            .barriers
            .pop_front_if(|barrier| barrier.ticket <= ticket)
        {
            effects.push(safe(barrier.channel));
        }
        while self
            .tickets
            .front()
            .is_some_and(|first| first.ticket <= ticket)
        {
            let done = self.tickets.pop_front().expect("the loop condition saw it");
            self.durable_until = done.collected_until;
            self.spill_durable_until = done.spilled_until;
        }
        self.durable_until
    }

    /// The log takes nothing any more.
    pub(super) fn fail(&mut self, effects: &mut Effects) {
        self.failed = true;
        effects.extend(self.take_barriers().map(not_safe));
        self.tickets.clear();
        self.settles = Vec::new();
        self.notes_waiting = false;
        self.spill_wanted = false;
        self.announced = Announced::No;
    }

    pub(super) fn check_invariants(&self) {
        assert!(
            self.durable_until <= self.collected_until,
            "durable before it was collected"
        );
        assert!(
            self.spill_durable_until <= self.spilled_until,
            "spilled durably before it was collected"
        );
        assert!(
            (self.settles.is_empty() && !self.notes_waiting) || self.announced != Announced::No,
            "settles that nobody collects"
        );
        assert!(
            self.barriers
                .iter()
                .is_sorted_by_key(|barrier| barrier.ticket),
            "barriers out of order"
        );
        assert!(
            self.barriers.iter().all(|barrier| match barrier.ticket {
                NEXT_TICKET => self.announced == Announced::Urgent,
                ticket => self.tickets.iter().any(|other| other.ticket == ticket),
            }),
            "a barrier that waits for nothing"
        );
    }
}

fn safe(channel: ChannelId) -> Effect {
    Effect::Reply {
        to: channel,
        reply: Reply::Barrier(Ok(())),
    }
}

fn not_safe(channel: ChannelId) -> Effect {
    let error = Error::Storage("the log has failed, and with it acknowledgements".into());
    Effect::Reply {
        to: channel,
        reply: Reply::Barrier(Err(error.into())),
    }
}
