//! CPU time, memory and writing of a process, from `/proc`. RSS is what the kernel counts, shared pages included.

use std::fs;
use std::time::Duration;

use anyhow::{Context, bail};

/// A process that is watched: the broker, or this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    pid: u32,
}

/// What a process had used at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// User and system time of all threads, living and ended, since the process began.
    pub(crate) cpu: Duration,
    /// Resident memory in bytes.
    pub(crate) rss_bytes: u64,
}

impl Process {
    pub(crate) fn new(pid: u32) -> Self {
        Self { pid }
    }

    pub(crate) fn this() -> Self {
        Self::new(std::process::id())
    }

    /// # Errors
    /// The process is gone or not ours to look at.
    pub(crate) fn usage(self) -> anyhow::Result<Usage> {
        let path = format!("/proc/{}/stat", self.pid);
        let stat = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
        parse_stat(
            &stat,
            rustix::param::clock_ticks_per_second(),
            rustix::param::page_size() as u64,
        )
        .with_context(|| format!("parse {path}"))
    }

    /// Bytes that the process gave the disks to write since it began.
    ///
    /// # Errors
    /// The process is gone or not ours to look at.
    pub(crate) fn written_bytes(self) -> anyhow::Result<u64> {
        let path = format!("/proc/{}/io", self.pid);
        let io = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
        let mut lines = io.lines();
        let written = lines.find_map(|line| line.strip_prefix("write_bytes: "));
        let written = written.with_context(|| format!("no write_bytes in {path}"))?;
        Ok(written.parse()?)
    }
}

/// proc(5): the command name is in parentheses and may hold anything; fields are counted from behind the last one.
fn parse_stat(stat: &str, ticks_per_second: u64, page_size: u64) -> anyhow::Result<Usage> {
    let Some((_, fields)) = stat.rsplit_once(')') else {
        bail!("no command name");
    };
    let mut fields = fields.split_ascii_whitespace();
    // The state is field 3; utime, stime and rss are fields 14, 15 and 24.
    let mut field = |skipped: usize| -> anyhow::Result<u64> {
        let text = fields.nth(skipped).context("too few fields")?;
        text.parse().context("field is not a number")
    };
    let ticks = field(11)? + field(0)?;
    let rss_pages = field(8)?;
    Ok(Usage {
        cpu: Duration::from_secs_f64(ticks as f64 / ticks_per_second.max(1) as f64),
        rss_bytes: rss_pages * page_size,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_is_parsed_behind_the_command_name() {
        let stat = "42 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0 7 0 99 123456 30 18446744073709551615 1";
        let usage = parse_stat(stat, 100, 4096).unwrap();
        assert_eq!(usage.cpu, Duration::from_secs(3));
        assert_eq!(usage.rss_bytes, 30 * 4096);
    }

    #[test]
    fn a_cut_line_is_an_error() {
        assert!(parse_stat("42 (a) S 1 2", 100, 4096).is_err());
        assert!(parse_stat("", 100, 4096).is_err());
    }

    #[test]
    fn this_process_can_be_seen() {
        assert!(Process::this().usage().unwrap().rss_bytes > 0);
    }
}
