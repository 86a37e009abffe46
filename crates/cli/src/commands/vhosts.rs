//! Virtual hosts.

use super::{Done, document, users};
use crate::Failure;
use crate::call::Call;
use crate::failure::{DATA, SOFTWARE, UNAVAILABLE};
use crate::node::encode;
use crate::output::{Formatter, Output};
use crate::term::Term;
use serde_json::{Map, Value as Json, json};

pub(super) const COLUMNS: [&str; 8] = [
    "cluster_state",
    "default_queue_type",
    "description",
    "metadata",
    "name",
    "protected_from_deletion",
    "tags",
    "tracing",
];

const LIMITS: [&str; 2] = ["max-connections", "max-queues"];

fn path(vhost: &str) -> String {
    format!("/api/vhosts/{}", encode(vhost))
}

fn atoms(list: &Json) -> Term {
    Term::atoms(
        list.as_array()
            .into_iter()
            .flatten()
            .filter_map(Json::as_str),
    )
}

fn cell(vhost: &Json, column: &str) -> Term {
    match column {
        "tags" => atoms(&vhost["tags"]),
        "metadata" => Term::Map(vec![
            (
                Term::atom("description"),
                Term::from_json(&vhost["metadata"]["description"]),
            ),
            (Term::atom("tags"), atoms(&vhost["metadata"]["tags"])),
            (
                Term::atom("default_queue_type"),
                Term::from_json(&vhost["metadata"]["default_queue_type"]),
            ),
        ]),
        "cluster_state" => {
            let nodes = vhost["cluster_state"].as_object().into_iter().flatten();
            Term::List(
                nodes
                    .map(|(node, state)| {
                        Term::pair(node, Term::atom(state.as_str().unwrap_or_default()))
                    })
                    .collect(),
            )
        }
        other => Term::from_json(&vhost[other]),
    }
}

pub(crate) fn list_vhosts(call: &mut Call) -> Done {
    let columns = super::listing::columns(&call.arguments.values, &COLUMNS, &["name"])?;
    call.say("Listing vhosts ...");
    let vhosts = call.list("/api/vhosts?disable_stats=true")?;
    let rows = vhosts.iter().map(|vhost| {
        let cells = columns.iter().map(|column| cell(vhost, column));
        cells.collect()
    });
    let rows = rows.collect();
    Ok(Output::Rows {
        columns,
        rows,
        marks_empty: false,
    })
}

/// What the options say about a virtual host.
fn described(call: &Call) -> Map<String, Json> {
    let mut body = Map::new();
    let options = [
        ("description", "description"),
        ("tags", "tags"),
        ("default-queue-type", "default_queue_type"),
        ("protected-from-deletion", "protected_from_deletion"),
    ];
    for (option, key) in options {
        if let Some(value) = call.arguments.option(option) {
            body.insert(key.to_owned(), json!(value));
        }
    }
    body
}

pub(crate) fn add_vhost(call: &mut Call) -> Done {
    let vhost = call.value(0).to_owned();
    let body = described(call);
    check_queue_type(&body)?;
    call.say(&format!("Adding vhost \"{vhost}\" ..."));
    // One that exists stays as it is.
    if call.node.get(&path(&vhost))?.is_missing() {
        Call::done(call.node.put(&path(&vhost), &Json::Object(body))?)?;
    }
    Ok(Output::Nothing)
}

fn check_queue_type(body: &Map<String, Json>) -> Result<(), Failure> {
    match body.get("default_queue_type").and_then(Json::as_str) {
        None | Some("classic" | "quorum" | "stream" | "undefined") => Ok(()),
        Some(other) => Err(Failure::argument(format!(
            "Bad argument: Default queue type must be one of: quorum, stream, classic. Provided: {other}"
        ))),
    }
}

/// Changes a virtual host, of which everything else stays.
fn change(call: &mut Call, vhost: &str, changes: Map<String, Json>) -> Done {
    let answer = call.node.get(&path(vhost))?;
    if answer.is_missing() {
        return Err(if call.command.name == "set_vhost_tags" {
            Failure::error(DATA, format!("Virtual host \"{vhost}\" does not exist"))
        } else {
            Failure::no_vhost(vhost)
        });
    }
    let known = answer.ok()?;
    let mut body = known["metadata"].as_object().cloned().unwrap_or_default();
    for key in ["protected_from_deletion", "tracing"] {
        body.insert(key.to_owned(), known[key].clone());
    }
    body.extend(changes);
    Call::done(call.node.put(&path(vhost), &Json::Object(body))?)?;
    Ok(Output::Nothing)
}

pub(crate) fn update_vhost_metadata(call: &mut Call) -> Done {
    let vhost = call.value(0).to_owned();
    let changes = described(call);
    if changes.is_empty() {
        return Err(Failure::usage("not enough arguments."));
    }
    check_queue_type(&changes)?;
    call.say(&format!("Updating metadata of vhost \"{vhost}\" ..."));
    change(call, &vhost, changes)
}

pub(crate) fn set_vhost_tags(call: &mut Call) -> Done {
    let vhost = call.value(0).to_owned();
    let tags: Vec<String> = call.arguments.values.iter().skip(1).cloned().collect();
    call.say(&format!(
        "Setting tags for virtual host \"{vhost}\" to [{}] ...",
        tags.join(", ")
    ));
    change(
        call,
        &vhost,
        Map::from_iter([("tags".to_owned(), json!(tags))]),
    )
}

