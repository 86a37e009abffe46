//! Handing messages out: to whoever fetches, and to consumers that have credit.
//!
//! Which consumer is next is decided in `consumers`. This is the hot path of every queue.

use super::consumers::{ConsumerKey, Taker};
use super::entry::Entry;
use super::ready::Front;
use super::unacked::Delivered;
use super::{Queue, Windows};
use crate::command::{ChannelId, Reply};
use crate::effect::{Effect, Effects};
use crate::message::SharedMessage;
use base::Now;

impl Queue {
    /// Hands out what is here. A message without time to live may still go to somebody who is ready for it.
    pub(super) fn serve(&mut self, now: Now, windows: &mut impl Windows, effects: &mut Effects) {
        if self.paused {
            return self.serve_nothing(effects);
        }
        self.expire_overdue(now, effects);
        self.serve_gets(now, effects);
        if self.undead.is_full() {
            return;
        }
        if self.gets.is_empty() && self.consumers.has_turns() {
            self.serve_consumers(now, windows, effects);
        }
    }

    fn serve_gets(&mut self, now: Now, effects: &mut Effects) {
        while let Some(&(channel, no_ack)) = self.gets.front() {
            match self.ready.front() {
                Front::Cold => return,
                Front::Entry(entry) if entry.message.is_none() || self.is_overdue(now, entry) => {
                    return;
                }
                Front::Entry(_) if self.undead.is_full() => effects.push(Effect::Reply {
                    to: channel,
                    reply: Reply::GetEmpty,
                }),
                Front::Entry(_) => self.fetch(now, channel, no_ack, effects),
                Front::Empty => {
                    self.counters.empty_gets += 1;
                    effects.push(Effect::Reply {
                        to: channel,
                        reply: Reply::GetEmpty,
                    });
                }
            }
            self.gets.pop_front();
            self.expire_overdue(now, effects);
        }
    }

    fn fetch(&mut self, now: Now, channel: ChannelId, no_ack: bool, effects: &mut Effects) {
        let Some(entry) = self.ready.pop() else {
            return;
        };
        let message = entry
            .message
            .clone()
            .expect("the caller saw that it is loaded");
        self.counters.fetched += 1;
        self.counters.auto_fetched += u64::from(no_ack);
        self.counters.redelivered += u64::from(entry.redelivered);
        let reply = Reply::GetOk {
            queue: self.settings.queue,
            position: entry.position,
            message,
            redelivered: entry.redelivered,
            ready: self.ready.count(),
            attempts: self.attempts_of(&entry),
        };
        effects.push(Effect::Reply { to: channel, reply });
        self.lease(now, ConsumerKey::NONE, no_ack);
        self.hand_over(now, entry, channel, ConsumerKey::NONE, no_ack, effects);
    }

    fn serve_consumers(&mut self, now: Now, windows: &mut impl Windows, effects: &mut Effects) {
        while let Front::Entry(entry) = self.ready.front()
            && let Some(message) = &entry.message
            && !self.is_overdue(now, entry)
        {
            let bytes = message.size_bytes();
            let Some(taker) = self.consumers.take(self.settings.queue.id, bytes, windows) else {
                return;
            };
            let Some(entry) = self.ready.pop() else {
                return;
            };
            self.deliver(now, entry, taker, effects);
            self.expire_overdue(now, effects);
        }
    }

    #[inline]
    pub(super) fn take_consumer(
        &mut self,
        entry: &Entry,
        windows: &mut impl Windows,
    ) -> Option<Taker> {
        let bytes = entry
            .message
            .as_ref()
            .map_or(0, |message| message.size_bytes());
        self.consumers.take(self.settings.queue.id, bytes, windows)
    }

    /// Sends a loaded message to the consumer that it was booked to.
    #[inline]
    pub(super) fn deliver(
        &mut self,
        now: Now,
        mut entry: Entry,
        taker: Taker,
        effects: &mut Effects,
    ) {
        self.counters.delivered += 1;
        self.counters.redelivered += u64::from(entry.redelivered);
        // An auto-ack delivery is the last use of the message here, unless it is kept: it moves.
        let message = if taker.no_ack && self.replay.is_none() {
            entry.message.take()
        } else {
            entry.message.clone()
        };
        let message = message.expect("callers deliver loaded messages");
        let attempts = self.attempts_before(now, &entry, taker);
        if attempts.is_first() {
            self.send(&entry, taker, message, effects);
        } else {
            self.send_again(&entry, taker, message, attempts, effects);
        }
        self.hand_over(now, entry, taker.channel, taker.key, taker.no_ack, effects);
    }

    /// Adds a message to those that are on their way to the consumer, if it comes right behind them.
    #[inline]
    fn send(&self, entry: &Entry, taker: Taker, mut message: SharedMessage, effects: &mut Effects) {
        if let Some(Effect::Reply {
            to,
            reply:
                Reply::Deliver {
                    consumer,
                    queue,
                    position,
                    messages,
                    redelivered,
                },
        }) = effects.last_mut()
            && position.0 + messages.len() as u64 == entry.position.0
            && *redelivered == entry.redelivered
            && *consumer == taker.index
            && *queue == self.settings.queue
            && *to == taker.channel
        {
            match messages.push(message) {
                Ok(()) => return,
                Err(refused) => message = refused,
            }
        }
        effects.push(Effect::Reply {
            to: taker.channel,
            reply: Reply::Deliver {
                consumer: taker.index,
                queue: self.settings.queue,
                position: entry.position,
                messages: message.into(),
                redelivered: entry.redelivered,
            },
        });
    }

    /// The message went out: it is settled now or waits for that.
    #[inline]
    fn hand_over(
        &mut self,
        now: Now,
        entry: Entry,
        channel: ChannelId,
        consumer: ConsumerKey,
        no_ack: bool,
        effects: &mut Effects,
    ) {
        if no_ack {
            self.counters.auto_acked += 1;
            return self.used_up(now, entry, effects);
        }
        self.journal.delivered(&entry, effects);
        let since = self.leases.as_ref().map_or(0, |leases| leases.tick());
        let delivered = Delivered {
            entry,
            channel,
            consumer,
        };
        self.unacked.insert(delivered, since);
        if self.unacked.ram_bytes() > self.ram_limit {
            self.relieve_unacked();
        }
    }
}
