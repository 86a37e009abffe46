//! What all channels of a connection share, and what one call into the machine works with.
//!
//! Nothing here decides anything: it is the desk on which channels put their output.

use crate::arguments;
use crate::config::{Alarms, Config, Peer};
use crate::out_buffer::{COPY_SIZE_MAX, OutBuffer};
use crate::random::Random;
use crate::request::Request;
use crate::throttle;
use base::{ChannelNumber, ConnectionId, Name, Now, QueueRef};
use broker::Error;
use broker::admission::ConnectionSeat;
use broker::auth::{Principal, Question};
use broker::command::{
    AccessRequest, ChannelId, ConfirmTo, MetadataCommand, Outcome, QueueCommand,
};
use broker::json::Json;
use broker::message::{Message, SharedMessage};
use broker::messages::{Messages, Run};
use broker::metadata::{CLUSTER_NAME, Metadata};
use broker::throttle::Throttle;
use broker::value::Arguments;
use codec_amqp091::{FRAME_OVERHEAD, FrameKind, encode_header_frame, encode_small_content};
use smallvec::smallvec;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// Requests that may wait when the next message is taken. More than that come of messages for thousands of queues.
const REQUESTS_MAX: usize = 10_000;

/// One call into the machine: the metadata as of now and the shared state of the connection.
pub(crate) struct Turn<'a> {
    pub(crate) metadata: &'a Arc<Metadata>,
    pub(crate) session: &'a mut Session,
}

/// What all channels of a connection share.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) id: ConnectionId,
    pub(crate) peer: Peer,
    pub(crate) config: Arc<Config>,
    pub(crate) random: Random,
    /// Empty until the client chose one.
    pub(crate) mechanism: String,
    /// Nobody until the client logged in.
    pub(crate) principal: Principal,
    /// The name of that; empty until the client logged in.
    pub(crate) user: Name,
    /// Empty until connection.open.
    pub(crate) vhost: Name,
    /// Its place among the open connections, from connection.open on.
    pub(crate) seat: Option<ConnectionSeat>,
    pub(crate) client: Client,
    /// Largest frame in bytes, as negotiated; 0 for no limit.
    pub(crate) frame_max: u32,
    /// Channels that may be open at once, as negotiated; 0 for no limit.
    pub(crate) channel_max: u16,
    pub(crate) out: OutBuffer,
    pub(crate) requests: VecDeque<Request>,
    /// Channels whose confirms are ready to be said.
    pub(crate) unsaid_confirms: Vec<ChannelNumber>,
    /// Barriers of channels that ended by an exception; connection.close-ok waits for them.
    pub(crate) orphaned_barriers: usize,
    pub(crate) backpressure: Backpressure,
    /// The addresses of the channels that take direct replies.
    pub(crate) reply_addresses: BTreeMap<ChannelNumber, Name>,
    /// A channel keeps so much that reading has to stop.
    pub(crate) has_full_stash: bool,
    /// An exclusive queue was declared, so the end of the connection has to be told to the metadata.
    pub(crate) declared_exclusive: bool,
    /// Copies of its messages go to the trace exchange.
    pub(crate) is_traced: bool,
    /// They do, or messages of it may be followed in an exported trace.
    pub(crate) is_watched: bool,
    /// Publishes take the long way: something looks at them or adds to them.
    pub(crate) has_taps: bool,
    /// The user is one of the metadata's, and not known from elsewhere.
    pub(crate) has_own_user: bool,
    /// Why it has to go: its vhost or its user was deleted.
    pub(crate) expelled: Option<Box<str>>,
    /// How fast it may publish, if that is limited.
    pub(crate) throttle: Option<Box<Throttle>>,
    /// Complete frames were left in the input because of that.
    pub(crate) holds_input: bool,
    /// The time of the input or the reply that is handled.
    pub(crate) now: Now,
    /// Somebody wants to hear of events.
    pub(crate) is_observed: bool,
    /// The log has the end of the connection, or will not have it.
    pub(crate) is_end_told: bool,
}

