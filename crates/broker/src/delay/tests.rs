//! The delay store with a simulated clock and a log in miniature.

use super::schedule::{Only, Selector};
use super::*;
use crate::command::{ChannelId, Reply};
use crate::effect::{Effect, Effects};
use crate::message::{Address, Message};
use crate::queue::Stored;
use crate::value::IntKind;
use base::{ConnectionId, Now, Position};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

const STORE: QueueId = QueueId(STORE_ID);
const START_MS: u64 = 1_700_000_000_000;

#[derive(Default)]
struct Batch {
    ticket: u64,
    messages: Vec<(Position, Arc<Delayed>)>,
    settled: Vec<(Position, Position)>,
}

impl DelaySink for Batch {
    fn delayed(&mut self, _: QueueId, position: Position, delayed: &Arc<Delayed>) {
        self.messages.push((position, Arc::clone(delayed)));
    }

    fn settled(&mut self, _: QueueId, from: Position, until: Position) {
        assert!(from < until);
        self.settled.push((from, until));
    }
}

/// A shard in miniature around one store.
struct Rig {
    store: DelayStore,
    now: Now,
    disk: BTreeMap<Position, Arc<Delayed>>,
    disk_next: Position,
    batches: VecDeque<Batch>,
    next_ticket: u64,
    waiting: Option<bool>,
    wake: Option<Duration>,
    loads: VecDeque<(Position, Position)>,
    room: bool,
    /// Bodies of what left, in order.
    left: Vec<(Position, u64)>,
    confirmed: u64,
    refused: u64,
    settles_at_once: bool,
    calls: u64,
}

fn body(delayed: &Delayed) -> u64 {
    u64::from_le_bytes(delayed.message.body[..8].try_into().unwrap())
}

impl Rig {
    fn new() -> Self {
        Self {
            store: DelayStore::new(STORE, Stored::default()),
            now: Now {
                monotonic: Duration::from_secs(5),
                wall_ms: START_MS,
            },
            disk: BTreeMap::new(),
            disk_next: Position(0),
            batches: VecDeque::new(),
            next_ticket: 1,
            waiting: None,
            wake: None,
            loads: VecDeque::new(),
            room: true,
            left: Vec::new(),
            confirmed: 0,
            refused: 0,
            settles_at_once: true,
            calls: 0,
        }
    }

    fn call(&mut self, visit: impl FnOnce(&mut DelayStore, Now, &mut Effects)) {
        let mut effects = Effects::new();
        visit(&mut self.store, self.now, &mut effects);
        let mut due = Vec::new();
        self.store
            .advance(self.now, self.room, &mut due, &mut effects);
        for due in due {
            assert!(
                due.delayed.due_at_ms <= self.now.wall_ms,
                "a message left before its time"
            );
            self.left.push((due.position, body(&due.delayed)));
            if self.settles_at_once {
                self.store.settle(due.position, &mut effects);
            }
        }
        // Its cost grows with the store.
        self.calls += 1;
        if self.store.count() < 100 || self.calls.is_multiple_of(64) {
            self.store.check_invariants();
        }
        for effect in effects {
            match effect {
                Effect::RecordsWaiting { urgent, .. } => {
                    assert!(self.waiting.is_none_or(|before| !before && urgent));
                    self.waiting = Some(urgent);
                }
                Effect::Acknowledged { .. } => {}
                Effect::Wake { at, .. } => {
                    self.wake = Some(self.wake.map_or(at, |before| before.min(at)));
                }
                Effect::Load { from, until, .. } => self.loads.push_back((from, until)),
                Effect::Reply {
                    reply: Reply::Confirm { first, last },
                    ..
                } => self.confirmed += last + 1 - first,
                Effect::Reply {
                    reply: Reply::Nack { first, last },
                    ..
                } => self.refused += last + 1 - first,
                other @ (Effect::Reply { .. }
                | Effect::Delete { .. }
                | Effect::Retry { .. }
                | Effect::LookUp { .. }
                | Effect::DeadLetter { .. }) => panic!("{other:?}"),
            }
        }
    }

