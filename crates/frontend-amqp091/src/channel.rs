//! One channel: takes its frames in order, and what comes back for it from queues and metadata.
//!
//! Most methods are answered at once. One that needs an asynchronous answer makes the channel *wait*: what follows is kept in
//! a stash, in order, and handled after the answer. Acks do not wait, since nothing they do depends on the answer.
//! Other channels of the connection go on meanwhile.
//!
//! ```text
//! Open --exception--> Closing (everything is ignored) --channel.close-ok--> Closed
//!      --channel.close from the client--> Leaving (acks become safe) -------> Closed
//!      --connection.close from the client--^
//! ```
//!
//! What the methods do is in the files named after them: [`topology`](crate::topology), [`publish`](crate::publish),
//! [`consume`](crate::consume), [`settle`](crate::settle), [`confirm`](crate::confirm), [`tx`](crate::tx).
//!
//! Invariants: at most one answer is outstanding; a channel that does not wait and is not held back has an empty stash.
//! Spec: AMQP 0-9-1 §1.5.

use crate::barrier::Unsynced;
use crate::confirm::{Confirm, ConfirmTracker};
use crate::connection::ChannelDetails;
use crate::consume::{Consumers, PrefetchLimits};
use crate::content::{Assembled, Assembly};
use crate::counts::DeliveryLines;
use crate::dead_letter::tried_message;
use crate::exception::{Exception, Violation};
use crate::publish::Routes;
use crate::reply_to::ReplyConsumer;
use crate::request::return_late_reply;
use crate::session::{Session, Turn};
use crate::sharding::ShardChoice;
use crate::spans::OpenSpans;
use crate::tx::{Commit, Transaction};
use crate::unacked::Unacked;
use base::{ChannelNumber, ConsumerTagIndex, Name, Position};
use broker::Error;
use broker::admission::ChannelSeat;
use broker::command::{AccessReply, ChannelId, ConsumerSettings, Outcome, QueueCommand, Reply};
use broker::messages::Messages;
use bytes::Bytes;
use codec_amqp091::{FrameKind, Method, access, basic, channel, confirm, peek_method};
use std::collections::VecDeque;
use std::sync::Arc;

/// Bytes of stashed methods and messages at which the connection stops reading. Input that was already read is still taken.
const STASH_SIZE_MAX: usize = 1024 * 1024;
/// Stashed methods and messages at which the connection stops reading.
const STASH_LENGTH_MAX: usize = 1024;

/// A channel of a connection.
#[derive(Debug)]
pub(crate) struct Channel {
    pub(crate) id: ChannelId,
    /// Its place among the open channels.
    _seat: ChannelSeat,
    state: State,
    assembly: Assembly,
    /// The answer that is outstanding.
    pub(crate) waiting: Option<Waiting>,
    stash: Stash,
    pub(crate) mode: Mode,
    pub(crate) routes: Routes,
    pub(crate) consumers: Consumers,
    pub(crate) prefetch: PrefetchLimits,
    pub(crate) unacked: Unacked,
    pub(crate) unsynced: Unsynced,
    pub(crate) deliveries: DeliveryLines,
    /// The last delivery tag that was used.
    pub(crate) delivery_tag: u64,
    /// The queue that an empty queue name means.
    pub(crate) last_queue: Option<Name>,
    /// A name for a queue that somebody is asked about.
    pub(crate) chosen_name: Option<Name>,
    /// The shard that the next basic.consume or basic.get means.
    pub(crate) chosen_shard: Option<Name>,
    pub(crate) reply_consumer: Option<ReplyConsumer>,
    /// Spans that have not ended.
    pub(crate) spans: OpenSpans,
    /// Observers know that it has ended.
    end_is_observed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// channel.close was sent.
    Closing,
    /// The client ended it; everything it had is given back, but its acks are not safe yet.
    Leaving(Farewell),
    Closed,
}

/// Which end a channel of a client comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Farewell {
    /// channel.close-ok.
    CloseOk,
    /// None; connection.close-ok is for all channels.
    Silent,
}

/// What publishes get for an answer.
#[derive(Debug)]
pub(crate) enum Mode {
    /// None.
    Plain,
    /// Confirms.
    Confirm(ConfirmTracker),
    /// They are kept until tx.commit.
    Tx(Transaction),
}

