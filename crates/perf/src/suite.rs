//! The standard rows, run against several brokers in turn.
//!
//! Brokers take turns row by row, so that whatever else the machine does falls on all of them alike. Each broker runs
//! on this machine and shares it with the load generator; CPU time for each message is therefore the figure that
//! travels to other machines, and the rate is not.

use std::fmt::Write as _;
use std::io::{self, Write as _};

use anyhow::Context;
use clap::Parser;
use serde::Serialize;

use crate::args::{Broker, Cli, SuiteArgs};
use crate::greeting::{self, Server};
use crate::meter::{Counts, LatencySummary};
use crate::output::{self, TextOutput};
use crate::relay::{self, RelayResult};
use crate::summary::{Summary, micros, rate};
use crate::{load, sync};

/// How long each relay measurement takes, in seconds.
const RELAY_SECONDS: u64 = 2;

/// A standard row.
struct Row {
    name: &'static str,
    title: &'static str,
    /// Options of `warren perf`; `{time}` and `{backlog}` are filled in.
    options: &'static str,
    floor: FloorKind,
}

/// What bounds a row from below.
#[derive(Clone, Copy, PartialEq, Eq)]
enum FloorKind {
    /// CPU of a relay of bodies of this size.
    Relay(usize),
    /// Time of one fdatasync.
    Sync,
    /// Nothing simple.
    None,
}

const ROWS: &[Row] = &[
    Row {
        name: "transient-16b",
        title: "16 B, transient, auto-ack",
        options: "-s 16 -a --warmup 1 -z {time}",
        floor: FloorKind::Relay(16),
    },
    Row {
        name: "transient-1k",
        title: "1 KiB, transient, auto-ack",
        options: "-s 1024 -a --warmup 1 -z {time}",
        floor: FloorKind::Relay(1024),
    },
    Row {
        name: "persistent-1k",
        title: "1 KiB, persistent, ack every 100",
        options: "-s 1024 -f persistent -q 500 -A 100 --warmup 1 -z {time}",
        floor: FloorKind::Relay(1024),
    },
    Row {
        name: "confirms-1k",
        title: "1 KiB, persistent, confirms, 100 in flight",
        options: "-s 1024 -f persistent -q 500 -A 100 -c 100 --warmup 1 -z {time}",
        floor: FloorKind::Relay(1024),
    },
    Row {
        name: "confirms-20-queues",
        title: "the same, 20 publishers on 20 queues",
        options: "-x 20 -y 20 --queue-pattern perf-suite-%d --queue-pattern-to 20 --auto-delete \
                  -s 1024 -f persistent -q 500 -A 100 -c 100 --warmup 1 -z {time}",
        floor: FloorKind::Relay(1024),
    },
    Row {
        name: "one-confirm",
        title: "1 KiB, one confirm at a time",
        options: "-s 1024 -f persistent -q 500 -A 100 -c 1 --warmup 1 -z {time}",
        floor: FloorKind::Sync,
    },
    Row {
        name: "publish-only",
        title: "1 KiB, persistent, publish only",
        options: "--publish-only -s 1024 -f persistent -C {backlog} -z 120 --id perf-suite-backlog --keep-queue",
        floor: FloorKind::None,
    },
    Row {
        name: "drain",
        title: "1 KiB, persistent, drain, ack every 100",
        options: "--drain -s 1024 -q 500 -A 100 -z 120 --id perf-suite-backlog",
        floor: FloorKind::None,
    },
    Row {
        name: "transient-16k",
        title: "16 KiB, transient, auto-ack",
        options: "-s 16384 -a --warmup 1 -z {time}",
        floor: FloorKind::Relay(16384),
    },
];

/// Results of a suite.
#[derive(Debug, Serialize)]
struct Report {
    kernel: String,
    cores: usize,
    seconds: u64,
    repeat: usize,
    brokers: Vec<BrokerReport>,
    relay: Vec<RelayResult>,
    fdatasync_us: Option<f64>,
    rows: Vec<RowReport>,
}

#[derive(Debug, Serialize)]
struct BrokerReport {
    name: String,
    /// What it says it is.
    server: Server,
}

#[derive(Debug, Serialize)]
struct RowReport {
    name: &'static str,
    title: &'static str,
    options: String,
    /// The floor, in microseconds of CPU for each message, or of time for each confirm.
    floor_us: Option<f64>,
    results: Vec<BrokerResult>,
}

