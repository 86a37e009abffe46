//! A client for tests: one connection, channel 1, and the handful of steps that most tests are made of.
//!
//! What is not here is done on [`Client::connection`] itself. All waiting has an end ([`PATIENCE`]), after which the test fails.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a test names what it waits for; whatever else comes fails it"
)]

use crate::Broker;
use anyhow::{Context, bail, ensure};
use client_amqp091::codec::{BasicProperties, Method, Table, basic, exchange, queue};
use client_amqp091::{
    AmqpUri, ConnectOptions, Connection, ConsumeOptions, Event, QueueDeclared, QueueOptions,
};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// How long a step may take before the test fails, on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The channel that [`Client`] opens.
pub const CHANNEL: u16 = 1;

/// Most publishes that wait for their confirm at once.
const WINDOW: u64 = 1000;

/// A durable queue.
pub const DURABLE: QueueOptions = QueueOptions {
    passive: false,
    durable: true,
    exclusive: false,
    auto_delete: false,
};

/// A message that outlives the broker.
pub const PERSISTENT: BasicProperties<'static> = BasicProperties {
    delivery_mode: Some(2),
    content_type: None,
    content_encoding: None,
    headers: None,
    priority: None,
    correlation_id: None,
    reply_to: None,
    expiration: None,
    message_id: None,
    timestamp: None,
    message_type: None,
    user_id: None,
    app_id: None,
    cluster_id: None,
};

/// A message as a test looks at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// For the ack.
    pub delivery_tag: u64,
    /// The broker's mark.
    pub redelivered: bool,
    /// Properties as they are on the wire.
    pub raw_properties: Vec<u8>,
    /// The body.
    pub body: Vec<u8>,
}

/// One connection as guest with one open channel.
#[derive(Debug)]
pub struct Client {
    /// For everything that has no method here.
    pub connection: Connection,
    /// Publishes since `confirm.select`.
    published: u64,
    /// All publishes up to this one are confirmed.
    confirmed: u64,
}

impl Client {
    /// Connects to a broker.
    ///
    /// # Errors
    /// It cannot be reached or refuses.
    pub async fn connect(broker: &Broker) -> anyhow::Result<Self> {
        Self::connect_with(broker.address(), &ConnectOptions::default()).await
    }

    /// Connects with options.
    ///
    /// # Errors
    /// As [`Client::connect`].
    pub async fn connect_with(
        address: SocketAddr,
        options: &ConnectOptions,
    ) -> anyhow::Result<Self> {
        let uri: AmqpUri = format!("amqp://guest:guest@{address}/").parse()?;
        let mut connection = Connection::connect(&uri, options).await?;
        connection.open_channel(CHANNEL).await?;
        Ok(Self {
            connection,
            published: 0,
            confirmed: 0,
        })
    }

    /// Declares a queue.
    ///
    /// # Errors
    /// The broker refuses.
    pub async fn declare(
        &mut self,
        queue: &str,
        options: QueueOptions,
    ) -> anyhow::Result<QueueDeclared> {
        let declared = self
            .connection
            .declare_queue(CHANNEL, queue, options, Table::default());
        Ok(declared.await?)
    }

