//! How often messages of a quorum queue came back (RabbitMQ docs: quorum-queues#poison-message-handling).
//!
//! Only messages that did are in here. The counts are noted in a queue of their own in the log ([`attempts_of`]), with the batch after
//! the return: one note for all that came back since the last batch, in runs of positions with equal counts. A message that comes back
//! again is in a newer note, and a note is forgotten with the last count that still holds. So a message that nobody gives back costs
//! nothing. A queue that starts reads its notes before it does anything else; commands wait for that.
//!
//! A note also says until when a message waits to be tried again, see [`retry`](super::retry).
//!
//! Not noted is that a message is out: what is out when the process dies comes back marked redelivered and with the counts of before.
//!
//! Limits: messages that are ready, unacked or wait to be tried again; a note has [`NOTE_RUNS_MAX`] runs.

use super::consumers::Taker;
use super::entry::{self, Entry};
use super::{Queue, RecordSink, Stored, Windows};
use crate::command::{Attempts, QueueCommand, Redelivery, Reply};
use crate::effect::{Effect, Effects};
use crate::message::{Address, Message, SharedMessage};
use base::{Name, Now, Position, QueueId};
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use hashbrown::HashMap;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// Runs in one note: about 32 KiB.
const NOTE_RUNS_MAX: usize = 1024;

/// Bytes of notes asked for in one read.
const READ_BYTES_MAX: usize = 256 << 10;

/// The form of a note.
const NOTE_VERSION: u8 = 1;

/// The queue ids of notes have this bit; no queue has it itself.
const NOTES_BIT: u64 = 1 << 60;

/// Where the log keeps the notes of a queue about messages that came back.
pub fn attempts_of(queue: QueueId) -> QueueId {
    QueueId(queue.0 | NOTES_BIT)
}

/// The queue whose notes are kept there, if it is such a place.
pub fn owner_of_attempts(notes: QueueId) -> Option<QueueId> {
    let others = 0b111 << 61;
    (notes.0 & NOTES_BIT != 0 && notes.0 & others == 0).then_some(QueueId(notes.0 & !NOTES_BIT))
}

/// What is known of a message that came back.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    attempts: Attempts,
    /// When it is to be tried again, wall clock in milliseconds; 0 if at once.
    due_at_ms: u64,
    /// The note that says so.
    note: Option<Position>,
}

/// Messages of which a note says the same.
#[derive(Clone, Copy, Debug)]
struct Run {
    from: Position,
    until: Position,
    attempts: Attempts,
    due_at_ms: u64,
}

impl Run {
    /// Bytes of a run in a note.
    const SIZE: usize = 32;

    fn takes(&self, position: Position, known: &Known) -> bool {
        self.until == position
            && self.attempts == known.attempts
            && self.due_at_ms == known.due_at_ms
    }

    fn put(&self, body: &mut BytesMut) {
        body.put_u64_le(self.from.0);
        body.put_u64_le(self.until.0);
        body.put_u32_le(self.attempts.acquired);
        body.put_u32_le(self.attempts.failed);
        body.put_u64_le(self.due_at_ms);
    }

    fn parse(body: &mut &[u8]) -> Option<Self> {
        let run = Self {
            from: Position(body.try_get_u64_le().ok()?),
            until: Position(body.try_get_u64_le().ok()?),
            attempts: Attempts {
                acquired: body.try_get_u32_le().ok()?,
                failed: body.try_get_u32_le().ok()?,
            },
            due_at_ms: body.try_get_u64_le().ok()?,
        };
        (run.from < run.until).then_some(run)
    }
}

/// A note as the log keeps it: a message with the runs as its body.
fn note(runs: &[Run]) -> SharedMessage {
    let mut body = BytesMut::with_capacity(1 + runs.len() * Run::SIZE);
    body.put_u8(NOTE_VERSION);
    runs.iter().for_each(|run| run.put(&mut body));
    Arc::new(Message {
        address: Address::new(Name::default(), Bytes::new()),
        properties: Bytes::from_static(&[0, 0]),
        body: body.freeze(),
        persistent: true,
        priority: 0,
        expiration_ms: None,
        extra_routing_keys: None,
        deaths: None,
    })
}

/// `None`: it is none, and what it is about never came back.
fn parse(mut body: &[u8]) -> Option<Vec<Run>> {
    if body.try_get_u8().ok()? != NOTE_VERSION {
        return None;
    }
    let mut runs = Vec::with_capacity(body.len() / Run::SIZE);
    while body.has_remaining() {
        runs.push(Run::parse(&mut body)?);
    }
    Some(runs)
}

