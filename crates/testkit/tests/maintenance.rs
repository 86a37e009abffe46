//! Operating a node by the command line tools: maintenance, stopping and starting the broker in its process, its log, its name.

use anyhow::{Context, ensure};
use client_amqp091::QueueOptions;
use serde_json::{Value, json};
use std::io::Write as _;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;
use testkit::client::{PATIENCE, until};
use testkit::{Broker, Client, Http, binary};

/// What a tool prints; it has to succeed.
fn run(broker: &Broker, tool: &str, words: &[&str]) -> anyhow::Result<String> {
    said(broker.tool(tool)?.args(words))
}

fn said(command: &mut Command) -> anyhow::Result<String> {
    let output = command.output().context("run a tool")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {text}{error}");
    Ok(text)
}

fn accepts(broker: &Broker) -> bool {
    TcpStream::connect(broker.address()).is_ok()
}

#[tokio::test]
async fn suspended_listeners_are_closed_and_connections_stay() -> anyhow::Result<()> {
    let broker = Broker::start()?;
    let mut client = Client::connect(&broker).await?;
    run(&broker, "rabbitmqctl", &["suspend_listeners"])?;
    ensure!(!accepts(&broker));
    client.declare("q", QueueOptions::default()).await?;
    run(&broker, "rabbitmqctl", &["resume_listeners"])?;
    Client::connect(&broker).await?.close().await?;
    Ok(())
}

#[tokio::test]
async fn a_drained_node_has_no_clients_until_it_is_revived() -> anyhow::Result<()> {
    let broker = Broker::start()?;
    let http = Http::new(&broker);
    let mut client = Client::connect(&broker).await?;
    client.declare("q", QueueOptions::default()).await?;
    run(&broker, "rabbitmq-upgrade", &["drain"])?;
    ensure!(!accepts(&broker));
    ensure!(client.declare("r", QueueOptions::default()).await.is_err());
    let node = http.get("/nodes/rabbit%40localhost")?;
    ensure!(node["being_drained"] == true, "{node}");
    let status = run(&broker, "rabbitmqctl", &["cluster_status"])?;
    ensure!(
        status.contains("status: marked for maintenance"),
        "{status}"
    );
    run(&broker, "rabbitmq-upgrade", &["revive"])?;
    let status = run(&broker, "rabbitmqctl", &["status"])?;
    ensure!(status.contains("Is under maintenance?: false"), "{status}");
    Client::connect(&broker).await?.close().await?;
    Ok(())
}

#[tokio::test]
async fn a_broker_that_starts_again_has_read_its_configuration_again() -> anyhow::Result<()> {
    let mut broker = Broker::start_with("heartbeat = 50\nlog.exchange = true\n")?;
    let heartbeat = ["eval", "application:get_env(rabbit, heartbeat)."];
    ensure!(run(&broker, "rabbitmqctl", &heartbeat)?.trim() == "{ok,50}");
    run(&broker, "rabbitmqctl", &["stop_app"])?;
    broker.rewrite("heartbeat = 70\nlog.exchange = true\n")?;
    run(&broker, "rabbitmqctl", &["start_app"])?;
    ensure!(run(&broker, "rabbitmqctl", &heartbeat)?.trim() == "{ok,70}");

    // A configuration that cannot be read keeps the broker from starting, not the process from living.
    run(&broker, "rabbitmqctl", &["stop_app"])?;
    broker.rewrite("heartbaet = 70\n")?;
    let refused = run(&broker, "rabbitmqctl", &["start_app"]).unwrap_err();
    ensure!(refused.to_string().contains("heartbaet"), "{refused}");
    broker.rewrite("heartbeat = 80\nlog.exchange = true\n")?;
    run(&broker, "rabbitmqctl", &["start_app"])?;
    ensure!(run(&broker, "rabbitmqctl", &heartbeat)?.trim() == "{ok,80}");

    // The log goes where the configuration says now.
    let file = broker.data_directory().with_extension("log");
    run(&broker, "rabbitmqctl", &["stop_app"])?;
    let log = format!("log.file = {}\nlog.file.level = debug\n", file.display());
    broker.rewrite(&format!("heartbeat = 80\nlog.exchange = true\n{log}"))?;
    run(&broker, "rabbitmqctl", &["start_app"])?;
    let written = file.clone();
    until("the start is in the new file", move || {
        std::fs::read_to_string(&written).is_ok_and(|text| text.contains("Server startup complete"))
    })
    .await?;
    let shown = run(&broker, "rabbitmq-diagnostics", &["log_location"])?;
    ensure!(shown.contains(&file.display().to_string()), "{shown}");

    // It is still in its exchange.
    let mut client = Client::connect(&broker).await?;
    client.declare("log", QueueOptions::default()).await?;
    client.bind("log", "amq.rabbitmq.log", "#").await?;
    run(&broker, "rabbitmqctl", &["set_log_level", "info"])?;
    let deadline = Instant::now() + PATIENCE;
    while client.get("log", true).await?.is_none() {
        ensure!(
            Instant::now() < deadline,
            "nothing is logged to the exchange"
        );
    }
    Ok(())
}

