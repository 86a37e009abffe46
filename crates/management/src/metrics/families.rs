//! Which metrics there are, under RabbitMQ's names, and where each value comes from.
//!
//! A family is a list of metrics over rows of one sort: queues, channels, exchanges. What RabbitMQ tells about Erlang's virtual
//! machine has no counterpart and is left out.

use super::exposition::Kind::{self, Counter, Gauge, Untyped};
use super::exposition::Value;
use crate::statistics::deliveries;
use broker::admission::Churn;
use broker::queue::Counters;
use broker::queue_arguments::QueueType;
use broker::vhost::QueueRecord;
use node::{
    ChannelDetails, ConnectionDetails, DeliveryCounts, ProcessFigures, PublishCounts, QueueFigures,
    Resources,
};
use std::time::Duration;

/// A metric of rows of one sort.
pub(super) struct Metric<R> {
    /// Without the prefix of all.
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) help: &'static str,
    pub(super) value: fn(&R) -> Value,
}

macro_rules! metrics {
    ($row:ident: $type:ty; $($kind:ident $name:literal $help:literal => $value:expr;)*) => {
        &[$(Metric::<$type> {
            name: $name,
            kind: $kind,
            help: $help,
            value: |$row| Value::from($value),
        }),*]
    };
}

/// A queue at one moment, as far as metrics tell of it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct QueueRow {
    pub(super) queue_type: QueueType,
    durable: bool,
    ready: u64,
    ready_bytes: u64,
    unacked: u64,
    unacked_bytes: u64,
    ram_bytes: u64,
    consumers: u32,
    consumer_capacity: f64,
    published: u64,
    deliveries: DeliveryCounts,
}

impl QueueRow {
    /// A queue with these figures.
    pub(super) fn new(record: &QueueRecord, figures: &QueueFigures) -> Self {
        Self {
            durable: record.durable,
            ready: figures.ready,
            ready_bytes: figures.ready_bytes,
            unacked: figures.unacked,
            unacked_bytes: figures.unacked_bytes,
            ram_bytes: figures.ram_bytes,
            consumers: figures.consumers,
            consumer_capacity: figures.consumer_capacity,
            ..Self::gone(record.settings.queue_type, &figures.counters)
        }
    }

    /// What queues of a type did that are gone.
    pub(super) fn gone(queue_type: QueueType, counters: &Counters) -> Self {
        Self {
            queue_type,
            published: counters.published,
            deliveries: deliveries(counters),
            ..Self::default()
        }
    }

    fn messages(&self) -> u64 {
        self.ready + self.unacked
    }

    fn bytes(&self) -> u64 {
        self.ready_bytes + self.unacked_bytes
    }
}

/// `queue_coarse_metrics`
pub(super) static QUEUE_COARSE: &[Metric<QueueRow>] = metrics! { queue: QueueRow;
    Gauge "queue_messages_ready" "Messages that wait for a consumer." => queue.ready;
    Gauge "queue_messages_unacked" "Messages that consumers have and did not acknowledge." => queue.unacked;
    Gauge "queue_messages" "Messages that wait or are not acknowledged." => queue.messages();
};

/// `queue_consumer_count`
pub(super) static QUEUE_CONSUMERS: &[Metric<QueueRow>] = metrics! { queue: QueueRow;
    Gauge "queue_consumers" "Consumers." => u64::from(queue.consumers);
};

/// `queue_metrics`, without what `queue_consumer_count` has.
pub(super) static QUEUE: &[Metric<QueueRow>] = metrics! { queue: QueueRow;
    Gauge "queue_consumer_capacity" "Share of the time in which consumers would have taken more, 0 to 1." => queue.consumer_capacity;
    Gauge "queue_consumer_utilisation" "The same as queue_consumer_capacity." => queue.consumer_capacity;
    Gauge "queue_process_memory_bytes" "Bytes of memory that the queue uses." => queue.ram_bytes;
    Gauge "queue_messages_ram_bytes" "Bytes of messages in memory." => queue.ram_bytes;
    Gauge "queue_messages_persistent" "Messages of a durable queue." => if queue.durable { queue.messages() } else { 0 };
    Gauge "queue_messages_persistent_bytes" "Bytes of the messages of a durable queue." => if queue.durable { queue.bytes() } else { 0 };
    Gauge "queue_messages_bytes" "Bytes of messages that wait or are not acknowledged." => queue.bytes();
    Gauge "queue_messages_ready_bytes" "Bytes of messages that wait for a consumer." => queue.ready_bytes;
    Gauge "queue_messages_unacked_bytes" "Bytes of messages that are not acknowledged." => queue.unacked_bytes;
};

