//! The queue, classic or quorum: one machine that holds messages, serves consumers and says what the log must know.
//!
//! It decides and does nothing else: commands and the time come in, [`Effect`]s go out, and the shard that runs it moves bytes.
//! It does not route, does not know who may do what, and does not know connections beyond their id.
//!
//! ```text
//!   Publish ──▶ a consumer has credit and nothing waits ────────────▶ Deliver, unacked
//!      │                                                              ▲         │
//!      └──▶ ready (head · cold · tail) ──▶ next in line ──────────────┘         │
//!                   ▲                                                           │
//!                   └──────────── requeue, return ◀─────────────────────────────┤
//!           dropped, dead-lettered ◀──── expiry, length limit, reject ◀─────────┤
//!                                                                    acked ◀────┘
//! ```
//!
//! A persistent message in a durable queue is written to the log: the queue asks for a batch once
//! ([`Effect::RecordsWaiting`]), the shard calls [`Queue::collect_records`] when the log is free, and what was settled by then is never
//! written. Confirms wait for [`Queue::handle_durable`]; deliveries never do.
//!
//! A shard calls [`Queue::flush`] at the end of each turn in which it touched the queue, and [`Queue::handle_timeout`] once after
//! it made the machine.
//!
//! Reading order: [`mod@self`], `expiry`, `limits`, `intake`, `ready`, `consumers`, `unacked`, `attempts`, `retry`, `confirms`, `journal`,
//! `entry`, `browse`.
//!
//! Limits: RAM for ready payloads [`READY_RAM_BYTES_MAX`]; one read of at most [`LOAD_BYTES_MAX`] at a time. What is unacked is limited by
//! prefetch counts and connection windows, what is ready by the queue's length limits and the node's disk alarm.

mod attempts;
mod browse;
mod capacity;
mod confirms;
mod consumers;
mod counters;
mod dedup;
mod entry;
mod expiry;
mod intake;
mod journal;
mod limits;
mod ready;
mod replay;
mod retry;
mod timeout;
mod unacked;
mod undead;

pub use attempts::{attempts_of, owner_of_attempts};
pub(crate) use confirms::Confirms;
pub use consumers::Consumer;
pub use counters::Counters;
pub use dedup::{ID_BYTES_MAX, ReadHeaders, STASH_BYTES_MAX, ids_of, owner_of_ids};
pub use entry::detach_for;
pub(crate) use entry::{detach, ram_bytes};
pub use replay::{owner_of_replay, replay_of};

use crate::Error;
use crate::command::{
    ChannelId, ConfirmTo, ConsumerId, ConsumerSettings, Outcome, Positions, QueueCommand, Reply,
};
use crate::effect::{DeadLetterReason, Effect, Effects};
use crate::error::ResourceKind;
use crate::message::SharedMessage;
use crate::messages::{Messages, Run};
use crate::queue_arguments::{Overflow, QueueArguments, QueueType};
use attempts::AttemptsOf;
use base::{ConnectionId, Name, Now, Position, QueueId, QueueRef};
use browse::Browses;
use capacity::Capacity;
use consumers::{ConsumerKey, Consumers, Taker};
use dedup::{Arrival, Dedup};
use entry::{Deadline, Entry};
use intake::Intake;
use journal::Journal;
use ready::{Front, Load, Ready};
use replay::Replay;
use retry::Retries;
use std::collections::VecDeque;
use std::time::Duration;
use timeout::Leases;
use unacked::{Delivered, Unacked};
use undead::Undead;

/// RAM that a queue's ready payloads may take before they go to the store and leave; [`Queue::evict`] can lower it.
pub const READY_RAM_BYTES_MAX: usize = 4 << 20;

/// No queue is asked to live with less than this.
pub const READY_RAM_BYTES_MIN: usize = 64 << 10;

/// Bytes asked for in one read from the store.
pub const LOAD_BYTES_MAX: usize = 1 << 20;

/// Messages that one turn may drop: more wait for the next one, so that a million that expire together stop nobody else.
pub const DROPS_MAX: u32 = 1024;

/// Bytes of dead letters that one turn may make.
pub const DEAD_LETTER_BYTES_MAX: usize = 4 << 20;

/// What a queue is. It does not change while the queue lives.
#[derive(Clone, Debug)]
pub struct QueueSettings {
    /// Incarnation and owner.
    pub queue: QueueRef,
    /// The vhost, for error texts.
    pub vhost: Name,
    /// The name, for error texts.
    pub name: Name,
    /// Survives a restart; its persistent messages are written to the log.
    pub durable: bool,
    /// Goes when its last consumer leaves.
    pub auto_delete: bool,
    /// What its arguments ask for.
    pub arguments: QueueArguments,
}

/// What the store holds of a queue: what recovery found, or what is left of a machine that was dropped from RAM.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// Messages.
    pub messages: u64,
    /// Bytes of their bodies.
    pub bytes: u64,
    /// `bytes` is only nearly right: what the log keeps with the bodies counts as well.
    pub is_estimate: bool,
    /// None of them is below this position.
    pub first: Position,
    /// The next position to give out; higher than any that was.
    pub next: Position,
    /// Messages below were delivered before and go out marked redelivered.
    pub delivered_until: Position,
}

/// How much connections will take: a connection whose socket is slow must not be sent the whole backlog.
pub trait Windows {
    /// Takes `bytes` from the connection's window, if it is open at all; it may overshoot by one message or one run.
    /// False: closed, and the queue will hear [`Queue::handle_window_open`].
    fn take(&mut self, connection: ConnectionId, queue: QueueId, bytes: usize) -> bool;
}

/// Where a queue's records go on their way to the log.
pub trait RecordSink {
    /// A message to keep. `transient`: only to save RAM, recovery drops it. `expires_at_ms`: wall clock, milliseconds.
    fn message(
        &mut self,
        queue: QueueId,
        position: Position,
        transient: bool,
        expires_at_ms: Option<u64>,
        message: &SharedMessage,
    );
    /// All messages in `from..until` are settled.
    fn settled(&mut self, queue: QueueId, from: Position, until: Position);
    /// Messages below `until` are marked redelivered after a restart.
    fn delivered_until(&mut self, queue: QueueId, until: Position);
}

/// How a message leaves without having been asked for.
#[derive(Clone, Copy, Debug)]
enum Drop {
    Expired,
    MaxLength,
    /// The consumer has failed with it, or just does not want it.
    Rejected {
        failed: bool,
    },
    DeliveryLimit,
}

/// A message that was not acknowledged by then is measured no more: it may have left in another way.
const SAMPLE_AGE_MAX: Duration = Duration::from_mins(10);

