//! What a message has died of so far, and when that means that it goes in circles (RabbitMQ docs: dlx).
//!
//! The history is kept beside the message and not read back from its `x-death` header, which any publisher can write. How the
//! header looks is a frontend's part, and where the message goes next is the router's.
//!
//! ```text
//! published ─> queue A ─ rejected ─> queue B ─ expired ─> queue A ─ rejected ─> …
//! history                 A rejected          B expired            A rejected, 2
//!                                             A rejected           B expired
//! ```
//!
//! Invariant: a history has at least one death, the newest first, and each (queue, reason) once.

use crate::effect::DeadLetterReason;
use base::Name;
use bytes::Bytes;

/// Different (queue, reason) pairs that one message remembers. Beyond that the oldest is forgotten.
pub const DEATHS_MAX: usize = 128;

/// Why and where a message died, first seen at `time_s` and since then `count` times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Death {
    /// The queue it was in.
    pub queue: Name,
    /// What it died of.
    pub reason: DeadLetterReason,
    /// How often it died there of that, from 1.
    pub count: u64,
    /// Wall clock at the first of these deaths, in seconds since 1970.
    pub time_s: u64,
    /// The exchange that it had been published to.
    pub exchange: Name,
    /// The routing keys that it had been published with, CC included and BCC not.
    pub routing_keys: Box<[Bytes]>,
    /// The expiration property that was taken from it, in milliseconds.
    pub original_expiration_ms: Option<u64>,
}

/// The death that began the history. It stays as it is when the same happens again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirstDeath {
    /// The queue.
    pub queue: Name,
    /// What it died of.
    pub reason: DeadLetterReason,
    /// The exchange that it had been published to.
    pub exchange: Name,
}

/// All deaths of one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deaths {
    first: FirstDeath,
    /// Newest first.
    deaths: Vec<Death>,
    /// How often consumers failed with it, in all queues so far.
    failed_deliveries: u32,
}

impl Deaths {
    /// A history that was stored; `None` if there is no death in it.
    pub fn from_parts(first: FirstDeath, deaths: Vec<Death>) -> Option<Self> {
        (!deaths.is_empty()).then_some(Self {
            first,
            deaths,
            failed_deliveries: 0,
        })
    }

    /// The same history of a message with which consumers failed that often, in all queues so far.
    #[must_use]
    pub fn after_failed_deliveries(self, failed_deliveries: u32) -> Self {
        Self {
            failed_deliveries,
            ..self
        }
    }

    /// How often consumers failed with the message, in all queues so far: they rejected it, or were gone before they settled it.
    /// A message that was rejected counts as delivered before in the queues that it goes to then (RabbitMQ 4.3), one that was
    /// nacked does not.
    pub fn failed_deliveries(&self) -> u32 {
        self.failed_deliveries
    }

    /// `earlier` and now `death`. If that happened before, its count goes up and the rest of it stays.
    #[must_use]
    pub fn with(earlier: Option<&Self>, death: Death) -> Self {
        let Some(earlier) = earlier else {
            let first = FirstDeath {
                queue: death.queue.clone(),
                reason: death.reason,
                exchange: death.exchange.clone(),
            };
            return Self {
                first,
                deaths: vec![death],
                failed_deliveries: 0,
            };
        };
        let is_same = |other: &Death| other.queue == death.queue && other.reason == death.reason;
        let mut deaths = earlier.deaths.clone();
        match deaths.iter().position(is_same) {
            Some(index) => {
                deaths[index].count = deaths[index].count.saturating_add(1);
                deaths[..=index].rotate_right(1);
            }
            None => {
                deaths.truncate(DEATHS_MAX - 1);
                deaths.insert(0, death);
            }
        }
        Self {
            first: earlier.first.clone(),
            deaths,
            failed_deliveries: earlier.failed_deliveries,
        }
    }

    /// The deaths, newest first; never empty.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Death> {
        self.deaths.iter()
    }

    /// The death that began the history.
    pub fn first(&self) -> &FirstDeath {
        &self.first
    }

    /// The newest death.
    pub fn last(&self) -> &Death {
        &self.deaths[0]
    }

    /// Whether the message would come to `queue` again without any client having asked for that: it died there, and neither then nor
    /// since was it rejected. Such a message would go round forever.
    pub fn is_cycle(&self, queue: &str) -> bool {
        self.deaths
            .iter()
            .take_while(|death| death.reason != DeadLetterReason::Rejected)
            .any(|death| *death.queue == *queue)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use DeadLetterReason::{Expired, MaxLength, Rejected};

    fn death(queue: &str, reason: DeadLetterReason, time_s: u64) -> Death {
        Death {
            queue: queue.into(),
            reason,
            count: 1,
            time_s,
            exchange: "x".into(),
            routing_keys: Box::new([Bytes::from_static(b"k")]),
            original_expiration_ms: None,
        }
    }

    fn history(deaths: &[(&str, DeadLetterReason)]) -> Deaths {
        let mut history = None;
        for (time_s, (queue, reason)) in (1..).zip(deaths) {
            history = Some(Deaths::with(
                history.as_ref(),
                death(queue, *reason, time_s),
            ));
        }
        history.expect("a test names at least one death")
    }

    fn summary(deaths: &Deaths) -> Vec<(&str, DeadLetterReason, u64, u64)> {
        deaths
            .iter()
            .map(|death| (&*death.queue, death.reason, death.count, death.time_s))
            .collect()
    }

    #[test]
    fn the_newest_death_is_in_front() {
        let deaths = history(&[("a", Rejected), ("b", Expired)]);
        assert_eq!(
            summary(&deaths),
            [("b", Expired, 1, 2), ("a", Rejected, 1, 1)]
        );
        assert_eq!(&*deaths.first().queue, "a");
        assert_eq!(&*deaths.last().queue, "b");
    }

    #[test]
    fn the_same_death_counts_up_moves_to_the_front_and_keeps_its_time() {
        let deaths = history(&[
            ("a", Rejected),
            ("b", Expired),
            ("a", Expired),
            ("a", Rejected),
        ]);
        assert_eq!(
            summary(&deaths),
            [
                ("a", Rejected, 2, 1),
                ("a", Expired, 1, 3),
                ("b", Expired, 1, 2)
            ]
        );
    }

    #[test]
    fn a_cycle_is_automatic_only_without_a_rejection() {
        for (deaths, queue, expect) in [
            (&[("a", Expired)][..], "a", true),
            (&[("a", Expired)], "b", false),
            (&[("a", MaxLength), ("b", Expired)], "a", true),
            (&[("a", Rejected)], "a", false),
            (&[("a", Rejected), ("b", Expired)], "a", false),
            (&[("a", Expired), ("b", Rejected)], "a", false),
            (
                &[("a", Rejected), ("b", Expired), ("a", Expired)],
                "b",
                true,
            ),
        ] {
            assert_eq!(
                history(deaths).is_cycle(queue),
                expect,
                "{deaths:?} to {queue}"
            );
        }
    }

    #[test]
    fn a_history_is_bounded_and_keeps_its_beginning() {
        let mut deaths = history(&[("q0", Rejected)]);
        for number in 1..2 * DEATHS_MAX {
            deaths = Deaths::with(Some(&deaths), death(&format!("q{number}"), Expired, 0));
        }
        assert_eq!(deaths.iter().len(), DEATHS_MAX);
        assert_eq!(&*deaths.first().queue, "q0");
    }
}
