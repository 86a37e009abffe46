//! Spans of messages that are followed in an exported trace: publish, route, enqueue, deliver and settle.
//!
//! A message is chosen when it is published: by the flag of the trace that its publisher names (`traceparent`, W3C Trace Context), or
//! by a policy (`trace-sample-rate`). What was chosen carries its context in its address ([`TraceContext`]), so that whoever delivers it
//! knows. Without a [`SpanBuffer`] in the settings none of this is done; with one, messages that are not chosen cost one branch where
//! they are published and delivered. Spans wait in the buffer; who sends them where is not known here.
//!
//! Nothing a consumer receives is changed.

use crate::credit::Target;
use crate::session::Session;
use base::{ChannelNumber, Name};
use broker::command::Outcome;
use broker::exchange::Exchange;
use broker::message::{Address, Message, SharedMessage, TRACE_STATE_BYTES_MAX, TraceContext};
use broker::metadata::Metadata;
use broker::policy::TRACE_SAMPLE_RATE;
use codec_amqp091::{BasicProperties, Table, Value};
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Spans that wait to be exported; more are dropped and counted.
pub const SPANS_MAX: usize = 20_000;
/// Publishes of a channel whose confirm ends their span; of more than that the span ends at once.
const CONFIRMS_MAX: usize = 4_096;
/// Deliveries of a channel whose settlement has a span; of more than that it has none.
const SETTLES_MAX: usize = 65_536;
/// Queues of one publish that have a span; of more than that the others have none.
const ENQUEUES_MAX: usize = 64;

/// What a span is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanKind {
    /// A message came in; until it was confirmed, where its publisher wants that.
    Publish,
    /// An exchange chose its queues.
    Route,
    /// A queue got it; until it was confirmed, as above.
    Enqueue,
    /// From its publish until it went to a consumer.
    Deliver,
    /// From there until the consumer said what becomes of it.
    Settle,
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attribute {
    /// Text.
    Text(String),
    /// A number.
    Int(i64),
    /// A switch.
    Bool(bool),
}

/// A span that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// The trace; never 0.
    pub trace_id: u128,
    /// Its own id; never 0.
    pub span_id: u64,
    /// The span that it is a part of; 0 for none.
    pub parent_id: u64,
    /// `tracestate` of the trace; may be empty.
    pub state: Box<str>,
    /// What it is about.
    pub kind: SpanKind,
    /// What was done to what.
    pub name: String,
    /// In microseconds since 1970.
    pub start_us: u64,
    /// In microseconds since 1970; never before the start.
    pub end_us: u64,
    /// Why it failed, if it did.
    pub error: Option<&'static str>,
    /// By the names of OpenTelemetry's conventions for messaging, where these have one.
    pub attributes: Vec<(&'static str, Attribute)>,
}

/// Where spans wait to be exported.
#[derive(Debug)]
pub struct SpanBuffer {
    /// What the wall clock showed, in microseconds since 1970, when the monotonic one began.
    epoch_us: u64,
    /// How many messages without a trace are followed where no policy says how many.
    sample_rate: Option<f64>,
    spans: Mutex<Vec<Span>>,
    dropped: AtomicU64,
}

impl SpanBuffer {
    /// One that is empty. `sample_rate`: the share, from 0 to 1, of messages without a trace that are followed where no policy says
    /// how many; 0 follows none at all, `None` those of traces as their flag says.
    pub fn new(epoch_us: u64, sample_rate: Option<f64>) -> Self {
        Self {
            epoch_us,
            sample_rate,
            spans: Mutex::default(),
            dropped: AtomicU64::new(0),
        }
    }

