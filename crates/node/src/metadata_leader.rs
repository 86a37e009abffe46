//! The one place of a node where metadata changes.
//!
//! A command is checked and applied, put into the log if it is durable, and the new state becomes the snapshot that every
//! shard reads, all under one lock, so the order of the log is the order of the changes. Only the *answer* waits for the
//! disk: a change can be seen a little before it is durable, and whatever builds on it (a message for the new queue) comes
//! behind it in the same log, so it can never be durable without it.
//!
//! Invariant: tickets of one shard reach the log in ascending order; a shard proposes only from its own thread.

use crate::change_log;
use crate::events::EventBus;
use crate::message_codec::StoredMessage;
use crate::metadata_codec::{encode_command, encode_snapshot};
use crate::queue_log::{ChangedQueues, QueueLog};
use crate::replay::replays;
use arc_swap::ArcSwap;
use base::{Name, QueueId, QueueRef, ShardId};
use broker::Error;
use broker::command::{MetadataCommand, MetadataReply};
use broker::delay::{DelayTarget, Selector};
use broker::event::{Change, INTERNAL_USER};
use broker::exchange::Exchange;
use broker::message::SharedMessage;
use broker::metadata::{Metadata, MetadataEvent};
use broker::vhost::Vhost;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use store::{Batch, Handle, MetadataIndex, Record};

/// Events of one change from which on what it leaves behind is freed elsewhere.
const RETIRED_EVENTS_MIN: usize = 1024;

/// The owner of the metadata.
pub(crate) struct MetadataLeader {
    state: Mutex<State>,
    snapshot: ArcSwap<Metadata>,
    log: Handle<StoredMessage>,
    events: Arc<EventBus>,
    /// The last command known to be on stable storage.
    durable_index: AtomicU64,
    /// What large changes left behind. Freeing 100,000 bindings takes longer than a shard may stand still.
    retired: Mutex<Vec<Retired>>,
    queues_created: AtomicU64,
    queues_deleted: AtomicU64,
    queue_log: Mutex<QueueLog>,
}

/// Metadata before a large change, and what went with it. The last owner frees it, so that must not be a shard.
struct Retired {
    before: Arc<Metadata>,
    _events: Vec<MetadataEvent>,
}

#[derive(Debug)]
struct State {
    metadata: Metadata,
    /// Of the last command that went to the log.
    index: MetadataIndex,
}

/// What became of a proposal.
#[derive(Debug)]
pub(crate) struct Proposed {
    pub(crate) reply: MetadataReply,
    /// The answer has to wait until the ticket is durable; then all commands up to this one are.
    pub(crate) index: Option<MetadataIndex>,
    /// Queues that have to be looked at from now on, since they go when nobody uses them.
    pub(crate) started_queues: Vec<QueueRef>,
    pub(crate) deleted_queues: Vec<QueueRef>,
    /// The vhosts of policies that were set or cleared.
    pub(crate) changed_policies: Vec<Name>,
    /// Connections have to look at the metadata.
    pub(crate) changed_connections: bool,
    /// Messages for queues that were bound to an exchange with a history.
    pub(crate) replays: Vec<(QueueRef, SharedMessage)>,
    /// Delayed messages that nobody will get any more.
    pub(crate) delays_ended: Vec<Selector>,
    /// Places in the log of histories whose exchanges are gone.
    pub(crate) histories_ended: Vec<QueueId>,
}

impl MetadataLeader {
    /// A leader that goes on from recovered metadata; `index` is that of its last command.
    pub(crate) fn new(
        metadata: Metadata,
        index: MetadataIndex,
        log: Handle<StoredMessage>,
        events: Arc<EventBus>,
    ) -> Self {
        let snapshot = ArcSwap::from_pointee(metadata.clone());
        Self {
            snapshot,
            state: Mutex::new(State { metadata, index }),
            log,
            events,
            durable_index: AtomicU64::new(index.0),
            retired: Mutex::default(),
            queues_created: AtomicU64::default(),
            queues_deleted: AtomicU64::default(),
            queue_log: Mutex::default(),
        }
    }

