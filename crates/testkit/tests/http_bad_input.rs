//! Hostile HTTP beside a client that must not notice: raw sockets against a running broker.
//!
//! What is meant by each of these is told where the rule is: `management/src/guard.rs` for what a request is, `login_rate.rs` for wrong
//! credentials, `server.rs` for sizes and times. Not here:
//!
//! - publishes without an answer end by the time limit in `management/src/amqp.rs`;
//! - names that users chose are never names of files: traces and logs have names of the node's own;
//! - addresses that the node asks come from its configuration alone (`definitions.rs`, `authorization.rs`), never from a request;
//! - `/metrics` with very many queues is in `metrics.rs` and `warren perf management`.

use anyhow::{Context, ensure};
use client_amqp091::ConnectOptions;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};
use testkit::client::DURABLE;
use testkit::{Broker, Client, Http};

/// How long any answer may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a client may be kept by others, on a busy machine.
const NOTICED: Duration = Duration::from_secs(30);
/// `guest:guest`
const GUEST: &str = "Authorization: Basic Z3Vlc3Q6Z3Vlc3Q=\r\n";

/// What a server answers until it closes.
fn exchange(address: SocketAddr, request: &[u8]) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    // A server that refuses does not read to the end.
    let _ = stream.write_all(request);
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
        Err(error) => return Err(error).context("the server does not close"),
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// The status codes in what a server answered.
fn statuses(answer: &str) -> Vec<&str> {
    let heads = answer.split("HTTP/1.1 ").skip(1);
    heads.filter_map(|head| head.get(..3)).collect()
}

fn status(answer: &str) -> &str {
    statuses(answer).first().copied().unwrap_or("none")
}

fn get(path: &str, lines: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: x\r\n{GUEST}{lines}\r\n")
}

fn is_well(http: &Http) {
    let began = Instant::now();
    assert_eq!(http.get("/whoami").expect("it answers")["name"], "guest");
    assert!(began.elapsed() < NOTICED, "{:?}", began.elapsed());
}

/// What an API answers to a method, a path and a body.
fn code(http: &Http, method: &str, path: &str, body: &[u8]) -> u16 {
    let answer = http.request_with(method, path, &[], body);
    answer.expect("it answers").status
}

#[test]
fn requests_of_two_meanings_are_refused_and_nothing_behind_them_is_read() -> anyhow::Result<()> {
    let broker = Broker::start()?;
    let http = Http::new(&broker);
    let behind = get("/api/whoami", "");
    let put = |lines: &str, body: &str| {
        format!("PUT /api/vhosts/smuggled HTTP/1.1\r\nHost: x\r\n{GUEST}{lines}\r\n{body}")
    };
    let cases = [
        put(
            "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n",
            "0\r\n\r\n",
        ),
        put("Content-Length: 2\r\nContent-Length: 2\r\n", "{}"),
        put("Content-Length: 2\r\nContent-Length: 3\r\n", "{}"),
        put("Content-Length: +2\r\n", "{}"),
        put("Content-Length: 2,2\r\n", "{}"),
        put("Content-Length:  2\r\n", "{}"),
        put("Content-Length: 0x2\r\n", "{}"),
        put("Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\n"),
        put("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n"),
        put(
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
            "0\r\n\r\n",
        ),
        put("Transfer-Encoding : chunked\r\n", "0\r\n\r\n"),
        put("X: a\n", ""),
        put("X: a\r\n b\r\n", ""),
        put("X : a\r\n", ""),
        put("X: a\0\r\n", ""),
        put("X: a\rb\r\n", ""),
        put("Host: y\r\n", ""),
        "GET /api/whoami\r\n\r\n".to_owned(),
        "GET /api/whoami HTTP/1.1\r\n\r\n".to_owned(),
        format!("GET http://x/api/whoami HTTP/1.1\r\nHost: x\r\n{GUEST}\r\n"),
        format!(
            "GET /api/whoami HTTP/1.1\nHost: x\n{}\n",
            GUEST.replace('\r', "")
        ),
        format!("REFUSED /200 HTTP/1.1\r\nHost: x\r\n{GUEST}\r\n"),
    ];
    for case in cases {
        for address in [broker.http_address(), broker.metrics_address()] {
            let answer = exchange(address, format!("{case}{behind}").as_bytes())?;
            assert_eq!(statuses(&answer), ["400"], "{case}\n{answer}");
        }
    }
    for chunk in [
        "FFFFFFFFFFFFFFFF\r\n",
        "0x2\r\n{}\r\n",
        "-1\r\n",
        "2 \r\n{}\r\n",
        "2\n{}\r\n",
        "2\r\n{}X\r\n",
        "0\r\nBad Trailer: x\r\n\r\n",
        &format!("2;{}\r\n{{}}\r\n", "x".repeat(1 << 20)),
        &format!("2\r\n{{}}\r\n0\r\nX: {}\r\n\r\n", "x".repeat(1 << 20)),
    ] {
        let case = put("Transfer-Encoding: chunked\r\n", chunk);
        let answer = exchange(broker.http_address(), format!("{case}{behind}").as_bytes())?;
        let shown = &chunk[..chunk.len().min(40)];
        assert!(
            matches!(statuses(&answer)[..], [] | ["400"]),
            "{shown}: {answer}"
        );
    }
    let answer = exchange(
        broker.http_address(),
        format!(
            "{}garbage\r\n\r\n{behind}",
            put("Content-Length: 2\r\n", "{}")
        )
        .as_bytes(),
    )?;
    assert_eq!(statuses(&answer), ["201", "400"]);
    assert_eq!(code(&http, "DELETE", "/vhosts/smuggled", b""), 204);
    is_well(&http);
    Ok(())
}

