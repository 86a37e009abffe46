//! How often messages of a quorum queue came back (RabbitMQ docs: quorum-queues#poison-message-handling).
//!
//! Only messages that did are in here. The counts are not in the log: after a restart they begin anew, except for what a message
//! brought from queues where it died. Limit: messages that are ready or unacked.

use super::Queue;
use super::consumers::Taker;
use super::entry::{self, Entry};
use crate::command::{Attempts, Redelivery, Reply};
use crate::effect::{Effect, Effects};
use crate::message::SharedMessage;
use base::{Now, Position};
use hashbrown::HashMap;

#[derive(Debug, Default)]
pub(super) struct AttemptsOf(HashMap<Position, Attempts, foldhash::fast::RandomState>);

impl AttemptsOf {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The message is gone.
    #[inline]
    pub(super) fn forget(&mut self, position: Position) -> Attempts {
        if self.0.is_empty() {
            return Attempts::default();
        }
        self.0.remove(&position).unwrap_or_default()
    }

    /// Consumers failed with the message before it came here. What is known of it already stays.
    pub(super) fn note_before(&mut self, position: Position, failed: u32) {
        if failed > 0 {
            let before = Attempts {
                acquired: 0,
                failed,
            };
            self.0.entry(position).or_insert(before);
        }
    }

    fn came_back(&mut self, position: Position, failed: bool) -> Attempts {
        let attempts = self.0.entry(position).or_default();
        attempts.acquired = attempts.acquired.saturating_add(1);
        attempts.failed = attempts.failed.saturating_add(u32::from(failed));
        *attempts
    }

    fn get(&self, position: Position) -> Attempts {
        self.0.get(&position).copied().unwrap_or_default()
    }
}

impl Queue {
    /// A message that died elsewhere brings what happened to it there.
    pub(super) fn note_failed_before(&mut self, entry: &mut Entry) {
        let failed = entry.message.as_deref().map_or(0, entry::failed_before);
        if failed == 0 {
            return;
        }
        entry.redelivered = true;
        if let Some(attempts) = &mut self.attempts {
            attempts.note_before(entry.position, failed);
        }
    }

    /// Notes that a message came back, and says whether that was once too often.
    pub(super) fn is_tried_too_often(&mut self, position: Position, failed: bool) -> bool {
        let Some(attempts) = &mut self.attempts else {
            return false;
        };
        let failures = attempts.came_back(position, failed).failed;
        let limit = self.settings.arguments.delivery_limit;
        limit.is_some_and(|limit| u64::from(failures) > limit)
    }

    /// How often consumers failed with a message that dies now.
    pub(super) fn last_attempt(&mut self, entry: &Entry, failed: bool) -> u32 {
        let before = match &mut self.attempts {
            Some(attempts) => attempts.forget(entry.position).failed,
            None => entry.message.as_deref().map_or(0, entry::failed_before),
        };
        before.saturating_add(u32::from(failed))
    }

    /// What whoever gets the message is told.
    pub(super) fn attempts_of(&self, entry: &Entry) -> Attempts {
        let Some(attempts) = self.attempts.as_ref().filter(|_| entry.redelivered) else {
            return Attempts::default();
        };
        let attempts = attempts.get(entry.position);
        // Compat: what a message failed elsewhere counts as acquired until it comes back here.
        Attempts {
            acquired: match attempts.acquired {
                0 => attempts.failed,
                acquired => acquired,
            },
            ..attempts
        }
    }

    /// A message is about to go out: how often it did before.
    #[inline]
    pub(super) fn attempts_before(&mut self, now: Now, entry: &Entry, taker: Taker) -> Attempts {
        if self.attempts.is_none() {
            return Attempts::default();
        }
        self.lease(now, taker.key, taker.no_ack);
        self.attempts_of(entry)
    }

    /// Sends a message that came back.
    pub(super) fn send_again(
        &self,
        entry: &Entry,
        taker: Taker,
        message: SharedMessage,
        attempts: Attempts,
        effects: &mut Effects,
    ) {
        let again = Redelivery {
            consumer: taker.index,
            queue: self.settings.queue,
            position: entry.position,
            message,
            attempts,
        };
        effects.push(Effect::Reply {
            to: taker.channel,
            reply: Reply::DeliverAgain(Box::new(again)),
        });
    }
}
