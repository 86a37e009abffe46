//! The settings themselves: plain data with defaults, which the rest of the node trusts.

use super::api::ApiSettings;
use super::environment::Environment;
use super::log::LogSettings;
use super::metadata::MetadataSettings;
use super::statistics::StatisticsSettings;
use super::{AMQP_PORT, MANAGEMENT_PORT, PROMETHEUS_PORT};
use broker::auth::{CredentialValidator, Pattern};
use broker::command::HashAlgorithm;
use frontend_amqp091::Interceptors;
use http_client::Url;
use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::time::Duration;
use transport::{ClientTlsSettings, TlsSettings};

/// Everything a node can be told before it starts.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// `name@host`; part of the data directory's name and of what clients see.
    pub node_name: String,
    /// Where this node, and no other, keeps its data.
    pub data_dir: PathBuf,
    /// Plain TCP listeners; may be empty.
    pub tcp_listeners: Vec<ListenAddress>,
    /// TLS listeners; may be empty.
    pub tls_listeners: Vec<ListenAddress>,
    /// Certificates and rules of those.
    pub tls: TlsSettings,
    /// How long a TLS handshake may take.
    pub tls_handshake_timeout: Duration,
    /// Connections begin with a PROXY header.
    pub proxy_protocol: bool,
    /// Socket options of all listeners.
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
    /// Exchanges of all vhosts that may exist when another one is declared; `None` for no limit.
    pub exchange_limit: Option<u32>,
    /// Queues of all vhosts that may exist when another one is declared; `None` for no limit.
    pub queue_limit: Option<u64>,
    /// Exchanges of the type `x-local-random` may be declared.
    pub local_random_enabled: bool,
    /// Messages of a transaction; `None` for no limit but that of bytes.
    pub tx_messages_max: Option<usize>,
    /// Consumers of a channel; `None` for no limit.
    pub consumer_max_per_channel: Option<u32>,
    /// Prefetch of channels that ask for none.
    pub consumer_prefetch: ConsumerPrefetch,
    /// Milliseconds that a consumer of a quorum queue may keep a message (`consumer_timeout`).
    pub consumer_timeout_ms: u64,
    /// Largest message body, at most 512 MiB.
    pub message_size_max_bytes: u64,
    /// When publishers are blocked for memory.
    pub memory_high_watermark: MemoryHighWatermark,
    /// What counts as memory in use.
    pub memory_calculation: MemoryCalculation,
    /// The machine's memory, where it should not be measured.
    pub total_memory_override_bytes: Option<u64>,
    /// When publishers are blocked for disk space.
    pub disk_free_limit: DiskFreeLimit,
    /// Connections of the node; `None` for no limit.
    pub connections_max: Option<u64>,
    /// Channels of the node; `None` for no limit.
    pub channels_max_per_node: Option<u64>,
    /// Limits and defaults of vhosts and what is in them.
    pub metadata: MetadataSettings,
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
    /// Users whom new vhosts let in, by name.
    pub default_users: BTreeMap<String, VhostUser>,
    /// Users who may connect from loopback addresses only.
    pub loopback_users: Vec<String>,
    /// Logins are counted by address and name, too.
    pub tracks_auth_attempt_source: bool,
    /// SASL mechanisms in the order in which they are offered; never empty.
    pub auth_mechanisms: Vec<AuthMechanism>,
    /// Who lets users in and decides about them.
    pub auth: auth::Settings,
    /// User behind SASL ANONYMOUS; `None` refuses it.
    pub anonymous_login_user: Option<String>,
    /// That user's password.
    pub anonymous_login_pass: Secret,
    /// What new passwords have to be like.
    pub credential_validator: CredentialValidator,
    /// How new passwords are hashed.
    pub password_hashing: HashAlgorithm,
    /// Shown to clients; `None` stands for the node name.
    pub cluster_name: Option<String>,
    /// What this node and its cluster are called elsewhere, shown in the HTTP API.
    pub labels: Labels,
    /// What is added to messages that come in.
    pub interceptors: Interceptors,
    /// Where the exchange for events is; `None` stands for the default vhost.
    pub event_exchange_vhost: Option<String>,
    /// Deprecated features that were switched on or off by name.
    pub deprecated_features: BTreeMap<String, bool>,
    /// The HTTP API.
    pub management: ManagementSettings,
    /// What is counted and for how long it is kept.
    pub statistics: StatisticsSettings,
    /// What Prometheus scrapes.
    pub prometheus: PrometheusSettings,
    /// Files of traced messages.
    pub trace_files: TraceFileSettings,
    /// Where spans are exported to.
    pub opentelemetry: OpenTelemetrySettings,
    /// What is imported at each start.
    pub definitions: DefinitionsSettings,
    /// What is logged.
    pub log: LogSettings,
    /// Text that is logged at start.
    pub motd_file: Option<PathBuf>,
    /// Where `rabbitmq-server` writes its process id.
    pub pid_file: PathBuf,
    /// That file stays when the node stops.
    pub keeps_pid_file: bool,
    /// Open files that the process asks for; `None` leaves the limit as it is.
    pub open_files_max: Option<u64>,
    /// Number of shards; `None` leaves it to the node.
    pub shards: Option<NonZeroU16>,
    /// The file with the list of enabled plugins, which need not exist.
    pub enabled_plugins_file: PathBuf,
    /// The plugins that are enabled from the start on, which that file says then; `None` leaves it as it is.
    pub enabled_plugins: Option<EnabledPlugins>,
    /// Files that were read, in order.
    pub config_files: Vec<PathBuf>,
    /// All of it in Erlang's terms.
    pub environment: Environment,
}

