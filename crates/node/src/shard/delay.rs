//! A shard and its delayed messages: what goes into the delay store, and how it comes out.
//!
//! A message that is due is routed and published like a dead letter. Where all its queues are on this shard, its end in the store and
//! its records in the queues are in one batch of the log: it is in one place or the other, whatever happens. A message for
//! a queue of another shard stays in the store until all its queues have it, so after a crash it may come twice, never not at all.
//!
//! What waits, and in which order, is the store's; see `docs/internals/delayed-messages.md`.

use super::log::Records;
use super::{FastMap, Shard};
use crate::mailbox::Mail;
use crate::message_codec::{self, StoredMessage};
use crate::query::DelayedCount;
use base::{ConnectionId, Name, Now, Position, QueueId, QueueRef};
use broker::command::{ChannelId, ConfirmTo, Outcome, QueueCommand, Reply};
use broker::delay::{
    self, DELAY_RAM_BYTES_MAX, DelayRequest, DelaySink, DelayStore, DelayTarget, Delayed, Due,
    Listed, Selector, Wait,
};
use broker::effect::{DeadLetterReason, Effects};
use broker::message::{Message, SharedMessage};
use broker::queue::Stored;
use broker::router::{self, Targets};
use bytes::Bytes;
use frontend_amqp091::UnaskedParts;
use frontend_amqp091::dead_letter::DeadLetter;
use frontend_amqp091::delay as headers;
use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;
use store::Record;

/// The serial number of the connection that due messages are published by. No client has it: it finds no slot.
const DELAY_CONNECTION: u64 = u64::MAX - (1 << 32);

/// A due message on its way to queues of other shards.
#[derive(Debug)]
struct Departed {
    store: QueueId,
    position: Position,
    /// Queues that have not answered.
    queues: usize,
}

/// The delay stores of a shard: its own, and those of shards that this node no longer has.
#[derive(Debug, Default)]
pub(super) struct Delays {
    stores: FastMap<QueueId, DelayStore>,
    /// By the number of their publish.
    departed: FastMap<u64, Departed>,
    sequence: u64,
    /// Kept for its capacity.
    due: Vec<Due>,
}

impl Delays {
    pub(super) fn collect_records(
        &mut self,
        store: QueueId,
        ticket: u64,
        sink: &mut Records<'_>,
    ) -> bool {
        let Some(store) = self.stores.get_mut(&store) else {
            return false;
        };
        store.collect_records(ticket, sink);
        true
    }

    pub(super) fn handle_storage_failed(&mut self, effects: &mut Effects) {
        for store in self.stores.values_mut() {
            store.handle_storage_failed(effects);
        }
    }

    pub(super) fn ram_bytes(&self) -> usize {
        self.stores.values().map(DelayStore::ram_bytes).sum()
    }

    pub(super) fn uncollected_bytes(&self) -> u64 {
        let bytes = self.stores.values().map(DelayStore::uncollected_bytes);
        bytes.sum()
    }

    pub(super) fn evict(&mut self, memory_short: bool) {
        let target = if memory_short { 0 } else { DELAY_RAM_BYTES_MAX };
        for store in self.stores.values_mut() {
            store.evict(target);
        }
    }
}

impl Shard {
    /// Starts the stores that recovery found, each by a look at the clock.
    pub(super) fn start_delays(&mut self, stored: Vec<(QueueId, Stored)>) {
        for (id, stored) in stored {
            self.delays.stores.insert(id, DelayStore::new(id, stored));
            self.wakes.push(Reverse((Duration::ZERO, id)));
        }
    }

    /// Keeps a message until it is due.
    pub(super) fn delay(&mut self, now: Now, store: QueueId, request: DelayRequest) {
        let machine = self
            .delays
            .stores
            .entry(store)
            .or_insert_with(|| DelayStore::new(store, Stored::default()));
        machine.delay(now, request, &mut self.effects);
        if self.storage_failed {
            machine.handle_storage_failed(&mut self.effects);
        }
        self.advance_delays(now, store);
    }

    pub(super) fn delays_timeout(&mut self, now: Now, store: QueueId) {
        if let Some(machine) = self.delays.stores.get_mut(&store) {
            machine.handle_timeout();
            self.advance_delays(now, store);
        }
    }

    pub(super) fn delays_durable(&mut self, now: Now, store: QueueId, ticket: u64) {
        if let Some(machine) = self.delays.stores.get_mut(&store) {
            machine.handle_durable(ticket, &mut self.effects);
            self.advance_delays(now, store);
        }
    }

