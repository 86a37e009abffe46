//! One client connection: frames in, frames out, channels in between.
//!
//! The driver calls a `handle_*` method for whatever happened and then drains [`Connection::poll_request`],
//! [`Connection::output`] and [`Connection::poll_deadline`]. Everything is done when a call returns; nothing waits inside.
//!
//! ```text
//! Handshake --open--> Running --connection.close--> Leaving (see [`Leaving`]) --close-ok--> Finished
//!                        \--exception, operator--> Closing (close sent) --close-ok or time--> Finished
//! Handshake --refused--> Silent (nothing is said) --3 s--> Finished          end of input: Finished from anywhere
//! ```
//!
//! Invariants: in Closing, Silent and Finished no channel is left and nothing the client sends has an effect; when a connection ends, for
//! whatever reason, all its consumers are cancelled before any of its messages is requeued.
//! Spec: AMQP 0-9-1 §2.2.4, class connection.

use crate::channel::{Channel, Farewell, decode_method};
use crate::config::{Alarms, Config, Peer};
use crate::consume::PrefetchLimits;
use crate::content::{Assembled, Whole};
use crate::counts::{DeliveryCounts, PublishCounts};
use crate::exception::{Exception, Refusal, SILENT_CLOSE_DELAY, Scope, Violation};
use crate::handshake::{self, Failure, Handshake, Header, Step};
use crate::heartbeat::{Beat, Heartbeat};
use crate::log::End;
use crate::out_buffer::OutBuffer;
use crate::request::{Request, connection_address, return_late_reply};
use crate::session::{Session, Turn};
use base::{ChannelNumber, ConnectionId, Name, Now};
use broker::Error;
use broker::auth::{self, Answer, Login, Principal, Question, RenewFailure, Secret};
use broker::command::{AccessReply, AccessRequest, ChannelId, MetadataCommand, Reply};
use broker::metadata::Metadata;
use broker::value::Arguments;
use bytes::{Bytes, BytesMut};
use codec_amqp091::{
    FRAME_HEADER_SIZE, FRAME_OVERHEAD, Frame, FrameKind, Method, channel, connection, decode_frame,
    encode_heartbeat, peek_method,
};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Output that the client does not take, in bytes, at which we stop reading what it sends.
const OUTPUT_SIZE_MAX: usize = 4 * 1024 * 1024;
/// How long what others have said about a user is taken for true where nobody asks again meanwhile.
const ANSWERS_AGE_MAX: Duration = Duration::from_secs(60);
/// Furthest end of credentials that is watched at once.
const CREDENTIALS_MS_MAX: u64 = 1 << 40;
/// Class and method of connection.update-secret.
const UPDATE_SECRET: (u16, u16) = (10, 70);
/// Longest wait for close-ok.
const CLOSE_OK_TIMEOUT_MAX: Duration = Duration::from_secs(30);

/// The machine.
#[derive(Debug)]
pub struct Connection {
    state: State,
    session: Session,
    channels: BTreeMap<ChannelNumber, Box<Channel>>,
    /// Given to the next channel that is opened.
    next_epoch: u32,
    heartbeat: Option<Heartbeat>,
    /// When the handshake must be over.
    handshake_until: Duration,
    connected_at_ms: u64,
    received_bytes: u64,
    /// Pieces in which they came; a large read is several.
    reads: u64,
    /// What others have said about the user is asked again after this.
    answers_until: Option<Duration>,
    /// The user's credentials end then.
    credentials_until: Option<Duration>,
}

#[derive(Debug)]
enum State {
    Handshake(Handshake),
    Running,
    /// The client said connection.close.
    Leaving(Leaving),
    /// We said connection.close.
    Closing {
        until: Duration,
        /// Whether frames can still be told apart.
        reads: bool,
    },
    /// The socket is kept for a while without a word.
    Silent {
        until: Duration,
    },
    Finished,
}

/// The steps of an orderly end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leaving {
    /// Channels do what they were asked for before.
    Draining,
    /// Everything was given back; acks become safe.
    Syncing,
    /// The deletion of the exclusive queues was asked for.
    Deleting,
}

/// The state of a connection as listings show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionState {
    /// Before connection.open-ok.
    Starting,
    /// In use.
    Running,
    /// An alarm is on; the client has not published since.
    Blocking,
    /// An alarm is on and the client wants to publish.
    Blocked,
    /// The client publishes faster than the node can store, or than its limits allow.
    Flow,
    /// On its way to the end.
    Closing,
    /// The socket may be closed as soon as the output is written.
    Closed,
}

/// Why the node ends a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// Reply code 320; the text follows `CONNECTION_FORCED - `.
    Forced(String),
}

/// What listings show about a connection.
#[derive(Clone, Debug)]
pub struct ConnectionDetails {
    /// The connection.
    pub id: ConnectionId,
    /// Both ends of the socket.
    pub peer: Peer,
    /// Its state.
    pub state: ConnectionState,
    /// It is not read because it publishes faster than a limit allows.
    pub throttled: bool,
    /// The SASL mechanism it logged in with; empty before that.
    pub mechanism: String,
    /// Who logged in; empty before that.
    pub user: Name,
    /// The vhost; empty before connection.open.
    pub vhost: Name,
    /// The name that the client's user gave it.
    pub user_provided_name: Option<String>,
    /// What the client said about itself.
    pub client_properties: Arguments,
    /// Open channels.
    pub channels: usize,
    /// Negotiated limit of channels, 0 for none.
    pub channel_max: u16,
    /// Negotiated frame size in bytes, 0 for no limit.
    pub frame_max: u32,
    /// Negotiated heartbeat interval in seconds, 0 for none.
    pub heartbeat_s: u64,
    /// When it was accepted, in milliseconds since 1970.
    pub connected_at_ms: u64,
    /// Bytes it sent since the handshake began.
    pub received_bytes: u64,
    /// Bytes it was sent, or will be.
    pub sent_bytes: u64,
    /// Pieces in which its bytes came: a large read of the socket is several.
    pub reads: u64,
    /// Writes to its socket.
    pub writes: u64,
    /// Bytes that its socket has not taken yet.
    pub unsent_bytes: usize,
}

