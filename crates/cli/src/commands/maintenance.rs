//! Taking a node out of service and back, its log, and what happens in it.

use super::Done;
use crate::Failure;
use crate::call::Call;
use crate::failure::UNAVAILABLE;
use crate::node::encode;
use crate::output::Output;
use crate::term::Term;
use rand::RngExt as _;
use serde_json::{Value as Json, json};
use std::time::{Duration, Instant};

/// How often new lines and events are asked for.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// Lines that `log_tail` shows unless it is told otherwise.
const TAIL_LINES: u32 = 50;

/// Events that are taken at once.
const EVENTS_AT_ONCE: u32 = 1_000;

/// Events that wait at most; older ones are dropped.
const EVENTS_MAX: u32 = 100_000;

/// Milliseconds after which a queue for events goes that was not taken away, one hour; a longer stream makes another.
const EVENT_QUEUE_EXPIRES_MS: u32 = 3_600_000;

/// Asks the node to do something that has no more of an answer.
fn act(call: &mut Call, banner: &str, path: &str, body: &Json) -> Done {
    call.say(banner);
    Call::done(call.node.post(path, body)?)?;
    Ok(Output::Nothing)
}

pub(crate) fn suspend_listeners(call: &mut Call) -> Done {
    let banner = format!(
        "Will suspend client connection listeners on node {}. The node will no longer accept client connections!",
        call.node.name()
    );
    act(call, &banner, "/control/listeners/suspend", &Json::Null)
}

pub(crate) fn resume_listeners(call: &mut Call) -> Done {
    let banner = format!(
        "Will resume client connection listeners on node {}. The node will now accept client connections",
        call.node.name()
    );
    act(call, &banner, "/control/listeners/resume", &Json::Null)
}

pub(crate) fn drain(call: &mut Call) -> Done {
    let banner = format!(
        "Will put node {} into maintenance mode. The node will no longer serve any client traffic!",
        call.node.name()
    );
    act(call, &banner, "/control/drain", &Json::Null)
}

pub(crate) fn revive(call: &mut Call) -> Done {
    let banner = format!(
        "Will put node {} back into regular operating mode. The node will again serve client traffic and host primary queue replicas.",
        call.node.name()
    );
    act(call, &banner, "/control/revive", &Json::Null)
}

pub(crate) fn force_gc(call: &mut Call) -> Done {
    let banner = format!(
        "Will ask all processes on node {} to schedule a full sweep GC",
        call.node.name()
    );
    act(call, &banner, "/control/force-gc", &Json::Null)
}

pub(crate) fn reset_stats_db(call: &mut Call) -> Done {
    call.say(&if call.arguments.has("all") {
        "Resetting statistics database in all nodes".to_owned()
    } else {
        format!("Resetting statistics database on node {}", call.node.name())
    });
    Call::done(call.node.delete("/api/reset")?)?;
    Ok(Output::Printed)
}

pub(crate) fn activate_disk_monitor(call: &mut Call) -> Done {
    let banner = format!(
        "[Re-]activating free disk space monitoring on node {}...",
        call.node.name()
    );
    act(
        call,
        &banner,
        "/control/disk-monitor",
        &json!({ "active": true }),
    )
}

pub(crate) fn deactivate_disk_monitor(call: &mut Call) -> Done {
    let banner = format!(
        "Deactivating free disk space monitoring on node {}...",
        call.node.name()
    );
    act(
        call,
        &banner,
        "/control/disk-monitor",
        &json!({ "active": false }),
    )
}

/// Levels as they may be asked for.
const LEVELS: [&str; 6] = ["debug", "info", "warning", "error", "critical", "none"];

pub(crate) fn set_log_level(call: &mut Call) -> Done {
    let level = call.value(0).to_owned();
    if !LEVELS.contains(&level.as_str()) {
        return Err(Failure::error(
            UNAVAILABLE,
            format!(
                "level {level} is not supported. Try one of {}",
                LEVELS.join(", ")
            ),
        ));
    }
    call.say(&format!("Setting log level to \"{level}\" ..."));
    let answer = call
        .node
        .put("/control/log/level", &json!({ "level": level }))?;
    Call::done(answer)?;
    Ok(Output::Nothing)
}

/// Compat: RabbitMQ's tool has given this up; the log's files can be rotated here.
pub(crate) fn rotate_logs(call: &mut Call) -> Done {
    let banner = format!("Rotating logs for node {} ...", call.node.name());
    act(call, &banner, "/control/log/rotate", &Json::Null)
}

/// The end of the log's file.
fn tail(call: &mut Call, query: &str) -> Result<Json, Failure> {
    let answer = call.node.get(&format!("/control/log?{query}"))?;
    if answer.is_missing() {
        return Err(Failure::error(UNAVAILABLE, answer.reason()));
    }
    answer.ok()
}

