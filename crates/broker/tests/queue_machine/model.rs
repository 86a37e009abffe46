//! A naive queue must agree with the machine under random commands, reads that come late, crashes and paging.
//!
//! The model does not predict when the machine acts, since that depends on reads from the store. It watches every effect and asks:
//! was this allowed now, and, whenever no read is under way, is there anything left that should have happened?

use crate::rig::{
    FakeWindows, LoadResult, Rig, Told, channel, consume, consumer, message, operate, publish_run,
    run_of, settings, show,
};
use base::{ConnectionId, Name, Now, Position};
use broker::browse::{BrowsedMessage, BrowsedState, Cursor, Operation, OperationReply, Present};
use broker::command::{Attempts, ConfirmTo, ConsumerId, Outcome, QueueCommand, Reply};
use broker::delayed_retry::{DelayedRetry, RetryType};
use broker::effect::{DeadLetterReason, Effect};
use broker::message::{Address, SharedMessage};
use broker::queue::QueueSettings;
use broker::queue_arguments::{Overflow, QueueArguments, QueueType};
use bytes::Bytes;
use std::cell::Cell;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::num::NonZero;
use std::panic::{catch_unwind, set_hook, take_hook};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// Small and good enough: xorshift64*.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % bound
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// What the model knows about the redelivered mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    Fresh,
    Redelivered,
    /// Returned, or recovered: the machine may say either.
    Either,
}

#[derive(Clone, Debug)]
struct Kept {
    message: SharedMessage,
    expires: Option<Duration>,
    mark: Mark,
    /// How often it came back to a quorum queue.
    attempts: Attempts,
}

#[derive(Debug)]
struct KnownConsumer {
    id: ConsumerId,
    no_ack: bool,
    prefetch_count: u16,
    priority: i32,
    paused: bool,
}

/// The naive queue.
struct Model {
    settings: QueueSettings,
    next: u64,
    /// By level and position.
    ready: BTreeMap<(Reverse<u8>, u64), Kept>,
    unacked: BTreeMap<u64, (u64, Option<u32>, Kept)>,
    /// What waits to be tried again, and until when.
    delayed: BTreeMap<u64, (Duration, Kept)>,
    consumers: Vec<KnownConsumer>,
    gets: Vec<(u64, bool)>,
    /// Publishes whose confirm is owed, with their position.
    owed: HashMap<(u64, u64), u64>,
    /// Positions that must not come back after a crash only if the log knows; that may be missing if it does not.
    settled: HashSet<u64>,
    confirmed: HashSet<u64>,
    /// Settled positions that a crash left in the replay window.
    window: HashSet<u64>,
    /// Barriers that wait: who asked, and what was settled before.
    barriers: VecDeque<(u64, HashSet<u64>)>,
    dead_letters: Vec<(DeadLetterReason, SharedMessage)>,
    expired: u64,
    max_length: u64,
    /// Where the browse began that is under way, and the next position of then.
    browsed_from: Option<(Cursor, u64)>,
}

/// The connection that browses.
const OPERATOR: u64 = 2000;

trait ModelKey {
    fn key_of_model(self) -> (Reverse<u8>, u64);
}

impl ModelKey for Cursor {
    fn key_of_model(self) -> (Reverse<u8>, u64) {
        (Reverse(self.level), self.position.0)
    }
}

impl Model {
    fn new(settings: QueueSettings) -> Self {
        Self {
            settings,
            next: 0,
            ready: BTreeMap::new(),
            delayed: BTreeMap::new(),
            unacked: BTreeMap::new(),
            consumers: Vec::new(),
            gets: Vec::new(),
            owed: HashMap::new(),
            settled: HashSet::new(),
            confirmed: HashSet::new(),
            window: HashSet::new(),
            barriers: VecDeque::new(),
            dead_letters: Vec::new(),
            expired: 0,
            max_length: 0,
            browsed_from: None,
        }
    }

    fn key(&self, position: u64, message: &SharedMessage) -> (Reverse<u8>, u64) {
        let level = match self.settings.arguments.max_priority {
            Some(max) => message.priority.min(max),
            None if self.is_quorum() && message.properties.is_empty() => 4,
            None if self.is_quorum() => message.priority,
            None => 0,
        };
        (Reverse(level), position)
    }

    fn is_quorum(&self) -> bool {
        self.settings.arguments.queue_type == QueueType::Quorum
    }

    fn has_levels(&self) -> bool {
        self.settings.arguments.max_priority.is_some() || self.is_quorum()
    }

    /// Whether a confirmed message survives a crash.
    fn is_kept(&self, message: &SharedMessage) -> bool {
        self.settings.durable && (message.persistent || self.is_quorum())
    }

    fn ready_bytes(&self) -> u64 {
        self.ready
            .values()
            .chain(self.delayed.values().map(|(_, kept)| kept))
            .map(|kept| kept.message.body.len() as u64)
            .sum()
    }

    fn ready_count(&self) -> u64 {
        (self.ready.len() + self.delayed.len()) as u64
    }

    /// What waited to be tried again and is due waits no longer.
    fn release(&mut self, now: Now) {
        let due = self
            .delayed
            .extract_if(.., |_, (due, _)| *due <= now.monotonic);
        for (position, (_, kept)) in due.collect::<Vec<_>>() {
            self.ready.insert(self.key(position, &kept.message), kept);
        }
    }

    /// How long a message that came back waits.
    fn wait_of(&self, outcome: Outcome, kept: &Kept) -> Option<Duration> {
        let retry = self.settings.arguments.delayed_retry;
        let min = retry
            .min_ms
            .filter(|_| self.is_quorum() && retry.delays(outcome))?;
        let wait = min * u64::from(kept.attempts.failed.max(1));
        Some(Duration::from_millis(wait.min(retry.max_ms.unwrap_or(min))))
    }

