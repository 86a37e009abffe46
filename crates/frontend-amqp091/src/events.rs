//! What observers hear of connections, channels and consumers.
//!
//! An event is made only while somebody listens ([`Session::is_observed`]), so all this costs nothing otherwise. Where the
//! events go is the node's matter.
//!
//! RabbitMQ docs: event-exchange. Compat: the fields are RabbitMQ's, also those that are empty without TLS.

use crate::request::Request;
use crate::session::Session;
use base::{ChannelNumber, Name};
use broker::command::ConsumerSettings;
use broker::event::{Event, number, term, text};
use broker::value::{Arguments, Value};

/// The protocol's version as RabbitMQ prints it.
const PROTOCOL: &str = "{0,9,1}";

impl Session {
    /// The connection as RabbitMQ names it: both ends of its socket.
    pub(crate) fn connection_name(&self) -> String {
        format!("{} -> {}", self.peer.address, self.peer.local)
    }

    fn observe(&mut self, event: Event) {
        self.requests.push_back(Request::Event(Box::new(event)));
    }

    fn process(&self, channel: ChannelNumber) -> Value {
        text(&term::process(
            &self.config.node_name,
            self.id,
            channel.into(),
        ))
    }

    /// Somebody tried to log in; `error` says why that failed.
    pub(crate) fn observe_login(&mut self, user: &str, mechanism: &str, error: Option<&str>) {
        if !self.is_observed {
            return;
        }
        let key = match error {
            None => "user.authentication.success",
            Some(_) => "user.authentication.failure",
        };
        let mut event = Event::new(
            key,
            [
                ("name", text(user)),
                ("auth_mechanism", text(mechanism)),
                ("connection_name", text(&self.connection_name())),
                ("connection_type", text("network")),
                ("protocol", text(PROTOCOL)),
                ("ssl", Value::Bool(false)),
            ],
        );
        self.add_addresses(&mut event.headers);
        if let Some(error) = error {
            event.headers.insert("error", text(error));
        }
        self.observe(event);
    }

    fn add_addresses(&self, headers: &mut Arguments) {
        let (peer, local) = (self.peer.address, self.peer.local);
        headers.insert("host", text(&term::address(local.ip())));
        headers.insert("peer_host", text(&term::address(peer.ip())));
        headers.insert("peer_port", number(peer.port()));
    }

    /// The connection is open.
    pub(crate) fn observe_opened(&mut self, connected_at_ms: u64, heartbeat_s: u64) {
        if !self.is_observed {
            return;
        }
        let milliseconds = i64::try_from(connected_at_ms).unwrap_or(i64::MAX);
        let seconds = i64::try_from(heartbeat_s).unwrap_or(i64::MAX);
        let mut event = Event::new(
            "connection.created",
            [
                ("name", text(&self.connection_name())),
                ("node", text(&self.config.node_name)),
                ("pid", self.process(0)),
                ("port", number(self.peer.local.port())),
                ("protocol", text(PROTOCOL)),
                ("type", text("network")),
                ("user", text(&self.user)),
                ("vhost", text(&self.vhost)),
                ("auth_mechanism", text(&self.mechanism)),
                ("channel_max", number(self.channel_max)),
                ("frame_max", number(self.frame_max)),
                ("timeout", number(seconds)),
                ("connected_at", number(milliseconds)),
                ("client_properties", term::fields(&self.client.properties)),
                ("ssl", Value::Bool(false)),
            ],
        );
        for absent in [
            "ssl_protocol",
            "ssl_key_exchange",
            "ssl_cipher",
            "ssl_hash",
            "peer_cert_subject",
            "peer_cert_issuer",
            "peer_cert_validity",
            "peer_cert_serial_number",
        ] {
            event.headers.insert(absent, text(""));
        }
        self.add_addresses(&mut event.headers);
        self.add_user_provided_name(&mut event.headers);
        let event = event.by(&self.user);
        self.observe(event);
    }

    fn add_user_provided_name(&self, headers: &mut Arguments) {
        if let Some(name) = self.client.connection_name() {
            headers.insert("user_provided_name", text(name));
        }
    }

    /// The connection has ended, in whatever way.
    pub(crate) fn observe_closed(&mut self) {
        if !self.is_observed {
            return;
        }
        let mut event = Event::new(
            "connection.closed",
            [
                ("name", text(&self.connection_name())),
                ("node", text(&self.config.node_name)),
                ("pid", self.process(0)),
                ("client_properties", term::fields(&self.client.properties)),
            ],
        );
        self.add_user_provided_name(&mut event.headers);
        self.observe(event);
    }

    /// A channel was opened.
    pub(crate) fn observe_channel_opened(&mut self, channel: ChannelNumber) {
        if !self.is_observed {
            return;
        }
        let event = Event::new(
            "channel.created",
            [
                (
                    "name",
                    text(&format!("{} ({channel})", self.connection_name())),
                ),
                ("number", number(channel)),
                ("pid", self.process(channel)),
                ("connection", self.process(0)),
                ("user", text(&self.user)),
                ("vhost", text(&self.vhost)),
            ],
        );
        let event = event.by(&self.user);
        self.observe(event);
    }

    /// A channel has ended, in whatever way; it had so many consumers.
    pub(crate) fn observe_channel_closed(&mut self, channel: ChannelNumber, consumers: usize) {
        if !self.is_observed {
            return;
        }
        let consumers = i64::try_from(consumers).unwrap_or(i64::MAX);
        let event = Event::new(
            "channel.closed",
            [
                ("pid", self.process(channel)),
                ("consumer_count", number(consumers)),
            ],
        );
        let event = event.by(&self.user);
        self.observe(event);
    }

    /// A queue has a new consumer.
    pub(crate) fn observe_consumer(
        &mut self,
        channel: ChannelNumber,
        queue: &Name,
        settings: &ConsumerSettings,
    ) {
        if !self.is_observed {
            return;
        }
        let event = Event::new(
            "consumer.created",
            [
                ("consumer_tag", text(&settings.tag)),
                ("exclusive", Value::Bool(settings.exclusive)),
                ("ack_required", Value::Bool(!settings.no_ack)),
                ("channel", self.process(channel)),
                ("queue", text(queue)),
                ("vhost", text(&self.vhost)),
                ("prefetch_count", number(settings.prefetch_count)),
                ("arguments", term::fields(&settings.arguments)),
            ],
        );
        let event = event.by(&self.user);
        self.observe(event);
    }

    /// A queue has lost a consumer.
    pub(crate) fn observe_consumer_gone(
        &mut self,
        channel: ChannelNumber,
        queue: &Name,
        tag: &Name,
    ) {
        if !self.is_observed {
            return;
        }
        let event = Event::new(
            "consumer.deleted",
            [
                ("consumer_tag", text(tag)),
                ("channel", self.process(channel)),
                ("queue", text(queue)),
                ("vhost", text(&self.vhost)),
            ],
        );
        let event = event.by(&self.user);
        self.observe(event);
    }
}