/// A queue.
#[derive(Debug)]
pub struct Queue {
    settings: Box<QueueSettings>,
    next: Position,
    ready: Ready,
    unacked: Unacked,
    consumers: Consumers,
    confirms: Confirms,
    journal: Journal,
    intake: Intake,
    /// Gets that wait until the head is loaded.
    gets: VecDeque<(ChannelId, bool)>,
    load: Option<Load>,
    ram_limit: usize,
    /// Some ready message may expire.
    expiring: bool,
    /// Last moment at which the queue was in use, for `x-expires`.
    last_used: Option<Duration>,
    /// The wake-up that the shard was asked for last.
    wake_at: Option<Duration>,
    /// The clocks when a deadline was last set, to put deadlines into records.
    clocks: Now,
    deleting: bool,
    /// Notes of what happened before the restart are being read; commands wait.
    is_starting: bool,
    /// Nothing is handed out until an operator says so.
    paused: bool,
    /// Operators who look at messages, if there were any.
    browses: Option<Box<Browses>>,
    /// The ids of messages, if duplicates are dropped.
    dedup: Option<Box<Dedup>>,
    read_headers: Option<ReadHeaders>,
    /// What consumers have settled, if that is kept.
    replay: Option<Box<Replay>>,
    /// What this turn may still drop.
    drops_left: u32,
    dead_letter_bytes_left: usize,
    /// The last front that was looked at had expired: those behind it probably have, too.
    in_expired_run: bool,
    /// Of a quorum queue: how often messages came back.
    attempts: Option<Box<AttemptsOf>>,
    /// Of a quorum queue: messages that came back and wait to be tried again, if there were any.
    retries: Option<Box<Retries>>,
    /// Of a quorum queue: some messages, ready or out, may be of another level than most.
    has_other_levels: bool,
    /// Messages that died and whose new queues have not all got them.
    undead: Undead,
    /// How long messages are out, if that is limited.
    leases: Option<Box<Leases>>,
    capacity: Capacity,
    counters: Counters,
    /// The message whose time until its ack is measured, and when it entered.
    sample: Option<(Position, Duration)>,
    /// Whoever keeps figures of queues is going to hear that this one's have changed.
    is_noted: bool,
}

/// Getters.
impl Queue {
    /// A machine for a queue, with what the store holds of it.
    pub fn new(settings: QueueSettings, stored: Stored) -> Self {
        let id = settings.queue.id;
        // The log may know of deliveries at positions whose messages it never had: those are not given out again.
        let next = stored.next.max(stored.delivered_until);
        let is_quorum = settings.arguments.queue_type == QueueType::Quorum;
        // Nobody knows which levels there are among those that are stored.
        let with_levels =
            settings.arguments.max_priority.is_some() || (is_quorum && stored.messages > 0);
        let ready = Ready::new(&stored, with_levels);
        Self {
            next,
            unacked: Unacked::default(),
            consumers: Consumers::new(settings.arguments.single_active_consumer, is_quorum),
            confirms: Confirms::default(),
            journal: Journal::new(id, next, stored.delivered_until),
            intake: Intake::default(),
            gets: VecDeque::new(),
            load: None,
            ram_limit: READY_RAM_BYTES_MAX,
            expiring: !ready.is_empty() || settings.arguments.message_ttl_ms.is_some(),
            last_used: None,
            wake_at: None,
            clocks: Now::default(),
            deleting: false,
            is_starting: false,
            paused: false,
            browses: None,
            dedup: None,
            read_headers: None,
            replay: None,
            drops_left: DROPS_MAX,
            dead_letter_bytes_left: DEAD_LETTER_BYTES_MAX,
            in_expired_run: false,
            attempts: is_quorum.then(Box::default),
            retries: None,
            has_other_levels: false,
            undead: Undead::default(),
            leases: is_quorum.then(Box::default),
            capacity: Capacity::default(),
            counters: Counters {
                recovered: ready.count(),
                ..Counters::default()
            },
            sample: None,
            is_noted: false,
            ready,
            settings: Box::new(settings),
        }
    }

    /// What the queue is.
    pub fn settings(&self) -> &QueueSettings {
        &self.settings
    }

    /// Messages that wait.
    pub fn ready_count(&self) -> u64 {
        self.ready.count()
    }

    /// Bytes of the bodies of the messages that wait.
    pub fn ready_bytes(&self) -> u64 {
        self.ready.bytes()
    }

    /// Messages that were delivered and not settled.
    pub fn unacked_count(&self) -> u64 {
        self.unacked.len() as u64
    }

    /// Messages that died and stay until the queues that they go to have them (at-least-once dead lettering).
    pub fn undead_count(&self) -> u64 {
        self.undead.len() as u64
    }

    /// Bytes of their bodies.
    pub fn undead_bytes(&self) -> u64 {
        self.undead.body_bytes()
    }

    /// How many messages wait of each level of priority, lowest first, as far as that is known. Empty while nothing asks for levels.
    pub fn level_counts(&self) -> impl Iterator<Item = (u8, u64)> {
        self.ready.level_counts()
    }

    /// Messages wait in levels, and [`Queue::level_counts`] does not know all of them.
    pub fn has_unknown_levels(&self) -> bool {
        self.ready.has_unknown_levels()
    }

    /// More was to be dropped than a turn may, and the rest waits for the next one.
    pub fn is_dropping(&self) -> bool {
        self.drops_left == 0 || self.dead_letter_bytes_left == 0
    }

    /// What dies here goes to an exchange.
    pub fn has_dead_letters(&self) -> bool {
        self.settings.arguments.dead_letter_exchange.is_some()
    }

    /// Consumers.
    pub fn consumer_count(&self) -> u32 {
        u32::try_from(self.consumers.len()).unwrap_or(u32::MAX)
    }

    /// The consumers, in no particular order.
    pub fn consumers(&self) -> impl Iterator<Item = &Consumer> {
        self.consumers.iter()
    }

    /// The share of the time, from 0 to 1, in which no message had to wait for a consumer, lately; 0 without consumers
    /// (`consumer_capacity`).
    pub fn consumer_capacity(&self, now: Now) -> f64 {
        if self.consumers.is_empty() {
            return 0.0;
        }
        self.capacity.share(now.monotonic)
    }

    /// Whether a consumer gets messages; false while it waits behind a single active consumer.
    pub fn is_active_consumer(&self, consumer: ConsumerId) -> bool {
        self.consumers.is_active(consumer)
    }

    /// RAM that message payloads take, ready and unacked.
    pub fn ram_bytes(&self) -> usize {
        let replay = self.replay.as_ref().map_or(0, |replay| replay.ram_bytes());
        let retries = self
            .retries
            .as_ref()
            .map_or(0, |retries| retries.ram_bytes());
        let (ready, unacked) = (self.ready.ram_bytes(), self.unacked.ram_bytes());
        ready + unacked + self.undead.ram_bytes() + replay + retries
    }

    /// The part of it that unacked messages take.
    pub fn unacked_ram_bytes(&self) -> usize {
        self.unacked.ram_bytes()
    }

    /// What happened so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Notes that figures of this queue may have changed. True if that was not noted yet.
    #[inline]
    pub fn note_change(&mut self) -> bool {
        !std::mem::replace(&mut self.is_noted, true)
    }

    /// The figures are known again as they are now.
    pub fn forget_change(&mut self) {
        self.is_noted = false;
    }

    /// Whether the machine may be dropped and made again from [`Queue::stored`]: nothing in it is not in the store as well.
    pub fn is_idle(&self) -> bool {
        let quiet = self.consumers.is_empty()
            && self.unacked.is_empty()
            && self.undead.is_empty()
            && self
                .attempts
                .as_ref()
                .is_none_or(|attempts| attempts.is_empty())
            && self
                .retries
                .as_ref()
                .is_none_or(|retries| retries.is_empty())
            && self.confirms.is_empty()
            && self.gets.is_empty()
            && self.load.is_none()
            && self.journal.is_quiet()
            && !self.is_browsed()
            && self.intake.is_idle()
            && self.dedup.is_none()
            && self.replay.is_none()
            && !self.deleting;
        let timeless = self.settings.arguments.expires_ms.is_none()
            && (self.ready.is_empty() || !self.expiring);
        quiet
            && timeless
            && self
                .ready
                .iter_from(Position(0))
                .all(|entry| self.journal.is_written(entry))
    }

