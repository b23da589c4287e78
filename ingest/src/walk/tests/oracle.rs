//! The rows that `prost` and OTLP's rules give, as text; and the rows of a batch, as the same text.

use arrow_array::Array;
use geophone_proto::{
    Batch, Columns, attributes,
    columns::{Logs, Points, Spans},
    otlp::{
        collector::{logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest, trace::v1::ExportTraceServiceRequest},
        common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value::Value},
        logs::v1::LogRecord,
        metrics::v1::{Exemplar, Metric, NumberDataPoint, metric::Data, number_data_point},
        resource::v1::Resource,
        trace::v1::{Span, span::Event},
    },
};
use prost::Message;

/// What `Spans::events` cells hold.
#[derive(Clone, PartialEq, Message)]
struct Events {
    #[prost(message, repeated, tag = "1")]
    events: Vec<Event>,
}

/// Accepted rows in order, and how many were not.
pub(crate) type Rows = (Vec<String>, u64);

fn text(pairs: &[KeyValue], key: &str) -> String {
    let last = pairs.iter().rev().find(|pair| pair.key == key).and_then(|pair| pair.value.as_ref());
    if let Some(AnyValue { value: Some(Value::StringValue(text)) }) = last { text.clone() } else { String::new() }
}

fn first(pairs: &[KeyValue], keys: &[&str]) -> String {
    keys.iter().map(|key| text(pairs, key)).find(|text| !text.is_empty()).unwrap_or_default()
}

fn origin(resource: Option<&Resource>, scope: Option<&InstrumentationScope>) -> String {
    let pairs = resource.map_or(&[][..], |resource| &resource.attributes);
    let service = Some(text(pairs, "service.name")).filter(|text| !text.is_empty()).unwrap_or_else(|| "unknown_service".into());
    let (namespace, version) = (text(pairs, "service.namespace"), text(pairs, "service.version"));
    let instance = first(pairs, &["service.instance.id", "k8s.pod.name", "host.name"]);
    let scope = scope.map(|scope| (scope.name.clone(), scope.version.clone())).unwrap_or_default();
    format!("{:?}", (service, namespace, version, instance, pairs, scope))
}

fn origin_of(batch: &Batch, resource: u32, scope: u32) -> String {
    let (at, scope) = (resource as usize, scope as usize);
    let resources = &batch.resources;
    let scope = (batch.scopes.name().value(scope).to_owned(), batch.scopes.version().value(scope).to_owned());
    let pairs = attributes::decode(resources.attributes().value(at));
    let [service, namespace, version, instance] =
        [resources.service(), resources.namespace(), resources.version(), resources.instance()].map(|column| column.value(at).to_owned());
    format!("{:?}", (service, namespace, version, instance, pairs, scope))
}

fn known(number: i32, max: u8) -> u8 {
    u8::try_from(number).ok().filter(|number| *number <= max).unwrap_or(0)
}

fn padded(id: &[u8], len: usize) -> Vec<u8> {
    if id.len() == len { id.to_vec() } else { vec![0; len] }
}

/// What `prost` makes of an export of spans.
pub(crate) fn traces(request: &ExportTraceServiceRequest) -> Rows {
    let mut rows = (Vec::new(), 0);
    for of_resource in &request.resource_spans {
        for of_scope in &of_resource.scope_spans {
            let origin = origin(of_resource.resource.as_ref(), of_scope.scope.as_ref());
            for span in &of_scope.spans {
                let parent_fits = matches!(span.parent_span_id.len(), 0 | 8);
                if span.trace_id.len() == 16 && span.trace_id != [0; 16] && span.span_id.len() == 8 && span.span_id != [0; 8] && parent_fits
                {
                    rows.0.push(format!("{origin} {}", span_row(span)));
                } else {
                    rows.1 += 1;
                }
            }
        }
    }
    rows
}

fn span_row(span: &Span) -> String {
    let status = span.status.clone().unwrap_or_default();
    let peer = first(&span.attributes, &["peer.service", "server.address", "db.system.name", "db.system"]);
    let ids = (&span.trace_id, &span.span_id, padded(&span.parent_span_id, 8));
    let texts = (&span.name, text(&span.attributes, "http.route"), peer, known(span.kind, 5));
    let rest = (span.start_time_unix_nano, span.end_time_unix_nano, known(status.code, 2), &status.message);
    format!("{ids:?} {texts:?} {rest:?} {:?} {:?}", span.attributes, span.events)
}

