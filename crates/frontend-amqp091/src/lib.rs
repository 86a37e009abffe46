//! AMQP 0-9-1 connections: one pure state machine for each client.
//!
//! Bytes from the socket and replies from queues go in, bytes for the socket and requests for queues come out. The machine
//! does no I/O, has no clock and no source of randomness: the driver passes in what came, what time it is and a seed, then
//! drains what the machine wants. What messages, queues and permissions are is the `broker` crate's; how frames look is
//! the `codec-amqp091` crate's; here is what a client may ask, in which order, and what it hears when it is wrong.
//!
//! ```text
//!   input ---> Connection ---> output (OutBuffer)
//!   replies ->            ---> requests (Request)
//!   time ---->            ---> next deadline
//! ```
//!
//! Suggested reading order: [`connection`], `handshake`, `channel`, `content`, `publish`, `consume`, `settle`, `confirm`,
//! `tx`, `topology`, `reply_to`, `dead_letter`, [`delay`], `exception`.

pub mod arguments;
mod barrier;
mod channel;
mod config;
mod confirm;
pub mod connection;
mod consume;
mod content;
pub mod counts;
mod credit;
pub mod dead_letter;
pub mod delay;
mod events;
pub mod exception;
mod handshake;
mod heartbeat;
mod interceptor;
pub mod internal;
mod log;
mod message_parts;
mod out_buffer;
mod publish;
mod random;
mod reply_to;
mod request;
mod schema;
mod session;
mod settle;
mod sharding;
pub mod spans;
mod throttle;
mod topology;
mod trace;
mod tx;
mod unacked;

pub use config::{Alarms, Config, Peer};
pub use connection::{
    ChannelDetails, CloseReason, Connection, ConnectionDetails, ConnectionState, ConnectionSummary,
};
pub use exception::{Exception, Scope};
pub use interceptor::{Existing, Interceptors};
pub use message_parts::{UnaskedParts, headers};
pub use out_buffer::OutBuffer;
pub use request::{Request, return_late_reply};

/// Bytes of a connection, without its buffers and channels.
pub const CONNECTION_BYTES: usize = size_of::<Connection>();
/// Bytes of a channel, without what it holds.
pub const CHANNEL_BYTES: usize = size_of::<channel::Channel>();

#[cfg(test)]
mod tests;
