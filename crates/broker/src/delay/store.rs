//! A delay store: keeps messages until they are due.
//!
//! ```text
//!   Delay ─▶ schedule ─▶ due ─▶ Due ─▶ (the shard publishes it) ─▶ settle
//!               │          ▲
//!     payload: RAM ─▶ log ─┘ read ahead
//! ```
//!
//! All messages go to the log, whatever their delivery mode; a confirm of a persistent one waits until the log has it. In RAM are
//! the index and the messages that are due next, up to [`DELAY_RAM_BYTES_MAX`]; the others are read back
//! [`READ_AHEAD_MS`] before they are due. After a start the whole store is read once, and nothing leaves before that, so that the
//! order holds.
//!
//! The store's clock is the wall clock of the start, going on with the monotonic one: a wall clock that jumps does not move
//! what waits.
//!
//! Messages leave in the order of their due times, at most [`RELEASE_MAX`] a millisecond, so that many that are due at once do not
//! keep other clients waiting.

use super::schedule::{Key, Listed, Only, Schedule, Selector};
use super::{DelayRequest, DelayTarget, Delayed};
use crate::effect::{Effect, Effects};
use crate::queue::{Confirms, LOAD_BYTES_MAX, Stored, detach, ram_bytes};
use base::{Name, Now, Position, QueueId};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// RAM for messages that wait, without the index; [`DelayStore::evict`] can lower it.
pub const DELAY_RAM_BYTES_MAX: usize = 16 << 20;

/// The least that a store is asked to live with.
const DELAY_RAM_BYTES_MIN: usize = 1 << 20;

/// How long before they are due messages are read back.
const READ_AHEAD_MS: u64 = 2_000;

/// Messages that leave in one millisecond.
const RELEASE_MAX: usize = 512;

/// How long due messages wait when the log cannot take more.
const CONGESTED_DELAY: Duration = Duration::from_millis(10);

/// Messages that are read together at most.
const READ_MAX: usize = 4096;

/// Reads under way at once.
const LOADS_MAX: usize = 64;

/// Messages that one eviction looks at, so that many unwritten ones are not walked again and again.
const EVICT_WALK_MAX: usize = 4096;

/// What a waiting message is taken to cost beside the message itself.
const OVERHEAD_BYTES: usize = 128;

/// Where a store's records go on their way to the log.
pub trait DelaySink {
    /// A message to keep.
    fn delayed(&mut self, store: QueueId, position: Position, delayed: &Arc<Delayed>);
    /// All messages in `from..until` are settled.
    fn settled(&mut self, store: QueueId, from: Position, until: Position);
}

/// A message that is due: to be published, and then settled with [`DelayStore::settle`].
#[derive(Clone, Debug)]
pub struct Due {
    /// The store it comes from.
    pub store: QueueId,
    /// Its place there.
    pub position: Position,
    /// The message.
    pub delayed: Arc<Delayed>,
}

/// A batch that was handed to the log.
#[derive(Clone, Copy, Debug)]
struct Ticket {
    ticket: u64,
    collected_until: Position,
}

/// A read that is under way.
#[derive(Clone, Debug)]
struct Load {
    from: Position,
    until: Position,
    /// What it is for.
    keys: Vec<Key>,
}

/// Keeps the delayed messages of one shard's connections.
#[derive(Debug)]
pub struct DelayStore {
    id: QueueId,
    schedule: Schedule,
    /// Messages in RAM.
    payloads: BTreeMap<Key, Arc<Delayed>>,
    payload_bytes: usize,
    /// What all messages would take, in RAM or not; an estimate once some were cancelled unread.
    total_bytes: u64,
    ram_limit: usize,
    /// Everything due before this is in RAM or being read.
    loaded_until: Key,
    loads: Vec<Load>,
    /// What a start has not read yet: `from..until`, and whether a read is under way.
    scan: Option<(Position, Position)>,
    scanning: bool,
    /// Messages that left and are not settled.
    released: u64,
    next: Position,
    /// Messages that the log was not given yet, also those that left meanwhile.
    uncollected: BTreeMap<Position, Arc<Delayed>>,
    collected_until: Position,
    durable_until: Position,
    tickets: VecDeque<Ticket>,
    settles: Vec<(Position, Position)>,
    confirms: Confirms,
    announced: bool,
    announced_urgent: bool,
    failed: bool,
    /// The store's clock at monotonic time 0.
    clock_base_ms: Option<u64>,
    wake_at: Option<Duration>,
    /// No message leaves before this.
    release_at: Duration,
}

