//! A hunt for secrets: each is unique, and none may be where it does not belong.
//!
//! Passwords, tokens and passphrases are given to a broker in every way there is, right and wrong, while it logs everything. Then all
//! commands run and all of the HTTP API is read. Looked at are the log, what commands print, answers, the arguments of processes and
//! the files in the data directory.

#![expect(
    clippy::unwrap_used,
    reason = "all of this is a test; what is not there fails it"
)]

use client_amqp091::{AmqpUri, ConnectOptions, Connection};
use serde_json::json;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use testkit::{Broker, Http};

/// How every secret here begins.
const CANARY: &str = "cnry-";

/// Commands that would end the broker, or that go on until they are stopped.
const NOT_RUN: [&str; 17] = [
    "stop",
    "shutdown",
    "stop_app",
    "start_app",
    "reset",
    "force_reset",
    "consume_event_stream",
    "log_tail_stream",
    "observer",
    "remote_shell",
    "wait",
    "await_startup",
    "await_online_nodes",
    "hash_password",
    "encode",
    "decode",
    // Without names it switches the HTTP API off.
    "set",
];

/// Everything of the API that can be read without a name of something.
const PATHS: [&str; 34] = [
    "/overview",
    "/cluster-name",
    "/nodes",
    "/nodes/{node}?memory=true",
    "/extensions",
    "/definitions",
    "/definitions/%2F",
    "/connections",
    "/channels",
    "/consumers",
    "/exchanges",
    "/queues",
    "/queues/detailed",
    "/bindings",
    "/vhosts",
    "/vhosts/%2F/permissions",
    "/users",
    "/users/canary",
    "/users/canary/permissions",
    "/users/without-permissions",
    "/user-limits",
    "/vhost-limits",
    "/whoami",
    "/permissions",
    "/topic-permissions",
    "/parameters",
    "/global-parameters",
    "/policies",
    "/operator-policies",
    "/auth",
    "/auth/attempts/{node}",
    "/feature-flags",
    "/deprecated-features",
    "/health/checks/alarms",
];

/// Where something was seen.
#[derive(Default)]
struct Seen {
    leaks: Vec<String>,
    looked: usize,
}

impl Seen {
    fn look(&mut self, place: &str, bytes: &[u8]) {
        self.looked += 1;
        let at = bytes
            .windows(CANARY.len())
            .position(|window| window == CANARY.as_bytes());
        if let Some(at) = at {
            let around = &bytes[at.saturating_sub(60)..bytes.len().min(at + 40)];
            let around = String::from_utf8_lossy(around);
            self.leaks.push(format!("{place}: …{around}…"));
        }
    }

    /// What a command prints; its input is not on its command line.
    fn run(&mut self, mut command: Command, input: &str) {
        let place = format!("{command:?}");
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A command that reads nothing may be gone already.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let output = child.wait_with_output().unwrap();
        self.look(&place, &output.stdout);
        self.look(&place, &output.stderr);
    }

    fn files(&mut self, directory: &Path) {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            self.look("name of a file", path.to_string_lossy().as_bytes());
            if path.is_dir() {
                self.files(&path);
            } else if path.is_file() {
                match std::fs::read(&path) {
                    Ok(bytes) => self.look(&path.display().to_string(), &bytes),
                    // The broker runs: it takes files away as well.
                    Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::NotFound),
                }
            }
        }
    }

    fn arguments(&mut self, pid: u32) {
        let arguments = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap();
        self.look("arguments of the broker", &arguments);
    }
}

fn warren(arguments: &[&str]) -> Command {
    let mut command = Command::new(testkit::binary().unwrap());
    command.args(arguments);
    command
}

fn tool(broker: &Broker, name: &str, arguments: &[&str]) -> Command {
    let mut command = broker.tool(name).unwrap();
    command.args(arguments);
    command
}

