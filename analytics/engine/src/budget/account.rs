//! What was promised and what came: the slow correction of the bar.
//!
//! The promise grows with event time, what opens is taken off; what is left over lowers the bar, what is
//! overdrawn raises it. That is quantile tracking (Gibbs, Candès 2021, "Adaptive conformal inference under
//! distribution shift"; Angelopoulos, Candès, Tibshirani 2023, "Conformal PID control"): the sum of
//! (came - promised) moves the bar, so the rate comes out right whatever the tail is, as long as the bar
//! still matters. Faults must not make it deaf: an incident that turns out to be sure is paid back, and
//! both sides are bounded.

use geophone_proto::UnixNanos;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// A week in nanoseconds.
pub(super) const WEEK_NS: f64 = 7.0 * 86_400.0 * 1e9;
/// Openings that are worth one natural logarithm of rarity.
const STIFFNESS: f64 = 6.0;
/// Most that is carried over, in openings: left over, overdrawn.
const LEFT_MAX: f64 = 10.0;
const OVERDRAWN_MAX: f64 = 18.0;
/// Openings kept, for the rate of the last week.
const KEPT: usize = 20_000;

/// The account.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Account {
    left: f64,
    /// What was promised and what opened since the beginning; the latter without what was paid back.
    pub(super) promised: f64,
    pub(super) opened: u64,
    pub(super) confirmed: u64,
    /// Openings of the last week.
    recent: VecDeque<UnixNanos>,
}

impl Account {
    /// Time has passed. Where no lower bar would open more (`is_full`), nothing is left over.
    pub(super) fn accrue(&mut self, openings: f64, is_full: bool) {
        self.promised += openings;
        if !is_full {
            self.left = (self.left + openings).min(LEFT_MAX);
        }
    }

    /// An incident has opened.
    pub(super) fn open(&mut self, at: UnixNanos) {
        self.opened += 1;
        self.left = (self.left - 1.0).max(-OVERDRAWN_MAX);
        self.recent.push_back(at);
        let excess = self.recent.len().saturating_sub(KEPT);
        self.recent.drain(..excess);
    }

    /// One that opened is no false alarm.
    pub(super) fn pay_back(&mut self) {
        self.confirmed += 1;
        self.left = (self.left + 1.0).min(LEFT_MAX);
    }

    /// What the bar is moved by, in natural logarithms of rarity: up where overdrawn.
    pub(super) fn correction(&self) -> f64 {
        -self.left / STIFFNESS
    }

    /// Openings in the week that ends here.
    pub(super) fn last_week(&self, at: UnixNanos) -> u64 {
        self.recent.iter().rev().take_while(|opened| at.since(**opened) as f64 <= WEEK_NS).count() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_openings_raise_the_bar_and_silence_lowers_it_within_bounds() {
        let mut account = Account::default();
        (0..3).for_each(|at| account.open(UnixNanos(at)));
        assert!((account.correction() - 0.5).abs() < 1e-9);
        account.pay_back();
        account.accrue(1.5, false);
        account.accrue(1.5, true);
        assert!((account.correction() - 0.5 / STIFFNESS).abs() < 1e-9);
        account.accrue(1e6, false);
        assert!((account.correction() + LEFT_MAX / STIFFNESS).abs() < 1e-9);
        (0..99).for_each(|at| account.open(UnixNanos(at)));
        assert!((account.correction() - OVERDRAWN_MAX / STIFFNESS).abs() < 1e-9);
        assert_eq!((account.opened, account.confirmed, account.last_week(UnixNanos(100))), (102, 1, 102));
    }
}