    fn publish(&mut self, number: u64, wait: Wait, size: usize, confirm: bool) {
        let request = request(number, wait, size, confirm);
        self.call(|store, now, effects| store.delay(now, request, effects));
    }

    fn collect(&mut self) {
        self.waiting = None;
        let mut batch = Batch {
            ticket: self.next_ticket,
            ..Batch::default()
        };
        self.next_ticket += 1;
        self.store.collect_records(batch.ticket, &mut batch);
        self.batches.push_back(batch);
    }

    fn sync(&mut self) {
        let Some(batch) = self.batches.pop_front() else {
            return;
        };
        for (position, delayed) in batch.messages {
            self.disk_next = self.disk_next.max(position.next());
            self.disk.insert(position, delayed);
        }
        for (from, until) in batch.settled {
            self.disk
                .retain(|position, _| *position < from || *position >= until);
        }
        let ticket = batch.ticket;
        self.call(|store, _, effects| store.handle_durable(ticket, effects));
    }

    /// Answers the oldest read with at most `max` messages.
    fn answer(&mut self, max: usize) -> bool {
        let Some((from, until)) = self.loads.pop_front() else {
            return false;
        };
        let mut messages: Vec<_> = self
            .disk
            .range(from..until)
            .map(|(position, delayed)| (*position, Arc::clone(delayed)))
            .collect();
        let reached = messages.get(max).map_or(until, |(position, _)| *position);
        messages.truncate(max);
        self.call(|store, now, _| store.handle_loaded(now, from, messages, reached));
        true
    }

