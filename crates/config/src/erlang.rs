//! Erlang terms in text, as `rabbitmq.config` and `advanced.config` hold them.
//!
//! ```text
//! [{rabbit, [{tcp_listeners, [{"127.0.0.1", 5672}]},   %% a comment
//!            {default_user, <<"anna">>}]}].
//! ```
//!
//! It reads atoms, numbers, strings, binaries of text, lists, tuples and maps, and knows nothing of what they mean.
//! A map is read as a list of pairs, which is what settings may have in its place.
//! Limits: a file is in memory already; terms are nested [`DEPTH_MAX`] deep at most.

use std::fmt;

/// How deep terms may be nested.
pub const DEPTH_MAX: usize = 64;

/// A term and the line on which it begins.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// The line, counted from 1.
    pub line: usize,
    /// The term.
    pub term: Term,
}

/// A term.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the names are Erlang's")]
pub enum Term {
    Atom(String),
    Integer(i64),
    Float(f64),
    /// `"text"`: a list of characters.
    String(String),
    /// `<<"text">>`.
    Binary(String),
    List(Vec<Node>),
    Tuple(Vec<Node>),
}

/// Why a text is not a term, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyntaxError {
    /// The line, counted from 1.
    pub line: usize,
    /// What was expected there.
    pub expected: &'static str,
}

/// Reads one term and the full stop behind it.
///
/// # Errors
/// The first thing that does not belong there.
pub fn parse(text: &str) -> Result<Node, SyntaxError> {
    let mut reader = Reader {
        rest: text.trim_start_matches('\u{feff}'),
        line: 1,
    };
    let node = reader.term(0)?;
    reader.skip_blank();
    if !reader.take(".") {
        return Err(reader.error("'.' behind the term"));
    }
    reader.skip_blank();
    if reader.rest.is_empty() {
        Ok(node)
    } else {
        Err(reader.error("nothing behind the '.' of the first term"))
    }
}

impl Node {
    /// The elements of a list; a string is none.
    pub fn list(&self) -> Option<&[Self]> {
        match &self.term {
            Term::List(items) => Some(items),
            Term::Atom(_)
            | Term::Integer(_)
            | Term::Float(_)
            | Term::String(_)
            | Term::Binary(_)
            | Term::Tuple(_) => None,
        }
    }

    /// The elements of a tuple.
    pub fn tuple(&self) -> Option<&[Self]> {
        match &self.term {
            Term::Tuple(items) => Some(items),
            Term::Atom(_)
            | Term::Integer(_)
            | Term::Float(_)
            | Term::String(_)
            | Term::Binary(_)
            | Term::List(_) => None,
        }
    }

    /// Key and value of `{key, Value}`.
    pub fn pair(&self) -> Option<(&str, &Self)> {
        match self.tuple()? {
            [key, value] => Some((key.atom()?, value)),
            _ => None,
        }
    }

    /// The name of an atom.
    pub fn atom(&self) -> Option<&str> {
        match &self.term {
            Term::Atom(name) => Some(name),
            Term::Integer(_)
            | Term::Float(_)
            | Term::String(_)
            | Term::Binary(_)
            | Term::List(_)
            | Term::Tuple(_) => None,
        }
    }

    /// Atom, number, string or binary as `rabbitmq.conf` would have it.
    pub fn scalar(&self) -> Option<String> {
        match &self.term {
            Term::Atom(text) | Term::String(text) | Term::Binary(text) => Some(text.clone()),
            Term::Integer(number) => Some(number.to_string()),
            Term::Float(number) => Some(format!("{number:?}")),
            Term::List(_) | Term::Tuple(_) => None,
        }
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let separated = |f: &mut fmt::Formatter<'_>, items: &[Self]| {
            items.iter().enumerate().try_for_each(|(index, item)| {
                f.write_str(if index == 0 { "" } else { "," })?;
                item.fmt(f)
            })
        };
        match &self.term {
            Term::Atom(name) if is_plain_atom(name) => f.write_str(name),
            Term::Atom(name) => write!(f, "'{}'", name.replace('\'', "\\'")),
            Term::Integer(number) => number.fmt(f),
            Term::Float(number) => write!(f, "{number:?}"),
            Term::String(text) => write!(f, "{text:?}"),
            Term::Binary(text) => write!(f, "<<{text:?}>>"),
            Term::List(items) => {
                f.write_str("[")?;
                separated(f, items)?;
                f.write_str("]")
            }
            Term::Tuple(items) => {
                f.write_str("{")?;
                separated(f, items)?;
                f.write_str("}")
            }
        }
    }
}

fn is_plain_atom(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase()) && name.chars().all(is_atom_char)
}

fn is_atom_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '@')
}

struct Reader<'a> {
    rest: &'a str,
    line: usize,
}

