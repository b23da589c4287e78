//! The call graph, as correlation reads it: who calls whom how often, and who shares a machine.
//!
//! Counts fade with a half-life of ten minutes of event time. A graph is advice for ranking, no
//! measurement: series of edges are the measurements.

use super::{
    hosts::{Deploy, Hosts},
    join::{CallSeen, SpanTable},
    names::{Names, OperationIndex, ServiceIndex},
};
use crate::hash::FixedMap;
use geophone_proto::ids::Tenant;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Pairs of operations kept at most.
const PAIRS_MAX: usize = 50_000;
const HALF_LIFE_NS: f64 = 600e9;
/// A pair with fewer (faded) calls is forgotten.
const CALLS_MIN: f64 = 0.01;

/// Calls between two operations. For a peer without spans the callee is the caller's own operation.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Pair {
    callee_service: ServiceIndex,
    calls: f64,
    failed: f64,
    busy_ns: f64,
}

/// Names, joins, graph and hosts of everything that sends spans.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Topology {
    pub(crate) names: Names,
    pub(crate) spans: SpanTable,
    pub(crate) hosts: Hosts,
    pairs: FixedMap<(OperationIndex, OperationIndex), Pair>,
}

/// Calls from one service to another, faded counts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Call {
    /// The other service.
    pub service: String,
    /// Calls, faded with a half-life of ten minutes.
    pub calls: f64,
    /// Their part in all calls that the caller makes.
    pub share: f64,
    /// Part of them that failed.
    pub failed_share: f64,
    /// The other sends no spans: its name comes from the caller.
    pub inferred: bool,
}

/// Calls from one operation to another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OperationCall {
    /// Calling service.
    pub caller: String,
    /// Its operation.
    pub caller_operation: String,
    /// Called service.
    pub callee: String,
    /// Its operation; of a peer without spans, the caller's.
    pub callee_operation: String,
    /// Calls, faded with a half-life of ten minutes.
    pub calls: f64,
    /// Part of them that failed.
    pub failed_share: f64,
    /// Mean seconds of the callee's span; 0 for a peer without spans.
    pub mean_seconds: f64,
}

impl Topology {
    /// Counts a call between spans.
    pub(crate) fn call(&mut self, seen: &CallSeen, weight: f64) {
        let callee_service = self.names.operation(seen.callee).service;
        #[allow(clippy::cast_precision_loss, reason = "advice for ranking")]
        let busy_ns = seen.callee_ns as f64;
        self.count((seen.caller, seen.callee), callee_service, weight, (seen.failed, busy_ns));
    }

    /// Counts a call to a peer without spans; a negative weight takes it back.
    pub(crate) fn call_peer(&mut self, caller: OperationIndex, peer: ServiceIndex, weight: f64, failed: bool) {
        // The callee's place is taken by a number that no operation has.
        self.count((caller, u32::MAX - peer), peer, weight, (failed, 0.0));
    }

    fn count(&mut self, key: (OperationIndex, OperationIndex), callee_service: ServiceIndex, weight: f64, (failed, busy_ns): (bool, f64)) {
        if self.pairs.len() >= PAIRS_MAX && !self.pairs.contains_key(&key) {
            return;
        }
        let pair = self.pairs.entry(key).or_insert(Pair { callee_service, ..Pair::default() });
        pair.calls = (pair.calls + weight).max(0.0);
        pair.failed = (pair.failed + if failed { weight } else { 0.0 }).max(0.0);
        pair.busy_ns += busy_ns * weight;
    }

    /// A window has been closed: counts fade, what is long over is forgotten.
    pub(crate) fn fade(&mut self, window_ns: u64, now_ns: u64) {
        #[allow(clippy::cast_precision_loss, reason = "a ratio")]
        let keep = (-(window_ns as f64) / HALF_LIFE_NS).exp2();
        self.pairs.retain(|_, pair| {
            pair.calls *= keep;
            pair.failed *= keep;
            pair.busy_ns *= keep;
            pair.calls >= CALLS_MIN
        });
        self.hosts.forget(now_ns);
    }

    /// Pairs in a fixed order, as (caller service, callee service, key, pair).
    fn sorted(&self) -> BTreeMap<(OperationIndex, OperationIndex), (ServiceIndex, &Pair)> {
        self.pairs.iter().map(|(key, pair)| (*key, (self.names.operation(key.0).service, pair))).collect()
    }

    fn is_named(&self, index: ServiceIndex, tenant: &Tenant, service: &str) -> bool {
        let known = self.names.get(index);
        known.tenant == *tenant && *known.name == *service
    }

