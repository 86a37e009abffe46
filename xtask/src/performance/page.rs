//! The page as Markdown, and whether the goals are met.
//!
//! The tables of the workloads are the suite's own and are copied; all else is written here. No date is written:
//! the commit says when.

use super::OURS;
use super::nodes::{Backlog, Footprint};
use super::perf_test::{self, PerfTest, PerfTestResult};
use super::section::Section;
use crate::shell;
use anyhow::{Context as _, Result};
use serde::Deserialize;
use std::fmt::Write as _;
use std::fs;
use std::process::Command;

/// RabbitMQ's CPU time for each message must be this many times ours, or more.
const TIMES_PEER_MIN: f64 = 6.0;
/// Our CPU time for each message must be this many times the relay's, or less.
const TIMES_FLOOR_MAX: f64 = 4.0;
/// How much of what is published must be consumed within the same time.
const CONSUMED_SHARE_MIN: f64 = 0.95;
/// Memory with a large backlog, in MiB.
const BACKLOG_RSS_MAX_MIB: f64 = 300.0;
/// Restart with a large backlog, in seconds.
const RESTART_MAX_S: f64 = 5.0;
/// Memory of an idle node, in MiB.
const IDLE_MAX_MIB: f64 = 16.0;
/// Memory of an idle connection with a channel, in KiB.
const CONNECTION_MAX_KIB: f64 = 16.0;
/// Memory of an idle durable queue, in KiB.
const QUEUE_MAX_KIB: f64 = 2.0;
/// Start on an empty folder, in milliseconds.
const START_MAX_MS: f64 = 50.0;

/// Rows of the suite that are compared with RabbitMQ.
const PEER_ROWS: &[&str] = &[
    "transient-16b",
    "transient-1k",
    "persistent-1k",
    "confirms-1k",
    "confirms-20-queues",
    "publish-only",
    "drain",
];
/// Rows of the suite that are compared with the relay.
const FLOOR_ROWS: &[&str] = &["transient-16b", "transient-1k"];

/// Everything that was measured.
pub(super) struct Page {
    pub(super) header: Header,
    pub(super) suite: Suite,
    pub(super) workloads: WorkloadTables,
    pub(super) perf_test: PerfTest,
    pub(super) footprint: Footprint,
    pub(super) backlog: Backlog,
    /// The shortest first; at least one.
    pub(super) starts_ms: Vec<f64>,
    /// What is printed about very many things.
    pub(super) scale: String,
    /// What is printed about the management API.
    pub(super) management: String,
}

/// What the suite prints.
pub(super) struct WorkloadTables(pub(super) String);

/// What was measured, and where.
#[derive(Default)]
pub(super) struct Header {
    commit: String,
    processor: String,
    load_average: String,
    command: String,
    machine: String,
    /// Of the program that is measured, as it prints it.
    version: String,
    brokers: String,
}

/// The suite's results, as far as the page looks into them.
#[derive(Deserialize)]
pub(super) struct Suite {
    kernel: String,
    cores: u32,
    brokers: Vec<SuiteBroker>,
    rows: Vec<SuiteRow>,
}

#[derive(Deserialize)]
struct SuiteBroker {
    name: String,
    server: Server,
}

#[derive(Deserialize)]
struct Server {
    product: String,
    version: String,
}

#[derive(Deserialize)]
struct SuiteRow {
    name: String,
    title: String,
    options: String,
    results: Vec<SuiteResult>,
}

#[derive(Deserialize)]
struct SuiteResult {
    broker: String,
    summary: Option<Summary>,
    times_first: Option<f64>,
    times_floor: Option<f64>,
}

#[derive(Deserialize)]
struct Summary {
    counts: Counts,
}

#[derive(Deserialize)]
struct Counts {
    sent: u64,
    received: u64,
}

/// Something we want to be true.
struct Goal {
    text: String,
    /// What was found, and whether that meets the goal.
    found: Option<(String, bool)>,
}

