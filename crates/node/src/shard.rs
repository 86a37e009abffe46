//! One shard: the connections and queues of one thread, and the turn that moves messages between them.
//!
//! Work is done in turns. A turn takes what came in (bytes of one connection, mail, a timer), hands requests to queues and
//! replies to connections until nothing is left to do, and then [`Shard::finish_turn`] gives the log its batch and other
//! shards their mail. The driver then writes the out-buffers of the connections that have something to send. So a message costs
//! no wake-up, no lock and no system call of its own.
//!
//! ```text
//! bytes ─> Connection ─ Request ─> Queue ─ Effect ─> Connection ─> out-buffer
//!                          │ other shard: mail          │ other shard: mail
//!                          └──> MetadataLeader           └──> log (RecordsWaiting, Load), timers (Wake)
//! ```
//!
//! No socket, clock or thread is touched here: the driver passes in bytes and time, so a simulator can run this very code.
//!
//! Log batches: a shard has at most one batch of messages under way. What comes meanwhile waits in the queues' own memory and goes
//! with the next batch; what is acknowledged meanwhile never goes at all. Without anybody waiting for a confirm a batch leaves
//! after [`COLLECT_DELAY`].

mod arrivals;
mod changes;
mod delay;
mod histories;
mod log;
pub(crate) mod metadata;
mod policies;
mod query;

use crate::alarms::Alarms;
use crate::mailbox::{Mail, Mailbox};
use crate::message_codec::{NameCache, StoredMessage};
use crate::query::ByteCounts;
use crate::shared::Shared;
use crate::windows::WindowTable;
use arrivals::{Arrivals, is_dead_letter_address};
use base::{ConnectionId, Name, Now, Position, QueueId, QueueRef, ShardId};
use broker::Error;
use broker::command::{ChannelId, MESSAGE_COST_BYTES, QueueCommand, Reply};
use broker::effect::{Effect, Effects};
use broker::error::ResourceKind;
use broker::exchange::is_history;
use broker::message::SharedMessage;
use broker::metadata::Metadata;
use broker::queue::{
    Queue, QueueSettings, READY_RAM_BYTES_MAX, READY_RAM_BYTES_MIN, Stored, attempts_of, ids_of,
    owner_of_attempts, owner_of_replay, replay_of,
};
use broker::queue_arguments::QueueType;
use broker::router::{self, Targets};
use broker::vhost::QueueRecord;
use bytes::BytesMut;
use delay::Delays;
use frontend_amqp091::dead_letter::{self, DeadLetter};
use frontend_amqp091::{CloseReason, Connection, Peer, Request, UnaskedParts, return_late_reply};
use hashbrown::HashMap;
use histories::UnreadHistories;
use slab::Slab;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;
use store::{LoadRequest, MetadataIndex, Record};

/// How long settles and unconfirmed persistent messages wait for a log batch, at most. RabbitMQ waits 200 ms.
pub(crate) const COLLECT_DELAY: Duration = Duration::from_millis(5);

/// Bytes on their way to the disk above which a shard stops its publishers: what the log has not written yet, and what waits
/// in queues for the next batch.
pub(crate) const LOG_CONGESTED_BYTES: u64 = 64 << 20;

/// Dead letters that may wait for a shard's next batch. It is small, so that a million that expire at once leave the log and the
/// mailboxes to others.
const DEAD_LETTERS_WAITING_BYTES: usize = 4 << 20;

/// Bytes on their way to the disk above which the dead letters of one turn are all that a batch gets.
const DEAD_LETTERS_LOG_BYTES: u64 = 8 << 20;

/// Input that is handled before its messages are carried through the queues: what lies between stays in the processor's cache.
const INPUT_STEP_BYTES: usize = 16 << 10;

type FastMap<K, V> = HashMap<K, V, foldhash::fast::FixedState>;

/// What waits for a log ticket.
#[derive(Debug)]
enum Waiting {
    /// Metadata commands up to this one.
    Metadata(MetadataIndex),
    /// An answer to a metadata command.
    Reply { to: ChannelId, reply: Reply },
    /// Queues with messages or settles in the batch.
    Queues(Vec<QueueId>),
}

struct ConnectionSlot {
    id: ConnectionId,
    machine: Connection,
    /// Already in `active`: may have requests.
    active: bool,
    /// Already in `dirty`: may have output, a new deadline or a new wish to read.
    dirty: bool,
    /// Bytes that other shards sent here and that are not yet given back as credit.
    remote_bytes: Vec<usize>,
}

/// Memory figures of a shard, by class.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ShardMemory {
    /// Out-buffers, half-received messages and stashes of connections.
    pub(crate) connection_bytes: usize,
    /// Messages that queues hold in RAM.
    pub(crate) queue_bytes: usize,
    /// The part of it that is in quorum queues.
    pub(crate) quorum_queue_bytes: usize,
}

