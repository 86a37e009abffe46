//! One behaviour a test.

use crate::rig::{Rig, channel, consume, consumer, message, publish, settings, settle, show};
use base::Position;
use broker::command::{Attempts, Outcome, QueueCommand};
use broker::delayed_retry::{DelayedRetry, RetryType};
use broker::effect::{Effect, Effects};
use broker::message::Message;
use broker::queue::{DROPS_MAX, READY_RAM_BYTES_MAX, READY_RAM_BYTES_MIN};
use broker::queue_arguments::{Overflow, QueueArguments, QueueType};
use std::time::Duration;

fn transient() -> Message {
    message(false, 10)
}

fn persistent() -> Message {
    message(true, 10)
}

fn durable_queue() -> Rig {
    Rig::new(settings(true, QueueArguments::default()))
}

fn queue_with(arguments: QueueArguments) -> Rig {
    Rig::new(settings(false, arguments))
}

#[track_caller]
fn check(effects: &Effects, expected: &str) {
    assert_eq!(show(effects), expected);
}

#[track_caller]
fn command(rig: &mut Rig, command: QueueCommand, expected: &str) {
    check(&rig.command(command), expected);
}

fn get() -> QueueCommand {
    QueueCommand::Get {
        channel: channel(9),
        no_ack: false,
    }
}

fn cancel(number: u32) -> QueueCommand {
    QueueCommand::Cancel {
        consumer: consumer(number),
        reply: true,
    }
}

fn purge() -> QueueCommand {
    QueueCommand::Purge {
        channel: channel(9),
    }
}

fn status() -> QueueCommand {
    QueueCommand::Status {
        channel: channel(9),
    }
}

fn barrier() -> QueueCommand {
    QueueCommand::Barrier {
        channel: channel(9),
    }
}

/// A queue of three messages in the log, which consumer 1 holds.
fn three_unacked() -> Rig {
    let mut rig = durable_queue();
    rig.command(consume(consumer(1), false, 0, 0));
    for _ in 0..3 {
        rig.command(publish(persistent(), None));
    }
    rig.catch_up();
    rig
}

fn delete(if_unused: bool, if_empty: bool) -> QueueCommand {
    QueueCommand::Delete {
        channel: channel(9),
        if_unused,
        if_empty,
    }
}

fn fill(rig: &mut Rig, count: usize) {
    for _ in 0..count {
        rig.command(publish(transient(), None));
    }
}

#[test]
fn consumers_of_one_priority_take_turns() {
    let mut rig = durable_queue();
    command(&mut rig, consume(consumer(1), true, 0, 0), "c1 consume-ok");
    command(&mut rig, consume(consumer(2), true, 0, 0), "c2 consume-ok");
    command(&mut rig, consume(consumer(3), true, 0, -1), "c3 consume-ok");
    command(&mut rig, publish(transient(), None), "c1 deliver 0");
    command(&mut rig, publish(transient(), None), "c2 deliver 1");
    command(&mut rig, publish(transient(), None), "c1 deliver 2");
}

#[test]
fn a_higher_priority_is_served_while_it_has_credit() {
    let mut rig = durable_queue();
    fill(&mut rig, 4);
    command(
        &mut rig,
        consume(consumer(1), false, 1, 0),
        "c1 consume-ok; c1 deliver 0",
    );
    command(
        &mut rig,
        consume(consumer(2), false, 1, 5),
        "c2 consume-ok; c2 deliver 1",
    );
    command(&mut rig, settle(2, &[1], Outcome::Ack), "c2 deliver 2");
    command(&mut rig, settle(1, &[0], Outcome::Ack), "c1 deliver 3");
    command(&mut rig, publish(transient(), None), "");
    command(&mut rig, settle(2, &[2], Outcome::Ack), "c2 deliver 4");
}

#[test]
fn requeued_messages_go_back_to_their_place_and_are_marked() {
    let mut rig = durable_queue();
    fill(&mut rig, 4);
    command(
        &mut rig,
        consume(consumer(1), false, 3, 0),
        "c1 consume-ok; c1 deliver 0; c1 deliver 1; c1 deliver 2",
    );
    command(&mut rig, cancel(1), "c1 cancel-ok");
    command(&mut rig, settle(1, &[0, 2], Outcome::Requeue), "");
    command(&mut rig, get(), "c9 get-ok 0 redelivered ready=2");
    command(&mut rig, get(), "c9 get-ok 2 redelivered ready=1");
    command(&mut rig, settle(1, &[1], Outcome::Requeue), "");
    command(&mut rig, get(), "c9 get-ok 1 redelivered ready=1");
    command(&mut rig, get(), "c9 get-ok 3 ready=0");
    command(&mut rig, get(), "c9 get-empty");
}

#[test]
fn a_returned_message_is_not_marked_and_its_consumer_pauses() {
    let mut rig = durable_queue();
    command(&mut rig, consume(consumer(1), false, 0, 0), "c1 consume-ok");
    command(&mut rig, publish(transient(), None), "c1 deliver 0");
    command(&mut rig, settle(1, &[0], Outcome::Return), "");
    command(
        &mut rig,
        QueueCommand::Resume {
            consumer: consumer(1),
        },
        "c1 deliver 0",
    );
}

