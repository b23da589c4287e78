//! From batches and ticks to closed windows. The first half of the brain, and as pure.
//!
//! Called by `brain`: `batch` or `tick` for each record, then the drains. Invariant: a function of
//! the batches and ticks in their order; and what is settled does not depend on the order of rows
//! that come within the allowed lateness (while no cap is exceeded).

use super::{
    counts::{Count, Counts},
    logs::LogIntake,
    picks::SpanSamples,
    points::PointIntake,
    rest,
    source::{Body, Frame, Gone, Source, SourceIndex, Sources},
    spans::{SERVICES_MAX, SpanIntake},
};
use crate::{
    cardinality::{Overflow, Registry},
    settings::Settings,
    time::{Watermark, span_flaw, time_flaw},
    topology::{Deploy, Placed, Topology, hosts::host_of, names::ServiceIndex},
    why::Gallery,
    window::{ClosedWindow, SeriesIndex, StatKind, open::Closing},
};
use geophone_proto::{
    batch::{Batch, Columns},
    columns::Resources,
    ids::Seq,
    series::Series,
    time::UnixNanos,
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// Rows further ahead of everybody than this are not windowed.
const AHEAD_NS_MAX: u64 = 3_600_000_000_000;
/// The first window is at most so much older than the newest row of the first batch.
const HISTORY_NS_MAX: u64 = 3_600_000_000_000;
/// Windows after settling for which spans wait for parents.
const JOIN_WINDOWS: u64 = 1;

/// See the head of this file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Observer {
    watermark: Watermark,
    closing: Closing,
    registry: Registry,
    sources: Sources,
    topology: Topology,
    spans: SpanIntake,
    points: PointIntake,
    logs: LogIntake,
    pub(crate) gallery: Gallery,
    closed: Vec<ClosedWindow>,
    /// Services whose rows of a closed window are still expected: told by amending.
    held: BTreeMap<u64, BTreeSet<ServiceIndex>>,
    last_seq: Seq,
    /// Newest window with a row.
    newest: u64,
    /// The newest closed window, if its closing has left something to do.
    unsettled: Option<u64>,
    #[serde(skip)]
    counts: Counts,
}