/// What a node is called elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels {
    /// `product.name`; RabbitMQ's own if unset.
    pub product_name: Option<String>,
    /// `product.version`; the version of RabbitMQ that this one stands for if unset.
    pub product_version: Option<String>,
    /// `cluster_tags`
    pub cluster_tags: BTreeMap<String, String>,
    /// `node_tags`
    pub node_tags: BTreeMap<String, String>,
}

/// Plugins that a list may name; others are not looked at.
const NAMES_MAX: usize = 256;

/// What `RABBITMQ_ENABLED_PLUGINS` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EnabledPlugins {
    /// `ALL`
    All,
    /// These and no others.
    These(Vec<String>),
}

impl EnabledPlugins {
    /// The names in a file `enabled_plugins`, which holds a list of atoms; a comment begins with `%`.
    pub fn names_in(text: &str) -> Vec<String> {
        let lines = text
            .lines()
            .map(|line| line.split('%').next().unwrap_or_default());
        let words =
            lines.flat_map(|line| line.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')));
        let names = words.filter(|word| !word.is_empty());
        names.take(NAMES_MAX).map(str::to_owned).collect()
    }

    /// Reads `ALL`, or names with commas or blanks between them.
    pub(crate) fn parse(text: &str) -> Self {
        if text.trim() == "ALL" {
            return Self::All;
        }
        let names = text.split([',', ' ']).map(str::trim);
        Self::These(
            names
                .filter(|name| !name.is_empty())
                .map(str::to_owned)
                .collect(),
        )
    }
}

/// A user whom new vhosts let in (`default_users`).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct VhostUser {
    /// Which vhosts; `None` for all.
    pub vhost_pattern: Option<Pattern>,
    /// The password of one who is made.
    pub password: Option<Secret>,
    /// The tags of one who is made.
    pub tags: Vec<String>,
    /// What it may do there.
    pub permissions: Permissions,
}

/// Definitions that are imported at each start (RabbitMQ docs: definitions#import-on-boot).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DefinitionsSettings {
    /// Where they are; `None` for nothing to import.
    pub source: Option<DefinitionsSource>,
    /// Whom to trust and who we are, over HTTPS.
    pub tls: ClientTlsSettings,
    /// Nothing is imported while the files have the content that was imported last.
    pub skip_if_unchanged: bool,
    /// How the content is compared.
    pub hashing: ContentHash,
}

/// Where definitions are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DefinitionsSource {
    /// A file, or a directory whose files are taken in the order of their names.
    Path(PathBuf),
    /// An address that begins with `https://`; its query may be secret.
    Https(Secret),
}

