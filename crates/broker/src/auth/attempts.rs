//! How often somebody tried to log in, by protocol.
//!
//! It counts; who is let in is decided elsewhere.

use std::sync::atomic::{AtomicU64, Ordering};

/// Something that one can log in with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// AMQP 0-9-1
    Amqp091,
    /// The HTTP API.
    Http,
}

impl Entry {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Amqp091, Self::Http];

    /// As listings call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Amqp091 => "amqp091",
            Self::Http => "http",
        }
    }
}

/// Counts of a node.
#[derive(Debug, Default)]
pub struct Attempts([Count; Entry::ALL.len()]);

#[derive(Debug, Default)]
struct Count {
    succeeded: AtomicU64,
    failed: AtomicU64,
}

impl Attempts {
    /// Somebody tried.
    pub fn count(&self, entry: Entry, succeeded: bool) {
        let count = &self.0[entry as usize];
        let kind = if succeeded {
            &count.succeeded
        } else {
            &count.failed
        };
        kind.fetch_add(1, Ordering::Relaxed);
    }

    /// How often it succeeded and how often it failed.
    pub fn of(&self, entry: Entry) -> (u64, u64) {
        let count = &self.0[entry as usize];
        (
            count.succeeded.load(Ordering::Relaxed),
            count.failed.load(Ordering::Relaxed),
        )
    }

    /// Begins anew.
    pub fn reset(&self) {
        for count in &self.0 {
            count.succeeded.store(0, Ordering::Relaxed);
            count.failed.store(0, Ordering::Relaxed);
        }
    }
}
