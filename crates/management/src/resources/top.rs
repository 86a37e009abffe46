//! What keeps the node busy, at the paths of the plugin rabbitmq_top: threads in the place of Erlang's processes.
//!
//! A thread's `reductions` are microseconds of a processor since its start, and `reduction_delta` how many of them it used in each
//! second since somebody last asked. There are no tables of ETS.

use super::{nodes, plugins};
use crate::call::{Call, Outcome};
use crate::error::ApiError;
use crate::json::{Json, Object, object};
use node::ThreadFigures;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Threads that are shown where a request does not say how many.
const ROWS: usize = 20;
/// What is measured where nobody has asked lately.
const SHORT: Duration = Duration::from_millis(200);
/// When somebody has asked lately.
const LATELY: Duration = Duration::from_secs(60);

/// What each thread had used of processors.
pub(crate) struct ThreadSample {
    at: Instant,
    used: HashMap<u32, Duration>,
}

impl ThreadSample {
    fn new(threads: &[ThreadFigures]) -> Self {
        let used = threads
            .iter()
            .map(|thread| (thread.id, thread.processor_time));
        Self {
            at: Instant::now(),
            used: used.collect(),
        }
    }
}

/// What threads of a name do.
fn purpose(name: &str) -> &'static str {
    match name.trim_end_matches(|c: char| c.is_ascii_digit()) {
        "shard-" => "connections and queues",
        "wal" => "writes and syncs the log",
        "mover" => "moves live messages out of full log files",
        "reader" => "reads cold messages",
        "monitor" => "memory and disk alarms",
        "metadata-snapsh" | "metadata-snapshot" => "writes a snapshot of the metadata",
        "metadata-change" => "prepares a large change of the metadata",
        "edge" => "PROXY headers and TLS handshakes",
        "management" => "HTTP API",
        "metrics" => "answers Prometheus",
        "control" => "control socket",
        "warren" | "rabbitmq-server" => "listeners, signals, shutdown",
        _ => "",
    }
}

/// A thread with what it uses of processors, in microseconds a second.
struct Row {
    thread: ThreadFigures,
    rate: u64,
}

impl Row {
    fn item(&self) -> Object {
        let Self { thread, rate } = self;
        object! {
            "pid" => thread.id.to_string(),
            "name" => object! { "name" => thread.name.clone(), "type" => "thread", "supertype" => purpose(&thread.name) },
            "buffer_len" => -1_i64,
            "reduction_delta" => *rate,
            "memory" => 0_u64,
            "message_queue_len" => 0_u64,
            "reductions" => microseconds(thread.processor_time),
            "status" => if thread.is_running { "running" } else { "waiting" },
        }
    }
}

fn microseconds(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

async fn rows(call: &Call) -> Vec<Row> {
    let lately = |sample: &ThreadSample| (SHORT..LATELY).contains(&sample.at.elapsed());
    let before = call.state.threads_before.lock().take().filter(lately);
    let before = match before {
        Some(before) => before,
        None => {
            let sample = ThreadSample::new(&ThreadFigures::all());
            tokio::time::sleep(SHORT).await;
            sample
        }
    };
    let threads = ThreadFigures::all();
    let milliseconds = before.at.elapsed().as_millis().max(1);
    *call.state.threads_before.lock() = Some(ThreadSample::new(&threads));
    let rows = threads.into_iter().map(|thread| {
        let used = before.used.get(&thread.id).copied().unwrap_or_default();
        let used = thread.processor_time.saturating_sub(used);
        let rate = used.as_micros() * 1_000 / milliseconds;
        Row {
            rate: u64::try_from(rate).unwrap_or(u64::MAX),
            thread,
        }
    });
    rows.collect()
}

/// Checks that the plugin is enabled.
///
/// # Errors
/// It is not: there is no such path.
fn expect_enabled(call: &Call) -> Result<(), ApiError> {
    let names = plugins::enabled_names(&call.state).unwrap_or_default();
    if names.iter().any(|name| name == plugins::TOP) {
        Ok(())
    } else {
        Err(ApiError::NoObject)
    }
}

/// How many rows a request wants.
fn row_count(call: &Call) -> usize {
    let wanted = call.query.get("row_count");
    wanted.and_then(|count| count.parse().ok()).unwrap_or(ROWS)
}

pub(crate) async fn threads(call: Call) -> Outcome {
    expect_enabled(&call)?;
    nodes::expect_node(&call)?;
    let mut rows = rows(&call).await;
    match call.query.get("sort") {
        Some("reductions") => rows.sort_by_key(|row| row.thread.processor_time),
        Some("status") => rows.sort_by_key(|row| !row.thread.is_running),
        Some("reduction_delta") | None => rows.sort_by_key(|row| row.rate),
        // All the others are the same for all.
        Some(_) => {}
    }
    if !call.query.is_true("sort_reverse") {
        rows.reverse();
    }
    rows.truncate(row_count(&call));
    let shown: Vec<Object> = rows.iter().map(Row::item).collect();
    Ok(object! {
        "node" => call.state.node_name(),
        "row_count" => row_count(&call),
        "processes" => shown,
    }
    .into())
}

pub(crate) async fn tables(call: Call) -> Outcome {
    expect_enabled(&call)?;
    nodes::expect_node(&call)?;
    Ok(object! {
        "node" => call.state.node_name(),
        "row_count" => row_count(&call),
        "ets_tables" => Json::List(Vec::new()),
    }
    .into())
}

pub(crate) async fn thread(call: Call) -> Outcome {
    expect_enabled(&call)?;
    let rows = rows(&call).await;
    let found = rows
        .iter()
        .find(|row| *call.parameter(0) == *row.thread.id.to_string());
    Ok(found.ok_or(ApiError::NoObject)?.item().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_known_what_threads_are_for() {
        for name in ["shard-0", "shard-12", "wal", "control", "metadata-snapsh"] {
            assert_ne!(purpose(name), "", "{name}");
        }
        assert_eq!(purpose("other"), "");
    }
}
