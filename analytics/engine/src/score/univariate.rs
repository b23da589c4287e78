//! One plain series of numbers through the live detector, row by row, strictly causal.

use crate::{
    Settings,
    detect::{Detector, baseline::LargestDeviation},
    flag::Phase,
    window::{ClosedWindow, Stat, StatKind, WindowRow},
};
use geophone_proto::{Series, SeriesKind, Tenant, seam::Model};
use std::{collections::BTreeMap, time::Duration};

/// What one row got.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Row {
    /// Calibrated, 0 to 1; 0 while the series learns.
    pub score: f64,
    /// Whether an anomaly is open.
    pub alert: bool,
}

/// Settings under which rows are windows: none is late, one series has the budget.
pub(crate) fn settings() -> Settings {
    Settings { window: Duration::from_secs(60), allowed_lateness: Duration::ZERO, alerts_per_week: 0.1, ..Settings::default() }
}

/// Scores one series.
pub struct Univariate {
    detector: Detector,
    fading: Fading,
    next_ns: u64,
}

impl Univariate {
    /// A scorer with the baseline model.
    pub fn new(id: &str) -> Self {
        Self::with_model(id, Box::new(LargestDeviation::default()))
    }

    /// A scorer with this model.
    pub fn with_model(id: &str, model: Box<dyn Model>) -> Self {
        let mut detector = Detector::new(&settings(), model);
        let series = Series::new(Tenant::default(), "", id, SeriesKind::Value, BTreeMap::new());
        detector.series(0, &series, StatKind::Level);
        Self { detector, fading: Fading::default(), next_ns: 0 }
    }

    /// Takes the next row. A value that is not finite is a missing reading; a time that does not advance
    /// counts as just after the row before.
    pub fn row(&mut self, seconds: f64, value: f64) -> Row {
        let start_ns = start_ns(seconds, self.next_ns);
        self.next_ns = start_ns + 1;
        let rows = vec![reading(0, value)];
        let scored = self.detector.window(&ClosedWindow { start_ns, length_ns: 1, amended: false, rows });
        let score = scored.window.score.first().map_or(0.0, |score| if score.is_nan() { 0.0 } else { f64::from(*score) });
        Row { score: self.fading.row(score), alert: scored.flags.iter().any(|flag| flag.phase != Phase::Closed) }
    }
}

/// A score fades over some rows instead of ending with its row: what has just happened is still worth a look.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Fading {
    held: f64,
}

impl Fading {
    /// Kept of the score from row to row.
    const KEEP: f64 = 0.95;

    pub(crate) fn row(&mut self, score: f64) -> f64 {
        self.held = score.max(self.held * Self::KEEP);
        self.held
    }
}

/// Seconds as nanoseconds, later than all before.
pub(crate) fn start_ns(seconds: f64, at_least: u64) -> u64 {
    ((seconds.clamp(0.0, 1e10) * 1e9) as u64).max(at_least)
}

/// One reading as a window of its own.
pub(crate) fn reading(series: u32, value: f64) -> WindowRow {
    let stat = if value.is_finite() { Stat { n: 1.0, s1: value, s2: value * value } } else { Stat::default() };
    WindowRow { series, stat, shown: value, exemplars: Vec::new() }
}
