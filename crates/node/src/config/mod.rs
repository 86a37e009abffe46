//! The settings of a node: defaults, then `rabbitmq.conf`, then environment variables.
//!
//! [`Settings`] is plain data that the rest of the node trusts. [`load`] makes it; everything foreign that it needs (files,
//! variables, the host's name) comes through [`Surroundings`], so the rules are tested without a file or a process environment.
//! It opens no socket, creates no directory, and changes nothing later: RabbitMQ docs: configure, settings apply at start.
//!
//! Suggested reading order: [`conf_file`] (syntax), [`schema`] (keys), [`size`] (units), [`error`].

pub mod conf_file;
pub mod error;
pub mod schema;
pub mod size;

mod surroundings;

pub use error::{ConfigError, Problem};
pub use surroundings::{Process, Surroundings};

use conf_file::Entry;
use schema::Draft;
use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The port of AMQP 0-9-1.
const AMQP_PORT: u16 = 5672;
/// Where packages keep the configuration.
const SYSTEM_CONFIG_FILE: &str = "/etc/rabbitmq/rabbitmq.conf";
/// Further files, read in the order of their names.
const SYSTEM_CONFIG_DIR: &str = "/etc/rabbitmq/conf.d";
/// Where packages keep data.
const SYSTEM_DATA_BASE: &str = "/var/lib/rabbitmq/mnesia";

/// Everything a node can be told before it starts.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// `name@host`; part of the data directory's name and of what clients see.
    pub node_name: String,
    /// Where this node, and no other, keeps its data.
    pub data_dir: PathBuf,
    /// Plain TCP listeners; may be empty.
    pub tcp_listeners: Vec<ListenAddress>,
    /// Socket options of all of them.
    pub tcp_listen_options: TcpListenOptions,
    /// From TCP connect to connection.open; `None` for no limit.
    pub handshake_timeout: Option<Duration>,
    /// Offered to clients, in seconds; 0 offers none.
    pub heartbeat_s: u16,
    /// Largest frame offered to clients, 8192 bytes to 16 MiB.
    pub frame_size_max_bytes: u32,
    /// Largest frame before connection.tune-ok, 8192 bytes to 16 MiB.
    pub initial_frame_size_max_bytes: u32,
    /// Channels of a connection, at least 1.
    pub channel_max: u16,
    /// Consumers of a channel; `None` for no limit.
    pub consumer_max_per_channel: Option<u32>,
    /// Largest message body, at most 512 MiB.
    pub message_size_max_bytes: u64,
    /// When publishers are blocked for memory.
    pub memory_high_watermark: MemoryHighWatermark,
    /// The machine's memory, where it should not be measured.
    pub total_memory_override_bytes: Option<u64>,
    /// When publishers are blocked for disk space.
    pub disk_free_limit: DiskFreeLimit,
    /// Vhost of a new node.
    pub default_vhost: String,
    /// User of a new node.
    pub default_user: String,
    /// That user's password.
    pub default_pass: Secret,
    /// That user's permissions in the default vhost.
    pub default_permissions: Permissions,
    /// That user's tags.
    pub default_user_tags: Vec<String>,
    /// Users who may connect from loopback addresses only.
    pub loopback_users: Vec<String>,
    /// SASL mechanisms in the order in which they are offered; never empty.
    pub auth_mechanisms: Vec<AuthMechanism>,
    /// User behind SASL ANONYMOUS; `None` refuses it.
    pub anonymous_login_user: Option<String>,
    /// Shown to clients; `None` stands for the node name.
    pub cluster_name: Option<String>,
    /// Deprecated features that were switched on or off by name.
    pub deprecated_features: BTreeMap<String, bool>,
    /// What is logged.
    pub log: LogSettings,
    /// Number of shards; `None` leaves it to the node.
    pub shards: Option<NonZeroU16>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            node_name: "rabbit@localhost".to_owned(),
            data_dir: PathBuf::new(),
            tcp_listeners: vec![ListenAddress {
                ip: None,
                port: AMQP_PORT,
            }],
            tcp_listen_options: TcpListenOptions::default(),
            handshake_timeout: Some(Duration::from_secs(10)),
            heartbeat_s: 60,
            frame_size_max_bytes: 131_072,
            initial_frame_size_max_bytes: 8_192,
            channel_max: 2_047,
            consumer_max_per_channel: None,
            message_size_max_bytes: 16 << 20,
            memory_high_watermark: MemoryHighWatermark::Relative(0.6),
            total_memory_override_bytes: None,
            disk_free_limit: DiskFreeLimit::Absolute(50_000_000),
            default_vhost: "/".to_owned(),
            default_user: "guest".to_owned(),
            default_pass: Secret::from("guest"),
            default_permissions: Permissions::default(),
            default_user_tags: vec!["administrator".to_owned()],
            loopback_users: vec!["guest".to_owned()],
            auth_mechanisms: vec![
                AuthMechanism::Plain,
                AuthMechanism::AmqPlain,
                AuthMechanism::Anonymous,
            ],
            anonymous_login_user: Some("guest".to_owned()),
            cluster_name: None,
            deprecated_features: BTreeMap::new(),
            log: LogSettings::default(),
            shards: None,
        }
    }
}