    /// All that is in the queue, by position.
    fn kept(&self) -> impl Iterator<Item = (u64, &Kept)> {
        let ready = self.ready.iter().map(|(key, kept)| (key.1, kept));
        let unacked = self.unacked.iter().map(|(at, (.., kept))| (*at, kept));
        let delayed = self.delayed.iter().map(|(at, (_, kept))| (*at, kept));
        ready.chain(unacked).chain(delayed)
    }

    /// A publish was accepted.
    fn entered(&mut self, now: Now, message: &SharedMessage) -> u64 {
        let ttl = match (
            self.settings.arguments.message_ttl_ms,
            message.expiration_ms,
        ) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        let expires = ttl.map(|ms| now.monotonic + Duration::from_millis(ms));
        let position = self.next;
        self.next += 1;
        let kept = Kept {
            message: message.clone(),
            expires,
            mark: Mark::Fresh,
            attempts: Attempts::default(),
        };
        self.ready.insert(self.key(position, message), kept);
        position
    }

    fn may_take(&self, consumer: &KnownConsumer, windows: &FakeWindows) -> bool {
        let holds = self
            .unacked
            .values()
            .filter(|(_, holder, _)| *holder == Some(consumer.id.index))
            .count();
        let credit = consumer.no_ack
            || consumer.prefetch_count == 0
            || holds < usize::from(consumer.prefetch_count);
        let active =
            !self.settings.arguments.single_active_consumer || self.consumers[0].id == consumer.id;
        credit
            && active
            && !consumer.paused
            && !windows.closed.contains(&consumer.id.channel.connection)
    }

    /// The message at `position` goes out: everything before it must have expired or been too much.
    fn take(
        &mut self,
        now: Now,
        position: Position,
        message: &SharedMessage,
        redelivered: bool,
    ) -> Kept {
        let wanted = self.key(position.0, message);
        while let Some((&first, kept)) = self.ready.first_key_value()
            && first != wanted
        {
            let expired = kept.expires.is_some_and(|at| at <= now.monotonic);
            assert!(
                expired || self.is_over_length(),
                "{first:?} was passed over for {wanted:?}"
            );
            if expired {
                self.expire(first)
            } else {
                self.drop_first()
            }
        }
        let kept = self
            .ready
            .remove(&wanted)
            .expect("a message goes out that is not ready");
        assert!(
            is_same(&kept.message, message),
            "{position:?} has another message"
        );
        assert!(
            kept.expires.is_none_or(|at| at >= now.monotonic),
            "an expired message went out"
        );
        match kept.mark {
            Mark::Fresh => assert!(!redelivered, "{position:?} is marked redelivered"),
            Mark::Redelivered => assert!(redelivered, "{position:?} is not marked redelivered"),
            Mark::Either => {}
        }
        kept
    }

    fn expire(&mut self, key: (Reverse<u8>, u64)) {
        let kept = self.ready.remove(&key).expect("callers found it");
        self.expired += 1;
        self.die(DeadLetterReason::Expired, &kept.message);
        self.settled.insert(key.1);
    }

    fn die(&mut self, reason: DeadLetterReason, message: &SharedMessage) {
        if self.settings.arguments.dead_letter_exchange.is_some() {
            self.dead_letters.push((reason, message.clone()));
        }
    }

    fn observe(&mut self, rig: &Rig, effects: &[Effect]) {
        let dead = dead_letters(effects);
        for effect in effects {
            match effect {
                Effect::Reply { to, reply } => self.observe_reply(rig, to.connection.serial, reply),
                Effect::Delete { .. } => panic!("nobody deletes here"),
                Effect::DeadLetter { .. }
                | Effect::Retry { .. }
                | Effect::RecordsWaiting { .. }
                | Effect::Load { .. }
                | Effect::LookUp { .. }
                | Effect::Acknowledged { .. }
                | Effect::Wake { .. } => {}
            }
        }
        self.catch_up_drops(rig, &dead);
        for effect in effects {
            if let Effect::Reply {
                to,
                reply: Reply::Confirm { first, last },
            } = effect
            {
                (*first..=*last)
                    .for_each(|sequence| self.confirmed(rig, to.connection.serial, sequence));
            }
        }
        let seen: Vec<_> = dead
            .iter()
            .map(|(reason, message)| (reason.as_str(), message.routing_key().clone()))
            .collect();
        let due: Vec<_> = self
            .dead_letters
            .drain(..)
            .map(|(reason, message)| (reason.as_str(), message.routing_key().clone()))
            .collect();
        let sorted = |mut list: Vec<_>| {
            list.sort_unstable();
            list
        };
        assert_eq!(sorted(seen), sorted(due), "dead letters");
    }

