//! Metrics to rows: one row per data point, each with its metric's name and unit.

use super::{
    WalkError,
    check::{self, Flaw, Reason},
    column::{Blobs, Flags, Ids, Lists, Numbers, Texts, growing},
    envelope::{EXPANSION_EXCEEDED, Place, ROW_LEFT, Rows},
    fill::enum_u8,
    points::{OpenCells, POINT_LEFT, Point, broken_rule},
    schema,
    wire::Reader,
};
use arrow_array::types::{Float64Type, UInt8Type, UInt32Type, UInt64Type};
use geophone_proto::columns::{PointKind, Points};

/// Bytes that a row takes beside its texts, lists and attributes.
const ROW_BYTES: usize = 128;

/// A usual point, with its share of metric and resource.
const BYTES_PER_POINT: usize = 200;

growing! {
    /// The growing columns of `Points`.
    PointRows => Points {
        resource: Numbers<UInt32Type>,
        scope: Numbers<UInt32Type>,
        metric: Texts,
        unit: Texts,
        kind: Numbers<UInt8Type>,
        temporality: Numbers<UInt8Type>,
        monotonic: Flags,
        start_ns: Numbers<UInt64Type>,
        time_ns: Numbers<UInt64Type>,
        value: Numbers<Float64Type>,
        count: Numbers<UInt64Type>,
        flags: Numbers<UInt32Type>,
        bounds: Lists,
        buckets: Lists,
        exemplar_trace_id: Ids<16>,
        exemplar_span_id: Ids<8>,
        attributes: Blobs,
    }
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
    /// The member, as long as it came in one field, which is the rule.
    only: Option<(PointKind, &'a [u8])>,
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
                5 | 7 | 9 | 10 | 11 => {
                    let is_first = metric.member == 0;
                    metric.absorb(number, place, value.bytes()?)?;
                    metric.only = kind_of(number).filter(|_| is_first).zip(value.bytes().ok());
                }
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
        if let Some((kind, points)) = metric.only {
            return self.points(kind, points, (&metric, flaw), place);
        }
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
    /// Columns for a request of so many bytes.
    pub(crate) fn new(wire_bytes: usize) -> Box<Self> {
        Self::spare(wire_bytes / BYTES_PER_POINT + 1)
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
            let cells = OpenCells { attributes: &mut self.attributes, bounds: &mut self.bounds, buckets: &mut self.buckets };
            let point = Point::read(kind, bytes, cells, &mut flaw)?;
            let (bounds, buckets) = (self.bounds.open(), self.buckets.open());
            let cost = ROW_BYTES + metric.name.len() + metric.unit.len() + 8 * (bounds.len() + buckets.len()) + bytes.len();
            let refused: Option<Reason> = flaw
                .0
                .or_else(|| broken_rule(kind, bounds, buckets))
                .or_else(|| if place.allow(cost) { None } else { Some(EXPANSION_EXCEEDED) });
            match refused {
                None => {
                    place.spend(cost)?;
                    self.push(kind, metric, &point, place.rows());
                }
                Some(reason) => {
                    self.attributes.cancel();
                    [&mut self.bounds, &mut self.buckets].into_iter().for_each(Lists::cancel);
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
        self.bounds.seal();
        self.buckets.seal();
        self.exemplar_trace_id.push(&point.exemplar_trace_id);
        self.exemplar_span_id.push(&point.exemplar_span_id);
        self.attributes.seal();
    }
}