    /// The state as of the last command, for readers.
    pub(crate) fn snapshot(&self) -> Arc<Metadata> {
        self.snapshot.load_full()
    }

    /// The version of the latest snapshot.
    pub(crate) fn version(&self) -> u64 {
        self.snapshot.load().version()
    }

    /// Checks, applies and logs a command that `user` asks for. `ticket` is used up if the result has an index.
    ///
    /// # Errors
    /// The command breaks a rule, or the log has failed; then nothing has changed.
    pub(crate) fn propose(
        &self,
        command: &MetadataCommand,
        user: &str,
        shard: ShardId,
        ticket: u64,
    ) -> Result<Proposed, Error> {
        self.propose_to(&mut self.state.lock(), command, user, shard, ticket)
    }

    /// The same with a command that depends on what holds when it is carried out.
    ///
    /// # Errors
    /// As [`MetadataLeader::propose`], or what `make` says.
    pub(crate) fn propose_change(
        &self,
        make: impl FnOnce(&Metadata) -> Result<MetadataCommand, Error>,
        user: &str,
        shard: ShardId,
        ticket: u64,
    ) -> Result<Proposed, Error> {
        let mut state = self.state.lock();
        let command = make(&state.metadata)?;
        self.propose_to(&mut state, &command, user, shard, ticket)
    }

    fn propose_to(
        &self,
        state: &mut State,
        command: &MetadataCommand,
        user: &str,
        shard: ShardId,
        ticket: u64,
    ) -> Result<Proposed, Error> {
        let mut next = state.metadata.clone();
        let applied = next.apply(command)?;
        let records: Vec<_> = applied.log.iter().map(record).collect();
        let is_change = !applied.events.is_empty();
        let index = self.log_records(state, records, is_change, shard, ticket)?;
        let replays = replays(&next, &applied.events);
        let before = self.snapshot.swap(Arc::new(next.clone()));
        let change = Change {
            command,
            before: &state.metadata,
            after: &next,
            happened: &applied.events,
            user,
            node: self.events.node(),
        };
        change_log::log(&change);
        self.events.publish_change(&change);
        self.count(&applied.events);
        let mut proposed = Proposed::new(applied.reply, index, replays);
        proposed.follow_from(&state.metadata, &next, &applied.events);
        state.metadata = next;
        self.retire(before, applied.events);
        Ok(proposed)
    }

    /// Finds out what several commands do together, without a lock and without doing anything.
    ///
    /// # Errors
    /// The first command that breaks a rule.
    pub(crate) fn prepare(
        &self,
        commands: &[MetadataCommand],
        kind: BatchKind,
    ) -> Result<Prepared, BatchError> {
        let metadata = self.state.lock().metadata.clone();
        let keep_steps = self.events.is_observed(&metadata);
        Prepared::new(metadata, commands, kind, keep_steps)
    }

    /// Does what was prepared from the same commands: all of it or, after a crash, nothing. If something else has changed in
    /// between, it is prepared again while nothing can.
    ///
    /// # Errors
    /// A command breaks a rule, or the log has failed; then nothing has changed.
    pub(crate) fn commit(
        &self,
        mut prepared: Prepared,
        commands: &[MetadataCommand],
        user: &str,
        shard: ShardId,
        ticket: u64,
    ) -> Result<Proposed, BatchError> {
        let mut state = self.state.lock();
        if state.metadata.version() != prepared.version {
            let metadata = state.metadata.clone();
            let keep_steps = self.events.is_observed(&metadata);
            prepared = Prepared::new(metadata, commands, prepared.kind, keep_steps)?;
        }
        self.commit_to(&mut state, prepared, commands, user, shard, ticket)
    }