/// The counts of one queue.
#[derive(Debug, Default)]
pub(super) struct AttemptsOf {
    known: HashMap<Position, Known, foldhash::fast::RandomState>,
    /// From the log, of messages that were not read since the start.
    restored: BTreeMap<Position, Known>,
    /// Of `restored`: those that wait to be tried again.
    restored_due: usize,
    /// What the log has still to be told about.
    untold: BTreeSet<Position>,
    /// How many counts of each note hold.
    notes: HashMap<Position, u32, foldhash::fast::RandomState>,
    next_note: Position,
    /// Notes that the log has to forget.
    forgotten: Vec<Position>,
    /// What has still to be read from the log.
    unread: Option<(Position, Position)>,
    /// Commands that wait for that.
    waiting: VecDeque<QueueCommand>,
}

impl AttemptsOf {
    /// No message that is here came back, and the log knows.
    pub(super) fn is_empty(&self) -> bool {
        self.known.is_empty() && self.restored.is_empty() && self.forgotten.is_empty()
    }

    /// Some notes were made, in this life of the queue or before.
    pub(super) fn has_notes(&self) -> bool {
        self.next_note > Position(0)
    }

    /// Messages wait to be tried again of which only the position is known.
    pub(super) fn has_restored_due(&self) -> bool {
        self.restored_due > 0
    }

    /// Whether the message came back, here or elsewhere.
    pub(super) fn knows(&self, position: Position) -> bool {
        !self.known.is_empty() && self.known.contains_key(&position)
    }

    /// The message is gone.
    #[inline]
    pub(super) fn forget(&mut self, position: Position) {
        if self.known.is_empty() {
            return;
        }
        if let Some(known) = self.known.remove(&position) {
            self.untold.remove(&position);
            self.holds_no_more(known.note);
        }
    }

    /// All messages that were not read are gone.
    pub(super) fn forget_restored(&mut self) {
        for (_, known) in std::mem::take(&mut self.restored) {
            self.holds_no_more(known.note);
        }
        self.restored_due = 0;
    }

    /// A count that a note says is another now.
    fn holds_no_more(&mut self, note: Option<Position>) {
        let Some(note) = note else { return };
        let Some(count) = self.notes.get_mut(&note) else {
            return;
        };
        *count -= 1;
        if *count == 0 {
            self.notes.remove(&note);
            self.forgotten.push(note);
        }
    }

    /// Consumers failed with the message before it came here. What is known of it already stays.
    pub(super) fn note_before(&mut self, position: Position, failed: u32) {
        if failed > 0 {
            let before = Known {
                attempts: Attempts {
                    acquired: 0,
                    failed,
                },
                ..Known::default()
            };
            self.known.entry(position).or_insert(before);
        }
    }

    fn came_back(&mut self, position: Position, failed: bool) -> Attempts {
        let known = self.known.entry(position).or_default();
        let attempts = &mut known.attempts;
        attempts.acquired = attempts.acquired.saturating_add(1);
        attempts.failed = attempts.failed.saturating_add(u32::from(failed));
        known.due_at_ms = 0;
        let (attempts, note) = (*attempts, known.note.take());
        self.untold.insert(position);
        self.holds_no_more(note);
        attempts
    }

    /// A message that has just come back is to be tried again at that time.
    pub(super) fn set_due(&mut self, position: Position, due_at_ms: u64) {
        if let Some(known) = self.known.get_mut(&position) {
            known.due_at_ms = due_at_ms;
        }
    }

    pub(super) fn get(&self, position: Position) -> Attempts {
        self.known
            .get(&position)
            .map(|known| known.attempts)
            .unwrap_or_default()
    }

    /// The message was read for the first time since the start. When it is to be tried again, wall clock in milliseconds; 0 if at once.
    pub(super) fn found(&mut self, position: Position) -> u64 {
        if self.restored.is_empty() {
            return 0;
        }
        let Some(known) = self.restored.remove(&position) else {
            return 0;
        };
        self.restored_due -= usize::from(known.due_at_ms > 0);
        self.known.insert(position, known);
        known.due_at_ms
    }

    /// The store has nothing else in `from..until`.
    pub(super) fn all_found(&mut self, from: Position, until: Position) {
        if self.restored.is_empty() || from >= until {
            return;
        }
        let gone: Vec<_> = self
            .restored
            .extract_if(from..until, |_, _| true)
            .map(|(_, known)| known)
            .collect();
        for known in gone {
            self.restored_due -= usize::from(known.due_at_ms > 0);
            self.holds_no_more(known.note);
        }
    }

