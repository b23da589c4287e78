//! Spans to rows.

use super::{
    WalkError,
    check::{self, Flaw, Reason},
    column::{Blobs, Ids, Numbers, Texts, growing},
    envelope::{Place, ROW_LEFT, Rows},
    fill::{Run, enum_u8},
    schema,
    wire::{Reader, Value},
};
use arrow_array::types::{UInt8Type, UInt32Type, UInt64Type};
use geophone_proto::columns::Spans;

const TRACE_ID: Reason = "trace_id";
const SPAN_ID: Reason = "span_id";
const PARENT_SPAN_ID: Reason = "parent_span_id";

/// A usual span, with its share of the resource.
const BYTES_PER_SPAN: usize = 400;

/// What a row costs beside its texts.
const ROW_BYTES: usize = 96;

growing! {
    /// The growing columns of `Spans`.
    SpanRows => Spans {
        resource: Numbers<UInt32Type>,
        scope: Numbers<UInt32Type>,
        trace_id: Ids<16>,
        span_id: Ids<8>,
        parent_span_id: Ids<8>,
        name: Texts,
        route: Texts,
        peer: Texts,
        kind: Numbers<UInt8Type>,
        start_ns: Numbers<UInt64Type>,
        end_ns: Numbers<UInt64Type>,
        status: Numbers<UInt8Type>,
        status_message: Texts,
        attributes: Blobs,
        events: Blobs,
    }
}

/// One span's fields, the last of each.
#[derive(Default)]
struct Span<'a> {
    trace_id: &'a [u8],
    span_id: &'a [u8],
    parent_span_id: &'a [u8],
    name: &'a [u8],
    route: &'a [u8],
    peer: [&'a [u8]; 4],
    kind: u32,
    start_ns: u64,
    end_ns: u64,
    status: u32,
    status_message: &'a [u8],
}

impl Rows for SpanRows {
    fn take(&mut self, bytes: &[u8], place: &mut Place<'_>) -> Result<(), WalkError> {
        let mut span = Span::default();
        let mut flaw = place.inherited;
        let mut reader = Reader::new(bytes, ROW_LEFT);
        let mut run = Run::of(bytes);
        while let Some((number, value)) = reader.next()? {
            if number == 9 {
                span.attribute(check::pair(value.bytes()?, ROW_LEFT, &mut flaw)?);
                run.take(reader.begun(bytes.len()), reader.framed(), &mut self.attributes);
            } else {
                self.field(number, (value, reader.framed()), &mut span, &mut flaw)?;
            }
        }
        run.end(&mut self.attributes);
        match flaw.0.or_else(|| span.broken_rule()) {
            None => {
                place.spend(ROW_BYTES + bytes.len())?;
                self.push(&span, place.rows());
            }
            Some(reason) => {
                self.attributes.cancel();
                self.events.cancel();
                place.refused.note(reason, span.name);
            }
        }
        Ok(())
    }
}

impl<'a> Span<'a> {
    /// Which of OTLP's rules on ids the span breaks.
    fn broken_rule(&self) -> Option<Reason> {
        if self.trace_id.len() != 16 || self.trace_id == [0; 16] {
            Some(TRACE_ID)
        } else if self.span_id.len() != 8 || self.span_id == [0; 8] {
            Some(SPAN_ID)
        } else if !matches!(self.parent_span_id.len(), 0 | 8) {
            Some(PARENT_SPAN_ID)
        } else {
            None
        }
    }

    fn attribute(&mut self, pair: check::Pair<'a>) {
        let slot = match pair.key {
            b"http.route" => &mut self.route,
            b"peer.service" => &mut self.peer[0],
            b"server.address" => &mut self.peer[1],
            b"db.system.name" => &mut self.peer[2],
            b"db.system" => &mut self.peer[3],
            _ => return,
        };
        *slot = pair.text.unwrap_or_default();
    }

    fn status(&mut self, bytes: &'a [u8], flaw: &mut Flaw) -> Result<(), WalkError> {
        let mut reader = Reader::new(bytes, ROW_LEFT - 1);
        while let Some((number, value)) = reader.next()? {
            match number {
                2 => {
                    self.status_message = value.bytes()?;
                    flaw.text(self.status_message);
                }
                3 => self.status = value.low32()?,
                _ => {}
            }
        }
        Ok(())
    }
}

impl SpanRows {
    /// Columns for a request of so many bytes.
    pub(crate) fn new(wire_bytes: usize) -> Box<Self> {
        Self::spare(wire_bytes / BYTES_PER_SPAN + 1)
    }

    #[inline]
    fn field<'a>(
        &mut self,
        number: u32,
        (value, framed): (Value<'a>, &[u8]),
        span: &mut Span<'a>,
        flaw: &mut Flaw,
    ) -> Result<(), WalkError> {
        match number {
            1 => span.trace_id = value.bytes()?,
            2 => span.span_id = value.bytes()?,
            3 => flaw.text(value.bytes()?),
            4 => span.parent_span_id = value.bytes()?,
            5 => {
                span.name = value.bytes()?;
                flaw.text(span.name);
            }
            6 => span.kind = value.low32()?,
            7 => span.start_ns = value.fixed64()?,
            8 => span.end_ns = value.fixed64()?,
            11 => {
                check::message(&schema::EVENT, value.bytes()?, ROW_LEFT, flaw)?;
                self.events.item(framed);
            }
            13 => check::message(&schema::LINK, value.bytes()?, ROW_LEFT, flaw)?,
            10 | 12 | 14 => drop(value.varint()?),
            15 => span.status(value.bytes()?, flaw)?,
            16 => drop(value.fixed32()?),
            _ => {}
        }
        Ok(())
    }

    fn push(&mut self, span: &Span<'_>, (resource, scope): (u32, u32)) {
        self.resource.push(resource);
        self.scope.push(scope);
        self.trace_id.push(span.trace_id);
        self.span_id.push(span.span_id);
        self.parent_span_id.push(span.parent_span_id);
        self.name.push(span.name);
        self.route.push(span.route);
        self.peer.push(span.peer.iter().find(|text| !text.is_empty()).copied().unwrap_or_default());
        self.kind.push(enum_u8(span.kind, 5));
        self.start_ns.push(span.start_ns);
        self.end_ns.push(span.end_ns);
        self.status.push(enum_u8(span.status, 2));
        self.status_message.push(span.status_message);
        self.attributes.seal();
        self.events.seal();
    }
}