/// The answer a channel waits for, and what it needs to pass it on.
#[derive(Debug)]
pub(crate) enum Waiting {
    ExchangeDeclare {
        no_wait: bool,
    },
    ExchangeDelete {
        no_wait: bool,
    },
    ExchangeBind {
        no_wait: bool,
    },
    ExchangeUnbind {
        no_wait: bool,
    },
    QueueDeclare {
        name: Name,
        no_wait: bool,
    },
    /// The queue is declared; its counts are on their way.
    QueueStatus {
        name: Name,
        no_wait: bool,
    },
    QueueBind {
        no_wait: bool,
    },
    QueueUnbind,
    QueuePurge {
        name: Name,
        no_wait: bool,
    },
    QueueDelete {
        no_wait: bool,
    },
    Consume {
        consumer: ConsumerTagIndex,
        queue: Name,
        no_wait: bool,
        /// What observers will hear when it has begun.
        observed: Option<Box<ConsumerSettings>>,
    },
    Cancel {
        consumer: ConsumerTagIndex,
        tag: Name,
        no_wait: bool,
    },
    Get {
        queue: Name,
        no_ack: bool,
    },
    TxCommit(Commit),
    /// A shard says how many consumers it has.
    Shard(Box<ShardChoice>),
    /// Somebody says whether the first of what is kept is allowed.
    Permission,
}

impl Waiting {
    /// Class and method ids of the method that waits.
    pub(crate) fn ids(&self) -> (u16, u16) {
        match self {
            Self::ExchangeDeclare { .. } => (40, 10),
            Self::ExchangeDelete { .. } => (40, 20),
            Self::ExchangeBind { .. } => (40, 30),
            Self::ExchangeUnbind { .. } => (40, 40),
            Self::QueueDeclare { .. } | Self::QueueStatus { .. } => (50, 10),
            Self::QueueBind { .. } => (50, 20),
            Self::QueuePurge { .. } => (50, 30),
            Self::QueueDelete { .. } => (50, 40),
            Self::QueueUnbind => (50, 50),
            Self::Consume { .. } => (60, 20),
            Self::Cancel { .. } => (60, 30),
            Self::Get { .. } => (60, 70),
            Self::TxCommit(_) => (90, 20),
            Self::Shard(choice) => choice.ids,
            // An answer has no error, and the method that waits comes again.
            Self::Permission => (0, 0),
        }
    }
}

/// Something complete that a client sent.
#[derive(Debug)]
enum Unit {
    Method(Bytes),
    Publish(Assembled),
}

impl Unit {
    fn size_bytes(&self) -> usize {
        match self {
            Self::Method(payload) => payload.len(),
            Self::Publish(message) => message.size_bytes(),
        }
    }
}

/// What has to wait, in order.
#[derive(Debug, Default)]
struct Stash {
    units: VecDeque<Unit>,
    bytes: usize,
}

impl Stash {
    fn push(&mut self, unit: Unit) {
        self.bytes += unit.size_bytes();
        self.units.push_back(unit);
    }

    fn push_front(&mut self, unit: Unit) {
        self.bytes += unit.size_bytes();
        self.units.push_front(unit);
    }

    fn pop(&mut self) -> Option<Unit> {
        let unit = self.units.pop_front()?;
        self.bytes -= unit.size_bytes();
        Some(unit)
    }

    fn clear(&mut self) {
        *self = Self::default();
    }
}

// What it is.
impl Channel {
    pub(crate) fn new(id: ChannelId, seat: ChannelSeat, prefetch: PrefetchLimits) -> Self {
        Self {
            id,
            _seat: seat,
            state: State::Open,
            assembly: Assembly::default(),
            waiting: None,
            stash: Stash::default(),
            mode: Mode::Plain,
            routes: Routes::default(),
            consumers: Consumers::default(),
            prefetch,
            unacked: Unacked::default(),
            unsynced: Unsynced::default(),
            deliveries: DeliveryLines::default(),
            spans: OpenSpans::default(),
            delivery_tag: 0,
            last_queue: None,
            chosen_name: None,
            chosen_shard: None,
            reply_consumer: None,
            end_is_observed: false,
        }
    }

    pub(crate) fn number(&self) -> ChannelNumber {
        self.id.number
    }

