//! The last points of one series, oldest first; late windows amend in place.

use geophone_proto::{series::SeriesPoint, time::UnixNanos};
use std::collections::VecDeque;

/// Points in time order, none twice.
#[derive(Clone, Debug, Default)]
pub struct Ring {
    points: VecDeque<SeriesPoint>,
}

impl Ring {
    /// Adds a point, or replaces the one of the same time. Returns by how many the ring grew (0 or 1).
    pub fn put(&mut self, point: SeriesPoint) -> usize {
        match self.points.binary_search_by_key(&point.at, |kept| kept.at) {
            Ok(index) => {
                self.points[index] = point;
                0
            }
            Err(index) => {
                self.points.insert(index, point);
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
    pub fn between(&self, from: UnixNanos, to: UnixNanos) -> impl Iterator<Item = &SeriesPoint> {
        self.points.iter().filter(move |point| (from..=to).contains(&point.at))
    }

    /// The newest point.
    pub fn last(&self) -> Option<&SeriesPoint> {
        self.points.back()
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
