//! A shard and the log: its batches, what waits for them, and what is read back.

use super::{Shard, Waiting};
use crate::message_codec::{self, StoredMessage};
use base::{Now, Position, QueueId};
use broker::Error;
use broker::command::Reply;
use broker::delay;
use broker::exchange::is_history;
use broker::message::SharedMessage;
use broker::queue::{RecordSink, owner_of_attempts, owner_of_ids, owner_of_replay};
use store::{Batch, Event, Loaded, Record};

/// Token of a read for consumers.
pub(super) const DELIVER: u64 = 0;

/// Token of a read for somebody who only looks.
pub(super) const LOOK_UP: u64 = 1;

impl Shard {
    /// Gives the log the next batch, if there is a reason to.
    pub(super) fn collect(&mut self, now: Now) {
        if self.batch_under_way || self.storage_failed {
            return;
        }
        let due = self.collect_at.is_some_and(|at| at <= now.monotonic);
        if !(self.records_urgent || due || self.shutting_down) {
            return;
        }
        self.collect_at = None;
        self.records_urgent = false;
        self.dead_letter_bytes = 0;
        let ticket = self.ticket + 1;
        let mut queues = std::mem::take(&mut self.records_waiting);
        let mut records: Vec<_> = self
            .dropped_queues
            .drain(..)
            .map(|queue| Record::DropQueue { queue })
            .collect();
        records.append(&mut self.lost);
        queues.retain(|queue| {
            let Some(machine) = self.queues.get_mut(queue) else {
                return self
                    .delays
                    .collect_records(*queue, ticket, &mut Records(&mut records));
            };
            machine.collect_records(ticket, &mut Records(&mut records));
            true
        });
        if queues.is_empty() && records.is_empty() {
            return;
        }
        self.ticket = ticket;
        if records.is_empty() && self.waiting.is_empty() {
            // Everything was settled before it was written: nothing to wait for.
            self.complete(now, ticket, Waiting::Queues(queues));
            return;
        }
        self.batch_under_way = true;
        self.waiting.push_back((ticket, Waiting::Queues(queues)));
        let batch = Batch {
            shard: self.id,
            ticket,
            sync: true,
            records,
        };
        if let Err(error) = self.shared.log.submit(batch) {
            self.storage_failed(&error.to_string());
        }
    }

    pub(super) fn handle_store(&mut self, now: Now, event: Event) {
        match event {
            Event::Durable { ticket, .. } | Event::Written { ticket, .. } => {
                while let Some((ticket, waiting)) =
                    self.waiting.pop_front_if(|(waiting, _)| *waiting <= ticket)
                {
                    self.complete(now, ticket, waiting);
                }
            }
            Event::Loaded(loaded) => self.loaded(now, loaded),
            Event::Failed(error) => self.storage_failed(&error.to_string()),
            Event::SnapshotWanted => self.shared.leader.write_snapshot(),
            Event::DiskFull { .. } | Event::DiskOk => {}
        }
    }

