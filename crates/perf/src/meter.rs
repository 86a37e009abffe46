//! Counters and latencies: written by one worker thread each, read by the reporting thread.
//!
//! Counters are single-writer atomics, updated once for a batch; histograms stand behind a lock that is taken once a
//! batch and contended once a second.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use hdrhistogram::Histogram;
use serde::Serialize;

/// Longest latency told apart from longer ones: an hour.
const LATENCY_MAX_NS: u64 = 3_600_000_000_000;

/// A counter that only one thread adds to.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// Adds `count`. Only the owning thread may call this: a plain load and store is several times cheaper than a
    /// locked addition.
    #[inline]
    pub(crate) fn add(&self, count: u64) {
        let sum = self.0.load(Ordering::Relaxed) + count;
        self.0.store(sum, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What one worker thread measures.
#[derive(Debug)]
pub(crate) struct Meter {
    /// Messages handed to the socket's buffer.
    pub(crate) sent: Counter,
    /// Messages delivered to consumers.
    pub(crate) received: Counter,
    /// Messages the broker confirmed.
    pub(crate) confirmed: Counter,
    /// Messages the broker refused with `basic.nack`.
    pub(crate) nacked: Counter,
    /// Mandatory messages that came back.
    pub(crate) returned: Counter,
    /// Completed open-close rounds of the churn modes.
    pub(crate) churned: Counter,
    /// Latencies since the last [`Meter::take_latencies`].
    pub(crate) latencies: Mutex<Latencies>,
}

/// Latencies in nanoseconds.
#[derive(Clone, Debug)]
pub(crate) struct Latencies {
    /// Publish to deliver.
    pub(crate) delivery: Histogram<u64>,
    /// Publish to confirm.
    pub(crate) confirm: Histogram<u64>,
    /// One round of a churn mode.
    pub(crate) churn: Histogram<u64>,
}

/// The counters at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Counts {
    /// Messages published.
    pub sent: u64,
    /// Messages delivered.
    pub received: u64,
    /// Messages confirmed to their publisher.
    pub confirmed: u64,
    /// Messages refused with `basic.nack`.
    pub nacked: u64,
    /// Mandatory messages returned.
    pub returned: u64,
    /// Rounds of a churn mode.
    pub churned: u64,
}

/// Percentiles of a latency, in microseconds: pNN is the NNth; all 0 if nothing was measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct LatencySummary {
    pub count: u64,
    pub min_us: f64,
    pub mean_us: f64,
    pub p50_us: f64,
    pub p75_us: f64,
    pub p95_us: f64,
    pub p99_us: f64,
    pub p999_us: f64,
    pub p9999_us: f64,
    pub max_us: f64,
}

impl Meter {
    pub(crate) fn new() -> Self {
        Self {
            sent: Counter::default(),
            received: Counter::default(),
            confirmed: Counter::default(),
            nacked: Counter::default(),
            returned: Counter::default(),
            churned: Counter::default(),
            latencies: Mutex::new(Latencies::new()),
        }
    }

    pub(crate) fn counts(&self) -> Counts {
        Counts {
            sent: self.sent.get(),
            received: self.received.get(),
            confirmed: self.confirmed.get(),
            nacked: self.nacked.get(),
            returned: self.returned.get(),
            churned: self.churned.get(),
        }
    }

    /// Runs `record` on the histograms.
    pub(crate) fn with_latencies<T>(&self, record: impl FnOnce(&mut Latencies) -> T) -> T {
        // A poisoned lock means a thread died while recording; its half-recorded value does no harm.
        let mut latencies = self
            .latencies
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        record(&mut latencies)
    }

    /// Swaps the latencies of the last interval with `empty`.
    pub(crate) fn take_latencies(&self, empty: &mut Latencies) {
        self.with_latencies(|latencies| std::mem::swap(latencies, empty));
    }
}

