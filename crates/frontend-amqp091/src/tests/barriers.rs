//! What was acknowledged before close-ok or commit-ok stays acknowledged: those answers wait for the log.

use super::*;

const NOTHING: [&str; 0] = [];

/// Channel 1 got `count` logged messages from a queue each, `q1` and so on, with the delivery tags 1 and so on; the log stands still.
fn with_deliveries(count: usize) -> (World, ConnectionId) {
    let mut world = World::new();
    let id = world.connect();
    for number in 1..=count {
        let queue = format!("q{number}");
        let durable = queue::Declare {
            durable: true,
            ..declare(&queue)
        };
        world.send(id, 1, Method::QueueDeclare(durable));
        let persistent = BasicProperties {
            delivery_mode: Some(2),
            ..Default::default()
        };
        world.feed(id, &message(1, publish("", &queue), &persistent, b"m"));
        world.send(id, 1, get(&queue));
    }
    world.hear(id);
    world.stop_log();
    (world, id)
}

fn get(queue: &str) -> Method<'_> {
    Method::BasicGet(basic::Get {
        queue: queue.as_bytes(),
        ..Default::default()
    })
}

fn ack(delivery_tag: u64) -> Method<'static> {
    Method::BasicAck(basic::Ack {
        delivery_tag,
        multiple: false,
    })
}

fn requeue(delivery_tag: u64) -> Method<'static> {
    Method::BasicNack(basic::Nack {
        delivery_tag,
        multiple: false,
        requeue: true,
    })
}

fn open() -> Method<'static> {
    Method::ChannelOpen(channel::Open::default())
}

fn close_channel() -> Method<'static> {
    Method::ChannelClose(channel::Close::default())
}

fn close_connection() -> Method<'static> {
    Method::ConnectionClose(connection::Close::default())
}

#[test]
fn channel_close_ok_comes_when_all_acks_are_safe() {
    let (mut world, id) = with_deliveries(3);
    world.send(id, 2, open());
    for tag in 1..=2 {
        world.send(id, 1, ack(tag));
    }
    world.send(id, 1, close_channel());
    assert_eq!(world.hear(id), ["2 channel.open-ok"]);
    // The message that was not acknowledged is back already, and other channels go on.
    assert_eq!(
        world.ask(id, 2, get("q3")),
        ["2 basic.get-ok #1 again '' 'q3' 0 left [1] m"]
    );
    // Late words to the channel are not heard.
    world.send(id, 1, ack(3));
    world.send(id, 1, close_channel());
    assert_eq!(world.hear(id), NOTHING);
    world.start_log();
    assert_eq!(world.hear(id), ["1 channel.close-ok"]);
    assert_eq!(world.ask(id, 1, open()), ["1 channel.open-ok"]);
}

#[test]
fn what_needs_no_log_does_not_wait_for_it() {
    let (mut world, id) = with_deliveries(2);
    world.send(id, 1, requeue(1));
    assert_eq!(world.ask(id, 1, close_channel()), ["1 channel.close-ok"]);
    assert_eq!(
        world.ask(id, 0, close_connection()),
        ["0 connection.close-ok", "eof"]
    );
}

#[test]
fn a_second_end_does_not_wait_for_the_acks_of_the_first() {
    let (mut world, id) = with_deliveries(1);
    world.send(id, 1, ack(1));
    world.start_log();
    assert_eq!(world.ask(id, 1, close_channel()), ["1 channel.close-ok"]);
    world.send(id, 1, open());
    world.hear(id);
    world.stop_log();
    assert_eq!(world.ask(id, 1, close_channel()), ["1 channel.close-ok"]);
}

#[test]
fn connection_close_ok_waits_for_the_acks_of_all_channels() {
    let (mut world, id) = with_deliveries(2);
    world.send(id, 2, open());
    world.send(id, 1, requeue(2));
    assert_eq!(world.ask(id, 2, get("q2")).len(), 2);
    world.send(id, 2, ack(1));
    assert_eq!(world.ask(id, 2, close_channel()), NOTHING);
    world.send(id, 1, ack(1));
    assert_eq!(world.ask(id, 0, close_connection()), NOTHING);
    world.start_log();
    assert_eq!(
        world.hear(id),
        ["2 channel.close-ok", "0 connection.close-ok", "eof"]
    );
}

