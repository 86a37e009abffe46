//! Starting and stopping a node: data directory, recovery, shards, listeners, signals.

use crate::access::Access;
use crate::alarms::{self, Accountant, AlarmRules, Watermarks};
use crate::check;
use crate::config::{AuthMechanism, ListenAddress, Settings};
use crate::definitions;
use crate::desk::{self, Desk};
use crate::doors::Doors;
use crate::edge::Edge;
use crate::events::EventBus;
use crate::handle::{self, Listeners};
use crate::lifecycle::{Lifecycle, Phase};
use crate::listener::{self, Entrance, ListenOptions};
use crate::mailbox::{Mail, Mailbox};
use crate::message_codec::StoredMessage;
use crate::metadata_codec::{self, MetadataDecodeError};
use crate::metadata_leader::{BatchKind, MetadataLeader};
use crate::notify::notify;
use crate::opentelemetry::{self, Exporter};
use crate::service::{Service, StartServices};
use crate::shard_thread::{self, ShardReport};
use crate::shared::Shared;
use crate::trust_store::TrustStoreSwitch;
use auth::SetupError;
use base::{Name, QueueId, ShardId};
use broker::admission::{Admission, NodeLimits};
use broker::auth::{Attempts, Pattern};
use broker::command::{MetadataCommand, PasswordHash};
use broker::metadata::{
    CLUSTER_NAME, DefaultUser, INTERNAL_CLUSTER_ID, Metadata, MetadataRules, VhostUser,
    bootstrap_commands,
};
use broker::queue::{Stored, owner_of_attempts, owner_of_ids, owner_of_replay};
use broker::vhost::{EVENT_EXCHANGE, LOG_EXCHANGE};
use broker::vhost_metadata::VhostChanges;
use frontend_amqp091::spans::SpanBuffer;
use std::collections::HashSet;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU16;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use store::{Damage, Event, EventSink, Handle, RealDisk, Recovered, Store, StoreError};
use thiserror::Error;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use transport::TlsError;

/// The RabbitMQ release whose behaviour clients are told to expect.
pub const RABBITMQ_VERSION: &str = "4.3.6";

/// Stands for no limit where a limit has to be given: longer than any node runs.
const NO_TIMEOUT: Duration = Duration::from_secs(u32::MAX as u64);

/// How long a stopping node waits for its shards before it gives up on their connections.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(8);

/// Why a node did not start, or ended.
#[derive(Debug, Error)]
pub enum NodeError {
    /// The data directory cannot be used.
    #[error("{0}")]
    Store(StoreError),
    /// The metadata in the data directory cannot be read; nothing was changed.
    #[error("read metadata: {0}")]
    Metadata(String),
    /// The definitions that are to be imported at the start cannot be; nothing of them was.
    #[error("import definitions from {origin}: {reason}")]
    Definitions {
        /// The file, directory or address.
        origin: String,
        /// What about it.
        reason: String,
    },
    /// The first user would have a password that the settings do not allow.
    #[error("default_pass is refused by credential_validator: {reason}")]
    DefaultPassword {
        /// What is wrong with it.
        reason: String,
    },
    /// A listener's address cannot be bound.
    #[error("listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The operating system refuses something that every node needs.
    #[error("{what}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// TLS is configured and cannot be spoken.
    #[error("TLS of {keys}: {reason}")]
    Tls {
        /// What its keys begin with.
        keys: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// The trust store cannot be used with the other options of TLS.
    #[error(transparent)]
    TrustStore(#[from] TlsError),
    /// A backend that lets users in cannot be used as it is configured.
    #[error(transparent)]
    Auth(SetupError),
    /// No plugin of a backend that is configured is enabled.
    #[error(
        "Authentication/authorization backends require plugins to be enabled; see logs for details"
    )]
    NoBackend,
    /// The log failed while the node ran. What was confirmed before is safe.
    #[error("the log has failed and the node has stopped: {0}")]
    LogFailed(StoreError),
}

