//! What a run measured, for people and as JSON.

use std::fmt::{self, Write as _};
use std::time::Duration;

use serde::Serialize;

use crate::meter::{Counts, LatencySummary};
use crate::process::Usage;
use crate::verify::VerifySummary;

/// The result of one load.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Summary {
    /// Name of the run.
    pub id: String,
    /// Body size in bytes.
    pub size: usize,
    /// Length of the measured window in seconds.
    pub duration_s: f64,
    /// What happened within the window.
    pub counts: Counts,
    /// Messages published a second.
    pub sent_rate: f64,
    /// Messages delivered a second.
    pub received_rate: f64,
    /// Messages confirmed a second.
    pub confirmed_rate: f64,
    /// Churn rounds a second.
    pub churned_rate: f64,
    /// Publish to deliver.
    pub delivery_latency: LatencySummary,
    /// Publish to confirm.
    pub confirm_latency: LatencySummary,
    /// One churn round.
    pub churn_latency: LatencySummary,
    /// The broker, if its process id was given.
    pub server: Option<ProcessSummary>,
    /// The load generator itself.
    pub client: ProcessSummary,
    /// The verdict, if messages were verified.
    pub verify: Option<VerifySummary>,
    /// Second by second.
    pub intervals: Vec<Interval>,
}

/// What a process used within the window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct ProcessSummary {
    /// User and system time of all threads in seconds.
    pub cpu_s: f64,
    /// The same as a share of one core.
    pub cpu_percent: f64,
    /// The same for each message (delivered, or published if none was delivered; or churn round), in microseconds.
    pub cpu_us_per_message: f64,
    /// Resident memory when the window began, in bytes.
    pub rss_start_bytes: u64,
    /// Resident memory when the window ended, in bytes.
    pub rss_end_bytes: u64,
    /// The most that was seen in between, in bytes.
    pub rss_max_bytes: u64,
}

/// One line of the live output.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Interval {
    /// Seconds since the run began.
    pub time_s: f64,
    /// Whether it lies in the measured window.
    pub measured: bool,
    /// Published a second.
    pub sent_rate: f64,
    /// Delivered a second.
    pub received_rate: f64,
    /// Confirmed a second.
    pub confirmed_rate: f64,
    /// Refused a second.
    pub nacked_rate: f64,
    /// Churn rounds a second.
    pub churned_rate: f64,
    /// Publish to deliver.
    pub delivery_latency: LatencySummary,
    /// Publish to confirm.
    pub confirm_latency: LatencySummary,
    /// One churn round.
    pub churn_latency: LatencySummary,
}

impl ProcessSummary {
    pub(crate) fn new(
        start: Usage,
        end: Usage,
        rss_max_bytes: u64,
        window: Duration,
        messages: u64,
    ) -> Self {
        let cpu = end.cpu.saturating_sub(start.cpu).as_secs_f64();
        Self {
            cpu_s: cpu,
            cpu_percent: per(cpu * 100.0, window.as_secs_f64()),
            cpu_us_per_message: per(cpu * 1e6, messages as f64),
            rss_start_bytes: start.rss_bytes,
            rss_end_bytes: end.rss_bytes,
            rss_max_bytes: rss_max_bytes.max(start.rss_bytes).max(end.rss_bytes),
        }
    }
}

/// `amount` for each of `count`, 0 if there is none.
pub(crate) fn per(amount: f64, count: f64) -> f64 {
    if count > 0.0 { amount / count } else { 0.0 }
}

/// Messages that the CPU time of a run is divided by.
pub(crate) fn messages(counts: &Counts) -> u64 {
    match (counts.received, counts.sent) {
        (0, 0) => counts.churned,
        (0, sent) => sent,
        (received, _) => received,
    }
}

