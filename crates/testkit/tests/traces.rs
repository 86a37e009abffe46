//! Traced messages in files, over the HTTP API.
//!
//! `tests/traces/*` is what RabbitMQ writes about the same messages; what differs each time stands there as a word in angle brackets.
//! `AMQP_ADDRESS` and `HTTP_ADDRESS` compare with another server that has the plugin, and with `UPDATE_EXPECT=1` records from it.

use anyhow::Context;
use client_amqp091::codec::{BasicProperties, Table, TableWriter, Value as Field};
use client_amqp091::{AmqpUri, ConnectOptions, Connection};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};
use testkit::client::{CHANNEL, within};
use testkit::{Broker, Client, Http};

/// How long something that is told to another thread may take.
const PATIENCE: Duration = Duration::from_secs(60);

const RULE: &str = "========================================\
                    ========================================";

fn until<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = attempt() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what} does not happen");
        std::thread::yield_now();
    }
}

fn text(http: &Http, file: &str) -> String {
    let answer = http.request("GET", &format!("/trace-files/{file}"), None);
    String::from_utf8(answer.expect("an answer").body).expect("text")
}

/// The file as soon as it has so many records.
fn records(http: &Http, file: &str, count: usize, mark: &str) -> String {
    until(&format!("{count} records in {file}"), || {
        let text = text(http, file);
        (text.matches(mark).count() == count).then_some(text)
    })
}

