//! The consumers of a queue and whose turn it is.
//!
//! Consumers of one priority stand in a ring and take turns. A consumer that cannot take a message (no credit, closed window,
//! paused by its channel, waiting behind the single active consumer) leaves the ring when its turn comes and
//! returns to the end of it when the reason is gone; so choosing one costs the same with one consumer and with ten thousand.
//!
//! Limit: consumers per channel are limited by the frontend, channels and connections by the node.

use super::Windows;
use crate::command::{ChannelId, ConsumerId, ConsumerSettings};
use base::{ConnectionId, ConsumerTagIndex, QueueId};
use hashbrown::HashMap;
use std::cmp::Reverse;
use std::collections::VecDeque;

/// A consumer in unacked messages: stays unique when the slot is used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ConsumerKey {
    slot: u32,
    serial: u32,
}

impl ConsumerKey {
    /// Nobody: the message was fetched with get.
    pub(super) const NONE: Self = Self {
        slot: u32::MAX,
        serial: 0,
    };
}

/// A registered consumer, for listings.
#[derive(Debug)]
pub struct Consumer {
    /// Who it is.
    pub id: ConsumerId,
    /// How it consumes.
    pub settings: Box<ConsumerSettings>,
    /// Messages it holds unsettled.
    pub unacked: u32,
    /// Order of registration, from 1.
    serial: u32,
    /// Its channel sent messages back and will say when it wants more.
    paused: bool,
    /// Its connection's window was closed when its turn came.
    window_closed: bool,
    /// Stands in its priority's ring.
    queued: bool,
}

impl Consumer {
    /// The part of eligibility that its own state decides.
    fn wants_more(&self) -> bool {
        let settings = &*self.settings;
        let has_credit = settings.no_ack
            || settings.prefetch_count == 0
            || self.unacked < u32::from(settings.prefetch_count);
        has_credit && !self.paused && !self.window_closed
    }
}

/// Who gets the next message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taker {
    pub(super) channel: ChannelId,
    pub(super) index: ConsumerTagIndex,
    pub(super) key: ConsumerKey,
    pub(super) no_ack: bool,
}

/// The consumers of one priority.
#[derive(Debug)]
struct Ring {
    priority: i32,
    /// Consumers with this priority, in the ring or not.
    members: u32,
    turns: VecDeque<u32>,
}

#[derive(Debug, Default)]
pub(super) struct Consumers {
    slots: Vec<Option<Consumer>>,
    free: Vec<u32>,
    by_id: HashMap<ConsumerId, u32, foldhash::fast::RandomState>,
    /// Highest priority first.
    rings: Vec<Ring>,
    /// Slots that wait for a window to open.
    window_waiters: Vec<u32>,
    last_serial: u32,
    /// With single active consumer: nobody else may take.
    single_active: bool,
    active: Option<u32>,
    /// A consumer of higher priority becomes the active one as soon as the active one holds nothing (quorum queues).
    by_priority: bool,
    /// Such a one waits, so the active one gets nothing more.
    quiescing: bool,
}

impl Consumers {
    pub(super) fn new(single_active: bool, by_priority: bool) -> Self {
        Self {
            single_active,
            by_priority,
            ..Self::default()
        }
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    pub(super) fn contains(&self, id: ConsumerId) -> bool {
        self.by_id.contains_key(&id)
    }

    pub(super) fn has_exclusive(&self) -> bool {
        // An exclusive consumer is always alone.
        self.len() == 1 && self.iter().any(|consumer| consumer.settings.exclusive)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Consumer> {
        self.slots.iter().flatten()
    }

    /// Whether this consumer gets messages when there are some; false only behind a single active one.
    pub(super) fn is_active(&self, id: ConsumerId) -> bool {
        !self.single_active
            || self
                .active
                .is_some_and(|slot| self.by_id.get(&id) == Some(&slot))
    }

    pub(super) fn add(&mut self, id: ConsumerId, settings: Box<ConsumerSettings>) {
        self.last_serial = self.last_serial.wrapping_add(1);
        let priority = settings.priority;
        let consumer = Consumer {
            id,
            settings,
            unacked: 0,
            serial: self.last_serial,
            paused: false,
            window_closed: false,
            queued: false,
        };
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slots[slot as usize] = Some(consumer);
                slot
            }
            None => {
                self.slots.push(Some(consumer));
                u32::try_from(self.slots.len() - 1).expect("a node has fewer than 2^32 consumers")
            }
        };
        self.by_id.insert(id, slot);
        let ring = self.ring_index(priority).unwrap_or_else(|index| {
            self.rings.insert(
                index,
                Ring {
                    priority,
                    members: 0,
                    turns: VecDeque::new(),
                },
            );
            index
        });
        self.rings[ring].members += 1;
        if self.single_active && self.active.is_none() {
            self.active = Some(slot);
        }
        self.enqueue(slot);
        self.challenge();
    }

