//! What settings make of the HTTP API: headers, where it is, how users log in, what it refuses.

use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};
use testkit::{Broker, Http, Response};

/// An answer to a request with these headers.
fn ask(broker: &Broker, request: &str, headers: &[(&str, &str)], body: &str) -> Response {
    let (method, path) = request.split_once(' ').expect("a method and a path");
    let http = Http::at(broker.http_address());
    let answer = http.request_with(method, path, headers, body.as_bytes());
    answer.expect("it answers")
}

/// The same outside `/api`.
fn ask_outside(broker: &Broker, path: &str) -> Response {
    let http = Http::at(broker.http_address());
    let answer = http.request_at("GET", path, &[], b"");
    answer.expect("it answers")
}

const GUEST: (&str, &str) = ("Authorization", "Basic Z3Vlc3Q6Z3Vlc3Q=");

#[test]
fn nothing_is_compressed_and_nobody_is_waited_for_where_that_is_configured() {
    let broker = Broker::start_with(
        "management.tcp.compress = false\nmanagement.tcp.request_timeout = 2000",
    )
    .unwrap();
    let gzip = ("Accept-Encoding", "gzip");
    let answer = ask(&broker, "GET /overview", &[GUEST, gzip], "");
    assert_eq!(answer.header("content-encoding"), None);
    // Without the setting it is 10 s.
    let mut stream = TcpStream::connect(broker.http_address()).unwrap();
    let patience = Duration::from_secs(9);
    stream.set_read_timeout(Some(patience)).unwrap();
    stream.write_all(b"GET /api/overview HTT").unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).expect("it is closed in time");
}

/// Reads from a connection until it is closed.
fn until_closed(stream: &mut TcpStream) -> String {
    // Without the settings it would be longer, or for ever.
    let patience = Duration::from_secs(9);
    stream
        .set_read_timeout(Some(patience))
        .expect("a socket can wait");
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).expect("it is closed in time");
    String::from_utf8_lossy(&rest).into_owned()
}

#[test]
fn connections_end_when_they_are_idle_or_have_asked_enough() {
    let broker = Broker::start_with(
        "management.tcp.idle_timeout = 2000\n\
         management.tcp.inactivity_timeout = 2000\n\
         management.tcp.shutdown_timeout = 5000\n\
         management.tcp.max_keepalive = 2",
    )
    .unwrap();
    let connect = || TcpStream::connect(broker.http_address()).unwrap();
    let mut silent = connect();
    assert_eq!(until_closed(&mut silent), "");
    let mut slow = connect();
    let begin = "PUT /api/queues/%2F/q HTTP/1.1\r\nHost: x\r\nAuthorization: Basic Z3Vlc3Q6Z3Vlc3Q=\r\nContent-Length: 9\r\n\r\n{";
    slow.write_all(begin.as_bytes()).unwrap();
    until_closed(&mut slow);
    let mut busy = connect();
    let request = "GET /api/version HTTP/1.1\r\nHost: x\r\n\r\n";
    busy.write_all(request.repeat(3).as_bytes()).unwrap();
    let answers = until_closed(&mut busy);
    assert_eq!(answers.matches("HTTP/1.1 ").count(), 2, "{answers}");
    assert_eq!(answers.matches("connection: close").count(), 1, "{answers}");
}

#[test]
fn connections_over_the_limit_wait() {
    let broker = Broker::start_with("management.tcp.max_connections = 1").unwrap();
    let first = TcpStream::connect(broker.http_address()).unwrap();
    let mut second = TcpStream::connect(broker.http_address()).unwrap();
    let request = "GET /api/version HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    second.write_all(request.as_bytes()).unwrap();
    second
        .set_read_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    assert!(second.read(&mut [0]).is_err(), "it is served too early");
    drop(first);
    assert!(until_closed(&mut second).starts_with("HTTP/1.1 "));
}

/// How long a line may take to be in a file.
const PATIENCE: Duration = Duration::from_secs(60);

/// The line with these words, as soon as it is in a file.
fn logged(file: &Path, words: &str) -> String {
    let until = Instant::now() + PATIENCE;
    loop {
        let lines = std::fs::read_to_string(file).unwrap_or_default();
        if let Some(line) = lines.lines().find(|line| line.contains(words)) {
            return line.to_owned();
        }
        assert!(Instant::now() < until, "{words} is not in {lines}");
        std::thread::yield_now();
    }
}

