//! What hostile clients cannot do: make the machine panic, grow without bound, or read on after the end.

use super::*;
use crate::{CloseReason, ConnectionState};
use broker::limits::{PublishRates, VhostLimits};

#[test]
fn nothing_is_allocated_for_what_was_only_announced() {
    let mut world = World::new();
    let id = world.connect();
    let mut bytes = Vec::new();
    publish("", "q").encode(1, &mut bytes);
    encode_header_frame(&mut bytes, 1, 16 * 1024 * 1024, &[0, 0]);
    world.feed(id, &bytes);
    assert_eq!(world.machine(id).buffered_bytes(), 0);
    let mut part = Vec::new();
    encode_body_frames(&mut part, 1, &[0; 1000], 131_072);
    world.feed(id, &part);
    assert!((1000..10_000).contains(&world.machine(id).buffered_bytes()));
}

#[test]
fn body_frames_without_a_byte_come_to_an_end() {
    let mut world = World::new();
    let id = world.connect();
    let mut bytes = Vec::new();
    publish("", "q").encode(1, &mut bytes);
    encode_header_frame(&mut bytes, 1, 1, &[0, 0]);
    world.feed(id, &bytes);
    let mut empty = Vec::new();
    encode_frame(FrameKind::Body, 1, b"", &mut empty);
    for _ in 0..1000 {
        world.feed(id, &empty);
    }
    assert!(world.hear(id).is_empty());
    world.feed(id, &empty);
    assert!(world.hear(id)[0].contains("501 FRAME_ERROR - too many empty content body frames"));
}

#[test]
fn a_channel_that_waits_stops_the_client_in_time() {
    let mut world = World::new();
    let id = world.connect();
    world.hold();
    world.send(id, 1, Method::QueueDeclare(declare("q")));
    let mut fed = 0;
    while world.machine(id).wants_input() {
        world.send(id, 1, Method::BasicQos(basic::Qos::default()));
        fed += 1;
        assert!(fed <= 10_000);
    }
    world.release();
    assert!(world.machine(id).wants_input());
    assert_eq!(world.hear(id).len(), fed + 1);
}

#[test]
fn a_client_that_does_not_read_is_not_read_from() {
    let mut world = World::new();
    let id = world.connect();
    let mandatory = basic::Publish {
        mandatory: true,
        ..publish("", "nope")
    };
    let bytes = message(1, mandatory, &BasicProperties::default(), &[0; 5000]);
    let (now, metadata) = (world.now, Arc::clone(&world.metadata));
    let machine = world.machine(id);
    let mut rounds = 0;
    while machine.wants_input() {
        machine.handle_input(now, &metadata, &mut BytesMut::from(&bytes[..]));
        rounds += 1;
        assert!(rounds < 10_000);
    }
    assert!(machine.output().len() < 5 * 1024 * 1024);
}

#[test]
fn deep_tables_are_refused() {
    let mut world = World::new();
    let id = world.connect();
    // A table in a table in a table…; what is wrong must be noticed on the way in, not at the bottom.
    let mut table = Vec::new();
    for _ in 0..500 {
        let size = u32::try_from(table.len()).unwrap();
        table = [&[1, b'k', b'F'][..], &size.to_be_bytes(), &table].concat();
    }
    world.send(
        id,
        1,
        Method::QueueDeclare(queue::Declare {
            arguments: Table::new(&table),
            ..declare("q")
        }),
    );
    assert!(world.hear(id)[0].starts_with("0 connection.close 502 SYNTAX_ERROR"));
    let id = world.connect();
    let properties = BasicProperties {
        headers: Some(Table::new(&table)),
        ..Default::default()
    };
    world.feed(id, &message(1, publish("", "q"), &properties, b"m"));
    assert!(world.hear(id)[0].starts_with("0 connection.close 502 SYNTAX_ERROR"));
}

