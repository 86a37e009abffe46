//! Bytes that no client should send: the broker answers or hangs up, stays alive and small, and a client beside it notices nothing.
//!
//! What exactly is answered is compared with RabbitMQ in `differential.rs`; here it is only about surviving.

use anyhow::{Context, bail, ensure};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use testkit::Broker;

/// Cases that run at the same time.
const AT_ONCE: usize = 16;
/// How long an answer may take. A client that says nothing is kept for ten seconds.
const PATIENCE: Duration = Duration::from_secs(60);
/// How much the broker may grow by all of this together.
const GROWTH_MAX: u64 = 192 * 1024 * 1024;
/// Longest time a confirm of the bystander may take meanwhile. Generous, because the machine is shared.
const CONFIRM_TIME_MAX: Duration = Duration::from_secs(15);

/// A socket that speaks frames.
struct Socket(TcpStream);

#[derive(Debug)]
struct Frame {
    kind: u8,
    payload: Vec<u8>,
}

impl Socket {
    fn connect(address: SocketAddr) -> anyhow::Result<Self> {
        let socket = TcpStream::connect(address).context("connect")?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        socket.set_nodelay(true)?;
        Ok(Self(socket))
    }

    /// Through the handshake, with channel 1 open.
    fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let mut socket = Self::connect(address)?;
        socket.send(b"AMQP\x00\x00\x09\x01");
        socket.expect(10, 10)?;
        socket.send(&method(
            0,
            10,
            11,
            &start_ok(b"", b"PLAIN", b"\0guest\0guest"),
        ));
        socket.expect(10, 30)?;
        socket.send(&method(0, 10, 31, &[0x07, 0xFF, 0, 2, 0, 0, 0, 0]));
        socket.send(&method(0, 10, 40, b"\x01/\0\0"));
        socket.expect(10, 41)?;
        socket.send(&method(1, 20, 10, b"\0"));
        socket.expect(20, 11)?;
        Ok(socket)
    }

    /// The broker may hang up in the middle.
    fn send(&mut self, bytes: &[u8]) {
        let _ = self.0.write_all(bytes);
    }

    fn read(&mut self) -> std::io::Result<Frame> {
        let mut head = [0; 7];
        self.0.read_exact(&mut head)?;
        if head.starts_with(b"AMQP") {
            return Err(std::io::Error::other("the broker speaks another version"));
        }
        let [kind, _, _, s0, s1, s2, s3] = head;
        let mut payload = vec![0; u32::from_be_bytes([s0, s1, s2, s3]) as usize + 1];
        self.0.read_exact(&mut payload)?;
        payload.pop();
        Ok(Frame { kind, payload })
    }

    fn expect(&mut self, class: u8, id: u8) -> anyhow::Result<Frame> {
        let frame = self
            .read()
            .with_context(|| format!("read method {class}.{id}"))?;
        ensure!(
            frame.kind == 1 && frame.payload.starts_with(&[0, class, 0, id]),
            "method {class}.{id} expected, {frame:?} came"
        );
        Ok(frame)
    }

    /// What the broker does with it all: closes the channel or the connection with a code, hangs up, or goes on.
    fn outcome(&mut self) -> anyhow::Result<Outcome> {
        loop {
            let frame = match self.read() {
                Ok(frame) => frame,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    bail!("no answer within {PATIENCE:?}")
                }
                Err(_) => return Ok(Outcome::HungUp),
            };
            match (frame.kind, frame.payload.as_slice()) {
                (1, [0, 10, 0, 50, high, low, ..]) => {
                    return Ok(Outcome::Closed(u16::from_be_bytes([*high, *low])));
                }
                (1, [0, 20, 0, 40, high, low, ..]) => {
                    return Ok(Outcome::ChannelClosed(u16::from_be_bytes([*high, *low])));
                }
                // The reply to what `round_trip` asked.
                (1, [0, 40, 0, 11]) => return Ok(Outcome::GoesOn),
                _ => {}
            }
        }
    }

    fn round_trip(&mut self) {
        self.send(&method(1, 40, 10, b"\0\0\x0aamq.direct\0\x01\0\0\0\0"));
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    HungUp,
    Closed(u16),
    ChannelClosed(u16),
    GoesOn,
}

fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    let size = u32::try_from(payload.len()).expect("test frames are small");
    [
        &[kind][..],
        &channel.to_be_bytes(),
        &size.to_be_bytes(),
        payload,
        &[0xCE],
    ]
    .concat()
}

fn method(channel: u16, class: u8, id: u8, arguments: &[u8]) -> Vec<u8> {
    frame(1, channel, &[&[0, class, 0, id], arguments].concat())
}

fn long(bytes: &[u8]) -> Vec<u8> {
    let size = u32::try_from(bytes.len()).expect("test strings are small");
    [&size.to_be_bytes()[..], bytes].concat()
}

fn short(bytes: &[u8]) -> Vec<u8> {
    [
        &[u8::try_from(bytes.len()).expect("a short string is short")][..],
        bytes,
    ]
    .concat()
}

fn start_ok(properties: &[u8], mechanism: &[u8], response: &[u8]) -> Vec<u8> {
    [
        long(properties),
        short(mechanism),
        long(response),
        short(b"en_US"),
    ]
    .concat()
}

fn declare(queue: &[u8], table: &[u8]) -> Vec<u8> {
    method(
        1,
        50,
        10,
        &[&[0, 0][..], &short(queue), &[0b100], &long(table)].concat(),
    )
}

fn publish(key: &[u8], properties: &[u8], body_size: u64) -> Vec<u8> {
    let header = [&[0, 60, 0, 0][..], &body_size.to_be_bytes(), properties].concat();
    [
        method(1, 60, 40, &[&[0, 0, 0][..], &short(key), &[0]].concat()),
        frame(2, 1, &header),
    ]
    .concat()
}

fn headers(table: &[u8]) -> Vec<u8> {
    [&[0x20, 0][..], &long(table)].concat()
}

/// A table with tables in it, so many deep.
fn nested(depth: usize) -> Vec<u8> {
    let mut table = Vec::new();
    for level in 1..=depth {
        // Each level is a key of one letter, a type, a size and what is inside.
        let inside = u32::try_from(7 * (depth - level)).expect("test tables are small");
        if level < depth {
            table.extend(b"\x01kF");
            table.extend((inside - 7).to_be_bytes());
        }
    }
    table
}

/// Publishes with confirms until told to stop.
fn bystander(address: SocketAddr, stop: &AtomicBool) -> anyhow::Result<(u64, Duration)> {
    let mut socket = Socket::open(address)?;
    socket.send(&declare(b"bystander", b""));
    socket.expect(50, 11)?;
    socket.send(&method(1, 85, 10, &[0]));
    socket.expect(85, 11)?;
    let message = [
        publish(b"bystander", &[0x10, 0, 1], 5),
        frame(3, 1, b"hello"),
    ]
    .concat();
    let (mut count, mut slowest) = (0, Duration::ZERO);
    while !stop.load(Ordering::Relaxed) {
        let sent = Instant::now();
        socket.send(&message);
        socket.expect(60, 80)?;
        slowest = slowest.max(sent.elapsed());
        count += 1;
        if count % 1000 == 0 {
            socket.send(&method(1, 50, 30, b"\0\0\x09bystander\0"));
            socket.expect(50, 31)?;
        }
    }
    Ok((count, slowest))
}

/// Runs cases beside a bystander, and looks after each whether the broker is well.
fn survive(cases: &[Case]) -> anyhow::Result<()> {
    let broker = Broker::start()?;
    let address = broker.address();
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let beside = std::thread::spawn(move || bystander(address, &stopped));
    let before = broker.resident_bytes()?;
    let mut failures = Vec::new();
    // Several at once: many of them last as long as the broker keeps a misbehaving client waiting.
    for group in cases.chunks(AT_ONCE) {
        let results: Vec<anyhow::Result<()>> = std::thread::scope(|scope| {
            let threads: Vec<_> = group
                .iter()
                .map(|(_, run)| {
                    scope.spawn(|| run(address).and_then(|()| is_well(&broker, before)))
                })
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().expect("a case does not panic"))
                .collect()
        });
        for ((name, _), result) in group.iter().zip(results) {
            failures.extend(result.err().map(|error| format!("{name}: {error:#}")));
        }
    }
    stop.store(true, Ordering::Relaxed);
    let (count, slowest) = beside.join().expect("the bystander does not panic")?;
    eprintln!("bystander: {count} confirms, slowest {slowest:?}");
    ensure!(count > 0, "the bystander got no confirm");
    if slowest > CONFIRM_TIME_MAX {
        failures.push(format!("a confirm of the bystander took {slowest:?}"));
    }
    ensure!(failures.is_empty(), "{}", failures.join("\n"));
    Ok(())
}

