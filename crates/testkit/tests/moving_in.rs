//! `warren import` from one broker into another, and `warren doctor` on what a broker leaves.

#![expect(
    clippy::unwrap_used,
    reason = "all of this is a test; what is not there fails it"
)]

use serde_json::{Value, json};
use std::process::{Command, Output};
use testkit::{Broker, Http};

/// The program that the brokers run, with a subcommand.
fn warren(arguments: &[&str]) -> Output {
    Command::new(testkit::binary().unwrap())
        .args(arguments)
        .env("WARREN_IMPORT_PASSWORD", "guest")
        .env("WARREN_IMPORT_TO_PASSWORD", "guest")
        .output()
        .unwrap()
}

fn import(from: &Broker, to: &Broker, more: &[&str]) -> Output {
    let uri = |broker: &Broker| format!("http://guest@{}", broker.http_address());
    let amqp = |broker: &Broker| format!("amqp://{}", broker.address());
    let (source, target) = (uri(from), uri(to));
    let (source_amqp, target_amqp) = (amqp(from), amqp(to));
    let mut arguments = vec![
        "import",
        "rabbitmq",
        "--uri",
        &source,
        "--to",
        &target,
        "--amqp",
        &source_amqp,
        "--to-amqp",
        &target_amqp,
    ];
    arguments.extend(more);
    warren(&arguments)
}

fn said(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}{}", text(&output.stdout), text(&output.stderr))
}

fn messages(http: &Http, queue: &str) -> Vec<Value> {
    let body = json!({"count": 1000, "ackmode": "ack_requeue_true", "encoding": "auto"});
    let got = http.post(&format!("/queues/v/{queue}/get"), body).unwrap();
    got.as_array().unwrap().clone()
}

#[test]
fn definitions_and_messages_move_from_one_broker_to_another() {
    let (from, to) = (Broker::start().unwrap(), Broker::start().unwrap());
    let (source, target) = (Http::new(&from), Http::new(&to));
    source.put("/vhosts/v", json!({})).unwrap();
    for queue in ["a", "b"] {
        let path = format!("/queues/v/{queue}");
        source.put(&path, json!({"durable": true})).unwrap();
    }
    source
        .post("/bindings/v/e/amq.topic/q/a", json!({"routing_key": "k.#"}))
        .unwrap();
    let publish = |number: usize| {
        let body = json!({
            "routing_key": format!("k.{number}"), "payload": format!("body {number}"), "payload_encoding": "string",
            // Would lead to b as well if it counted again.
            "properties": {"headers": {"CC": ["b"], "n": number}, "priority": 3, "delivery_mode": 2,
                "correlation_id": format!("c{number}"), "type": "t"},
        });
        source.post("/exchanges/v/amq.topic/publish", body).unwrap();
    };
    (0..300).for_each(publish);
    let output = import(&from, &to, &["--drain"]);
    assert!(output.status.success(), "{}", said(&output));
    assert!(
        said(&output).contains("v: a: 300 messages moved"),
        "{}",
        said(&output)
    );
    let moved = messages(&target, "a");
    assert_eq!(moved.len(), 300);
    for (number, message) in moved.iter().enumerate() {
        assert_eq!(message["payload"], format!("body {number}"));
        assert_eq!(message["routing_key"], format!("k.{number}"));
        assert_eq!(
            message["properties"],
            json!({"headers": {"CC": ["b"], "n": number}, "priority": 3, "delivery_mode": 2,
                "correlation_id": format!("c{number}"), "type": "t"})
        );
    }
    assert!(messages(&target, "b").is_empty());
    assert!(messages(&source, "a").is_empty());
    // Nothing of ours is left, and a second run finds nothing to do.
    let exchanges = target.get("/exchanges/v?columns=name").unwrap();
    assert!(
        !exchanges.to_string().contains("warren.import"),
        "{exchanges}"
    );
    let again = import(&from, &to, &["--drain"]);
    assert!(again.status.success(), "{}", said(&again));
    assert_eq!(messages(&target, "a").len(), 300);
}

