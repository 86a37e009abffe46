//! basic.publish: from a complete message to commands for its queues. This is the hottest path of the crate.
//!
//! Most messages of a channel go where an earlier one went. [`Routes`] remembers for each (exchange, routing key) what was
//! allowed and where it led, for one version of the metadata; a hit costs no authorisation, no routing and no allocation
//! but the message itself. Messages whose way depends on more (CC, BCC, exchanges that
//! look at headers, properties or chance) take the long way each time.
//!
//! Order of checks as in RabbitMQ: immediate, size, permission, exchange, internal, reply-to, expiration, CC/BCC,
//! topic permission, user-id, route. Spec: basic.publish; RabbitMQ docs: publishers, sender-selected, validated-user-id.

use crate::arguments;
use crate::channel::{Channel, Mode};
use crate::content::{Content, publish_of};
use crate::counts::{PublishLineIndex, PublishLines, Published};
use crate::credit::{self, Credits, Target};
use crate::delay;
use crate::exception::{Exception, ExpirationProblem, Violation};
use crate::message_parts::Parts;
use crate::out_buffer::COPY_SIZE_MAX;
use crate::reply_to;
use crate::schema::{self, Refused, Verdict};
use crate::session::{Session, Turn};
use crate::spans::{self, OpenSpans, Published as PublishedSpan, Sampling};
use crate::trace;
use crate::tx;
use base::ChannelNumber;
use broker::Error;
use broker::auth::{self, Permit, Write};
use broker::command::{ChannelId, ConfirmTo, QueueCommand};
use broker::error::ResourceKind;
use broker::exchange::{Exchange, ExchangeType};
use broker::message::{Address, ExtraRoutingKeys, Message, SharedMessage};
use broker::messages::Run;
use broker::queue::detach_for;
use broker::router::{self, Targets};
use bytes::Bytes;
use codec_amqp091::{
    BasicProperties, FRAME_END, FRAME_HEADER_SIZE, FrameKind, PropertyScan, Table, TableWriter,
    Value, basic, encode_frame, encode_header_frame, reply_code,
};
use foldhash::fast::FixedState;
use hashbrown::HashTable;
use smallvec::SmallVec;
use std::hash::BuildHasher;
use std::sync::Arc;

/// Routes a channel remembers; then it begins anew.
const ROUTES_MAX: usize = 1024;
/// Exchanges a channel remembers to have permission for; then it begins anew.
const EXCHANGES_MAX: usize = 64;
/// CC routing keys of one message, and BCC ones; more end the channel.
const EXTRA_KEYS_MAX: usize = 1000;
/// Longest expiration in milliseconds: ten years.
const EXPIRATION_MS_MAX: u64 = 315_360_000_000;
/// Delivery mode of a persistent message.
const PERSISTENT: u8 = 2;

/// What a channel knows about exchanges and routing keys it published to. Everything in it was true at `version`.
#[derive(Debug)]
pub(crate) struct Routes {
    version: u64,
    exchanges: Vec<Allowed>,
    routes: Vec<Route>,
    /// Indexes into `routes`, by exchange and routing key.
    index: HashTable<usize>,
    hasher: FixedState,
    /// The route of the last publish.
    last: usize,
    /// The method that may come again.
    repeated: Repeated,
    targets: TargetBuffer,
    /// What the channel may publish.
    pub(crate) credits: Credits,
    /// What it has published.
    pub(crate) publishes: PublishLines,
}

/// What a message meets on its way from a channel to its queues.
pub(crate) struct Outlet<'a> {
    pub(crate) mode: &'a mut Mode,
    pub(crate) credits: &'a mut Credits,
    pub(crate) publishes: &'a mut PublishLines,
    pub(crate) id: ChannelId,
    /// Where its exchange is counted.
    pub(crate) line: PublishLineIndex,
}

/// A target list that prints nothing.
#[derive(Default)]
struct TargetBuffer(Targets);

impl std::fmt::Debug for TargetBuffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Targets")
    }
}

/// An exchange this user may publish to.
#[derive(Clone)]
struct Allowed {
    permit: Permit<Write>,
    exchange: Arc<Exchange>,
}

impl std::fmt::Debug for Allowed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.exchange.name.fmt(f)
    }
}

/// The frames of the last publish but for its body: most publishers say the same each time. There is one only if the properties
/// say nothing but the delivery mode.
#[derive(Debug, Default)]
struct Repeated {
    /// From the method frame to the weight in the header frame; empty if there is none.
    before_size: SmallVec<[u8; 96]>,
    /// Properties, end of the header frame, kind and channel of the body frame.
    after_size: SmallVec<[u8; 16]>,
    route: usize,
    mandatory: bool,
    persistent: bool,
    properties: &'static [u8],
}