#[derive(Debug, Serialize)]
struct BrokerResult {
    broker: String,
    /// The run that is shown.
    summary: Option<Summary>,
    /// Rates of all runs.
    rates: Vec<f64>,
    /// Why there is no run.
    error: Option<String>,
    /// How many times less CPU each message costs than with the first broker; for one confirm at a time, how many
    /// times higher the rate is.
    times_first: Option<f64>,
    /// How many times the floor it is.
    times_floor: Option<f64>,
}

/// Runs `warren perf suite` and prints Markdown.
///
/// # Errors
/// A row does not exist, or nothing can be measured at all. A row that fails on a broker is shown as such.
pub(crate) fn run(args: &SuiteArgs) -> anyhow::Result<()> {
    let rows = chosen_rows(&args.rows)?;
    let progress = TextOutput::Error;
    let mut report = floors(args, &rows)?;
    for row in rows {
        report.rows.push(run_row(args, row, progress, &report)?);
    }
    write!(io::stdout(), "{}", markdown(&report)).context("print the table")?;
    match &args.json {
        Some(target) => output::write_json(target, &report),
        None => Ok(()),
    }
}

fn chosen_rows(names: &[String]) -> anyhow::Result<Vec<&'static Row>> {
    if names.is_empty() {
        return Ok(ROWS.iter().collect());
    }
    let find = |name: &String| {
        ROWS.iter().find(|row| row.name == name).with_context(|| {
            let known: Vec<&str> = ROWS.iter().map(|row| row.name).collect();
            format!("no row {name}; there are {}", known.join(", "))
        })
    };
    names.iter().map(find).collect()
}

fn floors(args: &SuiteArgs, rows: &[&Row]) -> anyhow::Result<Report> {
    let mut sizes = Vec::new();
    for row in rows {
        if let FloorKind::Relay(size) = row.floor
            && !sizes.contains(&size)
        {
            sizes.push(size);
        }
    }
    let relay: anyhow::Result<Vec<RelayResult>> = sizes
        .into_iter()
        .map(|size| relay::measure(size, RELAY_SECONDS))
        .collect();
    let brokers: anyhow::Result<Vec<BrokerReport>> = args.broker.iter().map(describe).collect();
    Ok(Report {
        kernel: std::fs::read_to_string("/proc/sys/kernel/osrelease")
            .map(|release| release.trim().to_owned())
            .unwrap_or_default(),
        cores: std::thread::available_parallelism().map_or(0, usize::from),
        seconds: args.time,
        repeat: args.repeat.max(1),
        brokers: brokers?,
        relay: relay?,
        fdatasync_us: args.sync_dir.as_deref().map(sync::measure).transpose()?,
        rows: Vec::new(),
    })
}

fn describe(broker: &Broker) -> anyhow::Result<BrokerReport> {
    let server = greeting::server(&broker.uri.parse()?)
        .with_context(|| format!("ask {} what it is", broker.name))?;
    Ok(BrokerReport {
        name: broker.name.clone(),
        server,
    })
}

fn run_row(
    args: &SuiteArgs,
    row: &'static Row,
    progress: TextOutput,
    report: &Report,
) -> anyhow::Result<RowReport> {
    let options = row
        .options
        .replace("{time}", &args.time.to_string())
        .replace("{backlog}", &args.backlog.to_string());
    // A backlog that is filled twice would be drained as one: these rows are run once.
    let repeat = if options.contains("backlog") {
        1
    } else {
        report.repeat
    };
    let mut runs: Vec<Vec<anyhow::Result<Summary>>> =
        args.broker.iter().map(|_| Vec::new()).collect();
    for _ in 0..repeat {
        for (broker, results) in args.broker.iter().zip(&mut runs) {
            let result = run_once(broker, &options);
            progress.line(&match &result {
                Ok(summary) => format!("{}, {}: {}", row.name, broker.name, brief(summary)),
                Err(error) => format!("{}, {}: failed: {error:#}", row.name, broker.name),
            });
            results.push(result);
        }
    }
    let floor_us = match row.floor {
        FloorKind::Relay(size) => report
            .relay
            .iter()
            .find(|result| result.size == size)
            .map(|result| result.cpu_us_per_message),
        FloorKind::Sync => report.fdatasync_us,
        FloorKind::None => None,
    };
    let mut results: Vec<BrokerResult> = args
        .broker
        .iter()
        .zip(runs)
        .map(|(broker, runs)| broker_result(broker, runs))
        .collect();
    compare(&mut results, row.floor, floor_us);
    Ok(RowReport {
        name: row.name,
        title: row.title,
        options,
        floor_us,
        results,
    })
}

