//! Messages that wait for a consumer, in the order in which they will go out.
//!
//! ```text
//!   requeued            head              cold                 tail
//!   tree, any           RAM               only bounds and      RAM, where new
//!   positions below     next to go        counts; in store     messages arrive
//!   the frontier
//!   ──────────────┬──────────────────┬───────────────────┬───────────────┬──▶ position
//!              frontier          cold.from           cold.until         next
//! ```
//!
//! Without a cold part everything is in `head`. Invariant: all live positions from the frontier on are ready, so a cold range
//! never holds a position that is unacked or was settled a moment ago, and what the store finds in it is what waits there.
//! A requeued message that touches the frontier rejoins the head.
//!
//! The exception are *holes*: messages that an operator took from behind the frontier. Their positions are remembered until the
//! frontier has passed them, at about two bytes each, and what a read of the cold part finds there is ignored.
//!
//! With priorities the order is (level, position) in one tree, evicted messages keep their entry there, and `cold` is only what
//! recovery found and nobody has looked at yet; nothing goes out before its levels are known. A quorum queue gets its tree when a
//! message asks for it, and gives it up when nothing waits and nothing of another level is out.
//!
//! This module knows no consumers, no limits and no log; what is written it is told.

use super::Stored;
use super::entry::{Entry, MESSAGE_OVERHEAD_BYTES};
use base::Position;
use roaring::RoaringTreemap;
use smallvec::SmallVec;
use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};

/// Entries in the head above which it is shortened even when its payloads take little RAM.
const HEAD_ENTRIES_MAX: usize = 65_536;

/// Entries of a tree that one eviction looks at (per level), so that a long evicted part is not walked again and again.
const EVICT_WALK_MAX: usize = 4096;

/// Messages of a queue with priorities: highest level first, then by position.
#[derive(Debug, Default)]
struct Levels {
    entries: BTreeMap<(Reverse<u8>, Position), Entry>,
    /// How many there are of each level, from level 0 to the highest that ever was.
    counts: Vec<u64>,
}

impl Levels {
    fn insert(&mut self, entry: Entry) {
        let level = usize::from(entry.level);
        if self.counts.len() <= level {
            self.counts.resize(level + 1, 0);
        }
        self.counts[level] += 1;
        let before = (self.entries).insert((Reverse(entry.level), entry.position), entry);
        debug_assert!(before.is_none(), "a position is taken once");
    }

    fn pop_first(&mut self) -> Option<Entry> {
        let (_, entry) = self.entries.pop_first()?;
        self.counts[usize::from(entry.level)] -= 1;
        Some(entry)
    }

    fn remove(&mut self, level: u8, position: Position) -> Option<Entry> {
        let entry = self.entries.remove(&(Reverse(level), position))?;
        self.counts[usize::from(level)] -= 1;
        Some(entry)
    }
}

/// Stored messages of which only the bounds and totals are known.
#[derive(Debug)]
struct Cold {
    from: Position,
    until: Position,
    count: u64,
    bytes: u64,
    /// `bytes` is nearly right only.
    is_estimate: bool,
}

/// The next message to go out.
#[derive(Debug)]
pub(super) enum Front<'a> {
    /// Nothing waits.
    Empty,
    /// This one; its payload may be evicted.
    Entry(&'a Entry),
    /// It is in the store and not even known by position.
    Cold,
}

/// A read from the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Load {
    pub(super) from: Position,
    pub(super) until: Position,
    /// It reads the beginning of the cold part, and not evicted payloads of known messages.
    cold: bool,
}

impl Load {
    /// The evicted payload of one known message.
    pub(super) fn of_known(position: Position) -> Self {
        Self {
            from: position,
            until: position.next(),
            cold: false,
        }
    }
}

#[derive(Debug)]
pub(super) struct Ready {
    requeued: BTreeMap<Position, Entry>,
    head: VecDeque<Entry>,
    cold: Option<Cold>,
    tail: VecDeque<Entry>,
    levels: Option<Box<Levels>>,
    /// Positions from the frontier on that are not ready, although the store may have them. Never with levels.
    holes: RoaringTreemap,
    frontier: Position,
    count: u64,
    bytes: u64,
    head_ram: usize,
    other_ram: usize,
}

