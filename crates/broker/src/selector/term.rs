//! Selectors as RabbitMQ's JMS client compiles them: an Erlang term in text form.
//!
//! ```text
//! {'and',{'=',{'ident',<<"colour">>},<<"blue">>},{'between',{'ident',<<"weight">>},{'range',1,5}}}.
//! ```
//!
//! Reading is in two steps: text to [`Term`], with RabbitMQ's limits and reasons for refusal, and term to [`Expr`]. Terms of no
//! meaning are refused here; RabbitMQ takes them and lets no message through.

use super::like::Pattern;
use super::{Comparison, DEPTH_MAX, Expr, Literal, Operation, SelectorError, Sign};
use std::fmt;

/// The atoms of the language.
const ATOMS: [&str; 26] = [
    "ident",
    "not",
    "and",
    "or",
    "is_null",
    "not_null",
    "like",
    "not_like",
    "between",
    "not_between",
    "range",
    "=",
    "<>",
    ">",
    "<",
    ">=",
    "<=",
    "in",
    "not_in",
    "+",
    "-",
    "*",
    "/",
    "true",
    "false",
    "no_escape",
];
/// Stands where a pattern stands, before a regular expression.
const REGEX: &str = "regex";

#[derive(Clone, Debug, PartialEq)]
enum Term {
    Atom(&'static str),
    Int(i64),
    Float(f64),
    Binary(Box<[u8]>),
    /// A list of characters, which no expression has.
    Text(Box<[u8]>),
    List(Vec<Self>),
    Tuple(Vec<Self>),
}

/// Parses and translates a term.
pub(super) fn parse(text: &[u8]) -> Result<Expr, SelectorError> {
    let mut parser = Parser { rest: text };
    let term = parser.term(0)?;
    parser.skip_spaces();
    if parser.take(b".") {
        parser.skip_spaces();
    }
    if !parser.rest.is_empty() {
        return Err(refuse("trailing_characters"));
    }
    translate(&term)
}

fn refuse(reason: impl Into<Box<str>>) -> SelectorError {
    SelectorError::Syntax(reason.into())
}

struct Parser<'a> {
    rest: &'a [u8],
}

