//! The broker core: what exchanges, queues, bindings, users and permissions are and do.
//!
//! Everything here is a synchronous state machine. It knows no protocol and does no I/O: time, randomness and
//! everything foreign come in as arguments, what should happen outside goes out as [`effect::Effect`]s.
//!
//! Suggested reading order: [`message`], [`command`], [`effect`], [`queue`], [`metadata`], [`router`].
//!
//! Three words are kept apart: a *command* asks the core for something, an *effect* asks the runtime for something,
//! a *reply* answers a command and always travels asynchronously, since the queue may live on another shard.

pub mod admission;
pub mod auth;
pub mod binding;
pub mod browse;
pub mod command;
pub mod death;
pub mod delay;
pub mod delayed_retry;
pub mod effect;
pub mod error;
pub mod event;
pub mod exchange;
pub mod json;
pub mod limits;
pub mod message;
pub mod messages;
pub mod metadata;
pub mod policy;
pub mod queue;
pub mod queue_arguments;
pub mod router;
pub mod schema;
pub mod sharding;
pub mod throttle;
pub mod value;
pub mod vhost;
pub mod vhost_metadata;

mod persistent;
mod ranked_tree;
mod reached;
mod selector;
mod topic_trie;

pub use error::Error;
