//! Files of definitions in the forms of RabbitMQ 2.8 to 4.3, imported into a broker, exported and compared.
//!
//! `tests/definitions/*.json` are imported as they are; those named `single-vhost` into a vhost. `tests/definitions/bad/*.json` hold a
//! file and what has to be said of it; nothing of it may take place.

#![expect(
    clippy::unwrap_used,
    reason = "all of this is a test; what is not there fails it"
)]

use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Map, Value, json};
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use testkit::{Broker, Http};
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned};

/// How long something that another thread does may take.
const PATIENCE: Duration = Duration::from_secs(60);

const LISTS: [&str; 9] = [
    "users",
    "vhosts",
    "permissions",
    "topic_permissions",
    "parameters",
    "policies",
    "queues",
    "exchanges",
    "bindings",
];

fn files(folder: &str) -> Vec<(String, Value)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/definitions")
        .join(folder);
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "json")
        })
        .collect();
    paths.sort();
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).unwrap();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let file = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        (name, file)
    };
    paths.into_iter().map(read).collect()
}

fn items<'f>(file: &'f Value, list: &str) -> &'f [Value] {
    file[list].as_array().map_or(&[], Vec::as_slice)
}

/// What identifies an object of a list.
fn keys(list: &str) -> &'static [&'static str] {
    match list {
        "permissions" => &["user", "vhost"],
        "topic_permissions" => &["user", "vhost", "exchange"],
        "parameters" => &["vhost", "component", "name"],
        "bindings" => &[
            "source",
            "vhost",
            "destination",
            "destination_type",
            "routing_key",
            "arguments",
        ],
        "users" | "vhosts" => &["name"],
        _ => &["vhost", "name"],
    }
}

/// An object in one form: with its defaults, and without what RabbitMQ only shows.
fn meaning(list: &str, item: &Value) -> Option<Value> {
    let mut item: Map<String, Value> = item.as_object().unwrap().clone();
    let is_of_server = item
        .get("name")
        .and_then(Value::as_str)
        .is_some_and(|name| list == "exchanges" && name.starts_with("amq."));
    if is_of_server || item.get("source") == Some(&json!("")) {
        return None;
    }
    let known: &[(&str, Value)] = match list {
        "queues" => &[
            ("durable", json!(false)),
            ("auto_delete", json!(false)),
            ("arguments", json!({})),
        ],
        "exchanges" => &[
            ("type", json!("")),
            ("durable", json!(false)),
            ("auto_delete", json!(false)),
            ("internal", json!(false)),
            ("arguments", json!({})),
        ],
        "bindings" => &[("arguments", json!({}))],
        "users" => &[("password_hash", json!("")), ("tags", json!([]))],
        "policies" => &[
            ("pattern", json!("")),
            ("apply-to", json!("all")),
            ("priority", json!(0)),
            ("definition", json!({})),
        ],
        "vhosts" => &[
            ("metadata", json!({})),
            ("description", json!("")),
            ("tags", json!([])),
        ],
        "parameters" => &[("value", json!({}))],
        _ => &[
            ("configure", json!("")),
            ("write", json!("")),
            ("read", json!("")),
        ],
    };
    if list == "parameters" && item["value"] == json!([]) {
        return None;
    }
    if let Some(Value::Object(metadata)) = item.get("metadata").cloned() {
        item.extend(metadata);
        item.remove("metadata");
    }
    let mut found = Map::new();
    for (key, default) in known.iter().filter(|(key, _)| *key != "metadata") {
        let value = item.get(*key).unwrap_or(default);
        found.insert((*key).to_owned(), normal(value));
    }
    for key in keys(list) {
        let default = if *key == "arguments" {
            json!({})
        } else {
            Value::Null
        };
        found.insert(
            (*key).to_owned(),
            normal(item.get(*key).unwrap_or(&default)),
        );
    }
    if list == "queues" {
        let arguments = found["arguments"].as_object_mut().unwrap();
        arguments
            .entry("x-queue-type")
            .or_insert_with(|| json!("classic"));
    }
    if item.contains_key("password") {
        found.remove("password_hash");
    }
    Some(Value::Object(found))
}

fn normal(value: &Value) -> Value {
    match value {
        Value::String(text) if text == "true" => json!(true),
        Value::String(text) if text == "false" => json!(false),
        Value::Array(values) if values.is_empty() => json!({}),
        Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Array(_)
        | Value::Object(_) => value.clone(),
    }
}

