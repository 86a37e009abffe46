//! What the HTTP API does to a running broker, beyond the recorded answers of `http.rs`.

use client_amqp091::ConnectOptions;
use client_amqp091::codec::queue;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use testkit::client::{CHANNEL, DURABLE, PERSISTENT};
use testkit::{Broker, Client, Http};

/// How long something that is told to another thread may take.
const PATIENCE: Duration = Duration::from_secs(60);

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

#[test]
fn messages_go_in_and_out_over_http() {
    let broker = Broker::start().unwrap();
    let http = Http::new(&broker);
    http.put("/queues/%2F/q", json!({"durable": true})).unwrap();
    let publish = json!({
        "properties": {"headers": {"n": 1}}, "routing_key": "q",
        "payload": "hello", "payload_encoding": "string",
    });
    let path = "/exchanges/%2F/amq.default/publish";
    assert_eq!(http.post(path, publish).unwrap(), json!({"routed": true}));
    let get = |mode: &str| {
        let body = json!({"count": 10, "ackmode": mode, "encoding": "auto"});
        http.post("/queues/%2F/q/get", body).unwrap()
    };
    let first = get("ack_requeue_true");
    assert_eq!(first[0]["payload"], "hello");
    assert_eq!(first[0]["redelivered"], false);
    assert_eq!(first[0]["properties"]["headers"]["n"], 1);
    assert_eq!(get("ack_requeue_false")[0]["redelivered"], true);
    assert_eq!(get("ack_requeue_true"), json!([]));
}

#[test]
fn what_is_made_over_http_survives_a_restart() {
    let mut broker = Broker::start().unwrap();
    let http = Http::new(&broker);
    http.put("/vhosts/v", json!({"description": "d"})).unwrap();
    http.put("/users/u", json!({"password": "p", "tags": "management"}))
        .unwrap();
    let permission = json!({"configure": ".*", "write": ".*", "read": ".*"});
    http.put("/permissions/v/u", permission).unwrap();
    http.put("/queues/v/q", json!({"durable": true})).unwrap();
    broker.kill().unwrap();
    broker.restart().unwrap();
    let http = Http::new(&broker).login("u", "p");
    assert_eq!(http.get("/queues/v/q").unwrap()["durable"], true);
}

#[test]
fn definitions_go_from_one_broker_to_another() {
    let (from, to) = (Broker::start().unwrap(), Broker::start().unwrap());
    let (source, target) = (Http::new(&from), Http::new(&to));
    source.put("/vhosts/v", json!({})).unwrap();
    source
        .put(
            "/queues/v/q",
            json!({"durable": true, "arguments": {"x-max-length": 3}}),
        )
        .unwrap();
    source
        .put("/exchanges/v/x", json!({"type": "topic", "durable": true}))
        .unwrap();
    source
        .post("/bindings/v/e/x/q/q", json!({"routing_key": "a.#"}))
        .unwrap();
    source
        .put(
            "/policies/v/p",
            json!({"pattern": "^q", "definition": {"max-length": 2}}),
        )
        .unwrap();
    source
        .put("/vhost-limits/v/max-queues", json!({"value": 7}))
        .unwrap();
    let file = source.get("/definitions").unwrap();
    target.post("/definitions", file.clone()).unwrap();
    let copied = target.get("/definitions").unwrap();
    for key in [
        "users",
        "vhosts",
        "permissions",
        "policies",
        "queues",
        "exchanges",
        "bindings",
    ] {
        assert_eq!(copied[key], file[key], "{key}");
    }
    target.put("/vhosts/other", json!({})).unwrap();
    let single = source.get("/definitions/v").unwrap();
    target.post("/definitions/other", single).unwrap();
    assert_eq!(target.get("/queues/other/q").unwrap()["name"], "q");
    assert_eq!(
        target.get("/bindings/other/e/x/q/q").unwrap()[0]["routing_key"],
        "a.#"
    );
}

