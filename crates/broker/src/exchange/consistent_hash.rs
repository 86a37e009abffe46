//! `x-consistent-hash`: messages are spread over the destinations in proportion to the weights in their binding keys.
//!
//! The routing key, a header (`hash-header`) or a property (`hash-property`) of the message is hashed to one of as many buckets as
//! the weights add up to. Destinations have their buckets in the order in which they were bound, so a new one takes keys from the
//! others and moves none between them. Hash and buckets are RabbitMQ's: a key leads to the same queue.
//!
//! Where headers are arrays, tables or decimals, RabbitMQ hashes (a part of) its own form of them, and this a form of ours.

use super::erlang_hash::{self, bucket, phash2, phash2_float};
use super::{HashProperty, RoutedMessage, RoutingTable, Target, TargetSet};
use crate::Error;
use crate::binding::{Binding, encode_value};
use crate::command::Destination;
use crate::persistent::PersistentMap;
use crate::queue_arguments::{erlang_binary, value_text};
use crate::ranked_tree::RankedTree;
use crate::value::{Arguments, Value};
use smallvec::{SmallVec, smallvec};

/// Largest weight of a binding.
const WEIGHT_MAX: u64 = 10_000;
/// Key of the argument that names the header to hash.
const HASH_HEADER: &str = "hash-header";
/// Key of the argument that names the property to hash.
const HASH_PROPERTY: &str = "hash-property";

#[derive(Clone, Debug)]
pub(super) struct Table {
    hash_on: HashOn,
    /// By the order in which destinations were bound; as heavy as the first binding of each.
    ring: RankedTree<u64, TargetSet>,
    places: PersistentMap<Destination, Place>,
    next_place: u64,
}

/// What of a message is hashed.
#[derive(Clone, Debug)]
enum HashOn {
    RoutingKey,
    Header(Box<str>),
    Property(HashProperty),
}

/// Where a destination is on the ring.
#[derive(Clone, Debug)]
struct Place {
    index: u64,
    /// Of its bindings, oldest first. Only the first counts, as in RabbitMQ.
    weights: SmallVec<[u64; 1]>,
}

impl RoutingTable for Table {
    fn new(arguments: &Arguments) -> Result<Self, Error> {
        Ok(Self {
            hash_on: HashOn::parse(arguments)?,
            ring: RankedTree::default(),
            places: PersistentMap::default(),
            next_place: 0,
        })
    }

    fn check(binding: &Binding) -> Result<(), Error> {
        parse_weight(&binding.binding_key).map(drop)
    }

    fn add(&mut self, binding: &Binding, target: Target) {
        let weight = weight_of(binding);
        if let Some(place) = self.places.get_mut(&binding.destination) {
            return place.weights.push(weight);
        }
        let index = self.next_place;
        self.next_place += 1;
        let weights = smallvec![weight];
        self.places
            .insert_mut(binding.destination.clone(), Place { index, weights });
        self.ring.insert(index, TargetSet::One(target, 1), weight);
    }

    fn remove(&mut self, binding: &Binding, target: &Target) {
        let weight = weight_of(binding);
        let Some(place) = self.places.get_mut(&binding.destination) else {
            return;
        };
        if let Some(position) = place.weights.iter().position(|known| *known == weight) {
            place.weights.remove(position);
        }
        let index = place.index;
        match place.weights.first() {
            Some(weight) => {
                let targets = TargetSet::One(target.clone(), 1);
                self.ring.insert(index, targets, *weight);
            }
            None => {
                self.ring.remove(&index);
                self.places.remove_mut(&binding.destination);
            }
        }
    }

    fn clear(&mut self) {
        self.ring = RankedTree::default();
        self.places = PersistentMap::default();
    }

    fn route<'a>(
        &'a self,
        message: &mut RoutedMessage<'_>,
        matched: &mut dyn FnMut(&'a TargetSet),
    ) {
        let buckets = self.ring.total();
        if buckets == 0 {
            return;
        }
        let bucket = bucket(self.hash_on.key(message), buckets);
        self.ring.at(bucket).into_iter().for_each(matched);
    }

