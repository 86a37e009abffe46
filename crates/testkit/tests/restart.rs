//! What a restart leaves as it was: queues with each of their features, after an orderly stop and after a crash, as far as a client
//! can see them.
#![expect(
    clippy::unwrap_used,
    reason = "whoever cannot ask the broker has failed"
)]

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use testkit::{Broker, Http};

/// Everything on one shard, so that a confirm comes behind all that was before it.
const SETTINGS: &str = "warren.shards = 1\n";

/// Milliseconds that nobody waits for.
const LONG_MS: u64 = 3_600_000;

/// What two clocks tell of one time differs by less.
const CLOCKS_DIFFER_MS: u64 = 5_000;

/// Longest wait for what has to come.
const PATIENCE: Duration = Duration::from_secs(60);

fn declare(http: &Http, queue: &str, arguments: Value) {
    let body = json!({"durable": true, "arguments": arguments});
    http.put(&format!("/queues/%2F/{queue}"), body).unwrap();
}

fn quorum(http: &Http, queue: &str, mut arguments: Value) {
    arguments["x-queue-type"] = "quorum".into();
    declare(http, queue, arguments);
}

/// Publishes and waits for the confirm; fails if it is refused.
fn publish_with(
    http: &Http,
    queue: &str,
    payload: &str,
    properties: Value,
) -> anyhow::Result<Value> {
    let body = json!({
        "properties": properties, "routing_key": queue, "payload": payload, "payload_encoding": "string",
    });
    http.post("/exchanges/%2F/amq.default/publish", body)
}

fn publish(http: &Http, queue: &str, payloads: &[&str]) {
    for payload in payloads {
        publish_with(http, queue, payload, json!({"delivery_mode": 2})).unwrap();
    }
}

/// Takes messages from the front, and says what becomes of them.
fn take(http: &Http, queue: &str, count: usize, mode: &str) -> Vec<Value> {
    let body = json!({"count": count, "ackmode": mode, "encoding": "auto"});
    let taken = http
        .post(&format!("/queues/%2F/{queue}/get"), body)
        .unwrap();
    taken.as_array().unwrap().clone()
}

fn payloads(messages: &[Value]) -> Vec<&str> {
    let payloads = messages.iter().map(|message| message["payload"].as_str());
    payloads.map(Option::unwrap).collect()
}

/// Asks until the answer is right.
fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(started.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn item(http: &Http, queue: &str) -> Value {
    http.get(&format!("/queues/%2F/{queue}")).unwrap()
}

fn until_messages(http: &Http, queue: &str, count: u64) {
    until(&format!("{count} in {queue}"), || {
        (item(http, queue)["messages"] == count).then_some(())
    });
}

/// Fields of a queue that a restart must not change.
const FIELDS: [&str; 15] = [
    "arguments",
    "auto_delete",
    "delayed_retry",
    "durable",
    "effective_policy_definition",
    "exclusive",
    "messages",
    "messages_delayed",
    "messages_ready",
    "messages_replayable",
    "messages_unacknowledged",
    "policy",
    "state",
    "type",
    "vhost",
];

/// All queues as a client sees them, and every message in them.
fn visible(http: &Http, marks: bool) -> BTreeMap<String, Value> {
    let queues = http.get("/queues").unwrap();
    let names = queues.as_array().unwrap().iter();
    let names = names.map(|queue| queue["name"].as_str().unwrap().to_owned());
    // What is delayed may be due by now.
    let names = names.filter(|name| name != "delays");
    let mut seen = BTreeMap::new();
    for name in names {
        let all = item(http, &name);
        let mut fields = json!({});
        for field in FIELDS {
            fields[field] = all[field].clone();
        }
        let browsed = http.post(&format!("/queues/%2F/{name}/browse"), json!({}));
        let mut messages = browsed.unwrap()["messages"].clone();
        for message in messages.as_array_mut().unwrap() {
            if !marks {
                // Compat: after a crash all are marked.
                message["redelivered"] = Value::Null;
            }
        }
        fields["messages"] = all["messages"].clone();
        fields["content"] = messages;
        seen.insert(name, fields);
    }
    seen
}

/// Whether both are the same but for times, which a process tells by a clock of its own.
fn is_same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && a.iter().all(|(key, a)| {
                    let Some(b) = b.get(key) else { return false };
                    match (key.as_str(), a.as_u64(), b.as_u64()) {
                        ("expires_at", Some(a), Some(b)) => a.abs_diff(b) < CLOCKS_DIFFER_MS,
                        _ => is_same(a, b),
                    }
                })
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_same(a, b))
        }
        (a, b) => a == b,
    }
}

