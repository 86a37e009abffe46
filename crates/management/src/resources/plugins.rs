//! RabbitMQ's plugins, whose work this program does itself: which of them are enabled, and which of them run.
//!
//! Four can be switched while the node runs: `rabbitmq_management` and `rabbitmq_prometheus`, whose work are listeners, `rabbitmq_trust_store` and
//! `rabbitmq_tracing`. Backends of users count from the next start on. The list of what is enabled is a file, in
//! RabbitMQ's form; without it everything that is built in is enabled, the trust store and backends if they are configured.

use crate::call::{Answer, Call, Fields as _, Outcome};
use crate::error::ApiError;
use crate::json::object;
use crate::service;
use crate::state::State;
use hyper::Method;
use node::config::EnabledPlugins;
use std::io;
use std::path::Path;

/// The plugin whose work the listeners of the API are.
pub(crate) const MANAGEMENT: &str = "rabbitmq_management";

/// The plugin whose work the listeners of the metrics are.
pub(crate) const PROMETHEUS: &str = "rabbitmq_prometheus";

/// The plugin that shows what keeps the node busy.
pub(crate) const TOP: &str = "rabbitmq_top";

/// The plugin that makes the clients of TLS listeners have certificates.
pub(crate) const TRUST_STORE: &str = "rabbitmq_trust_store";

/// The plugin that writes traced messages to files.
pub(crate) const TRACING: &str = "rabbitmq_tracing";

/// Plugins whose work is always done.
const BUILT_IN: [&str; 8] = [
    "rabbitmq_auth_mechanism_ssl",
    "rabbitmq_consistent_hash_exchange",
    "rabbitmq_event_exchange",
    "rabbitmq_jms_topic_exchange",
    "rabbitmq_random_exchange",
    "rabbitmq_recent_history_exchange",
    "rabbitmq_sharding",
    TOP,
];

/// Plugins whose work are backends; those that are enabled when the node starts can be used (see `node::check`).
const BACKENDS: [&str; 5] = [
    "rabbitmq_auth_backend_cache",
    "rabbitmq_auth_backend_http",
    "rabbitmq_auth_backend_internal_loopback",
    "rabbitmq_auth_backend_ldap",
    "rabbitmq_auth_backend_oauth2",
];

/// Plugins that run while the API listens.
const OF_MANAGEMENT: [&str; 3] = [
    MANAGEMENT,
    "rabbitmq_management_agent",
    "rabbitmq_web_dispatch",
];

/// Names that the file may hold.
const NAMES_MAX: usize = 256;

/// The file with the list.
pub(crate) fn file(state: &State) -> &Path {
    &state.node.settings().enabled_plugins_file
}

/// Writes the list that the configuration asks for, if it does.
///
/// # Errors
/// The file cannot be written.
pub(crate) fn enforce(state: &State) -> io::Result<()> {
    match &state.node.settings().enabled_plugins {
        None => Ok(()),
        Some(EnabledPlugins::All) => write(state, &all(state)),
        Some(EnabledPlugins::These(names)) => {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            write(state, &names)
        }
    }
}

/// Tells of plugins on the list whose work nobody does here, so that nobody waits for them.
pub(crate) fn warn_of_absent(state: &State) {
    let listed = match &state.node.settings().enabled_plugins {
        Some(EnabledPlugins::These(names)) => names.clone(),
        Some(EnabledPlugins::All) => Vec::new(),
        None => listed(state).ok().flatten().unwrap_or_default(),
    };
    let known = [PROMETHEUS, TRACING, TRUST_STORE].into_iter();
    let known = known.chain(BUILT_IN).chain(OF_MANAGEMENT).chain(BACKENDS);
    let absent: Vec<String> = listed
        .into_iter()
        .filter(|name| !known.clone().any(|known| known == name))
        .collect();
    if !absent.is_empty() {
        let (file, absent) = (file(state).display(), absent.join(", "));
        tracing::warn!("plugins that are enabled in {file} and not supported yet: {absent}");
    }
}