fn run_once(broker: &Broker, options: &str) -> anyhow::Result<Summary> {
    let pid = broker.pid.to_string();
    let fixed = [
        "perf",
        "--quiet",
        "--uri",
        &broker.uri,
        "--server-pid",
        &pid,
    ];
    let words = fixed.into_iter().chain(options.split_ascii_whitespace());
    load::run(Cli::try_parse_from(words)?.load, &mut |_| {})
}

fn brief(summary: &Summary) -> String {
    format!(
        "{} messages/s, {:.2} µs CPU/message",
        rate(row_rate(summary)),
        cpu_us(summary)
    )
}

/// The run with the median rate.
fn broker_result(broker: &Broker, runs: Vec<anyhow::Result<Summary>>) -> BrokerResult {
    let (mut summaries, mut error) = (Vec::new(), None);
    for run in runs {
        match run {
            Ok(summary) => summaries.push(summary),
            Err(failure) => error = Some(format!("{failure:#}")),
        }
    }
    summaries.sort_by(|one, other| row_rate(one).total_cmp(&row_rate(other)));
    let rates = summaries.iter().map(row_rate).collect();
    let middle = summaries.len() / 2;
    let summary = (!summaries.is_empty()).then(|| summaries.swap_remove(middle));
    BrokerResult {
        broker: broker.name.clone(),
        error: error.filter(|_| summary.is_none()),
        summary,
        rates,
        times_first: None,
        times_floor: None,
    }
}

fn compare(results: &mut [BrokerResult], floor: FloorKind, floor_us: Option<f64>) {
    // CPU for each message, or time for each confirm: less is better in both.
    let cost = |result: &BrokerResult| {
        let summary = result.summary.as_ref()?;
        let cost = if floor == FloorKind::Sync {
            1e6 / row_rate(summary)
        } else {
            cpu_us(summary)
        };
        (cost > 0.0 && cost.is_finite()).then_some(cost)
    };
    let first = results.first().and_then(cost);
    for result in results {
        let own = cost(result);
        result.times_first = first.zip(own).map(|(first, own)| first / own);
        result.times_floor = own.zip(floor_us).map(|(own, floor)| own / floor);
    }
}

/// Messages a second: delivered if there are consumers, published if not.
fn row_rate(summary: &Summary) -> f64 {
    if summary.counts.received > 0 {
        summary.received_rate
    } else {
        summary.sent_rate
    }
}

fn cpu_us(summary: &Summary) -> f64 {
    summary
        .server
        .map_or(0.0, |server| server.cpu_us_per_message)
}

/// How much of what was published within the window was delivered within it, where there is both.
fn consumed_share(summary: &Summary) -> Option<f64> {
    let Counts { sent, received, .. } = summary.counts;
    (sent > 0 && received > 0).then(|| received as f64 / sent as f64)
}

/// Publish to confirm if there are confirms, or else to delivery.
fn latency(summary: &Summary) -> &LatencySummary {
    if summary.confirm_latency.count > 0 {
        &summary.confirm_latency
    } else {
        &summary.delivery_latency
    }
}

fn markdown(report: &Report) -> String {
    let mut text = String::new();
    let _ = writeln!(
        text,
        "Measured with `warren perf suite` on one machine with {} cores (Linux {}), which the load generator and one \
         broker at a time share.\nEach row is measured for {} s, {} time(s) on each broker in turn.\n\
         CPU is user and system time of the broker's process for each message; it is the figure to compare, since rates \
         depend on the machine.\n\
         The last columns are ratios of CPU/message: with the first broker to this one, and of this one to a bare TCP relay \
         between the same publisher and consumer. For one confirm at a time they are ratios of time, and the floor is \
         one `fdatasync`.\n\
         Latency is publish to confirm where there are confirms, or else publish to deliver; a load without a limit \
         fills the queue, so there it says how long the queue was.\n",
        report.cores, report.kernel, report.seconds, report.repeat
    );
    let first = report.brokers.first();
    let _ = writeln!(
        text,
        "| workload | broker | CPU/message | messages/s | consumed/published | p50 | p99 | max | RSS | {}/this | this/floor |\n\
         |---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
        first.map_or("first", |broker| &broker.name)
    );
    for row in &report.rows {
        for (index, result) in row.results.iter().enumerate() {
            let title = if index == 0 { row.title } else { "" };
            write_result(&mut text, title, result);
        }
    }
    text.push_str("\n| floor | |\n|---|---:|\n");
    for result in &report.relay {
        let _ = writeln!(
            text,
            "| relay, {} B | {:.3} µs CPU/message, {:.1} KiB/read |",
            result.size,
            result.cpu_us_per_message,
            result.read_bytes_mean / 1024.0
        );
    }
    if let Some(sync_us) = report.fdatasync_us {
        let _ = writeln!(text, "| `fdatasync` of one page | {sync_us:.0} µs |");
    }
    text
}