/// The digests that RabbitMQ offers for comparing definitions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ContentHash {
    /// `sha224`
    Sha224,
    /// `sha256`, the default.
    #[default]
    Sha256,
    /// `sha384`
    Sha384,
    /// `sha512`
    Sha512,
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
            tls_listeners: Vec::new(),
            tls: TlsSettings::default(),
            tls_handshake_timeout: Duration::from_secs(5),
            proxy_protocol: false,
            tcp_listen_options: TcpListenOptions::default(),
            handshake_timeout: Some(Duration::from_secs(10)),
            heartbeat_s: 60,
            frame_size_max_bytes: 131_072,
            initial_frame_size_max_bytes: 8_192,
            channel_max: 2_047,
            exchange_limit: None,
            queue_limit: None,
            local_random_enabled: true,
            tx_messages_max: None,
            consumer_max_per_channel: None,
            consumer_prefetch: ConsumerPrefetch::default(),
            consumer_timeout_ms: 1_800_000,
            message_size_max_bytes: 16 << 20,
            memory_high_watermark: MemoryHighWatermark::Relative(0.6),
            memory_calculation: MemoryCalculation::Rss,
            total_memory_override_bytes: None,
            disk_free_limit: DiskFreeLimit::Absolute(50_000_000),
            connections_max: None,
            channels_max_per_node: None,
            metadata: MetadataSettings::default(),
            default_vhost: "/".to_owned(),
            default_user: "guest".to_owned(),
            default_pass: Secret::from("guest"),
            default_permissions: Permissions::default(),
            default_user_tags: vec!["administrator".to_owned()],
            default_users: BTreeMap::new(),
            loopback_users: vec!["guest".to_owned()],
            auth_mechanisms: vec![
                AuthMechanism::Plain,
                AuthMechanism::AmqPlain,
                AuthMechanism::Anonymous,
            ],
            auth: auth::Settings::default(),
            tracks_auth_attempt_source: false,
            anonymous_login_user: Some("guest".to_owned()),
            anonymous_login_pass: Secret::from("guest"),
            credential_validator: CredentialValidator::default(),
            password_hashing: HashAlgorithm::Sha256,
            cluster_name: None,
            labels: Labels::default(),
            interceptors: Interceptors::default(),
            event_exchange_vhost: None,
            deprecated_features: BTreeMap::new(),
            management: ManagementSettings::default(),
            statistics: StatisticsSettings::default(),
            prometheus: PrometheusSettings::default(),
            trace_files: TraceFileSettings::default(),
            opentelemetry: OpenTelemetrySettings::default(),
            definitions: DefinitionsSettings::default(),
            log: LogSettings::default(),
            motd_file: None,
            pid_file: PathBuf::new(),
            keeps_pid_file: false,
            open_files_max: None,
            shards: None,
            enabled_plugins_file: PathBuf::new(),
            enabled_plugins: None,
            config_files: Vec::new(),
            environment: Environment::default(),
        }
    }
}

/// The HTTP API.
#[derive(Clone, Debug, PartialEq)]
pub struct ManagementSettings {
    /// How its listeners serve.
    pub service: HttpService,
    /// How those with TLS do.
    pub tls_service: HttpService,
    /// Where it listens; empty turns it off.
    pub listeners: Vec<ListenAddress>,
    /// Where it listens with TLS.
    pub tls_listeners: Vec<ListenAddress>,
    /// Certificates and rules of those.
    pub tls: TlsSettings,
    /// Connections begin with a PROXY header.
    pub proxy_protocol: bool,
    /// Largest body of a request in bytes.
    pub http_max_body_bytes: usize,
    /// Where each request is told of, in a file `access.log`.
    pub access_log_dir: Option<PathBuf>,
    /// Origins whose pages may use the API; `*` for all.
    pub cors_allow_origins: Vec<String>,
    /// Seconds for which browsers remember that.
    pub cors_max_age_s: u32,
    /// What stands before all paths, with a slash in front; may be empty.
    pub path_prefix: String,
    /// Operator policies may not be changed over HTTP.
    pub operator_policy_changes_disabled: bool,
    /// Who lets users of the API in, in this order; if empty whoever lets in clients.
    pub auth_backends: Vec<auth::Link>,
    /// What its answers are like and how users log in.
    pub api: ApiSettings,
}

impl Default for ManagementSettings {
    fn default() -> Self {
        Self {
            service: HttpService::default(),
            tls_service: HttpService::default(),
            listeners: vec![ListenAddress {
                ip: None,
                port: MANAGEMENT_PORT,
            }],
            tls_listeners: Vec::new(),
            tls: TlsSettings::default(),
            proxy_protocol: false,
            access_log_dir: None,
            http_max_body_bytes: 10_000_000,
            cors_allow_origins: Vec::new(),
            cors_max_age_s: 1_800,
            path_prefix: String::new(),
            operator_policy_changes_disabled: false,
            auth_backends: Vec::new(),
            api: ApiSettings::default(),
        }
    }
}

/// What a listener of an HTTP server does for its clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpService {
    /// Answers are compressed for clients that can read it.
    pub compresses: bool,
    /// How long a connection may be without a whole request; as long as the server's own limit if it is not set.
    pub request_timeout: Option<Duration>,
    /// How long nothing may come of a request that has begun; the server's own limit if it is not set.
    pub idle_timeout: Option<Duration>,
    /// How long nothing at all may come.
    pub inactivity_timeout: Option<Duration>,
    /// Requests after which a connection is closed.
    pub requests_max: Option<u32>,
    /// Connections at once; the server's own limit if it is not set.
    pub connections_max: Option<u32>,
    /// Connections that may wait to be accepted; the server's own limit if it is not set.
    pub backlog: Option<u32>,
}