#[test]
fn a_file_of_rabbitmq_3_is_imported() {
    let broker = Broker::start().unwrap();
    let http = Http::new(&broker);
    let file = json!({
        "rabbit_version": "3.6.15",
        "users": [{"name": "old", "password_hash": "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR",
            "hashing_algorithm": "rabbit_password_hashing_sha256", "tags": "administrator"}],
        "vhosts": [{"name": "/"}],
        "permissions": [{"user": "old", "vhost": "/", "configure": ".*", "write": ".*", "read": ".*"}],
        "parameters": [],
        "queues": [{"name": "oq", "vhost": "/", "durable": true, "auto_delete": false, "arguments": {}}],
        "exchanges": [],
        "bindings": [{"source": "amq.fanout", "vhost": "/", "destination": "oq", "destination_type": "queue",
            "routing_key": "", "arguments": {}}],
    });
    http.post("/definitions", file).unwrap();
    assert_eq!(
        http.get("/users/old").unwrap()["tags"],
        json!(["administrator"])
    );
    assert_eq!(
        http.get("/bindings/%2F/e/amq.fanout/q/oq").unwrap()[0]["properties_key"],
        "~"
    );
}

#[tokio::test]
async fn connections_are_listed_and_closed() {
    let broker = Broker::start().unwrap();
    let http = Http::new(&broker);
    let options = ConnectOptions {
        connection_name: Some("a name of its own".to_owned()),
        ..ConnectOptions::default()
    };
    let client = Client::connect_with(broker.address(), &options)
        .await
        .unwrap();
    let listed = until("a connection", || {
        let list = http.get("/connections").unwrap();
        list.get(0)
            .filter(|connection| connection["state"] == "running")
            .cloned()
    });
    assert_eq!(listed["user"], "guest");
    assert_eq!(listed["user_provided_name"], "a name of its own");
    assert_eq!(
        listed["client_properties"]["connection_name"],
        "a name of its own"
    );
    assert_eq!(listed["protocol"], "AMQP 0-9-1");
    assert!(listed["recv_oct"].as_u64().unwrap() > 0);
    let name = listed["name"].as_str().unwrap();
    let path = format!(
        "/connections/{}",
        name.replace(' ', "%20").replace('>', "%3E")
    );
    assert_eq!(http.get(&path).unwrap()["name"], name);
    let response = http
        .request_with("DELETE", &path, &[("X-Reason", "enough")], b"")
        .unwrap();
    assert_eq!(response.status, 204);
    until("the end", || {
        broker
            .log()
            .contains("connection_forced: \"enough\"")
            .then_some(())
    });
    drop(client);
}

#[test]
fn bad_requests_are_refused_and_do_no_harm() {
    let broker = Broker::start_with("management.http.max_body_size = 1000").unwrap();
    let http = Http::new(&broker);
    let status = |response: &[u8]| {
        String::from_utf8_lossy(response)
            .lines()
            .next()
            .map(str::to_owned)
    };
    let host = "Host: x\r\nAuthorization: Basic Z3Vlc3Q6Z3Vlc3Q=\r\nConnection: close\r\n";
    for (head, expected) in [
        ("GET /api/whoami HTTP/1.1\r\nHost: y\r\n", "400"),
        (
            "PUT /api/vhosts/a HTTP/1.1\r\nContent-Length: +5\r\n",
            "400",
        ),
        ("TRACE /api/whoami HTTP/1.1\r\n", "405"),
        ("GET /api/queues/%252F HTTP/1.1\r\n", "404"),
        ("GET /api/..%2f..%2fetc%2fpasswd HTTP/1.1\r\n", "404"),
        (
            "GET /api/queues?page=18446744073709551616 HTTP/1.1\r\n",
            "400",
        ),
        ("PRI * HTTP/2.0\r\n", "400"),
    ] {
        let answer = http.raw(format!("{head}{host}\r\n").as_bytes()).unwrap();
        let line = status(&answer).unwrap_or_default();
        assert!(
            line.contains(expected) || answer.is_empty(),
            "{head}: {line}"
        );
    }
    let many = format!(
        "GET /api/whoami HTTP/1.1\r\n{}{host}\r\n",
        "A: b\r\n".repeat(10_000)
    );
    let answer = status(&http.raw(many.as_bytes()).unwrap());
    assert!(answer.is_none_or(|line| line.contains("431")));
    let large = json!({"description": "x".repeat(2_000)});
    let response = http.request("PUT", "/vhosts/large", Some(&large)).unwrap();
    assert_eq!(response.status, 413);
    let deep = format!("{}1{}", "{\"a\":".repeat(100), "}".repeat(100));
    let response = http
        .request_with("PUT", "/queues/%2F/deep", &[], deep.as_bytes())
        .unwrap();
    assert_eq!(response.status, 400);
    let wrong = http.login("guest", "wrong");
    assert_eq!(wrong.request("GET", "/whoami", None).unwrap().status, 401);
    assert_eq!(http.get("/whoami").unwrap()["name"], "guest");
}