#[test]
fn one_message_at_a_time_is_measured_from_its_publish_to_its_ack() {
    let mut rig = durable_queue();
    command(&mut rig, consume(consumer(1), false, 0, 0), "c1 consume-ok");
    fill(&mut rig, 2);
    rig.pass_ms(7);
    rig.command(settle(1, &[1], Outcome::Ack));
    rig.pass_ms(2);
    rig.command(settle(1, &[0], Outcome::Ack));
    rig.command(publish(transient(), None));
    rig.pass_ms(1);
    // It left in another way, and so is not measured; nor is the next one until that one is forgotten.
    rig.command(settle(1, &[2], Outcome::Discard));
    rig.command(publish(transient(), None));
    rig.command(settle(1, &[3], Outcome::Ack));
    rig.pass_ms(600_001);
    rig.command(publish(transient(), None));
    rig.pass_ms(3);
    rig.command(settle(1, &[4], Outcome::Ack));
    let measured: Vec<_> = rig.measured.iter().map(Duration::as_millis).collect();
    assert_eq!(measured, [9, 3]);
}

#[test]
fn only_the_channel_that_holds_a_message_settles_it_and_only_once() {
    let mut rig = durable_queue();
    command(&mut rig, consume(consumer(1), false, 1, 0), "c1 consume-ok");
    fill(&mut rig, 3);
    command(&mut rig, settle(2, &[0], Outcome::Ack), "");
    command(
        &mut rig,
        settle(1, &[0, 1, 77], Outcome::Ack),
        "c1 deliver 1",
    );
    command(&mut rig, settle(1, &[0], Outcome::Ack), "");
    assert_eq!(rig.queue.counters().acked, 1);
}

#[test]
fn a_closed_window_holds_messages_back() {
    let mut rig = durable_queue();
    command(&mut rig, consume(consumer(1), true, 0, 0), "c1 consume-ok");
    rig.windows.closed.insert(channel(1).connection);
    command(&mut rig, publish(transient(), None), "");
    command(
        &mut rig,
        consume(consumer(2), false, 1, -3),
        "c2 consume-ok; c2 deliver 0",
    );
    command(&mut rig, publish(transient(), None), "");
    check(&rig.open_window(channel(1).connection), "c1 deliver 1");
}

#[test]
fn an_exclusive_consumer_is_alone() {
    let mut rig = durable_queue();
    let exclusive = |number| {
        let mut command = consume(consumer(number), false, 0, 0);
        if let QueueCommand::Consume { settings, .. } = &mut command {
            settings.exclusive = true;
        }
        command
    };
    let refused = "failed: queue 'q' in vhost '/' in exclusive use";
    command(&mut rig, exclusive(1), "c1 consume-ok");
    command(
        &mut rig,
        consume(consumer(2), false, 0, 0),
        &format!("c2 {refused}"),
    );
    command(&mut rig, cancel(1), "c1 cancel-ok");
    command(&mut rig, consume(consumer(2), false, 0, 0), "c2 consume-ok");
    command(&mut rig, exclusive(1), &format!("c1 {refused}"));

    let mut rig = queue_with(QueueArguments {
        single_active_consumer: true,
        ..QueueArguments::default()
    });
    command(&mut rig, exclusive(1), &format!("c1 {refused}"));
}

#[test]
fn a_single_active_consumer_is_followed_by_the_next_in_order() {
    let mut rig = queue_with(QueueArguments {
        single_active_consumer: true,
        ..QueueArguments::default()
    });
    for number in [3, 1, 2] {
        rig.command(consume(consumer(number), false, 1, number as i32));
    }
    assert!(
        rig.queue.is_active_consumer(consumer(3)) && !rig.queue.is_active_consumer(consumer(1))
    );
    command(&mut rig, publish(transient(), None), "c3 deliver 0");
    command(&mut rig, publish(transient(), None), "");
    command(&mut rig, cancel(3), "c3 cancel-ok; c1 deliver 1");
    command(&mut rig, settle(3, &[0], Outcome::Requeue), "");
    command(
        &mut rig,
        cancel(1),
        "c1 cancel-ok; c2 deliver 0 redelivered",
    );
}

#[test]
fn transient_publishes_are_confirmed_at_once_and_together() {
    let mut rig = durable_queue();
    let effects = rig.call(|queue, now, windows, effects| {
        for sequence in 1..=3 {
            queue.apply(
                now,
                publish(transient(), Some((5, sequence))),
                windows,
                effects,
            );
        }
    });
    check(&effects, "c5 confirm 1..=3");
}

#[test]
fn persistent_publishes_are_confirmed_when_their_batch_is_durable() {
    let mut rig = durable_queue();
    command(&mut rig, publish(persistent(), None), "records");
    command(
        &mut rig,
        publish(persistent(), Some((5, 1))),
        "records urgent",
    );
    command(&mut rig, publish(persistent(), Some((5, 2))), "");
    rig.collect();
    command(
        &mut rig,
        publish(persistent(), Some((5, 3))),
        "records urgent",
    );
    rig.collect();
    check(&rig.durable(), "c5 confirm 1..=2");
    assert_eq!(rig.disk.len(), 3);
    check(&rig.durable(), "c5 confirm 3..=3");
}

#[test]
fn what_is_settled_before_it_was_collected_is_never_written() {
    let mut rig = durable_queue();
    command(&mut rig, consume(consumer(1), false, 0, 0), "c1 consume-ok");
    command(
        &mut rig,
        publish(persistent(), Some((5, 1))),
        "records urgent; c1 deliver 0",
    );
    command(
        &mut rig,
        publish(persistent(), Some((5, 2))),
        "c1 deliver 1",
    );
    command(
        &mut rig,
        publish(persistent(), Some((5, 3))),
        "c1 deliver 2",
    );
    command(&mut rig, settle(1, &[0], Outcome::Ack), "c5 confirm 1..=1");
    command(&mut rig, settle(1, &[2], Outcome::Ack), "");
    rig.collect();
    assert_eq!(rig.batches[0].messages.len(), 1);
    check(&rig.durable(), "c5 confirm 2..=3");
    command(&mut rig, settle(1, &[1], Outcome::Ack), "records");
    rig.collect();
    assert_eq!(rig.batches[0].settles, [(Position(1), Position(2))]);
}

