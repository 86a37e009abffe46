//! Duplicates: which are dropped, for how long, and what a restart knows of them.

use crate::rig::{Rig, channel, consume, consumer, message, publish, settings, settle, show};
use broker::command::{Outcome, QueueCommand};
use broker::message::Message;
use broker::queue_arguments::{DeduplicatingExchange, Deduplication, QueueArguments};

fn with_id(id: &'static str) -> Message {
    let mut message = message(true, 10);
    message.properties = bytes::Bytes::from_static(id.as_bytes());
    message
}

fn arguments(window_ms: Option<u64>, ids_max: Option<u64>) -> QueueArguments {
    QueueArguments {
        deduplication: Deduplication {
            enabled: true,
            ids_max,
            window_ms,
        },
        ..QueueArguments::default()
    }
}

fn queue(window_ms: Option<u64>, ids_max: Option<u64>) -> Rig {
    Rig::new(settings(true, arguments(window_ms, ids_max)))
}

/// Publishes; whether the message entered.
fn enters(rig: &mut Rig, message: Message) -> bool {
    let before = rig.queue.counters().published;
    rig.command(publish(message, None));
    rig.queue.counters().published > before
}

/// Takes out and acknowledges the first message.
fn consume_one(rig: &mut Rig) {
    let get = QueueCommand::Get {
        channel: channel(9),
        no_ack: true,
    };
    assert!(show(&rig.command(get)).contains("get-ok"));
}

#[test]
fn an_id_is_known_while_its_message_is_in_the_queue() {
    let mut rig = queue(None, None);
    assert!(enters(&mut rig, with_id("a")));
    assert!(!enters(&mut rig, with_id("a")));
    assert!(enters(&mut rig, with_id("b")));
    assert!(enters(&mut rig, message(true, 10)));
    assert!(enters(&mut rig, message(true, 10)), "without id");
    assert_eq!(rig.queue.counters().deduplicated, 1);
    rig.command(consume(consumer(1), false, 1, 0));
    assert!(!enters(&mut rig, with_id("a")), "unacked");
    rig.command(settle(1, &[0], Outcome::Requeue));
    assert!(!enters(&mut rig, with_id("a")), "requeued");
    rig.command(settle(1, &[0], Outcome::Ack));
    assert!(enters(&mut rig, with_id("a")));
    rig.catch_up();
    rig.queue.check_invariants();
}

#[test]
fn an_id_with_a_window_is_known_that_long_and_no_longer() {
    let mut rig = queue(Some(1_000), None);
    assert!(enters(&mut rig, with_id("a")));
    consume_one(&mut rig);
    rig.pass_ms(999);
    assert!(!enters(&mut rig, with_id("a")));
    rig.pass_ms(1);
    assert!(enters(&mut rig, with_id("a")));
}

#[test]
fn the_oldest_id_makes_room() {
    let mut rig = queue(Some(1_000), Some(2));
    for id in ["a", "b", "c"] {
        assert!(enters(&mut rig, with_id(id)));
    }
    assert!(!enters(&mut rig, with_id("c")));
    assert!(!enters(&mut rig, with_id("b")));
    assert!(enters(&mut rig, with_id("a")));
}

#[test]
fn a_duplicate_is_confirmed_when_what_it_repeats_is_safe() {
    let mut rig = queue(None, None);
    rig.command(publish(with_id("a"), None));
    let effects = rig.command(publish(with_id("a"), Some((2, 1))));
    assert_eq!(show(&effects), "records urgent");
    rig.collect();
    assert_eq!(show(&rig.durable()), "c2 confirm 1..=1");
}

#[test]
fn ids_survive_a_crash_and_publishes_wait_until_they_are_read() {
    for window_ms in [None, Some(10_000)] {
        let mut rig = queue(window_ms, None);
        for id in ["a", "b", "c"] {
            assert!(enters(&mut rig, with_id(id)));
        }
        rig.catch_up();
        // The first leaves; with a window it stays known.
        rig.command(consume(consumer(1), true, 0, 0));
        rig.catch_up();
        rig.crash();
        let effects = rig.command(publish(with_id("a"), Some((2, 1))));
        let waits = rig.look_up.is_some();
        assert_eq!(waits, window_ms.is_some());
        if waits {
            assert_eq!(show(&effects), "");
        }
        rig.command(publish(with_id("d"), None));
        rig.catch_up();
        let expected = if waits { 1 } else { 2 };
        assert_eq!(rig.queue.ready_count(), expected, "{window_ms:?}");
    }
}

