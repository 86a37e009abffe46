//! Sections 8, 10 and 15 of RabbitMQ's behaviour: publishing, confirms, transactions, direct reply-to, alarms.

use super::*;
use broker::messages::Messages;

const NOTHING: [&str; 0] = [];

fn declared(queues: &[&str]) -> (World, ConnectionId) {
    let mut world = World::new();
    let id = world.connect();
    for queue in queues {
        world.send(id, 1, Method::QueueDeclare(declare(queue)));
    }
    world.hear(id);
    (world, id)
}

fn send(
    world: &mut World,
    id: ConnectionId,
    routing_key: &str,
    properties: &BasicProperties<'_>,
    body: &[u8],
) -> Vec<String> {
    world.feed(id, &message(1, publish("", routing_key), properties, body));
    world.hear(id)
}

fn get(world: &mut World, id: ConnectionId, queue: &str) -> Vec<String> {
    world.ask(
        id,
        1,
        Method::BasicGet(basic::Get {
            queue: queue.as_bytes(),
            no_ack: true,
            ..Default::default()
        }),
    )
}

/// What one publish to `q` is answered with.
fn check(properties: &BasicProperties<'_>, expect: &str) {
    let (mut world, id) = declared(&["q"]);
    assert_eq!(
        send(&mut world, id, "q", properties, b"m"),
        [format!(
            "1 channel.close 406 PRECONDITION_FAILED - {expect} (60,40)"
        )]
    );
}

#[test]
fn a_message_reaches_its_queue_with_everything_it_had() {
    let (mut world, id) = declared(&["q"]);
    let properties = BasicProperties {
        content_type: Some(b"text/plain"),
        delivery_mode: Some(2),
        priority: Some(9),
        ..Default::default()
    };
    for body in [&b""[..], b"small"] {
        assert_eq!(send(&mut world, id, "q", &properties, body), NOTHING);
    }
    world.send(
        id,
        1,
        Method::BasicGet(basic::Get {
            queue: b"q",
            no_ack: true,
            ..Default::default()
        }),
    );
    assert_eq!(world.hear(id), ["1 basic.get-ok #1 '' 'q' 1 left [0]"]);
    world.send(
        id,
        1,
        Method::BasicGet(basic::Get {
            queue: b"q",
            no_ack: true,
            ..Default::default()
        }),
    );
    let bytes = world.bytes(id);
    assert_eq!(
        describe_frames(&bytes),
        ["1 basic.get-ok #2 '' 'q' 0 left [5] small"]
    );
    let mut encoded = Vec::new();
    properties.encode(&mut encoded);
    assert!(bytes.windows(encoded.len()).any(|window| window == encoded));
    assert_eq!(get(&mut world, id, "q"), ["1 basic.get-empty"]);
}

#[test]
fn large_bodies_come_out_as_they_went_in() {
    let (mut world, id) = declared(&["q"]);
    for size in [8191, 8192, 131_064, 131_065, 1_000_000] {
        let body: Vec<u8> = (0..size).map(|index: usize| (index * 7) as u8).collect();
        send(&mut world, id, "q", &BasicProperties::default(), &body);
        world.send(
            id,
            1,
            Method::BasicGet(basic::Get {
                queue: b"q",
                no_ack: true,
                ..Default::default()
            }),
        );
        let bytes = world.bytes(id);
        let mut received = Vec::new();
        let mut rest = &bytes[..];
        while let Some((frame, taken)) = decode_frame(rest, 131_072).unwrap() {
            assert!(taken <= 131_072);
            rest = &rest[taken..];
            if frame.kind == FrameKind::Body {
                received.extend_from_slice(frame.payload);
            }
        }
        assert!(received == body, "{size}");
    }
}

