//! A shard in miniature: it runs one queue, keeps its records in a map that loses what was not "synced", answers reads when told to,
//! and prints effects as short text.

use base::{ConnectionId, Name, Now, Position, QueueId, QueueRef, ShardId};
use broker::browse::{BrowsedMessage, BrowsedState, Cursor, Operation, OperationReply};
use broker::command::{
    Attempts, ChannelId, ConfirmTo, ConsumerId, ConsumerSettings, Outcome, QueueCommand, Reply,
};
use broker::effect::{Effect, Effects};
use broker::message::{Address, Message, SharedMessage};
use broker::messages::{MESSAGES_MAX, Messages, RUN_LENGTH_MAX, Run};
use broker::queue::{
    Queue, QueueSettings, RecordSink, Stored, Windows, owner_of_attempts, owner_of_ids,
    owner_of_replay,
};
use broker::queue_arguments::QueueArguments;
use broker::value::{Arguments, Value};
use bytes::Bytes;
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

static ZEROS: [u8; 32_768] = [0; 32_768];

/// A stored message: transient or not, expiry, message.
pub(crate) type StoredMessage = (bool, Option<u64>, SharedMessage);

/// What of a queue the log keeps in a place of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Messages,
    Ids,
    Notes,
    Attempts,
}

impl Place {
    fn of(queue: QueueId) -> Self {
        if owner_of_ids(queue).is_some() {
            Self::Ids
        } else if owner_of_replay(queue).is_some() {
            Self::Notes
        } else if owner_of_attempts(queue).is_some() {
            Self::Attempts
        } else {
            Self::Messages
        }
    }
}

/// One batch of records on its way to the disk.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) ticket: u64,
    pub(crate) messages: Vec<(Position, StoredMessage)>,
    pub(crate) settles: Vec<(Position, Position)>,
    /// Ids of messages to keep and to forget.
    pub(crate) ids: Vec<(Position, StoredMessage)>,
    pub(crate) ids_settles: Vec<(Position, Position)>,
    /// Notes of what is kept for replays, to keep and to forget.
    pub(crate) notes: Vec<(Position, StoredMessage)>,
    pub(crate) notes_settles: Vec<(Position, Position)>,
    /// Notes of what came back, to keep and to forget.
    pub(crate) attempts: Vec<(Position, StoredMessage)>,
    pub(crate) attempts_settles: Vec<(Position, Position)>,
    pub(crate) delivered_until: Option<Position>,
}

impl RecordSink for Batch {
    fn message(
        &mut self,
        queue: QueueId,
        position: Position,
        transient: bool,
        expiry: Option<u64>,
        message: &SharedMessage,
    ) {
        let records = match Place::of(queue) {
            Place::Ids => &mut self.ids,
            Place::Notes => &mut self.notes,
            Place::Attempts => &mut self.attempts,
            Place::Messages => &mut self.messages,
        };
        records.push((position, (transient, expiry, message.clone())));
    }

    fn settled(&mut self, queue: QueueId, from: Position, until: Position) {
        assert!(from < until);
        let settles = match Place::of(queue) {
            Place::Ids => &mut self.ids_settles,
            Place::Notes => &mut self.notes_settles,
            Place::Attempts => &mut self.attempts_settles,
            Place::Messages => &mut self.settles,
        };
        settles.push((from, until));
    }

    fn delivered_until(&mut self, _: QueueId, until: Position) {
        assert!(self.delivered_until.is_none(), "at most once a batch");
        self.delivered_until = Some(until);
    }
}

#[derive(Debug, Default)]
pub(crate) struct FakeWindows {
    pub(crate) closed: HashSet<ConnectionId>,
}

impl Windows for FakeWindows {
    fn take(&mut self, connection: ConnectionId, _: QueueId, _: usize) -> bool {
        !self.closed.contains(&connection)
    }
}

/// An answer that is under way; without messages it is read when it arrives.
#[derive(Debug)]
pub(crate) struct PendingLoad {
    pub(crate) from: Position,
    pub(crate) until: Position,
    pub(crate) bytes_max: usize,
}

/// What a read found: messages with their expiry, and how far it got.
pub(crate) type LoadResult = (Vec<(Position, SharedMessage, Option<u64>)>, Position);

/// The last things that were done with a queue. They are printed if the test fails.
#[derive(Debug)]
pub(crate) struct Told {
    lines: VecDeque<String>,
    lines_max: usize,
}

