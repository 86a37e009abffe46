//! The settings of a node: defaults, then `rabbitmq.conf`, then files of Erlang terms, then environment variables.
//!
//! [`load`] makes [`Settings`]; everything foreign that it needs (files, variables, the host's name) comes through
//! [`Surroundings`], so the rules are tested without a file or a process environment.
//! It opens no socket, creates no directory, and changes nothing later: RabbitMQ docs: configure, settings apply at start.
//!
//! A new key is a row in the file of its area below [`schema`], a field of [`Settings`], and the code elsewhere that honours it.
//!
//! Suggested reading order: [`conf_file`] and [`erlang`] (syntax), [`schema`] (keys), `classic` (Erlang's names for them),
//! [`variables`], [`size`] (units), [`error`].

pub mod conf_file;
pub mod document;
pub mod encrypted;
pub mod erlang;
pub mod error;
pub mod schema;
pub mod size;
pub mod variables;

mod api;
mod classic;
mod env_file;
mod environment;
mod ldap_query;
pub mod log;
mod metadata;
mod opentelemetry;
mod place;
mod report;
mod settings;
mod statistics;
mod surroundings;

pub use api::{ApiSettings, LogonType, OAuthLogin, OAuthResource};
pub use environment::Environment;
pub use error::{ConfigError, Problem};
pub use log::{LogLevel, LogSettings};
pub use metadata::{DefaultLimits, DefaultPolicy, MetadataSettings};
pub use place::Place;
pub use report::BootFailure;
pub use settings::{
    AuthMechanism, ConsumerPrefetch, ContentHash, DefinitionsSettings, DefinitionsSource,
    DiskFreeLimit, EnabledPlugins, HttpService, Labels, ListenAddress, ManagementSettings,
    MemoryCalculation, MemoryHighWatermark, OpenTelemetrySettings, Permissions, PrometheusSettings,
    Secret, Settings, TcpListenOptions, TraceFileSettings, VhostUser,
};
pub use statistics::{RatesMode, Retention, RetentionTier, StatisticsLevel, StatisticsSettings};
pub use surroundings::{Process, Surroundings};

use classic::PassphraseSource;
use conf_file::Entry;
use encrypted::Decoder;
use log::LogDraft;
use schema::Draft;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use variables::WithEnvFile;

/// The port of AMQP 0-9-1.
const AMQP_PORT: u16 = 5672;
/// The port of the HTTP API.
const MANAGEMENT_PORT: u16 = 15_672;
/// Port of the metrics.
const PROMETHEUS_PORT: u16 = 15_692;
/// Where packages keep the configuration.
const SYSTEM_CONFIG_FILE: &str = "/etc/rabbitmq/rabbitmq";
/// Settings in Erlang terms beside it, read last.
const SYSTEM_ADVANCED_FILE: &str = "/etc/rabbitmq/advanced.config";
/// Further files, read in the order of their names.
const SYSTEM_CONFIG_DIR: &str = "/etc/rabbitmq/conf.d";
/// Where packages keep the list of enabled plugins.
const SYSTEM_PLUGINS_FILE: &str = "/etc/rabbitmq/enabled_plugins";
/// Where packages keep data.
const SYSTEM_DATA_BASE: &str = "/var/lib/rabbitmq/mnesia";

/// Settings and how they came about.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// Files that were read, in order.
    pub files: Vec<PathBuf>,
    /// What the files set, in their order; a key is there once.
    pub values: Vec<Value>,
    /// What an operator should know though the node starts: one sentence each, for the log.
    pub notes: Vec<String>,
}

impl Loaded {
    /// What the files set of which a message speaks: it names the key, or its value if that is a path, an address or a port.
    pub fn spoken_of<'a>(&'a self, message: &'a str) -> impl Iterator<Item = &'a Value> {
        self.values.iter().filter(|value| {
            let text = value.value.as_str();
            let is_place = text.contains(['/', ':']) || text.parse::<u16>().is_ok_and(|n| n > 99);
            has_word(message, &value.key) || (is_place && has_word(message, text))
        })
    }
}