#[test]
fn refused_messages() {
    let expiration = |value| BasicProperties {
        expiration: Some(value),
        ..Default::default()
    };
    check(&expiration(b"abc"), "invalid expiration 'abc': no_integer");
    check(
        &expiration(b"1.5"),
        "invalid expiration '1.5': {leftover_string,\".5\"}",
    );
    check(
        &expiration(b"-1"),
        "invalid expiration '-1': {value_negative,-1}",
    );
    check(
        &BasicProperties {
            user_id: Some(b"other"),
            ..Default::default()
        },
        "user_id property set to 'other' but authenticated user was 'guest'",
    );
    check(
        &BasicProperties {
            reply_to: Some(b"amq.rabbitmq.reply-to"),
            ..Default::default()
        },
        "fast reply consumer does not exist",
    );
    let mut headers = Vec::new();
    TableWriter::new(&mut headers).field(b"CC", &Value::LongStr(b"x"));
    check(
        &BasicProperties {
            headers: Some(Table::new(&headers)),
            ..Default::default()
        },
        "invalid message: {unacceptable_type_in_header,\"CC\",longstr}",
    );

    let (mut world, id) = declared(&["q"]);
    world.feed(
        id,
        &message(1, publish("nope", "q"), &BasicProperties::default(), b"m"),
    );
    assert_eq!(
        world.hear(id),
        ["1 channel.close 404 NOT_FOUND - no exchange 'nope' in vhost '/' (60,40)"]
    );
    let id = world.connect();
    let immediate = basic::Publish {
        immediate: true,
        ..publish("", "q")
    };
    world.feed(
        id,
        &message(1, immediate, &BasicProperties::default(), b"m"),
    );
    assert_eq!(
        world.hear(id),
        ["0 connection.close 540 NOT_IMPLEMENTED - immediate=true (60,40)"]
    );
    let id = world.connect();
    let internal = exchange::Declare {
        exchange: b"xi",
        exchange_type: b"fanout",
        internal: true,
        ..Default::default()
    };
    world.send(id, 1, Method::ExchangeDeclare(internal));
    world.hear(id);
    world.feed(
        id,
        &message(1, publish("xi", ""), &BasicProperties::default(), b"m"),
    );
    assert_eq!(
        world.hear(id),
        [
            "1 channel.close 403 ACCESS_REFUSED - cannot publish to internal exchange 'xi' in vhost '/' (60,40)"
        ]
    );
}

#[test]
fn a_message_that_is_too_large_is_not_kept() {
    let mut world = World::with_config(Config {
        message_size_max: 1000,
        ..Config::default()
    });
    let id = world.connect();
    let bytes = message(1, publish("", "q"), &BasicProperties::default(), &[0; 1001]);
    world.feed(id, &bytes[..bytes.len() - 10]);
    assert_eq!(
        (world.hear(id), world.machine(id).buffered_bytes()),
        (vec![], 0)
    );
    world.feed(id, &bytes[bytes.len() - 10..]);
    let text = "PRECONDITION_FAILED - message size 1001 is larger than configured max size 1000";
    assert_eq!(
        world.hear(id),
        [format!("1 channel.close 406 {text} (60,40)")]
    );
}

#[test]
fn messages_that_cannot_be_read() {
    let mut unknown_type = vec![0x20, 0];
    unknown_type.extend([0, 0, 0, 3, 1, b'k', b'?']);
    for properties in [
        &[0, 1, 0, 0][..],
        &[0x80, 0, 5, b'a', b'b'],
        &[0, 0, 1],
        &unknown_type,
    ] {
        let (mut world, id) = declared(&["q"]);
        let mut bytes = Vec::new();
        publish("", "q").encode(1, &mut bytes);
        encode_header_frame(&mut bytes, 1, 0, properties);
        world.feed(id, &bytes);
        assert_eq!(
            world.hear(id),
            ["0 connection.close 541 INTERNAL_ERROR (0,0)"],
            "{properties:?}"
        );
    }
    for (weight, body_size, expect) in [
        (
            1,
            1,
            "505 UNEXPECTED_FRAME - expected content header for class 60, got non content header frame instead",
        ),
        (
            0,
            536_870_913_u64,
            "501 FRAME_ERROR - content body size 536870913 exceeds maximum allowed size 536870912",
        ),
    ] {
        let (mut world, id) = declared(&["q"]);
        let mut bytes = Vec::new();
        publish("", "q").encode(1, &mut bytes);
        let header = [&[0, 60, 0, weight][..], &body_size.to_be_bytes(), &[0, 0]].concat();
        encode_frame(FrameKind::Header, 1, &header, &mut bytes);
        world.feed(id, &bytes);
        assert_eq!(
            world.hear(id),
            [format!("0 connection.close {expect} (60,40)")]
        );
    }
}

