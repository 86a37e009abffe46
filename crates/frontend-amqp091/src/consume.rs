//! Consumers of a channel, and messages on their way to the client.
//!
//! A queue knows each consumer by a small number, which is an index here; the consumer tag exists only on this side. Per-consumer
//! prefetch is the queue's part. The limit of a whole channel (basic.qos with global=true, where that is permitted) is
//! kept here: a delivery that exceeds it goes back unseen, and its consumer is resumed when acks make room.
//!
//! Spec: basic.consume, basic.cancel, basic.deliver, basic.get, basic.qos; RabbitMQ docs: consumers, consumer-prefetch.

use crate::arguments;
use crate::channel::{Channel, Waiting, unexpected_answer};
use crate::config::Config;
use crate::dead_letter::tried_message;
use crate::exception::{Exception, Violation};
use crate::out_buffer::COPY_SIZE_MAX;
use crate::reply_to::{REPLY_TO, ReplyConsumer};
use crate::session::{Session, Turn};
use crate::spans::{self, Delivered, OpenSpans};
use crate::trace;
use crate::unacked::Delivery;
use base::{ChannelNumber, ConsumerTagIndex, Name, Position, QueueRef};
use broker::Error;
use broker::auth::{self, Read};
use broker::command::{ChannelId, ConsumerId, ConsumerSettings, Outcome, QueueCommand, Redelivery};
use broker::error::ResourceKind;
use broker::message::{Address, SharedMessage};
use broker::messages::{Messages, Run};
use broker::queue_arguments::QueueType;
use broker::value::{Arguments, Value};
use codec_amqp091::{PreparedDeliver, basic};
use std::sync::Arc;

/// Argument of consumers that wins over others of their queue.
const PRIORITY: &str = "x-priority";
/// Argument of consumers of quorum queues: how long they may keep a message.
const TIMEOUT: &str = "x-consumer-timeout";
/// Consumer arguments that only streams know.
const OF_STREAMS: [&str; 3] = [
    "x-stream-offset",
    "x-stream-filter",
    "x-stream-match-unfiltered",
];
/// Prefix of consumer tags that the server chooses.
const GENERATED_TAG_PREFIX: &str = "amq.ctag-";

/// The consumers of a channel by their index.
#[derive(Debug, Default)]
pub(crate) struct Consumers {
    slots: Vec<Option<Consumer>>,
    count: usize,
}

/// A consumer.
#[derive(Debug)]
pub(crate) struct Consumer {
    tag: Name,
    queue: QueueRef,
    queue_name: Name,
    no_ack: bool,
    /// The method frame of its deliveries.
    prepared: PreparedDeliver,
    /// What it was prepared for.
    prepared_for: Option<Arc<Address>>,
    /// A delivery of it went back because the channel's limit was reached.
    is_paused: bool,
    /// The client knows it no more; its queue does not know that yet.
    is_ended: bool,
}

impl Consumers {
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    fn insert(&mut self, consumer: Consumer) -> ConsumerTagIndex {
        self.count += 1;
        // An index is free again only after its queue's last word about it, so it cannot be taken for the old one.
        let index = self
            .slots
            .iter()
            .position(Option::is_none)
            .unwrap_or_else(|| {
                self.slots.push(None);
                self.slots.len() - 1
            });
        self.slots[index] = Some(consumer);
        ConsumerTagIndex::try_from(index).expect("indexes of consumers are far below 2^32")
    }

    #[inline]
    fn get(&self, index: ConsumerTagIndex) -> Option<&Consumer> {
        self.slots.get(index as usize)?.as_ref()
    }

    pub(crate) fn remove(&mut self, index: ConsumerTagIndex) -> Option<Consumer> {
        let consumer = self.slots.get_mut(index as usize)?.take()?;
        self.count -= 1;
        Some(consumer)
    }

    /// Whether only its queue still knows it.
    pub(crate) fn is_ended(&self, index: ConsumerTagIndex) -> bool {
        self.get(index).is_some_and(|consumer| consumer.is_ended)
    }