/// Carries the log's events to those who wait for them.
struct Events {
    mailboxes: Arc<[Mailbox]>,
    disk_full: Arc<AtomicBool>,
    failures: mpsc::UnboundedSender<StoreError>,
}

impl EventSink for Events {
    fn event(&self, event: Event) {
        let shard = match &event {
            Event::Durable { shard, .. } | Event::Written { shard, .. } => *shard,
            Event::Loaded(loaded) => loaded.shard,
            Event::SnapshotWanted => ShardId(0),
            Event::DiskFull { available_bytes } => {
                tracing::error!(
                    available_bytes,
                    "no space for the log: publishers are blocked until there is"
                );
                self.disk_full.store(true, Ordering::Relaxed);
                return;
            }
            Event::DiskOk => {
                tracing::warn!("the log has space again");
                self.disk_full.store(false, Ordering::Relaxed);
                return;
            }
            Event::Failed(error) => {
                tracing::error!(%error, "the log has failed: nothing more is confirmed");
                for mailbox in self.mailboxes.iter() {
                    mailbox.send(Mail::Store(Event::Failed(error.clone())));
                }
                // The main thread may have ended already.
                let _ = self.failures.send(error.clone());
                return;
            }
        };
        self.mailboxes[shard.index()].send(Mail::Store(event));
    }
}

/// Runs a node until it is told to end (SIGTERM, SIGINT, [`Lifecycle::end`]), then drains and returns. While `lifecycle` wants it
/// stopped, the process goes on without it.
///
/// `reload` reads the configuration again before each further start.
/// `started` is when the process started, for the ready line. `release_memory` gives memory that the calling thread has freed back
/// to the operating system; only the program knows its allocator. `services` is called at each start, when the node can be used.
///
/// # Errors
/// It cannot start the first time, or its log failed.
pub fn run(
    settings: Settings,
    reload: &dyn Fn() -> Result<Settings, String>,
    started: Instant,
    release_memory: fn(),
    services: StartServices<'_>,
    lifecycle: &Lifecycle,
) -> Result<(), NodeError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| NodeError::System {
            what: "start main loop",
            source,
        })?;
    runtime.block_on(async {
        let mut signals = Signals::watch()?;
        let mut settings = settings;
        let mut node = Node::start(&settings, started, release_memory, services, lifecycle)?;
        loop {
            if node.serve(&mut signals, lifecycle).await? {
                return Ok(());
            }
            node = loop {
                let wanted = tokio::select! {
                    () = signals.end() => false,
                    wanted = lifecycle.start_wanted() => wanted,
                };
                if !wanted {
                    return Ok(());
                }
                lifecycle.enter(Phase::Booting);
                settings = match reload() {
                    Ok(settings) => settings,
                    Err(problem) => {
                        tracing::error!("the broker does not start: {problem}");
                        lifecycle.failed(problem);
                        continue;
                    }
                };
                match Node::start(
                    &settings,
                    Instant::now(),
                    release_memory,
                    services,
                    lifecycle,
                ) {
                    Ok(node) => break node,
                    Err(error) => {
                        tracing::error!(%error, "the broker does not start");
                        lifecycle.failed(error.to_string());
                    }
                }
            };
        }
    })
}

