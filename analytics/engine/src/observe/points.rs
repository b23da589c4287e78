//! Data points: which metric and stream each belongs to.

use super::{
    ahead,
    logs::exemplar_of,
    metric::{Metric, More, Point, Shape},
    observer::Parts,
    source::{Body, Plan, SourceIndex, Sources},
};
use crate::{
    cardinality::Owner,
    hash::{FixedMap, of_parts},
    observe::naming::cut,
    time::{Flaw, time_flaw},
    topology::names::ServiceIndex,
    window::StatKind,
};
use arrow_array::{ListArray, cast::AsArray, types::Float64Type};
use geophone_proto::{
    attributes,
    columns::{PointKind, Points, Resources},
    series::{Series, SeriesKind},
    time::UnixNanos,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// OTLP's number for cumulative temporality.
const CUMULATIVE: u8 = 2;
/// Bit 0 of the flags: nothing was recorded.
const NO_VALUE: u32 = 1;
/// Labels and bytes of a label's value kept.
const LABELS_MAX: usize = 20;
const VALUE_MAX: usize = 120;

/// Which metric and stream.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct StreamAt {
    source: SourceIndex,
    stream: u32,
}

/// Everything known of metrics.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct PointIntake {
    /// By hash of resource, scope, metric and attributes as sent.
    streams: FixedMap<u128, StreamAt>,
    /// By key of the source's first series.
    sources: FixedMap<u128, SourceIndex>,
}

/// One row, as its names and attributes are needed for a new stream.
struct Row<'a> {
    service: ServiceIndex,
    instance: &'a str,
    metric: &'a str,
    shape: Shape,
    is_cumulative: bool,
    attributes: &'a [u8],
    window: u64,
}

impl PointIntake {
    /// Takes the rows of a batch. `services` has one entry per resource.
    pub fn take(&mut self, parts: &mut Parts<'_>, services: &[ServiceIndex], (rows, resources): (&Points, &Resources), at: UnixNanos) {
        for first in (0..rows.len()).step_by(ahead::ROWS) {
            let block = first..(first + ahead::ROWS).min(rows.len());
            let keys: Vec<u128> = block.clone().map(|row| key_of((rows, resources), row)).collect();
            let known = keys.iter().map(|key| self.streams.get(key).map(|known| (known.source, known.stream)));
            ahead::touch_streams(parts.sources, &known.collect::<Vec<_>>());
            block.zip(keys).for_each(|(row, key)| self.take_row(parts, services, ((rows, resources), row, key), at));
        }
    }

    fn take_row(
        &mut self,
        parts: &mut Parts<'_>,
        services: &[ServiceIndex],
        ((rows, resources), row, key): ((&Points, &Resources), usize, u128),
        at: UnixNanos,
    ) {
        let time = rows.time_ns().value(row);
        if rows.flags().value(row) & NO_VALUE != 0 {
            return parts.counts.add("geophone_engine_points_without_value_total", "", 1);
        }
        let Some(kind) = PointKind::from_u8(rows.kind().value(row)) else {
            return parts.counts.unscored(Flaw::UnknownKind, 1);
        };
        let value = value_of(rows, row, kind);
        if let Some(flaw) = time_flaw(time, at).or((!value.is_finite()).then_some(Flaw::NotANumber)) {
            return parts.counts.unscored(flaw, 1);
        }
        let window = parts.closing.window_of(time);
        let resource = rows.resource().value(row) as usize;
        let Some(service) = services.get(resource).copied().filter(|_| parts.takes(window)) else { return };
        let (shape, is_cumulative) = shape_of(rows, row, kind);
        let (metric, attributes) = (rows.metric().value(row), rows.attributes().value(row));
        let instance = resources.instance().value(resource);
        let named = Row { service, instance, metric, shape, is_cumulative, attributes, window };
        if let Some(stream) = self.stream(parts, key, &named) {
            put(parts, stream, window, point_of(rows, row, value, shape));
        }
    }

    /// `None`, and counted, if there is no room for it.
    fn stream(&mut self, parts: &mut Parts<'_>, key: u128, row: &Row<'_>) -> Option<StreamAt> {
        if let Some(known) = self.streams.get(&key) {
            return Some(*known);
        }
        let Some(source) = self.source(parts, row) else {
            parts.counts.unscored(Flaw::NoRoom, 1);
            return None;
        };
        let Some(Body::Metric(metric)) = parts.sources.seen(source, row.window) else { return None };
        let Some(stream) = metric.open(row.is_cumulative) else {
            parts.counts.add("geophone_engine_series_overflow_total", "streams", 1);
            return None;
        };
        let stream = StreamAt { source, stream };
        self.streams.insert(key, stream);
        Some(stream)
    }