/// Whether a text has a word that is not part of a longer one.
fn has_word(text: &str, word: &str) -> bool {
    let is_inside = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word).any(|(start, _)| {
        let after = &text[start + word.len()..];
        // A full stop may also end a sentence.
        let goes_on = after.strip_prefix('.').unwrap_or(after);
        !text[..start].ends_with(|c| is_inside(c) || c == '.') && !goes_on.starts_with(is_inside)
    })
}

/// A key that a file sets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// The key.
    pub key: String,
    /// Its value; `***` if it is secret.
    pub value: String,
    /// File and line.
    pub place: String,
}

/// Reads the configuration.
///
/// # Errors
/// All problems at once, if there is any; then the node must not start.
pub fn load(surroundings: &dyn Surroundings) -> Result<Loaded, ConfigError> {
    let mut problems = Vec::new();
    let variables = WithEnvFile::new(surroundings, &mut problems);
    let files = Files::find(&variables, &mut problems);
    load_files(&variables, files, problems)
}

/// Reads these files instead of those that the environment names; those that end in `.config` hold Erlang terms.
///
/// # Errors
/// All problems at once, if there is any.
pub fn load_named(
    surroundings: &dyn Surroundings,
    files: &[PathBuf],
) -> Result<Loaded, ConfigError> {
    let mut problems = Vec::new();
    let variables = WithEnvFile::new(surroundings, &mut problems);
    let is_classic = |path: &&PathBuf| path.extension().is_some_and(|end| end == "config");
    let (classic, conf) = files.iter().partition::<Vec<_>, _>(is_classic);
    let files = Files {
        conf: conf.into_iter().cloned().collect(),
        classic: classic.into_iter().cloned().collect(),
        notes: Vec::new(),
    };
    load_files(&variables, files, problems)
}

/// Whether an entry says of the nodes of a cluster what is so anyway: that this one is among them.
fn is_this_node(surroundings: &dyn Surroundings, entry: &Entry) -> bool {
    const NODES: &str = "cluster_formation.classic_config.nodes.";
    entry.key.starts_with(NODES) && node_name(surroundings).is_ok_and(|name| name == entry.value)
}

fn load_files(
    surroundings: &WithEnvFile<'_>,
    files: Files,
    mut problems: Vec<Problem>,
) -> Result<Loaded, ConfigError> {
    let mut notes = files.notes;
    let mut entries = read_files(surroundings, &files.conf, &mut problems);
    let mut decoder = None;
    for path in &files.classic {
        let Some(text) = read_file(surroundings, path, &mut problems) else {
            continue;
        };
        let classic = classic::read(&path.display().to_string(), &text);
        problems.extend(classic.problems);
        notes.extend(classic.notes);
        entries.retain(|entry| !is_replaced(&entry.key, &classic.replaced));
        entries.extend(classic.entries);
        decoder = classic.decoder.or(decoder);
    }
    let decoder = decoder.and_then(|source| passphrase(surroundings, source, &mut problems));

    let mut draft = Draft::default();
    let mut values = Vec::new();
    for entry in last_of_each_key(entries) {
        values.push(shown(&entry));
        if is_this_node(surroundings, &entry) {
            continue;
        }
        let applied = in_clear(&entry, decoder.as_ref())
            .and_then(|value| schema::apply(&mut draft, &entry.place, &entry.key, &value));
        match applied {
            Ok(note) => notes.extend(note),
            Err(problem) => problems.push(problem),
        }
    }
    apply_variables(&mut draft, surroundings, &mut problems);
    let has = |prefix: &str| values.iter().any(|value| value.key.starts_with(prefix));
    opentelemetry::apply(&mut draft, surroundings, has, &mut problems);
    surroundings.check(&mut notes, &mut problems);

    let read = [files.conf, files.classic].concat();
    let log = std::mem::take(&mut draft.log);
    finish_log(&mut draft, log, surroundings, &mut problems);
    match draft.finish() {
        Ok(mut settings) if problems.is_empty() => Ok(Loaded {
            settings: {
                let by_key = values
                    .iter()
                    .map(|value| (value.key.as_str(), value.value.as_str()));
                settings.environment = Environment::new(&by_key.collect(), &settings);
                settings.config_files = surroundings
                    .file
                    .iter()
                    .cloned()
                    .chain(read.clone())
                    .collect();
                settings
            },
            files: surroundings.file.iter().cloned().chain(read).collect(),
            values,
            notes,
        }),
        Ok(_) => Err(ConfigError { problems }),
        Err(more) => {
            problems.extend(more);
            Err(ConfigError { problems })
        }
    }
}

