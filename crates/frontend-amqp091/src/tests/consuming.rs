//! Section 9 of RabbitMQ's behaviour: consumers, deliveries, acks.

use super::*;

const NOTHING: [&str; 0] = [];

fn with_messages(config: Config, count: usize) -> (World, ConnectionId) {
    let mut world = World::with_config(config);
    let id = world.connect();
    world.send(id, 1, Method::QueueDeclare(declare("q")));
    for number in 1..=count {
        world.feed(
            id,
            &message(
                1,
                publish("", "q"),
                &BasicProperties::default(),
                format!("m{number}").as_bytes(),
            ),
        );
    }
    world.hear(id);
    (world, id)
}

fn ack(delivery_tag: u64, multiple: bool) -> Method<'static> {
    Method::BasicAck(basic::Ack {
        delivery_tag,
        multiple,
    })
}

fn nack(delivery_tag: u64, multiple: bool, requeue: bool) -> Method<'static> {
    Method::BasicNack(basic::Nack {
        delivery_tag,
        multiple,
        requeue,
    })
}

fn check(methods: Vec<Method<'_>>, expect: &str) {
    let (mut world, id) = with_messages(Config::default(), 0);
    let mut heard = Vec::new();
    for method in methods {
        heard = world.ask(id, 1, method);
    }
    assert_eq!(heard, [expect]);
}

#[test]
fn consume_ok_comes_before_the_first_delivery() {
    let (mut world, id) = with_messages(Config::default(), 2);
    assert_eq!(
        world.ask(id, 1, Method::BasicConsume(consume("q", "c"))),
        [
            "1 basic.consume-ok c",
            "1 basic.deliver c #1 '' 'q' [2] m1",
            "1 basic.deliver c #2 '' 'q' [2] m2"
        ]
    );
    assert_eq!(world.ask(id, 1, ack(2, true)), NOTHING);
    let status = world.ask(
        id,
        1,
        Method::QueueDeclare(queue::Declare {
            passive: true,
            ..declare("q")
        }),
    );
    assert_eq!(status, ["1 queue.declare-ok q 0 1"]);
    assert_eq!(
        world.machine(id).channels().next().unwrap().unacknowledged,
        0
    );
}

#[test]
fn refused_consumers() {
    check(
        vec![Method::BasicConsume(consume("nope", ""))],
        "1 channel.close 404 NOT_FOUND - no queue 'nope' in vhost '/' (60,20)",
    );
    let twice = || Method::BasicConsume(consume("q", "a"));
    check(
        vec![twice(), twice()],
        "0 connection.close 530 NOT_ALLOWED - attempt to reuse consumer tag 'a' (60,20)",
    );
    check(
        vec![
            twice(),
            Method::BasicConsume(basic::Consume {
                exclusive: true,
                ..consume("q", "b")
            }),
        ],
        "1 channel.close 403 ACCESS_REFUSED - queue 'q' in vhost '/' in exclusive use (60,20)",
    );
    let with = |key: &str, value: &Value<'_>| {
        let mut bytes = Vec::new();
        TableWriter::new(&mut bytes).field(key.as_bytes(), value);
        bytes
    };
    let priority = with("x-priority", &Value::LongStr(b"1"));
    check(
        vec![Method::BasicConsume(basic::Consume {
            arguments: Table::new(&priority),
            ..consume("q", "")
        })],
        "1 channel.close 406 PRECONDITION_FAILED - invalid arg 'x-priority' for queue 'q' in vhost '/': \"expected integer, got longstr\" (60,20)",
    );
    let offset = with("x-stream-offset", &Value::LongStr(b"first"));
    check(
        vec![Method::BasicConsume(basic::Consume {
            arguments: Table::new(&offset),
            ..consume("q", "")
        })],
        "1 channel.close 406 PRECONDITION_FAILED - invalid arg 'x-stream-offset' for queue 'q' in vhost '/' of queue type rabbit_classic_queue (60,20)",
    );
    check(
        vec![Method::BasicQos(basic::Qos {
            prefetch_size: 10,
            ..Default::default()
        })],
        "0 connection.close 540 NOT_IMPLEMENTED - prefetch_size!=0 (10) (60,10)",
    );
    let (mut world, id) = with_messages(
        Config {
            consumer_max_per_channel: Some(1),
            ..Config::default()
        },
        0,
    );
    world.send(id, 1, twice());
    world.hear(id);
    let text = "NOT_ALLOWED - reached maximum (1) of consumers per channel";
    assert_eq!(
        world.ask(id, 1, Method::BasicConsume(consume("q", "b"))),
        [format!("0 connection.close 530 {text} (60,20)")]
    );
}

