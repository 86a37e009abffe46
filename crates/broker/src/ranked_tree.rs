//! An ordered map whose entries have weights, and that finds the entry at a rank.
//!
//! Ranks count weights in key order: of the entries `a` (weight 2) and `b` (weight 1), `a` is at ranks 0 and 1, `b` at 2.
//! The tree is persistent: a clone is free and a change copies the path from the root. It is balanced by size, so
//! no order of keys makes it deep.

use std::cmp::Ordering;
use std::sync::Arc;

/// A side may have this many times the entries of the other.
const BALANCE: u32 = 3;
/// The inner grandchild of a heavy side has to be lighter than this many times the outer one for a single rotation.
const SINGLE_ROTATION: u32 = 2;

#[derive(Clone, Debug)]
pub(crate) struct RankedTree<K, V> {
    root: Link<K, V>,
}

type Link<K, V> = Option<Arc<Node<K, V>>>;

#[derive(Clone, Debug)]
struct Entry<K, V> {
    key: K,
    value: V,
    weight: u64,
}

#[derive(Debug)]
struct Node<K, V> {
    entry: Entry<K, V>,
    /// Entries of this branch.
    size: u32,
    /// Sum of their weights.
    total: u64,
    left: Link<K, V>,
    right: Link<K, V>,
}

impl<K, V> Default for RankedTree<K, V> {
    fn default() -> Self {
        Self { root: None }
    }
}

impl<K: Ord + Clone, V: Clone> RankedTree<K, V> {
    /// The sum of all weights; ranks are below it.
    pub(crate) fn total(&self) -> u64 {
        total(&self.root)
    }

    /// The value of a key and its weight.
    pub(crate) fn get(&self, key: &K) -> Option<(&V, u64)> {
        let mut link = &self.root;
        while let Some(node) = link {
            link = match key.cmp(&node.entry.key) {
                Ordering::Equal => return Some((&node.entry.value, node.entry.weight)),
                Ordering::Less => &node.left,
                Ordering::Greater => &node.right,
            };
        }
        None
    }

    /// The value at a rank.
    pub(crate) fn at(&self, mut rank: u64) -> Option<&V> {
        let mut link = &self.root;
        while let Some(node) = link {
            let before = total(&node.left);
            if rank < before {
                link = &node.left;
                continue;
            }
            rank -= before;
            if rank < node.entry.weight {
                return Some(&node.entry.value);
            }
            rank -= node.entry.weight;
            link = &node.right;
        }
        None
    }

    /// Adds or replaces an entry.
    pub(crate) fn insert(&mut self, key: K, value: V, weight: u64) {
        let entry = Entry { key, value, weight };
        self.root = Some(insert(self.root.as_deref(), entry));
    }

    pub(crate) fn remove(&mut self, key: &K) {
        if self.get(key).is_some() {
            self.root = remove(self.root.as_deref(), key);
        }
    }
}

fn size<K, V>(link: &Link<K, V>) -> u32 {
    link.as_ref().map_or(0, |node| node.size)
}

fn total<K, V>(link: &Link<K, V>) -> u64 {
    link.as_ref().map_or(0, |node| node.total)
}

fn node<K, V>(left: Link<K, V>, entry: Entry<K, V>, right: Link<K, V>) -> Arc<Node<K, V>> {
    Arc::new(Node {
        size: size(&left) + size(&right) + 1,
        total: total(&left) + total(&right) + entry.weight,
        entry,
        left,
        right,
    })
}

/// A node of two branches of which one may be an entry too heavy or too light.
fn balanced<K: Clone, V: Clone>(
    left: Link<K, V>,
    entry: Entry<K, V>,
    right: Link<K, V>,
) -> Arc<Node<K, V>> {
    let (left_size, right_size) = (size(&left), size(&right));
    if left_size + right_size > 1 {
        if let Some(heavy) = right.as_deref()
            && right_size > BALANCE * left_size
        {
            return rotated_left(left, entry, heavy);
        }
        if let Some(heavy) = left.as_deref()
            && left_size > BALANCE * right_size
        {
            return rotated_right(heavy, entry, right);
        }
    }
    node(left, entry, right)
}

fn rotated_left<K: Clone, V: Clone>(
    left: Link<K, V>,
    entry: Entry<K, V>,
    heavy: &Node<K, V>,
) -> Arc<Node<K, V>> {
    let (inner, outer) = (&heavy.left, &heavy.right);
    if let Some(inner) = inner
        && inner.size >= SINGLE_ROTATION * size(outer)
    {
        let left = node(left, entry, inner.left.clone());
        let right = node(inner.right.clone(), heavy.entry.clone(), outer.clone());
        return node(Some(left), inner.entry.clone(), Some(right));
    }
    let left = node(left, entry, inner.clone());
    node(Some(left), heavy.entry.clone(), outer.clone())
}

