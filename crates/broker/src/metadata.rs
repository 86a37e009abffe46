//! Everything the broker knows besides messages: vhosts, exchanges, queues, bindings, users, permissions.
//!
//! [`Metadata`] is a deterministic state machine. [`apply`](Metadata::apply) takes one command, checks it wholly and then does it
//! wholly, so that a refused command leaves no trace. A clone is an immutable snapshot and costs nothing: all parts are
//! persistent maps, and a change copies only the paths it touches.
//!
//! What has to survive a restart comes out as commands again: [`Applied::log`] after each change, [`Metadata::to_snapshot`] for all
//! of it. [`replay`](Metadata::replay) takes both. They differ from what was asked: the log names the queue's id, and what went by
//! itself (an auto-delete exchange whose last binding left) is in it as a deletion of its own, since that binding may never
//! have been in the log.
//!
//! Permissions are data here; asking for them is [`auth`](crate::auth)'s matter, and whoever sends a command has asked.
//! Queue contents, consumers and their conditions (`if_empty`, `if_unused` of a queue) are the queue machine's.

mod snapshot;
#[cfg(test)]
mod tests;

pub use snapshot::{Snapshot, bootstrap_commands};

use crate::Error;
use crate::auth::{Pattern, Permission, TopicPermission, User};
use crate::binding::Binding;
use crate::command::{Destination, MetadataCommand, MetadataReply};
use crate::error::ResourceKind;
use crate::exchange::{ALTERNATE_EXCHANGE, Exchange, ExchangeType};
use crate::persistent::PersistentMap;
use crate::queue_arguments::{QueueArguments, check_argument, check_equivalent};
use crate::value::{Arguments, Value};
use crate::vhost::{Cascade, QueueRecord, Removed, Vhost};
use base::{ConnectionId, Name, QueueId, QueueRef, ShardId};
use rpds::RedBlackTreeSetSync;
use std::sync::Arc;

/// What names that belong to the server start with.
const RESERVED_PREFIX: &str = "amq.";

/// The metadata of a node or a cluster.
#[derive(Clone, Debug)]
pub struct Metadata {
    vhosts: PersistentMap<Name, Arc<Vhost>>,
    users: PersistentMap<Name, Arc<User>>,
    /// Invariant: holds exactly the queues of all vhosts.
    queues: PersistentMap<QueueId, Arc<QueueRecord>>,
    /// Invariant: holds exactly the queues with an exclusive owner.
    exclusive: PersistentMap<ConnectionId, RedBlackTreeSetSync<QueueId>>,
    /// Larger than the id of any queue that ever was durable, or is.
    next_queue_id: u64,
    version: u64,
    /// At least 1.
    shards: u16,
}

/// What a command did.
#[derive(Clone, Debug)]
pub struct Applied {
    /// For whoever asked.
    pub reply: MetadataReply,
    /// Something changed that has to survive a restart: `log` is not empty.
    pub durable: bool,
    /// The durable part of the change, for [`Metadata::replay`]. Usually nothing or one command.
    pub log: Vec<MetadataCommand>,
    /// Each thing that came or went, for observers. Empty if nothing changed.
    pub events: Vec<MetadataEvent>,
}

/// Something came or went.
#[derive(Clone, Debug)]
#[expect(
    missing_docs,
    reason = "the fields are the thing itself and where it is"
)]
pub enum MetadataEvent {
    VhostCreated {
        vhost: Name,
    },
    /// After its queues, each with an event of its own.
    VhostDeleted {
        vhost: Name,
    },
    ExchangeCreated {
        vhost: Name,
        exchange: Arc<Exchange>,
    },
    ExchangeDeleted {
        vhost: Name,
        exchange: Arc<Exchange>,
    },
    QueueCreated {
        record: Arc<QueueRecord>,
    },
    /// The shard that owns it has to end its machine.
    QueueDeleted {
        record: Arc<QueueRecord>,
    },
    BindingCreated {
        vhost: Name,
        binding: Arc<Binding>,
    },
    BindingDeleted {
        vhost: Name,
        binding: Arc<Binding>,
    },
    /// Created, or password or tags replaced.
    UserChanged {
        user: Name,
    },
    UserDeleted {
        user: Name,
    },
    /// Permissions or topic permissions of the user were set or cleared.
    PermissionsChanged {
        user: Name,
        vhost: Name,
    },
}