/// What those who take rows may change.
pub struct Parts<'a> {
    /// Which windows are open.
    pub closing: &'a mut Closing,
    /// All sources.
    pub sources: &'a mut Sources,
    /// Numbers of series.
    pub registry: &'a mut Registry,
    /// Names, joins and graph.
    pub topology: &'a mut Topology,
    /// Rows kept for explaining.
    pub gallery: &'a mut Gallery,
    /// What was not scored, and why.
    pub counts: &'a mut Counts,
    /// Rows beyond this window are too far ahead.
    pub window_max: u64,
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl Observer {
    /// An observer that has seen nothing.
    pub fn new(settings: &Settings) -> Self {
        let window_ns = nanos(settings.window);
        let mut observer = Self {
            watermark: Watermark::new(window_ns, settings.delay.map(nanos)),
            closing: Closing::new(window_ns, nanos(settings.allowed_lateness)),
            registry: Registry::new(settings.series_per_tenant_max, settings.series_per_name_max),
            sources: Sources::default(),
            topology: Topology::default(),
            spans: SpanIntake::default(),
            points: PointIntake::default(),
            logs: LogIntake::default(),
            gallery: Gallery::default(),
            closed: Vec::new(),
            held: BTreeMap::new(),
            last_seq: Seq(0),
            newest: 0,
            unsettled: None,
            counts: Counts::default(),
        };
        observer.set_budgets(settings);
        observer
    }

    /// Takes over how many series single tenants may have, and how much may be kept of rows.
    pub fn set_budgets(&mut self, settings: &Settings) {
        self.gallery.set_bytes_max(settings.attribute_bytes_max);
        self.registry.set_budgets(&settings.series_of_tenant);
    }

    /// Takes all rows of a batch, then closes what they complete.
    pub fn batch(&mut self, batch: &Batch, seq: Seq) {
        self.settle();
        self.last_seq = seq;
        if matches!(batch.columns, Columns::Profiles(_)) {
            return;
        }
        // Telemetry may run faster than the wall clock, and so ahead of it.
        let at = batch.arrived_at.max(UnixNanos(self.watermark.leader()));
        let newest = newest_per_resource(batch, at);
        let services = self.services(batch, &newest);
        self.hear((batch, at), &services, &newest);
        let leader = self.watermark.leader();
        if !self.closing.begun {
            self.limit_history(leader);
        }
        let window_max = self.closing.window_of(leader.saturating_add(AHEAD_NS_MAX));
        let Self { closing, sources, registry, topology, gallery, counts, .. } = self;
        let mut parts = Parts { closing, sources, registry, topology, gallery, counts, window_max };
        match &batch.columns {
            Columns::Traces(rows) => self.spans.take(&mut parts, &services, (rows, &batch.resources), at),
            Columns::Metrics(rows) => self.points.take(&mut parts, &services, (rows, &batch.resources), at),
            Columns::Logs(rows) => self.logs.take(&mut parts, &services, (rows, &batch.resources), at),
            // Stored and asked for; nothing is watched in them, and they do not move time.
            Columns::Profiles(_) => {}
        }
        self.newest = newest.iter().flatten().fold(self.newest, |max, clock| max.max(self.closing.window_of(*clock).min(window_max)));
        self.watermark.advance();
        self.close_until(self.watermark.at());
    }

    /// Before the first closing: nothing older than an hour before the leader begins history.
    fn limit_history(&mut self, leader: u64) {
        let oldest = self.closing.window_of(leader.saturating_sub(HISTORY_NS_MAX));
        if self.closing.next.is_some_and(|next| next < oldest) {
            self.closing.next = Some(oldest);
        }
    }

    /// Numbers of the batch's services; learns hosts and versions.
    fn services(&mut self, batch: &Batch, newest: &[Option<u64>]) -> Vec<ServiceIndex> {
        let resources: &Resources = &batch.resources;
        let mut services = Vec::with_capacity(resources.len());
        for (row, newest) in newest.iter().enumerate() {
            let names = &mut self.topology.names;
            let (namespace, name) = (resources.namespace().value(row), resources.service().value(row));
            let service = match names.find(&batch.tenant, namespace, name) {
                Some(known) => known,
                None if names.len() < SERVICES_MAX => names.service(&batch.tenant, namespace, name),
                None => {
                    self.counts.add("geophone_engine_series_overflow_total", "services", 1);
                    names.service(&batch.tenant, "", rest::OTHER)
                }
            };
            services.push(service);
            let Some(newest) = *newest else { continue };
            let known = names.get_mut(service);
            known.inferred = false;
            known.clock = known.clock.max(newest);
            let hosts = &mut self.topology.hosts;
            let version = resources.version().value(row);
            if !version.is_empty() {
                hosts.version(service, (&batch.tenant, name), version, newest);
            }
            let sender = resources.hash().value(row);
            if hosts.wants(sender, newest)
                && let Some(host) = host_of(resources.attributes().value(row))
            {
                hosts.place(&host, service, (&batch.tenant, name), newest);
            }
        }
        services
    }

    /// Tells the watermark who has sent what, and how late.
    fn hear(&mut self, (batch, at): (&Batch, UnixNanos), services: &[ServiceIndex], newest: &[Option<u64>]) {
        let is_prompt = !matches!(batch.columns, Columns::Metrics(_));
        let senders = batch.resources.hash().values();
        for (sender, clock) in senders.iter().zip(newest).filter_map(|(sender, clock)| clock.map(|clock| (*sender, clock))) {
            self.watermark.hear(sender, clock, batch.arrived_at, is_prompt);
        }
        self.watermark.lead();
        let mut oldest: Vec<u64> = newest.iter().map(|newest| newest.unwrap_or(0)).collect();
        // Rows of one sender follow each other: it is looked up once for all of them.
        let (mut run, mut times) = (usize::MAX, Vec::new());
        each_time(batch, at, |resource, time| {
            if resource != run {
                senders.get(run).into_iter().for_each(|sender| self.watermark.lag(*sender, &times, is_prompt));
                run = resource;
                times.clear();
            }
            if let Some(oldest) = oldest.get_mut(resource) {
                times.push(time);
                *oldest = time.min(*oldest);
            }
        });
        senders.get(run).into_iter().for_each(|sender| self.watermark.lag(*sender, &times, is_prompt));
        if is_prompt {
            let leader = self.watermark.leader();
            for ((service, newest), oldest) in services.iter().zip(newest).zip(oldest).filter(|((_, newest), _)| newest.is_some()) {
                self.topology.names.get_mut(*service).hear(newest.unwrap_or(0), oldest, leader);
            }
        }
    }

    /// Time has passed by the wall clock: ends silence, nothing else.
    pub fn tick(&mut self, at: UnixNanos) {
        self.watermark.tick(at);
        self.close_until(self.watermark.at());
    }

    /// No more will come: closes every window that the newest believed row has completed.
    pub fn finish(&mut self) {
        self.close_until(self.watermark.leader().max(self.watermark.at()));
        self.settle();
        self.release(Some(u64::MAX));
        self.emit_amended();
    }

    fn close_until(&mut self, complete_ns: u64) {
        self.settle();
        while let Some(next) = self.closing.next.filter(|next| self.closing.end_of(*next) <= complete_ns) {
            self.closing.begun = true;
            if next > self.newest && self.sources.is_empty() {
                // Nothing is known that could be silent: jump to the end of the silence.
                self.closing.next = Some(self.closing.window_of(complete_ns).max(next + 1));
                continue;
            }
            self.settle();
            self.close(next);
        }
    }

    /// Does what closing a window has left: nobody waits for it. The next batch or tick does it where nobody has.
    pub fn settle(&mut self) {
        let Some(window) = self.unsettled.take() else { return };
        let (end, length_ns) = (self.closing.end_of(window), self.closing.length_ns);
        if let Some(settled) = self.closing.settled() {
            self.sources.settle_metrics(settled);
        }
        let gone = self.sources.expire(end, &mut self.registry, &self.topology.names, length_ns);
        self.forget(&gone);
    }

    /// Writes ahead some rows of the window that closes next, once most of its points should be there. `None` if there
    /// is nothing to write.
    pub fn draft(&mut self) -> Option<&ClosedWindow> {
        self.settle();
        let leader = self.watermark.leader();
        let Closing { next, begun, length_ns, drafts, .. } = &mut self.closing;
        let window = next.filter(|_| *begun)?;
        let is_over = (window + 1).saturating_mul(*length_ns) <= leader;
        drafts.write(&self.sources, &Frame { window, length_ns: *length_ns }, is_over)
    }

    fn close(&mut self, window: u64) {
        let Self { closing, sources, registry, topology, gallery, counts, .. } = self;
        let mut parts = Parts { closing, sources, registry, topology, gallery, counts, window_max: u64::MAX };
        self.spans.close(&mut parts, window);
        let length_ns = self.closing.length_ns;
        let settling = (window + 1).checked_sub(self.closing.lag + 1);
        self.release(settling);
        self.emit_amended();
        self.closing.next = Some(window + 1);
        let (end, leader) = (self.closing.end_of(window), self.watermark.expects_until());
        let services = self.topology.names.services();
        let held: BTreeSet<ServiceIndex> =
            services.filter(|(_, service)| service.is_expected(end, leader)).map(|(service, _)| service).collect();
        let rows = self.sources.close(settling, &Frame { window, length_ns }, &held, &mut self.closing.drafts);
        self.closed.push(ClosedWindow { start_ns: window * length_ns, length_ns, amended: false, rows });
        if !held.is_empty() {
            self.held.insert(window, held);
        }
        if let Some(settled) = settling {
            self.gallery.settle(settled);
            self.topology.spans.evict(settled.saturating_sub(JOIN_WINDOWS));
        }
        self.topology.fade(length_ns, end);
        self.unsettled = Some(window);
    }

    /// Tells what was held once it is there, or overdue, or its window is being settled.
    fn release(&mut self, settling: Option<u64>) {
        let leader = self.watermark.expects_until();
        for (window, services) in std::mem::take(&mut self.held) {
            let is_last = settling.is_some_and(|settling| window <= settling);
            let end = self.closing.end_of(window);
            let (waiting, due): (BTreeSet<_>, BTreeSet<_>) =
                services.into_iter().partition(|service| !is_last && self.topology.names.get(*service).is_expected(end, leader));
            let sources = due.into_iter().flat_map(|service| self.sources.of_service(service, window));
            self.closing.dirty.entry(window).or_default().extend(sources);
            if !waiting.is_empty() {
                self.held.insert(window, waiting);
            }
        }
    }

    /// Windows that late rows have changed since they were last told.
    fn emit_amended(&mut self) {
        let length_ns = self.closing.length_ns;
        for (window, changed) in std::mem::take(&mut self.closing.dirty) {
            let mut rows = Vec::new();
            for source in changed.into_iter().filter_map(|source| self.sources.get(source)) {
                source.rows(&Frame { window, length_ns }, &mut rows);
            }
            if !rows.is_empty() {
                self.closed.push(ClosedWindow { start_ns: window * length_ns, length_ns, amended: true, rows });
            }
        }
    }

    fn forget(&mut self, gone: &[Gone]) {
        let (mut edges, mut metrics, mut logs) = (Vec::new(), Vec::new(), Vec::new());
        for source in gone {
            match *source {
                Gone::Operation(index, is_requests) => {
                    let operation = self.topology.names.operation_mut(index);
                    *(if is_requests { &mut operation.requests } else { &mut operation.exclusive }) = None;
                    if operation.requests.is_none() && operation.exclusive.is_none() {
                        self.topology.names.forget(index);
                    }
                }
                Gone::Edge(key) => edges.push(key),
                Gone::Metric(key) => metrics.push(key),
                Gone::Log(key) => logs.push(key),
            }
        }
        self.spans.forget(&edges);
        self.points.forget(&metrics, &self.sources);
        self.logs.forget(&logs);
    }

    /// Windows closed or amended since the last call, in the order they must be scored.
    pub fn drain(&mut self) -> Vec<ClosedWindow> {
        std::mem::take(&mut self.closed)
    }

    /// Series seen for the first time since the last call; they come before their first row.
    pub fn new_series(&mut self) -> Vec<(SeriesIndex, Series, StatKind)> {
        self.registry.take_fresh()
    }

    /// Series that expired since the last call: no row will come, their state can go.
    pub fn gone_series(&mut self) -> Vec<SeriesIndex> {
        self.settle();
        self.registry.take_gone()
    }

    /// Services seen on a machine for the first time since the last call.
    pub fn new_places(&mut self) -> Vec<Placed> {
        self.topology.hosts.take_places()
    }

    /// Services seen in another version since the last call.
    pub fn new_deploys(&mut self) -> Vec<Deploy> {
        self.topology.hosts.take_deploys()
    }

    /// No window that ends at or before this will change any more.
    pub fn settled(&self) -> Option<UnixNanos> {
        self.closing.settled().map(|window| UnixNanos(self.closing.end_of(window)))
    }

    /// Counts since the last call.
    pub fn counts(&mut self) -> Vec<Count> {
        let passed_over = self.gallery.take_passed_over();
        if passed_over > 0 {
            self.counts.add("geophone_engine_attributes_skipped_total", "memory", passed_over);
        }
        self.counts.take()
    }

    /// Who calls whom, and where they run.
    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    /// Caps that were exceeded.
    pub fn overflows(&self) -> &[Overflow] {
        self.registry.overflows()
    }

    /// Position of the last batch taken.
    pub fn last_seq(&self) -> Seq {
        self.last_seq
    }

    /// Rows up to this event time are taken to be complete.
    pub fn complete(&self) -> UnixNanos {
        UnixNanos(self.watermark.at())
    }

    /// Series there are now.
    pub fn series(&self) -> usize {
        self.registry.len()
    }

    /// The source of a series, and its number.
    pub(crate) fn source_of(&self, series: SeriesIndex) -> Option<(SourceIndex, &Source)> {
        self.sources.of_series(series)
    }

    /// Numbers of a service's log templates.
    pub(crate) fn logs_of(&self, service: ServiceIndex) -> impl Iterator<Item = SourceIndex> + '_ {
        let of_service = self.sources.of_service(service, u64::MAX);
        of_service.filter(|source| self.sources.get(*source).is_some_and(|source| matches!(source.body, Body::Log(_))))
    }

    /// The window that a moment falls in.
    pub(crate) fn window_of(&self, at_ns: u64) -> u64 {
        self.closing.window_of(at_ns)
    }

    /// Spans to ask stacks for: of the minute up to the end of a window, and normal ones from before.
    /// `None` unless the series is about requests of an operation.
    pub fn span_samples(&self, series: SeriesIndex, window_end: UnixNanos) -> Option<SpanSamples> {
        let (_, source) = self.sources.of_series(series)?;
        let Body::Requests(requests) = &source.body else { return None };
        let until = self.closing.window_of(window_end.0.saturating_sub(1));
        let samples = requests.samples(until.saturating_sub(self.closing.lag.saturating_sub(1)), until);
        Some(SpanSamples { service: self.topology.names.get(source.service).name.to_string(), ..samples })
    }
}