/// What lists of connections are filtered and ordered by.
#[derive(Clone, Debug)]
pub struct ConnectionSummary {
    /// The connection.
    pub id: ConnectionId,
    /// The client's address.
    pub peer: SocketAddr,
    /// The address it connected to.
    pub local: SocketAddr,
    /// Its state.
    pub state: ConnectionState,
    /// Who logged in; empty before that.
    pub user: Name,
    /// The vhost; empty before connection.open.
    pub vhost: Name,
    /// When it was accepted, in milliseconds since 1970.
    pub connected_at_ms: u64,
    /// Bytes it sent.
    pub received_bytes: u64,
    /// Bytes it was sent.
    pub sent_bytes: u64,
    /// Its open channels.
    pub channels: Vec<ChannelNumber>,
}

/// What listings show about a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelDetails {
    /// Its number.
    pub number: ChannelNumber,
    /// Consumers it has.
    pub consumers: usize,
    /// Deliveries that are not acknowledged.
    pub unacknowledged: usize,
    /// Publishes that are not confirmed.
    pub unconfirmed: usize,
    /// It is in confirm mode.
    pub confirm: bool,
    /// It is transactional.
    pub transactional: bool,
    /// Unacknowledged deliveries that each consumer may have, 0 for no limit.
    pub prefetch_count: u16,
    /// The same for all consumers together.
    pub global_prefetch_count: u16,
    /// Messages of its transaction that are not committed.
    pub uncommitted: usize,
    /// Acks of its transaction that are not committed.
    pub uncommitted_acks: usize,
    /// What it published.
    pub published: PublishCounts,
    /// What it published to each exchange; beyond 64 exchanges only the sum counts.
    pub publishes: Vec<(Name, PublishCounts)>,
    /// What it was sent.
    pub delivered: DeliveryCounts,
    /// What it was sent from each queue; beyond 64 queues only the sum counts.
    pub deliveries: Vec<(Name, DeliveryCounts)>,
}

// What it is.
impl Connection {
    /// A connection that was just accepted. `seed` must be unpredictable; names are generated from it.
    pub fn new(id: ConnectionId, peer: Peer, config: Arc<Config>, now: Now, seed: u64) -> Self {
        Self {
            state: State::Handshake(Handshake::Header),
            handshake_until: now.monotonic + config.handshake_timeout,
            session: Session::new(id, peer, config, seed),
            channels: BTreeMap::new(),
            next_epoch: 1,
            heartbeat: None,
            connected_at_ms: now.wall_ms,
            received_bytes: 0,
            reads: 0,
            answers_until: None,
            credentials_until: None,
        }
    }

    /// A connection of the node itself on behalf of a user who was authenticated elsewhere: it is open from the start, has no
    /// heartbeat and no limit of frames, and what goes in and out are the same frames as everywhere.
    pub fn direct(
        id: ConnectionId,
        peer: Peer,
        config: Arc<Config>,
        now: Now,
        seed: u64,
        user: Principal,
        vhost: Name,
    ) -> Self {
        let mut connection = Self::new(id, peer, config, now, seed);
        connection.session.become_user(user);
        connection.session.vhost = vhost;
        connection.session.frame_max = 0;
        connection.session.client.consumer_cancel_notify = true;
        connection.state = State::Running;
        connection
    }

    /// The state for listings.
    pub fn state(&self) -> ConnectionState {
        let backpressure = self.session.backpressure;
        match self.state {
            State::Handshake(_) => ConnectionState::Starting,
            State::Running if backpressure.alarms.any() && backpressure.has_publish => {
                ConnectionState::Blocked
            }
            State::Running if backpressure.alarms.any() => ConnectionState::Blocking,
            State::Running if backpressure.is_congested && backpressure.has_publish => {
                ConnectionState::Flow
            }
            State::Running if self.session.is_throttled() => ConnectionState::Flow,
            State::Running
                if self
                    .channels
                    .values()
                    .any(|channel| channel.is_out_of_credit()) =>
            {
                ConnectionState::Flow
            }
            State::Running => ConnectionState::Running,
            State::Leaving(_) | State::Closing { .. } | State::Silent { .. } => {
                ConnectionState::Closing
            }
            State::Finished => ConnectionState::Closed,
        }
    }

    /// Whether the socket may be closed, once [`Self::output`] is written.
    pub fn is_finished(&self) -> bool {
        matches!(self.state, State::Finished)
    }

    /// Whether the driver should read. It should not while a publisher is blocked, while too much is kept already, or while the
    /// client does not take its output.
    pub fn wants_input(&self) -> bool {
        let backpressure = self.session.backpressure;
        let is_blocked = backpressure.alarms.any() && backpressure.has_publish;
        match &self.state {
            State::Finished | State::Leaving(_) => false,
            State::Handshake(handshake) if handshake.is_asking() => false,
            State::Running if is_blocked || self.session.has_full_stash => false,
            State::Running if self.session.is_throttled() => false,
            State::Handshake(_) | State::Running | State::Closing { .. } | State::Silent { .. } => {
                self.session.out.len() < OUTPUT_SIZE_MAX
            }
        }
    }

    /// Whether the last input was not taken as far as it could have been, because the client publishes too fast, or to very many queues.
    /// The driver offers what is left again as soon as the connection wants input, behind what others have to do.
    pub fn holds_input(&self) -> bool {
        self.session.holds_input
    }

    /// Bytes of messages in memory that are in no queue yet: parts of bodies, what waits, open transactions.
    pub fn buffered_bytes(&self) -> usize {
        self.channels
            .values()
            .map(|channel| channel.unrouted_bytes())
            .sum()
    }

