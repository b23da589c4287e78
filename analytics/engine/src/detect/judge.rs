//! One scored row, judged: which span of windows decides, how far it deviates, and whether that may open;
//! and the flag that it makes. Called by the detector; keeps nothing.

use super::{
    band,
    block::Around,
    calibrate::{self, Voices},
    detector::{DetectorSnapshot, LEVEL_MIN, OTHER_MIN},
    heat,
    hysteresis::Evidence,
};
use crate::{
    features::{
        columns::{Columns, Fresh},
        define::*,
        kernel::{self, Trait},
        law::{self, Reference},
        ring::Span,
    },
    flag::{Flag, Phase},
    window::{Stat, StatKind},
};
use geophone_proto::{UnixNanos, effect::ScoredWindow};

/// Logarithm of a change, here to twenty times, that is judged by its law alone ...
const FAR_EFFECT: f32 = 3.0;
/// ... and how much milder than that.
const LAW: f64 = 0.4;
/// ... but for so many windows with samples in a row beyond all before them, of which there are at least so many.
const RUN: usize = 4;
const BEFORE: usize = 8;
/// A series that began so few windows ago ...
const BEGUN: f64 = 90.0;
/// ... and of late counted something in fewer windows than this has no rate that could have fallen: a burst, a job that ran.
const BUSY: usize = 6;
/// Deviations beyond this need one sample less.
const FAR: f64 = 10.0;

/// What calibration hears of one row.
pub(super) fn voices(raw: f32, row: &[f32]) -> Voices {
    let largest = [Z_1, Z_6, Z_18].into_iter().map(|feature| row[feature].abs()).fold(0.0, f32::max);
    let sudden: f32 = [SLOPE, ROBUST_Z, AR_RESIDUAL, RECENT_6].into_iter().map(|feature| row[feature].abs() / 4.0).sum();
    [f64::from(raw), calibrate::normal_level(f64::from(largest)), f64::from(sudden)]
}

/// What the deciding span says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Judged {
    pub(super) z: f64,
    pub(super) over: Span,
    pub(super) evidence: Evidence,
}

/// A judged series: its row in the brain and in the columns at hand, its place among the scored rows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Told {
    pub(super) row: usize,
    pub(super) local: usize,
    pub(super) place: usize,
    pub(super) judged: Judged,
}

/// Where a series stands in the ring and in the columns at hand.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) position: usize,
    pub(super) row: usize,
    pub(super) local: usize,
}

/// When the CUSUM to this side left zero; `at` = start and length of the present window.
fn onset(after: &Columns, local: usize, z: f64, at: (u64, u64)) -> UnixNanos {
    let start = if z >= 0.0 { after.onset_up[local] } else { after.onset_down[local] };
    let ago = (after.age[local] - start).max(1.0) as u64;
    UnixNanos(at.0).plus(at.1).minus(ago.saturating_mul(at.1))
}

/// Whether a span holds enough samples to open on; fewer do where it is far off.
fn has_enough(kind: StatKind, over: Span, known: Reference, is_far: bool) -> bool {
    match kind {
        StatKind::Count => over.stat.s1.max(over.present * known.centre) >= 5.0,
        StatKind::Share => over.stat.s1.max(over.stat.n * known.centre) >= 3.0 && over.stat.n >= 5.0,
        StatKind::LogMean => over.stat.n >= if is_far { 3.0 } else { 4.0 },
        StatKind::Level => over.present >= 1.0 && known.mass >= kernel::YOUNG,
    }
}

impl DetectorSnapshot {
    /// A judged series as a flag, without contributions and exemplars.
    pub(super) fn flag(&self, told: Told, Around { before, after, traits, .. }: Around<'_>, window: &ScoredWindow) -> Flag {
        let Told { row, local, place, judged } = told;
        let its = traits[local];
        let band = band::band(before, local, its, judged.over);
        Flag {
            series: u32::try_from(row).unwrap_or(u32::MAX),
            phase: Phase::Continues,
            at: window.features.at,
            onset: onset(after, local, judged.z, (window.features.at.0 - self.window_ns, self.window_ns)),
            z: judged.z,
            score: window.score[place],
            actual: band::measured(its, judged.over, after.shown_offset[local]),
            expected: band.expected,
            lower: band.lower,
            upper: band.upper,
            n: judged.over.stat.n,
            maturity: window.maturity[place],
            raw: f64::from(window.raw[place]),
            raw_baseline: 0.0,
            contributions: Vec::new(),
            attributes: Vec::new(),
            exemplars: Vec::new(),
        }
    }