impl Ready {
    /// What recovery found, all of it cold.
    pub(super) fn new(stored: &Stored, with_levels: bool) -> Self {
        let &Stored {
            first: from, next, ..
        } = stored;
        let cold = (stored.messages > 0 && from < next).then_some(Cold {
            from,
            until: next,
            count: stored.messages,
            bytes: stored.bytes,
            is_estimate: stored.is_estimate,
        });
        Self {
            requeued: BTreeMap::new(),
            head: VecDeque::new(),
            frontier: if cold.is_some() { from } else { next },
            count: cold.as_ref().map_or(0, |cold| cold.count),
            bytes: cold.as_ref().map_or(0, |cold| cold.bytes),
            cold,
            tail: VecDeque::new(),
            levels: with_levels.then(Box::default),
            holes: RoaringTreemap::new(),
            head_ram: 0,
            other_ram: 0,
        }
    }

    /// For a queue that has just started: some of what recovery found does not wait.
    pub(super) fn leave_out(&mut self, count: u64, bytes: u64, next: Position) {
        let Some(cold) = &self.cold else { return };
        let stored = Stored {
            messages: cold.count.saturating_sub(count),
            bytes: cold.bytes.saturating_sub(bytes),
            is_estimate: cold.is_estimate,
            first: cold.from,
            next,
            ..Stored::default()
        };
        *self = Self::new(&stored, self.levels.is_some());
    }

    #[inline]
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Nothing waits. A cold part may turn out to be empty, but is not before it was read.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0 && self.cold.is_none()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The part of [`Ready::bytes`] that is nearly right only, because nobody has read it since the start.
    pub(super) fn estimated_bytes(&self) -> u64 {
        let cold = self.cold.as_ref().filter(|cold| cold.is_estimate);
        cold.map_or(0, |cold| cold.bytes)
    }

    /// Whether only the store has some of it.
    pub(super) fn has_cold(&self) -> bool {
        self.cold.is_some()
    }

    /// RAM that payloads take.
    pub(super) fn ram_bytes(&self) -> usize {
        self.head_ram + self.other_ram
    }

    /// No ready position is below this one. Its cost grows with the queue if there are levels.
    pub(super) fn first(&self) -> Position {
        if let Some(levels) = &self.levels {
            let known = levels.entries.keys().map(|&(_, position)| position);
            let cold = self.cold.iter().map(|cold| cold.from);
            return known.chain(cold).min().unwrap_or(self.frontier);
        }
        let requeued = self
            .requeued
            .first_key_value()
            .map(|(&position, _)| position);
        requeued.map_or(self.frontier, |requeued| requeued.min(self.frontier))
    }

    pub(super) fn frontier(&self) -> Position {
        self.frontier
    }

    pub(super) fn has_levels(&self) -> bool {
        self.levels.is_some()
    }

    /// From now on levels count.
    pub(super) fn make_levels(&mut self) {
        if self.levels.is_some() {
            return;
        }
        let requeued = std::mem::take(&mut self.requeued).into_values();
        let head = std::mem::take(&mut self.head);
        let tail = std::mem::take(&mut self.tail);
        self.holes.clear();
        let entries = requeued.chain(head).chain(tail);
        let mut levels = Box::<Levels>::default();
        entries.for_each(|entry| levels.insert(entry));
        self.levels = Some(levels);
        self.other_ram += std::mem::take(&mut self.head_ram);
    }

    /// Levels count no more. Only when nothing waits.
    pub(super) fn forget_levels(&mut self, next: Position) {
        debug_assert!(self.is_empty());
        self.levels = None;
        self.frontier = next;
    }

    pub(super) fn has_requeued(&self) -> bool {
        !self.requeued.is_empty()
    }

