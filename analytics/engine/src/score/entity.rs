//! Many numbers of one thing (a machine's metrics) through the live detector: one score for all.
//!
//! The entity's score is the mean of its highest three dimensions' scores, or of all where there are
//! fewer: one dimension alone rarely is an incident, three are. It alerts while one dimension in ten
//! (three at most) is open.

use super::univariate::{Fading, Row, reading, settings, start_ns};
use crate::{
    detect::{Detector, baseline::LargestDeviation},
    flag::Phase,
    window::{ClosedWindow, StatKind},
};
use geophone_proto::{Series, SeriesKind, Tenant, seam::Model};
use std::collections::BTreeMap;

/// Dimensions that make the score.
const VOICES: usize = 3;

/// Scores one entity.
pub struct Entity {
    detector: Detector,
    fading: Fading,
    next_ns: u64,
}

impl Entity {
    /// A scorer of this many dimensions with the baseline model.
    pub fn new(id: &str, dimensions: usize) -> Self {
        Self::with_model(id, dimensions, Box::new(LargestDeviation::default()))
    }

    /// A scorer with this model.
    pub fn with_model(id: &str, dimensions: usize, model: Box<dyn Model>) -> Self {
        let mut detector = Detector::new(&settings(), model);
        for dimension in 0..dimensions {
            let series = Series::new(Tenant::default(), id, &format!("d{}", dimension + 1), SeriesKind::Value, BTreeMap::new());
            detector.series(u32::try_from(dimension).unwrap_or(u32::MAX), &series, StatKind::Level);
        }
        Self { detector, fading: Fading::default(), next_ns: 0 }
    }

    /// Takes the next row, as `Univariate::row` does.
    pub fn row(&mut self, seconds: f64, values: &[f64]) -> Row {
        let start_ns = start_ns(seconds, self.next_ns);
        self.next_ns = start_ns + 1;
        let rows = (0u32..).zip(values).map(|(dimension, &value)| reading(dimension, value)).collect();
        let scored = self.detector.window(&ClosedWindow { start_ns, length_ns: 1, amended: false, rows });
        let mut scores: Vec<f64> = scored.window.score.iter().map(|score| if score.is_nan() { 0.0 } else { f64::from(*score) }).collect();
        scores.sort_by(|a, b| b.total_cmp(a));
        scores.truncate(VOICES);
        let score = scores.iter().sum::<f64>() / scores.len().max(1) as f64;
        let open = scored.flags.iter().filter(|flag| flag.phase != Phase::Closed).count();
        let alert = open >= values.len().div_ceil(10).clamp(1, VOICES);
        Row { score: self.fading.row(score), alert }
    }
}
