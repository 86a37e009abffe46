//! Log files that are kept in their place: what is read from them, and how they end.

use super::harness::{Content, Machine, small};
use crate::testing::{Random, SimDisk, Survival};
use crate::{Batch, Options, Record, StoreError};
use base::{Position, QueueId, ShardId};
use bytes::Bytes;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

fn payload(position: u64) -> Bytes {
    Bytes::from(vec![position as u8; 500])
}

fn message(queue: u64, position: u64, transient: bool) -> Record<Content> {
    Record::Message {
        queue: QueueId(queue),
        position: Position(position),
        transient,
        payload: payload(position).into(),
    }
}

fn settled(queue: u64, from: u64, until: u64) -> Record<Content> {
    Record::Settled {
        queue: QueueId(queue),
        from: Position(from),
        until: Position(until),
    }
}

fn options() -> Options {
    Options {
        kept_live_percent_min: 50,
        ..small()
    }
}

/// Writes each record as a batch of its own, and lets the mover do what it can.
fn write(machine: &mut Machine, records: impl IntoIterator<Item = Record<Content>>) {
    for record in records {
        machine.wal.push([Batch {
            shard: ShardId(0),
            ticket: 1,
            sync: true,
            records: vec![record],
        }]);
        machine.write().unwrap();
        machine.settle_down().unwrap();
    }
}

fn moved(machine: &Machine) -> u64 {
    let counters = &machine.shared.counters;
    counters.messages_moved.load(Ordering::Relaxed)
}

fn positions(machine: &mut Machine, queue: u64) -> Vec<u64> {
    let messages = machine.messages(QueueId(queue));
    assert!(
        messages
            .iter()
            .all(|(position, content)| *content == payload(*position))
    );
    messages.into_keys().collect()
}

fn reopen(machine: Machine, disk: &SimDisk) -> Machine {
    drop(machine);
    disk.crash(Survival::None, &mut Random::new(1));
    let (machine, recovered) = Machine::open(disk, options()).unwrap();
    assert_eq!(recovered.damage, []);
    machine
}

#[test]
fn a_backlog_is_not_copied_and_survives() {
    let disk = SimDisk::new();
    let (mut machine, _) = Machine::open(&disk, options()).unwrap();
    write(
        &mut machine,
        (0..200).map(|position| message(1, position, false)),
    );
    assert!(machine.kept_logs() > 10);
    assert_eq!(moved(&machine), 0);
    assert!(
        disk.used() < 200 * 1000 + (4 << 20),
        "nothing is there twice"
    );
    let everything: Vec<u64> = (0..200).collect();
    assert_eq!(positions(&mut machine, 1), everything);
    let mut machine = reopen(machine, &disk);
    assert!(machine.kept_logs() > 10);
    assert_eq!(positions(&mut machine, 1), everything);
}

#[test]
fn a_drained_file_is_written_again() {
    let disk = SimDisk::new();
    let one_file = Options {
        garbage_bytes_min: options().wal_file_bytes,
        ..options()
    };
    let (mut machine, _) = Machine::open(&disk, one_file).unwrap();
    write(
        &mut machine,
        (0..100).map(|position| message(1, position, false)),
    );
    let kept = machine.kept_logs();
    assert!(kept > 5);
    // In order of position, as a consumer does: each file is empty before it pays to rewrite it.
    write(
        &mut machine,
        (0..100).map(|position| settled(1, position, position + 1)),
    );
    assert_eq!(moved(&machine), 0);
    assert!(machine.kept_logs() <= 1);
    let names = |disk: &SimDisk| -> Vec<PathBuf> {
        let is_log = |name: &PathBuf| name.to_string_lossy().contains("wal-");
        disk.files()
            .into_iter()
            .map(|file| file.0)
            .filter(is_log)
            .collect()
    };
    assert!(names(&disk).len() <= 6, "{:?}", names(&disk));
    // Those that are left are used again.
    let before = names(&disk);
    write(
        &mut machine,
        (100..110).map(|position| message(1, position, false)),
    );
    assert_eq!(names(&disk), before);
    let mut machine = reopen(machine, &disk);
    assert_eq!(positions(&mut machine, 1), (100..110).collect::<Vec<_>>());
}

