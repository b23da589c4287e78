//! One series of numbers to levels: voices, what recurs, how rare, all together.
//!
//! `level = -log10` of how often something like this comes: the cubic mean of the voices' levels, so that
//! one loud voice counts for more than several murmurs and yet does not decide alone.

use super::{
    recurrence::Recurrence,
    tail::Tail,
    voices::{SPEAKING, VOICES, Voices, WEIGHTS},
};

/// Exponent of the mean over voices.
const POWER: i32 = 3;
/// Most that one series may say: a metric that has never moved before must not outshout all others.
const MOST: f64 = 6.0;
/// Rows after which a series' own past has half the say.
const HALF: f64 = 100.0;
/// Most spreads beyond all that was seen.
const FARTHEST: f64 = 50.0;

/// What one value is to its series.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Heard {
    /// 0 = usual, 3 = once in about a thousand rows; what recurs daily damped.
    pub(crate) level: f64,
    /// The same, nothing damped.
    pub(crate) plain: f64,
    /// Each voice's deviation and level, nothing damped.
    pub(crate) deviations: [f64; VOICES],
    pub(crate) levels: [f64; VOICES],
    /// Which way the last step and the last two rows went.
    pub(crate) directions: [f64; 2],
    /// Spreads beyond all values before.
    pub(crate) beyond: f64,
    pub(crate) sameness: f64,
    pub(crate) roughness: f64,
}

/// The state of one series.
#[derive(Clone, Debug)]
pub(crate) struct Sensor {
    voices: Voices,
    tails: [Tail; VOICES],
    recurrences: Option<Box<[Recurrence; SPEAKING]>>,
    rows: f64,
    seen: (f64, f64),
}

impl Sensor {
    /// Of a series that is alone, or of one dimension of many. Alone, what comes every day is damped.
    pub(crate) fn new(is_alone: bool) -> Self {
        Self {
            voices: Voices::new(is_alone),
            tails: Default::default(),
            recurrences: is_alone.then(Box::default),
            rows: 0.0,
            seen: (f64::MAX, f64::MIN),
        }
    }

    /// Takes the next value. Not finite = missing: no answer, and nothing is learnt. Cost: 1 us, 3 us alone.
    pub(crate) fn row(&mut self, seconds: f64, value: f64) -> Option<Heard> {
        if !value.is_finite() {
            return None;
        }
        let value = value.clamp(-1e300, 1e300);
        let deviations = self.voices.row(seconds, value);
        let trust = self.rows / (self.rows + HALF);
        self.rows += 1.0;
        let mut levels = [0.0; VOICES];
        let (mut damped, mut plain) = (0.0, 0.0);
        for (voice, &deviation) in deviations.iter().enumerate().filter(|(voice, _)| self.voices.is_heard(*voice)) {
            let tail = &mut self.tails[voice];
            levels[voice] = (tail.hear(deviation) * trust).clamp(0.0, MOST);
            if voice < SPEAKING {
                let is_news = self.recurrences.as_mut().is_none_or(|recurrences| recurrences[voice].is_news(seconds, deviation));
                let level = if is_news { levels[voice] } else { (tail.lowest() * trust).clamp(0.0, MOST) };
                damped += WEIGHTS[voice] * level.powi(POWER);
                plain += WEIGHTS[voice] * levels[voice].powi(POWER);
            }
        }
        let all = WEIGHTS.iter().sum::<f64>();
        Some(Heard {
            level: (damped / all).cbrt(),
            plain: (plain / all).cbrt(),
            deviations,
            levels,
            directions: self.voices.directions(),
            beyond: self.beyond(value),
            sameness: self.voices.sameness(),
            roughness: self.voices.roughness(),
        })
    }

    fn beyond(&mut self, value: f64) -> f64 {
        let (low, high) = self.seen;
        self.seen = (low.min(value), high.max(value));
        let (distance, spread) = ((value - high).max(low - value).max(0.0), self.voices.spread());
        if low > high || spread <= 0.0 { 0.0 } else { (distance / spread).min(FARTHEST) }
    }
}
