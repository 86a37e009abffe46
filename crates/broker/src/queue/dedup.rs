//! Duplicates: a queue that is asked to remembers the ids of its messages and drops a message whose id it knows. It may be asked for all
//! of its messages, or only for those that were published to some exchange; then ids of different exchanges differ.
//!
//! The id is the header `x-deduplication-header`, as in the community's plugin for RabbitMQ. Without a window an id is known while
//! its message is in the queue. With one (`x-cache-ttl` of the queue or of the message) it is known for that time, whether or not the
//! message is still there.
//!
//! Ids are durable as their messages are. They stand in the log in a queue of their own ([`ids_of`]) at the positions of their messages,
//! in the same batches. A queue that starts reads them first; what is published meanwhile waits.
//!
//! Limits: [`Deduplication::ids_max`](crate::queue_arguments::Deduplication), beyond which the oldest is forgotten;
//! [`ID_BYTES_MAX`], beyond which an id is known by its hash; [`STASH_BYTES_MAX`], beyond which publishes are refused while ids are
//! read.

use super::{Queue, RecordSink, Stored, Windows};
use crate::command::ConfirmTo;
use crate::effect::{Effect, Effects};
use crate::message::{Address, Message, SharedMessage};
use crate::queue_arguments::{DeduplicatingExchange, Deduplication, QueueArguments, value_text};
use crate::value::{Arguments, Value};
use base::{Name, Now, Position, QueueId};
use bytes::Bytes;
use hashbrown::HashMap;
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// A longer id is kept as its hash.
pub const ID_BYTES_MAX: usize = 64;

/// Messages that wait until the ids are read.
pub const STASH_BYTES_MAX: usize = 64 << 20;

/// Bytes of ids asked for in one read.
const READ_BYTES_MAX: usize = 256 << 10;

/// Wall clock, milliseconds: the end of the year 9999, until which an id of an exchange without a window is known.
const FOR_EVER_MS: u64 = 253_402_300_799_999;

/// The header that holds the id.
const ID_HEADER: &str = "x-deduplication-header";

/// The header that holds a message's own window.
const WINDOW_HEADER: &str = "x-cache-ttl";

/// The queue ids of queues' ids have this bit; no queue has it itself.
const IDS_BIT: u64 = 1 << 63;

/// Where the log keeps the message ids of a queue.
pub fn ids_of(queue: QueueId) -> QueueId {
    QueueId(queue.0 | IDS_BIT)
}

/// The queue whose message ids are kept there, if it is such a place.
pub fn owner_of_ids(ids: QueueId) -> Option<QueueId> {
    (ids.0 & IDS_BIT != 0).then_some(QueueId(ids.0 & !IDS_BIT))
}

/// Decodes the headers of a message, which the core cannot.
pub type ReadHeaders = fn(&Message) -> Arguments;

/// The ids that a queue knows.
#[derive(Debug)]
pub(super) struct Dedup {
    read_headers: ReadHeaders,
    positions: HashMap<Bytes, Position, foldhash::fast::RandomState>,
    known: BTreeMap<Position, Known>,
    /// The log has, or had, all durable ids below.
    collected_until: Position,
    /// What the log has to forget.
    forgotten: Vec<Position>,
    /// What has still to be read from the log.
    unread: Option<(Position, Position)>,
    /// Publishes that wait for that.
    stash: VecDeque<(SharedMessage, Option<ConfirmTo>)>,
    stash_bytes: usize,
}

#[derive(Debug)]
struct Known {
    id: Bytes,
    /// Wall clock, milliseconds. Without it the id goes with its message.
    expires_at_ms: Option<u64>,
    logged: bool,
}

/// An id that is new.
#[derive(Debug)]
pub(super) struct NewId {
    id: Bytes,
    expires_at_ms: Option<u64>,
}

/// Among which messages an id is looked for.
#[derive(Clone, Copy)]
enum Scope<'a> {
    /// All of the queue.
    Queue(Deduplication),
    /// Those of this exchange.
    Exchange(&'a DeduplicatingExchange),
}

