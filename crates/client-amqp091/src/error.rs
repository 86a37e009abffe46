//! What can go wrong on a connection to a broker.

use std::io;
use std::time::Duration;

use codec_amqp091::{DecodeError, FrameError};

/// Ends the connection, except [`ChannelClosed`](Self::ChannelClosed) and
/// [`MethodTooLarge`](Self::MethodTooLarge), after which the connection goes on.
///
/// What lies below an error is its source and not part of its own text; print the whole chain.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The socket failed, or the broker ended the connection without saying why.
    #[error("{during} failed")]
    Io {
        /// What was being done.
        during: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// The broker ended the TCP connection without `connection.close`. During the handshake this is how many brokers
    /// say that they do not like the client.
    #[error("broker closed the socket during {during}")]
    SocketClosed {
        /// What was being done.
        during: &'static str,
    },
    /// The broker does not speak AMQP 0-9-1: it answered the protocol header with its own.
    #[error("broker does not speak AMQP 0-9-1, it offered {offered:?}")]
    ProtocolVersion {
        /// The header it sent, as it came.
        offered: [u8; 8],
    },
    /// The broker offers no SASL mechanism that this client has.
    #[error("broker does not offer SASL mechanism PLAIN but {offered:?}")]
    NoMechanism {
        /// What it offers.
        offered: String,
    },
    /// What the broker sent is not a frame.
    #[error("broken frame from broker")]
    Frame(#[from] FrameError),
    /// A payload cannot be read.
    #[error("unreadable method or header from broker")]
    Decode(#[from] DecodeError),
    /// A frame came where the protocol does not allow it.
    #[error("unexpected frame from broker on channel {channel}: {found}")]
    UnexpectedFrame {
        /// Its channel.
        channel: u16,
        /// What it was.
        found: &'static str,
    },
    /// A message, or all half-received messages together, grew beyond the limit.
    #[error("content from broker exceeds the limit of {limit_bytes} bytes")]
    ContentTooLarge {
        /// [`ConnectOptions::content_bytes_max`](crate::ConnectOptions::content_bytes_max).
        limit_bytes: usize,
    },
    /// Too much came in while a reply was awaited.
    #[error("broker sent more than {limit_bytes} bytes before replying")]
    ReplyTooLate {
        /// The limit.
        limit_bytes: usize,
    },
    /// The broker closed the channel.
    #[error("channel {channel} closed by broker: {reply_code} {reply_text}")]
    ChannelClosed {
        /// Number of the channel; it may be opened again.
        channel: u16,
        /// Spec: reply codes.
        reply_code: u16,
        /// The broker's words.
        reply_text: String,
    },
    /// The broker closed the connection.
    #[error("connection closed by broker: {reply_code} {reply_text}")]
    ConnectionClosed {
        /// Spec: reply codes.
        reply_code: u16,
        /// The broker's words.
        reply_text: String,
    },
    /// Nothing came for two heartbeat intervals.
    #[error("no sign of life from broker for {silence:?}")]
    HeartbeatMissed {
        /// How long.
        silence: Duration,
    },
    /// The handshake, or a reply, took too long.
    #[error("broker did not answer {during} within {limit:?}")]
    Timeout {
        /// What was being done.
        during: &'static str,
        /// [`ConnectOptions::reply_timeout`](crate::ConnectOptions::reply_timeout).
        limit: Duration,
    },
    /// Arguments make a method larger than the negotiated `frame_max`; it was not sent.
    #[error("method of {size} bytes does not fit a frame of {frame_max}")]
    MethodTooLarge {
        /// Size of its frame in bytes.
        size: usize,
        /// The negotiated limit in bytes.
        frame_max: u32,
    },
}

impl Error {
    pub(crate) fn io(during: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { during, source }
    }
}
