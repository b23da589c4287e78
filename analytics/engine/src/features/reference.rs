//! The definition once more, written from the formulas for one series whose whole history is given;
//! an oracle for the fold. Slow on purpose: every recursion runs from the beginning.

use super::{define::*, kernel::Trait};
use crate::window::{Stat, StatKind};

/// Sums of the windows that end at `t` (inclusive), at most `k` of them.
fn sums(history: &[Stat], t: usize, k: usize) -> (Vec<Stat>, Stat) {
    let windows: Vec<Stat> = history[(t + 1).saturating_sub(k)..=t].to_vec();
    let total = windows.iter().fold(Stat::default(), |a, w| Stat { n: a.n + w.n, s1: a.s1 + w.s1, s2: a.s2 + w.s2 });
    (windows, total)
}

fn d(kind: StatKind, windows: &[Stat], total: Stat, (c, v, w, usual): (f64, f64, f64, f64)) -> f64 {
    let present = windows.iter().filter(|window| kind == StatKind::Count || window.n > 0.0).count() as f64;
    if present == 0.0 || w <= 0.0 {
        return 0.0;
    }
    let xlogy = |x: f64, y: f64| if x > 0.0 { x * y.ln() } else { 0.0 };
    let value = match kind {
        StatKind::Count => {
            let mu = present * (c * w + 0.5) / (w + 1.0);
            let deviance: f64 = 2.0 * (xlogy(total.s1, total.s1 / mu) - (total.s1 - mu));
            (total.s1 - mu).signum() * deviance.max(0.0).sqrt() / (1.0 + present / w).sqrt()
        }
        StatKind::Share => {
            let p = (c * w + 0.5) / (w + 1.0);
            let (hits, misses) = (total.s1, total.n - total.s1);
            let deviance: f64 = 2.0 * (xlogy(hits, hits / (total.n * p)) + xlogy(misses, misses / (total.n * (1.0 - p))));
            (hits - total.n * p).signum() * deviance.max(0.0).sqrt() / (1.0 + total.n / w).sqrt()
        }
        StatKind::LogMean => {
            let variance = (v * w + usual * 10.0) / (w + 10.0) * (1.0 / total.n + 1.0 / w);
            (total.s1 / total.n - c) / variance.sqrt()
        }
        StatKind::Level => {
            let mean = total.s1 / total.n;
            let floor = 1e-10 * c.abs().max(mean.abs());
            let variance = (v * (1.0 + 6.0 / w.max(1.0))).max(floor * floor) * (1.0 / present + 1.0 / w);
            let variance = variance + usual;
            if mean == c { 0.0 } else { (mean - c) / variance.sqrt() }
        }
    };
    if value.is_nan() { 0.0 } else { value.clamp(-50.0, 50.0) }
}

/// What is usual for the like of a series that is at `c` and rests on `w` windows.
fn usual(its: Trait, (c, w): (f64, f64), whole: bool) -> f64 {
    match (its.kind, its.prior.spread.is_finite()) {
        (StatKind::LogMean, known) => {
            if known {
                its.prior.spread
            } else {
                0.25
            }
        }
        (StatKind::Level, known) => {
            let borrowed = if known { its.prior.spread.min(1.0) * c * c } else { 0.0 };
            let usual = if whole { borrowed.max(c.abs()).max(1.0) } else { borrowed };
            usual * 30.0 / (30.0 + w)
        }
        _ => 0.0,
    }
}

/// Windows in a row on one side.
fn next_run(run: f64, z: f64) -> f64 {
    match z.abs() {
        a if a > 3.0 && run * z >= 0.0 => run + z.signum(),
        a if a > 3.0 => z.signum(),
        a if a < 2.0 => 0.0,
        _ => run,
    }
}

/// Whether a level that is read seldom has been read too few times to know how it varies.
fn is_young(kind: StatKind, w: f64, last: &[Stat]) -> bool {
    let read = last.iter().filter(|stat| stat.n > 0.0).count();
    kind == StatKind::Level && w < 9.0 && 2 * read < last.len()
}

