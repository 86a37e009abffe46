//! Messages that were delivered and not settled.
//!
//! Deliveries go out in ascending positions and come back nearly in that order, so they stand in a sorted window
//! where a position is found by its distance from the front. Settled ones in the middle stay as gaps until the front reaches them;
//! when more than half are gaps the window is packed. A message that goes out again behind later ones is kept in a tree beside it.
//!
//! Limit: what consumers may hold is limited by their prefetch count and their connection's window.

use super::consumers::ConsumerKey;
use super::entry::{Deadline, Entry};
use crate::command::ChannelId;
use base::Position;
use std::collections::{BTreeMap, VecDeque};

/// Windows shorter than this are never packed.
const PACK_LEN_MIN: usize = 64;

/// The tick of what nobody has to give back in time.
pub(super) const AT_NO_TIME: u32 = u32::MAX;

/// A delivered message.
#[derive(Debug)]
pub(super) struct Delivered {
    pub(super) entry: Entry,
    /// Who may settle it.
    pub(super) channel: ChannelId,
    /// Who holds it.
    pub(super) consumer: ConsumerKey,
}

/// A place in the window.
#[derive(Debug)]
struct Place {
    delivered: Delivered,
    /// False: settled, only its position still counts.
    live: bool,
    /// The tick in which it went out, in queues that look at it.
    since: u32,
}

#[derive(Debug, Default)]
pub(super) struct Unacked {
    /// Ascending positions.
    window: VecDeque<Place>,
    /// Live places in the window.
    live: usize,
    /// Delivered again after higher positions.
    late: BTreeMap<Position, (Delivered, u32)>,
    /// RAM that the payloads take.
    ram_bytes: usize,
    /// Everything in the window below was offered for eviction.
    evicted_until: Position,
}