#[test]
fn what_is_left_of_emptying_files_is_copied() {
    let disk = SimDisk::new();
    let (mut machine, _) = Machine::open(&disk, options()).unwrap();
    write(
        &mut machine,
        (0..200).map(|position| message(1, position, false)),
    );
    assert!(machine.kept_logs() > 10);
    let full = disk.used();
    let gone = (0..190).filter(|position| position % 10 != 0);
    write(
        &mut machine,
        gone.map(|position| settled(1, position, position + 1)),
    );
    let left: Vec<u64> = (0..200)
        .filter(|position| position % 10 == 0 || *position >= 190)
        .collect();
    assert!(moved(&machine) > 0);
    // At most twice what is live, and a constant.
    let live = left.len() as u64 * 536;
    let reserve = 4 << 20;
    let constant = reserve + options().garbage_bytes_min + 4 * options().wal_file_bytes + 8192;
    assert!(
        disk.used() < full && disk.used() <= 2 * live + constant,
        "{}",
        disk.used()
    );
    assert_eq!(positions(&mut machine, 1), left);
    let mut machine = reopen(machine, &disk);
    assert_eq!(positions(&mut machine, 1), left);
}

/// Settled messages that came out of order, other queues and transient messages lie between those of a run.
#[test]
fn what_lies_between_is_passed_over() {
    let disk = SimDisk::new();
    let (mut machine, _) = Machine::open(&disk, options()).unwrap();
    let mut records = Vec::new();
    for position in 0..60 {
        records.push(message(1, position * 2, false));
        if position % 7 == 0 {
            records.push(message(1, 1000 + position, true));
            records.push(message(2, position, false));
            records.push(settled(1, 1000 + position, 1001 + position));
        }
        if position % 9 == 8 {
            // Written late, behind messages of higher positions.
            records.push(message(1, position * 2 - 7, false));
        }
    }
    write(&mut machine, records);
    assert!(machine.kept_logs() > 3);
    let odd = (0..60)
        .filter(|position| position % 9 == 8)
        .map(|position| position * 2 - 7);
    let mut expected: Vec<u64> = (0..60).map(|position| position * 2).chain(odd).collect();
    expected.sort_unstable();
    assert_eq!(positions(&mut machine, 1), expected);
    let mut machine = reopen(machine, &disk);
    assert_eq!(positions(&mut machine, 1), expected);
    assert_eq!(positions(&mut machine, 2).len(), 9);
}

/// Purges and deletions free a kept file as acknowledgements do.
#[test]
fn a_deleted_queue_does_not_return() {
    let disk = SimDisk::new();
    let (mut machine, _) = Machine::open(&disk, options()).unwrap();
    write(
        &mut machine,
        (0..60).map(|position| message(1, position, false)),
    );
    write(
        &mut machine,
        (0..60).map(|position| message(2, position, false)),
    );
    assert!(machine.kept_logs() > 6);
    write(
        &mut machine,
        [Record::DropQueue { queue: QueueId(1) }, settled(2, 0, 60)],
    );
    assert!(machine.kept_logs() <= 1, "{}", machine.kept_logs());
    let mut machine = reopen(machine, &disk);
    assert_eq!(positions(&mut machine, 1), []);
    assert_eq!(positions(&mut machine, 2), []);
}

#[test]
fn a_kept_file_with_damaged_headers_is_read_and_not_written() {
    let disk = SimDisk::new();
    let (mut machine, _) = Machine::open(&disk, options()).unwrap();
    write(
        &mut machine,
        (0..60).map(|position| message(1, position, false)),
    );
    let name = machine
        .shared
        .index
        .lock()
        .kept_logs()
        .next()
        .unwrap()
        .name();
    drop(machine);
    disk.damage(&Path::new("/data").join(name), |bytes| {
        bytes[..1024].fill(0xff)
    });
    let (mut machine, recovered) = Machine::open(&disk, options()).unwrap();
    assert_eq!(recovered.damage, []);
    write(
        &mut machine,
        (60..200).map(|position| message(1, position, false)),
    );
    assert_eq!(positions(&mut machine, 1), (0..200).collect::<Vec<_>>());
}

#[test]
fn a_checkpoint_of_a_newer_version_is_refused() {
    let disk = SimDisk::new();
    drop(Machine::open(&disk, options()).unwrap());
    disk.damage(Path::new("/data/checkpoint"), |bytes| {
        let half = bytes.len() / 2;
        for copy in [0, half] {
            bytes[copy + 9] = crate::format::CHECKPOINT_VERSION + 1;
            let mut crc = crc32fast::Hasher::new();
            crc.update(&bytes[copy..copy + 24]);
            crc.update(&bytes[copy + 32..copy + half]);
            let crc = crc.finalize().to_le_bytes();
            bytes[copy + 24..copy + 28].copy_from_slice(&crc);
        }
    });
    let refused = Machine::open(&disk, options()).err();
    assert!(matches!(refused, Some(StoreError::Format { found, .. }) if found == "3"));
}
