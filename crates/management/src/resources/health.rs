//! Health checks: 200 if all is well, 503 if not.

use crate::access;
use crate::call::{Call, Outcome};
use crate::error::ApiError;
use crate::json::{Json, Object, object};
use crate::resources::overview;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// Time units of certificate checks, in seconds.
const UNITS: [(&str, i64); 4] = [
    ("days", 86_400),
    ("weeks", 7 * 86_400),
    ("months", 365 * 86_400 / 12),
    ("years", 365 * 86_400),
];

fn well() -> Object {
    object! { "status" => "ok" }
}

pub(crate) async fn ok(_call: Call) -> Outcome {
    Ok(well().into())
}

pub(crate) async fn alarms(call: Call) -> Outcome {
    no_alarm(&call, "There are alarms in effect in the cluster")
}

pub(crate) async fn local_alarms(call: Call) -> Outcome {
    no_alarm(&call, "There are alarms in effect on the node")
}

fn no_alarm(call: &Call, reason: &'static str) -> Outcome {
    let resources = call.state.node.resources();
    let node = call.state.node_name();
    let raised: Vec<Object> = [
        (resources.memory_alarm, "memory"),
        (resources.disk_alarm, "disk"),
    ]
    .into_iter()
    .filter(|(raised, _)| *raised)
    .map(|(_, resource)| object! { "node" => node.clone(), "resource" => resource })
    .collect();
    if raised.is_empty() {
        return Ok(well().into());
    }
    Err(ApiError::Unavailable(
        object! {
            "status" => "failed",
            "reason" => reason,
            "alarms" => raised,
        }
        .into(),
    ))
}

/// Whether another client may connect.
pub(crate) async fn below_connection_limit(call: Call) -> Outcome {
    match connections_at_limit(&call) {
        None => Ok(well().into()),
        Some(_) => Err(failed(CONNECTION_LIMIT)),
    }
}

/// Whether clients are let in: the node runs, it listens, and another one may connect.
pub(crate) async fn ready_to_serve(call: Call) -> Outcome {
    if call.state.node.is_draining() {
        return Err(failed(DRAINED));
    }
    if call.state.node.amqp_listeners().all().next().is_none() {
        return Err(failed("no active listeners for AMQP/AMQPS"));
    }
    match connections_at_limit(&call) {
        None => Ok(well().into()),
        Some(connections) => Err(ApiError::Unavailable(
            object! {
                "status" => "failed",
                "reason" => CONNECTION_LIMIT,
                "connections" => connections,
            }
            .into(),
        )),
    }
}

const CONNECTION_LIMIT: &str = "node connection limit is reached";

/// How many connections there are, if there may be no more.
fn connections_at_limit(call: &Call) -> Option<u64> {
    let max = call.state.node.settings().connections_max?;
    let count = call.state.node.connection_count();
    (count >= max).then_some(count)
}

fn failed(reason: &'static str) -> ApiError {
    ApiError::Unavailable(object! { "status" => "failed", "reason" => reason }.into())
}

