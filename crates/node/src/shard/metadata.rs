//! A shard and the metadata: proposals of its connections and queues, and what follows from them.

use super::{Shard, Waiting};
use crate::mailbox::Mail;
use crate::metadata_leader::{BatchError, Prepared, Proposed, Uncommitted};
use base::{Name, Now, QueueId, QueueRef};
use broker::Error;
use broker::command::{
    ChannelId, Destination, MetadataCommand, MetadataReply, QueueCommand, Reply,
};
use broker::event::INTERNAL_USER;
use broker::queue::{Queue, attempts_of, ids_of, replay_of};
use std::collections::VecDeque;
use std::time::Duration;

/// Deleted queues whose machines one turn drops.
const DROPPED_MAX: usize = 500;

/// Before the next of them others have their turns.
const DROP_PAUSE: Duration = Duration::from_millis(1);

/// Queues that are gone from the metadata and whose machines are still there: with a vhost 100,000 can go at once.
#[derive(Debug, Default)]
pub(super) struct Leaving {
    queues: VecDeque<QueueId>,
    /// Of [`DROPPED_MAX`], what this turn has dropped.
    dropped: usize,
    /// When the next of them are due.
    pub(super) at: Option<Duration>,
}

/// Bindings that may go in one turn. What takes more with it is prepared elsewhere while this shard goes on.
const BINDINGS_AT_ONCE: usize = 2000;

/// How often a change is prepared, if others come in between each time. Then it is done at once.
const PREPARED_MAX: u32 = 3;

/// Changes that are prepared elsewhere, one at a time.
#[derive(Debug, Default)]
pub(super) struct LargeChanges {
    is_under_way: bool,
    /// Each has a channel or a queue that waits for it.
    waiting: VecDeque<Box<LargeChange>>,
}

/// A change of the metadata that would keep a shard from its other work for too long.
#[derive(Debug)]
pub(crate) struct LargeChange {
    pub(crate) command: MetadataCommand,
    /// Who asks for it.
    user: Name,
    then: Then,
    tries: u32,
    /// What it does, once that is known.
    pub(crate) prepared: Option<Result<Prepared, BatchError>>,
}

/// What follows from a large change.
#[derive(Clone, Copy, Debug)]
enum Then {
    /// A channel gets its answer.
    Reply(ChannelId),
    /// A queue is gone that had so many messages ready; who asked for that hears of it, if anybody did.
    QueueDeleted {
        queue: QueueId,
        reply: Option<(ChannelId, u64)>,
    },
}

/// The answer to a command, and the ticket that it waits for.
type Outcome = Result<(MetadataReply, Option<u64>), Error>;

impl Shard {
    pub(super) fn propose(&mut self, now: Now, channel: ChannelId, command: &MetadataCommand) {
        let user = self.user_of(channel);
        let then = Then::Reply(channel);
        if self.is_large(command) {
            return self.change_apart(now, command.clone(), user, then);
        }
        let outcome = self.propose_command(now, command, &user);
        self.changed(then, outcome);
    }

    /// Whether a command takes very many bindings with it.
    fn is_large(&self, command: &MetadataCommand) -> bool {
        if let MetadataCommand::DeleteExchange { vhost, name, .. } = command {
            let vhost = self.metadata.vhost(vhost);
            let exchange = vhost.and_then(|vhost| vhost.exchange(name));
            return exchange.is_some_and(|exchange| exchange.binding_count() > BINDINGS_AT_ONCE);
        }
        if let MetadataCommand::DeleteQueue { id } = command
            && let Some(record) = self.metadata.queue_by_id(*id)
            && let Some(vhost) = self.metadata.vhost(&record.vhost)
        {
            let queue = Destination::Queue(record.name.clone());
            let mut bindings = vhost.bindings_of_destination(&queue);
            return bindings.nth(BINDINGS_AT_ONCE).is_some();
        }
        false
    }

    fn change_apart(&mut self, now: Now, command: MetadataCommand, user: Name, then: Then) {
        self.large_changes.waiting.push_back(Box::new(LargeChange {
            command,
            user,
            then,
            tries: 0,
            prepared: None,
        }));
        self.prepare_next(now);
    }

