//! AMQP on a connection of the node to itself: declare, delete, bind, purge, get and publish with all rules of the protocol.
//!
//! Each call opens one, asks and closes it. What a refusal says is AMQP's reply text without the name of the code, as
//! RabbitMQ's HTTP API has it.

use crate::access;
use crate::call::Call;
use crate::error::ApiError;
use crate::json::Json;
use crate::state::State;
use base::Name;
use broker::auth::Principal;
use broker::value::{Arguments, Value};
use bytes::Bytes;
use codec_amqp091::{
    BasicProperties, ContentHeader, Frame, FrameKind, Method, Table, TableWriter, basic, channel,
    decode_frame, encode_body_frames, encode_header_frame, reply_code,
};
use frontend_amqp091::arguments;
use node::DirectConnection;
use std::time::Duration;

/// Longest wait for an answer: a queue may be busy, an alarm may be on.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);

/// The only channel.
pub(crate) const CHANNEL: u16 = 1;

/// An open channel of a user in a vhost.
pub(crate) struct Amqp {
    connection: DirectConnection,
    incoming: Vec<u8>,
    /// How much of `incoming` was read.
    read: usize,
}

/// What comes back.
#[derive(Debug)]
pub(crate) enum Received {
    /// Some `-ok` without anything to know.
    Done,
    /// queue.declare-ok with the queue's name.
    Declared(Name),
    /// A message, with how many are left.
    Message(GotMessage),
    /// A message for a consumer.
    Delivered(GotMessage),
    /// The broker ended a consumer.
    Cancelled,
    /// basic.get-empty
    Empty,
    /// A message came back; its confirm follows.
    Returned,
    /// basic.ack
    Confirmed,
    /// basic.nack
    Refused,
}

/// A message of basic.get-ok or basic.deliver.
#[derive(Debug)]
pub(crate) struct GotMessage {
    pub(crate) delivery_tag: u64,
    pub(crate) redelivered: bool,
    pub(crate) exchange: Vec<u8>,
    pub(crate) routing_key: Vec<u8>,
    pub(crate) message_count: u32,
    pub(crate) properties: Vec<u8>,
    pub(crate) body: Vec<u8>,
}

impl Amqp {
    /// Opens a channel for the caller in the vhost of the path.
    ///
    /// # Errors
    /// The user has no permission there.
    pub(crate) async fn open(call: &Call) -> Result<Self, ApiError> {
        let vhost = &call.vhost()?.name;
        let user = call.user();
        let principal = call.principal();
        access::may_open(&call.metadata, principal, vhost)
            .await
            .map_err(|_| ApiError::NotAuthorised("Access refused."))?;
        debug_assert!(access::may_enter(user, vhost));
        Self::connect(&call.state, principal.clone(), vhost.clone()).await
    }

    /// Opens a channel for a user who may open the vhost.
    ///
    /// # Errors
    /// The broker refused, or does not answer.
    pub(crate) async fn connect(
        state: &State,
        principal: Principal,
        vhost: Name,
    ) -> Result<Self, ApiError> {
        let connection = state.node.connect(principal, vhost);
        let mut amqp = Self {
            connection,
            incoming: Vec::new(),
            read: 0,
        };
        amqp.ask(|out| channel::Open::default().encode(CHANNEL, out))
            .await?;
        Ok(amqp)
    }

    /// Says something and waits for the first answer.
    ///
    /// # Errors
    /// The broker refused, or does not answer.
    pub(crate) async fn ask(
        &mut self,
        encode: impl FnOnce(&mut Vec<u8>),
    ) -> Result<Received, ApiError> {
        self.tell(encode);
        self.receive().await
    }

    /// Says something that has no answer.
    pub(crate) fn tell(&mut self, encode: impl FnOnce(&mut Vec<u8>)) {
        let mut frames = Vec::new();
        encode(&mut frames);
        self.connection.send(&frames);
    }

    /// Waits for the next delivery, however long that takes; what else comes is dropped.
    ///
    /// # Errors
    /// The broker ended the consumer, the channel or the connection.
    pub(crate) async fn delivery(&mut self) -> Result<GotMessage, ApiError> {
        loop {
            match self.next().await? {
                Received::Delivered(message) => return Ok(message),
                Received::Cancelled => return Err(ApiError::bad("consumer cancelled")),
                Received::Done
                | Received::Declared(_)
                | Received::Message(_)
                | Received::Empty
                | Received::Returned
                | Received::Confirmed
                | Received::Refused => {}
            }
        }
    }

