//! Running a whole file: comparing with what is recorded, or recording.

use super::file::{Case, ScriptFile};
use super::runner::Runner;
use anyhow::Context;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;

/// Where the broker under test listens.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    /// AMQP.
    pub amqp: SocketAddr,
    /// The HTTP API.
    pub http: SocketAddr,
}

/// Which answers are expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Those recorded.
    RabbitMq,
    /// Those recorded, unless a `~` line says otherwise.
    WarrenMq,
}

/// What a comparison found.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Cases run.
    pub cases: usize,
    /// Steps run whose answers were compared.
    pub steps: usize,
    /// One text for every case that differs, with the steps that do.
    pub mismatches: Vec<String>,
}

/// Runs every case of a file and compares the answers.
///
/// # Errors
/// The file cannot be read.
pub fn check_file(path: &Path, addresses: Addresses, target: Target) -> anyhow::Result<Outcome> {
    let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    let file = ScriptFile::parse(&text);
    let mut outcome = Outcome::default();
    for (case, actual) in run_cases(&file, addresses) {
        outcome.cases += 1;
        outcome.steps += case.steps.iter().filter(|step| step.is_command()).count();
        let difference = difference(case, &actual, target);
        if !difference.is_empty() {
            outcome.mismatches.push(format!(
                "── {} ({})\n{difference}",
                case.name,
                path.display()
            ));
        }
    }
    Ok(outcome)
}

/// Runs every case of a file and writes the answers into it.
///
/// # Errors
/// The file cannot be read or written, or a step got no answer it waits for.
pub fn record_file(path: &Path, addresses: Addresses) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    let mut file = ScriptFile::parse(&text);
    for index in 0..file.cases.len() {
        if !is_wanted(&file.cases[index]) {
            continue;
        }
        let actual = run_case(&file, &file.cases[index], addresses);
        let case = &mut file.cases[index];
        for (step, lines) in case.steps.iter_mut().zip(actual) {
            if let Some(failure) = lines.iter().find(|line| line.starts_with('!')) {
                eprintln!(
                    "{}: {}: {}\n  {failure}",
                    path.display(),
                    case.name,
                    step.line
                );
            }
            step.recorded = lines;
        }
    }
    std::fs::write(path, file.text()).with_context(|| format!("write {}", path.display()))
}

/// The answers to each step of each case. Where a file says so its cases run side by side: they wait for times most of all.
fn run_cases(file: &ScriptFile, addresses: Addresses) -> Vec<(&Case, Vec<Vec<String>>)> {
    let wanted = file.cases.iter().filter(|case| is_wanted(case));
    if file.setting("cases") != Some("side by side") {
        return wanted
            .map(|case| (case, run_case(file, case, addresses)))
            .collect();
    }
    std::thread::scope(|scope| {
        let threads: Vec<_> = wanted
            .map(|case| (case, scope.spawn(|| run_case(file, case, addresses))))
            .collect();
        threads
            .into_iter()
            .map(|(case, thread)| (case, thread.join().expect("a case does not panic")))
            .collect()
    })
}

/// `CASE=part-of-a-name` runs only those cases.
fn is_wanted(case: &Case) -> bool {
    std::env::var("CASE").map_or(true, |part| case.name.contains(&part))
}

/// The answers to each step; a step that fails has a line starting with `!`, and those behind it are not run.
fn run_case(file: &ScriptFile, case: &Case, addresses: Addresses) -> Vec<Vec<String>> {
    let (user, password) = file
        .setting("user")
        .and_then(|user| user.split_once(' '))
        .unwrap_or(("guest", "guest"));
    let vhost = file.setting("vhost");
    let mut runner = Runner::new(addresses, user, password, vhost.unwrap_or("/"));
    let mut answers = Vec::new();
    let mut has_failed = false;
    if let Some(vhost) = vhost
        && let Err(error) = runner.begin_vhost(vhost)
    {
        has_failed = true;
        answers.push(vec![format!("! < vhost: {error:#}")]);
    }
    for step in case.steps.iter().skip(answers.len()) {
        if !step.is_command() || has_failed {
            answers.push(Vec::new());
            continue;
        }
        answers.push(runner.step(&step.line).unwrap_or_else(|error| {
            has_failed = true;
            vec![format!("! < {error:#}")]
        }));
    }
    let cleaned = runner
        .clean_up()
        .and_then(|()| vhost.map_or(Ok(()), |vhost| runner.end_vhost(vhost)));
    if let Err(error) = cleaned
        && let Some(last) = answers.last_mut()
    {
        last.push(format!("! < clean up: {error:#}"));
    }
    answers
}

fn difference(case: &Case, actual: &[Vec<String>], target: Target) -> String {
    let mut out = String::new();
    for (step, lines) in case.steps.iter().zip(actual) {
        let expected: Vec<&str> = match target {
            Target::RabbitMq => step.recorded.iter().map(String::as_str).collect(),
            Target::WarrenMq => step.expected(),
        };
        if expected != *lines {
            writeln!(out, "  {}", step.line).expect("writing to a string does not fail");
            for line in expected {
                writeln!(out, "   -{line}").expect("writing to a string does not fail");
            }
            for line in lines {
                writeln!(out, "   +{line}").expect("writing to a string does not fail");
            }
        }
        if lines.iter().any(|line| line.starts_with('!')) {
            break;
        }
    }
    out
}
