//! A virtual host: a name space of exchanges, queues and bindings.
//!
//! A [`Vhost`] is an immutable value in the metadata; every change makes a new one that shares most of its parts with the
//! old. Readers keep the one they have. The checks that come before a change are the [`metadata`](crate::metadata) machine's.

use crate::Error;
use crate::binding::Binding;
use crate::command::Destination;
use crate::delay::DELAYED_PUBLISH;
use crate::error::ResourceKind;
use crate::exchange::{ALTERNATE_EXCHANGE, Exchange, ExchangeType, Target};
use crate::json::Json;
use crate::limits::{self, VhostLimits};
use crate::persistent::PersistentMap;
use crate::policy::{self, ApplyTo, Effective, PolicyScope, PolicySet, Subject};
use crate::queue_arguments::{DeduplicatingExchange, Deduplication, QueueArguments, QueueType};
use crate::schema::{self, OnViolation, Schema, SchemaCheck};
use crate::sharding::Sharding;
use crate::value::{Arguments, Value};
use crate::vhost_metadata::VhostMetadata;
use base::{ConnectionId, Name, QueueId, QueueRef};
use rpds::{RedBlackTreeMapSync, RedBlackTreeSetSync};
use std::sync::Arc;

/// The exchanges that every vhost has from the start. All are durable.
const PREDECLARED: [(&str, ExchangeType); 7] = [
    ("", ExchangeType::Direct),
    ("amq.direct", ExchangeType::Direct),
    ("amq.fanout", ExchangeType::Fanout),
    ("amq.topic", ExchangeType::Topic),
    ("amq.headers", ExchangeType::Headers),
    ("amq.match", ExchangeType::Headers),
    (TRACE_EXCHANGE, ExchangeType::Topic),
];

/// Copies of traced messages come out of this one, so clients may not publish to it.
pub const TRACE_EXCHANGE: &str = "amq.rabbitmq.trace";

/// What happens in the node comes out of this one, in one vhost only.
pub const EVENT_EXCHANGE: &str = "amq.rabbitmq.event";

/// Log lines come out of this one, in one vhost only and where it was asked for.
pub const LOG_EXCHANGE: &str = "amq.rabbitmq.log";

/// Whether every vhost has an exchange of this name from the start.
pub(crate) fn is_predeclared(exchange: &str) -> bool {
    PREDECLARED.iter().any(|(name, _)| *name == exchange)
}

/// What is known about a queue besides its messages and consumers. It never changes while the queue exists.
#[derive(Clone, Debug, PartialEq)]
pub struct QueueRecord {
    /// This incarnation and the shard that owns it.
    pub queue: QueueRef,
    /// The vhost it is in.
    pub vhost: Name,
    /// Its name there.
    pub name: Name,
    /// Survives a restart. Never true of an exclusive queue, whatever was asked for.
    pub durable: bool,
    /// The only connection that may use it, and that it goes with.
    pub exclusive_owner: Option<ConnectionId>,
    /// Goes when its last consumer goes.
    pub auto_delete: bool,
    /// The arguments as given.
    pub arguments: Arguments,
    /// What they mean without policies; [`Vhost::queue_settings`] has these as well.
    pub settings: QueueArguments,
    /// Who declared it.
    pub user: Name,
    /// The shard that was asked for; the owner is `home % shards`.
    pub home: u16,
    /// The server chose the name.
    pub server_named: bool,
    /// An operator stopped its deliveries.
    pub paused: bool,
}

impl QueueRecord {
    /// The incarnation.
    pub fn id(&self) -> QueueId {
        self.queue.id
    }

    /// Checks that a connection may use the queue. Publishing to it is open to all.
    ///
    /// # Errors
    /// `ExclusiveToOther`, if the queue belongs to another connection.
    pub fn check_exclusive(&self, connection: ConnectionId) -> Result<(), Error> {
        match self.exclusive_owner {
            Some(owner) if owner != connection => Err(self.exclusive_to_other()),
            Some(_) | None => Ok(()),
        }
    }

