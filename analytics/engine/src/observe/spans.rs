//! Spans: which operation each belongs to, what it counts for, and what its joins bring to light.
//!
//! Server, consumer, client and producer spans are requests. Internal and unspecified ones are only
//! where they are their service's entry: without parent, or called from another service. A span
//! counts at its end; a call at the later of both ends.

use super::{
    ahead,
    edge::Edge,
    naming::without_ids,
    observer::Parts,
    requests::{Exclusive, Requests},
    rest,
    source::{Body, Plan, SourceIndex},
    sums::LogSample,
};
use crate::{
    cardinality::{Owner, REST},
    hash::{FixedMap, of_parts},
    time::{Flaw, span_flaw},
    topology::{
        join::{Joined, NOBODY, Span, span_key},
        names::{Operation, OperationIndex, ServiceIndex, operation_key},
    },
    why::{Glance, Origin, Subject},
    window::StatKind,
};
use arrow_array::{BinaryArray, FixedSizeBinaryArray, StringArray};
use geophone_proto::{
    columns::{Resources, Spans, span_kind_str},
    ids::{SpanId, TraceId},
    series::{Series, SeriesKind},
    stacks::WantedSpan,
    time::UnixNanos,
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, ops::Range};

const ERROR: u8 = 2;
const CLIENT: u8 = 3;
const PRODUCER: u8 = 4;
/// Kinds below this are requests only as entries.
const SERVER: u8 = 2;
const REQUESTS: [(SeriesKind, StatKind); 5] = [
    (SeriesKind::RequestRate, StatKind::Count),
    (SeriesKind::ErrorRatio, StatKind::Share),
    (SeriesKind::DurationP50, StatKind::LogMean),
    (SeriesKind::DurationP95, StatKind::Share),
    (SeriesKind::DurationP99, StatKind::Share),
];
const EDGE: [(SeriesKind, StatKind); 3] =
    [(SeriesKind::EdgeRate, StatKind::Count), (SeriesKind::EdgeErrorRatio, StatKind::Share), (SeriesKind::EdgeGap, StatKind::LogMean)];

/// Everything known of spans beside the topology.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct SpanIntake {
    /// Edges by hash of caller, callee and the callee's operation (a peer's: the caller's).
    edges: FixedMap<u128, SourceIndex>,
    /// Edges by pair of operations: spares hashing.
    pairs: FixedMap<(u32, u32), SourceIndex>,
    #[serde(skip)]
    joined: Vec<Joined>,
}

/// The columns that are read, found once a batch.
struct Columns<'a> {
    resources: &'a [u32],
    traces: &'a FixedSizeBinaryArray,
    ids: &'a FixedSizeBinaryArray,
    parents: &'a FixedSizeBinaryArray,
    names: &'a StringArray,
    routes: &'a StringArray,
    peers: &'a StringArray,
    kinds: &'a [u8],
    starts: &'a [u64],
    ends: &'a [u64],
    statuses: &'a [u8],
    attributes: &'a BinaryArray,
    senders: &'a [u64],
    of_sender: &'a BinaryArray,
}

impl<'a> Columns<'a> {
    fn of(rows: &'a Spans, resources: &'a Resources) -> Self {
        Self {
            resources: rows.resource().values(),
            traces: rows.trace_id(),
            ids: rows.span_id(),
            parents: rows.parent_span_id(),
            names: rows.name(),
            routes: rows.route(),
            peers: rows.peer(),
            kinds: rows.kind().values(),
            starts: rows.start_ns().values(),
            ends: rows.end_ns().values(),
            statuses: rows.status().values(),
            attributes: rows.attributes(),
            senders: resources.hash().values(),
            of_sender: resources.attributes(),
        }
    }

    /// Reads what the next rows say, ahead of them. Attributes are left out: of most rows nobody looks at them.
    fn touch(&self, rows: Range<usize>) {
        ahead::lines(&self.resources[rows.clone()]);
        ahead::lines(&self.kinds[rows.clone()]);
        ahead::lines(&self.statuses[rows.clone()]);
        ahead::lines(&self.starts[rows.clone()]);
        ahead::lines(&self.ends[rows.clone()]);
        [self.traces, self.ids, self.parents].into_iter().for_each(|column| ahead::ids(column, rows.clone()));
        [self.names, self.routes, self.peers].into_iter().for_each(|column| ahead::texts(column, rows.clone()));
    }

