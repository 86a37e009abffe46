//! The keys that a policy may hold: one table.
//!
//! Names and error texts are RabbitMQ's (RabbitMQ docs: parameters#policies). Keys of queue types that this node does not offer are
//! known all the same, since they apply to nothing here; keys of features that it does not offer are not.

use super::{Effective, PolicyScope};
use crate::delay::DELAYED_PUBLISH;
use crate::delayed_retry::RetryType;
use crate::json::{Json, Map, erlang_pairs, erlang_term};
use crate::queue_arguments::{
    DEDUPLICATION_IDS_MAX, EXPIRY_MS_MAX, Overflow, QueueArguments, QueueType,
};
use crate::schema;
use crate::sharding;
use crate::value::{Arguments, Value};
use bytes::Bytes;

/// Largest `stream-max-segment-size-bytes`.
const SEGMENT_BYTES_MAX: i64 = 3_000_000_000;

/// One key.
struct Key {
    name: &'static str,
    /// What the text says that a wrong value is not.
    meaning: &'static str,
    accepts: fn(&Json) -> bool,
    /// Which value counts when both kinds of policy have one. `None`: operator policies may not have it.
    operator: Option<Merge>,
    /// A policy with this key applies to no queue of these types, whatever else it says.
    unsuited: &'static [Kind],
    /// Makes the value part of the settings of a queue.
    apply: fn(&mut Target<'_>, &Json),
}

/// A queue whose settings are worked out.
pub(super) struct Target<'a> {
    /// What its arguments ask for, and more and more of the policies.
    pub(super) settings: &'a mut QueueArguments,
    /// The arguments as given.
    pub(super) arguments: &'a Arguments,
}

impl Target<'_> {
    /// Sets what has no argument.
    fn absent(&mut self, argument: &str, set: impl FnOnce(&mut QueueArguments)) {
        if self.arguments.get(argument).is_none() {
            set(self.settings);
        }
    }
}

/// Which of two values counts: the policy's or the operator policy's.
#[derive(Clone, Copy)]
enum Merge {
    Smaller,
    Larger,
    Operators,
    /// Smaller, but a negative value is no limit.
    DeliveryLimit,
}

/// Queue types as the table names them.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Classic,
    Quorum,
    Stream,
}

impl From<QueueType> for Kind {
    fn from(queue_type: QueueType) -> Self {
        match queue_type {
            QueueType::Classic => Self::Classic,
            QueueType::Quorum => Self::Quorum,
        }
    }
}

use Kind::{Classic, Quorum, Stream};
use Merge::{DeliveryLimit, Larger, Operators, Smaller};

macro_rules! key {
    ($name:literal, $meaning:literal, $accepts:expr, $operator:expr, $unsuited:expr, $apply:expr) => {
        Key {
            name: $name,
            meaning: $meaning,
            accepts: $accepts,
            operator: $operator,
            unsuited: $unsuited,
            apply: $apply,
        }
    };
}

