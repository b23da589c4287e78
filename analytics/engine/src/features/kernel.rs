//! The fold: one window of all series into the state, and the state into feature rows.
//!
//! Two stages. `judge` holds sums against expectations, series by series (branches by kind and
//! logarithms). `smooth` is straight-line arithmetic over columns that compilers vectorise. Both see
//! every series in every window; a missing one (`present` 0) keeps its recursive state.
//! Cost: about 0.4 us a series and window, of which sums over the ring are half.

use super::{
    columns::{Columns, Fresh},
    define::*,
    law::{self, Reference},
    ring::{Ring, Span},
};
use crate::window::StatKind;
use serde::{Deserialize, Serialize};

/// Windows over which expectations fade: an hour of 10 s windows.
const HORIZON: f64 = 360.0;
/// Windows over which the recent expectation fades.
const RECENT: f64 = 30.0;
/// Windows after which a level's own past counts as much as what is usual for its like.
const LEVEL_WEIGHT: f64 = 30.0;
/// Windows over which scales fade.
const SCALE_HORIZON: f64 = 720.0;
/// After so many windows on one side the change is the new normal: 20 minutes of 10 s windows.
const ACCEPTED_AFTER: f64 = 120.0;
/// Levels that rest on less than this (about ten readings) have not shown yet how they vary.
pub(crate) const YOUNG: f64 = 9.0;

/// What a series borrows from its like before it has a past: mean squares of its deviations over 1, 6 and 18
/// windows and against the recent past, and a spread (log mean: variance of a sample's logarithm; level:
/// variance relative to the square of the level).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Prior {
    pub(crate) scales: [f64; 4],
    pub(crate) spread: f64,
}

impl Prior {
    /// Nobody is like it.
    pub(crate) const NONE: Self = Self { scales: [1.0; 4], spread: f64::NAN };

    /// What a series could lend.
    pub(crate) fn of(c: &Columns, row: usize, kind: StatKind) -> Self {
        let spread = match kind {
            StatKind::LogMean => c.spread[row],
            StatKind::Level => c.spread[row] / (c.centre[row] * c.centre[row]).max(f64::MIN_POSITIVE),
            StatKind::Count | StatKind::Share => f64::NAN,
        };
        Self { scales: [c.scale_1[row], c.scale_6[row], c.scale_18[row], c.scale_recent[row]], spread }
    }
}

/// What is fixed for each series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Trait {
    /// Kind of sums.
    pub(crate) kind: StatKind,
    /// Start of the first window it was known in.
    pub(crate) born_ns: u64,
    /// Weight of deviations upwards.
    pub(crate) up: f64,
    /// Weight of deviations downwards.
    pub(crate) down: f64,
    /// Borrowed at birth.
    pub(crate) prior: Prior,
}

impl Trait {
    /// What is usual for its like, as `law` wants it. Whole numbers are taken for counts of things: they vary
    /// as such, and by one at least, even where they have not moved yet.
    pub(crate) fn usual(&self, c: &Columns, row: usize) -> f64 {
        match self.kind {
            StatKind::LogMean if self.prior.spread.is_finite() => self.prior.spread,
            StatKind::LogMean => law::LOG_VARIANCE,
            StatKind::Level => {
                let square = c.centre[row] * c.centre[row];
                let borrowed = if self.prior.spread.is_finite() { self.prior.spread.min(1.0) * square } else { 0.0 };
                let usual = if c.whole[row] > 0.0 { borrowed.max(c.centre[row].abs().max(1.0)) } else { borrowed };
                usual * LEVEL_WEIGHT / (LEVEL_WEIGHT + c.mass[row])
            }
            StatKind::Count | StatKind::Share => 0.0,
        }
    }
}

/// Folds the window at `position` of the ring. Rows of `columns`, `fresh` and `traits` agree; the first is row `first`
/// of the ring.
pub(crate) fn fold((columns, fresh): (&mut Columns, &mut Fresh), (ring, first): (&Ring, usize), position: usize, traits: &[Trait]) {
    let start_ns = ring.slots[position].start_ns;
    for (row, its) in traits.iter().enumerate() {
        if its.born_ns <= start_ns {
            judge((columns, fresh), (ring, first + row), position, (row, *its));
        } else {
            fresh.present[row] = 0.0;
        }
    }
    smooth(columns, fresh);
}

fn bounded(z: f64) -> f64 {
    z.clamp(-BOUND, BOUND)
}

