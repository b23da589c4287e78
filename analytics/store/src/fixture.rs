//! What the tests share: a clock that is told the time, a decoder by `prost`, small requests.

use crate::{Failpoint, LogOptions, StoreOptions};
use arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, FixedSizeBinaryArray, Float64Array, StringArray, UInt8Array, UInt32Array, UInt64Array,
};
use geophone_proto::{
    Batch, Columns, Record, RecordBody, Signal, Tenant, Transport, UnixNanos, attributes,
    columns::{Logs, Points, Resources, Samples, Scopes, Spans},
    feature::FeatureSchema,
    otlp::{
        collector::{logs::v1::ExportLogsServiceRequest, trace::v1::ExportTraceServiceRequest},
        common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue, any_value::Value},
        logs::v1::{LogRecord, ResourceLogs, ScopeLogs},
        resource::v1::Resource,
        trace::v1::{ResourceSpans, ScopeSpans, Span, Status, span::Event},
    },
    record::{DecodeExport, Export},
    seam::Clock,
};
use prost::Message;
use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU64, Ordering},
};

/// 2026-11-24T06:00:00Z.
pub(crate) const NOON: u64 = 1_795_500_000_000_000_000;
pub(crate) const SECOND: u64 = 1_000_000_000;

/// A clock that moves when told.
pub(crate) struct TestClock(pub(crate) AtomicU64);

impl TestClock {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(NOON.into()))
    }

    pub(crate) fn advance(&self, ns: u64) {
        self.0.fetch_add(ns, Ordering::Relaxed);
    }
}

impl Clock for TestClock {
    fn now(&self) -> UnixNanos {
        UnixNanos(self.0.load(Ordering::Relaxed))
    }
}