    /// What a row's operation is called: its route, else its name, which may have ids in it.
    fn spelt(&self, row: usize) -> (&'a str, bool) {
        let route = self.routes.value(row);
        if route.is_empty() { (self.names.value(row), true) } else { (route, false) }
    }

    fn operation_key(&self, service: ServiceIndex, row: usize) -> u128 {
        operation_key(service, self.kinds[row], self.spelt(row).0)
    }

    /// What is kept of a row to explain anomalies by.
    fn origin(&self, row: usize) -> Origin<'a> {
        let resource = self.resources[row] as usize;
        Origin { sender: self.senders[resource], resource: self.of_sender.value(resource), attributes: self.attributes.value(row) }
    }
}

impl SpanIntake {
    /// Takes the rows of a batch. `services` has one entry per resource.
    pub fn take(&mut self, parts: &mut Parts<'_>, services: &[ServiceIndex], (rows, resources): (&Spans, &Resources), at: UnixNanos) {
        let columns = Columns::of(rows, resources);
        for start in (0..rows.len()).step_by(ahead::ROWS) {
            let end = rows.len().min(start + ahead::ROWS);
            columns.touch(start..end);
            let mut known: [ahead::Known; ahead::ROWS] = [None; ahead::ROWS];
            for (row, known) in (start..end).zip(&mut known) {
                let service = services.get(columns.resources[row] as usize);
                *known = service.and_then(|service| parts.topology.names.operation_of(columns.operation_key(*service, row)));
            }
            ahead::touch(parts, &known[..end - start]);
            for (row, known) in (start..end).zip(known) {
                if let Some(flaw) = span_flaw(columns.starts[row], columns.ends[row], at) {
                    parts.counts.unscored(flaw, 1);
                    continue;
                }
                let window = parts.closing.window_of(columns.ends[row]);
                let Some(service) = services.get(columns.resources[row] as usize).filter(|_| parts.takes(window)) else { continue };
                self.take_row(parts, (*service, window, known), &columns, row);
            }
        }
    }

    fn take_row(
        &mut self,
        parts: &mut Parts<'_>,
        (service, window, known): (ServiceIndex, u64, Option<OperationIndex>),
        columns: &Columns<'_>,
        row: usize,
    ) {
        let kind = columns.kinds[row];
        let operation = known.unwrap_or_else(|| {
            let (spelt, may_have_ids) = columns.spelt(row);
            operation(parts, service, kind, spelt, may_have_ids)
        });
        let (trace, parent) = (columns.traces.value(row), columns.parents.value(row));
        let at = WantedSpan {
            trace_id: TraceId::from_slice(trace).unwrap_or_default(),
            span_id: SpanId::from_slice(columns.ids.value(row)).unwrap_or_default(),
            start: UnixNanos(columns.starts[row]),
            end: UnixNanos(columns.ends[row]),
        };
        let failed = columns.statuses[row] == ERROR;
        let is_root = parent.iter().all(|byte| *byte == 0);
        let is_joined = parts.topology.spans.keeps(trace);
        let is_request = kind >= SERVER || is_root || !is_joined && is_mostly_entry(parts, operation);
        if is_joined && !at.span_id.is_none() {
            let key = span_key(trace, &at.span_id.0);
            let parent = if is_root { 0 } else { span_key(trace, parent) };
            let peer = match columns.peers.value(row) {
                peer if peer.is_empty() || !matches!(kind, CLIENT | PRODUCER) => NOBODY,
                peer => peer_service(parts, service, peer),
            };
            let span = Span { at: at.clone(), parent, operation, service, kind, failed, peer, window };
            if !parts.topology.spans.arrive(key, span, &mut self.joined) {
                parts.counts.unscored(Flaw::Duplicate, 1);
                return;
            }
        }
        parts.gallery.look(Subject::Operation(operation), window, Glance::of_span(&at, failed), || columns.origin(row));
        if is_request {
            count_request(parts, operation, window, &at, failed);
        }
        if !self.joined.is_empty() {
            self.take_joined(parts);
        }
    }

