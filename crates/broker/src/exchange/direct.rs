//! `direct`: a binding takes a message whose routing key equals its binding key.

use super::{RoutedMessage, RoutingTable, Target, TargetSet};
use crate::Error;
use crate::binding::Binding;
use crate::persistent::PersistentMap;
use crate::value::Arguments;
use bytes::Bytes;

/// Targets by binding key. Arguments play no part.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    by_key: PersistentMap<Bytes, TargetSet>,
}

impl Table {
    /// The targets of one binding key.
    pub(super) fn get(&self, binding_key: &[u8]) -> Option<&TargetSet> {
        self.by_key.get(binding_key)
    }

    /// The targets of each binding key.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Bytes, &TargetSet)> {
        self.by_key.iter()
    }
}

impl RoutingTable for Table {
    fn new(_arguments: &Arguments) -> Result<Self, Error> {
        Ok(Self::default())
    }

    fn add(&mut self, binding: &Binding, target: Target) {
        match self.by_key.get_mut(&binding.binding_key) {
            Some(targets) => targets.add(target),
            None => self
                .by_key
                .insert_mut(binding.binding_key.clone(), TargetSet::One(target, 1)),
        }
    }

    fn remove(&mut self, binding: &Binding, target: &Target) {
        let targets = self.by_key.get(&binding.binding_key);
        // Most keys have one, and the map is not copied twice for it.
        if matches!(targets, Some(TargetSet::One(only, 1)) if only == target) {
            self.by_key.remove_mut(&binding.binding_key);
        } else if let Some(targets) = self.by_key.get_mut(&binding.binding_key) {
            targets.remove(target);
            if targets.is_empty() {
                self.by_key.remove_mut(&binding.binding_key);
            }
        }
    }

    fn clear(&mut self) {
        self.by_key = PersistentMap::default();
    }

    fn route<'a>(
        &'a self,
        message: &mut RoutedMessage<'_>,
        matched: &mut dyn FnMut(&'a TargetSet),
    ) {
        message
            .routing_keys
            .iter()
            .filter_map(|key| self.by_key.get(*key))
            .for_each(matched);
    }
}
