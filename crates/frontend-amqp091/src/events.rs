//! What observers hear of connections, channels and consumers.
//!
//! An event is made only while somebody listens ([`Session::is_observed`]), so all this costs nothing otherwise. Where the
//! events go is the node's matter.
//!
//! RabbitMQ docs: event-exchange. Compat: the fields are RabbitMQ's, also those that are empty without TLS.

use crate::request::Request;
use crate::session::Session;
use base::tls::{ClientCertificate, TlsDetails};
use base::{ChannelNumber, Name};
use broker::auth::Entry;
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
        let address = self.peer.address.ip();
        self.config
            .attempts
            .count(Entry::Amqp091, error.is_none(), address, user);
        self.log_login(user, mechanism, error);
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
                ("ssl", Value::Bool(self.peer.tls.is_some())),
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
        self.log_opened();
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
                ("ssl", Value::Bool(self.peer.tls.is_some())),
            ],
        );
        self.add_tls(&mut event.headers);
        self.add_addresses(&mut event.headers);
        self.add_user_provided_name(&mut event.headers);
        let event = event.by(&self.user);
        self.observe(event);
    }

    fn add_tls(&self, headers: &mut Arguments) {
        let tls = self.peer.tls.as_deref();
        let of_tls = |field: fn(&TlsDetails) -> &'static str| text(tls.map_or("", field));
        headers.insert("ssl_protocol", of_tls(|tls| tls.protocol));
        headers.insert("ssl_key_exchange", of_tls(|tls| tls.key_exchange));
        headers.insert("ssl_cipher", of_tls(|tls| tls.cipher));
        headers.insert("ssl_hash", of_tls(|tls| tls.hash));
        let certificate = tls.and_then(|tls| tls.certificate.as_ref());
        let of_certificate =
            |field: fn(&ClientCertificate) -> &str| text(certificate.map_or("", field));
        headers.insert("peer_cert_subject", of_certificate(|known| &known.subject));
        headers.insert("peer_cert_issuer", of_certificate(|known| &known.issuer));
        headers.insert(
            "peer_cert_validity",
            of_certificate(|known| &known.validity),
        );
        headers.insert(
            "peer_cert_serial_number",
            of_certificate(|known| &known.serial_number),
        );
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
