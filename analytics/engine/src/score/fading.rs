//! Levels that fade: high where something happens, and for a while after.
//!
//! An anomaly is seldom one row; what has just happened is worth a look for the next hour. So a level
//! fades instead of ending with its row: fast at first, and what remains of a real event slowly.

/// Rows in which a level falls to 1/e.
const FAST: f64 = 50.0;
/// The same for the part up to `REMAINS`.
const SLOW: f64 = 400.0;
/// Level that remains of any larger one.
const REMAINS: f64 = 1.65;

/// The highest level of late, fading.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Fading {
    top: f64,
    age: f64,
}

impl Fading {
    /// The level, or what is left of a higher one.
    pub(crate) fn level(&mut self, level: f64) -> f64 {
        self.age += 1.0;
        let held = (self.top * (-self.age / FAST).exp()).max(self.top.min(REMAINS) * (-self.age / SLOW).exp());
        if level >= held {
            (self.top, self.age) = (level, 0.0);
        }
        level.max(held)
    }
}