    /// Whether something is there that was not received yet.
    pub(crate) fn has_more(&self) -> bool {
        self.read < self.incoming.len()
    }

    /// Waits for the next answer.
    ///
    /// # Errors
    /// The broker refused, or does not answer.
    pub(crate) async fn receive(&mut self) -> Result<Received, ApiError> {
        let unavailable = |reason: &'static str| {
            ApiError::Unavailable(
                crate::json::object! { "error" => "unavailable", "reason" => reason }.into(),
            )
        };
        tokio::time::timeout(ANSWER_TIMEOUT, self.next())
            .await
            .unwrap_or_else(|_| Err(unavailable("timeout")))
    }

    async fn next(&mut self) -> Result<Received, ApiError> {
        loop {
            let (kind, payload) = self.frame().await?;
            if kind != FrameKind::Method {
                continue;
            }
            match Method::decode(&payload) {
                Ok(Method::BasicGetOk(method)) => {
                    let (delivery_tag, redelivered) = (method.delivery_tag, method.redelivered);
                    let (exchange, routing_key) =
                        (method.exchange.to_vec(), method.routing_key.to_vec());
                    let message_count = method.message_count;
                    let (properties, body) = self.content().await?;
                    return Ok(Received::Message(GotMessage {
                        delivery_tag,
                        redelivered,
                        exchange,
                        routing_key,
                        message_count,
                        properties,
                        body,
                    }));
                }
                Ok(Method::QueueDeclareOk(method)) => {
                    let name = String::from_utf8_lossy(method.queue);
                    return Ok(Received::Declared(name.as_ref().into()));
                }
                Ok(Method::BasicDeliver(method)) => {
                    let (delivery_tag, redelivered) = (method.delivery_tag, method.redelivered);
                    let (exchange, routing_key) =
                        (method.exchange.to_vec(), method.routing_key.to_vec());
                    let (properties, body) = self.content().await?;
                    return Ok(Received::Delivered(GotMessage {
                        delivery_tag,
                        redelivered,
                        exchange,
                        routing_key,
                        message_count: 0,
                        properties,
                        body,
                    }));
                }
                Ok(Method::BasicCancel(_)) => return Ok(Received::Cancelled),
                Ok(Method::BasicReturn(_)) => {
                    self.content().await?;
                    return Ok(Received::Returned);
                }
                Ok(Method::BasicGetEmpty(_)) => return Ok(Received::Empty),
                Ok(Method::BasicAck(_)) => return Ok(Received::Confirmed),
                Ok(Method::BasicNack(_)) => return Ok(Received::Refused),
                Ok(Method::ChannelClose(method)) => {
                    return Err(refusal(method.reply_code, method.reply_text));
                }
                Ok(Method::ConnectionClose(method)) => {
                    return Err(refusal(method.reply_code, method.reply_text));
                }
                Ok(_) => return Ok(Received::Done),
                Err(error) => return Err(ApiError::bad(error.to_string())),
            }
        }
    }

    /// The content behind a method: properties and body.
    async fn content(&mut self) -> Result<(Vec<u8>, Vec<u8>), ApiError> {
        let (_, payload) = self.frame().await?;
        let header =
            ContentHeader::decode(&payload).map_err(|error| ApiError::bad(error.to_string()))?;
        let properties = header.properties.to_vec();
        // The size is that of a message that the broker holds.
        let size = usize::try_from(header.body_size).unwrap_or(usize::MAX);
        let mut body = Vec::new();
        while body.len() < size {
            let (_, part) = self.frame().await?;
            body.extend_from_slice(&part);
        }
        Ok((properties, body))
    }

    async fn frame(&mut self) -> Result<(FrameKind, Bytes), ApiError> {
        loop {
            match decode_frame(&self.incoming[self.read..], 0) {
                Ok(Some((Frame { kind, payload, .. }, size))) => {
                    let payload = Bytes::copy_from_slice(payload);
                    self.read += size;
                    return Ok((kind, payload));
                }
                Ok(None) => {}
                Err(error) => return Err(ApiError::bad(error.to_string())),
            }
            self.incoming.drain(..self.read);
            self.read = 0;
            if !self.connection.receive(&mut self.incoming).await {
                return Err(ApiError::bad("connection closed"));
            }
        }
    }
}

