//! Health checks: 200 if all is well, 503 if not.

use crate::call::{Call, Outcome};
use crate::error::ApiError;
use crate::json::{Json, Object, object};
use crate::resources::overview;

/// Time units of certificate checks.
const UNITS: [&str; 4] = ["days", "weeks", "months", "years"];

fn well() -> Object {
    object! { "status" => "ok" }
}

pub(crate) async fn ok(_call: Call) -> Outcome {
    Ok(well().into())
}

pub(crate) async fn alarms(call: Call) -> Outcome {
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
            "reason" => "resource alarm(s) in effect",
            "alarms" => raised,
        }
        .into(),
    ))
}

/// There are no certificates that could expire.
pub(crate) async fn certificates(call: Call) -> Outcome {
    if !UNITS.iter().any(|unit| *call.parameter(1) == *unit) {
        return Err(ApiError::bad(
            "Time unit not recognised. Supported units: days, weeks, months, years.",
        ));
    }
    if call.parameter(0).parse::<u32>().is_err() {
        return Err(ApiError::bad("Invalid expiration value"));
    }
    Ok(well().into())
}

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

pub(crate) async fn quorum_critical(_call: Call) -> Outcome {
    Ok(object! { "reason" => "single node cluster", "status" => "ok" }.into())
}

pub(crate) async fn aliveness(call: Call) -> Outcome {
    let vhost = call.vhost()?;
    if call.user().permission(&vhost.name).is_none() {
        return Err(ApiError::NotAuthorised("Access refused."));
    }
    let shown: Json = well().into();
    Ok(shown.into())
}
