//! What other crates may ask of a running node, from any thread.
//!
//! Metadata is read from the snapshot without asking anybody. Figures come from the shards in slices ([`SLICE`]), one at a time and
//! shard, so that listing everything never holds up messages for long. Changes are metadata commands or frames of a
//! [`DirectConnection`].

use crate::alarms::Watermarks;
use crate::boot::{self, NodeError};
use crate::config::{ListenAddress, Settings};
use crate::definitions::ImportError;
use crate::direct::DirectConnection;
use crate::events::bound_exchange;
use crate::listener::ListenOptions;
use crate::mailbox::Mail;
use crate::metadata_leader::{BatchError, BatchKind};
use crate::query::{
    ByteCounts, ConnectionFigures, ConnectionPage, ConsumerFigures, DelayedCount, Query,
    QueueChanges, QueueFigures, SLICE, VhostBytes,
};
use crate::queue_log::ChangedQueues;
use crate::shared::{Shared, wall_ms};
use crate::trust_store::TrustStoreSwitch;
use auth::TrustStore;
use base::{ConnectionId, Name, QueueRef};
use broker::Error;
use broker::admission::{Churn, InUse};
use broker::auth::{Attempts, Authenticator, Principal};
use broker::command::{ChannelId, MetadataCommand, MetadataReply, QueueCommand, Reply};
use broker::delay::{DelayTarget, Listed, Selector};
use broker::event::INTERNAL_USER;
use broker::metadata::Metadata;
use broker::queue::Counters;
use broker::queue_arguments::QueueType;
use broker::vhost::LOG_EXCHANGE;
use frontend_amqp091::ConnectionSummary;
use frontend_amqp091::counts::{Leg, PublishCounts, TrafficTotals};
use frontend_amqp091::internal;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::oneshot;

/// Connections that the kernel holds for a service before they are accepted.
const SERVICE_BACKLOG: i32 = 1024;

/// How long listeners may take to be open again.
const REOPEN_TIMEOUT: Duration = Duration::from_secs(10);

/// A running node.
#[derive(Clone)]
pub struct Handle {
    shared: Arc<Shared>,
    settings: Arc<Settings>,
    listeners: Arc<Listeners>,
    trust_store: Arc<TrustStoreSwitch>,
}

/// Where a node listens for AMQP 0-9-1.
#[derive(Clone, Debug, Default)]
pub struct Listeners {
    /// Without TLS.
    pub plain: Vec<SocketAddr>,
    /// With TLS.
    pub tls: Vec<SocketAddr>,
}

impl Listeners {
    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &SocketAddr> {
        self.plain.iter().chain(&self.tls)
    }
}

/// The resources of a node at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Resources {
    /// Memory in use, in bytes.
    pub memory_used_bytes: u64,
    /// Where the memory alarm begins.
    pub memory_limit_bytes: u64,
    /// The memory alarm is on.
    pub memory_alarm: bool,
    /// Free bytes of the data directory's file system.
    pub disk_free_bytes: u64,
    /// Where the disk alarm begins.
    pub disk_free_limit_bytes: u64,
    /// The disk alarm is on.
    pub disk_alarm: bool,
    /// Bytes in out-buffers and half-received messages.
    pub connection_bytes: u64,
    /// Bytes of messages that queues hold in memory.
    pub queue_bytes: u64,
}

/// What memory is used for at one moment, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct MemoryFigures {
    /// What the operating system gave to the process.
    pub resident_bytes: u64,
    /// The part of it that is in files: the program.
    pub of_files_bytes: u64,
    /// Out-buffers and half-received messages.
    pub connection_bytes: u64,
    /// Messages that classic queues hold in memory, and those that are delayed.
    pub classic_queue_bytes: u64,
    /// Messages that quorum queues hold in memory.
    pub quorum_queue_bytes: u64,
    /// What waits for the log.
    pub log_bytes: u64,
    /// Where messages are on the disk.
    pub index_bytes: u64,
    /// What is counted of exchanges.
    pub counter_bytes: u64,
}

impl Handle {
    pub(crate) fn new(
        shared: Arc<Shared>,
        settings: Arc<Settings>,
        listeners: Arc<Listeners>,
        trust_store: Arc<TrustStoreSwitch>,
    ) -> Self {
        Self {
            shared,
            settings,
            listeners,
            trust_store,
        }
    }

    /// The trust store, while it is on.
    pub fn trust_store(&self) -> Option<Arc<TrustStore>> {
        self.trust_store.store()
    }

