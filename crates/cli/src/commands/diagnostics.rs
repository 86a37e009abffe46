//! Health checks and what else `rabbitmq-diagnostics` can find out.

use super::{Done, nodes};
use crate::Failure;
use crate::call::Call;
use crate::failure::{DATA, UNAVAILABLE, USAGE};
use crate::node::encode;
use crate::output::{Formatter, Output};
use crate::term::Term;
use serde_json::{Value as Json, json};
use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::time::Duration;

/// How long a listener may take to accept.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);

fn phase(call: &mut Call) -> Result<Json, Failure> {
    Ok(call.node.get("/control/node/ping")?.ok()?["phase"].clone())
}

fn status(call: &mut Call) -> Result<Json, Failure> {
    call.node.get("/control/status")?.ok()
}

/// What a check found that has nothing to say if nobody listens.
fn checked(call: &Call, text: String) -> Output {
    let text = if call.arguments.has("silent") {
        String::new()
    } else {
        text
    };
    told(text, &json!({ "result": "ok" }))
}

/// What a command found, in words and for JSON.
pub(super) fn told(text: String, value: &Json) -> Output {
    Output::Said {
        text,
        value: Term::from_json(value),
    }
}

fn failed(text: String) -> Failure {
    Failure::plain(UNAVAILABLE, text)
}

/// A failure, which JSON tells as a value.
pub(super) fn missed(call: &Call, failure: Failure, value: &Json) -> Failure {
    if call.formatter == Formatter::Json {
        Failure::plain(failure.code, value.to_string())
    } else {
        failure
    }
}

pub(crate) fn check_running(call: &mut Call) -> Done {
    let node = call.node.name().to_owned();
    call.say(&format!(
        "Checking if RabbitMQ is running on node {node} ..."
    ));
    if phase(call)? == "running" {
        let text = format!("RabbitMQ on node {node} is fully booted and running");
        let value = json!({ "message": text });
        Ok(told(text, &value))
    } else {
        Err(Failure::error(
            UNAVAILABLE,
            format!(
                "RabbitMQ on node {node} is not running or has not fully booted yet (check with is_booting)"
            ),
        ))
    }
}

pub(crate) fn is_running(call: &mut Call) -> Done {
    let node = call.node.name().to_owned();
    call.say(&format!("Asking node {node} for its status ..."));
    let is_running = phase(call)? == "running";
    let text = if is_running {
        format!("RabbitMQ on node {node} is fully booted and running")
    } else {
        format!(
            "RabbitMQ on node {node} is not running or has not fully booted yet (check with is_booting)"
        )
    };
    let value = json!({ "message": text, "result": is_running });
    Ok(told(text, &value))
}

pub(crate) fn is_booting(call: &mut Call) -> Done {
    let node = call.node.name().to_owned();
    call.say(&format!("Asking node {node} for its boot status ..."));
    let is_booting = phase(call)? == "booting";
    let text = if is_booting {
        format!("RabbitMQ on node {node} is booting")
    } else {
        format!(
            "RabbitMQ on node {node} is fully booted (check with is_running), stopped or has not started booting yet"
        )
    };
    let value = json!({ "message": text, "result": is_booting });
    Ok(told(text, &value))
}

fn alarms(call: &mut Call, banner: &str, fails: bool) -> Done {
    call.say(banner);
    let node = call.node.name().to_owned();
    let raised = status(call)?["alarms"].clone();
    let lines: Vec<String> = raised
        .as_array()
        .into_iter()
        .flatten()
        .map(nodes::alarm)
        .collect();
    if lines.is_empty() {
        let text = format!("Node {node} reported no alarms, local or clusterwide");
        return Ok(if fails {
            checked(call, text)
        } else {
            told(text, &json!({ "result": "ok", "node": node, "alarms": [] }))
        });
    }
    if fails {
        return Err(failed(format!(
            "Node {node} reported alarms:\n{}",
            lines.join("\n")
        )));
    }
    Ok(told(
        lines.join("\n"),
        &json!({ "result": "ok", "node": node, "alarms": raised }),
    ))
}

