//! Very many bindings, queues and timers: how long an operation on them takes, and how long somebody waits meanwhile who has
//! nothing to do with it.
//!
//! Each part has a virtual host of its own, which goes at its end. Brokers take turns part by part. A broker that needs too long
//! to declare, bind or fill as much as a row is called after goes on with what it has, and the table says how much that is.

mod api;
pub(crate) mod bench;
mod bystander;

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::time::{Duration, Instant};

use anyhow::Context;
use client_amqp091::codec::{BasicProperties, Table, TableWriter, Value, queue};
use serde::Serialize;

use crate::args::{Broker, ScaleArgs};
use crate::output::{self, TextOutput};
use bench::{Bench, Observed};

/// The only channel of each connection.
const CHANNEL: u16 = 1;
/// Longest wait of a bystander that is meant to be possible, in milliseconds.
const LONGEST_WAIT_GOAL_MS: f64 = 250.0;
/// Queues to which the bindings of a topic or headers exchange lead.
const TARGETS: u32 = 100;
/// How long messages are routed for, once alone and once beside a bystander.
const ROUTING: Duration = Duration::from_secs(2);
/// Publishes of a row that fans out one message.
const FAN_OUTS: u32 = 5;
/// Publishes at once of the row that fans out many small ones.
const FAN_OUTS_AT_ONCE: u32 = 50;
/// Longest wait for what must happen.
const PATIENCE: Duration = Duration::from_secs(120);
/// Delayed messages become due so long after the first of them was published, in milliseconds.
const DELAY_MS: u64 = 8_000;

const PERSISTENT: BasicProperties<'static> = BasicProperties {
    delivery_mode: Some(2),
    ..EMPTY
};
const EMPTY: BasicProperties<'static> = BasicProperties {
    content_type: None,
    content_encoding: None,
    headers: None,
    delivery_mode: None,
    priority: None,
    correlation_id: None,
    reply_to: None,
    expiration: None,
    message_id: None,
    timestamp: None,
    message_type: None,
    user_id: None,
    app_id: None,
    cluster_id: None,
};

/// What is set up together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Queues,
    Topic,
    Headers,
    Half,
    Expiry,
    Delay,
}

const PARTS: [(&str, Part); 6] = [
    ("topic", Part::Topic),
    ("headers", Part::Headers),
    ("queues", Part::Queues),
    ("half", Part::Half),
    ("expiry", Part::Expiry),
    ("delay", Part::Delay),
];

/// What a row's brokers are compared by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
enum Figure {
    /// Time of the whole, for each of the things it is about.
    Time,
    /// CPU time of the broker for each message.
    Cpu,
}

/// One row of the table, of one broker.
#[derive(Clone, Debug, Serialize)]
struct Row {
    what: &'static str,
    broker: String,
    /// How many things there were, and what they were.
    count: u32,
    things: &'static str,
    figure: Figure,
    /// In milliseconds; of [`Figure::Cpu`] for each message.
    value_ms: f64,
    /// The bystander's longest round, in milliseconds.
    longest_ms: f64,
    /// Given to the disk to write, where that is what the row is about.
    written_bytes: Option<u64>,
    /// What is to be said beside it.
    remark: Option<&'static str>,
}

/// Everything that was measured.
#[derive(Debug, Default, Serialize)]
struct Report {
    rows: Vec<Row>,
    /// Parts that failed: part, broker, why.
    failures: Vec<(&'static str, String, String)>,
}

/// Runs `warren perf scale` and prints Markdown.
///
/// # Errors
/// A part does not exist. A part that fails on a broker is shown as such.
pub(crate) fn run(args: &ScaleArgs) -> anyhow::Result<()> {
    let parts = chosen_parts(&args.parts)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut report = Report::default();
    for (name, part) in parts {
        for (broker, http) in &args.broker {
            TextOutput::Error.line(&format!("{name}, {}", broker.name));
            let mut rows = Rows {
                broker,
                args,
                rows: Vec::new(),
            };
            if let Err(error) = runtime.block_on(rows.measure(part, http)) {
                let failure = (name, broker.name.clone(), format!("{error:#}"));
                TextOutput::Error.line(&format!("failed: {}", failure.2));
                report.failures.push(failure);
            }
            report.rows.append(&mut rows.rows);
        }
    }
    write!(io::stdout(), "{}", markdown(&report)).context("print the table")?;
    match &args.json {
        Some(target) => output::write_json(target, &report),
        None => Ok(()),
    }
}

fn chosen_parts(names: &[String]) -> anyhow::Result<Vec<(&'static str, Part)>> {
    if names.is_empty() {
        return Ok(PARTS.to_vec());
    }
    let find = |name: &String| {
        let part = PARTS.into_iter().find(|(known, _)| known == name);
        part.with_context(|| {
            let known = PARTS.map(|(known, _)| known).join(", ");
            format!("no part {name}; there are {known}")
        })
    };
    names.iter().map(find).collect()
}

/// Measures the rows of one broker.
struct Rows<'a> {
    broker: &'a Broker,
    args: &'a ScaleArgs,
    rows: Vec<Row>,
}

