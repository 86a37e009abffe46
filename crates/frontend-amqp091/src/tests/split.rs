//! However the input is cut, the output is the same.

use super::*;

/// A session in phases. Each needs the answers to those before it; within one, nothing depends on when an answer comes.
fn session() -> [Vec<u8>; 5] {
    let mut phases = <[Vec<u8>; 5]>::default();
    let [handshake, topology, publishes, acks, end] = &mut phases;
    handshake.extend(PROTOCOL_HEADER);
    start_ok(&all_capabilities(), b"PLAIN", b"\0guest\0guest").encode(0, handshake);
    connection::TuneOk {
        channel_max: 10,
        frame_max: 8192,
        heartbeat: 0,
    }
    .encode(0, handshake);
    connection::Open {
        virtual_host: b"/",
        ..Default::default()
    }
    .encode(0, handshake);
    channel::Open::default().encode(1, handshake);
    confirm::Select::default().encode(1, handshake);
    queue::Declare {
        exclusive: true,
        ..declare("q")
    }
    .encode(1, topology);
    queue::Bind {
        queue: b"q",
        exchange: b"amq.topic",
        routing_key: b"a.#",
        ..Default::default()
    }
    .encode(1, topology);
    consume("q", "c").encode(1, topology);
    for size in [0, 1, 100, 9000] {
        publish("amq.topic", "a.b").encode(1, publishes);
        encode_header_frame(publishes, 1, size as u64, &[0x10, 0, 2]);
        encode_body_frames(publishes, 1, &vec![b'x'; size], 8192);
        encode_heartbeat(publishes);
        basic::Publish {
            mandatory: true,
            ..publish("amq.topic", "b")
        }
        .encode(1, publishes);
        encode_header_frame(publishes, 1, 2, &[0, 0]);
        encode_body_frames(publishes, 1, b"hi", 8192);
    }
    basic::Ack {
        delivery_tag: 4,
        multiple: true,
    }
    .encode(1, acks);
    basic::Ack {
        delivery_tag: 4,
        multiple: false,
    }
    .encode(1, acks);
    channel::CloseOk.encode(1, acks);
    connection::Close::default().encode(0, end);
    phases
}

/// What is heard, apart from deliveries and confirms, then the deliveries, then the last number that was confirmed. How confirms are
/// put together, and when deliveries come, depends on the cut.
fn outcome(cut: impl Fn(&[u8]) -> Vec<Vec<u8>>) -> (Vec<String>, Vec<String>, u64) {
    let mut world = World::new();
    let id = world.accept();
    for piece in session().iter().flat_map(|phase| cut(phase)) {
        world.feed(id, &piece);
    }
    let (deliveries, rest): (Vec<_>, Vec<_>) = world
        .hear(id)
        .into_iter()
        .partition(|line| line.contains("deliver "));
    let (confirms, rest): (Vec<_>, Vec<_>) = rest
        .into_iter()
        .partition(|line| line.contains("basic.ack "));
    let numbers = confirms
        .iter()
        .filter_map(|line| line.split(' ').nth(2)?.parse().ok());
    (rest, deliveries, numbers.max().unwrap_or(0))
}

#[test]
fn every_cut_gives_the_same_answer() {
    let whole = outcome(|phase| vec![phase.to_vec()]);
    assert_eq!(whole.0.last().map(String::as_str), Some("eof"));
    assert!(
        whole
            .0
            .iter()
            .any(|line| line.contains("unknown delivery tag 4")),
        "{:?}",
        whole.0
    );
    assert_eq!(
        whole
            .0
            .iter()
            .filter(|line| line.contains("basic.return"))
            .count(),
        4
    );
    assert_eq!((whole.1.len(), whole.2), (4, 8));
    for size in [1, 2, 3, 7, 8, 9, 64, 1000, 8191] {
        let pieces = outcome(|phase| phase.chunks(size).map(<[u8]>::to_vec).collect());
        assert_eq!(pieces, whole, "pieces of {size}");
    }
    for cut in 0..600 {
        let halves = outcome(|phase| {
            let (first, second) = phase.split_at(cut.min(phase.len()));
            vec![first.to_vec(), second.to_vec()]
        });
        assert_eq!(halves, whole, "cut at {cut}");
    }
}
