//! From sums to the values people see: expected value and band in shown units.

use crate::{
    features::{
        columns::Columns,
        kernel::Trait,
        law::{self, Reference},
        ring::Span,
    },
    window::StatKind,
};

/// Half width of the band, standard deviations.
const WIDTH_SD: f64 = 3.0;

/// Expected value and band.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Band {
    pub(crate) expected: f64,
    pub(crate) lower: f64,
    pub(crate) upper: f64,
}

/// What some windows' sums were expected to show, given the state *before* they were learnt. `over` =
/// the span asked about; for an empty one, a typical window. NaN where nothing is known.
pub(crate) fn band(before: &Columns, row: usize, its: Trait, over: Span) -> Band {
    let known = Reference { centre: before.centre[row], spread: before.spread[row], mass: before.mass[row], usual: its.usual(before, row) };
    if known.mass <= 0.0 {
        return Band { expected: f64::NAN, lower: f64::NAN, upper: f64::NAN };
    }
    let scale = match over.present {
        k if k > 12.0 => before.scale_18[row],
        k if k > 3.0 => before.scale_6[row],
        _ => before.scale_1[row],
    };
    let (windows, n) = (over.present.max(1.0), over.stat.n.max(1.0));
    let sd = WIDTH_SD * scale.max(1.0).sqrt();
    let (expected, lower, upper) = match its.kind {
        StatKind::Count => {
            let root = |shift: f64| {
                let root = (windows * known.centre + 0.375).sqrt() + shift;
                ((root.max(0.0).powi(2) - 0.375) / windows).max(0.0)
            };
            let half = 0.5 * sd * (1.0 + windows / known.mass).sqrt();
            (known.centre, root(-half), root(half))
        }
        StatKind::Share => {
            let share = law::hit_share(known);
            let half = 0.5 * sd * ((1.0 + n / known.mass) / (n + 0.5)).sqrt();
            let angle = share.sqrt().asin();
            let back = |a: f64| a.clamp(0.0, std::f64::consts::FRAC_PI_2).sin().powi(2);
            (known.centre, back(angle - half), back(angle + half))
        }
        StatKind::LogMean => {
            let half = sd * (law::log_variance(known) * (1.0 / n + 1.0 / known.mass)).sqrt();
            (known.centre, known.centre - half, known.centre + half)
        }
        StatKind::Level => {
            let half = sd * (law::level_variance(known, known.centre) * (1.0 / windows + 1.0 / known.mass) + known.usual).sqrt();
            (known.centre, known.centre - half, known.centre + half)
        }
    };
    let show = |value: f64| shown(its.kind, value, before.shown_offset[row]);
    Band { expected: show(expected), lower: show(lower), upper: show(upper) }
}

/// A centre in shown units.
pub(crate) fn shown(kind: StatKind, centre: f64, offset: f64) -> f64 {
    let offset = match (offset.is_finite(), kind) {
        (true, _) => offset,
        (false, StatKind::Count) => 1.0,
        (false, _) => 0.0,
    };
    match kind {
        StatKind::Count => centre * offset,
        StatKind::Share => (centre + offset).clamp(0.0, 1.0),
        StatKind::Level => centre + offset,
        StatKind::LogMean => (centre + offset).exp(),
    }
}

/// The measured value over some windows in shown units; NaN if nothing was measured.
pub(crate) fn measured(its: Trait, over: Span, offset: f64) -> f64 {
    if over.present <= 0.0 {
        return f64::NAN;
    }
    let centre = match its.kind {
        StatKind::Count => over.stat.s1 / over.present,
        StatKind::Share | StatKind::LogMean | StatKind::Level => over.stat.s1 / over.stat.n,
    };
    shown(its.kind, centre, offset)
}
