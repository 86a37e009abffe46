//! One broker, and what is done with it by the thousand.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use client_amqp091::codec::{BasicProperties, Table, basic, exchange, queue};
use client_amqp091::{AmqpUri, ConnectOptions, Connection, Event, QueueOptions};

use super::CHANNEL;
use super::api::Api;
use super::bystander::Bystander;
use crate::args::Broker;
use crate::process::{Process, Usage};
use crate::unconfirmed::{Publish, Unconfirmed};

/// The virtual host in which everything happens; it is deleted at the end of each part.
const VHOST: &str = "perf-scale";
/// Connections that declare and bind, so that one sync of the disk serves many.
const DECLARERS: u32 = 20;
/// Declarations that one of them sends at once.
const CHUNK: u32 = 50;
/// The bystander is watched for so long after something was done, for what it leaves to be done.
pub(super) const OBSERVED_AFTER: Duration = Duration::from_secs(1);
/// Publishes on the way at once.
const WINDOW: u64 = 1000;
/// A process rests when it uses less than this share of a core, looked at so often; after so long it counts as resting.
const REST_SHARE: f64 = 0.1;
const REST_LOOK: Duration = Duration::from_millis(300);
const REST_WAIT_MAX: Duration = Duration::from_secs(4);

/// What was seen of the broker while something was done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Observed {
    /// Until it was done.
    pub(crate) time: Duration,
    /// The bystander's longest round.
    pub(crate) longest: Duration,
    /// What the broker gave the disk to write, in bytes.
    pub(crate) written_bytes: u64,
}

/// A broker in a part of a run.
pub(crate) struct Bench {
    /// With the virtual host of the run.
    pub(crate) uri: AmqpUri,
    pub(crate) api: Api,
    process: Process,
    /// For all that is not done by the thousand.
    pub(crate) connection: Connection,
    unconfirmed: Unconfirmed,
}

impl Bench {
    /// Makes the virtual host and connects to it.
    pub(crate) async fn open(broker: &Broker, http: &str) -> anyhow::Result<Self> {
        let mut uri: AmqpUri = broker.uri.parse()?;
        let api = Api::new(http, &uri)?;
        // What an earlier run left.
        let _ = api.delete(&format!("/vhosts/{VHOST}")).await;
        api.put(&format!("/vhosts/{VHOST}"), "{}").await?;
        let everything = r#"{"configure":".*","write":".*","read":".*"}"#;
        let permissions = format!("/permissions/{VHOST}/{}", uri.user);
        api.put(&permissions, everything).await?;
        VHOST.clone_into(&mut uri.vhost);
        let mut connection = connect(&uri).await?;
        connection.confirm_select(CHANNEL).await?;
        Ok(Self {
            uri,
            api,
            process: Process::new(broker.pid),
            connection,
            unconfirmed: Unconfirmed::new(),
        })
    }

    /// Deletes the virtual host with all that is in it.
    pub(crate) async fn close(self) -> anyhow::Result<()> {
        self.connection.close().await?;
        self.api.delete(&format!("/vhosts/{VHOST}")).await
    }

    pub(crate) fn usage(&self) -> anyhow::Result<Usage> {
        self.process.usage()
    }

    /// Waits until what was done before is over.
    pub(crate) async fn rest(&self) -> anyhow::Result<()> {
        let began = Instant::now();
        while began.elapsed() < REST_WAIT_MAX {
            let before = self.usage()?.cpu;
            tokio::time::sleep(REST_LOOK).await;
            let used = self.usage()?.cpu.saturating_sub(before);
            if used.as_secs_f64() < REST_SHARE * REST_LOOK.as_secs_f64() {
                break;
            }
        }
        Ok(())
    }

    /// Does something beside a bystander.
    pub(crate) async fn observe(
        &mut self,
        act: impl AsyncFnOnce(&mut Self) -> anyhow::Result<()>,
    ) -> anyhow::Result<Observed> {
        self.rest().await?;
        let bystander = Bystander::start(&self.uri).await?;
        let before = self.process.written_bytes()?;
        bystander.begin();
        let began = Instant::now();
        let acted = act(self).await;
        let time = began.elapsed();
        tokio::time::sleep(OBSERVED_AFTER).await;
        let longest = bystander.end();
        acted?;
        Ok(Observed {
            time,
            longest: longest?,
            written_bytes: self.process.written_bytes()?.saturating_sub(before),
        })
    }

    /// Sends declarations 0, 1, … up to `count` or for as long as `patience` lasts; returns how many. `encode` appends one that
    /// wants no answer.
    pub(crate) async fn in_bulk(
        &self,
        count: u32,
        patience: Duration,
        encode: impl Fn(u32, &mut Vec<u8>) + Clone + Send + Sync + 'static,
    ) -> anyhow::Result<u32> {
        let (next, deadline) = (Arc::new(AtomicU32::new(0)), Instant::now() + patience);
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..DECLARERS {
            let mut connection = connect(&self.uri).await?;
            let (next, encode) = (Arc::clone(&next), encode.clone());
            tasks.spawn(async move {
                while Instant::now() < deadline {
                    let first = next.fetch_add(CHUNK, Ordering::Relaxed);
                    if first >= count {
                        break;
                    }
                    for number in first..(first + CHUNK).min(count) {
                        encode(number, connection.outgoing().bytes());
                    }
                    // Its answer comes when all before it is done.
                    connection.qos(CHANNEL, 0).await?;
                }
                connection.close().await?;
                anyhow::Ok(())
            });
        }
        while let Some(done) = tasks.join_next().await {
            done.context("a declaring task ended")??;
        }
        Ok(next.load(Ordering::Relaxed).min(count))
    }

