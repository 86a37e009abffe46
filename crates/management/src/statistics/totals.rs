//! Sums over queues: of one, of a vhost, of the node.

use super::clients::{channel_values, deliveries};
use super::details::{Details, Kind, stats};
use super::keys::*;
use super::series::Series;
use crate::directory::{Directory, Queues};
use crate::json::Object;
use crate::state::State;
use base::Name;
use broker::admission::Churn;
use broker::queue::Counters;
use broker::queue_arguments::QueueType;
use node::{ByteCounts, LogMessages, ProcessFigures, PublishCounts, QueueFigures, TrafficTotals};
use std::sync::Arc;

/// Messages somewhere, and what happened to messages there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) ready: u64,
    pub(crate) unacked: u64,
    /// Those that wait to be tried again.
    pub(crate) delayed: u64,
    pub(crate) consumers: u64,
    pub(crate) counters: Counters,
}

impl Totals {
    /// Those of one queue.
    pub(crate) fn of(figures: &QueueFigures) -> Self {
        Self {
            ready: figures.ready,
            unacked: figures.unacked,
            delayed: figures.delayed,
            consumers: figures.consumers.into(),
            counters: figures.counters,
        }
    }

    /// All that is in the queues.
    pub(crate) fn messages(&self) -> u64 {
        self.ready + self.unacked + self.delayed
    }

    /// Adds others.
    pub(crate) fn add(&mut self, other: &Self) {
        self.ready += other.ready;
        self.unacked += other.unacked;
        self.delayed += other.delayed;
        self.consumers += other.consumers;
        self.counters.add(&other.counters);
    }

    /// Takes away what was added before.
    pub(crate) fn subtract(&mut self, other: &Self) {
        self.ready -= other.ready;
        self.unacked -= other.unacked;
        self.delayed -= other.delayed;
        self.consumers -= other.consumers;
        self.counters.subtract(&other.counters);
    }

    /// A value by its key, if it has one: `messages`, `message_stats.ack` and the like.
    pub(crate) fn key(path: &str) -> Option<&'static str> {
        let place = |key: &str| QUEUE_KEYS.iter().position(|own| *own == key);
        let place = match path.strip_prefix("message_stats.") {
            Some(key) => place(key).filter(|place| *place >= LENGTHS)?,
            None => place(path).filter(|place| *place < LENGTHS)?,
        };
        Some(QUEUE_KEYS[place])
    }

    /// The value of a key that [`Totals::key`] gave.
    pub(crate) fn value(&self, key: &'static str) -> u64 {
        let place = QUEUE_KEYS.iter().position(|own| *own == key);
        place.map_or(0, |place| self.values()[place])
    }

    pub(super) fn values(&self) -> [u64; QUEUE_KEYS.len()] {
        let counters = &self.counters;
        let deliveries = deliveries(counters);
        [
            self.messages(),
            self.ready,
            self.unacked,
            counters.published,
            deliveries.delivered,
            deliveries.delivered_no_ack,
            deliveries.got,
            deliveries.got_no_ack,
            counters.delivered + counters.fetched,
            counters.redelivered,
            counters.acked,
            counters.empty_gets,
        ]
    }

    /// Lengths with their details.
    pub(crate) fn lengths(&self, details: &Details, series: Option<&Series>) -> Object {
        let mut item = Object::default();
        for (key, value) in QUEUE_KEYS.into_iter().zip(self.values()).take(LENGTHS) {
            details.push(&mut item, Kind::Length, key, value, series);
        }
        item
    }

    /// What happened, with details; empty if nothing did.
    pub(crate) fn message_stats(&self, details: &Details, series: Option<&Series>) -> Object {
        stats(
            details,
            &QUEUE_KEYS[LENGTHS..],
            &self.values()[LENGTHS..],
            series,
        )
    }

    /// Since when nothing has happened in a queue.
    pub(crate) fn idle_since(&self, series: Option<&Series>) -> Option<String> {
        series?.idle_since(&self.values())
    }
}

/// Messages in a vhost, what happened to messages there, and bytes on its connections.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct VhostTotals {
    /// Of its queues.
    pub(crate) queues: Totals,
    published: PublishCounts,
    bytes: ByteCounts,
}

impl VhostTotals {
    /// Adds those of another vhost.
    pub(crate) fn add(&mut self, other: &Self) {
        self.queues.add(&other.queues);
        self.published.add(&other.published);
        self.bytes.add(&other.bytes);
    }

    pub(super) fn values(&self) -> [u64; VHOST_KEYS.len()] {
        let mut values = [0; VHOST_KEYS.len()];
        let of_messages = channel_values(&self.published, &deliveries(&self.queues.counters));
        values[..LENGTHS].copy_from_slice(&self.queues.values()[..LENGTHS]);
        values[LENGTHS..OF_CLIENTS].copy_from_slice(&of_messages);
        values[OF_CLIENTS..].copy_from_slice(&[self.bytes.received, self.bytes.sent]);
        values
    }

    /// What happened to messages, with details; empty if nothing did.
    pub(crate) fn message_stats(&self, details: &Details, series: Option<&Series>) -> Object {
        let of_messages = LENGTHS..OF_CLIENTS;
        let values = self.values();
        stats(
            details,
            &VHOST_KEYS[of_messages.clone()],
            &values[of_messages],
            series,
        )
    }

