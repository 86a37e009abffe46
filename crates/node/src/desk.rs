//! The desk: where threads that are no shard (management, control) meet the shards.
//!
//! To the shards it is one more shard, the last one, that owns no queue: it has a mailbox, so answers find it by the same
//! way as everywhere, and tickets of its own in the log, so its metadata commands become durable as theirs do. Behind it are
//! [`DirectConnection`](crate::DirectConnection)s, which get their replies handed on, and proposals that wait for the disk.
//!
//! It runs on the main thread and only passes things on. Limits: whoever uses it limits how many requests are under way
//! at once; each holds one entry here.

use crate::alarms::Alarms;
use crate::mailbox::Mail;
use crate::metadata_leader::{BatchError, BatchKind, Proposed};
use crate::shared::Shared;
use base::{ConnectionId, ShardId};
use broker::Error;
use broker::command::{ChannelId, MetadataCommand, MetadataReply, QueueCommand, Reply};
use broker::delay;
use broker::metadata::Metadata;
use frontend_amqp091::{Request, return_late_reply};
use parking_lot::Mutex;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use store::{Event, MetadataIndex};
use tokio::sync::{mpsc, oneshot};

/// The answer to a proposal.
pub(crate) type Answer = oneshot::Sender<Result<MetadataReply, Error>>;

/// State of the desk, shared by its task and those who use it.
#[derive(Debug, Default)]
pub(crate) struct Desk {
    serial: AtomicU64,
    /// Who gets the replies of which connection.
    visitors: Mutex<HashMap<u64, mpsc::UnboundedSender<(ChannelId, Reply)>>>,
    proposals: Mutex<Proposals>,
    /// Held while a queue is paused or resumed, so that it hears of it in the order of the metadata.
    pub(crate) pausing: Mutex<()>,
    memory_alarm: AtomicBool,
    disk_alarm: AtomicBool,
}

#[derive(Debug, Default)]
struct Proposals {
    /// Of the last command that went to the log.
    ticket: u64,
    waiting: VecDeque<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    ticket: u64,
    index: MetadataIndex,
    reply: MetadataReply,
    answer: Answer,
}

impl Desk {
    pub(crate) fn set_alarms(&self, alarms: Alarms) {
        self.memory_alarm.store(alarms.memory, Ordering::Relaxed);
        self.disk_alarm.store(alarms.disk, Ordering::Relaxed);
    }

    /// Which alarms are raised.
    pub(crate) fn alarms(&self) -> Alarms {
        Alarms {
            memory: self.memory_alarm.load(Ordering::Relaxed),
            disk: self.disk_alarm.load(Ordering::Relaxed),
        }
    }

    /// A new connection id of this desk, and the replies to it.
    pub(crate) fn open(
        &self,
        desk: ShardId,
    ) -> (ConnectionId, mpsc::UnboundedReceiver<(ChannelId, Reply)>) {
        let serial = self.serial.fetch_add(1, Ordering::Relaxed) + 1;
        let (sender, replies) = mpsc::unbounded_channel();
        self.visitors.lock().insert(serial, sender);
        let id = ConnectionId {
            shard: desk,
            serial,
        };
        (id, replies)
    }

    /// Forgets a connection; messages that still come for it go back to their queues.
    pub(crate) fn close(&self, id: ConnectionId) {
        self.visitors.lock().remove(&id.serial);
    }
}

impl Shared {
    /// The desk's number among the mailboxes: behind the last shard.
    pub(crate) fn desk_id(&self) -> ShardId {
        ShardId(u16::try_from(self.shard_count()).unwrap_or(u16::MAX))
    }

    /// Proposes a metadata command that `user` asks for. The answer comes when what it changed is on stable storage.
    pub(crate) fn propose(
        &self,
        command: &MetadataCommand,
        user: &str,
    ) -> oneshot::Receiver<Result<MetadataReply, Error>> {
        self.propose_by(|ticket| self.leader.propose(command, user, self.desk_id(), ticket))
    }

    /// The same with a command that depends on what holds when it is carried out.
    pub(crate) fn propose_change(
        &self,
        make: impl FnOnce(&Metadata) -> Result<MetadataCommand, Error>,
        user: &str,
    ) -> oneshot::Receiver<Result<MetadataReply, Error>> {
        self.propose_by(|ticket| {
            self.leader
                .propose_change(make, user, self.desk_id(), ticket)
        })
    }

    fn propose_by(
        &self,
        propose: impl FnOnce(u64) -> Result<Proposed, Error>,
    ) -> oneshot::Receiver<Result<MetadataReply, Error>> {
        let (answer, result) = oneshot::channel();
        // Held until the command is in the log: tickets must get there in ascending order.
        let mut proposals = self.desk.proposals.lock();
        match propose(proposals.ticket + 1) {
            Ok(proposed) => self.follow_up(proposed, &mut proposals, answer),
            // Nobody may wait any more.
            Err(error) => _ = answer.send(Err(error)),
        }
        result
    }

    /// Proposes several commands, of which all or none are carried out. The answer comes when all of it is on stable storage.
    ///
    /// # Errors
    /// One of them is refused, or the log has failed.
    pub(crate) fn propose_batch(
        &self,
        commands: &[MetadataCommand],
        kind: BatchKind,
        user: &str,
    ) -> Result<oneshot::Receiver<Result<MetadataReply, Error>>, BatchError> {
        let prepared = self.leader.prepare(commands, kind)?;
        let (answer, result) = oneshot::channel();
        let mut proposals = self.desk.proposals.lock();
        let ticket = proposals.ticket + 1;
        let proposed = self
            .leader
            .commit(prepared, commands, user, self.desk_id(), ticket)?;
        self.follow_up(proposed, &mut proposals, answer);
        Ok(result)
    }