/// What an AMQP exception is in HTTP.
fn refusal(code: u16, text: &[u8]) -> ApiError {
    ApiError::Refused {
        code,
        text: String::from_utf8_lossy(text).into_owned(),
    }
}

impl ApiError {
    /// What RabbitMQ says of a refused get: reply text of a missing permission, else code and text together.
    pub(crate) fn with_text(self) -> Self {
        if let Self::Refused {
            code: reply_code::ACCESS_REFUSED,
            text,
        } = self
        {
            return Self::AccessRefused(text);
        }
        self.with_code()
    }

    /// What RabbitMQ says of a refused publish: code and text together.
    pub(crate) fn with_code(self) -> Self {
        if let Self::Refused { code, text } = &self {
            return Self::bad(format!("{code} {text}"));
        }
        self
    }
}

/// The fields of an argument table, for a method.
pub(crate) fn table(table: &Arguments) -> Vec<u8> {
    let mut bytes = Vec::new();
    arguments::write(table, &mut TableWriter::new(&mut bytes));
    bytes
}

/// Appends frames of a publish.
pub(crate) fn publish(
    out: &mut Vec<u8>,
    exchange: &[u8],
    routing_key: &[u8],
    properties: &[u8],
    body: &[u8],
) {
    basic::Publish {
        exchange,
        routing_key,
        mandatory: true,
        ..basic::Publish::default()
    }
    .encode(CHANNEL, out);
    encode_header_frame(out, CHANNEL, body.len() as u64, properties);
    encode_body_frames(out, CHANNEL, body, 0);
}

/// A table of the wire as JSON. The codec hands out nothing deeper than its limit.
pub(crate) fn shown_table(table: Table<'_>) -> Json {
    let mut object = crate::json::Object::default();
    for (key, value) in table.iter().map_while(Result::ok) {
        object.push(String::from_utf8_lossy(key).into_owned(), shown(value));
    }
    Json::Object(object)
}

fn shown(value: codec_amqp091::Value<'_>) -> Json {
    use codec_amqp091::Value as V;
    match value {
        V::Bool(value) => value.into(),
        V::I8(value) => i64::from(value).into(),
        V::U8(value) => value.into(),
        V::I16(value) => i64::from(value).into(),
        V::U16(value) => value.into(),
        V::I32(value) => value.into(),
        V::U32(value) => value.into(),
        V::I64(value) => value.into(),
        V::F32(value) => (&Value::Float(value)).into(),
        V::F64(value) => (&Value::Double(value)).into(),
        V::Decimal(scale, unscaled) => (&Value::Decimal(scale, unscaled)).into(),
        V::LongStr(bytes) | V::Binary(bytes) => crate::json::text(bytes),
        V::Array(array) => Json::List(array.iter().map_while(Result::ok).map(shown).collect()),
        V::Timestamp(seconds) => seconds.into(),
        V::Table(table) => shown_table(table),
        V::Void => Json::Null,
    }
}

/// Properties as JSON; those that are not there are left out. Compat: without any, RabbitMQ shows an empty list.
pub(crate) fn shown_properties(bytes: &[u8]) -> Json {
    let Ok(all) = BasicProperties::decode(bytes) else {
        return Json::List(Vec::new());
    };
    let mut object = crate::json::Object::default();
    let texts = [
        ("type", all.message_type),
        ("app_id", all.app_id),
        ("user_id", all.user_id),
        ("message_id", all.message_id),
        ("expiration", all.expiration),
        ("reply_to", all.reply_to),
        ("correlation_id", all.correlation_id),
        ("content_encoding", all.content_encoding),
        ("content_type", all.content_type),
        ("cluster_id", all.cluster_id),
    ];
    for (key, value) in texts {
        if let Some(value) = value {
            object.push(key, crate::json::text(value));
        }
    }
    if let Some(timestamp) = all.timestamp {
        object.push("timestamp", timestamp);
    }
    if let Some(priority) = all.priority {
        object.push("priority", priority);
    }
    if let Some(delivery_mode) = all.delivery_mode {
        object.push("delivery_mode", delivery_mode);
    }
    if let Some(headers) = all.headers {
        object.push("headers", shown_table(headers));
    }
    if object.is_empty() {
        Json::List(Vec::new())
    } else {
        Json::Object(object)
    }
}