    fn prepare_next(&mut self, now: Now) {
        while !self.large_changes.is_under_way
            && let Some(change) = self.large_changes.waiting.pop_front()
        {
            match self.shared.prepare_apart(self.id, change) {
                Ok(()) => self.large_changes.is_under_way = true,
                Err(change) => {
                    let outcome = self.propose_command(now, &change.command, &change.user);
                    self.changed(change.then, outcome);
                }
            }
        }
    }

    /// Carries out a change that was prepared elsewhere.
    pub(super) fn change_prepared(&mut self, now: Now, mut change: LargeChange) {
        self.large_changes.is_under_way = false;
        change.tries += 1;
        let prepared = change.prepared.take();
        let committed = match prepared.expect("it comes when it is prepared") {
            Ok(prepared) => self.shared.leader.commit_current(
                prepared,
                &change.command,
                &change.user,
                self.id,
                self.ticket + 1,
            ),
            Err(error) => Err(Uncommitted::Refused(error)),
        };
        let outcome = match committed {
            Ok(proposed) => Ok(self.follow(now, proposed)),
            Err(Uncommitted::Outdated(prepared)) if change.tries < PREPARED_MAX => {
                // The thread that prepares it anew frees this one.
                change.prepared = Some(Ok(*prepared));
                self.large_changes.waiting.push_front(Box::new(change));
                return self.prepare_next(now);
            }
            Err(Uncommitted::Outdated(_)) => {
                self.propose_command(now, &change.command, &change.user)
            }
            Err(Uncommitted::Refused(refused)) => Err(refused.error),
        };
        self.changed(change.then, outcome);
        self.prepare_next(now);
    }

    fn changed(&mut self, then: Then, outcome: Outcome) {
        match then {
            Then::Reply(channel) => self.answer(channel, outcome),
            Then::QueueDeleted { queue, reply } => self.answer_deletion(queue, reply, outcome),
        }
    }

    fn answer(&mut self, channel: ChannelId, outcome: Outcome) {
        let reply = match outcome {
            Ok((reply, Some(ticket))) => {
                let reply = Reply::Metadata(Ok(reply));
                self.waiting
                    .push_back((ticket, Waiting::Reply { to: channel, reply }));
                return;
            }
            Ok((reply, None)) => Ok(reply),
            Err(error) => Err(error),
        };
        self.send_reply(channel, Reply::Metadata(reply.map_err(Box::new)));
    }

    /// Proposes a command and tells the owners of deleted queues. Returns the ticket to wait for, if the change is durable.
    pub(super) fn propose_command(
        &mut self,
        now: Now,
        command: &MetadataCommand,
        user: &str,
    ) -> Outcome {
        let proposed = self
            .shared
            .leader
            .propose(command, user, self.id, self.ticket + 1)?;
        Ok(self.follow(now, proposed))
    }

    /// Does what follows from a change; returns the answer and the ticket that it waits for, if the change is durable.
    fn follow(&mut self, now: Now, proposed: Proposed) -> (MetadataReply, Option<u64>) {
        self.refresh_metadata();
        for queue in proposed.started_queues {
            if queue.shard == self.id {
                self.start_clock(queue.id);
            } else {
                self.outgoing[queue.shard.index()].push(Mail::QueueStart { queue: queue.id });
            }
        }
        if proposed.changed_connections {
            self.shared.connections_changed();
        }
        for vhost in &proposed.changed_policies {
            self.shared.policies_changed(vhost);
        }
        for QueueRef { id, shard } in proposed.deleted_queues {
            if shard == self.id {
                self.queue_deleted(now, id);
            } else {
                self.outgoing[shard.index()].push(Mail::QueueDeleted { queue: id });
            }
        }
        for (queue, message) in proposed.replays {
            let command = QueueCommand::Publish {
                messages: message.into(),
                confirm: None,
            };
            self.ask_queue(now, queue, command);
        }
        if !proposed.histories_ended.is_empty() {
            self.dropped_queues.extend(proposed.histories_ended);
            self.collect_at.get_or_insert(Duration::ZERO);
        }
        for selector in proposed.delays_ended {
            self.delays_ended(selector);
        }
        if let Some(index) = proposed.index {
            self.ticket += 1;
            self.waiting
                .push_back((self.ticket, Waiting::Metadata(index)));
            return (proposed.reply, Some(self.ticket));
        }
        (proposed.reply, None)
    }

