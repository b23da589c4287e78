//! Log records: which template each belongs to, and how many a window has.

use super::{
    observer::Parts,
    rest,
    source::{Body, Frame, Plan, SourceIndex, rows_of},
    template::Miner,
};
use crate::{
    cardinality::{Owner, REST},
    hash::{FixedMap, of_parts},
    time::{Flaw, time_flaw},
    topology::names::ServiceIndex,
    why::{Glance, Origin, Subject},
    window::{SeriesIndex, Stat, StatKind, WindowRow, open::Cells},
};
use geophone_proto::{
    anomaly::Exemplar,
    columns::{Logs, Resources, severity_str},
    ids::{SpanId, TraceId},
    series::{Series, SeriesKind},
    time::UnixNanos,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Templates of one service at most; more records go to one marked series.
const TEMPLATES_MAX: usize = 1_000;
/// Texts whose template is remembered.
const TEXTS_MAX: usize = 20_000;

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Cell {
    n: u64,
    exemplar: Option<Exemplar>,
}

/// Records of one template and severity.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct LogRate(Cells<Cell>);

impl LogRate {
    fn add(&mut self, window: u64, exemplar: Option<Exemplar>) {
        let cell = self.0.at(window);
        cell.n += 1;
        let smaller = exemplar.filter(|new| cell.exemplar.is_none_or(|old| (new.trace_id, new.span_id) < (old.trace_id, old.span_id)));
        cell.exemplar = smaller.or(cell.exemplar);
    }

    /// The window is final.
    pub fn settle(&mut self, window: u64) {
        self.0.settle(window);
    }

    /// The row of a window.
    #[allow(clippy::cast_precision_loss, reason = "records of a window")]
    pub fn rows(&self, frame: &Frame, first: SeriesIndex, rows: &mut Vec<WindowRow>) {
        let (n, exemplar) = self.0.get(frame.window).map_or((0.0, None), |cell| (cell.n as f64, cell.exemplar));
        rows_of(rows, first, [(Stat { n, s1: n, s2: 0.0 }, n / frame.length_s(), exemplar.into_iter().collect())]);
    }
}

/// Everything known of log records.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct LogIntake {
    miners: FixedMap<ServiceIndex, Miner>,
    /// Sources by hash of service, severity and whole text: spares masking what repeats.
    texts: FixedMap<u128, SourceIndex>,
    /// Sources by hash of service, severity and template.
    templates: FixedMap<u128, SourceIndex>,
}

impl LogIntake {
    /// Takes the rows of a batch. `services` has one entry per resource.
    pub fn take(&mut self, parts: &mut Parts<'_>, services: &[ServiceIndex], (rows, senders): (&Logs, &Resources), at: UnixNanos) {
        let resources = rows.resource().values();
        let (hashes, of_sender, attributes) = (senders.hash().values(), senders.attributes(), rows.attributes());
        let (times, severities, bodies) = (rows.time_ns().values(), rows.severity().values(), rows.body());
        for row in 0..rows.len() {
            if let Some(flaw) = time_flaw(times[row], at) {
                parts.counts.unscored(flaw, 1);
                continue;
            }
            let window = parts.closing.window_of(times[row]);
            let Some(service) = services.get(resources[row] as usize).filter(|_| parts.takes(window)) else { continue };
            let Some(source) = self.source(parts, (*service, window), severities[row], bodies.value(row)) else {
                parts.counts.unscored(Flaw::NoRoom, 1);
                continue;
            };
            if let Some(Body::Log(log)) = parts.sources.seen(source, window) {
                log.add(window, exemplar_of(rows.trace_id().value(row), rows.span_id().value(row)));
                parts.closing.touch(window, source);
            }
            let (resource, own) = (resources[row] as usize, attributes.value(row));
            let hash = xxhash_rust::xxh3::xxh3_64_with_seed(own, times[row] ^ hashes[resource]);
            parts.gallery.look(Subject::Log(source), window, Glance::of_record(hash), || Origin {
                sender: hashes[resource],
                resource: of_sender.value(resource),
                attributes: own,
            });
        }
    }

