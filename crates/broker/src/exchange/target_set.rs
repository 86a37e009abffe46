//! Where bindings lead, counted.

use base::{Name, QueueRef};
use rpds::RedBlackTreeMapSync;

/// A resolved destination. Queues are named by incarnation: bindings go with their queue, so the reference never dangles.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Target {
    Queue(QueueRef),
    Exchange(Name),
}

/// The distinct targets of bindings that match alike.
///
/// A target is counted, since bindings that differ only in what their exchange type ignores lead to it several times.
/// One target is the common case and needs no tree; ten thousand cost no more than a logarithm to change.
#[derive(Clone, Debug, Default)]
pub(crate) enum TargetSet {
    #[default]
    Empty,
    One(Target, u32),
    Many(RedBlackTreeMapSync<Target, u32>),
}

impl TargetSet {
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Self::Empty)
    }

    pub(crate) fn add(&mut self, target: Target) {
        match self {
            Self::Empty => *self = Self::One(target, 1),
            Self::One(only, count) if *only == target => *count += 1,
            Self::One(only, count) => {
                let mut targets = RedBlackTreeMapSync::new_sync();
                targets.insert_mut(only.clone(), *count);
                targets.insert_mut(target, 1);
                *self = Self::Many(targets);
            }
            Self::Many(targets) => {
                let count = targets.get(&target).copied().unwrap_or(0);
                targets.insert_mut(target, count + 1);
            }
        }
    }

    /// Takes back one `add` of the target.
    pub(crate) fn remove(&mut self, target: &Target) {
        match self {
            Self::Empty => {}
            Self::One(only, count) if only == target => match *count {
                1 => *self = Self::Empty,
                _ => *count -= 1,
            },
            Self::One(..) => {}
            Self::Many(targets) => {
                match targets.get(target).copied() {
                    None => {}
                    Some(1) => _ = targets.remove_mut(target),
                    Some(count) => targets.insert_mut(target.clone(), count - 1),
                }
                if targets.size() == 1 {
                    let (only, count) = targets.first().expect("the size is one");
                    *self = Self::One(only.clone(), *count);
                }
            }
        }
    }

    /// Calls `visit` with each target once, in their order.
    pub(crate) fn for_each<'a>(&'a self, visit: &mut dyn FnMut(&'a Target)) {
        match self {
            Self::Empty => {}
            Self::One(only, _) => visit(only),
            Self::Many(targets) => targets.keys().for_each(visit),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(name: &str) -> Target {
        Target::Exchange(name.into())
    }

    fn names(set: &TargetSet) -> Vec<String> {
        let mut names = Vec::new();
        set.for_each(&mut |target| match target {
            Target::Exchange(name) => names.push(name.to_string()),
            Target::Queue(queue) => names.push(queue.id.to_string()),
        });
        names
    }

    #[test]
    fn a_target_stays_until_each_of_its_bindings_is_gone() {
        let mut set = TargetSet::default();
        for name in ["b", "a", "b", "c"] {
            set.add(target(name));
        }
        assert_eq!(names(&set), ["a", "b", "c"]);
        set.remove(&target("b"));
        set.remove(&target("c"));
        assert_eq!(names(&set), ["a", "b"]);
        set.remove(&target("b"));
        set.remove(&target("unknown"));
        assert_eq!(names(&set), ["a"]);
        set.remove(&target("a"));
        assert!(set.is_empty());
    }
}
