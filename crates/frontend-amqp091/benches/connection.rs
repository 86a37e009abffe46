//! Nanoseconds of one connection machine for each message: publish (bytes to queue commands), deliver (reply to bytes), ack.
//!
//! `cargo bench -p frontend-amqp091 --bench connection`. Queues and sockets are not part of it. The figure is the median of
//! many short rounds, so that a busy machine does not show.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a program that measures"
)]

use base::{ConnectionId, Now, Position, ShardId};
use broker::command::{ChannelId, MetadataCommand, PasswordHash, Reply};
use broker::metadata::{DefaultUser, Metadata, bootstrap_commands};
use bytes::BytesMut;
use codec_amqp091::{
    BasicProperties, PROTOCOL_HEADER, Table, basic, channel, confirm, connection,
    encode_body_frames, encode_header_frame,
};
use frontend_amqp091::{Config, Connection, Peer, Request};
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

const READ_SIZE: usize = 64 * 1024;
const ROUNDS: usize = 2000;

fn metadata() -> Arc<Metadata> {
    let mut metadata = Metadata::new(1);
    let hash = PasswordHash::new(b"guest", *b"salt");
    let user = DefaultUser::administrator("guest".into(), hash, "/".into());
    for command in bootstrap_commands(user) {
        metadata.apply(&command).unwrap();
    }
    for number in 0..100 {
        let declare = MetadataCommand::DeclareQueue {
            vhost: "/".into(),
            name: format!("q{number}").into(),
            durable: true,
            exclusive_owner: None,
            auto_delete: false,
            arguments: broker::value::Arguments::default(),
            user: "guest".into(),
            home: 0,
            server_named: false,
            id: None,
        };
        metadata.apply(&declare).unwrap();
    }
    Arc::new(metadata)
}

fn connected(metadata: &Arc<Metadata>) -> Connection {
    let address = "127.0.0.1:5672".parse().unwrap();
    let peer = Peer {
        address,
        local: address,
        is_loopback: true,
        tls: None,
    };
    let id = ConnectionId {
        shard: ShardId(0),
        serial: 1,
    };
    let config = Arc::new(Config::default());
    let mut machine = Connection::new(id, peer, config, Now::default(), 1);
    let mut input = PROTOCOL_HEADER.to_vec();
    connection::StartOk {
        client_properties: Table::empty(),
        mechanism: b"PLAIN",
        response: b"\0guest\0guest",
        locale: b"en_US",
    }
    .encode(0, &mut input);
    connection::TuneOk {
        channel_max: 2047,
        frame_max: 131_072,
        heartbeat: 60,
    }
    .encode(0, &mut input);
    connection::Open {
        virtual_host: b"/",
        ..Default::default()
    }
    .encode(0, &mut input);
    channel::Open::default().encode(1, &mut input);
    machine.handle_input(Now::default(), metadata, &mut BytesMut::from(&input[..]));
    machine
}

/// Runs `round` often and prints what one of its `messages` took.
fn measure(name: &str, messages: usize, mut round: impl FnMut(usize)) {
    let mut times: Vec<u128> = (0..ROUNDS)
        .map(|index| {
            let started = Instant::now();
            round(index);
            started.elapsed().as_nanos()
        })
        .collect();
    times.sort_unstable();
    let ns = times[ROUNDS / 2] as f64 / messages as f64;
    println!("{name:44} {ns:7.1} ns/message");
}

/// Queue commands of a machine are dropped as they come.
fn drain(machine: &mut Connection) -> usize {
    let out = machine.output();
    let size = out.len();
    out.advance(size);
    std::iter::from_fn(|| machine.poll_request())
        .map(black_box)
        .count()
}