    fn settle_disk(&mut self) {
        while self.waiting.is_some() || !self.batches.is_empty() || !self.loads.is_empty() {
            if self.waiting.is_some() {
                self.collect();
            }
            self.sync();
            self.answer(usize::MAX);
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now.monotonic += time;
        self.now.wall_ms += u64::try_from(time.as_millis()).unwrap();
        if self.wake.is_some_and(|at| at <= self.now.monotonic) {
            self.wake = None;
            self.call(|store, _, _| store.handle_timeout());
        }
    }

    /// Goes from wake-up to wake-up for as long as that.
    fn run(&mut self, time: Duration) {
        let end = self.now.monotonic + time;
        loop {
            self.settle_disk();
            let at = self.wake.unwrap_or(end).clamp(self.now.monotonic, end);
            // The wall clock of the tests goes in whole milliseconds.
            let step = Duration::from_millis(
                u64::try_from((at - self.now.monotonic).as_micros().div_ceil(1000)).unwrap(),
            );
            if self.now.monotonic + step >= end && self.wake.is_none_or(|at| at > end) {
                self.pass(end - self.now.monotonic);
                self.settle_disk();
                return;
            }
            self.pass(step);
        }
    }

    fn crash(&mut self) {
        let stored = Stored {
            messages: self.disk.len() as u64,
            first: self.disk.keys().next().copied().unwrap_or(self.disk_next),
            next: self.disk_next,
            ..Stored::default()
        };
        self.store = DelayStore::new(STORE, stored);
        self.now.monotonic = Duration::from_secs(1);
        self.batches.clear();
        self.loads.clear();
        self.waiting = None;
        self.wake = None;
        self.call(|store, _, _| store.handle_timeout());
    }

    fn numbers(&self) -> Vec<u64> {
        self.left.iter().map(|(_, number)| *number).collect()
    }
}

fn request(number: u64, wait: Wait, size: usize, confirm: bool) -> DelayRequest {
    let mut body = number.to_le_bytes().to_vec();
    body.resize(size.max(8), 0);
    let connection = ConnectionId::default();
    let channel = ChannelId {
        connection,
        number: 1,
        epoch: 0,
    };
    DelayRequest {
        vhost: "/".into(),
        target: DelayTarget::Exchange(
            if number.is_multiple_of(2) {
                "even"
            } else {
                "odd"
            }
            .into(),
        ),
        wait,
        message_id: Some(Bytes::from(format!("m{number}"))),
        message: Arc::new(Message {
            address: Address::new("x".into(), Bytes::new()),
            properties: Bytes::new(),
            body: body.into(),
            persistent: true,
            priority: 0,
            expiration_ms: None,
            extra_routing_keys: None,
            deaths: None,
        }),
        confirm: confirm.then_some(ConfirmTo {
            channel,
            sequence: number + 1,
        }),
    }
}

fn table(key: &str, value: Value) -> Arguments {
    Arguments::from_pairs([(key.into(), value)])
}

#[test]
fn headers_ask_to_wait_as_the_plugin_reads_them() {
    let text = |text: &'static str| Value::LongStr(Bytes::from_static(text.as_bytes()));
    for (value, expect) in [
        (Value::Int(IntKind::I32, 5000), Some(5000)),
        (Value::Int(IntKind::U8, 1), Some(1)),
        (Value::Int(IntKind::I64, DELAY_MS_MAX), Some(u32::MAX)),
        (Value::Int(IntKind::I64, DELAY_MS_MAX + 1), None),
        (Value::Int(IntKind::I32, 0), None),
        (Value::Int(IntKind::I32, -5000), None),
        (text("250"), Some(250)),
        (text("soon"), None),
        (Value::Double(99.9), Some(99)),
        (Value::Double(f64::NAN), None),
        (Value::Bool(true), None),
        (Value::Timestamp(5), None),
    ] {
        let wait = Wait::of(&table(DELAY_HEADER, value.clone()));
        assert_eq!(wait, expect.map(|ms| Ok(Wait::For(ms))), "{value:?}");
    }
    assert_eq!(
        Wait::of(&table(DELIVER_AT_HEADER, Value::Timestamp(7))),
        Some(Ok(Wait::Until(7000)))
    );
    for wrong in [text("tomorrow"), Value::Int(IntKind::I64, -1)] {
        assert!(Wait::of(&table(DELIVER_AT_HEADER, wrong)).unwrap().is_err());
    }
    assert_eq!(Wait::of(&Arguments::default()), None);
}

#[test]
fn messages_leave_when_they_are_due_and_in_that_order() {
    let mut rig = Rig::new();
    for (number, delay) in [500, 100, 300, 200, 100, 400].into_iter().enumerate() {
        rig.publish(number as u64, Wait::For(delay), 8, false);
    }
    rig.run(Duration::from_millis(99));
    assert!(rig.left.is_empty());
    rig.run(Duration::from_millis(1));
    assert_eq!(rig.numbers(), [1, 4]);
    rig.run(Duration::from_millis(400));
    assert_eq!(rig.numbers(), [1, 4, 3, 2, 5, 0]);
    assert!(rig.disk.is_empty(), "what has left is settled");
}

#[test]
fn no_message_leaves_early_by_a_part_of_a_millisecond() {
    let mut rig = Rig::new();
    rig.now.monotonic += Duration::from_micros(900);
    rig.publish(0, Wait::For(10), 8, false);
    rig.now.monotonic += Duration::from_micros(9_900);
    rig.call(|_, _, _| {});
    assert!(rig.left.is_empty());
    rig.now.monotonic += Duration::from_micros(200);
    rig.now.wall_ms += 10;
    rig.call(|_, _, _| {});
    assert_eq!(rig.numbers(), [0]);
}

#[test]
fn an_absolute_time_that_has_passed_is_now() {
    let mut rig = Rig::new();
    rig.publish(1, Wait::Until(START_MS + 50), 8, false);
    rig.publish(2, Wait::Until(5), 8, false);
    assert_eq!(rig.numbers(), [2]);
    rig.run(Duration::from_millis(50));
    assert_eq!(rig.numbers(), [2, 1]);
}

#[test]
fn a_confirm_waits_for_the_log_even_if_the_message_has_left() {
    let mut rig = Rig::new();
    rig.publish(0, Wait::For(1), 8, true);
    assert_eq!(rig.waiting, Some(true));
    rig.pass(Duration::from_millis(1));
    assert_eq!(rig.numbers(), [0]);
    assert_eq!(rig.confirmed, 0);
    rig.collect();
    assert!(rig.batches[0].messages.is_empty(), "it is never written");
    rig.sync();
    assert_eq!(rig.confirmed, 1);
}

#[test]
fn nobody_is_confirmed_when_the_log_is_lost() {
    let mut rig = Rig::new();
    rig.publish(0, Wait::For(1000), 8, true);
    rig.call(|store, _, effects| store.handle_storage_failed(effects));
    rig.waiting = None;
    rig.publish(1, Wait::For(1000), 8, true);
    assert_eq!((rig.confirmed, rig.refused), (0, 2));
}

#[test]
fn what_waits_survives_a_crash_and_what_has_left_does_not_come_again() {
    let mut rig = Rig::new();
    for number in 0..100 {
        rig.publish(number, Wait::For(1000 + 10 * number as u32), 8, false);
    }
    rig.settle_disk();
    rig.run(Duration::from_millis(1500));
    assert_eq!(rig.left.len(), 51);
    rig.crash();
    assert_eq!(rig.left.len(), 51);
    rig.run(Duration::from_secs(1));
    assert_eq!(rig.numbers(), (0..100).collect::<Vec<_>>());
}

#[test]
fn what_became_due_while_the_node_was_down_leaves_first_and_in_order() {
    let mut rig = Rig::new();
    for number in 0..1000 {
        rig.publish(number, Wait::For(2000 - number as u32), 8, false);
    }
    rig.settle_disk();
    rig.now.wall_ms += 3_600_000;
    rig.crash();
    while rig.answer(64) {}
    rig.run(Duration::from_secs(1));
    assert_eq!(rig.numbers(), (0..1000).rev().collect::<Vec<_>>());
}

#[test]
fn a_wall_clock_that_jumps_moves_nothing() {
    let mut rig = Rig::new();
    rig.publish(1, Wait::For(1000), 8, false);
    rig.now.wall_ms += 10 * 365 * 86_400_000;
    rig.run(Duration::from_millis(999));
    assert!(rig.left.is_empty());
    rig.run(Duration::from_millis(1));
    assert_eq!(rig.numbers(), [1]);
}

#[test]
fn many_messages_leave_ram_and_come_back_in_time() {
    let mut rig = Rig::new();
    rig.store.evict(0);
    let count = 2_000;
    for number in 0..count {
        // A permutation, so that what is due together lies apart.
        let delay = 10_000 + number * 7919 % count;
        rig.publish(number, Wait::For(delay as u32), 3_000, false);
        if number % 100 == 0 {
            rig.settle_disk();
        }
    }
    rig.settle_disk();
    assert!(rig.store.ram_bytes() < (1 << 20) + 2_000 * 64);
    rig.run(Duration::from_millis(9_999));
    assert!(rig.left.is_empty());
    rig.run(Duration::from_millis(count));
    let delays: Vec<_> = rig.numbers().iter().map(|n| n * 7919 % count).collect();
    assert!(delays.is_sorted());
    assert_eq!(delays.len() as u64, count);
}

#[test]
fn nothing_leaves_while_there_is_no_room() {
    let mut rig = Rig::new();
    rig.room = false;
    rig.publish(1, Wait::For(10), 8, false);
    rig.run(Duration::from_millis(100));
    assert!(rig.left.is_empty());
    rig.room = true;
    rig.run(Duration::from_millis(20));
    assert_eq!(rig.numbers(), [1]);
}

#[test]
fn messages_are_counted_listed_and_cancelled() {
    let mut rig = Rig::new();
    for number in 0..10 {
        rig.publish(number, Wait::For(1000 - number as u32), 8, false);
    }
    rig.settle_disk();
    let vhost: Name = "/".into();
    let counts: HashMap<_, _> = rig
        .store
        .counts()
        .map(|(_, target, count)| (target.clone(), count))
        .collect();
    assert_eq!(counts[&DelayTarget::Exchange("odd".into())], 5);
    let listed = rig
        .store
        .list(rig.now, &Selector::of_vhost(vhost.clone()), 3);
    let due: Vec<_> = listed
        .iter()
        .map(|entry| entry.due_at_ms - START_MS)
        .collect();
    assert_eq!(due, [991, 992, 993]);
    let cancel = |rig: &mut Rig, selector: Selector| {
        let mut count = 0;
        rig.call(|store, _, effects| count = store.cancel(&selector, effects));
        count
    };
    let at_odd = DelayTarget::Exchange("odd".into());
    let odd = Selector::of_target(vhost.clone(), at_odd);
    assert_eq!(cancel(&mut rig, odd.clone()), 5);
    assert_eq!(cancel(&mut rig, odd.clone()), 0);
    let only = |selector: &Selector, only| Selector {
        only: Some(only),
        ..selector.clone()
    };
    let (all, by_id) = (Selector::of_vhost(vhost), Only::MessageId((*b"m4").into()));
    assert_eq!(cancel(&mut rig, only(&odd, by_id.clone())), 0);
    assert_eq!(cancel(&mut rig, only(&all, by_id)), 1);
    let one = |store| {
        let position = Position(6);
        Only::At { store, position }
    };
    assert_eq!(cancel(&mut rig, only(&all, one(QueueId(1)))), 0);
    assert_eq!(cancel(&mut rig, only(&odd, one(STORE))), 0);
    assert_eq!(cancel(&mut rig, only(&all, one(STORE))), 1);
    assert_eq!(cancel(&mut rig, Selector::of_vhost("other".into())), 0);
    rig.run(Duration::from_secs(2));
    assert_eq!(rig.numbers(), [8, 2, 0]);
    assert!(rig.disk.is_empty());
}

/// A small deterministic generator.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

#[test]
fn whatever_happens_each_message_leaves_once_unless_a_crash_comes_between() {
    for seed in 0..60 {
        let mut random = Random(seed);
        let mut rig = Rig::new();
        rig.store.evict(0);
        rig.settles_at_once = seed % 2 == 0;
        let mut published = 0;
        let mut durable = 0;
        let mut crashes = 0;
        let mut unsettled: Vec<Position> = Vec::new();
        for _ in 0..400 {
            let seen = rig.left.len();
            match random.below(20) {
                0..8 => {
                    let wait = Wait::For(1 + random.below(6000) as u32);
                    let size = 8 + random.below(60_000) as usize;
                    rig.publish(published, wait, size, random.below(2) == 0);
                    published += 1;
                }
                8..11 if rig.waiting.is_some() => rig.collect(),
                11..13 => {
                    let batch = rig.batches.front();
                    let last = batch.and_then(|batch| batch.messages.last());
                    durable = last.map_or(durable, |(_, delayed)| body(delayed) + 1);
                    rig.sync();
                }
                13..16 => drop(rig.answer(1 + random.below(8) as usize)),
                16..19 => rig.pass(Duration::from_millis(random.below(900))),
                19 if !rig.settles_at_once && !unsettled.is_empty() => {
                    let index = random.below(unsettled.len() as u64) as usize;
                    let position = unsettled.swap_remove(index);
                    rig.call(|store, _, effects| store.settle(position, effects));
                }
                19 if random.below(20) == 0 => {
                    rig.crash();
                    rig.store.evict(0);
                    crashes += 1;
                    unsettled.clear();
                }
                _ => rig.room = random.below(4) > 0,
            }
            unsettled.extend(rig.left[seen..].iter().map(|(position, _)| *position));
        }
        rig.room = true;
        rig.run(Duration::from_secs(10));
        let mut times: HashMap<u64, usize> = HashMap::new();
        for number in rig.numbers() {
            *times.entry(number).or_default() += 1;
        }
        for number in 0..published {
            let times = times.get(&number).copied().unwrap_or_default();
            assert!(
                times <= 1 + crashes,
                "seed {seed}: {number} left {times} times"
            );
            assert!(times > 0 || (crashes > 0), "seed {seed}: {number} is lost");
            assert!(
                times > 0 || number >= durable || crashes > 0,
                "seed {seed}: {number} was durable and is lost"
            );
        }
    }
}
