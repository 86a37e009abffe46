//! What is measured of our own node alone: memory, a large backlog, start-up.

use super::Effort;
use crate::broker::{self, Broker, Ending};
use crate::shell;
use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

/// Memory of a node, in bytes of RSS.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Footprint {
    pub(super) idle_bytes: u64,
    pub(super) connections: u32,
    pub(super) bytes_per_connection: f64,
    pub(super) queues: u32,
    pub(super) bytes_per_queue: f64,
}

/// A queue with many messages, from the first publish to the last delivery.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Backlog {
    pub(super) messages: u32,
    /// Published a second.
    pub(super) publish_rate: f64,
    pub(super) publish_rss_max_bytes: u64,
    /// From starting the process to its line that it is ready, after an orderly end.
    pub(super) restart: Duration,
    /// The same after SIGKILL.
    pub(super) restart_after_kill: Duration,
    /// Memory with the whole backlog, before the first delivery.
    pub(super) restarted_rss_bytes: u64,
    /// Delivered a second.
    pub(super) drain_rate: f64,
    pub(super) drain_rss_max_bytes: u64,
}

/// What `warren perf footprint` prints.
#[derive(Deserialize)]
struct FootprintJson {
    idle_bytes: u64,
    bytes_per_connection: f64,
    bytes_per_queue: f64,
}

/// What `warren perf` prints.
#[derive(Deserialize)]
struct LoadJson {
    counts: Counts,
    sent_rate: f64,
    received_rate: f64,
    server: Server,
}

#[derive(Deserialize)]
struct Counts {
    sent: u64,
    received: u64,
}

#[derive(Deserialize)]
struct Server {
    rss_start_bytes: u64,
    rss_max_bytes: u64,
}

/// Connections and queues each on a fresh node, since memory that one frees the other would use.
pub(super) fn footprint(effort: Effort) -> Result<Footprint> {
    let Effort {
        connections,
        queues,
        ..
    } = effort;
    let measure = |connections: u32, queues: u32| -> Result<FootprintJson> {
        let broker = Broker::start("perf")?;
        perf(
            &broker,
            &format!("footprint --connections {connections} --queues {queues}"),
        )
    };
    let with_connections = measure(connections, 0)?;
    let with_queues = measure(0, queues)?;
    Ok(Footprint {
        idle_bytes: with_connections.idle_bytes,
        connections,
        bytes_per_connection: with_connections.bytes_per_connection,
        queues,
        bytes_per_queue: with_queues.bytes_per_queue,
    })
}

/// Fills a queue, ends the node in both ways, and drains the queue.
pub(super) fn backlog(effort: Effort) -> Result<Backlog> {
    let messages = effort.backlog;
    let broker = Broker::start("perf")?;
    let publish = format!("--quiet -x 1 -y 0 -s 1024 -f persistent -C {messages} -u big");
    let published: LoadJson = perf(&broker, &publish)?;
    ensure!(
        published.counts.sent == u64::from(messages),
        "{} of {messages} messages were published",
        published.counts.sent
    );
    let (broker, restart) = restart(broker, Ending::Orderly)?;
    let (broker, restart_after_kill) = self::restart(broker, Ending::Kill)?;
    let drain = format!("--quiet -x 0 -y 1 -A 100 -q 1000 -D {messages} -u big -p");
    let drained: LoadJson = perf(&broker, &drain)?;
    ensure!(
        drained.counts.received == u64::from(messages),
        "{} of {messages} messages came back",
        drained.counts.received
    );
    let folder = broker.end(Ending::Kill)?;
    fs::remove_dir_all(&folder).with_context(|| format!("remove {}", folder.display()))?;
    Ok(Backlog {
        messages,
        publish_rate: published.sent_rate,
        publish_rss_max_bytes: published.server.rss_max_bytes,
        restart,
        restart_after_kill,
        restarted_rss_bytes: drained.server.rss_start_bytes,
        drain_rate: drained.received_rate,
        drain_rss_max_bytes: drained.server.rss_max_bytes,
    })
}

fn restart(broker: Broker, ending: Ending) -> Result<(Broker, Duration)> {
    let folder = broker.end(ending)?;
    let began = Instant::now();
    let broker = Broker::start_on(folder)?;
    Ok((broker, began.elapsed()))
}

/// Times of starts on an empty folder, in milliseconds, the shortest first: from starting the process to the first byte
/// of its answer on an AMQP connection.
pub(super) fn starts(effort: Effort) -> Result<Vec<f64>> {
    let mut times = (0..effort.starts)
        .map(|_| Ok(start()?.as_secs_f64() * 1e3))
        .collect::<Result<Vec<f64>>>()?;
    times.sort_by(f64::total_cmp);
    Ok(times)
}

fn start() -> Result<Duration> {
    let folder = broker::empty_folder("perf")?;
    let began = Instant::now();
    let broker = Broker::start_on(folder)?;
    let address = broker.uri.trim_start_matches("amqp://");
    let mut socket =
        TcpStream::connect(address).with_context(|| format!("connect to {address}"))?;
    socket.write_all(b"AMQP\0\0\x09\x01")?;
    socket.read_exact(&mut [0])?;
    Ok(began.elapsed())
}

/// Runs `warren perf` against `broker` and takes its JSON.
fn perf<T: DeserializeOwned>(broker: &Broker, options: &str) -> Result<T> {
    let json = shell::output(
        Command::new(shell::warren(shell::RELEASE))
            .arg("perf")
            .args(options.split_whitespace())
            .args(["--uri", &broker.uri, "--json", "-"])
            .args(["--server-pid", &broker.pid().to_string()]),
    )?;
    serde_json::from_str(&json).with_context(|| format!("read what warren perf {options} printed"))
}