/// `queue_delivery_metrics`
pub(super) static QUEUE_DELIVERY: &[Metric<QueueRow>] = metrics! { queue: QueueRow;
    Counter "queue_get_ack_total" "Messages fetched with basic.get, to be acknowledged." => queue.deliveries.got;
    Counter "queue_get_total" "Messages fetched with basic.get, not to be acknowledged." => queue.deliveries.got_no_ack;
    Counter "queue_messages_delivered_ack_total" "Messages sent to consumers that acknowledge." => queue.deliveries.delivered;
    Counter "queue_messages_delivered_total" "Messages sent to consumers that do not acknowledge." => queue.deliveries.delivered_no_ack;
    Counter "queue_messages_redelivered_total" "Messages sent or fetched again." => queue.deliveries.redelivered;
    Counter "queue_messages_acked_total" "Messages that were acknowledged." => queue.deliveries.acked;
    Counter "queue_get_empty_total" "Calls of basic.get that found nothing." => queue.deliveries.got_nothing;
};

/// What queues took, which is of no family.
pub(super) static QUEUE_PUBLISHED: &[Metric<QueueRow>] = metrics! { queue: QueueRow;
    Counter "queue_messages_published_total" "Messages that entered a queue." => queue.published;
};

/// `channel_metrics`
pub(super) static CHANNEL: &[Metric<ChannelDetails>] = metrics! { channel: ChannelDetails;
    Gauge "channel_consumers" "Consumers of a channel." => channel.consumers as u64;
    Gauge "channel_messages_unacked" "Messages that a channel has and did not acknowledge." => channel.unacknowledged as u64;
    Gauge "channel_messages_unconfirmed" "Publishes of a channel that are not confirmed." => channel.unconfirmed as u64;
    Gauge "channel_messages_uncommitted" "Publishes of a transaction that is not committed." => channel.uncommitted as u64;
    Gauge "channel_acks_uncommitted" "Acknowledgements of a transaction that is not committed." => channel.uncommitted_acks as u64;
    Gauge "consumer_prefetch" "Unacknowledged messages that each new consumer may have; 0 for no limit." => u64::from(channel.prefetch_count);
    Gauge "channel_prefetch" "Unacknowledged messages that all consumers together may have; 0 for no limit." => u64::from(channel.global_prefetch_count);
};

/// `channel_exchange_metrics`
pub(super) static CHANNEL_EXCHANGE: &[Metric<PublishCounts>] = metrics! { counts: PublishCounts;
    Counter "channel_messages_published_total" "Messages that a channel published." => counts.published;
    Counter "channel_messages_confirmed_total" "Publishes of a channel that were confirmed." => counts.confirmed;
    Counter "channel_messages_unroutable_returned_total" "Messages that no queue took and that went back to the channel." => counts.returned;
    Counter "channel_messages_unroutable_dropped_total" "Messages of a channel that no queue took and nobody heard of." => counts.dropped;
};

/// `channel_queue_metrics`
pub(super) static CHANNEL_QUEUE: &[Metric<DeliveryCounts>] = metrics! { counts: DeliveryCounts;
    Counter "channel_get_ack_total" "Messages that a channel fetched, to be acknowledged." => counts.got;
    Counter "channel_get_total" "Messages that a channel fetched, not to be acknowledged." => counts.got_no_ack;
    Counter "channel_messages_delivered_ack_total" "Messages sent to consumers of a channel that acknowledge." => counts.delivered;
    Counter "channel_messages_delivered_total" "Messages sent to consumers of a channel that do not acknowledge." => counts.delivered_no_ack;
    Counter "channel_messages_redelivered_total" "Messages that a channel was sent again." => counts.redelivered;
    Counter "channel_messages_acked_total" "Messages that a channel acknowledged." => counts.acked;
    Counter "channel_get_empty_total" "Calls of basic.get of a channel that found nothing." => counts.got_nothing;
};

/// `connection_coarse_metrics`
pub(super) static CONNECTION_COARSE: &[Metric<ConnectionDetails>] = metrics! { connection: ConnectionDetails;
    Counter "connection_incoming_bytes_total" "Bytes that came from a client." => connection.received_bytes;
    Counter "connection_outgoing_bytes_total" "Bytes that went to a client." => connection.sent_bytes;
};

/// `connection_metrics`
pub(super) static CONNECTION: &[Metric<ConnectionDetails>] = metrics! { connection: ConnectionDetails;
    Gauge "connection_channels" "Open channels of a connection." => connection.channels as u64;
};

