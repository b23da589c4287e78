//! The voices of one series: residuals of simple forecasts, each free of units.
//!
//! *Jump(k, m)*: the last k values all lie on one side of the mean of the m values before them; its size is
//! the smallest of their distances. k = 1 sees spikes, k = 2 and 3 see steps and are blind to single odd
//! values, k = 5 and 10 see shifts. *Unrest*: root mean square of the last 32 residuals of an EWMA (Roberts
//! 1959): the length of the window's deviation from the usual level, which is most of what sub-sequence PCA
//! measures. *Distance*: one residual, or the mean of eight. *Calm*: how much smaller steps have become.
//! *Outside* and *novelty* (`daily.rs`, `novelty.rs`) only where one series is all there is.
//!
//! Alone, the quickest jumps are measured by what is usual at this time of day (`daytime.rs`).
//!
//! The first `SPEAKING` make the level by weight; the others are heard by the forest only.

use super::{
    daily::Hull,
    daytime::Daytime,
    novelty::Novelty,
    scale::{Extent, Scale},
};

/// Jumps: rows of the event, rows before it.
const JUMPS: [(usize, usize); 7] = [(1, 1), (1, 3), (2, 3), (2, 10), (3, 10), (5, 50), (10, 99)];
/// Their places among the voices.
const PLACES: [usize; JUMPS.len()] = [0, 1, 2, 3, 4, 11, 12];
/// Voices that make the level, and their weights: five jumps and the unrest.
pub(crate) const SPEAKING: usize = 6;
pub(crate) const WEIGHTS: [f64; SPEAKING] = [2.0, 0.5, 0.5, 1.0, 0.5, 2.0];
/// Jumps whose spread follows the time of day, and whether what is of late as well: those of single rows.
const DAYTIME: [bool; 3] = [true, false, false];
/// Number of voices.
pub(crate) const VOICES: usize = 15;
/// Their names, in order.
pub(crate) const NAMES: [&str; VOICES] = [
    "jump_1_1",
    "jump_1_3",
    "jump_2_3",
    "jump_2_10",
    "jump_3_10",
    "unrest",
    "slow_unrest",
    "distance",
    "slow_distance",
    "outside",
    "novelty",
    "jump_5_50",
    "jump_10_99",
    "calm",
    "shift",
];
const UNREST: usize = 5;
const SLOW_UNREST: usize = 6;
const DISTANCE: usize = 7;
const SLOW_DISTANCE: usize = 8;
const OUTSIDE: usize = 9;
const NOVELTY: usize = 10;
const CALM: usize = 13;
const SHIFT: usize = 14;

/// Rows of the unrest.
const ROWS: usize = 32;
/// Steps of the levels: of the unrest, of the distance, of the slow ones.
const STEP: f64 = 0.02;
const QUICK: f64 = 0.05;
const SLOW: f64 = 0.003;
/// Rows whose mean is the shift; rows of the newest steps and of all, for the calm.
const SHIFTED: usize = 8;
const NEWEST: f64 = 16.0;
const ALL: f64 = 1000.0;
/// Steps no larger than this share of the usual are no calmer.
const STILL: f64 = 0.01;
/// Largest step that the usual one learns, in usual ones.
const CLIP: f64 = 4.0;
/// Values kept for the jumps.
const KEPT: usize = 109;

/// The sum of what each value says, in lanes that do not wait for each other.
fn sum(values: &[f64], of: impl Fn(f64) -> f64) -> f64 {
    const LANES: usize = 8;
    let mut sums = [0.0; LANES];
    let all = values.chunks_exact(LANES);
    let rest: f64 = all.remainder().iter().map(|value| of(*value)).sum();
    for values in all {
        sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += of(*value));
    }
    sums.iter().sum::<f64>() + rest
}

/// Root mean square of the last residuals.
#[derive(Clone, Copy, Debug)]
struct Unrest([f64; ROWS]);

impl Unrest {
    fn row(&mut self, rows: usize, deviation: f64) -> f64 {
        self.0[rows % ROWS] = deviation * deviation;
        (sum(&self.0, |square| square) / ROWS.min(rows) as f64).sqrt()
    }
}

/// What needs the past of one series and no other: too dear for each of many dimensions.
#[derive(Clone, Debug)]
struct Alone {
    hull: Hull,
    novelty: Novelty,
    daytimes: [Daytime; DAYTIME.len()],
}

impl Default for Alone {
    fn default() -> Self {
        Self { hull: Hull::default(), novelty: Novelty::default(), daytimes: DAYTIME.map(Daytime::new) }
    }
}

/// What the forecasts need of the past.
#[derive(Clone, Debug)]
pub(crate) struct Voices {
    extent: Extent,
    /// Newest first, as many as there are.
    recent: [f64; KEPT],
    rows: usize,
    scales: [Scale; VOICES],
    levels: [f64; 3],
    unrests: [Unrest; 2],
    /// Mean step of late and of always, and share of rows without one.
    steps: (f64, f64, f64),
    alone: Option<Box<Alone>>,
}

impl Voices {
    /// Of a series that is alone, or of one dimension of many.
    pub(crate) fn new(is_alone: bool) -> Self {
        Self {
            extent: Extent::default(),
            recent: [0.0; KEPT],
            rows: 0,
            scales: [Scale::default(); VOICES],
            levels: [0.0; 3],
            unrests: [Unrest([0.0; ROWS]); 2],
            steps: (0.0, 0.0, 0.0),
            alone: is_alone.then(Box::default),
        }
    }

