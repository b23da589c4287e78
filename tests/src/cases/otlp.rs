//! Rows of a case as OTLP requests, and requests as files that `geophone replay` reads.
//!
//! Each span goes out at its end time, each log record with its trace id, each metric as a gauge;
//! `service.name` is the resource. Status is unset and kind unspecified, as in the sources. One request
//! a signal and second of event time, as a collector would batch them.

use geophone_client::ExportRequest;
use geophone_proto::{
    Signal, UnixNanos,
    otlp::{
        collector::{logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest, trace::v1::ExportTraceServiceRequest},
        common::v1::{AnyValue, KeyValue, any_value::Value},
        logs::v1::{LogRecord, ResourceLogs, ScopeLogs},
        metrics::v1::{Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, metric, number_data_point},
        resource::v1::Resource,
        trace::v1::{ResourceSpans, ScopeSpans, Span},
    },
    time::SECOND_NS,
};
use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufWriter, Write},
    path::Path,
};

/// A span of a source; ids are numbers, 0 = none.
#[derive(Clone, Debug, PartialEq)]
pub struct SpanRow {
    /// Trace.
    pub trace: u64,
    /// Span, unique in its trace.
    pub span: u64,
    /// Parent in the same trace.
    pub parent: u64,
    /// `service.name`.
    pub service: String,
    /// Span name.
    pub operation: String,
    /// Start.
    pub start_ns: u64,
    /// Length.
    pub duration_ns: u64,
}

impl SpanRow {
    /// End.
    pub const fn end_ns(&self) -> u64 {
        self.start_ns.saturating_add(self.duration_ns)
    }
}

/// A log record of a source.
#[derive(Clone, Debug, PartialEq)]
pub struct LogRow {
    /// Its time.
    pub at_ns: u64,
    /// `service.name`.
    pub service: String,
    /// Trace or 0.
    pub trace: u64,
    /// Text.
    pub body: String,
}

/// A reading of a source.
#[derive(Clone, Debug, PartialEq)]
pub struct GaugeRow {
    /// Its time.
    pub at_ns: u64,
    /// `service.name`.
    pub service: String,
    /// Metric.
    pub name: String,
    /// Attributes of the point.
    pub attributes: Vec<(String, String)>,
    /// Value.
    pub value: f64,
}

/// All rows of a case.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    /// Spans.
    pub spans: Vec<SpanRow>,
    /// Log records.
    pub logs: Vec<LogRow>,
    /// Readings.
    pub gauges: Vec<GaugeRow>,
}

/// A request and when it went out.
#[derive(Clone, Debug)]
pub struct Sent {
    /// Event time of its newest row.
    pub at: UnixNanos,
    /// The request.
    pub request: ExportRequest,
}

fn text(value: &str) -> Option<AnyValue> {
    Some(AnyValue { value: Some(Value::StringValue(value.to_owned())) })
}

fn pair(key: &str, value: &str) -> KeyValue {
    KeyValue { key: key.to_owned(), value: text(value), ..KeyValue::default() }
}

fn resource(service: &str) -> Option<Resource> {
    Some(Resource { attributes: vec![pair("service.name", service)], ..Resource::default() })
}

fn trace_id(trace: u64) -> Vec<u8> {
    if trace == 0 { Vec::new() } else { u128::from(trace).to_be_bytes().to_vec() }
}

fn span_id(span: u64) -> Vec<u8> {
    if span == 0 { Vec::new() } else { span.to_be_bytes().to_vec() }
}

/// Groups rows by second and service, each group in order of time.
fn by_second<T>(rows: Vec<T>, key: impl Fn(&T) -> (u64, String)) -> BTreeMap<u64, BTreeMap<String, Vec<(u64, T)>>> {
    let mut seconds: BTreeMap<u64, BTreeMap<String, Vec<(u64, T)>>> = BTreeMap::new();
    for row in rows {
        let (at, service) = key(&row);
        seconds.entry(at / SECOND_NS).or_default().entry(service).or_default().push((at, row));
    }
    for group in seconds.values_mut().flat_map(BTreeMap::values_mut) {
        group.sort_by_key(|(at, _)| *at);
    }
    seconds
}

fn newest<T>(services: &BTreeMap<String, Vec<(u64, T)>>) -> UnixNanos {
    UnixNanos(services.values().flatten().map(|(at, _)| *at).max().unwrap_or(0))
}

