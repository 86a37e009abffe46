//! RabbitMQ's plugins: which of their features are built in, and switching those that can be.
//!
//! What is enabled is a list in a file, in Erlang's syntax as RabbitMQ writes it. The node has the last word about it while it runs.

use super::Done;
use super::diagnostics::{missed, told};
use crate::Failure;
use crate::call::Call;
use crate::failure::{DATA, FILE, UNAVAILABLE};
use crate::output::{Formatter, Output};
use crate::term::Term;
use config::EnabledPlugins;
use serde_json::{Value as Json, json};
use std::collections::BTreeSet;

/// The version that plugins are shown with.
const VERSION: &str = "4.3.6";

/// What part of this program a plugin is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// It is enabled where nothing says what is.
    Default,
    /// It is enabled if somebody says so, or configures it.
    Chosen,
    /// It is not there.
    Absent,
}
use Part::{Absent, Chosen, Default};

/// Plugins that come with RabbitMQ, with those whose features they need.
const PLUGINS: [(&str, &[&str], Part); 42] = [
    ("rabbitmq_amqp1_0", &[], Absent),
    ("rabbitmq_auth_backend_cache", &[], Chosen),
    ("rabbitmq_auth_backend_http", &[], Chosen),
    ("rabbitmq_auth_backend_internal_loopback", &[], Chosen),
    ("rabbitmq_auth_backend_ldap", &[], Chosen),
    ("rabbitmq_auth_backend_oauth2", &[], Chosen),
    ("rabbitmq_auth_mechanism_ssl", &[], Default),
    ("rabbitmq_consistent_hash_exchange", &[], Default),
    ("rabbitmq_event_exchange", &[], Default),
    ("rabbitmq_exchange_federation", &[], Absent),
    ("rabbitmq_federation", &[], Absent),
    ("rabbitmq_federation_common", &[], Absent),
    ("rabbitmq_federation_management", MANAGEMENT, Absent),
    ("rabbitmq_federation_prometheus", &[], Absent),
    ("rabbitmq_jms_topic_exchange", &[], Default),
    ("rabbitmq_management", NEEDED_BY_MANAGEMENT, Default),
    (
        "rabbitmq_management_agent",
        &["rabbitmq_web_dispatch"],
        Chosen,
    ),
    ("rabbitmq_mqtt", &[], Absent),
    ("rabbitmq_peer_discovery_aws", &[], Absent),
    ("rabbitmq_peer_discovery_common", &[], Absent),
    ("rabbitmq_peer_discovery_consul", &[], Absent),
    ("rabbitmq_peer_discovery_etcd", &[], Absent),
    ("rabbitmq_peer_discovery_k8s", &[], Absent),
    ("rabbitmq_prometheus", NEEDED_BY_MANAGEMENT, Default),
    ("rabbitmq_queue_federation", &[], Absent),
    ("rabbitmq_random_exchange", &[], Default),
    ("rabbitmq_recent_history_exchange", &[], Default),
    ("rabbitmq_sharding", &[], Default),
    ("rabbitmq_shovel", &[], Absent),
    ("rabbitmq_shovel_management", MANAGEMENT, Absent),
    ("rabbitmq_shovel_prometheus", &[], Absent),
    ("rabbitmq_stomp", &[], Absent),
    ("rabbitmq_stream", &[], Absent),
    ("rabbitmq_stream_management", MANAGEMENT, Absent),
    ("rabbitmq_top", &[], Default),
    ("rabbitmq_tracing", &[], Default),
    ("rabbitmq_trust_store", &[], Chosen),
    ("rabbitmq_web_dispatch", &[], Chosen),
    ("rabbitmq_web_mqtt", &[], Absent),
    ("rabbitmq_web_mqtt_examples", &[], Absent),
    ("rabbitmq_web_stomp", &[], Absent),
    ("rabbitmq_web_stomp_examples", &[], Absent),
];

const MANAGEMENT: &[&str] = &["rabbitmq_management"];
const NEEDED_BY_MANAGEMENT: &[&str] = &["rabbitmq_management_agent", "rabbitmq_web_dispatch"];

/// The names of all plugins.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    PLUGINS.iter().map(|(name, ..)| *name)
}