#[test]
fn a_refused_tag_is_free_again() {
    let (mut world, id) = with_messages(Config::default(), 0);
    let other = world.connect();
    world.send(
        other,
        1,
        Method::BasicConsume(basic::Consume {
            exclusive: true,
            ..consume("q", "x")
        }),
    );
    let heard = world.ask(id, 1, Method::BasicConsume(consume("q", "c")));
    assert_eq!(
        heard,
        ["1 channel.close 403 ACCESS_REFUSED - queue 'q' in vhost '/' in exclusive use (60,20)"]
    );
}

#[test]
fn cancel() {
    let (mut world, id) = with_messages(Config::default(), 1);
    let cancel = |tag: &'static [u8]| {
        Method::BasicCancel(basic::Cancel {
            consumer_tag: tag,
            no_wait: false,
        })
    };
    assert_eq!(
        world.ask(id, 1, cancel(b"nope")),
        ["1 basic.cancel-ok nope"]
    );
    world.send(id, 1, Method::BasicConsume(consume("q", "c")));
    world.hear(id);
    assert_eq!(world.ask(id, 1, cancel(b"c")), ["1 basic.cancel-ok c"]);
    // What it was given is still to be settled, and its tag may be used again.
    world.send(id, 1, Method::BasicConsume(consume("q", "c")));
    assert_eq!(
        world.ask(id, 1, nack(1, false, true)),
        [
            "1 basic.consume-ok c",
            "1 basic.deliver c #2 again '' 'q' [2] m1"
        ]
    );
}

#[test]
fn deletion_of_a_queue_ends_its_consumers() {
    let (mut world, id) = with_messages(Config::default(), 0);
    world.send(id, 1, Method::BasicConsume(consume("q", "c")));
    world.hear(id);
    let other = world.connect();
    let deleted = world.ask(
        other,
        1,
        Method::QueueDelete(queue::Delete {
            queue: b"q",
            ..Default::default()
        }),
    );
    assert_eq!(deleted, ["1 queue.delete-ok 0"]);
    assert_eq!(world.hear(id), ["1 basic.cancel c"]);
    assert_eq!(
        world.ask(
            id,
            1,
            Method::BasicCancelOk(basic::CancelOk { consumer_tag: b"c" })
        ),
        NOTHING
    );
}

#[test]
fn requeued_messages_return_to_their_places() {
    let (mut world, id) = with_messages(Config::default(), 3);
    let other = world.connect();
    let get = || {
        Method::BasicGet(basic::Get {
            queue: b"q",
            ..Default::default()
        })
    };
    for expect in ["#1 '' 'q' 2 left [2] m1", "#2 '' 'q' 1 left [2] m2"] {
        assert_eq!(
            world.ask(id, 1, get()),
            [format!("1 basic.get-ok {expect}")]
        );
    }
    world.send(id, 1, nack(2, true, true));
    assert_eq!(
        world.ask(other, 1, get()),
        ["1 basic.get-ok #1 again '' 'q' 2 left [2] m1"]
    );
    assert_eq!(
        world.ask(
            other,
            1,
            Method::BasicRecover(basic::Recover { requeue: true })
        ),
        ["1 basic.recover-ok"]
    );
    assert_eq!(
        world.ask(other, 1, get()),
        ["1 basic.get-ok #2 again '' 'q' 2 left [2] m1"]
    );
    world.eof(other);
    assert_eq!(
        world.ask(id, 1, get()),
        ["1 basic.get-ok #3 again '' 'q' 2 left [2] m1"]
    );
    world.send(
        id,
        1,
        Method::BasicReject(basic::Reject {
            delivery_tag: 3,
            requeue: false,
        }),
    );
    assert_eq!(
        world.ask(id, 1, get()),
        ["1 basic.get-ok #4 again '' 'q' 1 left [2] m2"]
    );
    let text = "0 connection.close 540 NOT_IMPLEMENTED - requeue=false (60,110)";
    assert_eq!(
        world.ask(
            id,
            1,
            Method::BasicRecover(basic::Recover { requeue: false })
        ),
        [text]
    );
}

