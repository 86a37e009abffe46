//! Room: length limits, payloads in RAM, and reads from the store.

use super::entry::{self, MESSAGE_OVERHEAD_BYTES};
use super::ready::{Front, Load};
use super::{Drop, LOAD_BYTES_MAX, Queue};
use crate::effect::{Effect, Effects};
use crate::message::SharedMessage;
use crate::queue_arguments::Overflow;
use base::Now;

impl Queue {
    /// Whether a queue that refuses new messages must refuse this one.
    #[inline]
    pub(super) fn is_full_for(&self, message: &SharedMessage) -> bool {
        let arguments = &self.settings.arguments;
        match arguments.overflow {
            Overflow::DropHead => false,
            Overflow::RejectPublish | Overflow::RejectPublishDlx => {
                arguments
                    .max_length
                    .is_some_and(|max| self.limited_count() + self.undead_count() >= max)
                    || arguments.max_length_bytes.is_some_and(|max| {
                        self.limited_bytes() + u64::from(entry::body_bytes(message)) > max
                    })
            }
        }
    }

    /// More waits than the length limits allow.
    pub(super) fn is_over_length(&self) -> bool {
        let arguments = &self.settings.arguments;
        arguments.overflow == Overflow::DropHead
            && (arguments
                .max_length
                .is_some_and(|max| self.limited_count() > max)
                || arguments
                    .max_length_bytes
                    .is_some_and(|max| self.limited_bytes() > max))
    }

    /// Messages that count for the length limits.
    fn limited_count(&self) -> u64 {
        self.ready.count() + self.delayed_count()
    }

    /// Bytes that do. What was not read since the start does not: nothing may be dropped because its size was not known.
    fn limited_bytes(&self) -> u64 {
        self.ready.bytes() - self.ready.estimated_bytes() + self.delayed_bytes()
    }

    /// A limit counts bytes that a small read tells.
    fn has_to_know_bytes(&self) -> bool {
        let small = self.load_bytes() as u64;
        self.settings.arguments.max_length_bytes.is_some()
            && (1..=small).contains(&self.ready.estimated_bytes())
    }

    /// Drops the first message if there are too many. False if there are not, or if it must be read first.
    pub(super) fn drop_excess(&mut self, now: Now, effects: &mut Effects) -> bool {
        if self.is_over_length()
            && !self.is_dropping()
            && let Front::Entry(entry) = self.ready.front()
            && self.can_drop(entry)
            && let Some(entry) = self.ready.pop()
        {
            self.drop_entry(now, entry, Drop::MaxLength, effects);
            return true;
        }
        false
    }

    /// Reads what will be needed next, one read at a time.
    pub(super) fn request_load(&mut self, now: Now, effects: &mut Effects) {
        if self.load.is_some() {
            return;
        }
        let bytes = self.load_bytes();
        let consumed = !self.consumers.is_empty();
        let wanted = consumed
            || !self.gets.is_empty()
            || self.is_over_length()
            || self.browses_need_levels()
            || self.attempts_need_entries()
            || self.has_to_know_bytes();
        let load = if wanted {
            self.ready.wanted_load(bytes, consumed)
        } else {
            None
        };
        let Some((load, bytes)) = load
            .map(|load| (load, bytes))
            .or_else(|| self.expiry_load(now, bytes))
        else {
            return;
        };
        self.load = Some(load);
        effects.push(Effect::Load {
            queue: self.id(),
            from: load.from,
            until: load.until,
            bytes_max: self.bytes_in_store(bytes),
        });
    }

    /// A read that nobody waits for: to learn when the first message expires, or to dead-letter one that has.
    pub(super) fn expiry_load(&self, now: Now, bytes: usize) -> Option<(Load, usize)> {
        if !self.expiring {
            return None;
        }
        if matches!(self.ready.front(), Front::Cold) {
            // One message tells, unless all must be seen to know their levels or many have expired.
            let bytes = if self.ready.has_levels() || self.in_expired_run {
                bytes
            } else {
                1
            };
            return self
                .ready
                .wanted_load(bytes, false)
                .map(|load| (load, bytes));
        }
        let fronts = self.ready.fronts();
        let stuck = fronts
            .iter()
            .find(|entry| entry.deadline.has_passed(now) && !self.can_drop(entry));
        stuck.map(|entry| (Load::of_known(entry.position), 1))
    }

    /// How many bytes to read so that they take about `ram_bytes` here: small messages cost more than their size.
    pub(super) fn bytes_in_store(&self, ram_bytes: usize) -> usize {
        let body_bytes = self
            .ready
            .bytes()
            .checked_div(self.ready.count())
            .unwrap_or(0);
        let body_bytes = usize::try_from(body_bytes)
            .unwrap_or(usize::MAX)
            .clamp(1, LOAD_BYTES_MAX);
        (ram_bytes * body_bytes / (body_bytes + MESSAGE_OVERHEAD_BYTES)).max(1)
    }

    /// RAM that one read may fill.
    pub(super) fn load_bytes(&self) -> usize {
        (self.ram_limit / 4).min(LOAD_BYTES_MAX)
    }

    /// Brings payloads in RAM down to the limit, as far as they are written; the rest is asked to be.
    pub(super) fn relieve(&mut self, effects: &mut Effects) {
        let journal = &self.journal;
        // The head keeps what two reads bring, so that it does not flow back to where it just came from.
        self.ready
            .evict(self.ram_limit, self.ram_limit / 2, |entry| {
                journal.is_written(entry)
            });
        if self.ready.ram_bytes() > self.ram_limit {
            self.journal.want_spill(self.next, effects);
        }
        self.relieve_unacked();
        if let Some(retries) = &mut self.retries {
            let journal = &self.journal;
            retries.relieve(|entry| journal.is_written(entry));
        }
    }

    /// Unacked payloads are needed again only if they come back, or to be dead-lettered.
    pub(super) fn relieve_unacked(&mut self) {
        if self.unacked.ram_bytes() > self.ram_limit
            && self.settings.arguments.dead_letter_exchange.is_none()
            && (self.attempts.is_some() || !self.settings.arguments.delayed_retry.is_enabled())
        {
            let journal = &self.journal;
            self.unacked.evict(|entry| journal.is_written(entry));
        }
    }
}
