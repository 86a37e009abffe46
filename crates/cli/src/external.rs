//! Erlang's external term format, as far as encrypted values of configuration files hold it.
//!
//! Limits: what is read is in memory already; terms are nested [`DEPTH_MAX`] deep at most, and no length is believed before its bytes
//! are there.

use crate::term::Term;

/// How deep terms may be nested.
const DEPTH_MAX: usize = 64;

const VERSION: u8 = 131;
const FLOAT: u8 = 70;
const SMALL_INTEGER: u8 = 97;
const INTEGER: u8 = 98;
const ATOM: u8 = 100;
const SMALL_TUPLE: u8 = 104;
const LARGE_TUPLE: u8 = 105;
const NIL: u8 = 106;
const STRING: u8 = 107;
const LIST: u8 = 108;
const BINARY: u8 = 109;
const SMALL_BIG: u8 = 110;
const SMALL_ATOM: u8 = 115;
const MAP: u8 = 116;
const ATOM_UTF8: u8 = 118;
const SMALL_ATOM_UTF8: u8 = 119;

/// The bytes of a term. `None` if something in it has no such form here.
pub(crate) fn encode(term: &Term) -> Option<Vec<u8>> {
    let mut bytes = vec![VERSION];
    put(term, &mut bytes)?;
    Some(bytes)
}

fn length(count: usize) -> Option<[u8; 4]> {
    u32::try_from(count).ok().map(u32::to_be_bytes)
}

fn put(term: &Term, into: &mut Vec<u8>) -> Option<()> {
    match term {
        Term::Atom(text) => {
            if let Ok(size) = u8::try_from(text.len()) {
                into.extend([SMALL_ATOM_UTF8, size]);
            } else {
                into.push(ATOM_UTF8);
                into.extend(u16::try_from(text.len()).ok()?.to_be_bytes());
            }
            into.extend(text.bytes());
        }
        Term::Int(value) => {
            if let Ok(small) = u8::try_from(*value) {
                into.extend([SMALL_INTEGER, small]);
            } else if let Ok(value) = i32::try_from(*value) {
                into.push(INTEGER);
                into.extend(value.to_be_bytes());
            } else {
                let digits = value.unsigned_abs().to_le_bytes();
                let used = digits.iter().rposition(|digit| *digit > 0)? + 1;
                into.extend([SMALL_BIG, u8::try_from(used).ok()?, u8::from(*value < 0)]);
                into.extend_from_slice(&digits[..used]);
            }
        }
        Term::Float(value) => {
            into.push(FLOAT);
            into.extend(value.to_be_bytes());
        }
        Term::Binary(bytes) => {
            into.push(BINARY);
            into.extend(length(bytes.len())?);
            into.extend(bytes);
        }
        Term::List(items) if items.is_empty() => into.push(NIL),
        Term::List(items) => {
            let small = items.iter().map(|item| match item {
                Term::Int(value) => u8::try_from(*value).ok(),
                _ => None,
            });
            let bytes: Option<Vec<u8>> = small.collect();
            match (bytes, u16::try_from(items.len())) {
                (Some(bytes), Ok(count)) => {
                    into.push(STRING);
                    into.extend(count.to_be_bytes());
                    into.extend(bytes);
                }
                (_, _) => {
                    into.push(LIST);
                    into.extend(length(items.len())?);
                    items.iter().try_for_each(|item| put(item, into))?;
                    into.push(NIL);
                }
            }
        }
        Term::Tuple(items) => {
            into.push(LARGE_TUPLE);
            if let Ok(count) = u8::try_from(items.len()) {
                into.pop();
                into.extend([SMALL_TUPLE, count]);
            } else {
                into.extend(length(items.len())?);
            }
            items.iter().try_for_each(|item| put(item, into))?;
        }
        Term::Map(pairs) => {
            into.push(MAP);
            into.extend(length(pairs.len())?);
            for (key, value) in pairs {
                put(key, into)?;
                put(value, into)?;
            }
        }
        Term::Pid(_) | Term::Fun(_) => return None,
    }
    Some(())
}

