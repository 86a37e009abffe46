//! Delayed messages on the side of AMQP: how a message goes to the delay store and what its headers say then.
//!
//! Which messages wait, and where, is the router's; keeping them is the delay store's.
//!
//! Compat: as with the plugin that brought `x-delay`, consumers see it negated, by which they know that the message has waited,
//! and by which it does not wait again. The mandatory flag has no effect on a message that waits.

use crate::channel::Mode;
use crate::credit;
use crate::exception::Exception;
use crate::publish::{Outlet, pay, published};
use crate::session::Session;
use crate::tx;
use base::{Name, QueueRef};
use broker::command::{ConfirmTo, QueueCommand};
use broker::delay::{DELAY_HEADER, DelayRequest, DelayTarget, Wait, store_of};
use broker::message::{Message, SharedMessage};
use bytes::Bytes;
use codec_amqp091::{BasicProperties, Table, TableWriter, Value};
use smallvec::SmallVec;
use std::sync::Arc;

/// A publish of which at least one copy waits.
pub(crate) struct Publish<'a> {
    /// Queues that get it at once.
    pub(crate) queues: &'a [QueueRef],
    /// How long the other copies wait.
    pub(crate) wait: Wait,
    /// Where they go then; not empty.
    pub(crate) delays: &'a [DelayTarget],
    pub(crate) message: SharedMessage,
}

/// What the delay store is asked for: one request for each target.
pub fn requests(
    vhost: &Name,
    message: &Message,
    wait: Wait,
    delays: &[DelayTarget],
) -> Vec<DelayRequest> {
    let properties = BasicProperties::decode(&message.properties).unwrap_or_default();
    let message_id = properties.message_id.map(Bytes::copy_from_slice);
    let properties = match wait {
        Wait::For(delay_ms) => negate(&properties, delay_ms),
        Wait::Until(_) => message.properties.clone(),
    };
    let waiting = Arc::new(Message {
        properties,
        ..message.clone()
    });
    let request = |target: &DelayTarget| DelayRequest {
        vhost: vhost.clone(),
        target: target.clone(),
        wait,
        message_id: message_id.clone(),
        message: Arc::clone(&waiting),
        confirm: None,
    };
    delays.iter().map(request).collect()
}

/// The properties with `-delay_ms` in the header.
fn negate(properties: &BasicProperties<'_>, delay_ms: u32) -> Bytes {
    let mut headers = Vec::new();
    let mut writer = TableWriter::new(&mut headers);
    for (key, value) in properties
        .headers
        .unwrap_or_default()
        .iter()
        .map_while(Result::ok)
    {
        if key == DELAY_HEADER.as_bytes() {
            writer.field(key, &Value::I64(-i64::from(delay_ms)));
        } else {
            writer.field(key, &value);
        }
    }
    let mut encoded = Vec::new();
    BasicProperties {
        headers: Some(Table::new(&headers)),
        ..*properties
    }
    .encode(&mut encoded);
    encoded.into()
}

/// How often a message was delivered and came back to a queue that retries later.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attempts {
    /// Failed deliveries.
    pub failed: u64,
    /// All deliveries.
    pub acquired: u64,
}

const DELIVERY_COUNT: &[u8] = b"x-delivery-count";
const ACQUIRED_COUNT: &[u8] = b"x-acquired-count";
const RETRY_QUEUE: &[u8] = b"x-retry-queue";

impl Attempts {
    /// Those that a message has from this queue; counts of another queue do not count here.
    pub fn of(message: &Message, queue: &Name) -> Self {
        let properties = BasicProperties::decode(&message.properties).unwrap_or_default();
        let headers = properties.headers.unwrap_or_default();
        match headers.get(RETRY_QUEUE) {
            Ok(Some(Value::LongStr(of))) if of == queue.as_bytes() => {}
            Ok(_) | Err(_) => return Self::default(),
        }
        let count = |key: &[u8]| match headers.get(key) {
            Ok(Some(Value::I64(count))) => u64::try_from(count).unwrap_or(0),
            Ok(_) | Err(_) => 0,
        };
        Self {
            failed: count(DELIVERY_COUNT),
            acquired: count(ACQUIRED_COUNT),
        }
    }

