//! OTLP/JSON of a request, as the specification asks: camelCase keys, ids in hex, enums as numbers,
//! 64-bit integers as text. Unset fields are left out.

use crate::{profile_json, request::ExportRequest};
use geophone_proto::otlp::{
    common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value::Value as Any},
    logs::v1::LogRecord,
    metrics::v1::{
        Exemplar, Metric, NumberDataPoint, exemplar, exponential_histogram_data_point::Buckets, metric::Data, number_data_point,
    },
    resource::v1::Resource,
    trace::v1::Span,
};
use serde_json::{Map, Value, json};

/// The request as one JSON value.
pub fn to_json(request: &ExportRequest) -> Value {
    let groups = |name: &str, all: Vec<Value>| json!({ name: all });
    match request {
        ExportRequest::Traces(request) => {
            let each = request.resource_spans.iter().map(|group| {
                let scopes =
                    group.scope_spans.iter().map(|part| in_scope(part.scope.as_ref(), &part.schema_url, "spans", &part.spans, span));
                in_resource(group.resource.as_ref(), &group.schema_url, "scopeSpans", scopes.collect())
            });
            groups("resourceSpans", each.collect())
        }
        ExportRequest::Metrics(request) => {
            let each = request.resource_metrics.iter().map(|group| {
                let scopes = group
                    .scope_metrics
                    .iter()
                    .map(|part| in_scope(part.scope.as_ref(), &part.schema_url, "metrics", &part.metrics, metric));
                in_resource(group.resource.as_ref(), &group.schema_url, "scopeMetrics", scopes.collect())
            });
            groups("resourceMetrics", each.collect())
        }
        ExportRequest::Logs(request) => {
            let each = request.resource_logs.iter().map(|group| {
                let scopes = group
                    .scope_logs
                    .iter()
                    .map(|part| in_scope(part.scope.as_ref(), &part.schema_url, "logRecords", &part.log_records, log));
                in_resource(group.resource.as_ref(), &group.schema_url, "scopeLogs", scopes.collect())
            });
            groups("resourceLogs", each.collect())
        }
        ExportRequest::Profiles(request) => profile_json::request(request),
    }
}

/// An object that leaves out what is unset.
#[derive(Default)]
struct Object(Map<String, Value>);

impl Object {
    fn put(&mut self, key: &str, value: Value) -> &mut Self {
        let unset = match &value {
            Value::Null => true,
            Value::String(text) => text.is_empty(),
            Value::Array(items) => items.is_empty(),
            _ => false,
        };
        if !unset {
            self.0.insert(key.to_owned(), value);
        }
        self
    }

    fn nonzero(&mut self, key: &str, value: i64) -> &mut Self {
        self.put(key, if value == 0 { Value::Null } else { value.into() })
    }

    fn long(&mut self, key: &str, value: u64) -> &mut Self {
        self.put(key, if value == 0 { Value::Null } else { value.to_string().into() })
    }

    fn done(&mut self) -> Value {
        Value::Object(std::mem::take(&mut self.0))
    }
}

pub(crate) fn in_resource(resource: Option<&Resource>, schema_url: &str, name: &str, scopes: Vec<Value>) -> Value {
    let shown = resource.map_or(Value::Null, |resource| {
        let mut object = Object::default();
        object.put("attributes", attributes(&resource.attributes));
        object.nonzero("droppedAttributesCount", resource.dropped_attributes_count.into()).done()
    });
    Object::default().put("resource", shown).put(name, scopes.into()).put("schemaUrl", schema_url.into()).done()
}

pub(crate) fn in_scope<T>(
    scope: Option<&InstrumentationScope>,
    schema_url: &str,
    name: &str,
    items: &[T],
    one: impl Fn(&T) -> Value,
) -> Value {
    let shown = scope.map_or(Value::Null, |scope| {
        let mut object = Object::default();
        object.put("name", scope.name.as_str().into()).put("version", scope.version.as_str().into());
        object.put("attributes", attributes(&scope.attributes)).done()
    });
    let items: Vec<Value> = items.iter().map(one).collect();
    Object::default().put("scope", shown).put(name, items.into()).put("schemaUrl", schema_url.into()).done()
}

fn span(span: &Span) -> Value {
    let mut object = Object::default();
    object.put("traceId", hex(&span.trace_id)).put("spanId", hex(&span.span_id)).put("parentSpanId", hex(&span.parent_span_id));
    object.put("traceState", span.trace_state.as_str().into()).nonzero("flags", span.flags.into());
    object.put("name", span.name.as_str().into()).nonzero("kind", span.kind.into());
    object.long("startTimeUnixNano", span.start_time_unix_nano).long("endTimeUnixNano", span.end_time_unix_nano);
    object.put("attributes", attributes(&span.attributes)).nonzero("droppedAttributesCount", span.dropped_attributes_count.into());
    let events = span.events.iter().map(|event| {
        let mut object = Object::default();
        object.long("timeUnixNano", event.time_unix_nano).put("name", event.name.as_str().into());
        object.put("attributes", attributes(&event.attributes)).done()
    });
    let links = span.links.iter().map(|link| {
        let mut object = Object::default();
        object.put("traceId", hex(&link.trace_id)).put("spanId", hex(&link.span_id)).put("traceState", link.trace_state.as_str().into());
        object.put("attributes", attributes(&link.attributes)).nonzero("flags", link.flags.into()).done()
    });
    object.put("events", events.collect::<Vec<_>>().into()).put("links", links.collect::<Vec<_>>().into());
    if let Some(status) = &span.status {
        let shown = Object::default().put("message", status.message.as_str().into()).nonzero("code", status.code.into()).done();
        object.put("status", shown);
    }
    object.done()
}