    pub(crate) fn is_open(&self) -> bool {
        self.state == State::Open
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    /// Whether everything the client sent so far was handled.
    pub(crate) fn is_drained(&self) -> bool {
        !self.is_open() || (self.waiting.is_none() && self.stash.units.is_empty())
    }

    /// Whether it waits for nothing but the safety of its acks.
    pub(crate) fn is_leaving(&self) -> bool {
        matches!(self.state, State::Leaving(_))
    }

    /// Whether a message can be published the moment it comes, without looking at anything before it.
    #[inline]
    pub(crate) fn is_free(&self, session: &Session) -> bool {
        self.is_open()
            && self.waiting.is_none()
            && self.stash.units.is_empty()
            && matches!(self.assembly, Assembly::Idle)
            && !self.is_held(session)
    }

    /// Whether a publish has to wait.
    #[inline]
    fn is_held(&self, session: &Session) -> bool {
        session.backpressure.is_closed() || !self.routes.credits.is_open()
    }

    /// Whether something waits because a queue gives no credit.
    pub(crate) fn is_out_of_credit(&self) -> bool {
        !self.routes.credits.is_open() && !self.stash.units.is_empty()
    }

    /// Whether it keeps so much that the client has to be stopped.
    pub(crate) fn is_stash_full(&self) -> bool {
        self.stash.bytes >= STASH_SIZE_MAX || self.stash.units.len() >= STASH_LENGTH_MAX
    }

    /// For listings.
    pub(crate) fn details(&self) -> ChannelDetails {
        let (mut unconfirmed, mut uncommitted) = (0, (0, 0));
        match &self.mode {
            Mode::Plain => {}
            Mode::Confirm(tracker) => unconfirmed = tracker.unconfirmed(),
            Mode::Tx(transaction) => uncommitted = transaction.lengths(),
        }
        ChannelDetails {
            number: self.id.number,
            consumers: self.consumers.len(),
            unacknowledged: self.unacked.len(),
            unconfirmed,
            confirm: matches!(self.mode, Mode::Confirm(_)),
            transactional: matches!(self.mode, Mode::Tx(_)),
            prefetch_count: self.prefetch.per_consumer,
            global_prefetch_count: self.prefetch.per_channel,
            uncommitted: uncommitted.0,
            uncommitted_acks: uncommitted.1,
            published: self.routes.publishes.totals(),
            publishes: self.routes.publishes.lines().collect(),
            delivered: self.deliveries.totals(),
            deliveries: self.deliveries.lines().collect(),
        }
    }

    /// Bytes of messages that are not in any queue yet.
    pub(crate) fn unrouted_bytes(&self) -> usize {
        let tx = match &self.mode {
            Mode::Tx(transaction) => transaction.size_bytes(),
            Mode::Plain | Mode::Confirm(_) => 0,
        };
        self.assembly.buffered_bytes() + self.stash.bytes + tx
    }
}

// What the client sends.
impl Channel {
    /// Takes one frame.
    ///
    /// # Errors
    /// The frame, or what it asks for, ends the channel or the connection.
    #[inline]
    pub(crate) fn handle_frame(
        &mut self,
        turn: &mut Turn<'_>,
        kind: FrameKind,
        payload: Bytes,
    ) -> Result<(), Exception> {
        if self.state != State::Open {
            return self.handle_frame_after_close(turn.session, kind, &payload);
        }
        match kind {
            FrameKind::Method => {
                self.assembly.check_method()?;
                if peek_method(&payload)
                    == Some((basic::Publish::CLASS_ID, basic::Publish::METHOD_ID))
                {
                    return self.assembly.begin(payload);
                }
                self.handle_unit(turn, Unit::Method(payload))
            }
            FrameKind::Header => match self
                .assembly
                .header(&payload, turn.session.config.message_size_max)?
            {
                Some(message) => self.handle_unit(turn, Unit::Publish(message)),
                None => Ok(()),
            },
            FrameKind::Body => match self.assembly.body(payload)? {
                Some(message) => self.handle_unit(turn, Unit::Publish(message)),
                None => Ok(()),
            },
            FrameKind::Heartbeat => Err(Violation::Internal("heartbeat on a channel").into()),
        }
    }

    fn handle_frame_after_close(
        &mut self,
        session: &mut Session,
        kind: FrameKind,
        payload: &Bytes,
    ) -> Result<(), Exception> {
        if kind != FrameKind::Method {
            return Ok(());
        }
        match (self.state, peek_method(payload)) {
            // Compat: RabbitMQ minds when the number is used again before channel.close-ok.
            (
                State::Leaving(_),
                Some(ids @ (channel::Open::CLASS_ID, channel::Open::METHOD_ID)),
            ) => return Err(Exception::from(Violation::SecondChannelOpen).caused_by(ids)),
            (State::Leaving(_), _) => {}
            (_, Some((channel::CloseOk::CLASS_ID, channel::CloseOk::METHOD_ID))) => {
                self.state = State::Closed
            }
            // Both sides closed at once.
            (_, Some((channel::Close::CLASS_ID, channel::Close::METHOD_ID))) => {
                channel::CloseOk.encode(self.number(), session.encoded());
            }
            _ => {}
        }
        Ok(())
    }

