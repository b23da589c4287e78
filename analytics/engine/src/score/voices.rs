//! The voices of one series: residuals of simple forecasts, each free of units.
//!
//! *Jump(k, m)*: the last k values all lie on one side of the mean of the m values before them; its size is
//! the smallest of their distances. k = 1 sees spikes, k = 2 and 3 see steps and are blind to single odd
//! values. *Unrest*: root mean square of the last 32 residuals of a slow EWMA (Roberts 1959): the length
//! of the window's deviation from the usual level, which is most of what sub-sequence PCA measures.

use super::scale::{Extent, Scale};

/// Jumps: rows of the event, rows before it, weight of the voice.
const JUMPS: [(usize, usize, f64); 5] = [(1, 1, 2.0), (1, 3, 0.5), (2, 3, 0.5), (2, 10, 1.0), (3, 10, 0.5)];
/// Weight of the unrest.
const UNREST: f64 = 2.0;
/// Rows of the unrest.
const ROWS: usize = 32;
/// Step of its level.
const STEP: f64 = 0.02;
/// Values kept for the jumps.
const KEPT: usize = 13;

/// Number of voices.
pub(crate) const VOICES: usize = JUMPS.len() + 1;
/// Their weights.
pub(crate) const WEIGHTS: [f64; VOICES] = [JUMPS[0].2, JUMPS[1].2, JUMPS[2].2, JUMPS[3].2, JUMPS[4].2, UNREST];

/// What the forecasts need of the past.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Voices {
    extent: Extent,
    /// Newest first, as many as there are.
    recent: [f64; KEPT],
    rows: usize,
    scales: [Scale; VOICES],
    level: f64,
    squares: [f64; ROWS],
}

impl Default for Voices {
    fn default() -> Self {
        Self {
            extent: Extent::default(),
            recent: [0.0; KEPT],
            rows: 0,
            scales: [Scale::default(); VOICES],
            level: 0.0,
            squares: [0.0; ROWS],
        }
    }
}

impl Voices {
    /// Deviations in spreads, not negative; the value is finite.
    pub(crate) fn row(&mut self, value: f64) -> [f64; VOICES] {
        self.extent.learn(value);
        self.recent.copy_within(..KEPT - 1, 1);
        self.recent[0] = value;
        self.rows += 1;
        let mut deviations = [0.0; VOICES];
        for (voice, &(event, before, _)) in JUMPS.iter().enumerate() {
            if self.rows > event {
                let jump = self.jump(event, before);
                deviations[voice] = self.scales[voice].deviation(jump, &self.extent);
            }
        }
        deviations[VOICES - 1] = self.unrest(value);
        deviations
    }

    fn jump(&self, event: usize, before: usize) -> f64 {
        let past = &self.recent[event..(event + before).min(self.rows)];
        let mean_distance = |value: f64| past.iter().map(|old| value - old).sum::<f64>() / past.len() as f64;
        let (mut low, mut high) = (f64::MAX, f64::MIN);
        for &value in &self.recent[..event] {
            let distance = self.extent.honest(mean_distance(value));
            (low, high) = (low.min(distance), high.max(distance));
        }
        if low > 0.0 { low } else { high.min(0.0) }
    }

    fn unrest(&mut self, value: f64) -> f64 {
        if self.rows == 1 {
            self.level = value;
        }
        let scale = &mut self.scales[VOICES - 1];
        let residual = self.extent.honest(value - self.level);
        let deviation = scale.deviation(residual, &self.extent);
        self.level += scale.clipped(residual, &self.extent) * (1.0 / self.rows as f64).max(STEP);
        self.squares[self.rows % ROWS] = deviation * deviation;
        (self.squares.iter().sum::<f64>() / ROWS.min(self.rows) as f64).sqrt()
    }
}
