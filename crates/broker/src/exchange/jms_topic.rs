//! `x-jms-topic`: a binding takes the messages that its selector is true of. The routing key plays no part.
//!
//! Clients of RabbitMQ's JMS library bind with the selector as an Erlang term; a selector in JMS' own syntax is taken as well.

use super::conditions::{Condition, ConditionTable, Needs};
use super::{RoutedMessage, RoutingTable, Target, TargetSet};
use crate::Error;
use crate::binding::Binding;
use crate::selector::Selector;
use crate::value::{Arguments, Value};

/// Key of the binding argument that holds the compiled selector.
const COMPILED_SELECTOR: &str = "rjms_erlang_selector";
/// Key of the binding argument that holds the selector as written. RabbitMQ has no such argument.
const SELECTOR: &str = "rjms_selector";

/// Targets by selector. Binding keys play no part.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    conditions: ConditionTable<Selected>,
}

impl RoutingTable for Table {
    fn new(_arguments: &Arguments) -> Result<Self, Error> {
        Ok(Self::default())
    }

    fn check(binding: &Binding) -> Result<(), Error> {
        parse(&binding.arguments).map(drop)
    }

    fn add(&mut self, binding: &Binding, target: Target) {
        self.conditions.add(binding, target);
    }

    fn remove(&mut self, binding: &Binding, target: &Target) {
        self.conditions.remove(binding, target);
    }

    fn clear(&mut self) {
        self.conditions = ConditionTable::default();
    }

    fn route<'a>(
        &'a self,
        message: &mut RoutedMessage<'_>,
        matched: &mut dyn FnMut(&'a TargetSet),
    ) {
        self.conditions.route(message, matched);
    }
}

/// `None` only for a binding that was not checked.
#[derive(Debug)]
struct Selected(Option<Selector>);

impl Condition for Selected {
    fn of(arguments: &Arguments) -> Self {
        Self(parse(arguments).ok())
    }

    fn holds(&self, headers: &Arguments) -> bool {
        self.0
            .as_ref()
            .is_some_and(|selector| selector.selects(headers))
    }

    fn needs(&self) -> Needs {
        Needs::Nothing
    }
}

/// Compat: RabbitMQ ends the connection with an internal error if the argument is missing or no text.
fn parse(arguments: &Arguments) -> Result<Selector, Error> {
    let parsed = match (arguments.get(COMPILED_SELECTOR), arguments.get(SELECTOR)) {
        (Some(Value::LongStr(term)), _) => Selector::from_term(term),
        (None, Some(Value::LongStr(text))) => Selector::from_sql(text),
        (Some(other), _) => return Err(wrong_type(COMPILED_SELECTOR, other)),
        (None, Some(other)) => return Err(wrong_type(SELECTOR, other)),
        (None, None) => {
            let text = format!("missing binding argument '{COMPILED_SELECTOR}'");
            return Err(Error::Precondition(text.into()));
        }
    };
    parsed.map_err(|error| Error::Precondition(error.to_string().into()))
}

fn wrong_type(key: &str, value: &Value) -> Error {
    let found = value.type_name();
    let text = format!("invalid arg '{key}': expected longstr, got {found}");
    Error::Precondition(text.into())
}
