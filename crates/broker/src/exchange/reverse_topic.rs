//! `x-rtopic`: topics the other way round. Routing keys are patterns, and binding keys are words (the community plugin
//! rabbitmq_rtopic_exchange).
//!
//! `*` in a routing key stands for one word, `#` for any number of words, as in the binding keys of a topic exchange. A key without
//! either costs one look-up; one with them is compared with each binding key of the exchange. Why not a trie: a `#` leads to all of it.

use super::{RoutedMessage, RoutingTable, Target, TargetSet, direct};
use crate::Error;
use crate::binding::Binding;
use crate::topic_trie::words;
use crate::value::Arguments;
use smallvec::SmallVec;

/// Words that are kept without an allocation.
type Words<'a> = SmallVec<[&'a [u8]; 16]>;

/// Targets by binding key. Arguments play no part.
#[derive(Clone, Debug)]
pub(super) struct Table {
    direct: direct::Table,
}

impl RoutingTable for Table {
    fn new(arguments: &Arguments) -> Result<Self, Error> {
        let direct = direct::Table::new(arguments)?;
        Ok(Self { direct })
    }

    fn add(&mut self, binding: &Binding, target: Target) {
        self.direct.add(binding, target);
    }

    fn remove(&mut self, binding: &Binding, target: &Target) {
        self.direct.remove(binding, target);
    }

    fn clear(&mut self) {
        self.direct.clear();
    }

    fn route<'a>(
        &'a self,
        message: &mut RoutedMessage<'_>,
        matched: &mut dyn FnMut(&'a TargetSet),
    ) {
        for key in message.routing_keys {
            let pattern: Words<'_> = words(key).collect();
            if !pattern.iter().any(|word| is_wildcard(word)) {
                self.direct.get(key).into_iter().for_each(&mut *matched);
                continue;
            }
            for (binding_key, targets) in self.direct.iter() {
                if matches(&pattern, &words(binding_key).collect::<Words<'_>>()) {
                    matched(targets);
                }
            }
        }
    }
}

fn is_wildcard(word: &[u8]) -> bool {
    matches!(word, b"*" | b"#")
}

/// Whether words match a pattern. Only the last `#` is ever tried again, so the cost is at most the product of the lengths.
fn matches(pattern: &[&[u8]], words: &[&[u8]]) -> bool {
    let (mut at, mut word) = (0, 0);
    // Behind the last `#`, and the words that it does not stand for.
    let mut again = None;
    while word < words.len() {
        match pattern.get(at) {
            Some(&b"#") => {
                at += 1;
                again = Some((at, word));
            }
            Some(next) if *next == b"*" || *next == words[word] => {
                at += 1;
                word += 1;
            }
            Some(_) | None => {
                let Some((behind, from)) = again else {
                    return false;
                };
                again = Some((behind, from + 1));
                (at, word) = (behind, from + 1);
            }
        }
    }
    pattern[at..].iter().all(|word| *word == b"#")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition, word by word.
    fn naive(pattern: &[&[u8]], words: &[&[u8]]) -> bool {
        match (pattern.split_first(), words.split_first()) {
            (None, None) => true,
            (Some((&b"#", rest)), _) => (0..=words.len()).any(|count| naive(rest, &words[count..])),
            (Some((first, rest)), Some((word, left))) if *first == b"*" || first == word => {
                naive(rest, left)
            }
            _ => false,
        }
    }

    /// All sequences of up to 4 of these words.
    fn sequences(alphabet: &[&'static [u8]]) -> Vec<Vec<&'static [u8]>> {
        let mut all = vec![Vec::new()];
        let mut from = 0;
        for _ in 0..4 {
            let until = all.len();
            for index in from..until {
                for word in alphabet {
                    let mut longer = all[index].clone();
                    longer.push(*word);
                    all.push(longer);
                }
            }
            from = until;
        }
        all
    }

    #[test]
    fn patterns_match_what_their_definition_says() {
        let alphabet: [&[u8]; 4] = [b"*", b"#", b"a", b"b"];
        let patterns = sequences(&alphabet);
        assert_eq!(patterns.len(), 1 + 4 + 16 + 64 + 256);
        for words in sequences(&alphabet[2..]) {
            for pattern in &patterns {
                let expected = naive(pattern, &words);
                assert_eq!(matches(pattern, &words), expected, "{pattern:?} {words:?}");
            }
        }
    }
}