#[test]
fn heads_have_limits() -> anyhow::Result<()> {
    let broker = Broker::start()?;
    let address = broker.http_address();
    let many = get("/api/whoami", &"A: b\r\n".repeat(10_000));
    assert_eq!(status(&exchange(address, many.as_bytes())?), "431");
    let large = get("/api/whoami", &format!("A: {}\r\n", "b".repeat(1 << 20)));
    assert_eq!(status(&exchange(address, large.as_bytes())?), "431");
    let long = get(&format!("/api/{}", "b".repeat(1 << 20)), "");
    assert_eq!(status(&exchange(address, long.as_bytes())?), "414");
    let long = get(&format!("/api/queues?name={}", "b".repeat(16 << 10)), "");
    assert_eq!(status(&exchange(address, long.as_bytes())?), "414");
    is_well(&Http::new(&broker));
    Ok(())
}

#[test]
fn methods_and_protocols_are_what_they_say() -> anyhow::Result<()> {
    let broker = Broker::start()?;
    let (http, address) = (Http::new(&broker), broker.http_address());
    let close = "Connection: close\r\n";
    for (method, path, expected) in [
        ("TRACE", "/api/whoami", "405"),
        ("CONNECT", "x:80", "405"),
        ("CONNECT", "/api/whoami", "405"),
        ("PATCH", "/api/whoami", "405"),
        ("OPTIONS", "/api/whoami", "200"),
    ] {
        let request = format!("{method} {path} HTTP/1.1\r\nHost: x\r\n{GUEST}{close}\r\n");
        let answer = exchange(address, request.as_bytes())?;
        assert_eq!(status(&answer), expected, "{method} {path}: {answer}");
        assert!(!answer.contains("Z3Vlc3Q6"), "{answer}");
    }
    http.put("/queues/%2F/kept", json!({}))?;
    let method = [
        ("X-HTTP-Method-Override", "DELETE"),
        ("X-HTTP-Method", "DELETE"),
    ];
    let response = http.request_with("GET", "/queues/%2F/kept", &method, b"")?;
    assert_eq!(response.status, 200);
    http.get("/queues/%2F/kept")?;

    let preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let answer = exchange(address, preface.as_bytes())?;
    assert_eq!(statuses(&answer), ["400"]);
    let upgrade = "Connection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n";
    let answer = exchange(address, get("/api/whoami", upgrade).as_bytes())?;
    assert_eq!(statuses(&answer), ["200"]);

    let body = b"{\"description\":\"waited\"}";
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let expecting = format!(
        "Expect: 100-continue\r\nContent-Length: {}\r\n{close}",
        body.len()
    );
    let head = format!("PUT /api/vhosts/v HTTP/1.1\r\nHost: x\r\n{GUEST}{expecting}\r\n");
    stream.write_all(head.as_bytes())?;
    let mut first = [0; 12];
    stream.read_exact(&mut first)?;
    assert_eq!(&first, b"HTTP/1.1 100");
    stream.write_all(body)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    assert_eq!(status(&answer), "201");
    Ok(())
}