    /// Tag and queue of each.
    pub(crate) fn names(&self) -> impl Iterator<Item = (&Name, &Name)> {
        let consumers = self.slots.iter().flatten();
        let consumers = consumers.filter(|consumer| !consumer.is_ended);
        consumers.map(|consumer| (&consumer.tag, &consumer.queue_name))
    }

    fn find(&self, tag: &[u8]) -> Option<(ConsumerTagIndex, &Consumer)> {
        self.slots.iter().zip(0..).find_map(|(slot, index)| {
            slot.as_ref()
                .filter(|consumer| !consumer.is_ended && *consumer.tag.as_bytes() == *tag)
                .map(|consumer| (index, consumer))
        })
    }

    /// Takes all of them out.
    pub(crate) fn drain(
        &mut self,
        channel: ChannelId,
    ) -> impl Iterator<Item = (QueueRef, ConsumerId)> + use<> {
        self.count = 0;
        let slots = std::mem::take(&mut self.slots);
        slots
            .into_iter()
            .zip(0..)
            .filter_map(move |(slot, index)| Some((slot?.queue, ConsumerId { channel, index })))
    }
}

impl Consumer {
    /// The method frame for a message that was published to `address`.
    #[inline]
    fn prepare(&mut self, channel: ChannelNumber, address: &Arc<Address>) -> &mut PreparedDeliver {
        let is_it = |known: &Arc<Address>| Arc::ptr_eq(known, address);
        if !self.prepared_for.as_ref().is_some_and(is_it) {
            let exchange = address.exchange.as_bytes();
            let tag = self.tag.as_bytes();
            self.prepared
                .prepare(channel, tag, exchange, &address.routing_key);
            self.prepared_for = Some(Arc::clone(address));
        }
        &mut self.prepared
    }
}

/// How much a channel's consumers may have unacknowledged.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PrefetchLimits {
    /// For each consumer that is started from now on; 0 for no limit.
    pub(crate) per_consumer: u16,
    /// For all together; 0 for no limit.
    pub(crate) per_channel: u16,
    /// Unacknowledged deliveries of consumers.
    unacked: usize,
    /// At least one consumer is paused.
    has_paused: bool,
}

impl PrefetchLimits {
    /// Those of a channel that has not asked for any.
    pub(crate) fn new(config: &Config) -> Self {
        let is_global = config.consumer_prefetch_is_global && config.global_qos_permitted;
        let count = config.consumer_prefetch_default;
        // Compat: in RabbitMQ each consumer has the count then, too.
        Self {
            per_consumer: count,
            per_channel: if is_global { count } else { 0 },
            unacked: 0,
            has_paused: false,
        }
    }

    /// Deliveries of consumers were settled; more than there are means all.
    pub(crate) fn settled(&mut self, count: usize) {
        self.unacked = self.unacked.saturating_sub(count);
    }

    fn is_full(self) -> bool {
        self.per_channel > 0 && self.unacked >= usize::from(self.per_channel)
    }
}

impl Channel {
    pub(crate) fn qos(&mut self, turn: &mut Turn<'_>, method: basic::Qos) -> Result<(), Exception> {
        if method.prefetch_size != 0 {
            return Err(Violation::PrefetchSize(method.prefetch_size).into());
        }
        // Compat: where a limit for the channel is not permitted, RabbitMQ 4.3 takes it for the other one without a word.
        if method.global && turn.session.config.global_qos_permitted {
            self.prefetch.per_channel = method.prefetch_count;
        } else {
            self.prefetch.per_consumer = method.prefetch_count;
        }
        basic::QosOk.encode(self.number(), turn.session.encoded());
        self.resume_consumers(turn.session);
        Ok(())
    }

