//! Which queues of a shard have changed since somebody asked, so that whoever keeps figures of all queues need not ask about each.
//!
//! A queue is noted at the end of the first turn that touched it, and again only when it was told of. One asker takes what there is.
//!
//! Limits: each queue is noted once. Of queues that are gone [`GONE_MAX`] are remembered; beyond that, and at first, nothing is, and
//! the next answer begins anew with all queues, which is the only look at all of them that there is.

use super::Shard;
use crate::query::{QueueChanges, SLICE};
use base::{Now, QueueId};
use std::collections::VecDeque;

/// Queues that are gone and that nobody asked about.
const GONE_MAX: usize = 100_000;

/// What has to be told.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// Of what came before nothing is left out.
    is_followed: bool,
    changed: VecDeque<QueueId>,
    gone: Vec<QueueId>,
}

impl Changes {
    /// Something happened in a queue.
    pub(super) fn queue_changed(&mut self, queue: QueueId) {
        if self.is_followed {
            self.changed.push_back(queue);
        }
    }

    /// A queue was deleted.
    pub(super) fn queue_gone(&mut self, queue: QueueId) {
        if !self.is_followed {
            return;
        }
        if self.gone.len() == GONE_MAX {
            *self = Self::default();
            return;
        }
        self.gone.push(queue);
    }
}

impl Shard {
    /// The next slice of what has changed.
    pub(super) fn take_changes(&mut self, now: Now) -> QueueChanges {
        let is_anew = !std::mem::replace(&mut self.changes.is_followed, true);
        if is_anew {
            self.note_all();
        }
        let count = self.changes.changed.len().min(SLICE);
        let queues: Vec<QueueId> = self.changes.changed.drain(..count).collect();
        let mut figures = Vec::with_capacity(count);
        for id in queues {
            let vhost = match self.queues.get_mut(&id) {
                Some(machine) => {
                    machine.forget_change();
                    machine.settings().vhost.clone()
                }
                None => match self.metadata.queue_by_id(id) {
                    Some(record) => record.vhost.clone(),
                    None => continue,
                },
            };
            let found = self.queue_figures(now, id);
            figures.extend(found.map(|found| (vhost, found)));
        }
        QueueChanges {
            is_anew,
            figures,
            gone: std::mem::take(&mut self.changes.gone),
            left: self.changes.changed.len(),
        }
    }

    fn note_all(&mut self) {
        self.changes.changed.clear();
        for (id, machine) in &mut self.queues {
            machine.note_change();
            self.changes.changed.push_back(*id);
        }
        let full = self.stored.iter().filter(|(_, stored)| stored.messages > 0);
        self.changes.changed.extend(full.map(|(id, _)| *id));
    }
}
