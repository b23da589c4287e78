//! Soft evidence: how far each series has been from its band lately, flagged or not. A short
//! exponential mean per series, so that the ranking of causes sees the quiet parts of a chain too.

use super::hush::Hush;
use crate::window::SeriesIndex;
use geophone_proto::effect::ScoredWindow;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Weight of the newest window: about the last four count.
const FRESH: f32 = 0.4;
/// Weight of the newest window in the usual level: about the last half hour of 10 s windows.
const USUAL: f64 = 1.0 / 180.0;
/// Weight of the newest window in each of the two means of what stood before.
const STANDING: f64 = 1.0 / 9.0;
/// A window this far from its expectation (halves of the band) is to one side.
const ASIDE: f32 = 0.5;
/// Deviations beyond this many band halves tell nothing more.
const DEVIATION_MAX: f32 = 30.0;
/// Windows that a series is new.
const NEW_MAX: u16 = 18;
/// A pulse is fresh if its last value is at most so many windows old.
const FRESH_MAX: u8 = 3;
/// Windows without a value until a pulse is taken for over.
const SILENT_MAX: u8 = 18;

/// The last few windows of one series.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Pulse {
    /// Mean signed deviation in halves of the band: beyond 1 is outside.
    pub deviation: f32,
    /// Mean measured value.
    pub actual: f64,
    /// Mean expected value.
    pub expected: f64,
    /// Usual value over a long time.
    pub usual: f64,
    /// Measured less expected as it was a few minutes ago: two short means one after the other.
    standing: [f64; 2],
    /// Measured less expected of the last value.
    last: f64,
    /// Windows without a value before the last value, and before the one before it.
    gaps: [u8; 2],
    /// Weight collected so far, to correct the start.
    mass: f32,
    /// Whether each of the last windows was clearly above (first) or below its expectation, newest
    /// in the lowest bit.
    sides: [u32; 2],
    /// Windows since the last value.
    silent: u8,
    /// Windows with a value, saturating.
    pub seen: u16,
    /// Samples a window, the last few windows.
    pub count: f64,
    /// Samples a window, over a long time.
    pub usual_count: f64,
    /// Windows lived through, saturating.
    age: u16,
}

impl Pulse {
    /// Takes the number of samples of one window.
    fn count(&mut self, n: f64) {
        let first = 1.0 / (f64::from(self.age) + 1.0);
        self.count += (n - self.count) * f64::from(FRESH).max(first);
        self.usual_count += (n - self.usual_count) * USUAL.max(first);
        self.age = self.age.saturating_add(1);
    }

    /// Takes one window; NaN anywhere means nothing is known of it.
    fn beat(&mut self, actual: f64, expected: f64, lower: f64, upper: f64) {
        if !actual.is_finite() {
            self.silent = self.silent.saturating_add(1);
            if self.silent == SILENT_MAX {
                (self.deviation, self.mass) = (0.0, 0.0);
            }
            return;
        }
        if self.silent >= SILENT_MAX {
            // Whoever reports so seldom stood, until now, where the last reading was.
            self.standing = [self.last; 2];
        }
        self.gaps = [self.silent, self.gaps[0]];
        self.silent = 0;
        self.usual += (actual - self.usual) * USUAL.max(1.0 / (f64::from(self.seen) + 1.0));
        self.seen = self.seen.saturating_add(1);
        if !expected.is_finite() {
            return;
        }
        let half = if actual >= expected { upper - expected } else { expected - lower };
        let floor = (expected.abs() * 1e-3).max(1e-9);
        let half = if half.is_finite() { half.max(floor) } else { return };
        let deviation = ((actual - expected) / half) as f32;
        for (side, is_there) in self.sides.iter_mut().zip([deviation > ASIDE, deviation < -ASIDE]) {
            *side = *side << 1 | u32::from(is_there);
        }
        self.last = actual - expected;
        self.standing[0] += STANDING * (actual - expected - self.standing[0]);
        self.standing[1] += STANDING * (self.standing[0] - self.standing[1]);
        self.mass += FRESH * (1.0 - self.mass);
        let share = FRESH / self.mass;
        self.deviation += share * (deviation.clamp(-DEVIATION_MAX, DEVIATION_MAX) - self.deviation);
        self.actual += f64::from(share) * (actual - self.actual);
        self.expected += f64::from(share) * (expected - self.expected);
    }

    /// For how many windows it has been to this side, two exceptions in a row forgiven; at most 32.
    pub fn lasting(&self, up: bool) -> u32 {
        let side = self.sides[usize::from(!up)];
        let mut count = 0;
        for ago in 0..32 {
            if side >> ago & 1 == 1 {
                count = ago + 1;
            } else if ago + 1 - count > 2 {
                break;
            }
        }
        count
    }

    /// Whether the last two values were both to this side.
    pub const fn again(&self, up: bool) -> bool {
        self.sides[!up as usize] & 0b11 == 0b11
    }

    /// The same pulse, held against what it stood at before instead of what was expected.
    pub fn beyond(mut self, standing: f64) -> Self {
        let (whole, part) = (self.actual - self.expected, self.actual - self.expected - standing);
        if whole * part > 0.0 && whole.abs() > 1e-12 {
            self.deviation *= (part / whole).min(1.0) as f32;
            self.expected += standing;
        } else {
            self.deviation = 0.0;
            self.expected = self.actual;
        }
        self
    }

