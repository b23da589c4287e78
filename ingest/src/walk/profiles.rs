//! Profiles to rows, one a sample. A profile with a flaw is left out whole: its samples only make sense
//! together.

use super::{
    WalkError,
    check::Reason,
    dictionary::{Dictionary, Index, Link, index},
    envelope::{EXPANSION_EXCEEDED, Place, ROW_LEFT, Rows},
    fill::{Cells, ids},
    sample::{Form, Sample},
    wire::{Reader, Value, each_varint},
};
use arrow_array::{Int64Array, UInt32Array, UInt64Array};
use geophone_proto::columns::Samples;
use std::{collections::HashMap, fmt::Write as _, sync::Arc};

/// An index leads nowhere, or a stack is longer than any is.
const DICTIONARY_INDEX: Reason = "dictionary_index";
/// A field fits neither form of a sample.
const SAMPLE_FIELDS: Reason = "sample_fields";
/// Neither values nor times, or not as many.
const SAMPLE_VALUES: Reason = "sample_values";

/// Longest folded stack.
const STACK_BYTES_MAX: usize = 256 << 10;
/// Bytes that a row takes beside stack and attributes.
const ROW_BYTES: usize = 96;

/// The growing columns of `Samples`.
pub(crate) struct ProfileRows<'d> {
    dictionary: &'d Dictionary,
    form: Form,
    /// Folded text of the stacks that were met.
    folded: HashMap<Index, Option<Arc<str>>>,
    resource: Vec<u32>,
    scope: Vec<u32>,
    profile_id: Cells,
    time_ns: Vec<u64>,
    duration_ns: Vec<u64>,
    sample_type: Cells,
    unit: Cells,
    value: Vec<i64>,
    count: Vec<u64>,
    period_ns: Vec<u64>,
    observations: Cells,
    stack: Cells,
    trace_id: Vec<u8>,
    span_id: Vec<u8>,
    attributes: Cells,
}

/// What the samples of a profile share.
#[derive(Default)]
struct Profile<'a> {
    sample_type: (Index, Index),
    samples: Vec<&'a [u8]>,
    time_ns: u64,
    duration_ns: u64,
    period_type: (Index, Index),
    period: u64,
    id: &'a [u8],
    attributes: Vec<Index>,
}

/// A sample, every index followed.
struct Row<'d> {
    stack: Arc<str>,
    link: Link,
    attributes: Vec<&'d [u8]>,
    value: i64,
    count: u64,
    time_ns: u64,
    observations: String,
}

impl Rows for ProfileRows<'_> {
    fn take(&mut self, bytes: &[u8], place: &mut Place<'_>) -> Result<(), WalkError> {
        let profile = Profile::read(bytes)?;
        let name = self.dictionary.text(profile.sample_type.0).unwrap_or_default();
        let rows = match place.inherited.0 {
            Some(flaw) => Err(flaw),
            None => self.rows_of(&profile)?,
        };
        match rows {
            Ok(rows) if place.allow(rows.iter().map(Row::bytes).sum()) => {
                if !rows.is_empty() {
                    place.spend(rows.iter().map(Row::bytes).sum())?;
                    let at = place.rows();
                    rows.into_iter().for_each(|row| self.push(&profile, &row, at));
                }
            }
            Ok(_) => place.refused.note_many(EXPANSION_EXCEEDED, name.as_bytes(), profile.samples.len()),
            Err(reason) => place.refused.note_many(reason, name.as_bytes(), profile.samples.len()),
        }
        Ok(())
    }
}

impl Row<'_> {
    fn bytes(&self) -> usize {
        ROW_BYTES + self.stack.len() + self.observations.len() + self.attributes.iter().map(|pair| pair.len() + 4).sum::<usize>()
    }
}

impl<'a> Profile<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, WalkError> {
        let mut profile = Self::default();
        let mut reader = Reader::new(bytes, ROW_LEFT);
        while let Some((number, value)) = reader.next()? {
            match (number, value) {
                (1, _) => profile.sample_type = value_type(value.bytes()?)?,
                (2, _) => profile.samples.push(value.bytes()?),
                (3, _) => profile.time_ns = value.fixed64()?,
                (4, _) => profile.duration_ns = value.varint()?,
                (5, Value::Bytes(kind)) => profile.period_type = value_type(kind).unwrap_or_default(),
                (6, Value::Varint(period)) => profile.period = period,
                // Other versions have other things from here on; what is not what we know is passed over.
                (7, Value::Bytes(id)) if id.len() == 16 => profile.id = id,
                (11, _) => {
                    let mut attributes = Vec::new();
                    if each_varint(value, |number| attributes.push(usize::try_from(number).unwrap_or(usize::MAX))).is_ok() {
                        profile.attributes.append(&mut attributes);
                    }
                }
                _ => {}
            }
        }
        Ok(profile)
    }
}

/// Times with their values; times alone mean one each.
fn observations(sample: &Sample) -> String {
    let mut text = String::new();
    for (place, time) in sample.times.iter().enumerate() {
        let value = sample.values.get(place).copied().unwrap_or(1);
        // Writing into a text cannot fail.
        let _ = write!(text, "{}[{time},{value}]", if place == 0 { '[' } else { ',' });
    }
    if !text.is_empty() {
        text.push(']');
    }
    text
}

fn value_type(bytes: &[u8]) -> Result<(Index, Index), WalkError> {
    let mut both = (0, 0);
    let mut reader = Reader::new(bytes, ROW_LEFT - 1);
    while let Some((number, value)) = reader.next()? {
        match number {
            1 => both.0 = index(value)?,
            2 => both.1 = index(value)?,
            _ => {}
        }
    }
    Ok(both)
}

