//! Requests that cost next to nothing to make: encoded once, then ids and times are written over
//! the bytes. Every id is eight or sixteen bytes and every time a fixed 64-bit number, so lengths hold.

use bytes::Bytes;
use geophone_client::ExportRequest;
use geophone_proto::{
    Signal,
    otlp::{
        collector::{
            logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest,
            profiles::v1development::ExportProfilesServiceRequest, trace::v1::ExportTraceServiceRequest,
        },
        common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value::Value},
        logs::v1::{LogRecord, ResourceLogs, ScopeLogs},
        metrics::v1::{Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, metric::Data, number_data_point},
        profiles::v1development::{
            Function, Line, Link, Location, Profile, ProfilesDictionary, ResourceProfiles, Sample, ScopeProfiles, Stack, ValueType,
        },
        resource::v1::Resource,
        trace::v1::{ResourceSpans, ScopeSpans, Span, Status, span::SpanKind},
    },
};
use rand_pcg::{
    Pcg32,
    rand_core::{Rng, SeedableRng},
};

/// Marks that are looked for in the encoded bytes. Their bit patterns occur nowhere else in a template.
const TRACE_MARK: [u8; 12] = *b"\xf1\xe2\xd3TRACE\xc4\xb5\xa6\x97";
const SPAN_MARK: [u8; 8] = *b"\xf1\xe2SPAN\xd3\xc4";
const START_MARK: u64 = 0xf1e2_d3c4_0000_0001;
const END_MARK: u64 = 0xf1e2_d3c4_0000_0002;

/// What is written where.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Slot {
    /// Sixteen bytes; items in a row share a trace.
    Trace(usize),
    /// Eight bytes.
    Span(usize),
    /// A moment this many nanoseconds before the request.
    Time(usize, u64),
}

/// One request's bytes, ready to be stamped.
#[derive(Clone, Debug)]
pub struct Payload {
    bytes: Vec<u8>,
    slots: Vec<Slot>,
    items: u64,
}

/// Spans of one trace.
const SPANS_A_TRACE: usize = 8;

impl Payload {
    /// A request of one pretended service.
    pub fn new(signal: Signal, items: u32, service: u32, seed: u64) -> Self {
        let mut random = Pcg32::seed_from_u64(seed ^ u64::from(service) << 32);
        let request = match signal {
            Signal::Traces => traces(items, service),
            Signal::Metrics => points(items, service, &mut random),
            Signal::Logs => logs(items, service),
            Signal::Profiles => profiles(items, service),
        };
        let bytes = request.encode().to_vec();
        let slots = slots(&bytes, &mut random);
        Self { bytes, slots, items: u64::from(items) }
    }

    /// Spans, data points or log records.
    pub const fn items(&self) -> u64 {
        self.items
    }

    /// The bytes with fresh ids, ending at `now_ns`.
    pub fn stamp(&self, now_ns: u64, random: &mut Pcg32) -> Bytes {
        let mut bytes = self.bytes.clone();
        let mut trace = [0u8; 16];
        let mut left = 0;
        for slot in &self.slots {
            match *slot {
                Slot::Trace(at) => {
                    if left == 0 {
                        trace[..8].copy_from_slice(&(random.next_u64() | 1).to_be_bytes());
                        trace[8..].copy_from_slice(&random.next_u64().to_be_bytes());
                        left = SPANS_A_TRACE;
                    }
                    left -= 1;
                    bytes[at..at + 16].copy_from_slice(&trace);
                }
                Slot::Span(at) => bytes[at..at + 8].copy_from_slice(&(random.next_u64() | 1).to_be_bytes()),
                Slot::Time(at, before) => bytes[at..at + 8].copy_from_slice(&now_ns.saturating_sub(before).to_le_bytes()),
            }
        }
        bytes.into()
    }
}

