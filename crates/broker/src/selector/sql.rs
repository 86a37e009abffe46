//! Selectors as people write them (JMS 1.1, §3.8.1.1).
//!
//! ```text
//! or         and { OR and }
//! and        not { AND not }
//! not        [ NOT ] test
//! test       sum [ = sum | IS [NOT] NULL | [NOT] BETWEEN sum AND sum | [NOT] IN ( text , … ) | [NOT] LIKE text [ESCAPE text] ]
//! sum        product { + product }
//! product    factor { * factor }
//! factor     [ - ] ( number | text | TRUE | FALSE | name | ( or ) )
//! ```
//!
//! Keywords may be in any case, names are taken as they are. Reading it goes down one step of the recursion for each bracket, `NOT`
//! or sign, and chains of `+` and `*` nest as well; together they may not go deeper than [`DEPTH_MAX`].

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "whatever token is not expected is refused"
)]

use super::like::Pattern;
use super::term::{comparison, operation};
use super::{DEPTH_MAX, Expr, Literal, SelectorError, Sign};

/// Parses a selector.
pub(super) fn parse(text: &[u8]) -> Result<Expr, SelectorError> {
    let mut parser = Parser {
        text,
        at: 0,
        depth: 0,
    };
    let expr = parser.or()?;
    match parser.peek()? {
        Token::End => Ok(expr),
        other => Err(parser.expected("the end", other)),
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Token<'a> {
    End,
    /// A name or a keyword.
    Word(&'a str),
    /// Between quotes, which are doubled inside.
    Text(&'a [u8]),
    Int(i64),
    Float(f64),
    Symbol(&'static str),
}

const SYMBOLS: [&str; 13] = [
    "<>", "<=", ">=", "=", "<", ">", "+", "-", "*", "/", "(", ")", ",",
];

struct Parser<'a> {
    text: &'a [u8],
    at: usize,
    /// How many levels of the expression are open.
    depth: usize,
}

impl<'a> Parser<'a> {
    fn or(&mut self) -> Result<Expr, SelectorError> {
        let mut parts = vec![self.and()?];
        while self.take_word("OR")? {
            parts.push(self.and()?);
        }
        Ok(chain(parts, Expr::Any))
    }

    fn and(&mut self) -> Result<Expr, SelectorError> {
        let mut parts = vec![self.not()?];
        while self.take_word("AND")? {
            parts.push(self.not()?);
        }
        Ok(chain(parts, Expr::All))
    }

    fn not(&mut self) -> Result<Expr, SelectorError> {
        if self.take_word("NOT")? {
            let of = self.deeper(Self::not)?;
            return Ok(of.negated(true));
        }
        self.test()
    }

    fn test(&mut self) -> Result<Expr, SelectorError> {
        let left = self.sum()?;
        if let Token::Symbol(symbol) = self.peek()?
            && let Some(comparison) = comparison(symbol)
        {
            self.next()?;
            let right = self.sum()?;
            return Ok(Expr::Compare(comparison, Box::new([left, right])));
        }
        if self.take_word("IS")? {
            let negate = self.take_word("NOT")?;
            self.expect_word("NULL")?;
            return Ok(Expr::IsNull(Box::new(left)).negated(negate));
        }
        let negate = self.take_word("NOT")?;
        if self.take_word("BETWEEN")? {
            let from = self.sum()?;
            self.expect_word("AND")?;
            let to = self.sum()?;
            return Ok(Expr::Between(Box::new([left, from, to])).negated(negate));
        }
        if self.take_word("IN")? {
            let list = self.list()?;
            return Ok(Expr::In(Box::new(left), list).negated(negate));
        }
        if self.take_word("LIKE")? {
            let pattern = self.pattern()?;
            return Ok(Expr::Like(Box::new(left), pattern).negated(negate));
        }
        if negate {
            let found = self.peek()?;
            return Err(self.expected("BETWEEN, IN or LIKE", found));
        }
        Ok(left)
    }

    fn list(&mut self) -> Result<Box<[Literal]>, SelectorError> {
        self.expect_symbol("(")?;
        let mut list = Vec::new();
        loop {
            list.push(match self.next()? {
                Token::Text(text) => Literal::Text(unquoted(text)),
                Token::Int(value) => Literal::Int(value),
                Token::Float(value) => Literal::Float(value),
                other => return Err(self.expected("a text", other)),
            });
            if !self.take_symbol(",")? {
                self.expect_symbol(")")?;
                return Ok(list.into());
            }
        }
    }

    fn pattern(&mut self) -> Result<Pattern, SelectorError> {
        let text = self.expect_text()?;
        let escape = match self.take_word("ESCAPE")? {
            false => None,
            true => match self.expect_text()?[..] {
                [escape] => Some(escape),
                _ => {
                    let reason = "ESCAPE takes one character";
                    return Err(SelectorError::Pattern(reason.into()));
                }
            },
        };
        Pattern::new(&text, escape)
    }

    fn sum(&mut self) -> Result<Expr, SelectorError> {
        self.operations(&["+", "-"], Self::product)
    }

    fn product(&mut self) -> Result<Expr, SelectorError> {
        self.operations(&["*", "/"], Self::factor)
    }

    /// Operators of one rank, from left to right.
    fn operations(
        &mut self,
        symbols: &[&str],
        part: fn(&mut Self) -> Result<Expr, SelectorError>,
    ) -> Result<Expr, SelectorError> {
        let depth = self.depth;
        let mut left = part(self)?;
        while let Token::Symbol(symbol) = self.peek()?
            && symbols.contains(&symbol)
            && let Some(operation) = operation(symbol)
        {
            self.next()?;
            self.enter()?;
            left = Expr::Calculate(operation, Box::new([left, part(self)?]));
        }
        self.depth = depth;
        Ok(left)
    }

    fn factor(&mut self) -> Result<Expr, SelectorError> {
        match self.next()? {
            Token::Int(value) => Ok(Expr::Literal(Literal::Int(value))),
            Token::Float(value) => Ok(Expr::Literal(Literal::Float(value))),
            Token::Text(text) => Ok(Expr::Literal(Literal::Text(unquoted(text)))),
            Token::Symbol("-") => {
                let of = self.deeper(Self::factor)?;
                Ok(Expr::Signed(Sign::Minus, Box::new(of)))
            }
            Token::Symbol("+") => {
                let of = self.deeper(Self::factor)?;
                Ok(Expr::Signed(Sign::Plus, Box::new(of)))
            }
            Token::Symbol("(") => {
                let inner = self.deeper(Self::or)?;
                self.expect_symbol(")")?;
                Ok(inner)
            }
            Token::Word(word) if word.eq_ignore_ascii_case("TRUE") => {
                Ok(Expr::Literal(Literal::Bool(true)))
            }
            Token::Word(word) if word.eq_ignore_ascii_case("FALSE") => {
                Ok(Expr::Literal(Literal::Bool(false)))
            }
            Token::Word(word) if !is_keyword(word) => Ok(Expr::Header(word.into())),
            other => Err(self.expected("a value", other)),
        }
    }

    fn deeper(
        &mut self,
        part: fn(&mut Self) -> Result<Expr, SelectorError>,
    ) -> Result<Expr, SelectorError> {
        self.enter()?;
        let inner = part(self)?;
        self.depth -= 1;
        Ok(inner)
    }

    fn enter(&mut self) -> Result<(), SelectorError> {
        self.depth += 1;
        if self.depth <= DEPTH_MAX {
            return Ok(());
        }
        Err(SelectorError::Syntax("max_depth_exceeded".into()))
    }

    fn take_word(&mut self, word: &str) -> Result<bool, SelectorError> {
        let is_next =
            matches!(self.peek()?, Token::Word(found) if found.eq_ignore_ascii_case(word));
        if is_next {
            self.next()?;
        }
        Ok(is_next)
    }

    fn expect_word(&mut self, word: &str) -> Result<(), SelectorError> {
        if self.take_word(word)? {
            return Ok(());
        }
        let found = self.peek()?;
        Err(self.expected(word, found))
    }

    fn take_symbol(&mut self, symbol: &str) -> Result<bool, SelectorError> {
        let is_next = matches!(self.peek()?, Token::Symbol(found) if found == symbol);
        if is_next {
            self.next()?;
        }
        Ok(is_next)
    }

    fn expect_symbol(&mut self, symbol: &str) -> Result<(), SelectorError> {
        if self.take_symbol(symbol)? {
            return Ok(());
        }
        let found = self.peek()?;
        Err(self.expected(symbol, found))
    }

    fn expect_text(&mut self) -> Result<Box<[u8]>, SelectorError> {
        match self.next()? {
            Token::Text(text) => Ok(unquoted(text)),
            other => Err(self.expected("a text", other)),
        }
    }

    fn expected(&self, what: &str, found: Token<'_>) -> SelectorError {
        let found = match found {
            Token::End => "the end".into(),
            Token::Word(word) => format!("'{word}'"),
            Token::Text(text) => format!("the text '{}'", String::from_utf8_lossy(text)),
            Token::Int(value) => value.to_string(),
            Token::Float(value) => value.to_string(),
            Token::Symbol(symbol) => format!("'{symbol}'"),
        };
        let at = self.at;
        SelectorError::Syntax(format!("expected {what}, found {found} before byte {at}").into())
    }

    fn peek(&mut self) -> Result<Token<'a>, SelectorError> {
        let at = self.at;
        let token = self.next();
        self.at = at;
        token
    }

    fn next(&mut self) -> Result<Token<'a>, SelectorError> {
        let spaces = count(&self.text[self.at..], u8::is_ascii_whitespace);
        self.at += spaces;
        let rest = &self.text[self.at..];
        let (token, length) = match rest {
            [] => (Token::End, 0),
            [b'\'', rest @ ..] => {
                let length = quoted_length(rest).ok_or_else(|| {
                    let text = format!("the text that starts at byte {} has no end", self.at);
                    SelectorError::Syntax(text.into())
                })?;
                (Token::Text(&rest[..length]), length + 2)
            }
            [b'0'..=b'9', ..] | [b'.', b'0'..=b'9', ..] => number(rest).ok_or_else(|| {
                let text = format!("the number at byte {} is none", self.at);
                SelectorError::Syntax(text.into())
            })?,
            [first, ..] if is_word(first) => {
                let length = count(rest, is_word);
                let word = std::str::from_utf8(&rest[..length]);
                let word = word.map_err(|_| SelectorError::Syntax("it is no UTF-8".into()))?;
                (Token::Word(word), length)
            }
            _ => {
                let mut symbols = SYMBOLS.into_iter();
                let symbol = symbols.find(|symbol| rest.starts_with(symbol.as_bytes()));
                let symbol = symbol.ok_or_else(|| {
                    let text = format!("unexpected character at byte {}", self.at);
                    SelectorError::Syntax(text.into())
                })?;
                (Token::Symbol(symbol), symbol.len())
            }
        };
        self.at += length;
        Ok(token)
    }
}

/// A chain of one part is that part.
fn chain(mut parts: Vec<Expr>, of: fn(Vec<Expr>) -> Expr) -> Expr {
    match parts.pop() {
        Some(only) if parts.is_empty() => only,
        last => {
            parts.extend(last);
            of(parts)
        }
    }
}

fn is_keyword(word: &str) -> bool {
    const KEYWORDS: [&str; 9] = [
        "AND", "OR", "NOT", "BETWEEN", "IN", "LIKE", "ESCAPE", "IS", "NULL",
    ];
    KEYWORDS
        .iter()
        .any(|known| known.eq_ignore_ascii_case(word))
}

/// A letter of a name; all that is not ASCII is taken for one.
fn is_word(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_$".contains(byte) || !byte.is_ascii()
}

fn count(bytes: &[u8], is_part: fn(&u8) -> bool) -> usize {
    bytes.iter().take_while(|byte| is_part(byte)).count()
}

/// Length of a text whose first quote was taken, without the last one.
fn quoted_length(rest: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += rest[at..].iter().position(|byte| *byte == b'\'')?;
        if rest.get(at + 1) != Some(&b'\'') {
            return Some(at);
        }
        at += 2;
    }
}