/// What the client said about itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct Client {
    pub(crate) properties: Arguments,
    /// It wants connection.close when its login fails.
    pub(crate) authentication_failure_close: bool,
    /// It wants to hear about alarms.
    pub(crate) connection_blocked: bool,
    /// It wants to hear about the end of its consumers.
    pub(crate) consumer_cancel_notify: bool,
}

/// Why publishes have to wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backpressure {
    pub(crate) alarms: Alarms,
    /// The store or a mailbox takes no more.
    pub(crate) is_congested: bool,
    /// A publish is waiting now.
    pub(crate) has_publish: bool,
    /// The client was told that it is blocked.
    pub(crate) is_announced: bool,
}

impl Session {
    pub(crate) fn new(id: ConnectionId, peer: Peer, config: Arc<Config>, seed: u64) -> Self {
        let config_taps = config.has_taps();
        let has_spans = config.spans.is_some();
        Self {
            id,
            peer,
            random: Random::new(seed),
            mechanism: String::new(),
            principal: Principal::default(),
            user: Name::default(),
            vhost: Name::default(),
            seat: None,
            client: Client::default(),
            frame_max: config.initial_frame_max,
            channel_max: config.channel_max,
            config,
            out: OutBuffer::default(),
            requests: VecDeque::new(),
            unsaid_confirms: Vec::new(),
            orphaned_barriers: 0,
            backpressure: Backpressure {
                alarms: Alarms::default(),
                is_congested: false,
                has_publish: false,
                is_announced: false,
            },
            reply_addresses: BTreeMap::new(),
            has_full_stash: false,
            declared_exclusive: false,
            is_traced: false,
            is_watched: has_spans,
            has_taps: config_taps,
            has_own_user: false,
            expelled: None,
            throttle: None,
            holds_input: false,
            now: Now::default(),
            is_observed: false,
            is_end_told: true,
        }
    }

    /// Most bytes of a body that one frame may bring.
    pub(crate) fn body_frame_max(&self) -> u64 {
        match self.frame_max {
            0 => u64::MAX,
            frame_max => u64::from(frame_max).saturating_sub(FRAME_OVERHEAD as u64),
        }
    }

    /// The vector to encode methods into.
    pub(crate) fn encoded(&mut self) -> &mut Vec<u8> {
        self.out.encoded()
    }

    /// What the metadata says about messages of this connection.
    pub(crate) fn refresh_taps(&mut self, metadata: &Metadata) {
        let vhost = metadata.vhost(&self.vhost);
        self.is_traced = vhost.is_some_and(|vhost| vhost.metadata.tracing);
        self.is_watched = self.is_traced || self.config.spans.is_some();
        self.has_taps = self.is_traced || self.config.has_taps();
    }

    /// Whether the vhost and the user of this connection are still there.
    pub(crate) fn refresh_expulsion(&mut self, metadata: &Metadata) {
        let (vhost, user) = (&self.vhost, &self.user);
        if metadata.vhost(vhost).is_none() {
            self.expelled = Some(format!("vhost '{vhost}' is down").into());
        } else if self.has_own_user && metadata.user(user).is_none() {
            self.expelled = Some(format!("user '{user}' is deleted").into());
        }
    }

    /// What the metadata says about the rate of this connection.
    pub(crate) fn refresh_throttle(&mut self, metadata: &Metadata) {
        let previous = self.throttle.as_deref();
        let rates = &self.config.rates;
        self.throttle = rates.throttle(metadata, &self.user, &self.vhost, previous);
    }