/// The files of a configuration, in the order in which they are read.
#[derive(Default)]
struct Files {
    /// Of `key = value`.
    conf: Vec<PathBuf>,
    /// Of Erlang terms.
    classic: Vec<PathBuf>,
    notes: Vec<String>,
}

impl Files {
    fn find(surroundings: &dyn Surroundings, problems: &mut Vec<Problem>) -> Self {
        let mut files = Self::default();
        let named = surroundings.variable("RABBITMQ_CONFIG_FILE");
        match main_file(surroundings, named.as_deref().unwrap_or(SYSTEM_CONFIG_FILE)) {
            Some(file) if file.extension().is_some_and(|end| end == "config") => {
                files.classic.push(file);
            }
            Some(file) => files.conf.push(file),
            None => files
                .notes
                .extend(named.map(|path| format!("configuration file {path} does not exist"))),
        }
        files.conf.extend(further_files(surroundings));
        let named = surroundings.variable("RABBITMQ_ADVANCED_CONFIG_FILE");
        let advanced = named.as_deref().unwrap_or(SYSTEM_ADVANCED_FILE);
        let with_suffix = format!("{advanced}.config");
        let found = [advanced, &with_suffix]
            .into_iter()
            .find(|path| surroundings.is_file(Path::new(path)));
        match (found, &named) {
            (Some(path), _) => files.classic.push(PathBuf::from(path)),
            (None, Some(path)) => problems.push(Problem::Unreadable {
                file: path.clone(),
                reason: "there is no such file".to_owned(),
            }),
            (None, None) => {}
        }
        files
    }
}

/// The file that RABBITMQ_CONFIG_FILE means: itself or with `.conf` or, as before 3.7, `.config` behind it.
fn main_file(surroundings: &dyn Surroundings, path: &str) -> Option<PathBuf> {
    let candidates = if path.ends_with(".conf") || path.ends_with(".config") {
        vec![path.to_owned()]
    } else {
        vec![
            format!("{path}.conf"),
            path.to_owned(),
            format!("{path}.config"),
        ]
    };
    let mut candidates = candidates.into_iter().map(PathBuf::from);
    candidates.find(|file| surroundings.is_file(file))
}

/// Files of the directory beside the main file.
fn further_files(surroundings: &dyn Surroundings) -> Vec<PathBuf> {
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
    further
}

/// Whether a file of Erlang terms sets the same thing.
fn is_replaced(key: &str, replaced: &[String]) -> bool {
    let Some((row, _)) = schema::find(key) else {
        return false;
    };
    replaced.iter().any(|path| {
        row.env
            .strip_prefix(path.as_str())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    })
}

fn passphrase(
    surroundings: &dyn Surroundings,
    source: PassphraseSource,
    problems: &mut Vec<Problem>,
) -> Option<Decoder> {
    match source {
        PassphraseSource::Here(decoder) => Some(decoder),
        PassphraseSource::File(path, scheme) => {
            let text = read_file(surroundings, Path::new(&path), problems)?;
            let passphrase = text.lines().next().unwrap_or_default().trim().to_owned();
            Some(Decoder { passphrase, scheme })
        }
    }
}