    /// For listings.
    pub fn details(&self) -> ConnectionDetails {
        let session = &self.session;
        ConnectionDetails {
            id: session.id,
            peer: session.peer.clone(),
            state: self.state(),
            throttled: session.is_throttled(),
            mechanism: session.mechanism.clone(),
            user: session.user.clone(),
            vhost: session.vhost.clone(),
            user_provided_name: session.client.connection_name().map(str::to_owned),
            client_properties: session.client.properties.clone(),
            channels: self.channels.len(),
            channel_max: session.channel_max,
            frame_max: session.frame_max,
            heartbeat_s: self.heartbeat_s(),
            connected_at_ms: self.connected_at_ms,
            received_bytes: self.received_bytes,
            sent_bytes: session.out.mark(),
            reads: self.reads,
            writes: session.out.writes(),
            unsent_bytes: session.out.len(),
        }
    }

    /// The same, with less.
    pub fn summary(&self) -> ConnectionSummary {
        let session = &self.session;
        let open = self
            .channels
            .iter()
            .filter(|(_, channel)| channel.is_open());
        ConnectionSummary {
            id: session.id,
            peer: session.peer.address,
            local: session.peer.local,
            state: self.state(),
            user: session.user.clone(),
            vhost: session.vhost.clone(),
            connected_at_ms: self.connected_at_ms,
            received_bytes: self.received_bytes,
            sent_bytes: session.out.mark(),
            channels: open.map(|(number, _)| *number).collect(),
        }
    }

    /// Negotiated heartbeat interval in seconds, 0 for none.
    fn heartbeat_s(&self) -> u64 {
        self.heartbeat
            .as_ref()
            .map_or(0, |heartbeat| heartbeat.interval().as_secs())
    }

    /// Who logged in; empty before that.
    pub fn user(&self) -> &Name {
        &self.session.user
    }

    /// The vhost; empty before connection.open.
    pub fn vhost(&self) -> &Name {
        &self.session.vhost
    }

    /// Bytes that the client sent, and that it was sent or will be.
    pub fn byte_counts(&self) -> (u64, u64) {
        (self.received_bytes, self.session.out.mark())
    }

    /// The channels for listings, by number.
    pub fn channels(&self) -> impl Iterator<Item = ChannelDetails> {
        self.channels
            .values()
            .filter(|channel| channel.is_open())
            .map(|channel| channel.details())
    }
}

// What happened outside.
impl Connection {
    /// Takes all complete frames off the front of `input` and leaves an incomplete one there; and more, if it says so by
    /// [`Self::holds_input`].
    pub fn handle_input(&mut self, now: Now, metadata: &Arc<Metadata>, input: &mut BytesMut) {
        if let Some(heartbeat) = &mut self.heartbeat
            && !input.is_empty()
        {
            heartbeat.handle_received();
        }
        self.session.now = now;
        // What was left last time comes again.
        self.reads += u64::from(!std::mem::take(&mut self.session.holds_input));
        if matches!(self.state, State::Handshake(Handshake::Header))
            && !self.handle_header(metadata, input)
        {
            return;
        }
        while let State::Handshake(handshake) = &self.state {
            // What follows may have to wait for somebody who is asked.
            let size = if handshake.is_asking() {
                self.session.holds_input = !input.is_empty();
                0
            } else {
                first_frame_size(input)
            };
            if size == 0 {
                break;
            }
            let frame = input.split_to(size).freeze();
            self.handle_batch(now, metadata, &frame);
        }
        let size = match (&self.session.throttle, &self.state) {
            (_, State::Handshake(_)) => 0,
            (Some(_), State::Running) => self.session.admit(now, input),
            _ => complete_size(input),
        };
        let batch = input.split_to(size).freeze();
        let taken = self.handle_batch(now, metadata, &batch);
        if taken < batch.len() {
            self.put_back(&batch[taken..], input);
        }
        // A frame that will be too large is refused before it is all there.
        if self.reads()
            && !self.session.holds_input
            && let Err(error) = decode_frame(input, self.session.frame_max)
        {
            self.fail(now, error.into());
        }
        if !self.reads() {
            input.clear();
        }
        self.announce_blocked();
    }

    /// Takes frames; an incomplete one at the end is dropped. Returns how many bytes are done with: all, unless what they ask for is
    /// too much for one turn.
    #[inline]
    fn handle_batch(&mut self, now: Now, metadata: &Arc<Metadata>, batch: &Bytes) -> usize {
        self.received_bytes += batch.len() as u64;
        let mut offset = 0;
        while self.reads() && offset < batch.len() {
            if self.session.has_many_requests() {
                return offset;
            }
            match decode_frame(&batch[offset..], self.session.frame_max) {
                Ok(Some((frame, size))) => {
                    offset += size;
                    if let Some(size) = self.handle_whole(now, metadata, &frame, batch, offset) {
                        offset += size;
                        continue;
                    }
                    let Frame {
                        kind,
                        channel,
                        payload,
                    } = frame;
                    self.handle_frame(now, metadata, kind, channel, batch.slice_ref(payload));
                }
                Ok(None) => break,
                Err(error) => self.fail(now, error.into()),
            }
        }
        batch.len()
    }

    /// Leaves the rest of a batch in front of the input.
    #[cold]
    fn put_back(&mut self, rest: &[u8], input: &mut BytesMut) {
        let mut left = BytesMut::with_capacity(rest.len() + input.len());
        left.extend_from_slice(rest);
        left.extend_from_slice(input);
        self.received_bytes -= rest.len() as u64;
        *input = left;
        self.session.holds_input = true;
    }

    /// Takes what a queue, the metadata machine or another channel has to say to a channel of this connection.
    #[inline]
    pub fn handle_reply(
        &mut self,
        now: Now,
        metadata: &Arc<Metadata>,
        to: ChannelId,
        reply: Reply,
    ) {
        self.session.now = now;
        if let Reply::Access(access) = &reply {
            self.keep_answers(now);
            if to == connection_address(self.session.id) {
                return self.handle_access(now, metadata, (**access).clone());
            }
        }
        if let Some(channel) = self.channels.get_mut(&to.number)
            && channel.id == to
        {
            let mut turn = Turn {
                metadata,
                session: &mut self.session,
            };
            let outcome = channel.handle_reply(&mut turn, reply);
            if channel.is_closed() {
                self.channels.remove(&to.number);
            }
            if let Err(exception) = outcome {
                self.handle_exception(now, to.number, exception);
            }
            self.handle_progress();
            return;
        }
        if let Reply::Barrier(result) = reply {
            if let Err(error) = self.session.orphan_answered(result.map_err(|error| *error)) {
                self.fail(now, error.into());
            }
            self.handle_progress();
            return;
        }
        if to == connection_address(self.session.id)
            && matches!(self.state, State::Leaving(Leaving::Deleting))
        {
            self.say_close_ok();
            return;
        }
        self.session.requests.extend(return_late_reply(to, &reply));
    }