#[test]
fn ten_thousand_requests_at_once_are_answered_one_after_the_other() -> anyhow::Result<()> {
    const REQUESTS: usize = 10_000;
    let broker = Broker::start()?;
    let mut stream = TcpStream::connect(broker.http_address())?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut writer = stream.try_clone()?;
    let before = broker.resident_bytes()?;
    let sender = thread::spawn(move || -> std::io::Result<()> {
        let request = "OPTIONS /api/whoami HTTP/1.1\r\nHost: x\r\n\r\n";
        writer.write_all(request.repeat(REQUESTS).as_bytes())
    });
    let (mut count, mut rest, mut buffer) = (0, Vec::new(), [0; 1 << 16]);
    while count < REQUESTS {
        let length = stream.read(&mut buffer)?;
        ensure!(length > 0, "closed after {count} answers");
        rest.extend_from_slice(&buffer[..length]);
        while let Some(end) = rest.windows(4).position(|window| window == b"\r\n\r\n") {
            ensure!(
                rest.starts_with(b"HTTP/1.1 200"),
                "{}",
                String::from_utf8_lossy(&rest)
            );
            rest.drain(..end + 4);
            count += 1;
        }
    }
    sender.join().expect("it does not panic")?;
    let grown = broker.resident_bytes()?.saturating_sub(before);
    assert!(grown < 32 << 20, "{grown} bytes more");
    Ok(())
}

#[test]
fn bodies_have_limits() -> anyhow::Result<()> {
    let broker = Broker::start_with("management.http.max_body_size = 1000000")?;
    let (http, address) = (Http::new(&broker), broker.http_address());
    let put = |lines: &str| format!("PUT /api/vhosts/v HTTP/1.1\r\nHost: x\r\n{GUEST}{lines}\r\n");
    let large = format!(
        "{}{}",
        put("Content-Length: 100000000\r\n"),
        "x".repeat(2_000_000)
    );
    assert_eq!(status(&exchange(address, large.as_bytes())?), "413");
    let endless = "FFFF\r\n".to_owned() + &"x".repeat(0xffff) + "\r\n";
    let endless = put("Transfer-Encoding: chunked\r\n") + &endless.repeat(40);
    assert_eq!(status(&exchange(address, endless.as_bytes())?), "413");
    // A gzip bomb is not unpacked, nor is anything else.
    for coding in ["gzip", "deflate", "br", "gzip, gzip"] {
        let lines = [("Content-Encoding", coding)];
        let response = http.request_with("PUT", "/vhosts/v", &lines, b"\x1f\x8b\x08\0")?;
        assert_eq!(response.status, 415, "{coding}");
    }
    let payload = "x".repeat(1_100_000);
    let publish = json!({"properties": {}, "routing_key": "q", "payload": payload, "payload_encoding": "string"});
    let path = "/exchanges/%2F/amq.default/publish";
    assert_eq!(
        code(&http, "POST", path, publish.to_string().as_bytes()),
        413
    );
    for properties in [
        json!({"priority": "x"}),
        json!({"content_type": 5}),
        json!({"headers": {"a": null}}),
    ] {
        let publish = json!({"properties": properties, "routing_key": "q", "payload": "", "payload_encoding": "string"});
        assert_eq!(
            code(&http, "POST", path, publish.to_string().as_bytes()),
            400,
            "{properties}"
        );
    }
    is_well(&http);
    Ok(())
}