/// It runs, serves a new client, and has not grown out of bounds.
fn is_well(broker: &Broker, before: u64) -> anyhow::Result<()> {
    let mut socket = Socket::open(broker.address()).context("a new client is not served")?;
    socket.round_trip();
    ensure!(
        socket.outcome()? == Outcome::GoesOn,
        "a new client is not served"
    );
    let now = broker.resident_bytes().context("the broker is gone")?;
    ensure!(
        now <= before + GROWTH_MAX,
        "grew from {before} to {now} bytes"
    );
    Ok(())
}

type Case = (
    String,
    Box<dyn Fn(SocketAddr) -> anyhow::Result<()> + Send + Sync>,
);

/// Bytes right after connecting; the broker ends the connection, with or without a word.
fn raw(name: &str, bytes: Vec<u8>) -> Case {
    let run = move |address| {
        let mut socket = Socket::connect(address)?;
        socket.send(&bytes);
        loop {
            match socket.read() {
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    bail!("still connected after {PATIENCE:?}")
                }
                // A reset is an end too.
                Err(_) => return Ok(()),
                // It waits for the answer to its connection.close.
                Ok(frame) if frame.payload.starts_with(&[0, 10, 0, 50]) => {
                    socket.send(&method(0, 10, 51, b""))
                }
                Ok(_) => {}
            }
        }
    };
    (name.to_owned(), Box::new(run))
}

/// Bytes on an open channel, and what may come of it.
fn open(name: &str, bytes: Vec<u8>, allowed: &'static [Outcome]) -> Case {
    let run = move |address| {
        let mut socket = Socket::open(address)?;
        socket.send(&bytes);
        socket.round_trip();
        let outcome = socket.outcome()?;
        ensure!(
            allowed.contains(&outcome),
            "{outcome:?}, not one of {allowed:?}"
        );
        Ok(())
    };
    (name.to_owned(), Box::new(run))
}

const FRAME_ERROR: &[Outcome] = &[Outcome::Closed(501)];
const REFUSED: &[Outcome] = &[
    Outcome::Closed(501),
    Outcome::Closed(502),
    Outcome::Closed(505),
    Outcome::Closed(541),
    Outcome::HungUp,
];
const GOES_ON: &[Outcome] = &[Outcome::GoesOn];
const PRECONDITION_FAILED: &[Outcome] = &[Outcome::ChannelClosed(406)];

