//! Numbers for series, and how many there may be: remote input chooses the names.
//!
//! Caps hold per tenant and per (tenant, service, group of names); what exceeds them goes to
//! series marked `overflow: true`, and the attribute with the most values is named. A tenant's cap
//! bounds all of its series, the marked ones too: where it leaves no room for a service's own, there
//! is one marked set for the whole tenant (`REST`), whose place is kept free. An index is never given
//! twice.

use crate::{
    hash::{FixedMap, FixedSet, of_parts},
    window::{SeriesIndex, StatKind},
};
use geophone_proto::{ids::Tenant, series::Series, time::UnixNanos};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Group of the series that stand for all that a tenant has no room for.
pub const REST: &str = "(rest)";
/// How many they are: five of requests, two of calls, one of log records.
const REST_SERIES: usize = 8;

/// What a cap has been exceeded by; queryable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overflow {
    /// Whose telemetry it is.
    pub tenant: Tenant,
    /// `service.name`.
    pub service: String,
    /// Metric name, or `spans`, `edges`, `logs`.
    pub group: String,
    /// The attribute with the most values: `span.name`, `body`, or a metric's attribute.
    pub attribute: String,
    /// Series there are.
    pub series: usize,
    /// When it was noticed (event time).
    pub at: UnixNanos,
}

/// Where series of one group are counted.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Group {
    series: usize,
    /// Values seen per attribute, as hashes.
    values: BTreeMap<String, FixedSet<u64>>,
    overflowed: bool,
}

/// All series of this brain.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Registry {
    next: SeriesIndex,
    tenant_max: usize,
    group_max: usize,
    tenants: FixedMap<u128, usize>,
    groups: FixedMap<u128, Group>,
    overflows: Vec<Overflow>,
    fresh: Vec<(SeriesIndex, Series, StatKind)>,
    gone: Vec<SeriesIndex>,
    /// Budgets of single tenants; from the settings, hence in no snapshot.
    #[serde(skip)]
    budgets: FixedMap<u128, usize>,
}

/// Who asks for series.
#[derive(Clone, Copy, Debug)]
pub struct Owner<'a> {
    /// Whose telemetry it is.
    pub tenant: &'a Tenant,
    /// `service.name`.
    pub service: &'a str,
    /// Metric name, or `spans`, `edges`, `logs`.
    pub group: &'a str,
}

impl Owner<'_> {
    fn tenant_key(&self) -> u128 {
        of_parts(1, [self.tenant.0.as_bytes()])
    }

    /// Where the tenant's rest is counted.
    fn rest_key(&self) -> u128 {
        of_parts(4, [self.tenant.0.as_bytes()])
    }

    /// Where series of this owner are counted.
    fn counted_at(&self) -> u128 {
        if self.group == REST { self.rest_key() } else { self.tenant_key() }
    }

    fn group_key(&self) -> u128 {
        of_parts(2, [self.tenant.0.as_bytes(), self.service.as_bytes(), self.group.as_bytes()])
    }
}

impl Registry {
    /// No series yet.
    pub fn new(tenant_max: usize, group_max: usize) -> Self {
        Self { tenant_max, group_max, ..Self::default() }
    }

    /// Gives single tenants a budget of their own; series that exist stay.
    pub fn set_budgets(&mut self, budgets: &BTreeMap<Tenant, usize>) {
        let key = |tenant: &Tenant| Owner { tenant, service: "", group: "" }.tenant_key();
        self.budgets = budgets.iter().map(|(tenant, budget)| (key(tenant), *budget)).collect();
    }

    /// Whether `count` more series of this owner may exist; `varying` are the attribute values that
    /// would tell them apart. A refusal is remembered once, with the offending attribute.
    pub fn admit(&mut self, owner: Owner<'_>, count: usize, varying: &[(&str, &str)], at: UnixNanos) -> bool {
        let has_room = self.has_room(owner, count);
        let group = self.groups.entry(owner.group_key()).or_default();
        if group.values.values().map(FixedSet::len).sum::<usize>() < 4 * self.group_max {
            for (key, value) in varying {
                let hash = xxhash_rust::xxh3::xxh3_64(value.as_bytes());
                if let Some(values) = group.values.get_mut(*key) {
                    values.insert(hash);
                } else if group.values.len() < 64 {
                    group.values.insert((*key).to_owned(), [hash].into_iter().collect());
                }
            }
        }
        if has_room && group.series + count <= self.group_max {
            return true;
        }
        if !std::mem::replace(&mut group.overflowed, true) && self.overflows.len() < 1000 {
            let attribute = group.values.iter().max_by_key(|entry| entry.1.len()).map(|entry| entry.0.clone()).unwrap_or_default();
            let (tenant, service, name) = (owner.tenant.clone(), owner.service.to_owned(), owner.group.to_owned());
            self.overflows.push(Overflow { tenant, service, group: name, attribute, series: group.series, at });
        }
        false
    }

