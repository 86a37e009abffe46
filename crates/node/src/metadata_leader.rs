//! The one place of a node where metadata changes.
//!
//! A command is checked and applied, put into the log if it is durable, and the new state becomes the snapshot that every
//! shard reads, all under one lock, so the order of the log is the order of the changes. Only the *answer* waits for the
//! disk: a change can be seen a little before it is durable, and whatever builds on it (a message for the new queue) comes
//! behind it in the same log, so it can never be durable without it.
//!
//! Invariant: tickets of one shard reach the log in ascending order; a shard proposes only from its own thread.

use crate::events::EventBus;
use crate::message_codec::StoredMessage;
use crate::metadata_codec::{encode_command, encode_snapshot};
use crate::replay::replays;
use arc_swap::ArcSwap;
use base::{Name, QueueRef, ShardId};
use broker::Error;
use broker::command::{MetadataCommand, MetadataReply};
use broker::delay::{DelayTarget, Selector};
use broker::event::Change;
use broker::message::SharedMessage;
use broker::metadata::{Metadata, MetadataEvent};
use broker::vhost::Vhost;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use store::{Batch, Handle, MetadataIndex, Record};

/// The owner of the metadata.
pub(crate) struct MetadataLeader {
    state: Mutex<State>,
    snapshot: ArcSwap<Metadata>,
    log: Handle<StoredMessage>,
    events: Arc<EventBus>,
    /// The last command known to be on stable storage.
    durable_index: AtomicU64,
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
    pub(crate) deleted_queues: Vec<QueueRef>,
    /// The vhost of a policy that was set or cleared.
    pub(crate) changed_policies: Option<Name>,
    /// Messages for queues that were bound to an exchange with a history.
    pub(crate) replays: Vec<(QueueRef, SharedMessage)>,
    /// Delayed messages that nobody will get any more.
    pub(crate) delays_ended: Vec<Selector>,
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
        let mut state = self.state.lock();
        let mut next = state.metadata.clone();
        let applied = next.apply(command)?;
        // What holds already may have been asked for a moment ago and not be durable yet: then this answer waits as well.
        let confirms_undurable =
            applied.events.is_empty() && state.index.0 > self.durable_index.load(Ordering::Acquire);
        let durable = applied.durable || confirms_undurable;
        if durable {
            let records: Vec<_> = applied
                .log
                .iter()
                .map(|command| Record::Metadata(encode_command(command)))
                .collect();
            let commands = records.len() as u64;
            self.submit(shard, ticket, records)?;
            state.index.0 += commands;
        }
        let deleted_queues = applied.events.iter().filter_map(deleted_queue).collect();
        let changed_policies = applied.events.iter().find_map(changed_policies);
        let replays = replays(&next, &applied.events);
        let delays_ended = applied.events.iter().filter_map(delays_ended).collect();
        self.snapshot.store(Arc::new(next.clone()));
        self.events.publish_change(&Change {
            command,
            before: &state.metadata,
            after: &next,
            happened: &applied.events,
            user,
            node: self.events.node(),
        });
        state.metadata = next;
        Ok(Proposed {
            reply: applied.reply,
            index: durable.then_some(state.index),
            deleted_queues,
            changed_policies,
            replays,
            delays_ended,
        })
    }

    /// Applies and logs the commands of a first start: all of them or, after a crash, none. Nobody waits for them; whatever
    /// a shard logs comes behind them.
    ///
    /// # Errors
    /// A command breaks a rule, or the log has failed; then nothing has changed.
    pub(crate) fn bootstrap(&self, commands: &[MetadataCommand]) -> Result<(), Error> {
        let mut state = self.state.lock();
        let mut next = state.metadata.clone();
        let mut records = Vec::new();
        for command in commands {
            let applied = next.apply(command)?;
            records.extend(
                applied
                    .log
                    .iter()
                    .map(|command| Record::Metadata(encode_command(command))),
            );
        }
        let logged = records.len() as u64;
        // Ticket 0 is nobody's: shards count from 1.
        self.submit(ShardId(0), 0, records)?;
        state.index.0 += logged;
        self.snapshot.store(Arc::new(next.clone()));
        state.metadata = next;
        Ok(())
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
        self.bootstrap(&[MetadataCommand::CreateSystemExchange { vhost, name }])
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

    /// Gives the log a snapshot that stands for all commands submitted so far.
    pub(crate) fn write_snapshot(&self) {
        let state = self.state.lock();
        self.log
            .metadata_snapshot(encode_snapshot(&state.metadata.to_snapshot()), state.index);
    }
}

/// The delayed messages that lost their target. Others whose target is gone are dropped when they are due.
fn delays_ended(event: &MetadataEvent) -> Option<Selector> {
    if let MetadataEvent::ExchangeDeleted { vhost, exchange } = event
        && exchange.delays
    {
        return Some(Selector::Target {
            vhost: vhost.clone(),
            target: DelayTarget::Exchange(exchange.name.clone()),
        });
    }
    if let MetadataEvent::VhostDeleted { vhost } = event {
        return Some(Selector::Vhost(vhost.clone()));
    }
    None
}

fn deleted_queue(event: &MetadataEvent) -> Option<QueueRef> {
    if let MetadataEvent::QueueDeleted { record } = event {
        Some(record.queue)
    } else {
        None
    }
}

fn changed_policies(event: &MetadataEvent) -> Option<Name> {
    if let MetadataEvent::PolicySet { vhost, .. } | MetadataEvent::PolicyCleared { vhost, .. } =
        event
    {
        Some(vhost.clone())
    } else {
        None
    }
}