impl Repeated {
    fn new(
        channel: ChannelNumber,
        method: &[u8],
        (properties, persistent): (&'static [u8], bool),
        route: usize,
        mandatory: bool,
    ) -> Self {
        /// Class and weight, which are before the size.
        const FIXED_SIZE: usize = 4;
        let mut frames = Vec::new();
        encode_frame(FrameKind::Method, channel, method, &mut frames);
        let size_at = frames.len() + FRAME_HEADER_SIZE + FIXED_SIZE;
        encode_header_frame(&mut frames, channel, 0, properties);
        let (before_size, rest) = frames.split_at(size_at);
        let mut after_size = SmallVec::from_slice(&rest[size_of::<u64>()..]);
        after_size.push(FrameKind::Body as u8);
        after_size.extend_from_slice(&channel.to_be_bytes());
        Self {
            before_size: SmallVec::from_slice(before_size),
            after_size,
            route,
            mandatory,
            persistent,
            properties,
        }
    }

    /// The body of a publish at the start of `input` that is the same but for its body, and how many bytes its frames take. A body
    /// that is empty or more than `size_max` is left to others, as is everything else.
    #[inline]
    fn body_of<'a>(&self, input: &'a [u8], size_max: u64) -> Option<(&'a [u8], usize)> {
        if self.before_size.is_empty() {
            return None;
        }
        let rest = input.strip_prefix(&self.before_size[..])?;
        let (size, rest) = rest.split_first_chunk()?;
        let rest = rest.strip_prefix(&self.after_size[..])?;
        let (frame_size, rest) = rest.split_first_chunk()?;
        let size = u64::from_be_bytes(*size);
        if size == 0 || size > size_max || size != u64::from(u32::from_be_bytes(*frame_size)) {
            return None;
        }
        let (body, rest) = rest.split_at_checked(usize::try_from(size).ok()?)?;
        let (end, rest) = rest.split_first()?;
        (*end == FRAME_END).then_some((body, input.len() - rest.len()))
    }
}

/// Where a routing key of an exchange leads.
#[derive(Debug)]
struct Route {
    address: Arc<Address>,
    queues: SmallVec<[Target; 2]>,
    /// Which of its messages are followed in an exported trace.
    sampling: Sampling,
    /// Each message has to be looked at for that.
    is_sampled: bool,
    /// Where the exchange is counted.
    line: PublishLineIndex,
}

impl Default for Routes {
    fn default() -> Self {
        Self {
            version: 0,
            exchanges: Vec::new(),
            routes: Vec::new(),
            index: HashTable::new(),
            hasher: FixedState::default(),
            last: 0,
            repeated: Repeated::default(),
            targets: TargetBuffer::default(),
            credits: Credits::default(),
            publishes: PublishLines::default(),
        }
    }
}

impl Routes {
    /// Forgets what may no longer be true.
    #[inline]
    fn refresh(&mut self, version: u64) {
        if self.version != version {
            self.forget();
            self.version = version;
        }
    }

    /// Forgets what the user was allowed.
    pub(crate) fn forget(&mut self) {
        self.clear();
        self.exchanges.clear();
    }

    fn clear(&mut self) {
        self.routes.clear();
        self.index.clear();
        self.last = 0;
        self.repeated = Repeated::default();
        self.credits.forget_settled();
    }

    /// The queue of what may be repeated, if there is just one.
    #[inline]
    fn repeated_target(&self) -> Option<Target> {
        match self.routes.get(self.repeated.route)?.queues[..] {
            [target] => Some(target),
            _ => None,
        }
    }

    #[inline]
    fn find(&mut self, exchange: &[u8], routing_key: &[u8]) -> Option<usize> {
        let is_it = |route: &Route| {
            let address = &*route.address;
            *address.routing_key == *routing_key && *address.exchange.as_bytes() == *exchange
        };
        if self.routes.get(self.last).is_some_and(is_it) {
            return Some(self.last);
        }
        let hash = self.hasher.hash_one((exchange, routing_key));
        let found = *self.index.find(hash, |index| is_it(&self.routes[*index]))?;
        self.last = found;
        Some(found)
    }

    fn insert(&mut self, route: Route) -> usize {
        if self.routes.len() >= ROUTES_MAX {
            self.clear();
        }
        let index = self.routes.len();
        let hash_of = |route: &Route| {
            let address = &*route.address;
            self.hasher
                .hash_one((address.exchange.as_bytes(), &*address.routing_key))
        };
        let hash = hash_of(&route);
        self.routes.push(route);
        self.index
            .insert_unique(hash, index, |index| hash_of(&self.routes[*index]));
        self.last = index;
        index
    }
}

/// Where the queues of a message were put.
enum Found {
    /// In this route.
    Remembered(usize),
    /// In the target list; they are right for this message only.
    Once,
}