    fn observe_reply(&mut self, rig: &Rig, to: u64, reply: &Reply) {
        match reply {
            Reply::Deliver {
                consumer,
                position,
                messages,
                redelivered,
                ..
            } => {
                let first = Attempts::default();
                let message = &messages.clone().into_listed()[0];
                self.delivered(
                    rig,
                    (to, *consumer),
                    *position,
                    message,
                    *redelivered,
                    first,
                );
            }
            Reply::DeliverAgain(again) => {
                assert!(!again.attempts.is_first());
                let (taker, message) = ((to, again.consumer), &again.message);
                self.delivered(rig, taker, again.position, message, true, again.attempts);
            }
            Reply::GetOk {
                position,
                message,
                redelivered,
                ready,
                attempts,
                ..
            } => {
                let (asker, no_ack) = self.gets.remove(0);
                assert_eq!(asker, to);
                let kept = self.take(rig.now, *position, message, *redelivered);
                assert_eq!(*attempts, kept.attempts);
                // Of other levels some may have expired already without a word.
                let known = self.ready.len() as u64;
                let expired = self
                    .ready
                    .values()
                    .any(|kept| kept.expires.is_some_and(|at| at <= rig.now.monotonic));
                assert!(
                    *ready == known || (*ready < known && expired),
                    "{ready} ready, not {known}"
                );
                self.went_out(to, None, position.0, kept, no_ack);
            }
            Reply::GetEmpty => {
                assert_eq!(self.gets.remove(0).0, to);
                let live = self
                    .ready
                    .values()
                    .any(|kept| kept.expires.is_none_or(|at| at > rig.now.monotonic));
                assert!(!live, "get-empty of a queue with messages");
            }
            Reply::TimedOut { .. } => panic!("unexpected {reply:?}"),
            // Looked at when the drops of this turn are known.
            Reply::Confirm { .. } => {}
            Reply::Nack { .. } => panic!("refusals are foreseen"),
            Reply::Barrier(Ok(())) => {
                let (asker, settled) = self.barriers.pop_front().expect("somebody asked");
                assert_eq!(asker, to);
                let mut safe = rig.disk.iter().filter(|(_, (transient, ..))| !transient);
                let back =
                    safe.find(|(at, _)| settled.contains(&at.0) && !rig.is_noted_on_disk(**at));
                assert!(back.is_none(), "{back:?} was settled before a barrier");
            }
            Reply::Operated(reply) => self.operated(rig, to, reply),
            Reply::Credit { .. }
            | Reply::ConsumeOk { .. }
            | Reply::CancelOk { .. }
            | Reply::Status { .. }
            | Reply::Purged { .. } => {}
            Reply::ConsumerCancelled { .. }
            | Reply::Deleted { .. }
            | Reply::Barrier(Err(_))
            | Reply::Failed(_)
            | Reply::Metadata(_)
            | Reply::Access(_)
            | Reply::DirectReply { .. } => panic!("unexpected {reply:?}"),
        }
    }

    fn delivered(
        &mut self,
        rig: &Rig,
        (to, consumer): (u64, u32),
        position: Position,
        message: &SharedMessage,
        redelivered: bool,
        attempts: Attempts,
    ) {
        assert!(self.gets.is_empty(), "a get was waiting");
        let taker = self
            .consumers
            .iter()
            .find(|known| known.id.index == consumer)
            .expect("it is registered");
        assert!(
            self.may_take(taker, &rig.windows),
            "{taker:?} cannot take a message"
        );
        let better = |other: &&KnownConsumer| {
            other.priority > taker.priority && self.may_take(other, &rig.windows)
        };
        assert!(
            !self.consumers.iter().any(|other| better(&other)),
            "a consumer of higher priority waits"
        );
        let no_ack = taker.no_ack;
        let kept = self.take(rig.now, position, message, redelivered);
        assert_eq!(attempts, kept.attempts);
        self.went_out(to, Some(consumer), position.0, kept, no_ack);
    }

    /// The operator got an answer. What was taken or deleted is noted before anything else that came with it.
    fn operated(&mut self, rig: &Rig, to: u64, reply: &OperationReply) {
        let OperationReply::Browsed { messages, next, .. } = reply else {
            return;
        };
        assert_eq!(to, OPERATOR);
        let (from, end) = self.browsed_from.take().expect("somebody browses");
        let mut shown = BTreeSet::new();
        for message in messages {
            let position = message.at.position.0;
            assert!(shown.insert(position), "{position} is shown twice");
            let kept = match message.state {
                BrowsedState::Ready => self.ready.get(&message.at.key_of_model()),
                BrowsedState::Unacked => self.unacked.get(&position).map(|(.., kept)| kept),
                BrowsedState::Settled { .. } => None,
            };
            let kept = kept.unwrap_or_else(|| panic!("{message:?} is not there"));
            assert!(is_same(&kept.message, &message.message));
        }
        // Nothing of the piece is left out, but for what was dropped in this turn.
        let piece = |key: (Reverse<u8>, u64)| {
            key.1 < end
                && key >= from.key_of_model()
                && next.is_none_or(|next| key < next.key_of_model())
        };
        let stays = |kept: &Kept| {
            !self.is_over_length() && kept.expires.is_none_or(|at| at > rig.now.monotonic)
        };
        let ready = self.ready.iter().filter(|(_, kept)| stays(kept));
        let ready = ready.map(|(&key, _)| key);
        let unacked = self.unacked.iter();
        let unacked = unacked.map(|(&position, (.., kept))| self.key(position, &kept.message));
        for key in ready.chain(unacked).filter(|key| piece(*key)) {
            assert!(shown.contains(&key.1), "{key:?} is not shown");
        }
    }

    fn confirmed(&mut self, rig: &Rig, to: u64, sequence: u64) {
        let position = self
            .owed
            .remove(&(to, sequence))
            .expect("a confirm that nobody waits for");
        let ready = self.ready.iter().find(|((_, ready), _)| *ready == position);
        let live = self
            .unacked
            .get(&position)
            .map(|(.., kept)| kept)
            .or_else(|| ready.map(|(_, kept)| kept))
            .or_else(|| self.delayed.get(&position).map(|(_, kept)| kept));
        if live.is_some_and(|kept| self.is_kept(&kept.message)) {
            assert!(
                rig.disk.contains_key(&Position(position)),
                "{position} is confirmed and not safe"
            );
        }
        self.confirmed.insert(position);
    }

    fn went_out(&mut self, to: u64, holder: Option<u32>, position: u64, kept: Kept, no_ack: bool) {
        if no_ack {
            self.settled.insert(position);
        } else {
            self.unacked.insert(position, (to, holder, kept));
        }
    }