impl Told {
    pub(crate) fn new(lines_max: usize) -> Self {
        Self {
            lines: VecDeque::new(),
            lines_max,
        }
    }

    fn tell(&mut self, line: String) {
        if self.lines.len() == self.lines_max {
            self.lines.pop_front();
        }
        // Bodies are zeros, and many.
        self.lines.push_back(line.replace("\\0", ""));
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.lines.iter().for_each(|line| eprintln!("  {line}"));
        }
    }
}

pub(crate) struct Rig {
    pub(crate) queue: Queue,
    pub(crate) now: Now,
    pub(crate) windows: FakeWindows,
    /// What a restart would find, transient messages included.
    pub(crate) disk: BTreeMap<Position, StoredMessage>,
    /// Ids of messages.
    pub(crate) disk_ids: BTreeMap<Position, StoredMessage>,
    /// Notes of what is kept for replays.
    pub(crate) disk_notes: BTreeMap<Position, StoredMessage>,
    next_note: Position,
    /// Notes of what came back.
    pub(crate) disk_attempts: BTreeMap<Position, StoredMessage>,
    next_attempts: Position,
    pub(crate) disk_delivered_until: Position,
    pub(crate) disk_next: Position,
    pub(crate) batches: VecDeque<Batch>,
    pub(crate) load: Option<PendingLoad>,
    /// A read for an operator.
    pub(crate) look_up: Option<PendingLoad>,
    looks_for: Place,
    pub(crate) wake: Option<Duration>,
    pub(crate) records_waiting: Option<bool>,
    next_ticket: u64,
    /// A restart counts more bytes than there are.
    pub(crate) guesses_bytes: bool,
    /// How long acknowledged messages had been in the queue.
    pub(crate) measured: Vec<Duration>,
    /// Takes notes, if somebody wants them.
    pub(crate) told: Option<Told>,
}

impl Rig {
    pub(crate) fn new(settings: QueueSettings) -> Self {
        let mut rig = Self {
            queue: Queue::new(settings, Stored::default()),
            now: Now {
                monotonic: Duration::from_secs(1),
                wall_ms: 1_700_000_000_000,
            },
            windows: FakeWindows::default(),
            disk: BTreeMap::new(),
            disk_ids: BTreeMap::new(),
            disk_notes: BTreeMap::new(),
            next_note: Position(0),
            disk_attempts: BTreeMap::new(),
            next_attempts: Position(0),
            disk_delivered_until: Position(0),
            disk_next: Position(0),
            batches: VecDeque::new(),
            load: None,
            look_up: None,
            looks_for: Place::Messages,
            wake: None,
            records_waiting: None,
            next_ticket: 1,
            measured: Vec::new(),
            guesses_bytes: false,
            told: None,
        };
        let effects = rig.call(|queue, now, windows, effects| {
            queue.start_deduplication(read_headers, Stored::default(), effects);
            queue.start_replay_window(Stored::default(), effects);
            queue.start_attempts(Stored::default(), effects);
            queue.handle_timeout(now, windows, effects);
        });
        assert!(
            effects
                .iter()
                .all(|effect| matches!(effect, Effect::Wake { .. }))
        );
        rig
    }

    /// One turn: `visit` the queue, flush, take note of what it asks for. Everything it asked for is returned; what it measured is kept.
    pub(crate) fn call(
        &mut self,
        visit: impl FnOnce(&mut Queue, Now, &mut FakeWindows, &mut Effects),
    ) -> Effects {
        let mut effects = Effects::new();
        visit(&mut self.queue, self.now, &mut self.windows, &mut effects);
        self.queue.flush(self.now, &mut effects);
        self.queue.check_invariants();
        self.note(&effects);
        effects.retain(|effect| !matches!(effect, Effect::Acknowledged { .. }));
        let effects = one_by_one(effects);
        if !effects.is_empty() {
            self.tell(|_| format!("  ⇒ {}", show(&effects)));
        }
        effects
    }

    fn tell(&mut self, what: impl FnOnce(&Self) -> String) {
        if let Some(mut told) = self.told.take() {
            told.tell(what(self));
            self.told = Some(told);
        }
    }

