//! What listings show of a connection and its channels.

use super::{Connection, State};
use crate::config::Peer;
use crate::counts::{DeliveryCounts, PublishCounts};
use base::{ChannelNumber, ConnectionId, Name};
use broker::value::Arguments;
use std::net::SocketAddr;

/// The state of a connection as listings show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionState {
    /// Before connection.open-ok.
    Starting,
    /// In use.
    Running,
    /// An alarm is on; the client has not published since.
    Blocking,
    /// An alarm is on and the client wants to publish.
    Blocked,
    /// The client publishes faster than the node can store, or than its limits allow.
    Flow,
    /// On its way to the end.
    Closing,
    /// The socket may be closed as soon as the output is written.
    Closed,
}

/// What listings show about a connection.
#[derive(Clone, Debug)]
pub struct ConnectionDetails {
    /// The connection.
    pub id: ConnectionId,
    /// Both ends of the socket.
    pub peer: Peer,
    /// Its state.
    pub state: ConnectionState,
    /// It is not read because it publishes faster than a limit allows.
    pub throttled: bool,
    /// The SASL mechanism it logged in with; empty before that.
    pub mechanism: String,
    /// Who logged in; empty before that.
    pub user: Name,
    /// The vhost; empty before connection.open.
    pub vhost: Name,
    /// The name that the client's user gave it.
    pub user_provided_name: Option<String>,
    /// What the client said about itself.
    pub client_properties: Arguments,
    /// Open channels.
    pub channels: usize,
    /// Negotiated limit of channels, 0 for none.
    pub channel_max: u16,
    /// Negotiated frame size in bytes, 0 for no limit.
    pub frame_max: u32,
    /// Negotiated heartbeat interval in seconds, 0 for none.
    pub heartbeat_s: u64,
    /// When it was accepted, in milliseconds since 1970.
    pub connected_at_ms: u64,
    /// Bytes it sent since the handshake began.
    pub received_bytes: u64,
    /// Bytes it was sent, or will be.
    pub sent_bytes: u64,
    /// Pieces in which its bytes came: a large read of the socket is several.
    pub reads: u64,
    /// Writes to its socket.
    pub writes: u64,
    /// Bytes that its socket has not taken yet.
    pub unsent_bytes: usize,
}

/// What lists of connections are filtered and ordered by.
#[derive(Clone, Debug)]
pub struct ConnectionSummary {
    /// The connection.
    pub id: ConnectionId,
    /// The client's address.
    pub peer: SocketAddr,
    /// The address it connected to.
    pub local: SocketAddr,
    /// Its state.
    pub state: ConnectionState,
    /// Who logged in; empty before that.
    pub user: Name,
    /// The vhost; empty before connection.open.
    pub vhost: Name,
    /// When it was accepted, in milliseconds since 1970.
    pub connected_at_ms: u64,
    /// Bytes it sent.
    pub received_bytes: u64,
    /// Bytes it was sent.
    pub sent_bytes: u64,
    /// Its open channels.
    pub channels: Vec<ChannelNumber>,
}

/// What listings show about a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelDetails {
    /// Its number.
    pub number: ChannelNumber,
    /// Consumers it has.
    pub consumers: usize,
    /// Deliveries that are not acknowledged.
    pub unacknowledged: usize,
    /// Publishes that are not confirmed.
    pub unconfirmed: usize,
    /// It is in confirm mode.
    pub confirm: bool,
    /// It is transactional.
    pub transactional: bool,
    /// Unacknowledged deliveries that each consumer may have, 0 for no limit.
    pub prefetch_count: u16,
    /// The same for all consumers together.
    pub global_prefetch_count: u16,
    /// Messages of its transaction that are not committed.
    pub uncommitted: usize,
    /// Acks of its transaction that are not committed.
    pub uncommitted_acks: usize,
    /// What it published.
    pub published: PublishCounts,
    /// What it published to each exchange; beyond 64 exchanges only the sum counts.
    pub publishes: Vec<(Name, PublishCounts)>,
    /// What it was sent.
    pub delivered: DeliveryCounts,
    /// What it was sent from each queue; beyond 64 queues only the sum counts.
    pub deliveries: Vec<(Name, DeliveryCounts)>,
}

impl Connection {
    /// The state for listings.
    pub fn state(&self) -> ConnectionState {
        let backpressure = self.session.backpressure;
        match self.state {
            State::Handshake(_) => ConnectionState::Starting,
            State::Running if backpressure.alarms.any() && backpressure.has_publish => {
                ConnectionState::Blocked
            }
            State::Running if backpressure.alarms.any() => ConnectionState::Blocking,
            State::Running if backpressure.is_congested && backpressure.has_publish => {
                ConnectionState::Flow
            }
            State::Running if self.session.is_throttled() => ConnectionState::Flow,
            State::Running
                if self
                    .channels
                    .values()
                    .any(|channel| channel.is_out_of_credit()) =>
            {
                ConnectionState::Flow
            }
            State::Running => ConnectionState::Running,
            State::Leaving(_) | State::Closing { .. } | State::Silent { .. } => {
                ConnectionState::Closing
            }
            State::Finished => ConnectionState::Closed,
        }
    }

    /// For listings.
    pub fn details(&self) -> ConnectionDetails {
        let session = &self.session;
        ConnectionDetails {
            id: session.id,
            peer: session.peer.clone(),
            state: self.state(),
            throttled: session.is_throttled(),
            mechanism: session.mechanism.clone(),
            user: session.user.clone(),
            vhost: session.vhost.clone(),
            user_provided_name: session.client.connection_name().map(str::to_owned),
            client_properties: session.client.properties.clone(),
            channels: self.channels.len(),
            channel_max: session.channel_max,
            frame_max: session.frame_max,
            heartbeat_s: self.heartbeat_s(),
            connected_at_ms: self.connected_at_ms,
            received_bytes: self.received_bytes,
            sent_bytes: session.out.mark(),
            reads: self.reads,
            writes: session.out.writes(),
            unsent_bytes: session.out.len(),
        }
    }

    /// The same, with less.
    pub fn summary(&self) -> ConnectionSummary {
        let session = &self.session;
        let open = self
            .channels
            .iter()
            .filter(|(_, channel)| channel.is_open());
        ConnectionSummary {
            id: session.id,
            peer: session.peer.address,
            local: session.peer.local,
            state: self.state(),
            user: session.user.clone(),
            vhost: session.vhost.clone(),
            connected_at_ms: self.connected_at_ms,
            received_bytes: self.received_bytes,
            sent_bytes: session.out.mark(),
            channels: open.map(|(number, _)| *number).collect(),
        }
    }

    /// Negotiated heartbeat interval in seconds, 0 for none.
    pub(super) fn heartbeat_s(&self) -> u64 {
        self.heartbeat
            .as_ref()
            .map_or(0, |heartbeat| heartbeat.interval().as_secs())
    }

    /// Who logged in; empty before that.
    pub fn user(&self) -> &Name {
        &self.session.user
    }

    /// The vhost; empty before connection.open.
    pub fn vhost(&self) -> &Name {
        &self.session.vhost
    }

    /// Bytes that the client sent, and that it was sent or will be.
    pub fn byte_counts(&self) -> (u64, u64) {
        (self.received_bytes, self.session.out.mark())
    }

    /// The channels for listings, by number.
    pub fn channels(&self) -> impl Iterator<Item = ChannelDetails> {
        self.channels
            .values()
            .filter(|channel| channel.is_open())
            .map(|channel| channel.details())
    }
}
