//! Message selectors of the Java Message Service: conditions on the headers, as in the `WHERE` of SQL92 (JMS 1.1, §3.8.1).
//!
//! A selector comes as the term that RabbitMQ's JMS client compiles it to ([`term`]) or as written ([`sql`]). Either becomes an
//! [`Expr`], which is no deeper than [`DEPTH_MAX`], so that evaluating it cannot exhaust the stack.
//!
//! Values are compared as Erlang does, since that is what selectors in the field were tried on: numbers of any type by value, and
//! of different types every number is less than every boolean and every boolean less than every text. What RabbitMQ would end
//! the publisher's connection for, such as adding a text, is unknown here.

mod like;
mod sql;
mod term;

use crate::value::{Arguments, Value};
use like::Pattern;
use std::cmp::Ordering;
use thiserror::Error;

/// Deepest nesting of an expression.
const DEPTH_MAX: usize = 16;

/// Longest selector in bytes.
const SELECTOR_BYTES_MAX: usize = 32 << 10;

/// Why a selector was refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum SelectorError {
    /// The reason is worded as RabbitMQ words it, if it has one.
    #[error("invalid JMS selector: {0}")]
    Syntax(Box<str>),
    /// A pattern of `LIKE` is wrong.
    #[error("invalid JMS selector pattern: {0}")]
    Pattern(Box<str>),
}

/// A condition on the headers of a message.
#[derive(Debug)]
pub(crate) struct Selector(Expr);

impl Selector {
    /// Parses the Erlang term that RabbitMQ's JMS client sends.
    pub(crate) fn from_term(text: &[u8]) -> Result<Self, SelectorError> {
        check_length(text)?;
        term::parse(text).map(Self)
    }

    /// Parses a selector as people write it.
    pub(crate) fn from_sql(text: &[u8]) -> Result<Self, SelectorError> {
        check_length(text)?;
        sql::parse(text).map(Self)
    }

    /// Whether it is true of a message with these headers, neither false nor unknown.
    pub(crate) fn selects(&self, headers: &Arguments) -> bool {
        matches!(self.0.evaluate(headers), Operand::Bool(true))
    }
}

fn check_length(text: &[u8]) -> Result<(), SelectorError> {
    if text.len() <= SELECTOR_BYTES_MAX {
        return Ok(());
    }
    let (length, max) = (text.len(), SELECTOR_BYTES_MAX);
    let text = format!("{length} bytes, at most {max} are allowed");
    Err(SelectorError::Syntax(text.into()))
}

#[derive(Debug)]
enum Expr {
    Literal(Literal),
    Header(Box<str>),
    Not(Box<Self>),
    Signed(Sign, Box<Self>),
    IsNull(Box<Self>),
    All(Vec<Self>),
    Any(Vec<Self>),
    Like(Box<Self>, Pattern),
    Between(Box<[Self; 3]>),
    In(Box<Self>, Box<[Literal]>),
    Compare(Comparison, Box<[Self; 2]>),
    Calculate(Operation, Box<[Self; 2]>),
}

#[derive(Clone, Debug, PartialEq)]
enum Literal {
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Box<[u8]>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sign {
    Plus,
    Minus,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Add,
    Subtract,
    Multiply,
    Divide,
}

/// What an expression comes to.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Operand<'a> {
    /// Nothing is known: a header that is not there, and what is made of it.
    Unknown,
    Int(i64),
    Float(f64),
    Bool(bool),
    /// A number divided by zero. More than every number, and no text.
    Infinite,
    Text(&'a [u8]),
}

impl Expr {
    /// The negation of an expression.
    fn negated(self, negate: bool) -> Self {
        if negate {
            Self::Not(Box::new(self))
        } else {
            self
        }
    }

