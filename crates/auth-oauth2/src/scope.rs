//! Scopes: what a token allows, as patterns.
//!
//! ```text
//! read:<vhost>/<name>            read:prod/orders-*
//! write:<vhost>/<name>/<key>     write:*/events/audit.*
//! configure:<vhost>/<name>       configure:{vhost}/{sub}-*
//! ```
//!
//! `*` stands for any characters, `%2F` for a slash and `+` for a blank. `{claim}` stands for what the token says of that name and
//! `{vhost}` for the vhost in question, and both for themselves only: a user who is called `*` gets nothing by it.
//! RabbitMQ docs: oauth2#scope-translation.

use memchr::memmem;
use serde_json::{Map, Value};
use std::borrow::Cow;

/// What may be done with a queue or an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "AMQP's and RabbitMQ's own words")]
pub enum Permission {
    Configure,
    Write,
    Read,
}

/// One scope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scope {
    pub(crate) permission: Permission,
    vhost: Pattern,
    name: Pattern,
    routing_key: Option<Pattern>,
}

impl Scope {
    /// Reads a scope whose prefix is taken off; `None` if it allows nothing here.
    pub(crate) fn parse(text: &str, claims: &Map<String, Value>) -> Option<Self> {
        let (permission, resource) = text.split_once(':')?;
        let permission = match permission {
            "configure" => Permission::Configure,
            "write" => Permission::Write,
            "read" => Permission::Read,
            _ => return None,
        };
        let mut patterns = resource
            .split('/')
            .map(|pattern| Pattern::parse(pattern, claims));
        let scope = Self {
            permission,
            vhost: patterns.next()??,
            name: patterns.next()??,
            routing_key: match patterns.next() {
                None => None,
                Some(pattern) => Some(pattern?),
            },
        };
        patterns.next().is_none().then_some(scope)
    }

    pub(crate) fn is_of_vhost(&self, vhost: &str) -> bool {
        self.vhost.matches(vhost, vhost)
    }

    pub(crate) fn allows(&self, vhost: &str, name: &str) -> bool {
        self.is_of_vhost(vhost) && self.name.matches(name, vhost)
    }

    /// A scope without a pattern for routing keys allows none of them.
    pub(crate) fn allows_key(&self, vhost: &str, exchange: &str, key: &str) -> bool {
        let pattern = self.routing_key.as_ref();
        self.allows(vhost, exchange) && pattern.is_some_and(|pattern| pattern.matches(key, vhost))
    }
}

/// Texts with any characters between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pattern {
    /// At least one.
    texts: Vec<Vec<Piece>>,
}

/// A piece of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Bytes(Vec<u8>),
    Vhost,
}

impl Pattern {
    /// `None` if a percent sign or a brace is not what it should be: then nothing matches.
    pub(crate) fn parse(text: &str, claims: &Map<String, Value>) -> Option<Self> {
        let texts = text.split('*').map(|text| pieces(text, claims));
        Some(Self {
            texts: texts.collect::<Option<_>>()?,
        })
    }

    pub(crate) fn matches(&self, subject: &str, vhost: &str) -> bool {
        let mut rest = subject.as_bytes();
        let (first, others) = self.texts.split_first().expect("at least one");
        let Some(behind) = rest.strip_prefix(&*joined(first, vhost)) else {
            return false;
        };
        let Some((last, middle)) = others.split_last() else {
            return behind.is_empty();
        };
        rest = behind;
        for text in middle {
            let text = joined(text, vhost);
            let Some(at) = memmem::find(rest, &text) else {
                return false;
            };
            rest = &rest[at + text.len()..];
        }
        rest.ends_with(&joined(last, vhost))
    }
}

fn joined<'a>(pieces: &'a [Piece], vhost: &'a str) -> Cow<'a, [u8]> {
    let bytes = |piece: &'a Piece| match piece {
        Piece::Bytes(bytes) => bytes.as_slice(),
        Piece::Vhost => vhost.as_bytes(),
    };
    match pieces {
        [] => Cow::Borrowed(&[]),
        [piece] => Cow::Borrowed(bytes(piece)),
        pieces => Cow::Owned(pieces.iter().flat_map(bytes).copied().collect()),
    }
}

fn pieces(text: &str, claims: &Map<String, Value>) -> Option<Vec<Piece>> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('{') {
        push(&mut pieces, before)?;
        let (name, behind) = behind.split_once('}')?;
        if name.contains(['{', '.']) {
            return None;
        }
        pieces.push(match name {
            "vhost" => Piece::Vhost,
            name => {
                let value = claims.get(name).and_then(Value::as_str);
                Piece::Bytes(value.unwrap_or(name).as_bytes().to_vec())
            }
        });
        rest = behind;
    }
    push(&mut pieces, rest)?;
    Some(pieces)
}

