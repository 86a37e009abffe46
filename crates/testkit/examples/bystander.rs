//! How long other clients wait while a broker expires, purges or deletes a million messages at once.
//!
//! It starts a broker of its own (`WARREN_BIN` names the program) and prints one line for each case. Two bystanders ask, one after
//! the other and without pause: one for the queue that is busy, one to publish to and get from a queue beside it on the same thread.
//! It asserts nothing: the figures depend on the machine.
//!
//! ```sh
//! WARREN_BIN=target/release/warren cargo run --package testkit --example bystander -- 1000000
//! ```

#![expect(clippy::print_stdout, reason = "its figures are what it is for")]

use anyhow::{Context as _, ensure};
use client_amqp091::QueueOptions;
use client_amqp091::codec::{BasicProperties, Table, TableWriter, Value};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};
use testkit::client::{CHANNEL, DURABLE, PERSISTENT};
use testkit::{Broker, Client};

/// The queue in which much happens.
const BUSY: &str = "busy";

/// The queue of the bystander.
const ASIDE: &str = "aside";

/// Publishes on the way at once.
const WINDOW: u64 = 10_000;

/// How long bystanders are watched while nothing happens, and after something has.
const OBSERVED: Duration = Duration::from_secs(1);

/// Longest wait for messages to expire.
const PATIENCE: Duration = Duration::from_secs(120);

/// What happens to the messages.
#[derive(Clone, Copy, Debug)]
enum Case {
    Expire,
    ExpireDeadLettered,
    Purge,
    Delete,
}

/// All that is measured.
const CASES: [Case; 4] = [
    Case::Expire,
    Case::ExpireDeadLettered,
    Case::Purge,
    Case::Delete,
];

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let count = std::env::args().nth(1).map_or(Ok(1_000_000), |count| {
        count.parse().context("the number of messages")
    })?;
    for persistent in [false, true] {
        for case in CASES {
            measure(case, persistent, count).await?;
        }
    }
    Ok(())
}

async fn measure(case: Case, persistent: bool, count: u64) -> anyhow::Result<()> {
    let broker = Broker::start_with("warren.shards = 1\n")?;
    let mut client = Client::connect(&broker).await?;
    let properties = if persistent {
        PERSISTENT
    } else {
        BasicProperties::default()
    };
    declare_busy(&mut client, case).await?;
    client.declare(ASIDE, QueueOptions::default()).await?;
    let quiet = Bystanders::start(&broker).await?;
    tokio::time::sleep(OBSERVED).await;
    quiet.finish("nothing happens", persistent).await?;
    fill(&mut client, case, &properties, count).await?;

    let bystanders = Bystanders::start(&broker).await?;
    let started = Instant::now();
    match case {
        Case::Expire | Case::ExpireDeadLettered => {
            let first = client.get(BUSY, true).await?.context("the first")?;
            ensure!(first.body == b"first", "another message came first");
            while client
                .inspect(BUSY)
                .await?
                .context("it exists")?
                .message_count
                > 0
            {
                ensure!(started.elapsed() < PATIENCE, "the messages do not expire");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        Case::Purge => {
            let purged = client.connection.purge_queue(CHANNEL, BUSY).await?;
            ensure!(u64::from(purged) == count, "{purged} were purged");
        }
        Case::Delete => {
            let deleted = client.connection.delete_queue(CHANNEL, BUSY).await?;
            ensure!(u64::from(deleted) == count, "{deleted} were deleted");
        }
    }
    let took = started.elapsed();
    // What it leaves to be done is done meanwhile.
    tokio::time::sleep(OBSERVED).await;
    let what = format!("{case:?}, {count} messages in {} ms", took.as_millis());
    bystanders.finish(&what, persistent).await
}

async fn declare_busy(client: &mut Client, case: Case) -> anyhow::Result<()> {
    let mut bytes = Vec::new();
    let mut arguments = TableWriter::new(&mut bytes);
    if matches!(case, Case::ExpireDeadLettered) {
        arguments.field(b"x-dead-letter-exchange", &Value::LongStr(b""));
        arguments.field(b"x-dead-letter-routing-key", &Value::LongStr(b"dead"));
        client.declare("dead", DURABLE).await?;
    }
    let connection = &mut client.connection;
    let declared = connection.declare_queue(CHANNEL, BUSY, DURABLE, Table::new(&bytes));
    declared.await?;
    Ok(())
}

async fn fill(
    client: &mut Client,
    case: Case,
    properties: &BasicProperties<'_>,
    count: u64,
) -> anyhow::Result<()> {
    client.confirm_select().await?;
    let expires = matches!(case, Case::Expire | Case::ExpireDeadLettered);
    let mut rest = *properties;
    if expires {
        // They have all expired when the first, which keeps them, is taken away.
        client.send("", BUSY, properties, b"first");
        rest.expiration = Some(b"1");
    }
    let mut last = 0;
    for number in 0..count {
        last = client.send("", BUSY, &rest, &[b'x'; 16]);
        if number % WINDOW == WINDOW - 1 {
            client.confirmed_until(last).await?;
        }
    }
    client.confirmed_until(last).await?;
    Ok(())
}

/// Two clients that take the time of each of their requests.
struct Bystanders {
    stop: Arc<AtomicBool>,
    asks: [tokio::task::JoinHandle<anyhow::Result<Vec<Duration>>>; 2],
}

impl Bystanders {
    async fn start(broker: &Broker) -> anyhow::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut declares = Client::connect(broker).await?;
        let mut publishes = Client::connect(broker).await?;
        let (stop_a, stop_b) = (Arc::clone(&stop), Arc::clone(&stop));
        let declares = tokio::spawn(async move {
            let mut times = Vec::new();
            while !stop_a.load(Relaxed) {
                let start = Instant::now();
                declares.inspect(BUSY).await?;
                times.push(start.elapsed());
            }
            Ok(times)
        });
        let publishes = tokio::spawn(async move {
            let mut times = Vec::new();
            while !stop_b.load(Relaxed) {
                let start = Instant::now();
                publishes.send("", ASIDE, &BasicProperties::default(), b"x");
                publishes
                    .get(ASIDE, true)
                    .await?
                    .context("it was published")?;
                times.push(start.elapsed());
            }
            Ok(times)
        });
        Ok(Self {
            stop,
            asks: [declares, publishes],
        })
    }

    async fn finish(self, what: &str, persistent: bool) -> anyhow::Result<()> {
        self.stop.store(true, Relaxed);
        let kind = if persistent {
            "persistent"
        } else {
            "transient"
        };
        for (ask, name) in self.asks.into_iter().zip(["declare", "publish+get"]) {
            let mut times = ask.await.context("a bystander")??;
            times.sort_unstable();
            let p99 = times.get(times.len() * 99 / 100).context("no request")?;
            let max = times.last().context("no request")?;
            println!(
                "{what}, {kind}: {name} p99 {:.1} ms, max {:.1} ms, {} requests",
                p99.as_secs_f64() * 1e3,
                max.as_secs_f64() * 1e3,
                times.len()
            );
        }
        Ok(())
    }
}