    /// What a machine made later has to start from. Only when [`Queue::is_idle`].
    pub fn stored(&self) -> Stored {
        Stored {
            messages: self.ready.count(),
            bytes: self.ready.bytes(),
            is_estimate: self.ready.estimated_bytes() > 0,
            first: self.ready.first(),
            next: self.next,
            delivered_until: self.journal.delivered_until(),
        }
    }

    /// The level of all messages while levels do not count.
    fn flat_level(&self) -> u8 {
        if self.attempts.is_some() {
            LEVEL_DEFAULT
        } else {
            0
        }
    }

    fn id(&self) -> QueueId {
        self.settings.queue.id
    }

    fn not_found(&self) -> Error {
        Error::NotFound {
            kind: ResourceKind::Queue,
            name: self.settings.name.clone(),
            vhost: self.settings.vhost.clone(),
        }
    }
}

/// What the outside did.
impl Queue {
    /// Carries out a command. Confirms may be held back until [`Queue::flush`].
    #[inline]
    pub fn apply(
        &mut self,
        now: Now,
        command: QueueCommand,
        windows: &mut impl Windows,
        effects: &mut Effects,
    ) {
        if self.deleting {
            return self.apply_deleted(command, effects);
        }
        if self.is_starting {
            return self.wait_for_notes(command);
        }
        match command {
            QueueCommand::Publish { messages, confirm } => {
                return self.publish_all(now, messages, confirm, windows, effects);
            }
            // Delay stores take these, and no store has the id of a queue.
            QueueCommand::Delay(_) => {}
            QueueCommand::Retry { message } => self.enter_again(now, message, effects),
            QueueCommand::Settle {
                channel,
                positions,
                outcome,
            } => self.settle(now, channel, &positions, outcome, effects),
            QueueCommand::AskCredit { channel, spent } => {
                self.intake.ask(channel, spent);
            }
            QueueCommand::Consume { consumer, settings } => {
                self.consume(now, consumer, settings, effects)
            }
            QueueCommand::Cancel { consumer, reply } => self.cancel(now, consumer, reply, effects),
            QueueCommand::Get { channel, no_ack } => {
                self.last_used = Some(now.monotonic);
                self.gets.push_back((channel, no_ack));
            }
            QueueCommand::Resume { consumer } => self.consumers.resume(consumer),
            QueueCommand::Purge { channel } => self.purge(now, channel, effects),
            QueueCommand::Status { channel } => self.status(now, channel, effects),
            QueueCommand::Barrier { channel } => self.journal.barrier(channel, effects),
            QueueCommand::Operate { channel, operation } => {
                self.operate(now, channel, *operation, effects);
            }
            QueueCommand::Delete {
                channel,
                if_unused,
                if_empty,
            } => {
                self.delete(now, channel, if_unused, if_empty, effects);
            }
        }
        self.advance(now, windows, effects);
    }

    /// Sends the confirms that were held back to be joined, gives credit, and looks whether messages wait for consumers. To be
    /// called at the end of each turn.
    #[inline]
    pub fn flush(&mut self, now: Now, effects: &mut Effects) {
        self.drops_left = DROPS_MAX;
        self.dead_letter_bytes_left = DEAD_LETTER_BYTES_MAX;
        self.flush_confirms(effects);
        if !self.intake.is_idle() {
            self.give_credit(now, effects);
        }
        let is_starved = !self.ready.is_empty() && !self.consumers.has_turns();
        self.capacity.look(now.monotonic, is_starved);
    }

    fn flush_confirms(&mut self, effects: &mut Effects) {
        if !self.confirms.is_empty() {
            self.confirms.flush(effects);
        }
    }

    /// Gives the sink all that the log must know: messages that live and were not given before (ascending, but requeued and
    /// unacked ones before ready ones), settlements of those that were, and how far deliveries went. `ticket` covers
    /// all positions given out so far; tickets ascend.
    pub fn collect_records(&mut self, ticket: u64, sink: &mut impl RecordSink) {
        if self.journal.failed() {
            return;
        }
        let (queue, clocks) = (self.id(), self.clocks);
        let collected_until = self.journal.collected_until();
        if collected_until < self.next {
            let unacked = self
                .unacked
                .iter_from(collected_until)
                .map(|delivered| &delivered.entry);
            for entry in unacked
                .chain(self.undead.iter_from(collected_until))
                .chain(
                    self.retries
                        .iter()
                        .flat_map(|retries| retries.iter_from(collected_until)),
                )
                .chain(self.ready.iter_from(collected_until))
                .filter(|entry| entry.logged)
            {
                let message = entry
                    .message
                    .as_ref()
                    .expect("what was never written cannot be evicted");
                sink.message(
                    queue,
                    entry.position,
                    false,
                    entry.deadline.to_wall_ms(clocks),
                    message,
                );
            }
        }
        if self.journal.spill_wanted() {
            self.ready
                .for_each_from(self.journal.spilled_until(), |entry| {
                    if let Some(message) = entry
                        .message
                        .as_ref()
                        .filter(|_| !entry.logged && !entry.spilled)
                    {
                        sink.message(
                            queue,
                            entry.position,
                            true,
                            entry.deadline.to_wall_ms(clocks),
                            message,
                        );
                        entry.spilled = true;
                    }
                });
        }
        // If nothing that was ever delivered can come back, nothing needs the mark.
        let came_out = !self.unacked.is_empty()
            || !self.undead.is_empty()
            || self.delayed_count() > 0
            || self.ready.has_requeued()
            || self.ready.has_levels()
            || self.ready.first() < self.journal.delivered_until();
        if let Some(dedup) = &mut self.dedup {
            dedup.collect(ids_of(queue), self.next, sink);
        }
        if let Some(attempts) = &mut self.attempts {
            attempts.collect(queue, sink);
        }
        if let Some(replay) = &mut self.replay {
            let deadline_of = |entry: &Entry| entry.deadline.to_wall_ms(clocks);
            replay.collect(queue, ticket, collected_until, deadline_of, sink);
        }
        self.journal
            .collect(ticket, self.next, self.settings.durable && came_out, sink);
    }

    /// The log has all batches up to `ticket` on stable storage. Tickets that covered nothing of this queue do no harm.
    pub fn handle_durable(
        &mut self,
        now: Now,
        ticket: u64,
        windows: &mut impl Windows,
        effects: &mut Effects,
    ) {
        let until = self.journal.durable(ticket, effects);
        if let Some(replay) = &mut self.replay {
            replay.durable(ticket);
            if self.load.is_none() {
                replay.nothing_is_read();
            }
        }
        self.confirms.release_until(until, effects);
        self.flush_confirms(effects);
        self.relieve(effects);
        self.advance(now, windows, effects);
    }

    /// The log is lost: nobody who waits gets a confirm or passes a barrier, and no durable publish with a confirm is taken from
    /// now on.
    pub fn handle_storage_failed(&mut self, effects: &mut Effects) {
        self.journal.fail(effects);
        self.confirms.refuse_waiting(effects);
        self.refuse_stash(effects);
        self.flush_confirms(effects);
        self.give_all_credit(effects);
    }

