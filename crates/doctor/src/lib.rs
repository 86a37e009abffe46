//! `warren doctor`: looks at a host, a configuration and a data directory, and says what to fix.
//!
//! It reads only, but for one small file beside the data that measures the disk and is removed again. It starts nothing and asks no
//! running node. Read `finding` first; `docs/doctor.md` is for users.

mod data;
mod finding;
mod host;

use anyhow::Context as _;
use clap::Parser;
use config::{Loaded, Process, Settings};
use finding::{Area, Finding, Severity};
use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;

/// Check this host, the configuration and the data directory.
#[derive(Debug, Parser)]
#[command(
    name = "warren doctor",
    after_help = "Configuration is found as `warren server` finds it: rabbitmq.conf and the RABBITMQ_* variables.\n\
        The exit code is 0 if nothing is wrong, also with warnings, and 1 otherwise."
)]
struct Cli {
    /// Another data directory than the configured one.
    #[arg(long, value_name = "DIRECTORY")]
    data_dir: Option<PathBuf>,
    /// Print JSON: a list of findings.
    #[arg(long)]
    json: bool,
}

/// Runs the command with a command line, of which the first item is the program's name. Returns whether everything that a node
/// needs is there.
///
/// `problem` tells what would keep a node from starting with a configuration that can be read.
///
/// # Errors
/// The arguments are wrong, or nothing can be printed.
pub fn run(
    args: impl IntoIterator<Item = OsString>,
    problem: &dyn Fn(&Loaded) -> Option<String>,
) -> anyhow::Result<bool> {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() => anyhow::bail!("{error}"),
        Err(help) => {
            help.print()?;
            return Ok(true);
        }
    };
    let mut findings = Vec::new();
    let mut settings = configuration(&mut findings, problem);
    if let Some(data_dir) = cli.data_dir {
        settings.data_dir = data_dir;
    }
    host::check(&settings, &mut findings);
    data::check(&settings.data_dir, &mut findings);
    let is_well = findings
        .iter()
        .all(|finding| finding.severity != Severity::Error);
    print(&findings, cli.json).context("write to the standard output")?;
    Ok(is_well)
}

/// The configuration of the node, or the defaults where it cannot be read.
fn configuration(
    findings: &mut Vec<Finding>,
    problem: &dyn Fn(&Loaded) -> Option<String>,
) -> Settings {
    let loaded = match config::load(&Process) {
        Ok(loaded) => loaded,
        Err(error) => {
            findings.extend(error.problems.iter().map(|problem| {
                Finding::new(Area::Configuration, Severity::Error, problem.to_string())
                    .advise("a node does not start with it: correct or remove the line")
            }));
            return Settings::default();
        }
    };
    let files: Vec<_> = loaded
        .files
        .iter()
        .map(|file| file.display().to_string())
        .collect();
    let text = if files.is_empty() {
        "no configuration file: defaults and environment variables".to_owned()
    } else {
        format!("read {}", files.join(", "))
    };
    findings.push(Finding::new(Area::Configuration, Severity::Ok, text));
    findings.extend(
        loaded
            .notes
            .iter()
            .map(|note| Finding::new(Area::Configuration, Severity::Note, note.clone())),
    );
    if let Some(problem) = problem(&loaded) {
        findings.push(
            Finding::new(Area::Configuration, Severity::Error, problem)
                .advise("a node does not start with it"),
        );
    }
    loaded.settings
}

fn print(findings: &[Finding], json: bool) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    if json {
        serde_json::to_writer_pretty(&mut out, findings)?;
        return writeln!(out);
    }
    let mut area = None;
    for finding in findings {
        if area != Some(finding.area) {
            writeln!(out, "{}", finding.area)?;
            area = Some(finding.area);
        }
        writeln!(out, "  {:7} {}", finding.severity.to_string(), finding.text)?;
        if let Some(advice) = &finding.advice {
            writeln!(out, "          → {advice}")?;
        }
    }
    let count = |severity| {
        findings
            .iter()
            .filter(|finding| finding.severity == severity)
            .count()
    };
    writeln!(
        out,
        "{} errors, {} warnings",
        count(Severity::Error),
        count(Severity::Warning)
    )
}
