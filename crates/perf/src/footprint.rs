//! The broker's memory: idle, for each idle connection with a channel, for each idle durable queue.
//!
//! Memory is what the kernel counts as resident (RSS), looked at when it has stopped changing. Differences are taken
//! over thousands of things alike. What a broker frees it may keep for later use, so each kind is best measured
//! on a node of its own that has just been started.

use std::ops::Range;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use client_amqp091::codec::Table;
use client_amqp091::{AmqpUri, ConnectOptions, Connection, QueueOptions};
use rustix::process::{Resource, getrlimit, setrlimit};
use serde::Serialize;

use crate::args::FootprintArgs;
use crate::output::{self, TextOutput};
use crate::process::Process;
use crate::summary;

/// Connections that declare and delete queues, so that one sync of the disk serves many.
const DECLARERS: u32 = 50;
/// Time between two looks at the memory.
const LOOK: Duration = Duration::from_millis(200);
/// Looks that must agree.
const LOOKS: u32 = 5;
/// Looks agree when they differ by no more than this, in bytes.
const NOISE_MAX: u64 = 64 << 10;
/// After so long the memory counts even if it still changes.
const SETTLE_MAX: Duration = Duration::from_secs(20);
/// The only channel of each connection.
const CHANNEL: u16 = 1;

/// What was measured, in bytes of resident memory.
#[derive(Clone, Copy, Debug, Serialize)]
struct Footprint {
    /// Before anything was done.
    idle_bytes: u64,
    connections: u32,
    /// For each connection with a channel; 0 if there were none.
    bytes_per_connection: f64,
    queues: u32,
    /// For each durable queue; 0 if there were none.
    bytes_per_queue: f64,
}

/// Runs `warren perf footprint`.
///
/// # Errors
/// The broker cannot be reached, refuses something, or is not a process that can be seen.
pub(crate) fn run(args: &FootprintArgs) -> anyhow::Result<()> {
    let uri: AmqpUri = args.uri.parse().with_context(|| args.uri.clone())?;
    let process = Process::new(args.server_pid);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let footprint = runtime.block_on(measure(&uri, process, args))?;
    let text_output = TextOutput::beside(args.json.as_deref());
    text_output.line(&format!(
        "idle {:.1} MiB; {:.1} KiB for each of {} connections; {:.2} KiB for each of {} queues",
        footprint.idle_bytes as f64 / f64::from(1 << 20),
        footprint.bytes_per_connection / 1024.0,
        footprint.connections,
        footprint.bytes_per_queue / 1024.0,
        footprint.queues,
    ));
    match &args.json {
        Some(target) => output::write_json(target, &footprint),
        None => Ok(()),
    }
}

async fn measure(
    uri: &AmqpUri,
    process: Process,
    args: &FootprintArgs,
) -> anyhow::Result<Footprint> {
    let idle_bytes = settled_rss(process).await?;
    let bytes_per_connection = if args.connections > 0 {
        allow_open_files();
        let connections = open(uri, args.connections).await?;
        let rss = settled_rss(process).await?;
        drop(connections);
        each(idle_bytes, rss, args.connections)
    } else {
        0.0
    };
    let bytes_per_queue = if args.queues > 0 {
        measure_queues(uri, process, args.queues).await?
    } else {
        0.0
    };
    Ok(Footprint {
        idle_bytes,
        connections: args.connections,
        bytes_per_connection,
        queues: args.queues,
        bytes_per_queue,
    })
}

/// What each of `count` things takes if memory went from `before` to `after`; nothing if it shrank.
fn each(before: u64, after: u64, count: u32) -> f64 {
    summary::per(after.saturating_sub(before) as f64, f64::from(count))
}

/// Raises our own limit on open files as far as it goes. If that is not enough, connecting says so.
pub(crate) fn allow_open_files() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _ = setrlimit(Resource::Nofile, limit);
}

async fn open(uri: &AmqpUri, count: u32) -> anyhow::Result<Vec<Connection>> {
    // Nobody drives these connections, so they cannot send heartbeats.
    let options = ConnectOptions {
        heartbeat_seconds: 0,
        ..Default::default()
    };
    let mut connections = Vec::new();
    for number in 1..=count {
        let open = async {
            let mut connection = Connection::connect(uri, &options).await?;
            connection.open_channel(CHANNEL).await?;
            anyhow::Ok(connection)
        };
        let connection = open
            .await
            .with_context(|| format!("connection {number} of {count}"))?;
        connections.push(connection);
    }
    Ok(connections)
}

async fn measure_queues(uri: &AmqpUri, process: Process, count: u32) -> anyhow::Result<f64> {
    let declarers = open(uri, DECLARERS).await?;
    let before = settled_rss(process).await?;
    let declarers = for_all_queues(declarers, count, Doing::Declare).await?;
    let after = settled_rss(process).await?;
    for_all_queues(declarers, count, Doing::Delete).await?;
    Ok(each(before, after, count))
}

/// What is done with queues.
#[derive(Clone, Copy)]
enum Doing {
    Declare,
    Delete,
}

/// Spreads the queues over the connections and returns these when all is done.
async fn for_all_queues(
    connections: Vec<Connection>,
    count: u32,
    doing: Doing,
) -> anyhow::Result<Vec<Connection>> {
    let mut tasks = tokio::task::JoinSet::new();
    for (index, connection) in (0..).zip(connections) {
        tasks.spawn(for_queues(connection, share(count, index), doing));
    }
    let mut connections = Vec::new();
    while let Some(done) = tasks.join_next().await {
        match done {
            Ok(connection) => connections.push(connection?),
            Err(error) => bail!("a declaring task ended: {error}"),
        }
    }
    Ok(connections)
}

/// The numbers of the queues that declarer `index` declares.
fn share(count: u32, index: u32) -> Range<u32> {
    let at = |index: u32| (u64::from(count) * u64::from(index) / u64::from(DECLARERS)) as u32;
    at(index)..at(index + 1)
}

async fn for_queues(
    mut connection: Connection,
    numbers: Range<u32>,
    doing: Doing,
) -> anyhow::Result<Connection> {
    let durable = QueueOptions {
        durable: true,
        ..Default::default()
    };
    for number in numbers {
        let name = format!("perf-footprint-{number}");
        match doing {
            Doing::Declare => {
                connection
                    .declare_queue(CHANNEL, &name, durable, Table::empty())
                    .await?;
            }
            Doing::Delete => {
                connection.delete_queue(CHANNEL, &name).await?;
            }
        }
    }
    Ok(connection)
}

/// Resident memory once it has stopped changing.
pub(crate) async fn settled_rss(process: Process) -> anyhow::Result<u64> {
    let began = Instant::now();
    let (mut last, mut agreeing) = (process.usage()?.rss_bytes, 1);
    while agreeing < LOOKS && began.elapsed() < SETTLE_MAX {
        tokio::time::sleep(LOOK).await;
        let rss = process.usage()?.rss_bytes;
        if rss.abs_diff(last) <= NOISE_MAX {
            agreeing += 1;
        } else {
            (last, agreeing) = (rss, 1);
        }
    }
    Ok(process.usage()?.rss_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_queue_has_one_declarer() {
        for count in [1, 49, 50, 99, 100_000] {
            let numbers: Vec<u32> = (0..DECLARERS)
                .flat_map(|index| share(count, index))
                .collect();
            assert_eq!(numbers, (0..count).collect::<Vec<u32>>());
        }
    }

    #[test]
    fn memory_is_divided_among_what_took_it() {
        assert_eq!(each(1_000, 3_000, 4), 500.0);
        assert_eq!(each(3_000, 1_000, 4), 0.0);
    }
}