    #[inline]
    fn handle_unit(&mut self, turn: &mut Turn<'_>, unit: Unit) -> Result<(), Exception> {
        let in_order = self.waiting.is_none() && self.stash.units.is_empty();
        if in_order {
            return self.perform_or_hold(turn, unit);
        }
        if let Unit::Method(payload) = &unit
            && self.may_overtake(payload)
        {
            let payload = payload.clone();
            return self.handle_method(turn, &payload);
        }
        self.keep(turn.session, unit);
        Ok(())
    }

    fn keep(&mut self, session: &mut Session, unit: Unit) {
        self.stash.push(unit);
        session.has_full_stash |= self.is_stash_full();
    }

    /// Acks need not wait for anything, except in a transaction, where a commit may be before them.
    fn may_overtake(&self, payload: &[u8]) -> bool {
        let settles = matches!(
            peek_method(payload),
            Some((
                basic::Ack::CLASS_ID,
                basic::Ack::METHOD_ID | basic::Nack::METHOD_ID | basic::Reject::METHOD_ID
            ))
        );
        settles && !matches!(self.mode, Mode::Tx(_))
    }

    #[inline]
    fn perform_or_hold(&mut self, turn: &mut Turn<'_>, unit: Unit) -> Result<(), Exception> {
        match unit {
            Unit::Method(payload) => match self.handle_method(turn, &payload) {
                Ok(()) => Ok(()),
                Err(exception) => self.refuse(turn.session, exception, Unit::Method(payload)),
            },
            Unit::Publish(_) if self.is_held(turn.session) => {
                turn.session.backpressure.has_publish |= turn.session.backpressure.is_closed();
                self.keep(turn.session, unit);
                Ok(())
            }
            Unit::Publish(assembled) if turn.session.principal.authority().is_some() => {
                let Assembled { method, content } = assembled.clone();
                self.publish(turn, &method, content).or_else(|exception| {
                    self.refuse(turn.session, exception, Unit::Publish(assembled))
                })
            }
            Unit::Publish(Assembled { method, content }) => self.publish(turn, &method, content),
        }
    }

    /// What came whole and was published by itself was refused.
    ///
    /// # Errors
    /// As [`Self::refuse`].
    #[cold]
    pub(crate) fn refuse_whole(
        &mut self,
        session: &mut Session,
        exception: Exception,
        assembled: Assembled,
    ) -> Result<(), Exception> {
        self.refuse(session, exception, Unit::Publish(assembled))
    }

    /// Something was refused, or nobody has said yet whether it is allowed or which shard it means: then it is kept until somebody does.
    ///
    /// # Errors
    /// It was refused.
    #[cold]
    fn refuse(
        &mut self,
        session: &mut Session,
        exception: Exception,
        unit: Unit,
    ) -> Result<(), Exception> {
        if let Some(question) = exception.question {
            self.waiting = Some(Waiting::Permission);
            session.ask_authority(self.id, *question);
        } else if !matches!(self.waiting, Some(Waiting::Shard(_))) {
            session.principal.forget_refusals();
            return Err(exception);
        }
        self.stash.push_front(unit);
        session.has_full_stash |= self.is_stash_full();
        Ok(())
    }

    /// Forgets what the user was allowed.
    pub(crate) fn forget_permissions(&mut self) {
        self.routes.forget();
    }

    /// Handles what was kept, as far as possible now.
    ///
    /// # Errors
    /// As [`Self::handle_frame`].
    pub(crate) fn handle_stash(&mut self, turn: &mut Turn<'_>) -> Result<(), Exception> {
        while self.is_open() && self.waiting.is_none() {
            let held = self.is_held(turn.session);
            match self.stash.units.front() {
                None => return Ok(()),
                Some(Unit::Publish(_)) if held => {
                    turn.session.backpressure.has_publish |= turn.session.backpressure.is_closed();
                    return Ok(());
                }
                Some(_) => {}
            }
            if let Some(unit) = self.stash.pop() {
                self.perform_or_hold(turn, unit)?;
            }
        }
        Ok(())
    }

    fn handle_method(&mut self, turn: &mut Turn<'_>, payload: &Bytes) -> Result<(), Exception> {
        let method = decode_method(payload)?;
        self.perform(turn, &method)
            .map_err(|exception| exception.caused_by(method.ids()))
    }

