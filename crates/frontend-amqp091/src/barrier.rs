//! Which acks of a channel may not be safe yet, and how it finds out.
//!
//! Queues write settles to the log when it suits them, and acks are never answered. But channel.close-ok, connection.close-ok
//! and tx.commit-ok promise that nothing acknowledged before them comes back. So a channel remembers the queues in which
//! it settled something, and before it gives such an answer it puts a *barrier* behind its settles in each of them.
//!
//! It does not send anything by itself and does not decide what the channel does when the last barrier is answered.
//!
//! Limit: [`QUEUES_MAX`] queues are remembered; beyond that barriers are sent before anybody wants them.

use crate::session::Session;
use base::QueueRef;
use broker::command::{ChannelId, QueueCommand};

/// Queues with settles above which a channel sends barriers ahead of time. One method that settles in many queues may overshoot.
const QUEUES_MAX: usize = 1024;

/// Settles of one channel that may not be safe.
#[derive(Debug, Default)]
pub(crate) struct Unsynced {
    /// The queue of the latest settle; nearly always that of the next one too.
    last: Option<QueueRef>,
    /// Where something was settled since the last barrier, sorted.
    queues: Vec<QueueRef>,
    /// Barriers that were not answered.
    barriers: usize,
}

impl Unsynced {
    /// Something was settled in the queue for good.
    #[inline]
    pub(crate) fn settled_in(&mut self, queue: QueueRef) {
        if self.last != Some(queue) {
            self.insert(queue);
        }
    }

    fn insert(&mut self, queue: QueueRef) {
        self.last = Some(queue);
        if let Err(index) = self.queues.binary_search(&queue) {
            self.queues.insert(index, queue);
        }
    }

    /// Keeps the list of queues short; to be called after the settles were sent.
    #[inline]
    pub(crate) fn limit(&mut self, session: &mut Session, channel: ChannelId) {
        if self.queues.len() >= QUEUES_MAX {
            self.send_barriers(session, channel);
        }
    }

    /// Puts a barrier behind all settles so far; to be called after they were sent.
    pub(crate) fn send_barriers(&mut self, session: &mut Session, channel: ChannelId) {
        self.last = None;
        self.barriers += self.queues.len();
        for queue in self.queues.drain(..) {
            session.ask_queue(queue, QueueCommand::Barrier { channel });
        }
    }

    /// A barrier was answered.
    pub(crate) fn answered(&mut self) {
        self.barriers = self.barriers.saturating_sub(1);
    }

    /// Whether everything before the last [`Self::send_barriers`] is safe.
    pub(crate) fn is_synced(&self) -> bool {
        self.barriers == 0
    }

    /// Forgets the barriers that were not answered and says how many there are.
    pub(crate) fn take_barriers(&mut self) -> usize {
        std::mem::take(&mut self.barriers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Peer;
    use crate::request::Request;
    use base::{QueueId, ShardId};

    fn session() -> Session {
        let address = "127.0.0.1:5672".parse().unwrap();
        let peer = Peer {
            address,
            local: address,
            is_loopback: true,
            tls: None,
        };
        Session::new(Default::default(), peer, Default::default(), 1)
    }

    fn queue(id: usize) -> QueueRef {
        QueueRef {
            id: QueueId(id as u64),
            shard: ShardId(0),
        }
    }

    fn asked(session: &mut Session) -> Vec<u64> {
        let requests = session.requests.drain(..).map(|request| {
            let Request::Queue {
                queue,
                command: QueueCommand::Barrier { .. },
            } = request
            else {
                panic!("unexpected {request:?}");
            };
            queue.id.0
        });
        requests.collect()
    }

    #[test]
    fn each_queue_is_asked_once_and_not_again_without_need() {
        let (mut session, mut unsynced) = (session(), Unsynced::default());
        let channel = crate::request::connection_address(session.id);
        for id in [3, 3, 1, 3, 2, 2, 1] {
            unsynced.settled_in(queue(id));
        }
        unsynced.send_barriers(&mut session, channel);
        assert_eq!(asked(&mut session), [1, 2, 3]);
        unsynced.answered();
        unsynced.settled_in(queue(1));
        unsynced.send_barriers(&mut session, channel);
        assert_eq!(asked(&mut session), [1]);
        for _ in 0..3 {
            assert!(!unsynced.is_synced());
            unsynced.answered();
        }
        assert!(unsynced.is_synced());
        unsynced.send_barriers(&mut session, channel);
        assert_eq!(asked(&mut session), [0; 0]);
        assert!(unsynced.is_synced());
    }

    #[test]
    fn a_channel_of_many_queues_asks_early() {
        let (mut session, mut unsynced) = (session(), Unsynced::default());
        let channel = crate::request::connection_address(session.id);
        for id in 0..QUEUES_MAX + 10 {
            unsynced.settled_in(queue(id));
            unsynced.limit(&mut session, channel);
            assert!(unsynced.queues.len() < QUEUES_MAX);
        }
        assert_eq!(asked(&mut session).len(), QUEUES_MAX);
        unsynced.send_barriers(&mut session, channel);
        assert_eq!(asked(&mut session).len(), 10);
        assert_eq!(unsynced.take_barriers(), QUEUES_MAX + 10);
    }
}