/// The state of one shard.
pub(crate) struct Shard {
    id: ShardId,
    shared: Arc<Shared>,
    /// That of the node, with what this shard counts.
    frontend: Arc<frontend_amqp091::Config>,
    metadata: Arc<Metadata>,
    connections: Slab<ConnectionSlot>,
    opened: u64,
    /// Bytes of connections that have ended, by vhost.
    ended: HashMap<Name, ByteCounts>,
    queues: FastMap<QueueId, Queue>,
    /// What recovery found for queues whose machine does not run yet.
    stored: FastMap<QueueId, Stored>,
    /// Messages that wait until they are due.
    delays: Delays,
    unread_histories: UnreadHistories,
    windows: WindowTable,
    effects: Effects,
    /// Effects being executed; kept for its capacity.
    executing: Vec<Effect>,
    active: Vec<usize>,
    dirty: Vec<ConnectionId>,
    outgoing: Vec<Vec<Mail>>,
    /// Queues that were touched in this turn and may hold coalesced effects.
    touched: Vec<QueueId>,
    records_waiting: Vec<QueueId>,
    records_urgent: bool,
    collect_at: Option<Duration>,
    batch_under_way: bool,
    dropped_queues: Vec<QueueId>,
    outdated: policies::Outdated,
    leaving: metadata::Leaving,
    large_changes: metadata::LargeChanges,
    /// Settlements of stored messages that turned out to be unreadable.
    lost: Vec<Record<StoredMessage>>,
    ticket: u64,
    waiting: VecDeque<(u64, Waiting)>,
    wakes: BinaryHeap<Reverse<(Duration, QueueId)>>,
    names: NameCache,
    /// Where a dead letter goes; kept for its capacity.
    targets: Targets,
    arrivals: Arrivals,
    /// Seeds the choice of exchanges that choose by chance among the targets of a dead letter.
    random: u64,
    alarms: Alarms,
    congested: bool,
    /// Dead letters that were published since the log last got a batch.
    dead_letter_bytes: usize,
    memory_short: bool,
    shutting_down: bool,
    storage_failed: bool,
    /// Whether somebody listens to events, and the version of what connections remember.
    observers: (bool, u64),
    changes: changes::Changes,
}

impl Shard {
    pub(crate) fn new(
        id: ShardId,
        shared: Arc<Shared>,
        stored: Vec<(QueueId, Stored)>,
        histories_read: Sender<()>,
    ) -> Self {
        let shards = shared.shard_count();
        let mailboxes = shared.mailboxes.len();
        let metadata = shared.leader.snapshot();
        let (delayed, stored): (Vec<_>, Vec<_>) = stored
            .into_iter()
            .partition(|(id, _)| broker::delay::store_number(*id).is_some());
        let mut frontend = (*shared.frontend).clone();
        if let Some(traffic) = shared.traffic.get(id.index()) {
            frontend.traffic = Arc::clone(traffic);
        }
        let (histories, stored): (Vec<_>, Vec<_>) =
            stored.into_iter().partition(|(id, _)| is_history(*id));
        let mut shard = Self {
            id,
            frontend: Arc::new(frontend),
            metadata,
            connections: Slab::new(),
            opened: 0,
            ended: HashMap::default(),
            queues: FastMap::default(),
            stored: stored.into_iter().collect(),
            delays: Delays::default(),
            unread_histories: UnreadHistories::default(),
            windows: WindowTable::new(id, u16::try_from(shards).unwrap_or(u16::MAX)),
            effects: Effects::default(),
            executing: Vec::new(),
            active: Vec::new(),
            dirty: Vec::new(),
            outgoing: (0..mailboxes).map(|_| Vec::new()).collect(),
            touched: Vec::new(),
            records_waiting: Vec::new(),
            records_urgent: false,
            collect_at: None,
            batch_under_way: false,
            dropped_queues: Vec::new(),
            outdated: policies::Outdated::default(),
            leaving: metadata::Leaving::default(),
            large_changes: metadata::LargeChanges::default(),
            lost: Vec::new(),
            ticket: 0,
            waiting: VecDeque::new(),
            wakes: BinaryHeap::new(),
            names: NameCache::default(),
            targets: Targets::new(),
            arrivals: Arrivals::default(),
            random: u64::from(id.0) << 48,
            alarms: Alarms::default(),
            congested: false,
            dead_letter_bytes: 0,
            memory_short: false,
            shutting_down: false,
            storage_failed: false,
            observers: (false, 0),
            changes: changes::Changes::default(),
            shared,
        };
        shard.refresh_observers();
        shard.start_expiring_queues();
        shard.start_keeping_queues();
        shard.start_delays(delayed);
        shard.read_histories(histories, histories_read);
        shard
    }