    fn note(&mut self, effects: &Effects) {
        for effect in effects {
            match effect {
                Effect::RecordsWaiting { urgent, .. } => {
                    assert!(
                        self.records_waiting.is_none_or(|before| !before && *urgent),
                        "announced twice"
                    );
                    self.records_waiting = Some(*urgent);
                }
                Effect::Load {
                    from,
                    until,
                    bytes_max,
                    ..
                } => {
                    assert!(self.load.is_none(), "two reads at once");
                    assert!(from < until);
                    self.load = Some(PendingLoad {
                        from: *from,
                        until: *until,
                        bytes_max: *bytes_max,
                    });
                }
                Effect::LookUp {
                    queue,
                    from,
                    until,
                    bytes_max,
                } => {
                    assert!(self.look_up.is_none(), "two looks at once");
                    self.looks_for = Place::of(*queue);
                    assert!(from < until);
                    self.look_up = Some(PendingLoad {
                        from: *from,
                        until: *until,
                        bytes_max: *bytes_max,
                    });
                }
                Effect::Wake { at, .. } => self.wake = Some(*at),
                Effect::Acknowledged { after } => self.measured.push(*after),
                Effect::Reply { .. }
                | Effect::Delete { .. }
                | Effect::Retry { .. }
                | Effect::DeadLetter { .. } => {}
            }
        }
    }

    pub(crate) fn command(&mut self, command: QueueCommand) -> Effects {
        self.tell(|_| format!("{command:?}"));
        self.call(|queue, now, windows, effects| queue.apply(now, command, windows, effects))
    }

    /// The log takes a batch.
    pub(crate) fn collect(&mut self) {
        self.tell(|rig| format!("collect {}", rig.next_ticket));
        let mut batch = Batch {
            ticket: self.next_ticket,
            ..Batch::default()
        };
        self.next_ticket += 1;
        self.queue.collect_records(batch.ticket, &mut batch);
        self.queue.check_invariants();
        self.records_waiting = None;
        self.batches.push_back(batch);
    }

    /// The oldest batch is on the disk.
    pub(crate) fn durable(&mut self) -> Effects {
        let Some(batch) = self.batches.pop_front() else {
            return Effects::new();
        };
        self.tell(|_| {
            let written: Vec<_> = batch.messages.iter().map(|(at, _)| at.0).collect();
            let settled: Vec<_> = batch.settles.iter().map(|(a, b)| a.0..b.0).collect();
            format!("durable {}: +{written:?} -{settled:?}", batch.ticket)
        });
        for (position, message) in batch.messages {
            self.disk_next = self.disk_next.max(position.next());
            assert!(
                self.disk.insert(position, message).is_none(),
                "{position:?} was written twice"
            );
        }
        for (from, until) in batch.settles {
            let settled: Vec<Position> = self
                .disk
                .range(from..until)
                .map(|(&position, _)| position)
                .collect();
            // A purge drops what is cold without knowing it; what a replay window keeps cuts that into pieces, some of them empty.
            assert!(
                !settled.is_empty() || !self.disk_notes.is_empty(),
                "a settlement of what is not there: {from:?}..{until:?}"
            );
            settled
                .iter()
                .for_each(|position| drop(self.disk.remove(position)));
        }
        for (position, id) in batch.ids {
            assert!(self.disk_ids.insert(position, id).is_none());
        }
        for (from, until) in batch.ids_settles {
            let before = self.disk_ids.len();
            self.disk_ids
                .retain(|position, _| !(from..until).contains(position));
            let gone = (before - self.disk_ids.len()) as u64;
            assert_eq!(gone, until.0 - from.0, "forgotten ids were known");
        }
        for (position, note) in batch.notes {
            self.next_note = self.next_note.max(position.next());
            assert!(self.disk_notes.insert(position, note).is_none());
        }
        for (from, until) in batch.notes_settles {
            let before = self.disk_notes.len();
            self.disk_notes
                .retain(|position, _| !(from..until).contains(position));
            let gone = (before - self.disk_notes.len()) as u64;
            assert_eq!(gone, until.0 - from.0, "forgotten notes were known");
        }
        for (position, note) in batch.attempts {
            self.next_attempts = self.next_attempts.max(position.next());
            assert!(self.disk_attempts.insert(position, note).is_none());
        }
        for (from, until) in batch.attempts_settles {
            let before = self.disk_attempts.len();
            self.disk_attempts
                .retain(|position, _| !(from..until).contains(position));
            let gone = (before - self.disk_attempts.len()) as u64;
            assert_eq!(gone, until.0 - from.0, "forgotten notes were known");
        }
        if let Some(until) = batch.delivered_until {
            assert!(
                self.disk_delivered_until < until,
                "delivered_until moved back"
            );
            self.disk_delivered_until = until;
        }
        let ticket = batch.ticket;
        self.call(|queue, now, windows, effects| {
            queue.handle_durable(now, ticket, windows, effects)
        })
    }

