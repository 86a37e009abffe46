//! What an operator may set about this protocol, and who is at the other end.

use crate::counts::Traffic;
use crate::interceptor::Interceptors;
use crate::spans::SpanBuffer;
use base::tls::TlsDetails;
use broker::admission::Admission;
use broker::auth::{Attempts, Authenticator};
use broker::throttle::SharedRates;
use broker::value::Arguments;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// No message is ever larger than this, whatever the configuration says; in bytes.
pub(crate) const MESSAGE_SIZE_HARD_MAX: u64 = 536_870_912;

/// Settings of all connections of a node. `Default` is RabbitMQ's.
#[derive(Clone, Debug)]
pub struct Config {
    /// `product` of the server properties.
    pub product: String,
    /// `version` of the server properties. Some clients parse it and expect RabbitMQ's.
    pub version: String,
    /// `platform` of the server properties.
    pub platform: String,
    /// `copyright` of the server properties.
    pub copyright: String,
    /// `information` of the server properties.
    pub information: String,
    /// `cluster_name` of the server properties, where no global parameter says it.
    pub cluster_name: String,
    /// Name of this node, as events and traces tell it.
    pub node_name: String,
    /// What is added to messages that come in (`message_interceptors`).
    pub interceptors: Interceptors,
    /// Messages that a transaction may hold (`channel_tx_message_max`), `None` for no limit but that of bytes.
    pub tx_messages_max: Option<usize>,
    /// Whether it is counted what each exchange gives to each queue, for which messages take a longer way (`management.rates_mode`).
    pub counts_legs: bool,
    /// More server properties; they replace those above of the same name.
    pub server_properties: Arguments,
    /// Channels a connection may have open at once, 0 for no limit (`channel_max`).
    pub channel_max: u16,
    /// Largest frame in bytes that is offered, 0 for no limit (`frame_max`).
    pub frame_max: u32,
    /// Largest frame in bytes before tune-ok (`initial_frame_max`).
    pub initial_frame_max: u32,
    /// Heartbeat timeout offered, in seconds, 0 for none (`heartbeat`).
    pub heartbeat_s: u16,
    /// From the first byte to connection.open; the socket is closed when it takes longer (`handshake_timeout`).
    pub handshake_timeout: Duration,
    /// Largest message body in bytes (`max_message_size`).
    pub message_size_max: u64,
    /// Names of SASL mechanisms offered, of `PLAIN`, `AMQPLAIN`, `ANONYMOUS`, `EXTERNAL` (over TLS only) and `RABBIT-CR-DEMO` (`auth_mechanisms`).
    pub mechanisms: Vec<String>,
    /// Who clients of `ANONYMOUS` are; `None` withdraws the mechanism (`anonymous_login_user`).
    pub anonymous_login_user: Option<String>,
    /// Their password (`anonymous_login_pass`).
    pub anonymous_login_pass: String,
    /// Users who may connect from this host only (`loopback_users`).
    pub loopback_users: Vec<String>,
    /// Whether basic.qos with global=true limits the channel; otherwise it means the same as global=false
    /// (`deprecated_features.permit.global_qos`).
    pub global_qos_permitted: bool,
    /// Prefetch count of channels that did not ask for one, 0 for none (`default_consumer_prefetch`).
    pub consumer_prefetch_default: u16,
    /// That one is for all consumers of a channel together, as basic.qos with global=true, where that is permitted.
    pub consumer_prefetch_is_global: bool,
    /// Consumers a channel may have (`consumer_max_per_channel`), `None` for no limit.
    pub consumer_max_per_channel: Option<usize>,
    /// Who lets users in; `None` for the metadata alone (`auth_backends`).
    pub authenticator: Option<Arc<dyn Authenticator>>,
    /// Counts logins; shared by all protocols.
    pub attempts: Arc<Attempts>,
    /// Counts the connections and channels of the node; shared by all protocols.
    pub admission: Arc<Admission>,
    /// How much connections have published lately, where that is limited; shared by all protocols.
    pub rates: Arc<SharedRates>,
    /// Where spans of messages that are followed go; `None` follows none (`opentelemetry.endpoint`).
    pub spans: Option<Arc<SpanBuffer>>,
    /// What its connections count into. Those of one `Config` must all be driven by one thread.
    pub traffic: Arc<Traffic>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            product: "WarrenMQ".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            platform: "Rust".to_owned(),
            copyright: "Copyright (c) the WarrenMQ authors".to_owned(),
            information: "Licensed under the Apache License 2.0".to_owned(),
            cluster_name: "rabbit@localhost".to_owned(),
            node_name: "rabbit@localhost".to_owned(),
            interceptors: Interceptors::default(),
            tx_messages_max: None,
            counts_legs: false,
            server_properties: Arguments::default(),
            channel_max: 2047,
            frame_max: 131_072,
            initial_frame_max: 8192,
            heartbeat_s: 60,
            handshake_timeout: Duration::from_secs(10),
            message_size_max: 16 * 1024 * 1024,
            mechanisms: vec![
                "PLAIN".to_owned(),
                "AMQPLAIN".to_owned(),
                "ANONYMOUS".to_owned(),
            ],
            anonymous_login_user: Some("guest".to_owned()),
            anonymous_login_pass: "guest".to_owned(),
            loopback_users: vec!["guest".to_owned()],
            global_qos_permitted: false,
            consumer_prefetch_default: 0,
            consumer_prefetch_is_global: false,
            consumer_max_per_channel: None,
            authenticator: None,
            attempts: Arc::default(),
            admission: Arc::default(),
            rates: Arc::default(),
            spans: None,
            traffic: Arc::default(),
        }
    }
}

impl Config {
    /// Whether all messages take the longer way.
    pub(crate) fn has_taps(&self) -> bool {
        self.interceptors.any() || self.counts_legs
    }

    /// Space separated, as connection.start has it.
    pub(crate) fn mechanisms_offered(&self, peer: &Peer) -> String {
        let offered = self
            .mechanisms
            .iter()
            .map(String::as_str)
            .filter(|mechanism| self.offers(mechanism, peer));
        offered.collect::<Vec<_>>().join(" ")
    }

    pub(crate) fn offers(&self, mechanism: &str, peer: &Peer) -> bool {
        self.mechanisms.iter().any(|offered| offered == mechanism)
            && (mechanism != "ANONYMOUS" || self.anonymous_login_user.is_some())
            && (mechanism != "EXTERNAL" || peer.tls.is_some())
    }
}

/// The two ends of the socket.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The client's address.
    pub address: SocketAddr,
    /// The address it connected to.
    pub local: SocketAddr,
    /// Whether the client is on this host, for [`Config::loopback_users`].
    pub is_loopback: bool,
    /// TLS between them, if it is there.
    pub tls: Option<Arc<TlsDetails>>,
}

/// Resources that are short on the node (RabbitMQ docs: alarms).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Alarms {
    /// Memory above the watermark.
    pub memory: bool,
    /// Free disk space below the limit.
    pub disk: bool,
}

impl Alarms {
    /// Whether publishers have to wait.
    pub fn any(self) -> bool {
        self.memory || self.disk
    }

    /// Reason of connection.blocked.
    pub(crate) fn reason(self) -> &'static str {
        match (self.memory, self.disk) {
            (true, true) => "low on disk & memory",
            (false, true) => "low on disk",
            (true, false) | (false, false) => "low on memory",
        }
    }
}