#[test]
fn cc_and_bcc() {
    let (mut world, id) = declared(&["q", "cc", "bcc"]);
    let mut headers = Vec::new();
    let mut writer = TableWriter::new(&mut headers);
    writer.array(b"CC", |keys| {
        keys.value(&Value::LongStr(b"cc"));
        keys.value(&Value::LongStr(b"q"));
        keys.value(&Value::I32(7));
    });
    writer.array(b"BCC", |keys| keys.value(&Value::LongStr(b"bcc")));
    let properties = BasicProperties {
        headers: Some(Table::new(&headers)),
        ..Default::default()
    };
    send(&mut world, id, "q", &properties, b"m");
    for queue in ["q", "cc", "bcc"] {
        world.send(
            id,
            1,
            Method::BasicGet(basic::Get {
                queue: queue.as_bytes(),
                no_ack: true,
                ..Default::default()
            }),
        );
        let bytes = world.bytes(id);
        assert!(
            describe_frames(&bytes)[0].contains("'' 'q' 0 left [1] m"),
            "{queue}"
        );
        assert!(bytes.windows(3).any(|window| window == b"\x02CC"));
        assert!(!bytes.windows(4).any(|window| window == b"\x03BCC"));
    }
}

#[test]
fn mandatory_messages_come_back_before_their_confirm() {
    let (mut world, id) = declared(&["q"]);
    world.send(id, 1, Method::ConfirmSelect(confirm::Select::default()));
    let mandatory = |key| basic::Publish {
        mandatory: true,
        ..publish("", key)
    };
    let mut bytes = message(1, mandatory("q"), &BasicProperties::default(), b"a");
    bytes.extend(message(
        1,
        mandatory("nope"),
        &BasicProperties::default(),
        b"b",
    ));
    bytes.extend(message(
        1,
        publish("", "nope"),
        &BasicProperties::default(),
        b"c",
    ));
    world.feed(id, &bytes);
    assert_eq!(
        world.hear(id),
        [
            "1 confirm.select-ok",
            "1 basic.return 312 NO_ROUTE '' 'nope' [1] b",
            "1 basic.ack 3 multiple"
        ]
    );
}

#[test]
fn confirms_wait_for_queues_and_refusals_are_said() {
    let (mut world, id) = declared(&[]);
    let mut arguments = Vec::new();
    let mut writer = TableWriter::new(&mut arguments);
    writer.field(b"x-max-length", &Value::I32(1));
    writer.field(b"x-overflow", &Value::LongStr(b"reject-publish"));
    world.send(
        id,
        1,
        Method::QueueDeclare(queue::Declare {
            arguments: Table::new(&arguments),
            ..declare("q")
        }),
    );
    world.send(id, 1, Method::ConfirmSelect(confirm::Select::default()));
    world.hear(id);
    world.hold();
    let mut bytes = Vec::new();
    for _ in 0..3 {
        bytes.extend(message(
            1,
            publish("", "q"),
            &BasicProperties::default(),
            b"m",
        ));
    }
    world.feed(id, &bytes);
    assert_eq!(world.hear(id), NOTHING);
    world.release();
    assert_eq!(
        world.hear(id),
        ["1 basic.ack 1", "1 basic.nack 2", "1 basic.nack 3"]
    );
}