    /// Who is behind a channel, as far as this shard knows.
    fn user_of(&mut self, channel: ChannelId) -> Name {
        let machine = self.connection(channel.connection);
        machine.map_or_else(|| INTERNAL_USER.into(), |machine| machine.user().clone())
    }

    /// Runs a queue that nobody has used yet, since its time has begun.
    pub(super) fn start_clock(&mut self, queue: QueueId) {
        if !self.queues.contains_key(&queue) {
            self.start_queue(queue);
        }
    }

    pub(super) fn delete_queue(
        &mut self,
        now: Now,
        queue: QueueId,
        reply: Option<(ChannelId, u64)>,
    ) {
        // Compat: RabbitMQ knows who deletes a queue; here that is lost between shards.
        let user = reply.map_or_else(
            || INTERNAL_USER.into(),
            |(channel, _)| self.user_of(channel),
        );
        let command = MetadataCommand::DeleteQueue { id: queue };
        let then = Then::QueueDeleted { queue, reply };
        if self.is_large(&command) {
            return self.change_apart(now, command, user, then);
        }
        let outcome = self.propose_command(now, &command, &user);
        self.changed(then, outcome);
    }

    fn answer_deletion(
        &mut self,
        queue: QueueId,
        reply: Option<(ChannelId, u64)>,
        outcome: Outcome,
    ) {
        let Some((to, ready)) = reply else {
            if let Err(error) = outcome {
                tracing::error!(queue = queue.0, %error, "cannot delete queue");
            }
            return;
        };
        match outcome {
            Ok((_, Some(ticket))) => {
                self.waiting.push_back((
                    ticket,
                    Waiting::Reply {
                        to,
                        reply: Reply::Deleted { ready },
                    },
                ));
            }
            Ok((_, None)) => self.send_reply(to, Reply::Deleted { ready }),
            Err(error) => self.send_reply(to, Reply::Failed(error.into())),
        }
    }

    /// A queue is gone from the metadata. Its machine goes now or, behind many others, soon.
    pub(super) fn queue_deleted(&mut self, now: Now, queue: QueueId) {
        if self.leaving.dropped < DROPPED_MAX {
            return self.drop_queue(queue);
        }
        self.leaving.queues.push_back(queue);
        self.leaving.at.get_or_insert(now.monotonic + DROP_PAUSE);
    }

    /// Drops some of the machines that have to go, if it is time for that.
    pub(super) fn drop_leaving(&mut self, now: Now) {
        if self.leaving.at.is_none_or(|at| at > now.monotonic) {
            return;
        }
        let count = self.leaving.queues.len().min(DROPPED_MAX);
        let queues: Vec<_> = self.leaving.queues.drain(..count).collect();
        queues.into_iter().for_each(|queue| self.drop_queue(queue));
        let is_done = self.leaving.queues.is_empty();
        self.leaving.at = (!is_done).then(|| now.monotonic + DROP_PAUSE);
    }

    /// Another turn may drop as many machines again.
    pub(super) fn may_drop_again(&mut self) {
        self.leaving.dropped = 0;
    }

    fn drop_queue(&mut self, queue: QueueId) {
        self.leaving.dropped += 1;
        self.changes.queue_gone(queue);
        self.stored.remove(&queue);
        self.dropped_queues.push(queue);
        let machine = self.queues.get(&queue);
        if self.stored.remove(&ids_of(queue)).is_some() || machine.is_some_and(Queue::has_ids) {
            self.dropped_queues.push(ids_of(queue));
        }
        let has_notes = machine.is_some_and(Queue::has_replay_window);
        if self.stored.remove(&replay_of(queue)).is_some() || has_notes {
            self.dropped_queues.push(replay_of(queue));
        }
        let came_back = machine.is_some_and(Queue::has_attempts);
        if self.stored.remove(&attempts_of(queue)).is_some() || came_back {
            self.dropped_queues.push(attempts_of(queue));
        }
        self.drop_retries(queue);
        self.collect_at.get_or_insert(Duration::ZERO);
        if let Some(mut machine) = self.queues.remove(&queue) {
            let queue_type = machine.settings().arguments.queue_type;
            let mut retired = self.shared.retired.lock();
            retired.of(queue_type).add(machine.counters());
            drop(retired);
            for channel in machine.take_barriers() {
                self.pass_barrier_of_deleted(queue, channel);
            }
            machine.handle_deleted(&mut self.effects);
        }
    }
}
