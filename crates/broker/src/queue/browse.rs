//! What an operator asks of a queue: showing messages, taking them out of the middle, pausing.
//!
//! A browse shows one piece of the queue: as much as is in RAM in one run, or what one read from the store brings. The read is for
//! the operator only and leaves the queue as it is. What happened to a message while it was read is looked up when the answer comes,
//! so a browse never shows as ready what somebody has by then.
//!
//! It does not filter, and it does not publish: what is taken is published by whoever took it.

use super::Queue;
use super::consumers::ConsumerKey;
use super::entry::{self, Deadline, Entry};
use super::unacked::{AT_NO_TIME, Delivered};
use crate::Error;
use crate::browse::{
    BROWSE_BYTES_MAX, BROWSE_MESSAGES_MAX, BROWSES_WAITING_MAX, BrowsedMessage, BrowsedState,
    Cursor, Operation, OperationReply, Present, SettledTime,
};
use crate::command::{ChannelId, Reply};
use crate::effect::{Effect, Effects};
use crate::message::SharedMessage;
use base::{Now, Position};
use std::cmp::Reverse;
use std::collections::VecDeque;

/// Operators who wait for their answer.
#[derive(Debug, Default)]
pub(super) struct Browses {
    /// The first is being served.
    waiting: VecDeque<Browse>,
    /// A read for the first is under way.
    look_up: Option<LookUp>,
}

#[derive(Clone, Copy, Debug)]
struct Browse {
    channel: ChannelId,
    present: Present,
    from: Cursor,
    messages_max: usize,
}

/// Stored messages of `from..until`, as far as they are of that level.
#[derive(Clone, Copy, Debug)]
struct LookUp {
    level: u8,
    from: Position,
    until: Position,
}

/// What becomes of a browse.
enum Step {
    Answer(OperationReply),
    Read(LookUp),
}

impl Queue {
    pub(super) fn operate(
        &mut self,
        now: Now,
        channel: ChannelId,
        operation: Operation,
        effects: &mut Effects,
    ) {
        match operation {
            Operation::Browse {
                present,
                from,
                messages_max,
            } => {
                let browse = Browse {
                    channel,
                    present,
                    from: self.place(from),
                    messages_max: messages_max.clamp(1, BROWSE_MESSAGES_MAX),
                };
                self.browse(now, browse, effects);
            }
            Operation::Take { messages } => {
                let mut positions = Vec::with_capacity(messages.len());
                for message in messages {
                    let Some(entry) = self.take(now, message) else {
                        continue;
                    };
                    positions.push(entry.position);
                    let delivered = Delivered {
                        entry,
                        channel,
                        consumer: ConsumerKey::NONE,
                    };
                    self.unacked.insert(delivered, AT_NO_TIME);
                }
                answer(channel, OperationReply::Taken { positions }, effects);
            }
            Operation::Remove { positions } => {
                for position in positions {
                    if let Some(delivered) = self.unacked.remove(position, channel) {
                        self.counters.removed += 1;
                        self.forget(&delivered.entry, effects);
                    }
                }
            }
            Operation::Delete { messages } => {
                let mut count = 0;
                for message in messages {
                    if let Some(entry) = self.take(now, message) {
                        count += 1;
                        self.counters.removed += 1;
                        self.forget(&entry, effects);
                    }
                }
                answer(channel, OperationReply::Deleted { count }, effects);
            }
            Operation::Forget => {
                let count = self.purge_replay_window(now, effects);
                answer(channel, OperationReply::Deleted { count }, effects);
            }
            Operation::SetPaused { paused } => self.paused = paused,
        }
    }

    /// Whether deliveries are stopped.
    pub fn is_paused(&self) -> bool {
        self.paused
    }

    /// For a machine that is new: the queue was paused when it was last heard of.
    pub fn set_paused(&mut self, paused: bool) {
        self.paused = paused;
    }

    /// A paused queue looks empty to those who fetch.
    pub(super) fn serve_nothing(&mut self, effects: &mut Effects) {
        let gets = std::mem::take(&mut self.gets);
        effects.extend(gets.into_iter().map(|(to, _)| Effect::Reply {
            to,
            reply: Reply::GetEmpty,
        }));
    }