#[test]
fn modes_exclude_each_other() {
    let (mut world, id) = declared(&[]);
    let select = || Method::ConfirmSelect(confirm::Select::default());
    world.send(id, 1, select());
    assert_eq!(
        world.ask(id, 1, select()),
        ["1 confirm.select-ok", "1 confirm.select-ok"]
    );
    let text = "cannot switch from confirm to tx mode";
    assert_eq!(
        world.ask(id, 1, Method::TxSelect(tx::Select)),
        [format!(
            "1 channel.close 406 PRECONDITION_FAILED - {text} (90,10)"
        )]
    );
    let id = world.connect();
    world.send(id, 1, Method::TxSelect(tx::Select));
    let text = "cannot switch from tx to confirm mode";
    assert_eq!(
        world.ask(id, 1, select()),
        [
            "1 tx.select-ok".to_owned(),
            format!("1 channel.close 406 PRECONDITION_FAILED - {text} (85,10)")
        ]
    );
    for method in [
        Method::TxCommit(tx::Commit),
        Method::TxRollback(tx::Rollback),
    ] {
        let (id, (_, method_id)) = (world.connect(), method.ids());
        let text = "channel is not transactional";
        assert_eq!(
            world.ask(id, 1, method),
            [format!(
                "1 channel.close 406 PRECONDITION_FAILED - {text} (90,{method_id})"
            )]
        );
    }
}

#[test]
fn transactions() {
    let (mut world, id) = declared(&["q"]);
    send(&mut world, id, "q", &BasicProperties::default(), b"old");
    world.send(id, 1, Method::TxSelect(tx::Select));
    let taken = world.ask(
        id,
        1,
        Method::BasicGet(basic::Get {
            queue: b"q",
            ..Default::default()
        }),
    );
    assert_eq!(
        taken,
        ["1 tx.select-ok", "1 basic.get-ok #1 '' 'q' 0 left [3] old"]
    );
    let ack = || {
        Method::BasicAck(basic::Ack {
            delivery_tag: 1,
            multiple: false,
        })
    };
    world.send(id, 1, ack());
    send(&mut world, id, "q", &BasicProperties::default(), b"new");
    assert_eq!(get(&mut world, id, "q"), ["1 basic.get-empty"]);
    assert_eq!(
        world.ask(id, 1, Method::TxRollback(tx::Rollback)),
        ["1 tx.rollback-ok"]
    );
    assert_eq!(get(&mut world, id, "q"), ["1 basic.get-empty"]);
    // The ack was undone, so it can be said again; the publish is gone for good.
    world.send(id, 1, ack());
    send(
        &mut world,
        id,
        "q",
        &BasicProperties {
            delivery_mode: Some(2),
            ..Default::default()
        },
        b"again",
    );
    world.feed(
        id,
        &message(
            1,
            basic::Publish {
                mandatory: true,
                ..publish("", "nope")
            },
            &BasicProperties::default(),
            b"lost",
        ),
    );
    let heard = world.ask(id, 1, Method::TxCommit(tx::Commit));
    assert_eq!(
        heard,
        [
            "1 basic.return 312 NO_ROUTE '' 'nope' [4] lost",
            "1 tx.commit-ok"
        ]
    );
    assert_eq!(
        get(&mut world, id, "q"),
        ["1 basic.get-ok #2 '' 'q' 0 left [5] again"]
    );
    assert_eq!(
        world.ask(id, 1, Method::TxCommit(tx::Commit)),
        ["1 tx.commit-ok"]
    );
    world.eof(id);
    let id = world.connect();
    assert_eq!(get(&mut world, id, "q"), ["1 basic.get-empty"]);
}

#[test]
fn an_uncommitted_ack_does_not_outlive_the_connection() {
    let (mut world, id) = declared(&["q"]);
    send(&mut world, id, "q", &BasicProperties::default(), b"m");
    world.send(id, 1, Method::TxSelect(tx::Select));
    world.send(
        id,
        1,
        Method::BasicGet(basic::Get {
            queue: b"q",
            ..Default::default()
        }),
    );
    world.send(
        id,
        1,
        Method::BasicAck(basic::Ack {
            delivery_tag: 1,
            multiple: false,
        }),
    );
    world.eof(id);
    let id = world.connect();
    assert_eq!(
        get(&mut world, id, "q"),
        ["1 basic.get-ok #1 again '' 'q' 0 left [1] m"]
    );
}