    /// Deviations in spreads, not negative; the value is finite.
    pub(crate) fn row(&mut self, seconds: f64, value: f64) -> [f64; VOICES] {
        self.extent.learn(value);
        self.recent.copy_within(..KEPT - 1, 1);
        self.recent[0] = value;
        self.rows += 1;
        if self.rows == 1 {
            self.levels = [value; 3];
        }
        let mut deviations = [0.0; VOICES];
        for (jump, place) in PLACES.into_iter().enumerate() {
            deviations[place] = self.jumped(jump, place, seconds);
        }
        let residual = self.follow(UNREST, 0, STEP);
        deviations[UNREST] = self.unrests[0].row(self.rows, residual);
        deviations[DISTANCE] = self.follow(DISTANCE, 1, QUICK);
        deviations[SHIFT] = self.scales[SHIFT].deviation(self.shift(), &self.extent);
        deviations[SLOW_DISTANCE] = self.follow(SLOW_DISTANCE, 2, SLOW);
        deviations[SLOW_UNREST] = self.unrests[1].row(self.rows, deviations[SLOW_DISTANCE]);
        deviations[CALM] = self.calm();
        if let Some(alone) = &mut self.alone {
            let (outside, novelty) = (alone.hull.outside(seconds, value), alone.novelty.distance(value));
            deviations[OUTSIDE] = self.scales[OUTSIDE].deviation(self.extent.honest(outside), &self.extent);
            deviations[NOVELTY] = self.scales[NOVELTY].deviation(self.extent.honest(novelty), &self.extent);
        }
        deviations
    }

    /// Whether the voice is ever heard of this series.
    pub(crate) fn is_heard(&self, voice: usize) -> bool {
        self.alone.is_some() || !matches!(voice, OUTSIDE | NOVELTY)
    }

    /// Share of rows whose value was that of the row before.
    pub(crate) fn sameness(&self) -> f64 {
        self.steps.2
    }

    /// The usual step in usual distances from the slow level.
    pub(crate) fn roughness(&self) -> f64 {
        let spread = self.spread();
        if spread > 0.0 { (self.steps.1 / spread).min(CLIP) } else { 0.0 }
    }

    /// The usual distance from the slow level.
    pub(crate) fn spread(&self) -> f64 {
        self.scales[SLOW_DISTANCE].spread(&self.extent)
    }

    /// Which way the last step, and the last two rows against the ten before, went.
    pub(crate) fn directions(&self) -> [f64; 2] {
        [JUMPS[0], JUMPS[3]].map(|(event, before)| {
            let jump = if self.rows > event { self.jump(event, before) } else { 0.0 };
            if jump == 0.0 { 0.0 } else { jump.signum() }
        })
    }

    /// The deviation of a jump; 0 while there are too few rows.
    fn jumped(&mut self, jump: usize, place: usize, seconds: f64) -> f64 {
        let (event, before) = JUMPS[jump];
        if self.rows <= event {
            return 0.0;
        }
        let (size, scale) = (self.jump(event, before), &mut self.scales[place]);
        let usual = scale.spread(&self.extent);
        let deviation = scale.deviation(size, &self.extent);
        match &mut self.alone {
            Some(alone) if jump < DAYTIME.len() => deviation * alone.daytimes[jump].factor(seconds, size.abs(), usual),
            _ => deviation,
        }
    }

    fn jump(&self, event: usize, before: usize) -> f64 {
        let past = &self.recent[event..(event + before).min(self.rows)];
        let near = self.recent[event];
        let mean = sum(past, |old| old - near) / past.len() as f64;
        let (mut low, mut high) = (f64::MAX, f64::MIN);
        for &value in &self.recent[..event] {
            let distance = self.extent.honest((value - near) - mean);
            (low, high) = (low.min(distance), high.max(distance));
        }
        if low > 0.0 { low } else { high.min(0.0) }
    }

    /// The residual of a level in spreads; then the level follows.
    fn follow(&mut self, voice: usize, level: usize, step: f64) -> f64 {
        let residual = self.extent.honest(self.recent[0] - self.levels[level]);
        let scale = &mut self.scales[voice];
        let deviation = scale.deviation(residual, &self.extent);
        self.levels[level] += scale.clipped(residual, &self.extent) * (1.0 / self.rows as f64).max(step);
        deviation
    }

    fn shift(&self) -> f64 {
        let newest = &self.recent[..SHIFTED.min(self.rows)];
        let mean = newest.iter().map(|value| value - self.levels[2]).sum::<f64>() / newest.len() as f64;
        self.extent.honest(mean)
    }

    fn calm(&mut self) -> f64 {
        let step = if self.rows > 1 { self.extent.honest(self.recent[0] - self.recent[1]).abs() } else { 0.0 };
        let rows = self.rows as f64;
        let (newest, usual, same) = &mut self.steps;
        *newest += (step - *newest) / rows.min(NEWEST);
        let counts = if *usual > 0.0 { step.min(CLIP * *usual) } else { step };
        *usual += (counts - *usual) / rows.min(ALL);
        *same += (f64::from(u8::from(step == 0.0)) - *same) / rows.min(ALL);
        if *usual > 0.0 { *usual / (*newest + STILL * *usual) } else { 0.0 }
    }
}