impl<'a> Scope<'a> {
    fn of(arguments: &'a QueueArguments, message: &Message) -> Option<Self> {
        if arguments.deduplication.enabled {
            return Some(Self::Queue(arguments.deduplication));
        }
        let published_to = message.exchange();
        let mut exchanges = arguments.deduplicating.iter().flat_map(|list| list.iter());
        exchanges
            .find(|of| of.exchange == *published_to)
            .map(Self::Exchange)
    }
}

/// How many ids the queue remembers in all.
fn ids_max(arguments: &QueueArguments) -> u64 {
    if arguments.deduplication.enabled {
        return arguments.deduplication.ids_max();
    }
    let exchanges = arguments.deduplicating.iter().flat_map(|list| list.iter());
    exchanges.map(|of| of.deduplication.ids_max()).sum()
}

/// What becomes of a publish.
pub(super) enum Arrival {
    /// It goes on; its id, if it has one, is remembered when it has a position.
    Goes(SharedMessage, Option<NewId>),
    /// It is dropped, or waits.
    Handled,
}

impl Dedup {
    fn new(read_headers: ReadHeaders, next: Position) -> Self {
        Self {
            read_headers,
            positions: HashMap::default(),
            known: BTreeMap::new(),
            collected_until: next,
            forgotten: Vec::new(),
            unread: None,
            stash: VecDeque::new(),
            stash_bytes: 0,
        }
    }

    fn identify(&self, now: Now, scope: Scope<'_>, message: &Message) -> Option<NewId> {
        let headers = (self.read_headers)(message);
        let (settings, exchange) = match scope {
            Scope::Queue(settings) => (settings, None),
            Scope::Exchange(of) => (of.deduplication, Some(&of.exchange)),
        };
        let id = encode(headers.get(ID_HEADER)?, exchange);
        let own = headers.get(WINDOW_HEADER).and_then(Value::as_int);
        let window_ms = own
            .and_then(|window_ms| u64::try_from(window_ms).ok())
            .or(settings.window_ms);
        let for_ever = exchange.map(|_| FOR_EVER_MS);
        Some(NewId {
            id,
            expires_at_ms: window_ms
                .map(|window_ms| now.wall_ms.saturating_add(window_ms))
                .or(for_ever),
        })
    }

    /// Whether the id is known and its time has not passed.
    fn knows(&self, now: Now, id: &Bytes) -> bool {
        self.positions
            .get(id)
            .and_then(|position| self.known.get(position))
            .is_some_and(|known| known.expires_at_ms.is_none_or(|at| at > now.wall_ms))
    }

    fn insert(&mut self, position: Position, new: NewId, logged: bool) {
        if let Some(older) = self.positions.insert(new.id.clone(), position) {
            self.drop_at(older);
        }
        self.known.insert(
            position,
            Known {
                id: new.id,
                expires_at_ms: new.expires_at_ms,
                logged,
            },
        );
    }

    /// Forgets what is too old or too much.
    fn trim(&mut self, now: Now, ids_max: u64) {
        while let Some((&position, oldest)) = self.known.first_key_value() {
            let expired = oldest.expires_at_ms.is_some_and(|at| at <= now.wall_ms);
            if !expired && self.known.len() as u64 <= ids_max {
                return;
            }
            self.forget(position);
        }
    }

    fn forget(&mut self, position: Position) {
        if let Some(id) = self.drop_at(position)
            && self.positions.get(&id) == Some(&position)
        {
            self.positions.remove(&id);
        }
    }

    fn drop_at(&mut self, position: Position) -> Option<Bytes> {
        let known = self.known.remove(&position)?;
        if known.logged && position < self.collected_until {
            self.forgotten.push(position);
        }
        Some(known.id)
    }

    /// A message left the queue.
    pub(super) fn left(&mut self, position: Position) {
        if self
            .known
            .get(&position)
            .is_some_and(|known| known.expires_at_ms.is_none())
        {
            self.forget(position);
        }
    }

