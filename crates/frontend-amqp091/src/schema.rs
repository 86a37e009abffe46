//! What becomes of a message that breaks the schema of the exchange it is published to.
//!
//! Whether it does, and what a schema is, is [`broker::schema`]'s. Nothing here is called for an exchange without a schema.

use crate::channel::Mode;
use crate::counts::PublishLineIndex;
use crate::exception::Exception;
use crate::publish::return_message;
use crate::session::{Session, Turn};
use broker::Error;
use broker::command::ChannelId;
use broker::exchange::Exchange;
use broker::message::{Address, Message};
use broker::schema::{Content, OnViolation, SchemaCheck};
use bytes::Bytes;
use codec_amqp091::{BasicProperties, Table, TableWriter, Value, reply_code};
use std::sync::Arc;

/// Header of a message that was dead-lettered: what is wrong with it.
const VIOLATION_HEADER: &[u8] = b"x-schema-violation";
/// Header of a message that was dead-lettered: the exchange it was published to.
const EXCHANGE_HEADER: &[u8] = b"x-schema-exchange";

/// What is to be done with a message.
pub(crate) enum Verdict {
    /// It fits.
    Fits,
    /// It goes to this exchange, with these properties.
    Elsewhere(Arc<Exchange>, Bytes),
    /// It is refused; the text says what is wrong with it.
    Refused(String),
}

/// Looks at a message that is published to `exchange`.
pub(crate) fn judge(
    turn: &Turn<'_>,
    exchange: &Exchange,
    check: &SchemaCheck,
    properties: &Bytes,
    body: &[u8],
) -> Verdict {
    let decoded = BasicProperties::decode(properties).unwrap_or_default();
    let content = Content {
        content_type: decoded.content_type,
        content_encoding: decoded.content_encoding,
        body,
    };
    let Err(violation) = check.check(content) else {
        return Verdict::Fits;
    };
    let OnViolation::DeadLetter(name) = &check.on_violation else {
        return Verdict::Refused(violation);
    };
    let vhost = turn.metadata.vhost(&turn.session.vhost);
    match vhost.and_then(|vhost| vhost.exchange(name)) {
        Some(other) => {
            let properties = with_violation(decoded, &exchange.name, &violation);
            Verdict::Elsewhere(Arc::clone(other), properties)
        }
        None => Verdict::Refused(format!("{violation}, and there is no exchange '{name}'")),
    }
}

fn with_violation(properties: BasicProperties<'_>, exchange: &str, violation: &str) -> Bytes {
    let mut headers = Vec::new();
    let mut writer = TableWriter::new(&mut headers);
    let theirs = properties.headers.unwrap_or_default();
    for (key, value) in theirs.iter().map_while(Result::ok) {
        if ![VIOLATION_HEADER, EXCHANGE_HEADER].contains(&key) {
            writer.field(key, &value);
        }
    }
    for (key, text) in [(EXCHANGE_HEADER, exchange), (VIOLATION_HEADER, violation)] {
        writer.field(key, &Value::LongStr(text.as_bytes()));
    }
    let mut encoded = Vec::new();
    BasicProperties {
        headers: Some(Table::new(&headers)),
        ..properties
    }
    .encode(&mut encoded);
    encoded.into()
}

/// A message that is refused.
pub(crate) struct Refused<'a> {
    pub(crate) exchange: &'a Exchange,
    pub(crate) routing_key: &'a [u8],
    pub(crate) mandatory: bool,
    pub(crate) properties: Bytes,
    pub(crate) body: Bytes,
    pub(crate) violation: &'a str,
}

/// Tells the publisher: by basic.nack, with confirms, and by a basic.return before it if the message is mandatory.
///
/// # Errors
/// Without confirms the channel ends.
pub(crate) fn refuse(
    mode: &mut Mode,
    id: ChannelId,
    session: &mut Session,
    refused: Refused<'_>,
) -> Result<(), Exception> {
    let Refused {
        exchange,
        violation,
        ..
    } = refused;
    let (name, vhost) = (&exchange.name, &session.vhost);
    let text =
        format!("message to exchange '{name}' in vhost '{vhost}' breaks its schema {violation}");
    let Mode::Confirm(tracker) = mode else {
        return Err(Error::Precondition(text.into()).into());
    };
    tracing::debug!(connection = %session.id, channel = id.number, "{text}");
    if !tracker.has_ready() {
        session.unsaid_confirms.push(id.number);
    }
    let now = session.now.monotonic;
    let sequence = tracker.publish(1, PublishLineIndex::NONE, now);
    tracker.answer(sequence, sequence, true);
    if refused.mandatory {
        let exception = Exception::from(Error::Precondition(text.into()));
        let routing_key = Bytes::copy_from_slice(refused.routing_key);
        let message = Message {
            address: Address::new(exchange.name.clone(), routing_key),
            properties: refused.properties,
            body: refused.body,
            persistent: false,
            priority: 0,
            expiration_ms: None,
            extra_routing_keys: None,
            deaths: None,
        };
        let code = reply_code::PRECONDITION_FAILED;
        return_message(id.number, session, &message, code, &exception.reply_text);
    }
    Ok(())
}
