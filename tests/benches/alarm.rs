//! From the arrival of the request that completes a window to the alert at a receiver, under load: gauges of many
//! hosts at 100,000 points a second, open loop, with the time of now, while services that know nothing of each other
//! begin to fail one after the other, each once.
//!
//! `cargo bench -p geophone-tests --bench alarm` (ten minutes at the pace of time). `GEOPHONE_SERIES` (100000) and
//! `GEOPHONE_POINTS` (100000 a second) say how often each series is read, `GEOPHONE_FAULTS` (120) how many services
//! fail, `GEOPHONE_WARM` (180 s) when they begin to, `GEOPHONE_LIMIT` (`memory_limit`, MiB, 512) what the server aims
//! for, `GEOPHONE_DURABILITY` (`fsync`) when a request is acknowledged.
//!
//! The window's delay is set to a second, so that the deciding request is known outside: the first one sent with the
//! time of the window's end and a second. From its sending on everything counts: the wire, decoding, the log's flush,
//! all series' window, features, model, correlation, the webhook.

#![allow(clippy::print_stdout, clippy::cast_precision_loss, reason = "a benchmark prints")]

use geophone_client::{Client, ClientConfig};
use geophone_proto::{
    Signal, UnixNanos,
    otlp::{
        collector::trace::v1::ExportTraceServiceRequest,
        trace::v1::{ResourceSpans, ScopeSpans, Span, Status},
    },
    time::SECOND_NS,
};
use geophone_tests::{
    fleet::{Request, SERVICE_SERIES, memory_mib, mixed, number, processor_seconds},
    load::service,
    server::{PATIENCE, Server},
};
use prost::Message;
use std::{
    collections::BTreeMap,
    fs,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

const DELAY_NS: u64 = SECOND_NS;
/// Spans of each service in a second.
const SPANS: u64 = 4;
/// Seconds between the beginnings of two faults, and length of each.
const EVERY: u64 = 3;
const LASTING: u64 = 60;
/// Requests under way at most; one more is not sent, and said so.
const OPEN_MAX: usize = 256;

#[allow(clippy::disallowed_methods, reason = "what is sent bears the time of now")]
fn now_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
}

/// What all failing services send in one second; `number` seconds have passed.
fn spans(second: u64, services: u64, warm: u64, now: u64) -> Vec<u8> {
    let of = |number: u64| {
        let fault = warm + number * EVERY;
        let fails = (fault..fault + LASTING).contains(&second);
        let span = |index: u64| {
            let id = second << 20 | number << 4 | index;
            let code = if fails && mixed(id, 1) % 10 < 8 { 2 } else { 0 };
            Span {
                trace_id: [number + 1, id + 1].map(u64::to_be_bytes).concat(),
                span_id: (id + 1).to_be_bytes().to_vec(),
                name: "GET /".into(),
                kind: 2,
                start_time_unix_nano: now - 5_000_000 - mixed(id, 2) % 2_000_000,
                end_time_unix_nano: now,
                status: Some(Status { code, ..Status::default() }),
                ..Span::default()
            }
        };
        let scope_spans = vec![ScopeSpans { spans: (0..SPANS).map(span).collect(), ..ScopeSpans::default() }];
        ResourceSpans { resource: Some(service(&format!("shop-{number}"))), scope_spans, ..ResourceSpans::default() }
    };
    ExportTraceServiceRequest { resource_spans: (0..services).map(of).collect() }.encode_to_vec()
}

/// Deliveries of the webhook: when each came, and its body.
type Heard = Arc<Mutex<Vec<(u64, serde_json::Value)>>>;

/// Takes every request, notes when it was there, and answers 200.
async fn receiver(mut stream: TcpStream, heard: Heard) -> Option<()> {
    let mut bytes = Vec::new();
    loop {
        let head = loop {
            if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            (stream.read_buf(&mut bytes).await.ok()? > 0).then_some(())?;
        };
        let text = String::from_utf8_lossy(&bytes[..head]).to_lowercase();
        let length: usize = text.lines().find_map(|line| line.strip_prefix("content-length:")).and_then(|n| n.trim().parse().ok())?;
        while bytes.len() < head + length {
            (stream.read_buf(&mut bytes).await.ok()? > 0).then_some(())?;
        }
        let at = now_ns();
        let body = serde_json::from_slice(&bytes[head..head + length]).ok()?;
        heard.lock().expect("nobody panics").push((at, body));
        bytes.drain(..head + length);
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.ok()?;
    }
}

async fn receive(listener: TcpListener, heard: Heard) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(receiver(stream, heard.clone()));
    }
}

/// What was sent: moment of sending by the time of its rows, and how much was left out.
#[derive(Default)]
struct Sent {
    at: BTreeMap<u64, u64>,
    points: u64,
    skipped: u64,
    failed: u64,
}

