//! The floor: what the kernel alone charges for moving a message through a process.
//!
//! ```text
//!   publisher --loopback TCP--> relay thread --loopback TCP--> consumer
//!   └───────────────── one thread of the load generator ─────────────┘
//! ```
//!
//! Publisher and consumer are the load generator's own, with the options of the suite's transient rows, so the relay's
//! bytes come and go in the sizes and at the pace that a broker's do: the publisher writes up to 64 KiB at once and
//! takes turns with the consumer on one thread. The relay thread reads whatever is there, up to [`READ_SIZE`], and
//! writes as many bytes of ready-made deliveries as the publishes it has read come to. It looks at no byte, keeps
//! nothing and syncs nothing: no broker behind the same sockets can use less CPU.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Parser;
use client_amqp091::PreparedPublish;
use client_amqp091::codec::{
    BasicProperties, basic, encode_body_frames, encode_deliver, encode_header_frame,
};
use serde::Serialize;

use crate::args::{Cli, RelayArgs};
use crate::greeting::{self, Peer};
use crate::output::{self, TextOutput};
use crate::{clock, load, producer, summary, sync};

/// Most bytes the relay takes from the socket at once, as a broker with a large read buffer would.
const READ_SIZE: usize = 256 * 1024;
/// The queue that the relay pretends to have; as long as the name of a run's own queue.
const QUEUE: &str = "perf-relay";
/// Tag of the load generator's only consumer.
const CONSUMER_TAG: &[u8] = b"0";
/// What brokers offer and the load generator accepts, in bytes.
const FRAME_MAX: u32 = 131_072;
/// Connections that a load makes: one to declare the queue, the consumer's and the publisher's.
const CONNECTIONS: usize = 3;
/// The publisher has stopped when nothing came for this long.
const SILENCE_MAX: Duration = Duration::from_secs(1);

/// What relaying messages of one size cost.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct RelayResult {
    /// Body size in bytes.
    pub size: usize,
    /// Bytes read for each message.
    pub publish_bytes: usize,
    /// Bytes written for each message.
    pub deliver_bytes: usize,
    /// Messages relayed.
    pub messages: u64,
    /// Messages a second of wall-clock time.
    pub rate: f64,
    /// Bytes that came with one read, on average.
    pub read_bytes_mean: f64,
    /// CPU time of the relay thread for each message, in microseconds.
    pub cpu_us_per_message: f64,
}

/// The floors of the kernel.
#[derive(Clone, Debug, Serialize)]
struct RelayReport {
    relay: Vec<RelayResult>,
    /// Median time of writing and syncing one page, if a directory was given.
    fdatasync_us: Option<f64>,
}

/// Runs `warren perf relay`.
///
/// # Errors
/// Sockets, threads or files cannot be had.
pub(crate) fn run(args: &RelayArgs) -> anyhow::Result<()> {
    anyhow::ensure!(args.time > 0, "--time must be more than 0");
    let text_output = TextOutput::beside(args.json.as_deref());
    let mut report = RelayReport {
        relay: Vec::new(),
        fdatasync_us: None,
    };
    for size in &args.size {
        let result = measure(*size, args.time)?;
        text_output.line(&format!(
            "relay {size:>7} B: {:.3} µs CPU/message, {} messages/s, {:.1} KiB/read ({} + {} bytes each)",
            result.cpu_us_per_message,
            summary::rate(result.rate),
            result.read_bytes_mean / 1024.0,
            result.publish_bytes,
            result.deliver_bytes,
        ));
        report.relay.push(result);
    }
    if let Some(dir) = &args.sync_dir {
        let sync_us = sync::measure(dir)?;
        text_output.line(&format!("fdatasync of one page: {sync_us:.0} µs"));
        report.fdatasync_us = Some(sync_us);
    }
    match &args.json {
        Some(target) => output::write_json(target, &report),
        None => Ok(()),
    }
}

/// Relays messages of `size` bytes for `seconds`.
///
/// # Errors
/// Loopback sockets or threads cannot be had, or the load fails.
pub(crate) fn measure(size: usize, seconds: u64) -> anyhow::Result<RelayResult> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("listen")?;
    let uri = format!("amqp://guest:guest@{}/", listener.local_addr()?);
    let relaying = thread::Builder::new().spawn(move || serve(&listener, size))?;
    let options = format!("perf --quiet --uri {uri} -u {QUEUE} -p -b 0 -a -s {size} -z {seconds}");
    let words = options.split_ascii_whitespace();
    // If the load fails, the relay's thread may wait for connections that never come; it ends with the program.
    load::run(Cli::try_parse_from(words)?.load, &mut |_| {}).context("load the relay")?;
    let relayed = relaying
        .join()
        .map_err(|_| anyhow::anyhow!("the relay's thread panicked"))?
        .context("relay")?;
    let (publish_bytes, deliver_bytes) = (publish(size).len(), deliver(size).len());
    let messages = relayed.bytes / publish_bytes as u64;
    Ok(RelayResult {
        size,
        publish_bytes,
        deliver_bytes,
        messages,
        rate: summary::per(messages as f64, relayed.time.as_secs_f64()),
        read_bytes_mean: summary::per(relayed.bytes as f64, relayed.reads as f64),
        cpu_us_per_message: relayed.cpu_ns as f64 / 1e3 / messages.max(1) as f64,
    })
}

