//! How rare a deviation is in its own series: streaming tail calibration in bounded memory.
//!
//! A histogram of `log2 z` (four bins an octave) gives the empirical survival `S(z) = (above + 0.5) / (n + 1)`;
//! above the 90th percentile `u` a Pareto tail takes over, `S(z) = S(u) (z / u)^(-1 / xi)`: the generalised
//! Pareto of SPOT (Siffert et al. 2017) for the logarithm of a deviation, where it is an exponential, with
//! Hill's estimator (1975) `xi` = mean of `ln(z / u)` above `u`. A belief worth `BELIEF` excesses of a tail of
//! index `INDEX` is mixed in, so that a series is judged from its first rows on and no single event
//! moves it. Nothing is forgotten: rare means rare in all that was seen.

/// Bins an octave.
const FINE: f64 = 4.0;
/// Lowest edge in octaves; odd, so that simple ratios do not lie on an edge.
const LOWEST: f64 = -8.037;
/// Bins: up to an octave of 14.
const BINS: usize = 88;
/// Share of rows above the threshold of the Pareto tail.
const EXCEEDING: f64 = 0.1;
/// Tail index believed before any is seen: lighter than a cubic law, heavier than a normal one.
const INDEX: f64 = 8.0;
/// Excesses that belief is worth.
const BELIEF: f64 = 100.0;
/// Rows before the histogram is asked.
const FIRST: f64 = 10.0;
/// Rows between two readings of the histogram, at most.
const STALE: f64 = 200.0;

/// The past of one voice of one series.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tail {
    counts: [f32; BINS],
    /// `-log10` of the survival at each bin's lower edge, as of the last reading.
    levels: [f32; BINS + 1],
    rows: f64,
    read_again_at: f64,
    /// Bin above which the Pareto tail holds, its level there, and levels a bin.
    threshold: (f64, f64, f64),
}

impl Default for Tail {
    fn default() -> Self {
        let threshold = (BINS as f64, 0.0, 0.0);
        Self { counts: [0.0; BINS], levels: [0.0; BINS + 1], rows: 0.0, read_again_at: FIRST, threshold }
    }
}

/// Place of a deviation among the bins, with fraction.
fn bin(z: f64) -> f64 {
    ((z.max(1e-9).log2() - LOWEST) * FINE).clamp(0.0, BINS as f64 - 1.0)
}

impl Tail {
    /// `-log10` of the probability of a deviation this large among those seen before; then learns it. In
    /// spreads, not negative. Cost: a logarithm.
    pub(crate) fn hear(&mut self, seen: f64) -> f64 {
        let place = bin(seen);
        let level = if self.rows < FIRST { 0.3 * seen.min(8.0) } else { self.read(place) };
        self.counts[place as usize] += 1.0;
        self.rows += 1.0;
        level
    }

    /// The level of no deviation at all.
    pub(crate) fn lowest(&self) -> f64 {
        f64::from(self.levels[0])
    }

    fn read(&mut self, place: f64) -> f64 {
        if self.rows >= self.read_again_at {
            self.refresh();
            self.read_again_at = self.rows + (0.03 * self.rows).min(STALE);
        }
        let (threshold, level, per_bin) = self.threshold;
        if place >= threshold {
            return level + (place - threshold) * per_bin;
        }
        let low = place as usize;
        let part = place - low as f64;
        f64::from(self.levels[low]) * (1.0 - part) + f64::from(self.levels[low + 1]) * part
    }

    fn refresh(&mut self) {
        let most = EXCEEDING * self.rows;
        let (mut excesses, mut from) = (0.0, BINS);
        while from > 0 && excesses + f64::from(self.counts[from - 1]) <= most {
            from -= 1;
            excesses += f64::from(self.counts[from]);
        }
        let bins: f64 = (from..BINS).map(|at| f64::from(self.counts[at]) * (at as f64 + 0.5 - from as f64)).sum();
        let octaves = bins / FINE * std::f64::consts::LN_2;
        let xi = (octaves + BELIEF / INDEX) / (excesses + BELIEF);
        let survival = (excesses + BELIEF * EXCEEDING) / (self.rows + BELIEF);
        self.threshold = (from as f64, -survival.log10(), std::f64::consts::LOG10_2 / FINE / xi);
        let mut above = 0.0;
        let mut level = 0.0;
        for at in (0..=BINS).rev() {
            let here = if at < BINS { f64::from(self.counts[at]) } else { 0.0 };
            // Above the threshold nobody asks, and an empty bin's level is the next one's.
            if at <= from && (here > 0.0 || at == from) {
                level = -((above + here + 0.5) / (self.rows + 1.0)).log10() as f32;
            }
            above += here;
            self.levels[at] = level;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::simulated::Dice;

    #[test]
    fn levels_of_normal_deviations_are_their_tail_probabilities() {
        let (mut dice, mut tail) = (Dice::new(3), Tail::default());
        let mut above = [0.0; 3];
        for row in 0..60_000 {
            let z = dice.normal().abs();
            let level = tail.hear(z);
            if row >= 10_000 {
                (0..3).for_each(|at| above[at] += f64::from(u8::from(level > at as f64 + 1.0)));
            }
        }
        for (at, count) in above.into_iter().enumerate() {
            let share = count / 50_000.0;
            let promised = 0.1f64.powi(at as i32 + 1);
            // The Pareto tail is heavier than the normal one: it promises at least as many as come.
            assert!(share < 1.3 * promised && share > [0.7, 0.3, 0.0][at] * promised, "level {} {share}", at + 1);
        }
    }

    #[test]
    fn what_happens_often_is_not_rare() {
        let mut tail = Tail::default();
        let sizes = (0..2000).map(|row| if row % 50 == 49 { 20.0 } else { 1.0 });
        let levels: Vec<f64> = sizes.map(|size| tail.hear(size)).collect();
        assert!(levels[99] > 5.0, "{}", levels[99]);
        assert!(levels[1999] < 3.5, "{}", levels[1999]);
    }
}
