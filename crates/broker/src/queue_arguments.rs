//! Arguments of `queue.declare`: which are known, what they may hold, and when two declarations mean the same queue.
//!
//! [`QueueArguments`] is what a queue machine works with: parsed once, when the queue is created. The arguments as given are kept
//! beside it in the queue's record, for listings and for the comparison with later declarations.
//! Policies are not merged here, and arguments that no queue type knows pass unread, as in RabbitMQ.
//!
//! Error texts are RabbitMQ's (RabbitMQ docs: queues#optional-arguments).

use crate::Error;
use crate::delay::DELAYED_PUBLISH;
use crate::delayed_retry::{DelayedRetry, RETRY_MS_MAX, RetryType};
use crate::error::ResourceKind;
use crate::value::{Arguments, Value};
use base::Name;
use bytes::Bytes;
use std::sync::Arc;

/// Longest `x-message-ttl` and `x-expires`, milliseconds: ten years.
pub const EXPIRY_MS_MAX: i64 = 315_360_000_000;

/// Largest `x-max-priority`.
pub const PRIORITY_MAX: i64 = 255;

/// What a queue's arguments ask of its machine.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct QueueArguments {
    /// `x-message-ttl`: milliseconds that a message may wait, 0–[`EXPIRY_MS_MAX`].
    pub message_ttl_ms: Option<u64>,
    /// `x-expires`: milliseconds without use after which the queue is deleted, 1–[`EXPIRY_MS_MAX`].
    pub expires_ms: Option<u64>,
    /// `x-max-length`: ready messages.
    pub max_length: Option<u64>,
    /// `x-max-length-bytes`: bytes of ready message bodies.
    pub max_length_bytes: Option<u64>,
    /// `x-overflow`: what happens at a length limit.
    pub overflow: Overflow,
    /// `x-dead-letter-exchange`; empty for the default exchange. It need not exist.
    pub dead_letter_exchange: Option<Name>,
    /// `x-dead-letter-routing-key`, instead of the message's own keys.
    pub dead_letter_routing_key: Option<Bytes>,
    /// `x-max-priority`: highest priority that is told apart; `None` for a queue without priorities.
    pub max_priority: Option<u8>,
    /// `x-single-active-consumer`
    pub single_active_consumer: bool,
    /// `x-delivery-limit`: a message that was tried and failed more often than this dies; `None` for no limit. Only quorum queues
    /// count.
    pub delivery_limit: Option<u64>,
    /// `x-dead-letter-strategy` is `at-least-once`; see [`QueueArguments::keeps_dead_letters`].
    pub dead_letter_at_least_once: bool,
    /// `x-consumer-timeout`: milliseconds that a consumer may keep a message; `None` for the node's default.
    pub consumer_timeout_ms: Option<u64>,
    /// `x-delayed-publish`: messages that ask for it wait before they enter, see [`crate::delay`].
    pub delayed_publish: bool,
    /// `x-delayed-retry-*`
    pub delayed_retry: DelayedRetry,
    /// `x-queue-type`
    pub queue_type: QueueType,
    /// `x-message-deduplication` and what belongs to it.
    pub deduplication: Deduplication,
    /// Exchanges of the vhost whose messages enter once; `None` for none.
    pub deduplicating: Option<Arc<[DeduplicatingExchange]>>,
    /// `x-replay-window-*`
    pub replay_window: ReplayWindow,
}

/// How long, or up to which size, a queue keeps what consumers have settled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplayWindow {
    /// `x-replay-window-ms`: milliseconds, 1–[`EXPIRY_MS_MAX`]; `None` for no limit of time.
    pub ms: Option<u64>,
    /// `x-replay-window-bytes`: bytes of bodies, at least 1; `None` for no limit of size.
    pub bytes: Option<u64>,
}

impl ReplayWindow {
    /// Whether anything is kept.
    pub fn is_on(&self) -> bool {
        self.ms.is_some() || self.bytes.is_some()
    }
}

/// An exchange whose messages a queue takes once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeduplicatingExchange {
    /// Where they are published.
    pub exchange: Name,
    /// How many ids are known, and for how long; `None` until others take their place.
    pub deduplication: Deduplication,
}

/// Whether and how a queue drops messages whose id it knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deduplication {
    /// `x-message-deduplication`
    pub enabled: bool,
    /// `x-cache-size`, 1–[`DEDUPLICATION_IDS_MAX`]; see [`Deduplication::ids_max`].
    pub ids_max: Option<u64>,
    /// `x-cache-ttl`: milliseconds that an id is known. `None`: while its message is in the queue.
    pub window_ms: Option<u64>,
}

