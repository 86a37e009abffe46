//! Erlang expressions in text: `F = fun(X) -> X + 1 end, [F(Y) || Y <- [1,2]].`
//!
//! What is read is what a shell of Erlang reads, without records, macros, binary comprehensions and `receive`. Nothing is evaluated
//! here. Limits: expressions are nested [`DEPTH_MAX`] deep at most; the text is a command line or a file, so it is in memory already.

use crate::term::{self, Term};
use std::sync::Arc;

/// How deep expressions may be nested.
const DEPTH_MAX: usize = 100;

/// An expression.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Expr {
    Literal(Term),
    /// `_` matches everything and is never bound.
    Variable(Arc<str>),
    Match(Box<Self>, Box<Self>),
    Tuple(Vec<Self>),
    /// Elements, and what stands behind `|`.
    List(Vec<Self>, Option<Box<Self>>),
    /// What it is made from, then keys and values.
    Map(Option<Box<Self>>, Vec<Field>),
    Binary(Vec<Segment>),
    Unary(&'static str, Box<Self>),
    Operator(&'static str, Box<Self>, Box<Self>),
    /// A call of a function by its name, or of a value.
    Call(Box<Callee>, Vec<Self>),
    Fun(Arc<Fun>),
    /// `fun lists:reverse/1`
    Reference(Arc<str>, Arc<str>, usize),
    Block(Vec<Self>),
    Case(Box<Self>, Vec<Clause>),
    If(Vec<Clause>),
    Comprehension(Box<Self>, Vec<Qualifier>),
    Catch(Box<Self>),
    /// Body, clauses behind `of`, clauses behind `catch`, body behind `after`.
    Try(Vec<Self>, Vec<Clause>, Vec<Clause>, Vec<Self>),
}

/// What is called.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Callee {
    Local(Arc<str>),
    Remote(Expr, Expr),
    Value(Expr),
}

/// A key of a map and its value.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Field {
    pub(super) key: Expr,
    /// `:=`, which wants the key to be there.
    pub(super) exact: bool,
    pub(super) value: Expr,
}

/// A part of a binary.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Segment {
    pub(super) value: Expr,
    /// In bits or units.
    pub(super) size: Option<Expr>,
    pub(super) kind: SegmentKind,
}

/// How a part of a binary is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SegmentKind {
    /// Numbers, and the bytes of text.
    Integer,
    /// Characters of text.
    Utf8,
    Binary,
}

/// A function in an expression.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Fun {
    /// What it calls itself.
    pub(super) name: Option<Arc<str>>,
    pub(super) clauses: Vec<Clause>,
}

/// Patterns, a condition and what follows.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Clause {
    pub(super) patterns: Vec<Expr>,
    /// One of these has to hold, which is that all of its tests do; none at all always holds.
    pub(super) guard: Vec<Vec<Expr>>,
    pub(super) body: Vec<Expr>,
}

/// A part of a comprehension behind `||`.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Qualifier {
    Generator(Expr, Expr),
    /// A key, a value, and where they come from.
    MapGenerator(Expr, Expr, Expr),
    Filter(Expr),
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Atom(String),
    /// A word that is no atom.
    Word(&'static str),
    Variable(String),
    Integer(i128),
    Float(f64),
    Text(String),
    Mark(&'static str),
    /// The full stop.
    Dot,
    End,
}

const WORDS: [&str; 25] = [
    "after", "and", "andalso", "band", "begin", "bnot", "bor", "bsl", "bsr", "bxor", "case",
    "catch", "div", "else", "end", "fun", "if", "maybe", "not", "of", "or", "orelse", "receive",
    "rem", "try",
];

/// Longest first, so that the first that fits is meant. `when` and `xor` are words, too; see [`word`].
const MARKS: [&str; 36] = [
    "=:=", "=/=", "<<", ">>", "->", "<-", "||", "==", "/=", "=<", ">=", "=>", ":=", "++", "--",
    "&&", "(", ")", "[", "]", "{", "}", ",", ";", ":", "|", "=", "<", ">", "+", "-", "*", "/", "!",
    "#", "?",
];

fn word(text: &str) -> Option<&'static str> {
    let more = ["when", "xor"];
    WORDS.into_iter().chain(more).find(|word| *word == text)
}

