//! The real binary is sent rubbish, then asked whether it is well.

mod books;
mod counters;
mod profiles;
mod sender;

use counters::{Counters, resident_bytes};
use geophone_proto::otlp::{
    collector::{
        metrics::v1::ExportMetricsServiceRequest,
        trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse},
    },
    metrics::v1::{Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, metric::Data, number_data_point::Value},
    trace::v1::{ResourceSpans, ScopeSpans, Span},
};
use geophone_tests::{
    load,
    server::{Server, eventually},
};
use prost::Message;
use sender::{frame, grpc, gzip, post};
use serde_json::json;
use std::{io::Write, net::TcpStream};

const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");
const JSON: (&str, &str) = ("content-type", "application/json");
const TRACES: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
const MIB: usize = 1 << 20;
const LIMIT: usize = 2 * MIB;
const MEMORY_LIMIT: u64 = 512 << 20;
const NOW_NS: u64 = 1_760_000_000_000_000_000;

/// What it is, headers, body; HTTP and gRPC code.
type Request<'a> = (&'a str, Vec<(&'a str, &'a str)>, Vec<u8>, u16, i32);
/// What it is, path, headers, body, gRPC code.
type Call<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)], Vec<u8>, i32);

struct Site {
    server: Server,
    _folder: tempfile::TempDir,
}

/// A server that takes requests of 2 MiB.
fn site() -> Site {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = folder.path().join("geophone.yaml");
    std::fs::write(&config, "receivers: {otlp: {max_request_size: 2MiB}}\nmemory_limit: 512MiB\n").expect("written");
    let data = folder.path().join("data");
    let server = Server::start(&data, &["--config", config.to_str().expect("a plain path")]);
    Site { server, _folder: folder }
}

fn good(number: u64) -> Span {
    Span {
        trace_id: number.to_be_bytes().repeat(2),
        span_id: number.to_be_bytes().to_vec(),
        name: "good".into(),
        kind: 2,
        start_time_unix_nano: NOW_NS,
        end_time_unix_nano: NOW_NS + 1_000_000,
        ..Span::default()
    }
}

fn request(service: &str, spans: Vec<Span>) -> Vec<u8> {
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    let resource_spans = vec![ResourceSpans { resource: Some(load::service(service)), scope_spans, ..ResourceSpans::default() }];
    ExportTraceServiceRequest { resource_spans }.encode_to_vec()
}

/// A JSON request with an attribute that nests this deep.
fn deep_json(levels: usize) -> String {
    let (open, close) = ("{\"arrayValue\":{\"values\":[".repeat(levels), "]}}".repeat(levels));
    let attribute = format!("{{\"key\":\"deep\",\"value\":{open}{{\"intValue\":\"1\"}}{close}}}");
    format!(
        "{{\"resourceSpans\":[{{\"scopeSpans\":[{{\"spans\":[{{\"traceId\":\"01010101010101010101010101010101\",\"spanId\":\"0202020202020202\",\"attributes\":[{attribute}]}}]}}]}}]}}"
    )
}

/// A normal request works over both transports and is found by a query.
fn is_well(site: &Site, name: &str) {
    let wire = load::traces(name, 77, 3, NOW_NS);
    assert_eq!(post(&site.server.otlp_http, "/v1/traces", &[PROTOBUF], &wire).status, 200, "{name}");
    assert_eq!(grpc(&site.server.grpc, TRACES, &[], frame(&load::traces(name, 78, 4, NOW_NS))), (0, false), "{name}");
    assert_eq!(site.server.count(&format!("SELECT COUNT(*) FROM spans WHERE service = '{name}'")), 7);
    let resident = resident_bytes(site.server.pid());
    assert!(resident < MEMORY_LIMIT, "{} MiB are held, the limit is 512", resident >> 20);
}

