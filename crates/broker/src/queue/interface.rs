//! What a queue is made from, and what it needs of the shard that runs it.

use crate::message::SharedMessage;
use crate::queue_arguments::QueueArguments;
use base::{ConnectionId, Name, Position, QueueId, QueueRef};

/// What a queue is. It does not change while the queue lives.
#[derive(Clone, Debug)]
pub struct QueueSettings {
    /// Incarnation and owner.
    pub queue: QueueRef,
    /// The vhost, for error texts.
    pub vhost: Name,
    /// The name, for error texts.
    pub name: Name,
    /// Survives a restart; its persistent messages are written to the log.
    pub durable: bool,
    /// Goes when its last consumer leaves.
    pub auto_delete: bool,
    /// What its arguments ask for.
    pub arguments: QueueArguments,
}

/// What the store holds of a queue: what recovery found, or what is left of a machine that was dropped from RAM.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// Messages.
    pub messages: u64,
    /// Bytes of their bodies.
    pub bytes: u64,
    /// `bytes` is only nearly right: what the log keeps with the bodies counts as well.
    pub is_estimate: bool,
    /// None of them is below this position.
    pub first: Position,
    /// The next position to give out; higher than any that was.
    pub next: Position,
    /// Messages below were delivered before and go out marked redelivered.
    pub delivered_until: Position,
}

/// How much connections will take: a connection whose socket is slow must not be sent the whole backlog.
pub trait Windows {
    /// Takes `bytes` from the connection's window, if it is open at all; it may overshoot by one message or one run.
    /// False: closed, and the queue will hear [`Queue::handle_window_open`](super::Queue::handle_window_open).
    fn take(&mut self, connection: ConnectionId, queue: QueueId, bytes: usize) -> bool;
}

/// Where a queue's records go on their way to the log.
pub trait RecordSink {
    /// A message to keep. `transient`: only to save RAM, recovery drops it. `expires_at_ms`: wall clock, milliseconds.
    fn message(
        &mut self,
        queue: QueueId,
        position: Position,
        transient: bool,
        expires_at_ms: Option<u64>,
        message: &SharedMessage,
    );
    /// All messages in `from..until` are settled.
    fn settled(&mut self, queue: QueueId, from: Position, until: Position);
    /// Messages below `until` are marked redelivered after a restart.
    fn delivered_until(&mut self, queue: QueueId, until: Position);
}
