//! Delayed retry in a quorum queue: messages that came back and wait before they go out again (RabbitMQ docs:
//! quorum-queues#delayed-retry).
//!
//! They stay in the queue, at their positions, but are not ready: nobody gets them, they do not expire, and they count for the length
//! limits. A purge drops them. The log knows by the notes of [`attempts`](super::attempts) until when they wait, so they wait on after a
//! restart, by the wall clock. Classic queues leave this to the delay store, see [`Effect::Retry`].
//!
//! Limits: what consumers had, at 100 bytes; payloads beyond the queue's RAM limit leave as soon as the log has them. One turn lets
//! [`RELEASED_MAX`] go.

use super::Queue;
use super::entry::Entry;
use crate::command::{Attempts, Outcome};
use crate::effect::Effects;
use base::{Now, Position};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Messages that one turn makes ready.
const RELEASED_MAX: usize = 4096;

#[derive(Debug)]
struct Waiting {
    due: Duration,
    entry: Entry,
}

/// The messages of one queue.
#[derive(Debug, Default)]
pub(super) struct Retries {
    waiting: BTreeMap<Position, Waiting>,
    order: BTreeSet<(Duration, Position)>,
    body_bytes: u64,
    ram_bytes: usize,
    /// Those that have to leave RAM when the log has them.
    too_much: Vec<Position>,
}

impl Retries {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Bytes of bodies.
    pub(super) fn body_bytes(&self) -> u64 {
        self.body_bytes
    }

    /// RAM that payloads take.
    pub(super) fn ram_bytes(&self) -> usize {
        self.ram_bytes
    }

    /// When the first is to be tried again, monotonic.
    pub(super) fn next_due(&self) -> Option<Duration> {
        self.order.first().map(|&(due, _)| due)
    }

    pub(super) fn last_due(&self) -> Option<Duration> {
        self.order.last().map(|&(due, _)| due)
    }

    /// Ascending.
    pub(super) fn iter_from(&self, from: Position) -> impl Iterator<Item = &Entry> {
        self.waiting
            .range(from..)
            .map(|(_, waiting)| &waiting.entry)
    }

    fn insert(&mut self, due: Duration, entry: Entry) {
        self.body_bytes += u64::from(entry.body_bytes);
        self.ram_bytes += entry.ram_bytes();
        self.order.insert((due, entry.position));
        self.waiting.insert(entry.position, Waiting { due, entry });
    }

    fn pop_due(&mut self, now: Now) -> Option<Entry> {
        self.order
            .first()
            .filter(|(due, _)| *due <= now.monotonic)?;
        let (_, position) = self.order.pop_first()?;
        let entry = self.waiting.remove(&position)?.entry;
        self.body_bytes -= u64::from(entry.body_bytes);
        self.ram_bytes -= entry.ram_bytes();
        Some(entry)
    }

    /// Takes all of them, due or not.
    pub(super) fn take_all(&mut self) -> impl Iterator<Item = Entry> + use<> {
        let all = std::mem::take(self);
        all.waiting.into_values().map(|waiting| waiting.entry)
    }

    /// Payloads that there was no room for leave RAM, as far as they are written.
    pub(super) fn relieve(&mut self, is_written: impl Fn(&Entry) -> bool) {
        let too_much = std::mem::take(&mut self.too_much);
        for position in too_much {
            let Some(waiting) = self.waiting.get_mut(&position) else {
                continue;
            };
            if is_written(&waiting.entry) {
                self.ram_bytes -= waiting.entry.evict();
            } else {
                self.too_much.push(position);
            }
        }
    }

    pub(super) fn check_invariants(&self) {
        let order = self.waiting.iter();
        let order: BTreeSet<_> = order.map(|(&at, waiting)| (waiting.due, at)).collect();
        assert_eq!(order, self.order, "order of retries");
        let entries = || self.waiting.values().map(|waiting| &waiting.entry);
        let bytes: u64 = entries().map(|entry| u64::from(entry.body_bytes)).sum();
        assert_eq!(self.body_bytes, bytes, "bytes of retries");
        let ram: usize = entries().map(Entry::ram_bytes).sum();
        assert_eq!(self.ram_bytes, ram, "RAM of retries");
    }
}

