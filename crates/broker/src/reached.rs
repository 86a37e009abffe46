//! The nodes that a walk has reached, each once.

use hashbrown::HashSet;
use smallvec::SmallVec;
use std::hash::BuildHasherDefault;
use std::hash::DefaultHasher;

/// Up to this many nodes, comparing addresses one by one beats hashing them.
const SCAN_MAX: usize = 32;

/// Distinct nodes in the order in which they were reached. Nodes are told apart by address.
///
/// Walks append while they read from the front by index, so the list is also the work that remains.
pub(crate) struct Reached<'a, T> {
    nodes: SmallVec<[&'a T; 8]>,
    /// Addresses of all nodes, once there are more than [`SCAN_MAX`].
    index: HashSet<*const T, BuildHasherDefault<DefaultHasher>>,
}

impl<'a, T> Reached<'a, T> {
    pub(crate) fn new() -> Self {
        Self {
            nodes: SmallVec::new(),
            index: HashSet::default(),
        }
    }

    pub(crate) fn nodes(&self) -> &[&'a T] {
        &self.nodes
    }

    /// Adds the node; false if it had been reached before.
    pub(crate) fn insert(&mut self, node: &'a T) -> bool {
        if self.nodes.len() < SCAN_MAX {
            if self.nodes.iter().any(|known| std::ptr::eq(*known, node)) {
                return false;
            }
        } else {
            if self.index.is_empty() {
                self.index
                    .extend(self.nodes.iter().map(|known| std::ptr::from_ref(*known)));
            }
            if !self.index.insert(node) {
                return false;
            }
        }
        self.nodes.push(node);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_node_is_reached_once_however_many_there_are() {
        let nodes: Vec<u64> = (0..1000).collect();
        let mut reached = Reached::new();
        for _ in 0..2 {
            for node in &nodes {
                reached.insert(node);
            }
        }
        assert!(reached.nodes().iter().copied().eq(nodes.iter()));
    }
}