impl<'d> ProfileRows<'d> {
    /// Columns for a request.
    pub(crate) fn new(dictionary: &'d Dictionary, form: Form) -> Self {
        Self {
            dictionary,
            form,
            folded: HashMap::new(),
            resource: Vec::new(),
            scope: Vec::new(),
            profile_id: Cells::new(),
            time_ns: Vec::new(),
            duration_ns: Vec::new(),
            sample_type: Cells::new(),
            unit: Cells::new(),
            value: Vec::new(),
            count: Vec::new(),
            period_ns: Vec::new(),
            observations: Cells::new(),
            stack: Cells::new(),
            trace_id: Vec::new(),
            span_id: Vec::new(),
            attributes: Cells::new(),
        }
    }

    /// Follows every index of a profile; the inner error costs the profile.
    fn rows_of(&mut self, profile: &Profile<'_>) -> Result<Result<Vec<Row<'d>>, Reason>, WalkError> {
        let known = [profile.sample_type.0, profile.sample_type.1].iter().all(|index| self.dictionary.text(*index).is_ok());
        if !known {
            return Ok(Err(DICTIONARY_INDEX));
        }
        let mut rows = Vec::with_capacity(profile.samples.len());
        for bytes in &profile.samples {
            match Sample::read(bytes, self.form)? {
                Ok(sample) => match self.row(profile, &sample) {
                    Ok(row) => rows.push(row),
                    Err(reason) => return Ok(Err(reason)),
                },
                Err(()) => return Ok(Err(SAMPLE_FIELDS)),
            }
        }
        Ok(Ok(rows))
    }

    fn row(&mut self, profile: &Profile<'_>, sample: &Sample) -> Result<Row<'d>, Reason> {
        let (values, times) = (sample.values.len(), sample.times.len());
        if values == 0 && times == 0 || values > 0 && times > 0 && values != times {
            return Err(SAMPLE_VALUES);
        }
        let dictionary = self.dictionary;
        let folded = self.folded.entry(sample.stack);
        let stack = folded.or_insert_with(|| dictionary.folded(sample.stack, STACK_BYTES_MAX).ok().map(Arc::from));
        let stack = stack.clone().ok_or(DICTIONARY_INDEX)?;
        let link = dictionary.link(sample.link).map_err(|()| DICTIONARY_INDEX)?;
        let indices = profile.attributes.iter().chain(&sample.attributes);
        let attributes: Result<Vec<_>, ()> = indices.filter_map(|index| dictionary.attribute(*index).transpose()).collect();
        // Times alone mean one each.
        let sum = sample.values.iter().fold(0, |sum: i64, value| sum.saturating_add(*value));
        let value = if values == 0 { i64::try_from(times).unwrap_or(i64::MAX) } else { sum };
        Ok(Row {
            stack,
            link,
            attributes: attributes.map_err(|()| DICTIONARY_INDEX)?,
            value,
            count: values.max(times) as u64,
            time_ns: sample.times.first().copied().unwrap_or(profile.time_ns),
            observations: observations(sample),
        })
    }

    fn push(&mut self, profile: &Profile<'_>, row: &Row<'_>, (resource, scope): (u32, u32)) {
        self.resource.push(resource);
        self.scope.push(scope);
        self.profile_id.push(profile.id);
        self.time_ns.push(row.time_ns);
        self.duration_ns.push(profile.duration_ns);
        self.sample_type.push(self.dictionary.text(profile.sample_type.0).unwrap_or_default().as_bytes());
        self.unit.push(self.dictionary.text(profile.sample_type.1).unwrap_or_default().as_bytes());
        self.value.push(row.value);
        self.count.push(row.count);
        self.period_ns.push(self.period_ns_of(profile));
        self.observations.push(row.observations.as_bytes());
        self.stack.push(row.stack.as_bytes());
        self.trace_id.extend_from_slice(&row.link.0);
        self.span_id.extend_from_slice(&row.link.1);
        row.attributes.iter().for_each(|pair| self.attributes.message(pair));
        self.attributes.seal();
    }

    /// A period in a unit of time, else 0.
    fn period_ns_of(&self, profile: &Profile<'_>) -> u64 {
        let factor = match self.dictionary.text(profile.period_type.1).unwrap_or_default() {
            "nanoseconds" | "ns" => 1,
            "microseconds" | "us" => 1_000,
            "milliseconds" | "ms" => 1_000_000,
            "seconds" | "s" => 1_000_000_000,
            _ => return 0,
        };
        // Negative ones are beyond what is signed.
        if i64::try_from(profile.period).is_ok() { profile.period.saturating_mul(factor) } else { 0 }
    }

    pub(crate) fn finish(self) -> Result<Samples, WalkError> {
        Ok(Samples::try_new(vec![
            Arc::new(UInt32Array::from(self.resource)),
            Arc::new(UInt32Array::from(self.scope)),
            self.profile_id.into_binary()?,
            Arc::new(UInt64Array::from(self.time_ns)),
            Arc::new(UInt64Array::from(self.duration_ns)),
            self.sample_type.into_text()?,
            self.unit.into_text()?,
            Arc::new(Int64Array::from(self.value)),
            Arc::new(UInt64Array::from(self.count)),
            Arc::new(UInt64Array::from(self.period_ns)),
            self.observations.into_text()?,
            self.stack.into_text()?,
            ids(16, self.trace_id)?,
            ids(8, self.span_id)?,
            self.attributes.into_binary()?,
        ])?)
    }
}