    pub(crate) fn exclusive_to_other(&self) -> Error {
        Error::ExclusiveToOther {
            name: self.name.clone(),
            vhost: self.vhost.clone(),
        }
    }
}

/// A virtual host.
#[derive(Clone, Debug)]
pub struct Vhost {
    /// Its name.
    pub name: Name,
    /// What its operators say about it.
    pub metadata: VhostMetadata,
    /// How much may be in it.
    pub limits: VhostLimits,
    policies: PolicySet,
    operator_policies: PolicySet,
    /// The runtime parameters that are schemas, by name.
    schemas: RedBlackTreeMapSync<Name, Arc<Schema>>,
    queues: PersistentMap<Name, Arc<QueueRecord>>,
    exchanges: PersistentMap<Name, Arc<Exchange>>,
    /// Invariant: holds exactly the exchanges whose messages enter queues once, by name; `None` for none.
    deduplicating: Option<Arc<[DeduplicatingExchange]>>,
    /// The exchanges from which bindings lead to a destination.
    /// Invariant: exactly those whose `Exchange::leads_to` it; none is empty.
    by_destination: PersistentMap<Destination, RedBlackTreeSetSync<Name>>,
    /// Invariant: holds exactly the queues before which messages may wait.
    delaying_queues: RedBlackTreeSetSync<QueueId>,
}

/// Bindings that went with a queue, an exchange or on their own, and what they left behind.
#[derive(Debug, Default)]
pub(crate) struct Removed {
    pub(crate) bindings: Vec<Arc<Binding>>,
    pub(crate) exchanges: Vec<Arc<Exchange>>,
}

impl Vhost {
    /// A vhost with the predeclared exchanges.
    pub(crate) fn new(name: Name, metadata: VhostMetadata) -> Self {
        let mut vhost = Self {
            name,
            metadata,
            limits: VhostLimits::default(),
            policies: PolicySet::default(),
            operator_policies: PolicySet::default(),
            schemas: RedBlackTreeMapSync::new_sync(),
            queues: PersistentMap::default(),
            exchanges: PersistentMap::default(),
            by_destination: PersistentMap::default(),
            deduplicating: None,
            delaying_queues: RedBlackTreeSetSync::new_sync(),
        };
        for (name, exchange_type) in PREDECLARED {
            let mut exchange =
                Exchange::new(name.into(), exchange_type, true, Arguments::default())
                    .expect("no type needs an argument");
            exchange.internal = name == TRACE_EXCHANGE;
            vhost.insert_exchange(exchange);
        }
        vhost
    }

    /// The policies of one kind.
    pub fn policies(&self, scope: PolicyScope) -> &PolicySet {
        match scope {
            PolicyScope::User => &self.policies,
            PolicyScope::Operator => &self.operator_policies,
        }
    }

    pub(crate) fn policies_mut(&mut self, scope: PolicyScope) -> &mut PolicySet {
        match scope {
            PolicyScope::User => &mut self.policies,
            PolicyScope::Operator => &mut self.operator_policies,
        }
    }

    /// The policies that apply to a queue or an exchange of the vhost.
    pub fn effective(&self, subject: Subject<'_>) -> Effective<'_> {
        Effective::find(&self.policies, &self.operator_policies, subject)
    }

    /// The policies that apply to a queue.
    pub fn queue_policies(&self, record: &QueueRecord) -> Effective<'_> {
        self.effective(Subject::Queue(record.settings.queue_type, &record.name))
    }

    /// What a queue has to do: its arguments and the policies that apply.
    pub fn queue_settings(&self, record: &QueueRecord) -> QueueArguments {
        let policies = self.queue_policies(record);
        let mut settings = policies.settings(&record.arguments, &record.settings);
        settings.deduplicating.clone_from(&self.deduplicating);
        settings
    }