/// Largest number of ids that one queue remembers.
pub const DEDUPLICATION_IDS_MAX: i64 = 1_000_000;

/// Ids that a queue remembers when it does not say how many.
pub const DEDUPLICATION_IDS_DEFAULT: u64 = 100_000;

impl Deduplication {
    /// How many ids are remembered; beyond that the oldest are forgotten.
    pub fn ids_max(&self) -> u64 {
        self.ids_max.unwrap_or(DEDUPLICATION_IDS_DEFAULT)
    }
}

/// What a queue does with a message that does not fit (RabbitMQ docs: maxlength#overflow-behaviour).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    /// Drop or dead-letter the oldest ready messages.
    #[default]
    DropHead,
    /// Refuse the new one with a nack.
    RejectPublish,
    /// Refuse the new one and dead-letter it.
    RejectPublishDlx,
}

/// The kinds of queue that this node offers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum QueueType {
    /// One copy, on one node.
    #[default]
    Classic,
    /// Durable and shared by all connections; counts deliveries and has priorities without being told. One copy as well, so far.
    Quorum,
}

impl QueueType {
    /// The value of `x-queue-type`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Classic => "classic",
            Self::Quorum => "quorum",
        }
    }

    /// What error texts call it: RabbitMQ's module.
    pub fn module(self) -> &'static str {
        match self {
            Self::Classic => "rabbit_classic_queue",
            Self::Quorum => "rabbit_quorum_queue",
        }
    }

    /// The arguments that it understands, in the order in which declarations are compared.
    fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Classic => &CLASSIC,
            Self::Quorum => &QUORUM,
        }
    }

    /// Checks that a queue of this type can be what is asked for.
    ///
    /// # Errors
    /// `Precondition`: quorum queues have a name of their own, are durable, shared, and stay when nobody consumes.
    pub fn check_properties(
        self,
        name: &Name,
        vhost: &Name,
        asked: AskedProperties,
    ) -> Result<(), Error> {
        if self == Self::Classic {
            return Ok(());
        }
        if asked.server_named {
            let module = self.module();
            return Err(Error::Precondition(
                format!("Cannot declare a server-named queue for type {module}").into(),
            ));
        }
        let unfit = [
            (asked.auto_delete, "auto-delete"),
            (asked.exclusive, "exclusive-owner"),
            (!asked.durable, "non-durable"),
        ];
        match unfit.into_iter().find(|(is_unfit, _)| *is_unfit) {
            None => Ok(()),
            Some((_, property)) => Err(Error::Precondition(
                format!("invalid property '{property}' for queue '{name}' in vhost '{vhost}'")
                    .into(),
            )),
        }
    }
}

/// What a declaration says beside its arguments.
#[derive(Clone, Copy, Debug)]
pub struct AskedProperties {
    /// Survives a restart.
    pub durable: bool,
    /// For one connection only.
    pub exclusive: bool,
    /// Goes with its last consumer.
    pub auto_delete: bool,
    /// The server chooses the name.
    pub server_named: bool,
}

/// `x-delivery-limit` of a quorum queue that does not say.
const DELIVERY_LIMIT_DEFAULT: u64 = 20;

/// Arguments that a classic queue understands, in the order in which declarations are compared.
const CLASSIC: [&str; 21] = [
    "x-expires",
    "x-message-ttl",
    "x-dead-letter-exchange",
    "x-dead-letter-routing-key",
    "x-max-length",
    "x-max-length-bytes",
    "x-max-priority",
    "x-overflow",
    "x-queue-mode",
    "x-queue-version",
    "x-single-active-consumer",
    DELAYED_PUBLISH,
    "x-delayed-retry-type",
    "x-delayed-retry-min",
    "x-delayed-retry-max",
    "x-delayed-retry-multiplier",
    "x-delayed-retry-jitter",
    "x-delayed-retry-limit",
    "x-queue-type",
    "x-queue-master-locator",
    "x-queue-leader-locator",
];

/// Arguments that a quorum queue understands, in the order in which declarations are compared.
const QUORUM: [&str; 21] = [
    "x-dead-letter-exchange",
    "x-dead-letter-routing-key",
    "x-dead-letter-strategy",
    "x-expires",
    "x-max-length",
    "x-max-length-bytes",
    "x-max-in-memory-length",
    "x-max-in-memory-bytes",
    "x-overflow",
    "x-single-active-consumer",
    DELAYED_PUBLISH,
    "x-queue-type",
    "x-quorum-initial-group-size",
    "x-delivery-limit",
    "x-message-ttl",
    "x-queue-leader-locator",
    "x-consumer-timeout",
    "x-consumer-disconnected-timeout",
    "x-delayed-retry-type",
    "x-delayed-retry-min",
    "x-delayed-retry-max",
];