/// Finds the marks, in the order of the bytes.
fn slots(bytes: &[u8], random: &mut Pcg32) -> Vec<Slot> {
    let (start, end) = (START_MARK.to_le_bytes(), END_MARK.to_le_bytes());
    let mut slots = Vec::new();
    // An item's start comes before its end: the end keeps the distance that was drawn.
    let (mut at, mut spread) = (0, 0);
    while at < bytes.len() {
        let rest = &bytes[at..];
        if rest.starts_with(&TRACE_MARK) {
            slots.push(Slot::Trace(at));
            at += 16;
        } else if rest.starts_with(&SPAN_MARK) {
            slots.push(Slot::Span(at));
            at += 8;
        } else if rest.starts_with(&start) {
            spread = u64::from(random.next_u32() % 1_000_000_000);
            let duration = 1_000_000 + u64::from(random.next_u32() % 60_000_000);
            slots.push(Slot::Time(at, spread + duration));
            at += 8;
        } else if rest.starts_with(&end) {
            slots.push(Slot::Time(at, spread));
            at += 8;
        } else {
            at += 1;
        }
    }
    slots
}

fn trace_mark() -> Vec<u8> {
    [TRACE_MARK.as_slice(), &[0; 4]].concat()
}

fn traces(items: u32, service: u32) -> ExportRequest {
    let one = |item: u32| {
        let route = format!("/items/{}", item % 10);
        Span {
            trace_id: trace_mark(),
            span_id: SPAN_MARK.to_vec(),
            name: format!("GET {route}"),
            kind: SpanKind::Server as i32,
            start_time_unix_nano: START_MARK,
            end_time_unix_nano: END_MARK,
            attributes: vec![
                text("http.request.method", "GET"),
                text("http.route", &route),
                text("url.path", &format!("{route}/{}", item * 7919 % 4000)),
                text("server.address", "gen.local"),
                int("http.response.status_code", 200),
            ],
            status: Some(Status::default()),
            ..Span::default()
        }
    };
    let scope_spans = vec![ScopeSpans { scope: scope(), spans: (0..items).map(one).collect(), ..ScopeSpans::default() }];
    let resource_spans = vec![ResourceSpans { resource: resource(service), scope_spans, ..ResourceSpans::default() }];
    ExportRequest::Traces(ExportTraceServiceRequest { resource_spans })
}

fn points(items: u32, service: u32, random: &mut Pcg32) -> ExportRequest {
    let data_points = (0..items).map(|item| NumberDataPoint {
        attributes: vec![text("queue", &format!("q{}", item % 50))],
        start_time_unix_nano: 0,
        time_unix_nano: START_MARK,
        value: Some(number_data_point::Value::AsDouble(f64::from(random.next_u32() % 1000) / 10.0)),
        ..NumberDataPoint::default()
    });
    let data = Data::Gauge(Gauge { data_points: data_points.collect() });
    let metrics = vec![Metric { name: "gen.queue.length".to_owned(), unit: "{item}".to_owned(), data: Some(data), ..Metric::default() }];
    let scope_metrics = vec![ScopeMetrics { scope: scope(), metrics, ..ScopeMetrics::default() }];
    let resource_metrics = vec![ResourceMetrics { resource: resource(service), scope_metrics, ..ResourceMetrics::default() }];
    ExportRequest::Metrics(ExportMetricsServiceRequest { resource_metrics })
}

fn logs(items: u32, service: u32) -> ExportRequest {
    let one = |item: u32| LogRecord {
        time_unix_nano: START_MARK,
        observed_time_unix_nano: END_MARK,
        severity_number: 9,
        severity_text: "INFO".to_owned(),
        body: Some(string(&format!("handled request {} for user {}", item * 7919 % 10_000, item * 31 % 997))),
        trace_id: trace_mark(),
        span_id: SPAN_MARK.to_vec(),
        ..LogRecord::default()
    };
    let scope_logs = vec![ScopeLogs { scope: scope(), log_records: (0..items).map(one).collect(), ..ScopeLogs::default() }];
    let resource_logs = vec![ResourceLogs { resource: resource(service), scope_logs, ..ResourceLogs::default() }];
    ExportRequest::Logs(ExportLogsServiceRequest { resource_logs })
}

