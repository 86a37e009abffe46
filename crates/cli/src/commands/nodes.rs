//! A node as a whole: what it is doing, starting and stopping it.

use super::Done;
use super::diagnostics::told;
use crate::Failure;
use crate::call::Call;
use crate::failure::{TIMEOUT, UNAVAILABLE};
use crate::output::{Formatter, Output};
use crate::term::Term;
use serde_json::{Value as Json, json};
use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long a process is waited for, unless the command line says otherwise.
const PATIENCE: Duration = Duration::from_secs(300);

/// How long `wait` waits.
const WAIT_PATIENCE: Duration = Duration::from_secs(10);

/// How often it is looked whether a process has started or ended.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Units of memory with their sizes in bytes.
const UNITS: [(&str, f64); 10] = [
    ("bytes", 1.0),
    ("kb", 1e3),
    ("mb", 1e6),
    ("gb", 1e9),
    ("tb", 1e12),
    ("mib", 1_048_576.0),
    ("gib", 1_073_741_824.0),
    ("tib", 1_099_511_627_776.0),
    ("m", 1e6),
    ("g", 1e9),
];

/// A number of bytes in a unit, with at most four decimals.
fn in_unit(bytes: &Json, (unit, size): (&str, f64)) -> String {
    let value = bytes.as_f64().unwrap_or_default() / size;
    format!("{} {unit}", rounded(value, 4))
}

/// A number without zeros at its end, except for the first decimal.
fn rounded(value: f64, decimals: i32) -> String {
    let scale = 10_f64.powi(decimals);
    crate::term::float((value * scale).round() / scale)
}

/// The unit that an option asks for; `shown` are those that a wrong one is answered with.
///
/// # Errors
/// There is no such unit.
pub(super) fn unit(call: &Call, shown: &str) -> Result<(&'static str, f64), Failure> {
    let wanted = call.arguments.option("unit").unwrap_or("gb");
    UNITS
        .into_iter()
        .find(|(name, _)| *name == wanted.to_ascii_lowercase())
        .ok_or_else(|| {
            Failure::usage(format!(
                "\"unit '{wanted}' is not supported. Please use one of: {shown}\""
            ))
        })
}

/// What the node tells about itself that RabbitMQ's `status` has not.
const OWN_FIELDS: [&str; 5] = [
    "cluster_name",
    "file_descriptors",
    "heartbeat",
    "node",
    "processors",
];

pub(crate) fn status(call: &mut Call) -> Done {
    let unit = unit(call, "bytes, mb, mib, gb, gib, tb, tib")?;
    let status = call.node.get("/control/status")?.ok()?;
    call.say(&format!("Status of node {} ...", call.node.name()));
    let text = status_text(&status, unit);
    let mut value = status;
    if let Some(fields) = value.as_object_mut() {
        fields.retain(|key, _| !OWN_FIELDS.contains(&key.as_str()));
    }
    Ok(Output::Report {
        text,
        value: Term::from_json(&value),
    })
}

/// A heading, in bold where somebody looks, and an empty line.
pub(super) fn heading(text: &mut String, title: &str) {
    if !text.is_empty() {
        text.push('\n');
    }
    if std::io::stdout().is_terminal() {
        text.push_str(&format!("\u{1b}[1m{title}\u{1b}[0m\n\n"));
    } else {
        text.push_str(&format!("{title}\n\n"));
    }
}

pub(super) fn items(text: &mut String, list: &Json, line: impl Fn(&Json) -> String) {
    match list.as_array().filter(|list| !list.is_empty()) {
        None => text.push_str("(none)\n"),
        Some(list) => list
            .iter()
            .for_each(|item| text.push_str(&(line(item) + "\n"))),
    }
}

fn bullet(item: &Json) -> String {
    format!(" * {}", item.as_str().unwrap_or_default())
}

/// Which alarm is raised, for people.
pub(super) fn alarm(alarm: &Json) -> String {
    let node = alarm["node"].as_str().unwrap_or_default();
    if alarm["resource"] == "disk" {
        format!("Free disk space alarm on node {node}")
    } else {
        format!("Memory alarm on node {node}")
    }
}

