//! The learned correction: a small forest of boosted trees over what the voices say (`evidence.rs`).
//!
//! It moves the level that the hand-made rule gives, by a factor where an anomaly may begin and by a sum where
//! one may lie. All questions of one depth of a tree are the same (Kohavi 1994), so a tree is a table: the
//! answers are the index. The files beside this one are written by `examples/train_score` and read once.

use std::sync::LazyLock;

/// Natural logarithm of the factor for the level where an anomaly may begin, of a series alone and of an
/// entity; levels to add where one may lie.
static BEGINS_ALONE: LazyLock<Forest> = LazyLock::new(|| Forest::read(include_str!("begins_alone.forest")));
static BEGINS_ENTITY: LazyLock<Forest> = LazyLock::new(|| Forest::read(include_str!("begins_entity.forest")));
static LIES: LazyLock<Forest> = LazyLock::new(|| Forest::read(include_str!("lies.forest")));

/// Questions a tree may ask.
const DEEPEST: usize = 6;

/// Trees whose answers are added, one behind the other, so that they are read in one go.
#[derive(Clone, Debug, Default)]
pub(crate) struct Forest {
    /// How many questions each tree asks.
    depths: Vec<u8>,
    questions: Vec<Question>,
    /// One for each combination of a tree's answers.
    leaves: Vec<f32>,
    /// No correction is larger.
    most: f64,
}

impl Forest {
    pub(crate) fn begins(is_entity: bool) -> &'static Self {
        if is_entity { &BEGINS_ENTITY } else { &BEGINS_ALONE }
    }

    pub(crate) fn lies() -> &'static Self {
        &LIES
    }

    /// The form of the files: a line a tree, `place edge place edge ... | leaf leaf ...`. They are part of the
    /// program and a test reads them, so a line that is no tree is left out.
    fn read(text: &str) -> Self {
        let mut forest = Self::default();
        for (questions, leaves) in text.lines().filter_map(tree) {
            forest.depths.push(questions.len() as u8);
            forest.questions.extend(questions);
            forest.most += f64::from(leaves.iter().copied().fold(f32::MIN, f32::max));
            forest.leaves.extend(leaves);
        }
        forest
    }

    /// At least as large as every correction.
    pub(crate) fn most(&self) -> f64 {
        self.most
    }

    /// The sum of the trees' answers. Cost: about 3 ns a tree.
    pub(crate) fn correction(&self, evidence: &[f32]) -> f64 {
        let (mut questions, mut leaves) = (self.questions.as_slice(), self.leaves.as_slice());
        let mut sum = 0.0;
        for &depth in &self.depths {
            let (asked, later) = questions.split_at(usize::from(depth));
            let (own, others) = leaves.split_at(1 << depth);
            let number = |place: u32| evidence.get(place as usize).copied().unwrap_or(0.0);
            let answers = asked.iter().fold(0, |answers, &(place, edge)| answers * 2 + usize::from(number(place) > edge));
            sum += own[answers];
            (questions, leaves) = (later, others);
        }
        f64::from(sum)
    }
}

/// Which number is larger than what.
type Question = (u32, f32);

/// Questions and leaves of a line, where it is a tree.
fn tree(line: &str) -> Option<(Vec<Question>, Vec<f32>)> {
    let (asked, leaves) = line.split_once(" | ")?;
    let fields: Vec<&str> = asked.split(' ').collect();
    let question = |pair: &[&str]| Some((pair[0].parse().ok()?, pair[1].parse().ok()?));
    let questions: Vec<Question> = fields.chunks_exact(2).map(question).collect::<Option<_>>()?;
    let leaves: Vec<f32> = leaves.split(' ').map(|leaf| leaf.parse().ok()).collect::<Option<_>>()?;
    (questions.len() <= DEEPEST && leaves.len() == 1 << questions.len()).then_some((questions, leaves))
}

#[cfg(test)]
mod tests {
    use super::{super::evidence::COUNT, *};

    #[test]
    fn answers_are_the_index_of_the_leaf() {
        let forest = Forest::read("# a comment\n0 1.5 1 2 | 10 20 30 40\nno tree\n");
        assert_eq!(forest.depths, [2]);
        assert_eq!(forest.correction(&[1.0, 3.0]), 20.0);
        assert_eq!(forest.correction(&[2.0, 1.0]), 30.0);
        assert_eq!(forest.most(), 40.0);
    }

    #[test]
    fn the_shipped_files_are_forests_over_the_evidence() {
        let texts = [include_str!("begins_alone.forest"), include_str!("begins_entity.forest"), include_str!("lies.forest")];
        for (text, forest) in texts.into_iter().zip([Forest::begins(false), Forest::begins(true), Forest::lies()]) {
            let lines = text.lines().filter(|line| !line.starts_with('#')).count();
            assert_eq!(forest.depths.len(), lines, "each line is a tree");
            assert!(forest.questions.iter().all(|(place, _)| (*place as usize) < COUNT));
        }
    }
}
