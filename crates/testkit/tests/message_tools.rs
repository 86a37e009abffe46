//! What the command line tools do with messages: browse, move, copy, delete, replay, delayed messages, pause.
//!
//! What the operations themselves promise is tested over HTTP, in `browse`, `replay` and `delay`.

use anyhow::{Context, ensure};
use client_amqp091::codec::{BasicProperties, Table, TableWriter, Value};
use serde_json::{Value as Json, json};
use std::time::{Duration, Instant};
use testkit::client::{CHANNEL, DURABLE, PERSISTENT};
use testkit::{Broker, Client, Http};

/// Messages of a queue that is searched.
const COUNT: usize = 10_000;

/// Longest wait for what is on its way.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a tool said.
#[derive(Debug)]
struct Said {
    code: Option<i32>,
    out: String,
    error: String,
}

fn run(broker: &Broker, tool: &str, words: &[&str]) -> anyhow::Result<Said> {
    let output = broker.tool(tool)?.args(words).output()?;
    Ok(Said {
        code: output.status.code(),
        out: String::from_utf8(output.stdout)?,
        error: String::from_utf8(output.stderr)?,
    })
}

/// What `rabbitmqctl` printed, where it did what it was asked for.
fn ctl(broker: &Broker, words: &[&str]) -> anyhow::Result<String> {
    let said = run(broker, "rabbitmqctl", words)?;
    ensure!(said.code == Some(0), "{words:?}: {said:?}");
    Ok(said.out)
}

/// The same as JSON.
fn ctl_json(broker: &Broker, words: &[&str]) -> anyhow::Result<Json> {
    let said = ctl(broker, &[words, &["--formatter", "json"]].concat())?;
    serde_json::from_str(&said).context(said)
}

/// Checks how a command was refused.
fn refused(broker: &Broker, words: &[&str], code: i32, error: &str) -> anyhow::Result<()> {
    let said = run(broker, "rabbitmqctl", words)?;
    let told = said.error.lines().next().unwrap_or_default();
    ensure!(
        said.code == Some(code) && told.contains(error),
        "{words:?}: {said:?}"
    );
    Ok(())
}

/// Publishes numbered orders, each tenth of the tenant `blue`.
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

