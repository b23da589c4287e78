//! The three recursions of the definition that feed back into themselves, as folds over columns.

use geophone_engine::window::StatKind;
use polars::prelude::*;

/// Sums over some windows.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sums {
    /// Samples.
    pub n: f64,
    /// First sum.
    pub s1: f64,
    /// Second sum.
    pub s2: f64,
    /// Windows that hold a sample.
    pub present: f64,
}

/// What is expected, and how well it did.
#[derive(Clone, Copy, Debug)]
pub struct Expectation {
    centre: f64,
    spread: f64,
    mass: f64,
    recent_centre: f64,
    recent_mass: f64,
    scales: [f64; 4],
    run: f64,
}

impl Default for Expectation {
    fn default() -> Self {
        Self { centre: 0.0, spread: 0.0, mass: 0.0, recent_centre: 0.0, recent_mass: 0.0, scales: [1.0; 4], run: 0.0 }
    }
}

impl Expectation {
    /// One window, given the sums over 1, 6 and 18 windows that end there: z_1, z_6, z_18, recent_1, recent_6,
    /// effect_6, effect_18; then learns.
    pub fn window(&mut self, kind: StatKind, t: usize, [one, short, long]: [&[Sums]; 3]) -> [f64; 7] {
        let (now, old) = (one[t], t.checked_sub(6).map(|past| one[past]));
        let known = (self.centre, self.spread, self.mass);
        let recent = (self.recent_centre, self.spread, self.recent_mass);
        let d = [
            deviation(kind, now, known),
            deviation(kind, short[t], known),
            deviation(kind, long[t], known),
            deviation(kind, short[t], recent),
        ];
        let scaled = |d: f64, scale: f64| (d / scale.max(1.0).sqrt()).clamp(-20.0, 20.0);
        let z: Vec<f64> = d.iter().zip(self.scales).map(|(d, scale)| scaled(*d, scale)).collect();
        let recent_1 = scaled(deviation(kind, now, recent), self.scales[0]);
        let effects = [(short[t], z[1]), (long[t], z[2])].map(|(sums, z)| self.effect(kind, sums, z));
        let is_young = self.is_young(kind, short[t], t);
        let trust = if is_young { 1.0 } else { self.trust([if now.present > 0.0 { z[0] } else { 0.0 }, z[1], z[2]]) };
        if now.present > 0.0 {
            let rate = if is_young { 0.0 } else { trust / ((t as f64 + 1.0).min(720.0) + 30.0) };
            for (scale, d) in self.scales.iter_mut().zip(d) {
                *scale += rate * ((d * d).min(9.0 * *scale) - *scale);
            }
            self.learn(kind, now, (trust, is_young), t);
        }
        if let Some(old) = old.filter(|old| old.present > 0.0) {
            let (weight, mean) = weight_and_mean(kind, old);
            self.recent_mass = self.recent_mass * (1.0 - 1.0 / 30.0) + weight;
            self.recent_centre += weight / self.recent_mass * (mean - self.recent_centre);
        }
        [z[0], z[1], z[2], recent_1, z[3], effects[0], effects[1]]
    }

    /// A level with a sample in less than every second of the last windows, and not yet worth nine of them.
    fn is_young(&self, kind: StatKind, short: Sums, t: usize) -> bool {
        kind == StatKind::Level && self.mass < 9.0 && 2.0 * short.present < (t as f64 + 1.0).min(6.0)
    }

    fn trust(&mut self, z: [f64; 3]) -> f64 {
        let long = z[2];
        self.run = match long.abs() {
            size if size > 3.0 && self.run * long >= 0.0 => self.run + long.signum(),
            size if size > 3.0 => long.signum(),
            size if size < 2.0 => 0.0,
            _ => self.run,
        };
        if self.run.abs() > 120.0 {
            self.mass *= 0.8;
            return 1.0;
        }
        let worst = (long.abs() / 3.0).max(z[1].abs() / 3.0).max(z[0].abs() / 4.0).max(1.0);
        worst.powi(-2)
    }

    fn learn(&mut self, kind: StatKind, now: Sums, (trust, is_young): (f64, bool), t: usize) {
        let (weight, mean) = weight_and_mean(kind, now);
        let is_first = self.mass == 0.0;
        self.mass = self.mass * (1.0 - trust / 360.0) + weight * trust;
        let alpha = weight * trust / self.mass;
        let inside = now.s2 / now.n;
        if is_first {
            self.spread = if kind == StatKind::LogMean { (inside - mean * mean).max(0.0) } else { 0.0 };
        } else {
            let off = mean - self.centre;
            let square = if kind == StatKind::LogMean {
                (inside - 2.0 * self.centre * mean + self.centre * self.centre).max(0.0)
            } else {
                off * off
            };
            let limit = if t >= 10 && self.spread > 0.0 && !is_young { 16.0 * self.spread } else { f64::INFINITY };
            self.spread += alpha * (square.min(limit) - self.spread);
        }
        self.centre += alpha * (mean - self.centre);
    }