impl Latencies {
    pub(crate) fn new() -> Self {
        let histogram = || {
            Histogram::new_with_bounds(1, LATENCY_MAX_NS, 3)
                .expect("the bounds are constant and valid")
        };
        Self {
            delivery: histogram(),
            confirm: histogram(),
            churn: histogram(),
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        let same = "all histograms have the same bounds";
        self.delivery.add(&other.delivery).expect(same);
        self.confirm.add(&other.confirm).expect(same);
        self.churn.add(&other.churn).expect(same);
    }

    pub(crate) fn clear(&mut self) {
        self.delivery.reset();
        self.confirm.reset();
        self.churn.reset();
    }
}

/// Records the time from `sent_ns` to `now_ns`. A message from the future (two machines' clocks) counts as 0.
#[inline]
pub(crate) fn record(histogram: &mut Histogram<u64>, sent_ns: u64, now_ns: u64) {
    histogram.saturating_record(now_ns.saturating_sub(sent_ns));
}

impl LatencySummary {
    pub(crate) fn of(histogram: &Histogram<u64>) -> Self {
        if histogram.is_empty() {
            return Self::default();
        }
        let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1e3;
        Self {
            count: histogram.len(),
            min_us: histogram.min() as f64 / 1e3,
            mean_us: histogram.mean() / 1e3,
            p50_us: at(0.5),
            p75_us: at(0.75),
            p95_us: at(0.95),
            p99_us: at(0.99),
            p999_us: at(0.999),
            p9999_us: at(0.9999),
            max_us: histogram.max() as f64 / 1e3,
        }
    }
}

impl Counts {
    pub(crate) fn sum(counts: impl IntoIterator<Item = Self>) -> Self {
        counts.into_iter().fold(Self::default(), |sum, count| Self {
            sent: sum.sent + count.sent,
            received: sum.received + count.received,
            confirmed: sum.confirmed + count.confirmed,
            nacked: sum.nacked + count.nacked,
            returned: sum.returned + count.returned,
            churned: sum.churned + count.churned,
        })
    }

    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            sent: self.sent - earlier.sent,
            received: self.received - earlier.received,
            confirmed: self.confirmed - earlier.confirmed,
            nacked: self.nacked - earlier.nacked,
            returned: self.returned - earlier.returned,
            churned: self.churned - earlier.churned,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_are_counted_from_the_intended_time() {
        let mut latencies = Latencies::new();
        // Four messages due a millisecond apart; a stall lets all of them out at 4 ms.
        for due_ms in 0..4_u64 {
            record(&mut latencies.delivery, due_ms * 1_000_000, 4_000_000);
        }
        let summary = LatencySummary::of(&latencies.delivery);
        assert_eq!(summary.count, 4);
        assert!((summary.min_us - 1000.0).abs() < 2.0, "{summary:?}");
        assert!((summary.max_us - 4000.0).abs() < 4.0, "{summary:?}");
        assert!((summary.p50_us - 2000.0).abs() < 3.0, "{summary:?}");
    }

    #[test]
    fn a_message_from_the_future_and_an_endless_one_are_recorded() {
        let mut latencies = Latencies::new();
        record(&mut latencies.confirm, 10, 5);
        record(&mut latencies.confirm, 0, u64::MAX);
        assert_eq!(latencies.confirm.len(), 2);
    }

    #[test]
    fn intervals_are_taken_once_and_add_up() {
        let meter = Meter::new();
        let (mut interval, mut total) = (Latencies::new(), Latencies::new());
        for _ in 0..2 {
            meter.with_latencies(|latencies| record(&mut latencies.delivery, 0, 1_000));
            meter.take_latencies(&mut interval);
            total.merge(&interval);
            interval.clear();
        }
        assert_eq!(total.delivery.len(), 2);
        meter.take_latencies(&mut interval);
        assert!(interval.delivery.is_empty());
    }

    #[test]
    fn nothing_measured_is_all_zero() {
        let summary = LatencySummary::of(&Latencies::new().delivery);
        assert_eq!(summary, LatencySummary::default());
    }
}