/// A listener, for people.
pub(super) fn listener(listener: &Json) -> String {
    let text = |key: &str| Term::from_json(&listener[key]).plain();
    format!(
        "Interface: {}, port: {}, protocol: {}, purpose: {}",
        text("interface"),
        text("port"),
        text("protocol"),
        text("purpose"),
    )
}

fn status_text(status: &Json, unit: (&str, f64)) -> String {
    let value = |key: &str| Term::from_json(&status[key]).plain();
    let mut text = String::new();
    heading(&mut text, "Runtime");
    let lines = [
        ("OS PID", value("pid")),
        ("OS", value("os")),
        ("Uptime (seconds)", value("uptime")),
        ("Is under maintenance?", value("is_under_maintenance")),
        ("RabbitMQ version", value("rabbitmq_version")),
        ("WarrenMQ version", value("product_version")),
        ("Node name", value("node")),
        (
            "Threads",
            format!(
                "{} used, {} limit",
                status["processes"]["used"], status["processes"]["limit"]
            ),
        ),
        ("Default heartbeat (seconds)", value("heartbeat")),
    ];
    for (name, value) in lines {
        text.push_str(&format!("{name}: {value}\n"));
    }
    heading(&mut text, "Plugins");
    text.push_str(&format!(
        "Enabled plugin file: {}\nEnabled plugins:\n\n",
        value("enabled_plugin_file")
    ));
    items(&mut text, &status["active_plugins"], bullet);
    heading(&mut text, "Data directory");
    text.push_str(&format!(
        "Node data directory: {}\n",
        value("data_directory")
    ));
    text.push_str(&format!(
        "Raft data directory: {}\n",
        value("raft_data_directory")
    ));
    heading(&mut text, "Config files");
    items(&mut text, &status["config_files"], bullet);
    heading(&mut text, "Log file(s)");
    items(&mut text, &status["log_files"], bullet);
    heading(&mut text, "Alarms");
    items(&mut text, &status["alarms"], alarm);
    heading(&mut text, "Tags");
    items(&mut text, &status["tags"], bullet);
    heading(&mut text, "Memory");
    memory(&mut text, status, unit);
    heading(&mut text, "Free Disk Space");
    text.push_str(&format!(
        "Low free disk space watermark: {}\nFree disk space: {}\n",
        in_unit(&status["disk_free_limit"], unit),
        in_unit(&status["disk_free"], unit),
    ));
    heading(&mut text, "Totals");
    let totals = &status["totals"];
    text.push_str(&format!(
        "Connection count: {}\nQueue count: {}\nVirtual host count: {}\n",
        totals["connection_count"], totals["queue_count"], totals["virtual_host_count"]
    ));
    heading(&mut text, "Listeners");
    items(&mut text, &status["listeners"], listener);
    text
}

fn memory(text: &mut String, status: &Json, unit: (&str, f64)) {
    let memory = &status["memory"];
    text.push_str(&format!(
        "Total memory used: {}\nCalculation strategy: {}\n",
        in_unit(&memory["total"]["rss"], unit),
        memory["strategy"].as_str().unwrap_or_default(),
    ));
    let setting = &status["vm_memory_high_watermark_setting"];
    let setting = match setting["relative"].as_f64() {
        Some(share) => format!("{} of available memory", crate::term::float(share)),
        None => in_unit(&setting["absolute"], unit),
    };
    text.push_str(&format!(
        "Memory high watermark setting: {setting}, computed to: {}\n\n",
        in_unit(&status["vm_memory_high_watermark_limit"], unit)
    ));
    text.push_str(&breakdown(memory, unit, " %"));
}

/// What memory is used for, most of it first.
pub(super) fn breakdown(memory: &Json, unit: (&str, f64), percent: &str) -> String {
    let total = memory["total"]["rss"].as_f64().unwrap_or_default().max(1.0);
    let mut parts: Vec<(&String, f64)> = memory
        .as_object()
        .into_iter()
        .flatten()
        .filter_map(|(name, bytes)| Some((name, bytes.as_f64()?)))
        .collect();
    parts.sort_by(|a, b| b.1.total_cmp(&a.1));
    let mut text = String::new();
    for (name, bytes) in parts {
        let share = rounded(bytes * 100.0 / total, 2);
        let bytes = in_unit(&Json::from(bytes), unit);
        text.push_str(&format!("{name}: {bytes} ({share}{percent})\n"));
    }
    text
}