#[test]
fn what_would_be_copied_is_told_without_doing_it() {
    let (from, to) = (Broker::start().unwrap(), Broker::start().unwrap());
    Http::new(&from).put("/vhosts/v", json!({})).unwrap();
    let output = import(&from, &to, &["--dry-run", "--vhost", "v"]);
    assert!(output.status.success(), "{}", said(&output));
    assert!(
        said(&output).contains("1 users, 1 vhosts"),
        "{}",
        said(&output)
    );
    assert!(Http::new(&to).get("/vhosts/v").is_err());
    let wrong = warren(&["import", "rabbitmq", "--uri", "http://u:secret@localhost"]);
    assert!(!wrong.status.success());
    assert!(said(&wrong).contains("does not belong on the command line"));
}

#[test]
fn the_doctor_reads_a_data_directory_and_leaves_it_as_it_is() {
    let mut broker = Broker::start().unwrap();
    let http = Http::new(&broker);
    http.put("/queues/%2F/q", json!({"durable": true})).unwrap();
    let body = json!({"routing_key": "q", "payload": "x", "payload_encoding": "string",
        "properties": {"delivery_mode": 2}});
    http.post("/exchanges/%2F/amq.default/publish", body)
        .unwrap();
    let data = broker.data_directory();
    let doctor = || {
        let output = warren(&["doctor", "--json", "--data-dir", data.to_str().unwrap()]);
        let findings: Value = serde_json::from_slice(&output.stdout).unwrap();
        let data = |finding: &&Value| finding["area"] == "data";
        let found = findings.as_array().unwrap().iter().filter(data).cloned();
        found.collect::<Vec<_>>()
    };
    let running = doctor();
    assert!(
        running[0]["text"]
            .as_str()
            .unwrap()
            .contains("in use by a running node")
    );
    broker.kill().unwrap();
    let content = || {
        let mut files: Vec<_> = std::fs::read_dir(&data)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.is_file())
            .map(|path| (std::fs::read(&path).unwrap(), path))
            .collect();
        files.sort_by(|a, b| a.1.cmp(&b.1));
        files
    };
    let before = content();
    let found = doctor();
    assert!(content() == before, "the doctor has changed something");
    assert_eq!(found[0]["severity"], "ok", "{found:?}");
    assert!(
        found[0]["text"].as_str().unwrap().starts_with("1 messages"),
        "{found:?}"
    );
    assert!(
        found.iter().all(|finding| finding["severity"] != "error"),
        "{found:?}"
    );
    std::fs::write(data.join("format"), "nonsense").unwrap();
    assert_eq!(doctor()[0]["severity"], "error");
}

#[test]
fn definitions_move_over_https_between_servers_that_are_trusted() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().display().to_string();
    assert!(warren(&["tls", "generate", &at]).status.success());
    let settings = format!(
        "management.ssl.port = 0\nmanagement.ssl.ip = 127.0.0.1\nmanagement.ssl.certfile = {at}/server_certificate.pem\n\
         management.ssl.keyfile = {at}/server_key.pem\n"
    );
    let from = Broker::start_with(&settings).unwrap();
    let to = Broker::start_with(&settings).unwrap();
    Http::new(&from).put("/vhosts/v", json!({})).unwrap();
    let uri = |broker: &Broker| format!("https://guest@{}", broker.https_address().unwrap());
    let (source, target) = (uri(&from), uri(&to));
    let import = ["import", "rabbitmq", "--uri", &source, "--to", &target];
    let refused = warren(&import);
    assert!(!refused.status.success());
    assert!(
        said(&refused).contains("invalid peer certificate"),
        "{}",
        said(&refused)
    );
    let authority = format!("{at}/ca_certificate.pem");
    let moved = warren(&[&import[..], &["--cacertfile", &authority]].concat());
    assert!(moved.status.success(), "{}", said(&moved));
    assert!(Http::new(&to).get("/vhosts/v").is_ok());
}