    /// A deadline of [`Self::poll_deadline`] is over.
    pub fn handle_timeout(&mut self, now: Now, _metadata: &Arc<Metadata>) {
        match self.state {
            State::Handshake(_) if self.handshake_until <= now.monotonic => {
                self.session.log_end(self.age_ms(now), End::Slow);
                self.finish();
            }
            State::Closing { until, .. } | State::Silent { until } if until <= now.monotonic => {
                self.finish()
            }
            State::Running if self.session.expelled.is_some() => {
                let reason = self.session.expelled.take().unwrap_or_default();
                self.fail(now, Exception::forced(&reason));
            }
            State::Running | State::Handshake(Handshake::Open | Handshake::Opening { .. }) => {
                self.handle_lapse(now);
                self.handle_heartbeat_timeout(now);
                if let Some(throttle) = &mut self.session.throttle {
                    throttle.handle_timeout(now);
                }
            }
            State::Handshake(_)
            | State::Leaving(_)
            | State::Closing { .. }
            | State::Silent { .. }
            | State::Finished => {}
        }
    }

    /// The client is gone, or its socket failed.
    pub fn handle_eof(&mut self, now: Now) {
        if matches!(self.state, State::Handshake(_) | State::Running) {
            self.session.log_end(self.age_ms(now), End::Lost);
        }
        self.finish();
    }

    fn age_ms(&self, now: Now) -> u64 {
        now.wall_ms.saturating_sub(self.connected_at_ms)
    }

    /// Alarms of the node changed.
    pub fn handle_alarms(&mut self, now: Now, metadata: &Arc<Metadata>, alarms: Alarms) {
        self.session.backpressure.alarms = alarms;
        if !alarms.any() && self.session.backpressure.is_announced {
            self.session.backpressure.is_announced = false;
            connection::Unblocked.encode(0, self.session.encoded());
        }
        self.handle_relief(now, metadata);
        self.announce_blocked();
    }

    /// The node can take publishes, or cannot.
    pub fn handle_publish_credit(&mut self, now: Now, metadata: &Arc<Metadata>, open: bool) {
        self.session.backpressure.is_congested = !open;
        self.handle_relief(now, metadata);
    }

    /// Whether messages of this connection are traced, before its first.
    pub fn handle_tracing(&mut self, metadata: &Metadata) {
        self.session.refresh_taps(metadata);
    }

    /// Whether somebody wants to hear of events, and what else the metadata says about this connection.
    pub fn handle_observers(&mut self, metadata: &Metadata, are_there: bool) {
        self.session.is_observed = are_there;
        self.session.refresh_taps(metadata);
        self.session.refresh_throttle(metadata);
        if let State::Running = self.state {
            self.session.refresh_expulsion(metadata);
        }
    }

    /// The driver forgets the connection: the last that observers hear of it.
    pub fn handle_removed(&mut self) {
        let age_ms = self
            .session
            .now
            .wall_ms
            .saturating_sub(self.connected_at_ms);
        self.session.log_closed(age_ms);
        self.session.observe_closed();
    }

    /// The node or an operator ends the connection.
    pub fn close(&mut self, now: Now, reason: CloseReason) {
        let CloseReason::Forced(text) = &reason;
        match self.state {
            State::Running => self.fail(now, Exception::forced(text)),
            State::Handshake(_) => self.finish(),
            State::Leaving(_) | State::Closing { .. } | State::Silent { .. } | State::Finished => {}
        }
    }
}

// What the machine wants.
impl Connection {
    /// The next request, in order.
    #[inline]
    pub fn poll_request(&mut self) -> Option<Request> {
        self.session.requests.pop_front()
    }

    /// Bytes to be sent. Call it when a batch of input and replies was handled: confirms are put together here.
    #[inline]
    pub fn output(&mut self) -> &mut OutBuffer {
        while let Some(number) = self.session.unsaid_confirms.pop() {
            if let Some(channel) = self.channels.get_mut(&number) {
                channel.flush_confirms(&mut self.session);
            }
        }
        &mut self.session.out
    }

    /// When to call [`Self::handle_timeout`], in monotonic time.
    pub fn poll_deadline(&self) -> Option<Duration> {
        let heartbeat = self.heartbeat.as_ref().map(Heartbeat::poll_deadline);
        match self.state {
            State::Handshake(Handshake::Open | Handshake::Opening { .. }) => {
                Some(heartbeat.map_or(self.handshake_until, |deadline| {
                    deadline.min(self.handshake_until)
                }))
            }
            State::Handshake(_) => Some(self.handshake_until),
            State::Running if self.session.expelled.is_some() => Some(Duration::ZERO),
            State::Running => {
                let throttle = self.session.throttle.as_ref();
                let throttle = throttle.and_then(|throttle| throttle.poll_deadline());
                [
                    heartbeat,
                    throttle,
                    self.answers_until,
                    self.credentials_until,
                ]
                .into_iter()
                .flatten()
                .min()
            }
            State::Closing { until, .. } | State::Silent { until } => Some(until),
            State::Leaving(_) | State::Finished => None,
        }
    }
}

// Frames.
impl Connection {
    /// Whether what the client sends is still looked at.
    fn reads(&self) -> bool {
        match self.state {
            State::Handshake(_) | State::Running => true,
            State::Closing { reads, .. } => reads,
            State::Leaving(_) | State::Silent { .. } | State::Finished => false,
        }
    }

