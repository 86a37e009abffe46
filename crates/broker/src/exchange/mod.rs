//! Exchanges: what they are and, by their type, where a message goes.
//!
//! An [`Exchange`] is an immutable value in the metadata; binding and unbinding replace it. Each exchange type is a
//! `RoutingTable` in a file of its own. A new type is one more file and one line in `exchange_types!` below.
//!
//! Alternate exchanges, bindings between exchanges and the default exchange are the [router](crate::router)'s.

mod conditions;
mod consistent_hash;
mod deduplicating;
mod delayed;
mod direct;
mod erlang_hash;
mod fanout;
mod headers;
mod history;
mod jms_topic;
mod modulus_hash;
mod random;
mod recent_history;
mod reverse_topic;
mod target_set;
mod topic;
mod weighted_targets;

pub use history::{HISTORY_BYTES_MAX, History, HistoryChange, HistoryLog, is_history};
pub(crate) use history::{history_of, number_of};
pub(crate) use target_set::{Target, TargetSet};

use crate::Error;
use crate::binding::Binding;
use crate::command::Destination;
use crate::queue_arguments::Deduplication;
use crate::schema::SchemaCheck;
use crate::value::Arguments;
use base::Name;
use bytes::Bytes;
use rpds::{RedBlackTreeMapSync, RedBlackTreeSetSync};
use smallvec::SmallVec;
use std::sync::Arc;

/// How exchanges of one type route: what their bindings and their arguments come to.
///
/// A clone has to be cheap and changes of it must not be seen by the original.
trait RoutingTable: Clone + std::fmt::Debug + Sized {
    /// The table of an exchange without bindings.
    ///
    /// # Errors
    /// `Precondition`: an argument that this type knows is wrong.
    fn new(arguments: &Arguments) -> Result<Self, Error>;

    /// Whether an exchange of this type can hold the binding.
    ///
    /// # Errors
    /// `Precondition`, with the type's own text.
    fn check(_binding: &Binding) -> Result<(), Error> {
        Ok(())
    }

    /// Adds a binding that was checked and is new.
    fn add(&mut self, binding: &Binding, target: Target);

    /// Removes a binding that was added with the same target.
    fn remove(&mut self, binding: &Binding, target: &Target);

    /// Removes all bindings, faster than one by one.
    fn clear(&mut self);

    /// Calls `matched` with the targets of all bindings that take the message.
    fn route<'a>(&'a self, message: &mut RoutedMessage<'_>, matched: &mut dyn FnMut(&'a TargetSet));

    /// Where the binding stands among those of the exchange, if their order counts: adding them to an empty table in this
    /// order makes an equal one.
    fn order(&self, _binding: &Binding) -> (u64, usize) {
        (0, 0)
    }

    /// What the exchange remembers of its messages, if it does.
    fn history(&self) -> Option<&Arc<History>> {
        None
    }
}

