//! Hand-written documents against `prost` messages.

use super::json_to_wire;
use crate::walk::walk;
use bytes::Bytes;
use geophone_proto::{
    Signal, Tenant, UnixNanos,
    otlp::{
        collector::{logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest, trace::v1::ExportTraceServiceRequest},
        common::v1::{AnyValue, ArrayValue, any_value::Value},
        logs::v1::{LogRecord, ResourceLogs, ScopeLogs},
        metrics::v1::{metric::Data, number_data_point},
    },
};
use prost::Message;

fn traces(json: &str) -> ExportTraceServiceRequest {
    let wire = json_to_wire(Signal::Traces, json.as_bytes()).expect("valid OTLP/JSON");
    ExportTraceServiceRequest::decode(wire).expect("the transcoder writes protobuf")
}

fn refused(json: &str) -> String {
    json_to_wire(Signal::Traces, json.as_bytes()).expect_err("not OTLP/JSON").to_string()
}

fn span(fields: &str) -> String {
    format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{{fields}}}]}}]}}]}}"#)
}

#[test]
fn a_span_is_read_with_all_rules_of_the_mapping() {
    let request = traces(
        r#"{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"cart"}}]},"unknownField":{"a":[1,null,{}]},
        "scopeSpans":[{"scope":{"name":"lib","version":"1","droppedAttributesCount":2},"schemaUrl":"u","spans":[{
        "traceId":"5B8EFFF798038103D269B633813FC60C","spanId":"eee19b7ec3c1b174","parentSpanId":"","traceState":null,
        "name":"\u00e9\ud83d\ude00","kind":2,"startTimeUnixNano":"1544712660000000000","endTimeUnixNano":1544712661000000000,"flags":257,
        "attributes":[{"key":"i","value":{"intValue":"-7"}},{"key":"j","value":{"intValue":9.0}},{"key":"d","value":{"doubleValue":"-Infinity"}},
          {"key":"b","value":{"boolValue":true}},{"key":"y","value":{"bytesValue":"-_8="}},{"key":"e","value":{}},
          {"key":"a","value":{"arrayValue":{"values":[{"stringValue":""},{"kvlistValue":{"values":[{"key":"k","value":{"doubleValue":1.5}}]}}]}}}],
        "events":[{"timeUnixNano":1,"name":"ev","attributes":[],"droppedAttributesCount":1}],
        "links":[{"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174","flags":1}],
        "status":{"code":2,"message":"bad"}}]}]}]}"#,
    );
    let scope = &request.resource_spans[0].scope_spans[0];
    let span = &scope.spans[0];
    assert_eq!(scope.scope.as_ref().map(|scope| (scope.name.as_str(), scope.dropped_attributes_count)), Some(("lib", 2)));
    assert_eq!((span.trace_id[0], span.trace_id.len(), span.span_id.len(), span.parent_span_id.len()), (0x5b, 16, 8, 0));
    assert_eq!((span.name.as_str(), span.kind, span.flags), ("\u{e9}\u{1f600}", 2, 257));
    assert_eq!((span.start_time_unix_nano, span.end_time_unix_nano), (1_544_712_660_000_000_000, 1_544_712_661_000_000_000));
    let values: Vec<_> = span.attributes.iter().map(|pair| pair.value.clone().and_then(|value| value.value)).collect();
    assert_eq!(values[0], Some(Value::IntValue(-7)));
    assert_eq!(values[1], Some(Value::IntValue(9)));
    assert_eq!(values[2], Some(Value::DoubleValue(f64::NEG_INFINITY)));
    assert_eq!(values[3], Some(Value::BoolValue(true)));
    assert_eq!(values[4], Some(Value::BytesValue(vec![0xfb, 0xff])));
    assert_eq!(values[5], None);
    assert!(matches!(&values[6], Some(Value::ArrayValue(array)) if array.values.len() == 2));
    assert_eq!((span.events[0].name.as_str(), span.links[0].flags), ("ev", 1));
    assert_eq!(span.status.as_ref().map(|status| (status.code, status.message.as_str())), Some((2, "bad")));
}

