//! Policies change what a running queue has to do.

use crate::rig::{Rig, channel, consume, consumer, message, publish, settings, settle, show};
use broker::command::{Outcome, QueueCommand};
use broker::queue_arguments::{Overflow, QueueArguments};

fn queue_of(messages: u32) -> Rig {
    let mut rig = Rig::new(settings(false, QueueArguments::default()));
    for _ in 0..messages {
        rig.command(publish(message(false, 10), None));
    }
    rig
}

#[track_caller]
fn reconfigure(rig: &mut Rig, arguments: QueueArguments, expected: &str) {
    let effects = rig.call(|queue, now, windows, effects| {
        queue.reconfigure(now, arguments, windows, effects);
    });
    assert_eq!(show(&effects), expected);
}

#[track_caller]
fn ready(rig: &mut Rig, expected: u64) {
    let channel = channel(9);
    let effects = rig.command(QueueCommand::Status { channel });
    assert_eq!(show(&effects), format!("c9 status {expected} 0"));
}

#[test]
fn a_smaller_limit_makes_room_at_once() {
    let mut rig = queue_of(5);
    let limited = QueueArguments {
        max_length: Some(3),
        dead_letter_exchange: Some("dlx".into()),
        ..QueueArguments::default()
    };
    reconfigure(
        &mut rig,
        limited.clone(),
        "dead-letter maxlen to dlx; dead-letter maxlen to dlx",
    );
    let smaller = QueueArguments {
        max_length_bytes: Some(10),
        dead_letter_exchange: None,
        ..limited
    };
    reconfigure(&mut rig, smaller, "");
    ready(&mut rig, 1);
    reconfigure(&mut rig, QueueArguments::default(), "");
    rig.command(publish(message(false, 10), None));
    ready(&mut rig, 2);
}

#[test]
fn a_queue_that_refused_drops_its_head_when_it_may() {
    let mut rig = queue_of(3);
    let refusing = QueueArguments {
        max_length: Some(1),
        overflow: Overflow::RejectPublish,
        ..QueueArguments::default()
    };
    reconfigure(&mut rig, refusing.clone(), "");
    let effects = rig.command(publish(message(false, 10), Some((5, 1))));
    assert_eq!(show(&effects), "c5 nack 1..=1");
    ready(&mut rig, 3);
    let dropping = QueueArguments {
        overflow: Overflow::DropHead,
        ..refusing
    };
    reconfigure(&mut rig, dropping, "");
    ready(&mut rig, 1);
}

#[test]
fn a_message_keeps_the_time_to_live_that_it_came_with() {
    let mut rig = queue_of(1);
    let hurried = QueueArguments {
        message_ttl_ms: Some(100),
        ..QueueArguments::default()
    };
    reconfigure(&mut rig, hurried, "");
    rig.command(publish(message(false, 10), None));
    rig.pass_ms(200);
    ready(&mut rig, 2);
    reconfigure(&mut rig, QueueArguments::default(), "");
    rig.command(publish(message(false, 10), None));
    let channel = channel(9);
    let get = QueueCommand::Get {
        channel,
        no_ack: true,
    };
    assert_eq!(show(&rig.command(get.clone())), "c9 get-ok 0 ready=2");
    assert_eq!(show(&rig.command(get)), "c9 get-ok 2 ready=0");
}

#[test]
fn the_time_of_an_unused_queue_begins_with_the_policy() {
    let mut rig = queue_of(0);
    rig.pass_ms(1_000);
    let short_lived = QueueArguments {
        expires_ms: Some(500),
        ..QueueArguments::default()
    };
    reconfigure(&mut rig, short_lived, "wake 2500");
    rig.pass_ms(400);
    let longer_lived = QueueArguments {
        expires_ms: Some(1_000),
        ..QueueArguments::default()
    };
    reconfigure(&mut rig, longer_lived, "");
    assert_eq!(show(&rig.pass_ms(100)), "wake 3400");
    reconfigure(&mut rig, QueueArguments::default(), "");
    assert_eq!(show(&rig.pass_ms(2_000)), "");
}

#[test]
fn dead_letters_go_where_the_policy_says_now() {
    let mut rig = queue_of(0);
    rig.command(consume(consumer(1), false, 0, 0));
    for _ in 0..2 {
        rig.command(publish(message(false, 10), None));
    }
    let effects = rig.command(settle(1, &[0], Outcome::Discard));
    assert_eq!(show(&effects), "");
    let letters = QueueArguments {
        dead_letter_exchange: Some("dlx".into()),
        ..QueueArguments::default()
    };
    reconfigure(&mut rig, letters, "");
    let effects = rig.command(settle(1, &[1], Outcome::Discard));
    assert_eq!(show(&effects), "dead-letter rejected to dlx");
}

#[test]
fn what_left_memory_is_dead_lettered_when_it_is_rejected() {
    let mut rig = Rig::new(settings(true, QueueArguments::default()));
    for _ in 0..10 {
        rig.command(publish(message(true, 32_768), None));
    }
    rig.command(consume(consumer(1), false, 10, 0));
    rig.catch_up();
    rig.evict(0);
    let dlx = QueueArguments {
        dead_letter_exchange: Some("dlx".into()),
        ..QueueArguments::default()
    };
    reconfigure(&mut rig, dlx, "");
    rig.command(settle(1, &[3, 4], Outcome::Reject));
    let effects = rig.command(settle(1, &[1, 5], Outcome::Discard));
    assert_eq!(rig.queue.counters().rejected, 0, "{}", show(&effects));
    let effects = rig.catch_up();
    let letters = show(&effects);
    assert_eq!(
        letters.matches("dead-letter rejected to dlx").count(),
        4,
        "{letters}"
    );
    assert_eq!(rig.queue.counters().rejected, 4);
    rig.command(settle(1, &[0, 2, 6, 7, 8, 9], Outcome::Ack));
    rig.catch_up();
    rig.queue.check_invariants();
    assert!(rig.disk.is_empty());
}

#[test]
fn what_was_rejected_and_is_not_read_yet_waits_again_after_a_crash() {
    let mut rig = Rig::new(settings(true, QueueArguments::default()));
    for _ in 0..10 {
        rig.command(publish(message(true, 32_768), None));
    }
    rig.command(consume(consumer(1), false, 10, 0));
    rig.catch_up();
    rig.evict(0);
    let dlx = QueueArguments {
        dead_letter_exchange: Some("dlx".into()),
        ..QueueArguments::default()
    };
    reconfigure(&mut rig, dlx, "");
    rig.command(settle(1, &[3], Outcome::Reject));
    rig.collect();
    rig.durable();
    rig.crash();
    assert_eq!(rig.queue.ready_count(), 10);
}
