//! Rates and samples.
//!
//! Counters live where things happen (queues, connections); here is what they were a while ago. Totals of the node are sampled
//! always, single objects only while somebody looks at them, so that statistics cost nothing that nobody wants.
//!
//! How dense samples are and how long they are kept, the settings say ([`StatisticsSettings`]).
//!
//! Limits: [`LOOKED_AT_MAX`] objects with the samples of their policy and [`GLANCED_AT_MAX`] of lists with [`LATEST`], forgotten
//! [`FORGET_AFTER`] after the last look.

use crate::call::Call;
use crate::directory::{Directory, Queues};
use crate::error::ApiError;
use crate::json::{Object, object};
use crate::query::Query;
use crate::state::State;
use base::{ChannelNumber, ConnectionId, Name, QueueRef};
use broker::admission::Churn;
use broker::queue::Counters;
use broker::queue_arguments::QueueType;
use node::config::{RetentionTier, StatisticsSettings};
use node::{
    ByteCounts, ChannelDetails, ConnectionFigures, DeliveryCounts, Leg, LogMessages,
    ProcessFigures, PublishCounts, QueueFigures, TrafficTotals,
};
use parking_lot::Mutex;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Objects whose details are sampled at once.
const LOOKED_AT_MAX: usize = 1_000;
/// Objects of lists that are sampled at once.
const GLANCED_AT_MAX: usize = 20_000;
/// Samples of an object of a list: what a rate needs.
const LATEST: u64 = 2;
/// How long an object is sampled after somebody looked at it.
const FORGET_AFTER: Duration = Duration::from_secs(300);
/// Most samples in an answer.
const SAMPLES_MAX: u64 = 2_000;

/// What is sampled of queues.
const QUEUE_KEYS: [&str; 12] = [
    "messages",
    "messages_ready",
    "messages_unacknowledged",
    "publish",
    "deliver",
    "deliver_no_ack",
    "get",
    "get_no_ack",
    "deliver_get",
    "redeliver",
    "ack",
    "get_empty",
];
/// How many of them, from the front, are lengths and no counters.
const LENGTHS: usize = 3;
/// What is sampled of channels.
const CHANNEL_KEYS: [&str; 12] = [
    "publish",
    "confirm",
    "return_unroutable",
    "drop_unroutable",
    "deliver",
    "deliver_no_ack",
    "get",
    "get_no_ack",
    "get_empty",
    "redeliver",
    "ack",
    "deliver_get",
];
/// How many of them, from the front, are of publishes.
const PUBLISH_KEYS: usize = 4;
/// What is sampled of an exchange and a queue.
const LEG_KEYS: [&str; 1] = ["publish"];
/// What is sampled of exchanges.
const EXCHANGE_KEYS: [&str; 2] = ["publish_in", "publish_out"];
/// What is sampled of the node.
const NODE_KEYS: [&str; 24] = [
    "messages",
    "messages_ready",
    "messages_unacknowledged",
    "publish",
    "confirm",
    "return_unroutable",
    "drop_unroutable",
    "deliver",
    "deliver_no_ack",
    "get",
    "get_no_ack",
    "get_empty",
    "redeliver",
    "ack",
    "deliver_get",
    "disk_reads",
    "disk_writes",
    "connection_created",
    "connection_closed",
    "channel_created",
    "channel_closed",
    "queue_declared",
    "queue_created",
    "queue_deleted",
];
/// How many of the node's, from the front, are lengths or tell of messages; the others tell of what came and went.
const OF_MESSAGES: usize = OF_CLIENTS + 2;
/// Of these: what clients see too.
const OF_CLIENTS: usize = LENGTHS + CHANNEL_KEYS.len();
/// What is sampled of vhosts: lengths, what happened to messages, bytes.
const VHOST_KEYS: [&str; 17] = [
    "messages",
    "messages_ready",
    "messages_unacknowledged",
    "publish",
    "confirm",
    "return_unroutable",
    "drop_unroutable",
    "deliver",
    "deliver_no_ack",
    "get",
    "get_no_ack",
    "get_empty",
    "redeliver",
    "ack",
    "deliver_get",
    "recv_oct",
    "send_oct",
];
/// What a node has; the last are not counted here, and clients look for the keys.
const MEASURED_KEYS: [&str; 8] = [
    "mem_used",
    "fd_used",
    "sockets_used",
    "proc_used",
    "disk_free",
    "context_switches",
    "gc_num",
    "gc_bytes_reclaimed",
];
/// What nothing here counts: a figure of Erlang's processes.
const UNCOUNTED_KEYS: [&str; 1] = ["reductions"];
/// What is sampled of connections.
const CONNECTION_KEYS: [&str; 2] = ["recv_oct", "send_oct"];

/// Something that is sampled while somebody looks at it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Subject {
    Queue(QueueRef),
    Connection(ConnectionId),
    Channel(ConnectionId, ChannelNumber),
    /// By vhost and name.
    Exchange(Name, Name),
    /// What an exchange gave to a queue.
    Leg(Leg),
    /// What a channel published to an exchange.
    Publishes(ConnectionId, ChannelNumber, Name),
    /// What a channel was sent from a queue.
    Deliveries(ConnectionId, ChannelNumber, Name),
    Vhost(Name),
}

