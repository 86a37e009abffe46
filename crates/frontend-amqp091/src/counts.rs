//! What is counted of messages on their way between clients and queues.
//!
//! [`Traffic`] is what all connections of a shard count into: totals, sizes, and a line for each exchange. It is written by the
//! shard's thread alone and read by any other at any time, so counting is a load and a store of memory that is in the cache.
//! What one channel did is counted with the channel ([`PublishCounts`], [`DeliveryCounts`]) and read with it. What happens inside of
//! queues is counted there (`broker::queue::Counters`).
//!
//! Limits: `EXCHANGES_MAX` exchanges of a shard, `LINES_MAX` exchanges and as many queues of a channel, `LEGS_MAX` pairs of an
//! exchange and a queue; what is beyond counts in the totals only.

use base::{Name, QueueId, QueueRef};
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Exchanges of a shard that are counted. Those that nobody publishes to are forgotten when there are more.
const EXCHANGES_MAX: usize = 100_000;
/// Exchanges and queues that a channel counts on their own.
const LINES_MAX: usize = 64;
/// Pairs of an exchange and a queue of a shard that are counted, where they are at all.
const LEGS_MAX: usize = 100_000;
/// Upper bounds of the sizes of message bodies in bytes, RabbitMQ's; the last class has none.
pub const SIZE_BOUNDS: [u64; 8] = [
    100,
    1_000,
    10_000,
    100_000,
    1_000_000,
    10_000_000,
    50_000_000,
    100_000_000,
];
/// Upper bounds of times in microseconds; the last class has none.
pub const TIME_BOUNDS_US: [u64; 14] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000,
    10_000_000, 60_000_000,
];

/// A number that one thread adds to and others read.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds to it. Of two threads that add at once one may be lost.
    #[inline]
    pub fn add(&self, count: u64) {
        self.0
            .store(self.0.load(Relaxed).wrapping_add(count), Relaxed);
    }

    /// What it is now.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// How many values fell into each class, and their sum. `N` is one more than there are bounds.
#[derive(Debug)]
pub struct Histogram<const N: usize> {
    classes: [Counter; N],
    sum: Counter,
}

impl<const N: usize> Default for Histogram<N> {
    fn default() -> Self {
        Self {
            classes: std::array::from_fn(|_| Counter::default()),
            sum: Counter::default(),
        }
    }
}

impl<const N: usize> Histogram<N> {
    /// Counts the same value several times.
    #[inline]
    pub fn add(&self, bounds: &[u64], value: u64, count: u64) {
        let class = bounds.partition_point(|bound| *bound < value);
        if let Some(class) = self.classes.get(class) {
            class.add(count);
        }
        self.sum.add(value.wrapping_mul(count));
    }

    fn absorb(&self, other: &Self) {
        for (own, other) in self.classes.iter().zip(&other.classes) {
            own.add(other.get());
        }
        self.sum.add(other.sum.get());
    }

    /// Adds its values to others.
    fn add_to(&self, values: &mut Distribution<N>) {
        for (sum, own) in values.classes.iter_mut().zip(&self.classes) {
            *sum += own.get();
        }
        values.sum += self.sum.get();
    }
}

impl Histogram<{ TIME_BOUNDS_US.len() + 1 }> {
    fn add_time(&self, time: Duration) {
        let microseconds = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.add(&TIME_BOUNDS_US, microseconds, 1);
    }
}

/// The values of a [`Histogram`] at one moment; classes do not contain those below them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Distribution<const N: usize> {
    /// Values in each class.
    pub classes: [u64; N],
    /// Sum of all values.
    pub sum: u64,
}

impl<const N: usize> Default for Distribution<N> {
    fn default() -> Self {
        Self {
            classes: [0; N],
            sum: 0,
        }
    }
}

/// Sizes of message bodies in bytes.
pub type Sizes = Distribution<{ SIZE_BOUNDS.len() + 1 }>;
/// Times in microseconds.
pub type Times = Distribution<{ TIME_BOUNDS_US.len() + 1 }>;

