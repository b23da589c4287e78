//! The tests, by kind of sum: how far some windows' sums are from what is expected, in standard
//! deviations. Nothing here remembers anything.
//!
//! Counts and shares use the signed root of the deviance instead of Anscombe's root and the arcsine:
//! as normal for large counts, and honest for rare events, where those see 3 errors among 54 calls
//! that should have had none as 2.3 sd instead of 4.

use super::ring::Span;
use crate::window::StatKind;

/// Deviations are cut here before they are scaled.
const CUT: f64 = 50.0;
/// Within-window variance of a logarithm of duration assumed before anything is known.
pub(crate) const LOG_VARIANCE: f64 = 0.25;
/// Samples that belief weighs.
const LOG_WEIGHT: f64 = 10.0;

/// What sums are held against.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Reference {
    /// Mean count a window, share, mean logarithm or mean level.
    pub(crate) centre: f64,
    /// Variance of one sample's logarithm, or of a window's mean level.
    pub(crate) spread: f64,
    /// Windows (count, level) or samples (share, log mean) that the centre rests on.
    pub(crate) mass: f64,
    /// What is usual for its like: variance of one sample's logarithm; variance of the level from one time
    /// to another, which no number of readings makes smaller.
    pub(crate) usual: f64,
}

/// Signed root of the deviance of `count` Poisson events where `expected` > 0 are. Cost: one logarithm.
pub(crate) fn poisson_root(count: f64, expected: f64) -> f64 {
    let log_part = if count > 0.0 { count * (count / expected).ln() } else { 0.0 };
    (2.0 * (log_part - (count - expected)).max(0.0)).sqrt().copysign(count - expected)
}

/// Signed root of the deviance of `hits` among `trials` where a share of 0 < `share` < 1 is expected.
pub(crate) fn binomial_root(hits: f64, trials: f64, share: f64) -> f64 {
    let part = |seen: f64, expected: f64| if seen > 0.0 { seen * (seen / expected).ln() } else { 0.0 };
    let deviance = part(hits, trials * share) + part(trials - hits, trials * (1.0 - share));
    (2.0 * deviance.max(0.0)).sqrt().copysign(hits - trials * share)
}

/// Mean count a window, never 0: half an event more than was seen.
pub(crate) fn count_rate(reference: Reference) -> f64 {
    (reference.centre * reference.mass + 0.5) / (reference.mass + 1.0)
}

/// Share of hits, never 0 or 1: half a hit and half a miss more than were seen.
pub(crate) fn hit_share(reference: Reference) -> f64 {
    (reference.centre * reference.mass + 0.5) / (reference.mass + 1.0)
}

/// Variance of one sample's logarithm, drawn to what is usual while little is known.
pub(crate) fn log_variance(reference: Reference) -> f64 {
    (reference.spread * reference.mass + reference.usual * LOG_WEIGHT) / (reference.mass + LOG_WEIGHT)
}

/// Variance of a window's mean level, wider while it rests on few windows, and never below rounding.
pub(crate) fn level_variance(reference: Reference, mean: f64) -> f64 {
    let rounding = 1e-10 * reference.centre.abs().max(mean.abs());
    (reference.spread * (1.0 + 6.0 / reference.mass.max(1.0))).max(rounding * rounding)
}

/// Deviation of the sums in `span` from `reference`, in standard deviations, within +-50. The
/// reference's own uncertainty is part of the variance. 0 where either is empty.
pub(crate) fn deviation(kind: StatKind, span: Span, reference: Reference) -> f64 {
    let Span { stat, present } = span;
    if present <= 0.0 || reference.mass <= 0.0 {
        return 0.0;
    }
    let d = match kind {
        StatKind::Count => poisson_root(stat.s1.max(0.0), present * count_rate(reference)) / (1.0 + present / reference.mass).sqrt(),
        StatKind::Share => {
            let hits = stat.s1.clamp(0.0, stat.n);
            binomial_root(hits, stat.n, hit_share(reference)) / (1.0 + stat.n / reference.mass).sqrt()
        }
        StatKind::LogMean => {
            let variance = log_variance(reference) * (1.0 / stat.n + 1.0 / reference.mass);
            (stat.s1 / stat.n - reference.centre) / variance.sqrt()
        }
        StatKind::Level => {
            let (mean, shift) = (stat.s1 / stat.n, stat.s1 / stat.n - reference.centre);
            let variance = level_variance(reference, mean) * (1.0 / present + 1.0 / reference.mass) + reference.usual;
            if shift == 0.0 { 0.0 } else { shift / variance.sqrt() }
        }
    };
    if d.is_nan() { 0.0 } else { d.clamp(-CUT, CUT) }
}

/// Size of the change as a ratio, however sure; 0 where either is empty.
pub(crate) fn effect(kind: StatKind, span: Span, reference: Reference, z: f64) -> f64 {
    let Span { stat, present } = span;
    if present <= 0.0 || reference.mass <= 0.0 {
        return 0.0;
    }
    match kind {
        StatKind::Count => ((stat.s1.max(0.0) + 1.0) / (present * reference.centre.max(0.0) + 1.0)).ln(),
        StatKind::Share => 10.0 * (stat.s1 / stat.n - reference.centre),
        StatKind::LogMean => stat.s1 / stat.n - reference.centre,
        StatKind::Level => z / 8.0,
    }
}