    /// The same, but only if nothing else has changed in between.
    ///
    /// # Errors
    /// Something else has changed, or the log has failed; then nothing has changed by this.
    pub(crate) fn commit_current(
        &self,
        prepared: Prepared,
        command: &MetadataCommand,
        user: &str,
        shard: ShardId,
        ticket: u64,
    ) -> Result<Proposed, Uncommitted> {
        let mut state = self.state.lock();
        if state.metadata.version() != prepared.version {
            return Err(Uncommitted::Outdated(Box::new(prepared)));
        }
        let commands = std::slice::from_ref(command);
        self.commit_to(&mut state, prepared, commands, user, shard, ticket)
            .map_err(Uncommitted::Refused)
    }

    fn commit_to(
        &self,
        state: &mut State,
        prepared: Prepared,
        commands: &[MetadataCommand],
        user: &str,
        shard: ShardId,
        ticket: u64,
    ) -> Result<Proposed, BatchError> {
        let Prepared {
            next,
            records,
            happened,
            steps,
            ..
        } = prepared;
        let index = self
            .log_records(state, records, !happened.is_empty(), shard, ticket)
            .map_err(|error| BatchError { index: None, error })?;
        let replays = replays(&next, &happened);
        let before = self.snapshot.swap(Arc::new(next.clone()));
        for step in &steps {
            self.events.publish_change(&Change {
                command: &commands[step.index],
                before: &step.before,
                after: &step.after,
                happened: &step.happened,
                user,
                node: self.events.node(),
            });
        }
        self.count(&happened);
        let mut proposed = Proposed::new(MetadataReply::Done, index, replays);
        proposed.follow_from(&state.metadata, &next, &happened);
        state.metadata = next;
        self.retire(before, happened);
        Ok(proposed)
    }

    /// Gives records to the log. Returns what has to be durable before anybody hears of the change, if anything has.
    fn log_records(
        &self,
        state: &mut State,
        records: Vec<Record<StoredMessage>>,
        is_change: bool,
        shard: ShardId,
        ticket: u64,
    ) -> Result<Option<MetadataIndex>, Error> {
        // What holds already may have been asked for a moment ago and not be durable yet: then this answer waits as well.
        let confirms_undurable =
            !is_change && state.index.0 > self.durable_index.load(Ordering::Acquire);
        if records.is_empty() && !confirms_undurable {
            return Ok(None);
        }
        let commands = records.len() as u64;
        self.submit(shard, ticket, records)?;
        state.index.0 += commands;
        Ok(Some(state.index))
    }

    /// Applies and logs the commands of a start: all of them or, after a crash, none. Nobody waits for them; whatever a shard
    /// logs comes behind them.
    ///
    /// # Errors
    /// A command breaks a rule, or the log has failed; then nothing has changed.
    pub(crate) fn bootstrap(
        &self,
        commands: &[MetadataCommand],
        kind: BatchKind,
    ) -> Result<(), BatchError> {
        let prepared = self.prepare(commands, kind)?;
        // Ticket 0 is nobody's: shards count from 1.
        self.commit(prepared, commands, INTERNAL_USER, ShardId(0), 0)
            .map(drop)
    }

    /// Creates an exchange of the node's own, if it is missing. Nobody waits for it.
    ///
    /// # Errors
    /// The vhost does not exist, or the log has failed.
    pub(crate) fn create_system_exchange(&self, vhost: &Name, name: &Name) -> Result<(), Error> {
        let snapshot = self.snapshot();
        let is_there = |vhost: &Arc<Vhost>| vhost.exchange(name).is_some();
        if snapshot.vhost(vhost).is_some_and(is_there) {
            return Ok(());
        }
        let (vhost, name) = (vhost.clone(), name.clone());
        let command = MetadataCommand::CreateSystemExchange { vhost, name };
        self.bootstrap(&[command], BatchKind::Requests)
            .map_err(|refused| refused.error)
    }

    fn submit(
        &self,
        shard: ShardId,
        ticket: u64,
        records: Vec<Record<StoredMessage>>,
    ) -> Result<(), Error> {
        let batch = Batch {
            shard,
            ticket,
            sync: true,
            records,
        };
        self.log.submit(batch).map_err(|error| {
            Error::Storage(format!("metadata log is not available: {error}").into())
        })
    }

