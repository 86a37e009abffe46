//! `topic`: binding keys are patterns over the dot-separated words of the routing key (RabbitMQ docs: tutorial five).
//!
//! `*` stands for one word, `#` for any number of words. The matching is [`TopicTrie`]'s.

use super::{RoutedMessage, RoutingTable, Target, TargetSet};
use crate::Error;
use crate::binding::Binding;
use crate::topic_trie::{TopicTrie, WILDCARDS_MAX, wildcard_count};
use crate::value::Arguments;

/// Targets by pattern. Arguments play no part.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    patterns: TopicTrie,
}

impl RoutingTable for Table {
    fn new(_arguments: &Arguments) -> Result<Self, Error> {
        Ok(Self::default())
    }

    /// Refuses patterns with more than [`WILDCARDS_MAX`] `#`.
    fn check(binding: &Binding) -> Result<(), Error> {
        let count = wildcard_count(&binding.binding_key);
        if count <= WILDCARDS_MAX {
            return Ok(());
        }
        let key = String::from_utf8_lossy(&binding.binding_key);
        let text = format!(
            "Topic binding key '{key}' uses {count} '#' wildcards, at most {WILDCARDS_MAX} are allowed"
        );
        Err(Error::Precondition(text.into()))
    }

    fn add(&mut self, binding: &Binding, target: Target) {
        self.patterns.add(&binding.binding_key, target);
    }

    fn remove(&mut self, binding: &Binding, target: &Target) {
        self.patterns.remove(&binding.binding_key, target);
    }

    fn clear(&mut self) {
        self.patterns = TopicTrie::default();
    }

    fn route<'a>(
        &'a self,
        message: &mut RoutedMessage<'_>,
        matched: &mut dyn FnMut(&'a TargetSet),
    ) {
        for key in message.routing_keys {
            self.patterns.route(key, matched);
        }
    }
}
