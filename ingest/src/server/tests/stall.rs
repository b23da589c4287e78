//! Scenario: the log gives no answer for a while under load; senders give up, come again, go away. And peers
//! that hold what they can: streams without end, answers unread, thousands of idle connections.
//! Guarantees: nothing acked is lost, nothing is committed twice, memory stays within the budget, what was
//! queued drains; whoever holds without moving is bounded and closed, and keeps nobody out.

use super::peer::*;
use crate::{Access, Arrival, Config, Receipt, server::reception::Patience};
use bytes::Bytes;
use geophone_proto::otlp::{
    collector::{logs::v1::ExportLogsServiceRequest, trace::v1::ExportTraceServiceRequest},
    logs::v1::{LogRecord, ResourceLogs, ScopeLogs},
};
use http::Request;
use http_body_util::Full;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{io::AsyncReadExt, net::TcpStream, runtime::Runtime, task::JoinSet};

const SENDERS: usize = 24;
/// Refusals and timeouts that senders see before the log answers again.
const TROUBLES: usize = 150;

/// One span whose name says whose it is.
fn named(sender: usize) -> Bytes {
    let mut request = spans(1);
    request.resource_spans[0].scope_spans[0].spans[0].name = format!("{sender} {}", "x".repeat(16 << 10));
    frame(0, &request.encode_to_vec())
}

fn sender_of(wire: &[u8]) -> usize {
    let request = ExportTraceServiceRequest::decode(wire).expect("what was sent");
    let name = &request.resource_spans[0].scope_spans[0].spans[0].name;
    name.split(' ').next().and_then(|number| number.parse().ok()).expect("a number")
}

