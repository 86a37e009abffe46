//! Sections 4–7 and 14 of RabbitMQ's behaviour: channels, exchanges, queues, bindings, permissions.

use super::*;

const NOTHING: [&str; 0] = [];

/// What a fresh channel 1 hears after `methods`, of the last one.
fn last_of(world: &mut World, user: &str, methods: Vec<Method<'_>>) -> Vec<String> {
    let id = world.connect_as(user);
    let mut heard = Vec::new();
    for method in methods {
        heard = world.ask(id, 1, method);
    }
    heard
}

fn check(methods: Vec<Method<'_>>, expect: &str) {
    assert_eq!(last_of(&mut World::new(), "guest", methods), [expect]);
}

fn exchange_declare<'a>(name: &'a str, exchange_type: &'a str) -> exchange::Declare<'a> {
    exchange::Declare {
        exchange: name.as_bytes(),
        exchange_type: exchange_type.as_bytes(),
        ..Default::default()
    }
}

fn queue_bind<'a>(queue: &'a str, exchange: &'a str, routing_key: &'a str) -> Method<'a> {
    Method::QueueBind(queue::Bind {
        queue: queue.as_bytes(),
        exchange: exchange.as_bytes(),
        routing_key: routing_key.as_bytes(),
        ..Default::default()
    })
}

fn exchange_delete(name: &str) -> Method<'_> {
    Method::ExchangeDelete(exchange::Delete {
        exchange: name.as_bytes(),
        ..Default::default()
    })
}

#[test]
fn exchanges() {
    use Method::ExchangeDeclare as Declare;
    check(
        vec![Declare(exchange_declare("x1", "direct"))],
        "1 exchange.declare-ok",
    );
    check(
        vec![
            Declare(exchange_declare("x1", "direct")),
            Declare(exchange_declare("x1", "fanout")),
        ],
        "1 channel.close 406 PRECONDITION_FAILED - inequivalent arg 'type' for exchange 'x1' in vhost '/': received 'fanout' but current is 'direct' (40,10)",
    );
    check(
        vec![Declare(exchange_declare("x1", "bogus"))],
        "1 channel.close 406 PRECONDITION_FAILED - unknown exchange type 'bogus' (40,10)",
    );
    check(
        vec![Declare(exchange_declare("", "direct"))],
        "1 channel.close 403 ACCESS_REFUSED - operation not permitted on the default exchange (40,10)",
    );
    check(
        vec![Declare(exchange_declare("amq.foo", "direct"))],
        "1 channel.close 403 ACCESS_REFUSED - exchange name 'amq.foo' contains reserved prefix 'amq.*' (40,10)",
    );
    check(
        vec![Declare(exchange::Declare {
            passive: true,
            ..exchange_declare("nope", "")
        })],
        "1 channel.close 404 NOT_FOUND - no exchange 'nope' in vhost '/' (40,10)",
    );
    check(
        vec![Declare(exchange::Declare {
            passive: true,
            ..exchange_declare("amq.fanout", "direct")
        })],
        "1 exchange.declare-ok",
    );
    check(vec![exchange_delete("nope")], "1 exchange.delete-ok");
    check(
        vec![exchange_delete("amq.direct")],
        "1 channel.close 403 ACCESS_REFUSED - deletion of system exchange 'amq.direct' in vhost '/' not allowed (40,20)",
    );
    let bind = |destination, source| {
        Method::ExchangeBind(exchange::Bind {
            destination,
            source,
            ..Default::default()
        })
    };
    check(
        vec![bind(b"amq.direct", b"amq.fanout")],
        "1 exchange.bind-ok",
    );
    check(
        vec![bind(b"nope2", b"nope")],
        "1 channel.close 404 NOT_FOUND - no exchange 'nope' in vhost '/' (40,30)",
    );
    check(
        vec![Method::ExchangeUnbind(exchange::Unbind {
            destination: b"nope",
            source: b"nope",
            ..Default::default()
        })],
        "1 exchange.unbind-ok",
    );
}