/// Tags are a list or text.
fn tags(item: &mut Value) {
    if let Some(text) = item["tags"].as_str() {
        let list: Vec<_> = text.split(',').filter(|tag| !tag.is_empty()).collect();
        item["tags"] = normal(&json!(list));
    }
}

/// Asserts that an export says everything that the file says.
fn assert_in(name: &str, file: &Value, export: &Value) {
    for list in LISTS {
        let mut exported: Vec<Value> = items(export, list)
            .iter()
            .filter_map(|item| meaning(list, item))
            .collect();
        exported.iter_mut().for_each(tags);
        for item in items(file, list) {
            let Some(mut wanted) = meaning(list, item) else {
                continue;
            };
            tags(&mut wanted);
            let found = exported.iter().any(|item| {
                wanted
                    .as_object()
                    .unwrap()
                    .iter()
                    .all(|(key, value)| item[key] == *value)
            });
            assert!(found, "{name}: {list}: {wanted} is not in {exported:#?}");
        }
    }
    for parameter in items(file, "global_parameters") {
        let is_there = items(export, "global_parameters").contains(parameter);
        assert_eq!(
            is_there,
            parameter["name"] != "internal_cluster_id",
            "{name}"
        );
    }
}

#[test]
fn every_form_is_imported_and_comes_out_again() {
    for (name, file) in files("") {
        let (first, second) = (Broker::start().unwrap(), Broker::start().unwrap());
        let (first, second) = (Http::new(&first), Http::new(&second));
        let path = if name.contains("single-vhost") {
            first.put("/vhosts/target", json!({})).unwrap();
            second.put("/vhosts/target", json!({})).unwrap();
            "/definitions/target"
        } else {
            "/definitions"
        };
        // Twice: the second time everything is there.
        for _ in 0..2 {
            first
                .post(path, file.clone())
                .unwrap_or_else(|error| panic!("{name}: {error}"));
        }
        let export = first.get(path).unwrap();
        if path == "/definitions" {
            assert_in(&name, &file, &export);
        } else {
            for list in ["policies", "queues", "exchanges", "bindings"] {
                assert_eq!(
                    items(&export, list).len(),
                    items(&file, list).len(),
                    "{name}"
                );
            }
        }
        second.post(path, export.clone()).unwrap();
        let mut again = second.get(path).unwrap();
        // The node's name is in it.
        for key in ["original_cluster_name", "explanation"] {
            if let Some(value) = export.get(key) {
                again[key] = value.clone();
            }
        }
        assert_eq!(again, export, "{name}");
    }
}

#[test]
fn a_bad_file_changes_nothing_and_says_why() {
    let broker = Broker::start().unwrap();
    let http = Http::new(&broker);
    let before = http.get("/definitions").unwrap();
    let mut problems = Vec::new();
    for (name, case) in files("bad") {
        let response = http
            .request("POST", "/definitions", Some(&case["file"]))
            .unwrap();
        let answer = response.json().unwrap();
        let said = json!([response.status, answer["error"], answer["reason"]]);
        let expected = json!([400, "bad_request", case["refused"]]);
        if said != expected {
            problems.push(format!("{name}: {said} instead of {expected}"));
        }
        assert_eq!(http.get("/definitions").unwrap(), before, "{name}");
    }
    assert!(problems.is_empty(), "{problems:#?}");
}

#[test]
fn passwords_of_imported_users_work() {
    let broker = Broker::start().unwrap();
    let http = Http::new(&broker);
    for (name, file) in files("") {
        if ["02-", "03-", "07-", "18-"]
            .iter()
            .any(|prefix| name.starts_with(prefix))
        {
            http.post("/definitions", file).unwrap();
        }
    }
    for (user, password) in [
        ("legacy", "legacy"),
        ("a", "a"),
        ("b", "b"),
        ("ops", "o"),
        ("dev", "dev-password"),
    ] {
        let who = http.login(user, password).get("/whoami");
        assert_eq!(who.unwrap()["name"], user);
        assert!(http.login(user, "wrong").get("/whoami").is_err());
    }
}

