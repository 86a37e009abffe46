//! A publishing connection: one task, one socket, any number of channels.
//!
//! The loop fills the write buffer up to [`WRITE_BURST`], writes once, reads once (confirms, returns), and waits only
//! when none of this got anywhere. The clock is read once for a few messages, not for each.

use std::collections::HashSet;
use std::time::Duration;

use client_amqp091::codec::{BasicProperties, basic};
use client_amqp091::{Connection, Error, Event, PreparedPublish};

use crate::args::LoadArgs;
use crate::body::{self, MessageId, Verified};
use crate::clock::{Pacer, Timer, now_ns};
use crate::meter;
use crate::topology::{Lane, Topology};
use crate::unconfirmed::{Publish, Unconfirmed};
use crate::verify::{Expected, SequenceSet};
use crate::worker::{self, Outfit, Phase, Report};

/// Bytes that are collected before they are written.
const WRITE_BURST: usize = 64 << 10;

/// Messages between two looks at the clock.
const MESSAGES_PER_CLOCK: u32 = 32;

/// Longest wait for the last confirms.
const LAST_CONFIRMS_TIMEOUT: Duration = Duration::from_secs(10);

/// See the module.
pub(crate) struct Producer {
    outfit: Outfit,
    connection: Connection,
    channels: Vec<Channel>,
    /// Where the round over the channels goes on.
    next_channel: usize,
    timer: Option<Timer>,
    /// The broker asked for a pause.
    blocked: bool,
    reported: bool,
}

/// A publishing channel.
struct Channel {
    lanes: Vec<OpenLane>,
    next_lane: usize,
    body: Vec<u8>,
    pacer: Option<Pacer>,
    /// Messages still to be published; `u64::MAX` for no end.
    remaining: u64,
    /// Confirms: how many may be outstanding.
    window: Option<u64>,
    unconfirmed: Unconfirmed,
    random_key: Option<RandomKey>,
    verify: bool,
}

/// A lane and how far it has come.
struct OpenLane {
    lane: Lane,
    prepared: PreparedPublish,
    /// Number of the next message.
    sequence: u64,
    /// With verification: what the broker took responsibility for.
    owed: SequenceSet,
    /// With verification: what came back as unroutable.
    returned: HashSet<u64>,
}

/// Publishes with a routing key that changes each time.
struct RandomKey {
    channel: u16,
    exchange: String,
    mandatory: bool,
    persistent: bool,
}

impl Producer {
    /// Connects producer `number` and opens its channels.
    ///
    /// # Errors
    /// The broker cannot be reached or refuses something.
    pub(crate) async fn open(
        outfit: Outfit,
        topology: &Topology,
        number: u32,
    ) -> anyhow::Result<Self> {
        let args = outfit.args.clone();
        let mut connection = outfit.connect("producer", number).await?;
        let mut channels = Vec::new();
        for index in 0..args.producer_channels {
            let channel = index + 1;
            connection.open_channel(channel).await?;
            if args.confirm.is_some() {
                connection.confirm_select(channel).await?;
            }
            let overall = number * u32::from(args.producer_channels) + u32::from(index);
            let all = args.producers * u32::from(args.producer_channels);
            let lanes = topology.lanes(&args, overall, all);
            channels.push(Channel::new(&outfit, channel, lanes));
        }
        let timer = args.rate.map(|_| Timer::new()).transpose()?;
        Ok(Self {
            outfit,
            connection,
            channels,
            next_channel: 0,
            timer,
            blocked: false,
            reported: false,
        })
    }