    /// All messages left the queue but those that `stays` names.
    pub(super) fn all_left(&mut self, stays: impl Fn(Position) -> bool) {
        let gone: Vec<_> = self
            .known
            .iter()
            .filter(|(position, known)| known.expires_at_ms.is_none() && !stays(**position))
            .map(|(&position, _)| position)
            .collect();
        gone.into_iter().for_each(|position| self.forget(position));
    }

    /// Gives the sink the ids of all positions below `next` that it has not, and what to forget.
    pub(super) fn collect(&mut self, ids: QueueId, next: Position, sink: &mut impl RecordSink) {
        for (&position, known) in self.known.range(self.collected_until..) {
            if known.logged {
                let record = Arc::new(id_message(&known.id));
                sink.message(ids, position, false, known.expires_at_ms, &record);
            }
        }
        self.collected_until = next;
        self.forgotten.sort_unstable();
        let mut forgotten = self.forgotten.drain(..).peekable();
        while let Some(from) = forgotten.next() {
            let mut until = from.next();
            while forgotten.next_if_eq(&until).is_some() {
                until = until.next();
            }
            sink.settled(ids, from, until);
        }
    }
}

impl Queue {
    /// For a machine that is new, if it deduplicates or has: `stored` is what the store holds at [`ids_of`] the queue.
    pub fn start_deduplication(
        &mut self,
        read_headers: ReadHeaders,
        stored: Stored,
        effects: &mut Effects,
    ) {
        self.read_headers = Some(read_headers);
        // Positions are never used again, those of ids neither.
        self.next = self.next.max(stored.next);
        self.follow_deduplication();
        if stored.messages == 0 {
            return;
        }
        let dedup = self
            .dedup
            .get_or_insert_with(|| Box::new(Dedup::new(read_headers, stored.next)));
        dedup.collected_until = stored.next;
        dedup.unread = Some((stored.first, stored.next));
        self.read_ids(effects);
    }

    /// Whether the log may have ids of this queue.
    pub fn has_ids(&self) -> bool {
        self.dedup.is_some()
    }

    /// The settings may have changed.
    pub(super) fn follow_deduplication(&mut self) {
        let arguments = &self.settings.arguments;
        let is_on = arguments.deduplication.enabled || arguments.deduplicating.is_some();
        match (&mut self.dedup, self.read_headers) {
            (None, Some(read_headers)) if is_on => {
                self.dedup = Some(Box::new(Dedup::new(read_headers, self.next)));
            }
            (Some(dedup), _) if !is_on => {
                let known: Vec<_> = dedup.known.keys().copied().collect();
                known
                    .into_iter()
                    .for_each(|position| dedup.forget(position));
            }
            _ => {}
        }
    }

    /// Looks whether a publish is a duplicate. Its confirm waits as if it were written: the first of its kind may not be safe yet.
    pub(super) fn arrive(
        &mut self,
        now: Now,
        message: SharedMessage,
        confirm: Option<ConfirmTo>,
        effects: &mut Effects,
    ) -> Arrival {
        let arguments = &self.settings.arguments;
        let Some(dedup) = &mut self.dedup else {
            return Arrival::Goes(message, None);
        };
        if dedup.unread.is_some() {
            let bytes = message.size_bytes();
            if dedup.stash_bytes + bytes > STASH_BYTES_MAX {
                self.refuse(confirm, effects);
                return Arrival::Handled;
            }
            dedup.stash_bytes += bytes;
            dedup.stash.push_back((message, confirm));
            return Arrival::Handled;
        }
        let Some(scope) = Scope::of(arguments, &message) else {
            return Arrival::Goes(message, None);
        };
        let new = dedup.identify(now, scope, &message);
        if !new.as_ref().is_some_and(|new| dedup.knows(now, &new.id)) {
            return Arrival::Goes(message, new);
        }
        self.counters.deduplicated += 1;
        let Some(confirm) = confirm else {
            return Arrival::Handled;
        };
        if message.persistent && self.settings.durable {
            if self.journal.failed() {
                self.refuse(Some(confirm), effects);
                return Arrival::Handled;
            }
            let position = self.next;
            self.next = position.next();
            self.confirms.wait(position, confirm);
            self.journal.announce(true, effects);
        } else {
            self.confirms.confirm(confirm, effects);
        }
        Arrival::Handled
    }