    /// All commands up to this one are on stable storage.
    pub(crate) fn handle_durable(&self, index: MetadataIndex) {
        self.durable_index.fetch_max(index.0, Ordering::AcqRel);
    }

    /// Gives the log a snapshot that stands for all commands submitted so far. Nobody has to stand still for it: it is made on a
    /// thread of its own.
    pub(crate) fn write_snapshot(&self) {
        let (metadata, index) = {
            let state = self.state.lock();
            (state.metadata.clone(), state.index)
        };
        let log = self.log.clone();
        let write = move || log.metadata_snapshot(encode_snapshot(&metadata.to_snapshot()), index);
        let thread = std::thread::Builder::new().name("metadata-snapshot".to_owned());
        if let Err(error) = thread.spawn(write) {
            // The commands stay in the log, which asks again when it has grown further.
            tracing::error!(%error, "cannot write a snapshot of the metadata");
        }
    }

    /// To be called when the snapshot has what happened.
    fn count(&self, happened: &[MetadataEvent]) {
        for event in happened {
            if let MetadataEvent::QueueCreated { record } = event {
                self.queues_created.fetch_add(1, Ordering::Relaxed);
                self.queue_log.lock().push(record.id());
            } else if let MetadataEvent::QueueDeleted { record } = event {
                self.queues_deleted.fetch_add(1, Ordering::Relaxed);
                self.queue_log.lock().push(record.id());
            } else if let MetadataEvent::QueuePaused { record } = event {
                self.queue_log.lock().push(record.id());
            }
        }
    }

    /// The queues of which something changed behind `seen`. The snapshot has at least these changes.
    pub(crate) fn queues_changed_since(&self, seen: Option<u64>) -> ChangedQueues {
        self.queue_log.lock().since(seen)
    }

    /// Queues that were created and deleted since the node's start.
    pub(crate) fn queue_churn(&self) -> (u64, u64) {
        let created = self.queues_created.load(Ordering::Relaxed);
        (created, self.queues_deleted.load(Ordering::Relaxed))
    }

    fn retire(&self, before: Arc<Metadata>, events: Vec<MetadataEvent>) {
        if events.len() >= RETIRED_EVENTS_MIN {
            let _events = events;
            self.retired.lock().push(Retired { before, _events });
        }
    }

    /// Frees what large changes left behind and nobody reads any more. To be called now and then by a thread that may take its time.
    pub(crate) fn free_retired(&self) {
        let freed: Vec<_> = {
            let mut retired = self.retired.lock();
            let unread = |retired: &mut Retired| Arc::strong_count(&retired.before) == 1;
            retired.extract_if(.., unread).collect()
        };
        drop(freed);
    }
}

/// The delayed messages that lost their target. Others whose target is gone are dropped when they are due.
fn delays_ended(event: &MetadataEvent) -> Option<Selector> {
    if let MetadataEvent::ExchangeDeleted { vhost, exchange } = event
        && exchange.delays
    {
        let target = DelayTarget::Exchange(exchange.name.clone());
        return Some(Selector::of_target(vhost.clone(), target));
    }
    if let MetadataEvent::VhostDeleted { vhost } = event {
        return Some(Selector::of_vhost(vhost.clone()));
    }
    None
}

/// Where the log keeps the histories of exchanges that are gone.
fn histories_ended(before: &Metadata, event: &MetadataEvent) -> Vec<QueueId> {
    let of = |exchange: &Arc<Exchange>| exchange.history()?.log_id();
    if let MetadataEvent::ExchangeDeleted { exchange, .. } = event {
        return of(exchange).into_iter().collect();
    }
    if let MetadataEvent::VhostDeleted { vhost } = event {
        let vhost = before.vhost(vhost);
        let exchanges = vhost.into_iter().flat_map(|vhost| vhost.exchanges());
        return exchanges.filter_map(of).collect();
    }
    Vec::new()
}