    /// A window is being closed: exclusive times and calls to peers that send no spans are known now.
    pub fn close(&mut self, parts: &mut Parts<'_>, window: u64) {
        parts.topology.spans.close(window, &mut self.joined);
        self.take_joined(parts);
    }

    fn take_joined(&mut self, parts: &mut Parts<'_>) {
        let mut joined = std::mem::take(&mut self.joined);
        for event in joined.drain(..) {
            match event {
                Joined::Exclusive { operation, window, taken_back, sample } => put_exclusive(parts, operation, window, taken_back, sample),
                Joined::Call(call) => {
                    #[allow(clippy::cast_precision_loss, reason = "a power of two")]
                    parts.topology.call(&call, parts.topology.spans.weight() as f64);
                    let callee = parts.topology.names.operation(call.callee).service;
                    self.count_call(parts, (call.caller, call.callee), (callee, call.window), |edge, weight| {
                        edge.add(call.window, weight, call.failed, Some(call.gap));
                    });
                }
                Joined::Peer { caller, peer, window, failed, retract } => {
                    #[allow(clippy::cast_precision_loss, reason = "a power of two")]
                    let weight = parts.topology.spans.weight() as f64;
                    parts.topology.call_peer(caller, peer, if retract { -weight } else { weight }, failed);
                    self.count_call(parts, (caller, u32::MAX - peer), (peer, window), |edge, weight| {
                        if retract { edge.remove(window, weight, failed) } else { edge.add(window, weight, failed, None) }
                    });
                }
                Joined::Entry(span) => {
                    parts.topology.names.operation_mut(span.operation).entries.0 += 1;
                    if parts.closing.takes(span.window) {
                        count_request(parts, span.operation, span.window, &span.at, span.failed);
                    }
                }
                Joined::Incomplete { operation, window, caller } => {
                    let weight = parts.topology.spans.weight();
                    if let Some(source) = parts.topology.names.operation(operation).requests.filter(|_| parts.closing.takes(window))
                        && let Some(Body::Requests(requests)) = parts.sources.seen(source, window)
                    {
                        requests.fail(window, weight);
                        parts.closing.touch(window, source);
                    }
                    if let Some((caller, window)) = caller {
                        let callee = parts.topology.names.operation(operation).service;
                        self.count_call(parts, (caller, operation), (callee, window), |edge, _| edge.fail(window));
                    }
                }
                Joined::Inner(operation) => parts.topology.names.operation_mut(operation).entries.1 += 1,
            }
        }
        self.joined = joined;
    }

    fn count_call(
        &mut self,
        parts: &mut Parts<'_>,
        pair: (OperationIndex, u32),
        (callee, window): (ServiceIndex, u64),
        count: impl FnOnce(&mut Edge, u64),
    ) {
        if !parts.closing.takes(window) {
            return;
        }
        let source = match self.pairs.get(&pair) {
            Some(source) => *source,
            None => {
                let Some(source) = self.edge(parts, pair, (callee, window)) else { return };
                self.pairs.insert(pair, source);
                source
            }
        };
        let weight = parts.topology.spans.weight();
        if let Some(Body::Edge(edge)) = parts.sources.seen(source, window) {
            count(edge, weight);
            parts.closing.touch(window, source);
        }
    }

    fn edge(&mut self, parts: &mut Parts<'_>, pair: (OperationIndex, u32), (callee, window): (ServiceIndex, u64)) -> Option<SourceIndex> {
        let names = &parts.topology.names;
        let caller = names.operation(pair.0).service;
        let is_peer = pair.1 > u32::MAX / 2;
        let operation = names.operation(if is_peer { pair.0 } else { pair.1 });
        let (caller, owner) = (names.get(caller), names.get(callee));
        let who = Owner { tenant: &owner.tenant, service: &owner.name, group: "edges" };
        let varying = [("caller", &*caller.name), ("span.name", &*operation.name)];
        let is_admitted = parts.registry.admit(who, EDGE.len(), &varying, UnixNanos(parts.closing.end_of(window)));
        let mut labels = BTreeMap::from([("callee".to_owned(), owner.name.to_string())]);
        add_namespace(&mut labels, &owner.namespace);
        let name = if is_admitted && !operation.overflow {
            labels.insert("caller".to_owned(), caller.name.to_string());
            if is_peer {
                labels.insert("inferred".to_owned(), "true".to_owned());
            }
            operation.name.clone()
        } else {
            parts.counts.add("geophone_engine_series_overflow_total", "edges", 1);
            labels.insert("overflow".to_owned(), "true".to_owned());
            rest::OTHER.into()
        };
        self.edge_of(parts, (callee, "edges", is_peer), (&name, labels), window).or_else(|| {
            let service = rest::service(&mut parts.topology.names, callee);
            let labels = ["callee", "overflow"].into_iter().zip([rest::OTHER, "true"]);
            let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
            self.edge_of(parts, (service, REST, true), (rest::OTHER, labels), window)
        })
    }

