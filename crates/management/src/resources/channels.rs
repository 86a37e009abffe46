//! Channels of client connections.

use crate::call::{Call, Outcome};
use crate::error::ApiError;
use crate::json::{Json, Object, object};
use crate::listing::{Columns, Items, Listing};
use crate::resources::connections;
use crate::resources::neighbours;
use crate::statistics::{Details, Subject, channel_idle_since, channel_stats};
use node::{ChannelDetails, ConnectionFigures, ConnectionState, ConnectionSummary};
use std::collections::HashMap;
use std::sync::Arc;

/// A channel with its connection.
struct Source {
    name: String,
    connection: Arc<ConnectionFigures>,
    channel: ChannelDetails,
}

impl Source {
    fn subject(&self) -> Subject {
        Subject::Channel(self.connection.details.id, self.channel.number)
    }
}

/// A channel's name: that of its connection and its number.
pub(crate) fn channel_name(connection: &ConnectionFigures, number: u16) -> String {
    numbered(&connections::name(&connection.details), number)
}

fn numbered(connection: &str, number: u16) -> String {
    format!("{connection} ({number})")
}

/// As much of a channel as tells whether and where a list has it.
struct Place {
    number: u16,
    connection: Arc<ConnectionSummary>,
}

fn places(connections: Vec<ConnectionSummary>) -> Vec<Place> {
    let mut found = Vec::new();
    for connection in connections {
        let connection = Arc::new(connection);
        found.extend(connection.channels.iter().map(|number| Place {
            number: *number,
            connection: Arc::clone(&connection),
        }));
    }
    found
}

impl Place {
    fn name(&self) -> String {
        numbered(&connections::summary_name(&self.connection), self.number)
    }
}

/// The channels that are in these places; `None` for one that has ended meanwhile.
async fn sources(call: &Call, places: &[Place]) -> Vec<Option<Source>> {
    let ids = places.iter().map(|place| place.connection.id);
    let found = connections::by_id(call, ids).await;
    let found: HashMap<_, _> = found
        .into_iter()
        .map(|(id, connection)| (id, Arc::new(connection)))
        .collect();
    let source = |place: &Place| {
        let connection = Arc::clone(found.get(&place.connection.id)?);
        let mut channels = connection.channels.iter();
        let channel = channels.find(|channel| channel.number == place.number)?;
        Some(Source {
            name: place.name(),
            channel: channel.clone(),
            connection,
        })
    };
    places.iter().map(source).collect()
}

pub(crate) async fn list(call: Call) -> Outcome {
    let mut found = connections::visible(&call).await;
    found.retain(|connection| connections::is_wanted(&call, connection));
    show(call, found).await
}

pub(crate) async fn of_vhost(call: Call) -> Outcome {
    let vhost = call.vhost()?.name.clone();
    let mut found = connections::visible(&call).await;
    found.retain(|connection| connection.vhost == vhost);
    show(call, found).await
}

pub(crate) async fn of_connection(call: Call) -> Outcome {
    let connection = connections::expect(&call).await?.details.id;
    let mut found = connections::visible(&call).await;
    found.retain(|summary| summary.id == connection);
    show(call, found).await
}

async fn show(call: Call, connections: Vec<ConnectionSummary>) -> Outcome {
    let details = Details::new(&call)?;
    let listing = Listing::new(&call.query)?;
    let filtered = listing.filter_made(places(connections), Place::name);
    let cut = match listing.order().and_then(key_of) {
        Some(key) => listing.cut_by(filtered, key, Json::compare)?,
        None => listing.cut(filtered)?,
    };
    listing.stream(cut, List { call, details }).await
}

/// What items of a list are made by.
struct List {
    call: Call,
    details: Details,
}

impl Items<Place> for List {
    async fn make(&self, places: &[Place]) -> Vec<Option<Object>> {
        let node = self.call.state.node_name();
        let item = |source: &Source| {
            let mut item = item(&self.call, source, &node);
            let series = self.call.state.statistics.glance_at(source.subject());
            let stats = channel_stats(&source.channel, &self.details, series.as_ref());
            if !stats.is_empty() {
                item.push("message_stats", stats);
            }
            if let Some(since) = channel_idle_since(&source.channel, series.as_ref()) {
                item.push("idle_since", since);
            }
            item
        };
        let sources = sources(&self.call, places).await;
        sources
            .iter()
            .map(|source| source.as_ref().map(item))
            .collect()
    }
}

/// What lists of channels are ordered by that is known of their places.
fn key_of(path: &str) -> Option<fn(&Place) -> Json> {
    Some(match path {
        "name" => |place| Json::from(place.name()),
        "number" => |place| Json::from(place.number),
        "user" => |place| Json::from(&place.connection.user),
        "vhost" => |place| Json::from(&place.connection.vhost),
        _ => return None,
    })
}

fn item(call: &Call, source: &Source, node: &str) -> Object {
    let Source {
        name,
        connection,
        channel,
    } = source;
    let own = &connection.details;
    let state = match own.state {
        ConnectionState::Flow => "flow",
        ConnectionState::Closing | ConnectionState::Closed => "closing",
        ConnectionState::Starting
        | ConnectionState::Running
        | ConnectionState::Blocking
        | ConnectionState::Blocked => "running",
    };
    let mut item = object! {
        "acks_uncommitted" => channel.uncommitted_acks,
        "cached_segments" => 0_u64,
        "confirm" => channel.confirm,
        "connection_details" => connections::short(connection),
        "consumer_count" => channel.consumers,
        "garbage_collection" => super::queues::garbage_collection(),
        "messages_unacknowledged" => channel.unacknowledged,
        "messages_uncommitted" => channel.uncommitted,
        "messages_unconfirmed" => channel.unconfirmed,
        "name" => name.clone(),
        "node" => node.to_owned(),
        "number" => channel.number,
        "pending_raft_commands" => 0_u64,
        "prefetch_count" => channel.prefetch_count,
        "global_prefetch_count" => channel.global_prefetch_count,
        "reductions" => 0_u64,
        "reductions_details" => object! { "rate" => 0.0 },
        "state" => state,
        "transactional" => channel.transactional,
        "user" => &own.user,
        "user_who_performed_action" => &own.user,
        "vhost" => &own.vhost,
    };
    if call.is_operator() {
        item.push("pid", call.pid(own.id, channel.number));
        item.push("connection", call.pid(own.id, 0));
    }
    item
}

pub(crate) async fn one(call: Call) -> Outcome {
    let found = connections::visible(&call).await;
    let mut places = places(found);
    places.retain(|place| *call.parameter(0) == *place.name());
    let mut found = sources(&call, &places).await;
    let source = found.pop().flatten().ok_or(ApiError::NoObject)?;
    let node = call.state.node_name();
    let mut item = item(&call, &source, &node);
    let details = Details::new(&call)?;
    let series = call.state.statistics.look_at(source.subject());
    let stats = channel_stats(&source.channel, &details, series.as_ref());
    if !stats.is_empty() {
        item.push("message_stats", stats);
    }
    if let Some(since) = channel_idle_since(&source.channel, series.as_ref()) {
        item.push("idle_since", since);
    }
    let consumers =
        super::consumers::of_channel(&call, &source.connection, source.channel.number).await;
    item.append(object! {
        "consumer_details" => consumers,
    });
    item.append(neighbours::of_channel(
        &call,
        &source.connection,
        &source.channel,
        &details,
    ));
    let shown: Json = Columns::new(&call.query).apply(item);
    Ok(shown.into())
}