    fn calls(&self, wanted: impl Fn(ServiceIndex, ServiceIndex) -> Option<ServiceIndex>) -> Vec<Call> {
        let (mut found, mut totals) = (BTreeMap::<ServiceIndex, (f64, f64, ServiceIndex)>::new(), BTreeMap::<ServiceIndex, f64>::new());
        for (caller, pair) in self.sorted().into_values() {
            *totals.entry(caller).or_default() += pair.calls;
            if let Some(other) = wanted(caller, pair.callee_service) {
                let entry = found.entry(other).or_insert((0.0, 0.0, caller));
                entry.0 += pair.calls;
                entry.1 += pair.failed;
            }
        }
        let mut calls: Vec<Call> = found
            .into_iter()
            .map(|(other, (calls, failed, caller))| {
                let service = self.names.get(other);
                let total = totals.get(&caller).copied().unwrap_or(calls).max(calls);
                Call {
                    service: service.name.to_string(),
                    calls,
                    share: calls / total,
                    failed_share: failed / calls,
                    inferred: service.inferred,
                }
            })
            .collect();
        calls.sort_by(|a, b| b.calls.total_cmp(&a.calls).then_with(|| a.service.cmp(&b.service)));
        calls
    }

    /// Whom a service calls, most called first.
    pub fn callees(&self, tenant: &Tenant, service: &str) -> Vec<Call> {
        self.calls(|caller, callee| self.is_named(caller, tenant, service).then_some(callee))
    }

    /// Who calls a service, most calling first; `share` is the part in each caller's own calls.
    pub fn callers(&self, tenant: &Tenant, service: &str) -> Vec<Call> {
        self.calls(|caller, callee| self.is_named(callee, tenant, service).then_some(caller))
    }

    /// All calls between operations of a tenant, in the order they were first seen.
    pub fn operation_calls(&self, tenant: &Tenant) -> Vec<OperationCall> {
        let pairs = self.sorted().into_iter().filter(|(_, (caller, _))| self.names.get(*caller).tenant == *tenant);
        pairs
            .map(|((caller, callee), (service, pair))| {
                let is_peer = self.names.get(pair.callee_service).inferred;
                let callee = if is_peer || callee > u32::MAX / 2 { caller } else { callee };
                OperationCall {
                    caller: self.names.get(service).name.to_string(),
                    caller_operation: self.names.operation(caller).name.to_string(),
                    callee: self.names.get(pair.callee_service).name.to_string(),
                    callee_operation: self.names.operation(callee).name.to_string(),
                    calls: pair.calls,
                    failed_share: pair.failed / pair.calls,
                    mean_seconds: pair.busy_ns * 1e-9 / pair.calls,
                }
            })
            .collect()
    }

    fn indices<'a>(&'a self, tenant: &'a Tenant, service: &'a str) -> impl Iterator<Item = ServiceIndex> + 'a {
        self.names.services().map(|(index, _)| index).filter(move |index| self.is_named(*index, tenant, service))
    }

    /// Machines that a service runs on, sorted.
    pub fn hosts_of(&self, tenant: &Tenant, service: &str) -> Vec<String> {
        let hosts: BTreeSet<&str> = self.indices(tenant, service).flat_map(|index| self.hosts.hosts_of(index)).collect();
        hosts.into_iter().map(str::to_owned).collect()
    }

    /// Other services on the same machines, sorted.
    pub fn neighbours(&self, tenant: &Tenant, service: &str) -> Vec<String> {
        let hosts = self.hosts_of(tenant, service);
        let names = hosts.iter().flat_map(|host| self.hosts.services_on(host)).map(|index| self.names.get(index));
        let names: BTreeSet<&str> =
            names.filter(|other| other.tenant == *tenant && *other.name != *service).map(|other| &*other.name).collect();
        names.into_iter().map(str::to_owned).collect()
    }

    /// Services of a tenant, sorted; those that send nothing themselves too.
    pub fn services(&self, tenant: &Tenant) -> Vec<String> {
        let names: BTreeSet<&str> =
            self.names.services().filter(|(_, known)| known.tenant == *tenant).map(|(_, known)| &*known.name).collect();
        names.into_iter().map(str::to_owned).collect()
    }

    /// Whether a service is only known from those that call it.
    pub fn is_inferred(&self, tenant: &Tenant, service: &str) -> bool {
        self.indices(tenant, service).all(|index| self.names.get(index).inferred)
    }

    /// Changes of versions, oldest first.
    pub fn deploys(&self) -> &[Deploy] {
        self.hosts.deploys()
    }
}
