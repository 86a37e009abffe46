//! Exchanges: what they are and, by their type, where a message goes.
//!
//! An [`Exchange`] is an immutable value in the metadata; binding and unbinding replace it. Each exchange type is a routing
//! table in a file of its own. A new type is one more file with the functions of the table in `direct.rs`, and one line in
//! `exchange_types!` below.
//!
//! Alternate exchanges, bindings between exchanges and the default exchange are the [router](crate::router)'s.

mod direct;
mod fanout;
mod headers;
mod target_set;
mod topic;

pub(crate) use target_set::{Target, TargetSet};

use crate::Error;
use crate::binding::Binding;
use crate::value::Arguments;
use base::Name;
use rpds::RedBlackTreeSetSync;
use std::sync::Arc;

/// Defines [`ExchangeType`] and the [`Table`] that stands for all the types' routing tables.
macro_rules! exchange_types {
    ($($(#[$doc:meta])* $variant:ident $name:literal $table:path,)+) => {
        /// How an exchange chooses among its bindings.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum ExchangeType {
            $($(#[$doc])* $variant,)+
        }

        impl ExchangeType {
            /// All types that this node offers.
            pub const ALL: [Self; [$(Self::$variant),+].len()] = [$(Self::$variant),+];

            /// The name by which clients ask for the type.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }
        }

        /// The routing table of one exchange.
        #[derive(Clone, Debug)]
        enum Table {
            $($variant($table),)+
        }

        impl Table {
            fn new(exchange_type: ExchangeType) -> Self {
                match exchange_type { $(ExchangeType::$variant => Self::$variant(<$table>::default()),)+ }
            }

            fn check(exchange_type: ExchangeType, binding: &Binding) -> Result<(), Error> {
                match exchange_type { $(ExchangeType::$variant => <$table>::check(binding),)+ }
            }

            fn add(&mut self, binding: &Binding, target: Target) {
                match self { $(Self::$variant(table) => table.add(binding, target),)+ }
            }

            fn remove(&mut self, binding: &Binding, target: &Target) {
                match self { $(Self::$variant(table) => table.remove(binding, target),)+ }
            }

            fn route<'a>(&'a self, message: &mut RoutedMessage<'_>, matched: &mut dyn FnMut(&'a TargetSet)) {
                match self { $(Self::$variant(table) => table.route(message, matched),)+ }
            }
        }
    };
}

exchange_types! {
    /// Binding key equal to routing key.
    Direct "direct" direct::Table,
    /// Every message to every binding.
    Fanout "fanout" fanout::Table,
    /// Binding keys are patterns of words.
    Topic "topic" topic::Table,
    /// By message headers instead of routing keys.
    Headers "headers" headers::Table,
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
    /// Invariant: `table` holds exactly these bindings.
    bindings: RedBlackTreeSetSync<Arc<Binding>>,
    table: Table,
}

impl Exchange {
    /// An exchange without bindings.
    pub(crate) fn new(name: Name, exchange_type: ExchangeType, durable: bool) -> Self {
        Self {
            name,
            exchange_type,
            durable,
            auto_delete: false,
            internal: false,
            arguments: Arguments::default(),
            alternate_exchange: None,
            bindings: RedBlackTreeSetSync::new_sync(),
            table: Table::new(exchange_type),
        }
    }

    /// Whether this is the nameless exchange, to which every queue is bound by its name.
    pub fn is_default(&self) -> bool {
        self.name.is_empty()
    }

    /// The bindings that start here, ordered by destination, binding key and arguments.
    pub fn bindings(&self) -> impl Iterator<Item = &Arc<Binding>> {
        self.bindings.iter()
    }

    /// How many bindings start here.
    pub fn binding_count(&self) -> usize {
        self.bindings.size()
    }

    /// The binding of the same identity, if it exists.
    pub(crate) fn binding(&self, probe: &Binding) -> Option<&Arc<Binding>> {
        self.bindings.get(probe)
    }

    /// Whether every vhost has this exchange from the start.
    pub fn is_predeclared(&self) -> bool {
        self.is_default() || self.name.starts_with("amq.")
    }

    /// Checks that the exchange's type can hold the binding.
    ///
    /// # Errors
    /// `Precondition`, with the type's own text.
    pub(crate) fn check_binding(&self, binding: &Binding) -> Result<(), Error> {
        Table::check(self.exchange_type, binding)
    }

    /// Adds a binding that was checked and is new. `target` is its destination, resolved.
    pub(crate) fn add_binding(&mut self, binding: Arc<Binding>, target: Target) {
        self.table.add(&binding, target);
        self.bindings.insert_mut(binding);
    }

    /// Removes a binding that exists. `target` is what it was added with.
    pub(crate) fn remove_binding(&mut self, binding: &Binding, target: &Target) {
        self.table.remove(binding, target);
        self.bindings.remove_mut(binding);
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

/// The parts of a message that bindings look at.
pub(crate) struct RoutedMessage<'m> {
    /// The routing key and the keys of the CC and BCC headers.
    pub(crate) routing_keys: &'m [&'m [u8]],
    decode_headers: &'m mut dyn FnMut() -> Arguments,
    headers: Option<Arguments>,
}

impl<'m> RoutedMessage<'m> {
    pub(crate) fn new(
        routing_keys: &'m [&'m [u8]],
        decode_headers: &'m mut dyn FnMut() -> Arguments,
    ) -> Self {
        Self {
            routing_keys,
            decode_headers,
            headers: None,
        }
    }

    /// The message headers, decoded when they are first asked for.
    pub(crate) fn headers(&mut self) -> &Arguments {
        self.headers.get_or_insert_with(|| (self.decode_headers)())
    }

    pub(crate) fn headers_were_used(&self) -> bool {
        self.headers.is_some()
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
