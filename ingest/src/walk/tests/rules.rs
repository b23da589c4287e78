//! Rules that `prost` knows nothing of, one by one.

use crate::walk::{Walked, walk};
use arrow_array::{Array, Float64Array};
use bytes::Bytes;
use geophone_proto::{
    Columns, Signal, Tenant, UnixNanos,
    otlp::{
        collector::{logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest, trace::v1::ExportTraceServiceRequest},
        metrics::v1::{
            ExponentialHistogram, ExponentialHistogramDataPoint, Metric, ResourceMetrics, ScopeMetrics,
            exponential_histogram_data_point::Buckets, metric::Data,
        },
        trace::v1::{ResourceSpans, ScopeSpans, Span},
    },
};
use prost::Message;

fn span(name: &str) -> Span {
    Span { trace_id: vec![1; 16], span_id: vec![2; 8], name: name.into(), ..Span::default() }
}

fn walked(spans: Vec<Span>) -> Walked {
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    let request = ExportTraceServiceRequest { resource_spans: vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }] };
    walk_wire(Signal::Traces, request.encode_to_vec())
}

fn walk_wire(signal: Signal, wire: Vec<u8>) -> Walked {
    walk(signal, Bytes::from(wire), Tenant::default(), UnixNanos(1)).expect("well framed")
}

#[test]
fn an_empty_request_is_an_empty_batch() {
    for signal in [Signal::Traces, Signal::Metrics, Signal::Logs] {
        let walked = walk_wire(signal, Vec::new());
        assert_eq!((walked.batch.len(), walked.batch.resources.len(), walked.rejected.len()), (0, 0, 0));
    }
}

#[test]
fn one_odd_span_does_not_sink_its_neighbours() {
    let mut odd = span("odd");
    odd.trace_id.pop();
    let zero = Span { span_id: vec![0; 8], ..span("zero") };
    let parent = Span { parent_span_id: vec![1; 7], ..span("parent") };
    let walked = walked(vec![span("a"), odd, zero, parent, span("b")]);
    let reasons: Vec<_> = walked.rejected.iter().map(|row| (row.reason, row.count, row.example.as_str())).collect();
    assert_eq!(reasons, [("trace_id", 1, "odd"), ("span_id", 1, "zero"), ("parent_span_id", 1, "parent")]);
    assert_eq!(walked.batch.len(), 2);
}

#[test]
fn invalid_utf8_costs_one_row() {
    let scope_spans = vec![ScopeSpans { spans: vec![span("good"), span("bad!")], ..ScopeSpans::default() }];
    let request = ExportTraceServiceRequest { resource_spans: vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }] };
    let mut wire = request.encode_to_vec();
    let at = wire.windows(4).position(|four| four == b"bad!").expect("the name is in the bytes");
    wire[at] = 0xff;
    let walked = walk_wire(Signal::Traces, wire);
    assert_eq!((walked.batch.len(), walked.rejected[0].reason), (1, "invalid_utf8"));
}

#[test]
fn nesting_costs_one_row_and_no_stack() {
    // AnyValue > ArrayValue > AnyValue > ...
    let mut value: Vec<u8> = Vec::new();
    for _ in 0..20_000 {
        for key in [0x0a, 0x2a] {
            let mut outer = vec![key];
            super::super::wire::put_varint(&mut outer, value.len() as u64);
            outer.append(&mut value);
            value = outer;
        }
    }
    let frame = |key: u8, inner: &[u8]| {
        let mut out = vec![key];
        super::super::wire::put_varint(&mut out, inner.len() as u64);
        [out.as_slice(), inner].concat()
    };
    let deep = [span("deep").encode_to_vec(), frame(0x4a, &frame(0x12, &value))].concat();
    let spans = [frame(0x12, &deep), frame(0x12, &span("flat").encode_to_vec())].concat();
    let walked = walk_wire(Signal::Traces, frame(0x0a, &frame(0x12, &spans)));
    assert_eq!((walked.batch.len(), walked.rejected[0].reason), (1, "too_deep"));
}

fn exponential(point: ExponentialHistogramDataPoint) -> (Vec<f64>, Vec<f64>) {
    let data = Some(Data::ExponentialHistogram(ExponentialHistogram { data_points: vec![point], aggregation_temporality: 2 }));
    let metrics = vec![Metric { name: "m".into(), data, ..Metric::default() }];
    let scope_metrics = vec![ScopeMetrics { metrics, ..ScopeMetrics::default() }];
    let request = ExportMetricsServiceRequest { resource_metrics: vec![ResourceMetrics { scope_metrics, ..ResourceMetrics::default() }] };
    let walked = walk_wire(Signal::Metrics, request.encode_to_vec());
    let Columns::Metrics(points) = walked.batch.columns else { panic!("metrics were sent") };
    let list = |list: &dyn Array| list.as_any().downcast_ref::<Float64Array>().expect("f64").values().to_vec();
    (list(&points.bounds().value(0)), list(&points.buckets().value(0)))
}

