//! The replay window: messages that consumers have settled stay for a time or up to a size, and can be published again.
//!
//! A settled message stays where it is in the log: its settlement is held back until it leaves the window. Which ones are settled is
//! noted in a queue of its own in the log ([`replay_of`]), in the batch that would have settled them. So after a crash they are in the
//! window again, and none of them is ready. A queue that starts reads these notes before it does anything else; commands wait for that.
//!
//! Messages are kept in *groups* that were settled within a second of each other. A group leaves as a whole, when all of it is older
//! than the window, or the window is larger than it may be.
//!
//! ```text
//!   acked, or delivered without acks ──▶ held (until the log has it) ──▶ kept ──▶ leaves: settled for the log
//!                                             │ with the next batch: a note
//! ```
//!
//! Only what consumers have settled is kept: not what was purged, deleted, moved, expired or dead-lettered. Transient messages are
//! kept as well, but no restart brings them back. It does not publish: see [`Operation::Browse`](crate::browse::Operation).
//!
//! Limits: [`ReplayWindow`](crate::queue_arguments::ReplayWindow); in RAM about one bit for each message and 16 bytes for each run of
//! positions that were not settled in order. While notes are read, what waits is limited by the credit of channels.

use super::entry::Entry;
use super::journal::Journal;
use super::{Queue, RecordSink, Stored, Windows};
use crate::browse::SettledTime;
use crate::command::QueueCommand;
use crate::effect::{Effect, Effects};
use crate::message::{Address, Message, SharedMessage};
use base::{Name, Now, Position, QueueId};
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use roaring::RoaringTreemap;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// A group takes messages that are settled within this time.
const GROUP_SPAN_MS: u64 = 1000;

/// Messages after which a group ends.
const GROUP_MESSAGES_MAX: u64 = 4096;

/// Bytes of bodies after which a group ends.
const GROUP_BYTES_MAX: u64 = 1 << 20;

/// Groups that leave in one step.
const GROUPS_DROPPED_MAX: usize = 16;

/// Bytes of notes asked for in one read.
const READ_BYTES_MAX: usize = 256 << 10;

/// The form of a note.
const NOTE_VERSION: u8 = 1;

/// The queue ids of notes have this bit; no queue has it itself.
const NOTES_BIT: u64 = 1 << 61;

/// Where the log keeps the notes of a queue about what it has settled and kept.
pub fn replay_of(queue: QueueId) -> QueueId {
    QueueId(queue.0 | NOTES_BIT)
}

/// The queue whose notes are kept there, if it is such a place.
pub fn owner_of_replay(notes: QueueId) -> Option<QueueId> {
    let others = 0b11 << 62;
    (notes.0 & NOTES_BIT != 0 && notes.0 & others == 0).then_some(QueueId(notes.0 & !NOTES_BIT))
}

/// Positions in runs, `from..until`, as they came.
type Runs = Vec<(Position, Position)>;

/// Messages that were settled at about the same time.
#[derive(Debug)]
struct Group {
    /// Wall clock, milliseconds, of the first and of the last.
    since_ms: u64,
    until_ms: u64,
    runs: Runs,
    messages: u64,
    bytes: u64,
    /// Its notes, `from..until`.
    notes: Option<(Position, Position)>,
}

/// What the log will be told about a group.
#[derive(Debug)]
struct Note {
    at: Position,
    settled_at_ms: u64,
    runs: Runs,
    messages: u64,
    bytes: u64,
}

/// A message that the log may not have yet.
#[derive(Debug)]
struct Held {
    entry: Entry,
    /// The batch with which the log has it.
    ticket: Option<u64>,
}

