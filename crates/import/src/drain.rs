//! Messages of queues, moved from one broker to another over AMQP.
//!
//! ```text
//!   source ── deliver n ──► publish n ──► target
//!          ◄──── ack n ──── confirm n ◄──
//! ```
//!
//! Each queue has a channel of its own on both sides, so the n-th delivery is the n-th publish, and a confirm is an ack of the same
//! number. A message leaves the source only after the target has it on stable storage: none is lost, and after a crash between the two
//! some are there twice. Properties and routing key are passed on as they came. Messages go through a fanout exchange that only the one
//! queue is bound to, so that no `CC` header leads them elsewhere.

use crate::say;
use anyhow::{Context as _, bail};
use client_amqp091::codec::{
    Table, basic, encode_body_frames, encode_header_frame, exchange, queue,
};
use client_amqp091::{AmqpUri, ConnectOptions, Connection, ConsumeOptions, Event, QueueOptions};
use std::collections::BTreeSet;
use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

/// Messages on their way at once.
const PREFETCH: u16 = 1000;
/// Bytes that wait for the target at most before the source is no longer read.
const PENDING_BYTES_MAX: usize = 4 << 20;
/// How often it is looked whether a queue is empty, and progress is shown.
const TICK: Duration = Duration::from_millis(200);
/// How long a queue that is not empty may give nothing before it is left.
const STALL: Duration = Duration::from_secs(10);
/// The only channel of each connection.
const CHANNEL: u16 = 1;
/// What exchanges of ours are called; they go when a queue is done.
const EXCHANGE_PREFIX: &str = "warren.import.";
/// Longest name of an exchange.
const NAME_BYTES_MAX: usize = 255;

/// Both brokers, without vhosts.
pub(crate) struct Ends {
    pub(crate) source: AmqpUri,
    pub(crate) target: AmqpUri,
}

/// A queue to be drained.
pub(crate) struct Queue {
    pub(crate) vhost: String,
    pub(crate) name: String,
}

/// Drains queues one after the other. Queues that cannot be drained do not keep others from it.
pub(crate) async fn all(ends: &Ends, queues: &[Queue]) -> anyhow::Result<()> {
    let (mut moved, mut failed) = (0, 0);
    for queue in queues {
        let Queue { vhost, name } = queue;
        match one(ends, queue).await {
            Ok(0) => {}
            Ok(count) => {
                moved += count;
                say(&format!("{vhost}: {name}: {count} messages moved"))?;
            }
            Err(error) => {
                failed += 1;
                eprintln!("{vhost}: {name}: {error:#}");
            }
        }
    }
    say(&format!(
        "{moved} messages moved from {} queues",
        queues.len()
    ))?;
    if failed > 0 {
        bail!(
            "{failed} queues are not drained; what is left is still at the source, and running this again goes on with it"
        );
    }
    Ok(())
}

/// Drains a queue; returns how many messages were moved.
async fn one(ends: &Ends, queue: &Queue) -> anyhow::Result<u64> {
    let mut counter = connect(&ends.source, queue, "source").await?;
    if count(&mut counter, queue).await? == 0 {
        return Ok(0);
    }
    let mut target = connect(&ends.target, queue, "target").await?;
    let exchange = prepare(&mut target, queue).await.context("target")?;
    let mut source = connect(&ends.source, queue, "source").await?;
    source.qos(CHANNEL, PREFETCH).await?;
    source
        .consume(
            CHANNEL,
            &queue.name,
            "",
            ConsumeOptions::default(),
            Table::default(),
        )
        .await
        .context("consume at the source")?;
    let mut moving = Moving {
        queue,
        exchange: &exchange,
        published: 0,
        confirmed: Confirmed::default(),
        shown: std::io::stderr().is_terminal(),
    };
    let result = moving.run(&mut counter, &mut source, &mut target).await;
    // What is left of the exchange would be in nobody's way, and a broken connection cannot take it along.
    let _ = target.delete_exchange(CHANNEL, &exchange).await;
    result?;
    // The acks are ahead of the close, so they count when it is answered.
    let _ = source.close().await;
    Ok(moving.confirmed.count())
}

async fn connect(uri: &AmqpUri, queue: &Queue, side: &str) -> anyhow::Result<Connection> {
    let uri = AmqpUri {
        vhost: queue.vhost.clone(),
        ..uri.clone()
    };
    let options = ConnectOptions {
        connection_name: Some("warren import".to_owned()),
        ..ConnectOptions::default()
    };
    let connected = async {
        let mut connection = Connection::connect(&uri, &options).await?;
        connection.open_channel(CHANNEL).await?;
        Ok::<_, client_amqp091::Error>(connection)
    };
    connected
        .await
        .with_context(|| format!("connect to the {side} at {}:{}", uri.host, uri.port))
}

/// Ready messages.
async fn count(connection: &mut Connection, queue: &Queue) -> anyhow::Result<u32> {
    let passive = QueueOptions {
        passive: true,
        ..QueueOptions::default()
    };
    let declared = connection
        .declare_queue(CHANNEL, &queue.name, passive, Table::default())
        .await?;
    Ok(declared.message_count)
}

/// Makes the exchange that leads to the queue and nowhere else.
async fn prepare(target: &mut Connection, queue: &Queue) -> anyhow::Result<String> {
    let mut name = format!("{EXCHANGE_PREFIX}{}", queue.name);
    while name.len() > NAME_BYTES_MAX {
        name.pop();
    }
    target
        .declare_exchange(
            CHANNEL,
            &exchange::Declare {
                exchange: name.as_bytes(),
                exchange_type: b"fanout",
                auto_delete: true,
                ..exchange::Declare::default()
            },
        )
        .await?;
    target
        .bind_queue(
            CHANNEL,
            &queue::Bind {
                queue: queue.name.as_bytes(),
                exchange: name.as_bytes(),
                ..queue::Bind::default()
            },
        )
        .await?;
    target.confirm_select(CHANNEL).await?;
    Ok(name)
}