fn is_secret(key: &str) -> bool {
    schema::find(key).is_none_or(|(row, _)| schema::kind::is_secret(row.kind))
}

fn shown(entry: &Entry) -> Value {
    Value {
        key: entry.key.clone(),
        value: if is_secret(&entry.key) {
            "***".to_owned()
        } else {
            entry.value.clone()
        },
        place: entry.place.to_string(),
    }
}

/// The value in clear. A secret is `encrypted:…`, or what it says itself, behind `plain:` if it would be taken for one that is
/// encrypted otherwise.
fn in_clear(entry: &Entry, decoder: Option<&Decoder>) -> Result<String, Problem> {
    if !is_secret(&entry.key) {
        return Ok(entry.value.clone());
    }
    let Some(base64) = entry.value.strip_prefix("encrypted:") else {
        let value = entry.value.strip_prefix("plain:");
        return Ok(value.unwrap_or(&entry.value).to_owned());
    };
    let decoded = match decoder {
        Some(decoder) => decoder.decode(base64),
        None => Err("no config_entry_decoder in advanced.config says the passphrase"),
    };
    decoded.map_err(|reason| Problem::Encrypted {
        place: entry.place.clone(),
        key: entry.key.clone(),
        reason,
    })
}

fn read_files(
    surroundings: &dyn Surroundings,
    files: &[PathBuf],
    problems: &mut Vec<Problem>,
) -> Vec<Entry> {
    let mut entries = Vec::new();
    for path in files {
        if let Some(text) = read_file(surroundings, path, problems) {
            let file = path.display().to_string();
            let (more, bad) = conf_file::parse(&file, &text, &|name| surroundings.variable(name));
            entries.extend(more);
            problems.extend(bad);
        }
    }
    entries
}

fn read_file(
    surroundings: &dyn Surroundings,
    path: &Path,
    problems: &mut Vec<Problem>,
) -> Option<String> {
    surroundings
        .read(path)
        .map_err(|error| {
            problems.push(Problem::Unreadable {
                file: path.display().to_string(),
                reason: error.to_string(),
            });
        })
        .ok()
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
    let user = variable_or_file(
        surroundings,
        "RABBITMQ_DEFAULT_USER",
        "RABBITMQ_DEFAULT_USER_FILE",
    );
    match user.and_then(|user| name_of_variable("RABBITMQ_DEFAULT_USER", user)) {
        Ok(Some(user)) => draft.settings.default_user = user,
        Ok(None) => {}
        Err(problem) => problems.push(problem),
    }
    let vhost = surroundings.variable("RABBITMQ_DEFAULT_VHOST");
    match name_of_variable("RABBITMQ_DEFAULT_VHOST", vhost) {
        Ok(Some(vhost)) => draft.settings.default_vhost = vhost,
        Ok(None) => {}
        Err(problem) => problems.push(problem),
    }
    match variable_or_file(
        surroundings,
        "RABBITMQ_DEFAULT_PASS",
        "RABBITMQ_DEFAULT_PASS_FILE",
    ) {
        Ok(Some(pass)) => draft.settings.default_pass = Secret::from(pass.as_str()),
        Ok(None) => {}
        Err(problem) => problems.push(problem),
    }
    match node_name(surroundings) {
        Ok(name) => draft.settings.node_name = name,
        Err(problem) => return problems.push(problem),
    }
    match data_dir(surroundings, &draft.settings.node_name, true) {
        Some(path) => draft.settings.data_dir = path,
        None => problems.push(Problem::NoDataDirectory),
    }
    let settings = &mut draft.settings;
    settings.enabled_plugins_file = enabled_plugins_file(surroundings, &settings.data_dir);
    settings.enabled_plugins = surroundings
        .variable("RABBITMQ_ENABLED_PLUGINS")
        .map(|names| EnabledPlugins::parse(&names));
    let labels = &mut settings.labels;
    for (name, label) in [
        ("RABBITMQ_PRODUCT_NAME", &mut labels.product_name),
        ("RABBITMQ_PRODUCT_VERSION", &mut labels.product_version),
    ] {
        if let Some(value) = surroundings.variable(name) {
            *label = Some(value);
        }
    }
    if let Some(path) = surroundings.variable("RABBITMQ_MOTD_FILE") {
        settings.motd_file = Some(path.into());
    }
    settings.pid_file = surroundings
        .variable("RABBITMQ_PID_FILE")
        .map_or_else(|| with_suffix(&settings.data_dir, ".pid"), PathBuf::from);
    settings.keeps_pid_file = surroundings
        .variable("RABBITMQ_KEEP_PID_FILE_ON_EXIT")
        .as_deref()
        == Some("true");
    for name in ["RABBITMQ_LIMIT_NOFILE", "RABBITMQ_MAX_OPEN_FILES"] {
        let Some(value) = surroundings.variable(name) else {
            continue;
        };
        match value.parse() {
            Ok(count) => settings.open_files_max = Some(count),
            Err(_) => problems.push(Problem::BadVariable {
                name,
                value,
                expected: "an integer".to_owned(),
            }),
        }
    }
}

