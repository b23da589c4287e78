//! Scenario: senders that are too large, too many, too slow, too eager; and a stop.
//! Guarantees: OTLP-03, 04, 31, 35; the budget is decided before the body is read and given back whole.

use super::peer::*;
use crate::{Config, Receipt, server::reception::Patience};
use bytes::Bytes;
use geophone_proto::UnixNanos;
use http::Request;
use http_body::{Body, Frame};
use prost::Message;
use std::{
    convert::Infallible,
    pin::Pin,
    sync::atomic::Ordering,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc,
};

/// A body whose pieces come from a channel.
fn piecewise() -> (mpsc::Sender<Bytes>, impl Body<Data = Bytes, Error = Infallible> + Send + Unpin + 'static) {
    let (sender, receiver) = mpsc::channel::<Bytes>(1);
    (sender, Pieces(receiver))
}

struct Pieces(mpsc::Receiver<Bytes>);

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }
}

fn grpc_request<B>(address: std::net::SocketAddr, body: B) -> Request<B> {
    Request::post(format!("http://{address}{TRACES}")).header("content-type", "application/grpc").body(body).expect("valid")
}

#[tokio::test]
async fn a_message_announced_too_large_is_refused_before_it_comes() {
    let site = site(config()).await;
    let (pieces, body) = piecewise();
    pieces.send(Bytes::from_static(&[0, 0x10, 0, 0, 0])).await.expect("the body is open");
    let answer = read_answer(http2(site.grpc(), grpc_request(site.grpc(), body)).await).await;
    assert_eq!((answer.status, answer.details.has("RetryInfo")), (8, false));
}

#[tokio::test]
async fn bombs_stop_at_the_limit() {
    let site = site(config()).await;
    let zeros = vec![0; 8 << 20];
    let zstd = Bytes::from(zstd::encode_all(&*zeros, 1).expect("memory takes all"));
    for (encoding, packed) in [("gzip", gzip(&zeros)), ("zstd", zstd)] {
        assert!(packed.len() < 1 << 20, "small as sent");
        let answer = call(site.grpc(), TRACES, &[("grpc-encoding", encoding)], frame(1, &packed)).await;
        assert_eq!((answer.status, answer.details.has("RetryInfo")), (8, false), "{encoding}");
    }
}

#[tokio::test]
async fn over_budget_is_said_before_the_body_comes_and_ends_with_the_open_request() {
    let mut site = site(Config { budget_bytes: 20 << 10, ..config() }).await;
    site.listening.pressure.drain_rate(1 << 10);
    let body = frame(0, &spans(1).encode_to_vec());
    let first = tokio::spawn(call_owned(site.grpc(), body.clone()));
    let arrival = site.arrivals.recv().await.expect("the first fits");
    // The second sends nothing but its head, and is answered.
    let (_pieces, endless) = piecewise();
    let answer = read_answer(http2(site.grpc(), grpc_request(site.grpc(), endless)).await).await;
    assert_eq!((answer.status, answer.details.has("RetryInfo")), (14, true));
    let headers = [("content-type", "application/x-protobuf"), ("content-length", "20000")];
    let mut request = Request::post("/v1/traces").header("host", "x");
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let (_pieces, endless) = piecewise();
    let response = http1(site.http(), request.body(endless).expect("valid")).await;
    assert_eq!(response.status().as_u16(), 503);
    let delay: u64 = response.headers()["retry-after"].to_str().expect("digits").parse().expect("seconds");
    assert!((2..=20).contains(&delay), "a few KiB too many at a KiB a second, got {delay} s");
    arrival.receipt.ack();
    assert_eq!(first.await.expect("no panic").status, 0);
    let (answer, _) = site.answering(call(site.grpc(), TRACES, &[], body), Receipt::ack).await;
    assert_eq!(answer.status, 0, "the first gave back what it held");
}

async fn call_owned(address: std::net::SocketAddr, body: Bytes) -> Answer {
    call(address, TRACES, &[], body).await
}

#[tokio::test]
async fn a_body_that_stops_coming_is_told_to_come_again() {
    let patience = Patience { piece: Duration::from_millis(30), ..Patience::default() };
    let site = patient_site(config(), patience).await;
    let (pieces, body) = piecewise();
    pieces.send(Bytes::from_static(&[0, 0, 0])).await.expect("the body is open");
    let answer = read_answer(http2(site.grpc(), grpc_request(site.grpc(), body)).await).await;
    assert_eq!((answer.status, answer.details.has("RetryInfo")), (14, true));
}

#[tokio::test]
async fn silent_and_surplus_connections_are_closed() {
    let patience = Patience { silence: Duration::from_millis(30), ..Patience::default() };
    let site = patient_site(Config { connections_max: 1, ..config() }, patience).await;
    let mut silent = TcpStream::connect(site.http()).await.expect("the server listens");
    silent.write_all(b"P").await.expect("open");
    let mut surplus = TcpStream::connect(site.http()).await.expect("the backlog takes it");
    assert_eq!(surplus.read(&mut [0]).await.unwrap_or(0), 0, "one too many");
    assert_eq!(silent.read(&mut [0]).await.unwrap_or(0), 0, "said nothing");
}

#[tokio::test]
async fn a_throttled_service_is_let_in_once_per_delay() {
    let mut site = site(config()).await;
    let second = 1_000_000_000;
    site.listening.throttle.slow("unknown_service", Duration::from_secs(5), UnixNanos(60 * second));
    let body = frame(0, &spans(1).encode_to_vec());
    let mut statuses = Vec::new();
    for at in [1, 2, 6, 7, 11, 60, 61] {
        site.hands.0.store(at * second, Ordering::Relaxed);
        let (answer, _) = site.answering(call(site.grpc(), TRACES, &[], body.clone()), Receipt::ack).await;
        assert_eq!(answer.status == 14, answer.details.has("RetryInfo"));
        statuses.push(answer.status);
    }
    assert_eq!(statuses, [14, 14, 0, 14, 0, 0, 0]);
}

#[tokio::test]
async fn stop_finishes_open_requests_and_takes_no_more() {
    let mut site = site(config()).await;
    let address = site.grpc();
    let open = tokio::spawn(call_owned(address, frame(0, &spans(1).encode_to_vec())));
    let arrival = site.arrivals.recv().await.expect("it fits");
    site.stop.send(true).expect("the server runs");
    let stopped = tokio::spawn(site.listening.stopped());
    arrival.receipt.ack();
    assert_eq!(open.await.expect("no panic").status, 0);
    stopped.await.expect("no panic");
    assert!(TcpStream::connect(address).await.is_err(), "nobody listens any more");
}
