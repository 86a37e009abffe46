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
//! Reading order: `interface`, [`mod@self`], `deliver`, `requests`, `returns`, `expiry`, `limits`, `intake`, `ready`, `consumers`, `unacked`, `attempts`, `retry`, `confirms`, `journal`,
//! `entry`, `browse`, `figures`.
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
mod deliver;
mod entry;
mod expiry;
mod figures;
mod intake;
mod interface;
mod invariants;
mod journal;
mod limits;
mod ready;
mod replay;
mod requests;
mod retry;
mod returns;
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
pub use interface::{QueueSettings, RecordSink, Stored, Windows};
pub use replay::{owner_of_replay, replay_of};

use crate::Error;
use crate::command::{ChannelId, ConfirmTo, Outcome, Positions, QueueCommand, Reply};
use crate::effect::{DeadLetterReason, Effect, Effects};
use crate::error::ResourceKind;
use crate::message::SharedMessage;
use crate::messages::{Messages, Run};
use crate::queue_arguments::{Overflow, QueueArguments, QueueType};
use attempts::AttemptsOf;
use base::{ConnectionId, Now, Position, QueueId};
use browse::Browses;
use capacity::Capacity;
use consumers::Consumers;
use dedup::{Arrival, Dedup};
use entry::{Deadline, Entry};
use intake::Intake;
use journal::Journal;
use ready::{Load, Ready};
use replay::Replay;
use retry::Retries;
use returns::Drop;
use std::collections::VecDeque;
use std::time::Duration;
use timeout::Leases;
use unacked::Unacked;
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