    /// Queues that do something without being asked run from the start; all others wait for their first command.
    fn start_expiring_queues(&mut self) {
        let expiring = |record: &&Arc<QueueRecord>| {
            record.queue.shard == self.id
                && self.has_clock(record, &self.metadata.queue_settings(record))
        };
        let queues: Vec<_> = self
            .metadata
            .queues()
            .filter(expiring)
            .map(|record| record.queue.id)
            .collect();
        for queue in queues {
            self.start_queue(queue);
        }
    }

    /// Only a queue itself can tell what it keeps for replays, or tries again later, from what waits, so it is asked before anybody
    /// counts its messages.
    fn start_keeping_queues(&mut self) {
        let keeps = |id| owner_of_replay(id).or_else(|| owner_of_attempts(id));
        let notes = self.stored.keys().copied().filter_map(keeps);
        for queue in notes.collect::<Vec<_>>() {
            self.start_clock(queue);
        }
    }

    // ── getters ──

    /// Number of connections, open or closing.
    pub(crate) fn connection_count(&self) -> usize {
        self.connections.len()
    }

    /// The machine of a connection, for its driver.
    pub(crate) fn connection(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        let slot = self.connections.get_mut(slot_index(id))?;
        (slot.id == id).then_some(&mut slot.machine)
    }

    /// Whether everything that must reach the log has reached it.
    pub(crate) fn is_flushed(&self) -> bool {
        self.storage_failed
            || (self.waiting.is_empty()
                && self.records_waiting.is_empty()
                && self.dropped_queues.is_empty())
    }

    /// Memory held, by class.
    pub(crate) fn memory(&mut self) -> ShardMemory {
        let connection_bytes = self
            .connections
            .iter_mut()
            .map(|(_, slot)| slot.machine.buffered_bytes())
            .sum();
        let (mut queue_bytes, mut quorum_queue_bytes) = (self.delays.ram_bytes(), 0);
        for queue in self.queues.values() {
            let bytes = queue.ram_bytes();
            queue_bytes += bytes;
            if queue.settings().arguments.queue_type == QueueType::Quorum {
                quorum_queue_bytes += bytes;
            }
        }
        ShardMemory {
            connection_bytes,
            queue_bytes,
            quorum_queue_bytes,
        }
    }

    // ── what came from outside ──

    /// A client connected.
    pub(crate) fn handle_connect(&mut self, now: Now, peer: Peer, seed: u64) -> ConnectionId {
        self.refresh_metadata();
        self.opened += 1;
        let entry = self.connections.vacant_entry();
        // The low half finds the slot, the high half makes the serial unique.
        let serial = (self.opened << 32) | (entry.key() as u64 & 0xffff_ffff);
        let id = ConnectionId {
            shard: self.id,
            serial,
        };
        let mut machine = Connection::new(id, peer, Arc::clone(&self.frontend), now, seed);
        machine.handle_alarms(now, &self.metadata, self.alarms.into());
        machine.handle_observers(&self.metadata, self.observers.0);
        let remote_bytes = vec![0; self.outgoing.len()];
        entry.insert(ConnectionSlot {
            id,
            machine,
            active: false,
            dirty: false,
            remote_bytes,
        });
        self.touch(slot_index(id));
        id
    }

    /// Bytes came from a client.
    pub(crate) fn handle_input(&mut self, now: Now, id: ConnectionId, input: &mut BytesMut) {
        while input.len() > INPUT_STEP_BYTES {
            let mut step = input.split_to(INPUT_STEP_BYTES);
            self.handle_step(now, id, &mut step);
            let is_stuck = step.len() == INPUT_STEP_BYTES;
            // Both are parts of one buffer, so nothing is copied.
            step.unsplit(std::mem::take(input));
            *input = step;
            if self.holds_input(id) {
                return;
            }
            if is_stuck {
                break;
            }
        }
        self.handle_step(now, id, input);
    }

    /// Whether the connection left input that it could have handled.
    fn holds_input(&mut self, id: ConnectionId) -> bool {
        let machine = self.connection(id);
        machine.is_some_and(|machine| machine.holds_input())
    }

    fn handle_step(&mut self, now: Now, id: ConnectionId, input: &mut BytesMut) {
        self.refresh_metadata();
        let metadata = Arc::clone(&self.metadata);
        let Some(machine) = self.connection(id) else {
            return;
        };
        machine.handle_input(now, &metadata, input);
        self.touch(slot_index(id));
        self.run(now);
    }

    /// A client's socket is gone.
    pub(crate) fn handle_eof(&mut self, now: Now, id: ConnectionId) {
        let Some(machine) = self.connection(id) else {
            return;
        };
        machine.handle_eof(now);
        self.touch(slot_index(id));
        self.run(now);
    }