/// Stage one for one series.
fn judge((c, f): (&mut Columns, &mut Fresh), (ring, at): (&Ring, usize), position: usize, (row, its): (usize, Trait)) {
    let kind = its.kind;
    if c.age[row] == 0.0 {
        [c.scale_1[row], c.scale_6[row], c.scale_18[row], c.scale_recent[row]] = its.prior.scales;
    }
    c.age[row] += 1.0;
    let age = c.age[row] as usize;
    let [one, short, long] = [1, SHORT, LONG].map(|count| ring.span(position, count, at, (kind, age)));
    f.present[row] = one.present;
    f.samples[row] = long.stat.n;
    f.missing[row] = 1.0 - short.present / age.min(SHORT) as f64;
    if one.present > 0.0 && one.stat.s1.fract() != 0.0 {
        c.whole[row] = 0.0;
    }
    let usual = its.usual(c, row);
    let known = Reference { centre: c.centre[row], spread: c.spread[row], mass: c.mass[row], usual };
    let recent = Reference { centre: c.recent_centre[row], mass: c.recent_mass[row], ..known };
    let d = [one, short, long].map(|span| law::deviation(kind, span, known));
    let d_recent = [one, short].map(|span| law::deviation(kind, span, recent));
    let scaled = |d: f64, scale: f64| bounded(d / scale.max(1.0).sqrt());
    let z_1 = scaled(d[0], c.scale_1[row]);
    f.u_before[row] = c.u[row];
    c.u[row] = if one.present > 0.0 { z_1 } else { c.u[row] };
    f.z_6[row] = scaled(d[1], c.scale_6[row]);
    f.z_18[row] = scaled(d[2], c.scale_18[row]);
    f.recent_1[row] = scaled(d_recent[0], c.scale_1[row]);
    f.recent_6[row] = scaled(d_recent[1], c.scale_recent[row]);
    f.effect_6[row] = bounded(law::effect(kind, short, known, f.z_6[row]));
    f.effect_18[row] = bounded(law::effect(kind, long, known, f.z_18[row]));
    let is_young = kind == StatKind::Level && is_young(known.mass, short.present, age);
    let trust = if is_young { 1.0 } else { trust((c, f), row, z_1) };
    if one.present > 0.0 {
        let scale_trust = if is_young { 0.0 } else { trust };
        for (scale, d) in [
            (&mut c.scale_1[row], d[0]),
            (&mut c.scale_6[row], d[1]),
            (&mut c.scale_18[row], d[2]),
            (&mut c.scale_recent[row], d_recent[1]),
        ] {
            let rate = scale_trust / (c.age[row].min(SCALE_HORIZON) + 30.0);
            *scale += rate * ((d * d).min(9.0 * *scale) - *scale);
        }
        learn(c, row, (kind, one), (trust, is_young));
    }
    let leaving = position.checked_sub(SHORT).filter(|_| age > SHORT);
    if let Some(leaving) = leaving {
        learn_recent(c, row, kind, ring.span(leaving, 1, at, (kind, 1)));
    }
    learn_shown(c, row, (kind, one), ring.slots[position].shown[at]);
}

/// Whether a level that is read once in several windows has been read so few times that nothing is known
/// of how it varies: its readings are believed as they are, for each would be far from a past that has not
/// varied yet.
fn is_young(mass: f64, present: f64, age: usize) -> bool {
    mass < YOUNG && 2.0 * present < age.min(SHORT) as f64
}

/// How much of this window the expectation believes: all of it while nothing deviates, little of an
/// anomaly, all again of one that has stayed so long that it is the new normal.
fn trust((c, f): (&mut Columns, &Fresh), row: usize, z_1: f64) -> f64 {
    let z = f.z_18[row];
    c.run[row] = match (z.abs() > 3.0, z.abs() < 2.0) {
        (true, _) if c.run[row] * z >= 0.0 => c.run[row] + z.signum(),
        (true, _) => z.signum(),
        (_, true) => 0.0,
        _ => c.run[row],
    };
    if c.run[row].abs() > ACCEPTED_AFTER {
        c.mass[row] *= 0.8;
        return 1.0;
    }
    let worst = (z.abs() / 3.0).max(f.z_6[row].abs() / 3.0).max(z_1.abs() / 4.0).max(1.0);
    1.0 / (worst * worst)
}

