//! The management API with very many queues and connections while messages flow: how long its answers take, what they cost, and what
//! they cost the messages.
//!
//! A broker gets its queues and connections once. Then each thing is asked for at rest, for its CPU time, and while messages flow at a
//! fixed rate, for its latency. At the end messages flow as fast as they can, in many short turns with and without somebody who asks
//! once a second. Runs that follow each other are compared, and of what they say the median counts: a machine that is slower for a
//! while, or a run that was disturbed, says little then.

use std::io::{self, Write as _};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use clap::Parser;
use client_amqp091::Connection;
use serde::Serialize;

use crate::args::{Broker, Cli, ManagementArgs};
use crate::footprint::{allow_open_files, settled_rss};
use crate::load;
use crate::output::{self, TextOutput};
use crate::process::Process;
use crate::scale::bench::{Bench, connect};
use crate::summary::{Summary, per};

/// What is asked for, and how much less often than the others.
const QUESTIONS: [(&str, &str, u32); 6] = [
    (
        "a page of queues by messages",
        "/queues?page=1&page_size=100&sort=messages",
        1,
    ),
    ("the overview", "/overview", 1),
    (
        "a page of queues by name, filtered",
        "/queues?page=1&page_size=100&name=9&sort=name",
        1,
    ),
    (
        "a page of connections",
        "/connections?page=1&page_size=100",
        1,
    ),
    ("a page of channels", "/channels?page=1&page_size=100", 1),
    ("all queues", "/queues", 100),
];
/// How many of them have the goal of latency.
const WITH_GOAL: usize = 2;
/// The goal, in milliseconds.
const P99_GOAL_MS: f64 = 50.0;
/// The most that asking may take of the throughput.
const COST_GOAL: f64 = 0.03;
/// The most memory for each queue, beside what it had before anybody asked, in bytes.
const QUEUE_BYTES_GOAL: f64 = 1024.0;
/// Requests of each kind at rest.
const AT_REST: u32 = 20;
/// For so long, at the most, the same is asked at rest.
const AT_REST_MAX: Duration = Duration::from_secs(15);
/// Between the requests of somebody who looks at a page that refreshes itself.
const LOOK: Duration = Duration::from_secs(1);
/// The flow has begun so long before anything is asked.
const FLOW_BEGINS: Duration = Duration::from_secs(2);
/// Seconds of a flow beside what asking takes.
const FLOW_SECONDS_MIN: u64 = 8;
/// What an answer is expected to take, in milliseconds. Where it takes more, less is asked.
const ANSWER_MS: u64 = 15;
/// What is said in front of the tables.
const INTRODUCTION: &str = "\
Measured with `warren perf management`.
Latencies are of questions while messages flow, CPU is of one question while they do not.
In the columns of throughput messages flow as fast as they can, without statistics, with them, and while somebody asks once a second.
A broker that needs too long to set up its queues and connections has fewer.
";
/// How names of queues begin.
const QUEUE_PREFIX: &str = "q";
/// Connections that are opened at once.
const CONNECTING: usize = 32;

/// Answers to one question.
#[derive(Clone, Debug, Serialize)]
struct Row {
    what: &'static str,
    broker: String,
    requests: usize,
    p50_ms: f64,
    p99_ms: f64,
    max_ms: f64,
    /// The broker's CPU time for one, at rest.
    cpu_ms: f64,
    /// Of the last answer, in bytes.
    length: usize,
}

/// What a broker had, and what asking cost it.
#[derive(Clone, Debug, Serialize)]
struct Seen {
    broker: String,
    queues: u32,
    connections: usize,
    /// Memory for each declared queue, with everything, in bytes.
    queue_bytes: f64,
    /// How much more there was for each when everything had been asked for.
    asked_queue_bytes: f64,
    /// What flowed while the API was asked, messages a second.
    flow: f64,
    turns: Vec<Turn>,
}

/// How many messages a second flowed as fast as possible, one run after the other.
#[derive(Clone, Copy, Debug, Serialize)]
struct Turn {
    /// Through the broker that keeps no statistics, if there is one.
    without: Option<f64>,
    alone: f64,
    /// Beside somebody who asks.
    asked: f64,
}