#[test]
fn direct_reply_to() {
    let (mut world, asks) = declared(&["work"]);
    let answers = world.connect();
    let replies = basic::Consume {
        queue: b"amq.rabbitmq.reply-to",
        consumer_tag: b"r",
        no_ack: true,
        ..Default::default()
    };
    assert_eq!(
        world.ask(asks, 1, Method::BasicConsume(replies)),
        ["1 basic.consume-ok r"]
    );
    let request = BasicProperties {
        reply_to: Some(b"amq.rabbitmq.reply-to"),
        ..Default::default()
    };
    assert_eq!(
        send(&mut world, asks, "work", &request, b"question"),
        NOTHING
    );
    world.send(
        answers,
        1,
        Method::BasicGet(basic::Get {
            queue: b"work",
            no_ack: true,
            ..Default::default()
        }),
    );
    let bytes = world.bytes(answers);
    let start = bytes
        .windows(21)
        .position(|window| window == b"amq.rabbitmq.reply-to")
        .unwrap();
    let address = text(&bytes[start..start + usize::from(bytes[start - 1])]);
    assert!(
        address.starts_with("amq.rabbitmq.reply-to.") && address.ends_with("=="),
        "{address}"
    );

    let mandatory = basic::Publish {
        mandatory: true,
        ..publish("", &address)
    };
    world.feed(
        answers,
        &message(1, mandatory, &BasicProperties::default(), b"answer"),
    );
    assert_eq!(world.hear(answers), NOTHING);
    assert_eq!(
        world.hear(asks),
        [format!("1 basic.deliver r #1 '' '{address}' [6] answer")]
    );
    // Through another exchange it is a name like any other.
    world.feed(
        answers,
        &message(
            1,
            basic::Publish {
                mandatory: true,
                ..publish("amq.direct", &address)
            },
            &BasicProperties::default(),
            b"x",
        ),
    );
    assert_eq!(
        world.hear(answers),
        [format!(
            "1 basic.return 312 NO_ROUTE 'amq.direct' '{address}' [1] x"
        )]
    );
    // Someone who guesses the channel does not know the key.
    let forged = format!("{}AAAAAAAAAAAAAAAAAAAAAA==", &address[..address.len() - 24]);
    world.feed(
        answers,
        &message(
            1,
            publish("", &forged),
            &BasicProperties::default(),
            b"forged",
        ),
    );
    assert_eq!(world.hear(asks), NOTHING);

    let passive = || {
        Method::QueueDeclare(queue::Declare {
            passive: true,
            ..declare(&address)
        })
    };
    world.send(asks, 2, Method::ChannelOpen(channel::Open::default()));
    assert_eq!(
        world.ask(asks, 2, passive()).last(),
        Some(&format!("2 queue.declare-ok {address} 0 1"))
    );
    let twice = world.ask(
        asks,
        1,
        Method::BasicConsume(basic::Consume {
            consumer_tag: b"s",
            ..replies
        }),
    );
    assert_eq!(
        twice,
        ["1 channel.close 406 PRECONDITION_FAILED - reply consumer already set (60,20)"]
    );
    let gone = format!("2 channel.close 404 NOT_FOUND - no queue '{address}' in vhost '/' (50,10)");
    assert_eq!(world.ask(asks, 2, passive()), [gone]);
    // The requester is gone: the answer is dropped, not returned.
    world.feed(
        answers,
        &message(1, mandatory, &BasicProperties::default(), b"late"),
    );
    assert_eq!((world.hear(asks), world.hear(answers)), (vec![], vec![]));
    let with_ack = world.ask(
        answers,
        1,
        Method::BasicConsume(basic::Consume {
            no_ack: false,
            ..replies
        }),
    );
    assert_eq!(
        with_ack,
        ["1 channel.close 406 PRECONDITION_FAILED - reply consumer cannot acknowledge (60,20)"]
    );
}