/// What the connections of one shard have counted since the node's start.
#[derive(Debug, Default)]
pub struct Traffic {
    /// Messages that were published.
    pub(crate) received: Counter,
    /// Of those: on channels in confirm mode.
    pub(crate) received_confirm: Counter,
    /// Messages times the queues they went to.
    pub(crate) routed: Counter,
    /// Publishes that were confirmed to their publisher.
    pub(crate) confirmed: Counter,
    /// Messages that no queue took and nobody heard of.
    pub(crate) dropped: Counter,
    /// Messages that no queue took and that went back.
    pub(crate) returned: Counter,
    sizes: Histogram<{ SIZE_BOUNDS.len() + 1 }>,
    confirm_times: Histogram<{ TIME_BOUNDS_US.len() + 1 }>,
    ack_times: Histogram<{ TIME_BOUNDS_US.len() + 1 }>,
    /// Answers to queue.declare that were no errors.
    pub(crate) queues_declared: Counter,
    exchanges: Mutex<ExchangeLines>,
    /// Messages that went to a queue through an exchange, by vhost and name of that.
    legs: Mutex<HashMap<Leg, Arc<Counter>>>,
}

/// What went through each exchange, by vhost and name.
#[derive(Debug, Default)]
struct ExchangeLines {
    lines: HashMap<(Name, Name), Arc<ExchangeTraffic>>,
    /// What went through those that were forgotten, by vhost.
    forgotten: HashMap<Name, PublishCounts>,
}

impl ExchangeLines {
    /// Forgets exchanges that no channel publishes to any more, but for those that are to be kept.
    fn forget(&mut self, mut keep: impl FnMut(&Name, &Name) -> bool) {
        let forgotten = &mut self.forgotten;
        self.lines.retain(|(vhost, exchange), traffic| {
            let is_kept = Arc::strong_count(traffic) > 1 || keep(vhost, exchange);
            if !is_kept {
                let sum = forgotten.entry(vhost.clone()).or_default();
                sum.add(&traffic.counts());
            }
            is_kept
        });
    }
}

/// An exchange, by vhost and name, and a queue that it gave messages to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Leg {
    /// The vhost.
    pub vhost: Name,
    /// The exchange.
    pub exchange: Name,
    /// The queue.
    pub queue: QueueId,
}

/// What went through one exchange.
#[derive(Debug, Default)]
pub(crate) struct ExchangeTraffic {
    published: Counter,
    routed: Counter,
    confirmed: Counter,
    dropped: Counter,
    returned: Counter,
}

/// The totals of [`Traffic`] at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrafficTotals {
    /// Messages that were published.
    pub received: u64,
    /// Of those: on channels in confirm mode.
    pub received_confirm: u64,
    /// Messages times the queues they went to.
    pub routed: u64,
    /// Publishes that were confirmed to their publisher.
    pub confirmed: u64,
    /// Messages that no queue took and nobody heard of.
    pub dropped: u64,
    /// Messages that no queue took and that went back.
    pub returned: u64,
    /// Sizes of the bodies of published messages.
    pub sizes: Sizes,
    /// From a publish to its confirm; of each channel one publish at a time is measured.
    pub confirm_times: Times,
    /// From the entry of a message into its queue to its ack; of each queue one message at a time is measured.
    pub ack_times: Times,
    /// Queues that were declared, also those that were there.
    pub queues_declared: u64,
}

/// What happened to publishes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PublishCounts {
    /// Messages that were published.
    pub published: u64,
    /// Messages times the queues they went to.
    pub routed: u64,
    /// Publishes that were confirmed to their publisher.
    pub confirmed: u64,
    /// Messages that no queue took and nobody heard of.
    pub dropped: u64,
    /// Messages that no queue took and that went back.
    pub returned: u64,
}

/// What happened to messages on their way to a client and after it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeliveryCounts {
    /// Sent to consumers that acknowledge.
    pub delivered: u64,
    /// Sent to consumers that do not.
    pub delivered_no_ack: u64,
    /// Fetched by somebody who acknowledges.
    pub got: u64,
    /// Fetched by somebody who does not.
    pub got_no_ack: u64,
    /// Gets that found nothing.
    pub got_nothing: u64,
    /// Of all these: sent again.
    pub redelivered: u64,
    /// Acknowledged.
    pub acked: u64,
}

impl PublishCounts {
    /// Adds what happened elsewhere.
    pub fn add(&mut self, other: &Self) {
        self.published += other.published;
        self.routed += other.routed;
        self.confirmed += other.confirmed;
        self.dropped += other.dropped;
        self.returned += other.returned;
    }
}