impl DelayStore {
    /// A store with what the log holds of it.
    pub fn new(id: QueueId, stored: Stored) -> Self {
        let next = stored.next;
        Self {
            id,
            schedule: Schedule::default(),
            payloads: BTreeMap::new(),
            payload_bytes: 0,
            total_bytes: 0,
            ram_limit: DELAY_RAM_BYTES_MAX,
            loaded_until: LAST,
            loads: Vec::new(),
            scan: (stored.messages > 0).then_some((stored.first, next)),
            scanning: false,
            released: 0,
            next,
            uncollected: BTreeMap::new(),
            collected_until: next,
            durable_until: next,
            tickets: VecDeque::new(),
            settles: Vec::new(),
            confirms: Confirms::default(),
            announced: false,
            announced_urgent: false,
            failed: false,
            clock_base_ms: None,
            wake_at: None,
            release_at: Duration::ZERO,
        }
    }

    /// Messages that wait. Too small until a start has read everything.
    pub fn count(&self) -> u64 {
        self.schedule.len() as u64
    }

    /// How many messages wait for each target, in no particular order.
    pub fn counts(&self) -> impl Iterator<Item = (&Name, &DelayTarget, u64)> {
        self.schedule.counts()
    }

    /// The messages that are due next, at most `max`.
    pub fn list(&self, now: Now, selector: &Selector, max: usize) -> Vec<Listed> {
        if !self.is_meant(selector) {
            return Vec::new();
        }
        let entry = |((due, position), vhost, target)| Listed {
            store: self.id,
            position,
            due_at_ms: self.to_wall_ms(now, due),
            vhost,
            target,
        };
        self.schedule
            .list(selector, max)
            .into_iter()
            .map(entry)
            .collect()
    }

    /// RAM of messages that the log was not given yet, or an estimate of it.
    pub fn uncollected_bytes(&self) -> u64 {
        self.uncollected.len() as u64 * self.average_bytes(0) as u64
    }

    /// RAM that messages and index take.
    pub fn ram_bytes(&self) -> usize {
        self.payload_bytes + self.schedule.len() * 48
    }
}

/// Behind every key.
const LAST: Key = (u64::MAX, Position(u64::MAX));

/// What the outside did.
impl DelayStore {
    /// Keeps a message. A confirm may be held back until [`DelayStore::advance`].
    pub fn delay(&mut self, now: Now, request: DelayRequest, effects: &mut Effects) {
        let DelayRequest {
            vhost,
            target,
            wait,
            message_id,
            mut message,
            confirm,
        } = request;
        let due_at_ms = wait.due_at_ms(now.wall_ms);
        if self.failed {
            if let Some(confirm) = confirm {
                self.confirms.nack(confirm, effects);
            }
            return;
        }
        detach(&mut message);
        let position = self.next;
        self.next = position.next();
        if let Some(confirm) = confirm {
            if message.persistent {
                self.confirms.wait(position, confirm);
            } else {
                self.confirms.confirm(confirm, effects);
            }
        }
        let urgent = confirm.is_some() && message.persistent;
        let delayed = Arc::new(Delayed {
            vhost,
            target,
            due_at_ms,
            message_id,
            message,
        });
        self.uncollected.insert(position, Arc::clone(&delayed));
        self.insert(now, position, delayed);
        self.announce(urgent, effects);
    }

    /// A message that left has arrived, or never will.
    pub fn settle(&mut self, position: Position, effects: &mut Effects) {
        self.released = self.released.saturating_sub(1);
        self.forget(position, effects);
    }

    /// Drops what is selected and says how many messages that were.
    pub fn cancel(&mut self, selector: &Selector, effects: &mut Effects) -> u64 {
        if !self.is_meant(selector) {
            return 0;
        }
        let keys = self.schedule.extract(selector);
        let average = self.average_bytes(keys.len());
        for &key in &keys {
            let bytes = self
                .drop_payload(key)
                .map(|delayed| payload_bytes(&delayed));
            self.total_bytes = self
                .total_bytes
                .saturating_sub(bytes.unwrap_or(average) as u64);
            self.forget(key.1, effects);
        }
        keys.len() as u64
    }

    /// Lowers or raises the RAM for messages.
    pub fn evict(&mut self, target_bytes: usize) {
        self.ram_limit = target_bytes.clamp(DELAY_RAM_BYTES_MIN, DELAY_RAM_BYTES_MAX);
        self.relieve();
    }

