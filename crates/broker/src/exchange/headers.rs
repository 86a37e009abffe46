//! `headers`: bindings name headers and values; the routing key plays no part (RabbitMQ docs: headers exchange).
//!
//! `x-match` says whether all or any of them have to be there. Every binding is looked at for every message; bindings
//! with the same arguments are looked at once.

use super::{RoutedMessage, Target, TargetSet};
use crate::Error;
use crate::binding::Binding;
use crate::queue_arguments::value_text;
use crate::value::{Arguments, Value};
use rpds::RedBlackTreeMapSync;
use std::sync::Arc;

/// Key of the argument that says how a binding matches.
const X_MATCH: &str = "x-match";

/// Targets by what they ask of the headers.
#[derive(Clone, Debug)]
pub(super) struct Table {
    /// By the binding's arguments in the form that can be compared.
    rows: RedBlackTreeMapSync<Box<[u8]>, Row>,
}

#[derive(Clone, Debug)]
struct Row {
    condition: Arc<Condition>,
    targets: TargetSet,
}

impl Default for Table {
    fn default() -> Self {
        Self {
            rows: RedBlackTreeMapSync::new_sync(),
        }
    }
}

impl Table {
    pub(super) fn check(binding: &Binding) -> Result<(), Error> {
        Match::parse(&binding.arguments).map(drop)
    }

    pub(super) fn add(&mut self, binding: &Binding, target: Target) {
        if let Some(row) = self.rows.get_mut(binding.arguments_key()) {
            return row.targets.add(target);
        }
        let row = Row {
            condition: Arc::new(Condition::new(&binding.arguments)),
            targets: TargetSet::One(target, 1),
        };
        self.rows.insert_mut(binding.arguments_key().into(), row);
    }

    pub(super) fn remove(&mut self, binding: &Binding, target: &Target) {
        let Some(row) = self.rows.get_mut(binding.arguments_key()) else {
            return;
        };
        row.targets.remove(target);
        if row.targets.is_empty() {
            self.rows.remove_mut(binding.arguments_key());
        }
    }

    pub(super) fn route<'a>(
        &'a self,
        message: &mut RoutedMessage<'_>,
        matched: &mut dyn FnMut(&'a TargetSet),
    ) {
        if self.rows.is_empty() {
            return;
        }
        let headers = message.headers();
        for row in self
            .rows
            .values()
            .filter(|row| row.condition.holds(headers))
        {
            matched(&row.targets);
        }
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
            let (found, value) = (value.type_name(), value_text(value));
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
                let other = String::from_utf8_lossy(other);
                let text = format!(
                    "Invalid x-match field value <<\"{other}\">>; expected all, any, all-with-x, or any-with-x"
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
struct Condition {
    /// One match is enough.
    any: bool,
    wanted: Box<[(Box<str>, Value)]>,
}

impl Condition {
    fn new(arguments: &Arguments) -> Self {
        let how = Match::parse(arguments).unwrap_or(Match::All);
        let wanted = arguments.iter().filter(|(key, _)| how.compares(key));
        Self {
            any: matches!(how, Match::Any | Match::AnyWithX),
            wanted: wanted
                .map(|(key, value)| (key.into(), value.clone()))
                .collect(),
        }
    }

    fn holds(&self, headers: &Arguments) -> bool {
        let mut matches = self.wanted.iter().map(|(key, value)| {
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
    use crate::value::IntKind;
    use bytes::Bytes;

    fn table(key: &str, value: Value) -> Arguments {
        Arguments::from_pairs([(key.into(), value)])
    }

    fn text(text: &'static str) -> Value {
        Value::LongStr(Bytes::from_static(text.as_bytes()))
    }

    fn holds(binding: &Arguments, headers: &Arguments) -> bool {
        Condition::new(binding).holds(headers)
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