    pub(super) fn loaded(&mut self, now: Now, loaded: Loaded) {
        let queue = loaded.queue;
        for damaged in loaded.damaged {
            tracing::error!(
                queue = queue.0,
                from = damaged.start.0,
                until = damaged.end.0,
                "stored messages are damaged and lost"
            );
            // Never tried again, also not after a restart.
            self.lost.push(Record::Settled {
                queue,
                from: damaged.start,
                until: damaged.end,
            });
        }
        if is_history(queue) {
            return self.history_read(queue, loaded.messages, loaded.reached);
        }
        if delay::store_number(queue).is_some() {
            return self.delayed_loaded(now, queue, loaded.from, loaded.messages, loaded.reached);
        }
        let mut messages = Vec::with_capacity(loaded.messages.len());
        for (position, payload) in loaded.messages {
            match message_codec::decode(payload, &mut self.names) {
                Some((message, expires_at_ms)) => messages.push((position, message, expires_at_ms)),
                None => tracing::error!(
                    queue = queue.0,
                    position = position.0,
                    "stored message does not parse"
                ),
            }
        }
        let owner = owner_of_ids(queue);
        let keeper = owner_of_replay(queue);
        let counter = owner_of_attempts(queue);
        let asker = owner.or(keeper).or(counter).unwrap_or(queue);
        if let Some(machine) = self.queues.get_mut(&asker) {
            let (windows, effects) = (&mut self.windows, &mut self.effects);
            if owner.is_some() {
                machine.handle_ids_read(now, messages, loaded.reached, windows, effects);
            } else if keeper.is_some() {
                machine.handle_notes_read(now, messages, loaded.reached, windows, effects);
            } else if counter.is_some() {
                machine.handle_attempts_read(now, messages, loaded.reached, windows, effects);
            } else if loaded.token == LOOK_UP {
                machine.handle_looked_up(now, messages, loaded.reached, effects);
            } else {
                machine.handle_loaded(now, messages, loaded.reached, windows, effects);
            }
            self.touched.push(asker);
        }
    }

    pub(super) fn complete(&mut self, now: Now, ticket: u64, waiting: Waiting) {
        match waiting {
            Waiting::Metadata(index) => self.shared.leader.handle_durable(index),
            Waiting::Reply { to, reply } => self.send_reply(to, reply),
            Waiting::Queues(queues) => {
                self.batch_under_way = false;
                for queue in queues {
                    if let Some(machine) = self.queues.get_mut(&queue) {
                        machine.handle_durable(now, ticket, &mut self.windows, &mut self.effects);
                        self.touched.push(queue);
                    } else {
                        self.delays_durable(now, queue, ticket);
                    }
                }
            }
        }
    }

    /// The log has ended: nothing that waits for it will ever be durable.
    pub(super) fn storage_failed(&mut self, error: &str) {
        if std::mem::replace(&mut self.storage_failed, true) {
            return;
        }
        for machine in self.queues.values_mut() {
            machine.handle_storage_failed(&mut self.effects);
        }
        self.delays.handle_storage_failed(&mut self.effects);
        for (_, waiting) in std::mem::take(&mut self.waiting) {
            if let Waiting::Reply { to, reply } = waiting {
                let error = Error::Storage(format!("the log has failed: {error}").into());
                let answer = if matches!(reply, Reply::Barrier(_)) {
                    Reply::Barrier(Err(error.into()))
                } else {
                    Reply::Metadata(Err(error.into()))
                };
                self.send_reply(to, answer);
            }
        }
        self.batch_under_way = false;
    }

    /// What piles up for the next batch while one is under way.
    pub(super) fn uncollected_bytes(&self) -> u64 {
        if !self.batch_under_way {
            return 0;
        }
        let waiting = self
            .records_waiting
            .iter()
            .filter_map(|queue| self.queues.get(queue));
        let in_queues: u64 = waiting.map(|queue| queue.ram_bytes() as u64).sum();
        in_queues + self.delays.uncollected_bytes()
    }
}

/// Turns a queue's records into the log's.
pub(super) struct Records<'a>(pub(super) &'a mut Vec<Record<StoredMessage>>);

impl RecordSink for Records<'_> {
    fn message(
        &mut self,
        queue: QueueId,
        position: Position,
        transient: bool,
        expires_at_ms: Option<u64>,
        message: &SharedMessage,
    ) {
        self.0.push(Record::Message {
            queue,
            position,
            transient,
            payload: StoredMessage::of_queue(message, expires_at_ms),
        });
    }

    fn settled(&mut self, queue: QueueId, from: Position, until: Position) {
        self.0.push(Record::Settled { queue, from, until });
    }

    fn delivered_until(&mut self, queue: QueueId, until: Position) {
        self.0.push(Record::DeliveredUpTo { queue, until });
    }
}