impl Channel {
    /// Publishes as many messages of `batch` from `start` on as differ from the last one in nothing but their bodies. Returns how
    /// many bytes they take.
    ///
    /// # Errors
    /// As [`Self::publish`].
    #[inline]
    pub(crate) fn publish_repeated(
        &mut self,
        turn: &mut Turn<'_>,
        batch: &Bytes,
        start: usize,
    ) -> Result<usize, Exception> {
        self.routes.refresh(turn.metadata.version());
        let session = &mut *turn.session;
        let size_max = session
            .body_frame_max()
            .min(session.config.message_size_max);
        let input = &batch[start..];
        let mut offset = 0;
        if let Mode::Plain = self.mode
            && let Some(target) = self.routes.repeated_target()
        {
            offset = self.publish_runs(session, target, batch, start);
        }
        let mut same = Published {
            confirm: matches!(self.mode, Mode::Confirm(_)),
            ..Published::NONE
        };
        // A commit counts for itself.
        let is_counted = !matches!(self.mode, Mode::Tx(_));
        // What is left is for several queues, or large, or somebody waits for an answer.
        while self.routes.credits.is_open()
            && !session.has_many_requests()
            && let Some((body, size)) = self.routes.repeated.body_of(&input[offset..], size_max)
        {
            let Repeated {
                route,
                mandatory,
                persistent,
                properties,
                ..
            } = self.routes.repeated;
            let route = &self.routes.routes[route];
            let message = Arc::new(Message {
                address: Arc::clone(&route.address),
                properties: Bytes::from_static(properties),
                body: batch.slice_ref(body),
                persistent,
                priority: 0,
                expiration_ms: None,
                extra_routing_keys: None,
                deaths: None,
            });
            if is_counted {
                same.line = route.line;
                same.queues = route.queues.len() as u64;
                same.mandatory = mandatory;
                let publishes = &mut self.routes.publishes;
                publishes.published_again(&session.config.traffic, &mut same, body.len());
            }
            let outlet = Outlet {
                mode: &mut self.mode,
                credits: &mut self.routes.credits,
                publishes: &mut self.routes.publishes,
                id: self.id,
                line: route.line,
            };
            hand_over(outlet, session, &route.queues, message, mandatory)?;
            offset += size;
        }
        let publishes = &mut self.routes.publishes;
        publishes.published(&session.config.traffic, same);
        Ok(offset)
    }

    /// Does what [`Self::publish_repeated`] promises where each message goes to one queue and nobody waits for an answer: then none
    /// of them has to exist on its own. Bodies that are not copied on their way out are left to others.
    #[inline]
    fn publish_runs(
        &mut self,
        session: &mut Session,
        target: Target,
        batch: &Bytes,
        start: usize,
    ) -> usize {
        /// Larger ones are sent from where they are.
        const SIZE_MAX: u64 = COPY_SIZE_MAX as u64 - 1;
        let size_max = session
            .body_frame_max()
            .min(session.config.message_size_max)
            .min(SIZE_MAX);
        let input = &batch[start..];
        let Routes {
            repeated,
            routes,
            credits,
            publishes,
            ..
        } = &mut self.routes;
        let mut offset = 0;
        while credits.is_open()
            && let Some((_, size)) = repeated.body_of(&input[offset..], size_max)
        {
            let route = &routes[repeated.route];
            let mut same = Published {
                line: route.line,
                queues: 1,
                mandatory: repeated.mandatory,
                ..Published::NONE
            };
            let mut run = Run::new(
                Arc::clone(&route.address),
                Bytes::from_static(repeated.properties),
                repeated.persistent,
                batch.clone(),
                (input.len() - offset) / size,
            );
            let mut spent = None;
            while spent.is_none()
                && run.has_room()
                && let Some((body, size)) = repeated.body_of(&input[offset..], size_max)
            {
                offset += size;
                publishes.published_again(&session.config.traffic, &mut same, body.len());
                // Only the end octet of its frame follows it.
                let end = start + offset - 1;
                run.push(end - body.len()..end);
                spent = credits.spend(target, credit::cost(run.size_around() + body.len()));
            }
            publishes.published(&session.config.traffic, same);
            session.publish_run(target.queue, run);
            if let Some(spent) = spent {
                let channel = self.id;
                session.ask_queue(target.queue, QueueCommand::AskCredit { channel, spent });
            }
        }
        offset
    }

    /// Publishes a message; `payload` is that of its method frame.
    ///
    /// # Errors
    /// It breaks a rule; see the module doc for the order in which they are looked at.
    pub(crate) fn publish(
        &mut self,
        turn: &mut Turn<'_>,
        payload: &[u8],
        content: Content,
    ) -> Result<(), Exception> {
        self.routes.refresh(turn.metadata.version());
        self.try_publish(turn, payload, content)
            .map_err(|exception| {
                exception.caused_by((basic::Publish::CLASS_ID, basic::Publish::METHOD_ID))
            })
    }

