//! A small, fast AMQP 0-9-1 client for our own programs: the load generator, shovels, federation links and tests.
//!
//! One owner drives one [`Connection`]; there are no background tasks and no mailboxes, so a message costs no more
//! than its encoding and its share of a system call:
//!
//! ```text
//!              try_read            poll_event
//!   socket ──────────────▶ Incoming ─────────▶ Event (borrowed from the read buffer)
//!          ◀────────────── Outgoing ◀───────── publish, ack, methods (only appended to the write buffer)
//!              try_write
//! ```
//!
//! [`Incoming`] and [`Outgoing`] are synchronous and know no socket; [`Connection`] moves bytes between them and a
//! tokio TCP stream and adds the calls that await a reply. It deliberately does not reconnect, does not speak TLS and
//! does not remember topology: whoever needs that builds it on top.
//!
//! A broker is not trusted: every buffer has a limit, no length it sends is allocated before the bytes are there,
//! and whatever it sends wrong is an [`Error`].

mod connection;
mod error;
mod handshake;
mod incoming;
mod outgoing;
mod uri;

pub use codec_amqp091 as codec;
pub use connection::{ConnectOptions, Connection, ConsumeOptions, QueueDeclared, QueueOptions};
pub use error::Error;
pub use incoming::{Delivery, Event, Incoming, Message, Returned};
pub use outgoing::{Outgoing, PreparedPublish};
pub use uri::{AmqpUri, UriError};
