//! The requests that are sent: clean ones, odd ones, broken ones.

use super::call::{Call, Content, Speech};
use crate::request::ExportRequest;
use bytes::{BufMut, Bytes, BytesMut};
use geophone_proto::{
    Signal,
    otlp::{
        collector::{
            logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest,
            profiles::v1development::ExportProfilesServiceRequest, trace::v1::ExportTraceServiceRequest,
        },
        common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList, any_value::Value},
        logs::v1::{LogRecord, ResourceLogs, ScopeLogs},
        metrics::v1::{
            AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum,
            metric::Data, number_data_point,
        },
        profiles::v1development::{
            Function, KeyValueAndUnit, Link, Location, Mapping, Profile, ProfilesDictionary, ResourceProfiles, Sample, ScopeProfiles, Stack,
        },
        resource::v1::Resource,
        trace::v1::{ResourceSpans, ScopeSpans, Span},
    },
};
use prost::Message;

/// Rows in a clean request.
const ROWS: u64 = 3;
/// What the rows say about where they come from.
const SERVICE: &str = "geophone-check";

fn text(text: &str) -> Option<Value> {
    Some(Value::StringValue(text.into()))
}

fn pair(key: &str, value: Option<Value>) -> KeyValue {
    KeyValue { key: key.into(), value: Some(AnyValue { value }), ..KeyValue::default() }
}

fn resource() -> Option<Resource> {
    Some(Resource { attributes: vec![pair("service.name", text(SERVICE))], ..Resource::default() })
}

pub(crate) fn spans_of(spans: Vec<Span>) -> ExportRequest {
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    let resource_spans = vec![ResourceSpans { resource: resource(), scope_spans, ..ResourceSpans::default() }];
    ExportRequest::Traces(ExportTraceServiceRequest { resource_spans })
}

fn metric_of(data: Data) -> ExportRequest {
    let metric = Metric { name: "geophone.check".into(), unit: "1".into(), data: Some(data), ..Metric::default() };
    let scope_metrics = vec![ScopeMetrics { metrics: vec![metric], ..ScopeMetrics::default() }];
    let resource_metrics = vec![ResourceMetrics { resource: resource(), scope_metrics, ..ResourceMetrics::default() }];
    ExportRequest::Metrics(ExportMetricsServiceRequest { resource_metrics })
}

fn logs_of(log_records: Vec<LogRecord>) -> ExportRequest {
    let scope_logs = vec![ScopeLogs { log_records, ..ScopeLogs::default() }];
    let resource_logs = vec![ResourceLogs { resource: resource(), scope_logs, ..ResourceLogs::default() }];
    ExportRequest::Logs(ExportLogsServiceRequest { resource_logs })
}

/// Valid spans; ids come from the time.
pub(crate) fn spans(at: u64) -> Vec<Span> {
    let span = |row: u64| Span {
        trace_id: u128::from(at.max(1)).to_be_bytes().to_vec(),
        span_id: at.max(1).wrapping_add(row).to_be_bytes().to_vec(),
        name: format!("check {row}"),
        kind: 2,
        start_time_unix_nano: at,
        end_time_unix_nano: at + 1_000_000,
        ..Span::default()
    };
    (0..ROWS).map(span).collect()
}

fn points(at: u64) -> Vec<NumberDataPoint> {
    let value = Some(number_data_point::Value::AsInt(1));
    let point = |row: u64| NumberDataPoint {
        time_unix_nano: at + row,
        start_time_unix_nano: at,
        value,
        attributes: vec![pair("row", Some(Value::IntValue(i64::try_from(row).unwrap_or_default())))],
        ..NumberDataPoint::default()
    };
    (0..ROWS).map(point).collect()
}

/// A request that no server has a reason to refuse.
pub(crate) fn clean(signal: Signal, at: u64) -> ExportRequest {
    match signal {
        Signal::Metrics => metric_of(Data::Gauge(Gauge { data_points: points(at) })),
        Signal::Logs => {
            let record =
                LogRecord { time_unix_nano: at, severity_number: 9, body: Some(AnyValue { value: text("check") }), ..LogRecord::default() };
            logs_of(vec![record; 3])
        }
        Signal::Traces | Signal::Profiles => spans_of(spans(at)),
    }
}

/// A request without rows.
pub(crate) fn empty(signal: Signal) -> ExportRequest {
    match signal {
        Signal::Metrics => ExportRequest::Metrics(ExportMetricsServiceRequest::default()),
        Signal::Logs => ExportRequest::Logs(ExportLogsServiceRequest::default()),
        Signal::Traces | Signal::Profiles => ExportRequest::Traces(ExportTraceServiceRequest::default()),
    }
}