impl Proposed {
    fn new(
        reply: MetadataReply,
        index: Option<MetadataIndex>,
        replays: Vec<(QueueRef, SharedMessage)>,
    ) -> Self {
        Self {
            reply,
            index,
            started_queues: Vec::new(),
            deleted_queues: Vec::new(),
            changed_policies: Vec::new(),
            changed_connections: false,
            replays,
            delays_ended: Vec::new(),
            histories_ended: Vec::new(),
        }
    }

    /// Adds what others have to hear of.
    fn follow_from(&mut self, before: &Metadata, metadata: &Metadata, events: &[MetadataEvent]) {
        for event in events {
            self.delays_ended.extend(delays_ended(event));
            self.histories_ended.extend(histories_ended(before, event));
            if let MetadataEvent::QueueCreated { record } = event
                && metadata.has_expiry(record.id())
            {
                self.started_queues.push(record.queue);
            }
            if let MetadataEvent::QueueDeleted { record } = event {
                self.deleted_queues.push(record.queue);
            }
            self.changed_connections |= matches!(
                event,
                MetadataEvent::VhostDeleted { .. }
                    | MetadataEvent::VhostLimitsChanged { .. }
                    | MetadataEvent::VhostUpdated { .. }
                    | MetadataEvent::UserDeleted { .. }
                    | MetadataEvent::UserLimitsChanged { .. }
            );
            // Queues are told of exchanges whose messages they take once.
            if let MetadataEvent::ExchangeCreated { vhost, exchange }
            | MetadataEvent::ExchangeDeleted { vhost, exchange } = event
                && exchange.deduplication.is_some()
                && !self.changed_policies.contains(vhost)
            {
                self.changed_policies.push(vhost.clone());
            }
            if let MetadataEvent::PolicySet { vhost, .. }
            | MetadataEvent::PolicyCleared { vhost, .. } = event
                && !self.changed_policies.contains(vhost)
            {
                self.changed_policies.push(vhost.clone());
            }
        }
    }
}

fn record(command: &MetadataCommand) -> Record<StoredMessage> {
    Record::Metadata(encode_command(command))
}

/// What the commands of a batch are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchKind {
    /// Requests like any other.
    Requests,
    /// Definitions, see [`Metadata::import`].
    Definitions,
}

/// Why none of several commands was carried out.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{error}")]
pub struct BatchError {
    /// Which of them was refused; `None` if it was the log.
    pub index: Option<usize>,
    /// Why.
    pub error: Error,
}

/// What several commands do together.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// Of the state they were applied to.
    version: u64,
    kind: BatchKind,
    next: Metadata,
    records: Vec<Record<StoredMessage>>,
    happened: Vec<MetadataEvent>,
    /// Empty, if nobody observes.
    steps: Vec<Step>,
}

/// Why what was prepared was not done.
#[derive(Debug)]
pub(crate) enum Uncommitted {
    /// Something else has changed since. To free this may take long.
    Outdated(Box<Prepared>),
    Refused(BatchError),
}

/// What one of several commands did, for observers.
#[derive(Debug)]
struct Step {
    index: usize,
    before: Metadata,
    after: Metadata,
    happened: Vec<MetadataEvent>,
}

impl Prepared {
    fn new(
        mut next: Metadata,
        commands: &[MetadataCommand],
        kind: BatchKind,
        keep_steps: bool,
    ) -> Result<Self, BatchError> {
        let version = next.version();
        let (mut records, mut happened, mut steps) = (Vec::new(), Vec::new(), Vec::new());
        for (index, command) in commands.iter().enumerate() {
            let before = keep_steps.then(|| next.clone());
            let applied = match kind {
                BatchKind::Requests => next.apply(command),
                BatchKind::Definitions => next.import(command),
            };
            let applied = applied.map_err(|error| BatchError {
                index: Some(index),
                error,
            })?;
            records.extend(applied.log.iter().map(record));
            if let Some(before) = before {
                steps.push(Step {
                    index,
                    before,
                    after: next.clone(),
                    happened: applied.events.clone(),
                });
            }
            happened.extend(applied.events);
        }
        Ok(Self {
            version,
            kind,
            next,
            records,
            happened,
            steps,
        })
    }
}
