//! Memory and disk alarms, and consumers that do not read: who is held back, who is not, and what it costs.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a test names what it waits for; whatever else comes fails it"
)]

use anyhow::{Context, bail, ensure};
use client_amqp091::codec::{BasicProperties, Table};
use client_amqp091::{ConnectOptions, ConsumeOptions, Event, QueueOptions};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use testkit::client::{CHANNEL, DURABLE, PATIENCE, PERSISTENT, until, within};
use testkit::{Broker, Client, Http};
use tokio::sync::{Mutex, MutexGuard};

/// Longer than a broker needs to notice something; a test waits this long for things that must not happen.
const GRACE: Duration = Duration::from_millis(1500);

/// All of these tests look at memory or time.
async fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::const_new(());
    ALONE.lock().await
}

/// Waits until the broker's log has `count` lines with these words.
async fn logged(broker: &Broker, words: &str, count: usize) -> anyhow::Result<()> {
    until(words, || broker.log().matches(words).count() >= count)
        .await
        .with_context(|| broker.log())
}

/// Drives the connection for a while; the reasons of `connection.blocked`, and whether `connection.unblocked` came.
async fn notices(client: &mut Client, during: Duration) -> anyhow::Result<(Vec<String>, bool)> {
    let (mut reasons, mut unblocked) = (Vec::new(), false);
    let deadline = tokio::time::Instant::now() + during;
    while let Ok(event) = tokio::time::timeout_at(deadline, client.connection.next_event()).await {
        match event? {
            Event::Blocked { reason } => reasons.push(String::from_utf8_lossy(reason).into_owned()),
            Event::Unblocked => unblocked = true,
            other => bail!("unexpected {other:?}"),
        }
    }
    Ok((reasons, unblocked))
}

async fn blocked(client: &mut Client) -> anyhow::Result<String> {
    match within(client.connection.next_event()).await? {
        Event::Blocked { reason } => Ok(String::from_utf8_lossy(reason).into_owned()),
        other => bail!("connection.blocked was expected, {other:?} came"),
    }
}

async fn with_heartbeat(address: SocketAddr, heartbeat_seconds: u16) -> anyhow::Result<Client> {
    let options = ConnectOptions {
        heartbeat_seconds,
        ..ConnectOptions::default()
    };
    Client::connect_with(address, &options).await
}

/// A disk alarm is raised by a limit that no disk satisfies.
#[tokio::test]
async fn a_disk_alarm_blocks_those_who_publish_and_nobody_else() -> anyhow::Result<()> {
    let _alone = alone().await;
    let mut broker = Broker::start()?;
    let mut client = Client::connect(&broker).await?;
    client.declare("q", DURABLE).await?;
    client.confirm_select().await?;
    let number = |index: u64| index.to_string().into_bytes();
    client.publish_all("q", &PERSISTENT, 100, number).await?;
    client.close().await?;
    broker.stop()?;
    broker.configure("disk_free_limit.absolute = 1000000000000000\n");
    broker.restart()?;
    logged(&broker, "disk resource limit alarm set", 1).await?;

    let mut publisher = with_heartbeat(broker.address(), 2).await?;
    publisher.confirm_select().await?;
    let (reasons, _) = notices(&mut publisher, GRACE).await?;
    assert_eq!(reasons, [""; 0], "it has not published yet");
    publisher.send("", "q", &PERSISTENT, b"first");
    assert_eq!(blocked(&mut publisher).await?, "low on disk");
    // More publishes change nothing; heartbeats of two seconds keep the connection for longer than three of them.
    publisher.send("", "q", &PERSISTENT, b"second");
    let (reasons, unblocked) = notices(&mut publisher, Duration::from_secs(7)).await?;
    assert_eq!((reasons.len(), unblocked), (0, false));

    // Others consume and ack meanwhile.
    let mut consumer = Client::connect(&broker).await?;
    consumer.connection.qos(CHANNEL, 10).await?;
    consumer.consume("q", false).await?;
    for index in 0..100 {
        let message = consumer.next_delivery().await?;
        assert_eq!(message.body, number(index));
        consumer.ack_until(message.delivery_tag).await?;
    }
    Ok(())
}

/// Sets the watermark on the running broker.
fn set_memory_limit(broker: &Broker, bytes: u64) -> anyhow::Result<()> {
    let limit = bytes.to_string();
    let command = ["set_vm_memory_high_watermark", "absolute", &limit];
    let output = broker.tool("rabbitmqctl")?.args(command).output()?;
    ensure!(output.status.success(), "{output:?}");
    Ok(())
}