/// The window of one queue.
#[derive(Debug, Default)]
pub(super) struct Replay {
    kept: RoaringTreemap,
    /// Positions that have left, and that the log may not know of: what it reads there does not wait either.
    gone: RoaringTreemap,
    /// Those in runs, each with the batch that tells the log.
    leaving: VecDeque<(Option<u64>, Position, Position)>,
    durable_ticket: u64,
    /// The oldest first.
    groups: VecDeque<Group>,
    messages: u64,
    bytes: u64,
    held: BTreeMap<Position, Held>,
    held_bytes: usize,
    /// For the next batch. Only the last one grows.
    notes: Vec<Note>,
    next_note: Position,
    /// The log has, or had, all notes below.
    noted_until: Position,
    /// Notes that the log has to forget, `from..until`.
    forgotten: Runs,
    /// Groups that leave whatever their age.
    purged: usize,
    /// What has still to be read from the log.
    unread: Option<(Position, Position)>,
    /// Commands that wait for that.
    waiting: VecDeque<QueueCommand>,
}

impl Group {
    fn new(now_ms: u64) -> Self {
        Self {
            since_ms: now_ms,
            until_ms: now_ms,
            runs: Runs::new(),
            messages: 0,
            bytes: 0,
            notes: None,
        }
    }

    fn takes_more(&self, now_ms: u64) -> bool {
        now_ms < self.since_ms.saturating_add(GROUP_SPAN_MS)
            && self.messages < GROUP_MESSAGES_MAX
            && self.bytes < GROUP_BYTES_MAX
    }

    fn add_note(&mut self, at: Position) {
        let (from, until) = self.notes.unwrap_or((at, at));
        self.notes = Some((from.min(at), until.max(at.next())));
    }
}

impl Note {
    /// As the log keeps it: a message with the note as its body.
    fn message(&self) -> Message {
        let mut body = BytesMut::with_capacity(1 + 16 + self.runs.len() * 16);
        body.put_u8(NOTE_VERSION);
        body.put_u64_le(self.messages);
        body.put_u64_le(self.bytes);
        for (from, until) in &self.runs {
            body.put_u64_le(from.0);
            body.put_u64_le(until.0);
        }
        Message {
            address: Address::new(Name::default(), Bytes::new()),
            properties: Bytes::from_static(&[0, 0]),
            body: body.freeze(),
            persistent: true,
            priority: 0,
            expiration_ms: None,
            extra_routing_keys: None,
            deaths: None,
        }
    }

    /// `None`: it is none, and what it is about waits again.
    fn parse(at: Position, settled_at_ms: u64, mut body: &[u8]) -> Option<Self> {
        if body.try_get_u8().ok()? != NOTE_VERSION {
            return None;
        }
        let messages = body.try_get_u64_le().ok()?;
        let bytes = body.try_get_u64_le().ok()?;
        let mut runs = Runs::with_capacity(body.len() / 16);
        while body.has_remaining() {
            let from = Position(body.try_get_u64_le().ok()?);
            let until = Position(body.try_get_u64_le().ok()?);
            if from >= until {
                return None;
            }
            runs.push((from, until));
        }
        Some(Self {
            at,
            settled_at_ms,
            runs,
            messages,
            bytes,
        })
    }
}

fn push_run(runs: &mut Runs, position: Position) {
    match runs.last_mut() {
        Some(last) if last.1 == position => last.1 = position.next(),
        Some(_) | None => runs.push((position, position.next())),
    }
}

impl Replay {
    /// Whether the notes are still being read.
    #[inline]
    pub(super) fn is_unread(&self) -> bool {
        self.unread.is_some()
    }

    /// Whether it is the position of a message that is kept, or was a moment ago.
    pub(super) fn keeps(&self, position: Position) -> bool {
        self.kept.contains(position.0) || self.gone.contains(position.0)
    }

    pub(super) fn ram_bytes(&self) -> usize {
        self.held_bytes
    }

