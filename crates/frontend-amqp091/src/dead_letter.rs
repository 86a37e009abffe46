//! How a dead-lettered message looks: its history becomes headers, and its expiration goes.
//!
//! Which message dies, and to which queues it goes then, is decided elsewhere. The headers are written from the message's own
//! history only; what a publisher put under these names is replaced. As in RabbitMQ, all headers are in the order of their
//! names then.
//!
//! ```text
//! x-death                A of F, newest first:
//!                        [original-expiration S] count l | reason S | queue S | time T | exchange S | routing-keys A of S
//! x-first-death-exchange S   -queue S   -reason S        the death that began it, never changed
//! x-last-death-exchange  S   -queue S   -reason S        the newest
//! ```
//!
//! RabbitMQ docs: dlx#effects.

use base::Name;
use broker::command::Attempts;
use broker::death::{Death, Deaths};
use broker::effect::DeadLetterReason;
use broker::message::{Address, Message, SharedMessage};
use broker::value::Arguments;
use bytes::Bytes;
use codec_amqp091::{Array, ArrayWriter, BasicProperties, Table, TableWriter, Value};
use std::sync::Arc;

/// Size of the `x-death` array above which older deaths are left off, so that the properties still fit a frame.
const X_DEATH_BYTES_MAX: usize = 32 << 10;

/// The death of a message and where it goes then.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// The queue it died in.
    pub queue: Name,
    /// What it died of.
    pub reason: DeadLetterReason,
    /// How often consumers failed with it so far.
    pub failed_deliveries: u32,
    /// Wall clock, in seconds since 1970.
    pub time_s: u64,
    /// The dead-letter exchange.
    pub exchange: Name,
    /// The routing key that replaces all others, if the queue has one.
    pub routing_key: Option<Bytes>,
}

/// The message as it is published to the dead-letter exchange.
pub fn dead_letter(message: &Message, letter: DeadLetter) -> Message {
    let death = Death {
        queue: letter.queue,
        reason: letter.reason,
        count: 1,
        time_s: letter.time_s,
        exchange: message.exchange().clone(),
        routing_keys: message.visible_routing_keys().cloned().collect(),
        original_expiration_ms: message.expiration_ms,
    };
    let deaths = Deaths::with(message.deaths.as_deref(), death)
        .after_failed_deliveries(letter.failed_deliveries);
    // Compat: the CC header stays for consumers to see, also when its keys no longer count.
    let (routing_key, extra_routing_keys) = match letter.routing_key {
        Some(routing_key) => (routing_key, None),
        None => (
            message.routing_key().clone(),
            message.extra_routing_keys.clone(),
        ),
    };
    Message {
        address: Address::traced(letter.exchange, routing_key, message.address.trace.clone()),
        properties: rewrite(&message.properties, &deaths),
        body: message.body.clone(),
        persistent: message.persistent,
        priority: message.priority,
        expiration_ms: None,
        extra_routing_keys,
        deaths: Some(Arc::new(deaths)),
    }
}

/// The headers of a message, for exchanges that route by them. None if they cannot be read.
pub fn headers(message: &Message) -> Arguments {
    crate::message_parts::headers(&message.properties)
}

/// The properties with the history in the headers and without expiration.
fn rewrite(properties: &[u8], deaths: &Deaths) -> Bytes {
    // Whoever published them had them checked; what cannot be read is dropped all the same rather than passed on.
    let properties = BasicProperties::decode(properties).unwrap_or_default();
    let x_death = encode_deaths(deaths);
    let (first, last) = (deaths.first(), deaths.last());
    let ours = [
        (&b"x-death"[..], Value::Array(Array::new(&x_death))),
        (b"x-first-death-exchange", text(&first.exchange)),
        (b"x-first-death-queue", text(&first.queue)),
        (b"x-first-death-reason", text(first.reason.as_str())),
        (b"x-last-death-exchange", text(&last.exchange)),
        (b"x-last-death-queue", text(&last.queue)),
        (b"x-last-death-reason", text(last.reason.as_str())),
    ];
    with_headers(
        BasicProperties {
            expiration: None,
            ..properties
        },
        &ours,
    )
}

/// The message as a client gets it that is told how often it came back.
pub(crate) fn tried_message(message: SharedMessage, attempts: Attempts) -> SharedMessage {
    if attempts.is_first() {
        return message;
    }
    let properties = BasicProperties::decode(&message.properties).unwrap_or_default();
    let count = |count: u32| Value::I64(i64::from(count));
    let counts = [
        (&b"x-acquired-count"[..], count(attempts.acquired)),
        (b"x-delivery-count", count(attempts.failed)),
    ];
    // Compat: a count of failures that there were not is not told.
    let told = if attempts.failed == 0 { 1 } else { 2 };
    let properties = with_headers(properties, &counts[..told]);
    Arc::new(Message {
        properties,
        ..Message::clone(&message)
    })
}