/// A window's weight and mean: windows weigh 1 for counts and levels, their samples otherwise.
fn weight_and_mean(kind: StatKind, span: Span) -> (f64, f64) {
    match kind {
        StatKind::Count => (1.0, span.stat.s1),
        StatKind::Share | StatKind::LogMean => (span.stat.n, span.stat.s1 / span.stat.n),
        StatKind::Level => (1.0, span.stat.s1 / span.stat.n),
    }
}

/// Moves the expectation.
fn learn(c: &mut Columns, row: usize, (kind, one): (StatKind, Span), (trust, is_young): (f64, bool)) {
    let (weight, mean) = weight_and_mean(kind, one);
    let before = c.centre[row];
    c.mass[row] = c.mass[row] * (1.0 - trust / HORIZON) + weight * trust;
    let rate = weight * trust / c.mass[row].max(f64::MIN_POSITIVE);
    c.centre[row] += rate * (mean - before);
    let square = match kind {
        StatKind::LogMean => (one.stat.s2 / one.stat.n - before * (2.0 * mean - before)).max(0.0),
        StatKind::Count | StatKind::Share | StatKind::Level => (mean - before) * (mean - before),
    };
    let first = c.mass[row] <= weight * trust * (1.0 + 1e-9);
    let is_bounded = c.age[row] > 10.0 && c.spread[row] > 0.0 && !is_young;
    let limit = if is_bounded { 16.0 * c.spread[row] } else { f64::INFINITY };
    if first {
        // The first window is its own mean: only what varies inside it is known.
        c.spread[row] = if kind == StatKind::LogMean { (one.stat.s2 / one.stat.n - mean * mean).max(0.0) } else { 0.0 };
    } else {
        c.spread[row] += rate * (square.min(limit) - c.spread[row]);
    }
}

fn learn_recent(c: &mut Columns, row: usize, kind: StatKind, span: Span) {
    if span.present <= 0.0 {
        return;
    }
    let (weight, mean) = weight_and_mean(kind, span);
    c.recent_mass[row] = c.recent_mass[row] * (1.0 - 1.0 / RECENT) + weight;
    c.recent_centre[row] += weight / c.recent_mass[row].max(f64::MIN_POSITIVE) * (mean - c.recent_centre[row]);
}

/// Learns how the shown value follows from the sums.
fn learn_shown(c: &mut Columns, row: usize, (kind, one): (StatKind, Span), shown: f64) {
    if one.present <= 0.0 || !shown.is_finite() {
        return;
    }
    let offset = match kind {
        StatKind::Count if one.stat.s1 > 0.0 => shown / one.stat.s1,
        StatKind::Count => return,
        StatKind::Share | StatKind::Level => shown - one.stat.s1 / one.stat.n,
        StatKind::LogMean if shown > 0.0 => shown.ln() - one.stat.s1 / one.stat.n,
        StatKind::LogMean => return,
    };
    let held = c.shown_offset[row];
    c.shown_offset[row] = if held.is_finite() { held + 0.05 * (offset - held) } else { offset };
}

/// Stage two: recursions over `u`, column by column. `m` is 1 where the series is present.
fn smooth(c: &mut Columns, f: &mut Fresh) {
    for row in 0..c.u.len() {
        let (m, u) = (f.present[row].min(1.0), c.u[row]);
        c.fast[row] += m * 0.3 * (u - c.fast[row]);
        c.middle[row] += m * 0.2 * (u - c.middle[row]);
        c.slow[row] += m * 0.05 * (u - c.slow[row]);
        c.persistence[row] += m / 12.0 * (u.clamp(-1.0, 1.0) - c.persistence[row]);
        c.square_fast[row] += m * 0.15 * (u * u - c.square_fast[row]);
        c.square_slow[row] += m / HORIZON * ((u * u).min(9.0 * c.square_slow[row]) - c.square_slow[row]);
    }
    for row in 0..c.u.len() {
        let (m, u) = (f.present[row].min(1.0), c.u[row]);
        c.cusum_up[row] += m * ((c.cusum_up[row] + u - 0.5).clamp(0.0, BOUND) - c.cusum_up[row]);
        c.cusum_down[row] += m * ((c.cusum_down[row] - u - 0.5).clamp(0.0, BOUND) - c.cusum_down[row]);
        c.onset_up[row] = if c.cusum_up[row] > 0.0 { c.onset_up[row] } else { c.age[row] };
        c.onset_down[row] = if c.cusum_down[row] > 0.0 { c.onset_down[row] } else { c.age[row] };
    }
    for row in 0..c.u.len() {
        let (m, u) = (f.present[row].min(1.0), c.u[row]);
        f.robust_z[row] = (u - c.median[row]) / (1.4826 * c.mad[row].max(0.2));
        c.median[row] += m * 0.02 * (4.0 * (u - c.median[row])).clamp(-1.0, 1.0);
        let off = (u - c.median[row]).abs();
        c.mad[row] = (c.mad[row] + m * 0.02 * (4.0 * (off - c.mad[row])).clamp(-1.0, 1.0)).max(0.0);
    }
    for row in 0..c.u.len() {
        let (m, u, before) = (f.present[row].min(1.0), c.u[row], f.u_before[row]);
        let residual = u - memory(c.product[row], c.square_before[row]) * before;
        f.ar_residual[row] = residual / c.square_residual[row].max(0.05).sqrt();
        let square = (residual * residual).min(9.0 * c.square_residual[row]);
        c.square_residual[row] += m / HORIZON * (square - c.square_residual[row]);
        let (u, before) = (u.clamp(-4.0, 4.0), before.clamp(-4.0, 4.0));
        c.product[row] += m / HORIZON * (u * before - c.product[row]);
        c.square_before[row] += m / HORIZON * (before * before - c.square_before[row]);
    }
}

