//! A shard's answers about its queues and connections.

use super::{Shard, slot_index};
use crate::query::{
    ByteCounts, ConnectionFigures, ConnectionPage, ConsumerFigures, Query, QueueFigures,
    RareFigures, SLICE, SUMMARY_SLICE, VhostBytes,
};
use base::{ConnectionId, Now, QueueId};
use broker::queue::{Queue, Stored};
use broker::queue_arguments::QueueType;
use frontend_amqp091::{CloseReason, Connection};

impl Shard {
    /// Answers a question. Whoever asked may have gone meanwhile; then the answer is dropped.
    pub(super) fn handle_query(&mut self, now: Now, query: Query) {
        match query {
            Query::Queues { ids, answer } => {
                let figures = ids.iter().filter_map(|id| self.queue_figures(now, *id));
                let _ = answer.send(figures.collect());
            }
            Query::Changes { answer } => {
                let _ = answer.send(self.take_changes(now));
            }
            Query::Consumers { ids, answer } => {
                let queues = ids
                    .iter()
                    .filter_map(|id| Some((*id, self.queues.get(id)?)));
                let consumers = queues.flat_map(|(id, queue)| consumer_figures(id, queue));
                let _ = answer.send(consumers.collect());
            }
            Query::DelayedCounts { answer } => {
                let _ = answer.send(self.delayed_counts());
            }
            Query::Delayed {
                selector,
                max,
                answer,
            } => {
                let _ = answer.send(self.delayed(now, &selector, max.min(SLICE)));
            }
            Query::CancelDelayed { selector, answer } => {
                let _ = answer.send(self.cancel_delayed(now, &selector));
            }
            Query::Connections { from, answer } => {
                let _ = answer.send(self.connection_page(from, SLICE, connection_figures));
            }
            Query::Summaries { from, answer } => {
                let page = self.connection_page(from, SUMMARY_SLICE, Connection::summary);
                let _ = answer.send(page);
            }
            Query::Bytes { from, answer } => {
                let mut page = self.connection_page(from, SUMMARY_SLICE, bytes_of);
                if from == 0 {
                    page.connections.extend(self.ended_bytes());
                }
                let _ = answer.send(page);
            }
            Query::ConnectionsOf { ids, answer } => {
                let found = ids.into_iter().filter_map(|id| {
                    self.connection(id)
                        .map(|machine| connection_figures(machine))
                });
                let _ = answer.send(found.collect());
            }
            Query::Close {
                connection,
                reason,
                answer,
            } => {
                let _ = answer.send(self.close_connection(now, connection, reason));
            }
        }
    }

    pub(super) fn queue_figures(&self, now: Now, id: QueueId) -> Option<QueueFigures> {
        if let Some(queue) = self.queues.get(&id) {
            return Some(figures(now, id, queue));
        }
        // Not used since the node started: what recovery found is what it holds.
        self.metadata.queue_by_id(id)?;
        let stored = self.stored.get(&id).copied().unwrap_or_default();
        Some(stored_figures(id, stored))
    }

    fn connection_page<T>(
        &self,
        from: usize,
        count: usize,
        of: fn(&Connection) -> T,
    ) -> ConnectionPage<T> {
        let mut slots = (from..self.connections.capacity())
            .filter_map(|slot| Some((slot, &self.connections.get(slot)?.machine)));
        let connections = slots.by_ref().take(count);
        let connections = connections.map(|(_, machine)| of(machine)).collect();
        ConnectionPage {
            connections,
            next: slots.next().map(|(slot, _)| slot),
        }
    }

    /// Bytes of connections that have ended to vhosts that are there.
    fn ended_bytes(&mut self) -> impl Iterator<Item = VhostBytes> {
        let metadata = &self.metadata;
        self.ended
            .retain(|vhost, _| metadata.vhost(vhost).is_some());
        self.ended.iter().map(|(vhost, bytes)| VhostBytes {
            vhost: vhost.clone(),
            bytes: *bytes,
        })
    }

