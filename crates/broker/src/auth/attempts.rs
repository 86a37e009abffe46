//! How often somebody tried to log in, by protocol and, if that is switched on, by address and name.
//!
//! It counts; who is let in is decided elsewhere.

use base::Name;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Sources that are told apart; all others are counted as one without address and name.
pub const SOURCES_MAX: usize = 10_000;

/// Bytes of a name that are told apart.
const NAME_BYTES_MAX: usize = 255;

/// Something that one can log in with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
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

/// Where an attempt came from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Source {
    /// The client's address; `None` if there are too many to tell apart.
    pub address: Option<IpAddr>,
    /// The name it gave.
    pub user: Name,
    /// What it tried to log in with.
    pub entry: Entry,
}

/// How often it went well, and how often it did not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct AttemptCount {
    pub succeeded: u64,
    pub failed: u64,
}

type Sources = BTreeMap<Source, AttemptCount>;

/// Counts of a node.
#[derive(Debug, Default)]
pub struct Attempts {
    by_entry: [Count; Entry::ALL.len()],
    tells_sources: AtomicBool,
    by_source: Mutex<Sources>,
}

#[derive(Debug, Default)]
struct Count {
    succeeded: AtomicU64,
    failed: AtomicU64,
}

impl Attempts {
    /// Counts that are told apart by source from the start on, or not.
    pub fn telling_sources(tells_sources: bool) -> Self {
        Self {
            tells_sources: AtomicBool::new(tells_sources),
            ..Self::default()
        }
    }

    /// From now on attempts are told apart by source, or not. What was counted stays until [`Attempts::reset_sources`].
    pub fn tell_sources(&self, tells_sources: bool) {
        self.tells_sources.store(tells_sources, Ordering::Relaxed);
    }

    /// Somebody tried.
    pub fn count(&self, entry: Entry, succeeded: bool, address: IpAddr, user: &str) {
        let count = &self.by_entry[entry as usize];
        let kind = if succeeded {
            &count.succeeded
        } else {
            &count.failed
        };
        kind.fetch_add(1, Ordering::Relaxed);
        if self.tells_sources.load(Ordering::Relaxed) {
            self.count_source(entry, succeeded, address, user);
        }
    }

    fn count_source(&self, entry: Entry, succeeded: bool, address: IpAddr, user: &str) {
        let source = Source {
            address: Some(address),
            user: user[..user.floor_char_boundary(NAME_BYTES_MAX)].into(),
            entry,
        };
        let mut by_source = self.sources();
        let source = if by_source.len() >= SOURCES_MAX && !by_source.contains_key(&source) {
            Source {
                address: None,
                user: Name::default(),
                entry,
            }
        } else {
            source
        };
        let count = by_source.entry(source).or_default();
        if succeeded {
            count.succeeded += 1;
        } else {
            count.failed += 1;
        }
    }

    fn sources(&self) -> MutexGuard<'_, Sources> {
        let sources = self.by_source.lock();
        // Counts are whole after each step.
        sources.unwrap_or_else(PoisonError::into_inner)
    }

    /// How often it succeeded and how often it failed.
    pub fn of(&self, entry: Entry) -> AttemptCount {
        let count = &self.by_entry[entry as usize];
        AttemptCount {
            succeeded: count.succeeded.load(Ordering::Relaxed),
            failed: count.failed.load(Ordering::Relaxed),
        }
    }

    /// The same by source.
    pub fn by_source(&self) -> Vec<(Source, AttemptCount)> {
        let by_source = self.sources();
        let counts = by_source.iter();
        counts
            .map(|(source, count)| (source.clone(), *count))
            .collect()
    }

    /// Begins anew.
    pub fn reset(&self) {
        for count in &self.by_entry {
            count.succeeded.store(0, Ordering::Relaxed);
            count.failed.store(0, Ordering::Relaxed);
        }
    }

    /// Forgets the sources.
    pub fn reset_sources(&self) {
        self.sources().clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    #[test]
    fn sources_are_told_apart_only_while_that_is_wanted() {
        let attempts = Attempts::default();
        attempts.count(Entry::Http, true, HERE, "alice");
        assert!(attempts.by_source().is_empty());
        attempts.tell_sources(true);
        attempts.count(Entry::Http, false, HERE, "alice");
        attempts.count(Entry::Http, false, HERE, "alice");
        attempts.count(Entry::Amqp091, true, HERE, "bob");
        attempts.tell_sources(false);
        attempts.count(Entry::Http, true, HERE, "alice");
        let seen = attempts.by_source();
        let seen: Vec<_> = seen
            .iter()
            .map(|(source, count)| (&*source.user, count.succeeded, count.failed))
            .collect();
        assert_eq!(seen.len(), 2);
        assert!(seen.contains(&("alice", 0, 2)) && seen.contains(&("bob", 1, 0)));
        assert_eq!(attempts.of(Entry::Http).succeeded, 2);
        attempts.reset_sources();
        assert!(attempts.by_source().is_empty());
        assert_eq!(attempts.of(Entry::Http).failed, 2);
    }

    #[test]
    fn there_is_an_end_to_the_sources() {
        let attempts = Attempts::telling_sources(true);
        for number in 0..SOURCES_MAX + 100 {
            attempts.count(Entry::Amqp091, false, HERE, &format!("user-{number}"));
        }
        attempts.count(Entry::Amqp091, false, HERE, "user-0");
        let seen = attempts.by_source();
        assert_eq!(seen.len(), SOURCES_MAX + 1);
        let others = seen.iter().find(|(source, _)| source.address.is_none());
        assert_eq!(others.unwrap().1.failed, 100);
        attempts.reset_sources();
        attempts.count(Entry::Amqp091, false, HERE, &"é".repeat(1000));
        assert_eq!(attempts.by_source()[0].0.user.len(), 254);
    }
}