#[test]
fn before_the_connection_is_open() -> anyhow::Result<()> {
    let header = b"AMQP\x00\x00\x09\x01".to_vec();
    let then = |bytes: &[u8]| [&header[..], bytes].concat();
    let login = |response: &[u8]| then(&method(0, 10, 11, &start_ok(b"", b"PLAIN", response)));
    let mut cases = vec![
        raw("A1 random bytes", vec![0x9f, 1, 0xfe, 3, 0x80, 5, 0x41, 7]),
        raw("A1 wrong version", b"AMQP\x00\x09\x09\x09".to_vec()),
        raw("A1 TLS hello", vec![0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3]),
        raw("A1 HTTP", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec()),
        raw("A2 silence", Vec::new()),
        raw("A2 half a header", b"AMQ".to_vec()),
        raw("A2 header, then silence", header.clone()),
        raw(
            "A5 huge frame before tuning",
            then(&[1, 0, 0, 0xff, 0xff, 0xff, 0xff]),
        ),
        raw("A7 tune-ok first", then(&method(0, 10, 31, &[0; 8]))),
        raw("A7 publish first", then(&publish(b"x", &[0, 0], 0))),
        raw(
            "A8 unknown mechanism",
            then(&method(0, 10, 11, &start_ok(b"", b"FOO", b""))),
        ),
        raw("A8 no NUL", login(b"guest")),
        raw("A8 one NUL", login(b"\0guest")),
        raw("A8 three NULs", login(b"\0guest\0guest\0")),
        raw("A8 not UTF-8", login(b"\0\xff\xfe\0\xff")),
        raw("A8 1 MiB", login(&[0; 1 << 20])),
        raw(
            "A8 AMQPLAIN garbage",
            then(&method(
                0,
                10,
                11,
                &start_ok(b"", b"AMQPLAIN", b"\xff\xff\xff"),
            )),
        ),
        raw(
            "A8 AMQPLAIN many fields",
            then(&method(
                0,
                10,
                11,
                &start_ok(b"", b"AMQPLAIN", &b"\x01kV".repeat(2000)),
            )),
        ),
        raw(
            "A10 properties nested",
            then(&method(
                0,
                10,
                11,
                &start_ok(&nested(1000), b"PLAIN", b"\0guest\0wrong"),
            )),
        ),
        raw(
            "A10 properties cut off",
            then(&method(0, 10, 11, &[0xff, 0xff, 0xff, 0xff])),
        ),
    ];
    for (frame_max, channel_max) in [
        (1u32, 2047u16),
        (4095, 2047),
        (u32::MAX, 2047),
        (0, 2047),
        (131_072, 0),
        (131_072, 65_535),
    ] {
        let tune_ok = [
            &channel_max.to_be_bytes()[..],
            &frame_max.to_be_bytes(),
            &[0, 0],
        ]
        .concat();
        let bytes = [login(b"\0guest\0guest"), method(0, 10, 31, &tune_ok)].concat();
        cases.push(raw(
            &format!("A6 frame_max {frame_max} channel_max {channel_max}"),
            bytes,
        ));
    }
    for vhost in [&[b'v'; 255][..], b"\0", b"../../etc", b".*", b"\xff"] {
        let open = [
            login(b"\0guest\0guest"),
            method(0, 10, 31, &[7, 0xff, 0, 2, 0, 0, 0, 0]),
            method(0, 10, 40, &[&short(vhost)[..], &[0, 0]].concat()),
        ];
        cases.push(raw(
            &format!("A9 vhost {}", vhost.escape_ascii()),
            open.concat(),
        ));
    }
    survive(&cases)
}