impl Rows<'_> {
    async fn measure(&mut self, part: Part, http: &str) -> anyhow::Result<()> {
        let mut bench = Bench::open(self.broker, http).await?;
        match part {
            Part::Queues => self.queues(&mut bench).await?,
            Part::Topic => self.topic(&mut bench).await?,
            Part::Headers => self.headers(&mut bench).await?,
            Part::Half => self.half(&mut bench).await?,
            Part::Expiry => self.expiry(&mut bench).await?,
            Part::Delay => self.delay(&mut bench).await?,
        }
        bench.rest().await?;
        bench.close().await
    }

    /// How much of something there is to be.
    fn full(&self, count: u32) -> u32 {
        let share = u64::from(count) * u64::from(self.args.percent) / 100;
        u32::try_from(share).unwrap_or(u32::MAX).max(TARGETS)
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(self.args.patience)
    }

    /// Adds a row about an operation that was done `times` times.
    fn timed(&mut self, what: &'static str, count: u32, things: &'static str, seen: Observed) {
        self.timed_each(what, count, things, seen, 1);
    }

    fn timed_each(
        &mut self,
        what: &'static str,
        count: u32,
        things: &'static str,
        seen: Observed,
        times: u32,
    ) -> &mut Row {
        self.rows.push(Row {
            what,
            broker: self.broker.name.clone(),
            count,
            things,
            figure: Figure::Time,
            value_ms: milliseconds(seen.time) / f64::from(times),
            longest_ms: milliseconds(seen.longest),
            written_bytes: None,
            remark: None,
        });
        let row = self.rows.last_mut().expect("it was pushed");
        TextOutput::Error.line(&format!(
            "  {what}: {:.1} ms, {} {things}, longest wait {:.1} ms",
            row.value_ms, row.count, row.longest_ms
        ));
        row
    }

    /// Routes messages for a while, alone and then beside a bystander; `publish` appends number N.
    async fn routed(
        &mut self,
        bench: &mut Bench,
        what: &'static str,
        bindings: u32,
        publish: impl Fn(&mut Bench, u32),
    ) -> anyhow::Result<()> {
        let route = async |bench: &mut Bench| {
            let began = Instant::now();
            // A prime, so that neighbours do not follow each other.
            let number = |count: u64| (count * 7919 % u64::from(bindings)) as u32;
            bench
                .publish_while(|bench, count| {
                    publish(bench, number(count));
                    // The clock is not looked at for each message.
                    count % 64 != 63 || began.elapsed() < ROUTING
                })
                .await
        };
        bench.rest().await?;
        let before = bench.usage()?.cpu;
        let count = route(bench).await?;
        let cpu = bench.usage()?.cpu.saturating_sub(before);
        let seen = bench
            .observe(async |bench| route(bench).await.map(drop))
            .await?;
        let row = self.timed_each(what, bindings, "bindings", seen, 1);
        row.figure = Figure::Cpu;
        row.value_ms = milliseconds(cpu) / count as f64;
        Ok(())
    }

    async fn topic(&mut self, bench: &mut Bench) -> anyhow::Result<()> {
        bench
            .declare_exchange("topic", "topic", Table::empty())
            .await?;
        declare_targets(bench).await?;
        let (full, patience) = (self.full(100_000), self.patience());
        let mut bound = 0;
        let bind = |number: u32, out: &mut Vec<u8>| {
            let key = format!("device.{number}.*");
            put_bind(out, &target(number), "topic", &key, Table::empty());
        };
        let seen = bench
            .observe(async |bench| {
                bound = bench.in_bulk(full, patience, bind).await?;
                Ok(())
            })
            .await?;
        self.timed("bind queues to a topic exchange", bound, "bindings", seen);
        let publish = |bench: &mut Bench, number: u32| {
            bench.send("topic", &format!("device.{number}.up"), &EMPTY, &[b'x'; 16]);
        };
        self.routed(
            bench,
            "route through the topic exchange, CPU/message",
            bound,
            publish,
        )
        .await
    }

    async fn headers(&mut self, bench: &mut Bench) -> anyhow::Result<()> {
        bench
            .declare_exchange("headers", "headers", Table::empty())
            .await?;
        declare_targets(bench).await?;
        let (full, patience) = (self.full(10_000), self.patience());
        let mut bound = 0;
        let bind = |number: u32, out: &mut Vec<u8>| {
            let mut arguments = device(number);
            TableWriter::new(&mut arguments).field(b"x-match", &Value::LongStr(b"all"));
            put_bind(out, &target(number), "headers", "", Table::new(&arguments));
        };
        let seen = bench
            .observe(async |bench| {
                bound = bench.in_bulk(full, patience, bind).await?;
                Ok(())
            })
            .await?;
        self.timed("bind queues to a headers exchange", bound, "bindings", seen);
        let publish = |bench: &mut Bench, number: u32| {
            let headers = device(number);
            let properties = BasicProperties {
                headers: Some(Table::new(&headers)),
                ..EMPTY
            };
            bench.send("headers", "", &properties, &[b'x'; 16]);
        };
        let what = "route through the headers exchange, CPU/message";
        self.routed(bench, what, bound, publish).await
    }

    async fn queues(&mut self, bench: &mut Bench) -> anyhow::Result<()> {
        let (full, patience) = (self.full(100_000), self.patience());
        let mut count = 0;
        let seen = bench
            .observe(async |bench| {
                count = bench.declare_queues("q", full, patience).await?;
                Ok(())
            })
            .await?;
        self.timed("declare durable queues", count, "queues", seen);

        let policy = "/policies/perf-scale/all";
        let seen = bench
            .observe(async |bench| {
                let definition =
                    r#"{"pattern":"^q","apply-to":"queues","definition":{"max-length":1000000}}"#;
                bench.api.put(policy, definition).await
            })
            .await?;
        self.timed(
            "set a policy on all of them, until it is answered",
            count,
            "queues",
            seen,
        );
        let seen = bench
            .observe(async |bench| bench.api.delete(policy).await)
            .await?;
        self.timed("take it away, until it is answered", count, "queues", seen);

        let fanned = count.min(self.full(10_000));
        bench
            .declare_exchange("some", "fanout", Table::empty())
            .await?;
        bench
            .in_bulk(fanned, PATIENCE, bind_to("some", "q", u32::MAX))
            .await?;
        self.fan_out(bench, fanned).await?;

        bench
            .declare_exchange("all", "fanout", Table::empty())
            .await?;
        let bound = bench
            .in_bulk(count, patience, bind_to("all", "q", u32::MAX))
            .await?;
        let seen = bench
            .observe(async |bench| Ok(bench.connection.delete_exchange(CHANNEL, "all").await?))
            .await?;
        self.timed(
            "delete an exchange to which they are bound",
            bound,
            "queues",
            seen,
        );
        Ok(())
    }

    async fn fan_out(&mut self, bench: &mut Bench, queues: u32) -> anyhow::Result<()> {
        // The first one starts what was not used before.
        bench.send("some", "", &PERSISTENT, b"first");
        bench.confirmed().await?;
        let rows = [
            (
                "publish 1 KiB to all of these until confirmed, transient",
                EMPTY,
            ),
            ("the same, persistent", PERSISTENT),
        ];
        for (what, properties) in rows {
            let seen = bench
                .observe(async |bench| {
                    for _ in 0..FAN_OUTS {
                        bench.send("some", "", &properties, &[b'x'; 1024]);
                        bench.confirmed().await?;
                    }
                    Ok(())
                })
                .await?;
            let row = self.timed_each(what, queues, "queues", seen, FAN_OUTS);
            if properties.delivery_mode.is_some() {
                row.written_bytes = Some(seen.written_bytes / u64::from(FAN_OUTS));
            }
        }
        let seen = bench
            .observe(async |bench| {
                for _ in 0..FAN_OUTS_AT_ONCE {
                    bench.send("some", "", &EMPTY, &[b'x'; 16]);
                }
                bench.confirmed().await
            })
            .await?;
        let what = "publish 50 times 16 B to all of these at once";
        self.timed(what, queues, "queues", seen);
        Ok(())
    }

    async fn half(&mut self, bench: &mut Bench) -> anyhow::Result<()> {
        bench
            .declare_exchange("halves", "direct", Table::empty())
            .await?;
        for name in ["half0", "half1"] {
            bench.declare(name, Table::empty()).await?;
        }
        let bound = bench
            .in_bulk(
                self.full(200_000),
                self.patience(),
                bind_to("halves", "half", 2),
            )
            .await?;
        let seen = bench
            .observe(async |bench| {
                bench.connection.delete_queue(CHANNEL, "half0").await?;
                Ok(())
            })
            .await?;
        let what = "delete a queue that has half of an exchange's bindings";
        self.timed(what, bound, "bindings", seen);
        Ok(())
    }

    async fn expiry(&mut self, bench: &mut Bench) -> anyhow::Result<()> {
        bench.declare("busy", Table::empty()).await?;
        bench.send("", "busy", &EMPTY, b"first");
        // They have all expired when the first, which keeps them, is taken away.
        let expiring = BasicProperties {
            expiration: Some(b"1"),
            ..EMPTY
        };
        let (full, deadline) = (self.full(1_000_000), Instant::now() + self.patience());
        let count = bench
            .publish_while(|bench, number| {
                bench.send("", "busy", &expiring, &[b'x'; 16]);
                let is_late = number % 64 == 0 && Instant::now() > deadline;
                number + 1 < u64::from(full) && !is_late
            })
            .await?;
        let seen = bench
            .observe(async |bench| {
                bench.connection.get(CHANNEL, "busy", true).await?;
                bench.shrunk_to("busy", 0, PATIENCE).await
            })
            .await?;
        let what = "messages of a queue expire at once";
        self.timed(what, count as u32, "messages", seen);
        Ok(())
    }

    /// Messages that become due at the same time, in the way that the broker has: an exchange that delays, or a queue without
    /// consumers from which they are dead-lettered when they expire.
    async fn delay(&mut self, bench: &mut Bench) -> anyhow::Result<()> {
        bench.declare("due", Table::empty()).await?;
        let delays = self.declares_delaying_exchange(bench).await?;
        if !delays {
            let mut arguments = Vec::new();
            let mut table = TableWriter::new(&mut arguments);
            table.field(b"x-dead-letter-exchange", &Value::LongStr(b""));
            table.field(b"x-dead-letter-routing-key", &Value::LongStr(b"due"));
            bench.declare("waiting", Table::new(&arguments)).await?;
        }
        let (full, mut sent, mut late) = (self.full(100_000), 0, Duration::ZERO);
        let seen = bench
            .observe(async |bench| {
                let due = Instant::now() + Duration::from_millis(DELAY_MS);
                sent = bench
                    .publish_while(|bench, number| {
                        send_delayed(bench, due, delays);
                        number + 1 < u64::from(full) && Instant::now() < due
                    })
                    .await?;
                bench.grown_to("due", sent as u32, PATIENCE).await?;
                late = Instant::now().saturating_duration_since(due);
                Ok(())
            })
            .await?;
        let seen = Observed { time: late, ..seen };
        let what = "delayed messages become due at once";
        let row = self.timed_each(what, sent as u32, "messages", seen, 1);
        if !delays {
            row.remark =
                Some("expired from a queue and dead-lettered, for want of a delaying exchange");
        }
        Ok(())
    }

    /// A broker that does not know the type closes the connection.
    async fn declares_delaying_exchange(&self, bench: &mut Bench) -> anyhow::Result<bool> {
        let mut other = bench::connect(&bench.uri).await?;
        std::mem::swap(&mut other, &mut bench.connection);
        let mut arguments = Vec::new();
        TableWriter::new(&mut arguments).field(b"x-delayed-type", &Value::LongStr(b"fanout"));
        let declared = bench
            .declare_exchange("later", "x-delayed-message", Table::new(&arguments))
            .await;
        std::mem::swap(&mut other, &mut bench.connection);
        if declared.is_ok() {
            let bind = queue::Bind {
                queue: b"due",
                exchange: b"later",
                ..Default::default()
            };
            bench.connection.bind_queue(CHANNEL, &bind).await?;
        }
        Ok(declared.is_ok())
    }
}

