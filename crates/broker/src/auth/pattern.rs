//! Permission patterns: PCRE as operators write it, compiled once per permission entry.

use crate::Error;
use fancy_regex::{Regex, RegexBuilder, escape};

/// Longest pattern that is accepted, in bytes.
pub const PATTERN_BYTES_MAX: usize = 1024;

/// Steps that one match may take; a pattern that needs more matches nothing.
pub const BACKTRACK_LIMIT: usize = 50_000;

/// Names that may be in braces in a topic pattern, and their values.
pub(super) type Variables<'a> = [(&'a str, Option<&'a str>)];

/// A regular expression that is looked for anywhere in a name. The empty one matches only the empty name.
///
/// Whatever goes wrong while matching counts as no match, so that a bad pattern never opens anything.
#[derive(Clone, Debug)]
pub struct Pattern {
    source: Box<str>,
    matcher: Matcher,
}

/// Patterns are the same if they are written the same.
impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

#[derive(Clone, Debug)]
enum Matcher {
    /// `.*`, the most common pattern by far: it finds at least nothing, anywhere.
    Everything,
    Regex(Box<Regex>),
    /// A topic pattern with variables: an expression only once they are filled in.
    Template,
}

impl Pattern {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// `Precondition`, if it is no regular expression or longer than [`PATTERN_BYTES_MAX`].
    pub fn new(source: &str) -> Result<Self, Error> {
        let matcher = if source == ".*" {
            Matcher::Everything
        } else {
            Matcher::Regex(Box::new(compile(source)?))
        };
        Ok(Self {
            source: source.into(),
            matcher,
        })
    }

    /// Compiles a pattern in which `{username}`, `{vhost}` and `{client_id}` stand for the user at hand.
    ///
    /// # Errors
    /// As [`Pattern::new`].
    pub fn with_variables(source: &str) -> Result<Self, Error> {
        if !["{username}", "{vhost}", "{client_id}"]
            .iter()
            .any(|variable| source.contains(variable))
        {
            return Self::new(source);
        }
        compile(&substitute(
            source,
            &[
                ("{username}", Some("u")),
                ("{vhost}", Some("v")),
                ("{client_id}", Some("c")),
            ],
        ))?;
        Ok(Self {
            source: source.into(),
            matcher: Matcher::Template,
        })
    }

    /// Compiles a pattern of a policy: as [`Pattern::new`], but the empty one is found in every name.
    ///
    /// # Errors
    /// As [`Pattern::new`].
    pub fn of_policy(source: &str) -> Result<Self, Error> {
        if !source.is_empty() {
            return Self::new(source);
        }
        Ok(Self {
            source: source.into(),
            matcher: Matcher::Everything,
        })
    }

    /// The pattern that is found in every name.
    pub fn everything() -> Self {
        Self {
            source: ".*".into(),
            matcher: Matcher::Everything,
        }
    }

    /// The pattern as it was written.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Whether the pattern occurs in the text.
    pub fn matches(&self, text: &str) -> bool {
        self.matches_with(&[], text)
    }

    /// Whether the pattern occurs in the text, once the variables have their values.
    pub(super) fn matches_with(&self, variables: &Variables<'_>, text: &str) -> bool {
        match &self.matcher {
            Matcher::Everything => true,
            Matcher::Regex(regex) => regex.is_match(text).unwrap_or(false),
            Matcher::Template => compile(&substitute(&self.source, variables))
                .is_ok_and(|regex| regex.is_match(text).unwrap_or(false)),
        }
    }
}

/// Values are escaped: a user called `.*` gets no more than his own topics. A variable without a value stays as it is.
fn substitute(source: &str, variables: &Variables<'_>) -> String {
    let known = variables
        .iter()
        .filter_map(|(name, value)| Some((*name, (*value)?)));
    known.fold(source.to_owned(), |text, (name, value)| {
        text.replace(name, &escape(value))
    })
}

fn compile(source: &str) -> Result<Regex, Error> {
    if source.len() > PATTERN_BYTES_MAX {
        return Err(Error::Precondition(
            format!("regular expression is longer than {PATTERN_BYTES_MAX} bytes").into(),
        ));
    }
    let source = if source.is_empty() { "^$" } else { source };
    let built = RegexBuilder::new(source)
        .backtrack_limit(BACKTRACK_LIMIT)
        .build();
    built.map_err(|error| {
        Error::Precondition(format!("invalid regular expression '{source}': {error}").into())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_unanchored_and_know_look_ahead() {
        let check = |source: &str, text: &str, expect: bool| {
            assert_eq!(
                Pattern::new(source).unwrap().matches(text),
                expect,
                "{source} in {text}"
            );
        };
        check(".*", "anything", true);
        check("", "", true);
        check("", "q", false);
        check("^$", "q", false);
        check("orders", "my-orders-2", true);
        check("^orders$", "my-orders-2", false);
        check(r"^(?!amq\.).*", "amq.direct", false);
        check(r"^(?!amq\.).*", "logs", true);
        check(r"^(a|aa)+\1b$", &"a".repeat(200), false);
    }

    #[test]
    fn bad_patterns_are_refused() {
        assert!(Pattern::new("(").is_err());
        assert!(Pattern::new(&"a".repeat(PATTERN_BYTES_MAX + 1)).is_err());
        assert!(Pattern::with_variables("({username}").is_err());
    }

    #[test]
    fn values_of_variables_are_taken_literally() {
        let pattern = Pattern::with_variables(r"^{username}\.").unwrap();
        assert!(pattern.matches_with(&[("{username}", Some("a.b"))], "a.b.c"));
        assert!(!pattern.matches_with(&[("{username}", Some(".*"))], "a.b.c"));
        assert!(!pattern.matches_with(&[("{username}", None)], "a.b.c"));
    }
}
