//! Patterns of words, and which of them match a routing key.
//!
//! A routing key is words with dots between them; the empty key has no word at all, `.` has two empty ones. In a pattern `*`
//! stands for exactly one word (which may be empty), `#` for any number of words, and either only where it is a whole word.
//!
//! ```text
//!  patterns         trie                      "stock.eu.x" walks
//!  stock.#          (root)─stock─(·)─#─(A)    root, stock, A: matches A
//!  stock.*.x                      └─*─(·)─x─(B)            and B
//! ```
//!
//! Matching runs all partial matches side by side, word by word, like a finite automaton: the *active* nodes are those reachable
//! by the words so far. A `#` node, once active, stays active to the end, so each is entered once and no combination of
//! wildcards multiplies the work: the cost is the number of words times the number of active nodes.
//!
//! The trie is persistent: a clone is free and a change copies the path from the root.

use crate::exchange::{Target, TargetSet};
use crate::persistent::PersistentMap;
use crate::reached::Reached;
use bytes::Bytes;
use smallvec::SmallVec;
use std::sync::Arc;

/// Most `#` that RabbitMQ admits in one binding key. The matching here would not need the limit.
pub(crate) const WILDCARDS_MAX: usize = 2;

/// How many words of the pattern are `#`.
pub(crate) fn wildcard_count(pattern: &[u8]) -> usize {
    words(pattern).filter(|word| *word == b"#").count()
}

/// A set of patterns with the targets of each.
#[derive(Clone, Debug, Default)]
pub(crate) struct TopicTrie {
    root: Arc<Node>,
}

/// What follows after some words of a pattern.
#[derive(Clone, Debug, Default)]
struct Node {
    /// Targets of the pattern that ends here.
    targets: TargetSet,
    star: Option<Arc<Self>>,
    hash: Option<Arc<Self>>,
    /// By next word. `None` while empty: most nodes are leaves, and even an empty map takes an allocation.
    literals: Option<PersistentMap<Bytes, Arc<Self>>>,
}

impl TopicTrie {
    pub(crate) fn add(&mut self, pattern: &[u8], target: Target) {
        let mut node = Arc::make_mut(&mut self.root);
        for word in words(pattern) {
            node = Arc::make_mut(node.child_or_insert(word));
        }
        node.targets.add(target);
    }

    /// Takes back one `add`; branches that lead nowhere are cut.
    pub(crate) fn remove(&mut self, pattern: &[u8], target: &Target) {
        Arc::make_mut(&mut self.root).remove(&mut words(pattern), target);
    }

    /// Calls `matched` with the targets of each pattern that matches.
    pub(crate) fn route<'a>(&'a self, routing_key: &[u8], matched: &mut dyn FnMut(&'a TargetSet)) {
        // Nodes that the words so far lead to exactly, and `#` nodes, which stay.
        let mut active: SmallVec<[&Node; 16]> = SmallVec::new();
        let mut next: SmallVec<[&Node; 16]> = SmallVec::new();
        let mut hashes = Reached::new();
        active.push(&self.root);
        self.root.enter_hashes(&mut hashes);

        for word in words(routing_key) {
            let hash_count = hashes.nodes().len();
            for node in &active {
                node.step(word, &mut next);
            }
            for index in 0..hash_count {
                hashes.nodes()[index].step(word, &mut next);
            }
            if next.is_empty() && hash_count == 0 {
                return;
            }
            for node in &next {
                node.enter_hashes(&mut hashes);
            }
            std::mem::swap(&mut active, &mut next);
            next.clear();
        }

        let ends = active.iter().chain(hashes.nodes());
        ends.map(|node| &node.targets)
            .filter(|targets| !targets.is_empty())
            .for_each(matched);
    }
}

impl Node {
    /// Pushes the children that take this word. No child has two parents, so none is pushed twice.
    fn step<'a>(&'a self, word: &[u8], next: &mut SmallVec<[&'a Self; 16]>) {
        if let Some(literals) = &self.literals
            && let Some(child) = literals.get(word)
        {
            next.push(child);
        }
        if let Some(star) = &self.star {
            next.push(star);
        }
    }

