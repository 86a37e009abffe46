//! A consuming connection: one task, one socket, any number of channels.
//!
//! Each turn reads once, takes every delivery that is in the buffer, and writes the acks of all of them at once. The
//! clock is read once for each read.

use std::time::Duration;

use anyhow::Context;
use client_amqp091::codec::{Table, TableWriter};
use client_amqp091::{Connection, ConsumeOptions, Delivery, Event};

use crate::body;
use crate::clock::{Pacer, Timer, now_ns};
use crate::meter::{self, Latencies};
use crate::producer::worker_must_not_ignore;
use crate::topology::{self, Topology};
use crate::verify::Source;
use crate::worker::{self, Outfit, Phase, Report};

/// How far a consumer with a rate may lag behind its schedule before the schedule begins anew.
const RATE_SLACK: Duration = Duration::from_millis(100);

/// See the module.
pub(crate) struct Consumer {
    outfit: Outfit,
    connection: Connection,
    channels: Vec<Channel>,
    number: u32,
    pacer: Option<Pacer>,
    timer: Option<Timer>,
    /// Deliveries still wanted; `u64::MAX` for no end.
    remaining: u64,
    reported: bool,
}

/// A consuming channel.
struct Channel {
    /// Queues to consume from, by index and name. A consumer's tag is its queue's position in this list, as text.
    queues: Vec<(u32, String)>,
    /// Deliveries since the last ack.
    unacked: u32,
    last_tag: u64,
}

impl Consumer {
    /// Connects consumer `number`. With producers in the run it consumes from the beginning, or else only when the run
    /// begins, so that the time of a drain is measured from its first message.
    ///
    /// # Errors
    /// The broker cannot be reached or refuses something.
    pub(crate) async fn open(
        outfit: Outfit,
        topology: &Topology,
        number: u32,
    ) -> anyhow::Result<Self> {
        let args = outfit.args.clone();
        let mut connection = outfit.connect("consumer", number).await?;
        let mut channels = Vec::new();
        for index in 0..args.consumer_channels {
            connection.open_channel(index + 1).await?;
            if args.qos > 0 {
                connection.qos(index + 1, args.qos).await?;
            }
            let overall = number * u32::from(args.consumer_channels) + u32::from(index);
            let all = args.consumers * u32::from(args.consumer_channels);
            let queues = topology.share(overall, all);
            let queues = queues
                .into_iter()
                .map(|queue| (queue, topology.queues[queue as usize].clone()));
            channels.push(Channel {
                queues: queues.collect(),
                unacked: 0,
                last_tag: 0,
            });
        }
        let timer = args.consumer_rate.map(|_| Timer::new()).transpose()?;
        let mut consumer = Self {
            connection,
            channels,
            number,
            pacer: None,
            timer,
            remaining: args.cmessages.unwrap_or(u64::MAX),
            reported: false,
            outfit,
        };
        if args.producers > 0 {
            consumer.start_consuming().await?;
        }
        Ok(consumer)
    }

    async fn start_consuming(&mut self) -> anyhow::Result<()> {
        let options = ConsumeOptions {
            no_ack: self.outfit.args.autoack,
            ..Default::default()
        };
        let mut arguments = Vec::new();
        topology::write_fields(
            &self.outfit.args.consumer_args,
            &mut TableWriter::new(&mut arguments),
        );
        let arguments = Table::new(&arguments);
        for (index, channel) in self.channels.iter().enumerate() {
            for (position, (_, queue)) in channel.queues.iter().enumerate() {
                let tag = position.to_string();
                self.connection
                    .consume(index as u16 + 1, queue, &tag, options, arguments)
                    .await
                    .with_context(|| format!("consume from {queue}"))?;
            }
        }
        Ok(())
    }

    /// Consumes until told to stop.
    ///
    /// # Errors
    /// The connection, a channel or a consumer failed.
    pub(crate) async fn run(mut self) -> anyhow::Result<()> {
        self.outfit.report(Report::Ready);
        if self.outfit.args.producers == 0 {
            self.outfit.wait_for(Phase::Run).await?;
            self.start_consuming().await?;
        }
        let rate = self.outfit.args.consumer_rate;
        self.pacer = rate.map(|rate| Pacer::new(rate, now_ns()));
        while self.outfit.phase() < Phase::Stop {
            // What is in the buffer already comes first; a consumer with a rate may have left something there.
            let mut progress = self.take_deliveries()?;
            if self.may_consume() {
                progress |= self.connection.try_read()?;
            }
            progress |= self.connection.try_write()?;
            if progress {
                tokio::task::yield_now().await;
            } else {
                self.wait().await?;
            }
        }
        self.ack_rest();
        worker::close(self.connection).await;
        Ok(())
    }

