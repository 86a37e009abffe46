//! Replays requests to the HTTP API against answers recorded from RabbitMQ.
//!
//! `tests/http/*.json` hold the requests in order, each with the status and the answer that RabbitMQ gave: of an error all of
//! it, of anything else the names of fields and the types of values. Our answer has to have the same status and every recorded
//! field with that type; it may have more. Where ours differs on purpose, `ours` has our status, and `because` says why. Where the
//! same answer stands elsewhere, `only` is `status`. Besides, each of our answers is as our OpenAPI document says.
//!
//! A case `open` opens an AMQP connection that does all that is counted (publishes with confirms, also with priorities and to nobody,
//! fetches, acknowledges, takes again what came back, consumes) and waits until the listings know of all of it; then `CONNECTION` and
//! `CHANNEL` in paths stand for their names, until `close`.
//!
//! `vhost` is the header `X-Vhost`.
//!
//! `HTTP_ADDRESS` compares with another server, whose clients connect at `AMQP_ADDRESS`, and with `UPDATE_EXPECT=1` records from it.
//! `FILE` selects one file.

use anyhow::{Context, bail, ensure};
use client_amqp091::codec::BasicProperties;
use client_amqp091::{ConnectOptions, QueueOptions};
use serde_json::{Map, Value, json};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use testkit::openapi::Document;
use testkit::{Broker, Client, Http};

/// What the client's connection and queue are called.
const CLIENT: &str = "http-replay-client";
/// Its quorum queue.
const QUORUM: &str = "http-replay-quorum";
/// What it publishes: to its queue, to the quorum queue, to nobody.
const PUBLISHED: u64 = 5 + 2 + 1;
/// How long it takes until listings know of everything; RabbitMQ counts every five seconds.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at them.
const ASK_AGAIN: Duration = Duration::from_millis(200);

/// Fields that mean nothing here, wherever they are.
const ABSENT: &[&str] = &[
    // Of Erlang's processes and sockets.
    "socket_opts",
    // Since when nothing happens: RabbitMQ tells only of what has been idle for a while.
    "idle_since",
    // Of whoever declared an exchange.
    "user_who_performed_action",
    // Of quorum queues: not counted so.
    "publishers",
    "messages_ready_returned",
];

#[test]
fn requests_are_answered_as_recorded() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/http");
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "json")
        })
        .collect();
    files.sort();
    let wanted = std::env::var("FILE").ok();
    let address = std::env::var("HTTP_ADDRESS")
        .ok()
        .map(|address| address.parse::<SocketAddr>().unwrap());
    let records = std::env::var_os("UPDATE_EXPECT").is_some() && address.is_some();
    let mut problems = Vec::new();
    for file in files {
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        if wanted.as_ref().is_some_and(|wanted| *wanted != name) {
            continue;
        }
        let broker = address.is_none().then(|| Broker::start().unwrap());
        let server = match &broker {
            Some(broker) => broker.http_address(),
            None => address.unwrap(),
        };
        let text = std::fs::read_to_string(&file).unwrap();
        let mut cases: Vec<Value> = serde_json::from_str(&text).unwrap();
        let clients = match &broker {
            Some(broker) => broker.address(),
            None => std::env::var("AMQP_ADDRESS").unwrap().parse().unwrap(),
        };
        // RabbitMQ does not describe itself.
        let document = broker.as_ref().map(|_| {
            let http = Http::at(server).login("guest", "guest");
            Document::of(&http).unwrap()
        });
        let mut traffic = None;
        for case in &mut cases {
            if case.get("open").is_some() {
                traffic = Some(Traffic::open(server, clients).unwrap());
                continue;
            }
            if case.get("close").is_some() {
                traffic = None;
                continue;
            }
            let (status, answer) = ask(server, case, traffic.as_ref()).unwrap();
            if records {
                case["status"] = status.into();
                if case.get("only").is_none() {
                    case["answer"] = recorded(status, &answer);
                }
                continue;
            }
            let mut found = Vec::new();
            if let Some(document) = document.as_ref().filter(|_| status == 200) {
                let request = case["request"].as_str().unwrap();
                let (method, path) = request.split_once(' ').unwrap();
                if method != "OPTIONS" {
                    found.extend(document.problems(method, path, &answer));
                }
            }
            if let Some(ours) = case.get("ours") {
                assert!(case["because"].is_string(), "{}", case["request"]);
                if *ours != status {
                    found.push(format!("status {status}, ours is {ours}: {answer}"));
                }
            } else if case["status"] != status {
                found.push(format!(
                    "status {status}, recorded {}: {answer}",
                    case["status"]
                ));
            } else if case.get("only").is_some() {
                // The same answer stands elsewhere.
            } else if status >= 400 {
                if case["answer"] != answer {
                    found.push(format!("answer {answer}, recorded {}", case["answer"]));
                }
            } else {
                compare(&case["answer"], &shape(&answer), "", &mut found);
            }
            let request = &case["request"];
            problems.extend(
                found
                    .iter()
                    .map(|found| format!("{name}: {request}: {found}")),
            );
        }
        if records {
            let text = serde_json::to_string_pretty(&cases).unwrap();
            std::fs::write(&file, text + "\n").unwrap();
        }
    }
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