    pub(crate) fn consume(
        &mut self,
        turn: &mut Turn<'_>,
        method: &basic::Consume<'_>,
    ) -> Result<(), Exception> {
        let tag = self.new_consumer_tag(turn.session, method.consumer_tag)?;
        if method.queue == REPLY_TO.as_bytes() {
            return self.consume_replies(turn.session, method, tag);
        }
        let name = self.consumed_queue(
            turn,
            method.queue,
            (basic::Consume::CLASS_ID, basic::Consume::METHOD_ID),
        )?;
        let Session {
            principal,
            vhost,
            id,
            ..
        } = &*turn.session;
        let (metadata, kind) = (turn.metadata, ResourceKind::Queue);
        auth::authorize(metadata, principal, vhost, Read, kind, &name)?;
        let record = crate::topology::expect_queue(turn, &name)?;
        record.check_exclusive(*id)?;
        if let Some(max) = turn.session.config.consumer_max_per_channel
            && self.consumers.len() >= max
        {
            return Err(Violation::ConsumersPerChannel(max).into());
        }
        let consumer_arguments = arguments::from_table(method.arguments)?;
        let queue_type = record.settings.queue_type;
        if self.prefetch.per_channel > 0 && queue_type == QueueType::Quorum {
            let text = format!("queue '{name}' in vhost '{vhost}' does not support global qos");
            return Err(Error::NotImplemented(text.into()).into());
        }
        let priority = check_arguments(&consumer_arguments, queue_type, &name, vhost)?;
        let queue = record.queue;
        let consumer = Consumer {
            tag: tag.clone(),
            queue,
            queue_name: name.clone(),
            no_ack: method.no_ack,
            prepared: PreparedDeliver::default(),
            prepared_for: None,
            is_paused: false,
            is_ended: false,
        };
        self.deliveries.expect(queue, &name);
        let index = self.consumers.insert(consumer);
        let settings = Box::new(ConsumerSettings {
            tag,
            no_ack: method.no_ack,
            exclusive: method.exclusive,
            prefetch_count: self.prefetch.per_consumer,
            priority,
            arguments: consumer_arguments,
        });
        self.waiting = Some(Waiting::Consume {
            consumer: index,
            queue: name,
            no_wait: method.no_wait,
            observed: turn.session.is_observed.then(|| settings.clone()),
        });
        let consumer = ConsumerId {
            channel: self.id,
            index,
        };
        turn.session
            .ask_queue(queue, QueueCommand::Consume { consumer, settings });
        Ok(())
    }

    fn new_consumer_tag(&self, session: &mut Session, tag: &[u8]) -> Result<Name, Exception> {
        if tag.is_empty() {
            return Ok(session.random.name(GENERATED_TAG_PREFIX).into());
        }
        let tag = arguments::name(tag)?;
        let is_reply_consumer = self
            .reply_consumer
            .as_ref()
            .is_some_and(|consumer| consumer.tag == tag);
        if is_reply_consumer || self.consumers.find(tag.as_bytes()).is_some() {
            return Err(Violation::DuplicateConsumerTag(&tag).into());
        }
        Ok(tag)
    }

    /// The queue has the consumer; deliveries come after this.
    pub(crate) fn consuming(
        &self,
        session: &mut Session,
        waiting: Waiting,
    ) -> Result<(), Exception> {
        let Waiting::Consume {
            consumer,
            queue,
            no_wait,
            observed,
        } = waiting
        else {
            return Err(unexpected_answer());
        };
        if let Some(settings) = observed {
            session.observe_consumer(self.number(), &queue, &settings);
        }
        if let Some(consumer) = self.consumers.get(consumer)
            && !no_wait
        {
            basic::ConsumeOk {
                consumer_tag: consumer.tag.as_bytes(),
            }
            .encode(self.number(), session.encoded());
        }
        Ok(())
    }

