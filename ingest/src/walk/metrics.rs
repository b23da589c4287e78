//! Metrics to rows: one row per data point, each with its metric's name and unit.

use super::{
    WalkError,
    check::{self, Flaw, Reason},
    envelope::{EXPANSION_EXCEEDED, Place, ROW_LEFT, Rows},
    fill::{Cells, Lists, enum_u8, ids},
    points::{POINT_LEFT, Point, Scratch},
    schema,
    wire::Reader,
};
use arrow_array::{BooleanArray, Float64Array, UInt8Array, UInt32Array, UInt64Array};
use geophone_proto::columns::{PointKind, Points};
use std::sync::Arc;

/// Bytes that a row takes beside its texts, lists and attributes.
const ROW_BYTES: usize = 128;

/// A usual point, with its share of metric and resource.
const BYTES_PER_POINT: usize = 200;

/// The growing columns of `Points`.
pub(crate) struct PointRows {
    resource: Vec<u32>,
    scope: Vec<u32>,
    metric: Cells,
    unit: Cells,
    kind: Vec<u8>,
    temporality: Vec<u8>,
    monotonic: Vec<bool>,
    start_ns: Vec<u64>,
    time_ns: Vec<u64>,
    value: Vec<f64>,
    count: Vec<u64>,
    flags: Vec<u32>,
    bounds: Lists,
    buckets: Lists,
    exemplar_trace_id: Vec<u8>,
    exemplar_span_id: Vec<u8>,
    attributes: Cells,
    scratch: Scratch,
}

/// What the points of one metric share.
#[derive(Default)]
struct Metric<'a> {
    name: &'a [u8],
    unit: &'a [u8],
    /// Field number of the oneof member that counts: the last one.
    member: u32,
    /// Place of the field with which that member began.
    since: usize,
    temporality: u32,
    monotonic: bool,
}

impl<'a> Metric<'a> {
    /// Reads all but the points.
    fn read(bytes: &'a [u8], flaw: &mut Flaw) -> Result<Self, WalkError> {
        let mut metric = Self::default();
        let mut reader = Reader::new(bytes, ROW_LEFT);
        let mut place = 0;
        while let Some((number, value)) = reader.next()? {
            match number {
                1 => {
                    metric.name = value.bytes()?;
                    flaw.text(metric.name);
                }
                3 => {
                    metric.unit = value.bytes()?;
                    flaw.text(metric.unit);
                }
                5 | 7 | 9 | 10 | 11 => metric.absorb(number, place, value.bytes()?)?,
                _ => {
                    if let Some(known) = schema::METRIC.by_number(number) {
                        check::field(known, value, ROW_LEFT, flaw)?;
                    }
                }
            }
            place += 1;
        }
        Ok(metric)
    }

    /// Another member of the oneof replaces what came before; the same member is merged.
    fn absorb(&mut self, member: u32, place: usize, bytes: &[u8]) -> Result<(), WalkError> {
        if self.member != member {
            (self.member, self.since, self.temporality, self.monotonic) = (member, place, 0, false);
        }
        let mut reader = Reader::new(bytes, ROW_LEFT - 1);
        while let Some((number, value)) = reader.next()? {
            match (number, member) {
                (2, 7 | 9 | 10) => self.temporality = value.low32()?,
                (3, 7) => self.monotonic = value.varint()? != 0,
                _ => {}
            }
        }
        Ok(())
    }
}

fn kind_of(member: u32) -> Option<PointKind> {
    match member {
        5 => Some(PointKind::Gauge),
        7 => Some(PointKind::Sum),
        9 => Some(PointKind::Histogram),
        10 => Some(PointKind::ExponentialHistogram),
        11 => Some(PointKind::Summary),
        _ => None,
    }
}

impl Rows for PointRows {
    fn take(&mut self, bytes: &[u8], place: &mut Place<'_>) -> Result<(), WalkError> {
        let mut flaw = place.inherited;
        let metric = Metric::read(bytes, &mut flaw)?;
        let mut reader = Reader::new(bytes, ROW_LEFT);
        let mut at = 0;
        while let Some((number, value)) = reader.next()? {
            if let Some(kind) = kind_of(number) {
                if at >= metric.since {
                    self.points(kind, value.bytes()?, (&metric, flaw), place)?;
                } else if let Some(known) = schema::METRIC.by_number(number) {
                    check::field(known, value, ROW_LEFT, &mut flaw)?;
                }
            }
            at += 1;
        }
        Ok(())
    }
}

