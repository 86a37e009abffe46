//! Values at times: what is kept of something that is sampled.

use node::config::RetentionTier;
use std::collections::VecDeque;

/// Values at times.
#[derive(Clone, Debug)]
pub(crate) struct Series {
    keys: &'static [&'static str],
    pub(super) tiers: Vec<Tier>,
    /// Since when the values are what they are now, in milliseconds since 1970.
    since_ms: u64,
}

#[derive(Clone, Debug)]
pub(super) struct Tier {
    step_s: u64,
    max: usize,
    pub(super) samples: Samples,
}

/// Samples, oldest first: of each one when it was taken, in milliseconds since 1970, and what was there. They are in one piece, as
/// there are very many of them.
#[derive(Clone, Debug)]
pub(super) struct Samples {
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

    pub(super) fn drop_first(&mut self) {
        self.numbers.drain(..self.width);
    }

    /// The place of the oldest.
    pub(super) fn first(&self) -> Option<usize> {
        (self.len() > 0).then_some(0)
    }

    /// The place of the newest.
    fn last(&self) -> Option<usize> {
        self.len().checked_sub(1)
    }

    fn at_ms(&self, place: usize) -> u64 {
        self.numbers[place * self.width]
    }

    pub(super) fn value(&self, place: usize, index: usize) -> u64 {
        self.numbers[place * self.width + 1 + index]
    }

    fn has(&self, place: usize, values: &[u64]) -> bool {
        let first = place * self.width + 1;
        self.numbers.range(first..first + self.width - 1).eq(values)
    }

    /// The place of the newest that is no newer than this.
    pub(super) fn until(&self, at_ms: u64) -> Option<usize> {
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

impl Series {
    /// Keeps what a policy says, which has at least one tier.
    pub(super) fn new(keys: &'static [&'static str], policy: &[RetentionTier]) -> Self {
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
    pub(super) fn keeps(&self, policy: &[RetentionTier]) -> bool {
        self.tiers.len() >= policy.len()
            && (self.tiers.iter().zip(policy)).all(|(own, tier)| own.max >= samples_of(tier))
    }

    pub(super) fn memory_bytes(&self) -> u64 {
        let numbers = self.tiers.iter().map(|tier| tier.samples.numbers.len());
        (numbers.sum::<usize>() * size_of::<u64>()) as u64
    }

    pub(super) fn push(&mut self, at_ms: u64, values: &[u64]) {
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

    pub(super) fn index(&self, key: &str) -> Option<usize> {
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
    pub(super) fn idle_since(&self, values: &[u64]) -> Option<String> {
        let samples = &self.tiers[0].samples;
        let at_ms = samples.at_ms(samples.last()?);
        (self.since_ms < at_ms && self.is_at(values)).then(|| shown_time(self.since_ms))
    }

    /// How fast a value changed between the last two samples, a second.
    pub(super) fn rate(&self, index: usize) -> f64 {
        self.tiers[0].samples.rate(index)
    }

    /// The finest tier that goes back far enough.
    pub(super) fn tier(&self, age_s: u64) -> &Tier {
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

#[cfg(test)]
pub(super) mod tests {
    use super::super::keys::CONNECTION_KEYS;
    use super::*;

    const TIER: RetentionTier = RetentionTier {
        age_s: 600,
        step_s: 5,
    };

    /// Bytes of a connection that grow.
    pub(in crate::statistics) fn series() -> Series {
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
}
