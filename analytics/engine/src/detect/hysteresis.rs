//! What is open: opens on lasting evidence, closes after calm, once each.
//!
//! Not folded again for late rows: what was told is not untold; the next window decides on amended sums.

use serde::{Deserialize, Serialize};

/// Calm windows until it closes.
const CALM: u32 = 6;
/// Evidence until it opens, at 10 s a window: three strong windows, five clear ones, or more weaker ones.
const ENOUGH: f64 = 3.0;
/// One clear window is enough from this length on: it holds as much as three short ones.
const LONG_WINDOW_NS: f64 = 30e9;
/// So many times the limit leaves no doubt.
const CERTAIN: f64 = 1.7;
/// How much of the level of the last about 100 windows a new anomaly must reach.
const FRESH: f64 = 0.7;

/// Part of a new window in the heat: about the last two minutes of 10 s windows count.
const WARMING: f64 = 0.12;
/// Levels beyond this heat no more: one wild window is no lasting sign.
const HOTTEST: f64 = 8.0;

/// One window of one series, as far as opening and closing need it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Evidence {
    /// `-log10 p`.
    pub(crate) level: f64,
    /// The budget's level.
    pub(crate) limit: f64,
    /// Whether the newest samples deviate too, to the same side, and enough samples were seen.
    pub(crate) is_live: bool,
    /// Whether the deviation also exceeds the recent past.
    pub(crate) is_fresh: bool,
    /// Whether it has an unharmful explanation or too little effect to open.
    pub(crate) is_small: bool,
    /// How much of the level counts as a lasting sign, 0 to 1.
    pub(crate) part: f64,
    /// Heat from which on it opens by itself.
    pub(crate) bar: f64,
    /// Whether the sums follow a known law and little else would tell (spans without kinds): then what is far
    /// beyond the limit needs neither a third window nor to exceed a past fault.
    pub(crate) is_lawful: bool,
}

/// State of one series.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Gate {
    evidence: f64,
    calm: u32,
    pub(crate) is_open: bool,
    peak: f64,
    /// Levels of the last windows wait here before they count as past.
    recent_peak: f64,
    /// Mean level of the last windows: what lasts is a sign even where no window is strong.
    heat: f64,
}

/// What changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Opened,
    Continues,
    Closed,
}

impl Gate {
    /// Takes the next window of this length.
    pub(crate) fn step(&mut self, now: Evidence, window_ns: u64) -> Option<Change> {
        let is_certain = now.is_lawful && now.level >= CERTAIN * now.limit;
        let exceeds_past = now.level >= FRESH * self.peak || is_certain;
        // The past forgets 1.5 % a window, and only learns what is not part of what is being judged.
        self.peak *= 0.985;
        self.heat += WARMING * (now.part * now.level.clamp(0.0, HOTTEST) - self.heat);
        if self.is_open {
            return Some(self.step_open(now));
        }
        let over = now.level - now.limit;
        let gain = if over >= -1.0 { (0.7 + 0.3 * over).min(if is_certain { ENOUGH / 2.0 } else { 1.4 }) } else { -1.0 };
        let counts = now.is_live && now.is_fresh && exceeds_past && !now.is_small;
        let gain = if counts { gain } else { f64::min(gain, 0.0) - 0.25 };
        self.evidence = (self.evidence + gain).max(0.0);
        if self.evidence == 0.0 {
            self.peak = self.peak.max(self.recent_peak);
            self.recent_peak = now.level;
        } else {
            self.recent_peak = self.recent_peak.max(now.level);
        }
        let enough = ENOUGH * (LONG_WINDOW_NS / 3.0 / window_ns as f64).clamp(0.3, 1.0);
        let is_clear = self.evidence >= enough && counts && now.level >= now.limit - 1.0;
        if !is_clear && self.heat < now.bar {
            return None;
        }
        self.is_open = true;
        self.calm = 0;
        Some(Change::Opened)
    }

    /// See `heat`.
    pub(crate) const fn heat(&self) -> f64 {
        self.heat
    }

    fn step_open(&mut self, now: Evidence) -> Change {
        self.recent_peak = self.recent_peak.max(now.level);
        let is_calm = now.level < 0.5 * now.limit || !now.is_live;
        self.calm = if is_calm { self.calm + 1 } else { 0 };
        if self.calm < CALM {
            return Change::Continues;
        }
        *self = Self { peak: self.peak.max(self.recent_peak), heat: self.heat, ..Self::default() };
        Change::Closed
    }
}
