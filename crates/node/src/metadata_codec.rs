//! Metadata commands and snapshots as bytes: what the log keeps and, later, what replicas exchange.
//!
//! Protocol-buffer messages (so that a newer node's extra fields are skipped), written by derive, never shared with the domain
//! types. Field numbers are for ever; a removed one is not used again. The first octet is the format version.

use base::{ConnectionId, Name, QueueId};
use broker::command::{Destination, HashAlgorithm, MetadataCommand, PasswordHash};
use broker::json::Json;
use broker::limits::{PublishRates, UserLimits, VhostLimits};
use broker::metadata::Snapshot;
use broker::policy::{Policy, PolicyScope};
use broker::value::{Arguments, IntKind, Value};
use broker::vhost_metadata::{VhostChanges, VhostMetadata};
use bytes::Bytes;
use prost::{Message, Oneof};
use std::sync::Arc;
use thiserror::Error;

const VERSION: u8 = 1;

/// Bytes that are not a metadata record of this version.
#[derive(Debug, Error)]
pub(crate) enum MetadataDecodeError {
    #[error("metadata record has format version {0}, this node reads version {VERSION}")]
    Version(u8),
    #[error("metadata record is empty")]
    Empty,
    #[error("metadata record does not parse: {0}")]
    Malformed(#[from] prost::DecodeError),
    #[error("metadata record lacks its {0}")]
    Missing(&'static str),
    #[error("metadata record holds a value that is not JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error("metadata record holds a policy that does not read: {0}")]
    Policy(#[from] broker::Error),
}

#[derive(Clone, PartialEq, Message)]
struct ValueRecord {
    #[prost(oneof = "ValueKind", tags = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11")]
    kind: Option<ValueKind>,
}

#[derive(Clone, PartialEq, Oneof)]
enum ValueKind {
    #[prost(bool, tag = "1")]
    Bool(bool),
    #[prost(message, tag = "2")]
    Int(IntRecord),
    #[prost(float, tag = "3")]
    Float(f32),
    #[prost(double, tag = "4")]
    Double(f64),
    #[prost(message, tag = "5")]
    Decimal(DecimalRecord),
    #[prost(bytes = "bytes", tag = "6")]
    LongStr(Bytes),
    #[prost(message, tag = "7")]
    Array(ArrayRecord),
    #[prost(uint64, tag = "8")]
    Timestamp(u64),
    #[prost(message, tag = "9")]
    Table(TableRecord),
    #[prost(bool, tag = "10")]
    Void(bool),
    #[prost(bytes = "bytes", tag = "11")]
    Binary(Bytes),
}

#[derive(Clone, PartialEq, Message)]
struct IntRecord {
    /// The AMQP type letter.
    #[prost(uint32, tag = "1")]
    kind: u32,
    #[prost(sint64, tag = "2")]
    value: i64,
}

#[derive(Clone, PartialEq, Message)]
struct DecimalRecord {
    #[prost(uint32, tag = "1")]
    scale: u32,
    #[prost(uint32, tag = "2")]
    unscaled: u32,
}

#[derive(Clone, PartialEq, Message)]
struct ArrayRecord {
    #[prost(message, repeated, tag = "1")]
    values: Vec<ValueRecord>,
}

#[derive(Clone, PartialEq, Message)]
struct TableRecord {
    #[prost(message, repeated, tag = "1")]
    entries: Vec<EntryRecord>,
}

#[derive(Clone, PartialEq, Message)]
struct EntryRecord {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, optional, tag = "2")]
    value: Option<ValueRecord>,
}

#[derive(Clone, PartialEq, Message)]
struct CommandRecord {
    #[prost(
        oneof = "CommandKind",
        tags = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 40"
    )]
    kind: Option<CommandKind>,
}

#[derive(Clone, PartialEq, Message)]
struct SnapshotRecord {
    #[prost(uint64, tag = "1")]
    next_queue_id: u64,
    #[prost(message, repeated, tag = "2")]
    commands: Vec<CommandRecord>,
}

#[derive(Clone, PartialEq, Oneof)]
enum CommandKind {
    #[prost(message, tag = "1")]
    CreateVhost(CreateVhostRecord),
    #[prost(message, tag = "2")]
    DeleteVhost(NameRecord),
    #[prost(message, tag = "3")]
    DeclareExchange(ExchangeRecord),
    #[prost(message, tag = "4")]
    DeleteExchange(DeleteExchangeRecord),
    #[prost(message, tag = "5")]
    DeclareQueue(QueueRecord),
    #[prost(uint64, tag = "6")]
    DeleteQueue(u64),
    #[prost(message, tag = "7")]
    DeleteExclusiveQueues(ConnectionRecord),
    #[prost(message, tag = "8")]
    Bind(BindingRecord),
    #[prost(message, tag = "9")]
    Unbind(BindingRecord),
    #[prost(message, tag = "10")]
    PutUser(UserRecord),
    #[prost(message, tag = "11")]
    DeleteUser(NameRecord),
    #[prost(message, tag = "12")]
    SetPermissions(PermissionRecord),
    #[prost(message, tag = "13")]
    ClearPermissions(PermissionRecord),
    #[prost(message, tag = "14")]
    SetTopicPermissions(TopicPermissionRecord),
    #[prost(message, tag = "15")]
    ClearTopicPermissions(TopicPermissionRecord),
    #[prost(message, tag = "16")]
    UpdateVhost(UpdateVhostRecord),
    #[prost(message, tag = "17")]
    PutPolicy(PolicyRecord),
    #[prost(message, tag = "18")]
    DeletePolicy(PolicyRecord),
    #[prost(message, tag = "19")]
    PutParameter(ParameterRecord),
    #[prost(message, tag = "20")]
    DeleteParameter(ParameterRecord),
    #[prost(message, tag = "21")]
    PutGlobalParameter(ParameterRecord),
    #[prost(message, tag = "22")]
    DeleteGlobalParameter(ParameterRecord),
    #[prost(message, tag = "23")]
    SetVhostLimits(LimitsRecord),
    #[prost(message, tag = "24")]
    SetUserLimits(LimitsRecord),
    #[prost(message, tag = "25")]
    SetQueuePaused(QueuePausedRecord),
    #[prost(message, tag = "40")]
    CreateSystemExchange(SystemExchangeRecord),
}

