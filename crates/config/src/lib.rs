//! The settings of a node: defaults, then `rabbitmq.conf`, then environment variables.
//!
//! [`load`] makes [`Settings`]; everything foreign that it needs (files, variables, the host's name) comes through
//! [`Surroundings`], so the rules are tested without a file or a process environment.
//! It opens no socket, creates no directory, and changes nothing later: RabbitMQ docs: configure, settings apply at start.
//!
//! A new key is a row in the file of its area below [`schema`], a field of [`Settings`], and the code elsewhere that honours it.
//!
//! Suggested reading order: [`conf_file`] (syntax), [`schema`] (keys), [`size`] (units), [`error`].

pub mod conf_file;
pub mod document;
pub mod error;
pub mod schema;
pub mod size;

mod metadata;
mod place;
mod settings;
mod surroundings;

pub use error::{ConfigError, Problem};
pub use metadata::{DefaultLimits, DefaultPolicy, MetadataSettings};
pub use place::Place;
pub use settings::{
    AuthMechanism, ContentHash, DefinitionsSettings, DiskFreeLimit, ListenAddress, LogLevel,
    LogSettings, ManagementSettings, MemoryHighWatermark, Permissions, Secret, Settings,
    TcpListenOptions,
};
pub use surroundings::{Process, Surroundings};

use conf_file::Entry;
use schema::Draft;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The port of AMQP 0-9-1.
const AMQP_PORT: u16 = 5672;
/// The port of the HTTP API.
const MANAGEMENT_PORT: u16 = 15_672;
/// Where packages keep the configuration.
const SYSTEM_CONFIG_FILE: &str = "/etc/rabbitmq/rabbitmq.conf";
/// Further files, read in the order of their names.
const SYSTEM_CONFIG_DIR: &str = "/etc/rabbitmq/conf.d";
/// Where packages keep data.
const SYSTEM_DATA_BASE: &str = "/var/lib/rabbitmq/mnesia";

/// Variables that RabbitMQ reads and this node does not.
const VARIABLES_WITHOUT_EFFECT: &[&str] = &[
    "RABBITMQ_BASE",
    "RABBITMQ_CONF_ENV_FILE",
    "RABBITMQ_CONSOLE_LOG",
    "RABBITMQ_CTL_ERL_ARGS",
    "RABBITMQ_DIST_PORT",
    "RABBITMQ_DISTRIBUTION_BUFFER_SIZE",
    "RABBITMQ_ENABLED_PLUGINS",
    "RABBITMQ_ENABLED_PLUGINS_FILE",
    "RABBITMQ_ERLANG_COOKIE",
    "RABBITMQ_FEATURE_FLAGS_FILE",
    "RABBITMQ_IO_THREAD_POOL_SIZE",
    "RABBITMQ_LOG",
    "RABBITMQ_LOGS",
    "RABBITMQ_LOG_BASE",
    "RABBITMQ_MAX_NUMBER_OF_ATOMS",
    "RABBITMQ_MAX_NUMBER_OF_PROCESSES",
    "RABBITMQ_MAX_OPEN_FILES",
    "RABBITMQ_PID_FILE",
    "RABBITMQ_PLUGINS_DIR",
    "RABBITMQ_PLUGINS_EXPAND_DIR",
    "RABBITMQ_SASL_LOGS",
    "RABBITMQ_SCHEDULER_BIND_TYPE",
    "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
    "RABBITMQ_SERVER_ERL_ARGS",
    "RABBITMQ_SERVICENAME",
    "RABBITMQ_USE_LONGNAME",
];

/// Settings and how they came about.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// Files that were read, in order.
    pub files: Vec<PathBuf>,
    /// What an operator should know though the node starts: one sentence each, for the log.
    pub notes: Vec<String>,
}

/// Reads the configuration.
///
/// # Errors
/// All problems at once, if there is any; then the node must not start.
pub fn load(surroundings: &dyn Surroundings) -> Result<Loaded, ConfigError> {
    let mut problems = Vec::new();
    let mut notes = Vec::new();
    let files = config_files(surroundings, &mut notes, &mut problems);

    let mut draft = Draft::default();
    for entry in last_of_each_key(read_files(surroundings, &files, &mut problems)) {
        match schema::apply(&mut draft, &entry.place, &entry.key, &entry.value) {
            Ok(note) => notes.extend(note),
            Err(problem) => problems.push(problem),
        }
    }
    apply_variables(&mut draft, surroundings, &mut problems);
    notes.extend(variables_without_effect(surroundings));

    match draft.finish() {
        Ok(settings) if problems.is_empty() => Ok(Loaded {
            settings,
            files,
            notes,
        }),
        Ok(_) => Err(ConfigError { problems }),
        Err(more) => {
            problems.extend(more);
            Err(ConfigError { problems })
        }
    }
}