impl DeliveryCounts {
    /// Adds what happened elsewhere.
    pub fn add(&mut self, other: &Self) {
        self.delivered += other.delivered;
        self.delivered_no_ack += other.delivered_no_ack;
        self.got += other.got;
        self.got_no_ack += other.got_no_ack;
        self.got_nothing += other.got_nothing;
        self.redelivered += other.redelivered;
        self.acked += other.acked;
    }
}

impl Traffic {
    /// Counts what a connection counted that had one for itself. Only one thread may do it at a time.
    pub fn absorb(&self, other: &Self) {
        for (own, other) in [
            (&self.received, &other.received),
            (&self.received_confirm, &other.received_confirm),
            (&self.routed, &other.routed),
            (&self.confirmed, &other.confirmed),
            (&self.dropped, &other.dropped),
            (&self.returned, &other.returned),
            (&self.queues_declared, &other.queues_declared),
        ] {
            own.add(other.get());
        }
        self.sizes.absorb(&other.sizes);
        self.confirm_times.absorb(&other.confirm_times);
        other.exchanges(|vhost, exchange, counts| {
            let traffic = self.exchange_traffic(vhost, exchange);
            traffic.published.add(counts.published);
            traffic.routed.add(counts.routed);
            traffic.confirmed.add(counts.confirmed);
            traffic.dropped.add(counts.dropped);
            traffic.returned.add(counts.returned);
        });
        other.legs(|leg, count| {
            if let Some(counter) = self.leg(leg.clone()) {
                counter.add(count);
            }
        });
    }

    /// Adds its totals to others.
    pub fn add_to(&self, totals: &mut TrafficTotals) {
        totals.received += self.received.get();
        totals.received_confirm += self.received_confirm.get();
        totals.routed += self.routed.get();
        totals.confirmed += self.confirmed.get();
        totals.dropped += self.dropped.get();
        totals.returned += self.returned.get();
        self.sizes.add_to(&mut totals.sizes);
        self.confirm_times.add_to(&mut totals.confirm_times);
        self.ack_times.add_to(&mut totals.ack_times);
        totals.queues_declared += self.queues_declared.get();
    }

    /// A message was acknowledged that long after it had entered its queue.
    pub fn acknowledged(&self, after: Duration) {
        self.ack_times.add_time(after);
    }

    /// What went through each exchange, by vhost and name; those of deleted exchanges may be among them.
    pub fn exchanges(&self, mut each: impl FnMut(&Name, &Name, PublishCounts)) {
        for ((vhost, exchange), traffic) in &self.lines().lines {
            each(vhost, exchange, traffic.counts());
        }
    }

    /// What went through exchanges of each vhost, those that are gone included; a vhost may come several times.
    pub fn vhosts(&self, mut each: impl FnMut(&Name, PublishCounts)) {
        let lines = self.lines();
        for ((vhost, _), traffic) in &lines.lines {
            each(vhost, traffic.counts());
        }
        for (vhost, counts) in &lines.forgotten {
            each(vhost, *counts);
        }
    }

    /// Forgets vhosts that are gone; what is left of their exchanges is forgotten as these are.
    pub fn retain_vhosts(&self, is_there: impl Fn(&Name) -> bool) {
        self.lines().forgotten.retain(|vhost, _| is_there(vhost));
    }

    /// Bytes that the counts of exchanges take.
    pub fn memory_bytes(&self) -> usize {
        let exchange = size_of::<(Name, Name)>() + size_of::<ExchangeTraffic>();
        let leg = size_of::<Leg>() + size_of::<Counter>();
        self.lines().lines.len() * exchange + self.leg_lines().len() * leg
    }

    /// What went through one exchange.
    pub fn exchange(&self, vhost: &Name, exchange: &Name) -> PublishCounts {
        let key = (vhost.clone(), exchange.clone());
        let exchanges = self.lines();
        exchanges
            .lines
            .get(&key)
            .map(|traffic| traffic.counts())
            .unwrap_or_default()
    }

    /// Forgets exchanges that are gone and that no channel publishes to any more.
    pub fn retain_exchanges(&self, is_there: impl FnMut(&Name, &Name) -> bool) {
        self.lines().forget(is_there);
    }