/// The signals that end the process.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn watch() -> Result<Self, NodeError> {
        let watch = |kind| {
            signal(kind).map_err(|source| NodeError::System {
                what: "watch signals",
                source,
            })
        };
        Ok(Self {
            terminate: watch(SignalKind::terminate())?,
            interrupt: watch(SignalKind::interrupt())?,
        })
    }

    async fn end(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

struct Node {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    reports: mpsc::UnboundedReceiver<ShardReport>,
    failures: mpsc::UnboundedReceiver<StoreError>,
    monitor_stop: Arc<AtomicBool>,
    services: Vec<Box<dyn Service>>,
    edge: Edge,
    listeners: JoinSet<()>,
    desk: JoinSet<()>,
    exporter: Option<Exporter>,
    /// Open as long as the node runs.
    store: Store<StoredMessage>,
}

impl Node {
    fn start(
        settings: &Settings,
        started: Instant,
        release_memory: fn(),
        services: StartServices<'_>,
        lifecycle: &Lifecycle,
    ) -> Result<Self, NodeError> {
        let shards = settings.shards.map_or_else(shards_default, NonZeroU16::get);
        let mailboxes: Arc<[Mailbox]> = (0..=shards).map(|_| Mailbox::default()).collect();
        let disk_full = Arc::new(AtomicBool::new(false));
        let (failures_out, failures) = mpsc::unbounded_channel();
        let events = Events {
            mailboxes: Arc::clone(&mailboxes),
            disk_full: Arc::clone(&disk_full),
            failures: failures_out,
        };
        let options = store::Options::new(&settings.data_dir);
        let (store, recovered) =
            store::open::<StoredMessage>(options, Arc::new(RealDisk), Arc::new(events))
                .map_err(NodeError::Store)?;
        let log = store.handle();
        report_damage(&recovered);

        let (metadata, index) = recover_metadata(&recovered, shards)?;
        let is_new = metadata.vhosts().next().is_none();
        let mut metadata = metadata;
        metadata.set_rules(MetadataRules {
            users: vhost_users(settings),
            ..settings.metadata_rules()
        });
        let event_vhost = settings.event_exchange_vhost.as_ref();
        let events = Arc::new(EventBus::new(
            event_vhost
                .unwrap_or(&settings.default_vhost)
                .as_str()
                .into(),
            settings.node_name.as_str().into(),
            Arc::clone(&mailboxes),
        ));
        let leader = MetadataLeader::new(metadata, index, log.clone(), Arc::clone(&events));
        let (reports_out, reports) = mpsc::unbounded_channel();
        let authenticator = check::backends(settings, &settings.auth.backends)?;
        let http_authenticator = match settings.management.auth_backends.as_slice() {
            [] => authenticator.clone(),
            backends => check::backends(settings, backends)?,
        };
        let needs_edge = settings.proxy_protocol
            || !settings.tls_listeners.is_empty()
            || authenticator.is_some()
            || http_authenticator.is_some();
        let edge = Edge::start(needs_edge)?;
        let recheck_interval = settings.auth.recheck_interval;
        let access = Access::new(http_authenticator, edge.threads(), recheck_interval);
        let telemetry = &settings.opentelemetry;
        let epoch_us = opentelemetry::wall_us_before(started.elapsed());
        let spans = telemetry.endpoint.as_ref();
        let spans = spans.map(|endpoint| {
            let buffer = SpanBuffer::new(epoch_us, telemetry.sample_rate);
            (endpoint, Arc::new(buffer))
        });
        let exporter = match &spans {
            Some((endpoint, buffer)) => Some(Exporter::start(
                telemetry,
                endpoint,
                &settings.node_name,
                Arc::clone(buffer),
            )?),
            None => None,
        };
        let shared = Arc::new(Shared {
            access,
            log: log.clone(),
            connection_counts: (0..shards).map(|_| AtomicUsize::new(0)).collect(),
            traffic: (0..shards).map(|_| Arc::default()).collect(),
            direct_traffic: parking_lot::Mutex::default(),
            frontend: Arc::new(frontend_amqp091::Config {
                authenticator,
                spans: spans.map(|(_, buffer)| buffer),
                ..frontend_config(settings)
            }),
            consumer_timeout_ms: settings.consumer_timeout_ms,
            accountant: Accountant::new(usize::from(shards), disk_full),
            watermarks: parking_lot::Mutex::new(Watermarks::new(settings)),
            doors: Doors::default(),
            is_draining: AtomicBool::new(false),
            mailboxes,
            desk: Desk::default(),
            retired: parking_lot::Mutex::default(),
            leader,
            events,
            started,
            release_memory,
        });
        // Whoever brings definitions brings users as well.
        if is_new && settings.definitions.source.is_none() {
            validate_default_password(settings)?;
            bootstrap(&shared.leader, settings);
        }
        end_tracing(&shared.leader);
        name_cluster(&shared.leader, settings);
        definitions::import_at_start(
            &shared.leader,
            &settings.definitions,
            &settings.credential_validator,
        )?;
        create_system_exchange(&shared.leader, shared.events.vhost(), EVENT_EXCHANGE);
        if settings.log.exchange.is_some() {
            let vhost = settings.default_vhost.as_str().into();
            create_system_exchange(&shared.leader, &vhost, LOG_EXCHANGE);
        }
        make_missing_shards(&shared.leader);
        let stored = stored_queues(&shared.leader, &recovered, &log, shards);
        let (histories_out, histories) = std::sync::mpsc::channel();

        let listen = ListenOptions {
            backlog: i32::try_from(settings.tcp_listen_options.backlog).unwrap_or(i32::MAX),
            nodelay: settings.tcp_listen_options.nodelay,
            keepalive: settings.tcp_listen_options.keepalive,
            send_buffer_bytes: settings.tcp_listen_options.send_buffer_bytes,
            receive_buffer_bytes: settings.tcp_listen_options.receive_buffer_bytes,
        };
        let bind_all = |addresses: &[ListenAddress]| {
            let bound = addresses.iter().map(|address| bind(*address, listen));
            bound.collect::<Result<Vec<_>, NodeError>>()
        };
        let plain = Entrance {
            proxy_protocol: settings.proxy_protocol,
            ..Entrance::default()
        };
        let mut entrances = vec![(plain.clone(), bind_all(&settings.tcp_listeners)?)];
        let mut trust_store = TrustStoreSwitch::default();
        if !settings.tls_listeners.is_empty() {
            let tls = check::tls("ssl_options", &settings.tls)?;
            trust_store = TrustStoreSwitch::start(settings, Arc::clone(&tls), edge.threads())?;
            let entrance = Entrance {
                tls: Some(tls),
                tls_handshake_timeout: settings.tls_handshake_timeout,
                ..plain
            };
            entrances.push((entrance, bind_all(&settings.tls_listeners)?));
        }

        let mut threads = Vec::new();
        for (shard, stored) in stored.into_iter().enumerate() {
            let id = ShardId(u16::try_from(shard).expect("as many as were asked for"));
            let (shared, reports) = (Arc::clone(&shared), reports_out.clone());
            let histories = histories_out.clone();
            threads.push(spawn(format!("shard-{shard}"), move || {
                if let Err(error) = shard_thread::run(id, &shared, stored, histories, &reports) {
                    tracing::error!(shard = id.0, %error, "shard cannot run");
                    std::process::abort();
                }
            })?);
        }
        drop(histories_out);
        // Nobody may bind to an exchange before its history is there: each shard lets go of its end when it has read its part.
        while histories.recv().is_ok() {}
        let monitor_stop = Arc::new(AtomicBool::new(false));
        {
            let (shared, stop) = (Arc::clone(&shared), Arc::clone(&monitor_stop));
            let watermarks = *shared.watermarks.lock();
            watermarks.log();
            let rules = AlarmRules::new(&watermarks);
            let data_dir = settings.data_dir.clone();
            threads.push(spawn("monitor".to_owned(), move || {
                alarms::monitor(&shared, rules, data_dir, &stop)
            })?);
        }
        let mut addresses = Listeners::default();
        let mut accepting = JoinSet::new();
        for (entrance, listeners) in entrances {
            if let Some(tls) = &entrance.tls {
                edge.spawn(Arc::clone(tls).watch());
            }
            for listener in listeners {
                let system = |source| NodeError::System {
                    what: "start listener",
                    source,
                };
                let address = listener.local_addr().map_err(system)?;
                match entrance.tls {
                    None => addresses.plain.push(address),
                    Some(_) => addresses.tls.push(address),
                }
                let (shared, entrance) = (Arc::clone(&shared), entrance.clone());
                if entrance.is_open() {
                    let listener = tokio::net::TcpListener::from_std(listener).map_err(system)?;
                    accepting.spawn(listener::accept(listener, shared, listen, entrance));
                } else {
                    edge.accept(listener, shared, listen, entrance)
                        .map_err(system)?;
                }
            }
        }
        let has_backends = shared.access.http_authenticator.is_some();
        if has_backends || shared.frontend.authenticator.is_some() {
            edge.spawn(Arc::clone(&shared).recheck_access());
        }
        let mut desk = JoinSet::new();
        desk.spawn(desk::run(Arc::clone(&shared)));
        let handle = handle::Handle::new(
            Arc::clone(&shared),
            Arc::new(settings.clone()),
            Arc::new(addresses.clone()),
            Arc::new(trust_store),
        );
        let services = services(&handle)?;
        // Whoever reads the ready line finds a running broker.
        lifecycle.enter(Phase::Running);
        announce(settings, &addresses, &services, started);
        notify("READY=1");
        Ok(Self {
            services,
            listeners: accepting,
            desk,
            exporter,
            shared,
            threads,
            reports,
            failures,
            monitor_stop,
            edge,
            store,
        })
    }

    /// Serves until the broker has to stop. True if its process has to end, too.
    async fn serve(
        mut self,
        signals: &mut Signals,
        lifecycle: &Lifecycle,
    ) -> Result<bool, NodeError> {
        let (ends, failure) = tokio::select! {
            () = signals.end() => (true, None),
            ends = lifecycle.stop_wanted() => (ends, None),
            failure = self.failures.recv() => (true, failure),
        };
        lifecycle.enter(Phase::Stopping);
        match &failure {
            None => {
                notify("STOPPING=1");
                tracing::info!("stopping: closing connections");
            }
            Some(error) => tracing::error!(%error, "stopping because the log has failed"),
        }
        self.stop().await;
        if let Some(error) = failure {
            return Err(NodeError::LogFailed(error));
        }
        self.close().await?;
        lifecycle.enter(Phase::Stopped { failure: None });
        Ok(ends)
    }

    /// Closes all connections and waits until the shards have given everything to the log.
    async fn stop(&mut self) {
        self.listeners.shutdown().await;
        self.services.drain(..).for_each(Service::stop);
        self.edge.stop();
        for mailbox in self.shared.shard_mailboxes() {
            mailbox.send(Mail::Shutdown {
                reason: "broker forced connection closure with reason 'shutdown'",
            });
        }
        let shards = self.shared.shard_count();
        let reports = &mut self.reports;
        let drained = async {
            for _ in 0..shards {
                let Some(ShardReport::Drained) = reports.recv().await else {
                    return;
                };
            }
        };
        if tokio::time::timeout(DRAIN_TIMEOUT, drained).await.is_err() {
            tracing::warn!("some connections did not close in time");
        }
        self.shared
            .shard_mailboxes()
            .iter()
            .for_each(|mailbox| mailbox.send(Mail::Stop));
        self.monitor_stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.thread().unpark();
            if thread.join().is_err() {
                tracing::error!("a thread has panicked");
            }
        }
    }

    async fn close(mut self) -> Result<(), NodeError> {
        if let Some(exporter) = self.exporter.take() {
            exporter.stop();
        }
        let closed = self.store.handle().shutdown();
        closed.map_err(NodeError::Store)?;
        self.desk.shutdown().await;
        tracing::info!("stopped");
        Ok(())
    }
}

