//! Client connections.

use crate::access;
use crate::call::{Answer, Call, Outcome};
use crate::error::ApiError;
use crate::json::{Json, Object, object};
use crate::listing::{Columns, Items, Listing};
use crate::statistics::{Details, Kind, Statistics, Subject};
use base::ConnectionId;
use broker::value::Value;
use hyper::Method;
use node::{ConnectionDetails, ConnectionFigures, ConnectionState, ConnectionSummary};
use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;

/// What an operator says who gives no reason.
const REASON: &str = "Closed via management plugin";

/// A connection's name: both ends of its socket.
pub(crate) fn name(details: &ConnectionDetails) -> String {
    name_of(details.peer.address, details.peer.local)
}

/// The same, as its summary knows it.
pub(crate) fn summary_name(summary: &ConnectionSummary) -> String {
    name_of(summary.peer, summary.local)
}

fn name_of(peer: SocketAddr, local: SocketAddr) -> String {
    format!("{} -> {}", canonical(peer), canonical(local))
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// A connection as its channels and queues name it.
pub(crate) fn short(connection: &ConnectionFigures) -> Object {
    let peer = canonical(connection.details.peer.address);
    object! {
        "name" => name(&connection.details),
        "peer_port" => peer.port(),
        "peer_host" => peer.ip().to_string(),
    }
}

/// These connections, by id.
pub(crate) async fn by_id(
    call: &Call,
    ids: impl IntoIterator<Item = ConnectionId>,
) -> HashMap<ConnectionId, ConnectionFigures> {
    let ids: HashSet<_> = ids.into_iter().collect();
    let ids: Vec<_> = ids.into_iter().collect();
    let connections = call.state.node.connections_of(&ids).await;
    connections
        .into_iter()
        .map(|connection| (connection.details.id, connection))
        .collect()
}

/// Those that the user may see: all for a monitor, else the user's own.
pub(crate) async fn visible(call: &Call) -> Vec<ConnectionSummary> {
    let mut connections = call.state.node.connection_summaries().await;
    if !access::is_monitor(call.user()) {
        connections.retain(|connection| connection.user == call.user().name);
    }
    connections
}

pub(crate) async fn list(call: Call) -> Outcome {
    let mut connections = visible(&call).await;
    connections.retain(|connection| is_wanted(&call, connection));
    show(call, connections).await
}

pub(crate) async fn of_vhost(call: Call) -> Outcome {
    let vhost = call.vhost()?.name.clone();
    let mut connections = visible(&call).await;
    connections.retain(|connection| connection.vhost == vhost);
    show(call, connections).await
}

/// Whether a list is about the connection's vhost, for all that its header says.
pub(crate) fn is_wanted(call: &Call, connection: &ConnectionSummary) -> bool {
    let wanted = call.vhost_wanted.as_ref();
    wanted.is_none_or(|vhost| connection.vhost == *vhost)
}

async fn show(call: Call, connections: Vec<ConnectionSummary>) -> Outcome {
    let details = Details::new(&call)?;
    let listing = Listing::new(&call.query)?;
    let filtered = listing.filter_made(connections, summary_name);
    let cut = match listing.order().and_then(Order::new) {
        Some(order) => {
            let statistics = &call.state.statistics;
            listing.cut_by(filtered, |own| order.key(statistics, own), Json::compare)?
        }
        None => listing.cut(filtered)?,
    };
    listing.stream(cut, List { call, details }).await
}

/// What items of a list are made by.
struct List {
    call: Call,
    details: Details,
}

impl Items<ConnectionSummary> for List {
    async fn make(&self, connections: &[ConnectionSummary]) -> Vec<Option<Object>> {
        let ids = connections.iter().map(|connection| connection.id);
        let found = by_id(&self.call, ids).await;
        let item = |connection| item(&self.call, connection, &self.details);
        let found = connections.iter().map(|own| found.get(&own.id));
        found.map(|connection| connection.map(item)).collect()
    }
}

/// What lists of connections are ordered by that their summaries know.
#[derive(Clone, Copy)]
enum Order {
    Name,
    User,
    Vhost,
    State,
    Channels,
    ConnectedAt,
    Received,
    Sent,
    /// How fast a count of bytes grows.
    Rate(&'static str),
}

impl Order {
    fn new(path: &str) -> Option<Self> {
        Some(match path {
            "name" => Self::Name,
            "user" => Self::User,
            "vhost" => Self::Vhost,
            "state" => Self::State,
            "channels" => Self::Channels,
            "connected_at" => Self::ConnectedAt,
            "recv_oct" => Self::Received,
            "send_oct" => Self::Sent,
            "recv_oct_details.rate" => Self::Rate("recv_oct"),
            "send_oct_details.rate" => Self::Rate("send_oct"),
            _ => return None,
        })
    }

    fn key(self, statistics: &Statistics, connection: &ConnectionSummary) -> Json {
        match self {
            Self::Name => Json::from(summary_name(connection)),
            Self::User => Json::from(&connection.user),
            Self::Vhost => Json::from(&connection.vhost),
            Self::State => Json::from(state(connection.state)),
            Self::Channels => Json::from(connection.channels.len()),
            Self::ConnectedAt => Json::from(connection.connected_at_ms),
            Self::Received => Json::from(connection.received_bytes),
            Self::Sent => Json::from(connection.sent_bytes),
            Self::Rate(key) => {
                let series = statistics.glance_at(Subject::Connection(connection.id));
                Json::from(series.map_or(0.0, |series| series.rate_of(key)))
            }
        }
    }
}

fn state(state: ConnectionState) -> &'static str {
    match state {
        ConnectionState::Starting => "starting",
        ConnectionState::Running => "running",
        ConnectionState::Blocking => "blocking",
        ConnectionState::Blocked => "blocked",
        ConnectionState::Flow => "flow",
        ConnectionState::Closing => "closing",
        ConnectionState::Closed => "closed",
    }
}

fn item(call: &Call, connection: &ConnectionFigures, details: &Details) -> Object {
    let own = &connection.details;
    let (peer, local) = (canonical(own.peer.address), canonical(own.peer.local));
    let tls = own.peer.tls.as_deref();
    let certificate = tls.and_then(|tls| tls.certificate.as_ref());
    let series = call.state.statistics.look_at(Subject::Connection(own.id));
    let mut item = object! {
        "auth_mechanism" => own.mechanism.clone(),
        "channel_max" => own.channel_max,
        "channels" => own.channels,
        "client_properties" => if call.is_operator() {
            call.arguments(&own.client_properties)
        } else {
            client_properties(own).into()
        },
        "connected_at" => own.connected_at_ms,
        "frame_max" => own.frame_max,
        "garbage_collection" => super::queues::garbage_collection(),
        "host" => local.ip().to_string(),
        "name" => name(own),
        "node" => call.state.node_name(),
        "peer_cert_issuer" => certificate.map(|known| known.issuer.clone()),
        "peer_cert_serial_number" => certificate.map(|known| known.serial_number.clone()),
        "peer_cert_subject" => certificate.map(|known| known.subject.clone()),
        "peer_cert_validity" => certificate.map(|known| known.validity.clone()),
        "peer_host" => peer.ip().to_string(),
        "peer_port" => peer.port(),
        "port" => local.port(),
        "protocol" => "AMQP 0-9-1",
        "recv_cnt" => own.reads,
        "send_cnt" => own.writes,
        "send_pend" => own.unsent_bytes,
        "ssl" => tls.is_some(),
        "ssl_cipher" => tls.map(|tls| tls.cipher),
        "ssl_hash" => tls.map(|tls| tls.hash),
        "ssl_key_exchange" => tls.map(|tls| tls.key_exchange),
        "ssl_protocol" => tls.map(|tls| tls.protocol),
        "state" => state(own.state),
        "timeout" => own.heartbeat_s,
        "type" => "network",
        "user" => &own.user,
        "user_provided_name" => own.user_provided_name.clone(),
        "user_who_performed_action" => &own.user,
        "vhost" => &own.vhost,
    };
    if own.throttled {
        item.push("throttled", true);
    }
    if call.is_operator() {
        item.push("pid", call.pid(own.id, 0));
    }
    for (key, value) in [
        ("recv_oct", own.received_bytes),
        ("send_oct", own.sent_bytes),
    ] {
        details.push(&mut item, Kind::Data, key, value, series.as_ref());
    }
    details.push_uncounted(&mut item, Kind::Data, "reductions");
    item
}

/// What the client said about itself, as far as JSON can hold it.
fn client_properties(details: &ConnectionDetails) -> Object {
    let mut item = Object::default();
    for (key, value) in details.client_properties.iter() {
        if !matches!(value, Value::Void) {
            item.push(key.to_owned(), value);
        }
    }
    item
}

/// The connection in the path.
///
/// # Errors
/// There is none, or the user may not see it.
pub(crate) async fn expect(call: &Call) -> Result<ConnectionFigures, ApiError> {
    let connections = call.state.node.connection_summaries().await;
    let id = connections
        .iter()
        .find(|connection| *call.parameter(0) == *summary_name(connection))
        .map(|connection| connection.id)
        .ok_or(ApiError::NoObject)?;
    let mut found = call.state.node.connections_of(&[id]).await;
    let found = found.pop().ok_or(ApiError::NoObject)?;
    if access::is_monitor(call.user()) || found.details.user == call.user().name {
        Ok(found)
    } else {
        Err(ApiError::NotAuthorised(
            "User not authorised to access object",
        ))
    }
}

pub(crate) async fn one(call: Call) -> Outcome {
    let connection = expect(&call).await?;
    if call.method == Method::DELETE {
        let own = connection.details.user == call.user().name;
        if !own && !access::is_administrator(call.user()) {
            return Err(ApiError::NotAuthorised(
                "User not authorised to access object",
            ));
        }
        close(&call, connection.details.id).await;
        return Ok(Answer::NoContent);
    }
    let details = Details::new(&call)?;
    let item = item(&call, &connection, &details);
    Ok(Columns::new(&call.query).apply(item).into())
}

async fn close(call: &Call, connection: ConnectionId) {
    let reason = call.reason.clone().unwrap_or_else(|| REASON.to_owned());
    call.state.node.close_connection(connection, reason).await;
}

pub(crate) async fn of_user(call: Call) -> Outcome {
    let user = call.parameter(0).clone();
    let may = call.user().name == user
        || match call.method {
            Method::DELETE => access::is_administrator(call.user()),
            _ => access::is_monitor(call.user()),
        };
    if !may {
        return Err(ApiError::NotAuthorised(
            "User not authorised to access object",
        ));
    }
    let mut connections = call.state.node.connection_summaries().await;
    connections.retain(|connection| connection.user == user);
    if call.method == Method::DELETE {
        for connection in &connections {
            close(&call, connection.id).await;
        }
        return Ok(Answer::NoContent);
    }
    connections.retain(|connection| is_wanted(&call, connection));
    let node = call.state.node_name();
    let items: Vec<_> = connections
        .iter()
        .map(|connection| {
            object! {
                "name" => summary_name(connection),
                "vhost" => &connection.vhost,
                "user" => &connection.user,
                "node" => node.clone(),
            }
        })
        .collect();
    Ok(Json::from(items).into())
}

/// Sessions are AMQP 1.0's; there are none.
pub(crate) async fn sessions(call: Call) -> Outcome {
    expect(&call).await?;
    Ok(Json::List(Vec::new()).into())
}