#[test]
fn too_large_a_transaction_ends_the_channel() {
    let mut world = World::new();
    let id = world.connect();
    world.send(id, 1, Method::TxSelect(tx::Select));
    world.hear(id);
    let bytes = message(
        1,
        publish("", "q"),
        &BasicProperties::default(),
        &[0; 1024 * 1024],
    );
    let mut count = 0;
    let heard = loop {
        world.feed(id, &bytes);
        let heard = world.hear(id);
        if !heard.is_empty() {
            break heard;
        }
        count += 1;
        assert!(count < 100);
    };
    assert!(
        heard[0]
            .starts_with("1 channel.close 406 PRECONDITION_FAILED - transaction is larger than"),
        "{heard:?}"
    );
    assert_eq!(world.machine(id).buffered_bytes(), 0);
}

#[test]
fn random_bytes_do_no_harm() {
    let mut random = crate::random::Random::new(7);
    for round in 0..2000 {
        let mut world = World::new();
        let id = if round % 2 == 0 {
            world.accept()
        } else {
            world.connect()
        };
        let mut bytes = Vec::new();
        for _ in 0..4 {
            let [kind, class, method, size, rest @ ..] = random.bytes16();
            let class = [10, 20, 30, 40, 50, 60, 85, 90][usize::from(class % 8)];
            let mut payload = vec![0, class, 0, method % 130];
            payload.extend(rest.iter().cycle().take(usize::from(size)));
            bytes.extend([kind % 4, 0, kind / 100]);
            bytes.extend(u32::try_from(payload.len()).unwrap().to_be_bytes());
            bytes.extend(payload);
            bytes.push(0xCE);
        }
        if round % 2 == 0 {
            world.feed(id, &PROTOCOL_HEADER);
        }
        world.feed(id, &bytes);
        world.hear(id);
        world.eof(id);
    }
}

/// A limit of the vhost that lets a connection publish two messages a second.
fn two_a_second() -> MetadataCommand {
    publish_rates(PublishRates {
        connection_messages: Some(2),
        ..PublishRates::default()
    })
}

fn publish_rates(publish: PublishRates) -> MetadataCommand {
    MetadataCommand::SetVhostLimits {
        vhost: "/".into(),
        limits: VhostLimits {
            publish,
            ..VhostLimits::default()
        },
    }
}

fn ready(world: &mut World, id: ConnectionId) -> String {
    world
        .ask(id, 2, Method::QueueDeclare(declare("q")))
        .remove(0)
}

/// So many messages to the queue "q".
fn messages(count: usize, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..count {
        publish("", "q").encode(1, &mut bytes);
        encode_header_frame(&mut bytes, 1, body.len() as u64, &[0, 0]);
        encode_body_frames(&mut bytes, 1, body, 131_072);
    }
    bytes
}

#[test]
fn who_publishes_too_fast_is_read_more_slowly_and_loses_nothing() {
    let mut world = World::new();
    world.apply(two_a_second());
    let id = world.connect();
    let other = world.connect();
    world.send(other, 2, Method::ChannelOpen(channel::Open::default()));
    world.send(id, 1, Method::QueueDeclare(declare("q")));
    world.feed(id, &messages(10, b"body"));
    let _ = world.hear(other);
    let count = |world: &mut World| {
        let ready = ready(world, other);
        let counts = ready.split(' ').nth(3).unwrap();
        counts.to_owned()
    };
    // The burst, the one that was too much, and nothing that was half taken.
    assert_eq!(world.machine(id).state(), ConnectionState::Flow);
    assert!(!world.machine(id).wants_input() && world.machine(id).holds_input());
    assert_eq!(count(&mut world), "2", "{:?}", ready(&mut world, other));
    assert_eq!(world.machine(other).state(), ConnectionState::Running);
    for _ in 0..2 {
        world.pass(Duration::from_secs(1));
        assert!(world.machine(id).wants_input());
        world.feed(id, b"");
    }
    assert_eq!(count(&mut world), "6");
    // Without the limit the rest goes on at once.
    world.apply(publish_rates(PublishRates::default()));
    let metadata = Arc::clone(&world.metadata);
    world.machine(id).handle_observers(&metadata, false);
    assert!(world.machine(id).wants_input() && world.machine(id).holds_input());
    world.feed(id, b"");
    assert!(!world.machine(id).holds_input());
    assert_eq!(count(&mut world), "10");
}

