//! A second opinion: RabbitMQ's own load generator, PerfTest, on the same rows.
//!
//! PerfTest comes from Maven Central into `target/perf-test`, and needs Java. It reports rates; CPU time is taken from
//! the broker's `/proc/PID/stat` before and after, so it includes what connecting and declaring costs. It publishes
//! to an exchange of its own instead of the default one.

use super::{Effort, OURS, Peer};
use crate::broker::Broker;
use crate::shell;
use anyhow::{Context as _, Result, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The version that is resolved.
pub(super) const VERSION: &str = "2.22.1";

/// Clock ticks a second in `/proc/PID/stat`: a constant of Linux's interface to user space.
const TICKS_PER_SECOND: u64 = 100;

/// Rows and PerfTest's options for them; `{time}` and `{backlog}` are filled in.
const ROWS: &[(&str, &str)] = &[
    ("16 B, transient, auto-ack", "-x 1 -y 1 -s 16 -a -z {time}"),
    (
        "1 KiB, transient, auto-ack",
        "-x 1 -y 1 -s 1024 -a -z {time}",
    ),
    (
        "1 KiB, persistent, ack every 100",
        "-x 1 -y 1 -u perf-test -s 1024 -f persistent -q 500 -A 100 -z {time}",
    ),
    (
        "1 KiB, persistent, confirms, 100 in flight",
        "-x 1 -y 1 -u perf-test -s 1024 -f persistent -q 500 -A 100 -c 100 -z {time}",
    ),
    (
        "the same, 20 publishers on 20 queues",
        "-x 20 -y 20 --queue-pattern perf-test-%d --queue-pattern-from 1 --queue-pattern-to 20 \
         -s 1024 -f persistent -q 500 -A 100 -c 100 -z {time}",
    ),
    (
        "1 KiB, one confirm at a time",
        "-x 1 -y 1 -u perf-test -s 1024 -f persistent -q 500 -A 100 -c 1 -z {time}",
    ),
    (
        "1 KiB, persistent, publish only",
        "-x 1 -y 0 -u perf-test-backlog -ad false -qa x-expires=60000 -s 1024 -f persistent -C {backlog}",
    ),
    (
        "1 KiB, persistent, drain, ack every 100",
        "-x 0 -y 1 -u perf-test-backlog -ad false -qa x-expires=60000 -f persistent -q 500 -A 100 -D {backlog}",
    ),
    (
        "16 KiB, transient, auto-ack",
        "-x 1 -y 1 -s 16384 -a -z {time}",
    ),
];

/// What PerfTest found, row by row, or why it could not be asked.
pub(super) type PerfTest = Result<Vec<PerfTestRow>, String>;

/// One row.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct PerfTestRow {
    pub(super) title: &'static str,
    /// For each broker its name and its figures, or why there are none; the first is what the others are compared to.
    pub(super) results: Vec<(String, Result<PerfTestResult, String>)>,
}

/// One row's figures on one broker.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct PerfTestResult {
    pub(super) cpu_us_per_message: f64,
    /// Published a second.
    pub(super) sent_rate: f64,
    /// Delivered a second.
    pub(super) received_rate: f64,
}

/// Runs all rows on both brokers in turn.
pub(super) fn measure(effort: Effort, peer: Option<&Peer>) -> PerfTest {
    measure_rows(effort, peer).map_err(|error| brief("PerfTest", &error))
}

/// Shows all of an error, and returns the part for the page, which holds no paths of this machine.
fn brief(what: &str, error: &anyhow::Error) -> String {
    eprintln!("{what}: {error:#}");
    error.to_string()
}

fn measure_rows(effort: Effort, peer: Option<&Peer>) -> Result<Vec<PerfTestRow>> {
    let classes = resolve()?;
    let broker = Broker::start("perf")?;
    let ours = Peer {
        name: OURS.to_owned(),
        uri: broker.uri.clone(),
        pid: broker.pid(),
        http: None,
    };
    let brokers: Vec<&Peer> = peer.into_iter().chain([&ours]).collect();
    let rows = ROWS.iter().map(|(title, options)| {
        let options = options
            .replace("{time}", &effort.perf_test_seconds.to_string())
            .replace("{backlog}", &effort.row_backlog.to_string());
        let results = brokers.iter().map(|broker| {
            let what = format!("PerfTest, {title}, {}", broker.name);
            let result = run(&classes, broker, &options).map_err(|error| brief(&what, &error));
            if let Ok(result) = &result {
                eprintln!("{what}: {result:?}");
            }
            (broker.name.clone(), result)
        });
        PerfTestRow {
            title,
            results: results.collect(),
        }
    });
    Ok(rows.collect())
}