    fn add(&mut self, now_ms: u64, entry: &Entry) {
        if !self
            .groups
            .back()
            .is_some_and(|group| group.takes_more(now_ms))
        {
            self.groups.push_back(Group::new(now_ms));
        }
        let Some(group) = self.groups.back_mut() else {
            return;
        };
        let (position, bytes) = (entry.position, u64::from(entry.body_bytes));
        group.until_ms = group.until_ms.max(now_ms);
        push_run(&mut group.runs, position);
        group.messages += 1;
        group.bytes += bytes;
        self.kept.insert(position.0);
        self.messages += 1;
        self.bytes += bytes;
        if !entry.logged {
            return;
        }
        let is_open = |note: &Note| {
            group
                .notes
                .is_some_and(|(_, until)| until == note.at.next())
        };
        if !self.notes.last().is_some_and(is_open) {
            let at = self.next_note;
            self.next_note = at.next();
            group.add_note(at);
            self.notes.push(Note {
                at,
                settled_at_ms: now_ms,
                runs: Runs::new(),
                messages: 0,
                bytes: 0,
            });
        }
        if let Some(note) = self.notes.last_mut() {
            note.settled_at_ms = note.settled_at_ms.max(now_ms);
            push_run(&mut note.runs, position);
            note.messages += 1;
            note.bytes += bytes;
        }
    }

    fn hold(&mut self, mut entry: Entry) {
        entry.detach();
        self.held_bytes += entry.ram_bytes();
        let held = Held {
            entry,
            ticket: None,
        };
        self.held.insert(held.entry.position, held);
    }

    fn release(&mut self, position: Position) -> Option<Entry> {
        let entry = self.held.remove(&position)?.entry;
        self.held_bytes -= entry.ram_bytes();
        Some(entry)
    }

    /// What the log said about a group before the restart.
    fn restore(&mut self, note: Note) {
        let mut group = Group::new(note.settled_at_ms);
        group.add_note(note.at);
        group.messages = note.messages;
        group.bytes = note.bytes;
        for (from, until) in &note.runs {
            self.kept.insert_range(from.0..until.0);
        }
        group.runs = note.runs;
        self.messages += note.messages;
        self.bytes += note.bytes;
        self.groups.push_back(group);
    }

    /// Gives the sink the messages that only RAM has, notes, and which to forget. `collected_until`: the log has heard of all messages
    /// below.
    pub(super) fn collect(
        &mut self,
        queue: QueueId,
        ticket: u64,
        collected_until: Position,
        deadline_of: impl Fn(&Entry) -> Option<u64>,
        sink: &mut impl RecordSink,
    ) {
        for (&position, held) in &mut self.held {
            if held.ticket.is_some() {
                continue;
            }
            held.ticket = Some(ticket);
            let entry = &mut held.entry;
            let is_submitted = entry.spilled || (entry.logged && position < collected_until);
            if let (Some(message), false) = (&entry.message, is_submitted) {
                let deadline = deadline_of(entry);
                sink.message(queue, position, !entry.logged, deadline, message);
                entry.spilled = !entry.logged;
            }
        }
        let notes = replay_of(queue);
        for note in self.notes.drain(..) {
            let record: SharedMessage = Arc::new(note.message());
            sink.message(notes, note.at, false, Some(note.settled_at_ms), &record);
        }
        self.noted_until = self.next_note;
        let untold = self.leaving.iter_mut().rev();
        for (told, ..) in untold.take_while(|(told, ..)| told.is_none()) {
            *told = Some(ticket);
        }
        for (from, until) in self.forgotten.drain(..) {
            sink.settled(notes, from, until);
        }
    }

    /// The log has all batches up to `ticket`, so these messages may leave RAM.
    pub(super) fn durable(&mut self, ticket: u64) {
        self.durable_ticket = ticket;
        let held_bytes = &mut self.held_bytes;
        self.held.retain(|_, held| {
            let stays = held.ticket.is_none_or(|wanted| wanted > ticket);
            if !stays {
                *held_bytes -= held.entry.ram_bytes();
            }
            stays
        });
    }

    /// No read is under way that may still find what the log knows to be settled.
    pub(super) fn nothing_is_read(&mut self) {
        let ticket = self.durable_ticket;
        let knows = |(told, ..): &mut (Option<u64>, Position, Position)| {
            told.is_some_and(|told| told <= ticket)
        };
        while let Some((_, from, until)) = self.leaving.pop_front_if(knows) {
            self.gone.remove_range(from.0..until.0);
        }
    }

