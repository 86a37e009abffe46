//! A node: the threads, sockets and clocks around the broker's machines.
//!
//! This crate decides nothing about messages. It reads and writes sockets (`connection_driver`), hands requests to queues and
//! replies to connections (`shard`), gives batches to the log, keeps the metadata in order (`metadata_leader`) and watches memory
//! and disk (`alarms`).
//!
//! ```text
//! main thread   accepts, signals, the desk ──Socket──┐
//! shard threads connections and queues  <──mailbox───┴──┐
//! wal, mover    (crate store)              ──Durable, Loaded
//! monitor       memory and disk alarms     ──Alarms
//! ```
//!
//! What is not the message path (management) comes in by a [`Handle`], over the `desk`, and is told in `query`s.
//!
//! Suggested reading order: `boot`, `shard`, `connection_driver`, `shard_thread`, `mailbox`, `windows`, `desk`.

mod access;
mod alarms;
mod boot;
mod browsing;
mod change_log;
mod check;
pub use config;
mod connection_driver;
mod definitions;
mod desk;
mod direct;
mod doors;
mod edge;
mod erase;
mod events;
mod file_reserve;
mod handle;
mod lifecycle;
mod listener;
mod log_control;
mod mailbox;
mod message_codec;
mod metadata_codec;
mod metadata_leader;
mod notify;
mod opentelemetry;
mod process;
mod query;
mod queue_log;
mod replay;
mod service;
mod shard;
mod shard_thread;
mod shared;
mod tls_stream;
mod trust_store;
mod windows;

pub use self::definitions::ImportError;
pub use alarms::Watermarks;
pub use boot::{NodeError, RABBITMQ_VERSION, run};
pub use broker::admission::InUse;
pub use browsing::{
    Acted, Action, BATCH_MESSAGES_MAX, EXAMINED_MAX, PAGE_BYTES_MAX, PAGE_MESSAGES_MAX, Page,
    Route, Selection,
};
pub use check::{check, tls};
pub use direct::DirectConnection;
pub use erase::erase_data;
pub use file_reserve::{FileReserve, FileUser, NO_FILES_FOR_CLIENTS};
pub use frontend_amqp091::counts::{
    DeliveryCounts, Distribution, Leg, PublishCounts, SIZE_BOUNDS, TIME_BOUNDS_US, TrafficTotals,
};
pub use frontend_amqp091::{
    CHANNEL_BYTES, CONNECTION_BYTES, ChannelDetails, ConnectionDetails, ConnectionState,
    ConnectionSummary,
};
pub use handle::{DeleteConditions, Handle, Listeners, LogMessages, MemoryFigures, Resources};
pub use lifecycle::{Lifecycle, Phase};
pub use listener::{Entered, EnteredStream, Entrance};
pub use log_control::{LogControl, install_log_control, log_control};
pub use metadata_leader::{BatchError, BatchKind};
pub use process::{ProcessFigures, ThreadFigures};
pub use query::{
    ByteCounts, ConnectionFigures, ConsumerFigures, DelayedCount, QueueChanges, QueueFigures,
    RareFigures, SLICE,
};
pub use queue_log::ChangedQueues;
pub use service::{Service, StartServices};
