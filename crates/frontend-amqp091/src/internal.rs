//! Messages that the node itself publishes: events, log lines, copies of traced messages.
//!
//! Where they go, and whether anybody wants them, is the caller's matter.

use crate::arguments;
use base::Name;
use broker::event::Event;
use broker::message::{Address, Message, SharedMessage};
use broker::value::Arguments;
use bytes::Bytes;
use codec_amqp091::{BasicProperties, Table, TableWriter};
use std::sync::Arc;

/// Longest routing key of a message, in bytes; what would be longer is cut.
const ROUTING_KEY_SIZE_MAX: usize = 255;

/// An event as its exchange publishes it: no body, everything in the headers.
pub fn event(exchange: &Name, event: &Event, wall_ms: u64) -> SharedMessage {
    let mut headers = event.headers.clone();
    let at_ms = i64::try_from(wall_ms).unwrap_or(i64::MAX);
    headers.insert("timestamp_in_ms", broker::event::number(at_ms));
    let properties = BasicProperties {
        delivery_mode: Some(2),
        timestamp: Some(wall_ms / 1000),
        ..BasicProperties::default()
    };
    message(
        exchange,
        event.key.as_bytes(),
        properties,
        &headers,
        Bytes::new(),
    )
}

/// A line of the log; `level` is the routing key.
pub fn log_line(
    exchange: &Name,
    level: &'static str,
    node: &str,
    line: String,
    wall_ms: u64,
) -> SharedMessage {
    let headers = Arguments::from_pairs([("node".into(), broker::event::text(node))]);
    let properties = BasicProperties {
        content_type: Some(b"text/plain"),
        timestamp: Some(wall_ms / 1000),
        ..BasicProperties::default()
    };
    message(
        exchange,
        level.as_bytes(),
        properties,
        &headers,
        line.into(),
    )
}

/// A message with these properties and headers.
pub(crate) fn message(
    exchange: &Name,
    routing_key: &[u8],
    properties: BasicProperties<'_>,
    headers: &Arguments,
    body: Bytes,
) -> SharedMessage {
    let mut table = Vec::new();
    arguments::write(headers, &mut TableWriter::new(&mut table));
    let mut encoded = Vec::new();
    BasicProperties {
        headers: Some(Table::new(&table)),
        ..properties
    }
    .encode(&mut encoded);
    let routing_key = &routing_key[..routing_key.len().min(ROUTING_KEY_SIZE_MAX)];
    Arc::new(Message {
        address: Address::new(exchange.clone(), Bytes::copy_from_slice(routing_key)),
        properties: encoded.into(),
        body,
        persistent: properties.delivery_mode == Some(2),
        priority: 0,
        expiration_ms: None,
        extra_routing_keys: None,
        deaths: None,
    })
}
