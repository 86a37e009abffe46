//! The broker is killed again and again, under load, and must keep what it promised.
//!
//! Four publishers (three with confirms, one with transactions) and four consumers (acks of one and of many, nack, reject, get,
//! transactions) work on four durable queues, two of them behind a fanout; another client declares, binds and deletes. All of
//! them reconnect after each crash. In the end everything left is drained and `testkit::checker` judges.
//!
//! `WARREN_KILL_CYCLES` sets the number of crashes, `SEED` repeats the choices of a run (not its timing).

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a test names what it waits for; whatever else comes fails it"
)]

use anyhow::{Context, bail, ensure};
use client_amqp091::codec::{
    BasicProperties, Method, Table, Value, basic, exchange, tx, write_table,
};
use client_amqp091::{ConnectOptions, Connection, ConsumeOptions, Event};
use std::collections::{BTreeMap, VecDeque};
use std::hash::{DefaultHasher, Hasher};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use testkit::checker::{
    Demands, Entry, History, MessageId, QueueNumber, Session, Violation, check,
};
use testkit::client::{CHANNEL, DURABLE, PATIENCE};
use testkit::random::Random;
use testkit::{Broker, Client};

const QUEUES: [&str; 4] = ["direct-0", "direct-1", "fan-0", "fan-1"];
const FANOUT: &str = "fan";
/// Publishes of a channel that may wait for their confirm.
const UNCONFIRMED_MAX: usize = 200;
const PREFETCH_COUNT: u16 = 300;
/// Workers look this often whether they shall stop.
const TICK: Duration = Duration::from_millis(20);

/// What all workers share.
struct World {
    address: SocketAddr,
    seed: u64,
    /// Even while the broker lives, odd from before it is killed until it is ready again.
    life: AtomicU32,
    is_stopping: AtomicBool,
    history: Mutex<History>,
    confirmed: AtomicU64,
    sessions: AtomicU64,
}

impl World {
    fn record(&self, entry: Entry) {
        let mut history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        history.entries.push(entry);
    }

    fn confirmed(&self, id: MessageId) {
        self.record(Entry::Confirmed(id));
        self.confirmed.fetch_add(1, Ordering::Relaxed);
    }

    fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::SeqCst)
    }

    fn life(&self) -> u32 {
        self.life.load(Ordering::SeqCst)
    }

    fn session(&self, life: u32) -> Session {
        Session {
            life,
            number: self.sessions.fetch_add(1, Ordering::Relaxed),
        }
    }

    fn random(&self, worker: u64) -> Random {
        Random::new(self.seed.wrapping_mul(1000).wrapping_add(worker))
    }

    /// A connection and the life that it is surely in.
    async fn connect(&self) -> anyhow::Result<(Client, u32)> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let life = self.life();
            if life.is_multiple_of(2) {
                let options = ConnectOptions::default();
                match Client::connect_with(self.address, &options).await {
                    Ok(client) if self.life() == life => return Ok((client, life)),
                    Err(error) if self.life() == life => {
                        return Err(error).context("connect to a broker that is ready");
                    }
                    Ok(_) | Err(_) => {}
                }
            }
            ensure!(Instant::now() < deadline, "the broker does not come back");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Runs `work` with one connection after the other, until it says that it is done. Failing is allowed in a crash only.
    async fn survive(
        &self,
        name: &str,
        mut work: impl AsyncFnMut(Client, u32) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        loop {
            let (client, life) = self.connect().await?;
            match work(client, life).await {
                Ok(()) => return Ok(()),
                Err(error) if self.life() == life => {
                    return Err(error).with_context(|| format!("{name}, in life {life}"));
                }
                Err(_crashed) => {}
            }
        }
    }
}

/// The next event, or `None` when it is time to look around.
async fn next_event(connection: &mut Connection) -> anyhow::Result<Option<Event<'_>>> {
    match tokio::time::timeout(TICK, connection.next_event()).await {
        Ok(event) => Ok(Some(event?)),
        Err(_) => Ok(None),
    }
}

fn digest(raw_properties: &[u8], body: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(raw_properties);
    hasher.write(body);
    hasher.finish()
}

// ── publishers ──

/// Where a publisher sends to.
#[derive(Clone, Copy)]
struct Route {
    exchange: &'static str,
    key: &'static str,
    queues: &'static [QueueNumber],
}