impl Parser<'_> {
    fn skip_spaces(&mut self) {
        let is_space = |byte: &u8| b" \t\n\r".contains(byte);
        let count = self.rest.iter().take_while(|byte| is_space(byte)).count();
        self.rest = &self.rest[count..];
    }

    fn take(&mut self, token: &[u8]) -> bool {
        let rest = self.rest.strip_prefix(token);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn digits(&mut self) -> &str {
        let count = self
            .rest
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        let (digits, rest) = self.rest.split_at(count);
        self.rest = rest;
        std::str::from_utf8(digits).expect("digits are ASCII")
    }

    /// The recursion stops at [`DEPTH_MAX`].
    fn term(&mut self, depth: usize) -> Result<Term, SelectorError> {
        self.skip_spaces();
        if depth > DEPTH_MAX {
            return Err(refuse("max_depth_exceeded"));
        }
        if self.take(b"<<") {
            return self.binary();
        }
        match self.rest.first() {
            None => Err(refuse("unexpected_end")),
            Some(b'0'..=b'9') => self.number(),
            Some(b'a'..=b'z') => self.bare_atom(),
            Some(_) => match self.next() {
                Some(b'{') => self.items(b'}', depth).map(Term::Tuple),
                Some(b'[') => self.items(b']', depth).map(Term::List),
                Some(b'"') => self.quoted(b'"').map(Term::Text),
                Some(b'\'') => self.quoted(b'\'').and_then(|text| atom(&text)),
                Some(b'-') => match self.signed()? {
                    Term::Int(value) => Ok(Term::Int(-value)),
                    Term::Float(value) => Ok(Term::Float(-value)),
                    other @ (Term::Atom(_)
                    | Term::Binary(_)
                    | Term::Text(_)
                    | Term::List(_)
                    | Term::Tuple(_)) => Ok(other),
                },
                Some(b'+') => self.signed(),
                _ => Err(refuse("unexpected_character")),
            },
        }
    }

    /// What stands between brackets, after the first of them.
    fn items(&mut self, end: u8, depth: usize) -> Result<Vec<Term>, SelectorError> {
        let mut items = Vec::new();
        self.skip_spaces();
        if self.take(&[end]) {
            return Ok(items);
        }
        loop {
            items.push(self.term(depth + 1)?);
            self.skip_spaces();
            if self.take(&[end]) {
                return Ok(items);
            }
            if !self.take(b",") {
                return Err(refuse(match end {
                    b'}' => "expected_comma_or_closing_brace",
                    _ => "expected_comma_or_closing_bracket",
                }));
            }
            // RabbitMQ takes a comma before the end of a tuple, not of a list.
            self.skip_spaces();
            if end == b'}' && self.take(&[end]) {
                return Ok(items);
            }
        }
    }

    fn binary(&mut self) -> Result<Term, SelectorError> {
        self.skip_spaces();
        if self.take(b">>") {
            return Ok(Term::Binary(Box::default()));
        }
        if !self.take(b"\"") {
            return Err(refuse("invalid_binary"));
        }
        let bytes = self.quoted(b'"')?;
        self.skip_spaces();
        if !self.take(b">>") {
            return Err(refuse("expected_closing_binary"));
        }
        Ok(Term::Binary(bytes))
    }

    /// Text up to a quote, after the first one.
    fn quoted(&mut self, quote: u8) -> Result<Box<[u8]>, SelectorError> {
        let mut text = Vec::new();
        while let Some(byte) = self.next() {
            let escaped = if byte == b'\\' { self.next() } else { None };
            match (byte, escaped) {
                (_, Some(b'n')) if quote == b'"' => text.push(b'\n'),
                (_, Some(b't')) if quote == b'"' => text.push(b'\t'),
                (_, Some(b'r')) if quote == b'"' => text.push(b'\r'),
                (_, Some(escaped)) => text.push(escaped),
                (byte, None) if byte == quote => return Ok(text.into()),
                (byte, None) => text.push(byte),
            }
        }
        Err(refuse(match quote {
            b'"' => "unterminated_string",
            _ => "unterminated_quoted_atom",
        }))
    }

    fn bare_atom(&mut self) -> Result<Term, SelectorError> {
        let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b"_@".contains(byte);
        let count = self.rest.iter().take_while(|byte| is_part(byte)).count();
        let (name, rest) = self.rest.split_at(count);
        self.rest = rest;
        atom(name)
    }

    fn signed(&mut self) -> Result<Term, SelectorError> {
        self.skip_spaces();
        match self.rest.first() {
            Some(b'0'..=b'9') => self.number(),
            _ => Err(refuse("unexpected_character")),
        }
    }

    fn number(&mut self) -> Result<Term, SelectorError> {
        let mut text = self.digits().to_owned();
        let has_fraction = matches!(self.rest, [b'.', b'0'..=b'9', ..]);
        if !has_fraction {
            // What does not fit is as near as a float comes to it.
            let whole = text.parse().map(Term::Int);
            return Ok(whole.unwrap_or_else(|_| Term::Float(text.parse().unwrap_or(f64::MAX))));
        }
        self.next();
        text.push('.');
        text.push_str(self.digits());
        if self.take(b"e") || self.take(b"E") {
            text.push('e');
            if self.take(b"-") {
                text.push('-');
            } else {
                self.take(b"+");
            }
            text.push_str(self.digits());
        }
        let value = text.parse().ok().filter(|value: &f64| value.is_finite());
        value.map(Term::Float).ok_or_else(|| refuse("invalid_term"))
    }
}

fn atom(name: &[u8]) -> Result<Term, SelectorError> {
    let known = ATOMS.iter().chain(&[REGEX]);
    let mut known = known.filter(|known| known.as_bytes() == name);
    known.next().map(|known| Term::Atom(known)).ok_or_else(|| {
        let name = match name {
            b"" => "[]".into(),
            _ => format!("\"{}\"", name.escape_ascii()),
        };
        refuse(format!("{{disallowed_atom,{name}}}"))
    })
}