    fn try_publish(
        &mut self,
        turn: &mut Turn<'_>,
        payload: &[u8],
        content: Content,
    ) -> Result<(), Exception> {
        let method = &publish_of(payload)?;
        if method.immediate {
            return Err(Violation::Immediate.into());
        }
        let size_max = turn.session.config.message_size_max;
        if content.body_size > size_max {
            return Err(Violation::MessageTooLarge {
                size: content.body_size,
                max: size_max,
            }
            .into());
        }
        let scan = PropertyScan::scan(&content.properties).map_err(Exception::from_properties)?;
        let is_plain = scan.headers.is_none()
            && scan.reply_to.is_none()
            && scan.expiration.is_none()
            && scan.user_id.is_none()
            && !turn.session.has_taps;
        let previous = self.routes.last;
        if is_plain
            && let Some(index) = self.routes.find(method.exchange, method.routing_key)
            && !self.routes.routes[index].is_sampled
        {
            let persistent = scan.delivery_mode == Some(PERSISTENT);
            let priority = scan.priority.unwrap_or(0);
            // Somebody who alternates is not worth the preparation.
            if previous == index
                && let Some(bare) = bare_properties(&content.properties)
            {
                let mandatory = method.mandatory;
                self.routes.repeated =
                    Repeated::new(self.id.number, payload, bare, index, mandatory);
            }
            let route = &self.routes.routes[index];
            let message = Arc::new(Message {
                address: Arc::clone(&route.address),
                properties: content.properties,
                body: content.body,
                persistent,
                priority,
                expiration_ms: None,
                extra_routing_keys: None,
                deaths: None,
            });
            let outlet = Outlet {
                mode: &mut self.mode,
                credits: &mut self.routes.credits,
                publishes: &mut self.routes.publishes,
                id: self.id,
                line: route.line,
            };
            return send(
                outlet,
                turn.session,
                &route.queues,
                message,
                method.mandatory,
            );
        }
        self.publish_uncached(turn, method, &content, &scan)
    }

    fn publish_uncached(
        &mut self,
        turn: &mut Turn<'_>,
        method: &basic::Publish<'_>,
        content: &Content,
        scan: &PropertyScan<'_>,
    ) -> Result<(), Exception> {
        let allowed = self.allowed_exchange(turn, method.exchange)?;
        let rewritten = self.rewrite_reply_to(scan, &content.properties)?;
        let expiration_ms = scan.expiration.map(parse_expiration).transpose()?;
        let mut extra_keys = ExtraKeys::default();
        if let Some(headers) = scan.headers {
            headers.validate().map_err(Exception::from_properties)?;
            extra_keys = ExtraKeys::of(headers)?;
        }
        let mut properties = match rewritten {
            Some(properties) => extra_keys.without_bcc(properties)?,
            None => extra_keys.without_bcc(content.properties.clone())?,
        };
        let config = &turn.session.config;
        if config.interceptors.any() {
            let wall_ms = turn.session.now.wall_ms;
            properties = config
                .interceptors
                .apply(properties, &config.node_name, wall_ms);
        }
        check_topic_permission(
            turn,
            &allowed.exchange,
            method.routing_key,
            &extra_keys.keys,
        )?;
        check_user_id(turn, scan)?;
        let mut exchange = &allowed.exchange;
        let elsewhere;
        if let Some(check) = &exchange.schema {
            match schema::judge(turn, exchange, check, &properties, &content.body) {
                Verdict::Fits => {}
                Verdict::Elsewhere(other, changed) => {
                    elsewhere = other;
                    exchange = &elsewhere;
                    properties = changed;
                }
                Verdict::Refused(violation) => {
                    let refused = Refused {
                        exchange,
                        routing_key: method.routing_key,
                        mandatory: method.mandatory,
                        properties,
                        body: content.body.clone(),
                        violation: &violation,
                    };
                    return schema::refuse(&mut self.mode, self.id, turn.session, refused);
                }
            }
        }
        let known = self.routes.find(method.exchange, method.routing_key);
        let address = match known {
            Some(index) => Arc::clone(&self.routes.routes[index].address),
            None => Address::new(
                exchange.name.clone(),
                Bytes::copy_from_slice(method.routing_key),
            ),
        };
        let message = Arc::new(Message {
            address,
            properties,
            body: content.body.clone(),
            persistent: scan.delivery_mode == Some(PERSISTENT),
            priority: scan.priority.unwrap_or(0),
            expiration_ms,
            extra_routing_keys: extra_keys.shared(),
            deaths: None,
        });
        let session = &mut *turn.session;
        if allowed.exchange.is_default()
            && let Some(to) = reply_to::requester(method.routing_key)
        {
            let line = (self.routes.publishes).line(
                &session.config.traffic,
                &session.vhost,
                &allowed.exchange.name,
            );
            self.publish_direct_reply(session, to, message, line);
            return Ok(());
        }
        if extra_keys.keys.is_empty()
            && let Some(index) = known
        {
            let Route {
                queues,
                line,
                sampling,
                ..
            } = &self.routes.routes[index];
            let message = if session.is_watched {
                let published = PublishedSpan {
                    metadata: turn.metadata,
                    channel: self.id.number,
                    queues,
                    sampling: *sampling,
                    headers: scan.headers,
                    confirm: next_confirm(&self.mode, queues),
                };
                watch(session, &mut self.spans, message, &published)
            } else {
                message
            };
            count_legs(
                &mut self.routes.publishes,
                session,
                &self.mode,
                *line,
                queues,
            );
            let outlet = Outlet {
                mode: &mut self.mode,
                credits: &mut self.routes.credits,
                publishes: &mut self.routes.publishes,
                id: self.id,
                line: *line,
            };
            return send(outlet, session, queues, message, method.mandatory);
        }
        let targets = self.route(turn, &allowed, exchange, &extra_keys.keys, &message)?;
        let once: SmallVec<[Target; 2]>;
        let publishes = &mut self.routes.publishes;
        let traffic = &turn.session.config.traffic;
        let outlet = Outlet {
            line: publishes.line(traffic, &turn.session.vhost, &allowed.exchange.name),
            mode: &mut self.mode,
            credits: &mut self.routes.credits,
            publishes,
            id: self.id,
        };
        if let Found::Once = targets
            && let Some(delays) = self.routes.targets.0.delays()
        {
            let (wait, delays) = delays?;
            let publish = delay::Publish {
                queues: self.routes.targets.0.queues(),
                wait,
                delays,
                message,
            };
            return delay::send(outlet, turn.session, publish);
        }
        let queues = match targets {
            Found::Remembered(index) => &self.routes.routes[index].queues[..],
            Found::Once => {
                let queues = self.routes.targets.0.queues();
                let targets = queues.iter().map(|queue| outlet.credits.target(*queue));
                once = targets.collect();
                &once[..]
            }
        };
        let message = if turn.session.is_watched {
            let published = PublishedSpan {
                metadata: turn.metadata,
                channel: self.id.number,
                queues,
                sampling: sampling(turn, exchange, queues),
                headers: scan.headers,
                confirm: next_confirm(outlet.mode, queues),
            };
            watch(turn.session, &mut self.spans, message, &published)
        } else {
            message
        };
        count_legs(
            outlet.publishes,
            turn.session,
            outlet.mode,
            outlet.line,
            queues,
        );
        send(outlet, turn.session, queues, message, method.mandatory)
    }

