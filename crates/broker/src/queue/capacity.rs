//! How much of the time the consumers of a queue could take what it had for them: RabbitMQ's `consumer_capacity`.
//!
//! A moving average that a second ago counts half. It is looked at once a turn and decides nothing.

use std::time::Duration;

/// After this much time a figure counts half.
const HALF_LIFE: Duration = Duration::from_secs(1);

/// Periods are counted together until they are this long, so that consumers who come and go with each message cost an addition.
const PERIOD_MIN: Duration = Duration::from_millis(50);

/// The share of time in which nothing had to wait for a consumer.
#[derive(Debug, Default)]
pub(super) struct Capacity {
    /// Since when messages have been waiting for consumers, if they do.
    starved_since: Option<Duration>,
    /// What is not yet in the average begins here. `None` until the first look.
    begin: Option<Duration>,
    /// How much of the time since then messages waited.
    starved: Duration,
    average: f64,
}

impl Capacity {
    /// Whether messages wait for consumers from `now` on.
    #[inline]
    pub(super) fn look(&mut self, now: Duration, is_starved: bool) {
        if is_starved != self.starved_since.is_some() || self.begin.is_none() {
            self.change(now, is_starved);
        }
    }

    fn change(&mut self, now: Duration, is_starved: bool) {
        self.starved = self.starved_by(now);
        self.starved_since = is_starved.then_some(now);
        let begin = *self.begin.get_or_insert(now);
        if now.saturating_sub(begin) >= PERIOD_MIN {
            self.average = self.share(now);
            self.begin = Some(now);
            self.starved = Duration::ZERO;
        }
    }

    fn starved_by(&self, now: Duration) -> Duration {
        let present = self
            .starved_since
            .map_or(Duration::ZERO, |since| now.saturating_sub(since));
        self.starved + present
    }

    /// The average as of `now`, from 0 to 1.
    pub(super) fn share(&self, now: Duration) -> f64 {
        let period = self
            .begin
            .map_or(Duration::ZERO, |begin| now.saturating_sub(begin));
        if period.is_zero() {
            return self.average;
        }
        let free = 1.0 - self.starved_by(now).as_secs_f64() / period.as_secs_f64();
        let weight = 0.5_f64.powf(period.as_secs_f64() / HALF_LIFE.as_secs_f64());
        (free * (1.0 - weight) + self.average * weight).clamp(0.0, 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn free_consumers_come_near_one_and_busy_ones_near_zero() {
        let mut capacity = Capacity::default();
        capacity.look(at(100), false);
        assert!((capacity.share(at(1100)) - 0.5).abs() < 1e-9);
        assert!(capacity.share(at(60_000)) > 0.999);
        capacity.look(at(60_000), true);
        assert!((capacity.share(at(61_000)) - 0.5).abs() < 1e-3);
        assert!(capacity.share(at(120_000)) < 0.001);
    }

    #[test]
    fn short_periods_count_as_much_as_long_ones() {
        let mut capacity = Capacity::default();
        for step in 0..20_000 {
            capacity.look(at(step), step % 4 == 0);
        }
        assert!((capacity.share(at(20_000)) - 0.75).abs() < 0.01);
    }
}