/// Makes queues of all kinds and uses them.
fn fill(http: &Http) {
    publish_and_limit(http);
    die(http);
    come_back(http);
    go_beyond_rabbitmq(http);
}

fn publish_and_limit(http: &Http) {
    declare(http, "ttl", json!({"x-message-ttl": LONG_MS}));
    publish(http, "ttl", &["a", "b"]);
    let soon = json!({"delivery_mode": 2, "expiration": "1800000"});
    publish_with(http, "ttl", "c", soon).unwrap();
    declare(http, "expires", json!({"x-expires": LONG_MS}));
    publish(http, "expires", &["a"]);
    declare(http, "drops", json!({"x-max-length": 2}));
    publish(http, "drops", &["a", "b", "c"]);
    declare(http, "drops-bytes", json!({"x-max-length-bytes": 5}));
    publish(http, "drops-bytes", &["123", "45", "678"]);
    let refuses = json!({"x-max-length": 2, "x-overflow": "reject-publish"});
    declare(http, "refuses", refuses);
    publish(http, "refuses", &["a", "b"]);
    declare(http, "levels", json!({"x-max-priority": 5}));
    quorum(http, "quorum-levels", json!({}));
    for queue in ["levels", "quorum-levels"] {
        for priority in [1, 3, 2] {
            let properties = json!({"delivery_mode": 2, "priority": priority});
            publish_with(http, queue, &priority.to_string(), properties).unwrap();
        }
    }
    let single = json!({"x-single-active-consumer": true});
    declare(http, "single", single);
    quorum(http, "timeout", json!({"x-consumer-timeout": LONG_MS}));
    publish(http, "timeout", &["a"]);
    let policy =
        json!({"pattern": "^by-policy$", "definition": {"max-length": 1, "message-ttl": LONG_MS}});
    http.put("/policies/%2F/limits", policy).unwrap();
    declare(http, "by-policy", json!({}));
    publish(http, "by-policy", &["a", "b"]);
}

fn die(http: &Http) {
    declare(http, "dead", json!({}));
    let to_dead = |mut arguments: Value| {
        arguments["x-dead-letter-exchange"] = "".into();
        arguments["x-dead-letter-routing-key"] = "dead".into();
        arguments
    };
    declare(http, "rejects", to_dead(json!({})));
    publish(http, "rejects", &["rejected", "stays"]);
    take(http, "rejects", 1, "reject_requeue_false");
    declare(http, "lets-expire", to_dead(json!({"x-message-ttl": 1})));
    publish(http, "lets-expire", &["expired"]);
    until_messages(http, "dead", 2);
    let full = json!({"x-max-length": 1, "x-overflow": "reject-publish-dlx"});
    declare(http, "full", to_dead(full));
    publish(http, "full", &["stays"]);
    publish_with(http, "full", "too much", json!({"delivery_mode": 2})).unwrap_err();
    quorum(http, "gives-up", to_dead(json!({"x-delivery-limit": 0})));
    publish(http, "gives-up", &["failed"]);
    take(http, "gives-up", 1, "reject_requeue_true");
    let kept = json!({"x-dead-letter-strategy": "at-least-once", "x-overflow": "reject-publish"});
    quorum(http, "keeps", to_dead(kept));
    publish(http, "keeps", &["kept until it is there"]);
    take(http, "keeps", 1, "reject_requeue_false");
    until_messages(http, "dead", 5);
}

fn come_back(http: &Http) {
    quorum(http, "counts", json!({}));
    publish(http, "counts", &["failed twice", "returned", "fresh"]);
    take(http, "counts", 1, "reject_requeue_true");
    take(http, "counts", 1, "reject_requeue_true");
    take(http, "counts", 2, "ack_requeue_true");
    let retry = json!({"x-delayed-retry-type": "all", "x-delayed-retry-min": LONG_MS});
    quorum(http, "retries", retry);
    publish(http, "retries", &["waits", "ready"]);
    take(http, "retries", 1, "reject_requeue_true");
    declare(http, "again", json!({}));
    publish(http, "again", &["requeued", "fresh"]);
    take(http, "again", 1, "ack_requeue_true");
}

