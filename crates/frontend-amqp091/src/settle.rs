//! Acks and their kin: what a client says about messages it was given.
//!
//! A settle is not answered; that it lasts is promised later, by what [`crate::barrier`] holds back.
//!
//! Spec: basic.ack, basic.nack, basic.reject, basic.recover.

use crate::channel::{Channel, Mode};
use crate::exception::{Exception, Violation};
use crate::session::{Session, Turn};
use crate::unacked::Delivery;
use base::Position;
use broker::command::{ChannelId, Outcome, Positions, QueueCommand};

impl Channel {
    #[inline]
    pub(crate) fn ack(
        &mut self,
        turn: &mut Turn<'_>,
        tag: u64,
        multiple: bool,
    ) -> Result<(), Exception> {
        self.reject(turn, tag, multiple, Outcome::Ack)
    }

    /// Settles one delivery, or all up to it.
    ///
    /// # Errors
    /// There is no such delivery.
    #[inline]
    pub(crate) fn reject(
        &mut self,
        turn: &mut Turn<'_>,
        tag: u64,
        multiple: bool,
        outcome: Outcome,
    ) -> Result<(), Exception> {
        if let Mode::Tx(transaction) = &mut self.mode {
            let deliveries = take(&mut self.unacked, tag, multiple)?;
            if self.spans.has_deliveries() {
                self.spans.settled(turn.session, tag, multiple, outcome);
            }
            return transaction.settle(deliveries, outcome);
        }
        let is_ack = outcome == Outcome::Ack;
        if multiple {
            let deliveries = self
                .unacked
                .remove_up_to(tag)
                .ok_or(Violation::UnknownDeliveryTag(tag))?;
            let mut of_consumers = 0;
            settle_all(
                turn.session,
                self.id,
                deliveries.inspect(|delivery| {
                    of_consumers += usize::from(delivery.consumer.is_some());
                    self.deliveries.of(delivery.queue).acked += u64::from(is_ack);
                    if is_final(outcome) {
                        self.unsynced.settled_in(delivery.queue);
                    }
                }),
                outcome,
            );
            self.prefetch.settled(of_consumers);
        } else {
            let delivery = self
                .unacked
                .remove(tag)
                .ok_or(Violation::UnknownDeliveryTag(tag))?;
            self.deliveries.of(delivery.queue).acked += u64::from(is_ack);
            turn.session
                .settle(self.id, delivery.queue, delivery.position, outcome);
            if is_final(outcome) {
                self.unsynced.settled_in(delivery.queue);
            }
            self.prefetch
                .settled(usize::from(delivery.consumer.is_some()));
        }
        if self.spans.has_deliveries() {
            self.spans.settled(turn.session, tag, multiple, outcome);
        }
        self.unsynced.limit(turn.session, self.id);
        self.resume_consumers(turn.session);
        Ok(())
    }

    /// Gives everything back that is not settled.
    ///
    /// # Errors
    /// Messages cannot be sent again to the same consumer.
    pub(crate) fn recover(&mut self, turn: &mut Turn<'_>, requeue: bool) -> Result<(), Exception> {
        if !requeue {
            return Err(Violation::RecoverWithoutRequeue.into());
        }
        let deliveries = self.unacked.remove_up_to(0).into_iter().flatten();
        settle_all(turn.session, self.id, deliveries, Outcome::Requeue);
        if self.spans.has_deliveries() {
            self.spans.settled(turn.session, 0, true, Outcome::Requeue);
        }
        self.prefetch.settled(usize::MAX);
        self.resume_consumers(turn.session);
        Ok(())
    }
}

fn take(
    unacked: &mut crate::unacked::Unacked,
    tag: u64,
    multiple: bool,
) -> Result<Vec<Delivery>, Exception> {
    let deliveries = if multiple {
        unacked.remove_up_to(tag).map(Iterator::collect)
    } else {
        unacked.remove(tag).map(|delivery| vec![delivery])
    };
    deliveries.ok_or_else(|| Violation::UnknownDeliveryTag(tag).into())
}

/// Whether messages must not come back after it, not even after a crash.
#[inline]
pub(crate) fn is_final(outcome: Outcome) -> bool {
    match outcome {
        Outcome::Ack | Outcome::Discard | Outcome::Reject => true,
        Outcome::Requeue | Outcome::Fail | Outcome::Return => false,
    }
}

/// Tells each queue once about the deliveries it made, in ascending order of positions.
pub(crate) fn settle_all(
    session: &mut Session,
    channel: ChannelId,
    deliveries: impl Iterator<Item = Delivery>,
    outcome: Outcome,
) {
    let mut places: Vec<_> = deliveries
        .map(|delivery| (delivery.queue, delivery.position))
        .collect();
    // Most lists are sorted already: one queue, in order. The sort notices that in one pass.
    match outcome {
        // Dead letters arrive in the order in which the messages were delivered.
        Outcome::Discard | Outcome::Reject => places.sort_by_key(|(queue, _)| *queue),
        Outcome::Ack | Outcome::Requeue | Outcome::Fail | Outcome::Return => places.sort_unstable(),
    }
    for of_queue in places.chunk_by(|(a, _), (b, _)| a == b) {
        let positions: Positions = of_queue
            .iter()
            .map(|(_, position): &(_, Position)| *position)
            .collect();
        session.ask_queue(
            of_queue[0].0,
            QueueCommand::Settle {
                channel,
                positions,
                outcome,
            },
        );
    }
}