#[test]
fn settlements_are_written_as_ranges() {
    let mut rig = durable_queue();
    command(&mut rig, consume(consumer(1), false, 0, 0), "c1 consume-ok");
    for _ in 0..10 {
        rig.command(publish(persistent(), None));
    }
    rig.catch_up();
    for position in [3, 1, 2, 0, 7, 8, 5] {
        rig.command(settle(1, &[position], Outcome::Ack));
    }
    rig.collect();
    let ranges: Vec<_> = rig.batches[0]
        .settles
        .iter()
        .map(|(from, until)| (from.0, until.0))
        .collect();
    assert_eq!(ranges, [(0, 4), (5, 6), (7, 9)]);
}

#[test]
fn after_a_failed_log_nothing_durable_is_confirmed() {
    let mut rig = durable_queue();
    command(
        &mut rig,
        publish(persistent(), Some((5, 1))),
        "records urgent",
    );
    rig.collect();
    command(
        &mut rig,
        publish(persistent(), Some((5, 2))),
        "records urgent",
    );
    check(
        &rig.call(|queue, _, _, effects| queue.handle_storage_failed(effects)),
        "c5 nack 1..=2",
    );
    command(
        &mut rig,
        publish(persistent(), Some((5, 3))),
        "c5 nack 3..=3",
    );
    command(
        &mut rig,
        publish(transient(), Some((5, 4))),
        "c5 confirm 4..=4",
    );
    command(&mut rig, status(), "c9 status 3 0");
}

#[test]
fn delivered_messages_are_marked_redelivered_after_a_restart() {
    let mut rig = durable_queue();
    command(&mut rig, consume(consumer(1), false, 2, 0), "c1 consume-ok");
    for _ in 0..3 {
        rig.command(publish(persistent(), None));
    }
    rig.catch_up();
    assert_eq!(rig.disk_delivered_until, Position(2));
    check(&rig.crash(), "load 0..3");
    rig.catch_up();
    rig.command(consume(consumer(2), true, 0, 0));
    check(&rig.loaded(), "c2 deliver 1 redelivered; c2 deliver 2");
    assert_eq!(rig.queue.counters().redelivered, 2);
}

#[test]
fn messages_expire_at_the_head_in_time() {
    let mut rig = queue_with(QueueArguments {
        message_ttl_ms: Some(100),
        dead_letter_exchange: Some("dlx".into()),
        ..QueueArguments::default()
    });
    command(&mut rig, publish(transient(), None), "wake 1100");
    let short = Message {
        expiration_ms: Some(30),
        ..transient()
    };
    command(&mut rig, publish(short, None), "");
    check(&rig.pass_ms(50), "");
    command(&mut rig, publish(transient(), None), "");
    check(
        &rig.pass_ms(50),
        "dead-letter expired to dlx; dead-letter expired to dlx; wake 1150",
    );
    command(&mut rig, status(), "c9 status 1 0");
}

#[test]
fn without_time_to_live_a_message_goes_to_a_waiting_consumer_or_nowhere() {
    let mut rig = queue_with(QueueArguments {
        message_ttl_ms: Some(0),
        ..QueueArguments::default()
    });
    command(
        &mut rig,
        publish(transient(), Some((5, 1))),
        "c5 confirm 1..=1",
    );
    command(&mut rig, consume(consumer(1), false, 1, 0), "c1 consume-ok");
    command(&mut rig, publish(transient(), None), "c1 deliver 1");
    command(&mut rig, publish(transient(), None), "");
    assert_eq!(rig.queue.counters().expired, 2);
}

#[test]
fn expiry_goes_on_across_a_restart() {
    let mut rig = durable_queue();
    command(
        &mut rig,
        publish(
            Message {
                expiration_ms: Some(100),
                ..persistent()
            },
            None,
        ),
        "records; wake 1100",
    );
    rig.catch_up();
    rig.now.wall_ms += 40;
    check(&rig.crash(), "load 0..1");
    check(&rig.loaded(), "wake 1060");
    check(&rig.pass_ms(60), "records");
    rig.catch_up();
    assert!(rig.disk.is_empty());
}

#[test]
fn the_oldest_make_room() {
    let mut rig = queue_with(QueueArguments {
        max_length: Some(2),
        dead_letter_exchange: Some("dlx".into()),
        ..QueueArguments::default()
    });
    fill(&mut rig, 2);
    command(
        &mut rig,
        publish(transient(), Some((5, 1))),
        "dead-letter maxlen to dlx; c5 confirm 1..=1",
    );
    command(&mut rig, get(), "c9 get-ok 1 ready=1");
    command(&mut rig, publish(transient(), None), "");
}

