//! What exchange types may ask of a message: its properties in the form of AMQP 0-9-1, decoded when they are asked for.

use crate::arguments;
use crate::random::Random;
use broker::exchange::{HashProperty, MessageParts};
use broker::value::Arguments;
use bytes::Bytes;
use codec_amqp091::BasicProperties;

/// A message that a client publishes.
pub(crate) struct Parts<'a> {
    /// Flags and list, as the message has them.
    pub(crate) properties: &'a [u8],
    pub(crate) random: &'a mut Random,
}

impl MessageParts for Parts<'_> {
    fn headers(&mut self) -> Arguments {
        headers(self.properties)
    }

    fn property(&mut self, property: HashProperty) -> Option<Bytes> {
        self::property(self.properties, property)
    }

    fn random(&mut self) -> u64 {
        self.random.next()
    }
}

/// A message that the broker publishes: a dead letter, the history of an exchange.
#[derive(Debug)]
pub struct UnaskedParts<'a> {
    /// Flags and list, as the message has them.
    pub properties: &'a [u8],
    /// Any number; the next one if it is asked for again.
    pub random: u64,
}

impl MessageParts for UnaskedParts<'_> {
    fn headers(&mut self) -> Arguments {
        headers(self.properties)
    }

    fn property(&mut self, property: HashProperty) -> Option<Bytes> {
        self::property(self.properties, property)
    }

    fn random(&mut self) -> u64 {
        let mut random = Random::new(self.random);
        self.random = random.next();
        self.random
    }
}

/// The headers in properties as a message has them. None if they cannot be read.
pub fn headers(properties: &[u8]) -> Arguments {
    let headers = BasicProperties::decode(properties).map(|properties| properties.headers);
    let table = headers.ok().flatten().unwrap_or_default();
    arguments::from_table(table).unwrap_or_default()
}

fn property(properties: &[u8], property: HashProperty) -> Option<Bytes> {
    let properties = BasicProperties::decode(properties).ok()?;
    match property {
        HashProperty::MessageId => properties.message_id.map(Bytes::copy_from_slice),
        HashProperty::CorrelationId => properties.correlation_id.map(Bytes::copy_from_slice),
        HashProperty::Timestamp => properties
            .timestamp
            .map(|seconds| Bytes::from(seconds.to_string())),
    }
}