/// The plugins that a set of plugins needs, with themselves.
fn with_needed(explicit: &BTreeSet<String>) -> BTreeSet<String> {
    let mut all = explicit.clone();
    loop {
        let needed: Vec<String> = PLUGINS
            .iter()
            .filter(|(name, ..)| all.contains(*name))
            .flat_map(|(_, needed, _)| needed.iter())
            .filter(|name| !all.contains(**name))
            .map(|name| (*name).to_owned())
            .collect();
        if needed.is_empty() {
            return all;
        }
        all.extend(needed);
    }
}

/// What is enabled, what runs, and whether the node was asked.
struct Plugins {
    explicit: BTreeSet<String>,
    running: BTreeSet<String>,
    is_up: bool,
}

fn names_in(list: &Json) -> BTreeSet<String> {
    let names = list.as_array().into_iter().flatten();
    names.filter_map(Json::as_str).map(str::to_owned).collect()
}

fn find(call: &mut Call) -> Result<Plugins, Failure> {
    if let Some(file) = call.arguments.option("enabled-plugins-file") {
        call.node.place.enabled_plugins = file.into();
    } else if !call.arguments.has("offline")
        && let Ok(answer) = call.node.get("/control/plugins")
    {
        let plugins = answer.ok()?;
        return Ok(Plugins {
            explicit: names_in(&plugins["enabled"]),
            running: names_in(&plugins["running"]),
            is_up: true,
        });
    }
    Ok(Plugins {
        explicit: read_file(call)?,
        running: BTreeSet::new(),
        is_up: false,
    })
}

/// The list in the file; without a file, everything that is built in.
fn read_file(call: &Call) -> Result<BTreeSet<String>, Failure> {
    let path = &call.node.place.enabled_plugins;
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(EnabledPlugins::names_in(&text).into_iter().collect()),
        // Compat: a file that is named and not there is an empty list.
        Err(error)
            if error.kind() == std::io::ErrorKind::NotFound
                && call.arguments.option("enabled-plugins-file").is_some() =>
        {
            Ok(BTreeSet::new())
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Ok(parts(Default).map(str::to_owned).collect())
        }
        Err(error) => Err(Failure::error(
            FILE,
            format!("cannot read {}: {error}", path.display()),
        )),
    }
}

pub(crate) fn list(call: &mut Call) -> Done {
    let pattern = match call.value(0) {
        "" => ".*".to_owned(),
        pattern => pattern.to_owned(),
    };
    if call.arguments.has("verbose") && call.arguments.has("minimal") {
        return Err(Failure::argument(
            "Bad argument: Cannot set both verbose and minimal",
        ));
    }
    // Compat: without anything else to be read, the enabled ones are those that were enabled by name.
    let explicit_only = call.arguments.has("implicitly-enabled")
        || (call.arguments.has("minimal") && call.is_quiet());
    let regex = regex::Regex::new(&pattern)
        .map_err(|error| Failure::argument(format!("{pattern}: {error}")))?;
    call.say(&format!("Listing plugins with pattern \"{pattern}\" ..."));
    let plugins = find(call)?;
    let enabled = with_needed(&plugins.explicit);
    let shown: Vec<&str> = PLUGINS
        .iter()
        .map(|(name, ..)| *name)
        .filter(|name| regex.is_match(name))
        .filter(|name| !call.arguments.has("enabled") || enabled.contains(*name))
        .filter(|name| {
            let all = !call.arguments.has("enabled") && !call.arguments.has("implicitly-enabled");
            all || !explicit_only || plugins.explicit.contains(*name)
        })
        .collect();
    let mut text = if call.is_quiet() {
        String::new()
    } else {
        warning(&plugins.explicit)
    };
    if call.arguments.has("minimal") {
        text.push_str(&shown.join("\n"));
        let items: Vec<Json> = shown.iter().map(|name| json!({ "name": name })).collect();
        return Ok(Output::Report {
            text,
            value: Term::from_json(
                &json!({ "status": state(&plugins), "format": "minimal", "plugins": items }),
            ),
        });
    }
    if !call.is_quiet() {
        let status = if plugins.is_up {
            format!("* = running on {}", call.node.name())
        } else {
            format!(
                "[failed to contact {} - status not shown]",
                call.node.name()
            )
        };
        text.push_str(&format!(
            " Configured: E = explicitly enabled; e = implicitly enabled\n | Status: {status}\n |/\n"
        ));
    }
    let width = shown.iter().map(|name| name.len()).max().unwrap_or(0);
    for name in &shown {
        let mark = if plugins.explicit.contains(*name) {
            'E'
        } else if enabled.contains(*name) {
            'e'
        } else {
            ' '
        };
        let star = if plugins.running.contains(*name) {
            '*'
        } else {
            ' '
        };
        if call.arguments.has("verbose") {
            text.push_str(&format!(
                "[{mark}{star}] {name}\n     Version:     \t{VERSION}\n"
            ));
        } else {
            text.push_str(&format!("[{mark}{star}] {name:<width$} {VERSION}\n"));
        }
    }
    let items: Vec<Json> = shown
        .iter()
        .map(|name| {
            let enabled = if plugins.explicit.contains(*name) {
                "enabled"
            } else if enabled.contains(*name) {
                "implicit"
            } else {
                "not_enabled"
            };
            let running = plugins.running.contains(*name);
            json!({
                "name": name,
                "enabled": enabled,
                "running": running,
                "version": VERSION,
                "running_version": if running { VERSION } else { "" },
            })
        })
        .collect();
    Ok(Output::Report {
        text,
        value: Term::from_json(
            &json!({ "status": state(&plugins), "format": "normal", "plugins": items }),
        ),
    })
}