    /// Messages that each exchange gave to each queue, where that is counted; those of deleted ones may be among them.
    pub fn legs(&self, mut each: impl FnMut(&Leg, u64)) {
        for (leg, counter) in &*self.leg_lines() {
            each(leg, counter.get());
        }
    }

    /// Forgets pairs of which one is gone and that no channel publishes to any more.
    pub fn retain_legs(&self, mut is_there: impl FnMut(&Leg) -> bool) {
        let mut legs = self.leg_lines();
        legs.retain(|leg, counter| Arc::strong_count(counter) > 1 || is_there(leg));
    }

    fn leg_lines(&self) -> MutexGuard<'_, HashMap<Leg, Arc<Counter>>> {
        // As for the exchanges.
        self.legs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The counter of a pair; `None` if there are too many.
    fn leg(&self, leg: Leg) -> Option<Arc<Counter>> {
        let mut legs = self.leg_lines();
        if legs.len() >= LEGS_MAX && !legs.contains_key(&leg) {
            legs.retain(|_, counter| Arc::strong_count(counter) > 1);
            if legs.len() >= LEGS_MAX {
                return None;
            }
        }
        Some(Arc::clone(legs.entry(leg).or_default()))
    }

    fn lines(&self) -> MutexGuard<'_, ExchangeLines> {
        // Nothing panics while it is held, and counts would be right even then.
        self.exchanges
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The counts of one exchange, to be counted into.
    fn exchange_traffic(&self, vhost: &Name, exchange: &Name) -> Arc<ExchangeTraffic> {
        let mut exchanges = self.lines();
        if exchanges.lines.len() >= EXCHANGES_MAX {
            exchanges.forget(|_, _| false);
        }
        let key = (vhost.clone(), exchange.clone());
        Arc::clone(exchanges.lines.entry(key).or_default())
    }
}

impl ExchangeTraffic {
    fn counts(&self) -> PublishCounts {
        PublishCounts {
            published: self.published.get(),
            routed: self.routed.get(),
            confirmed: self.confirmed.get(),
            dropped: self.dropped.get(),
            returned: self.returned.get(),
        }
    }
}

/// Publishes of a channel by exchange.
#[derive(Debug, Default)]
pub(crate) struct PublishLines {
    lines: Vec<PublishLine>,
    totals: PublishCounts,
    /// Where pairs of an exchange and a queue are counted.
    legs: HashMap<(PublishLineIndex, QueueId), Option<Arc<Counter>>>,
}

#[derive(Debug)]
struct PublishLine {
    exchange: Name,
    counts: PublishCounts,
    traffic: Arc<ExchangeTraffic>,
}

/// Publishes of one kind that are counted together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Published {
    /// The line of their exchange.
    pub(crate) line: PublishLineIndex,
    /// How many there are.
    pub(crate) messages: u64,
    /// The size of each body in bytes.
    pub(crate) size: u64,
    /// Queues that each goes to.
    pub(crate) queues: u64,
    /// Whether those that no queue takes go back.
    pub(crate) mandatory: bool,
    /// Whether the channel is in confirm mode.
    pub(crate) confirm: bool,
}

impl Published {
    /// None at all.
    pub(crate) const NONE: Self = Self {
        line: PublishLineIndex::NONE,
        messages: 0,
        size: 0,
        queues: 0,
        mandatory: false,
        confirm: false,
    };
}

/// A line of [`PublishLines`], or none where there were too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PublishLineIndex(u8);

impl PublishLineIndex {
    /// No line: counts in the totals.
    pub(crate) const NONE: Self = Self(u8::MAX);
}

impl PublishLines {
    /// The line of an exchange.
    pub(crate) fn line(
        &mut self,
        traffic: &Traffic,
        vhost: &Name,
        exchange: &Name,
    ) -> PublishLineIndex {
        let known = self
            .lines
            .iter()
            .position(|line| line.exchange == *exchange);
        let index = known.unwrap_or_else(|| {
            let index = self.lines.len();
            if index < LINES_MAX {
                self.lines.push(PublishLine {
                    exchange: exchange.clone(),
                    counts: PublishCounts::default(),
                    traffic: traffic.exchange_traffic(vhost, exchange),
                });
            }
            index
        });
        PublishLineIndex(u8::try_from(index).unwrap_or(u8::MAX))
    }