/// Envelopes with nothing in them.
pub(crate) fn envelopes(signal: Signal) -> ExportRequest {
    match signal {
        Signal::Metrics => {
            let scope_metrics = vec![ScopeMetrics { metrics: vec![Metric::default()], ..ScopeMetrics::default() }];
            let resource_metrics = vec![ResourceMetrics { scope_metrics, ..ResourceMetrics::default() }, ResourceMetrics::default()];
            ExportRequest::Metrics(ExportMetricsServiceRequest { resource_metrics })
        }
        Signal::Logs => logs_of(Vec::new()),
        Signal::Traces | Signal::Profiles => spans_of(Vec::new()),
    }
}

/// Requests of three rows, one of which breaks a rule of the data model, in a few words.
pub(crate) fn odd(at: u64) -> Vec<(&'static str, ExportRequest)> {
    let with = |change: fn(&mut Span)| {
        let mut spans = spans(at);
        change(&mut spans[1]);
        spans_of(spans)
    };
    let point = |counts: usize| HistogramDataPoint {
        time_unix_nano: at,
        count: 1,
        bucket_counts: vec![1; counts],
        explicit_bounds: vec![1.0],
        ..HistogramDataPoint::default()
    };
    let cumulative = AggregationTemporality::Cumulative as i32;
    let histogram = Histogram { data_points: vec![point(2), point(5), point(2)], aggregation_temporality: cumulative };
    vec![
        ("3 spans, one without a trace id", with(|span| span.trace_id.clear())),
        ("3 spans, one with a zero span id", with(|span| span.span_id = vec![0; 8])),
        ("3 histogram points, one with 5 counts for 1 bound", metric_of(Data::Histogram(histogram))),
    ]
}

/// Requests that are right and that a server may want to say something about.
pub(crate) fn remarkable(at: u64) -> Vec<(&'static str, ExportRequest)> {
    let sum = |temporality| metric_of(Data::Sum(Sum { data_points: points(at), aggregation_temporality: temporality, is_monotonic: true }));
    let mut ends_first = spans(at);
    ends_first[0].end_time_unix_nano = at - at.min(1);
    let mut timeless = spans(at);
    timeless[0].start_time_unix_nano = 0;
    vec![
        ("a cumulative sum", sum(AggregationTemporality::Cumulative as i32)),
        ("a sum of unknown temporality", sum(99)),
        ("3 spans, one ends before it starts", spans_of(ends_first)),
        ("3 spans, one without a start", spans_of(timeless)),
    ]
}

/// A profile as proto 1.9 wrote it, which a receiver may take with a warning: the values of a sample stood where its
/// attributes have stood since.
pub(crate) fn profile_of_old(at: u64) -> (&'static str, Bytes) {
    let sample = Sample { stack_index: 0, attribute_indices: vec![1], ..Sample::default() };
    let profile = Profile { time_unix_nano: at, samples: vec![sample], ..Profile::default() };
    let scope_profiles = vec![ScopeProfiles { profiles: vec![profile], ..ScopeProfiles::default() }];
    let resource_profiles = vec![ResourceProfiles { resource: resource(), scope_profiles, ..ResourceProfiles::default() }];
    let dictionary = ProfilesDictionary {
        mapping_table: vec![Mapping::default()],
        location_table: vec![Location::default()],
        function_table: vec![Function::default()],
        link_table: vec![Link::default()],
        string_table: vec![String::new()],
        attribute_table: vec![KeyValueAndUnit::default()],
        stack_table: vec![Stack::default()],
    };
    let request = ExportProfilesServiceRequest { resource_profiles, dictionary: Some(dictionary) };
    ("a profile in the form of proto 1.9", request.encode_to_vec().into())
}

/// Every kind of value that an attribute may have since proto 1.9 (OTLP-37).
pub(crate) fn values(signal: Signal, at: u64) -> ExportRequest {
    let any = |value| AnyValue { value };
    let inner = KeyValueList { values: vec![pair("inner", None), pair("bytes", Some(Value::BytesValue(vec![1])))] };
    let mixed = vec![any(text("a")), any(Some(Value::IntValue(-1))), any(None), any(Some(Value::KvlistValue(inner.clone())))];
    let attributes = vec![
        pair("empty", None),
        KeyValue { key: "no value".into(), ..KeyValue::default() },
        pair("bytes", Some(Value::BytesValue(vec![0, 255, 128]))),
        pair("mixed", Some(Value::ArrayValue(ArrayValue { values: mixed }))),
        pair("list", Some(Value::KvlistValue(inner))),
    ];
    match signal {
        Signal::Metrics => {
            let mut data_points = points(at);
            data_points[0].attributes = attributes;
            metric_of(Data::Gauge(Gauge { data_points }))
        }
        Signal::Logs => {
            let body = attributes[3].value.clone();
            logs_of(vec![LogRecord { time_unix_nano: at, body, attributes, ..LogRecord::default() }])
        }
        Signal::Traces | Signal::Profiles => {
            let mut spans = spans(at);
            spans[0].attributes = attributes;
            spans_of(spans)
        }
    }
}

