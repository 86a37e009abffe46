//! Judges what publishers and consumers saw of a broker that was killed, restarted or otherwise ill-treated.
//!
//! Everything is written down in one [`History`] while it happens; [`check`] then counts what must not be there. It knows no
//! broker, no client and no clock, and it is itself tested against histories that are broken on purpose.
//!
//! What the order of the entries means: an intention is written down before it is sent (a publish, an ack, the end of a session),
//! and what the broker did when it was read (a confirm, a delivery, a barrier). So within one life of the broker, an entry that
//! caused another stands before it. Across a crash it may not: a delivery may be read from a socket long after the broker died.
//! That is why each session says in which life it was, and lives are compared before positions.

use std::collections::{BTreeMap, HashMap, HashSet};

/// Who published what: one number of one publisher's channel. Channels that are opened again get a new epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MessageId {
    /// Number of the publisher.
    pub producer: u32,
    /// Counts the publisher's channels.
    pub epoch: u32,
    /// Counts the messages of the channel from 1.
    pub sequence: u64,
}

impl MessageId {
    /// Bytes that an id takes at the start of a body.
    pub const LEN: usize = 16;

    /// The bytes for the start of a body.
    pub fn to_bytes(self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[..4].copy_from_slice(&self.producer.to_be_bytes());
        bytes[4..8].copy_from_slice(&self.epoch.to_be_bytes());
        bytes[8..].copy_from_slice(&self.sequence.to_be_bytes());
        bytes
    }

    /// The id at the start of a body; `None` if the body is too short to have one.
    pub fn of_body(body: &[u8]) -> Option<Self> {
        let (producer, rest) = body.split_first_chunk::<4>()?;
        let (epoch, rest) = rest.split_first_chunk::<4>()?;
        let (sequence, _) = rest.split_first_chunk::<8>()?;
        Some(Self {
            producer: u32::from_be_bytes(*producer),
            epoch: u32::from_be_bytes(*epoch),
            sequence: u64::from_be_bytes(*sequence),
        })
    }
}

/// A channel of a consumer. Its number is never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Session {
    /// Which run of the broker it was opened in, from 0.
    pub life: u32,
    /// Unique number.
    pub number: u64,
}

/// Number of a queue, given by the test.
pub type QueueNumber = u16;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// About to be published.
    Published {
        /// Its id.
        id: MessageId,
        /// The queues that it goes to.
        queues: Vec<QueueNumber>,
        /// Digest of properties and body.
        digest: u64,
    },
    /// `basic.ack` from the broker, or `tx.commit-ok` of its transaction.
    Confirmed(MessageId),
    /// `basic.nack` from the broker.
    Refused(MessageId),
    /// Returned as unroutable, or rolled back: it must not be in any queue.
    Returned(MessageId),
    /// Came out of a queue.
    Delivered {
        /// The consumer's channel.
        session: Session,
        /// The queue.
        queue: QueueNumber,
        /// The id in its body; `None` if there is none.
        id: Option<MessageId>,
        /// Digest of properties and body.
        digest: u64,
        /// The broker's mark.
        redelivered: bool,
    },
    /// About to be acked (or rejected without requeue).
    Acked {
        /// The consumer's channel.
        session: Session,
        /// The queue.
        queue: QueueNumber,
        /// The message.
        id: MessageId,
    },
    /// About to be given back.
    Requeued {
        /// The consumer's channel.
        session: Session,
        /// The queue.
        queue: QueueNumber,
        /// The message.
        id: MessageId,
    },
    /// The broker answered something that it answers only when all acks of the session before it are settled for good:
    /// `channel.close-ok`, `connection.close-ok`, `tx.commit-ok`.
    Barrier(Session),
    /// The session is about to be closed, or was found dead: whatever it has not acked goes back.
    Ended(Session),
    /// The session takes all that is left, alone, at the end. Its deliveries must be in order even if they are marked.
    Draining(Session),
}

/// Everything that happened, in the order it was written down.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// The entries.
    pub entries: Vec<Entry>,
}