#[test]
fn metrics_of_every_kind_are_read() {
    let json = r#"{"resourceMetrics":[{"scopeMetrics":[{"metrics":[
      {"name":"g","unit":"By","gauge":{"dataPoints":[{"asDouble":"NaN","timeUnixNano":"5","exemplars":[{"asInt":"3","spanId":"eee19b7ec3c1b174"}]},{"asInt":-4,"flags":1}]}},
      {"name":"s","sum":{"aggregationTemporality":2,"isMonotonic":true,"dataPoints":[{"asInt":"4"}]}},
      {"name":"h","histogram":{"aggregationTemporality":1,"dataPoints":[{"count":"3","sum":2,"bucketCounts":["1",2],"explicitBounds":[0.5],"min":0}]}},
      {"name":"e","exponentialHistogram":{"dataPoints":[{"scale":-1,"zeroCount":1,"positive":{"offset":-3,"bucketCounts":["1","0"]},"zeroThreshold":0.1}]}},
      {"name":"q","summary":{"dataPoints":[{"quantileValues":[{"quantile":0.5,"value":7}]}]}}]}]}]}"#;
    let wire = json_to_wire(Signal::Metrics, json.as_bytes()).expect("valid OTLP/JSON");
    let request = ExportMetricsServiceRequest::decode(wire).expect("protobuf");
    let data: Vec<_> =
        request.resource_metrics[0].scope_metrics[0].metrics.iter().map(|metric| metric.data.clone().expect("data")).collect();
    assert!(matches!(&data[0], Data::Gauge(gauge) if gauge.data_points[1].value == Some(number_data_point::Value::AsInt(-4))));
    assert!(matches!(&data[1], Data::Sum(sum) if sum.is_monotonic && sum.aggregation_temporality == 2));
    assert!(matches!(&data[2], Data::Histogram(h) if h.data_points[0].bucket_counts == [1, 2] && h.data_points[0].min == Some(0.0)));
    let Data::ExponentialHistogram(exponential) = &data[3] else { panic!("the fourth is exponential") };
    let positive = exponential.data_points[0].positive.as_ref().expect("positive");
    assert_eq!((exponential.data_points[0].scale, positive.offset, positive.bucket_counts.as_slice()), (-1, -3, [1, 0].as_slice()));
    assert!(matches!(&data[4], Data::Summary(s) if s.data_points[0].quantile_values[0].value == 7.0));
}

#[test]
fn logs_are_read_and_a_bad_id_costs_no_neighbour() {
    let json = r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"severityNumber":9,"severityText":"I","body":{"stringValue":"x"},
      "observedTimeUnixNano":"7","traceId":"not hex","eventName":"n","flags":1},{}]}]}]}"#;
    let wire = json_to_wire(Signal::Logs, json.as_bytes()).expect("valid OTLP/JSON");
    let request = ExportLogsServiceRequest::decode(wire).expect("protobuf");
    let records = &request.resource_logs[0].scope_logs[0].log_records;
    assert_eq!((records.len(), records[0].trace_id.as_slice(), records[0].severity_number), (2, [0].as_slice(), 9));
}

