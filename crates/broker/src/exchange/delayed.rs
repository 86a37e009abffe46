//! `x-delayed-message`: routes as another type does, which its argument `x-delayed-type` names.
//!
//! What waits, and for how long, is not decided here: see [`crate::delay`].

use super::{ExchangeType, History, RoutedMessage, RoutingTable, Target, TargetSet};
use crate::Error;
use crate::binding::Binding;
use crate::delay::DELAYED_TYPE;
use crate::value::{Arguments, Value};
use std::sync::Arc;

/// Another type's table.
#[derive(Clone, Debug)]
pub(super) struct Table(Box<super::Table>);

impl Table {
    /// Whether an exchange of the other type can hold the binding.
    ///
    /// # Errors
    /// `Precondition`, with the other type's own text.
    pub(super) fn check_inner(&self, binding: &Binding) -> Result<(), Error> {
        self.0.check(binding)
    }
}

/// # Errors
/// `Precondition` with the texts of the plugin that brought the type.
fn inner_type(arguments: &Arguments) -> Result<ExchangeType, Error> {
    let refuse = |problem: &str| {
        Err(Error::Precondition(
            format!("Invalid argument, {problem}").into(),
        ))
    };
    let Some(Value::LongStr(given)) = arguments.get(DELAYED_TYPE) else {
        return refuse("'x-delayed-type' must be an existing exchange type");
    };
    let inner = ExchangeType::parse(&String::from_utf8_lossy(given))?;
    if inner == ExchangeType::DelayedMessage {
        return refuse("'x-delayed-message' can't be used for 'x-delayed-type'");
    }
    Ok(inner)
}

impl RoutingTable for Table {
    fn new(arguments: &Arguments) -> Result<Self, Error> {
        let inner = super::Table::new(inner_type(arguments)?, arguments)?;
        Ok(Self(Box::new(inner)))
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

    fn order(&self, binding: &Binding) -> (u64, usize) {
        self.0.order(binding)
    }

    fn history(&self) -> Option<&Arc<History>> {
        self.0.history()
    }
}