#[test]
fn queues() {
    use Method::{QueueBind as Bind, QueueDeclare as Declare};
    check(vec![Declare(declare("q"))], "1 queue.declare-ok q 0 0");
    check(
        vec![Declare(declare("a\r\nb"))],
        "1 queue.declare-ok ab 0 0",
    );
    check(
        vec![Declare(queue::Declare {
            passive: true,
            ..declare("nope")
        })],
        "1 channel.close 404 NOT_FOUND - no queue 'nope' in vhost '/' (50,10)",
    );
    check(
        vec![Declare(declare("amq.foo"))],
        "1 channel.close 403 ACCESS_REFUSED - queue name 'amq.foo' contains reserved prefix 'amq.*' (50,10)",
    );
    check(
        vec![
            Declare(queue::Declare {
                durable: true,
                ..declare("dq")
            }),
            Declare(declare("dq")),
        ],
        "1 channel.close 406 PRECONDITION_FAILED - inequivalent arg 'durable' for queue 'dq' in vhost '/': received 'false' but current is 'true' (50,10)",
    );
    check(
        vec![Bind(queue::Bind {
            exchange: b"amq.direct",
            ..Default::default()
        })],
        "1 channel.close 404 NOT_FOUND - no previously declared queue (50,20)",
    );
    check(
        vec![
            Declare(declare("q")),
            Bind(queue::Bind {
                exchange: b"amq.direct",
                ..Default::default()
            }),
        ],
        "1 queue.bind-ok",
    );
    let invalid = queue::Bind {
        queue: b"q",
        exchange: b"amq.direct",
        routing_key: &[0xFF],
        ..Default::default()
    };
    check(
        vec![Declare(declare("q")), Bind(invalid)],
        "0 connection.close 501 FRAME_ERROR - Malformed UTF-8 in shortstr (0,0)",
    );
    check(
        vec![queue_bind("nope", "nope", "")],
        "1 channel.close 404 NOT_FOUND - no exchange 'nope' in vhost '/' (50,20)",
    );
    check(
        vec![queue_bind("nope", "amq.direct", "")],
        "1 channel.close 404 NOT_FOUND - no queue 'nope' in vhost '/' (50,20)",
    );
    check(
        vec![Declare(declare("q")), queue_bind("q", "", "k")],
        "1 channel.close 403 ACCESS_REFUSED - operation not permitted on the default exchange (50,20)",
    );
    let unbind = queue::Unbind {
        queue: b"nope",
        exchange: b"nope",
        ..Default::default()
    };
    check(vec![Method::QueueUnbind(unbind)], "1 queue.unbind-ok");
    let delete = |queue| queue::Delete {
        queue,
        ..Default::default()
    };
    check(
        vec![Method::QueueDelete(delete(b"nope"))],
        "1 queue.delete-ok 0",
    );
    check(
        vec![Declare(declare("q")), Method::QueueDelete(delete(b""))],
        "1 queue.delete-ok 0",
    );
    check(
        vec![
            Declare(declare("q")),
            Method::BasicConsume(consume("q", "c")),
            Method::QueueDelete(queue::Delete {
                if_unused: true,
                ..delete(b"q")
            }),
        ],
        "1 channel.close 406 PRECONDITION_FAILED - queue 'q' in vhost '/' in use (50,40)",
    );
    let purge = |queue| {
        Method::QueuePurge(queue::Purge {
            queue,
            ..Default::default()
        })
    };
    check(
        vec![purge(b"nope")],
        "1 channel.close 404 NOT_FOUND - no queue 'nope' in vhost '/' (50,30)",
    );
    check(
        vec![Declare(declare("q")), purge(b"q")],
        "1 queue.purge-ok 0",
    );
}

#[test]
fn no_wait_is_silent_but_done() {
    let mut world = World::new();
    let id = world.connect();
    world.send(
        id,
        1,
        Method::QueueDeclare(queue::Declare {
            no_wait: true,
            ..declare("q")
        }),
    );
    world.send(
        id,
        1,
        Method::QueueBind(queue::Bind {
            exchange: b"amq.fanout",
            no_wait: true,
            ..Default::default()
        }),
    );
    world.send(
        id,
        1,
        Method::ExchangeDeclare(exchange::Declare {
            no_wait: true,
            ..exchange_declare("x", "topic")
        }),
    );
    world.send(
        id,
        1,
        Method::ConfirmSelect(confirm::Select { no_wait: true }),
    );
    assert_eq!(world.hear(id), NOTHING);
    let counted = world.ask(
        id,
        1,
        Method::QueueDeclare(queue::Declare {
            passive: true,
            ..declare("q")
        }),
    );
    assert_eq!(counted, ["1 queue.declare-ok q 0 0"]);
    assert!(world.metadata.vhost("/").unwrap().exchange("x").is_some());
}

#[test]
fn names_chosen_by_the_server() {
    let mut world = World::new();
    let id = world.connect();
    let heard = world.ask(id, 1, Method::QueueDeclare(declare("")));
    let name = heard[0].split(' ').nth(2).unwrap().to_owned();
    assert!(
        name.starts_with("amq.gen-") && name.len() == "amq.gen-".len() + 22,
        "{name}"
    );
    let heard = world.ask(id, 1, Method::BasicConsume(basic::Consume::default()));
    let tag = heard[0].split(' ').nth(2).unwrap();
    assert!(
        tag.starts_with("amq.ctag-") && tag.len() == "amq.ctag-".len() + 22,
        "{tag}"
    );
}