    /// Gives the sink all that the log must know. `ticket` covers all positions given out so far; tickets ascend.
    pub fn collect_records(&mut self, ticket: u64, sink: &mut impl DelaySink) {
        if self.failed {
            return;
        }
        for (position, delayed) in std::mem::take(&mut self.uncollected) {
            sink.delayed(self.id, position, &delayed);
        }
        self.settles.sort_unstable();
        self.settles.dedup_by(|next, range| {
            let joins = next.0 <= range.1;
            if joins {
                range.1 = range.1.max(next.1);
            }
            joins
        });
        for (from, until) in self.settles.drain(..) {
            sink.settled(self.id, from, until);
        }
        self.collected_until = self.next;
        self.announced = false;
        self.announced_urgent = false;
        self.tickets.push_back(Ticket {
            ticket,
            collected_until: self.collected_until,
        });
    }

    /// The log has all batches up to `ticket` on stable storage.
    pub fn handle_durable(&mut self, ticket: u64, effects: &mut Effects) {
        while let Some(done) = self.tickets.pop_front_if(|first| first.ticket <= ticket) {
            self.durable_until = done.collected_until;
        }
        // Also of messages that left meanwhile: what they became is in the same batch or an earlier one.
        self.confirms.release_until(self.durable_until, effects);
        self.confirms.flush(effects);
        self.relieve();
    }

    /// The log is lost: nobody who waits gets a confirm, and nothing is taken any more.
    pub fn handle_storage_failed(&mut self, effects: &mut Effects) {
        self.failed = true;
        self.tickets.clear();
        self.settles = Vec::new();
        self.confirms.refuse_waiting(effects);
        self.confirms.flush(effects);
    }

    /// The answer to a read that began at `from`: all live messages of `from..reached`.
    pub fn handle_loaded(
        &mut self,
        now: Now,
        from: Position,
        messages: Vec<(Position, Arc<Delayed>)>,
        reached: Position,
    ) {
        if let Some((first, until)) = self.scan
            && first == from
        {
            self.scanning = false;
            for (position, delayed) in messages {
                self.insert(now, position, delayed);
            }
            self.scan = (reached < until && reached > from).then_some((reached, until));
            self.relieve();
            return;
        }
        let Some(index) = self.loads.iter().position(|load| load.from == from) else {
            return;
        };
        let load = self.loads.swap_remove(index);
        let mut wanted: BTreeMap<Position, Key> =
            load.keys.iter().map(|&key| (key.1, key)).collect();
        for (position, delayed) in messages {
            if let Some(key) = wanted.remove(&position)
                && self.schedule.contains(key)
            {
                self.put_payload(key, delayed);
            }
        }
        for (position, key) in wanted {
            if position >= reached && reached > from {
                // The read was cut short: it comes again.
                self.loaded_until = self.loaded_until.min(key);
            } else {
                // Damaged, or cancelled meanwhile.
                self.schedule.remove(key);
            }
        }
    }

    /// The time that [`Effect::Wake`] named has come, or the machine is new.
    pub fn handle_timeout(&mut self) {
        self.wake_at = None;
    }

    /// Brings the store forward: what is due goes to `due` if there is `room` for it, what will be due is read, and the next
    /// wake-up is asked for. To be called after anything else.
    pub fn advance(&mut self, now: Now, room: bool, due: &mut Vec<Due>, effects: &mut Effects) {
        self.confirms.flush(effects);
        if let Some((from, until)) = self.scan {
            return self.request_scan(from, until, effects);
        }
        if !room && self.release_at <= now.monotonic {
            self.release_at = now.monotonic + CONGESTED_DELAY;
        }
        if self.release_at <= now.monotonic {
            self.release(now, due);
        }
        self.read_ahead(now, effects);
        self.arm(now, effects);
    }
}

impl DelayStore {
    fn is_meant(&self, selector: &Selector) -> bool {
        !matches!(selector.only, Some(Only::At { store, .. }) if store != self.id)
    }

    fn insert(&mut self, now: Now, position: Position, delayed: Arc<Delayed>) {
        let key = (self.clock_ms_of(now, delayed.due_at_ms), position);
        self.schedule.insert(key, &delayed);
        self.total_bytes += payload_bytes(&delayed) as u64;
        self.put_payload(key, delayed);
        self.relieve();
    }

