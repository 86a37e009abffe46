//! Messages that share their tails: one copy in the log, all of it in every answer.

use super::harness::{Content, Machine, small};
use crate::format::FORMAT_VERSION;
use crate::testing::{Random, SimDisk, Survival};
use crate::{Batch, Options, Record};
use base::{Position, QueueId, ShardId};
use bytes::Bytes;
use std::path::Path;
use std::sync::atomic::Ordering;

const QUEUES: u64 = 100;
const TAIL_BYTES: usize = 1500;

fn tail(position: u64) -> Bytes {
    Bytes::from(vec![position as u8; TAIL_BYTES])
}

fn head(queue: u64) -> Bytes {
    Bytes::copy_from_slice(&queue.to_le_bytes())
}

/// One message to all queues.
fn fan_out(position: u64) -> Batch<Content> {
    let tail = tail(position);
    let record = |queue| Record::Message {
        queue: QueueId(queue),
        position: Position(position),
        transient: false,
        payload: Content {
            head: head(queue),
            tail: Some(tail.clone()),
        },
    };
    batch((1..=QUEUES).map(record).collect())
}

fn settled(queue: u64, until: u64) -> Record<Content> {
    let (from, until) = (Position(0), Position(until));
    let queue = QueueId(queue);
    Record::Settled { queue, from, until }
}

fn batch(records: Vec<Record<Content>>) -> Batch<Content> {
    Batch {
        shard: ShardId(0),
        ticket: 1,
        sync: true,
        records,
    }
}

fn options() -> Options {
    Options {
        wal_file_bytes: 16 << 10,
        kept_live_percent_min: 50,
        ..small()
    }
}

fn write(machine: &mut Machine, batches: impl IntoIterator<Item = Batch<Content>>) {
    for batch in batches {
        machine.wal.push([batch]);
        machine.write().unwrap();
        machine.settle_down().unwrap();
    }
}

fn reopen(machine: Machine, disk: &SimDisk) -> Machine {
    drop(machine);
    disk.crash(Survival::None, &mut Random::new(1));
    let (machine, recovered) = Machine::open(disk, options()).unwrap();
    assert_eq!(recovered.damage, []);
    machine
}

/// Each of `queues` has the messages of these positions, whole.
fn check(
    machine: &mut Machine,
    queues: impl IntoIterator<Item = u64>,
    positions: std::ops::Range<u64>,
) {
    for queue in queues {
        let messages = machine.messages(QueueId(queue));
        let expected = positions
            .clone()
            .map(|position| (position, [head(queue), tail(position)].concat().into()));
        assert_eq!(messages, expected.collect(), "queue {queue}");
    }
}

fn counted(machine: &Machine, what: impl Fn(&crate::shared::Counters) -> u64) -> u64 {
    what(&machine.shared.counters)
}

#[test]
fn a_tail_is_written_once_for_all_queues() {
    let disk = SimDisk::new();
    let (mut machine, _) = Machine::open(&disk, options()).unwrap();
    machine.wal.push([fan_out(0)]);
    machine.write().unwrap();
    let written = counted(&machine, |counters| {
        counters.written_bytes.load(Ordering::Relaxed)
    });
    let own_record = 32 + 8 + 8;
    assert!(written <= QUEUES * own_record + TAIL_BYTES as u64 + 1024 + 128);
    check(&mut machine, 1..=QUEUES, 0..1);
    let mut machine = reopen(machine, &disk);
    check(&mut machine, 1..=QUEUES, 0..1);
}

#[test]
fn batches_that_are_written_together_share_a_tail_and_later_ones_have_their_own() {
    let disk = SimDisk::new();
    let (mut machine, _) = Machine::open(&disk, options()).unwrap();
    let message = |queue, tail: &Bytes| {
        batch(vec![Record::Message {
            queue: QueueId(queue),
            position: Position(0),
            transient: false,
            payload: Content {
                head: head(queue),
                tail: Some(tail.clone()),
            },
        }])
    };
    let tail = tail(0);
    machine.wal.push([message(1, &tail), message(2, &tail)]);
    machine.write().unwrap();
    machine.wal.push([message(3, &tail)]);
    machine.write().unwrap();
    let written = counted(&machine, |counters| {
        counters.written_bytes.load(Ordering::Relaxed)
    });
    assert!((2 * TAIL_BYTES as u64..3 * TAIL_BYTES as u64).contains(&(written - 1024)));
    check(&mut machine, 1..=3, 0..1);
}