    fn perform(&mut self, turn: &mut Turn<'_>, method: &Method<'_>) -> Result<(), Exception> {
        match method {
            Method::BasicAck(method) => self.ack(turn, method.delivery_tag, method.multiple),
            Method::BasicNack(method) => self.reject(
                turn,
                method.delivery_tag,
                method.multiple,
                if method.requeue {
                    Outcome::Requeue
                } else {
                    Outcome::Discard
                },
            ),
            Method::BasicReject(method) => self.reject(
                turn,
                method.delivery_tag,
                false,
                // Compat: who rejects has failed, who nacks has not.
                if method.requeue {
                    Outcome::Fail
                } else {
                    Outcome::Reject
                },
            ),
            Method::ExchangeDeclare(method) => self.exchange_declare(turn, method),
            Method::ExchangeDelete(method) => self.exchange_delete(turn, method),
            Method::ExchangeBind(method) => self.exchange_bind(turn, method),
            Method::ExchangeUnbind(method) => self.exchange_unbind(turn, method),
            Method::QueueDeclare(method) => self.queue_declare(turn, method),
            Method::QueueBind(method) => self.queue_bind(turn, method),
            Method::QueueUnbind(method) => self.queue_unbind(turn, method),
            Method::QueuePurge(method) => self.queue_purge(turn, method),
            Method::QueueDelete(method) => self.queue_delete(turn, method),
            Method::BasicQos(method) => self.qos(turn, *method),
            Method::BasicConsume(method) => self.consume(turn, method),
            Method::BasicCancel(method) => self.cancel(turn, method),
            Method::BasicGet(method) => self.get(turn, method),
            Method::BasicRecover(method) => {
                self.recover(turn, method.requeue)?;
                basic::RecoverOk.encode(self.number(), turn.session.encoded());
                Ok(())
            }
            Method::BasicRecoverAsync(method) => self.recover(turn, method.requeue),
            Method::ConfirmSelect(method) => self.confirm_select(turn.session, *method),
            Method::TxSelect(_) => self.tx_select(turn.session),
            Method::TxCommit(_) => self.tx_commit(turn),
            Method::TxRollback(_) => self.tx_rollback(turn.session),
            Method::ChannelFlow(method) => self.flow(turn.session, method.active),
            Method::ChannelClose(_) => {
                self.flush_confirms(turn.session);
                self.leave(turn.session, Farewell::CloseOk);
                Ok(())
            }
            // An answer to a question the server asked with no-wait.
            Method::BasicCancelOk(_) => Ok(()),
            Method::AccessRequest(_) => {
                access::RequestOk { ticket: 1 }.encode(self.number(), turn.session.encoded());
                Ok(())
            }
            Method::ChannelOpen(_) => Err(Violation::SecondChannelOpen.into()),
            Method::ConnectionStart(_)
            | Method::ConnectionStartOk(_)
            | Method::ConnectionSecure(_)
            | Method::ConnectionSecureOk(_)
            | Method::ConnectionTune(_)
            | Method::ConnectionTuneOk(_)
            | Method::ConnectionOpen(_)
            | Method::ConnectionOpenOk(_)
            | Method::ConnectionClose(_)
            | Method::ConnectionCloseOk(_)
            | Method::ConnectionBlocked(_)
            | Method::ConnectionUnblocked(_)
            | Method::ConnectionUpdateSecret(_)
            | Method::ConnectionUpdateSecretOk(_)
            | Method::ChannelOpenOk(_)
            | Method::ChannelFlowOk(_)
            | Method::ChannelCloseOk(_)
            | Method::AccessRequestOk(_)
            | Method::ExchangeDeclareOk(_)
            | Method::ExchangeDeleteOk(_)
            | Method::ExchangeBindOk(_)
            | Method::ExchangeUnbindOk(_)
            | Method::QueueDeclareOk(_)
            | Method::QueueBindOk(_)
            | Method::QueuePurgeOk(_)
            | Method::QueueDeleteOk(_)
            | Method::QueueUnbindOk(_)
            | Method::BasicQosOk(_)
            | Method::BasicConsumeOk(_)
            | Method::BasicPublish(_)
            | Method::BasicReturn(_)
            | Method::BasicDeliver(_)
            | Method::BasicGetOk(_)
            | Method::BasicGetEmpty(_)
            | Method::BasicRecoverOk(_)
            | Method::ConfirmSelectOk(_)
            | Method::TxSelectOk(_)
            | Method::TxCommitOk(_)
            | Method::TxRollbackOk(_) => Err(Violation::UnimplementedMethod.into()),
        }
    }

    fn flow(&self, session: &mut Session, active: bool) -> Result<(), Exception> {
        if !active {
            return Err(Violation::FlowInactive.into());
        }
        channel::FlowOk { active }.encode(self.number(), session.encoded());
        Ok(())
    }