    /// What the disk answers to the read that is under way, if it reads now.
    pub(crate) fn read(&self) -> LoadResult {
        Self::read_for(&self.disk, self.load.as_ref())
    }

    fn read_for(
        disk: &BTreeMap<Position, StoredMessage>,
        load: Option<&PendingLoad>,
    ) -> LoadResult {
        let Some(load) = load else {
            return (Vec::new(), Position(0));
        };
        let mut found = Vec::new();
        let mut bytes = 0;
        for (&position, (_, expiry, message)) in disk.range(load.from..load.until) {
            if !found.is_empty() && bytes + message.size_bytes() > load.bytes_max {
                return (found, position);
            }
            bytes += message.size_bytes();
            found.push((position, message.clone(), *expiry));
        }
        (found, load.until)
    }

    /// The answer to the read arrives.
    pub(crate) fn loaded(&mut self) -> Effects {
        let (messages, reached) = self.read();
        self.loaded_with(messages, reached)
    }

    pub(crate) fn loaded_with(
        &mut self,
        messages: Vec<(Position, SharedMessage, Option<u64>)>,
        reached: Position,
    ) -> Effects {
        if self.load.take().is_none() {
            return Effects::new();
        }
        self.tell(|_| format!("loaded {} until {}", messages.len(), reached.0));
        self.call(|queue, now, windows, effects| {
            queue.handle_loaded(now, messages, reached, windows, effects)
        })
    }

    /// The answer to an operator's read arrives.
    pub(crate) fn looked_up(&mut self) -> Effects {
        let disk = match self.looks_for {
            Place::Ids => &self.disk_ids,
            Place::Notes => &self.disk_notes,
            Place::Attempts => &self.disk_attempts,
            Place::Messages => &self.disk,
        };
        let (messages, reached) = Self::read_for(disk, self.look_up.as_ref());
        self.look_up = None;
        self.tell(|_| format!("looked up {} until {}", messages.len(), reached.0));
        let place = self.looks_for;
        self.call(|queue, now, windows, effects| match place {
            Place::Ids => queue.handle_ids_read(now, messages, reached, windows, effects),
            Place::Notes => queue.handle_notes_read(now, messages, reached, windows, effects),
            Place::Attempts => queue.handle_attempts_read(now, messages, reached, windows, effects),
            Place::Messages => queue.handle_looked_up(now, messages, reached, effects),
        })
    }

    /// Whether a note on the disk says that the message was settled and is kept.
    pub(crate) fn is_noted_on_disk(&self, position: Position) -> bool {
        let word = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
        self.disk_notes.values().any(|(_, _, note)| {
            // Behind the version, the number of messages and their bytes there are runs of positions.
            note.body[17..]
                .chunks_exact(16)
                .any(|run| (word(&run[..8])..word(&run[8..])).contains(&position.0))
        })
    }

