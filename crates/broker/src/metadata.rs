//! Everything the broker knows besides messages: vhosts, exchanges, queues, bindings, users, permissions, policies, limits.
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

mod declaration;
mod import;
mod operator;
mod rules;
mod sharding;
mod snapshot;
#[cfg(test)]
mod tests;
mod users;

pub use rules::{MetadataRules, VhostUser};
pub use snapshot::{DefaultUser, Snapshot, bootstrap_commands};

use crate::Error;
use crate::auth::User;
use crate::binding::Binding;
use crate::command::{MetadataCommand, MetadataReply};
use crate::error::ResourceKind;
use crate::exchange::{Exchange, ExchangeType, History, HistoryLog, history_of, number_of};
use crate::json::Json;
use crate::persistent::PersistentMap;
use crate::policy::{Policy, PolicyScope};
use crate::queue_arguments::QueueArguments;
use crate::value::Arguments;
use crate::vhost::{Cascade, QueueRecord, Removed, Vhost};
use base::{ConnectionId, Name, QueueId, QueueRef, ShardId};
use declaration::{BindingKey, ExchangeDeclaration, QueueDeclaration};
use rpds::{RedBlackTreeMapSync, RedBlackTreeSetSync};
use std::sync::Arc;

/// The global parameter that names the cluster.
pub const CLUSTER_NAME: &str = "cluster_name";
/// The global parameter that no other cluster has the same value of.
pub const INTERNAL_CLUSTER_ID: &str = "internal_cluster_id";

/// The global parameter that says which definitions were imported last; it is not part of definitions itself.
pub const IMPORTED_DEFINITIONS_HASH: &str = "imported_definition_hash_value";

/// What names that belong to the server start with.
const RESERVED_PREFIX: &str = "amq.";

