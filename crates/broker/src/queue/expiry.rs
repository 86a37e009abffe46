//! Time: messages that expire and queues that nobody uses (RabbitMQ docs: ttl).
//!
//! As in RabbitMQ a message is looked at when it is the first of the queue or of its level; one that expires behind a live one is
//! still counted. Nothing here reads a clock.

use super::entry::{Deadline, Entry};
use super::{Drop, Queue};
use crate::effect::{Effect, Effects};
use crate::message::SharedMessage;
use base::Now;
use std::time::Duration;

impl Queue {
    /// When the message expires: the queue's limit or its own, whichever comes first.
    #[inline]
    pub(super) fn deadline(&mut self, now: Now, message: &SharedMessage) -> Deadline {
        let ttl_ms = match (
            self.settings.arguments.message_ttl_ms,
            message.expiration_ms,
        ) {
            (None, None) => return Deadline::NEVER,
            (Some(queue), Some(own)) => queue.min(own),
            (Some(ttl_ms), None) | (None, Some(ttl_ms)) => ttl_ms,
        };
        self.clocks = now;
        Deadline::after(now, ttl_ms)
    }

    /// Drops what expired at the front of the queue, or of each level. True if anything did.
    pub(super) fn expire(&mut self, now: Now, effects: &mut Effects) -> bool {
        self.expire_where(now, effects, |entry| entry.deadline.has_passed(now))
    }

    /// Like [`Queue::expire`], but leaves what expires in this very moment: it has had no chance yet.
    pub(super) fn expire_overdue(&mut self, now: Now, effects: &mut Effects) -> bool {
        let before = just_before(now);
        self.expire_where(now, effects, |entry| entry.deadline.has_passed(before))
    }

    /// Whether a message at the front should not be there any more: this turn has dropped what it may.
    pub(super) fn is_overdue(&self, now: Now, entry: &Entry) -> bool {
        self.expiring && entry.deadline.has_passed(just_before(now))
    }

    fn expire_where(
        &mut self,
        now: Now,
        effects: &mut Effects,
        has_expired: impl Fn(&Entry) -> bool,
    ) -> bool {
        if !self.expiring || self.deleting {
            return false;
        }
        let mut dropped = false;
        while !self.is_dropping() && !self.undead.is_full() {
            let fronts = self.ready.fronts();
            let expired = fronts
                .iter()
                .find(|entry| has_expired(entry) && self.can_drop(entry));
            let Some((level, position)) = expired.map(|entry| (entry.level, entry.position)) else {
                self.in_expired_run &= fronts.is_empty();
                break;
            };
            drop(fronts);
            let entry = if self.ready.has_levels() {
                self.ready.remove(level, position)
            } else {
                self.ready.pop()
            };
            let Some(entry) = entry else { break };
            self.drop_entry(now, entry, Drop::Expired, effects);
            self.in_expired_run = true;
            dropped = true;
        }
        if self.ready.is_empty() {
            self.expiring = self.settings.arguments.message_ttl_ms.is_some();
        }
        dropped
    }

    /// Asks for a wake-up, unless an early enough one is under way.
    pub(super) fn arm(&mut self, now: Now, effects: &mut Effects) {
        if self.deleting {
            return;
        }
        // What has expired and is still there waits for the store, not for the clock.
        let fronts = self.ready.fronts();
        let pending = fronts
            .iter()
            .filter(|entry| !entry.deadline.has_passed(now));
        let expiry = pending.filter_map(|entry| entry.deadline.moment()).min();
        drop(fronts);
        let deadlines = [
            expiry,
            self.unused_deadline(now),
            self.leases.as_ref().and_then(|leases| leases.check_at()),
            self.undead.retry_at(),
            self.retries.as_ref().and_then(|retries| retries.next_due()),
        ];
        if let Some(at) = deadlines.into_iter().flatten().min() {
            self.wake_by(at, effects);
        }
    }

    /// Asks for a wake-up at that time, unless an earlier one is under way.
    pub(super) fn wake_by(&mut self, at: Duration, effects: &mut Effects) {
        if self.wake_at.is_none_or(|armed| at < armed) {
            self.wake_at = Some(at);
            effects.push(Effect::Wake {
                queue: self.id(),
                at,
            });
        }
    }

    /// When the queue will have been unused for too long, if nothing happens.
    pub(super) fn unused_deadline(&mut self, now: Now) -> Option<Duration> {
        let expires_ms = self.settings.arguments.expires_ms?;
        let last_used = *self.last_used.get_or_insert(now.monotonic);
        self.consumers
            .is_empty()
            .then(|| last_used.saturating_add(Duration::from_millis(expires_ms)))
    }

    pub(super) fn is_unused_too_long(&mut self, now: Now) -> bool {
        self.unused_deadline(now)
            .is_some_and(|deadline| deadline <= now.monotonic)
    }
}

/// The last moment before this one.
fn just_before(now: Now) -> Now {
    Now {
        monotonic: now.monotonic.saturating_sub(Duration::from_nanos(1)),
        ..now
    }
}