    /// Finds the queues, and remembers them if that is right.
    fn route(
        &mut self,
        turn: &mut Turn<'_>,
        allowed: &Allowed,
        exchange: &Exchange,
        extra_keys: &[&[u8]],
        message: &SharedMessage,
    ) -> Result<Found, Exception> {
        let vhost = turn
            .metadata
            .vhost(&turn.session.vhost)
            .ok_or_else(|| vhost_gone(turn.session))?;
        let mut keys: SmallVec<[&[u8]; 4]> = SmallVec::new();
        keys.push(&message.address.routing_key);
        keys.extend_from_slice(extra_keys);
        let mut parts = Parts {
            properties: &message.properties,
            random: &mut turn.session.random,
        };
        let targets = &mut self.routes.targets.0;
        let is_elsewhere = exchange.name != allowed.exchange.name;
        let info = if is_elsewhere {
            router::route_dead_letter(vhost, exchange, &keys, &mut parts, targets)
        } else {
            router::route(vhost, exchange, &allowed.permit, &keys, &mut parts, targets)
        };
        let is_checked = allowed.exchange.schema.is_some();
        if info.once || !extra_keys.is_empty() || is_checked {
            targets.remember(message);
            return Ok(Found::Once);
        }
        let credits = &mut self.routes.credits;
        let queues = targets.queues().iter();
        let queues: SmallVec<[Target; 2]> = queues.map(|queue| credits.target(*queue)).collect();
        let address = Arc::clone(&message.address);
        let Session { config, vhost, .. } = &*turn.session;
        let line = (self.routes.publishes).line(&config.traffic, vhost, &allowed.exchange.name);
        let sampling = sampling(turn, exchange, &queues);
        Ok(Found::Remembered(self.routes.insert(Route {
            address,
            is_sampled: sampling.is_random(),
            sampling,
            queues,
            line,
        })))
    }

    /// The exchange, if it exists and the user may publish to it.
    fn allowed_exchange(&mut self, turn: &Turn<'_>, name: &[u8]) -> Result<Allowed, Exception> {
        if let Some(known) = self
            .routes
            .exchanges
            .iter()
            .find(|allowed| *allowed.exchange.name.as_bytes() == *name)
        {
            return Ok(known.clone());
        }
        let name = arguments::name(name)?;
        let Session {
            principal, vhost, ..
        } = &*turn.session;
        let permit = auth::authorize(
            turn.metadata,
            principal,
            vhost,
            Write,
            ResourceKind::Exchange,
            &name,
        )?;
        let record = turn
            .metadata
            .vhost(vhost)
            .ok_or_else(|| vhost_gone(turn.session))?;
        let exchange = Arc::clone(record.expect_exchange(&name)?);
        if exchange.internal {
            return Err(Error::InternalExchange {
                name,
                vhost: vhost.clone(),
            }
            .into());
        }
        if self.routes.exchanges.len() >= EXCHANGES_MAX {
            self.routes.exchanges.clear();
        }
        let allowed = Allowed { permit, exchange };
        self.routes.exchanges.push(allowed.clone());
        Ok(allowed)
    }

    /// Gives a mandatory message back that no queue took.
    pub(crate) fn return_unroutable(&self, session: &mut Session, message: &Message) {
        return_unroutable(self.id.number, session, message);
    }

    /// Confirms a message that needs no queue.
    pub(crate) fn confirm_unrouted(&mut self, session: &mut Session, line: PublishLineIndex) {
        if let Mode::Confirm(tracker) = &mut self.mode {
            if !tracker.has_ready() {
                session.unsaid_confirms.push(self.id.number);
            }
            tracker.publish(0, line, session.now.monotonic);
        }
    }
}