/// What must have happened at least for a verdict to mean something.
#[derive(Clone, Copy, Debug, Default)]
pub struct Demands {
    /// Confirmed messages.
    pub confirmed: usize,
    /// Acks that a barrier covered.
    pub settled: usize,
    /// Deliveries of a message that had been delivered before.
    pub duplicates: usize,
    /// Messages found in the final drain.
    pub drained: usize,
    /// Lives of the broker with a delivery.
    pub lives: usize,
}

/// A broken rule. Messages are named with the queue they should have been in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Violation {
    /// Confirmed, but neither acked nor found in the final drain.
    Lost(MessageId, QueueNumber),
    /// Delivered, but never published, or not to this queue, or refused, or returned.
    Unexpected(Option<MessageId>, QueueNumber),
    /// Delivered with other properties or another body.
    Corrupt(MessageId, QueueNumber),
    /// Delivered again without the mark.
    UnmarkedDuplicate(MessageId, QueueNumber),
    /// Delivered again while the consumer that had it was there and had not given it back.
    DoubleDelivery(MessageId, QueueNumber),
    /// Delivered again although its ack was settled.
    SettledReturn(MessageId, QueueNumber),
    /// Delivered behind a later message of the same publisher's channel.
    OutOfOrder(MessageId, QueueNumber),
    /// The same message was twice in the final drain.
    DrainedTwice(MessageId, QueueNumber),
    /// An id was published, confirmed or refused twice, or confirmed without being published, or both confirmed and refused.
    BadOutcome(MessageId),
    /// Too little happened.
    Vacuous(&'static str),
}

/// What [`check`] found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Messages that were published.
    pub published: usize,
    /// Those with a confirm.
    pub confirmed: usize,
    /// Copies whose publish had no outcome and that came out all the same.
    pub recovered: usize,
    /// All deliveries.
    pub deliveries: usize,
    /// Deliveries of a copy that had been delivered before; each is marked and explained.
    pub duplicates: usize,
    /// Acks that a barrier covered.
    pub settled: usize,
    /// Copies found in the final drain.
    pub drained: usize,
    /// Lives of the broker with a delivery.
    pub lives: usize,
    /// Every broken rule.
    pub violations: Vec<Violation>,
}

impl Report {
    /// How many violations are of this kind.
    pub fn count(&self, kind: impl Fn(&Violation) -> bool) -> usize {
        self.violations
            .iter()
            .filter(|violation| kind(violation))
            .count()
    }
}

/// What became of a publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Unknown,
    Confirmed,
    Refused,
    Returned,
}

struct Publish<'a> {
    queues: &'a [QueueNumber],
    digest: u64,
    outcome: Outcome,
}

/// Who has a copy of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holder {
    /// The queue.
    Queue,
    /// A consumer.
    Consumer(Session),
    /// Nobody, if the ack arrived.
    Acked(Session),
    /// Nobody, for certain.
    Settled,
}

struct Copy {
    holder: Holder,
    delivered: bool,
    acked: bool,
    drained: bool,
}

/// Looks for violations of the rules.
pub fn check(history: &History, demands: &Demands) -> Report {
    let mut checker = Checker::default();
    checker.read_publishes(history);
    checker.read_deliveries(history);
    checker.find_lost();
    checker.demand(demands);
    checker.report
}

#[derive(Default)]
struct Checker<'a> {
    report: Report,
    publishes: HashMap<MessageId, Publish<'a>>,
    copies: HashMap<(MessageId, QueueNumber), Copy>,
    /// Acks of a session that no barrier has covered yet.
    unsettled: HashMap<Session, Vec<(MessageId, QueueNumber)>>,
    ended: HashSet<Session>,
    draining: HashSet<Session>,
    /// Last sequence that came first to a session, by publisher's channel and queue.
    last: HashMap<(Session, QueueNumber, u32, u32), u64>,
}

impl<'a> Checker<'a> {
    fn violation(&mut self, violation: Violation) {
        self.report.violations.push(violation);
    }

