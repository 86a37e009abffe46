//! Replicas of queues and streams, which have one each so far, and preparing a node for an upgrade.

use super::Done;
use super::diagnostics::{missed, told};
use crate::Failure;
use crate::call::Call;
use crate::failure::{DATA, UNAVAILABLE};
use crate::node::encode;
use crate::output::{Formatter, Output};
use crate::term::Term;
use serde_json::{Value as Json, json};

/// Bytes of a message that `peek` shows.
const PEEK_BYTES: usize = 64;

/// The queue in the first argument, if there is one.
fn find(call: &mut Call) -> Result<Option<Json>, Failure> {
    let path = format!(
        "/api/queues/{}/{}",
        call.vhost_path(),
        encode(call.value(0))
    );
    let answer = call.node.get(&path)?;
    if answer.is_missing() {
        return Ok(None);
    }
    answer.ok().map(Some)
}

fn expect(call: &mut Call) -> Result<Json, Failure> {
    find(call)?.ok_or_else(|| {
        Failure::plain(
            DATA,
            format!(
                "queue '{}' was not found in virtual host '{}'",
                call.value(0),
                call.vhost()
            ),
        )
    })
}

/// The failure of what queues of this type cannot do.
fn unsupported(queue: &Json) -> Failure {
    let kind = queue["type"].as_str().unwrap_or_default();
    Failure::error(
        UNAVAILABLE,
        format!("{{:unsupported, :rabbit_{kind}_queue}}"),
    )
}

const STATUS_COLUMNS: [&str; 10] = [
    "Node Name",
    "Raft State",
    "Membership",
    "Last Log Index",
    "Last Written",
    "Last Applied",
    "Commit Index",
    "Snapshot Index",
    "Term",
    "Machine Version",
];

pub(crate) fn quorum_status(call: &mut Call) -> Done {
    call.say(&format!(
        "Status of queue {} on node {} ...",
        call.value(0),
        call.node.name()
    ));
    let queue = expect(call)?;
    if queue["type"] != "quorum" {
        return Err(unsupported(&queue));
    }
    Ok(single_member(call.node.name()))
}

/// One copy needs no log of its own: it is always the leader, and what it has is committed.
pub(super) fn single_member(node: &str) -> Output {
    let mut row = vec![Term::atom(node), Term::atom("leader"), Term::atom("voter")];
    row.resize(STATUS_COLUMNS.len(), Term::int(0));
    Output::rows(&STATUS_COLUMNS, vec![row])
}

/// Checks that a node is in the cluster, which is this one.
fn expect_in_cluster(call: &Call, node: &str) -> Result<(), Failure> {
    if node == call.node.name() {
        return Ok(());
    }
    Err(Failure::state(format!(
        "node {node} is not a member of the cluster"
    )))
}

fn expect_membership(call: &Call) -> Result<(), Failure> {
    match call.arguments.option("membership") {
        None | Some("promotable" | "voter") => Ok(()),
        Some(other) => {
            let text = format!("voter status '{other}' is not recognised.");
            Err(Failure::usage(Term::text(text).inspect()))
        }
    }
}

/// A queue of the kind that has members.
fn expect_quorum(call: &mut Call) -> Result<(), Failure> {
    let queue = expect(call)?;
    if queue["type"] == "quorum" {
        Ok(())
    } else {
        Err(unsupported(&queue))
    }
}

/// The one node there is has a member of every queue already.
pub(crate) fn add_member(call: &mut Call) -> Done {
    let (name, node) = (call.value(0).to_owned(), call.value(1).to_owned());
    expect_membership(call)?;
    expect_in_cluster(call, &node)?;
    call.say(&format!(
        "Adding a member for queue {name} on node {node}..."
    ));
    expect_quorum(call)?;
    Ok(Output::Nothing)
}

/// Compat: where there is no member none has to be removed.
pub(crate) fn delete_member(call: &mut Call) -> Done {
    let (name, node) = (call.value(0).to_owned(), call.value(1).to_owned());
    call.say(&format!(
        "Removing a replica of queue {name} on node {node}..."
    ));
    expect_quorum(call)?;
    if node == call.node.name() {
        return Err(Failure::error(UNAVAILABLE, "last_node"));
    }
    Ok(Output::Nothing)
}

const CHANGE_COLUMNS: [&str; 4] = ["vhost", "name", "size", "result"];