impl Token {
    /// As it stands in RabbitMQ's messages.
    fn shown(&self) -> String {
        match self {
            Self::Atom(text) => Term::atom(text).to_string(),
            Self::Word(text) | Self::Mark(text) => format!("'{text}'"),
            Self::Variable(text) => text.clone(),
            Self::Integer(value) => value.to_string(),
            Self::Float(value) => term::float(*value),
            Self::Text(text) => Term::characters(text).to_string(),
            Self::Dot => "'.'".to_owned(),
            Self::End => String::new(),
        }
    }
}

/// Reads expressions with commas between them and a full stop at the end. The error says what is wrong, as RabbitMQ's tools do.
///
/// # Errors
/// It is none.
pub(super) fn parse(text: &str) -> Result<Vec<Expr>, String> {
    let tokens = tokens(text)?;
    let mut parser = Parser {
        tokens,
        at: 0,
        depth: 0,
    };
    let body = parser.body()?;
    parser.expect(&Token::Dot)?;
    match parser.peek() {
        Token::End => Ok(body),
        _ => Err(parser.unexpected()),
    }
}

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut rest = text;
    let mut tokens = Vec::new();
    loop {
        rest = rest.trim_start();
        if rest.starts_with('%') {
            rest = &rest[rest.find('\n').unwrap_or(rest.len())..];
            continue;
        }
        let Some(first) = rest.chars().next() else {
            tokens.push(Token::End);
            return Ok(tokens);
        };
        let (token, length) = match first {
            '0'..='9' => number(rest)?,
            'a'..='z' => {
                let name = name(rest);
                let token = match word(name) {
                    Some(word) => Token::Word(word),
                    None => Token::Atom(name.to_owned()),
                };
                (token, name.len())
            }
            'A'..='Z' | '_' => {
                let name = name(rest);
                (Token::Variable(name.to_owned()), name.len())
            }
            '\'' => {
                let (text, length) = quoted(rest, '\'')?;
                (Token::Atom(text), length)
            }
            '"' => {
                let (text, length) = quoted(rest, '"')?;
                (Token::Text(text), length)
            }
            '$' => {
                let (character, length) = character(&rest[1..])?;
                (Token::Integer(u32::from(character).into()), length + 1)
            }
            '.' => (Token::Dot, 1),
            _ => match MARKS.into_iter().find(|mark| rest.starts_with(mark)) {
                Some(mark) => (Token::Mark(mark), mark.len()),
                None => return Err("illegal character".to_owned()),
            },
        };
        tokens.push(token);
        rest = &rest[length..];
    }
}

fn name(text: &str) -> &str {
    let end = text.find(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '@')));
    &text[..end.unwrap_or(text.len())]
}

/// A number and its length.
fn number(text: &str) -> Result<(Token, usize), String> {
    let illegal = || "illegal integer".to_owned();
    let digits = |text: &str| {
        let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        end.unwrap_or(text.len())
    };
    let whole = text
        .find(|c: char| !(c.is_ascii_digit() || c == '_'))
        .unwrap_or(text.len());
    let behind = &text[whole..];
    if let Some(rest) = behind.strip_prefix('#') {
        let length = digits(rest);
        let base: u32 = text[..whole].parse().unwrap_or_default();
        if !(2..=36).contains(&base) {
            return Err("illegal base".to_owned());
        }
        let value =
            i128::from_str_radix(&rest[..length].replace('_', ""), base).map_err(|_| illegal())?;
        return Ok((Token::Integer(value), whole + 1 + length));
    }
    let mut fraction = behind.strip_prefix('.').unwrap_or_default().chars();
    if !fraction.next().is_some_and(|c| c.is_ascii_digit()) {
        let value = text[..whole].replace('_', "").parse();
        return Ok((Token::Integer(value.map_err(|_| illegal())?), whole));
    }
    let mut end = whole + 1;
    end += text[end..]
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len() - end);
    if let Some(exponent) = text[end..].strip_prefix(['e', 'E']) {
        let sign = usize::from(exponent.starts_with(['+', '-']));
        let digits = exponent[sign..]
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(exponent.len() - sign);
        if digits > 0 {
            end += 1 + sign + digits;
        }
    }
    let value = text[..end].replace('_', "").parse::<f64>();
    match value.ok().filter(|value| value.is_finite()) {
        Some(value) => Ok((Token::Float(value), end)),
        None => Err("illegal float".to_owned()),
    }
}