impl Subject {
    fn keys(&self) -> &'static [&'static str] {
        match self {
            Self::Queue(_) => &QUEUE_KEYS,
            Self::Vhost(_) => &VHOST_KEYS,
            Self::Connection(_) => &CONNECTION_KEYS,
            Self::Channel(..) => &CHANNEL_KEYS,
            Self::Exchange(..) => &EXCHANGE_KEYS,
            Self::Leg(_) => &LEG_KEYS,
            Self::Publishes(..) => &CHANNEL_KEYS[..PUBLISH_KEYS],
            Self::Deliveries(..) => &CHANNEL_KEYS[PUBLISH_KEYS..],
        }
    }
}

/// Values at times.
#[derive(Clone, Debug)]
pub(crate) struct Series {
    keys: &'static [&'static str],
    tiers: Vec<Tier>,
    /// Since when the values are what they are now, in milliseconds since 1970.
    since_ms: u64,
}

#[derive(Clone, Debug)]
struct Tier {
    step_s: u64,
    max: usize,
    samples: Samples,
}

/// Samples, oldest first: of each one when it was taken, in milliseconds since 1970, and what was there. They are in one piece, as
/// there are very many of them.
#[derive(Clone, Debug)]
struct Samples {
    numbers: VecDeque<u64>,
    /// Numbers of one sample.
    width: usize,
}

impl Samples {
    /// Of so many values each.
    fn new(values: usize) -> Self {
        Self {
            numbers: VecDeque::new(),
            width: values + 1,
        }
    }

    fn len(&self) -> usize {
        self.numbers.len() / self.width
    }

    fn push(&mut self, at_ms: u64, values: &[u64]) {
        self.numbers.push_back(at_ms);
        self.numbers.extend(values);
    }

    fn drop_first(&mut self) {
        self.numbers.drain(..self.width);
    }

    /// The place of the newest.
    fn last(&self) -> Option<usize> {
        self.len().checked_sub(1)
    }

    fn at_ms(&self, place: usize) -> u64 {
        self.numbers[place * self.width]
    }

    fn value(&self, place: usize, index: usize) -> u64 {
        self.numbers[place * self.width + 1 + index]
    }

    fn has(&self, place: usize, values: &[u64]) -> bool {
        let first = place * self.width + 1;
        self.numbers.range(first..first + self.width - 1).eq(values)
    }

    /// The place of the newest that is no newer than this.
    fn until(&self, at_ms: u64) -> Option<usize> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = usize::midpoint(low, high);
            if self.at_ms(middle) <= at_ms {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low.checked_sub(1)
    }

    /// How fast a value changed between the last two, a second.
    #[expect(
        clippy::cast_precision_loss,
        reason = "rates are shown, not reckoned with"
    )]
    fn rate(&self, index: usize) -> f64 {
        let last = self.last().unwrap_or_default();
        let Some(before) = last.checked_sub(1) else {
            return 0.0;
        };
        let seconds = self.at_ms(last).saturating_sub(self.at_ms(before)) as f64 / 1000.0;
        if seconds > 0.0 {
            (self.value(last, index) as f64 - self.value(before, index) as f64) / seconds
        } else {
            0.0
        }
    }

    /// Adds what others had at the same times.
    fn add(&mut self, other: &Self) {
        for place in 0..self.len() {
            let at_ms = self.at_ms(place);
            let same = other.until(at_ms);
            let Some(same) = same.filter(|same| other.at_ms(*same) == at_ms) else {
                continue;
            };
            for number in 1..self.width {
                self.numbers[place * self.width + number] += other.value(same, number - 1);
            }
        }
    }
}

#[derive(Debug)]
struct LookedAt {
    last: Instant,
    series: Series,
}

/// What was sampled.
#[derive(Debug)]
pub(crate) struct Statistics {
    settings: StatisticsSettings,
    totals: Mutex<Series>,
    measured: Mutex<Series>,
    looked_at: Mutex<HashMap<Subject, LookedAt>>,
}

impl Statistics {
    /// Nothing so far.
    pub(crate) fn new(settings: &StatisticsSettings) -> Self {
        Self {
            totals: Mutex::new(Series::new(&NODE_KEYS, &settings.retention.global)),
            measured: Mutex::new(Series::new(&MEASURED_KEYS, &settings.retention.global)),
            looked_at: Mutex::default(),
            settings: settings.clone(),
        }
    }

    /// The node's totals.
    pub(crate) fn totals(&self) -> Series {
        self.totals.lock().clone()
    }

    /// What the node had.
    pub(crate) fn measured(&self) -> Series {
        self.measured.lock().clone()
    }

    /// What is known of something whose details are shown; from now on it is sampled.
    pub(crate) fn look_at(&self, subject: Subject) -> Option<Series> {
        let policies = &self.settings.retention;
        let policy = match &subject {
            Subject::Queue(_)
            | Subject::Vhost(_)
            | Subject::Connection(_)
            | Subject::Channel(..) => &policies.basic,
            Subject::Exchange(..)
            | Subject::Leg(_)
            | Subject::Publishes(..)
            | Subject::Deliveries(..) => &policies.detailed,
        };
        self.look(subject, policy, LOOKED_AT_MAX)
    }

    /// What is known of something that is shown in a list; from now on its rates are.
    pub(crate) fn glance_at(&self, subject: Subject) -> Option<Series> {
        let step_s = self.settings.interval.as_secs().max(1);
        let age_s = step_s * (LATEST - 1);
        self.look(subject, &[RetentionTier { age_s, step_s }], GLANCED_AT_MAX)
    }