    pub(crate) fn cancel(
        &mut self,
        turn: &mut Turn<'_>,
        method: &basic::Cancel<'_>,
    ) -> Result<(), Exception> {
        let Some((index, consumer)) = self.consumers.find(method.consumer_tag) else {
            let is_reply_consumer =
                |consumer: &ReplyConsumer| *consumer.tag.as_bytes() == *method.consumer_tag;
            if self.reply_consumer.as_ref().is_some_and(is_reply_consumer) {
                self.cancel_replies(turn.session);
            }
            if !method.no_wait {
                let consumer_tag = method.consumer_tag;
                basic::CancelOk { consumer_tag }.encode(self.number(), turn.session.encoded());
            }
            return Ok(());
        };
        self.waiting = Some(Waiting::Cancel {
            consumer: index,
            tag: consumer.tag.clone(),
            no_wait: method.no_wait,
        });
        let queue = consumer.queue;
        let consumer = ConsumerId {
            channel: self.id,
            index,
        };
        turn.session.ask_queue(
            queue,
            QueueCommand::Cancel {
                consumer,
                reply: true,
            },
        );
        Ok(())
    }

    /// The consumer's queue has forgotten it.
    pub(crate) fn cancelled(
        &mut self,
        session: &mut Session,
        waiting: Waiting,
    ) -> Result<(), Exception> {
        let Waiting::Cancel {
            consumer,
            tag,
            no_wait,
        } = waiting
        else {
            return Err(unexpected_answer());
        };
        if let Some(consumer) = self.consumers.remove(consumer) {
            session.observe_consumer_gone(self.number(), &consumer.queue_name, &tag);
        }
        if !no_wait {
            basic::CancelOk {
                consumer_tag: tag.as_bytes(),
            }
            .encode(self.number(), session.encoded());
        }
        Ok(())
    }

    /// The queue ended the consumer.
    pub(crate) fn consumer_cancelled(&mut self, session: &mut Session, consumer: ConsumerTagIndex) {
        // One that is being cancelled by the client as well keeps its place until the queue's answer.
        if matches!(&self.waiting, Some(Waiting::Cancel { consumer: leaving, .. }) if *leaving == consumer)
        {
            return;
        }
        let Some(consumer) = self.consumers.remove(consumer) else {
            return;
        };
        session.observe_consumer_gone(self.number(), &consumer.queue_name, &consumer.tag);
        if session.client.consumer_cancel_notify {
            let consumer_tag = consumer.tag.as_bytes();
            basic::Cancel {
                consumer_tag,
                no_wait: true,
            }
            .encode(self.number(), session.encoded());
        }
    }

    /// The user has new credentials: consumers that these do not allow end.
    pub(crate) fn recheck_consumers(&mut self, turn: &mut Turn<'_>) {
        let Session {
            principal, vhost, ..
        } = &*turn.session;
        let (metadata, kind) = (turn.metadata, ResourceKind::Queue);
        let refused = self.consumers.slots.iter().zip(0..).filter(|(slot, _)| {
            let Some(consumer) = slot.as_ref().filter(|consumer| !consumer.is_ended) else {
                return false;
            };
            let name = &consumer.queue_name;
            let may = auth::authorize(metadata, principal, vhost, Read, kind, name);
            matches!(may, Err(Error::AccessRefused { .. }))
        });
        for index in refused.map(|(_, index)| index).collect::<Vec<_>>() {
            self.end_consumer(turn.session, index);
        }
    }

    fn end_consumer(&mut self, session: &mut Session, index: ConsumerTagIndex) {
        let Some(consumer) = self
            .consumers
            .slots
            .get_mut(index as usize)
            .and_then(Option::as_mut)
        else {
            return;
        };
        consumer.is_ended = true;
        let (queue, tag, queue_name) = (
            consumer.queue,
            consumer.tag.clone(),
            consumer.queue_name.clone(),
        );
        tracing::warn!(
            connection = %session.id,
            channel = self.id.number,
            consumer = %tag,
            queue = %queue_name,
            "consumer cancelled: read access is refused now"
        );
        session.observe_consumer_gone(self.id.number, &queue_name, &tag);
        if session.client.consumer_cancel_notify {
            basic::Cancel {
                consumer_tag: tag.as_bytes(),
                no_wait: true,
            }
            .encode(self.id.number, session.encoded());
        }
        let consumer = ConsumerId {
            channel: self.id,
            index,
        };
        let reply = true;
        session.ask_queue(queue, QueueCommand::Cancel { consumer, reply });
    }