#[test]
fn requests_are_told_of_in_the_access_log() {
    let directory = tempfile::tempdir().unwrap();
    let setting = format!("management.http_log_dir = {}", directory.path().display());
    let broker = Broker::start_with(&setting).unwrap();
    let agent = ("User-Agent", "a \"b\"");
    assert_eq!(
        ask(&broker, "GET /whoami?x=1", &[GUEST, agent], "").status,
        200
    );
    let file = directory.path().join("access.log");
    let line = logged(&file, "whoami");
    assert!(line.starts_with("127.0.0.1 - guest ["), "{line}");
    let is_told = line.contains("+0000] \"GET /api/whoami HTTP/1.1\" 200 ");
    assert!(is_told && line.ends_with(" \"\" \"a \\\"b\\\"\""), "{line}");
    // Whoever takes the file away finds another one there a second later.
    std::fs::rename(&file, directory.path().join("access.log.1")).unwrap();
    let until = Instant::now() + PATIENCE;
    while !file.exists() {
        assert!(Instant::now() < until, "no new file");
        ask(&broker, "GET /nothing", &[], "");
        std::thread::sleep(Duration::from_millis(100));
    }
    ask(&broker, "GET /version", &[], "");
    logged(&file, "127.0.0.1 - - [");
}

#[test]
fn headers_are_as_configured() {
    let broker = Broker::start_with(
        "management.csp.policy = default-src 'self'\n\
         management.hsts.policy = max-age=31536000; includeSubDomains\n\
         management.headers.content_type_options = nosniff\n\
         management.headers.xss_protection = 1; mode=block\n\
         management.headers.frame_options = DENY\n\
         management.headers.referrer_policy = no-referrer\n\
         management.http.hide_allow_header = true\n\
         management.cors.allow_origins.1 = http://a.example\n\
         management.cors.max_age = 60",
    )
    .unwrap();
    let origin = ("Origin", "http://a.example");
    let answer = ask(&broker, "GET /whoami", &[GUEST, origin], "");
    for (name, value) in [
        ("content-security-policy", "default-src 'self'"),
        (
            "strict-transport-security",
            "max-age=31536000; includeSubDomains",
        ),
        ("x-content-type-options", "nosniff"),
        ("x-xss-protection", "1; mode=block"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "no-referrer"),
        ("access-control-allow-origin", "http://a.example"),
        ("access-control-allow-credentials", "true"),
    ] {
        assert_eq!(answer.header(name), Some(value), "{name}");
    }
    assert_eq!(answer.header("allow"), None);
    let page = ask_outside(&broker, "/");
    let policies = page.headers.iter();
    let policies = policies.filter(|(name, _)| name == "content-security-policy");
    assert_eq!(policies.count(), 2, "the page's own and the configured one");
    let other = ("Origin", "http://b.example");
    let answer = ask(&broker, "GET /whoami", &[GUEST, other], "");
    assert_eq!(answer.header("access-control-allow-origin"), None);
}

#[test]
fn browsers_are_told_what_other_pages_may_do() {
    let broker = Broker::start_with("management.cors.allow_origins.1 = *").unwrap();
    let origin = ("Origin", "http://a.example");
    let wanted = ("Access-Control-Request-Headers", "authorization");
    let answer = ask(&broker, "OPTIONS /queues/%2F/q", &[origin, wanted], "");
    assert_eq!(answer.status, 200);
    for (name, value) in [
        ("access-control-allow-origin", Some("*")),
        ("access-control-allow-credentials", None),
        ("access-control-max-age", Some("1800")),
        ("access-control-allow-headers", Some("authorization")),
        (
            "access-control-allow-methods",
            Some("HEAD, GET, PUT, DELETE, OPTIONS"),
        ),
    ] {
        assert_eq!(answer.header(name), value, "{name}");
    }
    let nobody = ask(&broker, "GET /version", &[("Origin", "null")], "");
    assert_eq!(nobody.header("access-control-allow-origin"), None);
}

