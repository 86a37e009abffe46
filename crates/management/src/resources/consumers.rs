//! Consumers of queues.

use crate::access;
use crate::call::{Call, Outcome};
use crate::directory::{Entry, OfVhost, Queues};
use crate::error::ApiError;
use crate::json::{Json, Object, object};
use crate::listing::{Items, Listing};
use crate::resources::connections;
use base::{ConnectionId, QueueRef};
use broker::vhost::Vhost;
use node::{ConnectionFigures, ConsumerFigures};
use std::collections::HashMap;
use std::sync::Arc;

pub(crate) async fn list(call: Call) -> Outcome {
    if call.without_stats() {
        return Err(ApiError::bad(
            "Stats in management UI are disabled on this node",
        ));
    }
    let user = call.user();
    let vhosts: Vec<_> = match call.parameters.first() {
        None if access::is_monitor(user) => call.metadata.vhosts().collect(),
        None => access::vhosts(&call.metadata, user),
        Some(name) => {
            let vhost = call.metadata.vhost(name).ok_or(ApiError::NoObject)?;
            if !access::may_enter(user, name) && !access::is_monitor(user) {
                return Err(ApiError::NotFound("Not Found".to_owned()));
            }
            vec![vhost]
        }
    };
    let mut consumers = of_vhosts(&call, &vhosts).await;
    consumers.sort_unstable_by_key(|consumer| consumer.id);
    let listing = Listing::new(&call.query)?;
    let cut = listing.cut(listing.filter(consumers, |consumer| &consumer.tag))?;
    listing.stream(cut, List(call)).await
}

/// What items of a list are made by.
struct List(Call);

impl Items<ConsumerFigures> for List {
    async fn make(&self, consumers: &[ConsumerFigures]) -> Vec<Option<Object>> {
        let connections = consumers.iter().map(connection_of);
        let connections = connections::by_id(&self.0, connections).await;
        let item = |consumer| Some(item(&self.0, consumer, &connections));
        consumers.iter().map(item).collect()
    }
}

/// The consumers of the queues of these vhosts.
async fn of_vhosts(call: &Call, vhosts: &[&Arc<Vhost>]) -> Vec<ConsumerFigures> {
    let queues: Vec<QueueRef> = {
        let directory = Queues::current(&call.state).await;
        let has_consumers = |entry: &&Entry| {
            let figures = directory.figures(entry.id);
            figures.is_some_and(|figures| figures.consumers > 0)
        };
        let entries = vhosts
            .iter()
            .filter_map(|vhost| directory.of_vhost(&vhost.name))
            .flat_map(OfVhost::entries);
        entries
            .filter(has_consumers)
            .map(|entry| entry.record.queue)
            .collect()
    };
    call.state.node.consumers(&queues).await
}

/// The connection of a consumer.
pub(crate) fn connection_of(consumer: &ConsumerFigures) -> ConnectionId {
    consumer.id.channel.connection
}

/// A consumer, with its channel as far as its connection is known.
pub(crate) fn item(
    call: &Call,
    consumer: &ConsumerFigures,
    connections: &HashMap<ConnectionId, ConnectionFigures>,
) -> Object {
    let queue = call.metadata.queue_by_id(consumer.queue);
    let settings = queue.map(|record| call.metadata.queue_settings(record));
    let activity = if consumer.is_active { "up" } else { "waiting" };
    let single = settings
        .as_ref()
        .is_some_and(|settings| settings.single_active_consumer);
    // Compat: the timeout of the queue, also where the consumer asked for another.
    let timeout_ms = settings
        .and_then(|settings| settings.consumer_timeout_ms)
        .unwrap_or_else(|| call.state.node.settings().consumer_timeout_ms);
    let activity = if single && consumer.is_active {
        "single_active"
    } else {
        activity
    };
    let mut item = object! {
        "arguments" => call.arguments(&consumer.arguments),
        "ack_required" => !consumer.no_ack,
        "active" => consumer.is_active,
        "activity_status" => activity,
        "channel_details" => channel(call, consumer, connections),
        "consumer_tag" => &consumer.tag,
        "consumer_timeout" => timeout_ms,
        "exclusive" => consumer.exclusive,
        "prefetch_count" => consumer.prefetch_count,
        "queue" => object! {
            "name" => queue.map(|record| Json::from(&record.name)),
            "vhost" => queue.map(|record| Json::from(&record.vhost)),
        },
    };
    if call.is_operator() {
        let channel = consumer.id.channel;
        item.push("channel_pid", call.pid(channel.connection, channel.number));
    }
    item
}

fn channel(
    call: &Call,
    consumer: &ConsumerFigures,
    connections: &HashMap<ConnectionId, ConnectionFigures>,
) -> Object {
    let number = consumer.id.channel.number;
    let Some(connection) = connections.get(&consumer.id.channel.connection) else {
        return object! { "number" => number };
    };
    let mut details = object! {
        "connection_name" => connections::name(&connection.details),
        "name" => super::channels::channel_name(connection, number),
        "node" => call.state.node_name(),
        "number" => number,
        "user" => &connection.details.user,
    };
    let mut peer = connections::short(connection);
    peer.retain(|key| key != "name");
    details.append(peer);
    details
}

/// Consumers of one channel.
pub(crate) async fn of_channel(
    call: &Call,
    connection: &ConnectionFigures,
    number: u16,
) -> Vec<Object> {
    let Some(vhost) = call.metadata.vhost(&connection.details.vhost) else {
        return Vec::new();
    };
    let mut consumers = of_vhosts(call, &[vhost]).await;
    consumers.retain(|consumer| {
        let channel = consumer.id.channel;
        channel.connection == connection.details.id && channel.number == number
    });
    let connections = HashMap::from([(connection.details.id, connection.clone())]);
    consumers
        .iter()
        .map(|consumer| item(call, consumer, &connections))
        .collect()
}