/// The properties with `ours` among the headers, in the order of their names.
fn with_headers(properties: BasicProperties<'_>, ours: &[(&[u8], Value<'_>)]) -> Bytes {
    let theirs = properties.headers.unwrap_or_default();
    let mut fields: Vec<_> = theirs
        .iter()
        .map_while(Result::ok)
        .filter(|(key, _)| ours.iter().all(|(name, _)| name != key))
        .collect();
    fields.extend_from_slice(ours);
    fields.sort_by_key(|(key, _)| *key);
    let mut headers = Vec::new();
    let mut writer = TableWriter::new(&mut headers);
    for (key, value) in fields {
        writer.field(key, &value);
    }
    let mut encoded = Vec::new();
    BasicProperties {
        headers: Some(Table::new(&headers)),
        ..properties
    }
    .encode(&mut encoded);
    encoded.into()
}

/// The content of the `x-death` array. The newest death is always in it.
fn encode_deaths(deaths: &Deaths) -> Vec<u8> {
    let mut bytes = Vec::new();
    for death in deaths.iter() {
        let before = bytes.len();
        ArrayWriter::new(&mut bytes).table(|table| write_death(death, table));
        if before > 0 && bytes.len() > X_DEATH_BYTES_MAX {
            bytes.truncate(before);
            break;
        }
    }
    bytes
}

fn write_death(death: &Death, table: &mut TableWriter<'_>) {
    if let Some(expiration_ms) = death.original_expiration_ms {
        table.field(b"original-expiration", &text(&expiration_ms.to_string()));
    }
    let count = i64::try_from(death.count).unwrap_or(i64::MAX);
    table.field(b"count", &Value::I64(count));
    table.field(b"reason", &text(death.reason.as_str()));
    table.field(b"queue", &text(&death.queue));
    table.field(b"time", &Value::Timestamp(death.time_s));
    table.field(b"exchange", &text(&death.exchange));
    table.array(b"routing-keys", |keys| {
        for key in &death.routing_keys {
            keys.value(&Value::LongStr(key));
        }
    });
}