/// The main file, if there is one, and those of the further directory.
fn config_files(
    surroundings: &dyn Surroundings,
    notes: &mut Vec<String>,
    problems: &mut Vec<Problem>,
) -> Vec<PathBuf> {
    for path in [
        surroundings.variable("RABBITMQ_ADVANCED_CONFIG_FILE"),
        Some("/etc/rabbitmq/advanced.config".to_owned()),
    ] {
        let Some(path) = path.filter(|path| surroundings.is_file(Path::new(path))) else {
            continue;
        };
        problems.push(Problem::UnsupportedFile {
            file: path,
            reason: ERLANG_TERMS,
        });
    }
    let mut files = Vec::new();
    match surroundings.variable("RABBITMQ_CONFIG_FILE") {
        None => {
            let system = PathBuf::from(SYSTEM_CONFIG_FILE);
            files.extend(surroundings.is_file(&system).then_some(system));
        }
        Some(path) => match main_file(surroundings, &path) {
            Ok(Some(file)) => files.push(file),
            Ok(None) => notes.push(format!("configuration file {path} does not exist")),
            Err(problem) => problems.push(problem),
        },
    }
    let directory = surroundings
        .variable("RABBITMQ_CONFIG_FILES")
        .unwrap_or_else(|| SYSTEM_CONFIG_DIR.to_owned());
    let directory = directory.strip_suffix("/*.conf").unwrap_or(&directory);
    let mut further = surroundings.list(Path::new(directory));
    further.retain(|path| {
        path.extension()
            .is_some_and(|extension| extension == "conf")
    });
    further.sort();
    files.extend(further);
    files
}

/// Why an Erlang file is refused.
const ERLANG_TERMS: &str =
    "it holds Erlang terms; write its settings as key = value into rabbitmq.conf";

/// The file that RABBITMQ_CONFIG_FILE means: itself or with `.conf` behind it.
fn main_file(surroundings: &dyn Surroundings, path: &str) -> Result<Option<PathBuf>, Problem> {
    let erlang = |file: String| Problem::UnsupportedFile {
        file,
        reason: ERLANG_TERMS,
    };
    if path.ends_with(".config") {
        return Err(erlang(path.to_owned()));
    }
    if path.ends_with(".conf") {
        let file = PathBuf::from(path);
        return Ok(surroundings.is_file(&file).then_some(file));
    }
    for file in [format!("{path}.conf"), path.to_owned()] {
        if surroundings.is_file(Path::new(&file)) {
            return Ok(Some(PathBuf::from(file)));
        }
    }
    let old = format!("{path}.config");
    if surroundings.is_file(Path::new(&old)) {
        Err(erlang(old))
    } else {
        Ok(None)
    }
}

fn read_files(
    surroundings: &dyn Surroundings,
    files: &[PathBuf],
    problems: &mut Vec<Problem>,
) -> Vec<Entry> {
    let mut entries = Vec::new();
    for path in files {
        let file = path.display().to_string();
        match surroundings.read(path) {
            Ok(text) => {
                let (more, bad) =
                    conf_file::parse(&file, &text, &|name| surroundings.variable(name));
                entries.extend(more);
                problems.extend(bad);
            }
            Err(error) => problems.push(Problem::Unreadable {
                file,
                reason: error.to_string(),
            }),
        }
    }
    entries
}

/// A key that is set twice has its last value; the order of what remains is that of the files.
fn last_of_each_key(entries: Vec<Entry>) -> Vec<Entry> {
    let last: BTreeMap<String, usize> = entries
        .iter()
        .enumerate()
        .map(|(index, entry)| (entry.key.clone(), index))
        .collect();
    entries
        .into_iter()
        .enumerate()
        .filter(|(index, entry)| last.get(&entry.key) == Some(index))
        .map(|(_, e)| e)
        .collect()
}

/// Environment variables win over files, except that listeners named in a file win over address and port.
fn apply_variables(
    draft: &mut Draft,
    surroundings: &dyn Surroundings,
    problems: &mut Vec<Problem>,
) {
    if !draft.has_listeners() {
        match variable_listener(surroundings) {
            Ok(listener) => draft.settings.tcp_listeners = vec![listener],
            Err(problem) => problems.push(problem),
        }
    }
    match variable_name(surroundings, "RABBITMQ_DEFAULT_USER") {
        Ok(Some(user)) => draft.settings.default_user = user,
        Ok(None) => {}
        Err(problem) => problems.push(problem),
    }
    match variable_name(surroundings, "RABBITMQ_DEFAULT_VHOST") {
        Ok(Some(vhost)) => draft.settings.default_vhost = vhost,
        Ok(None) => {}
        Err(problem) => problems.push(problem),
    }
    if let Some(pass) = surroundings.variable("RABBITMQ_DEFAULT_PASS") {
        draft.settings.default_pass = Secret::from(pass.as_str());
    }
    match node_name(surroundings) {
        Ok(name) => draft.settings.node_name = name,
        Err(problem) => return problems.push(problem),
    }
    match data_dir(surroundings, &draft.settings.node_name, true) {
        Some(path) => draft.settings.data_dir = path,
        None => problems.push(Problem::NoDataDirectory),
    }
}