/// What a client does while it is looked at.
struct Traffic {
    runtime: tokio::runtime::Runtime,
    client: Option<Client>,
    connection: String,
}

impl Traffic {
    fn open(server: SocketAddr, clients: SocketAddr) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let options = ConnectOptions {
            connection_name: Some(CLIENT.to_owned()),
            ..ConnectOptions::default()
        };
        let http = Http::at(server).login("guest", "guest");
        let quorum = json!({"durable": true, "arguments": {"x-queue-type": "quorum"}});
        http.put(&format!("/queues/%2F/{QUORUM}"), quorum)?;
        let client = runtime.block_on(async {
            let mut client = Client::connect_with(clients, &options).await?;
            let durable = QueueOptions {
                durable: true,
                ..QueueOptions::default()
            };
            client.declare(CLIENT, durable).await?;
            ensure!(client.get(CLIENT, false).await?.is_none(), "it is empty");
            client.confirm_select().await?;
            let properties = BasicProperties::default();
            let body = |_| b"body".to_vec();
            client.publish_all(CLIENT, &properties, 5, body).await?;
            for priority in [1, 9] {
                let properties = BasicProperties {
                    priority: Some(priority),
                    ..BasicProperties::default()
                };
                client.publish_all(QUORUM, &properties, 1, body).await?;
            }
            client
                .publish_all("http-replay-nowhere", &properties, 1, body)
                .await?;
            client.get(CLIENT, true).await?.context("a message")?;
            let got = client.get(CLIENT, false).await?.context("another")?;
            client.ack_until(got.delivery_tag).await?;
            let get = json!({"count": 1, "ackmode": "ack_requeue_true", "encoding": "auto"});
            http.post(&format!("/queues/%2F/{CLIENT}/get"), get)?;
            client.consume(CLIENT, false).await?;
            client.receive(3).await?;
            anyhow::Ok(client)
        })?;
        let deadline = Instant::now() + PATIENCE;
        let connection = loop {
            let listed = http.get("/channels")?;
            let known = listed.as_array().into_iter().flatten().find_map(|channel| {
                let own = channel["message_stats"]["confirm"] == PUBLISHED
                    && channel["consumer_count"] == 1
                    && channel["connection_details"]["name"].is_string();
                let name = channel["connection_details"]["name"].as_str();
                name.filter(|_| own).map(str::to_owned)
            });
            let vhost = http.get("/vhosts/%2F")?;
            let levels = http.get(&format!("/queues/%2F/{QUORUM}"))?;
            let levels = levels["messages_by_priority"]
                .as_object()
                .map_or(0, Map::len);
            let path = format!("/queues/%2F/{CLIENT}");
            if let Some(name) = known
                && levels == 2
                && vhost["recv_oct"].as_u64().is_some_and(|bytes| bytes > 0)
                && vhost["message_stats"]["confirm"].is_number()
                && http.get(&path)?["message_stats"]["deliver"] == 3
                && http.get("/connections")?.to_string().contains(CLIENT)
            {
                break name;
            }
            ensure!(Instant::now() < deadline, "listings do not know {CLIENT}");
            std::thread::sleep(ASK_AGAIN);
        };
        Ok(Self {
            runtime,
            client: Some(client),
            connection,
        })
    }

    /// A path with the names of the connection and its channel.
    fn name(&self, path: &str) -> String {
        let encoded = self.connection.replace(' ', "%20").replace('>', "%3E");
        path.replace("CONNECTION", &encoded)
            .replace("CHANNEL", &format!("{encoded}%20(1)"))
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        if let Some(client) = self.client.take() {
            // The connection ends with its socket as well.
            let _ = self.runtime.block_on(client.close());
        }
    }
}