    /// How often the message came back as far as the disk knows, and until when it waits, wall clock in milliseconds.
    pub(crate) fn attempts_on_disk(&self, position: Position) -> (Attempts, u64) {
        let word = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
        let half = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().expect("four bytes"));
        let notes = self.disk_attempts.values().rev();
        // Behind the version there are runs of positions.
        let mut runs = notes.flat_map(|(_, _, note)| note.body[1..].chunks_exact(32));
        let run = runs.find(|run| (word(&run[..8])..word(&run[8..16])).contains(&position.0));
        let Some(run) = run else {
            return (Attempts::default(), 0);
        };
        let attempts = Attempts {
            acquired: half(&run[16..20]),
            failed: half(&run[20..24]),
        };
        (attempts, word(&run[24..]))
    }

    /// Time passes; the queue is woken if it asked to be.
    pub(crate) fn pass_ms(&mut self, ms: u64) -> Effects {
        self.now.monotonic += Duration::from_millis(ms);
        self.now.wall_ms += ms;
        self.tell(|rig| format!("{ms} ms pass: {:?}", rig.now));
        if self.wake.is_none_or(|at| at > self.now.monotonic) {
            return Effects::new();
        }
        self.wake = None;
        self.call(|queue, now, windows, effects| queue.handle_timeout(now, windows, effects))
    }

    pub(crate) fn open_window(&mut self, connection: ConnectionId) -> Effects {
        self.tell(|_| format!("window of {} opens", connection.serial));
        self.windows.closed.remove(&connection);
        self.call(|queue, now, windows, effects| {
            queue.handle_window_open(now, connection, windows, effects)
        })
    }

    pub(crate) fn evict(&mut self, target_bytes: usize) -> Effects {
        self.tell(|_| format!("evict to {target_bytes}"));
        self.call(|queue, _, _, effects| queue.evict(target_bytes, effects))
    }

    /// The log and the reads catch up with the queue.
    pub(crate) fn catch_up(&mut self) -> Effects {
        let mut all = Effects::new();
        for _ in 0..10_000 {
            if self.load.is_some() {
                all.extend(self.loaded());
            } else if self.look_up.is_some() {
                all.extend(self.looked_up());
            } else if !self.batches.is_empty() {
                all.extend(self.durable());
            } else if self.records_waiting.is_some() {
                self.collect();
            } else {
                return all;
            }
        }
        panic!("the queue does not come to rest");
    }

    /// The process dies and starts again with what the disk has. Transient messages are lost.
    pub(crate) fn crash(&mut self) -> Effects {
        self.disk.retain(|_, (transient, ..)| !*transient);
        self.restart(Stored {
            messages: self.disk.len() as u64,
            bytes: self
                .disk
                .values()
                .map(|(_, _, message)| {
                    message.body.len() as u64 + 20 * u64::from(self.guesses_bytes)
                })
                .sum(),
            is_estimate: self.guesses_bytes,
            first: self
                .disk
                .first_key_value()
                .map_or(self.disk_next, |(&position, _)| position),
            next: self.disk_next,
            delivered_until: self.disk_delivered_until,
        })
    }

    /// The machine is made again from what it said is stored.
    pub(crate) fn drop_idle(&mut self) -> Effects {
        assert!(self.queue.is_idle());
        self.restart(self.queue.stored())
    }

    fn restart(&mut self, stored: Stored) -> Effects {
        self.tell(|_| format!("restart from {stored:?}"));
        self.queue = Queue::new(self.queue.settings().clone(), stored);
        self.batches.clear();
        self.load = None;
        self.look_up = None;
        self.wake = None;
        self.records_waiting = None;
        self.windows.closed.clear();
        let ids = Stored {
            messages: self.disk_ids.len() as u64,
            first: self
                .disk_ids
                .first_key_value()
                .map_or(Position(0), |(&position, _)| position),
            next: self
                .disk_ids
                .last_key_value()
                .map_or(Position(0), |(&position, _)| position.next()),
            ..Stored::default()
        };
        let notes = Stored {
            messages: self.disk_notes.len() as u64,
            first: self
                .disk_notes
                .first_key_value()
                .map_or(self.next_note, |(&position, _)| position),
            next: self.next_note,
            ..Stored::default()
        };
        let attempts = Stored {
            messages: self.disk_attempts.len() as u64,
            first: self
                .disk_attempts
                .first_key_value()
                .map_or(self.next_attempts, |(&position, _)| position),
            next: self.next_attempts,
            ..Stored::default()
        };
        self.call(|queue, now, windows, effects| {
            queue.start_deduplication(read_headers, ids, effects);
            queue.start_replay_window(notes, effects);
            queue.start_attempts(attempts, effects);
            queue.handle_timeout(now, windows, effects);
        })
    }
}

/// Deliveries that were put together, as one effect each.
fn one_by_one(effects: Effects) -> Effects {
    let mut single = Effects::new();
    for effect in effects {
        let Effect::Reply {
            to,
            reply:
                Reply::Deliver {
                    consumer,
                    queue,
                    position: first,
                    messages,
                    redelivered,
                },
        } = effect
        else {
            single.push(effect);
            continue;
        };
        let most = match messages {
            Messages::Listed(_) => MESSAGES_MAX,
            Messages::Run(_) => RUN_LENGTH_MAX,
        };
        assert!((1..=most).contains(&messages.len()));
        for (message, position) in messages.into_listed().into_iter().zip(first.0..) {
            let reply = Reply::Deliver {
                consumer,
                queue,
                position: Position(position),
                messages: message.into(),
                redelivered,
            };
            single.push(Effect::Reply { to, reply });
        }
    }
    single
}

