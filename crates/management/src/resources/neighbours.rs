//! What happens between two objects that have to do with each other, where `management.rates_mode` is `detailed`: a channel and the
//! exchanges that it publishes to, an exchange and the queues that it gives messages to, a queue and the channels that take them.
//! Otherwise the lists are empty.

use crate::call::Call;
use crate::json::{Object, object};
use crate::resources::channels::channel_name;
use crate::resources::connections;
use crate::statistics::{Details, Subject, delivery_stats, leg_stats, publish_stats};
use base::{ConnectionId, Name};
use broker::vhost::QueueRecord;
use node::{ChannelDetails, ConnectionFigures, DeliveryCounts, Leg, PublishCounts};
use std::collections::HashMap;

/// Entries of a list.
const ENTRIES_MAX: usize = 1_000;

pub(crate) fn is_wanted(call: &Call) -> bool {
    call.state.node.settings().statistics.shows_neighbours()
}

fn channel_details(call: &Call, connection: &ConnectionFigures, number: u16) -> Object {
    let mut item = object! {
        "connection_name" => connections::name(&connection.details),
        "name" => channel_name(connection, number),
        "node" => call.state.node_name(),
        "number" => number,
        "user" => &connection.details.user,
    };
    let short = connections::short(connection);
    for key in ["peer_host", "peer_port"] {
        if let Some(value) = short.get(key) {
            item.push(key, value.clone());
        }
    }
    item
}

fn place(name: &Name, vhost: &Name) -> Object {
    object! { "name" => name, "vhost" => vhost }
}

struct Neighbours<'a> {
    call: &'a Call,
    details: &'a Details,
}

impl Neighbours<'_> {
    fn publishes(
        &self,
        connection: &ConnectionFigures,
        channel: &ChannelDetails,
        (exchange, counts): (&Name, &PublishCounts),
    ) -> Object {
        let subject = Subject::Publishes(connection.details.id, channel.number, exchange.clone());
        let series = self.call.state.statistics.look_at(subject);
        publish_stats(counts, self.details, series.as_ref())
    }

    fn deliveries(
        &self,
        connection: &ConnectionFigures,
        channel: &ChannelDetails,
        (queue, counts): (&Name, &DeliveryCounts),
    ) -> Object {
        let subject = Subject::Deliveries(connection.details.id, channel.number, queue.clone());
        let series = self.call.state.statistics.look_at(subject);
        delivery_stats(counts, self.details, series.as_ref())
    }

    fn legs(&self, is_one: impl Fn(&Leg) -> bool) -> Vec<(Leg, Object)> {
        let mut legs: Vec<(Leg, u64)> = self.call.state.node.leg_traffic().into_iter().collect();
        legs.retain(|(leg, _)| is_one(leg));
        legs.sort_unstable_by(|(a, _), (b, _)| (&a.exchange, a.queue).cmp(&(&b.exchange, b.queue)));
        let shown = legs.into_iter().take(ENTRIES_MAX).map(|(leg, count)| {
            let series = self
                .call
                .state
                .statistics
                .look_at(Subject::Leg(leg.clone()));
            (leg, leg_stats(count, self.details, series.as_ref()))
        });
        shown.collect()
    }
}

/// `deliveries` by queue and `publishes` by exchange of a channel.
pub(crate) fn of_channel(
    call: &Call,
    connection: &ConnectionFigures,
    channel: &ChannelDetails,
    details: &Details,
) -> Object {
    let (mut deliveries, mut publishes) = (Vec::new(), Vec::new());
    if is_wanted(call) {
        let neighbours = Neighbours { call, details };
        let vhost = &connection.details.vhost;
        for (queue, counts) in &channel.deliveries {
            let stats = neighbours.deliveries(connection, channel, (queue, counts));
            deliveries.push(object! { "stats" => stats, "queue" => place(queue, vhost) });
        }
        for (exchange, counts) in &channel.publishes {
            let stats = neighbours.publishes(connection, channel, (exchange, counts));
            publishes.push(object! { "stats" => stats, "exchange" => place(exchange, vhost) });
        }
    }
    object! { "deliveries" => deliveries, "publishes" => publishes }
}

/// `deliveries` by channel and `incoming` by exchange of a queue.
pub(crate) fn of_queue(
    call: &Call,
    record: &QueueRecord,
    connections: &HashMap<ConnectionId, ConnectionFigures>,
    details: &Details,
) -> Object {
    let (mut deliveries, mut incoming) = (Vec::new(), Vec::new());
    if is_wanted(call) {
        let neighbours = Neighbours { call, details };
        let here = |connection: &&ConnectionFigures| connection.details.vhost == record.vhost;
        for connection in connections.values().filter(here) {
            for channel in &connection.channels {
                let own = channel
                    .deliveries
                    .iter()
                    .find(|(queue, _)| *queue == record.name);
                let Some((queue, counts)) = own.filter(|_| deliveries.len() < ENTRIES_MAX) else {
                    continue;
                };
                let stats = neighbours.deliveries(connection, channel, (queue, counts));
                let channel = channel_details(call, connection, channel.number);
                deliveries.push(object! { "stats" => stats, "channel_details" => channel });
            }
        }
        let legs = neighbours.legs(|leg| leg.queue == record.id());
        incoming.extend(legs.into_iter().map(|(leg, stats)| {
            object! { "stats" => stats, "exchange" => place(&leg.exchange, &leg.vhost) }
        }));
    }
    object! { "deliveries" => deliveries, "incoming" => incoming }
}

/// `incoming` by channel and `outgoing` by queue of an exchange.
pub(crate) async fn of_exchange(
    call: &Call,
    vhost: &Name,
    exchange: &Name,
    details: &Details,
) -> Object {
    let (mut incoming, mut outgoing) = (Vec::new(), Vec::new());
    if is_wanted(call) {
        let neighbours = Neighbours { call, details };
        for connection in call.state.node.connections().await {
            if connection.details.vhost != *vhost {
                continue;
            }
            for channel in &connection.channels {
                let own = channel.publishes.iter().find(|(name, _)| name == exchange);
                let Some((name, counts)) = own.filter(|_| incoming.len() < ENTRIES_MAX) else {
                    continue;
                };
                let stats = neighbours.publishes(&connection, channel, (name, counts));
                let channel = channel_details(call, &connection, channel.number);
                incoming.push(object! { "stats" => stats, "channel_details" => channel });
            }
        }
        let legs = neighbours.legs(|leg| leg.vhost == *vhost && leg.exchange == *exchange);
        outgoing.extend(legs.into_iter().filter_map(|(leg, stats)| {
            let queue = call.metadata.queue_by_id(leg.queue)?;
            Some(object! { "stats" => stats, "queue" => place(&queue.name, &queue.vhost) })
        }));
    }
    object! { "incoming" => incoming, "outgoing" => outgoing }
}
