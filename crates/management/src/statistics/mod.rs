//! Rates and samples.
//!
//! Counters live where things happen (queues, connections); here is what they were a while ago. Totals of the node are sampled
//! always, single objects only while somebody looks at them, so that statistics cost nothing that nobody wants.
//!
//! How dense samples are and how long they are kept, the settings say ([`StatisticsSettings`]).
//!
//! Limits: [`LOOKED_AT_MAX`] objects with the samples of their policy and [`GLANCED_AT_MAX`] of lists with [`LATEST`], forgotten
//! [`FORGET_AFTER`] after the last look.

mod clients;
mod details;
mod keys;
mod series;
mod totals;

pub(crate) use clients::{
    channel_idle_since, channel_stats, deliveries, delivery_stats, exchange_stats, leg_stats,
    publish_stats,
};
pub(crate) use details::{Details, Kind};
pub(crate) use series::Series;
pub(crate) use totals::{NodeTotals, Totals, VhostTotals, measured, of_vhosts};

use crate::directory::Queues;
use crate::state::State;
use base::{ChannelNumber, ConnectionId, Name, QueueRef};
use clients::channel_values;
use keys::*;
use node::config::{RetentionTier, StatisticsSettings};
use node::{ChannelDetails, ConnectionFigures, DeliveryCounts, Leg, PublishCounts};
use parking_lot::Mutex;
use std::collections::HashMap;
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
        Queues::refresh(&state, Instant::now()).await;
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

/// Wall clock in milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
