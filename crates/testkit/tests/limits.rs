//! Limits and watermarks of a node, as clients and operators see them: connections, channels, files, vhosts, memory, prefetch.

use anyhow::{Context, ensure};
use client_amqp091::ConnectOptions;
use client_amqp091::codec::{Method, tx};
use serde_json::{Value, json};
use std::process::Output;
use std::time::Instant;
use testkit::client::{CHANNEL, DURABLE, PATIENCE, PERSISTENT, until};
use testkit::{Broker, Client, Http};

/// The answer to a request; it may be any.
fn ask(http: &Http, method: &str, path: &str, body: &str) -> anyhow::Result<(u16, Value)> {
    let response = http.request_with(method, path, &[], body.as_bytes())?;
    Ok((response.status, response.json().unwrap_or_default()))
}

fn tool(broker: &Broker, name: &str, arguments: &[&str]) -> anyhow::Result<Output> {
    broker
        .tool(name)?
        .args(arguments)
        .output()
        .context("run it")
}

fn ctl(broker: &Broker, arguments: &[&str]) -> anyhow::Result<String> {
    let output = tool(broker, "rabbitmqctl", arguments)?;
    ensure!(output.status.success(), "{arguments:?}: {output:?}");
    Ok(String::from_utf8(output.stdout)?)
}

/// What the broker says instead of letting a client in, or instead of opening its channel.
async fn refusal(broker: &Broker) -> anyhow::Result<String> {
    match Client::connect(broker).await {
        Ok(_) => Ok("it was let in".to_owned()),
        Err(error) => Ok(format!("{error:#}")),
    }
}

#[tokio::test]
async fn a_node_takes_so_many_connections() -> anyhow::Result<()> {
    let broker = Broker::start_with("max_connections = 2\n")?;
    let http = Http::new(&broker);
    let check = |name: &str| ask(&http, "GET", &format!("/health/checks/{name}"), "");
    let well = (200, json!({"status": "ok"}));
    let first = Client::connect(&broker).await?;
    ensure!(check("below-node-connection-limit")? == well);
    ensure!(check("ready-to-serve-clients")? == well);
    let _second = Client::connect(&broker).await?;
    let text = refusal(&broker).await?;
    ensure!(
        text.contains("NOT_ALLOWED - connection refused: node connection limit (2) is reached"),
        "{text}"
    );
    let reached = json!({"status": "failed", "reason": "node connection limit is reached"});
    until("the refused one is gone", || {
        let checked = check("ready-to-serve-clients");
        checked.is_ok_and(|(_, answer)| answer["connections"] == 2)
    })
    .await?;
    ensure!(check("below-node-connection-limit")? == (503, reached));
    first.close().await?;
    until("a place", || {
        check("below-node-connection-limit").is_ok_and(|answer| answer == well)
    })
    .await?;
    Client::connect(&broker).await?;
    Ok(())
}

#[tokio::test]
async fn a_node_takes_so_many_channels() -> anyhow::Result<()> {
    let broker = Broker::start_with("channel_max_per_node = 2\n")?;
    let first = Client::connect(&broker).await?;
    let _second = Client::connect(&broker).await?;
    let text = refusal(&broker).await?;
    let expected = "NOT_ALLOWED - number of channels opened on node 'rabbit@localhost' has reached the maximum allowed limit of 2";
    ensure!(text.contains(expected), "{text}");
    first.close().await?;
    let deadline = Instant::now() + PATIENCE;
    while Client::connect(&broker).await.is_err() {
        ensure!(Instant::now() < deadline, "there is no place again");
    }
    Ok(())
}