/// `exchange_metrics`
pub(super) static EXCHANGE: &[Metric<PublishCounts>] = metrics! { counts: PublishCounts;
    Counter "exchange_messages_published_total" "Messages published to an exchange." => counts.published;
    Counter "exchange_messages_confirmed_total" "Publishes to an exchange that were confirmed." => counts.confirmed;
    Counter "exchange_messages_unroutable_returned_total" "Messages of an exchange that no queue took and that went back." => counts.returned;
    Counter "exchange_messages_unroutable_dropped_total" "Messages of an exchange that no queue took and nobody heard of." => counts.dropped;
};

/// What came and went.
pub(super) struct ChurnRow {
    pub(super) churn: Churn,
    pub(super) queues_declared: u64,
    pub(super) queues_created: u64,
    pub(super) queues_deleted: u64,
}

/// `connection_churn_metrics`
pub(super) static CHURN: &[Metric<ChurnRow>] = metrics! { row: ChurnRow;
    Counter "connections_opened_total" "Connections that were opened." => row.churn.connections_opened;
    Counter "connections_closed_total" "Connections that ended." => row.churn.connections_closed;
    Counter "channels_opened_total" "Channels that were opened." => row.churn.channels_opened;
    Counter "channels_closed_total" "Channels that ended." => row.churn.channels_closed;
    Counter "queues_declared_total" "Queues that were declared, also those that were there." => row.queues_declared;
    Counter "queues_created_total" "Queues that were created." => row.queues_created;
    Counter "queues_deleted_total" "Queues that were deleted." => row.queues_deleted;
};

/// The process and its host.
pub(super) struct NodeRow {
    pub(super) process: ProcessFigures,
    pub(super) resources: Resources,
    pub(super) uptime: Duration,
}

/// `node_coarse_metrics`
pub(super) static NODE_COARSE: &[Metric<NodeRow>] = metrics! { node: NodeRow;
    Gauge "process_open_fds" "Open file descriptors." => node.process.open_files;
    Gauge "process_resident_memory_bytes" "Bytes of memory in use." => node.resources.memory_used_bytes;
    Gauge "disk_space_available_bytes" "Free bytes of the file system that has the data." => node.resources.disk_free_bytes;
};

/// `node_metrics`
pub(super) static NODE: &[Metric<NodeRow>] = metrics! { node: NodeRow;
    Gauge "process_max_fds" "File descriptors that may be open." => node.process.open_files_max;
    Gauge "resident_memory_limit_bytes" "Bytes of memory at which publishers are stopped." => node.resources.memory_limit_bytes;
    Gauge "disk_space_available_limit_bytes" "Free bytes below which publishers are stopped." => node.resources.disk_free_limit_bytes;
    // Compat: dashboards join other metrics to this one, by the name it has.
    Gauge "erlang_uptime_seconds" "Seconds since the node started." => node.uptime.as_secs_f64();
};

/// Alarms, 1 while they are on.
pub(super) static ALARMS: &[Metric<NodeRow>] = metrics! { node: NodeRow;
    Untyped "alarms_free_disk_space_watermark" "1 while the disk is too full." => u64::from(node.resources.disk_alarm);
    Untyped "alarms_memory_used_watermark" "1 while too much memory is used." => u64::from(node.resources.memory_alarm);
};

/// How many there are.
pub(super) struct ObjectsRow {
    pub(super) connections: u64,
    pub(super) channels: u64,
    pub(super) consumers: u64,
    pub(super) queues: u64,
}

/// Of no family: objects of the node.
pub(super) static OBJECTS: &[Metric<ObjectsRow>] = metrics! { row: ObjectsRow;
    Gauge "connections" "Open connections." => row.connections;
    Gauge "channels" "Open channels." => row.channels;
    Gauge "consumers" "Consumers." => row.consumers;
    Gauge "queues" "Queues." => row.queues;
};

/// What clients of one protocol did.
pub(super) struct ProtocolRow {
    pub(super) traffic: node::TrafficTotals,
    pub(super) publishers: u64,
    pub(super) consumers: u64,
}

/// `rabbitmq_global_*` by protocol.
pub(super) static PROTOCOL: &[Metric<ProtocolRow>] = metrics! { row: ProtocolRow;
    Gauge "global_consumers" "Consumers." => row.consumers;
    Counter "global_messages_confirmed_total" "Publishes that were confirmed." => row.traffic.confirmed;
    Counter "global_messages_received_confirm_total" "Messages published on channels in confirm mode." => row.traffic.received_confirm;
    Counter "global_messages_received_total" "Messages that were published." => row.traffic.received;
    Counter "global_messages_routed_total" "Messages times the queues they went to." => row.traffic.routed;
    Counter "global_messages_unroutable_dropped_total" "Messages that no queue took and nobody heard of." => row.traffic.dropped;
    Counter "global_messages_unroutable_returned_total" "Messages that no queue took and that went back." => row.traffic.returned;
    Gauge "global_publishers" "Channels that have published." => row.publishers;
};