/// Each item is a profile of eight samples.
fn profiles(items: u32, service: u32) -> ExportRequest {
    let names = ["", "cpu", "nanoseconds", "main", "serve", "checkout", "price", "encode"];
    let last = i32::try_from(names.len()).unwrap_or(0);
    let functions = (2..last).map(|name| Function { name_strindex: if name == 2 { 0 } else { name }, ..Function::default() });
    let location = |function| Location { lines: vec![Line { function_index: function, ..Line::default() }], ..Location::default() };
    let stacks = (1..5).map(|depth| Stack { location_indices: (1..=depth).rev().collect() });
    let dictionary = ProfilesDictionary {
        mapping_table: vec![Default::default()],
        location_table: std::iter::once(Location::default()).chain((1..last - 2).map(location)).collect(),
        function_table: functions.collect(),
        link_table: vec![Link::default(), Link { trace_id: trace_mark(), span_id: SPAN_MARK.to_vec() }],
        string_table: names.map(str::to_owned).to_vec(),
        attribute_table: vec![Default::default()],
        stack_table: std::iter::once(Stack::default()).chain(stacks).collect(),
    };
    let sample = |place: i32| Sample {
        stack_index: 1 + place % 4,
        link_index: place % 2,
        values: vec![i64::from(place + 1) * 1_000_000],
        ..Sample::default()
    };
    let one = Profile {
        sample_type: Some(ValueType { type_strindex: 1, unit_strindex: 2 }),
        samples: (0..8).map(sample).collect(),
        time_unix_nano: START_MARK,
        duration_nano: 1_000_000_000,
        period: 10_000_000,
        ..Profile::default()
    };
    let scope_profiles = vec![ScopeProfiles { scope: scope(), profiles: vec![one; items as usize], ..ScopeProfiles::default() }];
    let resource_profiles = vec![ResourceProfiles { resource: resource(service), scope_profiles, ..ResourceProfiles::default() }];
    ExportRequest::Profiles(ExportProfilesServiceRequest { resource_profiles, dictionary: Some(dictionary) })
}

fn resource(service: u32) -> Option<Resource> {
    let attributes = vec![
        text("service.name", &format!("gen-{service}")),
        text("service.version", "1.0.0"),
        text("service.instance.id", &format!("gen-{service}-0")),
        text("host.name", "gen.local"),
    ];
    Some(Resource { attributes, ..Resource::default() })
}

fn scope() -> Option<InstrumentationScope> {
    Some(InstrumentationScope { name: "geophone.gen".to_owned(), version: "1".to_owned(), ..InstrumentationScope::default() })
}

fn string(value: &str) -> AnyValue {
    AnyValue { value: Some(Value::StringValue(value.to_owned())) }
}

fn text(key: &str, value: &str) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(string(value)), ..KeyValue::default() }
}

fn int(key: &str, value: i64) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(Value::IntValue(value)) }), ..KeyValue::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    const NOW: u64 = 1_700_000_000_000_000_000;

    #[test]
    fn stamped_spans_decode_with_fresh_ids_and_sane_times() {
        let payload = Payload::new(Signal::Traces, 20, 3, 1);
        let mut random = Pcg32::seed_from_u64(9);
        let mut ids = BTreeSet::new();
        for _ in 0..3 {
            let stamped = payload.stamp(NOW, &mut random);
            let Ok(ExportRequest::Traces(request)) = ExportRequest::decode(Signal::Traces, stamped) else { panic!("a template decodes") };
            for span in &request.resource_spans[0].scope_spans[0].spans {
                assert!(span.start_time_unix_nano < span.end_time_unix_nano && span.end_time_unix_nano <= NOW);
                assert!(NOW - span.start_time_unix_nano < 2_000_000_000);
                assert!(span.trace_id != trace_mark() && ids.insert(span.span_id.clone()));
            }
        }
        assert_eq!((ids.len(), payload.items()), (60, 20));
    }

    #[test]
    fn points_and_logs_are_stamped_too() {
        let mut random = Pcg32::seed_from_u64(9);
        let stamped = Payload::new(Signal::Metrics, 5, 0, 1).stamp(NOW, &mut random);
        let request = ExportRequest::decode(Signal::Metrics, stamped).expect("a template decodes");
        assert_eq!(request.items(), 5);
        let stamped = Payload::new(Signal::Logs, 1, 0, 1).stamp(NOW, &mut random);
        let Ok(ExportRequest::Logs(request)) = ExportRequest::decode(Signal::Logs, stamped) else { panic!("a template decodes") };
        assert!(request.resource_logs[0].scope_logs[0].log_records[0].time_unix_nano <= NOW);
    }
}