    /// Publishes until told to stop.
    ///
    /// # Errors
    /// The connection or a channel failed.
    pub(crate) async fn run(mut self) -> anyhow::Result<()> {
        self.outfit.report(Report::Ready);
        self.outfit.wait_for(Phase::Run).await?;
        self.start_pacers();
        let mut finish_by = None;
        loop {
            let phase = self.outfit.phase();
            if phase == Phase::Stop {
                break;
            }
            if phase == Phase::Finish && finish_by.is_none() {
                finish_by = Some(now_ns() + LAST_CONFIRMS_TIMEOUT.as_nanos() as u64);
            }
            let mut progress = phase == Phase::Run && !self.blocked && self.publish_burst();
            progress |= self.connection.try_write()?;
            progress |= self.read()?;
            self.report_when_done(phase, finish_by);
            if progress {
                // Others on this thread get their turn, and the runtime looks at its sockets.
                tokio::task::yield_now().await;
            } else {
                self.wait(phase, finish_by).await?;
            }
        }
        self.report_produced();
        worker::close(self.connection).await;
        Ok(())
    }

    fn start_pacers(&mut self) {
        let now = now_ns();
        if let Some(rate) = self.outfit.args.rate {
            let count = self.channels.len() as u64;
            for (index, channel) in self.channels.iter_mut().enumerate() {
                // Channels take turns within one period rather than sending all at once.
                let shift = 1e9 / rate * index as f64 / count as f64;
                channel.pacer = Some(Pacer::new(rate, now + shift as u64));
            }
        }
    }

    /// Publishes what is allowed and due, up to a full write buffer. Returns whether that was anything.
    fn publish_burst(&mut self) -> bool {
        let Self {
            connection,
            channels,
            outfit,
            ..
        } = self;
        let outgoing = connection.outgoing();
        let (mut sent, mut idle, mut at) = (0_u64, 0, self.next_channel);
        let mut now = now_ns();
        let mut until_clock = MESSAGES_PER_CLOCK;
        while idle < channels.len() && outgoing.pending() < WRITE_BURST {
            let channel = &mut channels[at];
            if channel.may_publish(now) {
                channel.publish(outgoing, now, outfit.clock_offset_ns);
                (sent, idle) = (sent + 1, 0);
            } else {
                idle += 1;
            }
            at = if at + 1 < channels.len() { at + 1 } else { 0 };
            until_clock -= 1;
            if until_clock == 0 {
                (now, until_clock) = (now_ns(), MESSAGES_PER_CLOCK);
            }
        }
        self.next_channel = at;
        outfit.meter.sent.add(sent);
        sent > 0
    }

    /// Reads once and takes what came. Returns whether anything did.
    fn read(&mut self) -> anyhow::Result<bool> {
        if !self.connection.try_read()? {
            return Ok(false);
        }
        let Self {
            connection,
            channels,
            outfit,
            blocked,
            ..
        } = self;
        let meter = &outfit.meter;
        let now = now_ns();
        let (mut confirmed, mut nacked, mut returned) = (0, 0, 0);
        let (incoming, outgoing) = connection.parts();
        meter.with_latencies(|latencies| -> anyhow::Result<()> {
            while let Some(event) = incoming.poll(outgoing)? {
                match event {
                    Event::Confirmed {
                        channel,
                        delivery_tag,
                        multiple,
                    } => {
                        if let Some(channel) = find(channels, channel) {
                            confirmed += channel.confirmed(delivery_tag, multiple, |sent_ns| {
                                meter::record(&mut latencies.confirm, sent_ns, now);
                            });
                        }
                    }
                    Event::Refused {
                        channel,
                        delivery_tag,
                        multiple,
                    } => {
                        if let Some(channel) = find(channels, channel) {
                            nacked += channel.unconfirmed.settle(delivery_tag, multiple, |_| {});
                        }
                    }
                    Event::Returned(message) => {
                        returned += 1;
                        if let Some(channel) = find(channels, message.channel) {
                            channel.returned(message.body);
                        }
                    }
                    Event::Blocked { .. } => *blocked = true,
                    Event::Unblocked => *blocked = false,
                    event @ (Event::Delivery(_)
                    | Event::ConsumerCancelled { .. }
                    | Event::ChannelClosed { .. }
                    | Event::Reply { .. }) => worker_must_not_ignore(&event)?,
                }
            }
            Ok(())
        })?;
        meter.confirmed.add(confirmed);
        meter.nacked.add(nacked);
        meter.returned.add(returned);
        Ok(true)
    }