fn go_beyond_rabbitmq(http: &Http) {
    declare(
        http,
        "deduplicates",
        json!({"x-message-deduplication": true}),
    );
    for _ in 0..2 {
        let id = json!({"delivery_mode": 2, "headers": {"x-deduplication-header": "1"}});
        publish_with(http, "deduplicates", "once", id).unwrap();
    }
    declare(http, "replays", json!({"x-replay-window-ms": LONG_MS}));
    publish(http, "replays", &["settled", "waits"]);
    take(http, "replays", 1, "ack_requeue_false");
    declare(http, "paused", json!({}));
    publish(http, "paused", &["a"]);
    http.put("/queues/%2F/paused/pause", json!({})).unwrap();
    declare(http, "delays", json!({"x-delayed-publish": true}));
    let later = json!({"delivery_mode": 2, "headers": {"x-delay": 6000}});
    publish_with(http, "delays", "later", later).unwrap();
}

/// Exchanges that remember messages: one survives restarts, the other does not.
fn remember(http: &Http) {
    declare(http, "marker", json!({}));
    for (exchange, durable) in [("remembers", true), ("forgets", false)] {
        let arguments = json!({"x-recent-history-length": 3});
        let body = json!({"type": "x-recent-history", "durable": durable, "arguments": arguments});
        http.put(&format!("/exchanges/%2F/{exchange}"), body)
            .unwrap();
        for (payload, mode) in [("a", 2), ("b", 2), ("c", 1), ("d", 2)] {
            let body = json!({
                "properties": {"delivery_mode": mode, "headers": {"n": payload}}, "routing_key": "key",
                "payload": payload, "payload_encoding": "string",
            });
            let path = format!("/exchanges/%2F/{exchange}/publish");
            http.post(&path, body).unwrap();
        }
    }
    // What was put into a history before it is in the log when this is confirmed.
    publish(http, "marker", &["x"]);
}

/// A new queue gets what the exchange remembers.
fn recall(http: &Http, exchange: &str, queue: &str) -> Vec<Value> {
    declare(http, queue, json!({}));
    let path = format!("/bindings/%2F/e/{exchange}/q/{queue}");
    http.post(&path, json!({"routing_key": ""})).unwrap();
    take(http, queue, 9, "ack_requeue_false")
}

/// What the queues do with what they kept.
fn go_on(http: &Http) {
    publish_with(http, "refuses", "c", json!({"delivery_mode": 2})).unwrap_err();
    publish(http, "drops", &["d"]);
    assert_eq!(
        payloads(&take(http, "drops", 9, "ack_requeue_false")),
        ["c", "d"]
    );
    for queue in ["levels", "quorum-levels"] {
        assert_eq!(
            payloads(&take(http, queue, 9, "ack_requeue_false")),
            ["3", "2", "1"]
        );
    }
    publish(http, "by-policy", &["c"]);
    assert_eq!(
        payloads(&take(http, "by-policy", 9, "ack_requeue_false")),
        ["c"]
    );
    let dead = take(http, "dead", 9, "ack_requeue_false");
    let reasons = dead.iter().map(|message| {
        let headers = &message["properties"]["headers"];
        assert_eq!(headers["x-death"][0]["count"], 1);
        assert_eq!(
            headers["x-death"][0]["queue"],
            headers["x-first-death-queue"]
        );
        assert_eq!(
            headers["x-death"][0]["reason"],
            headers["x-last-death-reason"]
        );
        headers["x-death"][0]["reason"].as_str().unwrap()
    });
    let expected = [
        "rejected",
        "expired",
        "maxlen",
        "delivery_limit",
        "rejected",
    ];
    assert_eq!(reasons.collect::<Vec<_>>(), expected);
    assert_counts(
        &take(http, "counts", 9, "ack_requeue_false"),
        &[(3, 2), (1, 0), (0, 0)],
    );
    let ready = take(http, "retries", 9, "ack_requeue_false");
    assert_eq!(payloads(&ready), ["ready"]);
    let id = json!({"delivery_mode": 2, "headers": {"x-deduplication-header": "1"}});
    publish_with(http, "deduplicates", "twice", id).unwrap();
    assert_eq!(
        payloads(&take(http, "deduplicates", 9, "ack_requeue_false")),
        ["once"]
    );
    assert!(take(http, "paused", 9, "ack_requeue_false").is_empty());
    http.put("/queues/%2F/paused/resume", json!({})).unwrap();
    assert_eq!(
        payloads(&take(http, "paused", 9, "ack_requeue_false")),
        ["a"]
    );
    until_messages(http, "delays", 1);
    assert_eq!(
        payloads(&take(http, "delays", 9, "ack_requeue_false")),
        ["later"]
    );
}