/// The metadata of a node or a cluster.
#[derive(Clone, Debug)]
pub struct Metadata {
    vhosts: PersistentMap<Name, Arc<Vhost>>,
    users: PersistentMap<Name, Arc<User>>,
    global_parameters: RedBlackTreeMapSync<Name, Arc<Json>>,
    /// Invariant: holds exactly the queues of all vhosts.
    queues: PersistentMap<QueueId, Arc<QueueRecord>>,
    /// Invariant: holds exactly the queues with an exclusive owner.
    exclusive: PersistentMap<ConnectionId, RedBlackTreeSetSync<QueueId>>,
    /// Larger than the id of any queue that ever was durable, or is, and than the number of any such history.
    next_queue_id: u64,
    version: u64,
    /// Counts the changes of what connections remember.
    connection_version: u64,
    /// At least 1.
    shards: u16,
    rules: Arc<MetadataRules>,
    /// What the log has to be told about the histories of exchanges.
    history_log: Arc<HistoryLog>,
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
    /// An operator stopped or resumed its deliveries.
    QueuePaused {
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
    /// Its metadata.
    VhostUpdated {
        vhost: Name,
    },
    /// What applies to the queues and exchanges of the vhost may be different now.
    PolicySet {
        vhost: Name,
        scope: PolicyScope,
        policy: Arc<Policy>,
    },
    /// The same.
    PolicyCleared {
        vhost: Name,
        scope: PolicyScope,
        name: Name,
    },
    GlobalParameterSet {
        name: Name,
    },
    GlobalParameterCleared {
        name: Name,
    },
    /// A runtime parameter that is a schema.
    SchemaSet {
        vhost: Name,
        name: Name,
    },
    SchemaCleared {
        vhost: Name,
        name: Name,
    },
    VhostLimitsChanged {
        vhost: Name,
    },
    UserLimitsChanged {
        user: Name,
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

impl Metadata {
    /// Metadata without anything in it. `shards` (at least 1) is how many threads share the queues.
    pub fn new(shards: u16) -> Self {
        Self {
            vhosts: PersistentMap::default(),
            users: PersistentMap::default(),
            global_parameters: RedBlackTreeMapSync::new_sync(),
            queues: PersistentMap::default(),
            exclusive: PersistentMap::default(),
            next_queue_id: 1,
            version: 0,
            connection_version: 0,
            shards: shards.max(1),
            rules: Arc::default(),
            history_log: Arc::default(),
        }
    }

    /// What the log has to be told about the histories of exchanges; all states of one metadata share it.
    pub fn history_log(&self) -> &Arc<HistoryLog> {
        &self.history_log
    }

    /// The histories that the log keeps.
    pub fn histories(&self) -> impl Iterator<Item = (QueueId, &Arc<History>)> {
        let exchanges = self.vhosts().flat_map(|vhost| vhost.exchanges());
        exchanges
            .filter_map(|exchange| exchange.history())
            .filter_map(|history| Some((history.log_id()?, history)))
    }

    /// Sets what commands that come from now on have to respect.
    pub fn set_rules(&mut self, rules: MetadataRules) {
        self.rules = Arc::new(rules);
    }

    /// What the node's configuration says.
    pub fn rules(&self) -> &MetadataRules {
        &self.rules
    }

    /// Counts the commands that changed something.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Counts the changes that every open connection has to look at: whether its vhost is traced, how fast it
    /// may publish, and whether its vhost and its user are still there.
    pub fn connection_version(&self) -> u64 {
        self.connection_version
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

    /// The global runtime parameter of that name.
    pub fn global_parameter(&self, name: &str) -> Option<&Json> {
        self.global_parameters.get(name).map(|value| &**value)
    }

    /// All global runtime parameters, by name.
    pub fn global_parameters(&self) -> impl Iterator<Item = (&Name, &Json)> {
        self.global_parameters
            .iter()
            .map(|(name, value)| (name, &**value))
    }

    /// What a queue has to do: its arguments and the policies that apply.
    pub fn queue_settings(&self, record: &QueueRecord) -> QueueArguments {
        match self.vhost(&record.vhost) {
            Some(vhost) => vhost.queue_settings(record),
            None => record.settings.clone(),
        }
    }

    /// Whether the queue goes when nobody uses it, by an argument or a policy.
    pub fn has_expiry(&self, queue: QueueId) -> bool {
        self.queue_by_id(queue)
            .is_some_and(|record| self.queue_settings(record).expires_ms.is_some())
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
        match self.reshards(command) {
            Some(vhost) => self.apply_and_reshard(command, vhost),
            None => self.dispatch(command, Origin::Request),
        }
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
            C::DeleteVhost { name } => self.delete_vhost(name, command),
            C::DeclareExchange {
                vhost,
                name,
                exchange_type,
                durable,
                auto_delete,
                internal,
                arguments,
                history,
            } => {
                let declaration = ExchangeDeclaration {
                    vhost,
                    name,
                    exchange_type,
                    durable: *durable,
                    auto_delete: *auto_delete,
                    internal: *internal,
                    arguments,
                    history: *history,
                };
                self.declare_exchange(&declaration, command, origin)
            }
            C::DeleteExchange {
                vhost,
                name,
                if_unused,
            } => self.delete_exchange(vhost, name, *if_unused, origin),
            C::CreateSystemExchange { vhost, name } => {
                self.create_system_exchange(vhost, name, command)
            }
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
            } => {
                let mut asked = QueueDeclaration {
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
                };
                let typed = self.with_queue_type(&asked, origin)?;
                asked.arguments = typed.as_ref().unwrap_or(arguments);
                self.declare_queue(&asked)
            }
            C::DeleteQueue { id } => Ok(self.delete_queues(&[*id], origin)),
            C::SetQueuePaused { id, paused } => Ok(self.set_queue_paused(*id, *paused)),
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
                origin,
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
            C::CreateVhost { .. }
            | C::UpdateVhost { .. }
            | C::PutPolicy { .. }
            | C::DeletePolicy { .. }
            | C::PutParameter { .. }
            | C::DeleteParameter { .. }
            | C::PutGlobalParameter { .. }
            | C::DeleteGlobalParameter { .. }
            | C::SetVhostLimits { .. }
            | C::SetUserLimits { .. } => self.change_operation(command, origin),
        }?;
        applied.durable = !applied.log.is_empty();
        if !applied.events.is_empty() {
            self.version += 1;
        }
        Ok(applied)
    }

    /// Everything in the vhost goes with it, and every user's permissions there.
    fn delete_vhost(&mut self, name: &Name, command: &MetadataCommand) -> Result<Applied, Error> {
        let vhost = Arc::clone(self.expect_vhost(name)?);
        if vhost.metadata.protected_from_deletion {
            return Err(Error::VhostProtected {
                vhost: name.clone(),
            });
        }
        let mut applied = Applied::nothing();
        let mut records: Vec<_> = vhost.queues().cloned().collect();
        records.sort_unstable_by_key(|record| record.id());
        if records.len() > self.queues.size() / 2 {
            // The fewer that stay are faster put into an empty map than the others taken out of the old one.
            let stays = |record: &&Arc<QueueRecord>| record.vhost != *name;
            let stay = self.queues().filter(stays);
            self.queues = stay
                .map(|record| (record.id(), Arc::clone(record)))
                .collect();
        }
        for record in records {
            self.forget_queue(&record);
            applied.events.push(MetadataEvent::QueueDeleted { record });
        }
        self.vhosts.remove_mut(name);
        self.connection_version += 1;
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
        origin: Origin,
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
        asked.check_alternate_exchange()?;
        asked.check_delayed_publish()?;
        if origin == Origin::Request {
            self.check_exchange_limit(asked)?;
            if exchange_type == ExchangeType::LocalRandom && self.rules.local_random_disabled {
                let text = "x-local-random exchange is disabled by configuration";
                return Err(Error::Precondition(text.into()));
            }
        }
        let (name, arguments) = (asked.name.clone(), asked.arguments.clone());
        let mut exchange = Exchange::new(name, exchange_type, asked.durable, arguments)?;
        exchange.auto_delete = asked.auto_delete;
        exchange.internal = asked.internal;
        exchange.delays = vhost.delays_at(&exchange);
        exchange.schema = vhost.schema_of(&exchange).map(Arc::new);
        exchange.deduplication = vhost.deduplication_of(&exchange);
        exchange.alternate_exchange = vhost.alternate_exchange_of(&exchange);
        let mut applied = Applied::nothing();
        if asked.durable {
            let mut command = command.clone();
            if let (
                Some(kept),
                MetadataCommand::DeclareExchange {
                    history: logged, ..
                },
            ) = (exchange.history(), &mut command)
            {
                let number = asked.history.map_or(self.next_queue_id, number_of);
                self.next_queue_id = self.next_queue_id.max(number + 1);
                let history = history_of(number);
                kept.keep_in_log(history, Arc::clone(&self.history_log));
                *logged = Some(history);
            }
            applied.log.push(command);
        }
        applied.events.push(MetadataEvent::ExchangeCreated {
            vhost: asked.vhost.clone(),
            exchange: Arc::new(exchange.clone()),
        });
        self.vhost_mut(asked.vhost).insert_exchange(exchange);
        Ok(applied)
    }

    fn check_exchange_limit(&self, asked: &ExchangeDeclaration<'_>) -> Result<(), Error> {
        let Some(limit) = self.rules.exchanges_max else {
            return Ok(());
        };
        let count: usize = self.vhosts().map(|vhost| vhost.exchange_count()).sum();
        if (count as u64) < limit {
            return Ok(());
        }
        let ExchangeDeclaration { name, vhost, .. } = asked;
        let text = format!(
            "cannot declare exchange '{name}' in vhost '{vhost}': exchange limit of {limit} is reached"
        );
        Err(Error::Precondition(text.into()))
    }

    fn create_system_exchange(
        &mut self,
        vhost: &Name,
        name: &Name,
        command: &MetadataCommand,
    ) -> Result<Applied, Error> {
        let mut applied = Applied::nothing();
        if self.expect_vhost(vhost)?.exchange(name).is_some() {
            return Ok(applied);
        }
        let mut exchange = Exchange::new(
            name.clone(),
            ExchangeType::Topic,
            true,
            Arguments::default(),
        )?;
        exchange.internal = true;
        applied.log.push(command.clone());
        applied.events.push(MetadataEvent::ExchangeCreated {
            vhost: vhost.clone(),
            exchange: Arc::new(exchange.clone()),
        });
        self.vhost_mut(vhost).insert_exchange(exchange);
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
        settings
            .queue_type
            .check_properties(asked.name, asked.vhost, asked.properties())?;
        if asked.id.is_none() {
            self.check_queue_limit(asked.name)?;
            vhost.check_queue_limit(asked.name)?;
        }

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

    fn check_queue_limit(&self, name: &Name) -> Result<(), Error> {
        match self.rules.queues_max {
            Some(max) if self.queues.size() as u64 >= max => Err(Error::Precondition(
                format!("cannot declare queue '{name}': queue limit in cluster ({max}) is reached")
                    .into(),
            )),
            Some(_) | None => Ok(()),
        }
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

    /// Stops or resumes the deliveries of a queue. If it is gone, nothing is left to do.
    fn set_queue_paused(&mut self, id: QueueId, paused: bool) -> Applied {
        let mut applied = Applied::nothing();
        let Some(record) = self
            .queues
            .get(&id)
            .filter(|record| record.paused != paused)
        else {
            return applied;
        };
        let mut record = QueueRecord::clone(record);
        record.paused = paused;
        let record = Arc::new(record);
        self.queues.insert_mut(id, Arc::clone(&record));
        self.vhost_mut(&record.vhost)
            .insert_queue(Arc::clone(&record));
        let command = MetadataCommand::SetQueuePaused { id, paused };
        applied.log.extend(record.durable.then_some(command));
        applied.events.push(MetadataEvent::QueuePaused { record });
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
    fn bind(
        &mut self,
        key: &BindingKey<'_>,
        command: &MetadataCommand,
        origin: Origin,
    ) -> Result<Applied, Error> {
        key.check_not_default()?;
        let vhost = self.expect_vhost(key.vhost)?;
        let source = vhost.expect_exchange(key.source)?;
        let (target, destination_durable) = vhost.resolve(key.destination)?;
        let binding = key.binding(source.durable && destination_durable);
        source.check_binding(&binding)?;
        if origin == Origin::Request {
            vhost.check_queue_type(source, key.destination)?;
        }
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

    /// Checks what the comments call invariants, for tests and simulations.
    ///
    /// # Panics
    /// If one does not hold.
    pub fn check_invariants(&self) {
        let owned: usize = self.vhosts().map(|vhost| vhost.queue_count()).sum();
        assert_eq!(
            self.queues.size(),
            owned,
            "the index by id holds all queues"
        );
        for vhost in self.vhosts() {
            vhost.check_invariants();
            for record in vhost.queues() {
                let indexed = self.queue_by_id(record.id());
                assert!(
                    indexed.is_some_and(|indexed| Arc::ptr_eq(indexed, record)),
                    "{record:?}"
                );
                assert!(record.id().0 < self.next_queue_id, "{record:?}");
            }
        }
        let exclusive = self
            .queues()
            .filter(|record| record.exclusive_owner.is_some())
            .count();
        let owners = self.exclusive.keys().copied();
        let listed: usize = owners
            .map(|owner| self.exclusive_queues(owner).count())
            .sum();
        assert_eq!(
            listed, exclusive,
            "the index by owner holds all exclusive queues"
        );
        assert!(
            self.exclusive.values().all(|ids| !ids.is_empty()),
            "no owner without queues"
        );
    }

    fn expect_vhost(&self, name: &Name) -> Result<&Arc<Vhost>, Error> {
        self.vhost(name).ok_or_else(|| Error::VhostNotFound {
            vhost: name.clone(),
        })
    }

    /// A vhost that was checked to exist, to be changed.
    fn vhost_mut(&mut self, name: &Name) -> &mut Vhost {
        Arc::make_mut(self.vhosts.get_mut(name).expect("the vhost was checked"))
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