    fn look(&self, subject: Subject, policy: &[RetentionTier], max: usize) -> Option<Series> {
        let mut looked_at = self.looked_at.lock();
        let last = Instant::now();
        let mut known_series = None;
        if let Some(known) = looked_at.get_mut(&subject) {
            known.last = last;
            if known.series.keeps(policy) {
                return Some(known.series.clone());
            }
            known_series = Some(known.series.clone());
        }
        if looked_at.len() < max {
            let mut series = Series::new(subject.keys(), policy);
            if let Some(known) = &known_series {
                series.tiers[0].samples.clone_from(&known.tiers[0].samples);
            }
            looked_at.insert(subject, LookedAt { last, series });
        }
        known_series
    }

    /// Forgets all samples.
    pub(crate) fn reset(&self) {
        *self.totals.lock() = Series::new(&NODE_KEYS, &self.settings.retention.global);
        *self.measured.lock() = Series::new(&MEASURED_KEYS, &self.settings.retention.global);
        self.looked_at.lock().clear();
    }

    fn forget_old(&self) -> Wanted {
        let mut looked_at = self.looked_at.lock();
        looked_at.retain(|_, known| known.last.elapsed() < FORGET_AFTER);
        let mut wanted = Wanted::default();
        for subject in looked_at.keys() {
            match subject {
                Subject::Queue(queue) => wanted.queues.push(*queue),
                Subject::Connection(_) | Subject::Channel(..) => wanted.connections = true,
                Subject::Publishes(..) | Subject::Deliveries(..) => {
                    wanted.connections = true;
                    wanted.neighbours = true;
                }
                Subject::Leg(_) => wanted.legs = true,
                Subject::Exchange(..) => wanted.exchanges = true,
                Subject::Vhost(vhost) => wanted.vhosts.push(vhost.clone()),
            }
        }
        wanted
    }

    /// Bytes that samples take.
    pub(crate) fn memory_bytes(&self) -> u64 {
        let looked_at = self.looked_at.lock();
        let own = looked_at.values().map(|known| known.series.memory_bytes());
        self.totals.lock().memory_bytes() + own.sum::<u64>()
    }

    fn record_neighbours(&self, connection: ConnectionId, channel: &ChannelDetails, at_ms: u64) {
        for (exchange, counts) in &channel.publishes {
            let values = channel_values(counts, &DeliveryCounts::default());
            let subject = Subject::Publishes(connection, channel.number, exchange.clone());
            self.record(&subject, at_ms, &values[..PUBLISH_KEYS]);
        }
        for (queue, counts) in &channel.deliveries {
            let values = channel_values(&PublishCounts::default(), counts);
            let subject = Subject::Deliveries(connection, channel.number, queue.clone());
            self.record(&subject, at_ms, &values[PUBLISH_KEYS..]);
        }
    }

    fn record(&self, subject: &Subject, at_ms: u64, values: &[u64]) {
        if let Some(known) = self.looked_at.lock().get_mut(subject) {
            known.series.push(at_ms, values);
        }
    }
}

/// Whose figures the next samples need.
#[derive(Debug, Default)]
struct Wanted {
    queues: Vec<QueueRef>,
    vhosts: Vec<Name>,
    connections: bool,
    /// And what channels had to do with exchanges and queues.
    neighbours: bool,
    exchanges: bool,
    legs: bool,
}

impl Series {
    /// Keeps what a policy says, which has at least one tier.
    fn new(keys: &'static [&'static str], policy: &[RetentionTier]) -> Self {
        let tiers = policy.iter().map(|tier| Tier {
            step_s: tier.step_s,
            max: samples_of(tier),
            samples: Samples::new(keys.len()),
        });
        Self {
            keys,
            tiers: tiers.collect(),
            since_ms: 0,
        }
    }

    /// Whether it keeps no less than a policy says.
    fn keeps(&self, policy: &[RetentionTier]) -> bool {
        self.tiers.len() >= policy.len()
            && (self.tiers.iter().zip(policy)).all(|(own, tier)| own.max >= samples_of(tier))
    }

    fn memory_bytes(&self) -> u64 {
        let numbers = self.tiers.iter().map(|tier| tier.samples.numbers.len());
        (numbers.sum::<usize>() * size_of::<u64>()) as u64
    }

    fn push(&mut self, at_ms: u64, values: &[u64]) {
        if !self.is_at(values) {
            self.since_ms = at_ms;
        }
        for Tier {
            step_s,
            max,
            samples,
        } in &mut self.tiers
        {
            let step_ms = *step_s * 1000;
            let last = samples.last().map(|last| samples.at_ms(last));
            if last.is_some_and(|last| last / step_ms >= at_ms / step_ms) {
                continue;
            }
            if samples.len() == *max {
                samples.drop_first();
            }
            samples.push(at_ms, values);
        }
    }

    /// Whether the last sample has these values.
    fn is_at(&self, values: &[u64]) -> bool {
        let samples = &self.tiers[0].samples;
        samples.last().is_some_and(|last| samples.has(last, values))
    }

    fn index(&self, key: &str) -> Option<usize> {
        self.keys.iter().position(|own| *own == key)
    }

    /// The rate of a key.
    pub(crate) fn rate_of(&self, key: &str) -> f64 {
        self.index(key).map_or(0.0, |index| self.rate(index))
    }

    /// Adds what something else had at the same times.
    pub(crate) fn add(&mut self, other: &Self) {
        for (own, other) in self.tiers.iter_mut().zip(&other.tiers) {
            own.samples.add(&other.samples);
        }
    }

    /// Since when nothing has happened, if nothing has happened for a while; as RabbitMQ writes times.
    fn idle_since(&self, values: &[u64]) -> Option<String> {
        let samples = &self.tiers[0].samples;
        let at_ms = samples.at_ms(samples.last()?);
        (self.since_ms < at_ms && self.is_at(values)).then(|| shown_time(self.since_ms))
    }

    /// How fast a value changed between the last two samples, a second.
    fn rate(&self, index: usize) -> f64 {
        self.tiers[0].samples.rate(index)
    }

    /// The finest tier that goes back far enough.
    fn tier(&self, age_s: u64) -> &Tier {
        self.tiers
            .iter()
            .find(|tier| tier.step_s * (tier.max as u64 - 1) >= age_s)
            .or_else(|| self.tiers.last())
            .expect("there is at least one tier")
    }
}