    /// Counts a message for each queue that its exchange gave it to.
    pub(crate) fn routed(
        &mut self,
        traffic: &Traffic,
        vhost: &Name,
        line: PublishLineIndex,
        queues: impl Iterator<Item = QueueId>,
    ) {
        let Some(PublishLine { exchange, .. }) = self.lines.get(usize::from(line.0)) else {
            return;
        };
        for queue in queues {
            if self.legs.len() >= LEGS_MAX {
                self.legs.clear();
            }
            let counter = self.legs.entry((line, queue)).or_insert_with(|| {
                traffic.leg(Leg {
                    vhost: vhost.clone(),
                    exchange: exchange.clone(),
                    queue,
                })
            });
            if let Some(counter) = counter {
                counter.add(1);
            }
        }
    }

    /// One more message with a body of this size. Those that follow each other and have the same size are counted together, so
    /// [`Self::published`] has to come in the end.
    #[inline]
    pub(crate) fn published_again(&mut self, traffic: &Traffic, same: &mut Published, size: usize) {
        if same.size != size as u64 {
            self.published(traffic, *same);
            same.messages = 0;
            same.size = size as u64;
        }
        same.messages += 1;
    }

    /// Counts publishes.
    #[inline]
    pub(crate) fn published(&mut self, traffic: &Traffic, published: Published) {
        if published.messages == 0 {
            return;
        }
        let Published {
            line,
            messages,
            size,
            queues,
            mandatory,
            confirm,
        } = published;
        let routed = messages * queues;
        traffic.received.add(messages);
        traffic.routed.add(routed);
        traffic.sizes.add(&SIZE_BOUNDS, size, messages);
        if confirm {
            traffic.received_confirm.add(messages);
        }
        self.totals.published += messages;
        self.totals.routed += routed;
        let line = self.lines.get_mut(usize::from(line.0));
        if queues == 0 {
            return unrouted(&mut self.totals, traffic, line, messages, mandatory);
        }
        if let Some(line) = line {
            line.counts.published += messages;
            line.counts.routed += routed;
            line.traffic.published.add(messages);
            line.traffic.routed.add(routed);
        }
    }

    /// Counts confirms of publishes of one exchange.
    #[inline]
    pub(crate) fn confirmed(&mut self, traffic: &Traffic, line: PublishLineIndex, count: u64) {
        traffic.confirmed.add(count);
        self.totals.confirmed += count;
        if let Some(line) = self.lines.get_mut(usize::from(line.0)) {
            line.counts.confirmed += count;
            line.traffic.confirmed.add(count);
        }
    }

    /// All of them together.
    pub(crate) fn totals(&self) -> PublishCounts {
        self.totals
    }

    /// By exchange.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (Name, PublishCounts)> {
        let lines = self.lines.iter();
        lines.map(|line| (line.exchange.clone(), line.counts))
    }
}

#[cold]
fn unrouted(
    totals: &mut PublishCounts,
    traffic: &Traffic,
    mut line: Option<&mut PublishLine>,
    messages: u64,
    mandatory: bool,
) {
    if let Some(line) = &mut line {
        line.counts.published += messages;
        line.traffic.published.add(messages);
    }
    if mandatory {
        traffic.returned.add(messages);
        totals.returned += messages;
        if let Some(line) = line {
            line.counts.returned += messages;
            line.traffic.returned.add(messages);
        }
    } else {
        traffic.dropped.add(messages);
        totals.dropped += messages;
        if let Some(line) = line {
            line.counts.dropped += messages;
            line.traffic.dropped.add(messages);
        }
    }
}

/// Deliveries of a channel by queue.
#[derive(Debug, Default)]
pub(crate) struct DeliveryLines {
    lines: Vec<DeliveryLine>,
    /// The line that was used last.
    last: usize,
    /// What is in no line.
    rest: DeliveryCounts,
}

#[derive(Debug)]
struct DeliveryLine {
    queue: QueueRef,
    name: Name,
    counts: DeliveryCounts,
}

impl DeliveryLines {
    /// Makes a line for a queue that is going to deliver.
    pub(crate) fn expect(&mut self, queue: QueueRef, name: &Name) {
        if self.lines.iter().all(|line| line.queue != queue) && self.lines.len() < LINES_MAX {
            self.lines.push(DeliveryLine {
                queue,
                name: name.clone(),
                counts: DeliveryCounts::default(),
            });
        }
    }

