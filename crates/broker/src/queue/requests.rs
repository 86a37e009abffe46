//! What clients ask of a queue besides publishing, taking and settling: consumers that come and go, purge, status, deletion.
//!
//! It hands no message out; [`Queue::apply`] brings the queue forward afterwards.

use super::Queue;
use crate::Error;
use crate::command::{ChannelId, ConsumerId, ConsumerSettings, QueueCommand, Reply};
use crate::effect::{Effect, Effects};
use crate::error::ResourceKind;
use base::Now;

impl Queue {
    /// The queue was deleted from the metadata; the machine is dropped after this.
    /// Waiting confirms are given: the messages are as gone as they would be a moment later (as RabbitMQ does).
    pub fn handle_deleted(&mut self, effects: &mut Effects) {
        self.deleting = true;
        for command in self.take_waiting_commands() {
            self.apply_deleted(command, effects);
        }
        for consumer in self.consumers.drain() {
            let reply = Reply::ConsumerCancelled {
                consumer: consumer.index,
            };
            effects.push(Effect::Reply {
                to: consumer.channel,
                reply,
            });
        }
        for (channel, _) in std::mem::take(&mut self.gets) {
            effects.push(Effect::Reply {
                to: channel,
                reply: Reply::Failed(self.not_found().into()),
            });
        }
        self.refuse_browses(effects);
        self.release_stash(effects);
        self.confirms.release_until(self.next, effects);
        self.flush_confirms(effects);
        self.give_all_credit(effects);
        effects.extend(self.take_barriers().map(|to| Effect::Reply {
            to,
            reply: Reply::Barrier(Ok(())),
        }));
    }

    /// Takes the channels that wait for a barrier from a queue that is about to be deleted. The caller answers them, when nothing
    /// of the queue can come back; those it leaves are answered by [`Queue::handle_deleted`].
    pub fn take_barriers(&mut self) -> impl Iterator<Item = ChannelId> + use<> {
        self.journal.take_barriers()
    }

    pub(super) fn consume(
        &mut self,
        now: Now,
        consumer: ConsumerId,
        settings: Box<ConsumerSettings>,
        effects: &mut Effects,
    ) {
        // Compat: quorum queues ignore the exclusive flag.
        let conflict = if self.attempts.is_some() {
            false
        } else if settings.exclusive {
            !self.consumers.is_empty() || self.settings.arguments.single_active_consumer
        } else {
            self.consumers.has_exclusive()
        };
        if conflict || self.consumers.contains(consumer) {
            let error = Error::ExclusiveUse {
                name: self.settings.name.clone(),
                vhost: self.settings.vhost.clone(),
            };
            effects.push(Effect::Reply {
                to: consumer.channel,
                reply: Reply::Failed(error.into()),
            });
            return;
        }
        self.last_used = Some(now.monotonic);
        self.consumers.add(consumer, settings);
        effects.push(Effect::Reply {
            to: consumer.channel,
            reply: Reply::ConsumeOk {
                consumer: consumer.index,
            },
        });
    }

    pub(super) fn cancel(
        &mut self,
        now: Now,
        consumer: ConsumerId,
        reply: bool,
        effects: &mut Effects,
    ) {
        let was_there = self.consumers.remove(consumer);
        if reply {
            effects.push(Effect::Reply {
                to: consumer.channel,
                reply: Reply::CancelOk {
                    consumer: consumer.index,
                },
            });
        }
        if !was_there {
            return;
        }
        self.last_used = Some(now.monotonic);
        if self.settings.auto_delete && self.consumers.is_empty() {
            self.deleting = true;
            effects.push(Effect::Delete {
                queue: self.id(),
                reply: None,
            });
        }
    }