/// Samples that a tier keeps: both ends of its age.
fn samples_of(tier: &RetentionTier) -> usize {
    usize::try_from(tier.age_s.div_ceil(tier.step_s))
        .map_or(usize::MAX, |count| count.saturating_add(1))
}

/// Which samples a request asks for.
#[derive(Clone, Copy, Debug)]
struct Range {
    age_s: u64,
    step_s: u64,
}

/// How a request wants values to be shown that change.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Details {
    rates: Option<Range>,
    data: Option<Range>,
    lengths: Option<Range>,
    node: Option<Range>,
    now_ms: u64,
    /// What happens to messages is shown.
    messages: bool,
}

/// What kind of value it is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// Messages that did something.
    Rate,
    /// Bytes.
    Data,
    /// Messages that are somewhere.
    Length,
    /// What a node has.
    Node,
}

impl Details {
    /// What a request asks for.
    ///
    /// # Errors
    /// A range that makes no sense.
    pub(crate) fn new(call: &Call) -> Result<Self, ApiError> {
        let settings = &call.state.node.settings().statistics;
        Ok(Self {
            messages: settings.shows_messages(),
            ..Self::of(&call.query)?
        })
    }

    fn of(query: &Query) -> Result<Self, ApiError> {
        Ok(Self {
            rates: range(query, "msg_rates")?,
            data: range(query, "data_rates")?,
            lengths: range(query, "lengths")?,
            node: range(query, "node_stats")?,
            now_ms: now_ms(),
            messages: true,
        })
    }

    /// Adds a value that changes, and how it does.
    pub(crate) fn push(
        &self,
        item: &mut Object,
        kind: Kind,
        key: &'static str,
        value: u64,
        series: Option<&Series>,
    ) {
        item.push(key, value);
        item.push(format!("{key}_details"), self.details(kind, key, series));
    }

    /// Adds what is not counted here and is looked for even so: 0 at all times.
    pub(crate) fn push_uncounted(&self, item: &mut Object, kind: Kind, key: &'static str) {
        let now = RetentionTier {
            age_s: 0,
            step_s: 1,
        };
        let never = Series::new(&UNCOUNTED_KEYS, &[now]);
        self.push(item, kind, key, 0, Some(&never));
    }

    fn details(&self, kind: Kind, key: &str, series: Option<&Series>) -> Object {
        let known = series.and_then(|series| Some((series, series.index(key)?)));
        let rate = known.map_or(0.0, |(series, index)| series.rate(index));
        let range = match kind {
            Kind::Rate => self.rates,
            Kind::Data => self.data,
            Kind::Length => self.lengths,
            Kind::Node => self.node,
        };
        let (Some(range), Some((series, index))) = (range, known) else {
            return object! { "rate" => rate };
        };
        let samples = self.samples(range, series, index);
        let (newest, oldest) = (samples.first(), samples.last());
        let sum: u64 = samples.iter().map(|(value, _)| value).sum();
        #[expect(
            clippy::cast_precision_loss,
            reason = "averages are shown, not reckoned with"
        )]
        let (avg, avg_rate) = match (newest, oldest) {
            (Some(newest), Some(oldest)) if newest.1 > oldest.1 => (
                sum as f64 / samples.len() as f64,
                (newest.0 as f64 - oldest.0 as f64) * 1000.0 / (newest.1 - oldest.1) as f64,
            ),
            _ => (sum as f64, 0.0),
        };
        let shown: Vec<Object> = samples
            .iter()
            .map(|(value, at_ms)| object! { "sample" => *value, "timestamp" => *at_ms })
            .collect();
        object! { "avg" => avg, "avg_rate" => avg_rate, "rate" => rate, "samples" => shown }
    }

    /// Values at even times, newest first.
    fn samples(&self, range: Range, series: &Series, index: usize) -> Vec<(u64, u64)> {
        let step_ms = range.step_s * 1000;
        let newest = self.now_ms / step_ms * step_ms;
        let count = (range.age_s / range.step_s + 1).min(SAMPLES_MAX);
        let tier = series.tier(range.age_s);
        (0..count)
            .map_while(|back| newest.checked_sub(back * step_ms))
            .map(|at_ms| {
                let sample = tier.samples.until(at_ms);
                let value = sample.map_or(0, |sample| tier.samples.value(sample, index));
                (value, at_ms)
            })
            .collect()
    }
}