#[test]
fn unknown_delivery_tags() {
    let unknown = |tag: u64, method: u16| {
        format!(
            "1 channel.close 406 PRECONDITION_FAILED - unknown delivery tag {tag} (60,{method})"
        )
    };
    check(vec![ack(5, false)], &unknown(5, 80));
    check(vec![ack(5, true)], &unknown(5, 80));
    check(vec![ack(0, false)], &unknown(0, 80));
    check(vec![nack(u64::MAX, true, true)], &unknown(u64::MAX, 120));
    check(
        vec![Method::BasicReject(basic::Reject {
            delivery_tag: 1,
            requeue: true,
        })],
        &unknown(1, 90),
    );
    let (mut world, id) = with_messages(Config::default(), 2);
    world.send(id, 1, Method::BasicConsume(consume("q", "c")));
    world.hear(id);
    assert_eq!(world.ask(id, 1, ack(0, true)), NOTHING);
    assert_eq!(world.ask(id, 1, ack(0, true)), NOTHING);
    assert_eq!(world.ask(id, 1, ack(2, false)), [unknown(2, 80)]);
}

#[test]
fn prefetch_counts_are_for_each_consumer() {
    let (mut world, id) = with_messages(Config::default(), 3);
    // Where limits of channels are not permitted, global makes no difference.
    assert_eq!(
        world.ask(
            id,
            1,
            Method::BasicQos(basic::Qos {
                prefetch_count: 1,
                global: true,
                ..Default::default()
            })
        ),
        ["1 basic.qos-ok"]
    );
    for (tag, expect) in [
        ("a", "1 basic.deliver a #1 '' 'q' [2] m1"),
        ("b", "1 basic.deliver b #2 '' 'q' [2] m2"),
    ] {
        assert_eq!(
            world.ask(id, 1, Method::BasicConsume(consume("q", tag))),
            [&format!("1 basic.consume-ok {tag}"), expect]
        );
    }
    assert_eq!(
        world.ask(id, 1, ack(1, false)),
        ["1 basic.deliver a #3 '' 'q' [2] m3"]
    );
}

#[test]
fn channels_begin_with_the_prefetch_of_the_configuration() {
    let (mut world, id) = with_messages(
        Config {
            consumer_prefetch_default: 1,
            ..Config::default()
        },
        3,
    );
    for (tag, expect) in [
        ("a", "1 basic.deliver a #1 '' 'q' [2] m1"),
        ("b", "1 basic.deliver b #2 '' 'q' [2] m2"),
    ] {
        assert_eq!(
            world.ask(id, 1, Method::BasicConsume(consume("q", tag))),
            [&format!("1 basic.consume-ok {tag}"), expect]
        );
    }
    let qos = basic::Qos {
        prefetch_count: 0,
        ..Default::default()
    };
    assert_eq!(
        world.ask(id, 1, Method::BasicQos(qos)),
        ["1 basic.qos-ok"],
        "consumers keep theirs"
    );
    assert_eq!(
        world.ask(id, 1, Method::BasicConsume(consume("q", "c"))),
        ["1 basic.consume-ok c", "1 basic.deliver c #3 '' 'q' [2] m3"]
    );
}

#[test]
fn the_prefetch_of_the_configuration_may_be_that_of_the_channel() {
    for (permitted, second) in [
        (true, &["1 basic.consume-ok b"][..]),
        (
            false,
            &["1 basic.consume-ok b", "1 basic.deliver b #2 '' 'q' [2] m2"],
        ),
    ] {
        let (mut world, id) = with_messages(
            Config {
                consumer_prefetch_default: 1,
                consumer_prefetch_is_global: true,
                global_qos_permitted: permitted,
                ..Config::default()
            },
            3,
        );
        world.ask(id, 1, Method::BasicConsume(consume("q", "a")));
        let consumed = world.ask(id, 1, Method::BasicConsume(consume("q", "b")));
        assert_eq!(consumed, second);
    }
}

