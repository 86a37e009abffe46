//! Looking into queues over HTTP, and acting on what is there: with most of it on the disk, over restarts and crashes.

use anyhow::{Context, ensure};
use client_amqp091::codec::{BasicProperties, Table, TableWriter, Value};
use serde_json::{Value as Json, json};
use std::time::Instant;
use testkit::client::{DURABLE, PATIENCE, PERSISTENT};
use testkit::{Broker, Client, Http};

/// Enough that a queue keeps only a small part in memory.
const COLD: usize = 100_000;

/// A request about a queue; the status and the body. It must not hold up the clients of the test.
async fn request(
    broker: &Broker,
    method: &'static str,
    path: &str,
    body: Json,
) -> anyhow::Result<(u16, Json)> {
    let (http, path) = (Http::new(broker), format!("/queues/%2F/{path}"));
    let answer = tokio::task::spawn_blocking(move || http.request(method, &path, Some(&body)));
    let answer = answer.await??;
    Ok((answer.status, answer.json()?))
}

async fn post(broker: &Broker, path: &str, body: Json) -> anyhow::Result<Json> {
    let (status, answer) = request(broker, "POST", path, body).await?;
    ensure!(status == 200, "{status}: {answer}");
    Ok(answer)
}

async fn put(broker: &Broker, path: &str) -> anyhow::Result<()> {
    let (status, answer) = request(broker, "PUT", path, json!({})).await?;
    ensure!(status == 204, "{status}: {answer}");
    Ok(())
}

/// Publishes messages with a header, a JSON body and a number.
async fn fill(client: &mut Client, queue: &str, count: usize) -> anyhow::Result<()> {
    client.declare(queue, DURABLE).await?;
    client.confirm_select().await?;
    let mut last = 0;
    for number in 0..count {
        let mut headers = Vec::new();
        let tenant = if number % 10 == 0 { "blue" } else { "green" };
        TableWriter::new(&mut headers).field(b"tenant", &Value::LongStr(tenant.as_bytes()));
        let properties = BasicProperties {
            headers: Some(Table::new(&headers)),
            ..PERSISTENT
        };
        let body = json!({"number": number, "text": format!("order {number}")}).to_string();
        last = client.send("", queue, &properties, body.as_bytes());
        if number % 500 == 499 {
            client.confirmed_until(last).await?;
        }
    }
    client.confirmed_until(last).await?;
    Ok(())
}

fn number(body: &[u8]) -> anyhow::Result<u64> {
    let body: Json = serde_json::from_slice(body)?;
    body["number"].as_u64().context("a number")
}

/// Takes everything out of a queue that is there now.
async fn drain(client: &mut Client, queue: &str) -> anyhow::Result<Vec<u64>> {
    let declared = client.inspect(queue).await?.context("the queue is there")?;
    client.consume(queue, true).await?;
    let received = client.receive(declared.message_count as usize).await?;
    received
        .iter()
        .map(|message| number(&message.body))
        .collect()
}

#[tokio::test]
async fn a_hundred_thousand_cold_messages_are_searched_and_moved_in_order() -> anyhow::Result<()> {
    let mut broker = Broker::start()?;
    let mut client = Client::connect(&broker).await?;
    fill(&mut client, "orders", COLD).await?;
    client.declare("blue", DURABLE).await?;

    let page = json!({"filter": {"json": "$.number", "min": 70_000, "max": 70_004}});
    let page = post(&broker, "orders/browse", page).await?;
    let messages = page["messages"].as_array().context("messages")?;
    ensure!(messages.len() == 5 && page["examined"] == COLD, "{page}");
    ensure!(messages[0]["position"] == "70000" && messages[0]["state"] == "ready");
    ensure!(messages[0]["properties"]["headers"]["tenant"] == "blue");

    let moved = json!({"filter": {"header": "tenant", "equals": "blue"}, "to_queue": "blue"});
    let moved = post(&broker, "orders/move", moved).await?;
    ensure!(moved["done"] == COLD / 10 && moved["busy"] == 0, "{moved}");

    broker.stop()?;
    broker.restart()?;
    let mut client = Client::connect(&broker).await?;
    let blue = drain(&mut client, "blue").await?;
    ensure!(blue.iter().copied().eq((0..COLD as u64).step_by(10)));
    let mut client = Client::connect(&broker).await?;
    let rest = drain(&mut client, "orders").await?;
    ensure!(
        rest.iter()
            .copied()
            .eq((0..COLD as u64).filter(|number| number % 10 != 0))
    );
    Ok(())
}