/// Every queue has its one member already.
pub(crate) fn grow(call: &mut Call) -> Done {
    let (node, which) = (call.value(0).to_owned(), call.value(1).to_owned());
    expect_strategy(&which)?;
    expect_membership(call)?;
    expect_in_cluster(call, &node)?;
    call.say(&format!("Growing {which} queues on {node}..."));
    Ok(Output::rows(&CHANGE_COLUMNS, Vec::new()).marking_empty())
}

pub(crate) fn shrink(call: &mut Call) -> Done {
    let node = call.value(0).to_owned();
    call.say(&format!("Shrinking queues on {node}..."));
    if node != call.node.name() {
        let name = Term::atom(node).inspect();
        return Err(Failure::error(
            UNAVAILABLE,
            format!("{{:node_not_running, {name}}}"),
        ));
    }
    let rows = matching(call)?.into_iter().map(|queue| {
        let mut row = super::cells(&queue, &["vhost", "name"]);
        row.push(Term::int(1));
        row.push(Term::text("error: the last node cannot be removed"));
        row
    });
    Ok(Output::rows(&CHANGE_COLUMNS, rows.collect()).marking_empty())
}

/// How many quorum queues each node leads: this one all of them.
fn leaders(call: &mut Call) -> Done {
    let count = matching(call)?.len();
    let columns = ["Node name", "Number of quorum queues"];
    let mut rows = Vec::new();
    if count > 0 {
        rows.push(vec![Term::atom(call.node.name()), Term::int(count as i64)]);
    }
    let rows = Output::rows(&columns, rows).marking_empty();
    Ok(if call.formatter == Formatter::Json {
        rows.named(call.node.name())
    } else {
        rows
    })
}

pub(crate) fn rebalance(call: &mut Call) -> Done {
    let kind = call.value(0).to_owned();
    if !["all", "quorum", "stream"].contains(&kind.as_str()) {
        return Err(Failure::error(
            UNAVAILABLE,
            format!("type {kind} is not supported. Try one of all, quorum, stream."),
        ));
    }
    call.say(&format!("Re-balancing leaders of {kind} queues..."));
    if kind == "stream" {
        return Ok(Output::rows(&["Output"], Vec::new()).marking_empty());
    }
    leaders(call)
}

pub(crate) fn reclaim_quorum_memory(call: &mut Call) -> Done {
    call.say(&format!(
        "Will garbage collect quorum queue {} ...",
        call.value(0)
    ));
    let queue = find(call)?.ok_or_else(|| no_target(call))?;
    if queue["type"] != "quorum" {
        return Err(Failure::error(
            UNAVAILABLE,
            "This operation is not applicable to classic queues",
        ));
    }
    Ok(Output::Nothing)
}

fn no_target(call: &Call) -> Failure {
    let text = format!(
        "Target queue was not found in virtual host '{}'",
        call.vhost()
    );
    let value = json!({ "message": text, "result": "error" });
    missed(call, Failure::error(UNAVAILABLE, text), &value)
}

/// Shows the message at a place of a quorum queue, counted from 1, and changes nothing.
pub(crate) fn peek(call: &mut Call) -> Done {
    let place: usize = call
        .value(1)
        .parse()
        .ok()
        .filter(|place| *place >= 1)
        .ok_or_else(|| Failure::usage("\"position value must be a positive integer\""))?;
    call.say(&format!(
        "Peeking at quorum queue {} at position {place} on node {} ...",
        call.value(0),
        call.node.name()
    ));
    let queue = find(call)?.ok_or_else(|| no_target(call))?;
    if queue["type"] != "quorum" {
        return Err(Failure::error(
            UNAVAILABLE,
            "Cannot peek into a classic queue",
        ));
    }
    let path = format!(
        "/api/queues/{}/{}/browse",
        call.vhost_path(),
        encode(call.value(0))
    );
    let page = call.node.post(&path, &json!({ "count": place }))?.ok()?;
    let messages = page["messages"].as_array();
    let Some(message) = messages.and_then(|all| all.get(place - 1)) else {
        return Err(Failure::error(
            UNAVAILABLE,
            "Target queue does not have a message at that position",
        ));
    };
    let fields = shown(message);
    if call.formatter == Formatter::Json {
        let message = Term::Map(
            fields
                .into_iter()
                .map(|(key, value)| (Term::text(key), value))
                .collect(),
        );
        return Ok(Output::Report {
            text: String::new(),
            value: Term::Map(vec![
                (Term::atom("message"), message),
                (Term::atom("result"), Term::atom("ok")),
            ]),
        });
    }
    let rows = fields
        .into_iter()
        .map(|(key, value)| vec![Term::text(key), value]);
    Ok(Output::rows(&["keys", "values"], rows.collect()))
}