    fn report_when_done(&mut self, phase: Phase, finish_by: Option<u64>) {
        if self.reported {
            return;
        }
        let published =
            phase >= Phase::Finish || self.channels.iter().all(|channel| channel.remaining == 0);
        let settled = self.connection.outgoing().pending() == 0
            && self
                .channels
                .iter()
                .all(|channel| channel.unconfirmed.outstanding() == 0);
        let too_late = finish_by.is_some_and(|deadline| now_ns() >= deadline);
        if published && (settled || too_late) {
            self.report_produced();
        }
    }

    fn report_produced(&mut self) {
        if !self.reported {
            self.reported = true;
            let expected = self.channels.iter().flat_map(Channel::expected).collect();
            self.outfit.report(Report::Produced(expected));
        }
    }

    /// Waits for the socket, the next message's time, or a new phase.
    async fn wait(&mut self, phase: Phase, finish_by: Option<u64>) -> anyhow::Result<()> {
        let now = now_ns();
        let due = if self.blocked || phase != Phase::Run {
            None
        } else {
            self.channels.iter().filter_map(Channel::next_due_ns).min()
        };
        let Self {
            connection,
            outfit,
            timer,
            reported,
            ..
        } = self;
        let give_up = finish_by
            .filter(|_| !*reported)
            .map(|deadline| Duration::from_nanos(deadline.saturating_sub(now)));
        tokio::select! {
            ready = connection.ready() => ready?,
            changed = outfit.phase_changed() => changed?,
            slept = sleep_until(timer.as_ref(), due) => slept?,
            () = sleep(give_up) => {}
        }
        Ok(())
    }
}

async fn sleep_until(timer: Option<&Timer>, due: Option<u64>) -> std::io::Result<()> {
    match (timer, due) {
        (Some(timer), Some(due)) => timer.sleep_until(due).await,
        _ => std::future::pending().await,
    }
}

async fn sleep(duration: Option<Duration>) {
    match duration {
        Some(duration) => tokio::time::sleep(duration).await,
        None => std::future::pending().await,
    }
}

fn find(channels: &mut [Channel], number: u16) -> Option<&mut Channel> {
    channels.get_mut(usize::from(number).checked_sub(1)?)
}

/// A closed channel, or a cancelled consumer, ends the run; anything else may be ignored.
pub(crate) fn worker_must_not_ignore(event: &Event<'_>) -> anyhow::Result<()> {
    match event {
        Event::ChannelClosed {
            channel,
            reply_code,
            reply_text,
        } => Err(Error::ChannelClosed {
            channel: *channel,
            reply_code: *reply_code,
            reply_text: String::from_utf8_lossy(reply_text).into_owned(),
        }
        .into()),
        Event::ConsumerCancelled { consumer_tag, .. } => anyhow::bail!(
            "consumer {} was cancelled by the broker",
            String::from_utf8_lossy(consumer_tag)
        ),
        Event::Delivery(_)
        | Event::Returned(_)
        | Event::Confirmed { .. }
        | Event::Refused { .. }
        | Event::Blocked { .. }
        | Event::Unblocked
        | Event::Reply { .. } => Ok(()),
    }
}

impl Channel {
    fn new(outfit: &Outfit, channel: u16, lanes: Vec<Lane>) -> Self {
        let args = &outfit.args;
        let properties = properties(args.persistent());
        let lanes = lanes.into_iter().map(|lane| {
            let publish = basic::Publish {
                exchange: args.exchange.as_bytes(),
                routing_key: lane.routing_key.as_bytes(),
                mandatory: args.mandatory(),
                ..Default::default()
            };
            OpenLane {
                prepared: PreparedPublish::new(channel, &publish, &properties),
                lane,
                sequence: 0,
                owed: SequenceSet::default(),
                returned: HashSet::new(),
            }
        });
        Self {
            lanes: lanes.collect(),
            next_lane: 0,
            body: body::new_body(args.size, outfit.run),
            pacer: None,
            remaining: args.pmessages.unwrap_or(u64::MAX),
            window: args.confirm.map(u64::from),
            unconfirmed: Unconfirmed::new(),
            random_key: random_key(args, channel),
            verify: args.verify,
        }
    }