    fn put_payload(&mut self, key: Key, delayed: Arc<Delayed>) {
        self.payload_bytes += payload_bytes(&delayed);
        if let Some(before) = self.payloads.insert(key, delayed) {
            self.payload_bytes -= payload_bytes(&before);
        }
    }

    fn drop_payload(&mut self, key: Key) -> Option<Arc<Delayed>> {
        let delayed = self.payloads.remove(&key)?;
        self.payload_bytes -= payload_bytes(&delayed);
        Some(delayed)
    }

    /// Bytes of a message on average, of those that wait and `more`.
    fn average_bytes(&self, more: usize) -> usize {
        let count = (self.schedule.len() + more).max(1) as u64;
        usize::try_from(self.total_bytes / count)
            .unwrap_or(usize::MAX)
            .max(OVERHEAD_BYTES)
    }

    /// The message is gone for good: the log is told if it has it.
    fn forget(&mut self, position: Position, effects: &mut Effects) {
        if self.failed || self.uncollected.remove(&position).is_some() {
            return;
        }
        match self.settles.last_mut() {
            Some(last) if last.1 == position => last.1 = position.next(),
            Some(_) | None => self.settles.push((position, position.next())),
        }
        self.announce(false, effects);
    }

    /// Lets written messages that are due last leave RAM, until no more than the limit is taken.
    fn relieve(&mut self) {
        if self.payload_bytes <= self.ram_limit {
            return;
        }
        let mut enough = self.payload_bytes - self.ram_limit;
        let mut leaving = Vec::new();
        for (&key, delayed) in self.payloads.iter().rev().take(EVICT_WALK_MAX) {
            if key.1 < self.durable_until {
                leaving.push(key);
                enough = enough.saturating_sub(payload_bytes(delayed));
            }
            if enough == 0 {
                break;
            }
        }
        for key in leaving {
            self.drop_payload(key);
            self.loaded_until = self.loaded_until.min(key);
        }
    }

    fn release(&mut self, now: Now, due: &mut Vec<Due>) {
        let clock_ms = self.clock_ms(now);
        for _ in 0..RELEASE_MAX {
            let Some(key) = self.schedule.first().filter(|&(at, _)| at <= clock_ms) else {
                return;
            };
            let Some(delayed) = self.drop_payload(key) else {
                // It is being read; those behind it wait, so that the order holds.
                return;
            };
            self.schedule.pop_first();
            self.total_bytes = self
                .total_bytes
                .saturating_sub(payload_bytes(&delayed) as u64);
            self.released += 1;
            due.push(Due {
                store: self.id,
                position: key.1,
                delayed,
            });
        }
        self.release_at = now.monotonic + Duration::from_millis(1);
    }

    fn request_scan(&mut self, from: Position, until: Position, effects: &mut Effects) {
        if !self.scanning {
            self.scanning = true;
            effects.push(Effect::Load {
                queue: self.id,
                from,
                until,
                bytes_max: LOAD_BYTES_MAX,
            });
        }
    }

    /// Reads what is due soon, as far as there is RAM for it, neighbours together.
    fn read_ahead(&mut self, now: Now, effects: &mut Effects) {
        let horizon = self.clock_ms(now) + READ_AHEAD_MS;
        if self.loaded_until.0 > horizon || !self.loads.is_empty() {
            return;
        }
        let first = self.schedule.first();
        let head_is_here = first.is_none_or(|first| self.payloads.contains_key(&first));
        if head_is_here && self.payload_bytes > self.ram_limit / 2 {
            return;
        }
        // The sizes of those that are not here are not known, their average is.
        let count_max = (self.ram_limit / 4 / self.average_bytes(0)).clamp(1, READ_MAX);
        let mut missing: Vec<Key> = Vec::new();
        let mut reached = LAST;
        for key in self.schedule.keys_from(self.loaded_until) {
            if key.0 > horizon || missing.len() == count_max {
                reached = key;
                break;
            }
            if !self.payloads.contains_key(&key) {
                missing.push(key);
            }
        }
        missing.sort_unstable_by_key(|key| key.1);
        let mut loads: Vec<Load> = Vec::new();
        let mut left_out = LAST;
        for key in missing {
            let full = loads.len() == LOADS_MAX;
            match loads.last_mut() {
                Some(load) if load.until == key.1 => {
                    load.until = key.1.next();
                    load.keys.push(key);
                }
                Some(_) | None if full => left_out = left_out.min(key),
                Some(_) | None => loads.push(Load {
                    from: key.1,
                    until: key.1.next(),
                    keys: vec![key],
                }),
            }
        }
        self.loaded_until = reached.min(left_out);
        for load in &loads {
            effects.push(Effect::Load {
                queue: self.id,
                from: load.from,
                until: load.until,
                bytes_max: LOAD_BYTES_MAX,
            });
        }
        self.loads = loads;
    }