fn span_rows(batch: &Batch, rows: &Spans) -> Vec<String> {
    let row = |at: usize| {
        let events = Events::decode(rows.events().value(at)).expect("a cell is a message").events;
        let pairs = attributes::decode(rows.attributes().value(at));
        let ids = (rows.trace_id().value(at), rows.span_id().value(at), rows.parent_span_id().value(at));
        let texts = (rows.name().value(at), rows.route().value(at), rows.peer().value(at), rows.kind().value(at));
        let status = (rows.status().value(at), rows.status_message().value(at));
        let rest = (rows.start_ns().value(at), rows.end_ns().value(at), status.0, status.1);
        let origin = origin_of(batch, rows.resource().value(at), rows.scope().value(at));
        format!("{origin} {ids:?} {texts:?} {rest:?} {pairs:?} {events:?}")
    };
    (0..rows.len()).map(row).collect()
}

/// What `prost` makes of an export of log records.
pub(crate) fn logs(request: &ExportLogsServiceRequest) -> Rows {
    let mut rows = (Vec::new(), 0);
    for of_resource in &request.resource_logs {
        for of_scope in &of_resource.scope_logs {
            let origin = origin(of_resource.resource.as_ref(), of_scope.scope.as_ref());
            rows.0.extend(of_scope.log_records.iter().map(|record| format!("{origin} {}", log_row(record))));
        }
    }
    rows
}

fn log_row(record: &LogRecord) -> String {
    let time = if record.time_unix_nano == 0 { record.observed_time_unix_nano } else { record.time_unix_nano };
    let body = match record.body.as_ref().and_then(|body| body.value.as_ref().map(|value| (body, value))) {
        None => String::new(),
        Some((_, Value::StringValue(text))) => text.clone(),
        Some((body, _)) => attributes::value_to_json(body).to_string(),
    };
    let ids = (padded(&record.trace_id, 16), padded(&record.span_id, 8));
    format!("{time} {} {:?} {body:?} {ids:?} {:?}", known(record.severity_number, 24), record.severity_text, record.attributes)
}

fn log_rows(batch: &Batch, rows: &Logs) -> Vec<String> {
    let row = |at: usize| {
        let origin = origin_of(batch, rows.resource().value(at), rows.scope().value(at));
        let (time, severity) = (rows.time_ns().value(at), rows.severity().value(at));
        let (word, body) = (rows.severity_text().value(at), rows.body().value(at));
        let ids = (rows.trace_id().value(at), rows.span_id().value(at));
        format!("{origin} {time} {severity} {word:?} {body:?} {ids:?} {:?}", attributes::decode(rows.attributes().value(at)))
    };
    (0..rows.len()).map(row).collect()
}

/// What `prost` makes of an export of metrics.
pub(crate) fn metrics(request: &ExportMetricsServiceRequest) -> Rows {
    let mut rows = (Vec::new(), 0);
    for of_resource in &request.resource_metrics {
        for of_scope in &of_resource.scope_metrics {
            let origin = origin(of_resource.resource.as_ref(), of_scope.scope.as_ref());
            for metric in &of_scope.metrics {
                for row in point_rows(metric) {
                    match row {
                        Some(row) => rows.0.push(format!("{origin} {:?} {:?} {row}", metric.name, metric.unit)),
                        None => rows.1 += 1,
                    }
                }
            }
        }
    }
    rows
}

fn exemplar(exemplars: &[Exemplar]) -> String {
    let first = exemplars.iter().find(|exemplar| exemplar.trace_id.len() == 16 && exemplar.trace_id != [0; 16]);
    let ids = first.map_or((vec![0; 16], vec![0; 8]), |exemplar| (exemplar.trace_id.clone(), padded(&exemplar.span_id, 8)));
    format!("{ids:?}")
}

fn number_row(point: &NumberDataPoint) -> String {
    #[allow(clippy::cast_precision_loss, reason = "the column is f64")]
    let value = match point.value {
        None => f64::NAN,
        Some(number_data_point::Value::AsDouble(number)) => number,
        Some(number_data_point::Value::AsInt(number)) => number as f64,
    };
    let times = (point.start_time_unix_nano, point.time_unix_nano, value, 0, point.flags);
    format!("{times:?} [] [] {} {:?}", exemplar(&point.exemplars), point.attributes)
}