impl Unacked {
    pub(super) fn len(&self) -> usize {
        self.live + self.late.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn ram_bytes(&self) -> usize {
        self.ram_bytes
    }

    #[inline]
    pub(super) fn insert(&mut self, delivered: Delivered, since: u32) {
        let position = delivered.entry.position;
        self.ram_bytes += delivered.entry.ram_bytes();
        if self
            .window
            .back()
            .is_none_or(|last| last.delivered.entry.position < position)
        {
            self.window.push_back(Place {
                delivered,
                live: true,
                since,
            });
            self.live += 1;
        } else {
            self.late.insert(position, (delivered, since));
        }
    }

    /// Takes out a message, if it was delivered to that channel.
    #[inline]
    pub(super) fn remove(&mut self, position: Position, channel: ChannelId) -> Option<Delivered> {
        let delivered = match self.find(position) {
            Some(index) if self.window[index].live => {
                if self.window[index].delivered.channel != channel {
                    return None;
                }
                self.remove_place(index)
            }
            Some(_) | None => {
                if self.late.get(&position)?.0.channel != channel {
                    return None;
                }
                self.late.remove(&position)?.0
            }
        };
        self.ram_bytes -= delivered.entry.ram_bytes();
        Some(delivered)
    }

    /// Messages from a position on: first those of the window in order, then the late ones in order.
    pub(super) fn iter_from(&self, from: Position) -> impl Iterator<Item = &Delivered> {
        let start = self
            .window
            .partition_point(|place| place.delivered.entry.position < from);
        let window = self
            .window
            .range(start..)
            .filter(|place| place.live)
            .map(|place| &place.delivered);
        window.chain(self.late.range(from..).map(|(_, (delivered, _))| delivered))
    }

    /// All messages, with the tick in which each went out.
    pub(super) fn iter_since(&self) -> impl Iterator<Item = (&Delivered, u32)> {
        let window = self.window.iter().filter(|place| place.live);
        let late = self.late.values();
        window
            .map(|place| (&place.delivered, place.since))
            .chain(late.map(|(delivered, since)| (delivered, *since)))
    }

    /// The message at a position, if it is unacked.
    pub(super) fn get(&self, position: Position) -> Option<&Delivered> {
        let in_window = self
            .find(position)
            .map(|index| &self.window[index])
            .filter(|place| place.live)
            .map(|place| &place.delivered);
        in_window.or_else(|| self.late.get(&position).map(|(delivered, _)| delivered))
    }

    /// The first messages of `from..until`, at most `count` of the window and as many of the late ones.
    pub(super) fn first_from(
        &self,
        from: Position,
        until: Position,
        count: usize,
    ) -> impl Iterator<Item = &Delivered> {
        let start = self
            .window
            .partition_point(|place| place.delivered.entry.position < from);
        let window = self
            .window
            .range(start..)
            .filter(|place| place.live)
            .map(|place| &place.delivered)
            .take_while(move |delivered| delivered.entry.position < until)
            .take(count);
        let late = self.late.range(from..until.max(from)).take(count);
        window.chain(late.map(|(_, (delivered, _))| delivered))
    }

    /// Drops written payloads from the oldest on, each looked at once in its life.
    pub(super) fn evict(&mut self, is_written: impl Fn(&Entry) -> bool) {
        let start = self
            .window
            .partition_point(|place| place.delivered.entry.position < self.evicted_until);
        for place in self.window.range_mut(start..) {
            if place.live {
                if !is_written(&place.delivered.entry) {
                    break;
                }
                self.ram_bytes -= place.delivered.entry.evict();
            }
            self.evicted_until = place.delivered.entry.position.next();
        }
    }

    /// The index of a position in the window, live or not.
    #[inline]
    fn find(&self, position: Position) -> Option<usize> {
        let front = self.window.front()?.delivered.entry.position;
        // Positions ascend by at least one a place, so the place is not behind its distance from the front.
        let distance = usize::try_from(position.0.checked_sub(front.0)?).unwrap_or(usize::MAX);
        if self
            .window
            .get(distance)
            .is_some_and(|place| place.delivered.entry.position == position)
        {
            return Some(distance);
        }
        self.window
            .binary_search_by_key(&position, |place| place.delivered.entry.position)
            .ok()
    }

    fn remove_place(&mut self, index: usize) -> Delivered {
        self.live -= 1;
        if index == 0 {
            let place = self.window.pop_front().expect("find returned its index");
            while self.window.front().is_some_and(|place| !place.live) {
                self.window.pop_front();
            }
            return place.delivered;
        }
        if index + 1 == self.window.len() {
            let place = self.window.pop_back().expect("find returned its index");
            while self.window.back().is_some_and(|place| !place.live) {
                self.window.pop_back();
            }
            return place.delivered;
        }
        let place = &mut self.window[index];
        place.live = false;
        let old = &mut place.delivered;
        let gap = Entry {
            position: old.entry.position,
            deadline: Deadline::NEVER,
            message: None,
            body_bytes: 0,
            level: 0,
            logged: false,
            spilled: false,
            redelivered: false,
        };
        let entry = std::mem::replace(&mut old.entry, gap);
        let delivered = Delivered {
            entry,
            channel: old.channel,
            consumer: old.consumer,
        };
        if self.window.len() >= PACK_LEN_MIN && self.live * 2 < self.window.len() {
            self.window.retain(|place| place.live);
        }
        delivered
    }

    pub(super) fn check_invariants(&self) {
        let positions = self
            .window
            .iter()
            .map(|place| place.delivered.entry.position);
        assert!(positions.is_sorted_by(|a, b| a < b), "the window ascends");
        assert_eq!(
            self.live,
            self.window.iter().filter(|place| place.live).count()
        );
        assert!(
            self.window.front().is_none_or(|place| place.live),
            "a gap at the front"
        );
        assert!(
            self.window.back().is_none_or(|place| place.live),
            "a gap at the back"
        );
        let ram: usize = self
            .iter_from(Position(0))
            .map(|delivered| delivered.entry.ram_bytes())
            .sum();
        assert_eq!(self.ram_bytes, ram, "RAM of unacked messages");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channel() -> ChannelId {
        ChannelId {
            connection: base::ConnectionId::default(),
            number: 1,
            epoch: 0,
        }
    }

    fn delivered(position: u64) -> Delivered {
        let entry = Entry {
            position: Position(position),
            deadline: Deadline::NEVER,
            message: None,
            body_bytes: 0,
            level: 0,
            logged: false,
            spilled: false,
            redelivered: false,
        };
        Delivered {
            entry,
            channel: channel(),
            consumer: ConsumerKey::NONE,
        }
    }

    #[test]
    fn settling_in_any_order_finds_every_message_once() {
        let mut unacked = Unacked::default();
        for position in (0..1000).map(|n| n * 3) {
            unacked.insert(delivered(position), 0);
        }
        let mut order: Vec<u64> = (0..1000).map(|n| (n * 7 % 1000) * 3).collect();
        order.push(1);
        for position in order {
            let expected = position % 3 == 0;
            assert_eq!(
                unacked.remove(Position(position), channel()).is_some(),
                expected,
                "{position}"
            );
            assert!(
                unacked.remove(Position(position), channel()).is_none(),
                "{position} twice"
            );
            unacked.check_invariants();
        }
        assert!(unacked.is_empty());
    }

    #[test]
    fn one_old_message_does_not_keep_the_window_large() {
        let mut unacked = Unacked::default();
        unacked.insert(delivered(0), 0);
        for position in 1..100_000 {
            unacked.insert(delivered(position), 0);
            unacked.insert(delivered(position + 1_000_000), 0);
            unacked.remove(Position(position), channel());
            unacked.remove(Position(position + 1_000_000), channel());
        }
        assert_eq!(unacked.len(), 1);
        assert!(unacked.window.len() <= PACK_LEN_MIN);
    }

    #[test]
    fn a_message_that_goes_out_again_late_is_found() {
        let mut unacked = Unacked::default();
        unacked.insert(delivered(5), 0);
        unacked.insert(delivered(6), 0);
        unacked.insert(delivered(7), 0);
        assert!(unacked.remove(Position(6), channel()).is_some());
        unacked.insert(delivered(6), 0);
        unacked.insert(delivered(2), 0);
        assert_eq!(
            unacked
                .iter_from(Position(3))
                .map(|d| d.entry.position.0)
                .collect::<Vec<_>>(),
            [5, 7, 6]
        );
        assert!(unacked.remove(Position(6), channel()).is_some());
        assert!(unacked.remove(Position(2), channel()).is_some());
        unacked.check_invariants();
    }
}