/// RabbitMQ's other variables: an operator who sets one hears that nothing follows from it.
fn variables_without_effect(surroundings: &dyn Surroundings) -> impl Iterator<Item = String> {
    let set = |name: &&&str| surroundings.variable(name).is_some();
    let names = VARIABLES_WITHOUT_EFFECT.iter().filter(set);
    names.map(|name| format!("environment variable {name} is set but has no effect"))
}

/// The name of a user or vhost in a variable.
fn variable_name(
    surroundings: &dyn Surroundings,
    name: &'static str,
) -> Result<Option<String>, Problem> {
    let Some(value) = surroundings.variable(name) else {
        return Ok(None);
    };
    schema::name(&value)
        .map(Some)
        .map_err(|expected| Problem::BadVariable {
            name,
            value,
            expected,
        })
}

fn variable_listener(surroundings: &dyn Surroundings) -> Result<ListenAddress, Problem> {
    let bad = |name, value: String, expected: &str| Problem::BadVariable {
        name,
        value,
        expected: expected.to_owned(),
    };
    let ip = match surroundings.variable("RABBITMQ_NODE_IP_ADDRESS") {
        None => None,
        Some(text) if text == "auto" => None,
        Some(text) => Some(
            text.parse()
                .map_err(|_| bad("RABBITMQ_NODE_IP_ADDRESS", text, "an IP address"))?,
        ),
    };
    let port = match surroundings.variable("RABBITMQ_NODE_PORT") {
        None => AMQP_PORT,
        Some(text) => text
            .parse()
            .map_err(|_| bad("RABBITMQ_NODE_PORT", text, "a port, 0 to 65535"))?,
    };
    Ok(ListenAddress { ip, port })
}

/// `RABBITMQ_NODENAME`, with the host's short name behind it if it has no `@`.
fn node_name(surroundings: &dyn Surroundings) -> Result<String, Problem> {
    let given = surroundings
        .variable("RABBITMQ_NODENAME")
        .unwrap_or_else(|| "rabbit".to_owned());
    full_node_name(surroundings, &given)
}

/// A node's name with the host's short name behind it if it has no `@`.
fn full_node_name(surroundings: &dyn Surroundings, given: &str) -> Result<String, Problem> {
    let name = if given.contains('@') {
        given.to_owned()
    } else {
        let host_name = surroundings.host_name();
        let short = host_name
            .split('.')
            .next()
            .filter(|host| !host.is_empty())
            .unwrap_or("localhost");
        format!("{given}@{short}")
    };
    // The name becomes part of a path.
    let is_plain = |part: &str| {
        !part.is_empty()
            && part
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
    };
    match name.split_once('@') {
        Some((node, host)) if name.len() <= 255 && is_plain(node) && is_plain(host) => Ok(name),
        _ => Err(Problem::BadVariable {
            name: "RABBITMQ_NODENAME",
            value: name,
            expected: "name or name@host of letters, digits, '-', '_' and '.', at most 255 bytes"
                .to_owned(),
        }),
    }
}

/// `RABBITMQ_MNESIA_DIR`, if that is about this node, or the node's name below `RABBITMQ_MNESIA_BASE`, the package's directory or the
/// user's own.
fn data_dir(surroundings: &dyn Surroundings, node_name: &str, is_own: bool) -> Option<PathBuf> {
    let directory = surroundings.variable("RABBITMQ_MNESIA_DIR");
    if let Some(directory) = directory.filter(|_| is_own) {
        return Some(PathBuf::from(directory));
    }
    let base = surroundings
        .variable("RABBITMQ_MNESIA_BASE")
        .map(PathBuf::from)
        .or_else(|| {
            let system = PathBuf::from(SYSTEM_DATA_BASE);
            surroundings
                .is_writable_directory(&system)
                .then_some(system)
        });
    let base = base.or_else(|| {
        surroundings
            .variable("XDG_STATE_HOME")
            .map(|home| Path::new(&home).join("warrenmq"))
    });
    let base = base.or_else(|| {
        surroundings
            .variable("HOME")
            .map(|home| Path::new(&home).join(".local/state/warrenmq"))
    });
    base.map(|base| base.join(node_name))
}

#[cfg(test)]
mod tests;
