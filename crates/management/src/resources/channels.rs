//! Channels of client connections.

use crate::call::{Call, Outcome};
use crate::error::ApiError;
use crate::json::{Json, Object, object};
use crate::listing::{Columns, Listing};
use crate::resources::connections;
use crate::resources::neighbours;
use crate::statistics::{Details, Subject, channel_stats};
use node::{ChannelDetails, ConnectionFigures, ConnectionState};
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

fn sources(connections: Vec<ConnectionFigures>) -> Vec<Source> {
    let mut found = Vec::new();
    for connection in connections {
        let connection = Arc::new(connection);
        for channel in &connection.channels {
            found.push(Source {
                name: channel_name(&connection, channel.number),
                connection: Arc::clone(&connection),
                channel: channel.clone(),
            });
        }
    }
    found
}

/// A channel's name: that of its connection and its number.
pub(crate) fn channel_name(connection: &ConnectionFigures, number: u16) -> String {
    format!("{} ({number})", connections::name(&connection.details))
}

pub(crate) async fn list(call: Call) -> Outcome {
    let found = connections::visible(&call).await;
    show(&call, found)
}

pub(crate) async fn of_vhost(call: Call) -> Outcome {
    let vhost = call.vhost()?.name.clone();
    let mut found = connections::visible(&call).await;
    found.retain(|connection| connection.details.vhost == vhost);
    show(&call, found)
}

pub(crate) async fn of_connection(call: Call) -> Outcome {
    let connection = connections::expect(&call).await?;
    show(&call, vec![connection])
}

fn show(call: &Call, connections: Vec<ConnectionFigures>) -> Outcome {
    let node = call.state.node_name();
    let details = Details::new(call)?;
    Listing::new(&call.query)?.list(
        sources(connections),
        |source| &source.name,
        |source| {
            let mut item = item(call, source, &node);
            let series = call.state.statistics.glance_at(source.subject());
            let stats = channel_stats(&source.channel, &details, series.as_ref());
            if !stats.is_empty() {
                item.push("message_stats", stats);
            }
            item
        },
    )
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
    let source = sources(found)
        .into_iter()
        .find(|source| *call.parameter(0) == *source.name)
        .ok_or(ApiError::NoObject)?;
    let node = call.state.node_name();
    let mut item = item(&call, &source, &node);
    let details = Details::new(&call)?;
    let series = call.state.statistics.look_at(source.subject());
    let stats = channel_stats(&source.channel, &details, series.as_ref());
    if !stats.is_empty() {
        item.push("message_stats", stats);
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