fn unquoted(text: &[u8]) -> Box<[u8]> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        out.push(*byte);
        if *byte == b'\'' {
            // Quotes come in pairs here.
            bytes.next();
        }
    }
    out.into()
}

/// A number as in Java: decimal or hexadecimal, with `L`, `F` or `D` behind it or not.
fn number(rest: &[u8]) -> Option<(Token<'static>, usize)> {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'.';
    let mut length = count(rest, is_part);
    if matches!(rest.get(length - 1), Some(b'e' | b'E')) && !is_hex(rest) {
        let is_signed = matches!(rest.get(length), Some(b'+' | b'-'));
        length += usize::from(is_signed);
        length += count(&rest[length..], u8::is_ascii_digit);
    }
    let text = std::str::from_utf8(&rest[..length]).ok()?;
    if is_hex(rest) {
        let digits = text[2..].trim_end_matches(['l', 'L']);
        let value = i64::from_str_radix(digits, 16).ok()?;
        return Some((Token::Int(value), length));
    }
    if let Ok(value) = text.trim_end_matches(['l', 'L']).parse() {
        return Some((Token::Int(value), length));
    }
    let value: f64 = text.trim_end_matches(['f', 'F', 'd', 'D']).parse().ok()?;
    value.is_finite().then_some((Token::Float(value), length))
}

