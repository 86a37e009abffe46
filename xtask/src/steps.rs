//! A list of steps, run in order, with a table at the end.
//!
//! A failed step does not keep the others from running, except those that need its result: one run shows all that is wrong.

use anyhow::{Result, bail};
use std::fmt;
use std::time::{Duration, Instant};

/// Something to do, with a name for the table.
pub(crate) struct Step<'a> {
    pub(crate) name: &'static str,
    /// Earlier steps without whose success this one is pointless.
    pub(crate) needs: &'static [&'static str],
    pub(crate) action: Box<dyn FnOnce() -> Result<()> + 'a>,
}

impl<'a> Step<'a> {
    pub(crate) fn new(name: &'static str, action: impl FnOnce() -> Result<()> + 'a) -> Self {
        Self {
            name,
            needs: &[],
            action: Box::new(action),
        }
    }

    pub(crate) fn needs(mut self, needs: &'static [&'static str]) -> Self {
        self.needs = needs;
        self
    }
}

/// How a step ended.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Passed,
    Failed(String),
    /// The step it needs did not pass.
    Skipped(&'static str),
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passed => f.write_str("passed"),
            Self::Failed(why) => write!(f, "FAILED: {why}"),
            Self::Skipped(needed) => write!(f, "skipped: needs {needed}"),
        }
    }
}

struct Row {
    name: &'static str,
    outcome: Outcome,
    time: Duration,
}

/// Runs all steps; the table goes to the standard error stream.
///
/// # Errors
/// If a step did not pass.
pub(crate) fn run(title: &str, steps: Vec<Step<'_>>) -> Result<()> {
    let rows = run_all(steps, |name| eprintln!("\n── {title}: {name}"));
    let passed = rows
        .iter()
        .filter(|row| row.outcome == Outcome::Passed)
        .count();
    eprintln!("\n{}", table(&rows));
    let total: Duration = rows.iter().map(|row| row.time).sum();
    let summary = format!(
        "{title}: {passed} of {} steps passed in {:.0} s",
        rows.len(),
        total.as_secs_f64()
    );
    if passed < rows.len() {
        bail!("{summary}");
    }
    eprintln!("{summary}");
    Ok(())
}

fn run_all(steps: Vec<Step<'_>>, mut announce: impl FnMut(&str)) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for step in steps {
        let passed = |name: &str| {
            rows.iter()
                .any(|row| row.name == name && row.outcome == Outcome::Passed)
        };
        let missing = step.needs.iter().copied().find(|needed| !passed(needed));
        let start = Instant::now();
        let outcome = match missing {
            Some(needed) => Outcome::Skipped(needed),
            None => {
                announce(step.name);
                match (step.action)() {
                    Ok(()) => Outcome::Passed,
                    Err(error) => {
                        eprintln!("{error:#}");
                        Outcome::Failed(first_line(&format!("{error:#}")))
                    }
                }
            }
        };
        rows.push(Row {
            name: step.name,
            outcome,
            time: start.elapsed(),
        });
    }
    rows
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

fn table(rows: &[Row]) -> String {
    let width = rows.iter().map(|row| row.name.len()).max().unwrap_or(0);
    let line = |row: &Row| {
        format!(
            "{:width$}  {:>6.1} s  {}\n",
            row.name,
            row.time.as_secs_f64(),
            row.outcome
        )
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_skips_only_what_needs_it() {
        let steps = vec![
            Step::new("a", || bail!("broken\nmore")),
            Step::new("b", || Ok(())),
            Step::new("c", || panic!("must not run")).needs(&["b", "a"]),
            Step::new("d", || panic!("must not run")).needs(&["c"]),
            Step::new("e", || Ok(())).needs(&["b"]),
        ];
        let outcomes: Vec<_> = run_all(steps, |_| {})
            .into_iter()
            .map(|row| row.outcome)
            .collect();
        let expected = [
            Outcome::Failed("broken".to_owned()),
            Outcome::Passed,
            Outcome::Skipped("a"),
            Outcome::Skipped("c"),
            Outcome::Passed,
        ];
        assert_eq!(outcomes, expected);
    }

    #[test]
    fn the_run_fails_if_a_step_fails() {
        let error = run(
            "test",
            vec![
                Step::new("a", || bail!("broken")),
                Step::new("b", || Ok(())),
            ],
        )
        .unwrap_err();
        assert!(
            error.to_string().starts_with("test: 1 of 2 steps passed"),
            "{error}"
        );
    }
}