#[test]
fn names_of_direct_reply_to_are_no_queues() {
    let name = "amq.rabbitmq.reply-to";
    let generated = format!("{name}.AAAAAAAAAAAAAAAAAAAAAA.AAAA");
    let get_from = |queue| {
        Method::BasicGet(basic::Get {
            queue,
            ..Default::default()
        })
    };
    for (method, expect) in [
        (Method::QueueDeclare(declare(name)), format!("1 queue.declare-ok {name} 0 1")),
        (get_from(name.as_bytes()), format!("1 channel.close 404 NOT_FOUND - no queue '{name}' in vhost '/' (60,70)")),
        (Method::QueueDelete(queue::Delete { queue: name.as_bytes(), ..Default::default() }), "1 queue.delete-ok 0".to_owned()),
        (
            Method::QueueDeclare(queue::Declare { passive: true, ..declare(&generated) }),
            format!("1 channel.close 404 NOT_FOUND - no queue '{generated}' in vhost '/' (50,10)"),
        ),
        (
            Method::QueueBind(queue::Bind { queue: generated.as_bytes(), exchange: b"amq.direct", ..Default::default() }),
            "1 channel.close 403 ACCESS_REFUSED - cannot bind or unbind to a volatile (direct reply-to) queue (50,20)".to_owned(),
        ),
    ] {
        let (mut world, id) = declared(&[]);
        assert_eq!(world.ask(id, 1, method), [expect]);
    }
}

#[test]
fn alarms_block_publishers_when_they_publish() {
    let (mut world, id) = declared(&["q"]);
    world.send(id, 1, Method::BasicConsume(consume("q", "c")));
    world.hear(id);
    send(&mut world, id, "q", &BasicProperties::default(), b"before");
    let other = world.connect();
    world.alarms(true, true);
    assert_eq!(world.hear(id), NOTHING);
    assert_eq!(world.machine(id).state(), crate::ConnectionState::Blocking);
    assert_eq!(
        send(&mut world, id, "q", &BasicProperties::default(), b"one"),
        ["0 connection.blocked low on disk & memory"]
    );
    assert!(!world.machine(id).wants_input() && world.machine(other).wants_input());
    assert_eq!(world.machine(id).state(), crate::ConnectionState::Blocked);
    // What was read already is kept in order; acks are let through.
    assert_eq!(
        send(&mut world, id, "q", &BasicProperties::default(), b"two"),
        NOTHING
    );
    assert_eq!(
        world.ask(
            id,
            1,
            Method::BasicAck(basic::Ack {
                delivery_tag: 1,
                multiple: false
            })
        ),
        NOTHING
    );
    world.alarms(false, true);
    assert_eq!(world.hear(id), NOTHING);
    world.alarms(false, false);
    assert_eq!(
        world.hear(id),
        [
            "0 connection.unblocked",
            "1 basic.deliver c #2 '' 'q' [3] one",
            "1 basic.deliver c #3 '' 'q' [3] two"
        ]
    );
    assert!(world.machine(id).wants_input());
    assert_eq!(world.hear(other), NOTHING);
}

#[test]
fn a_congested_node_holds_publishes_back_without_a_word() {
    let (mut world, id) = declared(&["q"]);
    world.credit(false);
    assert_eq!(
        send(&mut world, id, "q", &BasicProperties::default(), b"m"),
        NOTHING
    );
    assert!(world.machine(id).wants_input());
    assert_eq!(world.machine(id).state(), crate::ConnectionState::Flow);
    let large = vec![0; 1024 * 1024];
    send(&mut world, id, "q", &BasicProperties::default(), &large);
    assert!(!world.machine(id).wants_input());
    world.credit(true);
    assert!(world.machine(id).wants_input());
    assert_eq!(
        get(&mut world, id, "q"),
        ["1 basic.get-ok #1 '' 'q' 1 left [1] m"]
    );
}