#[test]
fn json_has_one_meaning() -> anyhow::Result<()> {
    let broker = Broker::start()?;
    let http = Http::new(&broker);
    let deep = format!(
        "{{\"arguments\":{}1{}}}",
        "{\"a\":".repeat(100_000),
        "}".repeat(100_000)
    );
    let less_deep = format!(
        "{{\"arguments\":{}1{}}}",
        "{\"a\":".repeat(40),
        "}".repeat(40)
    );
    for body in [
        deep.as_str(),
        less_deep.as_str(),
        "{\"durable\":true,\"durable\":false}",
        "{\"arguments\":{\"x-max-length\":1,\"x-max-length\":2}}",
        "{\"arguments\":{\"x-max-length\":1e400}}",
        "{\"arguments\":{\"x-max-length\":18446744073709551616}}",
        "{\"arguments\":{\"x-max-length\":NaN}}",
        "{\"arguments\":{\"a\":\"\\ud800\"}}",
        "\u{feff}{}",
        "{} {}",
        "{} // comment",
        "[]",
        "5",
        "{\"durable\":true",
    ] {
        let shown = &body[..body.len().min(60)];
        assert_eq!(
            code(&http, "PUT", "/queues/%2F/q", body.as_bytes()),
            400,
            "{shown}"
        );
    }
    assert_eq!(
        code(
            &http,
            "PUT",
            "/queues/%2F/q",
            b"{\"arguments\":{\"a\":\"\xff\"}}"
        ),
        400
    );
    assert_eq!(code(&http, "GET", "/queues/%2F/q", b""), 404);
    let keys: Vec<String> = (0..1_000_000)
        .map(|number| format!("\"{number}\":1"))
        .collect();
    let many = format!("{{{}}}", keys.join(","));
    let answered = code(&http, "PUT", "/queues/%2F/q", many.as_bytes());
    assert!([201, 400, 413].contains(&answered), "{answered}");
    is_well(&http);
    Ok(())
}

#[test]
fn paths_are_decoded_once_and_lead_nowhere_else() -> anyhow::Result<()> {
    let broker = Broker::start()?;
    let http = Http::new(&broker);
    http.get("/queues/%2F")?;
    http.get("/queues/%2f")?;
    for path in [
        "/api/queues/%252F",
        "/api/..%2f..%2fetc%2fpasswd",
        "/api/../../etc/passwd",
        "/../../../../etc/passwd",
        "/..%2f..%2f..%2fetc%2fpasswd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/main.js%00.html",
        "/api/queues/%00/%00",
        "/api/queues/%ff",
        "/api//queues",
        "//api/queues",
        "/api/queues;x=y",
        "/api/queues/%e2%88%95",
        "/api/queues/%ef%bc%8f",
        "/api\\queues",
    ] {
        let response = http.request_at("GET", path, &[], b"")?;
        assert_eq!(response.status, 404, "{path}");
        assert!(
            !String::from_utf8_lossy(&response.body).contains("root:"),
            "{path}"
        );
    }
    for (path, expected) in [
        ("/nodes/rabbit@elsewhere.example", 404),
        ("/nodes/http%3A%2F%2F127.0.0.1", 404),
        ("/health/checks/port-listener/99999", 400),
        ("/health/checks/port-listener/-1", 400),
    ] {
        assert_eq!(code(&http, "GET", path, b""), expected, "{path}");
    }
    Ok(())
}

#[test]
fn credentials_are_whole_or_wrong() -> anyhow::Result<()> {
    let broker = Broker::start()?;
    let http = Http::new(&broker);
    http.put(
        "/users/nobody",
        json!({"password_hash": "", "tags": "administrator"}),
    )?;
    let nobody = Http::at(broker.http_address());
    for credentials in [
        "Basic",
        "Basic ",
        "Basic !!!!",
        "Basic Z3Vlc3Q=",
        "Basic Og==",
        "Basic Kjo=",
        "Digest Z3Vlc3Q6Z3Vlc3Q=",
        "Z3Vlc3Q6Z3Vlc3Q=",
        // guest and nobody, both without a password.
        "Basic Z3Vlc3Q6",
        "Basic bm9ib2R5Og==",
        "Basic bm9ib2R5Ong=",
    ] {
        let lines = [("Authorization", credentials)];
        let response = nobody.request_with("GET", "/whoami", &lines, b"")?;
        assert_eq!(response.status, 401, "{credentials}");
    }
    assert_eq!(nobody.request("GET", "/whoami", None)?.status, 401);
    let two = format!("{GUEST}Authorization: Basic x\r\n");
    let request = format!("GET /api/whoami HTTP/1.1\r\nHost: x\r\n{two}Connection: close\r\n\r\n");
    let answer = exchange(broker.http_address(), request.as_bytes())?;
    assert!(["200", "401"].contains(&status(&answer)));
    let large = format!("Authorization: Basic {}\r\n", "QUFB".repeat(1 << 18));
    let request = format!("GET /api/whoami HTTP/1.1\r\nHost: x\r\n{large}\r\n");
    assert_eq!(
        status(&exchange(broker.http_address(), request.as_bytes())?),
        "431"
    );
    is_well(&http);
    Ok(())
}