    /// A connection's deadline has come.
    pub(crate) fn handle_connection_timeout(&mut self, now: Now, id: ConnectionId) {
        self.refresh_metadata();
        let metadata = Arc::clone(&self.metadata);
        let Some(machine) = self.connection(id) else {
            return;
        };
        machine.handle_timeout(now, &metadata);
        self.touch(slot_index(id));
        self.run(now);
    }

    /// The socket took what it could; `left` bytes are still in the out-buffer.
    pub(crate) fn handle_sent(&mut self, now: Now, id: ConnectionId, left: usize) {
        let Some(slot) = self.connections.get_mut(slot_index(id)) else {
            return;
        };
        if left <= crate::windows::LOCAL_BYTES / 2 {
            for (shard, bytes) in slot
                .remote_bytes
                .iter_mut()
                .enumerate()
                .filter(|(_, bytes)| **bytes > 0)
            {
                self.outgoing[shard].push(Mail::WindowCredit {
                    connection: id,
                    bytes: std::mem::take(bytes),
                });
            }
        }
        let queues = self.windows.set_in_flight(id, left);
        self.window_opened(now, id, queues);
    }

    /// Forgets a connection that has finished.
    pub(crate) fn remove_connection(&mut self, id: ConnectionId) {
        if self
            .connections
            .get(slot_index(id))
            .is_some_and(|slot| slot.id == id)
        {
            let mut slot = self.connections.remove(slot_index(id));
            self.count_ended(&slot.machine);
            slot.machine.handle_removed();
            while let Some(request) = slot.machine.poll_request() {
                if let Request::Event(event) = request {
                    self.shared.events.publish(&self.metadata, &event);
                }
            }
        }
        self.windows.remove(id);
        let shards = self.shared.shard_count();
        for (shard, outgoing) in self.outgoing[..shards].iter_mut().enumerate() {
            if shard != self.id.index() {
                outgoing.push(Mail::WindowGone { connection: id });
            }
        }
    }

    /// Mail from another thread. `Socket`, `Account`, `Stop` are the driver's.
    pub(crate) fn handle_mail(&mut self, now: Now, mail: Mail) {
        match mail {
            Mail::Queue { queue, command } => self.apply(now, queue, command),
            Mail::Reply { from, to, reply } => self.reply(now, to, reply, Some(from)),
            Mail::WindowCredit { connection, bytes } => {
                let queues = self.windows.credit(connection, bytes);
                self.window_opened(now, connection, queues);
            }
            Mail::WindowGone { connection } => self.windows.remove(connection),
            Mail::QueueStart { queue } => self.start_clock(queue),
            Mail::QueueDeleted { queue } => self.queue_deleted(now, queue),
            Mail::PoliciesChanged { vhost } => self.policies_changed(now, vhost),
            Mail::DelaysEnded(selector) => drop(self.cancel_delayed(now, &selector)),
            Mail::ChangePrepared(change) => self.change_prepared(now, *change),
            Mail::Query(query) => self.handle_query(now, query),
            Mail::Store(event) => self.handle_store(now, event),
            Mail::Alarms(alarms) => self.handle_alarms(now, alarms),
            Mail::Shutdown { reason } => self.shutdown(now, reason),
            Mail::Socket(_) | Mail::Account { .. } | Mail::ConnectionsChanged | Mail::Stop => {}
        }
    }

    /// Runs what mail has left to do; call after a batch of mail.
    pub(crate) fn handle_mail_end(&mut self, now: Now) {
        self.run(now);
    }

    /// Timers of queues and of the log batch.
    pub(crate) fn handle_timeout(&mut self, now: Now) {
        self.follow_policies(now);
        self.drop_leaving(now);
        let mut postponed = Vec::new();
        let holds_dead_letters = self.holds_dead_letters();
        while let Some(Reverse((at, queue))) = self.wakes.peek().copied() {
            if at > now.monotonic {
                break;
            }
            self.wakes.pop();
            if let Some(machine) = self.queues.get_mut(&queue) {
                if holds_dead_letters && machine.has_dead_letters() {
                    // What expires there would only wait elsewhere.
                    let later = now.monotonic + COLLECT_DELAY;
                    postponed.push(Reverse((later, queue)));
                    continue;
                }
                machine.handle_timeout(now, &mut self.windows, &mut self.effects);
                self.touched.push(queue);
            } else {
                self.delays_timeout(now, queue);
            }
        }
        self.wakes.extend(postponed);
        self.run(now);
    }

    /// Whether memory is short: then queues move to the log what can move, and keep little until it is over.
    pub(crate) fn set_memory_short(&mut self, short: bool) {
        if std::mem::replace(&mut self.memory_short, short) == short && !short {
            return;
        }
        let target = if short {
            READY_RAM_BYTES_MIN
        } else {
            READY_RAM_BYTES_MAX
        };
        for queue in self.queues.values_mut() {
            queue.evict(target, &mut self.effects);
        }
        self.delays.evict(short);
    }

