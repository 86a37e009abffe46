//! A shard and the histories of durable exchanges (`x-recent-history`): what it writes to the log, and what it reads back at a start.
//!
//! All shards put messages into a history, and whichever ends its turn next writes them, before its own batch and its mail: so a message
//! that is confirmed because a durable queue has it is in the history as well. They are not synced on their own.

use super::Shard;
use super::log::{LOOK_UP, Records};
use crate::message_codec;
use base::{Position, QueueId};
use broker::exchange::{History, HistoryChange};
use broker::message::SharedMessage;
use broker::queue::{RecordSink as _, Stored};
use bytes::Bytes;
use hashbrown::HashMap;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use store::{Batch, LoadRequest};

/// Bytes asked for in one read.
const READ_BYTES_MAX: usize = 1 << 20;

/// Histories that are still being read.
#[derive(Default)]
pub(super) struct UnreadHistories {
    list: HashMap<QueueId, Unread>,
    /// Dropped when all are read.
    done: Option<Sender<()>>,
}

struct Unread {
    history: Arc<History>,
    messages: Vec<(Position, SharedMessage)>,
    until: Position,
}

impl Shard {
    /// Gives the log what was added to histories since anybody looked.
    pub(super) fn write_histories(&mut self) {
        if !self.metadata.history_log().is_waiting() {
            return;
        }
        let metadata = Arc::clone(&self.metadata);
        metadata.history_log().take(|changes| {
            let mut records = Vec::with_capacity(changes.len());
            let mut sink = Records(&mut records);
            for change in changes {
                match change {
                    HistoryChange::Kept {
                        history,
                        position,
                        message,
                    } => sink.message(history, position, false, None, &message),
                    HistoryChange::Forgotten {
                        history,
                        from,
                        until,
                    } => sink.settled(history, from, until),
                }
            }
            if records.is_empty() || self.storage_failed {
                return;
            }
            self.ticket += 1;
            let batch = Batch {
                shard: self.id,
                ticket: self.ticket,
                sync: false,
                records,
            };
            if let Err(error) = self.shared.log.submit(batch) {
                self.storage_failed(&error.to_string());
            }
        });
    }

    /// Starts to read what the log has.
    pub(super) fn read_histories(&mut self, stored: Vec<(QueueId, Stored)>, done: Sender<()>) {
        let wanted: HashMap<_, _> = stored.into_iter().collect();
        let metadata = Arc::clone(&self.metadata);
        for (id, history) in metadata.histories() {
            let Some(stored) = wanted.get(&id) else {
                continue;
            };
            if stored.messages == 0 {
                history.restore(Vec::new(), stored.next);
                continue;
            }
            let unread = Unread {
                history: Arc::clone(history),
                messages: Vec::new(),
                until: stored.next,
            };
            self.unread_histories.list.insert(id, unread);
            self.read_history(id, stored.first, stored.next);
        }
        if !self.unread_histories.list.is_empty() {
            self.unread_histories.done = Some(done);
        }
    }

    fn read_history(&self, queue: QueueId, from: Position, until: Position) {
        self.shared.log.load(LoadRequest {
            shard: self.id,
            token: LOOK_UP,
            queue,
            from,
            until,
            bytes_max: READ_BYTES_MAX,
        });
    }

    /// The log has answered.
    pub(super) fn history_read(
        &mut self,
        queue: QueueId,
        payloads: Vec<(Position, Bytes)>,
        reached: Position,
    ) {
        let Some(unread) = self.unread_histories.list.get_mut(&queue) else {
            return;
        };
        for (position, payload) in payloads {
            match message_codec::decode(payload, &mut self.names) {
                Some((message, _)) => unread.messages.push((position, message)),
                None => tracing::error!(
                    history = queue.0,
                    position = position.0,
                    "stored message does not parse"
                ),
            }
        }
        let until = unread.until;
        if reached < until {
            return self.read_history(queue, reached, until);
        }
        if let Some(unread) = self.unread_histories.list.remove(&queue) {
            unread.history.restore(unread.messages, until);
        }
        if self.unread_histories.list.is_empty() {
            self.unread_histories.done = None;
        }
    }
}