impl PointRows {
    /// Columns for a request of so many bytes; a guess that is wrong costs time only.
    pub(crate) fn new(wire_bytes: usize) -> Self {
        let rows = wire_bytes / BYTES_PER_POINT + 1;
        Self {
            resource: Vec::with_capacity(rows),
            scope: Vec::with_capacity(rows),
            metric: Cells::with_capacity(rows, 24 * rows),
            unit: Cells::with_capacity(rows, 4 * rows),
            kind: Vec::with_capacity(rows),
            temporality: Vec::with_capacity(rows),
            monotonic: Vec::with_capacity(rows),
            start_ns: Vec::with_capacity(rows),
            time_ns: Vec::with_capacity(rows),
            value: Vec::with_capacity(rows),
            count: Vec::with_capacity(rows),
            flags: Vec::with_capacity(rows),
            bounds: Lists::new(),
            buckets: Lists::new(),
            exemplar_trace_id: Vec::with_capacity(16 * rows),
            exemplar_span_id: Vec::with_capacity(8 * rows),
            attributes: Cells::with_capacity(rows, wire_bytes / 2),
            scratch: Scratch::default(),
        }
    }

    fn points(
        &mut self,
        kind: PointKind,
        bytes: &[u8],
        (metric, flaw): (&Metric<'_>, Flaw),
        place: &mut Place<'_>,
    ) -> Result<(), WalkError> {
        let mut reader = Reader::new(bytes, POINT_LEFT + 1);
        while let Some((number, value)) = reader.next()? {
            if number != 1 {
                continue;
            }
            let (bytes, mut flaw) = (value.bytes()?, flaw);
            self.scratch.clear();
            let point = Point::read(kind, bytes, &mut self.attributes, &mut self.scratch, &mut flaw)?;
            let lists = self.scratch.bounds.len() + self.scratch.buckets.len();
            let cost = ROW_BYTES + metric.name.len() + metric.unit.len() + 8 * lists + bytes.len();
            let refused: Option<Reason> = flaw
                .0
                .or_else(|| self.scratch.broken_rule(kind))
                .or_else(|| if place.allow(cost) { None } else { Some(EXPANSION_EXCEEDED) });
            match refused {
                None => {
                    place.spend(cost)?;
                    self.push(kind, metric, &point, place.rows());
                }
                Some(reason) => {
                    self.attributes.cancel();
                    place.refused.note(reason, metric.name);
                }
            }
        }
        Ok(())
    }

    fn push(&mut self, kind: PointKind, metric: &Metric<'_>, point: &Point, (resource, scope): (u32, u32)) {
        self.resource.push(resource);
        self.scope.push(scope);
        self.metric.push(metric.name);
        self.unit.push(metric.unit);
        self.kind.push(kind as u8);
        self.temporality.push(enum_u8(metric.temporality, 2));
        self.monotonic.push(metric.monotonic);
        self.start_ns.push(point.start_ns);
        self.time_ns.push(point.time_ns);
        self.value.push(point.value);
        self.count.push(point.count);
        self.flags.push(point.flags);
        self.bounds.push(&self.scratch.bounds);
        self.buckets.push(&self.scratch.buckets);
        self.exemplar_trace_id.extend_from_slice(&point.exemplar_trace_id);
        self.exemplar_span_id.extend_from_slice(&point.exemplar_span_id);
        self.attributes.seal();
    }

    pub(crate) fn finish(self) -> Result<Points, WalkError> {
        Ok(Points::try_new(vec![
            Arc::new(UInt32Array::from(self.resource)),
            Arc::new(UInt32Array::from(self.scope)),
            self.metric.into_text()?,
            self.unit.into_text()?,
            Arc::new(UInt8Array::from(self.kind)),
            Arc::new(UInt8Array::from(self.temporality)),
            Arc::new(BooleanArray::from(self.monotonic)),
            Arc::new(UInt64Array::from(self.start_ns)),
            Arc::new(UInt64Array::from(self.time_ns)),
            Arc::new(Float64Array::from(self.value)),
            Arc::new(UInt64Array::from(self.count)),
            Arc::new(UInt32Array::from(self.flags)),
            self.bounds.into_array()?,
            self.buckets.into_array()?,
            ids(16, self.exemplar_trace_id)?,
            ids(8, self.exemplar_span_id)?,
            self.attributes.into_binary()?,
        ])?)
    }
}
