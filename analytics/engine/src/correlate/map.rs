//! Which service calls which, where they run, and what version they run: what the correlator knows
//! of the installation. Learnt from the names of series (edges carry their caller) and from what the
//! observer adds (hosts, versions). Never from wall-clock order.

use super::aspect::{Aspect, aspect, is_body};
use crate::window::SeriesIndex;
use geophone_proto::{Series, Tenant, UnixNanos};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Dense number of a service of one tenant.
pub type ServiceId = u32;

/// A change of `service.version`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// First seen (event time).
    pub at: UnixNanos,
    /// Version before, or empty.
    pub from: String,
    /// Version after.
    pub to: String,
}

/// One service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Service {
    /// Whose.
    pub tenant: Tenant,
    /// `service.name`, or the peer's name where it sends nothing itself.
    pub name: String,
    /// Who calls it.
    pub callers: BTreeSet<ServiceId>,
    /// Whom it calls.
    pub callees: BTreeSet<ServiceId>,
    /// Where it runs.
    pub hosts: BTreeSet<String>,
    /// Its series; edges belong to the callee.
    pub series: Vec<SeriesIndex>,
    /// Series of edges that it is the caller of.
    pub calls: Vec<SeriesIndex>,
    /// Version changes, oldest first, at most a handful.
    pub releases: Vec<Release>,
    /// Whether it has spans of its own.
    pub has_spans: bool,
    /// Whether any of its spans says what it is to others: server, client, producer, consumer.
    pub has_kinds: bool,
    /// Whether any of its spans is a client's or producer's.
    pub has_clients: bool,
}

/// What is known of one series.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Owner; of an edge, the callee.
    pub service: ServiceId,
    /// Of an edge, the caller.
    pub caller: Option<ServiceId>,
    /// What it measures.
    pub aspect: Aspect,
    /// Whether it is a client's or producer's span: time spent waiting for others.
    pub outgoing: bool,
    /// Whether it is the mean or the median of a distribution.
    pub is_body: bool,
}

/// Services, edges, hosts, releases. Grows only.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ServiceMap {
    services: Vec<Service>,
    by_name: BTreeMap<(Tenant, String), ServiceId>,
    places: Vec<Option<Place>>,
    has_clients: bool,
}

const RELEASES_MAX: usize = 8;
/// What the Collector's service graph connector calls its metrics.
const GRAPH_METRICS: &str = "traces_service_graph_";

impl ServiceMap {
    /// The number of a service, new or known.
    pub fn service_id(&mut self, tenant: &Tenant, name: &str) -> ServiceId {
        if let Some(id) = self.by_name.get(&(tenant.clone(), name.to_owned())) {
            return *id;
        }
        let id = ServiceId::try_from(self.services.len()).unwrap_or(ServiceId::MAX);
        self.services.push(Service { tenant: tenant.clone(), name: name.to_owned(), ..Service::default() });
        self.by_name.insert((tenant.clone(), name.to_owned()), id);
        id
    }

    /// Takes note of a series; once per series, in index order or not.
    pub fn learn_series(&mut self, index: SeriesIndex, series: &Series) {
        let service = self.service_id(&series.tenant, &series.service);
        let aspect = aspect(series);
        let is_edge = matches!(aspect, Aspect::EdgeRate | Aspect::EdgeErrors | Aspect::EdgeGap);
        let caller = series.labels.get("caller").filter(|caller| is_edge && !caller.is_empty() && *caller != series.service);
        let caller = caller.map(|name| self.service_id(&series.tenant, name));
        let is_of =
            |kinds: [&str; 2]| series.labels.get("span_kind").is_some_and(|kind| kinds.iter().any(|of| kind.eq_ignore_ascii_case(of)));
        let (outgoing, serves) = (is_of(["client", "producer"]), is_of(["server", "consumer"]));
        let slot = index as usize;
        if self.places.len() <= slot {
            self.places.resize(slot + 1, None);
        }
        if self.places[slot].replace(Place { service, caller, aspect, outgoing, is_body: is_body(series) }).is_some() {
            return;
        }
        if let Some(caller) = caller {
            self.services[service as usize].callers.insert(caller);
            self.services[caller as usize].callees.insert(service);
            self.services[caller as usize].calls.push(index);
        }
        self.learn_graph(series);
        let owner = &mut self.services[service as usize];
        owner.series.push(index);
        owner.has_spans |= matches!(aspect, Aspect::Rate | Aspect::Duration | Aspect::Exclusive);
        owner.has_clients |= outgoing;
        self.has_clients |= outgoing;
        owner.has_kinds |= outgoing || serves;
        if let Some(host) = series.labels.get("host.name").or_else(|| series.labels.get("k8s.node.name")) {
            owner.hosts.insert(host.to_owned());
        }
    }

