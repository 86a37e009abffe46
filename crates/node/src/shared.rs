//! What all threads of a node share: handles, never message state.

use crate::access::Access;
use crate::alarms::{Accountant, Watermarks};
use crate::desk::Desk;
use crate::events::EventBus;
use crate::mailbox::{Mail, Mailbox};
use crate::message_codec::StoredMessage;
use crate::metadata_leader::MetadataLeader;
use base::{Name, Now};
use broker::queue::Counters;
use broker::queue_arguments::QueueType;
use frontend_amqp091::counts::Traffic;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use store::Handle;

/// What happened in queues that are gone, by type.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Retired {
    classic: Counters,
    quorum: Counters,
}

impl Retired {
    pub(crate) fn of(&mut self, queue_type: QueueType) -> &mut Counters {
        match queue_type {
            QueueType::Classic => &mut self.classic,
            QueueType::Quorum => &mut self.quorum,
        }
    }
}

/// Shared by the shards, the listeners and the monitors.
pub(crate) struct Shared {
    pub(crate) leader: MetadataLeader,
    pub(crate) events: Arc<EventBus>,
    pub(crate) log: Handle<StoredMessage>,
    /// One a shard, and the desk's behind them.
    pub(crate) mailboxes: Arc<[Mailbox]>,
    pub(crate) desk: Desk,
    /// Open connections of each shard, for choosing where the next one goes.
    pub(crate) connection_counts: Vec<AtomicUsize>,
    pub(crate) frontend: Arc<frontend_amqp091::Config>,
    /// What the connections of each shard count into.
    pub(crate) traffic: Vec<Arc<Traffic>>,
    /// What connections of the node to itself counted that have ended.
    pub(crate) direct_traffic: Mutex<Traffic>,
    /// Who knows users that the metadata does not know.
    pub(crate) access: Access,
    /// How long a consumer of a quorum queue may keep a message, unless the queue says otherwise.
    pub(crate) consumer_timeout_ms: u64,
    pub(crate) accountant: Accountant,
    pub(crate) watermarks: Mutex<Watermarks>,
    /// What happened in queues that are gone.
    pub(crate) retired: Mutex<Retired>,
    pub(crate) started: Instant,
    /// Gives memory that the calling thread has freed back to the operating system.
    pub(crate) release_memory: fn(),
}

impl Shared {
    /// The time for the machines.
    pub(crate) fn now(&self) -> Now {
        Now {
            monotonic: self.started.elapsed(),
            wall_ms: wall_ms(),
        }
    }

    /// How many shards there are.
    pub(crate) fn shard_count(&self) -> usize {
        self.connection_counts.len()
    }

    /// The mailboxes of the shards, without the desk's.
    pub(crate) fn shard_mailboxes(&self) -> &[Mailbox] {
        &self.mailboxes[..self.shard_count()]
    }

    /// Tells all shards that policies of a vhost changed.
    pub(crate) fn policies_changed(&self, vhost: &Name) {
        for mailbox in self.shard_mailboxes() {
            mailbox.send(Mail::PoliciesChanged {
                vhost: vhost.clone(),
            });
        }
    }

    /// Tells all shards that the metadata says something else about connections.
    pub(crate) fn connections_changed(&self) {
        for mailbox in self.shard_mailboxes() {
            mailbox.send(Mail::ConnectionsChanged);
        }
    }

    /// The shard with the fewest connections; of equals the first.
    pub(crate) fn least_loaded_shard(&self) -> usize {
        let counts = self.connection_counts.iter().enumerate();
        counts
            .min_by_key(|(_, count)| count.load(Ordering::Relaxed))
            .map_or(0, |(shard, _)| shard)
    }
}

/// Milliseconds since 1970.
pub(crate) fn wall_ms() -> u64 {
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
}
