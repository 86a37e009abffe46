//! `fanout`: every binding takes every message.

use super::{RoutedMessage, Target, TargetSet};
use crate::Error;
use crate::binding::Binding;

/// All targets. Binding keys and arguments play no part.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    targets: TargetSet,
}

impl Table {
    pub(super) fn check(_binding: &Binding) -> Result<(), Error> {
        Ok(())
    }

    pub(super) fn add(&mut self, _binding: &Binding, target: Target) {
        self.targets.add(target);
    }

    pub(super) fn remove(&mut self, _binding: &Binding, target: &Target) {
        self.targets.remove(target);
    }

    pub(super) fn route<'a>(
        &'a self,
        _message: &mut RoutedMessage<'_>,
        matched: &mut dyn FnMut(&'a TargetSet),
    ) {
        if !self.targets.is_empty() {
            matched(&self.targets);
        }
    }
}