/// Where a command comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// It is asked for now.
    Request,
    /// It is in the log: it already took place, with everything that followed from it.
    Log,
}

impl Origin {
    fn cascade(self) -> Cascade {
        match self {
            Self::Request => Cascade::AutoDelete,
            Self::Log => Cascade::Nothing,
        }
    }
}

/// The definition in a `DeclareExchange`.
struct ExchangeDeclaration<'a> {
    vhost: &'a Name,
    name: &'a Name,
    exchange_type: &'a str,
    durable: bool,
    auto_delete: bool,
    internal: bool,
    arguments: &'a Arguments,
}

/// The definition in a `DeclareQueue`.
struct QueueDeclaration<'a> {
    vhost: &'a Name,
    name: &'a Name,
    /// Already false for an exclusive queue.
    durable: bool,
    exclusive_owner: Option<ConnectionId>,
    auto_delete: bool,
    arguments: &'a Arguments,
    user: &'a Name,
    home: u16,
    server_named: bool,
    id: Option<QueueId>,
}

/// The parts of a `Bind` or `Unbind`.
struct BindingKey<'a> {
    vhost: &'a Name,
    source: &'a Name,
    destination: &'a Destination,
    binding_key: &'a bytes::Bytes,
    arguments: &'a Arguments,
}

impl Metadata {
    /// Metadata without anything in it. `shards` (at least 1) is how many threads share the queues.
    pub fn new(shards: u16) -> Self {
        Self {
            vhosts: PersistentMap::default(),
            users: PersistentMap::default(),
            queues: PersistentMap::default(),
            exclusive: PersistentMap::default(),
            next_queue_id: 1,
            version: 0,
            shards: shards.max(1),
        }
    }

    /// Counts the commands that changed something.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The vhost of that name.
    pub fn vhost(&self, name: &str) -> Option<&Arc<Vhost>> {
        self.vhosts.get(name)
    }

    /// All vhosts, in no particular order.
    pub fn vhosts(&self) -> impl Iterator<Item = &Arc<Vhost>> {
        self.vhosts.values()
    }

    /// The user of that name.
    pub fn user(&self, name: &str) -> Option<&Arc<User>> {
        self.users.get(name)
    }

    /// All users, in no particular order.
    pub fn users(&self) -> impl Iterator<Item = &Arc<User>> {
        self.users.values()
    }

    /// The queue with that id, unless it was deleted.
    pub fn queue_by_id(&self, id: QueueId) -> Option<&Arc<QueueRecord>> {
        self.queues.get(&id)
    }

    /// All queues of all vhosts, in no particular order.
    pub fn queues(&self) -> impl Iterator<Item = &Arc<QueueRecord>> {
        self.queues.values()
    }

    /// The exclusive queues of a connection, oldest first.
    pub fn exclusive_queues(
        &self,
        connection: ConnectionId,
    ) -> impl Iterator<Item = &Arc<QueueRecord>> {
        let ids = self
            .exclusive
            .get(&connection)
            .into_iter()
            .flat_map(|ids| ids.iter());
        ids.filter_map(|id| self.queues.get(id))
    }

    /// Does what a command asks for, or nothing.
    ///
    /// # Errors
    /// The rule that the command would break. Nothing has changed then.
    pub fn apply(&mut self, command: &MetadataCommand) -> Result<Applied, Error> {
        self.dispatch(command, Origin::Request)
    }

    /// Repeats a command from [`Applied::log`] or a [`Snapshot`], in the order in which they were given out.
    ///
    /// # Errors
    /// As [`apply`](Self::apply); then the log is not one that this machine wrote.
    pub fn replay(&mut self, command: &MetadataCommand) -> Result<(), Error> {
        self.dispatch(command, Origin::Log).map(drop)
    }