    /// Forgets what the log was told, or would have been told, about a group.
    fn forget_notes(&mut self, notes: (Position, Position)) {
        let (from, until) = notes;
        self.notes.retain(|note| note.at < from || note.at >= until);
        let noted = until.min(self.noted_until);
        if from < noted {
            self.forgotten.push((from, noted));
        }
    }

    /// Runs of positions from a place on that were settled in that time, ascending, each with the time.
    fn runs_of(&self, from: Position, time: SettledTime) -> BTreeMap<Position, (Position, u64)> {
        let groups = self
            .groups
            .iter()
            .filter(|group| time.from_ms <= group.until_ms && group.since_ms <= time.until_ms);
        let mut runs = BTreeMap::new();
        for group in groups {
            for &(first, until) in group.runs.iter().filter(|(_, until)| *until > from) {
                runs.insert(first.max(from), (until, group.until_ms));
            }
        }
        runs
    }

    pub(super) fn check_invariants(&self, journal: &Journal) {
        let messages: u64 = self.groups.iter().map(|group| group.messages).sum();
        let bytes: u64 = self.groups.iter().map(|group| group.bytes).sum();
        assert_eq!(self.messages, messages, "messages of the window");
        assert_eq!(self.bytes, bytes, "bytes of the window");
        assert_eq!(self.kept.len(), messages, "positions of the window");
        let held: usize = self.held.values().map(|held| held.entry.ram_bytes()).sum();
        assert_eq!(self.held_bytes, held, "RAM of the window");
        for (position, held) in &self.held {
            assert!(self.kept.contains(position.0));
            assert!(held.entry.message.is_some() || journal.is_written(&held.entry));
        }
    }
}

impl Queue {
    /// For a machine that is new: `stored` is what the store holds at [`replay_of`] the queue.
    pub fn start_replay_window(&mut self, stored: Stored, effects: &mut Effects) {
        self.follow_replay_window();
        if stored.next == Position(0) {
            return;
        }
        let replay = self.replay.get_or_insert_default();
        // Positions are never used again, those of notes neither.
        replay.next_note = stored.next;
        replay.noted_until = stored.next;
        if stored.messages > 0 {
            replay.unread = Some((stored.first, stored.next));
            self.read_notes(effects);
            self.follow_start();
        }
    }

    /// Whether the log may have notes of this queue.
    pub fn has_replay_window(&self) -> bool {
        self.replay.is_some()
    }

    /// Messages that consumers have settled and that can be had again.
    pub fn replayable_count(&self) -> u64 {
        self.replay.as_ref().map_or(0, |replay| replay.messages)
    }

    /// Bytes of their bodies.
    pub fn replayable_bytes(&self) -> u64 {
        self.replay.as_ref().map_or(0, |replay| replay.bytes)
    }

    /// The settings may have changed. What is kept leaves in steps, if nothing is to be kept.
    pub(super) fn follow_replay_window(&mut self) {
        if self.settings.arguments.replay_window.is_on() {
            self.replay.get_or_insert_default();
        }
    }

    /// A consumer is done with the message: it stays for the window.
    pub(super) fn keep(&mut self, now: Now, entry: Entry, effects: &mut Effects) {
        let is_on = self.settings.arguments.replay_window.is_on();
        let is_written = self.journal.is_written(&entry);
        let Some(replay) = self.replay.as_mut().filter(|_| is_on) else {
            return self.forget(&entry, effects);
        };
        if self.journal.failed() {
            return self.forget(&entry, effects);
        }
        let position = entry.position;
        replay.add(now.wall_ms, &entry);
        if !is_written {
            replay.hold(entry);
        }
        self.forget_traces(position);
        self.journal.settle_by_note(effects);
        self.trim_replay_window(now, effects);
    }

