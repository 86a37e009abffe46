//! Names of all that is sampled, in the order in which samples hold it.
//!
//! Figures of queues, vhosts and the node begin alike: with lengths, and what happened to messages behind them.

/// Messages that are somewhere: no counters.
const LENGTH_KEYS: [&str; 3] = ["messages", "messages_ready", "messages_unacknowledged"];
/// How many keys are lengths, from the front, where there are any.
pub(super) const LENGTHS: usize = LENGTH_KEYS.len();

/// What is sampled of queues.
pub(super) const QUEUE_KEYS: [&str; LENGTHS + 9] = joined(&[
    &LENGTH_KEYS,
    &[
        "publish",
        "deliver",
        "deliver_no_ack",
        "get",
        "get_no_ack",
        "deliver_get",
        "redeliver",
        "ack",
        "get_empty",
    ],
]);

/// What is sampled of channels.
pub(super) const CHANNEL_KEYS: [&str; 12] = [
    "publish",
    "confirm",
    "return_unroutable",
    "drop_unroutable",
    "deliver",
    "deliver_no_ack",
    "get",
    "get_no_ack",
    "get_empty",
    "redeliver",
    "ack",
    "deliver_get",
];
/// How many of them, from the front, are of publishes.
pub(super) const PUBLISH_KEYS: usize = 4;

/// What is sampled of an exchange and a queue.
pub(super) const LEG_KEYS: [&str; 1] = ["publish"];

/// What is sampled of exchanges.
pub(super) const EXCHANGE_KEYS: [&str; 2] = ["publish_in", "publish_out"];

/// What is sampled of connections.
pub(super) const CONNECTION_KEYS: [&str; 2] = ["recv_oct", "send_oct"];

/// How many keys of vhosts and of the node, from the front, are lengths or tell what clients did to messages.
pub(super) const OF_CLIENTS: usize = LENGTHS + CHANNEL_KEYS.len();

/// What is sampled of vhosts.
pub(super) const VHOST_KEYS: [&str; OF_CLIENTS + CONNECTION_KEYS.len()] =
    joined(&[&LENGTH_KEYS, &CHANNEL_KEYS, &CONNECTION_KEYS]);

/// What the log did with messages.
const LOG_KEYS: [&str; 2] = ["disk_reads", "disk_writes"];
/// What came and went.
const CHURN_KEYS: [&str; 7] = [
    "connection_created",
    "connection_closed",
    "channel_created",
    "channel_closed",
    "queue_declared",
    "queue_created",
    "queue_deleted",
];
/// What is sampled of the node.
pub(super) const NODE_KEYS: [&str; OF_MESSAGES + CHURN_KEYS.len()] =
    joined(&[&LENGTH_KEYS, &CHANNEL_KEYS, &LOG_KEYS, &CHURN_KEYS]);
/// How many of the node's, from the front, are lengths or tell of messages.
pub(super) const OF_MESSAGES: usize = OF_CLIENTS + LOG_KEYS.len();

/// What a node has; the last are not counted here, and clients look for the keys.
pub(super) const MEASURED_KEYS: [&str; 8] = [
    "mem_used",
    "fd_used",
    "sockets_used",
    "proc_used",
    "disk_free",
    "context_switches",
    "gc_num",
    "gc_bytes_reclaimed",
];

/// The names of all parts, one behind the other.
const fn joined<const COUNT: usize>(parts: &[&[&'static str]]) -> [&'static str; COUNT] {
    let mut all = [""; COUNT];
    let (mut part, mut place) = (0, 0);
    while part < parts.len() {
        let mut index = 0;
        while index < parts[part].len() {
            all[place] = parts[part][index];
            place += 1;
            index += 1;
        }
        part += 1;
    }
    assert!(place == COUNT, "a list of names has another length");
    all
}
