//! What only the operator on this host may ask, over the control socket: figures of the node under the names of `rabbitmqctl
//! status`, and acts for which nobody's permissions are asked.

use crate::access;
use crate::call::{Answer, Call, Fields as _, Outcome};
use crate::error::ApiError;
use crate::json::{Json, Object, object};
use crate::resources::{nodes, overview, queues};
use base::ConnectionId;
use broker::value::{Arguments, Value};
use node::config::{DiskFreeLimit, MemoryHighWatermark};
use node::{DeleteConditions, ProcessFigures};
use std::net::SocketAddr;

impl Call {
    /// An argument table: with the types of its values for an operator, whose tools print them, else as a plain object.
    pub(crate) fn arguments(&self, arguments: &Arguments) -> Json {
        if self.is_operator() {
            typed_table(arguments)
        } else {
            Json::from(arguments)
        }
    }

    /// The process id that the operator's tools show of a connection (channel 0) or channel. There are no such processes; it names
    /// the connection.
    pub(crate) fn pid(&self, connection: ConnectionId, channel: u16) -> String {
        pid(&self.state.node_name(), connection, channel)
    }
}

/// Bits of a channel number in the last part of a process id.
const CHANNEL_BITS: u32 = 16;

fn pid(node: &str, connection: ConnectionId, channel: u16) -> String {
    let place = u32::from(connection.shard.0) << CHANNEL_BITS | u32::from(channel);
    let process = std::process::id();
    format!("<{node}.{process}.{}.{place}>", connection.serial)
}

/// The connection that a process id names.
fn connection_of(pid: &str) -> Option<ConnectionId> {
    let inner = pid.strip_prefix('<')?.strip_suffix('>')?;
    let (rest, place) = inner.rsplit_once('.')?;
    let (rest, serial) = rest.rsplit_once('.')?;
    let (_, process) = rest.rsplit_once('.')?;
    let place: u32 = place.parse().ok()?;
    let shard = u16::try_from(place >> CHANNEL_BITS).ok()?;
    (process.parse() == Ok(std::process::id())).then_some(ConnectionId {
        shard: base::ShardId(shard),
        serial: serial.parse().ok()?,
    })
}

/// Rows of name, type and value. As deep as the table, which whoever made it has limited.
fn typed_table(arguments: &Arguments) -> Json {
    let rows = arguments.iter().map(|(key, value)| {
        Json::List(vec![
            key.to_owned().into(),
            value.type_name().into(),
            typed(value),
        ])
    });
    Json::List(rows.collect())
}

fn typed(value: &Value) -> Json {
    match value {
        Value::Table(table) => typed_table(table),
        Value::Array(values) => Json::List(
            values
                .iter()
                .map(|value| Json::List(vec![value.type_name().into(), typed(value)]))
                .collect(),
        ),
        Value::Bool(_)
        | Value::Int(..)
        | Value::Float(_)
        | Value::Double(_)
        | Value::Decimal(..)
        | Value::LongStr(_)
        | Value::Timestamp(_)
        | Value::Void
        | Value::Binary(_) => Json::from(value),
    }
}

pub(crate) async fn status(call: Call) -> Outcome {
    let node = &call.state.node;
    let settings = node.settings();
    let labels = &settings.labels;
    let resources = node.resources();
    let process = ProcessFigures::now();
    let connections = node.connection_count();
    let vhosts = call.metadata.vhosts();
    let queues: usize = vhosts.map(|vhost| vhost.queue_count()).sum();
    let setting = match node.watermarks().memory {
        MemoryHighWatermark::Relative(share) => object! { "relative" => share },
        MemoryHighWatermark::Absolute(bytes) => object! { "absolute" => bytes },
    };
    Ok(object! {
        "node" => call.state.node_name(),
        "pid" => std::process::id(),
        "os" => "Linux",
        "uptime" => node.uptime().as_secs(),
        "is_under_maintenance" => node.is_draining(),
        "rabbitmq_version" => node::RABBITMQ_VERSION,
        "product_name" => labels.product_name.clone().unwrap_or_else(|| "WarrenMQ".to_owned()),
        "product_version" => labels.product_version.clone().unwrap_or_else(|| env!("CARGO_PKG_VERSION").to_owned()),
        "erlang_version" => concat!("none: WarrenMQ ", env!("CARGO_PKG_VERSION")),
        "crypto_lib_version" => "",
        "processes" => object! { "used" => process.threads, "limit" => process.threads_max },
        "run_queue" => 0_u64,
        "net_ticktime" => 60_u64,
        "enabled_plugin_file" => super::plugins::file(&call.state).display().to_string(),
        "active_plugins" => super::plugins::running(&call.state),
        "data_directory" => settings.data_dir.display().to_string(),
        "raft_data_directory" => settings.data_dir.display().to_string(),
        "config_files" => settings
            .config_files
            .iter()
            .map(|path| path.display().to_string())
            .collect::<Vec<String>>(),
        "log_files" => nodes::log_files(&call),
        "alarms" => alarms(&call),
        "tags" => labels
            .node_tags
            .iter()
            .map(|(tag, value)| format!("{tag}: {value}"))
            .collect::<Vec<String>>(),
        "memory" => super::memory::breakdown(&call),
        "vm_memory_calculation_strategy" => settings.memory_calculation.as_str(),
        "vm_memory_high_watermark_setting" => setting,
        "vm_memory_high_watermark_limit" => resources.memory_limit_bytes,
        "file_descriptors" => object! {
            "total_used" => process.open_files,
            "total_limit" => process.open_files_max,
        },
        "disk_free_limit" => resources.disk_free_limit_bytes,
        "disk_free" => resources.disk_free_bytes,
        "totals" => object! {
            "connection_count" => connections,
            "queue_count" => queues,
            "virtual_host_count" => call.metadata.vhosts().count(),
        },
        "listeners" => listeners(&call),
        "cluster_name" => overview::cluster_name_of(&call),
        "processors" => std::thread::available_parallelism().map_or(1, usize::from),
        "heartbeat" => settings.heartbeat_s,
    }
    .into())
}