/// Defines [`ExchangeType`] and the [`Table`] that stands for all the types' routing tables.
macro_rules! exchange_types {
    ($($variant:ident $name:literal $description:literal $table:path,)+) => {
        /// How an exchange chooses among its bindings.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum ExchangeType {
            $(#[doc = $description] $variant,)+
        }

        impl ExchangeType {
            /// All types that this node offers, by name.
            pub const ALL: [Self; [$(Self::$variant),+].len()] = [$(Self::$variant),+];

            /// The name by which clients ask for the type.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// What RabbitMQ's listing of exchange types says about it.
            pub fn description(self) -> &'static str {
                match self { $(Self::$variant => $description,)+ }
            }
        }

        /// The routing table of one exchange.
        #[derive(Clone, Debug)]
        enum Table {
            $($variant($table),)+
        }

        impl Table {
            fn new(exchange_type: ExchangeType, arguments: &Arguments) -> Result<Self, Error> {
                Ok(match exchange_type {
                    $(ExchangeType::$variant => Self::$variant(<$table>::new(arguments)?),)+
                })
            }

            fn check(&self, binding: &Binding) -> Result<(), Error> {
                if let Self::DelayedMessage(table) = self {
                    return table.check_inner(binding);
                }
                match self { $(Self::$variant(_) => <$table>::check(binding),)+ }
            }

            fn add(&mut self, binding: &Binding, target: Target) {
                match self { $(Self::$variant(table) => table.add(binding, target),)+ }
            }

            fn remove(&mut self, binding: &Binding, target: &Target) {
                match self { $(Self::$variant(table) => table.remove(binding, target),)+ }
            }

            fn clear(&mut self) {
                match self { $(Self::$variant(table) => table.clear(),)+ }
            }

            fn route<'a>(&'a self, message: &mut RoutedMessage<'_>, matched: &mut dyn FnMut(&'a TargetSet)) {
                match self { $(Self::$variant(table) => table.route(message, matched),)+ }
            }

            fn order(&self, binding: &Binding) -> (u64, usize) {
                match self { $(Self::$variant(table) => table.order(binding),)+ }
            }

            fn history(&self) -> Option<&Arc<History>> {
                match self { $(Self::$variant(table) => table.history(),)+ }
            }
        }
    };
}

exchange_types! {
    Direct "direct" "AMQP direct exchange, as per the AMQP specification" direct::Table,
    Fanout "fanout" "AMQP fanout exchange, as per the AMQP specification" fanout::Table,
    Headers "headers" "AMQP headers exchange, as per the AMQP specification" headers::Table,
    Topic "topic" "AMQP topic exchange, as per the AMQP specification" topic::Table,
    ConsistentHash "x-consistent-hash" "Consistent Hashing Exchange" consistent_hash::Table,
    DelayedMessage "x-delayed-message" "Delayed Message Exchange." delayed::Table,
    JmsTopic "x-jms-topic" "JMS selector exchange" jms_topic::Table,
    LocalRandom "x-local-random" "Picks one random local binding (queue) to route via (to)." random::LocalTable,
    MessageDeduplication "x-message-deduplication" "Message Deduplication Exchange." deduplicating::Table,
    ModulusHash "x-modulus-hash" "Modulus Hashing Exchange" modulus_hash::Table,
    Random "x-random" "Randomly picks a binding (queue) to route via (to)." random::Table,
    RecentHistory "x-recent-history" "Recent History Exchange." recent_history::Table,
    ReverseTopic "x-rtopic" "AMQP reverse topic exchange" reverse_topic::Table,
}

/// Key of the argument that names the alternate exchange.
pub const ALTERNATE_EXCHANGE: &str = "alternate-exchange";

/// An exchange of a vhost, with the bindings that start at it.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// Its name; empty for the default exchange.
    pub name: Name,
    /// Its type.
    pub exchange_type: ExchangeType,
    /// Survives a restart.
    pub durable: bool,
    /// Goes when the last of its bindings goes.
    pub auto_delete: bool,
    /// Clients may not publish to it.
    pub internal: bool,
    /// The arguments as given.
    pub arguments: Arguments,
    /// Gets the messages that no binding took; need not exist.
    pub alternate_exchange: Option<Name>,
    /// Messages that ask for it wait before they are routed from here, see [`crate::delay`].
    pub delays: bool,
    /// Whether queues take a message that is published here once only, and for how long they know it.
    pub deduplication: Option<Deduplication>,
    /// What messages have to look like, if a policy says so.
    pub schema: Option<Arc<SchemaCheck>>,
    /// By destination, so that all that lead to one can go at once.
    /// Invariant: no set is empty, and `table` holds exactly these bindings.
    bindings: RedBlackTreeMapSync<Destination, RedBlackTreeSetSync<Arc<Binding>>>,
    binding_count: usize,
    table: Table,
}