    /// What the log said before the restart; later notes say more than earlier ones.
    fn restore(&mut self, at: Position, body: &[u8], next: Position) {
        let mut count = 0;
        let mut runs = parse(body).unwrap_or_default();
        runs.retain(|run| run.until <= next);
        for run in runs {
            for position in (run.from.0..run.until.0).map(Position) {
                let known = Known {
                    attempts: run.attempts,
                    due_at_ms: run.due_at_ms,
                    note: Some(at),
                };
                count += 1;
                let earlier = self.restored.insert(position, known);
                self.restored_due += usize::from(known.due_at_ms > 0);
                if let Some(earlier) = earlier {
                    self.restored_due -= usize::from(earlier.due_at_ms > 0);
                    self.holds_no_more(earlier.note);
                }
            }
        }
        if count == 0 {
            self.forgotten.push(at);
        } else {
            self.notes.insert(at, count);
        }
    }

    /// Gives the sink what came back since the last batch, and which notes to forget.
    pub(super) fn collect(&mut self, queue: QueueId, sink: &mut impl RecordSink) {
        let notes = attempts_of(queue);
        let mut untold = std::mem::take(&mut self.untold).into_iter().peekable();
        while untold.peek().is_some() {
            let at = self.next_note;
            let (mut runs, mut count) = (Vec::<Run>::new(), 0);
            while let Some(&position) = untold.peek() {
                let Some(known) = self.known.get_mut(&position) else {
                    untold.next();
                    continue;
                };
                let is_full = runs.len() == NOTE_RUNS_MAX;
                match runs.last_mut() {
                    Some(run) if run.takes(position, known) => run.until = position.next(),
                    Some(_) if is_full => break,
                    Some(_) | None => runs.push(Run {
                        from: position,
                        until: position.next(),
                        attempts: known.attempts,
                        due_at_ms: known.due_at_ms,
                    }),
                }
                known.note = Some(at);
                count += 1;
                untold.next();
            }
            if count > 0 {
                self.next_note = at.next();
                self.notes.insert(at, count);
                sink.message(notes, at, false, None, &note(&runs));
            }
        }
        self.forgotten.sort_unstable();
        let forgotten = self.forgotten.chunk_by(|a, b| a.next() == *b);
        for run in forgotten {
            if let (Some(first), Some(last)) = (run.first(), run.last()) {
                sink.settled(notes, *first, last.next());
            }
        }
        self.forgotten = Vec::new();
    }

    pub(super) fn is_unread(&self) -> bool {
        self.unread.is_some()
    }

    pub(super) fn wait(&mut self, command: QueueCommand) {
        self.waiting.push_back(command);
    }

    /// The queue goes while it was still waiting.
    pub(super) fn take_waiting(&mut self) -> VecDeque<QueueCommand> {
        self.unread = None;
        std::mem::take(&mut self.waiting)
    }

    pub(super) fn check_invariants(&self) {
        let mut counts = HashMap::<Position, u32>::new();
        for known in self.known.values().chain(self.restored.values()) {
            if let Some(note) = known.note {
                *counts.entry(note).or_default() += 1;
            }
        }
        assert_eq!(counts.len(), self.notes.len(), "notes that hold");
        for (note, count) in counts {
            assert_eq!(self.notes.get(&note), Some(&count), "counts of {note:?}");
        }
        assert!(self.untold.iter().all(|position| {
            let known = self.known.get(position);
            known.is_some_and(|known| known.note.is_none())
        }));
        let due = self.restored.values().filter(|known| known.due_at_ms > 0);
        assert_eq!(due.count(), self.restored_due);
    }
}

/// A start.
impl Queue {
    /// For a machine that is new: `stored` is what the store holds at [`attempts_of`] the queue.
    pub fn start_attempts(&mut self, stored: Stored, effects: &mut Effects) {
        let Some(attempts) = &mut self.attempts else {
            return;
        };
        // Positions are never used again.
        attempts.next_note = stored.next;
        if stored.messages > 0 {
            attempts.unread = Some((stored.first, stored.next));
            self.read_attempts(effects);
            self.follow_start();
        }
    }

    /// Whether the log may have notes of this queue about messages that came back.
    pub fn has_attempts(&self) -> bool {
        self.attempts
            .as_ref()
            .is_some_and(|attempts| attempts.has_notes())
    }

    /// Reads the next notes, when those of the replay window were read.
    pub(super) fn read_attempts(&self, effects: &mut Effects) {
        let unread = self.attempts.as_ref().and_then(|attempts| attempts.unread);
        let waits = self
            .replay
            .as_ref()
            .is_some_and(|replay| replay.is_unread());
        if let Some((from, until)) = unread.filter(|_| !waits) {
            effects.push(Effect::LookUp {
                queue: attempts_of(self.id()),
                from,
                until,
                bytes_max: READ_BYTES_MAX,
            });
        }
    }