impl Reader<'_> {
    fn error(&self, expected: &'static str) -> SyntaxError {
        let line = self.line;
        SyntaxError { line, expected }
    }

    /// Blanks, line ends and comments.
    fn skip_blank(&mut self) {
        loop {
            let trimmed = self.rest.trim_start();
            self.advance(self.rest.len() - trimmed.len());
            if !self.rest.starts_with('%') {
                return;
            }
            self.advance(self.rest.find('\n').unwrap_or(self.rest.len()));
        }
    }

    fn advance(&mut self, bytes: usize) {
        let (passed, rest) = self.rest.split_at(bytes);
        self.line += passed.matches('\n').count();
        self.rest = rest;
    }

    fn take(&mut self, token: &str) -> bool {
        let found = self.rest.starts_with(token);
        if found {
            self.advance(token.len());
        }
        found
    }

    fn term(&mut self, depth: usize) -> Result<Node, SyntaxError> {
        if depth > DEPTH_MAX {
            return Err(self.error("terms that are nested at most 64 deep"));
        }
        self.skip_blank();
        let line = self.line;
        let Some(first) = self.rest.chars().next() else {
            return Err(self.error("a term"));
        };
        let term = match first {
            '[' => Term::List(self.items("[", "]", depth, "',' or ']'")?),
            '{' => Term::Tuple(self.items("{", "}", depth, "',' or '}'")?),
            '#' => Term::List(self.map(depth)?),
            '<' => self.binary()?,
            '"' => Term::String(self.strings()?),
            '\'' => Term::Atom(self.quoted('\'')?),
            '$' => self.character()?,
            '-' | '+' | '0'..='9' => self.number()?,
            'a'..='z' => {
                let end = self.rest.find(|c| !is_atom_char(c));
                let name = self.rest[..end.unwrap_or(self.rest.len())].to_owned();
                self.advance(name.len());
                Term::Atom(name)
            }
            _ => return Err(self.error("an atom, number, string, binary, list, tuple or map")),
        };
        Ok(Node { line, term })
    }

    fn items(
        &mut self,
        open: &str,
        close: &str,
        depth: usize,
        expected: &'static str,
    ) -> Result<Vec<Node>, SyntaxError> {
        self.take(open);
        let mut items = Vec::new();
        self.skip_blank();
        if self.take(close) {
            return Ok(items);
        }
        loop {
            items.push(self.term(depth + 1)?);
            self.skip_blank();
            if self.take(close) {
                return Ok(items);
            }
            if !self.take(",") {
                return Err(self.error(expected));
            }
        }
    }

    /// `#{Key => Value}`; its pairs.
    fn map(&mut self, depth: usize) -> Result<Vec<Node>, SyntaxError> {
        if !self.take("#{") {
            return Err(self.error("'#{'"));
        }
        let mut pairs = Vec::new();
        self.skip_blank();
        if self.take("}") {
            return Ok(pairs);
        }
        loop {
            let key = self.term(depth + 1)?;
            self.skip_blank();
            if !self.take("=>") {
                return Err(self.error("'=>'"));
            }
            let line = key.line;
            let value = self.term(depth + 1)?;
            let term = Term::Tuple(vec![key, value]);
            pairs.push(Node { line, term });
            self.skip_blank();
            if self.take("}") {
                return Ok(pairs);
            }
            if !self.take(",") {
                return Err(self.error("',' or '}'"));
            }
        }
    }

    /// `<<>>` or `<<"text">>`, also with `/utf8`.
    fn binary(&mut self) -> Result<Term, SyntaxError> {
        if !self.take("<<") {
            return Err(self.error("'<<'"));
        }
        self.skip_blank();
        let text = if self.rest.starts_with('"') {
            self.strings()?
        } else {
            String::new()
        };
        self.take("/utf8");
        self.skip_blank();
        if self.take(">>") {
            Ok(Term::Binary(text))
        } else {
            Err(self.error("a binary of one string and '>>'"))
        }
    }

    /// Strings that follow each other are one.
    fn strings(&mut self) -> Result<String, SyntaxError> {
        let mut text = String::new();
        while self.rest.starts_with('"') {
            text.push_str(&self.quoted('"')?);
            self.skip_blank();
        }
        Ok(text)
    }

    fn quoted(&mut self, quote: char) -> Result<String, SyntaxError> {
        let start = self.line;
        self.advance(1);
        let mut text = String::new();
        loop {
            let Some(next) = self.rest.chars().next() else {
                let line = start;
                let expected = "a closing quote";
                return Err(SyntaxError { line, expected });
            };
            if next == '\\' {
                self.advance(1);
                text.push(self.escaped()?);
                continue;
            }
            self.advance(next.len_utf8());
            if next == quote {
                return Ok(text);
            }
            text.push(next);
        }
    }

    /// What stands behind a backslash.
    fn escaped(&mut self) -> Result<char, SyntaxError> {
        let Some(next) = self.rest.chars().next() else {
            return Err(self.error("a character behind '\\'"));
        };
        self.advance(next.len_utf8());
        Ok(match next {
            'n' => '\n',
            't' => '\t',
            'r' => '\r',
            's' => ' ',
            'e' => '\u{1b}',
            '0' => '\0',
            'x' | '1'..='7' => return Err(self.error("no number behind '\\'")),
            other => other,
        })
    }

    /// `$a` is the number of the character.
    fn character(&mut self) -> Result<Term, SyntaxError> {
        self.advance(1);
        let Some(next) = self.rest.chars().next() else {
            return Err(self.error("a character behind '$'"));
        };
        self.advance(next.len_utf8());
        let character = if next == '\\' { self.escaped()? } else { next };
        Ok(Term::Integer(u32::from(character).into()))
    }

    fn number(&mut self) -> Result<Term, SyntaxError> {
        let is_digit = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '#');
        let text = self.rest;
        let sign = usize::from(text.starts_with(['-', '+']));
        let mut end = sign
            + text[sign..]
                .find(|c| !is_digit(c))
                .unwrap_or(text.len() - sign);
        // A full stop is part of the number only if a digit follows.
        let behind = &text[end..];
        if behind.starts_with('.') && behind[1..].starts_with(|c: char| c.is_ascii_digit()) {
            let fraction = &behind[1..];
            end += 1;
            let mut previous = '0';
            end += fraction
                .find(|c: char| {
                    let signs = matches!(c, '-' | '+') && matches!(previous, 'e' | 'E');
                    previous = c;
                    !(is_digit(c) || signs)
                })
                .unwrap_or(fraction.len());
        }
        let token = text[..end].replace('_', "");
        let term = if let Some((base, digits)) = token.split_once('#') {
            let base = base.parse().ok().filter(|base| (2..=36).contains(base));
            base.and_then(|base| i64::from_str_radix(digits, base).ok())
                .map(Term::Integer)
        } else if token.contains('.') {
            token.parse().ok().map(Term::Float)
        } else {
            token.parse().ok().map(Term::Integer)
        };
        let term = term.ok_or_else(|| self.error("a number"))?;
        self.advance(end);
        Ok(term)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        parse(text).map_or_else(
            |error| format!("{}: expected {}", error.line, error.expected),
            |node| node.to_string(),
        )
    }

    #[test]
    fn terms_are_read() {
        for (text, expected) in [
            ("[].", "[]"),
            ("%% c\n[ {rabbit , []} ] . % end\n", "[{rabbit,[]}]"),
            (
                "{'PLAIN',\"a\" \"b\\\"c\",<<\"x\">>,<<>>}.",
                "{'PLAIN',\"ab\\\"c\",<<\"x\">>,<<\"\">>}",
            ),
            (
                "[1,-2,3.5,1.0e-3,16#ff,1_000,$a].",
                "[1,-2,3.5,0.001,255,1000,97]",
            ),
            ("['rabbit@a.b',true].", "['rabbit@a.b',true]"),
            ("[5672].", "[5672]"),
            ("<<\"é\"/utf8>>.", "<<\"é\">>"),
            ("#{<<\"a\">> => 1 , b=> #{} }.", "[{<<\"a\">>,1},{b,[]}]"),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
    }

    #[test]
    fn mistakes_are_told_with_their_line() {
        for (text, expected) in [
            (
                "[\n{rabbit, [}\n].",
                "2: expected an atom, number, string, binary, list, tuple or map",
            ),
            ("[{rabbit []}].", "1: expected ',' or '}'"),
            ("[]", "1: expected '.' behind the term"),
            (
                "[]. [].",
                "1: expected nothing behind the '.' of the first term",
            ),
            ("[\n\"open].", "2: expected a closing quote"),
            ("", "1: expected a term"),
            (
                "[Var].",
                "1: expected an atom, number, string, binary, list, tuple or map",
            ),
            ("[99999999999999999999].", "1: expected a number"),
            ("<<1,2>>.", "1: expected a binary of one string and '>>'"),
            ("#[].", "1: expected '#{'"),
            ("#{a, b}.", "1: expected '=>'"),
            ("#{a => b c}.", "1: expected ',' or '}'"),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
    }

    #[test]
    fn nesting_has_a_bound() {
        for deep in ["[", "{", "#{", "#{a=>"] {
            let shown = shown(&deep.repeat(100_000));
            assert_eq!(shown, "1: expected terms that are nested at most 64 deep");
        }
    }

    #[test]
    fn every_cut_of_a_file_is_an_error_and_no_panic() {
        let text = "[{rabbit,[{a,\"x\\n\"},{b,<<\"y\"/utf8>>},{'C',16#f},{d,1.5e3},{e,$x},{f,#{g => h}}]}]. ";
        for end in 0..text.trim_end().len() {
            if text.is_char_boundary(end) {
                assert!(parse(&text[..end]).is_err(), "{}", &text[..end]);
            }
        }
    }
}