impl Header {
    /// Looks at the tree and the machine before anything is measured.
    pub(super) fn of_this_machine(args: &[String]) -> Result<Self> {
        let git = |args: &[&str]| {
            shell::output(Command::new("git").args(args).current_dir(shell::root()))
        };
        let mut commit = git(&["rev-parse", "--short=12", "HEAD"])?.trim().to_owned();
        if !git(&["status", "--porcelain", "--untracked-files=no"])?.is_empty() {
            commit.push_str(" with uncommitted changes");
        }
        let version = shell::output(Command::new(shell::warren(shell::RELEASE)).arg("--version"))?;
        let processors = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let load = fs::read_to_string("/proc/loadavg").context("read the load average")?;
        Ok(Self {
            commit,
            processor: value_of(&processors, "model name")
                .unwrap_or("unknown")
                .to_owned(),
            load_average: load.split(' ').take(3).collect::<Vec<_>>().join(", "),
            command: shown_command(args),
            version: version.trim().to_owned(),
            ..Self::default()
        })
    }

    /// What a part says of itself that was measured apart from the rest.
    pub(super) fn remark(&self) -> String {
        format!(
            "Measured at commit {}, with a load average of {} at the beginning.\n",
            self.commit, self.load_average
        )
    }

    /// Takes what the suite knows of the machine and the brokers. Ours tells clients the version of RabbitMQ that it is
    /// compatible with, so its own stands beside it.
    pub(super) fn take_versions(&mut self, suite: &Suite) {
        self.machine = format!(
            "{} cores ({}), Linux {}",
            suite.cores, self.processor, suite.kernel
        );
        let versions = suite.brokers.iter().map(|broker| {
            let Server { product, version } = &broker.server;
            let name = if broker.name == OURS {
                format!("{OURS} ({})", self.version)
            } else {
                broker.name.clone()
            };
            format!("{name}, which reports {product} {version}")
        });
        self.brokers = versions.collect::<Vec<_>>().join("; ");
    }
}

/// The command line without what is different each time.
fn shown_command(args: &[String]) -> String {
    let mut command = "cargo xtask perf".to_owned();
    for arg in args {
        command.push(' ');
        command.push_str(match arg.split_once('=') {
            Some((name, _)) => name,
            None => arg,
        });
        if arg.contains('=') {
            command.push_str("=URI,PID");
            command.push_str(if arg.contains(",http://") {
                ",HTTP"
            } else {
                ""
            });
        }
    }
    command
}

/// The value of the first line `key : value`.
fn value_of<'t>(text: &'t str, key: &str) -> Option<&'t str> {
    let line = text.lines().find(|line| line.starts_with(key))?;
    Some(line.split_once(':')?.1.trim())
}

impl Page {
    /// All of it.
    pub(super) fn markdown(&self) -> String {
        let mut text = String::new();
        self.write(&mut text).expect("a String takes everything");
        text
    }

    fn write(&self, text: &mut String) -> std::fmt::Result {
        self.write_header(text)?;
        self.write_goals(text)?;
        writeln!(text, "## Workloads\n\n{}", self.workloads.0)?;
        write_perf_test(text, &self.perf_test)?;
        self.write_nodes(text)?;
        writeln!(text, "{}", Section::Scale.text("", &self.scale))?;
        writeln!(text, "{}", Section::Management.text("", &self.management))?;
        self.write_commands(text)
    }

    fn write_header(&self, text: &mut String) -> std::fmt::Result {
        let header = &self.header;
        writeln!(
            text,
            "# Performance\n\n\
             Written by `{}`; [perf.md](perf.md) says how to read it.\n\n\
             | | |\n|---|---|\n\
             | commit | {} |\n| machine | {} |\n| brokers | {} |\n| load average at the beginning | {} |\n",
            header.command, header.commit, header.machine, header.brokers, header.load_average
        )
    }

