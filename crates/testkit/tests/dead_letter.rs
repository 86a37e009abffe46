//! Dead letters over the life of a broker: what the differential scripts cannot ask, since they need one that runs all the time.

use anyhow::{Context, ensure};
use client_amqp091::QueueOptions;
use client_amqp091::codec::{BasicProperties, Table, TableWriter, Value, basic, exchange};
use std::time::Instant;
use testkit::client::{CHANNEL, DURABLE, PATIENCE, PERSISTENT, Received};
use testkit::{Broker, Client};

/// Declares a durable queue that dead-letters to another one.
async fn declare(client: &mut Client, queue: &str, dead_letter_to: &str) -> anyhow::Result<()> {
    let mut arguments = Vec::new();
    let mut writer = TableWriter::new(&mut arguments);
    writer.field(b"x-dead-letter-exchange", &Value::LongStr(b""));
    writer.field(
        b"x-dead-letter-routing-key",
        &Value::LongStr(dead_letter_to.as_bytes()),
    );
    let arguments = Table::new(&arguments);
    client
        .connection
        .declare_queue(CHANNEL, queue, DURABLE, arguments)
        .await?;
    Ok(())
}

/// The next message of a queue, as soon as there is one.
async fn get(client: &mut Client, queue: &str) -> anyhow::Result<Received> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(message) = client.get(queue, false).await? {
            return Ok(message);
        }
        ensure!(Instant::now() < deadline, "nothing came to {queue}");
    }
}

async fn reject(client: &mut Client, message: &Received) -> anyhow::Result<()> {
    let reject = basic::Reject {
        delivery_tag: message.delivery_tag,
        requeue: false,
    };
    reject.encode(CHANNEL, client.connection.outgoing().bytes());
    Ok(client.connection.flush().await?)
}

/// The deaths in a message's `x-death` header, newest first: queue, reason, count.
fn deaths(message: &Received) -> anyhow::Result<Vec<(String, String, i64)>> {
    let properties = BasicProperties::decode(&message.raw_properties)?;
    let headers = properties.headers.context("there are headers")?;
    let Some(Value::Array(deaths)) = headers.get(b"x-death")? else {
        anyhow::bail!("no x-death in {headers:?}");
    };
    let mut found = Vec::new();
    for death in deaths.iter() {
        let Value::Table(death) = death? else {
            anyhow::bail!("a death is a table");
        };
        let text = |key: &[u8]| match death.get(key) {
            Ok(Some(Value::LongStr(text))) => String::from_utf8_lossy(text).into_owned(),
            other => format!("{other:?}"),
        };
        let Some(Value::I64(count)) = death.get(b"count")? else {
            anyhow::bail!("a death has a count");
        };
        found.push((text(b"queue"), text(b"reason"), count));
    }
    Ok(found)
}

fn died(queue: &str, count: i64) -> (String, String, i64) {
    (queue.to_owned(), "rejected".to_owned(), count)
}

#[tokio::test]
async fn the_history_survives_a_crash_and_goes_on() -> anyhow::Result<()> {
    let mut broker = Broker::start()?;
    let mut client = Client::connect(&broker).await?;
    declare(&mut client, "work", "parked").await?;
    declare(&mut client, "parked", "work").await?;
    client.confirm_select().await?;
    client
        .publish_all("work", &PERSISTENT, 1, |_| b"job".to_vec())
        .await?;
    let message = get(&mut client, "work").await?;
    reject(&mut client, &message).await?;
    let parked = get(&mut client, "parked").await?;
    assert_eq!(deaths(&parked)?, [died("work", 1)]);
    // A confirm for a later message of the same log says that the dead letter is in it.
    client
        .publish_all("work", &PERSISTENT, 1, |_| b"later".to_vec())
        .await?;
    drop(client);
    broker.kill()?;
    broker.restart()?;

    let mut client = Client::connect(&broker).await?;
    let parked = get(&mut client, "parked").await?;
    assert_eq!(parked.body, b"job");
    assert_eq!(deaths(&parked)?, [died("work", 1)]);
    reject(&mut client, &parked).await?;
    let later = get(&mut client, "work").await?;
    assert_eq!(later.body, b"later");
    let back = get(&mut client, "work").await?;
    assert_eq!(deaths(&back)?, [died("parked", 1), died("work", 1)]);
    reject(&mut client, &back).await?;
    let again = get(&mut client, "parked").await?;
    assert_eq!(deaths(&again)?, [died("work", 2), died("parked", 1)]);
    assert!(again.redelivered);
    Ok(())
}

#[tokio::test]
async fn an_unused_queue_expires_without_ever_having_been_used() -> anyhow::Result<()> {
    let broker = Broker::start()?;
    let mut client = Client::connect(&broker).await?;
    // The queue cannot be asked, since that is a use. Its exchange goes with its last binding.
    let declare = exchange::Declare {
        exchange: b"bound",
        exchange_type: b"fanout",
        auto_delete: true,
        ..exchange::Declare::default()
    };
    client
        .connection
        .declare_exchange(CHANNEL, &declare)
        .await?;
    let mut arguments = Vec::new();
    TableWriter::new(&mut arguments).field(b"x-expires", &Value::I32(5_000));
    let options = QueueOptions::default();
    let declared =
        client
            .connection
            .declare_queue(CHANNEL, "unused", options, Table::new(&arguments));
    declared.await?;
    client.bind("unused", "bound", "").await?;
    let passive = exchange::Declare {
        passive: true,
        ..declare
    };
    let deadline = Instant::now() + PATIENCE;
    loop {
        match client.connection.declare_exchange(CHANNEL, &passive).await {
            Ok(()) => ensure!(Instant::now() < deadline, "the queue is still there"),
            Err(client_amqp091::Error::ChannelClosed {
                reply_code: 404, ..
            }) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}
