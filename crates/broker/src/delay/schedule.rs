//! The index of a delay store: when each message is due, where it goes, and which ids it has. It holds no messages.
//!
//! One entry takes 28 bytes and its share of a tree, so a million messages take about 50 MB.

use super::{DelayTarget, Delayed};
use base::{Name, Position, QueueId};
use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};

/// When a message is due, on the store's clock, and its position: messages of one millisecond leave in the order in which
/// they came.
pub(super) type Key = (u64, Position);

/// Which messages a listing or a cancellation means: those of a vhost, less what the other fields leave out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector {
    /// The vhost of the targets.
    pub vhost: Name,
    /// Those that wait at this exchange or before this queue.
    pub target: Option<DelayTarget>,
    /// Those of them.
    pub only: Option<Only>,
}

/// Messages that are named one by one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Only {
    /// Those with this message-id property; compared by a 64-bit hash.
    MessageId(Box<[u8]>),
    /// The one that a listing named so.
    At {
        /// Its delay store.
        store: QueueId,
        /// Its place there.
        position: Position,
    },
}

impl Selector {
    /// All of a vhost.
    pub fn of_vhost(vhost: Name) -> Self {
        Self {
            vhost,
            target: None,
            only: None,
        }
    }

    /// Those that wait at one exchange or before one queue of a vhost.
    pub fn of_target(vhost: Name, target: DelayTarget) -> Self {
        Self {
            target: Some(target),
            ..Self::of_vhost(vhost)
        }
    }
}

/// One message of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The delay store that it is in.
    pub store: QueueId,
    /// Its place there.
    pub position: Position,
    /// Wall clock, milliseconds since 1970.
    pub due_at_ms: u64,
    /// The vhost of the target.
    pub vhost: Name,
    /// Where it goes.
    pub target: DelayTarget,
}

/// What an entry knows besides its key. The hash is in halves so that an entry needs no padding.
#[derive(Clone, Copy, Debug)]
struct Slot {
    origin: u32,
    /// Hash of the message id, 0 for none.
    id_hash: [u32; 2],
}

/// A target that messages wait for.
#[derive(Debug)]
struct Origin {
    vhost: Name,
    target: DelayTarget,
    count: u64,
}

#[derive(Debug, Default)]
pub(super) struct Schedule {
    entries: BTreeMap<Key, Slot>,
    /// Vacant ones have count 0.
    origins: Vec<Origin>,
    by_target: HashMap<(Name, DelayTarget), u32>,
    vacant: Vec<u32>,
}

impl Schedule {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn insert(&mut self, key: Key, delayed: &Delayed) {
        let slot = Slot {
            origin: self.origin(delayed),
            id_hash: halves(delayed.message_id.as_deref().map_or(0, hash)),
        };
        self.origins[slot.origin as usize].count += 1;
        let before = self.entries.insert(key, slot);
        debug_assert!(before.is_none(), "positions are unique");
    }

    pub(super) fn first(&self) -> Option<Key> {
        self.entries.first_key_value().map(|(&key, _)| key)
    }

    pub(super) fn pop_first(&mut self) -> Option<Key> {
        let (key, slot) = self.entries.pop_first()?;
        self.leave(slot.origin);
        Some(key)
    }