fn publish(name: &str, body_size: usize, queues: usize, mode: u8, confirms: bool) {
    let metadata = metadata();
    let mut machine = connected(&metadata);
    if confirms {
        let mut input = Vec::new();
        confirm::Select::default().encode(1, &mut input);
        machine.handle_input(Now::default(), &metadata, &mut BytesMut::from(&input[..]));
    }
    let mut properties = Vec::new();
    BasicProperties {
        delivery_mode: (mode > 0).then_some(mode),
        ..Default::default()
    }
    .encode(&mut properties);
    let body = vec![7; body_size];
    let mut input = Vec::new();
    let mut count = 0;
    while input.len() < READ_SIZE {
        let key = format!("q{}", count % queues);
        basic::Publish {
            routing_key: key.as_bytes(),
            ..Default::default()
        }
        .encode(1, &mut input);
        encode_header_frame(&mut input, 1, body_size as u64, &properties);
        encode_body_frames(&mut input, 1, &body, 131_072);
        count += 1;
    }
    let to = ChannelId {
        connection: ConnectionId {
            shard: ShardId(0),
            serial: 1,
        },
        number: 1,
        epoch: 1,
    };
    measure(name, count, |round| {
        let mut buffer = BytesMut::from(&input[..]);
        machine.handle_input(Now::default(), &metadata, &mut buffer);
        if confirms {
            let (first, last) = ((round * count + 1) as u64, ((round + 1) * count) as u64);
            machine.handle_reply(
                Now::default(),
                &metadata,
                to,
                Reply::Confirm { first, last },
            );
        }
        assert_eq!(drain(&mut machine), count);
    });
}

fn deliver(name: &str, body_size: usize, no_ack: bool) {
    let metadata = metadata();
    let mut machine = connected(&metadata);
    let mut input = Vec::new();
    basic::Publish {
        routing_key: b"q1",
        ..Default::default()
    }
    .encode(1, &mut input);
    encode_header_frame(&mut input, 1, body_size as u64, &[0, 0]);
    encode_body_frames(&mut input, 1, &vec![7; body_size], 131_072);
    machine.handle_input(Now::default(), &metadata, &mut BytesMut::from(&input[..]));
    let Some(Request::Queue {
        queue,
        command: broker::command::QueueCommand::Publish { messages, .. },
    }) = machine.poll_request()
    else {
        unreachable!("the publish is the only request");
    };
    input.clear();
    basic::Consume {
        queue: b"q1",
        consumer_tag: b"consumer-1",
        no_ack,
        ..Default::default()
    }
    .encode(1, &mut input);
    machine.handle_input(Now::default(), &metadata, &mut BytesMut::from(&input[..]));
    let Some(Request::Queue {
        command: broker::command::QueueCommand::Consume { consumer, .. },
        ..
    }) = machine.poll_request()
    else {
        unreachable!("the consumer is the only request");
    };
    let (to, consumer) = (consumer.channel, consumer.index);
    machine.handle_reply(Now::default(), &metadata, to, Reply::ConsumeOk { consumer });
    const BATCH: usize = 500;
    let mut position = 0;
    measure(name, BATCH, |round| {
        for _ in 0..BATCH {
            let reply = Reply::Deliver {
                consumer,
                queue,
                position: Position(position),
                messages: messages.clone(),
                redelivered: false,
            };
            position += 1;
            machine.handle_reply(Now::default(), &metadata, to, reply);
        }
        if !no_ack {
            input.clear();
            let first = (round * BATCH) as u64;
            for tag in first + 1..=first + BATCH as u64 {
                basic::Ack {
                    delivery_tag: tag,
                    multiple: false,
                }
                .encode(1, &mut input);
            }
            machine.handle_input(Now::default(), &metadata, &mut BytesMut::from(&input[..]));
        }
        drain(&mut machine);
    });
}

fn main() {
    publish("publish 16 B, one queue", 16, 1, 0, false);
    publish("publish 16 B, 100 queues", 16, 100, 0, false);
    publish("publish 16 B, persistent, confirms", 16, 1, 2, true);
    publish("publish 1 KiB, persistent", 1024, 1, 2, false);
    deliver("deliver 16 B, auto-ack", 16, true);
    deliver("deliver 16 B and its own ack", 16, false);
    deliver("deliver 1 KiB, auto-ack", 1024, true);
    deliver("deliver 16 KiB, auto-ack", 16 * 1024, true);
}