    /// Switches the trust store on or off; a node without TLS listeners has none.
    ///
    /// # Errors
    /// It cannot be switched on as it is configured.
    pub fn switch_trust_store(&self, on: bool) -> Result<(), NodeError> {
        self.trust_store.switch(on)
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// The settings it was started with.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// How often somebody tried to log in.
    pub fn login_attempts(&self) -> &Attempts {
        &self.shared.frontend.attempts
    }

    /// Who lets users of the HTTP API in beside the metadata; `None` if nobody does.
    pub fn http_authenticator(&self) -> Option<Arc<dyn Authenticator>> {
        self.shared.access.http_authenticator.clone()
    }

    /// The metadata as of now.
    pub fn metadata(&self) -> Arc<Metadata> {
        self.shared.leader.snapshot()
    }

    /// Where clients of AMQP 0-9-1 connect.
    pub fn amqp_listeners(&self) -> &Listeners {
        &self.listeners
    }

    /// Opens a listening socket for a service.
    ///
    /// # Errors
    /// The address cannot be bound.
    pub fn bind(
        address: ListenAddress,
        backlog: Option<u32>,
    ) -> Result<std::net::TcpListener, NodeError> {
        boot::bind(
            address,
            ListenOptions {
                backlog: backlog.map_or(SERVICE_BACKLOG, |backlog| {
                    i32::try_from(backlog).unwrap_or(i32::MAX)
                }),
                nodelay: true,
                keepalive: false,
                send_buffer_bytes: None,
                receive_buffer_bytes: None,
            },
        )
    }

    /// How long it has been running.
    pub fn uptime(&self) -> Duration {
        self.shared.started.elapsed()
    }

    /// Memory, disk and alarms as of now.
    pub fn resources(&self) -> Resources {
        self.shared.resources(&self.settings)
    }

    /// What memory is used for, as of now.
    pub fn memory(&self) -> MemoryFigures {
        self.shared.memory()
    }

    /// Channels that are open.
    pub fn channel_count(&self) -> u64 {
        let churn = self.churn();
        churn.channels_opened.saturating_sub(churn.channels_closed)
    }

    /// Where the alarms begin.
    pub fn watermarks(&self) -> Watermarks {
        *self.shared.watermarks.lock()
    }

    /// Says where the alarms begin, until the node starts again. The monitor looks at it within a second.
    pub fn set_watermarks(&self, watermarks: Watermarks) {
        watermarks.log();
        *self.shared.watermarks.lock() = watermarks;
    }

    /// Closes the listeners for clients, whose connections stay. Returns when they are closed.
    pub async fn suspend_listeners(&self) {
        self.shared.doors.close().await;
        tracing::warn!("client listeners were suspended");
    }

    /// Opens the listeners for clients again. False if one cannot be opened in time; it is tried on.
    pub async fn resume_listeners(&self) -> bool {
        let opened = tokio::time::timeout(REOPEN_TIMEOUT, self.shared.doors.open()).await;
        tracing::warn!(all = opened.is_ok(), "client listeners were resumed");
        opened.is_ok()
    }

    /// Whether the node is in maintenance.
    pub fn is_draining(&self) -> bool {
        self.shared.is_draining.load(Ordering::Relaxed)
    }

    /// Puts the node into maintenance: closes its listeners for clients, then their connections.
    pub async fn drain(&self) {
        self.shared.is_draining.store(true, Ordering::Relaxed);
        self.suspend_listeners().await;
        for connection in self.connections().await {
            let reason = "Node was put into maintenance mode".to_owned();
            self.close_connection(connection.details.id, reason).await;
        }
    }

    /// Ends the maintenance. False as for [`Handle::resume_listeners`].
    pub async fn revive(&self) -> bool {
        self.shared.is_draining.store(false, Ordering::Relaxed);
        self.resume_listeners().await
    }

    /// Gives memory that is free back to the operating system, as far as the calling thread has any.
    pub fn release_memory(&self) {
        (self.shared.release_memory)();
    }

    /// Carries out a metadata command; durable things are on stable storage when it returns. Permissions are the caller's matter.
    ///
    /// # Errors
    /// The rule that the command breaks, or the log has failed.
    pub async fn propose(&self, command: &MetadataCommand) -> Result<MetadataReply, Error> {
        self.propose_as(INTERNAL_USER, command).await
    }

    /// Publishes a line of the log to `amq.rabbitmq.log`, if something is bound to it; otherwise, and where a queue does not
    /// keep up, it is dropped. Logs nothing itself.
    pub fn publish_log_line(&self, level: &'static str, line: String) {
        let metadata = self.metadata();
        let vhost = &self.settings.default_vhost;
        let Some((vhost, exchange)) = bound_exchange(&metadata, vhost, LOG_EXCHANGE) else {
            return;
        };
        let node = self.shared.events.node();
        let message = internal::log_line(&exchange.name, level, node, line, wall_ms());
        let _dropped = self.shared.events.route(vhost, exchange, &message);
    }

    /// Proposes a metadata command for a user, whom events name.
    ///
    /// # Errors
    /// As [`Handle::propose`].
    pub async fn propose_as(
        &self,
        user: &str,
        command: &MetadataCommand,
    ) -> Result<MetadataReply, Error> {
        settled(self.shared.propose(command, user).await)
    }

    /// Proposes, for a user, a command that depends on what holds when it is carried out; `make` must be quick.
    ///
    /// # Errors
    /// As [`Handle::propose`], or what `make` says.
    pub async fn propose_change(
        &self,
        user: &str,
        make: impl FnOnce(&Metadata) -> Result<MetadataCommand, Error>,
    ) -> Result<MetadataReply, Error> {
        settled(self.shared.propose_change(make, user).await)
    }

    /// Carries out several commands for a user, all of them or none, and waits once until they are on stable storage.
    ///
    /// # Errors
    /// The first that is refused, or the log has failed.
    pub async fn propose_batch(
        &self,
        user: &str,
        kind: BatchKind,
        commands: &[MetadataCommand],
    ) -> Result<(), BatchError> {
        let answer = self.shared.propose_batch(commands, kind, user)?;
        settled(answer.await)
            .map(drop)
            .map_err(|error| BatchError { index: None, error })
    }

    /// Imports a file of definitions for a user: all of it or nothing. `vhost` is where everything goes, `None` for where the file says.
    ///
    /// # Errors
    /// What of the file cannot be used, or the log has failed.
    pub async fn import_definitions(
        &self,
        user: &Name,
        vhost: Option<&Name>,
        file: &[u8],
    ) -> Result<(), ImportError> {
        let validator = &self.settings.credential_validator;
        let commands = crate::definitions::read(file, vhost, user, validator)?;
        self.propose_batch(user, BatchKind::Definitions, &commands)
            .await
            .map_err(|refused| ImportError::refused(&commands, refused))
    }

    /// The same, unless this file was the last one that was imported so. True if it was imported now.
    ///
    /// # Errors
    /// As [`Handle::import_definitions`].
    pub async fn import_changed_definitions(
        &self,
        user: &Name,
        file: &[u8],
    ) -> Result<bool, ImportError> {
        let (name, hash) = crate::definitions::mark(file, self.settings.definitions.hashing);
        if self.metadata().global_parameter(&name) == Some(&hash) {
            return Ok(false);
        }
        let mut commands =
            crate::definitions::read(file, None, user, &self.settings.credential_validator)?;
        commands.push(MetadataCommand::PutGlobalParameter { name, value: hash });
        self.propose_batch(user, BatchKind::Definitions, &commands)
            .await
            .map_err(|refused| ImportError::refused(&commands, refused))?;
        Ok(true)
    }

    /// A connection on behalf of a user who may use the vhost.
    pub fn connect(&self, user: Principal, vhost: Name) -> DirectConnection {
        DirectConnection::open(Arc::clone(&self.shared), user, vhost)
    }

    /// What happened in queues that are gone.
    pub fn retired_counters(&self, queue_type: QueueType) -> Counters {
        *self.shared.retired.lock().of(queue_type)
    }

    /// What clients did with messages since the node's start.
    pub fn traffic(&self) -> TrafficTotals {
        let mut totals = TrafficTotals::default();
        for traffic in &self.shared.traffic {
            traffic.add_to(&mut totals);
        }
        self.shared.direct_traffic.lock().add_to(&mut totals);
        totals
    }

    /// Messages that the log was given, and that were read back from it, since the node's start.
    pub fn log_messages(&self) -> LogMessages {
        let statistics = self.shared.log.statistics();
        LogMessages {
            written: statistics.messages_written,
            read: statistics.messages_read,
        }
    }

    /// What was published in each vhost since the node's start.
    pub fn vhost_traffic(&self) -> HashMap<Name, PublishCounts> {
        let metadata = self.metadata();
        let is_there = |vhost: &Name| metadata.vhost(vhost).is_some();
        let mut counts: HashMap<Name, PublishCounts> = HashMap::new();
        let mut add = |vhost: &Name, own: PublishCounts| {
            if let Some(sum) = counts.get_mut(vhost) {
                sum.add(&own);
            } else if is_there(vhost) {
                counts.insert(vhost.clone(), own);
            }
        };
        for traffic in &self.shared.traffic {
            traffic.retain_vhosts(is_there);
            traffic.vhosts(&mut add);
        }
        let direct = self.shared.direct_traffic.lock();
        direct.retain_vhosts(is_there);
        direct.vhosts(&mut add);
        counts
    }

    /// Bytes on connections to each vhost since the node's start.
    pub async fn vhost_bytes(&self) -> HashMap<Name, ByteCounts> {
        let mut counts: HashMap<Name, ByteCounts> = HashMap::new();
        let all = self.all_connections(|from, answer| Query::Bytes { from, answer });
        for VhostBytes { vhost, bytes } in all.await {
            counts.entry(vhost).or_default().add(&bytes);
        }
        counts
    }

    /// What went through each exchange that is there, by vhost and name.
    pub fn exchange_traffic(&self) -> HashMap<(Name, Name), PublishCounts> {
        let metadata = self.metadata();
        let is_there = |vhost: &Name, exchange: &Name| {
            let vhost = metadata.vhost(vhost);
            vhost.is_some_and(|vhost| vhost.exchange(exchange).is_some())
        };
        let mut counts: HashMap<(Name, Name), PublishCounts> = HashMap::new();
        let mut add = |vhost: &Name, exchange: &Name, own: PublishCounts| {
            if !is_there(vhost, exchange) {
                return;
            }
            let key = (vhost.clone(), exchange.clone());
            counts.entry(key).or_default().add(&own);
        };
        for traffic in &self.shared.traffic {
            traffic.retain_exchanges(is_there);
            traffic.exchanges(&mut add);
        }
        let direct = self.shared.direct_traffic.lock();
        direct.retain_exchanges(is_there);
        direct.exchanges(&mut add);
        counts
    }

    /// Messages that each exchange gave to each queue, where `management.rates_mode` asks for it.
    pub fn leg_traffic(&self) -> HashMap<Leg, u64> {
        let metadata = self.metadata();
        let is_there = |leg: &Leg| {
            let vhost = metadata.vhost(&leg.vhost);
            vhost.is_some_and(|vhost| vhost.exchange(&leg.exchange).is_some())
                && metadata.queue_by_id(leg.queue).is_some()
        };
        let mut counts: HashMap<Leg, u64> = HashMap::new();
        let mut add = |leg: &Leg, count: u64| {
            if is_there(leg) {
                *counts.entry(leg.clone()).or_default() += count;
            }
        };
        for traffic in &self.shared.traffic {
            traffic.retain_legs(is_there);
            traffic.legs(&mut add);
        }
        let direct = self.shared.direct_traffic.lock();
        direct.retain_legs(is_there);
        direct.legs(&mut add);
        counts
    }

    /// Queues that were created and deleted since the node's start.
    pub fn queue_churn(&self) -> (u64, u64) {
        self.shared.leader.queue_churn()
    }

    /// Connections and channels that were opened and have ended since the node's start.
    pub fn churn(&self) -> Churn {
        self.shared.frontend.admission.churn()
    }

    /// Figures of these queues, in no particular order; queues that are gone are left out.
    pub async fn queue_figures(&self, queues: &[QueueRef]) -> Vec<QueueFigures> {
        self.ask_about(queues, |ids, answer| Query::Queues { ids, answer })
            .await
    }

    /// The queues that came, went or changed in the metadata behind `seen`, which is what the last answer gave or `None`. The
    /// metadata has at least these changes.
    pub fn queues_changed_since(&self, seen: Option<u64>) -> ChangedQueues {
        self.shared.leader.queues_changed_since(seen)
    }

    /// How many shards there are.
    pub fn shard_count(&self) -> usize {
        self.shared.shard_count()
    }

    /// Queues of a shard in which something happened since this was asked last. There may be one asker only: whoever asks takes the
    /// answer from all others. `None` from a shard that is stopping.
    pub async fn queue_changes(&self, shard: usize) -> Option<QueueChanges> {
        let (answer, changes) = oneshot::channel();
        let mailbox = self.shared.shard_mailboxes().get(shard)?;
        mailbox.send(Mail::Query(Query::Changes { answer }));
        changes.await.ok()
    }

    /// Consumers of these queues, in no particular order.
    pub async fn consumers(&self, queues: &[QueueRef]) -> Vec<ConsumerFigures> {
        self.ask_about(queues, |ids, answer| Query::Consumers { ids, answer })
            .await
    }

    /// How many delayed messages wait for each exchange and queue, in no particular order.
    pub async fn delayed_counts(&self) -> Vec<DelayedCount> {
        let answers = self.ask_all(|answer| Query::DelayedCounts { answer });
        let mut merged: HashMap<(Name, DelayTarget), u64> = HashMap::new();
        for found in answers.await.into_iter().flatten() {
            *merged.entry((found.vhost, found.target)).or_default() += found.count;
        }
        let counts = merged
            .into_iter()
            .map(|((vhost, target), count)| DelayedCount {
                vhost,
                target,
                count,
            });
        counts.collect()
    }

    /// The delayed messages that are due next, at most `max` and [`SLICE`].
    pub async fn delayed(&self, selector: &Selector, max: usize) -> Vec<Listed> {
        let answers = self.ask_all(|answer| Query::Delayed {
            selector: selector.clone(),
            max,
            answer,
        });
        let mut found: Vec<_> = answers.await.into_iter().flatten().collect();
        found.sort_by_key(|listed| listed.due_at_ms);
        found.truncate(max.min(SLICE));
        found
    }

    /// Drops delayed messages and returns how many. It does not wait for the disk: after a crash right behind it some may come.
    pub async fn cancel_delayed(&self, selector: &Selector) -> u64 {
        let answers = self.ask_all(|answer| Query::CancelDelayed {
            selector: selector.clone(),
            answer,
        });
        answers.await.into_iter().sum()
    }

    /// Clients that are connected, those that have not logged in yet with them.
    pub fn connection_count(&self) -> u64 {
        let counts = self.shared.connection_counts.iter();
        counts
            .map(|count| count.load(Ordering::Relaxed) as u64)
            .sum()
    }

    /// What a user, or all users, have open now.
    pub fn in_use(&self, user: Option<&Name>) -> InUse {
        self.shared.frontend.admission.in_use(user)
    }

    /// All connections, oldest first.
    pub async fn connections(&self) -> Vec<ConnectionFigures> {
        let mut found = self
            .all_connections(|from, answer| Query::Connections { from, answer })
            .await;
        found.sort_by_key(|connection| (connection.details.connected_at_ms, connection.details.id));
        found
    }

    /// All connections, oldest first, with what lists are filtered and ordered by.
    pub async fn connection_summaries(&self) -> Vec<ConnectionSummary> {
        let mut found = self
            .all_connections(|from, answer| Query::Summaries { from, answer })
            .await;
        found.sort_by_key(|connection| (connection.connected_at_ms, connection.id));
        found
    }

    /// These connections, in no particular order; those that are gone are left out.
    pub async fn connections_of(&self, ids: &[ConnectionId]) -> Vec<ConnectionFigures> {
        let mut by_shard = vec![Vec::new(); self.shared.shard_count()];
        for id in ids {
            // Those of the desk are no clients'.
            if let Some(ids) = by_shard.get_mut(id.shard.index()) {
                ids.push(*id);
            }
        }
        let mut found = Vec::with_capacity(ids.len());
        for (mailbox, ids) in self.shared.shard_mailboxes().iter().zip(by_shard) {
            for slice in ids.chunks(SLICE) {
                let (answer, figures) = oneshot::channel();
                let ids = slice.to_vec();
                mailbox.send(Mail::Query(Query::ConnectionsOf { ids, answer }));
                // A shard that is stopping has nothing to say.
                found.extend(figures.await.unwrap_or_default());
            }
        }
        found
    }

    async fn all_connections<T>(
        &self,
        query: impl Fn(usize, oneshot::Sender<ConnectionPage<T>>) -> Query,
    ) -> Vec<T> {
        let mut found = Vec::new();
        for mailbox in self.shared.shard_mailboxes() {
            let mut from = Some(0);
            while let Some(slot) = from {
                let (answer, page) = oneshot::channel();
                mailbox.send(Mail::Query(query(slot, answer)));
                // A shard that is stopping has none.
                let Ok(page) = page.await else { break };
                found.extend(page.connections);
                from = page.next;
            }
        }
        found
    }

    /// Ends a connection with reply code 320 and this text behind `CONNECTION_FORCED - `. Returns whether there was one.
    pub async fn close_connection(&self, connection: ConnectionId, reason: String) -> bool {
        let (answer, closed) = oneshot::channel();
        let Some(mailbox) = self.shared.shard_mailboxes().get(connection.shard.index()) else {
            return false;
        };
        mailbox.send(Mail::Query(Query::Close {
            connection,
            reason,
            answer,
        }));
        closed.await.unwrap_or(false)
    }

    /// Drops all ready messages of a queue and returns how many.
    ///
    /// # Errors
    /// The queue is gone, or the log has failed.
    pub async fn purge(&self, queue: QueueRef) -> Result<u64, Error> {
        let reply = self
            .command(queue, |channel| QueueCommand::Purge { channel })
            .await?;
        if let Reply::Purged { count } = reply {
            Ok(count)
        } else {
            Err(refusal(reply))
        }
    }

    /// Deletes a queue, if the conditions hold, and returns how many ready messages went with it.
    ///
    /// # Errors
    /// The queue is gone, a condition does not hold, or the log has failed.
    pub async fn delete_queue(
        &self,
        queue: QueueRef,
        conditions: DeleteConditions,
    ) -> Result<u64, Error> {
        let DeleteConditions {
            if_unused,
            if_empty,
        } = conditions;
        let command = |channel| QueueCommand::Delete {
            channel,
            if_unused,
            if_empty,
        };
        let reply = self.command(queue, command).await?;
        if let Reply::Deleted { ready } = reply {
            Ok(ready)
        } else {
            Err(refusal(reply))
        }
    }

    /// Gives a queue a command of the node's own and waits for the first reply.
    async fn command(
        &self,
        queue: QueueRef,
        command: impl FnOnce(ChannelId) -> QueueCommand,
    ) -> Result<Reply, Error> {
        let (connection, mut replies) = self.shared.desk.open(self.shared.desk_id());
        let channel = ChannelId {
            connection,
            number: 1,
            epoch: 0,
        };
        let mail = Mail::Queue {
            queue: queue.id,
            command: command(channel),
        };
        self.shared.mailboxes[queue.shard.index()].send(mail);
        let reply = replies.recv().await;
        self.shared.desk.close(connection);
        reply.map(|(_, reply)| reply).ok_or_else(stopping)
    }

    /// Asks each shard in turn.
    async fn ask_all<T>(&self, query: impl Fn(oneshot::Sender<T>) -> Query) -> Vec<T> {
        let mut found = Vec::new();
        for mailbox in self.shared.shard_mailboxes() {
            let (answer, reply) = oneshot::channel();
            mailbox.send(Mail::Query(query(answer)));
            // A shard that is stopping has nothing to say.
            found.extend(reply.await.ok());
        }
        found
    }

    async fn ask_about<T>(
        &self,
        queues: &[QueueRef],
        query: impl Fn(Vec<base::QueueId>, oneshot::Sender<Vec<T>>) -> Query,
    ) -> Vec<T> {
        let mut by_shard = vec![Vec::new(); self.shared.shard_count()];
        for queue in queues {
            by_shard[queue.shard.index()].push(queue.id);
        }
        let mut found = Vec::with_capacity(queues.len());
        for (shard, ids) in by_shard.into_iter().enumerate() {
            for slice in ids.chunks(SLICE) {
                let (answer, figures) = oneshot::channel();
                self.shared.mailboxes[shard].send(Mail::Query(query(slice.to_vec(), answer)));
                // A shard that is stopping has nothing to say.
                found.extend(figures.await.unwrap_or_default());
            }
        }
        found
    }
}

/// Messages of all queues on their way to the log and from it, since the node's start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogMessages {
    /// Given to the log.
    pub written: u64,
    /// Read back from it.
    pub read: u64,
}

/// When a queue may be deleted.
#[derive(Clone, Copy, Debug, Default)]
pub struct DeleteConditions {
    /// Only without consumers.
    pub if_unused: bool,
    /// Only without ready messages.
    pub if_empty: bool,
}

fn stopping() -> Error {
    Error::Storage("the node is stopping".into())
}

/// Why a queue did not do what it was told.
fn refusal(reply: Reply) -> Error {
    if let Reply::Failed(error) = reply {
        *error
    } else {
        Error::Invalid("the queue gave an answer to something else".into())
    }
}

fn settled(
    answer: Result<Result<MetadataReply, Error>, oneshot::error::RecvError>,
) -> Result<MetadataReply, Error> {
    answer.unwrap_or_else(|_| Err(stopping()))
}