#[test]
fn a_full_queue_may_refuse() {
    let arguments = QueueArguments {
        max_length_bytes: Some(25),
        overflow: Overflow::RejectPublish,
        dead_letter_exchange: Some("dlx".into()),
        ..QueueArguments::default()
    };
    let mut rig = queue_with(arguments.clone());
    fill(&mut rig, 2);
    command(
        &mut rig,
        publish(transient(), Some((5, 1))),
        "c5 nack 1..=1",
    );
    command(&mut rig, publish(transient(), None), "");
    command(&mut rig, status(), "c9 status 2 0");

    let mut rig = queue_with(QueueArguments {
        overflow: Overflow::RejectPublishDlx,
        ..arguments
    });
    fill(&mut rig, 2);
    command(
        &mut rig,
        publish(transient(), Some((5, 1))),
        "dead-letter maxlen to dlx; c5 nack 1..=1",
    );
}

#[test]
fn rejected_messages_are_dead_lettered() {
    let mut rig = queue_with(QueueArguments {
        dead_letter_exchange: Some("dlx".into()),
        ..QueueArguments::default()
    });
    command(&mut rig, consume(consumer(1), false, 0, 0), "c1 consume-ok");
    command(&mut rig, publish(transient(), None), "c1 deliver 0");
    command(
        &mut rig,
        settle(1, &[0], Outcome::Discard),
        "dead-letter rejected to dlx",
    );
}

#[test]
fn higher_priorities_go_first_and_requeue_within_their_level() {
    let mut rig = queue_with(QueueArguments {
        max_priority: Some(5),
        ..QueueArguments::default()
    });
    for priority in [1, 5, 9, 0, 5] {
        rig.command(publish(
            Message {
                priority,
                ..transient()
            },
            None,
        ));
    }
    command(
        &mut rig,
        consume(consumer(1), false, 2, 0),
        "c1 consume-ok; c1 deliver 1; c1 deliver 2",
    );
    command(
        &mut rig,
        settle(1, &[2], Outcome::Requeue),
        "c1 deliver 2 redelivered",
    );
    command(
        &mut rig,
        settle(1, &[1, 2], Outcome::Ack),
        "c1 deliver 4; c1 deliver 0",
    );
    command(&mut rig, settle(1, &[0], Outcome::Ack), "c1 deliver 3");
}

#[test]
fn purge_drops_what_is_ready_and_nothing_else() {
    let mut rig = durable_queue();
    command(&mut rig, consume(consumer(1), false, 1, 0), "c1 consume-ok");
    for _ in 0..5 {
        rig.command(publish(persistent(), None));
    }
    rig.catch_up();
    command(&mut rig, purge(), "records; c9 purged 4");
    rig.catch_up();
    assert_eq!(rig.disk.keys().copied().collect::<Vec<_>>(), [Position(0)]);
    command(
        &mut rig,
        settle(1, &[0], Outcome::Requeue),
        "c1 deliver 0 redelivered",
    );
}

#[test]
fn an_auto_delete_queue_goes_with_its_last_consumer() {
    let mut settings = settings(false, QueueArguments::default());
    settings.auto_delete = true;
    let mut rig = Rig::new(settings);
    fill(&mut rig, 1);
    command(
        &mut rig,
        consume(consumer(1), false, 0, 0),
        "c1 consume-ok; c1 deliver 0",
    );
    command(&mut rig, consume(consumer(2), false, 0, 0), "c2 consume-ok");
    command(&mut rig, cancel(1), "c1 cancel-ok");
    command(&mut rig, cancel(2), "c2 cancel-ok; delete");
    command(&mut rig, cancel(2), "c2 cancel-ok");
    command(
        &mut rig,
        publish(transient(), Some((5, 1))),
        "c5 confirm 1..=1",
    );
    command(&mut rig, get(), "c9 failed: no queue 'q' in vhost '/'");
}

#[test]
fn delete_minds_its_conditions() {
    let mut rig = durable_queue();
    command(
        &mut rig,
        publish(persistent(), Some((5, 1))),
        "records urgent",
    );
    command(
        &mut rig,
        delete(true, true),
        "c9 failed: queue 'q' in vhost '/' not empty",
    );
    command(
        &mut rig,
        consume(consumer(1), false, 1, 0),
        "c1 consume-ok; c1 deliver 0",
    );
    command(
        &mut rig,
        delete(true, true),
        "c9 failed: queue 'q' in vhost '/' in use",
    );
    command(&mut rig, publish(transient(), None), "");
    command(&mut rig, delete(false, false), "delete for c9 ready=1");
    command(&mut rig, settle(1, &[0], Outcome::Ack), "");
    let effects = rig.call(|queue, _, _, effects| queue.handle_deleted(effects));
    check(&effects, "c1 consumer-cancelled; c5 confirm 1..=1");
}

#[test]
fn an_unused_queue_expires_and_use_puts_it_off() {
    let mut rig = Rig::new(settings(
        false,
        QueueArguments {
            expires_ms: Some(100),
            ..QueueArguments::default()
        },
    ));
    assert_eq!(rig.wake.map(|at| at.as_millis()), Some(1100));
    check(&rig.pass_ms(60), "");
    command(&mut rig, status(), "c9 status 0 0");
    check(&rig.pass_ms(60), "wake 1160");
    command(&mut rig, consume(consumer(1), false, 0, 0), "c1 consume-ok");
    check(&rig.pass_ms(60), "");
    command(&mut rig, cancel(1), "c1 cancel-ok; wake 1280");
    check(&rig.pass_ms(100), "delete");
}

/// One turn with many publishes of 1 KiB.
fn publish_many(rig: &mut Rig, count: usize, is_persistent: bool) {
    rig.call(|queue, now, windows, effects| {
        for _ in 0..count {
            queue.apply(
                now,
                publish(message(is_persistent, 1024), None),
                windows,
                effects,
            );
        }
    });
}

