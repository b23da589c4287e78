//! One data point of any kind: its numbers, its lists, its exemplar.

use super::{
    WalkError,
    check::{self, Flaw, Reason},
    column::Lists,
    envelope::ROW_LEFT,
    exponential::{self, Exponential},
    fill::{Cells, Run},
    schema::{self, Message},
    wire::{Reader, Value, each_fixed64},
};
use geophone_proto::columns::PointKind;

/// Levels that may lie below a data point.
pub(crate) const POINT_LEFT: u32 = ROW_LEFT - 2;

/// Counts and bounds do not fit together, or bounds do not ascend.
const BUCKETS: Reason = "buckets";
/// A quantile outside 0 to 1.
const QUANTILE: Reason = "quantile";

/// The open cells of a row that a point goes into.
pub(crate) struct OpenCells<'a> {
    pub(crate) attributes: &'a mut Cells,
    pub(crate) bounds: &'a mut Lists,
    pub(crate) buckets: &'a mut Lists,
}

/// Which of OTLP's rules on lists a point breaks.
#[inline]
pub(crate) fn broken_rule(kind: PointKind, bounds: &[f64], buckets: &[f64]) -> Option<Reason> {
    match kind {
        PointKind::Gauge | PointKind::Sum | PointKind::ExponentialHistogram => None,
        PointKind::Histogram => {
            let fits = buckets.len() == bounds.len() + 1 || buckets.is_empty() && bounds.is_empty();
            // A bound that is no number is not below its neighbour; one without neighbours is looked at.
            let ascends = bounds.is_sorted_by(|a, b| a < b) && bounds.first().is_none_or(|bound| !bound.is_nan());
            if fits && ascends { None } else { Some(BUCKETS) }
        }
        PointKind::Summary => {
            let fits = bounds.iter().all(|quantile| (0.0..=1.0).contains(quantile));
            if fits { None } else { Some(QUANTILE) }
        }
    }
}

/// A point's scalars, the last of each.
#[derive(Debug)]
pub(crate) struct Point {
    pub(crate) start_ns: u64,
    pub(crate) time_ns: u64,
    pub(crate) value: f64,
    pub(crate) count: u64,
    pub(crate) flags: u32,
    pub(crate) exemplar_trace_id: [u8; 16],
    pub(crate) exemplar_span_id: [u8; 8],
}

impl Point {
    /// Reads a point; attributes and lists go to the open cells.
    #[inline]
    pub(crate) fn read(kind: PointKind, bytes: &[u8], cells: OpenCells<'_>, flaw: &mut Flaw) -> Result<Self, WalkError> {
        match kind {
            PointKind::Gauge | PointKind::Sum => Self::number(bytes, cells, flaw),
            PointKind::Histogram => Self::histogram(bytes, cells, flaw),
            PointKind::ExponentialHistogram => Self::exponential(bytes, cells, flaw),
            PointKind::Summary => Self::summary(bytes, cells, flaw),
        }
    }

    fn number(bytes: &[u8], cells: OpenCells<'_>, flaw: &mut Flaw) -> Result<Self, WalkError> {
        let fields = Fields { attributes: 7, flags: 8, exemplars: Some(5), value: f64::NAN };
        fields.read(bytes, cells.attributes, flaw, |point, number, value, _| point.number_field(number, value))
    }

    fn histogram(bytes: &[u8], OpenCells { attributes, bounds, buckets }: OpenCells<'_>, flaw: &mut Flaw) -> Result<Self, WalkError> {
        let fields = Fields { attributes: 9, flags: 10, exemplars: Some(8), value: f64::NAN };
        fields.read(bytes, attributes, flaw, |point, number, value, flaw| {
            match number {
                4 => point.count = value.fixed64()?,
                5 => point.value = value.double()?,
                6 => each_fixed64(value, |count| buckets.numbers().push(as_f64(count)))?,
                7 => each_fixed64(value, |bound| bounds.numbers().push(f64::from_bits(bound)))?,
                _ => rest(&schema::HISTOGRAM_POINT, number, value, flaw)?,
            }
            Ok(())
        })
    }

    fn exponential(bytes: &[u8], OpenCells { attributes, bounds, buckets }: OpenCells<'_>, flaw: &mut Flaw) -> Result<Self, WalkError> {
        let mut histogram = Exponential::default();
        let fields = Fields { attributes: 1, flags: 10, exemplars: Some(11), value: f64::NAN };
        let point = fields.read(bytes, attributes, flaw, |point, number, value, flaw| {
            match number {
                4 => point.count = value.fixed64()?,
                5 => point.value = value.double()?,
                6..=9 | 14 => histogram.field(number, value, POINT_LEFT)?,
                _ => rest(&schema::EXPONENTIAL_POINT, number, value, flaw)?,
            }
            Ok(())
        })?;
        exponential::spell_out(&mut histogram, bounds, buckets);
        Ok(point)
    }

