//! The bar that a weak sign must reach to open an incident: from what was heard and what opened.
//!
//! bar = blend(return level of the peaks, level of the calibrated law) + scale * correction of the account.
//! While few openings could have been expected yet, the calibrated law (`-log10 p` of a window, series
//! times windows, windows that exceed together) stands in, so that a cold start is no reason to alert.
//! Called by the correlator: `hear` for every candidate, `opened` and `confirmed` for incidents, `close`
//! once a window. Time is that of windows; nothing depends on the order of calls within one.

use super::{
    account::{Account, WEEK_NS},
    peaks::{Level, Peaks},
};
use geophone_proto::{UnixNanos, effect::BudgetState};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Below this nothing stands out.
pub const HEARD: f64 = 0.05;
/// A run is over when its service has stood out less than this share of its peak ...
const FALLEN: f64 = 0.5;
/// ... for so long.
const GAP_NS: u64 = 120_000_000_000;
/// A window shares most of its samples with its neighbours: so many exceed together.
const TOGETHER: f64 = 20.0;
/// Fewer series than this are taken for so many.
const SERIES_MIN: usize = 20;
/// Expected openings over which the law gives way to the peaks, exponentially.
const TRUST: f64 = 2.0;
/// With an incident open for more than this share of the last quarter of an hour, a lower bar opens no more: what
/// it lets through joins what is open.
const FULL: f64 = 0.6;
const FULL_WINDOWS: f64 = 90.0;
/// Openings that the peaks remembered should have led to, and the longest that they are remembered, in weeks.
const REMEMBERED: f64 = 100.0;
const MEMORY_WEEKS: f64 = 8.0;
/// What joins counts as just below the bar.
const JOINED: f64 = 0.999;
/// What a natural logarithm of rarity is worth while nothing is known.
const SCALE: f64 = 0.3;

/// One service that stands out.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Run {
    peak: f64,
    last: UnixNanos,
    /// Part of an incident that is sure: says nothing about false alarms.
    is_fault: bool,
}

/// Promise, peaks, bar.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Ledger {
    per_week: f64,
    /// Time seen, in weeks.
    weeks: f64,
    since: Option<UnixNanos>,
    at: UnixNanos,
    runs: BTreeMap<u32, Run>,
    peaks: Peaks,
    account: Account,
    /// Share of the last windows with an incident open.
    busy: f64,
    bar: f64,
}

impl Ledger {
    /// Nothing heard yet; `per_week` false alarms a week are promised.
    pub fn new(per_week: f64) -> Self {
        Self { per_week, bar: f64::INFINITY, ..Self::default() }
    }

    /// The strength from which on a series opens an incident by itself.
    pub fn bar(&self) -> f64 {
        if self.per_week > 0.0 { self.bar } else { f64::INFINITY }
    }

    /// A service stands out this much in the window that ends at `at`. What only joins an incident that is
    /// open already (`joins`) opens none, so it does not count as having reached the bar.
    pub fn hear(&mut self, service: u32, (strength, joins): (f64, bool), at: UnixNanos) {
        if strength < HEARD {
            return;
        }
        let bar = self.bar;
        let run = self.runs.entry(service).or_insert(Run { peak: 0.0, last: at, is_fault: false });
        let counts = if joins && run.peak < bar { strength.min(bar * JOINED) } else { strength };
        run.peak = run.peak.max(counts);
        if counts >= FALLEN * run.peak {
            run.last = at;
        }
    }

    /// An incident has opened.
    pub fn opened(&mut self, at: UnixNanos) {
        self.account.open(at);
    }

    /// An incident is beyond doubt.
    pub fn confirmed(&mut self) {
        self.account.pay_back();
    }

