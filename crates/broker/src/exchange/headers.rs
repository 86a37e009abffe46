//! `headers`: bindings name headers and values; the routing key plays no part (RabbitMQ docs: headers exchange).
//!
//! `x-match` says whether all or any of them have to be there.

use super::conditions::{Condition, ConditionTable, Mark, Needs};
use super::{RoutedMessage, RoutingTable, Target, TargetSet};
use crate::Error;
use crate::binding::Binding;
use crate::queue_arguments::{erlang_binary, erlang_value};
use crate::value::{Arguments, Value};

/// Key of the argument that says how a binding matches.
const X_MATCH: &str = "x-match";

/// Targets by what they ask of the headers. Binding keys play no part.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    conditions: ConditionTable<Wanted>,
}

impl RoutingTable for Table {
    fn new(_arguments: &Arguments) -> Result<Self, Error> {
        Ok(Self::default())
    }

    fn check(binding: &Binding) -> Result<(), Error> {
        Match::parse(&binding.arguments).map(drop)
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

/// The values of `x-match`.
#[derive(Clone, Copy, Debug)]
enum Match {
    All,
    Any,
    AllWithX,
    AnyWithX,
}

impl Match {
    /// `x-match` of a binding; absent means all.
    fn parse(arguments: &Arguments) -> Result<Self, Error> {
        let Some(value) = arguments.get(X_MATCH) else {
            return Ok(Self::All);
        };
        let Value::LongStr(text) = value else {
            let (found, value) = (value.type_name(), erlang_value(value));
            let text =
                format!("Invalid x-match field type {found} (value {value}); expected longstr");
            return Err(Error::Precondition(text.into()));
        };
        match &text[..] {
            b"all" => Ok(Self::All),
            b"any" => Ok(Self::Any),
            b"all-with-x" => Ok(Self::AllWithX),
            b"any-with-x" => Ok(Self::AnyWithX),
            other => {
                let other = erlang_binary(other);
                let text = format!(
                    "Invalid x-match field value {other}; expected all, any, all-with-x, or any-with-x"
                );
                Err(Error::Precondition(text.into()))
            }
        }
    }

    /// Whether the binding argument of this name is compared with the headers.
    fn compares(self, key: &str) -> bool {
        match self {
            Self::All | Self::Any => !key.starts_with("x-"),
            Self::AllWithX | Self::AnyWithX => key != X_MATCH,
        }
    }
}

/// A binding's arguments, ready to be compared.
#[derive(Debug)]
struct Wanted {
    /// One match is enough.
    any: bool,
    headers: Box<[(Box<str>, Value)]>,
}

impl Condition for Wanted {
    fn of(arguments: &Arguments) -> Self {
        let how = Match::parse(arguments).unwrap_or(Match::All);
        let wanted = arguments.iter().filter(|(key, _)| how.compares(key));
        Self {
            any: matches!(how, Match::Any | Match::AnyWithX),
            headers: wanted
                .map(|(key, value)| (key.into(), value.clone()))
                .collect(),
        }
    }

    fn holds(&self, headers: &Arguments) -> bool {
        let mut matches = self.headers.iter().map(|(key, value)| {
            headers
                .get(key)
                .is_some_and(|found| matches_value(value, found))
        });
        if self.any {
            matches.any(|one| one)
        } else {
            matches.all(|one| one)
        }
    }

    fn needs(&self) -> Needs {
        let marks = self.headers.iter().map(|(key, value)| {
            if *value == Value::Void {
                Mark::name(key)
            } else {
                Mark::pair(key, value)
            }
        });
        match (self.any, self.headers.is_empty()) {
            (true, _) => Needs::Either(marks.collect()),
            (false, true) => Needs::Nothing,
            (false, false) => Needs::Each(marks.collect()),
        }
    }
}

/// Numbers are compared by value within integers and within floats; a void in the binding asks for presence only.
fn matches_value(wanted: &Value, found: &Value) -> bool {
    match (wanted, found) {
        (Value::Void, _) => true,
        (Value::Int(_, wanted), Value::Int(_, found)) => wanted == found,
        (Value::Float(wanted), Value::Double(found)) => f64::from(*wanted) == *found,
        (Value::Double(wanted), Value::Float(found)) => *wanted == f64::from(*found),
        // Compat: text and binary are the same bytes to RabbitMQ.
        (Value::LongStr(wanted), Value::Binary(found))
        | (Value::Binary(wanted), Value::LongStr(found)) => wanted == found,
        (wanted, found) => wanted == found,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::Destination;
    use crate::exchange::{HashProperty, MessageParts};
    use crate::value::IntKind;
    use bytes::Bytes;

    fn table(key: &str, value: Value) -> Arguments {
        Arguments::from_pairs([(key.into(), value)])
    }

    fn text(text: &'static str) -> Value {
        Value::LongStr(Bytes::from_static(text.as_bytes()))
    }

    fn holds(binding: &Arguments, headers: &Arguments) -> bool {
        let binding_of = |arguments: &Arguments| {
            let destination = Destination::Queue("q".into());
            let arguments = arguments.clone();
            Binding::new("x".into(), destination, Bytes::new(), arguments, true)
        };
        let target = Target::Exchange("found".into());
        // The neighbour must not be found, and must not be in the way.
        let neighbour = binding_of(&table("neighbour", text("only")));
        let binding = binding_of(binding);
        let mut rows = Table::default();
        rows.add(&neighbour, target.clone());
        rows.add(&binding, target.clone());
        let found = is_routed(&rows, headers);
        rows.remove(&binding, &target);
        assert!(!is_routed(&rows, headers), "{binding:?} was removed");
        assert_eq!(found, Wanted::of(&binding.arguments).holds(headers));
        found
    }

    fn is_routed(rows: &Table, headers: &Arguments) -> bool {
        struct Parts<'a>(&'a Arguments);
        impl MessageParts for Parts<'_> {
            fn headers(&mut self) -> Arguments {
                self.0.clone()
            }
            fn property(&mut self, _property: HashProperty) -> Option<Bytes> {
                None
            }
            fn random(&mut self) -> u64 {
                0
            }
        }
        let mut parts = Parts(headers);
        let mut found = false;
        let mut message = RoutedMessage::new(&[b""], &mut parts);
        rows.route(&mut message, &mut |_| found = true);
        found
    }

    /// A table written as `key=text` with blanks between.
    fn parse(pairs: &'static str) -> Arguments {
        let pairs = pairs
            .split_whitespace()
            .filter_map(|pair| pair.split_once('='));
        Arguments::from_pairs(pairs.map(|(key, value)| (key.into(), text(value))))
    }

    #[test]
    fn all_and_any_skip_binding_arguments_that_start_with_x() {
        let check = |binding, headers, expect: bool| {
            assert_eq!(
                holds(&parse(binding), &parse(headers)),
                expect,
                "binding {binding:?} headers {headers:?}"
            );
        };
        check("", "", true);
        check("", "z=1", true);
        check("a=1 b=2", "a=1", false);
        check("a=1 b=2", "a=1 b=1", false);
        check("a=1 b=2", "a=1 b=2 x-c=1", true);
        check("x-match=all a=1 x-c=1", "a=1", true);
        check("x-match=all-with-x a=1 x-c=1", "a=1", false);
        check("x-match=all-with-x a=1 x-c=1", "a=1 x-c=1", true);
        check("x-match=any", "z=1", false);
        check("x-match=any a=1 b=2", "b=2", true);
        check("x-match=any a=1 b=2", "b=1", false);
        check("x-match=any a=1 x-c=1", "x-c=1", false);
        check("x-match=any-with-x a=1 x-c=1", "x-c=1", true);
    }

    #[test]
    fn values_are_compared_within_their_kind() {
        let check = |wanted: Value, found: Value, expect: bool| {
            let (binding, headers) = (table("a", wanted), table("a", found));
            assert_eq!(
                holds(&binding, &headers),
                expect,
                "binding {binding:?} headers {headers:?}"
            );
        };
        let small = |value| Value::Int(IntKind::I8, value);
        check(small(7), Value::Int(IntKind::I64, 7), true);
        check(small(1), Value::Double(1.0), false);
        check(small(1), Value::Bool(true), false);
        check(small(1), text("1"), false);
        check(Value::Float(0.5), Value::Double(0.5), true);
        check(Value::Void, text("anything"), true);
        assert!(!holds(
            &table("a", Value::Void),
            &table("b", text("anything"))
        ));
    }

    #[test]
    fn a_bad_x_match_is_refused() {
        let refusal = |value| {
            let destination = Destination::Queue("q".into());
            let binding = Binding::new(
                "x".into(),
                destination,
                Bytes::new(),
                table(X_MATCH, value),
                true,
            );
            Table::check(&binding).unwrap_err().to_string()
        };
        assert_eq!(
            refusal(text("foo")),
            "Invalid x-match field value <<\"foo\">>; expected all, any, all-with-x, or any-with-x"
        );
        assert_eq!(
            refusal(Value::Int(IntKind::I32, 1)),
            "Invalid x-match field type signedint (value 1); expected longstr"
        );
    }
}