fn state(plugins: &Plugins) -> &'static str {
    if plugins.is_up {
        "running"
    } else {
        "node_down"
    }
}

/// What a command does to the plugins that it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Enable,
    Disable,
    Set,
}

/// The plugins that are named, without those that there are not.
fn asked(call: &Call, verb: Verb) -> Result<BTreeSet<String>, Failure> {
    let named: BTreeSet<String> = call.arguments.values.iter().cloned().collect();
    let all = call.arguments.has("all");
    if all && !named.is_empty() {
        return Err(Failure::argument(
            "Bad argument: Cannot set both --all and a list of plugins",
        ));
    }
    if !all && named.is_empty() && verb != Verb::Set {
        return Err(Failure::usage("not enough arguments."));
    }
    expect_one_place(call)?;
    Ok(named)
}

fn expect_one_place(call: &Call) -> Result<(), Failure> {
    if call.arguments.has("online") && call.arguments.has("offline") {
        return Err(Failure::argument(
            "Bad argument: Cannot set both online and offline",
        ));
    }
    Ok(())
}

fn is_known(name: &str) -> bool {
    names().any(|known| known == name)
}

/// Those that are no plugins of RabbitMQ's, or are none any more.
fn missing(names: &BTreeSet<String>) -> Vec<&str> {
    let names = names.iter().map(String::as_str);
    names.filter(|name| !is_known(name)).collect()
}

/// What is said about them; nothing if there are none.
fn warning(names: &BTreeSet<String>) -> String {
    let missing = missing(names);
    if missing.is_empty() {
        return String::new();
    }
    let missing = missing.join(", ");
    format!("WARNING - plugins currently enabled but missing: {missing}\n\n")
}

/// The plugins that are this part of the program.
fn parts(wanted: Part) -> impl Iterator<Item = &'static str> {
    let parts = PLUGINS.iter().filter(move |(_, _, part)| *part == wanted);
    parts.map(|(name, ..)| *name)
}

pub(crate) fn enable(call: &mut Call) -> Done {
    let mut asked = asked(call, Verb::Enable)?;
    if call.arguments.has("all") {
        asked = parts(Default)
            .chain(parts(Chosen))
            .map(str::to_owned)
            .collect();
    }
    let before = find(call)?;
    let known = asked.iter().filter(|name| is_known(name)).cloned();
    let wanted = &before.explicit | &known.collect();
    change(call, Verb::Enable, &asked, &before, wanted)
}

pub(crate) fn disable(call: &mut Call) -> Done {
    let mut asked = asked(call, Verb::Disable)?;
    let before = find(call)?;
    if call.arguments.has("all") {
        asked.clone_from(&before.explicit);
    }
    // What needs a plugin goes with it.
    let wanted = before
        .explicit
        .iter()
        .filter(|name| with_needed(&BTreeSet::from([(*name).clone()])).is_disjoint(&asked))
        .cloned()
        .collect();
    change(call, Verb::Disable, &asked, &before, wanted)
}

pub(crate) fn set(call: &mut Call) -> Done {
    let asked = asked(call, Verb::Set)?;
    let before = find(call)?;
    change(call, Verb::Set, &asked, &before, asked.clone())
}