/// `received = acked + refused`, and nothing open.
fn books_balance(server: &Server) {
    let [received, acked, refused] = eventually("no request is open", || {
        let now = Counters::of(server);
        let of = |name: &str| now.sum(name, &[]);
        let sums = ["received", "acked", "refused"].map(|what| of(&format!("geophone_{what}_items_total")));
        (of("geophone_open_items") == 0.0).then_some(sums)
    });
    assert!(acked > 0.0);
    assert_eq!(received, acked + refused, "every item is accounted for");
}

/// Scenario: requests that are broken as a whole, over HTTP, in both encodings.
/// Guarantees: OTLP-04, 12, 32, 34: the right status each, a `google.rpc.Status` with a message in the request's
/// encoding, counted; afterwards the server is well and its books balance.
#[test]
fn broken_requests_over_http_are_refused_clearly() {
    let site = site();
    let http = site.server.otlp_http.as_str();
    let whole = load::traces("cut", 1, 20, NOW_NS);
    let noise: Vec<u8> = (0u64..5000).map(|n| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8 | 7).collect();
    let bomb = gzip(&vec![0; 64 * MIB]);
    assert!(bomb.len() < LIMIT / 8, "small as sent");
    let gzipped = ("content-encoding", "gzip");
    let cases: Vec<Request<'_>> = vec![
        ("truncated", vec![PROTOBUF], whole[..whole.len() - 7].to_vec(), 400, 3),
        ("noise", vec![PROTOBUF], noise.clone(), 400, 3),
        ("noise as JSON", vec![JSON], noise.clone(), 400, 3),
        ("noise as gzip", vec![PROTOBUF, gzipped], noise, 400, 3),
        ("gzip cut short", vec![PROTOBUF, gzipped], gzip(&whole)[..30].to_vec(), 400, 3),
        ("huge", vec![PROTOBUF], vec![0x0a; LIMIT + 1], 413, 8),
        ("huge JSON", vec![JSON], vec![b' '; 8 * MIB], 413, 8),
        ("bomb", vec![PROTOBUF, gzipped], bomb.clone(), 413, 8),
        ("bomb as JSON", vec![JSON, gzipped], bomb, 413, 8),
        ("text behind JSON", vec![JSON], b"{} x".to_vec(), 400, 3),
        ("deep JSON", vec![JSON], "[".repeat(200_000).into_bytes(), 400, 3),
        ("deep JSON in a field", vec![JSON], format!("{{\"x\":{}", "{\"x\":".repeat(100_000)).into_bytes(), 400, 3),
        ("unknown encoding", vec![PROTOBUF, ("content-encoding", "br")], whole.clone(), 415, 3),
        ("wrong type", vec![("content-type", "text/plain")], whole, 415, 3),
    ];
    for (what, headers, body, status, code) in &cases {
        let answer = post(http, "/v1/traces", headers, body);
        assert_eq!(answer.status, *status, "{what}: {:?}", String::from_utf8_lossy(&answer.body));
        let wanted = if headers.contains(&JSON) { "application/json" } else { "application/x-protobuf" };
        assert_eq!(answer.kind, wanted, "{what}");
        let problem = answer.problem();
        assert!(problem.code == *code && !problem.message.is_empty(), "{what}: {problem:?}");
        assert!(!problem.message.contains("panic"), "{what}: {problem:?}");
    }
    let refused = Counters::of(&site.server);
    for reason in ["malformed", "too_large", "content_type", "content_encoding"] {
        let count = refused.sum("geophone_refused_requests_total", &[&format!("reason=\"{reason}\""), "transport=\"http\""]);
        let sent = cases.iter().filter(|case| match reason {
            "malformed" => case.3 == 400,
            "too_large" => case.3 == 413,
            "content_type" => case.0 == "wrong type",
            _ => case.0 == "unknown encoding",
        });
        assert_eq!(count, sent.count() as f64, "{reason}");
    }
    is_well(&site, "after-http");
    books_balance(&site.server);
    assert_eq!(site.server.stop(), Some(0));
}