/// Feature rows of every window (no season: that needs days).
pub(crate) fn rows(its: Trait, history: &[Stat]) -> Vec<Vec<f64>> {
    let kind = its.kind;
    let (mut c, mut v, mut w, mut c2, mut w2) = (0.0, 0.0, 0.0f64, 0.0, 0.0);
    let mut s = its.prior.scales;
    let mut whole = true;
    let mut run = 0.0f64;
    let mut us: Vec<f64> = Vec::new();
    let mut out = Vec::new();
    for t in 0..history.len() {
        let now = history[t];
        let present = kind == StatKind::Count || now.n > 0.0;
        whole &= now.n <= 0.0 || now.s1.fract() == 0.0;
        let usual = usual(its, (c, w), whole);
        let deviation = |k: usize, c: f64, w: f64| {
            let (windows, total) = sums(history, t, k);
            d(kind, &windows, total, (c, v, w, usual))
        };
        let raw = [deviation(1, c, w), deviation(6, c, w), deviation(18, c, w), deviation(6, c2, w2)];
        let z: Vec<f64> = raw.iter().zip(s).map(|(d, s): (&f64, f64)| (d / s.max(1.0).sqrt()).clamp(-20.0, 20.0)).collect();
        let recent_1 = (deviation(1, c2, w2) / s[0].max(1.0).sqrt()).clamp(-20.0, 20.0);
        let effects = [(6, z[1]), (18, z[2])].map(|(k, z)| effect(kind, sums(history, t, k), (c, w), z));
        let is_young = is_young(kind, w, &history[t.saturating_sub(5)..=t]);
        run = if is_young { run } else { next_run(run, z[2]) };
        let mut g = 1.0;
        if !is_young && run.abs() > 120.0 {
            w *= 0.8;
        } else if !is_young {
            let worst = (z[2].abs() / 3.0).max(z[1].abs() / 3.0).max(if present { z[0].abs() / 4.0 } else { 0.0 }).max(1.0);
            g = 1.0 / (worst * worst);
        }
        if present {
            let rate = if is_young { 0.0 } else { g / ((t as f64 + 1.0).min(720.0) + 30.0) };
            for (s, d) in s.iter_mut().zip(raw) {
                *s += rate * ((d * d).min(9.0 * *s) - *s);
            }
            let weight = if matches!(kind, StatKind::Count | StatKind::Level) { 1.0 } else { now.n };
            let mean = if kind == StatKind::Count { now.s1 } else { now.s1 / now.n };
            let is_first = w == 0.0;
            w = w * (1.0 - g / 360.0) + weight * g;
            let alpha = weight * g / w;
            let square = if kind == StatKind::LogMean { (now.s2 / now.n - 2.0 * c * mean + c * c).max(0.0) } else { (mean - c).powi(2) };
            let limit = if t + 1 > 10 && v > 0.0 && !is_young { 16.0 * v } else { f64::INFINITY };
            v = match (is_first, kind) {
                (true, StatKind::LogMean) => (now.s2 / now.n - mean * mean).max(0.0),
                (true, _) => 0.0,
                (false, _) => v + alpha * (square.min(limit) - v),
            };
            c += alpha * (mean - c);
        }
        if t >= 6 && (kind == StatKind::Count || history[t - 6].n > 0.0) {
            let old = history[t - 6];
            let weight = if matches!(kind, StatKind::Count | StatKind::Level) { 1.0 } else { old.n };
            let mean = if kind == StatKind::Count { old.s1 } else { old.s1 / old.n };
            w2 = w2 * (1.0 - 1.0 / 30.0) + weight;
            c2 += weight / w2 * (mean - c2);
        }
        if present {
            us.push(z[0]);
        }
        let mut row = smooth(&us, present);
        row[Z_1] = if present { z[0] } else { 0.0 };
        (row[Z_6], row[Z_18], row[RECENT_1], row[RECENT_6]) = (z[1], z[2], recent_1, z[3]);
        (row[EFFECT_6], row[EFFECT_18]) = (effects[0], effects[1]);
        context(its, history, t, &mut row);
        out.push(row);
    }
    out
}