/// What a change comes to.
struct Change {
    verb: Verb,
    is_online: bool,
    /// All that is enabled now.
    after: BTreeSet<String>,
    started: Vec<String>,
    stopped: Vec<String>,
}

/// Writes what is enabled, through the node if it runs, and says what that changed.
fn change(
    call: &mut Call,
    verb: Verb,
    asked: &BTreeSet<String>,
    before: &Plugins,
    wanted: BTreeSet<String>,
) -> Done {
    let node = call.node.name().to_owned();
    if call.arguments.has("online") && !before.is_up {
        return Err(Failure::state(
            "this command requires the target node to be running.",
        ));
    }
    let title = if verb == Verb::Disable {
        "Disabling"
    } else {
        "Enabling"
    };
    call.say(&format!("{title} plugins on node {node}:"));
    asked.iter().for_each(|name| call.say(name));
    let unknown = missing(asked);
    if verb == Verb::Set && !unknown.is_empty() {
        return Err(Failure::error(
            DATA,
            format!(
                "The following plugins were not found: {}",
                unknown.join(", ")
            ),
        ));
    }
    if verb != Verb::Disable
        && let absent = parts(Absent).filter(|name| asked.contains(*name))
        && let absent = absent.collect::<Vec<_>>()
        && !absent.is_empty()
    {
        return Err(Failure::error(
            DATA,
            format!(
                "The following plugins are not supported yet: {}",
                absent.join(", ")
            ),
        ));
    }
    let [earlier, after] = [&before.explicit, &wanted].map(|names| {
        let known = names.iter().filter(|name| is_known(name)).cloned();
        with_needed(&known.collect())
    });
    if before.is_up {
        let list: Vec<&String> = wanted.iter().collect();
        let answer = call
            .node
            .put("/control/plugins", &json!({ "enabled": list }))?;
        if let Some(reason) = answer.refused() {
            return Err(Failure::error(UNAVAILABLE, reason));
        }
    } else {
        write_file(call, &wanted)?;
    }
    let change = Change {
        verb,
        is_online: before.is_up,
        started: after.difference(&earlier).cloned().collect(),
        // Compat: the last one comes first.
        stopped: earlier
            .iter()
            .rev()
            .filter(|name| !after.contains(*name))
            .cloned()
            .collect(),
        after,
    };
    if call.formatter == Formatter::Json {
        call.print(&format!(
            "[\n{}\n,{}\n]\n",
            json!(change.after),
            change.to_json()
        ));
        return Ok(Output::Printed);
    }
    let mut text = match verb {
        Verb::Enable | Verb::Disable => warning(&(&before.explicit | asked)),
        Verb::Set => String::new(),
    };
    text.push_str(&change.text(&node));
    Ok(Output::Report {
        text,
        value: Term::from_json(&change.to_json()),
    })
}

impl Change {
    fn text(&self, node: &str) -> String {
        let mut text = listed(
            "The following plugins have been configured:",
            self.after.iter(),
        );
        if self.after.is_empty() {
            text = "All plugins have been disabled.\n".to_owned();
        }
        text.push_str(&format!("Applying plugin configuration to {node}...\n"));
        if self.started.is_empty() && self.stopped.is_empty() {
            return text + "Plugin configuration unchanged.";
        }
        if self.verb != Verb::Set {
            text.push_str(&listed(
                "The following plugins have been enabled:",
                self.started.iter(),
            ));
            text.push_str(&listed(
                "The following plugins have been disabled:",
                self.stopped.iter(),
            ));
            text.push('\n');
        }
        text.push_str(
            &match (self.is_online, self.started.len(), self.stopped.len()) {
                (false, ..) => format!("set {} plugins.", self.after.len()),
                (true, started, 0) => format!("started {started} plugins."),
                (true, 0, stopped) => format!("stopped {stopped} plugins."),
                (true, started, stopped) => {
                    format!("started {started} plugins and stopped {stopped} plugins.")
                }
            },
        );
        if !self.is_online && self.verb != Verb::Set {
            text.push_str("\nOffline change; changes will take effect at broker restart.");
        }
        text
    }