pub(crate) fn list_alarms(call: &mut Call) -> Done {
    let banner = format!(
        "Asking node {} to report any known resource alarms ...",
        call.node.name()
    );
    alarms(call, &banner, false)
}

pub(crate) fn check_alarms(call: &mut Call) -> Done {
    let banner = format!(
        "Asking node {} to report any local resource alarms ...",
        call.node.name()
    );
    alarms(call, &banner, true)
}

pub(crate) fn check_local_alarms(call: &mut Call) -> Done {
    call.say("This command is DEPRECATED and is a no-op. It will be removed in a future version.");
    Ok(checked(
        call,
        format!("Node {} reported no local alarms", call.node.name()),
    ))
}

fn listeners_of(call: &mut Call) -> Result<Vec<Json>, Failure> {
    Ok(status(call)?["listeners"]
        .as_array()
        .cloned()
        .unwrap_or_default())
}

fn ports(listeners: &[Json]) -> Vec<u64> {
    let ports: BTreeSet<u64> = listeners
        .iter()
        .filter_map(|own| own["port"].as_u64())
        .collect();
    ports.into_iter().collect()
}

fn joined<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    items.join(", ")
}

pub(crate) fn listeners(call: &mut Call) -> Done {
    call.say(&format!(
        "Asking node {} to report its protocol listeners ...",
        call.node.name()
    ));
    let listeners = listeners_of(call)?;
    let lines: Vec<String> = listeners.iter().map(nodes::listener).collect();
    let value = json!({ "result": "ok", "node": call.node.name(), "listeners": listeners });
    Ok(Output::Report {
        text: lines.join("\n"),
        value: Term::from_json(&value),
    })
}

pub(crate) fn check_port_listener(call: &mut Call) -> Done {
    let node = call.node.name().to_owned();
    let port: u32 = call
        .value(0)
        .parse()
        .map_err(|_| Failure::argument("Bad argument: Argument must be a positive integer"))?;
    call.say(&format!(
        "Asking node {node} if there's an active listener on port {port} ..."
    ));
    let listeners = listeners_of(call)?;
    let found = ports(&listeners);
    if found.contains(&u64::from(port)) {
        return Ok(told(
            format!("A listener for port {port} is running on node {node}."),
            &json!({ "result": "ok", "node": node, "port": port }),
        ));
    }
    let value = json!({
        "result": "error",
        "missing": port.to_string(),
        "ports": found,
        "listeners": listeners,
    });
    let text = format!(
        "No listener for port {port} is active on node {node}. Found listeners that use the following ports: {}",
        joined(found)
    );
    Err(missed(call, failed(text), &value))
}

pub(crate) fn check_protocol_listener(call: &mut Call) -> Done {
    let node = call.node.name().to_owned();
    let protocol = call.value(0).to_owned();
    call.say(&format!(
        "Asking node {node} if there's an active listener for protocol {protocol} ..."
    ));
    let wanted = match protocol.to_ascii_lowercase().as_str() {
        "amqp091" | "amqp0.9.1" | "amqp0-9-1" | "amqp0.9" | "amqp0-9" | "amqp10" | "amqp1.0" => {
            "amqp".to_owned()
        }
        "amqps" => "amqp/ssl".to_owned(),
        other => other.to_owned(),
    };
    let listeners = listeners_of(call)?;
    let found: BTreeSet<&str> = listeners
        .iter()
        .filter_map(|own| own["protocol"].as_str())
        .collect();
    if found.contains(wanted.as_str()) {
        return Ok(told(
            format!("A listener for protocol {wanted} is running on node {node}."),
            &json!({ "result": "ok", "node": node, "protocol": wanted }),
        ));
    }
    let value = json!({
        "result": "error",
        "missing": protocol,
        "protocols": found,
        "listeners": listeners,
    });
    let text = format!(
        "No listener for protocol {protocol} is active on node {node}. Found listeners for the following protocols: {}",
        joined(found)
    );
    Err(missed(call, Failure::error(UNAVAILABLE, text), &value))
}