impl Queue {
    /// Messages that came back and wait to be tried again.
    pub fn delayed_count(&self) -> u64 {
        self.retries
            .as_ref()
            .map_or(0, |retries| retries.len() as u64)
    }

    /// Bytes of their bodies.
    pub fn delayed_bytes(&self) -> u64 {
        self.retries
            .as_ref()
            .map_or(0, |retries| retries.body_bytes())
    }

    /// When the first and the last of them are due, wall clock in milliseconds.
    pub fn delayed_until_ms(&self, now: Now) -> Option<(u64, u64)> {
        let retries = self.retries.as_ref()?;
        let wall_ms = |due: Duration| {
            let left = due.saturating_sub(now.monotonic).as_millis();
            now.wall_ms
                .saturating_add(u64::try_from(left).unwrap_or(u64::MAX))
        };
        Some((wall_ms(retries.next_due()?), wall_ms(retries.last_due()?)))
    }

    /// How long a message that has just come back to a quorum queue waits, in milliseconds; `None`: it does not.
    pub(super) fn retry_wait_ms(
        &self,
        position: Position,
        outcome: Outcome,
        attempts: Attempts,
    ) -> Option<u64> {
        let mut retry = self.settings.arguments.delayed_retry;
        if !retry.delays(outcome) {
            return None;
        }
        retry.max_ms = Some(retry.longest_ms());
        // Positions differ, and so do attempts: enough to spread what failed together.
        let seed = position.0 ^ (u64::from(attempts.acquired) << 48);
        let random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
        Some(retry.backoff_ms(u64::from(attempts.failed), random))
    }

    /// A message that has just come back waits.
    pub(super) fn try_later(&mut self, now: Now, entry: Entry, wait_ms: u64) {
        if let Some(attempts) = &mut self.attempts {
            attempts.set_due(entry.position, now.wall_ms.saturating_add(wait_ms));
        }
        self.keep_waiting(now, entry, wait_ms);
    }

    fn keep_waiting(&mut self, now: Now, mut entry: Entry, wait_ms: u64) {
        let retries = self.retries.get_or_insert_default();
        let due = now.monotonic.saturating_add(Duration::from_millis(wait_ms));
        if retries.ram_bytes() + entry.ram_bytes() > self.ram_limit {
            if self.journal.is_written(&entry) {
                entry.evict();
            } else {
                retries.too_much.push(entry.position);
            }
        }
        retries.insert(due, entry);
    }

    /// Messages that were read for the first time since the start and wait until these times, wall clock in milliseconds.
    pub(super) fn wait_on(&mut self, now: Now, found: Vec<(u8, Position, u64)>) {
        for (level, position, due_at_ms) in found {
            let Some(wait_ms) = due_at_ms.checked_sub(now.wall_ms).filter(|wait| *wait > 0) else {
                continue;
            };
            if let Some(entry) = self.ready.remove(level, position) {
                self.keep_waiting(now, entry, wait_ms);
            }
        }
    }

    /// What is due goes to its place.
    pub(super) fn release_due(&mut self, now: Now, effects: &mut Effects) {
        for _ in 0..RELEASED_MAX {
            let retries = self.retries.as_mut();
            let Some(entry) = retries.and_then(|retries| retries.pop_due(now)) else {
                return;
            };
            self.put_back(entry);
        }
        self.wake_by(now.monotonic, effects);
    }

    /// Drops what waits, and says how many that is.
    pub(super) fn purge_retries(&mut self, effects: &mut Effects) -> u64 {
        let Some(retries) = &mut self.retries else {
            return 0;
        };
        let mut count = 0;
        for entry in retries.take_all() {
            count += 1;
            self.forget(&entry, effects);
        }
        count
    }
}