    pub(super) fn is_browsed(&self) -> bool {
        self.browses
            .as_ref()
            .is_some_and(|browses| !browses.waiting.is_empty())
    }

    /// Nothing can be shown before the levels of all messages are known.
    pub(super) fn browses_need_levels(&self) -> bool {
        self.is_browsed() && self.ready.has_unknown_levels()
    }

    /// The queue goes and cannot be looked into any more.
    pub(super) fn refuse_browses(&mut self, effects: &mut Effects) {
        let Some(browses) = self.browses.take() else {
            return;
        };
        for browse in browses.waiting {
            let reply = Reply::Failed(self.not_found().into());
            effects.push(Effect::Reply {
                to: browse.channel,
                reply,
            });
        }
    }

    /// The answer to [`Effect::LookUp`]: all live messages of `from..reached`, ascending, with their wall-clock expiry.
    pub fn handle_looked_up(
        &mut self,
        now: Now,
        messages: Vec<(Position, SharedMessage, Option<u64>)>,
        reached: Position,
        effects: &mut Effects,
    ) {
        let Some(browses) = &mut self.browses else {
            return;
        };
        let Some(look_up) = browses.look_up.take() else {
            return;
        };
        let Some(browse) = browses.waiting.pop_front() else {
            return;
        };
        let reached = reached.min(look_up.until);
        let reply = match browse.present {
            Present::Waiting => self.show_stored(now, browse, look_up, messages, reached),
            Present::Settled(time) => self.show_kept(browse, look_up, time, messages, reached),
        };
        answer(browse.channel, reply, effects);
        self.serve_browses(now, effects);
    }

    /// Shows what can be shown to those who wait.
    pub(super) fn serve_browses(&mut self, now: Now, effects: &mut Effects) {
        while !self.ready.has_unknown_levels()
            && let Some(browses) = &self.browses
            && browses.look_up.is_none()
            && let Some(&browse) = browses.waiting.front()
        {
            let step = match browse.present {
                Present::Waiting => self.show(now, browse),
                Present::Settled(time) => self.find_kept(browse, time),
            };
            let Some(browses) = &mut self.browses else {
                return;
            };
            match step {
                Step::Answer(reply) => {
                    browses.waiting.pop_front();
                    answer(browse.channel, reply, effects);
                }
                Step::Read(look_up) => {
                    browses.look_up = Some(look_up);
                    effects.push(Effect::LookUp {
                        queue: self.id(),
                        from: look_up.from,
                        until: look_up.until,
                        bytes_max: self.bytes_in_store(BROWSE_BYTES_MAX),
                    });
                }
            }
        }
    }

    fn browse(&mut self, now: Now, browse: Browse, effects: &mut Effects) {
        let browses = self.browses.get_or_insert_default();
        if browses.waiting.len() >= BROWSES_WAITING_MAX {
            let (name, vhost) = (&self.settings.name, &self.settings.vhost);
            let text = format!("too many browse queue '{name}' in vhost '{vhost}'");
            let reply = Reply::Failed(Box::new(Error::Precondition(text.into())));
            effects.push(Effect::Reply {
                to: browse.channel,
                reply,
            });
            return;
        }
        browses.waiting.push_back(browse);
        self.serve_browses(now, effects);
    }

    /// The cursor as this queue understands it: without priorities there is one level only.
    fn place(&self, cursor: Cursor) -> Cursor {
        if self.ready.has_levels() {
            return cursor;
        }
        let level = self.flat_level();
        Cursor { level, ..cursor }
    }

