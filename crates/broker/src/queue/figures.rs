//! What listings and the node ask about a queue: what it is, what is in it, whether its machine can be dropped.
//!
//! Nothing here changes the queue, but for the note that its figures have changed.

use super::consumers::Consumer;
use super::counters::Counters;
use super::{Queue, QueueSettings, Stored};
use crate::command::ConsumerId;
use base::{Now, Position};

impl Queue {
    /// What the queue is.
    pub fn settings(&self) -> &QueueSettings {
        &self.settings
    }

    /// Messages that wait.
    pub fn ready_count(&self) -> u64 {
        self.ready.count()
    }

    /// Bytes of the bodies of the messages that wait.
    pub fn ready_bytes(&self) -> u64 {
        self.ready.bytes()
    }

    /// Messages that were delivered and not settled.
    pub fn unacked_count(&self) -> u64 {
        self.unacked.len() as u64
    }

    /// Messages that died and stay until the queues that they go to have them (at-least-once dead lettering).
    pub fn undead_count(&self) -> u64 {
        self.undead.len() as u64
    }

    /// Bytes of their bodies.
    pub fn undead_bytes(&self) -> u64 {
        self.undead.body_bytes()
    }

    /// How many messages wait of each level of priority, lowest first, as far as that is known. Empty while nothing asks for levels.
    pub fn level_counts(&self) -> impl Iterator<Item = (u8, u64)> {
        self.ready.level_counts()
    }

    /// Messages wait in levels, and [`Queue::level_counts`] does not know all of them.
    pub fn has_unknown_levels(&self) -> bool {
        self.ready.has_unknown_levels()
    }

    /// More was to be dropped than a turn may, and the rest waits for the next one.
    pub fn is_dropping(&self) -> bool {
        self.drops_left == 0 || self.dead_letter_bytes_left == 0
    }

    /// What dies here goes to an exchange.
    pub fn has_dead_letters(&self) -> bool {
        self.settings.arguments.dead_letter_exchange.is_some()
    }

    /// Consumers.
    pub fn consumer_count(&self) -> u32 {
        u32::try_from(self.consumers.len()).unwrap_or(u32::MAX)
    }

    /// The consumers, in no particular order.
    pub fn consumers(&self) -> impl Iterator<Item = &Consumer> {
        self.consumers.iter()
    }

    /// The share of the time, from 0 to 1, in which no message had to wait for a consumer, lately; 0 without consumers
    /// (`consumer_capacity`).
    pub fn consumer_capacity(&self, now: Now) -> f64 {
        if self.consumers.is_empty() {
            return 0.0;
        }
        self.capacity.share(now.monotonic)
    }

    /// Whether a consumer gets messages; false while it waits behind a single active consumer.
    pub fn is_active_consumer(&self, consumer: ConsumerId) -> bool {
        self.consumers.is_active(consumer)
    }

    /// RAM that message payloads take, ready and unacked.
    pub fn ram_bytes(&self) -> usize {
        let replay = self.replay.as_ref().map_or(0, |replay| replay.ram_bytes());
        let retries = self
            .retries
            .as_ref()
            .map_or(0, |retries| retries.ram_bytes());
        let (ready, unacked) = (self.ready.ram_bytes(), self.unacked.ram_bytes());
        ready + unacked + self.undead.ram_bytes() + replay + retries
    }

    /// The part of it that unacked messages take.
    pub fn unacked_ram_bytes(&self) -> usize {
        self.unacked.ram_bytes()
    }

    /// What happened so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Notes that figures of this queue may have changed. True if that was not noted yet.
    #[inline]
    pub fn note_change(&mut self) -> bool {
        !std::mem::replace(&mut self.is_noted, true)
    }

    /// The figures are known again as they are now.
    pub fn forget_change(&mut self) {
        self.is_noted = false;
    }

    /// Whether the machine may be dropped and made again from [`Queue::stored`]: nothing in it is not in the store as well.
    pub fn is_idle(&self) -> bool {
        let quiet = self.consumers.is_empty()
            && self.unacked.is_empty()
            && self.undead.is_empty()
            && self
                .attempts
                .as_ref()
                .is_none_or(|attempts| attempts.is_empty())
            && self
                .retries
                .as_ref()
                .is_none_or(|retries| retries.is_empty())
            && self.confirms.is_empty()
            && self.gets.is_empty()
            && self.load.is_none()
            && self.journal.is_quiet()
            && !self.is_browsed()
            && self.intake.is_idle()
            && self.dedup.is_none()
            && self.replay.is_none()
            && !self.deleting;
        let timeless = self.settings.arguments.expires_ms.is_none()
            && (self.ready.is_empty() || !self.expiring);
        quiet
            && timeless
            && self
                .ready
                .iter_from(Position(0))
                .all(|entry| self.journal.is_written(entry))
    }

    /// What a machine made later has to start from. Only when [`Queue::is_idle`].
    pub fn stored(&self) -> Stored {
        Stored {
            messages: self.ready.count(),
            bytes: self.ready.bytes(),
            is_estimate: self.ready.estimated_bytes() > 0,
            first: self.ready.first(),
            next: self.next,
            delivered_until: self.journal.delivered_until(),
        }
    }
}