/// Publishes what is traced and takes half of it.
async fn traffic(connection: &mut Connection) -> anyhow::Result<()> {
    let options = client_amqp091::QueueOptions::default();
    for queue in ["q", "ключ"] {
        connection
            .declare_queue(CHANNEL, queue, options, Table::default())
            .await?;
    }
    let bind = client_amqp091::codec::queue::Bind {
        queue: b"q",
        exchange: b"amq.fanout",
        ..Default::default()
    };
    connection.bind_queue(CHANNEL, &bind).await?;
    let mut headers = Vec::new();
    let mut writer = TableWriter::new(&mut headers);
    writer.field(b"text", &Field::LongStr(b"text"));
    writer.field(b"umlaut", &Field::LongStr("ü€".as_bytes()));
    writer.field(b"latin", &Field::LongStr(b"\xfcber"));
    writer.field(b"octets", &Field::Binary(b"\xff\x00"));
    writer.field(b"int", &Field::I32(-5));
    writer.field(b"long", &Field::I64(1 << 40));
    writer.field(b"byte", &Field::I8(7));
    writer.field(b"bool", &Field::Bool(true));
    writer.field(b"double", &Field::F64(1.5));
    writer.field(b"void", &Field::Void);
    writer.field(b"time", &Field::Timestamp(1_700_000_000));
    writer.table(b"empty", |_| {});
    writer.table(b"table", |table| {
        table.field(b"a", &Field::I32(1));
        table.table(b"b", |inner| inner.field(b"c", &Field::LongStr(b"d")));
    });
    writer.array(b"array", |array| {
        array.value(&Field::I32(1));
        array.value(&Field::LongStr(b"a text that takes some room on its line"));
        array.table(|table| table.field(b"y", &Field::I32(2)));
    });
    let mut copies = Vec::new();
    TableWriter::new(&mut copies).array(b"CC", |array| {
        for key in [
            "a-rather-long-key",
            "b-rather-long-key",
            "c-rather-long-key",
        ] {
            array.value(&Field::LongStr(key.as_bytes()));
        }
    });
    let plain = BasicProperties::default();
    let all = BasicProperties {
        content_type: Some(b"text/plain"),
        content_encoding: Some(b"utf-8"),
        headers: None,
        delivery_mode: Some(2),
        priority: Some(5),
        correlation_id: Some(b"c1"),
        reply_to: Some(b"rt"),
        expiration: Some(b"60000"),
        message_id: Some(b"m1"),
        timestamp: Some(1_700_000_000),
        message_type: Some(b"ty"),
        user_id: Some(b"guest"),
        app_id: Some(b"app"),
        cluster_id: Some(b"cl"),
    };
    let with = |headers| BasicProperties {
        headers: Some(Table::new(headers)),
        ..BasicProperties::default()
    };
    let messages: [(&str, &[u8], BasicProperties<'_>, &[u8]); 8] = [
        ("", b"q", plain, b"hello"),
        ("amq.direct", b"to nobody", plain, b"lost"),
        (
            "amq.fanout",
            b"\"quoted\" \\ \n tab\t",
            plain,
            b"two\nlines",
        ),
        ("", "ключ".as_bytes(), plain, "тело".as_bytes()),
        ("", b"q", plain, b"\x00\x01\xff\xfe octets"),
        ("amq.fanout", b"", all, b""),
        ("amq.fanout", b"k", with(&headers), b"headers"),
        ("amq.fanout", b"k", with(&copies), b"copies"),
    ];
    for (exchange, key, properties, body) in messages {
        let publish = client_amqp091::codec::basic::Publish {
            exchange: exchange.as_bytes(),
            routing_key: key,
            ..Default::default()
        };
        let outgoing = connection.outgoing();
        outgoing.publish(CHANNEL, &publish, &properties, body);
    }
    let mut got = 0;
    while let Some(_message) = connection.get(CHANNEL, "q", true).await? {
        got += 1;
    }
    anyhow::ensure!(got == 6, "{got} messages");
    connection
        .get(CHANNEL, "ключ", true)
        .await?
        .context("one")?;
    Ok(())
}

/// What differs each time is replaced.
fn comparable_text(text: &str) -> String {
    let line = |line: &str| match line {
        _ if line.starts_with("Node:  ") => "Node:         <node>".to_owned(),
        _ if line.starts_with("Connection:  ") => "Connection:   <connection>".to_owned(),
        _ => match line.split_once(": Message ") {
            Some((time, kind)) => {
                assert_eq!(time.len(), "2026-11-23T10:51:27.627+00:00".len(), "{time}");
                format!("<time>: Message {kind}")
            }
            None => line.to_owned(),
        },
    };
    text.split('\n').map(line).collect::<Vec<_>>().join("\n")
}

fn comparable_json(text: &str) -> String {
    let line = |line: &str| {
        let mut record: Value = serde_json::from_str(line).expect("JSON");
        for key in ["timestamp", "node", "connection"] {
            assert!(record[key].is_string(), "{line}");
            record[key] = format!("<{key}>").into();
        }
        format!("{}\n", serde_json::to_string_pretty(&record).expect("JSON"))
    };
    text.lines().map(line).collect()
}

#[tokio::test]
async fn files_say_what_rabbitmqs_say() -> anyhow::Result<()> {
    let address = |name| {
        let address = std::env::var(name).ok();
        address.map(|address| address.parse::<SocketAddr>().expect("an address"))
    };
    let others = address("AMQP_ADDRESS").zip(address("HTTP_ADDRESS"));
    let broker = others.is_none().then(Broker::start).transpose()?;
    let (amqp, http) = match (&broker, others) {
        (Some(broker), _) => (broker.address(), Http::new(broker)),
        (None, Some((amqp, http))) => (amqp, Http::at(http).login("guest", "guest")),
        (None, None) => unreachable!("one of them is there"),
    };
    let files = ["recorded-text", "recorded-json", "recorded-cut"];
    let forms = [
        json!({"format": "text", "pattern": "#"}),
        json!({"format": "json", "pattern": "#"}),
        json!({"format": "text", "pattern": "deliver.q", "max_payload_bytes": 4}),
    ];
    http.put("/vhosts/traced", json!({}))?;
    let all = json!({"configure": ".*", "write": ".*", "read": ".*"});
    http.put("/permissions/traced/guest", all)?;
    for (file, form) in files.iter().zip(forms) {
        http.put(&format!("/traces/traced/{file}"), form)?;
    }
    let uri: AmqpUri = format!("amqp://guest:guest@{amqp}/traced").parse()?;
    let mut connection = Connection::connect(&uri, &ConnectOptions::default()).await?;
    connection.open_channel(CHANNEL).await?;
    // The other server tells its connections of tracing when it likes.
    until("tracing is on", || {
        let vhost = http.get("/vhosts/traced").unwrap();
        (vhost["tracing"] == true).then_some(())
    });
    traffic(&mut connection).await?;
    connection.close().await?;
    let found = [
        comparable_text(&records(&http, "recorded-text.log", 15, RULE)),
        comparable_json(&records(&http, "recorded-json.log", 15, "\n")),
        comparable_text(&records(&http, "recorded-cut.log", 6, RULE)),
    ];
    for file in files {
        http.delete(&format!("/traces/traced/{file}"))?;
        http.delete(&format!("/trace-files/{file}.log"))?;
    }
    http.delete("/vhosts/traced")?;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/traces");
    for (file, found) in files.iter().zip(found) {
        let path = folder.join(file);
        if others.is_some() && std::env::var_os("UPDATE_EXPECT").is_some() {
            std::fs::write(&path, &found)?;
        }
        let recorded = std::fs::read_to_string(&path).context("the record")?;
        assert_eq!(found, recorded, "{file}");
    }
    Ok(())
}

#[test]
fn a_trace_switches_tracing_on_and_the_last_one_off() {
    let broker = Broker::start().unwrap();
    let http = Http::new(&broker);
    let is_traced = || http.get("/vhosts/%2F").unwrap()["tracing"] == true;
    let form = json!({"format": "text", "pattern": "#", "max_payload_bytes": 9,
        "tracer_connection_username": "guest", "tracer_connection_password": "guest"});
    http.put("/traces/%2F/a", form).unwrap();
    http.put(
        "/traces/node/rabbit@localhost/%2F/b",
        json!({"format": "json", "pattern": "x.#"}),
    )
    .unwrap();
    assert!(is_traced());
    let one = http.get("/traces/%2F/a").unwrap();
    for (key, value) in [
        ("vhost", json!("/")),
        ("name", json!("a")),
        ("format", json!("text")),
        ("pattern", json!("#")),
        ("max_payload_bytes", json!(9)),
        ("tracer_connection_username", json!("guest")),
        ("records_lost", json!(0)),
    ] {
        assert_eq!(one[key], value, "{one}");
    }
    assert_eq!(one["queue"]["exclusive"], true);
    assert!(!one.to_string().contains("password"), "{one}");
    let names = |path: &str| -> Vec<String> {
        let list = http.get(path).unwrap();
        let list = list.as_array().unwrap().iter();
        list.map(|one| one["name"].as_str().unwrap().to_owned())
            .collect()
    };
    for path in [
        "/traces",
        "/traces/%2F",
        "/traces/node/rabbit@localhost",
        "/traces/node/rabbit@localhost/%2F",
    ] {
        assert_eq!(names(path), ["a", "b"], "{path}");
    }
    for path in ["/trace-files", "/trace-files/node/rabbit@localhost"] {
        assert_eq!(names(path), ["a.log", "b.log"], "{path}");
    }
    http.delete("/traces/%2F/a").unwrap();
    assert!(is_traced());
    http.delete("/traces/node/rabbit@localhost/%2F/b").unwrap();
    assert!(!is_traced());
    assert_eq!(names("/traces"), [""; 0]);
    assert_eq!(names("/trace-files").len(), 2, "files stay");
    http.delete("/trace-files/node/rabbit@localhost/b.log")
        .unwrap();
    assert_eq!(names("/trace-files"), ["a.log"]);
}

#[test]
fn what_cannot_be_traced_is_refused() {
    let broker = Broker::start().unwrap();
    let http = Http::new(&broker);
    http.put("/users/m", json!({"password": "p", "tags": "monitoring"}))
        .unwrap();
    let put = |path: &str, body: Value| {
        let answer = http.request("PUT", path, Some(&body)).unwrap();
        (
            answer.status,
            answer.json().unwrap()["reason"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
        )
    };
    let good = json!({"format": "text", "pattern": "#"});
    let failed = "Something went wrong trying to start the trace - check the logs.";
    for (path, body, status, reason) in [
        (
            "/traces/%2F/t",
            json!({"format": "xml", "pattern": "#"}),
            400,
            "format not json or text",
        ),
        (
            "/traces/%2F/t",
            json!({"format": "text", "pattern": "#", "max_payload_bytes": "10"}),
            400,
            "max_payload_bytes not integer",
        ),
        (
            "/traces/%2F/t",
            json!({"format": "text", "pattern": "#", "max_payload_bytes": -1}),
            400,
            "max_payload_bytes is negative",
        ),
        (
            "/traces/%2F/t",
            json!({"format": "text", "pattern": 5}),
            400,
            "pattern not a string",
        ),
        (
            "/traces/%2F/t",
            json!({}),
            400,
            "[{key_missing,format},{key_missing,pattern}]",
        ),
        (
            "/traces/%2F/..%2Fx",
            good.clone(),
            400,
            "invalid trace name",
        ),
        (
            "/traces/%2F/%2Ftmp%2Fx",
            good.clone(),
            400,
            "invalid trace name",
        ),
        ("/traces/%2F/a%2Fb", good.clone(), 400, "invalid trace name"),
        ("/traces/%2F/a%00b", good.clone(), 400, "invalid trace name"),
        ("/traces/nope/t", good.clone(), 404, "vhost_not_found"),
        (
            "/traces/node/nope@x/%2F/t",
            good.clone(),
            400,
            "Node is not a cluster member",
        ),
        (
            "/traces/%2F/t",
            json!({"format": "text", "pattern": "#", "tracer_connection_username": "guest", "tracer_connection_password": "wrong"}),
            400,
            failed,
        ),
        (
            "/traces/%2F/t",
            json!({"format": "text", "pattern": "#", "tracer_connection_username": "m", "tracer_connection_password": "p"}),
            400,
            failed,
        ),
    ] {
        assert_eq!(
            put(path, body.clone()),
            (status, reason.to_owned()),
            "{path} {body}"
        );
    }
    assert_eq!(http.get("/traces").unwrap(), json!([]));
    assert_eq!(http.get("/vhosts/%2F").unwrap()["tracing"], false);
    put("/traces/%2F/t", good.clone());
    assert_eq!(
        put("/traces/%2F/t", good.clone()),
        (400, failed.to_owned()),
        "it is there"
    );
    http.put("/vhosts/other", json!({})).unwrap();
    assert_eq!(
        put("/traces/other/t", good),
        (400, failed.to_owned()),
        "the file is taken"
    );
    let status = |method: &str, path: &str| http.request(method, path, None).unwrap().status;
    for path in [
        "/trace-files/nope.log",
        "/trace-files/..%2Frabbitmq.conf",
        "/trace-files/..%2F..%2F..%2Fetc%2Fpasswd",
        "/trace-files/%2Fetc%2Fpasswd",
        "/trace-files/t.log%00",
    ] {
        assert_eq!(status("GET", path), 404, "{path}");
        assert_eq!(status("DELETE", path), 404, "{path}");
    }
    assert_eq!(status("DELETE", "/traces/%2F/nope"), 404);
    assert_eq!(status("DELETE", "/traces/nope/t"), 404);
    assert_eq!(status("POST", "/traces/%2F/t"), 405);
    assert_eq!(status("PUT", "/trace-files/t.log"), 405);
    let monitor = http.login("m", "p");
    for path in [
        "/traces",
        "/traces/%2F/t",
        "/trace-files",
        "/trace-files/t.log",
    ] {
        assert_eq!(
            monitor.request("GET", path, None).unwrap().status,
            401,
            "{path}"
        );
    }
}

#[tokio::test]
async fn a_file_is_downloaded_as_it_is() -> anyhow::Result<()> {
    let broker = Broker::start()?;
    let http = Http::new(&broker);
    http.put(
        "/traces/%2F/a%20b",
        json!({"format": "json", "pattern": "publish.#"}),
    )?;
    let mut client = Client::connect(&broker).await?;
    client.declare("q", testkit::client::DURABLE).await?;
    client.confirm_select().await?;
    let plain = BasicProperties::default();
    client
        .publish_all("q", &plain, 3_000, |n| n.to_string().into_bytes())
        .await?;
    let path = "/trace-files/a%20b.log";
    let whole = records(&http, "a%20b.log", 3_000, "\n");
    let payloads = whole.lines().map(|line| {
        let record: Value = serde_json::from_str(line).unwrap();
        record["payload"].as_str().unwrap().to_owned()
    });
    use base64::Engine as _;
    let sent =
        (0..3_000).map(|n: u32| base64::engine::general_purpose::STANDARD.encode(n.to_string()));
    assert!(payloads.eq(sent), "all of them, in order");
    let answer = http.request("GET", path, None)?;
    for (header, value) in [
        ("content-type", "text/plain; charset=utf-8"),
        ("x-content-type-options", "nosniff"),
        (
            "content-disposition",
            "attachment; filename*=UTF-8''a%20b.log",
        ),
        ("content-length", &whole.len().to_string()),
    ] {
        assert_eq!(answer.header(header), Some(value), "{:?}", answer.headers);
    }
    let head = http.request("HEAD", path, None)?;
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(
        head.header("content-length"),
        Some(&*whole.len().to_string())
    );
    // Deleted while it is written, it begins again.
    http.delete(path)?;
    client
        .publish_all("q", &plain, 1, |_| b"more".to_vec())
        .await?;
    records(&http, "a%20b.log", 1, "\n");
    within(client.connection.close()).await?;
    Ok(())
}

#[test]
fn what_goes_over_http_is_traced() -> anyhow::Result<()> {
    let broker = Broker::start()?;
    let http = Http::new(&broker);
    http.put(
        "/traces/%2F/http",
        json!({"format": "json", "pattern": "#"}),
    )?;
    http.put("/queues/%2F/q", json!({}))?;
    let message = json!({
        "properties": {}, "routing_key": "q", "payload": "seen", "payload_encoding": "string",
    });
    http.post("/exchanges/%2F/amq.default/publish", message)?;
    let get = json!({"count": 1, "ackmode": "ack_requeue_false", "encoding": "auto"});
    http.post("/queues/%2F/q/get", get)?;
    let text = records(&http, "http.log", 2, "\n");
    let kinds = text.lines().map(|line| {
        let record: Value = serde_json::from_str(line).unwrap();
        assert_eq!(record["payload"], "c2Vlbg==");
        record["type"].clone()
    });
    assert!(kinds.eq(["published", "received"]), "{text}");
    Ok(())
}

#[tokio::test]
async fn files_outlive_the_node_and_traces_do_not() -> anyhow::Result<()> {
    let mut broker = Broker::start()?;
    let http = Http::new(&broker);
    http.put("/traces/%2F/t", json!({"format": "text", "pattern": "#"}))?;
    let mut client = Client::connect(&broker).await?;
    client.declare("q", testkit::client::DURABLE).await?;
    client.confirm_select().await?;
    client
        .publish_all("q", &BasicProperties::default(), 1, |_| b"kept".to_vec())
        .await?;
    let before = records(&http, "t.log", 1, RULE);
    broker.stop()?;
    broker.restart()?;
    let http = Http::new(&broker);
    assert_eq!(http.get("/traces")?, json!([]));
    assert_eq!(http.get("/vhosts/%2F")?["tracing"], false);
    assert_eq!(text(&http, "t.log"), before);
    http.put("/traces/%2F/t", json!({"format": "text", "pattern": "#"}))?;
    let mut client = Client::connect(&broker).await?;
    client.confirm_select().await?;
    client
        .publish_all("q", &BasicProperties::default(), 1, |_| b"more".to_vec())
        .await?;
    assert!(records(&http, "t.log", 2, RULE).starts_with(&before));
    Ok(())
}

#[test]
fn a_trace_ends_with_its_vhost_and_with_the_plugin() {
    let broker = Broker::start().unwrap();
    let http = Http::new(&broker);
    let form = json!({"format": "text", "pattern": "#"});
    http.put("/vhosts/v", json!({})).unwrap();
    http.put("/traces/v/t", form.clone()).unwrap();
    http.delete("/vhosts/v").unwrap();
    until("the trace ends", || {
        (http.get("/traces").unwrap() == json!([])).then_some(())
    });
    http.put("/traces/%2F/t", form.clone()).unwrap();
    let switch = |what: &str| {
        let mut tool = broker.tool("rabbitmq-plugins").unwrap();
        let done = tool.args([what, "rabbitmq_tracing"]).output().unwrap();
        assert!(done.status.success(), "{done:?}");
    };
    switch("disable");
    let answer = http.request("GET", "/traces", None).unwrap();
    let body = json!({"error": "Object Not Found", "reason": "Not Found"});
    assert_eq!((answer.status, answer.json().unwrap()), (404, body));
    assert_eq!(
        http.request("GET", "/trace-files/t.log", None)
            .unwrap()
            .status,
        404
    );
    assert_eq!(http.get("/vhosts/%2F").unwrap()["tracing"], false);
    switch("enable");
    assert_eq!(http.get("/traces").unwrap(), json!([]));
    http.put("/traces/%2F/t", form).unwrap();
}