    /// Tells the shards what follows from a proposal, and keeps the answer until it is durable.
    fn follow_up(&self, proposed: Proposed, proposals: &mut Proposals, answer: Answer) {
        for queue in proposed.started_queues {
            self.mailboxes[queue.shard.index()].send(Mail::QueueStart { queue: queue.id });
        }
        if proposed.changed_connections {
            self.connections_changed();
        }
        for vhost in &proposed.changed_policies {
            self.policies_changed(vhost);
        }
        for queue in proposed.deleted_queues {
            self.mailboxes[queue.shard.index()].send(Mail::QueueDeleted { queue: queue.id });
        }
        for (queue, message) in proposed.replays {
            let command = QueueCommand::Publish {
                messages: message.into(),
                confirm: None,
            };
            self.mailboxes[queue.shard.index()].send(Mail::Queue {
                queue: queue.id,
                command,
            });
        }
        for selector in proposed.delays_ended {
            for mailbox in self.shard_mailboxes() {
                mailbox.send(Mail::DelaysEnded(selector.clone()));
            }
        }
        let Some(index) = proposed.index else {
            let _ = answer.send(Ok(proposed.reply));
            return;
        };
        proposals.ticket += 1;
        proposals.waiting.push_back(Waiting {
            ticket: proposals.ticket,
            index,
            reply: proposed.reply,
            answer,
        });
    }

    /// Hands on what a direct connection of `user` asks for.
    pub(crate) fn hand_on(self: &Arc<Self>, request: Request, user: &str) {
        match request {
            Request::Queue { queue, command } => {
                // A desk has no delay store.
                let queue = if queue.shard == self.desk_id() {
                    delay::store_of(ShardId(0))
                } else {
                    queue
                };
                self.mailboxes[queue.shard.index()].send(Mail::Queue {
                    queue: queue.id,
                    command,
                });
            }
            Request::Metadata { channel, command } => {
                let result = self.propose(&command, user);
                let shared = Arc::clone(self);
                tokio::spawn(async move {
                    // Without an answer the node has stopped.
                    if let Ok(result) = result.await {
                        let reply = Reply::Metadata(result.map_err(Box::new));
                        shared.reply_to_visitor(channel, reply);
                    }
                });
            }
            Request::DirectReply { to, message } => {
                self.mailboxes[to.connection.shard.index()].send(Mail::Reply {
                    from: self.desk_id(),
                    to,
                    reply: Reply::DirectReply { message },
                });
            }
            Request::Access { channel, request } => self.ask_access(channel, *request),
            Request::Event(event) => self.events.publish(&self.leader.snapshot(), &event),
        }
    }

    fn reply_to_visitor(&self, to: ChannelId, reply: Reply) {
        let visitors = self.desk.visitors.lock();
        let unsent = match visitors.get(&to.connection.serial) {
            Some(visitor) => visitor.send((to, reply)).err().map(|error| error.0.1),
            None => Some(reply),
        };
        drop(visitors);
        if let Some(Request::Queue { queue, command }) =
            unsent.and_then(|reply| return_late_reply(to, &reply))
        {
            self.mailboxes[queue.shard.index()].send(Mail::Queue {
                queue: queue.id,
                command,
            });
        }
    }

    fn desk_durable(&self, until: u64) {
        let mut proposals = self.desk.proposals.lock();
        while let Some(waiting) = proposals
            .waiting
            .pop_front_if(|waiting| waiting.ticket <= until)
        {
            self.leader.handle_durable(waiting.index);
            // Nobody may wait any more.
            let _ = waiting.answer.send(Ok(waiting.reply));
        }
    }

    fn desk_failed(&self, error: &store::StoreError) {
        for waiting in std::mem::take(&mut self.desk.proposals.lock().waiting) {
            let error = Error::Storage(format!("the log has failed: {error}").into());
            // Nobody may wait any more.
            let _ = waiting.answer.send(Err(error));
        }
    }
}

/// Hands out the desk's mail until the task is dropped.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mailbox = &shared.mailboxes[shared.desk_id().index()];
    let mut mail = Vec::new();
    loop {
        mailbox.wait().await;
        mailbox.take(&mut mail);
        for piece in mail.drain(..) {
            match piece {
                Mail::Reply { to, reply, .. } => shared.reply_to_visitor(to, reply),
                Mail::Store(Event::Durable { ticket, .. } | Event::Written { ticket, .. }) => {
                    shared.desk_durable(ticket);
                }
                Mail::Store(Event::Failed(error)) => shared.desk_failed(&error),
                // For shards only.
                Mail::Store(
                    Event::Loaded(_)
                    | Event::SnapshotWanted
                    | Event::DiskFull { .. }
                    | Event::DiskOk,
                )
                | Mail::Alarms(_)
                | Mail::Socket(_)
                | Mail::Queue { .. }
                | Mail::Query(_)
                | Mail::WindowCredit { .. }
                | Mail::WindowGone { .. }
                | Mail::QueueStart { .. }
                | Mail::QueueDeleted { .. }
                | Mail::PoliciesChanged { .. }
                | Mail::ConnectionsChanged
                | Mail::DelaysEnded(_)
                | Mail::ChangePrepared(_)
                | Mail::Account { .. }
                | Mail::Shutdown { .. }
                | Mail::Stop => {}
            }
        }
    }
}
