//! Every method of the specification, with arguments of every shape, is read and written without loss.
//!
//! The arguments are put together here straight from the specification file, so the generated code is checked against
//! a second, independent reading of it.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic")]

use codec_amqp091::{DecodeError, FRAME_OVERHEAD, Method, decode_frame, method, peek_method};
use proptest::prelude::*;

const SPEC: &str = include_str!("../spec/amqp0-9-1.txt");

struct SpecMethod {
    class_id: u16,
    method_id: u16,
    name: String,
    has_content: bool,
    wire_types: Vec<&'static str>,
}

fn spec_methods() -> Vec<SpecMethod> {
    let mut methods: Vec<SpecMethod> = Vec::new();
    let mut class = (0, "");
    for line in SPEC.lines() {
        let head = line.split(" | ").next().unwrap();
        let words: Vec<&str> = head.split_whitespace().collect();
        match words[..] {
            [] | ["#", ..] | ["doc", ..] => {}
            ["class", id, name] => class = (id.parse().unwrap(), name),
            ["method", id, name, ref rest @ ..] => methods.push(SpecMethod {
                class_id: class.0,
                method_id: id.parse().unwrap(),
                name: format!("{}.{name}", class.1),
                has_content: rest == ["content"],
                wire_types: Vec::new(),
            }),
            [wire_type, ref names @ ..] => {
                let types = &mut methods.last_mut().unwrap().wire_types;
                types.extend(std::iter::repeat_n(wire_type, names.len()));
            }
        }
    }
    methods
}

/// Arguments of a method, from a source of random bytes.
fn arguments(wire_types: &[&str], random: &[u8]) -> Vec<u8> {
    let mut source = random.iter().copied().cycle();
    let mut next = || source.next().unwrap();
    let mut out = Vec::new();
    let mut bit = 0;
    for (index, wire_type) in wire_types.iter().enumerate() {
        if *wire_type == "bit" {
            if index == 0 || wire_types[index - 1] != "bit" {
                bit = 0;
                out.push(0);
            }
            *out.last_mut().unwrap() |= (next() & 1) << bit;
            bit += 1;
            continue;
        }
        let size = match *wire_type {
            "octet" => 1,
            "short" => 2,
            "long" => 4,
            "longlong" => 8,
            "shortstr" => usize::from(next()),
            "longstr" | "table" => usize::from(next()) * 3,
            other => panic!("{other}"),
        };
        match *wire_type {
            "shortstr" => out.push(size as u8),
            "longstr" | "table" => out.extend_from_slice(&(size as u32).to_be_bytes()),
            _ => {}
        }
        out.extend((0..size).map(|_| next()));
    }
    out
}

proptest! {
    #[test]
    fn every_method_is_written_as_it_was_read(
        random in prop::collection::vec(any::<u8>(), 1..300),
        channel: u16,
    ) {
        for spec in spec_methods() {
            let arguments = arguments(&spec.wire_types, &random);
            let ids = [spec.class_id.to_be_bytes(), spec.method_id.to_be_bytes()].concat();
            let payload = [ids, arguments].concat();
            let method = Method::decode(&payload).unwrap();
            prop_assert_eq!(method.name(), &spec.name);
            prop_assert_eq!(method.ids(), (spec.class_id, spec.method_id));
            prop_assert_eq!(peek_method(&payload), Some(method.ids()));
            prop_assert_eq!(method.has_content(), spec.has_content);

            let mut out = Vec::new();
            method.encode(channel, &mut out);
            let (frame, size) = decode_frame(&out, 0).unwrap().unwrap();
            prop_assert_eq!(frame.channel, channel);
            prop_assert_eq!(frame.payload, &payload[..], "{}", spec.name);
            prop_assert_eq!((size, out.len()), (out.len(), payload.len() + FRAME_OVERHEAD));
        }
    }

    #[test]
    fn random_bytes_are_read_or_refused(payload in prop::collection::vec(any::<u8>(), 0..600)) {
        for spec in spec_methods() {
            let ids = [spec.class_id.to_be_bytes(), spec.method_id.to_be_bytes()].concat();
            _ = Method::decode(&[&ids[..], &payload].concat());
        }
    }
}

#[test]
fn cut_or_extended_arguments_are_refused() {
    for spec in spec_methods() {
        let arguments = arguments(&spec.wire_types, &[3, 1, 0, 7, 2]);
        let ids = [spec.class_id.to_be_bytes(), spec.method_id.to_be_bytes()].concat();
        for cut in 0..arguments.len() {
            let payload = [&ids[..], &arguments[..cut]].concat();
            let result = Method::decode(&payload);
            assert!(
                matches!(result, Err(DecodeError::Truncated { .. })),
                "{} {cut}",
                spec.name
            );
        }
        let payload = [&ids[..], &arguments, &[0]].concat();
        let result = Method::decode(&payload);
        assert!(
            matches!(result, Err(DecodeError::Trailing { .. })),
            "{}",
            spec.name
        );
    }
}

#[test]
fn unknown_ids_are_told() {
    let known: Vec<_> = spec_methods()
        .iter()
        .map(|spec| (spec.class_id, spec.method_id))
        .collect();
    for class_id in 0..=100u16 {
        for method_id in 0..=130u16 {
            let payload = [class_id.to_be_bytes(), method_id.to_be_bytes()].concat();
            let unknown = Err(DecodeError::UnknownMethod {
                class_id,
                method_id,
            });
            let is_known = known.contains(&(class_id, method_id));
            assert_eq!(
                Method::decode(&payload) != unknown,
                is_known,
                "{class_id},{method_id}"
            );
        }
    }
    assert_eq!(known.len(), 66);
}

#[test]
fn undecodable_arguments_are_shown_in_rabbitmqs_words() {
    for (payload, expect) in [
        (&[0, 60, 0, 80, 0][..], "cannot decode <<0>>"),
        (&[0, 60, 0, 10], "cannot decode <<>>"),
        (
            &[0, 50, 0, 30, 0, 0, 9, b'q'],
            "cannot decode <<0,0,9,113>>",
        ),
        (b"\0\x3c\0\x1eabcd", "cannot decode <<\"abcd\">>"),
        (&[0, 90, 0, 10, 1], "cannot decode <<1>>"),
        // A table, and a long string, that claim more than there is.
        (
            &[0, 50, 0, 50, 0, 0, 0, 0, 0, 255, 255, 255, 255],
            "cannot decode <<0,0,0,0,0,255,255,255,255>>",
        ),
        (&[0, 10, 0, 21, 128, 0, 0, 0], "cannot decode <<128,0,0,0>>"),
    ] {
        assert_eq!(Method::decode(payload).unwrap_err().to_string(), expect);
    }
}

#[test]
fn a_name_that_does_not_fit_is_cut_and_the_stream_stays_whole() {
    let long = [b'a'; 300];
    let publish = method::basic::Publish {
        exchange: &long,
        routing_key: b"k",
        ..Default::default()
    };
    let mut out = Vec::new();
    publish.encode(1, &mut out);
    let (frame, size) = decode_frame(&out, 0).unwrap().unwrap();
    assert_eq!(size, out.len());
    let read = method::basic::Publish {
        exchange: &long[..255],
        ..publish
    };
    assert_eq!(
        Method::decode(frame.payload),
        Ok(Method::BasicPublish(read))
    );
}