    pub(super) fn delayed_loaded(
        &mut self,
        now: Now,
        store: QueueId,
        from: Position,
        payloads: Vec<(Position, Bytes)>,
        reached: Position,
    ) {
        let mut messages = Vec::with_capacity(payloads.len());
        for (position, payload) in payloads {
            match message_codec::decode_delayed(payload, &mut self.names) {
                Some(delayed) => messages.push((position, Arc::new(delayed))),
                None => tracing::error!(
                    store = store.0,
                    position = position.0,
                    "stored delayed message does not parse"
                ),
            }
        }
        if let Some(machine) = self.delays.stores.get_mut(&store) {
            machine.handle_loaded(now, from, messages, reached);
            self.advance_delays(now, store);
        }
    }

    /// A queue of another shard has a due message, or refused it, which is the end of it too, unless the log has failed.
    /// False if the answer is not for that.
    pub(super) fn delayed_arrived(&mut self, to: ChannelId, reply: &Reply) -> bool {
        if to.connection.serial != DELAY_CONNECTION {
            return false;
        }
        let (Reply::Confirm { first, last } | Reply::Nack { first, last }) = *reply else {
            return true;
        };
        if self.storage_failed {
            return true;
        }
        for sequence in first..=last {
            let Some(departed) = self.delays.departed.get_mut(&sequence) else {
                continue;
            };
            departed.queues -= 1;
            if departed.queues > 0 {
                continue;
            }
            let Departed {
                store, position, ..
            } = *departed;
            self.delays.departed.remove(&sequence);
            if let Some(machine) = self.delays.stores.get_mut(&store) {
                machine.settle(position, &mut self.effects);
            }
        }
        true
    }

    /// A dead letter may meet exchanges or queues where it has to wait; says whether it did.
    pub(super) fn delay_dead_letter(
        &mut self,
        now: Now,
        vhost: &Name,
        message: &Message,
        targets: &Targets,
    ) -> bool {
        // A wait that cannot be granted had no publisher to hear of it; the letter is dropped, as with an unknown exchange.
        let Some(Ok((wait, delays))) = targets.delays() else {
            return false;
        };
        let store = delay::store_of(self.id);
        for request in headers::requests(vhost, message, wait, delays) {
            self.delay(now, store.id, request);
        }
        true
    }

    /// The target of delayed messages was deleted by this shard. Here they go at once, before anything that the same client asks
    /// for next.
    pub(super) fn delays_ended(&mut self, selector: Selector) {
        for shard in 0..self.outgoing.len() {
            if shard != self.id.index() {
                self.outgoing[shard].push(Mail::DelaysEnded(selector.clone()));
            }
        }
        for machine in self.delays.stores.values_mut() {
            machine.cancel(&selector, &mut self.effects);
        }
    }

    /// Drops delayed messages and says how many.
    pub(super) fn cancel_delayed(&mut self, now: Now, selector: &Selector) -> u64 {
        let stores: Vec<_> = self.delays.stores.keys().copied().collect();
        let mut count = 0;
        for store in stores {
            if let Some(machine) = self.delays.stores.get_mut(&store) {
                count += machine.cancel(selector, &mut self.effects);
            }
            self.advance_delays(now, store);
        }
        count
    }

    /// How many messages wait, by target.
    pub(super) fn delayed_counts(&self) -> Vec<DelayedCount> {
        let counts = self.delays.stores.values().flat_map(DelayStore::counts);
        counts
            .map(|(vhost, target, count)| DelayedCount {
                vhost: vhost.clone(),
                target: target.clone(),
                count,
            })
            .collect()
    }

    /// The messages that are due next, at most `max`.
    pub(super) fn delayed(&self, now: Now, selector: &Selector, max: usize) -> Vec<Listed> {
        let stores = self.delays.stores.values();
        let mut listed: Vec<_> = stores
            .flat_map(|store| store.list(now, selector, max))
            .collect();
        listed.sort_by_key(|entry| entry.due_at_ms);
        listed.truncate(max);
        listed
    }

    fn advance_delays(&mut self, now: Now, store: QueueId) {
        let Some(machine) = self.delays.stores.get_mut(&store) else {
            return;
        };
        let mut due = std::mem::take(&mut self.delays.due);
        let room = !self.congested && !self.storage_failed;
        machine.advance(now, room, &mut due, &mut self.effects);
        if !due.is_empty() {
            self.refresh_metadata();
            due.drain(..).for_each(|due| self.publish_due(now, due));
        }
        self.delays.due = due;
    }