    fn effect(&self, kind: StatKind, sums: Sums, z: f64) -> f64 {
        if sums.present <= 0.0 || self.mass <= 0.0 {
            return 0.0;
        }
        let value = match kind {
            StatKind::Count => ((sums.s1 + 1.0) / (sums.present * self.centre + 1.0)).ln(),
            StatKind::Share => 10.0 * (sums.s1 / sums.n - self.centre),
            StatKind::LogMean => sums.s1 / sums.n - self.centre,
            StatKind::Level => z / 8.0,
        };
        value.clamp(-20.0, 20.0)
    }
}

fn weight_and_mean(kind: StatKind, sums: Sums) -> (f64, f64) {
    match kind {
        StatKind::Count => (1.0, sums.s1),
        StatKind::Level => (1.0, sums.s1 / sums.n),
        StatKind::Share | StatKind::LogMean => (sums.n, sums.s1 / sums.n),
    }
}

/// Deviation of sums from a centre, in standard deviations.
fn deviation(kind: StatKind, sums: Sums, (centre, spread, mass): (f64, f64, f64)) -> f64 {
    if sums.present <= 0.0 || mass <= 0.0 {
        return 0.0;
    }
    let part = |seen: f64, expected: f64| if seen > 0.0 { seen * (seen / expected).ln() } else { 0.0 };
    let half = (centre * mass + 0.5) / (mass + 1.0);
    let value = match kind {
        StatKind::Count => {
            let expected = sums.present * half;
            let deviance = 2.0 * (part(sums.s1, expected) - (sums.s1 - expected));
            deviance.max(0.0).sqrt().copysign(sums.s1 - expected) / (1.0 + sums.present / mass).sqrt()
        }
        StatKind::Share => {
            let (hits, misses) = (sums.s1, sums.n - sums.s1);
            let deviance = 2.0 * (part(hits, sums.n * half) + part(misses, sums.n * (1.0 - half)));
            deviance.max(0.0).sqrt().copysign(hits - sums.n * half) / (1.0 + sums.n / mass).sqrt()
        }
        StatKind::LogMean => {
            let variance = (spread * mass + 2.5) / (mass + 10.0) * (1.0 / sums.n + 1.0 / mass);
            (sums.s1 / sums.n - centre) / variance.sqrt()
        }
        StatKind::Level => {
            let mean = sums.s1 / sums.n;
            let floor = 1e-10 * centre.abs().max(mean.abs());
            let variance = (spread * (1.0 + 6.0 / mass.max(1.0))).max(floor * floor) * (1.0 / sums.present + 1.0 / mass);
            if mean == centre { 0.0 } else { (mean - centre) / variance.sqrt() }
        }
    };
    if value.is_nan() { 0.0 } else { value.clamp(-50.0, 50.0) }
}

/// Adds the columns whose recursion clips itself: robust_z, square_slow, ar_residual, cusum_up, cusum_down.
pub fn clipped(mut seen: DataFrame) -> PolarsResult<DataFrame> {
    let column =
        |name: &str| -> PolarsResult<Vec<f64>> { Ok(seen.column(name)?.f64()?.iter().map(|value| value.unwrap_or(0.0)).collect()) };
    let (u, residual) = (column("u")?, column("residual")?);
    let first = seen.column("first")?.bool()?.iter().map(|first| first.unwrap_or(false)).collect::<Vec<bool>>();
    let (mut median, mut mad, mut slow, mut square, mut up, mut down) = (0.0f64, 0.6745f64, 1.0f64, 1.0f64, 0.0f64, 0.0f64);
    let rows: Vec<[f64; 5]> = (0..u.len())
        .map(|row| {
            if first[row] {
                return [0.0, 1.0, 0.0, 0.0, 0.0];
            }
            let (u, residual) = (u[row], residual[row]);
            let robust = (u - median) / (1.4826 * mad.max(0.2));
            median += 0.02 * (4.0 * (u - median)).clamp(-1.0, 1.0);
            mad = (mad + 0.02 * (4.0 * ((u - median).abs() - mad)).clamp(-1.0, 1.0)).max(0.0);
            slow += ((u * u).min(9.0 * slow) - slow) / 360.0;
            let standard = residual / square.max(0.05).sqrt();
            square += ((residual * residual).min(9.0 * square) - square) / 360.0;
            up = (up + u - 0.5).clamp(0.0, 20.0);
            down = (down - u - 0.5).clamp(0.0, 20.0);
            [robust, slow, standard, up, down]
        })
        .collect();
    for (place, name) in ["robust_z", "square_slow", "ar_residual", "cusum_up", "cusum_down"].into_iter().enumerate() {
        seen.with_column(Column::new(name.into(), rows.iter().map(|row| row[place]).collect::<Vec<f64>>()))?;
    }
    Ok(seen)
}

/// The usual value at half hour `bin` since 1970: the mean of the same half hour of earlier days, fading, if
/// there were two. `means` ascends.
pub fn usual(means: &[(u64, f64)], bin: u64) -> Option<f64> {
    let (mut mean, mut days) = (0.0f32, 0u8);
    for (_, value) in means.iter().filter(|(own, _)| own % 48 == bin % 48 && *own < bin) {
        days = days.saturating_add(1);
        mean += (1.0 / f32::from(days)).max(0.25) * (*value as f32 - mean);
    }
    (days >= 2).then(|| f64::from(mean))
}