    /// Lets a consumer of higher priority take over from the active one, or wait for that.
    fn challenge(&mut self) {
        let (true, true, Some(active)) = (self.single_active, self.by_priority, self.active) else {
            return;
        };
        let Some(holder) = &self.slots[active as usize] else {
            return;
        };
        let (priority, unacked) = (holder.settings.priority, holder.unacked);
        self.quiescing = self
            .rings
            .first()
            .is_some_and(|highest| highest.priority > priority);
        if self.quiescing && unacked == 0 {
            self.quiescing = false;
            self.active = self.successor();
        }
        if let Some(active) = self.active {
            self.enqueue(active);
        }
    }

    /// Forgets a consumer; false if there was no such one.
    pub(super) fn remove(&mut self, id: ConsumerId) -> bool {
        let Some(slot) = self.by_id.remove(&id) else {
            return false;
        };
        let consumer = self.slots[slot as usize]
            .take()
            .expect("by_id leads to used slots");
        self.free.push(slot);
        self.window_waiters.retain(|&waiter| waiter != slot);
        let ring = self
            .ring_index(consumer.settings.priority)
            .expect("a consumer's ring stays while it does");
        self.rings[ring].members -= 1;
        if consumer.queued {
            self.rings[ring].turns.retain(|&turn| turn != slot);
        }
        if self.rings[ring].members == 0 {
            self.rings.remove(ring);
        }
        if self.active == Some(slot) {
            self.active = self.successor();
            self.quiescing = false;
            if let Some(successor) = self.active {
                self.enqueue(successor);
            }
        } else {
            self.challenge();
        }
        true
    }

    /// Chooses the next consumer for a message of `bytes` and books the message to it.
    #[inline]
    pub(super) fn take(
        &mut self,
        queue: QueueId,
        bytes: usize,
        windows: &mut impl Windows,
    ) -> Option<Taker> {
        for ring in &mut self.rings {
            while let Some(&slot) = ring.turns.front() {
                let consumer = self.slots[slot as usize]
                    .as_mut()
                    .expect("a ring holds used slots");
                let is_chosen =
                    !self.single_active || (self.active == Some(slot) && !self.quiescing);
                let may = is_chosen && consumer.wants_more();
                if may && windows.take(consumer.id.channel.connection, queue, bytes) {
                    let no_ack = consumer.settings.no_ack;
                    if !no_ack {
                        consumer.unacked += 1;
                    }
                    if ring.turns.len() > 1 {
                        ring.turns.rotate_left(1);
                    }
                    return Some(Taker {
                        channel: consumer.id.channel,
                        index: consumer.id.index,
                        key: ConsumerKey {
                            slot,
                            serial: consumer.serial,
                        },
                        no_ack,
                    });
                }
                if may {
                    consumer.window_closed = true;
                    self.window_waiters.push(slot);
                }
                consumer.queued = false;
                ring.turns.pop_front();
            }
        }
        None
    }

    /// Chooses the consumer that would get each of several messages, `bytes` together, and acknowledge none of them, and books
    /// all to it. `None` if they may be for more than one, or for nobody; then nothing was booked.
    #[inline]
    pub(super) fn take_all(
        &self,
        queue: QueueId,
        bytes: usize,
        windows: &mut impl Windows,
    ) -> Option<Taker> {
        let turns = &self.rings.first()?.turns;
        let slot = *turns.front().filter(|_| turns.len() == 1)?;
        let consumer = self.slots[slot as usize].as_ref()?;
        let may = !self.single_active && consumer.settings.no_ack && consumer.wants_more();
        if !may || !windows.take(consumer.id.channel.connection, queue, bytes) {
            return None;
        }
        Some(Taker {
            channel: consumer.id.channel,
            index: consumer.id.index,
            key: ConsumerKey {
                slot,
                serial: consumer.serial,
            },
            no_ack: true,
        })
    }

    /// Somebody may be able to take a message.
    pub(super) fn has_turns(&self) -> bool {
        self.rings.iter().any(|ring| !ring.turns.is_empty())
    }

    /// One of the consumer's messages was settled or came back.
    pub(super) fn settled(&mut self, key: ConsumerKey) {
        if let Some(consumer) = self.by_key(key) {
            consumer.unacked -= 1;
            if !consumer.queued {
                self.enqueue(key.slot);
            }
            if self.quiescing {
                self.challenge();
            }
        }
    }

    /// The consumer's channel sent a message back: nothing for it until it resumes.
    pub(super) fn pause(&mut self, key: ConsumerKey) {
        if let Some(consumer) = self.by_key(key) {
            consumer.paused = true;
        }
    }

    pub(super) fn resume(&mut self, id: ConsumerId) {
        if let Some(&slot) = self.by_id.get(&id) {
            self.slots[slot as usize]
                .as_mut()
                .expect("by_id leads to used slots")
                .paused = false;
            self.enqueue(slot);
        }
    }