    fn summary(bytes: &[u8], OpenCells { attributes, bounds, buckets }: OpenCells<'_>, flaw: &mut Flaw) -> Result<Self, WalkError> {
        let fields = Fields { attributes: 7, flags: 8, exemplars: None, value: 0.0 };
        fields.read(bytes, attributes, flaw, |point, number, value, _| {
            match number {
                4 => point.count = value.fixed64()?,
                5 => point.value = value.double()?,
                6 => quantile(value.bytes()?, bounds, buckets)?,
                _ => {}
            }
            Ok(())
        })
    }

    #[inline]
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_wrap, reason = "`asInt` is an i64 in a fixed64; the column is f64")]
    fn number_field(&mut self, number: u32, value: Value<'_>) -> Result<(), WalkError> {
        match number {
            4 => self.value = value.double()?,
            6 => self.value = value.fixed64()? as i64 as f64,
            _ => {}
        }
        Ok(())
    }

    /// Keeps the first exemplar that names a trace.
    fn exemplar(&mut self, bytes: &[u8], flaw: &mut Flaw) -> Result<(), WalkError> {
        let (mut trace_id, mut span_id) = ([].as_slice(), [].as_slice());
        let mut reader = Reader::new(bytes, POINT_LEFT - 1);
        while let Some((number, value)) = reader.next()? {
            match number {
                4 => span_id = value.bytes()?,
                5 => trace_id = value.bytes()?,
                _ => {
                    if let Some(known) = schema::EXEMPLAR.by_number(number) {
                        check::field(known, value, POINT_LEFT - 1, flaw)?;
                    }
                }
            }
        }
        if self.exemplar_trace_id == [0; 16]
            && let Ok(trace_id) = trace_id.try_into()
            && trace_id != [0; 16]
        {
            self.exemplar_trace_id = trace_id;
            self.exemplar_span_id = span_id.try_into().unwrap_or_default();
        }
        Ok(())
    }
}

/// Where a kind of point has what all kinds have, and its value before one is read.
struct Fields {
    attributes: u32,
    flags: u32,
    exemplars: Option<u32>,
    value: f64,
}

impl Fields {
    /// Reads a point; `other` takes the fields that only its kind has. Inlined, so that each kind has a walk of its own.
    #[inline(always)]
    fn read<'a>(
        &self,
        bytes: &'a [u8],
        attributes: &mut Cells,
        flaw: &mut Flaw,
        mut other: impl FnMut(&mut Point, u32, Value<'a>, &mut Flaw) -> Result<(), WalkError>,
    ) -> Result<Point, WalkError> {
        let (exemplar_trace_id, exemplar_span_id) = ([0; 16], [0; 8]);
        let mut point = Point { start_ns: 0, time_ns: 0, value: self.value, count: 0, flags: 0, exemplar_trace_id, exemplar_span_id };
        let mut reader = Reader::new(bytes, POINT_LEFT);
        let mut run = Run::of(bytes);
        while let Some((number, value)) = reader.next()? {
            if number == self.attributes {
                check::pair(value.bytes()?, POINT_LEFT, flaw)?;
                run.take(reader.begun(bytes.len()), reader.framed(), attributes);
            } else if number == 2 {
                point.start_ns = value.fixed64()?;
            } else if number == 3 {
                point.time_ns = value.fixed64()?;
            } else if number == self.flags {
                point.flags = value.low32()?;
            } else if Some(number) == self.exemplars {
                point.exemplar(value.bytes()?, flaw)?;
            } else {
                other(&mut point, number, value, flaw)?;
            }
        }
        run.end(attributes);
        Ok(point)
    }
}

/// Checks fields that no column shows, such as minimum and maximum.
fn rest(table: &'static Message, number: u32, value: Value<'_>, flaw: &mut Flaw) -> Result<(), WalkError> {
    table.by_number(number).map_or(Ok(()), |known| check::field(known, value, POINT_LEFT, flaw))
}

fn quantile(bytes: &[u8], bounds: &mut Lists, buckets: &mut Lists) -> Result<(), WalkError> {
    let (mut quantile, mut at) = (0.0, 0.0);
    let mut reader = Reader::new(bytes, POINT_LEFT - 1);
    while let Some((number, value)) = reader.next()? {
        match number {
            1 => quantile = value.double()?,
            2 => at = value.double()?,
            _ => {}
        }
    }
    bounds.numbers().push(quantile);
    buckets.numbers().push(at);
    Ok(())
}

/// Counts above 2^53 lose their last digits, as the column says.
#[allow(clippy::cast_precision_loss, reason = "the column is f64")]
pub(crate) fn as_f64(count: u64) -> f64 {
    count as f64
}