#[test]
fn the_log_file_is_shown_and_rotated() -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("node.log");
    let broker = Broker::start_with(&format!(
        "log.file = {}\nlog.file.rotation.count = 3\n",
        path.display()
    ))?;
    let tail = run(
        &broker,
        "rabbitmq-diagnostics",
        &["-q", "log_tail", "-N", "1000"],
    )?;
    ensure!(tail.contains("Starting WarrenMQ"), "{tail}");
    let one = run(
        &broker,
        "rabbitmq-diagnostics",
        &["-q", "log_tail", "-N", "1"],
    )?;
    ensure!(one.lines().count() == 1, "{one}");
    let stream = ["-q", "log_tail_stream", "-d", "4"];
    let out = directory.path().join("stream");
    let mut child = broker
        .tool("rabbitmq-diagnostics")?
        .args(stream)
        .stdout(std::fs::File::create(&out)?)
        .spawn()?;
    // The stream begins somewhere; what is logged until it ends has to come.
    let deadline = Instant::now() + PATIENCE;
    while child.try_wait()?.is_none() {
        run(&broker, "rabbitmqctl", &["set_log_level", "info"])?;
        ensure!(Instant::now() < deadline, "the stream does not end");
    }
    let text = std::fs::read_to_string(&out)?;
    ensure!(text.contains("the level of the log was set"), "{text}");

    run(&broker, "rabbitmqctl", &["rotate_logs"])?;
    ensure!(std::fs::read_dir(directory.path())?.count() > 2);
    run(&broker, "rabbitmqctl", &["set_log_level", "none"])?;
    let before = std::fs::metadata(&path)?.len();
    run(&broker, "rabbitmqctl", &["suspend_listeners"])?;
    ensure!(
        std::fs::metadata(&path)?.len() == before,
        "level none is silent"
    );
    run(&broker, "rabbitmqctl", &["set_log_level", "info"])?;
    run(&broker, "rabbitmqctl", &["resume_listeners"])?;
    ensure!(std::fs::metadata(&path)?.len() > before);
    Ok(())
}

#[test]
fn events_are_streamed() -> anyhow::Result<()> {
    let broker = Broker::start()?;
    let http = Http::new(&broker);
    // A pipe that nobody reads would hold the tool up.
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("events");
    let mut child = broker
        .tool("rabbitmq-diagnostics")?
        .args(["consume_event_stream", "-d", "3", "--pattern", "queue.*"])
        .stdout(std::fs::File::create(&path)?)
        .spawn()?;
    let deadline = Instant::now() + PATIENCE;
    while child.try_wait()?.is_none() {
        http.put("/queues/%2F/watched", json!({}))?;
        http.delete("/queues/%2F/watched")?;
        ensure!(Instant::now() < deadline, "the stream does not end");
    }
    let text = std::fs::read_to_string(&path)?;
    let events: Vec<Value> = text
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()?;
    ensure!(
        events
            .iter()
            .any(|event| event["event"] == "queue.created" && event["name"] == "watched"),
        "{text}"
    );
    ensure!(!text.contains("rabbitmqctl.events"), "{text}");
    let queues = http.get("/queues?columns=name")?;
    ensure!(
        !queues.to_string().contains("rabbitmqctl.events"),
        "{queues}"
    );
    Ok(())
}