/// Fails the named step, as a full disk does, as often as it is armed for.
#[derive(Default)]
pub(crate) struct Fuse(Mutex<Vec<&'static str>>);

impl Fuse {
    pub(crate) fn arm(self: &Arc<Self>, step: &'static str) {
        crate::log::lock(&self.0).push(step);
    }

    pub(crate) fn disarm(&self) {
        crate::log::lock(&self.0).clear();
    }

    pub(crate) fn failpoint(self: &Arc<Self>) -> Failpoint {
        let fuse = self.clone();
        Arc::new(move |step| {
            let mut armed = crate::log::lock(&fuse.0);
            match armed.iter().position(|name| *name == step) {
                Some(place) => {
                    armed.remove(place);
                    Err(std::io::Error::new(std::io::ErrorKind::StorageFull, format!("{step} was made to fail")))
                }
                None => Ok(()),
            }
        })
    }
}

pub(crate) fn log_options() -> LogOptions {
    LogOptions::new(decoder())
}

pub(crate) fn store_options() -> StoreOptions {
    StoreOptions::new(decoder(), FeatureSchema::of(["f0", "f1"]))
}

fn pair(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.into(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

fn resource(service: &str) -> Resource {
    Resource { attributes: vec![pair("service.name", Value::StringValue(service.into()))], ..Resource::default() }
}

/// A request of spans that end at the given times; the n-th has the attribute `n`.
pub(crate) fn spans(service: &str, ends: &[u64]) -> Record {
    let span = |(n, end): (usize, &u64)| Span {
        trace_id: vec![u8::try_from(n % 255).unwrap_or(0) + 1; 16],
        span_id: vec![7; 8],
        name: format!("op{}", n % 3),
        kind: 2,
        start_time_unix_nano: end.saturating_sub(SECOND),
        end_time_unix_nano: *end,
        attributes: vec![pair("n", Value::IntValue(i64::try_from(n).unwrap_or(0))), pair("http.route", Value::StringValue("/a".into()))],
        status: Some(Status { code: 2, message: "bad".into() }),
        ..Span::default()
    };
    let scope = InstrumentationScope { name: "lib".into(), ..InstrumentationScope::default() };
    let spans = ScopeSpans { scope: Some(scope), spans: ends.iter().enumerate().map(span).collect(), ..ScopeSpans::default() };
    let resource_spans = ResourceSpans { resource: Some(resource(service)), scope_spans: vec![spans], ..ResourceSpans::default() };
    let wire = ExportTraceServiceRequest { resource_spans: vec![resource_spans] }.encode_to_vec();
    batch(Signal::Traces, wire)
}

/// Spans with attributes of every shape: none, repeated keys, texts that JSON must escape, nested values; and events.
pub(crate) fn odd_spans(service: &str) -> Record {
    let text = |text: &str| Value::StringValue(text.into());
    let list = |values: Vec<Value>| {
        let values = values.into_iter().map(|value| AnyValue { value: Some(value) }).collect();
        Value::ArrayValue(ArrayValue { values })
    };
    let attributes = [
        vec![],
        vec![pair("a", Value::IntValue(-1)), pair("b", text("x")), pair("a", Value::IntValue(2))],
        vec![pair("a", text("\"quoted\" \\ \u{1} é")), pair("c\"d", Value::BoolValue(true)), pair("f", Value::DoubleValue(0.1))],
        vec![pair("l", list(vec![text("x"), Value::IntValue(7), list(vec![])])), pair("y", Value::BytesValue(vec![1, 2]))],
        vec![pair("a", Value::IntValue(2)), pair("b", text("x"))],
    ];
    let event = Event { time_unix_nano: NOON, name: "miss".into(), attributes: vec![pair("k", text("v"))], ..Event::default() };
    let span = |(n, attributes): (u64, Vec<KeyValue>)| Span {
        trace_id: vec![9; 16],
        span_id: (n + 1).to_be_bytes().to_vec(),
        parent_span_id: if n == 0 { Vec::new() } else { n.to_be_bytes().to_vec() },
        name: format!("op{n}"),
        start_time_unix_nano: NOON,
        end_time_unix_nano: NOON + n,
        attributes,
        events: vec![event.clone(); usize::try_from(n % 3).expect("small")],
        ..Span::default()
    };
    let spans: Vec<Span> = (0..).zip(attributes).map(span).collect();
    let of = |name: &str, spans: &[Span]| {
        let spans = ScopeSpans { spans: spans.to_vec(), ..ScopeSpans::default() };
        ResourceSpans { resource: Some(resource(name)), scope_spans: vec![spans], ..ResourceSpans::default() }
    };
    let resource_spans = vec![of(service, &spans[..2]), of("other", &spans[2..])];
    batch(Signal::Traces, ExportTraceServiceRequest { resource_spans }.encode_to_vec())
}

/// A span of the service `bare` without any attribute, event or scope.
pub(crate) fn bare_span() -> Record {
    let span = Span { trace_id: vec![8; 16], span_id: vec![8; 8], end_time_unix_nano: NOON, start_time_unix_nano: 1, ..Span::default() };
    let scope_spans = vec![ScopeSpans { spans: vec![span], ..ScopeSpans::default() }];
    let resource_spans = vec![ResourceSpans { resource: Some(resource("bare")), scope_spans, ..ResourceSpans::default() }];
    batch(Signal::Traces, ExportTraceServiceRequest { resource_spans }.encode_to_vec())
}

/// A request of log records at the given times.
pub(crate) fn logs(service: &str, times: &[u64]) -> Record {
    let record = |time: &u64| LogRecord {
        time_unix_nano: *time,
        severity_number: 17,
        body: Some(AnyValue { value: Some(Value::StringValue("it broke".into())) }),
        ..LogRecord::default()
    };
    let records = ScopeLogs { log_records: times.iter().map(record).collect(), ..ScopeLogs::default() };
    let resource_logs = ResourceLogs { resource: Some(resource(service)), scope_logs: vec![records], ..ResourceLogs::default() };
    batch(Signal::Logs, ExportLogsServiceRequest { resource_logs: vec![resource_logs] }.encode_to_vec())
}

/// A "request" of `n` data points; the bytes are our own, since only the columns matter here.
pub(crate) fn points(service: &str, n: u8) -> Record {
    let mut wire = vec![n];
    wire.extend_from_slice(service.as_bytes());
    batch(Signal::Metrics, wire)
}

fn batch(signal: Signal, wire: Vec<u8>) -> Record {
    let export = Export { tenant: Tenant::default(), signal, transport: Transport::Grpc, wire: wire.into(), decoded: None };
    Record { at: UnixNanos(NOON), body: RecordBody::Batch(export) }
}

pub(crate) fn tick() -> Record {
    Record { at: UnixNanos(NOON), body: RecordBody::Tick }
}

fn array<A: Array + 'static>(values: A) -> ArrayRef {
    Arc::new(values)
}

fn strings<S: AsRef<str>>(values: impl IntoIterator<Item = S>) -> ArrayRef {
    array(values.into_iter().map(|value| Some(value.as_ref().to_owned())).collect::<StringArray>())
}

fn fixed(width: i32, values: &[Vec<u8>]) -> ArrayRef {
    let bytes: Vec<u8> = values.iter().flat_map(|value| if value.is_empty() { vec![0; width as usize] } else { value.clone() }).collect();
    array(FixedSizeBinaryArray::try_new(width, bytes.into(), None).expect("every id has its width"))
}

fn cells(values: impl IntoIterator<Item = Vec<u8>>) -> ArrayRef {
    array(BinaryArray::from_iter_values(values))
}

fn of<A, T>(values: impl IntoIterator<Item = T>) -> ArrayRef
where
    A: Array + From<Vec<T>> + 'static,
{
    array(A::from(values.into_iter().collect::<Vec<T>>()))
}

/// Walks requests by `prost`.
pub(crate) fn decoder() -> DecodeExport {
    Arc::new(|export, at| {
        let (resources, columns) = match export.signal {
            Signal::Traces => decode_spans(&export.wire),
            Signal::Logs => decode_logs(&export.wire),
            Signal::Metrics => decode_points(&export.wire),
            Signal::Profiles => (Vec::new(), Columns::Profiles(Samples::empty())),
        };
        let services: Vec<&str> = resources.iter().map(service_of).collect();
        let n = resources.len();
        let resources = Resources::try_new(vec![
            strings(&services),
            strings(vec![""; n]),
            strings(vec!["1.0"; n]),
            strings(vec![""; n]),
            of::<UInt64Array, u64>(vec![0; n]),
            cells(resources.iter().map(|resource| attributes::encode(resource.attributes.clone()))),
        ])
        .expect("the columns are those of the schema");
        let scopes = Scopes::try_new(vec![strings(["lib"]), strings([""])]).expect("the columns are those of the schema");
        Arc::new(Batch { tenant: export.tenant.clone(), arrived_at: at, resources, scopes, columns })
    })
}

fn service_of(resource: &Resource) -> &str {
    match resource.attributes.first().and_then(|pair| pair.value.as_ref()).and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => text,
        _ => "unknown_service",
    }
}

fn decode_spans(wire: &[u8]) -> (Vec<Resource>, Columns) {
    let request = ExportTraceServiceRequest::decode(wire).expect("tests send whole requests");
    let mut resources = Vec::new();
    let mut rows: Vec<(u32, Span)> = Vec::new();
    for (index, group) in (0u32..).zip(request.resource_spans) {
        resources.push(group.resource.unwrap_or_default());
        rows.extend(group.scope_spans.into_iter().flat_map(|scope| scope.spans).map(|span| (index, span)));
    }
    let each = || rows.iter().map(|(_, span)| span);
    let ids = |get: fn(&Span) -> &Vec<u8>| each().map(|span| get(span).clone()).collect::<Vec<_>>();
    let columns = vec![
        of::<UInt32Array, u32>(rows.iter().map(|(resource, _)| *resource)),
        of::<UInt32Array, u32>(rows.iter().map(|_| 0)),
        fixed(16, &ids(|span| &span.trace_id)),
        fixed(8, &ids(|span| &span.span_id)),
        fixed(8, &ids(|span| &span.parent_span_id)),
        strings(each().map(|span| span.name.clone())),
        strings(each().map(|_| "")),
        strings(each().map(|_| "")),
        of::<UInt8Array, u8>(each().map(|span| u8::try_from(span.kind).unwrap_or(0))),
        of::<UInt64Array, u64>(each().map(|span| span.start_time_unix_nano)),
        of::<UInt64Array, u64>(each().map(|span| span.end_time_unix_nano)),
        of::<UInt8Array, u8>(each().map(|span| span.status.as_ref().map_or(0, |status| u8::try_from(status.code).unwrap_or(0)))),
        strings(each().map(|span| span.status.as_ref().map_or(String::new(), |status| status.message.clone()))),
        cells(each().map(|span| attributes::encode(span.attributes.clone()))),
        cells(each().map(|_| Vec::new())),
    ];
    (resources, Columns::Traces(Spans::try_new(columns).expect("the columns are those of the schema")))
}

fn decode_logs(wire: &[u8]) -> (Vec<Resource>, Columns) {
    let request = ExportLogsServiceRequest::decode(wire).expect("tests send whole requests");
    let group = request.resource_logs.into_iter().next().unwrap_or_default();
    let rows: Vec<LogRecord> = group.scope_logs.into_iter().flat_map(|scope| scope.log_records).collect();
    let n = rows.len();
    let columns = vec![
        of::<UInt32Array, u32>(vec![0; n]),
        of::<UInt32Array, u32>(vec![0; n]),
        of::<UInt64Array, u64>(rows.iter().map(|row| row.time_unix_nano)),
        of::<UInt8Array, u8>(rows.iter().map(|row| u8::try_from(row.severity_number).unwrap_or(0))),
        strings(vec![""; n]),
        strings(vec!["it broke"; n]),
        fixed(16, &vec![Vec::new(); n]),
        fixed(8, &vec![Vec::new(); n]),
        cells(vec![Vec::new(); n]),
    ];
    (vec![group.resource.unwrap_or_default()], Columns::Logs(Logs::try_new(columns).expect("the columns are those of the schema")))
}

fn decode_points(wire: &[u8]) -> (Vec<Resource>, Columns) {
    let n = usize::from(wire[0]);
    let service = String::from_utf8_lossy(&wire[1..]).into_owned();
    let schema = Points::schema();
    let columns = (0..schema.fields().len()).map(|place| match schema.field(place).name().as_str() {
        "metric" => strings(vec!["m"; n]),
        "unit" => strings(vec!["1"; n]),
        "resource" | "scope" | "flags" => of::<UInt32Array, u32>(vec![0; n]),
        "kind" => of::<UInt8Array, u8>(vec![2; n]),
        "temporality" => of::<UInt8Array, u8>(vec![1; n]),
        "monotonic" => array(BooleanArray::from(vec![true; n])),
        "start_ns" | "time_ns" | "count" => of::<UInt64Array, u64>(vec![NOON; n]),
        "value" => of::<Float64Array, f64>((0..n).map(|row| if row == 0 { f64::NAN } else { 0.5 })),
        "exemplar_trace_id" => fixed(16, &vec![Vec::new(); n]),
        "exemplar_span_id" => fixed(8, &vec![Vec::new(); n]),
        "attributes" => cells(vec![Vec::new(); n]),
        _ => {
            let mut lists = arrow_array::builder::ListBuilder::new(arrow_array::builder::Float64Builder::new()).with_field(arrow_field());
            (0..n).for_each(|_| lists.append_value([Some(1.0), Some(2.5)]));
            array(lists.finish())
        }
    });
    let columns: Vec<ArrayRef> = columns.collect();
    (vec![resource(&service)], Columns::Metrics(Points::try_new(columns).expect("the columns are those of the schema")))
}

fn arrow_field() -> arrow_schema::FieldRef {
    Arc::new(arrow_schema::Field::new_list_field(arrow_schema::DataType::Float64, false))
}
