//! Log records to rows.

use super::{
    WalkError,
    check::{self, Flaw},
    envelope::{EXPANSION_EXCEEDED, Place, ROW_LEFT, Rows},
    fill::{Cells, enum_u8, ids},
    schema,
    wire::{Reader, Value},
};
use arrow_array::{UInt8Array, UInt32Array, UInt64Array};
use geophone_proto::{attributes::value_to_json, columns::Logs, otlp::common::v1::AnyValue};
use prost::Message;
use std::{borrow::Cow, sync::Arc};

/// Bytes that a row takes beside its texts and attributes.
const ROW_BYTES: usize = 64;

/// A usual record, with its share of the resource.
const BYTES_PER_RECORD: usize = 300;

/// The growing columns of `Logs`.
pub(crate) struct LogRows {
    resource: Vec<u32>,
    scope: Vec<u32>,
    time_ns: Vec<u64>,
    severity: Vec<u8>,
    severity_text: Cells,
    body: Cells,
    trace_id: Vec<u8>,
    span_id: Vec<u8>,
    attributes: Cells,
}

/// One record's fields, the last of each.
#[derive(Default)]
struct Record<'a> {
    time_ns: u64,
    observed_ns: u64,
    severity: u32,
    severity_text: &'a [u8],
    /// The body's message; several are one behind the other, which is how protobuf merges.
    body: Cow<'a, [u8]>,
    body_text: Option<&'a [u8]>,
    event_name: &'a [u8],
    trace_id: &'a [u8],
    span_id: &'a [u8],
}

impl Rows for LogRows {
    fn take(&mut self, bytes: &[u8], place: &mut Place<'_>) -> Result<(), WalkError> {
        let mut record = Record::default();
        let mut flaw = place.inherited;
        let mut reader = Reader::new(bytes, ROW_LEFT);
        while let Some((number, value)) = reader.next()? {
            self.field(number, (value, reader.framed()), &mut record, &mut flaw)?;
        }
        let refused = match flaw.0 {
            Some(reason) => Some(reason),
            None => {
                let body = record.body();
                let cost = ROW_BYTES + body.len() + bytes.len();
                if place.allow(cost) {
                    place.spend(cost)?;
                    self.push(&record, &body, place.rows());
                    None
                } else {
                    Some(EXPANSION_EXCEEDED)
                }
            }
        };
        if let Some(reason) = refused {
            self.attributes.cancel();
            place.refused.note(reason, record.body_text.unwrap_or(record.event_name));
        }
        Ok(())
    }
}

impl<'a> Record<'a> {
    /// Text as it is, anything else as JSON.
    fn body(&self) -> Cow<'a, [u8]> {
        match self.body_text {
            Some(text) => Cow::Borrowed(text),
            None if self.body.is_empty() => Cow::Borrowed(&[]),
            // Framing, text and depth were checked, so this decodes.
            None => match AnyValue::decode(&*self.body) {
                Ok(value) if value.value.is_some() => Cow::Owned(value_to_json(&value).to_string().into_bytes()),
                Ok(_) | Err(_) => Cow::Borrowed(&[]),
            },
        }
    }

    fn absorb_body(&mut self, bytes: &'a [u8], flaw: &mut Flaw) -> Result<(), WalkError> {
        check::any_value(bytes, ROW_LEFT, &mut self.body_text, flaw)?;
        if self.body.is_empty() {
            self.body = Cow::Borrowed(bytes);
        } else {
            self.body.to_mut().extend_from_slice(bytes);
        }
        Ok(())
    }
}

impl LogRows {
    /// Columns for a request of so many bytes; a guess that is wrong costs time only.
    pub(crate) fn new(wire_bytes: usize) -> Self {
        let rows = wire_bytes / BYTES_PER_RECORD + 1;
        Self {
            resource: Vec::with_capacity(rows),
            scope: Vec::with_capacity(rows),
            time_ns: Vec::with_capacity(rows),
            severity: Vec::with_capacity(rows),
            severity_text: Cells::with_capacity(rows, 8 * rows),
            body: Cells::with_capacity(rows, 64 * rows),
            trace_id: Vec::with_capacity(16 * rows),
            span_id: Vec::with_capacity(8 * rows),
            attributes: Cells::with_capacity(rows, wire_bytes / 2),
        }
    }

    #[inline]
    fn field<'a>(
        &mut self,
        number: u32,
        (value, framed): (Value<'a>, &[u8]),
        record: &mut Record<'a>,
        flaw: &mut Flaw,
    ) -> Result<(), WalkError> {
        match number {
            1 => record.time_ns = value.fixed64()?,
            2 => record.severity = value.low32()?,
            3 => {
                record.severity_text = value.bytes()?;
                flaw.text(record.severity_text);
            }
            5 => record.absorb_body(value.bytes()?, flaw)?,
            6 => {
                check::pair(value.bytes()?, ROW_LEFT, flaw)?;
                self.attributes.item(framed);
            }
            9 => record.trace_id = value.bytes()?,
            10 => record.span_id = value.bytes()?,
            11 => record.observed_ns = value.fixed64()?,
            12 => {
                record.event_name = value.bytes()?;
                flaw.text(record.event_name);
            }
            _ => {
                if let Some(known) = schema::LOG_RECORD.by_number(number) {
                    check::field(known, value, ROW_LEFT, flaw)?;
                }
            }
        }
        Ok(())
    }

    fn push(&mut self, record: &Record<'_>, body: &[u8], (resource, scope): (u32, u32)) {
        self.resource.push(resource);
        self.scope.push(scope);
        self.time_ns.push(if record.time_ns == 0 { record.observed_ns } else { record.time_ns });
        self.severity.push(enum_u8(record.severity, 24));
        self.severity_text.push(record.severity_text);
        self.body.push(body);
        // OTLP: a record with an id of another length belongs to no trace.
        self.trace_id.extend_from_slice(if record.trace_id.len() == 16 { record.trace_id } else { &[0; 16] });
        self.span_id.extend_from_slice(if record.span_id.len() == 8 { record.span_id } else { &[0; 8] });
        self.attributes.seal();
    }

    pub(crate) fn finish(self) -> Result<Logs, WalkError> {
        Ok(Logs::try_new(vec![
            Arc::new(UInt32Array::from(self.resource)),
            Arc::new(UInt32Array::from(self.scope)),
            Arc::new(UInt64Array::from(self.time_ns)),
            Arc::new(UInt8Array::from(self.severity)),
            self.severity_text.into_text()?,
            self.body.into_text()?,
            ids(16, self.trace_id)?,
            ids(8, self.span_id)?,
            self.attributes.into_binary()?,
        ])?)
    }
}
