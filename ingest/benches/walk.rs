//! CPU nanoseconds a span, point and record: `prost` decode against the walk. `cargo bench -p geophone-ingest`.

use bytes::Bytes;
use geophone_ingest::{json_to_wire, walk};
use geophone_proto::{
    Signal, Tenant, UnixNanos,
    otlp::{
        collector::{logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest, trace::v1::ExportTraceServiceRequest},
        common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value::Value},
        logs::v1::{LogRecord, ResourceLogs, ScopeLogs},
        metrics::v1::{
            Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, metric::Data, number_data_point,
        },
        resource::v1::Resource,
        trace::v1::{ResourceSpans, ScopeSpans, Span, Status},
    },
};
use prost::Message;
use std::{
    hint::black_box,
    time::{Duration, Instant},
};

const RUNS: usize = 9;
const RUN_TIME: Duration = Duration::from_millis(60);

/// Time on the CPU where the kernel tells, so that a busy machine matters less; else wall time.
fn now_ns(start: Instant) -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let on_cpu = stat.and_then(|stat| stat.split(' ').next().and_then(|ns| ns.parse().ok()));
    on_cpu.unwrap_or_else(|| start.elapsed().as_secs_f64() * 1e9)
}

/// Median of several runs, each long enough to be measured.
fn ns_per_item(items: usize, mut work: impl FnMut()) -> f64 {
    let mut runs: Vec<f64> = (0..RUNS)
        .map(|_| {
            let (start, mut times) = (Instant::now(), 0u32);
            let before = now_ns(start);
            while start.elapsed() < RUN_TIME {
                work();
                times += 1;
            }
            (now_ns(start) - before) / f64::from(times) / f64::from(u32::try_from(items).expect("few items"))
        })
        .collect();
    runs.sort_by(f64::total_cmp);
    runs[RUNS / 2]
}