    /// Takes all spans out.
    pub fn take(&self) -> Vec<Span> {
        std::mem::take(&mut *self.spans.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Spans that found no room, so far.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    pub(crate) fn sample_rate(&self) -> Option<f64> {
        self.sample_rate
    }

    fn push(&self, span: Span) {
        let mut spans = self.spans.lock().unwrap_or_else(PoisonError::into_inner);
        if spans.len() < SPANS_MAX {
            spans.push(span);
        } else {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn time_us(&self, monotonic: Duration) -> u64 {
        let since = u64::try_from(monotonic.as_micros()).unwrap_or(u64::MAX);
        self.epoch_us.saturating_add(since)
    }
}

/// How many of the messages that come without a trace are followed.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) enum Sampling {
    /// No policy says anything: none, and those of traces as their flag says.
    #[default]
    ByFlag,
    /// This share, and those of traces as their flag says; 0 switches off both.
    Rate(f64),
}

impl Sampling {
    /// What policies say about an exchange, or, where they say nothing about it, about the queues behind it: the largest. Where they
    /// say nothing at all, `otherwise`.
    pub(crate) fn of(
        otherwise: Option<f64>,
        metadata: &Metadata,
        vhost: &Name,
        exchange: &Exchange,
        queues: &[Target],
    ) -> Self {
        let Some(vhost) = metadata.vhost(vhost) else {
            return Self::ByFlag;
        };
        let policies = vhost.exchange_policies(&exchange.name);
        let of_exchange = policies.get(TRACE_SAMPLE_RATE);
        let rate = of_exchange
            .and_then(broker::json::Json::as_f64)
            .or_else(|| {
                let rates = queues.iter().filter_map(|target| {
                    let record = metadata.queue_by_id(target.queue.id)?;
                    vhost
                        .queue_policies(record)
                        .get(TRACE_SAMPLE_RATE)?
                        .as_f64()
                });
                rates.reduce(f64::max)
            });
        rate.or(otherwise).map_or(Self::ByFlag, Self::Rate)
    }

    /// Whether messages without a trace may be chosen: each has to be looked at.
    pub(crate) fn is_random(self) -> bool {
        matches!(self, Self::Rate(rate) if rate > 0.0)
    }

    fn takes(self, parent: Option<&Parent<'_>>, random: u64) -> bool {
        /// What a random number has to stay below for a rate of 1.
        const WHOLE: f64 = (1_u64 << 53) as f64;
        match (self, parent) {
            (Self::Rate(rate), _) if rate <= 0.0 => false,
            (_, Some(parent)) => parent.is_sampled,
            (Self::ByFlag, None) => false,
            (Self::Rate(rate), None) => ((random >> 11) as f64) < rate * WHOLE,
        }
    }
}

/// The trace that a publisher names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Parent<'a> {
    trace_id: u128,
    span_id: u64,
    is_sampled: bool,
    state: &'a str,
}

impl<'a> Parent<'a> {
    fn of(headers: Option<Table<'a>>) -> Option<Self> {
        let (mut parent, mut state) = (None, "");
        for (key, value) in headers?.iter().map_while(Result::ok) {
            let Value::LongStr(text) = value else {
                continue;
            };
            match key {
                b"traceparent" => parent = traceparent(text),
                b"tracestate" if text.len() <= TRACE_STATE_BYTES_MAX => {
                    state = std::str::from_utf8(text).unwrap_or("");
                }
                _ => {}
            }
        }
        let (trace_id, span_id, is_sampled) = parent?;
        Some(Self {
            trace_id,
            span_id,
            is_sampled,
            state,
        })
    }
}

/// Trace, span and sampled flag of a `traceparent`; `None` if it is none.
fn traceparent(text: &[u8]) -> Option<(u128, u64, bool)> {
    /// Of version 00; later ones may go on behind it.
    const LENGTH: usize = 55;
    let text = std::str::from_utf8(text).ok()?;
    let (own, rest) = text.split_at_checked(LENGTH)?;
    let mut parts = own.split('-');
    let mut hex = |length: usize| {
        let part = parts.next().filter(|part| part.len() == length)?;
        let is_hex = part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        is_hex.then(|| u128::from_str_radix(part, 16).ok())?
    };
    let (version, trace_id, span_id, flags) = (hex(2)?, hex(32)?, hex(16)?, hex(2)?);
    let is_whole = if version == 0 {
        rest.is_empty()
    } else {
        rest.is_empty() || rest.starts_with('-')
    };
    let is_known = version != 0xff && is_whole && trace_id != 0 && span_id != 0;
    is_known.then_some((trace_id, span_id as u64, flags & 1 == 1))
}

/// Spans of a channel that have not ended.
#[derive(Debug, Default)]
pub(crate) struct OpenSpans {
    /// By the number of the confirm, in order.
    publishes: VecDeque<(u64, Vec<Span>)>,
    /// By delivery tag.
    deliveries: BTreeMap<u64, Span>,
}

/// What is known of a publish when its message is followed.
pub(crate) struct Published<'a> {
    pub(crate) metadata: &'a Metadata,
    pub(crate) channel: ChannelNumber,
    pub(crate) queues: &'a [Target],
    pub(crate) sampling: Sampling,
    pub(crate) headers: Option<Table<'a>>,
    /// The number that the message will be confirmed by, if its publisher wants that and it went to a queue.
    pub(crate) confirm: Option<u64>,
}

/// A message was published and goes to these queues: chooses whether it is followed. Gives the message as they get it.
#[cold]
pub(crate) fn published(
    session: &mut Session,
    open: &mut OpenSpans,
    message: SharedMessage,
    published: &Published<'_>,
) -> SharedMessage {
    let Some(buffer) = session.config.spans.clone() else {
        return message;
    };
    let parent = Parent::of(published.headers);
    if !published
        .sampling
        .takes(parent.as_ref(), session.random.next())
    {
        return message;
    }
    let trace_id = match &parent {
        Some(parent) => parent.trace_id,
        None => u128::from_be_bytes(session.random.bytes16()).max(1),
    };
    let now_us = buffer.time_us(session.now.monotonic);
    let context = TraceContext {
        trace_id,
        span_id: new_id(session),
        published_us: now_us,
        state: parent.map_or("", |parent| parent.state).into(),
    };
    let destination = destination(&message);
    let mut publish = span(
        &context,
        SpanKind::Publish,
        context.span_id,
        format!("publish {destination}"),
    );
    publish.parent_id = parent.map_or(0, |parent| parent.span_id);
    publish.end_us = now_us;
    publish.attributes = attributes(
        session,
        published.channel,
        &message,
        "publish",
        &destination,
    );
    add(&mut publish, "messaging.operation.type", text("send"));
    add(
        &mut publish,
        "warren.queues",
        int(published.queues.len() as u64),
    );
    let mut route = span(
        &context,
        SpanKind::Route,
        new_id(session),
        format!("route {destination}"),
    );
    route.end_us = now_us;
    route.attributes = attributes(session, published.channel, &message, "route", &destination);
    add(
        &mut route,
        "warren.queues",
        int(published.queues.len() as u64),
    );
    buffer.push(route);
    let mut spans = vec![publish];
    for target in published.queues.iter().take(ENQUEUES_MAX) {
        let Some(record) = published.metadata.queue_by_id(target.queue.id) else {
            continue;
        };
        let destination = at_queue(&message, &record.name);
        let mut enqueue = span(
            &context,
            SpanKind::Enqueue,
            new_id(session),
            format!("enqueue {}", record.name),
        );
        enqueue.end_us = now_us;
        enqueue.attributes = attributes(
            session,
            published.channel,
            &message,
            "enqueue",
            &destination,
        );
        add(&mut enqueue, "warren.queue", text(&record.name));
        spans.push(enqueue);
    }
    match published.confirm {
        Some(sequence) if open.publishes.len() < CONFIRMS_MAX => {
            open.publishes.push_back((sequence, spans));
        }
        Some(_) | None => spans.into_iter().for_each(|span| buffer.push(span)),
    }
    let address = Address::traced(
        message.exchange().clone(),
        message.routing_key().clone(),
        Some(Box::new(context)),
    );
    Arc::new(Message {
        address,
        ..(*message).clone()
    })
}

/// A message that went to a client.
pub(crate) struct Delivered<'a> {
    pub(crate) channel: ChannelNumber,
    pub(crate) queue: &'a Name,
    pub(crate) tag: u64,
    pub(crate) redelivered: bool,
    /// Whether the client will say what becomes of it.
    pub(crate) is_settled_later: bool,
}