    fn dispatch(&mut self, command: &MetadataCommand, origin: Origin) -> Result<Applied, Error> {
        use MetadataCommand as C;
        let mut applied = match command {
            C::CreateVhost { name } => self.create_vhost(name, command),
            C::DeleteVhost { name } => self.delete_vhost(name, command),
            C::DeclareExchange {
                vhost,
                name,
                exchange_type,
                durable,
                auto_delete,
                internal,
                arguments,
            } => {
                let declaration = ExchangeDeclaration {
                    vhost,
                    name,
                    exchange_type,
                    durable: *durable,
                    auto_delete: *auto_delete,
                    internal: *internal,
                    arguments,
                };
                self.declare_exchange(&declaration, command)
            }
            C::DeleteExchange {
                vhost,
                name,
                if_unused,
            } => self.delete_exchange(vhost, name, *if_unused, origin),
            C::DeclareQueue {
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
            } => self.declare_queue(&QueueDeclaration {
                vhost,
                name,
                durable: *durable && exclusive_owner.is_none(),
                exclusive_owner: *exclusive_owner,
                auto_delete: *auto_delete,
                arguments,
                user,
                home: *home,
                server_named: *server_named,
                id: id.filter(|_| origin == Origin::Log),
            }),
            C::DeleteQueue { id } => Ok(self.delete_queues(&[*id], origin)),
            C::DeleteExclusiveQueues { connection } => {
                let ids: Vec<_> = self
                    .exclusive_queues(*connection)
                    .map(|record| record.id())
                    .collect();
                Ok(self.delete_queues(&ids, origin))
            }
            C::Bind {
                vhost,
                source,
                destination,
                routing_key,
                arguments,
            } => self.bind(
                &BindingKey {
                    vhost,
                    source,
                    destination,
                    binding_key: routing_key,
                    arguments,
                },
                command,
            ),
            C::Unbind {
                vhost,
                source,
                destination,
                routing_key,
                arguments,
            } => self.unbind(
                &BindingKey {
                    vhost,
                    source,
                    destination,
                    binding_key: routing_key,
                    arguments,
                },
                command,
                origin,
            ),
            C::PutUser { .. }
            | C::DeleteUser { .. }
            | C::SetPermissions { .. }
            | C::ClearPermissions { .. }
            | C::SetTopicPermissions { .. }
            | C::ClearTopicPermissions { .. } => self.change_user(command),
        }?;
        applied.durable = !applied.log.is_empty();
        if !applied.events.is_empty() {
            self.version += 1;
        }
        Ok(applied)
    }

    fn create_vhost(&mut self, name: &Name, command: &MetadataCommand) -> Result<Applied, Error> {
        let mut applied = Applied::nothing();
        if self.vhosts.contains_key(name) {
            return Ok(applied);
        }
        self.vhosts
            .insert_mut(name.clone(), Arc::new(Vhost::new(name.clone())));
        applied.log.push(command.clone());
        applied.events.push(MetadataEvent::VhostCreated {
            vhost: name.clone(),
        });
        Ok(applied)
    }

    /// Everything in the vhost goes with it, and every user's permissions there.
    fn delete_vhost(&mut self, name: &Name, command: &MetadataCommand) -> Result<Applied, Error> {
        let vhost = Arc::clone(self.expect_vhost(name)?);
        let mut applied = Applied::nothing();
        let mut records: Vec<_> = vhost.queues().cloned().collect();
        records.sort_unstable_by_key(|record| record.id());
        for record in records {
            self.forget_queue(&record);
            applied.events.push(MetadataEvent::QueueDeleted { record });
        }
        self.vhosts.remove_mut(name);
        let mut affected: Vec<_> = self
            .users
            .values()
            .filter(|user| user.mentions(name))
            .map(|user| user.name.clone())
            .collect();
        affected.sort_unstable();
        for user in affected {
            self.user_mut(&user).forget_vhost(name);
            applied.events.push(MetadataEvent::PermissionsChanged {
                user,
                vhost: name.clone(),
            });
        }
        applied.log.push(command.clone());
        applied.events.push(MetadataEvent::VhostDeleted {
            vhost: name.clone(),
        });
        Ok(applied)
    }