#[derive(Clone, PartialEq, Message)]
struct CreateVhostRecord {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    description: String,
    #[prost(string, repeated, tag = "3")]
    tags: Vec<String>,
    /// Absent: the node's default.
    #[prost(string, optional, tag = "4")]
    default_queue_type: Option<String>,
    #[prost(bool, tag = "5")]
    protected_from_deletion: bool,
    #[prost(bool, tag = "6")]
    tracing: bool,
}

/// What is absent does not change.
#[derive(Clone, PartialEq, Message)]
struct UpdateVhostRecord {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, optional, tag = "2")]
    description: Option<String>,
    #[prost(message, optional, tag = "3")]
    tags: Option<TagsRecord>,
    /// Empty: the node's default.
    #[prost(string, optional, tag = "4")]
    default_queue_type: Option<String>,
    #[prost(bool, optional, tag = "5")]
    protected_from_deletion: Option<bool>,
    #[prost(bool, optional, tag = "6")]
    tracing: Option<bool>,
}

#[derive(Clone, PartialEq, Message)]
struct TagsRecord {
    #[prost(string, repeated, tag = "1")]
    tags: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
struct PolicyRecord {
    #[prost(string, tag = "1")]
    vhost: String,
    #[prost(bool, tag = "2")]
    is_operator: bool,
    #[prost(string, tag = "3")]
    name: String,
    /// Pattern, priority, apply-to and definition in JSON; empty in a deletion.
    #[prost(bytes = "bytes", tag = "4")]
    json: Bytes,
}

#[derive(Clone, PartialEq, Message)]
struct ParameterRecord {
    /// Empty for a global parameter.
    #[prost(string, tag = "1")]
    vhost: String,
    /// Empty for a global parameter.
    #[prost(string, tag = "2")]
    component: String,
    #[prost(string, tag = "3")]
    name: String,
    /// The value in JSON; empty in a deletion.
    #[prost(bytes = "bytes", tag = "4")]
    json: Bytes,
}

#[derive(Clone, PartialEq, Message)]
struct LimitsRecord {
    /// A vhost or a user.
    #[prost(string, tag = "1")]
    name: String,
    #[prost(int64, optional, tag = "2")]
    max_connections: Option<i64>,
    /// Of a vhost.
    #[prost(int64, optional, tag = "3")]
    max_queues: Option<i64>,
    /// Of a user.
    #[prost(int64, optional, tag = "4")]
    max_channels: Option<i64>,
    #[prost(int64, optional, tag = "5")]
    publish_rate: Option<i64>,
    #[prost(int64, optional, tag = "6")]
    publish_bytes_rate: Option<i64>,
    #[prost(int64, optional, tag = "7")]
    connection_publish_rate: Option<i64>,
    #[prost(int64, optional, tag = "8")]
    connection_publish_bytes_rate: Option<i64>,
}

impl LimitsRecord {
    fn of(name: &Name, rates: PublishRates) -> Self {
        Self {
            name: name.to_string(),
            publish_rate: rates.messages,
            publish_bytes_rate: rates.bytes,
            connection_publish_rate: rates.connection_messages,
            connection_publish_bytes_rate: rates.connection_bytes,
            ..Self::default()
        }
    }

    fn rates(&self) -> PublishRates {
        PublishRates {
            messages: self.publish_rate,
            bytes: self.publish_bytes_rate,
            connection_messages: self.connection_publish_rate,
            connection_bytes: self.connection_publish_bytes_rate,
        }
    }
}

#[derive(Clone, PartialEq, Message)]
struct NameRecord {
    #[prost(string, tag = "1")]
    name: String,
}

#[derive(Clone, PartialEq, Message)]
struct ConnectionRecord {
    #[prost(uint32, tag = "1")]
    shard: u32,
    #[prost(uint64, tag = "2")]
    serial: u64,
}

#[derive(Clone, PartialEq, Message)]
struct ExchangeRecord {
    #[prost(string, tag = "1")]
    vhost: String,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(string, tag = "3")]
    exchange_type: String,
    #[prost(bool, tag = "4")]
    durable: bool,
    #[prost(bool, tag = "5")]
    auto_delete: bool,
    #[prost(bool, tag = "6")]
    internal: bool,
    #[prost(message, optional, tag = "7")]
    arguments: Option<TableRecord>,
    #[prost(uint64, optional, tag = "8")]
    history: Option<u64>,
}

#[derive(Clone, PartialEq, Message)]
struct DeleteExchangeRecord {
    #[prost(string, tag = "1")]
    vhost: String,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(bool, tag = "3")]
    if_unused: bool,
}

#[derive(Clone, PartialEq, Message)]
struct QueuePausedRecord {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(bool, tag = "2")]
    paused: bool,
}