/// The properties and whether the message is persistent, if they say no more than that.
#[inline]
fn bare_properties(properties: &[u8]) -> Option<(&'static [u8], bool)> {
    match properties {
        [0, 0] => Some((&[0, 0], false)),
        [0x10, 0, 1] => Some((&[0x10, 0, 1], false)),
        [0x10, 0, PERSISTENT] => Some((&[0x10, 0, PERSISTENT], true)),
        _ => None,
    }
}

/// Counts what the exchange of a line gave to each queue, if that is wanted.
fn count_legs(
    publishes: &mut PublishLines,
    session: &Session,
    mode: &Mode,
    line: PublishLineIndex,
    queues: &[Target],
) {
    // A commit counts for itself.
    if session.config.counts_legs && !matches!(mode, Mode::Tx(_)) {
        let queues = queues.iter().map(|target| target.queue.id);
        publishes.routed(&session.config.traffic, &session.vhost, line, queues);
    }
}

/// Which messages of an exchange for these queues are followed.
fn sampling(turn: &Turn<'_>, exchange: &Exchange, queues: &[Target]) -> Sampling {
    let Session { config, vhost, .. } = &*turn.session;
    match &config.spans {
        Some(spans) => Sampling::of(spans.sample_rate(), turn.metadata, vhost, exchange, queues),
        None => Sampling::default(),
    }
}

/// The number that a message for these queues will be confirmed by, if it will be.
fn next_confirm(mode: &Mode, queues: &[Target]) -> Option<u64> {
    match mode {
        Mode::Confirm(tracker) if !queues.is_empty() => Some(tracker.next()),
        Mode::Confirm(_) | Mode::Plain | Mode::Tx(_) => None,
    }
}

/// Shows a message on its way to its queues to whoever watches, and gives it as they get it.
#[cold]
fn watch(
    session: &mut Session,
    open: &mut OpenSpans,
    message: SharedMessage,
    published: &PublishedSpan<'_>,
) -> SharedMessage {
    if session.is_traced {
        let (metadata, queues) = (published.metadata, published.queues);
        trace::published(metadata, session, published.channel, &message, queues);
    }
    spans::published(session, open, message, published)
}

/// Counts a message and hands it over.
#[inline]
fn send(
    outlet: Outlet<'_>,
    session: &mut Session,
    queues: &[Target],
    message: SharedMessage,
    mandatory: bool,
) -> Result<(), Exception> {
    // A commit counts for itself.
    if !matches!(outlet.mode, Mode::Tx(_)) {
        let confirm = matches!(outlet.mode, Mode::Confirm(_));
        let published = published(outlet.line, &message, queues.len(), mandatory, confirm);
        let traffic = &session.config.traffic;
        outlet.publishes.published(traffic, published);
    }
    hand_over(outlet, session, queues, message, mandatory)
}

/// Hands a message to its queues, or keeps it for the commit.
#[inline]
fn hand_over(
    outlet: Outlet<'_>,
    session: &mut Session,
    queues: &[Target],
    mut message: SharedMessage,
    mandatory: bool,
) -> Result<(), Exception> {
    let Outlet {
        mode,
        credits,
        id,
        line,
        ..
    } = outlet;
    detach_for(&mut message, queues.len());
    if let Mode::Tx(transaction) = mode {
        let publish = tx::Publish {
            message,
            queues: queues.iter().map(|target| target.queue).collect(),
            delays: Vec::new(),
            mandatory,
            line,
        };
        return transaction.publish(publish, session.config.tx_messages_max);
    }
    if queues.is_empty() && mandatory {
        return_unroutable(id.number, session, &message);
    }
    let confirm = match mode {
        Mode::Confirm(tracker) => {
            if queues.is_empty() && !tracker.has_ready() {
                session.unsaid_confirms.push(id.number);
            }
            Some(ConfirmTo {
                channel: id,
                sequence: tracker.publish(queues.len(), line, session.now.monotonic),
            })
        }
        Mode::Plain | Mode::Tx(_) => None,
    };
    let Some((last, others)) = queues.split_last() else {
        return Ok(());
    };
    let cost = credit::cost(message.size_bytes());
    for target in others {
        session.publish(target.queue, Arc::clone(&message), confirm);
        pay(credits, id, session, *target, cost);
    }
    session.publish(last.queue, message, confirm);
    pay(credits, id, session, *last, cost);
    Ok(())
}

/// One message for the statistics.
#[inline]
pub(crate) fn published(
    line: PublishLineIndex,
    message: &Message,
    queues: usize,
    mandatory: bool,
    confirm: bool,
) -> Published {
    Published {
        line,
        messages: 1,
        size: message.body.len() as u64,
        queues: queues as u64,
        mandatory,
        confirm,
    }
}

/// Pays for a message that was just sent.
#[inline]
pub(crate) fn pay(
    credits: &mut Credits,
    channel: ChannelId,
    session: &mut Session,
    target: Target,
    cost: u32,
) {
    if let Some(spent) = credits.spend(target, cost) {
        session.ask_queue(target.queue, QueueCommand::AskCredit { channel, spent });
    }
}

fn return_unroutable(channel: ChannelNumber, session: &mut Session, message: &Message) {
    let code = reply_code::NO_ROUTE;
    return_message(channel, session, message, code, reply_code::name(code));
}