/// Sends until acked, as clients do: again after every retryable answer, none longer than a moment.
async fn persist(address: SocketAddr, sender: usize, troubles: Arc<AtomicUsize>) {
    let body = named(sender);
    loop {
        let answer = call(address, TRACES, &[("grpc-timeout", "60m")], body.clone()).await;
        match answer.status {
            0 => return,
            4 => {}
            14 => assert!(answer.details.has("RetryInfo"), "{answer:?}"),
            other => panic!("status {other} would make the sender drop its data: {answer:?}"),
        }
        troubles.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn a_stall_of_the_log_loses_nothing_and_counts_nothing_twice() {
    let budget_bytes = 400 << 10;
    let mut site = site(Config { budget_bytes, request_bytes_max: 100 << 10, connections_max: 64, ..config() }).await;
    let troubles = Arc::new(AtomicUsize::new(0));
    let mut senders = JoinSet::new();
    (0..SENDERS).for_each(|sender| drop(senders.spawn(persist(site.grpc(), sender, Arc::clone(&troubles)))));
    let mut committed: BTreeMap<usize, usize> = BTreeMap::new();
    let mut held: Vec<Arrival> = Vec::new();
    let mut clock = tokio::time::interval(Duration::from_millis(5));
    loop {
        tokio::select! {
            // While nothing new comes in, the log wakes up all the same.
            _ = clock.tick() => {}
            Some(arrival) = site.arrivals.recv() => held.push(arrival),
            done = senders.join_next() => match done {
                Some(done) => done.expect("no sender gives up"),
                None => break,
            },
        }
        let bytes: usize = held.iter().map(|arrival| arrival.receipt.bytes()).sum();
        assert!(bytes <= budget_bytes, "{bytes} bytes are held");
        if troubles.load(Ordering::Relaxed) >= TROUBLES {
            for arrival in held.drain(..) {
                *committed.entry(sender_of(&arrival.export.wire)).or_default() += 1;
                arrival.receipt.ack();
            }
        }
    }
    assert!(troubles.load(Ordering::Relaxed) >= TROUBLES, "there was a stall");
    assert_eq!(committed, (0..SENDERS).map(|sender| (sender, 1)).collect(), "each is committed once");
}

#[tokio::test]
async fn who_went_before_the_answer_and_comes_again_gets_that_answer() {
    let mut site = site(config()).await;
    let address = site.grpc();
    let body = named(1);
    let first = call(address, TRACES, &[("grpc-timeout", "50m")], body.clone());
    let mut kept = Vec::new();
    let (answer, _) = site.answering(first, |receipt| kept.push(receipt)).await;
    assert_eq!((answer.status, kept.len()), (4, 1));
    // Comes again while the first is on its way, is nacked with it, and then is a request like any other.
    let again = tokio::spawn(call_owned(address, body.clone()));
    tokio::task::yield_now().await;
    kept.drain(..).for_each(|receipt| receipt.nack(geophone_proto::Class::Retry, "disk is full".into()));
    assert_eq!(again.await.expect("no panic").status, 14);
    let (answer, seen) = site.answering(call(address, TRACES, &[], body.clone()), Receipt::ack).await;
    assert_eq!((answer.status, seen.len()), (0, 1));
    // An answer that was heard is no reason to ignore the same bytes.
    let (answer, seen) = site.answering(call(address, TRACES, &[], body), Receipt::ack).await;
    assert_eq!((answer.status, seen.len()), (0, 1));
}

#[tokio::test]
async fn while_the_log_stands_still_a_request_is_told_at_once_when_to_come_again() {
    let access = Access::default();
    let mut site = site(Config { access: access.clone(), ..config() }).await;
    let body = spans(1).encode_to_vec();
    let writing = site.listening.pressure.writing(Duration::ZERO);
    let answer = call(site.grpc(), TRACES, &[], frame(0, &body)).await;
    assert!(answer.status == 14 && answer.details.has("RetryInfo"), "{answer:?}");
    let headers = [("content-type", "application/x-protobuf")];
    let answer = post(site.http(), "/v1/traces", &headers, body.clone().into()).await;
    assert_eq!((answer.status().as_u16(), answer.headers()["retry-after"].as_bytes()), (503, b"1".as_slice()));
    assert!(site.arrivals.try_recv().is_err(), "what is refused is not passed on");
    assert_eq!(&*health(site.grpc()).await, [8, 2].as_slice(), "NOT_SERVING: who balances load sends elsewhere");
    let traffic = access.traffic();
    assert!(traffic.iter().all(|line| line.counts.refused_requests == [("stalled", 1)]), "{traffic:?}");
    drop(writing);
    let (answer, _) = site.answering(call(site.grpc(), TRACES, &[], frame(0, &body)), Receipt::ack).await;
    assert_eq!(answer.status, 0, "it goes on by itself");
    assert_eq!(&*health(site.grpc()).await, [8, 1].as_slice());
}

async fn health(address: SocketAddr) -> Bytes {
    call(address, "/grpc.health.v1.Health/Check", &[], frame(0, &[])).await.message
}

async fn call_owned(address: SocketAddr, body: Bytes) -> Answer {
    call(address, TRACES, &[], body).await
}

#[tokio::test]
async fn who_never_fits_is_told_what_does_not_fit_and_what_to_do() {
    let site = site(Config { budget_bytes: 64 << 10, request_bytes_max: 1 << 20, ..config() }).await;
    // In force is what all open requests may hold.
    let answer = call(site.grpc(), TRACES, &[], frame(0, &vec![0; 100 << 10])).await;
    assert_eq!((answer.status, answer.details.has("RetryInfo")), (8, false));
    assert!(answer.details.message.contains("larger than 65536 bytes"), "{answer:?}");
    // Small enough as sent, but not with its columns.
    let body = spans(250).encode_to_vec();
    let many: Vec<u8> = body.repeat(6);
    assert!(many.len() < 60 << 10);
    let headers = [("content-type", "application/x-protobuf")];
    let answer = post(site.http(), "/v1/traces", &headers, many.into()).await;
    assert_eq!((answer.status().as_u16(), answer.headers().contains_key("retry-after")), (413, false));
    let message = Status::decode(answer.into_body()).expect("a status").message;
    assert!(message.contains("hold more than 65536 bytes, its columns included") && message.contains("`memory_limit`"), "{message}");
}

#[tokio::test]
async fn rows_of_two_bytes_stay_within_the_budget() {
    let site = site(Config { budget_bytes: 2 << 20, ..config() }).await;
    let scope_logs = vec![ScopeLogs { log_records: vec![LogRecord::default(); 200_000], ..ScopeLogs::default() }];
    let request = ExportLogsServiceRequest { resource_logs: vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }] };
    let body = frame(1, &gzip(&request.encode_to_vec()));
    assert!(body.len() < 4 << 10, "small as sent");
    let path = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";
    let answer = call(site.grpc(), path, &[("grpc-encoding", "gzip")], body).await;
    assert_eq!((answer.status, answer.details.has("RetryInfo")), (8, false), "it never will fit");
}

async fn dial(address: SocketAddr, window: u32) -> (http2::SendRequest<Full<Bytes>>, tokio::task::JoinHandle<()>) {
    let stream = TcpStream::connect(address).await.expect("the server listens");
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder.initial_stream_window_size(window);
    let (line, connection) = builder.handshake(TokioIo::new(stream)).await.expect("the server speaks HTTP/2");
    let connection = tokio::spawn(async move {
        // However it ends, it has ended.
        connection.await.ok();
    });
    (line, connection)
}

fn request(address: SocketAddr, body: Bytes) -> Request<Full<Bytes>> {
    Request::post(format!("http://{address}{TRACES}")).header("content-type", "application/grpc").body(Full::new(body)).expect("valid")
}