pub(crate) fn check_port_connectivity(call: &mut Call) -> Done {
    let node = call.node.name().to_owned();
    let host = match call.arguments.option("address") {
        Some(address) => address.to_owned(),
        None => node
            .split_once('@')
            .map_or("localhost", |(_, host)| host)
            .to_owned(),
    };
    let (way, target) = match call.arguments.option("address") {
        Some(address) => (
            format!("{address} for node IP address"),
            format!("{address} for target IP address"),
        ),
        None => (
            "hostname resolution".to_owned(),
            "node hostname resolution".to_owned(),
        ),
    };
    call.say(&format!(
        "Testing TCP connections to all active listeners on node {node} using {way} ..."
    ));
    let listeners = listeners_of(call)?;
    let mut missed = Vec::new();
    for listener in &listeners {
        let port = listener["port"]
            .as_u64()
            .and_then(|port| u16::try_from(port).ok())
            .unwrap_or(0);
        call.say(&format!("Will connect to {host}:{port}"));
        if !accepts(&host, port) {
            missed.push(format!("{host}:{port}"));
        }
    }
    if missed.is_empty() {
        return Ok(told(
            format!(
                "Successfully connected to ports {} on node {node} (using {target})",
                joined(ports(&listeners))
            ),
            &json!({ "result": "ok", "node": node, "listeners": listeners }),
        ));
    }
    Err(failed(format!(
        "Connection attempts failed for {} on node {node}",
        joined(missed)
    )))
}

fn accepts(host: &str, port: u16) -> bool {
    let addresses = (host, port).to_socket_addrs().into_iter().flatten();
    let mut addresses: Vec<SocketAddr> = addresses.collect();
    addresses.sort_by_key(SocketAddr::is_ipv6);
    addresses
        .iter()
        .any(|address| TcpStream::connect_timeout(address, CONNECT_PATIENCE).is_ok())
}

pub(crate) fn check_virtual_hosts(call: &mut Call) -> Done {
    let node = call.node.name().to_owned();
    call.say(&format!(
        "Checking if all vhosts are running on node {node} ..."
    ));
    Call::done(call.node.get("/api/health/checks/virtual-hosts")?)?;
    Ok(checked(
        call,
        format!("Node {node} reported all vhosts as running"),
    ))
}

pub(crate) fn check_certificate_expiration(call: &mut Call) -> Done {
    let node = call.node.name().to_owned();
    let unit = call.arguments.option("unit").unwrap_or("weeks").to_owned();
    let within = call.arguments.option("within").unwrap_or("4").to_owned();
    if !["days", "weeks", "months", "years"].contains(&unit.as_str()) {
        return Err(Failure::usage(format!(
            "\"unit '{unit}' is not supported. Please use one of: days, weeks, months, years\""
        )));
    }
    call.say(&format!(
        "Checking certificate expiration for all certificates on node {node} ..."
    ));
    let path = format!(
        "/api/health/checks/certificate-expiration/{}/{unit}",
        encode(&within)
    );
    let answer = call.node.get(&path)?;
    match answer.refused() {
        None => Ok(told(
            format!("No certificates are expiring within {within} {unit}."),
            &json!({ "result": "ok" }),
        )),
        Some(reason) => Err(Failure::error(UNAVAILABLE, reason)),
    }
}

pub(crate) fn check_if_node_is_quorum_critical(call: &mut Call) -> Done {
    let node = call.node.name().to_owned();
    call.say(&format!(
        "Checking if node {node} is critical for quorum of any queues/streams ..."
    ));
    let alone = "seems to be the only one in a single node cluster, the check does not apply";
    if call.arguments.has("silent") {
        return Ok(Output::Nothing);
    }
    let value = json!({ "message": format!("Target node {alone}"), "result": "ok" });
    Ok(told(format!("Node {node} {alone}"), &value))
}