#[test]
fn ids_of_waiting_messages_survive_a_crash_without_a_window() {
    let mut rig = queue(None, None);
    assert!(enters(&mut rig, with_id("a")));
    assert!(enters(&mut rig, with_id("b")));
    rig.catch_up();
    consume_one(&mut rig);
    rig.catch_up();
    rig.crash();
    rig.catch_up();
    assert!(enters(&mut rig, with_id("a")));
    assert!(!enters(&mut rig, with_id("b")));
    rig.catch_up();
    assert_eq!(rig.disk_ids.len(), 2);
}

#[test]
fn purging_forgets_and_switching_it_off_forgets_everything() {
    let mut rig = queue(None, None);
    assert!(enters(&mut rig, with_id("a")));
    rig.catch_up();
    rig.command(QueueCommand::Purge {
        channel: channel(9),
    });
    assert!(enters(&mut rig, with_id("a")));
    rig.catch_up();
    rig.call(|queue, now, windows, effects| {
        queue.reconfigure(now, QueueArguments::default(), windows, effects);
    });
    assert!(enters(&mut rig, with_id("a")));
    rig.catch_up();
    assert!(rig.disk_ids.is_empty());
    rig.call(|queue, now, windows, effects| {
        queue.reconfigure(now, arguments(None, None), windows, effects);
    });
    assert!(enters(&mut rig, with_id("a")));
    assert!(!enters(&mut rig, with_id("a")));
}

/// A queue that takes messages of the exchanges "x" and "y" once.
fn behind_exchanges(window_ms: Option<u64>, ids_max: Option<u64>) -> Rig {
    let exchange = |name: &str| DeduplicatingExchange {
        exchange: name.into(),
        deduplication: Deduplication {
            enabled: true,
            ids_max,
            window_ms,
        },
    };
    let arguments = QueueArguments {
        deduplicating: Some([exchange("x"), exchange("y")].into()),
        ..QueueArguments::default()
    };
    Rig::new(settings(true, arguments))
}

fn published_to(exchange: &str, id: &'static str) -> Message {
    let mut message = with_id(id);
    message.address = broker::message::Address::new(exchange.into(), bytes::Bytes::new());
    message
}

#[test]
fn messages_of_an_exchange_enter_once_even_when_they_have_left() {
    let mut rig = behind_exchanges(None, None);
    assert!(enters(&mut rig, published_to("x", "a")));
    assert!(enters(&mut rig, published_to("y", "a")), "another exchange");
    for _ in 0..2 {
        assert!(
            enters(&mut rig, published_to("z", "a")),
            "it asks for nothing"
        );
    }
    for _ in 0..4 {
        consume_one(&mut rig);
    }
    assert!(!enters(&mut rig, published_to("x", "a")));
    rig.pass_ms(1_000_000_000);
    assert!(!enters(&mut rig, published_to("y", "a")));
    rig.catch_up();
    rig.crash();
    rig.catch_up();
    assert!(!enters(&mut rig, published_to("x", "a")));
    assert!(enters(&mut rig, published_to("x", "b")));
    rig.queue.check_invariants();
}

#[test]
fn exchanges_have_windows_and_sizes() {
    let mut rig = behind_exchanges(Some(1_000), None);
    assert!(enters(&mut rig, published_to("x", "a")));
    rig.pass_ms(999);
    assert!(!enters(&mut rig, published_to("x", "a")));
    rig.pass_ms(1);
    assert!(enters(&mut rig, published_to("x", "a")));
    let mut rig = behind_exchanges(None, Some(1));
    for id in ["a", "b", "c"] {
        assert!(enters(&mut rig, published_to("x", id)));
    }
    assert!(!enters(&mut rig, published_to("x", "c")));
    assert!(!enters(&mut rig, published_to("x", "b")));
    assert!(enters(&mut rig, published_to("x", "a")));
}
