//! Calls from one service to an operation of another: rate, errors, and the time between the two.

use super::{
    source::{Frame, rows_of},
    sums::{LogSample, LogSums},
};
use crate::window::{SeriesIndex, Stat, WindowRow, open::Cells};
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Cell {
    /// Calls, each weighed by the traces it stands for.
    calls: i64,
    n: i64,
    failed: i64,
    gaps: LogSums,
}

/// One edge.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Edge {
    cells: Cells<Cell>,
    /// The callee sends no spans: there is no gap.
    is_peer: bool,
}

impl Edge {
    /// An edge without calls.
    pub fn new(is_peer: bool) -> Self {
        Self { cells: Cells::default(), is_peer }
    }

    /// Counts a call that stands for `weight` of them.
    pub fn add(&mut self, window: u64, weight: u64, failed: bool, gap: Option<LogSample>) {
        let cell = self.cells.at(window);
        cell.calls += i64::try_from(weight).unwrap_or(i64::MAX);
        cell.n += 1;
        cell.failed += i64::from(failed);
        gap.into_iter().for_each(|gap| cell.gaps.add(gap));
    }

    /// A call that was counted before has failed after all.
    pub fn fail(&mut self, window: u64) {
        let cell = self.cells.at(window);
        cell.failed = (cell.failed + 1).min(cell.n);
    }

    /// Takes back a call that was counted before.
    pub fn remove(&mut self, window: u64, weight: u64, failed: bool) {
        let cell = self.cells.at(window);
        cell.calls = (cell.calls - i64::try_from(weight).unwrap_or(i64::MAX)).max(0);
        cell.n -= 1;
        cell.failed -= i64::from(failed);
    }

    /// The window is final.
    pub fn settle(&mut self, window: u64) {
        self.cells.settle(window);
    }

    /// The two or three rows of a window.
    #[allow(clippy::cast_precision_loss, reason = "counts of a window")]
    pub fn rows(&self, frame: &Frame, first: SeriesIndex, rows: &mut Vec<WindowRow>) {
        let cell = self.cells.get(frame.window).copied().unwrap_or_default();
        let (calls, n, failed) = (cell.calls as f64, cell.n as f64, cell.failed as f64);
        let rate = (Stat { n: calls, s1: calls, s2: 0.0 }, calls / frame.length_s(), Vec::new());
        let errors = (Stat { n, s1: failed, s2: 0.0 }, failed / n, Vec::new());
        rows_of(rows, first, [rate, errors]);
        if !self.is_peer {
            rows_of(rows, first + 2, [(cell.gaps.stat(), cell.gaps.mean_seconds(), Vec::new())]);
        }
    }
}
