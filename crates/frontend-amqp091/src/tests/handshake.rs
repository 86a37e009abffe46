//! Sections 1–4 of RabbitMQ's behaviour: protocol header, login, limits, framing.

use super::*;

const OFFER: &str = "0 connection.start PLAIN AMQPLAIN ANONYMOUS";
const TUNE: &str = "0 connection.tune 2047 131072 60";
const SILENT: [&str; 0] = [];

fn started(world: &mut World) -> ConnectionId {
    let id = world.accept();
    world.feed(id, &PROTOCOL_HEADER);
    assert_eq!(world.hear(id), [OFFER]);
    id
}

fn tuned(world: &mut World) -> ConnectionId {
    let id = started(world);
    let heard = world.ask(
        id,
        0,
        start_ok(&all_capabilities(), b"PLAIN", b"\0guest\0guest"),
    );
    assert_eq!(heard, [TUNE]);
    id
}

fn tune_ok(channel_max: u16, frame_max: u32, heartbeat: u16) -> Method<'static> {
    Method::ConnectionTuneOk(connection::TuneOk {
        channel_max,
        frame_max,
        heartbeat,
    })
}

fn open(vhost: &str) -> Method<'_> {
    Method::ConnectionOpen(connection::Open {
        virtual_host: vhost.as_bytes(),
        ..Default::default()
    })
}

/// Nothing is heard for three seconds, then the socket is closed.
fn expect_silent_close(world: &mut World, id: ConnectionId) {
    assert_eq!(world.hear(id), SILENT);
    world.pass(Duration::from_millis(2999));
    assert_eq!(world.hear(id), SILENT);
    world.pass(Duration::from_millis(1));
    assert_eq!(world.hear(id), ["eof"]);
}

#[test]
fn other_protocols_are_told_ours() {
    let mut world = World::new();
    for (input, expect) in [
        (&b"AMQP\x00\x00\x09\x00"[..], PROTOCOL_HEADER),
        (b"GET / HTTP/1.1\r\n\r\n", *b"AMQP\x03\x01\x00\x00"),
    ] {
        let id = world.accept();
        world.feed(id, input);
        assert_eq!(world.bytes(id), expect);
        assert!(world.machine(id).is_finished());
    }
}

#[test]
fn the_whole_handshake() {
    let mut world = World::new();
    let id = tuned(&mut world);
    assert_eq!(world.ask(id, 0, tune_ok(2047, 131_072, 60)), SILENT);
    assert_eq!(world.ask(id, 0, open("/")), ["0 connection.open-ok"]);
    let details = world.machine(id).details();
    assert_eq!(
        (&*details.user, &*details.vhost, details.heartbeat_s),
        ("guest", "/", 60)
    );
    assert_eq!(details.state, crate::ConnectionState::Running);
}

#[test]
fn logins() {
    let amqplain = |password: &[u8]| {
        let mut bytes = Vec::new();
        let mut writer = TableWriter::new(&mut bytes);
        writer.field(b"LOGIN", &Value::LongStr(b"guest"));
        writer.field(b"PASSWORD", &Value::LongStr(password));
        bytes
    };
    let mut world = World::new();
    for (mechanism, response) in [
        ("PLAIN", b"\0guest\0guest".to_vec()),
        ("AMQPLAIN", amqplain(b"guest")),
        ("ANONYMOUS", b"whoever".to_vec()),
    ] {
        let id = started(&mut world);
        assert_eq!(
            world.ask(id, 0, start_ok(&[], mechanism.as_bytes(), &response)),
            [TUNE],
            "{mechanism}"
        );
    }
    let refused = |mechanism: &str| {
        format!(
            "0 connection.close 403 ACCESS_REFUSED - Login was refused using authentication mechanism {mechanism}. \
             For details see the broker logfile. (0,0)"
        )
    };
    for (mechanism, response) in [
        ("PLAIN", b"\0guest\0wrong".to_vec()),
        ("PLAIN", b"\0nobody\0x".to_vec()),
        ("AMQPLAIN", amqplain(b"x")),
    ] {
        let id = started(&mut world);
        let heard = world.ask(
            id,
            0,
            start_ok(&all_capabilities(), mechanism.as_bytes(), &response),
        );
        assert_eq!(heard, [refused(mechanism)]);
        world.pass(Duration::from_secs(3));
        assert_eq!(world.hear(id), ["eof"]);
        // A client that did not ask to be told is not.
        let id = started(&mut world);
        world.send(id, 0, start_ok(&[], mechanism.as_bytes(), &response));
        expect_silent_close(&mut world, id);
    }
    let id = started(&mut world);
    world.send(
        id,
        0,
        start_ok(&all_capabilities(), b"PLAIN", b"\0guest\0wrong"),
    );
    world.hear(id);
    assert_eq!(
        world.ask(id, 0, Method::ConnectionCloseOk(connection::CloseOk)),
        ["eof"]
    );
}