#[track_caller]
fn assert_counts(messages: &[Value], expected: &[(u64, u64)]) {
    let counts = messages.iter().map(|message| {
        let headers = &message["properties"]["headers"];
        let count = |key: &str| headers[key].as_u64().unwrap_or(0);
        (count("x-acquired-count"), count("x-delivery-count"))
    });
    assert_eq!(counts.collect::<Vec<_>>(), expected);
}

fn features_survive(end: impl FnOnce(&mut Broker) -> anyhow::Result<()>, marks: bool) {
    let mut broker = Broker::start_with(SETTINGS).unwrap();
    let http = Http::new(&broker);
    fill(&http);
    remember(&http);
    let before = visible(&http, marks);
    assert_eq!(before["retries"]["messages_delayed"], 1);
    // What was done before it is in the log when this is confirmed.
    publish(&http, "single", &["a"]);
    let single = visible(&http, marks)["single"].clone();
    end(&mut broker).unwrap();
    broker.restart().unwrap();
    let http = Http::new(&broker);
    let mut after = visible(&http, marks);
    assert_eq!(after.remove("single"), Some(single));
    for (name, queue) in before.iter().filter(|(name, _)| *name != "single") {
        let after = after.remove(name).unwrap_or_default();
        assert!(is_same(&after, queue), "{name}: {after} was {queue}");
    }
    assert!(after.is_empty(), "{after:?}");
    go_on(&http);
    let recalled = recall(&http, "remembers", "late");
    assert_eq!(payloads(&recalled), ["b", "c", "d"]);
    assert_eq!(recalled[1]["properties"]["delivery_mode"], 1);
    assert_eq!(recalled[1]["properties"]["headers"]["n"], "c");
    http.get("/exchanges/%2F/forgets").unwrap_err();
}

#[test]
fn a_history_goes_with_its_exchange_and_not_before() {
    let mut broker = Broker::start_with(SETTINGS).unwrap();
    let http = Http::new(&broker);
    remember(&http);
    for (round, end) in [Broker::kill, Broker::stop, Broker::kill]
        .into_iter()
        .enumerate()
    {
        end(&mut broker).unwrap();
        broker.restart().unwrap();
        let http = Http::new(&broker);
        let recalled = recall(&http, "remembers", &format!("late-{round}"));
        assert_eq!(payloads(&recalled), ["b", "c", "d"]);
    }
    let http = Http::new(&broker);
    http.delete("/exchanges/%2F/remembers").unwrap();
    let body = json!({"type": "x-recent-history", "durable": true});
    http.put("/exchanges/%2F/remembers", body).unwrap();
    broker.stop().unwrap();
    broker.restart().unwrap();
    let http = Http::new(&broker);
    assert!(recall(&http, "remembers", "latest").is_empty());
}

#[test]
fn all_features_are_as_they_were_after_a_stop() {
    features_survive(Broker::stop, true);
}

#[test]
fn all_features_are_as_they_were_after_a_crash() {
    features_survive(Broker::kill, false);
}

#[test]
fn shards_survive_and_those_that_are_missing_come_back() {
    let mut broker = Broker::start_with(SETTINGS).unwrap();
    let http = Http::new(&broker);
    let policy =
        json!({"pattern": "^x$", "definition": {"shards-per-node": 2, "routing-key": "a"}});
    http.put("/policies/%2F/p", policy).unwrap();
    let body = json!({"type": "direct", "durable": true});
    http.put("/exchanges/%2F/x", body).unwrap();
    let [kept, lost] =
        [0, 1].map(|number| format!("sharding:%20x%20-%20rabbit@localhost%20-%20{number}"));
    http.delete(&format!("/queues/%2F/{lost}")).unwrap();
    let body = json!({"properties": {"delivery_mode": 2}, "routing_key": "a", "payload": "m", "payload_encoding": "string"});
    let routed = http.post("/exchanges/%2F/x/publish", body).unwrap();
    assert_eq!(routed["routed"], true);
    for end in [Broker::kill, Broker::stop] {
        end(&mut broker).unwrap();
        broker.restart().unwrap();
        let http = Http::new(&broker);
        assert_eq!(payloads(&take(&http, &kept, 1, "ack_requeue_true")), ["m"]);
        assert!(take(&http, &lost, 1, "ack_requeue_true").is_empty());
        let bindings = http.get("/exchanges/%2F/x/bindings/source").unwrap();
        let keys = bindings.as_array().unwrap().iter();
        let keys: Vec<_> = keys
            .map(|binding| binding["routing_key"].as_str())
            .collect();
        assert_eq!(keys, [Some("a"); 2]);
    }
}

