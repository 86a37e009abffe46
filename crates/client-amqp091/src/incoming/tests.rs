//! What a broker may send, in one piece and in many, and what it may not.

use codec_amqp091::{
    FRAME_END, basic, encode_body_frames, encode_frame, encode_header_frame, encode_heartbeat,
    queue,
};

use super::*;

const FRAME_MAX: u32 = 8192;
const CONTENT_MAX: usize = 1 << 16;

/// No properties: a word of flags without a flag.
const NO_PROPERTIES: [u8; 2] = [0, 0];

fn incoming_half() -> Incoming {
    Incoming::new(1 << 16, CONTENT_MAX)
}

fn deliver_method(channel: u16, delivery_tag: u64, out: &mut Vec<u8>) {
    basic::Deliver {
        consumer_tag: b"c",
        delivery_tag,
        redelivered: false,
        exchange: b"x",
        routing_key: b"key",
    }
    .encode(channel, out);
}

fn deliver(channel: u16, delivery_tag: u64, body: &[u8], out: &mut Vec<u8>) {
    deliver_method(channel, delivery_tag, out);
    encode_header_frame(out, channel, body.len() as u64, &NO_PROPERTIES);
    encode_body_frames(out, channel, body, FRAME_MAX);
}

fn describe(event: &Event<'_>) -> String {
    match event {
        Event::Delivery(delivery) => {
            assert_eq!(delivery.raw_properties, NO_PROPERTIES);
            assert_eq!(
                (delivery.exchange, delivery.routing_key),
                (&b"x"[..], &b"key"[..])
            );
            let sum: u64 = delivery.body.iter().map(|byte| u64::from(*byte)).sum();
            format!(
                "{}:{} {} bytes {sum}",
                delivery.channel,
                delivery.delivery_tag,
                delivery.body.len()
            )
        }
        Event::Confirmed {
            channel,
            delivery_tag,
            multiple,
        } => format!("{channel}: confirmed {delivery_tag} {multiple}"),
        Event::ChannelClosed {
            channel,
            reply_code,
            ..
        } => format!("{channel}: closed {reply_code}"),
        Event::Reply { channel, method } => format!("{channel}: {method:?}"),
        Event::Returned(_)
        | Event::Refused { .. }
        | Event::ConsumerCancelled { .. }
        | Event::Blocked { .. }
        | Event::Unblocked => format!("{event:?}"),
    }
}

fn drain(incoming: &mut Incoming, events: &mut Vec<String>) -> Result<(), Error> {
    let mut outgoing = Outgoing::new();
    while let Some(event) = incoming.poll(&mut outgoing)? {
        events.push(describe(&event));
    }
    Ok(())
}

fn events(bytes: &[u8]) -> Result<Vec<String>, Error> {
    let (mut incoming, mut events) = (incoming_half(), Vec::new());
    incoming.feed(bytes);
    drain(&mut incoming, &mut events)?;
    Ok(events)
}

#[test]
fn every_split_of_the_input_gives_the_same_events() {
    let mut bytes = Vec::new();
    deliver(1, 1, b"", &mut bytes);
    deliver(1, 2, b"hello", &mut bytes);
    encode_heartbeat(&mut bytes);
    deliver(2, 1, &[7; 9000], &mut bytes);
    basic::Ack {
        delivery_tag: 9,
        multiple: true,
    }
    .encode(3, &mut bytes);
    let whole = events(&bytes).unwrap();
    assert_eq!(
        whole,
        [
            "1:1 0 bytes 0",
            "1:2 5 bytes 532",
            "2:1 9000 bytes 63000",
            "3: confirmed 9 true"
        ]
    );
    for split in 0..bytes.len() {
        let (mut incoming, mut events) = (incoming_half(), Vec::new());
        for part in [&bytes[..split], &bytes[split..]] {
            incoming.feed(part);
            drain(&mut incoming, &mut events).unwrap();
        }
        assert_eq!(events, whole, "split at {split}");
        assert_eq!((incoming.content_bytes, incoming.pending()), (0, 0));
    }
}