#[test]
fn challenges() {
    let mechanisms = vec!["RABBIT-CR-DEMO".to_owned()];
    let mut world = World::with_config(Config {
        mechanisms,
        ..Config::default()
    });
    let id = world.accept();
    world.feed(id, &PROTOCOL_HEADER);
    world.hear(id);
    assert_eq!(
        world.ask(id, 0, start_ok(&[], b"RABBIT-CR-DEMO", b"guest")),
        ["0 connection.secure"]
    );
    let response = b"My password is guest";
    assert_eq!(
        world.ask(
            id,
            0,
            Method::ConnectionSecureOk(connection::SecureOk { response })
        ),
        [TUNE]
    );
}

#[test]
fn guest_comes_from_this_host_only() {
    let mut world = World::new();
    world.is_loopback = false;
    for mechanism in ["PLAIN", "ANONYMOUS"] {
        let id = started(&mut world);
        let heard = world.ask(
            id,
            0,
            start_ok(&all_capabilities(), mechanism.as_bytes(), b"\0guest\0guest"),
        );
        assert!(
            heard[0].contains("403 ACCESS_REFUSED - Login was refused"),
            "{heard:?}"
        );
    }
}

#[test]
fn what_is_wrong_before_tuning_is_answered_by_silence() {
    let mut world = World::new();
    for method in [
        start_ok(&all_capabilities(), b"FOO", b""),
        start_ok(&all_capabilities(), b"EXTERNAL", b""),
        start_ok(&all_capabilities(), b"PLAIN", b"guest\0guest\0guest"),
        start_ok(&all_capabilities(), b"AMQPLAIN", b"\xff"),
        start_ok(b"\x01", b"PLAIN", b"\0guest\0guest"),
        tune_ok(2047, 131_072, 60),
        open("/"),
        Method::ChannelOpen(channel::Open::default()),
    ] {
        let id = started(&mut world);
        world.send(id, 0, method);
        expect_silent_close(&mut world, id);
    }
}

#[test]
fn limits_are_not_exceeded() {
    let mut world = World::new();
    for (channel_max, frame_max) in [
        (2048, 131_072),
        (0, 131_072),
        (2047, 131_073),
        (2047, 0),
        (2047, 8191),
        (2047, 1),
        (65_535, u32::MAX),
    ] {
        let id = tuned(&mut world);
        world.send(id, 0, tune_ok(channel_max, frame_max, 60));
        expect_silent_close(&mut world, id);
    }
    for (channel_max, frame_max) in [(1, 8192), (2047, 131_072)] {
        let id = tuned(&mut world);
        world.send(id, 0, tune_ok(channel_max, frame_max, 0));
        assert_eq!(world.ask(id, 0, open("/")), ["0 connection.open-ok"]);
    }
    let unlimited = Config {
        channel_max: 0,
        frame_max: 0,
        ..Config::default()
    };
    let mut world = World::with_config(unlimited);
    let id = world.accept();
    world.feed(id, &PROTOCOL_HEADER);
    world.send(id, 0, start_ok(&[], b"PLAIN", b"\0guest\0guest"));
    world.send(id, 0, tune_ok(0, 0, 0));
    world.hear(id);
    assert_eq!(world.ask(id, 0, open("/")), ["0 connection.open-ok"]);
}

#[test]
fn vhosts() {
    let mut world = World::new();
    world.apply(MetadataCommand::CreateVhost {
        name: "v2".into(),
        metadata: broker::vhost_metadata::VhostMetadata::default(),
    });
    world.add_user("u1", [".*", ".*", ".*"]);
    for (vhost, expect) in [
        ("nope", "NOT_ALLOWED - vhost nope not found"),
        (
            "v2",
            "NOT_ALLOWED - access to vhost 'v2' refused for user 'u1'",
        ),
    ] {
        let id = started(&mut world);
        world.send(id, 0, start_ok(&[], b"PLAIN", b"\0u1\0u1"));
        world.send(id, 0, tune_ok(2047, 131_072, 60));
        world.hear(id);
        assert_eq!(
            world.ask(id, 0, open(vhost)),
            [format!("0 connection.close 530 {expect} (10,40)")]
        );
    }
}