    #[inline]
    pub(super) fn front(&self) -> Front<'_> {
        if let Some(levels) = &self.levels {
            if self.cold.is_some() {
                return Front::Cold;
            }
            return levels
                .entries
                .first_key_value()
                .map_or(Front::Empty, |(_, entry)| Front::Entry(entry));
        }
        if !self.requeued.is_empty() {
            return self
                .requeued
                .first_key_value()
                .map_or(Front::Empty, |(_, entry)| Front::Entry(entry));
        }
        match self.head.front() {
            Some(entry) => Front::Entry(entry),
            None if self.cold.is_some() => Front::Cold,
            None => Front::Empty,
        }
    }

    /// The oldest message of each level, as far as known: those whose expiry is looked at (RabbitMQ docs: ttl).
    pub(super) fn fronts(&self) -> SmallVec<[&Entry; 1]> {
        let mut fronts = SmallVec::new();
        let Some(levels) = &self.levels else {
            if let Front::Entry(entry) = self.front() {
                fronts.push(entry);
            }
            return fronts;
        };
        // An older one may be among what was not read yet.
        let mut from = self.cold.is_none().then_some(u8::MAX);
        while let Some(((level, _), entry)) =
            from.and_then(|level| levels.entries.range((Reverse(level), Position(0))..).next())
        {
            fronts.push(entry);
            from = level.0.checked_sub(1);
        }
        fronts
    }

    /// A new message, behind all others of its level.
    #[inline]
    pub(super) fn push(&mut self, entry: Entry) {
        self.count += 1;
        self.bytes += u64::from(entry.body_bytes);
        let ram = entry.ram_bytes();
        if let Some(levels) = &mut self.levels {
            self.other_ram += ram;
            levels.insert(entry);
        } else if self.cold.is_none() {
            self.head_ram += ram;
            self.head.push_back(entry);
        } else {
            self.other_ram += ram;
            self.tail.push_back(entry);
        }
    }

    /// The queue is empty and a message passed it by: the frontier follows.
    #[inline]
    pub(super) fn pass(&mut self, next: Position) {
        self.frontier = next;
    }

    /// A delivered message comes back to its place. `may_be_cold`: the store gives it back as it is.
    pub(super) fn restore(&mut self, entry: Entry, may_be_cold: bool) {
        self.count += 1;
        self.bytes += u64::from(entry.body_bytes);
        let ram = entry.ram_bytes();
        if let Some(levels) = &mut self.levels {
            self.other_ram += ram;
            levels.insert(entry);
            return;
        }
        if entry.position >= self.frontier {
            return self.fill_hole(entry, may_be_cold);
        }
        if entry.position.next() != self.frontier {
            self.other_ram += ram;
            self.requeued.insert(entry.position, entry);
            return;
        }
        self.rejoin(entry);
        while let Some((&position, _)) = self.requeued.last_key_value()
            && position.next() == self.frontier
        {
            let (_, entry) = self.requeued.pop_last().expect("the loop condition saw it");
            self.other_ram -= entry.ram_bytes();
            self.rejoin(entry);
        }
    }

    fn rejoin(&mut self, entry: Entry) {
        self.frontier = entry.position;
        self.holes.remove(entry.position.0);
        self.head_ram += entry.ram_bytes();
        self.head.push_front(entry);
    }

    /// A message that was taken from behind the frontier comes back.
    fn fill_hole(&mut self, mut entry: Entry, may_be_cold: bool) {
        let position = entry.position;
        let ram = entry.ram_bytes();
        let part = match &mut self.cold {
            None => &mut self.head,
            Some(cold) if position < cold.from => &mut self.head,
            Some(cold) if position >= cold.until && entry.message.is_some() => &mut self.tail,
            Some(cold) if position < cold.until && may_be_cold => {
                cold.count += 1;
                cold.bytes += u64::from(entry.body_bytes);
                self.holes.remove(position.0);
                entry.evict();
                return;
            }
            // The store does not have it where it belongs: it goes first, and its place stays a hole.
            Some(_) => {
                self.other_ram += ram;
                self.requeued.insert(position, entry);
                return;
            }
        };
        let index = part.partition_point(|other| other.position < position);
        part.insert(index, entry);
        self.holes.remove(position.0);
        if self
            .cold
            .as_ref()
            .is_some_and(|cold| position >= cold.until)
        {
            self.other_ram += ram;
        } else {
            self.head_ram += ram;
        }
    }

    /// Takes out one message wherever it stands. `looked_up` is what the store has of it: it is taken instead if
    /// the message stands in the cold part.
    pub(super) fn take(&mut self, looked_up: Entry) -> Option<Entry> {
        let position = looked_up.position;
        if self.levels.is_some() {
            return self.remove(looked_up.level, position);
        }
        let entry = if let Some(entry) = self.requeued.remove(&position) {
            self.other_ram -= entry.ram_bytes();
            entry
        } else if let Some(entry) = remove_at(&mut self.head, position) {
            self.head_ram -= entry.ram_bytes();
            self.make_hole(position);
            entry
        } else if let Some(entry) = remove_at(&mut self.tail, position) {
            self.other_ram -= entry.ram_bytes();
            self.make_hole(position);
            entry
        } else if self.is_cold(position) {
            let cold = self.cold.as_mut()?;
            let known = cold.count.min(1);
            cold.count -= known;
            let counted = cold.bytes.min(u64::from(looked_up.body_bytes));
            cold.bytes -= counted;
            // Recovery may have counted differently: what is more than it knew is counted as found here.
            self.count += 1 - known;
            self.bytes += u64::from(looked_up.body_bytes) - counted;
            self.make_hole(position);
            looked_up
        } else {
            return None;
        };
        self.count -= 1;
        self.bytes -= u64::from(entry.body_bytes);
        Some(entry)
    }

    fn make_hole(&mut self, position: Position) {
        self.holes.remove_range(..self.frontier.0);
        self.holes.insert(position.0);
    }

    /// Whether the message stands in the cold part, if the store has it.
    pub(super) fn is_cold(&self, position: Position) -> bool {
        self.cold
            .as_ref()
            .is_some_and(|cold| (cold.from..cold.until).contains(&position))
            && !self.holes.contains(position.0)
    }

    /// Whether the position is behind the frontier and its message was taken from there.
    pub(super) fn is_hole(&self, position: Position) -> bool {
        self.holes.contains(position.0)
    }

    /// Bounds of the cold part.
    pub(super) fn cold_range(&self) -> Option<(Position, Position)> {
        self.cold.as_ref().map(|cold| (cold.from, cold.until))
    }

    /// The entry of that level and position, if it is in RAM.
    pub(super) fn find(&self, level: u8, position: Position) -> Option<&Entry> {
        if let Some(levels) = &self.levels {
            return levels.entries.get(&(Reverse(level), position));
        }
        if let Some(entry) = self.requeued.get(&position) {
            return Some(entry);
        }
        [&self.head, &self.tail].into_iter().find_map(|part| {
            let index = part
                .binary_search_by_key(&position, |entry| entry.position)
                .ok()?;
            part.get(index)
        })
    }

    /// The first entries in RAM from a place on, at most `count` of each part and in no particular order of the parts.
    /// Without levels only those below `until`.
    pub(super) fn first_from(
        &self,
        from: (Reverse<u8>, Position),
        until: Position,
        count: usize,
    ) -> impl Iterator<Item = &Entry> {
        let start = |part: &VecDeque<Entry>| part.partition_point(|entry| entry.position < from.1);
        let (head, tail) = (start(&self.head), start(&self.tail));
        let below = move |entry: &&Entry| entry.position < until;
        let levels = self.levels.as_deref().into_iter();
        let requeued = self.requeued.range(from.1..).map(|(_, entry)| entry);
        requeued
            .take(count)
            .chain(self.head.range(head..).take(count))
            .chain(self.tail.range(tail..).take(count))
            .filter(below)
            .chain(
                levels
                    .flat_map(move |levels| levels.entries.range(from..))
                    .map(|(_, entry)| entry)
                    .take(count),
            )
    }

    /// How many messages wait of each level, lowest first, as far as that is known. Empty without levels.
    pub(super) fn level_counts(&self) -> impl Iterator<Item = (u8, u64)> {
        let counts = self.levels.iter().flat_map(|levels| &levels.counts);
        (0..=u8::MAX)
            .zip(counts.copied())
            .filter(|(_, count)| *count > 0)
    }

    /// Messages wait in levels, and not all levels are known yet.
    pub(super) fn has_unknown_levels(&self) -> bool {
        self.levels.is_some() && self.cold.is_some()
    }

    /// Takes out the entry that [`Ready::front`] shows.
    #[inline]
    pub(super) fn pop(&mut self) -> Option<Entry> {
        let entry = if let Some(levels) = &mut self.levels {
            if self.cold.is_some() {
                return None;
            }
            let entry = levels.pop_first()?;
            self.other_ram -= entry.ram_bytes();
            entry
        } else if let Some((_, entry)) = self.requeued.pop_first() {
            self.other_ram -= entry.ram_bytes();
            entry
        } else {
            let entry = self.head.pop_front()?;
            self.head_ram -= entry.ram_bytes();
            self.frontier = entry.position.next();
            entry
        };
        self.count -= 1;
        self.bytes -= u64::from(entry.body_bytes);
        Some(entry)
    }

    /// Takes out the entry of that level and position. Only with levels.
    pub(super) fn remove(&mut self, level: u8, position: Position) -> Option<Entry> {
        let entry = self.levels.as_mut()?.remove(level, position)?;
        self.other_ram -= entry.ram_bytes();
        self.count -= 1;
        self.bytes -= u64::from(entry.body_bytes);
        Some(entry)
    }

    /// Entries in RAM from a position on, ascending without levels: first the requeued, then the others.
    pub(super) fn iter_from(&self, from: Position) -> impl Iterator<Item = &Entry> {
        let head = self.head.partition_point(|entry| entry.position < from);
        let tail = self.tail.partition_point(|entry| entry.position < from);
        let levels = self
            .levels
            .as_deref()
            .into_iter()
            .flat_map(|levels| levels.entries.values());
        self.requeued
            .range(from..)
            .map(|(_, entry)| entry)
            .chain(self.head.range(head..))
            .chain(self.tail.range(tail..))
            .chain(levels.filter(move |entry| entry.position >= from))
    }

    /// Calls `mark` for the entries in RAM from a position on and lets it change them, but not their payload.
    pub(super) fn for_each_from(&mut self, from: Position, mut mark: impl FnMut(&mut Entry)) {
        self.requeued
            .range_mut(from..)
            .for_each(|(_, entry)| mark(entry));
        let head = self.head.partition_point(|entry| entry.position < from);
        self.head.range_mut(head..).for_each(&mut mark);
        let tail = self.tail.partition_point(|entry| entry.position < from);
        self.tail.range_mut(tail..).for_each(&mut mark);
        if let Some(levels) = &mut self.levels {
            levels
                .entries
                .values_mut()
                .filter(|entry| entry.position >= from)
                .for_each(mark);
        }
    }

    /// Drops everything. `each` sees the known entries; the ranges of the cold part are returned, without what was taken from it.
    pub(super) fn clear(
        &mut self,
        next: Position,
        mut each: impl FnMut(&Entry),
    ) -> Vec<(Position, Position)> {
        self.iter_from(Position(0)).for_each(&mut each);
        let cold = self.cold_ranges();
        let nothing = Stored {
            first: next,
            next,
            ..Stored::default()
        };
        *self = Self::new(&nothing, self.levels.is_some());
        cold
    }

    /// What is between the holes of the cold part.
    fn cold_ranges(&self) -> Vec<(Position, Position)> {
        let Some(cold) = &self.cold else {
            return Vec::new();
        };
        let inside = cold.from.0..cold.until.0;
        let holes = self.holes.iter().filter(|hole| inside.contains(hole));
        let bounds = holes.chain([inside.end]);
        let mut from = cold.from;
        let ranges = bounds.filter_map(|hole| {
            let range = (from, Position(hole));
            from = range.1.next();
            (range.0 < range.1).then_some(range)
        });
        ranges.collect()
    }

    /// What should be read from the store, at most about `bytes`: what stands at the front, or with `ahead` also what will soon.
    pub(super) fn wanted_load(&self, bytes: usize, ahead: bool) -> Option<Load> {
        match self.front() {
            Front::Entry(entry) if entry.message.is_none() => {
                Some(self.evicted_run(entry.position, bytes))
            }
            Front::Cold => self.cold_load(),
            Front::Entry(_) if ahead && self.levels.is_none() && self.head_ram < bytes / 2 => {
                self.cold_load()
            }
            Front::Entry(_) | Front::Empty => None,
        }
    }

    fn cold_load(&self) -> Option<Load> {
        self.cold.as_ref().map(|cold| Load {
            from: cold.from,
            until: cold.until,
            cold: true,
        })
    }

    /// The evicted entries that go out one after the other from the front on.
    fn evicted_run(&self, from: Position, bytes: usize) -> Load {
        let in_order: Box<dyn Iterator<Item = &Entry>> = if let Some(levels) = &self.levels {
            Box::new(levels.entries.values())
        } else if self.requeued.is_empty() {
            Box::new(self.head.iter())
        } else {
            Box::new(self.requeued.values())
        };
        let (mut until, mut left) = (from, bytes);
        for entry in in_order {
            if entry.message.is_some() || entry.position < until || left == 0 {
                break;
            }
            until = entry.position.next();
            left = left.saturating_sub(entry.body_bytes as usize + MESSAGE_OVERHEAD_BYTES);
        }
        Load {
            from,
            until,
            cold: false,
        }
    }

    /// Takes in what the store found for `load` up to `reached`. The count of ready messages is corrected when the store
    /// holds less or more than was known.
    pub(super) fn loaded(
        &mut self,
        load: Load,
        reached: Position,
        messages: impl Iterator<Item = Entry>,
    ) {
        // A read of a cold part that has grown at its beginning since would leave a hole.
        let fits = load.cold
            && self
                .cold
                .as_ref()
                .is_some_and(|cold| cold.from == load.from);
        for entry in messages {
            let position = entry.position;
            if position < load.from || position >= load.until || self.is_hole(position) {
                continue;
            }
            if fits && position < reached {
                self.append_loaded(entry);
            } else {
                self.fill(entry);
            }
        }
        if fits {
            self.advance_cold(reached.min(load.until));
        }
    }

    fn append_loaded(&mut self, entry: Entry) {
        let cold = self
            .cold
            .as_mut()
            .expect("the caller saw that the load fits");
        let known = cold.count.min(1);
        cold.count -= known;
        // Recovery may count bytes differently; the totals meet when the cold part ends.
        let counted = cold.bytes.min(u64::from(entry.body_bytes));
        cold.bytes -= counted;
        self.count += 1 - known;
        self.bytes += u64::from(entry.body_bytes) - counted;
        let ram = entry.ram_bytes();
        if let Some(levels) = &mut self.levels {
            self.other_ram += ram;
            levels.insert(entry);
        } else {
            self.head_ram += ram;
            self.head.push_back(entry);
        }
    }

    fn fill(&mut self, loaded: Entry) {
        if let Some(levels) = &mut self.levels {
            let known = levels
                .entries
                .get_mut(&(Reverse(loaded.level), loaded.position));
            self.other_ram += known.map_or(0, |known| fill(known, loaded));
        } else if let Some(known) = self.requeued.get_mut(&loaded.position) {
            self.other_ram += fill(known, loaded);
        } else if let Ok(index) = self
            .head
            .binary_search_by_key(&loaded.position, |entry| entry.position)
        {
            self.head_ram += fill(&mut self.head[index], loaded);
        }
    }

    /// The cold part begins at `from` now. If that is its end, what it should still hold is lost.
    fn advance_cold(&mut self, from: Position) {
        let Some(cold) = &mut self.cold else { return };
        cold.from = from;
        if cold.from >= cold.until {
            self.count -= cold.count;
            self.bytes -= cold.bytes;
            self.cold = None;
            self.merge_tail();
        }
    }

    fn merge_tail(&mut self) {
        if self.levels.is_some() {
            return;
        }
        let tail_ram: usize = self.tail.iter().map(Entry::ram_bytes).sum();
        self.other_ram -= tail_ram;
        self.head_ram += tail_ram;
        self.head.append(&mut self.tail);
        self.tail = VecDeque::new();
    }

    /// Moves written payloads out of RAM until no more than `limit` is left; the first `keep` bytes of the head stay.
    pub(super) fn evict(&mut self, limit: usize, keep: usize, is_written: impl Fn(&Entry) -> bool) {
        if self.levels.is_some() {
            self.evict_levels(limit, keep, &is_written);
            return;
        }
        if self.ram_bytes() > limit {
            self.split_head(keep, &is_written);
            self.evict_tail(limit, &is_written);
        }
        self.evict_head(limit, keep, &is_written);
        if self.ram_bytes() > limit {
            let over = self.ram_bytes() - limit;
            let kept = kept_until(&self.requeued, keep);
            let entries = self.requeued.range_mut(kept..).map(|(_, entry)| entry);
            self.other_ram -= evict_from_back(entries, over, &is_written);
        }
    }

    /// Makes a cold part, if there is none, behind the first `keep` bytes.
    fn split_head(&mut self, keep: usize, is_written: &impl Fn(&Entry) -> bool) {
        if self.cold.is_some() {
            return;
        }
        let mut kept = 0;
        let cut = self.head.iter().position(|entry| {
            let ram = entry.ram_bytes();
            if kept + ram > keep {
                return true;
            }
            kept += ram;
            false
        });
        let Some(cut) = cut.filter(|&cut| is_written(&self.head[cut])) else {
            return;
        };
        let from = self.head[cut].position;
        self.tail = self.head.split_off(cut);
        self.other_ram += self.head_ram - kept;
        self.head_ram = kept;
        self.cold = Some(Cold {
            from,
            until: from,
            count: 0,
            bytes: 0,
            is_estimate: false,
        });
    }

    fn evict_tail(&mut self, limit: usize, is_written: &impl Fn(&Entry) -> bool) {
        while self.ram_bytes() > limit
            && let Some(cold) = &mut self.cold
            && let Some(entry) = self.tail.pop_front_if(|entry| {
                is_written(entry) && !has_hole(&self.holes, cold.until, entry.position)
            })
        {
            self.other_ram -= entry.ram_bytes();
            cold.until = entry.position.next();
            cold.count += 1;
            cold.bytes += u64::from(entry.body_bytes);
        }
        if self.cold.as_ref().is_some_and(|cold| cold.count == 0) {
            self.cold = None;
            self.merge_tail();
        }
    }

    /// Lets the head's end flow back into the cold part.
    fn evict_head(&mut self, limit: usize, keep: usize, is_written: &impl Fn(&Entry) -> bool) {
        while (self.ram_bytes() > limit && self.head_ram > keep)
            || self.head.len() > HEAD_ENTRIES_MAX
        {
            let Some(cold) = &mut self.cold else { return };
            // A taken message that the store does not have may have to come back to here.
            let Some(entry) = self.head.pop_back_if(|entry| {
                is_written(entry) && !has_hole(&self.holes, entry.position, cold.from)
            }) else {
                return;
            };
            self.head_ram -= entry.ram_bytes();
            cold.from = entry.position;
            cold.count += 1;
            cold.bytes += u64::from(entry.body_bytes);
        }
    }

    fn evict_levels(&mut self, limit: usize, keep: usize, is_written: &impl Fn(&Entry) -> bool) {
        let Some(levels) = &mut self.levels else {
            return;
        };
        let kept = kept_until(&levels.entries, keep);
        for level in 0..=kept.0.0 {
            if self.other_ram <= limit {
                return;
            }
            let first = kept.max((Reverse(level), Position(0)));
            let entries = levels
                .entries
                .range_mut(first..=(Reverse(level), Position(u64::MAX)));
            let over = self.other_ram - limit;
            self.other_ram -= evict_from_back(entries.map(|(_, entry)| entry), over, is_written);
        }
    }

    /// `next` is the queue's next position.
    pub(super) fn check_invariants(&self, next: Position) {
        let known = self.iter_from(Position(0)).count() as u64;
        let cold = self.cold.as_ref().map_or(0, |cold| cold.count);
        assert_eq!(self.count, known + cold, "ready count");
        let bytes: u64 = self
            .iter_from(Position(0))
            .map(|entry| u64::from(entry.body_bytes))
            .sum();
        assert_eq!(
            self.bytes,
            bytes + self.cold.as_ref().map_or(0, |cold| cold.bytes),
            "ready bytes"
        );
        assert_eq!(
            self.head_ram,
            self.head.iter().map(Entry::ram_bytes).sum::<usize>(),
            "RAM of the head"
        );
        let ram: usize = self.iter_from(Position(0)).map(Entry::ram_bytes).sum();
        assert_eq!(self.ram_bytes(), ram, "RAM of ready messages");
        assert!(self.frontier <= next);
        let in_place = self.head.iter().chain(&self.tail);
        assert!(
            in_place
                .into_iter()
                .all(|entry| !self.is_hole(entry.position))
        );
        if self.levels.is_some() {
            assert!(self.requeued.is_empty() && self.head.is_empty() && self.tail.is_empty());
            return;
        }
        assert!(
            self.requeued
                .keys()
                .all(|&position| position < self.frontier || self.is_hole(position))
        );
        let mut bound = self.frontier;
        for entry in &self.head {
            assert!(
                bound <= entry.position,
                "the head ascends from the frontier"
            );
            bound = entry.position.next();
        }
        if let Some(cold) = &self.cold {
            assert!(
                bound <= cold.from && cold.from < cold.until,
                "{cold:?} after {bound:?}"
            );
            bound = cold.until;
        } else {
            assert!(self.tail.is_empty(), "a tail without a cold part");
        }
        for entry in &self.tail {
            assert!(
                bound <= entry.position,
                "the tail ascends behind the cold part"
            );
            assert!(
                entry.message.is_some(),
                "only heads and trees hold evicted entries"
            );
            bound = entry.position.next();
        }
        assert!(bound <= next);
    }
}

