//! The query of a URL, and percent-encoding.
//!
//! Everything is decoded exactly once.

use std::borrow::Cow;

/// Parameters that a request may have; those behind are ignored.
const PARAMETERS_MAX: usize = 64;

/// Decoded parameters, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// Reads `a=b&c=d`; also the form of a login. What is no UTF-8 gets replacement characters.
    pub(crate) fn parse(text: &str) -> Self {
        let pairs = text
            .split('&')
            .filter(|pair| !pair.is_empty())
            .take(PARAMETERS_MAX)
            .map(|pair| {
                let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
                (form(key), form(value))
            });
        Self(pairs.collect())
    }

    /// The first value of a parameter.
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(own, _)| own == key)
            .map(|(_, value)| value.as_str())
    }

    /// All values of a parameter.
    pub(crate) fn all(&self, key: &str) -> impl Iterator<Item = &str> {
        let of_key = self.0.iter().filter(move |(own, _)| own == key);
        of_key.map(|(_, value)| value.as_str())
    }

    /// Whether a switch is on.
    pub(crate) fn is_true(&self, key: &str) -> bool {
        self.get(key) == Some("true")
    }
}

fn form(text: &str) -> String {
    let spaced = text.replace('+', " ");
    String::from_utf8_lossy(&decode(&spaced)).into_owned()
}

/// Percent-decodes. What is no two hexadecimal digits behind a percent sign stays as it is.
pub(crate) fn decode(text: &str) -> Cow<'_, [u8]> {
    if !text.contains('%') {
        return Cow::Borrowed(text.as_bytes());
    }
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let hex = bytes
            .get(at + 1..at + 3)
            .filter(|_| *byte == b'%')
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match hex {
            Some(byte) => {
                decoded.push(byte);
                at += 3;
            }
            None => {
                decoded.push(*byte);
                at += 1;
            }
        }
    }
    Cow::Owned(decoded)
}

/// Encodes as forms are: a space is `+`, everything but letters, digits, `-`, `.` and `_` a percent sign and two digits.
pub(crate) fn encode(bytes: &[u8]) -> String {
    let mut encoded = String::with_capacity(bytes.len());
    for byte in bytes {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_') {
            encoded.push(char::from(*byte));
        } else if *byte == b' ' {
            encoded.push('+');
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_decoded_once() {
        assert_eq!(&*decode("%2F"), b"/");
        assert_eq!(&*decode("%252F"), b"%2F");
        assert_eq!(&*decode("a%zz%4"), b"a%zz%4");
        assert_eq!(&*decode("%+1"), b"%+1");
        assert_eq!(&*decode("%ff"), b"\xff");
        let odd = "a.#/~ü";
        assert_eq!(&*decode(&encode(odd.as_bytes())), odd.as_bytes());
    }

    #[test]
    fn a_query_is_a_list_of_decoded_pairs() {
        let query = Query::parse("name=a%26b+c&sort=x&sort=y&flag");
        assert_eq!(query.get("name"), Some("a&b c"));
        assert_eq!(query.get("sort"), Some("x"));
        assert_eq!(query.get("flag"), Some(""));
        assert!(!query.is_true("flag"));
    }
}