fn effect(kind: StatKind, (windows, total): (Vec<Stat>, Stat), (c, w): (f64, f64), z: f64) -> f64 {
    let value = match kind {
        _ if (total.n <= 0.0 && kind != StatKind::Count) || w <= 0.0 => 0.0,
        StatKind::Count => ((total.s1 + 1.0) / (windows.len() as f64 * c + 1.0)).ln(),
        StatKind::Share => 10.0 * (total.s1 / total.n - c),
        StatKind::LogMean => total.s1 / total.n - c,
        StatKind::Level => z / 8.0,
    };
    value.clamp(-20.0, 20.0)
}

/// Features that say what the others rest on; then the harmless side is damped.
fn context(its: Trait, history: &[Stat], t: usize, row: &mut [f64]) {
    let kind = its.kind;
    row[EVIDENCE] = (1.0 + sums(history, t, 18).1.n).ln().min(20.0);
    let (short, _) = sums(history, t, 6);
    row[MISSING] = short.iter().filter(|w| kind != StatKind::Count && w.n <= 0.0).count() as f64 / short.len() as f64;
    row[AGE] = 1.0 - (-(t as f64 + 1.0) / 360.0).exp();
    let kinds = [StatKind::Count, StatKind::Share, StatKind::LogMean, StatKind::Level];
    row[IS_COUNT + kinds.iter().position(|k| *k == kind).expect("in the list")] = 1.0;
    for (value, _) in row.iter_mut().zip(FEATURES).filter(|(_, feature)| feature.signed) {
        *value *= if *value > 0.0 { its.up } else { its.down };
    }
}

/// Features that are recursions over the residuals of all present windows so far.
fn smooth(us: &[f64], present: bool) -> Vec<f64> {
    let ewma = |a: f64| us.iter().fold(0.0, |e, u| e + a * (u - e));
    let mut row = vec![0.0; WIDTH];
    row[EWMA_FAST] = ewma(0.3) * (1.7f64 / 0.3).sqrt();
    row[EWMA_SLOW] = ewma(0.05) * (1.95f64 / 0.05).sqrt();
    let sd = (0.2f64 / 1.8 + 0.05 / 1.95 - 0.02 / (0.25 - 0.01)).sqrt();
    row[SLOPE] = (ewma(0.2) - ewma(0.05)) / sd;
    let (mut up, mut down, mut p, mut f, mut l) = (0.0f64, 0.0f64, 0.0, 1.0f64, 1.0f64);
    let (mut median, mut mad, mut before) = (0.0, 0.6745f64, 0.0);
    let (mut product, mut square, mut r) = (0.0, 1.0f64, 1.0f64);
    for &u in us {
        up = (up + u - 0.5).clamp(0.0, 20.0);
        down = (down - u - 0.5).clamp(0.0, 20.0);
        p += (u.clamp(-1.0, 1.0) - p) / 12.0;
        f += 0.15 * (u * u - f);
        l += ((u * u).min(9.0 * l) - l) / 360.0;
        if present {
            row[ROBUST_Z] = (u - median) / (1.4826 * mad.max(0.2));
        }
        median += 0.02 * (4.0 * (u - median)).clamp(-1.0, 1.0);
        let off: f64 = (u - median).abs();
        mad = (mad + 0.02 * (4.0 * (off - mad)).clamp(-1.0, 1.0)).max(0.0);
        let residual = u - (product / square.max(0.05)).clamp(-0.95, 0.98) * before;
        if present {
            row[AR_RESIDUAL] = residual / r.max(0.05).sqrt();
        }
        r += ((residual * residual).min(9.0 * r) - r) / 360.0;
        let (a, b): (f64, f64) = (u.clamp(-4.0, 4.0), before);
        product += (a * b.clamp(-4.0, 4.0) - product) / 360.0;
        square += (b.clamp(-4.0, 4.0).powi(2) - square) / 360.0;
        before = u;
    }
    (row[CUSUM_UP], row[CUSUM_DOWN], row[PERSISTENCE]) = (up, -down, p);
    row[SPREAD] = 0.5 * ((f + 0.1) / (l + 0.1)).ln();
    row[MEMORY] = (product / square.max(0.05)).clamp(-0.95, 0.98);
    for at in [EWMA_FAST, EWMA_SLOW, SLOPE, ROBUST_Z, AR_RESIDUAL] {
        row[at] = row[at].clamp(-20.0, 20.0);
    }
    row
}
