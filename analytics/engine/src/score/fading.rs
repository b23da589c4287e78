//! The score stream: high where something happens, and for a while after.
//!
//! An anomaly is seldom one row; what has just happened is worth a look for the next hour. So a level
//! fades instead of ending with its row: fast at first, and what remains of a real event slowly. A
//! score of `ALERTING` or more is shown in rows that alert, and in no others.

use crate::detect::calibrate::score_of;

/// Rows in which a level falls to 1/e.
const FAST: f64 = 50.0;
/// The same for the part up to `REMAINS`.
const SLOW: f64 = 400.0;
/// Level that remains of any larger one.
const REMAINS: f64 = 1.65;
/// Least score of a row that alerts.
const ALERTING: f64 = 0.9;

/// The highest level of late, fading.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Fading {
    top: f64,
    age: f64,
}

impl Fading {
    /// The score shown, 0 to 1.
    pub(crate) fn row(&mut self, level: f64, alert: bool) -> f64 {
        self.age += 1.0;
        let held = (self.top * (-self.age / FAST).exp()).max(self.top.min(REMAINS) * (-self.age / SLOW).exp());
        if level >= held {
            (self.top, self.age) = (level, 0.0);
        }
        let shown = f64::from(score_of(level.max(held)));
        if alert { ALERTING + (1.0 - ALERTING) * shown } else { ALERTING * shown }
    }
}
