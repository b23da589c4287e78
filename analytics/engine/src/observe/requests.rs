//! Requests of one operation: rate, errors, duration. And the time an operation spends in itself.
//!
//! What is tested: the rate as a count, errors as a share, the median as the mean logarithm of the
//! duration. A tail quantile of five samples says nothing, so p95 and p99 are tested as the share of
//! requests that are slower than the p95 (p99) that the series' own settled past leads to expect:
//! that stands on few samples. What is shown is the window's quantile.
//! Only settled windows feed that past, so neither depends on the order of rows.

use super::{
    picks::{Picks, SpanSamples, by_slowness},
    sketch::{Sketch, bucket_of_ln},
    source::{Frame, rows_of},
    sums::{LogSample, LogSums},
};
use crate::window::{SeriesIndex, Stat, WindowRow, open::Cells};
use geophone_proto::stacks::WantedSpan;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Durations below this are tested as this.
const DURATION_FLOOR_NS: u64 = 1_000;
/// Samples of the past that p95 and p99 are read from; above the maximum half is forgotten.
const PAST_MIN: [u64; 2] = [60, 200];
const PAST_MAX: u64 = 20_000;
/// Normal spans kept for comparing stacks.
const NORMAL_MAX: usize = 12;

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Cell {
    n: u64,
    failed: u64,
    sums: LogSums,
    sketch: Sketch,
    picks: Picks,
}

/// Requests of one operation.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Requests {
    cells: Cells<Cell>,
    past: Sketch,
    /// Buckets that p95 and p99 of the past lie in, as they were when a window was closed.
    limits: Cells<[Option<i16>; 2]>,
    normal: VecDeque<WantedSpan>,
}

impl Requests {
    /// Counts a span. `ln_seconds` is the logarithm of its duration (at least 1 ns).
    pub fn add(&mut self, window: u64, span: &WantedSpan, ln_seconds: f64, failed: bool) {
        let ns = span.end.since(span.start);
        let cell = self.cells.at(window);
        cell.n += 1;
        cell.failed += u64::from(failed);
        let sample = if ns < DURATION_FLOOR_NS { LogSample::of(ns, DURATION_FLOOR_NS) } else { LogSample::with_ln(ns, ln_seconds) };
        cell.sums.add(sample);
        cell.sketch.add(bucket_of_ln(ln_seconds));
        cell.picks.look(span, failed);
    }

    /// Reads where the open windows lie, ahead of `add`.
    pub fn touch(&self) -> usize {
        self.cells.len()
    }

    /// Reads what of the newest window `add` will want.
    pub fn touch_cell(&self) -> u64 {
        let Some(cell) = self.cells.newest() else { return 0 };
        let slowest = cell.picks.slow.last().map_or(0, |span| span.start.0);
        cell.n ^ cell.picks.normal.as_ref().map_or(0, |span| span.start.0) ^ slowest ^ cell.sums.touch() ^ cell.sketch.touch()
    }

    /// A span that was counted before has failed after all. It stands for `weight` of them, where not all are
    /// joined with what they bring about.
    pub fn fail(&mut self, window: u64, weight: u64) {
        let cell = self.cells.at(window);
        cell.failed = (cell.failed + weight).min(cell.n);
    }

    /// Fixes what counts as slow in this window.
    pub fn close(&mut self, window: u64) {
        let past = &self.past;
        let limit = |at: usize, q: f64| if past.len() >= PAST_MIN[at] { past.quantile_bucket(q) } else { None };
        *self.limits.at(window) = [limit(0, 0.95), limit(1, 0.99)];
    }

    /// The window is final: it becomes the past.
    pub fn settle(&mut self, window: u64) {
        self.limits.settle(window);
        let Some(cell) = self.cells.settle(window) else { return };
        self.past.merge(&cell.sketch);
        if self.past.len() > PAST_MAX {
            self.past.halve();
        }
        self.normal.extend(cell.picks.normal);
        while self.normal.len() > NORMAL_MAX {
            self.normal.pop_front();
        }
    }

    /// The five rows of a window.
    #[allow(clippy::cast_precision_loss, reason = "counts of a window")]
    pub fn rows(&self, frame: &Frame, first: SeriesIndex, rows: &mut Vec<WindowRow>) {
        let empty = Cell::default();
        let cell = self.cells.get(frame.window).unwrap_or(&empty);
        let limits = self.limits.get(frame.window).copied().unwrap_or_default();
        let n = cell.n as f64;
        let share = |hits: u64| Stat { n, s1: hits as f64, s2: 0.0 };
        let tail = |limit: Option<i16>| limit.map_or(Stat::default(), |limit| share(cell.sketch.count_above(limit)));
        let slow = || cell.picks.exemplars(false);
        rows_of(
            rows,
            first,
            [
                (Stat { n, s1: n, s2: 0.0 }, n / frame.length_s(), slow()),
                (share(cell.failed), cell.failed as f64 / n, cell.picks.exemplars(true)),
                (cell.sums.stat(), cell.sketch.quantile(0.5), slow()),
                (tail(limits[0]), cell.sketch.quantile(0.95), slow()),
                (tail(limits[1]), cell.sketch.quantile(0.99), slow()),
            ],
        );
    }

    /// Slow and failed spans of windows from `since` on, and normal ones from before.
    pub fn samples(&self, since: u64, until: u64) -> SpanSamples {
        let cells = (since..=until).filter_map(|window| self.cells.get(window));
        let mut flagged: Vec<WantedSpan> = cells.flat_map(|cell| cell.picks.slow.iter().chain(&cell.picks.failed)).cloned().collect();
        flagged.sort_by(by_slowness);
        flagged.dedup();
        flagged.truncate(10);
        let baseline = self.normal.iter().filter(|span| !flagged.contains(span)).cloned().collect();
        SpanSamples { service: String::new(), flagged, baseline }
    }
}

/// Time that spans of one operation spend in none of their children.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Exclusive(Cells<LogSums>);

impl Exclusive {
    /// A span's exclusive time, in place of what was said of it before.
    pub fn put(&mut self, window: u64, taken_back: Option<LogSample>, sample: LogSample) {
        let cell = self.0.at(window);
        if let Some(before) = taken_back {
            cell.remove(before);
        }
        cell.add(sample);
    }

    /// The window is final.
    pub fn settle(&mut self, window: u64) {
        self.0.settle(window);
    }

    /// The row of a window.
    pub fn rows(&self, frame: &Frame, first: SeriesIndex, rows: &mut Vec<WindowRow>) {
        let sums = self.0.get(frame.window).copied().unwrap_or_default();
        rows_of(rows, first, [(sums.stat(), sums.mean_seconds(), Vec::new())]);
    }
}