    /// Takes the protocol header; false if there is nothing more to do with the input now.
    fn handle_header(&mut self, metadata: &Metadata, input: &mut BytesMut) -> bool {
        match handshake::judge_header(input) {
            None => false,
            Some(Header::Accepted) => {
                let _header = input.split_to(codec_amqp091::PROTOCOL_HEADER.len());
                self.session.log_accepted();
                self.state = State::Handshake(handshake::start(metadata, &mut self.session));
                true
            }
            Some(Header::Refused(answer)) => {
                self.log_foreign_protocol(input);
                input.clear();
                self.session.encoded().extend_from_slice(&answer);
                self.finish();
                false
            }
        }
    }

    /// A client that has the wrong port is told apart from one that speaks another version of AMQP.
    fn log_foreign_protocol(&self, input: &[u8]) {
        let Session { id, peer, .. } = &self.session;
        let what = match input {
            [0x16, 0x03, ..] => "the client speaks TLS; is it meant for a TLS port?",
            [b'G', b'E', b'T', ..] | [b'P', b'O', b'S', ..] | [b'P', b'U', b'T', ..] => {
                "the client speaks HTTP; is it meant for the port of the HTTP API?"
            }
            _ => "the client speaks no version of AMQP that is spoken here",
        };
        tracing::warn!(connection = %id, peer = %peer.address, "handshake failed: {what}");
    }

    /// The short way for most messages: all frames are in `batch`, and the channel is free. `offset` is behind the method frame;
    /// returned is how many bytes the other frames
    /// take, with those of messages behind it that are published alike.
    #[inline]
    fn handle_whole(
        &mut self,
        now: Now,
        metadata: &Arc<Metadata>,
        method: &Frame<'_>,
        batch: &Bytes,
        offset: usize,
    ) -> Option<usize> {
        let State::Running = self.state else {
            return None;
        };
        let whole = Whole::find(method, &batch[offset..], self.session.frame_max)?;
        let channel = self.channels.get_mut(&method.channel)?;
        if !channel.is_free(&self.session) {
            return None;
        }
        let mut turn = Turn {
            metadata,
            session: &mut self.session,
        };
        let mut size = whole.size;
        let outcome = channel
            .publish(&mut turn, whole.method, whole.content(batch))
            .and_then(|()| channel.publish_repeated(&mut turn, batch, offset + size))
            .map(|repeated| size += repeated)
            .or_else(|exception| {
                let method = batch.slice_ref(whole.method);
                let content = whole.content(batch);
                channel.refuse_whole(turn.session, exception, Assembled { method, content })
            });
        if let Err(exception) = outcome {
            self.handle_exception(now, method.channel, exception);
        }
        Some(size)
    }

    #[inline]
    fn handle_frame(
        &mut self,
        now: Now,
        metadata: &Arc<Metadata>,
        kind: FrameKind,
        number: ChannelNumber,
        payload: Bytes,
    ) {
        if let State::Running = self.state
            && let Some(channel) = self.channels.get_mut(&number)
            && kind != FrameKind::Heartbeat
        {
            let mut turn = Turn {
                metadata,
                session: &mut self.session,
            };
            let outcome = channel.handle_frame(&mut turn, kind, payload);
            if channel.is_closed() {
                self.channels.remove(&number);
            }
            if let Err(exception) = outcome {
                self.handle_exception(now, number, exception);
            }
            return;
        }
        self.handle_connection_frame(
            now,
            metadata,
            Frame {
                kind,
                channel: number,
                payload: &payload,
            },
        );
    }

    /// A frame that is for no open channel.
    fn handle_connection_frame(&mut self, now: Now, metadata: &Arc<Metadata>, frame: Frame<'_>) {
        let outcome = match &self.state {
            State::Handshake(_) => {
                self.handle_handshake_frame(now, metadata, frame);
                Ok(())
            }
            State::Running => match (frame.kind, frame.channel) {
                (FrameKind::Heartbeat, 0) => Ok(()),
                (FrameKind::Heartbeat, _) => Err(Violation::Unexpected(frame.describe()).into()),
                (FrameKind::Method, 0) => self.handle_connection_method(frame.payload),
                (FrameKind::Method, number) => {
                    self.handle_closed_channel_method(metadata, number, frame.payload)
                }
                (FrameKind::Header | FrameKind::Body, 0) => {
                    Err(Violation::Unexpected(frame.describe()).into())
                }
                (FrameKind::Header | FrameKind::Body, _) => Err(Violation::ExpectedMethod.into()),
            },
            State::Closing { .. } => {
                self.handle_frame_after_close(frame);
                Ok(())
            }
            State::Leaving(_) | State::Silent { .. } | State::Finished => Ok(()),
        };
        if let Err(exception) = outcome {
            self.fail(now, exception);
        }
    }

    fn handle_connection_method(&mut self, payload: &[u8]) -> Result<(), Exception> {
        let method = decode_method(payload)?;
        if let Method::ConnectionClose(_) = method {
            self.state = State::Leaving(Leaving::Draining);
            self.handle_progress();
            return Ok(());
        }
        if let Method::ConnectionUpdateSecret(method) = method {
            self.renew(Secret::new(method.new_secret));
            return Ok(());
        }
        Err(Exception::from(Violation::MethodInState("running")).caused_by(method.ids()))
    }

    fn handle_closed_channel_method(
        &mut self,
        metadata: &Metadata,
        number: ChannelNumber,
        payload: &[u8],
    ) -> Result<(), Exception> {
        let method = decode_method(payload)?;
        let Method::ChannelOpen(_) = method else {
            return Err(Exception::from(Violation::ExpectedChannelOpen).caused_by(method.ids()));
        };
        let channel_max = self.session.channel_max;
        if channel_max != 0 && self.channels.len() >= usize::from(channel_max) {
            return Err(Violation::ChannelMax(channel_max).into());
        }
        let Session { config, user, .. } = &self.session;
        let seat = config.admission.admit_channel(metadata, user)?;
        let id = ChannelId {
            connection: self.session.id,
            number,
            epoch: self.next_epoch,
        };
        self.next_epoch = self.next_epoch.wrapping_add(1);
        let prefetch = PrefetchLimits::new(&self.session.config);
        self.channels
            .insert(number, Box::new(Channel::new(id, seat, prefetch)));
        channel::OpenOk::default().encode(number, self.session.encoded());
        self.session.observe_channel_opened(number);
        Ok(())
    }