    fn source(&mut self, parts: &mut Parts<'_>, (service, window): (ServiceIndex, u64), severity: u8, body: &str) -> Option<SourceIndex> {
        let severity = severity_str(severity);
        let text_key = of_parts(u64::from(service), [severity.as_bytes(), body.as_bytes()]);
        if let Some(source) = self.texts.get(&text_key) {
            return Some(*source);
        }
        let miner = self.miners.entry(service).or_default();
        let is_full = miner.len() >= TEMPLATES_MAX;
        let template = if is_full { String::new() } else { miner.template(body) };
        let source = self.source_of(parts, (service, window), severity, &template)?;
        if self.texts.len() >= TEXTS_MAX {
            self.texts.clear();
        }
        self.texts.insert(text_key, source);
        Some(source)
    }

    /// The source of a template; an empty one is the overflow.
    fn source_of(
        &mut self,
        parts: &mut Parts<'_>,
        (service, window): (ServiceIndex, u64),
        severity: &str,
        template: &str,
    ) -> Option<SourceIndex> {
        let key = of_parts(u64::from(service), [severity.as_bytes(), template.as_bytes(), b"template"]);
        if let Some(source) = self.templates.get(&key) {
            return Some(*source);
        }
        let known = parts.topology.names.get(service);
        let mut labels = BTreeMap::from([("severity".to_owned(), severity.to_owned())]);
        if !known.namespace.is_empty() {
            labels.insert("namespace".to_owned(), known.namespace.to_string());
        }
        let owner = Owner { tenant: &known.tenant, service: &known.name, group: "logs" };
        let is_overflow = template.is_empty();
        if !is_overflow && !parts.registry.admit(owner, 1, &[("body", template)], UnixNanos(parts.closing.end_of(window))) {
            parts.counts.add("geophone_engine_series_overflow_total", "logs", 1);
            return self.source_of(parts, (service, window), severity, "");
        }
        if is_overflow {
            labels.insert("overflow".to_owned(), "true".to_owned());
        }
        let name = if is_overflow { rest::OTHER } else { template };
        let series = Series::new(known.tenant.clone(), &known.name, name, SeriesKind::LogRate, labels);
        self.make(parts, (service, "logs"), (key, series), window).or_else(|| self.rest(parts, service, window))
    }

    /// What stands for all records that a tenant has no room for.
    fn rest(&mut self, parts: &mut Parts<'_>, service: ServiceIndex, window: u64) -> Option<SourceIndex> {
        let service = rest::service(&mut parts.topology.names, service);
        let key = of_parts(u64::from(service), [&b"rest"[..]]);
        if let Some(source) = self.templates.get(&key) {
            return Some(*source);
        }
        let labels = BTreeMap::from([("overflow".to_owned(), "true".to_owned())]);
        let tenant = parts.topology.names.get(service).tenant.clone();
        let series = Series::new(tenant, rest::OTHER, rest::OTHER, SeriesKind::LogRate, labels);
        self.make(parts, (service, REST), (key, series), window)
    }

    fn make(
        &mut self,
        parts: &mut Parts<'_>,
        (service, group): (ServiceIndex, &str),
        (key, series): (u128, Series),
        window: u64,
    ) -> Option<SourceIndex> {
        let body = Body::Log(LogRate::default());
        let plan = Plan { service, group, made_for: key, window, series: vec![(series, StatKind::Count)], body };
        let source = parts.sources.make(parts.registry, &parts.topology.names, plan)?;
        self.templates.insert(key, source);
        Some(source)
    }

    /// Forgets the sources under these keys. A miner keeps its templates: the same text comes back.
    pub fn forget(&mut self, keys: &[u128]) {
        keys.iter().for_each(|key| {
            self.templates.remove(key);
        });
        if !keys.is_empty() {
            self.texts.clear();
        }
    }
}

/// The span that a row names, if it names one.
pub fn exemplar_of(trace: &[u8], span: &[u8]) -> Option<Exemplar> {
    let (trace_id, span_id) = (TraceId::from_slice(trace)?, SpanId::from_slice(span)?);
    (!trace_id.is_none()).then_some(Exemplar { trace_id, span_id })
}

/// Rows whose window is settled already are counted here.
impl Parts<'_> {
    /// Whether rows of this window still count; counts those that do not.
    pub fn takes(&mut self, window: u64) -> bool {
        if !self.closing.takes(window) {
            self.counts.unscored(Flaw::TooLate, 1);
            return false;
        }
        if window > self.window_max {
            self.counts.unscored(Flaw::TooFarAhead, 1);
            return false;
        }
        true
    }
}