fn spawn(name: String, body: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, NodeError> {
    std::thread::Builder::new()
        .name(name)
        .spawn(body)
        .map_err(|source| NodeError::System {
            what: "start thread",
            source,
        })
}

/// One core is left to the log, the monitors and, later, management; with two cores one shard does the most per CPU second,
/// since nothing crosses threads.
fn shards_default() -> u16 {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    u16::try_from(cores.saturating_sub(1).max(1)).unwrap_or(u16::MAX)
}

fn report_damage(recovered: &Recovered) {
    for damage in &recovered.damage {
        if let Damage::Messages {
            queue,
            positions,
            file,
        } = damage
        {
            tracing::error!(
                queue = queue.0,
                from = positions.start.0,
                until = positions.end.0,
                file,
                "stored messages are damaged and lost"
            );
        } else {
            tracing::error!(?damage, "the data directory is damaged");
        }
    }
}

fn recover_metadata(
    recovered: &Recovered,
    shards: u16,
) -> Result<(Metadata, store::MetadataIndex), NodeError> {
    let malformed = |error: MetadataDecodeError| NodeError::Metadata(error.to_string());
    let mut metadata = match &recovered.metadata_snapshot {
        Some(bytes) => {
            let snapshot = metadata_codec::decode_snapshot(bytes).map_err(malformed)?;
            Metadata::from_snapshot(&snapshot, shards)
                .map_err(|error| NodeError::Metadata(format!("snapshot: {error}")))?
        }
        None => Metadata::new(shards),
    };
    for bytes in &recovered.metadata_commands {
        let command = metadata_codec::decode_command(bytes).map_err(malformed)?;
        // A command that was accepted once is accepted again: the state machine is deterministic.
        metadata
            .replay(&command)
            .map_err(|error| NodeError::Metadata(format!("{command:?}: {error}")))?;
    }
    Ok((metadata, recovered.metadata_index))
}

/// The first start: vhost, exchanges and the default user.
fn validate_default_password(settings: &Settings) -> Result<(), NodeError> {
    let password = settings.default_pass.expose();
    let valid = settings.credential_validator.check(Some(password));
    valid.map_err(|reason| NodeError::DefaultPassword { reason })
}

fn bootstrap(leader: &MetadataLeader, settings: &Settings) {
    let permissions = &settings.default_permissions;
    let user = DefaultUser {
        name: settings.default_user.as_str().into(),
        password_hash: PasswordHash::with_algorithm(
            settings.password_hashing,
            settings.default_pass.expose().as_bytes(),
            rand::random(),
        ),
        tags: settings
            .default_user_tags
            .iter()
            .map(|tag| tag.as_str().into())
            .collect(),
        vhost: settings.default_vhost.as_str().into(),
        configure: permissions.configure.as_str().into(),
        write: permissions.write.as_str().into(),
        read: permissions.read.as_str().into(),
    };
    if let Err(error) = leader.bootstrap(&bootstrap_commands(user), BatchKind::Requests) {
        tracing::error!(%error, "cannot create the default user and vhost");
    }
}

/// The users whom new vhosts let in.
fn vhost_users(settings: &Settings) -> Vec<VhostUser> {
    let users = settings.default_users.iter().map(|(name, user)| {
        let password = user.password.as_ref();
        let permissions = &user.permissions;
        VhostUser {
            vhosts: user
                .vhost_pattern
                .clone()
                .unwrap_or_else(Pattern::everything),
            name: name.as_str().into(),
            password_hash: password.map(|password| {
                let password = password.expose().as_bytes();
                PasswordHash::with_algorithm(settings.password_hashing, password, rand::random())
            }),
            tags: user.tags.iter().map(|tag| tag.as_str().into()).collect(),
            configure: permissions.configure.as_str().into(),
            write: permissions.write.as_str().into(),
            read: permissions.read.as_str().into(),
        }
    });
    users.collect()
}

/// Compat: who is traced is forgotten when the node stops, so that nothing is traced that nobody looks at any more.
fn end_tracing(leader: &MetadataLeader) {
    let metadata = leader.snapshot();
    let traced = metadata.vhosts().filter(|vhost| vhost.metadata.tracing);
    let commands: Vec<_> = traced
        .map(|vhost| MetadataCommand::UpdateVhost {
            name: vhost.name.clone(),
            changes: VhostChanges {
                tracing: Some(false),
                ..VhostChanges::default()
            },
        })
        .collect();
    if let Err(error) = leader.bootstrap(&commands, BatchKind::Requests) {
        tracing::error!(%error, "cannot end tracing");
    }
}

/// Sees to it that the cluster has a name and an identity. What the configuration says wins at each start.
fn name_cluster(leader: &MetadataLeader, settings: &Settings) {
    let metadata = leader.snapshot();
    let mut commands = Vec::new();
    let mut put = |name: &str, value: String| {
        commands.push(MetadataCommand::PutGlobalParameter {
            name: name.into(),
            value: value.into(),
        });
    };
    if let Some(name) = &settings.cluster_name {
        put(CLUSTER_NAME, name.clone());
    } else if metadata.global_parameter(CLUSTER_NAME).is_none() {
        put(CLUSTER_NAME, settings.node_name.clone());
    }
    if metadata.global_parameter(INTERNAL_CLUSTER_ID).is_none() {
        let identity: u128 = rand::random();
        put(
            INTERNAL_CLUSTER_ID,
            format!("rabbitmq-cluster-id-{identity:032x}"),
        );
    }
    if let Err(error) = leader.bootstrap(&commands, BatchKind::Requests) {
        tracing::error!(%error, "cannot name the cluster");
    }
}

/// Sees to it that sharded exchanges have all their queues on this node.
fn make_missing_shards(leader: &MetadataLeader) {
    for commands in leader.snapshot().missing_shards() {
        if let Err(error) = leader.bootstrap(&commands, BatchKind::Requests) {
            tracing::error!(%error, "cannot make the shards of an exchange");
        }
    }
}

/// An exchange that the node publishes to itself.
fn create_system_exchange(leader: &MetadataLeader, vhost: &Name, name: &str) {
    if let Err(error) = leader.create_system_exchange(vhost, &name.into()) {
        tracing::warn!(exchange = name, %vhost, %error, "cannot create an exchange of the node's own");
    }
}

/// What recovery found of each queue, by owner; tells the log which queues no longer exist.
fn stored_queues(
    leader: &MetadataLeader,
    recovered: &Recovered,
    log: &Handle<StoredMessage>,
    shards: u16,
) -> Vec<Vec<(QueueId, Stored)>> {
    let metadata = leader.snapshot();
    let mut by_shard: Vec<Vec<(QueueId, Stored)>> = (0..shards).map(|_| Vec::new()).collect();
    let mut live = HashSet::new();
    let histories: HashSet<_> = metadata.histories().map(|(id, _)| id).collect();
    for (id, queue) in &recovered.queues {
        // The ids of messages of a queue, and its notes of what it keeps and what came back, are where it is.
        let owner = owner_of_ids(*id)
            .or_else(|| owner_of_replay(*id))
            .or_else(|| owner_of_attempts(*id));
        let owner = owner.unwrap_or(*id);
        let owner = match (
            metadata.queue_by_id(owner),
            broker::delay::store_number(*id),
        ) {
            (Some(record), _) => record.queue.shard,
            (None, Some(number)) => ShardId(number % shards),
            (None, None) if histories.contains(id) => ShardId(
                u16::try_from(id.0 % u64::from(shards)).expect("less than the number of shards"),
            ),
            (None, None) => continue,
        };
        live.insert(*id);
        let stored = Stored {
            messages: queue.messages,
            bytes: queue.bytes,
            is_estimate: queue.bytes > 0,
            first: queue.first,
            next: queue.next,
            // After a crash the last marks may be missing: every message may have been delivered before.
            delivered_until: if recovered.clean {
                queue.delivered_until
            } else {
                queue.next
            },
        };
        by_shard[owner.index()].push((*id, stored));
    }
    if recovered.is_metadata_damaged() {
        tracing::error!(
            "metadata is damaged: messages of unknown queues are kept in the data directory"
        );
    } else {
        log.retain_queues(&live);
    }
    by_shard
}

pub(crate) fn bind(
    address: ListenAddress,
    options: ListenOptions,
) -> Result<std::net::TcpListener, NodeError> {
    let wildcard = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), address.port);
    let wanted = address
        .ip
        .map_or(wildcard, |ip| SocketAddr::new(ip, address.port));
    match listener::bind(wanted, options) {
        Ok(listener) => Ok(listener),
        // A machine without IPv6.
        Err(error)
            if address.ip.is_none()
                && error.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error()) =>
        {
            let wanted = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), address.port);
            listener::bind(wanted, options).map_err(|source| NodeError::Listen {
                address: wanted,
                source,
            })
        }
        Err(source) => Err(NodeError::Listen {
            address: wanted,
            source,
        }),
    }
}