    /// The recursion is as deep as the expression.
    fn evaluate<'a>(&'a self, headers: &'a Arguments) -> Operand<'a> {
        let truth = |known: Option<bool>| known.map_or(Operand::Unknown, Operand::Bool);
        match self {
            Self::Literal(literal) => literal.operand(),
            Self::Header(name) => header(headers, name),
            Self::Not(of) => truth(of.evaluate(headers).truth().map(|known| !known)),
            Self::Signed(sign, of) => of.evaluate(headers).signed(*sign),
            Self::IsNull(of) => Operand::Bool(of.evaluate(headers) == Operand::Unknown),
            Self::All(parts) => truth(decide(parts, headers, false)),
            Self::Any(parts) => truth(decide(parts, headers, true)),
            Self::Like(of, pattern) => {
                let text = of.evaluate(headers).text();
                truth(text.map(|text| pattern.matches(text)))
            }
            Self::Between(parts) => {
                let [of, from, to] = parts.each_ref().map(|part| part.evaluate(headers));
                let (from, to) = (from.order(of), of.order(to));
                truth(from.zip(to).map(|(from, to)| from.is_le() && to.is_le()))
            }
            Self::In(of, list) => {
                let of = of.evaluate(headers);
                let found = list.iter().any(|literal| literal.operand() == of);
                truth((of != Operand::Unknown).then_some(found))
            }
            Self::Compare(comparison, sides) => {
                let [left, right] = sides.each_ref().map(|side| side.evaluate(headers));
                truth(left.order(right).map(|order| comparison.holds(order)))
            }
            Self::Calculate(operation, sides) => {
                let [left, right] = sides.each_ref().map(|side| side.evaluate(headers));
                operation.calculate(left, right)
            }
        }
    }
}

/// `decisive` if any part comes to it, its opposite if all parts come to that, and otherwise unknown.
fn decide(parts: &[Expr], headers: &Arguments, decisive: bool) -> Option<bool> {
    let mut result = Some(!decisive);
    for part in parts {
        match part.evaluate(headers).truth() {
            Some(known) if known == decisive => return Some(decisive),
            Some(_) => {}
            None => result = None,
        }
    }
    result
}

fn header<'a>(headers: &'a Arguments, name: &str) -> Operand<'a> {
    match headers.get(name) {
        Some(Value::Bool(value)) => Operand::Bool(*value),
        Some(Value::Int(_, value)) => Operand::Int(*value),
        Some(Value::Float(value)) => Operand::Float(f64::from(*value)),
        Some(Value::Double(value)) => Operand::Float(*value),
        Some(Value::LongStr(bytes)) => Operand::Text(bytes),
        Some(
            Value::Decimal(..)
            | Value::Array(_)
            | Value::Timestamp(_)
            | Value::Table(_)
            | Value::Void
            | Value::Binary(_),
        )
        | None => Operand::Unknown,
    }
}

impl Literal {
    fn operand(&self) -> Operand<'_> {
        match self {
            Self::Bool(value) => Operand::Bool(*value),
            Self::Int(value) => Operand::Int(*value),
            Self::Float(value) => Operand::Float(*value),
            Self::Text(bytes) => Operand::Text(bytes),
        }
    }
}

impl<'a> Operand<'a> {
    fn truth(self) -> Option<bool> {
        if let Self::Bool(value) = self {
            Some(value)
        } else {
            None
        }
    }

    fn text(self) -> Option<&'a [u8]> {
        if let Self::Text(bytes) = self {
            Some(bytes)
        } else {
            None
        }
    }

    fn number(self) -> Option<f64> {
        match self {
            Self::Int(value) => Some(value as f64),
            Self::Float(value) => Some(value),
            Self::Unknown | Self::Bool(_) | Self::Infinite | Self::Text(_) => None,
        }
    }

    fn signed(self, sign: Sign) -> Self {
        match (sign, self) {
            (Sign::Plus, Self::Int(_) | Self::Float(_)) => self,
            (Sign::Minus, Self::Int(value)) => value
                .checked_neg()
                .map_or(Self::Float(-(value as f64)), Self::Int),
            (Sign::Minus, Self::Float(value)) => Self::Float(-value),
            (_, Self::Unknown | Self::Bool(_) | Self::Infinite | Self::Text(_)) => Self::Unknown,
        }
    }

    /// Order of two values, unless one is unknown.
    fn order(self, other: Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Unknown, _) | (_, Self::Unknown) => None,
            (Self::Int(a), Self::Int(b)) => Some(a.cmp(&b)),
            (Self::Int(a), Self::Float(b)) => order_numbers(a, b),
            (Self::Float(a), Self::Int(b)) => order_numbers(b, a).map(Ordering::reverse),
            (Self::Float(a), Self::Float(b)) => a.partial_cmp(&b),
            (Self::Bool(a), Self::Bool(b)) => Some(a.cmp(&b)),
            (Self::Text(a), Self::Text(b)) => Some(a.cmp(b)),
            (a, b) => Some(a.rank().cmp(&b.rank())),
        }
    }

    /// Order of values of different types.
    fn rank(self) -> u8 {
        match self {
            Self::Unknown => 0,
            Self::Int(_) | Self::Float(_) => 1,
            Self::Bool(_) => 2,
            Self::Infinite => 3,
            Self::Text(_) => 4,
        }
    }
}

