//! Levels that fade: high where something happens, and for a while after.
//!
//! An anomaly is seldom one row; what has just happened is worth a look for the next hour. So a level
//! fades instead of ending with its row: fast at first, and what remains of a real event slowly.

/// Rows in which a level falls to 1/e.
const FAST: f64 = 40.0;
/// The same for the part up to `REMAINS`.
const SLOW: f64 = 400.0;
/// Level that remains of any larger one.
const REMAINS: f64 = 1.65;
/// Rows over which levels are averaged, and how much of that mean is added: where much happens at length, less is
/// needed to be worth a look.
const AT_LENGTH: f64 = 200.0;
const ADDED: f64 = 0.25;

/// The highest level of late, fading.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Fading {
    top: f64,
    age: f64,
    mean: f64,
}

impl Fading {
    /// The level, or what is left of a higher one, and a part of the mean level.
    pub(crate) fn level(&mut self, level: f64) -> f64 {
        self.age += 1.0;
        let held = (self.top * (-self.age / FAST).exp()).max(self.top.min(REMAINS) * (-self.age / SLOW).exp());
        if level >= held {
            (self.top, self.age) = (level, 0.0);
        }
        self.mean += (level - self.mean) / AT_LENGTH;
        level.max(held) + ADDED * self.mean
    }
}
