//! What happened to rows that are not scored, and to what limits; becomes `Effect::Count`.

use crate::time::Flaw;
use std::collections::BTreeMap;

/// Name and reason, as in `/metrics`, to be added to.
pub type Count = (&'static str, &'static str, u64);

/// Counts since they were last taken. Not part of a snapshot: the brain takes them after each record.
#[derive(Clone, Debug, Default)]
pub struct Counts(BTreeMap<(&'static str, &'static str), u64>);

impl Counts {
    /// Rows that are not scored.
    pub fn unscored(&mut self, flaw: Flaw, by: u64) {
        self.add("geophone_engine_rows_unscored_total", flaw.as_str(), by);
    }

    /// Adds to a counter.
    pub fn add(&mut self, name: &'static str, reason: &'static str, by: u64) {
        if by > 0 {
            *self.0.entry((name, reason)).or_default() += by;
        }
    }

    /// Takes all, sorted by name and reason.
    pub fn take(&mut self) -> Vec<Count> {
        std::mem::take(&mut self.0).into_iter().map(|((name, reason), by)| (name, reason, by)).collect()
    }
}