    /// How much of the input may be handled now, where the rate is limited.
    pub(crate) fn admit(&mut self, now: Now, input: &[u8]) -> usize {
        let Some(throttle) = &mut self.throttle else {
            return input.len();
        };
        let admitted = throttle::admit(throttle, now, input);
        self.holds_input = throttle.waits();
        if throttle.waits_first() {
            tracing::warn!(
                connection = %self.id,
                user = %self.user,
                vhost = %self.vhost,
                "publishes faster than the limits of its user or virtual host allow, and is read more slowly"
            );
        }
        admitted
    }

    /// Whether nothing is read because of the rate.
    pub(crate) fn is_throttled(&self) -> bool {
        self.throttle
            .as_ref()
            .is_some_and(|throttle| throttle.waits())
    }

    /// Whether what is behind in the input is left for later, so that others get their turn.
    #[inline]
    pub(crate) fn has_many_requests(&self) -> bool {
        self.requests.len() > REQUESTS_MAX
    }

    #[inline]
    pub(crate) fn ask_queue(&mut self, queue: QueueRef, command: QueueCommand) {
        self.requests.push_back(Request::Queue { queue, command });
    }

    /// Hands a message to a queue. Those that follow each other become one command.
    #[inline]
    pub(crate) fn publish(
        &mut self,
        queue: QueueRef,
        mut message: SharedMessage,
        confirm: Option<ConfirmTo>,
    ) {
        if let Some(Request::Queue {
            queue: last_queue,
            command:
                QueueCommand::Publish {
                    messages,
                    confirm: first,
                },
        }) = self.requests.back_mut()
            && *last_queue == queue
            && first.map(|first| first.nth(messages.len() as u64)) == confirm
        {
            match messages.push(message) {
                Ok(()) => return,
                Err(refused) => message = refused,
            }
        }
        let messages = message.into();
        self.ask_queue(queue, QueueCommand::Publish { messages, confirm });
    }

    /// Hands messages to a queue that differ in nothing but their bodies. Nobody waits for their confirms.
    #[inline]
    pub(crate) fn publish_run(&mut self, queue: QueueRef, run: Run) {
        let messages = Messages::Run(Box::new(run));
        let confirm = None;
        self.ask_queue(queue, QueueCommand::Publish { messages, confirm });
    }

    pub(crate) fn ask_metadata(&mut self, channel: ChannelId, command: MetadataCommand) {
        self.requests
            .push_back(Request::Metadata { channel, command });
    }

    /// The client is this user.
    pub(crate) fn become_user(&mut self, principal: Principal) {
        self.user = principal.name().clone();
        self.principal = principal;
    }

    /// Asks the user's authority what it has not said yet.
    pub(crate) fn ask_authority(&mut self, channel: ChannelId, question: Question) {
        let Some(authority) = self.principal.authority().cloned() else {
            return;
        };
        let request = AccessRequest::Ask {
            authority,
            question,
        };
        self.ask_access(channel, request);
    }

    pub(crate) fn ask_access(&mut self, channel: ChannelId, request: AccessRequest) {
        let request = Box::new(request);
        self.requests
            .push_back(Request::Access { channel, request });
    }

    /// A barrier of a channel that is gone was answered.
    ///
    /// # Errors
    /// The log failed before its acks were safe.
    pub(crate) fn orphan_answered(&mut self, result: Result<(), Error>) -> Result<(), Error> {
        self.orphaned_barriers = self.orphaned_barriers.saturating_sub(1);
        result
    }

    /// Settles one message. Runs of ascending positions become one command.
    pub(crate) fn settle(
        &mut self,
        channel: ChannelId,
        queue: QueueRef,
        position: base::Position,
        outcome: Outcome,
    ) {
        if let Some(Request::Queue {
            queue: last_queue,
            command:
                QueueCommand::Settle {
                    channel: last_channel,
                    positions,
                    outcome: last_outcome,
                },
        }) = self.requests.back_mut()
            && (*last_queue, *last_channel, *last_outcome) == (queue, channel, outcome)
            && positions.last().is_some_and(|last| *last < position)
        {
            positions.push(position);
            return;
        }
        self.ask_queue(
            queue,
            QueueCommand::Settle {
                channel,
                positions: smallvec![position],
                outcome,
            },
        );
    }