/// All keys.
#[rustfmt::skip]
static KEYS: &[Key] = &[
    // name, what it must be, values, merging with an operator policy, types it keeps a policy away from, effect on queues
    key!("alternate-exchange", "alternate exchange name", text, None, &[], no_effect),
    key!("consumer-disconnected-timeout", "consumer disconnected timeout", natural, None, &[], no_effect),
    key!("consumer-timeout", "consumer timeout", natural, None, &[], |queue, value| lower(&mut queue.settings.consumer_timeout_ms, value)),
    key!("dead-letter-exchange", "dead letter exchange name", text, None, &[Stream], dead_letter_exchange),
    key!("dead-letter-routing-key", "dead letter routing key", text, None, &[Stream], dead_letter_routing_key),
    key!("dead-letter-strategy", "dead letter strategy", dead_letter_strategy, None, &[Classic, Stream], strategy),
    key!("deduplication-cache-size", "number of message ids", |value| in_range(value, 1, DEDUPLICATION_IDS_MAX), None, &[Stream], |queue, value| queue.absent("x-cache-size", |settings| settings.deduplication.ids_max = value.as_u64())),
    key!("deduplication-cache-ttl", "time that message ids are known", |value| in_range(value, 1, EXPIRY_MS_MAX), None, &[Stream], |queue, value| queue.absent("x-cache-ttl", |settings| settings.deduplication.window_ms = value.as_u64())),
    key!("delayed-publish", "delayed publish value. Must be true or false", Json::is_boolean, None, &[], delayed_publish),
    key!("delayed-retry-jitter", "delayed retry jitter. Valid range is 0-100", |value| in_range(value, 0, 100), None, &[], delayed_retry_jitter),
    key!("delayed-retry-limit", "delayed retry limit", integer, None, &[], delayed_retry_limit),
    key!("delayed-retry-max", "delayed retry maximum delay. Must be a positive integer", positive, Some(Smaller), &[], delayed_retry_max),
    key!("delayed-retry-min", "delayed retry minimum delay. Must be a positive integer", positive, Some(Larger), &[], delayed_retry_min),
    key!("delayed-retry-multiplier", "delayed retry multiplier. Must be a positive integer", positive, None, &[], delayed_retry_multiplier),
    key!("delayed-retry-type", "delayed retry type. Must be one of: all, failed, returned, disabled", retry_type, Some(Operators), &[], delayed_retry_type),
    key!("delivery-limit", "delivery limit", integer, Some(DeliveryLimit), &[Classic, Stream], delivery_limit),
    key!("expires", "queue expiry", positive, Some(Smaller), &[Stream], |queue, value| lower_time(&mut queue.settings.expires_ms, value)),
    key!("initial-cluster-size", "cluster size", natural, None, &[Classic, Quorum], no_effect),
    key!("max-age", "max age", age, None, &[Classic, Quorum], no_effect),
    key!("max-in-memory-bytes", "maximum memory in bytes", natural, Some(Smaller), &[Classic, Stream], no_effect),
    key!("max-in-memory-length", "maximum memory in bytes", natural, Some(Smaller), &[Classic, Stream], no_effect),
    key!("max-length", "maximum length", natural, Some(Smaller), &[Stream], |queue, value| lower(&mut queue.settings.max_length, value)),
    key!("max-length-bytes", "maximum length in bytes", natural, Some(Smaller), &[], |queue, value| lower(&mut queue.settings.max_length_bytes, value)),
    key!("merge", "merge value. Must be true or false", Json::is_boolean, None, &[], no_effect),
    key!("message-deduplication", "switch of message deduplication", Json::is_boolean, None, &[Stream], |queue, value| queue.absent("x-message-deduplication", |settings| settings.deduplication.enabled = value.as_bool() == Some(true))),
    key!("message-ttl", "message TTL", natural, Some(Smaller), &[Stream], |queue, value| lower_time(&mut queue.settings.message_ttl_ms, value)),
    key!("overflow", "overflow value", |value| overflow_of(value).is_some(), Some(Operators), &[Stream], overflow),
    key!("queue-leader-locator", "queue leader locator value", leader_locator, None, &[], no_effect),
    key!("queue-mode", "queue-mode value", queue_mode, None, &[Quorum, Stream], no_effect),
    key!("queue-version", "queue-version value", queue_version, Some(Operators), &[], no_effect),
    key!("replay-window-bytes", "size of the replay window", positive, Some(Smaller), &[Stream], |queue, value| lower(&mut queue.settings.replay_window.bytes, value)),
    key!("replay-window-ms", "time of the replay window", |value| in_range(value, 1, EXPIRY_MS_MAX), Some(Smaller), &[Stream], |queue, value| lower(&mut queue.settings.replay_window.ms, value)),
    key!("routing-key", "routing key", |_| true, None, &[], no_effect),
    key!("schema", "schema", |_| true, None, &[], no_effect),
    key!("schema-action", "schema action. Must be one of: reject, dead-letter", |value| one_of(value, &["reject", "dead-letter"]), None, &[], no_effect),
    key!("schema-dead-letter-exchange", "schema dead letter exchange name", text, None, &[], no_effect),
    key!("schema-parameter", "schema parameter name", text, None, &[], no_effect),
    key!("shards-per-node", "number of shards", |_| true, None, &[], no_effect),
    key!("stream-filter-size-bytes", "filter size. Valid range is 16-255", |value| in_range(value, 16, 255), None, &[], no_effect),
    key!("stream-max-segment-size-bytes", "segment size", |value| in_range(value, 0, SEGMENT_BYTES_MAX), None, &[Classic, Quorum], no_effect),
    key!("target-group-size", "qq target count value", positive, Some(Larger), &[Classic, Stream], no_effect),
    key!("trace-sample-rate", "trace sample rate. Must be a number from 0 to 1", rate, Some(Operators), &[], no_effect),
];

fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// Checks a definition. The error is the text without RabbitMQ's introduction.
pub(super) fn check(scope: PolicyScope, definition: &Map<String, Json>) -> Result<(), String> {
    if definition.is_empty() {
        return Err("no policy provided".to_owned());
    }
    // RabbitMQ knows this one well enough to refuse it by name.
    if definition.contains_key("queue-master-locator") {
        return Err("use of deprecated queue-master-locator argument is not permitted".to_owned());
    }
    let known =
        |name: &str| find(name).filter(|key| scope == PolicyScope::User || key.operator.is_some());
    for (name, value) in definition {
        if let Some(key) = known(name)
            && !(key.accepts)(value)
        {
            let (value, meaning) = (erlang_term(value), key.meaning);
            return Err(format!("{value} is not a valid {meaning}"));
        }
    }
    check_delayed_retry(definition)?;
    if scope == PolicyScope::User {
        schema::check_definition(definition)?;
        sharding::check_definition(definition)?;
    }
    if definition.keys().all(|name| known(name).is_some()) {
        return Ok(());
    }
    let unknown = definition.iter().filter(|(name, _)| known(name).is_none());
    Err(format!(
        "{} are not recognised policy settings",
        erlang_pairs(unknown)
    ))
}

/// The three keys of delayed retries have to agree.
fn check_delayed_retry(definition: &Map<String, Json>) -> Result<(), String> {
    let delay = |name| definition.get(name).and_then(Json::as_i64);
    let (min, max) = (delay("delayed-retry-min"), delay("delayed-retry-max"));
    match definition.get("delayed-retry-type").and_then(Json::as_str) {
        Some(retry_type) if retry_type != "disabled" && min.is_none() => {
            return Err(format!(
                "delayed-retry-min is required when delayed-retry-type is {retry_type}"
            ));
        }
        Some(_) | None => {}
    }
    match (min, max) {
        (Some(min), Some(max)) if max < min => Err(format!(
            "delayed-retry-max ({max}) must not be smaller than delayed-retry-min ({min})"
        )),
        _ => Ok(()),
    }
}

/// Whether a policy that says this may apply to queues of a type.
pub(super) fn suit(definition: &Map<String, Json>, queue_type: QueueType) -> bool {
    let kind = Kind::from(queue_type);
    definition
        .keys()
        .all(|name| find(name).is_none_or(|key| !key.unsuited.contains(&kind)))
}

/// The value that counts.
pub(super) fn merge<'a>(name: &str, own: &'a Json, operators: &'a Json) -> &'a Json {
    let strategy = find(name).and_then(|key| key.operator).unwrap_or(Operators);
    let [left, right] = [own, operators].map(|value| value.as_i64().unwrap_or(i64::MAX));
    let own_counts = match strategy {
        Operators => false,
        Smaller => left < right,
        Larger => left > right,
        DeliveryLimit if left < 0 || right < 0 => left > right,
        DeliveryLimit => left < right,
    };
    if own_counts { own } else { operators }
}

/// Makes what the policies say part of a queue's settings.
pub(super) fn apply(effective: &Effective<'_>, target: &mut Target<'_>) {
    for key in KEYS {
        if let Some(value) = effective.get(key.name) {
            (key.apply)(target, value);
        }
    }
}

// Values.

fn text(value: &Json) -> bool {
    value.is_string()
}

fn integer(value: &Json) -> bool {
    value.is_i64() || value.is_u64()
}

fn natural(value: &Json) -> bool {
    value.is_u64()
}

fn positive(value: &Json) -> bool {
    value.as_u64().is_some_and(|number| number > 0)
}

fn in_range(value: &Json, min: i64, max: i64) -> bool {
    value
        .as_i64()
        .is_some_and(|number| (min..=max).contains(&number))
}

fn rate(value: &Json) -> bool {
    value
        .as_f64()
        .is_some_and(|number| (0.0..=1.0).contains(&number))
}

fn one_of(value: &Json, allowed: &[&str]) -> bool {
    value.as_str().is_some_and(|text| allowed.contains(&text))
}

fn dead_letter_strategy(value: &Json) -> bool {
    one_of(value, &["at-most-once", "at-least-once"])
}

fn retry_type(value: &Json) -> bool {
    one_of(value, &["all", "failed", "returned", "disabled"])
}

fn leader_locator(value: &Json) -> bool {
    one_of(
        value,
        &["client-local", "balanced", "random", "least-leaders"],
    )
}

fn queue_mode(value: &Json) -> bool {
    one_of(value, &["default", "lazy"])
}

fn queue_version(value: &Json) -> bool {
    in_range(value, 1, 2)
}

/// A number above 0 and a unit.
fn age(value: &Json) -> bool {
    let Some(text) = value.as_str() else {
        return false;
    };
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    number.bytes().any(|digit| digit != b'0') && ["Y", "M", "D", "h", "m", "s"].contains(&unit)
}

fn overflow_of(value: &Json) -> Option<Overflow> {
    match value.as_str()? {
        "drop-head" => Some(Overflow::DropHead),
        "reject-publish" => Some(Overflow::RejectPublish),
        "reject-publish-dlx" => Some(Overflow::RejectPublishDlx),
        _ => None,
    }
}