fn has_memory_alarm(broker: &Broker, expected: bool) -> bool {
    let nodes = Http::new(broker).get("/nodes");
    nodes.is_ok_and(|nodes| nodes[0]["mem_alarm"] == expected)
}

/// Memory is taken by unconfirmed transient messages and given back by purging them.
#[tokio::test]
async fn a_memory_alarm_is_raised_and_cleared_and_consumers_go_on() -> anyhow::Result<()> {
    /// More than the limit leaves room for, by half.
    const SENT_MAX: usize = 1_200;
    let _alone = alone().await;
    let base = Broker::start()?.resident_bytes()?;
    let limit = base + (48 << 20);
    let broker = Broker::start_with(&format!("vm_memory_high_watermark.absolute = {limit}\n"))?;
    let mut consumer = Client::connect(&broker).await?;
    // A queue keeps 4 MiB in memory, however much waits in it: only many of them reach the limit.
    let backlogs: Vec<String> = (0..24).map(|index| format!("backlog-{index}")).collect();
    for backlog in &backlogs {
        consumer.declare(backlog, QueueOptions::default()).await?;
    }
    consumer.declare("served", QueueOptions::default()).await?;
    let transient = BasicProperties::default();
    for _ in 0..2000 {
        consumer.send("", "served", &transient, b"waits");
    }
    consumer.consume("served", false).await?;
    let first = consumer.next_delivery().await?;

    let mut publisher = Client::connect(&broker).await?;
    let body = vec![7; 64 << 10];
    let mut sent = 0;
    let reason = loop {
        ensure!(sent < 20_000, "no alarm\n{}", broker.log());
        // A publisher that is slower than the disk never fills the memory: the limit comes down to what is used.
        if sent == SENT_MAX {
            set_memory_limit(&broker, 1 << 20)?;
        }
        publisher.send("", &backlogs[sent % backlogs.len()], &transient, &body);
        sent += 1;
        publisher.connection.try_write()?;
        let notice =
            tokio::time::timeout(Duration::from_millis(1), publisher.connection.next_event());
        match notice.await {
            Err(_) => {}
            Ok(event) => match event? {
                Event::Blocked { reason } => break String::from_utf8_lossy(reason).into_owned(),
                other => bail!("{other:?}"),
            },
        }
    };
    assert_eq!(reason, "low on memory");
    // What was on its way to the disk is soon given back, and that would be the end of the alarm: it is kept.
    set_memory_limit(&broker, 1 << 20)?;
    until("the alarm stays", || has_memory_alarm(&broker, true)).await?;
    let resident = broker.resident_bytes()?;
    eprintln!(
        "blocked after {sent} messages: {} MiB, limit {} MiB",
        resident >> 20,
        limit >> 20
    );

    // The consumer's connection publishes no more, so its deliveries and acks go on.
    consumer.ack_until(first.delivery_tag).await?;
    for _ in 1..2000 {
        let message = consumer.next_delivery().await?;
        consumer.ack_until(message.delivery_tag).await?;
    }
    // A connection that comes now is let in, and blocked when it publishes.
    let mut late = Client::connect(&broker).await?;
    late.send("", "served", &transient, b"late");
    assert_eq!(blocked(&mut late).await?, "low on memory");

    for backlog in &backlogs {
        consumer.connection.purge_queue(CHANNEL, backlog).await?;
    }
    set_memory_limit(&broker, limit)?;
    until("the alarm ends", || has_memory_alarm(&broker, false))
        .await
        .with_context(|| {
            format!(
                "resident: {} MiB",
                broker.resident_bytes().unwrap_or(0) >> 20
            )
        })?;
    for client in [&mut publisher, &mut late] {
        loop {
            match within(client.connection.next_event()).await? {
                Event::Unblocked => break,
                // The first one saw the alarm end and begin again if that was faster than the tool.
                Event::Blocked { .. } => {}
                other => bail!("connection.unblocked was expected, {other:?} came"),
            }
        }
    }
    // What was held back arrives.
    let message = consumer.next_delivery().await?;
    assert_eq!(message.body, b"late");
    Ok(())
}

/// Fills a queue with `count` messages of 100 KB.
async fn fill(client: &mut Client, queue: &str, count: u64) -> anyhow::Result<()> {
    client.declare(queue, DURABLE).await?;
    client
        .publish_all(queue, &PERSISTENT, count, |_| vec![1; 100_000])
        .await
}