    /// Whether the queue exists; its counts.
    ///
    /// # Errors
    /// The connection failed.
    pub async fn inspect(&mut self, queue: &str) -> anyhow::Result<Option<QueueDeclared>> {
        let passive = QueueOptions {
            passive: true,
            ..QueueOptions::default()
        };
        let declared = self
            .connection
            .declare_queue(CHANNEL, queue, passive, Table::default());
        match declared.await {
            Ok(declared) => Ok(Some(declared)),
            Err(client_amqp091::Error::ChannelClosed {
                reply_code: 404, ..
            }) => {
                self.connection.open_channel(CHANNEL).await?;
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Declares a durable exchange.
    ///
    /// # Errors
    /// The broker refuses.
    pub async fn declare_exchange(&mut self, name: &str, kind: &str) -> anyhow::Result<()> {
        let declare = exchange::Declare {
            exchange: name.as_bytes(),
            exchange_type: kind.as_bytes(),
            durable: true,
            ..exchange::Declare::default()
        };
        Ok(self.connection.declare_exchange(CHANNEL, &declare).await?)
    }

    /// Binds a queue.
    ///
    /// # Errors
    /// The broker refuses.
    pub async fn bind(&mut self, queue: &str, exchange: &str, key: &str) -> anyhow::Result<()> {
        let bind = queue::Bind {
            queue: queue.as_bytes(),
            exchange: exchange.as_bytes(),
            routing_key: key.as_bytes(),
            ..queue::Bind::default()
        };
        Ok(self.connection.bind_queue(CHANNEL, &bind).await?)
    }

    /// Switches confirms on.
    ///
    /// # Errors
    /// The broker refuses.
    pub async fn confirm_select(&mut self) -> anyhow::Result<()> {
        self.connection.confirm_select(CHANNEL).await?;
        Ok(())
    }

    /// Appends a publish to the write buffer; in confirm mode its number is returned.
    pub fn send(
        &mut self,
        exchange: &str,
        key: &str,
        properties: &BasicProperties<'_>,
        body: &[u8],
    ) -> u64 {
        let publish = basic::Publish {
            exchange: exchange.as_bytes(),
            routing_key: key.as_bytes(),
            ..basic::Publish::default()
        };
        self.published += 1;
        self.connection
            .outgoing()
            .publish(CHANNEL, &publish, properties, body);
        self.published
    }

    /// Publishes `count` bodies to a queue in confirm mode and waits for all confirms.
    ///
    /// # Errors
    /// A publish is refused, or confirms do not come.
    pub async fn publish_all(
        &mut self,
        queue: &str,
        properties: &BasicProperties<'_>,
        count: u64,
        mut body: impl FnMut(u64) -> Vec<u8>,
    ) -> anyhow::Result<()> {
        for index in 0..count {
            self.send("", queue, properties, &body(index));
            if self.published - self.confirmed >= WINDOW {
                self.confirmed_until(self.published - WINDOW / 2).await?;
            }
        }
        self.confirmed_until(self.published).await?;
        Ok(())
    }

    /// Waits until all publishes up to `tag` are confirmed; returns up to where they are. Only for channels whose confirms come
    /// in order, as they do with one queue.
    ///
    /// # Errors
    /// A publish is refused, or confirms do not come.
    pub async fn confirmed_until(&mut self, tag: u64) -> anyhow::Result<u64> {
        while self.confirmed < tag {
            match within(self.connection.next_event()).await? {
                Event::Confirmed { delivery_tag, .. } => self.confirmed = delivery_tag,
                Event::Blocked { .. } | Event::Unblocked => {}
                other => bail!("while waiting for confirms: {other:?}"),
            }
        }
        Ok(self.confirmed)
    }

    /// Starts a consumer named like its queue.
    ///
    /// # Errors
    /// The broker refuses.
    pub async fn consume(&mut self, queue: &str, no_ack: bool) -> anyhow::Result<()> {
        let options = ConsumeOptions {
            no_ack,
            exclusive: false,
        };
        self.connection
            .consume(CHANNEL, queue, queue, options, Table::default())
            .await?;
        Ok(())
    }

    /// The next `count` deliveries.
    ///
    /// # Errors
    /// They do not come.
    pub async fn receive(&mut self, count: usize) -> anyhow::Result<Vec<Received>> {
        let mut received = Vec::new();
        while received.len() < count {
            let delivery = self
                .next_delivery()
                .await
                .with_context(|| format!("{} of {count} deliveries came", received.len()))?;
            received.push(delivery);
        }
        Ok(received)
    }

    /// The next delivery.
    ///
    /// # Errors
    /// It does not come.
    pub async fn next_delivery(&mut self) -> anyhow::Result<Received> {
        loop {
            match within(self.connection.next_event()).await? {
                Event::Delivery(delivery) => {
                    return Ok(Received {
                        delivery_tag: delivery.delivery_tag,
                        redelivered: delivery.redelivered,
                        raw_properties: delivery.raw_properties.to_vec(),
                        body: delivery.body.to_vec(),
                    });
                }
                Event::Blocked { .. } | Event::Unblocked => {}
                other => bail!("while waiting for a delivery: {other:?}"),
            }
        }
    }

    /// Takes one message; `None` if none is ready.
    ///
    /// # Errors
    /// The broker refuses.
    pub async fn get(&mut self, queue: &str, no_ack: bool) -> anyhow::Result<Option<Received>> {
        let got = self.connection.get(CHANNEL, queue, no_ack).await?;
        Ok(got.map(|message| Received {
            delivery_tag: message.delivery_tag,
            redelivered: message.redelivered,
            raw_properties: message.raw_properties,
            body: message.body,
        }))
    }

    /// Acks everything up to a delivery.
    ///
    /// # Errors
    /// The connection failed.
    pub async fn ack_until(&mut self, delivery_tag: u64) -> anyhow::Result<()> {
        Ok(self.connection.ack(CHANNEL, delivery_tag, true).await?)
    }

    /// Writes a method and what was appended before it, and waits until a reply that `is_reply` knows comes.
    ///
    /// # Errors
    /// Something else comes, or nothing.
    pub async fn call(
        &mut self,
        encode: impl FnOnce(&mut Vec<u8>),
        is_reply: impl Fn(&Method<'_>) -> bool,
    ) -> anyhow::Result<()> {
        encode(self.connection.outgoing().bytes());
        loop {
            match within(self.connection.next_event()).await? {
                Event::Reply { method, .. } => {
                    ensure!(is_reply(&method), "unexpected reply {method:?}");
                    return Ok(());
                }
                Event::Confirmed { .. } | Event::Blocked { .. } | Event::Unblocked => {}
                other => bail!("while waiting for a reply: {other:?}"),
            }
        }
    }

    /// Closes the connection in order: acks that were sent are settled when this returns.
    ///
    /// # Errors
    /// The broker does not answer.
    pub async fn close(self) -> anyhow::Result<()> {
        Ok(self.connection.close().await?)
    }
}

/// The future's result, unless it takes longer than [`PATIENCE`].
///
/// # Errors
/// Those of the future, or a timeout.
pub async fn within<T>(
    future: impl Future<Output = Result<T, client_amqp091::Error>>,
) -> anyhow::Result<T> {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(result) => Ok(result?),
        Err(_) => bail!("nothing came within {PATIENCE:?}"),
    }
}

/// Asks again and again until `condition` holds.
///
/// # Errors
/// It does not within [`PATIENCE`]; `what` names it.
pub async fn until(what: &str, mut condition: impl FnMut() -> bool) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        ensure!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}
