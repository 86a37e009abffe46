//! Bits that flip at rest: seen and named, or harmless; the start never fails and nothing altered is delivered.

use super::harness::{Content, Machine, Model, small};
use crate::testing::{Random, SimDisk, Survival};
use crate::{Batch, Damage, Record};
use base::{Position, QueueId, ShardId};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

fn message(position: u64, size: usize) -> Record<Content> {
    let payload = Bytes::from(vec![position as u8; size]).into();
    Record::Message {
        queue: QueueId(1),
        position: Position(position),
        transient: false,
        payload,
    }
}

fn batch(ticket: u64, records: Vec<Record<Content>>) -> Batch<Content> {
    Batch {
        shard: ShardId(0),
        ticket,
        sync: true,
        records,
    }
}

/// A closed directory with messages in segments, kept log files and the log, settlements and metadata.
fn directory() -> (SimDisk, BTreeMap<u64, Bytes>) {
    let disk = SimDisk::new();
    let (mut machine, _) = Machine::open(&disk, small()).unwrap();
    for position in 0..30 {
        machine
            .wal
            .push([batch(position, vec![message(position, 500)])]);
        machine.wal.push([batch(
            100 + position,
            vec![Record::Metadata(Bytes::from(vec![position as u8; 20]))],
        )]);
        machine.write().unwrap();
        if position < 6 {
            // Much of the first log files is settled soon, so that they are not kept.
            let (queue, from) = (QueueId(2), Position(position));
            let payload = Bytes::from(vec![0; 1500]).into();
            let record = Record::Message {
                queue,
                position: from,
                transient: false,
                payload,
            };
            machine.wal.push([batch(300 + position, vec![record])]);
            machine.write().unwrap();
            let until = from.next();
            let settled = Record::Settled { queue, from, until };
            machine.wal.push([batch(400 + position, vec![settled])]);
            machine.write().unwrap();
        }
        if position % 5 == 4 {
            let (from, until) = (Position(position - 1), Position(position));
            machine.wal.push([batch(
                200 + position,
                vec![Record::Settled {
                    queue: QueueId(1),
                    from,
                    until,
                }],
            )]);
            machine.write().unwrap();
        }
        machine.mover.step().unwrap();
    }
    machine
        .mover
        .metadata_snapshot(Bytes::from_static(b"snapshot"), crate::MetadataIndex(12));
    machine.settle_down().unwrap();
    machine.wal.close().unwrap();
    let messages = machine.messages(QueueId(1));
    assert_eq!(messages.len(), 24);
    let kept = machine.kept_logs() as usize;
    let segments = machine.shared.index.lock().segments.len();
    assert!(kept > 0 && segments > kept, "{kept} of {segments}");
    assert!(machine.shared.index.lock().queues[&QueueId(1)].wal.len() > 1);
    (disk, messages)
}

/// Opens a damaged directory. Returns the positions that were found and those that were named.
fn inspect(disk: &SimDisk, messages: &BTreeMap<u64, Bytes>) -> (BTreeSet<u64>, bool, Vec<Damage>) {
    let (mut machine, recovered) = Machine::open(disk, small()).unwrap();
    let mut found = BTreeSet::new();
    let mut named = BTreeSet::new();
    for load in machine.load_all(QueueId(1), 2000) {
        for (position, payload) in load.messages {
            match messages.get(&position.0) {
                Some(expected) => assert_eq!(payload, *expected, "altered"),
                // A settled message may return when its settlement is damaged; it is then what was written.
                None => assert!(payload.iter().all(|byte| u64::from(*byte) == position.0)),
            }
            found.insert(position.0);
        }
        named.extend(
            load.damaged
                .iter()
                .flat_map(|range| range.start.0..range.end.0),
        );
    }
    for damage in &recovered.damage {
        if let Damage::Messages { positions, .. } = damage {
            named.extend(positions.start.0..positions.end.0);
        }
    }
    let some_bytes = recovered
        .damage
        .iter()
        .any(|damage| matches!(damage, Damage::Bytes { .. }));
    let all_named = messages
        .keys()
        .all(|position| found.contains(position) || named.contains(position) || some_bytes);
    (found, all_named, recovered.damage)
}

#[test]
fn every_flipped_bit_is_named_or_harmless() {
    let (disk, messages) = directory();
    let mut random = Random::new(5);
    let mut flips = 0;
    for (path, size) in disk.files() {
        if path == Path::new("/data/reserve") {
            // Nothing is ever read from it.
            continue;
        }
        let mut offset = 0;
        while offset < size {
            let copy = disk.copy();
            let bit = random.below(8);
            copy.damage(&path, |bytes| bytes[offset] ^= 1 << bit);
            let (found, all_named, damage) = inspect(&copy, &messages);
            let case = format!("{} bit {bit} of byte {offset}: {damage:?}", path.display());
            assert!(all_named, "{case}");
            assert!(
                found.len() >= messages.len() - 1,
                "neighbours are lost: {case}"
            );
            flips += 1;
            // Headers are dense with meaning, payloads are not.
            offset += if offset % 512 < 64 { 3 } else { 17 };
        }
    }
    assert!(flips > 500, "{flips}");
}