    // ── what the driver does next ──

    /// When [`Shard::handle_timeout`] and [`Shard::finish_turn`] want to run again.
    pub(crate) fn poll_deadline(&self) -> Option<Duration> {
        let wake = self.wakes.peek().map(|Reverse((at, _))| *at);
        let collect = if self.batch_under_way {
            None
        } else {
            self.collect_at
        };
        [wake, collect, self.outdated.at, self.leaving.at]
            .into_iter()
            .flatten()
            .min()
    }

    /// Ends a turn: coalesced answers, the log's batch, mail for other shards.
    pub(crate) fn finish_turn(&mut self, now: Now) {
        self.run(now);
        while !self.touched.is_empty() {
            for queue in std::mem::take(&mut self.touched) {
                if let Some(machine) = self.queues.get_mut(&queue) {
                    machine.flush(now, &mut self.effects);
                    if machine.note_change() {
                        self.changes.queue_changed(queue);
                    }
                }
            }
            self.run(now);
        }
        self.may_drop_again();
        self.write_histories();
        self.collect(now);
        for (shard, mail) in self.outgoing.iter_mut().enumerate() {
            self.shared.mailboxes[shard].send_all(mail);
        }
        self.update_congestion(now);
        self.run(now);
    }

    /// Takes the connections whose socket, deadline or reading the driver has to look at.
    pub(crate) fn take_dirty(&mut self, into: &mut Vec<ConnectionId>) {
        debug_assert!(into.is_empty());
        std::mem::swap(&mut self.dirty, into);
        for id in into {
            if let Some(slot) = self.connections.get_mut(slot_index(*id)) {
                slot.dirty = false;
            }
        }
    }

    /// Puts a connection that [`Shard::take_dirty`] gave out back.
    pub(crate) fn mark_dirty(&mut self, id: ConnectionId) {
        let Some(slot) = self.connections.get_mut(slot_index(id)) else {
            return;
        };
        if slot.id == id && !slot.dirty {
            slot.dirty = true;
            self.dirty.push(id);
        }
    }

    // ── inside a turn ──

    fn refresh_metadata(&mut self) {
        if self.shared.leader.version() != self.metadata.version() {
            self.metadata = self.shared.leader.snapshot();
            self.refresh_observers();
        }
    }

    /// Tells connections whether anybody listens to events, and that they have to look at the metadata again.
    fn refresh_observers(&mut self) {
        let now = (
            self.shared.events.is_observed(&self.metadata),
            self.metadata.connection_version(),
        );
        if std::mem::replace(&mut self.observers, now) == now {
            return;
        }
        let mut concerned = Vec::new();
        for (index, slot) in &mut self.connections {
            let machine = &mut slot.machine;
            let before = machine.poll_deadline();
            machine.handle_observers(&self.metadata, now.0);
            if machine.poll_deadline() != before {
                concerned.push(index);
            }
        }
        for slot in concerned {
            self.touch(slot);
        }
    }

    /// A batch of mail is about to be handled.
    pub(crate) fn handle_mail_start(&mut self) {
        self.refresh_metadata();
    }

    /// Marks a connection as having something to do and something to send.
    fn touch(&mut self, slot: usize) {
        let Some(connection) = self.connections.get_mut(slot) else {
            return;
        };
        if !connection.active {
            connection.active = true;
            self.active.push(slot);
        }
        if !connection.dirty {
            connection.dirty = true;
            self.dirty.push(connection.id);
        }
    }

    /// Hands requests to queues and effects to connections until neither is left.
    fn run(&mut self, now: Now) {
        loop {
            while let Some(slot) = self.active.pop() {
                self.drain_requests(now, slot);
            }
            if self.effects.is_empty() {
                return;
            }
            self.execute_effects(now);
        }
    }

    fn drain_requests(&mut self, now: Now, slot: usize) {
        if let Some(connection) = self.connections.get_mut(slot) {
            connection.active = false;
        }
        while let Some(request) = self
            .connections
            .get_mut(slot)
            .and_then(|slot| slot.machine.poll_request())
        {
            match request {
                Request::Queue { queue, command } => self.ask_queue(now, queue, command),
                Request::Metadata { channel, command } => self.propose(now, channel, &command),
                Request::DirectReply { to, message } => {
                    self.send_reply(to, Reply::DirectReply { message })
                }
                Request::Access { channel, request } => self.shared.ask_access(channel, *request),
                Request::Event(event) => self.shared.events.publish(&self.metadata, &event),
            }
        }
    }