    /// The answer to [`Effect::Load`]: all live messages of `from..reached`, ascending, with their wall-clock expiry.
    pub fn handle_loaded(
        &mut self,
        now: Now,
        messages: Vec<(Position, SharedMessage, Option<u64>)>,
        reached: Position,
        windows: &mut impl Windows,
        effects: &mut Effects,
    ) {
        let Some(load) = self.load.take() else { return };
        self.clocks = now;
        self.undead_read(&messages, (load.from, reached.min(load.until)), effects);
        let delivered_until = self.journal.delivered_until();
        let arguments = &self.settings.arguments;
        let mut found_waiting = Vec::new();
        if let Some(attempts) = &mut self.attempts {
            let replay = self.replay.as_deref();
            for (position, message, _) in &messages {
                if replay.is_some_and(|replay| replay.keeps(*position)) {
                    continue;
                }
                let level = level(arguments, message);
                match attempts.found(*position) {
                    0 => {}
                    due_at_ms => found_waiting.push((level, *position, due_at_ms)),
                }
                attempts.note_before(*position, entry::failed_before(message));
                self.has_other_levels |= level != LEVEL_DEFAULT;
            }
            attempts.all_found(load.from, reached.min(load.until));
        }
        let attempts = self.attempts.as_deref();
        let came_back = |position| attempts.is_some_and(|attempts| attempts.knows(position));
        let replay = self.replay.as_deref();
        let (durable, is_quorum) = (self.settings.durable, self.attempts.is_some());
        let entries = messages
            .into_iter()
            .filter(|(position, ..)| replay.is_none_or(|replay| !replay.keeps(*position)))
            .map(|(position, message, expires_at_ms)| Entry {
                position,
                deadline: Deadline::from_wall(now, expires_at_ms),
                body_bytes: entry::body_bytes(&message),
                level: level(arguments, &message),
                redelivered: position < delivered_until
                    || entry::failed_before(&message) > 0
                    || came_back(position),
                // A transient one was there only to save RAM.
                logged: durable && (message.persistent || is_quorum),
                spilled: !(durable && (message.persistent || is_quorum)),
                message: Some(message),
            });
        let expected = self.ready.count();
        self.ready.loaded(load, reached, entries);
        if let Some(replay) = &mut self.replay {
            replay.nothing_is_read();
        }
        self.counters.lost += expected.saturating_sub(self.ready.count());
        self.counters.recovered += self.ready.count().saturating_sub(expected);
        self.wait_on(now, found_waiting);
        self.forget_notes(effects);
        self.read_undead(effects);
        if !self.deleting {
            self.wake_to_drop(now, effects);
            self.advance(now, windows, effects);
            self.serve_browses(now, effects);
        }
    }

    /// The time that [`Effect::Wake`] named has come, or the machine is new.
    pub fn handle_timeout(&mut self, now: Now, windows: &mut impl Windows, effects: &mut Effects) {
        self.wake_at = None;
        self.take_back_overdue(now, effects);
        self.try_undead_again(now);
        self.release_due(now, effects);
        self.publish_undead(effects);
        if self.is_unused_too_long(now) && !self.deleting {
            self.deleting = true;
            effects.push(Effect::Delete {
                queue: self.id(),
                reply: None,
            });
        }
        self.wake_to_drop(now, effects);
        self.advance(now, windows, effects);
    }

    /// Policies ask for something else now; `arguments` are the queue's own with theirs. All of it holds from now on, but a message
    /// that has come keeps the time to live that it came with. Neither priorities nor the number of active consumers may differ.
    pub fn reconfigure(
        &mut self,
        now: Now,
        arguments: QueueArguments,
        windows: &mut impl Windows,
        effects: &mut Effects,
    ) {
        if arguments.expires_ms != self.settings.arguments.expires_ms {
            // Nobody could know before that the queue has to be used.
            self.last_used = Some(now.monotonic);
        }
        if let Some(leases) = &mut self.leases {
            leases.check_soon(now);
        }
        self.settings.arguments = arguments;
        self.follow_deduplication();
        self.follow_replay_window();
        if !self.deleting {
            self.advance(now, windows, effects);
        }
    }

    /// The connection takes bytes again.
    pub fn handle_window_open(
        &mut self,
        now: Now,
        connection: ConnectionId,
        windows: &mut impl Windows,
        effects: &mut Effects,
    ) {
        self.consumers.open_window(connection);
        self.advance(now, windows, effects);
    }

    /// The queue was deleted from the metadata; the machine is dropped after this.
    /// Waiting confirms are given: the messages are as gone as they would be a moment later (as RabbitMQ does).
    pub fn handle_deleted(&mut self, effects: &mut Effects) {
        self.deleting = true;
        for command in self.take_waiting_commands() {
            self.apply_deleted(command, effects);
        }
        for consumer in self.consumers.drain() {
            let reply = Reply::ConsumerCancelled {
                consumer: consumer.index,
            };
            effects.push(Effect::Reply {
                to: consumer.channel,
                reply,
            });
        }
        for (channel, _) in std::mem::take(&mut self.gets) {
            effects.push(Effect::Reply {
                to: channel,
                reply: Reply::Failed(self.not_found().into()),
            });
        }
        self.refuse_browses(effects);
        self.release_stash(effects);
        self.confirms.release_until(self.next, effects);
        self.flush_confirms(effects);
        self.give_all_credit(effects);
        effects.extend(self.take_barriers().map(|to| Effect::Reply {
            to,
            reply: Reply::Barrier(Ok(())),
        }));
    }

    /// Takes the channels that wait for a barrier from a queue that is about to be deleted. The caller answers them, when nothing
    /// of the queue can come back; those it leaves are answered by [`Queue::handle_deleted`].
    pub fn take_barriers(&mut self) -> impl Iterator<Item = ChannelId> + use<> {
        self.journal.take_barriers()
    }

    /// Sets how much RAM ready payloads may take, between [`READY_RAM_BYTES_MIN`] and [`READY_RAM_BYTES_MAX`], and brings them there:
    /// at once as far as they are written, the rest after the next batch.
    pub fn evict(&mut self, target_bytes: usize, effects: &mut Effects) {
        self.ram_limit = target_bytes.clamp(READY_RAM_BYTES_MIN, READY_RAM_BYTES_MAX);
        self.relieve(effects);
    }
}

/// Commands.
impl Queue {
    #[inline]
    fn publish_all(
        &mut self,
        now: Now,
        messages: Messages,
        mut confirm: Option<ConfirmTo>,
        windows: &mut impl Windows,
        effects: &mut Effects,
    ) {
        let listed = match messages {
            Messages::Listed(listed) => listed,
            Messages::Run(run) => match self.pass_on(run, confirm, windows, effects) {
                Ok(()) => return self.advance(now, windows, effects),
                Err(run) => run.messages().collect(),
            },
        };
        for message in listed {
            self.publish(now, message, confirm, windows, effects);
            self.advance(now, windows, effects);
            confirm = confirm.map(ConfirmTo::next);
        }
    }

