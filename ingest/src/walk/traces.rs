//! Spans to rows.

use super::{
    WalkError,
    check::{self, Flaw, Reason},
    envelope::{Place, ROW_LEFT, Rows},
    fill::{Cells, Run, enum_u8},
    schema,
    slab::{Slab, room},
    wire::{Reader, Value},
};
use geophone_proto::columns::Spans;
use std::cell::Cell;

const TRACE_ID: Reason = "trace_id";
const SPAN_ID: Reason = "span_id";
const PARENT_SPAN_ID: Reason = "parent_span_id";

/// A usual span, with its share of the resource.
const BYTES_PER_SPAN: usize = 400;

/// What a row costs beside its texts.
const ROW_BYTES: usize = 96;

/// Columns that hold more than this are not kept for the next request of the thread.
const KEPT_BYTES_MAX: usize = 2 << 20;

thread_local! {
    /// Columns of an earlier request, empty: roomy enough as a rule, and in the core's cache.
    static SPARE: Cell<Option<Box<SpanRows>>> = const { Cell::new(None) };
}

/// The growing columns of `Spans`.
pub(crate) struct SpanRows {
    resource: Vec<u32>,
    scope: Vec<u32>,
    trace_id: Vec<u8>,
    span_id: Vec<u8>,
    parent_span_id: Vec<u8>,
    name: Cells,
    route: Cells,
    peer: Cells,
    kind: Vec<u8>,
    start_ns: Vec<u64>,
    end_ns: Vec<u64>,
    status: Vec<u8>,
    status_message: Cells,
    attributes: Cells,
    events: Cells,
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
    /// Columns for a request of so many bytes; a guess that is wrong costs time only.
    pub(crate) fn new(wire_bytes: usize) -> Box<Self> {
        let mut columns = SPARE.take().unwrap_or_else(|| Box::new(Self::empty()));
        let rows = wire_bytes / BYTES_PER_SPAN + 1;
        let Self { resource, scope, trace_id, span_id, parent_span_id, name, route, peer, .. } = &mut *columns;
        [resource, scope].into_iter().for_each(|column| column.reserve(rows));
        trace_id.reserve(16 * rows);
        [span_id, parent_span_id].into_iter().for_each(|column| column.reserve(8 * rows));
        name.reserve(rows, 24 * rows);
        [route, peer].into_iter().for_each(|column| column.reserve(rows, 0));
        let Self { kind, start_ns, end_ns, status, status_message, attributes, events, .. } = &mut *columns;
        [kind, status].into_iter().for_each(|column| column.reserve(rows));
        [start_ns, end_ns].into_iter().for_each(|column| column.reserve(rows));
        [status_message, events].into_iter().for_each(|column| column.reserve(rows, 0));
        attributes.reserve(rows, wire_bytes / 4 * 3);
        columns
    }

    fn empty() -> Self {
        Self {
            resource: Vec::new(),
            scope: Vec::new(),
            trace_id: Vec::new(),
            span_id: Vec::new(),
            parent_span_id: Vec::new(),
            name: Cells::new(),
            route: Cells::new(),
            peer: Cells::new(),
            kind: Vec::new(),
            start_ns: Vec::new(),
            end_ns: Vec::new(),
            status: Vec::new(),
            status_message: Cells::new(),
            attributes: Cells::new(),
            events: Cells::new(),
        }
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
        self.trace_id.extend_from_slice(span.trace_id);
        self.span_id.extend_from_slice(span.span_id);
        self.parent_span_id.extend_from_slice(if span.parent_span_id.is_empty() { &[0; 8] } else { span.parent_span_id });
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

    pub(crate) fn finish(self: Box<Self>) -> Result<Spans, WalkError> {
        let spans = self.laid()?;
        self.keep();
        Ok(spans)
    }

    fn laid(&self) -> Result<Spans, WalkError> {
        let Self { resource, scope, trace_id, span_id, parent_span_id, kind, start_ns, end_ns, status, .. } = self;
        let cells = [&self.name, &self.route, &self.peer, &self.status_message, &self.attributes, &self.events];
        let ids = [trace_id, span_id, parent_span_id];
        let words = [resource, scope].into_iter().map(|it| room(it)).sum::<usize>();
        let longs = [start_ns, end_ns].into_iter().map(|it| room(it)).sum::<usize>();
        let bytes = words + longs + ids.into_iter().chain([kind, status]).map(|it| room(it)).sum::<usize>();
        let mut slab = Slab::new(bytes + cells.iter().map(|cells| cells.room()).sum::<usize>());
        let [resource, scope] = [resource, scope].map(|it| slab.put(it));
        let [start_ns, end_ns] = [start_ns, end_ns].map(|it| slab.put(it));
        let [trace_id, span_id, parent_span_id] = ids.map(|it| slab.put(it));
        let [kind, status] = [kind, status].map(|it| slab.put(it));
        let [name, route, peer, status_message, attributes, events] = cells.map(|it| slab.cells(it));
        let laid = slab.finish();
        let columns = (
            laid.numbers(resource),
            laid.numbers(scope),
            laid.ids(16, trace_id)?,
            laid.ids(8, span_id)?,
            laid.ids(8, parent_span_id)?,
            laid.texts(name)?,
            laid.texts(route)?,
            laid.texts(peer)?,
            laid.numbers(kind),
            laid.numbers(start_ns),
            laid.numbers(end_ns),
            laid.numbers(status),
            laid.texts(status_message)?,
            laid.bytes_of(attributes)?,
            laid.bytes_of(events)?,
        );
        Ok(Spans::from_columns(laid.bytes(), columns)?)
    }

    /// Leaves the columns to the next request of this thread.
    fn keep(mut self: Box<Self>) {
        let Self { resource, scope, trace_id, span_id, parent_span_id, kind, start_ns, end_ns, status, .. } = &mut *self;
        [resource, scope].into_iter().for_each(Vec::clear);
        [trace_id, span_id, parent_span_id, kind, status].into_iter().for_each(Vec::clear);
        [start_ns, end_ns].into_iter().for_each(Vec::clear);
        let Self { name, route, peer, status_message, attributes, events, .. } = &mut *self;
        let cells = [name, route, peer, status_message, attributes, events];
        let held: usize = cells.iter().map(|cells| cells.held()).sum();
        cells.into_iter().for_each(Cells::clear);
        if held <= KEPT_BYTES_MAX {
            SPARE.set(Some(self));
        }
    }
}