    fn write_goals(&self, text: &mut String) -> std::fmt::Result {
        writeln!(text, "## Goals\n\n| goal | found | |\n|---|---:|---|")?;
        for Goal { text: goal, found } in self.goals() {
            let (found, verdict) = match found {
                Some((found, true)) => (found, "met"),
                Some((found, false)) => (found, "**not met**"),
                None => ("–".to_owned(), "not measured"),
            };
            writeln!(text, "| {goal} | {found} | {verdict} |")?;
        }
        writeln!(text)
    }

    fn goals(&self) -> Vec<Goal> {
        let mut goals = Vec::new();
        let compared = self.suite.brokers.len() > 1;
        for name in PEER_ROWS {
            goals.push(Goal {
                text: format!(
                    "{}: CPU/message at least {TIMES_PEER_MIN} × less than RabbitMQ",
                    self.suite.title(name)
                ),
                found: self
                    .suite
                    .ours(name)
                    .and_then(|result| result.times_first)
                    .filter(|_| compared)
                    .map(|times| (format!("{times:.1} ×"), times >= TIMES_PEER_MIN)),
            });
        }
        for name in FLOOR_ROWS {
            let times = self.suite.ours(name).and_then(|result| result.times_floor);
            goals.push(Goal {
                text: format!(
                    "{}: CPU/message at most {TIMES_FLOOR_MAX} × the relay's",
                    self.suite.title(name)
                ),
                found: times.map(|times| (format!("{times:.1} ×"), times <= TIMES_FLOOR_MAX)),
            });
        }
        let share = self.suite.smallest_consumed_share();
        goals.push(Goal {
            text: "consuming keeps within 5 % of publishing, in every row with both".to_owned(),
            found: share.map(|(share, title)| {
                let found = format!("at least {:.1} % ({title})", share * 100.0);
                (found, share >= CONSUMED_SHARE_MIN)
            }),
        });
        goals.extend(self.node_goals());
        goals
    }

    fn node_goals(&self) -> [Goal; 6] {
        let Self {
            backlog, footprint, ..
        } = self;
        let rss_max = backlog
            .publish_rss_max_bytes
            .max(backlog.drain_rss_max_bytes);
        let below = |text: String, found: f64, limit: f64, unit: &str| Goal {
            text: format!("{text} below {limit} {unit}"),
            found: Some((format!("{found:.1} {unit}"), found < limit)),
        };
        let messages = grouped(backlog.messages.into());
        [
            below(
                format!("RSS with {messages} messages of 1 KiB in a queue"),
                mebibytes(rss_max),
                BACKLOG_RSS_MAX_MIB,
                "MiB",
            ),
            below(
                format!("restart with {messages} messages of 1 KiB in a queue"),
                backlog
                    .restart
                    .max(backlog.restart_after_kill)
                    .as_secs_f64(),
                RESTART_MAX_S,
                "s",
            ),
            below(
                "RSS of an idle node".to_owned(),
                mebibytes(footprint.idle_bytes),
                IDLE_MAX_MIB,
                "MiB",
            ),
            below(
                "RSS for each idle connection with a channel".to_owned(),
                footprint.bytes_per_connection / 1024.0,
                CONNECTION_MAX_KIB,
                "KiB",
            ),
            below(
                "RSS for each idle durable queue".to_owned(),
                footprint.bytes_per_queue / 1024.0,
                QUEUE_MAX_KIB,
                "KiB",
            ),
            below(
                "start on an empty folder".to_owned(),
                median(&self.starts_ms),
                START_MAX_MS,
                "ms",
            ),
        ]
    }