    /// The edge of this callee, name and labels; `None` if its tenant has no room for it.
    fn edge_of(
        &mut self,
        parts: &mut Parts<'_>,
        (service, group, is_peer): (ServiceIndex, &str, bool),
        (name, labels): (&str, BTreeMap<String, String>),
        window: u64,
    ) -> Option<SourceIndex> {
        let names = &parts.topology.names;
        let owner = names.get(service);
        let kinds = if is_peer { &EDGE[..2] } else { &EDGE[..] };
        let series: Vec<_> =
            kinds.iter().map(|(kind, stat)| (Series::new(owner.tenant.clone(), &owner.name, name, *kind, labels.clone()), *stat)).collect();
        let key = of_parts(u64::from(is_peer), [&series[0].0.key.0.to_le_bytes()[..]]);
        if let Some(source) = self.edges.get(&key) {
            return Some(*source);
        }
        let plan = Plan { service, group, made_for: key, window, series, body: Body::Edge(Edge::new(is_peer)) };
        let source = parts.sources.make(parts.registry, names, plan)?;
        self.edges.insert(key, source);
        Some(source)
    }

    /// Forgets edges that are gone.
    pub fn forget(&mut self, keys: &[u128]) {
        let gone: Vec<SourceIndex> = keys.iter().filter_map(|key| self.edges.remove(key)).collect();
        if !gone.is_empty() {
            self.pairs.retain(|_, source| !gone.contains(source));
        }
    }
}

fn is_mostly_entry(parts: &Parts<'_>, operation: OperationIndex) -> bool {
    let (entries, inner) = parts.topology.names.operation(operation).entries;
    entries > inner
}

fn peer_service(parts: &mut Parts<'_>, service: ServiceIndex, peer: &str) -> ServiceIndex {
    let known = parts.topology.names.get(service);
    let (tenant, namespace) = (known.tenant.clone(), known.namespace.clone());
    if let Some(same) = parts.topology.names.find(&tenant, &namespace, peer) {
        return same;
    }
    let owner = Owner { tenant: &tenant, service: "(peers)", group: "edges" };
    let is_admitted = parts.registry.admit(owner, 0, &[("peer.service", peer)], UnixNanos(0)) && parts.topology.names.len() < SERVICES_MAX;
    if is_admitted { parts.topology.names.service(&tenant, &namespace, peer) } else { NOBODY }
}

/// Services kept at most, inferred ones included.
pub const SERVICES_MAX: usize = 20_000;

/// The operation of a span as it is spelt; new ones are admitted or go to the service's overflow.
fn operation(parts: &mut Parts<'_>, service: ServiceIndex, kind: u8, spelt: &str, may_have_ids: bool) -> OperationIndex {
    if let Some(known) = parts.topology.names.operation_of(operation_key(service, kind, spelt)) {
        return known;
    }
    let clean = if may_have_ids { without_ids(spelt) } else { spelt.into() };
    let key = operation_key(service, kind, &clean);
    if let Some(known) = parts.topology.names.operation_of(key) {
        return known;
    }
    let names = &parts.topology.names;
    let known = names.get(service);
    let owner = Owner { tenant: &known.tenant, service: &known.name, group: "spans" };
    if parts.registry.admit(owner, REQUESTS.len() + 1, &[("span.name", &clean)], UnixNanos(0)) {
        let name = clean.into();
        let made = Operation { service, name, kind, overflow: false, requests: None, exclusive: None, entries: (0, 0) };
        return parts.topology.names.number(key, made);
    }
    parts.counts.add("geophone_engine_series_overflow_total", "spans", 1);
    rest::overflow(&mut parts.topology.names, service, kind)
}

