//! What observers hear of vhosts, policies, parameters and limits.
//!
//! RabbitMQ keeps several of these in runtime parameters, so it tells some changes twice, as what they are and as parameters; so
//! does this. Compat: it also tells of each queue that a policy applies to now (`queue.policy.updated`); with 100,000 queues that
//! would be as many events for one command, so here nothing is said.

use super::{Event, number, text};
use crate::json::{Json, Map};
use crate::metadata::Metadata;
use crate::policy::{Policy, PolicyScope};
use crate::value::{Arguments, Value};
use base::Name;

/// Levels of arrays and objects that are told; what is deeper is left off.
const DEPTH_MAX: usize = 16;

/// A JSON value as a header.
fn header(value: &Json, depth: usize) -> Value {
    match value {
        Json::Null => text("null"),
        Json::Bool(value) => Value::Bool(*value),
        Json::Number(value) => match value.as_i64() {
            Some(value) => number(value),
            None => Value::Double(value.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(value) => text(value),
        Json::Array(_) | Json::Object(_) if depth == 0 => Value::Void,
        Json::Array(values) => Value::Array(
            values
                .iter()
                .map(|value| header(value, depth - 1))
                .collect(),
        ),
        Json::Object(fields) => table(fields, depth),
    }
}

fn table(fields: &Map<String, Json>, depth: usize) -> Value {
    let fields = fields
        .iter()
        .map(|(key, value)| (key.as_str().into(), header(value, depth - 1)));
    Value::Table(Arguments::from_pairs(fields))
}

fn json(value: &Json) -> Value {
    header(value, DEPTH_MAX)
}

/// `vhost.created` or `vhost.updated`: everything that is known about the vhost now.
pub(super) fn vhost(key: &'static str, metadata: &Metadata, name: &Name, node: &str) -> Event {
    let running = Arguments::from_pairs([(node.into(), text("running"))]);
    let mut event = Event::new(
        key,
        [
            ("name", text(name)),
            ("cluster_state", Value::Table(running)),
        ],
    );
    let Some(vhost) = metadata.vhost(name) else {
        return event;
    };
    let known = &vhost.metadata;
    let queue_type = known.default_queue_type.as_deref().unwrap_or("classic");
    let tags = known.tags.iter().map(|tag| text(tag)).collect();
    for (key, value) in [
        ("description", text(&known.description)),
        ("tags", Value::Array(tags)),
        ("default_queue_type", text(queue_type)),
        ("tracing", Value::Bool(known.tracing)),
        (
            "protected_from_deletion",
            Value::Bool(known.protected_from_deletion),
        ),
    ] {
        event.headers.insert(key, value);
    }
    event
}

/// A parameter was set (`value`) or cleared.
fn parameter(component: &str, name: &str, value: Option<&Json>, vhost: Option<&Name>) -> Event {
    let key = match value {
        Some(_) => "parameter.set",
        None => "parameter.cleared",
    };
    let mut event = Event::new(key, [("component", text(component)), ("name", text(name))]);
    if let Some(value) = value {
        event.headers.insert("value", json(value));
    }
    if let Some(vhost) = vhost {
        event.headers.insert("vhost", text(vhost));
    }
    event
}

pub(super) fn push_policy_set(
    events: &mut Vec<Event>,
    vhost: &Name,
    scope: PolicyScope,
    policy: &Policy,
) {
    if scope == PolicyScope::Operator {
        let value = policy.to_json();
        let name = &policy.name;
        events.push(parameter(
            scope.component(),
            name,
            Some(&value),
            Some(vhost),
        ));
    }
    events.push(Event::new(
        "policy.set",
        [
            ("name", text(&policy.name)),
            ("vhost", text(vhost)),
            ("pattern", text(policy.pattern.source())),
            ("apply-to", text(policy.apply_to.as_str())),
            ("priority", json(&Json::Number(policy.priority.clone()))),
            ("definition", table(&policy.definition, DEPTH_MAX)),
        ],
    ));
}

pub(super) fn push_policy_cleared(
    events: &mut Vec<Event>,
    vhost: &Name,
    scope: PolicyScope,
    name: &Name,
) {
    let key = match scope {
        PolicyScope::User => "policy.cleared",
        PolicyScope::Operator => {
            events.push(parameter(scope.component(), name, None, Some(vhost)));
            "operator.policy.cleared"
        }
    };
    events.push(Event::new(
        key,
        [("name", text(name)), ("vhost", text(vhost))],
    ));
}

pub(super) fn push_vhost_limits(events: &mut Vec<Event>, metadata: &Metadata, vhost: &Name) {
    let limits = metadata.vhost(vhost).map(|vhost| vhost.limits.to_json());
    let limits = limits.unwrap_or_default();
    events.push(parameter(
        "vhost-limits",
        "limits",
        Some(&limits),
        Some(vhost),
    ));
    let mut event = Event::new(
        "vhost.limits.set",
        [("name", text("limits")), ("vhost", text(vhost))],
    );
    add_limits(&mut event, &limits);
    events.push(event);
}

pub(super) fn push_user_limits(events: &mut Vec<Event>, metadata: &Metadata, user: &Name) {
    let limits = metadata.user(user).map(|user| user.limits.to_json());
    let limits = limits.unwrap_or_default();
    let is_set = limits.as_object().is_some_and(|fields| !fields.is_empty());
    let key = if is_set {
        "user.limits.set"
    } else {
        "user.limits.cleared"
    };
    let mut event = Event::new(key, [("name", text("limits")), ("username", text(user))]);
    add_limits(&mut event, &limits);
    events.push(event);
}

fn add_limits(event: &mut Event, limits: &Json) {
    for (key, value) in limits.as_object().into_iter().flatten() {
        event.headers.insert(key, json(value));
    }
}

/// A parameter of a component that tells of itself in no other way.
pub(super) fn push_parameter(
    events: &mut Vec<Event>,
    vhost: &Name,
    component: &str,
    name: &str,
    value: Option<&Json>,
) {
    if !["policy", "operator_policy", "vhost-limits"].contains(&component) {
        events.push(parameter(component, name, value, Some(vhost)));
    }
}

/// A global parameter.
pub(super) fn push_global_parameter(events: &mut Vec<Event>, name: &str, value: Option<&Json>) {
    events.push(parameter("global", name, value, None));
}
