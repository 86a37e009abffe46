//! What Prometheus scrapes: names as RabbitMQ has them, values as clients made them.
//!
//! `tests/http/metrics.txt` has the names and kinds of RabbitMQ 4.3.6, by view. Those that say something about Erlang, or about
//! files that are not here, are missing on purpose ([`ABSENT`]).

use anyhow::{Context as _, ensure};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use testkit::client::{DURABLE, PERSISTENT};
use testkit::{Broker, Client, Http};

/// What RabbitMQ tells and we do not: ends of names, or parts that end in an underscore, and why.
const ABSENT: &[(&str, &str)] = &[
    (
        "_raft_",
        "its consensus library; quorum queues have one copy here",
    ),
    ("_process_reductions_total", "Erlang's scheduler"),
    ("_io_", "its file handles"),
    ("_msg_store_", "its message store"),
    ("_queue_index_", "its queue index"),
    ("_schema_db_", "Mnesia"),
    (
        "_queue_messages_ram",
        "counts of messages in memory; the bytes are told",
    ),
    ("_queue_messages_ready_ram", "the same"),
    ("_queue_messages_unacked_ram", "the same"),
    (
        "_queue_head_message_timestamp",
        "the head may be on the disk only",
    ),
    ("_queue_disk_", "its queue index"),
    (
        "_queue_exchange_messages_published_total",
        "not counted by pair",
    ),
    ("_connection_incoming_packets_total", "its socket library"),
    ("_connection_outgoing_packets_total", "the same"),
    ("_connection_pending_packets", "the same"),
    (
        "_global_messages_dead_lettered_confirmed_total",
        "not counted",
    ),
    ("_stream_", "streams"),
    ("_auth_attempts_", "not counted by protocol"),
    ("_unreachable_cluster_peers_count", "clusters"),
];

/// The samples of an answer by name and labels, and the kinds by name.
#[derive(Debug, Default)]
struct Scraped {
    kinds: BTreeMap<String, String>,
    samples: BTreeMap<String, f64>,
}

impl Scraped {
    fn parse(text: &str) -> anyhow::Result<Self> {
        let mut scraped = Self::default();
        let mut current = String::new();
        for line in text.lines() {
            if let Some(head) = line.strip_prefix("# TYPE ") {
                let (name, kind) = head.split_once(' ').context("a kind")?;
                name.clone_into(&mut current);
                let before = scraped.kinds.insert(name.to_owned(), kind.to_owned());
                ensure!(before.is_none(), "{name} is told twice");
            } else if !line.starts_with("# HELP ") {
                ensure!(line.starts_with(&current), "{line} stands behind {current}");
                let (name, value) = line.rsplit_once(' ').context("a value")?;
                let before = scraped.samples.insert(name.to_owned(), value.parse()?);
                ensure!(before.is_none(), "{name} is told twice");
            }
        }
        Ok(scraped)
    }

    fn expect(&self, samples: &[(&str, f64)]) -> anyhow::Result<()> {
        for (name, value) in samples {
            let found = self.samples.get(*name);
            ensure!(
                found == Some(value),
                "{name}: {found:?} instead of {value}\n{:#?}",
                self.samples
            );
        }
        Ok(())
    }
}

async fn scrape(address: SocketAddr, path: &'static str) -> anyhow::Result<Scraped> {
    let get = move || Http::at(address).request_at("GET", path, &[], b"");
    let response = tokio::task::spawn_blocking(get).await??;
    ensure!(response.status == 200, "{path}: {}", response.status);
    Scraped::parse(std::str::from_utf8(&response.body)?)
}

