//! Scenario: gRPC calls, HTTP requests and bare connections with random and mutated fields, bodies and frames,
//! cut into random pieces.
//! Guarantees: whatever comes has an answer in the right form or ends the connection, and the server goes on.

use super::peer::*;
use crate::{
    Arrival, Receipt,
    campaign::campaign,
    walk::tests::{
        generate::{Dice, mutate},
        properties::random_wire,
    },
};
use bytes::Bytes;
use geophone_proto::{Signal, otlp::collector::trace::v1::ExportTraceServiceResponse};
use http::Request;
use http_body::{Body, Frame};
use prost::Message;
use std::{
    collections::VecDeque,
    convert::Infallible,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    runtime::Runtime,
    sync::watch,
};

/// A body in pieces.
struct Pieces(VecDeque<Bytes>);

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(|piece| Ok(Frame::data(piece))))
    }
}

fn cut(bytes: &[u8], dice: &mut Dice) -> Pieces {
    let mut pieces = VecDeque::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let scale = dice.below(14);
        let (piece, more) = rest.split_at((1 + dice.below(1 << scale)).min(rest.len()));
        pieces.push_back(Bytes::copy_from_slice(piece));
        rest = more;
    }
    Pieces(pieces)
}

/// A server whose log takes everything.
struct Running {
    runtime: Runtime,
    grpc: SocketAddr,
    http: SocketAddr,
    _stop: watch::Sender<bool>,
}

impl Running {
    fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let site = runtime.block_on(site(config()));
        let (grpc, http) = (site.grpc(), site.http());
        let (mut arrivals, stop) = (site.arrivals, site.stop);
        runtime.spawn(async move {
            while let Some(Arrival { receipt, .. }) = arrivals.recv().await {
                Receipt::ack(receipt)
            }
        });
        Self { runtime, grpc, http, _stop: stop }
    }

    /// A clean request is answered as ever.
    async fn lives(grpc: SocketAddr) -> Result<(), String> {
        let answer = call(grpc, TRACES, &[], frame(0, &spans(1).encode_to_vec())).await;
        if answer.status == 0 { Ok(()) } else { Err(format!("a clean request got {answer:?}")) }
    }
}

fn pick<'t>(dice: &mut Dice, texts: &[&'t str]) -> &'t str {
    texts[dice.below(texts.len())]
}

/// A request, packed in some way, perhaps broken.
fn body(dice: &mut Dice, signal: Signal) -> Vec<u8> {
    let mut wire = random_wire(signal, dice);
    if dice.once_in(2) {
        mutate(&mut wire, dice);
    }
    let mut packed = match dice.below(6) {
        0 => gzip(&wire).to_vec(),
        1 => zstd::encode_all(&*wire, 1).expect("memory takes all"),
        2 => gzip(&vec![0; dice.below(3 << 20)]).to_vec(),
        _ => wire,
    };
    if dice.once_in(3) {
        mutate(&mut packed, dice);
    }
    packed
}

async fn grpc_case(address: SocketAddr, seed: u64) -> Result<(), String> {
    let mut dice = Dice(seed);
    let path = pick(
        &mut dice,
        &[
            TRACES,
            TRACES,
            "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
            "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
            "/grpc.health.v1.Health/Check",
            "/x",
        ],
    );
    let signal = if path.contains("Metrics") { Signal::Metrics } else { Signal::Traces };
    let flag = [0, 0, 1, 1, 7][dice.below(5)];
    let mut framed = frame(flag, &body(&mut dice, signal)).to_vec();
    if dice.once_in(4) {
        mutate(&mut framed, &mut dice);
    }
    let mut request = Request::post(format!("http://{address}{path}")).header("content-type", "application/grpc+proto");
    let encoding = pick(&mut dice, &["", "identity", "gzip", "zstd", "deflate", "br", "GZIP ", "\u{7f}"]);
    if let Some(encoding) = Some(encoding).filter(|text| !text.is_empty()) {
        request = request.header("grpc-encoding", encoding.as_bytes());
    }
    if dice.once_in(4) {
        request = request.header("grpc-timeout", pick(&mut dice, &["1n", "99999999H", "", "S", "-1S", "1000000000S", "5"]));
    }
    let Ok(request) = request.body(cut(&framed, &mut dice)) else { return Ok(()) };
    let answer = read_answer(http2(address, request).await).await;
    if !matches!(answer.status, 0 | 3 | 4 | 5 | 8 | 12 | 13 | 14) {
        return Err(format!("status {}", answer.status));
    }
    if answer.status != 0 && answer.details.code != answer.status {
        return Err(format!("the details say {} and the status {}", answer.details.code, answer.status));
    }
    if answer.status == 13 && flag != 1 && framed.first() != Some(&1) {
        return Err("INTERNAL makes senders drop what is good".into());
    }
    if answer.status == 0 && signal == Signal::Traces && path == TRACES {
        ExportTraceServiceResponse::decode(answer.message).map_err(|error| error.to_string())?;
    }
    Ok(())
}