/// The alarms that are raised, in RabbitMQ's words.
fn alarms(call: &Call) -> Vec<Object> {
    let resources = call.state.node.resources();
    let raised = [
        (resources.memory_alarm, "memory"),
        (resources.disk_alarm, "disk"),
    ];
    raised
        .into_iter()
        .filter(|(raised, _)| *raised)
        .map(|(_, resource)| object! { "resource" => resource, "node" => call.state.node_name() })
        .collect()
}

fn listeners(call: &Call) -> Vec<Object> {
    let node = call.state.node_name();
    overview::listeners(call)
        .into_iter()
        .map(|(protocol, address)| {
            object! {
                "node" => node.clone(),
                "interface" => interface(address),
                "port" => address.port(),
                "protocol" => protocol,
                "purpose" => purpose(protocol),
            }
        })
        .collect()
}

fn interface(address: SocketAddr) -> String {
    if address.ip().is_ipv6() {
        format!("[{}]", address.ip())
    } else {
        address.ip().to_string()
    }
}

fn purpose(protocol: &str) -> &'static str {
    match protocol {
        "amqp" => "AMQP 0-9-1",
        "amqp/ssl" => "AMQP 0-9-1 over TLS",
        "http" => "HTTP API",
        "https" => "HTTP API over TLS",
        _ => "",
    }
}

/// Whether a user could log in with a password, from this machine.
pub(crate) async fn authenticate_user(call: Call) -> Outcome {
    let body = call.body()?;
    let (user, password) = (body.require_text("user")?, body.require_text("password")?);
    let here = call.caller.peer().ip();
    match access::check_password(&call.state, user, password.as_bytes(), here, true).await {
        Ok(_) => Ok(object! { "ok" => true }.into()),
        Err(failure) => Err(ApiError::BadRequest(failure.into())),
    }
}

/// Says where alarms begin: `memory` and `disk`, each a number of bytes (`absolute`) or a share of the machine's memory (`relative`).
pub(crate) async fn watermarks(call: Call) -> Outcome {
    let body = call.body()?;
    let mut watermarks = call.state.node.watermarks();
    if let Some(memory) = body.get("memory") {
        watermarks.memory = match limit(memory)? {
            Limit::Absolute(bytes) => MemoryHighWatermark::Absolute(bytes),
            Limit::Relative(share) => MemoryHighWatermark::Relative(share),
        };
    }
    if let Some(disk) = body.get("disk") {
        watermarks.disk = match limit(disk)? {
            Limit::Absolute(bytes) => DiskFreeLimit::Absolute(bytes),
            Limit::Relative(share) => DiskFreeLimit::Relative(share),
        };
    }
    call.state.node.set_watermarks(watermarks);
    Ok(Answer::NoContent)
}

/// A limit as requests write it.
enum Limit {
    Absolute(u64),
    Relative(f64),
}

fn limit(value: &serde_json::Value) -> Result<Limit, ApiError> {
    let absolute = value.get("absolute").and_then(serde_json::Value::as_u64);
    let relative = value.get("relative").and_then(serde_json::Value::as_f64);
    match (absolute, relative) {
        (Some(bytes), None) => Ok(Limit::Absolute(bytes)),
        (None, Some(share)) if share >= 0.0 => Ok(Limit::Relative(share)),
        _ => Err(ApiError::bad("a limit is absolute or relative")),
    }
}

pub(crate) async fn purge(call: Call) -> Outcome {
    let queue = queues::expect_queue(&call)?.queue;
    let count = call.state.node.purge(queue).await?;
    Ok(object! { "messages" => count }.into())
}

pub(crate) async fn delete(call: Call) -> Outcome {
    let queue = queues::expect_queue(&call)?.queue;
    let conditions = DeleteConditions {
        if_unused: call.query.is_true("if-unused"),
        if_empty: call.query.is_true("if-empty"),
    };
    let count = call.state.node.delete_queue(queue, conditions).await?;
    Ok(object! { "messages" => count }.into())
}

/// Closes the connection with a process id, if there is one.
pub(crate) async fn close_connection(call: Call) -> Outcome {
    let body = call.body()?;
    let pid = body.require_text("pid")?;
    let connection =
        connection_of(pid).ok_or_else(|| ApiError::bad("no such connection process"))?;
    let reason = body.require_text("reason")?.to_owned();
    let closed = call.state.node.close_connection(connection, reason).await;
    Ok(Answer::from(object! { "closed" => closed }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::ShardId;

    #[test]
    fn a_process_id_names_its_connection() {
        let connection = ConnectionId {
            shard: ShardId(3),
            serial: 77,
        };
        for channel in [0, 1, u16::MAX] {
            let pid = pid("rabbit@my.host", connection, channel);
            assert_eq!(connection_of(&pid), Some(connection), "{pid}");
        }
        for pid in ["", "<>", "<a.1.2.3>", "<0.1.0>", "1.2.3"] {
            assert_eq!(connection_of(pid), None, "{pid}");
        }
    }
}
