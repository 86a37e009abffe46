//! What happened in a queue since its machine was made.

/// Messages, counted once for each thing that happened to them. They only grow.
///
/// Conservation: `recovered + published` is always `acked + auto_acked + expired + max_length + rejected + delivery_limit +
/// purged + removed + lost` plus
/// what is ready, unacked, undead and waits to be tried again now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Found in the log when the machine was made.
    pub recovered: u64,
    /// Entered the queue, also those that went straight to a consumer.
    pub published: u64,
    /// Did not enter: the queue was full or storage had failed.
    pub refused: u64,
    /// Did not enter: a message with the same id was known.
    pub deduplicated: u64,
    /// Went to consumers.
    pub delivered: u64,
    /// Fetched with get.
    pub fetched: u64,
    /// Of `delivered` and `fetched`: went out again.
    pub redelivered: u64,
    /// Acknowledged by consumers.
    pub acked: u64,
    /// Went out to somebody who does not acknowledge.
    pub auto_acked: u64,
    /// Of `fetched`: went out to somebody who does not acknowledge.
    pub auto_fetched: u64,
    /// Gets that found nothing; no messages.
    pub empty_gets: u64,
    /// Came back (requeue or return).
    pub requeued: u64,
    /// Dropped or dead-lettered because their time ran out.
    pub expired: u64,
    /// Dropped or dead-lettered by a length limit after they had entered.
    pub max_length: u64,
    /// Dropped or dead-lettered because a consumer rejected them.
    pub rejected: u64,
    /// Dropped or dead-lettered because consumers failed with them too often.
    pub delivery_limit: u64,
    /// Left to be tried again later, or were tried too often. Those that come back count as published again.
    pub retried: u64,
    /// Dropped by purge.
    pub purged: u64,
    /// Deleted or moved away by an operator.
    pub removed: u64,
    /// Expected in the store and not found there.
    pub lost: u64,
}

impl Counters {
    /// Adds what happened elsewhere.
    pub fn add(&mut self, other: &Self) {
        self.combine(other, u64::wrapping_add);
    }

    /// Takes away what was added before.
    pub fn subtract(&mut self, other: &Self) {
        self.combine(other, u64::wrapping_sub);
    }

    fn combine(&mut self, other: &Self, with: impl Fn(u64, u64) -> u64) {
        let Self {
            recovered,
            published,
            refused,
            deduplicated,
            delivered,
            fetched,
            redelivered,
            acked,
            auto_acked,
            auto_fetched,
            empty_gets,
            requeued,
            expired,
            max_length,
            rejected,
            delivery_limit,
            retried,
            purged,
            removed,
            lost,
        } = self;
        for (own, other) in [
            (recovered, other.recovered),
            (published, other.published),
            (refused, other.refused),
            (deduplicated, other.deduplicated),
            (delivered, other.delivered),
            (fetched, other.fetched),
            (redelivered, other.redelivered),
            (acked, other.acked),
            (auto_acked, other.auto_acked),
            (auto_fetched, other.auto_fetched),
            (empty_gets, other.empty_gets),
            (requeued, other.requeued),
            (expired, other.expired),
            (max_length, other.max_length),
            (rejected, other.rejected),
            (delivery_limit, other.delivery_limit),
            (retried, other.retried),
            (purged, other.purged),
            (removed, other.removed),
            (lost, other.lost),
        ] {
            *own = with(*own, other);
        }
    }

    /// Messages that entered and have not left, by these counts.
    pub fn present(&self) -> u64 {
        let left = self.acked
            + self.auto_acked
            + self.expired
            + self.max_length
            + self.rejected
            + self.delivery_limit
            + self.retried
            + self.purged
            + self.removed
            + self.lost;
        (self.recovered + self.published).saturating_sub(left)
    }
}