    fn declare_exchange(
        &mut self,
        asked: &ExchangeDeclaration<'_>,
        command: &MetadataCommand,
    ) -> Result<Applied, Error> {
        let vhost = self.expect_vhost(asked.vhost)?;
        let exchange_type = ExchangeType::parse(asked.exchange_type)?;
        if asked.name.is_empty() {
            return Err(Error::DefaultExchange);
        }
        if let Some(existing) = vhost.exchange(asked.name) {
            asked.check_equivalent(existing, exchange_type)?;
            return Ok(Applied::nothing());
        }
        if asked.name.starts_with(RESERVED_PREFIX) {
            return Err(Error::ReservedName {
                kind: ResourceKind::Exchange,
                name: asked.name.clone(),
            });
        }
        let mut exchange = Exchange::new(asked.name.clone(), exchange_type, asked.durable);
        exchange.auto_delete = asked.auto_delete;
        exchange.internal = asked.internal;
        exchange.arguments = asked.arguments.clone();
        exchange.alternate_exchange = asked.alternate_exchange()?;
        let mut applied = Applied::nothing();
        applied.log.extend(asked.durable.then(|| command.clone()));
        applied.events.push(MetadataEvent::ExchangeCreated {
            vhost: asked.vhost.clone(),
            exchange: Arc::new(exchange.clone()),
        });
        self.vhost_mut(asked.vhost).insert_exchange(exchange);
        Ok(applied)
    }

    /// Deleting what is not there succeeds.
    fn delete_exchange(
        &mut self,
        vhost: &Name,
        name: &Name,
        if_unused: bool,
        origin: Origin,
    ) -> Result<Applied, Error> {
        if name.is_empty() {
            return Err(Error::DefaultExchange);
        }
        if name.starts_with(RESERVED_PREFIX) {
            return Err(Error::SystemExchange {
                name: name.clone(),
                vhost: vhost.clone(),
            });
        }
        let Some(exchange) = self.expect_vhost(vhost)?.exchange(name).cloned() else {
            return Ok(Applied::nothing());
        };
        if if_unused && exchange.binding_count() > 0 {
            return Err(Error::InUse {
                kind: ResourceKind::Exchange,
                name: name.clone(),
                vhost: vhost.clone(),
            });
        }
        let removed = self
            .vhost_mut(vhost)
            .remove_exchange(&exchange, origin.cascade());
        let mut applied = Applied::nothing();
        applied.record_removed(vhost, removed);
        Ok(applied)
    }

    fn declare_queue(&mut self, asked: &QueueDeclaration<'_>) -> Result<Applied, Error> {
        let vhost = self.expect_vhost(asked.vhost)?;
        if let Some(existing) = vhost.queue(asked.name) {
            asked.check_equivalent(existing)?;
            let reply = MetadataReply::Queue {
                queue: existing.queue,
                created: false,
            };
            return Ok(Applied {
                reply,
                ..Applied::nothing()
            });
        }
        if asked.name.starts_with(RESERVED_PREFIX) && !asked.server_named {
            return Err(Error::ReservedName {
                kind: ResourceKind::Queue,
                name: asked.name.clone(),
            });
        }
        let settings = QueueArguments::parse(asked.arguments, asked.name, asked.vhost)?;

        let id = asked.id.unwrap_or(QueueId(self.next_queue_id));
        self.next_queue_id = self.next_queue_id.max(id.0 + 1);
        let queue = QueueRef {
            id,
            shard: ShardId(asked.home % self.shards),
        };
        let record = Arc::new(asked.record(queue, settings));
        self.queues.insert_mut(id, Arc::clone(&record));
        self.vhost_mut(asked.vhost)
            .insert_queue(Arc::clone(&record));
        if let Some(owner) = asked.exclusive_owner {
            let ids = self
                .exclusive
                .get(&owner)
                .cloned()
                .unwrap_or_else(RedBlackTreeSetSync::new_sync);
            self.exclusive.insert_mut(owner, ids.insert(id));
        }
        let mut applied = Applied {
            reply: MetadataReply::Queue {
                queue,
                created: true,
            },
            ..Applied::nothing()
        };
        applied
            .log
            .extend(record.durable.then(|| record.declaration()));
        applied.events.push(MetadataEvent::QueueCreated { record });
        Ok(applied)
    }