#[test]
fn a_handshake_takes_ten_seconds_at_most() {
    let mut world = World::new();
    let silent = world.accept();
    let slow = tuned(&mut world);
    world.pass(Duration::from_secs(9));
    world.send(slow, 0, tune_ok(2047, 131_072, 60));
    world.pass(Duration::from_millis(999));
    assert_eq!((world.hear(silent), world.hear(slow)), (vec![], vec![]));
    world.pass(Duration::from_millis(1));
    assert_eq!(
        (world.hear(silent), world.hear(slow)),
        (vec!["eof".to_owned()], vec!["eof".to_owned()])
    );
}

#[test]
fn heartbeats() {
    let mut world = World::new();
    let id = tuned(&mut world);
    world.send(id, 0, tune_ok(2047, 131_072, 1));
    assert_eq!(world.ask(id, 0, open("/")), ["0 connection.open-ok"]);
    world.pass(Duration::from_millis(2999));
    let heard = world.hear(id);
    assert!(
        heard.len() >= 4 && heard.iter().all(|line| line == "0 heartbeat"),
        "{heard:?}"
    );
    world.pass(Duration::from_millis(1));
    assert_eq!(world.hear(id).last().map(String::as_str), Some("eof"));
}

#[test]
fn framing_errors() {
    let frame = |kind: u8, channel: u8, payload: &[u8], end: u8| {
        let size = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&[kind, 0, channel], &size[..], payload, &[end]].concat()
    };
    let header = |class: u8| [&[0, class, 0, 0][..], &2_u64.to_be_bytes(), &[0, 0]].concat();
    let mut publish_frame = Vec::new();
    publish("", "q").encode(1, &mut publish_frame);
    let oversized = [&[3, 0, 1][..], &200_000_u32.to_be_bytes()].concat();
    let method = |method: Method<'_>| {
        let mut bytes = Vec::new();
        method.encode(1, &mut bytes);
        bytes
    };
    let on = |channel: u8, mut bytes: Vec<u8>| {
        bytes[2] = channel;
        bytes
    };
    for (input, expect) in [
        (
            frame(1, 0, &[0, 10, 0, 10], 0),
            "501 FRAME_ERROR - type 1, all octets = <<0,10,0,10>>: {invalid_frame_end_marker,0} (0,0)",
        ),
        (
            oversized,
            "501 FRAME_ERROR - type 3, all octets = <<>>: {frame_too_large,200000,131064} (0,0)",
        ),
        (
            frame(9, 1, b"abc", 0xCE),
            "501 FRAME_ERROR - type 9, all octets = <<\"abc\">>: unknown_frame (0,0)",
        ),
        (
            frame(8, 1, b"", 0xCE),
            "505 UNEXPECTED_FRAME - type 8, all octets = <<>> (0,0)",
        ),
        (
            frame(2, 1, &header(60), 0xCE),
            "505 UNEXPECTED_FRAME - expected method frame, got non method frame instead (0,0)",
        ),
        (
            frame(3, 1, b"x", 0xCE),
            "505 UNEXPECTED_FRAME - expected method frame, got non method frame instead (0,0)",
        ),
        (
            [&publish_frame[..], &publish_frame].concat(),
            "505 UNEXPECTED_FRAME - expected content header for class 60, got non content header frame instead (60,40)",
        ),
        (
            [&publish_frame[..], &frame(3, 1, b"x", 0xCE)].concat(),
            "505 UNEXPECTED_FRAME - expected content header for class 60, got non content header frame instead (60,40)",
        ),
        (
            [&publish_frame[..], &frame(2, 1, &header(50), 0xCE)].concat(),
            "505 UNEXPECTED_FRAME - expected content header for class 60, got one for class 50 instead (60,40)",
        ),
        (
            [
                &publish_frame[..],
                &frame(2, 1, &header(60), 0xCE),
                &publish_frame,
            ]
            .concat(),
            "505 UNEXPECTED_FRAME - expected content body, got non content body frame instead (60,40)",
        ),
        (
            [
                &publish_frame[..],
                &frame(2, 1, &header(60), 0xCE),
                &frame(3, 1, b"abc", 0xCE),
            ]
            .concat(),
            "501 FRAME_ERROR - content body frame exceeds remaining content size (60,40)",
        ),
        (
            frame(1, 1, &[0, 20, 0, 20], 0xCE),
            "501 FRAME_ERROR - cannot decode <<>> (20,20)",
        ),
        (
            frame(1, 1, &[0, 50, 0, 10, 0], 0xCE),
            "501 FRAME_ERROR - cannot decode <<0>> (50,10)",
        ),
        (
            method(Method::QueueDeclare(queue::Declare {
                queue: &[0xFF],
                ..Default::default()
            })),
            "501 FRAME_ERROR - Malformed UTF-8 in shortstr (0,0)",
        ),
        (
            method(Method::QueueBindOk(queue::BindOk)),
            "503 COMMAND_INVALID - unimplemented method (50,21)",
        ),
        (
            on(2, method(Method::BasicAck(basic::Ack::default()))),
            "504 CHANNEL_ERROR - expected 'channel.open' (60,80)",
        ),
        (
            method(Method::ChannelOpen(channel::Open::default())),
            "504 CHANNEL_ERROR - second 'channel.open' seen (20,10)",
        ),
        (
            on(0, method(tune_ok(1, 1, 1))),
            "504 CHANNEL_ERROR - unexpected method in connection state running (10,31)",
        ),
        (
            on(0, method(Method::ChannelOpen(channel::Open::default()))),
            "504 CHANNEL_ERROR - unexpected method in connection state running (20,10)",
        ),
    ] {
        let mut world = World::new();
        let id = world.connect();
        world.feed(id, &input);
        assert_eq!(world.hear(id), [format!("0 connection.close {expect}")]);
        // Whatever comes now has no effect.
        world.send(id, 1, Method::QueueDeclare(declare("q")));
        assert_eq!(world.hear(id), SILENT);
        world.pass(Duration::from_secs(30));
        assert_eq!(world.hear(id), ["eof"]);
    }
}