fn frontend_config(settings: &Settings) -> frontend_amqp091::Config {
    frontend_amqp091::Config {
        // Clients look at these two to know what to expect of the server, so they name the behaviour, not the program.
        product: "RabbitMQ".to_owned(),
        version: RABBITMQ_VERSION.to_owned(),
        platform: concat!("WarrenMQ ", env!("CARGO_PKG_VERSION")).to_owned(),
        cluster_name: settings
            .cluster_name
            .clone()
            .unwrap_or_else(|| settings.node_name.clone()),
        node_name: settings.node_name.clone(),
        interceptors: settings.interceptors,
        tx_messages_max: settings.tx_messages_max,
        counts_legs: settings.statistics.shows_neighbours(),
        channel_max: settings.channel_max,
        frame_max: settings.frame_size_max_bytes,
        initial_frame_max: settings.initial_frame_size_max_bytes,
        heartbeat_s: settings.heartbeat_s,
        handshake_timeout: settings.handshake_timeout.unwrap_or(NO_TIMEOUT),
        message_size_max: settings.message_size_max_bytes,
        mechanisms: settings
            .auth_mechanisms
            .iter()
            .copied()
            .map(AuthMechanism::as_str)
            .map(str::to_owned)
            .collect(),
        anonymous_login_user: settings.anonymous_login_user.clone(),
        anonymous_login_pass: settings.anonymous_login_pass.expose().to_owned(),
        loopback_users: settings.loopback_users.clone(),
        global_qos_permitted: settings
            .deprecated_features
            .get("global_qos")
            .copied()
            .unwrap_or(false),
        consumer_prefetch_default: settings.consumer_prefetch.count,
        consumer_prefetch_is_global: settings.consumer_prefetch.is_global,
        consumer_max_per_channel: settings
            .consumer_max_per_channel
            .and_then(|max| usize::try_from(max).ok()),
        attempts: Arc::new(Attempts::telling_sources(
            settings.tracks_auth_attempt_source,
        )),
        admission: Arc::new(Admission::new(NodeLimits {
            node_name: settings.node_name.clone(),
            connections_max: settings.connections_max,
            channels_max: settings.channels_max_per_node,
        })),
        ..frontend_amqp091::Config::default()
    }
}