impl Exchange {
    /// An exchange without bindings.
    ///
    /// # Errors
    /// `Precondition`: an argument that the type knows is wrong.
    pub(crate) fn new(
        name: Name,
        exchange_type: ExchangeType,
        durable: bool,
        arguments: Arguments,
    ) -> Result<Self, Error> {
        Ok(Self {
            name,
            exchange_type,
            durable,
            auto_delete: false,
            internal: false,
            alternate_exchange: None,
            delays: false,
            deduplication: None,
            schema: None,
            bindings: RedBlackTreeMapSync::new_sync(),
            binding_count: 0,
            table: Table::new(exchange_type, &arguments)?,
            arguments,
        })
    }

    /// What its own arguments say about messages that come twice: `Some` for `x-message-deduplication`.
    pub(crate) fn own_deduplication(&self) -> Option<Deduplication> {
        if self.exchange_type == ExchangeType::MessageDeduplication {
            deduplicating::settings(&self.arguments).ok()
        } else {
            None
        }
    }

    /// Whether this is the nameless exchange, to which every queue is bound by its name.
    pub fn is_default(&self) -> bool {
        self.name.is_empty()
    }

    /// The bindings that start here, ordered by destination, binding key and arguments.
    pub fn bindings(&self) -> impl Iterator<Item = &Arc<Binding>> {
        self.bindings.values().flatten()
    }

    /// The bindings from here to one destination, ordered by binding key and arguments.
    pub(crate) fn bindings_to(
        &self,
        destination: &Destination,
    ) -> impl Iterator<Item = &Arc<Binding>> {
        self.bindings.get(destination).into_iter().flatten()
    }

    /// Where bindings lead.
    pub(crate) fn destinations(&self) -> impl Iterator<Item = &Destination> {
        self.bindings.keys()
    }

    /// Whether a binding leads there.
    pub(crate) fn leads_to(&self, destination: &Destination) -> bool {
        self.bindings.contains_key(destination)
    }

    /// How many bindings start here.
    pub fn binding_count(&self) -> usize {
        self.binding_count
    }

    /// The binding of the same identity, if it exists.
    pub(crate) fn binding(&self, probe: &Binding) -> Option<&Arc<Binding>> {
        self.bindings.get(&probe.destination)?.get(probe)
    }

    /// Whether every vhost has this exchange from the start.
    pub fn is_predeclared(&self) -> bool {
        crate::vhost::is_predeclared(&self.name)
    }

    /// Checks that the exchange's type can hold the binding.
    ///
    /// # Errors
    /// `Precondition`, with the type's own text.
    pub(crate) fn check_binding(&self, binding: &Binding) -> Result<(), Error> {
        self.table.check(binding)
    }

    /// The bindings in an order in which they can be added again without changing where messages go.
    pub(crate) fn bindings_to_restore(&self) -> Vec<&Arc<Binding>> {
        let mut bindings: Vec<_> = self.bindings().collect();
        bindings.sort_by_cached_key(|binding| self.table.order(binding));
        bindings
    }

    /// What the exchange remembers of its messages: `Some` for `x-recent-history`.
    pub fn history(&self) -> Option<&Arc<History>> {
        self.table.history()
    }

    /// Adds a binding that was checked and is new. `target` is its destination, resolved.
    pub(crate) fn add_binding(&mut self, binding: Arc<Binding>, target: Target) {
        self.table.add(&binding, target);
        self.binding_count += 1;
        match self.bindings.get_mut(&binding.destination) {
            Some(bindings) => bindings.insert_mut(binding),
            None => {
                let destination = binding.destination.clone();
                let bindings = RedBlackTreeSetSync::new_sync().insert(binding);
                self.bindings.insert_mut(destination, bindings);
            }
        }
    }

    /// Removes a binding that exists. `target` is what it was added with.
    pub(crate) fn remove_binding(&mut self, binding: &Binding, target: &Target) {
        let Some(bindings) = self.bindings.get_mut(&binding.destination) else {
            return;
        };
        self.table.remove(binding, target);
        bindings.remove_mut(binding);
        self.binding_count -= 1;
        if bindings.is_empty() {
            self.bindings.remove_mut(&binding.destination);
        }
    }