fn send_delayed(bench: &mut Bench, due: Instant, delays: bool) {
    let left_ms = milliseconds(due.saturating_duration_since(Instant::now())).max(1.0) as i64;
    let mut headers = Vec::new();
    TableWriter::new(&mut headers).field(b"x-delay", &Value::I64(left_ms));
    let expiration = left_ms.to_string();
    let mut properties = PERSISTENT;
    if delays {
        properties.headers = Some(Table::new(&headers));
        bench.send("later", "", &properties, &[b'x'; 16]);
    } else {
        properties.expiration = Some(expiration.as_bytes());
        bench.send("", "waiting", &properties, &[b'x'; 16]);
    }
}

async fn declare_targets(bench: &mut Bench) -> anyhow::Result<()> {
    // What is routed is not the row's business further on.
    let mut arguments = Vec::new();
    TableWriter::new(&mut arguments).field(b"x-max-length", &Value::I64(10));
    for number in 0..TARGETS {
        bench
            .declare(&target(number), Table::new(&arguments))
            .await?;
    }
    Ok(())
}

fn target(number: u32) -> String {
    format!("target{}", number % TARGETS)
}

/// The headers of a message and, beside `x-match`, the arguments of its binding.
fn device(number: u32) -> Vec<u8> {
    let mut table = Vec::new();
    let mut writer = TableWriter::new(&mut table);
    writer.field(b"device", &Value::I64(number.into()));
    writer.field(b"state", &Value::LongStr(b"up"));
    table
}