impl Seen {
    /// The median of what the turns say.
    fn median(&self, of: impl Fn(&Turn) -> f64) -> f64 {
        percentile(&self.sorted(of), 50)
    }

    fn sorted(&self, of: impl Fn(&Turn) -> f64) -> Vec<f64> {
        let mut values: Vec<f64> = self.turns.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values
    }

    /// The share of the throughput that asking takes, and between which shares the middle half of the turns is.
    fn cost(&self) -> (f64, [f64; 2]) {
        let costs = self.sorted(|turn| 1.0 - per(turn.asked, turn.alone));
        let of = |percent| percentile(&costs, percent);
        (of(50), [of(25), of(75)])
    }

    /// The throughput without statistics, if that was measured.
    fn without(&self) -> Option<f64> {
        self.turns.first()?.without?;
        Some(self.median(|turn| turn.without.unwrap_or_default()))
    }
}

/// Everything that was measured.
#[derive(Debug, Default, Serialize)]
struct Report {
    rows: Vec<Row>,
    brokers: Vec<Seen>,
    /// Broker and why.
    failures: Vec<(String, String)>,
}

/// Runs `warren perf management` and prints Markdown.
///
/// # Errors
/// The report cannot be written. A broker that fails is shown as such.
pub(crate) fn run(args: &ManagementArgs) -> anyhow::Result<()> {
    allow_open_files();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut report = Report::default();
    for (broker, http) in &args.broker {
        TextOutput::Error.line(&broker.name);
        if let Err(error) = runtime.block_on(measure(broker, http, args, &mut report)) {
            TextOutput::Error.line(&format!("failed: {error:#}"));
            let failure = (broker.name.clone(), format!("{error:#}"));
            report.failures.push(failure);
        }
    }
    write!(io::stdout(), "{}", markdown(&report, args)).context("print the table")?;
    match &args.json {
        Some(target) => output::write_json(target, &report),
        None => Ok(()),
    }
}

async fn measure(
    broker: &Broker,
    http: &str,
    args: &ManagementArgs,
    report: &mut Report,
) -> anyhow::Result<()> {
    let bench = Bench::open(broker, http).await?;
    let process = Process::new(broker.pid);
    let patience = Duration::from_secs(args.patience);
    let before = settled_rss(process).await?;
    let queues = bench
        .declare_queues(QUEUE_PREFIX, args.queues, patience)
        .await?;
    let declared = settled_rss(process).await?;
    TextOutput::Error.line(&format!("  {queues} queues"));
    let connections = open(&bench, args.connections, patience).await?;
    TextOutput::Error.line(&format!("  {} connections", connections.len()));
    let connected = settled_rss(process).await?;
    let costs = at_rest(&bench, process).await?;
    let asked = settled_rss(process).await?;
    let flow = under_flow(broker, &bench, args, &costs, report).await?;
    let turns = throughput(broker, &bench, args).await?;
    let each = |from: u64, to: u64| per(to.saturating_sub(from) as f64, f64::from(queues));
    report.brokers.push(Seen {
        broker: broker.name.clone(),
        queues,
        connections: connections.len(),
        queue_bytes: each(before, declared),
        asked_queue_bytes: each(connected, asked),
        flow,
        turns,
    });
    drop(connections);
    bench.close().await
}

/// Opens connections with a channel each, for as long as `patience` lasts.
async fn open(bench: &Bench, count: u32, patience: Duration) -> anyhow::Result<Vec<Connection>> {
    let deadline = Instant::now() + patience;
    let mut open = Vec::new();
    while open.len() < count as usize && Instant::now() < deadline {
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..CONNECTING.min(count as usize - open.len()) {
            let uri = bench.uri.clone();
            tasks.spawn(async move { connect(&uri).await });
        }
        while let Some(opened) = tasks.join_next().await {
            open.push(opened.context("a connecting task ended")??);
        }
    }
    Ok(open)
}

