//! basic.publish: from a complete message to commands for its queues. This is the hottest path of the crate.
//!
//! Most messages of a channel go where an earlier one went. [`Routes`] remembers for each (exchange, routing key) what was
//! allowed and where it led, for one version of the metadata; a hit costs no authorisation, no routing and no allocation
//! but the message itself. Messages whose way depends on more (CC, BCC, exchanges that
//! look at headers, properties or chance) take the long way each time.
//!
//! Order of checks as in RabbitMQ: immediate, size, permission, exchange, internal, reply-to, expiration, CC/BCC,
//! topic permission, user-id, route. Spec: basic.publish; RabbitMQ docs: publishers, sender-selected, validated-user-id.

mod extra_keys;
mod routes;

pub(crate) use routes::Routes;

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
use broker::auth::{self, Write};
use broker::command::{ChannelId, ConfirmTo, QueueCommand};
use broker::error::ResourceKind;
use broker::exchange::{Exchange, ExchangeType};
use broker::message::{Address, Message, SharedMessage};
use broker::messages::Run;
use broker::queue::detach_for;
use broker::router;
use bytes::Bytes;
use codec_amqp091::{PropertyScan, basic, reply_code};
use extra_keys::ExtraKeys;
use routes::{Allowed, Repeated, Route};
use smallvec::SmallVec;
use std::sync::Arc;

/// Exchanges a channel remembers to have permission for; then it begins anew.
const EXCHANGES_MAX: usize = 64;
/// Longest expiration in milliseconds: ten years.
const EXPIRATION_MS_MAX: u64 = 315_360_000_000;
/// Delivery mode of a persistent message.
const PERSISTENT: u8 = 2;

/// What a message meets on its way from a channel to its queues.
pub(crate) struct Outlet<'a> {
    pub(crate) mode: &'a mut Mode,
    pub(crate) credits: &'a mut Credits,
    pub(crate) publishes: &'a mut PublishLines,
    pub(crate) id: ChannelId,
    /// Where its exchange is counted.
    pub(crate) line: PublishLineIndex,
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
}