#[test]
fn contents_of_two_channels_may_be_interleaved() {
    let mut bytes = Vec::new();
    deliver_method(1, 1, &mut bytes);
    deliver_method(2, 1, &mut bytes);
    encode_header_frame(&mut bytes, 2, 2, &NO_PROPERTIES);
    encode_header_frame(&mut bytes, 1, 3, &NO_PROPERTIES);
    encode_frame(FrameKind::Body, 1, b"a", &mut bytes);
    encode_frame(FrameKind::Body, 2, b"bb", &mut bytes);
    encode_frame(FrameKind::Body, 1, b"aa", &mut bytes);
    assert_eq!(
        events(&bytes).unwrap(),
        ["2:1 2 bytes 196", "1:1 3 bytes 291"]
    );
}

#[test]
fn reading_goes_on_when_the_buffer_is_full_of_a_cut_off_frame() {
    let mut bytes = Vec::new();
    for tag in 1..=100 {
        deliver(1, tag, &[1; 5000], &mut bytes);
    }
    let (mut incoming, mut events, mut rest) =
        (Incoming::new(0, CONTENT_MAX), Vec::new(), &bytes[..]);
    while !rest.is_empty() {
        let count = incoming
            .read_with(|space| {
                let count = space.len().min(rest.len()).min(1777);
                space[..count].copy_from_slice(&rest[..count]);
                Ok(count)
            })
            .unwrap();
        assert!(count > 0);
        rest = &rest[count..];
        drain(&mut incoming, &mut events).unwrap();
    }
    assert_eq!(events.len(), 100);
}

#[test]
fn an_announced_size_is_not_allocated() {
    for body_size in [CONTENT_MAX as u64 + 1, 1 << 40, u64::MAX] {
        let mut bytes = Vec::new();
        deliver_method(1, 1, &mut bytes);
        encode_header_frame(&mut bytes, 1, body_size, &NO_PROPERTIES);
        let error = events(&bytes);
        assert!(
            matches!(error, Err(Error::ContentTooLarge { .. })),
            "{error:?}"
        );
    }
}

#[test]
fn half_received_messages_of_all_channels_share_one_limit() {
    let mut bytes = Vec::new();
    for channel in 1..=10 {
        deliver_method(channel, 1, &mut bytes);
        encode_header_frame(&mut bytes, channel, 60_000, &NO_PROPERTIES);
        encode_frame(FrameKind::Body, channel, &[0; 8000], &mut bytes);
    }
    assert!(matches!(events(&bytes), Err(Error::ContentTooLarge { .. })));
}

