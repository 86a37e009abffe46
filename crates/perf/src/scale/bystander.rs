//! Somebody who has nothing to do with what happens: it publishes to a queue of its own and consumes from it, without pause, and
//! takes the time of each round.
//!
//! It has a thread, so that what the rest of this program does delays it no more than any other process would.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use client_amqp091::codec::{BasicProperties, Table, basic};
use client_amqp091::{AmqpUri, ConnectOptions, Connection, ConsumeOptions, Event, QueueOptions};

use super::CHANNEL;

/// Its queue.
const QUEUE: &str = "perf-scale-bystander";

/// A running bystander.
pub(crate) struct Bystander {
    thread: JoinHandle<anyhow::Result<()>>,
    watch: Arc<Watch>,
}

#[derive(Default)]
struct Watch {
    stop: AtomicBool,
    rounds: AtomicU64,
    longest_us: AtomicU64,
}

impl Bystander {
    /// Starts one and waits until it goes round.
    pub(crate) async fn start(uri: &AmqpUri) -> anyhow::Result<Self> {
        let watch = Arc::new(Watch::default());
        let (uri, its_watch) = (uri.clone(), Arc::clone(&watch));
        let thread = std::thread::spawn(move || {
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?
                .block_on(go_round(&uri, &its_watch))
        });
        while watch.rounds.load(Ordering::Relaxed) == 0 && !thread.is_finished() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok(Self { thread, watch })
    }

    /// Forgets what was so far.
    pub(crate) fn begin(&self) {
        self.watch.longest_us.store(0, Ordering::Relaxed);
    }

    /// Ends it; returns its longest round since [`Bystander::begin`].
    ///
    /// # Errors
    /// It could not go on.
    pub(crate) fn end(self) -> anyhow::Result<Duration> {
        self.watch.stop.store(true, Ordering::Relaxed);
        match self.thread.join() {
            Ok(result) => result.context("the bystander")?,
            Err(_) => bail!("the bystander's thread ended"),
        }
        let longest = self.watch.longest_us.load(Ordering::Relaxed);
        Ok(Duration::from_micros(longest))
    }
}

async fn go_round(uri: &AmqpUri, watch: &Watch) -> anyhow::Result<()> {
    let mut connection = Connection::connect(uri, &ConnectOptions::default()).await?;
    connection.open_channel(CHANNEL).await?;
    let options = QueueOptions {
        exclusive: true,
        ..Default::default()
    };
    connection
        .declare_queue(CHANNEL, QUEUE, options, Table::empty())
        .await?;
    let consume = ConsumeOptions {
        no_ack: true,
        exclusive: false,
    };
    connection
        .consume(CHANNEL, QUEUE, "", consume, Table::empty())
        .await?;
    let publish = basic::Publish {
        routing_key: QUEUE.as_bytes(),
        ..Default::default()
    };
    while !watch.stop.load(Ordering::Relaxed) {
        let began = Instant::now();
        connection
            .publish(CHANNEL, &publish, &BasicProperties::default(), b"x")
            .await?;
        loop {
            let event = connection.next_event().await?;
            if let Event::Delivery(_) = event {
                break;
            }
            ensure!(
                matches!(event, Event::Blocked { .. } | Event::Unblocked),
                "unexpected: {event:?}"
            );
        }
        let took = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        watch.longest_us.fetch_max(took, Ordering::Relaxed);
        watch.rounds.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}