/// What `peek` shows of a message.
fn shown(message: &Json) -> Vec<(String, Term)> {
    let properties = message["properties"].as_object();
    let mut fields: Vec<(String, Term)> = properties
        .into_iter()
        .flatten()
        .filter(|(name, _)| *name != "headers")
        .map(|(name, value)| (name.clone(), Term::from_json(value)))
        .collect();
    let payload = message["payload"].as_str().unwrap_or_default();
    let payload: String = payload.chars().take(PEEK_BYTES).collect();
    let keys = Term::List(vec![Term::from_json(&message["routing_key"])]);
    fields.push(("routing_keys".to_owned(), keys));
    let exchange = Term::from_json(&message["exchange"]);
    fields.push(("exchange".to_owned(), exchange));
    let title = format!("payload (max {PEEK_BYTES} bytes)");
    fields.push((title, Term::text(payload)));
    const COUNT: &str = "x-delivery-count";
    let headers = message["properties"]["headers"].as_object();
    let mut headers = headers.cloned().unwrap_or_default();
    headers.entry(COUNT).or_insert_with(|| json!(0));
    fields.extend(
        headers
            .iter()
            .map(|(name, value)| (format!("header.{name}"), Term::from_json(value))),
    );
    fields
}

pub(crate) fn stream_status(call: &mut Call) -> Done {
    call.say(&format!(
        "Status of stream {} on node {} ...",
        call.value(0),
        call.node.name()
    ));
    match find(call)? {
        None => Err(Failure::plain(
            DATA,
            "Object (queue, stream, exchange, etc) was not found",
        )),
        Some(queue) => {
            let kind = queue["type"].as_str().unwrap_or_default();
            Err(Failure::error(
                UNAVAILABLE,
                format!("Cannot get stream status of a {kind} queue"),
            ))
        }
    }
}

/// What is asked of a stream: no queue is one yet.
fn of_stream(call: &mut Call, banner: &str, refusal: impl Fn(&str) -> String) -> Done {
    call.say(banner);
    match find(call)? {
        None => Err(Failure::plain(
            DATA,
            "Object (queue, stream, exchange, etc) was not found",
        )),
        Some(queue) => {
            let kind = queue["type"].as_str().unwrap_or_default();
            Err(Failure::error(UNAVAILABLE, refusal(kind)))
        }
    }
}

pub(crate) fn add_replica(call: &mut Call) -> Done {
    let (stream, node) = (call.value(0), call.value(1));
    let banner = format!("Adding a replica for stream {stream} on node {node}...");
    of_stream(call, &banner, |kind| {
        format!("Cannot add replicas to {kind} queues")
    })
}

pub(crate) fn delete_replica(call: &mut Call) -> Done {
    let (stream, node) = (call.value(0), call.value(1));
    let banner = format!("Removing a replica of queue {stream} on node {node}...");
    of_stream(call, &banner, |kind| {
        format!("Cannot delete replicas from a {kind} queue")
    })
}

pub(crate) fn restart_stream(call: &mut Call) -> Done {
    let banner = format!("Restarting stream {}...", call.value(0));
    of_stream(call, &banner, |kind| {
        format!("{{:not_supported_for_type, :rabbit_{kind}_queue}}")
    })
}

pub(crate) fn coordinator_status(call: &mut Call) -> Done {
    call.say("Status of stream coordinator ...");
    // The node has to be there.
    call.node.get("/control/node/ping")?.ok()?;
    Err(Failure::error(
        UNAVAILABLE,
        "coordinator_not_started_or_available",
    ))
}

pub(crate) fn grow_streams(call: &mut Call) -> Done {
    let (node, which) = (call.value(0).to_owned(), call.value(1).to_owned());
    expect_strategy(&which)?;
    expect_in_cluster(call, &node)?;
    call.say(&format!("Growing {which} streams on {node}..."));
    Ok(Output::rows(&CHANGE_COLUMNS, Vec::new()).marking_empty())
}

pub(crate) fn shrink_streams(call: &mut Call) -> Done {
    call.say(&format!("Shrinking streams on {}...", call.value(0)));
    Ok(Output::rows(&CHANGE_COLUMNS, Vec::new()).marking_empty())
}

fn expect_strategy(which: &str) -> Result<(), Failure> {
    match which {
        "all" | "even" => Ok(()),
        other => {
            let text = format!("strategy '{other}' is not recognised.");
            Err(Failure::usage(Term::text(text).inspect()))
        }
    }
}