const TO_DIRECT_0: Route = Route {
    exchange: "",
    key: QUEUES[0],
    queues: &[0],
};
const TO_DIRECT_1: Route = Route {
    exchange: "",
    key: QUEUES[1],
    queues: &[1],
};
const TO_FAN: Route = Route {
    exchange: FANOUT,
    key: "anything",
    queues: &[2, 3],
};

/// Makes messages and writes them down.
struct Source {
    world: Arc<World>,
    random: Random,
    producer: u32,
    epoch: u32,
    sequence: u64,
}

impl Source {
    fn new(world: &Arc<World>, producer: u32) -> Self {
        Self {
            world: Arc::clone(world),
            random: world.random(producer.into()),
            producer,
            epoch: 0,
            sequence: 0,
        }
    }

    fn new_channel(&mut self) {
        self.epoch += 1;
        self.sequence = 0;
    }

    /// Appends the next message to the write buffer.
    fn publish(&mut self, connection: &mut Connection, route: Route) -> MessageId {
        self.sequence += 1;
        let id = MessageId {
            producer: self.producer,
            epoch: self.epoch,
            sequence: self.sequence,
        };
        // 16 B to 64 KiB, most of them small.
        let bits = self.random.within(0..13).min(self.random.within(0..13));
        let size = (16_u64 << bits).max(self.random.within(16..(16 << bits) + 17));
        let mut body = vec![0; usize::try_from(size).expect("small")];
        self.random.fill(&mut body);
        body[..MessageId::LEN].copy_from_slice(&id.to_bytes());
        let name = format!("{}-{}-{}", id.producer, id.epoch, id.sequence);
        let mut headers = Vec::new();
        write_table(&mut headers, |table| {
            table.field(b"name", &Value::LongStr(name.as_bytes()));
        });
        let properties = BasicProperties {
            delivery_mode: Some(2),
            message_id: Some(name.as_bytes()),
            headers: Some(Table::new(&headers[4..])),
            ..BasicProperties::default()
        };
        let mut raw = Vec::new();
        properties.encode(&mut raw);
        self.world.record(Entry::Published {
            id,
            queues: route.queues.to_vec(),
            digest: digest(&raw, &body),
        });
        let publish = basic::Publish {
            exchange: route.exchange.as_bytes(),
            routing_key: route.key.as_bytes(),
            ..basic::Publish::default()
        };
        connection
            .outgoing()
            .publish(CHANNEL, &publish, &properties, &body);
        id
    }
}

async fn publish_with_confirms(
    world: Arc<World>,
    producer: u32,
    route: Route,
) -> anyhow::Result<()> {
    let mut source = Source::new(&world, producer);
    world
        .survive("publisher", async |mut client, _| {
            source.new_channel();
            client.confirm_select().await?;
            let mut unconfirmed = VecDeque::new();
            let mut first_tag = 1;
            while !(world.is_stopping() && unconfirmed.is_empty()) {
                while unconfirmed.len() < UNCONFIRMED_MAX && !world.is_stopping() {
                    unconfirmed.push_back(Some(source.publish(&mut client.connection, route)));
                }
                if let Some(event) = next_event(&mut client.connection).await? {
                    confirmed(&world, &event, &mut first_tag, &mut unconfirmed)?;
                }
                while let Some(event) = client.connection.poll_event()? {
                    confirmed(&world, &event, &mut first_tag, &mut unconfirmed)?;
                }
            }
            client.close().await
        })
        .await
}

/// `unconfirmed` starts with the publish of `first_tag`; those confirmed out of order are `None`.
fn confirmed(
    world: &World,
    event: &Event<'_>,
    first_tag: &mut u64,
    unconfirmed: &mut VecDeque<Option<MessageId>>,
) -> anyhow::Result<()> {
    let Event::Confirmed {
        delivery_tag,
        multiple,
        ..
    } = event
    else {
        bail!("a publisher got {event:?}");
    };
    let index = delivery_tag
        .checked_sub(*first_tag)
        .and_then(|index| usize::try_from(index).ok())
        .filter(|index| *index < unconfirmed.len())
        .with_context(|| format!("confirm {delivery_tag} for {first_tag}.."))?;
    let from = if *multiple { 0 } else { index };
    for id in unconfirmed.range_mut(from..=index) {
        match id.take() {
            Some(id) => world.confirmed(id),
            None => ensure!(*multiple, "{delivery_tag} was confirmed twice"),
        }
    }
    while let Some(None) = unconfirmed.front() {
        unconfirmed.pop_front();
        *first_tag += 1;
    }
    Ok(())
}