#[test]
fn what_exists_is_kept_or_replaced() {
    let broker = Broker::start().unwrap();
    let http = Http::new(&broker);
    http.put("/queues/%2F/q", json!({"durable": true})).unwrap();
    http.put(
        "/exchanges/%2F/x",
        json!({"type": "topic", "durable": true}),
    )
    .unwrap();
    http.put(
        "/policies/%2F/p",
        json!({"pattern": "^a", "definition": {"max-length": 1}}),
    )
    .unwrap();
    let file = json!({
        "vhosts": [{"name": "/", "metadata": {"description": "new", "tags": ["t"]}}],
        "queues": [{"name": "q", "vhost": "/", "durable": false, "auto_delete": true, "arguments": {"x-max-length": 1}}],
        "exchanges": [{"name": "x", "vhost": "/", "type": "fanout", "durable": false, "auto_delete": true, "arguments": {}}],
        "policies": [{"name": "p", "vhost": "/", "pattern": "^b", "definition": {"max-length": 2}}],
    });
    http.post("/definitions", file).unwrap();
    assert_eq!(http.get("/queues/%2F/q").unwrap()["durable"], true);
    assert_eq!(http.get("/exchanges/%2F/x").unwrap()["type"], "topic");
    assert_eq!(http.get("/policies/%2F/p").unwrap()["pattern"], "^b");
    assert_eq!(http.get("/vhosts/%2F").unwrap()["description"], "new");
}

#[test]
fn many_objects_survive_a_kill_right_after_the_import() {
    let mut broker = Broker::start().unwrap();
    let http = Http::new(&broker);
    let count = 2_000;
    let queue = |i: usize| json!({"name": format!("q{i}"), "vhost": "/", "durable": true, "auto_delete": false, "arguments": {}});
    let binding = |i: usize| {
        json!({"source": "amq.topic", "vhost": "/", "destination": format!("q{i}"),
            "destination_type": "queue", "routing_key": format!("k.{i}"), "arguments": {}})
    };
    let file = json!({
        "queues": (0..count).map(queue).collect::<Vec<_>>(),
        "bindings": (0..count).map(binding).collect::<Vec<_>>(),
    });
    let started = Instant::now();
    http.post("/definitions", file).unwrap();
    eprintln!("{} objects in {:?}", 2 * count, started.elapsed());
    broker.kill().unwrap();
    broker.restart().unwrap();
    let export = Http::new(&broker).get("/definitions").unwrap();
    assert_eq!(items(&export, "queues").len(), count);
    assert_eq!(items(&export, "bindings").len(), count);
}

#[test]
fn definitions_are_imported_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, file: Value| {
        std::fs::write(folder.path().join(name), file.to_string()).unwrap();
    };
    let user = json!({"name": "admin", "password": "p", "tags": ["administrator"]});
    let permission =
        json!({"user": "admin", "vhost": "v", "configure": ".*", "write": ".*", "read": ".*"});
    write(
        "10-users.json",
        json!({"users": [user], "vhosts": [{"name": "v"}], "permissions": [permission]}),
    );
    write(
        "20-queues.json",
        json!({"queues": [{"name": "q", "vhost": "v", "durable": true}]}),
    );
    write(".hidden", json!("none"));
    let settings = format!(
        "load_definitions = {}\ndefinitions.skip_if_unchanged = true\n",
        folder.path().display()
    );
    let mut broker = Broker::start_with(&settings).unwrap();
    let http = |broker: &Broker| Http::new(broker).login("admin", "p");
    let names = |broker: &Broker, path: &str| -> Vec<String> {
        let list = http(broker).get(path).unwrap();
        let items = list.as_array().unwrap().iter();
        items
            .map(|item| item["name"].as_str().unwrap().to_owned())
            .collect()
    };
    // There is no default user and no default virtual host.
    assert_eq!(names(&broker, "/users"), ["admin"]);
    assert_eq!(names(&broker, "/vhosts"), ["v"]);
    // What is unchanged is not imported again.
    http(&broker).delete("/queues/v/q").unwrap();
    broker.stop().unwrap();
    broker.restart().unwrap();
    assert!(names(&broker, "/queues/v").is_empty());
    write(
        "30-more.json",
        json!({"queues": [{"name": "r", "vhost": "v", "durable": true}]}),
    );
    broker.stop().unwrap();
    broker.restart().unwrap();
    assert_eq!(names(&broker, "/queues/v"), ["q", "r"]);
    // A file that is refused keeps the node from starting, and nothing of the others is imported.
    write("05-first.json", json!({"vhosts": [{"name": "w"}]}));
    write(
        "40-bad.json",
        json!({"queues": [{"name": "s", "vhost": "nope"}]}),
    );
    broker.stop().unwrap();
    assert!(broker.restart().is_err());
    assert!(!broker.wait().unwrap().success());
    let refusal = "40-bad.json: Please create virtual host \"nope\"";
    let deadline = Instant::now() + PATIENCE;
    while !broker.log().contains(refusal) {
        assert!(Instant::now() < deadline, "{}", broker.log());
        std::thread::yield_now();
    }
    std::fs::remove_file(folder.path().join("40-bad.json")).unwrap();
    std::fs::remove_file(folder.path().join("05-first.json")).unwrap();
    broker.restart().unwrap();
    assert_eq!(names(&broker, "/vhosts"), ["v"]);
}