#[derive(Clone, PartialEq, Message)]
struct SystemExchangeRecord {
    #[prost(string, tag = "1")]
    vhost: String,
    #[prost(string, tag = "2")]
    name: String,
}

#[derive(Clone, PartialEq, Message)]
struct QueueRecord {
    #[prost(string, tag = "1")]
    vhost: String,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(bool, tag = "3")]
    durable: bool,
    #[prost(message, optional, tag = "4")]
    exclusive_owner: Option<ConnectionRecord>,
    #[prost(bool, tag = "5")]
    auto_delete: bool,
    #[prost(message, optional, tag = "6")]
    arguments: Option<TableRecord>,
    #[prost(string, tag = "7")]
    user: String,
    #[prost(uint32, tag = "8")]
    home: u32,
    /// The incarnation, from 1; 0 in a request.
    #[prost(uint64, tag = "9")]
    id: u64,
    #[prost(bool, tag = "10")]
    server_named: bool,
}

#[derive(Clone, PartialEq, Message)]
struct BindingRecord {
    #[prost(string, tag = "1")]
    vhost: String,
    #[prost(string, tag = "2")]
    source: String,
    #[prost(string, tag = "3")]
    destination: String,
    #[prost(bool, tag = "4")]
    to_exchange: bool,
    #[prost(bytes = "bytes", tag = "5")]
    routing_key: Bytes,
    #[prost(message, optional, tag = "6")]
    arguments: Option<TableRecord>,
}