#[test]
fn connection_close_ok_waits_for_channels_that_ended_by_an_exception() {
    let (mut world, id) = with_deliveries(1);
    world.send(id, 1, ack(1));
    world.send(id, 1, ack(7));
    let text = "1 channel.close 406 PRECONDITION_FAILED - unknown delivery tag 7 (60,80)";
    assert_eq!(world.hear(id), [text]);
    world.send(id, 1, Method::ChannelCloseOk(channel::CloseOk));
    assert_eq!(world.ask(id, 1, open()), ["1 channel.open-ok"]);
    assert_eq!(world.ask(id, 0, close_connection()), NOTHING);
    world.start_log();
    assert_eq!(world.hear(id), ["0 connection.close-ok", "eof"]);
}

#[test]
fn exclusive_queues_go_after_the_acks_are_safe() {
    let (mut world, id) = with_deliveries(1);
    let exclusive = queue::Declare {
        exclusive: true,
        ..declare("mine")
    };
    world.send(id, 1, Method::QueueDeclare(exclusive));
    world.send(id, 1, ack(1));
    world.hear(id);
    assert_eq!(world.ask(id, 0, close_connection()), NOTHING);
    world.start_log();
    assert_eq!(world.hear(id), ["0 connection.close-ok", "eof"]);
}

#[test]
fn a_lost_connection_waits_for_nothing() {
    let (mut world, id) = with_deliveries(1);
    world.send(id, 1, ack(1));
    world.send(id, 1, close_channel());
    world.eof(id);
    assert_eq!(world.hear(id), ["eof"]);
    world.start_log();
    assert_eq!(world.hear(id), ["eof"]);
}

#[test]
fn tx_commit_ok_comes_when_publishes_and_acks_are_safe() {
    let (mut world, id) = with_deliveries(2);
    world.send(id, 1, Method::TxSelect(tx::Select));
    world.send(id, 1, ack(1));
    world.hear(id);
    // Channels do not wait for acks alone; a commit does.
    assert_eq!(world.ask(id, 1, Method::TxCommit(tx::Commit)), NOTHING);
    world.start_log();
    assert_eq!(world.hear(id), ["1 tx.commit-ok"]);
    world.stop_log();
    world.send(id, 1, requeue(2));
    assert_eq!(
        world.ask(id, 1, Method::TxCommit(tx::Commit)),
        ["1 tx.commit-ok"]
    );
}

#[test]
fn a_failed_log_promises_nothing() {
    let failed =
        "close 541 INTERNAL_ERROR - the log has failed, and with it acknowledgements (0,0)";
    let ends: [(u16, Method<'_>); 2] = [(1, close_channel()), (0, close_connection())];
    for (channel, end) in ends {
        let (mut world, id) = with_deliveries(1);
        world.send(id, 1, ack(1));
        world.send(id, channel, end);
        world.fail_log();
        assert_eq!(world.hear(id), [format!("0 connection.{failed}")]);
    }
}

#[test]
fn a_channel_number_is_not_free_before_close_ok() {
    let (mut world, id) = with_deliveries(1);
    world.send(id, 1, ack(1));
    world.send(id, 1, close_channel());
    let text = "0 connection.close 504 CHANNEL_ERROR - second 'channel.open' seen (20,10)";
    assert_eq!(world.ask(id, 1, open()), [text]);
}

#[test]
fn a_channel_that_was_closed_late_can_be_opened_again() {
    let mut world = World::new();
    let id = world.connect();
    world.hold();
    world.send(id, 1, Method::QueueDeclare(declare("q")));
    world.send(id, 1, close_channel());
    world.release();
    assert_eq!(
        world.hear(id),
        ["1 queue.declare-ok q 0 0", "1 channel.close-ok"]
    );
    assert_eq!(world.ask(id, 1, open()), ["1 channel.open-ok"]);
}
