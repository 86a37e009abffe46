//! Messages that come back to the queue, at once or after a while, and messages that leave it against the publisher's hopes.
//!
//! When that happens is decided elsewhere: by settlements, `expiry`, `limits` and `attempts`.

use super::entry::{self, Deadline, Entry};
use super::{LEVEL_DEFAULT, Queue, level};
use crate::command::{ChannelId, Outcome, Positions};
use crate::effect::{DeadLetterReason, Effect, Effects};
use crate::message::SharedMessage;
use base::{Now, Position};

/// How a message leaves without having been asked for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Drop {
    Expired,
    MaxLength,
    /// The consumer has failed with it, or just does not want it.
    Rejected {
        failed: bool,
    },
    DeliveryLimit,
}

impl Queue {
    /// A message that was out comes back. If it did too often it dies, and it may have to wait.
    pub(super) fn come_back(
        &mut self,
        now: Now,
        entry: Entry,
        outcome: Outcome,
        effects: &mut Effects,
    ) {
        let failed = outcome == Outcome::Fail;
        let mut wait_ms = None;
        if let Some(attempts) = self.came_back(entry.position, failed, effects) {
            if self.is_tried_too_often(attempts) {
                return self.drop_entry(now, entry, Drop::DeliveryLimit, effects);
            }
            wait_ms = self.retry_wait_ms(entry.position, outcome, attempts);
        }
        self.counters.requeued += 1;
        match wait_ms {
            Some(wait_ms) => self.try_later(now, entry, wait_ms),
            None => self.put_back(entry),
        }
    }

    /// Delivered messages that come back leave the queue for a while, or for good: that is the shard's matter.
    pub(super) fn retry_later(
        &mut self,
        channel: ChannelId,
        positions: &Positions,
        outcome: Outcome,
        effects: &mut Effects,
    ) {
        for &position in positions {
            let Some(mut delivered) = self.unacked.remove(position, channel) else {
                continue;
            };
            self.consumers.settled(delivered.consumer);
            let Some(message) = delivered.entry.message.take() else {
                // Its payload left RAM before the queue was told to retry: it comes back at once.
                delivered.entry.redelivered = true;
                self.counters.requeued += 1;
                self.put_back(delivered.entry);
                continue;
            };
            self.counters.retried += 1;
            effects.push(Effect::Retry {
                queue: self.id(),
                position,
                message,
                outcome,
            });
            self.forget(&delivered.entry, effects);
        }
    }

    /// A message comes back that was to be tried again later.
    pub(super) fn enter_again(&mut self, now: Now, message: SharedMessage, effects: &mut Effects) {
        let logged = self.settings.durable && (message.persistent || self.attempts.is_some());
        let position = self.next;
        self.next = position.next();
        self.counters.published += 1;
        let entry = Entry {
            position,
            deadline: self.deadline(now, &message),
            body_bytes: entry::body_bytes(&message),
            level: level(&self.settings.arguments, &message),
            logged,
            spilled: false,
            redelivered: true,
            message: Some(message),
        };
        if entry.level != LEVEL_DEFAULT && self.attempts.is_some() {
            self.ready.make_levels();
            self.has_other_levels = true;
        }
        if logged {
            self.journal.announce(false, effects);
        }
        self.enqueue(entry, effects);
    }

    /// A message that was out waits again.
    pub(super) fn put_back(&mut self, entry: Entry) {
        self.expiring |= entry.deadline != Deadline::NEVER;
        let may_be_cold = self.may_be_cold(&entry);
        self.ready.restore(entry, may_be_cold);
    }

    /// A message leaves against the publisher's hopes.
    pub(super) fn drop_entry(
        &mut self,
        now: Now,
        mut entry: Entry,
        cause: Drop,
        effects: &mut Effects,
    ) {
        let reason = match cause {
            Drop::Expired => DeadLetterReason::Expired,
            Drop::MaxLength => DeadLetterReason::MaxLength,
            Drop::Rejected { .. } => DeadLetterReason::Rejected,
            Drop::DeliveryLimit => DeadLetterReason::DeliveryLimit,
        };
        let failed = matches!(cause, Drop::Rejected { failed: true });
        let failed_deliveries = self.last_attempt(&entry, failed);
        let stays = self.settings.arguments.keeps_dead_letters()
            || self.is_dropping()
            || entry.message.is_none();
        if self.has_dead_letters() && stays {
            self.keep_undead(entry, reason, failed_deliveries);
            self.publish_undead(effects);
            self.read_undead(effects);
            return self.wake_to_drop(now, effects);
        }
        self.drops_left = self.drops_left.saturating_sub(1);
        self.count_death(reason);
        if let Some(message) = entry.message.take() {
            self.dead_letter(message, reason, failed_deliveries, None, effects);
        }
        self.forget(&entry, effects);
    }

    pub(super) fn count_death(&mut self, reason: DeadLetterReason) {
        let counters = &mut self.counters;
        *match reason {
            DeadLetterReason::Expired => &mut counters.expired,
            DeadLetterReason::MaxLength => &mut counters.max_length,
            DeadLetterReason::Rejected => &mut counters.rejected,
            DeadLetterReason::DeliveryLimit => &mut counters.delivery_limit,
        } += 1;
    }

    pub(super) fn dead_letter(
        &mut self,
        message: SharedMessage,
        reason: DeadLetterReason,
        failed_deliveries: u32,
        awaited: Option<Position>,
        effects: &mut Effects,
    ) {
        let arguments = &self.settings.arguments;
        let Some(exchange) = arguments.dead_letter_exchange.clone() else {
            return;
        };
        let routing_key = arguments.dead_letter_routing_key.clone();
        self.dead_letter_bytes_left = self
            .dead_letter_bytes_left
            .saturating_sub(message.size_bytes());
        effects.push(Effect::DeadLetter {
            queue: self.id(),
            message,
            reason,
            failed_deliveries,
            awaited,
            exchange,
            routing_key,
        });
    }

    /// An entry can be dropped when its payload is here or nobody wants it.
    pub(super) fn can_drop(&self, entry: &Entry) -> bool {
        entry.message.is_some() || self.settings.arguments.dead_letter_exchange.is_none()
    }
}
