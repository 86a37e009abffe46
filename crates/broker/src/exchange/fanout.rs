//! `fanout`: every binding takes every message.

use super::{RoutedMessage, RoutingTable, Target, TargetSet};
use crate::Error;
use crate::binding::Binding;
use crate::value::Arguments;

/// All targets. Binding keys and arguments play no part.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    targets: TargetSet,
}

impl RoutingTable for Table {
    fn new(_arguments: &Arguments) -> Result<Self, Error> {
        Ok(Self::default())
    }

    fn add(&mut self, _binding: &Binding, target: Target) {
        self.targets.add(target);
    }

    fn remove(&mut self, _binding: &Binding, target: &Target) {
        self.targets.remove(target);
    }

    fn clear(&mut self) {
        self.targets = TargetSet::default();
    }

    fn route<'a>(
        &'a self,
        _message: &mut RoutedMessage<'_>,
        matched: &mut dyn FnMut(&'a TargetSet),
    ) {
        if !self.targets.is_empty() {
            matched(&self.targets);
        }
    }
}