#[tokio::test]
async fn a_crash_in_the_middle_of_a_move_loses_nothing() -> anyhow::Result<()> {
    const COUNT: usize = 20_000;
    let mut broker = Broker::start()?;
    let mut client = Client::connect(&broker).await?;
    fill(&mut client, "from", COUNT).await?;
    client.declare("to", DURABLE).await?;
    let http = Http::new(&broker);
    let mover = tokio::task::spawn_blocking(move || {
        let body = json!({"filter": {}, "to_queue": "to"});
        http.post("/queues/%2F/from/move", body)
    });
    // It is under way as soon as something has arrived.
    let deadline = Instant::now() + PATIENCE;
    loop {
        let moved = client.inspect("to").await?.context("it is there")?;
        if moved.message_count > 0 {
            break;
        }
        ensure!(Instant::now() < deadline, "nothing is moved");
    }
    broker.kill()?;
    // Its connection broke, or it was done already.
    let _ = mover.await?;
    broker.restart()?;
    let mut client = Client::connect(&broker).await?;
    let mut all = drain(&mut client, "from").await?;
    let mut client = Client::connect(&broker).await?;
    let moved = drain(&mut client, "to").await?;
    ensure!(moved.is_sorted(), "the order is kept");
    all.extend(moved);
    all.sort_unstable();
    let copies = all.len() - COUNT.min(all.len());
    all.dedup();
    ensure!(all.iter().copied().eq(0..COUNT as u64), "messages are lost");
    // At most the batch that was under way is there twice.
    ensure!(copies <= 512, "{copies} messages are there twice");
    Ok(())
}