/// The ready line: for people and for scripts that wait for it.
fn announce(
    settings: &Settings,
    addresses: &Listeners,
    services: &[Box<dyn Service>],
    started: Instant,
) {
    for address in &addresses.plain {
        tracing::info!("started TCP listener on {address}");
    }
    for address in &addresses.tls {
        tracing::info!("started TLS (SSL) listener on {address}");
    }
    let plugins: Vec<_> = services.iter().flat_map(|one| one.plugins()).collect();
    let list: String = plugins.iter().map(|name| format!("\n * {name}")).collect();
    let count = plugins.len();
    tracing::info!("Server startup complete; {count} plugins started.{list}");
    tracing::info!(
        "Time to start RabbitMQ: {} ms",
        started.elapsed().as_millis()
    );
    static READY: OnceLock<()> = OnceLock::new();
    READY.get_or_init(|| {
        let plain = addresses.plain.iter();
        let tls = addresses.tls.iter();
        let listeners: Vec<_> = plain
            .map(|address| format!("amqp://{address}"))
            .chain(tls.map(|address| format!("amqps://{address}")))
            .chain(services.iter().flat_map(|service| service.addresses()))
            .collect();
        let line = format!(
            "{} is ready in {} ms: {} (data in {})\n",
            settings.node_name,
            started.elapsed().as_millis(),
            listeners.join(", "),
            settings.data_dir.display(),
        );
        // A closed standard output is no reason not to serve.
        let _ = std::io::stdout().write_all(line.as_bytes());
        let _ = std::io::stdout().flush();
    });
}