#[test]
fn guessing_is_slowed_and_locks_nobody_out() -> anyhow::Result<()> {
    const GUESSES: usize = 10_000;
    let broker = Broker::start()?;
    let http = Http::new(&broker);
    http.put(
        "/users/other",
        json!({"password": "p", "tags": "management"}),
    )?;
    is_well(&http);
    let start = Barrier::new(2);
    let counts = thread::scope(|scope| -> anyhow::Result<(usize, usize)> {
        let guessing = scope.spawn(|| -> anyhow::Result<(usize, usize)> {
            let mut stream = TcpStream::connect(broker.http_address())?;
            stream.set_read_timeout(Some(PATIENCE))?;
            let mut writer = stream.try_clone()?;
            start.wait();
            // guest:wrong
            let guess = "GET /api/whoami HTTP/1.1\r\nHost: x\r\nAuthorization: Basic Z3Vlc3Q6d3Jvbmc=\r\n\r\n";
            let sender = thread::spawn(move || writer.write_all(guess.repeat(GUESSES).as_bytes()));
            let mut answers = String::new();
            let mut buffer = [0; 1 << 16];
            while answers.matches("HTTP/1.1 ").count() < GUESSES {
                let length = stream.read(&mut buffer)?;
                ensure!(length > 0, "closed");
                answers.push_str(&String::from_utf8_lossy(&buffer[..length]));
            }
            sender.join().expect("it does not panic")?;
            let count = |code: &str| answers.matches(&format!("HTTP/1.1 {code}")).count();
            ensure!(answers.to_lowercase().contains("retry-after: "), "no Retry-After");
            Ok((count("401"), count("429")))
        });
        start.wait();
        while !guessing.is_finished() {
            is_well(&http);
        }
        guessing.join().expect("it does not panic")
    })?;
    let (looked_at, refused) = counts;
    assert_eq!(looked_at + refused, GUESSES);
    assert!(looked_at < 200, "{looked_at} guesses were looked at");
    // Somebody else from the same address, for the first time.
    assert_eq!(http.login("other", "p").get("/whoami")?["name"], "other");
    is_well(&http);
    Ok(())
}