#[tokio::test]
async fn messages_are_copied_deleted_and_named_by_their_places() -> anyhow::Result<()> {
    let broker = Broker::start()?;
    let mut client = Client::connect(&broker).await?;
    fill(&mut client, "orders", 10).await?;
    client.declare_exchange("news", "topic").await?;
    client.declare("copies", DURABLE).await?;
    client.bind("copies", "news", "a.#").await?;

    let copied = json!({"positions": [1, "3", 77], "to_exchange": "news", "routing_key": "a.b"});
    let copied = post(&broker, "orders/copy", copied).await?;
    ensure!(copied["matched"] == 2 && copied["done"] == 2, "{copied}");
    let nowhere = json!({"positions": [5], "to_exchange": "news", "routing_key": "b"});
    let nowhere = post(&broker, "orders/move", nowhere).await?;
    ensure!(
        nowhere["unroutable"] == 1 && nowhere["done"] == 0,
        "{nowhere}"
    );
    let deleted = json!({"filter": {"body": "order 8"}});
    let deleted = post(&broker, "orders/delete-messages", deleted).await?;
    ensure!(deleted["done"] == 1, "{deleted}");

    let page = post(&broker, "orders/browse", json!({"count": 3, "truncate": 4})).await?;
    ensure!(page["next"] == "3" && page["messages"][0]["payload"] == "{\"nu");
    let page = post(&broker, "orders/browse", json!({"from": page["next"]})).await?;
    ensure!(page["messages"].as_array().map(Vec::len) == Some(6) && page["next"].is_null());
    ensure!(drain(&mut client, "copies").await? == [1, 3]);
    let mut client = Client::connect(&broker).await?;
    ensure!(drain(&mut client, "orders").await? == [0, 1, 2, 3, 4, 5, 6, 7, 9]);
    Ok(())
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_with_a_reason() -> anyhow::Result<()> {
    let broker = Broker::start()?;
    let mut client = Client::connect(&broker).await?;
    fill(&mut client, "orders", 1).await?;
    let refusals = [
        ("move", json!({"filter": {}}), "say where to"),
        ("move", json!({"to_queue": "orders"}), "say which messages"),
        (
            "move",
            json!({"filter": {}, "to_queue": "gone"}),
            "no queue 'gone'",
        ),
        (
            "copy",
            json!({"filter": {}, "to_exchange": "gone"}),
            "no exchange 'gone'",
        ),
        (
            "copy",
            json!({"filter": {}, "to_exchange": "amq.rabbitmq.trace"}),
            "internal exchange",
        ),
        (
            "browse",
            json!({"filter": {"header": 1}}),
            "'header' needs a text",
        ),
        ("browse", json!({"filtre": {}}), "unknown key 'filtre'"),
        (
            "delete-messages",
            json!({"positions": ["x"]}),
            "a place in a queue",
        ),
    ];
    for (what, body, expected) in refusals {
        let shown = body.to_string();
        let (status, answer) = request(&broker, "POST", &format!("orders/{what}"), body).await?;
        let reason = answer["reason"].as_str().unwrap_or_default();
        ensure!(
            status >= 400 && reason.contains(expected),
            "{shown}: {status} {answer}"
        );
    }
    ensure!(drain(&mut client, "orders").await? == [0]);
    Ok(())
}

#[tokio::test]
async fn a_paused_queue_stays_paused_over_a_restart() -> anyhow::Result<()> {
    let mut broker = Broker::start()?;
    let mut client = Client::connect(&broker).await?;
    fill(&mut client, "orders", 3).await?;
    put(&broker, "orders/pause").await?;
    broker.kill()?;
    broker.restart()?;
    let mut client = Client::connect(&broker).await?;
    client.consume("orders", true).await?;
    ensure!(client.get("orders", true).await?.is_none());
    let page = post(&broker, "orders/browse", json!({})).await?;
    ensure!(
        page["messages"].as_array().map(Vec::len) == Some(3),
        "{page}"
    );
    put(&broker, "orders/resume").await?;
    ensure!(client.receive(3).await?.len() == 3);
    Ok(())
}

#[tokio::test]
async fn somebody_else_does_not_wait_for_a_large_move() -> anyhow::Result<()> {
    let broker = Broker::start()?;
    let mut client = Client::connect(&broker).await?;
    fill(&mut client, "orders", COLD).await?;
    client.declare("to", DURABLE).await?;
    let mut bystander = Client::connect(&broker).await?;
    bystander.declare("other", DURABLE).await?;
    let http = Http::new(&broker);
    let mover = tokio::task::spawn_blocking(move || {
        let mut moved = 0;
        let mut from = json!(0);
        while !from.is_null() {
            let filter = json!({"json": "$.text", "contains": "order"});
            let body = json!({"filter": filter, "count": 20_000, "from": from, "to_queue": "to"});
            let answer = http.post("/queues/%2F/orders/move", body)?;
            moved += answer["done"].as_u64().unwrap_or_default();
            from = answer["next"].clone();
        }
        anyhow::Ok(moved)
    });
    // Counted and not timed, as whatever stops the machine for a while stops both.
    let mut answers = 0;
    while !mover.is_finished() {
        bystander.inspect("other").await?;
        answers += 1;
    }
    let moved = mover.await??;
    ensure!(moved == COLD as u64, "{moved} were moved");
    println!("{answers} answers meanwhile");
    // More than one for each of the five requests.
    ensure!(answers > 20, "{answers} answers meanwhile");
    Ok(())
}
