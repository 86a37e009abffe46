//! RabbitMQ's plugins: which of their features are built in, and switching those that can be.
//!
//! What is enabled is a list in a file, in Erlang's syntax as RabbitMQ writes it. The node has the last word about it while it runs.

use super::Done;
use crate::Failure;
use crate::call::Call;
use crate::failure::{DATA, FILE, UNAVAILABLE};
use crate::output::Output;
use crate::term::Term;
use serde_json::{Value as Json, json};
use std::collections::BTreeSet;

/// The version that plugins are shown with.
const VERSION: &str = "4.3.6";

/// Plugins that come with RabbitMQ, with those whose features they need.
const PLUGINS: [(&str, &[&str]); 42] = [
    ("rabbitmq_amqp1_0", &[]),
    ("rabbitmq_auth_backend_cache", &[]),
    ("rabbitmq_auth_backend_http", &[]),
    ("rabbitmq_auth_backend_internal_loopback", &[]),
    ("rabbitmq_auth_backend_ldap", &[]),
    ("rabbitmq_auth_backend_oauth2", &[]),
    ("rabbitmq_auth_mechanism_ssl", &[]),
    ("rabbitmq_consistent_hash_exchange", &[]),
    ("rabbitmq_event_exchange", &[]),
    ("rabbitmq_exchange_federation", &[]),
    ("rabbitmq_federation", &[]),
    ("rabbitmq_federation_common", &[]),
    ("rabbitmq_federation_management", MANAGEMENT),
    ("rabbitmq_federation_prometheus", &[]),
    ("rabbitmq_jms_topic_exchange", &[]),
    ("rabbitmq_management", NEEDED_BY_MANAGEMENT),
    ("rabbitmq_management_agent", &["rabbitmq_web_dispatch"]),
    ("rabbitmq_mqtt", &[]),
    ("rabbitmq_peer_discovery_aws", &[]),
    ("rabbitmq_peer_discovery_common", &[]),
    ("rabbitmq_peer_discovery_consul", &[]),
    ("rabbitmq_peer_discovery_etcd", &[]),
    ("rabbitmq_peer_discovery_k8s", &[]),
    ("rabbitmq_prometheus", &[]),
    ("rabbitmq_queue_federation", &[]),
    ("rabbitmq_random_exchange", &[]),
    ("rabbitmq_recent_history_exchange", &[]),
    ("rabbitmq_sharding", &[]),
    ("rabbitmq_shovel", &[]),
    ("rabbitmq_shovel_management", MANAGEMENT),
    ("rabbitmq_shovel_prometheus", &[]),
    ("rabbitmq_stomp", &[]),
    ("rabbitmq_stream", &[]),
    ("rabbitmq_stream_management", MANAGEMENT),
    ("rabbitmq_top", &[]),
    ("rabbitmq_tracing", &[]),
    ("rabbitmq_trust_store", &[]),
    ("rabbitmq_web_dispatch", &[]),
    ("rabbitmq_web_mqtt", &[]),
    ("rabbitmq_web_mqtt_examples", &[]),
    ("rabbitmq_web_stomp", &[]),
    ("rabbitmq_web_stomp_examples", &[]),
];

const MANAGEMENT: &[&str] = &["rabbitmq_management"];
const NEEDED_BY_MANAGEMENT: &[&str] = &["rabbitmq_management_agent", "rabbitmq_web_dispatch"];

/// The names of all plugins.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    PLUGINS.iter().map(|(name, _)| *name)
}