    /// Whether the message of that position was settled and is kept.
    pub fn is_kept(&self, position: Position) -> bool {
        self.replay
            .as_ref()
            .is_some_and(|replay| replay.keeps(position))
    }

    /// What is between kept positions.
    pub(super) fn without_kept(&self, range: (Position, Position)) -> Runs {
        let Some(replay) = &self.replay else {
            return vec![range];
        };
        let mut runs = Runs::new();
        let mut from = range.0;
        let kept = &replay.kept | &replay.gone;
        let mut kept = kept.iter();
        kept.advance_to(range.0.0);
        for position in kept.take_while(|position| *position < range.1.0) {
            if from < Position(position) {
                runs.push((from, Position(position)));
            }
            from = Position(position).next();
        }
        if from < range.1 {
            runs.push((from, range.1));
        }
        runs
    }

    /// Lets go what is too old or too much, and asks to be woken for the next.
    pub(super) fn trim_replay_window(&mut self, now: Now, effects: &mut Effects) {
        let window = self.settings.arguments.replay_window;
        for _ in 0..GROUPS_DROPPED_MAX {
            let Some(replay) = &mut self.replay else {
                return;
            };
            let Some(oldest) = replay.groups.front() else {
                return;
            };
            let expires_at_ms = window.ms.map(|ms| oldest.until_ms.saturating_add(ms));
            let leaves = !window.is_on()
                || replay.purged > 0
                || window.bytes.is_some_and(|bytes| replay.bytes > bytes)
                || expires_at_ms.is_some_and(|at_ms| at_ms <= now.wall_ms);
            if !leaves {
                if let Some(at_ms) = expires_at_ms {
                    let left = Duration::from_millis(at_ms - now.wall_ms);
                    self.wake_by(now.monotonic.saturating_add(left), effects);
                }
                return;
            }
            replay.purged = replay.purged.saturating_sub(1);
            if let Some(group) = replay.groups.pop_front() {
                self.let_go(group, effects);
            }
        }
        // More may have to go.
        self.wake_by(now.monotonic, effects);
    }

    /// A group leaves: the log is told what it was not told when its messages were settled.
    fn let_go(&mut self, group: Group, effects: &mut Effects) {
        let Some(replay) = &mut self.replay else {
            return;
        };
        replay.messages -= group.messages;
        replay.bytes -= group.bytes;
        if let Some(notes) = group.notes {
            replay.forget_notes(notes);
        }
        for (from, until) in group.runs {
            replay.kept.remove_range(from.0..until.0);
            replay.gone.insert_range(from.0..until.0);
            replay.leaving.push_back((None, from, until));
            let mut start = from;
            let held: Vec<_> = replay.held.range(from..until).map(|(at, _)| *at).collect();
            for position in held {
                let Some(entry) = replay.release(position) else {
                    continue;
                };
                if self.journal.is_submitted(&entry) {
                    continue;
                }
                if start < position {
                    self.journal.settle_range(start, position, effects);
                }
                start = position.next();
                if entry.logged {
                    self.confirms.release_settled(position, effects);
                }
            }
            if start < until {
                self.journal.settle_range(start, until, effects);
            }
        }
        self.journal.announce(false, effects);
    }

    /// An operator wants nothing of it kept. Returns how many messages that is.
    pub(super) fn purge_replay_window(&mut self, now: Now, effects: &mut Effects) -> u64 {
        let Some(replay) = &mut self.replay else {
            return 0;
        };
        let count = replay.messages;
        replay.purged = replay.groups.len();
        self.trim_replay_window(now, effects);
        count
    }

    /// Commands wait as long as it is not known what is kept, or what came back.
    pub(super) fn follow_start(&mut self) {
        let replay = self.replay.as_ref();
        let attempts = self.attempts.as_ref();
        self.is_starting = replay.is_some_and(|replay| replay.is_unread())
            || attempts.is_some_and(|attempts| attempts.is_unread());
    }