/// A broker in which something happened, and the client that did it.
async fn busy() -> anyhow::Result<(Broker, Client)> {
    let broker = Broker::start()?;
    let http = Http::new(&broker);
    let make = move || {
        http.put(
            "/exchanges/%2F/x",
            json!({"type": "topic", "durable": true}),
        )?;
        http.put(
            "/queues/%2F/quorum",
            json!({"durable": true, "arguments": {"x-queue-type": "quorum"}}),
        )
    };
    tokio::task::spawn_blocking(make).await??;
    let mut client = Client::connect(&broker).await?;
    client.confirm_select().await?;
    client.declare("q", DURABLE).await?;
    for (size, exchange, key) in [
        (10, "", "q"),
        (2000, "", "q"),
        (0, "", "quorum"),
        (1, "x", "nowhere"),
    ] {
        let last = client.send(exchange, key, &PERSISTENT, &vec![0; size]);
        client.confirmed_until(last).await?;
    }
    client.consume("q", false).await?;
    let messages = client.receive(2).await?;
    client.ack_until(messages[0].delivery_tag).await?;
    Ok((broker, client))
}

#[tokio::test]
async fn totals_and_single_objects_are_told() -> anyhow::Result<()> {
    let (broker, mut client) = busy().await?;
    let address = broker.metrics_address();
    // The ack has been handled once this is answered.
    client.declare("q", DURABLE).await?;
    let all = scrape(address, "/metrics").await?;
    all.expect(&[
        ("rabbitmq_queue_messages_ready", 1.0),
        ("rabbitmq_queue_messages_unacked", 1.0),
        ("rabbitmq_queue_messages", 2.0),
        ("rabbitmq_queue_messages_acked_total", 1.0),
        ("rabbitmq_connections", 1.0),
        ("rabbitmq_channels", 1.0),
        ("rabbitmq_consumers", 1.0),
        ("rabbitmq_queues", 2.0),
        ("rabbitmq_queues_created_total", 2.0),
        ("rabbitmq_alarms_memory_used_watermark", 0.0),
        ("rabbitmq_global_publishers{protocol=\"amqp091\"}", 1.0),
        ("rabbitmq_global_messages_received_total{protocol=\"amqp091\"}", 4.0),
        ("rabbitmq_global_messages_received_confirm_total{protocol=\"amqp091\"}", 4.0),
        ("rabbitmq_global_messages_routed_total{protocol=\"amqp091\"}", 3.0),
        ("rabbitmq_global_messages_confirmed_total{protocol=\"amqp091\"}", 4.0),
        ("rabbitmq_global_messages_unroutable_dropped_total{protocol=\"amqp091\"}", 1.0),
        ("rabbitmq_global_messages_acknowledged_total{protocol=\"amqp091\",queue_type=\"rabbit_classic_queue\"}", 1.0),
        ("rabbitmq_global_messages_delivered_total{protocol=\"amqp091\",queue_type=\"rabbit_classic_queue\"}", 2.0),
        ("rabbitmq_message_size_bytes_bucket{protocol=\"amqp091\",le=\"100\"}", 3.0),
        ("rabbitmq_message_size_bytes_bucket{protocol=\"amqp091\",le=\"+Inf\"}", 4.0),
        ("rabbitmq_message_size_bytes_sum{protocol=\"amqp091\"}", 2011.0),
        ("rabbitmq_publish_confirm_duration_seconds_count{protocol=\"amqp091\"}", 4.0),
        ("rabbitmq_enqueue_ack_duration_seconds_count{protocol=\"amqp091\"}", 1.0),
    ])?;
    let each = scrape(address, "/metrics/per-object").await?;
    each.expect(&[
        ("rabbitmq_queue_messages_unacked{vhost=\"/\",queue=\"q\"}", 1.0),
        ("rabbitmq_queue_messages_ready{vhost=\"/\",queue=\"quorum\"}", 1.0),
        ("rabbitmq_exchange_messages_published_total{vhost=\"/\",exchange=\"x\"}", 1.0),
        ("rabbitmq_exchange_messages_unroutable_dropped_total{vhost=\"/\",exchange=\"x\"}", 1.0),
        ("rabbitmq_exchange_messages_confirmed_total{vhost=\"/\",exchange=\"\"}", 3.0),
        ("rabbitmq_queue_info{vhost=\"/\",queue=\"quorum\",queue_type=\"rabbit_quorum_queue\",membership=\"leader\"}", 1.0),
    ])?;
    let some = scrape(
        address,
        "/metrics/detailed?family=queue_coarse_metrics&family=exchange_bindings&vhost=%2F",
    )
    .await?;
    some.expect(&[
        (
            "rabbitmq_detailed_queue_messages{vhost=\"/\",queue=\"q\"}",
            1.0,
        ),
        (
            "rabbitmq_cluster_exchange_bindings{vhost=\"/\",exchange=\"x\",type=\"topic\"}",
            0.0,
        ),
    ])?;
    ensure!(some.samples.keys().all(|name| !name.contains("channel")));
    let other = scrape(
        address,
        "/metrics/detailed?family=queue_coarse_metrics&vhost=none",
    )
    .await?;
    ensure!(other.samples.keys().all(|name| !name.contains("queue")));
    let memory = scrape(address, "/metrics/memory-breakdown").await?;
    ensure!(memory.samples["rabbitmq_memory_rss_bytes"] > 1e6);
    // What a queue did is not forgotten with it.
    let http = Http::new(&broker);
    tokio::task::spawn_blocking(move || http.delete("/queues/%2F/q")).await??;
    let all = scrape(address, "/metrics").await?;
    all.expect(&[
        ("rabbitmq_queue_messages_acked_total", 1.0),
        ("rabbitmq_queues_deleted_total", 1.0),
    ])
}