#[test]
fn a_node_has_so_many_vhosts_and_exchanges() -> anyhow::Result<()> {
    let broker = Broker::start_with("vhost_max = 2\ncluster_exchange_limit = 13\n")?;
    let http = Http::new(&broker);
    let put = |path: &str, body: &str| ask(&http, "PUT", path, body);
    ensure!(put("/vhosts/a", "{}")?.0 == 201);
    let (status, answer) = put("/vhosts/b", "{}")?;
    ensure!(
        status == 400 && answer["reason"] == "cannot create vhost 'b': vhost limit of 2 is reached",
        "{status} {answer}"
    );
    ensure!(http.get("/exchanges")?.as_array().map(Vec::len) == Some(15));
    let (status, answer) = put("/exchanges/a/x", r#"{"type":"fanout"}"#)?;
    let reason = "cannot declare exchange 'x' in vhost 'a': exchange limit of 13 is reached";
    ensure!(
        status == 400 && answer["reason"] == reason,
        "{status} {answer}"
    );
    Ok(())
}

/// With few file descriptors newcomers wait until others leave; who is there is served as ever.
#[tokio::test]
async fn without_files_newcomers_wait_and_others_are_served() -> anyhow::Result<()> {
    let files = 64;
    let limit = format!("--nofile={files}:{files}");
    let broker = Broker::start_wrapped("", &["prlimit", &limit], None)?;
    let http = Http::new(&broker);
    let figures = http.get("/nodes")?[0].clone();
    ensure!(figures["fd_total"] == files, "{figures}");
    ensure!(figures["fd_used"].as_u64().is_some_and(|used| used < files));
    let mut client = Client::connect(&broker).await?;
    client.declare("q", DURABLE).await?;
    client.confirm_select().await?;
    // Their sockets are taken by the kernel, if not by the broker.
    let mut crowd = Vec::new();
    for _ in 0..files {
        crowd.push(tokio::net::TcpStream::connect(broker.address()).await?);
    }
    until("no file is left", || {
        broker.log().contains("cannot accept connections")
    })
    .await?;
    // More than a file of the log takes: the node has kept descriptors for itself, and for its operators.
    client
        .publish_all("q", &PERSISTENT, 800, |_| vec![1; 100_000])
        .await?;
    client.consume("q", true).await?;
    ensure!(client.receive(800).await?.len() == 800);
    ensure!(http.get("/nodes")?[0]["fd_total"] == files);
    drop(crowd);
    Client::connect(&broker).await?.close().await?;
    ensure!(http.get("/nodes")?[0]["name"] == "rabbit@localhost");
    Ok(())
}

#[tokio::test]
async fn consumers_have_the_prefetch_of_the_configuration() -> anyhow::Result<()> {
    let broker = Broker::start_with("warren.default_consumer_prefetch.count = 2\n")?;
    let mut client = Client::connect(&broker).await?;
    client.declare("q", DURABLE).await?;
    client.confirm_select().await?;
    client
        .publish_all("q", &PERSISTENT, 5, |_| b"x".to_vec())
        .await?;
    client.consume("q", false).await?;
    ensure!(client.receive(2).await?.len() == 2);
    let declared = client.inspect("q").await?.context("it is there")?;
    ensure!(declared.message_count == 3, "{declared:?}");
    let consumers = Http::new(&broker).get("/consumers")?;
    ensure!(consumers[0]["prefetch_count"] == 2, "{consumers}");
    Ok(())
}

/// A consumer that takes what comes has a capacity near 1; one that keeps what it has while more waits comes near 0.
#[tokio::test]
async fn the_capacity_of_consumers_is_measured() -> anyhow::Result<()> {
    let broker = Broker::start()?;
    let http = Http::new(&broker);
    let mut client = Client::connect(&broker).await?;
    client.declare("q", DURABLE).await?;
    let capacity = || -> Option<f64> {
        let queue = http.get("/queues/%2F/q").ok()?;
        (queue["consumer_capacity"] == queue["consumer_utilisation"])
            .then(|| queue["consumer_capacity"].as_f64())?
    };
    ensure!(capacity() == Some(0.0), "nobody consumes: {:?}", capacity());
    client.connection.qos(CHANNEL, 1).await?;
    client.consume("q", false).await?;
    until("a free consumer", || {
        capacity().is_some_and(|share| share > 0.8)
    })
    .await?;
    let mut publisher = Client::connect(&broker).await?;
    publisher.confirm_select().await?;
    publisher
        .publish_all("q", &PERSISTENT, 5, |_| b"x".to_vec())
        .await?;
    until("a busy consumer", || {
        capacity().is_some_and(|share| share < 0.2)
    })
    .await?;
    let listed = ctl(&broker, &["-q", "list_queues", "name", "consumer_capacity"])?;
    let shown = listed
        .lines()
        .find_map(|line| line.strip_prefix("q\t"))
        .context(listed.clone())?;
    ensure!(shown.parse::<f64>()? < 0.3, "{listed}");
    Ok(())
}

/// Watermarks are set on the running node as a fraction and as a size; the alarm shows wherever it can be asked for.
#[tokio::test]
async fn the_memory_watermark_is_set_live_and_its_alarm_is_seen_everywhere() -> anyhow::Result<()> {
    let broker = Broker::start_with("total_memory_available_override_value = 8GB\n")?;
    let http = Http::new(&broker);
    let check = |name: &str| ask(&http, "GET", &format!("/health/checks/{name}"), "");
    let limit = || {
        http.get("/nodes")
            .map(|nodes| nodes[0]["mem_limit"].clone())
    };
    ensure!(limit()? == 4_800_000_000_u64, "0.6 of 8 GB");
    ctl(&broker, &["set_vm_memory_high_watermark", "0.25"])?;
    ensure!(limit()? == 2_000_000_000);
    ctl(
        &broker,
        &["set_vm_memory_high_watermark", "absolute", "1GiB"],
    )?;
    ensure!(limit()? == 1_u64 << 30);
    ensure!(check("alarms")?.0 == 200);
    let mut client = Client::connect(&broker).await?;
    client.declare("q", DURABLE).await?;
    let state = || -> Option<Value> {
        let connections = http.get("/connections").ok()?;
        Some(connections[0]["state"].clone())
    };
    until("running", || {
        state().is_some_and(|state| state == "running")
    })
    .await?;

    ctl(&broker, &["set_vm_memory_high_watermark", "0.0001"])?;
    until("the alarm", || {
        check("alarms").is_ok_and(|(status, _)| status == 503)
    })
    .await?;
    let alarms = json!([{"node": "rabbit@localhost", "resource": "memory"}]);
    for (name, reason) in [
        ("alarms", "There are alarms in effect in the cluster"),
        ("local-alarms", "There are alarms in effect on the node"),
    ] {
        let expected = json!({"status": "failed", "reason": reason, "alarms": alarms});
        ensure!(check(name)? == (503, expected), "{:?}", check(name)?);
    }
    ensure!(http.get("/nodes")?[0]["mem_alarm"] == true);
    for command in ["check_alarms", "check_local_alarms", "alarms"] {
        let output = tool(&broker, "rabbitmq-diagnostics", &[command])?;
        let fails = command == "check_alarms";
        ensure!(output.status.success() != fails, "{command}: {output:?}");
    }
    let shown = tool(&broker, "rabbitmq-diagnostics", &["alarms"])?;
    let shown = String::from_utf8(shown.stdout)?;
    ensure!(
        shown.contains("Memory alarm on node rabbit@localhost"),
        "{shown}"
    );
    until("blocking", || {
        state().is_some_and(|state| state == "blocking")
    })
    .await?;
    client.send("", "q", &PERSISTENT, b"x");
    client.connection.flush().await?;
    until("blocked", || {
        state().is_some_and(|state| state == "blocked")
    })
    .await?;

    ctl(&broker, &["set_vm_memory_high_watermark", "0.5"])?;
    until("no alarm", || {
        check("alarms").is_ok_and(|(status, _)| status == 200)
    })
    .await?;
    ensure!(check("local-alarms")?.0 == 200);
    until("running again", || {
        state().is_some_and(|state| state == "running")
    })
    .await?;
    ensure!(
        tool(&broker, "rabbitmq-diagnostics", &["check_alarms"])?
            .status
            .success()
    );
    for bad in [&["1.5"][..], &["x"], &["absolute", "1QB"]] {
        let command = [&["set_vm_memory_high_watermark"], bad].concat();
        let output = tool(&broker, "rabbitmqctl", &command)?;
        ensure!(!output.status.success(), "{output:?}");
    }
    Ok(())
}

/// What counts as memory: 4 MB are less than any process has, and more than an idle node counts.
#[tokio::test]
async fn memory_is_calculated_as_the_configuration_says() -> anyhow::Result<()> {
    for (strategy, name, alarm) in [
        ("rss", "rss", true),
        ("erlang", "erlang", false),
        ("legacy", "erlang", false),
    ] {
        let broker = Broker::start_with(&format!(
            "vm_memory_high_watermark.absolute = 4MB\nvm_memory_calculation_strategy = {strategy}\n"
        ))?;
        let http = Http::new(&broker);
        let node = || http.get("/nodes").map(|nodes| nodes[0].clone());
        ensure!(node()?["mem_calculation_strategy"] == name);
        let status = ctl(&broker, &["status", "--formatter", "json"])?;
        let status: Value = serde_json::from_str(&status)?;
        ensure!(status["vm_memory_calculation_strategy"] == name, "{status}");
        if alarm {
            until("an alarm", || {
                node().is_ok_and(|node| node["mem_alarm"] == true)
            })
            .await?;
        } else {
            let used = node()?["mem_used"].as_u64().context("mem_used")?;
            ensure!(used < 4_000_000, "{used}");
        }
    }
    let used = |strategy: &str| -> anyhow::Result<u64> {
        let broker = Broker::start_with(&format!("vm_memory_calculation_strategy = {strategy}\n"))?;
        let node = Http::new(&broker).get("/nodes")?[0].clone();
        ensure!(node["mem_calculation_strategy"] == strategy);
        node["mem_used"].as_u64().context("mem_used")
    };
    let (resident, allocated) = (used("rss")?, used("allocated")?);
    ensure!(
        0 < allocated && allocated < resident,
        "{allocated} of {resident}"
    );
    Ok(())
}

/// The switch is for HTTP; the operator's own tool still may.
#[test]
fn operator_policies_can_be_locked() -> anyhow::Result<()> {
    let broker =
        Broker::start_with("management.restrictions.operator_policy_changes.disabled = true\n")?;
    let http = Http::new(&broker);
    let body = r#"{"pattern":"^q","definition":{"max-length":5}}"#;
    let path = "/operator-policies/%2F/o";
    ensure!(ask(&http, "PUT", path, body)?.0 == 405);
    ensure!(http.get("/operator-policies")? == json!([]));
    let command = ["set_operator_policy", "o", "^q", r#"{"max-length":5}"#];
    ctl(&broker, &command)?;
    ensure!(http.get(path)?["definition"] == json!({"max-length": 5}));
    ensure!(ask(&http, "DELETE", path, "")?.0 == 405);
    ensure!(http.get("/overview")?["is_op_policy_updating_enabled"] == false);
    ensure!(
        ask(&http, "PUT", "/policies/%2F/p", body)?.0 == 201,
        "others are free"
    );
    ctl(&broker, &["clear_operator_policy", "o"])?;
    ensure!(http.get("/operator-policies")? == json!([]));
    Ok(())
}

#[test]
fn global_parameters_have_their_effect_and_stay() -> anyhow::Result<()> {
    let mut broker = Broker::start()?;
    let set = |broker: &Broker, name: &str, value: &str| {
        ctl(broker, &["set_global_parameter", name, value]).map(drop)
    };
    set(&broker, "cluster_name", r#""warren in a test""#)?;
    set(&broker, "cluster_tags", r#"{"region":"eu"}"#)?;
    broker.kill()?;
    broker.restart()?;
    let http = Http::new(&broker);
    let overview = http.get("/overview")?;
    ensure!(overview["cluster_name"] == "warren in a test", "{overview}");
    ensure!(
        overview["cluster_tags"] == json!({"region": "eu"}),
        "{overview}"
    );
    let id = http.get("/global-parameters/internal_cluster_id")?;
    ensure!(
        id["value"].as_str().is_some_and(|id| !id.is_empty()),
        "{id}"
    );
    ctl(&broker, &["clear_global_parameter", "cluster_tags"])?;
    ensure!(http.get("/overview")?["cluster_tags"] == json!({}));
    Ok(())
}

#[tokio::test]
async fn vhosts_are_always_started() -> anyhow::Result<()> {
    let broker = Broker::start()?;
    let mut client = Client::connect(&broker).await?;
    client.declare("q", DURABLE).await?;
    let said = ctl(&broker, &["restart_vhost", "-p", "/"])?;
    ensure!(
        said.contains("Vhost '/' is already running on node 'rabbit@localhost'"),
        "{said}"
    );
    let said = ctl(&broker, &["reconcile_vhosts"])?;
    ensure!(said.contains("virtual host reconciliation"), "{said}");
    let missing = tool(&broker, "rabbitmqctl", &["restart_vhost", "-p", "nope"])?;
    ensure!(!missing.status.success(), "{missing:?}");
    let http = Http::new(&broker);
    ensure!(ask(&http, "POST", "/vhosts/%2F/start/rabbit@localhost", "")?.0 == 204);
    let vhost = http.get("/vhosts/%2F")?;
    let running = json!({"rabbit@localhost": "running"});
    ensure!(vhost["cluster_state"] == running, "{vhost}");
    ensure!(client.inspect("q").await?.is_some(), "nobody was disturbed");
    Ok(())
}

#[tokio::test]
async fn an_operator_closes_connections_with_a_reason() -> anyhow::Result<()> {
    let broker = Broker::start()?;
    let options = ConnectOptions {
        connection_name: Some("closed by ctl".to_owned()),
        ..ConnectOptions::default()
    };
    let mut client = Client::connect_with(broker.address(), &options).await?;
    ctl(&broker, &["close_all_connections", "maintenance at noon"])?;
    let Err(error) = client.inspect("q").await else {
        anyhow::bail!("it is still open");
    };
    let text = format!("{error:#}");
    ensure!(
        text.contains("320") && text.contains("CONNECTION_FORCED - maintenance at noon"),
        "{text}"
    );
    Ok(())
}

#[tokio::test]
async fn a_node_has_so_many_queues_and_a_transaction_so_many_messages() -> anyhow::Result<()> {
    let settings = "cluster_queue_limit = 1\nchannel_tx_message_max = 2\nexchange_types.local_random.enabled = false\n";
    let broker = Broker::start_with(settings)?;
    let http = Http::new(&broker);
    let put = |path: &str, body: &str| ask(&http, "PUT", path, body);
    ensure!(put("/queues/%2F/q", "{}")?.0 == 201);
    ensure!(put("/queues/%2F/q", "{}")?.0 == 204);
    for (path, body, reason) in [
        (
            "/queues/%2F/r",
            "{}",
            "cannot declare queue 'r': queue limit in cluster (1) is reached",
        ),
        (
            "/exchanges/%2F/x",
            r#"{"type":"x-local-random","durable":true}"#,
            "x-local-random exchange is disabled by configuration",
        ),
    ] {
        let (status, answer) = put(path, body)?;
        ensure!(
            status == 400 && answer["reason"] == reason,
            "{status} {answer}"
        );
    }
    let mut client = Client::connect(&broker).await?;
    client
        .call(
            |out| tx::Select.encode(CHANNEL, out),
            |reply| matches!(reply, Method::TxSelectOk(_)),
        )
        .await?;
    for _ in 0..3 {
        client.send("", "q", &PERSISTENT, b"m");
    }
    let refused = client
        .call(
            |out| tx::Commit.encode(CHANNEL, out),
            |reply| matches!(reply, Method::TxCommitOk(_)),
        )
        .await;
    let refused = refused.err().context("the third message is taken")?;
    let expected: &[u8] =
        b"PRECONDITION_FAILED - transaction has reached the maximum of 2 uncommitted publishes";
    let expected = format!("reply_code: 406, reply_text: {expected:?}");
    ensure!(format!("{refused:#}").contains(&expected), "{refused:#}");
    Ok(())
}
