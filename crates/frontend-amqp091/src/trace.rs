//! The firehose: copies of the messages of a traced vhost, for whoever binds to `amq.rabbitmq.trace`.
//!
//! A connection knows whether its vhost is traced ([`Session::is_traced`]), so without tracing this costs one branch. A copy is an
//! ordinary message for the queues that are bound; nobody waits for it. While the node is congested no copies are made, since
//! nothing holds back deliveries. Messages from the trace exchange are not traced themselves.
//!
//! RabbitMQ docs: firehose. Compat: numbers among the properties are 32 bits wide there, also the timestamp.

use crate::arguments;
use crate::credit::Target;
use crate::internal;
use crate::message_parts::Parts;
use crate::session::Session;
use base::{ChannelNumber, Name};
use broker::event::text;
use broker::exchange::Exchange;
use broker::message::Message;
use broker::metadata::Metadata;
use broker::router::{self, Targets};
use broker::value::{Arguments, IntKind, Value};
use broker::vhost::{TRACE_EXCHANGE, Vhost};
use codec_amqp091::BasicProperties;
use std::sync::Arc;

/// A message was published and goes to these queues.
#[cold]
pub(crate) fn published(
    metadata: &Metadata,
    session: &mut Session,
    channel: ChannelNumber,
    message: &Message,
    queues: &[Target],
) {
    let Some((vhost, exchange)) = trace_exchange(metadata, session, message) else {
        return;
    };
    let name = |target: &Target| {
        let record = metadata.queue_by_id(target.queue.id)?;
        Some(text(&record.name))
    };
    let queues = queues.iter().filter_map(name).collect();
    let key = format!("publish.{}", message.exchange());
    let headers = [("routed_queues", Value::Array(queues))];
    copy(session, channel, message, (vhost, exchange), &key, headers);
}

/// A message was sent to a client.
#[cold]
pub(crate) fn delivered(
    metadata: &Metadata,
    session: &mut Session,
    channel: ChannelNumber,
    message: &Message,
    queue: &Name,
    redelivered: bool,
) {
    let Some((vhost, exchange)) = trace_exchange(metadata, session, message) else {
        return;
    };
    let key = format!("deliver.{queue}");
    let headers = [("redelivered", short(i64::from(redelivered)))];
    copy(session, channel, message, (vhost, exchange), &key, headers);
}

/// Where copies go, if the message is to be copied and anybody wants it.
fn trace_exchange<'a>(
    metadata: &'a Metadata,
    session: &Session,
    message: &Message,
) -> Option<(&'a Vhost, &'a Exchange)> {
    let vhost = metadata.vhost(&session.vhost)?;
    let exchange = vhost.exchange(TRACE_EXCHANGE)?;
    let wanted = exchange.binding_count() > 0
        && *message.exchange() != exchange.name
        && !session.backpressure.is_congested;
    wanted.then_some((&**vhost, &**exchange))
}

fn copy<const N: usize>(
    session: &mut Session,
    channel: ChannelNumber,
    message: &Message,
    (vhost, exchange): (&Vhost, &Exchange),
    key: &str,
    more: [(&'static str, Value); N],
) {
    let keys = message.routing_keys();
    let keys = keys.map(|key| Value::LongStr(key.clone())).collect();
    let mut headers = Arguments::from_pairs(
        [
            ("exchange_name", text(message.exchange())),
            ("routing_keys", Value::Array(keys)),
            ("properties", Value::Table(properties(message))),
            ("node", text(&session.config.node_name)),
            ("vhost", text(&session.vhost)),
            ("connection", text(&session.connection_name())),
            ("channel", short(channel.into())),
            ("user", text(&session.user)),
        ]
        .map(|(key, value)| (key.into(), value)),
    );
    for (key, value) in more {
        headers.insert(key, value);
    }
    let copy = internal::message(
        &exchange.name,
        key.as_bytes(),
        BasicProperties::default(),
        &headers,
        message.body.clone(),
    );
    let mut targets = Targets::new();
    let keys = [&copy.routing_key()[..]];
    let mut parts = Parts {
        properties: &copy.properties,
        random: &mut session.random,
    };
    router::route_unasked(vhost, exchange, &keys, &mut parts, &mut targets);
    targets.remember(&copy);
    for queue in targets.queues() {
        session.publish(*queue, Arc::clone(&copy), None);
    }
}

fn short(value: i64) -> Value {
    // Wraps as RabbitMQ's does.
    #[expect(clippy::cast_possible_truncation, reason = "the wire has 32 bits")]
    let wrapped = value as i32;
    Value::Int(IntKind::I32, wrapped.into())
}

/// The properties that are set.
fn properties(message: &Message) -> Arguments {
    // Whoever published them had them checked.
    let properties = BasicProperties::decode(&message.properties).unwrap_or_default();
    let texts = [
        ("content_type", properties.content_type),
        ("content_encoding", properties.content_encoding),
        ("correlation_id", properties.correlation_id),
        ("reply_to", properties.reply_to),
        ("expiration", properties.expiration),
        ("message_id", properties.message_id),
        ("type", properties.message_type),
        ("user_id", properties.user_id),
        ("app_id", properties.app_id),
        ("cluster_id", properties.cluster_id),
    ];
    let mut shown = Arguments::default();
    for (key, value) in texts {
        if let Some(value) = value {
            shown.insert(key, Value::LongStr(bytes::Bytes::copy_from_slice(value)));
        }
    }
    let numbers = [
        ("delivery_mode", properties.delivery_mode.map(i64::from)),
        ("priority", properties.priority.map(i64::from)),
        ("timestamp", properties.timestamp.map(u64::cast_signed)),
    ];
    for (key, value) in numbers {
        if let Some(value) = value {
            shown.insert(key, short(value));
        }
    }
    if let Some(headers) = properties.headers {
        let headers = arguments::from_table(headers).unwrap_or_default();
        shown.insert("headers", Value::Table(headers));
    }
    shown
}