#[test]
fn a_long_backlog_leaves_ram_and_comes_back_in_order() {
    for is_persistent in [true, false] {
        let mut rig = durable_queue();
        let count = 20_000;
        for _ in 0..count / 1000 {
            publish_many(&mut rig, 1000, is_persistent);
            rig.catch_up();
            assert!(
                rig.queue.ram_bytes() <= READY_RAM_BYTES_MAX,
                "{} bytes",
                rig.queue.ram_bytes()
            );
        }
        rig.evict(0);
        assert!(rig.queue.ram_bytes() <= READY_RAM_BYTES_MIN);
        rig.evict(usize::MAX);
        let mut seen = show(&rig.command(consume(consumer(1), true, 0, 0)));
        seen.push_str("; ");
        seen.push_str(&show(&rig.catch_up()));
        let positions = seen
            .split("; ")
            .filter_map(|effect| effect.strip_prefix("c1 deliver ")?.parse::<u64>().ok());
        assert!(
            positions.eq(0..count),
            "all of them, in order, not marked redelivered"
        );
        assert!(rig.disk.is_empty(), "and the log forgot them");
    }
}

#[test]
fn a_read_that_was_overtaken_by_paging_leaves_no_hole() {
    let mut rig = durable_queue();
    for _ in 0..8 {
        publish_many(&mut rig, 1000, true);
        rig.catch_up();
    }
    let mut seen = show(&rig.command(consume(consumer(1), false, 1300, 0)));
    let read_from = rig.load.as_ref().expect("the head runs low").from;
    rig.evict(0);
    let moved = rig.queue.ram_bytes();
    rig.evict(usize::MAX);
    seen.push_str("; ");
    seen.push_str(&show(&rig.loaded()));
    let first_read = rig.load.as_ref().map(|load| load.from);
    assert!(
        first_read < Some(read_from),
        "paging did not overtake the read ({moved} bytes left)"
    );
    let mut held: Vec<u64> = (0..1300).collect();
    while !held.is_empty() {
        let mut effects = rig.command(settle(1, &held, Outcome::Ack));
        effects.extend(rig.catch_up());
        let text = show(&effects);
        held = text
            .split("; ")
            .filter_map(|effect| effect.strip_prefix("c1 deliver ")?.parse().ok())
            .collect();
        seen.push_str("; ");
        seen.push_str(&text);
    }
    let delivered = seen
        .split("; ")
        .filter_map(|effect| effect.strip_prefix("c1 deliver ")?.parse::<u64>().ok());
    assert!(delivered.eq(0..8000), "all of them, in order");
}

#[test]
fn a_position_that_was_delivered_is_not_given_out_again_after_a_crash() {
    let mut rig = durable_queue();
    command(&mut rig, consume(consumer(1), false, 0, 0), "c1 consume-ok");
    command(
        &mut rig,
        publish(persistent(), None),
        "records; c1 deliver 0",
    );
    command(&mut rig, publish(transient(), None), "c1 deliver 1");
    rig.catch_up();
    assert_eq!(
        (rig.disk_next, rig.disk_delivered_until),
        (Position(1), Position(2))
    );
    rig.crash();
    rig.catch_up();
    command(&mut rig, publish(transient(), None), "");
    command(&mut rig, get(), "c9 get-ok 0 redelivered ready=1");
    command(&mut rig, get(), "c9 get-ok 2 ready=0");
}

#[test]
fn a_requeued_backlog_goes_back_to_the_store() {
    let mut rig = durable_queue();
    rig.command(consume(consumer(1), false, 0, 0));
    let count = 10_000;
    for _ in 0..count / 1000 {
        publish_many(&mut rig, 1000, true);
        rig.catch_up();
    }
    assert!(
        rig.queue.ram_bytes() <= 2 * READY_RAM_BYTES_MAX,
        "unacked payloads: {}",
        rig.queue.ram_bytes()
    );
    rig.command(cancel(1));
    for chunk in (0..count).collect::<Vec<_>>().chunks(512) {
        rig.command(settle(1, chunk, Outcome::Requeue));
    }
    rig.catch_up();
    rig.evict(0);
    assert!(rig.queue.ram_bytes() <= READY_RAM_BYTES_MIN);
    assert!(rig.queue.is_idle());
    rig.drop_idle();
    rig.command(consume(consumer(2), true, 0, 0));
    rig.catch_up();
    assert_eq!(rig.queue.counters().redelivered, count);
}

#[test]
fn a_barrier_waits_for_the_settles_before_it_and_has_them_written_soon() {
    let mut rig = three_unacked();
    command(&mut rig, barrier(), "c9 barrier");
    command(&mut rig, settle(1, &[0], Outcome::Ack), "records");
    command(&mut rig, barrier(), "records urgent");
    rig.collect();
    command(&mut rig, barrier(), "");
    command(&mut rig, settle(1, &[1], Outcome::Discard), "records");
    command(&mut rig, barrier(), "records urgent");
    check(&rig.durable(), "c9 barrier; c9 barrier");
    rig.collect();
    check(&rig.durable(), "c9 barrier");
    assert_eq!(rig.disk.len(), 1);
    command(&mut rig, barrier(), "c9 barrier");
    assert!(!rig.queue.is_idle(), "one is still unacked");
}

