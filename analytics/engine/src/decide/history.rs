//! What was done when and to whom: what the gates count. Event time.

use geophone_proto::{UnixNanos, action::Operation};
use serde::{Deserialize, Serialize};

/// One thing done (or begun).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Deed {
    /// When it was decided.
    pub at: UnixNanos,
    /// By which policy.
    pub policy: String,
    /// To which service.
    pub service: String,
    /// What.
    pub operation: Operation,
}

/// Deeds of the last hours, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct History {
    deeds: Vec<Deed>,
}

const KEPT_NS: u64 = 24 * 3_600_000_000_000;
const KEPT_MAX: usize = 10_000;

impl History {
    /// Takes note of a deed and forgets old ones.
    pub fn push(&mut self, deed: Deed) {
        let at = deed.at;
        self.deeds.retain(|old| at.since(old.at) <= KEPT_NS);
        self.deeds.push(deed);
        let excess = self.deeds.len().saturating_sub(KEPT_MAX);
        self.deeds.drain(..excess);
    }

    /// When a policy last acted.
    pub fn last_of(&self, policy: &str) -> Option<UnixNanos> {
        self.deeds.iter().rev().find(|deed| deed.policy == policy).map(|deed| deed.at)
    }

    /// How often a policy acted within `ns` before `at`.
    pub fn count_of(&self, policy: &str, at: UnixNanos, ns: u64) -> usize {
        self.deeds.iter().filter(|deed| deed.policy == policy && at.since(deed.at) < ns).count()
    }

    /// Deeds to a service within `ns` before `at`.
    pub fn to_service(&self, service: &str, at: UnixNanos, ns: u64) -> impl Iterator<Item = &Deed> {
        self.deeds.iter().filter(move |deed| deed.service == service && at.since(deed.at) < ns)
    }
}