/// A message was sent to a client: if it is followed, that is the end of a span.
#[cold]
pub(crate) fn delivered(
    session: &mut Session,
    open: &mut OpenSpans,
    message: &Message,
    delivered: &Delivered<'_>,
) {
    let Some(context) = message.address.trace.as_deref() else {
        return;
    };
    let Some(buffer) = session.config.spans.clone() else {
        return;
    };
    let queue = delivered.queue;
    let destination = at_queue(message, queue);
    let id = new_id(session);
    let mut deliver = span(context, SpanKind::Deliver, id, format!("deliver {queue}"));
    deliver.end_us = buffer.time_us(session.now.monotonic).max(deliver.start_us);
    deliver.attributes = attributes(session, delivered.channel, message, "deliver", &destination);
    add(&mut deliver, "messaging.operation.type", text("receive"));
    add(
        &mut deliver,
        "messaging.rabbitmq.message.delivery_tag",
        int(delivered.tag),
    );
    add(&mut deliver, "warren.queue", text(queue));
    add(
        &mut deliver,
        "warren.redelivered",
        Attribute::Bool(delivered.redelivered),
    );
    if delivered.is_settled_later && open.deliveries.len() < SETTLES_MAX {
        let mut settle = span(
            context,
            SpanKind::Settle,
            new_id(session),
            format!("settle {queue}"),
        );
        (settle.parent_id, settle.start_us) = (id, deliver.end_us);
        settle.attributes = attributes(session, delivered.channel, message, "settle", &destination);
        add(&mut settle, "messaging.operation.type", text("settle"));
        add(
            &mut settle,
            "messaging.rabbitmq.message.delivery_tag",
            int(delivered.tag),
        );
        add(&mut settle, "warren.queue", text(queue));
        open.deliveries.insert(delivered.tag, settle);
    }
    buffer.push(deliver);
}