/// Text in quotes, and its length with them.
fn quoted(text: &str, quote: char) -> Result<(String, usize), String> {
    let mut out = String::new();
    let mut at = 1;
    loop {
        let rest = &text[at..];
        if rest.starts_with(quote) {
            return Ok((out, at + 1));
        }
        let (c, length) = character(rest).map_err(|_| {
            let kind = if quote == '"' { "string" } else { "atom" };
            format!(
                "unterminated {kind} starting with {}",
                Term::characters(&out)
            )
        })?;
        out.push(c);
        at += length;
    }
}

/// One character, of several with a backslash in front, and its length in the text.
fn character(text: &str) -> Result<(char, usize), String> {
    let mut chars = text.chars();
    let first = chars.next().ok_or("unterminated character")?;
    if first != '\\' {
        return Ok((first, first.len_utf8()));
    }
    let escaped = chars.next().ok_or("unterminated character")?;
    let plain = |c| Ok((c, 1 + escaped.len_utf8()));
    match escaped {
        'n' => plain('\n'),
        't' => plain('\t'),
        'r' => plain('\r'),
        's' => plain(' '),
        'b' => plain('\u{8}'),
        'e' => plain('\u{1b}'),
        'f' => plain('\u{c}'),
        'v' => plain('\u{b}'),
        'd' => plain('\u{7f}'),
        'x' => {
            let digits = chars.as_str();
            let (hex, length) = match digits.strip_prefix('{') {
                Some(rest) => {
                    let end = rest.find('}').ok_or("illegal character")?;
                    (&rest[..end], end + 4)
                }
                None => (digits.get(..2).unwrap_or_default(), 4),
            };
            let code = u32::from_str_radix(hex, 16).ok().and_then(char::from_u32);
            Ok((code.ok_or("illegal character")?, length))
        }
        '0'..='7' => {
            let digits = &text[1..];
            let length = digits
                .find(|c: char| !('0'..='7').contains(&c))
                .unwrap_or(digits.len())
                .min(3);
            let code = u32::from_str_radix(&digits[..length], 8).ok();
            let code = code.and_then(char::from_u32);
            Ok((code.ok_or("illegal character")?, 1 + length))
        }
        other => plain(other),
    }
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
}

type Parsed<T> = Result<T, String>;

/// Comparisons.
const COMPARE: u8 = 4;
/// Signs and `not`.
const UNARY: u8 = 8;

/// How tightly an operator binds, and whether it binds to the right.
fn binding(token: &Token) -> Option<(&'static str, u8, bool)> {
    let (Token::Mark(text) | Token::Word(text)) = token else {
        return None;
    };
    let (level, right) = match *text {
        "=" => (1, true),
        "orelse" => (2, true),
        "andalso" => (3, true),
        "==" | "/=" | "=<" | "<" | ">=" | ">" | "=:=" | "=/=" => (COMPARE, false),
        "++" | "--" => (5, true),
        "+" | "-" | "bor" | "bxor" | "bsl" | "bsr" | "or" | "xor" => (6, false),
        "/" | "*" | "div" | "rem" | "band" | "and" => (7, false),
        _ => return None,
    };
    Some((text, level, right))
}