/// Scenario: the same over gRPC, with broken framing and methods that nobody has.
/// Guarantees: OTLP-04, 30, 32: INVALID_ARGUMENT for bad data, RESOURCE_EXHAUSTED for what is too large,
/// UNIMPLEMENTED for unknown methods; then all is well.
#[test]
fn broken_calls_over_grpc_are_refused_clearly() {
    let site = site();
    let address = site.server.grpc.as_str();
    let whole = load::traces("cut", 1, 20, NOW_NS);
    let bomb = gzip(&vec![0; 64 * MIB]);
    let packed = |message: &[u8]| {
        let mut framed = frame(message).to_vec();
        framed[0] = 1;
        framed
    };
    let gzipped = [("grpc-encoding", "gzip")];
    let calls: [Call<'_>; 9] = [
        ("truncated", TRACES, &[], frame(&whole[..whole.len() - 7]).to_vec(), 3),
        ("noise", TRACES, &[], frame(&[0xff; 999]).to_vec(), 3),
        ("no frame", TRACES, &[], vec![0; 3], 3),
        ("nothing", TRACES, &[], Vec::new(), 3),
        ("no gzip", TRACES, &gzipped, packed(&whole), 3),
        ("bomb", TRACES, &gzipped, packed(&bomb), 8),
        ("huge", TRACES, &[], frame(&vec![0x0a; LIMIT + 1]).to_vec(), 8),
        ("unknown method", "/opentelemetry.proto.collector.trace.v1.TraceService/Import", &[], frame(&whole).to_vec(), 12),
        ("unknown service", "/nobody.knows/This", &[], frame(&whole).to_vec(), 12),
    ];
    for (what, path, headers, body, status) in calls {
        assert_eq!(grpc(address, path, headers, body.into()).0, status, "{what}");
    }
    let refused = Counters::of(&site.server).sum("geophone_refused_requests_total", &["transport=\"grpc\""]);
    assert_eq!(refused, 9.0);
    is_well(&site, "after-grpc");
    books_balance(&site.server);
}