    fn apply(&mut self, now: Now, queue: QueueId, command: QueueCommand) {
        // The common case needs one look-up only.
        if let Some(machine) = self.queues.get_mut(&queue) {
            machine.apply(now, command, &mut self.windows, &mut self.effects);
        } else if let QueueCommand::Delay(request) = command {
            return self.delay(now, queue, *request);
        } else if self.start_queue(queue) {
            return self.apply(now, queue, command);
        } else {
            return self.refuse(queue, command);
        }
        if self.touched.last() != Some(&queue) {
            self.touched.push(queue);
        }
    }

    /// Starts the machine of a queue that was not used since the node started.
    fn start_queue(&mut self, id: QueueId) -> bool {
        self.refresh_metadata();
        let Some(record) = self.metadata.queue_by_id(id) else {
            return false;
        };
        let settings = QueueSettings {
            queue: record.queue,
            vhost: record.vhost.clone(),
            name: record.name.clone(),
            durable: record.durable,
            auto_delete: record.auto_delete,
            arguments: self.queue_arguments(record),
        };
        let stored = self.stored.remove(&id).unwrap_or_default();
        let mut machine = Queue::new(settings, stored);
        machine.set_paused(record.paused);
        if self.storage_failed {
            machine.handle_storage_failed(&mut self.effects);
        }
        let ids = self.stored.remove(&ids_of(id)).unwrap_or_default();
        machine.start_deduplication(dead_letter::headers, ids, &mut self.effects);
        let notes = self.stored.remove(&replay_of(id)).unwrap_or_default();
        machine.start_replay_window(notes, &mut self.effects);
        let attempts = self.stored.remove(&attempts_of(id)).unwrap_or_default();
        machine.start_attempts(attempts, &mut self.effects);
        self.queues.insert(id, machine);
        // Its first look at the clock: what has expired meanwhile, and when to wake.
        self.wakes.push(Reverse((Duration::ZERO, id)));
        true
    }

    /// Answers a command for a queue that is gone.
    fn refuse(&mut self, queue: QueueId, command: QueueCommand) {
        let gone = || {
            Reply::Failed(Box::new(Error::NotFound {
                kind: ResourceKind::Queue,
                name: Name::default(),
                vhost: Name::default(),
            }))
        };
        let answer = match command {
            // RabbitMQ confirms messages whose queue was deleted meanwhile.
            QueueCommand::Publish { messages, confirm } => confirm.map(|to| {
                (
                    to.channel,
                    Reply::Confirm {
                        first: to.sequence,
                        last: to.nth(messages.len() as u64 - 1).sequence,
                    },
                )
            }),
            QueueCommand::AskCredit { channel, spent } => Some((
                channel,
                Reply::Credit {
                    queue,
                    bytes: spent.bytes,
                },
            )),
            QueueCommand::Cancel { consumer, reply } => reply.then_some((
                consumer.channel,
                Reply::CancelOk {
                    consumer: consumer.index,
                },
            )),
            QueueCommand::Consume { consumer, .. } => Some((consumer.channel, gone())),
            QueueCommand::Get { channel, .. }
            | QueueCommand::Purge { channel }
            | QueueCommand::Status { channel } => Some((channel, gone())),
            QueueCommand::Delete { channel, .. } => Some((channel, Reply::Deleted { ready: 0 })),
            QueueCommand::Barrier { channel } => {
                return self.pass_barrier_of_deleted(queue, channel);
            }
            QueueCommand::Operate { channel, operation } => {
                operation.is_answered().then(|| (channel, gone()))
            }
            QueueCommand::Settle { .. }
            | QueueCommand::Resume { .. }
            | QueueCommand::Delay(_)
            | QueueCommand::Retry { .. } => None,
        };
        if let Some((to, reply)) = answer {
            self.send_reply(to, reply);
        }
    }

    /// Answers a barrier in a queue that was deleted, as soon as the log has the deletion: until then a crash could bring
    /// the queue back, with messages whose settles went with its machine.
    fn pass_barrier_of_deleted(&mut self, queue: QueueId, to: ChannelId) {
        if self.storage_failed {
            let error = Error::Storage("the log has failed".into());
            return self.send_reply(to, Reply::Barrier(Err(error.into())));
        }
        let reply = Reply::Barrier(Ok(()));
        let uncollected = self.dropped_queues.contains(&queue);
        if !uncollected && self.waiting.is_empty() {
            return self.send_reply(to, reply);
        }
        let ticket = self.ticket + u64::from(uncollected);
        self.waiting
            .push_back((ticket, Waiting::Reply { to, reply }));
    }

