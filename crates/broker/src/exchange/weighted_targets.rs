//! The targets of bindings of which one is picked by number.

use super::{Target, TargetSet};
use crate::binding::Binding;
use crate::command::Destination;
use crate::ranked_tree::RankedTree;
use base::Name;

/// Targets in RabbitMQ's order of destinations: exchanges before queues, each by name. Several bindings to one destination make
/// it more likely, as in RabbitMQ.
#[derive(Clone, Debug, Default)]
pub(super) struct WeightedTargets {
    tree: RankedTree<Place, TargetSet>,
}

/// Sorts destinations.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Exchange(Name),
    Queue(Name),
}

impl Place {
    fn of(binding: &Binding) -> Self {
        match &binding.destination {
            Destination::Exchange(name) => Self::Exchange(name.clone()),
            Destination::Queue(name) => Self::Queue(name.clone()),
        }
    }
}

impl WeightedTargets {
    pub(super) fn add(&mut self, binding: &Binding, target: Target) {
        let place = Place::of(binding);
        let count = self.tree.get(&place).map_or(0, |(_, count)| count);
        self.tree
            .insert(place, TargetSet::One(target, 1), count + 1);
    }

    pub(super) fn remove(&mut self, binding: &Binding) {
        let place = Place::of(binding);
        match self.tree.get(&place) {
            None => {}
            Some((_, 1)) => self.tree.remove(&place),
            Some((targets, count)) => {
                let targets = targets.clone();
                self.tree.insert(place, targets, count - 1);
            }
        }
    }

    /// How many bindings there are.
    pub(super) fn count(&self) -> u64 {
        self.tree.total()
    }

    /// The target of binding number `index`, from 0.
    pub(super) fn at(&self, index: u64) -> Option<&TargetSet> {
        self.tree.at(index)
    }
}