/// Binds number N, with N as its key, to the queue `PREFIX` with the rest of N by `queues`.
fn bind_to(
    exchange: &'static str,
    prefix: &'static str,
    queues: u32,
) -> impl Fn(u32, &mut Vec<u8>) + Clone + Send + Sync {
    move |number, out| {
        let queue = format!("{prefix}{}", number % queues);
        put_bind(out, &queue, exchange, &number.to_string(), Table::empty());
    }
}

/// Appends a binding that wants no answer.
fn put_bind(out: &mut Vec<u8>, queue: &str, exchange: &str, key: &str, arguments: Table<'_>) {
    let bind = queue::Bind {
        queue: queue.as_bytes(),
        exchange: exchange.as_bytes(),
        routing_key: key.as_bytes(),
        no_wait: true,
        arguments,
        ..Default::default()
    };
    bind.encode(CHANNEL, out);
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// The section of `docs/performance.md`.
fn markdown(report: &Report) -> String {
    let mut text = String::new();
    write_markdown(&mut text, report).expect("a String takes everything");
    text
}

fn write_markdown(text: &mut String, report: &Report) -> std::fmt::Result {
    writeln!(
        text,
        "Measured with `warren perf scale`; each part begins with an empty virtual host.\n\
         A bystander publishes a message to a queue of its own and consumes it, over and over: its longest round, from the \
         beginning of the operation to {} s after its end, is what others wait.\n\
         A broker that needs too long to set up a row has less in it than its neighbour: the ratio is of the time for each thing, \
         or of CPU/message.\n\
         Bytes are what the broker gave the disk for each publish.\n",
        bench::OBSERVED_AFTER.as_secs()
    )?;
    let first = report.rows.first().map_or("", |row| &row.broker);
    writeln!(
        text,
        "| operation | broker | with | time | to disk | others wait at most | {first}/this |\n|---|---|---|---:|---:|---:|---:|"
    )?;
    let mut whats: Vec<&str> = report.rows.iter().map(|row| row.what).collect();
    let mut seen = std::collections::HashSet::new();
    whats.retain(|what| seen.insert(*what));
    for what in whats {
        let rows: Vec<&Row> = report.rows.iter().filter(|row| row.what == what).collect();
        let base = rows.iter().find(|row| row.broker == first);
        for (index, row) in rows.iter().enumerate() {
            let ratio = base.map_or_else(
                || "–".to_owned(),
                |base| format!("{:.1}", each(base) / each(row)),
            );
            let written = row.written_bytes.map_or_else(|| "–".to_owned(), bytes);
            let what = if index == 0 { what } else { "" };
            let remark = row
                .remark
                .map_or(String::new(), |remark| format!("; {remark}"));
            writeln!(
                text,
                "| {what} | {} | {} {}{remark} | {} | {written} | {} | {ratio} |",
                row.broker,
                grouped(row.count),
                row.things,
                shown(row.value_ms),
                shown(row.longest_ms),
            )?;
        }
    }
    for (part, broker, why) in &report.failures {
        writeln!(text, "\nThe part `{part}` failed on {broker}: {why}")?;
    }
    let Some(last) = report.rows.last() else {
        return Ok(());
    };
    let ours = report.rows.iter().filter(|row| row.broker == last.broker);
    let longest = ours.map(|row| row.longest_ms).fold(0.0, f64::max);
    let verdict = if longest <= LONGEST_WAIT_GOAL_MS {
        "met"
    } else {
        "**not met**"
    };
    writeln!(
        text,
        "\n| goal | found | |\n|---|---:|---|\n\
         | others wait at most {LONGEST_WAIT_GOAL_MS} ms on {}, in every row | {} | {verdict} |",
        last.broker,
        shown(longest),
    )
}

/// What a row costs for each of its things.
fn each(row: &Row) -> f64 {
    match row.figure {
        Figure::Time => row.value_ms / f64::from(row.count.max(1)),
        Figure::Cpu => row.value_ms,
    }
}

fn shown(ms: f64) -> String {
    match ms {
        ms if ms < 1.0 => format!("{:.1} µs", ms * 1e3),
        ms if ms < 1000.0 => format!("{ms:.1} ms"),
        ms => format!("{:.2} s", ms / 1e3),
    }
}

fn bytes(bytes: u64) -> String {
    match bytes as f64 / 1024.0 {
        kib if kib < 1024.0 => format!("{kib:.0} KiB"),
        kib => format!("{:.1} MiB", kib / 1024.0),
    }
}

fn grouped(number: u32) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(broker: &str, count: u32, value_ms: f64, longest_ms: f64) -> Row {
        Row {
            what: "bind",
            broker: broker.to_owned(),
            count,
            things: "bindings",
            figure: Figure::Time,
            value_ms,
            longest_ms,
            written_bytes: None,
            remark: None,
        }
    }

    #[test]
    fn brokers_are_compared_by_the_time_for_each_thing() {
        let report = Report {
            rows: vec![
                row("RabbitMQ", 1_000, 500.0, 900.0),
                row("ours", 100_000, 2_000.0, 20.0),
            ],
            failures: Vec::new(),
        };
        let text = markdown(&report);
        assert!(
            text.contains("| bind | RabbitMQ | 1,000 bindings | 500.0 ms | – | 900.0 ms | 1.0 |")
        );
        assert!(text.contains("|  | ours | 100,000 bindings | 2.00 s | – | 20.0 ms | 25.0 |"));
        assert!(text.contains("on ours, in every row | 20.0 ms | met |"));
    }

    #[test]
    fn a_broker_whose_bystander_waited_too_long_misses_the_goal() {
        let report = Report {
            rows: vec![row("ours", 1, 1.0, 250.5)],
            failures: vec![("topic", "ours".to_owned(), "it ended".to_owned())],
        };
        let text = markdown(&report);
        assert!(text.contains("| 250.5 ms | **not met** |"));
        assert!(text.contains("The part `topic` failed on ours: it ended"));
    }

    #[test]
    fn parts_are_known_by_name() {
        assert_eq!(chosen_parts(&[]).unwrap().len(), PARTS.len());
        assert_eq!(
            chosen_parts(&["delay".to_owned()]).unwrap()[0].1,
            Part::Delay
        );
        assert!(chosen_parts(&["none".to_owned()]).is_err());
    }
}