    /// Follows the machine's silent drops, if they are in order.
    fn catch_up_drops(&mut self, rig: &Rig, dead: &[(DeadLetterReason, SharedMessage)]) {
        let counters = rig.queue.counters();
        while self.expired < counters.expired || self.max_length < counters.max_length {
            let mut levels = HashSet::new();
            let fronts = self
                .ready
                .iter()
                .filter(|((level, _), _)| levels.insert(*level));
            // With a dead-letter exchange one that must be read first is overtaken by those of other levels.
            let speaks = self.settings.arguments.dead_letter_exchange.is_some();
            let gone = |kept: &Kept| {
                !speaks || dead.iter().any(|(_, other)| is_same(other, &kept.message))
            };
            let has_expired = |kept: &Kept| kept.expires.is_some_and(|at| at <= rig.now.monotonic);
            let mut expired = fronts.filter(|(_, kept)| has_expired(kept) && gone(kept));
            if let Some((&key, _)) = expired.next().filter(|_| self.expired < counters.expired) {
                self.expire(key);
                continue;
            }
            assert!(self.is_over_length(), "dropped without need");
            self.drop_first();
        }
        assert_eq!(
            (self.expired, self.max_length),
            (counters.expired, counters.max_length)
        );
    }

    fn drop_first(&mut self) {
        let (key, kept) = self.ready.pop_first().expect("a full queue is not empty");
        self.die(DeadLetterReason::MaxLength, &kept.message);
        self.max_length += 1;
        self.settled.insert(key.1);
    }

    fn is_over_length(&self) -> bool {
        let arguments = &self.settings.arguments;
        arguments.overflow == Overflow::DropHead
            && (arguments
                .max_length
                .is_some_and(|max| self.ready_count() > max)
                || arguments
                    .max_length_bytes
                    .is_some_and(|max| self.ready_bytes() > max))
    }

    /// Counts agree always; when no read is under way, nothing is left to do.
    fn check(&self, rig: &Rig) {
        assert_eq!(rig.queue.ready_count(), self.ready.len() as u64, "ready");
        assert_eq!(
            rig.queue.unacked_count(),
            self.unacked.len() as u64,
            "unacked"
        );
        if rig.load.is_some() {
            return;
        }
        assert!(self.gets.is_empty(), "a get waits for nothing");
        assert!(
            self.ready.is_empty() || !self.is_over_length(),
            "over its length limit"
        );
        assert_eq!(rig.queue.delayed_count(), self.delayed.len() as u64);
        if let Some((key, kept)) = self.ready.first_key_value() {
            assert!(
                kept.expires.is_none_or(|at| at > rig.now.monotonic),
                "{key:?} should have expired"
            );
            let idle = self
                .consumers
                .iter()
                .find(|consumer| self.may_take(consumer, &rig.windows));
            assert!(idle.is_none(), "{idle:?} could take {key:?}");
        }
    }

    /// After a crash, the messages that the disk has are ready, and nothing that was confirmed is missing.
    fn recover(&mut self, rig: &Rig) {
        let mut before = std::mem::take(&mut self.ready);
        for (position, (_, _, kept)) in std::mem::take(&mut self.unacked) {
            before.insert(self.key(position, &kept.message), kept);
        }
        for (position, (_, kept)) in std::mem::take(&mut self.delayed) {
            before.insert(self.key(position, &kept.message), kept);
        }
        for ((level, position), kept) in &before {
            let safe = self.confirmed.contains(position) && self.is_kept(&kept.message);
            let there = rig.disk.contains_key(&Position(*position));
            assert!(
                !safe || there,
                "{position} of {level:?} was confirmed and is lost"
            );
        }
        for (&position, (transient, expires_at_ms, message)) in &rig.disk {
            assert!(!transient);
            if rig.is_noted_on_disk(position) {
                // It may have left the window meanwhile, but the log does not know.
                assert!(self.settled.contains(&position.0) || self.window.contains(&position.0));
                self.window.insert(position.0);
                continue;
            }
            let expires = expires_at_ms.map(|at| {
                rig.now.monotonic + Duration::from_millis(at.saturating_sub(rig.now.wall_ms))
            });
            let key = self.key(position.0, message);
            let known = before.contains_key(&key) || self.settled.contains(&position.0);
            assert!(known, "{position:?} comes from nowhere");
            let (attempts, due_at_ms) = rig.attempts_on_disk(position);
            let kept = Kept {
                message: message.clone(),
                expires,
                mark: Mark::Either,
                attempts,
            };
            match due_at_ms.checked_sub(rig.now.wall_ms) {
                Some(left @ 1..) => {
                    let due = rig.now.monotonic + Duration::from_millis(left);
                    self.delayed.insert(position.0, (due, kept));
                }
                Some(0) | None => drop(self.ready.insert(key, kept)),
            }
        }
        for position in (0..rig.disk_next.0).map(Position) {
            assert!(
                !rig.queue.is_kept(position) || rig.disk.contains_key(&position),
                "{position:?} is kept and not on the disk"
            );
        }
        self.window
            .retain(|position| rig.is_noted_on_disk(Position(*position)));
        self.next = rig.disk_next.max(rig.disk_delivered_until).0;
        self.consumers.clear();
        self.gets.clear();
        self.owed.clear();
        self.barriers.clear();
        self.settled.clear();
        self.confirmed
            .retain(|position| rig.disk.contains_key(&Position(*position)));
        self.expired = 0;
        self.max_length = 0;
    }
}

/// Each message has a routing key of its own; the queue may have copied the rest.
fn is_same(a: &SharedMessage, b: &SharedMessage) -> bool {
    a.routing_key() == b.routing_key()
}