    /// Deletes the queues that exist, with their bindings and the auto-delete exchanges that these leave behind.
    fn delete_queues(&mut self, ids: &[QueueId], origin: Origin) -> Applied {
        let mut applied = Applied::nothing();
        for id in ids {
            let Some(record) = self.queues.get(id).cloned() else {
                continue;
            };
            self.forget_queue(&record);
            let removed = self
                .vhost_mut(&record.vhost)
                .remove_queue(&record, origin.cascade());
            applied.log.extend(
                record
                    .durable
                    .then_some(MetadataCommand::DeleteQueue { id: *id }),
            );
            applied.record_removed(&record.vhost, removed);
            applied.events.push(MetadataEvent::QueueDeleted { record });
        }
        applied
    }

    /// Takes a queue out of the indexes over all vhosts.
    fn forget_queue(&mut self, record: &QueueRecord) {
        self.queues.remove_mut(&record.id());
        let Some(owner) = record.exclusive_owner else {
            return;
        };
        let Some(ids) = self.exclusive.get_mut(&owner) else {
            return;
        };
        ids.remove_mut(&record.id());
        if ids.is_empty() {
            self.exclusive.remove_mut(&owner);
        }
    }

    /// Binding the same again changes nothing. The source is looked for first, then the destination.
    fn bind(&mut self, key: &BindingKey<'_>, command: &MetadataCommand) -> Result<Applied, Error> {
        key.check_not_default()?;
        let vhost = self.expect_vhost(key.vhost)?;
        let source = vhost.expect_exchange(key.source)?;
        let (target, destination_durable) = vhost.resolve(key.destination)?;
        let binding = key.binding(source.durable && destination_durable);
        source.check_binding(&binding)?;
        let mut applied = Applied::nothing();
        if source.binding(&binding).is_some() {
            return Ok(applied);
        }
        let binding = Arc::new(binding);
        self.vhost_mut(key.vhost).insert_binding(&binding, target);
        applied.log.extend(binding.durable.then(|| command.clone()));
        applied.events.push(MetadataEvent::BindingCreated {
            vhost: key.vhost.clone(),
            binding,
        });
        Ok(applied)
    }

    /// Unbinding what is not bound succeeds.
    fn unbind(
        &mut self,
        key: &BindingKey<'_>,
        command: &MetadataCommand,
        origin: Origin,
    ) -> Result<Applied, Error> {
        key.check_not_default()?;
        let vhost = self.expect_vhost(key.vhost)?;
        let probe = key.binding(false);
        let Some(binding) = vhost
            .exchange(key.source)
            .and_then(|source| source.binding(&probe))
            .cloned()
        else {
            return Ok(Applied::nothing());
        };
        let removed = self
            .vhost_mut(key.vhost)
            .remove_binding(&binding, origin.cascade());
        let mut applied = Applied::nothing();
        applied.log.extend(binding.durable.then(|| command.clone()));
        applied.record_removed(key.vhost, removed);
        Ok(applied)
    }

