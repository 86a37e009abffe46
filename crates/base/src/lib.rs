//! Identifiers and small types that every layer shares.
//!
//! No domain rule lives here and no I/O: a type is in this crate only because two crates that must not
//! know each other both need it.

mod id;
mod name;
mod time;
pub mod tls;

pub use id::{ChannelNumber, ConnectionId, ConsumerTagIndex, Position, QueueId, QueueRef, ShardId};
pub use name::Name;
pub use time::{Civil, Now};