#[tokio::test]
async fn the_names_are_rabbitmqs() -> anyhow::Result<()> {
    let (broker, _client) = busy().await?;
    let views = [
        ("aggregated", "/metrics"),
        ("per-object", "/metrics/per-object"),
        (
            "detailed",
            "/metrics/detailed?family=queue_coarse_metrics&family=queue_metrics&family=queue_consumer_count\
             &family=queue_delivery_metrics&family=channel_metrics&family=channel_exchange_metrics\
             &family=channel_queue_metrics&family=connection_coarse_metrics&family=connection_metrics\
             &family=connection_churn_metrics&family=vhost_status&family=exchange_names&family=exchange_bindings\
             &family=exchange_metrics&family=node_coarse_metrics&family=node_metrics",
        ),
    ];
    let recorded = include_str!("../../../tests/http/metrics.txt");
    let mut used = BTreeSet::new();
    for (view, path) in views {
        let scraped = scrape(broker.metrics_address(), path).await?;
        for line in recorded.lines() {
            let [of, name, kind] = line.split(' ').collect::<Vec<_>>()[..] else {
                anyhow::bail!("not three words: {line}");
            };
            let absent = ABSENT.iter().find(|(part, _)| {
                name.ends_with(part) || part.ends_with('_') && name.contains(part)
            });
            if of != view {
                continue;
            }
            match (scraped.kinds.get(name), absent) {
                (Some(own), None) => ensure!(own == kind, "{view} {name} is a {own}"),
                (None, Some((part, _))) => {
                    used.insert(*part);
                }
                (Some(_), Some(_)) => anyhow::bail!("{view} {name} is no longer absent"),
                // RabbitMQ tells that one by channel, exchange and queue there.
                (None, None) => ensure!(
                    name.ends_with("_queue_messages_published_total"),
                    "{view} {name} is missing"
                ),
            }
        }
    }
    let unused: Vec<_> = ABSENT
        .iter()
        .filter(|(part, _)| !used.contains(part))
        .collect();
    ensure!(unused.is_empty(), "not recorded at all: {unused:?}");
    Ok(())
}