    /// All of it, as a vhost shows it.
    pub(crate) fn item(&self, details: &Details, series: Option<&Series>) -> Object {
        let mut item = self.queues.lengths(details, series);
        for (key, value) in [
            ("recv_oct", self.bytes.received),
            ("send_oct", self.bytes.sent),
        ] {
            details.push(&mut item, Kind::Data, key, value, series);
        }
        let stats = self.message_stats(details, series);
        if !stats.is_empty() {
            item.push("message_stats", stats);
        }
        item
    }
}

/// The totals of these vhosts, in their order.
pub(crate) async fn of_vhosts(state: &Arc<State>, vhosts: &[Name]) -> Vec<VhostTotals> {
    let published = state.node.vhost_traffic();
    let bytes = state.node.vhost_bytes().await;
    let queues = Queues::current(state).await;
    let of = |vhost: &Name| VhostTotals {
        queues: queues.totals_of(vhost),
        published: published.get(vhost).copied().unwrap_or_default(),
        bytes: bytes.get(vhost).copied().unwrap_or_default(),
    };
    vhosts.iter().map(of).collect()
}

/// Totals of the node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NodeTotals {
    /// Of its queues, with what happened in queues that are gone.
    pub(crate) queues: Totals,
    traffic: TrafficTotals,
    log: LogMessages,
    churn: Churn,
    queue_churn: (u64, u64),
}

impl NodeTotals {
    /// With what is in queues now.
    pub(crate) fn new(state: &State, directory: &Directory) -> Self {
        let mut queues = directory.totals();
        if let Some(filter) = &state.node.settings().statistics.filter {
            // Their lengths are no part of the totals (`management_agent.filter_aggregated_queue_metrics_pattern`).
            let left_out = directory.sum_of(|name| filter.matches(name));
            queues.ready -= left_out.ready;
            queues.unacked -= left_out.unacked;
            queues.delayed -= left_out.delayed;
        }
        for queue_type in [QueueType::Classic, QueueType::Quorum] {
            let retired = state.node.retired_counters(queue_type);
            queues.counters.add(&retired);
        }
        Self {
            queues,
            traffic: state.node.traffic(),
            log: state.node.log_messages(),
            churn: state.node.churn(),
            queue_churn: state.node.queue_churn(),
        }
    }

    pub(super) fn values(&self) -> [u64; NODE_KEYS.len()] {
        let Self {
            queues,
            traffic,
            log,
            churn,
            queue_churn,
        } = self;
        let published = PublishCounts {
            published: traffic.received,
            routed: traffic.routed,
            confirmed: traffic.confirmed,
            dropped: traffic.dropped,
            returned: traffic.returned,
        };
        let of_messages = channel_values(&published, &deliveries(&queues.counters));
        let mut values = [0; NODE_KEYS.len()];
        values[..LENGTHS].copy_from_slice(&queues.values()[..LENGTHS]);
        values[LENGTHS..OF_CLIENTS].copy_from_slice(&of_messages);
        values[OF_CLIENTS..OF_MESSAGES].copy_from_slice(&[log.read, log.written]);
        values[OF_MESSAGES..].copy_from_slice(&[
            churn.connections_opened,
            churn.connections_closed,
            churn.channels_opened,
            churn.channels_closed,
            traffic.queues_declared,
            queue_churn.0,
            queue_churn.1,
        ]);
        values
    }

    /// What happened to messages, with details.
    pub(crate) fn message_stats(&self, details: &Details, series: Option<&Series>) -> Object {
        let of_clients = LENGTHS..OF_CLIENTS;
        let values = self.values();
        let mut item = stats(
            details,
            &NODE_KEYS[of_clients.clone()],
            &values[of_clients],
            series,
        );
        // Compat: what the log did is there even if nothing happened.
        let of_log = NODE_KEYS.into_iter().zip(values).take(OF_MESSAGES);
        for (key, value) in of_log.skip(OF_CLIENTS).filter(|_| details.messages) {
            details.push(&mut item, Kind::Rate, key, value, series);
        }
        item
    }

    /// What came and went.
    pub(crate) fn churn(&self, details: &Details, series: Option<&Series>) -> Object {
        let mut item = Object::default();
        for (key, value) in NODE_KEYS.into_iter().zip(self.values()).skip(OF_MESSAGES) {
            details.push(&mut item, Kind::Rate, key, value, series);
        }
        item
    }
}

/// What the node has now.
pub(crate) fn measured(state: &State) -> [(&'static str, u64); MEASURED_KEYS.len()] {
    let resources = state.node.resources();
    let process = ProcessFigures::now();
    let values = [
        resources.memory_used_bytes,
        process.open_files,
        state.node.connection_count(),
        process.threads,
        resources.disk_free_bytes,
        process.context_switches,
        0,
        0,
    ];
    let mut measured = MEASURED_KEYS.map(|key| (key, 0));
    for (place, value) in measured.iter_mut().zip(values) {
        place.1 = value;
    }
    measured
}