    /// Outcomes of publishes do not depend on deliveries: a delivery may well come before its confirm.
    fn read_publishes(&mut self, history: &'a History) {
        for entry in &history.entries {
            match entry {
                Entry::Published { id, queues, digest } => {
                    let publish = Publish {
                        queues,
                        digest: *digest,
                        outcome: Outcome::Unknown,
                    };
                    self.report.published += 1;
                    if self.publishes.insert(*id, publish).is_some() {
                        self.violation(Violation::BadOutcome(*id));
                    }
                }
                Entry::Confirmed(id) => self.outcome(*id, Outcome::Confirmed),
                Entry::Refused(id) => self.outcome(*id, Outcome::Refused),
                Entry::Returned(id) => self.outcome(*id, Outcome::Returned),
                Entry::Delivered { .. }
                | Entry::Acked { .. }
                | Entry::Requeued { .. }
                | Entry::Barrier(_)
                | Entry::Ended(_)
                | Entry::Draining(_) => {}
            }
        }
    }

    fn outcome(&mut self, id: MessageId, outcome: Outcome) {
        let known = self.publishes.get_mut(&id);
        let Some(publish) = known.filter(|publish| {
            // A returned message is confirmed too, behind the return.
            publish.outcome == Outcome::Unknown
                || (publish.outcome == Outcome::Returned && outcome == Outcome::Confirmed)
        }) else {
            self.violation(Violation::BadOutcome(id));
            return;
        };
        if publish.outcome == Outcome::Unknown {
            publish.outcome = outcome;
        }
        self.report.confirmed += usize::from(outcome == Outcome::Confirmed);
    }

    fn read_deliveries(&mut self, history: &History) {
        let mut lives: BTreeMap<u32, Vec<&Entry>> = BTreeMap::new();
        for entry in &history.entries {
            if let Some(session) = session_of(entry) {
                lives.entry(session.life).or_default().push(entry);
            }
        }
        for (_, entries) in lives {
            let before = self.report.deliveries;
            for entry in entries {
                self.read(entry);
            }
            self.report.lives += usize::from(self.report.deliveries > before);
        }
    }

    fn read(&mut self, entry: &Entry) {
        match entry {
            Entry::Delivered {
                session,
                queue,
                id,
                digest,
                redelivered,
            } => self.delivered(*session, *queue, *id, *digest, *redelivered),
            Entry::Acked { session, queue, id } => {
                if let Some(copy) = self.copies.get_mut(&(*id, *queue)) {
                    copy.acked = true;
                    // Only who has it can settle it.
                    if copy.holder == Holder::Consumer(*session) {
                        copy.holder = Holder::Acked(*session);
                        self.unsettled
                            .entry(*session)
                            .or_default()
                            .push((*id, *queue));
                    }
                }
            }
            Entry::Requeued { session, queue, id } => {
                if let Some(copy) = self.copies.get_mut(&(*id, *queue))
                    && copy.holder == Holder::Consumer(*session)
                {
                    copy.holder = Holder::Queue;
                }
            }
            Entry::Barrier(session) => {
                for key in self.unsettled.remove(session).unwrap_or_default() {
                    if let Some(copy) = self.copies.get_mut(&key)
                        && copy.holder == Holder::Acked(*session)
                    {
                        copy.holder = Holder::Settled;
                        self.report.settled += 1;
                    }
                }
            }
            Entry::Ended(session) => {
                self.ended.insert(*session);
            }
            Entry::Draining(session) => {
                self.draining.insert(*session);
            }
            Entry::Published { .. }
            | Entry::Confirmed(_)
            | Entry::Refused(_)
            | Entry::Returned(_) => {}
        }
    }

    fn delivered(
        &mut self,
        session: Session,
        queue: QueueNumber,
        id: Option<MessageId>,
        digest: u64,
        redelivered: bool,
    ) {
        self.report.deliveries += 1;
        let known = id.and_then(|id| Some((id, self.publishes.get(&id)?)));
        let Some((id, publish)) = known else {
            self.violation(Violation::Unexpected(id, queue));
            return;
        };
        let wanted = publish.queues.contains(&queue)
            && !matches!(publish.outcome, Outcome::Refused | Outcome::Returned);
        let (intact, outcome) = (publish.digest == digest, publish.outcome);
        if !wanted {
            self.violation(Violation::Unexpected(Some(id), queue));
        }
        if !intact {
            self.violation(Violation::Corrupt(id, queue));
        }
        if !self.copies.contains_key(&(id, queue)) && outcome == Outcome::Unknown {
            self.report.recovered += 1;
        }
        let is_draining = self.draining.contains(&session);
        self.order(session, queue, id, redelivered && !is_draining);
        self.hand_over(session, queue, id, redelivered);
        if is_draining {
            self.drained(queue, id);
        }
    }