/// What a client hears that consumes from `q` in this way, gets what is left, and publishes all bodies in one write, or in one each.
fn heard_of_alike(
    consumers: &[(&str, bool)],
    confirms: bool,
    bodies: &[Vec<u8>],
    at_once: bool,
) -> Vec<String> {
    let (mut world, id) = declared(&["q"]);
    if confirms {
        world.send(id, 1, Method::ConfirmSelect(confirm::Select::default()));
    }
    for (tag, no_ack) in consumers {
        let consume = basic::Consume {
            no_ack: *no_ack,
            ..consume("q", tag)
        };
        world.send(id, 1, Method::BasicConsume(consume));
    }
    let properties = BasicProperties::default();
    let messages = bodies
        .iter()
        .map(|body| message(1, publish("", "q"), &properties, body));
    if at_once {
        world.feed(id, &messages.collect::<Vec<_>>().concat());
    } else {
        messages.for_each(|message| world.feed(id, &message));
    }
    let mut heard = world.hear(id);
    heard.retain(|line| !line.contains("basic.ack"));
    for _ in bodies {
        heard.extend(get(&mut world, id, "q"));
    }
    heard
}

#[test]
fn messages_that_differ_only_in_their_bodies_are_told_from_each_other_by_nobody() {
    let sizes = [3, 3, 3, 0, 3, 9000, 3, 8184, 8183, 1, 2, 2];
    let mut bodies: Vec<Vec<u8>> = sizes.iter().map(|size| vec![b'x'; *size]).collect();
    bodies.extend((0..600).map(|number: u32| number.to_string().into_bytes()));
    let consumers: [&[_]; 5] = [
        &[],
        &[("a", true)],
        &[("a", false)],
        &[("a", true), ("b", true)],
        &[("a", true), ("b", false)],
    ];
    for consumers in consumers {
        for confirms in [false, true] {
            let [one_by_one, at_once] =
                [false, true].map(|at_once| heard_of_alike(consumers, confirms, &bodies, at_once));
            assert!(one_by_one.len() >= bodies.len());
            assert_eq!(one_by_one, at_once, "{consumers:?}, confirms: {confirms}");
        }
    }
}

/// How the messages of these bodies travel to `q`: `L` for each listed one, `R` for each in a run.
fn travels(confirms: bool, bodies: &[&[u8]]) -> String {
    let (mut world, id) = declared(&["q"]);
    if confirms {
        world.send(id, 1, Method::ConfirmSelect(confirm::Select::default()));
    }
    let properties = BasicProperties::default();
    let messages = bodies
        .iter()
        .map(|body| message(1, publish("", "q"), &properties, body));
    let mut input = BytesMut::from(&*messages.collect::<Vec<_>>().concat());
    // The route becomes known.
    send(&mut world, id, "q", &properties, b"first");
    send(&mut world, id, "q", &properties, b"second");
    let metadata = Arc::clone(&world.metadata);
    let machine = world.machine(id);
    machine.handle_input(Now::default(), &metadata, &mut input);
    let mut travels = String::new();
    while let Some(request) = machine.poll_request() {
        if let Request::Queue {
            command: QueueCommand::Publish { messages, .. },
            ..
        } = request
        {
            let letter = match &messages {
                Messages::Listed(_) => "L",
                Messages::Run(_) => "R",
            };
            travels += &letter.repeat(messages.len());
        }
    }
    travels
}

#[test]
fn small_messages_to_one_queue_that_nobody_answers_travel_as_runs() {
    assert_eq!(travels(false, &[b"1", b"22", b"3", b"4"]), "LRRR");
    assert_eq!(travels(false, &[b"1", b"2", b"", b"3"]), "LRLR");
    assert_eq!(travels(false, &[b"1", b"2", &[7; 9000], b"3"]), "LRLL");
    assert_eq!(travels(true, &[b"1", b"2", b"3"]), "LLL");
}
