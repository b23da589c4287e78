//! From raw scores of any scale to tail probabilities, per series, without labels.
//!
//! Two steps. (1) The cohort (all series of one kind of sum) gives the shape: empirical survival below
//! its 98th percentile, generalised Pareto above (SPOT, Siffert et al. 2017; fitted to quantiles of
//! the excesses, which a few true anomalies cannot move). (2) The series gives place and stretch: its
//! own 90th percentile and mean excess of the cohort's `-log10 p`, drawn to those of a series that is
//! like its cohort (1 and 1/ln 10) while few excesses are known. Until the cohort has been seen, the
//! normal tail of the largest deviation stands in. Everything is in `level` = `-log10 p`.

use crate::window::StatKind;
use serde::{Deserialize, Serialize};

/// Scores kept of a cohort.
const KEPT: usize = 4096;
/// Survival probabilities of the empirical part, from the median on.
const SURVIVAL: [f64; 8] = [0.5, 0.35, 0.25, 0.15, 0.1, 0.06, 0.035, 0.02];
/// Excesses of a typical series: mean of an exponential in `-log10 p`, and the weight of that belief.
const EXCESS: (f64, f64) = (std::f64::consts::LOG10_E, 30.0);

/// Excesses that what is borrowed counts for.
const LENT: f64 = 15.0;

/// Place and mean excess of each voice, from one series to another.
pub(crate) type Lent = [(f64, f64); VOICES];

/// What a cohort's scores look like.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Fit {
    /// Scores it rests on.
    n: f64,
    /// Scores at `SURVIVAL`.
    quantiles: [f64; 8],
    /// Generalised Pareto above the last.
    scale: f64,
    shape: f64,
}

impl Fit {
    /// `-log10` of the probability of a score this high, among scores already seen.
    fn level(&self, raw: f64) -> f64 {
        let last = SURVIVAL.len() - 1;
        let threshold = self.quantiles[last];
        if raw > threshold {
            let excess = (raw - threshold) / self.scale;
            let log = if self.shape.abs() < 1e-6 { excess } else { (self.shape * excess).ln_1p() / self.shape };
            return -SURVIVAL[last].log10() + log / std::f64::consts::LN_10;
        }
        let above = self.quantiles.iter().position(|&q| raw <= q).unwrap_or(last);
        if above == 0 {
            return -SURVIVAL[0].log10() * if self.quantiles[0] > 0.0 { (raw / self.quantiles[0]).clamp(0.0, 1.0) } else { 1.0 };
        }
        let (low, high) = (self.quantiles[above - 1], self.quantiles[above]);
        let part = if high > low { (raw - low) / (high - low) } else { 1.0 };
        -(SURVIVAL[above - 1].log10() * (1.0 - part) + SURVIVAL[above].log10() * part)
    }

    /// Fits sorted scores.
    fn of(sorted: &[f32]) -> Self {
        let at = |share: f64| f64::from(sorted[((sorted.len() - 1) as f64 * share).round() as usize]);
        let quantiles = SURVIVAL.map(|p| at(1.0 - p));
        let threshold = quantiles[SURVIVAL.len() - 1];
        let spread = threshold - quantiles[0];
        if spread <= 0.0 {
            // All alike so far: says nothing about tails.
            return Self::default();
        }
        let excess = |p: f64| at(1.0 - SURVIVAL[SURVIVAL.len() - 1] * p) - threshold;
        let (half, quarter) = (excess(0.5), excess(0.25));
        let n = sorted.len() as f64 * SURVIVAL[SURVIVAL.len() - 1];
        let ratio = if half > 0.0 { (quarter / half - 1.0).max(1.0) } else { 1.0 };
        let shape = (ratio.log2() * n / (n + 200.0)).clamp(0.0, 0.2);
        let per_half = if shape < 1e-6 { std::f64::consts::LN_2 } else { (2f64.powf(shape) - 1.0) / shape };
        // With few excesses the exponential through median and threshold stands in.
        let usual = spread / (0.5 / SURVIVAL[SURVIVAL.len() - 1]).ln();
        let scale = (half / per_half * n + usual * 20.0) / (n + 20.0);
        Self { n: sorted.len() as f64, quantiles, scale: scale.max(usual * 0.2), shape }
    }
}

/// Scores of all series of one kind.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Cohort {
    kept: Vec<f32>,
    seen: u64,
    fit: Fit,
    fit_again_at: u64,
}