    /// A delivery of a queue that retries later came back: the message waits, or was tried too often.
    pub(super) fn retry_later(
        &mut self,
        now: Now,
        queue: QueueId,
        position: Position,
        message: &SharedMessage,
        outcome: Outcome,
    ) {
        self.refresh_metadata();
        let metadata = Arc::clone(&self.metadata);
        let (Some(record), Some(machine)) = (metadata.queue_by_id(queue), self.queues.get(&queue))
        else {
            return;
        };
        let arguments = machine.settings().arguments.clone();
        let retry = arguments.delayed_retry;
        let mut attempts = headers::Attempts::of(message, &record.name);
        attempts.acquired += 1;
        attempts.failed += u64::from(outcome == Outcome::Fail);
        if retry.gives_up(attempts.failed) {
            if let Some(exchange) = arguments.dead_letter_exchange {
                let letter = DeadLetter {
                    queue: record.name.clone(),
                    reason: DeadLetterReason::DeliveryLimit,
                    failed_deliveries: u32::try_from(attempts.failed).unwrap_or(u32::MAX),
                    time_s: now.wall_ms / 1000,
                    exchange,
                    routing_key: arguments.dead_letter_routing_key,
                };
                self.dead_letter(now, &metadata, &record.vhost, message, letter, None);
            }
            return;
        }
        // Positions differ, and so do attempts: enough to spread what failed together.
        let random =
            (position.0 ^ (attempts.acquired << 48)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
        let wait = retry.backoff_ms(attempts.failed, random);
        let request = DelayRequest {
            vhost: record.vhost.clone(),
            target: DelayTarget::Retry(queue),
            wait: Wait::For(u32::try_from(wait).unwrap_or(u32::MAX)),
            message_id: None,
            message: Arc::new(attempts.put_on(message, &record.name)),
            confirm: None,
        };
        self.delay(now, delay::store_of(self.id).id, request);
    }

    /// The messages that were to come back to a deleted queue go at once.
    pub(super) fn drop_retries(&mut self, queue: QueueId) {
        for machine in self.delays.stores.values_mut() {
            let targets = machine
                .counts()
                .filter(|(_, target, _)| **target == DelayTarget::Retry(queue))
                .map(|(vhost, _, _)| vhost.clone());
            let vhosts: Vec<_> = targets.collect();
            for vhost in vhosts {
                let target = DelayTarget::Retry(queue);
                machine.cancel(&Selector::of_target(vhost, target), &mut self.effects);
            }
        }
    }

    fn publish_due(&mut self, now: Now, due: Due) {
        let mut targets = std::mem::take(&mut self.targets);
        let mut queues: Vec<QueueRef> = Vec::new();
        let metadata = Arc::clone(&self.metadata);
        let Due {
            store,
            position,
            delayed,
        } = due;
        match &delayed.target {
            DelayTarget::Queue(id) | DelayTarget::Retry(id) => {
                queues.extend(metadata.queue_by_id(*id).map(|record| record.queue));
            }
            DelayTarget::Exchange(name) => {
                let message = &delayed.message;
                if let Some(vhost) = metadata.vhost(&delayed.vhost)
                    && let Some(exchange) = vhost.exchange(name)
                {
                    let keys: Vec<_> = message.routing_keys().map(|key| &key[..]).collect();
                    let mut parts = UnaskedParts {
                        properties: &message.properties,
                        random: self.random,
                    };
                    router::route_unasked(vhost, exchange, &keys, &mut parts, &mut targets);
                    self.random = self.random.wrapping_add(1);
                    targets.remember(message);
                    queues.extend_from_slice(targets.queues());
                }
            }
        }
        self.targets = targets;
        let is_here = |queue: &QueueRef| queue.shard == self.id;
        let confirm = if queues.iter().all(is_here) {
            None
        } else {
            self.delays.sequence += 1;
            let sequence = self.delays.sequence;
            let departed = Departed {
                store,
                position,
                queues: queues.len(),
            };
            self.delays.departed.insert(sequence, departed);
            Some(self.confirm_to(sequence))
        };
        let message: &SharedMessage = &delayed.message;
        for queue in queues {
            if confirm.is_none() && matches!(delayed.target, DelayTarget::Retry(_)) {
                let message = Arc::clone(message);
                self.ask_queue(now, queue, QueueCommand::Retry { message });
                continue;
            }
            let messages = Arc::clone(message).into();
            self.ask_queue(now, queue, QueueCommand::Publish { messages, confirm });
        }
        if confirm.is_none()
            && let Some(machine) = self.delays.stores.get_mut(&store)
        {
            machine.settle(position, &mut self.effects);
        }
    }

    fn confirm_to(&self, sequence: u64) -> ConfirmTo {
        let connection = ConnectionId {
            shard: self.id,
            serial: DELAY_CONNECTION,
        };
        ConfirmTo {
            channel: ChannelId {
                connection,
                number: 0,
                epoch: 0,
            },
            sequence,
        }
    }
}

impl DelaySink for Records<'_> {
    fn delayed(&mut self, store: QueueId, position: Position, delayed: &Arc<Delayed>) {
        let payload = StoredMessage {
            message: Arc::clone(&delayed.message),
            expires_at_ms: None,
            delayed: Some(Arc::clone(delayed)),
            is_shared: false,
        };
        self.0.push(Record::Message {
            queue: store,
            position,
            transient: false,
            payload,
        });
    }

    fn settled(&mut self, store: QueueId, from: Position, until: Position) {
        self.0.push(Record::Settled {
            queue: store,
            from,
            until,
        });
    }
}
