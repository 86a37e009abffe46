//! The node.

use crate::call::{Call, Outcome};
use crate::directory::Queues;
use crate::error::ApiError;
use crate::json::{Json, Object, object};
use crate::listing::{Columns, Listing};
use crate::statistics::{self, Details, Kind, NodeTotals};
use base::Name;

/// Counters of Erlang's stores; clients look for the keys.
const UNCOUNTED: [&str; 17] = [
    "io_read_avg_time",
    "io_read_bytes",
    "io_read_count",
    "io_reopen_count",
    "io_seek_avg_time",
    "io_seek_count",
    "io_sync_avg_time",
    "io_sync_count",
    "io_write_avg_time",
    "io_write_bytes",
    "io_write_count",
    "mnesia_disk_tx_count",
    "mnesia_ram_tx_count",
    "msg_store_read_count",
    "msg_store_write_count",
    "queue_index_read_count",
    "queue_index_write_count",
];

/// Checks that the path names this node.
///
/// # Errors
/// It names another.
pub(crate) fn expect_node(call: &Call) -> Result<(), ApiError> {
    expect_node_named(call, call.parameter(0))
}

/// Checks that this node has that name.
///
/// # Errors
/// It has not.
pub(crate) fn expect_node_named(call: &Call, name: &Name) -> Result<(), ApiError> {
    if *name == *call.state.node_name() {
        Ok(())
    } else {
        Err(ApiError::NoObject)
    }
}

/// Checks that a request names a node that can take a queue.
///
/// # Errors
/// 400
pub(crate) fn expect_member(call: &Call, name: &str) -> Result<(), ApiError> {
    if name == call.state.node_name() {
        Ok(())
    } else {
        Err(ApiError::bad(format!(
            "Node {name} is not a cluster member"
        )))
    }
}

pub(crate) async fn list(call: Call) -> Outcome {
    let details = Details::new(&call)?;
    let item = if call.without_stats() {
        brief_item(&call)
    } else {
        item(&call, &details).await
    };
    Listing::new(&call.query)?.list(vec![item], |_| "", Clone::clone)
}

pub(crate) async fn one(call: Call) -> Outcome {
    expect_node(&call)?;
    let details = Details::new(&call)?;
    let mut item = if call.without_stats() {
        brief_item(&call)
    } else {
        item(&call, &details).await
    };
    if call.query.is_true("memory") {
        item.push("memory", super::memory::breakdown(&call));
    }
    if call.query.is_true("binary") {
        item.push("binary", contents(&call));
    }
    Ok(Columns::new(&call.query).apply(item).into())
}

/// A node without any figures.
fn brief_item(call: &Call) -> Object {
    object! {
        "name" => call.state.node_name(),
        "type" => "disc",
        "running" => true,
        "being_drained" => call.state.node.is_draining(),
    }
}