/// Certificates of listeners that cease to hold within a time.
pub(crate) async fn certificates(call: Call) -> Outcome {
    let unit = UNITS.iter().find(|(unit, _)| *call.parameter(1) == **unit);
    let Some((_, seconds)) = unit else {
        return Err(ApiError::bad(
            "Time unit not recognised. Supported units: days, weeks, months, years.",
        ));
    };
    let Ok(count) = call.parameter(0).parse::<u32>() else {
        return Err(ApiError::bad("Invalid expiration value"));
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_or(0, |since| since.as_secs()).cast_signed();
    let before = now.saturating_add(i64::from(count) * seconds);
    let settings = call.state.node.settings();
    let expired: Vec<Object> = overview::listeners(&call)
        .into_iter()
        .filter_map(|(protocol, address)| {
            let tls = match protocol {
                "amqp/ssl" => &settings.tls,
                "https" => &settings.management.tls,
                _ => return None,
            };
            let certfile = expiring(tls.certfile.as_deref(), before);
            let cacertfile = expiring(tls.cacertfile.as_deref(), before);
            (!certfile.is_empty() || !cacertfile.is_empty()).then(|| {
                object! {
                    "node" => call.state.node_name(),
                    "protocol" => protocol,
                    "interface" => address.ip().to_string(),
                    "port" => address.port(),
                    "certfile" => shown(tls.certfile.as_deref()),
                    "cacertfile" => shown(tls.cacertfile.as_deref()),
                    "certfile_expires_on" => certfile,
                    "cacertfile_expires_on" => cacertfile,
                }
            })
        })
        .collect();
    if expired.is_empty() {
        return Ok(well().into());
    }
    Err(ApiError::Unavailable(
        object! {
            "status" => "failed",
            "reason" => "Certificates expiring",
            "expired" => expired,
        }
        .into(),
    ))
}

/// What ceases to hold in a file before a time; what is wrong with it counts, too.
pub(super) fn expiring(file: Option<&Path>, before: i64) -> Vec<String> {
    let Some(file) = file else {
        return Vec::new();
    };
    match transport::expiry_times(file) {
        Ok(ends) => {
            let soon = ends.into_iter().filter(|end| *end < before);
            soon.map(transport::shown_time).collect()
        }
        Err(error) => vec![error.to_string()],
    }
}

pub(super) fn shown(file: Option<&Path>) -> String {
    file.map(|file| file.display().to_string())
        .unwrap_or_default()
}

/// Whether clients are served: not while the node is in maintenance.
pub(crate) async fn in_service(call: Call) -> Outcome {
    if call.state.node.is_draining() {
        return Err(failed(DRAINED));
    }
    Ok(well().into())
}

const DRAINED: &str = "node is being drained";

pub(crate) async fn port(call: Call) -> Outcome {
    let Ok(wanted) = call.parameter(0).parse::<u16>() else {
        return Err(ApiError::bad("Invalid port"));
    };
    let ports: Vec<u16> = overview::listeners(&call)
        .into_iter()
        .map(|(_, address)| address.port())
        .collect();
    if ports.contains(&wanted) {
        return Ok(object! { "port" => wanted, "status" => "ok" }.into());
    }
    Err(ApiError::Unavailable(
        object! {
            "ports" => ports,
            "reason" => "No active listener",
            "status" => "failed",
            "missing" => wanted,
        }
        .into(),
    ))
}

pub(crate) async fn protocols(call: Call) -> Outcome {
    let mut active: Vec<&'static str> = overview::listeners(&call)
        .into_iter()
        .map(|(protocol, _)| protocol)
        .collect();
    active.dedup();
    let missing: Vec<String> = call
        .parameter(0)
        .split(',')
        .filter(|wanted| !active.contains(&normal(wanted)))
        .map(str::to_owned)
        .collect();
    if missing.is_empty() {
        return Ok(object! { "status" => "ok", "protocols" => active }.into());
    }
    Err(ApiError::Unavailable(
        object! {
            "reason" => "No active listener",
            "status" => "failed",
            "protocols" => active,
            "missing" => missing,
        }
        .into(),
    ))
}

/// Other names of the protocols that this node speaks.
fn normal(protocol: &str) -> &str {
    match protocol {
        "amqp091" | "amqp0.9.1" | "amqp0-9-1" | "amqp0.9" | "amqp0-9" => "amqp",
        other => other,
    }
}

/// Every quorum queue of this node has its leader here; the virtual host has to be there.
pub(crate) async fn leaders_of_vhost(call: Call) -> Outcome {
    call.watched_vhost()?;
    Ok(well().into())
}

pub(crate) async fn quorum_critical(_call: Call) -> Outcome {
    Ok(object! { "reason" => "single node cluster", "status" => "ok" }.into())
}

pub(crate) async fn aliveness(call: Call) -> Outcome {
    let vhost = call.vhost()?;
    access::may_open(&call.metadata, call.principal(), &vhost.name)
        .await
        .map_err(|_| ApiError::NotAuthorised("Access refused."))?;
    let shown: Json = well().into();
    Ok(shown.into())
}
