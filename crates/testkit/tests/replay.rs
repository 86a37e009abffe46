//! The replay window over HTTP: what was settled is seen, replayed and dropped, over a crash.

use anyhow::{Context, ensure};
use client_amqp091::codec::{Table, TableWriter, Value};
use serde_json::{Value as Json, json};
use std::time::{Duration, Instant};
use testkit::client::{CHANNEL, DURABLE, PERSISTENT};
use testkit::{Broker, Client, Http};

/// Messages that are published.
const COUNT: usize = 1000;

/// Longest wait for figures.
const PATIENCE: Duration = Duration::from_secs(60);

async fn request(
    broker: &Broker,
    method: &'static str,
    path: &str,
    body: Json,
) -> anyhow::Result<Json> {
    let (http, path) = (Http::new(broker), format!("/queues/%2F/{path}"));
    let answer = tokio::task::spawn_blocking(move || http.request(method, &path, Some(&body)));
    let answer = answer.await??;
    let status = answer.status;
    let body = answer.json()?;
    ensure!(status == 200, "{status}: {body}");
    Ok(body)
}

/// Waits until the queue has so many messages, and keeps so many.
async fn settles_at(broker: &Broker, messages: usize, kept: usize) -> anyhow::Result<()> {
    let started = Instant::now();
    loop {
        let item = request(broker, "GET", "orders", json!({})).await?;
        if item["messages"] == messages && item["messages_replayable"] == kept {
            ensure!(item["message_bytes_replayable"].as_u64() > Some(0) || kept == 0);
            return Ok(());
        }
        ensure!(started.elapsed() < PATIENCE, "{messages}, {kept}: {item}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn settled_messages_are_replayed_also_after_a_crash() -> anyhow::Result<()> {
    let mut broker = Broker::start()?;
    let mut client = Client::connect(&broker).await?;
    let mut bytes = Vec::new();
    TableWriter::new(&mut bytes).field(b"x-replay-window-ms", &Value::I32(3_600_000));
    let arguments = Table::new(&bytes);
    let declared = client
        .connection
        .declare_queue(CHANNEL, "orders", DURABLE, arguments);
    declared.await?;
    client.declare("again", DURABLE).await?;
    client.confirm_select().await?;
    let mut last = 0;
    for number in 0..COUNT {
        last = client.send("", "orders", &PERSISTENT, number.to_string().as_bytes());
    }
    client.confirmed_until(last).await?;
    for number in 0..10 {
        let message = client.get("orders", true).await?.context("it waits")?;
        ensure!(message.body == number.to_string().as_bytes());
    }
    settles_at(&broker, COUNT - 10, 10).await?;
    // A confirm comes behind the notes of what was settled before it.
    last = client.send("", "again", &PERSISTENT, b"marker");
    client.confirmed_until(last).await?;
    ensure!(client.get("again", true).await?.is_some());

    broker.kill()?;
    broker.restart()?;
    // That the marker was taken may not have reached the disk.
    let mut client = Client::connect(&broker).await?;
    client.connection.purge_queue(CHANNEL, "again").await?;
    settles_at(&broker, COUNT - 10, 10).await?;
    let page = json!({"settled": true, "filter": {"body": "7"}});
    let page = request(&broker, "POST", "orders/browse", page).await?;
    ensure!(page["messages"][0]["payload"] == "7", "{page}");
    ensure!(page["messages"][0]["state"] == "settled", "{page}");
    ensure!(
        page["messages"].as_array().map(Vec::len) == Some(1),
        "{page}"
    );
    let none = json!({"filter": {}, "settled_until": 1});
    let none = request(&broker, "POST", "orders/replay", none).await?;
    ensure!(none["done"] == 0, "{none}");
    let elsewhere = json!({"filter": {}, "to_queue": "again"});
    let elsewhere = request(&broker, "POST", "orders/replay", elsewhere).await?;
    ensure!(elsewhere["done"] == 10, "{elsewhere}");
    let back = request(&broker, "POST", "orders/replay", json!({"filter": {}})).await?;
    ensure!(back["done"] == 10, "{back}");
    settles_at(&broker, COUNT, 10).await?;

    for number in 0..10 {
        let message = client
            .get("again", true)
            .await?
            .context("it was replayed")?;
        ensure!(
            message.body == number.to_string().as_bytes(),
            "{number}: {}",
            String::from_utf8_lossy(&message.body)
        );
    }
    let message = client.get("orders", true).await?.context("it waits")?;
    ensure!(message.body == b"10", "what is kept was delivered again");
    settles_at(&broker, COUNT - 1, 11).await?;
    let gone = request(&broker, "DELETE", "orders/replay", json!({})).await?;
    ensure!(gone["done"] == 11, "{gone}");
    settles_at(&broker, COUNT - 1, 0).await?;
    Ok(())
}