    /// The policies that apply to an exchange.
    pub fn exchange_policies(&self, exchange: &Name) -> Effective<'_> {
        self.effective(Subject::Exchange(exchange))
    }

    /// The alternate exchange of an exchange: its argument, or what a policy says.
    pub(crate) fn alternate_exchange_of(&self, exchange: &Exchange) -> Option<Name> {
        if let Some(argument) = exchange.arguments.get(ALTERNATE_EXCHANGE) {
            // No exchange has a name that is not UTF-8, so nothing is lost.
            return argument.as_str().map(Name::from);
        }
        let policies = self.effective(Subject::Exchange(&exchange.name));
        let name = policies.get(policy::ALTERNATE_EXCHANGE)?.as_str()?;
        Some(name.into())
    }

    pub(crate) fn has_alternate_exchange_policies(&self) -> bool {
        self.policies.mentions(policy::ALTERNATE_EXCHANGE)
    }

    /// Gives all exchanges the alternate exchanges that policies now say.
    pub(crate) fn refresh_alternate_exchanges(&mut self) {
        let changed: Vec<_> = self
            .exchanges()
            .filter_map(|exchange| {
                let alternate = self.alternate_exchange_of(exchange);
                (alternate != exchange.alternate_exchange)
                    .then(|| (exchange.name.clone(), alternate))
            })
            .collect();
        for (name, alternate) in changed {
            if let Some(exchange) = self.exchanges.get_mut(&name) {
                Arc::make_mut(exchange).alternate_exchange = alternate;
            }
        }
    }

    /// Whether messages may wait at an exchange: by its type, its argument, or what a policy says.
    pub(crate) fn delays_at(&self, exchange: &Exchange) -> bool {
        let by_policy = || {
            let policies = self.effective(Subject::Exchange(&exchange.name));
            policies
                .get(policy::DELAYED_PUBLISH)
                .and_then(Json::as_bool)
        };
        exchange.exchange_type == ExchangeType::DelayedMessage
            || match exchange.arguments.get(DELAYED_PUBLISH) {
                Some(argument) => *argument == Value::Bool(true),
                None => by_policy() == Some(true),
            }
    }

    /// Whether queues take messages of an exchange once only: by its type, or by a policy that is for exchanges only, since others mean
    /// the queues.
    pub(crate) fn deduplication_of(&self, exchange: &Exchange) -> Option<Deduplication> {
        let own = exchange.own_deduplication();
        if !self.has_deduplication_policies() {
            return own;
        }
        let policies = self.effective(Subject::Exchange(&exchange.name));
        let policy = policies.first_with(&[policy::MESSAGE_DEDUPLICATION]);
        let policy = policy.filter(|policy| policy.apply_to == ApplyTo::Exchanges);
        let is_on = policy.and_then(|policy| policy.definition.get(policy::MESSAGE_DEDUPLICATION));
        if is_on.and_then(Json::as_bool) != Some(true) {
            return own;
        }
        let number = |key: &str| policies.get(key).and_then(Json::as_u64);
        Some(own.unwrap_or_else(|| Deduplication {
            enabled: true,
            ids_max: number("deduplication-cache-size"),
            window_ms: number("deduplication-cache-ttl"),
        }))
    }

    pub(crate) fn has_deduplication_policies(&self) -> bool {
        self.policies.mentions(policy::MESSAGE_DEDUPLICATION)
    }

    /// Finds out anew whose messages enter queues once.
    pub(crate) fn refresh_deduplication(&mut self) {
        let changed: Vec<_> = self
            .exchanges()
            .filter_map(|exchange| {
                let deduplication = self.deduplication_of(exchange);
                (deduplication != exchange.deduplication)
                    .then(|| (exchange.name.clone(), deduplication))
            })
            .collect();
        for (name, deduplication) in changed {
            if let Some(exchange) = self.exchanges.get_mut(&name) {
                Arc::make_mut(exchange).deduplication = deduplication;
            }
        }
        self.list_deduplicating();
    }

    fn list_deduplicating(&mut self) {
        let mut list: Vec<_> = self
            .exchanges()
            .filter_map(|exchange| {
                Some(DeduplicatingExchange {
                    exchange: exchange.name.clone(),
                    deduplication: exchange.deduplication?,
                })
            })
            .collect();
        list.sort_unstable_by(|a, b| a.exchange.cmp(&b.exchange));
        self.deduplicating = (!list.is_empty()).then(|| list.into());
    }

    /// How policies shard an exchange. The default exchange leads to all queues as it is.
    pub(crate) fn sharding_of(&self, exchange: &str) -> Option<Sharding> {
        if !self.has_sharding() || exchange.is_empty() {
            return None;
        }
        self.exchange(exchange)?;
        Sharding::of(&self.effective(Subject::Exchange(exchange)))
    }

    /// Whether any exchange may be sharded.
    pub(crate) fn has_sharding(&self) -> bool {
        self.policies.has_sharding()
    }

    /// The runtime parameters that are schemas, by name.
    pub fn schemas(&self) -> impl Iterator<Item = (&Name, &Arc<Schema>)> {
        self.schemas.iter()
    }

    /// The schema of that name.
    pub fn schema(&self, name: &str) -> Option<&Arc<Schema>> {
        self.schemas.get(name)
    }

    pub(crate) fn insert_schema(&mut self, name: Name, schema: Arc<Schema>) {
        self.schemas.insert_mut(name, schema);
    }

    pub(crate) fn remove_schema(&mut self, name: &Name) {
        self.schemas.remove_mut(name);
    }

    /// What policies say about the messages of an exchange.
    pub(crate) fn schema_of(&self, exchange: &Exchange) -> Option<SchemaCheck> {
        // Replies of remote calls go through the default exchange, too.
        if exchange.is_default() || !self.has_schema_policies() {
            return None;
        }
        let policies = self.effective(Subject::Exchange(&exchange.name));
        let policy = policies.first_with(&[schema::SCHEMA, schema::SCHEMA_PARAMETER])?;
        let schema = match &policy.schema {
            Some(schema) => Ok(Arc::clone(schema)),
            None => {
                let name = policies.get(schema::SCHEMA_PARAMETER)?.as_str()?;
                self.schema(name).cloned().ok_or_else(|| name.into())
            }
        };
        let text = |key: &str| policies.get(key).and_then(Json::as_str);
        let on_violation = match (text(schema::SCHEMA_ACTION), text(schema::SCHEMA_EXCHANGE)) {
            (Some("dead-letter"), Some(exchange)) => OnViolation::DeadLetter(exchange.into()),
            _ => OnViolation::Reject,
        };
        Some(SchemaCheck {
            schema,
            on_violation,
        })
    }

    pub(crate) fn has_schema_policies(&self) -> bool {
        [schema::SCHEMA, schema::SCHEMA_PARAMETER]
            .iter()
            .any(|key| self.policies.mentions(key))
    }

    /// Gives all exchanges the schemas that policies now say.
    pub(crate) fn refresh_schemas(&mut self) {
        let changed: Vec<_> = self
            .exchanges()
            .filter_map(|exchange| {
                let check = self.schema_of(exchange);
                (check.as_ref() != exchange.schema.as_deref())
                    .then(|| (exchange.name.clone(), check.map(Arc::new)))
            })
            .collect();
        for (name, check) in changed {
            if let Some(exchange) = self.exchanges.get_mut(&name) {
                Arc::make_mut(exchange).schema = check;
            }
        }
    }

    fn delays_before(&self, record: &QueueRecord) -> bool {
        if self.has_delay_policies() {
            self.queue_settings(record).delayed_publish
        } else {
            record.settings.delayed_publish
        }
    }

    pub(crate) fn has_delay_policies(&self) -> bool {
        self.policies.mentions(policy::DELAYED_PUBLISH)
    }

    /// Finds out anew where messages may wait.
    pub(crate) fn refresh_delays(&mut self) {
        let changed: Vec<_> = self
            .exchanges()
            .filter(|exchange| self.delays_at(exchange) != exchange.delays)
            .map(|exchange| exchange.name.clone())
            .collect();
        for name in changed {
            if let Some(exchange) = self.exchanges.get_mut(&name) {
                let exchange = Arc::make_mut(exchange);
                exchange.delays = !exchange.delays;
            }
        }
        let delaying = self.queues().filter(|record| self.delays_before(record));
        self.delaying_queues = delaying.map(|record| record.id()).collect();
    }

    /// Checks that one more queue may exist.
    ///
    /// # Errors
    /// `Precondition`
    pub(crate) fn check_queue_limit(&self, queue: &Name) -> Result<(), Error> {
        let vhost = &self.name;
        match limits::allowed(self.limits.max_queues) {
            Some(max) if self.queue_count() as u64 >= max => Err(Error::Precondition(
                format!("cannot declare queue '{queue}': queue limit in vhost '{vhost}' ({max}) is reached").into(),
            )),
            Some(_) | None => Ok(()),
        }
    }

    /// The queue of that name.
    pub fn queue(&self, name: &str) -> Option<&Arc<QueueRecord>> {
        self.queues.get(name)
    }

    /// The queue of that name.
    ///
    /// # Errors
    /// `NotFound`
    pub fn expect_queue(&self, name: &Name) -> Result<&Arc<QueueRecord>, Error> {
        self.queue(name)
            .ok_or_else(|| self.not_found(ResourceKind::Queue, name))
    }

    /// The exchange of that name; the empty name is the default exchange's.
    pub fn exchange(&self, name: &str) -> Option<&Arc<Exchange>> {
        self.exchanges.get(name)
    }

    /// The exchange of that name.
    ///
    /// # Errors
    /// `NotFound`
    pub fn expect_exchange(&self, name: &Name) -> Result<&Arc<Exchange>, Error> {
        self.exchange(name)
            .ok_or_else(|| self.not_found(ResourceKind::Exchange, name))
    }

    /// All queues, in no particular order.
    pub fn queues(&self) -> impl Iterator<Item = &Arc<QueueRecord>> {
        self.queues.values()
    }

    /// How many queues there are.
    pub fn queue_count(&self) -> usize {
        self.queues.size()
    }

    /// Whether there is any queue before which messages may wait.
    pub(crate) fn has_delaying_queues(&self) -> bool {
        !self.delaying_queues.is_empty()
    }

    /// Whether messages that ask for it wait before they enter this queue.
    pub(crate) fn is_delaying_queue(&self, id: QueueId) -> bool {
        self.delaying_queues.contains(&id)
    }

    /// All exchanges with the predeclared ones, in no particular order.
    pub fn exchanges(&self) -> impl Iterator<Item = &Arc<Exchange>> {
        self.exchanges.values()
    }

    /// How many exchanges there are, with the predeclared ones.
    pub fn exchange_count(&self) -> usize {
        self.exchanges.size()
    }

    /// The bindings that start at an exchange. The implicit ones of the default exchange are not among them.
    pub fn bindings_of_source(&self, exchange: &str) -> impl Iterator<Item = &Arc<Binding>> {
        self.exchange(exchange)
            .into_iter()
            .flat_map(|exchange| exchange.bindings())
    }

    /// The bindings that end at a queue or an exchange, without the implicit one of a queue.
    pub fn bindings_of_destination(
        &self,
        destination: &Destination,
    ) -> impl Iterator<Item = &Arc<Binding>> {
        let sources = self.by_destination.get(destination).into_iter().flatten();
        sources
            .filter_map(|source| self.exchange(source))
            .flat_map(move |source| source.bindings_to(destination))
    }

    /// All bindings without the implicit ones, in no particular order of sources.
    pub fn bindings(&self) -> impl Iterator<Item = &Arc<Binding>> {
        self.exchanges().flat_map(|exchange| exchange.bindings())
    }

    /// Checks that the two indexes of bindings agree and that no binding outlives its ends.
    pub(crate) fn check_invariants(&self) {
        let indexed: usize = self
            .by_destination
            .values()
            .map(RedBlackTreeSetSync::size)
            .sum();
        let leading: usize = self
            .exchanges()
            .map(|exchange| exchange.destinations().count())
            .sum();
        assert_eq!(leading, indexed, "both indexes hold the same bindings");
        assert!(
            self.by_destination
                .values()
                .all(|sources| !sources.is_empty())
        );
        for exchange in self.exchanges() {
            assert_eq!(exchange.bindings().count(), exchange.binding_count());
        }
        for binding in self.bindings() {
            let listed = self.by_destination.get(&binding.destination);
            assert!(
                listed.is_some_and(|sources| sources.contains(&binding.source)),
                "{binding:?}"
            );
            let (_, durable) = self
                .resolve(&binding.destination)
                .expect("bindings go before their ends");
            let source = self
                .exchange(&binding.source)
                .expect("bindings go before their ends");
            assert_eq!(binding.durable, source.durable && durable, "{binding:?}");
        }
    }

    fn not_found(&self, kind: ResourceKind, name: &Name) -> Error {
        Error::NotFound {
            kind,
            name: name.clone(),
            vhost: self.name.clone(),
        }
    }

    pub(crate) fn insert_exchange(&mut self, exchange: Exchange) {
        let deduplicates = exchange.deduplication.is_some();
        self.exchanges
            .insert_mut(exchange.name.clone(), Arc::new(exchange));
        if deduplicates {
            self.list_deduplicating();
        }
    }

    pub(crate) fn insert_queue(&mut self, record: Arc<QueueRecord>) {
        if self.delays_before(&record) {
            self.delaying_queues.insert_mut(record.id());
        }
        self.queues.insert_mut(record.name.clone(), record);
    }

    /// What a destination resolves to and whether it is durable.
    ///
    /// # Errors
    /// `NotFound`
    pub(crate) fn resolve(&self, destination: &Destination) -> Result<(Target, bool), Error> {
        match destination {
            Destination::Queue(name) => {
                let record = self.expect_queue(name)?;
                Ok((Target::Queue(record.queue), record.durable))
            }
            Destination::Exchange(name) => {
                let exchange = self.expect_exchange(name)?;
                Ok((Target::Exchange(exchange.name.clone()), exchange.durable))
            }
        }
    }

    /// Checks that queues of this type can be bound to an exchange.
    ///
    /// # Errors
    /// `Precondition`
    pub(crate) fn check_queue_type(
        &self,
        source: &Exchange,
        destination: &Destination,
    ) -> Result<(), Error> {
        let Destination::Queue(name) = destination else {
            return Ok(());
        };
        let queue_type = self.expect_queue(name)?.settings.queue_type;
        if source.exchange_type != ExchangeType::LocalRandom || queue_type == QueueType::Classic {
            return Ok(());
        }
        let module = queue_type.module();
        let text = format!("Queue type {module} not valid for this exchange type");
        Err(Error::Precondition(text.into()))
    }

    /// Adds a binding that was checked and is new.
    pub(crate) fn insert_binding(&mut self, binding: &Arc<Binding>, target: Target) {
        let source = self.source_mut(&binding.source);
        source.add_binding(Arc::clone(binding), target);
        match self.by_destination.get_mut(&binding.destination) {
            Some(sources) if sources.contains(&binding.source) => {}
            Some(sources) => sources.insert_mut(binding.source.clone()),
            None => {
                let sources = RedBlackTreeSetSync::new_sync().insert(binding.source.clone());
                self.by_destination
                    .insert_mut(binding.destination.clone(), sources);
            }
        }
    }

    /// Removes a binding that exists, and what `cascade` says goes with it.
    pub(crate) fn remove_binding(&mut self, binding: &Arc<Binding>, cascade: Cascade) -> Removed {
        let mut removed = Removed::default();
        self.unlink(binding, &mut removed, cascade);
        self.remove_collected(&mut removed, cascade);
        removed
    }

    /// Removes a queue with its bindings.
    pub(crate) fn remove_queue(&mut self, record: &QueueRecord, cascade: Cascade) -> Removed {
        let mut removed = Removed::default();
        self.unlink_destination(
            &Destination::Queue(record.name.clone()),
            &mut removed,
            cascade,
        );
        self.delaying_queues.remove_mut(&record.id());
        self.queues.remove_mut(&record.name);
        self.remove_collected(&mut removed, cascade);
        removed
    }

    /// Removes an exchange with its bindings; it is the first of the removed exchanges.
    pub(crate) fn remove_exchange(
        &mut self,
        exchange: &Arc<Exchange>,
        cascade: Cascade,
    ) -> Removed {
        let mut removed = Removed {
            exchanges: vec![Arc::clone(exchange)],
            ..Removed::default()
        };
        self.remove_collected(&mut removed, cascade);
        removed
    }

    /// Removes the exchanges in the list; auto-delete exchanges that lose their last binding by it join the list.
    fn remove_collected(&mut self, removed: &mut Removed, cascade: Cascade) {
        let mut index = 0;
        while let Some(exchange) = removed.exchanges.get(index).cloned() {
            index += 1;
            // The list may hold the exchange as it was before its own bindings went.
            self.unlink_source(&exchange.name, removed);
            self.unlink_destination(
                &Destination::Exchange(exchange.name.clone()),
                removed,
                cascade,
            );
            self.exchanges.remove_mut(&exchange.name);
        }
        let deduplicated = |exchange: &Arc<Exchange>| exchange.deduplication.is_some();
        if removed.exchanges.iter().any(deduplicated) {
            self.list_deduplicating();
        }
    }

    /// Takes the bindings that start at an exchange out of the index. The exchange is about to go with its own.
    fn unlink_source(&mut self, name: &Name, removed: &mut Removed) {
        let Some(source) = self.exchanges.get(name).cloned() else {
            return;
        };
        removed.bindings.extend(source.bindings().cloned());
        for destination in source.destinations() {
            self.unlist(name, destination);
        }
        let source = self.exchanges.get_mut(name).expect("it was just seen");
        Arc::make_mut(source).clear_bindings();
    }

    /// Takes the bindings that end at a destination, which still exists, out of both indexes, all of a source at once.
    fn unlink_destination(
        &mut self,
        destination: &Destination,
        removed: &mut Removed,
        cascade: Cascade,
    ) {
        let Some(sources) = self.by_destination.get(destination).cloned() else {
            return;
        };
        removed
            .bindings
            .extend(self.bindings_of_destination(destination).cloned());
        let (target, _) = self
            .resolve(destination)
            .expect("bindings go before their ends");
        for name in &sources {
            let source = self.source_mut(name);
            source.remove_bindings_to(destination, &target);
            self.source_lost_bindings(name, removed, cascade);
        }
        self.by_destination.remove_mut(destination);
    }

    /// Takes a binding out of both indexes. Its two ends still exist.
    fn unlink(&mut self, binding: &Arc<Binding>, removed: &mut Removed, cascade: Cascade) {
        let (target, _) = self
            .resolve(&binding.destination)
            .expect("bindings go before their ends");
        let source = self.source_mut(&binding.source);
        source.remove_binding(binding, &target);
        if !source.leads_to(&binding.destination) {
            self.unlist(&binding.source, &binding.destination);
        }
        self.source_lost_bindings(&binding.source, removed, cascade);
        removed.bindings.push(Arc::clone(binding));
    }

    /// Takes an exchange from which nothing leads to the destination any more out of the index.
    fn unlist(&mut self, source: &Name, destination: &Destination) {
        let Some(sources) = self.by_destination.get(destination) else {
            return;
        };
        // Most have one, and a map is not copied twice for it.
        if sources.size() == 1 && sources.contains(source) {
            self.by_destination.remove_mut(destination);
        } else if let Some(sources) = self.by_destination.get_mut(destination) {
            sources.remove_mut(source);
        }
    }

    /// An exchange that may have lost its last binding joins the list, if it has to go for that.
    fn source_lost_bindings(&self, name: &Name, removed: &mut Removed, cascade: Cascade) {
        let Some(source) = self.exchanges.get(name) else {
            return;
        };
        let deletes = source.auto_delete && source.binding_count() == 0;
        let is_listed = || removed.exchanges.iter().any(|known| known.name == *name);
        if deletes && cascade == Cascade::AutoDelete && !is_listed() {
            removed.exchanges.push(Arc::clone(source));
        }
    }

    fn source_mut(&mut self, name: &Name) -> &mut Exchange {
        let source = self.exchanges.get_mut(name);
        Arc::make_mut(source.expect("bindings go before their ends"))
    }
}

/// What goes when an exchange loses its last binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cascade {
    /// The exchange, if it is `auto_delete`.
    AutoDelete,
    /// Nothing.
    Nothing,
}
