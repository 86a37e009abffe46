//! Histories that are right, and histories that are wrong in one way each.

use super::*;

const QUEUE: QueueNumber = 1;
const OTHER: QueueNumber = 2;

/// A session of the given life.
fn session(life: u32, number: u64) -> Session {
    Session { life, number }
}

fn id(sequence: u64) -> MessageId {
    MessageId {
        producer: 1,
        epoch: 0,
        sequence,
    }
}

/// Writes histories in few words: messages are their sequence numbers, all in `QUEUE` unless said otherwise.
#[derive(Default)]
struct Writer(History);

impl Writer {
    fn push(mut self, entry: Entry) -> Self {
        self.0.entries.push(entry);
        self
    }

    fn published(self, sequence: u64) -> Self {
        self.published_to(sequence, &[QUEUE])
    }

    fn published_to(self, sequence: u64, queues: &[QueueNumber]) -> Self {
        self.push(Entry::Published {
            id: id(sequence),
            queues: queues.to_vec(),
            digest: sequence,
        })
    }

    fn confirmed(self, sequence: u64) -> Self {
        self.push(Entry::Confirmed(id(sequence)))
    }

    fn delivered(self, session: Session, sequence: u64) -> Self {
        self.delivery(session, QUEUE, sequence, false)
    }

    fn redelivered(self, session: Session, sequence: u64) -> Self {
        self.delivery(session, QUEUE, sequence, true)
    }

    fn delivery(
        self,
        session: Session,
        queue: QueueNumber,
        sequence: u64,
        redelivered: bool,
    ) -> Self {
        self.push(Entry::Delivered {
            session,
            queue,
            id: Some(id(sequence)),
            digest: sequence,
            redelivered,
        })
    }

    fn acked(self, session: Session, sequence: u64) -> Self {
        self.push(Entry::Acked {
            session,
            queue: QUEUE,
            id: id(sequence),
        })
    }

    fn requeued(self, session: Session, sequence: u64) -> Self {
        self.push(Entry::Requeued {
            session,
            queue: QUEUE,
            id: id(sequence),
        })
    }

    fn barrier(self, session: Session) -> Self {
        self.push(Entry::Barrier(session))
    }

    fn ended(self, session: Session) -> Self {
        self.push(Entry::Ended(session))
    }

    fn draining(self, session: Session) -> Self {
        self.push(Entry::Draining(session))
    }

    fn violations(self) -> Vec<Violation> {
        check(&self.0, &Demands::default()).violations
    }

    /// There must be exactly this violation.
    fn rejected_for(self, violation: Violation) {
        assert_eq!(self.violations(), [violation]);
    }

    fn accepted(self) -> Report {
        let report = check(&self.0, &Demands::default());
        assert_eq!(report.violations, []);
        report
    }
}

fn write() -> Writer {
    Writer::default()
}

// ── right ──

#[test]
fn a_run_with_a_crash_accepted_and_counted() {
    let (first, second, drain) = (session(0, 1), session(1, 2), session(1, 3));
    let report = write()
        .published(1)
        .published(2)
        .published(3)
        .published(4)
        .confirmed(1)
        .confirmed(2)
        .delivered(first, 1)
        .acked(first, 1)
        .delivered(first, 2)
        .ended(first)
        .redelivered(second, 2)
        .acked(second, 2)
        .ended(second)
        .barrier(second)
        .draining(drain)
        .redelivered(drain, 3)
        .accepted();
    assert_eq!(
        (
            report.published,
            report.confirmed,
            report.recovered,
            report.deliveries
        ),
        (4, 2, 1, 4)
    );
    assert_eq!(
        (
            report.duplicates,
            report.settled,
            report.drained,
            report.lives
        ),
        (1, 1, 1, 2)
    );
}

#[test]
fn an_ack_without_a_barrier_may_be_lost_in_a_crash() {
    write()
        .published(1)
        .confirmed(1)
        .delivered(session(0, 1), 1)
        .acked(session(0, 1), 1)
        .redelivered(session(1, 2), 1)
        .accepted();
}

