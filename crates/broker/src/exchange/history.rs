//! The last messages of an exchange.
//!
//! It is the one thing behind an exchange that changes without a change of the metadata: all snapshots and all shards share it.
//! It is in memory only and goes with the exchange.

use crate::message::SharedMessage;
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Bytes of messages that one history keeps; beyond them the oldest goes. A larger message is not kept at all.
pub const HISTORY_BYTES_MAX: usize = 16 << 20;

/// The last messages of an exchange, oldest first.
#[derive(Debug)]
pub struct History {
    /// At least 1.
    length_max: usize,
    bytes_max: usize,
    messages: Mutex<Messages>,
}

#[derive(Debug, Default)]
struct Messages {
    list: VecDeque<SharedMessage>,
    bytes: usize,
}

impl History {
    /// An empty history of up to `length_max` messages.
    pub(super) fn new(length_max: usize) -> Self {
        Self {
            length_max,
            bytes_max: HISTORY_BYTES_MAX,
            messages: Mutex::default(),
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
        messages.bytes += size(&message);
        messages.list.push_back(message);
        while messages.list.len() > self.length_max || messages.bytes > self.bytes_max {
            let Some(oldest) = messages.list.pop_front() else {
                return;
            };
            messages.bytes -= size(&oldest);
        }
    }

    /// The messages, oldest first.
    pub fn messages(&self) -> Vec<SharedMessage> {
        self.lock().list.iter().cloned().collect()
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