async fn publish_in_transactions(world: Arc<World>, producer: u32) -> anyhow::Result<()> {
    let mut source = Source::new(&world, producer);
    world
        .survive("transactional publisher", async |mut client, _| {
            source.new_channel();
            client
                .call(
                    |out| tx::Select.encode(CHANNEL, out),
                    |method| matches!(method, Method::TxSelectOk(_)),
                )
                .await?;
            while !world.is_stopping() {
                let route = if source.random.one_in(2) {
                    TO_DIRECT_0
                } else {
                    TO_FAN
                };
                let ids: Vec<_> = (0..source.random.within(1..20))
                    .map(|_| source.publish(&mut client.connection, route))
                    .collect();
                if source.random.one_in(10) {
                    ids.iter().for_each(|id| world.record(Entry::Returned(*id)));
                    client
                        .call(
                            |out| tx::Rollback.encode(CHANNEL, out),
                            |method| matches!(method, Method::TxRollbackOk(_)),
                        )
                        .await?;
                    continue;
                }
                client
                    .call(
                        |out| tx::Commit.encode(CHANNEL, out),
                        |method| matches!(method, Method::TxCommitOk(_)),
                    )
                    .await?;
                ids.into_iter().for_each(|id| world.confirmed(id));
            }
            client.close().await
        })
        .await
}

// ── consumers ──

/// One channel that consumes, and what it has in hand.
struct Desk<'w> {
    world: &'w World,
    session: Session,
    channel: u16,
    queue: QueueNumber,
    unacked: VecDeque<(u64, MessageId)>,
}

impl Desk<'_> {
    fn received(&mut self, tag: u64, redelivered: bool, raw_properties: &[u8], body: &[u8]) {
        let id = MessageId::of_body(body);
        self.world.record(Entry::Delivered {
            session: self.session,
            queue: self.queue,
            id,
            digest: digest(raw_properties, body),
            redelivered,
        });
        if let Some(id) = id {
            self.unacked.push_back((tag, id));
        }
    }

    fn record_acked(&self, id: MessageId) {
        let (session, queue) = (self.session, self.queue);
        self.world.record(Entry::Acked { session, queue, id });
    }

    fn record_requeued(&self, id: MessageId) {
        let (session, queue) = (self.session, self.queue);
        self.world.record(Entry::Requeued { session, queue, id });
    }

    fn ack_all(&mut self, connection: &mut Connection) {
        let Some((last, _)) = self.unacked.back().copied() else {
            return;
        };
        for (_, id) in std::mem::take(&mut self.unacked) {
            self.record_acked(id);
        }
        connection.outgoing().ack(self.channel, last, true);
    }

    /// Settles one of the unacked messages, or some.
    fn settle_some(&mut self, connection: &mut Connection, random: &mut Random) {
        let count = self.unacked.len() as u64;
        if count == 0 {
            return;
        }
        let index = usize::try_from(random.within(0..count)).expect("small");
        match random.within(0..40) {
            0 => {
                // Give back some of the oldest.
                let nack = basic::Nack {
                    delivery_tag: self.unacked[index].0,
                    multiple: true,
                    requeue: true,
                };
                for (_, id) in self.unacked.drain(..=index).collect::<Vec<_>>() {
                    self.record_requeued(id);
                }
                connection.outgoing().nack(self.channel, &nack);
            }
            1 | 2 => {
                let (delivery_tag, id) = self.unacked.remove(index).expect("within");
                self.record_requeued(id);
                let reject = basic::Reject {
                    delivery_tag,
                    requeue: true,
                };
                reject.encode(self.channel, connection.outgoing().bytes());
            }
            3..10 => {
                let last = self.unacked[index].0;
                for (_, id) in self.unacked.drain(..=index).collect::<Vec<_>>() {
                    self.record_acked(id);
                }
                connection.outgoing().ack(self.channel, last, true);
            }
            10..30 => {
                let (tag, id) = self.unacked.remove(index).expect("within");
                self.record_acked(id);
                connection.outgoing().ack(self.channel, tag, false);
            }
            _ => {}
        }
    }
}