#[test]
fn a_delivery_may_be_written_down_after_the_crash_that_undid_it() {
    let (dead, alive) = (session(0, 1), session(1, 2));
    write()
        .published(1)
        .confirmed(1)
        .redelivered(alive, 1)
        .acked(alive, 1)
        .barrier(alive)
        .delivered(dead, 1)
        .accepted();
}

#[test]
fn a_delivery_may_come_before_its_confirm() {
    let one = session(0, 1);
    write()
        .published(1)
        .delivered(one, 1)
        .acked(one, 1)
        .confirmed(1)
        .accepted();
}

#[test]
fn requeued_messages_come_again_marked_and_out_of_order() {
    let one = session(0, 1);
    write()
        .published(1)
        .published(2)
        .delivered(one, 1)
        .delivered(one, 2)
        .requeued(one, 1)
        .redelivered(one, 1)
        .accepted();
}

#[test]
fn a_returned_message_is_confirmed_and_in_no_queue() {
    write()
        .published(1)
        .push(Entry::Returned(id(1)))
        .confirmed(1)
        .accepted();
}

#[test]
fn ids_survive_the_way_through_a_body() {
    let wanted = MessageId {
        producer: 7,
        epoch: 8,
        sequence: 9,
    };
    let mut body = wanted.to_bytes().to_vec();
    assert_eq!(MessageId::of_body(&body), Some(wanted));
    body.push(1);
    assert_eq!(MessageId::of_body(&body), Some(wanted));
    assert_eq!(MessageId::of_body(&body[..15]), None);
}

// ── wrong ──

#[test]
fn a_confirmed_message_that_never_came_is_lost() {
    write()
        .published(1)
        .confirmed(1)
        .rejected_for(Violation::Lost(id(1), QUEUE));
}

#[test]
fn a_confirmed_message_that_was_delivered_but_never_acked_nor_drained_is_lost() {
    write()
        .published(1)
        .confirmed(1)
        .delivered(session(0, 1), 1)
        .ended(session(0, 1))
        .rejected_for(Violation::Lost(id(1), QUEUE));
}

#[test]
fn a_confirmed_message_missing_in_one_of_two_queues_is_lost() {
    write()
        .published_to(1, &[QUEUE, OTHER])
        .confirmed(1)
        .delivered(session(0, 1), 1)
        .acked(session(0, 1), 1)
        .rejected_for(Violation::Lost(id(1), OTHER));
}

#[test]
fn a_requeued_message_that_never_comes_back_is_lost() {
    let one = session(0, 1);
    write()
        .published(1)
        .confirmed(1)
        .delivered(one, 1)
        .requeued(one, 1)
        .rejected_for(Violation::Lost(id(1), QUEUE));
}

#[test]
fn a_message_that_nobody_published_is_unexpected() {
    write()
        .delivered(session(0, 1), 5)
        .rejected_for(Violation::Unexpected(Some(id(5)), QUEUE));
}

#[test]
fn a_body_without_an_id_is_unexpected() {
    write()
        .push(Entry::Delivered {
            session: session(0, 1),
            queue: QUEUE,
            id: None,
            digest: 0,
            redelivered: false,
        })
        .rejected_for(Violation::Unexpected(None, QUEUE));
}

#[test]
fn a_message_in_a_queue_it_was_not_routed_to_is_unexpected() {
    write()
        .published(1)
        .delivery(session(0, 1), OTHER, 1, false)
        .rejected_for(Violation::Unexpected(Some(id(1)), OTHER));
}

#[test]
fn a_refused_message_that_comes_is_unexpected() {
    write()
        .published(1)
        .push(Entry::Refused(id(1)))
        .delivered(session(0, 1), 1)
        .rejected_for(Violation::Unexpected(Some(id(1)), QUEUE));
}

#[test]
fn a_returned_or_rolled_back_message_that_comes_is_unexpected() {
    write()
        .published(1)
        .push(Entry::Returned(id(1)))
        .delivered(session(0, 1), 1)
        .rejected_for(Violation::Unexpected(Some(id(1)), QUEUE));
}

#[test]
fn other_content_is_corrupt() {
    write()
        .published(1)
        .push(Entry::Delivered {
            session: session(0, 1),
            queue: QUEUE,
            id: Some(id(1)),
            digest: 99,
            redelivered: false,
        })
        .rejected_for(Violation::Corrupt(id(1), QUEUE));
}

