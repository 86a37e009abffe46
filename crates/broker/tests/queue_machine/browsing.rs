//! What an operator does to a queue: showing, taking, deleting, pausing.

use crate::rig::{
    Rig, channel, consume, consumer, message, operate, publish, settings, settle, show,
};
use base::Position;
use broker::browse::{
    BROWSES_WAITING_MAX, BrowsedMessage, Cursor, Operation, OperationReply, Present,
};
use broker::command::{Outcome, QueueCommand, Reply};
use broker::effect::{Effect, Effects};
use broker::queue::READY_RAM_BYTES_MIN;
use broker::queue_arguments::QueueArguments;

fn browse(from: Cursor, messages_max: usize) -> QueueCommand {
    operate(Operation::Browse {
        present: Present::Waiting,
        from,
        messages_max,
    })
}

fn at(position: u64) -> Cursor {
    Cursor {
        level: 0,
        position: Position(position),
    }
}

#[track_caller]
fn check(effects: &Effects, expected: &str) {
    assert_eq!(show(effects), expected);
}

/// A durable queue with `count` messages of `body_bytes`, all in the log.
fn queue_of(count: u64, body_bytes: usize) -> Rig {
    let mut rig = Rig::new(settings(true, QueueArguments::default()));
    for _ in 0..count {
        rig.command(publish(message(true, body_bytes), None));
    }
    rig.catch_up();
    rig
}

/// A queue whose middle is cold.
fn cold_queue() -> Rig {
    let mut rig = queue_of(40, 8_192);
    rig.evict(READY_RAM_BYTES_MIN);
    assert!(rig.queue.ram_bytes() <= READY_RAM_BYTES_MIN);
    rig
}

fn take_browsed(effects: Effects, into: &mut Vec<BrowsedMessage>) -> Option<Cursor> {
    let mut next = None;
    for effect in effects {
        if let Effect::Reply {
            reply: Reply::Operated(reply),
            ..
        } = effect
            && let OperationReply::Browsed {
                messages, next: n, ..
            } = *reply
        {
            into.extend(messages);
            next = n;
        }
    }
    next
}

/// Everything that a browse shows, step by step.
fn browse_all(rig: &mut Rig, step: usize) -> Vec<BrowsedMessage> {
    let mut all = Vec::new();
    let mut from = Some(Cursor::START);
    while let Some(cursor) = from {
        let mut effects = rig.command(browse(cursor, step));
        while rig.look_up.is_some() || rig.load.is_some() {
            effects.extend(if rig.look_up.is_some() {
                rig.looked_up()
            } else {
                rig.loaded()
            });
        }
        from = take_browsed(effects, &mut all);
    }
    all
}

fn positions(messages: &[BrowsedMessage]) -> Vec<u64> {
    messages
        .iter()
        .map(|message| message.at.position.0)
        .collect()
}

fn pick(messages: &[BrowsedMessage], positions: &[u64]) -> Vec<BrowsedMessage> {
    let picked = messages
        .iter()
        .filter(|message| positions.contains(&message.at.position.0));
    picked.cloned().collect()
}

fn drain(rig: &mut Rig) -> Vec<u64> {
    let mut effects = rig.command(consume(consumer(1), true, 0, 0));
    effects.extend(rig.catch_up());
    let delivered = effects.iter().flat_map(|effect| {
        if let Effect::Reply {
            reply: Reply::Deliver {
                position, messages, ..
            },
            ..
        } = effect
        {
            return position.0..position.0 + messages.len() as u64;
        }
        0..0
    });
    delivered.collect()
}

#[test]
fn a_browse_shows_what_waits_and_what_is_unacked_and_changes_nothing() {
    let mut rig = queue_of(5, 10);
    rig.command(consume(consumer(1), false, 2, 0));
    check(
        &rig.command(browse(Cursor::START, 10)),
        "c5 browsed 0u 1u 2 3 4 then end",
    );
    check(
        &rig.command(browse(Cursor::START, 2)),
        "c5 browsed 0u 1u then 2",
    );
    check(&rig.command(browse(at(2), 2)), "c5 browsed 2 3 then 4");
    check(&rig.command(browse(at(4), 1)), "c5 browsed 4 then 5");
    check(&rig.command(browse(at(5), 1)), "c5 browsed  then end");
    rig.command(settle(1, &[1], Outcome::Requeue));
    rig.command(settle(1, &[0], Outcome::Ack));
    let shown = rig.command(browse(Cursor::START, 10));
    check(&shown, "c5 browsed 1ru 2u 3 4 then end");
    assert_eq!(rig.queue.ready_count(), 2);
}