    /// Declares durable queues `PREFIX0`, `PREFIX1`, …
    pub(crate) async fn declare_queues(
        &self,
        prefix: &'static str,
        count: u32,
        patience: Duration,
    ) -> anyhow::Result<u32> {
        let declare = move |number: u32, out: &mut Vec<u8>| {
            let name = format!("{prefix}{number}");
            let declare = queue::Declare {
                queue: name.as_bytes(),
                durable: true,
                no_wait: true,
                ..Default::default()
            };
            declare.encode(CHANNEL, out);
        };
        self.in_bulk(count, patience, declare).await
    }

    /// Declares one durable queue.
    pub(crate) async fn declare(&mut self, name: &str, arguments: Table<'_>) -> anyhow::Result<()> {
        let durable = QueueOptions {
            durable: true,
            ..Default::default()
        };
        let declared = self
            .connection
            .declare_queue(CHANNEL, name, durable, arguments);
        declared.await?;
        Ok(())
    }

    /// Declares a durable exchange.
    pub(crate) async fn declare_exchange(
        &mut self,
        name: &str,
        kind: &str,
        arguments: Table<'_>,
    ) -> anyhow::Result<()> {
        let declare = exchange::Declare {
            exchange: name.as_bytes(),
            exchange_type: kind.as_bytes(),
            durable: true,
            arguments,
            ..Default::default()
        };
        self.connection.declare_exchange(CHANNEL, &declare).await?;
        Ok(())
    }

    /// Messages that wait in a queue.
    pub(crate) async fn length(&mut self, name: &str) -> anyhow::Result<u32> {
        let passive = QueueOptions {
            passive: true,
            ..Default::default()
        };
        let declared = self
            .connection
            .declare_queue(CHANNEL, name, passive, Table::empty());
        Ok(declared.await?.message_count)
    }

    /// Waits until a queue has no more messages than this.
    pub(crate) async fn shrunk_to(
        &mut self,
        name: &str,
        length: u32,
        patience: Duration,
    ) -> anyhow::Result<()> {
        self.wait_for(name, patience, |now| now <= length).await
    }

    /// Waits until a queue has as many messages as this.
    pub(crate) async fn grown_to(
        &mut self,
        name: &str,
        length: u32,
        patience: Duration,
    ) -> anyhow::Result<()> {
        self.wait_for(name, patience, |now| now >= length).await
    }

    async fn wait_for(
        &mut self,
        name: &str,
        patience: Duration,
        is_reached: impl Fn(u32) -> bool,
    ) -> anyhow::Result<()> {
        let began = Instant::now();
        loop {
            let length = self.length(name).await?;
            if is_reached(length) {
                return Ok(());
            }
            ensure!(
                began.elapsed() < patience,
                "after {patience:?} {name} has {length} messages"
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Appends a publish to what is sent next.
    pub(crate) fn send(
        &mut self,
        exchange: &str,
        key: &str,
        properties: &BasicProperties<'_>,
        body: &[u8],
    ) {
        let publish = basic::Publish {
            exchange: exchange.as_bytes(),
            routing_key: key.as_bytes(),
            ..Default::default()
        };
        self.unconfirmed.push(Publish {
            sent_ns: 0,
            lane: 0,
            sequence: 0,
        });
        let outgoing = self.connection.outgoing();
        outgoing.publish(CHANNEL, &publish, properties, body);
    }

    /// Waits until all that was sent is confirmed.
    pub(crate) async fn confirmed(&mut self) -> anyhow::Result<()> {
        self.confirmed_but(0).await
    }

    /// Publishes numbers from 0 on until `publish`, which appends one, says that it was the last; waits for all confirms.
    pub(crate) async fn publish_while(
        &mut self,
        mut publish: impl FnMut(&mut Self, u64) -> bool,
    ) -> anyhow::Result<u64> {
        let (mut count, mut goes_on) = (0, true);
        while goes_on {
            goes_on = publish(self, count);
            count += 1;
            if count % (WINDOW / 2) == 0 {
                self.confirmed_but(WINDOW / 2).await?;
            }
        }
        self.confirmed().await?;
        Ok(count)
    }

    async fn confirmed_but(&mut self, open: u64) -> anyhow::Result<()> {
        while self.unconfirmed.outstanding() > open {
            let event = self.connection.next_event().await?;
            if let Event::Confirmed {
                delivery_tag,
                multiple,
                ..
            } = event
            {
                self.unconfirmed.settle(delivery_tag, multiple, |_| ());
                continue;
            }
            ensure!(
                matches!(event, Event::Blocked { .. } | Event::Unblocked),
                "while waiting for confirms: {event:?}"
            );
        }
        Ok(())
    }
}

/// A connection with a channel. Nobody drives it all the time, so it cannot send heartbeats.
pub(crate) async fn connect(uri: &AmqpUri) -> anyhow::Result<Connection> {
    let options = ConnectOptions {
        heartbeat_seconds: 0,
        reply_timeout: Duration::from_secs(120),
        ..Default::default()
    };
    let mut connection = Connection::connect(uri, &options).await?;
    connection.open_channel(CHANNEL).await?;
    Ok(connection)
}
