//! Neighbouring series that are folded, scored and judged at once. What that takes meanwhile stays in a core's cache,
//! and does not grow with the number of series. Used by the detector.

use crate::features::{columns::Columns, kernel::Trait};
use geophone_proto::{
    UnixNanos,
    effect::{Part, ScoredWindow},
    feature::FeatureFrame,
    model::{ModelRef, Role},
};

/// The columns around one window of one block.
#[derive(Clone, Copy)]
pub(super) struct Around<'a> {
    /// Before the window was folded.
    pub(super) before: &'a Columns,
    /// After it.
    pub(super) after: &'a Columns,
    /// What is fixed of each series.
    pub(super) traits: &'a [Trait],
}

/// A window with room for so many rows, and none yet.
pub(super) fn empty(at: UnixNanos, window_ns: u64, model: ModelRef, (width, rows): (usize, usize)) -> ScoredWindow {
    ScoredWindow {
        features: FeatureFrame { at, width, keys: Vec::with_capacity(rows), x: Vec::with_capacity(rows * width) },
        window_ns,
        model,
        parts: Vec::new(),
        raw: Vec::with_capacity(rows),
        score: Vec::with_capacity(rows),
        actual: Vec::with_capacity(rows),
        expected: Vec::with_capacity(rows),
        lower: Vec::with_capacity(rows),
        upper: Vec::with_capacity(rows),
        maturity: Vec::with_capacity(rows),
    }
}

/// Adds the rows of a block to those before.
pub(super) fn append(whole: &mut ScoredWindow, mut block: ScoredWindow) {
    let offset = u32::try_from(whole.features.len()).unwrap_or(u32::MAX);
    whole.features.keys.append(&mut block.features.keys);
    whole.features.x.append(&mut block.features.x);
    whole.raw.append(&mut block.raw);
    whole.score.append(&mut block.score);
    for (whole, block) in [
        (&mut whole.actual, &mut block.actual),
        (&mut whole.expected, &mut block.expected),
        (&mut whole.lower, &mut block.lower),
        (&mut whole.upper, &mut block.upper),
    ] {
        whole.append(block);
    }
    whole.maturity.append(&mut block.maturity);
    for mut part in block.parts {
        part.rows.iter_mut().for_each(|row| *row += offset);
        match whole.parts.iter_mut().find(|known| known.model == part.model && known.role == part.role) {
            Some(known) => {
                known.rows.append(&mut part.rows);
                known.raw.append(&mut part.raw);
                known.score.append(&mut part.score);
            }
            None => whole.parts.push(part),
        }
    }
    // Whoever stands in for the active model comes first, as in a window of one block.
    whole.parts.sort_by_key(|part: &Part| part.role != Role::Active);
}