/// In these tests the properties of a message are the text of its id.
fn read_headers(message: &Message) -> Arguments {
    if message.properties.is_empty() {
        return Arguments::default();
    }
    let id = Value::LongStr(message.properties.clone());
    Arguments::from_pairs([("x-deduplication-header".into(), id)])
}

pub(crate) fn settings(durable: bool, arguments: QueueArguments) -> QueueSettings {
    QueueSettings {
        queue: QueueRef {
            id: QueueId(7),
            shard: ShardId(0),
        },
        vhost: Name::from("/"),
        name: Name::from("q"),
        durable,
        auto_delete: false,
        arguments,
    }
}

pub(crate) fn channel(connection: u64) -> ChannelId {
    ChannelId {
        connection: ConnectionId {
            shard: ShardId(0),
            serial: connection,
        },
        number: 1,
        epoch: 0,
    }
}

/// A consumer on a connection of its own.
pub(crate) fn consumer(number: u32) -> ConsumerId {
    ConsumerId {
        channel: channel(u64::from(number)),
        index: number,
    }
}

pub(crate) fn message(persistent: bool, body_bytes: usize) -> Message {
    Message {
        address: Address::new(Name::default(), Bytes::from_static(b"q")),
        properties: Bytes::new(),
        body: Bytes::from_static(&ZEROS[..body_bytes]),
        persistent,
        priority: 0,
        expiration_ms: None,
        extra_routing_keys: None,
        deaths: None,
    }
}

pub(crate) fn consume(
    consumer: ConsumerId,
    no_ack: bool,
    prefetch_count: u16,
    priority: i32,
) -> QueueCommand {
    let settings = ConsumerSettings {
        tag: Name::from("tag"),
        no_ack,
        exclusive: false,
        prefetch_count,
        priority,
        arguments: Arguments::default(),
    };
    QueueCommand::Consume {
        consumer,
        settings: Box::new(settings),
    }
}

pub(crate) fn publish(message: Message, confirm: Option<(u64, u64)>) -> QueueCommand {
    let confirm = confirm.map(|(connection, sequence)| ConfirmTo {
        channel: channel(connection),
        sequence,
    });
    QueueCommand::Publish {
        messages: Arc::new(message).into(),
        confirm,
    }
}

/// A run of messages with bodies of these sizes.
pub(crate) fn run_of(address: Arc<Address>, persistent: bool, sizes: &[usize]) -> Run {
    let batch = Bytes::from_static(&ZEROS);
    let mut run = Run::new(address, Bytes::new(), persistent, batch, sizes.len());
    sizes.iter().for_each(|size| run.push(0..*size));
    run
}

pub(crate) fn publish_run(run: Run, confirm: Option<(u64, u64)>) -> QueueCommand {
    let confirm = confirm.map(|(connection, sequence)| ConfirmTo {
        channel: channel(connection),
        sequence,
    });
    QueueCommand::Publish {
        messages: Messages::Run(Box::new(run)),
        confirm,
    }
}

pub(crate) fn settle(connection: u64, positions: &[u64], outcome: Outcome) -> QueueCommand {
    let positions = positions.iter().copied().map(Position).collect();
    QueueCommand::Settle {
        channel: channel(connection),
        positions,
        outcome,
    }
}

/// An operator asks; the answer goes to its channel.
pub(crate) fn operate(operation: Operation) -> QueueCommand {
    QueueCommand::Operate {
        channel: channel(5),
        operation: Box::new(operation),
    }
}

/// Effects as text: `c1 deliver 5 redelivered`, channels named by their connection.
pub(crate) fn show(effects: &[Effect]) -> String {
    effects.iter().map(show_one).collect::<Vec<_>>().join("; ")
}

fn show_operated(reply: &OperationReply) -> String {
    match reply {
        OperationReply::Browsed { messages, next, .. } => {
            let messages: Vec<_> = messages.iter().map(show_browsed).collect();
            let next = next.map_or_else(|| "end".into(), show_cursor);
            format!("browsed {} then {next}", messages.join(" "))
        }
        OperationReply::Taken { positions } => {
            let positions: Vec<_> = positions.iter().map(|position| position.0).collect();
            format!("taken {positions:?}")
        }
        OperationReply::Deleted { count } => format!("deleted {count}"),
    }
}

