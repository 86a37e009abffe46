//! A message inside the broker.

use base::Name;
use bytes::Bytes;
use std::sync::Arc;

/// A published message. It is immutable and shared by all queues and consumers that see it.
///
/// `properties` and `body` are the bytes that the publisher sent; nothing on the message path decodes them, except
/// for the few fields below, which the frontend reads when the message comes in.
#[derive(Clone, Debug)]
pub struct Message {
    /// The exchange it was published to; empty for the default exchange.
    pub exchange: Name,
    /// The routing key it was published with, at most 255 bytes, not necessarily UTF-8.
    pub routing_key: Bytes,
    /// AMQP 0-9-1 property flags and property list, as received (content header without class, weight, body size).
    /// Other protocols translate into this form.
    pub properties: Bytes,
    /// The content body, contiguous.
    pub body: Bytes,
    /// Delivery mode 2. A message is written to the log if it is persistent and its queue is durable.
    pub persistent: bool,
    /// The priority property; absent means 0.
    pub priority: u8,
    /// The expiration property in milliseconds (RabbitMQ docs: ttl#per-message-ttl).
    pub expiration_ms: Option<u64>,
}

/// A message as queues and consumers hold it.
pub type SharedMessage = Arc<Message>;

impl Message {
    /// Bytes that count for length limits, flow control and memory accounting: the body and the parts around it.
    pub fn size_bytes(&self) -> usize {
        self.body.len() + self.properties.len() + self.routing_key.len()
    }
}
