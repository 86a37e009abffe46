//! Who has to wait for a queue that takes no more, and who has not.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a test names what it waits for; whatever else comes fails it"
)]

use anyhow::{bail, ensure};
use client_amqp091::codec::{BasicProperties, Method, Table, basic};
use client_amqp091::{ConsumeOptions, Event, QueueOptions};
use std::time::{Duration, Instant};
use testkit::client::{CHANNEL, DURABLE, PERSISTENT, within};
use testkit::{Broker, Client};

/// The channels beside [`CHANNEL`]: one publishes elsewhere, one consumes that.
const OTHER: u16 = 2;
const CONSUMER: u16 = 3;

/// A sync takes that long from the tenth on: longer than what is done meanwhile, on a busy machine.
const SYNC: Duration = Duration::from_secs(5);

/// A step of the flood is small enough for a channel to keep it back without the connection being stopped.
const FLOOD_STEP: u32 = 8;
static FLOOD_BODY: [u8; 32 << 10] = [7; 32 << 10];
const FLOOD_MAX: u32 = 4000;

/// The broker with two shards, and with syncs that become slow.
fn slow_broker() -> anyhow::Result<Broker> {
    let delay = SYNC.as_micros();
    let inject = format!("inject=fdatasync:delay_enter={delay}:when=10+");
    let wrapper = [
        "strace",
        "-f",
        "-qq",
        "--seccomp-bpf",
        "-o",
        "/dev/null",
        "-e",
        "trace=fdatasync",
        "-e",
        &inject,
    ];
    Broker::start_wrapped("warren.shards = 2\n", &wrapper, None)
}

/// Publishes with confirms until the log has become slow.
async fn until_slow(client: &mut Client) -> anyhow::Result<()> {
    client.declare("warm-up", DURABLE).await?;
    client.confirm_select().await?;
    for _ in 0..20 {
        let started = Instant::now();
        let tag = client.send("", "warm-up", &PERSISTENT, b"");
        client.confirmed_until(tag).await?;
        if started.elapsed() >= SYNC {
            return Ok(());
        }
    }
    bail!("the log does not become slow")
}

#[tokio::test]
async fn a_flooded_queue_holds_back_one_channel_and_nobody_else() -> anyhow::Result<()> {
    let broker = slow_broker()?;
    // Connections go to shards in turn, and queues live where they were declared: all of this goes from one shard to the other.
    let mut publisher = Client::connect(&broker).await?;
    let mut owner = Client::connect(&broker).await?;
    owner.declare("flooded", DURABLE).await?;
    owner.declare("quick", QueueOptions::default()).await?;
    let connection = &mut publisher.connection;
    connection.open_channel(OTHER).await?;
    connection.open_channel(CONSUMER).await?;
    connection.qos(CONSUMER, 1).await?;
    let options = ConsumeOptions::default();
    connection
        .consume(CONSUMER, "quick", "quick", options, Table::default())
        .await?;
    until_slow(&mut owner).await?;

    // The flood goes on until the answer behind it does not come before a message that goes to the other shard and back.
    let mut flooded = 0;
    let mut trips = 0;
    let mut is_held = false;
    while !is_held {
        ensure!(flooded < FLOOD_MAX, "nothing holds the flood back");
        for _ in 0..FLOOD_STEP {
            publisher.send("", "flooded", &PERSISTENT, &FLOOD_BODY);
        }
        flooded += FLOOD_STEP;
        let qos = Method::BasicQos(basic::Qos::default());
        qos.encode(CHANNEL, publisher.connection.outgoing().bytes());
        is_held = !round_trip(&mut publisher, &mut trips).await?;
    }
    eprintln!("held back after {flooded} messages");

    // The rest of the connection goes on.
    let mut longest = Duration::ZERO;
    for _ in 0..50 {
        let started = Instant::now();
        ensure!(!round_trip(&mut publisher, &mut trips).await?);
        longest = longest.max(started.elapsed());
    }
    eprintln!("longest of 50 round trips: {longest:?}");

    // Then the flood goes on, and nothing of it is lost.
    match within(publisher.connection.next_event()).await? {
        Event::Reply {
            channel: CHANNEL,
            method: Method::BasicQosOk(_),
        } => {}
        other => bail!("{other:?}"),
    }
    let found = publisher.inspect("flooded").await?;
    ensure!(found.is_some_and(|found| found.message_count == flooded));
    Ok(())
}

/// A message to the other shard and back, and its ack, without which no other would come. Returns whether [`CHANNEL`] answered
/// before.
async fn round_trip(client: &mut Client, trips: &mut u64) -> anyhow::Result<bool> {
    let publish = basic::Publish {
        routing_key: b"quick",
        ..basic::Publish::default()
    };
    let properties = BasicProperties::default();
    let connection = &mut client.connection;
    connection
        .outgoing()
        .publish(OTHER, &publish, &properties, b"m");
    *trips += 1;
    let mut answered = false;
    loop {
        match within(connection.next_event()).await? {
            Event::Delivery(delivery) => {
                ensure!(delivery.delivery_tag == *trips);
                break;
            }
            Event::Reply {
                channel: CHANNEL, ..
            } => answered = true,
            other => bail!("{other:?}"),
        }
    }
    connection.ack(CONSUMER, *trips, false).await?;
    Ok(answered)
}
