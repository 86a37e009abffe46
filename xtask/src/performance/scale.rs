//! Very many bindings, queues and timers: the section of the page that `warren perf scale` prints.
//!
//! It can be measured alone; then it takes its place in the page that is there, and says of itself where and when it was measured.

use super::{Effort, OURS, Peer};
use crate::broker::Broker;
use crate::shell;
use anyhow::{Context as _, Result};
use std::process::Command;

/// The heading of the section.
const HEADING: &str = "## At scale\n";
/// What begins the section behind it.
const NEXT: &str = "\n## ";
/// The section in front of which it goes if the page has none yet.
const BEFORE: &str = "## Commands\n";

/// Runs the parts against the other broker, if its management API is known, and ours.
pub(super) fn measure(effort: Effort, peer: Option<&Peer>) -> Result<String> {
    let broker = Broker::start("perf")?;
    let mut scale = Command::new(shell::warren("release"));
    scale.args(["perf", "scale"]);
    scale.args(["--percent", &effort.scale_percent.to_string()]);
    if let Some(peer) = peer
        && let Some(http) = &peer.http
    {
        let Peer { name, uri, pid, .. } = peer;
        scale.args(["--broker", &format!("{name}={uri},{pid},{http}")]);
    }
    let ours = format!("{OURS}={},{},{}", broker.uri, broker.pid(), broker.http);
    scale.args(["--broker", &ours]);
    shell::output(&mut scale)
}

/// The section with its heading; `remark` is put in front of what was measured.
pub(super) fn section(remark: &str, measured: &str) -> String {
    format!("{HEADING}\n{remark}{}\n", measured.trim_end())
}

/// `page` with this section in the place of the one that it has.
pub(super) fn replace(page: &str, section: &str) -> Result<String> {
    let (start, end) = match page.find(HEADING) {
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
    Ok(format!("{}{section}\n{}", &page[..start], &page[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_section_takes_its_place() {
        let page = "# P\n\n## Start-up\n\nx\n\n## Commands\n\ny\n";
        let first = replace(page, &section("At 1. ", "| a |\n")).unwrap();
        assert_eq!(
            first,
            "# P\n\n## Start-up\n\nx\n\n## At scale\n\nAt 1. | a |\n\n## Commands\n\ny\n"
        );
        let second = replace(&first, &section("", "| b |")).unwrap();
        assert_eq!(
            second,
            "# P\n\n## Start-up\n\nx\n\n## At scale\n\n| b |\n\n## Commands\n\ny\n"
        );
        assert!(replace("# P\n", "").is_err());
    }
}