    pub(super) fn purge(&mut self, now: Now, channel: ChannelId, effects: &mut Effects) {
        self.expire(now, effects);
        let count = self.ready.count() + self.purge_retries(effects);
        self.counters.purged += count;
        let (journal, confirms, attempts) =
            (&mut self.journal, &mut self.confirms, &mut self.attempts);
        let cold = self.ready.clear(self.next, |entry| {
            if journal.settle(entry, effects) {
                confirms.release_settled(entry.position, effects);
            }
            if let Some(attempts) = attempts {
                attempts.forget(entry.position);
            }
        });
        if let Some(attempts) = attempts {
            attempts.forget_restored();
        }
        self.forget_notes(effects);
        let runs = cold.into_iter().flat_map(|range| self.without_kept(range));
        for (from, until) in runs.collect::<Vec<_>>() {
            self.journal.settle_range(from, until, effects);
        }
        if let Some(dedup) = &mut self.dedup {
            dedup.all_left(|position| self.unacked.get(position).is_some());
        }
        effects.push(Effect::Reply {
            to: channel,
            reply: Reply::Purged { count },
        });
    }

    pub(super) fn status(&mut self, now: Now, channel: ChannelId, effects: &mut Effects) {
        // Compat: a declaration is no use of a quorum queue.
        if self.attempts.is_none() {
            self.last_used = Some(now.monotonic);
        }
        self.expire(now, effects);
        let reply = Reply::Status {
            ready: self.ready.count(),
            consumers: self.consumer_count(),
        };
        effects.push(Effect::Reply { to: channel, reply });
    }

    pub(super) fn delete(
        &mut self,
        now: Now,
        channel: ChannelId,
        if_unused: bool,
        if_empty: bool,
        effects: &mut Effects,
    ) {
        self.expire(now, effects);
        let (name, vhost) = (&self.settings.name, &self.settings.vhost);
        let error = if if_empty && self.ready.count() > 0 {
            Error::NotEmpty {
                name: name.clone(),
                vhost: vhost.clone(),
            }
        } else if if_unused && !self.consumers.is_empty() {
            Error::InUse {
                kind: ResourceKind::Queue,
                name: name.clone(),
                vhost: vhost.clone(),
            }
        } else {
            self.deleting = true;
            let reply = Some((channel, self.ready.count()));
            effects.push(Effect::Delete {
                queue: self.id(),
                reply,
            });
            return;
        };
        effects.push(Effect::Reply {
            to: channel,
            reply: Reply::Failed(error.into()),
        });
    }

    /// The queue is about to go. Publishers are told what they would have been told a moment earlier, everybody else
    /// what they will be told a moment later.
    pub(super) fn apply_deleted(&mut self, command: QueueCommand, effects: &mut Effects) {
        let channel = match command {
            QueueCommand::Publish { messages, confirm } => {
                let confirms = (0..messages.len() as u64).zip(confirm.into_iter().cycle());
                for (count, first) in confirms {
                    self.confirms.confirm(first.nth(count), effects);
                }
                return;
            }
            QueueCommand::AskCredit { channel, spent } => {
                self.intake.ask(channel, spent);
                return self.give_all_credit(effects);
            }
            QueueCommand::Settle { .. }
            | QueueCommand::Resume { .. }
            | QueueCommand::Delay(_)
            | QueueCommand::Retry { .. } => return,
            // What was settled before is still on its way to the log.
            QueueCommand::Barrier { channel } => return self.journal.barrier(channel, effects),
            QueueCommand::Cancel { consumer, reply } => {
                self.consumers.remove(consumer);
                if reply {
                    let reply = Reply::CancelOk {
                        consumer: consumer.index,
                    };
                    effects.push(Effect::Reply {
                        to: consumer.channel,
                        reply,
                    });
                }
                return;
            }
            QueueCommand::Operate { channel, operation } => {
                if !operation.is_answered() {
                    return;
                }
                channel
            }
            QueueCommand::Consume { consumer, .. } => consumer.channel,
            QueueCommand::Get { channel, .. }
            | QueueCommand::Purge { channel }
            | QueueCommand::Status { channel }
            | QueueCommand::Delete { channel, .. } => channel,
        };
        effects.push(Effect::Reply {
            to: channel,
            reply: Reply::Failed(self.not_found().into()),
        });
    }
}