/// Compares without losing digits of either.
fn order_numbers(int: i64, float: f64) -> Option<Ordering> {
    const BOUND: f64 = 9.3e18;
    if !(-BOUND..BOUND).contains(&float) {
        return 0.0.partial_cmp(&float);
    }
    let whole = i128::from(int).cmp(&(float.trunc() as i128));
    Some(whole.then(0.0.partial_cmp(&float.fract())?))
}

impl Comparison {
    fn holds(self, order: Ordering) -> bool {
        match self {
            Self::Equal => order.is_eq(),
            Self::NotEqual => order.is_ne(),
            Self::Less => order.is_lt(),
            Self::LessOrEqual => order.is_le(),
            Self::Greater => order.is_gt(),
            Self::GreaterOrEqual => order.is_ge(),
        }
    }
}

impl Operation {
    fn calculate(self, left: Operand<'_>, right: Operand<'_>) -> Operand<'static> {
        let (Some(a), Some(b)) = (left.number(), right.number()) else {
            return Operand::Unknown;
        };
        let whole = match (left, right) {
            (Operand::Int(a), Operand::Int(b)) => self.of_integers(a, b),
            _ => None,
        };
        if let Some(value) = whole {
            return Operand::Int(value);
        }
        match self {
            Self::Add => Operand::Float(a + b),
            Self::Subtract => Operand::Float(a - b),
            Self::Multiply => Operand::Float(a * b),
            Self::Divide if b == 0.0 => Operand::Infinite,
            Self::Divide => Operand::Float(a / b),
        }
    }

    /// The result as an integer, if it is one that fits. A quotient never is, as in Erlang.
    fn of_integers(self, a: i64, b: i64) -> Option<i64> {
        match self {
            Self::Add => a.checked_add(b),
            Self::Subtract => a.checked_sub(b),
            Self::Multiply => a.checked_mul(b),
            Self::Divide => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::IntKind;

    fn headers() -> Arguments {
        let text = |text: &'static str| Value::LongStr(text.as_bytes().into());
        Arguments::from_pairs([
            ("colour".into(), text("blue")),
            ("odd".into(), text("bl_ue")),
            ("lines".into(), text("a\nb")),
            ("weight".into(), Value::Int(IntKind::I32, 2501)),
            ("half".into(), Value::Double(0.5)),
            ("big".into(), Value::Int(IntKind::I64, i64::MAX)),
            ("no".into(), Value::Bool(false)),
            ("yes".into(), Value::Bool(true)),
        ])
    }

    fn sql(text: &str) -> bool {
        Selector::from_sql(text.as_bytes())
            .unwrap_or_else(|error| panic!("{text}: {error}"))
            .selects(&headers())
    }

    fn term(text: &str) -> bool {
        Selector::from_term(text.as_bytes())
            .unwrap_or_else(|error| panic!("{text}: {error}"))
            .selects(&headers())
    }

    #[test]
    fn selectors_as_written() {
        let check = |text: &str, expect: bool| assert_eq!(sql(text), expect, "{text}");
        check("colour = 'blue'", true);
        check("colour <> 'blue'", false);
        check("Colour = 'blue'", false);
        check("weight = 2501.0", true);
        check("weight > 2500 AND colour = 'blue'", true);
        check("weight > 2501 or half < 1", true);
        check("weight > 2501 or half < .5e0", false);
        check("weight between 2501 and 2502", true);
        check("weight NOT BETWEEN 2501 AND 2502", false);
        check("colour in ('red', 'blue')", true);
        check("colour not in ('red', 'blue')", false);
        check("colour in ('red')", false);
        check("colour LIKE 'bl%'", true);
        check("colour LIKE 'bl__'", true);
        check("colour LIKE 'bl_'", false);
        check("odd LIKE 'bl!_ue' ESCAPE '!'", true);
        check("colour LIKE 'bl!_e' ESCAPE '!'", false);
        check("colour NOT LIKE '%x%'", true);
        check("missing IS NULL", true);
        check("colour IS NOT NULL", true);
        check("missing = 1", false);
        check("NOT missing = 1", false);
        check("missing = 1 OR yes", true);
        check("missing = 1 AND no OR yes", true);
        check("NOT (missing = 1 AND no)", true);
        check("not no", true);
        check("weight", false);
        check("weight - 1 = 5000 / 2", true);
        check("2 + 3 * 4 = 14 AND (2 + 3) * 4 = 20", true);
        check("-weight < 0 AND - -weight > 0 AND +weight > 0", true);
        check("'it''s' = 'it''s'", true);
        check("weight / 0 > weight", true);
        check("colour + 1 > 0", false);
        check("big + 1 > big", true);
        check("TRUE", true);
        check("FALSE", false);
        check("10L = 1e1 AND 0x0A = 10 AND 7. = 7", true);
    }

    #[test]
    fn selectors_as_the_client_compiles_them() {
        let check = |text: &str, expect: bool| assert_eq!(term(text), expect, "{text}");
        check("{'=',{'ident',<<\"colour\">>},<<\"blue\">>}", true);
        check("{'=',{'ident',<<\"colour\">>},<<\"blue\">>}.", true);
        check(
            " { '=' , {ident, << \"colour\" >> }, <<\"red\">> } . ",
            false,
        );
        check(
            "{'between',{'ident',<<\"weight\">>},{'range',0,2501}}",
            true,
        );
        check("{not_between,{ident,<<\"weight\">>},0,2501}", false);
        check(
            "{'like',{'ident',<<\"colour\">>},<<\"b%e\">>,no_escape}",
            true,
        );
        check(
            "{'not_like',{ident,<<\"odd\">>},<<\"bl!_%\">>,<<\"!\">>}",
            false,
        );
        check("{like,{ident,<<\"colour\">>},regex,<<\"b.+e\">>}", true);
        check("{like,{ident,<<\"colour\">>},regex,<<\"lu\">>}", false);
        check("{'in',{'ident',<<\"weight\">>},[2501.0,1]}", false);
        check("{'in',{'ident',<<\"weight\">>},[2501,1]}", true);
        check("{not_in,{ident,<<\"missing\">>},[1]}", false);
        check("{'and',true,{'or',false,{'not',{ident,<<\"no\">>}}}}", true);
        check("{is_null,{ident,<<\"missing\">>}}", true);
        check("{not_null,{ident,<<\"missing\">>}}", false);
        check("{'=',{'-',{ident,<<\"weight\">>}},- 2501}", true);
        check("{'>',{'/',1,2},4.9e-1}", true);
        check("{'<',{ident,<<\"weight\">>},{ident,<<\"yes\">>}}", true);
        check("{'<',{ident,<<\"yes\">>},{ident,<<\"colour\">>}}", true);
        check("true", true);
        check("1", false);
    }

    #[test]
    fn percent_and_underscore_stop_at_line_breaks() {
        assert!(!sql("lines LIKE '%'"));
        assert!(!sql("lines LIKE 'a_b'"));
        assert!(sql("lines LIKE '%\n_'"));
    }

    #[test]
    fn integers_and_floats_are_compared_without_rounding() {
        let check = |int: i64, float: f64, expect: Ordering| {
            assert_eq!(order_numbers(int, float), Some(expect), "{int} {float}");
        };
        check(1, 1.0, Ordering::Equal);
        check(-1, -1.5, Ordering::Greater);
        check(i64::MAX, 9_223_372_036_854_775_807.0, Ordering::Less);
        check(i64::MIN, -9_223_372_036_854_775_808.0, Ordering::Equal);
        check(
            9_007_199_254_740_993,
            9_007_199_254_740_992.0,
            Ordering::Greater,
        );
        check(0, f64::INFINITY, Ordering::Less);
        check(0, f64::NEG_INFINITY, Ordering::Greater);
        assert_eq!(order_numbers(0, f64::NAN), None);
    }

    #[test]
    fn a_selector_has_a_longest_length() {
        let long = vec![b' '; SELECTOR_BYTES_MAX + 1];
        assert!(Selector::from_sql(&long).is_err());
        assert!(Selector::from_term(&long).is_err());
    }
}
