//! Very many bindings and queues: nothing is lost, and what large changes leave undone for a while is done in the end. How long
//! they take, and how long others wait, is measured by `warren perf scale`.

use anyhow::{Context as _, ensure};
use client_amqp091::codec::queue;
use std::fs;
use testkit::client::{CHANNEL, DURABLE, PERSISTENT};
use testkit::{Broker, Client};

/// More bindings than go in one turn.
const BINDINGS: u32 = 2500;

/// Binds a queue with keys from 0 on.
async fn bind_often(client: &mut Client, queue: &str, exchange: &str) -> anyhow::Result<()> {
    for key in 1..BINDINGS {
        let key = key.to_string();
        let bind = queue::Bind {
            queue: queue.as_bytes(),
            exchange: exchange.as_bytes(),
            routing_key: key.as_bytes(),
            no_wait: true,
            ..queue::Bind::default()
        };
        bind.encode(CHANNEL, client.connection.outgoing().bytes());
    }
    client.bind(queue, exchange, "0").await
}

/// Declares and deletes queues until `done`, so that the metadata is never the same for long.
async fn change(client: &mut Client, done: impl Future<Output = ()>) -> anyhow::Result<u32> {
    tokio::pin!(done);
    let mut changes = 0;
    loop {
        client.declare("other", DURABLE).await?;
        client.connection.delete_queue(CHANNEL, "other").await?;
        changes += 1;
        tokio::select! {
            biased;
            () = &mut done => return Ok(changes),
            () = std::future::ready(()) => {}
        }
    }
}

#[tokio::test]
async fn what_has_many_bindings_goes_while_other_things_change() -> anyhow::Result<()> {
    let mut broker = Broker::start()?;
    let mut client = Client::connect(&broker).await?;
    for queue in ["kept", "leaving"] {
        client.declare(queue, DURABLE).await?;
    }
    for exchange in ["many", "both"] {
        client.declare_exchange(exchange, "direct").await?;
    }
    bind_often(&mut client, "kept", "many").await?;
    bind_often(&mut client, "leaving", "both").await?;
    client.bind("kept", "both", "0").await?;
    client.confirm_select().await?;
    client
        .publish_all("leaving", &PERSISTENT, 3, |_| vec![b'x'])
        .await?;

    let mut changing = Client::connect(&broker).await?;
    let (tell, told) = tokio::sync::oneshot::channel::<()>();
    let other = tokio::spawn(async move {
        change(&mut changing, async {
            let _ = told.await;
        })
        .await
    });
    client.connection.delete_exchange(CHANNEL, "many").await?;
    let ready = client.connection.delete_queue(CHANNEL, "leaving").await?;
    drop(tell);
    ensure!(other.await.context("the other client")?? > 0);
    ensure!(ready == 3, "{ready} messages were ready");

    // An exchange of another type could not be declared where one is.
    client.declare_exchange("many", "fanout").await?;
    let last = client.send("both", "0", &PERSISTENT, b"once");
    client.confirmed_until(last).await?;
    broker.kill()?;
    broker.restart()?;
    let mut client = Client::connect(&broker).await?;
    client.declare_exchange("many", "fanout").await?;
    ensure!(client.inspect("leaving").await?.is_none());
    let kept = client
        .inspect("kept")
        .await?
        .context("it was not deleted")?;
    ensure!(kept.message_count == 1, "{} messages", kept.message_count);
    Ok(())
}

/// Bytes that the broker has given to the operating system to write, to files and sockets.
fn written_bytes(broker: &Broker) -> anyhow::Result<u64> {
    let pid = broker.pid().context("it runs")?;
    let io = fs::read_to_string(format!("/proc/{pid}/io"))?;
    let written = io.lines().find_map(|line| line.strip_prefix("wchar: "));
    Ok(written.context("no wchar")?.parse()?)
}

#[tokio::test]
async fn a_message_for_many_queues_is_in_the_log_once_and_survives_in_each() -> anyhow::Result<()> {
    const QUEUES: usize = 50;
    const MESSAGES: usize = 20;
    const BODY_BYTES: usize = 64 << 10;
    let body = |number: usize| vec![number as u8; BODY_BYTES];
    let mut broker = Broker::start()?;
    let mut client = Client::connect(&broker).await?;
    client.declare_exchange("all", "fanout").await?;
    let queues: Vec<String> = (0..QUEUES).map(|number| format!("q{number}")).collect();
    for queue in &queues {
        client.declare(queue, DURABLE).await?;
        client.bind(queue, "all", "").await?;
    }
    client.confirm_select().await?;
    let before = written_bytes(&broker)?;
    for number in 0..MESSAGES {
        let sent = client.send("all", "", &PERSISTENT, &body(number));
        client.confirmed_until(sent).await?;
    }
    let written = written_bytes(&broker)? - before;
    let once = (MESSAGES * BODY_BYTES) as u64;
    ensure!(
        (once..4 * once).contains(&written),
        "{written} bytes were written for {once}"
    );
    broker.kill()?;
    broker.restart()?;
    let mut client = Client::connect(&broker).await?;
    for queue in &queues {
        client.consume(queue, true).await?;
        let received = client.receive(MESSAGES).await?;
        for (number, received) in received.iter().enumerate() {
            ensure!(received.body == body(number), "{queue}: message {number}");
        }
    }
    Ok(())
}