    fn write_nodes(&self, text: &mut String) -> std::fmt::Result {
        let Self {
            backlog, footprint, ..
        } = self;
        writeln!(
            text,
            "## Memory\n\n\
             Resident memory of {OURS} when it has stopped changing; each kind on a node that has just been started.\n\n\
             | | RSS |\n|---|---:|\n\
             | idle node | {:.1} MiB |\n\
             | each of {} idle connections with a channel | {:.1} KiB |\n\
             | each of {} idle durable queues | {:.2} KiB |\n",
            mebibytes(footprint.idle_bytes),
            grouped(footprint.connections.into()),
            footprint.bytes_per_connection / 1024.0,
            grouped(footprint.queues.into()),
            footprint.bytes_per_queue / 1024.0,
        )?;
        writeln!(
            text,
            "## A backlog of {} messages\n\n\
             1 KiB persistent messages in one durable queue of {OURS}: published by one publisher, restarted, consumed \
             by one consumer with prefetch 1000 that acks every 100.\n\
             A restart is from starting the process to its line that it is ready.\n\n\
             | | |\n|---|---:|\n\
             | publish | {} messages/s |\n| RSS while publishing, at most | {:.0} MiB |\n\
             | restart after an orderly end | {:.2} s |\n| restart after SIGKILL | {:.2} s |\n\
             | RSS after the restart | {:.0} MiB |\n\
             | drain | {} messages/s |\n| RSS while draining, at most | {:.0} MiB |\n",
            grouped(backlog.messages.into()),
            grouped(backlog.publish_rate.round() as u64),
            mebibytes(backlog.publish_rss_max_bytes),
            backlog.restart.as_secs_f64(),
            backlog.restart_after_kill.as_secs_f64(),
            mebibytes(backlog.restarted_rss_bytes),
            grouped(backlog.drain_rate.round() as u64),
            mebibytes(backlog.drain_rss_max_bytes),
        )?;
        writeln!(
            text,
            "## Start-up\n\n\
             From starting the process on an empty folder to the first byte of its answer on an AMQP connection, {} times: \
             median {:.1} ms, shortest {:.1} ms, longest {:.1} ms.\n",
            self.starts_ms.len(),
            median(&self.starts_ms),
            self.starts_ms.first().copied().unwrap_or_default(),
            self.starts_ms.last().copied().unwrap_or_default(),
        )
    }

    fn write_commands(&self, text: &mut String) -> std::fmt::Result {
        writeln!(
            text,
            "## Commands\n\n\
             Each row of the workloads is one `warren perf --uri URI --server-pid PID` with these options.\n\n\
             | workload | options |\n|---|---|"
        )?;
        for row in &self.suite.rows {
            writeln!(text, "| {} | `{}` |", row.title, row.options)?;
        }
        writeln!(
            text,
            "\nThe other parts, with the broker's address and process id:\n\n\
             ```sh\n\
             warren perf footprint --connections {}\n\
             warren perf footprint --connections 0 --queues {}\n\
             warren perf -x 1 -y 0 -s 1024 -f persistent -C {messages} -u big   # and restart the broker\n\
             warren perf -x 0 -y 1 -A 100 -q 1000 -D {messages} -u big -p\n\
             ```",
            self.footprint.connections,
            self.footprint.queues,
            messages = self.backlog.messages,
        )
    }
}

impl Suite {
    fn row(&self, name: &str) -> Option<&SuiteRow> {
        self.rows.iter().find(|row| row.name == name)
    }

    fn title<'s>(&'s self, name: &'s str) -> &'s str {
        self.row(name).map_or(name, |row| &row.title)
    }

    fn ours(&self, name: &str) -> Option<&SuiteResult> {
        self.row(name)?.ours()
    }

    /// Deliveries for each publish in our worst row, and its title.
    fn smallest_consumed_share(&self) -> Option<(f64, &str)> {
        let shares = self.rows.iter().filter_map(|row| {
            let Counts { sent, received } = row.ours()?.summary.as_ref()?.counts;
            (sent > 0 && received > 0).then(|| (received as f64 / sent as f64, row.title.as_str()))
        });
        shares.min_by(|one, other| one.0.total_cmp(&other.0))
    }
}

impl SuiteRow {
    fn ours(&self) -> Option<&SuiteResult> {
        self.results.iter().find(|result| result.broker == OURS)
    }
}