fn rotated_right<K: Clone, V: Clone>(
    heavy: &Node<K, V>,
    entry: Entry<K, V>,
    right: Link<K, V>,
) -> Arc<Node<K, V>> {
    let (outer, inner) = (&heavy.left, &heavy.right);
    if let Some(inner) = inner
        && inner.size >= SINGLE_ROTATION * size(outer)
    {
        let left = node(outer.clone(), heavy.entry.clone(), inner.left.clone());
        let right = node(inner.right.clone(), entry, right);
        return node(Some(left), inner.entry.clone(), Some(right));
    }
    let right = node(inner.clone(), entry, right);
    node(outer.clone(), heavy.entry.clone(), Some(right))
}

/// This recursion and those below are as deep as the tree: a few times the logarithm of its size.
fn insert<K: Ord + Clone, V: Clone>(
    old: Option<&Node<K, V>>,
    entry: Entry<K, V>,
) -> Arc<Node<K, V>> {
    let Some(old) = old else {
        return node(None, entry, None);
    };
    match entry.key.cmp(&old.entry.key) {
        Ordering::Equal => node(old.left.clone(), entry, old.right.clone()),
        Ordering::Less => {
            let left = insert(old.left.as_deref(), entry);
            balanced(Some(left), old.entry.clone(), old.right.clone())
        }
        Ordering::Greater => {
            let right = insert(old.right.as_deref(), entry);
            balanced(old.left.clone(), old.entry.clone(), Some(right))
        }
    }
}

fn remove<K: Ord + Clone, V: Clone>(old: Option<&Node<K, V>>, key: &K) -> Link<K, V> {
    let old = old?;
    match key.cmp(&old.entry.key) {
        Ordering::Less => {
            let left = remove(old.left.as_deref(), key);
            Some(balanced(left, old.entry.clone(), old.right.clone()))
        }
        Ordering::Greater => {
            let right = remove(old.right.as_deref(), key);
            Some(balanced(old.left.clone(), old.entry.clone(), right))
        }
        Ordering::Equal => match old.right.as_deref() {
            None => old.left.clone(),
            Some(right) => {
                let (first, rest) = without_first(right);
                Some(balanced(old.left.clone(), first, rest))
            }
        },
    }
}

fn without_first<K: Clone, V: Clone>(old: &Node<K, V>) -> (Entry<K, V>, Link<K, V>) {
    match old.left.as_deref() {
        None => (old.entry.clone(), old.right.clone()),
        Some(left) => {
            let (first, rest) = without_first(left);
            let rest = balanced(rest, old.entry.clone(), old.right.clone());
            (first, Some(rest))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn check<K, V>(link: &Link<K, V>) -> u32 {
        let Some(node) = link else { return 0 };
        let (left, right) = (size(&node.left), size(&node.right));
        assert_eq!(node.size, left + right + 1);
        let weights = total(&node.left) + total(&node.right) + node.entry.weight;
        assert_eq!(node.total, weights);
        if left + right > 1 {
            assert!(left <= BALANCE * right && right <= BALANCE * left);
        }
        1 + check(&node.left).max(check(&node.right))
    }

    #[test]
    fn ascending_keys_make_no_list() {
        let mut tree = RankedTree::default();
        for key in 0..10_000_u32 {
            tree.insert(key, (), 1);
        }
        assert!(check(&tree.root) < 30);
        assert_eq!(tree.total(), 10_000);
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_list(steps in proptest::collection::vec((0_u8..40, 0_u64..4), 0..200)) {
            let mut tree = RankedTree::default();
            let mut model = BTreeMap::new();
            for (key, weight) in steps {
                let before = tree.clone();
                let total_before = before.total();
                if weight == 0 {
                    tree.remove(&key);
                    model.remove(&key);
                } else {
                    tree.insert(key, key, weight);
                    model.insert(key, weight);
                }
                prop_assert_eq!(before.total(), total_before);
                check(&tree.root);
                let expect: Vec<u8> = model
                    .iter()
                    .flat_map(|(key, weight)| std::iter::repeat_n(*key, *weight as usize))
                    .collect();
                prop_assert_eq!(tree.total(), expect.len() as u64);
                for (rank, key) in expect.iter().enumerate() {
                    prop_assert_eq!(tree.at(rank as u64), Some(key));
                }
                prop_assert!(tree.at(expect.len() as u64).is_none());
                prop_assert_eq!(tree.get(&key).map(|(_, weight)| weight), model.get(&key).copied());
            }
        }
    }
}