/// `RABBITMQ_ENABLED_PLUGINS_FILE`, or the package's file if there is one, or a file in the data directory.
fn enabled_plugins_file(surroundings: &dyn Surroundings, data_dir: &Path) -> PathBuf {
    if let Some(path) = surroundings.variable("RABBITMQ_ENABLED_PLUGINS_FILE") {
        return PathBuf::from(path);
    }
    let system = Path::new(SYSTEM_PLUGINS_FILE);
    if surroundings.is_file(system) {
        return system.to_owned();
    }
    data_dir.join("enabled_plugins")
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn finish_log(
    draft: &mut Draft,
    log: LogDraft,
    surroundings: &dyn Surroundings,
    problems: &mut Vec<Problem>,
) {
    let settings = &mut draft.settings;
    if let Some(value) = surroundings.variable("RABBITMQ_LOG")
        && let Err(expected) = LogDraft::set_levels(&mut settings.log, &value)
    {
        problems.push(Problem::BadVariable {
            name: "RABBITMQ_LOG",
            value,
            expected,
        });
    }
    let base = surroundings
        .variable("RABBITMQ_LOG_BASE")
        .map(PathBuf::from);
    let base =
        base.or_else(|| Some(PathBuf::from(surroundings.variable("RABBITMQ_BASE")?).join("log")));
    let logs = surroundings.variable("RABBITMQ_LOGS");
    log.finish(&mut settings.log, &settings.node_name, logs, base);
}

/// A variable, or the first line of the file that another one names.
fn variable_or_file(
    surroundings: &dyn Surroundings,
    name: &str,
    file: &str,
) -> Result<Option<String>, Problem> {
    if let Some(value) = surroundings.variable(name) {
        return Ok(Some(value));
    }
    let Some(path) = surroundings.variable(file) else {
        return Ok(None);
    };
    match surroundings.read(Path::new(&path)) {
        Ok(text) => Ok(text.lines().next().map(str::to_owned)),
        Err(error) => Err(Problem::Unreadable {
            file: path,
            reason: error.to_string(),
        }),
    }
}

/// The name of a user or vhost in a variable.
fn name_of_variable(name: &'static str, value: Option<String>) -> Result<Option<String>, Problem> {
    let Some(value) = value else {
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
        let is_long = surroundings.variable("RABBITMQ_USE_LONGNAME").as_deref() == Some("true");
        let host = if is_long {
            host_name.as_str()
        } else {
            host_name.split('.').next().unwrap_or_default()
        };
        let host = if host.is_empty() { "localhost" } else { host };
        format!("{given}@{host}")
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
        .or_else(|| Some(PathBuf::from(surroundings.variable("RABBITMQ_BASE")?).join("db")))
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
