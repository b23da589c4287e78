//! One data point of any kind: its numbers, its lists, its exemplar.

use super::{
    WalkError,
    check::{self, Flaw, Reason},
    envelope::ROW_LEFT,
    exponential::{self, Exponential},
    fill::Cells,
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

/// Lists of the point being read.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    pub(crate) bounds: Vec<f64>,
    pub(crate) buckets: Vec<f64>,
    exponential: Exponential,
}

impl Scratch {
    pub(crate) fn clear(&mut self) {
        self.bounds.clear();
        self.buckets.clear();
        self.exponential.clear();
    }

    /// Which of OTLP's rules on lists the point breaks.
    pub(crate) fn broken_rule(&self, kind: PointKind) -> Option<Reason> {
        match kind {
            PointKind::Gauge | PointKind::Sum | PointKind::ExponentialHistogram => None,
            PointKind::Histogram => {
                let fits = self.buckets.len() == self.bounds.len() + 1 || self.buckets.is_empty() && self.bounds.is_empty();
                let ascends = self.bounds.is_sorted_by(|a, b| a < b) && !self.bounds.iter().any(|bound| bound.is_nan());
                if fits && ascends { None } else { Some(BUCKETS) }
            }
            PointKind::Summary => {
                let fits = self.bounds.iter().all(|quantile| (0.0..=1.0).contains(quantile));
                if fits { None } else { Some(QUANTILE) }
            }
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
    /// Reads a point; attributes go to the open cell, lists to the scratch.
    pub(crate) fn read(
        kind: PointKind,
        bytes: &[u8],
        attributes: &mut Cells,
        scratch: &mut Scratch,
        flaw: &mut Flaw,
    ) -> Result<Self, WalkError> {
        let value = if kind == PointKind::Summary { 0.0 } else { f64::NAN };
        let (exemplar_trace_id, exemplar_span_id) = ([0; 16], [0; 8]);
        let mut point = Self { start_ns: 0, time_ns: 0, value, count: 0, flags: 0, exemplar_trace_id, exemplar_span_id };
        let mut reader = Reader::new(bytes, POINT_LEFT);
        while let Some((number, value)) = reader.next()? {
            match (kind, number) {
                (_, 2) => point.start_ns = value.fixed64()?,
                (_, 3) => point.time_ns = value.fixed64()?,
                (PointKind::Gauge | PointKind::Sum | PointKind::Summary, 7)
                | (PointKind::Histogram, 9)
                | (PointKind::ExponentialHistogram, 1) => {
                    check::pair(value.bytes()?, POINT_LEFT, flaw)?;
                    attributes.item(reader.framed());
                }
                (PointKind::Gauge | PointKind::Sum | PointKind::Summary, 8)
                | (PointKind::Histogram | PointKind::ExponentialHistogram, 10) => point.flags = value.low32()?,
                (PointKind::Gauge | PointKind::Sum, 5) | (PointKind::Histogram, 8) | (PointKind::ExponentialHistogram, 11) => {
                    point.exemplar(value.bytes()?, flaw)?;
                }
                (PointKind::Gauge | PointKind::Sum, _) => point.number_field(number, value)?,
                (PointKind::Histogram | PointKind::ExponentialHistogram | PointKind::Summary, 4) => point.count = value.fixed64()?,
                (PointKind::Histogram | PointKind::ExponentialHistogram | PointKind::Summary, 5) => point.value = value.double()?,
                (PointKind::Histogram, 6) => each_fixed64(value, |count| scratch.buckets.push(as_f64(count)))?,
                (PointKind::Histogram, 7) => each_fixed64(value, |bound| scratch.bounds.push(f64::from_bits(bound)))?,
                (PointKind::ExponentialHistogram, 6..=9 | 14) => scratch.exponential.field(number, value, POINT_LEFT)?,
                (PointKind::Summary, 6) => quantile(value.bytes()?, scratch)?,
                (PointKind::Histogram, _) => rest(&schema::HISTOGRAM_POINT, number, value, flaw)?,
                (PointKind::ExponentialHistogram, _) => rest(&schema::EXPONENTIAL_POINT, number, value, flaw)?,
                (PointKind::Summary, _) => {}
            }
        }
        if kind == PointKind::ExponentialHistogram {
            exponential::spell_out(&mut scratch.exponential, &mut scratch.bounds, &mut scratch.buckets);
        }
        Ok(point)
    }

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

/// Checks fields that no column shows, such as minimum and maximum.
fn rest(table: &'static Message, number: u32, value: Value<'_>, flaw: &mut Flaw) -> Result<(), WalkError> {
    table.by_number(number).map_or(Ok(()), |known| check::field(known, value, POINT_LEFT, flaw))
}

fn quantile(bytes: &[u8], scratch: &mut Scratch) -> Result<(), WalkError> {
    let (mut quantile, mut at) = (0.0, 0.0);
    let mut reader = Reader::new(bytes, POINT_LEFT - 1);
    while let Some((number, value)) = reader.next()? {
        match number {
            1 => quantile = value.double()?,
            2 => at = value.double()?,
            _ => {}
        }
    }
    scratch.bounds.push(quantile);
    scratch.buckets.push(at);
    Ok(())
}

/// Counts above 2^53 lose their last digits, as the column says.
#[allow(clippy::cast_precision_loss, reason = "the column is f64")]
pub(crate) fn as_f64(count: u64) -> f64 {
    count as f64
}
