//! One trace while it runs: a consumer of an exclusive queue that writes what it is given.
//!
//! The queue has limits ([`QUEUE_LENGTH_MAX`], [`QUEUE_BYTES_MAX`]): when the disk is slower than the traced messages come, the oldest
//! copies are dropped, counted, and the log says so. It decides nothing about which messages are copied.

use super::file::TraceFile;
use super::{Format, Trace, record};
use crate::amqp::{self, Amqp, CHANNEL, Received};
use crate::error::ApiError;
use crate::state::State;
use base::{Name, QueueRef};
use broker::auth::Principal;
use broker::value::{Arguments, IntKind, Value};
use broker::vhost::TRACE_EXCHANGE;
use codec_amqp091::{Table, basic, queue};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::oneshot;

/// Copies that wait to be written.
const QUEUE_LENGTH_MAX: i64 = 100_000;
/// Bytes of their bodies.
const QUEUE_BYTES_MAX: i64 = 64 << 20;
/// Records that are written at once.
const RECORDS_MAX: usize = 100;
/// Bytes of them, after which no more is added.
const RECORDS_BYTES_MAX: usize = 1 << 20;
/// Copies that are on their way to this consumer.
const PREFETCH_COUNT: u16 = 200;
/// How often the queue is asked, at most, how much it has dropped.
const ASK_INTERVAL_S: u64 = 1;

pub(super) struct Tracer {
    amqp: Amqp,
    vhost: Name,
    name: Name,
    queue: Name,
    queue_ref: Option<QueueRef>,
    format: Format,
    payload_bytes_max: Option<usize>,
    file: TraceFile,
    records: Records,
    lost: Losses,
    asked: Instant,
}

/// What is not written yet.
#[derive(Default)]
struct Records {
    bytes: Vec<u8>,
    count: usize,
    /// The tag of the last of them.
    last: u64,
}

/// Records that nobody will read.
#[derive(Default)]
struct Losses {
    /// That the queue has dropped, and those below.
    total: Arc<AtomicU64>,
    /// That could not be written.
    unwritten: u64,
    said: u64,
}

impl Tracer {
    /// Makes the queue and opens the file.
    ///
    /// # Errors
    /// What is in the way.
    pub(super) async fn open(
        state: &State,
        trace: &Trace,
        principal: Principal,
    ) -> Result<Self, String> {
        let directory = &state.node.settings().trace_files.directory;
        let file = TraceFile::open(directory, &trace.name)
            .map_err(|error| format!("{}: {error}", directory.display()))?;
        let (amqp, queue) = consume(state, trace, principal).await.map_err(words)?;
        let metadata = state.node.metadata();
        let vhost = metadata.vhost(&trace.vhost);
        let record = vhost.and_then(|vhost| vhost.queue(&queue));
        tracing::info!(
            file = %file.path().display(),
            format = trace.format.as_str(),
            vhost = %trace.vhost,
            "a trace has begun"
        );
        Ok(Self {
            amqp,
            vhost: trace.vhost.clone(),
            name: trace.name.clone(),
            queue_ref: record.map(|record| record.queue),
            queue,
            format: trace.format,
            payload_bytes_max: trace.payload_bytes_max,
            file,
            records: Records::default(),
            lost: Losses::default(),
            asked: Instant::now(),
        })
    }

    /// The name of its queue.
    pub(super) fn queue(&self) -> &Name {
        &self.queue
    }