/// A server with one answer at a time, over TLS; it keeps the first lines of requests.
struct HttpsServer {
    port: u16,
    /// Status line and headers behind it, and the body.
    answer: Arc<Mutex<(String, String)>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl HttpsServer {
    fn start(certificates: &Path) -> Self {
        let made = Command::new(testkit::binary().unwrap())
            .args(["tls", "generate"])
            .arg(certificates)
            .status();
        assert!(made.unwrap().success());
        let certificate = certificates.join("server_certificate.pem");
        let chain = vec![CertificateDer::from_pem_file(certificate).unwrap()];
        let key = PrivateKeyDer::from_pem_file(certificates.join("server_key.pem")).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let config = Arc::new(config);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self {
            port: listener.local_addr().unwrap().port(),
            answer: Arc::default(),
            asked: Arc::default(),
        };
        let (answer, asked) = (Arc::clone(&server.answer), Arc::clone(&server.asked));
        std::thread::spawn(move || {
            for socket in listener.incoming() {
                let tls = ServerConnection::new(Arc::clone(&config)).unwrap();
                let mut stream = StreamOwned::new(tls, socket.unwrap());
                let (mut head, mut byte) = (Vec::new(), [0]);
                // A client that does not trust this server ends here.
                while !head.ends_with(b"\r\n\r\n") && stream.read_exact(&mut byte).is_ok() {
                    head.extend(byte);
                }
                let head = String::from_utf8(head).unwrap();
                if let Some(line) = head.lines().next() {
                    asked.lock().unwrap().push(line.to_owned());
                    let (status, body) = answer.lock().unwrap().clone();
                    let length = body.len();
                    let text =
                        format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{body}");
                    // A client may leave without waiting.
                    let _ = stream.write_all(text.as_bytes());
                    let _ = stream.flush();
                    // The next answer is that of a page that was moved here.
                    if status.starts_with('3') {
                        *answer.lock().unwrap() = ("200 OK".to_owned(), "{}".to_owned());
                    }
                }
            }
        });
        server
    }

    fn answer(&self, status: &str, body: &Value) {
        *self.answer.lock().unwrap() = (status.to_owned(), body.to_string());
    }
}

#[test]
fn definitions_come_over_https_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let server = HttpsServer::start(folder.path());
    let file = |queue: &str| {
        json!({
            "users": [{"name": "admin", "password": "p", "tags": "administrator"}],
            "vhosts": [{"name": "v"}],
            "permissions": [{"user": "admin", "vhost": "v", "configure": ".*", "write": ".*", "read": ".*"}],
            "queues": [{"name": queue, "vhost": "v", "durable": true}],
        })
    };
    server.answer("200 OK", &file("q"));
    let settings = |ca: &str| {
        format!(
            "definitions.import_backend = https\ndefinitions.https.url = https://localhost:{}/d.json?token=t\n\
             definitions.skip_if_unchanged = true\n{ca}",
            server.port
        )
    };
    let trusted = format!(
        "definitions.tls.cacertfile = {}/ca_certificate.pem\n",
        folder.path().display()
    );
    let mut broker = Broker::start_with(&settings(&trusted)).unwrap();
    assert_eq!(
        server.asked.lock().unwrap()[..],
        ["GET /d.json?token=t HTTP/1.1"]
    );
    let http = |broker: &Broker| Http::new(broker).login("admin", "p");
    let queues = |broker: &Broker| {
        let list = http(broker).get("/queues/v?columns=name").unwrap();
        let names = list.as_array().unwrap().iter();
        let names = names.map(|item| item["name"].as_str().unwrap().to_owned());
        names.collect::<Vec<_>>()
    };
    assert_eq!(queues(&broker), ["q"]);
    // What is unchanged is asked for and not imported again.
    http(&broker).delete("/queues/v/q").unwrap();
    broker.stop().unwrap();
    broker.restart().unwrap();
    assert!(queues(&broker).is_empty());
    server.answer("200 OK", &file("r"));
    broker.stop().unwrap();
    broker.restart().unwrap();
    assert_eq!(queues(&broker), ["r"]);
    // A page that has moved is followed.
    server.answer("301 Moved\r\nlocation: /elsewhere", &json!({}));
    broker.stop().unwrap();
    broker.restart().unwrap();
    let asked = server.asked.lock().unwrap().last().cloned();
    assert_eq!(asked.unwrap(), "GET /elsewhere HTTP/1.1");
    // Without an answer, or without trust, there is no start; what comes behind a question mark may be secret.
    for (status, ca, said) in [
        (
            "404 Not Found",
            trusted.as_str(),
            "/d.json: it answers 404 Not Found",
        ),
        (
            "200 OK",
            "definitions.tls.versions.1 = tlsv1.2\n",
            "invalid peer certificate",
        ),
    ] {
        server.answer(status, &file("s"));
        broker.stop().unwrap();
        broker.configure(&settings(ca));
        assert!(broker.restart().is_err());
        assert!(!broker.wait().unwrap().success());
        let deadline = Instant::now() + PATIENCE;
        while !broker.log().contains(said) {
            assert!(Instant::now() < deadline, "{}", broker.log());
            std::thread::yield_now();
        }
        assert!(!broker.log().contains("token=t"), "{}", broker.log());
        broker.configure(&settings(&trusted));
        server.answer("200 OK", &file("r"));
        broker.restart().unwrap();
    }
}

