//! Listings with columns that can be chosen: queues, exchanges, bindings, connections, channels, consumers.
//!
//! Each column is a field of the HTTP API's listing or made of one; the tables here say of which.

use super::Done;
use crate::Failure;
use crate::call::{Call, print};
use crate::output::{Output, Rows};
use crate::term::Term;
use serde_json::Value as Json;

/// How a column comes about.
#[derive(Clone, Copy, Debug)]
enum From {
    /// The field as it is.
    Field(&'static str),
    /// The field as an atom.
    Atom(&'static str),
    /// The field as a process id.
    Pid(&'static str),
    /// An argument table.
    Table(&'static str),
    /// A field of an object in a field.
    Inner(&'static str, &'static str),
    /// The node's name.
    Node,
    /// A list of the node's name.
    Nodes,
    /// The same for replicated queues, else nothing.
    Online,
    /// A policy's definition.
    Map(&'static str),
    /// A share, which RabbitMQ writes as a whole number where there is nothing.
    Share(&'static str),
    /// A number that is not counted here.
    Zero,
    /// Nothing.
    Empty,
    /// `{0,9,1}`
    Protocol,
    /// `exchange`
    Exchange,
}

/// A column and how it comes about.
type Column = (&'static str, From);

impl From {
    /// The field of the listing that it needs.
    fn field(self) -> Option<&'static str> {
        match self {
            Self::Field(field)
            | Self::Atom(field)
            | Self::Pid(field)
            | Self::Table(field)
            | Self::Inner(field, _)
            | Self::Map(field)
            | Self::Share(field) => Some(field),
            Self::Online => Some("type"),
            Self::Protocol => Some("protocol"),
            Self::Node | Self::Nodes | Self::Zero | Self::Empty | Self::Exchange => None,
        }
    }

    fn cell(self, item: &Json, node: &str) -> Term {
        match self {
            Self::Field(field) => Term::from_json(&item[field]),
            Self::Atom(field) => Term::atom(item[field].as_str().unwrap_or_default()),
            Self::Pid(field) => match item[field].as_str() {
                Some(pid) => Term::Pid(pid.to_owned()),
                None => Term::none(),
            },
            Self::Table(field) => Term::table(&item[field]),
            Self::Inner(field, inner) => Term::from_json(&item[field][inner]),
            Self::Node => Term::atom(node),
            Self::Nodes => Term::atoms([node]),
            Self::Online if item["type"] == "classic" => Term::none(),
            Self::Online => Term::atoms([node]),
            Self::Map(field) => {
                let fields = item[field].as_object().into_iter().flatten();
                let pairs = fields.map(|(key, value)| (Term::text(key), Term::from_json(value)));
                Term::Map(pairs.collect())
            }
            Self::Share(field) if item[field].as_f64() == Some(0.0) => Term::int(0),
            Self::Share(field) => Term::from_json(&item[field]),
            Self::Zero => Term::int(0),
            Self::Empty => Term::none(),
            Self::Exchange => Term::atom("exchange"),
            Self::Protocol => protocol(item["protocol"].as_str().unwrap_or_default()),
        }
    }
}

/// `AMQP 0-9-1` as a tuple of its numbers.
fn protocol(name: &str) -> Term {
    let numbers: Option<Vec<Term>> = name
        .strip_prefix("AMQP ")
        .map(|version| version.split('-'))
        .and_then(|parts| {
            parts
                .map(|part| part.parse::<i64>().ok().map(Term::int))
                .collect()
        });
    numbers.map_or_else(|| Term::text(name), Term::Tuple)
}

/// The columns that words of a command line ask for, of those that there are.
///
/// # Errors
/// One does not exist.
pub(super) fn columns(
    words: &[String],
    known: &[&str],
    default: &[&str],
) -> Result<Vec<String>, Failure> {
    let mut asked: Vec<String> = Vec::new();
    let words = words.iter();
    for column in words.flat_map(|value| value.split(',')).map(str::trim) {
        if !column.is_empty() && !asked.iter().any(|own| own == column) {
            asked.push(column.to_owned());
        }
    }
    if asked.is_empty() {
        return Ok(default.iter().map(|column| (*column).to_owned()).collect());
    }
    // Compat: the last one comes first.
    let unknown: Vec<&str> = asked
        .iter()
        .rev()
        .map(String::as_str)
        .filter(|column| !known.contains(column))
        .collect();
    if unknown.is_empty() {
        Ok(asked)
    } else {
        Err(Failure::usage(format!(
            "Info key(s) {} are not supported",
            unknown.join(",")
        )))
    }
}

/// The columns of a listing, by the name of its command.
pub(crate) fn columns_of(command: &str) -> Vec<&'static str> {
    let table = match command {
        "browse_messages" => return super::messages::COLUMNS.to_vec(),
        "list_vhosts" => return super::vhosts::COLUMNS.to_vec(),
        "list_feature_flags" => return super::cluster::FLAG_COLUMNS.to_vec(),
        "list_deprecated_features" => return super::cluster::DEPRECATED_COLUMNS.to_vec(),
        "list_queues" => QUEUES,
        "list_unresponsive_queues" => UNRESPONSIVE,
        "list_exchanges" => EXCHANGES,
        "list_bindings" => BINDINGS,
        "list_connections" => CONNECTIONS,
        "list_channels" => CHANNELS,
        "list_consumers" => CONSUMERS,
        _ => &[],
    };
    table.iter().map(|(name, _)| *name).collect()
}

fn chosen(
    call: &Call,
    table: &'static [Column],
    default: &[&str],
) -> Result<Vec<&'static Column>, Failure> {
    let known: Vec<&str> = table.iter().map(|(name, _)| *name).collect();
    let names = columns(&call.arguments.values, &known, default)?;
    let find = |name: &String| table.iter().find(|(own, _)| *own == name.as_str());
    Ok(names.iter().filter_map(find).collect())
}

/// The parameter of a request that asks for the fields of these columns only.
fn fields(columns: &[&Column]) -> String {
    let fields: Vec<_> = columns
        .iter()
        .filter_map(|(_, from)| from.field())
        .collect();
    // Something has to be there for each row.
    format!("columns=name,{}", fields.join(","))
}

/// A table without rows.
fn no_rows(columns: &[&Column]) -> Output {
    let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
    Output::rows(&names, Vec::new())
}

/// Rows that are printed at once.
const ROWS: usize = 512;

/// Reads a list of the API. What is not there has no items.
fn read_list(call: &mut Call, what: &str, each: &mut dyn FnMut(Json)) -> Result<(), Failure> {
    match call.node.list(&format!("/api/{what}"), each)? {
        Some(answer) if !answer.is_missing() => answer.ok().map(drop),
        Some(_) | None => Ok(()),
    }
}

/// Prints a list of the API as it is read, so that neither side has all of it at once.
fn print_list(call: &mut Call, what: &str, columns: &[&Column]) -> Done {
    let names = columns.iter().map(|(name, _)| (*name).to_owned());
    let with_headers = !call.arguments.is_without_headers();
    let mut table = Rows::new(call.formatter, names.collect(), with_headers);
    let node = call.node.name().to_owned();
    let mut rows: Vec<Vec<Term>> = Vec::with_capacity(ROWS);
    let mut row = |item: Json| {
        let cells = columns.iter().map(|(_, from)| from.cell(&item, &node));
        rows.push(cells.collect());
        if rows.len() == ROWS {
            print(table.add(std::mem::take(&mut rows)).as_bytes());
        }
    };
    read_list(call, &format!("{what}?{}", fields(columns)), &mut row)?;
    call.print(&table.add(rows));
    call.print(&table.end(false));
    Ok(Output::Printed)
}

/// The same of what is in the virtual host.
fn print_in_vhost(call: &mut Call, what: &str, columns: &[&Column]) -> Done {
    let what = format!("{what}/{}", call.vhost_path());
    print_list(call, &what, columns)
}

static QUEUES: &[Column] = &[
    ("arguments", From::Table("arguments")),
    ("auto_delete", From::Field("auto_delete")),
    ("consumer_capacity", From::Share("consumer_capacity")),
    ("consumer_utilisation", From::Share("consumer_utilisation")),
    ("consumers", From::Field("consumers")),
    ("disk_reads", From::Zero),
    ("disk_writes", From::Zero),
    ("durable", From::Field("durable")),
    (
        "effective_policy_definition",
        From::Map("effective_policy_definition"),
    ),
    ("exclusive", From::Field("exclusive")),
    ("exclusive_consumer_pid", From::Empty),
    (
        "exclusive_consumer_tag",
        From::Field("exclusive_consumer_tag"),
    ),
    (
        "head_message_timestamp",
        From::Field("head_message_timestamp"),
    ),
    ("leader", From::Node),
    ("members", From::Nodes),
    ("memory", From::Field("memory")),
    ("message_bytes", From::Field("message_bytes")),
    (
        "message_bytes_persistent",
        From::Field("message_bytes_persistent"),
    ),
    ("message_bytes_ram", From::Field("message_bytes_ram")),
    ("message_bytes_ready", From::Field("message_bytes_ready")),
    (
        "message_bytes_unacknowledged",
        From::Field("message_bytes_unacknowledged"),
    ),
    ("messages", From::Field("messages")),
    ("messages_persistent", From::Field("messages_persistent")),
    ("messages_ram", From::Field("messages_ram")),
    ("messages_ready", From::Field("messages_ready")),
    ("messages_ready_ram", From::Field("messages_ready_ram")),
    (
        "messages_unacknowledged",
        From::Field("messages_unacknowledged"),
    ),
    (
        "messages_unacknowledged_ram",
        From::Field("messages_unacknowledged_ram"),
    ),
    ("name", From::Field("name")),
    ("online", From::Online),
    ("operator_policy", From::Field("operator_policy")),
    ("owner_pid", From::Pid("owner_pid")),
    ("pid", From::Pid("pid")),
    ("policy", From::Field("policy")),
    ("slave_pids", From::Empty),
    ("state", From::Atom("state")),
    ("synchronised_slave_pids", From::Empty),
    ("type", From::Atom("type")),
];

pub(crate) fn list_queues(call: &mut Call) -> Done {
    let columns = chosen(call, QUEUES, &["name", "messages"])?;
    let seconds = call
        .arguments
        .timeout()
        .map_or(60.0, |wait| wait.as_secs_f64());
    call.say(&format!(
        "Timeout: {} seconds ...",
        crate::term::float(seconds)
    ));
    call.say(&format!("Listing queues for vhost {} ...", call.vhost()));
    let down_only = call.arguments.has("offline")
        && !call.arguments.has("online")
        && !call.arguments.has("local");
    if down_only {
        return Ok(no_rows(&columns));
    }
    print_in_vhost(call, "queues", &columns)
}

static UNRESPONSIVE: &[Column] = &[
    ("arguments", From::Table("arguments")),
    ("auto_delete", From::Field("auto_delete")),
    ("durable", From::Field("durable")),
    ("name", From::Field("name")),
    ("pid", From::Pid("pid")),
];

/// Figures of all queues come from their shards; if those answer, all queues do.
pub(crate) fn list_unresponsive_queues(call: &mut Call) -> Done {
    let columns = chosen(call, UNRESPONSIVE, &["name"])?;
    call.say(&format!(
        "Listing unresponsive queues for vhost {} ...",
        call.vhost()
    ));
    let what = format!("queues/{}?columns=messages", call.vhost_path());
    read_list(call, &what, &mut drop)?;
    Ok(no_rows(&columns))
}

static EXCHANGES: &[Column] = &[
    ("arguments", From::Table("arguments")),
    ("auto_delete", From::Field("auto_delete")),
    ("durable", From::Field("durable")),
    ("internal", From::Field("internal")),
    ("name", From::Field("name")),
    ("policy", From::Field("policy")),
    ("type", From::Atom("type")),
    (
        "user_who_performed_action",
        From::Field("user_who_performed_action"),
    ),
];

pub(crate) fn list_exchanges(call: &mut Call) -> Done {
    let columns = chosen(call, EXCHANGES, &["name", "type"])?;
    call.say(&format!("Listing exchanges for vhost {} ...", call.vhost()));
    print_in_vhost(call, "exchanges", &columns)
}

static BINDINGS: &[Column] = &[
    ("source_name", From::Field("source")),
    ("source_kind", From::Exchange),
    ("destination_name", From::Field("destination")),
    ("destination_kind", From::Atom("destination_type")),
    ("routing_key", From::Field("routing_key")),
    ("arguments", From::Table("arguments")),
];

pub(crate) fn list_bindings(call: &mut Call) -> Done {
    let default: Vec<&str> = BINDINGS.iter().map(|(name, _)| *name).collect();
    let columns = chosen(call, BINDINGS, &default)?;
    call.say(&format!("Listing bindings for vhost {}...", call.vhost()));
    print_in_vhost(call, "bindings", &columns)
}

static CONNECTIONS: &[Column] = &[
    ("auth_mechanism", From::Field("auth_mechanism")),
    ("channel_max", From::Field("channel_max")),
    ("channels", From::Field("channels")),
    ("client_properties", From::Table("client_properties")),
    ("connected_at", From::Field("connected_at")),
    ("container_id", From::Empty),
    ("frame_max", From::Field("frame_max")),
    ("host", From::Field("host")),
    ("name", From::Field("name")),
    ("node", From::Node),
    ("peer_cert_issuer", From::Field("peer_cert_issuer")),
    ("peer_cert_serial_number", From::Empty),
    ("peer_cert_subject", From::Field("peer_cert_subject")),
    ("peer_cert_validity", From::Field("peer_cert_validity")),
    ("peer_host", From::Field("peer_host")),
    ("peer_port", From::Field("peer_port")),
    ("pid", From::Pid("pid")),
    ("port", From::Field("port")),
    ("protocol", From::Protocol),
    ("recv_cnt", From::Field("recv_cnt")),
    ("recv_oct", From::Field("recv_oct")),
    ("send_cnt", From::Field("send_cnt")),
    ("send_oct", From::Field("send_oct")),
    ("send_pend", From::Field("send_pend")),
    ("ssl", From::Field("ssl")),
    ("ssl_cipher", From::Field("ssl_cipher")),
    ("ssl_hash", From::Field("ssl_hash")),
    ("ssl_key_exchange", From::Field("ssl_key_exchange")),
    ("ssl_protocol", From::Field("ssl_protocol")),
    ("state", From::Atom("state")),
    ("timeout", From::Field("timeout")),
    ("user", From::Field("user")),
    ("user_provided_name", From::Field("user_provided_name")),
    ("vhost", From::Field("vhost")),
];

pub(crate) fn list_connections(call: &mut Call) -> Done {
    let columns = chosen(
        call,
        CONNECTIONS,
        &["user", "peer_host", "peer_port", "state"],
    )?;
    call.say("Listing connections ...");
    print_list(call, "connections", &columns)
}

static CHANNELS: &[Column] = &[
    ("acks_uncommitted", From::Field("acks_uncommitted")),
    ("confirm", From::Field("confirm")),
    ("connection", From::Pid("connection")),
    ("consumer_count", From::Field("consumer_count")),
    (
        "global_prefetch_count",
        From::Field("global_prefetch_count"),
    ),
    (
        "messages_unacknowledged",
        From::Field("messages_unacknowledged"),
    ),
    ("messages_uncommitted", From::Field("messages_uncommitted")),
    ("messages_unconfirmed", From::Field("messages_unconfirmed")),
    ("name", From::Field("name")),
    ("number", From::Field("number")),
    ("pid", From::Pid("pid")),
    ("prefetch_count", From::Field("prefetch_count")),
    ("transactional", From::Field("transactional")),
    ("user", From::Field("user")),
    ("vhost", From::Field("vhost")),
];

pub(crate) fn list_channels(call: &mut Call) -> Done {
    let default = ["pid", "user", "consumer_count", "messages_unacknowledged"];
    let columns = chosen(call, CHANNELS, &default)?;
    call.say("Listing channels ...");
    print_list(call, "channels", &columns)
}

static CONSUMERS: &[Column] = &[
    ("queue_name", From::Inner("queue", "name")),
    ("channel_pid", From::Pid("channel_pid")),
    ("consumer_tag", From::Field("consumer_tag")),
    ("ack_required", From::Field("ack_required")),
    ("prefetch_count", From::Field("prefetch_count")),
    ("active", From::Field("active")),
    ("activity_status", From::Atom("activity_status")),
    ("arguments", From::Table("arguments")),
];

pub(crate) fn list_consumers(call: &mut Call) -> Done {
    let default: Vec<&str> = CONSUMERS
        .iter()
        .map(|(name, _)| *name)
        .filter(|name| *name != "activity_status")
        .collect();
    // Compat: these are always in the order of the table.
    let mut columns = chosen(call, CONSUMERS, &default)?;
    columns.sort_by_key(|(name, _)| CONSUMERS.iter().position(|(own, _)| own == name));
    call.say(&format!("Listing consumers in vhost {} ...", call.vhost()));
    print_in_vhost(call, "consumers", &columns)
}

/// What can be listed, for expressions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Queues,
    Exchanges,
    Connections,
    Channels,
}

/// The columns of an item; all that there are without a choice. The error is a column that does not exist.
pub(super) fn cells_of(
    kind: Kind,
    item: &Json,
    chosen: Option<&[String]>,
    node: &str,
) -> Result<Vec<(&'static str, Term)>, String> {
    let table = match kind {
        Kind::Queues => QUEUES,
        Kind::Exchanges => EXCHANGES,
        Kind::Connections => CONNECTIONS,
        Kind::Channels => CHANNELS,
    };
    let cell = |(name, from): &Column| (*name, from.cell(item, node));
    match chosen {
        None => Ok(table.iter().map(cell).collect()),
        Some(names) => names
            .iter()
            .map(|wanted| {
                let found = table.iter().find(|(name, _)| name == wanted);
                found.map(cell).ok_or_else(|| wanted.clone())
            })
            .collect(),
    }
}