    /// The counts of a queue.
    #[inline]
    pub(crate) fn of(&mut self, queue: QueueRef) -> &mut DeliveryCounts {
        let is_last = self.lines.get(self.last).map(|line| line.queue) == Some(queue);
        if !is_last {
            let found = self.lines.iter().position(|line| line.queue == queue);
            let Some(found) = found else {
                return &mut self.rest;
            };
            self.last = found;
        }
        &mut self.lines[self.last].counts
    }

    /// The counts of a queue of this name.
    pub(crate) fn named(&mut self, name: &Name) -> &mut DeliveryCounts {
        let found = self.lines.iter_mut().find(|line| line.name == *name);
        found.map_or(&mut self.rest, |line| &mut line.counts)
    }

    /// All of them together.
    pub(crate) fn totals(&self) -> DeliveryCounts {
        let mut totals = self.rest;
        self.lines.iter().for_each(|line| totals.add(&line.counts));
        totals
    }

    /// By queue.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (Name, DeliveryCounts)> {
        let lines = self.lines.iter();
        lines.map(|line| (line.name.clone(), line.counts))
    }
}

/// Which exchanges the unconfirmed publishes of a channel went to, and how long one of them waits.
#[derive(Debug, Default)]
pub(crate) struct Unconfirmed {
    /// Publishes that follow each other to one exchange, oldest first.
    runs: VecDeque<(PublishLineIndex, u64)>,
    /// The sequence number and the time of the publish that is measured.
    sample: Option<(u64, Duration)>,
}

impl Unconfirmed {
    /// A publish got its sequence number.
    #[inline]
    pub(crate) fn published(&mut self, line: PublishLineIndex, sequence: u64, now: Duration) {
        match self.runs.back_mut() {
            Some((last, count)) if *last == line => *count += 1,
            _ => self.runs.push_back((line, 1)),
        }
        if self.sample.is_none() {
            self.sample = Some((sequence, now));
        }
    }

    /// The oldest publish is answered.
    #[inline]
    pub(crate) fn pop(&mut self) -> Option<PublishLineIndex> {
        let (line, count) = self.runs.front_mut()?;
        let line = *line;
        *count -= 1;
        if *count == 0 {
            self.runs.pop_front();
        }
        Some(line)
    }