async fn open_desk<'w>(
    world: &'w World,
    connection: &mut Connection,
    life: u32,
    channel: u16,
    queue: QueueNumber,
) -> anyhow::Result<Desk<'w>> {
    if channel != CHANNEL {
        connection.open_channel(channel).await?;
    }
    connection.qos(channel, PREFETCH_COUNT).await?;
    Ok(Desk {
        world,
        session: world.session(life),
        channel,
        queue,
        unacked: VecDeque::new(),
    })
}

async fn start_consumer(connection: &mut Connection, desk: &Desk<'_>) -> anyhow::Result<()> {
    let queue = QUEUES[usize::from(desk.queue)];
    let options = ConsumeOptions::default();
    connection
        .consume(desk.channel, queue, "", options, Table::default())
        .await?;
    Ok(())
}

/// Acks, nacks and rejects, and closes its channel now and then.
async fn consume(world: Arc<World>, worker: u64, queue: QueueNumber) -> anyhow::Result<()> {
    let mut random = world.random(worker);
    world
        .survive("consumer", async |mut client, life| {
            let connection = &mut client.connection;
            let mut channel = CHANNEL;
            let mut desk = open_desk(&world, connection, life, channel, queue).await?;
            start_consumer(connection, &desk).await?;
            while !world.is_stopping() {
                let delivered = match next_event(connection).await? {
                    // What was on its way to the channel before this one goes back by itself.
                    Some(Event::Delivery(delivery)) if delivery.channel == channel => {
                        let (raw, body) = (delivery.raw_properties, delivery.body);
                        desk.received(delivery.delivery_tag, delivery.redelivered, raw, body);
                        true
                    }
                    Some(Event::Delivery(_)) | None => false,
                    Some(other) => bail!("a consumer got {other:?}"),
                };
                if !delivered || desk.unacked.len() > usize::from(PREFETCH_COUNT) / 2 {
                    desk.ack_all(connection);
                }
                desk.settle_some(connection, &mut random);
                if random.one_in(1000) && channel < connection.channel_max() {
                    world.record(Entry::Ended(desk.session));
                    connection.close_channel(channel).await?;
                    world.record(Entry::Barrier(desk.session));
                    channel += 1;
                    desk = open_desk(&world, connection, life, channel, queue).await?;
                    start_consumer(connection, &desk).await?;
                }
            }
            world.record(Entry::Ended(desk.session));
            client.close().await?;
            world.record(Entry::Barrier(desk.session));
            Ok(())
        })
        .await
}

/// Acks in transactions.
async fn consume_in_transactions(world: Arc<World>, queue: QueueNumber) -> anyhow::Result<()> {
    world
        .survive("transactional consumer", async |mut client, life| {
            client
                .call(
                    |out| tx::Select.encode(CHANNEL, out),
                    |method| matches!(method, Method::TxSelectOk(_)),
                )
                .await?;
            let connection = &mut client.connection;
            let mut desk = open_desk(&world, connection, life, CHANNEL, queue).await?;
            start_consumer(connection, &desk).await?;
            let mut is_committing = false;
            while !world.is_stopping() {
                let mut is_idle = false;
                match next_event(connection).await? {
                    Some(Event::Delivery(delivery)) => {
                        let (raw, body) = (delivery.raw_properties, delivery.body);
                        desk.received(delivery.delivery_tag, delivery.redelivered, raw, body);
                    }
                    Some(Event::Reply {
                        method: Method::TxCommitOk(_),
                        ..
                    }) => {
                        world.record(Entry::Barrier(desk.session));
                        is_committing = false;
                    }
                    None => is_idle = true,
                    Some(other) => bail!("a transactional consumer got {other:?}"),
                }
                // The barrier is for the acks before the commit: no others may go out until it is there.
                let has_enough = desk.unacked.len() > usize::from(PREFETCH_COUNT) / 4;
                if !is_committing && (has_enough || (is_idle && !desk.unacked.is_empty())) {
                    desk.ack_all(connection);
                    tx::Commit.encode(CHANNEL, connection.outgoing().bytes());
                    is_committing = true;
                }
            }
            world.record(Entry::Ended(desk.session));
            // Acks that are not committed are undone by the close, so this is no barrier.
            client.close().await
        })
        .await
}

