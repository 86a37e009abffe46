//! `x-modulus-hash`: the hash of the routing keys picks one of the bindings, which stand in the order of their destinations.
//!
//! The same keys lead to the same destination while the bindings stay as they are, also after a restart. Adding a binding moves
//! most keys: who cannot have that wants `x-consistent-hash`. The hash is RabbitMQ's.

use super::weighted_targets::WeightedTargets;
use super::{RoutedMessage, RoutingTable, Target, TargetSet, erlang_hash};
use crate::Error;
use crate::binding::Binding;
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
        let hash = u64::from(erlang_hash::phash2_list(message.routing_keys));
        let index = hash.checked_rem(self.targets.count());
        index
            .and_then(|index| self.targets.at(index))
            .into_iter()
            .for_each(matched);
    }
}
