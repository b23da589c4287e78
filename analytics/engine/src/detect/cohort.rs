//! Warm start: what a new series borrows from those it is like, before it has a past of its own.
//!
//! Its kin is the same name and kind of the same service (a previous version, a sibling instance, another
//! label), else the same name at other services (route, RPC, metric), else all of its kind. Borrowed are
//! spreads and how scores are read, never centres: another instance may well lie elsewhere. Tables are made
//! of settled windows every few minutes, and a series takes the one that was settled before its first
//! window, whenever its rows come: so the order of rows leaves no trace.

use super::calibrate::Lent;
use crate::{
    features::{columns::Columns, kernel::Prior},
    window::StatKind,
};
use geophone_proto::series::Series;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, VecDeque},
    hash::Hasher,
};
use xxhash_rust::xxh3::Xxh3;

/// Windows between two tables.
const EVERY: u64 = 30;
/// Windows that a series must have lived through to lend.
const GROWN: f64 = 60.0;
/// Tables kept: late births look back.
const KEPT: usize = 4;

/// Hashes of the groups a series belongs to, nearest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Kin([u64; 3]);

/// What is lent.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Loan {
    pub(super) prior: Prior,
    pub(super) lent: Lent,
}

/// One series as it may lend.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lender {
    pub(super) kin: Kin,
    pub(super) kind: StatKind,
    pub(super) row: usize,
    pub(super) lent: Lent,
}

/// Tables of loans, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Cohorts {
    settled: u64,
    tables: VecDeque<(u64, BTreeMap<u64, Loan>)>,
}

impl Kin {
    /// The groups of a series.
    pub(super) fn of(series: &Series, kind: StatKind) -> Self {
        let hash = |parts: &[&str]| {
            let mut hash = Xxh3::with_seed(kind as u64);
            for part in parts {
                hash.write_u64(part.len() as u64);
                hash.write(part.as_bytes());
            }
            hash.write_u64(series.kind as u64);
            hash.digest()
        };
        let tenant: &str = &series.tenant.0;
        Self([hash(&[tenant, &series.name, &series.service]), hash(&[tenant, &series.name]), hash(&[tenant])])
    }
}

impl Cohorts {
    /// Whether the window just settled ends a period.
    pub(super) fn is_due(&mut self) -> bool {
        self.settled += 1;
        self.settled.is_multiple_of(EVERY)
    }

    /// Makes the table as of the settled window that starts at `start_ns`.
    pub(super) fn learn(&mut self, start_ns: u64, lenders: &[Lender], columns: &Columns) {
        let mut groups: BTreeMap<u64, Vec<&Lender>> = BTreeMap::new();
        for lender in lenders.iter().filter(|lender| columns.age[lender.row] >= GROWN) {
            lender.kin.0.iter().for_each(|group| groups.entry(*group).or_default().push(lender));
        }
        let loan = |members: &[&Lender]| {
            let middle = |of: &dyn Fn(&Lender) -> f64| median(members.iter().map(|lender| of(lender)).collect());
            let prior = |of: fn(&Prior) -> f64| middle(&|lender| of(&Prior::of(columns, lender.row, lender.kind)));
            Loan {
                prior: Prior {
                    scales: std::array::from_fn(|at| middle(&|lender| Prior::of(columns, lender.row, lender.kind).scales[at])),
                    spread: prior(|prior| prior.spread),
                },
                lent: std::array::from_fn(|voice| (middle(&|lender| lender.lent[voice].0), middle(&|lender| lender.lent[voice].1))),
            }
        };
        self.tables.push_back((start_ns, groups.into_iter().map(|(group, members)| (group, loan(&members))).collect()));
        if self.tables.len() > KEPT {
            self.tables.pop_front();
        }
    }

    /// What a series born in the window at `born_ns` borrows, where windows from `settled_ns` before it on
    /// might not have been settled.
    pub(super) fn lend(&self, kin: Kin, born_ns: u64, settled_ns: u64) -> Option<Loan> {
        let (_, table) = self.tables.iter().rev().find(|(start_ns, _)| start_ns.saturating_add(settled_ns) < born_ns)?;
        kin.0.iter().find_map(|group| table.get(group)).copied()
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    let middle = values.len() / 2;
    values.sort_unstable_by(f64::total_cmp);
    values.get(middle).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use geophone_proto::{SeriesKind, Tenant};

    fn kin(service: &str, name: &str, instance: &str) -> Kin {
        let labels = BTreeMap::from([("instance".to_owned(), instance.to_owned())]);
        Kin::of(&Series::new(Tenant::default(), service, name, SeriesKind::MetricValue, labels), StatKind::Level)
    }

    #[test]
    fn the_nearest_kin_lends_and_only_what_was_settled_in_time() {
        let mut columns = Columns::default();
        columns.resize(3);
        columns.age = vec![500.0, 500.0, 5.0];
        columns.scale_1 = vec![2.0, 7.0, 50.0];
        let lent = [(1.0, 1.0); 3];
        let lenders: Vec<Lender> = [kin("cart", "queue", "a"), kin("pay", "queue", "b"), kin("cart", "queue", "c")]
            .into_iter()
            .enumerate()
            .map(|(row, kin)| Lender { kin, kind: StatKind::Level, row, lent })
            .collect();
        let mut cohorts = Cohorts::default();
        cohorts.learn(1_000, &lenders, &columns);
        let scale = |kin: Kin, born_ns: u64| cohorts.lend(kin, born_ns, 100).map(|loan| loan.prior.scales[0]);
        assert_eq!(scale(kin("cart", "queue", "new"), 2_000), Some(2.0));
        assert_eq!(scale(kin("cart", "queue", "new"), 1_050), None);
        assert!(scale(kin("mail", "queue", "new"), 2_000).is_some_and(|scale| scale == 7.0 || scale == 2.0));
        assert!(scale(kin("mail", "other", "new"), 2_000).is_some());
    }
}
