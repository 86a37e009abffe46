//! Power cuts at every operation of random scripts, and again during recovery.

use super::harness::{Machine, Model, small};
use crate::testing::{Random, SimDisk, Survival};
use crate::{Event, Options, StoreError};
use std::sync::atomic::{AtomicU64, Ordering};

const SCRIPTS: u64 = 100;
const STEPS: u64 = 40;

/// Runs random work until it ends or the power is cut.
fn run(
    machine: &mut Machine,
    model: &mut Model,
    random: &mut Random,
    steps: u64,
) -> Result<(), StoreError> {
    for _ in 0..steps {
        let result = step(machine, model, random);
        // Also of a failed step, what was reported before the failure is a promise.
        let events = machine.take_events();
        let snapshot_wanted = events
            .iter()
            .any(|event| matches!(event, Event::SnapshotWanted));
        model.note(events);
        result?;
        if snapshot_wanted {
            let (snapshot, covers) = model.snapshot();
            machine.mover.metadata_snapshot(snapshot, covers);
        }
    }
    Ok(())
}

fn step(machine: &mut Machine, model: &mut Model, random: &mut Random) -> Result<(), StoreError> {
    match random.below(10) {
        0..=5 => {
            for _ in 0..=random.below(3) {
                let batch = model.batch(random);
                machine.wal.push([batch]);
            }
            machine.write()
        }
        6 | 7 => machine.mover.step().map(|_| ()),
        8 => machine.wal.sync(),
        _ => machine.settle_down(),
    }
}

/// What the scripts did with log files that were kept, to see that they did.
#[derive(Default)]
struct Kept {
    kept: AtomicU64,
    /// Named by the checkpoint that was read after a crash.
    found: AtomicU64,
    /// Kept, and gone again by the end of the same life.
    freed: AtomicU64,
}

impl Kept {
    fn note(&self, machine: &Machine) {
        let kept = machine.shared.counters.files_kept.load(Ordering::Relaxed);
        self.kept.fetch_add(kept, Ordering::Relaxed);
        let freed = kept.saturating_sub(machine.kept_logs());
        self.freed.fetch_add(freed, Ordering::Relaxed);
    }
}

/// One script, cut after `operations`; then recovery, cut too, until it gets through; then more work and a clean end.
fn crash_once(seed: u64, survival: Survival, operations: u64, kept: &Kept) -> bool {
    let options = || Options {
        // From nearly all log files being kept to none.
        kept_live_percent_min: [1, 10, 30, 101][seed as usize % 4],
        ..small()
    };
    let disk = SimDisk::new();
    let mut random = Random::new(seed);
    let mut chance = Random::new(seed ^ operations.rotate_left(32));
    let mut model = Model::new();
    disk.crash_after(operations);
    if let Ok((mut machine, _)) = Machine::open(&disk, options()) {
        let _ = run(&mut machine, &mut model, &mut random, STEPS);
        kept.note(&machine);
    }
    let was_cut = disk.is_crashed();
    disk.crash(survival, &mut chance);

    // The power fails again while the store recovers.
    for cut in 0..chance.below(4) {
        disk.crash_after(cut * 2 + chance.below(3));
        let _ = Machine::open(&disk, options());
        disk.crash(survival, &mut chance);
    }

    let (mut machine, recovered) = Machine::open(&disk, options()).unwrap();
    kept.found.fetch_add(machine.kept_logs(), Ordering::Relaxed);
    model.check(&mut machine, &recovered);
    machine.shared.index.lock().retain(&model.live_queues());
    run(&mut machine, &mut model, &mut random, 10).unwrap();
    kept.note(&machine);
    machine.wal.close().unwrap();
    model.note(machine.take_events());
    drop(machine);
    disk.crash(Survival::None, &mut chance);

    let (mut machine, recovered) = Machine::open(&disk, options()).unwrap();
    assert!(recovered.clean);
    model.check(&mut machine, &recovered);
    was_cut
}

/// All points of all scripts with `STORE_CRASH_ALL=1`, else some of each.
#[test]
fn nothing_promised_is_undone_by_a_power_cut() {
    let all = std::env::var_os("STORE_CRASH_ALL").is_some();
    let mut cuts = 0;
    let kept = Kept::default();
    for seed in 0..SCRIPTS {
        let mut choose = Random::new(seed);
        for survival in Survival::ALL {
            let mut operations = if all { 0 } else { choose.below(40) };
            loop {
                let case = format!("seed {seed}, {survival:?}, after {operations} operations");
                let result =
                    std::panic::catch_unwind(|| crash_once(seed, survival, operations, &kept));
                match result {
                    Ok(true) => cuts += 1,
                    Ok(false) => break,
                    Err(panic) => {
                        eprintln!("failed: {case}");
                        std::panic::resume_unwind(panic);
                    }
                }
                operations += if all { 1 } else { 40 + choose.below(80) };
            }
        }
    }
    assert!(cuts > 500, "{cuts} cuts");
    let [kept, found, freed] = [kept.kept, kept.found, kept.freed].map(|count| count.into_inner());
    eprintln!("{cuts} power cuts; log files kept {kept}, found after a cut {found}, freed {freed}");
    assert!(kept > cuts / 4 && found > cuts / 20 && freed > cuts / 10);
}