    /// Removes all bindings to a destination; `target` is what they were added with.
    pub(crate) fn remove_bindings_to(&mut self, destination: &Destination, target: &Target) {
        let Some(bindings) = self.bindings.get(destination).cloned() else {
            return;
        };
        self.bindings.remove_mut(destination);
        self.binding_count -= bindings.size();
        if self.binding_count == 0 {
            return self.table.clear();
        }
        for binding in &bindings {
            self.table.remove(binding, target);
        }
    }

    /// Removes all bindings.
    pub(crate) fn clear_bindings(&mut self) {
        self.bindings = RedBlackTreeMapSync::new_sync();
        self.binding_count = 0;
        self.table.clear();
    }

    /// Calls `matched` with the destinations of all bindings that take the message.
    pub(crate) fn route<'a>(
        &'a self,
        message: &mut RoutedMessage<'_>,
        matched: &mut dyn FnMut(&'a TargetSet),
    ) {
        self.table.route(message, matched);
    }
}

/// What exchange types may ask about a message besides its routing keys, and chance.
///
/// Whoever asks makes the result right for this message only.
pub trait MessageParts {
    /// The headers, decoded. Asked for at most once.
    fn headers(&mut self) -> Arguments;

    /// A property as text, if the message has it; the timestamp in decimal.
    fn property(&mut self, property: HashProperty) -> Option<Bytes>;

    /// A random number.
    fn random(&mut self) -> u64;
}

/// The properties that can decide over a message's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the properties of basic")]
pub enum HashProperty {
    MessageId,
    CorrelationId,
    Timestamp,
}

/// A message on its way through the routing tables.
pub(crate) struct RoutedMessage<'m> {
    /// The routing key and the keys of the CC and BCC headers.
    pub(crate) routing_keys: &'m [&'m [u8]],
    parts: &'m mut dyn MessageParts,
    headers: Option<Arguments>,
    once: bool,
    histories: SmallVec<[Arc<History>; 1]>,
}

impl<'m> RoutedMessage<'m> {
    pub(crate) fn new(routing_keys: &'m [&'m [u8]], parts: &'m mut dyn MessageParts) -> Self {
        Self {
            routing_keys,
            parts,
            headers: None,
            once: false,
            histories: SmallVec::new(),
        }
    }

    /// The message headers, decoded when they are first asked for.
    pub(crate) fn headers(&mut self) -> &Arguments {
        self.once = true;
        self.headers.get_or_insert_with(|| self.parts.headers())
    }

    fn property(&mut self, property: HashProperty) -> Option<Bytes> {
        self.once = true;
        self.parts.property(property)
    }

    /// A random number below `bound`, which is not 0.
    fn random_below(&mut self, bound: u64) -> u64 {
        self.once = true;
        let product = u128::from(self.parts.random()) * u128::from(bound);
        (product >> 64) as u64
    }

    /// The history wants a copy of this message.
    fn remember(&mut self, history: &Arc<History>) {
        self.once = true;
        self.histories.push(Arc::clone(history));
    }

    /// Whether the result is right for this message only.
    pub(crate) fn is_once(&self) -> bool {
        self.once
    }

    /// The histories that want a copy.
    pub(crate) fn into_histories(self) -> SmallVec<[Arc<History>; 1]> {
        self.histories
    }
}

impl ExchangeType {
    /// The type of that name.
    ///
    /// # Errors
    /// `Precondition` for a name that is no exchange type.
    pub fn parse(name: &str) -> Result<Self, Error> {
        let found = Self::ALL
            .into_iter()
            .find(|exchange_type| exchange_type.as_str() == name);
        found.ok_or_else(|| match name {
            "" => Error::Precondition("invalid exchange type ''".into()),
            _ => Error::Precondition(format!("unknown exchange type '{name}'").into()),
        })
    }
}
