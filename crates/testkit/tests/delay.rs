//! Delayed messages over the life of a broker: as clients see them, and across restarts and crashes.

use anyhow::{Context, ensure};
use client_amqp091::QueueOptions;
use client_amqp091::codec::{
    BasicProperties, Method, Table, TableWriter, Value, basic, exchange, tx,
};
use serde_json::{Value as Json, json};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use testkit::client::{CHANNEL, DURABLE, PATIENCE, Received};
use testkit::{Broker, Client, Http};

fn encoded(fields: &[(&str, Value<'_>)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = TableWriter::new(&mut bytes);
    for (key, value) in fields {
        writer.field(key.as_bytes(), value);
    }
    bytes
}

async fn declare_exchange(
    client: &mut Client,
    name: &str,
    kind: &str,
    arguments: &[(&str, Value<'_>)],
) -> anyhow::Result<()> {
    let arguments = encoded(arguments);
    let declare = exchange::Declare {
        exchange: name.as_bytes(),
        exchange_type: kind.as_bytes(),
        durable: true,
        arguments: Table::new(&arguments),
        ..exchange::Declare::default()
    };
    Ok(client
        .connection
        .declare_exchange(CHANNEL, &declare)
        .await?)
}

/// A delayed exchange `later` that routes as `direct` to the durable queue `q` by the key `k`.
async fn topology(client: &mut Client) -> anyhow::Result<()> {
    let kind = [("x-delayed-type", Value::LongStr(b"direct"))];
    declare_exchange(client, "later", "x-delayed-message", &kind).await?;
    client.declare("q", DURABLE).await?;
    client.bind("q", "later", "k").await
}

fn send(client: &mut Client, to: (&str, &str), header: (&str, Value<'_>), body: &str) -> u64 {
    let headers = encoded(&[header]);
    let properties = BasicProperties {
        delivery_mode: Some(2),
        headers: Some(Table::new(&headers)),
        ..BasicProperties::default()
    };
    client.send(to.0, to.1, &properties, body.as_bytes())
}

fn delay(delay_ms: i32) -> (&'static str, Value<'static>) {
    ("x-delay", Value::I32(delay_ms))
}

/// The next message of a queue, as soon as there is one.
async fn get(client: &mut Client, queue: &str) -> anyhow::Result<Received> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(message) = client.get(queue, true).await? {
            return Ok(message);
        }
        ensure!(Instant::now() < deadline, "nothing came to {queue}");
    }
}

async fn bodies(client: &mut Client, queue: &str, count: usize) -> anyhow::Result<Vec<String>> {
    let mut found = Vec::new();
    for _ in 0..count {
        found.push(String::from_utf8(get(client, queue).await?.body)?);
    }
    Ok(found)
}

fn header_of(message: &Received, key: &str) -> anyhow::Result<String> {
    let properties = BasicProperties::decode(&message.raw_properties)?;
    let headers = properties.headers.context("there are headers")?;
    Ok(format!("{:?}", headers.get(key.as_bytes())?))
}

#[tokio::test]
async fn messages_come_when_they_are_due_with_the_header_negated() -> anyhow::Result<()> {
    let broker = Broker::start()?;
    let mut client = Client::connect(&broker).await?;
    topology(&mut client).await?;
    client.confirm_select().await?;
    let begun = Instant::now();
    for delay_ms in [300, 100, 200] {
        send(
            &mut client,
            ("later", "k"),
            delay(delay_ms),
            &delay_ms.to_string(),
        );
    }
    send(&mut client, ("later", "k"), delay(0), "at once");
    let last = send(&mut client, ("later", "other"), delay(50), "unroutable");
    client.connection.flush().await?;
    client.confirmed_until(last).await?;
    assert_eq!(bodies(&mut client, "q", 1).await?, ["at once"]);
    let first = get(&mut client, "q").await?;
    assert!(begun.elapsed() >= Duration::from_millis(100));
    assert_eq!(header_of(&first, "x-delay")?, "Some(I64(-100))");
    assert_eq!(bodies(&mut client, "q", 2).await?, ["200", "300"]);
    assert!(begun.elapsed() >= Duration::from_millis(300));
    Ok(())
}

#[tokio::test]
async fn what_waits_survives_a_crash_and_a_stop() -> anyhow::Result<()> {
    let mut broker = Broker::start()?;
    let mut client = Client::connect(&broker).await?;
    topology(&mut client).await?;
    client.confirm_select().await?;
    let mut last = 0;
    // They are due at times that do not depend on when the broker takes them.
    let wall = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
    let due = i64::try_from(wall)? + 2_000;
    for number in 0..200 {
        let body = format!("{number:03}");
        let at = ("x-deliver-at", Value::I64(due - number));
        last = send(&mut client, ("later", "k"), at, &body);
    }
    client.connection.flush().await?;
    client.confirmed_until(last).await?;
    drop(client);
    broker.kill()?;
    broker.restart()?;
    broker.stop()?;
    broker.restart()?;
    let mut client = Client::connect(&broker).await?;
    let expected: Vec<_> = (0..200)
        .rev()
        .map(|number| format!("{number:03}"))
        .collect();
    assert_eq!(bodies(&mut client, "q", 200).await?, expected);
    assert_eq!(client.get("q", true).await?, None, "each came once");
    drop(client);
    broker.stop()?;
    broker.restart()?;
    let mut client = Client::connect(&broker).await?;
    assert_eq!(client.get("q", true).await?, None, "none comes again");
    Ok(())
}

#[tokio::test]
async fn a_message_is_routed_by_the_bindings_of_the_time_it_is_due() -> anyhow::Result<()> {
    let broker = Broker::start()?;
    let mut client = Client::connect(&broker).await?;
    topology(&mut client).await?;
    declare_exchange(&mut client, "front", "fanout", &[]).await?;
    let bind = exchange::Bind {
        source: b"front",
        destination: b"later",
        ..exchange::Bind::default()
    };
    client
        .call(
            |out| bind.encode(CHANNEL, out),
            |reply| matches!(reply, Method::ExchangeBindOk(_)),
        )
        .await?;
    send(
        &mut client,
        ("front", "new"),
        delay(3_000),
        "through another exchange",
    );
    client.connection.flush().await?;
    client.declare("late", DURABLE).await?;
    client.bind("late", "later", "new").await?;
    assert_eq!(
        bodies(&mut client, "late", 1).await?,
        ["through another exchange"]
    );
    assert_eq!(client.get("q", true).await?, None);
    Ok(())
}

#[tokio::test]
async fn messages_of_a_deleted_exchange_are_dropped() -> anyhow::Result<()> {
    let broker = Broker::start()?;
    let mut client = Client::connect(&broker).await?;
    topology(&mut client).await?;
    send(
        &mut client,
        ("later", "k"),
        delay(2_000),
        "of the old exchange",
    );
    client.connection.flush().await?;
    client.connection.delete_exchange(CHANNEL, "later").await?;
    topology(&mut client).await?;
    send(
        &mut client,
        ("later", "k"),
        delay(3_000),
        "of the new exchange",
    );
    client.connection.flush().await?;
    assert_eq!(bodies(&mut client, "q", 1).await?, ["of the new exchange"]);
    Ok(())
}

/// What `GET` of a path tells as soon as so many wait there.
fn waiting(http: &Http, path: &str, count: u64) -> anyhow::Result<Json> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found = http.get(path)?;
        if found["messages_delayed"] == count {
            return Ok(found);
        }
        ensure!(Instant::now() < deadline, "{path}: {found}");
    }
}

#[test]
fn what_waits_is_listed_and_cancelled_over_http() -> anyhow::Result<()> {
    let mut broker = Broker::start()?;
    let http = Http::new(&broker);
    let arguments = json!({"x-delayed-type": "fanout"});
    let later = json!({"type": "x-delayed-message", "durable": true, "arguments": arguments});
    http.put("/exchanges/%2F/later", later)?;
    let arguments = json!({"x-delayed-publish": true});
    http.put(
        "/queues/%2F/slow",
        json!({"durable": true, "arguments": arguments}),
    )?;
    let publish = |exchange: &str, id: &str, delay_ms: u32| {
        let headers = json!({"x-delay": delay_ms});
        let properties = json!({"delivery_mode": 2, "message_id": id, "headers": headers});
        let message = json!({
            "properties": properties, "routing_key": "slow", "payload": id, "payload_encoding": "string",
        });
        http.post(&format!("/exchanges/%2F/{exchange}/publish"), message)
    };
    for (number, delay_ms) in [(1, 3_600_000), (2, 1_800_000), (3, 7_200_000)] {
        publish("later", &format!("m{number}"), delay_ms)?;
    }
    publish("amq.default", "m1", 3_600_000)?;
    let (at_later, at_slow) = ("/exchanges/%2F/later/delayed", "/queues/%2F/slow/delayed");
    let listed = waiting(&http, at_later, 3)?;
    let due = |listed: &Json, index: usize| listed["messages"][index]["due_at"].as_u64();
    ensure!(due(&listed, 0) < due(&listed, 1) && due(&listed, 1) < due(&listed, 2));
    let first = http.get(&format!("{at_later}?count=1"))?;
    ensure!(first["messages"].as_array().map(Vec::len) == Some(1));
    waiting(&http, at_slow, 1)?;
    waiting(&http, "/exchanges/%2F/later", 3)?;

    broker.kill()?;
    broker.restart()?;
    let http = Http::new(&broker);
    let place = waiting(&http, at_later, 3)?["messages"][0]["position"].clone();
    let place = place.as_str().context("a place")?.replace('/', "%2F");
    let cancel = |path: &str| http.delete(path).map(|answer| answer["done"].clone());
    ensure!(http.request("DELETE", at_later, None)?.status == 400);
    ensure!(cancel(&format!("{at_slow}?position={place}"))? == 0);
    ensure!(cancel(&format!("{at_later}?position={place}"))? == 1);
    ensure!(cancel(&format!("{at_later}?message_id=m1"))? == 1);
    waiting(&http, at_slow, 1)?;
    ensure!(cancel(&format!("{at_later}?all=true"))? == 1);
    ensure!(cancel(&format!("{at_slow}?all=true"))? == 1);
    waiting(&http, at_slow, 0)?;
    waiting(&http, "/exchanges/%2F/later", 0)?;
    Ok(())
}

#[tokio::test]
async fn any_exchange_and_queue_delays_if_it_was_asked_to() -> anyhow::Result<()> {
    let broker = Broker::start()?;
    let mut client = Client::connect(&broker).await?;
    let enabled = [("x-delayed-publish", Value::Bool(true))];
    declare_exchange(&mut client, "plain", "fanout", &[]).await?;
    declare_exchange(&mut client, "willing", "fanout", &enabled).await?;
    let arguments = encoded(&enabled);
    client
        .connection
        .declare_queue(CHANNEL, "willing", DURABLE, Table::new(&arguments))
        .await?;
    let options = QueueOptions::default();
    client.declare("q", options).await?;
    for exchange in ["plain", "willing"] {
        client.bind("q", exchange, "").await?;
    }
    let wall = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
    let at = Value::I64(i64::try_from(wall)? + 3_000);
    send(&mut client, ("willing", ""), ("x-deliver-at", at), "later");
    send(&mut client, ("plain", ""), delay(60_000), "ignored");
    send(&mut client, ("", "q"), delay(60_000), "ignored too");
    send(&mut client, ("", "willing"), delay(100), "before a queue");
    client.connection.flush().await?;
    assert_eq!(
        bodies(&mut client, "q", 2).await?,
        ["ignored", "ignored too"]
    );
    assert_eq!(bodies(&mut client, "willing", 1).await?, ["before a queue"]);
    assert_eq!(bodies(&mut client, "q", 1).await?, ["later"]);
    let wrong = ("x-deliver-at", Value::LongStr(b"tomorrow"));
    send(&mut client, ("willing", ""), wrong, "refused");
    let refused = client
        .inspect("q")
        .await
        .map(drop)
        .map_err(|e| e.to_string());
    assert!(
        refused
            .as_ref()
            .is_err_and(|text| text.contains("x-deliver-at")),
        "{refused:?}"
    );
    Ok(())
}

#[tokio::test]
async fn a_transaction_delays_from_its_commit() -> anyhow::Result<()> {
    let broker = Broker::start()?;
    let mut client = Client::connect(&broker).await?;
    topology(&mut client).await?;
    client
        .call(
            |out| tx::Select.encode(CHANNEL, out),
            |reply| matches!(reply, Method::TxSelectOk(_)),
        )
        .await?;
    send(&mut client, ("later", "k"), delay(50), "committed");
    client
        .call(
            |out| tx::Commit.encode(CHANNEL, out),
            |reply| matches!(reply, Method::TxCommitOk(_)),
        )
        .await?;
    assert_eq!(bodies(&mut client, "q", 1).await?, ["committed"]);
    Ok(())
}

/// Fetches the next message and rejects it, to be tried again.
async fn fail(client: &mut Client, queue: &str) -> anyhow::Result<Received> {
    let deadline = Instant::now() + PATIENCE;
    let message = loop {
        if let Some(message) = client.get(queue, false).await? {
            break message;
        }
        ensure!(Instant::now() < deadline, "nothing came to {queue}");
    };
    let reject = basic::Reject {
        delivery_tag: message.delivery_tag,
        requeue: true,
    };
    reject.encode(CHANNEL, client.connection.outgoing().bytes());
    client.connection.flush().await?;
    Ok(message)
}

#[tokio::test]
async fn a_rejected_message_is_tried_again_later_and_given_up_in_the_end() -> anyhow::Result<()> {
    let mut broker = Broker::start()?;
    let mut client = Client::connect(&broker).await?;
    let arguments = encoded(&[
        ("x-delayed-retry-type", Value::LongStr(b"failed")),
        ("x-delayed-retry-min", Value::I32(200)),
        ("x-delayed-retry-multiplier", Value::I32(2)),
        ("x-delayed-retry-limit", Value::I32(2)),
        ("x-dead-letter-exchange", Value::LongStr(b"")),
        ("x-dead-letter-routing-key", Value::LongStr(b"given-up")),
    ]);
    client
        .connection
        .declare_queue(CHANNEL, "work", DURABLE, Table::new(&arguments))
        .await?;
    client.declare("given-up", DURABLE).await?;
    client.confirm_select().await?;
    client
        .publish_all("work", &testkit::client::PERSISTENT, 1, |_| b"job".to_vec())
        .await?;
    let failed = Instant::now();
    let first = fail(&mut client, "work").await?;
    assert!(!first.redelivered);
    let second = fail(&mut client, "work").await?;
    assert!(failed.elapsed() >= Duration::from_millis(190));
    assert!(second.redelivered);
    assert_eq!(header_of(&second, "x-delivery-count")?, "Some(I64(1))");
    // A confirm for a later message of the same log says that the second attempt is in it.
    client
        .publish_all("given-up", &testkit::client::PERSISTENT, 1, |_| {
            b"marker".to_vec()
        })
        .await?;
    drop(client);
    broker.kill()?;
    broker.restart()?;
    let mut client = Client::connect(&broker).await?;
    let third = fail(&mut client, "work").await?;
    assert_eq!(header_of(&third, "x-delivery-count")?, "Some(I64(2))");
    assert_eq!(bodies(&mut client, "given-up", 1).await?, ["marker"]);
    let dead = get(&mut client, "given-up").await?;
    assert_eq!(dead.body, b"job");
    let reason = header_of(&dead, "x-first-death-reason")?;
    assert!(
        reason.contains(&format!("{:?}", b"delivery_limit")),
        "{reason}"
    );
    assert_eq!(client.get("work", true).await?, None);
    Ok(())
}