#[test]
fn frames_in_the_wrong_place_are_refused() {
    let method = |out: &mut Vec<u8>| deliver_method(1, 1, out);
    let header = |out: &mut Vec<u8>| encode_header_frame(out, 1, 3, &NO_PROPERTIES);
    let body = |size: usize| {
        move |out: &mut Vec<u8>| encode_frame(FrameKind::Body, 1, &vec![0; size], out)
    };
    type Write<'a> = &'a dyn Fn(&mut Vec<u8>);
    let cases: [&[Write<'_>]; 6] = [
        &[&header],
        &[&body(3)],
        &[&method, &method],
        &[&method, &body(3)],
        &[&method, &header, &header],
        &[&method, &header, &body(4)],
    ];
    for (index, case) in cases.iter().enumerate() {
        let mut bytes = Vec::new();
        for write in *case {
            write(&mut bytes);
        }
        let error = events(&bytes);
        assert!(
            matches!(error, Err(Error::UnexpectedFrame { .. })),
            "case {index}: {error:?}"
        );
    }
}

#[test]
fn a_frame_larger_than_agreed_is_refused_at_its_header() {
    assert!(matches!(
        events(&[1, 0, 1, 0xff, 0xff, 0xff, 0xff]),
        Err(Error::Frame(_))
    ));
}

#[test]
fn a_channel_may_close_in_the_middle_of_a_content() {
    let mut bytes = Vec::new();
    deliver_method(1, 1, &mut bytes);
    encode_header_frame(&mut bytes, 1, 30, &NO_PROPERTIES);
    channel::Close {
        reply_code: 404,
        ..Default::default()
    }
    .encode(1, &mut bytes);
    let (mut incoming, mut outgoing) = (incoming_half(), Outgoing::new());
    incoming.feed(&bytes);
    let event = incoming
        .poll(&mut outgoing)
        .unwrap()
        .map(|event| describe(&event));
    assert_eq!(event.as_deref(), Some("1: closed 404"));
    let mut close_ok = Vec::new();
    channel::CloseOk.encode(1, &mut close_ok);
    assert_eq!(*outgoing.bytes(), close_ok);
    assert_eq!(incoming.content_bytes, 0);
}

#[test]
fn a_closed_connection_is_answered_and_is_an_error() {
    let (mut incoming, mut outgoing) = (incoming_half(), Outgoing::new());
    let mut bytes = Vec::new();
    connection::Close {
        reply_code: 320,
        reply_text: b"CONNECTION_FORCED - bye",
        ..Default::default()
    }
    .encode(0, &mut bytes);
    incoming.feed(&bytes);
    let error = incoming.poll(&mut outgoing).unwrap_err();
    assert_eq!(
        error.to_string(),
        "connection closed by broker: 320 CONNECTION_FORCED - bye"
    );
    let mut close_ok = Vec::new();
    connection::CloseOk.encode(0, &mut close_ok);
    assert_eq!(*outgoing.bytes(), close_ok);
}

#[test]
fn what_comes_before_a_reply_is_seen_after_it_in_order() {
    let mut bytes = Vec::new();
    deliver(1, 1, b"one", &mut bytes);
    deliver(2, 1, b"two", &mut bytes);
    queue::BindOk.encode(1, &mut bytes);
    deliver(1, 2, b"three", &mut bytes);
    for split in 0..bytes.len() {
        let (mut incoming, mut outgoing) = (incoming_half(), Outgoing::new());
        let mut found = false;
        for part in [&bytes[..split], &bytes[split..]] {
            incoming.feed(part);
            if !found {
                let reply = incoming.take_reply(1, &[(50, 21)], &mut outgoing).unwrap();
                found = reply.is_some();
            }
        }
        assert!(found, "split at {split}");
        incoming.restore();
        let mut events = Vec::new();
        drain(&mut incoming, &mut events).unwrap();
        assert_eq!(
            events,
            ["1:1 3 bytes 322", "2:1 3 bytes 346", "1:2 5 bytes 536"],
            "split at {split}"
        );
    }
}

#[test]
fn a_channel_closed_instead_of_a_reply_is_an_error() {
    let (mut incoming, mut outgoing) = (incoming_half(), Outgoing::new());
    let mut bytes = Vec::new();
    channel::Close {
        reply_code: 404,
        reply_text: b"NOT_FOUND - no queue 'q' in vhost '/'",
        ..Default::default()
    }
    .encode(7, &mut bytes);
    incoming.feed(&bytes);
    let error = incoming
        .take_reply(7, &[(50, 11)], &mut outgoing)
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "channel 7 closed by broker: 404 NOT_FOUND - no queue 'q' in vhost '/'"
    );
}

/// A fixed sequence of numbers that look random.
fn noise() -> impl FnMut() -> u64 {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    }
}

#[test]
fn a_broker_that_sends_noise_cannot_make_us_panic() {
    let mut valid = Vec::new();
    deliver(1, 1, b"hello", &mut valid);
    deliver(1, 2, &[3; 9000], &mut valid);
    queue::DeclareOk {
        queue: b"q",
        ..Default::default()
    }
    .encode(1, &mut valid);
    let mut noise = noise();
    for _ in 0..2000 {
        let mut bytes = valid.clone();
        for _ in 0..=noise() % 4 {
            // Mostly the structure at the front is hit, where most damage can be done.
            let index = (noise() % 300) as usize % bytes.len();
            bytes[index] = noise() as u8;
        }
        let (mut incoming, mut outgoing) = (incoming_half(), Outgoing::new());
        incoming.feed(&bytes);
        while let Ok(Some(event)) = incoming.poll(&mut outgoing) {
            if let Event::Delivery(delivery) = event {
                // Both outcomes are fine; that there is one is what counts.
                let _ = delivery.properties();
            }
        }
        let (mut incoming, mut outgoing) = (incoming_half(), Outgoing::new());
        incoming.feed(&bytes);
        let _ = incoming.take_reply(1, &[(50, 11)], &mut outgoing);
        incoming.restore();
        let _ = incoming.take_content(1, &mut GetContent::default());
    }
}

#[test]
fn an_end_marker_that_is_wrong_is_an_error() {
    let mut bytes = Vec::new();
    deliver(1, 1, b"x", &mut bytes);
    assert_eq!(bytes.pop(), Some(FRAME_END));
    bytes.push(0);
    assert!(matches!(events(&bytes), Err(Error::Frame(_))));
}