async fn http_case(address: SocketAddr, seed: u64) -> Result<(), String> {
    let mut dice = Dice(seed);
    let path = pick(&mut dice, &["/v1/traces", "/v1/traces", "/v1/metrics", "/v1/logs", "/v1", "/v1/traces/", "/%00"]);
    let kind = pick(&mut dice, &["application/x-protobuf", "application/json", "application/JSON;x", "text/plain", ""]);
    let bytes = body(&mut dice, Signal::Traces);
    let mut request = Request::post(path).header("host", "x").header("content-type", kind);
    let encoding = pick(&mut dice, &["", "", "identity", "gzip", "zstd", "deflate", "br", "gzip, gzip"]);
    if !encoding.is_empty() {
        request = request.header("content-encoding", encoding);
    }
    let Ok(request) = request.body(cut(&bytes, &mut dice)) else { return Ok(()) };
    let response = http1(address, request).await;
    let (status, is_json) = (response.status().as_u16(), response.headers()["content-type"] == "application/json");
    if !matches!(status, 200 | 400 | 404 | 413 | 415 | 503) || is_json != kind.to_ascii_lowercase().starts_with("application/json") {
        return Err(format!("{status} in {:?} to {kind}", response.headers()["content-type"]));
    }
    if is_json {
        return serde_json::from_slice::<serde_json::Value>(response.body()).map(drop).map_err(|error| error.to_string());
    }
    let read = if status == 200 {
        ExportTraceServiceResponse::decode(response.body().clone()).map(drop)
    } else {
        Status::decode(response.body().clone()).map(drop)
    };
    read.map_err(|error| format!("{status}: {error}"))
}

/// Frames of HTTP/2 after the preface, some of them as they should be.
fn frames(dice: &mut Dice) -> Vec<u8> {
    let mut out = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    out.extend_from_slice(&[0, 0, 0, 4, 0, 0, 0, 0, 0]);
    for _ in 0..1 + dice.below(20) {
        let payload: Vec<u8> = match dice.below(4) {
            0 => b"\x83\x86\x44\x0a/v1/traces\x41\x01x".to_vec(),
            1 => spans(1).encode_to_vec(),
            _ => (0..dice.below(40)).map(|_| dice.roll().to_le_bytes()[0]).collect(),
        };
        let len = if dice.once_in(10) { dice.below(1 << 20) } else { payload.len() };
        let [_, a, b, c] = u32::try_from(len).expect("small").to_be_bytes();
        let kind = u8::try_from(dice.below(12)).expect("small");
        let flags = [0, 1, 4, 5, 0xff][dice.below(5)];
        let stream = [0, 1, 1, 3, 2, 0xff][dice.below(6)];
        out.extend_from_slice(&[a, b, c, kind, flags, 0, 0, 0, stream]);
        out.extend_from_slice(&payload);
    }
    out
}

async fn connection_case(address: SocketAddr, seed: u64) -> Result<(), String> {
    let mut dice = Dice(seed);
    let mut bytes = if dice.once_in(2) {
        frames(&mut dice)
    } else {
        let length = pick(&mut dice, &["content-length: 5", "transfer-encoding: chunked", "content-length: x", "expect: 100-continue"]);
        let kind = pick(&mut dice, &["application/json", "application/grpc", "application/x-protobuf"]);
        format!("POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: {kind}\r\n{length}\r\n\r\n2\r\n{{}}\r\n0\r\n\r\n").into_bytes()
    };
    if dice.once_in(2) {
        mutate(&mut bytes, &mut dice);
    }
    let mut stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
    for piece in cut(&bytes, &mut dice).0 {
        // The server may have had enough.
        if stream.write_all(&piece).await.is_err() {
            break;
        }
    }
    stream.shutdown().await.ok();
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut answer)).await;
    read.map(drop).map_err(|_| format!("the connection did not end\n  {bytes:02x?}"))
}

#[test]
fn fuzz_grpc() {
    let running = Running::start();
    campaign("fuzz_grpc", |seed| running.runtime.block_on(grpc_case(running.grpc, seed)));
    running.runtime.block_on(Running::lives(running.grpc)).expect("the server goes on");
}

#[test]
fn fuzz_http() {
    let running = Running::start();
    campaign("fuzz_http", |seed| running.runtime.block_on(http_case(running.http, seed)));
    running.runtime.block_on(Running::lives(running.grpc)).expect("the server goes on");
}

#[test]
fn fuzz_connection() {
    let running = Running::start();
    campaign("fuzz_connection", |seed| running.runtime.block_on(connection_case(running.http, seed)));
    running.runtime.block_on(Running::lives(running.grpc)).expect("the server goes on");
}