fn dead_letters(effects: &[Effect]) -> Vec<(DeadLetterReason, SharedMessage)> {
    let dead = effects.iter().filter_map(|effect| {
        let Effect::DeadLetter {
            reason, message, ..
        } = effect
        else {
            return None;
        };
        Some((*reason, message.clone()))
    });
    dead.collect()
}

struct Run {
    random: Random,
    rig: Rig,
    model: Model,
    /// A read that was answered and has not arrived.
    answer: Option<LoadResult>,
    sequences: [u64; 3],
    published: u64,
    next_consumer: u32,
    crashes: bool,
    /// Some messages of a quorum queue have a priority.
    with_priorities: bool,
}

/// The property flags of a message that has nothing but a priority.
const PRIORITY_ONLY: [u8; 2] = [0x08, 0];

impl Run {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        let mut arguments = QueueArguments::default();
        if random.chance(25) {
            arguments.max_priority = Some(4);
        }
        if random.chance(25) {
            arguments.message_ttl_ms = Some([0, 50, 400][random.below(3) as usize]);
        }
        if random.chance(20) {
            arguments.max_length = Some([0, 5, 100, 300][random.below(4) as usize]);
        }
        if random.chance(20) {
            arguments.max_length_bytes = Some(150_000);
        }
        if random.chance(30) {
            arguments.overflow =
                [Overflow::RejectPublish, Overflow::RejectPublishDlx][random.below(2) as usize];
        }
        if random.chance(50) {
            arguments.dead_letter_exchange = Some("dlx".into());
        }
        if random.chance(25) {
            arguments.replay_window.ms = Some([100, 2_000, 60_000][random.below(3) as usize]);
        }
        if random.chance(10) {
            arguments.replay_window.bytes = Some([10, 100_000][random.below(2) as usize]);
        }
        arguments.single_active_consumer = random.chance(20);
        let mut durable = random.chance(75);
        if random.chance(25) {
            durable = true;
            arguments.queue_type = QueueType::Quorum;
            arguments.delivery_limit = [None, Some(0), Some(2)][random.below(3) as usize];
            if random.chance(60) {
                arguments.delayed_retry = DelayedRetry {
                    retry_type: [RetryType::All, RetryType::Failed, RetryType::Returned]
                        [random.below(3) as usize],
                    min_ms: Some([1, 60, 700][random.below(3) as usize]),
                    max_ms: [None, Some(150)][random.below(2) as usize],
                    ..DelayedRetry::default()
                };
            }
            arguments.max_priority = None;
            arguments.single_active_consumer = false;
        }
        let settings = settings(durable, arguments);
        Self {
            rig: Rig::new(settings.clone()),
            model: Model::new(settings),
            answer: None,
            sequences: [0; 3],
            published: 0,
            next_consumer: 1,
            crashes: random.chance(50),
            with_priorities: random.chance(50),
            random,
        }
    }

    fn step(&mut self) {
        match self.random.below(100) {
            0..32 => self.publish(),
            32..34 => self.consume(),
            34..36 => self.cancel(),
            36..40 => self.get(),
            40..58 => self.settle(),
            58..60 => self.resume(),
            60..61 if self.random.chance(20) => self.purge(),
            60..64 => self.pass_time(),
            64..72 => {
                if self.rig.records_waiting.is_some() || self.random.chance(5) {
                    self.rig.collect();
                }
            }
            72..82 => {
                let effects = self.rig.durable();
                self.model.observe(&self.rig, &effects);
            }
            82..86 => {
                if self.rig.load.is_some() && self.answer.is_none() {
                    self.answer = Some(self.rig.read());
                }
            }
            86..92 => self.load(),
            92..93 => {
                let target = [0, 0, 100_000, usize::MAX][self.random.below(4) as usize];
                let effects = self.rig.evict(target);
                self.model.observe(&self.rig, &effects);
            }
            93..96 => self.window(),
            96..98 => match self.random.below(3) {
                0 => self.browse(),
                1 => self.looked_up(),
                _ => self.take(),
            },
            98..99 if self.crashes && self.random.chance(10) => self.crash(),
            _ => self.drop_idle(),
        }
        self.model.check(&self.rig);
    }

    fn command(&mut self, command: QueueCommand) {
        let effects = self.rig.command(command);
        self.model.observe(&self.rig, &effects);
    }

    /// Several messages at once, none of which is refused.
    fn publish_run(&mut self) {
        self.published += 1;
        let address = Address::new(Name::default(), self.published.to_string().into());
        let count = 1 + self.random.below(5);
        let sizes: Vec<_> = (0..count)
            .map(|_| self.random.below(300) as usize)
            .collect();
        let run = run_of(address, self.random.chance(60), &sizes);
        for message in run.messages() {
            self.model.entered(self.rig.now, &message);
        }
        self.command(publish_run(run, None));
    }

    fn publish(&mut self) {
        // A get-ok says how many were ready when it was served, which is somewhere in the middle of a run.
        let is_certain = self.model.gets.is_empty()
            && self.model.settings.arguments.overflow == Overflow::DropHead;
        if is_certain && self.random.chance(20) {
            return self.publish_run();
        }
        let body_bytes = match self.random.below(20) {
            0 => 20_000,
            1..10 => self.random.below(2000) as usize,
            _ => self.random.below(30) as usize,
        };
        let mut message = message(self.random.chance(60), body_bytes);
        message.priority = self.random.below(7) as u8;
        if self.model.is_quorum() && self.with_priorities && self.random.chance(20) {
            message.properties = Bytes::from_static(&PRIORITY_ONLY);
        }
        if self.random.chance(10) {
            message.expiration_ms = Some(self.random.below(300));
        }
        self.published += 1;
        message.address = Address::new(Name::default(), self.published.to_string().into());
        let message = Arc::new(message);
        let arguments = &self.model.settings.arguments;
        let full = arguments.overflow != Overflow::DropHead
            && (arguments
                .max_length
                .is_some_and(|max| self.model.ready_count() >= max)
                || arguments
                    .max_length_bytes
                    .is_some_and(|max| self.model.ready_bytes() + body_bytes as u64 > max));
        let dead_letters_overflow = full && arguments.overflow == Overflow::RejectPublishDlx;
        let publisher = self.random.below(3);
        let confirm = self.random.chance(50).then(|| {
            self.sequences[publisher as usize] += 1;
            ConfirmTo {
                channel: channel(1000 + publisher),
                sequence: self.sequences[publisher as usize],
            }
        });
        let command = QueueCommand::Publish {
            messages: message.clone().into(),
            confirm,
        };
        if full {
            if dead_letters_overflow {
                self.model.die(DeadLetterReason::MaxLength, &message);
            }
            let mut effects = self.rig.command(command);
            let is_nack = |effect: &mut Effect| {
                matches!(
                    effect,
                    Effect::Reply {
                        reply: Reply::Nack { .. },
                        ..
                    }
                )
            };
            let nacks = effects.extract_if(.., is_nack).count();
            assert_eq!(
                nacks,
                usize::from(confirm.is_some()),
                "a refused publish: {}",
                show(&effects)
            );
            self.model.observe(&self.rig, &effects);
            return;
        }
        let position = self.model.entered(self.rig.now, &message);
        if let Some(confirm) = confirm {
            self.model.owed.insert(
                (confirm.channel.connection.serial, confirm.sequence),
                position,
            );
        }
        self.command(command);
        let at_once = !self.model.is_kept(&message);
        if let Some(confirm) = confirm.filter(|_| at_once) {
            let key = (confirm.channel.connection.serial, confirm.sequence);
            assert!(
                !self.model.owed.contains_key(&key),
                "a transient publish waits for its confirm"
            );
        }
    }

    fn consume(&mut self) {
        if self.model.consumers.len() >= 6 {
            return;
        }
        let id = consumer(self.next_consumer);
        // Some share a connection, so that windows close for several.
        let id = ConsumerId {
            channel: channel(u64::from(self.next_consumer % 5)),
            ..id
        };
        self.next_consumer += 1;
        let no_ack = self.random.chance(30);
        let prefetch_count = self.random.below(8) as u16;
        let priority = self.random.below(3) as i32 - 1;
        self.model.consumers.push(KnownConsumer {
            id,
            no_ack,
            prefetch_count,
            priority,
            paused: false,
        });
        self.command(consume(id, no_ack, prefetch_count, priority));
    }

    fn some_consumer(&mut self) -> Option<usize> {
        let count = self.model.consumers.len() as u64;
        (count > 0).then(|| self.random.below(count.max(1)) as usize)
    }

    fn cancel(&mut self) {
        let Some(index) = self.some_consumer() else {
            return;
        };
        let consumer = self.model.consumers.remove(index).id;
        self.command(QueueCommand::Cancel {
            consumer,
            reply: true,
        });
    }

    fn get(&mut self) {
        let (asker, no_ack) = (self.random.below(5), self.random.chance(50));
        self.model.gets.push((asker, no_ack));
        self.command(QueueCommand::Get {
            channel: channel(asker),
            no_ack,
        });
    }

    fn settle(&mut self) {
        let Some((&first, _)) = self.model.unacked.first_key_value() else {
            return;
        };
        let start = if self.random.chance(60) {
            first
        } else {
            first + self.random.below(40)
        };
        let holder = self
            .model
            .unacked
            .range(start..)
            .next()
            .map(|(_, (holder, ..))| *holder);
        let Some(holder) = holder else { return };
        let most = 1 + self.random.below(12) as usize;
        let mut positions: Vec<u64> = self
            .model
            .unacked
            .range(start..)
            .filter(|(_, (other, ..))| *other == holder)
            .take(most)
            .map(|(&position, _)| position)
            .collect();
        let outcome = match self.random.below(10) {
            draw if holder == OPERATOR => [Outcome::Ack, Outcome::Return][(draw % 2) as usize],
            0..5 => Outcome::Ack,
            5..6 => Outcome::Discard,
            6..8 => Outcome::Requeue,
            8..9 => Outcome::Return,
            _ => Outcome::Fail,
        };
        for position in &positions {
            let (_, consumer, mut kept) = self
                .model
                .unacked
                .remove(position)
                .expect("it was just seen");
            match outcome {
                Outcome::Ack => drop(self.model.settled.insert(*position)),
                Outcome::Discard | Outcome::Reject => {
                    self.model.die(DeadLetterReason::Rejected, &kept.message);
                    self.model.settled.insert(*position);
                }
                Outcome::Requeue | Outcome::Fail | Outcome::Return => {
                    if outcome != Outcome::Return {
                        kept.mark = Mark::Redelivered;
                        if self.model.is_quorum() {
                            kept.attempts.acquired += 1;
                            kept.attempts.failed += u32::from(outcome == Outcome::Fail);
                        }
                        let limit = self.model.settings.arguments.delivery_limit;
                        if limit.is_some_and(|limit| u64::from(kept.attempts.failed) > limit) {
                            let reason = DeadLetterReason::DeliveryLimit;
                            self.model.die(reason, &kept.message);
                            self.model.settled.insert(*position);
                            continue;
                        }
                        if let Some(wait) = self.model.wait_of(outcome, &kept) {
                            let due = self.rig.now.monotonic + wait;
                            self.model.delayed.insert(*position, (due, kept));
                            continue;
                        }
                    } else {
                        kept.mark = if kept.mark == Mark::Fresh {
                            Mark::Either
                        } else {
                            kept.mark
                        };
                        let known = self
                            .model
                            .consumers
                            .iter_mut()
                            .find(|known| Some(known.id.index) == consumer);
                        if let Some(known) = known {
                            known.paused = true;
                        }
                    }
                    let key = self.model.key(*position, &kept.message);
                    self.model.ready.insert(key, kept);
                }
            }
        }
        if self.random.chance(10) {
            // Positions that are not unacked are ignored.
            positions.extend(self.model.ready.keys().map(|key| key.1).max());
            positions.extend([self.model.next, self.model.next + 5]);
            positions.sort_unstable();
            positions.dedup();
        }
        let positions = positions.into_iter().map(Position).collect();
        self.command(QueueCommand::Settle {
            channel: channel(holder),
            positions,
            outcome,
        });
        if self.random.chance(15) {
            self.barrier(holder);
        }
    }

    fn barrier(&mut self, asker: u64) {
        self.model
            .barriers
            .push_back((asker, self.model.settled.clone()));
        self.command(QueueCommand::Barrier {
            channel: channel(asker),
        });
    }

    fn resume(&mut self) {
        let Some(index) = self.some_consumer() else {
            return;
        };
        self.model.consumers[index].paused = false;
        let consumer = self.model.consumers[index].id;
        self.command(QueueCommand::Resume { consumer });
    }

    fn purge(&mut self) {
        let now = self.rig.now.monotonic;
        let before = self.rig.queue.counters().purged;
        let effects = self.rig.command(QueueCommand::Purge {
            channel: channel(1),
        });
        self.model
            .catch_up_drops(&self.rig, &dead_letters(&effects));
        let purged = self.rig.queue.counters().purged - before;
        assert_eq!(purged, self.model.ready_count(), "at {now:?}");
        let delayed = std::mem::take(&mut self.model.delayed);
        self.model.settled.extend(delayed.keys());
        let ready = std::mem::take(&mut self.model.ready);
        self.model.settled.extend(ready.keys().map(|key| key.1));
        self.model.observe(&self.rig, &effects);
    }

    /// An operator looks at a piece of the queue.
    fn browse(&mut self) {
        if self.model.browsed_from.is_some() {
            return;
        }
        // A quorum queue may have its usual level only, which comes before those below.
        let levels = if self.model.is_quorum() { 5 } else { 7 };
        let first = self.model.ready.keys().next().map_or(0, |key| key.1);
        let from = Cursor {
            level: if self.model.has_levels() {
                self.random.below(levels) as u8
            } else {
                0
            },
            position: Position(first + self.random.below(40)),
        };
        let messages_max = 1 + self.random.below(30) as usize;
        self.model.browsed_from = Some((from, self.model.next));
        self.command(QueueCommand::Operate {
            channel: channel(OPERATOR),
            operation: Box::new(Operation::Browse {
                present: Present::Waiting,
                from,
                messages_max,
            }),
        });
    }

    fn looked_up(&mut self) {
        if self.rig.look_up.is_some() {
            let effects = self.rig.looked_up();
            self.model.observe(&self.rig, &effects);
        }
    }

    /// An operator takes messages out of the middle, or deletes them.
    fn take(&mut self) {
        let skip = self.random.below(30) as usize;
        let most = 1 + self.random.below(6) as usize;
        let now = self.rig.now;
        let wanted = self.model.ready.iter().skip(skip).take(most);
        let messages: Vec<_> = wanted
            .map(|(&(Reverse(level), position), kept)| BrowsedMessage {
                at: Cursor {
                    level,
                    position: Position(position),
                },
                state: BrowsedState::Ready,
                redelivered: kept.mark == Mark::Redelivered,
                expires_at_ms: kept.expires.map(|at| {
                    let from_start = now.wall_ms - now.monotonic.as_millis() as u64;
                    from_start + at.as_millis() as u64
                }),
                message: kept.message.clone(),
            })
            .collect();
        // Until all levels are known only some can be found, and only an answer to a take says which.
        let finds_all =
            !self.model.has_levels() || (!self.model.is_quorum() && self.rig.load.is_none());
        let deletes = self.random.chance(50) && finds_all;
        let operation = if deletes {
            Operation::Delete {
                messages: messages.clone(),
            }
        } else {
            Operation::Take {
                messages: messages.clone(),
            }
        };
        let effects = self.rig.command(QueueCommand::Operate {
            channel: channel(OPERATOR),
            operation: Box::new(operation),
        });
        let done = effects.iter().find_map(|effect| {
            if let Effect::Reply {
                reply: Reply::Operated(reply),
                ..
            } = effect
            {
                return Some(reply);
            }
            None
        });
        let keys = messages.iter().map(|message| message.at.key_of_model());
        match done.map(|reply| &**reply) {
            Some(OperationReply::Deleted { count }) => {
                assert_eq!(*count, messages.len() as u64);
                for key in keys {
                    self.model.ready.remove(&key);
                    self.model.settled.insert(key.1);
                }
            }
            Some(OperationReply::Taken { positions }) => {
                assert!(!finds_all || positions.len() == messages.len());
                for key in keys.filter(|key| positions.contains(&Position(key.1))) {
                    let kept = self.model.ready.remove(&key).expect("it was just seen");
                    self.model.unacked.insert(key.1, (OPERATOR, None, kept));
                }
            }
            other => panic!("an answer is missing: {other:?}"),
        }
        self.model.observe(&self.rig, &effects);
    }

    fn pass_time(&mut self) {
        let ms = [1, 10, 100, 500][self.random.below(4) as usize];
        let effects = self.rig.pass_ms(ms);
        self.model.release(self.rig.now);
        self.model.observe(&self.rig, &effects);
    }

    fn load(&mut self) {
        let effects = match self.answer.take() {
            Some((messages, reached)) => self.rig.loaded_with(messages, reached),
            None => self.rig.loaded(),
        };
        self.model.observe(&self.rig, &effects);
    }

    fn window(&mut self) {
        let connection = ConnectionId {
            serial: self.random.below(5),
            ..ConnectionId::default()
        };
        if self.rig.windows.closed.contains(&connection) {
            let effects = self.rig.open_window(connection);
            self.model.observe(&self.rig, &effects);
        } else if self.random.chance(50) {
            self.rig.windows.closed.insert(connection);
        }
    }

    fn crash(&mut self) {
        self.answer = None;
        self.model.browsed_from = None;
        let mut effects = self.rig.crash();
        while self.rig.look_up.is_some() {
            effects.extend(self.rig.looked_up());
        }
        self.model.recover(&self.rig);
        // Only a read tells what waits to be tried again.
        while !self.model.delayed.is_empty() && self.rig.load.is_some() {
            effects.extend(self.rig.loaded());
        }
        self.model.observe(&self.rig, &effects);
    }

    fn drop_idle(&mut self) {
        if !self.rig.queue.is_idle() {
            return;
        }
        let effects = self.rig.drop_idle();
        (self.model.expired, self.model.max_length) = (0, 0);
        let has_levels = self.model.has_levels();
        for kept in self.model.ready.values_mut() {
            if has_levels {
                kept.mark = Mark::Either;
            }
        }
        self.model.observe(&self.rig, &effects);
    }

    /// Everything comes to rest: all confirms are given and all messages can be had.
    fn finish(&mut self) {
        self.answer = None;
        let effects = self.rig.catch_up();
        self.model.observe(&self.rig, &effects);
        self.model.check(&self.rig);
        assert!(
            self.model.owed.is_empty(),
            "confirms are missing: {:?}",
            self.model.owed
        );
        assert!(self.model.barriers.is_empty(), "a barrier is not answered");
        self.check_disk();
        let effects = self.rig.command(operate(Operation::Forget));
        self.model.observe(&self.rig, &effects);
        let effects = self.rig.catch_up();
        self.model.observe(&self.rig, &effects);
        assert_eq!(self.rig.queue.replayable_count(), 0);
        assert!(self.rig.disk_notes.is_empty());
        let known = self.model.kept();
        for (position, kept) in known.filter(|_| self.model.is_quorum()) {
            let (attempts, _) = self.rig.attempts_on_disk(Position(position));
            assert_eq!(attempts, kept.attempts, "{position}");
        }
        if self.model.kept().all(|(_, kept)| kept.attempts.is_first()) {
            let notes = &self.rig.disk_attempts;
            assert!(notes.is_empty(), "{notes:?}");
        }
        self.check_disk();
    }

    /// At rest the disk has nothing that is neither in the queue nor kept.
    fn check_disk(&self) {
        for position in self.rig.disk.keys() {
            let held = self.model.kept().any(|(known, _)| known == position.0);
            assert!(
                held || self.rig.queue.is_kept(*position),
                "{position:?} is on the disk for nobody"
            );
        }
    }
}

