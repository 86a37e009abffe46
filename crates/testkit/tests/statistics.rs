//! What settings make of statistics, what memory and threads are used for, and the configuration as it is in effect.

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};
use testkit::client::{DURABLE, PERSISTENT, until};
use testkit::{Broker, Client, Http};

async fn get(broker: &Broker, path: &'static str) -> anyhow::Result<Value> {
    let http = Http::new(broker);
    tokio::task::spawn_blocking(move || http.get(path)).await?
}

/// A broker with these settings, and a client that sent six messages, five of them by an exchange, and took all five of one queue.
async fn busy(settings: &str) -> anyhow::Result<(Broker, Client)> {
    let broker = Broker::start_with(settings)?;
    let mut client = Client::connect(&broker).await?;
    client.confirm_select().await?;
    client.declare_exchange("x", "fanout").await?;
    for queue in ["a", "b"] {
        client.declare(queue, DURABLE).await?;
        client.bind(queue, "x", "").await?;
    }
    let mut last = 0;
    for exchange in ["x", "x", "x", "x", "x", ""] {
        last = client.send(exchange, "b", &PERSISTENT, b"m");
    }
    client.confirmed_until(last).await?;
    client.consume("a", true).await?;
    client.receive(5).await?;
    // What was sent is counted once this is answered.
    client.declare("a", DURABLE).await?;
    Ok((broker, client))
}

/// What an entry of a list is about, and how often something happened.
fn entry<'a>(list: &'a Value, kind: &str, name: &str) -> anyhow::Result<&'a Value> {
    let entries = list.as_array().context("no list")?;
    let found = entries.iter().find(|entry| {
        let own = entry[kind]["name"].as_str().unwrap_or_default();
        own == name || kind == "channel_details" && own.ends_with(name)
    });
    found
        .map(|entry| &entry["stats"])
        .with_context(|| format!("no {kind} {name} in {list}"))
}

#[tokio::test]
async fn detailed_rates_tell_of_neighbours() -> anyhow::Result<()> {
    let (broker, _client) = busy("management.rates_mode = detailed\n").await?;
    let overview = get(&broker, "/overview").await?;
    ensure!(overview["rates_mode"] == "detailed");
    let queue = get(&broker, "/queues/%2F/a").await?;
    ensure!(entry(&queue["incoming"], "exchange", "x")?["publish"] == 5);
    let taken = entry(&queue["deliveries"], "channel_details", " (1)")?;
    ensure!(
        taken["deliver_no_ack"] == 5 && taken["deliver_get"] == 5,
        "{taken}"
    );
    ensure!(taken["ack_details"] == json!({"rate": 0.0}), "{taken}");
    let queue = get(&broker, "/queues/%2F/b").await?;
    ensure!(entry(&queue["incoming"], "exchange", "")?["publish"] == 1);
    ensure!(entry(&queue["incoming"], "exchange", "x")?["publish"] == 5);
    let exchange = get(&broker, "/exchanges/%2F/x").await?;
    let incoming = entry(&exchange["incoming"], "channel_details", " (1)")?;
    ensure!(
        incoming["publish"] == 5 && incoming["confirm"] == 5,
        "{incoming}"
    );
    for name in ["a", "b"] {
        ensure!(entry(&exchange["outgoing"], "queue", name)?["publish"] == 5);
    }
    let http = Http::new(&broker);
    let channel = tokio::task::spawn_blocking(move || {
        let channels = http.get("/channels")?;
        let name = channels[0]["name"].as_str().context("a name")?.to_owned();
        http.get(&format!(
            "/channels/{}",
            name.replace(' ', "%20").replace('>', "%3E")
        ))
    });
    let channel = channel.await??;
    ensure!(entry(&channel["publishes"], "exchange", "x")?["publish"] == 5);
    ensure!(entry(&channel["deliveries"], "queue", "a")?["deliver_get"] == 5);
    Ok(())
}

