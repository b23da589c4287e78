//! How rarely the installation as a whole stands out this much: peaks over a threshold.
//!
//! A peak is the largest strength of one run of windows of one service, so persistence, correlated series
//! and the number of series are in it already: nothing is multiplied up from single probabilities. The
//! bar for `n` peaks in a time is the return level of Coles, "An Introduction to Statistical Modeling of
//! Extreme Values" (2001), 4.3.3, with an exponential tail above a threshold that lies close to the level
//! asked for: among more peaks than asked for it interpolates, beyond the largest it extrapolates.

use geophone_proto::UnixNanos;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Peaks kept.
const KEPT: usize = 1024;
/// The threshold lies at three times as many peaks as are asked for, but at no fewer than this.
const ABOVE_MIN: usize = 24;
/// With fewer peaks nothing is said.
const PEAKS_MIN: usize = 12;
/// Mean excess believed in before any was seen, and the weight of that belief.
const EXCESS: (f64, f64) = (0.3, 8.0);

/// Peaks of the last weeks, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Peaks {
    peaks: VecDeque<(UnixNanos, f64)>,
    /// Lower peaks are not kept.
    floor: f64,
}

/// A bar, and what one natural logarithm of rarity is worth there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Level {
    pub(super) bar: f64,
    pub(super) scale: f64,
}

impl Peaks {
    /// Takes a peak.
    pub(super) fn learn(&mut self, at: UnixNanos, strength: f64) {
        if strength <= self.floor {
            return;
        }
        self.peaks.push_back((at, strength));
        if self.peaks.len() > KEPT {
            let mut sorted: Vec<f64> = self.peaks.iter().map(|peak| peak.1).collect();
            let middle = sorted.len() / 2;
            sorted.select_nth_unstable_by(middle, f64::total_cmp);
            self.floor = sorted[middle];
            let floor = self.floor;
            self.peaks.retain(|peak| peak.1 > floor);
        }
    }

    /// Forgets peaks before this; the floor follows what is left.
    pub(super) fn forget(&mut self, before: UnixNanos) {
        while self.peaks.front().is_some_and(|peak| peak.0 < before) {
            self.peaks.pop_front();
        }
        if self.peaks.len() < KEPT / 8 {
            self.floor *= 0.9;
        }
    }

    /// The level that `wanted` peaks (more than 0) exceed in the time the kept ones came in.
    pub(super) fn level(&self, wanted: f64) -> Option<Level> {
        if self.peaks.len() < PEAKS_MIN {
            return None;
        }
        let mut sorted: Vec<f64> = self.peaks.iter().map(|peak| peak.1).collect();
        sorted.sort_unstable_by(|a, b| b.total_cmp(a));
        let above = ((3.0 * wanted) as usize).max(ABOVE_MIN).min(sorted.len() - 1);
        let threshold = sorted[above];
        let (usual, weight) = EXCESS;
        let excess: f64 = sorted[..above].iter().map(|peak| peak - threshold).sum();
        let scale = (excess + usual * weight) / (above as f64 + weight);
        Some(Level { bar: threshold + scale * (above as f64 / wanted).ln(), scale })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `count` peaks of an exponential of this mean, evenly placed in their distribution.
    fn peaks(count: usize, mean: f64) -> Peaks {
        let mut peaks = Peaks::default();
        for index in 0..count {
            // A stride that is prime to the count shuffles them.
            let share = ((index * 7_919) % count) as f64 + 0.5;
            peaks.learn(UnixNanos(index as u64), 1.0 - mean * (share / count as f64).ln());
        }
        peaks
    }

    #[test]
    fn an_exponential_tail_is_read_back_within_and_beyond_what_was_seen() {
        for wanted in [1.0, 10.0, 100.0] {
            let level = peaks(700, 0.5).level(wanted).expect("enough peaks");
            let exact = 1.0 + 0.5 * (700.0 / wanted).ln();
            // Eight excesses of what is usual draw the scale to .3.
            assert!((level.bar - exact).abs() < 0.25, "{wanted}: {} for {exact}", level.bar);
        }
    }

    #[test]
    fn few_peaks_say_nothing_and_many_are_thinned_from_below() {
        assert_eq!(peaks(5, 0.5).level(1.0), None);
        let many = peaks(5_000, 0.5);
        assert!(many.peaks.len() <= KEPT);
        let level = many.level(5.0).expect("enough peaks");
        assert!((level.bar - (1.0 + 0.5 * 1_000f64.ln())).abs() < 0.25, "{}", level.bar);
        let mut old = many;
        old.forget(UnixNanos(u64::MAX));
        assert_eq!(old.level(1.0), None);
    }
}