/// A term as Erlang prints it.
impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, items: &[Self]| {
            for (index, item) in items.iter().enumerate() {
                let comma = if index > 0 { "," } else { "" };
                write!(f, "{comma}{item}")?;
            }
            Ok(())
        };
        match self {
            Self::Atom(name) if name.starts_with(|first: char| first.is_ascii_lowercase()) => {
                f.write_str(name)
            }
            Self::Atom(name) => write!(f, "'{name}'"),
            Self::Int(value) => write!(f, "{value}"),
            Self::Float(value) => write!(f, "{value:?}"),
            Self::Binary(bytes) => f.write_str(&crate::queue_arguments::erlang_binary(bytes)),
            Self::Text(bytes) => write!(f, "\"{}\"", bytes.escape_ascii()),
            Self::List(items) => {
                f.write_str("[")?;
                list(f, items)?;
                f.write_str("]")
            }
            Self::Tuple(items) => {
                f.write_str("{")?;
                list(f, items)?;
                f.write_str("}")
            }
        }
    }
}

/// The recursion is as deep as the term.
fn translate(term: &Term) -> Result<Expr, SelectorError> {
    use Term::{Atom, Binary, List, Tuple};
    let unsupported = || refuse(format!("no expression: {term}"));
    let boxed = |term: &Term| translate(term).map(Box::new);
    let Tuple(parts) = term else {
        return literal(term).map(Expr::Literal).ok_or_else(unsupported);
    };
    match &parts[..] {
        [Atom("ident"), Binary(name)] => Ok(Expr::Header(String::from_utf8_lossy(name).into())),
        [Atom("not"), of] => boxed(of).map(Expr::Not),
        [Atom("is_null"), of] => boxed(of).map(Expr::IsNull),
        [Atom("not_null"), of] => Ok(Expr::IsNull(boxed(of)?).negated(true)),
        [Atom("-"), of] => Ok(Expr::Signed(Sign::Minus, boxed(of)?)),
        [Atom("+"), of] => Ok(Expr::Signed(Sign::Plus, boxed(of)?)),
        [Atom("and"), left, right] => Ok(Expr::All(vec![translate(left)?, translate(right)?])),
        [Atom("or"), left, right] => Ok(Expr::Any(vec![translate(left)?, translate(right)?])),
        [Atom(name @ ("like" | "not_like")), of, pattern, escape] => {
            let pattern = translate_pattern(pattern, escape)?;
            Ok(Expr::Like(boxed(of)?, pattern).negated(*name == "not_like"))
        }
        [Atom(name @ ("between" | "not_between")), of, bounds @ ..] => {
            let [from, to] = match bounds {
                [from, to] => [from, to],
                [Tuple(range)] => match &range[..] {
                    [Atom("range"), from, to] => [from, to],
                    _ => return Err(unsupported()),
                },
                _ => return Err(unsupported()),
            };
            let parts = Box::new([translate(of)?, translate(from)?, translate(to)?]);
            Ok(Expr::Between(parts).negated(*name == "not_between"))
        }
        [Atom(name @ ("in" | "not_in")), of, List(items)] => {
            let items = items.iter().map(literal).collect::<Option<Box<[_]>>>();
            let items = items.ok_or_else(unsupported)?;
            Ok(Expr::In(boxed(of)?, items).negated(*name == "not_in"))
        }
        [Atom(operator), left, right] => {
            let sides = Box::new([translate(left)?, translate(right)?]);
            match (comparison(operator), operation(operator)) {
                (Some(comparison), _) => Ok(Expr::Compare(comparison, sides)),
                (None, Some(operation)) => Ok(Expr::Calculate(operation, sides)),
                (None, None) => Err(unsupported()),
            }
        }
        _ => Err(unsupported()),
    }
}

