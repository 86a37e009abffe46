//! `x-random` and `x-local-random`: one binding, picked by chance, takes the message.
//!
//! Of a local one RabbitMQ picks among the queues of the node that the publisher is connected to. Here that is all queues; the
//! restrictions on bindings are RabbitMQ's.

use super::weighted_targets::WeightedTargets;
use super::{RoutedMessage, RoutingTable, Target, TargetSet};
use crate::Error;
use crate::binding::Binding;
use crate::command::Destination;
use crate::value::Arguments;

/// Binding keys and arguments play no part.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    targets: WeightedTargets,
}

impl RoutingTable for Table {
    fn new(_arguments: &Arguments) -> Result<Self, Error> {
        Ok(Self::default())
    }

    fn add(&mut self, binding: &Binding, target: Target) {
        self.targets.add(binding, target);
    }

    fn remove(&mut self, binding: &Binding, _target: &Target) {
        self.targets.remove(binding);
    }

    fn clear(&mut self) {
        self.targets = WeightedTargets::default();
    }

    fn route<'a>(
        &'a self,
        message: &mut RoutedMessage<'_>,
        matched: &mut dyn FnMut(&'a TargetSet),
    ) {
        let index = match self.targets.count() {
            0 => return,
            // What is no choice can be remembered.
            1 => 0,
            count => message.random_below(count),
        };
        self.targets.at(index).into_iter().for_each(matched);
    }
}

/// As `x-random`, for bindings without a key to queues.
#[derive(Clone, Debug, Default)]
pub(super) struct LocalTable(Table);

impl RoutingTable for LocalTable {
    fn new(_arguments: &Arguments) -> Result<Self, Error> {
        Ok(Self::default())
    }

    fn check(binding: &Binding) -> Result<(), Error> {
        let text = match &binding.destination {
            _ if !binding.binding_key.is_empty() => {
                let key = String::from_utf8_lossy(&binding.binding_key);
                format!("Non empty binding '{key}' key not permitted").into()
            }
            Destination::Exchange(_) => "Destination not found".into(),
            Destination::Queue(_) => return Ok(()),
        };
        Err(Error::Precondition(text))
    }

    fn add(&mut self, binding: &Binding, target: Target) {
        self.0.add(binding, target);
    }

    fn remove(&mut self, binding: &Binding, target: &Target) {
        self.0.remove(binding, target);
    }

    fn clear(&mut self) {
        self.0.clear();
    }

    fn route<'a>(
        &'a self,
        message: &mut RoutedMessage<'_>,
        matched: &mut dyn FnMut(&'a TargetSet),
    ) {
        self.0.route(message, matched);
    }
}