    /// Sends a message to a consumer, or back if there is no room for it.
    #[inline]
    pub(crate) fn deliver(
        &mut self,
        session: &mut Session,
        index: ConsumerTagIndex,
        (queue, position): (QueueRef, Position),
        message: &SharedMessage,
        redelivered: bool,
    ) {
        let Some(Some(consumer)) = self.consumers.slots.get_mut(index as usize) else {
            session.settle(self.id, queue, position, Outcome::Return);
            return;
        };
        if !consumer.no_ack {
            if self.prefetch.is_full() {
                consumer.is_paused = true;
                self.prefetch.has_paused = true;
                session.settle(self.id, queue, position, Outcome::Return);
                return;
            }
            self.prefetch.unacked += 1;
        }
        self.delivery_tag += 1;
        let tag = self.delivery_tag;
        let counts = self.deliveries.of(queue);
        counts.redelivered += u64::from(redelivered);
        if consumer.no_ack {
            counts.delivered_no_ack += 1;
        } else {
            counts.delivered += 1;
            self.unacked.push(Delivery {
                tag,
                queue,
                position,
                consumer: Some(index),
            });
        }
        consumer.prepare(self.id.number, &message.address).encode(
            session.out.encoded(),
            tag,
            redelivered,
        );
        session.send_content(self.id.number, message);
    }

    /// Sends messages that differ in nothing but their bodies to a consumer that does not acknowledge. False, and nothing was
    /// sent, if it is no such consumer or if some message is so large that it is not copied.
    #[inline]
    pub(crate) fn deliver_run(
        &mut self,
        session: &mut Session,
        index: ConsumerTagIndex,
        run: &Run,
        redelivered: bool,
    ) -> bool {
        let Some(Some(consumer)) = self.consumers.slots.get_mut(index as usize) else {
            return false;
        };
        if !consumer.no_ack || run.body_size_max() >= COPY_SIZE_MAX {
            return false;
        }
        let tags = (self.delivery_tag + 1, redelivered);
        self.delivery_tag += run.len() as u64;
        let counts = self.deliveries.of(consumer.queue);
        counts.delivered_no_ack += run.len() as u64;
        counts.redelivered += u64::from(redelivered) * run.len() as u64;
        let number = self.id.number;
        let prepared = consumer.prepare(number, run.address());
        prepared.encode_run(
            session.out.encoded(),
            number,
            tags,
            run.properties(),
            run.bodies(),
        );
        true
    }

    /// Sends a message that came back before, with the word how often.
    pub(crate) fn deliver_again(&mut self, turn: &mut Turn<'_>, again: &Redelivery) {
        let message = tried_message(SharedMessage::clone(&again.message), again.attempts);
        let place = (again.queue, again.position);
        if turn.session.is_watched {
            return self.deliver_watched(turn, again.consumer, place, &message, true);
        }
        self.deliver(turn.session, again.consumer, place, &message, true);
    }

    /// A queue took back what was kept for too long, and has forgotten the consumer.
    ///
    /// # Errors
    /// There is no consumer that could be cancelled, or the client would not understand.
    pub(crate) fn timed_out(
        &mut self,
        session: &mut Session,
        consumer: Option<ConsumerTagIndex>,
        queue: QueueRef,
        positions: &[Position],
        timeout_ms: u64,
    ) -> Result<(), Exception> {
        self.unacked.forget_positions(queue, consumer, positions);
        if let Some(consumer) = consumer {
            self.prefetch.settled(positions.len());
            if session.client.consumer_cancel_notify {
                self.consumer_cancelled(session, consumer);
                return Ok(());
            }
            if let Some(consumer) = self.consumers.remove(consumer) {
                let (tag, queue) = (&consumer.tag, &consumer.queue_name);
                session.observe_consumer_gone(self.number(), queue, tag);
            }
        }
        let channel = self.number();
        Err(Violation::ConsumerTimeout {
            channel,
            timeout_ms,
        }
        .into())
    }

