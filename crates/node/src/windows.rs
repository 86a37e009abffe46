//! Send windows: how much a shard may have on the way to one connection.
//!
//! A queue takes from the window for each delivery. The window of a connection of this shard is its out-buffer: it opens when
//! the socket has taken the bytes. For a connection of another shard the bytes count as on the way until that shard sends them
//! back as credit. A queue that meets a closed window is remembered and tried again when it opens, so a client that does not
//! read holds back its own deliveries only.
//!
//! Limits: [`LOCAL_BYTES`] for the own shard, [`REMOTE_BYTES`] shared by the others; together with one message or one run
//! that may overshoot on each they keep a connection's out-buffer at about 1 MiB.

use base::{ConnectionId, QueueId, ShardId};
use broker::queue::Windows;
use hashbrown::HashMap;
use slab::Slab;

/// Bytes that the shard of a connection may hold for it.
pub(crate) const LOCAL_BYTES: usize = 512 << 10;

/// Bytes that all other shards together may have on the way to a connection.
pub(crate) const REMOTE_BYTES: usize = 512 << 10;

#[derive(Debug)]
struct Window {
    connection: ConnectionId,
    in_flight: usize,
    waiting: Vec<QueueId>,
}

/// All windows of one shard. Only connections that were sent something have one.
#[derive(Debug)]
pub(crate) struct WindowTable {
    shard: ShardId,
    remote_limit: usize,
    windows: Slab<Window>,
    index: HashMap<ConnectionId, usize, foldhash::fast::FixedState>,
    /// The window that was looked for last: deliveries come in runs.
    last: usize,
}

impl WindowTable {
    pub(crate) fn new(shard: ShardId, shards: u16) -> Self {
        let others = usize::from(shards.saturating_sub(1)).max(1);
        Self {
            shard,
            remote_limit: REMOTE_BYTES / others,
            windows: Slab::new(),
            index: HashMap::default(),
            last: 0,
        }
    }

    fn limit(&self, connection: ConnectionId) -> usize {
        if connection.shard == self.shard {
            LOCAL_BYTES
        } else {
            self.remote_limit
        }
    }

    /// The out-buffer of a local connection holds this much now. Returns the queues to try again.
    pub(crate) fn set_in_flight(&mut self, connection: ConnectionId, bytes: usize) -> Vec<QueueId> {
        self.update(connection, |window| window.in_flight = bytes)
    }

    /// A connection of another shard has sent this much. Returns the queues to try again.
    pub(crate) fn credit(&mut self, connection: ConnectionId, bytes: usize) -> Vec<QueueId> {
        self.update(connection, |window| {
            window.in_flight = window.in_flight.saturating_sub(bytes);
        })
    }

    /// The connection has ended.
    pub(crate) fn remove(&mut self, connection: ConnectionId) {
        if let Some(index) = self.index.remove(&connection) {
            self.windows.remove(index);
        }
    }

    fn update(
        &mut self,
        connection: ConnectionId,
        change: impl FnOnce(&mut Window),
    ) -> Vec<QueueId> {
        let limit = self.limit(connection);
        let Some(window) = self
            .index
            .get(&connection)
            .and_then(|index| self.windows.get_mut(*index))
        else {
            return Vec::new();
        };
        change(window);
        Self::opened(window, limit)
    }

    /// The window of a connection, made on its first delivery.
    #[inline]
    fn window(&mut self, connection: ConnectionId) -> &mut Window {
        let is_last = |window: &Window| window.connection == connection;
        if !self.windows.get(self.last).is_some_and(is_last) {
            let windows = &mut self.windows;
            self.last = *self.index.entry(connection).or_insert_with(|| {
                windows.insert(Window {
                    connection,
                    in_flight: 0,
                    waiting: Vec::new(),
                })
            });
        }
        &mut self.windows[self.last]
    }

    fn opened(window: &mut Window, limit: usize) -> Vec<QueueId> {
        // Half empty, so that a slow reader is not served message by message.
        if window.in_flight > limit / 2 {
            return Vec::new();
        }
        std::mem::take(&mut window.waiting)
    }
}

impl Windows for WindowTable {
    #[inline]
    fn take(&mut self, connection: ConnectionId, queue: QueueId, bytes: usize) -> bool {
        let limit = self.limit(connection);
        let window = self.window(connection);
        if window.in_flight >= limit {
            if !window.waiting.contains(&queue) {
                window.waiting.push(queue);
            }
            return false;
        }
        window.in_flight += bytes;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_window_remembers_the_queue_until_half_is_sent() {
        let mut table = WindowTable::new(ShardId(0), 1);
        let (connection, queue) = (ConnectionId::default(), QueueId(7));
        assert!(table.take(connection, queue, LOCAL_BYTES));
        assert!(!table.take(connection, queue, 1));
        assert!(!table.take(connection, queue, 1));
        assert_eq!(table.set_in_flight(connection, LOCAL_BYTES / 2 + 1), []);
        assert_eq!(table.set_in_flight(connection, LOCAL_BYTES / 2), [queue]);
        assert!(table.take(connection, queue, 1));
    }
}