/// Takes messages one by one.
async fn get(world: Arc<World>, worker: u64, queue: QueueNumber) -> anyhow::Result<()> {
    let mut random = world.random(worker);
    world
        .survive("getter", async |mut client, life| {
            let connection = &mut client.connection;
            let mut desk = open_desk(&world, connection, life, CHANNEL, queue).await?;
            let name = QUEUES[usize::from(queue)];
            while !world.is_stopping() {
                match connection.get(CHANNEL, name, false).await? {
                    Some(message) => desk.received(
                        message.delivery_tag,
                        message.redelivered,
                        &message.raw_properties,
                        &message.body,
                    ),
                    None => tokio::time::sleep(Duration::from_millis(1)).await,
                }
                if random.one_in(50) {
                    desk.ack_all(connection);
                }
                desk.settle_some(connection, &mut random);
            }
            world.record(Entry::Ended(desk.session));
            client.close().await?;
            world.record(Entry::Barrier(desk.session));
            Ok(())
        })
        .await
}

/// Takes everything that is left in a queue, which nobody else uses any more.
async fn drain(world: &World, queue: QueueNumber) -> anyhow::Result<()> {
    let (mut client, life) = world.connect().await?;
    let name = QUEUES[usize::from(queue)];
    let left = client.inspect(name).await?.context("a queue is gone")?;
    let session = world.session(life);
    let mut desk = Desk {
        world,
        session,
        channel: CHANNEL,
        queue,
        unacked: VecDeque::new(),
    };
    world.record(Entry::Draining(session));
    client.consume(name, false).await?;
    for received in 0..left.message_count {
        let message = client
            .next_delivery()
            .await
            .with_context(|| format!("{received} of {} in {name}", left.message_count))?;
        desk.received(
            message.delivery_tag,
            message.redelivered,
            &message.raw_properties,
            &message.body,
        );
    }
    desk.ack_all(&mut client.connection);
    world.record(Entry::Ended(session));
    client.close().await?;
    world.record(Entry::Barrier(session));
    Ok(())
}

// ── declarations ──

/// What is known about something that was declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Present,
    Absent,
    /// The answer was lost in a crash.
    Unknown,
}

/// A queue, an exchange and the binding between them, all named `churn-<number>`.
#[derive(Clone, Copy, Debug)]
struct Declared {
    queue: Fate,
    exchange: Fate,
    binding: Fate,
}

/// Declares, binds and deletes; after each crash looks whether things are as they should be.
async fn churn(world: Arc<World>, worker: u64) -> anyhow::Result<usize> {
    let mut random = world.random(worker);
    let mut known: BTreeMap<u64, Declared> = BTreeMap::new();
    let mut next = 0;
    let mut verified = 0;
    world
        .survive("declarations", async |mut client, _| {
            client.confirm_select().await?;
            let newest = known.keys().rev().take(10).copied();
            let any = known.keys().copied().filter(|_| random.one_in(10));
            let sample: Vec<u64> = newest.chain(any).collect();
            for number in sample {
                verify(&mut client, number, known[&number]).await?;
                verified += 1;
            }
            while !world.is_stopping() {
                next += 1;
                change(&mut client, &mut random, next, &mut known).await?;
            }
            for (number, declared) in &known {
                verify(&mut client, *number, *declared).await?;
                verified += 1;
            }
            client.close().await
        })
        .await?;
    Ok(verified)
}

async fn change(
    client: &mut Client,
    random: &mut Random,
    number: u64,
    known: &mut BTreeMap<u64, Declared>,
) -> anyhow::Result<()> {
    let name = format!("churn-{number}");
    let declared = known.entry(number).or_insert(Declared {
        queue: Fate::Unknown,
        exchange: Fate::Absent,
        binding: Fate::Absent,
    });
    client.declare(&name, DURABLE).await?;
    declared.queue = Fate::Present;
    declared.exchange = Fate::Unknown;
    client.declare_exchange(&name, "direct").await?;
    declared.exchange = Fate::Present;
    declared.binding = Fate::Unknown;
    client.bind(&name, &name, "key").await?;
    declared.binding = Fate::Present;
    match random.within(0..4) {
        0 => {
            (declared.queue, declared.binding) = (Fate::Unknown, Fate::Unknown);
            client.connection.delete_queue(CHANNEL, &name).await?;
            (declared.queue, declared.binding) = (Fate::Absent, Fate::Absent);
        }
        1 => {
            (declared.exchange, declared.binding) = (Fate::Unknown, Fate::Unknown);
            client.connection.delete_exchange(CHANNEL, &name).await?;
            (declared.exchange, declared.binding) = (Fate::Absent, Fate::Absent);
        }
        _ => {}
    }
    Ok(())
}

