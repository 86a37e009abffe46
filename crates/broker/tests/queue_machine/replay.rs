//! The replay window: what is kept, for how long, and what a restart knows of it.

use crate::rig::{
    Rig, channel, consume, consumer, message, operate, publish, settings, settle, show,
};
use base::Position;
use broker::browse::{Cursor, Operation, OperationReply, Present, SettledTime};
use broker::command::{Outcome, QueueCommand, Reply};
use broker::effect::Effect;
use broker::queue_arguments::{QueueArguments, ReplayWindow};

fn arguments(ms: Option<u64>, bytes: Option<u64>) -> QueueArguments {
    QueueArguments {
        replay_window: ReplayWindow { ms, bytes },
        ..QueueArguments::default()
    }
}

fn queue(ms: Option<u64>, bytes: Option<u64>) -> Rig {
    Rig::new(settings(true, arguments(ms, bytes)))
}

fn publish_some(rig: &mut Rig, count: usize) {
    for _ in 0..count {
        rig.command(publish(message(true, 10), None));
    }
}

/// Takes out so many messages and settles them as they go.
fn fetch(rig: &mut Rig, count: usize) {
    for _ in 0..count {
        let get = QueueCommand::Get {
            channel: channel(9),
            no_ack: true,
        };
        assert!(show(&rig.command(get)).contains("get-ok"));
    }
}

/// Positions that a browse of settled messages shows, in steps.
fn settled(rig: &mut Rig, time: SettledTime) -> Vec<u64> {
    let mut shown = Vec::new();
    let mut from = Cursor::START;
    loop {
        let mut effects = rig.command(operate(Operation::Browse {
            present: Present::Settled(time),
            from,
            messages_max: 3,
        }));
        effects.extend(rig.catch_up());
        let answer = effects.into_iter().find_map(|effect| {
            if let Effect::Reply {
                reply: Reply::Operated(reply),
                ..
            } = effect
            {
                Some(*reply)
            } else {
                None
            }
        });
        let Some(OperationReply::Browsed { messages, next, .. }) = answer else {
            panic!("no answer");
        };
        shown.extend(messages.iter().map(|message| message.at.position.0));
        match next {
            Some(next) => from = next,
            None => return shown,
        }
    }
}

fn all(rig: &mut Rig) -> Vec<u64> {
    settled(rig, SettledTime::ANY)
}

#[test]
fn what_consumers_have_settled_can_be_seen_for_the_time_of_the_window() {
    let mut rig = queue(Some(10_000), None);
    publish_some(&mut rig, 5);
    fetch(&mut rig, 2);
    assert_eq!(all(&mut rig), [0, 1], "delivered without acks");
    rig.command(consume(consumer(1), false, 0, 0));
    rig.command(settle(1, &[3], Outcome::Ack));
    assert_eq!(all(&mut rig), [0, 1, 3]);
    assert_eq!(rig.queue.replayable_count(), 3);
    assert_eq!(rig.queue.replayable_bytes(), 30);
    assert_eq!(rig.queue.unacked_count(), 2);
    rig.command(settle(1, &[2, 4], Outcome::Discard));
    rig.catch_up();
    assert_eq!(all(&mut rig), [0, 1, 3], "what was rejected is not kept");
    rig.pass_ms(9_999);
    assert_eq!(rig.queue.replayable_count(), 3);
    rig.pass_ms(1);
    rig.catch_up();
    assert_eq!(rig.queue.replayable_count(), 0);
    assert!(rig.disk.is_empty(), "the log was told when they left");
    assert!(rig.disk_notes.is_empty());
}

#[test]
fn a_window_with_a_size_lets_the_oldest_go() {
    let mut rig = queue(None, Some(35));
    for _ in 0..5 {
        publish_some(&mut rig, 1);
        fetch(&mut rig, 1);
        rig.pass_ms(2_000);
    }
    rig.catch_up();
    assert_eq!(all(&mut rig), [2, 3, 4]);
    assert_eq!(rig.disk.len(), 3);
}

#[test]
fn what_is_kept_is_kept_over_a_crash_and_nothing_of_it_is_ready() {
    let mut rig = queue(Some(60_000), None);
    publish_some(&mut rig, 6);
    rig.command(consume(consumer(1), false, 5, 0));
    rig.command(settle(1, &[1, 3], Outcome::Ack));
    rig.catch_up();
    rig.crash();
    assert_eq!(show(&rig.command(publish(message(true, 10), None))), "");
    rig.catch_up();
    assert_eq!(rig.queue.ready_count(), 5);
    assert_eq!(all(&mut rig), [1, 3]);
    let effects = rig.command(consume(consumer(1), true, 0, 0));
    let delivered = show(&effects) + &show(&rig.catch_up());
    for position in [0, 2, 4, 5, 6] {
        assert!(
            delivered.contains(&format!("deliver {position}")),
            "{delivered}"
        );
    }
    for position in [1, 3] {
        assert!(
            !delivered.contains(&format!("deliver {position}")),
            "{delivered}"
        );
    }
    rig.catch_up();
    assert_eq!(all(&mut rig), [0, 1, 2, 3, 4, 5, 6]);
    rig.pass_ms(60_000);
    rig.catch_up();
    assert!(rig.disk.is_empty() && rig.disk_notes.is_empty());
}

#[test]
fn a_note_that_did_not_reach_the_disk_brings_its_messages_back() {
    let mut rig = queue(Some(60_000), None);
    publish_some(&mut rig, 2);
    rig.catch_up();
    fetch(&mut rig, 1);
    rig.crash();
    rig.catch_up();
    assert_eq!(rig.queue.ready_count(), 2);
    assert_eq!(rig.queue.replayable_count(), 0);
}

