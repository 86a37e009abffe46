//! Transactions: publishes and acks are kept until tx.commit, and the commit is answered when all queues have the messages and
//! none of them can give back what was acknowledged.
//!
//! Routes are found when a message is published; a queue that is gone at commit loses its copy. Everything that a commit does
//! is asked for in one go, so that it goes to the log in one batch of each shard that owns one of the queues. A batch is written whole or not
//! at all; those of two shards are independent. Spec: class tx.

use crate::channel::{Channel, Mode, Waiting};
use crate::confirm::ConfirmTracker;
use crate::counts::PublishLineIndex;
use crate::credit;
use crate::exception::{Exception, Violation};
use crate::publish::{pay, published};
use crate::session::{Session, Turn};
use crate::settle::{is_final, settle_all};
use crate::unacked::Delivery;
use base::QueueRef;
use broker::command::{ConfirmTo, Outcome, QueueCommand};
use broker::delay::{self, DelayRequest};
use broker::message::SharedMessage;
use codec_amqp091::tx;
use smallvec::SmallVec;

/// Bytes of messages and acks that a transaction may hold; more end the channel.
const TX_SIZE_MAX: usize = 64 * 1024 * 1024;
/// What a kept message or ack costs besides its bytes.
const ENTRY_OVERHEAD: usize = 64;

/// A transaction that is not committed.
#[derive(Debug, Default)]
pub(crate) struct Transaction {
    publishes: Vec<Publish>,
    settled: Vec<(Delivery, Outcome)>,
    size: usize,
}

/// A message that waits for the commit.
#[derive(Debug)]
pub(crate) struct Publish {
    pub(crate) message: SharedMessage,
    pub(crate) queues: SmallVec<[QueueRef; 2]>,
    /// What goes to the delay store; relative waits begin with the commit.
    pub(crate) delays: Vec<DelayRequest>,
    pub(crate) mandatory: bool,
    pub(crate) line: PublishLineIndex,
}

/// A commit that waits for queues.
#[derive(Debug)]
pub(crate) struct Commit {
    tracker: ConfirmTracker,
    refused: bool,
}

impl Transaction {
    pub(crate) fn size_bytes(&self) -> usize {
        self.size
    }

    /// Messages and acks that are kept.
    pub(crate) fn lengths(&self) -> (usize, usize) {
        (self.publishes.len(), self.settled.len())
    }

    /// Keeps a message, of which there may be `max`.
    ///
    /// # Errors
    /// The transaction is too large.
    pub(crate) fn publish(
        &mut self,
        publish: Publish,
        max: Option<usize>,
    ) -> Result<(), Exception> {
        if let Some(max) = max.filter(|max| self.publishes.len() >= *max) {
            return Err(Violation::TooManyUncommitted(max).into());
        }
        let copies = 1 + publish.delays.len();
        self.grow(copies * (publish.message.size_bytes() + ENTRY_OVERHEAD))?;
        self.publishes.push(publish);
        Ok(())
    }

    /// Keeps acks.
    ///
    /// # Errors
    /// The transaction is too large.
    pub(crate) fn settle(
        &mut self,
        deliveries: Vec<Delivery>,
        outcome: Outcome,
    ) -> Result<(), Exception> {
        let grown = self.grow(deliveries.len() * ENTRY_OVERHEAD);
        self.settled
            .extend(deliveries.into_iter().map(|delivery| (delivery, outcome)));
        grown
    }

    /// The deliveries that were to be settled.
    pub(crate) fn take_settled(&mut self) -> impl Iterator<Item = Delivery> + use<> {
        std::mem::take(&mut self.settled)
            .into_iter()
            .map(|(delivery, _)| delivery)
    }

    fn grow(&mut self, bytes: usize) -> Result<(), Exception> {
        self.size += bytes;
        if self.size > TX_SIZE_MAX {
            return Err(Violation::TxTooLarge { limit: TX_SIZE_MAX }.into());
        }
        Ok(())
    }
}

impl Channel {
    pub(crate) fn tx_select(&mut self, session: &mut Session) -> Result<(), Exception> {
        match self.mode {
            Mode::Confirm(_) => return Err(Violation::TxAfterConfirm.into()),
            Mode::Plain => self.mode = Mode::Tx(Transaction::default()),
            Mode::Tx(_) => {}
        }
        tx::SelectOk.encode(self.number(), session.encoded());
        Ok(())
    }

