//! The floor: what the kernel alone charges for moving a message through a process.
//!
//! ```text
//!   source thread --loopback TCP--> relay thread --loopback TCP--> sink thread
//! ```
//!
//! The relay reads whatever is there, up to [`READ_SIZE`], and writes it on. Per message, as many bytes come in as a
//! `basic.publish` takes on the wire and as many go out as a `basic.deliver`, so no broker that
//! speaks AMQP over these sockets can use less CPU than the relay thread does. It looks at no byte, keeps nothing
//! and syncs nothing.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use serde::Serialize;

use crate::args::RelayArgs;
use crate::output::{self, TextOutput};
use crate::{clock, summary, sync};

/// Most bytes the relay takes from the socket at once, as a broker with a large read buffer would.
const READ_SIZE: usize = 256 * 1024;
/// Bytes the source writes at once, as a load generator that batches would.
const WRITE_SIZE: usize = 64 * 1024;
/// Frame header and end octet.
const FRAME_OVERHEAD: usize = 8;
/// Largest body frame payload with the usual `frame_max` of 131072.
const BODY_FRAME_PAYLOAD: usize = 131_072 - FRAME_OVERHEAD;
/// Length of the routing key that the model message has; the exchange is the default one.
const ROUTING_KEY_LEN: usize = 10;
/// Length of the model consumer's tag.
const CONSUMER_TAG_LEN: usize = 6;

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
    anyhow::ensure!(
        args.time > 0.0 && args.time.is_finite(),
        "--time must be more than 0"
    );
    let text_output = TextOutput::beside(args.json.as_deref());
    let mut report = RelayReport {
        relay: Vec::new(),
        fdatasync_us: None,
    };
    for size in &args.size {
        let result = measure(*size, Duration::from_secs_f64(args.time))?;
        text_output.line(&format!(
            "relay {size:>7} B: {:.3} µs CPU/message, {} messages/s ({} + {} bytes each)",
            result.cpu_us_per_message,
            summary::rate(result.rate),
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

/// Bytes of `basic.publish` and of `basic.deliver`, content included, for a transient message with a body of `size`.
fn wire_bytes(size: usize) -> (usize, usize) {
    let body_frames = size.div_ceil(BODY_FRAME_PAYLOAD);
    let header = FRAME_OVERHEAD + 2 + 2 + 8 + 2 + 1;
    let content = header + body_frames * FRAME_OVERHEAD + size;
    let publish = FRAME_OVERHEAD + 4 + 2 + 1 + (1 + ROUTING_KEY_LEN) + 1;
    let deliver = FRAME_OVERHEAD + 4 + (1 + CONSUMER_TAG_LEN) + 8 + 1 + 1 + (1 + ROUTING_KEY_LEN);
    (publish + content, deliver + content)
}

/// Relays messages of `size` bytes for `duration`.
///
/// # Errors
/// Loopback sockets or threads cannot be had.
pub(crate) fn measure(size: usize, duration: Duration) -> anyhow::Result<RelayResult> {
    let (publish_bytes, deliver_bytes) = wire_bytes(size);
    let (mut source, inbound) = socket_pair().context("connect source")?;
    let (outbound, mut sink) = socket_pair().context("connect sink")?;

    let deadline = Instant::now() + duration;
    let feeding = thread::Builder::new().spawn(move || feed(&mut source, deadline))?;
    let draining = thread::Builder::new().spawn(move || drain(&mut sink))?;
    let relaying = thread::Builder::new().spawn(move || {
        let started = Instant::now();
        let bytes = relay(inbound, outbound, publish_bytes, deliver_bytes)?;
        Ok::<_, io::Error>((bytes, clock::thread_cpu_ns(), started.elapsed()))
    })?;

    let (bytes, cpu_ns, elapsed) = join(relaying).context("relay")?;
    join(feeding).context("feed the relay")?;
    join(draining).context("drain the relay")?;
    let messages = bytes / publish_bytes as u64;
    Ok(RelayResult {
        size,
        publish_bytes,
        deliver_bytes,
        messages,
        rate: messages as f64 / elapsed.as_secs_f64(),
        cpu_us_per_message: cpu_ns as f64 / 1e3 / messages.max(1) as f64,
    })
}

fn join<T>(thread: thread::JoinHandle<io::Result<T>>) -> anyhow::Result<T> {
    let result = thread
        .join()
        .map_err(|_| anyhow::anyhow!("thread panicked"))?;
    Ok(result?)
}

fn socket_pair() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let client = TcpStream::connect(listener.local_addr()?)?;
    let (server, _) = listener.accept()?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    Ok((client, server))
}

fn feed(socket: &mut TcpStream, deadline: Instant) -> io::Result<()> {
    let chunk = vec![0x5a; WRITE_SIZE];
    while Instant::now() < deadline {
        socket.write_all(&chunk)?;
    }
    Ok(())
}

fn drain(socket: &mut TcpStream) -> io::Result<()> {
    let mut buffer = vec![0; READ_SIZE];
    while socket.read(&mut buffer)? > 0 {}
    Ok(())
}

/// Moves bytes until the source ends; returns how many came in.
fn relay(
    mut inbound: TcpStream,
    mut outbound: TcpStream,
    publish_bytes: usize,
    deliver_bytes: usize,
) -> io::Result<u64> {
    // A delivery is a few bytes longer than its publish: what was read goes out with that much more behind it.
    let mut buffer = vec![0; READ_SIZE * deliver_bytes / publish_bytes + deliver_bytes];
    let mut bytes_in = 0_u64;
    let mut owed = 0_usize;
    loop {
        let read = inbound.read(&mut buffer[..READ_SIZE])?;
        if read == 0 {
            return Ok(bytes_in);
        }
        bytes_in += read as u64;
        owed += read * deliver_bytes;
        outbound.write_all(&buffer[..owed / publish_bytes])?;
        owed %= publish_bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wire_bytes_are_those_of_the_frames() {
        // Method frame, header frame and body frame of a 16 byte message, counted by hand.
        assert_eq!(wire_bytes(16), (27 + 23 + 24, 40 + 23 + 24));
        // An empty body has no body frame, one beyond frame_max has two.
        assert_eq!(wire_bytes(0).0, 27 + 23);
        assert_eq!(wire_bytes(131_065).0, 27 + 23 + 2 * 8 + 131_065);
    }

    #[test]
    fn the_relay_moves_messages() {
        let result = measure(1024, Duration::from_millis(20)).unwrap();
        assert!(result.messages > 0);
        assert!(result.cpu_us_per_message > 0.0);
    }
}
