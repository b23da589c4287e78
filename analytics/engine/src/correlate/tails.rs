//! What the tail quantiles that people see were expected to be.
//!
//! p95 and p99 are tested as the share of requests beyond the usual quantile, which is right on few
//! samples but is no duration. So their bands are kept here: mean and spread of the logarithm of the
//! quantile shown, learnt slowly, and hardly at all while the series is anomalous. Called by `brain`
//! before correlation.

use crate::{
    flag::{Flag, Phase},
    window::SeriesIndex,
};
use geophone_proto::{SeriesKind, effect::ScoredWindow};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Windows until a band is shown.
const LEARNING: f64 = 6.0;
/// About so many windows are remembered.
const HORIZON: f64 = 120.0;
/// Half width of the band, standard deviations.
const WIDTH_SD: f64 = 3.0;
/// A score from here on is hardly learnt from.
const ODD: f32 = 0.75;

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Tail {
    mean: f64,
    variance: f64,
    n: f64,
    /// The last few windows.
    lately: f64,
    is_open: bool,
}

impl Tail {
    fn learn(&mut self, ln: f64, is_odd: bool) {
        self.lately += if self.n < 1.0 { ln } else { 0.4 * (ln - self.lately) };
        let rate = 1.0 / (self.n + 1.0).min(HORIZON) * if is_odd && self.n > LEARNING { 0.03 } else { 1.0 };
        let spread = WIDTH_SD * self.sd();
        let step = if self.n > LEARNING { (ln - self.mean).clamp(-spread, spread) } else { ln - self.mean };
        self.mean += rate * step;
        self.variance += rate * (step * step - self.variance);
        self.n += 1.0;
    }

    fn sd(&self) -> f64 {
        self.variance.max(0.0).sqrt().max(0.02)
    }

    /// Expected value, lower and upper end; NaN while learning.
    fn band(&self) -> [f64; 3] {
        if self.n < LEARNING {
            return [f64::NAN; 3];
        }
        [0.0, -WIDTH_SD, WIDTH_SD].map(|width| (self.mean + width * self.sd()).exp())
    }
}

/// The tails of all series that are one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tails(BTreeMap<SeriesIndex, Tail>);

impl Tails {
    /// Takes note of a series, if it is one of a tail.
    pub fn learn_series(&mut self, series: SeriesIndex, kind: SeriesKind) {
        if matches!(kind, SeriesKind::DurationP95 | SeriesKind::DurationP99) {
            self.0.entry(series).or_default();
        }
    }

    /// Writes durations in place of shares into a window and its flags; learns unless it was amended.
    /// `rows` names the series and samples of each row, ascending.
    pub fn dress(&mut self, rows: &[(SeriesIndex, f64)], window: &mut ScoredWindow, flags: Option<&mut [Flag]>) {
        let learns = flags.is_some();
        for (series, tail) in &mut self.0 {
            let Ok(row) = rows.binary_search_by_key(series, |(series, _)| *series) else { continue };
            [window.expected[row], window.lower[row], window.upper[row]] = tail.band();
            let actual = window.actual[row];
            if learns && actual.is_finite() && actual > 0.0 {
                tail.learn(actual.ln(), tail.is_open || window.score[row] > ODD);
            }
        }
        for flag in flags.into_iter().flatten() {
            if let Some(tail) = self.0.get_mut(&flag.series) {
                tail.is_open = flag.phase != Phase::Closed;
                [flag.expected, flag.lower, flag.upper] = tail.band();
                flag.actual = tail.lately.exp();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tail_keeps_its_band_through_an_anomaly() {
        let mut tail = Tail::default();
        assert!(tail.band()[0].is_nan());
        (0..200).for_each(|window| tail.learn((0.2f64 * if window % 2 == 0 { 1.1 } else { 0.9 }).ln(), false));
        (0..30).for_each(|_| tail.learn(2.0f64.ln(), true));
        let [expected, lower, upper] = tail.band();
        assert!((0.17..0.25).contains(&expected) && lower < 0.17 && upper < 0.5, "{expected} {lower} {upper}");
        assert!((tail.lately.exp() - 2.0).abs() < 0.1);
    }
}
