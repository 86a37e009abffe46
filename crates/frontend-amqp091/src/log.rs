//! What a connection says in the log, in RabbitMQ's words: operators search for them.
//!
//! Nothing here decides anything. The lines that RabbitMQ has for each connection are in the category `connection`, those about
//! logins in `user`, those about channels in `channel`.

use crate::exception::{Exception, Scope};
use crate::session::Session;
use base::ChannelNumber;
use broker::event::term;
use std::fmt;

/// How a connection ends that is not closed.
#[derive(Clone, Copy)]
pub(crate) enum End<'a> {
    /// The client's socket ended before connection.close.
    Lost,
    /// Nothing came for too long.
    Silent {
        /// The negotiated interval in seconds.
        interval_s: u64,
    },
    /// The handshake took too long.
    Slow,
    /// The client said something that ends a handshake without an answer.
    Broken(&'a dyn fmt::Display),
}

impl Session {
    /// A client that says nothing has no line: load balancers look whether the port is open.
    pub(crate) fn log_accepted(&mut self) {
        self.is_end_told = false;
        tracing::info!(target: "connection", "accepting AMQP connection {}", Addresses(self));
    }

    pub(crate) fn log_login(&self, user: &str, mechanism: &str, error: Option<&str>) {
        let Some(error) = error else {
            tracing::info!(target: "user", "User '{user}' authenticated successfully");
            return;
        };
        tracing::warn!(target: "user", "User '{user}' failed to authenticate: {error}");
        tracing::error!(
            target: "connection",
            "Error on AMQP connection {} ({}, state: starting):\n{mechanism} login refused: {error}",
            self.process_name(),
            Addresses(self)
        );
    }

    pub(crate) fn log_opened(&self) {
        tracing::info!(
            target: "connection",
            "connection {}: user '{}' authenticated and granted access to vhost '{}'",
            Named(self),
            self.user,
            self.vhost
        );
    }

    pub(crate) fn log_failed(&self, state: &str, exception: &Exception) {
        tracing::error!(
            target: "connection",
            "Error on AMQP connection {} ({}{}, state: {state}):\n{}",
            self.process_name(),
            Addresses(self),
            Owner(self),
            Cause(exception)
        );
    }

    pub(crate) fn log_channel_failed(&self, channel: ChannelNumber, exception: &Exception) {
        tracing::error!(
            target: "channel",
            "Channel error on connection {} ({}{}), channel {channel}:\n{}",
            self.process_name(),
            Addresses(self),
            Owner(self),
            Cause(exception)
        );
    }

    /// The connection ended without connection.close.
    pub(crate) fn log_end(&mut self, age_ms: u64, end: End<'_>) {
        if std::mem::replace(&mut self.is_end_told, true) {
            return;
        }
        macro_rules! closing {
            ($level:ident, $reason:literal) => {
                tracing::$level!(
                    target: "connection",
                    concat!("closing AMQP connection {} ({}{}, duration: '{}'):\n", $reason),
                    self.process_name(),
                    Addresses(self),
                    Owner(self),
                    Age(age_ms)
                )
            };
        }
        match end {
            End::Lost => closing!(warn, "client unexpectedly closed TCP connection"),
            End::Silent { interval_s } => tracing::error!(
                target: "connection",
                "closing AMQP connection {} ({}{}, duration: '{}'):\nmissed heartbeats from client, timeout: {interval_s}s",
                self.process_name(),
                Addresses(self),
                Owner(self),
                Age(age_ms)
            ),
            End::Slow => closing!(error, "{{handshake_timeout,handshake}}"),
            End::Broken(reason) => tracing::error!(
                target: "connection",
                "closing AMQP connection {} ({}, duration: '{}'):\n{{handshake_error,{reason}}}",
                self.process_name(),
                Addresses(self),
                Age(age_ms)
            ),
        }
    }

    /// The last that is said of it, if nothing else was.
    pub(crate) fn log_closed(&mut self, age_ms: u64) {
        if std::mem::replace(&mut self.is_end_told, true) {
            return;
        }
        tracing::info!(
            target: "connection",
            "closing AMQP connection ({}{}, duration: '{}')",
            Addresses(self),
            Owner(self),
            Age(age_ms)
        );
    }

    fn process_name(&self) -> String {
        term::process(&self.config.node_name, self.id, 0)
    }
}

