//! The last messages of an exchange.
//!
//! It is the one thing behind an exchange that changes without a change of the metadata: all snapshots and all shards share it.
//! It is in memory and goes with the exchange. That of a durable exchange is in the log as well, in a place of its own
//! ([`is_history`]): what has to be written is noted in the [`HistoryLog`] of the metadata, and whoever runs the shards writes it, in
//! that order. A start gives it back with [`History::restore`].

use crate::message::SharedMessage;
use base::{Position, QueueId};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// Bytes of messages that one history keeps; beyond them the oldest goes. A larger message is not kept at all.
pub const HISTORY_BYTES_MAX: usize = 16 << 20;

/// The queue ids of histories have this bit; no queue has it itself.
const HISTORY_BIT: u64 = 1 << 59;

/// Whether the log keeps the history of an exchange there, and no queue.
pub fn is_history(id: QueueId) -> bool {
    id.0 >> 59 == 1
}

/// Where the log keeps the history of that number.
pub(crate) fn history_of(number: u64) -> QueueId {
    QueueId(number | HISTORY_BIT)
}

/// The number of a history in the log.
pub(crate) fn number_of(history: QueueId) -> u64 {
    history.0 & !HISTORY_BIT
}

/// What happened to the history of a durable exchange.
#[derive(Debug)]
pub enum HistoryChange {
    /// A message came.
    Kept {
        /// The history.
        history: QueueId,
        /// Its place there, above all before.
        position: Position,
        /// The message.
        message: SharedMessage,
    },
    /// The oldest went.
    Forgotten {
        /// The history.
        history: QueueId,
        /// The first place.
        from: Position,
        /// The first place that did not go.
        until: Position,
    },
}

/// What the log has to be told about histories. Limit: what the shards publish in one turn each, as each looks here at its end.
#[derive(Debug, Default)]
pub struct HistoryLog {
    is_waiting: AtomicBool,
    changes: Mutex<Vec<HistoryChange>>,
}

impl HistoryLog {
    /// Whether there is anything to write.
    pub fn is_waiting(&self) -> bool {
        self.is_waiting.load(Ordering::Acquire)
    }

    /// Takes the changes. Nobody else gets later ones before `write` has returned.
    pub fn take(&self, write: impl FnOnce(Vec<HistoryChange>)) {
        let mut changes = self.lock();
        self.is_waiting.store(false, Ordering::Release);
        write(std::mem::take(&mut *changes));
    }

    fn note(&self, change: HistoryChange) {
        self.lock().push(change);
        self.is_waiting.store(true, Ordering::Release);
    }

    /// Nothing is half done when somebody panics.
    fn lock(&self) -> MutexGuard<'_, Vec<HistoryChange>> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The last messages of an exchange, oldest first.
#[derive(Debug)]
pub struct History {
    /// At least 1.
    length_max: usize,
    bytes_max: usize,
    messages: Mutex<Messages>,
    /// Where the log keeps it, if it does.
    log: OnceLock<(QueueId, Arc<HistoryLog>)>,
}

#[derive(Debug, Default)]
struct Messages {
    list: VecDeque<(Position, SharedMessage)>,
    bytes: usize,
    next: Position,
}

impl Messages {
    fn add(&mut self, position: Position, message: SharedMessage) {
        self.bytes += size(&message);
        self.list.push_back((position, message));
        self.next = self.next.max(position.next());
    }

    /// Drops the oldest that are too much, and says where they were.
    fn trim(&mut self, length_max: usize, bytes_max: usize) -> Option<(Position, Position)> {
        let mut dropped = None;
        while self.list.len() > length_max || self.bytes > bytes_max {
            let (position, oldest) = self.list.pop_front()?;
            self.bytes -= size(&oldest);
            let from = dropped.map_or(position, |(from, _)| from);
            dropped = Some((from, position.next()));
        }
        dropped
    }
}

impl History {
    /// An empty history of up to `length_max` messages.
    pub(super) fn new(length_max: usize) -> Self {
        Self {
            length_max,
            bytes_max: HISTORY_BYTES_MAX,
            messages: Mutex::default(),
            log: OnceLock::new(),
        }
    }

    /// From now on the log is told. For a history that is new.
    pub(crate) fn keep_in_log(&self, history: QueueId, log: Arc<HistoryLog>) {
        // It is new, so nobody else can have said so.
        let _ = self.log.set((history, log));
    }

    /// Where the log keeps it; `None` for that of a transient exchange.
    pub fn log_id(&self) -> Option<QueueId> {
        self.log.get().map(|(history, _)| *history)
    }