#[test]
fn the_cold_part_is_read_for_the_operator_only() {
    let mut rig = cold_queue();
    let ram = rig.queue.ram_bytes();
    let all = browse_all(&mut rig, 7);
    assert_eq!(positions(&all), (0..40).collect::<Vec<_>>());
    assert_eq!(rig.queue.ram_bytes(), ram);
    assert_eq!(rig.queue.ready_count(), 40);
}

#[test]
fn what_a_queue_has_read_for_itself_after_a_restart_does_not_make_small_pieces() {
    let mut rig = queue_of(40, 10);
    rig.crash();
    // The queue reads its first message to see when it expires.
    rig.loaded();
    let mut steps = 0;
    while rig.queue.ready_count() > 0 {
        let mut effects = rig.command(browse(Cursor::START, 20));
        if rig.look_up.is_some() {
            effects = rig.looked_up();
        }
        let mut messages = Vec::new();
        take_browsed(effects, &mut messages);
        rig.command(operate(Operation::Delete { messages }));
        if rig.load.is_some() {
            rig.loaded();
        }
        rig.catch_up();
        steps += 1;
    }
    assert_eq!(steps, 2);
}

#[test]
fn what_somebody_got_while_it_was_read_is_not_shown_as_ready() {
    let mut rig = cold_queue();
    let mut cold = 0;
    while rig.look_up.is_none() {
        cold += 1;
        rig.command(browse(at(cold), 1));
    }
    let read = rig.look_up.take().unwrap();
    rig.command(consume(consumer(1), false, 0, 0));
    rig.catch_up();
    rig.command(settle(1, &[cold], Outcome::Ack));
    rig.catch_up();
    // The read is as it was before the deliveries.
    let stored = (cold..cold + 2).map(|position| {
        let message = std::sync::Arc::new(message(true, 8_192));
        (Position(position), message, None)
    });
    let (stored, reached) = (stored.collect(), read.until);
    let effects = rig.call(|queue, now, _, effects| {
        queue.handle_looked_up(now, stored, reached, effects);
    });
    let mut shown = Vec::new();
    take_browsed(effects, &mut shown);
    assert_eq!(positions(&shown), [cold + 1]);
    assert_eq!(shown[0].state, broker::browse::BrowsedState::Unacked);
}

#[test]
fn messages_are_deleted_wherever_they_stand() {
    for mut rig in [queue_of(40, 8_192), cold_queue()] {
        let all = browse_all(&mut rig, 100);
        let gone = [0, 1, 7, 15, 16, 17, 30, 38, 39];
        let mut twice = pick(&all, &gone);
        twice.extend(pick(&all, &[7]));
        check(
            &rig.command(operate(Operation::Delete { messages: twice })),
            "records; c5 deleted 9",
        );
        rig.catch_up();
        assert_eq!(rig.queue.counters().removed, 9);
        let left: Vec<u64> = (0..40)
            .filter(|position| !gone.contains(position))
            .collect();
        assert_eq!(positions(&browse_all(&mut rig, 100)), left);
        assert_eq!(drain(&mut rig), left);
        assert_eq!(rig.queue.ready_count(), 0);
        assert!(rig.disk.is_empty());
    }
}

#[test]
fn deleted_messages_do_not_come_back_after_a_crash() {
    let mut rig = cold_queue();
    let all = browse_all(&mut rig, 100);
    rig.command(operate(Operation::Delete {
        messages: pick(&all, &[3, 20, 21]),
    }));
    rig.catch_up();
    rig.crash();
    let left: Vec<u64> = (0..40).filter(|p| ![3, 20, 21].contains(p)).collect();
    assert_eq!(drain(&mut rig), left);
}

#[test]
fn taken_messages_are_nobody_elses_and_go_back_to_their_places() {
    for mut rig in [queue_of(40, 8_192), cold_queue()] {
        let all = browse_all(&mut rig, 100);
        let taken = [2, 3, 18, 19, 20, 37];
        check(
            &rig.command(operate(Operation::Take {
                messages: pick(&all, &taken),
            })),
            "c5 taken [2, 3, 18, 19, 20, 37]",
        );
        assert_eq!(rig.queue.unacked_count(), 6);
        assert_eq!(rig.queue.ready_count(), 34);
        // Memory comes and goes meanwhile.
        rig.evict(READY_RAM_BYTES_MIN);
        rig.catch_up();
        rig.command(settle(5, &[2, 3, 18, 20, 37], Outcome::Return));
        check(
            &rig.command(operate(Operation::Remove {
                positions: vec![Position(19)],
            })),
            "records",
        );
        rig.catch_up();
        let left: Vec<u64> = (0..40).filter(|&position| position != 19).collect();
        assert_eq!(positions(&browse_all(&mut rig, 100)), left);
        assert_eq!(drain(&mut rig), left);
    }
}