fn log(record: &LogRecord) -> Value {
    let mut object = Object::default();
    object.long("timeUnixNano", record.time_unix_nano).long("observedTimeUnixNano", record.observed_time_unix_nano);
    object.nonzero("severityNumber", record.severity_number.into()).put("severityText", record.severity_text.as_str().into());
    object.put("body", record.body.as_ref().map_or(Value::Null, any));
    object.put("attributes", attributes(&record.attributes)).nonzero("flags", record.flags.into());
    object.put("traceId", hex(&record.trace_id)).put("spanId", hex(&record.span_id));
    object.put("eventName", record.event_name.as_str().into()).done()
}

fn metric(metric: &Metric) -> Value {
    let mut object = Object::default();
    object.put("name", metric.name.as_str().into()).put("description", metric.description.as_str().into());
    object.put("unit", metric.unit.as_str().into());
    match &metric.data {
        None => {}
        Some(Data::Gauge(gauge)) => {
            object.put("gauge", json!({ "dataPoints": numbers(&gauge.data_points) }));
        }
        Some(Data::Sum(sum)) => {
            let mut shown = Object::default();
            shown.put("dataPoints", numbers(&sum.data_points).into()).nonzero("aggregationTemporality", sum.aggregation_temporality.into());
            object.put("sum", shown.put("isMonotonic", sum.is_monotonic.into()).done());
        }
        Some(Data::Histogram(histogram)) => {
            let points = histogram.data_points.iter().map(|point| {
                let mut object = times(&point.attributes, point.start_time_unix_nano, point.time_unix_nano, point.flags);
                object.put("count", point.count.to_string().into()).put("sum", optional(point.sum));
                object.put("bucketCounts", longs(&point.bucket_counts)).put("explicitBounds", doubles(&point.explicit_bounds));
                object.put("min", optional(point.min)).put("max", optional(point.max)).put("exemplars", exemplars(&point.exemplars)).done()
            });
            object.put("histogram", temporal(points.collect(), histogram.aggregation_temporality));
        }
        Some(Data::ExponentialHistogram(histogram)) => {
            let points = histogram.data_points.iter().map(|point| {
                let mut object = times(&point.attributes, point.start_time_unix_nano, point.time_unix_nano, point.flags);
                object.put("count", point.count.to_string().into()).put("sum", optional(point.sum)).put("scale", point.scale.into());
                object.put("zeroCount", point.zero_count.to_string().into()).put("zeroThreshold", double(point.zero_threshold));
                object.put("positive", buckets(point.positive.as_ref())).put("negative", buckets(point.negative.as_ref()));
                object.put("min", optional(point.min)).put("max", optional(point.max)).put("exemplars", exemplars(&point.exemplars)).done()
            });
            object.put("exponentialHistogram", temporal(points.collect(), histogram.aggregation_temporality));
        }
        Some(Data::Summary(summary)) => {
            let points = summary.data_points.iter().map(|point| {
                let mut object = times(&point.attributes, point.start_time_unix_nano, point.time_unix_nano, point.flags);
                object.put("count", point.count.to_string().into()).put("sum", double(point.sum));
                let quantiles = point.quantile_values.iter();
                let quantiles = quantiles.map(|at| json!({ "quantile": double(at.quantile), "value": double(at.value) }));
                object.put("quantileValues", quantiles.collect::<Vec<_>>().into()).done()
            });
            object.put("summary", json!({ "dataPoints": points.collect::<Vec<_>>() }));
        }
    }
    object.done()
}

fn temporal(points: Vec<Value>, temporality: i32) -> Value {
    Object::default().put("dataPoints", points.into()).nonzero("aggregationTemporality", temporality.into()).done()
}

fn times(attributes_of: &[KeyValue], start: u64, at: u64, flags: u32) -> Object {
    let mut object = Object::default();
    object.put("attributes", attributes(attributes_of)).long("startTimeUnixNano", start).long("timeUnixNano", at);
    object.nonzero("flags", flags.into());
    object
}

fn numbers(points: &[NumberDataPoint]) -> Vec<Value> {
    let one = |point: &NumberDataPoint| {
        let mut object = times(&point.attributes, point.start_time_unix_nano, point.time_unix_nano, point.flags);
        match point.value {
            None => {}
            Some(number_data_point::Value::AsInt(value)) => {
                object.put("asInt", value.to_string().into());
            }
            Some(number_data_point::Value::AsDouble(value)) => {
                object.put("asDouble", double(value));
            }
        }
        object.put("exemplars", exemplars(&point.exemplars)).done()
    };
    points.iter().map(one).collect()
}