fn range(query: &Query, name: &str) -> Result<Option<Range>, ApiError> {
    let read = |part: &str| query.get(&format!("{name}_{part}"))?.parse::<i64>().ok();
    let (Some(age), Some(step)) = (read("age"), read("incr")) else {
        return Ok(None);
    };
    match (u64::try_from(age), u64::try_from(step)) {
        (Ok(age_s), Ok(step_s)) if step_s > 0 && step_s < u64::from(u32::MAX) => {
            Ok(Some(Range { age_s, step_s }))
        }
        _ => Err(ApiError::Invalid(
            "invalid_range_parameters",
            format!("Invalid range parameters: age {age}, incr {step}"),
        )),
    }
}

/// Messages somewhere, and what happened to messages there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) ready: u64,
    pub(crate) unacked: u64,
    /// Those that wait to be tried again.
    pub(crate) delayed: u64,
    pub(crate) consumers: u64,
    pub(crate) counters: Counters,
}

impl Totals {
    /// Those of one queue.
    pub(crate) fn of(figures: &QueueFigures) -> Self {
        Self {
            ready: figures.ready,
            unacked: figures.unacked,
            delayed: figures.delayed,
            consumers: figures.consumers.into(),
            counters: figures.counters,
        }
    }

    /// All that is in the queues.
    pub(crate) fn messages(&self) -> u64 {
        self.ready + self.unacked + self.delayed
    }

    /// Adds others.
    pub(crate) fn add(&mut self, other: &Self) {
        self.ready += other.ready;
        self.unacked += other.unacked;
        self.delayed += other.delayed;
        self.consumers += other.consumers;
        self.counters.add(&other.counters);
    }

    /// Takes away what was added before.
    pub(crate) fn subtract(&mut self, other: &Self) {
        self.ready -= other.ready;
        self.unacked -= other.unacked;
        self.delayed -= other.delayed;
        self.consumers -= other.consumers;
        self.counters.subtract(&other.counters);
    }

    /// A value by its key, if it has one: `messages`, `message_stats.ack` and the like.
    pub(crate) fn key(path: &str) -> Option<&'static str> {
        let place = |key: &str| QUEUE_KEYS.iter().position(|own| *own == key);
        let place = match path.strip_prefix("message_stats.") {
            Some(key) => place(key).filter(|place| *place >= LENGTHS)?,
            None => place(path).filter(|place| *place < LENGTHS)?,
        };
        Some(QUEUE_KEYS[place])
    }

    /// The value of a key that [`Totals::key`] gave.
    pub(crate) fn value(&self, key: &'static str) -> u64 {
        let place = QUEUE_KEYS.iter().position(|own| *own == key);
        place.map_or(0, |place| self.values()[place])
    }

    fn values(&self) -> [u64; QUEUE_KEYS.len()] {
        let counters = &self.counters;
        let deliveries = deliveries(counters);
        [
            self.messages(),
            self.ready,
            self.unacked,
            counters.published,
            deliveries.delivered,
            deliveries.delivered_no_ack,
            deliveries.got,
            deliveries.got_no_ack,
            counters.delivered + counters.fetched,
            counters.redelivered,
            counters.acked,
            counters.empty_gets,
        ]
    }

    /// Lengths with their details.
    pub(crate) fn lengths(&self, details: &Details, series: Option<&Series>) -> Object {
        let mut item = Object::default();
        for (key, value) in QUEUE_KEYS.into_iter().zip(self.values()).take(LENGTHS) {
            details.push(&mut item, Kind::Length, key, value, series);
        }
        item
    }

    /// What happened, with details; empty if nothing did.
    pub(crate) fn message_stats(&self, details: &Details, series: Option<&Series>) -> Object {
        stats(
            details,
            &QUEUE_KEYS[LENGTHS..],
            &self.values()[LENGTHS..],
            series,
        )
    }

    /// Since when nothing has happened in a queue.
    pub(crate) fn idle_since(&self, series: Option<&Series>) -> Option<String> {
        series?.idle_since(&self.values())
    }
}

/// Messages in a vhost, what happened to messages there, and bytes on its connections.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct VhostTotals {
    /// Of its queues.
    pub(crate) queues: Totals,
    published: PublishCounts,
    bytes: ByteCounts,
}

impl VhostTotals {
    /// Adds those of another vhost.
    pub(crate) fn add(&mut self, other: &Self) {
        self.queues.add(&other.queues);
        self.published.add(&other.published);
        self.bytes.add(&other.bytes);
    }

    fn values(&self) -> [u64; VHOST_KEYS.len()] {
        let mut values = [0; VHOST_KEYS.len()];
        let of_messages = channel_values(&self.published, &deliveries(&self.queues.counters));
        values[..LENGTHS].copy_from_slice(&self.queues.values()[..LENGTHS]);
        values[LENGTHS..OF_CLIENTS].copy_from_slice(&of_messages);
        values[OF_CLIENTS..].copy_from_slice(&[self.bytes.received, self.bytes.sent]);
        values
    }