async fn length(client: &mut Client, queue: &str) -> anyhow::Result<usize> {
    let declared = client.inspect(queue).await?.context("the queue is there")?;
    Ok(declared.message_count as usize)
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_messages_are_searched_moved_copied_and_deleted() -> anyhow::Result<()> {
    let broker = Broker::start()?;
    let mut client = Client::connect(&broker).await?;
    fill(&mut client, "orders", COUNT).await?;
    client.declare("blue", DURABLE).await?;

    let page = ["browse_messages", "orders", "position", "payload"];
    let seen = [&page[..], &["--json", "$.number=7000"]].concat();
    ensure!(
        ctl(&broker, &seen)?
            == "Browsing messages of queue 'orders' in vhost '/' ...\n\
                position\tpayload\n\
                7000\t{\"number\":7000,\"text\":\"order 7000\"}\n"
    );
    let csv = [&seen[..], &["--formatter", "csv"]].concat();
    ensure!(
        ctl(&broker, &csv)?
            == "\"position\",\"payload\"\n\
                \"7000\",\"{\"\"number\"\":7000,\"\"text\"\":\"\"order 7000\"\"}\"\n"
    );
    // More than one answer of the node has.
    let all = ctl_json(
        &broker,
        &["browse_messages", "orders", "position", "--count", "2500"],
    )?;
    let all = all.as_array().context("a list")?;
    ensure!(all.len() == 2500 && all[2499]["position"] == "2499");
    let first = ctl(&broker, &["browse_messages", "orders", "--count", "1"])?;
    ensure!(
        first.ends_with("There may be more: go on with --from 1\n"),
        "{first}"
    );
    let from = [&page[..], &["--from", "9999", "-q"]].concat();
    ensure!(ctl(&broker, &from)?.lines().count() == 2);
    let several = ["--header", "tenant=blue", "--body", "order 99"];
    let several = ctl_json(&broker, &[&page[..], &several].concat())?;
    let numbers: Vec<_> = several.as_array().context("a list")?.iter().collect();
    ensure!(numbers.len() == 11, "{several}");

    let blue = ["move_messages", "orders", "--header", "tenant=blue", "--to"];
    let to_blue = [&blue[..], &["blue"]].concat();
    let dry = ctl_json(&broker, &[&to_blue[..], &["--dry-run"]].concat())?;
    ensure!(dry["matched"] == COUNT / 10 && dry["done"] == 0, "{dry}");
    ensure!(length(&mut client, "blue").await? == 0);
    let moved = ctl(&broker, &to_blue)?;
    ensure!(
        moved == "Moving messages of queue 'orders' in vhost '/' ...\n1000 messages moved\n",
        "{moved}"
    );
    ensure!(length(&mut client, "blue").await? == COUNT / 10);
    ensure!(length(&mut client, "orders").await? == COUNT - COUNT / 10);

    let some = ["copy_messages", "orders", "--positions", "1,2,10", "--to"];
    let copied = ctl_json(&broker, &[&some[..], &["blue"]].concat())?;
    ensure!(copied["matched"] == 2 && copied["done"] == 2, "{copied}");
    // What is copied to its own queue is not found again.
    let own = ["copy_messages", "blue", "--all", "--to", "blue"];
    ensure!(ctl_json(&broker, &own)?["done"] == 1002);
    let nowhere = ["move_messages", "blue", "--all", "--to-exchange"];
    let nowhere = [&nowhere[..], &["amq.direct", "--to-routing-key", "none"]].concat();
    let stayed = ctl(&broker, &[&nowhere[..], &["--count", "3", "-q"]].concat())?;
    ensure!(
        stayed
            == "0 messages moved\n3 messages that no queue takes stayed\n\
                There may be more: go on with --from 3\n",
        "{stayed}"
    );

    let words = ["delete_messages", "orders", "--filter"];
    let filter = r#"{"json": "$.number", "min": 5000}"#;
    let said = run(
        &broker,
        "rabbitmq-queues",
        &[&words[..], &[filter]].concat(),
    )?;
    ensure!(said.out.ends_with("4500 messages deleted\n"), "{said:?}");
    ensure!(length(&mut client, "orders").await? == 4500);
    Ok(())
}

#[test]
fn what_is_not_there_or_not_said_is_refused() -> anyhow::Result<()> {
    let broker = Broker::start()?;
    Http::new(&broker).put("/queues/%2F/orders", json!({}))?;
    let none = "There is no queue 'none' in vhost '/'";
    let which = "say which messages: --positions, terms of a filter, or --all";
    let place = "say where to: --to, or --to-exchange with or without --to-routing-key";
    for (words, code, error) in [
        (&["browse_messages", "none"][..], 65, none),
        (&["delete_messages", "none", "--all"], 65, none),
        (&["move_messages", "none", "--all", "--to", "a"], 65, none),
        (&["replay_messages", "none", "--all"], 65, none),
        (&["forget_settled_messages", "none"], 65, none),
        (&["pause_queue", "none"], 65, none),
        (&["list_delayed_messages", "--queue", "none"], 65, none),
        (
            &["cancel_delayed_messages", "--exchange", "none", "--all"],
            65,
            "There is no exchange 'none' in vhost '/'",
        ),
        (
            &["move_messages", "orders", "--all", "--to", "none"],
            65,
            "no queue 'none' in vhost '/'",
        ),
        (
            &["browse_messages", "orders", "-p", "none"],
            65,
            "Virtual host 'none' does not exist",
        ),
        (&["delete_messages", "orders"], 64, which),
        (&["delete_messages", "orders", "--from", "3"], 64, which),
        (&["move_messages", "orders", "--all"], 64, place),
        (
            &["browse_messages", "orders", "size"],
            64,
            "Info key(s) size are not supported",
        ),
        (
            &["list_delayed_messages"],
            64,
            "say where: --queue or --exchange",
        ),
        (
            &["browse_messages", "orders", "--count", "-1"],
            64,
            "Invalid options for this command:",
        ),
        (&["browse_messages"], 64, "not enough arguments."),
    ] {
        refused(&broker, words, code, error)?;
    }
    let wrong = ["browse_messages", "orders", "--filter", r#"{"haeder": 1}"#];
    let said = run(&broker, "rabbitmqctl", &wrong)?;
    ensure!(
        said.code == Some(69) && said.error.contains("a term of a filter"),
        "{said:?}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_settled_is_shown_replayed_and_forgotten() -> anyhow::Result<()> {
    let broker = Broker::start()?;
    let mut client = Client::connect(&broker).await?;
    let mut bytes = Vec::new();
    TableWriter::new(&mut bytes).field(b"x-replay-window-ms", &Value::I32(3_600_000));
    let declared = client
        .connection
        .declare_queue(CHANNEL, "orders", DURABLE, Table::new(&bytes));
    declared.await?;
    fill(&mut client, "again", 0).await?;
    let mut last = 0;
    for number in 0..5 {
        last = client.send("", "orders", &PERSISTENT, number.to_string().as_bytes());
    }
    client.confirmed_until(last).await?;
    for _ in 0..5 {
        client.get("orders", true).await?.context("it is there")?;
    }
    let http = Http::new(&broker);
    testkit::client::until("they are kept", || {
        http.get("/queues/%2F/orders")
            .is_ok_and(|queue| queue["messages_replayable"] == 5)
    })
    .await?;

    let seen = ctl_json(&broker, &["browse_messages", "orders", "--settled"])?;
    let seen = seen.as_array().context("a list")?;
    ensure!(seen.len() == 5 && seen[0]["state"] == "settled", "{seen:?}");
    let replay = ["replay_messages", "orders", "--body", "3"];
    let dry = ctl(&broker, &[&replay[..], &["--dry-run", "-q"]].concat())?;
    ensure!(dry == "1 message would be replayed\n", "{dry}");
    ctl(&broker, &replay)?;
    ensure!(length(&mut client, "orders").await? == 1);
    let elsewhere = ["replay_messages", "orders", "--all", "--to", "again"];
    ensure!(ctl_json(&broker, &elsewhere)?["done"] == 5);
    ensure!(length(&mut client, "again").await? == 5);
    let gone = ctl_json(&broker, &["forget_settled_messages", "orders"])?;
    ensure!(gone["done"] == 5, "{gone}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_its_time_is_listed_and_cancelled() -> anyhow::Result<()> {
    let broker = Broker::start()?;
    let http = Http::new(&broker);
    let arguments = json!({"type": "x-delayed-message", "arguments": {"x-delayed-type": "fanout"}});
    http.put("/exchanges/%2F/later", arguments)?;
    for number in 0..5 {
        http.post(
            "/exchanges/%2F/later/publish",
            json!({
                "routing_key": "", "payload": "x", "payload_encoding": "string",
                "properties": {
                    "message_id": format!("order {number}"),
                    "headers": {"x-delay": 3_600_000},
                },
            }),
        )?;
    }
    let list = ["list_delayed_messages", "--exchange", "later"];
    let deadline = Instant::now() + PATIENCE;
    let all = loop {
        let all = ctl_json(&broker, &list)?;
        if all.as_array().map(Vec::len) == Some(5) {
            break all;
        }
        ensure!(Instant::now() < deadline, "{all}");
    };
    ensure!(all[0]["retry"] == false && all[0]["due_at"].is_u64());
    let few = ctl(&broker, &[&list[..], &["--count", "2"]].concat())?;
    ensure!(
        few.contains("5 messages wait, those that are due first:\nposition\tdue_at\tretry\n"),
        "{few}"
    );
    let cancel = ["cancel_delayed_messages", "--exchange", "later"];
    let by_id = [&cancel[..], &["--message-id", "order 3"]].concat();
    ensure!(ctl_json(&broker, &by_id)?["done"] == 1);
    let places = format!(
        "{},{}",
        all[0]["position"].as_str().context("a position")?,
        all[1]["position"].as_str().context("a position")?
    );
    let by_place = [&cancel[..], &["--positions", &places]].concat();
    ensure!(ctl_json(&broker, &by_place)?["done"] == 2);
    let rest = ctl(&broker, &[&cancel[..], &["--all", "-q"]].concat())?;
    ensure!(rest == "2 messages cancelled\n", "{rest}");
    ensure!(ctl_json(&broker, &list)? == json!([]));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_is_paused_and_resumed() -> anyhow::Result<()> {
    let broker = Broker::start()?;
    let mut client = Client::connect(&broker).await?;
    fill(&mut client, "orders", 1).await?;
    ensure!(
        ctl(&broker, &["pause_queue", "orders"])? == "Pausing queue 'orders' in vhost '/' ...\n"
    );
    client.consume("orders", true).await?;
    ensure!(client.get("orders", true).await?.is_none());
    ctl(&broker, &["resume_queue", "orders"])?;
    ensure!(client.receive(1).await?.len() == 1);
    Ok(())
}
