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
//! Here is what the driver calls; `frames` knows what a frame means in which state, `access` follows what the user may do, `ending` is
//! the way out, and `details` is what listings show.
//! Spec: AMQP 0-9-1 §2.2.4, class connection.

mod access;
mod details;
mod ending;
mod frames;

pub use details::{ChannelDetails, ConnectionDetails, ConnectionState, ConnectionSummary};

use crate::channel::Channel;
use crate::config::{Alarms, Config, Peer};
use crate::exception::Exception;
use crate::handshake::Handshake;
use crate::heartbeat::{Beat, Heartbeat};
use crate::log::End;
use crate::out_buffer::OutBuffer;
use crate::request::{Request, connection_address, return_late_reply};
use crate::session::{Session, Turn};
use base::{ChannelNumber, ConnectionId, Name, Now};
use broker::auth::Principal;
use broker::command::{ChannelId, Reply};
use broker::metadata::Metadata;
use bytes::{Bytes, BytesMut};
use codec_amqp091::{
    FRAME_HEADER_SIZE, FRAME_OVERHEAD, Frame, connection, decode_frame, encode_heartbeat,
};
use std::collections::BTreeMap;
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

/// Why the node ends a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// Reply code 320; the text follows `CONNECTION_FORCED - `.
    Forced(String),
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

    /// Whether what the client sends is still looked at.
    fn reads(&self) -> bool {
        match self.state {
            State::Handshake(_) | State::Running => true,
            State::Closing { reads, .. } => reads,
            State::Leaving(_) | State::Silent { .. } | State::Finished => false,
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