#[allow(clippy::cast_precision_loss, reason = "the column is f64")]
fn point_rows(metric: &Metric) -> Vec<Option<String>> {
    match &metric.data {
        None => Vec::new(),
        Some(Data::Gauge(gauge)) => gauge.data_points.iter().map(|point| Some(format!("0 0 false {}", number_row(point)))).collect(),
        Some(Data::Sum(sum)) => {
            let head = format!("1 {} {}", known(sum.aggregation_temporality, 2), sum.is_monotonic);
            sum.data_points.iter().map(|point| Some(format!("{head} {}", number_row(point)))).collect()
        }
        Some(Data::Histogram(histogram)) => {
            let head = format!("2 {} false", known(histogram.aggregation_temporality, 2));
            let row = |point: &geophone_proto::otlp::metrics::v1::HistogramDataPoint| {
                let (bounds, counts) = (&point.explicit_bounds, &point.bucket_counts);
                let fits = counts.len() == bounds.len() + 1 || counts.is_empty() && bounds.is_empty();
                let ascends = bounds.windows(2).all(|pair| pair[0] < pair[1]) && !bounds.iter().any(|bound| bound.is_nan());
                let counts: Vec<f64> = counts.iter().map(|count| *count as f64).collect();
                let sum = point.sum.unwrap_or(f64::NAN);
                let times = (point.start_time_unix_nano, point.time_unix_nano, sum, point.count, point.flags);
                (fits && ascends)
                    .then(|| format!("{head} {times:?} {bounds:?} {counts:?} {} {:?}", exemplar(&point.exemplars), point.attributes))
            };
            histogram.data_points.iter().map(row).collect()
        }
        Some(Data::ExponentialHistogram(histogram)) => {
            let head = format!("3 {} false", known(histogram.aggregation_temporality, 2));
            let row = |point: &geophone_proto::otlp::metrics::v1::ExponentialHistogramDataPoint| {
                let sides = [&point.positive, &point.negative].into_iter().flatten();
                let total: u128 = sides.flat_map(|side| &side.bucket_counts).map(|count| u128::from(*count)).sum();
                let times = (point.start_time_unix_nano, point.time_unix_nano, point.sum.unwrap_or(f64::NAN), point.count, point.flags);
                let total = (total + u128::from(point.zero_count)) as f64;
                Some(format!("{head} {times:?} total {total:.6e} {} {:?}", exemplar(&point.exemplars), point.attributes))
            };
            histogram.data_points.iter().map(row).collect()
        }
        Some(Data::Summary(summary)) => {
            let row = |point: &geophone_proto::otlp::metrics::v1::SummaryDataPoint| {
                let quantiles: Vec<f64> = point.quantile_values.iter().map(|pair| pair.quantile).collect();
                let values: Vec<f64> = point.quantile_values.iter().map(|pair| pair.value).collect();
                let times = (point.start_time_unix_nano, point.time_unix_nano, point.sum, point.count, point.flags);
                let fits = quantiles.iter().all(|quantile| (0.0..=1.0).contains(quantile));
                fits.then(|| format!("4 0 false {times:?} {quantiles:?} {values:?} {} {:?}", exemplar(&[]), point.attributes))
            };
            summary.data_points.iter().map(row).collect()
        }
    }
}

fn list(list: &dyn Array) -> Vec<f64> {
    let numbers = list.as_any().downcast_ref::<arrow_array::Float64Array>().expect("lists are of f64");
    numbers.values().to_vec()
}

fn metric_rows(batch: &Batch, rows: &Points) -> Vec<String> {
    let row = |at: usize| {
        let origin = origin_of(batch, rows.resource().value(at), rows.scope().value(at));
        let head = format!("{} {} {}", rows.kind().value(at), rows.temporality().value(at), rows.monotonic().value(at));
        let times =
            (rows.start_ns().value(at), rows.time_ns().value(at), rows.value().value(at), rows.count().value(at), rows.flags().value(at));
        let (bounds, buckets) = (list(&rows.bounds().value(at)), list(&rows.buckets().value(at)));
        let lists = if rows.kind().value(at) == 3 {
            assert!(bounds.is_sorted_by(|a, b| a < b) && bounds.iter().all(|bound| bound.is_finite()), "{bounds:?}");
            assert!(buckets.len() == bounds.len() + 1 || buckets.len() + bounds.len() == 0 || bounds.is_empty());
            format!("total {:.6e}", buckets.iter().fold(0.0, |sum, count| sum + count))
        } else {
            format!("{bounds:?} {buckets:?}")
        };
        let ids = (rows.exemplar_trace_id().value(at), rows.exemplar_span_id().value(at));
        let pairs = attributes::decode(rows.attributes().value(at));
        format!("{origin} {:?} {:?} {head} {times:?} {lists} {ids:?} {pairs:?}", rows.metric().value(at), rows.unit().value(at))
    };
    (0..rows.len()).map(row).collect()
}

/// The rows of a batch as the same text.
pub(crate) fn rows_of(batch: &Batch) -> Vec<String> {
    match &batch.columns {
        Columns::Traces(rows) => span_rows(batch, rows),
        Columns::Metrics(rows) => metric_rows(batch, rows),
        Columns::Logs(rows) => log_rows(batch, rows),
        Columns::Profiles(_) => unreachable!("profiles have tests of their own"),
    }
}