/// The frames of a publish as the load generator's publisher sends it: transient, to the default exchange.
fn publish(size: usize) -> Vec<u8> {
    let publish = basic::Publish {
        routing_key: QUEUE.as_bytes(),
        ..Default::default()
    };
    let prepared = PreparedPublish::new(1, &publish, &producer::properties(false));
    let mut outgoing = client_amqp091::Outgoing::new();
    outgoing.set_frame_max(FRAME_MAX);
    outgoing.publish_prepared(&prepared, &vec![0; size]);
    std::mem::take(outgoing.bytes())
}

/// The frames of the same message's delivery.
fn deliver(size: usize) -> Vec<u8> {
    let (mut out, mut properties) = (Vec::new(), Vec::new());
    BasicProperties::encode(&producer::properties(false), &mut properties);
    encode_deliver(&mut out, 1, CONSUMER_TAG, 1, false, b"", QUEUE.as_bytes());
    encode_header_frame(&mut out, 1, size as u64, &properties);
    encode_body_frames(&mut out, 1, &vec![0; size], FRAME_MAX);
    out
}

/// What the relay thread did.
struct Relayed {
    bytes: u64,
    reads: u64,
    cpu_ns: u64,
    /// From the first byte to the last.
    time: Duration,
}

/// Waits for publisher and consumer and relays between them.
fn serve(listener: &TcpListener, size: usize) -> io::Result<Relayed> {
    let (greeted, peers) = mpsc::channel();
    for _ in 0..CONNECTIONS {
        let (socket, _) = listener.accept()?;
        socket.set_nodelay(true)?;
        let greeted = greeted.clone();
        // A client speaks to us when others are connected, so each needs a thread of its own.
        thread::Builder::new().spawn(move || {
            // Nobody hears it only if another connection has failed.
            let _ = greeted.send(greeting::answer(socket));
        })?;
    }
    drop(greeted);
    let (mut publisher, mut consumer) = (None, None);
    for peer in peers {
        match peer? {
            Peer::Publisher(socket, read) => publisher = Some((socket, read)),
            Peer::Consumer(socket) => consumer = Some(socket),
            Peer::Gone => {}
        }
    }
    let (Some((inbound, read)), Some(outbound)) = (publisher, consumer) else {
        return Err(io::ErrorKind::NotConnected.into());
    };
    relay(inbound, outbound, read, size)
}

/// Moves messages until the publisher falls silent or hangs up; its first `read` bytes are here already.
fn relay(
    mut inbound: TcpStream,
    mut outbound: TcpStream,
    mut read: usize,
    size: usize,
) -> io::Result<Relayed> {
    inbound.set_read_timeout(Some(SILENCE_MAX))?;
    let publish_bytes = publish(size).len();
    let mut deliveries = Deliveries::new(deliver(size), publish_bytes);
    let mut buffer = vec![0; READ_SIZE];
    let (cpu_before, began) = (clock::thread_cpu_ns(), Instant::now());
    let (mut bytes, mut reads, mut owed) = (0_u64, 0_u64, 0_usize);
    let mut last = began;
    while read > 0 {
        last = Instant::now();
        bytes += read as u64;
        reads += 1;
        owed += read * deliveries.period;
        if outbound
            .write_all(deliveries.next(owed / publish_bytes))
            .is_err()
        {
            // The consumer hung up first: the load is over.
            break;
        }
        owed %= publish_bytes;
        read = inbound.read(&mut buffer).unwrap_or(0);
    }
    Ok(Relayed {
        bytes,
        reads,
        cpu_ns: clock::thread_cpu_ns() - cpu_before,
        time: last - began,
    })
}

/// Deliveries without end, all alike, of which any number of bytes can be had at once.
struct Deliveries {
    bytes: Vec<u8>,
    /// Length of one delivery.
    period: usize,
    /// Where in a delivery the next bytes begin.
    at: usize,
}

impl Deliveries {
    /// Enough for all that one read of publishes brings.
    fn new(one: Vec<u8>, publish_bytes: usize) -> Self {
        let period = one.len();
        let largest = READ_SIZE * period / publish_bytes + 2 * period;
        Self {
            bytes: one.repeat(largest.div_ceil(period) + 1),
            period,
            at: 0,
        }
    }

    /// The next `count` bytes.
    fn next(&mut self, count: usize) -> &[u8] {
        let from = self.at;
        self.at = (from + count) % self.period;
        &self.bytes[from..from + count]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wire_bytes_are_those_of_the_frames() {
        // Method frame, header frame and body frame of a 16 byte message, counted by hand.
        assert_eq!(publish(16).len(), 27 + 23 + 24);
        assert_eq!(deliver(16).len(), 35 + 23 + 24);
        // An empty body has no body frame, one beyond frame_max has two.
        assert_eq!(publish(0).len(), 27 + 23);
        assert_eq!(publish(131_065).len(), 27 + 23 + 2 * 8 + 131_065);
    }

    #[test]
    fn deliveries_go_on_where_they_stopped() {
        let mut deliveries = Deliveries::new(vec![1, 2, 3], 2);
        assert_eq!(deliveries.next(4), [1, 2, 3, 1]);
        assert_eq!(deliveries.next(1), [2]);
        assert_eq!(deliveries.next(3), [3, 1, 2]);
    }

    #[test]
    fn the_relay_moves_messages() {
        let result = measure(1024, 1).unwrap();
        assert!(result.messages > 0);
        assert!(result.cpu_us_per_message > 0.0);
        assert!(result.read_bytes_mean > 0.0);
    }
}
