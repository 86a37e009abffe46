//! The durable part of the metadata as plain commands, and the commands of a fresh node.

use super::{Metadata, RESERVED_PREFIX};
use crate::Error;
use crate::auth::User;
use crate::command::{MetadataCommand, PasswordHash};
use crate::exchange::Exchange;
use crate::limits::{UserLimits, VhostLimits};
use crate::policy::PolicyScope;
use crate::schema;
use crate::vhost::{QueueRecord, Vhost};
use crate::vhost_metadata::VhostMetadata;
use base::Name;
use std::sync::Arc;

/// Everything durable, in an order in which it can be replayed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// The next queue gets this id or a larger one.
    pub next_queue_id: u64,
    /// Vhosts, users, permissions, exchanges, queues (each with its id) and bindings; sorted within each kind.
    pub commands: Vec<MetadataCommand>,
}

impl Metadata {
    /// The durable part. The same state gives the same snapshot, in whatever way it came about.
    pub fn to_snapshot(&self) -> Snapshot {
        let mut commands = Vec::new();
        let mut vhosts: Vec<_> = self.vhosts().collect();
        vhosts.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        let mut users: Vec<_> = self.users().collect();
        users.sort_unstable_by(|a, b| a.name.cmp(&b.name));

        commands.extend(vhosts.iter().map(|vhost| MetadataCommand::CreateVhost {
            name: vhost.name.clone(),
            metadata: vhost.metadata.clone(),
        }));
        commands.extend(self.global_parameters().map(|(name, value)| {
            MetadataCommand::PutGlobalParameter {
                name: name.clone(),
                value: value.clone(),
            }
        }));
        users.iter().for_each(|user| push_user(&mut commands, user));
        vhosts
            .iter()
            .for_each(|vhost| push_contents(&mut commands, vhost));
        Snapshot {
            next_queue_id: self.next_queue_id,
            commands,
        }
    }

    /// Metadata from a snapshot.
    ///
    /// # Errors
    /// If it is none that [`to_snapshot`](Self::to_snapshot) gave.
    pub fn from_snapshot(snapshot: &Snapshot, shards: u16) -> Result<Self, Error> {
        let mut metadata = Self::new(shards);
        snapshot
            .commands
            .iter()
            .try_for_each(|command| metadata.replay(command))?;
        metadata.next_queue_id = metadata.next_queue_id.max(snapshot.next_queue_id);
        Ok(metadata)
    }
}

impl QueueRecord {
    /// The command that creates exactly this queue.
    pub(super) fn declaration(&self) -> MetadataCommand {
        MetadataCommand::DeclareQueue {
            vhost: self.vhost.clone(),
            name: self.name.clone(),
            durable: self.durable,
            exclusive_owner: self.exclusive_owner,
            auto_delete: self.auto_delete,
            arguments: self.arguments.clone(),
            user: self.user.clone(),
            home: self.home,
            server_named: self.server_named,
            id: Some(self.id()),
        }
    }
}

impl Exchange {
    fn declaration(&self, vhost: &Name) -> MetadataCommand {
        if self.name.starts_with(RESERVED_PREFIX) {
            return MetadataCommand::CreateSystemExchange {
                vhost: vhost.clone(),
                name: self.name.clone(),
            };
        }
        MetadataCommand::DeclareExchange {
            vhost: vhost.clone(),
            name: self.name.clone(),
            exchange_type: self.exchange_type.as_str().into(),
            durable: self.durable,
            auto_delete: self.auto_delete,
            internal: self.internal,
            arguments: self.arguments.clone(),
            history: self.history().and_then(|history| history.log_id()),
        }
    }
}