    /// What the law alone says of a duration that is many times what it was: no past is that noisy.
    pub(super) fn law_level(&self, position: usize, row: usize, kind: StatKind, x: &[f32]) -> f64 {
        if !self.is_bare || kind != StatKind::LogMean || x[EFFECT_6].max(x[EFFECT_18]) < FAR_EFFECT {
            return 0.0;
        }
        let law = self.ring.slots[position].voices(row)[1];
        if self.exceeds_all(position, row) { law } else { LAW * law }
    }

    /// Whether the newest windows with samples lie beyond all before them, as far as the ring looks back. By
    /// rank: a few stray values, or the first of the change itself, widen what is expected, but not that.
    fn exceeds_all(&self, position: usize, row: usize) -> bool {
        let slots = self.ring.slots.range(..=position).rev().filter(|slot| slot.n[row] > 0.0);
        let means: Vec<f64> = slots.map(|slot| slot.s1[row] / slot.n[row]).collect();
        let splits = RUN..=means.len().saturating_sub(BEFORE);
        let least = |run: &[f64]| run.iter().copied().fold(f64::INFINITY, f64::min);
        let most = |before: &[f64]| before.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        splits.map(|at| means.split_at(at)).any(|(run, before)| least(run) > most(before))
    }

    /// Which span decides, how far it deviates, and whether that may open.
    pub(super) fn judge(&self, x: &[f32], place: Place, (around, fresh): (Around<'_>, &Fresh)) -> Judged {
        let Place { position, row, local } = place;
        let Around { before, after, traits } = around;
        let its = traits[local];
        let age = after.age[local] as usize;
        let spans = [(1, Z_1, after.u[local]), (SHORT, Z_6, fresh.z_6[local]), (LONG, Z_18, fresh.z_18[local])];
        let damped = |feature: usize| f64::from(x[feature].abs());
        let known = Reference {
            centre: before.centre[local],
            spread: before.spread[local],
            mass: before.mass[local],
            usual: its.usual(before, local),
        };
        let most = spans.iter().map(|span| damped(span.1)).fold(0.0, f64::max);
        // The shortest span with enough samples that says nearly as much as the strongest: nearest to now, least diluted.
        let (mut best, mut over, mut is_enough) = (spans[2], Span { stat: Stat::default(), present: 0.0 }, false);
        for span in spans.into_iter().filter(|span| damped(span.1) >= 0.75 * most) {
            (best, over) = (span, self.ring.span(position, span.0, row, (its.kind, age)));
            is_enough = has_enough(its.kind, over, known, self.is_bare && damped(span.1) >= FAR);
            if is_enough {
                break;
            }
        }
        let z = best.2;
        let live = law::deviation(its.kind, self.newest(place, its, (known, age)), known) * z.signum();
        let recent = (fresh.recent_6[local] * z.signum()).max(fresh.recent_1[local] * z.signum());
        let least = if its.kind == StatKind::Level { LEVEL_MIN } else { OTHER_MIN };
        let only_passed = its.kind == StatKind::Count && z < 0.0 && after.age[local] <= BEGUN && self.busy(position, row) < BUSY;
        let may_harm = !only_passed && self.traits[row].is_some_and(|entry| entry.harms[usize::from(z < 0.0)]);
        let part = if may_harm { heat::part(its.kind, (over, known), (live, recent), after.age[local]) } else { 0.0 };
        let evidence = Evidence {
            level: 0.0,
            limit: 0.0,
            is_live: live >= 1.0 && is_enough,
            is_fresh: recent >= 2.5 && !only_passed,
            is_small: most < least,
            is_lawful: self.is_bare && its.kind != StatKind::Level,
            part,
            bar: 0.0,
        };
        Judged { z, over, evidence }
    }

    /// In how many windows of the ring, the last few minutes, a series counted something.
    fn busy(&self, position: usize, row: usize) -> usize {
        self.ring.slots.range(..=position).filter(|slot| slot.s1[row] > 0.0).count()
    }

    /// The newest windows that hold enough samples to tell whether it still goes on.
    fn newest(&self, Place { position, row, .. }: Place, its: Trait, (known, age): (Reference, usize)) -> Span {
        let wanted = match its.kind {
            StatKind::Share => 10.0,
            StatKind::LogMean => 2.0,
            StatKind::Count | StatKind::Level => 1.0,
        };
        let mut span = Span { stat: Stat::default(), present: 0.0 };
        for count in 1..=SHORT {
            span = self.ring.span(position, count, row, (its.kind, age));
            let seen = if its.kind == StatKind::Count { span.present * known.centre } else { span.stat.n };
            if seen >= wanted {
                break;
            }
        }
        span
    }
}