#[test]
fn exclusive_queues_belong_to_their_connection_and_go_with_it() {
    let mut world = World::new();
    let owner = world.connect();
    let declare_exclusive = Method::QueueDeclare(queue::Declare {
        exclusive: true,
        durable: true,
        ..declare("exq")
    });
    assert_eq!(
        world.ask(owner, 1, declare_exclusive),
        ["1 queue.declare-ok exq 0 0"]
    );
    let locked = "405 RESOURCE_LOCKED - cannot obtain exclusive access to locked queue 'exq' in vhost '/'. It could be originally declared on another connection or the exclusive property value does not match that of the original declaration.";
    for method in [
        declare_exclusive,
        Method::QueueDeclare(queue::Declare {
            passive: true,
            ..declare("exq")
        }),
        Method::QueueDelete(queue::Delete {
            queue: b"exq",
            ..Default::default()
        }),
        Method::QueuePurge(queue::Purge {
            queue: b"exq",
            ..Default::default()
        }),
        Method::BasicConsume(consume("exq", "")),
        Method::BasicGet(basic::Get {
            queue: b"exq",
            ..Default::default()
        }),
        queue_bind("exq", "amq.direct", ""),
    ] {
        let (class, id) = method.ids();
        let heard = last_of(&mut world, "guest", vec![method]);
        assert_eq!(heard, [format!("1 channel.close {locked} ({class},{id})")]);
    }
    let unbind = |routing_key| queue::Unbind {
        queue: b"exq",
        exchange: b"amq.direct",
        routing_key,
        ..Default::default()
    };
    assert_eq!(
        world.ask(owner, 1, queue_bind("exq", "amq.direct", "k")),
        ["1 queue.bind-ok"]
    );
    let other = world.connect();
    assert_eq!(
        world.ask(other, 1, Method::QueueUnbind(unbind(b"unbound"))),
        ["1 queue.unbind-ok"]
    );
    let heard = world.ask(other, 1, Method::QueueUnbind(unbind(b"k")));
    assert_eq!(heard, [format!("1 channel.close {locked} (50,50)")]);
    world.feed(
        owner,
        &message(1, publish("", "exq"), &BasicProperties::default(), b"m"),
    );
    let closed = world.ask(
        owner,
        0,
        Method::ConnectionClose(connection::Close::default()),
    );
    assert_eq!(closed, ["0 connection.close-ok", "eof"]);
    assert!(world.metadata.vhost("/").unwrap().queue("exq").is_none());
    let second = world.connect();
    world.send(second, 1, declare_exclusive);
    world.eof(second);
    assert!(world.metadata.vhost("/").unwrap().queue("exq").is_none());
}

#[test]
fn permissions() {
    let mut world = World::new();
    world.add_user("u1", ["^mine", "^mine", "^mine"]);
    let refused = |operation: &str, kind: &str, name: &str| {
        format!(
            "403 ACCESS_REFUSED - {operation} access to {kind} '{name}' in vhost '/' refused for user 'u1'"
        )
    };
    let dead_letter = {
        let mut bytes = Vec::new();
        TableWriter::new(&mut bytes).field(b"x-dead-letter-exchange", &Value::LongStr(b"theirs"));
        bytes
    };
    let alternate = {
        let mut bytes = Vec::new();
        TableWriter::new(&mut bytes).field(b"alternate-exchange", &Value::LongStr(b"theirs"));
        bytes
    };
    for (method, expect) in [
        (
            Method::QueueDeclare(declare("q")),
            refused("configure", "queue", "q"),
        ),
        (
            Method::QueueDeclare(queue::Declare {
                passive: true,
                ..declare("q")
            }),
            refused("configure", "queue", "q"),
        ),
        (
            Method::QueueDeclare(queue::Declare {
                arguments: Table::new(&dead_letter),
                ..declare("mine")
            }),
            refused("write", "exchange", "theirs"),
        ),
        (
            Method::ExchangeDeclare(exchange::Declare {
                arguments: Table::new(&alternate),
                ..exchange_declare("mine", "direct")
            }),
            refused("write", "exchange", "theirs"),
        ),
        (queue_bind("q", "mine", ""), refused("write", "queue", "q")),
        (
            queue_bind("mine", "amq.topic", ""),
            refused("read", "exchange", "amq.topic"),
        ),
        (
            Method::BasicConsume(consume("q", "")),
            refused("read", "queue", "q"),
        ),
        (
            Method::BasicGet(basic::Get {
                queue: b"q",
                ..Default::default()
            }),
            refused("read", "queue", "q"),
        ),
        (
            Method::QueuePurge(queue::Purge {
                queue: b"q",
                ..Default::default()
            }),
            refused("read", "queue", "q"),
        ),
        (
            exchange_delete("amq.direct"),
            refused("configure", "exchange", "amq.direct"),
        ),
    ] {
        let (class, id) = method.ids();
        let heard = last_of(&mut world, "u1", vec![method]);
        assert_eq!(heard, [format!("1 channel.close {expect} ({class},{id})")]);
    }
    let id = world.connect_as("u1");
    world.feed(
        id,
        &message(1, publish("", "q"), &BasicProperties::default(), b"m"),
    );
    let expect = refused("write", "exchange", "amq.default");
    assert_eq!(
        world.hear(id),
        [format!("1 channel.close {expect} (60,40)")]
    );
}

