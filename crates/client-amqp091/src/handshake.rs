//! From the protocol header to `connection.open-ok`.
//!
//! ```text
//!   new ──header──▶ Start ──start-ok──▶ Tune ──tune-ok, open──▶ OpenOk ──▶ Negotiated
//! ```
//!
//! The machine is given each method of channel 0 and appends its answer; it knows no socket and no clock.
//! Spec: AMQP 0-9-1 §2.2.4, class connection.

use codec_amqp091::{Method, PROTOCOL_HEADER, Table, TableWriter, Value, connection};

use crate::connection::ConnectOptions;
use crate::error::Error;
use crate::incoming::text;
use crate::outgoing::Outgoing;
use crate::uri::AmqpUri;

/// Smallest `frame_max` the protocol allows, in bytes. Spec: AMQP 0-9-1 §1.2, frame-min-size.
const FRAME_MAX_MIN: u32 = 4096;

/// What both sides agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Negotiated {
    /// Highest channel number, at least 1.
    pub(crate) channel_max: u16,
    /// Largest frame in bytes.
    pub(crate) frame_max: u32,
    /// Heartbeat interval in seconds, 0 for none.
    pub(crate) heartbeat: u16,
}

/// A handshake under way.
#[derive(Debug)]
pub(crate) struct Handshake<'a> {
    uri: &'a AmqpUri,
    options: &'a ConnectOptions,
    state: State,
}

/// The method that must come next.
#[derive(Clone, Copy, Debug)]
enum State {
    Start,
    Tune,
    OpenOk(Negotiated),
}

impl<'a> Handshake<'a> {
    /// Begins: the protocol header is in `outgoing` afterwards.
    pub(crate) fn new(
        uri: &'a AmqpUri,
        options: &'a ConnectOptions,
        outgoing: &mut Outgoing,
    ) -> Self {
        outgoing.bytes().extend_from_slice(&PROTOCOL_HEADER);
        Self {
            uri,
            options,
            state: State::Start,
        }
    }

    /// What the broker owes us, for messages to people.
    pub(crate) fn waiting_for(&self) -> &'static str {
        match self.state {
            State::Start => "connection.start",
            State::Tune => "connection.tune (login)",
            State::OpenOk(_) => "connection.open-ok",
        }
    }

    /// Takes the broker's next method. `Some` when the connection is open.
    pub(crate) fn handle(
        &mut self,
        channel: u16,
        method: &Method<'_>,
        outgoing: &mut Outgoing,
    ) -> Result<Option<Negotiated>, Error> {
        match (self.state, method) {
            (State::Start, Method::ConnectionStart(start)) => {
                self.answer_start(start, outgoing)?;
                self.state = State::Tune;
                Ok(None)
            }
            (State::Tune, Method::ConnectionTune(tune)) => {
                let negotiated = negotiate(tune, self.options);
                self.answer_tune(negotiated, outgoing);
                self.state = State::OpenOk(negotiated);
                Ok(None)
            }
            (State::OpenOk(negotiated), Method::ConnectionOpenOk(_)) => Ok(Some(negotiated)),
            _ => Err(Error::UnexpectedFrame {
                channel,
                found: "method out of order in the handshake",
            }),
        }
    }

    fn answer_start(
        &self,
        start: &connection::Start<'_>,
        outgoing: &mut Outgoing,
    ) -> Result<(), Error> {
        let mut mechanisms = start.mechanisms.split(|byte| *byte == b' ');
        if !mechanisms.any(|mechanism| mechanism == b"PLAIN") {
            return Err(Error::NoMechanism {
                offered: text(start.mechanisms),
            });
        }
        let mut properties = Vec::new();
        write_client_properties(&mut TableWriter::new(&mut properties), self.options);
        let response = format!("\0{}\0{}", self.uri.user, self.uri.password);
        connection::StartOk {
            client_properties: Table::new(&properties),
            mechanism: b"PLAIN",
            response: response.as_bytes(),
            locale: b"en_US",
        }
        .encode(0, outgoing.bytes());
        Ok(())
    }

    fn answer_tune(&self, negotiated: Negotiated, outgoing: &mut Outgoing) {
        connection::TuneOk {
            channel_max: negotiated.channel_max,
            frame_max: negotiated.frame_max,
            heartbeat: negotiated.heartbeat,
        }
        .encode(0, outgoing.bytes());
        connection::Open {
            virtual_host: self.uri.vhost.as_bytes(),
            ..Default::default()
        }
        .encode(0, outgoing.bytes());
    }
}