    /// `exempt`: it may have been delivered before, to whoever did not live to tell.
    fn order(&mut self, session: Session, queue: QueueNumber, id: MessageId, exempt: bool) {
        if exempt {
            return;
        }
        let last = self
            .last
            .entry((session, queue, id.producer, id.epoch))
            .or_default();
        let inverted = id.sequence <= *last;
        *last = id.sequence.max(*last);
        if inverted {
            self.violation(Violation::OutOfOrder(id, queue));
        }
    }

    fn hand_over(
        &mut self,
        session: Session,
        queue: QueueNumber,
        id: MessageId,
        redelivered: bool,
    ) {
        let copy = self.copies.entry((id, queue)).or_insert(Copy {
            holder: Holder::Queue,
            delivered: false,
            acked: false,
            drained: false,
        });
        let again = std::mem::replace(&mut copy.delivered, true);
        let before = std::mem::replace(&mut copy.holder, Holder::Consumer(session));
        if !again {
            return;
        }
        self.report.duplicates += 1;
        if !redelivered {
            self.violation(Violation::UnmarkedDuplicate(id, queue));
        }
        match before {
            Holder::Settled => self.violation(Violation::SettledReturn(id, queue)),
            Holder::Consumer(holder) | Holder::Acked(holder) => {
                let released = holder.life < session.life || self.ended.contains(&holder);
                if !released {
                    self.violation(Violation::DoubleDelivery(id, queue));
                }
            }
            Holder::Queue => {}
        }
    }

    fn drained(&mut self, queue: QueueNumber, id: MessageId) {
        let Some(copy) = self.copies.get_mut(&(id, queue)) else {
            return;
        };
        if std::mem::replace(&mut copy.drained, true) {
            self.violation(Violation::DrainedTwice(id, queue));
        } else {
            self.report.drained += 1;
        }
    }

    fn find_lost(&mut self) {
        let mut lost: Vec<_> = self
            .publishes
            .iter()
            .filter(|(_, publish)| publish.outcome == Outcome::Confirmed)
            .flat_map(|(id, publish)| publish.queues.iter().map(|queue| (*id, *queue)))
            .filter(|key| {
                !self
                    .copies
                    .get(key)
                    .is_some_and(|copy| copy.acked || copy.drained)
            })
            .collect();
        lost.sort_unstable();
        for (id, queue) in lost {
            self.violation(Violation::Lost(id, queue));
        }
    }

    fn demand(&mut self, demands: &Demands) {
        let report = &self.report;
        let missing: Vec<_> = [
            (report.confirmed < demands.confirmed, "confirmed messages"),
            (report.settled < demands.settled, "settled acks"),
            (
                report.duplicates < demands.duplicates,
                "messages that were delivered again",
            ),
            (report.drained < demands.drained, "drained messages"),
            (report.lives < demands.lives, "lives of the broker"),
        ]
        .into_iter()
        .filter_map(|(is_missing, what)| is_missing.then_some(what))
        .collect();
        for what in missing {
            self.violation(Violation::Vacuous(what));
        }
    }
}

/// Whose entry it is, for entries of consumers.
fn session_of(entry: &Entry) -> Option<Session> {
    match entry {
        Entry::Delivered { session, .. }
        | Entry::Acked { session, .. }
        | Entry::Requeued { session, .. }
        | Entry::Barrier(session)
        | Entry::Ended(session)
        | Entry::Draining(session) => Some(*session),
        Entry::Published { .. } | Entry::Confirmed(_) | Entry::Refused(_) | Entry::Returned(_) => {
            None
        }
    }
}

#[cfg(test)]
mod tests;
