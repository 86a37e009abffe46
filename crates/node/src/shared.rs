//! What all threads of a node share: handles, never message state.

use crate::access::Access;
use crate::alarms::{Accountant, Watermarks};
use crate::desk::Desk;
use crate::doors::Doors;
use crate::events::EventBus;
use crate::mailbox::{Mail, Mailbox};
use crate::message_codec::StoredMessage;
use crate::metadata_leader::{BatchKind, MetadataLeader};
use crate::shard::metadata::LargeChange;
use base::{Name, Now, ShardId};
use broker::queue::Counters;
use broker::queue_arguments::QueueType;
use frontend_amqp091::counts::Traffic;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
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
    /// The listeners for clients.
    pub(crate) doors: Doors,
    /// The node is in maintenance: no client is to be here.
    pub(crate) is_draining: AtomicBool,
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

    /// Finds out on a thread of its own what a change does, and tells its shard.
    ///
    /// # Errors
    /// There is no thread to be had: the change, to be done at once.
    pub(crate) fn prepare_apart(
        self: &Arc<Self>,
        shard: ShardId,
        change: Box<LargeChange>,
    ) -> Result<(), Box<LargeChange>> {
        let (shared, slot) = (Arc::clone(self), Arc::new(Mutex::new(Some(change))));
        let its_slot = Arc::clone(&slot);
        let prepare = move || {
            let Some(mut change) = its_slot.lock().take() else {
                return;
            };
            let commands = std::slice::from_ref(&change.command);
            let prepared = shared.leader.prepare(commands, BatchKind::Requests);
            change.prepared = Some(prepared);
            shared.mailboxes[shard.index()].send(Mail::ChangePrepared(change));
        };
        let thread = std::thread::Builder::new().name("metadata-change".to_owned());
        match thread.spawn(prepare) {
            Ok(_) => Ok(()),
            Err(_) => Err(slot.lock().take().expect("no thread took it")),
        }
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