fn write_client_properties(table: &mut TableWriter<'_>, options: &ConnectOptions) {
    table.field(b"product", &Value::LongStr(b"WarrenMQ client"));
    let version = env!("CARGO_PKG_VERSION").as_bytes();
    table.field(b"version", &Value::LongStr(version));
    if let Some(name) = &options.connection_name {
        table.field(b"connection_name", &Value::LongStr(name.as_bytes()));
    }
    table.table(b"capabilities", |capabilities| {
        for name in [
            "publisher_confirms",
            "basic.nack",
            "connection.blocked",
            "consumer_cancel_notify",
            "authentication_failure_close",
            "exchange_exchange_bindings",
        ] {
            capabilities.field(name.as_bytes(), &Value::Bool(true));
        }
    });
}

/// The smaller of each pair of limits, where 0 means no limit.
fn negotiate(tune: &connection::Tune, options: &ConnectOptions) -> Negotiated {
    let smaller = |ours: u32, theirs: u32| if theirs == 0 { ours } else { ours.min(theirs) };
    let channel_max = smaller(options.channel_max.into(), tune.channel_max.into()) as u16;
    Negotiated {
        channel_max: channel_max.max(1),
        // No broker may ask for less than the protocol's minimum, or bodies would be cut into crumbs.
        frame_max: smaller(options.frame_max, tune.frame_max).max(FRAME_MAX_MIN),
        // The client decides; a broker without heartbeats is left without.
        heartbeat: match tune.heartbeat {
            0 => 0,
            theirs => options.heartbeat_seconds.min(theirs),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tune(channel_max: u16, frame_max: u32, heartbeat: u16) -> Negotiated {
        let options = ConnectOptions {
            channel_max: 2047,
            frame_max: 131_072,
            heartbeat_seconds: 30,
            ..Default::default()
        };
        let tune = connection::Tune {
            channel_max,
            frame_max,
            heartbeat,
        };
        negotiate(&tune, &options)
    }

    #[test]
    fn limits_are_the_smaller_of_both_and_zero_is_none() {
        let agreed = |channel_max, frame_max, heartbeat| Negotiated {
            channel_max,
            frame_max,
            heartbeat,
        };
        assert_eq!(tune(0, 0, 0), agreed(2047, 131_072, 0));
        assert_eq!(tune(10, 8192, 60), agreed(10, 8192, 30));
        assert_eq!(tune(9000, 1 << 20, 5), agreed(2047, 131_072, 5));
        assert_eq!(tune(1, 1, 1), agreed(1, 4096, 1));
    }

    #[test]
    fn methods_out_of_order_are_refused() {
        let (uri, options) = (AmqpUri::default(), ConnectOptions::default());
        let mut outgoing = Outgoing::new();
        let mut handshake = Handshake::new(&uri, &options, &mut outgoing);
        let tune = Method::ConnectionTune(connection::Tune::default());
        assert!(handshake.handle(0, &tune, &mut outgoing).is_err());
    }

    #[test]
    fn a_broker_without_plain_is_told_apart() {
        let (uri, options) = (AmqpUri::default(), ConnectOptions::default());
        let mut outgoing = Outgoing::new();
        let mut handshake = Handshake::new(&uri, &options, &mut outgoing);
        let start = Method::ConnectionStart(connection::Start {
            mechanisms: b"EXTERNAL SUPERPLAIN",
            ..Default::default()
        });
        let error = handshake.handle(0, &start, &mut outgoing);
        assert!(matches!(error, Err(Error::NoMechanism { .. })), "{error:?}");
    }
}