/// Lag-one autocorrelation.
fn memory(product: f64, square: f64) -> f64 {
    (product / square.max(0.05)).clamp(-0.95, 0.98)
}

/// Standard deviation of the difference of two EWMAs (0.2, 0.05) of white noise.
fn slope_sd() -> f64 {
    let own = |a: f64| a / (2.0 - a);
    (own(0.2) + own(0.05) - 2.0 * 0.2 * 0.05 / (0.2 + 0.05 - 0.2 * 0.05)).sqrt()
}

/// Writes one series' features; `season` is the mean of `z_6` in this half hour of past days, if known.
pub(crate) fn write_row((c, f): (&Columns, &Fresh), row: usize, its: Trait, season: Option<f64>, x: &mut [f32]) {
    let white = |a: f64| ((2.0 - a) / a).sqrt();
    let m = f.present[row].min(1.0);
    let mut wide = [0.0f64; WIDTH];
    wide[Z_1] = m * c.u[row];
    wide[Z_6] = f.z_6[row];
    wide[Z_18] = f.z_18[row];
    wide[RECENT_1] = f.recent_1[row];
    wide[RECENT_6] = f.recent_6[row];
    wide[EFFECT_6] = f.effect_6[row];
    wide[EFFECT_18] = f.effect_18[row];
    wide[EWMA_FAST] = c.fast[row] * white(0.3);
    wide[EWMA_SLOW] = c.slow[row] * white(0.05);
    wide[SLOPE] = (c.middle[row] - c.slow[row]) / slope_sd();
    wide[ROBUST_Z] = m * f.robust_z[row];
    wide[CUSUM_UP] = c.cusum_up[row];
    wide[CUSUM_DOWN] = -c.cusum_down[row];
    wide[PERSISTENCE] = c.persistence[row];
    wide[SPREAD] = 0.5 * ((c.square_fast[row] + 0.1) / (c.square_slow[row] + 0.1)).ln();
    wide[AR_RESIDUAL] = m * f.ar_residual[row];
    wide[MEMORY] = memory(c.product[row], c.square_before[row]);
    wide[SEASON_Z] = season.map_or(0.0, |usual| f.z_6[row] - usual);
    wide[SEASON_KNOWN] = f64::from(u8::from(season.is_some()));
    wide[EVIDENCE] = f.samples[row].max(0.0).ln_1p();
    wide[MISSING] = f.missing[row];
    wide[AGE] = 1.0 - (-c.age[row] / HORIZON).exp();
    wide[IS_COUNT] = f64::from(u8::from(its.kind == StatKind::Count));
    wide[IS_SHARE] = f64::from(u8::from(its.kind == StatKind::Share));
    wide[IS_LOG_MEAN] = f64::from(u8::from(its.kind == StatKind::LogMean));
    wide[IS_LEVEL] = f64::from(u8::from(its.kind == StatKind::Level));
    for ((out, value), feature) in x.iter_mut().zip(wide).zip(FEATURES) {
        let side = match (feature.signed, value > 0.0) {
            (false, _) => 1.0,
            (true, true) => its.up,
            (true, false) => its.down,
        };
        *out = (side * bounded(value)) as f32;
    }
}