fn span(row: SpanRow) -> Span {
    Span {
        trace_id: trace_id(row.trace),
        span_id: span_id(row.span),
        parent_span_id: span_id(row.parent),
        name: row.operation,
        start_time_unix_nano: row.start_ns,
        end_time_unix_nano: row.start_ns + row.duration_ns,
        ..Span::default()
    }
}

fn record(row: LogRow) -> LogRecord {
    LogRecord {
        time_unix_nano: row.at_ns,
        observed_time_unix_nano: row.at_ns,
        trace_id: trace_id(row.trace),
        body: text(&row.body),
        ..LogRecord::default()
    }
}

fn gauge(row: GaugeRow) -> Metric {
    let point = NumberDataPoint {
        time_unix_nano: row.at_ns,
        attributes: row.attributes.iter().map(|(key, value)| pair(key, value)).collect(),
        value: Some(number_data_point::Value::AsDouble(row.value)),
        ..NumberDataPoint::default()
    };
    Metric { name: row.name, data: Some(metric::Data::Gauge(Gauge { data_points: vec![point] })), ..Metric::default() }
}

/// All rows as requests in order of time.
pub fn requests(rows: Rows) -> Vec<Sent> {
    let mut sent = Vec::new();
    for services in by_second(rows.spans, |row| (row.end_ns(), row.service.clone())).into_values() {
        let at = newest(&services);
        let resource_spans = services
            .into_iter()
            .map(|(service, rows)| ResourceSpans {
                resource: resource(&service),
                scope_spans: vec![ScopeSpans { spans: rows.into_iter().map(|(_, row)| span(row)).collect(), ..ScopeSpans::default() }],
                ..ResourceSpans::default()
            })
            .collect();
        sent.push(Sent { at, request: ExportRequest::Traces(ExportTraceServiceRequest { resource_spans }) });
    }
    for services in by_second(rows.logs, |row| (row.at_ns, row.service.clone())).into_values() {
        let at = newest(&services);
        let resource_logs = services
            .into_iter()
            .map(|(service, rows)| ResourceLogs {
                resource: resource(&service),
                scope_logs: vec![ScopeLogs { log_records: rows.into_iter().map(|(_, row)| record(row)).collect(), ..ScopeLogs::default() }],
                ..ResourceLogs::default()
            })
            .collect();
        sent.push(Sent { at, request: ExportRequest::Logs(ExportLogsServiceRequest { resource_logs }) });
    }
    for services in by_second(rows.gauges, |row| (row.at_ns, row.service.clone())).into_values() {
        let at = newest(&services);
        let resource_metrics = services
            .into_iter()
            .map(|(service, rows)| ResourceMetrics {
                resource: resource(&service),
                scope_metrics: vec![ScopeMetrics {
                    metrics: rows.into_iter().map(|(_, row)| gauge(row)).collect(),
                    ..ScopeMetrics::default()
                }],
                ..ResourceMetrics::default()
            })
            .collect();
        sent.push(Sent { at, request: ExportRequest::Metrics(ExportMetricsServiceRequest { resource_metrics }) });
    }
    sent.sort_by_key(|one| one.at);
    sent
}

/// Writes requests as `traces.binpb`, `logs.binpb` and `metrics.binpb` into a folder: four bytes of
/// length, big-endian, before each message.
pub fn write(folder: &Path, requests: &[Sent]) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("cannot write to {}: {error}", folder.display());
    std::fs::create_dir_all(folder).map_err(failed)?;
    let mut files: BTreeMap<&str, BufWriter<File>> = BTreeMap::new();
    for one in requests {
        let bytes = one.request.encode();
        let name = match one.request.signal() {
            Signal::Traces => "traces.binpb",
            Signal::Metrics => "metrics.binpb",
            Signal::Logs => "logs.binpb",
            Signal::Profiles => "profiles.binpb",
        };
        if !files.contains_key(name) {
            files.insert(name, BufWriter::new(File::create(folder.join(name)).map_err(failed)?));
        }
        let (Some(file), Ok(length)) = (files.get_mut(name), u32::try_from(bytes.len())) else {
            return Err(format!("a request of {} bytes is too long for a file", bytes.len()));
        };
        file.write_all(&length.to_be_bytes()).and_then(|()| file.write_all(&bytes)).map_err(failed)?;
    }
    files.into_values().try_for_each(|mut file| file.flush()).map_err(failed)
}