    /// [`Self::deliver`] for all messages of a reply, where somebody watches.
    #[cold]
    pub(crate) fn deliver_all_watched(
        &mut self,
        turn: &mut Turn<'_>,
        index: ConsumerTagIndex,
        (queue, position): (QueueRef, Position),
        messages: Messages,
        redelivered: bool,
    ) {
        // Messages of a run were not chosen for anything.
        if let Messages::Run(run) = &messages
            && !turn.session.is_traced
            && self.deliver_run(turn.session, index, run, redelivered)
        {
            return;
        }
        for (message, position) in messages.into_listed().iter().zip(position.0..) {
            let from = (queue, Position(position));
            self.deliver_watched(turn, index, from, message, redelivered);
        }
    }

    /// [`Self::deliver`] where somebody watches.
    pub(crate) fn deliver_watched(
        &mut self,
        turn: &mut Turn<'_>,
        index: ConsumerTagIndex,
        from: (QueueRef, Position),
        message: &SharedMessage,
        redelivered: bool,
    ) {
        let before = self.delivery_tag;
        self.deliver(turn.session, index, from, message, redelivered);
        if self.delivery_tag != before
            && let Some(consumer) = self.consumers.get(index)
        {
            let delivered = Delivered {
                channel: self.id.number,
                queue: &consumer.queue_name,
                tag: self.delivery_tag,
                redelivered,
                is_settled_later: !consumer.no_ack,
            };
            show_delivered(turn, &mut self.spans, message, &delivered);
        }
    }

    /// Lets consumers go on that the channel's limit stopped, if there is room now.
    #[inline]
    pub(crate) fn resume_consumers(&mut self, session: &mut Session) {
        if !self.prefetch.has_paused || self.prefetch.is_full() {
            return;
        }
        self.prefetch.has_paused = false;
        for (slot, index) in self.consumers.slots.iter_mut().zip(0..) {
            if let Some(consumer) = slot
                && consumer.is_paused
            {
                consumer.is_paused = false;
                let id = ConsumerId {
                    channel: self.id,
                    index,
                };
                session.ask_queue(consumer.queue, QueueCommand::Resume { consumer: id });
            }
        }
    }

    pub(crate) fn get(
        &mut self,
        turn: &mut Turn<'_>,
        method: &basic::Get<'_>,
    ) -> Result<(), Exception> {
        let name = self.consumed_queue(
            turn,
            method.queue,
            (basic::Get::CLASS_ID, basic::Get::METHOD_ID),
        )?;
        let Session {
            principal,
            vhost,
            id,
            ..
        } = &*turn.session;
        let (metadata, kind) = (turn.metadata, ResourceKind::Queue);
        auth::authorize(metadata, principal, vhost, Read, kind, &name)?;
        let record = crate::topology::expect_queue(turn, &name)?;
        record.check_exclusive(*id)?;
        let settings = &record.settings;
        if settings.queue_type == QueueType::Quorum && settings.single_active_consumer {
            let (queue, vhost) = (&name, vhost);
            return Err(Violation::GetWithSingleActiveConsumer { queue, vhost }.into());
        }
        let queue = record.queue;
        self.deliveries.expect(queue, &name);
        self.waiting = Some(Waiting::Get {
            queue: name,
            no_ack: method.no_ack,
        });
        turn.session.ask_queue(
            queue,
            QueueCommand::Get {
                channel: self.id,
                no_ack: method.no_ack,
            },
        );
        Ok(())
    }