    pub(crate) fn tx_commit(&mut self, turn: &mut Turn<'_>) -> Result<(), Exception> {
        let Mode::Tx(transaction) = &mut self.mode else {
            return Err(Violation::NotTransactional.into());
        };
        let Transaction {
            publishes, settled, ..
        } = std::mem::take(transaction);
        let mut commit = Commit {
            tracker: ConfirmTracker::default(),
            refused: false,
        };
        for publish in publishes {
            let copies = publish.queues.len() + publish.delays.len();
            self.routes.publishes.published(
                &turn.session.config.traffic,
                published(
                    publish.line,
                    &publish.message,
                    copies,
                    publish.mandatory,
                    false,
                ),
            );
            let session = &*turn.session;
            if session.config.counts_legs {
                let queues = publish.queues.iter().map(|queue| queue.id);
                let publishes = &mut self.routes.publishes;
                publishes.routed(
                    &session.config.traffic,
                    &session.vhost,
                    publish.line,
                    queues,
                );
            }
            if copies == 0 {
                if publish.mandatory {
                    self.return_unroutable(turn.session, &publish.message);
                }
                continue;
            }
            let now = turn.session.now.monotonic;
            let sequence = commit.tracker.publish(copies, publish.line, now);
            let confirm = Some(ConfirmTo {
                channel: self.id,
                sequence,
            });
            let cost = credit::cost(publish.message.size_bytes());
            for mut request in publish.delays {
                request.confirm = confirm;
                let store = delay::store_of(self.id.connection.shard);
                turn.session
                    .ask_queue(store, QueueCommand::Delay(Box::new(request)));
            }
            for queue in publish.queues {
                turn.session
                    .publish(queue, publish.message.clone(), confirm);
                let credits = &mut self.routes.credits;
                let target = credits.target(queue);
                pay(credits, self.id, turn.session, target, cost);
            }
        }
        for run in settled.chunk_by(|(_, a), (_, b)| a == b) {
            let outcome = run[0].1;
            let deliveries = run.iter().map(|(delivery, _)| *delivery);
            if is_final(outcome) {
                deliveries
                    .clone()
                    .for_each(|delivery| self.unsynced.settled_in(delivery.queue));
            }
            self.prefetch.settled(
                run.iter()
                    .filter(|(delivery, _)| delivery.consumer.is_some())
                    .count(),
            );
            if outcome == Outcome::Ack {
                deliveries
                    .clone()
                    .for_each(|delivery| self.deliveries.of(delivery.queue).acked += 1);
            }
            settle_all(turn.session, self.id, deliveries, outcome);
        }
        self.resume_consumers(turn.session);
        self.unsynced.send_barriers(turn.session, self.id);
        self.waiting = Some(Waiting::TxCommit(commit));
        self.finish_commit(turn.session)
    }

    pub(crate) fn tx_rollback(&mut self, session: &mut Session) -> Result<(), Exception> {
        let Mode::Tx(transaction) = &mut self.mode else {
            return Err(Violation::NotTransactional.into());
        };
        let mut transaction = std::mem::take(transaction);
        self.unacked.restore(transaction.take_settled());
        tx::RollbackOk.encode(self.number(), session.encoded());
        Ok(())
    }

    /// A queue answered for messages of the commit that waits.
    ///
    /// # Errors
    /// As [`Self::finish_commit`].
    pub(crate) fn commit_confirmed(
        &mut self,
        session: &mut Session,
        first: u64,
        last: u64,
        refused: bool,
    ) -> Result<(), Exception> {
        let Some(Waiting::TxCommit(commit)) = &mut self.waiting else {
            return Ok(());
        };
        commit.tracker.answer(first, last, refused);
        commit.refused |= refused;
        commit.tracker.flush(|_| ());
        commit.tracker.forget_counts();
        self.finish_commit(session)
    }

    /// Answers the commit that waits, if it waits and nothing is missing any more.
    ///
    /// # Errors
    /// A queue refused a message.
    pub(crate) fn finish_commit(&mut self, session: &mut Session) -> Result<(), Exception> {
        let Some(Waiting::TxCommit(commit)) = &self.waiting else {
            return Ok(());
        };
        if !commit.tracker.is_empty() || !self.unsynced.is_synced() {
            return Ok(());
        }
        let (refused, ids) = (
            commit.refused,
            (tx::Commit::CLASS_ID, tx::Commit::METHOD_ID),
        );
        self.waiting = None;
        if refused {
            return Err(Exception::from(Violation::PartialCompletion).caused_by(ids));
        }
        tx::CommitOk.encode(self.number(), session.encoded());
        Ok(())
    }
}