    /// The keys from one on, ascending.
    pub(super) fn keys_from(&self, from: Key) -> impl Iterator<Item = Key> + '_ {
        self.entries.range(from..).map(|(&key, _)| key)
    }

    pub(super) fn contains(&self, key: Key) -> bool {
        self.entries.contains_key(&key)
    }

    pub(super) fn remove(&mut self, key: Key) -> bool {
        let slot = self.entries.remove(&key);
        if let Some(slot) = slot {
            self.leave(slot.origin);
        }
        slot.is_some()
    }

    /// Takes out what is selected.
    pub(super) fn extract(&mut self, selector: &Selector) -> Vec<Key> {
        let selects = Selects::new(selector, &self.origins);
        let mut taken = Vec::new();
        let mut left = Vec::new();
        self.entries.retain(|key, slot| {
            let selected = selects.takes(&self.origins, *key, *slot);
            if selected {
                taken.push(*key);
                left.push(slot.origin);
            }
            !selected
        });
        left.into_iter().for_each(|origin| self.leave(origin));
        taken
    }

    /// The next ones of those that are selected, at most `max`, as keys and targets.
    pub(super) fn list(&self, selector: &Selector, max: usize) -> Vec<(Key, Name, DelayTarget)> {
        let selects = Selects::new(selector, &self.origins);
        let selected = self
            .entries
            .iter()
            .filter(|(key, slot)| selects.takes(&self.origins, **key, **slot));
        selected
            .take(max)
            .map(|(key, slot)| {
                let origin = &self.origins[slot.origin as usize];
                (*key, origin.vhost.clone(), origin.target.clone())
            })
            .collect()
    }

    /// How many messages wait for each target.
    pub(super) fn counts(&self) -> impl Iterator<Item = (&Name, &DelayTarget, u64)> {
        self.origins
            .iter()
            .filter(|origin| origin.count > 0)
            .map(|origin| (&origin.vhost, &origin.target, origin.count))
    }

    fn origin(&mut self, delayed: &Delayed) -> u32 {
        let key = (delayed.vhost.clone(), delayed.target.clone());
        if let Some(&known) = self.by_target.get(&key) {
            return known;
        }
        let origin = Origin {
            vhost: key.0.clone(),
            target: key.1.clone(),
            count: 0,
        };
        let number = if let Some(vacant) = self.vacant.pop() {
            self.origins[vacant as usize] = origin;
            vacant
        } else {
            self.origins.push(origin);
            u32::try_from(self.origins.len() - 1)
                .expect("each target has a name or queue of its own")
        };
        self.by_target.insert(key, number);
        number
    }

    fn leave(&mut self, number: u32) {
        let origin = &mut self.origins[number as usize];
        origin.count -= 1;
        if origin.count == 0 {
            self.by_target
                .remove(&(origin.vhost.clone(), origin.target.clone()));
            self.vacant.push(number);
        }
    }

    pub(super) fn check_invariants(&self) {
        let total: u64 = self.origins.iter().map(|origin| origin.count).sum();
        assert_eq!(total, self.entries.len() as u64, "counts by target");
        assert_eq!(self.by_target.len() + self.vacant.len(), self.origins.len());
    }
}

/// A selector that was looked up once.
struct Selects<'a> {
    vhost: &'a Name,
    /// The number of the target that is meant, if one is; no slot has `None` in it.
    origin: Option<Option<usize>>,
    only: Option<OnlyBy>,
}

#[derive(Clone, Copy)]
enum OnlyBy {
    Hash([u32; 2]),
    Position(Position),
}

impl<'a> Selects<'a> {
    fn new(selector: &'a Selector, origins: &[Origin]) -> Self {
        let vhost = &selector.vhost;
        Self {
            vhost,
            origin: selector.target.as_ref().map(|target| {
                origins.iter().position(|origin| {
                    origin.count > 0 && origin.vhost == *vhost && origin.target == *target
                })
            }),
            only: selector.only.as_ref().map(|only| match only {
                Only::MessageId(id) => OnlyBy::Hash(halves(hash(id))),
                Only::At { position, .. } => OnlyBy::Position(*position),
            }),
        }
    }

    fn takes(&self, origins: &[Origin], key: Key, slot: Slot) -> bool {
        let number = slot.origin as usize;
        let is_meant = match self.only {
            None => true,
            Some(OnlyBy::Hash(hash)) => slot.id_hash == hash,
            Some(OnlyBy::Position(position)) => key.1 == position,
        };
        is_meant
            && match self.origin {
                None => origins[number].vhost == *self.vhost,
                Some(origin) => origin == Some(number),
            }
    }
}

/// Never 0.
fn hash(message_id: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    message_id.hash(&mut hasher);
    hasher.finish().max(1)
}

fn halves(hash: u64) -> [u32; 2] {
    [(hash >> 32) as u32, hash as u32]
}