pub(crate) fn ping(call: &mut Call) -> Done {
    let wait = call.arguments.timeout().unwrap_or(Duration::from_secs(60));
    call.say(&format!(
        "Will ping {}. This only checks if the OS process is running and its control socket answers. Timeout: {} ms.",
        call.node.name(),
        wait.as_millis()
    ));
    call.node.get("/control/node/ping")?.ok()?;
    let text = "Ping succeeded".to_owned();
    let value = json!({ "message": text });
    Ok(told(text, &value))
}

/// Waits until the broker runs. A node that cannot be reached may still start.
fn await_running(call: &mut Call, patience: Duration) -> Result<(), Failure> {
    let deadline = Instant::now() + patience;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        call.node.be_patient(left.max(Duration::from_secs(1)));
        let answer = call
            .node
            .get(&format!("/control/node/await?{}", left.as_secs().max(1)));
        let last = match answer {
            Ok(answer) if answer.clone().ok()?["running"] == true => return Ok(()),
            Ok(_) => None,
            Err(failure) => Some(failure),
        };
        if Instant::now() >= deadline {
            let late = Failure::plain(
                TIMEOUT,
                format!(
                    "Error: operation {} on node {} timed out. Timeout value used: {}",
                    call.command.name,
                    call.node.name(),
                    patience.as_millis()
                ),
            );
            return Err(last.unwrap_or(late));
        }
        std::thread::sleep(LOOK_AGAIN);
    }
}

pub(crate) fn await_startup(call: &mut Call) -> Done {
    let patience = call.arguments.timeout().unwrap_or(PATIENCE);
    await_running(call, patience)?;
    Ok(Output::Nothing)
}

pub(crate) fn wait(call: &mut Call) -> Done {
    let patience = call.arguments.timeout().unwrap_or(WAIT_PATIENCE);
    let deadline = Instant::now() + patience;
    let node = call.node.name().to_owned();
    let file = call.value(0).to_owned();
    let given = call.arguments.option("pid").map(str::to_owned);
    let mut said = Vec::new();
    let mut say = |call: &Call, line: String| {
        call.say(&line);
        said.push(line);
    };
    let pid = match given {
        Some(_) if !file.is_empty() => {
            return Err(Failure::usage("\"Cannot specify both pid and pidfile\""));
        }
        Some(pid) => pid,
        None if file.is_empty() => {
            return Err(Failure::usage("\"No pid or pidfile specified\""));
        }
        None => {
            say(call, format!("Waiting for pid file '{file}' to appear"));
            let pid = pid_in_file(&file, deadline).ok_or_else(|| {
                Failure::plain(
                    TIMEOUT,
                    format!(
                        "Error: operation wait on node {node} timed out. Timeout value used: {}",
                        patience.as_millis()
                    ),
                )
            })?;
            say(call, format!("pid is {pid}"));
            pid
        }
    };
    say(
        call,
        format!(
            "Waiting for erlang distribution on node '{node}' while OS process '{pid}' is running"
        ),
    );
    if !is_alive(&pid) {
        return Err(Failure::error(UNAVAILABLE, "process_not_running"));
    }
    say(
        call,
        format!("Waiting for applications 'rabbit_and_plugins' to start on node '{node}'"),
    );
    let left = deadline.saturating_duration_since(Instant::now());
    await_running(call, left)?;
    let last = format!("Applications 'rabbit_and_plugins' are running on node '{node}'");
    if call.formatter == Formatter::Json {
        said.push(last);
        let rows = said.iter().map(|line| vec![Term::text(line)]);
        return Ok(Output::rows(&["message"], rows.collect()));
    }
    Ok(Output::line(last))
}

fn pid_in_file(file: &str, deadline: Instant) -> Option<String> {
    loop {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        if text.trim().parse::<u32>().is_ok() {
            return Some(text.trim().to_owned());
        }
        if Instant::now() >= deadline {
            return None;
        }
        std::thread::sleep(LOOK_AGAIN);
    }
}