    /// What the log had at the start, ascending, before anything else comes; `next`: positions below were given out.
    pub fn restore(&self, stored: Vec<(Position, SharedMessage)>, next: Position) {
        let mut messages = self.lock();
        messages.next = messages.next.max(next);
        for (position, message) in stored {
            messages.add(position, message);
        }
        let dropped = messages.trim(self.length_max, self.bytes_max);
        self.note_dropped(dropped);
    }

    fn note_dropped(&self, dropped: Option<(Position, Position)>) {
        if let (Some((history, log)), Some((from, until))) = (self.log.get(), dropped) {
            log.note(HistoryChange::Forgotten {
                history: *history,
                from,
                until,
            });
        }
    }

    /// Keeps a message.
    pub fn push(&self, message: &SharedMessage) {
        if size(message) > self.bytes_max {
            return;
        }
        let mut message = message.clone();
        crate::queue::detach(&mut message);
        let mut messages = self.lock();
        let position = messages.next;
        if let Some((history, log)) = self.log.get() {
            log.note(HistoryChange::Kept {
                history: *history,
                position,
                message: SharedMessage::clone(&message),
            });
        }
        messages.add(position, message);
        let dropped = messages.trim(self.length_max, self.bytes_max);
        self.note_dropped(dropped);
    }

    /// The messages, oldest first.
    pub fn messages(&self) -> Vec<SharedMessage> {
        let messages = self.lock();
        let list = messages.list.iter();
        list.map(|(_, message)| SharedMessage::clone(message))
            .collect()
    }

    /// The list is right after each statement above, so a panic elsewhere does not spoil it.
    fn lock(&self) -> MutexGuard<'_, Messages> {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn size(message: &SharedMessage) -> usize {
    message.size_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Address, Message};
    use bytes::Bytes;
    use std::sync::Arc;

    fn message(body: &str) -> SharedMessage {
        Arc::new(Message {
            address: Address::new("x".into(), Bytes::new()),
            properties: Bytes::new(),
            body: Bytes::copy_from_slice(body.as_bytes()),
            persistent: false,
            priority: 0,
            expiration_ms: None,
            extra_routing_keys: None,
            deaths: None,
        })
    }

    fn bodies(history: &History) -> Vec<Bytes> {
        history
            .messages()
            .iter()
            .map(|message| message.body.clone())
            .collect()
    }

    #[test]
    fn the_oldest_goes_when_there_are_too_many() {
        let history = History::new(2);
        for body in ["a", "b", "c"] {
            history.push(&message(body));
        }
        assert_eq!(bodies(&history), ["b", "c"]);
    }

    #[test]
    fn the_oldest_go_when_they_are_too_large() {
        let history = History {
            bytes_max: 10,
            ..History::new(100)
        };
        for body in ["1234", "5678", "90", "abc", "much too large"] {
            history.push(&message(body));
        }
        assert_eq!(bodies(&history), ["5678", "90", "abc"]);
    }

    /// What a log would have: positions and bodies.
    fn written(log: &HistoryLog) -> Vec<(u64, Bytes)> {
        let mut list = Vec::new();
        log.take(|changes| {
            for change in changes {
                match change {
                    HistoryChange::Kept {
                        position, message, ..
                    } => list.push((position.0, message.body.clone())),
                    HistoryChange::Forgotten { from, until, .. } => {
                        list.retain(|(at, _)| !(from.0..until.0).contains(at));
                    }
                }
            }
        });
        list
    }

    #[test]
    fn the_log_has_what_the_history_has_and_gives_it_back() {
        let log = Arc::new(HistoryLog::default());
        let history = History::new(2);
        history.keep_in_log(history_of(5), Arc::clone(&log));
        for body in ["a", "b", "c"] {
            history.push(&message(body));
        }
        assert!(log.is_waiting());
        let stored = written(&log);
        assert!(!log.is_waiting());
        assert_eq!(stored, [(1, "b".into()), (2, "c".into())]);
        let restarted = History::new(2);
        restarted.keep_in_log(history_of(5), Arc::clone(&log));
        let stored = [(1, "b"), (2, "c")].map(|(at, body)| (Position(at), message(body)));
        restarted.restore(stored.into(), Position(3));
        restarted.push(&message("d"));
        assert_eq!(bodies(&restarted), ["c", "d"]);
        assert_eq!(written(&log), [(3, Bytes::from("d"))]);
        assert!(is_history(history_of(5)) && number_of(history_of(5)) == 5);
    }

    #[test]
    fn a_small_message_keeps_no_read_buffer() {
        let buffer = Bytes::from(vec![b'x'; 1000]);
        let mut small = message("");
        Arc::make_mut(&mut small).body = buffer.slice(10..20);
        let history = History::new(2);
        history.push(&small);
        drop(small);
        assert!(buffer.is_unique());
    }
}