    /// What happened to messages, with details; empty if nothing did.
    pub(crate) fn message_stats(&self, details: &Details, series: Option<&Series>) -> Object {
        let of_messages = LENGTHS..OF_CLIENTS;
        let values = self.values();
        stats(
            details,
            &VHOST_KEYS[of_messages.clone()],
            &values[of_messages],
            series,
        )
    }

    /// All of it, as a vhost shows it.
    pub(crate) fn item(&self, details: &Details, series: Option<&Series>) -> Object {
        let mut item = self.queues.lengths(details, series);
        for (key, value) in [
            ("recv_oct", self.bytes.received),
            ("send_oct", self.bytes.sent),
        ] {
            details.push(&mut item, Kind::Data, key, value, series);
        }
        let stats = self.message_stats(details, series);
        if !stats.is_empty() {
            item.push("message_stats", stats);
        }
        item
    }
}

/// The totals of these vhosts, in their order.
pub(crate) async fn of_vhosts(state: &Arc<State>, vhosts: &[Name]) -> Vec<VhostTotals> {
    let published = state.node.vhost_traffic();
    let bytes = state.node.vhost_bytes().await;
    let queues = Queues::current(state).await;
    let of = |vhost: &Name| VhostTotals {
        queues: queues.totals_of(vhost),
        published: published.get(vhost).copied().unwrap_or_default(),
        bytes: bytes.get(vhost).copied().unwrap_or_default(),
    };
    vhosts.iter().map(of).collect()
}

/// What consumers and those who fetch got of a queue.
pub(crate) fn deliveries(counters: &Counters) -> DeliveryCounts {
    let delivered_no_ack = counters.auto_acked.saturating_sub(counters.auto_fetched);
    DeliveryCounts {
        delivered: counters.delivered.saturating_sub(delivered_no_ack),
        delivered_no_ack,
        got: counters.fetched.saturating_sub(counters.auto_fetched),
        got_no_ack: counters.auto_fetched,
        got_nothing: counters.empty_gets,
        redelivered: counters.redelivered,
        acked: counters.acked,
    }
}

/// Counts with their details; empty if all are 0.
fn stats(
    details: &Details,
    keys: &[&'static str],
    values: &[u64],
    series: Option<&Series>,
) -> Object {
    let mut item = Object::default();
    if details.messages && values.iter().any(|value| *value > 0) {
        for (key, value) in keys.iter().zip(values) {
            details.push(&mut item, Kind::Rate, key, *value, series);
        }
    }
    item
}

fn channel_values(
    published: &PublishCounts,
    delivered: &DeliveryCounts,
) -> [u64; CHANNEL_KEYS.len()] {
    let deliver_get =
        delivered.delivered + delivered.delivered_no_ack + delivered.got + delivered.got_no_ack;
    [
        published.published,
        published.confirmed,
        published.returned,
        published.dropped,
        delivered.delivered,
        delivered.delivered_no_ack,
        delivered.got,
        delivered.got_no_ack,
        delivered.got_nothing,
        delivered.redelivered,
        delivered.acked,
        deliver_get,
    ]
}

/// What a channel did, with details; empty if it did nothing.
pub(crate) fn channel_stats(
    channel: &ChannelDetails,
    details: &Details,
    series: Option<&Series>,
) -> Object {
    let values = channel_values(&channel.published, &channel.delivered);
    stats(details, &CHANNEL_KEYS, &values, series)
}

/// What a channel published to an exchange, with details.
pub(crate) fn publish_stats(
    counts: &PublishCounts,
    details: &Details,
    series: Option<&Series>,
) -> Object {
    let values = channel_values(counts, &DeliveryCounts::default());
    stats(
        details,
        &CHANNEL_KEYS[..PUBLISH_KEYS],
        &values[..PUBLISH_KEYS],
        series,
    )
}

/// What a channel was sent from a queue, with details.
pub(crate) fn delivery_stats(
    counts: &DeliveryCounts,
    details: &Details,
    series: Option<&Series>,
) -> Object {
    let values = channel_values(&PublishCounts::default(), counts);
    stats(
        details,
        &CHANNEL_KEYS[PUBLISH_KEYS..],
        &values[PUBLISH_KEYS..],
        series,
    )
}

/// What an exchange gave to a queue, with details.
pub(crate) fn leg_stats(count: u64, details: &Details, series: Option<&Series>) -> Object {
    stats(details, &LEG_KEYS, &[count], series)
}

/// Since when a channel has done nothing.
pub(crate) fn channel_idle_since(
    channel: &ChannelDetails,
    series: Option<&Series>,
) -> Option<String> {
    series?.idle_since(&channel_values(&channel.published, &channel.delivered))
}

/// What went through an exchange, with details; empty if nothing did.
pub(crate) fn exchange_stats(
    counts: &PublishCounts,
    details: &Details,
    series: Option<&Series>,
) -> Object {
    let values = [counts.published, counts.routed];
    stats(details, &EXCHANGE_KEYS, &values, series)
}

/// Totals of the node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NodeTotals {
    /// Of its queues, with what happened in queues that are gone.
    pub(crate) queues: Totals,
    traffic: TrafficTotals,
    log: LogMessages,
    churn: Churn,
    queue_churn: (u64, u64),
}

