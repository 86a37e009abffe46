//! The right side of `LIKE`.
//!
//! `%` stands for any bytes but line breaks, `_` for one such byte: that is how RabbitMQ's translation to PCRE comes out.

use super::SelectorError;
use crate::auth::BACKTRACK_LIMIT;
use fancy_regex::{Regex, RegexBuilder};

/// Most bytes and wildcards of a pattern.
const PATTERN_PARTS_MAX: usize = 1024;

#[derive(Debug)]
pub(super) enum Pattern {
    Like(Box<[Part]>),
    /// For clients that compile to a regular expression themselves. It has to match all of the text.
    Regex(Box<Regex>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Byte(u8),
    /// `_`
    One,
    /// `%`
    Many,
}

impl Pattern {
    /// A pattern with or without an escape character.
    pub(super) fn new(text: &[u8], escape: Option<u8>) -> Result<Self, SelectorError> {
        let mut parts = Vec::with_capacity(text.len());
        let mut rest = text.iter().copied().peekable();
        while let Some(byte) = rest.next() {
            let escaped = rest.next_if(|_| Some(byte) == escape);
            parts.push(match (escaped, byte) {
                (Some(escaped), _) => Part::Byte(escaped),
                (None, b'_') => Part::One,
                (None, b'%') => Part::Many,
                (None, byte) => Part::Byte(byte),
            });
        }
        if parts.len() > PATTERN_PARTS_MAX {
            let reason = "{invalid_like_pattern,pattern_too_long}";
            return Err(SelectorError::Pattern(reason.into()));
        }
        Ok(Self::Like(parts.into()))
    }

    /// A regular expression.
    pub(super) fn regex(text: &[u8]) -> Result<Self, SelectorError> {
        if text.len() > PATTERN_PARTS_MAX {
            let reason = "{invalid_regex,pattern_too_long}";
            return Err(SelectorError::Pattern(reason.into()));
        }
        let text = std::str::from_utf8(text)
            .map_err(|_| SelectorError::Pattern("{invalid_regex,\"it is no UTF-8\"}".into()))?;
        let regex = RegexBuilder::new(text)
            .backtrack_limit(BACKTRACK_LIMIT)
            .build();
        regex
            .map(|regex| Self::Regex(Box::new(regex)))
            .map_err(|error| {
                SelectorError::Pattern(format!("{{invalid_regex,\"{error}\"}}").into())
            })
    }

    /// Whether all of the text is as the pattern says. Costs at most the product of their lengths.
    pub(super) fn matches(&self, text: &[u8]) -> bool {
        match self {
            Self::Like(parts) => {
                // Wildcards take no line breaks, so those of the pattern are those of the text.
                let is_break = |part: &Part| *part == Part::Byte(b'\n');
                let mut lines = text.split(|byte| *byte == b'\n');
                parts
                    .split(is_break)
                    .all(|parts| lines.next().is_some_and(|line| matches_line(parts, line)))
                    && lines.next().is_none()
            }
            Self::Regex(regex) => {
                let text = std::str::from_utf8(text).ok();
                text.is_some_and(|text| {
                    let found = regex.find(text).ok().flatten();
                    found.is_some_and(|found| found.as_str().len() == text.len())
                })
            }
        }
    }
}

/// The usual way: after a mismatch the last `%` takes one byte more. Earlier ones need not be tried again.
fn matches_line(parts: &[Part], line: &[u8]) -> bool {
    let (mut part, mut byte) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while byte < line.len() {
        match parts.get(part) {
            Some(Part::Many) => {
                part += 1;
                retry = Some((part, byte));
                continue;
            }
            Some(Part::One) => {
                (part, byte) = (part + 1, byte + 1);
                continue;
            }
            Some(Part::Byte(wanted)) if *wanted == line[byte] => {
                (part, byte) = (part + 1, byte + 1);
                continue;
            }
            Some(Part::Byte(_)) | None => {}
        }
        let Some((after, from)) = retry else {
            return false;
        };
        (part, byte) = (after, from + 1);
        retry = Some((after, byte));
    }
    parts[part..].iter().all(|part| *part == Part::Many)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition, in the plainest way.
    fn naive(parts: &[Part], text: &[u8]) -> bool {
        match (parts, text) {
            ([], _) => text.is_empty(),
            ([Part::Many, rest @ ..], _) => (0..=text.len())
                .take_while(|taken| !text[..*taken].contains(&b'\n'))
                .any(|taken| naive(rest, &text[taken..])),
            ([Part::One, rest @ ..], [byte, text @ ..]) => *byte != b'\n' && naive(rest, text),
            ([Part::Byte(wanted), rest @ ..], [byte, text @ ..]) => {
                wanted == byte && naive(rest, text)
            }
            ([_, ..], []) => false,
        }
    }

    proptest! {
        #[test]
        fn patterns_match_as_defined(pattern in "[ab%_\n]{0,8}", text in "[ab\n]{0,10}") {
            let compiled = Pattern::new(pattern.as_bytes(), None).unwrap();
            let Pattern::Like(parts) = &compiled else { panic!() };
            prop_assert_eq!(
                compiled.matches(text.as_bytes()),
                naive(parts, text.as_bytes())
            );
        }
    }

    #[test]
    fn an_escape_makes_the_next_byte_plain() {
        let matches = |pattern: &str, text: &str| {
            let compiled = Pattern::new(pattern.as_bytes(), Some(b'!')).unwrap();
            compiled.matches(text.as_bytes())
        };
        assert!(matches("100!%", "100%"));
        assert!(!matches("100!%", "1000"));
        assert!(matches("a!!b", "a!b"));
        // Nothing is left to escape.
        assert!(matches("a!", "a!"));
    }

    #[test]
    fn long_patterns_are_refused() {
        let refusal = |pattern: &str| {
            let refused = Pattern::new(pattern.as_bytes(), None).map(drop);
            refused.map_err(|error| error.to_string())
        };
        assert_eq!(refusal(&"x".repeat(1024)), Ok(()));
        let expect = "invalid JMS selector pattern: {invalid_like_pattern,pattern_too_long}";
        assert_eq!(refusal(&"x".repeat(1025)), Err(expect.into()));
        assert!(Pattern::regex(b"(").is_err());
    }
}