    fn confirm_select(
        &mut self,
        session: &mut Session,
        method: confirm::Select,
    ) -> Result<(), Exception> {
        match self.mode {
            Mode::Tx(_) => return Err(Violation::ConfirmAfterTx.into()),
            Mode::Plain => self.mode = Mode::Confirm(ConfirmTracker::default()),
            Mode::Confirm(_) => {}
        }
        if !method.no_wait {
            confirm::SelectOk.encode(self.number(), session.encoded());
        }
        Ok(())
    }
}

// What queues and the metadata say.
impl Channel {
    /// Takes one reply, then what it held up.
    ///
    /// # Errors
    /// As [`Self::handle_frame`].
    #[inline]
    pub(crate) fn handle_reply(
        &mut self,
        turn: &mut Turn<'_>,
        reply: Reply,
    ) -> Result<(), Exception> {
        if !self.is_open() {
            if let Reply::Barrier(result) = reply {
                return self.barrier_answered(turn.session, result.map_err(|error| *error));
            }
            turn.session
                .requests
                .extend(return_late_reply(self.id, &reply));
            return Ok(());
        }
        match reply {
            Reply::Deliver {
                consumer,
                queue,
                position,
                messages,
                redelivered,
            } if turn.session.is_watched => {
                let from = (queue, position);
                self.deliver_all_watched(turn, consumer, from, messages, redelivered);
                return Ok(());
            }
            Reply::Deliver {
                consumer,
                queue,
                position,
                messages,
                redelivered,
            } => {
                let listed = match messages {
                    Messages::Listed(listed) => listed,
                    Messages::Run(run) => {
                        if self.deliver_run(turn.session, consumer, &run, redelivered) {
                            return Ok(());
                        }
                        run.messages().collect()
                    }
                };
                for (message, position) in listed.into_iter().zip(position.0..) {
                    let source = (queue, Position(position));
                    self.deliver(turn.session, consumer, source, &message, redelivered);
                }
                return Ok(());
            }
            Reply::DeliverAgain(again) => {
                self.deliver_again(turn, &again);
                return Ok(());
            }
            Reply::TimedOut {
                consumer,
                queue,
                positions,
                timeout_ms,
            } => self.timed_out(turn.session, consumer, queue, &positions, timeout_ms)?,
            Reply::Confirm { first, last } => self.confirmed(turn.session, first, last, false)?,
            Reply::Nack { first, last } => self.confirmed(turn.session, first, last, true)?,
            Reply::Credit { queue, bytes } => self.routes.credits.earn(queue, bytes),
            Reply::ConsumerCancelled { consumer } => {
                self.consumer_cancelled(turn.session, consumer)
            }
            Reply::CancelOk { consumer } if self.consumers.is_ended(consumer) => {
                self.consumers.remove(consumer);
            }
            Reply::DirectReply { message } => self.deliver_direct_reply(turn.session, &message),
            Reply::Barrier(result) => {
                self.barrier_answered(turn.session, result.map_err(|error| *error))?;
            }
            Reply::GetOk { .. }
            | Reply::GetEmpty
            | Reply::ConsumeOk { .. }
            | Reply::CancelOk { .. }
            | Reply::Status { .. }
            | Reply::Purged { .. }
            | Reply::Deleted { .. }
            | Reply::Operated(_)
            | Reply::Failed(_)
            | Reply::Access(_)
            | Reply::Metadata(_) => self.handle_answer(turn, reply)?,
        }
        self.handle_stash(turn)
    }