    /// The message with these attempts in its headers, in the place of earlier ones.
    pub fn put_on(self, message: &Message, queue: &Name) -> Message {
        let properties = BasicProperties::decode(&message.properties).unwrap_or_default();
        let mut headers = Vec::new();
        let mut writer = TableWriter::new(&mut headers);
        let theirs = properties.headers.unwrap_or_default();
        for (key, value) in theirs.iter().map_while(Result::ok) {
            if ![DELIVERY_COUNT, ACQUIRED_COUNT, RETRY_QUEUE].contains(&key) {
                writer.field(key, &value);
            }
        }
        let count = |count: u64| Value::I64(i64::try_from(count).unwrap_or(i64::MAX));
        writer.field(ACQUIRED_COUNT, &count(self.acquired));
        if self.failed > 0 {
            writer.field(DELIVERY_COUNT, &count(self.failed));
        }
        writer.field(RETRY_QUEUE, &Value::LongStr(queue.as_bytes()));
        let mut encoded = Vec::new();
        BasicProperties {
            headers: Some(Table::new(&headers)),
            ..properties
        }
        .encode(&mut encoded);
        Message {
            properties: encoded.into(),
            ..message.clone()
        }
    }
}

/// Hands the copies to the delay store and to queues, or keeps them for the commit.
///
/// # Errors
/// The transaction is too large.
pub(crate) fn send(
    outlet: Outlet<'_>,
    session: &mut Session,
    publish: Publish<'_>,
) -> Result<(), Exception> {
    let Outlet {
        mode,
        credits,
        publishes,
        id,
        line,
    } = outlet;
    let Publish {
        queues,
        wait,
        delays,
        message,
    } = publish;
    let requests = requests(&session.vhost, &message, wait, delays);
    let copies = queues.len() + requests.len();
    let confirm = match mode {
        Mode::Tx(transaction) => {
            let publish = tx::Publish {
                message,
                queues: SmallVec::from_slice(queues),
                delays: requests,
                mandatory: false,
                line,
            };
            return transaction.publish(publish, session.config.tx_messages_max);
        }
        Mode::Confirm(tracker) => Some(ConfirmTo {
            channel: id,
            sequence: tracker.publish(copies, line, session.now.monotonic),
        }),
        Mode::Plain => None,
    };
    let published = published(line, &message, copies, false, confirm.is_some());
    publishes.published(&session.config.traffic, published);
    for queue in queues {
        session.publish(*queue, Arc::clone(&message), confirm);
        let target = credits.target(*queue);
        let cost = credit::cost(message.size_bytes());
        pay(credits, id, session, target, cost);
    }
    let store = store_of(id.connection.shard);
    for mut request in requests {
        request.confirm = confirm;
        session.ask_queue(store, QueueCommand::Delay(Box::new(request)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use broker::message::Address;

    #[test]
    fn the_delay_is_negated_in_its_place_whatever_its_type_was() {
        let mut headers = Vec::new();
        let mut writer = TableWriter::new(&mut headers);
        writer.field(b"a", &Value::Bool(true));
        writer.field(b"x-delay", &Value::LongStr(b"5000"));
        writer.field(b"z", &Value::Void);
        let properties = BasicProperties {
            message_id: Some(b"m1"),
            headers: Some(Table::new(&headers)),
            ..BasicProperties::default()
        };
        let mut encoded = Vec::new();
        properties.encode(&mut encoded);
        let message = Message {
            address: Address::new("x".into(), Bytes::new()),
            properties: encoded.into(),
            body: Bytes::new(),
            persistent: false,
            priority: 0,
            expiration_ms: None,
            extra_routing_keys: None,
            deaths: None,
        };
        let delays = [DelayTarget::Exchange("x".into())];
        let requests = requests(&"/".into(), &message, Wait::For(5000), &delays);
        assert_eq!(requests.len(), 1);
        assert_eq!(requests[0].message_id.as_deref(), Some(&b"m1"[..]));
        let decoded = BasicProperties::decode(&requests[0].message.properties).unwrap();
        let fields: Vec<_> = decoded
            .headers
            .unwrap()
            .iter()
            .map(|field| format!("{:?}", field.unwrap()))
            .collect();
        let expected: Vec<_> = [
            (&b"a"[..], Value::Bool(true)),
            (b"x-delay", Value::I64(-5000)),
            (b"z", Value::Void),
        ]
        .iter()
        .map(|field| format!("{field:?}"))
        .collect();
        assert_eq!(fields, expected);
    }
}