#[test]
fn a_limit_of_the_channel_is_shared() {
    let (mut world, id) = with_messages(
        Config {
            global_qos_permitted: true,
            ..Config::default()
        },
        4,
    );
    world.send(
        id,
        1,
        Method::BasicQos(basic::Qos {
            prefetch_count: 2,
            global: true,
            ..Default::default()
        }),
    );
    world.send(id, 1, Method::BasicConsume(consume("q", "a")));
    world.send(id, 1, Method::BasicConsume(consume("q", "b")));
    let heard: Vec<_> = world
        .hear(id)
        .into_iter()
        .filter(|line| line.contains("deliver"))
        .collect();
    assert_eq!(
        heard,
        [
            "1 basic.deliver a #1 '' 'q' [2] m1",
            "1 basic.deliver a #2 '' 'q' [2] m2"
        ]
    );
    let heard = world.ask(id, 1, ack(1, false));
    assert_eq!(heard.len(), 1, "{heard:?}");
    assert!(heard[0].ends_with("#3 '' 'q' [2] m3"), "{heard:?}");
    let heard = world.ask(id, 1, ack(3, true));
    assert_eq!(heard.len(), 1, "{heard:?}");
    assert!(heard[0].ends_with("#4 '' 'q' [2] m4"), "{heard:?}");
}

#[test]
fn auto_delete_queues_go_with_their_last_consumer_however_it_ends() {
    for close in [true, false] {
        let mut world = World::new();
        let id = world.connect();
        world.send(
            id,
            1,
            Method::QueueDeclare(queue::Declare {
                auto_delete: true,
                ..declare("q")
            }),
        );
        world.send(id, 1, Method::BasicConsume(consume("q", "c")));
        assert!(world.metadata.vhost("/").unwrap().queue("q").is_some());
        if close {
            world.send(id, 1, Method::ChannelClose(channel::Close::default()));
        } else {
            world.eof(id);
        }
        assert!(world.metadata.vhost("/").unwrap().queue("q").is_none());
    }
}

#[test]
fn deliveries_that_come_too_late_go_back_unseen() {
    let (mut world, id) = with_messages(Config::default(), 1);
    world.hold();
    world.send(id, 1, Method::BasicConsume(consume("q", "c")));
    world.eof(id);
    world.release();
    let id = world.connect();
    let get = Method::BasicGet(basic::Get {
        queue: b"q",
        ..Default::default()
    });
    assert_eq!(
        world.ask(id, 1, get),
        ["1 basic.get-ok #1 '' 'q' 0 left [2] m1"]
    );
}

#[test]
fn messages_of_a_dying_connection_do_not_visit_its_other_consumers() {
    let (mut world, id) = with_messages(Config::default(), 1);
    world.send(id, 2, Method::ChannelOpen(channel::Open::default()));
    world.send(id, 1, Method::BasicConsume(consume("q", "a")));
    world.send(id, 2, Method::BasicConsume(consume("q", "b")));
    world.hear(id);
    world.eof(id);
    assert_eq!(world.hear(id), ["eof"]);
    let other = world.connect();
    let get = Method::BasicGet(basic::Get {
        queue: b"q",
        ..Default::default()
    });
    assert_eq!(
        world.ask(other, 1, get),
        ["1 basic.get-ok #1 again '' 'q' 0 left [2] m1"]
    );
}

#[test]
fn quorum_queues_refuse_consumers_of_a_channel_with_a_limit() {
    let mut world = World::with_config(Config {
        global_qos_permitted: true,
        ..Config::default()
    });
    let id = world.connect();
    let mut arguments = Vec::new();
    TableWriter::new(&mut arguments).field(b"x-queue-type", &Value::LongStr(b"quorum"));
    let declare = queue::Declare {
        durable: true,
        arguments: Table::new(&arguments),
        ..declare("q")
    };
    world.send(id, 1, Method::QueueDeclare(declare));
    let qos = basic::Qos {
        prefetch_count: 5,
        global: true,
        ..Default::default()
    };
    world.send(id, 1, Method::BasicQos(qos));
    world.hear(id);
    assert_eq!(
        world.ask(id, 1, Method::BasicConsume(consume("q", "c"))),
        [
            "0 connection.close 540 NOT_IMPLEMENTED - queue 'q' in vhost '/' does not support global qos (60,20)"
        ]
    );
}