    fn execute_effects(&mut self, now: Now) {
        let mut executing = std::mem::take(&mut self.executing);
        std::mem::swap(&mut executing, &mut self.effects);
        for effect in executing.drain(..) {
            match effect {
                Effect::Reply { to, reply } => {
                    if to.connection.shard == self.id {
                        self.reply(now, to, reply, None);
                    } else {
                        self.send_reply(to, reply);
                    }
                }
                Effect::RecordsWaiting { queue, urgent } => {
                    self.records_waiting.push(queue);
                    self.records_urgent |= urgent;
                    self.collect_at.get_or_insert(now.monotonic + COLLECT_DELAY);
                }
                Effect::Load {
                    queue,
                    from,
                    until,
                    bytes_max,
                } => {
                    let shard = self.id;
                    self.shared.log.load(LoadRequest {
                        shard,
                        token: log::DELIVER,
                        queue,
                        from,
                        until,
                        bytes_max,
                    });
                }
                Effect::LookUp {
                    queue,
                    from,
                    until,
                    bytes_max,
                } => {
                    let shard = self.id;
                    self.shared.log.load(LoadRequest {
                        shard,
                        token: log::LOOK_UP,
                        queue,
                        from,
                        until,
                        bytes_max,
                    });
                }
                Effect::Wake { queue, at } => self.wakes.push(Reverse((at, queue))),
                Effect::Acknowledged { after } => self.frontend.traffic.acknowledged(after),
                Effect::Delete { queue, reply } => self.delete_queue(now, queue, reply),
                Effect::Retry {
                    queue,
                    position,
                    message,
                    outcome,
                } => self.retry_later(now, queue, position, &message, outcome),
                Effect::DeadLetter {
                    queue,
                    message,
                    reason,
                    failed_deliveries,
                    awaited,
                    exchange,
                    routing_key,
                } => {
                    self.refresh_metadata();
                    let metadata = Arc::clone(&self.metadata);
                    let Some(record) = metadata.queue_by_id(queue) else {
                        continue;
                    };
                    let letter = DeadLetter {
                        queue: record.name.clone(),
                        reason,
                        failed_deliveries,
                        time_s: now.wall_ms / 1000,
                        exchange,
                        routing_key,
                    };
                    let awaited = awaited.map(|position| (queue, position));
                    self.dead_letter(now, &metadata, &record.vhost, &message, letter, awaited);
                }
            }
        }
        self.executing = executing;
    }

    /// Publishes a message that died. It is dropped if the exchange does not exist, and passes by queues to which it would come
    /// again and again. Nobody hears of that (RabbitMQ docs: dlx#safety).
    fn dead_letter(
        &mut self,
        now: Now,
        metadata: &Metadata,
        vhost: &Name,
        message: &SharedMessage,
        letter: DeadLetter,
        awaited: Option<(QueueId, Position)>,
    ) {
        let vhost = metadata.vhost(vhost);
        let Some((vhost, exchange)) =
            vhost.and_then(|vhost| Some((vhost, vhost.exchange(&letter.exchange)?)))
        else {
            if let Some(place) = awaited {
                self.dead_letter_arrived(now, place, false);
            }
            return;
        };
        let message = Arc::new(dead_letter::dead_letter(message, letter));
        self.dead_letter_bytes += message.size_bytes() + MESSAGE_COST_BYTES;
        let keys: Vec<_> = message.routing_keys().map(|key| &key[..]).collect();
        let mut targets = std::mem::take(&mut self.targets);
        let mut parts = UnaskedParts {
            properties: &message.properties,
            random: self.random,
        };
        router::route_dead_letter(vhost, exchange, &keys, &mut parts, &mut targets);
        self.random = self.random.wrapping_add(1);
        targets.remember(&message);
        let is_cycle = |queue: &QueueRef| {
            metadata.queue_by_id(queue.id).is_some_and(|record| {
                let deaths = message.deaths.as_ref();
                deaths.is_some_and(|deaths| deaths.is_cycle(&record.name))
            })
        };
        let waits = self.delay_dead_letter(now, &vhost.name, &message, &targets);
        let routed = targets.queues().len();
        let cycles = match awaited {
            Some(_) => targets
                .queues()
                .iter()
                .filter(|queue| is_cycle(queue))
                .count(),
            None => 0,
        };
        let confirm = awaited
            .filter(|_| routed > cycles)
            .map(|place| self.arrivals.expect(self.id, place, routed - cycles));
        if let (Some(place), None) = (awaited, confirm) {
            // Where a letter would go in circles it is dropped, as with the other strategy.
            // One that waits is in the delay store, in the same batch of the log.
            self.dead_letter_arrived(now, place, routed > 0 || waits);
        }
        for queue in targets.queues() {
            if is_cycle(queue) {
                tracing::debug!(
                    queue = queue.id.0,
                    "a message that goes in circles is dropped"
                );
                continue;
            }
            let command = QueueCommand::Publish {
                messages: Arc::clone(&message).into(),
                confirm,
            };
            self.ask_queue(now, *queue, command);
        }
        self.targets = targets;
    }

