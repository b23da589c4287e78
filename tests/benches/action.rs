//! From the arrival of the record that makes the brain decide to the start of the action: sixty services that know
//! nothing of each other fail one after the other, each once, while all of them send; a policy acts on every incident.
//!
//! `cargo bench -p geophone-tests --bench action`. The server measures itself (`geophone_action_delay_seconds`); with
//! durability `fsync` the delay holds the flush of the record that says that the action was begun.

#![allow(clippy::print_stdout, reason = "a benchmark prints")]

use geophone_client::{Client, ClientConfig, ExportRequest};
use geophone_proto::{
    otlp::{
        collector::trace::v1::ExportTraceServiceRequest,
        trace::v1::{ResourceSpans, ScopeSpans, Span, Status},
    },
    time::SECOND_NS,
};
use geophone_tests::{
    load::service,
    server::{PATIENCE, Server},
};
use std::{fs, time::Duration};

const SERVICES: u64 = 60;
/// Spans of each service in a second of event time.
const SPANS: u64 = 2;
/// Event time before the first fault, between the beginnings of two, and length of each; seconds.
const WARM_UP: u64 = 1_500;
const EVERY: u64 = 90;
const LASTING: u64 = 90;
const START_NS: u64 = 1_767_261_600 * SECOND_NS;
/// Seconds of event time in a second.
const SPEED: u32 = 60;

/// A number below `n` that follows from two others (splitmix64).
fn dice(second: u64, index: u64, n: u64) -> u64 {
    let mut x = (second << 20 | index).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (x ^ (x >> 31)) % n
}

/// What all services send in one second of event time.
fn second(second: u64) -> ExportTraceServiceRequest {
    let of = |number: u64| {
        let fault = WARM_UP + number * EVERY;
        let fails = (fault..fault + LASTING).contains(&second);
        let span = |index: u64| {
            let id = second * 1_000 + number * SPANS + index;
            let end_time_unix_nano = START_NS + second * SECOND_NS + index * 1_000_000;
            let code = if fails && dice(second, id, 10) < 6 { 2 } else { 0 };
            Span {
                trace_id: [number + 1, id + 1].map(u64::to_be_bytes).concat(),
                span_id: (id + 1).to_be_bytes().to_vec(),
                name: "GET /".into(),
                kind: 2,
                start_time_unix_nano: end_time_unix_nano - 5_000_000 - dice(second, id, 2_000_000),
                end_time_unix_nano,
                status: Some(Status { code, ..Status::default() }),
                ..Span::default()
            }
        };
        let scope_spans = vec![ScopeSpans { spans: (0..SPANS).map(span).collect(), ..ScopeSpans::default() }];
        ResourceSpans { resource: Some(service(&format!("service-{number}"))), scope_spans, ..ResourceSpans::default() }
    };
    ExportTraceServiceRequest { resource_spans: (0..SERVICES).map(of).collect() }
}

/// Sends all of it at its pace, each second when it is due.
fn send(server: &Server) {
    let config = ClientConfig { endpoint: server.grpc.clone(), timeout: PATIENCE, ..ClientConfig::default() };
    let client = Client::new(config).expect("the server printed its address");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime needs a few file handles");
    runtime.block_on(async {
        let mut due = tokio::time::interval(Duration::from_secs(1) / SPEED);
        for now in 0..WARM_UP + SERVICES * EVERY + LASTING + 120 {
            due.tick().await;
            client.export(ExportRequest::Traces(second(now))).await.expect("the server takes it");
        }
    });
}

/// The least bound of the histogram that this share of the delays keeps.
fn bound(metrics: &str, share: f64) -> String {
    let buckets: Vec<(&str, f64)> = metrics
        .lines()
        .filter_map(|line| line.strip_prefix("geophone_action_delay_seconds_bucket{le=\"")?.split_once("\"} "))
        .filter_map(|(bound, count)| Some((bound, count.parse().ok()?)))
        .collect();
    let all = buckets.last().map_or(0.0, |(_, count)| *count);
    buckets.iter().find(|(_, count)| *count >= share * all).map_or_else(|| "-".into(), |(bound, _)| (*bound).into())
}

fn main() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = folder.path().join("geophone.yaml");
    let policy = "{name: act, do: {exec: {command: [/bin/true]}}, verify_within: 10m, cooldown: 0s, max_per_hour: 1000}";
    fs::write(&config, format!("actions: {{mode: auto, policies: [{policy}]}}\n")).expect("the temporary folder is writable");
    let path = config.to_str().expect("temporary folders have plain names");
    for durability in ["fsync", "os"] {
        let server = Server::start(&folder.path().join(durability), &["--config", path, "--durability", durability]);
        send(&server);
        let metrics = server.text("/metrics");
        let count = metrics.lines().find_map(|line| line.strip_prefix("geophone_action_delay_seconds_count ")).unwrap_or("0");
        let [p50, p90, p99] = [0.5, 0.9, 0.99].map(|share| bound(&metrics, share));
        println!(
            "durability {durability:5}: {count} actions for {SERVICES} faults; seconds from arrival to action: p50 <= {p50}, p90 <= {p90}, p99 <= {p99}"
        );
        assert_eq!(server.stop(), Some(0));
    }
}