#[test]
fn a_file_with_shared_tails_is_kept_while_moving_would_need_more_room() {
    let disk = SimDisk::new();
    let (mut machine, _) = Machine::open(&disk, options()).unwrap();
    write(&mut machine, (0..40).map(fan_out));
    let moved = |machine: &Machine| {
        counted(machine, |counters| {
            counters.messages_moved.load(Ordering::Relaxed)
        })
    };
    assert!(machine.kept_logs() > 5);
    assert_eq!(moved(&machine), 0);
    let (used, whole) = (disk.used(), 40 * QUEUES * TAIL_BYTES as u64);
    assert!(used < (4 << 20) + whole / 5, "{used} bytes are used");
    check(&mut machine, [1, 50, QUEUES], 0..40);
    let mut machine = reopen(machine, &disk);
    assert!(machine.kept_logs() > 5);
    check(&mut machine, [1, 50, QUEUES], 0..40);

    // When few queues still have the messages, what they have is moved and the files go.
    write(
        &mut machine,
        (3..=QUEUES).map(|queue| batch(vec![settled(queue, 40)])),
    );
    assert!(moved(&machine) > 0);
    check(&mut machine, [1, 2], 0..40);
    check(&mut machine, [3, QUEUES], 0..0);
    let mut machine = reopen(machine, &disk);
    check(&mut machine, [1, 2], 0..40);
    write(
        &mut machine,
        [batch((1..=2).map(|queue| settled(queue, 40)).collect())],
    );
    check(&mut machine, 1..=QUEUES, 0..0);
}

#[test]
fn a_damaged_tail_is_damage_of_all_that_share_it() {
    let disk = SimDisk::new();
    let (mut machine, _) = Machine::open(&disk, options()).unwrap();
    machine.wal.push([fan_out(0)]);
    machine.write().unwrap();
    machine.wal.push([fan_out(1)]);
    machine.write().unwrap();
    drop(machine);
    disk.crash(Survival::All, &mut Random::new(1));
    // The first tail lies behind the first group's own record.
    disk.damage(Path::new("/data/wal-0000"), |bytes| {
        bytes[1024 + 40 + 32 + 50] ^= 1
    });
    let (mut machine, recovered) = Machine::open(&disk, options()).unwrap();
    assert_eq!(recovered.damage.len(), 1);
    for queue in [1, QUEUES] {
        let loads = machine.load_all(QueueId(queue), 10_000);
        let damaged: Vec<_> = loads.iter().flat_map(|load| &load.damaged).collect();
        assert_eq!(damaged, [&(Position(0)..Position(1))]);
        let found: Vec<_> = loads.iter().flat_map(|load| &load.messages).collect();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].0, Position(1));
    }
}

#[test]
fn a_directory_of_the_version_without_shared_tails_is_taken_over() {
    let version = |disk: &SimDisk, change: Option<u8>| {
        let mut found = 0;
        disk.damage(Path::new("/data/format"), |bytes| {
            let half = bytes.len() / 2;
            for copy in [0, half] {
                bytes[copy + 9] = change.unwrap_or(bytes[copy + 9]);
                found = bytes[copy + 9];
                let mut crc = crc32fast::Hasher::new();
                crc.update(&bytes[copy..copy + 24]);
                crc.update(&bytes[copy + 32..copy + half]);
                let crc = crc.finalize().to_le_bytes();
                bytes[copy + 24..copy + 28].copy_from_slice(&crc);
            }
        });
        found
    };
    let disk = SimDisk::new();
    let (mut machine, _) = Machine::open(&disk, options()).unwrap();
    write(&mut machine, [fan_out(0)]);
    drop(machine);
    version(&disk, Some(1));
    let (mut machine, _) = Machine::open(&disk, options()).unwrap();
    check(&mut machine, [1, QUEUES], 0..1);
    drop(machine);
    assert_eq!(version(&disk, None), FORMAT_VERSION);
}