#[test]
fn answers_have_the_headers_that_clients_look_for() {
    let broker = Broker::start_with("management.cors.allow_origins.1 = http://a.example").unwrap();
    let http = Http::new(&broker);
    let response = http
        .request_with(
            "GET",
            "/overview",
            &[("Accept-Encoding", "gzip"), ("Origin", "http://a.example")],
            b"",
        )
        .unwrap();
    let header = |name: &str| response.header(name).map(str::to_owned);
    assert_eq!(header("content-encoding").as_deref(), Some("gzip"));
    assert_eq!(header("cache-control").as_deref(), Some("no-cache"));
    assert_eq!(header("allow").as_deref(), Some("HEAD, GET, OPTIONS"));
    assert_eq!(
        header("access-control-allow-origin").as_deref(),
        Some("http://a.example")
    );
    assert!(header("content-security-policy").is_some());
    let nobody = Http::at(broker.http_address());
    let response = nobody.request("GET", "/overview", None).unwrap();
    assert_eq!(response.status, 401);
    assert_eq!(
        response.header("www-authenticate"),
        Some("Basic realm=\"RabbitMQ Management\"")
    );
    let head = http.request("HEAD", "/overview", None).unwrap();
    assert_eq!((head.status, head.body.len()), (200, 0));
    let moved: Value = http.get("/cluster-name").unwrap();
    assert_eq!(moved["name"], "rabbit@localhost");
}

#[test]
fn where_a_node_listens_is_told_to_monitors_only() {
    let broker = Broker::start().unwrap();
    let http = Http::new(&broker);
    for (tag, is_told) in [
        ("management", false),
        ("policymaker", false),
        ("monitoring", true),
    ] {
        let user = json!({"password": "p", "tags": tag});
        http.put(&format!("/users/{tag}"), user).unwrap();
        let overview = http.login(tag, "p").get("/overview").unwrap();
        for key in ["node", "listeners", "contexts"] {
            assert_eq!(overview.get(key).is_some(), is_told, "{tag}, {key}");
        }
        assert!(overview["object_totals"]["queues"].is_u64(), "{tag}");
    }
}

#[test]
fn exchange_types_are_listed_in_rabbitmqs_words() {
    let broker = Broker::start().unwrap();
    let overview = Http::new(&broker).get("/overview").unwrap();
    let listed = overview["exchange_types"].as_array().unwrap().iter();
    let of_rabbitmq: Vec<_> = listed
        .filter(|item| {
            !matches!(
                item["name"].as_str(),
                Some("x-delayed-message" | "x-message-deduplication" | "x-rtopic")
            )
        })
        .inspect(|item| assert_eq!(item["enabled"], true))
        .map(|item| {
            (
                item["name"].as_str().unwrap(),
                item["description"].as_str().unwrap(),
            )
        })
        .collect();
    let expected = [
        (
            "direct",
            "AMQP direct exchange, as per the AMQP specification",
        ),
        (
            "fanout",
            "AMQP fanout exchange, as per the AMQP specification",
        ),
        (
            "headers",
            "AMQP headers exchange, as per the AMQP specification",
        ),
        (
            "topic",
            "AMQP topic exchange, as per the AMQP specification",
        ),
        ("x-consistent-hash", "Consistent Hashing Exchange"),
        ("x-jms-topic", "JMS selector exchange"),
        (
            "x-local-random",
            "Picks one random local binding (queue) to route via (to).",
        ),
        ("x-modulus-hash", "Modulus Hashing Exchange"),
        (
            "x-random",
            "Randomly picks a binding (queue) to route via (to).",
        ),
        ("x-recent-history", "Recent History Exchange."),
    ];
    assert_eq!(of_rabbitmq, expected);
}