    /// Hands a run on to the consumer that would get each message of it and acknowledge none: to those, [`Self::publish`] would
    /// do just this, one by one. Whatever else a queue can be asked to do with a message it does in `publish`.
    ///
    /// # Errors
    /// It cannot be done: the run comes back, and nothing has happened.
    #[inline]
    fn pass_on(
        &mut self,
        run: Box<Run>,
        confirm: Option<ConfirmTo>,
        windows: &mut impl Windows,
        effects: &mut Effects,
    ) -> Result<(), Box<Run>> {
        let is_plain = confirm.is_none()
            && self.dedup.is_none()
            && self.attempts.is_none()
            && self.replay.is_none()
            && self.settings.arguments.overflow == Overflow::DropHead;
        if !is_plain || !self.is_passed_by() {
            return Err(run);
        }
        let taker = self
            .consumers
            .take_all(self.settings.queue.id, run.size_bytes(), windows);
        let Some(taker) = taker else {
            return Err(run);
        };
        let (position, count) = (self.next, run.len() as u64);
        self.next = Position(position.0 + count);
        self.ready.pass(self.next);
        self.counters.published += count;
        self.counters.delivered += count;
        self.counters.auto_acked += count;
        effects.push(Effect::Reply {
            to: taker.channel,
            reply: Reply::Deliver {
                consumer: taker.index,
                queue: self.settings.queue,
                position,
                messages: Messages::Run(run),
                redelivered: false,
            },
        });
        Ok(())
    }

    /// A new message may go to a consumer at once: nothing waits before it, and nothing holds the queue up.
    #[inline]
    fn is_passed_by(&self) -> bool {
        self.ready.is_empty() && self.gets.is_empty() && !self.undead.is_full() && !self.paused
    }

    #[inline]
    fn publish(
        &mut self,
        now: Now,
        message: SharedMessage,
        confirm: Option<ConfirmTo>,
        windows: &mut impl Windows,
        effects: &mut Effects,
    ) {
        let (mut message, mut id) = (message, None);
        if self.dedup.is_some() {
            match self.arrive(now, message, confirm, effects) {
                Arrival::Goes(arrived, new) => (message, id) = (arrived, new),
                Arrival::Handled => return,
            }
        }
        let logged = self.settings.durable && (message.persistent || self.attempts.is_some());
        if logged && confirm.is_some() && self.journal.failed() {
            return self.refuse(confirm, effects);
        }
        if self.is_full_for(&message) {
            if self.settings.arguments.overflow == Overflow::RejectPublishDlx {
                let failed_before = entry::failed_before(&message);
                self.dead_letter(
                    message,
                    DeadLetterReason::MaxLength,
                    failed_before,
                    None,
                    effects,
                );
            }
            return self.refuse(confirm, effects);
        }
        let position = self.next;
        self.next = position.next();
        self.counters.published += 1;
        if self
            .sample
            .is_none_or(|(_, since)| now.monotonic > since + SAMPLE_AGE_MAX)
        {
            self.sample = Some((position, now.monotonic));
        }
        if let Some(id) = id {
            self.remember(now, position, id, logged, effects);
        }
        let mut entry = Entry {
            position,
            deadline: self.deadline(now, &message),
            body_bytes: entry::body_bytes(&message),
            level: level(&self.settings.arguments, &message),
            logged,
            spilled: false,
            redelivered: false,
            message: Some(message),
        };
        if message_died(&entry) {
            self.note_failed_before(&mut entry);
        }
        if entry.level != LEVEL_DEFAULT && self.attempts.is_some() {
            self.ready.make_levels();
            self.has_other_levels = true;
        }
        let taker = if self.is_passed_by() {
            self.take_consumer(&entry, windows)
        } else {
            None
        };
        let settled = taker.is_some_and(|taker| taker.no_ack) && self.replay.is_none();
        if logged && !(settled && self.confirms.nobody_waits()) {
            self.await_log(position, confirm, settled, effects);
        } else if let Some(confirm) = confirm {
            self.confirms.confirm(confirm, effects);
        }
        match taker {
            Some(taker) => {
                self.ready.pass(self.next);
                self.deliver(now, entry, taker, effects);
            }
            None => self.enqueue(entry, effects),
        }
    }

    /// The log will have the message, or at least what came before it, before its confirm is given.
    #[inline]
    fn await_log(
        &mut self,
        position: Position,
        confirm: Option<ConfirmTo>,
        settled: bool,
        effects: &mut Effects,
    ) {
        if let Some(confirm) = confirm {
            self.confirms.wait(position, confirm);
            self.journal.announce(true, effects);
        } else if !settled {
            self.journal.announce(false, effects);
        }
    }

    #[inline]
    fn enqueue(&mut self, mut entry: Entry, effects: &mut Effects) {
        entry.detach();
        self.expiring |= entry.deadline != Deadline::NEVER;
        self.ready.push(entry);
        if self.ready.ram_bytes() > self.ram_limit {
            self.journal.want_spill(self.next, effects);
        }
    }

    fn refuse(&mut self, confirm: Option<ConfirmTo>, effects: &mut Effects) {
        self.counters.refused += 1;
        if let Some(confirm) = confirm {
            self.confirms.nack(confirm, effects);
        }
    }

    fn settle(
        &mut self,
        now: Now,
        channel: ChannelId,
        positions: &Positions,
        outcome: Outcome,
        effects: &mut Effects,
    ) {
        match outcome {
            Outcome::Ack => {
                for &position in positions {
                    let Some(delivered) = self.unacked.remove(position, channel) else {
                        continue;
                    };
                    self.consumers.settled(delivered.consumer);
                    self.counters.acked += 1;
                    if let Some((sampled, since)) = self.sample
                        && sampled == position
                    {
                        self.sample = None;
                        let after = now.monotonic.saturating_sub(since);
                        effects.push(Effect::Acknowledged { after });
                    }
                    self.used_up(now, delivered.entry, effects);
                }
            }
            Outcome::Discard | Outcome::Reject => {
                let failed = outcome == Outcome::Reject;
                for &position in positions {
                    let Some(delivered) = self.unacked.remove(position, channel) else {
                        continue;
                    };
                    self.consumers.settled(delivered.consumer);
                    self.drop_entry(now, delivered.entry, Drop::Rejected { failed }, effects);
                }
            }
            Outcome::Requeue | Outcome::Fail
                if self.attempts.is_none()
                    && self.settings.arguments.delayed_retry.delays(outcome) =>
            {
                self.retry_later(channel, positions, outcome, effects);
            }
            Outcome::Requeue | Outcome::Fail | Outcome::Return => {
                // From the highest down, so that each touches the frontier when it comes back.
                for &position in positions.iter().rev() {
                    let Some(mut delivered) = self.unacked.remove(position, channel) else {
                        continue;
                    };
                    self.consumers.settled(delivered.consumer);
                    if outcome == Outcome::Return {
                        self.consumers.pause(delivered.consumer);
                        self.counters.requeued += 1;
                        self.put_back(delivered.entry);
                    } else {
                        delivered.entry.redelivered = true;
                        self.come_back(now, delivered.entry, outcome, effects);
                    }
                }
                self.relieve(effects);
            }
        }
    }