/// Scenario: requests in which some rows are odd: invalid UTF-8, ids of wrong length, no id, values nested too deep,
/// no time, a time in a far future, an end before the start, NaN and infinite values.
/// Guarantees: OTLP-22: what breaks a rule is rejected with its count, everything else is a row, odd times and
/// values included; counters say why; good neighbours are rows.
#[test]
fn one_odd_row_never_sinks_its_neighbours() {
    let site = site();
    let http = site.server.otlp_http.as_str();
    let mut wire = request("odd", vec![good(1), Span { name: "bad".repeat(9), ..good(2) }, good(3)]);
    let at = wire.windows(6).position(|bytes| bytes == b"badbad").expect("the name is in it");
    wire[at] = 0xff;
    let short = request(
        "odd",
        vec![
            Span { span_id: vec![1; 7], ..good(4) },
            good(5),
            Span { trace_id: vec![1; 17], ..good(6) },
            Span { trace_id: vec![0; 16], ..good(7) },
        ],
    );
    for (what, wire, rejected) in [("invalid UTF-8", wire, 1), ("ids", short, 3)] {
        let answer = post(http, "/v1/traces", &[PROTOBUF], &wire);
        assert_eq!(answer.status, 200, "{what}");
        let partial = ExportTraceServiceResponse::decode(&*answer.body).expect("a response").partial_success.expect("some were refused");
        assert_eq!(partial.rejected_spans, rejected, "{what}: {}", partial.error_message);
        assert!(!partial.error_message.is_empty());
    }
    let deep = post(http, "/v1/traces", &[JSON], deep_json(400).as_bytes());
    assert!(deep.status == 400 || String::from_utf8_lossy(&deep.body).contains("rejectedSpans"), "{}", String::from_utf8_lossy(&deep.body));
    let times = vec![
        Span { start_time_unix_nano: 0, end_time_unix_nano: 0, ..good(11) },
        Span { end_time_unix_nano: u64::MAX, ..good(12) },
        Span { start_time_unix_nano: NOW_NS + 5_000_000_000, ..good(13) },
        good(14),
    ];
    let answer = post(http, "/v1/traces", &[PROTOBUF], &request("times", times));
    assert_eq!((answer.status, answer.body.len()), (200, 0), "odd times are rows: full success");
    let point = |value: f64| NumberDataPoint { time_unix_nano: NOW_NS, value: Some(Value::AsDouble(value)), ..NumberDataPoint::default() };
    let data_points = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1.5, f64::MAX].map(point).to_vec();
    let metric = Metric { name: "odd.values".into(), data: Some(Data::Gauge(Gauge { data_points })), ..Metric::default() };
    let scope_metrics = vec![ScopeMetrics { metrics: vec![metric], ..ScopeMetrics::default() }];
    let resource_metrics = vec![ResourceMetrics { resource: Some(load::service("odd")), scope_metrics, ..ResourceMetrics::default() }];
    let answer = post(http, "/v1/metrics", &[PROTOBUF], &ExportMetricsServiceRequest { resource_metrics }.encode_to_vec());
    assert_eq!((answer.status, answer.body.len()), (200, 0), "odd values are rows: full success");

    let count = |sql: &str| site.server.count(sql);
    assert_eq!(count("SELECT COUNT(*) FROM spans WHERE service = 'odd'"), 3);
    assert_eq!(count("SELECT COUNT(*) FROM spans WHERE service = 'times'"), 4);
    assert_eq!(count("SELECT COUNT(*) FROM metric_points WHERE metric = 'odd.values'"), 5);
    eventually("the engine counts what it does not score", || {
        let now = Counters::of(&site.server);
        let unscored = |reason: &str| now.sum("geophone_engine_rows_unscored_total", &[&format!("reason=\"{reason}\"")]);
        (["zero_time", "future_time", "negative_duration", "not_a_number"].iter().all(|reason| unscored(reason) > 0.0)).then_some(())
    });
    let dropped = Counters::of(&site.server);
    for reason in ["invalid_utf8", "trace_id", "span_id"] {
        let reason_label = format!("reason=\"{reason}\"");
        assert!(dropped.sum("geophone_dropped_items_total", &[&reason_label]) >= 1.0, "{reason} is not counted");
    }
    is_well(&site, "after-odd");
    books_balance(&site.server);
}

/// Scenario: two hundred connections that say nothing, half a head, half a body, or break off in the middle.
/// Guarantees: others are served meanwhile, and nothing is open when they have gone.
#[test]
fn half_open_connections_hold_nobody_up() {
    let site = site();
    let http = site.server.otlp_http.as_str();
    let beginnings: [&[u8]; 4] = [
        b"",
        b"POST /v1/traces HTT",
        b"POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\ncontent-length: 900000\r\n\r\n\x0a\x05",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0",
    ];
    let mut held = Vec::new();
    for n in 0..200usize {
        let address = if n % 2 == 0 { http } else { site.server.grpc.as_str() };
        let mut stream = TcpStream::connect(address).expect("the server listens");
        stream.write_all(beginnings[n % 4]).expect("the server reads");
        held.push(stream);
    }
    is_well(&site, "while-held");
    held.truncate(100);
    is_well_again(&site);
    drop(held);
    books_balance(&site.server);
    let status = site.server.get("/api/v1/incidents");
    assert_eq!(status["items"], json!([]), "rubbish is no incident");
}

fn is_well_again(site: &Site) {
    let wire = load::traces("again", 99, 5, NOW_NS);
    assert_eq!(post(&site.server.otlp_http, "/v1/traces", &[PROTOBUF], &wire).status, 200);
    assert_eq!(site.server.count("SELECT COUNT(*) FROM spans WHERE service = 'again'"), 5);
}