async fn item(call: &Call, details: &Details) -> Object {
    let node = &call.state.node;
    let resources = node.resources();
    let settings = node.settings();
    let process = node::ProcessFigures::now();
    let name = call.state.node_name();
    let mut item = object! {
        "partitions" => Json::List(Vec::new()),
        "os_pid" => std::process::id().to_string(),
        "fd_total" => process.open_files_max,
        "sockets_total" => process.open_files_max,
        "mem_limit" => resources.memory_limit_bytes,
        "mem_alarm" => resources.memory_alarm,
        "disk_free_limit" => resources.disk_free_limit_bytes,
        "disk_free_alarm" => resources.disk_alarm,
        "proc_total" => process.threads_max,
        "rates_mode" => settings.statistics.rates.as_str(),
        "uptime" => node.uptime().as_millis(),
        "run_queue" => 0_u64,
        "processors" => std::thread::available_parallelism().map_or(1, usize::from),
        "exchange_types" => super::overview::exchange_types(),
        "auth_mechanisms" => auth_mechanisms(call),
        "applications" => applications(),
        "contexts" => super::overview::contexts(call),
        "log_files" => log_files(call),
        "db_dir" => settings.data_dir.display().to_string(),
        "config_files" => settings
            .config_files
            .iter()
            .map(|path| path.display().to_string())
            .collect::<Vec<String>>(),
        "net_ticktime" => 60_u64,
        "enabled_plugins" => super::plugins::enabled_names(&call.state).unwrap_or_default(),
        "mem_calculation_strategy" => settings.memory_calculation.as_str(),
        "ra_open_file_metrics" => object! { "ra_log_wal" => 0_u64, "ra_log_segment_writer" => 0_u64 },
        "name" => name,
        "type" => "disc",
        "running" => true,
        "being_drained" => node.is_draining(),
        "cluster_links" => Json::List(Vec::new()),
        "metrics_gc_queue_length" => object! {
            "connection_closed" => 0_u64,
            "channel_closed" => 0_u64,
            "consumer_deleted" => 0_u64,
            "exchange_deleted" => 0_u64,
            "queue_deleted" => 0_u64,
            "vhost_deleted" => 0_u64,
            "node_node_deleted" => 0_u64,
            "channel_consumer_deleted" => 0_u64,
        },
    };
    let totals = {
        let queues = Queues::current(&call.state).await;
        NodeTotals::new(&call.state, &queues)
    };
    let series = call.state.statistics.totals();
    item.append(totals.churn(details, Some(&series)));
    item.append(object! {
        "rabbitmq_version" => node::RABBITMQ_VERSION,
        "erlang_version" => "",
        "erlang_full_version" => concat!("WarrenMQ ", env!("CARGO_PKG_VERSION")),
        "crypto_lib_version" => "",
    });
    for key in UNCOUNTED {
        item.push(key, 0_u64);
        item.push(format!("{key}_details"), object! { "rate" => 0.0 });
    }
    let series = call.state.statistics.measured();
    for (key, value) in statistics::measured(&call.state) {
        details.push(&mut item, Kind::Node, key, value, Some(&series));
    }
    item
}

fn auth_mechanisms(call: &Call) -> Vec<Object> {
    let mechanisms = &call.state.node.settings().auth_mechanisms;
    mechanisms
        .iter()
        .map(|mechanism| {
            object! {
                "name" => mechanism.as_str(),
                "description" => format!("SASL {} authentication mechanism", mechanism.as_str()),
                "enabled" => true,
            }
        })
        .collect()
}

/// Where the log goes, in RabbitMQ's words.
pub(crate) fn log_files(call: &Call) -> Vec<String> {
    let log = &call.state.node.settings().log;
    let mut places = Vec::new();
    if log.console.is_on {
        let stream = if log.console.to_stdout {
            "<stdout>"
        } else {
            "<stderr>"
        };
        places.push(stream.to_owned());
    }
    let own = log
        .categories
        .values()
        .filter_map(|category| category.file.as_ref());
    places.extend(
        log.file
            .iter()
            .chain(own)
            .map(|path| path.display().to_string()),
    );
    places
}

fn applications() -> Vec<Object> {
    let application = |name: &'static str, description: &'static str| {
        object! {
            "name" => name,
            "description" => description,
            "version" => node::RABBITMQ_VERSION,
        }
    };
    vec![
        application("rabbit", "RabbitMQ"),
        application("rabbitmq_management", "RabbitMQ Management Console"),
    ]
}

/// What memory of messages' contents belongs to, under the names that clients know.
fn contents(call: &Call) -> Object {
    let resources = call.state.node.resources();
    object! {
        "connection_readers" => 0_u64,
        "connection_writers" => 0_u64,
        "connection_channels" => 0_u64,
        "connection_other" => resources.connection_bytes,
        "stream_queue_procs" => 0_u64,
        "stream_queue_replica_reader_procs" => 0_u64,
        "stream_queue_coordinator_procs" => 0_u64,
        "queue_procs" => resources.queue_bytes,
        "quorum_queue_procs" => 0_u64,
        "quorum_queue_dlx_procs" => 0_u64,
        "metadata_store" => 0_u64,
        "plugins" => 0_u64,
        "mgmt_db" => 0_u64,
        "msg_index" => 0_u64,
        "other" => 0_u64,
    }
}

/// There are no tables of Erlang's.
pub(crate) async fn memory_tables(call: Call) -> Outcome {
    expect_node(&call)?;
    let tables: Json = match call.parameters.get(1) {
        Some(_) => "no_tables".into(),
        None => object! { "total" => 0_u64 }.into(),
    };
    Ok(object! { "ets_tables_memory" => tables }.into())
}