    /// All publishes before this number are answered.
    #[inline]
    pub(crate) fn answered_before(&mut self, first: u64, now: Duration, traffic: &Traffic) {
        if let Some((sequence, since)) = self.sample
            && sequence < first
        {
            self.sample = None;
            traffic.confirm_times.add_time(now.saturating_sub(since));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn published(line: PublishLineIndex, messages: u64, queues: u64, mandatory: bool) -> Published {
        Published {
            line,
            messages,
            size: 100,
            queues,
            mandatory,
            confirm: false,
        }
    }

    #[test]
    fn publishes_count_for_the_channel_the_exchange_and_the_node() {
        let traffic = Traffic::default();
        let (vhost, exchange): (Name, Name) = ("/".into(), "x".into());
        let mut lines = PublishLines::default();
        let line = lines.line(&traffic, &vhost, &exchange);
        assert_eq!(line, lines.line(&traffic, &vhost, &exchange));
        lines.published(&traffic, published(line, 3, 2, false));
        lines.published(&traffic, published(line, 1, 0, true));
        lines.published(&traffic, published(line, 2, 0, false));
        lines.confirmed(&traffic, line, 4);
        let expect = PublishCounts {
            published: 6,
            routed: 6,
            confirmed: 4,
            dropped: 2,
            returned: 1,
        };
        assert_eq!(lines.totals(), expect);
        assert_eq!(
            lines.lines().collect::<Vec<_>>(),
            [(exchange.clone(), expect)]
        );
        assert_eq!(traffic.exchange(&vhost, &exchange), expect);
        let mut totals = TrafficTotals::default();
        traffic.add_to(&mut totals);
        assert_eq!((totals.received, totals.routed), (6, 6));
        assert_eq!((totals.dropped, totals.returned), (2, 1));
        assert_eq!((totals.sizes.classes[0], totals.sizes.sum), (6, 600));
        traffic.retain_exchanges(|_, _| false);
        assert_eq!(traffic.exchange(&vhost, &exchange), expect);
        drop(lines);
        traffic.retain_exchanges(|_, _| false);
        assert_eq!(
            traffic.exchange(&vhost, &exchange),
            PublishCounts::default()
        );
        let of_vhosts = || {
            let mut found = Vec::new();
            traffic.vhosts(|vhost, counts| found.push((vhost.clone(), counts)));
            found
        };
        assert_eq!(of_vhosts(), [(vhost, expect)]);
        traffic.retain_vhosts(|_| false);
        assert_eq!(of_vhosts(), []);
    }

    #[test]
    fn what_an_exchange_gives_to_a_queue_is_counted_over_all_channels() {
        let traffic = Traffic::default();
        let (vhost, exchange): (Name, Name) = ("/".into(), "x".into());
        let count = || {
            let mut counts = Vec::new();
            traffic.legs(|leg, count| counts.push((leg.queue.0, count)));
            counts.sort_unstable();
            counts
        };
        for _ in 0..2 {
            let mut lines = PublishLines::default();
            let line = lines.line(&traffic, &vhost, &exchange);
            lines.routed(&traffic, &vhost, line, [QueueId(1), QueueId(2)].into_iter());
            lines.routed(&traffic, &vhost, line, [QueueId(2)].into_iter());
            lines.routed(
                &traffic,
                &vhost,
                PublishLineIndex::NONE,
                [QueueId(3)].into_iter(),
            );
            traffic.retain_legs(|_| false);
        }
        assert_eq!(count(), [(1, 2), (2, 4)]);
        traffic.retain_legs(|_| false);
        assert_eq!(count(), []);
    }

    #[test]
    fn what_is_beyond_the_lines_counts_in_the_totals() {
        let traffic = Traffic::default();
        let mut lines = PublishLines::default();
        let mut deliveries = DeliveryLines::default();
        for number in 0..2 * LINES_MAX {
            let name: Name = number.to_string().as_str().into();
            let line = lines.line(&traffic, &"/".into(), &name);
            lines.published(&traffic, published(line, 1, 1, false));
            let queue = queue(number as u64);
            deliveries.expect(queue, &name);
            deliveries.of(queue).delivered += 1;
        }
        assert_eq!(lines.lines().count(), LINES_MAX);
        assert_eq!(lines.totals().published, 2 * LINES_MAX as u64);
        assert_eq!(deliveries.lines().count(), LINES_MAX);
        assert_eq!(deliveries.totals().delivered, 2 * LINES_MAX as u64);
    }

    #[test]
    fn a_value_falls_into_the_first_class_that_is_not_below_it() {
        let sizes = Histogram::<{ SIZE_BOUNDS.len() + 1 }>::default();
        for size in [0, 100, 101, 100_000_000, 100_000_001] {
            sizes.add(&SIZE_BOUNDS, size, 1);
        }
        let mut values = Sizes::default();
        sizes.add_to(&mut values);
        assert_eq!(values.classes, [2, 1, 0, 0, 0, 0, 0, 1, 1]);
        assert_eq!(values.sum, 200_000_202);
    }

    #[test]
    fn the_unconfirmed_know_their_exchanges_in_order() {
        let traffic = Traffic::default();
        let mut unconfirmed = Unconfirmed::default();
        let (a, b) = (PublishLineIndex(0), PublishLineIndex(1));
        let at = Duration::from_millis;
        for (line, sequence) in [(a, 1), (a, 2), (b, 3), (a, 4)] {
            unconfirmed.published(line, sequence, at(sequence));
        }
        unconfirmed.answered_before(1, at(9), &traffic);
        let popped: Vec<_> = std::iter::from_fn(|| unconfirmed.pop()).collect();
        assert_eq!(popped, [a, a, b, a]);
        unconfirmed.answered_before(5, at(9), &traffic);
        let mut totals = TrafficTotals::default();
        traffic.add_to(&mut totals);
        assert_eq!(totals.confirm_times.sum, 8_000);
    }

    fn queue(serial: u64) -> QueueRef {
        QueueRef {
            id: QueueId(serial),
            shard: base::ShardId(0),
        }
    }
}