    /// Shows what is in RAM from the cursor on, or says what has to be read for it.
    fn show(&self, now: Now, browse: Browse) -> Step {
        let (level, from) = (browse.from.level, browse.from.position);
        let mut until = Position(u64::MAX);
        if let Some(cold) = self.ready.cold_range()
            && from < cold.1
        {
            let before = self.known(browse, from, cold.0);
            if from >= cold.0 || !is_worth_showing(browse, &before) {
                let first = before.first().map(|(_, entry)| entry.position);
                return Step::Read(LookUp {
                    level,
                    from: from.max(first.unwrap_or(cold.0)),
                    until: cold.1,
                });
            }
            until = cold.0;
        }
        let known = self.known(browse, from, until);
        if let Some((_, first)) = known.first()
            && first.message.is_none()
        {
            return Step::Read(evicted_run(&known));
        }
        let mut bytes = 0;
        let shown = known.iter().take_while(|(_, entry)| {
            let fits = bytes <= BROWSE_BYTES_MAX;
            bytes += entry.ram_bytes();
            fits && entry.message.is_some()
        });
        let messages: Vec<_> = shown
            .filter_map(|&(state, entry)| shown_entry(now, state, entry))
            .collect();
        let next = match known.get(messages.len()) {
            Some((_, entry)) => Some(entry.cursor()),
            None if known.len() == browse.messages_max => messages.last().map(behind),
            None => (until < Position(u64::MAX)).then_some(Cursor {
                level,
                position: until,
            }),
        };
        Step::Answer(self.browsed(messages, next))
    }

    /// Says where messages are that are kept.
    fn find_kept(&self, browse: Browse, time: SettledTime) -> Step {
        match self.kept_range(browse.from.position, time) {
            Some((from, until)) => Step::Read(LookUp {
                // What is kept has no order but that of positions.
                level: 0,
                from,
                until,
            }),
            None => Step::Answer(self.browsed(Vec::new(), None)),
        }
    }

    /// Shows those of the messages that are kept.
    fn show_kept(
        &self,
        browse: Browse,
        look_up: LookUp,
        time: SettledTime,
        stored: Vec<(Position, SharedMessage, Option<u64>)>,
        reached: Position,
    ) -> OperationReply {
        let level = look_up.level;
        let kept = self.kept_messages((look_up.from, reached), time, stored);
        let shown = |(position, message, at_ms)| BrowsedMessage {
            at: Cursor { level, position },
            state: BrowsedState::Settled { at_ms },
            redelivered: true,
            expires_at_ms: None,
            message,
        };
        let mut messages: Vec<_> = kept.into_iter().map(shown).collect();
        let mut next = (reached < look_up.until).then_some(Cursor {
            level,
            position: reached,
        });
        if messages.len() > browse.messages_max {
            messages.truncate(browse.messages_max);
            next = messages.last().map(behind);
        }
        self.browsed(messages, next)
    }

    /// Messages known in RAM from a place on, in order and at most as many as wanted.
    fn known(
        &self,
        browse: Browse,
        from: Position,
        until: Position,
    ) -> Vec<(BrowsedState, &Entry)> {
        let count = browse.messages_max;
        let key = (Reverse(browse.from.level), from);
        let with_levels = self.ready.has_levels();
        let ready = self
            .ready
            .first_from(key, until, count)
            .map(|entry| (BrowsedState::Ready, entry));
        // Unacked messages stand by position: with levels all of them have to be looked at.
        let (from, until, count) = if with_levels {
            (Position(0), Position(u64::MAX), usize::MAX)
        } else {
            (from, until, count)
        };
        let unacked = self
            .unacked
            .first_from(from, until, count)
            .map(|delivered| (BrowsedState::Unacked, &delivered.entry));
        let mut known: Vec<_> = ready
            .chain(unacked)
            .filter(|(_, entry)| entry.cursor().key() >= key)
            .collect();
        known.sort_unstable_by_key(|(_, entry)| entry.cursor().key());
        known.truncate(browse.messages_max);
        known
    }