impl Cohort {
    fn learn(&mut self, raw: f32) {
        self.seen += 1;
        self.kept.push(raw);
        if self.seen >= self.fit_again_at.max(64) {
            let mut sorted = self.kept.clone();
            sorted.sort_by(f32::total_cmp);
            self.fit = Fit::of(&sorted);
            self.fit_again_at = if self.kept.len() * 2 <= KEPT { self.seen * 3 / 2 } else { self.seen + KEPT as u64 / 2 };
        }
        if self.kept.len() >= KEPT {
            let mut take = false;
            self.kept.retain(|_| {
                take = !take;
                take
            });
        }
    }
}

/// What one series adds to its cohort.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Own {
    /// Its 90th percentile in cohort levels.
    place: f64,
    /// Sum of excesses above, and their number, fading.
    excess: (f64, f64),
    /// Windows in a row above.
    run: f64,
}

impl Default for Own {
    fn default() -> Self {
        Self { place: 1.0, excess: (0.0, 0.0), run: 0.0 }
    }
}

impl Own {
    fn stretch(&self) -> f64 {
        let (usual, weight) = EXCESS;
        ((self.excess.0 + usual * weight) / (self.excess.1 + weight)).clamp(0.3, 1.5) / usual
    }

    /// What it could lend: its place and its mean excess.
    fn lend(&self) -> (f64, f64) {
        (self.place, self.stretch() * EXCESS.0)
    }

    /// As its like are, to begin with.
    fn borrow((place, excess): (f64, f64)) -> Self {
        Self { place, excess: (excess * LENT, LENT), run: 0.0 }
    }

    fn learn(&mut self, level: f64) {
        let above = level > self.place;
        let step = 0.02 / (1.0 + 0.2 * self.run);
        self.place = (self.place + if above { 0.9 * step } else { -0.1 * step }).clamp(0.5, 3.0);
        self.run = if above { self.run + 1.0 } else { 0.0 };
        if above {
            // A long run is one event, not many; and no event counts for more than a few usual ones.
            let weight = 1.0 / (1.0 + self.run * self.run / 4.0);
            let keep = 1.0 - weight / 400.0;
            let most = 2.5 * self.stretch() * EXCESS.0;
            self.excess = (self.excess.0 * keep + weight * 1.09 * (level - self.place).clamp(0.0, most), self.excess.1 * keep + weight);
        }
    }
}

/// What is calibrated: the model's raw score, the normal level of the largest deviation, and the mean of
/// the sudden deviations. Their mean beats each (lesson of public benchmarks): the one knows shapes,
/// the other how fast true tails fall, the third what has just changed. The third speaks for levels only:
/// what follows a known law needs no forecast.
pub(crate) const VOICES: usize = 3;

/// Calibration may make the word of a share's law milder, but no more than this: a few errors of an hour
/// ago must not hide that one call in five fails now.
const LAW: f64 = 0.4;

/// One window's voices: the model's raw score, `normal_level` of the largest deviation, mean of the sudden ones.
pub(crate) type Voices = [f64; VOICES];

/// How one window's scores were read, kept with it so that late rows are read the same way.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Reading {
    fits: [[Fit; 4]; VOICES],
    /// Place and stretch of each series; none once its window cannot change any more.
    own: Vec<[(f32, f32); VOICES]>,
    is_settled: bool,
}

impl Reading {
    /// `-log10` of the probability of these voices in this series.
    pub(crate) fn level(&self, row: usize, kind: StatKind, voices: Voices) -> f64 {
        let own = self.own.get(row).copied().unwrap_or([(1.0, 1.0); VOICES]);
        let speaking = if kind == StatKind::Level { VOICES } else { 2 };
        // A model that gave no score has no say.
        let first = usize::from(voices[0].is_infinite());
        let sum: f64 = (first..speaking)
            .map(|voice| {
                let cohort = cohort_level(&self.fits[voice][slot(kind)], voices[voice], voices[1]);
                let (place, stretch) = (f64::from(own[voice].0), f64::from(own[voice].1));
                if cohort <= place { cohort / place } else { 1.0 + (cohort - place) / stretch }
            })
            .sum();
        let mean = sum / (speaking - first) as f64;
        // What is far outside the law that a share follows is an event, whatever the cohort has lived through.
        if kind == StatKind::Share { mean.max(LAW * voices[1]) } else { mean }
    }

    /// Forgets: nothing will be read by it again.
    pub(crate) fn settle(&mut self) {
        (self.own, self.is_settled) = (Vec::new(), true);
    }

    /// Adds series that came later.
    pub(crate) fn resize(&mut self, rows: usize) {
        if self.is_settled {
            return;
        }
        self.own.resize(rows, [(1.0, 1.0); VOICES]);
    }
}