fn exemplars(all: &[Exemplar]) -> Value {
    let one = |of: &Exemplar| {
        let mut object = Object::default();
        object.long("timeUnixNano", of.time_unix_nano).put("filteredAttributes", attributes(&of.filtered_attributes));
        object.put("traceId", hex(&of.trace_id)).put("spanId", hex(&of.span_id));
        match of.value {
            None => {}
            Some(exemplar::Value::AsInt(value)) => {
                object.put("asInt", value.to_string().into());
            }
            Some(exemplar::Value::AsDouble(value)) => {
                object.put("asDouble", double(value));
            }
        }
        object.done()
    };
    all.iter().map(one).collect::<Vec<_>>().into()
}

fn buckets(of: Option<&Buckets>) -> Value {
    of.map_or(Value::Null, |of| Object::default().put("offset", of.offset.into()).put("bucketCounts", longs(&of.bucket_counts)).done())
}

fn longs(all: &[u64]) -> Value {
    all.iter().map(|value| Value::from(value.to_string())).collect::<Vec<_>>().into()
}

fn doubles(all: &[f64]) -> Value {
    all.iter().map(|value| double(*value)).collect::<Vec<_>>().into()
}

fn optional(value: Option<f64>) -> Value {
    value.map_or(Value::Null, double)
}

/// A double; those that JSON lacks as protobuf's mapping writes them.
fn double(value: f64) -> Value {
    match value {
        value if value.is_nan() => "NaN".into(),
        f64::INFINITY => "Infinity".into(),
        f64::NEG_INFINITY => "-Infinity".into(),
        value => value.into(),
    }
}

fn attributes(all: &[KeyValue]) -> Value {
    let one = |pair: &KeyValue| {
        let value = pair.value.as_ref().map_or(Value::Null, any);
        let mut object = Object::default();
        object.0.insert("key".to_owned(), pair.key.as_str().into());
        if !value.is_null() {
            object.0.insert("value".to_owned(), value);
        }
        object.done()
    };
    all.iter().map(one).collect::<Vec<_>>().into()
}

pub(crate) fn any(value: &AnyValue) -> Value {
    match &value.value {
        None => json!({}),
        Some(Any::StringValue(text)) => json!({ "stringValue": text }),
        Some(Any::BoolValue(flag)) => json!({ "boolValue": flag }),
        Some(Any::IntValue(number)) => json!({ "intValue": number.to_string() }),
        Some(Any::DoubleValue(number)) => json!({ "doubleValue": double(*number) }),
        Some(Any::ArrayValue(array)) => json!({ "arrayValue": { "values": array.values.iter().map(any).collect::<Vec<_>>() } }),
        Some(Any::KvlistValue(list)) => json!({ "kvlistValue": { "values": attributes(&list.values) } }),
        Some(Any::BytesValue(bytes)) => json!({ "bytesValue": base64(bytes) }),
        #[allow(unreachable_patterns, reason = "newer releases of the protocol add kinds of value")]
        Some(_) => json!({}),
    }
}

pub(crate) fn hex(bytes: &[u8]) -> Value {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|digit| char::from(DIGITS[usize::from(digit)]));
    Value::String(digits.collect())
}

pub(crate) fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        (0..4).for_each(|place| {
            let digit = (word >> (18 - 6 * place)) & 63;
            text.push(if place <= chunk.len() { char::from(ALPHABET[digit as usize]) } else { '=' });
        });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use geophone_proto::otlp::{
        collector::trace::v1::ExportTraceServiceRequest,
        trace::v1::{ResourceSpans, ScopeSpans},
    };

    #[test]
    fn ids_are_hex_times_are_text_and_unset_fields_are_absent() {
        let span =
            Span { trace_id: vec![0xab; 16], span_id: vec![1; 8], name: "GET".into(), kind: 2, start_time_unix_nano: 7, ..Span::default() };
        let scope_spans = vec![ScopeSpans { spans: vec![span], ..ScopeSpans::default() }];
        let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
        let shown = to_json(&ExportRequest::Traces(ExportTraceServiceRequest { resource_spans }));
        let expected = json!({ "resourceSpans": [{ "scopeSpans": [{ "spans": [{
            "traceId": "abababababababababababababababab", "spanId": "0101010101010101", "name": "GET", "kind": 2, "startTimeUnixNano": "7",
        }] }] }] });
        assert_eq!(shown, expected);
    }

    #[test]
    fn bytes_are_base64_and_odd_numbers_are_words() {
        assert_eq!(any(&AnyValue { value: Some(Any::BytesValue(b"foob".to_vec())) }), json!({ "bytesValue": "Zm9vYg==" }));
        assert_eq!((double(f64::NAN), double(1.5)), (json!("NaN"), json!(1.5)));
    }
}