fn show_browsed(browsed: &BrowsedMessage) -> String {
    let mark = if browsed.redelivered { "r" } else { "" };
    let state = match browsed.state {
        BrowsedState::Ready => "",
        BrowsedState::Unacked => "u",
        BrowsedState::Settled { .. } => "s",
    };
    format!("{}{mark}{state}", show_cursor(browsed.at))
}

fn show_cursor(cursor: Cursor) -> String {
    match cursor.level {
        0 => cursor.position.0.to_string(),
        level => format!("{level}/{}", cursor.position.0),
    }
}

fn show_one(effect: &Effect) -> String {
    let mark = |redelivered: &bool| if *redelivered { " redelivered" } else { "" };
    match effect {
        Effect::Reply { to, reply } => {
            let to = to.connection.serial;
            match reply {
                Reply::Deliver {
                    position,
                    redelivered,
                    ..
                } => {
                    format!("c{to} deliver {}{}", position.0, mark(redelivered))
                }
                Reply::DeliverAgain(again) => {
                    let Attempts { acquired, failed } = again.attempts;
                    format!(
                        "c{to} deliver {} again {acquired}/{failed}",
                        again.position.0
                    )
                }
                Reply::TimedOut { positions, .. } => {
                    let positions: Vec<_> = positions.iter().map(|position| position.0).collect();
                    format!("c{to} timed out {positions:?}")
                }
                Reply::GetOk {
                    position,
                    redelivered,
                    ready,
                    attempts,
                    ..
                } => {
                    let tried = if attempts.is_first() {
                        String::new()
                    } else {
                        format!(" {}/{}", attempts.acquired, attempts.failed)
                    };
                    format!(
                        "c{to} get-ok {}{} ready={ready}{tried}",
                        position.0,
                        mark(redelivered)
                    )
                }
                Reply::GetEmpty => format!("c{to} get-empty"),
                Reply::Confirm { first, last } => format!("c{to} confirm {first}..={last}"),
                Reply::Nack { first, last } => format!("c{to} nack {first}..={last}"),
                Reply::Credit { bytes, .. } => format!("c{to} credit {bytes}"),
                Reply::ConsumeOk { .. } => format!("c{to} consume-ok"),
                Reply::CancelOk { .. } => format!("c{to} cancel-ok"),
                Reply::ConsumerCancelled { .. } => format!("c{to} consumer-cancelled"),
                Reply::Status { ready, consumers } => format!("c{to} status {ready} {consumers}"),
                Reply::Purged { count } => format!("c{to} purged {count}"),
                Reply::Deleted { ready } => format!("c{to} deleted {ready}"),
                Reply::Operated(reply) => format!("c{to} {}", show_operated(reply)),
                Reply::Failed(error) => format!("c{to} failed: {error}"),
                Reply::Barrier(Ok(())) => format!("c{to} barrier"),
                Reply::Barrier(Err(error)) => format!("c{to} barrier failed: {error}"),
                Reply::Metadata(_) | Reply::Access(_) | Reply::DirectReply { .. } => {
                    panic!("not a queue's reply: {reply:?}")
                }
            }
        }
        Effect::RecordsWaiting { urgent, .. } => {
            format!("records{}", if *urgent { " urgent" } else { "" })
        }
        Effect::Load { from, until, .. } => format!("load {}..{}", from.0, until.0),
        Effect::LookUp { from, until, .. } => format!("look {}..{}", from.0, until.0),
        Effect::Wake { at, .. } => format!("wake {}", at.as_millis()),
        Effect::Acknowledged { after } => format!("acknowledged after {} ms", after.as_millis()),
        Effect::Delete {
            reply: Some((to, ready)),
            ..
        } => {
            format!("delete for c{} ready={ready}", to.connection.serial)
        }
        Effect::Delete { reply: None, .. } => "delete".into(),
        Effect::Retry {
            position, outcome, ..
        } => format!("retry {} {outcome:?}", position.0),
        Effect::DeadLetter {
            reason,
            exchange,
            awaited,
            ..
        } => {
            let awaited =
                awaited.map_or(String::new(), |position| format!(" awaited {}", position.0));
            format!("dead-letter {} to {exchange}{awaited}", reason.as_str())
        }
    }
}
