//! How figures that change are shown: with rates, and with samples for who asks for some.

use super::series::Series;
use crate::call::Call;
use crate::error::ApiError;
use crate::json::{Object, object};
use crate::query::Query;
use crate::statistics::now_ms;
use node::config::RetentionTier;

/// Most samples in an answer.
const SAMPLES_MAX: u64 = 2_000;

/// What nothing here counts: a figure of Erlang's processes.
const UNCOUNTED_KEYS: [&str; 1] = ["reductions"];

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
    pub(super) messages: bool,
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

    /// Values at even times, newest first. Before the first sample nothing is known, and what was counted before somebody looked is
    /// no sudden change: the value is taken to have been the same.
    fn samples(&self, range: Range, series: &Series, index: usize) -> Vec<(u64, u64)> {
        let step_ms = range.step_s * 1000;
        let newest = self.now_ms / step_ms * step_ms;
        let count = (range.age_s / range.step_s + 1).min(SAMPLES_MAX);
        let tier = series.tier(range.age_s);
        (0..count)
            .map_while(|back| newest.checked_sub(back * step_ms))
            .map(|at_ms| {
                let sample = tier.samples.until(at_ms).or_else(|| tier.samples.first());
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
        _ => Err(ApiError::bad(format!(
            "Invalid range parameters: age {age}, incr {step}"
        ))),
    }
}

/// Counts with their details; empty if all are 0.
pub(super) fn stats(
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

#[cfg(test)]
mod tests {
    use super::super::series::tests::series;
    use super::*;
    use crate::json::Json;

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
    fn what_was_counted_before_the_first_sample_is_no_change() {
        let query = "data_rates_age=10&data_rates_incr=5";
        let details = Details::of(&Query::parse(query)).unwrap();
        let mut young = series();
        young.tiers[0].samples.drop_first();
        let details = Details {
            now_ms: 10_000,
            ..details
        };
        let samples = details.samples(details.data.unwrap(), &young, 0);
        assert_eq!(samples, [(200, 10_000), (100, 5_000), (100, 0)]);
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