    fn order(&self, binding: &Binding) -> (u64, usize) {
        let weight = weight_of(binding);
        let place = self.places.get(&binding.destination);
        place.map_or((0, 0), |place| {
            let position = place.weights.iter().position(|known| *known == weight);
            (place.index, position.unwrap_or_default())
        })
    }
}

impl HashOn {
    fn parse(arguments: &Arguments) -> Result<Self, Error> {
        let header = text_argument(arguments, HASH_HEADER)?;
        let property = text_argument(arguments, HASH_PROPERTY)?;
        match (header, property) {
            (None, None) => Ok(Self::RoutingKey),
            (Some(header), None) => Ok(Self::Header(header.into())),
            (None, Some("message_id")) => Ok(Self::Property(HashProperty::MessageId)),
            (None, Some("correlation_id")) => Ok(Self::Property(HashProperty::CorrelationId)),
            (None, Some("timestamp")) => Ok(Self::Property(HashProperty::Timestamp)),
            (None, Some(other)) => Err(Error::Precondition(
                format!("Unsupported property: {other}").into(),
            )),
            (Some(_), Some(_)) => Err(Error::Precondition(
                "hash-header and hash-property are mutually exclusive".into(),
            )),
        }
    }

    /// The number that decides over the bucket.
    fn key(&self, message: &mut RoutedMessage<'_>) -> i64 {
        i64::from(match self {
            Self::RoutingKey => message.routing_keys.first().map_or(0, |key| phash2(key)),
            Self::Property(property) => message
                .property(*property)
                .map_or(erlang_hash::UNDEFINED, |text| phash2(&text)),
            Self::Header(name) => match message.headers().get(name) {
                None | Some(Value::Void) => erlang_hash::UNDEFINED,
                Some(Value::Bool(true)) => erlang_hash::TRUE,
                Some(Value::Bool(false)) => erlang_hash::FALSE,
                Some(Value::LongStr(bytes) | Value::Binary(bytes)) => phash2(bytes),
                Some(Value::Float(value)) => phash2_float(f64::from(*value)),
                Some(Value::Double(value)) => phash2_float(*value),
                // Numbers are not hashed.
                Some(Value::Int(_, value)) => return *value,
                Some(Value::Timestamp(seconds)) => return seconds.wrapping_mul(1000) as i64,
                Some(other @ (Value::Decimal(..) | Value::Array(_) | Value::Table(_))) => {
                    let mut bytes = Vec::new();
                    encode_value(&mut bytes, other);
                    phash2(&bytes)
                }
            },
        })
    }
}

/// Compat: RabbitMQ ends the connection with an internal error if the argument is no text.
fn text_argument<'a>(arguments: &'a Arguments, key: &str) -> Result<Option<&'a str>, Error> {
    let Some(value) = arguments.get(key) else {
        return Ok(None);
    };
    value.as_str().map(Some).ok_or_else(|| {
        let (found, value) = (value.type_name(), value_text(value));
        let text = format!("invalid arg '{key}': expected longstr, got {found} {value}");
        Error::Precondition(text.into())
    })
}

/// The weight of a binding that was checked.
fn weight_of(binding: &Binding) -> u64 {
    parse_weight(&binding.binding_key).unwrap_or(1)
}

/// The weight in a binding key, written as an Erlang integer.
fn parse_weight(key: &[u8]) -> Result<u64, Error> {
    let (negative, digits) = match key {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        let text = format!("The binding key must be an integer: {}", erlang_binary(key));
        return Err(Error::Precondition(text.into()));
    }
    let value = digits.iter().fold(0_u64, |value, digit| {
        value
            .saturating_mul(10)
            .saturating_add(u64::from(digit - b'0'))
    });
    if negative || value == 0 {
        let text = "The binding key must be greater than 0";
        return Err(Error::Precondition(text.into()));
    }
    if value > WEIGHT_MAX {
        let text = format!("The binding key must not exceed {WEIGHT_MAX}");
        return Err(Error::Precondition(text.into()));
    }
    Ok(value)
}