#[test]
fn everything_is_below_the_prefix() {
    let broker = Broker::start_with("management.path_prefix = /rabbit").unwrap();
    for (path, status, location) in [
        ("/rabbit/api/version", 200, None),
        ("/api/version", 404, None),
        ("/", 301, Some("/rabbit/")),
        ("/rabbit", 301, Some("/rabbit/")),
        ("/rabbit/", 200, None),
        ("/rabbit/api", 301, Some("/rabbit/api/index.html")),
        ("/rabbit/cli", 301, Some("/rabbit/cli/index.html")),
        ("/rabbit/mgmt", 301, Some("/rabbit/")),
        ("/rabbit/stats", 301, Some("/rabbit/api/index.html")),
        ("/rabbit/login", 302, Some("/rabbit/")),
    ] {
        let answer = ask_outside(&broker, path);
        assert_eq!(answer.status, status, "{path}");
        assert_eq!(answer.header("location"), location, "{path}");
    }
    let document = ask_outside(&broker, "/rabbit/api/openapi.json");
    assert_eq!(document.json().unwrap()["servers"][0]["url"], "/rabbit/api");
}

#[test]
fn the_api_describes_itself_to_whom_it_may() {
    let broker = Broker::start().unwrap();
    let page = ask(&broker, "GET /index.html", &[], "");
    assert_eq!(page.status, 200);
    let text = String::from_utf8(page.body).unwrap();
    assert!(text.contains("/api/queues/{vhost}/{queue}"));
    let document = ask(&broker, "GET /openapi.json", &[], "").json().unwrap();
    assert_eq!(document["openapi"], "3.1.0");
    let declare = &document["paths"]["/queues/{vhost}/{queue}"]["put"];
    assert_eq!(declare["x-user-tag"], "management");
    // What the document says of tags holds.
    let http = Http::new(&broker);
    http.put("/users/m", json!({"password": "p", "tags": "management"}))
        .unwrap();
    let management = http.login("m", "p");
    for (path, item) in document["paths"].as_object().unwrap() {
        let get = &item["get"];
        let tag = get["x-user-tag"].as_str().unwrap_or_default();
        let path = path.replace(['{', '}'], "x");
        let refused = matches!(tag, "monitoring" | "policymaker" | "administrator");
        if get.is_object() && !path.contains("oauth") {
            let answer = management.request("GET", &path, None).unwrap();
            let own = path.starts_with("/connections/username") || path.starts_with("/user-limits");
            assert_eq!(answer.status == 401, refused || own, "{path}: {tag}");
        }
    }

    let setting = "management.require_auth_for_api_reference = true";
    let broker = Broker::start_with(setting).unwrap();
    for path in ["/index.html", "/openapi.json"] {
        let request = format!("GET {path}");
        assert_eq!(ask(&broker, &request, &[], "").status, 401, "{path}");
        assert_eq!(ask(&broker, &request, &[GUEST], "").status, 200, "{path}");
    }
}

#[test]
fn definitions_are_files_for_browsers() {
    let broker = Broker::start_with("management.definitions.require_json_extension = true");
    let broker = broker.unwrap();
    let path = "GET /definitions?download=rabbit%0d%0aX-Bad:1.json&auth=Z3Vlc3Q6Z3Vlc3Q=";
    let answer = ask(&broker, path, &[], "");
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.header("content-disposition"),
        Some("attachment; filename=rabbitX-Bad1.json")
    );
    let etag = answer.header("etag").unwrap();
    let again = [GUEST, ("If-None-Match", etag)];
    let answer = ask(&broker, "GET /definitions", &again, "");
    assert_eq!((answer.status, answer.body.len()), (304, 0));
    let http = Http::new(&broker);
    http.put("/vhosts/v", json!({})).unwrap();
    assert_eq!(ask(&broker, "GET /definitions", &again, "").status, 200);

    let form = |name: &str| {
        format!(
            "--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\
             Content-Type: application/json\r\n\r\n{{\"vhosts\":[{{\"name\":\"made\"}}]}}\r\n--x--\r\n"
        )
    };
    let kind = ("Content-Type", "multipart/form-data; boundary=x");
    let post = |name| ask(&broker, "POST /definitions", &[GUEST, kind], &form(name)).status;
    assert_eq!(post("d.txt"), 400);
    assert_eq!(post("d.json"), 204);
    assert_eq!(http.get("/vhosts/made").unwrap()["name"], "made");
    let overview = http.get("/overview").unwrap();
    assert_eq!(overview["require_definition_json_extension"], true);
}