    /// Joins what was read with what is known by now.
    fn show_stored(
        &self,
        now: Now,
        browse: Browse,
        look_up: LookUp,
        stored: Vec<(Position, SharedMessage, Option<u64>)>,
        reached: Position,
    ) -> OperationReply {
        let level = look_up.level;
        let mut messages = Vec::with_capacity(stored.len());
        if !self.ready.has_levels() {
            // Transient ones between them are not in the store.
            let in_ram = self
                .known(browse, look_up.from, reached)
                .into_iter()
                .filter(|(_, entry)| {
                    let by_position = |stored: &(Position, _, _)| stored.0.cmp(&entry.position);
                    stored.binary_search_by(by_position).is_err()
                });
            messages.extend(in_ram.filter_map(|(state, entry)| shown_entry(now, state, entry)));
        }
        let delivered_until = self.journal.delivered_until();
        for (position, message, expires_at_ms) in stored {
            let delivered = self
                .unacked
                .get(position)
                .map(|delivered| &delivered.entry)
                .filter(|entry| entry.level == level);
            let (state, redelivered) = if let Some(entry) = self.ready.find(level, position) {
                (BrowsedState::Ready, entry.redelivered)
            } else if let Some(entry) = delivered {
                (BrowsedState::Unacked, entry.redelivered)
            } else if self.ready.is_cold(position) && !self.is_kept(position) {
                let redelivered = position < delivered_until || entry::failed_before(&message) > 0;
                (BrowsedState::Ready, redelivered)
            } else {
                continue;
            };
            messages.push(BrowsedMessage {
                at: Cursor { level, position },
                state,
                redelivered,
                expires_at_ms,
                message,
            });
        }
        messages.sort_unstable_by_key(|message| message.at.position);
        let mut next = Cursor {
            level,
            position: reached,
        };
        if messages.len() > browse.messages_max {
            messages.truncate(browse.messages_max);
            next = messages.last().map_or(next, behind);
        }
        self.browsed(messages, Some(next))
    }

    fn browsed(&self, messages: Vec<BrowsedMessage>, next: Option<Cursor>) -> OperationReply {
        OperationReply::Browsed {
            messages,
            next,
            end: self.next,
        }
    }

    /// Whether the store and the mark of deliveries would give the entry back as it is.
    pub(super) fn may_be_cold(&self, entry: &Entry) -> bool {
        let is_marked = !entry.redelivered || entry.position < self.journal.delivered_until();
        is_marked && self.journal.is_written(entry)
    }

    /// Takes a message that a browse showed out of those that wait, if it is still among them.
    fn take(&mut self, now: Now, browsed: BrowsedMessage) -> Option<Entry> {
        let logged =
            self.settings.durable && (browsed.message.persistent || self.attempts.is_some());
        let looked_up = Entry {
            position: browsed.at.position,
            deadline: Deadline::from_wall(now, browsed.expires_at_ms),
            body_bytes: entry::body_bytes(&browsed.message),
            level: browsed.at.level,
            logged,
            spilled: !logged,
            redelivered: browsed.redelivered,
            message: Some(browsed.message),
        };
        if self.is_kept(looked_up.position) {
            return None;
        }
        let before = self.ready.count();
        let entry = self.ready.take(looked_up)?;
        // Found where the count knew of none.
        self.counters.recovered += self.ready.count() + 1 - before;
        Some(entry)
    }
}

impl Entry {
    fn cursor(&self) -> Cursor {
        Cursor {
            level: self.level,
            position: self.position,
        }
    }
}

/// Whether what is in RAM before the cold part makes a piece of its own. One that is small is read with what stands behind it: there
/// may be a single message, again and again, if the queue reads ahead of the operator to see what expires.
fn is_worth_showing(browse: Browse, known: &[(BrowsedState, &Entry)]) -> bool {
    let bytes: usize = known.iter().map(|(_, entry)| entry.ram_bytes()).sum();
    known.len() == browse.messages_max || bytes >= BROWSE_BYTES_MAX / 2
}

/// Those at the beginning whose payload has to be read, as far as they are of one level.
fn evicted_run(known: &[(BrowsedState, &Entry)]) -> LookUp {
    let first = known[0].1;
    let last = known
        .iter()
        .map(|(_, entry)| *entry)
        .take_while(|entry| entry.message.is_none() && entry.level == first.level)
        .last()
        .unwrap_or(first);
    LookUp {
        level: first.level,
        from: first.position,
        until: last.position.next(),
    }
}

fn shown_entry(now: Now, state: BrowsedState, entry: &Entry) -> Option<BrowsedMessage> {
    Some(BrowsedMessage {
        at: entry.cursor(),
        state,
        redelivered: entry.redelivered,
        expires_at_ms: entry.deadline.to_wall_ms(now),
        message: entry.message.clone()?,
    })
}

fn behind(message: &BrowsedMessage) -> Cursor {
    Cursor {
        level: message.at.level,
        position: message.at.position.next(),
    }
}

fn answer(to: ChannelId, reply: OperationReply, effects: &mut Effects) {
    effects.push(Effect::Reply {
        to,
        reply: Reply::Operated(Box::new(reply)),
    });
}