impl OpenSpans {
    /// Whether publishes wait for their confirms.
    #[inline]
    pub(crate) fn has_publishes(&self) -> bool {
        !self.publishes.is_empty()
    }

    /// Whether deliveries wait to be settled.
    #[inline]
    pub(crate) fn has_deliveries(&self) -> bool {
        !self.deliveries.is_empty()
    }

    /// Some publishes may be confirmed now: `outcome` says what became of a number, if all its queues have answered.
    #[cold]
    pub(crate) fn confirmed(
        &mut self,
        session: &Session,
        outcome: impl Fn(u64) -> Option<Result<(), &'static str>>,
    ) {
        let Some(buffer) = &session.config.spans else {
            return;
        };
        let end_us = buffer.time_us(session.now.monotonic);
        self.publishes.retain_mut(|(sequence, spans)| {
            let Some(outcome) = outcome(*sequence) else {
                return true;
            };
            for mut span in spans.drain(..) {
                span.end_us = end_us.max(span.start_us);
                span.error = outcome.err();
                buffer.push(span);
            }
            false
        });
    }

    /// The client said what becomes of one delivery, or of all up to it, 0 meaning all.
    #[cold]
    pub(crate) fn settled(
        &mut self,
        session: &Session,
        tag: u64,
        multiple: bool,
        outcome: Outcome,
    ) {
        let Some(buffer) = &session.config.spans else {
            return;
        };
        let end_us = buffer.time_us(session.now.monotonic);
        let ended = match (multiple, tag) {
            (false, tag) => self.deliveries.remove(&tag).into_iter().collect(),
            (true, 0) => std::mem::take(&mut self.deliveries).into_values().collect(),
            (true, tag) => {
                let later = self.deliveries.split_off(&tag.saturating_add(1));
                let ended = std::mem::replace(&mut self.deliveries, later);
                ended.into_values().collect::<Vec<_>>()
            }
        };
        let word = word(outcome);
        for mut span in ended {
            span.end_us = end_us.max(span.start_us);
            add(&mut span, "warren.outcome", text(word));
            buffer.push(span);
        }
    }
}

fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Ack => "ack",
        Outcome::Discard | Outcome::Reject => "reject",
        Outcome::Requeue => "requeue",
        Outcome::Fail | Outcome::Return => "return",
    }
}

fn new_id(session: &mut Session) -> u64 {
    session.random.next().max(1)
}

/// A child of the context's span, from its beginning on.
fn span(context: &TraceContext, kind: SpanKind, span_id: u64, name: String) -> Span {
    Span {
        trace_id: context.trace_id,
        span_id,
        parent_id: context.span_id,
        state: context.state.clone(),
        kind,
        name,
        start_us: context.published_us,
        end_us: context.published_us,
        error: None,
        attributes: Vec::new(),
    }
}

fn add(span: &mut Span, key: &'static str, value: Attribute) {
    span.attributes.push((key, value));
}

fn text(value: &str) -> Attribute {
    Attribute::Text(value.to_owned())
}

fn int(value: u64) -> Attribute {
    Attribute::Int(i64::try_from(value).unwrap_or(i64::MAX))
}

/// Exchange and routing key, as OpenTelemetry names where a message for RabbitMQ goes.
fn destination(message: &Message) -> String {
    let key = String::from_utf8_lossy(message.routing_key());
    match (message.exchange().is_empty(), key.is_empty()) {
        (true, true) => "amq.default".to_owned(),
        (true, false) => key.into_owned(),
        (false, true) => message.exchange().to_string(),
        (false, false) => format!("{}:{key}", message.exchange()),
    }
}

/// The same with the queue, unless the routing key says it already.
fn at_queue(message: &Message, queue: &Name) -> String {
    let before = destination(message);
    if message.routing_key()[..] == *queue.as_bytes() {
        return before;
    }
    format!("{before}:{queue}")
}