/// Arguments that only streams understand.
const STREAM: [&str; 4] = [
    "x-initial-cluster-size",
    "x-max-age",
    "x-stream-filter-size-bytes",
    "x-stream-max-segment-size-bytes",
];

impl Overflow {
    /// Compat: a quorum queue takes the one that it does not know for the default.
    pub(crate) fn of(self, queue_type: QueueType) -> Self {
        match (queue_type, self) {
            (QueueType::Quorum, Self::RejectPublishDlx) => Self::DropHead,
            (QueueType::Quorum | QueueType::Classic, overflow) => overflow,
        }
    }
}

impl QueueArguments {
    /// Whether a message that died stays until all queues that it goes to have it.
    /// Compat: with another overflow the strategy falls back to at most once without a word.
    pub fn keeps_dead_letters(&self) -> bool {
        self.dead_letter_at_least_once
            && self.overflow == Overflow::RejectPublish
            && self.dead_letter_exchange.is_some()
    }

    /// Reads and checks the arguments of a queue that is to be created.
    ///
    /// # Errors
    /// `Precondition` with RabbitMQ's text for the first argument that breaks a rule, `NotImplemented` for a queue type that this
    /// node does not offer, `Deprecated` for `x-queue-master-locator`.
    pub fn parse(arguments: &Arguments, name: &Name, vhost: &Name) -> Result<Self, Error> {
        if arguments.is_empty() {
            return Ok(Self::default());
        }
        let reader = Reader {
            arguments,
            name,
            vhost,
        };
        let queue_type = reader.queue_type()?;
        let overflow = reader.overflow()?;
        let parsed = Self {
            expires_ms: reader.integer("x-expires", 1, EXPIRY_MS_MAX)?,
            message_ttl_ms: reader.integer("x-message-ttl", 0, EXPIRY_MS_MAX)?,
            dead_letter_exchange: reader.dead_letter_exchange()?,
            dead_letter_routing_key: reader.dead_letter_routing_key()?,
            max_length: reader.integer("x-max-length", 0, i64::MAX)?,
            max_length_bytes: reader.integer("x-max-length-bytes", 0, i64::MAX)?,
            max_priority: reader.max_priority()?,
            overflow: overflow.of(queue_type),
            single_active_consumer: reader.boolean("x-single-active-consumer")?,
            delivery_limit: reader.delivery_limit(queue_type),
            dead_letter_at_least_once: reader.dead_letter_at_least_once()?,
            consumer_timeout_ms: reader.integer("x-consumer-timeout", 0, i64::MAX)?,
            delayed_publish: reader.boolean(DELAYED_PUBLISH)?,
            delayed_retry: reader.delayed_retry(queue_type)?,
            queue_type,
            deduplication: Deduplication {
                enabled: reader.boolean("x-message-deduplication")?,
                ids_max: reader.integer("x-cache-size", 1, DEDUPLICATION_IDS_MAX)?,
                window_ms: reader.integer("x-cache-ttl", 1, EXPIRY_MS_MAX)?,
            },
            deduplicating: None,
            replay_window: ReplayWindow {
                ms: reader.integer("x-replay-window-ms", 1, EXPIRY_MS_MAX)?,
                bytes: reader.integer("x-replay-window-bytes", 1, i64::MAX)?,
            },
        };
        reader.check_placement_and_version()?;
        reader.check_group()?;
        reader.check_other_types(queue_type)?;
        Ok(parsed)
    }
}

/// The arguments of one declaration with what its error texts name.
struct Reader<'a> {
    arguments: &'a Arguments,
    name: &'a Name,
    vhost: &'a Name,
}