/// `rabbitmq_global_*` by protocol and queue type.
pub(super) static PROTOCOL_AND_TYPE: &[Metric<DeliveryCounts>] = metrics! { counts: DeliveryCounts;
    Counter "global_messages_acknowledged_total" "Messages that were acknowledged." => counts.acked;
    Counter "global_messages_delivered_consume_auto_ack_total" "Messages sent to consumers that do not acknowledge." => counts.delivered_no_ack;
    Counter "global_messages_delivered_consume_manual_ack_total" "Messages sent to consumers that acknowledge." => counts.delivered;
    Counter "global_messages_delivered_get_auto_ack_total" "Messages fetched, not to be acknowledged." => counts.got_no_ack;
    Counter "global_messages_delivered_get_manual_ack_total" "Messages fetched, to be acknowledged." => counts.got;
    Counter "global_messages_delivered_total" "Messages sent to consumers or fetched." =>
        counts.delivered + counts.delivered_no_ack + counts.got + counts.got_no_ack;
    Counter "global_messages_get_empty_total" "Calls of basic.get that found nothing." => counts.got_nothing;
    Counter "global_messages_redelivered_total" "Messages sent or fetched again." => counts.redelivered;
};

/// What became of messages that left a queue otherwise.
pub(super) struct DeadLetterRow(pub(super) Counters);

/// `rabbitmq_global_messages_dead_lettered_*` by queue type.
pub(super) static DEAD_LETTERED: &[Metric<DeadLetterRow>] = metrics! { row: DeadLetterRow;
    Counter "global_messages_dead_lettered_expired_total" "Messages dropped or dead-lettered because their time ran out." => row.0.expired;
    Counter "global_messages_dead_lettered_maxlen_total" "Messages dropped or dead-lettered by a length limit." => row.0.max_length;
    Counter "global_messages_dead_lettered_rejected_total" "Messages dropped or dead-lettered because a consumer rejected them." => row.0.rejected;
    Counter "global_messages_dead_lettered_delivery_limit_total" "Messages dropped or dead-lettered because consumers failed with them too often." => row.0.delivery_limit;
};

/// Names of what memory is used for, by RabbitMQ's names of the parts.
pub(super) const MEMORY: [(&str, &str); 26] = [
    ("code", "memory_code_module_bytes"),
    (
        "connection_readers",
        "memory_client_connection_reader_bytes",
    ),
    (
        "connection_writers",
        "memory_client_connection_writer_bytes",
    ),
    (
        "connection_channels",
        "memory_client_connection_channel_bytes",
    ),
    ("connection_other", "memory_client_connection_other_bytes"),
    ("queue_procs", "memory_classic_queue_erlang_process_bytes"),
    (
        "quorum_queue_procs",
        "memory_quorum_queue_erlang_process_bytes",
    ),
    (
        "quorum_queue_dlx_procs",
        "memory_quorum_queue_dlx_erlang_process_bytes",
    ),
    ("stream_queue_procs", "memory_stream_erlang_process_bytes"),
    (
        "stream_queue_replica_reader_procs",
        "memory_stream_replica_reader_erlang_process_bytes",
    ),
    (
        "stream_queue_coordinator_procs",
        "memory_stream_coordinator_erlang_process_bytes",
    ),
    ("plugins", "memory_plugin_bytes"),
    ("metadata_store", "memory_modern_metadata_store_bytes"),
    ("other_proc", "memory_other_erlang_process_bytes"),
    ("metrics", "memory_metrics_bytes"),
    ("mgmt_db", "memory_management_stats_db_bytes"),
    ("mnesia", "memory_classic_metadata_store_bytes"),
    ("quorum_ets", "memory_quorum_queue_ets_table_bytes"),
    (
        "metadata_store_ets",
        "memory_modern_metadata_store_ets_table_bytes",
    ),
    ("other_ets", "memory_other_ets_table_bytes"),
    ("binary", "memory_binary_heap_bytes"),
    ("msg_index", "memory_message_index_bytes"),
    ("atom", "memory_atom_table_bytes"),
    ("other_system", "memory_other_system_bytes"),
    ("allocated_unused", "memory_runtime_allocated_unused_bytes"),
    (
        "reserved_unallocated",
        "memory_runtime_reserved_unallocated_bytes",
    ),
];