/// A count with its thousands apart.
pub(crate) fn grouped(number: u64) -> String {
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

/// A rate as a whole number with its thousands apart.
pub(crate) fn rate(rate: f64) -> String {
    grouped(rate.round() as u64)
}

/// A duration in the unit that suits it.
pub(crate) fn micros(us: f64) -> String {
    if us < 1_000.0 {
        format!("{us:.0} µs")
    } else if us < 1_000_000.0 {
        format!("{:.1} ms", us / 1e3)
    } else {
        format!("{:.2} s", us / 1e6)
    }
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:7.1} s", self.time_s)?;
        let rates = [
            ("sent", self.sent_rate),
            ("received", self.received_rate),
            ("confirmed", self.confirmed_rate),
            ("nacked", self.nacked_rate),
            ("rounds", self.churned_rate),
        ];
        for (name, per_second) in rates
            .into_iter()
            .filter(|(_, per_second)| *per_second > 0.0)
        {
            write!(f, "  {name} {}/s", rate(per_second))?;
        }
        let latencies = [
            ("deliver", &self.delivery_latency),
            ("confirm", &self.confirm_latency),
            ("round", &self.churn_latency),
        ];
        for (name, latency) in latencies
            .into_iter()
            .filter(|(_, latency)| latency.count > 0)
        {
            write!(
                f,
                "  {name} p50 {} p99 {} max {}",
                micros(latency.p50_us),
                micros(latency.p99_us),
                micros(latency.max_us)
            )?;
        }
        Ok(())
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{}: {:.2} s measured, {} byte bodies",
            self.id, self.duration_s, self.size
        )?;
        let counts = [
            ("sent", self.counts.sent, self.sent_rate),
            ("received", self.counts.received, self.received_rate),
            ("confirmed", self.counts.confirmed, self.confirmed_rate),
            ("rounds", self.counts.churned, self.churned_rate),
        ];
        for (name, count, per_second) in counts.into_iter().filter(|(_, count, _)| *count > 0) {
            writeln!(
                f,
                "  {name:<10}{:>16}  {:>12}/s",
                grouped(count),
                rate(per_second)
            )?;
        }
        for (name, count) in [
            ("nacked", self.counts.nacked),
            ("returned", self.counts.returned),
        ] {
            if count > 0 {
                writeln!(f, "  {name:<10}{:>16}", grouped(count))?;
            }
        }
        write_latency(f, "publish to deliver", &self.delivery_latency)?;
        write_latency(f, "publish to confirm", &self.confirm_latency)?;
        write_latency(f, "round", &self.churn_latency)?;
        if let Some(server) = &self.server {
            write_process(f, "server", server)?;
        }
        write_process(f, "client", &self.client)?;
        if let Some(verify) = &self.verify {
            write_verdict(f, verify)?;
        }
        Ok(())
    }
}

fn write_latency(f: &mut fmt::Formatter<'_>, name: &str, latency: &LatencySummary) -> fmt::Result {
    if latency.count == 0 {
        return Ok(());
    }
    let mut line = format!("  {name:<20}");
    for (label, us) in [
        ("min", latency.min_us),
        ("p50", latency.p50_us),
        ("p75", latency.p75_us),
        ("p95", latency.p95_us),
        ("p99", latency.p99_us),
        ("p99.9", latency.p999_us),
        ("p99.99", latency.p9999_us),
        ("max", latency.max_us),
    ] {
        write!(line, "{label} {}  ", micros(us))?;
    }
    writeln!(f, "{}", line.trim_end())
}

fn write_process(f: &mut fmt::Formatter<'_>, name: &str, process: &ProcessSummary) -> fmt::Result {
    writeln!(
        f,
        "  {name} CPU {:.3} µs/message ({:.2} s, {:.0} % of a core), RSS {:.1} -> {:.1} MiB, at most {:.1} MiB",
        process.cpu_us_per_message,
        process.cpu_s,
        process.cpu_percent,
        mebibytes(process.rss_start_bytes),
        mebibytes(process.rss_end_bytes),
        mebibytes(process.rss_max_bytes),
    )
}

fn write_verdict(f: &mut fmt::Formatter<'_>, verify: &VerifySummary) -> fmt::Result {
    let verdict = if verify.violated() {
        "VIOLATED"
    } else {
        "kept"
    };
    writeln!(
        f,
        "  promises {verdict}: {} intact, {} lost, {} duplicated, {} out of order, {} corrupt; \
         {} redelivered, {} unconfirmed, {} of other runs",
        grouped(verify.intact),
        verify.lost,
        verify.duplicated,
        verify.out_of_order,
        verify.corrupt,
        verify.redelivered,
        verify.unconfirmed,
        verify.foreign,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(micros(999.4), "999 µs");
        assert_eq!(micros(1_500.0), "1.5 ms");
        assert_eq!(micros(2_500_000.0), "2.50 s");
    }

    #[test]
    fn cpu_is_divided_by_what_was_moved() {
        let usage = |ms, rss_bytes| Usage {
            cpu: Duration::from_millis(ms),
            rss_bytes,
        };
        let window = Duration::from_secs(2);
        let process = ProcessSummary::new(usage(100, 10), usage(1_100, 20), 30, window, 500_000);
        assert!((process.cpu_us_per_message - 2.0).abs() < 1e-9);
        assert!((process.cpu_percent - 50.0).abs() < 1e-9);
        assert_eq!(process.rss_max_bytes, 30);
        let nothing = ProcessSummary::new(usage(0, 0), usage(5, 0), 0, window, 0);
        assert_eq!(nothing.cpu_us_per_message, 0.0);
    }

    #[test]
    fn messages_are_deliveries_then_publishes_then_rounds() {
        let counts = |sent, received, churned| Counts {
            sent,
            received,
            churned,
            ..Default::default()
        };
        assert_eq!(messages(&counts(5, 9, 0)), 9);
        assert_eq!(messages(&counts(5, 0, 0)), 5);
        assert_eq!(messages(&counts(0, 0, 3)), 3);
    }
}