    /// The connection takes bytes again.
    pub(super) fn open_window(&mut self, connection: ConnectionId) {
        let mut index = 0;
        while index < self.window_waiters.len() {
            let slot = self.window_waiters[index];
            let consumer = self.slots[slot as usize]
                .as_mut()
                .expect("removed consumers do not wait");
            if consumer.id.channel.connection == connection {
                consumer.window_closed = false;
                self.window_waiters.remove(index);
                self.enqueue(slot);
            } else {
                index += 1;
            }
        }
    }

    /// Forgets all consumers and names them, oldest first.
    pub(super) fn drain(&mut self) -> Vec<ConsumerId> {
        let mut all: Vec<Consumer> = std::mem::take(&mut self.slots)
            .into_iter()
            .flatten()
            .collect();
        all.sort_unstable_by_key(|consumer| consumer.serial);
        *self = Self {
            single_active: self.single_active,
            by_priority: self.by_priority,
            last_serial: self.last_serial,
            ..Self::default()
        };
        all.iter().map(|consumer| consumer.id).collect()
    }

    /// How the consumer consumes; `None` if it is gone, or was none.
    pub(super) fn settings_of(&self, key: ConsumerKey) -> Option<&ConsumerSettings> {
        self.of_key(key).map(|consumer| &*consumer.settings)
    }

    /// Who it is; `None` if it is gone, or was none.
    pub(super) fn id_of(&self, key: ConsumerKey) -> Option<ConsumerId> {
        self.of_key(key).map(|consumer| consumer.id)
    }

    fn of_key(&self, key: ConsumerKey) -> Option<&Consumer> {
        self.slots
            .get(key.slot as usize)?
            .as_ref()
            .filter(|consumer| consumer.serial == key.serial)
    }

    fn by_key(&mut self, key: ConsumerKey) -> Option<&mut Consumer> {
        self.slots
            .get_mut(key.slot as usize)?
            .as_mut()
            .filter(|consumer| consumer.serial == key.serial)
    }

    fn ring_index(&self, priority: i32) -> Result<usize, usize> {
        self.rings
            .binary_search_by(|ring| priority.cmp(&ring.priority))
    }

    /// Puts a consumer that can take messages at the end of its ring.
    fn enqueue(&mut self, slot: u32) {
        let consumer = self.slots[slot as usize]
            .as_mut()
            .expect("callers pass used slots");
        let is_chosen = !self.single_active || (self.active == Some(slot) && !self.quiescing);
        if consumer.queued || !consumer.wants_more() || !is_chosen {
            return;
        }
        consumer.queued = true;
        let priority = consumer.settings.priority;
        let ring = self
            .ring_index(priority)
            .expect("a consumer's ring stays while it does");
        self.rings[ring].turns.push_back(slot);
    }

    /// The consumer that registered first, of those of the highest priority if that counts.
    fn successor(&self) -> Option<u32> {
        let slot = self.by_id.values().min_by_key(|&&slot| {
            let consumer = self.slots[slot as usize]
                .as_ref()
                .expect("by_id leads to used slots");
            let priority = Reverse(consumer.settings.priority);
            // Serials wrap after 2^32 registrations; the distance from the newest one does not.
            let age = self.last_serial.wrapping_sub(consumer.serial);
            (self.by_priority.then_some(priority), u32::MAX - age)
        });
        slot.copied()
    }

    /// `unacked` counts what the queue has booked to a consumer.
    pub(super) fn check_invariants(&self, unacked: impl Fn(ConsumerKey) -> u32) {
        assert_eq!(
            self.by_id.len(),
            self.iter().count(),
            "consumers and their index differ"
        );
        for (id, &slot) in &self.by_id {
            let consumer = self.slots[slot as usize]
                .as_ref()
                .expect("by_id leads to used slots");
            assert_eq!(consumer.id, *id);
            let key = ConsumerKey {
                slot,
                serial: consumer.serial,
            };
            assert_eq!(consumer.unacked, unacked(key), "unacked count of {id:?}");
            let ring = &self.rings[self
                .ring_index(consumer.settings.priority)
                .expect("its ring exists")];
            assert_eq!(
                ring.turns.iter().filter(|&&turn| turn == slot).count(),
                usize::from(consumer.queued),
                "a consumer stands in its ring once if it is marked so"
            );
            let is_chosen = !self.single_active || (self.active == Some(slot) && !self.quiescing);
            let may = consumer.wants_more() && is_chosen;
            assert!(
                !may || consumer.queued,
                "a consumer that can take messages is not in its ring"
            );
            assert_eq!(consumer.window_closed, self.window_waiters.contains(&slot));
        }
        assert!(self.rings.is_sorted_by(|a, b| a.priority > b.priority));
        assert_eq!(
            self.rings
                .iter()
                .map(|ring| ring.members as usize)
                .sum::<usize>(),
            self.len()
        );
    }
}
