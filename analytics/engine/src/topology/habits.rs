//! What a span usually does: which operations of its own service its children are. A span that leaves
//! some of them out has not done its work: it gave up early, whatever its status says.
//!
//! Only for spans that do not say what they are to others (kinds unset): whoever sets kinds sets status
//! too. Counted in windows, not in spans, so that a busy hour of a fault does not become the habit.
//! Called by the span table when a window closes. Invariant: the order in which spans of one window
//! are heard of does not matter; habits change between windows only.

use super::names::OperationIndex;
use crate::hash::FixedMap;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Windows until it is known what is nearly always done ...
const WINDOWS_MIN: f64 = 12.0;
/// ... and until it is known what else is done at times.
const SHAPES_AFTER: f64 = 30.0;
/// Windows that a habit looks back; above this half is forgotten.
const WINDOWS_MAX: f64 = 360.0;
/// Share of spans with a child from which on it is a habit ...
const USUAL: f64 = 0.9;
/// ... and below which it is none any more.
const DROPPED: f64 = 0.75;
/// Part of the windows, and at most how many of them, in which a set of children must have been seen to be familiar.
const FAMILIAR: (f64, f64) = (0.05, 20.0);
/// Children whose presence is counted, for each operation.
const CHILDREN_MAX: usize = 24;
/// Sets of children that are told apart; an operation with more has no habits in that.
const SHAPES_MAX: usize = 48;
/// Stands for any child at all.
pub const ANY: OperationIndex = OperationIndex::MAX;

/// A child that an operation has had.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Child {
    operation: OperationIndex,
    /// Sum of its shares in the windows.
    present: f64,
    is_usual: bool,
}

/// One operation.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Habit {
    windows: f64,
    children: Vec<Child>,
    /// Sets of children, and in how many windows each was seen.
    shapes: Vec<(Vec<OperationIndex>, f64)>,
}

impl Habit {
    fn lacks_usual(&self, children: &[OperationIndex]) -> bool {
        let mut usual = self.children.iter().filter(|child| child.is_usual);
        self.windows >= WINDOWS_MIN && usual.any(|child| children.binary_search(&child.operation).is_err())
    }

    /// Whether this is only part of what is familiar, and has hardly been seen by itself.
    fn is_unfamiliar_part(&self, children: &[OperationIndex]) -> bool {
        if self.windows < SHAPES_AFTER || self.shapes.len() >= SHAPES_MAX {
            return false;
        }
        let enough = (FAMILIAR.0 * self.windows).clamp(2.0, FAMILIAR.1);
        let seen = self.shapes.iter().find(|(shape, _)| shape == children).map_or(0.0, |(_, seen)| *seen);
        let holds =
            |shape: &[OperationIndex]| shape.len() > children.len() && children.iter().all(|child| shape.binary_search(child).is_ok());
        seen < enough && self.shapes.iter().any(|(shape, seen)| *seen >= enough && holds(shape))
    }

    fn learn(&mut self, count: &Count) {
        self.windows += 1.0;
        let mut present: BTreeMap<OperationIndex, f64> = BTreeMap::new();
        for (shape, spans) in &count.shapes {
            shape.iter().for_each(|child| *present.entry(*child).or_default() += spans / count.spans);
            match self.shapes.iter().position(|(known, _)| known == shape) {
                Some(at) => self.shapes[at].1 += 1.0,
                None if self.shapes.len() < SHAPES_MAX => self.shapes.push((shape.clone(), 1.0)),
                None => {}
            }
        }
        for child in &mut self.children {
            child.present += present.remove(&child.operation).unwrap_or(0.0);
        }
        // Whatever is left is new.
        for (operation, present) in present {
            if self.children.len() < CHILDREN_MAX || operation == ANY {
                self.children.push(Child { operation, present, is_usual: false });
            }
        }
        for child in &mut self.children {
            child.is_usual = child.present >= self.windows * if child.is_usual { DROPPED } else { USUAL };
        }
        if self.windows >= WINDOWS_MAX {
            self.windows *= 0.5;
            self.children.iter_mut().for_each(|child| child.present *= 0.5);
            self.shapes.iter_mut().for_each(|(_, seen)| *seen *= 0.5);
            self.children.retain(|child| child.present > 0.01);
            self.shapes.retain(|(_, seen)| *seen >= 1.0);
        }
    }
}

/// Spans of one operation in the window that is being closed.
#[derive(Clone, Debug, Default)]
struct Count {
    spans: f64,
    shapes: BTreeMap<Vec<OperationIndex>, f64>,
}

/// The habits of all operations.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Habits(FixedMap<OperationIndex, Habit>);

/// What the spans of a window were seen to do.
#[derive(Clone, Debug, Default)]
pub struct Deeds(BTreeMap<OperationIndex, Count>);

impl Deeds {
    /// Takes a span of this operation; `children` are those of its service, each once, sorted, and `ANY`.
    pub fn add(&mut self, operation: OperationIndex, children: Vec<OperationIndex>) {
        let count = self.0.entry(operation).or_default();
        count.spans += 1.0;
        *count.shapes.entry(children).or_default() += 1.0;
    }
}

impl Habits {
    /// Whether a span with these children (sorted) leaves out what others of its operation do.
    pub fn leaves_out(&self, operation: OperationIndex, children: &[OperationIndex]) -> bool {
        self.0.get(&operation).is_some_and(|habit| habit.lacks_usual(children) || habit.is_unfamiliar_part(children))
    }

    /// Takes what a window has shown.
    pub fn learn(&mut self, deeds: &Deeds) {
        for (operation, count) in &deeds.0 {
            self.0.entry(*operation).or_default().learn(count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(habits: &mut Habits, spans: &[&[OperationIndex]]) {
        let mut deeds = Deeds::default();
        spans.iter().for_each(|children| deeds.add(1, children.to_vec()));
        habits.learn(&deeds);
    }

    #[test]
    fn what_is_done_nearly_always_is_missed_and_what_is_done_at_times_is_not() {
        let mut habits = Habits::default();
        (0..11).for_each(|_| window(&mut habits, &[&[2, 3], &[2]]));
        assert!(!habits.leaves_out(1, &[]), "too early to say");
        window(&mut habits, &[&[2]]);
        assert!(habits.leaves_out(1, &[3]) && !habits.leaves_out(1, &[2]) && !habits.leaves_out(9, &[]));
    }

    #[test]
    fn a_part_of_what_is_done_is_missed_unless_it_is_done_at_times() {
        let mut habits = Habits::default();
        (0..30).for_each(|_| window(&mut habits, &[&[2, 3, 4], &[5], &[]]));
        assert!(habits.leaves_out(1, &[2]) && habits.leaves_out(1, &[3, 4]));
        assert!(!habits.leaves_out(1, &[]) && !habits.leaves_out(1, &[2, 3, 4, 5]), "known, or more than was known");
    }

    #[test]
    fn a_fault_does_not_become_the_habit_at_once_and_a_new_version_does_in_the_end() {
        let mut habits = Habits::default();
        (0..60).for_each(|_| window(&mut habits, &[&[2]]));
        (0..19).for_each(|_| window(&mut habits, &[&[], &[]]));
        assert!(habits.leaves_out(1, &[]));
        (0..2).for_each(|_| window(&mut habits, &[&[]]));
        assert!(!habits.leaves_out(1, &[]));
    }
}