impl Reader<'_> {
    fn invalid(&self, key: &str, explanation: impl std::fmt::Display) -> Error {
        let Self { name, vhost, .. } = self;
        Error::Precondition(
            format!("invalid arg '{key}' for queue '{name}' in vhost '{vhost}': {explanation}")
                .into(),
        )
    }

    fn unacceptable_type(&self, key: &str, value: &Value) -> Error {
        self.invalid(
            key,
            format_args!("{{unacceptable_type,{}}}", value.type_name()),
        )
    }

    /// An integer of any width in `min..=max`, where `min` is 0 or 1.
    fn integer(&self, key: &str, min: i64, max: i64) -> Result<Option<u64>, Error> {
        let Some(value) = self.arguments.get(key) else {
            return Ok(None);
        };
        let Some(number) = value.as_int() else {
            return Err(self.invalid(
                key,
                format_args!("\"expected integer, got {}\"", value.type_name()),
            ));
        };
        let problem = match number {
            ..0 => "value_negative",
            0 if min > 0 => "value_zero",
            _ if number > max => "value_too_large",
            _ => return Ok(Some(number.unsigned_abs())),
        };
        Err(self.invalid(key, format_args!("{{{problem},{number}}}")))
    }

    fn boolean(&self, key: &str) -> Result<bool, Error> {
        match self.arguments.get(key) {
            None => Ok(false),
            Some(Value::Bool(value)) => Ok(*value),
            Some(value) => Err(self.unacceptable_type(key, value)),
        }
    }

    fn text(&self, key: &str) -> Result<Option<&Bytes>, Error> {
        match self.arguments.get(key) {
            None => Ok(None),
            Some(Value::LongStr(text)) => Ok(Some(text)),
            Some(value) => Err(self.unacceptable_type(key, value)),
        }
    }

    fn queue_type(&self) -> Result<QueueType, Error> {
        let Some(text) = self.text("x-queue-type")? else {
            return Ok(QueueType::Classic);
        };
        match &text[..] {
            b"" | b"classic" => Ok(QueueType::Classic),
            b"quorum" => Ok(QueueType::Quorum),
            b"stream" => {
                let text = String::from_utf8_lossy(text);
                Err(Error::NotImplemented(
                    format!("queue type '{text}' is not available on this node").into(),
                ))
            }
            other => {
                let other = String::from_utf8_lossy(other);
                Err(self.invalid(
                    "x-queue-type",
                    format_args!("\"unsupported queue type '{other}'\""),
                ))
            }
        }
    }

    fn dead_letter_exchange(&self) -> Result<Option<Name>, Error> {
        let key = "x-dead-letter-exchange";
        let Some(value) = self.arguments.get(key) else {
            return Ok(None);
        };
        let Self { name, vhost, .. } = self;
        let Value::LongStr(bytes) = value else {
            let found = value.type_name();
            let text = format!(
                "invalid type '{found}' for arg '{key}' in queue '{name}' in vhost '{vhost}'"
            );
            return Err(Error::Precondition(text.into()));
        };
        // No exchange has a name that is not UTF-8, so such a value can only be a mistake.
        let exchange = std::str::from_utf8(bytes).map_err(|_| self.invalid(key, "invalid_utf8"))?;
        Ok(Some(exchange.into()))
    }

    fn dead_letter_routing_key(&self) -> Result<Option<Bytes>, Error> {
        let key = "x-dead-letter-routing-key";
        let Some(text) = self.text(key)? else {
            return Ok(None);
        };
        if self.arguments.get("x-dead-letter-exchange").is_none() {
            return Err(self.invalid(key, "routing_key_but_no_dlx_defined"));
        }
        Ok(Some(text.clone()))
    }

    fn max_priority(&self) -> Result<Option<u8>, Error> {
        let key = "x-max-priority";
        let Some(number) = self.integer(key, 0, i64::MAX)? else {
            return Ok(None);
        };
        let priority = u8::try_from(number)
            .map_err(|_| self.invalid(key, format_args!("{{max_value_exceeded,{number}}}")))?;
        Ok(Some(priority))
    }

    fn overflow(&self) -> Result<Overflow, Error> {
        let key = "x-overflow";
        let Some(text) = self.text(key)? else {
            return Ok(Overflow::default());
        };
        match &text[..] {
            b"drop-head" => Ok(Overflow::DropHead),
            b"reject-publish" => Ok(Overflow::RejectPublish),
            b"reject-publish-dlx" => Ok(Overflow::RejectPublishDlx),
            _ => Err(self.invalid(key, "invalid_overflow")),
        }
    }

    fn delayed_retry(&self, queue_type: QueueType) -> Result<DelayedRetry, Error> {
        if queue_type == QueueType::Quorum {
            return Ok(self.delayed_retry_of_quorum());
        }
        let key = "x-delayed-retry-type";
        let retry_type = match self.text(key)? {
            None => RetryType::Disabled,
            Some(text) => std::str::from_utf8(text)
                .ok()
                .and_then(RetryType::parse)
                .ok_or_else(|| self.invalid(key, "invalid_delayed_retry_type"))?,
        };
        let limit = match self.arguments.get("x-delayed-retry-limit") {
            Some(value) if value.as_int().is_some_and(|limit| limit < 0) => Some(u64::MAX),
            _ => self.integer("x-delayed-retry-limit", 0, i64::MAX)?,
        };
        let retry = DelayedRetry {
            retry_type,
            min_ms: self.integer("x-delayed-retry-min", 1, RETRY_MS_MAX as i64)?,
            max_ms: self.integer("x-delayed-retry-max", 1, RETRY_MS_MAX as i64)?,
            multiplier: self.integer("x-delayed-retry-multiplier", 1, i64::MAX)?,
            jitter_percent: self.integer("x-delayed-retry-jitter", 0, 100)?.unwrap_or(0),
            limit,
        };
        if retry_type != RetryType::Disabled && retry.min_ms.is_none() {
            return Err(self.invalid("x-delayed-retry-min", "required_by_x-delayed-retry-type"));
        }
        if retry
            .max_ms
            .is_some_and(|max| retry.min_ms.is_some_and(|min| max < min))
        {
            return Err(self.invalid("x-delayed-retry-max", "smaller_than_x-delayed-retry-min"));
        }
        Ok(retry)
    }

    /// Compat: nothing is checked, and what makes no sense means that nothing waits.
    fn delayed_retry_of_quorum(&self) -> DelayedRetry {
        let retry_type = self.arguments.get("x-delayed-retry-type");
        let wait_ms = |key| {
            let value = self.arguments.get(key).and_then(Value::as_int);
            let wait_ms = value.and_then(|value| u64::try_from(value).ok());
            wait_ms.filter(|wait_ms| *wait_ms > 0)
        };
        DelayedRetry {
            retry_type: retry_type
                .and_then(Value::as_str)
                .and_then(RetryType::parse)
                .unwrap_or_default(),
            min_ms: wait_ms("x-delayed-retry-min"),
            max_ms: wait_ms("x-delayed-retry-max"),
            ..DelayedRetry::default()
        }
    }

    /// Arguments that are checked and then have no effect on this node.
    fn check_placement_and_version(&self) -> Result<(), Error> {
        if let Some(version) = self.integer("x-queue-version", 0, i64::MAX)?
            && version != 2
        {
            return Err(self.invalid(
                "x-queue-version",
                format_args!("\"unsupported queue version '{version}'\""),
            ));
        }
        if let Some(locator) = self.text("x-queue-leader-locator")? {
            match &locator[..] {
                b"client-local" | b"balanced" | b"random" | b"least-leaders" => {}
                _ => {
                    return Err(self.invalid("x-queue-leader-locator", "invalid_queue_locator_arg"));
                }
            }
        }
        if self.arguments.get("x-queue-master-locator").is_some() {
            return Err(Error::Deprecated(
                "Feature `queue_master_locator` is deprecated.\nBy default, this feature is not permitted anymore.".into(),
            ));
        }
        Ok(())
    }

    /// Compat: what is not an integer is taken for the default, what is negative for no limit.
    fn delivery_limit(&self, queue_type: QueueType) -> Option<u64> {
        match (
            queue_type,
            self.arguments
                .get("x-delivery-limit")
                .and_then(Value::as_int),
        ) {
            (QueueType::Classic, _) => None,
            (QueueType::Quorum, Some(limit)) => u64::try_from(limit).ok(),
            (QueueType::Quorum, None) => Some(DELIVERY_LIMIT_DEFAULT),
        }
    }

    fn dead_letter_at_least_once(&self) -> Result<bool, Error> {
        let key = "x-dead-letter-strategy";
        match self.text(key)?.map(|text| &text[..]) {
            None | Some(b"at-most-once") => Ok(false),
            Some(b"at-least-once") => Ok(true),
            Some(_) => Err(self.invalid(key, "invalid_dlx_strategy")),
        }
    }

    /// Arguments about copies and consumers on other nodes and about memory: checked, and without effect while there is one node.
    fn check_group(&self) -> Result<(), Error> {
        self.integer("x-quorum-initial-group-size", 1, i64::MAX)?;
        self.integer("x-consumer-disconnected-timeout", 0, i64::MAX)?;
        self.integer("x-max-in-memory-length", 0, i64::MAX)?;
        self.integer("x-max-in-memory-bytes", 0, i64::MAX)?;
        Ok(())
    }

    fn check_other_types(&self, queue_type: QueueType) -> Result<(), Error> {
        let Self { name, vhost, .. } = self;
        let own = queue_type.arguments();
        let is_other = |key: &str| {
            let known = CLASSIC.contains(&key) || QUORUM.contains(&key) || STREAM.contains(&key);
            known && !own.contains(&key)
        };
        match self.arguments.iter().find(|(key, _)| is_other(key)) {
            None => Ok(()),
            Some((key, _)) => {
                let module = queue_type.module();
                Err(Error::Precondition(
                    format!("invalid arg '{key}' for queue '{name}' in vhost '{vhost}' of queue type {module}").into(),
                ))
            }
        }
    }
}