#[test]
fn what_cannot_be_decoded_at_all_ends_the_socket() {
    let unknown = [1, 0, 1, 0, 0, 0, 4, 0, 99, 0, 10, 0xCE];
    let mut bad_table = Vec::new();
    let arguments = Table::new(b"\x01k?");
    Method::QueueDeclare(queue::Declare {
        queue: b"q",
        arguments,
        ..Default::default()
    })
    .encode(1, &mut bad_table);
    for input in [&unknown[..], &bad_table] {
        let mut world = World::new();
        let id = world.connect();
        world.feed(id, input);
        assert_eq!(world.hear(id), ["eof"]);
    }
}

#[test]
fn channels_are_counted() {
    let mut world = World::new();
    let id = tuned(&mut world);
    world.send(id, 0, tune_ok(2, 131_072, 0));
    world.send(id, 0, open("/"));
    world.hear(id);
    let open = || Method::ChannelOpen(channel::Open::default());
    assert_eq!(world.ask(id, 60_000, open()), ["60000 channel.open-ok"]);
    assert_eq!(world.ask(id, 7, open()), ["7 channel.open-ok"]);
    world.send(id, 7, Method::ChannelClose(channel::Close::default()));
    assert_eq!(
        world.ask(id, 8, open()),
        ["7 channel.close-ok", "8 channel.open-ok"]
    );
    let text =
        "NOT_ALLOWED - number of channels opened (2) has reached the negotiated channel_max (2)";
    assert_eq!(
        world.ask(id, 9, open()),
        [format!("0 connection.close 530 {text} (0,0)")]
    );
}

#[test]
fn orderly_and_forced_ends() {
    let mut world = World::new();
    let id = world.connect();
    assert_eq!(
        world.ask(id, 0, Method::ConnectionClose(connection::Close::default())),
        ["0 connection.close-ok", "eof"]
    );
    let id = world.connect();
    let now = world.now;
    world.machine(id).close(
        now,
        crate::CloseReason::Forced("Closed via management plugin".to_owned()),
    );
    world.feed(id, &[]);
    assert_eq!(
        world.hear(id),
        ["0 connection.close 320 CONNECTION_FORCED - Closed via management plugin (0,0)"]
    );
    assert_eq!(
        world.ask(id, 0, Method::ConnectionCloseOk(connection::CloseOk)),
        ["eof"]
    );
    let id = world.connect();
    let secret = connection::UpdateSecret {
        new_secret: b"x",
        reason: b"y",
    };
    assert_eq!(
        world.ask(id, 0, Method::ConnectionUpdateSecret(secret)),
        ["0 connection.update-secret-ok"]
    );
}
