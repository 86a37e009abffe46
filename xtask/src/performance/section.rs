//! Sections of the page that a subcommand of `warren perf` prints: very many bindings, queues and timers, and the management API.
//!
//! Each can be measured alone; then it takes its place in the page that is there, and says of itself where and when it was measured.

use super::{Effort, OURS, Peer};
use crate::broker::Broker;
use crate::shell;
use anyhow::{Context as _, Result};
use std::process::Command;

/// A section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Section {
    /// Very many bindings, queues and timers.
    Scale,
    /// The management API while messages flow.
    Management,
}

/// What makes a broker keep no statistics.
const WITHOUT_STATISTICS: &str = "management_agent.disable_metrics_collector = true\n";
/// What begins the section behind one.
const NEXT: &str = "\n## ";
/// The section in front of which one goes that the page has not yet.
const BEFORE: &str = "## Commands\n";

impl Section {
    /// The section of that name.
    pub(super) fn of_name(name: &str) -> Option<Self> {
        [Self::Scale, Self::Management]
            .into_iter()
            .find(|section| section.command() == name)
    }

    /// The subcommand that prints it.
    fn command(self) -> &'static str {
        match self {
            Self::Scale => "scale",
            Self::Management => "management",
        }
    }

    fn heading(self) -> &'static str {
        match self {
            Self::Scale => "## At scale\n",
            Self::Management => "## Management\n",
        }
    }

    /// How much there is of what it is about.
    fn effort(self, effort: Effort) -> Vec<String> {
        let options: &[(&str, u32)] = match self {
            Self::Scale => &[("--percent", effort.scale_percent)],
            Self::Management => &[
                ("--queues", effort.queues),
                ("--connections", 2 * effort.connections),
                ("--requests", 500 * effort.scale_percent / 100),
            ],
        };
        let words = options.iter();
        words
            .flat_map(|(option, value)| [(*option).to_owned(), value.to_string()])
            .collect()
    }

    /// Runs the subcommand against the other broker, if its management API is known, and ours.
    pub(super) fn measure(self, effort: Effort, peer: Option<&Peer>) -> Result<String> {
        let broker = Broker::start("perf")?;
        let mut measuring = Command::new(shell::warren(shell::RELEASE));
        measuring.args(["perf", self.command()]);
        measuring.args(self.effort(effort));
        if let Some(peer) = peer
            && let Some(http) = &peer.http
        {
            let Peer { name, uri, pid, .. } = peer;
            measuring.args(["--broker", &format!("{name}={uri},{pid},{http}")]);
        }
        let ours = format!("{OURS}={},{},{}", broker.uri, broker.pid(), broker.http);
        measuring.args(["--broker", &ours]);
        let without = match self {
            Self::Scale => None,
            Self::Management => Some(Broker::start_with("perf-without", WITHOUT_STATISTICS)?),
        };
        if let Some(without) = &without {
            measuring.args(["--without", &without.uri]);
        }
        shell::output(&mut measuring)
    }

    /// The section with its heading; `remark` is put in front of what was measured.
    pub(super) fn text(self, remark: &str, measured: &str) -> String {
        format!("{}\n{remark}{}\n", self.heading(), measured.trim_end())
    }

    /// `page` with this text in the place of the one that it has.
    pub(super) fn replace(self, page: &str, text: &str) -> Result<String> {
        let (start, end) = match page.find(self.heading()) {
            Some(start) => {
                let behind = page[start..].find(NEXT).map(|at| start + at + 1);
                (start, behind.unwrap_or(page.len()))
            }
            None => {
                let at = page
                    .find(BEFORE)
                    .context("the page has no section of commands")?;
                (at, at)
            }
        };
        Ok(format!("{}{text}\n{}", &page[..start], &page[end..]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_section_takes_its_place() {
        let scale = Section::of_name("scale").unwrap();
        let page = "# P\n\n## Start-up\n\nx\n\n## Commands\n\ny\n";
        let first = scale
            .replace(page, &scale.text("At 1. ", "| a |\n"))
            .unwrap();
        assert_eq!(
            first,
            "# P\n\n## Start-up\n\nx\n\n## At scale\n\nAt 1. | a |\n\n## Commands\n\ny\n"
        );
        let second = scale.replace(&first, &scale.text("", "| b |")).unwrap();
        assert_eq!(
            second,
            "# P\n\n## Start-up\n\nx\n\n## At scale\n\n| b |\n\n## Commands\n\ny\n"
        );
        assert!(scale.replace("# P\n", "").is_err());
    }
}