    /// A message that was out comes back. If it did too often it dies, and it may have to wait.
    fn come_back(&mut self, now: Now, entry: Entry, outcome: Outcome, effects: &mut Effects) {
        let failed = outcome == Outcome::Fail;
        let mut wait_ms = None;
        if let Some(attempts) = self.came_back(entry.position, failed, effects) {
            if self.is_tried_too_often(attempts) {
                return self.drop_entry(now, entry, Drop::DeliveryLimit, effects);
            }
            wait_ms = self.retry_wait_ms(entry.position, outcome, attempts);
        }
        self.counters.requeued += 1;
        match wait_ms {
            Some(wait_ms) => self.try_later(now, entry, wait_ms),
            None => self.put_back(entry),
        }
    }

    /// Delivered messages that come back leave the queue for a while, or for good: that is the shard's matter.
    fn retry_later(
        &mut self,
        channel: ChannelId,
        positions: &Positions,
        outcome: Outcome,
        effects: &mut Effects,
    ) {
        for &position in positions {
            let Some(mut delivered) = self.unacked.remove(position, channel) else {
                continue;
            };
            self.consumers.settled(delivered.consumer);
            let Some(message) = delivered.entry.message.take() else {
                // Its payload left RAM before the queue was told to retry: it comes back at once.
                delivered.entry.redelivered = true;
                self.counters.requeued += 1;
                self.put_back(delivered.entry);
                continue;
            };
            self.counters.retried += 1;
            effects.push(Effect::Retry {
                queue: self.id(),
                position,
                message,
                outcome,
            });
            self.forget(&delivered.entry, effects);
        }
    }

    /// A message comes back that was to be tried again later.
    fn enter_again(&mut self, now: Now, message: SharedMessage, effects: &mut Effects) {
        let logged = self.settings.durable && (message.persistent || self.attempts.is_some());
        let position = self.next;
        self.next = position.next();
        self.counters.published += 1;
        let entry = Entry {
            position,
            deadline: self.deadline(now, &message),
            body_bytes: entry::body_bytes(&message),
            level: level(&self.settings.arguments, &message),
            logged,
            spilled: false,
            redelivered: true,
            message: Some(message),
        };
        if entry.level != LEVEL_DEFAULT && self.attempts.is_some() {
            self.ready.make_levels();
            self.has_other_levels = true;
        }
        if logged {
            self.journal.announce(false, effects);
        }
        self.enqueue(entry, effects);
    }

    /// A message that was out waits again.
    fn put_back(&mut self, entry: Entry) {
        self.expiring |= entry.deadline != Deadline::NEVER;
        let may_be_cold = self.may_be_cold(&entry);
        self.ready.restore(entry, may_be_cold);
    }

    fn consume(
        &mut self,
        now: Now,
        consumer: ConsumerId,
        settings: Box<ConsumerSettings>,
        effects: &mut Effects,
    ) {
        // Compat: quorum queues ignore the exclusive flag.
        let conflict = if self.attempts.is_some() {
            false
        } else if settings.exclusive {
            !self.consumers.is_empty() || self.settings.arguments.single_active_consumer
        } else {
            self.consumers.has_exclusive()
        };
        if conflict || self.consumers.contains(consumer) {
            let error = Error::ExclusiveUse {
                name: self.settings.name.clone(),
                vhost: self.settings.vhost.clone(),
            };
            effects.push(Effect::Reply {
                to: consumer.channel,
                reply: Reply::Failed(error.into()),
            });
            return;
        }
        self.last_used = Some(now.monotonic);
        self.consumers.add(consumer, settings);
        effects.push(Effect::Reply {
            to: consumer.channel,
            reply: Reply::ConsumeOk {
                consumer: consumer.index,
            },
        });
    }

    fn cancel(&mut self, now: Now, consumer: ConsumerId, reply: bool, effects: &mut Effects) {
        let was_there = self.consumers.remove(consumer);
        if reply {
            effects.push(Effect::Reply {
                to: consumer.channel,
                reply: Reply::CancelOk {
                    consumer: consumer.index,
                },
            });
        }
        if !was_there {
            return;
        }
        self.last_used = Some(now.monotonic);
        if self.settings.auto_delete && self.consumers.is_empty() {
            self.deleting = true;
            effects.push(Effect::Delete {
                queue: self.id(),
                reply: None,
            });
        }
    }

    fn purge(&mut self, now: Now, channel: ChannelId, effects: &mut Effects) {
        self.expire(now, effects);
        let count = self.ready.count() + self.purge_retries(effects);
        self.counters.purged += count;
        let (journal, confirms, attempts) =
            (&mut self.journal, &mut self.confirms, &mut self.attempts);
        let cold = self.ready.clear(self.next, |entry| {
            if journal.settle(entry, effects) {
                confirms.release_settled(entry.position, effects);
            }
            if let Some(attempts) = attempts {
                attempts.forget(entry.position);
            }
        });
        if let Some(attempts) = attempts {
            attempts.forget_restored();
        }
        self.forget_notes(effects);
        let runs = cold.into_iter().flat_map(|range| self.without_kept(range));
        for (from, until) in runs.collect::<Vec<_>>() {
            self.journal.settle_range(from, until, effects);
        }
        if let Some(dedup) = &mut self.dedup {
            dedup.all_left(|position| self.unacked.get(position).is_some());
        }
        effects.push(Effect::Reply {
            to: channel,
            reply: Reply::Purged { count },
        });
    }

    fn status(&mut self, now: Now, channel: ChannelId, effects: &mut Effects) {
        // Compat: a declaration is no use of a quorum queue.
        if self.attempts.is_none() {
            self.last_used = Some(now.monotonic);
        }
        self.expire(now, effects);
        let reply = Reply::Status {
            ready: self.ready.count(),
            consumers: self.consumer_count(),
        };
        effects.push(Effect::Reply { to: channel, reply });
    }

    fn delete(
        &mut self,
        now: Now,
        channel: ChannelId,
        if_unused: bool,
        if_empty: bool,
        effects: &mut Effects,
    ) {
        self.expire(now, effects);
        let (name, vhost) = (&self.settings.name, &self.settings.vhost);
        let error = if if_empty && self.ready.count() > 0 {
            Error::NotEmpty {
                name: name.clone(),
                vhost: vhost.clone(),
            }
        } else if if_unused && !self.consumers.is_empty() {
            Error::InUse {
                kind: ResourceKind::Queue,
                name: name.clone(),
                vhost: vhost.clone(),
            }
        } else {
            self.deleting = true;
            let reply = Some((channel, self.ready.count()));
            effects.push(Effect::Delete {
                queue: self.id(),
                reply,
            });
            return;
        };
        effects.push(Effect::Reply {
            to: channel,
            reply: Reply::Failed(error.into()),
        });
    }

