//! `cargo xtask perf`: measures the release build and writes `docs/performance.md`, all of it, or with `scale` or
//! `management` one section.
//!
//! Every part is measured on a broker of its own, started for it with an empty folder. Another broker is compared with
//! when `--broker NAME=URI,PID[,HTTP]` names one that runs already on this machine; it is left running. What is measured and
//! how is in `docs/perf.md`; this module only says which measurements make up the page.

mod nodes;
mod page;
mod perf_test;
mod section;

use crate::broker::Broker;
use crate::shell;
use anyhow::{Context as _, Result, ensure};
use page::{Header, Page, Suite, WorkloadTables};
use section::Section;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// How WarrenMQ is called in tables.
const OURS: &str = "WarrenMQ";
/// How another broker is named.
const BROKER_FORM: &str = "--broker NAME=URI,PID[,HTTP]";

/// How much of each thing is measured.
#[derive(Clone, Copy, Debug)]
struct Effort {
    /// Length of each row in seconds.
    row_seconds: u32,
    /// The same with PerfTest, whose JVM takes a while to become fast.
    perf_test_seconds: u32,
    /// Runs of each row.
    repeat: u32,
    /// Messages of the rows that fill and drain a queue.
    row_backlog: u32,
    connections: u32,
    queues: u32,
    /// Messages of the large backlog.
    backlog: u32,
    starts: u32,
    /// How much there is of what the rows at scale are called after.
    scale_percent: u32,
}

const FULL: Effort = Effort {
    row_seconds: 5,
    perf_test_seconds: 8,
    repeat: 3,
    row_backlog: 500_000,
    connections: 5_000,
    queues: 100_000,
    backlog: 5_000_000,
    starts: 20,
    scale_percent: 100,
};

const QUICK: Effort = Effort {
    row_seconds: 1,
    perf_test_seconds: 3,
    repeat: 1,
    row_backlog: 50_000,
    connections: 500,
    queues: 5_000,
    backlog: 200_000,
    starts: 5,
    scale_percent: 1,
};

/// A broker that runs already: `NAME=URI,PID[,HTTP]`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Peer {
    name: String,
    uri: String,
    pid: u32,
    /// Its management API. Without it there are no policies and no virtual hosts, so nothing is compared in
    /// sections of their own.
    http: Option<String>,
}

/// The command line.
#[derive(Debug, PartialEq, Eq)]
struct Options {
    /// One section only.
    section: Option<Section>,
    quick: bool,
    peer: Option<Peer>,
}

/// Measures everything and writes the page: to `docs/performance.md`, or with `--quick`, which measures too little
/// to be compared with, to `performance.md` in the target directory.
///
/// # Errors
/// The arguments are wrong, or one of our own measurements fails. A row that fails on another broker, and PerfTest
/// if it cannot be had, are shown as such.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let options = parse(args)?;
    let effort = if options.quick { QUICK } else { FULL };
    if let Some(section) = options.section {
        return run_section(section, &options, effort);
    }
    let mut header = Header::of_this_machine(args)?;
    let (suite, workloads) = measure_workloads(effort, options.peer.as_ref())?;
    header.take_versions(&suite);
    let page = Page {
        header,
        suite,
        workloads,
        perf_test: perf_test::measure(effort, options.peer.as_ref()),
        footprint: nodes::footprint(effort)?,
        backlog: nodes::backlog(effort)?,
        starts_ms: nodes::starts(effort)?,
        scale: Section::Scale.measure(effort, options.peer.as_ref())?,
        management: Section::Management.measure(effort, options.peer.as_ref())?,
    };
    write(&path_of(&options), &page.markdown())
}

fn path_of(options: &Options) -> PathBuf {
    if options.quick {
        shell::target().join("performance.md")
    } else {
        page_path()
    }
}

/// The page as it is committed.
fn page_path() -> PathBuf {
    shell::root().join("docs/performance.md")
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("write {}", path.display()))?;
    eprintln!("{}", path.display());
    Ok(())
}

