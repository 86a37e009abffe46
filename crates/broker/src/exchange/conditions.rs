//! Bindings whose arguments are conditions on the headers.
//!
//! Bindings with the same arguments are one row. Most conditions can only hold if the message has a certain header: such a row
//! is filed under that header, and looked at for messages that have it. So a message costs as much as there are rows that
//! might want it, not as many as there are.

use super::{RoutedMessage, Target, TargetSet};
use crate::binding::Binding;
use crate::persistent::PersistentMap;
use crate::value::{Arguments, Value};
use rpds::RedBlackTreeMapSync;
use smallvec::SmallVec;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

/// What the arguments of a binding ask of the headers.
pub(super) trait Condition: Sized {
    /// The condition in the arguments of a binding that was checked.
    fn of(arguments: &Arguments) -> Self;

    /// Whether the message is wanted.
    fn holds(&self, headers: &Arguments) -> bool;

    /// The headers without which it does not hold.
    fn needs(&self) -> Needs;
}

/// Headers without which a condition does not hold.
pub(super) enum Needs {
    /// It may hold for any message.
    Nothing,
    /// Each of these has to be there.
    Each(Marks),
    /// One of these has to be there.
    Either(Marks),
}

pub(super) type Marks = SmallVec<[Mark; 4]>;

/// Stands for a header, by name or by name and value. Marks of different headers may be equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Mark(u64);

impl Mark {
    /// Rows that need no header.
    const ANY: Self = Self(0);

    /// A header of this name.
    pub(super) fn name(name: &str) -> Self {
        let mut hasher = DefaultHasher::new();
        name.hash(&mut hasher);
        Self(hasher.finish())
    }

    /// A header of this name and value. Equal for values that a headers exchange takes for equal.
    pub(super) fn pair(name: &str, value: &Value) -> Self {
        let mut hasher = DefaultHasher::new();
        name.hash(&mut hasher);
        match value {
            Value::Int(_, value) => (1, value).hash(&mut hasher),
            Value::Float(value) => hash_float(f64::from(*value), &mut hasher),
            Value::Double(value) => hash_float(*value, &mut hasher),
            Value::LongStr(bytes) | Value::Binary(bytes) => (3, bytes).hash(&mut hasher),
            Value::Bool(value) => (4, value).hash(&mut hasher),
            Value::Timestamp(seconds) => (5, seconds).hash(&mut hasher),
            Value::Decimal(..) => 6.hash(&mut hasher),
            Value::Array(_) => 7.hash(&mut hasher),
            Value::Table(_) => 8.hash(&mut hasher),
            Value::Void => 9.hash(&mut hasher),
        }
        Self(hasher.finish())
    }
}

fn hash_float(value: f64, hasher: &mut DefaultHasher) {
    // Both zeros are equal.
    let bits = if value == 0.0 { 0 } else { value.to_bits() };
    (2, bits).hash(hasher);
}

/// Targets by condition.
#[derive(Debug)]
pub(super) struct ConditionTable<C> {
    /// Each row is under one mark, or under each if one of several is needed.
    rows: PersistentMap<Mark, Rows<C>>,
}

/// By the binding's arguments in the form that can be compared.
type Rows<C> = RedBlackTreeMapSync<Box<[u8]>, Row<C>>;

#[derive(Debug)]
struct Row<C> {
    condition: Arc<C>,
    targets: TargetSet,
}

impl<C> Clone for ConditionTable<C> {
    fn clone(&self) -> Self {
        let rows = self.rows.clone();
        Self { rows }
    }
}

impl<C> Clone for Row<C> {
    fn clone(&self) -> Self {
        Self {
            condition: Arc::clone(&self.condition),
            targets: self.targets.clone(),
        }
    }
}

impl<C> Default for ConditionTable<C> {
    fn default() -> Self {
        let rows = PersistentMap::default();
        Self { rows }
    }
}

impl<C: Condition> ConditionTable<C> {
    pub(super) fn add(&mut self, binding: &Binding, target: Target) {
        let condition = Arc::new(C::of(&binding.arguments));
        let key = binding.arguments_key();
        for mark in self.marks_of(&condition, key) {
            let Some(rows) = self.rows.get_mut(&mark) else {
                let row = Row::new(&condition, &target);
                let rows = Rows::new_sync().insert(key.into(), row);
                self.rows.insert_mut(mark, rows);
                continue;
            };
            match rows.get_mut(key) {
                Some(row) => row.targets.add(target.clone()),
                None => rows.insert_mut(key.into(), Row::new(&condition, &target)),
            }
        }
    }

    pub(super) fn remove(&mut self, binding: &Binding, target: &Target) {
        let key = binding.arguments_key();
        for mark in self.marks_of(&C::of(&binding.arguments), key) {
            let Some(rows) = self.rows.get_mut(&mark) else {
                continue;
            };
            let Some(row) = rows.get_mut(key) else {
                continue;
            };
            row.targets.remove(target);
            if row.targets.is_empty() {
                rows.remove_mut(key);
            }
            if rows.is_empty() {
                self.rows.remove_mut(&mark);
            }
        }
    }

    pub(super) fn route<'a>(
        &'a self,
        message: &mut RoutedMessage<'_>,
        matched: &mut dyn FnMut(&'a TargetSet),
    ) {
        if self.rows.is_empty() {
            return;
        }
        let headers = message.headers();
        let named = headers
            .iter()
            .flat_map(|(name, value)| [Mark::name(name), Mark::pair(name, value)]);
        for mark in std::iter::once(Mark::ANY).chain(named) {
            let rows = self.rows.get(&mark).into_iter().flat_map(Rows::values);
            rows.filter(|row| row.condition.holds(headers))
                .for_each(|row| matched(&row.targets));
        }
    }

    /// The marks under which the row is, or has to be. Of several that are all needed it is the one with the fewest rows.
    fn marks_of(&self, condition: &C, key: &[u8]) -> Marks {
        match condition.needs() {
            Needs::Nothing => Marks::from_slice(&[Mark::ANY]),
            Needs::Either(mut marks) => {
                marks.sort_unstable_by_key(|mark| mark.0);
                marks.dedup();
                marks
            }
            Needs::Each(marks) => {
                let has_row = |mark: &&Mark| {
                    self.rows
                        .get(mark)
                        .is_some_and(|rows| rows.contains_key(key))
                };
                let row_count = |mark: &&Mark| self.rows.get(mark).map_or(0, Rows::size);
                let known = marks.iter().find(has_row);
                let mark = known.or_else(|| marks.iter().min_by_key(row_count));
                Marks::from_slice(&[mark.copied().unwrap_or(Mark::ANY)])
            }
        }
    }
}

impl<C> Row<C> {
    fn new(condition: &Arc<C>, target: &Target) -> Self {
        Self {
            condition: Arc::clone(condition),
            targets: TargetSet::One(target.clone(), 1),
        }
    }
}