fn push(pieces: &mut Vec<Piece>, text: &str) -> Option<()> {
    if !text.is_empty() {
        pieces.push(Piece::Bytes(decoded(text)?));
    }
    Some(())
}

/// Takes `%2F` and `+` for what they stand for.
fn decoded(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        rest = behind;
        bytes.push(match first {
            b'+' => b' ',
            b'%' => {
                let (digits, behind) = rest.split_at_checked(2)?;
                rest = behind;
                let digit = |byte: u8| char::from(byte).to_digit(16);
                u8::try_from(digit(digits[0])? * 16 + digit(digits[1])?).ok()?
            }
            other => *other,
        });
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn matches(subject: &str, pattern: &str) -> bool {
        Pattern::parse(pattern, &Map::new()).is_some_and(|pattern| pattern.matches(subject, "v"))
    }

    #[test]
    fn patterns_match_as_rabbitmqs_do() {
        for (subject, pattern) in [
            ("value", "value"),
            ("", ""),
            ("", "*"),
            ("foo", "*"),
            ("foo", "*foo"),
            ("foo", "foo*"),
            ("foo", "fo*"),
            ("foo", "*oo"),
            ("a / b % c", "a%20%2F+b+%25%20c"),
            ("with * and /", "with+%2a+and+%2f"),
            ("any * star", "any * star"),
            ("string", "*str*ing*"),
            ("str*ing", "*str*ing*"),
            ("some long string", "some*string"),
            ("some long string", "some*long*string"),
            ("some long string", "*+*+*"),
            ("some long string", "s*e*str*"),
            ("abb", "a*b"),
            ("ab", "a**b"),
            ("naïve", "na%C3%AFve"),
        ] {
            assert!(matches(subject, pattern), "{subject:?} {pattern:?}");
        }
        for (subject, pattern) in [
            ("casesensitive", "CaseSensitive"),
            ("foo", "fo"),
            ("foo", "fooo"),
            ("foo", ""),
            ("a % b", "a % b"),
            ("%2", "%2"),
            ("%zz", "%zz"),
            ("%+1", "%+1"),
            ("with * and more", "with+%2a+and"),
            ("foo", "*r"),
            ("foo", "b*"),
            ("foo", "*foobar"),
            ("some string", "*+*+*"),
            ("some long string", "s*z*str*"),
            ("string", "*some*string*"),
            ("aba", "ab*ba"),
        ] {
            assert!(!matches(subject, pattern), "{subject:?} {pattern:?}");
        }
    }

    fn scope(text: &str) -> Option<Scope> {
        let claims = json!({"sub": "anna", "star": "*", "list": ["x"], "path": "a/b"});
        Scope::parse(text, claims.as_object().unwrap())
    }

    #[test]
    fn scopes_are_read() {
        let read = scope("read:prod/orders-*").unwrap();
        assert_eq!(read.permission, Permission::Read);
        assert!(read.is_of_vhost("prod") && !read.is_of_vhost("test"));
        assert!(read.allows("prod", "orders-1") && !read.allows("prod", "bills"));
        assert!(!read.allows_key("prod", "orders-1", "key"));
        let write = scope("write:*/*/a.*").unwrap();
        assert!(write.allows("x", "y"));
        assert!(write.allows_key("x", "y", "a.b") && !write.allows_key("x", "y", "b"));
        for bad in [
            "",
            "read",
            "read:x",
            "read:a/b/c/d",
            "Read:a/b",
            "delete:a/b",
            "tag:administrator",
            "read:a/%",
            "read:{a/b}/x",
            "read:{x/y",
            "read:{x.y}/z",
        ] {
            assert_eq!(scope(bad), None, "{bad}");
        }
    }

    #[test]
    fn variables_stand_for_themselves_only() {
        let allows = |text: &str, vhost: &str, name: &str| {
            scope(text).is_some_and(|scope| scope.allows(vhost, name))
        };
        assert!(allows("read:{vhost}/{sub}-*", "any", "anna-1"));
        assert!(!allows("read:{vhost}/{sub}-*", "any", "bert-1"));
        assert!(allows("read:*/x-{vhost}-*", "v1", "x-v1-q"));
        assert!(!allows("read:*/x-{vhost}-*", "v1", "x-v2-q"));
        assert!(allows("read:{vhost}/{vhost}", "/", "/"));
        assert!(allows("read:*/{star}", "v", "*") && !allows("read:*/{star}", "v", "q"));
        assert!(allows("read:*/{path}", "v", "a/b"));
        assert!(allows("read:*/{list}-{nothing}", "v", "list-nothing"));
    }
}
