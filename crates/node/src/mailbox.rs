//! How threads reach a shard: one mailbox each, filled in batches.
//!
//! A sender appends a whole turn's worth of mail under one lock and wakes the shard only if the box was empty, so a busy
//! shard is never woken per message. The order of mail from one sender is kept.
//!
//! Limit: [`CONGESTED_BYTES`]. The box itself never refuses mail (replies and acks must always arrive); publishers are
//! stopped at the limit by their own shard, see `shard::Shard::congested`.

use base::{ConnectionId, Name, QueueId, ShardId};
use broker::command::{ChannelId, QueueCommand, Reply};
use broker::delay::Selector;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::Notify;

use crate::alarms::Alarms;
use crate::listener::Arrival;
use crate::query::Query;
use crate::shard::metadata::LargeChange;

/// Bytes of message content waiting in a mailbox above which other shards' publishers are stopped.
pub(crate) const CONGESTED_BYTES: usize = 8 << 20;

/// One thing for a shard.
#[derive(Debug)]
pub(crate) enum Mail {
    /// A client connected; the shard drives it from now on.
    Socket(Box<Arrival>),
    /// A command for a queue of this shard.
    Queue {
        queue: QueueId,
        command: QueueCommand,
    },
    /// An answer or a delivery for a connection of this shard.
    Reply {
        /// Who sends it: a delivery counts against that shard's window.
        from: ShardId,
        to: ChannelId,
        reply: Reply,
    },
    /// A connection of another shard has sent deliveries from this one: its window opens by that much.
    WindowCredit {
        connection: ConnectionId,
        bytes: usize,
    },
    /// A connection of another shard has ended.
    WindowGone { connection: ConnectionId },
    /// The queue was declared, and its time runs even if nobody uses it.
    QueueStart { queue: QueueId },
    /// The queue was deleted from the metadata.
    QueueDeleted { queue: QueueId },
    /// What applies to the queues of the vhost may be different now.
    PoliciesChanged { vhost: Name },
    /// The metadata says something else about connections. A batch of mail begins with a look at it, so there is nothing more to do.
    ConnectionsChanged,
    /// The target of these delayed messages was deleted.
    DelaysEnded(Selector),
    /// What a large change of this shard's does is known.
    ChangePrepared(Box<LargeChange>),
    /// Something from the log.
    Store(store::Event),
    /// A question about queues or connections of this shard.
    Query(Query),
    /// The node's alarms changed.
    Alarms(Alarms),
    /// Send this shard's memory figures to the accountant, and page out if told so.
    Account { evict: bool },
    /// Close all connections with this reason, finish what is in flight, and stop.
    Shutdown { reason: &'static str },
    /// Stop the thread now; everything is flushed.
    Stop,
}

impl Mail {
    /// Message content this mail holds on to.
    fn content_bytes(&self) -> usize {
        if let Self::Queue {
            command: QueueCommand::Publish { messages, .. },
            ..
        } = self
        {
            return messages.size_bytes();
        }
        if let Self::Queue {
            command: QueueCommand::Delay(request),
            ..
        } = self
        {
            return request.message.size_bytes();
        }
        0
    }
}

/// A shard's mailbox.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    mail: Mutex<Vec<Mail>>,
    content_bytes: AtomicUsize,
    wake: Notify,
}

impl Mailbox {
    /// Appends one piece of mail.
    pub(crate) fn send(&self, mail: Mail) {
        self.send_all(&mut vec![mail]);
    }

    /// Appends all mail and leaves the vector empty.
    pub(crate) fn send_all(&self, batch: &mut Vec<Mail>) {
        if batch.is_empty() {
            return;
        }
        let bytes: usize = batch.iter().map(Mail::content_bytes).sum();
        self.content_bytes.fetch_add(bytes, Ordering::Relaxed);
        let was_empty = {
            let mut mail = self.mail.lock();
            let was_empty = mail.is_empty();
            mail.append(batch);
            was_empty
        };
        if was_empty {
            self.wake.notify_one();
        }
    }

    /// Takes everything that waits; `into` must be empty and is swapped in as the new box.
    pub(crate) fn take(&self, into: &mut Vec<Mail>) {
        debug_assert!(into.is_empty());
        std::mem::swap(&mut *self.mail.lock(), into);
        self.content_bytes.store(0, Ordering::Relaxed);
    }

    /// Waits until there may be mail.
    pub(crate) async fn wait(&self) {
        self.wake.notified().await;
    }

    /// Whether senders should wait with what is not urgent.
    pub(crate) fn is_filling(&self) -> bool {
        self.content_bytes.load(Ordering::Relaxed) > CONGESTED_BYTES / 2
    }

    /// Whether senders should stop their publishers.
    pub(crate) fn is_congested(&self) -> bool {
        self.content_bytes.load(Ordering::Relaxed) > CONGESTED_BYTES
    }
}
