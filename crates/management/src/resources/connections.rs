//! Client connections.

use crate::access;
use crate::call::{Answer, Call, Outcome};
use crate::error::ApiError;
use crate::json::{Json, Object, object};
use crate::listing::{Columns, Listing};
use crate::statistics::{Details, Kind, Subject};
use base::ConnectionId;
use broker::value::Value;
use hyper::Method;
use node::{ConnectionDetails, ConnectionFigures, ConnectionState};
use std::collections::HashMap;
use std::net::SocketAddr;

/// What an operator says who gives no reason.
const REASON: &str = "Closed via management plugin";

/// A connection's name: both ends of its socket.
pub(crate) fn name(details: &ConnectionDetails) -> String {
    format!(
        "{} -> {}",
        canonical(details.peer.address),
        canonical(details.peer.local)
    )
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

/// All connections, by id.
pub(crate) async fn by_id(call: &Call) -> HashMap<ConnectionId, ConnectionFigures> {
    let connections = call.state.node.connections().await;
    connections
        .into_iter()
        .map(|connection| (connection.details.id, connection))
        .collect()
}

/// Those that the user may see: all for a monitor, else the user's own.
pub(crate) async fn visible(call: &Call) -> Vec<ConnectionFigures> {
    let mut connections = call.state.node.connections().await;
    if !access::is_monitor(call.user()) {
        connections.retain(|connection| connection.details.user == call.user().name);
    }
    connections
}

pub(crate) async fn list(call: Call) -> Outcome {
    let connections = visible(&call).await;
    show(&call, connections)
}

pub(crate) async fn of_vhost(call: Call) -> Outcome {
    let vhost = call.vhost()?.name.clone();
    let mut connections = visible(&call).await;
    connections.retain(|connection| connection.details.vhost == vhost);
    show(&call, connections)
}

fn show(call: &Call, connections: Vec<ConnectionFigures>) -> Outcome {
    let details = Details::new(call)?;
    let named: Vec<_> = connections
        .into_iter()
        .map(|connection| (name(&connection.details), connection))
        .collect();
    Listing::new(&call.query)?.list(
        named,
        |(name, _)| name,
        |(_, connection)| item(call, connection, &details),
    )
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
        "peer_cert_subject" => certificate.map(|known| known.subject.clone()),
        "peer_cert_validity" => certificate.map(|known| known.validity.clone()),
        "peer_host" => peer.ip().to_string(),
        "peer_port" => peer.port(),
        "port" => local.port(),
        "protocol" => "AMQP 0-9-1",
        "reductions" => 0_u64,
        "reductions_details" => object! { "rate" => 0.0 },
        "send_pend" => 0_u64,
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
    let connections = call.state.node.connections().await;
    let found = connections
        .into_iter()
        .find(|connection| *call.parameter(0) == *name(&connection.details))
        .ok_or(ApiError::NoObject)?;
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
    let mut connections = call.state.node.connections().await;
    connections.retain(|connection| connection.details.user == user);
    if call.method == Method::DELETE {
        for connection in &connections {
            close(&call, connection.details.id).await;
        }
        return Ok(Answer::NoContent);
    }
    let node = call.state.node_name();
    let items: Vec<_> = connections
        .iter()
        .map(|connection| {
            object! {
                "name" => name(&connection.details),
                "vhost" => &connection.details.vhost,
                "user" => &connection.details.user,
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
