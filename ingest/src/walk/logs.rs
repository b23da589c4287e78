//! Log records to rows.

use super::{
    WalkError,
    check::{self, Flaw},
    column::{Blobs, Ids, Numbers, Texts, growing},
    envelope::{EXPANSION_EXCEEDED, Place, ROW_LEFT, Rows},
    fill::{Run, enum_u8},
    schema,
    wire::{Reader, Value},
};
use arrow_array::types::{UInt8Type, UInt32Type, UInt64Type};
use geophone_proto::{attributes::value_to_json, columns::Logs, otlp::common::v1::AnyValue};
use prost::Message;
use std::borrow::Cow;

/// Bytes that a row takes beside its texts and attributes.
const ROW_BYTES: usize = 64;

/// A usual record, with its share of the resource.
const BYTES_PER_RECORD: usize = 300;

growing! {
    /// The growing columns of `Logs`.
    LogRows => Logs {
        resource: Numbers<UInt32Type>,
        scope: Numbers<UInt32Type>,
        time_ns: Numbers<UInt64Type>,
        severity: Numbers<UInt8Type>,
        severity_text: Texts,
        body: Texts,
        trace_id: Ids<16>,
        span_id: Ids<8>,
        attributes: Blobs,
    }
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
        let mut run = Run::of(bytes);
        while let Some((number, value)) = reader.next()? {
            if number == 6 {
                check::pair(value.bytes()?, ROW_LEFT, &mut flaw)?;
                run.take(reader.begun(bytes.len()), reader.framed(), &mut self.attributes);
            } else {
                record.field(number, value, &mut flaw)?;
            }
        }
        run.end(&mut self.attributes);
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
    #[inline]
    fn field(&mut self, number: u32, value: Value<'a>, flaw: &mut Flaw) -> Result<(), WalkError> {
        match number {
            1 => self.time_ns = value.fixed64()?,
            2 => self.severity = value.low32()?,
            3 => {
                self.severity_text = value.bytes()?;
                flaw.text(self.severity_text);
            }
            5 => self.absorb_body(value.bytes()?, flaw)?,
            9 => self.trace_id = value.bytes()?,
            10 => self.span_id = value.bytes()?,
            11 => self.observed_ns = value.fixed64()?,
            12 => {
                self.event_name = value.bytes()?;
                flaw.text(self.event_name);
            }
            _ => {
                if let Some(known) = schema::LOG_RECORD.by_number(number) {
                    check::field(known, value, ROW_LEFT, flaw)?;
                }
            }
        }
        Ok(())
    }

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
    /// Columns for a request of so many bytes.
    pub(crate) fn new(wire_bytes: usize) -> Box<Self> {
        Self::spare(wire_bytes / BYTES_PER_RECORD + 1)
    }

    fn push(&mut self, record: &Record<'_>, body: &[u8], (resource, scope): (u32, u32)) {
        self.resource.push(resource);
        self.scope.push(scope);
        self.time_ns.push(if record.time_ns == 0 { record.observed_ns } else { record.time_ns });
        self.severity.push(enum_u8(record.severity, 24));
        self.severity_text.push(record.severity_text);
        self.body.push(body);
        // OTLP: a record with an id of another length belongs to no trace.
        self.trace_id.push(record.trace_id);
        self.span_id.push(record.span_id);
        self.attributes.seal();
    }
}