/// Sends at its pace, each request when it is due, whatever became of those before.
async fn send(client: Arc<Client>, requests: Vec<Request>, rate: u64, services: u64, warm: u64) -> Sent {
    let (mut sent, mut open) = (Sent::default(), JoinSet::new());
    let begun = tokio::time::Instant::now();
    let seconds = warm + services * EVERY + LASTING + 20;
    let (mut due_points, mut due_second) = (0u64, 0u64);
    for request in requests.iter().cycle() {
        let due = Duration::from_secs_f64(due_points as f64 / rate as f64);
        if due.as_secs() >= seconds {
            break;
        }
        tokio::time::sleep_until(begun + due).await;
        while let Some(taken) = open.try_join_next() {
            sent.failed += u64::from(!taken.unwrap_or(false));
        }
        let mut batch = vec![(Signal::Metrics, request.points())];
        if due.as_secs() >= due_second {
            batch.push((Signal::Traces, services * SPANS));
            due_second += 1;
        }
        for (signal, rows) in batch {
            let now = now_ns();
            let body = if signal == Signal::Metrics { request.at(now) } else { spans(due_second - 1, services, warm, now) };
            if open.len() >= OPEN_MAX {
                sent.skipped += rows;
                continue;
            }
            sent.at.insert(now, now_ns());
            let client = client.clone();
            open.spawn(async move { client.export_raw(signal, body.into(), rows).await.is_ok() });
        }
        sent.points += request.points();
        due_points += request.points();
    }
    sent.failed += open.join_all().await.into_iter().filter(|taken| !taken).count() as u64;
    sent
}

/// Milliseconds from the deciding request to each firing alert, the first of each incident.
fn delays(sent: &Sent, heard: &[(u64, serde_json::Value)]) -> Vec<f64> {
    let mut first: BTreeMap<&str, f64> = BTreeMap::new();
    for (at, body) in heard.iter().filter(|(_, body)| body["status"] == "firing") {
        let (id, opened) = (&body["commonLabels"]["incident_id"], &body["commonAnnotations"]["opened_at"]);
        let (Some(id), Some(opened)) = (id.as_str(), opened.as_str().and_then(UnixNanos::from_rfc3339)) else { continue };
        let Some((_, deciding)) = sent.at.range(opened.0 + DELAY_NS..).next() else { continue };
        first.entry(id).or_insert((*at as f64 - *deciding as f64) / 1e6);
    }
    let mut delays: Vec<f64> = first.into_values().collect();
    delays.sort_by(f64::total_cmp);
    delays
}

fn main() {
    let (series, rate) = (number("GEOPHONE_SERIES", 100_000), number("GEOPHONE_POINTS", 100_000));
    let (services, warm, limit) = (number("GEOPHONE_FAULTS", 120), number("GEOPHONE_WARM", 180), number("GEOPHONE_LIMIT", 512));
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime needs a few handles");
    let heard = Heard::default();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("loopback has a free port");
    let port = listener.local_addr().expect("it is bound").port();
    runtime.spawn(receive(listener, heard.clone()));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = folder.path().join("geophone.yaml");
    let text = format!(
        "memory_limit: {limit}MiB\ndetection: {{delay: 1s, series_max: {}}}\nalerts: {{webhook: [{{url: 'http://127.0.0.1:{port}/'}}]}}\n\
         models: {{rollback: {{latency_max: 10s}}}}\n",
        2 * series + 10_000
    );
    fs::write(&config, text).expect("the temporary folder is writable");
    let path = config.to_str().expect("temporary folders have plain names");
    let durability = std::env::var("GEOPHONE_DURABILITY").unwrap_or_else(|_| "fsync".into());
    let server = Server::start(&folder.path().join("data"), &["--config", path, "--durability", &durability]);
    let pid = server.pid();
    let config = ClientConfig { endpoint: server.grpc.clone(), timeout: PATIENCE, ..ClientConfig::default() };
    let client = Arc::new(Client::new(config).expect("the server printed its address"));
    let requests: Vec<Request> = (0..series.div_ceil(SERVICE_SERIES)).map(|number| Request::new(number, series)).collect();
    let begun = std::time::Instant::now();
    let sent = runtime.block_on(runtime.spawn(send(client, requests, rate, services, warm))).expect("it does not panic");
    let wall = begun.elapsed().as_secs_f64();
    let delays = delays(&sent, &heard.lock().expect("nobody panics"));
    let at = |share: f64| delays.get(((delays.len().max(1) - 1) as f64 * share).ceil() as usize).copied().unwrap_or(f64::NAN);
    println!(
        "{series} series, {:.0} points a second for {wall:.0} s, {} rows left out, {} requests refused; {:.2} cores, durability {durability}",
        sent.points as f64 / wall,
        sent.skipped,
        sent.failed,
        processor_seconds(pid) / wall
    );
    println!(
        "{} alerts of {services} faults: p50 {:.0} ms, p90 {:.0} ms, p99 {:.0} ms, most {:.0} ms",
        delays.len(),
        at(0.5),
        at(0.9),
        at(0.99),
        at(1.0)
    );
    let (now, most) = (memory_mib(pid, "VmRSS"), memory_mib(pid, "VmHWM"));
    println!(
        "memory: {now:.0} MiB now, {most:.0} MiB at most: {:.2} KiB a series, {:.2} at most",
        now * 1024.0 / series as f64,
        most * 1024.0 / series as f64
    );
    assert_eq!(server.stop(), Some(0));
}