#[test]
fn a_barrier_does_not_wait_for_what_no_crash_can_undo() {
    let mut rig = three_unacked();
    command(
        &mut rig,
        settle(1, &[0], Outcome::Requeue),
        "c1 deliver 0 redelivered",
    );
    command(&mut rig, barrier(), "c9 barrier");
    command(
        &mut rig,
        publish(persistent(), None),
        "records; c1 deliver 3",
    );
    command(&mut rig, settle(1, &[3], Outcome::Ack), "");
    command(&mut rig, barrier(), "c9 barrier");
    rig.collect();
    command(&mut rig, barrier(), "c9 barrier");
    rig.catch_up();
    assert_eq!(rig.disk.len(), 3);
}

#[test]
fn a_barrier_fails_with_the_log_and_falls_with_the_queue() {
    let failed = "c9 barrier failed: the log has failed, and with it acknowledgements";
    let mut rig = three_unacked();
    rig.command(settle(1, &[0], Outcome::Ack));
    command(&mut rig, barrier(), "records urgent");
    check(
        &rig.call(|queue, _, _, effects| queue.handle_storage_failed(effects)),
        failed,
    );
    command(&mut rig, barrier(), failed);

    let mut rig = three_unacked();
    rig.command(settle(1, &[0], Outcome::Ack));
    command(&mut rig, delete(false, false), "delete for c9 ready=0");
    command(&mut rig, barrier(), "records urgent");
    check(
        &rig.call(|queue, _, _, effects| queue.handle_deleted(effects)),
        "c1 consumer-cancelled; c9 barrier",
    );
}

#[test]
fn a_get_waits_for_the_store_and_keeps_its_turn() {
    let mut rig = durable_queue();
    for _ in 0..3 {
        rig.command(publish(persistent(), None));
    }
    rig.catch_up();
    assert!(rig.queue.is_idle());
    check(&rig.drop_idle(), "load 0..3");
    command(&mut rig, get(), "");
    command(&mut rig, consume(consumer(1), true, 0, 0), "c1 consume-ok");
    check(&rig.loaded(), "c9 get-ok 0 ready=2; records; load 1..3");
    check(&rig.loaded(), "c1 deliver 1; c1 deliver 2");
    rig.catch_up();
    assert_eq!(rig.disk.len(), 1);
}

#[test]
fn messages_that_the_store_lost_are_counted_and_not_waited_for() {
    let mut rig = durable_queue();
    for _ in 0..3 {
        rig.command(publish(persistent(), None));
    }
    rig.catch_up();
    rig.drop_idle();
    rig.catch_up();
    rig.disk.remove(&Position(1));
    rig.disk.remove(&Position(2));
    command(
        &mut rig,
        consume(consumer(1), false, 0, 0),
        "c1 consume-ok; c1 deliver 0; records; load 1..3",
    );
    check(&rig.loaded(), "");
    assert_eq!((rig.queue.ready_count(), rig.queue.counters().lost), (0, 2));
}

fn quorum_queue(arguments: QueueArguments) -> Rig {
    Rig::new(settings(
        true,
        QueueArguments {
            queue_type: QueueType::Quorum,
            ..arguments
        },
    ))
}

fn to_dlx() -> QueueArguments {
    QueueArguments {
        dead_letter_exchange: Some("dlx".into()),
        ..QueueArguments::default()
    }
}

/// Dead letters of each turn from `effects` on, until the queue asks for no more turns.
fn dead_letters_by_turn(rig: &mut Rig, mut effects: Effects) -> Vec<usize> {
    let mut turns = Vec::new();
    loop {
        let is_dead_letter = |effect: &&Effect| matches!(effect, Effect::DeadLetter { .. });
        turns.push(effects.iter().filter(is_dead_letter).count());
        if rig.wake.is_none_or(|at| at > rig.now.monotonic) {
            return turns;
        }
        effects = rig.pass_ms(0);
    }
}

#[test]
fn many_that_expire_at_once_are_dropped_in_steps() {
    let mut rig = queue_with(QueueArguments {
        message_ttl_ms: Some(100),
        ..to_dlx()
    });
    for _ in 0..2500 {
        rig.command(publish(transient(), None));
    }
    let effects = rig.pass_ms(100);
    let turns = dead_letters_by_turn(&mut rig, effects);
    assert!(
        turns.iter().all(|&count| count <= DROPS_MAX as usize),
        "{turns:?}"
    );
    assert_eq!(turns.iter().sum::<usize>(), 2500);
    assert_eq!(rig.queue.ready_count(), 0);
}

#[test]
fn an_expired_message_waits_for_its_turn_and_goes_to_nobody() {
    let mut rig = queue_with(QueueArguments {
        message_ttl_ms: Some(100),
        ..QueueArguments::default()
    });
    for _ in 0..1500 {
        rig.command(publish(transient(), None));
    }
    rig.now.monotonic += Duration::from_millis(200);
    let effects = rig.command(get());
    assert!(
        !show(&effects).contains("get-"),
        "the answer waits for the rest"
    );
    assert!(rig.queue.ready_count() > 0);
    check(&rig.pass_ms(0), "c9 get-empty");
}

#[test]
fn many_that_are_rejected_at_once_become_dead_letters_in_steps() {
    let mut rig = queue_with(to_dlx());
    rig.command(consume(consumer(1), false, 0, 0));
    for _ in 0..2500 {
        rig.command(publish(transient(), None));
    }
    let all: Vec<u64> = (0..2500).collect();
    let effects = rig.command(settle(1, &all, Outcome::Discard));
    assert!(rig.queue.undead_count() > 0);
    let turns = dead_letters_by_turn(&mut rig, effects);
    assert!(
        turns.iter().all(|&count| count <= DROPS_MAX as usize),
        "{turns:?}"
    );
    assert_eq!(turns.iter().sum::<usize>(), 2500);
    assert_eq!(rig.queue.undead_count(), 0);
    assert_eq!(rig.queue.counters().rejected, 2500);
}

