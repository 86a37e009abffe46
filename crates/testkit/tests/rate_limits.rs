//! Limits of how fast may be published, as clients and operators see them.

use anyhow::ensure;
use client_amqp091::ConnectOptions;
use serde_json::json;
use std::time::{Duration, Instant};
use testkit::client::{DURABLE, PERSISTENT};
use testkit::{Broker, Client, Http};

async fn put(broker: &Broker, path: &'static str, value: i64) -> anyhow::Result<()> {
    let http = Http::new(broker);
    let put = move || http.put(path, json!({"value": value}));
    tokio::task::spawn_blocking(put).await??;
    Ok(())
}

async fn throttled(broker: &Broker) -> anyhow::Result<bool> {
    let http = Http::new(broker);
    let connections = tokio::task::spawn_blocking(move || http.get("/connections")).await??;
    let connection = &connections[0];
    let is_throttled = connection.get("throttled") == Some(&json!(true));
    ensure!(
        is_throttled == (connection["state"] == "flow"),
        "{connection}"
    );
    Ok(is_throttled)
}

#[tokio::test]
async fn a_publisher_that_is_too_fast_waits_and_loses_nothing() -> anyhow::Result<()> {
    let mut broker = Broker::start()?;
    put(
        &broker,
        "/vhost-limits/%2F/max-connection-publish-rate",
        500,
    )
    .await?;
    broker.kill()?;
    broker.restart()?;
    // Heartbeats go both ways while nothing is read, for more than three intervals.
    let options = ConnectOptions {
        heartbeat_seconds: 2,
        ..ConnectOptions::default()
    };
    let mut client = Client::connect_with(broker.address(), &options).await?;
    client.confirm_select().await?;
    client.declare("q", DURABLE).await?;
    let begin = Instant::now();
    let mut last = 0;
    for index in 0..4000_u32 {
        last = client.send("", "q", &PERSISTENT, &index.to_be_bytes());
    }
    client.confirmed_until(last).await?;
    // The first 500 come at once.
    let elapsed = begin.elapsed();
    ensure!(elapsed > Duration::from_millis(6900), "{elapsed:?}");
    client.consume("q", true).await?;
    let messages = client.receive(4000).await?;
    let bodies = messages.iter().map(|message| &message.body[..]);
    ensure!(bodies.eq((0..4000_u32).map(u32::to_be_bytes)));
    let log = broker.log();
    let lines = log.matches("publishes faster than the limits").count();
    ensure!(lines == 1, "{log}");
    Ok(())
}

#[tokio::test]
async fn a_limit_that_changes_holds_for_what_waits() -> anyhow::Result<()> {
    let broker = Broker::start()?;
    put(&broker, "/user-limits/guest/max-publish-bytes-rate", 1000).await?;
    let mut client = Client::connect(&broker).await?;
    client.confirm_select().await?;
    client.declare("q", DURABLE).await?;
    // Twenty minutes of it.
    let mut last = 0;
    for _ in 0..120 {
        last = client.send("", "q", &PERSISTENT, &[0; 10_000]);
    }
    client.confirmed_until(1).await?;
    ensure!(throttled(&broker).await?);
    put(&broker, "/user-limits/guest/max-publish-bytes-rate", -1).await?;
    // It waits for less than these minutes.
    client.confirmed_until(last).await?;
    ensure!(!throttled(&broker).await?);
    Ok(())
}