    /// The answer to the read of notes: those of all positions below `reached`.
    pub fn handle_attempts_read(
        &mut self,
        now: Now,
        notes: Vec<(Position, SharedMessage, Option<u64>)>,
        reached: Position,
        windows: &mut impl Windows,
        effects: &mut Effects,
    ) {
        let Some(attempts) = &mut self.attempts else {
            return;
        };
        let Some((_, until)) = attempts.unread else {
            return;
        };
        for (at, message, _) in notes {
            attempts.restore(at, &message.body, self.next);
        }
        attempts.unread = (reached < until).then_some((reached, until));
        if attempts.unread.is_some() {
            return self.read_attempts(effects);
        }
        // Nothing below the first message that the store has can come again.
        let first = self.ready.first();
        attempts.all_found(Position(0), first);
        let waiting = attempts.take_waiting();
        self.forget_notes(effects);
        self.follow_start();
        if self.deleting {
            return;
        }
        for command in waiting {
            self.apply(now, command, windows, effects);
        }
        self.advance(now, windows, effects);
    }
}

impl Queue {
    /// A message that died elsewhere brings what happened to it there.
    pub(super) fn note_failed_before(&mut self, entry: &mut Entry) {
        let failed = entry.message.as_deref().map_or(0, entry::failed_before);
        if failed == 0 {
            return;
        }
        entry.redelivered = true;
        if let Some(attempts) = &mut self.attempts {
            attempts.note_before(entry.position, failed);
        }
    }

    /// Has the log forget notes that hold no more, if there are any.
    pub(super) fn forget_notes(&mut self, effects: &mut Effects) {
        let attempts = self.attempts.as_ref();
        if attempts.is_some_and(|attempts| !attempts.forgotten.is_empty()) {
            self.journal.announce(false, effects);
        }
    }

    /// Messages wait to be tried again that have to be read before it is known what they are.
    pub(super) fn attempts_need_entries(&self) -> bool {
        self.attempts
            .as_ref()
            .is_some_and(|attempts| attempts.has_restored_due())
    }

    /// Notes that a message came back, and says how often that was so far, if that counts here.
    pub(super) fn came_back(
        &mut self,
        position: Position,
        failed: bool,
        effects: &mut Effects,
    ) -> Option<Attempts> {
        let attempts = self.attempts.as_mut()?.came_back(position, failed);
        self.journal.settle_by_note(effects);
        Some(attempts)
    }

    /// Whether a message came back once too often.
    pub(super) fn is_tried_too_often(&self, attempts: Attempts) -> bool {
        let arguments = &self.settings.arguments;
        let retry = arguments.delayed_retry;
        let of_retries = retry.limit.filter(|_| retry.is_enabled());
        [arguments.delivery_limit, of_retries]
            .into_iter()
            .flatten()
            .any(|limit| u64::from(attempts.failed) > limit)
    }

    /// How often consumers failed with a message that dies now.
    pub(super) fn last_attempt(&self, entry: &Entry, failed: bool) -> u32 {
        let before = match &self.attempts {
            Some(attempts) => attempts.get(entry.position).failed,
            None => entry.message.as_deref().map_or(0, entry::failed_before),
        };
        before.saturating_add(u32::from(failed))
    }

    /// What whoever gets the message is told.
    pub(super) fn attempts_of(&self, entry: &Entry) -> Attempts {
        let Some(attempts) = self.attempts.as_ref().filter(|_| entry.redelivered) else {
            return Attempts::default();
        };
        let attempts = attempts.get(entry.position);
        // Compat: what a message failed elsewhere counts as acquired until it comes back here.
        Attempts {
            acquired: match attempts.acquired {
                0 => attempts.failed,
                acquired => acquired,
            },
            ..attempts
        }
    }

    /// A message is about to go out: how often it did before.
    #[inline]
    pub(super) fn attempts_before(&mut self, now: Now, entry: &Entry, taker: Taker) -> Attempts {
        if self.attempts.is_none() {
            return Attempts::default();
        }
        self.lease(now, taker.key, taker.no_ack);
        self.attempts_of(entry)
    }

    /// Sends a message that came back.
    pub(super) fn send_again(
        &self,
        entry: &Entry,
        taker: Taker,
        message: SharedMessage,
        attempts: Attempts,
        effects: &mut Effects,
    ) {
        let again = Redelivery {
            consumer: taker.index,
            queue: self.settings.queue,
            position: entry.position,
            message,
            attempts,
        };
        effects.push(Effect::Reply {
            to: taker.channel,
            reply: Reply::DeliverAgain(Box::new(again)),
        });
    }
}