/// Checks that a redeclaration with `received` arguments means the queue that was declared with `current` ones.
///
/// Only arguments that the queue type understands are compared; integers of different width are equal by value.
///
/// # Errors
/// `InequivalentArgument` for the first argument that differs.
pub fn check_equivalent(
    current: &Arguments,
    received: &Arguments,
    name: &Name,
    vhost: &Name,
) -> Result<(), Error> {
    let queue_type = check_queue_type(current, received, name, vhost)?;
    let ours = ["x-message-deduplication", "x-cache-size", "x-cache-ttl"];
    let compared = queue_type
        .arguments()
        .iter()
        .chain(&ours)
        .filter(|key| **key != "x-queue-type");
    compared.copied().try_for_each(|key| {
        check_argument(ResourceKind::Queue, key, current, received, name, vhost)
    })
}

/// Absent, empty and `classic` all mean a classic queue.
fn check_queue_type(
    current: &Arguments,
    received: &Arguments,
    name: &Name,
    vhost: &Name,
) -> Result<QueueType, Error> {
    let classic = QueueType::Classic.as_str();
    let named = |arguments: &Arguments| match arguments.get("x-queue-type") {
        None => classic.to_owned(),
        Some(value) if value.as_str() == Some("") => classic.to_owned(),
        Some(value) => value_text(value),
    };
    let (current, received) = (named(current), named(received));
    if current == received {
        let is_quorum = current == QueueType::Quorum.as_str();
        return Ok(if is_quorum {
            QueueType::Quorum
        } else {
            QueueType::Classic
        });
    }
    Err(Error::InequivalentArgument {
        kind: ResourceKind::Queue,
        name: name.clone(),
        vhost: vhost.clone(),
        argument: "x-queue-type".into(),
        received: format!("'{received}'").into(),
        current: format!("'{current}'").into(),
    })
}