/// Leadership stays where it is: there is one node.
pub(crate) fn transfer_leadership(call: &mut Call) -> Done {
    let (name, node) = (call.value(0).to_owned(), call.value(1).to_owned());
    call.say(&format!(
        "Transferring leadership of quorum queue {name} to node {node}..."
    ));
    let reason = if expect(call)?["type"] != "quorum" {
        "Cannot transfer leadership of a non-quorum queue"
    } else if node == call.node.name() {
        "The target node is already the leader of this queue"
    } else {
        "unknown_member"
    };
    Err(Failure::error(UNAVAILABLE, reason))
}

pub(crate) fn transfer_stream(call: &mut Call) -> Done {
    call.say(&format!(
        "Transferring leadership of stream {} to node {}...",
        call.value(0),
        call.value(1)
    ));
    let queue = expect(call)?;
    let kind = queue["type"].as_str().unwrap_or_default();
    Err(Failure::error(
        UNAVAILABLE,
        format!("Cannot transfer leadership of a {kind} queue"),
    ))
}

/// The quorum queues whose virtual host and name match the options.
fn matching(call: &mut Call) -> Result<Vec<Json>, Failure> {
    let pattern = |call: &Call, option: &str| {
        let text = call.arguments.option(option).unwrap_or(".*").to_owned();
        regex::Regex::new(&text).map_err(|error| Failure::argument(format!("{text}: {error}")))
    };
    let (vhosts, names) = (
        pattern(call, "vhost-pattern")?,
        pattern(call, "queue-pattern")?,
    );
    let mut queues = call.list("/api/queues?columns=name,vhost,type")?;
    let matches = |queue: &Json, key: &str, pattern: &regex::Regex| {
        queue[key]
            .as_str()
            .is_some_and(|text| pattern.is_match(text))
    };
    queues.retain(|queue| {
        queue["type"] == "quorum"
            && matches(queue, "vhost", &vhosts)
            && matches(queue, "name", &names)
    });
    Ok(queues)
}

/// Checkpoints shorten what a restart has to read of a queue's own log; the one log here makes room by itself.
pub(crate) fn force_checkpoint(call: &mut Call) -> Done {
    call.say("Forcing checkpoint for all matching quorum queues...");
    let columns = ["vhost", "name", "result"];
    let rows = matching(call)?.into_iter().map(|queue| {
        let mut row = super::cells(&queue, &["vhost", "name"]);
        row.push(Term::Tuple(vec![Term::atom("ok")]));
        row
    });
    let rows = if call.arguments.has("errors-only") {
        Vec::new()
    } else {
        rows.collect()
    };
    Ok(Output::rows(&columns, rows).marking_empty())
}

pub(crate) fn grow_to_count(call: &mut Call) -> Done {
    let which = call.value(1).to_owned();
    let count = call.value(0).to_owned();
    if count.parse::<i64>().is_ok_and(|count| count < 1) {
        let text = format!("node count '{count}' must be greater than 0.");
        return Err(Failure::usage(Term::text(text).inspect()));
    }
    if count.parse::<u32>().is_err() {
        let text = format!("node count '{count}' is not a number.");
        return Err(Failure::usage(Term::text(text).inspect()));
    }
    expect_strategy(&which)?;
    expect_membership(call)?;
    call.say(&format!(
        "Growing {which} quorum queues on {count} nodes..."
    ));
    // Each queue has as many replicas as there are nodes.
    Ok(Output::rows(&CHANGE_COLUMNS, Vec::new()).marking_empty())
}

/// Streams are not there yet.
pub(crate) fn no_streams(call: &mut Call) -> Done {
    Err(Failure::error(
        UNAVAILABLE,
        format!("{}: WarrenMQ has no streams yet", call.command.name),
    ))
}

pub(crate) fn await_online_quorum_plus_one(call: &mut Call) -> Done {
    let seconds = call.arguments.timeout().map_or(120, |wait| wait.as_secs());
    call.say(&format!(
        "Will wait for a quorum + 1 of nodes to be online for all quorum queues and streams for {seconds} seconds..."
    ));
    let text = if call.is_quiet() {
        String::new()
    } else {
        "Target node seems to be the only one in a single node cluster, the command does not apply"
            .to_owned()
    };
    let value = json!({
        "message": "Target node seems to be the only one in a single node cluster, the check does not apply",
        "result": "ok",
    });
    Ok(told(text, &value))
}

pub(crate) fn post_upgrade(call: &mut Call) -> Done {
    call.say("Executing post upgrade tasks...");
    call.say("Rebalancing queue masters...");
    leaders(call)
}