/// Starts `count` consumers that never read what they asked for.
async fn deaf(broker: &Broker, queue: &str, count: usize) -> anyhow::Result<Vec<Client>> {
    let mut clients = Vec::new();
    for _ in 0..count {
        let options = ConnectOptions {
            read_buffer_bytes: 16 << 10,
            frame_max: 8192,
            heartbeat_seconds: 0,
            ..ConnectOptions::default()
        };
        let mut client = Client::connect_with(broker.address(), &options).await?;
        let no_ack = ConsumeOptions {
            no_ack: true,
            exclusive: false,
        };
        client
            .connection
            .consume(CHANNEL, queue, "", no_ack, Table::default())
            .await?;
        clients.push(client);
    }
    Ok(clients)
}

/// Round trips of another queue: publish, receive, ack.
async fn work(broker: &Broker, messages: u64) -> anyhow::Result<Duration> {
    let mut client = Client::connect(broker).await?;
    client.declare("worked", QueueOptions::default()).await?;
    client.connection.qos(CHANNEL, 500).await?;
    client.consume("worked", false).await?;
    let started = Instant::now();
    for _ in 0..messages / 100 {
        for _ in 0..100 {
            client.send("", "worked", &BasicProperties::default(), b"work");
        }
        let received = client.receive(100).await?;
        let last = received.last().context("a hundred")?.delivery_tag;
        client.ack_until(last).await?;
    }
    let took = started.elapsed();
    client.close().await?;
    Ok(took)
}

#[tokio::test]
async fn an_idle_node_keeps_little_beside_its_program() -> anyhow::Result<()> {
    /// Half as much as it has with huge pages; a build for debugging needs a little more than others.
    const ANONYMOUS_MAX: u64 = 6 << 20;
    let _alone = alone().await;
    let broker = Broker::start()?;
    let anonymous = broker.anonymous_bytes()?;
    eprintln!("an idle node: {} KiB", anonymous >> 10);
    assert!(anonymous < ANONYMOUS_MAX, "{anonymous} bytes");
    Ok(())
}

#[tokio::test]
async fn a_consumer_that_does_not_read_costs_little() -> anyhow::Result<()> {
    /// Beside what the connection holds, a page of the allocator may be touched.
    const PAGE: u64 = 2 << 20;
    const GROWTH_MAX: u64 = (2 << 20) + PAGE;
    let _alone = alone().await;
    let broker = Broker::start()?;
    let mut client = Client::connect(&broker).await?;
    client.confirm_select().await?;
    fill(&mut client, "q", 1000).await?;
    // The first one makes the queue load its head, which is the queue's memory and not the connection's.
    let _first = deaf(&broker, "q", 1).await?;
    work(&broker, 20_000).await?;
    let before = broker.resident_bytes()?;
    let _second = deaf(&broker, "q", 1).await?;
    let took = work(&broker, 20_000).await?;
    let growth = broker.resident_bytes()?.saturating_sub(before);
    let left = client
        .inspect("q")
        .await?
        .context("q is gone")?
        .message_count;
    eprintln!(
        "a deaf consumer: {} KiB more, {left} left in the queue, 20,000 round trips in {took:?}",
        growth >> 10
    );
    assert!(
        growth < GROWTH_MAX,
        "{growth} bytes for a consumer that does not read"
    );
    assert!(
        left > 500,
        "{left} messages left in the queue: the rest is in buffers"
    );
    assert!(took < PATIENCE, "others are slow: {took:?}");
    Ok(())
}

#[tokio::test]
async fn many_consumers_that_do_not_read_cost_little_each() -> anyhow::Result<()> {
    const CONSUMERS: usize = 200;
    const GROWTH_MAX: u64 = CONSUMERS as u64 * (1 << 20);
    let _alone = alone().await;
    let broker = Broker::start()?;
    let mut client = Client::connect(&broker).await?;
    client.confirm_select().await?;
    fill(&mut client, "q", 3000).await?;
    work(&broker, 5000).await?;
    let before = broker.resident_bytes()?;
    let _deaf = deaf(&broker, "q", CONSUMERS).await?;
    let took = work(&broker, 20_000).await?;
    let growth = broker.resident_bytes()?.saturating_sub(before);
    eprintln!(
        "{CONSUMERS} deaf consumers: {} KiB more each, 20,000 round trips in {took:?}",
        (growth >> 10) / CONSUMERS as u64
    );
    assert!(
        growth < GROWTH_MAX,
        "{growth} bytes for {CONSUMERS} consumers that do not read"
    );
    assert!(took < PATIENCE, "others are slow: {took:?}");
    Ok(())
}