/// The cohort's word; `normal` stands in while the cohort is new, and bounds what it may claim.
fn cohort_level(fit: &Fit, value: f64, normal: f64) -> f64 {
    if fit.n == 0.0 {
        return normal;
    }
    let weight = fit.n / (fit.n + 300.0);
    (1.0 - weight) * normal + weight * fit.level(value).min(2.0 * normal + 4.0)
}

/// All cohorts and series.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Calibration {
    cohorts: [[Cohort; 4]; VOICES],
    own: Vec<[Own; VOICES]>,
}

impl Calibration {
    pub(crate) fn resize(&mut self, rows: usize) {
        self.own.resize(rows, <[Own; VOICES]>::default());
    }

    /// What a series has learnt of its own scores.
    pub(crate) fn lend(&self, row: usize) -> Lent {
        self.own[row].map(|own| own.lend())
    }

    /// A new series begins as its like are.
    pub(crate) fn borrow(&mut self, row: usize, lent: Lent) {
        self.own[row] = lent.map(Own::borrow);
    }

    /// Nothing is known of the model's scores any more.
    pub(crate) fn forget_model(&mut self) {
        self.cohorts[0] = Default::default();
        self.own.iter_mut().for_each(|own| own[0] = Own::default());
    }

    /// How scores are read from now on.
    pub(crate) fn reading(&self) -> Reading {
        Reading {
            fits: std::array::from_fn(|voice| std::array::from_fn(|cohort| self.cohorts[voice][cohort].fit.clone())),
            own: self.own.iter().map(|own| own.map(|own| (own.place as f32, own.stretch() as f32))).collect(),
            is_settled: false,
        }
    }

    /// Reads what `learn` will change.
    pub(crate) fn touch(&self, row: usize) -> u64 {
        self.own[row].iter().fold(0, |sum, own| sum.wrapping_add(own.run.to_bits()))
    }

    /// Takes a settled window.
    pub(crate) fn learn(&mut self, row: usize, kind: StatKind, voices: Voices) {
        for (voice, value) in voices.into_iter().enumerate() {
            let cohort = &mut self.cohorts[voice][slot(kind)];
            self.own[row][voice].learn(cohort_level(&cohort.fit, value, voices[1]));
            cohort.learn(value as f32);
        }
    }

    /// Whether the cohort of this kind has been seen enough.
    pub(crate) fn is_known(&self, kind: StatKind) -> bool {
        self.cohorts[0][slot(kind)].fit.n >= 300.0
    }
}

const fn slot(kind: StatKind) -> usize {
    match kind {
        StatKind::Count => 0,
        StatKind::Share => 1,
        StatKind::LogMean => 2,
        StatKind::Level => 3,
    }
}

/// `-log10` of the normal tail of the largest of about three deviations, made milder for tails that
/// are not normal.
pub(crate) fn normal_level(z: f64) -> f64 {
    let z = z.abs();
    0.75 * ((0.717 * z + 0.416 * z * z) / std::f64::consts::LN_10 - 3f64.log10()).max(0.0)
}

/// The calibrated score: every thousandfold rarer halves the distance to 1.
pub(crate) fn score_of(level: f64) -> f32 {
    (1.0 - (-level.max(0.0) / 3.0).exp2()) as f32
}

/// The level whose false openings match the budget: `alerts_per_week` over `series` series. A window's
/// score shares most of its samples with its neighbours', so about `TOGETHER` exceed together.
pub(crate) fn level_of_budget(alerts_per_week: f64, series: usize, window_ns: u64) -> f64 {
    const TOGETHER: f64 = 20.0;
    let windows_per_week = 7.0 * 86_400e9 / window_ns.max(1) as f64;
    let p = alerts_per_week.max(1e-3) * TOGETHER / (windows_per_week * series.max(20) as f64);
    (-p.log10()).clamp(3.5, 8.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a window says that is far out, in a series that was as far out in every tenth window.
    fn level_after_a_wild_past(kind: StatKind) -> f64 {
        let mut calibration = Calibration::default();
        calibration.resize(1);
        for window in 0..3_000 {
            let wild = if window % 10 == 0 { 20.0 } else { 0.2 };
            calibration.learn(0, kind, [wild, wild, 0.0]);
        }
        calibration.reading().level(0, kind, [15.0, 15.0, 0.0])
    }

    #[test]
    fn a_wild_past_hides_counts_but_no_share_far_outside_its_law() {
        assert!(level_after_a_wild_past(StatKind::Count) < 2.0);
        assert!(level_after_a_wild_past(StatKind::Share) >= 6.0);
    }
}
