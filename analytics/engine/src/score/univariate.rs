//! One plain series of numbers, row by row, strictly causal.

use super::{alarm::Alarm, fading::Fading, sensor::Sensor};

/// What one row got.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Row {
    /// How anomalous this row and those just before it are, 0 to 1; 0.9 and more only where `alert`.
    pub score: f64,
    /// Whether an anomaly begins here.
    pub alert: bool,
}

/// From levels to rows.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Told {
    alarm: Alarm,
    fading: Fading,
}

impl Told {
    pub(crate) fn row(&mut self, level: f64) -> Row {
        let alert = self.alarm.row(level);
        Row { score: self.fading.row(level, alert), alert }
    }
}

/// Seconds that only go forward, within what calendars know.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seconds {
    last: f64,
}

impl Seconds {
    /// A time that is no number counts as the last one.
    pub(crate) fn read(&mut self, seconds: f64) -> f64 {
        if seconds.is_finite() {
            self.last = seconds.clamp(0.0, 1e10);
        }
        self.last
    }
}

/// Scores one series.
#[derive(Clone, Debug)]
pub struct Univariate {
    sensor: Sensor,
    told: Told,
    seconds: Seconds,
}

impl Default for Univariate {
    fn default() -> Self {
        Self { sensor: Sensor::new(true), told: Told::default(), seconds: Seconds::default() }
    }
}

impl Univariate {
    /// Takes the next row. A value that is not finite is a missing reading: nothing is learnt from it.
    pub fn row(&mut self, seconds: f64, value: f64) -> Row {
        let seconds = self.seconds.read(seconds);
        self.told.row(self.sensor.row(seconds, value))
    }
}
