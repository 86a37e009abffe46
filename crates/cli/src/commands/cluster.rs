//! The cluster, which is one node so far, and its features.

use super::{Done, nodes};
use crate::Failure;
use crate::call::Call;
use crate::failure::{SOFTWARE, UNAVAILABLE, USAGE};
use crate::output::Output;
use crate::term::Term;
use serde_json::{Value as Json, json};

/// Erlang's release, which versions are printed with; there is none here.
const RUNTIME: &str = "Rust";

pub(crate) fn cluster_status(call: &mut Call) -> Done {
    let status = call.node.get("/control/status")?.ok()?;
    let node = call.node.name().to_owned();
    call.say(&format!("Cluster status of node {node} ..."));
    let flags = call.list("/api/feature-flags")?;
    let version = status["rabbitmq_version"].as_str().unwrap_or_default();
    let value = json!({
        "alarms": status["alarms"],
        "cluster_name": status["cluster_name"],
        "cluster_tags": [],
        "cpu_cores": { node.as_str(): status["processors"] },
        "disk_nodes": [node],
        "feature_flags": flags,
        "listeners": { node.as_str(): status["listeners"] },
        "maintenance_status": { node.as_str(): maintenance(&status) },
        "partitions": {},
        "running_nodes": [node],
        "versions": { node.as_str(): {
            "erlang_version": RUNTIME,
            "rabbitmq_name": "RabbitMQ",
            "rabbitmq_version": version,
        } },
    });
    Ok(Output::Report {
        text: cluster_text(&node, &value),
        value: Term::from_json(&value),
    })
}

fn cluster_text(node: &str, cluster: &Json) -> String {
    let plain = |value: &Json| Term::from_json(value).plain();
    let mut text = String::new();
    let cores = plain(&cluster["cpu_cores"][node]);
    nodes::heading(&mut text, "Basics");
    text.push_str(&format!(
        "Cluster name: {}\nTotal CPU cores available cluster-wide: {cores}\n",
        plain(&cluster["cluster_name"])
    ));
    nodes::heading(&mut text, "Cluster Tags");
    nodes::items(&mut text, &cluster["cluster_tags"], plain);
    nodes::heading(&mut text, "Disk Nodes");
    nodes::items(&mut text, &cluster["disk_nodes"], plain);
    nodes::heading(&mut text, "Running Nodes");
    nodes::items(&mut text, &cluster["running_nodes"], plain);
    nodes::heading(&mut text, "Versions");
    let version = &cluster["versions"][node];
    text.push_str(&format!(
        "{node}: {} {} on {}\n",
        plain(&version["rabbitmq_name"]),
        plain(&version["rabbitmq_version"]),
        plain(&version["erlang_version"])
    ));
    nodes::heading(&mut text, "CPU Cores");
    text.push_str(&format!("Node: {node}, available CPU cores: {cores}\n"));
    nodes::heading(&mut text, "Maintenance status");
    text.push_str(&format!(
        "Node: {node}, status: {}\n",
        plain(&cluster["maintenance_status"][node])
    ));
    nodes::heading(&mut text, "Alarms");
    nodes::items(&mut text, &cluster["alarms"], nodes::alarm);
    nodes::heading(&mut text, "Network Partitions");
    text.push_str("(none)\n");
    nodes::heading(&mut text, "Listeners");
    nodes::items(&mut text, &cluster["listeners"][node], |own| {
        let line = nodes::listener(own);
        format!("Node: {node}, i{}", line.strip_prefix('I').unwrap_or(&line))
    });
    nodes::heading(&mut text, "Feature flags");
    nodes::items(&mut text, &cluster["feature_flags"], |flag| {
        format!(
            "Flag: {}, state: {}",
            plain(&flag["name"]),
            plain(&flag["state"])
        )
    });
    text
}

fn maintenance(status: &Json) -> &'static str {
    if status["is_under_maintenance"] == true {
        "marked for maintenance"
    } else {
        "not under maintenance"
    }
}

pub(crate) fn set_cluster_name(call: &mut Call) -> Done {
    let name = call.value(0).to_owned();
    call.say(&format!("Setting cluster name to {name} ..."));
    Call::done(
        call.node
            .put("/api/cluster-name", &json!({ "name": name }))?,
    )?;
    Ok(Output::Nothing)
}

pub(crate) fn join_cluster(call: &mut Call) -> Done {
    let (node, other) = (call.node.name().to_owned(), call.value(0).to_owned());
    call.say(&format!("Clustering node {node} with {other}"));
    if other == node {
        return Err(Failure::error(
            SOFTWARE,
            format!("Error: cannot cluster node with itself: {node}"),
        ));
    }
    Err(Failure::error(
        UNAVAILABLE,
        format!("{node} cannot join {other}: a cluster of WarrenMQ has one node so far"),
    ))
}