    /// Asks for a wake-up, unless an early enough one is under way.
    fn arm(&mut self, now: Now, effects: &mut Effects) {
        let base = self.clock_base_ms.unwrap_or_default();
        let moment = |clock_ms: u64| Duration::from_millis(clock_ms.saturating_sub(base));
        let release = self
            .schedule
            .first()
            .filter(|key| self.payloads.contains_key(key))
            .map(|(at, _)| moment(at).max(self.release_at));
        // What is being read wakes the store when it comes.
        let read = (self.loads.is_empty() && self.schedule.len() > self.payloads.len())
            .then(|| moment(self.loaded_until.0.saturating_sub(READ_AHEAD_MS)))
            .filter(|&at| at > now.monotonic);
        let Some(at) = [release, read].into_iter().flatten().min() else {
            return;
        };
        if self.wake_at.is_none_or(|armed| at < armed) {
            self.wake_at = Some(at);
            effects.push(Effect::Wake { queue: self.id, at });
        }
    }

    /// Has a batch taken soon; told to the shard at most once a batch, and once more if it becomes urgent.
    fn announce(&mut self, urgent: bool, effects: &mut Effects) {
        if self.failed || (self.announced && (self.announced_urgent || !urgent)) {
            return;
        }
        self.announced = true;
        self.announced_urgent |= urgent;
        effects.push(Effect::RecordsWaiting {
            queue: self.id,
            urgent,
        });
    }

    fn clock_ms(&mut self, now: Now) -> u64 {
        let monotonic_ms = millis(now.monotonic);
        let base = self
            .clock_base_ms
            .get_or_insert_with(|| now.wall_ms.saturating_sub(monotonic_ms));
        *base + monotonic_ms
    }

    /// A wall-clock time on the store's clock, or the millisecond behind it: nothing leaves before its time.
    fn clock_ms_of(&mut self, now: Now, wall_ms: u64) -> u64 {
        let begun = !now.monotonic.subsec_nanos().is_multiple_of(1_000_000);
        let clock_ms = self.clock_ms(now) + u64::from(begun);
        let offset = i128::from(clock_ms) - i128::from(now.wall_ms);
        saturate(i128::from(wall_ms) + offset)
    }

    fn to_wall_ms(&self, now: Now, clock_ms: u64) -> u64 {
        let base = self.clock_base_ms.unwrap_or_default();
        let offset = i128::from(now.wall_ms) - i128::from(base + millis(now.monotonic));
        saturate(i128::from(clock_ms) + offset)
    }

    /// Panics if the machine contradicts itself. For tests and the simulator; its cost grows with the store.
    pub fn check_invariants(&self) {
        self.schedule.check_invariants();
        self.confirms.check_invariants();
        let bytes: usize = self
            .payloads
            .values()
            .map(|delayed| payload_bytes(delayed))
            .sum();
        assert_eq!(self.payload_bytes, bytes, "RAM of waiting messages");
        assert!(self.durable_until <= self.collected_until && self.collected_until <= self.next);
        for key in self.schedule.keys_from((0, Position(0))) {
            let known = self.payloads.contains_key(&key) || key.1 < self.durable_until;
            assert!(known, "an unwritten message left RAM");
            let reading = self.loads.iter().any(|load| load.keys.contains(&key));
            assert!(
                self.payloads.contains_key(&key) || reading || key >= self.loaded_until,
                "nobody will read {key:?}"
            );
        }
    }
}

fn payload_bytes(delayed: &Delayed) -> usize {
    ram_bytes(&delayed.message) + OVERHEAD_BYTES
}

fn millis(monotonic: Duration) -> u64 {
    u64::try_from(monotonic.as_millis()).unwrap_or(u64::MAX)
}

fn saturate(ms: i128) -> u64 {
    // One below the largest, which stands for never.
    u64::try_from(ms.max(0))
        .unwrap_or(u64::MAX - 1)
        .min(u64::MAX - 1)
}