fn text(value: &str) -> Value<'_> {
    Value::LongStr(value.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use broker::message::ExtraRoutingKeys;

    fn message(properties: &BasicProperties<'_>) -> Message {
        let mut encoded = Vec::new();
        properties.encode(&mut encoded);
        Message {
            address: Address::new("logs".into(), Bytes::from_static(b"a")),
            properties: encoded.into(),
            body: Bytes::from_static(b"body"),
            persistent: true,
            priority: 3,
            expiration_ms: None,
            extra_routing_keys: None,
            deaths: None,
        }
    }

    fn letter(queue: &str, reason: DeadLetterReason) -> DeadLetter {
        DeadLetter {
            queue: queue.into(),
            reason,
            failed_deliveries: 0,
            time_s: 1000,
            exchange: "dlx".into(),
            routing_key: None,
        }
    }

    /// Headers as text, in the order of the wire: `name=type:value`.
    fn shown(message: &Message) -> String {
        let properties = BasicProperties::decode(&message.properties).unwrap();
        show_table(properties.headers.unwrap_or_default())
    }

    fn show_table(table: Table<'_>) -> String {
        let fields = table.iter().map(|field| {
            let (key, value) = field.unwrap();
            format!("{}={}", String::from_utf8_lossy(key), show(value))
        });
        fields.collect::<Vec<_>>().join(" ")
    }

    fn show(value: Value<'_>) -> String {
        if let Value::LongStr(text) = value {
            return format!("S:{}", String::from_utf8_lossy(text));
        }
        if let Value::Table(table) = value {
            return format!("{{{}}}", show_table(table));
        }
        if let Value::Array(array) = value {
            let values = array.iter().map(|value| show(value.unwrap()));
            return format!("[{}]", values.collect::<Vec<_>>().join(" "));
        }
        format!("{value:?}")
    }

    #[test]
    fn a_first_death_has_every_field_in_rabbitmqs_order() {
        let dead = dead_letter(
            &message(&BasicProperties::default()),
            letter("q", DeadLetterReason::Expired),
        );
        assert_eq!(
            shown(&dead),
            "x-death=[{count=I64(1) reason=S:expired queue=S:q time=Timestamp(1000) exchange=S:logs routing-keys=[S:a]}] \
             x-first-death-exchange=S:logs x-first-death-queue=S:q x-first-death-reason=S:expired \
             x-last-death-exchange=S:logs x-last-death-queue=S:q x-last-death-reason=S:expired"
        );
        assert_eq!(
            (&**dead.exchange(), &dead.routing_key()[..], &dead.body[..]),
            ("dlx", &b"a"[..], &b"body"[..])
        );
        assert!(dead.persistent);
        assert_eq!(dead.priority, 3);
    }

    #[test]
    fn expiration_moves_into_the_history_and_other_properties_stay() {
        let properties = BasicProperties {
            content_type: Some(b"text/plain"),
            delivery_mode: Some(2),
            priority: Some(3),
            expiration: Some(b"60000"),
            message_id: Some(b"m"),
            timestamp: Some(77),
            ..BasicProperties::default()
        };
        let mut message = message(&properties);
        message.expiration_ms = Some(60_000);
        let dead = dead_letter(&message, letter("q", DeadLetterReason::Rejected));
        assert!(shown(&dead).starts_with("x-death=[{original-expiration=S:60000 count=I64(1) "));
        assert_eq!(dead.expiration_ms, None);
        let decoded = BasicProperties::decode(&dead.properties).unwrap();
        assert_eq!(
            decoded,
            BasicProperties {
                expiration: None,
                headers: decoded.headers,
                ..properties
            }
        );
    }

    #[test]
    fn headers_are_sorted_and_a_publishers_history_is_replaced() {
        let mut headers = Vec::new();
        let mut writer = TableWriter::new(&mut headers);
        writer.field(b"z", &Value::Bool(true));
        writer.field(b"x-death", &Value::LongStr(b"forged"));
        writer.field(b"x-first-death-queue", &Value::LongStr(b"forged"));
        writer.array(b"CC", |keys| keys.value(&Value::LongStr(b"b")));
        writer.field(b"a", &Value::Void);
        let mut message = message(&BasicProperties {
            headers: Some(Table::new(&headers)),
            ..BasicProperties::default()
        });
        message.extra_routing_keys = Some(Arc::new(ExtraRoutingKeys {
            cc: Box::new([Bytes::from_static(b"b")]),
            bcc: Box::new([Bytes::from_static(b"hidden")]),
        }));
        let dead = dead_letter(&message, letter("q", DeadLetterReason::MaxLength));
        let text = shown(&dead);
        assert!(
            text.starts_with(
                "CC=[S:b] a=Void x-death=[{count=I64(1) reason=S:maxlen queue=S:q time=Timestamp(1000) exchange=S:logs \
                 routing-keys=[S:a S:b]}] x-first-death-exchange=S:logs x-first-death-queue=S:q "
            ),
            "{text}"
        );
        assert!(text.ends_with(" z=Bool(true)"), "{text}");
        assert!(!text.contains("forged"), "{text}");
        let keys: Vec<_> = dead.routing_keys().map(|key| &key[..]).collect();
        assert_eq!(keys, [&b"a"[..], b"b", b"hidden"]);
    }

    #[test]
    fn a_queues_routing_key_replaces_all_keys() {
        let mut message = message(&BasicProperties::default());
        message.extra_routing_keys = Some(Arc::new(ExtraRoutingKeys {
            cc: Box::new([Bytes::from_static(b"b")]),
            bcc: Box::new([]),
        }));
        let mut letter = letter("q", DeadLetterReason::Rejected);
        letter.routing_key = Some(Bytes::from_static(b"new"));
        let dead = dead_letter(&message, letter);
        let keys: Vec<_> = dead.routing_keys().collect();
        assert_eq!(keys, [&Bytes::from_static(b"new")]);
    }

    #[test]
    fn deaths_in_a_chain_count_per_queue_and_reason() {
        let mut message = message(&BasicProperties::default());
        for (queue, reason) in [
            ("work", DeadLetterReason::Rejected),
            ("wait", DeadLetterReason::Expired),
            ("work", DeadLetterReason::Rejected),
        ] {
            message = dead_letter(&message, letter(queue, reason));
        }
        let text = shown(&message);
        assert!(
            text.starts_with(
                "x-death=[{count=I64(2) reason=S:rejected queue=S:work time=Timestamp(1000) exchange=S:logs routing-keys=[S:a]} \
                 {count=I64(1) reason=S:expired queue=S:wait time=Timestamp(1000) exchange=S:dlx routing-keys=[S:a]}] "
            ),
            "{text}"
        );
        assert!(text.contains("x-last-death-exchange=S:logs x-last-death-queue=S:work"));
    }

    #[test]
    fn a_long_history_still_fits_a_frame() {
        let mut message = message(&BasicProperties::default());
        for number in 0..300 {
            let queue = format!("{number:0>255}");
            message = dead_letter(&message, letter(&queue, DeadLetterReason::Expired));
        }
        assert!(message.properties.len() < X_DEATH_BYTES_MAX + 4096);
        assert!(shown(&message).contains(&format!("x-last-death-queue=S:{:0>255}", 299)));
    }

    #[test]
    fn unreadable_properties_are_replaced() {
        let mut message = message(&BasicProperties::default());
        message.properties = Bytes::from_static(&[0x20, 0, 255]);
        let dead = dead_letter(&message, letter("q", DeadLetterReason::Expired));
        assert_eq!(shown(&dead).matches("x-").count(), 7);
    }
}
