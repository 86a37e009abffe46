//! What memory is used for, under RabbitMQ's names as far as they fit.
//!
//! What the node counts anyway is exact (messages of queues, buffers of connections, what waits for the log); what consists of many
//! small things is their number times their size, without what the allocator adds. The resident program files are `code`, and what
//! nobody counted is `other_system`, so that the parts add up to the resident size. Parts of Erlang that have no counterpart here
//! are 0.

use crate::call::{Call, Outcome};
use crate::json::{Json, Object, object};
use crate::state::State;
use broker::binding::Binding;
use broker::exchange::Exchange;
use broker::metadata::Metadata;
use broker::vhost::QueueRecord;
use node::MemoryFigures;

/// What an entry of a map takes beside what is in it.
const ENTRY_BYTES: usize = 64;

/// The parts, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Breakdown {
    figures: MemoryFigures,
    connections: u64,
    channels: u64,
    classic_queues: u64,
    quorum_queues: u64,
    metadata: u64,
    statistics: u64,
}

impl Breakdown {
    /// As of now.
    pub(crate) fn now(state: &State) -> Self {
        let figures = state.node.memory();
        let metadata = state.node.metadata();
        Self {
            connections: state.node.connection_count() * node::CONNECTION_BYTES as u64,
            channels: state.node.channel_count() * node::CHANNEL_BYTES as u64,
            classic_queues: figures.classic_queue_bytes,
            quorum_queues: figures.quorum_queue_bytes,
            metadata: metadata_bytes(state, &metadata),
            statistics: state.statistics.memory_bytes(),
            figures,
        }
    }

    /// What is counted, the resident program with it.
    fn known(&self) -> u64 {
        self.connections
            + self.channels
            + self.figures.connection_bytes
            + self.classic_queues
            + self.quorum_queues
            + self.metadata
            + self.statistics
            + self.figures.counter_bytes
            + self.figures.log_bytes
            + self.figures.index_bytes
            + self.figures.of_files_bytes
    }

    /// Names and bytes, in RabbitMQ's order.
    pub(crate) fn parts(&self) -> Vec<(&'static str, u64)> {
        let figures = &self.figures;
        let other = figures.resident_bytes.saturating_sub(self.known());
        vec![
            ("connection_readers", self.connections),
            ("connection_writers", 0),
            ("connection_channels", self.channels),
            ("connection_other", figures.connection_bytes),
            ("stream_queue_procs", 0),
            ("stream_queue_replica_reader_procs", 0),
            ("stream_queue_coordinator_procs", 0),
            ("queue_procs", self.classic_queues),
            ("quorum_queue_procs", self.quorum_queues),
            ("quorum_queue_dlx_procs", 0),
            ("plugins", 0),
            ("metadata_store", self.metadata),
            ("other_proc", 0),
            ("metrics", figures.counter_bytes),
            ("mgmt_db", self.statistics),
            ("quorum_ets", 0),
            ("mnesia", 0),
            ("metadata_store_ets", 0),
            ("other_ets", 0),
            ("binary", figures.log_bytes),
            ("msg_index", figures.index_bytes),
            ("code", figures.of_files_bytes),
            ("atom", 0),
            ("other_system", other),
            ("allocated_unused", 0),
            ("reserved_unallocated", 0),
        ]
    }

    /// All parts together: the resident size, or what is counted if that is more.
    pub(crate) fn total(&self) -> u64 {
        self.figures.resident_bytes.max(self.known())
    }
}

/// What the metadata takes; reckoned anew only when it has changed.
fn metadata_bytes(state: &State, metadata: &Metadata) -> u64 {
    let mut known = state.metadata_bytes.lock();
    if known.0 != metadata.version() {
        *known = (metadata.version(), reckoned(metadata));
    }
    known.1
}

fn reckoned(metadata: &Metadata) -> u64 {
    let mut bytes = 0;
    for vhost in metadata.vhosts() {
        let exchanges = vhost.exchanges();
        let names: usize = exchanges
            .map(|exchange| exchange.name.len() + ENTRY_BYTES)
            .sum();
        bytes += names + vhost.exchanges().count() * size_of::<Exchange>();
        bytes += vhost.bindings().count() * (size_of::<Binding>() + 2 * ENTRY_BYTES);
        let queues = vhost.queues();
        // Each is in a map of its vhost and in one of all.
        bytes += queues
            .map(|queue| size_of::<QueueRecord>() + queue.name.len() + 2 * ENTRY_BYTES)
            .sum::<usize>();
    }
    bytes as u64
}

/// As answers show it.
pub(crate) fn breakdown(call: &Call) -> Object {
    let breakdown = Breakdown::now(&call.state);
    let mut item = Object::default();
    for (name, bytes) in breakdown.parts() {
        item.push(name, bytes);
    }
    let figures = &breakdown.figures;
    item.append(object! {
        "strategy" => call.state.node.settings().memory_calculation.as_str(),
        "total" => object! {
            "erlang" => breakdown.known(),
            "rss" => breakdown.total(),
            "allocated" => figures.resident_bytes.saturating_sub(figures.of_files_bytes),
        },
    });
    item
}

pub(crate) async fn show(call: Call) -> Outcome {
    super::nodes::expect_node(&call)?;
    Ok(object! { "memory" => breakdown(&call) }.into())
}

/// The same in percent.
pub(crate) async fn relative(call: Call) -> Outcome {
    super::nodes::expect_node(&call)?;
    let breakdown = Breakdown::now(&call.state);
    let total = u128::from(breakdown.total().max(1));
    let mut shares = object! { "total" => 100_u64 };
    for (name, bytes) in breakdown.parts() {
        let share = (u128::from(bytes) * 100).div_ceil(total);
        shares.push(name, u64::try_from(share).unwrap_or(u64::MAX));
    }
    Ok(object! { "memory" => Json::from(shares) }.into())
}