#[derive(Clone, PartialEq, Message)]
struct UserRecord {
    #[prost(string, tag = "1")]
    name: String,
    /// 0 none, 1 SHA-256, 2 SHA-512, 3 MD5.
    #[prost(uint32, tag = "2")]
    hash_algorithm: u32,
    #[prost(bytes = "bytes", tag = "3")]
    salted: Bytes,
    #[prost(string, repeated, tag = "4")]
    tags: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
struct PermissionRecord {
    #[prost(string, tag = "1")]
    vhost: String,
    #[prost(string, tag = "2")]
    user: String,
    #[prost(string, tag = "3")]
    configure: String,
    #[prost(string, tag = "4")]
    write: String,
    #[prost(string, tag = "5")]
    read: String,
}

#[derive(Clone, PartialEq, Message)]
struct TopicPermissionRecord {
    #[prost(string, tag = "1")]
    vhost: String,
    #[prost(string, tag = "2")]
    user: String,
    /// Absent: all exchanges (clearing only).
    #[prost(string, optional, tag = "3")]
    exchange: Option<String>,
    #[prost(string, tag = "4")]
    write: String,
    #[prost(string, tag = "5")]
    read: String,
}

/// One command as bytes.
pub(crate) fn encode_command(command: &MetadataCommand) -> Bytes {
    versioned(&CommandRecord {
        kind: Some(to_record(command)),
    })
}

/// Reads what [`encode_command`] wrote.
///
/// # Errors
/// The bytes are not a command of this version.
pub(crate) fn decode_command(bytes: &Bytes) -> Result<MetadataCommand, MetadataDecodeError> {
    let record: CommandRecord = unversioned(bytes)?;
    from_record(record.kind.ok_or(MetadataDecodeError::Missing("kind"))?)
}

/// A snapshot as bytes.
pub(crate) fn encode_snapshot(snapshot: &Snapshot) -> Bytes {
    let command = |command| CommandRecord {
        kind: Some(to_record(command)),
    };
    versioned(&SnapshotRecord {
        next_queue_id: snapshot.next_queue_id,
        commands: snapshot.commands.iter().map(command).collect(),
    })
}

/// Reads what [`encode_snapshot`] wrote.
///
/// # Errors
/// The bytes are not a snapshot of this version.
pub(crate) fn decode_snapshot(bytes: &Bytes) -> Result<Snapshot, MetadataDecodeError> {
    let record: SnapshotRecord = unversioned(bytes)?;
    let commands = record
        .commands
        .into_iter()
        .map(|command| from_record(command.kind.ok_or(MetadataDecodeError::Missing("kind"))?));
    Ok(Snapshot {
        next_queue_id: record.next_queue_id,
        commands: commands.collect::<Result<_, _>>()?,
    })
}

fn versioned(record: &impl Message) -> Bytes {
    let mut bytes = Vec::with_capacity(1 + record.encoded_len());
    bytes.push(VERSION);
    record.encode(&mut bytes).expect("a vector grows");
    bytes.into()
}

fn unversioned<M: Message + Default>(bytes: &Bytes) -> Result<M, MetadataDecodeError> {
    match bytes.first() {
        Some(&VERSION) => Ok(M::decode(bytes.slice(1..))?),
        Some(&other) => Err(MetadataDecodeError::Version(other)),
        None => Err(MetadataDecodeError::Empty),
    }
}

fn to_record(command: &MetadataCommand) -> CommandKind {
    match command {
        MetadataCommand::CreateVhost { name, metadata } => {
            CommandKind::CreateVhost(create_vhost_record(name, metadata))
        }
        MetadataCommand::UpdateVhost { name, changes } => {
            CommandKind::UpdateVhost(update_vhost_record(name, changes))
        }
        MetadataCommand::DeleteVhost { name } => CommandKind::DeleteVhost(name_record(name)),
        MetadataCommand::DeclareExchange {
            vhost,
            name,
            exchange_type,
            durable,
            auto_delete,
            internal,
            arguments,
            history,
        } => CommandKind::DeclareExchange(ExchangeRecord {
            vhost: vhost.to_string(),
            name: name.to_string(),
            exchange_type: exchange_type.to_string(),
            durable: *durable,
            auto_delete: *auto_delete,
            internal: *internal,
            arguments: table_record(arguments),
            history: history.map(|history| history.0),
        }),
        MetadataCommand::DeleteExchange {
            vhost,
            name,
            if_unused,
        } => CommandKind::DeleteExchange(DeleteExchangeRecord {
            vhost: vhost.to_string(),
            name: name.to_string(),
            if_unused: *if_unused,
        }),
        MetadataCommand::CreateSystemExchange { vhost, name } => {
            CommandKind::CreateSystemExchange(SystemExchangeRecord {
                vhost: vhost.to_string(),
                name: name.to_string(),
            })
        }
        MetadataCommand::DeclareQueue {
            vhost,
            name,
            durable,
            exclusive_owner,
            auto_delete,
            arguments,
            user,
            home,
            server_named,
            id,
        } => CommandKind::DeclareQueue(QueueRecord {
            vhost: vhost.to_string(),
            name: name.to_string(),
            durable: *durable,
            exclusive_owner: exclusive_owner.map(connection_record),
            auto_delete: *auto_delete,
            arguments: table_record(arguments),
            user: user.to_string(),
            home: u32::from(*home),
            id: id.map_or(0, |id| id.0),
            server_named: *server_named,
        }),
        MetadataCommand::DeleteQueue { id } => CommandKind::DeleteQueue(id.0),
        MetadataCommand::SetQueuePaused { id, paused } => {
            CommandKind::SetQueuePaused(QueuePausedRecord {
                id: id.0,
                paused: *paused,
            })
        }
        MetadataCommand::DeleteExclusiveQueues { connection } => {
            CommandKind::DeleteExclusiveQueues(connection_record(*connection))
        }
        MetadataCommand::Bind {
            vhost,
            source,
            destination,
            routing_key,
            arguments,
        } => CommandKind::Bind(binding_record(
            vhost,
            source,
            destination,
            routing_key,
            arguments,
        )),
        MetadataCommand::Unbind {
            vhost,
            source,
            destination,
            routing_key,
            arguments,
        } => CommandKind::Unbind(binding_record(
            vhost,
            source,
            destination,
            routing_key,
            arguments,
        )),
        MetadataCommand::PutUser {
            name,
            password_hash,
            tags,
        } => CommandKind::PutUser(UserRecord {
            name: name.to_string(),
            hash_algorithm: password_hash
                .as_ref()
                .map_or(0, |hash| match hash.algorithm {
                    HashAlgorithm::Sha256 => 1,
                    HashAlgorithm::Sha512 => 2,
                    HashAlgorithm::Md5 => 3,
                }),
            salted: password_hash
                .as_ref()
                .map_or_else(Bytes::new, |hash| Bytes::copy_from_slice(&hash.salted)),
            tags: tags.iter().map(ToString::to_string).collect(),
        }),
        MetadataCommand::DeleteUser { name } => CommandKind::DeleteUser(name_record(name)),
        MetadataCommand::SetPermissions {
            vhost,
            user,
            configure,
            write,
            read,
        } => CommandKind::SetPermissions(PermissionRecord {
            vhost: vhost.to_string(),
            user: user.to_string(),
            configure: configure.to_string(),
            write: write.to_string(),
            read: read.to_string(),
        }),
        MetadataCommand::ClearPermissions { vhost, user } => {
            CommandKind::ClearPermissions(PermissionRecord {
                vhost: vhost.to_string(),
                user: user.to_string(),
                ..PermissionRecord::default()
            })
        }
        MetadataCommand::SetTopicPermissions {
            vhost,
            user,
            exchange,
            write,
            read,
        } => CommandKind::SetTopicPermissions(TopicPermissionRecord {
            vhost: vhost.to_string(),
            user: user.to_string(),
            exchange: Some(exchange.to_string()),
            write: write.to_string(),
            read: read.to_string(),
        }),
        MetadataCommand::ClearTopicPermissions {
            vhost,
            user,
            exchange,
        } => CommandKind::ClearTopicPermissions(TopicPermissionRecord {
            vhost: vhost.to_string(),
            user: user.to_string(),
            exchange: exchange.as_ref().map(ToString::to_string),
            ..TopicPermissionRecord::default()
        }),
        MetadataCommand::PutPolicy {
            vhost,
            scope,
            policy,
        } => CommandKind::PutPolicy(PolicyRecord {
            json: json_record(&policy.to_json()),
            ..policy_record(vhost, *scope, &policy.name)
        }),
        MetadataCommand::DeletePolicy { vhost, scope, name } => {
            CommandKind::DeletePolicy(policy_record(vhost, *scope, name))
        }
        MetadataCommand::PutParameter {
            vhost,
            component,
            name,
            value,
        } => CommandKind::PutParameter(ParameterRecord {
            vhost: vhost.to_string(),
            component: component.to_string(),
            name: name.to_string(),
            json: json_record(value),
        }),
        MetadataCommand::DeleteParameter {
            vhost,
            component,
            name,
        } => CommandKind::DeleteParameter(ParameterRecord {
            vhost: vhost.to_string(),
            component: component.to_string(),
            name: name.to_string(),
            json: Bytes::new(),
        }),
        MetadataCommand::PutGlobalParameter { name, value } => {
            CommandKind::PutGlobalParameter(ParameterRecord {
                name: name.to_string(),
                json: json_record(value),
                ..ParameterRecord::default()
            })
        }
        MetadataCommand::DeleteGlobalParameter { name } => {
            CommandKind::DeleteGlobalParameter(ParameterRecord {
                name: name.to_string(),
                ..ParameterRecord::default()
            })
        }
        MetadataCommand::SetVhostLimits { vhost, limits } => {
            CommandKind::SetVhostLimits(LimitsRecord {
                max_connections: limits.max_connections,
                max_queues: limits.max_queues,
                ..LimitsRecord::of(vhost, limits.publish)
            })
        }
        MetadataCommand::SetUserLimits { user, limits } => {
            CommandKind::SetUserLimits(LimitsRecord {
                max_connections: limits.max_connections,
                max_channels: limits.max_channels,
                ..LimitsRecord::of(user, limits.publish)
            })
        }
    }
}

fn from_record(kind: CommandKind) -> Result<MetadataCommand, MetadataDecodeError> {
    Ok(match kind {
        CommandKind::CreateVhost(record) => create_vhost(record),
        CommandKind::UpdateVhost(record) => update_vhost(record),
        CommandKind::DeleteVhost(record) => MetadataCommand::DeleteVhost {
            name: record.name.into(),
        },
        CommandKind::DeclareExchange(record) => MetadataCommand::DeclareExchange {
            vhost: record.vhost.into(),
            name: record.name.into(),
            exchange_type: record.exchange_type.into(),
            durable: record.durable,
            auto_delete: record.auto_delete,
            internal: record.internal,
            arguments: arguments(record.arguments)?,
            history: record.history.map(QueueId),
        },
        CommandKind::DeleteExchange(record) => MetadataCommand::DeleteExchange {
            vhost: record.vhost.into(),
            name: record.name.into(),
            if_unused: record.if_unused,
        },
        CommandKind::CreateSystemExchange(record) => MetadataCommand::CreateSystemExchange {
            vhost: record.vhost.into(),
            name: record.name.into(),
        },
        CommandKind::DeclareQueue(record) => declare_queue(record)?,
        CommandKind::DeleteQueue(id) => MetadataCommand::DeleteQueue { id: QueueId(id) },
        CommandKind::SetQueuePaused(record) => MetadataCommand::SetQueuePaused {
            id: QueueId(record.id),
            paused: record.paused,
        },
        CommandKind::DeleteExclusiveQueues(record) => MetadataCommand::DeleteExclusiveQueues {
            connection: connection_id(&record),
        },
        CommandKind::Bind(record) => {
            let destination = destination(&record);
            MetadataCommand::Bind {
                vhost: record.vhost.into(),
                source: record.source.into(),
                destination,
                routing_key: record.routing_key,
                arguments: arguments(record.arguments)?,
            }
        }
        CommandKind::Unbind(record) => {
            let destination = destination(&record);
            MetadataCommand::Unbind {
                vhost: record.vhost.into(),
                source: record.source.into(),
                destination,
                routing_key: record.routing_key,
                arguments: arguments(record.arguments)?,
            }
        }
        CommandKind::PutUser(record) => {
            let algorithm = match record.hash_algorithm {
                1 => Some(HashAlgorithm::Sha256),
                2 => Some(HashAlgorithm::Sha512),
                3 => Some(HashAlgorithm::Md5),
                _ => None,
            };
            MetadataCommand::PutUser {
                name: record.name.into(),
                password_hash: algorithm.map(|algorithm| PasswordHash {
                    algorithm,
                    salted: record.salted.to_vec().into(),
                }),
                tags: boxed(record.tags),
            }
        }
        CommandKind::DeleteUser(record) => MetadataCommand::DeleteUser {
            name: record.name.into(),
        },
        CommandKind::SetPermissions(record) => MetadataCommand::SetPermissions {
            vhost: record.vhost.into(),
            user: record.user.into(),
            configure: record.configure.into(),
            write: record.write.into(),
            read: record.read.into(),
        },
        CommandKind::ClearPermissions(record) => MetadataCommand::ClearPermissions {
            vhost: record.vhost.into(),
            user: record.user.into(),
        },
        CommandKind::SetTopicPermissions(record) => MetadataCommand::SetTopicPermissions {
            vhost: record.vhost.into(),
            user: record.user.into(),
            exchange: record
                .exchange
                .ok_or(MetadataDecodeError::Missing("exchange"))?
                .into(),
            write: record.write.into(),
            read: record.read.into(),
        },
        CommandKind::ClearTopicPermissions(record) => MetadataCommand::ClearTopicPermissions {
            vhost: record.vhost.into(),
            user: record.user.into(),
            exchange: record.exchange.map(Name::from),
        },
        CommandKind::PutPolicy(record) => {
            let name = Name::from(record.name);
            let policy = Policy::restore(&name, &json(&record.json)?)?;
            MetadataCommand::PutPolicy {
                vhost: record.vhost.into(),
                scope: policy_scope(record.is_operator),
                policy: Arc::new(policy),
            }
        }
        CommandKind::DeletePolicy(record) => MetadataCommand::DeletePolicy {
            vhost: record.vhost.into(),
            scope: policy_scope(record.is_operator),
            name: record.name.into(),
        },
        CommandKind::PutParameter(record) => MetadataCommand::PutParameter {
            vhost: record.vhost.into(),
            component: record.component.into(),
            name: record.name.into(),
            value: json(&record.json)?,
        },
        CommandKind::DeleteParameter(record) => MetadataCommand::DeleteParameter {
            vhost: record.vhost.into(),
            component: record.component.into(),
            name: record.name.into(),
        },
        CommandKind::PutGlobalParameter(record) => MetadataCommand::PutGlobalParameter {
            name: record.name.into(),
            value: json(&record.json)?,
        },
        CommandKind::DeleteGlobalParameter(record) => MetadataCommand::DeleteGlobalParameter {
            name: record.name.into(),
        },
        CommandKind::SetVhostLimits(record) => MetadataCommand::SetVhostLimits {
            limits: VhostLimits {
                max_connections: record.max_connections,
                max_queues: record.max_queues,
                publish: record.rates(),
            },
            vhost: record.name.into(),
        },
        CommandKind::SetUserLimits(record) => MetadataCommand::SetUserLimits {
            limits: UserLimits {
                max_connections: record.max_connections,
                max_channels: record.max_channels,
                publish: record.rates(),
            },
            user: record.name.into(),
        },
    })
}

fn create_vhost_record(name: &Name, metadata: &VhostMetadata) -> CreateVhostRecord {
    CreateVhostRecord {
        name: name.to_string(),
        description: metadata.description.to_string(),
        tags: metadata.tags.iter().map(ToString::to_string).collect(),
        default_queue_type: metadata.default_queue_type.as_deref().map(str::to_owned),
        protected_from_deletion: metadata.protected_from_deletion,
        tracing: metadata.tracing,
    }
}

fn create_vhost(record: CreateVhostRecord) -> MetadataCommand {
    MetadataCommand::CreateVhost {
        name: record.name.into(),
        metadata: VhostMetadata {
            description: record.description.into(),
            tags: boxed(record.tags),
            default_queue_type: record.default_queue_type.map(String::into_boxed_str),
            protected_from_deletion: record.protected_from_deletion,
            tracing: record.tracing,
        },
    }
}

fn update_vhost_record(name: &Name, changes: &VhostChanges) -> UpdateVhostRecord {
    let queue_type = |queue_type: &Option<Box<str>>| queue_type.as_deref().unwrap_or("").to_owned();
    UpdateVhostRecord {
        name: name.to_string(),
        description: changes.description.as_deref().map(str::to_owned),
        tags: changes.tags.as_ref().map(|tags| TagsRecord {
            tags: tags.iter().map(ToString::to_string).collect(),
        }),
        default_queue_type: changes.default_queue_type.as_ref().map(queue_type),
        protected_from_deletion: changes.protected_from_deletion,
        tracing: changes.tracing,
    }
}

fn update_vhost(record: UpdateVhostRecord) -> MetadataCommand {
    let queue_type = |name: String| (!name.is_empty()).then(|| name.into_boxed_str());
    MetadataCommand::UpdateVhost {
        name: record.name.into(),
        changes: VhostChanges {
            description: record.description.map(String::into_boxed_str),
            tags: record.tags.map(|record| boxed(record.tags)),
            default_queue_type: record.default_queue_type.map(queue_type),
            protected_from_deletion: record.protected_from_deletion,
            tracing: record.tracing,
        },
    }
}

fn boxed(texts: Vec<String>) -> Vec<Box<str>> {
    texts.into_iter().map(String::into_boxed_str).collect()
}

fn policy_record(vhost: &Name, scope: PolicyScope, name: &Name) -> PolicyRecord {
    PolicyRecord {
        vhost: vhost.to_string(),
        is_operator: scope == PolicyScope::Operator,
        name: name.to_string(),
        json: Bytes::new(),
    }
}

fn policy_scope(is_operator: bool) -> PolicyScope {
    if is_operator {
        PolicyScope::Operator
    } else {
        PolicyScope::User
    }
}

fn json_record(value: &Json) -> Bytes {
    value.to_string().into()
}

fn json(bytes: &Bytes) -> Result<Json, MetadataDecodeError> {
    Ok(serde_json::from_slice(bytes)?)
}

fn declare_queue(record: QueueRecord) -> Result<MetadataCommand, MetadataDecodeError> {
    Ok(MetadataCommand::DeclareQueue {
        vhost: record.vhost.into(),
        name: record.name.into(),
        durable: record.durable,
        exclusive_owner: record.exclusive_owner.as_ref().map(connection_id),
        auto_delete: record.auto_delete,
        arguments: arguments(record.arguments)?,
        user: record.user.into(),
        home: u16::try_from(record.home).unwrap_or(0),
        server_named: record.server_named,
        id: (record.id != 0).then_some(QueueId(record.id)),
    })
}

fn name_record(name: &Name) -> NameRecord {
    NameRecord {
        name: name.to_string(),
    }
}

fn connection_record(connection: ConnectionId) -> ConnectionRecord {
    ConnectionRecord {
        shard: u32::from(connection.shard.0),
        serial: connection.serial,
    }
}

fn connection_id(record: &ConnectionRecord) -> ConnectionId {
    ConnectionId {
        shard: base::ShardId(u16::try_from(record.shard).unwrap_or(0)),
        serial: record.serial,
    }
}

fn binding_record(
    vhost: &Name,
    source: &Name,
    destination: &Destination,
    routing_key: &Bytes,
    arguments: &Arguments,
) -> BindingRecord {
    let (destination, to_exchange) = match destination {
        Destination::Queue(name) => (name, false),
        Destination::Exchange(name) => (name, true),
    };
    BindingRecord {
        vhost: vhost.to_string(),
        source: source.to_string(),
        destination: destination.to_string(),
        to_exchange,
        routing_key: routing_key.clone(),
        arguments: table_record(arguments),
    }
}

fn destination(record: &BindingRecord) -> Destination {
    let name = Name::from(record.destination.as_str());
    if record.to_exchange {
        Destination::Exchange(name)
    } else {
        Destination::Queue(name)
    }
}

fn table_record(arguments: &Arguments) -> Option<TableRecord> {
    (!arguments.is_empty()).then(|| TableRecord {
        entries: arguments
            .iter()
            .map(|(key, value)| EntryRecord {
                key: key.to_owned(),
                value: Some(value_record(value)),
            })
            .collect(),
    })
}

fn arguments(record: Option<TableRecord>) -> Result<Arguments, MetadataDecodeError> {
    let pairs = record
        .map(|record| record.entries)
        .unwrap_or_default()
        .into_iter()
        .map(|entry| {
            let value = value(
                entry
                    .value
                    .ok_or(MetadataDecodeError::Missing("argument value"))?,
            )?;
            Ok((entry.key.into_boxed_str(), value))
        });
    Ok(Arguments::from_pairs(
        pairs.collect::<Result<Vec<_>, MetadataDecodeError>>()?,
    ))
}

fn value_record(value: &Value) -> ValueRecord {
    let kind = match value {
        Value::Bool(bool) => ValueKind::Bool(*bool),
        Value::Int(kind, value) => ValueKind::Int(IntRecord {
            kind: u32::from(int_letter(*kind)),
            value: *value,
        }),
        Value::Float(float) => ValueKind::Float(*float),
        Value::Double(double) => ValueKind::Double(*double),
        Value::Decimal(scale, unscaled) => ValueKind::Decimal(DecimalRecord {
            scale: u32::from(*scale),
            unscaled: *unscaled,
        }),
        Value::LongStr(bytes) => ValueKind::LongStr(bytes.clone()),
        Value::Array(values) => ValueKind::Array(ArrayRecord {
            values: values.iter().map(value_record).collect(),
        }),
        Value::Timestamp(seconds) => ValueKind::Timestamp(*seconds),
        Value::Table(table) => ValueKind::Table(table_record(table).unwrap_or_default()),
        Value::Void => ValueKind::Void(true),
        Value::Binary(bytes) => ValueKind::Binary(bytes.clone()),
    };
    ValueRecord { kind: Some(kind) }
}

fn value(record: ValueRecord) -> Result<Value, MetadataDecodeError> {
    Ok(
        match record
            .kind
            .ok_or(MetadataDecodeError::Missing("value kind"))?
        {
            ValueKind::Bool(bool) => Value::Bool(bool),
            ValueKind::Int(record) => Value::Int(
                int_kind(record.kind).ok_or(MetadataDecodeError::Missing("integer kind"))?,
                record.value,
            ),
            ValueKind::Float(float) => Value::Float(float),
            ValueKind::Double(double) => Value::Double(double),
            ValueKind::Decimal(record) => Value::Decimal(
                u8::try_from(record.scale).unwrap_or(u8::MAX),
                record.unscaled,
            ),
            ValueKind::LongStr(bytes) => Value::LongStr(bytes),
            ValueKind::Array(record) => Value::Array(
                record
                    .values
                    .into_iter()
                    .map(value)
                    .collect::<Result<Vec<_>, MetadataDecodeError>>()?,
            ),
            ValueKind::Timestamp(seconds) => Value::Timestamp(seconds),
            ValueKind::Table(record) => Value::Table(arguments(Some(record))?),
            ValueKind::Void(_) => Value::Void,
            ValueKind::Binary(bytes) => Value::Binary(bytes),
        },
    )
}

fn int_letter(kind: IntKind) -> u8 {
    match kind {
        IntKind::I8 => b'b',
        IntKind::U8 => b'B',
        IntKind::I16 => b's',
        IntKind::U16 => b'u',
        IntKind::I32 => b'I',
        IntKind::U32 => b'i',
        IntKind::I64 => b'l',
    }
}

fn int_kind(letter: u32) -> Option<IntKind> {
    [
        IntKind::I8,
        IntKind::U8,
        IntKind::I16,
        IntKind::U16,
        IntKind::I32,
        IntKind::U32,
        IntKind::I64,
    ]
    .into_iter()
    .find(|kind| u32::from(int_letter(*kind)) == letter)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments() -> Arguments {
        let nested = Arguments::from_pairs([(
            "inner".into(),
            Value::Array(vec![Value::Void, Value::Bool(true)]),
        )]);
        Arguments::from_pairs([
            ("bool".into(), Value::Bool(false)),
            ("byte".into(), Value::Int(IntKind::I8, -1)),
            ("long".into(), Value::Int(IntKind::I64, i64::MIN)),
            ("unsigned".into(), Value::Int(IntKind::U32, 7)),
            ("float".into(), Value::Float(1.5)),
            ("double".into(), Value::Double(-0.25)),
            ("decimal".into(), Value::Decimal(2, 314)),
            ("text".into(), Value::LongStr(Bytes::from_static(b"a\xff"))),
            ("time".into(), Value::Timestamp(u64::MAX)),
            ("table".into(), Value::Table(nested)),
            ("binary".into(), Value::Binary(Bytes::from_static(b"\0"))),
        ])
    }

    fn policy() -> Policy {
        let policy = serde_json::json!({
            "pattern": "^a", "priority": -3, "apply-to": "queues",
            "definition": {"max-length": 1, "of a newer node": [1]},
        });
        Policy::restore(&"p".into(), &policy).unwrap()
    }

    fn commands() -> Vec<MetadataCommand> {
        let name = |text: &str| Name::from(text);
        let hash = PasswordHash {
            algorithm: HashAlgorithm::Sha512,
            salted: vec![1, 2, 3].into(),
        };
        vec![
            MetadataCommand::CreateVhost {
                name: name("/"),
                metadata: VhostMetadata {
                    description: "all of it".into(),
                    tags: vec!["a".into(), "b".into()],
                    default_queue_type: Some("quorum".into()),
                    protected_from_deletion: true,
                    tracing: true,
                },
            },
            MetadataCommand::UpdateVhost {
                name: name("/"),
                changes: VhostChanges::default(),
            },
            MetadataCommand::UpdateVhost {
                name: name("/"),
                changes: VhostChanges {
                    description: Some("".into()),
                    tags: Some(vec![]),
                    default_queue_type: Some(None),
                    protected_from_deletion: Some(false),
                    tracing: Some(true),
                },
            },
            MetadataCommand::DeleteVhost { name: name("v") },
            MetadataCommand::DeclareExchange {
                vhost: name("/"),
                name: name("x"),
                exchange_type: "topic".into(),
                durable: true,
                auto_delete: false,
                internal: true,
                arguments: arguments(),
                history: Some(QueueId(1 << 59 | 7)),
            },
            MetadataCommand::DeleteExchange {
                vhost: name("/"),
                name: name("x"),
                if_unused: true,
            },
            MetadataCommand::CreateSystemExchange {
                vhost: name("/"),
                name: name("amq.rabbitmq.event"),
            },
            MetadataCommand::DeclareQueue {
                vhost: name("/"),
                name: name("q"),
                durable: true,
                exclusive_owner: Some(ConnectionId {
                    shard: base::ShardId(3),
                    serial: 9,
                }),
                auto_delete: true,
                arguments: arguments(),
                user: name("guest"),
                home: 5,
                server_named: true,
                id: Some(QueueId(12)),
            },
            MetadataCommand::DeleteQueue { id: QueueId(12) },
            MetadataCommand::SetQueuePaused {
                id: QueueId(12),
                paused: true,
            },
            MetadataCommand::DeleteExclusiveQueues {
                connection: ConnectionId::default(),
            },
            MetadataCommand::Bind {
                vhost: name("/"),
                source: name("x"),
                destination: Destination::Queue(name("q")),
                routing_key: Bytes::from_static(b"a.\xfe"),
                arguments: arguments(),
            },
            MetadataCommand::Unbind {
                vhost: name("/"),
                source: name("x"),
                destination: Destination::Exchange(name("y")),
                routing_key: Bytes::new(),
                arguments: Arguments::default(),
            },
            MetadataCommand::PutUser {
                name: name("u"),
                password_hash: Some(hash),
                tags: vec!["management".into()],
            },
            MetadataCommand::PutUser {
                name: name("u"),
                password_hash: None,
                tags: vec![],
            },
            MetadataCommand::DeleteUser { name: name("u") },
            MetadataCommand::SetPermissions {
                vhost: name("/"),
                user: name("u"),
                configure: "a".into(),
                write: "b".into(),
                read: "c".into(),
            },
            MetadataCommand::ClearPermissions {
                vhost: name("/"),
                user: name("u"),
            },
            MetadataCommand::SetTopicPermissions {
                vhost: name("/"),
                user: name("u"),
                exchange: name("t"),
                write: "w".into(),
                read: "r".into(),
            },
            MetadataCommand::ClearTopicPermissions {
                vhost: name("/"),
                user: name("u"),
                exchange: None,
            },
            MetadataCommand::PutPolicy {
                vhost: name("/"),
                scope: PolicyScope::User,
                policy: Arc::new(policy()),
            },
            MetadataCommand::DeletePolicy {
                vhost: name("/"),
                scope: PolicyScope::Operator,
                name: name("p"),
            },
            MetadataCommand::PutParameter {
                vhost: name("/"),
                component: name("shovel"),
                name: name("s"),
                value: serde_json::json!({"uri": ["amqp://"], "number": 1.5, "none": null}),
            },
            MetadataCommand::DeleteParameter {
                vhost: name("/"),
                component: name("shovel"),
                name: name("s"),
            },
            MetadataCommand::PutGlobalParameter {
                name: name("cluster_name"),
                value: serde_json::json!("here"),
            },
            MetadataCommand::DeleteGlobalParameter {
                name: name("cluster_name"),
            },
            MetadataCommand::SetVhostLimits {
                vhost: name("/"),
                limits: VhostLimits {
                    max_connections: Some(0),
                    publish: PublishRates {
                        messages: Some(1),
                        bytes: Some(2),
                        connection_messages: Some(3),
                        connection_bytes: Some(-4),
                    },
                    ..VhostLimits::default()
                },
            },
            MetadataCommand::SetUserLimits {
                user: name("u"),
                limits: UserLimits {
                    max_channels: Some(-1),
                    publish: PublishRates {
                        bytes: Some(0),
                        ..PublishRates::default()
                    },
                    ..UserLimits::default()
                },
            },
        ]
    }

    #[test]
    fn every_command_reads_back_as_it_was_written() {
        for command in commands() {
            assert_eq!(decode_command(&encode_command(&command)).unwrap(), command);
        }
    }

    #[test]
    fn a_snapshot_reads_back_as_it_was_written() {
        let snapshot = Snapshot {
            next_queue_id: 77,
            commands: commands(),
        };
        assert_eq!(
            decode_snapshot(&encode_snapshot(&snapshot)).unwrap(),
            snapshot
        );
    }

    #[test]
    fn another_version_and_nothing_are_refused() {
        assert!(matches!(
            decode_command(&Bytes::from_static(&[2])),
            Err(MetadataDecodeError::Version(2))
        ));
        assert!(matches!(
            decode_command(&Bytes::new()),
            Err(MetadataDecodeError::Empty)
        ));
    }
}