    /// The commands about users and their permissions. All of them are durable.
    fn change_user(&mut self, command: &MetadataCommand) -> Result<Applied, Error> {
        use MetadataCommand as C;
        let mut applied = Applied::nothing();
        let event = match command {
            C::PutUser {
                name,
                password_hash,
                tags,
            } => {
                let user = self
                    .users
                    .get(name)
                    .cloned()
                    .unwrap_or_else(|| Arc::new(User::new(name.clone())));
                let user = User {
                    password_hash: password_hash.clone(),
                    tags: tags.clone(),
                    ..(*user).clone()
                };
                self.users.insert_mut(name.clone(), Arc::new(user));
                MetadataEvent::UserChanged { user: name.clone() }
            }
            C::DeleteUser { name } => {
                self.check_user(name)?;
                self.users.remove_mut(name);
                MetadataEvent::UserDeleted { user: name.clone() }
            }
            C::SetPermissions {
                vhost,
                user,
                configure,
                write,
                read,
            } => {
                self.check_user(user)?;
                self.expect_vhost(vhost)?;
                let entry = Permission {
                    configure: Pattern::new(configure)?,
                    write: Pattern::new(write)?,
                    read: Pattern::new(read)?,
                };
                self.user_mut(user)
                    .permissions
                    .insert_mut(vhost.clone(), Arc::new(entry));
                MetadataEvent::PermissionsChanged {
                    user: user.clone(),
                    vhost: vhost.clone(),
                }
            }
            C::ClearPermissions { vhost, user } => {
                self.check_user(user)?;
                self.expect_vhost(vhost)?;
                self.user_mut(user).permissions.remove_mut(vhost);
                MetadataEvent::PermissionsChanged {
                    user: user.clone(),
                    vhost: vhost.clone(),
                }
            }
            C::SetTopicPermissions {
                vhost,
                user,
                exchange,
                write,
                read,
            } => {
                self.check_user(user)?;
                self.expect_vhost(vhost)?;
                let entry = TopicPermission {
                    write: Pattern::with_variables(write)?,
                    read: Pattern::with_variables(read)?,
                };
                let key = (vhost.clone(), exchange.clone());
                self.user_mut(user)
                    .topic_permissions
                    .insert_mut(key, Arc::new(entry));
                MetadataEvent::PermissionsChanged {
                    user: user.clone(),
                    vhost: vhost.clone(),
                }
            }
            C::ClearTopicPermissions {
                vhost,
                user,
                exchange,
            } => {
                self.check_user(user)?;
                self.expect_vhost(vhost)?;
                self.user_mut(user)
                    .clear_topic_permissions(vhost, exchange.as_ref());
                MetadataEvent::PermissionsChanged {
                    user: user.clone(),
                    vhost: vhost.clone(),
                }
            }
            C::CreateVhost { .. }
            | C::DeleteVhost { .. }
            | C::DeclareExchange { .. }
            | C::DeleteExchange { .. }
            | C::DeclareQueue { .. }
            | C::DeleteQueue { .. }
            | C::DeleteExclusiveQueues { .. }
            | C::Bind { .. }
            | C::Unbind { .. } => unreachable!("dispatch sends only user commands here"),
        };
        applied.log.push(command.clone());
        applied.events.push(event);
        Ok(applied)
    }

    fn expect_vhost(&self, name: &Name) -> Result<&Arc<Vhost>, Error> {
        self.vhost(name).ok_or_else(|| Error::VhostNotFound {
            vhost: name.clone(),
        })
    }

    fn check_user(&self, name: &Name) -> Result<(), Error> {
        if self.users.contains_key(name) {
            Ok(())
        } else {
            Err(Error::UserNotFound { user: name.clone() })
        }
    }

    /// A vhost that was checked to exist, to be changed.
    fn vhost_mut(&mut self, name: &Name) -> &mut Vhost {
        Arc::make_mut(self.vhosts.get_mut(name).expect("the vhost was checked"))
    }

    /// A user that was checked to exist, to be changed.
    fn user_mut(&mut self, name: &Name) -> &mut User {
        Arc::make_mut(self.users.get_mut(name).expect("the user was checked"))
    }
}

impl Applied {
    fn nothing() -> Self {
        Self {
            reply: MetadataReply::Done,
            durable: false,
            log: Vec::new(),
            events: Vec::new(),
        }
    }

    /// Bindings are not logged: they go again when what they went with is replayed.
    fn record_removed(&mut self, vhost: &Name, removed: Removed) {
        for binding in removed.bindings {
            self.events.push(MetadataEvent::BindingDeleted {
                vhost: vhost.clone(),
                binding,
            });
        }
        for exchange in removed.exchanges {
            if exchange.durable {
                let name = exchange.name.clone();
                self.log.push(MetadataCommand::DeleteExchange {
                    vhost: vhost.clone(),
                    name,
                    if_unused: false,
                });
            }
            self.events.push(MetadataEvent::ExchangeDeleted {
                vhost: vhost.clone(),
                exchange,
            });
        }
    }
}