#[tokio::test]
async fn basic_rates_tell_of_objects_only() -> anyhow::Result<()> {
    let (broker, _client) = busy("").await?;
    let queue = get(&broker, "/queues/%2F/a").await?;
    ensure!(queue["incoming"] == json!([]) && queue["deliveries"] == json!([]));
    ensure!(queue["message_stats"]["publish"] == 5, "{queue}");
    let overview = get(&broker, "/overview").await?;
    ensure!(overview["rates_mode"] == "basic");
    let expected =
        json!({"global": [600, 3600, 28800, 86400], "basic": [600, 3600], "detailed": [600]});
    ensure!(
        overview["sample_retention_policies"] == expected,
        "{overview}"
    );
    Ok(())
}

#[tokio::test]
async fn without_rates_only_lengths_are_shown() -> anyhow::Result<()> {
    for (level, is_shown) in [("", false), ("collect_statistics = fine\n", true)] {
        let settings = format!("management.rates_mode = none\n{level}");
        let (broker, _client) = busy(&settings).await?;
        let queue = get(&broker, "/queues/%2F/b").await?;
        ensure!(queue["messages"] == 6, "{queue}");
        ensure!(
            queue["message_stats"]["publish"].is_number() == is_shown,
            "{queue}"
        );
        let overview = get(&broker, "/overview").await?;
        ensure!(overview["rates_mode"] == "none");
        ensure!(overview["queue_totals"]["messages"] == 6, "{overview}");
        ensure!(
            overview["message_stats"]["publish"].is_number() == is_shown,
            "{overview}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn statistics_can_be_switched_off() -> anyhow::Result<()> {
    for settings in [
        "management.disable_stats = true\n",
        "management_agent.disable_metrics_collector = true\n",
    ] {
        let (broker, _client) = busy(settings).await?;
        let overview = get(&broker, "/overview").await?;
        ensure!(overview["disable_stats"] == true, "{overview}");
        let totals = json!({"queues": 2, "exchanges": 9, "connections": 1});
        ensure!(overview["object_totals"] == totals, "{overview}");
        ensure!(overview["queue_totals"].is_null(), "{overview}");
        let nodes = get(&broker, "/nodes").await?;
        let node = json!([{"name": "rabbit@localhost", "type": "disc", "running": true, "being_drained": false}]);
        ensure!(nodes == node, "{nodes}");
        let exchange = get(&broker, "/exchanges/%2F/x").await?;
        ensure!(exchange["name"] == "x" && exchange["message_stats"].is_null());
        let queues = get(&broker, "/queues").await?;
        ensure!(
            queues[0]["name"] == "a" && queues[0]["messages"].is_null(),
            "{queues}"
        );
        let queues = get(&broker, "/queues?enable_queue_totals=true").await?;
        ensure!(queues[1]["messages"] == 6, "{queues}");
        let http = Http::new(&broker);
        let consumers = move || http.request("GET", "/consumers", None);
        ensure!(tokio::task::spawn_blocking(consumers).await??.status == 400);
    }
    Ok(())
}

#[tokio::test]
async fn queues_of_a_pattern_are_no_part_of_totals() -> anyhow::Result<()> {
    let settings = "management_agent.filter_aggregated_queue_metrics_pattern = ^b$\n";
    let (broker, _client) = busy(settings).await?;
    let overview = get(&broker, "/overview").await?;
    ensure!(overview["queue_totals"]["messages"] == 0, "{overview}");
    ensure!(get(&broker, "/queues/%2F/b").await?["messages"] == 6);
    Ok(())
}

#[tokio::test]
async fn memory_is_told_by_use() -> anyhow::Result<()> {
    let (broker, mut client) = busy("").await?;
    let last = client.send("", "b", &PERSISTENT, &vec![0; 1_000_000]);
    client.confirmed_until(last).await?;
    // The shards are asked twice a second what they hold.
    let http = Http::new(&broker);
    let memory = tokio::task::spawn_blocking(move || {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let memory = http.get("/nodes/rabbit@localhost/memory")?;
            if memory["memory"]["queue_procs"].as_u64() > Some(1_000_000) {
                return anyhow::Ok(memory["memory"].clone());
            }
            ensure!(Instant::now() < deadline, "{memory}");
            std::thread::yield_now();
        }
    });
    let memory = memory.await??;
    for part in [
        "code",
        "metadata_store",
        "connection_readers",
        "connection_channels",
        "metrics",
    ] {
        ensure!(memory[part].as_u64() > Some(0), "{part}: {memory}");
    }
    let parts = memory.as_object().context("an object")?;
    let sum: u64 = parts.values().filter_map(Value::as_u64).sum();
    ensure!(Some(sum) == memory["total"]["rss"].as_u64(), "{memory}");
    let shares = get(&broker, "/nodes/rabbit@localhost/memory/relative").await?;
    ensure!(shares["memory"]["total"] == 100, "{shares}");
    ensure!(
        shares["memory"]["queue_procs"].as_u64() > Some(0),
        "{shares}"
    );
    Ok(())
}

#[tokio::test]
async fn threads_are_shown_with_what_they_use() -> anyhow::Result<()> {
    let (broker, _client) = busy("").await?;
    let top = get(&broker, "/top/rabbit@localhost?row_count=200").await?;
    ensure!(
        top["node"] == "rabbit@localhost" && top["row_count"] == 200,
        "{top}"
    );
    let threads = top["processes"].as_array().context("a list")?;
    let shard = threads
        .iter()
        .find(|thread| thread["name"]["name"] == "shard-0");
    let shard = shard.context("no shard")?;
    ensure!(shard["reductions"].as_u64() > Some(0), "{shard}");
    ensure!(
        shard["name"]["supertype"] == "connections and queues",
        "{shard}"
    );
    let rates = threads
        .iter()
        .map(|thread| thread["reduction_delta"].as_u64());
    ensure!(rates.is_sorted_by(|a, b| a >= b), "{top}");
    let http = Http::new(&broker);
    let id = shard["pid"].as_str().context("a number")?.to_owned();
    let (one, none, ets) = tokio::task::spawn_blocking(move || {
        let one = http.get(&format!("/process/{id}"))?;
        let none = http.request("GET", "/process/0", None)?.status;
        anyhow::Ok((one, none, http.get("/top/ets/rabbit@localhost")?))
    })
    .await??;
    ensure!(one["name"]["name"] == "shard-0" && none == 404);
    ensure!(ets["ets_tables"] == json!([]), "{ets}");
    Ok(())
}

/// Runs a tool for a broker.
fn run(broker: &Broker, tool: &str, words: &[&str]) -> anyhow::Result<()> {
    let output = broker.tool(tool)?.args(words).output()?;
    ensure!(output.status.success(), "{words:?}: {output:?}");
    Ok(())
}

#[tokio::test]
async fn plugins_are_switched_while_the_node_runs() -> anyhow::Result<()> {
    let (broker, mut client) = busy("").await?;
    let answers = |address| TcpStream::connect(address).is_ok();
    let (api, metrics) = (broker.http_address(), broker.metrics_address());
    ensure!(answers(api) && answers(metrics));
    let top = || Http::new(&broker).request("GET", "/top/rabbit@localhost", None);
    run(&broker, "rabbitmq-plugins", &["disable", "rabbitmq_top"])?;
    ensure!(top()?.status == 404);
    run(&broker, "rabbitmq-plugins", &["enable", "rabbitmq_top"])?;
    ensure!(top()?.status == 200);
    run(
        &broker,
        "rabbitmq-plugins",
        &["disable", "rabbitmq_management"],
    )?;
    until("the API to be gone", || !answers(api)).await?;
    ensure!(answers(metrics));
    run(
        &broker,
        "rabbitmq-plugins",
        &["disable", "rabbitmq_prometheus"],
    )?;
    until("the metrics to be gone", || !answers(metrics)).await?;
    // Connections go on.
    client.declare("a", DURABLE).await?;
    for plugin in ["rabbitmq_management", "rabbitmq_prometheus"] {
        run(&broker, "rabbitmq-plugins", &["enable", plugin])?;
    }
    until("both to be back", || answers(api) && answers(metrics)).await?;
    let of_management = [
        "is_enabled",
        "rabbitmq_management_agent",
        "rabbitmq_web_dispatch",
    ];
    run(&broker, "rabbitmq-plugins", &of_management)
}

#[tokio::test]
async fn the_configuration_in_effect_is_a_term_without_secrets() -> anyhow::Result<()> {
    let settings = "heartbeat = 33\ndefault_pass = swordfish\nmanagement.rates_mode = none\nloopback_users = none\n";
    let broker = Broker::start_with(settings)?;
    let http = Http::new(&broker).login("guest", "swordfish");
    let response =
        tokio::task::spawn_blocking(move || http.request("GET", "/config/effective", None));
    let response = response.await??;
    ensure!(response.status == 200);
    ensure!(response.header("content-type") == Some("text/plain"));
    let text = String::from_utf8(response.body)?;
    for line in [
        "[{",
        "{rabbit,\n     [{",
        "{heartbeat,33}",
        "{rates_mode,none}",
        "{collect_statistics_interval,5000}",
    ] {
        ensure!(text.contains(line), "{line:?} is not in {text}");
    }
    ensure!(text.ends_with("]}]\n"), "{text}");
    ensure!(!text.contains("swordfish"), "{text}");
    Ok(())
}

#[tokio::test]
async fn a_vhost_keeps_what_its_connections_and_exchanges_did() -> anyhow::Result<()> {
    let (broker, client) = busy("").await?;
    let vhost = get(&broker, "/vhosts/%2F").await?;
    // As often as messages were published, and not as often as queues got them.
    let stats = &vhost["message_stats"];
    ensure!(stats["publish"] == 6 && stats["confirm"] == 6, "{vhost}");
    ensure!(stats["deliver_no_ack"] == 5, "{vhost}");
    let connections = get(&broker, "/connections").await?;
    ensure!(
        connections[0]["recv_cnt"].as_u64() > Some(3),
        "{connections}"
    );
    ensure!(
        connections[0]["send_cnt"].as_u64() > Some(3),
        "{connections}"
    );
    ensure!(connections[0]["send_pend"] == 0, "{connections}");
    let received = vhost["recv_oct"].as_u64().context("bytes")?;
    ensure!(received >= connections[0]["recv_oct"].as_u64().context("bytes")?);
    client.close().await?;
    until("the connection is gone", || {
        Http::new(&broker)
            .get("/connections")
            .is_ok_and(|list| list == json!([]))
    })
    .await?;
    let http = Http::new(&broker);
    let vhost = tokio::task::spawn_blocking(move || {
        http.delete("/exchanges/%2F/x")?;
        http.get("/vhosts/%2F")
    });
    let vhost = vhost.await??;
    ensure!(vhost["message_stats"]["publish"] == 6, "{vhost}");
    ensure!(vhost["recv_oct"].as_u64() > Some(received), "{vhost}");
    ensure!(vhost["send_oct"].as_u64() > Some(0), "{vhost}");
    let overview = get(&broker, "/overview").await?;
    ensure!(
        overview["message_stats"]["disk_writes"].as_u64() > Some(0),
        "{overview}"
    );
    Ok(())
}

/// Asks and goes away `after` a moment, as a page does that is left while it refreshes.
fn ask_and_leave(address: SocketAddr, after: Duration) -> anyhow::Result<()> {
    // guest:guest
    let request =
        "GET /api/overview HTTP/1.1\r\nHost: x\r\nAuthorization: Basic Z3Vlc3Q6Z3Vlc3Q=\r\n\r\n";
    let mut connection = TcpStream::connect(address)?;
    connection.write_all(request.as_bytes())?;
    let asked = Instant::now();
    while asked.elapsed() < after {
        std::hint::spin_loop();
    }
    Ok(())
}

#[tokio::test]
async fn whoever_goes_before_the_answer_takes_no_figures_along() -> anyhow::Result<()> {
    const QUEUES: u32 = 200;
    // Nothing but requests asks for figures.
    let broker = Broker::start_with("collect_statistics_interval = 86400000\n")?;
    let mut client = Client::connect(&broker).await?;
    client.confirm_select().await?;
    for number in 0..QUEUES {
        let queue = format!("q{number}");
        client.declare(&queue, DURABLE).await?;
        let last = client.send("", &queue, &PERSISTENT, b"m");
        client.confirmed_until(last).await?;
        ask_and_leave(broker.http_address(), Duration::from_micros(5) * number)?;
    }
    let overview = get(&broker, "/overview").await?;
    ensure!(overview["queue_totals"]["messages"] == QUEUES, "{overview}");
    Ok(())
}