#[test]
fn numbers_of_requests_have_limits() -> anyhow::Result<()> {
    let broker = Broker::start()?;
    let http = Http::new(&broker);
    http.put("/queues/%2F/q", json!({}))?;
    for (path, expected) in [
        ("/queues?page=0", 400),
        ("/queues?page=-1", 400),
        ("/queues?page=1&page_size=1000000000", 400),
        ("/queues?page=18446744073709551616", 400),
        ("/queues?page=9223372036854775807&page_size=500", 400),
        ("/queues?page=1&page_size=0", 400),
        ("/queues?lengths_age=-1&lengths_incr=5", 400),
        ("/queues?lengths_age=60&lengths_incr=0", 400),
        (
            "/queues?msg_rates_age=1000000000000000000&msg_rates_incr=1",
            200,
        ),
        (
            "/queues/%2F/q?lengths_age=9223372036854775807&lengths_incr=1",
            200,
        ),
        ("/queues?page=1&sort=__proto__", 200),
        (
            "/queues?page=1&sort=constructor.prototype&columns=__proto__,no",
            200,
        ),
        ("/queues?page=1&name=(a%2B)%2B$&use_regex=true", 200),
        (
            "/queues?page=1&name=(((((a{999}){999}){999}){999}){999})&use_regex=true",
            200,
        ),
        ("/queues?page=1&name=%ff%fe&use_regex=true", 200),
    ] {
        let response = http.request("GET", path, None)?;
        assert_eq!(response.status, expected, "{path}");
        assert!(
            response.body.len() < 1 << 20,
            "{path}: {}",
            response.body.len()
        );
    }
    let columns = vec!["a"; 5_000].join(",");
    let path = format!(
        "/queues?page=1&sort={}&columns={columns}",
        "a.".repeat(2_000)
    );
    assert_eq!(code(&http, "GET", &path, b""), 200);

    let get = |count: &str, mode: &str, more: &str| {
        let body =
            format!("{{\"count\":{count},\"ackmode\":\"{mode}\",\"encoding\":\"auto\"{more}}}");
        http.request_with("POST", "/queues/%2F/q/get", &[], body.as_bytes())
    };
    assert_eq!(get("5", "nonsense", "")?.status, 400);
    assert_eq!(
        get("5", "ack_requeue_true", ",\"truncate\":-1")?.status,
        400
    );
    assert_eq!(get("\"x\"", "ack_requeue_true", "")?.status, 400);
    for number in 0..1_005 {
        let publish = json!({"properties": {}, "routing_key": "q", "payload": format!("{number}"), "payload_encoding": "string"});
        http.post("/exchanges/%2F/amq.default/publish", publish)?;
    }
    let got = get("1000000000", "ack_requeue_true", "")?.json()?;
    assert_eq!(got.as_array().map(Vec::len), Some(1_000));
    assert_eq!(
        get("-5", "ack_requeue_false", "")?
            .json()?
            .as_array()
            .map(Vec::len),
        Some(1_000),
        "less than none is all"
    );
    http.delete("/queues/%2F/q/contents")?;
    let publish = json!({"properties": {}, "routing_key": "q", "payload": "/w==", "payload_encoding": "base64"});
    http.post("/exchanges/%2F/amq.default/publish", publish)?;
    let got = get("1", "ack_requeue_true", "")?.json()?;
    assert_eq!(got[0]["payload_encoding"], "base64");
    assert_eq!(got[0]["payload"], "/w==");
    Ok(())
}

#[tokio::test]
async fn reasons_and_names_are_only_text() -> anyhow::Result<()> {
    let broker = Broker::start()?;
    let http = Http::new(&broker);
    let options = ConnectOptions::default();
    let client = Client::connect_with(broker.address(), &options).await?;
    let deadline = Instant::now() + PATIENCE;
    let name = loop {
        let listed = http.get("/connections")?;
        if let Some(name) = listed[0]["name"].as_str() {
            break name.replace(' ', "%20").replace('>', "%3E");
        }
        ensure!(Instant::now() < deadline, "the connection is not listed");
    };
    let path = format!("/connections/{name}");
    let reason = format!("%s%n%s{}{}", "\t", "x".repeat(20_000));
    let closed = http.request_with("DELETE", &path, &[("X-Reason", &reason)], b"")?;
    assert_eq!(closed.status, 204);
    drop(client);
    let line = loop {
        let log = broker.log();
        if let Some(line) = log.lines().find(|line| line.contains("%s%n%s")) {
            break line.to_owned();
        }
        ensure!(Instant::now() < deadline, "nothing is logged");
        thread::yield_now();
    };
    assert!(line.len() < 1_000, "{line}");

    // In no list, sum or metric do names break out of their place.
    let odd = "a\"b\\c{d=\"e\"} 1<script>";
    let in_path: String = odd.bytes().map(|byte| format!("%{byte:02X}")).collect();
    http.put(&format!("/queues/%2F/{in_path}"), json!({"durable": true}))?;
    assert_eq!(http.get(&format!("/queues/%2F/{in_path}"))?["name"], odd);
    let metrics = Http::at(broker.metrics_address());
    let scrapes = thread::scope(|scope| {
        let scrape = || {
            metrics
                .request_at("GET", "/metrics/per-object", &[], b"")
                .unwrap()
        };
        let all: Vec<_> = (0..10).map(|_| scope.spawn(scrape)).collect();
        all.into_iter()
            .map(|scrape| scrape.join().unwrap())
            .collect::<Vec<_>>()
    });
    for scrape in scrapes {
        let text = String::from_utf8(scrape.body)?;
        assert!(
            text.contains("queue=\"a\\\"b\\\\c{d=\\\"e\\\"} 1<script>"),
            "{text}"
        );
        let is_line =
            |line: &str| line.starts_with('#') || line.starts_with("rabbitmq_") || line.is_empty();
        let odd_line = text.split('\n').find(|line| !is_line(line));
        assert_eq!(odd_line, None);
    }
    is_well(&http);
    Ok(())
}