    /// The queue is about to go. Publishers are told what they would have been told a moment earlier, everybody else
    /// what they will be told a moment later.
    fn apply_deleted(&mut self, command: QueueCommand, effects: &mut Effects) {
        let channel = match command {
            QueueCommand::Publish { messages, confirm } => {
                let confirms = (0..messages.len() as u64).zip(confirm.into_iter().cycle());
                for (count, first) in confirms {
                    self.confirms.confirm(first.nth(count), effects);
                }
                return;
            }
            QueueCommand::AskCredit { channel, spent } => {
                self.intake.ask(channel, spent);
                return self.give_all_credit(effects);
            }
            QueueCommand::Settle { .. }
            | QueueCommand::Resume { .. }
            | QueueCommand::Delay(_)
            | QueueCommand::Retry { .. } => return,
            // What was settled before is still on its way to the log.
            QueueCommand::Barrier { channel } => return self.journal.barrier(channel, effects),
            QueueCommand::Cancel { consumer, reply } => {
                self.consumers.remove(consumer);
                if reply {
                    let reply = Reply::CancelOk {
                        consumer: consumer.index,
                    };
                    effects.push(Effect::Reply {
                        to: consumer.channel,
                        reply,
                    });
                }
                return;
            }
            QueueCommand::Operate { channel, operation } => {
                if !operation.is_answered() {
                    return;
                }
                channel
            }
            QueueCommand::Consume { consumer, .. } => consumer.channel,
            QueueCommand::Get { channel, .. }
            | QueueCommand::Purge { channel }
            | QueueCommand::Status { channel }
            | QueueCommand::Delete { channel, .. } => channel,
        };
        effects.push(Effect::Reply {
            to: channel,
            reply: Reply::Failed(self.not_found().into()),
        });
    }
}

/// What follows from any of it.
impl Queue {
    /// Brings the queue forward as far as it goes: expiry, limits, gets, deliveries, reads and wake-ups.
    #[inline]
    fn advance(&mut self, now: Now, windows: &mut impl Windows, effects: &mut Effects) {
        if self.is_starting {
            return;
        }
        if self.replay.is_some() {
            self.trim_replay_window(now, effects);
        }
        if !self.ready.is_empty() || !self.gets.is_empty() {
            self.advance_ready(now, windows, effects);
        }
        if self.expiring || self.settings.arguments.expires_ms.is_some() || self.attempts.is_some()
        {
            self.arm(now, effects);
        }
    }

    fn advance_ready(&mut self, now: Now, windows: &mut impl Windows, effects: &mut Effects) {
        if self.deleting {
            return;
        }
        self.serve(now, windows, effects);
        // What is dropped may have stood, unread, before what somebody can have.
        while self.expire(now, effects) | self.drop_excess(now, effects) {
            self.serve(now, windows, effects);
        }
        if self.attempts.is_some() && self.ready.is_empty() && self.ready.has_levels() {
            self.forget_levels();
        }
        self.wake_to_drop(now, effects);
        self.request_load(now, effects);
    }

    /// Levels count no more, unless what is out may come back to one.
    fn forget_levels(&mut self) {
        if !self.has_other_levels || (self.unacked.is_empty() && self.delayed_count() == 0) {
            self.ready.forget_levels(self.next);
            self.has_other_levels = false;
        }
    }

    /// What may not be dropped in this turn is looked at in the next.
    fn wake_to_drop(&mut self, now: Now, effects: &mut Effects) {
        if self.is_dropping() || self.has_undead_to_publish() {
            self.wake_by(now.monotonic, effects);
        }
    }

    /// Hands out what is here. A message without time to live may still go to somebody who is ready for it.
    fn serve(&mut self, now: Now, windows: &mut impl Windows, effects: &mut Effects) {
        if self.paused {
            return self.serve_nothing(effects);
        }
        self.expire_overdue(now, effects);
        self.serve_gets(now, effects);
        if self.undead.is_full() {
            return;
        }
        if self.gets.is_empty() && self.consumers.has_turns() {
            self.serve_consumers(now, windows, effects);
        }
    }

    fn serve_gets(&mut self, now: Now, effects: &mut Effects) {
        while let Some(&(channel, no_ack)) = self.gets.front() {
            match self.ready.front() {
                Front::Cold => return,
                Front::Entry(entry) if entry.message.is_none() || self.is_overdue(now, entry) => {
                    return;
                }
                Front::Entry(_) if self.undead.is_full() => effects.push(Effect::Reply {
                    to: channel,
                    reply: Reply::GetEmpty,
                }),
                Front::Entry(_) => self.fetch(now, channel, no_ack, effects),
                Front::Empty => {
                    self.counters.empty_gets += 1;
                    effects.push(Effect::Reply {
                        to: channel,
                        reply: Reply::GetEmpty,
                    });
                }
            }
            self.gets.pop_front();
            self.expire_overdue(now, effects);
        }
    }

    fn fetch(&mut self, now: Now, channel: ChannelId, no_ack: bool, effects: &mut Effects) {
        let Some(entry) = self.ready.pop() else {
            return;
        };
        let message = entry
            .message
            .clone()
            .expect("the caller saw that it is loaded");
        self.counters.fetched += 1;
        self.counters.auto_fetched += u64::from(no_ack);
        self.counters.redelivered += u64::from(entry.redelivered);
        let reply = Reply::GetOk {
            queue: self.settings.queue,
            position: entry.position,
            message,
            redelivered: entry.redelivered,
            ready: self.ready.count(),
            attempts: self.attempts_of(&entry),
        };
        effects.push(Effect::Reply { to: channel, reply });
        self.lease(now, ConsumerKey::NONE, no_ack);
        self.hand_over(now, entry, channel, ConsumerKey::NONE, no_ack, effects);
    }

    fn serve_consumers(&mut self, now: Now, windows: &mut impl Windows, effects: &mut Effects) {
        while let Front::Entry(entry) = self.ready.front()
            && let Some(message) = &entry.message
            && !self.is_overdue(now, entry)
        {
            let bytes = message.size_bytes();
            let Some(taker) = self.consumers.take(self.settings.queue.id, bytes, windows) else {
                return;
            };
            let Some(entry) = self.ready.pop() else {
                return;
            };
            self.deliver(now, entry, taker, effects);
            self.expire_overdue(now, effects);
        }
    }

    #[inline]
    fn take_consumer(&mut self, entry: &Entry, windows: &mut impl Windows) -> Option<Taker> {
        let bytes = entry
            .message
            .as_ref()
            .map_or(0, |message| message.size_bytes());
        self.consumers.take(self.settings.queue.id, bytes, windows)
    }

    /// Sends a loaded message to the consumer that it was booked to.
    #[inline]
    fn deliver(&mut self, now: Now, mut entry: Entry, taker: Taker, effects: &mut Effects) {
        self.counters.delivered += 1;
        self.counters.redelivered += u64::from(entry.redelivered);
        // An auto-ack delivery is the last use of the message here, unless it is kept: it moves.
        let message = if taker.no_ack && self.replay.is_none() {
            entry.message.take()
        } else {
            entry.message.clone()
        };
        let message = message.expect("callers deliver loaded messages");
        let attempts = self.attempts_before(now, &entry, taker);
        if attempts.is_first() {
            self.send(&entry, taker, message, effects);
        } else {
            self.send_again(&entry, taker, message, attempts, effects);
        }
        self.hand_over(now, entry, taker.channel, taker.key, taker.no_ack, effects);
    }

    /// Adds a message to those that are on their way to the consumer, if it comes right behind them.
    #[inline]
    fn send(&self, entry: &Entry, taker: Taker, mut message: SharedMessage, effects: &mut Effects) {
        if let Some(Effect::Reply {
            to,
            reply:
                Reply::Deliver {
                    consumer,
                    queue,
                    position,
                    messages,
                    redelivered,
                },
        }) = effects.last_mut()
            && position.0 + messages.len() as u64 == entry.position.0
            && *redelivered == entry.redelivered
            && *consumer == taker.index
            && *queue == self.settings.queue
            && *to == taker.channel
        {
            match messages.push(message) {
                Ok(()) => return,
                Err(refused) => message = refused,
            }
        }
        effects.push(Effect::Reply {
            to: taker.channel,
            reply: Reply::Deliver {
                consumer: taker.index,
                queue: self.settings.queue,
                position: entry.position,
                messages: message.into(),
                redelivered: entry.redelivered,
            },
        });
    }