    fn to_json(&self) -> Json {
        let mut fields = json!({
            "set": self.after,
            "mode": if self.is_online { "online" } else { "offline" },
        });
        match self.verb {
            Verb::Enable => fields["enabled"] = json!(self.started),
            Verb::Disable => fields["disabled"] = json!(self.stopped),
            Verb::Set => {}
        }
        if self.is_online {
            fields["started"] = json!(self.started);
            fields["stopped"] = json!(self.stopped);
        }
        fields
    }
}

/// A title with names below it; nothing without names.
fn listed<'a>(title: &str, names: impl ExactSizeIterator<Item = &'a String>) -> String {
    if names.len() == 0 {
        return String::new();
    }
    let names: String = names.map(|name| format!("  {name}\n")).collect();
    format!("{title}\n{names}")
}

fn write_file(call: &Call, wanted: &BTreeSet<String>) -> Result<(), Failure> {
    let path = &call.node.place.enabled_plugins;
    let list = Term::atoms(wanted.iter().cloned());
    path.parent()
        .map_or(Ok(()), std::fs::create_dir_all)
        .and_then(|()| std::fs::write(path, format!("{list}.\n")))
        .map_err(|error| Failure::error(FILE, format!("cannot write {}: {error}", path.display())))
}

pub(crate) fn is_enabled(call: &mut Call) -> Done {
    expect_one_place(call)?;
    let node = call.node.name().to_owned();
    let asked = call.arguments.values.clone();
    let is_offline = call.arguments.has("offline");
    let (noun, verb) = number(&asked, "plugin");
    let names = asked.join(", ");
    call.say(&if is_offline {
        format!("Inferring if {noun} {names} {verb} from local environment...")
    } else {
        format!("Asking node {node} if {noun} {names} {verb} enabled...")
    });
    let plugins = find(call)?;
    let enabled = with_needed(&plugins.explicit);
    let missing: Vec<String> = asked
        .iter()
        .filter(|name| !enabled.contains(*name))
        .cloned()
        .collect();
    let place = if is_offline {
        String::new()
    } else {
        format!(" on node {node}")
    };
    if missing.is_empty() {
        let (noun, verb) = number(&asked, "Plugin");
        let text = format!("{noun} {names} {verb} enabled{place}");
        let value = json!({ "message": text, "result": "ok" });
        return Ok(told(text, &value));
    }
    let (noun, verb) = number(&missing, "Plugin");
    let enabled: Vec<&str> = enabled.iter().map(String::as_str).collect();
    let text = format!(
        "{noun} {} {verb} not enabled{place}. Enabled plugins and dependencies: {}",
        missing.join(", "),
        enabled.join(", ")
    );
    let value = json!({ "message": text, "result": "error" });
    Err(missed(call, Failure::error(UNAVAILABLE, text), &value))
}

/// A noun and a verb for so many plugins.
fn number(names: &[String], noun: &str) -> (String, &'static str) {
    match names {
        [_] => (noun.to_owned(), "is"),
        _ => (format!("{noun}s"), "are"),
    }
}

pub(crate) fn directories(call: &mut Call) -> Done {
    expect_one_place(call)?;
    call.say(&format!(
        "Listing plugin directories used by node {}",
        call.node.name()
    ));
    let file = call.node.place.enabled_plugins.display().to_string();
    Ok(Output::Report {
        text: format!(
            "Plugin archives directory: none, plugins are built in\nPlugin expansion directory: none, plugins are built in\nEnabled plugins file: {file}"
        ),
        value: Term::from_json(&json!({ "enabled_plugins_file": file })),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_says_of_each_plugin_whether_it_is_there() {
        let document = include_str!("../../../../docs/extending.md");
        for (name, _, part) in PLUGINS {
            let name = format!("`{name}`");
            let mut rows = document.lines().filter(|line| line.contains(&name));
            let row = rows.find(|line| line.starts_with("| `"));
            let is_absent = row.map(|row| row.contains("| not there yet"));
            assert_eq!(is_absent, Some(part == Absent), "{name}");
        }
    }

    #[test]
    fn what_a_plugin_needs_is_enabled_with_it() {
        let explicit = BTreeSet::from(["rabbitmq_management".to_owned()]);
        let all: Vec<String> = with_needed(&explicit).into_iter().collect();
        assert_eq!(
            all,
            [
                "rabbitmq_management",
                "rabbitmq_management_agent",
                "rabbitmq_web_dispatch"
            ]
        );
    }
}
