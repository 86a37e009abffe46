//! `x-recent-history`: every binding takes every message, and a new binding begins with the last ones that were published.
//!
//! The table says only which messages the [`History`] wants; whoever publishes puts them there, and whoever binds takes them.

use super::{History, RoutedMessage, RoutingTable, Target, TargetSet};
use crate::Error;
use crate::binding::Binding;
use crate::queue_arguments::erlang_value;
use crate::value::{Arguments, IntKind, Value};
use std::sync::Arc;

/// Key of the argument that says how many messages are kept.
const LENGTH: &str = "x-recent-history-length";
/// Key of the header by which a publisher keeps a message out of the history.
const NO_STORE: &str = "x-recent-history-no-store";
/// How many messages are kept if nobody says.
const LENGTH_DEFAULT: usize = 20;

/// All targets. Binding keys and arguments play no part.
#[derive(Clone, Debug)]
pub(super) struct Table {
    targets: TargetSet,
    history: Arc<History>,
}

impl RoutingTable for Table {
    fn new(arguments: &Arguments) -> Result<Self, Error> {
        Ok(Self {
            targets: TargetSet::default(),
            history: Arc::new(History::new(parse_length(arguments)?)),
        })
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
        message: &mut RoutedMessage<'_>,
        matched: &mut dyn FnMut(&'a TargetSet),
    ) {
        if message.headers().get(NO_STORE) != Some(&Value::Bool(true)) {
            message.remember(&self.history);
        }
        if !self.targets.is_empty() {
            matched(&self.targets);
        }
    }

    fn history(&self) -> Option<&Arc<History>> {
        Some(&self.history)
    }
}

fn parse_length(arguments: &Arguments) -> Result<usize, Error> {
    let Some(value) = arguments.get(LENGTH) else {
        return Ok(LENGTH_DEFAULT);
    };
    if let Value::Int(kind, length) = value
        && matches!(
            kind,
            IntKind::I8 | IntKind::I16 | IntKind::I32 | IntKind::I64
        )
        && *length > 0
    {
        return Ok(usize::try_from(*length).unwrap_or(usize::MAX));
    }
    let shown = erlang_value(value);
    let text = format!("Invalid argument {shown}, '{LENGTH}' must be a positive integer");
    Err(Error::Precondition(text.into()))
}
