//! What the two forests learn from: rows of evidence, labels, weights.

use crate::{
    boost::{Dice, Forest, Growth, Rows},
    labelled::Labelled,
};
use std::ops::Range;

/// Level or voice above which a row may begin an anomaly.
const PLAIN: f32 = 0.9;
const VOICE: f32 = 2.0;
const VOICES: usize = 15;
/// Rows of one window that count as its beginning, by the forest's own opinion: nobody labelled beginnings.
const BEST: usize = 3;
/// How often that opinion is revised.
const ROUNDS: usize = 3;
/// Rows before a window, and at most so many after, that are neither.
const BEFORE: usize = 5;
const AFTER: usize = 60;
/// Rows around in which normal candidates share one weight: they would be one false alarm.
const TOGETHER: usize = 15;
/// Rows around a window that do not teach where one lies; most rows of each kind that a series gives.
const NEAR: usize = 25;
const MOST_IN: f64 = 1000.0;
const MOST_OUT: f64 = 4000.0;
/// Sum of the weights of all windows of a set, or of a series' rows of one kind.
const WEIGHT: f32 = 500.0;

pub const BEGINS_ALONE: Growth = Growth { trees: 40, depth: 2, step: 0.08, pull: 20.0, least: 1.0, share: 0.3, seed: 7 };
pub const BEGINS_ENTITY: Growth = Growth { step: 0.16, ..BEGINS_ALONE };
const LIES: Growth = Growth { trees: 60, depth: 3, step: 0.08, pull: 5.0, least: 5.0, share: 0.3, seed: 7 };
/// Forests whose mean says where something begins: what one alone says of a series it has not seen depends too
/// much on which few it has. Each learns from so much of the series, in thousandths, and asks other numbers.
pub const FORESTS: u64 = 16;
const TAUGHT: u64 = 700;

/// One labelled series with what the engine saw of it.
pub struct Lesson {
    pub set: &'static str,
    pub data: Labelled,
    /// Row after row.
    pub evidence: Vec<f32>,
    pub width: usize,
    pub fold: usize,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Normal,
    Neither,
    Inside,
}

impl Lesson {
    pub fn rows(&self) -> usize {
        self.data.seconds.len()
    }

    pub fn numbers(&self, row: usize) -> &[f32] {
        &self.evidence[row * self.width..(row + 1) * self.width]
    }

    /// Rows that may begin something.
    fn candidates(&self) -> Vec<usize> {
        let is_loud = |numbers: &[f32]| {
            let plain = numbers[self.width - super::PLAIN_FROM_END];
            plain >= PLAIN || numbers[self.width - 2] >= 0.0 || numbers[..VOICES].iter().any(|level| *level >= VOICE)
        };
        (self.data.probation..self.rows()).filter(|row| is_loud(self.numbers(*row))).collect()
    }

    fn kinds(&self, before: usize, after: impl Fn(usize) -> usize) -> Vec<Kind> {
        let mut kinds = vec![Kind::Normal; self.rows()];
        for &(first, end) in &self.data.windows {
            let last = (end + 1 + after(end - first + 1)).min(kinds.len());
            kinds[first.saturating_sub(before)..last].fill(Kind::Neither);
        }
        for &(first, end) in &self.data.windows {
            kinds[first..=end].fill(Kind::Inside);
        }
        kinds
    }

    fn windows(&self) -> usize {
        self.data.windows.iter().filter(|window| window.1 >= self.data.probation).count()
    }
}

/// Learns where an anomaly begins, for each number once from a part of the series.
pub fn begins(lessons: &[&Lesson], growth: Growth, numbers: Range<u64>) -> Forest {
    let one = |nth: u64| {
        let is_taught = |lesson: &Lesson| super::hash(&format!("{}{nth}", lesson.data.id)) % 1000 <= TAUGHT;
        let some: Vec<&Lesson> = lessons.iter().copied().filter(|lesson| is_taught(lesson)).collect();
        begins_once(&some, Growth { seed: growth.seed + 1000 * nth, ..growth })
    };
    Forest::mean(numbers.map(one).collect())
}

/// The best rows of each window against candidates outside. Every set's windows weigh the same together.
fn begins_once(lessons: &[&Lesson], growth: Growth) -> Forest {
    let width = lessons[0].width;
    let candidates: Vec<Vec<usize>> = lessons.iter().map(|lesson| lesson.candidates()).collect();
    let mut forest: Option<Forest> = None;
    for _ in 0..ROUNDS {
        let mut rows = Rows { width, ..Rows::default() };
        for (lesson, candidates) in lessons.iter().zip(&candidates) {
            let windows: usize = lessons.iter().filter(|other| other.set == lesson.set).map(|other| other.windows()).sum();
            let opinion = |row: usize| match &forest {
                Some(forest) => forest.log_odds(lesson.numbers(row)),
                None => lesson.numbers(row)[width - 2],
            };
            add_beginnings(&mut rows, lesson, candidates, (WEIGHT / windows.max(1) as f32, &opinion));
        }
        forest = Some(Forest::grow(&rows, width - 2, growth));
    }
    forest.expect("there are rounds")
}

fn add_beginnings(rows: &mut Rows, lesson: &Lesson, candidates: &[usize], (weight, opinion): (f32, &dyn Fn(usize) -> f32)) {
    let kinds = lesson.kinds(BEFORE, |length| length.min(AFTER));
    let normal: Vec<usize> = candidates.iter().copied().filter(|row| kinds[*row] == Kind::Normal).collect();
    for &row in &normal {
        let from = normal.partition_point(|other| other + TOGETHER < row);
        let to = normal.partition_point(|other| *other <= row + TOGETHER);
        rows.push(lesson.numbers(row), false, weight / (to - from) as f32);
    }
    for &(first, end) in &lesson.data.windows {
        let mut best: Vec<(f32, usize)> =
            candidates.iter().filter(|row| (first..=end).contains(*row)).map(|row| (opinion(*row), *row)).collect();
        best.sort_by(|a, b| b.0.total_cmp(&a.0));
        best.truncate(BEST);
        for (_, row) in &best {
            rows.push(lesson.numbers(*row), true, weight / best.len() as f32);
        }
    }
}

/// Learns where an anomaly lies: rows of windows against others, every series the same weight.
pub fn lies(lessons: &[&Lesson]) -> Forest {
    let width = lessons[0].width;
    let mut rows = Rows { width, ..Rows::default() };
    let mut dice = Dice(5);
    for lesson in lessons {
        let kinds = lesson.kinds(NEAR, |_| NEAR);
        let scored = lesson.data.probation..lesson.rows();
        let count = |kind: Kind| scored.clone().filter(|row| kinds[*row] == kind).count().max(1) as f64;
        let (inside, outside) = (MOST_IN / count(Kind::Inside), MOST_OUT / count(Kind::Normal));
        if lesson.windows() == 0 {
            continue;
        }
        let kept: Vec<usize> = scored
            .filter(|row| match kinds[*row] {
                Kind::Inside => dice.uniform() < inside,
                Kind::Normal => dice.uniform() < outside,
                Kind::Neither => false,
            })
            .collect();
        let windowed = kept.iter().filter(|row| kinds[**row] == Kind::Inside).count();
        for row in &kept {
            let is_inside = kinds[*row] == Kind::Inside;
            let of = if is_inside { windowed } else { kept.len() - windowed };
            rows.push(lesson.numbers(*row), is_inside, WEIGHT / of as f32);
        }
    }
    Forest::grow(&rows, width - 1, LIES)
}