impl Default for HttpService {
    fn default() -> Self {
        Self {
            compresses: true,
            request_timeout: None,
            idle_timeout: None,
            inactivity_timeout: None,
            requests_max: None,
            connections_max: None,
            backlog: None,
        }
    }
}

/// What Prometheus scrapes.
#[derive(Clone, Debug, PartialEq)]
pub struct PrometheusSettings {
    /// How its listeners serve.
    pub service: HttpService,
    /// How those with TLS do.
    pub tls_service: HttpService,
    /// Where it listens; empty turns it off.
    pub listeners: Vec<ListenAddress>,
    /// A file names the port, so that the node must not start without it.
    pub port_is_chosen: bool,
    /// Where it listens with TLS.
    pub tls_listeners: Vec<ListenAddress>,
    /// Certificates and rules of those.
    pub tls: TlsSettings,
    /// Path of the metrics.
    pub path: String,
    /// That path tells of each object and not of sums.
    pub per_object: bool,
    /// Queues whose names match are left out of sums.
    pub filter: Option<Pattern>,
    /// Only users who may monitor are answered.
    pub authentication: bool,
}

impl Default for PrometheusSettings {
    fn default() -> Self {
        Self {
            service: HttpService::default(),
            tls_service: HttpService::default(),
            listeners: vec![ListenAddress {
                ip: None,
                port: PROMETHEUS_PORT,
            }],
            port_is_chosen: false,
            tls_listeners: Vec::new(),
            tls: TlsSettings::default(),
            path: "/metrics".to_owned(),
            per_object: false,
            filter: None,
            authentication: false,
        }
    }
}

/// Files of traced messages (RabbitMQ docs: firehose).
#[derive(Clone, Debug, PartialEq)]
pub struct TraceFileSettings {
    /// Where they are; made with the first of them.
    pub directory: PathBuf,
    /// Who consumes the copies, unless a trace names somebody.
    pub username: String,
    /// That user's password.
    pub password: Secret,
}

impl Default for TraceFileSettings {
    fn default() -> Self {
        Self {
            directory: PathBuf::from("/var/tmp/rabbitmq-tracing"),
            username: "guest".to_owned(),
            password: Secret::from("guest"),
        }
    }
}

/// Where spans are exported to (OTLP over HTTP).
#[derive(Clone, Debug, PartialEq)]
pub struct OpenTelemetrySettings {
    /// The collector; `None` follows no message.
    pub endpoint: Option<Url>,
    /// Headers that it wants to see, by name.
    pub headers: BTreeMap<String, Secret>,
    /// What the spans say where they come from.
    pub service_name: String,
    /// What else they say of it, by name.
    pub resource: BTreeMap<String, String>,
    /// How long the collector may take for an answer.
    pub timeout: Duration,
    /// The share, from 0 to 1, of messages without a trace that are followed where no policy says how many; `None` as 0, and the
    /// flags of those that have one count.
    pub sample_rate: Option<f64>,
    /// Whom to trust and who we are, over HTTPS.
    pub tls: ClientTlsSettings,
}

impl Default for OpenTelemetrySettings {
    fn default() -> Self {
        Self {
            endpoint: None,
            headers: BTreeMap::new(),
            service_name: "warrenmq".to_owned(),
            resource: BTreeMap::new(),
            timeout: Duration::from_secs(10),
            sample_rate: None,
            tls: ClientTlsSettings::default(),
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
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
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

/// What counts as memory in use (`vm_memory_calculation_strategy`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryCalculation {
    /// The process's resident size, or what the node has counted if that is more.
    Rss,
    /// The part of the resident size that is of no file, such as the program.
    Allocated,
    /// What the node has counted: messages, buffers of connections, what waits for the log.
    Erlang,
}

impl MemoryCalculation {
    /// Its name in configurations and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rss => "rss",
            Self::Allocated => "allocated",
            Self::Erlang => "erlang",
        }
    }
}

/// Prefetch of channels that ask for none (`default_consumer_prefetch`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConsumerPrefetch {
    /// Unacknowledged messages; 0 for no limit.
    pub count: u16,
    /// They are those of the whole channel, if that is permitted (`deprecated_features.permit.global_qos`).
    pub is_global: bool,
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
    External,
}

impl AuthMechanism {
    /// Its name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::AmqPlain => "AMQPLAIN",
            Self::Anonymous => "ANONYMOUS",
            Self::External => "EXTERNAL",
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