    fn source(&mut self, parts: &mut Parts<'_>, row: &Row<'_>) -> Option<SourceIndex> {
        let mut labels = labels_of(row);
        let known = parts.topology.names.get(row.service);
        let kinds = kinds_of(row.shape);
        let name = |kind, labels| Series::new(known.tenant.clone(), &known.name, row.metric, kind, labels);
        let first = name(kinds[0], labels.clone());
        if let Some(source) = self.sources.get(&first.key.0) {
            return Some(*source);
        }
        let owner = Owner { tenant: &known.tenant, service: &known.name, group: row.metric };
        let varying: Vec<(&str, &str)> = labels.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        if !parts.registry.admit(owner, kinds.len(), &varying, UnixNanos(parts.closing.end_of(row.window))) {
            parts.counts.add("geophone_engine_series_overflow_total", "metrics", 1);
            labels = BTreeMap::from([("overflow".to_owned(), "true".to_owned())]);
        }
        let series: Vec<(Series, StatKind)> = kinds.iter().map(|kind| (name(*kind, labels.clone()), StatKind::Level)).collect();
        let key = series[0].0.key.0;
        if let Some(source) = self.sources.get(&key) {
            return Some(*source);
        }
        let body = Body::Metric(Box::new(Metric::new(row.shape, parts.closing.length_ns)));
        let plan = Plan { service: row.service, group: row.metric, made_for: key, window: row.window, series, body };
        let source = parts.sources.make(parts.registry, &parts.topology.names, plan)?;
        self.sources.insert(key, source);
        Some(source)
    }

    /// Forgets sources that are gone, and their streams.
    pub fn forget(&mut self, keys: &[u128], sources: &Sources) {
        if keys.is_empty() {
            return;
        }
        keys.iter().for_each(|key| {
            self.sources.remove(key);
        });
        self.streams.retain(|_, stream| sources.get(stream.source).is_some());
    }
}

/// Hash of what names a point's stream, as sent.
fn key_of((rows, resources): (&Points, &Resources), row: usize) -> u128 {
    let kind = PointKind::from_u8(rows.kind().value(row));
    let is_cumulative = kind.is_some_and(|kind| shape_of(rows, row, kind).1);
    let resource = rows.resource().value(row) as usize;
    of_parts(
        if resource < resources.len() { resources.hash().value(resource) } else { 0 },
        [
            &rows.scope().value(row).to_le_bytes()[..],
            rows.metric().value(row).as_bytes(),
            &[rows.kind().value(row), u8::from(is_cumulative)],
            rows.attributes().value(row),
        ],
    )
}

fn put(parts: &mut Parts<'_>, at: StreamAt, window: u64, point: Point) {
    let Some(Body::Metric(metric)) = parts.sources.seen(at.source, window) else { return };
    parts.closing.drafts.arrive(window, at.source);
    for changed in metric.put(at.stream, point).into_iter().flatten() {
        parts.closing.touch(changed, at.source);
    }
}

#[allow(clippy::cast_precision_loss, reason = "counts of observations")]
fn value_of(rows: &Points, row: usize, kind: PointKind) -> f64 {
    match kind {
        PointKind::Gauge | PointKind::Sum => rows.value().value(row),
        PointKind::Histogram | PointKind::ExponentialHistogram | PointKind::Summary => rows.count().value(row) as f64,
    }
}

fn shape_of(rows: &Points, row: usize, kind: PointKind) -> (Shape, bool) {
    let is_cumulative = rows.temporality().value(row) == CUMULATIVE;
    match kind {
        PointKind::Gauge => (Shape::Value, false),
        PointKind::Sum if rows.monotonic().value(row) => (Shape::Rate, is_cumulative),
        PointKind::Sum => (Shape::Value, false),
        PointKind::Histogram | PointKind::ExponentialHistogram => (Shape::Distribution, is_cumulative),
        PointKind::Summary => (Shape::Summary, true),
    }
}

const fn kinds_of(shape: Shape) -> &'static [SeriesKind] {
    match shape {
        Shape::Value => &[SeriesKind::MetricValue],
        Shape::Rate => &[SeriesKind::MetricRate],
        Shape::Distribution | Shape::Summary => &[SeriesKind::MetricRate, SeriesKind::MetricP95],
    }
}

fn point_of(rows: &Points, row: usize, value: f64, shape: Shape) -> Point {
    let list = |lists: &ListArray| lists.value(row).as_primitive::<Float64Type>().values().to_vec();
    let buckets = matches!(shape, Shape::Distribution | Shape::Summary).then(|| (list(rows.bounds()), list(rows.buckets())));
    let exemplar = exemplar_of(rows.exemplar_trace_id().value(row), rows.exemplar_span_id().value(row));
    let more = (buckets.is_some() || exemplar.is_some()).then(|| Box::new(More { buckets, exemplar }));
    Point { at: rows.time_ns().value(row), start: rows.start_ns().value(row), value, more }
}

/// Attributes as labels; a level is told apart by instance too.
fn labels_of(row: &Row<'_>) -> BTreeMap<String, String> {
    let mut labels: BTreeMap<String, String> = attributes::to_json(row.attributes)
        .into_iter()
        .take(LABELS_MAX)
        .map(|(key, value)| {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            (cut(&key, VALUE_MAX).to_owned(), cut(&text, VALUE_MAX).to_owned())
        })
        .collect();
    if row.shape == Shape::Value && !row.instance.is_empty() {
        labels.insert("instance".to_owned(), cut(row.instance, VALUE_MAX).to_owned());
    }
    labels
}