    /// A `#` matches no word as well, so whoever is at its parent is also at it.
    fn enter_hashes<'a>(&'a self, hashes: &mut Reached<'a, Self>) {
        let mut node = self;
        while let Some(hash) = &node.hash {
            if !hashes.insert(hash) {
                return;
            }
            node = hash;
        }
    }

    fn child_or_insert(&mut self, word: &[u8]) -> &mut Arc<Self> {
        match word {
            b"*" => self.star.get_or_insert_default(),
            b"#" => self.hash.get_or_insert_default(),
            _ => {
                let literals = self.literals.get_or_insert_default();
                if !literals.contains_key(word) {
                    // A copy: a slice of the whole binding key would keep that alive.
                    literals.insert_mut(Bytes::copy_from_slice(word), Arc::default());
                }
                literals.get_mut(word).expect("it was just inserted")
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.targets.is_empty()
            && self.star.is_none()
            && self.hash.is_none()
            && self.literals.is_none()
    }

    /// The recursion is at most as deep as a key of 255 bytes has words.
    fn remove(&mut self, words: &mut dyn Iterator<Item = &[u8]>, target: &Target) {
        let Some(word) = words.next() else {
            return self.targets.remove(target);
        };
        match word {
            b"*" => Self::remove_from(&mut self.star, words, target),
            b"#" => Self::remove_from(&mut self.hash, words, target),
            _ => {
                let Some(literals) = &mut self.literals else {
                    return;
                };
                let Some(child) = literals.get_mut(word) else {
                    return;
                };
                let child = Arc::make_mut(child);
                child.remove(words, target);
                if child.is_empty() {
                    literals.remove_mut(word);
                }
                if literals.is_empty() {
                    self.literals = None;
                }
            }
        }
    }

    fn remove_from(
        slot: &mut Option<Arc<Self>>,
        words: &mut dyn Iterator<Item = &[u8]>,
        target: &Target,
    ) {
        let Some(child) = slot else { return };
        let child = Arc::make_mut(child);
        child.remove(words, target);
        if child.is_empty() {
            *slot = None;
        }
    }
}

/// The words of a key. Splitting the empty key gives none, not one empty word.
/// The words of a key.
pub(crate) fn words(key: &[u8]) -> impl Iterator<Item = &[u8]> {
    key.split(|byte| *byte == b'.')
        .take(if key.is_empty() { 0 } else { usize::MAX })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn target(name: &str) -> Target {
        Target::Exchange(name.into())
    }

    /// A trie in which each pattern leads to a target of the same name.
    fn trie<'p>(patterns: impl IntoIterator<Item = &'p str>) -> TopicTrie {
        let mut trie = TopicTrie::default();
        for pattern in patterns {
            trie.add(pattern.as_bytes(), target(pattern));
        }
        trie
    }

    fn matches(trie: &TopicTrie, key: &str) -> Vec<String> {
        let mut found = Vec::new();
        trie.route(key.as_bytes(), &mut |targets| {
            targets.for_each(&mut |target| match target {
                Target::Exchange(name) => found.push(name.to_string()),
                Target::Queue(queue) => found.push(queue.id.to_string()),
            });
        });
        found.sort_unstable();
        found
    }

    /// The definition of matching, in the plainest way.
    fn naive(pattern: &[&[u8]], key: &[&[u8]]) -> bool {
        match pattern.split_first() {
            None => key.is_empty(),
            Some((&b"#", rest)) => (0..=key.len()).any(|skipped| naive(rest, &key[skipped..])),
            Some((word, rest)) => {
                !key.is_empty() && (*word == b"*" || *word == key[0]) && naive(rest, &key[1..])
            }
        }
    }

    fn naive_matches(pattern: &str, key: &str) -> bool {
        let pattern: Vec<_> = words(pattern.as_bytes()).collect();
        let key: Vec<_> = words(key.as_bytes()).collect();
        naive(&pattern, &key)
    }

    #[test]
    fn wildcards_stand_for_words() {
        let check = |pattern: &str, key: &str, expect: bool| {
            assert_eq!(
                !matches(&trie([pattern]), key).is_empty(),
                expect,
                "{pattern:?} {key:?}"
            );
        };
        check("a.*", "a.b", true);
        check("a.*", "a.", true);
        check("a.*", "a", false);
        check("*", "", false);
        check("#", "", true);
        check("", "", true);
        check("", "a", false);
        check("a.#", "a", true);
        check("a.#", "a.b.c", true);
        check("#.b.#", "a.b.c", true);
        check("#.b.#", "b", true);
        check("#.#", "", true);
        check("a*", "ab", false);
        check("a*", "a*", true);
        check("*.*", ".", true);
    }

    #[test]
    fn a_change_leaves_earlier_clones_alone() {
        let mut changed = trie(["a.b", "a.#"]);
        let earlier = changed.clone();
        changed.remove(b"a.b", &target("a.b"));
        changed.add(b"a.*", target("a.*"));
        assert_eq!(matches(&earlier, "a.b"), ["a.#", "a.b"]);
        assert_eq!(matches(&changed, "a.b"), ["a.#", "a.*"]);
    }

    #[test]
    fn removing_every_pattern_leaves_an_empty_root() {
        let patterns = ["a.b.c", "a.b", "#", "a.#.*", "", "*.b"];
        let mut trie = trie(patterns);
        for pattern in patterns {
            trie.remove(pattern.as_bytes(), &target(pattern));
        }
        assert!(trie.root.is_empty());
    }

    fn key(alphabet: &'static [&'static str]) -> impl Strategy<Value = String> {
        let words = proptest::collection::vec(proptest::sample::select(alphabet), 0..6);
        words.prop_map(|words| words.join("."))
    }

    proptest! {
        #[test]
        fn the_trie_agrees_with_the_definition(
            patterns in proptest::collection::btree_set(key(&["a", "b", "", "*", "#"]), 0..40),
            removed in proptest::collection::vec(any::<prop::sample::Index>(), 0..20),
            keys in proptest::collection::vec(key(&["a", "b", "c", "", "*"]), 1..20),
        ) {
            let mut patterns = patterns;
            let mut trie = trie(patterns.iter().map(String::as_str));
            for index in removed {
                if let Some(pattern) = patterns.iter().nth(index.index(patterns.len().max(1))).cloned() {
                    patterns.remove(&pattern);
                    trie.remove(pattern.as_bytes(), &target(&pattern));
                }
            }
            for key in keys {
                let expect: Vec<_> = patterns.iter().filter(|pattern| naive_matches(pattern, &key)).cloned().collect();
                prop_assert_eq!(matches(&trie, &key), expect, "{}", key);
            }
        }
    }
}
