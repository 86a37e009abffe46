//! When a queue gives publishers their credit back.

use crate::rig::{Rig, channel, consume, consumer, message, publish, settings, settle, show};
use base::Position;
use broker::command::{Outcome, QueueCommand, Reply, Spent};
use broker::effect::{Effect, Effects};
use broker::queue::READY_RAM_BYTES_MAX;
use broker::queue_arguments::QueueArguments;

/// Body of the messages here.
const BODY: usize = 16 << 10;
/// Messages that a publisher asks for at once.
const PART: u32 = 8;
/// What it asks for.
const PART_BYTES: u32 = PART * (BODY as u32 + 256);

fn durable_queue() -> Rig {
    Rig::new(settings(true, QueueArguments::default()))
}

/// A part of messages and what a channel asks behind them.
fn publish_part(rig: &mut Rig, persistent: bool) -> Effects {
    let mut effects = Effects::new();
    for _ in 0..PART {
        effects.extend(rig.command(publish(message(persistent, BODY), None)));
    }
    let spent = Spent {
        bytes: PART_BYTES,
        messages: PART,
    };
    effects.extend(rig.command(QueueCommand::AskCredit {
        channel: channel(1),
        spent,
    }));
    effects
}

/// How often credit was given.
fn given(effects: &Effects) -> usize {
    let is_credit = |effect: &&Effect| {
        matches!(
            effect,
            Effect::Reply {
                reply: Reply::Credit { .. },
                ..
            }
        )
    };
    effects.iter().filter(is_credit).count()
}

/// What was delivered to somebody.
fn delivered(effects: &Effects) -> Vec<u64> {
    let position = |effect: &Effect| {
        let Effect::Reply {
            reply:
                Reply::Deliver {
                    position: Position(position),
                    ..
                },
            ..
        } = effect
        else {
            return None;
        };
        Some(*position)
    };
    effects.iter().filter_map(position).collect()
}

/// Publishes until credit is held back.
fn publish_until_held(rig: &mut Rig, mut after_each: impl FnMut(&mut Rig, Effects)) {
    for _ in 0..10_000 {
        let effects = publish_part(rig, true);
        if given(&effects) == 0 {
            return;
        }
        after_each(rig, effects);
    }
    panic!("nothing holds the publisher back");
}

#[test]
fn credit_comes_back_at_the_end_of_the_turn() {
    let mut rig = durable_queue();
    let effects = publish_part(&mut rig, false);
    assert_eq!(show(&effects), format!("c1 credit {PART_BYTES}"));
    assert_eq!(given(&publish_part(&mut rig, true)), 1);
}

#[test]
fn a_queue_that_is_ahead_of_the_log_gives_credit_when_the_log_has_caught_up() {
    let mut rig = durable_queue();
    publish_until_held(&mut rig, |_, _| ());
    let waiting = rig.queue.ram_bytes();
    assert!((8 * READY_RAM_BYTES_MAX..9 * READY_RAM_BYTES_MAX).contains(&waiting));
    // The order is kept: who asks later gets nothing earlier.
    assert_eq!(given(&publish_part(&mut rig, true)), 0);
    assert!(!rig.queue.is_idle());
    rig.collect();
    assert_eq!(given(&rig.durable()), 2);
}

#[test]
fn a_long_queue_without_consumers_holds_nobody_back() {
    let mut rig = durable_queue();
    for _ in 0..1000 {
        assert_eq!(given(&publish_part(&mut rig, true)), 1);
        rig.catch_up();
    }
}

#[test]
fn slow_consumers_hold_nobody_back() {
    let mut rig = durable_queue();
    rig.command(consume(consumer(2), false, 2, 0));
    let mut unacked = vec![0, 1];
    for _ in 0..1000 {
        let effects = publish_part(&mut rig, true);
        assert_eq!(given(&effects), 1);
        // It settles two of eight.
        rig.command(settle(2, &unacked, Outcome::Ack));
        unacked = vec![unacked[1] + 1, unacked[1] + 2];
        rig.catch_up();
        rig.pass_ms(1);
    }
}

/// A consumer that settles five of eight and has fallen behind, up to the first credit that waits.
fn consumers_decide() -> (Rig, u64) {
    let mut rig = durable_queue();
    rig.command(consume(consumer(2), false, 5, 0));
    let mut next = 0;
    publish_until_held(&mut rig, |rig, _| {
        for position in next..next + 5 {
            rig.command(settle(2, &[position], Outcome::Ack));
        }
        next += 5;
        rig.catch_up();
    });
    (rig, next)
}

#[test]
fn publishers_wait_for_consumers_that_nearly_keep_up() {
    let (mut rig, mut next) = consumers_decide();
    // For eight messages of credit, rather more must go out.
    let mut settled = 0;
    loop {
        let effects = rig.command(settle(2, &[next], Outcome::Ack));
        next += 1;
        settled += 1;
        if given(&effects) > 0 {
            break;
        }
        assert!(settled < 20);
        rig.catch_up();
    }
    assert!((8..=12).contains(&settled), "{settled}");
}

#[test]
fn publishers_do_not_wait_long_for_consumers_that_have_become_slow() {
    let (mut rig, _) = consumers_decide();
    let before = rig.now.monotonic;
    let mut waited = 0;
    while given(&rig.pass_ms(1)) == 0 {
        waited += 1;
        assert!(waited < 200);
    }
    assert!(rig.now.monotonic > before);
    // With nobody settling anything, that happens a few times at most.
    let mut held = 0;
    for _ in 0..2000 {
        if given(&publish_part(&mut rig, true)) == 0 {
            held += 1;
            rig.pass_ms(100);
        }
        rig.catch_up();
    }
    assert!(held <= 5, "{held}");
}

#[test]
fn nobody_waits_for_consumers_that_have_caught_up() {
    let (mut rig, mut next) = consumers_decide();
    let mut effects = Effects::new();
    while rig.queue.ready_count() > 0 {
        effects.extend(rig.command(settle(2, &[next], Outcome::Ack)));
        next += 1;
        rig.catch_up();
    }
    assert_eq!(given(&effects), 1);
    assert!(!delivered(&effects).is_empty());
    assert_eq!(given(&publish_part(&mut rig, true)), 1);
}

#[test]
fn a_failed_log_and_a_deleted_queue_hold_nobody_back() {
    let mut rig = durable_queue();
    publish_until_held(&mut rig, |_, _| ());
    let effects = rig.call(|queue, _, _, effects| queue.handle_storage_failed(effects));
    assert_eq!(given(&effects), 1);
    assert_eq!(given(&publish_part(&mut rig, true)), 1);

    let mut rig = durable_queue();
    publish_until_held(&mut rig, |_, _| ());
    let delete = QueueCommand::Delete {
        channel: channel(9),
        if_unused: false,
        if_empty: false,
    };
    rig.command(delete);
    assert_eq!(given(&publish_part(&mut rig, true)), 2);
    publish_part(&mut rig, true);
    let effects = rig.call(|queue, _, _, effects| queue.handle_deleted(effects));
    assert_eq!(given(&effects), 0);
}