    /// Keeps the bytes of a connection that is going.
    pub(super) fn count_ended(&mut self, machine: &Connection) {
        let VhostBytes { vhost, bytes } = bytes_of(machine);
        // Of one that was not let in there is no vhost, and one that is gone may not come in again.
        if self.metadata.vhost(&vhost).is_some() {
            self.ended.entry(vhost).or_default().add(&bytes);
        }
    }

    fn close_connection(&mut self, now: Now, connection: ConnectionId, reason: String) -> bool {
        let Some(machine) = self.connection(connection) else {
            return false;
        };
        machine.close(now, CloseReason::Forced(reason));
        self.touch(slot_index(connection));
        true
    }
}

fn connection_figures(machine: &Connection) -> ConnectionFigures {
    ConnectionFigures {
        details: machine.details(),
        channels: machine.channels().collect(),
    }
}

fn bytes_of(machine: &Connection) -> VhostBytes {
    let (received, sent) = machine.byte_counts();
    VhostBytes {
        vhost: machine.vhost().clone(),
        bytes: ByteCounts { received, sent },
    }
}

fn figures(now: Now, id: QueueId, queue: &Queue) -> QueueFigures {
    let exclusive = queue
        .consumers()
        .find(|consumer| consumer.settings.exclusive)
        .map(|consumer| consumer.settings.tag.clone());
    let single = queue.settings().arguments.single_active_consumer;
    let active = single
        .then(|| {
            queue
                .consumers()
                .find(|consumer| queue.is_active_consumer(consumer.id))
                .map(|consumer| (consumer.id, consumer.settings.tag.clone()))
        })
        .flatten();
    QueueFigures {
        id,
        ready: queue.ready_count(),
        ready_bytes: queue.ready_bytes(),
        unacked: queue.unacked_count(),
        unacked_bytes: queue.unacked_ram_bytes() as u64,
        delayed: queue.delayed_count(),
        delayed_bytes: queue.delayed_bytes(),
        delayed_until_ms: queue.delayed_until_ms(now),
        replayable: queue.replayable_count(),
        replayable_bytes: queue.replayable_bytes(),
        consumers: queue.consumer_count(),
        consumer_capacity: queue.consumer_capacity(now),
        ram_bytes: queue.ram_bytes() as u64,
        counters: *queue.counters(),
        exclusive_consumer_tag: exclusive,
        single_active_consumer: active,
        has_unknown_levels: queue.has_unknown_levels(),
        rare: rare_figures(queue),
    }
}

fn rare_figures(queue: &Queue) -> Option<Box<RareFigures>> {
    if queue.settings().arguments.queue_type != QueueType::Quorum {
        return None;
    }
    let levels: Vec<_> = queue.level_counts().collect();
    let dead = queue.undead_count();
    (!levels.is_empty() || dead > 0).then(|| {
        Box::new(RareFigures {
            levels,
            dead,
            dead_bytes: queue.undead_bytes(),
        })
    })
}

fn stored_figures(id: QueueId, stored: Stored) -> QueueFigures {
    QueueFigures {
        id,
        ready: stored.messages,
        ready_bytes: stored.bytes,
        has_unknown_levels: stored.messages > 0,
        ..QueueFigures::default()
    }
}

fn consumer_figures(id: QueueId, queue: &Queue) -> impl Iterator<Item = ConsumerFigures> {
    queue.consumers().map(move |consumer| ConsumerFigures {
        queue: id,
        id: consumer.id,
        tag: consumer.settings.tag.clone(),
        no_ack: consumer.settings.no_ack,
        exclusive: consumer.settings.exclusive,
        prefetch_count: consumer.settings.prefetch_count,
        is_active: queue.is_active_consumer(consumer.id),
        arguments: consumer.settings.arguments.clone(),
    })
}