pub(crate) fn check_new_replicas(call: &mut Call) -> Done {
    let node = call.node.name().to_owned();
    call.say(&format!(
        "Checking if node {node} runs promotable replicas of any queues ..."
    ));
    Ok(checked(
        call,
        format!("Node {node} reported no queues with promotable replicas"),
    ))
}

pub(crate) fn check_leaders(call: &mut Call) -> Done {
    let node = call.node.name().to_owned();
    let place = if call.arguments.has("across-all-vhosts") {
        "all vhosts".to_owned()
    } else {
        format!("vhost {}", call.vhost())
    };
    call.say(&format!(
        "Checking leader replicas of quorum queues matching '{}' in {place} ...",
        call.value(0)
    ));
    let text =
        format!("Node {node} reported all quorum queue as having responsive leader replicas");
    if call.is_quiet() {
        return Ok(Output::Nothing);
    }
    let value = json!({ "message": text, "result": "ok" });
    Ok(told(text, &value))
}

pub(crate) fn check_metadata_store(call: &mut Call) -> Done {
    let node = call.node.name().to_owned();
    call.say(&format!(
        "Checking if metadata store on node {node} has finished initializing ..."
    ));
    Ok(checked(
        call,
        format!("Metadata store on node {node} has completed its initialization"),
    ))
}

pub(crate) fn check_deprecated_features(call: &mut Call) -> Done {
    call.say("Checking if any deprecated features are used ...");
    let used = call.list("/api/deprecated-features/used")?;
    if used.is_empty() {
        return Ok(checked(
            call,
            "Cluster reported no deprecated features in use".to_owned(),
        ));
    }
    let names = used.iter().filter_map(|item| item["name"].as_str());
    Err(failed(format!(
        "Cluster reported deprecated features in use:\n{}",
        joined(names)
    )))
}

/// There are no mirrored queues, as in RabbitMQ 4.
pub(crate) fn check_mirroring(call: &mut Call) -> Done {
    call.say("Checking if cluster has any classic queue mirroring policy ...");
    Ok(checked(
        call,
        "Cluster reported no policies that enable classic queue mirroring".to_owned(),
    ))
}

pub(crate) fn list_mirroring(call: &mut Call) -> Done {
    let kind = match call.command.name {
        "list_operator_policies_with_classic_queue_mirroring" => "operator policies",
        _ => "policies",
    };
    call.say(&format!("Listing {kind} with classic queue mirroring ..."));
    Ok(Output::rows(&MATCH_COLUMNS, Vec::new()))
}

pub(crate) fn check_mirror_sync(call: &mut Call) -> Done {
    call.say("This command is DEPRECATED and is a no-op. It will be removed in a future version.");
    Ok(told("ok".to_owned(), &json!({ "result": "ok" })))
}

pub(crate) fn memory_breakdown(call: &mut Call) -> Done {
    let unit = nodes::unit(call, "bytes, mb, gb")?;
    call.say(&format!(
        "Reporting memory breakdown on node {}...",
        call.node.name()
    ));
    let memory = status(call)?["memory"].clone();
    let total = memory["total"]["rss"].as_f64().unwrap_or_default().max(1.0);
    let parts = memory.as_object().into_iter().flatten();
    let value: serde_json::Map<String, Json> = parts
        .filter_map(|(name, bytes)| {
            let share = bytes.as_f64()? * 100.0 / total;
            let share = (share * 100.0).round() / 100.0;
            Some((name.clone(), json!({ "bytes": bytes, "percentage": share })))
        })
        .collect();
    Ok(Output::Report {
        text: nodes::breakdown(&memory, unit, "%") + "\n",
        value: Term::from_json(&Json::Object(value)),
    })
}