    /// How many records are lost.
    pub(super) fn lost(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.lost.total)
    }

    /// Writes until it is told to stop.
    ///
    /// # Errors
    /// Why it ends by itself.
    pub(super) async fn run(
        mut self,
        state: &State,
        mut stopped: oneshot::Receiver<()>,
    ) -> Result<(), String> {
        loop {
            let message = tokio::select! {
                biased;
                _ = &mut stopped => return Ok(()),
                message = self.amqp.delivery() => message.map_err(words)?,
            };
            let records = &mut self.records;
            records.last = message.delivery_tag;
            let (format, max) = (self.format, self.payload_bytes_max);
            if record::write(&mut records.bytes, format, &message, max, wall_ms()) {
                records.count += 1;
            }
            let is_full = records.count >= RECORDS_MAX || records.bytes.len() >= RECORDS_BYTES_MAX;
            if is_full || !self.amqp.has_more() {
                self.flush();
            }
            if is_full && self.asked.elapsed().as_secs() >= ASK_INTERVAL_S {
                self.ask_queue(state).await;
            }
        }
    }

    /// Writes what there is to write, and lets the queue forget it.
    fn flush(&mut self) {
        let Records { bytes, count, last } = std::mem::take(&mut self.records);
        if count > 0
            && let Err(error) = self.file.write(&bytes)
        {
            let file = self.file.path().display();
            tracing::debug!(%file, %error, "a trace cannot write");
            self.lost.unwritten += count as u64;
            self.lost.total.fetch_add(count as u64, Ordering::Relaxed);
            self.say_lost(&error.to_string());
        }
        if last > 0 {
            self.amqp.tell(|out| {
                basic::Ack {
                    delivery_tag: last,
                    multiple: true,
                }
                .encode(CHANNEL, out);
            });
        }
    }

    /// Counts what the queue has dropped.
    async fn ask_queue(&mut self, state: &State) {
        self.asked = Instant::now();
        let Some(queue) = self.queue_ref else { return };
        let figures = state.node.queue_figures(&[queue]).await;
        let dropped: u64 = figures.iter().map(|own| own.counters.max_length).sum();
        let total = dropped + self.lost.unwritten;
        self.lost.total.store(total, Ordering::Relaxed);
        self.say_lost("it is slower than the messages that are traced");
    }

    /// Says that records are lost each time they have doubled.
    fn say_lost(&mut self, reason: &str) {
        let total = self.lost.total.load(Ordering::Relaxed);
        if total > 2 * self.lost.said {
            self.lost.said = total;
            tracing::warn!(vhost = %self.vhost, trace = %self.name, total, reason, "records of a trace are lost");
        }
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        self.flush();
        tracing::info!(file = %self.file.path().display(), "a trace has ended");
    }
}

/// Declares, binds and consumes.
async fn consume(
    state: &State,
    trace: &Trace,
    principal: Principal,
) -> Result<(Amqp, Name), ApiError> {
    let mut amqp = Amqp::connect(state, principal, trace.vhost.clone()).await?;
    let limit = |value| Value::Int(IntKind::I64, value);
    let arguments = Arguments::from_pairs([
        ("x-max-length".into(), limit(QUEUE_LENGTH_MAX)),
        ("x-max-length-bytes".into(), limit(QUEUE_BYTES_MAX)),
        ("x-queue-type".into(), broker::event::text("classic")),
    ]);
    let table = amqp::table(&arguments);
    let declare = |out: &mut Vec<u8>| {
        queue::Declare {
            exclusive: true,
            arguments: Table::new(&table),
            ..queue::Declare::default()
        }
        .encode(CHANNEL, out);
    };
    let Received::Declared(queue) = amqp.ask(declare).await? else {
        return Err(ApiError::bad("no queue"));
    };
    // No name means the queue that was just declared.
    amqp.ask(|out| {
        queue::Bind {
            exchange: TRACE_EXCHANGE.as_bytes(),
            routing_key: trace.pattern.as_bytes(),
            ..queue::Bind::default()
        }
        .encode(CHANNEL, out);
    })
    .await?;
    amqp.ask(|out| {
        basic::Qos {
            prefetch_count: PREFETCH_COUNT,
            ..basic::Qos::default()
        }
        .encode(CHANNEL, out);
    })
    .await?;
    amqp.ask(|out| basic::Consume::default().encode(CHANNEL, out))
        .await?;
    Ok((amqp, queue))
}

fn words(error: ApiError) -> String {
    match error.body() {
        Some(body) => serde_json::to_string(&body).expect("JSON values can be written"),
        None => "refused".to_owned(),
    }
}

fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as u64)
}
