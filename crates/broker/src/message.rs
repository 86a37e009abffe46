//! A message inside the broker.

use crate::death::Deaths;
use base::Name;
use bytes::Bytes;
use std::sync::Arc;

/// A published message. It is immutable and shared by all queues and consumers that see it.
///
/// `properties` and `body` are the bytes that the publisher sent; nothing on the message path decodes them, except
/// for the few fields below, which the frontend reads when the message comes in.
#[derive(Clone, Debug)]
pub struct Message {
    /// Where it was published to; messages that were published alike share it.
    pub address: Arc<Address>,
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
    /// The keys of its CC and BCC headers, by which it is routed as well; `None` for nearly all messages.
    pub extra_routing_keys: Option<Arc<ExtraRoutingKeys>>,
    /// What it died of so far; `None` unless it was dead-lettered.
    pub deaths: Option<Arc<Deaths>>,
}

/// What a message is published to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// The exchange; empty for the default exchange.
    pub exchange: Name,
    /// The routing key, at most 255 bytes, not necessarily UTF-8.
    pub routing_key: Bytes,
    /// The trace that it is part of, if it was chosen for one; such a message shares its address with no other.
    pub trace: Option<Box<TraceContext>>,
}

/// Where a message is in a trace that is exported (W3C Trace Context).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace; never 0.
    pub trace_id: u128,
    /// The span of its publish, whose children deliveries are; never 0.
    pub span_id: u64,
    /// When it was published, in microseconds since 1970.
    pub published_us: u64,
    /// `tracestate` as the publisher gave it, at most [`TRACE_STATE_BYTES_MAX`]; empty for none.
    pub state: Box<str>,
}

/// Longest `tracestate` that is kept, in bytes; a longer one is dropped as a whole.
pub const TRACE_STATE_BYTES_MAX: usize = 512;

/// Routing keys beside the one that the message was published with (RabbitMQ docs: sender-selected).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExtraRoutingKeys {
    /// Those that consumers see, in the order of the header.
    pub cc: Box<[Bytes]>,
    /// Those that they do not.
    pub bcc: Box<[Bytes]>,
}

/// A message as queues and consumers hold it.
pub type SharedMessage = Arc<Message>;

impl Address {
    /// An address that can be shared.
    pub fn new(exchange: Name, routing_key: Bytes) -> Arc<Self> {
        Arc::new(Self {
            exchange,
            routing_key,
            trace: None,
        })
    }

    /// The same for a message that is part of a trace.
    pub fn traced(
        exchange: Name,
        routing_key: Bytes,
        trace: Option<Box<TraceContext>>,
    ) -> Arc<Self> {
        Arc::new(Self {
            exchange,
            routing_key,
            trace,
        })
    }
}

impl Message {
    /// Bytes that count for length limits, flow control and memory accounting: the body and the parts around it.
    pub fn size_bytes(&self) -> usize {
        self.body.len() + self.properties.len() + self.address.routing_key.len()
    }

    /// The exchange it was published to; empty for the default exchange.
    pub fn exchange(&self) -> &Name {
        &self.address.exchange
    }

    /// The routing key it was published with.
    pub fn routing_key(&self) -> &Bytes {
        &self.address.routing_key
    }

    /// All routing keys: its own, then CC, then BCC.
    pub fn routing_keys(&self) -> impl Iterator<Item = &Bytes> {
        let extra = self.extra_routing_keys.as_deref();
        let bcc = extra.into_iter().flat_map(|extra| &extra.bcc);
        self.visible_routing_keys().chain(bcc)
    }

    /// The routing keys that a consumer may learn: its own, then CC.
    pub fn visible_routing_keys(&self) -> impl Iterator<Item = &Bytes> {
        let extra = self.extra_routing_keys.as_deref();
        let cc = extra.into_iter().flat_map(|extra| &extra.cc);
        std::iter::once(self.routing_key()).chain(cc)
    }
}
