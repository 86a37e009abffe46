//! What a trace writes about a message: the copy from `amq.rabbitmq.trace` as text for people or as a line of JSON.
//!
//! Both forms are RabbitMQ's, for whoever reads them with a program: terms are printed as Erlang prints them. It reads no clock.

use super::Format;
use crate::amqp::GotMessage;
use crate::json::{Json, Object, object};
use base::Civil;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use broker::event::pretty::{Shape, Term, escaped, is_printable, pretty};
use broker::value::{Arguments, Value};
use codec_amqp091::BasicProperties;
use frontend_amqp091::arguments;
use std::borrow::Cow;
use std::fmt;

/// The properties in the order in which RabbitMQ writes them.
const PROPERTIES: [&str; 14] = [
    "cluster_id",
    "app_id",
    "user_id",
    "type",
    "timestamp",
    "message_id",
    "expiration",
    "reply_to",
    "correlation_id",
    "priority",
    "delivery_mode",
    "headers",
    "content_encoding",
    "content_type",
];

/// A copy, as far as it is written.
struct Record<'a> {
    headers: Arguments,
    /// The queue that it was delivered from; `None` if it was published.
    queue: Option<&'a [u8]>,
    payload: &'a [u8],
    /// Of the calendar.
    at: String,
}

/// Appends what is to be written about a copy. False if it is none.
pub(super) fn write(
    out: &mut Vec<u8>,
    format: Format,
    message: &GotMessage,
    payload_bytes_max: Option<usize>,
    wall_ms: u64,
) -> bool {
    let Some(record) = Record::of(message, payload_bytes_max, wall_ms) else {
        return false;
    };
    match format {
        Format::Text => out.extend_from_slice(record.text().as_bytes()),
        Format::Json => {
            serde_json::to_writer(&mut *out, &record.json()).expect("JSON values can be written");
            out.push(b'\n');
        }
    }
    true
}

impl<'a> Record<'a> {
    fn of(message: &'a GotMessage, payload_bytes_max: Option<usize>, wall_ms: u64) -> Option<Self> {
        let key = &message.routing_key[..];
        let queue = match key.strip_prefix(b"deliver.") {
            Some(queue) => Some(queue),
            None => key.strip_prefix(b"publish.").map(|_| None)?,
        };
        let table = BasicProperties::decode(&message.properties).ok()?.headers?;
        let size = payload_bytes_max.unwrap_or(usize::MAX);
        Some(Self {
            headers: arguments::from_table(table).ok()?,
            queue,
            payload: &message.body[..message.body.len().min(size)],
            at: time(wall_ms),
        })
    }

    fn kind(&self) -> &'static str {
        match self.queue {
            Some(_) => "received",
            None => "published",
        }
    }

    fn word(&self, key: &str) -> Cow<'_, str> {
        match self.headers.get(key) {
            Some(Value::LongStr(bytes)) => characters(bytes),
            Some(_) | None => Cow::Borrowed(""),
        }
    }

    fn channel(&self) -> i64 {
        let channel = self.headers.get("channel");
        channel.and_then(Value::as_int).unwrap_or_default()
    }

    fn list(&self, key: &str) -> &[Value] {
        match self.headers.get(key) {
            Some(Value::Array(values)) => values,
            Some(_) | None => &[],
        }
    }

    /// Those that are set, in RabbitMQ's order.
    fn properties(&self) -> impl Iterator<Item = (&'static str, &Value)> {
        let set = match self.headers.get("properties") {
            Some(Value::Table(table)) => Some(table),
            Some(_) | None => None,
        };
        PROPERTIES
            .into_iter()
            .filter_map(move |name| Some((name, set?.get(name)?)))
    }

    fn text(&self) -> String {
        /// In front of the values of most lines.
        const MARGIN: usize = 14;
        let words = |key| {
            let values = self.list(key).iter();
            Printed::List(values.map(Printed::value).collect())
        };
        let routing_keys = pretty(&words("routing_keys"), MARGIN + 1);
        let place = match self.queue {
            Some(queue) => format!("Queue:        {}", characters(queue)),
            None => {
                let queues = pretty(&words("routed_queues"), MARGIN + 2);
                format!("Routed queues: {queues}")
            }
        };
        let properties = self
            .properties()
            .map(|(name, value)| Printed::field(name, value));
        let properties = pretty(&Printed::List(properties.collect()), MARGIN + 1);
        format!(
            "\n{line}\n{at}: Message {kind}\n\n\
             Node:         {node}\nConnection:   {connection}\nVirtual host: {vhost}\nUser:         {user}\n\
             Channel:      {channel}\nExchange:     {exchange}\nRouting keys: {routing_keys}\n{place}\n\
             Properties:   {properties}\nPayload: \n{payload}\n",
            line = "=".repeat(80),
            at = self.at,
            kind = self.kind(),
            node = self.word("node"),
            connection = self.word("connection"),
            vhost = self.word("vhost"),
            user = self.word("user"),
            channel = self.channel(),
            exchange = self.word("exchange_name"),
            payload = characters(self.payload),
        )
    }

    fn json(&self) -> Json {
        let list = |key| Json::List(self.list(key).iter().map(shown).collect());
        let word = |key| Json::from(self.word(key).into_owned());
        let mut properties = Object::default();
        for (name, value) in self.properties() {
            properties.push(name, shown(value));
        }
        let (queue, routed_queues) = match self.queue {
            Some(queue) => (characters(queue).into_owned().into(), Json::from("none")),
            None => (Json::from("none"), list("routed_queues")),
        };
        object! {
            "node" => word("node"),
            "timestamp" => self.at.clone(),
            "type" => self.kind(),
            "exchange" => word("exchange_name"),
            "user" => word("user"),
            "queue" => queue,
            "connection" => word("connection"),
            "vhost" => word("vhost"),
            "channel" => self.channel(),
            "routing_keys" => list("routing_keys"),
            "properties" => properties,
            "payload" => BASE64.encode(self.payload),
            "routed_queues" => routed_queues,
        }
        .into()
    }
}