/// Runs of the test, each with its own seed.
const RUNS: u64 = 1000;

/// Commands of a run.
const STEPS: usize = 1000;

/// Lines shown of a run that failed: what was done and what came of it.
const TOLD_MAX: usize = 12;

fn run(seed: u64, steps: usize, told: Option<Told>) {
    let mut run = Run::new(seed);
    run.rig.told = told;
    for _ in 0..steps {
        run.step();
    }
    run.finish();
}

/// Whether the run goes well. Its panic, if it does not, is printed only by who asks for that.
fn passes(seed: u64, steps: usize) -> bool {
    QUIET.set(true);
    let result = catch_unwind(|| run(seed, steps, None));
    QUIET.set(false);
    result.is_ok()
}

/// The fewest commands after which the run still fails, if it does with those before `failing`, as far as halving finds them.
fn shortest_failing(seed: u64, mut failing: usize) -> usize {
    let mut passing = 0;
    while passing + 1 < failing {
        let middle = passing.midpoint(failing);
        if passes(seed, middle) {
            passing = middle;
        } else {
            failing = middle;
        }
    }
    failing
}

thread_local! {
    /// Panics of this thread are not printed.
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

fn silence_quiet_threads() {
    let print = take_hook();
    set_hook(Box::new(move |panic| {
        if !QUIET.get() {
            print(panic);
        }
    }));
}

/// `SEED` in the environment runs only that one and shows all of it.
#[test]
fn the_machine_agrees_with_a_naive_queue() {
    silence_quiet_threads();
    let only = std::env::var("SEED").ok();
    let only = only.map(|seed| seed.parse().expect("SEED is a number"));
    let (first, last) = only.map_or((1, RUNS), |seed| (seed, seed));
    let next = AtomicU64::new(first);
    let failed = Mutex::new(BTreeSet::new());
    let work = || {
        loop {
            let seed = next.fetch_add(1, Relaxed);
            if seed > last {
                return;
            }
            if !passes(seed, STEPS) {
                failed.lock().expect("nobody panics with it").insert(seed);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, NonZero::get) {
            scope.spawn(work);
        }
    });
    let failed = failed.into_inner().expect("nobody panics with it");
    let Some(&seed) = failed.first() else { return };
    let steps = shortest_failing(seed, STEPS);
    eprintln!("seeds that fail: {failed:?}; the first of them after {steps} steps, which end so:");
    let lines_max = if first == last { usize::MAX } else { TOLD_MAX };
    run(seed, steps, Some(Told::new(lines_max)));
}
