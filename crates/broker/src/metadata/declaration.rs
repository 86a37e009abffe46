//! What declarations and bindings say, and whether they agree with what exists.
//!
//! Error texts are RabbitMQ's.

use crate::Error;
use crate::binding::Binding;
use crate::command::Destination;
use crate::delay::DELAYED_PUBLISH;
use crate::error::ResourceKind;
use crate::exchange::{ALTERNATE_EXCHANGE, Exchange, ExchangeType};
use crate::queue_arguments::{AskedProperties, QueueArguments, check_argument, check_equivalent};
use crate::value::{Arguments, Value};
use crate::vhost::QueueRecord;
use base::{ConnectionId, Name, QueueId, QueueRef};

/// The definition in a `DeclareExchange`.
pub(super) struct ExchangeDeclaration<'a> {
    pub(super) vhost: &'a Name,
    pub(super) name: &'a Name,
    pub(super) exchange_type: &'a str,
    pub(super) durable: bool,
    pub(super) auto_delete: bool,
    pub(super) internal: bool,
    pub(super) arguments: &'a Arguments,
    pub(super) history: Option<QueueId>,
}

/// The definition in a `DeclareQueue`.
pub(super) struct QueueDeclaration<'a> {
    pub(super) vhost: &'a Name,
    pub(super) name: &'a Name,
    /// Already false for an exclusive queue.
    pub(super) durable: bool,
    pub(super) exclusive_owner: Option<ConnectionId>,
    pub(super) auto_delete: bool,
    pub(super) arguments: &'a Arguments,
    pub(super) user: &'a Name,
    pub(super) home: u16,
    pub(super) server_named: bool,
    pub(super) id: Option<QueueId>,
}

/// The parts of a `Bind` or `Unbind`.
pub(super) struct BindingKey<'a> {
    pub(super) vhost: &'a Name,
    pub(super) source: &'a Name,
    pub(super) destination: &'a Destination,
    pub(super) binding_key: &'a bytes::Bytes,
    pub(super) arguments: &'a Arguments,
}

impl ExchangeDeclaration<'_> {
    /// Checks that the existing exchange is what is asked for.
    pub(super) fn check_equivalent(
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
            &erlang_atom(exchange_type.as_str()),
            &erlang_atom(existing.exchange_type.as_str()),
        )?;
        differs("durable", flag(self.durable), flag(existing.durable))?;
        differs(
            "auto_delete",
            flag(self.auto_delete),
            flag(existing.auto_delete),
        )?;
        differs("internal", flag(self.internal), flag(existing.internal))?;
        let (current, received) = (&existing.arguments, self.arguments);
        // Compat: x-delayed-type is not compared.
        [ALTERNATE_EXCHANGE, DELAYED_PUBLISH]
            .into_iter()
            .try_for_each(|key| {
                check_argument(
                    ResourceKind::Exchange,
                    key,
                    current,
                    received,
                    self.name,
                    self.vhost,
                )
            })
    }

    /// Checks the argument that lets messages wait at an exchange of any type.
    ///
    /// # Errors
    /// `Precondition`, if it is no boolean.
    pub(super) fn check_delayed_publish(&self) -> Result<(), Error> {
        let Self { name, vhost, .. } = self;
        let value = match self.arguments.get(DELAYED_PUBLISH) {
            None | Some(Value::Bool(_)) => return Ok(()),
            Some(value) => value,
        };
        let found = value.type_name();
        let text = format!(
            "invalid type '{found}' for arg '{DELAYED_PUBLISH}' in exchange '{name}' in vhost '{vhost}'"
        );
        Err(Error::Precondition(text.into()))
    }

    pub(super) fn check_alternate_exchange(&self) -> Result<(), Error> {
        let Self { name, vhost, .. } = self;
        let value = match self.arguments.get(ALTERNATE_EXCHANGE) {
            None | Some(Value::LongStr(_)) => return Ok(()),
            Some(value) => value,
        };
        let found = value.type_name();
        let text = format!(
            "invalid type '{found}' for arg '{ALTERNATE_EXCHANGE}' in exchange '{name}' in vhost '{vhost}'"
        );
        Err(Error::Precondition(text.into()))
    }
}

impl QueueDeclaration<'_> {
    /// Checks that the existing queue is what is asked for.
    pub(super) fn check_equivalent(&self, existing: &QueueRecord) -> Result<(), Error> {
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

    pub(super) fn properties(&self) -> AskedProperties {
        AskedProperties {
            durable: self.durable,
            exclusive: self.exclusive_owner.is_some(),
            auto_delete: self.auto_delete,
            server_named: self.server_named,
        }
    }

    pub(super) fn record(&self, queue: QueueRef, settings: QueueArguments) -> QueueRecord {
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
            paused: false,
        }
    }
}

impl BindingKey<'_> {
    pub(super) fn check_not_default(&self) -> Result<(), Error> {
        let to_default = matches!(self.destination, Destination::Exchange(name) if name.is_empty());
        if self.source.is_empty() || to_default {
            Err(Error::DefaultExchange)
        } else {
            Ok(())
        }
    }

    pub(super) fn binding(&self, durable: bool) -> Binding {
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

/// A name as Erlang prints it if it is an atom: in quotes unless it is a plain word.
fn erlang_atom(name: &str) -> String {
    if name.contains('-') {
        format!("'{name}'")
    } else {
        name.into()
    }
}

fn flag(value: bool) -> &'static str {
    if value { "true" } else { "false" }
}