fn ask(
    server: SocketAddr,
    case: &Value,
    traffic: Option<&Traffic>,
) -> anyhow::Result<(u16, Value)> {
    let request = case["request"].as_str().context("no request")?;
    let (method, path) = request.split_once(' ').context("no method")?;
    let path = match traffic {
        Some(traffic) => traffic.name(path),
        None => path.to_owned(),
    };
    let path = path.as_str();
    let http = match case["as"].as_str().unwrap_or("guest:guest") {
        "" => Http::at(server),
        user => {
            let (name, password) = user.split_once(':').context("name:password")?;
            Http::at(server).login(name, password)
        }
    };
    let body = match &case["body"] {
        Value::Null => String::new(),
        // What is no JSON stands as text.
        Value::String(text) => text.clone(),
        body @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
            body.to_string()
        }
    };
    let vhost = case["vhost"].as_str().map(|vhost| ("x-vhost", vhost));
    let response = http.request_with(method, path, vhost.as_slice(), body.as_bytes())?;
    let Ok(answer) = response.json() else {
        bail!("{request}: {}", String::from_utf8_lossy(&response.body));
    };
    Ok((response.status, answer))
}

fn recorded(status: u16, answer: &Value) -> Value {
    if status >= 400 {
        answer.clone()
    } else {
        shape(answer)
    }
}

/// Names and types. Of a list only what all objects in it have.
fn shape(value: &Value) -> Value {
    match value {
        Value::Null => "null".into(),
        Value::Bool(_) => "bool".into(),
        Value::Number(_) => "number".into(),
        Value::String(_) => "text".into(),
        Value::Array(items) => {
            let mut shapes = items.iter().map(shape);
            let Some(first) = shapes.next() else {
                return json!([]);
            };
            json!([shapes.fold(first, common)])
        }
        Value::Object(fields) => {
            let fields = fields
                .iter()
                .map(|(key, value)| (key.clone(), shape(value)))
                .collect();
            Value::Object(fields)
        }
    }
}

fn common(a: Value, b: Value) -> Value {
    let (Value::Object(a), Value::Object(b)) = (&a, &b) else {
        return a;
    };
    let both: Map<String, Value> = a
        .iter()
        .filter(|(key, _)| b.contains_key(*key))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    Value::Object(both)
}

fn compare(expected: &Value, found: &Value, path: &str, problems: &mut Vec<String>) {
    match (expected, found) {
        (Value::Object(expected), Value::Object(found)) => {
            for (key, expected) in expected {
                if ABSENT.contains(&key.as_str()) {
                    continue;
                }
                match found.get(key) {
                    Some(found) => compare(expected, found, &format!("{path}.{key}"), problems),
                    None => problems.push(format!("{path}.{key} is missing")),
                }
            }
        }
        (Value::Array(expected), Value::Array(found)) => {
            if let (Some(expected), Some(found)) = (expected.first(), found.first()) {
                compare(expected, found, &format!("{path}[]"), problems);
            }
        }
        (expected, found) if expected == found => {}
        // Erlang's empty list is an empty object as well.
        (Value::Array(list), Value::Object(_)) | (Value::Object(_), Value::Array(list))
            if list.is_empty() => {}
        (expected, found) if *expected == "null" || *found == "null" => {}
        (expected, found) => problems.push(format!("{path}: {found}, recorded {expected}")),
    }
}