#[test]
fn delivery_counts_survive_a_restart() {
    let mut broker = Broker::start_with(SETTINGS).unwrap();
    let http = Http::new(&broker);
    quorum(&http, "q", json!({"x-delivery-limit": 3}));
    publish(&http, "q", &["a", "b"]);
    for (failed, crashes) in [(0, false), (1, true), (2, false)] {
        let http = Http::new(&broker);
        let taken = take(&http, "q", 1, "reject_requeue_true");
        assert_counts(&taken, &[(failed, failed)]);
        // A confirm comes behind what was noted before it.
        publish(&http, "q", &["c"]);
        if crashes {
            broker.kill().unwrap();
        } else {
            broker.stop().unwrap();
        }
        broker.restart().unwrap();
    }
    let http = Http::new(&broker);
    assert_counts(&take(&http, "q", 1, "reject_requeue_true"), &[(3, 3)]);
    let left = take(&http, "q", 9, "ack_requeue_false");
    assert_eq!(
        payloads(&left),
        ["b", "c", "c", "c"],
        "the fourth failure was the last"
    );
    assert_counts(&left, &[(0, 0); 4]);
}

#[test]
fn what_waits_to_be_tried_again_waits_on_after_a_restart() {
    let mut broker = Broker::start_with(SETTINGS).unwrap();
    let http = Http::new(&broker);
    let retry = json!({"x-delayed-retry-type": "all", "x-delayed-retry-min": 10_000});
    quorum(&http, "q", retry);
    publish(&http, "q", &["a", "b"]);
    take(&http, "q", 1, "reject_requeue_true");
    let due_at = item(&http, "q")["next_delayed_at"].as_u64().unwrap();
    publish(&http, "q", &["c"]);
    for end in [Broker::stop, Broker::kill] {
        end(&mut broker).unwrap();
        broker.restart().unwrap();
        let item = until("it is read", || {
            let item = item(&Http::new(&broker), "q");
            (item["messages_delayed"] == 1).then_some(item)
        });
        assert_eq!(item["messages_ready"], 2);
        let now_due_at = item["next_delayed_at"].as_u64().unwrap();
        assert!(
            now_due_at.abs_diff(due_at) < 100,
            "{now_due_at} is not {due_at}"
        );
    }
    let http = Http::new(&broker);
    until("it is ready", || {
        (item(&http, "q")["messages_ready"] == 3).then_some(())
    });
    let taken = take(&http, "q", 9, "ack_requeue_false");
    assert_eq!(payloads(&taken), ["a", "b", "c"]);
    assert_counts(&taken, &[(1, 1), (0, 0), (0, 0)]);
}

#[test]
fn priorities_that_nobody_has_read_since_the_start_are_not_made_up() {
    let mut broker = Broker::start_with(SETTINGS).unwrap();
    let http = Http::new(&broker);
    quorum(&http, "ranked", json!({}));
    for priority in [1, 1, 7] {
        publish_with(&http, "ranked", "x", json!({"priority": priority})).unwrap();
    }
    let levels = json!({"1": 2, "7": 1});
    assert_eq!(item(&http, "ranked")["messages_by_priority"], levels);
    broker.stop().unwrap();
    broker.restart().unwrap();
    let http = Http::new(&broker);
    let ranked = item(&http, "ranked");
    assert_eq!(ranked["messages"], 3);
    assert_eq!(ranked["messages_by_priority"], json!({}));
    take(&http, "ranked", 1, "ack_requeue_true");
    until("levels", || {
        (item(&http, "ranked")["messages_by_priority"] == levels).then_some(())
    });
}
