//! Files of every kind, recognised by content and merged by time.

use super::{
    files::find,
    merge::Merged,
    recognise::{json_signal, wire_signal},
};
use flate2::{Compression, write::GzEncoder};
use geophone_proto::{
    Signal,
    otlp::{
        collector::{logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest, trace::v1::ExportTraceServiceRequest},
        logs::v1::{LogRecord, ResourceLogs, ScopeLogs},
        metrics::v1::{Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, metric::Data, number_data_point::Value},
        trace::v1::{ResourceSpans, ScopeSpans, Span},
    },
};
use prost::Message;
use std::{fs, io::Write, path::PathBuf};

const BASE: u64 = 1_760_000_000_000_000_000;

fn span(at: u64) -> ExportTraceServiceRequest {
    let span = Span {
        trace_id: vec![1; 16],
        span_id: vec![2; 8],
        name: "op".into(),
        start_time_unix_nano: BASE + at,
        end_time_unix_nano: BASE + at,
        ..Span::default()
    };
    let scope = ScopeSpans { spans: vec![span], ..ScopeSpans::default() };
    ExportTraceServiceRequest { resource_spans: vec![ResourceSpans { scope_spans: vec![scope], ..ResourceSpans::default() }] }
}

fn point(at: u64) -> ExportMetricsServiceRequest {
    let point = NumberDataPoint { time_unix_nano: BASE + at, value: Some(Value::AsDouble(1.0)), ..NumberDataPoint::default() };
    let metric = Metric { name: "m".into(), data: Some(Data::Gauge(Gauge { data_points: vec![point] })), ..Metric::default() };
    let scope = ScopeMetrics { metrics: vec![metric], ..ScopeMetrics::default() };
    ExportMetricsServiceRequest { resource_metrics: vec![ResourceMetrics { scope_metrics: vec![scope], ..ResourceMetrics::default() }] }
}

fn record(at: u64, severity: i32) -> ExportLogsServiceRequest {
    let record = LogRecord {
        time_unix_nano: BASE + at,
        severity_number: severity,
        trace_id: vec![1; 16],
        span_id: vec![2; 8],
        ..LogRecord::default()
    };
    let scope = ScopeLogs { log_records: vec![record], ..ScopeLogs::default() };
    ExportLogsServiceRequest { resource_logs: vec![ResourceLogs { scope_logs: vec![scope], ..ResourceLogs::default() }] }
}

fn framed(messages: &[Vec<u8>]) -> Vec<u8> {
    messages.iter().flat_map(|message| [&u32::try_from(message.len()).expect("short").to_be_bytes()[..], message].concat()).collect()
}

#[test]
fn a_signal_is_known_by_its_content() {
    assert_eq!(wire_signal(&span(1).encode_to_vec()), Some(Signal::Traces));
    assert_eq!(wire_signal(&point(1).encode_to_vec()), Some(Signal::Metrics));
    assert_eq!(wire_signal(&record(1, 9).encode_to_vec()), Some(Signal::Logs));
    assert_eq!(wire_signal(&record(1, 0).encode_to_vec()), Some(Signal::Logs));
    for rubbish in [&b""[..], b"\xff\xff\xff", b"hello", &[0x0a, 0x7f]] {
        assert_eq!(wire_signal(rubbish), None);
    }
    assert_eq!(json_signal(b" {\"resourceLogs\": []}"), Some(Signal::Logs));
    assert_eq!(json_signal(b"{\"a\": {\"b\": 1}, \"resourceMetrics\": []}"), Some(Signal::Metrics));
    for rubbish in [&b""[..], b"[]", b"{", b"{\"x\": 1}"] {
        assert_eq!(json_signal(rubbish), None);
    }
}

// Scenario: three files of three kinds, compressed or not, one line of rubbish.
// Guarantees: one stream in order of time; rubbish is counted and nothing else is lost.
#[test]
fn files_become_one_stream_in_order_of_time() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let spans = framed(&[span(10).encode_to_vec(), span(40).encode_to_vec()]);
    fs::write(dir.path().join("a.binpb"), spans).expect("written");
    let points = framed(&[point(20).encode_to_vec(), point(50).encode_to_vec()]);
    fs::write(dir.path().join("b.binpb.zst"), zstd::encode_all(&points[..], 1).expect("packed")).expect("written");
    let line =
        |at: u64| format!("{{\"resourceLogs\":[{{\"scopeLogs\":[{{\"logRecords\":[{{\"timeUnixNano\":\"{}\"}}]}}]}}]}}\n", BASE + at);
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all([line(30), "rubbish\n".into(), "\n".into(), line(60)].concat().as_bytes()).expect("packed");
    fs::create_dir(dir.path().join("deeper")).expect("made");
    fs::write(dir.path().join("deeper/c.jsonl.gz"), packed.finish().expect("packed")).expect("written");
    fs::write(dir.path().join("readme.txt"), "not telemetry").expect("written");

    let files = find(&[dir.path().to_owned()]).expect("a folder");
    assert_eq!(files.len(), 3);
    let mut merged = Merged::open(&files).expect("readable");
    let mut times = Vec::new();
    while let Some(message) = merged.advance().expect("readable") {
        times.push((message.at.0 - BASE, message.export.signal));
    }
    let expected =
        [(10, Signal::Traces), (20, Signal::Metrics), (30, Signal::Logs), (40, Signal::Traces), (50, Signal::Metrics), (60, Signal::Logs)];
    assert_eq!(times, expected);
    assert_eq!(merged.refused, 1);
}

#[test]
fn a_cut_file_is_an_error_that_names_the_place() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("cut.binpb");
    let whole = framed(&[span(1).encode_to_vec(), span(2).encode_to_vec()]);
    fs::write(&path, &whole[..whole.len() - 3]).expect("written");
    let mut merged = Merged::open(&[path]).expect("the first message is whole");
    let error = merged.advance().expect_err("the second is not").to_string();
    assert!(error.contains("cut.binpb, message 2") && error.contains("middle"), "{error}");
}

#[test]
fn what_cannot_be_replayed_is_said_at_once() {
    assert!(find(&[PathBuf::from("/does/not/exist.json")]).is_err());
    let empty = tempfile::tempdir().expect("a temporary folder");
    assert!(find(&[empty.path().to_owned()]).is_err());
}