pub(crate) fn delete_vhost(call: &mut Call) -> Done {
    let vhost = call.value(0).to_owned();
    call.say(&format!("Deleting vhost \"{vhost}\" ..."));
    let answer = call.node.delete(&path(&vhost))?;
    if answer.is_missing() {
        return Err(Failure::no_vhost(&vhost));
    }
    match answer.refused() {
        None => Ok(Output::Nothing),
        Some(reason) if reason.contains("protected from deletion") => Err(is_protected(call)),
        Some(reason) => Err(Failure::error(UNAVAILABLE, reason)),
    }
}

fn is_protected(call: &Call) -> Failure {
    let reason = "Cannot delete this virtual host: it is protected from deletion. To lift the protection, inspect and update its metadata";
    if call.formatter == Formatter::Json {
        let failure = json!({ "node": call.node.name(), "reason": reason, "result": "error" });
        return Failure::plain(UNAVAILABLE, failure.to_string());
    }
    Failure::error(DATA, reason)
}

pub(crate) fn enable_deletion_protection(call: &mut Call) -> Done {
    let vhost = call.value(0).to_owned();
    call.say(&format!(
        "Protecting virtual host \"{vhost}\" from removal by updating its metadata..."
    ));
    protect(call, &vhost, json!(true))
}

pub(crate) fn disable_deletion_protection(call: &mut Call) -> Done {
    let vhost = call.value(0).to_owned();
    call.say(&format!(
        "Removing deletion protection from virtual host \"{vhost}\" by updating its metadata..."
    ));
    protect(call, &vhost, json!(false))
}

fn protect(call: &mut Call, vhost: &str, value: Json) -> Done {
    change(
        call,
        vhost,
        Map::from_iter([("protected_from_deletion".to_owned(), value)]),
    )
}

pub(crate) fn set_vhost_limits(call: &mut Call) -> Done {
    let definition = call.value(0).to_owned();
    call.say(&format!(
        "Setting vhost limits to \"{definition}\" for vhost \"{}\" ...",
        call.vhost()
    ));
    let limits = document(&definition)?;
    call.expect_vhost()?;
    let limits = users::limits_in(&limits)?;
    users::check_limits(&limits, &LIMITS, "limits").map_err(|failure| {
        Failure::error(
            failure.code,
            format!("Validation failed\n\n{}\n", failure.text),
        )
    })?;
    for (name, value) in limits {
        let path = format!("/api/vhost-limits/{}/{}", call.vhost_path(), encode(&name));
        Call::done(call.node.put(&path, &json!({ "value": value }))?)?;
    }
    Ok(Output::Nothing)
}

pub(crate) fn clear_vhost_limits(call: &mut Call) -> Done {
    call.say(&format!("Clearing vhost \"{}\" limits ...", call.vhost()));
    call.expect_vhost()?;
    for name in LIMITS {
        let path = format!("/api/vhost-limits/{}/{name}", call.vhost_path());
        Call::done(call.node.delete(&path)?)?;
    }
    Ok(Output::Nothing)
}

pub(crate) fn list_vhost_limits(call: &mut Call) -> Done {
    if call.arguments.has("global") {
        call.say("Listing limits for all vhosts ...");
        let all = call.list("/api/vhost-limits")?;
        let rows = all.iter().map(|item| {
            vec![
                Term::from_json(&item["vhost"]),
                Term::text(item["value"].to_string()),
            ]
        });
        return Ok(Output::rows(&["vhost", "limits"], rows.collect()).marking_empty());
    }
    call.say(&format!(
        "Listing limits for vhost \"{}\" ...",
        call.vhost()
    ));
    let own = call.items_in_vhost("vhost-limits")?;
    Ok(match own.first() {
        Some(item) => Output::line(item["value"].to_string()),
        None => Output::rows(&["vhost", "limits"], Vec::new()).marking_empty(),
    })
}

pub(crate) fn restart_vhost(call: &mut Call) -> Done {
    let (vhost, node) = (call.vhost().to_owned(), call.node.name().to_owned());
    call.say(&format!(
        "Trying to restart vhost '{vhost}' on node '{node}' ..."
    ));
    if !call.vhost_exists()? {
        return Err(Failure::error(
            SOFTWARE,
            format!(
                "Failed to start vhost '{vhost}' on node '{node}'Reason: {{:no_such_vhost, {}}}",
                Term::text(&vhost).inspect()
            ),
        ));
    }
    Ok(Output::message(format!(
        "Vhost '{vhost}' is already running on node '{node}'"
    )))
}

pub(crate) fn reconcile_vhosts(call: &mut Call) -> Done {
    call.say("Will try to initiate virtual host reconciliation on all reachable cluster nodes...");
    Ok(Output::Nothing)
}

pub(crate) fn trace_on(call: &mut Call) -> Done {
    let vhost = call.vhost().to_owned();
    call.say(&format!("Starting tracing for vhost \"{vhost}\" ..."));
    trace(call, &vhost, true)?;
    Ok(Output::line(format!("Trace enabled for vhost {vhost}")))
}

pub(crate) fn trace_off(call: &mut Call) -> Done {
    let vhost = call.vhost().to_owned();
    call.say(&format!("Stopping tracing for vhost \"{vhost}\" ..."));
    trace(call, &vhost, false)?;
    Ok(Output::line(format!("Trace disabled for vhost {vhost}")))
}

fn trace(call: &mut Call, vhost: &str, on: bool) -> Done {
    change(
        call,
        vhost,
        Map::from_iter([("tracing".to_owned(), json!(on))]),
    )
}