// Effects.

/// The key is not about queues, or about what no queue here has.
fn no_effect(_queue: &mut Target<'_>, _value: &Json) {}

/// The smaller of argument and policy.
fn lower(setting: &mut Option<u64>, value: &Json) {
    if let Some(value) = value.as_u64() {
        *setting = Some(setting.map_or(value, |argument| argument.min(value)));
    }
}

/// The same for milliseconds. An argument has an upper bound and a policy has none, but nobody sees the difference after it.
fn lower_time(setting: &mut Option<u64>, value: &Json) {
    lower(setting, value);
    *setting = setting.map(|time_ms| time_ms.min(EXPIRY_MS_MAX.unsigned_abs()));
}

/// The argument, if there is one.
fn delayed_publish(queue: &mut Target<'_>, value: &Json) {
    if queue.arguments.get(DELAYED_PUBLISH).is_none() {
        queue.settings.delayed_publish = value.as_bool() == Some(true);
    }
}

fn is_quorum(queue: &Target<'_>) -> bool {
    queue.settings.queue_type == QueueType::Quorum
}

/// The argument of a classic queue, if there is one; so for all keys of delayed retries. Of a quorum queue the policy's type and the
/// smaller wait hold, as in RabbitMQ.
fn delayed_retry_type(queue: &mut Target<'_>, value: &Json) {
    let is_free = queue.arguments.get("x-delayed-retry-type").is_none();
    if (is_quorum(queue) || is_free)
        && let Some(retry_type) = value.as_str().and_then(RetryType::parse)
    {
        queue.settings.delayed_retry.retry_type = retry_type;
    }
}

fn delayed_retry_min(queue: &mut Target<'_>, value: &Json) {
    let lowers = is_quorum(queue);
    let setting = &mut queue.settings.delayed_retry.min_ms;
    if lowers {
        return lower(setting, value);
    }
    *setting = setting.or(value.as_u64());
}

fn delayed_retry_max(queue: &mut Target<'_>, value: &Json) {
    let lowers = is_quorum(queue);
    let setting = &mut queue.settings.delayed_retry.max_ms;
    if lowers {
        return lower(setting, value);
    }
    *setting = setting.or(value.as_u64());
}

fn delayed_retry_multiplier(queue: &mut Target<'_>, value: &Json) {
    let setting = &mut queue.settings.delayed_retry.multiplier;
    *setting = setting.or(value.as_u64());
}

fn delayed_retry_jitter(queue: &mut Target<'_>, value: &Json) {
    if queue.arguments.get("x-delayed-retry-jitter").is_none() {
        queue.settings.delayed_retry.jitter_percent = value.as_u64().unwrap_or(0);
    }
}

/// Below 0 there is no limit.
fn delayed_retry_limit(queue: &mut Target<'_>, value: &Json) {
    let setting = &mut queue.settings.delayed_retry.limit;
    *setting = setting.or(Some(value.as_u64().unwrap_or(u64::MAX)));
}

/// The argument, if there is one.
fn dead_letter_exchange(queue: &mut Target<'_>, value: &Json) {
    if let (None, Some(name)) = (&queue.settings.dead_letter_exchange, value.as_str()) {
        queue.settings.dead_letter_exchange = Some(name.into());
    }
}

/// The argument, if there is one.
fn dead_letter_routing_key(queue: &mut Target<'_>, value: &Json) {
    if let (None, Some(key)) = (&queue.settings.dead_letter_routing_key, value.as_str()) {
        queue.settings.dead_letter_routing_key = Some(Bytes::copy_from_slice(key.as_bytes()));
    }
}

/// The argument, if there is one.
fn overflow(queue: &mut Target<'_>, value: &Json) {
    if queue.arguments.get("x-overflow").is_none()
        && let Some(overflow) = overflow_of(value)
    {
        queue.settings.overflow = overflow.of(queue.settings.queue_type);
    }
}

/// The argument, if there is one.
fn strategy(queue: &mut Target<'_>, value: &Json) {
    if queue.arguments.get("x-dead-letter-strategy").is_none() {
        queue.settings.dead_letter_at_least_once = value.as_str() == Some("at-least-once");
    }
}

/// The smaller of argument and policy, where a negative one is no limit and loses to nothing.
fn delivery_limit(queue: &mut Target<'_>, value: &Json) {
    let Some(value) = value.as_i64() else { return };
    let argument = queue.arguments.get("x-delivery-limit");
    let limit = match argument.and_then(Value::as_int) {
        Some(argument) if argument < 0 || value < 0 => argument.max(value),
        Some(argument) => argument.min(value),
        None => value,
    };
    queue.settings.delivery_limit = u64::try_from(limit).ok();
}