/// The broker's CPU time for each question, in milliseconds, and the length of the answer.
async fn at_rest(bench: &Bench, process: Process) -> anyhow::Result<Vec<(f64, usize)>> {
    let mut asker = bench.api.connect().await?;
    let mut costs = Vec::new();
    for (what, path, rarer) in QUESTIONS {
        bench.rest().await?;
        let (began, before) = (Instant::now(), process.usage()?.cpu);
        let (mut count, mut length) = (0, 0);
        while count < AT_REST.div_ceil(rarer) && began.elapsed() < AT_REST_MAX {
            length = asker.get(path).await?.1;
            count += 1;
        }
        let cpu = process.usage()?.cpu.saturating_sub(before);
        let cost = milliseconds(cpu) / f64::from(count);
        TextOutput::Error.line(&format!(
            "  {what} at rest: {cost:.1} ms CPU, {length} bytes"
        ));
        costs.push((cost, length));
    }
    Ok(costs)
}

/// Asks for everything while messages flow; returns how fast they did at least.
async fn under_flow(
    broker: &Broker,
    bench: &Bench,
    args: &ManagementArgs,
    costs: &[(f64, usize)],
    report: &mut Report,
) -> anyhow::Result<f64> {
    let mut slowest = f64::INFINITY;
    for ((what, path, rarer), (cpu_ms, length)) in QUESTIONS.into_iter().zip(costs) {
        let requests = args.requests.div_ceil(rarer);
        let asking = u64::from(requests) * (args.pause + ANSWER_MS);
        let seconds = asking / 1000 + FLOW_SECONDS_MIN;
        let flow = Flow::start(&broker.uri, Some(args.rate), seconds)?;
        tokio::time::sleep(FLOW_BEGINS).await;
        let mut asker = bench.api.connect().await?;
        let mut times = Vec::new();
        while times.len() < requests as usize && !flow.is_over() {
            times.push(milliseconds(asker.get(path).await?.0));
            tokio::time::sleep(Duration::from_millis(args.pause)).await;
        }
        slowest = slowest.min(flow.end().await?.received_rate);
        times.sort_by(f64::total_cmp);
        let row = Row {
            what,
            broker: broker.name.clone(),
            requests: times.len(),
            p50_ms: percentile(&times, 50),
            p99_ms: percentile(&times, 99),
            max_ms: percentile(&times, 100),
            cpu_ms: *cpu_ms,
            length: *length,
        };
        TextOutput::Error.line(&format!(
            "  {what}: p50 {:.1} ms, p99 {:.1} ms, at most {:.1} ms",
            row.p50_ms, row.p99_ms, row.max_ms
        ));
        report.rows.push(row);
    }
    Ok(slowest)
}

/// Who is watched while messages flow as fast as they can.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Run {
    Without,
    Alone,
    Asked,
}

/// Messages a second without and with somebody who asks, in turn. Every other turn goes the other way round, so that what changes
/// steadily does not count.
async fn throughput(
    broker: &Broker,
    bench: &Bench,
    args: &ManagementArgs,
) -> anyhow::Result<Vec<Turn>> {
    let is_last = args.broker.last().is_some_and(|(last, _)| last == broker);
    let without = args.without.as_deref().filter(|_| is_last);
    let mut turns = Vec::new();
    for number in 0..args.turns {
        let mut runs = [Run::Without, Run::Alone, Run::Asked];
        if number % 2 == 1 {
            runs.reverse();
        }
        let mut turn = Turn {
            without: None,
            alone: 0.0,
            asked: 0.0,
        };
        for run in runs {
            match run {
                Run::Without => {
                    if let Some(uri) = without {
                        let flow = Flow::start(uri, None, args.time)?;
                        turn.without = Some(flow.end().await?.received_rate);
                    }
                }
                Run::Alone => {
                    let flow = Flow::start(&broker.uri, None, args.time)?;
                    turn.alone = flow.end().await?.received_rate;
                }
                Run::Asked => {
                    let flow = Flow::start(&broker.uri, None, args.time)?;
                    ask_during(&flow, bench).await?;
                    turn.asked = flow.end().await?.received_rate;
                }
            }
        }
        TextOutput::Error.line(&format!(
            "  {:.0} messages/s, {:.0} while asked",
            turn.alone, turn.asked
        ));
        turns.push(turn);
    }
    Ok(turns)
}