/// Where a listener listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenAddress {
    /// The address; `None` means all, IPv6 and IPv4 alike where the machine has both.
    pub ip: Option<IpAddr>,
    /// The port; 0 lets the kernel choose.
    pub port: u16,
}

impl ListenAddress {
    /// Reads `port`, `ip:port`, `[ipv6]:port` or, as RabbitMQ does, `ipv6:port` without brackets.
    fn parse(text: &str) -> Result<Self, String> {
        if let Ok(port) = text.parse() {
            return Ok(Self { ip: None, port });
        }
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Ok(Self {
                ip: Some(address.ip()),
                port: address.port(),
            });
        }
        text.rsplit_once(':')
            .and_then(|(ip, port)| {
                Some(Self {
                    ip: Some(ip.parse::<Ipv6Addr>().ok()?.into()),
                    port: port.parse().ok()?,
                })
            })
            .ok_or_else(|| "port, ip:port or [ipv6]:port".to_owned())
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ip {
            Some(ip) => SocketAddr::new(ip, self.port).fmt(f),
            None => write!(f, "[::]:{}", self.port),
        }
    }
}

/// Socket options of listeners and of the sockets they accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpListenOptions {
    /// Connections the kernel may hold before they are accepted.
    pub backlog: u32,
    /// TCP_NODELAY.
    pub nodelay: bool,
    /// SO_KEEPALIVE.
    pub keepalive: bool,
    /// SO_SNDBUF; `None` leaves it to the kernel.
    pub send_buffer_bytes: Option<u32>,
    /// SO_RCVBUF; `None` leaves it to the kernel.
    pub receive_buffer_bytes: Option<u32>,
}

impl Default for TcpListenOptions {
    fn default() -> Self {
        Self {
            backlog: 128,
            nodelay: true,
            keepalive: false,
            send_buffer_bytes: None,
            receive_buffer_bytes: None,
        }
    }
}

/// Memory use above which publishers are blocked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MemoryHighWatermark {
    /// A fraction of the machine's memory, 0 to 1.
    Relative(f64),
    /// Bytes.
    Absolute(u64),
}

/// Free disk space below which publishers are blocked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum DiskFreeLimit {
    /// A multiple of the machine's memory.
    Relative(f64),
    /// Bytes.
    Absolute(u64),
}

/// A user's regular expressions in one vhost.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "AMQP's and RabbitMQ's own words")]
pub struct Permissions {
    pub configure: String,
    pub write: String,
    pub read: String,
}

impl Default for Permissions {
    fn default() -> Self {
        let all = || ".*".to_owned();
        Self {
            configure: all(),
            write: all(),
            read: all(),
        }
    }
}

/// A SASL mechanism that can be offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are SASL's")]
pub enum AuthMechanism {
    Plain,
    AmqPlain,
    Anonymous,
}

impl AuthMechanism {
    /// Its name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::AmqPlain => "AMQPLAIN",
            Self::Anonymous => "ANONYMOUS",
        }
    }
}

/// What is logged and where to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// Least severe level that is logged.
    pub level: LogLevel,
    /// Whether the log goes to the standard output.
    pub console: bool,
    /// Overrides `level` there.
    pub console_level: Option<LogLevel>,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self {
            level: LogLevel::Info,
            console: true,
            console_level: None,
        }
    }
}

/// Severity of a log line. RabbitMQ's finer steps map to the next one here that loses nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum LogLevel {
    Debug,
    /// Also `notice`.
    Info,
    Warning,
    /// Also `critical`, `alert` and `emergency`.
    Error,
    None,
}

impl LogLevel {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "debug" => Ok(Self::Debug),
            "info" | "notice" => Ok(Self::Info),
            "warning" => Ok(Self::Warning),
            "error" | "critical" | "alert" | "emergency" => Ok(Self::Error),
            "none" => Ok(Self::None),
            _ => Err(
                "debug, info, notice, warning, error, critical, alert, emergency or none"
                    .to_owned(),
            ),
        }
    }
}

/// A password, kept out of logs.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The password in clear.
    pub fn expose(&self) -> &str {
        &self.0
    }

    fn parse(value: &str) -> Result<Self, String> {
        if value.starts_with("encrypted:") {
            return Err("a password in clear: encrypted values are not supported yet".to_owned());
        }
        Ok(Self(
            value.strip_prefix("plain:").unwrap_or(value).to_owned(),
        ))
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

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
    match data_dir(surroundings, &draft.settings.node_name) {
        Some(path) => draft.settings.data_dir = path,
        None => problems.push(Problem::NoDataDirectory),
    }
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
    let name = if given.contains('@') {
        given
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

/// `RABBITMQ_MNESIA_DIR`, or the node's name below `RABBITMQ_MNESIA_BASE`, the package's directory or the user's own.
fn data_dir(surroundings: &dyn Surroundings, node_name: &str) -> Option<PathBuf> {
    if let Some(directory) = surroundings.variable("RABBITMQ_MNESIA_DIR") {
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