fn write_perf_test(text: &mut String, perf_test: &PerfTest) -> std::fmt::Result {
    writeln!(
        text,
        "## A second opinion\n\n\
         The same rows with RabbitMQ's PerfTest {}, on each broker in turn. It has a JVM and the same cores, so it, and \
         not the broker, may be what limits a rate; CPU time is the broker's from before PerfTest connects until it has \
         ended. Here too a message is a consumed one if any was consumed: where less is consumed than published, each \
         bears the cost of those that stayed behind.\n",
        perf_test::VERSION
    )?;
    let rows = match perf_test {
        Ok(rows) => rows,
        Err(reason) => return writeln!(text, "Not measured: {}.\n", one_line(reason)),
    };
    writeln!(
        text,
        "| workload | broker | CPU/message | published/s | consumed/s | {}/this |\n|---|---|---:|---:|---:|---:|",
        rows.first()
            .and_then(|row| row.results.first())
            .map_or("first", |(broker, _)| broker)
    )?;
    for row in rows {
        let first = row
            .results
            .first()
            .and_then(|(_, result)| result.as_ref().ok());
        for (index, (broker, result)) in row.results.iter().enumerate() {
            let title = if index == 0 { row.title } else { "" };
            match result {
                Ok(result) => {
                    let times = times_first(first, result);
                    writeln!(
                        text,
                        "| {title} | {broker} | {:.2} µs | {} | {} | {times} |",
                        result.cpu_us_per_message,
                        grouped(result.sent_rate.round() as u64),
                        grouped(result.received_rate.round() as u64),
                    )?;
                }
                Err(reason) => {
                    writeln!(
                        text,
                        "| {title} | {broker} | failed: {} | | | |",
                        one_line(reason)
                    )?;
                }
            }
        }
    }
    writeln!(text)
}

fn times_first(first: Option<&PerfTestResult>, result: &PerfTestResult) -> String {
    match first {
        Some(first) if result.cpu_us_per_message > 0.0 => {
            format!(
                "{:.1}",
                first.cpu_us_per_message / result.cpu_us_per_message
            )
        }
        _ => "–".to_owned(),
    }
}