#[test]
fn revoked_permissions_are_gone_with_the_next_message() {
    let mut world = World::new();
    world.add_user("u1", [".*", ".*", ".*"]);
    let id = world.connect_as("u1");
    let publish = message(
        1,
        publish("amq.fanout", ""),
        &BasicProperties::default(),
        b"m",
    );
    world.feed(id, &publish);
    world.feed(id, &publish);
    assert_eq!(world.hear(id), NOTHING);
    world.apply(MetadataCommand::ClearPermissions {
        vhost: "/".into(),
        user: "u1".into(),
    });
    world.feed(id, &publish);
    let text = "403 ACCESS_REFUSED - write access to exchange 'amq.fanout' in vhost '/' refused for user 'u1'";
    assert_eq!(world.hear(id), [format!("1 channel.close {text} (60,40)")]);
}

#[test]
fn odds_and_ends() {
    check(
        vec![Method::AccessRequest(access::Request::default())],
        "1 access.request-ok 1",
    );
    check(
        vec![Method::ChannelFlow(channel::Flow { active: true })],
        "1 channel.flow-ok true",
    );
    check(
        vec![Method::ChannelFlow(channel::Flow { active: false })],
        "0 connection.close 540 NOT_IMPLEMENTED - active=false (20,20)",
    );
    check(
        vec![Method::ChannelClose(channel::Close::default())],
        "1 channel.close-ok",
    );
}

#[test]
fn a_closed_channel_ignores_everything_until_close_ok() {
    let mut world = World::new();
    let id = world.connect();
    world.send(id, 2, Method::ChannelOpen(channel::Open::default()));
    world.send(
        id,
        1,
        Method::BasicAck(basic::Ack {
            delivery_tag: 1,
            multiple: false,
        }),
    );
    let text = "1 channel.close 406 PRECONDITION_FAILED - unknown delivery tag 1 (60,80)";
    assert_eq!(world.hear(id), ["2 channel.open-ok", text]);
    world.send(id, 1, Method::QueueDeclare(declare("q")));
    world.feed(
        id,
        &message(1, publish("", "q"), &BasicProperties::default(), b"m"),
    );
    assert_eq!(world.hear(id), NOTHING);
    assert_eq!(
        world.ask(id, 2, Method::QueueDeclare(declare("q"))),
        ["2 queue.declare-ok q 0 0"]
    );
    world.send(id, 1, Method::ChannelCloseOk(channel::CloseOk));
    assert_eq!(
        world.ask(id, 1, Method::ChannelOpen(channel::Open::default())),
        ["1 channel.open-ok"]
    );
    let close = Method::ConnectionClose(connection::Close::default());
    assert_eq!(world.ask(id, 0, close), ["0 connection.close-ok", "eof"]);
}

#[test]
fn what_follows_an_unanswered_method_waits_in_order_while_other_channels_go_on() {
    let mut world = World::new();
    let id = world.connect();
    world.send(id, 2, Method::ChannelOpen(channel::Open::default()));
    world.hear(id);
    world.hold();
    world.send(id, 1, Method::QueueDeclare(declare("q")));
    world.feed(
        id,
        &message(1, publish("", "q"), &BasicProperties::default(), b"first"),
    );
    world.send(
        id,
        1,
        Method::BasicGet(basic::Get {
            queue: b"q",
            no_ack: true,
            ..Default::default()
        }),
    );
    world.send(id, 1, Method::ChannelClose(channel::Close::default()));
    assert_eq!(
        world.ask(id, 2, Method::BasicQos(basic::Qos::default())),
        ["2 basic.qos-ok"]
    );
    // The connection's end waits for the channel.
    world.send(id, 0, Method::ConnectionClose(connection::Close::default()));
    assert_eq!(world.hear(id), NOTHING);
    world.release();
    assert_eq!(
        world.hear(id),
        [
            "1 queue.declare-ok q 0 0",
            "1 basic.get-ok #1 '' 'q' 0 left [5] first",
            "1 channel.close-ok",
            "0 connection.close-ok",
            "eof"
        ]
    );
}