    pub(super) fn wait_for_notes(&mut self, command: QueueCommand) {
        if let Some(replay) = self.replay.as_mut().filter(|replay| replay.is_unread()) {
            replay.waiting.push_back(command);
        } else if let Some(attempts) = &mut self.attempts {
            attempts.wait(command);
        }
    }

    /// The queue goes while it was still waiting.
    pub(super) fn take_waiting_commands(&mut self) -> VecDeque<QueueCommand> {
        let mut waiting = VecDeque::new();
        if let Some(replay) = &mut self.replay {
            replay.unread = None;
            waiting.append(&mut replay.waiting);
        }
        if let Some(attempts) = &mut self.attempts {
            waiting.append(&mut attempts.take_waiting());
        }
        self.follow_start();
        waiting
    }

    fn read_notes(&self, effects: &mut Effects) {
        if let Some((from, until)) = self.replay.as_ref().and_then(|replay| replay.unread) {
            effects.push(Effect::LookUp {
                queue: replay_of(self.id()),
                from,
                until,
                bytes_max: READ_BYTES_MAX,
            });
        }
    }

    /// The answer to the read of notes: those of all positions below `reached`.
    pub fn handle_notes_read(
        &mut self,
        now: Now,
        notes: Vec<(Position, SharedMessage, Option<u64>)>,
        reached: Position,
        windows: &mut impl Windows,
        effects: &mut Effects,
    ) {
        let Some(replay) = &mut self.replay else {
            return;
        };
        let Some((_, until)) = replay.unread else {
            return;
        };
        for (at, message, settled_at_ms) in notes {
            if let Some(note) = Note::parse(at, settled_at_ms.unwrap_or(0), &message.body) {
                replay.restore(note);
            }
        }
        replay.unread = (reached < until).then_some((reached, until));
        if replay.unread.is_some() {
            return self.read_notes(effects);
        }
        let waiting = std::mem::take(&mut replay.waiting);
        let before = self.ready.count();
        self.ready
            .leave_out(replay.messages, replay.bytes, self.next);
        self.counters.recovered -= before - self.ready.count();
        if self.deleting {
            return;
        }
        self.follow_start();
        self.read_attempts(effects);
        for command in waiting {
            self.apply(now, command, windows, effects);
        }
        self.advance(now, windows, effects);
    }

    /// Where the next kept messages stand from a place on: `from..until` holds all of them.
    pub(super) fn kept_range(
        &self,
        from: Position,
        time: SettledTime,
    ) -> Option<(Position, Position)> {
        let runs = self.replay.as_ref()?.runs_of(from, time);
        let (first, _) = runs.first_key_value()?;
        let (_, (until, _)) = runs.last_key_value()?;
        Some((*first, *until))
    }

    /// Joins what was read with what only RAM has: kept messages of `from..until`, ascending, each with the time of its settlement.
    pub(super) fn kept_messages(
        &self,
        range: (Position, Position),
        time: SettledTime,
        stored: Vec<(Position, SharedMessage, Option<u64>)>,
    ) -> Vec<(Position, SharedMessage, u64)> {
        let Some(replay) = &self.replay else {
            return Vec::new();
        };
        let runs = replay.runs_of(range.0, time);
        let settled_at = |position: Position| {
            let (_, (until, at_ms)) = runs.range(..=position).next_back()?;
            (position < *until).then_some(*at_ms)
        };
        let mut found: BTreeMap<Position, (SharedMessage, u64)> = BTreeMap::new();
        let held = replay.held.range(range.0..range.1);
        let held = held.filter_map(|(at, held)| Some((*at, held.entry.message.clone()?)));
        let stored = stored.into_iter().map(|(at, message, _)| (at, message));
        for (position, message) in held.chain(stored) {
            if let Some(at_ms) = settled_at(position) {
                found.insert(position, (message, at_ms));
            }
        }
        let rows = found.into_iter();
        rows.map(|(position, (message, at_ms))| (position, message, at_ms))
            .collect()
    }
}