    #[inline]
    fn may_publish(&self, now: u64) -> bool {
        self.remaining > 0
            && self
                .window
                .is_none_or(|window| self.unconfirmed.outstanding() < window)
            && self.pacer.is_none_or(|pacer| pacer.due_ns() <= now)
    }

    /// When the next message is due, if only time is in its way.
    fn next_due_ns(&self) -> Option<u64> {
        let pacer = self.pacer?;
        self.may_publish(u64::MAX).then(|| pacer.due_ns())
    }

    #[inline]
    fn publish(&mut self, outgoing: &mut client_amqp091::Outgoing, now: u64, clock_offset: u64) {
        let sent_ns = match &mut self.pacer {
            Some(pacer) => {
                let due = pacer.due_ns();
                pacer.advance();
                due
            }
            None => now,
        };
        let index = self.next_lane;
        self.next_lane = if index + 1 < self.lanes.len() {
            index + 1
        } else {
            0
        };
        let lane = &mut self.lanes[index];
        let sequence = lane.sequence;
        lane.sequence += 1;
        self.remaining -= 1;
        body::stamp(
            &mut self.body,
            sent_ns.wrapping_add(clock_offset),
            lane.lane.number,
            sequence,
        );
        if self.verify {
            body::seal(&mut self.body);
            if self.window.is_none() {
                lane.owed.insert(sequence);
            }
        }
        match &self.random_key {
            None => outgoing.publish_prepared(&lane.prepared, &self.body),
            Some(random) => random.publish(outgoing, &self.body),
        }
        if self.window.is_some() {
            self.unconfirmed.push(Publish {
                sent_ns,
                lane: index as u32,
                sequence,
            });
        }
    }

    fn confirmed(&mut self, delivery_tag: u64, multiple: bool, mut record: impl FnMut(u64)) -> u64 {
        let Self {
            lanes,
            unconfirmed,
            verify,
            ..
        } = self;
        unconfirmed.settle(delivery_tag, multiple, |publish| {
            record(publish.sent_ns);
            if *verify && let Some(lane) = lanes.get_mut(publish.lane as usize) {
                lane.owed.insert(publish.sequence);
            }
        })
    }

    fn returned(&mut self, body: &[u8]) {
        if !self.verify {
            return;
        }
        if let Verified::Intact(MessageId {
            producer, sequence, ..
        }) = body::verify(body)
            && let Some(lane) = self
                .lanes
                .iter_mut()
                .find(|lane| lane.lane.number == producer)
        {
            lane.returned.insert(sequence);
        }
    }

    /// What each queue must have delivered of this channel's messages.
    fn expected(&self) -> impl Iterator<Item = Expected> {
        self.lanes.iter().flat_map(|open| {
            let mut published = open.owed.clone();
            for sequence in &open.returned {
                published.remove(*sequence);
            }
            open.lane.queues.iter().map(move |queue| Expected {
                queue: *queue,
                producer: open.lane.number,
                published: published.clone(),
                sent: open.sequence,
            })
        })
    }
}

impl RandomKey {
    fn publish(&self, outgoing: &mut client_amqp091::Outgoing, body: &[u8]) {
        let key = format!("{:016x}", rand::random::<u64>());
        let publish = basic::Publish {
            exchange: self.exchange.as_bytes(),
            routing_key: key.as_bytes(),
            mandatory: self.mandatory,
            ..Default::default()
        };
        outgoing.publish(self.channel, &publish, &properties(self.persistent), body);
    }
}

fn random_key(args: &LoadArgs, channel: u16) -> Option<RandomKey> {
    args.random_routing_key.then(|| RandomKey {
        channel,
        exchange: args.exchange.clone(),
        mandatory: args.mandatory(),
        persistent: args.persistent(),
    })
}

/// Properties of every message.
pub(crate) fn properties(persistent: bool) -> BasicProperties<'static> {
    BasicProperties {
        delivery_mode: Some(if persistent { 2 } else { 1 }),
        ..Default::default()
    }
}