    /// Sends the header and body frames of a message; the method was sent before.
    #[inline]
    pub(crate) fn send_content(&mut self, channel: ChannelNumber, message: &Message) {
        let out = self.out.encoded();
        if message.body.len() < COPY_SIZE_MAX {
            encode_small_content(out, channel, &message.properties, &message.body);
            return;
        }
        self.send_large_content(channel, message);
    }

    fn send_large_content(&mut self, channel: ChannelNumber, message: &Message) {
        let out = self.out.encoded();
        encode_header_frame(out, channel, message.body.len() as u64, &message.properties);
        let part_max = match self.frame_max {
            0 => message.body.len(),
            frame_max => frame_max as usize - FRAME_OVERHEAD,
        };
        let mut rest = message.body.clone();
        while !rest.is_empty() {
            let part = rest.split_to(part_max.min(rest.len()));
            let [channel_high, channel_low] = channel.to_be_bytes();
            let [s0, s1, s2, s3] = u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes();
            let header = [
                FrameKind::Body as u8,
                channel_high,
                channel_low,
                s0,
                s1,
                s2,
                s3,
            ];
            self.out.encoded().extend_from_slice(&header);
            self.out.insert(part);
            self.out.encoded().push(codec_amqp091::FRAME_END);
        }
    }
}

impl Client {
    pub(crate) fn new(properties: Arguments) -> Self {
        let capability = |name: &str| match properties.get("capabilities") {
            Some(broker::value::Value::Table(table)) => {
                table.get(name) == Some(&broker::value::Value::Bool(true))
            }
            _ => false,
        };
        Self {
            authentication_failure_close: capability("authentication_failure_close"),
            connection_blocked: capability("connection.blocked"),
            consumer_cancel_notify: capability("consumer_cancel_notify"),
            properties,
        }
    }

    /// The name the client's user gave the connection.
    pub(crate) fn connection_name(&self) -> Option<&str> {
        self.properties.get("connection_name")?.as_str()
    }
}

impl Backpressure {
    /// Whether a publish has to wait.
    pub(crate) fn is_closed(self) -> bool {
        self.alarms.any() || self.is_congested
    }
}

/// The server properties of connection.start, sorted by key.
pub(crate) fn server_properties(metadata: &Metadata, config: &Config) -> Vec<u8> {
    use broker::value::Value;
    const CAPABILITIES: [&str; 9] = [
        "authentication_failure_close",
        "basic.nack",
        "connection.blocked",
        "consumer_cancel_notify",
        "consumer_priorities",
        "direct_reply_to",
        "exchange_exchange_bindings",
        "per_consumer_qos",
        "publisher_confirms",
    ];
    let text = |text: &str| Value::LongStr(bytes::Bytes::copy_from_slice(text.as_bytes()));
    let capabilities = CAPABILITIES
        .into_iter()
        .map(|name| (name.into(), Value::Bool(true)));
    let cluster_name = metadata
        .global_parameter(CLUSTER_NAME)
        .and_then(Json::as_str)
        .unwrap_or(&config.cluster_name);
    let mut properties = Arguments::from_pairs([
        (
            "capabilities".into(),
            Value::Table(Arguments::from_pairs(capabilities)),
        ),
        ("cluster_name".into(), text(cluster_name)),
        ("copyright".into(), text(&config.copyright)),
        ("information".into(), text(&config.information)),
        ("platform".into(), text(&config.platform)),
        ("product".into(), text(&config.product)),
        ("version".into(), text(&config.version)),
    ]);
    for (key, value) in config.server_properties.iter() {
        properties.insert(key, value.clone());
    }
    let mut bytes = Vec::new();
    arguments::write(
        &properties,
        &mut codec_amqp091::TableWriter::new(&mut bytes),
    );
    bytes
}