/// The term of these bytes, all of them. `None` if they are none.
pub(crate) fn decode(bytes: &[u8]) -> Option<Term> {
    let mut reader = Reader {
        rest: bytes.strip_prefix(&[VERSION])?,
    };
    let term = reader.term(0)?;
    reader.rest.is_empty().then_some(term)
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (own, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(own)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn byte(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    fn short(&mut self) -> Option<usize> {
        self.array().map(u16::from_be_bytes).map(usize::from)
    }

    fn long(&mut self) -> Option<usize> {
        let count = self.array().map(u32::from_be_bytes)?;
        usize::try_from(count).ok()
    }

    fn text(&mut self, length: usize) -> Option<String> {
        String::from_utf8(self.take(length)?.to_vec()).ok()
    }

    fn items(&mut self, count: usize, depth: usize) -> Option<Vec<Term>> {
        // Each element has a byte at least.
        if count > self.rest.len() {
            return None;
        }
        (0..count).map(|_| self.term(depth + 1)).collect()
    }

    fn term(&mut self, depth: usize) -> Option<Term> {
        if depth > DEPTH_MAX {
            return None;
        }
        Some(match self.byte()? {
            SMALL_INTEGER => Term::int(self.byte()?),
            INTEGER => Term::int(self.array().map(i32::from_be_bytes)?),
            FLOAT => Term::Float(self.array().map(f64::from_be_bytes)?),
            SMALL_BIG => {
                let (count, sign) = (usize::from(self.byte()?), self.byte()?);
                let digits = self.take(count).filter(|digits| digits.len() <= 15)?;
                let value = digits
                    .iter()
                    .rev()
                    .fold(0, |sum, digit| sum << 8 | i128::from(*digit));
                Term::Int(if sign == 0 { value } else { -value })
            }
            ATOM | ATOM_UTF8 => {
                let length = self.short()?;
                Term::Atom(self.text(length)?)
            }
            SMALL_ATOM | SMALL_ATOM_UTF8 => {
                let length = usize::from(self.byte()?);
                Term::Atom(self.text(length)?)
            }
            SMALL_TUPLE => {
                let count = usize::from(self.byte()?);
                Term::Tuple(self.items(count, depth)?)
            }
            LARGE_TUPLE => {
                let count = self.long()?;
                Term::Tuple(self.items(count, depth)?)
            }
            NIL => Term::List(Vec::new()),
            STRING => {
                let length = self.short()?;
                Term::List(
                    self.take(length)?
                        .iter()
                        .map(|byte| Term::int(*byte))
                        .collect(),
                )
            }
            LIST => {
                let count = self.long()?;
                let items = self.items(count, depth)?;
                match self.byte()? {
                    NIL => Term::List(items),
                    _ => return None,
                }
            }
            BINARY => {
                let length = self.long()?;
                Term::Binary(self.take(length)?.to_vec())
            }
            MAP => {
                let count = self.long()?;
                let mut items = self.items(count.checked_mul(2)?, depth)?.into_iter();
                let mut pairs = Vec::new();
                while let (Some(key), Some(value)) = (items.next(), items.next()) {
                    pairs.push((key, value));
                }
                Term::Map(pairs)
            }
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Term {
        Term::Tuple(vec![
            Term::atom("a"),
            Term::List(vec![Term::int(1), Term::characters("x"), Term::text("ü")]),
            Term::int(-5),
            Term::Int(1 << 70),
            Term::Float(0.5),
            Term::Map(vec![(Term::atom("k"), Term::List(Vec::new()))]),
        ])
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        let bytes = encode(&sample()).unwrap();
        assert_eq!(decode(&bytes), Some(sample()));
    }

    #[test]
    fn every_cut_is_refused() {
        let bytes = encode(&sample()).unwrap();
        for end in 0..bytes.len() {
            assert_eq!(decode(&bytes[..end]), None, "{end}");
        }
    }

    #[test]
    fn announced_lengths_and_nesting_are_not_believed() {
        assert_eq!(decode(&[VERSION, LIST, 255, 255, 255, 255]), None);
        assert_eq!(decode(&[VERSION, BINARY, 255, 255, 255, 255]), None);
        let mut deep = vec![VERSION];
        for _ in 0..10_000 {
            deep.extend([SMALL_TUPLE, 1]);
        }
        deep.push(NIL);
        assert_eq!(decode(&deep), None);
    }
}
