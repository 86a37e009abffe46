//! Which queues came, went or changed in the metadata, in order: so whoever keeps a list of all queues follows it without reading all
//! of them again.
//!
//! Readers remember how far they have read. Limit: [`LENGTH_MAX`] changes; who comes later reads the metadata anew.

use base::QueueId;
use std::collections::VecDeque;

/// Changes that are remembered.
const LENGTH_MAX: usize = 65_536;

/// The latest changes.
#[derive(Debug, Default)]
pub(crate) struct QueueLog {
    /// How many were forgotten.
    forgotten: u64,
    queues: VecDeque<QueueId>,
}

/// What has changed since somebody looked.
#[derive(Debug, PartialEq, Eq)]
pub struct ChangedQueues {
    /// For the next look.
    pub until: u64,
    /// Queues that came, went or changed; `None` if nobody knows any more.
    pub queues: Option<Vec<QueueId>>,
}

impl QueueLog {
    /// Something happened to a queue.
    pub(crate) fn push(&mut self, queue: QueueId) {
        if self.queues.len() == LENGTH_MAX {
            self.queues.pop_front();
            self.forgotten += 1;
        }
        self.queues.push_back(queue);
    }

    /// What changed behind `seen`; `None` for somebody who has seen nothing.
    pub(crate) fn since(&self, seen: Option<u64>) -> ChangedQueues {
        let until = self.forgotten + self.queues.len() as u64;
        let skipped = seen.and_then(|seen| seen.checked_sub(self.forgotten));
        let skipped = skipped.and_then(|skipped| usize::try_from(skipped).ok());
        ChangedQueues {
            until,
            queues: skipped.map(|skipped| self.queues.iter().skip(skipped).copied().collect()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_looks_often_misses_nothing_and_who_does_not_is_told() {
        let mut log = QueueLog::default();
        assert_eq!(log.since(None).queues, None);
        log.push(QueueId(1));
        log.push(QueueId(2));
        let first = log.since(Some(0));
        assert_eq!(first.queues, Some(vec![QueueId(1), QueueId(2)]));
        log.push(QueueId(3));
        let second = log.since(Some(first.until));
        assert_eq!(second.queues, Some(vec![QueueId(3)]));
        assert_eq!(log.since(Some(second.until)).queues, Some(Vec::new()));
        for number in 0..LENGTH_MAX as u64 {
            log.push(QueueId(number));
        }
        assert_eq!(log.queues.len(), LENGTH_MAX);
        assert_eq!(log.since(Some(first.until)).queues, None);
        assert!(log.since(Some(second.until)).queues.is_some());
    }
}