/// Gives a message back to its publisher.
pub(crate) fn return_message(
    channel: ChannelNumber,
    session: &mut Session,
    message: &Message,
    reply_code: u16,
    reply_text: &str,
) {
    basic::Return {
        reply_code,
        reply_text: reply_text.as_bytes(),
        exchange: message.exchange().as_bytes(),
        routing_key: message.routing_key(),
    }
    .encode(channel, session.encoded());
    session.send_content(channel, message);
}

/// The vhost was deleted while the connection was open.
pub(crate) fn vhost_gone(session: &Session) -> Exception {
    Error::VhostNotFound {
        vhost: session.vhost.clone(),
    }
    .into()
}

fn check_topic_permission(
    turn: &Turn<'_>,
    exchange: &Exchange,
    routing_key: &[u8],
    extra_keys: &[&[u8]],
) -> Result<(), Exception> {
    if exchange.exchange_type != ExchangeType::Topic {
        return Ok(());
    }
    let Session {
        principal, vhost, ..
    } = &*turn.session;
    let (metadata, name) = (turn.metadata, &exchange.name);
    for key in std::iter::once(&routing_key).chain(extra_keys) {
        auth::authorize_topic(metadata, principal, vhost, Write, name, key, None)?;
    }
    Ok(())
}

fn check_user_id(turn: &Turn<'_>, scan: &PropertyScan<'_>) -> Result<(), Exception> {
    let Some(given) = scan.user_id else {
        return Ok(());
    };
    let Session {
        user, principal, ..
    } = &*turn.session;
    if *given == *user.as_bytes() || principal.has_tag(turn.metadata, "impersonator") {
        return Ok(());
    }
    Err(Violation::UserId { given, user }.into())
}

/// Reads the expiration property as Erlang's `string:to_integer` does, which is what the texts of refusals come from.
fn parse_expiration(value: &[u8]) -> Result<u64, Exception> {
    let refuse = |problem| Err(Violation::Expiration { value, problem }.into());
    let (negative, unsigned) = match value {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, value),
    };
    let digits = unsigned
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    if digits == 0 {
        return refuse(ExpirationProblem::NoInteger);
    }
    let (digits, leftover) = unsigned.split_at(digits);
    if !leftover.is_empty() {
        return refuse(ExpirationProblem::Leftover(leftover));
    }
    let number = digits.iter().fold(0_u64, |number, digit| {
        number
            .saturating_mul(10)
            .saturating_add(u64::from(digit - b'0'))
    });
    if negative && number > 0 {
        return refuse(ExpirationProblem::Negative);
    }
    if number > EXPIRATION_MS_MAX {
        return refuse(ExpirationProblem::TooLarge);
    }
    Ok(number)
}

/// Routing keys in the CC and BCC headers.
#[derive(Default)]
struct ExtraKeys<'a> {
    /// CC, then BCC.
    keys: SmallVec<[&'a [u8]; 4]>,
    /// How many of them are CC.
    cc_count: usize,
    has_bcc: bool,
}

impl<'a> ExtraKeys<'a> {
    /// # Errors
    /// A header is no array, or there are too many keys.
    fn of(headers: Table<'a>) -> Result<Self, Exception> {
        let mut extra = Self::default();
        let mut bcc: SmallVec<[&[u8]; 4]> = SmallVec::new();
        for field in headers {
            let (key, value) = field?;
            let header = match key {
                b"CC" => "CC",
                b"BCC" => "BCC",
                _ => continue,
            };
            extra.has_bcc |= header == "BCC";
            let Value::Array(array) = value else {
                return Err(Violation::HeaderType {
                    header,
                    type_name: type_name(value),
                }
                .into());
            };
            let keys = if header == "CC" {
                &mut extra.keys
            } else {
                &mut bcc
            };
            for value in array {
                if let Value::LongStr(key) = value? {
                    keys.push(key);
                }
            }
            if keys.len() > EXTRA_KEYS_MAX {
                return Err(Violation::TooManyKeys(EXTRA_KEYS_MAX).into());
            }
        }
        extra.cc_count = extra.keys.len();
        extra.keys.extend(bcc);
        Ok(extra)
    }

    /// As the message keeps them.
    fn shared(&self) -> Option<Arc<ExtraRoutingKeys>> {
        if self.keys.is_empty() {
            return None;
        }
        let owned = |keys: &[&[u8]]| keys.iter().map(|key| Bytes::copy_from_slice(key)).collect();
        let (cc, bcc) = self.keys.split_at(self.cc_count);
        Some(Arc::new(ExtraRoutingKeys {
            cc: owned(cc),
            bcc: owned(bcc),
        }))
    }

    /// The properties as consumers may see them.
    fn without_bcc(&self, properties: Bytes) -> Result<Bytes, Exception> {
        if !self.has_bcc {
            return Ok(properties);
        }
        let decoded = BasicProperties::decode(&properties)?;
        let mut headers = Vec::new();
        let mut writer = TableWriter::new(&mut headers);
        for field in decoded.headers.unwrap_or_default() {
            let (key, value) = field?;
            if key != b"BCC" {
                writer.field(key, &value);
            }
        }
        let mut encoded = Vec::with_capacity(properties.len());
        BasicProperties {
            headers: Some(Table::new(&headers)),
            ..decoded
        }
        .encode(&mut encoded);
        Ok(encoded.into())
    }
}