#[tokio::test]
async fn pages_and_sums_follow_what_happens_in_many_queues() -> anyhow::Result<()> {
    /// More than are told of at once.
    const QUEUES: u32 = 1_200;
    let mut broker = Broker::start()?;
    let http = Http::new(&broker);
    let mut client = Client::connect(&broker).await?;
    client.confirm_select().await?;
    for number in 0..QUEUES {
        let name = format!("q{number:04}");
        let declare = queue::Declare {
            queue: name.as_bytes(),
            durable: true,
            no_wait: true,
            ..queue::Declare::default()
        };
        declare.encode(CHANNEL, client.connection.outgoing().bytes());
    }
    client.declare("last", DURABLE).await?;
    let page = |query: &str| http.get(&format!("/queues/%2F?page=1&page_size=3&{query}"));
    let names = |page: &Value| -> Vec<String> {
        let items = page["items"].as_array().unwrap().iter();
        items
            .map(|item| item["name"].as_str().unwrap().to_owned())
            .collect()
    };
    let messages = |http: &Http| -> anyhow::Result<u64> {
        let overview = http.get("/overview")?;
        Ok(overview["queue_totals"]["messages"].as_u64().unwrap())
    };
    assert_eq!(names(&page("sort=name")?), ["last", "q0000", "q0001"]);
    for (queue, count) in [("q0700", 5), ("q0007", 9), ("last", 2)] {
        client
            .publish_all(queue, &PERSISTENT, count, |_| b"x".to_vec())
            .await?;
    }
    let largest = page("sort=messages&sort_reverse=true")?;
    assert_eq!(names(&largest), ["q0007", "q0700", "last"]);
    assert_eq!(largest["items"][0]["messages_ready"], 9);
    assert_eq!(largest["total_count"], QUEUES + 1);
    let smallest = page("sort=messages")?;
    assert_eq!(names(&smallest), ["q0000", "q0001", "q0002"]);
    let most = page("sort=message_stats.publish&sort_reverse=true&columns=name")?;
    assert_eq!(names(&most), ["q0007", "q0700", "last"]);
    assert_eq!(messages(&http)?, 16);
    assert_eq!(http.get("/vhosts/%2F")?["messages"], 16);
    let brief = http.get("/queues?columns=name,messages&sort=messages&sort_reverse=true&page=1")?;
    assert_eq!(brief["items"][0], json!({"name": "q0007", "messages": 9}));

    http.delete("/queues/%2F/q0700/contents")?;
    http.delete("/queues/%2F/q0007")?;
    assert_eq!(names(&page("sort=messages&sort_reverse=true")?)[0], "last");
    until("the sum without the queue", || {
        (messages(&http).unwrap() == 2).then_some(())
    });
    // What is confirmed is on stable storage, and the purge before it.
    client
        .publish_all("last", &PERSISTENT, 1, |_| b"x".to_vec())
        .await?;
    client.consume("last", false).await?;
    let consumed = until("the consumer", || {
        let found = page("sort=consumers&sort_reverse=true").unwrap();
        (found["items"][0]["consumers"] == 1).then_some(found)
    });
    assert_eq!(names(&consumed)[0], "last");
    let overview = http.get("/overview")?;
    assert_eq!(overview["object_totals"]["consumers"], 1);
    assert_eq!(overview["object_totals"]["queues"], QUEUES);
    assert_eq!(overview["object_totals"]["connections"], 1);
    assert_eq!(overview["object_totals"]["channels"], 1);
    let channels = http.get("/channels?page=1&sort=name")?;
    assert_eq!(channels["items"][0]["consumer_count"], 1);
    assert_eq!(
        http.get("/connections?page=1&sort=recv_oct")?["item_count"],
        1
    );
    assert_eq!(http.get("/consumers")?.as_array().map(Vec::len), Some(1));

    drop(client);
    broker.kill()?;
    broker.restart()?;
    let http = Http::new(&broker);
    assert_eq!(messages(&http)?, 3);
    let page = http.get("/queues?page=1&page_size=1&sort=messages&sort_reverse=true")?;
    assert_eq!(names(&page), ["last"]);
    assert_eq!(page["total_count"], QUEUES);
    Ok(())
}