    fn handle_answer(&mut self, turn: &mut Turn<'_>, reply: Reply) -> Result<(), Exception> {
        let Some(waiting) = self.waiting.take() else {
            turn.session
                .requests
                .extend(return_late_reply(self.id, &reply));
            return Ok(());
        };
        let ids = waiting.ids();
        if let Waiting::Shard(choice) = waiting {
            let outcome = self.shard_answered(turn.session, choice, &reply);
            return outcome.map_err(|exception| exception.caused_by(ids));
        }
        let outcome = match reply {
            Reply::Failed(error) => self.handle_failure(turn.session, waiting, *error),
            Reply::Metadata(Err(error)) => Err((*error).into()),
            Reply::Metadata(Ok(reply)) => self.metadata_changed(turn, waiting, &reply),
            Reply::Status { ready, consumers } => {
                self.queue_status(turn.session, waiting, ready, consumers)
            }
            Reply::Purged { count } => self.queue_purged(turn.session, waiting, count),
            Reply::Deleted { ready } => self.queue_deleted(turn.session, waiting, ready),
            Reply::ConsumeOk { .. } => self.consuming(turn.session, waiting),
            Reply::CancelOk { .. } => self.cancelled(turn.session, waiting),
            Reply::GetOk {
                queue,
                position,
                message,
                redelivered,
                ready,
                attempts,
            } => self.got(
                turn,
                waiting,
                (queue, position),
                &tried_message(message, attempts),
                redelivered,
                ready,
            ),
            Reply::GetEmpty => self.got_nothing(turn.session, waiting),
            Reply::Access(access) => match *access {
                AccessReply::Answered { question, answer } => {
                    turn.session.principal.learn(question, answer);
                    Ok(())
                }
                AccessReply::LoggedIn(_)
                | AccessReply::Renewed(_)
                | AccessReply::Changed { .. } => Err(unexpected_answer()),
            },
            Reply::Deliver { .. }
            | Reply::DeliverAgain(_)
            | Reply::TimedOut { .. }
            | Reply::Confirm { .. }
            | Reply::Nack { .. }
            | Reply::Credit { .. }
            | Reply::ConsumerCancelled { .. }
            | Reply::Barrier(_)
            | Reply::Operated(_)
            | Reply::DirectReply { .. } => Err(unexpected_answer()),
        };
        outcome.map_err(|exception| exception.caused_by(ids))
    }

    /// A queue refused what the channel waits for, or no longer exists.
    fn handle_failure(
        &mut self,
        session: &mut Session,
        waiting: Waiting,
        error: Error,
    ) -> Result<(), Exception> {
        let queue_is_gone = matches!(error, Error::NotFound { .. });
        match waiting {
            Waiting::Cancel { .. } => self.cancelled(session, waiting),
            Waiting::QueueDelete { .. } if queue_is_gone => self.queue_deleted(session, waiting, 0),
            Waiting::Consume {
                consumer, queue, ..
            } => {
                self.consumers.remove(consumer);
                Err(self.named(session, error, queue))
            }
            Waiting::QueueStatus { name, .. }
            | Waiting::QueuePurge { name, .. }
            | Waiting::Get { queue: name, .. } => Err(self.named(session, error, name)),
            Waiting::ExchangeDeclare { .. }
            | Waiting::ExchangeDelete { .. }
            | Waiting::ExchangeBind { .. }
            | Waiting::ExchangeUnbind { .. }
            | Waiting::QueueDeclare { .. }
            | Waiting::QueueBind { .. }
            | Waiting::QueueUnbind
            | Waiting::QueueDelete { .. }
            | Waiting::Permission
            | Waiting::Shard(_)
            | Waiting::TxCommit(_) => Err(error.into()),
        }
    }

    /// Whoever found the queue missing may not have known its name.
    fn named(&self, session: &Session, error: Error, queue: Name) -> Exception {
        if let Error::NotFound { kind, .. } = error {
            return Error::NotFound {
                kind,
                name: queue,
                vhost: session.vhost.clone(),
            }
            .into();
        }
        error.into()
    }

    fn confirmed(
        &mut self,
        session: &mut Session,
        first: u64,
        last: u64,
        refused: bool,
    ) -> Result<(), Exception> {
        match &mut self.mode {
            Mode::Confirm(tracker) => {
                let had_ready = tracker.has_ready();
                tracker.answer(first, last, refused);
                if self.spans.has_publishes() {
                    self.spans
                        .confirmed(session, |sequence| tracker.outcome(sequence));
                }
                if !had_ready && tracker.has_ready() {
                    session.unsaid_confirms.push(self.id.number);
                }
                Ok(())
            }
            Mode::Tx(_) => self.commit_confirmed(session, first, last, refused),
            Mode::Plain => Ok(()),
        }
    }

    /// What was settled before a barrier is safe, or the log failed and it never will be.
    fn barrier_answered(
        &mut self,
        session: &mut Session,
        result: Result<(), Error>,
    ) -> Result<(), Exception> {
        match self.state {
            State::Open => {
                self.unsynced.answered();
                result?;
                self.finish_commit(session)
            }
            State::Leaving(farewell) => {
                self.unsynced.answered();
                result?;
                self.say_farewell(session, farewell);
                Ok(())
            }
            State::Closing | State::Closed => Ok(session.orphan_answered(result)?),
        }
    }