/// Puts PerfTest and what it needs into `target/perf-test/VERSION`, unless they are there.
fn resolve() -> Result<PathBuf> {
    let folder = shell::target().join("perf-test").join(VERSION);
    let classes = folder.join("lib");
    if classes.join(format!("perf-test-{VERSION}.jar")).exists() {
        return Ok(classes);
    }
    fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    let project = folder.join("pom.xml");
    fs::write(&project, pom()).with_context(|| format!("write {}", project.display()))?;
    shell::check(
        Command::new("mvn")
            .args(["--quiet", "--batch-mode", "--file"])
            .arg(&project)
            .args(["dependency:copy-dependencies", "-DincludeScope=runtime"])
            .arg(format!("-DoutputDirectory={}", classes.display()))
            .stdout(Stdio::null()),
    )
    .context("resolve com.rabbitmq:perf-test")?;
    Ok(classes)
}

fn pom() -> String {
    format!(
        "<project xmlns=\"http://maven.apache.org/POM/4.0.0\">\
         <modelVersion>4.0.0</modelVersion>\
         <groupId>warrenmq</groupId><artifactId>perf-test</artifactId><version>1</version>\
         <dependencies><dependency>\
         <groupId>com.rabbitmq</groupId><artifactId>perf-test</artifactId><version>{VERSION}</version>\
         </dependency></dependencies></project>\n"
    )
}

fn run(classes: &Path, broker: &Peer, options: &str) -> Result<PerfTestResult> {
    let before = cpu_us(broker.pid)?;
    let text = shell::output(
        Command::new("java")
            .arg("-cp")
            .arg(classes.join("*"))
            .arg("com.rabbitmq.perf.PerfTest")
            // Its URI parser takes a last slash for a vhost without a name.
            .args(["--id", "perf", "--uri", broker.uri.trim_end_matches('/')])
            .args(options.split_whitespace()),
    )
    .context("PerfTest ended with an error")?;
    let cpu_us = cpu_us(broker.pid)? - before;
    let sent = total(&text, "sent: ");
    let received = total(&text, "received: ");
    let messages = bounded(options).unwrap_or(if received > 0.0 { received } else { sent });
    ensure!(messages >= 1.0, "no message was moved");
    Ok(PerfTestResult {
        cpu_us_per_message: cpu_us as f64 / messages,
        sent_rate: average(&text, "sending rate avg: "),
        received_rate: average(&text, "receiving rate avg: "),
    })
}

/// The number of messages that a run is bounded by.
fn bounded(options: &str) -> Option<f64> {
    let mut words = options.split_whitespace();
    words.find(|word| matches!(*word, "-C" | "-D"))?;
    words.next()?.parse().ok()
}

/// Messages of all intervals: the sum of each line's rate times its length.
fn total(text: &str, what: &str) -> f64 {
    let (mut sum, mut last) = (0.0, 0.0);
    for line in text.lines() {
        if let (Some(time), rate) = (number(line, "time "), number(line, what)) {
            sum += rate.unwrap_or(0.0) * (time - last);
            last = time;
        }
    }
    sum
}

fn average(text: &str, what: &str) -> f64 {
    text.lines()
        .find_map(|line| number(line, what))
        .unwrap_or(0.0)
}

/// The number behind `what`.
fn number(line: &str, what: &str) -> Option<f64> {
    let (_, rest) = line.split_once(what)?;
    rest.split_whitespace().next()?.parse().ok()
}

/// User and system time of a process, in microseconds.
fn cpu_us(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/stat");
    let stat = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    parse_cpu_us(&stat).with_context(|| format!("parse {path}"))
}

/// proc(5): utime and stime are fields 14 and 15; the second, in parentheses, may hold anything.
fn parse_cpu_us(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    Some((ticks()? + ticks()?) * 1_000_000 / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "\
id: perf, time 1.000 s, sent: 1000 msg/s, received: 900 msg/s, min/median/75th/95th/99th consumer latency: 1/2/3/4/5 µs
id: perf, time 3.000 s, sent: 2000 msg/s, received: 2050 msg/s, min/median/75th/95th/99th consumer latency: 1/2/3/4/5 µs
test stopped (Reached time limit)
id: perf, sending rate avg: 1666 msg/s
id: perf, receiving rate avg: 1660 msg/s
";

    #[test]
    fn messages_are_summed_over_intervals() {
        assert_eq!(total(OUTPUT, "sent: "), 5_000.0);
        assert_eq!(total(OUTPUT, "received: "), 5_000.0);
        assert_eq!(average(OUTPUT, "sending rate avg: "), 1_666.0);
        assert_eq!(average("", "sending rate avg: "), 0.0);
    }

    #[test]
    fn bounded_rows_know_their_messages() {
        let bounds: Vec<_> = ROWS
            .iter()
            .filter_map(|(_, options)| bounded(&options.replace("{backlog}", "7")))
            .collect();
        assert_eq!(bounds, [7.0, 7.0]);
    }

    #[test]
    fn cpu_time_is_counted_behind_the_name() {
        let stat = "42 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0 7 0 99 123456 30";
        assert_eq!(parse_cpu_us(stat), Some(3_000_000));
        assert_eq!(parse_cpu_us("42 (a) S 1"), None);
    }
}