    /// Hands a command to its queue, here or on another shard.
    fn ask_queue(&mut self, now: Now, queue: QueueRef, command: QueueCommand) {
        if queue.shard == self.id {
            self.apply(now, queue.id, command);
        } else {
            self.outgoing[queue.shard.index()].push(Mail::Queue {
                queue: queue.id,
                command,
            });
        }
    }

    fn reply(&mut self, now: Now, to: ChannelId, reply: Reply, from: Option<ShardId>) {
        let slot = slot_index(to.connection);
        let known = self
            .connections
            .get_mut(slot)
            .filter(|connection| connection.id == to.connection);
        let Some(connection) = known else {
            if is_dead_letter_address(to) {
                return self.dead_letters_answered(now, &reply);
            }
            if !self.delayed_arrived(to, &reply) {
                self.return_delivery(now, to, &reply);
            }
            return;
        };
        if let Some(from) = from {
            connection.remote_bytes[from.index()] += delivered_bytes(&reply);
        }
        connection
            .machine
            .handle_reply(now, &self.metadata, to, reply);
        self.touch(slot);
    }

    /// A delivery for a connection that has ended goes back to its queue.
    fn return_delivery(&mut self, now: Now, channel: ChannelId, reply: &Reply) {
        let Some(Request::Queue { queue, command }) = return_late_reply(channel, reply) else {
            return;
        };
        self.ask_queue(now, queue, command);
    }

    fn send_reply(&mut self, to: ChannelId, reply: Reply) {
        if to.connection.shard == self.id {
            self.effects.push(Effect::Reply { to, reply });
        } else {
            self.outgoing[to.connection.shard.index()].push(Mail::Reply {
                from: self.id,
                to,
                reply,
            });
        }
    }

    fn window_opened(&mut self, now: Now, connection: ConnectionId, queues: Vec<QueueId>) {
        for queue in queues {
            if let Some(machine) = self.queues.get_mut(&queue) {
                machine.handle_window_open(now, connection, &mut self.windows, &mut self.effects);
                self.touched.push(queue);
            }
        }
    }

    // ── alarms, flow, shutdown ──

    fn handle_alarms(&mut self, now: Now, alarms: Alarms) {
        self.alarms = alarms;
        for slot in self.slots() {
            if let Some(connection) = self.connections.get_mut(slot) {
                connection
                    .machine
                    .handle_alarms(now, &self.metadata, alarms.into());
            }
            self.touch(slot);
        }
    }

    /// Whether queues have to wait with what dies in them: it would only wait elsewhere, before what others publish.
    fn holds_dead_letters(&self) -> bool {
        let mut mailboxes = self.shared.mailboxes.iter();
        self.congested
            || self.dead_letter_bytes > DEAD_LETTERS_WAITING_BYTES
            || (self.dead_letter_bytes > 0
                && (self.shared.log.pending_bytes() > DEAD_LETTERS_LOG_BYTES
                    || mailboxes.any(Mailbox::is_filling)))
    }

    fn update_congestion(&mut self, now: Now) {
        let log_bytes = self.shared.log.pending_bytes() + self.uncollected_bytes();
        let limit = if self.congested {
            LOG_CONGESTED_BYTES / 2
        } else {
            LOG_CONGESTED_BYTES
        };
        let mailboxes = &self.shared.mailboxes;
        let mail = mailboxes
            .iter()
            .enumerate()
            .any(|(shard, mailbox)| shard != self.id.index() && mailbox.is_congested());
        let congested = log_bytes > limit || mail;
        if congested == self.congested {
            return;
        }
        self.congested = congested;
        let metadata = Arc::clone(&self.metadata);
        for slot in self.slots() {
            if let Some(connection) = self.connections.get_mut(slot) {
                connection
                    .machine
                    .handle_publish_credit(now, &metadata, !congested);
            }
            self.touch(slot);
        }
    }

    fn shutdown(&mut self, now: Now, reason: &'static str) {
        self.shutting_down = true;
        for slot in self.slots() {
            if let Some(connection) = self.connections.get_mut(slot) {
                connection
                    .machine
                    .close(now, CloseReason::Forced(reason.into()));
            }
            self.touch(slot);
        }
    }

    fn slots(&self) -> Vec<usize> {
        self.connections.iter().map(|(slot, _)| slot).collect()
    }
}

/// Bytes of a delivery that the connection's window was booked with.
pub(crate) fn delivered_bytes(reply: &Reply) -> usize {
    if let Reply::Deliver { messages, .. } = reply {
        messages.size_bytes()
    } else if let Reply::DeliverAgain(again) = reply {
        again.message.size_bytes()
    } else {
        0
    }
}

fn slot_index(id: ConnectionId) -> usize {
    (id.serial & 0xffff_ffff) as usize
}