#[test]
fn cut_zeroed_and_missing_files_do_not_stop_the_start() {
    let (disk, messages) = directory();
    for (path, size) in disk.files() {
        if path == Path::new("/data/format") {
            continue;
        }
        for cut in [0, size / 3, size.saturating_sub(1)] {
            let copy = disk.copy();
            copy.damage(&path, |bytes| bytes.truncate(cut));
            let (_, _, damage) = inspect(&copy, &messages);
            let is_spare = size == 4 << 20 || cut == size;
            assert!(
                !damage.is_empty() || is_spare || harmless(&disk, &path, cut),
                "{} cut at {cut} is not named",
                path.display()
            );
            let copy = disk.copy();
            copy.damage(&path, |bytes| bytes[cut..].fill(0));
            inspect(&copy, &messages);
        }
    }
}

/// What is not in use, or is there twice, may be cut without loss.
fn harmless(disk: &SimDisk, path: &Path, cut: usize) -> bool {
    let name = path.to_string_lossy();
    let has_two_copies = ["checkpoint", "metadata"]
        .iter()
        .any(|kind| name.contains(kind))
        && cut > 0;
    let copy = disk.copy();
    let mut unused = false;
    copy.damage(path, |bytes| {
        unused = bytes[cut..].iter().all(|byte| *byte == 0)
    });
    let (machine, _) = Machine::open(&copy, small()).unwrap();
    let index = machine.shared.index.lock();
    let is_free = index
        .free_files
        .iter()
        .any(|file| name.ends_with(&file.name));
    // The end of the newest log file cannot be told from a power cut, unless something behind it says so.
    let is_footer = name.contains("segment-") && cut > 0 && bytes_behind(disk, path, cut) < 100;
    has_two_copies
        || unused
        || is_footer
        || is_free
        || name.contains("wal-")
        || name.contains("lock")
        || name.contains("reserve")
}

fn bytes_behind(disk: &SimDisk, path: &Path, cut: usize) -> usize {
    disk.files()
        .iter()
        .find(|(name, _)| name == path)
        .map_or(0, |(_, size)| size - cut)
}

#[test]
fn a_lost_checkpoint_is_rebuilt_from_the_segments() {
    let (disk, messages) = directory();
    disk.damage(Path::new("/data/checkpoint"), |bytes| bytes.fill(0));
    let (found, all_named, damage) = inspect(&disk, &messages);
    assert!(all_named);
    assert!(messages.keys().all(|position| found.contains(position)));
    assert_eq!(
        damage,
        [Damage::Checkpoint {
            file: "checkpoint".into()
        }]
    );
}

/// A damaged record between two good ones in the file that was being written is damage, not the end.
#[test]
fn damage_in_the_middle_of_the_log_is_not_its_end() {
    let disk = SimDisk::new();
    let (mut machine, _) = Machine::open(&disk, small()).unwrap();
    for position in 0..5 {
        machine
            .wal
            .push([batch(position, vec![message(position, 100)])]);
        machine.write().unwrap();
    }
    drop(machine);
    disk.crash(Survival::All, &mut Random::new(1));
    // The third message's payload: each group is 40 + 136 bytes.
    disk.damage(Path::new("/data/wal-0000"), |bytes| {
        bytes[1024 + 2 * 176 + 40 + 32 + 50] ^= 1
    });
    let (mut machine, recovered) = Machine::open(&disk, small()).unwrap();
    let positions = Position(2)..Position(3);
    assert_eq!(
        recovered.damage,
        [Damage::Messages {
            queue: QueueId(1),
            positions,
            file: "wal-0000".into()
        }]
    );
    assert_eq!(
        machine.messages(QueueId(1)).into_keys().collect::<Vec<_>>(),
        [0, 1, 3, 4]
    );
}

/// Log files are reused many times over; what is left in them from earlier uses is never read.
#[test]
fn stale_bytes_of_reused_files_never_parse() {
    let disk = SimDisk::new();
    let mut random = Random::new(9);
    let mut model = Model::new();
    for _ in 0..30 {
        let (mut machine, recovered) = Machine::open(&disk, small()).unwrap();
        model.check(&mut machine, &recovered);
        machine.shared.index.lock().retain(&model.live_queues());
        for _ in 0..20 {
            let batch = model.batch(&mut random);
            machine.wal.push([batch]);
            machine.write().unwrap();
            machine.mover.step().unwrap();
            model.note(machine.take_events());
        }
        drop(machine);
        disk.crash(Survival::Random, &mut random);
    }
}