#[test]
fn a_duplicate_without_the_mark_after_a_crash_is_rejected() {
    write()
        .published(1)
        .delivered(session(0, 1), 1)
        .delivered(session(1, 2), 1)
        .rejected_for(Violation::UnmarkedDuplicate(id(1), QUEUE));
}

#[test]
fn a_requeued_message_without_the_mark_is_rejected() {
    let (one, two) = (session(0, 1), session(0, 2));
    write()
        .published(1)
        .delivered(one, 1)
        .requeued(one, 1)
        .delivered(two, 1)
        .rejected_for(Violation::UnmarkedDuplicate(id(1), QUEUE));
}

#[test]
fn two_consumers_with_one_message_are_rejected() {
    write()
        .published(1)
        .delivered(session(0, 1), 1)
        .redelivered(session(0, 2), 1)
        .rejected_for(Violation::DoubleDelivery(id(1), QUEUE));
}

#[test]
fn an_acked_message_that_comes_again_to_a_living_session_is_rejected() {
    let one = session(0, 1);
    write()
        .published(1)
        .delivered(one, 1)
        .acked(one, 1)
        .redelivered(one, 1)
        .rejected_for(Violation::DoubleDelivery(id(1), QUEUE));
}

#[test]
fn a_settled_message_that_comes_again_is_rejected() {
    let one = session(0, 1);
    write()
        .published(1)
        .delivered(one, 1)
        .acked(one, 1)
        .ended(one)
        .barrier(one)
        .redelivered(session(0, 2), 1)
        .rejected_for(Violation::SettledReturn(id(1), QUEUE));
}

#[test]
fn a_settled_message_that_comes_again_after_a_crash_is_rejected() {
    let one = session(0, 1);
    write()
        .published(1)
        .confirmed(1)
        .delivered(one, 1)
        .acked(one, 1)
        .barrier(one)
        .redelivered(session(3, 2), 1)
        .rejected_for(Violation::SettledReturn(id(1), QUEUE));
}

#[test]
fn an_inversion_of_first_deliveries_is_rejected() {
    let one = session(0, 1);
    write()
        .published(1)
        .published(2)
        .delivered(one, 2)
        .delivered(one, 1)
        .rejected_for(Violation::OutOfOrder(id(1), QUEUE));
}

#[test]
fn an_inversion_in_the_drain_is_rejected_even_if_it_is_marked() {
    let drain = session(0, 1);
    write()
        .published(1)
        .published(2)
        .draining(drain)
        .redelivered(drain, 2)
        .redelivered(drain, 1)
        .rejected_for(Violation::OutOfOrder(id(1), QUEUE));
}

#[test]
fn a_message_twice_in_the_drain_is_rejected() {
    let (one, two) = (session(0, 1), session(1, 2));
    write()
        .published(1)
        .draining(one)
        .delivered(one, 1)
        .draining(two)
        .redelivered(two, 1)
        .rejected_for(Violation::DrainedTwice(id(1), QUEUE));
}

#[test]
fn outcomes_that_contradict_each_other_are_rejected() {
    let bad = || Violation::BadOutcome(id(1));
    write().confirmed(1).rejected_for(bad());
    let acked = || {
        write()
            .published(1)
            .delivered(session(0, 1), 1)
            .acked(session(0, 1), 1)
    };
    acked().confirmed(1).confirmed(1).rejected_for(bad());
    acked()
        .confirmed(1)
        .push(Entry::Refused(id(1)))
        .rejected_for(bad());
    acked().published(1).rejected_for(bad());
}

#[test]
fn a_run_in_which_nothing_happened_is_rejected() {
    let demands = Demands {
        confirmed: 1,
        settled: 1,
        duplicates: 1,
        drained: 1,
        lives: 1,
    };
    let violations = check(&History::default(), &demands).violations;
    let vacuous = |violation: &Violation| matches!(violation, Violation::Vacuous(_));
    assert_eq!(violations.len(), 5);
    assert!(violations.iter().all(vacuous));
}