#[test]
fn a_dead_letter_is_kept_until_it_has_arrived() {
    let mut rig = quorum_queue(QueueArguments {
        dead_letter_at_least_once: true,
        overflow: Overflow::RejectPublish,
        ..to_dlx()
    });
    rig.command(publish(transient(), None));
    rig.collect();
    rig.durable();
    rig.command(get());
    command(
        &mut rig,
        settle(9, &[0], Outcome::Reject),
        "dead-letter rejected to dlx awaited 0",
    );
    let refused = |rig: &mut Rig, arrived| {
        rig.call(|queue, now, windows, effects| {
            queue.dead_letter_arrived(now, Position(0), arrived, windows, effects);
        })
    };
    check(&refused(&mut rig, false), "wake 6000");
    assert_eq!(rig.disk.len(), 1);
    check(&rig.pass_ms(4_999), "");
    check(&rig.pass_ms(1), "dead-letter rejected to dlx awaited 0");
    refused(&mut rig, true);
    rig.collect();
    rig.durable();
    assert!(rig.disk.is_empty());
    assert_eq!(rig.queue.undead_count(), 0);
}

#[test]
fn a_quorum_queue_counts_who_failed_and_gives_up() {
    let mut rig = quorum_queue(QueueArguments {
        delivery_limit: Some(1),
        ..to_dlx()
    });
    rig.command(publish(transient(), None));
    command(&mut rig, get(), "c9 get-ok 0 ready=0");
    rig.command(settle(9, &[0], Outcome::Requeue));
    command(&mut rig, get(), "c9 get-ok 0 redelivered ready=0 1/0");
    rig.command(settle(9, &[0], Outcome::Fail));
    command(&mut rig, get(), "c9 get-ok 0 redelivered ready=0 2/1");
    command(
        &mut rig,
        settle(9, &[0], Outcome::Fail),
        "dead-letter delivery_limit to dlx",
    );
    assert_eq!(rig.queue.counters().delivery_limit, 1);
}

#[test]
fn a_quorum_queue_takes_back_what_is_kept_too_long() {
    let mut rig = quorum_queue(QueueArguments {
        consumer_timeout_ms: Some(1000),
        ..QueueArguments::default()
    });
    rig.command(consume(consumer(1), false, 0, 0));
    rig.command(publish(transient(), None));
    rig.command(publish(transient(), None));
    rig.command(settle(1, &[0], Outcome::Ack));
    check(&rig.pass_ms(1000), "");
    let effects = rig.pass_ms(100);
    assert!(
        show(&effects).contains("c1 timed out [1]"),
        "{}",
        show(&effects)
    );
    assert_eq!(rig.queue.consumer_count(), 0);
    command(
        &mut rig,
        get(),
        "c9 get-ok 1 redelivered ready=0 1/0; wake 3200",
    );
}

#[test]
fn a_message_with_a_priority_brings_levels_to_a_quorum_queue() {
    let mut rig = quorum_queue(QueueArguments::default());
    let with_priority = |priority: u8| {
        let mut message = transient();
        message.properties = vec![0x08, 0, priority].into();
        message.priority = priority;
        message
    };
    rig.command(publish(transient(), None));
    rig.command(publish(with_priority(1), None));
    rig.command(publish(with_priority(40), None));
    rig.command(publish(with_priority(4), None));
    for position in [2, 0, 3, 1] {
        let effects = rig.command(get());
        assert!(
            show(&effects).starts_with(&format!("c9 get-ok {position} ")),
            "{}",
            show(&effects)
        );
    }
    rig.command(publish(transient(), None));
    command(&mut rig, get(), "c9 get-ok 4 ready=0");
}

#[test]
fn messages_that_come_back_to_an_empty_quorum_queue_have_their_levels() {
    let mut rig = quorum_queue(QueueArguments::default());
    let mut urgent = transient();
    urgent.properties = vec![0x08, 0, 9].into();
    urgent.priority = 9;
    rig.command(publish(transient(), None));
    rig.command(publish(urgent, None));
    rig.command(get());
    rig.command(get());
    rig.command(settle(9, &[0, 1], Outcome::Requeue));
    command(&mut rig, get(), "c9 get-ok 1 redelivered ready=1 1/0");
    command(&mut rig, get(), "c9 get-ok 0 redelivered ready=0 1/0");
}

#[test]
fn a_higher_priority_takes_over_a_quorum_queue_when_its_consumer_holds_nothing() {
    let mut rig = quorum_queue(QueueArguments {
        single_active_consumer: true,
        ..QueueArguments::default()
    });
    rig.command(consume(consumer(1), false, 0, 0));
    rig.command(publish(transient(), None));
    rig.command(consume(consumer(2), false, 0, 5));
    let effects = rig.command(publish(transient(), None));
    assert!(
        !show(&effects).contains("deliver"),
        "the active one holds a message"
    );
    let effects = rig.command(settle(1, &[0], Outcome::Ack));
    assert!(
        show(&effects).contains("c2 deliver 1"),
        "{}",
        show(&effects)
    );
}

