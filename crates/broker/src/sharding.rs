//! Exchanges with shards: queues that a policy makes behind an exchange, and that clients consume from as if they were one
//! (RabbitMQ: the plugin rabbitmq_sharding).
//!
//! What a policy may say about it, and what the queues are called. That they come and are bound is part of the command which makes a
//! policy match ([`metadata`](crate::metadata)); which of them a consumer gets is the frontend's matter. Which message goes to which
//! queue is the exchange's, as with any other queues.

use crate::json::{Json, Map, erlang_term};
use crate::policy::Effective;
use base::Name;
use bytes::Bytes;

/// Key of a policy: how many queues each node has behind an exchange.
pub const SHARDS_PER_NODE: &str = "shards-per-node";

/// Key of a policy: the binding key of these queues; empty, if it is not there.
pub const ROUTING_KEY: &str = "routing-key";

/// Most shards that a policy may ask for. All of them are declared in one step.
pub const SHARDS_MAX: u32 = 1000;

/// Whom listings name as the one who declared the queues.
pub const SHARDING_USER: &str = "rmq-sharding";

/// How a policy shards an exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sharding {
    /// How many queues it has on each node, at most [`SHARDS_MAX`].
    pub shards: u32,
    /// The binding key of all.
    pub routing_key: Bytes,
}

impl Sharding {
    /// What policies say about an exchange, if they shard it.
    pub(crate) fn of(policies: &Effective<'_>) -> Option<Self> {
        let shards = policies.get(SHARDS_PER_NODE)?.as_u64()?;
        let routing_key = policies.get(ROUTING_KEY).and_then(Json::as_str);
        let routing_key = routing_key.unwrap_or_default();
        Some(Self {
            shards: u32::try_from(shards).unwrap_or(u32::MAX).min(SHARDS_MAX),
            routing_key: Bytes::copy_from_slice(routing_key.as_bytes()),
        })
    }
}

/// The name of a shard, which are counted from 0 on each node.
pub(crate) fn shard_name(exchange: &str, node: &str, number: u32) -> Name {
    format!("sharding: {exchange} - {node} - {number}").into()
}

/// Checks what one policy says. Texts are RabbitMQ's.
///
/// Compat: RabbitMQ takes fractions, and fails when it has to count up to one; and it knows no [`SHARDS_MAX`].
pub(crate) fn check_definition(definition: &Map<String, Json>) -> Result<(), String> {
    let routing_key = definition.get(ROUTING_KEY);
    let Some(shards) = definition.get(SHARDS_PER_NODE) else {
        return match routing_key {
            None => Ok(()),
            Some(_) => Err(format!("{SHARDS_PER_NODE} must be specified")),
        };
    };
    let found = erlang_term(shards);
    let Some(number) = shards.as_f64() else {
        return Err(format!(
            "{SHARDS_PER_NODE} should be a number, actually was {found}"
        ));
    };
    if number < 0.0 {
        return Err(format!(
            "{SHARDS_PER_NODE} should be greater than 0, actually was {found}"
        ));
    }
    match shards.as_u64() {
        None => {
            return Err(format!(
                "{SHARDS_PER_NODE} should be an integer, actually was {found}"
            ));
        }
        Some(number) if number > u64::from(SHARDS_MAX) => {
            return Err(format!(
                "{SHARDS_PER_NODE} should be at most {SHARDS_MAX}, actually was {found}"
            ));
        }
        Some(_) => {}
    }
    match routing_key {
        Some(key) if !key.is_string() => Err(format!(
            "{ROUTING_KEY} should be binary, actually was {}",
            erlang_term(key)
        )),
        Some(_) | None => Ok(()),
    }
}