pub(crate) fn server_version(call: &mut Call) -> Done {
    call.say(&format!(
        "Asking node {} for its RabbitMQ version...",
        call.node.name()
    ));
    let state = call.node.get("/control/node/ping")?.ok()?;
    let version = state["version"].as_str().unwrap_or_default().to_owned();
    let value = json!({ "result": "ok", "value": version });
    Ok(told(version, &value))
}

pub(crate) fn erlang_version(call: &mut Call) -> Done {
    call.say(&format!(
        "Asking node {} for its Erlang/OTP version...",
        call.node.name()
    ));
    let status = status(call)?;
    let text = format!(
        "none: WarrenMQ {} is not an Erlang program",
        status["product_version"].as_str().unwrap_or_default()
    );
    let value = json!({ "value": text, "result": "ok" });
    Ok(told(text, &value))
}

pub(crate) fn discover_peers(call: &mut Call) -> Done {
    call.say("Discovering peers nodes ...");
    let node = Term::atom(call.node.name());
    Ok(Output::Report {
        text: Term::List(vec![node.clone()]).inspect(),
        value: Term::List(vec![node]),
    })
}

pub(crate) fn resolve_hostname(call: &mut Call) -> Done {
    let host = call.value(0).to_owned();
    let family = match call.arguments.option("address-family") {
        None => "IPv4".to_owned(),
        Some(family) if ["ipv4", "ipv6"].contains(&family.to_ascii_lowercase().as_str()) => {
            family.to_owned()
        }
        Some(other) => {
            return Err(Failure::argument(format!(
                "Bad argument: unsupported IP address family {other}. Valid values are: ipv4, ipv6"
            )));
        }
    };
    // The tool runs where the node does.
    call.say(&if call.arguments.has("offline") {
        format!("Resolving hostname {host} to {family} addresses...")
    } else {
        let node = call.node.name();
        format!("Asking node {node} to resolve hostname {host} to {family} addresses...")
    });
    let wants_v4 = family.eq_ignore_ascii_case("ipv4");
    let found = (host.as_str(), 0).to_socket_addrs().into_iter().flatten();
    let addresses: BTreeSet<String> = found
        .filter(|address| address.is_ipv4() == wants_v4)
        .map(|address| address.ip().to_string())
        .collect();
    if addresses.is_empty() {
        return Err(Failure::error(
            DATA,
            "Hostname does not resolve (resolution failed with an nxdomain)",
        ));
    }
    let value = json!({
        "node": call.node.name(),
        "result": "ok",
        "hostname": host,
        "address_family": family,
        "addresses": addresses,
    });
    Ok(told(
        addresses.into_iter().collect::<Vec<_>>().join("\n"),
        &value,
    ))
}

pub(crate) fn auth_attempts(call: &mut Call) -> Done {
    let node = call.node.name().to_owned();
    call.say(&format!(
        "Listing authentication\n attempts for node \"{node}\" ..."
    ));
    let by_source = call.arguments.has("by-source");
    let path = format!(
        "/api/auth/attempts/{}{}",
        encode(&node),
        if by_source { "/source" } else { "" }
    );
    let items = call.list(&path)?;
    let value = json!({ "node": node, "result": "ok", "attempts": items });
    if items.is_empty() || call.formatter == Formatter::Json {
        let text = format!("Node {node} reported no authentication attempt stats");
        return Ok(told(text, &value));
    }
    let columns = [
        "remote_address",
        "username",
        "protocol",
        "auth_attempts",
        "auth_attempts_failed",
        "auth_attempts_succeeded",
    ];
    let columns = if by_source {
        &columns[..]
    } else {
        &columns[2..]
    };
    let rows = items.iter().map(|item| super::cells(item, columns));
    Ok(Output::rows(columns, rows.collect()))
}

pub(crate) fn has_reached_target_cluster_size(call: &mut Call) -> Done {
    let node = call.node.name().to_owned();
    call.say(&format!(
        "Checking if target cluster size has been reached on node {node} ..."
    ));
    Call::done(
        call.node
            .get("/api/health/checks/reached-target-cluster-size")?,
    )?;
    Ok(checked(
        call,
        format!("Target cluster size has been reached on node {node}"),
    ))
}