async fn verify(client: &mut Client, number: u64, declared: Declared) -> anyhow::Result<()> {
    let name = format!("churn-{number}");
    let agrees = |fate, exists: bool| match fate {
        Fate::Present => exists,
        Fate::Absent => !exists,
        Fate::Unknown => true,
    };
    let queue = client.inspect(&name).await?.is_some();
    ensure!(
        agrees(declared.queue, queue),
        "queue {name}: {declared:?} but exists: {queue}"
    );
    let exchange = exchange_exists(client, &name).await?;
    ensure!(
        agrees(declared.exchange, exchange),
        "exchange {name}: {declared:?} but exists: {exchange}"
    );
    if exchange {
        let routed = is_routed(client, &name).await?;
        ensure!(
            agrees(declared.binding, routed),
            "binding {name}: {declared:?} but routes: {routed}"
        );
    }
    Ok(())
}

async fn exchange_exists(client: &mut Client, name: &str) -> anyhow::Result<bool> {
    let declare = exchange::Declare {
        exchange: name.as_bytes(),
        exchange_type: b"direct",
        passive: true,
        ..exchange::Declare::default()
    };
    match client.connection.declare_exchange(CHANNEL, &declare).await {
        Ok(()) => Ok(true),
        Err(client_amqp091::Error::ChannelClosed {
            reply_code: 404, ..
        }) => {
            client.connection.open_channel(CHANNEL).await?;
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}

async fn is_routed(client: &mut Client, name: &str) -> anyhow::Result<bool> {
    // The channel may be a new one since the last time.
    client.confirm_select().await?;
    let publish = basic::Publish {
        exchange: name.as_bytes(),
        routing_key: b"key",
        mandatory: true,
        ..basic::Publish::default()
    };
    let properties = BasicProperties::default();
    client
        .connection
        .publish(CHANNEL, &publish, &properties, b"")
        .await?;
    let mut returned = false;
    loop {
        match testkit::client::within(client.connection.next_event()).await? {
            Event::Returned(_) => returned = true,
            Event::Confirmed { .. } => return Ok(!returned),
            other => bail!("after a mandatory publish: {other:?}"),
        }
    }
}

// ── the run ──

async fn declare_topology(broker: &Broker) -> anyhow::Result<()> {
    let mut client = Client::connect(broker).await?;
    for queue in QUEUES {
        client.declare(queue, DURABLE).await?;
    }
    client.declare_exchange(FANOUT, "fanout").await?;
    for queue in TO_FAN.queues {
        client.bind(QUEUES[usize::from(*queue)], FANOUT, "").await?;
    }
    client.close().await
}

type Worker<T> = std::thread::JoinHandle<anyhow::Result<T>>;

fn new_runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
}

/// Runs a worker on a thread of its own.
fn spawn<T, F>(world: &Arc<World>, work: impl FnOnce(Arc<World>) -> F + Send + 'static) -> Worker<T>
where
    T: Send + 'static,
    F: Future<Output = anyhow::Result<T>>,
{
    let world = Arc::clone(world);
    std::thread::spawn(move || new_runtime()?.block_on(work(world)))
}

fn join<T>(worker: Worker<T>) -> anyhow::Result<T> {
    match worker.join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

fn number_from(variable: &str) -> anyhow::Result<Option<u64>> {
    let Ok(text) = std::env::var(variable) else {
        return Ok(None);
    };
    let number = text.parse();
    Ok(Some(
        number.with_context(|| format!("{variable} must be a number"))?,
    ))
}

#[test]
fn nothing_confirmed_is_lost_when_the_broker_is_killed() -> anyhow::Result<()> {
    let cycles = number_from("WARREN_KILL_CYCLES")?.unwrap_or(20);
    let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    let seed = number_from("SEED")?.unwrap_or_else(|| u64::from(clock.subsec_nanos()));
    eprintln!("SEED={seed}");

    let runtime = new_runtime()?;
    let mut broker = Broker::start()?;
    runtime.block_on(declare_topology(&broker))?;
    let world = Arc::new(World {
        address: broker.address(),
        seed,
        life: AtomicU32::new(0),
        is_stopping: AtomicBool::new(false),
        history: Mutex::default(),
        confirmed: AtomicU64::new(0),
        sessions: AtomicU64::new(0),
    });
    let publishers = [(0, TO_DIRECT_0), (1, TO_DIRECT_1), (2, TO_FAN)];
    let mut workers: Vec<Worker<()>> = Vec::new();
    for (producer, route) in publishers {
        workers.push(spawn(&world, move |world| {
            publish_with_confirms(world, producer, route)
        }));
    }
    workers.push(spawn(&world, |world| publish_in_transactions(world, 3)));
    workers.push(spawn(&world, |world| consume(world, 10, 0)));
    workers.push(spawn(&world, |world| consume_in_transactions(world, 1)));
    workers.push(spawn(&world, |world| consume(world, 11, 2)));
    workers.push(spawn(&world, |world| get(world, 12, 3)));
    let declarations = spawn(&world, |world| churn(world, 13));

    let mut random = world.random(14);
    let mut restarts = Vec::new();
    for _ in 0..cycles {
        let wanted = world.confirmed.load(Ordering::Relaxed) + random.within(200..6000);
        let deadline = Instant::now() + PATIENCE;
        while world.confirmed.load(Ordering::Relaxed) < wanted {
            if workers.iter().any(Worker::is_finished) || declarations.is_finished() {
                break;
            }
            ensure!(Instant::now() < deadline, "confirms have ceased");
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_micros(random.within(0..20_000)));
        world.life.fetch_add(1, Ordering::SeqCst);
        broker.kill()?;
        broker.restart()?;
        world.life.fetch_add(1, Ordering::SeqCst);
        restarts.push(broker.start_took);
    }
    world.is_stopping.store(true, Ordering::SeqCst);
    for worker in workers {
        join(worker)?;
    }
    let verified = join(declarations)?;

    for queue in 0..4 {
        runtime.block_on(drain(&world, queue))?;
    }
    // What was acked and closed in order stays away, whatever happens next.
    broker.kill()?;
    broker.restart()?;
    let left = runtime.block_on(async {
        let mut client = Client::connect(&broker).await?;
        let mut left = Vec::new();
        for queue in QUEUES {
            left.push(
                client
                    .inspect(queue)
                    .await?
                    .context("a queue is gone")?
                    .message_count,
            );
        }
        client.close().await?;
        anyhow::Ok(left)
    })?;

    let history = world.history.lock().unwrap_or_else(PoisonError::into_inner);
    let cycles = usize::try_from(cycles)?;
    let demands = Demands {
        confirmed: 200 * cycles,
        settled: 50 * cycles,
        duplicates: cycles,
        drained: 0,
        lives: cycles + 1,
    };
    let report = check(&history, &demands);
    restarts.sort_unstable();
    eprintln!(
        "{cycles} kills: {} confirmed of {} published, {} recovered, {} deliveries, {} marked duplicates, {} settled, \
         {} drained; lost {}, settled returns {}; {verified} declarations verified; restart median {:?}, max {:?}",
        report.confirmed,
        report.published,
        report.recovered,
        report.deliveries,
        report.duplicates,
        report.settled,
        report.drained,
        report.count(|violation| matches!(violation, Violation::Lost(..))),
        report.count(|violation| matches!(violation, Violation::SettledReturn(..))),
        restarts.get(cycles / 2).copied().unwrap_or_default(),
        restarts.last().copied().unwrap_or_default(),
    );
    let sample = &report.violations[..report.violations.len().min(20)];
    assert!(
        sample.is_empty(),
        "SEED={seed}: {} violations, the first: {sample:#?}",
        report.violations.len()
    );
    assert_eq!(left, [0; 4], "messages left behind the drain");
    Ok(())
}
