//! Duplicates over the life of a broker: what a queue knows after it stopped or crashed.

use anyhow::ensure;
use client_amqp091::codec::{BasicProperties, Table, TableWriter, Value, exchange};
use serde_json::json;
use testkit::client::{CHANNEL, DURABLE, PERSISTENT};
use testkit::{Broker, Client, Http};

/// Declares a queue that drops duplicates.
async fn declare(client: &mut Client, queue: &str, window_ms: Option<i32>) -> anyhow::Result<()> {
    let mut arguments = Vec::new();
    let mut writer = TableWriter::new(&mut arguments);
    writer.field(b"x-message-deduplication", &Value::Bool(true));
    if let Some(window_ms) = window_ms {
        writer.field(b"x-cache-ttl", &Value::I32(window_ms));
    }
    client
        .connection
        .declare_queue(CHANNEL, queue, DURABLE, Table::new(&arguments))
        .await?;
    Ok(())
}

/// Publishes messages with these ids and waits for their confirms.
async fn publish(
    client: &mut Client,
    queue: &str,
    ids: std::ops::Range<u32>,
) -> anyhow::Result<()> {
    let last = send(client, "", queue, ids);
    client.confirmed_until(last).await?;
    Ok(())
}

/// Publishes messages with these ids; the number of the last.
fn send(client: &mut Client, exchange: &str, queue: &str, ids: std::ops::Range<u32>) -> u64 {
    let mut last = 0;
    for id in ids {
        let mut headers = Vec::new();
        let text = id.to_string();
        TableWriter::new(&mut headers)
            .field(b"x-deduplication-header", &Value::LongStr(text.as_bytes()));
        let properties = BasicProperties {
            headers: Some(Table::new(&headers)),
            ..PERSISTENT
        };
        last = client.send(exchange, queue, &properties, text.as_bytes());
    }
    last
}

async fn count(client: &mut Client, queue: &str) -> anyhow::Result<u32> {
    let declared = client.inspect(queue).await?;
    Ok(declared.map_or(0, |declared| declared.message_count))
}

#[tokio::test]
async fn ids_are_known_after_a_stop_and_after_a_crash() -> anyhow::Result<()> {
    let mut broker = Broker::start()?;
    let mut client = Client::connect(&broker).await?;
    client.confirm_select().await?;
    declare(&mut client, "while-there", None).await?;
    declare(&mut client, "for-a-time", Some(600_000)).await?;
    for queue in ["while-there", "for-a-time"] {
        publish(&mut client, queue, 0..500).await?;
        publish(&mut client, queue, 250..750).await?;
        ensure!(count(&mut client, queue).await? == 750);
        // The first hundred leave.
        for _ in 0..100 {
            ensure!(client.get(queue, true).await?.is_some());
        }
    }
    client.close().await?;
    for crash in [false, true] {
        if crash {
            broker.kill()?;
        } else {
            broker.stop()?;
        }
        broker.restart()?;
        let mut client = Client::connect(&broker).await?;
        client.confirm_select().await?;
        publish(&mut client, "for-a-time", 0..750).await?;
        ensure!(count(&mut client, "for-a-time").await? == 650);
        let before = count(&mut client, "while-there").await?;
        ensure!(before == if crash { 750 } else { 650 }, "{before}");
        publish(&mut client, "while-there", 0..750).await?;
        ensure!(count(&mut client, "while-there").await? == 750);
        client.close().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_policy_switches_it_on_and_off() -> anyhow::Result<()> {
    let broker = Broker::start()?;
    let mut client = Client::connect(&broker).await?;
    client.confirm_select().await?;
    client.declare("q", DURABLE).await?;
    let http = Http::new(&broker);
    let policy = json!({
        "pattern": "^q$",
        "definition": {"message-deduplication": true, "deduplication-cache-size": 10},
    });
    let on = http.clone();
    tokio::task::spawn_blocking(move || on.put("/policies/%2F/dedup", policy)).await??;
    // Queues follow policies in steps: until it has, every publish enters.
    let mut published = 0;
    loop {
        publish(&mut client, "q", 7..8).await?;
        published += 1;
        if count(&mut client, "q").await? < published {
            break;
        }
    }
    let entered = count(&mut client, "q").await?;
    publish(&mut client, "q", 7..8).await?;
    ensure!(count(&mut client, "q").await? == entered);
    // Ten newer ids displace it.
    publish(&mut client, "q", 100..110).await?;
    publish(&mut client, "q", 7..8).await?;
    ensure!(count(&mut client, "q").await? == entered + 11);
    Ok(())
}

async fn exchange_of(client: &mut Client, name: &str) -> anyhow::Result<()> {
    let mut arguments = Vec::new();
    TableWriter::new(&mut arguments).field(b"x-cache-size", &Value::I32(100_000));
    let declare = exchange::Declare {
        exchange: name.as_bytes(),
        exchange_type: b"x-message-deduplication",
        durable: true,
        arguments: Table::new(&arguments),
        ..exchange::Declare::default()
    };
    client
        .connection
        .declare_exchange(CHANNEL, &declare)
        .await?;
    Ok(())
}

#[tokio::test]
async fn an_exchange_gives_each_queue_each_id_once_whenever_the_broker_is_killed()
-> anyhow::Result<()> {
    let mut broker = Broker::start()?;
    let mut client = Client::connect(&broker).await?;
    exchange_of(&mut client, "once").await?;
    let queues = ["one", "two"];
    for queue in queues {
        client.declare(queue, DURABLE).await?;
        client.bind(queue, "once", "").await?;
    }
    client.close().await?;
    for round in 0..5 {
        let mut client = Client::connect(&broker).await?;
        client.confirm_select().await?;
        // Some of it may be on the disk when the broker dies, and some ids may not.
        let ids = round * 1000..(round + 1) * 1000;
        let last = send(&mut client, "once", "", ids);
        client.confirmed_until(last / 3).await?;
        broker.kill()?;
        broker.restart()?;
        let mut client = Client::connect(&broker).await?;
        client.confirm_select().await?;
        let last = send(&mut client, "once", "", 0..(round + 1) * 1000);
        client.confirmed_until(last).await?;
        for queue in queues {
            let count = count(&mut client, queue).await?;
            ensure!(count == (round + 1) * 1000 - round * 10, "{queue}: {count}");
            // What has left is known as well.
            for _ in 0..10 {
                ensure!(client.get(queue, true).await?.is_some());
            }
        }
        client.close().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_policy_for_exchanges_deduplicates_what_any_of_them_takes() -> anyhow::Result<()> {
    let broker = Broker::start()?;
    let http = Http::new(&broker);
    let policy = json!({
        "pattern": "^amq.topic$", "apply-to": "exchanges",
        "definition": {"message-deduplication": true, "deduplication-cache-ttl": 600_000},
    });
    tokio::task::spawn_blocking(move || http.put("/policies/%2F/once", policy)).await??;
    let mut client = Client::connect(&broker).await?;
    client.confirm_select().await?;
    client.declare("q", DURABLE).await?;
    client.bind("q", "amq.topic", "#").await?;
    for (exchange, expected) in [("amq.topic", 10), ("amq.topic", 10), ("", 20), ("", 30)] {
        let last = send(&mut client, exchange, "q", 0..10);
        client.confirmed_until(last).await?;
        ensure!(count(&mut client, "q").await? == expected);
    }
    Ok(())
}