/// The plugins that a set of plugins needs, with themselves.
fn with_needed(explicit: &BTreeSet<String>) -> BTreeSet<String> {
    let mut all = explicit.clone();
    loop {
        let needed: Vec<String> = PLUGINS
            .iter()
            .filter(|(name, _)| all.contains(*name))
            .flat_map(|(_, needed)| needed.iter())
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
    if !call.arguments.has("offline")
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
        Ok(text) => Ok(text
            .split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
            .filter(|word| !word.is_empty())
            .map(str::to_owned)
            .collect()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Ok(BTreeSet::from(["rabbitmq_management".to_owned()]))
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
    let regex = regex::Regex::new(&pattern)
        .map_err(|error| Failure::argument(format!("{pattern}: {error}")))?;
    call.say(&format!("Listing plugins with pattern \"{pattern}\" ..."));
    let plugins = find(call)?;
    let enabled = with_needed(&plugins.explicit);
    let shown: Vec<&str> = PLUGINS
        .iter()
        .map(|(name, _)| *name)
        .filter(|name| regex.is_match(name))
        .filter(|name| !call.arguments.has("enabled") || enabled.contains(*name))
        .filter(|name| {
            !call.arguments.has("implicitly-enabled") || plugins.explicit.contains(*name)
        })
        .collect();
    if call.arguments.has("minimal") {
        return Ok(Output::Report {
            text: shown.join("\n"),
            value: Term::from_json(
                &json!({ "status": state(&plugins), "format": "minimal", "plugins": shown }),
            ),
        });
    }
    let mut text = String::new();
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

fn arguments(call: &Call) -> BTreeSet<String> {
    call.arguments.values.iter().cloned().collect()
}

pub(crate) fn enable(call: &mut Call) -> Done {
    let asked = if call.arguments.has("all") {
        PLUGINS.iter().map(|(name, _)| (*name).to_owned()).collect()
    } else {
        some(call)?
    };
    let before = find(call)?;
    let wanted = &before.explicit | &asked;
    change(call, "Enabling", &asked, &before, wanted)
}

pub(crate) fn disable(call: &mut Call) -> Done {
    let before = find(call)?;
    let asked = if call.arguments.has("all") {
        before.explicit.clone()
    } else {
        some(call)?
    };
    // What needs a plugin goes with it.
    let wanted = before
        .explicit
        .iter()
        .filter(|name| with_needed(&BTreeSet::from([(*name).clone()])).is_disjoint(&asked))
        .cloned()
        .collect();
    change(call, "Disabling", &asked, &before, wanted)
}

pub(crate) fn set(call: &mut Call) -> Done {
    let before = find(call)?;
    let asked = arguments(call);
    change(call, "Enabling", &asked, &before, asked.clone())
}

fn some(call: &Call) -> Result<BTreeSet<String>, Failure> {
    let asked = arguments(call);
    if asked.is_empty() {
        return Err(Failure::usage("not enough arguments."));
    }
    Ok(asked)
}

/// Writes what is enabled, through the node if it runs, and says what that changed.
fn change(
    call: &mut Call,
    verb: &str,
    asked: &BTreeSet<String>,
    before: &Plugins,
    wanted: BTreeSet<String>,
) -> Done {
    let node = call.node.name().to_owned();
    call.say(&format!("{verb} plugins on node {node}:"));
    asked.iter().for_each(|name| call.say(name));
    let unknown: Vec<&String> = asked
        .iter()
        .filter(|name| !PLUGINS.iter().any(|(known, _)| known == name))
        .collect();
    if let Some(name) = unknown.first() {
        return Err(Failure::error(
            DATA,
            format!(
                "The following plugins could not be found: {name}. 'rabbitmq-plugins list' shows those that there are"
            ),
        ));
    }
    let after = with_needed(&wanted);
    let mut lines = vec!["The following plugins have been configured:".to_owned()];
    lines.extend(after.iter().map(|name| format!("  {name}")));
    if before.is_up {
        lines.push(format!("Applying plugin configuration to {node}..."));
        let list: Vec<&String> = wanted.iter().collect();
        let answer = call
            .node
            .put("/control/plugins", &json!({ "enabled": list }))?;
        if let Some(reason) = answer.refused() {
            return Err(Failure::error(UNAVAILABLE, reason));
        }
        let earlier = with_needed(&before.explicit);
        let started: Vec<String> = after
            .difference(&earlier)
            .map(|name| format!("  {name}"))
            .collect();
        let stopped: Vec<String> = earlier
            .difference(&after)
            .map(|name| format!("  {name}"))
            .collect();
        if started.is_empty() && stopped.is_empty() {
            lines.push("Plugin configuration unchanged.".to_owned());
        }
        if !started.is_empty() {
            lines.push("The following plugins have been enabled:".to_owned());
            lines.extend(started.iter().cloned());
        }
        if !stopped.is_empty() {
            lines.push("The following plugins have been disabled:".to_owned());
            lines.extend(stopped.iter().cloned());
        }
        match (started.len(), stopped.len()) {
            (0, 0) => {}
            (started, 0) => lines.push(format!("\nstarted {started} plugins.")),
            (0, stopped) => lines.push(format!("\nstopped {stopped} plugins.")),
            (started, stopped) => lines.push(format!(
                "\nstarted {started} plugins and stopped {stopped} plugins."
            )),
        }
    } else {
        write_file(call, &wanted)?;
        lines.push("Offline change; changes will take effect at broker restart.".to_owned());
    }
    Ok(Output::Report {
        text: lines.join("\n"),
        value: Term::from_json(&json!({ "enabled": wanted, "set": after })),
    })
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
    let node = call.node.name().to_owned();
    let asked = call.arguments.values.clone();
    let (noun, verb) = if asked.len() == 1 {
        ("plugin", "is")
    } else {
        ("plugins", "are")
    };
    call.say(&format!(
        "Asking node {node} if {noun} {} {verb} enabled...",
        asked.join(", ")
    ));
    let plugins = find(call)?;
    let enabled = with_needed(&plugins.explicit);
    let missing: Vec<&String> = asked
        .iter()
        .filter(|name| !enabled.contains(*name))
        .collect();
    let noun = if asked.len() == 1 {
        "Plugin"
    } else {
        "Plugins"
    };
    if missing.is_empty() {
        return Ok(Output::line(format!(
            "{noun} {} {verb} enabled on node {node}",
            asked.join(", ")
        )));
    }
    let missing: Vec<&str> = missing.iter().map(|name| name.as_str()).collect();
    let enabled: Vec<&str> = enabled.iter().map(String::as_str).collect();
    Err(Failure::error(
        UNAVAILABLE,
        format!(
            "{noun} {} {verb} not enabled on node {node}. Enabled plugins and dependencies: {}",
            missing.join(", "),
            enabled.join(", ")
        ),
    ))
}

pub(crate) fn directories(call: &mut Call) -> Done {
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