fn buckets(offset: i32, bucket_counts: &[u64]) -> Option<Buckets> {
    Some(Buckets { offset, bucket_counts: bucket_counts.to_vec() })
}

#[test]
fn exponential_buckets_are_spelt_out() {
    let positive = ExponentialHistogramDataPoint { positive: buckets(1, &[3, 0, 5]), ..ExponentialHistogramDataPoint::default() };
    assert_eq!(exponential(positive), (vec![2.0, 4.0, 8.0, 16.0], vec![0.0, 3.0, 0.0, 5.0, 0.0]));
    let both = ExponentialHistogramDataPoint {
        scale: 1,
        zero_count: 7,
        zero_threshold: 0.25,
        negative: buckets(0, &[1, 2]),
        positive: buckets(2, &[4]),
        ..ExponentialHistogramDataPoint::default()
    };
    let root = 2f64.sqrt();
    let expected = (vec![-2.0, -root, -1.0, -0.25, 0.25, 2.0, 2.0 * root], vec![0.0, 2.0, 1.0, 0.0, 7.0, 0.0, 4.0, 0.0]);
    let got = exponential(both);
    assert!(got.0.iter().zip(&expected.0).all(|(a, b)| (a - b).abs() < 1e-12), "{got:?}");
    assert_eq!((got.0.len(), got.1), (7, expected.1));
    assert_eq!(exponential(ExponentialHistogramDataPoint::default()), (vec![], vec![]));
}

#[test]
fn hostile_exponential_histograms_stay_small_and_keep_their_counts() {
    let wide =
        ExponentialHistogramDataPoint { scale: 20, positive: buckets(i32::MIN, &[1; 5000]), ..ExponentialHistogramDataPoint::default() };
    let (bounds, counts) = exponential(wide);
    assert!(bounds.len() <= 1025 && counts.iter().sum::<f64>() == 5000.0, "{} bounds", bounds.len());
    for scale in [i32::MIN, -11, 21, i32::MAX] {
        for offset in [i32::MIN, -1, 0, i32::MAX] {
            let point = ExponentialHistogramDataPoint { scale, positive: buckets(offset, &[1, 2, 3]), zero_count: 1, ..Default::default() };
            let (bounds, counts) = exponential(point);
            assert!(bounds.is_sorted_by(|a, b| a < b) && bounds.iter().all(|bound| bound.is_finite()), "{scale} {offset} {bounds:?}");
            assert_eq!((counts.len(), counts.iter().sum::<f64>()), (bounds.len() + 1, 7.0), "{scale} {offset}");
        }
    }
}

#[test]
fn a_long_name_on_many_points_stops_at_the_allowance() {
    use geophone_proto::otlp::metrics::v1::{Gauge, NumberDataPoint};
    let data = Some(Data::Gauge(Gauge { data_points: vec![NumberDataPoint::default(); 100_000] }));
    let metrics = vec![Metric { name: "n".repeat(100_000), data, ..Metric::default() }];
    let scope_metrics = vec![ScopeMetrics { metrics, ..ScopeMetrics::default() }];
    let request = ExportMetricsServiceRequest { resource_metrics: vec![ResourceMetrics { scope_metrics, ..ResourceMetrics::default() }] };
    let walked = walk_wire(Signal::Metrics, request.encode_to_vec());
    assert_eq!(walked.rejected[0].reason, "expansion");
    assert_eq!(walked.batch.len() as u64 + walked.rejected_count(), 100_000);
}

#[test]
fn columns_grow_only_as_granted() {
    use crate::walk::walk_within;
    use geophone_proto::otlp::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
    // Two bytes each on the wire, and a row.
    let scope_logs = vec![ScopeLogs { log_records: vec![LogRecord::default(); 100_000], ..ScopeLogs::default() }];
    let request = ExportLogsServiceRequest { resource_logs: vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }] };
    let wire = Bytes::from(request.encode_to_vec());
    let walk_up_to = |bytes_max: usize| {
        let mut most = 0;
        let mut grant = |bytes: usize| {
            if bytes <= bytes_max {
                most = bytes;
            }
            bytes <= bytes_max
        };
        let walked = walk_within(Signal::Logs, wire.clone(), (Tenant::default(), UnixNanos(1)), Some(&mut grant));
        (walked.map(|walked| walked.batch.len()), most)
    };
    let (walked, most) = walk_up_to(64 << 20);
    assert_eq!(walked, Ok(100_000));
    assert!(most > 6_000_000 && most < 10_000_000, "{most} bytes were granted");
    let (walked, most) = walk_up_to(1 << 20);
    assert_eq!(walked, Err(crate::walk::WalkError::NotGranted));
    assert!(most > 900_000, "the last bytes are granted as well, {most}");
}