#[test]
fn an_alias_stands_for_its_command() -> anyhow::Result<()> {
    let broker = Broker::start()?;
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("aliases.conf");
    std::fs::write(&path, "# mine\nwho = list_users --silent\n")?;
    let text = said(
        broker
            .tool("rabbitmqctl")?
            .env("RABBITMQ_CLI_ALIASES_FILE", &path)
            .arg("who"),
    )?;
    ensure!(text == "guest\t[administrator]\n", "{text}");
    let option = ["--aliases-file", path.to_str().context("a path")?, "who"];
    ensure!(run(&broker, "rabbitmqctl", &option)? == text);
    Ok(())
}

#[test]
fn a_plugin_that_is_gone_is_told_of_and_harms_nothing() -> anyhow::Result<()> {
    let broker = Broker::start()?;
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("enabled_plugins");
    let file = ["--enabled-plugins-file", path.to_str().context("a path")?];
    let plugins = |words: &[&str]| run(&broker, "rabbitmq-plugins", &[words, &file].concat());
    let warning = "WARNING - plugins currently enabled but missing: rabbitmq_jsonrpc\n\n";
    std::fs::write(&path, "[rabbitmq_jsonrpc,rabbitmq_top].\n")?;
    ensure!(
        plugins(&["list", "-m", "-E"])?
            == format!("Listing plugins with pattern \".*\" ...\n{warning}rabbitmq_top\n")
    );
    ensure!(plugins(&["list", "-m", "-E", "-q"])? == "rabbitmq_top\n");
    let enabled = plugins(&["enable", "rabbitmq_tracing", "--offline", "-q"])?;
    ensure!(
        enabled.starts_with(&format!(
            "{warning}The following plugins have been configured:\n  rabbitmq_top\n  rabbitmq_tracing\n"
        )),
        "{enabled}"
    );
    ensure!(
        std::fs::read_to_string(&path)? == "[rabbitmq_jsonrpc,rabbitmq_top,rabbitmq_tracing].\n"
    );
    let unchanged = plugins(&["enable", "rabbitmq_jsonrpc", "--offline", "-q"])?;
    ensure!(
        unchanged.ends_with("Plugin configuration unchanged.\n"),
        "{unchanged}"
    );
    plugins(&["disable", "rabbitmq_jsonrpc", "--offline"])?;
    ensure!(std::fs::read_to_string(&path)? == "[rabbitmq_top,rabbitmq_tracing].\n");
    std::fs::write(&path, "[rabbitmq_jsonrpc].\n")?;
    plugins(&["set", "rabbitmq_top", "--offline"])?;
    ensure!(std::fs::read_to_string(&path)? == "[rabbitmq_top].\n");
    Ok(())
}

#[test]
fn definitions_go_out_and_in_and_unchanged_ones_are_skipped() -> anyhow::Result<()> {
    let broker = Broker::start()?;
    let http = Http::new(&broker);
    let queue = "/queues/%2F/kept";
    let directory = tempfile::tempdir()?;
    for (format, length) in [("json", 9), ("erlang", 8)] {
        http.put(
            queue,
            json!({ "durable": true, "arguments": { "x-max-length": length } }),
        )?;
        let path = directory.path().join(format);
        let file = path.to_str().context("a path")?;
        let rabbitmqctl = |words: &[&str]| run(&broker, "rabbitmqctl", words);
        rabbitmqctl(&["export_definitions", file, "--format", format])?;
        http.delete(queue)?;
        let import = ["import_definitions", file, "--format", format];
        let if_changed = [&import[..], &["--skip-if-unchanged"]].concat();
        rabbitmqctl(&if_changed)?;
        let found = http.get(queue)?;
        ensure!(found["arguments"]["x-max-length"] == length, "{found}");
        // What was imported last is not imported again, whatever has been deleted since.
        http.delete(queue)?;
        rabbitmqctl(&if_changed)?;
        ensure!(http.get("/queues?columns=name")? == json!([]));
        rabbitmqctl(&import)?;
        http.get(queue)?;
        http.delete(queue)?;
    }
    Ok(())
}

/// A node by its own name, with variables of its own.
struct Named {
    child: Child,
    log: std::path::PathBuf,
}