fn write_result(text: &mut String, title: &str, result: &BrokerResult) {
    let Some(summary) = &result.summary else {
        let error = result
            .error
            .as_deref()
            .unwrap_or("not run")
            .replace(['|', '\n'], " ");
        let _ = writeln!(
            text,
            "| {title} | {} | failed: {error} | | | | | | | | |",
            result.broker
        );
        return;
    };
    let times =
        |times: Option<f64>| times.map_or_else(|| "–".to_owned(), |times| format!("{times:.1}"));
    let latency = latency(summary);
    let latencies = if latency.count > 0 {
        [latency.p50_us, latency.p99_us, latency.max_us].map(micros)
    } else {
        ["–", "–", "–"].map(str::to_owned)
    };
    let rss = summary
        .server
        .map_or(0, |server| server.rss_max_bytes >> 20);
    let _ = writeln!(
        text,
        "| {title} | {} | {:.2} µs | {} | {} | {} | {rss} MiB | {} | {} |",
        result.broker,
        cpu_us(summary),
        rate(row_rate(summary)),
        consumed_share(summary)
            .map_or_else(|| "–".to_owned(), |share| format!("{:.0} %", share * 100.0)),
        latencies.join(" | "),
        times(result.times_first),
        times(result.times_floor),
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::summary::ProcessSummary;

    #[test]
    fn every_row_is_a_valid_load_with_a_name_of_its_own() {
        let mut names = std::collections::HashSet::new();
        for row in ROWS {
            assert!(names.insert(row.name));
            let options = row
                .options
                .replace("{time}", "5")
                .replace("{backlog}", "1000");
            let words = std::iter::once("perf").chain(options.split_ascii_whitespace());
            Cli::try_parse_from(words)
                .unwrap()
                .load
                .normalised()
                .unwrap();
        }
        assert!(chosen_rows(&["drain".to_owned()]).is_ok());
        assert!(chosen_rows(&["nothing".to_owned()]).is_err());
    }

    fn summary(received_rate: f64, cpu_us_per_message: f64) -> Summary {
        Summary {
            id: String::new(),
            size: 16,
            duration_s: 1.0,
            counts: Counts {
                received: 1,
                ..Default::default()
            },
            sent_rate: 0.0,
            received_rate,
            confirmed_rate: 0.0,
            churned_rate: 0.0,
            delivery_latency: LatencySummary::default(),
            confirm_latency: LatencySummary::default(),
            churn_latency: LatencySummary::default(),
            server: Some(ProcessSummary {
                cpu_us_per_message,
                ..Default::default()
            }),
            client: ProcessSummary::default(),
            verify: None,
            intervals: Vec::new(),
        }
    }

    fn result(name: &str, runs: Vec<anyhow::Result<Summary>>) -> BrokerResult {
        let broker = Broker {
            name: name.to_owned(),
            uri: String::new(),
            pid: 1,
        };
        broker_result(&broker, runs)
    }

    #[test]
    fn brokers_are_compared_by_cpu_and_the_median_run_is_shown() {
        let runs = vec![
            Ok(summary(10.0, 9.0)),
            Ok(summary(30.0, 1.0)),
            Ok(summary(20.0, 2.0)),
        ];
        let mut results = [
            result("first", vec![Ok(summary(5.0, 8.0))]),
            result("second", runs),
            result("broken", vec![Err(anyhow::anyhow!("refused"))]),
        ];
        compare(&mut results, FloorKind::Relay(16), Some(0.5));
        assert_eq!(results[1].rates, [10.0, 20.0, 30.0]);
        assert_eq!(
            (results[1].times_first, results[1].times_floor),
            (Some(4.0), Some(4.0))
        );
        assert_eq!(results[2].times_first, None);
        let mut text = String::new();
        for result in &results {
            write_result(&mut text, "row", result);
        }
        assert!(
            text.contains("| row | second | 2.00 µs | 20 | – | – | – | – | 0 MiB | 4.0 | 4.0 |"),
            "{text}"
        );
        assert!(text.contains("failed: refused"), "{text}");
    }

    #[test]
    fn one_confirm_at_a_time_is_compared_by_time() {
        let mut results = [
            result("first", vec![Ok(summary(1_000.0, 1.0))]),
            result("second", vec![Ok(summary(4_000.0, 50.0))]),
        ];
        compare(&mut results, FloorKind::Sync, Some(200.0));
        assert_eq!(
            (results[1].times_first, results[1].times_floor),
            (Some(4.0), Some(1.25))
        );
    }
}
