//! Seeded series as services make them at low traffic, with faults and harmless events, for tests.

use crate::window::{ClosedWindow, Stat, StatKind, WindowRow};

/// SplitMix64: small, seeded, good enough for tests.
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x6765_6f70)
    }

    pub(crate) fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }

    pub(crate) fn normal(&mut self) -> f64 {
        let (a, b) = (self.uniform().max(1e-300), self.uniform());
        (-2.0 * a.ln()).sqrt() * (std::f64::consts::TAU * b).cos()
    }

    pub(crate) fn poisson(&mut self, mean: f64) -> u32 {
        if mean > 50.0 {
            return (mean + mean.sqrt() * self.normal()).round().max(0.0) as u32;
        }
        let (limit, mut product, mut count) = ((-mean).exp(), self.uniform(), 0);
        while product > limit {
            product *= self.uniform();
            count += 1;
        }
        count
    }
}

/// What happens to an operation, from window `from` until `to`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Event {
    pub(crate) from: usize,
    pub(crate) to: usize,
    /// Factors on rate and duration, added share of errors, added per window on the gauge in its sd.
    pub(crate) rate: f64,
    pub(crate) slower: f64,
    pub(crate) errors: f64,
    pub(crate) drift: f64,
    /// Windows over which the rate's factor comes and goes.
    pub(crate) ramp: usize,
}

impl Event {
    pub(crate) const NONE: Self = Self { from: usize::MAX, to: usize::MAX, rate: 1.0, slower: 1.0, errors: 0.0, drift: 0.0, ramp: 0 };

    fn strength(&self, t: usize) -> f64 {
        if t < self.from || t >= self.to {
            return 0.0;
        }
        let edge = (t - self.from + 1).min(self.to - t) as f64;
        if self.ramp == 0 { 1.0 } else { (edge / self.ramp as f64).min(1.0) }
    }
}

/// One operation: rate, errors, durations, and a gauge of its process.
#[derive(Clone, Debug)]
pub(crate) struct Operation {
    pub(crate) dice: Dice,
    /// Spans a window.
    pub(crate) rate: f64,
    pub(crate) error_share: f64,
    pub(crate) log_sd: f64,
    /// Windows a day, and its amplitude.
    pub(crate) day: (f64, f64),
    pub(crate) event: Event,
    pub(crate) gauge: f64,
    pub(crate) drift: f64,
    /// Of the gauge, from window to window.
    pub(crate) memory: f64,
}

/// The kinds of series of one operation, in order.
pub(crate) const KINDS: [StatKind; 4] = [StatKind::Count, StatKind::Share, StatKind::LogMean, StatKind::Level];

impl Operation {
    pub(crate) fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let rate = 1.0 + 4.0 * dice.uniform();
        let error_share = if dice.uniform() < 0.5 { 0.0 } else { 0.01 * dice.uniform() };
        let log_sd = 0.2 + 0.6 * dice.uniform();
        let memory = if dice.uniform() < 0.5 { 0.0 } else { 0.8 };
        Self { dice, rate, error_share, log_sd, day: (8640.0, 0.4), event: Event::NONE, gauge: 0.0, drift: 0.0, memory }
    }

    /// Sums of window `t`, in the order of `KINDS`.
    pub(crate) fn window(&mut self, t: usize) -> [Stat; 4] {
        let strength = self.event.strength(t);
        let shape = 1.0 + self.day.1 * (std::f64::consts::TAU * t as f64 / self.day.0).sin();
        let n = self.dice.poisson(self.rate * shape * (1.0 + strength * (self.event.rate - 1.0)));
        let shift = (0.05f64).ln() + strength * self.event.slower.ln();
        let (mut errors, mut log) = (0.0, Stat::default());
        for _ in 0..n {
            errors += f64::from(u8::from(self.dice.uniform() < self.error_share + strength * self.event.errors));
            let value = shift + self.log_sd * self.dice.normal();
            log = Stat { n: log.n + 1.0, s1: log.s1 + value, s2: log.s2 + value * value };
        }
        self.gauge = self.memory * self.gauge + (1.0 - self.memory * self.memory).sqrt() * self.dice.normal();
        self.drift = if strength > 0.0 { self.drift + self.event.drift } else { 0.0 };
        let gauge = 400.0 + 5.0 * (self.gauge + self.drift);
        let n = f64::from(n);
        [Stat { n, s1: n, s2: 0.0 }, Stat { n, s1: errors, s2: 0.0 }, log, Stat { n: 1.0, s1: gauge, s2: gauge * gauge }]
    }
}

/// The window `t` of all operations, four series each.
pub(crate) fn closed(operations: &mut [Operation], t: usize) -> ClosedWindow {
    const LENGTH_NS: u64 = 10_000_000_000;
    let mut rows = Vec::with_capacity(operations.len() * 4);
    for operation in operations {
        for (stat, kind) in operation.window(t).into_iter().zip(KINDS) {
            let shown = match kind {
                StatKind::Count => stat.s1 / 10.0,
                StatKind::Share | StatKind::Level => stat.s1 / stat.n,
                StatKind::LogMean => (stat.s1 / stat.n).exp(),
            };
            rows.push(WindowRow { series: rows.len() as u32, stat, shown, exemplars: Vec::new() });
        }
    }
    ClosedWindow {
        start_ns: 1_700_000_000_000_000_000 / LENGTH_NS * LENGTH_NS + t as u64 * LENGTH_NS,
        length_ns: LENGTH_NS,
        amended: false,
        rows,
    }
}