/// Checks that one argument of a redeclaration has the value that the existing queue or exchange has.
///
/// # Errors
/// `InequivalentArgument`, if not.
pub fn check_argument(
    kind: ResourceKind,
    key: &str,
    current: &Arguments,
    received: &Arguments,
    name: &Name,
    vhost: &Name,
) -> Result<(), Error> {
    let (current, received) = (current.get(key), received.get(key));
    if equivalent(current, received) {
        return Ok(());
    }
    // Compat: the types are told only when one side has no value.
    let (received, current) = match (received, current) {
        (Some(received), Some(current)) => (
            format!("'{}'", value_text(received)),
            format!("'{}'", value_text(current)),
        ),
        (received, current) => (describe(received), describe(current)),
    };
    Err(Error::InequivalentArgument {
        kind,
        name: name.clone(),
        vhost: vhost.clone(),
        argument: key.into(),
        received: received.into(),
        current: current.into(),
    })
}

fn equivalent(a: Option<&Value>, b: Option<&Value>) -> bool {
    match (a, b) {
        (Some(Value::Int(_, a)), Some(Value::Int(_, b))) => a == b,
        (a, b) => a == b,
    }
}

fn describe(value: Option<&Value>) -> String {
    match value {
        None => "none".into(),
        Some(value) => format!(
            "the value '{}' of type '{}'",
            value_text(value),
            value.type_name()
        ),
    }
}