/// Whether there is such a process, which is not just a corpse.
fn is_alive(pid: &str) -> bool {
    let path = PathBuf::from("/proc").join(pid).join("stat");
    let stat = std::fs::read_to_string(path).unwrap_or_default();
    match stat.rsplit_once(") ") {
        Some((_, rest)) => !rest.starts_with(['Z', 'X']),
        None => false,
    }
}

fn await_end(call: &Call, pid: &str) -> Result<(), Failure> {
    let patience = call.arguments.timeout().unwrap_or(PATIENCE);
    let deadline = Instant::now() + patience;
    while is_alive(pid) {
        if Instant::now() >= deadline {
            return Err(Failure::plain(
                TIMEOUT,
                format!(
                    "Error: operation {} on node {} timed out. Timeout value used: {}",
                    call.command.name,
                    call.node.name(),
                    patience.as_millis()
                ),
            ));
        }
        std::thread::sleep(LOOK_AGAIN);
    }
    Ok(())
}

pub(crate) fn stop(call: &mut Call) -> Done {
    let file = call.value(0).to_owned();
    let state = match call.node.get("/control/node/ping") {
        Err(_) if call.arguments.has("idempotent") => {
            call.say(&format!(
                "Stopping and halting node {} ...",
                call.node.name()
            ));
            return Ok(Output::line(format!(
                "Node {} is no longer running",
                call.node.name()
            )));
        }
        answer => answer?.ok()?,
    };
    call.say(&format!(
        "Stopping and halting node {} ...",
        call.node.name()
    ));
    halt(call)?;
    let pid = if file.is_empty() {
        state["pid"].to_string()
    } else {
        std::fs::read_to_string(&file)
            .map(|text| text.trim().to_owned())
            .map_err(|error| {
                Failure::error(crate::failure::FILE, format!("cannot read {file}: {error}"))
            })?
    };
    await_end(call, &pid)?;
    Ok(Output::Nothing)
}

fn halt(call: &mut Call) -> Result<(), Failure> {
    Call::done(call.node.post("/control/node/halt", &Json::Null)?)
}

pub(crate) fn shutdown(call: &mut Call) -> Done {
    let state = call.node.get("/control/node/ping")?.ok()?;
    let (node, pid) = (call.node.name().to_owned(), state["pid"].to_string());
    call.say(&format!(
        "Shutting down RabbitMQ node {node} running at PID {pid}"
    ));
    halt(call)?;
    if call.arguments.is_off("wait") {
        return Ok(Output::Nothing);
    }
    call.say(&format!("Waiting for PID {pid} to terminate"));
    await_end(call, &pid)?;
    Ok(Output::line(format!(
        "RabbitMQ node {node} running at PID {pid} successfully shut down"
    )))
}

pub(crate) fn stop_app(call: &mut Call) -> Done {
    call.say(&format!(
        "Stopping rabbit application on node {} ...",
        call.node.name()
    ));
    call.node
        .be_patient(call.arguments.timeout().unwrap_or(PATIENCE));
    Call::done(call.node.post("/control/node/stop", &Json::Null)?)?;
    Ok(Output::Nothing)
}

pub(crate) fn start_app(call: &mut Call) -> Done {
    call.say(&format!("Starting node {} ...", call.node.name()));
    call.node
        .be_patient(call.arguments.timeout().unwrap_or(PATIENCE));
    Call::done(call.node.post("/control/node/start", &Json::Null)?)?;
    Ok(Output::Nothing)
}

pub(crate) fn reset(call: &mut Call) -> Done {
    call.say(&format!("Resetting node {} ...", call.node.name()));
    Call::done(call.node.post("/control/node/reset", &Json::Null)?)?;
    Ok(Output::Nothing)
}

pub(crate) fn force_reset(call: &mut Call) -> Done {
    call.say(&format!(
        "Forcefully resetting node {} ...",
        call.node.name()
    ));
    Call::done(call.node.post("/control/node/reset", &Json::Null)?)?;
    Ok(Output::Nothing)
}