fn push_user(commands: &mut Vec<MetadataCommand>, user: &User) {
    let name = &user.name;
    let (password_hash, tags) = (user.password_hash.clone(), user.tags.clone());
    commands.push(MetadataCommand::PutUser {
        name: name.clone(),
        password_hash,
        tags,
    });
    if user.limits != UserLimits::default() {
        commands.push(MetadataCommand::SetUserLimits {
            user: name.clone(),
            limits: user.limits,
        });
    }
    let mut permissions: Vec<_> = user.permissions().collect();
    permissions.sort_unstable_by_key(|(vhost, _)| *vhost);
    commands.extend(permissions.into_iter().map(|(vhost, entry)| {
        MetadataCommand::SetPermissions {
            vhost: vhost.clone(),
            user: name.clone(),
            configure: entry.configure.source().into(),
            write: entry.write.source().into(),
            read: entry.read.source().into(),
        }
    }));
    commands.extend(user.topic_permissions().map(|(vhost, exchange, entry)| {
        MetadataCommand::SetTopicPermissions {
            vhost: vhost.clone(),
            user: name.clone(),
            exchange: exchange.clone(),
            write: entry.write.source().into(),
            read: entry.read.source().into(),
        }
    }));
}

fn push_contents(commands: &mut Vec<MetadataCommand>, vhost: &Vhost) {
    if vhost.limits != VhostLimits::default() {
        commands.push(MetadataCommand::SetVhostLimits {
            vhost: vhost.name.clone(),
            limits: vhost.limits,
        });
    }
    commands.extend(
        vhost
            .schemas()
            .map(|(name, schema)| MetadataCommand::PutParameter {
                vhost: vhost.name.clone(),
                component: schema::COMPONENT.into(),
                name: name.clone(),
                value: schema.source().clone(),
            }),
    );
    for scope in [PolicyScope::User, PolicyScope::Operator] {
        let policies = vhost.policies(scope).iter();
        commands.extend(policies.map(|policy| MetadataCommand::PutPolicy {
            vhost: vhost.name.clone(),
            scope,
            policy: Arc::clone(policy),
        }));
    }
    let mut exchanges: Vec<_> = vhost
        .exchanges()
        .filter(|exchange| exchange.durable)
        .collect();
    exchanges.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    let mut queues: Vec<_> = vhost.queues().filter(|record| record.durable).collect();
    queues.sort_unstable_by_key(|record| record.id());

    let declared = exchanges
        .iter()
        .filter(|exchange| !exchange.is_predeclared());
    commands.extend(declared.map(|exchange| exchange.declaration(&vhost.name)));
    for record in queues {
        commands.push(record.declaration());
        let id = record.id();
        commands.extend(
            record
                .paused
                .then_some(MetadataCommand::SetQueuePaused { id, paused: true }),
        );
    }
    let bindings = exchanges
        .iter()
        .flat_map(|exchange| exchange.bindings_to_restore())
        .filter(|binding| binding.durable);
    commands.extend(bindings.map(|binding| MetadataCommand::Bind {
        vhost: vhost.name.clone(),
        source: binding.source.clone(),
        destination: binding.destination.clone(),
        routing_key: binding.binding_key.clone(),
        arguments: binding.arguments.clone(),
    }));
}

/// The user of a node's first start.
#[derive(Clone, Debug)]
pub struct DefaultUser {
    /// Its name.
    pub name: Name,
    /// Its password.
    pub password_hash: PasswordHash,
    /// Its tags.
    pub tags: Vec<Box<str>>,
    /// The vhost that is made for it.
    pub vhost: Name,
    /// What it may configure there, a regular expression.
    pub configure: Box<str>,
    /// What it may write there.
    pub write: Box<str>,
    /// What it may read there.
    pub read: Box<str>,
}

impl DefaultUser {
    /// An administrator who may do everything in the vhost.
    pub fn administrator(name: Name, password_hash: PasswordHash, vhost: Name) -> Self {
        let all = || Box::from(".*");
        Self {
            name,
            password_hash,
            tags: vec!["administrator".into()],
            vhost,
            configure: all(),
            write: all(),
            read: all(),
        }
    }
}

/// What a node without any metadata starts with: one vhost and one user in it.
pub fn bootstrap_commands(user: DefaultUser) -> Vec<MetadataCommand> {
    vec![
        MetadataCommand::CreateVhost {
            name: user.vhost.clone(),
            metadata: VhostMetadata {
                description: "Default virtual host".into(),
                ..VhostMetadata::default()
            },
        },
        MetadataCommand::PutUser {
            name: user.name.clone(),
            password_hash: Some(user.password_hash),
            tags: user.tags,
        },
        MetadataCommand::SetPermissions {
            vhost: user.vhost,
            user: user.name,
            configure: user.configure,
            write: user.write,
            read: user.read,
        },
    ]
}