pub(crate) fn log_location(call: &mut Call) -> Done {
    call.say(&format!(
        "Log file location(s) on node {} ...",
        call.node.name()
    ));
    let files = status(call)?["log_files"].clone();
    let names: Vec<String> = files
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Json::as_str)
        .map(str::to_owned)
        .collect();
    let shown = if call.arguments.has("all") {
        names.len()
    } else {
        names.len().min(1)
    };
    Ok(Output::Report {
        text: names[..shown].join("\n"),
        value: Term::from_json(&json!({
            "node_name": call.node.name(),
            "result": "ok",
            "paths": names[..shown],
        })),
    })
}

const MATCH_COLUMNS: [&str; 6] = [
    "vhost",
    "name",
    "pattern",
    "apply-to",
    "definition",
    "priority",
];

pub(crate) fn list_policies_that_match(call: &mut Call) -> Done {
    let name = call.value(0).to_owned();
    let kind = call
        .arguments
        .option("object-type")
        .unwrap_or("queue")
        .to_owned();
    if kind != "queue" && kind != "exchange" {
        return Err(Failure::new_usage_code(format!(
            "Object type must be queue or exchange, not {kind}"
        )));
    }
    call.say(&format!(
        "Listing policies that match {kind} '{name}' in vhost '{}' ...",
        call.vhost()
    ));
    let path = format!("/api/{kind}s/{}/{}", call.vhost_path(), encode(&name));
    let answer = call.node.get(&path)?;
    let is_json = call.formatter == Formatter::Json;
    if answer.is_missing() && is_json {
        let value = json!({
            "result": "error",
            "message": "object (queue, exchange) not found",
            "policies": [],
        });
        return Ok(told(String::new(), &value));
    }
    if answer.is_missing() {
        return Err(Failure::plain(
            DATA,
            "Object (queue, stream, exchange, etc) was not found",
        ));
    }
    let object = answer.ok()?;
    let policies = call.list(&format!("/api/policies/{}", call.vhost_path()))?;
    let mut matching: Vec<&Json> = policies
        .iter()
        .filter(|policy| applies(policy, &name, &kind, &object))
        .collect();
    matching.sort_by_key(|policy| std::cmp::Reverse(policy["priority"].as_i64()));
    if is_json {
        let value = json!({ "result": "ok", "policies": matching });
        return Ok(told(String::new(), &value));
    }
    let rows = matching.iter().map(|policy| {
        let cells = MATCH_COLUMNS.iter().map(|column| match *column {
            "definition" => {
                let pairs = policy["definition"].as_object().into_iter().flatten();
                let pair =
                    |(key, value)| Term::Tuple(vec![Term::text(key), Term::from_json(value)]);
                Term::List(pairs.map(pair).collect())
            }
            other => Term::from_json(&policy[other]),
        });
        cells.collect()
    });
    Ok(Output::rows(&MATCH_COLUMNS, rows.collect()))
}

/// Whether a policy is about an object. An expression that cannot be read here matches nothing.
fn applies(policy: &Json, name: &str, kind: &str, object: &Json) -> bool {
    let pattern = policy["pattern"].as_str().unwrap_or_default();
    let matches = regex::Regex::new(pattern).is_ok_and(|pattern| pattern.is_match(name));
    let queue_type = object["type"].as_str().unwrap_or_default();
    let covers = match policy["apply-to"].as_str().unwrap_or_default() {
        "all" => true,
        "exchanges" => kind == "exchange",
        "queues" => kind == "queue",
        "classic_queues" => kind == "queue" && queue_type == "classic",
        "quorum_queues" => kind == "queue" && queue_type == "quorum",
        "streams" => kind == "queue" && queue_type == "stream",
        _ => false,
    };
    matches && covers
}

impl Failure {
    fn new_usage_code(text: String) -> Self {
        Self::error(USAGE, text)
    }
}