pub(crate) fn forget_cluster_node(call: &mut Call) -> Done {
    let (node, other) = (call.node.name().to_owned(), call.value(0).to_owned());
    let state = call.node.get("/control/node/ping");
    let is_offline = call.arguments.has("offline");
    if is_offline && state.is_ok() {
        return Err(Failure::state(
            "this command requires the target node to be stopped.",
        ));
    }
    let is_running = !is_offline && state?.ok()?["phase"] == "running";
    call.say(&format!("Removing node {other} from the cluster"));
    if other == node && is_running {
        return Err(Failure::error(
            UNAVAILABLE,
            format!(
                "RabbitMQ on node {other} must be stopped with 'rabbitmqctl -n {other} stop_app' before it can be removed"
            ),
        ));
    }
    Err(Failure::error(
        UNAVAILABLE,
        "{:not_a_cluster_node, ~c\"The node selected is not in the cluster.\"}",
    ))
}

/// Nothing keeps a single node from starting.
pub(crate) fn force_boot(call: &mut Call) -> Done {
    if let Ok(answer) = call.node.get("/control/node/ping")
        && answer.ok()?["phase"] == "running"
    {
        return Err(crate::must_be_stopped());
    }
    Ok(Output::Nothing)
}

/// The same, which says nothing.
pub(crate) fn force_standalone_boot(_call: &mut Call) -> Done {
    Ok(Output::Nothing)
}

pub(crate) fn await_online_nodes(call: &mut Call) -> Done {
    let count: u32 = call
        .value(0)
        .parse()
        .ok()
        .filter(|count| *count > 0)
        .ok_or_else(|| Failure::argument("Bad argument: Argument must be a positive integer"))?;
    let node = call.node.name().to_owned();
    let seconds = call.arguments.timeout().map_or(300, |wait| wait.as_secs());
    call.say(&format!(
        "Will wait for at least {count} nodes to join the cluster of {node}. Timeout: {seconds} seconds."
    ));
    if count <= 1 {
        return Ok(Output::Nothing);
    }
    // A cluster has one node so far: waiting longer would not change that.
    Err(Failure::error(
        SOFTWARE,
        format!("Error: timed out while waiting. Not enough nodes joined {node}'s cluster."),
    ))
}

pub(crate) fn deprecated(call: &mut Call) -> Done {
    call.say(&format!(
        "{} is DEPRECATED and does nothing.",
        call.command.name
    ));
    Ok(Output::Nothing)
}

pub(crate) fn node_health_check(call: &mut Call) -> Done {
    call.say(
        "This command is DEPRECATED and is a no-op. It will be removed in a future version. \nUse one of the options covered in https://www.rabbitmq.com/monitoring.html#health-checks instead.",
    );
    Ok(Output::Nothing)
}

pub(super) const FLAG_COLUMNS: [&str; 6] = [
    "name",
    "state",
    "stability",
    "provided_by",
    "desc",
    "doc_url",
];

pub(crate) fn list_feature_flags(call: &mut Call) -> Done {
    let columns =
        super::listing::columns(&call.arguments.values, &FLAG_COLUMNS, &["name", "state"])?;
    call.say("Listing feature flags ...");
    let flags = call.list("/api/feature-flags")?;
    let rows = flags.iter().map(|flag| {
        let cells = columns.iter().map(|column| Term::from_json(&flag[column]));
        cells.collect()
    });
    Ok(Output::Rows {
        rows: rows.collect(),
        columns: columns.clone(),
        marks_empty: false,
    })
}

pub(crate) fn enable_feature_flag(call: &mut Call) -> Done {
    let flag = call.value(0).to_owned();
    if flag == "all" {
        call.say("Enabling all feature flags ...");
        return Ok(Output::Nothing);
    }
    call.say(&format!("Enabling feature flag \"{flag}\" ..."));
    let flags = call.list("/api/feature-flags")?;
    if flags.iter().any(|own| own["name"] == flag.as_str()) {
        return Ok(Output::Nothing);
    }
    Err(Failure::error(
        USAGE,
        format!(
            "This feature flag is not supported by node {}",
            call.node.name()
        ),
    ))
}

pub(super) const DEPRECATED_COLUMNS: [&str; 6] = [
    "name",
    "deprecation_phase",
    "state",
    "provided_by",
    "desc",
    "doc_url",
];

pub(crate) fn list_deprecated_features(call: &mut Call) -> Done {
    let used = call.arguments.has("used");
    let (path, banner) = if used {
        (
            "/api/deprecated-features/used",
            "Listing deprecated features in use ...",
        )
    } else {
        (
            "/api/deprecated-features",
            "Listing deprecated features ...",
        )
    };
    let columns = super::listing::columns(
        &call.arguments.values,
        &DEPRECATED_COLUMNS,
        &DEPRECATED_COLUMNS[..3],
    )?;
    call.say(banner);
    let features = call.list(path)?;
    let rows = features.iter().map(|item| {
        let cells = columns.iter().map(|column| Term::from_json(&item[column]));
        cells.collect()
    });
    Ok(Output::Rows {
        rows: rows.collect(),
        columns: columns.clone(),
        marks_empty: true,
    })
}