#[test]
fn bodies_are_counted_in_bytes() {
    let mut world = World::new();
    world.apply(publish_rates(PublishRates {
        bytes: Some(1000),
        ..PublishRates::default()
    }));
    let id = world.connect();
    world.send(id, 1, Method::QueueDeclare(declare("q")));
    world.feed(id, &messages(1, &[0; 900]));
    assert!(world.machine(id).wants_input());
    world.feed(id, &messages(1, &[0; 900]));
    assert!(!world.machine(id).wants_input());
    world.pass(Duration::from_millis(799));
    assert!(!world.machine(id).wants_input());
    world.pass(Duration::from_millis(1));
    assert!(world.machine(id).wants_input());
}

#[test]
fn a_connection_that_waits_can_be_closed() {
    let mut world = World::new();
    world.apply(publish_rates(PublishRates {
        messages: Some(0),
        ..PublishRates::default()
    }));
    let id = world.connect();
    let mut bytes = messages(2, b"");
    Method::ConnectionCloseOk(connection::CloseOk).encode(0, &mut bytes);
    world.feed(id, &bytes);
    world.pass(Duration::from_secs(3600));
    assert!(!world.machine(id).wants_input());
    let now = world.now;
    world
        .machine(id)
        .close(now, CloseReason::Forced("enough".into()));
    assert!(world.machine(id).wants_input());
    world.feed(id, b"");
    assert!(world.machine(id).is_finished());
}

#[test]
fn connections_end_with_their_vhost_and_with_their_user() {
    let mut world = World::new();
    world.add_user("u", [".*", ".*", ".*"]);
    let of_user = world.connect_as("u");
    let other = world.connect();
    let look = |world: &mut World| {
        let metadata = Arc::clone(&world.metadata);
        for id in [of_user, other] {
            world.machine(id).handle_observers(&metadata, false);
        }
        world.pass(Duration::ZERO);
        [of_user, other].map(|id| world.hear(id))
    };
    assert_eq!(look(&mut world), [vec![], Vec::<String>::new()]);
    world.apply(MetadataCommand::DeleteUser { name: "u".into() });
    let closed = |text: &str| {
        vec![format!(
            "0 connection.close 320 CONNECTION_FORCED - {text} (0,0)"
        )]
    };
    assert_eq!(look(&mut world), [closed("user 'u' is deleted"), vec![]]);
    world.apply(MetadataCommand::DeleteVhost { name: "/".into() });
    assert_eq!(look(&mut world), [vec![], closed("vhost '/' is down")]);
}

#[test]
fn publishes_to_very_many_queues_leave_the_turn_to_others() {
    const QUEUES: usize = 6_000;
    const PUBLISHES: usize = 5;
    let mut world = World::new();
    let id = world.connect();
    for number in 0..QUEUES {
        let name = format!("q{number}");
        world.send(id, 1, Method::QueueDeclare(declare(&name)));
        world.send(
            id,
            1,
            Method::QueueBind(queue::Bind {
                queue: name.as_bytes(),
                exchange: b"amq.fanout",
                ..Default::default()
            }),
        );
    }
    world.hear(id);
    let one = message(
        1,
        publish("amq.fanout", ""),
        &BasicProperties::default(),
        b"x",
    );
    let mut input = BytesMut::from(&one.repeat(PUBLISHES)[..]);
    let (now, metadata) = (world.now, Arc::clone(&world.metadata));
    let machine = world.machine(id);
    let mut requests = Vec::new();
    loop {
        machine.handle_input(now, &metadata, &mut input);
        requests.push(std::iter::from_fn(|| machine.poll_request()).count());
        if !machine.holds_input() {
            break;
        }
        assert_eq!(input.len() % one.len(), 0, "whole messages are left");
    }
    assert!(input.is_empty());
    // The second is begun with 6000 requests and ends with 12,000; then it is others' turn.
    assert_eq!(requests, [2 * QUEUES, 2 * QUEUES, QUEUES]);
}