fn pairs(count: u64, at: u64) -> Vec<KeyValue> {
    let names = ["http.request.method", "http.route", "url.path", "server.address", "http.response.status_code", "user.id", "thread.id"];
    let pair = |place: u64| {
        let name = names[usize::try_from(place).expect("few") % names.len()];
        let value = if place % 3 == 2 { Value::IntValue(200) } else { Value::StringValue(format!("{name}-value-{}", at % 100)) };
        KeyValue { key: format!("{name}.{place}"), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
    };
    (0..count).map(pair).collect()
}

fn resource() -> Option<Resource> {
    Some(Resource { attributes: pairs(10, 0), ..Resource::default() })
}

fn scope() -> Option<InstrumentationScope> {
    Some(InstrumentationScope { name: "bench".into(), version: "1.0".into(), ..InstrumentationScope::default() })
}

fn traces(count: u64) -> Vec<u8> {
    let span = |at: u64| Span {
        trace_id: [at + 1, at].map(u64::to_le_bytes).concat(),
        span_id: (at + 1).to_le_bytes().to_vec(),
        parent_span_id: (at + 2).to_le_bytes().to_vec(),
        name: format!("GET /operation/{}", at % 40),
        kind: 2,
        start_time_unix_nano: 1_700_000_000_000_000_000 + at,
        end_time_unix_nano: 1_700_000_000_100_000_000 + at,
        attributes: pairs(10, at),
        status: Some(Status { code: 1, ..Status::default() }),
        ..Span::default()
    };
    let scope_spans = vec![ScopeSpans { scope: scope(), spans: (0..count).map(span).collect(), ..ScopeSpans::default() }];
    ExportTraceServiceRequest { resource_spans: vec![ResourceSpans { resource: resource(), scope_spans, ..Default::default() }] }
        .encode_to_vec()
}

fn metrics(count: u64) -> Vec<u8> {
    let time = 1_700_000_000_000_000_000;
    let metric = |at: u64| {
        let data = if at.is_multiple_of(3) {
            let point = HistogramDataPoint {
                attributes: pairs(4, at),
                time_unix_nano: time,
                count: 40,
                sum: Some(1.0),
                bucket_counts: vec![3; 15],
                explicit_bounds: (0u8..14).map(f64::from).collect(),
                ..Default::default()
            };
            Data::Histogram(Histogram { data_points: vec![point], aggregation_temporality: 2 })
        } else {
            let value = Some(number_data_point::Value::AsDouble(1.5));
            Data::Gauge(Gauge {
                data_points: vec![NumberDataPoint { attributes: pairs(4, at), time_unix_nano: time, value, ..Default::default() }],
            })
        };
        Metric { name: format!("http.server.metric.{}", at % 50), unit: "s".into(), data: Some(data), ..Metric::default() }
    };
    let scope_metrics = vec![ScopeMetrics { scope: scope(), metrics: (0..count).map(metric).collect(), ..Default::default() }];
    ExportMetricsServiceRequest { resource_metrics: vec![ResourceMetrics { resource: resource(), scope_metrics, ..Default::default() }] }
        .encode_to_vec()
}

fn logs(count: u64) -> Vec<u8> {
    let record = |at: u64| LogRecord {
        time_unix_nano: 1_700_000_000_000_000_000,
        severity_number: 9,
        severity_text: "INFO".into(),
        body: Some(AnyValue { value: Some(Value::StringValue(format!("user {at} put 3 items into the cart"))) }),
        attributes: pairs(5, at),
        trace_id: vec![1; 16],
        span_id: vec![2; 8],
        ..LogRecord::default()
    };
    let scope_logs = vec![ScopeLogs { scope: scope(), log_records: (0..count).map(record).collect(), ..Default::default() }];
    ExportLogsServiceRequest { resource_logs: vec![ResourceLogs { resource: resource(), scope_logs, ..Default::default() }] }
        .encode_to_vec()
}

#[allow(clippy::print_stdout, reason = "a benchmark prints")]
fn main() {
    println!("{:8} {:>6} {:>8} {:>10} {:>10} {:>6}", "signal", "items", "bytes", "prost ns", "walk ns", "ratio");
    for count in [10, 100, 1000] {
        let items = usize::try_from(count).expect("small");
        for (signal, wire) in [(Signal::Traces, traces(count)), (Signal::Metrics, metrics(count)), (Signal::Logs, logs(count))] {
            let wire = Bytes::from(wire);
            let prost = ns_per_item(items, || {
                let bytes = black_box(&*wire);
                match signal {
                    Signal::Traces => drop(black_box(ExportTraceServiceRequest::decode(bytes).expect("valid"))),
                    Signal::Metrics => drop(black_box(ExportMetricsServiceRequest::decode(bytes).expect("valid"))),
                    Signal::Logs => drop(black_box(ExportLogsServiceRequest::decode(bytes).expect("valid"))),
                    // None is measured here.
                    Signal::Profiles => {}
                }
            });
            let walked = ns_per_item(items, || {
                let walked = walk(signal, black_box(wire.clone()), Tenant::default(), UnixNanos(0)).expect("valid");
                assert_eq!(black_box(walked).batch.len(), items);
            });
            let name = signal.as_str();
            println!("{name:8} {count:6} {:8} {prost:10.0} {walked:10.0} {:6.1}", wire.len() / items, prost / walked);
        }
    }
    let json = br#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174","name":"GET /","kind":2,"startTimeUnixNano":"1544712660000000000","endTimeUnixNano":"1544712661000000000","attributes":[{"key":"http.route","value":{"stringValue":"/cart"}},{"key":"n","value":{"intValue":"3"}}]}]}]}]}"#;
    let transcoded = ns_per_item(1, || drop(black_box(json_to_wire(Signal::Traces, black_box(json)).expect("valid"))));
    println!("json to wire, one span of {} bytes: {transcoded:.0} ns", json.len());
}