#[test]
fn a_login_may_give_a_token() {
    let broker = Broker::start_with(
        "management.credential_encryption_secret = a secret\n\
         management.login_session_timeout = 30",
    )
    .unwrap();
    let form = "username=guest&password=guest";
    let login = ask(&broker, "POST /login", &[], form).json().unwrap();
    assert_eq!(login["token"]["type"], "bearer");
    assert_eq!(login["user"]["login_session_timeout"], 30);
    let token = format!("Bearer {}", login["token"]["value"].as_str().unwrap());
    let who = ask(&broker, "GET /whoami", &[("Authorization", &token)], "");
    assert_eq!(who.json().unwrap()["name"], "guest");
    let wrong = ask(&broker, "GET /whoami", &[("Authorization", "Bearer x")], "");
    assert_eq!(wrong.status, 401);
    assert_eq!(wrong.json().unwrap()["reason"], "Not_Authorized");

    let plain = Broker::start().unwrap();
    let login = ask(&plain, "POST /login", &[], form).json().unwrap();
    assert_eq!(login["token"]["type"], "basic");
    assert_eq!(login["user"].get("login_session_timeout"), None);
}

#[test]
fn passwords_and_changes_can_be_switched_off() {
    let broker = Broker::start_with(
        "management.disable_basic_auth = true\n\
         management.restrictions.quorum_queue_replica_operations.disabled = true",
    )
    .unwrap();
    for (headers, reason) in [
        (&[GUEST][..], "HTTP access denied: basic auth disabled"),
        (&[], "HTTP access denied: no credentials"),
    ] {
        let answer = ask(&broker, "GET /whoami", headers, "");
        assert_eq!(answer.status, 401);
        assert_eq!(answer.header("www-authenticate"), None);
        assert_eq!(answer.json().unwrap()["reason"], reason);
    }
    let setting = "management.restrictions.operator_policy_changes.disabled = true\n\
         management.restrictions.quorum_queue_replica_operations.disabled = true\n\
         management.enable_queue_totals = true";
    let broker = Broker::start_with(setting).unwrap();
    let http = Http::new(&broker);
    let policy = json!({"pattern": "", "definition": {"max-length": 1}});
    let answer = http.request("PUT", "/operator-policies/%2F/p", Some(&policy));
    let answer = answer.unwrap();
    assert_eq!(answer.status, 405);
    assert_eq!(answer.json().unwrap()["error"], "method_not_allowed");
    let shrink = "/queues/quorum/replicas/on/rabbit@localhost/shrink";
    let answer = http.request("DELETE", shrink, None).unwrap();
    assert_eq!(answer.status, 405);
    http.put("/queues/%2F/q", json!({"durable": true})).unwrap();
    let listed = http.get("/queues?disable_stats=true").unwrap();
    assert_eq!(listed[0]["messages"], 0);
}

#[test]
fn the_api_may_have_backends_of_its_own() {
    let setting = "http_dispatch.auth_backends.1 = internal_loopback";
    let broker = Broker::start_with(setting).unwrap();
    assert_eq!(Http::new(&broker).get("/whoami").unwrap()["name"], "guest");
    let setting = "http_dispatch.auth_backends.1 = dummy";
    let broker = Broker::start_with(setting).unwrap();
    let answer = Http::new(&broker).request("GET", "/whoami", None).unwrap();
    assert_eq!(answer.status, 401);
}

/// Answers requests one after the other; gives what was asked.
fn provider(answers: &[(u16, Value)]) -> (String, std::thread::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("it listens"));
    let answers: Vec<(u16, String)> = answers
        .iter()
        .map(|(status, answer)| (*status, answer.to_string().replace("HERE", &url)))
        .collect();
    let thread = std::thread::spawn(move || {
        let mut asked = Vec::new();
        for (status, answer) in answers {
            let (mut stream, _) = listener.accept().expect("a client");
            let mut request = Vec::new();
            let mut bytes = [0; 4096];
            loop {
                let read = stream.read(&mut bytes).expect("a request");
                assert!(read > 0, "the request ended early");
                request.extend_from_slice(&bytes[..read]);
                let text = String::from_utf8_lossy(&request).into_owned();
                let Some((head, body)) = text.split_once("\r\n\r\n") else {
                    continue;
                };
                let lines = head.lines();
                let length = lines
                    .filter_map(|line| line.strip_prefix("content-length: "))
                    .next();
                if length.map_or(0, |length| length.parse().expect("a length")) == body.len() {
                    asked.push(text);
                    break;
                }
            }
            let length = answer.len();
            let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\n\r\n{answer}");
            stream.write_all(head.as_bytes()).expect("it reads");
        }
        asked
    });
    (url, thread)
}

