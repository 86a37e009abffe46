//! Messages that died and are still here.
//!
//! With `x-dead-letter-strategy=at-least-once` a message stays until all queues that it goes to have it; if one refuses it, or there
//! is none, it is tried again later. Without, it stays only while there are more of them than a turn may make dead letters of, or until
//! its payload is read that left RAM before the queue had a dead-letter exchange.
//!
//! ```text
//!   dies ──▶ waiting ──▶ DeadLetter ──▶ gone                     at most once
//!     │         ▲ ▲          └────────▶ sent ── arrived ──▶ gone     at least once
//!     │  read   │ └── stuck ◀────────────┘ refused
//!     └──▶ unread
//! ```
//!
//! What is here is still in the log: after a crash it is back in the queue and may be delivered again.
//!
//! Limit: with [`UNDEAD_MAX`] of them the queue hands nothing out and lets nothing expire, so that there are never more than
//! these and what was out already.

use super::Queue;
use super::entry::Entry;
use super::ready::Load;
use crate::effect::{DeadLetterReason, Effect, Effects};
use crate::message::SharedMessage;
use base::{Now, Position};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Dead messages above which nobody can add to them.
const UNDEAD_MAX: usize = 1024;

/// How long to wait before a message that did not arrive is tried again.
const DEAD_LETTER_RETRY: Duration = Duration::from_secs(5);

#[derive(Debug)]
struct Dead {
    entry: Entry,
    reason: DeadLetterReason,
    failed_deliveries: u32,
}

#[derive(Debug, Default)]
pub(super) struct Undead {
    /// Whose payload only the store has.
    unread: BTreeMap<Position, Dead>,
    /// To be published.
    waiting: VecDeque<Dead>,
    /// On their way to other queues.
    sent: BTreeMap<Position, Dead>,
    /// Did not arrive.
    stuck: Vec<Dead>,
    retry_at: Option<Duration>,
    ram_bytes: usize,
}

impl Undead {
    pub(super) fn len(&self) -> usize {
        self.unread.len() + self.waiting.len() + self.sent.len() + self.stuck.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Nobody may add to them.
    #[inline]
    pub(super) fn is_full(&self) -> bool {
        self.len() >= UNDEAD_MAX
    }

    /// Bytes of their bodies; there are few.
    pub(super) fn body_bytes(&self) -> u64 {
        let unread = self.unread.values().map(|dead| &dead.entry);
        let entries = self.iter_from(Position(0)).chain(unread);
        entries.map(|entry| u64::from(entry.body_bytes)).sum()
    }

    pub(super) fn ram_bytes(&self) -> usize {
        self.ram_bytes
    }

    pub(super) fn retry_at(&self) -> Option<Duration> {
        self.retry_at
    }

    /// Those that the log may not have yet.
    pub(super) fn iter_from(&self, from: Position) -> impl Iterator<Item = &Entry> {
        let all = self
            .waiting
            .iter()
            .chain(self.sent.values())
            .chain(&self.stuck);
        all.map(|dead| &dead.entry)
            .filter(move |entry| entry.position >= from)
    }
}

impl Queue {
    /// Keeps a dead message until it may be published, and, if so wanted, until it has arrived.
    pub(super) fn keep_undead(
        &mut self,
        entry: Entry,
        reason: DeadLetterReason,
        failed_deliveries: u32,
    ) {
        self.undead.ram_bytes += entry.ram_bytes();
        let position = entry.position;
        let is_here = entry.message.is_some();
        let dead = Dead {
            entry,
            reason,
            failed_deliveries,
        };
        if is_here {
            self.undead.waiting.push_back(dead);
        } else {
            self.undead.unread.insert(position, dead);
        }
    }

    /// Reads the next payload that is needed to publish a dead letter, unless another read is under way.
    pub(super) fn read_undead(&mut self, effects: &mut Effects) {
        let Some((&position, _)) = self.undead.unread.first_key_value() else {
            return;
        };
        if self.load.is_some() {
            return;
        }
        let load = Load::of_known(position);
        self.load = Some(load);
        effects.push(Effect::Load {
            queue: self.id(),
            from: load.from,
            until: load.until,
            bytes_max: 1,
        });
    }

    /// The store has answered for `from..until`: what it should have had there and had not is lost.
    pub(super) fn undead_read(
        &mut self,
        messages: &[(Position, SharedMessage, Option<u64>)],
        range: (Position, Position),
        effects: &mut Effects,
    ) {
        if self.undead.unread.is_empty() {
            return;
        }
        for (position, message, _) in messages {
            if let Some(mut dead) = self.undead.unread.remove(position) {
                dead.entry.message = Some(message.clone());
                self.undead.ram_bytes += dead.entry.ram_bytes();
                self.undead.waiting.push_back(dead);
            }
        }
        let lost = self.undead.unread.extract_if(range.0..range.1, |_, _| true);
        for (_, dead) in lost.collect::<Vec<_>>() {
            self.counters.lost += 1;
            self.forget(&dead.entry, effects);
        }
        self.publish_undead(effects);
    }

    /// Publishes what waits, as far as this turn may.
    pub(super) fn publish_undead(&mut self, effects: &mut Effects) {
        while !self.is_dropping()
            && let Some(dead) = self.undead.waiting.pop_front()
        {
            self.drops_left = self.drops_left.saturating_sub(1);
            let message = dead
                .entry
                .message
                .clone()
                .expect("what waits here has its payload");
            let Dead {
                reason,
                failed_deliveries,
                ..
            } = dead;
            if self.settings.arguments.keeps_dead_letters() {
                let position = dead.entry.position;
                self.undead.sent.insert(position, dead);
                self.dead_letter(message, reason, failed_deliveries, Some(position), effects);
            } else {
                self.dead_letter(message, reason, failed_deliveries, None, effects);
                self.bury(&dead, effects);
            }
        }
    }

    /// All queues that the dead letter went to have it, or, if not `arrived`, some do not.
    pub fn dead_letter_arrived(
        &mut self,
        now: Now,
        position: Position,
        arrived: bool,
        windows: &mut impl super::Windows,
        effects: &mut Effects,
    ) {
        let Some(dead) = self.undead.sent.remove(&position) else {
            return;
        };
        if arrived {
            self.bury(&dead, effects);
        } else {
            self.undead.stuck.push(dead);
            self.undead
                .retry_at
                .get_or_insert(now.monotonic + DEAD_LETTER_RETRY);
        }
        if !self.deleting {
            self.advance(now, windows, effects);
        }
    }

    /// Time has passed: what did not arrive is tried again.
    pub(super) fn try_undead_again(&mut self, now: Now) {
        if self.undead.retry_at.is_some_and(|at| at <= now.monotonic) {
            self.undead.retry_at = None;
            self.undead.waiting.extend(self.undead.stuck.drain(..));
        }
    }

    /// The message is gone for good.
    fn bury(&mut self, dead: &Dead, effects: &mut Effects) {
        self.undead.ram_bytes -= dead.entry.ram_bytes();
        self.count_death(dead.reason);
        self.forget(&dead.entry, effects);
    }

    pub(super) fn has_undead_to_publish(&self) -> bool {
        !self.undead.waiting.is_empty()
    }
}