/// A value as error texts print it.
pub(crate) fn value_text(value: &Value) -> String {
    match value {
        Value::Bool(value) => value.to_string(),
        Value::Int(_, value) => value.to_string(),
        Value::Float(value) => value.to_string(),
        Value::Double(value) => value.to_string(),
        Value::Timestamp(value) => value.to_string(),
        Value::LongStr(bytes) | Value::Binary(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Value::Void => "undefined".into(),
        Value::Decimal(..) | Value::Array(_) | Value::Table(_) => "...".into(),
    }
}

/// A value as Erlang prints RabbitMQ's form of it. The recursion is as deep as the value, which whoever decoded it has limited.
pub(crate) fn erlang_value(value: &Value) -> String {
    match value {
        Value::LongStr(bytes) | Value::Binary(bytes) => erlang_binary(bytes),
        Value::Decimal(scale, unscaled) => format!("{{{scale},{unscaled}}}"),
        Value::Array(values) => {
            let item = |value: &Value| format!("{{{},{}}}", value.type_name(), erlang_value(value));
            let items: Vec<_> = values.iter().map(item).collect();
            format!("[{}]", items.join(","))
        }
        Value::Table(table) => {
            let field = |(key, value): (&str, &Value)| {
                let (key, kind) = (erlang_binary(key.as_bytes()), value.type_name());
                format!("{{{key},{kind},{}}}", erlang_value(value))
            };
            let fields: Vec<_> = table.iter().map(field).collect();
            format!("[{}]", fields.join(","))
        }
        Value::Bool(_)
        | Value::Int(..)
        | Value::Float(_)
        | Value::Double(_)
        | Value::Timestamp(_)
        | Value::Void => value_text(value),
    }
}

/// A binary as Erlang prints it.
pub(crate) fn erlang_binary(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok("") => "<<>>".into(),
        Ok(text) if text.is_ascii() => format!("<<\"{text}\">>"),
        Ok(text) => format!("<<\"{text}\"/utf8>>"),
        Err(_) => {
            let numbers: Vec<_> = bytes.iter().map(u8::to_string).collect();
            format!("<<{}>>", numbers.join(","))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::IntKind;

    fn text(text: &'static str) -> Value {
        Value::LongStr(Bytes::from_static(text.as_bytes()))
    }

    fn int(value: i64) -> Value {
        Value::Int(IntKind::I32, value)
    }

    fn table(pairs: &[(&str, Value)]) -> Arguments {
        Arguments::from_pairs(
            pairs
                .iter()
                .map(|(key, value)| ((*key).into(), value.clone())),
        )
    }

    fn parse(pairs: &[(&str, Value)]) -> Result<QueueArguments, Error> {
        QueueArguments::parse(&table(pairs), &"q".into(), &"/".into())
    }

    #[test]
    fn arguments_reach_their_fields() {
        let parsed = parse(&[
            ("x-message-ttl", int(0)),
            ("x-expires", Value::Int(IntKind::I64, EXPIRY_MS_MAX)),
            ("x-max-length", int(10)),
            ("x-max-length-bytes", int(0)),
            ("x-overflow", text("reject-publish-dlx")),
            ("x-dead-letter-exchange", text("")),
            ("x-dead-letter-routing-key", text("k")),
            ("x-max-priority", int(255)),
            ("x-single-active-consumer", Value::Bool(true)),
            ("x-queue-type", text("classic")),
            ("x-queue-version", int(2)),
            ("x-queue-mode", int(7)),
            ("x-ha-policy", text("all")),
        ]);
        let expect = QueueArguments {
            message_ttl_ms: Some(0),
            expires_ms: Some(EXPIRY_MS_MAX.unsigned_abs()),
            max_length: Some(10),
            max_length_bytes: Some(0),
            overflow: Overflow::RejectPublishDlx,
            dead_letter_exchange: Some("".into()),
            dead_letter_routing_key: Some(Bytes::from_static(b"k")),
            max_priority: Some(255),
            single_active_consumer: true,
            ..QueueArguments::default()
        };
        assert_eq!(parsed, Ok(expect));
    }

    #[test]
    fn a_quorum_queue_has_arguments_and_defaults_of_its_own() {
        let quorum =
            |more: &[(&str, Value)]| parse(&[&[("x-queue-type", text("quorum"))], more].concat());
        let limit = |value| {
            quorum(&[("x-delivery-limit", value)])
                .unwrap()
                .delivery_limit
        };
        assert_eq!(quorum(&[]).unwrap().delivery_limit, Some(20));
        assert_eq!(limit(int(3)), Some(3));
        assert_eq!(limit(int(-1)), None);
        assert_eq!(limit(text("abc")), Some(20));
        let strategy = |overflow| {
            quorum(&[
                ("x-dead-letter-exchange", text("x")),
                ("x-dead-letter-strategy", text("at-least-once")),
                ("x-overflow", text(overflow)),
            ])
        };
        assert!(strategy("reject-publish").unwrap().keeps_dead_letters());
        assert!(!strategy("drop-head").unwrap().keeps_dead_letters());
        let dlx = quorum(&[("x-overflow", text("reject-publish-dlx"))]);
        assert_eq!(dlx.unwrap().overflow, Overflow::DropHead);
        assert_eq!(
            quorum(&[("x-max-priority", int(5))])
                .unwrap_err()
                .to_string(),
            "invalid arg 'x-max-priority' for queue 'q' in vhost '/' of queue type rabbit_quorum_queue"
        );
        let asked = AskedProperties {
            durable: true,
            exclusive: false,
            auto_delete: false,
            server_named: false,
        };
        let check = |asked| QueueType::Quorum.check_properties(&"q".into(), &"/".into(), asked);
        assert_eq!(check(asked), Ok(()));
        for (unfit, property) in [
            (
                AskedProperties {
                    durable: false,
                    ..asked
                },
                "non-durable",
            ),
            (
                AskedProperties {
                    exclusive: true,
                    ..asked
                },
                "exclusive-owner",
            ),
            (
                AskedProperties {
                    auto_delete: true,
                    ..asked
                },
                "auto-delete",
            ),
        ] {
            assert_eq!(
                check(unfit).unwrap_err().to_string(),
                format!("invalid property '{property}' for queue 'q' in vhost '/'")
            );
        }
    }

    #[test]
    fn refusals_have_rabbitmqs_words() {
        let check = |key: &str, value: Value, expect: &str| {
            assert_eq!(parse(&[(key, value)]).unwrap_err().to_string(), expect);
        };
        let invalid = |key: &str, value: Value, explanation: &str| {
            check(
                key,
                value,
                &format!("invalid arg '{key}' for queue 'q' in vhost '/': {explanation}"),
            );
        };
        invalid(
            "x-message-ttl",
            text("1"),
            "\"expected integer, got longstr\"",
        );
        invalid(
            "x-message-ttl",
            Value::Bool(true),
            "\"expected integer, got bool\"",
        );
        invalid("x-message-ttl", int(-1), "{value_negative,-1}");
        invalid(
            "x-message-ttl",
            int(EXPIRY_MS_MAX + 1),
            "{value_too_large,315360000001}",
        );
        invalid("x-expires", int(0), "{value_zero,0}");
        invalid("x-max-length", int(-5), "{value_negative,-5}");
        invalid("x-max-priority", int(256), "{max_value_exceeded,256}");
        invalid("x-overflow", text("foo"), "invalid_overflow");
        invalid("x-overflow", int(1), "{unacceptable_type,signedint}");
        invalid(
            "x-dead-letter-routing-key",
            text("k"),
            "routing_key_but_no_dlx_defined",
        );
        invalid(
            "x-single-active-consumer",
            text("true"),
            "{unacceptable_type,longstr}",
        );
        invalid(
            "x-queue-type",
            text("foo"),
            "\"unsupported queue type 'foo'\"",
        );
        invalid("x-queue-type", int(1), "{unacceptable_type,signedint}");
        invalid(
            "x-queue-version",
            int(1),
            "\"unsupported queue version '1'\"",
        );
        invalid(
            "x-queue-leader-locator",
            text("here"),
            "invalid_queue_locator_arg",
        );
        check(
            "x-dead-letter-exchange",
            int(1),
            "invalid type 'signedint' for arg 'x-dead-letter-exchange' in queue 'q' in vhost '/'",
        );
        check(
            "x-max-age",
            text("1h"),
            "invalid arg 'x-max-age' for queue 'q' in vhost '/' of queue type rabbit_classic_queue",
        );
        check(
            "x-queue-type",
            text("stream"),
            "queue type 'stream' is not available on this node",
        );
        assert!(matches!(
            parse(&[("x-queue-master-locator", text("min-masters"))]),
            Err(Error::Deprecated(_))
        ));
    }

    fn compare(current: &[(&str, Value)], received: &[(&str, Value)]) -> Result<(), String> {
        let compared =
            check_equivalent(&table(current), &table(received), &"q".into(), &"/".into());
        compared.map_err(|error| error.to_string())
    }

    #[test]
    fn declarations_are_compared_by_meaning() {
        assert_eq!(
            compare(
                &[("x-expires", int(5))],
                &[("x-expires", Value::Int(IntKind::I64, 5))]
            ),
            Ok(())
        );
        assert_eq!(compare(&[], &[("x-queue-type", text("classic"))]), Ok(()));
        assert_eq!(compare(&[("x-queue-type", text("classic"))], &[]), Ok(()));
        assert_eq!(
            compare(&[("x-unknown", int(1))], &[("x-unknown", int(2))]),
            Ok(())
        );
        assert_eq!(
            compare(&[], &[("x-message-ttl", int(100))]).unwrap_err(),
            "inequivalent arg 'x-message-ttl' for queue 'q' in vhost '/': \
             received the value '100' of type 'signedint' but current is none"
        );
        assert_eq!(
            compare(
                &[("x-overflow", text("drop-head"))],
                &[("x-overflow", text("reject-publish"))]
            )
            .unwrap_err(),
            "inequivalent arg 'x-overflow' for queue 'q' in vhost '/': received 'reject-publish' \
             but current is 'drop-head'"
        );
        assert_eq!(
            compare(&[], &[("x-queue-type", text("quorum"))]).unwrap_err(),
            "inequivalent arg 'x-queue-type' for queue 'q' in vhost '/': received 'quorum' but current is 'classic'"
        );
    }
}