fn literal(term: &Term) -> Option<Literal> {
    match term {
        Term::Atom("true") => Some(Literal::Bool(true)),
        Term::Atom("false") => Some(Literal::Bool(false)),
        Term::Int(value) => Some(Literal::Int(*value)),
        Term::Float(value) => Some(Literal::Float(*value)),
        Term::Binary(bytes) => Some(Literal::Text(bytes.clone())),
        Term::Atom(_) | Term::Text(_) | Term::List(_) | Term::Tuple(_) => None,
    }
}

fn translate_pattern(pattern: &Term, escape: &Term) -> Result<Pattern, SelectorError> {
    let escape = match (pattern, escape) {
        (Term::Atom(REGEX), Term::Binary(text)) => return Pattern::regex(text),
        (_, Term::Binary(escape)) if escape.len() == 1 => Ok(escape.first().copied()),
        (_, Term::Atom("no_escape")) => Ok(None),
        _ => Err("{invalid_like_pattern,invalid_escape}"),
    };
    let Term::Binary(text) = pattern else {
        let reason = format!("{{invalid_like_pattern,{{not_a_binary_pattern,{pattern}}}}}");
        return Err(SelectorError::Pattern(reason.into()));
    };
    let escape = escape.map_err(|reason| SelectorError::Pattern(reason.into()))?;
    Pattern::new(text, escape)
}

pub(super) fn comparison(operator: &str) -> Option<Comparison> {
    Some(match operator {
        "=" => Comparison::Equal,
        "<>" => Comparison::NotEqual,
        "<" => Comparison::Less,
        "<=" => Comparison::LessOrEqual,
        ">" => Comparison::Greater,
        ">=" => Comparison::GreaterOrEqual,
        _ => return None,
    })
}

pub(super) fn operation(operator: &str) -> Option<Operation> {
    Some(match operator {
        "+" => Operation::Add,
        "-" => Operation::Subtract,
        "*" => Operation::Multiply,
        "/" => Operation::Divide,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reasons that RabbitMQ 4.3 gives.
    #[test]
    fn refusals_are_worded_as_rabbitmqs() {
        let check = |text: &str, expect: &str| {
            let refused = parse(text.as_bytes()).map(drop);
            assert_eq!(refused.unwrap_err().to_string(), expect, "{text}");
        };
        for (text, reason) in [
            ("", "unexpected_end"),
            ("{", "unexpected_end"),
            ("foo", "{disallowed_atom,\"foo\"}"),
            ("{a,b", "{disallowed_atom,\"a\"}"),
            ("1 2", "trailing_characters"),
            ("1. 2", "trailing_characters"),
            ("\"abc", "unterminated_string"),
            ("'a", "unterminated_quoted_atom"),
            ("<<1>>", "invalid_binary"),
            ("<<", "invalid_binary"),
            ("<<\"a\"", "expected_closing_binary"),
            ("$", "unexpected_character"),
            ("- x", "unexpected_character"),
            ("Abc", "unexpected_character"),
            ("1.5e", "invalid_term"),
            ("1.0e400", "invalid_term"),
            ("{'='", "expected_comma_or_closing_brace"),
            ("[1 2]", "expected_comma_or_closing_bracket"),
        ] {
            check(text, &format!("invalid JMS selector: {reason}"));
        }
        let deep = format!("{}{}", "[".repeat(20), "]".repeat(20));
        check(&deep, "invalid JMS selector: max_depth_exceeded");
        for (pattern, reason) in [
            ("<<\"x%\">>,<<\"ab\">>", "invalid_escape"),
            ("1,no_escape", "{not_a_binary_pattern,1}"),
        ] {
            let expect = format!("invalid JMS selector pattern: {{invalid_like_pattern,{reason}}}");
            check(&format!("{{like,{{ident,<<\"a\">>}},{pattern}}}"), &expect);
        }
    }

    #[test]
    fn terms_without_meaning_are_refused() {
        for text in [
            "[]",
            "\"a\"",
            "{}",
            "{ident,1}",
            "range",
            "{'=',1}",
            "{in,1,2}",
        ] {
            let refused = parse(text.as_bytes()).map(drop);
            let expect = format!("invalid JMS selector: no expression: {text}");
            assert_eq!(refused.unwrap_err().to_string(), expect);
        }
    }
}