/// Takes the entry of a position out of an ascending part.
fn remove_at(part: &mut VecDeque<Entry>, position: Position) -> Option<Entry> {
    let index = part
        .binary_search_by_key(&position, |entry| entry.position)
        .ok()?;
    part.remove(index)
}

/// Whether a message was taken from between the two positions.
fn has_hole(holes: &RoaringTreemap, from: Position, until: Position) -> bool {
    !holes.is_empty() && holes.range_cardinality(from.0..until.0) > 0
}

/// Gives a known entry its payload back; returns the RAM that takes.
fn fill(known: &mut Entry, loaded: Entry) -> usize {
    if known.message.is_some() {
        return 0;
    }
    known.message = loaded.message;
    known.ram_bytes()
}

/// The key of the first entry behind those that take the first `keep` bytes; of the last one if that is nobody.
fn kept_until<K: Ord + Copy + Default>(entries: &BTreeMap<K, Entry>, keep: usize) -> K {
    let mut kept = 0;
    let behind = entries.iter().take(EVICT_WALK_MAX).find(|(_, entry)| {
        kept += entry.ram_bytes();
        kept > keep
    });
    behind
        .or_else(|| entries.last_key_value())
        .map(|(&key, _)| key)
        .unwrap_or_default()
}

/// Evicts written payloads from the last entry on until `enough` bytes are free. Returns how many were freed.
fn evict_from_back<'a>(
    entries: impl DoubleEndedIterator<Item = &'a mut Entry>,
    enough: usize,
    is_written: &impl Fn(&Entry) -> bool,
) -> usize {
    let mut freed = 0;
    for entry in entries.rev().take(EVICT_WALK_MAX) {
        if freed >= enough {
            break;
        }
        if is_written(entry) {
            freed += entry.evict();
        }
    }
    freed
}