/// What the queries of the Grafana dashboard "RabbitMQ-Overview" of RabbitMQ 4.3 read.
const OVERVIEW_DASHBOARD: &[&str] = &[
    "build_info",
    "channels",
    "channels_closed_total",
    "channels_opened_total",
    "connections",
    "connections_closed_total",
    "connections_opened_total",
    "disk_space_available_bytes",
    "disk_space_available_limit_bytes",
    "erlang_uptime_seconds",
    "global_consumers",
    "global_messages_acknowledged_total",
    "global_messages_confirmed_total",
    "global_messages_delivered_consume_auto_ack_total",
    "global_messages_delivered_consume_manual_ack_total",
    "global_messages_delivered_get_auto_ack_total",
    "global_messages_delivered_get_manual_ack_total",
    "global_messages_delivered_total",
    "global_messages_get_empty_total",
    "global_messages_received_confirm_total",
    "global_messages_received_total",
    "global_messages_redelivered_total",
    "global_messages_routed_total",
    "global_messages_unroutable_dropped_total",
    "global_messages_unroutable_returned_total",
    "global_publishers",
    "identity_info",
    "message_size_bytes",
    "process_max_fds",
    "process_open_fds",
    "process_resident_memory_bytes",
    "queue_messages_ready",
    "queue_messages_unacked",
    "queues",
    "queues_created_total",
    "queues_declared_total",
    "queues_deleted_total",
    "resident_memory_limit_bytes",
];

#[tokio::test]
async fn the_overview_dashboard_finds_all_that_it_reads() -> anyhow::Result<()> {
    let (broker, _client) = busy().await?;
    for (endpoint, path) in [
        ("aggregated", "/metrics"),
        ("per-object", "/metrics/per-object"),
    ] {
        let scraped = scrape(broker.metrics_address(), path).await?;
        for name in OVERVIEW_DASHBOARD {
            let name = format!("rabbitmq_{name}");
            ensure!(scraped.kinds.contains_key(&name), "{path}: {name}");
        }
        // All else is joined to these by their labels, so each must be there once.
        for (name, labels) in [
            (
                "identity_info",
                &["rabbitmq_node", "rabbitmq_cluster", "rabbitmq_endpoint"][..],
            ),
            ("build_info", &["rabbitmq_version", "erlang_version"]),
        ] {
            let start = format!("rabbitmq_{name}{{");
            let mut samples = scraped.samples.keys().filter(|key| key.starts_with(&start));
            let (sample, more) = (samples.next().context(name)?, samples.next());
            ensure!(more.is_none(), "{more:?}");
            for label in labels {
                ensure!(
                    sample.contains(&format!("{label}=\"")),
                    "{label} of {sample}"
                );
            }
        }
        let identity = format!("rabbitmq_endpoint=\"{endpoint}\"");
        ensure!(
            scraped.samples.keys().any(|key| key.contains(&identity)),
            "{identity}"
        );
        for le in [
            "100",
            "1000",
            "10000",
            "100000",
            "1000000",
            "10000000",
            "50000000",
            "100000000",
            "+Inf",
        ] {
            let bucket =
                format!("rabbitmq_message_size_bytes_bucket{{protocol=\"amqp091\",le=\"{le}\"}}");
            ensure!(scraped.samples.contains_key(&bucket), "{bucket}");
        }
        let uptime = scraped.samples["rabbitmq_erlang_uptime_seconds"];
        ensure!(uptime > 0.0 && uptime < 3600.0, "{uptime}");
    }
    Ok(())
}

#[tokio::test]
async fn only_those_who_may_monitor_are_answered_if_so_configured() -> anyhow::Result<()> {
    let broker = Broker::start_with("prometheus.authentication.enabled = true\n")?;
    let address = broker.metrics_address();
    let ask = move |password: Option<&str>, path: &str| {
        let mut http = Http::at(address);
        if let Some(password) = password {
            http = http.login("guest", password);
        }
        http.request_at("GET", path, &[], b"")
            .map(|response| response.status)
    };
    let check = move || {
        ensure!(ask(None, "/metrics")? == 401);
        ensure!(ask(Some("wrong"), "/metrics")? == 401);
        ensure!(ask(Some("guest"), "/metrics")? == 200);
        ensure!(ask(Some("guest"), "/metrics/unknown")? == 404);
        Ok(())
    };
    tokio::task::spawn_blocking(check).await?
}