    fn handle_handshake_frame(&mut self, now: Now, metadata: &Arc<Metadata>, frame: Frame<'_>) {
        let State::Handshake(handshake) = &self.state else {
            return;
        };
        let outcome = match (frame.kind, frame.channel) {
            (FrameKind::Heartbeat, 0) if !handshake.is_before_tuning() => return,
            (FrameKind::Method, 0) => match Method::decode(frame.payload) {
                Ok(method) => {
                    let mut turn = Turn {
                        metadata,
                        session: &mut self.session,
                    };
                    handshake.handle_method(&mut turn, &method)
                }
                Err(error) => Err(Failure::Told(error.into())),
            },
            _ => Err(Failure::Told(
                Violation::Unexpected(frame.describe()).into(),
            )),
        };
        self.take_step(now, outcome);
    }

    fn take_step(&mut self, now: Now, outcome: Result<Step, Failure>) {
        match outcome {
            Ok(Step::Next(next)) => self.state = State::Handshake(next),
            Ok(Step::Tuned { heartbeat_s }) => {
                self.heartbeat = Heartbeat::new(now, heartbeat_s, self.session.out.mark());
                self.state = State::Handshake(Handshake::Open);
            }
            Ok(Step::Open) => {
                self.state = State::Running;
                self.watch_credentials(now);
                let interval_s = self.heartbeat_s();
                self.session
                    .observe_opened(self.connected_at_ms, interval_s);
            }
            Err(Failure::Told(exception)) => self.fail_handshake(now, exception),
            Err(Failure::Untold(refusal)) => {
                // A refused login is in the log already.
                if !matches!(refusal, Refusal::Login) {
                    self.session
                        .log_end(self.age_ms(now), End::Broken(&refusal));
                }
                self.state = State::Silent {
                    until: now.monotonic + SILENT_CLOSE_DELAY,
                };
            }
        }
    }

    /// Only refused logins and what comes after tuning are told to the client.
    fn fail_handshake(&mut self, now: Now, exception: Exception) {
        let is_early =
            matches!(&self.state, State::Handshake(handshake) if handshake.is_before_tuning());
        let is_login = exception.reply_code == codec_amqp091::reply_code::ACCESS_REFUSED;
        if is_early && !is_login {
            let reason = &exception.reply_text;
            self.session.log_end(self.age_ms(now), End::Broken(reason));
            self.state = State::Silent {
                until: now.monotonic + SILENT_CLOSE_DELAY,
            };
            return;
        }
        self.fail(now, exception);
        if is_login {
            self.state = State::Closing {
                until: now.monotonic + SILENT_CLOSE_DELAY,
                reads: true,
            };
        }
    }

    fn handle_frame_after_close(&mut self, frame: Frame<'_>) {
        if frame.kind != FrameKind::Method || frame.channel != 0 {
            return;
        }
        match peek_method(frame.payload) {
            Some((connection::CloseOk::CLASS_ID, connection::CloseOk::METHOD_ID)) => self.finish(),
            // Both sides closed at once.
            Some((connection::Close::CLASS_ID, connection::Close::METHOD_ID)) => {
                connection::CloseOk.encode(0, self.session.encoded());
            }
            _ => {}
        }
    }
}

// What others say about the user.
impl Connection {
    /// Takes what somebody outside the metadata said to the connection itself.
    fn handle_access(&mut self, now: Now, metadata: &Arc<Metadata>, access: AccessReply) {
        match (access, &self.state) {
            (AccessReply::LoggedIn(result), State::Handshake(Handshake::LoggingIn { user })) => {
                let outcome = handshake::logged_in(&mut self.session, &user.clone(), result);
                self.take_step(now, outcome);
            }
            (
                AccessReply::Answered { question, answer },
                State::Handshake(Handshake::Opening { vhost }),
            ) => {
                let vhost = vhost.clone();
                self.session.principal.learn(question, answer);
                let mut turn = Turn {
                    metadata,
                    session: &mut self.session,
                };
                let outcome = handshake::open(&mut turn, vhost);
                self.take_step(now, outcome);
            }
            (AccessReply::Answered { question, answer }, State::Running) => {
                self.session.principal.learn(question, answer);
                self.check_vhost_again(now, metadata);
            }
            (AccessReply::Renewed(result), State::Running) => {
                self.renewed(now, metadata, result);
            }
            (AccessReply::Changed { question, answer }, State::Running) => {
                self.take_back(now, metadata, question, answer);
            }
            // It has ended meanwhile.
            (
                AccessReply::LoggedIn(_)
                | AccessReply::Answered { .. }
                | AccessReply::Renewed(_)
                | AccessReply::Changed { .. },
                State::Handshake(_)
                | State::Running
                | State::Leaving(_)
                | State::Closing { .. }
                | State::Silent { .. }
                | State::Finished,
            ) => {}
        }
    }

    /// The client has new credentials. What the metadata lets in has none that end.
    fn renew(&mut self, secret: Secret) {
        let Some(authority) = self.session.principal.authority().cloned() else {
            connection::UpdateSecretOk.encode(0, self.session.encoded());
            return;
        };
        let request = AccessRequest::Renew { authority, secret };
        let asker = connection_address(self.session.id);
        self.session.ask_access(asker, request);
    }

    fn renewed(&mut self, now: Now, metadata: &Arc<Metadata>, result: Result<Login, RenewFailure>) {
        let user = &self.session.user;
        let violation = match result {
            Ok(login) => {
                self.session.become_user(login.into());
                self.check_vhost_again(now, metadata);
                return;
            }
            Err(RenewFailure::Refused(reason)) => {
                tracing::error!("Secret update was refused for user '{user}': {reason}");
                Violation::SecretRefused
            }
            Err(RenewFailure::Failed(reason)) => {
                tracing::error!("Secret update for user '{user}' failed: {reason}");
                Violation::SecretUpdateFailed
            }
        };
        self.fail(now, Exception::from(violation).caused_by(UPDATE_SECRET));
    }