impl NodeTotals {
    /// With what is in queues now.
    pub(crate) fn new(state: &State, directory: &Directory) -> Self {
        let mut queues = directory.totals();
        if let Some(filter) = &state.node.settings().statistics.filter {
            // Their lengths are no part of the totals (`management_agent.filter_aggregated_queue_metrics_pattern`).
            let left_out = directory.sum_of(|name| filter.matches(name));
            queues.ready -= left_out.ready;
            queues.unacked -= left_out.unacked;
            queues.delayed -= left_out.delayed;
        }
        for queue_type in [QueueType::Classic, QueueType::Quorum] {
            let retired = state.node.retired_counters(queue_type);
            queues.counters.add(&retired);
        }
        Self {
            queues,
            traffic: state.node.traffic(),
            log: state.node.log_messages(),
            churn: state.node.churn(),
            queue_churn: state.node.queue_churn(),
        }
    }

    fn values(&self) -> [u64; NODE_KEYS.len()] {
        let Self {
            queues,
            traffic,
            log,
            churn,
            queue_churn,
        } = self;
        let published = PublishCounts {
            published: traffic.received,
            routed: traffic.routed,
            confirmed: traffic.confirmed,
            dropped: traffic.dropped,
            returned: traffic.returned,
        };
        let of_messages = channel_values(&published, &deliveries(&queues.counters));
        let mut values = [0; NODE_KEYS.len()];
        values[..LENGTHS].copy_from_slice(&queues.values()[..LENGTHS]);
        values[LENGTHS..OF_CLIENTS].copy_from_slice(&of_messages);
        values[OF_CLIENTS..OF_MESSAGES].copy_from_slice(&[log.read, log.written]);
        values[OF_MESSAGES..].copy_from_slice(&[
            churn.connections_opened,
            churn.connections_closed,
            churn.channels_opened,
            churn.channels_closed,
            traffic.queues_declared,
            queue_churn.0,
            queue_churn.1,
        ]);
        values
    }

    /// What happened to messages, with details.
    pub(crate) fn message_stats(&self, details: &Details, series: Option<&Series>) -> Object {
        let of_clients = LENGTHS..OF_CLIENTS;
        let values = self.values();
        let mut item = stats(
            details,
            &NODE_KEYS[of_clients.clone()],
            &values[of_clients],
            series,
        );
        // Compat: what the log did is there even if nothing happened.
        let of_log = NODE_KEYS.into_iter().zip(values).take(OF_MESSAGES);
        for (key, value) in of_log.skip(OF_CLIENTS).filter(|_| details.messages) {
            details.push(&mut item, Kind::Rate, key, value, series);
        }
        item
    }

    /// What came and went.
    pub(crate) fn churn(&self, details: &Details, series: Option<&Series>) -> Object {
        let mut item = Object::default();
        for (key, value) in NODE_KEYS.into_iter().zip(self.values()).skip(OF_MESSAGES) {
            details.push(&mut item, Kind::Rate, key, value, series);
        }
        item
    }
}

/// Samples until the task is dropped; not at all where nobody is to see it.
pub(crate) async fn sample(state: Arc<State>) {
    let settings = &state.node.settings().statistics;
    if settings.disabled {
        return;
    }
    let mut ticks = tokio::time::interval(settings.interval);
    loop {
        ticks.tick().await;
        let statistics = &state.statistics;
        let wanted = statistics.forget_old();
        state.queues.ask(&state.node, Instant::now()).await;
        let at_ms = now_ms();
        {
            let queues = state.queues.named(&state.node);
            let totals = NodeTotals::new(&state, &queues);
            statistics.totals.lock().push(at_ms, &totals.values());
            let measured = measured(&state).map(|(_, value)| value);
            statistics.measured.lock().push(at_ms, &measured);
            for queue in wanted.queues {
                let totals = queues.figures(queue.id).map(Totals::of);
                let values = totals.unwrap_or_default().values();
                statistics.record(&Subject::Queue(queue), at_ms, &values);
            }
        }
        if !wanted.vhosts.is_empty() {
            let totals = of_vhosts(&state, &wanted.vhosts).await;
            for (vhost, totals) in wanted.vhosts.into_iter().zip(totals) {
                statistics.record(&Subject::Vhost(vhost), at_ms, &totals.values());
            }
        }
        if wanted.connections {
            for ConnectionFigures { details, channels } in state.node.connections().await {
                let values = [details.received_bytes, details.sent_bytes];
                statistics.record(&Subject::Connection(details.id), at_ms, &values);
                for channel in channels {
                    let values = channel_values(&channel.published, &channel.delivered);
                    let subject = Subject::Channel(details.id, channel.number);
                    statistics.record(&subject, at_ms, &values);
                    if wanted.neighbours {
                        statistics.record_neighbours(details.id, &channel, at_ms);
                    }
                }
            }
        }
        if wanted.legs {
            for (leg, count) in state.node.leg_traffic() {
                statistics.record(&Subject::Leg(leg), at_ms, &[count]);
            }
        }
        // Asking also forgets exchanges that are gone.
        let exchanges = state.node.exchange_traffic();
        if wanted.exchanges {
            for ((vhost, exchange), counts) in exchanges {
                let values = [counts.published, counts.routed];
                statistics.record(&Subject::Exchange(vhost, exchange), at_ms, &values);
            }
        }
    }
}

