//! A small world that sends telemetry: three services in a row, one fault, everything from a seed.

use super::dice::Dice;
use geophone_proto::{
    Signal, Tenant, Transport, UnixNanos,
    otlp::{
        collector::{logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest, trace::v1::ExportTraceServiceRequest},
        common::v1::{AnyValue, any_value::Value},
        logs::v1::{LogRecord, ResourceLogs, ScopeLogs},
        metrics::v1::{Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, metric::Data, number_data_point},
        trace::v1::{ResourceSpans, ScopeSpans, Span, Status},
    },
    record::Export,
    time::SECOND_NS,
};
use geophone_tests::load::service;
use prost::Message;

/// Where event time begins.
pub const START_NS: u64 = 1_760_000_000 * SECOND_NS;
/// Length of a world, seconds.
pub const SECONDS: u64 = 420;
/// The ledger fails and is slow from here to there.
const FAULT: std::ops::Range<u64> = 300..370;
/// Services flush this often, seconds.
const FLUSH: u64 = 5;
const SERVICES: [&str; 3] = ["front", "cart", "ledger"];

/// One request and when its sender first sends it.
#[derive(Clone)]
pub struct Sent {
    pub at: UnixNanos,
    pub export: Export,
}

/// Everything that the world sends, in order of sending.
pub fn requests(seed: u64) -> Vec<Sent> {
    let mut dice = Dice::new(seed, 1);
    let mut sent = Vec::new();
    let mut total = 0;
    let mut number = seed << 20;
    for from in (0..SECONDS).step_by(usize::try_from(FLUSH).expect("small")) {
        let flush = START_NS + (from + FLUSH) * SECOND_NS;
        let mut spans: [Vec<Span>; 3] = Default::default();
        let mut failures = 0;
        for second in from..from + FLUSH {
            for _ in 0..2 + dice.below(3) {
                number += 1;
                total += 1;
                let end = START_NS + second * SECOND_NS + 400_000_000 + dice.below(500_000_000);
                failures += trace(number, end, FAULT.contains(&second), &mut dice, &mut spans);
            }
        }
        for (place, spans) in spans.into_iter().enumerate() {
            sent.push(traces(SERVICES[place], spans, flush + place as u64 * 10_000_000));
        }
        if from % 10 == 0 {
            sent.push(metrics(flush, total, dice.below(40)));
        }
        sent.push(logs(flush, failures));
    }
    sent.sort_by_key(|sent| sent.at);
    sent
}

/// The bytes of a request as an export that nobody has walked yet.
fn export(signal: Signal, wire: Vec<u8>, at: u64) -> Sent {
    let export = Export { tenant: Tenant::default(), signal, transport: Transport::Grpc, wire: wire.into(), decoded: None };
    Sent { at: UnixNanos(at), export }
}

/// Front calls cart calls ledger. Returns how many failed.
fn trace(number: u64, end: u64, is_faulty: bool, dice: &mut Dice, spans: &mut [Vec<Span>; 3]) -> u64 {
    let ledger_ms = if is_faulty { 160 } else { 15 } + dice.below(10);
    let failed = is_faulty && dice.chance(0.7);
    let mut end = end;
    let mut millis = ledger_ms + 30 + dice.below(20);
    let mut parent = Vec::new();
    let mut call = |place: usize, name: &str, kind: i32, index: u64| {
        let id = (number << 3 | index).to_be_bytes().to_vec();
        let status = failed.then(|| Status { code: 2, ..Status::default() });
        spans[place].push(Span {
            trace_id: [number, number].map(u64::to_be_bytes).concat(),
            span_id: id.clone(),
            parent_span_id: std::mem::replace(&mut parent, id),
            name: name.into(),
            kind,
            start_time_unix_nano: end - millis * 1_000_000,
            end_time_unix_nano: end,
            status,
            ..Span::default()
        });
        end -= 1_000_000;
        millis -= 4;
    };
    call(0, "GET /", 2, 1);
    call(0, "add", 3, 2);
    call(1, "add", 2, 3);
    call(1, "book", 3, 4);
    call(2, "book", 2, 5);
    u64::from(failed)
}

fn traces(name: &str, spans: Vec<Span>, at: u64) -> Sent {
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    let resource_spans = vec![ResourceSpans { resource: Some(service(name)), scope_spans, ..ResourceSpans::default() }];
    export(Signal::Traces, ExportTraceServiceRequest { resource_spans }.encode_to_vec(), at)
}

fn metrics(at: u64, total: u64, level: u64) -> Sent {
    let point = |value: u64, start: u64| NumberDataPoint {
        start_time_unix_nano: start,
        time_unix_nano: at - 1_000_000,
        value: Some(number_data_point::Value::AsInt(i64::try_from(value).expect("small"))),
        ..NumberDataPoint::default()
    };
    let metric = |name: &str, data: Data| Metric { name: name.into(), data: Some(data), ..Metric::default() };
    let metrics = vec![
        metric("queue.length", Data::Gauge(Gauge { data_points: vec![point(level, 0)] })),
        metric("orders", Data::Sum(Sum { data_points: vec![point(total, START_NS)], aggregation_temporality: 2, is_monotonic: true })),
    ];
    let scope_metrics = vec![ScopeMetrics { metrics, ..ScopeMetrics::default() }];
    let resource_metrics = vec![ResourceMetrics { resource: Some(service("cart")), scope_metrics, ..ResourceMetrics::default() }];
    export(Signal::Metrics, ExportMetricsServiceRequest { resource_metrics }.encode_to_vec(), at + 40_000_000)
}

fn logs(at: u64, failures: u64) -> Sent {
    let record = |severity: i32, text: String, before: u64| LogRecord {
        time_unix_nano: at - before * 1_000_000,
        severity_number: severity,
        body: Some(AnyValue { value: Some(Value::StringValue(text)) }),
        ..LogRecord::default()
    };
    let mut log_records: Vec<LogRecord> = (1..4).map(|n| record(9, format!("booked order {n}"), 100 * n)).collect();
    log_records.extend((0..failures).map(|n| record(17, format!("booking {n} failed"), 50 + n)));
    let scope_logs = vec![ScopeLogs { log_records, ..ScopeLogs::default() }];
    let resource_logs = vec![ResourceLogs { resource: Some(service("ledger")), scope_logs, ..ResourceLogs::default() }];
    export(Signal::Logs, ExportLogsServiceRequest { resource_logs }.encode_to_vec(), at + 60_000_000)
}
