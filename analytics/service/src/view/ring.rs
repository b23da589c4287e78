//! The last points of one series, oldest first; late windows amend in place.

use geophone_proto::{series::SeriesPoint, time::UnixNanos};
use std::collections::VecDeque;

/// Points in time order, none twice.
#[derive(Clone, Debug, Default)]
pub struct Ring {
    points: VecDeque<Kept>,
}

/// A point in half the room: NaN for what is not there.
#[derive(Clone, Copy, Debug)]
struct Kept {
    at: UnixNanos,
    values: [f64; 4],
    score: f32,
}

impl From<SeriesPoint> for Kept {
    fn from(point: SeriesPoint) -> Self {
        let values = [point.actual, point.expected, point.lower, point.upper].map(|value| value.unwrap_or(f64::NAN));
        Self { at: point.at, values, score: point.score.unwrap_or(f32::NAN) }
    }
}

impl From<&Kept> for SeriesPoint {
    fn from(kept: &Kept) -> Self {
        let [actual, expected, lower, upper] = kept.values.map(|value| (!value.is_nan()).then_some(value));
        Self { at: kept.at, actual, expected, lower, upper, score: (!kept.score.is_nan()).then_some(kept.score) }
    }
}

impl Ring {
    /// Adds a point, or replaces the one of the same time. Returns by how many the ring grew (0 or 1).
    pub fn put(&mut self, point: SeriesPoint) -> usize {
        match self.points.binary_search_by_key(&point.at, |kept| kept.at) {
            Ok(index) => {
                self.points[index] = point.into();
                0
            }
            Err(index) => {
                self.points.insert(index, point.into());
                1
            }
        }
    }

    /// Forgets the oldest points beyond `length`; returns how many.
    pub fn trim(&mut self, length: usize) -> usize {
        let excess = self.points.len().saturating_sub(length);
        self.points.drain(..excess);
        excess
    }

    /// Points from `from` to `to`, both ends included.
    pub fn between(&self, from: UnixNanos, to: UnixNanos) -> impl Iterator<Item = SeriesPoint> {
        self.points.iter().filter(move |point| (from..=to).contains(&point.at)).map(SeriesPoint::from)
    }

    /// The newest point.
    pub fn last(&self) -> Option<SeriesPoint> {
        self.points.back().map(SeriesPoint::from)
    }

    /// Number of points.
    pub fn len(&self) -> usize {
        self.points.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.points.is_empty()
    }
}