/// Which publishes are confirmed: all up to one, and some above.
#[derive(Debug, Default)]
struct Confirmed {
    until: u64,
    above: BTreeSet<u64>,
}

impl Confirmed {
    fn add(&mut self, tag: u64, multiple: bool) {
        if multiple {
            self.until = self.until.max(tag);
            self.above = self.above.split_off(&(self.until + 1));
        } else if tag > self.until {
            self.above.insert(tag);
        }
        while self.above.remove(&(self.until + 1)) {
            self.until += 1;
        }
    }

    fn count(&self) -> u64 {
        self.until + self.above.len() as u64
    }
}

struct Moving<'a> {
    queue: &'a Queue,
    exchange: &'a str,
    /// Also the delivery tag of the last delivery.
    published: u64,
    confirmed: Confirmed,
    /// Somebody looks at the standard error stream.
    shown: bool,
}

impl Moving<'_> {
    async fn run(
        &mut self,
        counter: &mut Connection,
        source: &mut Connection,
        target: &mut Connection,
    ) -> anyhow::Result<()> {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let (mut last_seen, mut last_progress) = (0, Instant::now());
        loop {
            let may_read = target.outgoing().pending() < PENDING_BYTES_MAX;
            tokio::select! {
                event = source.next_event(), if may_read => self.take(event?, target)?,
                event = target.next_event() => self.settle(event?, source)?,
                _ = tick.tick() => {
                    let seen = self.published + self.confirmed.count();
                    if seen != last_seen {
                        (last_seen, last_progress) = (seen, Instant::now());
                        self.show()?;
                        continue;
                    }
                    if self.published > self.confirmed.count() {
                        continue;
                    }
                    let left = count(counter, self.queue).await?;
                    if left == 0 {
                        source.flush().await?;
                        return self.end();
                    }
                    if last_progress.elapsed() > STALL {
                        self.end()?;
                        bail!("{left} messages are left that the source does not hand out");
                    }
                }
            }
        }
    }

    /// Passes a message on.
    fn take(&mut self, event: Event<'_>, target: &mut Connection) -> anyhow::Result<()> {
        let delivery = match event {
            Event::Delivery(delivery) => delivery,
            Event::ConsumerCancelled { .. } => bail!("the source has cancelled the consumer"),
            Event::ChannelClosed { reply_text, .. } => {
                bail!("the source says: {}", String::from_utf8_lossy(reply_text))
            }
            Event::Returned(_)
            | Event::Confirmed { .. }
            | Event::Refused { .. }
            | Event::Blocked { .. }
            | Event::Unblocked
            | Event::Reply { .. } => return Ok(()),
        };
        self.published += 1;
        if delivery.delivery_tag != self.published {
            bail!("the source's delivery tags are out of order");
        }
        let out = target.outgoing();
        let frame_max = out.frame_max();
        let bytes = out.bytes();
        basic::Publish {
            exchange: self.exchange.as_bytes(),
            routing_key: delivery.routing_key,
            mandatory: true,
            ..basic::Publish::default()
        }
        .encode(CHANNEL, bytes);
        let size = delivery.body.len() as u64;
        encode_header_frame(bytes, CHANNEL, size, delivery.raw_properties);
        encode_body_frames(bytes, CHANNEL, delivery.body, frame_max);
        Ok(())
    }

    /// What the target has safe leaves the source.
    fn settle(&mut self, event: Event<'_>, source: &mut Connection) -> anyhow::Result<()> {
        match event {
            Event::Confirmed {
                delivery_tag,
                multiple,
                ..
            } => {
                source.outgoing().ack(CHANNEL, delivery_tag, multiple);
                self.confirmed.add(delivery_tag, multiple);
                Ok(())
            }
            Event::Refused { .. } => bail!("the target has refused a message (its queue is full?)"),
            Event::Returned(returned) => bail!(
                "the target has returned a message: {}",
                String::from_utf8_lossy(returned.reply_text)
            ),
            Event::ChannelClosed { reply_text, .. } => {
                bail!("the target says: {}", String::from_utf8_lossy(reply_text))
            }
            Event::Blocked { reason } => {
                eprintln!("the target waits: {}", String::from_utf8_lossy(reason));
                Ok(())
            }
            Event::Delivery(_)
            | Event::ConsumerCancelled { .. }
            | Event::Unblocked
            | Event::Reply { .. } => Ok(()),
        }
    }

    fn show(&self) -> anyhow::Result<()> {
        if self.shown {
            let Queue { vhost, name } = self.queue;
            write!(
                std::io::stderr(),
                "\r{vhost}: {name}: {} messages",
                self.confirmed.count()
            )?;
        }
        Ok(())
    }

    /// Ends the line of progress.
    fn end(&self) -> anyhow::Result<()> {
        if self.shown {
            writeln!(std::io::stderr())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Confirmed;

    #[test]
    fn confirms_are_counted_once_in_any_order() {
        let mut confirmed = Confirmed::default();
        for (tag, multiple, count) in [
            (5, false, 1),
            (2, true, 3),
            (3, false, 4),
            (4, false, 5),
            (9, false, 6),
            (8, true, 9),
            (9, true, 9),
            (1, false, 9),
        ] {
            confirmed.add(tag, multiple);
            assert_eq!(confirmed.count(), count, "{tag} {multiple}");
        }
    }
}