impl ExchangeDeclaration<'_> {
    /// Checks that the existing exchange is what is asked for.
    fn check_equivalent(
        &self,
        existing: &Exchange,
        exchange_type: ExchangeType,
    ) -> Result<(), Error> {
        let differs = |argument: &str, received: &str, current: &str| match received == current {
            true => Ok(()),
            false => Err(inequivalent(
                ResourceKind::Exchange,
                self.name,
                self.vhost,
                argument,
                received,
                current,
            )),
        };
        differs(
            "type",
            exchange_type.as_str(),
            existing.exchange_type.as_str(),
        )?;
        differs("durable", flag(self.durable), flag(existing.durable))?;
        differs(
            "auto_delete",
            flag(self.auto_delete),
            flag(existing.auto_delete),
        )?;
        differs("internal", flag(self.internal), flag(existing.internal))?;
        let (current, received) = (&existing.arguments, self.arguments);
        check_argument(
            ResourceKind::Exchange,
            ALTERNATE_EXCHANGE,
            current,
            received,
            self.name,
            self.vhost,
        )
    }

    fn alternate_exchange(&self) -> Result<Option<Name>, Error> {
        let Self { name, vhost, .. } = self;
        let Some(value) = self.arguments.get(ALTERNATE_EXCHANGE) else {
            return Ok(None);
        };
        if let Value::LongStr(_) = value {
            // No exchange has a name that is not UTF-8, so nothing is lost.
            return Ok(value.as_str().map(Name::from));
        }
        let found = value.type_name();
        let text = format!(
            "invalid type '{found}' for arg '{ALTERNATE_EXCHANGE}' in exchange '{name}' in vhost '{vhost}'"
        );
        Err(Error::Precondition(text.into()))
    }
}

impl QueueDeclaration<'_> {
    /// Checks that the existing queue is what is asked for.
    fn check_equivalent(&self, existing: &QueueRecord) -> Result<(), Error> {
        if existing.exclusive_owner != self.exclusive_owner {
            return Err(existing.exclusive_to_other());
        }
        let differs = |argument: &str, received: bool, current: bool| match received == current {
            true => Ok(()),
            false => {
                let (received, current) = (flag(received), flag(current));
                Err(inequivalent(
                    ResourceKind::Queue,
                    self.name,
                    self.vhost,
                    argument,
                    received,
                    current,
                ))
            }
        };
        differs("durable", self.durable, existing.durable)?;
        differs("auto_delete", self.auto_delete, existing.auto_delete)?;
        check_equivalent(&existing.arguments, self.arguments, self.name, self.vhost)
    }

    fn record(&self, queue: QueueRef, settings: QueueArguments) -> QueueRecord {
        QueueRecord {
            queue,
            vhost: self.vhost.clone(),
            name: self.name.clone(),
            durable: self.durable,
            exclusive_owner: self.exclusive_owner,
            auto_delete: self.auto_delete,
            arguments: self.arguments.clone(),
            settings,
            user: self.user.clone(),
            home: self.home,
            server_named: self.server_named,
        }
    }
}

impl BindingKey<'_> {
    fn check_not_default(&self) -> Result<(), Error> {
        let to_default = matches!(self.destination, Destination::Exchange(name) if name.is_empty());
        if self.source.is_empty() || to_default {
            Err(Error::DefaultExchange)
        } else {
            Ok(())
        }
    }

    fn binding(&self, durable: bool) -> Binding {
        Binding::new(
            self.source.clone(),
            self.destination.clone(),
            self.binding_key.clone(),
            self.arguments.clone(),
            durable,
        )
    }
}

fn inequivalent(
    kind: ResourceKind,
    name: &Name,
    vhost: &Name,
    argument: &str,
    received: &str,
    current: &str,
) -> Error {
    Error::InequivalentArgument {
        kind,
        name: name.clone(),
        vhost: vhost.clone(),
        argument: argument.into(),
        received: format!("'{received}'").into(),
        current: format!("'{current}'").into(),
    }
}

fn flag(value: bool) -> &'static str {
    if value { "true" } else { "false" }
}
