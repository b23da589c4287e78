//! One series of numbers to one level: voices, what recurs, how rare, all together.
//!
//! `level = -log10` of how often something like this comes: the cubic mean of the voices' levels, so that
//! one loud voice counts for more than several murmurs and yet does not decide alone.

use super::{
    recurrence::Recurrence,
    tail::Tail,
    voices::{VOICES, Voices, WEIGHTS},
};

/// Exponent of the mean over voices.
const POWER: i32 = 3;
/// Most that one series may say: a metric that has never moved before must not outshout all others.
const MOST: f64 = 6.0;
/// Rows after which a series' own past has half the say.
const HALF: f64 = 100.0;

/// The state of one series.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sensor {
    voices: Voices,
    tails: [Tail; VOICES],
    recurrences: Option<Box<[Recurrence; VOICES]>>,
    rows: f64,
}

impl Sensor {
    /// One that damps what comes every day, or does not.
    pub(crate) fn new(knows_days: bool) -> Self {
        Self { recurrences: knows_days.then(Box::default), ..Self::default() }
    }

    /// The level of this value: 0 = usual, 3 = once in about a thousand rows. Not finite = missing: 0, and
    /// nothing is learnt. Cost: about 0.3 us.
    pub(crate) fn row(&mut self, seconds: f64, value: f64) -> f64 {
        if !value.is_finite() {
            return 0.0;
        }
        let deviations = self.voices.row(value.clamp(-1e300, 1e300));
        let trust = self.rows / (self.rows + HALF);
        self.rows += 1.0;
        let mut sum = 0.0;
        for (voice, &deviation) in deviations.iter().enumerate() {
            let news = match &mut self.recurrences {
                Some(recurrences) => recurrences[voice].news(seconds, deviation),
                None => deviation,
            };
            let level = (self.tails[voice].level(news, deviation) * trust).clamp(0.0, MOST);
            sum += WEIGHTS[voice] * level.powi(POWER);
        }
        (sum / WEIGHTS.iter().sum::<f64>()).cbrt()
    }
}