fn count_request(parts: &mut Parts<'_>, operation: OperationIndex, window: u64, at: &WantedSpan, failed: bool) {
    let Some(source) = requests_of(parts, operation, window) else { return parts.counts.unscored(Flaw::NoRoom, 1) };
    #[allow(clippy::cast_precision_loss, reason = "a duration needs no more than 53 bits")]
    let ln_seconds = (at.end.since(at.start).max(1) as f64 * 1e-9).ln();
    if let Some(Body::Requests(requests)) = parts.sources.seen(source, window) {
        requests.add(window, at, ln_seconds, failed);
        parts.closing.touch(window, source);
    }
}

/// What an operation's requests count for: a source of its own, or its tenant's rest where there is no room for one.
fn requests_of(parts: &mut Parts<'_>, operation: OperationIndex, window: u64) -> Option<SourceIndex> {
    let own = own_requests(parts, operation, window);
    own.or_else(|| {
        let Operation { service, overflow, .. } = *parts.topology.names.operation(operation);
        parts.counts.add("geophone_engine_series_overflow_total", "spans", u64::from(!overflow));
        let rest = rest::operation(&mut parts.topology.names, service);
        own_requests(parts, rest, window)
    })
}

fn own_requests(parts: &mut Parts<'_>, operation: OperationIndex, window: u64) -> Option<SourceIndex> {
    if let Some(known) = parts.topology.names.operation(operation).requests {
        return Some(known);
    }
    let source = make(parts, operation, window, &REQUESTS, Body::Requests(Box::<Requests>::default()))?;
    parts.topology.names.operation_mut(operation).requests = Some(source);
    Some(source)
}

fn put_exclusive(parts: &mut Parts<'_>, operation: OperationIndex, window: u64, taken_back: Option<LogSample>, sample: LogSample) {
    if !parts.closing.takes(window) {
        return;
    }
    let source = match parts.topology.names.operation(operation).exclusive {
        Some(source) => source,
        None => {
            let kinds = [(SeriesKind::ExclusiveTime, StatKind::LogMean)];
            let Some(source) = make(parts, operation, window, &kinds, Body::Exclusive(Exclusive::default())) else {
                return parts.counts.add("geophone_engine_series_overflow_total", "exclusive_times", 1);
            };
            parts.topology.names.operation_mut(operation).exclusive = Some(source);
            source
        }
    };
    if let Some(Body::Exclusive(exclusive)) = parts.sources.seen(source, window) {
        exclusive.put(window, taken_back, sample);
        parts.closing.touch(window, source);
    }
}

/// `None` if the tenant has no room. That is asked before anything is named: of a tenant without room it is asked
/// for every span.
fn make(
    parts: &mut Parts<'_>,
    operation: OperationIndex,
    window: u64,
    kinds: &[(SeriesKind, StatKind)],
    body: Body,
) -> Option<SourceIndex> {
    let names = &parts.topology.names;
    let named = names.operation(operation);
    let owner = names.get(named.service);
    let group = if rest::is_rest(names, named) { REST } else { "spans" };
    if !parts.registry.has_room(Owner { tenant: &owner.tenant, service: &owner.name, group }, kinds.len()) {
        return None;
    }
    let mut labels = BTreeMap::from([("span_kind".to_owned(), span_kind_str(named.kind).to_owned())]);
    if named.overflow {
        labels.insert("overflow".to_owned(), "true".to_owned());
    }
    add_namespace(&mut labels, &owner.namespace);
    let series = kinds
        .iter()
        .map(|(kind, stat)| (Series::new(owner.tenant.clone(), &owner.name, &named.name, *kind, labels.clone()), *stat))
        .collect();
    let plan = Plan { service: named.service, group, made_for: u128::from(operation), window, series, body };
    parts.sources.make(parts.registry, names, plan)
}

fn add_namespace(labels: &mut BTreeMap<String, String>, namespace: &str) {
    if !namespace.is_empty() {
        labels.insert("namespace".to_owned(), namespace.to_owned());
    }
}