    /// The second half of connection.update-secret: what the old credentials allowed the new ones have to allow as well.
    fn check_vhost_again(&mut self, now: Now, metadata: &Arc<Metadata>) {
        let Session {
            principal, vhost, ..
        } = &self.session;
        match auth::authorize_vhost(metadata, principal, vhost) {
            Ok(()) => {}
            Err(Error::Unanswered(question)) => {
                let asker = connection_address(self.session.id);
                self.session.ask_authority(asker, *question);
                return;
            }
            Err(error) => {
                self.fail(now, Exception::from(error).caused_by(UPDATE_SECRET));
                return;
            }
        }
        for channel in self.channels.values_mut() {
            let mut turn = Turn {
                metadata,
                session: &mut self.session,
            };
            channel.forget_permissions();
            channel.recheck_consumers(&mut turn);
        }
        self.watch_credentials(now);
        connection::UpdateSecretOk.encode(0, self.session.encoded());
        tracing::info!(
            target: "connection",
            "connection {}: user '{}' updated secret",
            self.session.id,
            self.session.user
        );
    }

    /// The user may not do something any more that it was allowed to.
    fn take_back(
        &mut self,
        now: Now,
        metadata: &Arc<Metadata>,
        question: Question,
        answer: Answer,
    ) {
        let is_vhost = matches!(question, Question::Vhost(_));
        self.session.principal.learn(question, answer);
        let Session {
            principal, vhost, ..
        } = &self.session;
        if is_vhost && let Err(error) = auth::authorize_vhost(metadata, principal, vhost) {
            return self.fail(now, Exception::from(error));
        }
        for channel in self.channels.values_mut() {
            let mut turn = Turn {
                metadata,
                session: &mut self.session,
            };
            channel.forget_permissions();
            channel.recheck_consumers(&mut turn);
        }
        self.session.principal.forget_refusals();
    }

    fn watch_credentials(&mut self, now: Now) {
        let expires_s = self.session.principal.expires_s();
        self.credentials_until = expires_s.map(|expires_s| {
            let left_ms = expires_s.saturating_mul(1000).saturating_sub(now.wall_ms);
            now.monotonic + Duration::from_millis(left_ms.min(CREDENTIALS_MS_MAX))
        });
    }

    /// An answer has come that is true for a while.
    fn keep_answers(&mut self, now: Now) {
        self.answers_until
            .get_or_insert(now.monotonic + ANSWERS_AGE_MAX);
    }

    /// Answers that are old are forgotten; who has no credentials any more goes.
    fn handle_lapse(&mut self, now: Now) {
        if self
            .answers_until
            .is_some_and(|until| until <= now.monotonic)
        {
            self.answers_until = None;
            self.session.principal.forget_answers();
            for channel in self.channels.values_mut() {
                channel.forget_permissions();
            }
        }
        if self
            .credentials_until
            .is_some_and(|until| until <= now.monotonic)
        {
            self.credentials_until = None;
            // The furthest time that is watched may be before it.
            let expires_s = self.session.principal.expires_s().unwrap_or_default();
            if expires_s.saturating_mul(1000) > now.wall_ms + CREDENTIALS_MS_MAX {
                self.watch_credentials(now);
                return;
            }
            tracing::warn!(
                target: "connection",
                "closing AMQP connection {} of user '{}': credential has expired",
                self.session.id,
                self.session.user
            );
            self.fail(now, Exception::forced("credential expired"));
        }
    }
}

// Flow and time.
impl Connection {
    fn handle_heartbeat_timeout(&mut self, now: Now) {
        let is_reading = self.wants_input();
        let mark = self.session.out.mark();
        let Some(heartbeat) = &mut self.heartbeat else {
            return;
        };
        match heartbeat.handle_timeout(now, mark, is_reading) {
            Beat::Nothing => {}
            Beat::Send => {
                encode_heartbeat(self.session.out.encoded());
                heartbeat.handle_sent(self.session.out.mark());
            }
            Beat::Dead => {
                let interval_s = heartbeat.interval().as_secs();
                self.session
                    .log_end(self.age_ms(now), End::Silent { interval_s });
                self.finish();
            }
        }
    }

    /// Publishes that were held back may go on.
    fn handle_relief(&mut self, now: Now, metadata: &Arc<Metadata>) {
        if self.session.backpressure.is_closed() || !self.session.backpressure.has_publish {
            return;
        }
        self.session.backpressure.has_publish = false;
        self.session.now = now;
        let numbers: Vec<ChannelNumber> = self.channels.keys().copied().collect();
        for number in numbers {
            let Some(channel) = self.channels.get_mut(&number) else {
                continue;
            };
            let mut turn = Turn {
                metadata,
                session: &mut self.session,
            };
            let outcome = channel.handle_stash(&mut turn);
            if channel.is_closed() {
                self.channels.remove(&number);
            }
            if let Err(exception) = outcome {
                self.handle_exception(now, number, exception);
            }
        }
        self.handle_progress();
    }

    /// Tells a client that publishes during an alarm that it has to wait, once.
    fn announce_blocked(&mut self) {
        let Session {
            backpressure,
            client,
            ..
        } = &mut self.session;
        let is_new =
            backpressure.has_publish && backpressure.alarms.any() && !backpressure.is_announced;
        if !is_new || !client.connection_blocked || !matches!(self.state, State::Running) {
            return;
        }
        backpressure.is_announced = true;
        let reason = backpressure.alarms.reason().as_bytes();
        connection::Blocked { reason }.encode(0, self.session.encoded());
    }

    /// After channels may have got further: reads again, and goes on with an orderly end.
    #[inline]
    fn handle_progress(&mut self) {
        if self.session.has_full_stash {
            self.session.has_full_stash = self
                .channels
                .values()
                .any(|channel| channel.is_stash_full());
        }
        if let State::Leaving(step) = self.state {
            self.go_on_leaving(step);
        }
    }