    /// A metric of the Collector's service graph connector names both ends of a call.
    fn learn_graph(&mut self, series: &Series) {
        let (Some(client), Some(server)) = (series.labels.get("client"), series.labels.get("server")) else { return };
        if series.name.starts_with(GRAPH_METRICS) && client != server {
            let (client, server) = (self.service_id(&series.tenant, client), self.service_id(&series.tenant, server));
            self.services[server as usize].callers.insert(client);
            self.services[client as usize].callees.insert(server);
        }
    }

    /// Takes note of where a service runs.
    pub fn learn_host(&mut self, tenant: &Tenant, service: &str, host: &str) {
        let id = self.service_id(tenant, service);
        self.services[id as usize].hosts.insert(host.to_owned());
    }

    /// Looks up anew where every service runs; a service of which nothing is said keeps its hosts.
    pub fn renew_hosts(&mut self, hosts_of: &dyn Fn(&Tenant, &str) -> Vec<String>) {
        for service in &mut self.services {
            let hosts = hosts_of(&service.tenant, &service.name);
            if !hosts.is_empty() {
                service.hosts = hosts.into_iter().collect();
            }
        }
    }

    /// Takes note of a version change; the same change twice counts once.
    pub fn learn_release(&mut self, tenant: &Tenant, service: &str, release: Release) {
        let id = self.service_id(tenant, service);
        let releases = &mut self.services[id as usize].releases;
        if !releases.contains(&release) {
            releases.push(release);
            let excess = releases.len().saturating_sub(RELEASES_MAX);
            releases.drain(..excess);
        }
    }

    /// A service by number.
    ///
    /// # Panics
    /// If the number was not given by this map.
    pub fn service(&self, id: ServiceId) -> &Service {
        &self.services[id as usize]
    }

    /// Number of services.
    pub fn len(&self) -> usize {
        self.services.len()
    }

    /// Whether no service is known.
    pub fn is_empty(&self) -> bool {
        self.services.is_empty()
    }

    /// What is known of a series; `None` before it was learnt.
    pub fn place(&self, series: SeriesIndex) -> Option<Place> {
        self.places.get(series as usize).copied().flatten()
    }