fn is_hex(rest: &[u8]) -> bool {
    matches!(rest, [b'0', b'x' | b'X', ..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn refusal(text: &str) -> String {
        let refused = parse(text.as_bytes()).map(drop);
        refused.unwrap_err().to_string()
    }

    #[test]
    fn refusals_say_where() {
        let check = |text: &str, expect: &str| {
            assert_eq!(refusal(text), format!("invalid JMS selector: {expect}"));
        };
        check("", "expected a value, found the end before byte 0");
        check("a =", "expected a value, found the end before byte 3");
        check("a = 'b", "the text that starts at byte 4 has no end");
        check("a = 1x", "the number at byte 4 is none");
        check("a = 1 b", "expected the end, found 'b' before byte 5");
        check(
            "a NOT 1",
            "expected BETWEEN, IN or LIKE, found 1 before byte 5",
        );
        check("a IN ()", "expected a text, found ')' before byte 7");
        check(
            "a BETWEEN 1 OR 2",
            "expected AND, found 'OR' before byte 11",
        );
        check("a ; b", "unexpected character at byte 2");
        check("LIKE 'a'", "expected a value, found 'LIKE' before byte 4");
        check("1e400 = 1", "the number at byte 0 is none");
        assert_eq!(
            refusal("a LIKE 'b' ESCAPE 'cd'"),
            "invalid JMS selector pattern: ESCAPE takes one character"
        );
    }

    #[test]
    fn depth_is_limited_and_chains_are_not() {
        let nested = |count: usize| format!("{}a{}", "(".repeat(count), ")".repeat(count));
        assert!(parse(nested(DEPTH_MAX).as_bytes()).is_ok());
        let expect = "invalid JMS selector: max_depth_exceeded";
        for text in [
            nested(DEPTH_MAX + 1),
            nested(10_000),
            "NOT ".repeat(10_000) + "a",
            "- ".repeat(10_000) + "1",
            "1 + ".repeat(10_000) + "1",
        ] {
            assert_eq!(refusal(&text), expect);
        }
        assert!(parse(("a OR b AND ".repeat(1000) + "c").as_bytes()).is_ok());
    }

    proptest! {
        #[test]
        fn no_input_makes_a_panic(words in proptest::collection::vec(
            proptest::sample::select(&[
                "a", "'t'", "'", "1", "1.5e", "0x", "AND", "or", "NOT", "(", ")", "IS", "NULL", "IN", ",", "LIKE", "ESCAPE", "<>",
                "+", "-", "BETWEEN", "\u{e9}", ";", ".5", "5.",
            ][..]), 0..12,
        )) {
            for separator in ["", " "] {
                _ = parse(words.join(separator).as_bytes());
            }
        }
    }
}
