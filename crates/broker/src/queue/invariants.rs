//! What is always true of a queue.

use super::Queue;
use base::Position;

impl Queue {
    /// Panics if the machine contradicts itself. For tests and the simulator; its cost grows with the queue.
    pub fn check_invariants(&self) {
        self.ready.check_invariants(self.next);
        self.unacked.check_invariants();
        self.confirms.check_invariants();
        self.journal.check_invariants();
        if let Some(attempts) = &self.attempts {
            attempts.check_invariants();
        }
        if let Some(retries) = &self.retries {
            retries.check_invariants();
        }
        if let Some(replay) = &self.replay {
            replay.check_invariants(&self.journal);
        }
        self.consumers.check_invariants(|key| {
            let held = self
                .unacked
                .iter_from(Position(0))
                .filter(|delivered| delivered.consumer == key)
                .count();
            u32::try_from(held).expect("tests hold few messages")
        });
        assert_eq!(
            self.counters.present(),
            self.ready.count()
                + self.unacked.len() as u64
                + self.undead_count()
                + self.delayed_count(),
            "messages are neither made nor lost: {:?}",
            self.counters
        );
        for delivered in self.unacked.iter_from(Position(0)) {
            assert!(delivered.entry.position < self.next);
            assert!(self.ready.has_levels() || delivered.entry.level == self.flat_level());
            if !self.ready.has_levels() {
                let position = delivered.entry.position;
                assert!(
                    position < self.ready.frontier() || self.ready.is_hole(position),
                    "an unacked position beyond the frontier of ready ones"
                );
            }
            assert!(delivered.entry.message.is_some() || self.journal.is_written(&delivered.entry));
        }
        for entry in self.ready.iter_from(Position(0)) {
            assert!(
                entry.message.is_some() || self.journal.is_written(entry),
                "an unwritten message was evicted"
            );
        }
    }
}