    /// Series that count requests.
    pub fn requests(&self) -> impl Iterator<Item = SeriesIndex> + '_ {
        let of_spans = self.services.iter().filter(|service| service.has_spans).flat_map(|service| &service.series);
        of_spans.copied().filter(|series| self.place(*series).is_some_and(|place| place.aspect == Aspect::Rate))
    }

    /// Whether any service sends spans.
    pub fn has_spans(&self) -> bool {
        self.services.iter().any(|service| service.has_spans)
    }

    /// Whether any service says whom it calls.
    pub const fn has_clients(&self) -> bool {
        self.has_clients
    }

    /// Whether those of these services that have spans are all bare; where none has, whether nobody says whom
    /// they call.
    pub fn are_bare<'a>(&self, services: impl IntoIterator<Item = &'a ServiceId>) -> bool {
        let (mut any, mut all) = (false, true);
        for id in services.into_iter().filter(|id| self.service(**id).has_spans) {
            (any, all) = (true, all && self.is_bare(*id));
        }
        all && (any || !self.has_clients)
    }

    /// Whether calls of a service and to it show by nothing but the shape of traces: its spans set no kinds,
    /// or all the same, so that no client's span stands between caller and callee.
    pub fn is_bare(&self, id: ServiceId) -> bool {
        let service = self.service(id);
        let is_linked = !service.callers.is_empty() || !service.callees.is_empty();
        let mut around = service.callers.iter().map(|caller| self.service(*caller)).chain([service]);
        service.has_spans && (!service.has_kinds || is_linked) && around.all(|one| !one.has_clients)
    }

    /// Whether users reach the service directly: it has spans and nobody we see calls it.
    pub fn is_entry(&self, id: ServiceId) -> bool {
        let service = self.service(id);
        service.has_spans && service.callers.is_empty()
    }

    /// Whether two services share a host.
    pub fn share_host(&self, a: ServiceId, b: ServiceId) -> bool {
        let (a, b) = (&self.service(a).hosts, &self.service(b).hosts);
        a.iter().any(|host| b.contains(host))
    }

    /// The last version change of a service within `within_ns` before `at` (or up to 30 s after it:
    /// senders do not say their new version at once).
    pub fn release_before(&self, id: ServiceId, at: UnixNanos, within_ns: u64) -> Option<&Release> {
        let releases = self.service(id).releases.iter().rev();
        releases.into_iter().find(|release| release.at <= at.plus(30_000_000_000) && at.since(release.at) <= within_ns)
    }

    /// Services that `from` reaches over calls (or, with `up`, that reach it) in at most `depth`
    /// steps, walking on only through services for which `through` holds. Without `from` itself.
    pub fn reach(&self, from: ServiceId, up: bool, depth: usize, through: &dyn Fn(ServiceId) -> bool) -> BTreeSet<ServiceId> {
        let mut seen = BTreeSet::new();
        let mut edge = vec![from];
        for _ in 0..depth {
            let mut next = Vec::new();
            for id in edge {
                let service = self.service(id);
                for neighbour in if up { &service.callers } else { &service.callees } {
                    if *neighbour != from && seen.insert(*neighbour) && through(*neighbour) {
                        next.push(*neighbour);
                    }
                }
            }
            edge = next;
        }
        seen
    }

    /// A shortest path of calls from an entry service to `to`, both included; only `to` if there is none.
    pub fn path_from_entry(&self, to: ServiceId) -> Vec<ServiceId> {
        let mut towards = BTreeMap::from([(to, to)]);
        let mut queue = VecDeque::from([to]);
        while let Some(id) = queue.pop_front() {
            let callers = &self.service(id).callers;
            if callers.is_empty() {
                let mut path = vec![id];
                while let Some(next) = path.last().filter(|last| **last != to).and_then(|last| towards.get(last)) {
                    path.push(*next);
                }
                return path;
            }
            for caller in callers {
                if !towards.contains_key(caller) {
                    towards.insert(*caller, id);
                    queue.push_back(*caller);
                }
            }
        }
        vec![to]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use geophone_proto::SeriesKind;

    fn edge(caller: &str, callee: &str) -> Series {
        Series::new(Tenant::default(), callee, "", SeriesKind::EdgeRate, BTreeMap::from([("caller".into(), caller.into())]))
    }

    #[test]
    fn paths_and_reach_survive_cycles_and_self_calls() {
        let mut map = ServiceMap::default();
        for (index, (caller, callee)) in [("a", "b"), ("b", "c"), ("c", "b"), ("c", "c"), ("c", "d")].into_iter().enumerate() {
            map.learn_series(index as SeriesIndex, &edge(caller, callee));
        }
        let id = |map: &mut ServiceMap, name: &str| map.service_id(&Tenant::default(), name);
        let (a, d) = (id(&mut map, "a"), id(&mut map, "d"));
        let names: Vec<String> = map.path_from_entry(d).into_iter().map(|id| map.service(id).name.clone()).collect();
        assert_eq!(names, ["a", "b", "c", "d"]);
        assert_eq!(map.reach(d, true, 9, &|_| true).len(), 3);
        assert!(map.reach(a, false, 1, &|_| true).len() == 1);
        assert_eq!(map.path_from_entry(a), vec![a]);
    }

    #[test]
    fn a_cycle_without_entry_ends() {
        let mut map = ServiceMap::default();
        map.learn_series(0, &edge("a", "b"));
        map.learn_series(1, &edge("b", "a"));
        let a = map.service_id(&Tenant::default(), "a");
        assert_eq!(map.path_from_entry(a), vec![a]);
    }
}