impl Parser {
    fn peek(&self) -> &Token {
        self.tokens.get(self.at).unwrap_or(&Token::End)
    }

    fn next(&mut self) -> Token {
        let token = self.peek().clone();
        self.at += 1;
        token
    }

    fn take(&mut self, mark: &str) -> bool {
        let found = matches!(self.peek(), Token::Mark(own) | Token::Word(own) if *own == mark);
        if found {
            self.at += 1;
        }
        found
    }

    fn unexpected(&self) -> String {
        format!("syntax error before: {}", self.peek().shown())
    }

    fn expect(&mut self, token: &Token) -> Parsed<()> {
        if self.peek() == token {
            self.at += 1;
            return Ok(());
        }
        Err(self.unexpected())
    }

    fn mark(&mut self, mark: &'static str) -> Parsed<()> {
        if self.take(mark) {
            Ok(())
        } else {
            Err(self.unexpected())
        }
    }

    /// Expressions with commas between them.
    fn body(&mut self) -> Parsed<Vec<Expr>> {
        let mut body = vec![self.expression(0)?];
        while self.take(",") {
            body.push(self.expression(0)?);
        }
        Ok(body)
    }

    /// An expression of operators that bind at least that tightly.
    fn expression(&mut self, level: u8) -> Parsed<Expr> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(format!("expressions are nested at most {DEPTH_MAX} deep"));
        }
        let expression = self.operators(level);
        self.depth -= 1;
        expression
    }

    fn operators(&mut self, level: u8) -> Parsed<Expr> {
        if level == 0 && self.take("catch") {
            return Ok(Expr::Catch(Box::new(self.expression(0)?)));
        }
        let mut left = self.unary()?;
        while let Some((operator, own, right)) = binding(self.peek()) {
            if own < level {
                break;
            }
            self.at += 1;
            // Comparisons do not follow each other.
            let next = if right { own } else { own + 1 };
            let operand = Box::new(self.expression(next)?);
            left = match operator {
                "=" => Expr::Match(Box::new(left), operand),
                _ => Expr::Operator(operator, Box::new(left), operand),
            };
            if own == COMPARE && binding(self.peek()).is_some_and(|(_, next, _)| next == COMPARE) {
                return Err(self.unexpected());
            }
        }
        Ok(left)
    }

    fn unary(&mut self) -> Parsed<Expr> {
        for operator in ["-", "+", "not", "bnot"] {
            if self.take(operator) {
                let operand = self.expression(UNARY)?;
                return Ok(Expr::Unary(operator, Box::new(operand)));
            }
        }
        self.postfix()
    }

    /// Calls and updates of maps behind an expression.
    fn postfix(&mut self) -> Parsed<Expr> {
        let mut expression = self.primary()?;
        loop {
            if self.take(":") {
                let function = self.primary()?;
                let arguments = self.arguments()?;
                let callee = Callee::Remote(expression, function);
                expression = Expr::Call(Box::new(callee), arguments);
            } else if *self.peek() == Token::Mark("(") {
                let arguments = self.arguments()?;
                let callee = match expression {
                    Expr::Literal(Term::Atom(name)) => Callee::Local(name.into()),
                    value => Callee::Value(value),
                };
                expression = Expr::Call(Box::new(callee), arguments);
            } else if self.take("#") {
                expression = Expr::Map(Some(Box::new(expression)), self.fields()?);
            } else {
                return Ok(expression);
            }
        }
    }

    fn arguments(&mut self) -> Parsed<Vec<Expr>> {
        self.mark("(")?;
        self.until(")")
    }

    /// Expressions with commas between them as far as a mark.
    fn until(&mut self, close: &'static str) -> Parsed<Vec<Expr>> {
        if self.take(close) {
            return Ok(Vec::new());
        }
        let items = self.body()?;
        self.mark(close)?;
        Ok(items)
    }

    fn primary(&mut self) -> Parsed<Expr> {
        let token = self.peek().clone();
        match token {
            Token::Atom(name) => {
                self.at += 1;
                Ok(Expr::Literal(Term::atom(name)))
            }
            Token::Variable(name) => {
                self.at += 1;
                Ok(Expr::Variable(name.into()))
            }
            Token::Integer(value) => {
                self.at += 1;
                Ok(Expr::Literal(Term::Int(value)))
            }
            Token::Float(value) => {
                self.at += 1;
                Ok(Expr::Literal(Term::Float(value)))
            }
            Token::Text(_) => Ok(Expr::Literal(Term::characters(&self.text()))),
            Token::Mark(mark) => self.marked(mark),
            Token::Word(word) => self.worded(word),
            Token::Dot | Token::End => Err(self.unexpected()),
        }
    }

    /// Strings that follow each other are one.
    fn text(&mut self) -> String {
        let mut text = String::new();
        while let Token::Text(more) = self.peek() {
            text.push_str(more);
            self.at += 1;
        }
        text
    }

    fn marked(&mut self, mark: &'static str) -> Parsed<Expr> {
        match mark {
            "(" => {
                self.at += 1;
                let inner = self.expression(0)?;
                self.mark(")")?;
                // So that it is no local call: `(f)(X)` calls what `f` is.
                Ok(match inner {
                    Expr::Literal(Term::Atom(_)) => Expr::Block(vec![inner]),
                    other => other,
                })
            }
            "{" => {
                self.at += 1;
                Ok(Expr::Tuple(self.until("}")?))
            }
            "[" => {
                self.at += 1;
                self.list()
            }
            "#" => {
                self.at += 1;
                Ok(Expr::Map(None, self.fields()?))
            }
            "<<" => {
                self.at += 1;
                self.binary()
            }
            _ => Err(self.unexpected()),
        }
    }

    fn worded(&mut self, word: &'static str) -> Parsed<Expr> {
        match word {
            "begin" => {
                self.at += 1;
                let body = self.body()?;
                self.mark("end")?;
                Ok(Expr::Block(body))
            }
            "case" => {
                self.at += 1;
                let value = self.expression(0)?;
                self.mark("of")?;
                let clauses = self.clauses()?;
                self.mark("end")?;
                Ok(Expr::Case(Box::new(value), clauses))
            }
            "if" => {
                self.at += 1;
                let mut clauses = Vec::new();
                loop {
                    let guard = self.guard()?;
                    clauses.push(self.clause(Vec::new(), guard)?);
                    if !self.take(";") {
                        break;
                    }
                }
                self.mark("end")?;
                Ok(Expr::If(clauses))
            }
            "fun" => {
                self.at += 1;
                self.fun()
            }
            "try" => {
                self.at += 1;
                self.attempt()
            }
            _ => Err(self.unexpected()),
        }
    }

    fn list(&mut self) -> Parsed<Expr> {
        if self.take("]") {
            return Ok(Expr::List(Vec::new(), None));
        }
        let first = self.expression(0)?;
        if self.take("||") {
            let mut qualifiers = vec![self.qualifier()?];
            while self.take(",") {
                qualifiers.push(self.qualifier()?);
            }
            self.mark("]")?;
            return Ok(Expr::Comprehension(Box::new(first), qualifiers));
        }
        let mut items = vec![first];
        while self.take(",") {
            items.push(self.expression(0)?);
        }
        let tail = if self.take("|") {
            Some(Box::new(self.expression(0)?))
        } else {
            None
        };
        self.mark("]")?;
        Ok(Expr::List(items, tail))
    }

    fn qualifier(&mut self) -> Parsed<Qualifier> {
        let first = self.expression(0)?;
        if self.take(":=") {
            let value = self.expression(0)?;
            self.mark("<-")?;
            let source = self.expression(0)?;
            return Ok(Qualifier::MapGenerator(first, value, source));
        }
        if self.take("<-") {
            return Ok(Qualifier::Generator(first, self.expression(0)?));
        }
        Ok(Qualifier::Filter(first))
    }

    fn fields(&mut self) -> Parsed<Vec<Field>> {
        self.mark("{")?;
        let mut fields = Vec::new();
        if self.take("}") {
            return Ok(fields);
        }
        loop {
            let key = self.expression(0)?;
            let exact = self.take(":=");
            if !exact {
                self.mark("=>")?;
            }
            let value = self.expression(0)?;
            fields.push(Field { key, exact, value });
            if self.take("}") {
                return Ok(fields);
            }
            self.mark(",")?;
        }
    }

    fn binary(&mut self) -> Parsed<Expr> {
        let mut segments = Vec::new();
        if self.take(">>") {
            return Ok(Expr::Binary(segments));
        }
        loop {
            segments.push(self.segment()?);
            if self.take(">>") {
                return Ok(Expr::Binary(segments));
            }
            self.mark(",")?;
        }
    }

    fn segment(&mut self) -> Parsed<Segment> {
        let value = match self.peek() {
            Token::Mark("-") => self.unary()?,
            _ => self.primary()?,
        };
        let size = if self.take(":") {
            Some(self.primary()?)
        } else {
            None
        };
        let mut kind = SegmentKind::Integer;
        if self.take("/") {
            loop {
                match self.next() {
                    Token::Atom(name) => match name.as_str() {
                        "utf8" => kind = SegmentKind::Utf8,
                        "binary" | "bytes" => kind = SegmentKind::Binary,
                        "integer" | "big" | "unsigned" => {}
                        other => return Err(format!("segments of type {other} are not supported")),
                    },
                    _ => {
                        self.at -= 1;
                        return Err(self.unexpected());
                    }
                }
                if !self.take("-") {
                    break;
                }
            }
        }
        Ok(Segment { value, size, kind })
    }

    /// Tests with commas between them, and semicolons between those.
    fn guard(&mut self) -> Parsed<Vec<Vec<Expr>>> {
        let mut alternatives = vec![self.body()?];
        while self.take(";") {
            alternatives.push(self.body()?);
        }
        Ok(alternatives)
    }

    fn condition(&mut self) -> Parsed<Vec<Vec<Expr>>> {
        if self.take("when") {
            self.guard()
        } else {
            Ok(Vec::new())
        }
    }

    fn clause(&mut self, patterns: Vec<Expr>, guard: Vec<Vec<Expr>>) -> Parsed<Clause> {
        self.mark("->")?;
        let body = self.body()?;
        Ok(Clause {
            patterns,
            guard,
            body,
        })
    }

    /// Clauses of one pattern each.
    fn clauses(&mut self) -> Parsed<Vec<Clause>> {
        let mut clauses = Vec::new();
        loop {
            let pattern = self.expression(0)?;
            let guard = self.condition()?;
            clauses.push(self.clause(vec![pattern], guard)?);
            if !self.take(";") {
                return Ok(clauses);
            }
        }
    }

    /// What follows `fun`: a function, or the name of one.
    fn fun(&mut self) -> Parsed<Expr> {
        if let Token::Atom(module) = self.peek().clone() {
            self.at += 1;
            self.mark(":")?;
            let Token::Atom(function) = self.next() else {
                self.at -= 1;
                return Err(self.unexpected());
            };
            self.mark("/")?;
            let Token::Integer(arity) = self.next() else {
                self.at -= 1;
                return Err(self.unexpected());
            };
            let arity = usize::try_from(arity).unwrap_or(usize::MAX);
            return Ok(Expr::Reference(module.into(), function.into(), arity));
        }
        let name: Option<Arc<str>> = match self.peek().clone() {
            Token::Variable(name) => {
                self.at += 1;
                Some(name.into())
            }
            _ => None,
        };
        let mut clauses = Vec::new();
        loop {
            let patterns = self.arguments()?;
            let guard = self.condition()?;
            clauses.push(self.clause(patterns, guard)?);
            if !self.take(";") {
                break;
            }
            if let (Some(own), Token::Variable(again)) = (&name, self.peek().clone()) {
                if **own != *again {
                    return Err(self.unexpected());
                }
                self.at += 1;
            }
        }
        self.mark("end")?;
        Ok(Expr::Fun(Arc::new(Fun { name, clauses })))
    }

    /// What follows `try`.
    fn attempt(&mut self) -> Parsed<Expr> {
        let body = self.body()?;
        let of = if self.take("of") {
            self.clauses()?
        } else {
            Vec::new()
        };
        let mut catches = Vec::new();
        if self.take("catch") {
            loop {
                catches.push(self.catch_clause()?);
                if !self.take(";") {
                    break;
                }
            }
        }
        let after = if self.take("after") {
            self.body()?
        } else {
            Vec::new()
        };
        self.mark("end")?;
        Ok(Expr::Try(body, of, catches, after))
    }

    /// `Class:Reason`, with the stack behind another colon; a class alone is that of `throw`.
    fn catch_clause(&mut self) -> Parsed<Clause> {
        let first = self.primary()?;
        let mut patterns = if self.take(":") {
            vec![first, self.primary()?]
        } else {
            vec![Expr::Literal(Term::atom("throw")), first]
        };
        let stack = if self.take(":") {
            self.primary()?
        } else {
            Expr::Variable("_".into())
        };
        patterns.push(stack);
        let guard = self.condition()?;
        self.clause(patterns, guard)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        parse(text).unwrap_err()
    }

    #[test]
    fn operators_bind_as_in_erlang() {
        for (text, same) in [
            ("1 + 2 * 3.", "1 + (2 * 3)."),
            ("1 - 2 - 3.", "(1 - 2) - 3."),
            ("A = B = 1 + 2.", "A = (B = (1 + 2))."),
            ("not true andalso false.", "(not true) andalso false."),
            ("\"a\" ++ \"b\" ++ \"c\".", "\"a\" ++ (\"b\" ++ \"c\")."),
            ("-1 + 2.", "(-1) + 2."),
            ("a:b(1):c(2).", "(a:b(1)):c(2)."),
        ] {
            assert_eq!(parse(text), parse(same), "{text}");
        }
    }

    #[test]
    fn mistakes_are_told_as_rabbitmq_tells_them() {
        for (text, expected) in [
            ("1 +.", "syntax error before: '.'"),
            ("1+1", "syntax error before: "),
            ("foo bar.", "syntax error before: bar"),
            ("1 2.", "syntax error before: 2"),
            (")", "syntax error before: ')'"),
            ("X Y.", "syntax error before: Y"),
            ("1 < 2 < 3.", "syntax error before: '<'"),
            ("a. b.", "syntax error before: b"),
        ] {
            assert_eq!(error(text), expected, "{text}");
        }
        assert!(error("\"open").starts_with("unterminated string"));
    }

    #[test]
    fn nesting_has_a_bound() {
        assert!(error(&"[".repeat(100_000)).contains("nested"));
        assert!(error(&"- ".repeat(100_000)).contains("nested"));
        assert!(error(&"fun() -> ".repeat(100_000)).contains("nested"));
    }

    #[test]
    fn every_cut_of_an_expression_is_an_error_and_no_panic() {
        let text = "F = fun (X) when X > 1; X < 0 -> {X, \"a\\x{41}\", <<\"ü\"/utf8, 1:8>>}; (_) -> #{a => $b} end, \
                    [case Y of {A, _} -> A; B -> try B catch _:E -> E end end || Y <- [1.5e3, 16#ff], F(Y) =/= x].";
        assert!(parse(text).is_ok());
        for end in 0..text.len() {
            if text.is_char_boundary(end) {
                assert!(parse(&text[..end]).is_err(), "{}", &text[..end]);
            }
        }
    }
}