fn type_name(value: Value<'_>) -> &'static str {
    match value {
        Value::Bool(_) => "bool",
        Value::I8(_) => "byte",
        Value::U8(_) => "unsignedbyte",
        Value::I16(_) => "short",
        Value::U16(_) => "unsignedshort",
        Value::I32(_) => "signedint",
        Value::U32(_) => "unsignedint",
        Value::I64(_) => "long",
        Value::F32(_) => "float",
        Value::F64(_) => "double",
        Value::Decimal(..) => "decimal",
        Value::LongStr(_) => "longstr",
        Value::Array(_) => "array",
        Value::Timestamp(_) => "timestamp",
        Value::Table(_) => "table",
        Value::Void => "void",
        Value::Binary(_) => "binary",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expirations_are_read_as_erlang_reads_integers() {
        let check = |value: &str, expect: Result<u64, &str>| {
            let parsed = parse_expiration(value.as_bytes()).map_err(|exception| {
                exception
                    .reply_text
                    .rsplit_once(": ")
                    .map(|(_, problem)| problem.to_owned())
                    .unwrap_or_default()
            });
            assert_eq!(parsed, expect.map_err(str::to_owned), "{value}");
        };
        check("0", Ok(0));
        check("-0", Ok(0));
        check("+60000", Ok(60_000));
        check("315360000000", Ok(EXPIRATION_MS_MAX));
        check("315360000001", Err("{value_too_large,315360000001}"));
        check(
            "99999999999999999999999999",
            Err("{value_too_large,99999999999999999999999999}"),
        );
        check("-5", Err("{value_negative,-5}"));
        check("", Err("no_integer"));
        check("x", Err("no_integer"));
        check("1.5", Err("{leftover_string,\".5\"}"));
        check("1 ", Err("{leftover_string,\" \"}"));
    }

    #[test]
    fn a_repeated_publish_is_known_by_all_its_bytes_but_the_body() {
        let publish = |key: &str, mode: u8, channel: u16, body: &[u8]| {
            let (routing_key, mut out) = (key.as_bytes(), Vec::new());
            basic::Publish {
                routing_key,
                ..Default::default()
            }
            .encode(channel, &mut out);
            encode_header_frame(&mut out, channel, body.len() as u64, &[0x10, 0, mode]);
            codec_amqp091::encode_body_frames(&mut out, channel, body, 8192);
            out
        };
        let mut payload = Vec::new();
        basic::Publish {
            routing_key: b"q",
            ..Default::default()
        }
        .encode(0, &mut payload);
        let payload = &payload[FRAME_HEADER_SIZE..payload.len() - 1];
        let bare = bare_properties(&[0x10, 0, 2]).unwrap();
        let repeated = Repeated::new(7, payload, bare, 0, false);
        let check = |input: &[u8], size_max: u64, expect: Option<&[u8]>| {
            let found = repeated.body_of(input, size_max);
            assert_eq!(found.map(|(body, _)| body), expect);
            assert!(found.is_none_or(|(_, size)| size <= input.len()));
        };
        let same = publish("q", 2, 7, b"hello");
        check(&same, 5, Some(b"hello"));
        check(&[&same[..], b"more"].concat(), 5, Some(b"hello"));
        check(&same, 4, None);
        (0..same.len()).for_each(|cut| check(&same[..cut], 5, None));
        check(&publish("k", 2, 7, b"hello"), 5, None);
        check(&publish("q", 1, 7, b"hello"), 5, None);
        check(&publish("q", 2, 8, b"hello"), 5, None);
        check(&publish("q", 2, 7, b""), 5, None);
        check(&publish("q", 2, 7, &[0; 9000]), u64::MAX, None);
        for position in 0..same.len() {
            let mut other = same.clone();
            other[position] ^= 0x40;
            let is_body = (same.len() - 6..same.len() - 1).contains(&position);
            assert_eq!(repeated.body_of(&other, 5).is_some(), is_body, "{position}");
        }
    }

    #[test]
    fn the_route_table_starts_anew_when_it_is_full() {
        let mut routes = Routes::default();
        for number in 0..3 * ROUTES_MAX {
            let address = Address::new("x".into(), Bytes::from(number.to_string()));
            routes.insert(Route {
                sampling: Sampling::default(),
                is_sampled: false,
                address,
                queues: SmallVec::new(),
                line: PublishLineIndex::NONE,
            });
            assert!(routes.routes.len() <= ROUTES_MAX);
        }
        let last = (3 * ROUTES_MAX - 1).to_string();
        assert!(routes.find(b"x", last.as_bytes()).is_some());
        assert!(routes.find(b"", last.as_bytes()).is_none());
        assert!(routes.find(b"x", b"0").is_none());
        routes.refresh(7);
        assert!(routes.find(b"x", last.as_bytes()).is_none());
    }
}