/// Bodies that are no export request, in a few words.
pub(crate) fn malformed(speech: Speech, at: u64) -> Vec<(&'static str, Bytes)> {
    if speech == Speech::Json {
        return vec![
            ("half a JSON document", Bytes::from_static(b"{\"resourceSpans\":[")),
            ("a JSON array", Bytes::from_static(b"[1]")),
            ("a number where an array belongs", Bytes::from_static(b"{\"resourceSpans\":5}")),
        ];
    }
    let whole = clean(Signal::Traces, at).encode();
    vec![
        ("half a protobuf message", whole.slice(..whole.len() / 2)),
        ("a field key that never ends", Bytes::from_static(b"\xff")),
        ("a varint where a message belongs", Bytes::from_static(&[0x08, 0x01])),
    ]
}

/// A valid request that an unknown field makes larger than `bytes_max`.
pub(crate) fn too_large(speech: Speech, at: u64, bytes_max: usize) -> Call {
    let padding = bytes_max.saturating_add(64 << 10);
    let what = format!("a request of {padding} bytes");
    Call::raw(speech, Signal::Traces, what, padded(speech, at, padding))
}

/// A valid request with an unknown field of so many bytes.
pub(crate) fn padded(speech: Speech, at: u64, padding: usize) -> Content {
    let request = clean(Signal::Traces, at);
    if speech == Speech::Json {
        let json = crate::json::to_json(&request).to_string();
        let head = "{\"x\":\"";
        let tail = format!("\",{}", json.trim_start_matches('{'));
        return Content { head: head.into(), padding, pad: b'x', tail: tail.into() };
    }
    let mut head = BytesMut::from(&*request.encode());
    // Field 1000, length-delimited.
    head.put_slice(&[0xc2, 0x3e]);
    prost::encoding::encode_varint(padding as u64, &mut head);
    Content { head: head.freeze(), padding, pad: 0, tail: Bytes::new() }
}

/// One span with a name so long that an answer which repeats it is too large (OTLP-05).
pub(crate) fn long_name(at: u64, bytes: usize) -> ExportRequest {
    let mut spans = spans(at);
    spans.truncate(1);
    spans[0].name = "n".repeat(bytes);
    spans[0].trace_id.clear();
    spans_of(spans)
}

/// A valid request with what protobuf allows and few senders do: unknown fields and groups, fields out of
/// order, a message in two pieces, the resource after its spans.
pub(crate) fn unusual(at: u64) -> Vec<(&'static str, Bytes)> {
    let field = |number: u8, bytes: &[u8]| {
        let mut out = vec![number << 3 | 2];
        prost::encoding::encode_varint(bytes.len() as u64, &mut out);
        out.extend_from_slice(bytes);
        out
    };
    // Field 900: a varint; field 901: fixed64; field 902: a group with a varint in it.
    let unknown = [0xa0, 0x38, 0x05, 0xa9, 0x38, 1, 2, 3, 4, 5, 6, 7, 8];
    let group = [0xb3, 0x38, 0x08, 0x01, 0xb4, 0x38];
    let resource = resource().unwrap_or_default().encode_to_vec();
    let [first, second] = [&spans(at)[0], &spans(at)[1]].map(Message::encode_to_vec);
    let with = |extra: &[u8]| {
        let span = [extra, &first, extra].concat();
        let scope = [extra, &field(2, &span), extra].concat();
        let group = [extra, &field(1, &resource), extra, &field(2, &scope)].concat();
        Bytes::from([extra, &field(1, &group), extra].concat())
    };
    let scopes = [field(2, &field(2, &first)), field(2, &field(2, &second))].concat();
    let late = Bytes::from(field(1, &[scopes, field(1, &resource)].concat()));
    let split = {
        let attribute = field(1, &pair("split", text("yes")).encode_to_vec());
        let group = [field(1, &resource), field(2, &field(2, &first)), field(1, &attribute)].concat();
        Bytes::from(field(1, &group))
    };
    let backwards = {
        let span = &spans(at)[0];
        let name = Span { name: span.name.clone(), ..Span::default() }.encode_to_vec();
        let rest = Span { name: String::new(), ..span.clone() }.encode_to_vec();
        Bytes::from(field(1, &field(2, &field(2, &[name, rest].concat()))))
    };
    vec![
        ("unknown fields", with(&unknown)),
        ("unknown groups", with(&group)),
        ("a resource after its spans", late),
        ("a resource in two pieces", split),
        ("a span with its fields out of order", backwards),
    ]
}
