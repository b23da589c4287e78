//! What comes again and again without harm is no news: a service that is restarted every hour runs full,
//! sends much and starts slowly, and nobody's request suffers.
//!
//! Kept for each service: its last few incidents that nobody's requests took part in. Told by the correlator
//! when one is over, asked by a group that is about to open. Invariant: a handful of numbers a service.

use super::map::ServiceId;
use geophone_proto::UnixNanos;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Visits remembered.
const KEPT: usize = 4;
/// How long: what comes once a day is remembered from one day to the next.
const MEMORY_NS: u64 = 26 * 3_600_000_000_000;
/// Visits before the next is no news: one may be a coincidence.
const ENOUGH: usize = 2;
/// How much more than they an incident must say.
const LARGER: f64 = 2.0;

/// One harmless incident that is over.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Visit {
    at: UnixNanos,
    /// Most evidence there was.
    peak: f64,
}

/// The visits of all services, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Visits(BTreeMap<ServiceId, Vec<Visit>>);

impl Visits {
    /// A harmless incident of one service, told or not, is over.
    pub fn learn(&mut self, service: ServiceId, at: UnixNanos, peak: f64) {
        let visits = self.0.entry(service).or_default();
        visits.push(Visit { at, peak });
        let excess = visits.len().saturating_sub(KEPT);
        visits.drain(..excess);
    }

    /// Whether as much has come and gone before.
    pub fn is_familiar(&self, service: ServiceId, at: UnixNanos, evidence: f64) -> bool {
        let known = self.0.get(&service).into_iter().flatten().filter(|visit| at.since(visit.at) <= MEMORY_NS);
        let mut peaks: Vec<f64> = known.map(|visit| visit.peak).collect();
        peaks.sort_by(|a, b| b.total_cmp(a));
        peaks.get(ENOUGH - 1).is_some_and(|second| evidence <= LARGER * second)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_NS: u64 = 3_600_000_000_000;

    #[test]
    fn the_third_time_is_no_news_unless_it_is_larger_or_long_after() {
        let mut visits = Visits::default();
        let at = |hour: u64| UnixNanos(hour * HOUR_NS);
        visits.learn(7, at(1), 1.2);
        assert!(!visits.is_familiar(7, at(2), 1.2));
        visits.learn(7, at(2), 1.0);
        assert!(visits.is_familiar(7, at(3), 1.2) && !visits.is_familiar(8, at(3), 1.2));
        assert!(!visits.is_familiar(7, at(3), 2.1), "more than twice of it");
        assert!(!visits.is_familiar(7, at(30), 1.2), "forgotten");
        (3..90).for_each(|hour| visits.learn(7, at(hour), 1.0));
        assert_eq!(visits.0[&7].len(), KEPT);
    }
}