#[test]
fn a_requeued_message_before_kept_ones_brings_none_of_them_back() {
    let mut rig = queue(Some(60_000), None);
    for _ in 0..400 {
        rig.command(publish(message(true, 30_000), None));
    }
    rig.catch_up();
    rig.command(consume(consumer(1), false, 3, 0));
    rig.catch_up();
    rig.command(settle(1, &[1, 2], Outcome::Ack));
    rig.catch_up();
    rig.command(QueueCommand::Cancel {
        consumer: consumer(1),
        reply: false,
    });
    let rest: Vec<_> = [0, 3, 4].into();
    rig.command(settle(1, &rest, Outcome::Requeue));
    rig.evict(0);
    rig.catch_up();
    assert_eq!(rig.queue.ready_count(), 398);
    let mut delivered = show(&rig.command(consume(consumer(2), true, 0, 0)));
    delivered += &show(&rig.catch_up());
    assert!(!delivered.contains("deliver 1 ") && !delivered.contains("deliver 2 "));
    assert_eq!(rig.queue.ready_count(), 0);
    assert_eq!(rig.queue.counters().lost, 0);
}

#[test]
fn a_purge_of_what_waits_leaves_what_is_kept() {
    let mut rig = queue(Some(60_000), None);
    publish_some(&mut rig, 6);
    rig.command(consume(consumer(1), false, 5, 0));
    rig.command(settle(1, &[1, 3], Outcome::Ack));
    rig.catch_up();
    rig.crash();
    rig.catch_up();
    rig.command(QueueCommand::Purge {
        channel: channel(9),
    });
    rig.catch_up();
    assert_eq!(rig.queue.ready_count(), 0);
    assert_eq!(all(&mut rig), [1, 3]);
    assert_eq!(rig.disk.len(), 2);
    let effects = rig.command(operate(Operation::Forget));
    assert!(effects.iter().any(|effect| matches!(
        effect,
        Effect::Reply { reply: Reply::Operated(reply), .. }
            if matches!(**reply, OperationReply::Deleted { count: 2 })
    )));
    rig.catch_up();
    assert!(rig.disk.is_empty() && rig.disk_notes.is_empty());
}

#[test]
fn the_time_of_the_settlement_selects() {
    let mut rig = queue(Some(600_000), None);
    publish_some(&mut rig, 3);
    let mut times = Vec::new();
    for _ in 0..3 {
        times.push(rig.now.wall_ms);
        fetch(&mut rig, 1);
        rig.pass_ms(5_000);
    }
    rig.catch_up();
    let time = |from_ms, until_ms| SettledTime { from_ms, until_ms };
    for crash in [false, true] {
        if crash {
            rig.crash();
            rig.catch_up();
        }
        assert_eq!(settled(&mut rig, time(times[1], u64::MAX)), [1, 2]);
        assert_eq!(settled(&mut rig, time(0, times[1])), [0, 1]);
        assert_eq!(settled(&mut rig, time(times[1], times[1])), [1]);
        assert!(settled(&mut rig, time(times[2] + 1, u64::MAX)).is_empty());
    }
}

#[test]
fn transient_messages_are_kept_until_the_next_restart() {
    for durable in [false, true] {
        let mut rig = Rig::new(settings(durable, arguments(Some(60_000), None)));
        for _ in 0..3 {
            rig.command(publish(message(false, 10), None));
        }
        fetch(&mut rig, 2);
        rig.catch_up();
        assert_eq!(all(&mut rig), [0, 1]);
        if durable {
            rig.crash();
            rig.catch_up();
            assert_eq!(rig.queue.replayable_count(), 0);
            assert_eq!(rig.queue.ready_count(), 0);
        } else {
            rig.pass_ms(60_000);
            rig.catch_up();
            assert!(rig.disk.is_empty());
        }
    }
}

#[test]
fn a_window_that_is_taken_away_lets_everything_go() {
    for crash in [false, true] {
        let mut rig = queue(Some(60_000), None);
        publish_some(&mut rig, 3);
        fetch(&mut rig, 2);
        rig.catch_up();
        let without = QueueArguments::default();
        rig.call(|queue, now, windows, effects| {
            queue.reconfigure(now, without, windows, effects);
        });
        if crash {
            rig.crash();
        }
        rig.catch_up();
        assert_eq!(rig.queue.replayable_count(), 0);
        assert_eq!(rig.queue.ready_count(), 1);
        assert_eq!(rig.disk.len(), 1, "{:?}", rig.disk.keys());
        assert!(!rig.disk.contains_key(&Position(0)));
        assert!(rig.disk_notes.is_empty());
    }
}

#[test]
fn a_confirm_of_a_message_that_is_kept_waits_for_the_log() {
    let mut rig = queue(Some(60_000), None);
    rig.command(consume(consumer(1), true, 0, 0));
    let effects = rig.command(publish(message(true, 10), Some((2, 1))));
    assert!(!show(&effects).contains("confirm"), "{}", show(&effects));
    assert!(show(&rig.catch_up()).contains("c2 confirm 1..=1"));
    assert_eq!(rig.disk.len(), 1);
    // One that leaves before it was written is not written, and its publisher is not forgotten.
    let effects = rig.command(publish(message(true, 10), Some((2, 2))));
    let forgotten = rig.command(operate(Operation::Forget));
    let after = rig.catch_up();
    let told = show(&effects) + &show(&forgotten) + &show(&after);
    assert!(told.contains("c2 confirm 2..=2"), "{told}");
    assert!(rig.disk.is_empty());
}