    fn may_consume(&self) -> bool {
        self.remaining > 0 && self.pacer.is_none_or(|pacer| pacer.due_ns() <= now_ns())
    }

    /// Takes what is in the read buffer. Returns whether there was anything.
    fn take_deliveries(&mut self) -> anyhow::Result<bool> {
        let Self {
            outfit,
            connection,
            channels,
            number,
            pacer,
            remaining,
            ..
        } = self;
        let now = now_ns();
        if let Some(pacer) = pacer {
            pacer.catch_up(now, RATE_SLACK.as_nanos() as u64);
        }
        let (incoming, outgoing) = connection.parts();
        let taker = Taker {
            outfit,
            number: *number,
            now: now.wrapping_add(outfit.clock_offset_ns),
        };
        let mut received = 0;
        outfit
            .meter
            .with_latencies(|latencies| -> anyhow::Result<()> {
                while *remaining > 0 && pacer.is_none_or(|pacer| pacer.due_ns() <= now) {
                    let Some(event) = incoming.poll(outgoing)? else {
                        break;
                    };
                    let Event::Delivery(delivery) = event else {
                        worker_must_not_ignore(&event)?;
                        continue;
                    };
                    received += 1;
                    *remaining -= 1;
                    if let Some(pacer) = pacer {
                        pacer.advance();
                    }
                    let index = usize::from(delivery.channel).wrapping_sub(1);
                    if let Some(channel) = channels.get_mut(index) {
                        taker.take(channel, &delivery, latencies, outgoing);
                    }
                }
                Ok(())
            })?;
        outfit.meter.received.add(received);
        if *remaining == 0 && !self.reported {
            self.reported = true;
            self.ack_rest();
            self.outfit.report(Report::Consumed);
        }
        Ok(received > 0)
    }

    /// Acks what is left of the last batch.
    fn ack_rest(&mut self) {
        for (index, channel) in self.channels.iter_mut().enumerate() {
            if channel.unacked > 0 {
                channel.unacked = 0;
                let outgoing = self.connection.outgoing();
                outgoing.ack(index as u16 + 1, channel.last_tag, true);
            }
        }
    }

    /// Waits for the socket, the next message's time, or a new phase.
    async fn wait(&mut self) -> anyhow::Result<()> {
        let may_consume = self.may_consume();
        let due = self.pacer.map(|pacer| pacer.due_ns());
        let Self {
            connection,
            outfit,
            timer,
            remaining,
            ..
        } = self;
        let writes = connection.outgoing().pending() > 0;
        let paced = async {
            match (timer, due) {
                (Some(timer), Some(due)) if *remaining > 0 => timer.sleep_until(due).await,
                _ => std::future::pending().await,
            }
        };
        tokio::select! {
            ready = connection.ready(), if may_consume || writes => ready?,
            changed = outfit.phase_changed() => changed?,
            slept = paced, if !may_consume => slept?,
        }
        Ok(())
    }
}

/// What every delivery of one read has in common.
struct Taker<'a> {
    outfit: &'a Outfit,
    number: u32,
    now: u64,
}

impl Taker<'_> {
    #[inline]
    fn take(
        &self,
        channel: &mut Channel,
        delivery: &Delivery<'_>,
        latencies: &mut Latencies,
        outgoing: &mut client_amqp091::Outgoing,
    ) {
        if let Some(sent_ns) = body::sent_ns(delivery.body) {
            meter::record(&mut latencies.delivery, sent_ns, self.now);
        }
        if self.outfit.checker.is_some() {
            self.check(channel, delivery);
        }
        let args = &self.outfit.args;
        if !args.autoack {
            channel.unacked += 1;
            channel.last_tag = delivery.delivery_tag;
            if channel.unacked >= args.multi_ack_every {
                channel.unacked = 0;
                outgoing.ack(
                    delivery.channel,
                    delivery.delivery_tag,
                    args.multi_ack_every > 1,
                );
            }
        }
    }

    fn check(&self, channel: &Channel, delivery: &Delivery<'_>) {
        let position = std::str::from_utf8(delivery.consumer_tag)
            .ok()
            .and_then(|tag| tag.parse::<usize>().ok());
        let queue = position.and_then(|position| channel.queues.get(position));
        let source = Source {
            // A tag we did not give cannot belong to any queue: its messages are nobody's.
            queue: queue.map_or(u32::MAX, |(index, _)| *index),
            consumer: self.number << 16 | u32::from(delivery.channel),
            redelivered: delivery.redelivered,
        };
        self.outfit
            .with_checker(|checker| checker.delivered(source, delivery.body));
    }
}