#[tokio::test]
async fn limits_conditions_and_rules_hold_for_everyone_at_once() -> anyhow::Result<()> {
    let broker = Broker::start()?;
    let http = Http::new(&broker);
    http.put("/vhosts/small", json!({}))?;
    http.put(
        "/permissions/small/guest",
        json!({"configure": ".*", "write": ".*", "read": ".*"}),
    )?;
    http.put("/vhost-limits/small/max-queues", json!({"value": 3}))?;
    let codes: Vec<_> = (0..6)
        .map(|number| code(&http, "PUT", &format!("/queues/small/q{number}"), b"{}"))
        .collect();
    assert_eq!(codes, [201, 201, 201, 400, 400, 400]);

    // Of two who declare different things one wins, and the other hears of it.
    let codes: Vec<u16> = thread::scope(|scope| {
        let declare = |length: u32| {
            let body = json!({"durable": true, "arguments": {"x-max-length": length}}).to_string();
            code(&http, "PUT", "/queues/%2F/raced", body.as_bytes())
        };
        let all: Vec<_> = (0..8)
            .map(|length| scope.spawn(move || declare(length)))
            .collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert_eq!(
        codes
            .iter()
            .filter(|code| **code == 201 || **code == 204)
            .count(),
        1,
        "{codes:?}"
    );
    assert_eq!(
        codes.iter().filter(|code| **code == 400).count(),
        7,
        "{codes:?}"
    );

    let mut client = Client::connect(&broker).await?;
    client.declare("used", DURABLE).await?;
    client.consume("used", false).await?;
    assert_eq!(
        code(&http, "DELETE", "/queues/%2F/used?if-unused=true", b""),
        400
    );
    assert_eq!(code(&http, "DELETE", "/queues/%2F/used", b""), 204);
    assert_eq!(code(&http, "DELETE", "/queues/%2F/used", b""), 404);

    // A pattern that would take for ever elsewhere.
    let long = "a".repeat(200);
    for number in 0..50 {
        http.put(&format!("/queues/%2F/{long}{number}"), json!({}))?;
    }
    let evil = json!({"pattern": "^(a+)+$", "definition": {"max-length": 5}, "apply-to": "queues"});
    for _ in 0..20 {
        let began = Instant::now();
        http.put("/policies/%2F/evil", evil.clone())?;
        http.delete("/policies/%2F/evil")?;
        assert!(began.elapsed() < NOTICED);
    }
    let bad = json!({"pattern": "^a", "definition": {"max-length": -1}});
    let response = http.request("PUT", "/policies/%2F/bad", Some(&bad))?;
    assert_eq!(response.status, 400);
    Ok(())
}

#[test]
fn words_of_users_are_not_kept_for_ever() -> anyhow::Result<()> {
    let broker = Broker::start()?;
    let http = Http::new(&broker);
    let word = |round: u32, number: u32| format!("word-{round}-{number}");
    let round = |round: u32| -> anyhow::Result<()> {
        for number in 0..100 {
            let tags: Vec<String> = (0..100)
                .map(|tag| word(round, number * 100 + tag))
                .collect();
            http.put(
                "/users/tagged",
                json!({"password": "p", "tags": tags.join(",")}),
            )?;
            http.put(
                "/global-parameters/p",
                json!({"value": word(round, number)}),
            )?;
            http.put(
                "/vhosts/described",
                json!({"description": word(round, number)}),
            )?;
            code(
                &http,
                "GET",
                &format!("/nodes/{}", word(round, number)),
                b"",
            );
            code(
                &http,
                "GET",
                &format!("/parameters/{}", word(round, number)),
                b"",
            );
        }
        Ok(())
    };
    round(0)?;
    let before = broker.anonymous_bytes()?;
    for number in 1..4 {
        round(number)?;
    }
    let grown = broker.anonymous_bytes()?.saturating_sub(before);
    assert!(grown < 8 << 20, "{grown} bytes more");
    Ok(())
}

#[test]
fn whoever_is_slow_is_let_go_and_keeps_nobody_out() -> anyhow::Result<()> {
    /// More than may be connected.
    const SLOW: usize = 5_000;
    /// Slow clients send a byte and rest.
    const BETWEEN_BYTES: Duration = Duration::from_millis(500);
    /// Until the slowest is let go, on a busy machine.
    const LET_GO: Duration = Duration::from_secs(240);
    let broker = Broker::start()?;
    let http = Http::new(&broker);
    for number in 0..200 {
        http.put(&format!("/queues/%2F/q{number}"), json!({}))?;
    }
    let address = broker.http_address();
    let descriptors = || -> anyhow::Result<usize> {
        let pid = broker.pid().context("it runs")?;
        Ok(std::fs::read_dir(format!("/proc/{pid}/fd"))?.count())
    };
    let before = descriptors()?;
    let mut slow = Vec::new();
    // Bodies that never come.
    for _ in 0..20 {
        let mut stream = TcpStream::connect(address)?;
        let head = format!(
            "PUT /api/vhosts/v HTTP/1.1\r\nHost: x\r\n{GUEST}Content-Length: 100\r\n\r\n{{"
        );
        stream.write_all(head.as_bytes())?;
        slow.push(stream);
    }
    // Answers that are never read.
    for _ in 0..20 {
        let stream = TcpStream::connect(address)?;
        stream.set_nonblocking(true)?;
        let requests = get("/api/queues", "").repeat(400);
        // What does not go in is not needed.
        let _ = (&stream).write(requests.as_bytes());
        slow.push(stream);
    }
    // Heads that never end.
    while slow.len() < SLOW {
        let mut stream = TcpStream::connect(address)?;
        // Those that are let go already are slow no more.
        let _ = stream.write_all(b"GET /api/whoami HTTP/1.1\r\nHost: x\r\nX: ");
        slow.push(stream);
    }
    let deadline = Instant::now() + LET_GO;
    loop {
        // They go on sending, slowly.
        for stream in slow.iter().skip(40) {
            let _ = (&*stream).write(b"x");
        }
        let began = Instant::now();
        assert_eq!(http.get("/whoami")?["name"], "guest");
        ensure!(
            began.elapsed() < PATIENCE,
            "kept out for {:?}",
            began.elapsed()
        );
        if descriptors()? <= before + 5 {
            break;
        }
        ensure!(
            Instant::now() < deadline,
            "{} of {before} descriptors",
            descriptors()?
        );
        thread::sleep(BETWEEN_BYTES);
    }
    for stream in slow {
        // Many are closed already.
        let _ = stream.shutdown(Shutdown::Both);
    }
    is_well(&http);
    Ok(())
}

#[test]
fn lists_with_odd_orders_are_lists() -> anyhow::Result<()> {
    let broker = Broker::start()?;
    let http = Http::new(&broker);
    for (number, value) in [
        json!(9_007_199_254_740_993_i64),
        json!(9_007_199_254_740_992.0),
        json!(true),
        json!("x"),
        json!([1]),
        json!({}),
    ]
    .into_iter()
    .cycle()
    .take(60)
    .enumerate()
    {
        http.put(
            &format!("/queues/%2F/q{number}"),
            json!({"arguments": {"odd": value}}),
        )?;
    }
    for sort in [
        "arguments.odd",
        "arguments",
        "messages",
        "name",
        "vhost",
        "nothing",
    ] {
        for reverse in ["", "&sort_reverse=true"] {
            let listed: Value =
                http.get(&format!("/queues?page=1&page_size=60&sort={sort}{reverse}"))?;
            assert_eq!(listed["item_count"], 60, "{sort}");
        }
    }
    Ok(())
}
