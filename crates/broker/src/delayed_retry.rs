//! Delayed retry: how long a message waits that a consumer gave back, and when the queue gives up.
//!
//! These are the settings and the arithmetic. In a quorum queue such messages wait where they are, as in RabbitMQ from 4.3 on. A classic
//! queue hands them out, the shard counts attempts in their headers and puts them into the delay store, and they enter the queue again
//! when they are due. Multiplier, jitter and limit are ours.

use crate::command::Outcome;

/// Attempts after which a queue gives up, unless it is told otherwise. RabbitMQ's quorum queues have the same.
pub const RETRY_LIMIT_DEFAULT: u64 = 20;

/// Longest wait, milliseconds; that of `x-delay`.
pub const RETRY_MS_MAX: u64 = 4_294_967_295;

/// Which messages wait before they come back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RetryType {
    /// None.
    #[default]
    Disabled,
    /// All.
    All,
    /// Those whose delivery failed: basic.reject with requeue, or a channel that ended.
    Failed,
    /// Those that were given back: basic.nack with requeue, basic.recover.
    Returned,
}

impl RetryType {
    /// The type of that name.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "disabled" => Some(Self::Disabled),
            "all" => Some(Self::All),
            "failed" => Some(Self::Failed),
            "returned" => Some(Self::Returned),
            _ => None,
        }
    }

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::All => "all",
            Self::Failed => "failed",
            Self::Returned => "returned",
        }
    }
}

/// What arguments and policies say about retries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DelayedRetry {
    /// `x-delayed-retry-type`
    pub retry_type: RetryType,
    /// `x-delayed-retry-min`: milliseconds of the first wait, at least 1. Without it nothing waits.
    pub min_ms: Option<u64>,
    /// `x-delayed-retry-max`: longest wait in milliseconds.
    pub max_ms: Option<u64>,
    /// `x-delayed-retry-multiplier`: each wait is this many times the one before. Without it waits grow by the first one.
    pub multiplier: Option<u64>,
    /// `x-delayed-retry-jitter`: percent of a wait that may be added to it, 0-100.
    pub jitter_percent: u64,
    /// `x-delayed-retry-limit`: failed deliveries after which the message is dead-lettered or dropped;
    /// [`RETRY_LIMIT_DEFAULT`] if `None`, no limit if [`u64::MAX`].
    pub limit: Option<u64>,
}

impl DelayedRetry {
    /// Whether messages wait that come back this way.
    pub fn delays(&self, outcome: Outcome) -> bool {
        self.min_ms.is_some()
            && match outcome {
                Outcome::Fail => matches!(self.retry_type, RetryType::All | RetryType::Failed),
                Outcome::Requeue => {
                    matches!(self.retry_type, RetryType::All | RetryType::Returned)
                }
                Outcome::Ack | Outcome::Discard | Outcome::Reject | Outcome::Return => false,
            }
    }

    /// Whether any message ever waits.
    pub fn is_enabled(&self) -> bool {
        self.delays(Outcome::Fail) || self.delays(Outcome::Requeue)
    }

    /// The longest wait in a quorum queue, milliseconds. Compat: unless somebody says how waits grow and how far, all are alike.
    pub fn longest_ms(&self) -> u64 {
        let even = self.min_ms.filter(|_| self.multiplier.is_none());
        self.max_ms.or(even).unwrap_or(RETRY_MS_MAX)
    }

    /// Whether so many failed deliveries are too many.
    pub fn gives_up(&self, failed: u64) -> bool {
        failed > self.limit.unwrap_or(RETRY_LIMIT_DEFAULT)
    }

    /// How long to wait after so many failed deliveries, in milliseconds, 1-[`RETRY_MS_MAX`]. `random` spreads it.
    pub fn backoff_ms(&self, failed: u64, random: u64) -> u64 {
        let attempt = failed.max(1);
        let first = self.min_ms.unwrap_or(1);
        let wait = match self.multiplier {
            None => first.saturating_mul(attempt),
            Some(multiplier) => {
                let exponent = u32::try_from(attempt - 1).unwrap_or(u32::MAX);
                first.saturating_mul(multiplier.saturating_pow(exponent))
            }
        };
        let longest = self.max_ms.unwrap_or(RETRY_MS_MAX).min(RETRY_MS_MAX);
        let wait = wait.min(longest);
        let jitter = wait / 100 * self.jitter_percent + wait % 100 * self.jitter_percent / 100;
        (wait + random % (jitter + 1)).clamp(1, RETRY_MS_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_up_to_the_longest() {
        let linear = DelayedRetry {
            retry_type: RetryType::All,
            min_ms: Some(300),
            max_ms: Some(700),
            ..DelayedRetry::default()
        };
        let waits = |retry: DelayedRetry| [0, 1, 2, 3, 4].map(|failed| retry.backoff_ms(failed, 0));
        assert_eq!(waits(linear), [300, 300, 600, 700, 700]);
        let exponential = DelayedRetry {
            multiplier: Some(2),
            max_ms: None,
            ..linear
        };
        assert_eq!(waits(exponential), [300, 300, 600, 1200, 2400]);
        assert_eq!(exponential.backoff_ms(u64::MAX, 0), RETRY_MS_MAX);
        let constant = DelayedRetry {
            multiplier: Some(1),
            ..exponential
        };
        assert_eq!(constant.backoff_ms(1000, 0), 300);
    }

    #[test]
    fn jitter_adds_at_most_its_part() {
        let retry = DelayedRetry {
            retry_type: RetryType::All,
            min_ms: Some(1000),
            jitter_percent: 20,
            ..DelayedRetry::default()
        };
        let waits = (0..1000).map(|random| retry.backoff_ms(1, random));
        assert_eq!(waits.clone().min(), Some(1000));
        assert_eq!(waits.max(), Some(1200));
    }

    #[test]
    fn the_type_says_who_waits() {
        let waits = |retry_type| {
            let retry = DelayedRetry {
                retry_type,
                min_ms: Some(1),
                ..DelayedRetry::default()
            };
            (retry.delays(Outcome::Fail), retry.delays(Outcome::Requeue))
        };
        assert_eq!(waits(RetryType::All), (true, true));
        assert_eq!(waits(RetryType::Failed), (true, false));
        assert_eq!(waits(RetryType::Returned), (false, true));
        assert_eq!(waits(RetryType::Disabled), (false, false));
    }
}