impl Named {
    fn start(name: &str, base: &Path, variables: &[(&str, &str)]) -> anyhow::Result<Self> {
        let conf = base.join("rabbitmq.conf");
        std::fs::write(
            &conf,
            "listeners.tcp.local = 127.0.0.1:0\nmanagement.tcp.ip = 127.0.0.1\nmanagement.tcp.port = 0\nprometheus.tcp.listener = none\n",
        )?;
        let log = base.join("log");
        let child = Command::new(binary()?)
            .arg("server")
            .env_remove("RABBITMQ_MNESIA_DIR")
            .env("RABBITMQ_NODENAME", name)
            .env("RABBITMQ_MNESIA_BASE", base)
            .env("RABBITMQ_CONFIG_FILE", &conf)
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(std::fs::File::create(&log)?)
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self { child, log })
    }

    async fn ready(&self) -> anyhow::Result<()> {
        let log = self.log.clone();
        until("the node is ready", move || {
            std::fs::read_to_string(&log).is_ok_and(|text| text.contains(" is ready "))
        })
        .await
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A tool whose surroundings say nothing of where nodes are.
fn tool(name: &str) -> anyhow::Result<Command> {
    use std::os::unix::process::CommandExt as _;
    let mut command = Command::new(binary()?);
    command.arg0(name);
    for variable in ["NODENAME", "MNESIA_DIR", "MNESIA_BASE", "BASE"] {
        command.env_remove(format!("RABBITMQ_{variable}"));
    }
    Ok(command)
}

#[tokio::test]
async fn a_node_is_found_by_its_name_wherever_its_data_is() -> anyhow::Result<()> {
    let unique = |kind: &str| format!("{kind}-{}@localhost", std::process::id());
    let (first, second) = (unique("first"), unique("second"));
    let (base, other) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let nodes = [
        Named::start(&first, base.path(), &[])?,
        Named::start(&second, other.path(), &[])?,
    ];
    for node in &nodes {
        node.ready().await?;
    }
    for name in [&first, &second] {
        let text = said(tool("rabbitmqctl")?.args(["-n", name, "eval", "node()."]))?;
        ensure!(text.trim().trim_matches('\'') == name, "{text}");
    }
    // Who says where the data is means that node and no other.
    let elsewhere = tempfile::tempdir()?;
    let refused = tool("rabbitmqctl")?
        .env("RABBITMQ_NODENAME", &first)
        .env("RABBITMQ_MNESIA_BASE", elsewhere.path())
        .arg("ping")
        .output()?;
    ensure!(refused.status.code() == Some(69));
    Ok(())
}

#[tokio::test]
async fn variables_say_which_plugins_are_enabled_and_tools_agree() -> anyhow::Result<()> {
    let base = tempfile::tempdir()?;
    let list = base.path().join("plugins");
    let file = list.to_str().context("a path")?;
    let name = format!("plugins-{}@localhost", std::process::id());
    let variables = [
        ("RABBITMQ_ENABLED_PLUGINS_FILE", file),
        ("RABBITMQ_ENABLED_PLUGINS", "rabbitmq_event_exchange"),
    ];
    let node = Named::start(&name, base.path(), &variables)?;
    node.ready().await?;
    ensure!(std::fs::read_to_string(&list)? == "[rabbitmq_event_exchange].\n");
    let plugins = |words: &[&str]| {
        let mut command = tool("rabbitmq-plugins")?;
        command.args(["-q", "-n", &name]).args(words);
        said(command.env("RABBITMQ_ENABLED_PLUGINS_FILE", file))
    };
    ensure!(plugins(&["list", "-E", "-m"])?.trim() == "rabbitmq_event_exchange");
    plugins(&["enable", "rabbitmq_management"])?;
    ensure!(std::fs::read_to_string(&list)?.contains("rabbitmq_management"));
    ensure!(
        plugins(&["list", "-E", "-m", "--enabled-plugins-file", file])?
            .contains("rabbitmq_management")
    );
    ensure!(plugins(&["directories"])?.contains(file));
    Ok(())
}

#[tokio::test]
async fn secrets_of_the_process_are_not_shown() -> anyhow::Result<()> {
    let base = tempfile::tempdir()?;
    let name = format!("secrets-{}@localhost", std::process::id());
    let variables = [("RABBITMQ_DEFAULT_PASS", "swordfish")];
    let node = Named::start(&name, base.path(), &variables)?;
    node.ready().await?;
    for words in [
        &["os_env"][..],
        &["environment"],
        &["report"],
        &["command_line_arguments"],
    ] {
        let mut command = tool("rabbitmq-diagnostics")?;
        let text = said(command.args(["-n", &name]).args(words))?;
        ensure!(!text.contains("swordfish"), "{words:?}: {text}");
    }
    let mut command = tool("rabbitmq-diagnostics")?;
    let text = said(command.args(["-n", &name, "os_env"]))?;
    ensure!(text.contains("DEFAULT_PASS=***"), "{text}");
    Ok(())
}

/// More queues than a list may have that is made before it is sent.
const MANY_QUEUES: usize = 20_000;

#[test]
fn a_long_list_is_printed_in_pieces_and_is_whole() -> anyhow::Result<()> {
    let broker = Broker::start()?;
    let name = |number: usize| format!("queue-{number:05}");
    let queues: Vec<Value> = (0..MANY_QUEUES)
        .map(|number| json!({ "vhost": "/", "name": name(number), "durable": true, "auto_delete": false, "arguments": {} }))
        .collect();
    Http::new(&broker).post("/definitions", json!({ "queues": queues }))?;
    let expected: Vec<String> = (0..MANY_QUEUES).map(name).collect();
    let table = run(&broker, "rabbitmqctl", &["-s", "list_queues", "name"])?;
    ensure!(table.lines().eq(expected.iter().map(String::as_str)));
    let json = ["list_queues", "messages", "--formatter", "json"];
    let rows: Vec<Value> = serde_json::from_str(&run(&broker, "rabbitmqctl", &json)?)?;
    ensure!(rows.len() == MANY_QUEUES && rows.iter().all(|row| *row == json!({ "messages": 0 })));
    // Each is bound to the default exchange.
    let bindings = ["-s", "list_bindings", "routing_key", "source_kind"];
    let table = run(&broker, "rabbitmqctl", &bindings)?;
    let bound = expected.iter().map(|name| format!("{name}\texchange"));
    ensure!(table.lines().map(str::to_owned).eq(bound));
    let exchanges = run(&broker, "rabbitmqctl", &["-s", "list_exchanges", "name"])?;
    ensure!(exchanges.lines().count() >= 7, "{exchanges}");
    Ok(())
}

#[test]
fn a_long_list_of_the_api_is_sent_while_it_is_written_and_is_whole() -> anyhow::Result<()> {
    let broker = Broker::start()?;
    let name = |number: usize| format!("queue-{number:05}");
    let queues: Vec<Value> = (0..MANY_QUEUES)
        .map(|number| json!({ "vhost": "/", "name": name(number), "durable": true, "auto_delete": false, "arguments": {} }))
        .collect();
    let http = Http::new(&broker);
    http.post("/definitions", json!({ "queues": queues }))?;
    // Its order needs items of all, each of its own.
    for query in [
        "",
        "?columns=name",
        "?sort=effective_policy_definition&columns=name",
    ] {
        let path = format!("/queues{query}");
        let whole = http.request_with("GET", &path, &[], b"")?;
        ensure!(
            whole.header("transfer-encoding") == Some("chunked"),
            "{path}"
        );
        ensure!(whole.header("content-length").is_none(), "{path}");
        let list = whole.json()?;
        let items = list.as_array().context("it is a list")?;
        let are_all = items
            .iter()
            .enumerate()
            .all(|(number, item)| item["name"] == name(number));
        ensure!(items.len() == MANY_QUEUES && are_all, "{path}");
        let head = http.request_with("HEAD", &path, &[], b"")?;
        ensure!(head.status == 200 && head.body.is_empty(), "{path}");
        ensure!(head.header("content-length").is_none(), "{path}");
    }
    let bindings = http.get("/bindings")?;
    ensure!(
        bindings
            .as_array()
            .is_some_and(|list| list.len() == MANY_QUEUES)
    );
    // A short list says how long it is.
    let short = http.request_with("GET", "/exchanges", &[], b"")?;
    ensure!(short.header("content-length").is_some());
    Ok(())
}

#[test]
fn a_shell_evaluates_one_expression_after_the_other() -> anyhow::Result<()> {
    let broker = Broker::start()?;
    let mut child = broker
        .tool("rabbitmq-diagnostics")?
        .args(["-q", "remote_shell"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut input = child.stdin.take().context("it is piped")?;
    input.write_all(b"X = 20,\nY = 1.\nF = fun(Z) -> X * 2 + Z end, ok.\nF(Y + 1).\nnode().\n1/0.\nX.\nf().\nX.\n)(.\nq().\nnode().\n")?;
    drop(input);
    let output = child.wait_with_output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    ensure!(output.status.success(), "{text}");
    ensure!(lines.len() == 8, "{text}");
    ensure!(
        lines[..4] == ["1", "ok", "42", "rabbit@localhost"],
        "{text}"
    );
    ensure!(lines[4].starts_with("** exception: {:badarith"), "{text}");
    ensure!(lines[5] == "20", "{text}");
    ensure!(lines[6].contains("unbound_var"), "{text}");
    ensure!(lines[7].starts_with("* syntax error"), "{text}");
    Ok(())
}

#[tokio::test]
async fn an_observer_sees_what_the_node_does() -> anyhow::Result<()> {
    let broker = Broker::start()?;
    let mut client = Client::connect(&broker).await?;
    client.declare("q", QueueOptions::default()).await?;
    let text = run(&broker, "rabbitmq-diagnostics", &["observer"])?;
    ensure!(text.starts_with("rabbit@localhost  WarrenMQ"), "{text}");
    let mut lines = text.lines().skip_while(|line| !line.starts_with("Objects"));
    let (names, counts) = (lines.next(), lines.next());
    let column = |line: Option<&str>| -> Vec<String> {
        let words = line.unwrap_or_default().split_whitespace();
        words.map(str::to_owned).collect()
    };
    let (names, counts) = (column(names), column(counts));
    let of = |name: &str| {
        let at = names[1..].iter().position(|own| own == name)?;
        counts.get(at).map(String::as_str)
    };
    ensure!(of("connections") == Some("1"), "{text}");
    ensure!(of("queues") == Some("1"), "{text}");
    let json = ["observer", "--formatter", "json"];
    let value: Value = serde_json::from_str(&run(&broker, "rabbitmq-diagnostics", &json)?)?;
    ensure!(value["status"]["node"] == "rabbit@localhost", "{value}");
    Ok(())
}

#[test]
fn a_detached_start_tells_what_is_wrong_with_the_configuration() -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("rabbitmq.conf");
    std::fs::write(&file, "heartbeat = 10\nheartbaet = 20\n")?;
    let output = tool("rabbitmq-server")?
        .arg("-detached")
        .env("RABBITMQ_CONFIG_FILE", &file)
        .env("RABBITMQ_MNESIA_BASE", directory.path())
        .output()?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(!output.status.success(), "{output:?}");
    ensure!(
        error.contains("heartbaet") && error.contains("rabbitmq.conf:2"),
        "{error}"
    );
    Ok(())
}

#[test]
fn a_start_that_fails_names_the_line_that_asks_for_it() -> anyhow::Result<()> {
    let taken = std::net::TcpListener::bind("127.0.0.1:0")?;
    let taken = format!("listeners.tcp.1 = {}", taken.local_addr()?);
    for (lines, told, is_checked) in [
        (
            "auth_backends.1 = internal\nauth_backends.2 = ldap",
            "auth_ldap.servers",
            true,
        ),
        ("#\nauth_backends.1 = oauth2", "resource_server_id", true),
        (
            "#\nlisteners.ssl.1 = 127.0.0.1:0",
            "ssl_options.certfile",
            true,
        ),
        (
            "listeners.ssl.1 = 127.0.0.1:0\nssl_options.certfile = /none.pem",
            "/none.pem",
            true,
        ),
        (
            "#\nmanagement.ssl.port = 0",
            "management.ssl.certfile",
            true,
        ),
        (
            "#\nprometheus.ssl.port = 0",
            "prometheus.ssl.certfile",
            true,
        ),
        ("#\nload_definitions = /none.json", "/none.json", true),
        (
            "#\ndefault_permissions.read = [",
            "a regular expression",
            true,
        ),
        ("#\nlog.file = /proc/none/x.log", "/proc/none/x.log", false),
        (&format!("#\n{taken}"), "in use", false),
        (
            "#\nmanagement.http_log_dir = /proc/none",
            "/proc/none/access.log",
            false,
        ),
    ] {
        let directory = tempfile::tempdir()?;
        let file = directory.path().join("rabbitmq.conf");
        let ports = "management.tcp.port = 0\nprometheus.tcp.port = 0\n";
        std::fs::write(&file, format!("{lines}\n{ports}"))?;
        let run = |words: &[&str]| -> anyhow::Result<(bool, String)> {
            let output = Command::new(binary()?)
                .args(words)
                .env("RABBITMQ_CONFIG_FILE", &file)
                .env("RABBITMQ_MNESIA_DIR", directory.path().join("data"))
                .env("RABBITMQ_NODE_PORT", "0")
                .output()?;
            let error = String::from_utf8_lossy(&output.stderr).into_owned();
            Ok((output.status.success(), error))
        };
        for words in [&["server"][..], &["config", "check"]] {
            let (is_good, error) = run(words)?;
            if words.len() > 1 && !is_checked {
                ensure!(is_good, "{lines}: {error}");
                continue;
            }
            ensure!(!is_good, "{lines}");
            ensure!(
                error.contains(told) && error.contains("rabbitmq.conf:2"),
                "{words:?} {lines}: {error}"
            );
            ensure!(!error.contains("panicked"), "{error}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn backends_whose_plugins_are_not_enabled_are_left_out() -> anyhow::Result<()> {
    let ldap = "auth_ldap.servers.1 = 127.0.0.1\nauth_ldap.port = 1\n";
    let mut broker = Broker::start_with(&format!(
        "{ldap}auth_backends.1 = internal\nauth_backends.2 = ldap"
    ))?;
    let listed = |broker: &Broker| run(broker, "rabbitmq-plugins", &["list", "-q", "backend_ldap"]);
    let refusal = |broker: &Broker| {
        let mut command = broker.tool("rabbitmqctl")?;
        let output = command
            .args(["authenticate_user", "nobody", "x"])
            .output()?;
        anyhow::Ok(String::from_utf8_lossy(&output.stderr).into_owned())
    };
    // Where nothing is listed, what is configured is enabled.
    ensure!(listed(&broker)?.contains("[E*]"));
    let refused = refusal(&broker)?;
    ensure!(refused.contains("rabbit_auth_backend_ldap"), "{refused}");
    broker.stop()?;
    let list = broker.data_directory().join("enabled_plugins");
    std::fs::write(list, "[rabbitmq_management].\n")?;
    broker.restart()?;
    ensure!(listed(&broker)?.contains("[  ]"));
    let refused = refusal(&broker)?;
    ensure!(
        refused.contains("user 'nobody' - invalid credentials"),
        "{refused}"
    );
    until("the log says it", || {
        let words = "the `rabbitmq_auth_backend_ldap` plugin must be enabled";
        broker.log().contains(words)
    })
    .await?;
    broker.stop()?;
    broker.configure(&format!("{ldap}auth_backends.1 = ldap"));
    ensure!(broker.restart().is_err(), "nobody could log in");
    until("it says why", || {
        broker
            .log()
            .contains("backends require plugins to be enabled")
    })
    .await
}

#[test]
fn plugins_that_are_not_there_cannot_be_enabled() -> anyhow::Result<()> {
    let broker = Broker::start()?;
    for words in [
        &["enable", "rabbitmq_mqtt"][..],
        &["set", "rabbitmq_shovel"],
    ] {
        let output = broker.tool("rabbitmq-plugins")?.args(words).output()?;
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.code() == Some(65), "{output:?}");
        ensure!(error.contains("not supported yet"), "{error}");
    }
    run(
        &broker,
        "rabbitmq-plugins",
        &["enable", "--all", "--offline"],
    )?;
    Ok(())
}
