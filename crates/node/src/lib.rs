//! A node: the threads, sockets and clocks around the broker's machines.
//!
//! This crate decides nothing about messages. It reads and writes sockets (`connection_driver`), hands requests to queues and
//! replies to connections (`shard`), gives batches to the log, keeps the metadata in order (`metadata_leader`) and watches memory
//! and disk (`alarms`).
//!
//! ```text
//! main thread   accepts, signals           ──Socket──┐
//! shard threads connections and queues  <──mailbox───┴──┐
//! wal, mover    (crate store)              ──Durable, Loaded
//! monitor       memory and disk alarms     ──Alarms
//! ```
//!
//! Suggested reading order: `boot`, `shard`, `connection_driver`, `shard_thread`, `mailbox`, `windows`.

mod alarms;
mod boot;
pub mod config;
mod connection_driver;
mod listener;
mod mailbox;
mod message_codec;
mod metadata_codec;
mod metadata_leader;
mod shard;
mod shard_thread;
mod shared;
mod windows;

pub use boot::{NodeError, run};