/// Calls with the resource and time of each row that can be believed.
fn each_time(batch: &Batch, at: UnixNanos, mut call: impl FnMut(usize, u64)) {
    match &batch.columns {
        Columns::Traces(rows) => {
            let ends = rows.start_ns().values().iter().zip(rows.end_ns().values());
            for (resource, (start, end)) in rows.resource().values().iter().zip(ends) {
                if span_flaw(*start, *end, at).is_none() {
                    call(*resource as usize, *end);
                }
            }
        }
        Columns::Metrics(rows) => {
            let times = rows.resource().values().iter().zip(rows.time_ns().values());
            times.filter(|(_, time)| time_flaw(**time, at).is_none()).for_each(|(resource, time)| call(*resource as usize, *time));
        }
        Columns::Logs(rows) => {
            let times = rows.resource().values().iter().zip(rows.time_ns().values());
            times.filter(|(_, time)| time_flaw(**time, at).is_none()).for_each(|(resource, time)| call(*resource as usize, *time));
        }
        Columns::Profiles(_) => {}
    }
}

/// Newest believable time of each resource's rows.
fn newest_per_resource(batch: &Batch, at: UnixNanos) -> Vec<Option<u64>> {
    let mut newest = vec![None; batch.resources.len()];
    each_time(batch, at, |resource, time| {
        if let Some(slot) = newest.get_mut(resource) {
            *slot = Some(slot.map_or(time, |known: u64| known.max(time)));
        }
    });
    newest
}