    /// The message with a new id has a position.
    pub(super) fn remember(
        &mut self,
        now: Now,
        position: Position,
        new: NewId,
        logged: bool,
        effects: &mut Effects,
    ) {
        let ids_max = ids_max(&self.settings.arguments);
        if let Some(dedup) = &mut self.dedup {
            dedup.insert(position, new, logged);
            dedup.trim(now, ids_max);
        }
        // Also when the message itself is gone before it is written.
        if logged {
            self.journal.announce(false, effects);
        }
    }

    /// The answer to the read of ids: those of all positions below `reached`.
    pub fn handle_ids_read(
        &mut self,
        now: Now,
        ids: Vec<(Position, SharedMessage, Option<u64>)>,
        reached: Position,
        windows: &mut impl Windows,
        effects: &mut Effects,
    ) {
        let ids_max = ids_max(&self.settings.arguments);
        let Some(dedup) = &mut self.dedup else { return };
        let Some((_, until)) = dedup.unread else {
            return;
        };
        for (position, message, expires_at_ms) in ids {
            let new = NewId {
                id: message.body.clone(),
                expires_at_ms,
            };
            dedup.insert(position, new, true);
        }
        dedup.unread = (reached < until).then_some((reached, until));
        dedup.trim(now, ids_max);
        if dedup.unread.is_some() {
            return self.read_ids(effects);
        }
        let stash = std::mem::take(&mut dedup.stash);
        dedup.stash_bytes = 0;
        self.follow_deduplication();
        if self
            .dedup
            .as_ref()
            .is_some_and(|dedup| !dedup.forgotten.is_empty())
        {
            self.journal.announce(false, effects);
        }
        for (message, confirm) in stash {
            self.publish(now, message, confirm, windows, effects);
            self.advance(now, windows, effects);
        }
    }

    fn read_ids(&self, effects: &mut Effects) {
        if let Some((from, until)) = self.dedup.as_ref().and_then(|dedup| dedup.unread) {
            effects.push(Effect::LookUp {
                queue: ids_of(self.id()),
                from,
                until,
                bytes_max: READ_BYTES_MAX,
            });
        }
    }

    /// The queue goes: whoever waits is told what it would have been told a moment later.
    pub(super) fn release_stash(&mut self, effects: &mut Effects) {
        let Some(dedup) = &mut self.dedup else { return };
        for (_, confirm) in std::mem::take(&mut dedup.stash) {
            if let Some(confirm) = confirm {
                self.confirms.confirm(confirm, effects);
            }
        }
    }

    /// The log is lost, and with it the ids that were not read.
    pub(super) fn refuse_stash(&mut self, effects: &mut Effects) {
        let Some(dedup) = &mut self.dedup else { return };
        dedup.unread = None;
        for (_, confirm) in std::mem::take(&mut dedup.stash) {
            self.refuse(confirm, effects);
        }
    }
}

/// An id as the log keeps it: a message with the id as its body.
fn id_message(id: &Bytes) -> Message {
    Message {
        address: Address::new(Name::default(), Bytes::new()),
        properties: Bytes::from_static(&[0, 0]),
        body: id.clone(),
        persistent: true,
        priority: 0,
        expiration_ms: None,
        extra_routing_keys: None,
        deaths: None,
    }
}

/// Type and value of a header, so that 1 and "1" differ, and the exchange if it counts.
fn encode(value: &Value, exchange: Option<&Name>) -> Bytes {
    let text = if matches!(value, Value::Array(_) | Value::Table(_)) {
        format!("{value:?}")
    } else {
        value_text(value)
    };
    // Integers are equal by value, whatever their width.
    let kind = if value.as_int().is_some() {
        "int"
    } else {
        value.type_name()
    };
    let id = match exchange {
        None => format!("{kind}:{text}"),
        Some(exchange) => format!("{kind}@{}:{exchange}:{text}", exchange.len()),
    };
    if id.len() <= ID_BYTES_MAX {
        return Bytes::from(id);
    }
    Bytes::copy_from_slice(&Sha256::digest(id.as_bytes()))
}
