//! A shard and policies: its queues follow a change in steps, so that 100,000 of them hold nobody up.
//!
//! What applies to a queue is asked of the metadata when its machine starts; what is here is about those that run, and those
//! whose time begins by a policy. Exchanges need nothing: routing reads the metadata.

use super::Shard;
use base::{Name, Now, QueueId};
use broker::queue_arguments::QueueArguments;
use broker::vhost::QueueRecord;
use std::sync::Arc;
use std::time::Duration;

/// Queues that are brought up to date in one turn.
const STEP: usize = 500;
/// Between two steps others have their turns.
const PAUSE: Duration = Duration::from_millis(1);

/// Queues that may not do yet what policies say.
#[derive(Debug, Default)]
pub(super) struct Outdated {
    /// Vhosts whose queues are not in `queues` yet. Each once, so that many changes do not pile up.
    vhosts: Vec<Name>,
    queues: Vec<QueueId>,
    /// When the next step is due.
    pub(super) at: Option<Duration>,
}

impl Shard {
    /// The policies of a vhost changed.
    pub(super) fn policies_changed(&mut self, now: Now, vhost: Name) {
        if !self.outdated.vhosts.contains(&vhost) {
            self.outdated.vhosts.push(vhost);
        }
        self.outdated.at.get_or_insert(now.monotonic);
    }

    /// Brings some queues up to date, if it is time for that.
    pub(super) fn follow_policies(&mut self, now: Now) {
        if self.outdated.at.is_none_or(|at| at > now.monotonic) {
            return;
        }
        self.refresh_metadata();
        if self.outdated.queues.is_empty()
            && let Some(vhost) = self.outdated.vhosts.pop()
        {
            self.outdated.queues = self.queues_of(&vhost);
        }
        let left = self.outdated.queues.len().saturating_sub(STEP);
        for queue in self.outdated.queues.split_off(left) {
            self.follow_policy(now, queue);
        }
        let is_done = self.outdated.queues.is_empty() && self.outdated.vhosts.is_empty();
        self.outdated.at = (!is_done).then(|| now.monotonic + PAUSE);
    }

    /// The queues of a vhost that live here.
    fn queues_of(&self, vhost: &Name) -> Vec<QueueId> {
        let queues = self.metadata.vhost(vhost).into_iter();
        queues
            .flat_map(|vhost| vhost.queues())
            .filter(|record| record.queue.shard == self.id)
            .map(|record| record.queue.id)
            .collect()
    }

    /// What a queue of this node has to do: its arguments, its policies, and what the node's configuration says of the rest.
    pub(super) fn queue_arguments(&self, record: &QueueRecord) -> QueueArguments {
        let mut arguments = self.metadata.queue_settings(record);
        arguments
            .consumer_timeout_ms
            .get_or_insert(self.shared.consumer_timeout_ms);
        arguments
    }

    fn follow_policy(&mut self, now: Now, queue: QueueId) {
        let metadata = Arc::clone(&self.metadata);
        let Some(record) = metadata.queue_by_id(queue) else {
            return;
        };
        let settings = self.queue_arguments(record);
        let Some(machine) = self.queues.get_mut(&queue) else {
            if self.has_clock(record, &settings) {
                self.start_queue(queue);
            }
            return;
        };
        if machine.settings().arguments != settings {
            machine.reconfigure(now, settings, &mut self.windows, &mut self.effects);
            self.touched.push(queue);
        }
    }

    /// Whether the queue does something without being asked.
    pub(super) fn has_clock(&self, record: &QueueRecord, settings: &QueueArguments) -> bool {
        let has_messages = || {
            let stored = self.stored.get(&record.queue.id);
            stored.is_some_and(|stored| stored.messages > 0)
        };
        settings.expires_ms.is_some() || settings.message_ttl_ms.is_some() && has_messages()
    }
}