/// `client -> server`. An IPv4 client of a socket for both families is shown as what it is.
struct Addresses<'a>(&'a Session);

impl fmt::Display for Addresses<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let peer = &self.0.peer;
        let plain = |address: std::net::SocketAddr| {
            std::net::SocketAddr::new(address.ip().to_canonical(), address.port())
        };
        write!(f, "{} -> {}", plain(peer.address), plain(peer.local))
    }
}

/// The same with the client's own name for the connection.
struct Named<'a>(&'a Session);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Addresses(self.0).fmt(f)?;
        match self.0.client.connection_name() {
            Some(name) => write!(f, " - {name}"),
            None => Ok(()),
        }
    }
}

/// `, vhost: '/', user: 'guest'`, as far as they are known.
struct Owner<'a>(&'a Session);

impl fmt::Display for Owner<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Session { vhost, user, .. } = self.0;
        if user.is_empty() {
            return Ok(());
        }
        if !vhost.is_empty() {
            write!(f, ", vhost: '{vhost}'")?;
        }
        write!(f, ", user: '{user}'")
    }
}

/// `operation queue.declare caused a channel exception not_found: no queue 'x' in vhost '/'`.
struct Cause<'a>(&'a Exception);

impl fmt::Display for Cause<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exception = self.0;
        let text = exception.reply_text.as_str();
        // The text begins with the name of the code, in capitals.
        let (name, reason) = text.split_once(" - ").unwrap_or((text, text));
        let name = name.to_lowercase();
        let method = method_name(exception.class_id, exception.method_id);
        match exception.scope {
            Scope::Channel => write!(
                f,
                "operation {method} caused a channel exception {name}: {reason}"
            ),
            Scope::Connection | Scope::Input | Scope::Socket => write!(
                f,
                " operation {method} caused a connection exception {name}: \"{reason}\""
            ),
        }
    }
}

/// The name of a method that clients send.
fn method_name(class_id: u16, method_id: u16) -> &'static str {
    match (class_id, method_id) {
        (10, 11) => "connection.start_ok",
        (10, 21) => "connection.secure_ok",
        (10, 31) => "connection.tune_ok",
        (10, 40) => "connection.open",
        (10, 50) => "connection.close",
        (10, 70) => "connection.update_secret",
        (20, 10) => "channel.open",
        (20, 20) => "channel.flow",
        (20, 40) => "channel.close",
        (30, 10) => "access.request",
        (40, 10) => "exchange.declare",
        (40, 20) => "exchange.delete",
        (40, 30) => "exchange.bind",
        (40, 40) => "exchange.unbind",
        (50, 10) => "queue.declare",
        (50, 20) => "queue.bind",
        (50, 30) => "queue.purge",
        (50, 40) => "queue.delete",
        (50, 50) => "queue.unbind",
        (60, 10) => "basic.qos",
        (60, 20) => "basic.consume",
        (60, 30) => "basic.cancel",
        (60, 40) => "basic.publish",
        (60, 70) => "basic.get",
        (60, 80) => "basic.ack",
        (60, 90) => "basic.reject",
        (60, 100) => "basic.recover_async",
        (60, 110) => "basic.recover",
        (60, 120) => "basic.nack",
        (85, 10) => "confirm.select",
        (90, 10) => "tx.select",
        (90, 20) => "tx.commit",
        (90, 30) => "tx.rollback",
        _ => "none",
    }
}

/// `83ms`, `12s`, `2M, 5s`.
struct Age(u64);

impl fmt::Display for Age {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(age_ms) = *self;
        let seconds = age_ms / 1_000;
        match (seconds / 3_600, seconds / 60 % 60, seconds % 60) {
            (0, 0, 0) => write!(f, "{age_ms}ms"),
            (0, 0, seconds) => write!(f, "{seconds}s"),
            (0, minutes, seconds) => write!(f, "{minutes}M, {seconds}s"),
            (hours, minutes, seconds) => write!(f, "{hours}H, {minutes}M, {seconds}s"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_read_easily() {
        for (age_ms, text) in [
            (0, "0ms"),
            (999, "999ms"),
            (1_000, "1s"),
            (125_000, "2M, 5s"),
            (3_725_000, "1H, 2M, 5s"),
        ] {
            assert_eq!(Age(age_ms).to_string(), text);
        }
    }
}