/// Measures a section and puts it into the page as it is.
fn run_section(section: Section, options: &Options, effort: Effort) -> Result<()> {
    let remark = Header::of_this_machine(&[])?.remark();
    let measured = section.measure(effort, options.peer.as_ref())?;
    let page = fs::read_to_string(page_path()).context("read the page")?;
    let page = section.replace(&page, &section.text(&remark, &measured))?;
    write(&path_of(options), &page)
}

fn parse(args: &[String]) -> Result<Options> {
    let mut options = Options {
        section: None,
        quick: false,
        peer: None,
    };
    let mut words = args.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--quick" => options.quick = true,
            "--broker" => {
                let value = words.next().context(BROKER_FORM)?;
                options.peer = Some(parse_peer(value)?);
            }
            other => {
                options.section = Section::of_name(other);
                ensure!(
                    options.section.is_some(),
                    "unknown option {other}: there are scale, management, --quick and {BROKER_FORM}"
                );
            }
        }
    }
    Ok(options)
}

fn parse_peer(text: &str) -> Result<Peer> {
    let (text, http) = match text.rsplit_once(',') {
        Some((before, http)) if http.starts_with("http://") => (before, Some(http.to_owned())),
        Some(_) | None => (text, None),
    };
    let parts = text
        .split_once('=')
        .and_then(|(name, rest)| Some((name, rest.rsplit_once(',')?)));
    let (name, (uri, pid)) = parts.context(BROKER_FORM)?;
    ensure!(name != OURS, "{OURS} is started by this program");
    Ok(Peer {
        name: name.to_owned(),
        uri: uri.to_owned(),
        pid: pid
            .parse()
            .with_context(|| format!("{pid} is no process id"))?,
        http,
    })
}

/// The load generator's suite; the other broker comes first, so that ours is compared with it.
fn measure_workloads(effort: Effort, peer: Option<&Peer>) -> Result<(Suite, WorkloadTables)> {
    let broker = Broker::start("perf")?;
    let json = broker.folder.join("suite.json");
    let mut suite = Command::new(shell::warren(shell::RELEASE));
    suite.args(["perf", "suite"]);
    if let Some(Peer { name, uri, pid, .. }) = peer {
        suite.args(["--broker", &format!("{name}={uri},{pid}")]);
    }
    suite
        .args([
            "--broker",
            &format!("{OURS}={},{}", broker.uri, broker.pid()),
        ])
        .args(["--time", &effort.row_seconds.to_string()])
        .args(["--repeat", &effort.repeat.to_string()])
        .args(["--backlog", &effort.row_backlog.to_string()])
        .arg("--sync-dir")
        .arg(&broker.folder)
        .arg("--json")
        .arg(&json);
    let tables = shell::output(&mut suite)?;
    let results = fs::read(&json).with_context(|| format!("read {}", json.display()))?;
    let suite = serde_json::from_slice(&results).context("read the suite's results")?;
    Ok((suite, WorkloadTables(tables)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(line: &str) -> Result<Options> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        parse(&words)
    }

    #[test]
    fn another_broker_and_quickness_are_optional() {
        assert_eq!(
            options("").unwrap(),
            Options {
                section: None,
                quick: false,
                peer: None
            }
        );
        let options = options("--quick --broker RabbitMQ=amqp://u:p@127.0.0.1:1/,42").unwrap();
        assert!(options.quick);
        assert_eq!(
            options.peer,
            Some(Peer {
                name: "RabbitMQ".to_owned(),
                uri: "amqp://u:p@127.0.0.1:1/".to_owned(),
                pid: 42,
                http: None,
            })
        );
        let options = self::options("scale --broker R=amqp://h/,42,http://h:15672").unwrap();
        assert_eq!(options.section, Some(Section::Scale));
        let peer = options.peer.unwrap();
        assert_eq!(peer.http.as_deref(), Some("http://h:15672"));
        assert_eq!((peer.uri.as_str(), peer.pid), ("amqp://h/", 42));
    }

    #[test]
    fn what_is_not_known_is_refused() {
        for line in [
            "--slow",
            "--broker",
            "--broker RabbitMQ",
            "--broker a=b,c",
            "--broker WarrenMQ=b,1",
        ] {
            assert!(options(line).is_err(), "{line}");
        }
    }
}
