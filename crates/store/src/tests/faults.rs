//! Disks that are full, and disks that fail.

use super::harness::{Content, Machine, small};
use crate::testing::{Random, SimDisk, Survival};
use crate::wal::Step;
use crate::{Batch, Event, Options, Record, StoreError};
use base::{Position, QueueId, ShardId};
use bytes::Bytes;

fn batch(ticket: u64, size: usize) -> Batch<Content> {
    let (queue, position) = (QueueId(1), Position(ticket));
    let payload = Bytes::from(vec![ticket as u8; size]).into();
    let records = vec![Record::Message {
        queue,
        position,
        transient: false,
        payload,
    }];
    Batch {
        shard: ShardId(0),
        ticket,
        sync: true,
        records,
    }
}

fn durable(events: &[Event]) -> Vec<u64> {
    let ticket = |event: &Event| {
        if let Event::Durable { ticket, .. } = event {
            Some(*ticket)
        } else {
            None
        }
    };
    events.iter().filter_map(ticket).collect()
}

#[test]
fn nothing_is_durable_after_a_failed_sync() {
    for n in 1..20 {
        let disk = SimDisk::new();
        let (mut machine, _) = Machine::open(&disk, small()).unwrap();
        disk.fail_sync(n);
        let mut promised = Vec::new();
        let mut failed = None;
        for ticket in 0..40 {
            machine.wal.push([batch(ticket, 300)]);
            let result = machine.write().and_then(|()| machine.mover.step());
            promised.extend(durable(&machine.take_events()));
            if let Err(error) = result {
                failed = Some(error);
                break;
            }
        }
        assert!(
            matches!(failed, Some(StoreError::Io { .. })),
            "sync {n} was used"
        );
        drop(machine);
        disk.crash(Survival::None, &mut Random::new(n));
        let (mut machine, recovered) = Machine::open(&disk, small()).unwrap();
        assert_eq!(recovered.damage, []);
        let found = machine.messages(QueueId(1));
        assert!(promised.iter().all(|position| found.contains_key(position)));
    }
}

#[test]
fn any_failed_operation_is_an_error_and_loses_nothing() {
    for n in 1..120 {
        let disk = SimDisk::new();
        let Ok((mut machine, _)) = Machine::open(&disk, small()) else {
            continue;
        };
        disk.fail_operation(n);
        let mut promised = Vec::new();
        for ticket in 0..30 {
            machine.wal.push([batch(ticket, 300)]);
            let result = machine.write().and_then(|()| machine.mover.step());
            promised.extend(durable(&machine.take_events()));
            if result.is_err() {
                break;
            }
        }
        drop(machine);
        disk.crash(Survival::Random, &mut Random::new(n));
        let (mut machine, recovered) = Machine::open(&disk, small()).unwrap();
        assert_eq!(recovered.damage, []);
        let found = machine.messages(QueueId(1));
        assert!(promised.iter().all(|position| found.contains_key(position)));
    }
}

#[test]
fn a_full_disk_pauses_the_log_and_draining_frees_it() {
    let disk = SimDisk::new();
    let options = Options {
        wal_file_bytes: 32 << 10,
        segment_bytes_max: 16 << 10,
        ..small()
    };
    let (mut machine, _) = Machine::open(&disk, options).unwrap();
    disk.set_capacity(Some((4 << 20) + (256 << 10)));
    let mut ticket = 0;
    let mut promised = Vec::new();
    // Publish until the log has no file to write to and the mover cannot help.
    let blocked = loop {
        machine.wal.push([batch(ticket, 900)]);
        ticket += 1;
        let step = machine.wal.step().unwrap();
        let moved = machine.mover.step();
        promised.extend(durable(&machine.take_events()));
        match (step, moved) {
            (Step::DiskFull, _) => break Step::DiskFull,
            (Step::MoverLags, Err(error)) => {
                assert!(error.is_disk_full(), "{error}");
                break Step::MoverLags;
            }
            (_, Err(error)) => assert!(error.is_disk_full(), "{error}"),
            (Step::Wrote | Step::MoverLags, Ok(_)) | (Step::Idle, Ok(_)) => {}
        }
        assert!(ticket < 100_000);
    };
    // It says so on every further try, and confirms nothing.
    for _ in 0..3 {
        let step = machine.wal.step().unwrap();
        assert_eq!(step, blocked);
        let _ = machine.mover.step();
        assert_eq!(durable(&machine.take_events()), []);
    }
    assert!(promised.len() as u64 >= ticket - 2);
    let found = machine.messages(QueueId(1));
    assert!(promised.iter().all(|position| found.contains_key(position)));

    // Somebody makes room: everything goes on by itself.
    disk.set_capacity(Some(8 << 20));
    for _ in 0..20 {
        let _ = machine.mover.step().unwrap();
        let _ = machine.wal.step().unwrap();
    }
    let events = machine.take_events();
    assert!(events.iter().any(|event| matches!(event, Event::DiskOk)));
    promised.extend(durable(&events));
    assert_eq!(promised, (0..ticket).collect::<Vec<_>>());
}

#[test]
fn a_drained_queue_gives_its_space_back() {
    let disk = SimDisk::new();
    let (mut machine, _) = Machine::open(&disk, small()).unwrap();
    for ticket in 0..300 {
        machine.wal.push([batch(ticket, 900)]);
        machine.write().unwrap();
        machine.settle_down().unwrap();
    }
    let full = disk.used();
    let (from, until) = (Position(0), Position(290));
    let records = vec![Record::Settled {
        queue: QueueId(1),
        from,
        until,
    }];
    machine.wal.push([Batch {
        shard: ShardId(0),
        ticket: 300,
        sync: true,
        records,
    }]);
    machine.write().unwrap();
    machine.settle_down().unwrap();
    assert!(disk.used() < full - 200_000, "{} of {full}", disk.used());
    drop(machine);
    disk.crash(Survival::None, &mut Random::new(1));
    let (mut machine, recovered) = Machine::open(&disk, small()).unwrap();
    assert_eq!(recovered.damage, []);
    assert_eq!(
        machine.messages(QueueId(1)).into_keys().collect::<Vec<_>>(),
        (290..300).collect::<Vec<_>>()
    );
}

#[test]
fn sparse_segments_are_rewritten() {
    let disk = SimDisk::new();
    let (mut machine, _) = Machine::open(&disk, small()).unwrap();
    for ticket in 0..200 {
        machine.wal.push([batch(ticket, 900)]);
        machine.write().unwrap();
        machine.settle_down().unwrap();
    }
    let before = disk.used();
    let settle = |position: u64| Record::Settled {
        queue: QueueId(1),
        from: Position(position),
        until: Position(position + 1),
    };
    let records = (0..200)
        .filter(|position| position % 10 != 0)
        .map(settle)
        .collect();
    machine.wal.push([Batch {
        shard: ShardId(0),
        ticket: 200,
        sync: true,
        records,
    }]);
    machine.write().unwrap();
    machine.settle_down().unwrap();
    assert!(
        disk.used() < before - 120_000,
        "{} of {before}",
        disk.used()
    );
    let expected: Vec<u64> = (0..200).step_by(10).collect();
    assert_eq!(
        machine.messages(QueueId(1)).into_keys().collect::<Vec<_>>(),
        expected
    );
    drop(machine);
    disk.crash(Survival::None, &mut Random::new(1));
    let (mut machine, _) = Machine::open(&disk, small()).unwrap();
    assert_eq!(
        machine.messages(QueueId(1)).into_keys().collect::<Vec<_>>(),
        expected
    );
}