    /// Whether the tenant's cap leaves room for `count` more series of this owner. Of all but the rest a place is kept
    /// free for the rest, in a cap too small for both half of it.
    pub fn has_room(&self, owner: Owner<'_>, count: usize) -> bool {
        let counted = |key: u128| *self.tenants.get(&key).unwrap_or(&0);
        let max = *self.budgets.get(&owner.tenant_key()).unwrap_or(&self.tenant_max);
        let (own, rest) = (counted(owner.tenant_key()), counted(owner.rest_key()));
        let kept = if owner.group == REST { rest } else { rest.max(REST_SERIES.min(max / 2)) };
        own + kept + count <= max
    }

    /// Numbers series, consecutively, admitted or marked as overflow; `None` if the tenant has no room for them.
    pub fn number(&mut self, owner: Owner<'_>, series: Vec<(Series, StatKind)>) -> Option<SeriesIndex> {
        if !self.has_room(owner, series.len()) {
            return None;
        }
        let first = self.next;
        for (series, stat) in series {
            self.fresh.push((self.next, series, stat));
            self.next += 1;
        }
        let count = (self.next - first) as usize;
        *self.tenants.entry(owner.counted_at()).or_default() += count;
        self.groups.entry(owner.group_key()).or_default().series += count;
        Some(first)
    }

    /// Series that expired: room for others.
    pub fn release(&mut self, owner: Owner<'_>, first: SeriesIndex, count: u32) {
        self.gone.extend(first..first + count);
        if let Some(series) = self.tenants.get_mut(&owner.counted_at()) {
            *series = series.saturating_sub(count as usize);
        }
        if let Some(group) = self.groups.get_mut(&owner.group_key()) {
            group.series = group.series.saturating_sub(count as usize);
            if group.series == 0 {
                self.groups.remove(&owner.group_key());
            }
        }
    }

    /// Series numbered since the last call.
    pub fn take_fresh(&mut self) -> Vec<(SeriesIndex, Series, StatKind)> {
        std::mem::take(&mut self.fresh)
    }

    /// Series expired since the last call: their state can be dropped.
    pub fn take_gone(&mut self) -> Vec<SeriesIndex> {
        std::mem::take(&mut self.gone)
    }

    /// Caps that were exceeded, oldest first.
    pub fn overflows(&self) -> &[Overflow] {
        &self.overflows
    }

    /// Series there are.
    pub fn len(&self) -> usize {
        self.tenants.values().sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_exceeds_a_cap_is_refused_and_the_attribute_with_most_values_is_named() {
        let tenant = Tenant::default();
        let owner = Owner { tenant: &tenant, service: "cart", group: "queue.size" };
        let mut registry = Registry::new(100, 3);
        let (mut admitted, at) = (0, UnixNanos(7));
        for user in 0..10 {
            if registry.admit(owner, 1, &[("user.id", &user.to_string()), ("zone", "a")], at) {
                admitted += usize::from(registry.number(owner, vec![(series(user), StatKind::Level)]).is_some());
            }
        }
        assert_eq!(admitted, 3);
        assert_eq!(registry.overflows().iter().map(|o| o.attribute.as_str()).collect::<Vec<_>>(), ["user.id"]);
        registry.release(owner, 0, 3);
        assert!(registry.admit(owner, 1, &[], at));
        assert_eq!(registry.take_gone(), [0, 1, 2]);
    }

    #[test]
    fn a_tenant_with_a_budget_of_its_own_is_held_to_it_alone() {
        let [small, other] = ["small", "other"].map(|name| Tenant(name.into()));
        let mut registry = Registry::new(100, 100);
        registry.set_budgets(&BTreeMap::from([(small.clone(), 20)]));
        assert_eq!((fill(&mut registry, &small, "spans"), fill(&mut registry, &other, "spans")), (12, 92));
    }

    // Guarantees: what is kept free for the rest is there, whoever comes first, and no more than the cap is given.
    #[test]
    fn the_rest_fits_under_the_cap() {
        for max in [1, 2, 10, 15, 16, 20] {
            let tenant = Tenant::default();
            let (mut names_first, mut rest_first) = (Registry::new(max, 100), Registry::new(max, 100));
            let (names, rest) = (fill(&mut names_first, &tenant, "spans"), fill(&mut names_first, &tenant, REST));
            assert_eq!((names, rest), (max - 8.min(max / 2), 8.min(max / 2)), "of {max}");
            assert_eq!(fill(&mut rest_first, &tenant, REST) + fill(&mut rest_first, &tenant, "spans"), max);
        }
    }

    /// How many series of a group are numbered until there is no room.
    fn fill(registry: &mut Registry, tenant: &Tenant, group: &str) -> usize {
        let owner = Owner { tenant, service: "cart", group };
        (0..200).filter(|n| registry.number(owner, vec![(series(*n), StatKind::Level)]).is_some()).count()
    }

    fn series(n: usize) -> Series {
        Series::new(Tenant::default(), "cart", &n.to_string(), geophone_proto::SeriesKind::MetricValue, BTreeMap::new())
    }
}