#[test]
fn what_comes_back_to_a_quorum_queue_later_is_written_and_has_its_level() {
    let mut rig = quorum_queue(QueueArguments::default());
    rig.command(publish(transient(), None));
    let mut urgent = transient();
    urgent.properties = vec![0x08, 0, 9].into();
    urgent.priority = 9;
    let message = std::sync::Arc::new(urgent);
    rig.command(QueueCommand::Retry { message });
    rig.catch_up();
    assert_eq!(rig.disk.len(), 2);
    let effects = rig.command(get());
    assert!(show(&effects).starts_with("c9 get-ok 1 redelivered"));
}

#[test]
fn what_is_to_be_tried_later_leaves_the_queue_and_comes_back_marked() {
    let arguments = QueueArguments {
        delayed_retry: DelayedRetry {
            retry_type: RetryType::Failed,
            min_ms: Some(100),
            ..DelayedRetry::default()
        },
        max_length: Some(1),
        overflow: Overflow::RejectPublish,
        ..QueueArguments::default()
    };
    let mut rig = Rig::new(settings(true, arguments));
    command(&mut rig, consume(consumer(1), false, 0, 0), "c1 consume-ok");
    command(
        &mut rig,
        publish(persistent(), None),
        "records; c1 deliver 0",
    );
    command(
        &mut rig,
        settle(1, &[0], Outcome::Requeue),
        "c1 deliver 0 redelivered",
    );
    rig.catch_up();
    command(
        &mut rig,
        settle(1, &[0], Outcome::Fail),
        "retry 0 Fail; records",
    );
    rig.catch_up();
    assert!(rig.disk.is_empty(), "another place has it");
    command(&mut rig, cancel(1), "c1 cancel-ok");
    command(&mut rig, publish(persistent(), None), "records");
    let message = std::sync::Arc::new(persistent());
    command(&mut rig, QueueCommand::Retry { message }, "");
    assert_eq!(rig.queue.ready_count(), 2, "the limit is for new messages");
    command(&mut rig, get(), "c9 get-ok 1 ready=1");
    command(&mut rig, get(), "c9 get-ok 2 redelivered ready=0");
}

#[test]
fn delivery_counts_survive_a_crash() {
    let mut rig = quorum_queue(QueueArguments {
        delivery_limit: Some(2),
        ..to_dlx()
    });
    for _ in 0..3 {
        rig.command(publish(transient(), None));
    }
    for outcome in [Outcome::Fail, Outcome::Requeue] {
        (0..3).for_each(|_| drop(rig.command(get())));
        rig.command(settle(9, &[0, 1], outcome));
        rig.command(settle(9, &[2], Outcome::Return));
    }
    rig.catch_up();
    let noted = |rig: &Rig, position| rig.attempts_on_disk(Position(position)).0;
    let counts = |acquired, failed| Attempts { acquired, failed };
    assert_eq!(rig.disk_attempts.len(), 1, "older notes are forgotten");
    for position in [0, 1] {
        assert_eq!(noted(&rig, position), counts(2, 1));
    }
    assert!(noted(&rig, 2).is_first());
    rig.crash();
    rig.catch_up();
    let mut effects = rig.command(get());
    effects.extend(rig.catch_up());
    let seen = show(&effects);
    assert!(seen.contains("get-ok 0 redelivered ready=2 2/1"), "{seen}");
    rig.command(settle(9, &[0], Outcome::Fail));
    rig.command(get());
    let effects = rig.command(settle(9, &[0], Outcome::Fail));
    assert!(show(&effects).contains("dead-letter delivery_limit to dlx"));
    rig.command(get());
    rig.command(settle(9, &[1], Outcome::Ack));
    rig.catch_up();
    assert!(rig.disk_attempts.is_empty());
}

#[test]
fn what_waits_to_be_tried_again_is_not_ready_and_counts_for_limits() {
    let mut rig = quorum_queue(QueueArguments {
        max_length: Some(2),
        delayed_retry: DelayedRetry {
            retry_type: RetryType::Failed,
            min_ms: Some(1000),
            ..DelayedRetry::default()
        },
        ..QueueArguments::default()
    });
    rig.command(publish(transient(), None));
    rig.command(get());
    rig.command(settle(9, &[0], Outcome::Fail));
    rig.catch_up();
    command(&mut rig, get(), "c9 get-empty");
    assert_eq!((rig.queue.ready_count(), rig.queue.delayed_count()), (0, 1));
    rig.command(publish(transient(), None));
    rig.command(publish(transient(), None));
    assert_eq!(rig.queue.counters().max_length, 1);
    rig.crash();
    rig.catch_up();
    assert_eq!((rig.queue.ready_count(), rig.queue.delayed_count()), (0, 1));
    rig.pass_ms(999);
    assert_eq!(rig.queue.delayed_count(), 1);
    rig.pass_ms(1);
    assert_eq!((rig.queue.ready_count(), rig.queue.delayed_count()), (1, 0));
}

#[test]
fn nothing_is_dropped_because_its_size_was_guessed() {
    let mut rig = Rig::new(settings(
        true,
        QueueArguments {
            max_length_bytes: Some(35),
            ..QueueArguments::default()
        },
    ));
    for _ in 0..3 {
        rig.command(publish(persistent(), None));
    }
    rig.catch_up();
    rig.guesses_bytes = true;
    rig.crash();
    assert!(rig.queue.ready_bytes() > 35);
    rig.catch_up();
    assert_eq!((rig.queue.ready_count(), rig.queue.ready_bytes()), (3, 30));
    rig.command(publish(persistent(), None));
    rig.catch_up();
    assert_eq!(rig.queue.ready_count(), 3);
    assert_eq!(rig.queue.counters().max_length, 1);
}