/// What the node has now.
pub(crate) fn measured(state: &State) -> [(&'static str, u64); MEASURED_KEYS.len()] {
    let resources = state.node.resources();
    let process = ProcessFigures::now();
    let values = [
        resources.memory_used_bytes,
        process.open_files,
        state.node.connection_count(),
        process.threads,
        resources.disk_free_bytes,
        process.context_switches,
        0,
        0,
    ];
    let mut measured = MEASURED_KEYS.map(|key| (key, 0));
    for (place, value) in measured.iter_mut().zip(values) {
        place.1 = value;
    }
    measured
}

/// A time as RabbitMQ writes it: `2026-11-23T10:49:28.237+00:00`.
fn shown_time(at_ms: u64) -> String {
    // Days from the first of March of the year 0, so that leap days come last (Howard Hinnant's civil_from_days).
    let (days, of_day) = (at_ms / 86_400_000 + 719_468, at_ms % 86_400_000);
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, year) = match month {
        0..=9 => (month + 3, year + era * 400),
        _ => (month - 9, year + era * 400 + 1),
    };
    let (seconds, ms) = (of_day / 1000, of_day % 1000);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}+00:00")
}

/// Wall clock in milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::Json;

    const TIER: RetentionTier = RetentionTier {
        age_s: 600,
        step_s: 5,
    };

    fn series() -> Series {
        let mut series = Series::new(&CONNECTION_KEYS, &[TIER]);
        for step in 0..4_u64 {
            series.push(step * 5_000, &[step * 100, step * step]);
        }
        series
    }

    #[test]
    fn a_rate_is_the_change_between_the_last_two_samples() {
        let series = series();
        assert_eq!(series.rate(0), 20.0);
        assert_eq!(series.rate(1), 1.0);
    }

    #[test]
    fn samples_are_taken_at_even_times_from_what_was_before() {
        let details = Details {
            rates: None,
            data: Some(Range {
                age_s: 10,
                step_s: 5,
            }),
            lengths: None,
            node: None,
            now_ms: 16_000,
            messages: true,
        };
        let shown = details.details(Kind::Data, "recv_oct", Some(&series()));
        let shown = serde_json::to_string(&Json::from(shown)).unwrap();
        assert_eq!(
            shown,
            r#"{"avg":200.0,"avg_rate":20.0,"rate":20.0,"samples":[{"sample":300,"timestamp":15000},{"sample":200,"timestamp":10000},{"sample":100,"timestamp":5000}]}"#
        );
    }

    #[test]
    fn what_does_not_change_is_idle_since_its_last_change() {
        let mut series = series();
        assert_eq!(series.idle_since(&[300, 9]), None);
        series.push(20_000, &[300, 9]);
        let since = "1970-01-01T00:00:15.000+00:00";
        assert_eq!(series.idle_since(&[300, 9]).as_deref(), Some(since));
        assert_eq!(series.idle_since(&[301, 9]), None);
    }

    #[test]
    fn series_add_up() {
        let mut sum = series();
        let mut younger = Series::new(&CONNECTION_KEYS, &[TIER]);
        younger.push(15_000, &[1, 2]);
        sum.add(&younger);
        let samples = &sum.tiers[0].samples;
        assert_eq!(samples.last(), Some(3));
        assert!(samples.has(3, &[301, 11]));
        assert!(samples.has(2, &[200, 4]));
    }

    #[test]
    fn no_more_samples_are_kept_than_the_policy_says() {
        let mut series = Series::new(
            &CONNECTION_KEYS,
            &[RetentionTier {
                age_s: 10,
                step_s: 5,
            }],
        );
        for step in 0..100_u64 {
            // The second one of a step is not kept.
            series.push(step * 5_000, &[step, 0]);
            series.push(step * 5_000 + 2_500, &[1_000, 0]);
        }
        let samples = &series.tiers[0].samples;
        let kept = (0..samples.len()).map(|place| (samples.at_ms(place), samples.value(place, 0)));
        let kept: Vec<_> = kept.collect();
        assert_eq!(kept, [(485_000, 97), (490_000, 98), (495_000, 99)]);
        assert_eq!(samples.until(484_999), None);
        assert_eq!(samples.until(490_000), Some(1));
        assert_eq!(samples.until(u64::MAX), Some(2));
    }

    #[test]
    fn times_are_written_as_rabbitmq_does() {
        for (at_ms, shown) in [
            (951_782_400_000, "2000-02-29T00:00:00.000+00:00"),
            (1_795_430_968_237, "2026-11-23T10:49:28.237+00:00"),
            (1_798_761_599_999, "2026-12-31T23:59:59.999+00:00"),
        ] {
            assert_eq!(shown_time(at_ms), shown);
        }
    }

    #[test]
    fn ranges_without_sense_are_refused() {
        let of = |query: &str| Details::of(&Query::parse(query)).map(|details| details.lengths);
        assert!(of("lengths_age=60&lengths_incr=5").unwrap().is_some());
        assert!(of("lengths_age=x&lengths_incr=5").unwrap().is_none());
        for query in ["age=60&lengths_incr=0", "age=-1&lengths_incr=5"] {
            assert!(of(&format!("lengths_{query}")).is_err(), "{query}");
        }
        let far = "lengths_age=9223372036854775807&lengths_incr=1";
        let details = Details::of(&Query::parse(far)).unwrap();
        let shown = details.samples(details.lengths.unwrap(), &series(), 0);
        assert_eq!(shown.len() as u64, SAMPLES_MAX);
    }
}