/// What is enabled where nothing says otherwise.
fn all(state: &State) -> Vec<&'static str> {
    let trust_store = &state.node.settings().auth.trust_store;
    let trust_store = trust_store.is_configured().then_some(TRUST_STORE);
    let switched = [MANAGEMENT, PROMETHEUS, TRACING]
        .into_iter()
        .chain(trust_store);
    let backends = BACKENDS.into_iter().filter(|name| is_backend(state, name));
    BUILT_IN
        .into_iter()
        .chain(switched)
        .chain(backends)
        .collect()
}

/// Whether the configuration names the backend that this plugin is.
fn is_backend(state: &State, plugin: &str) -> bool {
    let settings = state.node.settings();
    let links = settings.auth.backends.iter();
    let mut links = links.chain(&settings.management.auth_backends);
    links.any(|link| {
        let mut names = std::iter::once(&link.authn).chain(&link.authz);
        names.any(|name| name.plugin() == Some(plugin))
    })
}

fn write(state: &State, names: &[&str]) -> io::Result<()> {
    std::fs::write(file(state), format!("[{}].\n", names.join(",")))
}

/// The plugins that were enabled by name. `None` without a file.
///
/// # Errors
/// The file cannot be read.
pub(crate) fn listed(state: &State) -> io::Result<Option<Vec<String>>> {
    let text = match std::fs::read_to_string(file(state)) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    Ok(Some(EnabledPlugins::names_in(&text)))
}

/// The plugins that are enabled by name, or everything that is built in.
///
/// # Errors
/// The file cannot be read.
pub(crate) fn enabled_names(state: &State) -> io::Result<Vec<String>> {
    Ok(listed(state)?.unwrap_or_else(|| {
        let all = all(state).into_iter();
        all.map(str::to_owned).collect()
    }))
}

/// Those that are running.
pub(crate) fn running(state: &State) -> Vec<&'static str> {
    let listeners = state.http_listeners();
    let http = !listeners.plain.is_empty() || !listeners.tls.is_empty();
    let of_management = OF_MANAGEMENT.into_iter().filter(|_| http);
    let of_metrics = (state.metrics_listeners().all().next().is_some()).then_some(PROMETHEUS);
    let trust_store = state.node.trust_store().map(|_| TRUST_STORE);
    let names = enabled_names(state).unwrap_or_default();
    let of_traces = (http && names.iter().any(|name| name == TRACING)).then_some(TRACING);
    let switched = of_management.chain(of_metrics).chain(of_traces);
    let of_backends = BACKENDS
        .into_iter()
        .filter(|backend| names.iter().any(|name| name == backend));
    let switched = switched.chain(trust_store).chain(of_backends);
    switched.chain(BUILT_IN).collect()
}

/// What is enabled by name and what runs; PUT replaces the former and switches what can be switched.
pub(crate) async fn enabled(call: Call) -> Outcome {
    let state = &call.state;
    let unavailable = |error: io::Error| ApiError::bad(format!("enabled_plugins: {error}"));
    if call.method != Method::PUT {
        let names = enabled_names(state).map_err(unavailable)?;
        return Ok(object! { "enabled" => names, "running" => running(state) }.into());
    }
    let body = call.body()?;
    let names = body.require("enabled")?.as_array();
    let names = names.ok_or_else(|| ApiError::bad("enabled must be a list"))?;
    let names: Vec<&str> = names.iter().filter_map(serde_json::Value::as_str).collect();
    let is_plain = |name: &&str| {
        name.chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    };
    if names.len() > NAMES_MAX || !names.iter().all(is_plain) {
        return Err(ApiError::bad("enabled must be a list of plugins"));
    }
    let trust_store = state.node.switch_trust_store(names.contains(&TRUST_STORE));
    trust_store.map_err(|error| ApiError::bad(error.to_string()))?;
    write(state, &names).map_err(unavailable)?;
    if names.contains(&MANAGEMENT) {
        service::open_listeners(state).map_err(|error| ApiError::bad(error.to_string()))?;
    } else {
        service::close_listeners(state);
    }
    if names.contains(&PROMETHEUS) {
        service::open_metrics(state).map_err(|error| ApiError::bad(error.to_string()))?;
    } else {
        service::close_metrics(state);
    }
    if !names.contains(&TRACING) {
        state.traces.stop_all(state, &call.user().name).await;
    }
    tracing::info!(enabled = names.join(","), "plugins were switched");
    Ok(Answer::NoContent)
}