    /// Measured over expected; 1 where nothing is known.
    pub fn ratio(&self) -> f64 {
        if self.mass > 0.0 && self.expected.abs() > 1e-12 { self.actual / self.expected } else { 1.0 }
    }

    /// Windows between readings that come so seldom that a pulse is over meanwhile; 0 of others.
    pub fn apart(&self) -> u32 {
        let least = self.gaps[0].min(self.gaps[1]);
        if least >= SILENT_MAX { u32::from(least) } else { 0 }
    }

    /// Samples a window that are usual, if there were none before the series was first seen.
    pub fn usual_count_since_ever(&self) -> f64 {
        self.usual_count * (f64::from(self.age) * USUAL).min(1.0)
    }

    /// Whether the series itself is new: nothing is known of what is usual.
    pub fn is_new(&self) -> bool {
        self.age <= NEW_MAX
    }

    /// Whether one of the last few windows had a value that could be held against a band.
    pub fn is_fresh(&self) -> bool {
        self.mass > 0.0 && self.silent <= FRESH_MAX
    }

    /// Whether a band has been known and values seen lately.
    pub fn alive(&self) -> bool {
        self.mass > 0.0
    }
}

/// The pulses of all series.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Pulses {
    of: Vec<Pulse>,
    /// Whether anybody is heard.
    pub hush: Hush,
}

impl Pulses {
    /// Takes a scored window; `rows` names the series and samples of each row. Cost: a few operations a row.
    pub fn beat(&mut self, rows: &[(SeriesIndex, f64)], window: &ScoredWindow) {
        if let Some(last) = rows.iter().map(|(series, _)| series).max().filter(|last| self.of.len() <= **last as usize) {
            self.of.resize(*last as usize + 1, Pulse::default());
        }
        let values = window.actual.iter().zip(&window.expected).zip(window.lower.iter().zip(&window.upper));
        for ((series, n), ((actual, expected), (lower, upper))) in rows.iter().zip(values) {
            self.of[*series as usize].count(*n);
            self.of[*series as usize].beat(*actual, *expected, *lower, *upper);
        }
    }

    /// What stands out already, by series: measured less expected as it was a few minutes ago.
    pub fn standing(&self) -> BTreeMap<SeriesIndex, f64> {
        let all = (0..).zip(&self.of).filter(|(_, pulse)| pulse.alive() && pulse.deviation.abs() > ASIDE);
        all.map(|(series, pulse)| (series, pulse.standing[1])).filter(|(_, standing)| *standing != 0.0).collect()
    }

    /// The pulse of a series; a dead one if it was never seen.
    pub fn of(&self, series: SeriesIndex) -> Pulse {
        self.of.get(series as usize).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_and_endless_values_leave_no_trace() {
        let mut pulse = Pulse::default();
        pulse.beat(f64::NAN, 1.0, 0.5, 1.5);
        pulse.beat(1.0, f64::NAN, f64::NAN, f64::NAN);
        assert!(!pulse.alive() && (pulse.ratio() - 1.0).abs() < 1e-12);
        pulse.beat(1e300, 1.0, 0.5, 1.5);
        assert!(pulse.deviation <= DEVIATION_MAX && pulse.deviation.is_finite());
        (0..SILENT_MAX).for_each(|_| pulse.beat(f64::NAN, 1.0, 0.5, 1.5));
        assert!(!pulse.alive());
    }

    #[test]
    fn a_run_forgives_two_exceptions() {
        let mut pulse = Pulse::default();
        let mut beat = |value: f64| pulse.beat(value, 1.0, 0.5, 1.5);
        [1.0, 3.0, 1.0, 1.0, 1.0, 3.0, 3.0, 1.0, 3.0].into_iter().for_each(&mut beat);
        assert_eq!((pulse.lasting(true), pulse.lasting(false)), (4, 0));
        assert!(!pulse.again(true), "the one before was as usual");
        pulse.beat(3.0, 1.0, 0.5, 1.5);
        pulse.beat(f64::NAN, 1.0, 0.5, 1.5);
        assert!(pulse.again(true) && !pulse.again(false), "a window without a value is no reading");
    }

    #[test]
    fn what_a_seldom_reading_said_stands_until_the_next_and_one_gap_makes_none_seldom() {
        let mut pulse = Pulse::default();
        let mut read = |value: f64, gap: u8| {
            (0..gap).for_each(|_| pulse.beat(f64::NAN, 1.0, 0.5, 1.5));
            pulse.beat(value, 1.0, 0.5, 1.5);
            pulse
        };
        assert_eq!(read(1.0, 0).apart(), 0);
        assert_eq!(read(4.0, 29).apart(), 0, "it may have been away");
        let again = read(4.0, 29);
        assert_eq!(again.apart(), 29);
        assert!(again.beyond(again.standing[1]).deviation.abs() < 0.2 * again.deviation, "it stood there before");
    }

    #[test]
    fn the_first_window_counts_fully() {
        let mut pulse = Pulse::default();
        pulse.beat(3.0, 1.0, 0.5, 1.5);
        assert!((pulse.deviation - 4.0).abs() < 1e-6 && (pulse.ratio() - 3.0).abs() < 1e-6);
    }
}
