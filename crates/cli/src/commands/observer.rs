//! `observer`: what a node is doing at a glance, again and again.
//!
//! RabbitMQ's looks into the Erlang virtual machine; this one shows the figures of `status` and of the overview on one screen. It
//! keeps nothing from one look to the next: rates are the node's own.

use super::Done;
use crate::call::Call;
use crate::output::Output;
use crate::term::Term;
use serde_json::{Value as Json, json};
use std::io::IsTerminal as _;
use std::time::Duration;

/// Seconds between two looks, unless the command line says otherwise.
const INTERVAL_S: u64 = 5;
/// Clears the screen and begins at its top.
const CLEAR: &str = "\u{1b}[2J\u{1b}[H";

const GIGABYTE: f64 = 1e9;

pub(crate) fn observer(call: &mut Call) -> Done {
    let interval = call
        .arguments
        .option("interval")
        .and_then(|seconds| seconds.parse().ok())
        .unwrap_or(INTERVAL_S)
        .max(1);
    loop {
        let status = call.node.get("/control/status")?.ok()?;
        let overview = call.node.get("/api/overview")?.ok()?;
        let text = screen(&status, &overview);
        if !std::io::stdout().is_terminal() || call.formatter.is_machine_readable() {
            return Ok(Output::Report {
                text,
                value: Term::from_json(&json!({ "status": status, "overview": overview })),
            });
        }
        call.print(&format!("{CLEAR}{text}"));
        std::thread::sleep(Duration::from_secs(interval));
    }
}

/// One look at a node.
fn screen(status: &Json, overview: &Json) -> String {
    let mut text = format!(
        "{}  {} {}  up {}\n\n",
        plain(&status["node"]),
        plain(&status["product_name"]),
        plain(&status["product_version"]),
        duration(status["uptime"].as_u64().unwrap_or_default()),
    );
    let alarms = status["alarms"].as_array().map_or(0, Vec::len);
    text.push_str(&format!(
        "Memory    {} of {}\nDisk      {} free, alarm below {}\nFiles     {} of {}\nThreads   {}\nAlarms    {}\n\n",
        gigabytes(&status["memory"]["total"]["rss"]),
        gigabytes(&status["vm_memory_high_watermark_limit"]),
        gigabytes(&status["disk_free"]),
        gigabytes(&status["disk_free_limit"]),
        status["file_descriptors"]["total_used"],
        status["file_descriptors"]["total_limit"],
        status["processes"]["used"],
        if alarms == 0 { "none".to_owned() } else { alarms.to_string() },
    ));
    let objects = &overview["object_totals"];
    row(
        &mut text,
        "Objects",
        &[
            "connections",
            "channels",
            "consumers",
            "queues",
            "exchanges",
        ],
        |name| count(&objects[name]),
    );
    let messages = &overview["queue_totals"];
    row(
        &mut text,
        "Messages",
        &["messages_ready", "messages_unacknowledged", "messages"],
        |name| count(&messages[name]),
    );
    let stats = &overview["message_stats"];
    row(
        &mut text,
        "Rates /s",
        &[
            "publish",
            "confirm",
            "deliver_get",
            "ack",
            "redeliver",
            "return_unroutable",
        ],
        |name| rate(&stats[format!("{name}_details")]),
    );
    let churn = &overview["churn_rates"];
    row(
        &mut text,
        "Churn /s",
        &[
            "connection_created",
            "connection_closed",
            "channel_created",
            "channel_closed",
            "queue_declared",
            "queue_deleted",
        ],
        |name| rate(&churn[format!("{name}_details")]),
    );
    text
}

/// A title and, below each name, its value.
fn row(text: &mut String, title: &str, names: &[&str], value: impl Fn(&str) -> String) {
    let (mut above, mut below) = (format!("{title:<10}"), " ".repeat(10));
    for name in names {
        let value = value(name);
        let shown = name.replace('_', " ");
        let width = shown.chars().count().max(value.chars().count()) + 2;
        above.push_str(&format!("{shown:<width$}"));
        below.push_str(&format!("{value:<width$}"));
    }
    text.push_str(&format!("{}\n{}\n\n", above.trim_end(), below.trim_end()));
}

fn plain(value: &Json) -> String {
    Term::from_json(value).plain()
}

fn count(value: &Json) -> String {
    value.as_u64().unwrap_or_default().to_string()
}

fn rate(details: &Json) -> String {
    format!("{:.1}", details["rate"].as_f64().unwrap_or_default())
}

fn gigabytes(bytes: &Json) -> String {
    format!("{:.3} GB", bytes.as_f64().unwrap_or_default() / GIGABYTE)
}

fn duration(seconds: u64) -> String {
    let (minutes, hours) = (seconds / 60, seconds / 3_600);
    format!(
        "{}d {:02}:{:02}:{:02}",
        hours / 24,
        hours % 24,
        minutes % 60,
        seconds % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_shows_figures_below_their_names() {
        let status = json!({
            "node": "rabbit@localhost",
            "product_name": "WarrenMQ",
            "product_version": "1.0",
            "uptime": 93_784,
            "memory": { "total": { "rss": 1_500_000_000_u64 } },
            "alarms": [],
        });
        let overview = json!({
            "object_totals": { "connections": 3, "queues": 12_345_678_901_u64 },
            "message_stats": { "publish_details": { "rate": 12.34 } },
        });
        let text = screen(&status, &overview);
        assert!(text.starts_with("rabbit@localhost  WarrenMQ 1.0  up 1d 02:03:04\n"));
        assert!(text.contains("Memory    1.500 GB of 0.000 GB\n"), "{text}");
        assert!(
            text.contains("Objects   connections  channels  consumers  queues       exchanges\n")
        );
        assert!(text.contains("          3            0         0          12345678901  0\n"));
        assert!(text.contains("Rates /s  publish  confirm"));
        assert!(text.contains("          12.3     0.0"));
    }
}