/// Text that a table's cell can hold.
fn one_line(text: &str) -> String {
    text.replace(['|', '\n'], " ")
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// The middle one of sorted values.
fn median(sorted: &[f64]) -> f64 {
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

/// A count with its thousands apart.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
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
    use super::super::FULL;
    use super::super::perf_test::PerfTestRow;
    use super::*;
    use std::time::Duration;

    const SUITE: &str = r#"{
        "kernel": "6.1", "cores": 2,
        "brokers": [
            {"name": "RabbitMQ", "server": {"product": "RabbitMQ", "version": "4.3.6"}},
            {"name": "WarrenMQ", "server": {"product": "RabbitMQ", "version": "4.3.6"}}
        ],
        "rows": [
            {"name": "transient-16b", "title": "16 B", "options": "-s 16", "results": [
                {"broker": "RabbitMQ", "summary": {"counts": {"sent": 10, "received": 1}}, "times_first": 1.0, "times_floor": 90.0},
                {"broker": "WarrenMQ", "summary": {"counts": {"sent": 100, "received": 90}}, "times_first": 20.0, "times_floor": 4.5}
            ]},
            {"name": "drain", "title": "drain", "options": "--drain", "results": [
                {"broker": "RabbitMQ", "summary": null, "times_first": null, "times_floor": null},
                {"broker": "WarrenMQ", "summary": {"counts": {"sent": 0, "received": 90}}, "times_first": null, "times_floor": null}
            ]}
        ]
    }"#;

    fn page() -> Page {
        let suite: Suite = serde_json::from_str(SUITE).unwrap();
        let mut header = Header {
            commit: "abc".to_owned(),
            processor: "a processor".to_owned(),
            version: "warren 0.1.0".to_owned(),
            ..Header::default()
        };
        header.take_versions(&suite);
        let figures = |cpu_us_per_message| PerfTestResult {
            cpu_us_per_message,
            sent_rate: 12_345.0,
            received_rate: 12_000.0,
        };
        Page {
            header,
            suite,
            workloads: WorkloadTables("(the suite's tables)\n".to_owned()),
            perf_test: Ok(vec![PerfTestRow {
                title: "16 B",
                results: vec![
                    ("RabbitMQ".to_owned(), Ok(figures(50.0))),
                    ("WarrenMQ".to_owned(), Ok(figures(2.0))),
                    ("broken".to_owned(), Err("a\nb | c".to_owned())),
                ],
            }]),
            footprint: Footprint {
                idle_bytes: 8 << 20,
                connections: FULL.connections,
                bytes_per_connection: 20_480.0,
                queues: FULL.queues,
                bytes_per_queue: 1_024.0,
            },
            backlog: Backlog {
                messages: FULL.backlog,
                publish_rate: 1e5,
                publish_rss_max_bytes: 100 << 20,
                restart: Duration::from_millis(400),
                restart_after_kill: Duration::from_secs(1),
                restarted_rss_bytes: 50 << 20,
                drain_rate: 2e5,
                drain_rss_max_bytes: 301 << 20,
            },
            starts_ms: vec![9.0, 10.0, 60.0],
            scale: "(very many things)\n".to_owned(),
            management: "(questions)\n".to_owned(),
        }
    }

    #[track_caller]
    fn assert_has(text: &str, line: &str) {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }

    #[test]
    fn goals_are_met_or_not_or_not_measured() {
        let text = page().markdown();
        assert_has(
            &text,
            "| 16 B: CPU/message at least 6 × less than RabbitMQ | 20.0 × | met |",
        );
        assert_has(
            &text,
            "| 16 B: CPU/message at most 4 × the relay's | 4.5 × | **not met** |",
        );
        assert_has(
            &text,
            "| drain: CPU/message at least 6 × less than RabbitMQ | – | not measured |",
        );
        assert_has(
            &text,
            "| consuming keeps within 5 % of publishing, in every row with both | at least 90.0 % (16 B) | **not met** |",
        );
        assert_has(
            &text,
            "| RSS with 5,000,000 messages of 1 KiB in a queue below 300 MiB | 301.0 MiB | **not met** |",
        );
        assert_has(
            &text,
            "| RSS of an idle node below 16 MiB | 8.0 MiB | met |",
        );
        assert_has(
            &text,
            "| start on an empty folder below 50 ms | 10.0 ms | met |",
        );
    }

    #[test]
    fn every_part_is_on_the_page() {
        let text = page().markdown();
        assert_has(&text, "| commit | abc |");
        assert_has(&text, "| machine | 2 cores (a processor), Linux 6.1 |");
        assert_has(
            &text,
            "| brokers | RabbitMQ, which reports RabbitMQ 4.3.6; WarrenMQ (warren 0.1.0), which reports RabbitMQ 4.3.6 |",
        );
        assert_has(&text, "(the suite's tables)");
        assert_has(&text, "(very many things)");
        assert_has(
            &text,
            "| 16 B | RabbitMQ | 50.00 µs | 12,345 | 12,000 | 1.0 |",
        );
        assert_has(&text, "|  | WarrenMQ | 2.00 µs | 12,345 | 12,000 | 25.0 |");
        assert_has(&text, "|  | broken | failed: a b   c | | | |");
        assert_has(&text, "| restart after SIGKILL | 1.00 s |");
        assert_has(&text, "| drain | `--drain` |");
    }

    #[test]
    fn without_another_broker_nothing_is_compared() {
        let mut page = page();
        page.suite.brokers.remove(0);
        page.perf_test = Err("no java".to_owned());
        let text = page.markdown();
        assert_has(
            &text,
            "| 16 B: CPU/message at least 6 × less than RabbitMQ | – | not measured |",
        );
        assert_has(&text, "Not measured: no java.");
    }

    #[test]
    fn what_differs_each_time_is_not_part_of_the_command() {
        let args = ["--broker", "RabbitMQ=amqp://guest:guest@127.0.0.1/,42"].map(str::to_owned);
        assert_eq!(
            shown_command(&args),
            "cargo xtask perf --broker RabbitMQ=URI,PID"
        );
    }
}