#[test]
fn broken_frames_and_methods() -> anyhow::Result<()> {
    let mut cases = Vec::new();
    for kind in [0, 4, 5, 6, 7, 9, 100, 255] {
        cases.push(open(
            &format!("A3 frame type {kind}"),
            frame(kind, 1, b"abc"),
            FRAME_ERROR,
        ));
    }
    for end in [0, 0xCD, 0xFF] {
        let mut bytes = method(1, 90, 10, b"");
        *bytes.last_mut().context("it has an end")? = end;
        cases.push(open(&format!("A4 end octet {end}"), bytes, FRAME_ERROR));
    }
    for size in [u32::MAX, 1 << 31, 131_073] {
        cases.push(open(
            &format!("A5 frame of {size}"),
            [&[3, 0, 1][..], &size.to_be_bytes()].concat(),
            FRAME_ERROR,
        ));
    }
    let table_of = |size: u32| [&[0, 0, 1, b't', 0][..], &size.to_be_bytes(), b"\x01k"].concat();
    cases.extend([
        open("A11 channel 65535", method(65_535, 20, 10, b"\0"), GOES_ON),
        open(
            "A11 channel.open on channel 0",
            method(0, 20, 10, b"\0"),
            &[Outcome::Closed(504)],
        ),
        open(
            "A12 method on an unopened channel",
            method(9, 90, 10, b""),
            &[Outcome::Closed(504)],
        ),
        open(
            "A13 heartbeat on a channel",
            frame(8, 1, b""),
            &[Outcome::Closed(505)],
        ),
        open(
            "A13 heartbeat with payload",
            frame(8, 0, &[0; 100_000]),
            FRAME_ERROR,
        ),
        open("A14 unknown class", method(1, 200, 10, b""), REFUSED),
        open("A14 unknown method", method(1, 50, 200, b""), REFUSED),
        open("A14 truncated", method(1, 50, 10, b"\0"), FRAME_ERROR),
        open("A14 trailing bytes", method(1, 90, 10, b"xyz"), FRAME_ERROR),
        open(
            "A15 table of 4 GiB",
            method(1, 50, 10, &table_of(u32::MAX)),
            REFUSED,
        ),
        open(
            "A15 table longer than the frame",
            method(1, 50, 10, &table_of(3)),
            REFUSED,
        ),
        open(
            "A15 string in table of 4 GiB",
            declare(b"t", b"\x01kS\xff\xff\xff\xff"),
            REFUSED,
        ),
        open(
            "A15 array in table of 4 GiB",
            declare(b"t", b"\x01kA\xff\xff\xff\xffA\xff\xff\xff\xff"),
            REFUSED,
        ),
        open("A17 unknown field type", declare(b"t", b"\x01k?x"), REFUSED),
        open(
            "A17 10,000 equal keys",
            declare(b"dup", &b"\x01kV".repeat(10_000)),
            &[Outcome::GoesOn, Outcome::Closed(502)],
        ),
        open(
            "A18 flags for ever",
            publish(b"x", &[0xff; 1000], 0),
            REFUSED,
        ),
        open(
            "A18 properties cut off",
            publish(b"x", &[0x80, 0, 200], 0),
            REFUSED,
        ),
        open(
            "A19 header without publish",
            frame(2, 1, &[0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
            REFUSED,
        ),
        open("A19 body without header", frame(3, 1, b"x"), REFUSED),
        open(
            "A19 method inside a body",
            publish(b"x", &[0, 0], 5),
            REFUSED,
        ),
        open(
            "A20 body overrun",
            [publish(b"x", &[0, 0], 2), frame(3, 1, b"abc")].concat(),
            FRAME_ERROR,
        ),
        open(
            "A20 empty body frames",
            [
                publish(b"x", &[0, 0], 2),
                frame(3, 1, b"").repeat(1_000_000),
            ]
            .concat(),
            &[Outcome::Closed(501), Outcome::Closed(505), Outcome::HungUp],
        ),
        open(
            "A20 body of single bytes",
            [
                publish(b"x", &[0, 0], 500_000),
                frame(3, 1, b"x").repeat(500_000),
            ]
            .concat(),
            GOES_ON,
        ),
        open(
            "A20 heartbeats",
            frame(8, 0, b"").repeat(1_000_000),
            GOES_ON,
        ),
    ]);
    for size in [1u64 << 63, (512 << 20) + 1, (16 << 20) + 1, u64::MAX] {
        cases.push(open(
            &format!("A20 body size {size}"),
            publish(b"x", &[0, 0], size),
            &[
                Outcome::ChannelClosed(406),
                Outcome::Closed(501),
                Outcome::Closed(505),
            ],
        ));
    }
    for depth in [31, 33, 1000, 18_000] {
        let allowed: &[Outcome] = if depth > 32 { REFUSED } else { GOES_ON };
        cases.push(open(
            &format!("A16 arguments nested {depth}"),
            declare(b"deep", &nested(depth)),
            allowed,
        ));
        let allowed: &[Outcome] = if depth > 32 {
            &[Outcome::Closed(502), Outcome::HungUp, Outcome::GoesOn]
        } else {
            GOES_ON
        };
        cases.push(open(
            &format!("A16 headers nested {depth}"),
            publish(b"x", &headers(&nested(depth)), 0),
            allowed,
        ));
    }
    survive(&cases)
}

#[test]
fn methods_with_absurd_values() -> anyhow::Result<()> {
    let ack =
        |tag: u64, multiple: u8| method(1, 60, 80, &[&tag.to_be_bytes()[..], &[multiple]].concat());
    let many_keys = {
        let array = b"S\0\0\0\x01k".repeat(10_000);
        headers(&[b"\x02CCA".to_vec(), long(&array)].concat())
    };
    // The queue is the one last declared on the channel.
    let bind = |key: &[u8], table: &[u8]| {
        method(
            1,
            50,
            20,
            &[
                &[0, 0, 0][..],
                &short(b"amq.topic"),
                &short(key),
                &[0],
                &long(table),
            ]
            .concat(),
        )
    };
    let consume = |tag: &[u8]| {
        method(
            1,
            60,
            20,
            &[&[0, 0, 0][..], &short(tag), &[0], &long(b"")].concat(),
        )
    };
    let with = |bytes: &[u8]| [&declare(b"", b"")[..], bytes].concat();
    let expiration = |text: &[u8]| publish(b"x", &[&[1, 0][..], &short(text)].concat(), 0);
    let ring: Vec<u8> = (0..10u8)
        .flat_map(|n| {
            let name = [b'r', b'0' + n];
            method(
                1,
                40,
                10,
                &[
                    &[0, 0][..],
                    &short(&name),
                    &short(b"fanout"),
                    &[0],
                    &long(b""),
                ]
                .concat(),
            )
        })
        .collect();
    let links: Vec<u8> = (0..10u8)
        .flat_map(|n| {
            let (from, to) = ([b'r', b'0' + n], [b'r', b'0' + (n + 1) % 10]);
            method(
                1,
                40,
                30,
                &[&[0, 0][..], &short(&to), &short(&from), &[0, 0], &long(b"")].concat(),
            )
        })
        .collect();
    let into_ring = [
        method(1, 60, 40, b"\0\0\x02r0\0\0"),
        frame(2, 1, &[0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
    ]
    .concat();
    let large_table = [b"\x01aS".to_vec(), long(&vec![b'x'; 0xff00])].concat();
    let large_and_many = [bind(b"k", &large_table), bind(b"same", b"").repeat(2000)].concat();
    let mut cases = vec![
        open("A22 ack of nothing", ack(5, 0), PRECONDITION_FAILED),
        open("A22 ack of 0", ack(0, 0), PRECONDITION_FAILED),
        open(
            "A22 ack of the largest tag",
            ack(u64::MAX, 1),
            PRECONDITION_FAILED,
        ),
        open(
            "A23 immediate",
            method(1, 60, 40, b"\0\0\0\0\x02"),
            &[Outcome::Closed(540), Outcome::Closed(505)],
        ),
        open(
            "A23 expiration negative",
            expiration(b"-1"),
            PRECONDITION_FAILED,
        ),
        open(
            "A23 expiration float",
            expiration(b"1e9"),
            PRECONDITION_FAILED,
        ),
        open(
            "A23 expiration of 255 digits",
            expiration(&[b'9'; 255]),
            PRECONDITION_FAILED,
        ),
        open(
            "A23 user-id",
            publish(b"x", &[0, 16, 5, b'o', b't', b'h', b'e', b'r'], 0),
            PRECONDITION_FAILED,
        ),
        open(
            "A23 delivery mode 255, priority 255",
            publish(b"x", &[0x18, 0, 255, 255], 0),
            GOES_ON,
        ),
        open(
            "A23 10,000 keys in CC",
            publish(b"x", &many_keys, 0),
            &[Outcome::ChannelClosed(406), Outcome::GoesOn],
        ),
        open(
            "A26 binding arguments of 64 KiB, and 2,000 times the same",
            with(&large_and_many),
            GOES_ON,
        ),
        open(
            "A26 binding key of wildcards",
            with(&bind(&[b"#.".repeat(127), b"#".to_vec()].concat(), b"")),
            PRECONDITION_FAILED,
        ),
        open(
            "A27 consumer tag twice",
            with(&[consume(b"t"), consume(b"t")].concat()),
            &[Outcome::Closed(530)],
        ),
        open(
            "A27 prefetch size",
            method(1, 60, 10, &[0, 0, 0, 9, 0, 0, 0]),
            &[Outcome::Closed(540)],
        ),
    ];
    let ring_case = move |address| {
        let mut socket = Socket::open(address)?;
        socket.send(&ring);
        for _ in 0..10 {
            socket.expect(40, 11)?;
        }
        socket.send(&links);
        socket.send(&into_ring);
        socket.round_trip();
        let outcome = socket.outcome()?;
        ensure!(outcome == Outcome::GoesOn, "{outcome:?}");
        Ok(())
    };
    cases.push(("A24 ring of ten exchanges".to_owned(), Box::new(ring_case)));
    let halves = |address| {
        let mut socket = Socket::open(address)?;
        for channel in 2..1000u16 {
            socket.send(&method(channel, 20, 10, b"\0"));
            socket.send(&method(channel, 60, 40, b"\0\0\0\x01x\0"));
            socket.send(&frame(
                2,
                channel,
                &[0, 60, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0],
            ));
            socket.send(&frame(3, channel, &[0; 16 * 1024]));
        }
        socket.round_trip();
        let outcome = socket.outcome()?;
        ensure!(outcome == Outcome::GoesOn, "{outcome:?}");
        Ok(())
    };
    cases.push((
        "A21 a thousand bodies of 16 MiB announced and 16 KiB sent".to_owned(),
        Box::new(halves),
    ));
    survive(&cases)
}