/// What all spans say.
fn attributes(
    session: &Session,
    channel: ChannelNumber,
    message: &Message,
    operation: &'static str,
    destination: &str,
) -> Vec<(&'static str, Attribute)> {
    let mut all = vec![
        ("messaging.system", text("rabbitmq")),
        ("messaging.operation.name", text(operation)),
        ("messaging.destination.name", text(destination)),
        (
            "messaging.rabbitmq.destination.routing_key",
            text(&String::from_utf8_lossy(message.routing_key())),
        ),
        (
            "messaging.message.body.size",
            int(message.body.len() as u64),
        ),
        (
            "client.address",
            text(&session.peer.address.ip().to_string()),
        ),
        ("client.port", int(session.peer.address.port().into())),
        ("warren.vhost", text(&session.vhost)),
        ("warren.exchange", text(message.exchange())),
        ("warren.user", text(&session.user)),
        ("warren.channel", int(channel.into())),
    ];
    // Whoever published them had them checked.
    let properties = BasicProperties::decode(&message.properties).unwrap_or_default();
    for (key, value) in [
        ("messaging.message.id", properties.message_id),
        (
            "messaging.message.conversation_id",
            properties.correlation_id,
        ),
    ] {
        if let Some(value) = value {
            all.push((key, text(&String::from_utf8_lossy(value))));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_traceparent_is_read() {
        let ids = (
            0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c,
            0xb7ad_6b71_6920_3331,
        );
        let read = |text: &str| traceparent(text.as_bytes());
        assert_eq!(read(PARENT), Some((ids.0, ids.1, true)));
        let not_sampled = PARENT.replace("-01", "-00");
        assert_eq!(read(&not_sampled), Some((ids.0, ids.1, false)));
        let later = PARENT.replacen("00", "cc", 1) + "-what comes";
        assert_eq!(read(&later), Some((ids.0, ids.1, true)));
    }

    #[test]
    fn what_is_no_traceparent_is_none() {
        for text in [
            "",
            "00",
            &PARENT[..54],
            &format!("{PARENT}-more"),
            &PARENT.replacen("00", "ff", 1),
            &PARENT.replace('a', "A"),
            &PARENT.replace('-', "_"),
            &PARENT.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)),
            &PARENT.replace("b7ad6b7169203331", &"0".repeat(16)),
            &PARENT.replace("-01", "-0+"),
            &PARENT.replace("b7ad", "ü7a"),
        ] {
            assert_eq!(traceparent(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn policies_and_flags_choose() {
        let parent = |is_sampled| Parent {
            trace_id: 1,
            span_id: 1,
            is_sampled,
            state: "",
        };
        let (yes, no) = (parent(true), parent(false));
        for (sampling, parent, expected) in [
            (Sampling::ByFlag, None, false),
            (Sampling::ByFlag, Some(&yes), true),
            (Sampling::ByFlag, Some(&no), false),
            (Sampling::Rate(0.0), None, false),
            (Sampling::Rate(0.0), Some(&yes), false),
            (Sampling::Rate(1.0), None, true),
            (Sampling::Rate(1.0), Some(&no), false),
            (Sampling::Rate(0.001), Some(&yes), true),
        ] {
            for random in [0, u64::MAX / 2, u64::MAX] {
                if random > 0 || expected || parent.is_some() || sampling == Sampling::ByFlag {
                    assert_eq!(
                        sampling.takes(parent, random),
                        expected,
                        "{sampling:?} {parent:?}"
                    );
                }
            }
        }
        assert!(Sampling::Rate(0.5).takes(None, u64::MAX / 2 - (1 << 12)));
        assert!(!Sampling::Rate(0.5).takes(None, u64::MAX / 2 + (1 << 12)));
    }

    #[test]
    fn a_full_buffer_drops_and_counts() {
        let buffer = SpanBuffer::new(5, None);
        let context = TraceContext {
            trace_id: 1,
            span_id: 2,
            published_us: 3,
            state: "".into(),
        };
        for _ in 0..SPANS_MAX + 3 {
            buffer.push(span(&context, SpanKind::Route, 4, "route".to_owned()));
        }
        assert_eq!((buffer.take().len(), buffer.dropped()), (SPANS_MAX, 3));
        assert!(buffer.take().is_empty());
        assert_eq!(buffer.time_us(Duration::from_millis(2)), 2_005);
    }
}