/// Asks as a page does that refreshes itself.
async fn ask_during(flow: &Flow, bench: &Bench) -> anyhow::Result<()> {
    let mut asker = bench.api.connect().await?;
    while !flow.is_over() {
        for (_, path, _) in QUESTIONS.iter().take(WITH_GOAL) {
            asker.get(path).await?;
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

/// Messages that flow through a queue, from a thread of its own.
struct Flow(JoinHandle<anyhow::Result<Summary>>);

impl Flow {
    /// With this rate, or as fast as possible.
    fn start(uri: &str, rate: Option<u32>, seconds: u64) -> anyhow::Result<Self> {
        let (seconds, rate) = (seconds.to_string(), rate.map(|rate| rate.to_string()));
        let mut words = vec!["perf", "-s", "16", "-a", "--warmup", "1", "-z", &seconds];
        words.extend(["--uri", uri]);
        words.extend(rate.iter().flat_map(|rate| ["-r", rate.as_str()]));
        let load = Cli::try_parse_from(words)?.load;
        let run = move || load::run(load, &mut |_| {});
        Ok(Self(
            std::thread::Builder::new()
                .name("flow".to_owned())
                .spawn(run)?,
        ))
    }

    fn is_over(&self) -> bool {
        self.0.is_finished()
    }

    /// Waits for its end.
    async fn end(self) -> anyhow::Result<Summary> {
        let joined = tokio::task::spawn_blocking(move || self.0.join()).await?;
        joined.map_err(|_| anyhow!("the flow's thread panicked"))?
    }
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// Of ascending values; 0 if there are none.
fn percentile(sorted: &[f64], percent: usize) -> f64 {
    let place = (sorted.len() * percent).div_ceil(100).max(1) - 1;
    sorted.get(place).copied().unwrap_or(0.0)
}

fn markdown(report: &Report, args: &ManagementArgs) -> String {
    let mut text = String::new();
    let first = args.broker.first().map_or("", |(broker, _)| &broker.name);
    let mut line = |line: String| {
        text.push_str(&line);
        text.push('\n');
    };
    line(INTRODUCTION.to_owned());
    line(format!(
        "| question | broker | requests | p50 | p99 | longest | length | CPU at rest | {first}/this |"
    ));
    line("|---|---|---:|---:|---:|---:|---:|---:|---:|".to_owned());
    for (what, _, _) in QUESTIONS {
        let rows: Vec<_> = report.rows.iter().filter(|row| row.what == what).collect();
        let of_first = rows.iter().find(|row| row.broker == first);
        for (place, row) in rows.iter().enumerate() {
            let times = of_first.map_or_else(
                || "–".to_owned(),
                |first| format!("{:.1}", per(first.p99_ms, row.p99_ms)),
            );
            line(format!(
                "| {} | {} | {} | {:.1} ms | {:.1} ms | {:.1} ms | {} | {:.1} ms | {times} |",
                if place == 0 { what } else { "" },
                row.broker,
                row.requests,
                row.p50_ms,
                row.p99_ms,
                row.max_ms,
                kib(row.length as f64),
                row.cpu_ms,
            ));
        }
    }
    line(String::new());
    line("| broker | queues | connections | memory a queue | more after asking, a queue | flow while asked | throughput without statistics | throughput | while asked |".to_owned());
    line("|---|---:|---:|---:|---:|---:|---:|---:|---:|".to_owned());
    for seen in &report.brokers {
        line(format!(
            "| {} | {} | {} | {} | {} | {:.0} messages/s | {} | {:.0} messages/s | {:.0} messages/s |",
            seen.broker,
            seen.queues,
            seen.connections,
            kib(seen.queue_bytes),
            kib(seen.asked_queue_bytes),
            seen.flow,
            seen.without()
                .map_or_else(|| "–".to_owned(), |rate| format!("{rate:.0} messages/s")),
            seen.median(|turn| turn.alone),
            seen.median(|turn| turn.asked),
        ));
    }
    for (broker, why) in &report.failures {
        line(format!("\nIt failed on {broker}: {why}"));
    }
    let goals = goals(report, args);
    if !goals.is_empty() {
        line("\n| goal | found | |\n|---|---:|---|".to_owned());
        for Goal {
            text,
            found,
            is_met,
        } in goals
        {
            let verdict = if is_met { "met" } else { "**not met**" };
            line(format!("| {text} | {found} | {verdict} |"));
        }
    }
    text
}

fn kib(bytes: f64) -> String {
    format!("{:.2} KiB", bytes / 1024.0)
}

struct Goal {
    text: String,
    found: String,
    is_met: bool,
}

/// What the last broker is to reach.
fn goals(report: &Report, args: &ManagementArgs) -> Vec<Goal> {
    let Some((Broker { name, .. }, _)) = args.broker.last() else {
        return Vec::new();
    };
    let mut goals = Vec::new();
    for (what, _, _) in QUESTIONS.into_iter().take(WITH_GOAL) {
        let row = |row: &&Row| row.what == what && row.broker == *name;
        if let Some(row) = report.rows.iter().find(row) {
            goals.push(Goal {
                text: format!("{what} below {P99_GOAL_MS:.0} ms at p99 on {name}"),
                found: format!("{:.1} ms", row.p99_ms),
                is_met: row.p99_ms < P99_GOAL_MS,
            });
        }
    }
    if let Some(seen) = report.brokers.iter().find(|seen| seen.broker == *name) {
        let (cost, [from, to]) = seen.cost();
        goals.push(Goal {
            text: format!(
                "asking takes less than {:.0} % of the throughput",
                COST_GOAL * 100.0
            ),
            found: format!(
                "{:.1} % (half of the turns: {:.1} to {:.1} %)",
                cost * 100.0,
                from * 100.0,
                to * 100.0
            ),
            is_met: cost < COST_GOAL,
        });
        goals.push(Goal {
            text: "asking takes less than 1 KiB of memory for each queue".to_owned(),
            found: kib(seen.asked_queue_bytes),
            is_met: seen.asked_queue_bytes < QUEUE_BYTES_GOAL,
        });
    }
    goals
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_there() {
        let times: Vec<f64> = (1..=500).map(f64::from).collect();
        assert_eq!(percentile(&times, 50), 250.0);
        assert_eq!(percentile(&times, 99), 495.0);
        assert_eq!(percentile(&times, 100), 500.0);
        assert_eq!(percentile(&[7.0], 99), 7.0);
        assert_eq!(percentile(&[], 99), 0.0);
    }

    #[test]
    fn brokers_are_compared_and_the_last_has_goals() {
        let words =
            "perf management --broker R=amqp://h/,1,http://h:1 --broker W=amqp://h/,2,http://h:2";
        let Some(crate::args::Command::Management(args)) =
            Cli::try_parse_from(words.split(' ')).unwrap().command
        else {
            panic!("it is another command");
        };
        let row = |broker: &str, p99_ms| Row {
            what: QUESTIONS[1].0,
            broker: broker.to_owned(),
            requests: 500,
            p50_ms: 1.0,
            p99_ms,
            max_ms: p99_ms,
            cpu_ms: 1.0,
            length: 2048,
        };
        let report = Report {
            rows: vec![row("R", 100.0), row("W", 5.0)],
            brokers: vec![Seen {
                broker: "W".to_owned(),
                queues: 100,
                connections: 10,
                queue_bytes: 2000.0,
                asked_queue_bytes: 100.0,
                flow: 100.0,
                turns: [(1000.0, 960.0), (1000.0, 500.0), (2000.0, 1940.0)]
                    .map(|(alone, asked)| Turn {
                        without: Some(alone + 10.0),
                        alone,
                        asked,
                    })
                    .to_vec(),
            }],
            failures: vec![("R".to_owned(), "it ended".to_owned())],
        };
        let text = markdown(&report, &args);
        assert!(
            text.contains("|  | W | 500 | 1.0 ms | 5.0 ms | 5.0 ms | 2.00 KiB | 1.0 ms | 20.0 |"),
            "{text}"
        );
        assert!(text.contains("It failed on R: it ended"));
        assert!(text.contains("at p99 on W | 5.0 ms | met |"));
        assert!(
            text.contains("| 1010 messages/s | 1000 messages/s | 960 messages/s |"),
            "{text}"
        );
        let cost = "of the throughput | 4.0 % (half of the turns: 3.0 to 50.0 %) | **not met** |";
        assert!(text.contains(cost), "{text}");
    }
}