    /// A window of this length is over. `series` = how many are scored, `is_open` = an incident is, `faults` = services in incidents
    /// that are beyond doubt.
    pub fn close(&mut self, (at, window_ns): (UnixNanos, u64), (series, is_open): (usize, bool), faults: &BTreeSet<u32>) {
        self.since.get_or_insert(at);
        self.at = at;
        let weeks = window_ns as f64 / WEEK_NS;
        self.weeks += weeks;
        self.busy += (f64::from(u8::from(is_open)) - self.busy) / FULL_WINDOWS;
        self.account.accrue(self.per_week * weeks, self.busy > FULL);
        for service in faults {
            if let Some(run) = self.runs.get_mut(service) {
                run.is_fault = true;
            }
        }
        let (peaks, now) = (&mut self.peaks, at);
        self.runs.retain(|_, run| {
            let goes_on = now.since(run.last) <= GAP_NS;
            if !goes_on && !run.is_fault {
                peaks.learn(run.last, run.peak);
            }
            goes_on
        });
        let memory = (REMEMBERED / self.per_week.max(1e-6)).min(MEMORY_WEEKS);
        self.peaks.forget(at.minus((memory * WEEK_NS) as u64));
        let expected = self.per_week * self.weeks.min(memory);
        let law = (series.max(SERIES_MIN) as f64 / (weeks * TOGETHER * self.per_week.max(1e-6))).log10();
        let seen = if expected > 0.0 { self.peaks.level(expected) } else { None };
        let trust = 1.0 - (-expected / TRUST).exp();
        let Level { bar, scale } = match seen {
            Some(seen) => Level { bar: trust * seen.bar + (1.0 - trust) * law.max(seen.bar), scale: seen.scale },
            None => Level { bar: law, scale: SCALE },
        };
        self.bar = (bar + scale * self.account.correction()).max(HEARD);
    }

    /// What was promised and what came.
    pub fn state(&self) -> BudgetState {
        BudgetState {
            at: self.at,
            since: self.since.unwrap_or(self.at),
            promised_per_week: self.per_week,
            promised: self.account.promised,
            opened: self.account.opened,
            confirmed: self.account.confirmed,
            last_week: self.account.last_week(self.at),
            weeks: self.weeks,
            bar: self.bar().is_finite().then_some(self.bar),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW_NS: u64 = 10_000_000_000;

    /// Weeks of one peak every `every` windows, exponential in strength; openings where the bar is reached.
    /// Returns promised and opened after the first tenth.
    fn run(per_week: f64, weeks: f64, every: u64, mean: f64) -> (f64, u64) {
        let mut ledger = Ledger::new(per_week);
        let windows = (weeks * WEEK_NS) as u64 / WINDOW_NS;
        let (mut state, mut before) = (1u64, ledger.state());
        for window in 0..windows {
            let at = UnixNanos((window + 1) * WINDOW_NS);
            if window % every == 0 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let unit = ((state >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
                let strength = 0.5 - mean * unit.ln();
                ledger.hear((window / every % 7) as u32, (strength, false), at);
                if strength >= ledger.bar() {
                    ledger.opened(at);
                }
            }
            ledger.close((at, WINDOW_NS), (50, false), &BTreeSet::new());
            if window == windows / 10 {
                before = ledger.state();
            }
        }
        let after = ledger.state();
        (after.promised - before.promised, after.opened - before.opened)
    }

    #[test]
    fn what_opens_is_what_was_promised_whatever_the_tail() {
        for (per_week, weeks, mean) in [(5.0, 12.0, 0.4), (50.0, 2.0, 0.4), (500.0, 1.0, 0.15), (500.0, 1.0, 0.9)] {
            let (promised, opened) = run(per_week, weeks, 20, mean);
            let ratio = opened as f64 / promised;
            assert!((0.8..=1.2).contains(&ratio), "{per_week} a week, mean {mean}: {opened} for {promised:.1}");
        }
    }

    #[test]
    fn faults_leave_no_peak_and_an_unpromised_bar_is_out_of_reach() {
        let mut ledger = Ledger::new(5.0);
        let faults = BTreeSet::from([3]);
        for window in 0..2_000u64 {
            let at = UnixNanos((window + 1) * WINDOW_NS);
            if window % 40 < 10 {
                ledger.hear(3, (7.0, false), at);
            }
            ledger.close((at, WINDOW_NS), (50, true), &faults);
        }
        assert_eq!(ledger.peaks, Peaks::default());
        assert!(Ledger::new(0.0).bar().is_infinite() && Ledger::default().bar().is_infinite());
    }
}