#[test]
fn a_taken_message_waits_again_after_a_crash() {
    let mut rig = queue_of(3, 10);
    let all = browse_all(&mut rig, 100);
    rig.command(operate(Operation::Take {
        messages: pick(&all, &[1]),
    }));
    rig.catch_up();
    rig.crash();
    assert_eq!(drain(&mut rig), [0, 1, 2]);
}

#[test]
fn with_priorities_the_highest_level_is_shown_first_also_after_a_restart() {
    let arguments = QueueArguments {
        max_priority: Some(5),
        ..QueueArguments::default()
    };
    let mut rig = Rig::new(settings(true, arguments));
    for priority in [0, 5, 1, 5, 0] {
        let mut message = message(true, 10);
        message.priority = priority;
        rig.command(publish(message, None));
    }
    rig.catch_up();
    for _ in 0..2 {
        let all = browse_all(&mut rig, 2);
        assert_eq!(positions(&all), [1, 3, 2, 0, 4]);
        rig.crash();
    }
    let all = browse_all(&mut rig, 100);
    rig.command(operate(Operation::Delete {
        messages: pick(&all, &[2, 3]),
    }));
    check(
        &rig.command(browse(Cursor::START, 10)),
        "c5 browsed 5/1 0 4 then end",
    );
    assert_eq!(drain(&mut rig), [1, 0, 4]);
}

#[test]
fn evicted_messages_of_levels_are_read_and_shown() {
    let arguments = QueueArguments {
        max_priority: Some(1),
        ..QueueArguments::default()
    };
    let mut rig = Rig::new(settings(true, arguments));
    for position in 0..40 {
        let mut message = message(true, 8_192);
        message.priority = position % 2;
        rig.command(publish(message, None));
    }
    rig.catch_up();
    rig.evict(READY_RAM_BYTES_MIN);
    let odd = (0..40).filter(|position| position % 2 == 1);
    let expected: Vec<u64> = odd.chain((0..40).step_by(2)).collect();
    assert_eq!(positions(&browse_all(&mut rig, 3)), expected);
}

#[test]
fn a_paused_queue_takes_messages_and_gives_none() {
    let mut rig = Rig::new(settings(true, QueueArguments::default()));
    rig.command(consume(consumer(1), true, 0, 0));
    rig.command(operate(Operation::SetPaused { paused: true }));
    check(&rig.command(publish(message(false, 10), None)), "");
    check(
        &rig.command(publish(message(false, 10), Some((2, 1)))),
        "c2 confirm 1..=1",
    );
    let get = QueueCommand::Get {
        channel: channel(9),
        no_ack: true,
    };
    check(&rig.command(get), "c9 get-empty");
    check(
        &rig.command(browse(Cursor::START, 10)),
        "c5 browsed 0 1 then end",
    );
    check(
        &rig.command(operate(Operation::SetPaused { paused: false })),
        "c1 deliver 0; c1 deliver 1",
    );
}

#[test]
fn too_many_browses_are_refused_and_all_end_with_the_queue() {
    let mut rig = cold_queue();
    for _ in 0..=BROWSES_WAITING_MAX {
        let effects = rig.command(browse(at(20), 1));
        if rig.look_up.is_some() && show(&effects).contains("failed") {
            check(
                &effects,
                "c5 failed: too many browse queue 'q' in vhost '/'",
            );
        }
    }
    let effects = rig.call(|queue, _, _, effects| queue.handle_deleted(effects));
    assert_eq!(
        show(&effects).matches("no queue 'q'").count(),
        BROWSES_WAITING_MAX
    );
}

#[test]
fn a_purge_leaves_the_log_what_an_operator_has_taken() {
    let mut rig = cold_queue();
    let all = browse_all(&mut rig, 10);
    let messages = pick(&all, &[20, 21]);
    rig.command(operate(Operation::Take { messages }));
    rig.command(QueueCommand::Purge {
        channel: channel(1),
    });
    rig.catch_up();
    let on_disk: Vec<u64> = rig.disk.keys().map(|position| position.0).collect();
    assert_eq!(on_disk, [20, 21]);
    rig.crash();
    assert_eq!(drain(&mut rig), [20, 21]);
}