    /// The message went out: it is settled now or waits for that.
    #[inline]
    fn hand_over(
        &mut self,
        now: Now,
        entry: Entry,
        channel: ChannelId,
        consumer: ConsumerKey,
        no_ack: bool,
        effects: &mut Effects,
    ) {
        if no_ack {
            self.counters.auto_acked += 1;
            return self.used_up(now, entry, effects);
        }
        self.journal.delivered(&entry, effects);
        let since = self.leases.as_ref().map_or(0, |leases| leases.tick());
        let delivered = Delivered {
            entry,
            channel,
            consumer,
        };
        self.unacked.insert(delivered, since);
        if self.unacked.ram_bytes() > self.ram_limit {
            self.relieve_unacked();
        }
    }

    /// A consumer is done with the message.
    #[inline]
    fn used_up(&mut self, now: Now, entry: Entry, effects: &mut Effects) {
        if self.replay.is_some() {
            return self.keep(now, entry, effects);
        }
        self.forget(&entry, effects);
    }

    /// The message is not in the queue any more.
    #[inline]
    fn forget_traces(&mut self, position: Position) {
        if let Some(dedup) = &mut self.dedup {
            dedup.left(position);
        }
        if let Some(attempts) = &mut self.attempts {
            attempts.forget(position);
        }
    }

    /// The message is gone for good: the log is told if it has it, and its publisher if it never will.
    #[inline]
    fn forget(&mut self, entry: &Entry, effects: &mut Effects) {
        self.forget_traces(entry.position);
        if self.journal.settle(entry, effects) {
            self.confirms.release_settled(entry.position, effects);
        }
    }

    /// A message leaves against the publisher's hopes.
    fn drop_entry(&mut self, now: Now, mut entry: Entry, cause: Drop, effects: &mut Effects) {
        let reason = match cause {
            Drop::Expired => DeadLetterReason::Expired,
            Drop::MaxLength => DeadLetterReason::MaxLength,
            Drop::Rejected { .. } => DeadLetterReason::Rejected,
            Drop::DeliveryLimit => DeadLetterReason::DeliveryLimit,
        };
        let failed = matches!(cause, Drop::Rejected { failed: true });
        let failed_deliveries = self.last_attempt(&entry, failed);
        let stays = self.settings.arguments.keeps_dead_letters()
            || self.is_dropping()
            || entry.message.is_none();
        if self.has_dead_letters() && stays {
            self.keep_undead(entry, reason, failed_deliveries);
            self.publish_undead(effects);
            self.read_undead(effects);
            return self.wake_to_drop(now, effects);
        }
        self.drops_left = self.drops_left.saturating_sub(1);
        self.count_death(reason);
        if let Some(message) = entry.message.take() {
            self.dead_letter(message, reason, failed_deliveries, None, effects);
        }
        self.forget(&entry, effects);
    }

    fn count_death(&mut self, reason: DeadLetterReason) {
        let counters = &mut self.counters;
        *match reason {
            DeadLetterReason::Expired => &mut counters.expired,
            DeadLetterReason::MaxLength => &mut counters.max_length,
            DeadLetterReason::Rejected => &mut counters.rejected,
            DeadLetterReason::DeliveryLimit => &mut counters.delivery_limit,
        } += 1;
    }

    fn dead_letter(
        &mut self,
        message: SharedMessage,
        reason: DeadLetterReason,
        failed_deliveries: u32,
        awaited: Option<Position>,
        effects: &mut Effects,
    ) {
        let arguments = &self.settings.arguments;
        let Some(exchange) = arguments.dead_letter_exchange.clone() else {
            return;
        };
        let routing_key = arguments.dead_letter_routing_key.clone();
        self.dead_letter_bytes_left = self
            .dead_letter_bytes_left
            .saturating_sub(message.size_bytes());
        effects.push(Effect::DeadLetter {
            queue: self.id(),
            message,
            reason,
            failed_deliveries,
            awaited,
            exchange,
            routing_key,
        });
    }

    /// An entry can be dropped when its payload is here or nobody wants it.
    fn can_drop(&self, entry: &Entry) -> bool {
        entry.message.is_some() || self.settings.arguments.dead_letter_exchange.is_none()
    }
}

impl Queue {
    /// Panics if the machine contradicts itself. For tests and the simulator; its cost grows with the queue.
    pub fn check_invariants(&self) {
        self.ready.check_invariants(self.next);
        self.unacked.check_invariants();
        self.confirms.check_invariants();
        self.journal.check_invariants();
        if let Some(attempts) = &self.attempts {
            attempts.check_invariants();
        }
        if let Some(retries) = &self.retries {
            retries.check_invariants();
        }
        if let Some(replay) = &self.replay {
            replay.check_invariants(&self.journal);
        }
        self.consumers.check_invariants(|key| {
            let held = self
                .unacked
                .iter_from(Position(0))
                .filter(|delivered| delivered.consumer == key)
                .count();
            u32::try_from(held).expect("tests hold few messages")
        });
        assert_eq!(
            self.counters.present(),
            self.ready.count()
                + self.unacked.len() as u64
                + self.undead_count()
                + self.delayed_count(),
            "messages are neither made nor lost: {:?}",
            self.counters
        );
        for delivered in self.unacked.iter_from(Position(0)) {
            assert!(delivered.entry.position < self.next);
            assert!(self.ready.has_levels() || delivered.entry.level == self.flat_level());
            if !self.ready.has_levels() {
                let position = delivered.entry.position;
                assert!(
                    position < self.ready.frontier() || self.ready.is_hole(position),
                    "an unacked position beyond the frontier of ready ones"
                );
            }
            assert!(delivered.entry.message.is_some() || self.journal.is_written(&delivered.entry));
        }
        for entry in self.ready.iter_from(Position(0)) {
            assert!(
                entry.message.is_some() || self.journal.is_written(entry),
                "an unwritten message was evicted"
            );
        }
    }
}

/// Highest level of a quorum queue.
const QUORUM_LEVEL_MAX: u8 = 31;

/// The level in a quorum queue of a message without a priority.
pub const LEVEL_DEFAULT: u8 = 4;

/// The flag of the priority in a message's property flags, in the first of their two bytes.
const PRIORITY_FLAG: u8 = 0x08;

/// The level of a message in a queue with priorities: values above the highest count as the highest.
fn level(arguments: &QueueArguments, message: &SharedMessage) -> u8 {
    match (arguments.queue_type, arguments.max_priority) {
        (QueueType::Classic, Some(max)) => message.priority.min(max),
        (QueueType::Classic, None) => 0,
        (QueueType::Quorum, _) => {
            let flags = message.properties.first().copied().unwrap_or(0);
            if flags & PRIORITY_FLAG == 0 {
                LEVEL_DEFAULT
            } else {
                message.priority.min(QUORUM_LEVEL_MAX)
            }
        }
    }
}

/// Whether the message has died somewhere before.
#[inline]
fn message_died(entry: &Entry) -> bool {
    entry
        .message
        .as_ref()
        .is_some_and(|message| message.deaths.is_some())
}