    /// The queue had a message.
    pub(crate) fn got(
        &mut self,
        turn: &mut Turn<'_>,
        waiting: Waiting,
        (queue, position): (QueueRef, Position),
        message: &SharedMessage,
        redelivered: bool,
        ready: u64,
    ) -> Result<(), Exception> {
        let Waiting::Get {
            no_ack,
            queue: name,
        } = waiting
        else {
            return Err(unexpected_answer());
        };
        let session = &mut *turn.session;
        self.delivery_tag += 1;
        let tag = self.delivery_tag;
        let counts = self.deliveries.of(queue);
        counts.redelivered += u64::from(redelivered);
        if no_ack {
            counts.got_no_ack += 1;
        } else {
            counts.got += 1;
            self.unacked.push(Delivery {
                tag,
                queue,
                position,
                consumer: None,
            });
        }
        basic::GetOk {
            delivery_tag: tag,
            redelivered,
            exchange: message.exchange().as_bytes(),
            routing_key: message.routing_key(),
            message_count: crate::topology::count(ready),
        }
        .encode(self.number(), session.encoded());
        session.send_content(self.number(), message);
        if session.is_watched {
            let delivered = Delivered {
                channel: self.id.number,
                queue: &name,
                tag,
                redelivered,
                is_settled_later: !no_ack,
            };
            show_delivered(turn, &mut self.spans, message, &delivered);
        }
        Ok(())
    }

    /// The queue had none.
    pub(crate) fn got_nothing(
        &mut self,
        session: &mut Session,
        waiting: Waiting,
    ) -> Result<(), Exception> {
        let Waiting::Get { queue, .. } = waiting else {
            return Err(unexpected_answer());
        };
        self.deliveries.named(&queue).got_nothing += 1;
        basic::GetEmpty::default().encode(self.number(), session.encoded());
        Ok(())
    }
}

/// Shows a message that was sent to whoever watches.
fn show_delivered(
    turn: &mut Turn<'_>,
    open: &mut OpenSpans,
    message: &SharedMessage,
    delivered: &Delivered<'_>,
) {
    let Delivered {
        channel,
        queue,
        redelivered,
        ..
    } = *delivered;
    if turn.session.is_traced {
        let (metadata, session) = (turn.metadata, &mut *turn.session);
        trace::delivered(metadata, session, channel, message, queue, redelivered);
    }
    if message.address.trace.is_some() {
        spans::delivered(turn.session, open, message, delivered);
    }
}

/// Checks the arguments of a consumer and gives its priority.
fn check_arguments(
    arguments: &Arguments,
    queue_type: QueueType,
    queue: &Name,
    vhost: &Name,
) -> Result<i32, Exception> {
    let of_quorum_queues = match queue_type {
        QueueType::Classic => Some(TIMEOUT),
        QueueType::Quorum => None,
    };
    let mut unknown = OF_STREAMS.into_iter().chain(of_quorum_queues);
    if let Some(argument) = unknown.find(|key| arguments.get(key).is_some()) {
        return Err(Violation::ConsumerArgument {
            argument,
            queue,
            vhost,
            queue_type: queue_type.module(),
        }
        .into());
    }
    let integer = |argument| match arguments.get(argument) {
        None => Ok(None),
        Some(Value::Int(_, value)) => Ok(Some(*value)),
        Some(other) => {
            let problem = format!("\"expected integer, got {}\"", other.type_name());
            Err(Exception::from(Violation::ConsumerArgumentValue {
                argument,
                queue,
                vhost,
                problem,
            }))
        }
    };
    if let Some(timeout_ms) = integer(TIMEOUT)?
        && timeout_ms < 0
    {
        return Err(Violation::ConsumerArgumentValue {
            argument: TIMEOUT,
            queue,
            vhost,
            problem: format!("{{value_negative,{timeout_ms}}}"),
        }
        .into());
    }
    let value = integer(PRIORITY)?.unwrap_or(0);
    Ok(i32::try_from(value).unwrap_or(if value < 0 { i32::MIN } else { i32::MAX }))
}