/// As many objects as a large installation has; a tenth of them where the broker is not built for speed.
#[test]
fn a_hundred_thousand_objects_are_imported_in_seconds() {
    let binary = testkit::binary().unwrap();
    let is_release = binary
        .components()
        .any(|part| part.as_os_str() == "release");
    let thousand = if is_release { 1_000 } else { 100 };
    let name = |kind: &str, i: usize| format!("{kind}{i}");
    let queues: Vec<Value> = (0..35 * thousand)
        .map(|i| json!({"name": name("q", i), "vhost": name("v", i % 10), "durable": true, "auto_delete": false, "arguments": {}}))
        .collect();
    let exchanges: Vec<Value> = (0..10 * thousand)
        .map(|i| json!({"name": name("e", i), "vhost": name("v", i % 10), "type": "topic", "durable": true, "auto_delete": false, "internal": false, "arguments": {}}))
        .collect();
    let bindings: Vec<Value> = (0..54 * thousand)
        .map(|i| json!({"source": name("e", i % (10 * thousand)), "vhost": name("v", i % 10), "destination": name("q", i % (35 * thousand)),
            "destination_type": "queue", "routing_key": name("k.", i), "arguments": {}}))
        .collect();
    let users: Vec<Value> = (0..thousand)
        .map(|i| json!({"name": name("u", i), "password_hash": "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR", "tags": []}))
        .collect();
    let vhosts: Vec<Value> = (0..10).map(|i| json!({"name": name("v", i)})).collect();
    let file = json!({"users": users, "vhosts": vhosts, "queues": queues, "exchanges": exchanges, "bindings": bindings});
    let broker = Broker::start_with("management.http.max_body_size = 67108864\n").unwrap();
    let http = Http::new(&broker);
    for _ in 0..2 {
        let started = Instant::now();
        http.post("/definitions", file.clone()).unwrap();
        let took = started.elapsed();
        eprintln!("{} objects in {took:?}", 100 * thousand);
        assert!(!is_release || took < Duration::from_secs(5), "{took:?}");
    }
    let overview = http.get("/overview").unwrap();
    assert_eq!(overview["object_totals"]["queues"], 35 * thousand);
}