    /// Says what was confirmed since the last time.
    pub(crate) fn flush_confirms(&mut self, session: &mut Session) {
        let Mode::Confirm(tracker) = &mut self.mode else {
            return;
        };
        if self.state != State::Open {
            return;
        }
        let number = self.id.number;
        let (now, traffic) = (session.now.monotonic, Arc::clone(&session.config.traffic));
        let out = session.encoded();
        tracker.flush(|confirm| match confirm {
            Confirm::Ack { sequence, multiple } => {
                basic::Ack {
                    delivery_tag: sequence,
                    multiple,
                }
                .encode(number, out);
            }
            // Compat: RabbitMQ sets requeue here, where it means nothing.
            Confirm::Nack { sequence } => {
                basic::Nack {
                    delivery_tag: sequence,
                    multiple: false,
                    requeue: true,
                }
                .encode(number, out);
            }
        });
        let publishes = &mut self.routes.publishes;
        tracker.count(&traffic, now, |line, count| {
            publishes.confirmed(&traffic, line, count);
        });
    }
}

// The end.
impl Channel {
    /// Closes the channel because of an exception: everything it had goes back, and the client is told.
    pub(crate) fn close(&mut self, session: &mut Session, exception: &Exception) {
        self.flush_confirms(session);
        self.end(session);
        channel::Close {
            reply_code: exception.reply_code,
            reply_text: exception.reply_text.as_bytes(),
            class_id: exception.class_id,
            method_id: exception.method_id,
        }
        .encode(self.number(), session.encoded());
        self.unsynced.send_barriers(session, self.id);
        session.orphaned_barriers += self.unsynced.take_barriers();
    }

    /// Ends the channel because the client wants it so, as soon as its acks are safe.
    pub(crate) fn leave(&mut self, session: &mut Session, farewell: Farewell) {
        self.end(session);
        self.unsynced.send_barriers(session, self.id);
        self.state = State::Leaving(farewell);
        self.say_farewell(session, farewell);
    }

    fn say_farewell(&mut self, session: &mut Session, farewell: Farewell) {
        if !self.unsynced.is_synced() {
            return;
        }
        if farewell == Farewell::CloseOk {
            channel::CloseOk.encode(self.number(), session.encoded());
        }
        self.state = State::Closed;
    }

    /// Ends the channel without a word.
    pub(crate) fn end(&mut self, session: &mut Session) {
        self.cancel_consumers(session);
        self.requeue_unacked(session);
        if self.spans.has_publishes() {
            let reason = "the channel ended before the message was confirmed";
            self.spans.confirmed(session, |_| Some(Err(reason)));
        }
        self.state = State::Closing;
        self.assembly = Assembly::default();
        self.waiting = None;
        self.stash.clear();
        self.mode = Mode::Plain;
        self.cancel_replies(session);
        self.routes = Routes::default();
    }

    /// First half of [`Self::end`], so that nothing is delivered to a sibling that ends as well.
    pub(crate) fn cancel_consumers(&mut self, session: &mut Session) {
        self.observe_end(session);
        for (queue, consumer) in self.consumers.drain(self.id) {
            session.ask_queue(
                queue,
                QueueCommand::Cancel {
                    consumer,
                    reply: false,
                },
            );
        }
    }

    fn observe_end(&mut self, session: &mut Session) {
        if session.is_observed && !std::mem::replace(&mut self.end_is_observed, true) {
            for (tag, queue) in self.consumers.names() {
                session.observe_consumer_gone(self.id.number, queue, tag);
            }
            session.observe_channel_closed(self.id.number, self.consumers.len());
        }
    }

    fn requeue_unacked(&mut self, session: &mut Session) {
        if let Mode::Tx(transaction) = &mut self.mode {
            self.unacked.restore(transaction.take_settled());
        }
        let deliveries = self.unacked.remove_up_to(0).into_iter().flatten();
        crate::settle::settle_all(session, self.id, deliveries, Outcome::Fail);
        if self.spans.has_deliveries() {
            self.spans.settled(session, 0, true, Outcome::Fail);
        }
    }

    /// Checks what the module doc promises.
    #[cfg(test)]
    pub(crate) fn check_invariants(&self, session: &Session) {
        let held = self.is_held(session);
        if self.is_open() && self.waiting.is_none() && !held {
            assert!(self.stash.units.is_empty(), "a free channel keeps nothing");
        }
        assert_eq!(
            self.stash.bytes,
            self.stash.units.iter().map(Unit::size_bytes).sum::<usize>()
        );
    }
}

/// Reads a method; what is wrong with its arguments is told with its name.
///
/// # Errors
/// It is malformed.
pub(crate) fn decode_method(payload: &[u8]) -> Result<Method<'_>, Exception> {
    Method::decode(payload)
        .map_err(|error| Exception::from(error).caused_by(peek_method(payload).unwrap_or_default()))
}

/// An answer came that does not fit the question.
pub(crate) fn unexpected_answer() -> Exception {
    Violation::Internal("unexpected answer").into()
}