#[tokio::test]
async fn no_secret_is_where_it_does_not_belong() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().display();
    let made = warren(&["tls", "generate", &format!("{at}/tls")]).status();
    assert!(made.unwrap().success());
    let definitions = json!({
        "users": [
            {"name": "guest", "password": "cnry-guest", "tags": "administrator"},
            {"name": "canary", "password": "cnry-definitions", "tags": "monitoring"},
        ],
        "vhosts": [{"name": "/"}],
        "permissions": [{"user": "guest", "vhost": "/", "configure": ".*", "write": ".*", "read": ".*"}],
    });
    let file = folder.path().join("definitions.json");
    std::fs::write(&file, definitions.to_string()).unwrap();
    let settings = format!(
        "log.level = debug\nload_definitions = {}\ndefault_pass = cnry-default\nanonymous_login_pass = cnry-anonymous\n\
         listeners.ssl.1 = 127.0.0.1:0\nssl_options.certfile = {at}/tls/server_certificate.pem\n\
         ssl_options.keyfile = {at}/tls/server_key.pem\nssl_options.password = cnry-key\n",
        file.display()
    );
    let broker = Broker::start_with(&settings).unwrap();
    let mut seen = Seen::default();
    let http = Http::new(&broker).login("guest", "cnry-guest");

    // Passwords over the API, in every form and in requests that are refused.
    for (path, body) in [
        ("/users/a", json!({"password": "cnry-put", "tags": "x"})),
        ("/users/b", json!({"password": "cnry-no-tags"})),
        ("/users/c", json!({"password": ["cnry-list"], "tags": ""})),
        (
            "/parameters/federation-upstream/%2F/up",
            json!({"value": {"uri": "amqp://u:cnry-uri@h"}}),
        ),
        (
            "/parameters/shovel/%2F/s",
            json!({"value": {"src-uri": "amqp://u:cnry-src@h", "dest-uri": "amqp://u:cnry-dest@h"}}),
        ),
    ] {
        let answer = http.request("PUT", path, Some(&body)).unwrap();
        seen.look(path, &answer.body);
    }
    for (user, password) in [("guest", "cnry-wrong"), ("nobody", "cnry-nobody")] {
        assert!(http.login(user, password).get("/overview").is_err());
        let uri = format!("amqp://{user}:{password}@{}", broker.address());
        let uri: AmqpUri = uri.parse().unwrap();
        let options = ConnectOptions::default();
        let refused = Connection::connect(&uri, &options).await;
        assert!(refused.is_err());
    }
    let bad = json!({"users": [{"name": "e", "password": "cnry-refused", "tags": 5}], "vhosts": [{"nme": "cnry-x"}]});
    let answer = http.request("POST", "/definitions", Some(&bad)).unwrap();
    // The name of a key is no secret, and its value here is one that RabbitMQ shows as well.
    let reason = String::from_utf8(answer.body)
        .unwrap()
        .replace("cnry-x", "");
    seen.look("definitions that are refused", reason.as_bytes());
    let uri = format!("amqp://guest:cnry-guest@{}", broker.address());
    let uri: AmqpUri = uri.parse().unwrap();
    let _connection = Connection::connect(&uri, &ConnectOptions::default())
        .await
        .unwrap();

    // Commands that take secrets.
    for (name, input) in [
        ("add_user f", "cnry-add\n"),
        ("add_user f", "cnry-again\n"),
        ("change_password f", "cnry-change\n"),
        ("authenticate_user f", "cnry-change\n"),
        ("authenticate_user f", "cnry-no\n"),
        ("hash_password", "cnry-hash\n"),
    ] {
        let words: Vec<&str> = name.split(' ').collect();
        seen.run(tool(&broker, "rabbitmqctl", &words), input);
    }

    // All other commands of all tools, with nothing and with something that is not there.
    for name in [
        "rabbitmqctl",
        "rabbitmq-diagnostics",
        "rabbitmq-plugins",
        "rabbitmq-queues",
        "rabbitmq-streams",
        "rabbitmq-upgrade",
    ] {
        let list = tool(&broker, name, &["help", "--list-commands"]).output();
        let list = String::from_utf8(list.unwrap().stdout).unwrap();
        for command in list.split_whitespace() {
            if !NOT_RUN.contains(&command) {
                seen.run(tool(&broker, name, &[command]), "cnry-input\n");
            }
        }
    }
    let node = http.get("/overview").unwrap()["node"].clone();
    for path in PATHS {
        let path = path.replace("{node}", node.as_str().unwrap());
        let answer = http.request("GET", &path, None).unwrap();
        seen.look(&path, &answer.body);
    }
    seen.arguments(broker.pid().unwrap());

    // Configurations, of which some are wrong.
    let conf = folder.path().join("other.conf");
    for lines in [
        settings.as_str(),
        "default_pass = cnry-a\nheartbeat = x\n",
        "default_pass cnry-b\n",
        "default_pass = 'cnry-j\n",
        "defualt_pass = cnry-k\n",
        "default_pass = encrypted:cnry-c\n",
        "ssl_options.password = cnry-d\nlisteners.ssl.1 = 0\n",
        "definitions.import_backend = https\ndefinitions.https.url = https://127.0.0.1:1/d?token=cnry-e\n",
        "definitions.https.url = http://cnry-f@h/\n",
        "[{rabbit, [{default_pass, <<\"cnry-g\">>}, {heartbeat, x}]}].",
        "[{rabbit, [{default_pass, <<\"cnry-h\">>}",
    ] {
        std::fs::write(&conf, lines).unwrap();
        let path = conf.to_str().unwrap();
        for what in ["check", "show"] {
            seen.run(warren(&["config", what, path]), "");
        }
        let mut doctor = warren(&["doctor"]);
        doctor.env("RABBITMQ_CONFIG_FILE", path);
        doctor.env("RABBITMQ_MNESIA_DIR", folder.path().join("none"));
        doctor.env("RABBITMQ_DEFAULT_PASS", "cnry-variable");
        seen.run(doctor, "");
    }
    let mut fetching = Broker::start().unwrap();
    fetching.stop().unwrap();
    fetching.configure(
        "log.level = debug\ndefinitions.import_backend = https\ndefinitions.https.url = https://127.0.0.1:1/d?token=cnry-i\n",
    );
    assert!(fetching.restart().is_err());
    seen.look(
        "log of a node that does not start",
        fetching.log().as_bytes(),
    );

    seen.look("log", broker.log().as_bytes());
    seen.files(&broker.data_directory());
    assert!(seen.leaks.is_empty(), "{:#?}", seen.leaks);
    assert!(seen.looked > 300, "{}", seen.looked);
}