pub(crate) fn log_tail(call: &mut Call) -> Done {
    let count = match call.arguments.option("number") {
        None => TAIL_LINES,
        Some(text) => text
            .parse()
            .map_err(|_| Failure::argument("Bad argument: the number of lines"))?,
    };
    call.say(&format!(
        "Last {count} log lines on node {} ...",
        call.node.name()
    ));
    let text = tail(call, &format!("lines={count}"))?["text"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    Ok(Output::Report {
        value: Term::List(text.lines().map(Term::text).collect()),
        text,
    })
}

/// When to stop, if somebody said so.
fn deadline(call: &Call) -> Result<(String, Option<Instant>), Failure> {
    let Some(text) = call.arguments.option("duration") else {
        return Ok(("indefinitely".to_owned(), None));
    };
    if text == "infinity" {
        return Ok(("indefinitely".to_owned(), None));
    }
    let seconds: f64 = text
        .parse()
        .map_err(|_| Failure::argument("Bad argument: the duration"))?;
    let span = Duration::try_from_secs_f64(seconds)
        .map_err(|_| Failure::argument("Bad argument: the duration"))?;
    Ok((
        format!("for {text} seconds"),
        Instant::now().checked_add(span),
    ))
}

/// Waits a moment. False if the time is over.
fn goes_on(until: Option<Instant>) -> bool {
    let left = until.map(|until| until.saturating_duration_since(Instant::now()));
    if left.is_some_and(|left| left.is_zero()) {
        return false;
    }
    std::thread::sleep(left.map_or(LOOK_AGAIN, |left| left.min(LOOK_AGAIN)));
    true
}

pub(crate) fn log_tail_stream(call: &mut Call) -> Done {
    let (how_long, until) = deadline(call)?;
    call.say(&format!(
        "Streaming logs from node {} {how_long} ...",
        call.node.name()
    ));
    let mut place = tail(call, "lines=0")?["next"].clone();
    loop {
        let page = tail(
            call,
            &format!("from={}", place.as_str().unwrap_or_default()),
        )?;
        call.print(page["text"].as_str().unwrap_or_default());
        place = page["next"].clone();
        if !goes_on(until) {
            return Ok(Output::Nothing);
        }
    }
}

/// Events come through a queue of their own, which is bound to the exchange for events and goes by itself if this tool cannot take it
/// away.
pub(crate) fn consume_event_stream(call: &mut Call) -> Done {
    let (_, until) = deadline(call)?;
    let process = call.node.get("/control/process")?.ok()?;
    let events = Events {
        vhost: process["event_exchange_vhost"]
            .as_str()
            .unwrap_or("/")
            .to_owned(),
        queue: format!("rabbitmqctl.events.{:016x}", rand::rng().random::<u64>()),
        pattern: call.arguments.option("pattern").unwrap_or("#").to_owned(),
    };
    events.open(call)?;
    let outcome = events.print(call, until);
    // One that is gone already needs no deleting.
    let _ = call
        .node
        .post(&events.path("/control/queues", "/delete"), &Json::Null);
    outcome
}

/// A queue for events.
struct Events {
    vhost: String,
    queue: String,
    pattern: String,
}

impl Events {
    fn path(&self, before: &str, behind: &str) -> String {
        format!("{before}/{}/{}{behind}", encode(&self.vhost), self.queue)
    }

    /// Makes the queue, as an import does: an operator on the host is no user with permissions.
    fn open(&self, call: &mut Call) -> Result<(), Failure> {
        let definitions = json!({
            "queues": [{
                "vhost": self.vhost,
                "name": self.queue,
                "durable": false,
                "auto_delete": false,
                "arguments": {
                    "x-expires": EVENT_QUEUE_EXPIRES_MS,
                    "x-max-length": EVENTS_MAX,
                },
            }],
            "bindings": [{
                "vhost": self.vhost,
                "source": "amq.rabbitmq.event",
                "destination": self.queue,
                "destination_type": "queue",
                "routing_key": self.pattern,
                "arguments": {},
            }],
        });
        Call::done(call.node.post("/api/definitions", &definitions)?)
    }

    /// Prints what comes, a JSON object each, until the time is over.
    fn print(&self, call: &mut Call, until: Option<Instant>) -> Done {
        let (browse, delete) = (
            self.path("/api/queues", "/browse"),
            self.path("/api/queues", "/delete-messages"),
        );
        loop {
            let answer = call
                .node
                .post(&browse, &json!({ "count": EVENTS_AT_ONCE }))?;
            if answer.is_missing() {
                self.open(call)?;
                continue;
            }
            let page = answer.ok()?;
            let messages = page["messages"].as_array().cloned().unwrap_or_default();
            for message in &messages {
                self.print_one(call, message);
            }
            let positions: Vec<&Json> = messages.iter().map(|own| &own["position"]).collect();
            if !positions.is_empty() {
                let taken = json!({ "positions": positions });
                Call::done(call.node.post(&delete, &taken)?)?;
            }
            if !goes_on(until) {
                return Ok(Output::Nothing);
            }
        }
    }

    fn print_one(&self, call: &Call, message: &Json) {
        let mut event = message["properties"]["headers"]
            .as_object()
            .cloned()
            .unwrap_or_default();
        let is_own = ["name", "destination_name"]
            .iter()
            .any(|key| event.get(*key).and_then(Json::as_str) == Some(&self.queue));
        if !is_own {
            event.insert("event".to_owned(), message["routing_key"].clone());
            call.print(&format!("{}\n", Json::Object(event)));
        }
    }
}