    fn go_on_leaving(&mut self, mut step: Leaving) {
        if step == Leaving::Draining && self.channels.values().all(|channel| channel.is_drained()) {
            self.cancel_consumers();
            for channel in self
                .channels
                .values_mut()
                .filter(|channel| channel.is_open())
            {
                channel.leave(&mut self.session, Farewell::Silent);
            }
            step = Leaving::Syncing;
            self.state = State::Leaving(step);
        }
        let is_synced = self.session.orphaned_barriers == 0
            && !self.channels.values().any(|channel| channel.is_leaving());
        if step != Leaving::Syncing || !is_synced {
            return;
        }
        self.release();
        if self.session.declared_exclusive {
            self.state = State::Leaving(Leaving::Deleting);
        } else {
            self.say_close_ok();
        }
    }
}

// The end.
impl Connection {
    fn handle_exception(&mut self, now: Now, number: ChannelNumber, exception: Exception) {
        if exception.scope != Scope::Channel {
            self.fail(now, exception);
            return;
        }
        if let Some(channel) = self.channels.get_mut(&number) {
            self.session.log_channel_failed(number, &exception);
            channel.close(&mut self.session, &exception);
        }
    }

    /// Ends the connection because of an exception, and tells the client.
    fn fail(&mut self, now: Now, exception: Exception) {
        match self.state {
            State::Handshake(_) | State::Running | State::Leaving(_) => {}
            // Nothing is said twice; but unreadable input is not read on.
            State::Closing { until, .. } => {
                self.state = State::Closing {
                    until,
                    reads: exception.scope == Scope::Connection,
                };
                return;
            }
            State::Silent { .. } | State::Finished => return,
        }
        self.log_failure(now, &exception);
        if exception.scope == Scope::Socket {
            self.finish();
            return;
        }
        let is_early =
            matches!(&self.state, State::Handshake(handshake) if handshake.is_before_tuning());
        self.flush_all_confirms();
        self.release();
        if is_early && exception.reply_code != codec_amqp091::reply_code::ACCESS_REFUSED {
            self.state = State::Silent {
                until: now.monotonic + SILENT_CLOSE_DELAY,
            };
            return;
        }
        connection::Close {
            reply_code: exception.reply_code,
            reply_text: exception.reply_text.as_bytes(),
            class_id: exception.class_id,
            method_id: exception.method_id,
        }
        .encode(0, self.session.encoded());
        let reads = exception.scope != Scope::Input;
        let wait = if reads {
            self.close_ok_timeout()
        } else {
            SILENT_CLOSE_DELAY
        };
        self.state = State::Closing {
            until: now.monotonic + wait,
            reads,
        };
    }

    fn log_failure(&mut self, now: Now, exception: &Exception) {
        match &self.state {
            State::Handshake(handshake) if handshake.is_before_tuning() => {
                // A refused login is in the log already.
                if exception.reply_code != codec_amqp091::reply_code::ACCESS_REFUSED {
                    let reason = &exception.reply_text;
                    self.session.log_end(self.age_ms(now), End::Broken(reason));
                }
            }
            State::Handshake(_) => self.session.log_failed("opening", exception),
            State::Running
            | State::Leaving(_)
            | State::Closing { .. }
            | State::Silent { .. }
            | State::Finished => self.session.log_failed("running", exception),
        }
    }

    fn close_ok_timeout(&self) -> Duration {
        let interval = self
            .heartbeat
            .as_ref()
            .map_or(CLOSE_OK_TIMEOUT_MAX, Heartbeat::interval);
        interval.min(CLOSE_OK_TIMEOUT_MAX)
    }

    fn flush_all_confirms(&mut self) {
        let _out = self.output();
    }

    fn say_close_ok(&mut self) {
        connection::CloseOk.encode(0, self.session.encoded());
        self.state = State::Finished;
    }

    /// Ends the connection without a word.
    fn finish(&mut self) {
        if !self.is_finished() {
            self.release();
            self.state = State::Finished;
        }
    }

    /// Gives back everything the connection has. Consumers go first, so that none of them gets what others gave back.
    fn release(&mut self) {
        self.cancel_consumers();
        for channel in self.channels.values_mut() {
            channel.end(&mut self.session);
        }
        self.channels.clear();
        self.session.seat = None;
        let was_released = matches!(self.state, State::Leaving(Leaving::Deleting));
        if self.session.declared_exclusive && !was_released {
            let connection = self.session.id;
            let command = MetadataCommand::DeleteExclusiveQueues { connection };
            self.session
                .ask_metadata(connection_address(connection), command);
        }
    }

    fn cancel_consumers(&mut self) {
        for channel in self.channels.values_mut() {
            channel.cancel_consumers(&mut self.session);
        }
    }

    /// Checks what the documentation of the machines promises.
    #[cfg(test)]
    pub(crate) fn check_invariants(&self) {
        for channel in self.channels.values() {
            channel.check_invariants(&self.session);
        }
        if !matches!(self.state, State::Running | State::Leaving(_)) {
            assert!(self.channels.is_empty());
        }
    }
}

/// Bytes of the first frame, as far as its size can be believed; 0 if it is not complete.
fn first_frame_size(input: &[u8]) -> usize {
    let Some([_, _, _, s0, s1, s2, s3]) = input.first_chunk::<FRAME_HEADER_SIZE>() else {
        return 0;
    };
    let size = u32::from_be_bytes([*s0, *s1, *s2, *s3]) as usize + FRAME_OVERHEAD;
    if size > input.len() { 0 } else { size }
}

/// Bytes of complete frames at the start of `input`, as far as sizes can be believed.
fn complete_size(input: &[u8]) -> usize {
    let mut complete = 0;
    while let Some([_, _, _, s0, s1, s2, s3]) = input[complete..].first_chunk::<FRAME_HEADER_SIZE>()
    {
        let size = u32::from_be_bytes([*s0, *s1, *s2, *s3]) as usize + FRAME_OVERHEAD;
        if size > input.len() - complete {
            break;
        }
        complete += size;
    }
    complete
}