#[test]
fn the_web_ui_can_get_tokens_and_never_sees_the_secret() {
    let endpoints = json!({
        "issuer": "https://issuer.example",
        "authorization_endpoint": "https://issuer.example/authorize",
        "token_endpoint": "HERE/token",
        "end_session_endpoint": "https://issuer.example/logout",
    });
    let answers = [
        (200, endpoints),
        (200, json!({"access_token": "token"})),
        (400, json!({"error": "invalid_grant"})),
    ];
    let (url, provider) = provider(&answers);
    let broker = Broker::start_with(&format!(
        "auth_oauth2.resource_server_id = rabbitmq\n\
         auth_oauth2.issuer = https://issuer.example\n\
         management.oauth_enabled = true\n\
         management.oauth_provider_url = {url}\n\
         management.oauth_client_id = ui\n\
         management.oauth_client_secret = canary\n\
         management.oauth_scopes = openid rabbitmq.tag:administrator\n\
         management.oauth_authorization_endpoint_params.resource = r\n\
         management.oauth_token_endpoint_params.audience = a\n\
         management.oauth_resource_servers.1.id = rabbitmq\n\
         management.oauth_resource_servers.1.label = Production"
    ))
    .unwrap();
    let settings = ask(&broker, "GET /oauth", &[], "").json().unwrap();
    assert_eq!(
        settings,
        json!({
            "oauth_enabled": true,
            "oauth_disable_basic_auth": true,
            "oauth_resource_servers": [{
                "id": "rabbitmq",
                "label": "Production",
                "oauth_client_id": "ui",
                "oauth_scopes": "openid rabbitmq.tag:administrator",
                "oauth_response_type": "code",
                "oauth_initiated_logon_type": "sp_initiated",
                "oauth_provider_url": format!("{url}/"),
                "oauth_authorization_endpoint_params": {"resource": "r"},
            }],
        })
    );
    let endpoints = ask(&broker, "GET /oauth/rabbitmq", &[], "").json().unwrap();
    assert_eq!(
        endpoints,
        json!({
            "authorization_endpoint": "https://issuer.example/authorize",
            "end_session_endpoint": "https://issuer.example/logout",
            "issuer": "https://issuer.example/",
        })
    );
    let path = "POST /oauth/rabbitmq/token";
    let form = "grant_type=authorization_code&code=c&code_verifier=v&client_id=other&x=y";
    let token = ask(&broker, path, &[], form);
    assert_eq!(token.status, 200);
    assert_eq!(token.header("cache-control"), Some("no-store"));
    assert_eq!(token.json().unwrap()["access_token"], "token");
    let form = "grant_type=refresh_token&refresh_token=r";
    let refused = ask(&broker, path, &[], form);
    assert_eq!(refused.status, 400);
    assert_eq!(refused.json().unwrap()["error"], "invalid_grant");
    let asked = provider.join().unwrap();
    assert!(asked[0].starts_with("GET /.well-known/openid-configuration"));
    let sent = asked[1].split_once("\r\n\r\n").unwrap().1;
    let wanted = "audience=a&client_id=ui&client_secret=canary&code=c&code_verifier=v&grant_type=authorization_code";
    assert_eq!(sent, wanted);

    let other = "grant_type=password&username=guest&password=guest";
    assert_eq!(ask(&broker, path, &[], other).status, 400);
    assert_eq!(ask(&broker, path, &[], form).status, 502);
    assert_eq!(ask(&broker, "GET /oauth/other", &[], "").status, 404);
    assert!(!broker.log().contains("canary"));

    let without = Broker::start().unwrap();
    let settings = ask(&without, "GET /oauth", &[], "").json().unwrap();
    assert_eq!(settings, json!({"oauth_enabled": false}));
}