fn time(wall_ms: u64) -> String {
    let Civil {
        year,
        month,
        day,
        hour,
        minute,
        second,
        ..
    } = Civil::from_unix(wall_ms / 1000);
    let ms = wall_ms % 1000;
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}+00:00")
}

/// Octets as text; where they are none, each stands for a character of Latin-1.
fn characters(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => bytes.iter().copied().map(char::from).collect(),
    }
}

/// A value as RabbitMQ shows it in JSON. Compat: a decimal is the number that it is.
fn shown(value: &Value) -> Json {
    match value {
        Value::LongStr(bytes) | Value::Binary(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => Json::from(text.to_owned()),
            Err(_) => Json::from(format!("Not UTF-8, base64 is: {}", BASE64.encode(bytes))),
        },
        Value::Void => Json::from("undefined"),
        Value::Array(values) => Json::List(values.iter().map(shown).collect()),
        Value::Table(table) => {
            let mut object = Object::default();
            for (key, value) in table.iter() {
                object.push(key.to_owned(), shown(value));
            }
            object.into()
        }
        Value::Bool(_)
        | Value::Int(..)
        | Value::Float(_)
        | Value::Double(_)
        | Value::Decimal(..)
        | Value::Timestamp(_) => Json::from(value),
    }
}

/// A value as Erlang prints it.
enum Printed {
    Atom(&'static str),
    Simple(String),
    List(Vec<Self>),
    Tuple(Vec<Self>),
}

impl Printed {
    fn field(key: &str, value: &Value) -> Self {
        let key = Self::Simple(binary(key.as_bytes()));
        Self::Tuple(vec![key, Self::Atom(value.type_name()), Self::value(value)])
    }

    fn value(value: &Value) -> Self {
        match value {
            Value::Bool(true) => Self::Atom("true"),
            Value::Bool(false) => Self::Atom("false"),
            Value::Int(_, value) => Self::Simple(value.to_string()),
            Value::Float(value) => Self::Simple(format!("{value:?}")),
            Value::Double(value) => Self::Simple(format!("{value:?}")),
            Value::Decimal(scale, unscaled) => {
                let parts = [scale.to_string(), unscaled.to_string()];
                Self::Tuple(parts.map(Self::Simple).into())
            }
            Value::Timestamp(seconds) => Self::Simple(seconds.to_string()),
            Value::Void => Self::Atom("undefined"),
            Value::LongStr(bytes) | Value::Binary(bytes) => Self::Simple(binary(bytes)),
            Value::Array(values) => {
                let typed = |value: &Value| {
                    let kind = Self::Atom(value.type_name());
                    Self::Tuple(vec![kind, Self::value(value)])
                };
                Self::List(values.iter().map(typed).collect())
            }
            Value::Table(table) => {
                let fields = table.iter().map(|(key, value)| Self::field(key, value));
                Self::List(fields.collect())
            }
        }
    }
}

impl Term for Printed {
    fn shape(&self) -> Shape<'_, Self> {
        match self {
            Self::Atom(_) => Shape::Atom,
            Self::List(items) if !items.is_empty() => Shape::List(items),
            Self::Tuple(items) if !items.is_empty() => Shape::Tuple(items),
            Self::Simple(_) | Self::List(_) | Self::Tuple(_) => Shape::Simple,
        }
    }
}

impl fmt::Display for Printed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (open, items, close) = match self {
            Self::Atom(text) => return f.write_str(text),
            Self::Simple(text) => return f.write_str(text),
            Self::List(items) => ('[', items, ']'),
            Self::Tuple(items) => ('{', items, '}'),
        };
        write!(f, "{open}")?;
        for (index, item) in items.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            write!(f, "{comma}{item}")?;
        }
        write!(f, "{close}")
    }
}

/// A binary: text in quotes, or its octets.
fn binary(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok("") => "<<>>".to_owned(),
        Ok(text) if is_printable(text) => {
            let utf8 = if text.is_ascii() { "" } else { "/utf8" };
            format!("<<\"{}\"{utf8}>>", escaped(text, '"'))
        }
        // Erlang takes octets for Latin-1 where they could be.
        Err(_) if is_printable(&characters(bytes)) => {
            format!("<<\"{}\">>", escaped(&characters(bytes), '"'))
        }
        Ok(_) | Err(_) => {
            let octets: Vec<String> = bytes.iter().map(u8::to_string).collect();
            format!("<<{}>>", octets.join(","))
        }
    }
}
