//! What a channel does when a queue gives it no credit.

use super::*;
use crate::ConnectionState;

const PERSISTENT: BasicProperties<'static> = BasicProperties {
    delivery_mode: Some(2),
    content_type: None,
    content_encoding: None,
    headers: None,
    priority: None,
    correlation_id: None,
    reply_to: None,
    expiration: None,
    message_id: None,
    timestamp: None,
    message_type: None,
    user_id: None,
    app_id: None,
    cluster_id: None,
};

/// Channels 1 and 2, durable queues `a` and `b`.
fn world() -> (World, ConnectionId) {
    let mut world = World::new();
    let id = world.connect();
    world.send(id, 2, Method::ChannelOpen(channel::Open::default()));
    for name in ["a", "b"] {
        let declare = queue::Declare {
            durable: true,
            ..declare(name)
        };
        world.send(id, 1, Method::QueueDeclare(declare));
    }
    world.hear(id);
    (world, id)
}

fn send(world: &mut World, id: ConnectionId, channel: u16, queue: &str, body: &[u8]) {
    world.feed(id, &message(channel, publish("", queue), &PERSISTENT, body));
}

/// Publishes to `a` on channel 1, with the log stopped, until the connection waits for credit. Returns how many messages that took.
fn exhaust(world: &mut World, id: ConnectionId) -> u64 {
    world.stop_log();
    let body = vec![7; 60_000];
    let mut count = 0;
    while world.machine(id).state() != ConnectionState::Flow {
        assert!(count < 1000, "nothing holds the publisher back");
        send(world, id, 1, "a", &body);
        count += 1;
    }
    count
}

fn ready(world: &mut World, id: ConnectionId, channel: u16, queue: &str) -> String {
    let passive = queue::Declare {
        passive: true,
        durable: true,
        ..declare(queue)
    };
    world
        .ask(id, channel, Method::QueueDeclare(passive))
        .concat()
}

#[test]
fn what_follows_on_the_channel_waits_in_order_and_other_channels_go_on() {
    let (mut world, id) = world();
    let count = exhaust(&mut world, id);
    // To another queue, and a question: both are behind.
    send(&mut world, id, 1, "b", b"later");
    assert_eq!(ready(&mut world, id, 1, "b"), "");
    send(&mut world, id, 2, "b", b"sooner");
    assert_eq!(ready(&mut world, id, 2, "b"), "2 queue.declare-ok b 1 0");
    assert_eq!(
        ready(&mut world, id, 2, "a"),
        format!("2 queue.declare-ok a {} 0", count - 1)
    );
    assert!(world.machine(id).wants_input());
    world.start_log();
    assert_eq!(world.hear(id), ["1 queue.declare-ok b 2 0"]);
    assert_eq!(world.machine(id).state(), ConnectionState::Running);
    assert_eq!(world.machine(id).buffered_bytes(), 0);
    assert_eq!(
        ready(&mut world, id, 2, "a"),
        format!("2 queue.declare-ok a {count} 0")
    );
}

#[test]
fn acks_pass_by_publishes_that_wait_for_credit() {
    let (mut world, id) = world();
    send(&mut world, id, 1, "b", b"m");
    let get = basic::Get {
        queue: b"b",
        ..Default::default()
    };
    world.ask(id, 1, Method::BasicGet(get));
    exhaust(&mut world, id);
    world.send(
        id,
        1,
        Method::BasicReject(basic::Reject {
            delivery_tag: 1,
            requeue: true,
        }),
    );
    assert_eq!(ready(&mut world, id, 2, "b"), "2 queue.declare-ok b 1 0");
}

#[test]
fn only_a_channel_that_keeps_too_much_stops_the_connection() {
    let (mut world, id) = world();
    exhaust(&mut world, id);
    let body = vec![7; 100_000];
    let mut more = 0;
    while world.machine(id).wants_input() {
        assert!(world.machine(id).buffered_bytes() < 2 << 20);
        send(&mut world, id, 1, "a", &body);
        more += 1;
    }
    assert!(more > 5);
    world.start_log();
    assert!(world.machine(id).wants_input());
}

#[test]
fn a_deleted_queue_and_a_closed_channel_owe_nothing() {
    let (mut world, id) = world();
    exhaust(&mut world, id);
    let delete = queue::Delete {
        queue: b"a",
        ..Default::default()
    };
    world.send(id, 2, Method::QueueDelete(delete));
    assert_eq!(world.machine(id).state(), ConnectionState::Running);

    let declare = queue::Declare {
        durable: true,
        ..declare("a")
    };
    world.send(id, 2, Method::QueueDeclare(declare));
    exhaust(&mut world, id);
    // What it still keeps goes with it.
    world.eof(id);
    world.start_log();
    let other = world.connect();
    send(&mut world, other, 1, "a", b"m");
    assert_eq!(world.machine(other).state(), ConnectionState::Running);
}

#[test]
fn a_commit_spends_credit_as_well() {
    let (mut world, id) = world();
    world.send(id, 1, Method::TxSelect(tx::Select));
    world.hear(id);
    world.stop_log();
    let body = vec![7; 1 << 20];
    for _ in 0..20 {
        send(&mut world, id, 1, "a", &body);
    }
    world.send(id, 1, Method::TxCommit(tx::Commit));
    assert_eq!(world.hear(id), Vec::<String>::new());
    // Another channel of the connection has credit of its own.
    send(&mut world, id, 2, "b", b"m");
    assert_ne!(world.machine(id).state(), ConnectionState::Flow);
    world.start_log();
    assert_eq!(world.hear(id), ["1 tx.commit-ok"]);
}