#[tokio::test]
async fn a_connection_has_a_bounded_number_of_streams() {
    let mut site = site(Config { budget_bytes: 64 << 20, ..config() }).await;
    let (line, _connection) = dial(site.grpc(), 1 << 16).await;
    let mut calls = JoinSet::new();
    for _ in 0..300 {
        let (mut line, request) = (line.clone(), request(site.grpc(), frame(0, &spans(1).encode_to_vec())));
        calls.spawn(async move { read_answer(line.send_request(request).await.expect("every request has an answer")).await.status });
    }
    let mut held = Vec::new();
    for _ in 0..256 {
        held.push(site.arrivals.recv().await.expect("the server runs").receipt);
    }
    let more = tokio::time::timeout(Duration::from_millis(100), site.arrivals.recv()).await;
    assert!(more.is_err(), "256 streams are open, the others wait");
    held.into_iter().for_each(Receipt::ack);
    let (statuses, _) = site.answering(calls.join_all(), Receipt::ack).await;
    assert_eq!(statuses, vec![0; 300]);
}

#[tokio::test]
async fn who_takes_no_answer_is_given_up() {
    let patience = Patience { answer: Duration::from_millis(200), ..Patience::default() };
    let mut site = patient_site(config(), patience).await;
    // The peer grants no byte for answers, and keeps the connection alive.
    let (mut line, connection) = dial(site.grpc(), 0).await;
    let sent = tokio::spawn(line.send_request(request(site.grpc(), frame(0, &spans(1).encode_to_vec()))));
    let (ended, _) = site.answering(connection, Receipt::ack).await;
    ended.expect("no panic");
    drop(sent);
}

#[tokio::test]
async fn idle_connections_are_ended() {
    let patience = Patience { idle: Duration::from_millis(100), ..Patience::default() };
    let mut site = patient_site(config(), patience).await;
    let (mut line, connection) = dial(site.grpc(), 1 << 16).await;
    let sent = line.send_request(request(site.grpc(), frame(0, &spans(1).encode_to_vec())));
    let (response, _) = site.answering(sent, Receipt::ack).await;
    assert_eq!(read_answer(response.expect("an answer")).await.status, 0);
    connection.await.expect("the server says good-bye");
}

/// A peer that has its answer and then neither reads nor writes: its runtime stands still, its connection stays open.
fn falls_silent(address: SocketAddr) -> (i32, Runtime, http2::SendRequest<Full<Bytes>>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime needs a few handles");
    let (status, line) = runtime.block_on(async {
        let (mut line, _) = dial(address, 1 << 16).await;
        let sent = line.send_request(request(address, frame(0, &spans(1).encode_to_vec()))).await;
        (read_answer(sent.expect("an answer")).await.status, line)
    });
    (status, runtime, line)
}

#[tokio::test]
async fn a_silent_peer_does_not_hold_up_the_stop() {
    let mut site = site(config()).await;
    let address = site.grpc();
    let peer = tokio::task::spawn_blocking(move || falls_silent(address));
    let (peer, _) = site.answering(peer, Receipt::ack).await;
    let (status, runtime, line) = peer.expect("no panic");
    assert_eq!(status, 0);
    // From here on nobody reads at the peer's end: the good-bye is neither heard nor answered.
    site.stop.send_replace(true);
    let patience = Patience::default().stop / 4;
    tokio::time::timeout(patience, site.listening.stopped()).await.expect("nothing is open");
    drop(line);
    runtime.shutdown_background();
}

/// As many as the limit of open files lets both ends of the test have.
fn idle_count() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let files = limits.lines().find_map(|line| line.strip_prefix("Max open files")?.split_whitespace().next()?.parse().ok());
    let files: usize = files.unwrap_or(1024);
    10_000.min(files * 3 / 5)
}

#[tokio::test]
async fn thousands_of_idle_connections_keep_nobody_out() {
    let connections_max = 64;
    let mut site = site(Config { connections_max, ..config() }).await;
    let count = idle_count();
    let mut idle = Vec::with_capacity(count);
    for _ in 0..count {
        idle.push(TcpStream::connect(site.http()).await.expect("the server listens"));
    }
    let body = frame(0, &spans(1).encode_to_vec());
    let (answer, _) = site.answering(call(site.grpc(), TRACES, &[], body), Receipt::ack).await;
    assert_eq!(answer.status, 0, "among {count} idle connections");
    let made_room = count - connections_max;
    for stream in &mut idle[..made_room] {
        assert_eq!(stream.read(&mut [0]).await.unwrap_or(0), 0, "the oldest are closed");
    }
}