#[test]
fn what_the_mapping_forbids_is_refused_with_the_field_named() {
    for (fields, part) in [
        (r#""kind":"SPAN_KIND_SERVER""#, "`kind`"),
        (r#""kind":"2""#, "`kind`"),
        (r#""name":5"#, "`name`"),
        (r#""startTimeUnixNano":-1"#, "`startTimeUnixNano`"),
        (r#""startTimeUnixNano":"18446744073709551616""#, "`startTimeUnixNano`"),
        (r#""startTimeUnixNano":1.5"#, "`startTimeUnixNano`"),
        (r#""flags":4294967296"#, "`flags`"),
        (r#""attributes":{}"#, "`attributes`"),
        (r#""attributes":[null]"#, "`attributes`"),
        (r#""status":[]"#, "`status`"),
        (r#""traceId":7"#, "`traceId`"),
        (r#""attributes":[{"value":{"bytesValue":"?"}}]"#, "`bytesValue`"),
        (r#""attributes":[{"value":{"doubleValue":"inf"}}]"#, "`doubleValue`"),
        (r#""attributes":[{"value":{"boolValue":"true"}}]"#, "`boolValue`"),
    ] {
        let message = refused(&span(fields));
        assert!(message.contains(part), "{fields}: {message}");
    }
    for broken in ["", "[]", "null", "{", "{}x", "{} {}", r#"{"resourceSpans":1}"#, r#"{"resourceSpans":[1]}"#, "\u{feff}{}"] {
        refused(broken);
    }
    assert_eq!(traces("{} \n"), ExportTraceServiceRequest::default());
    assert_eq!(traces(r#"{"resource_spans":[{}]}"#), ExportTraceServiceRequest::default(), "original names are unknown names");
}

/// Two records; the body of the first nests so many arrays.
fn nested(levels: usize) -> (Vec<u8>, String) {
    let mut value = AnyValue { value: Some(Value::IntValue(7)) };
    for _ in 0..levels {
        value = AnyValue { value: Some(Value::ArrayValue(ArrayValue { values: vec![value] })) };
    }
    let deep = LogRecord { body: Some(value), ..LogRecord::default() };
    let neighbour = LogRecord { severity_text: "neighbour".into(), ..LogRecord::default() };
    let scope_logs = vec![ScopeLogs { log_records: vec![deep, neighbour], ..ScopeLogs::default() }];
    let request = ExportLogsServiceRequest { resource_logs: vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }] };
    (request.encode_to_vec(), nested_json(levels))
}

fn nested_json(levels: usize) -> String {
    let value = format!("{}{}{}", r#"{"arrayValue":{"values":["#.repeat(levels), r#"{"intValue":7}"#, "]}}".repeat(levels));
    format!(r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{{"body":{value}}},{{"severityText":"neighbour"}}]}}]}}]}}"#)
}

/// Rows that are taken, and reasons of those that are not.
fn judged(wire: Bytes) -> (usize, Vec<&'static str>) {
    let walked = walk(Signal::Logs, wire, Tenant::default(), UnixNanos(1)).expect("the framing is sound");
    (walked.batch.len(), walked.rejected.iter().map(|row| row.reason).collect())
}

// A hundred messages may nest. In JSON that is up to two hundred brackets, more than serde_json follows.
#[test]
fn nesting_is_judged_row_by_row_as_in_protobuf() {
    let mut verdicts = Vec::new();
    for levels in (1..=60).chain([80, 110, 200, 2_000]) {
        let transcoded = json_to_wire(Signal::Logs, nested_json(levels).as_bytes()).unwrap_or_else(|error| panic!("{levels}: {error}"));
        let verdict = judged(transcoded.clone());
        if levels <= 200 {
            let (wire, _) = nested(levels);
            assert_eq!(verdict, judged(wire.clone().into()), "{levels}");
            assert!(verdict.0 == 1 || transcoded == wire, "{levels}: what is taken is the same to the byte");
        }
        verdicts.push(verdict);
    }
    assert!(verdicts.contains(&(2, vec![])) && verdicts.last() == Some(&(1, vec!["too_deep"])), "{verdicts:?}");
}

#[test]
fn nesting_without_end_neither_overflows_nor_passes() {
    let deep = |inner: &str| span(&format!(r#""attributes":[{{"key":"k","value":{inner}}}]"#));
    for open in [r#"{"arrayValue":{"values":["#, "[", "{\"arrayValue\":", "{\"x\":"] {
        refused(&deep(&open.repeat(100_000)));
        refused(&open.repeat(100_000));
    }
    refused(&deep(&format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000))));
    // Unbalanced far below, where nothing is read; then brackets in texts, which are none; then a text like a piece's name.
    let broken = nested_json(2_000).replacen(r#"{"intValue":7}"#, "{]", 1);
    json_to_wire(Signal::Logs, broken.as_bytes()).expect_err("not JSON");
    let text = nested_json(60).replacen("neighbour", r#"[[{{\\\"{[\"0"#, 1);
    let (count, reasons) = judged(json_to_wire(Signal::Logs, text.as_bytes()).expect("texts may hold anything"));
    assert_eq!((count, reasons), (1, vec!["too_deep"]));
    let unknown = format!(r#"{{"x":{}1{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(traces(&unknown), ExportTraceServiceRequest::default(), "unknown fields may hold anything");
}

// Newer clients send samples that hold nothing but a stack and its values: unpacked, those would be read as the link
// that stood in that place before.
#[test]
fn lists_of_numbers_are_packed_as_protobuf_packs_them() {
    let json =
        br#"{"resourceProfiles":[{"scopeProfiles":[{"profiles":[{"samples":[{"stackIndex":1,"values":["123","4"]},{"values":[]}]}]}]}]}"#;
    let wire = json_to_wire(Signal::Profiles, json).expect("it is OTLP/JSON");
    let sample = [0x08, 1, 0x22, 2, 123, 4];
    assert!(wire.windows(sample.len()).any(|bytes| bytes == sample), "{wire:02x?}");
    assert!(wire.ends_with(&[0x12, 0]), "an empty list is no field: {wire:02x?}");
}
