//! CPU nanoseconds a span from socket to acknowledgement, sender included: gRPC over loopback, closed
//! loop, 64 in flight on four connections. `cargo bench -p geophone-ingest --bench server`.

use bytes::Bytes;
use geophone_ingest::{Arrival, Config, serve};
use geophone_proto::{
    UnixNanos,
    otlp::{
        collector::trace::v1::ExportTraceServiceRequest,
        common::v1::{AnyValue, KeyValue, any_value::Value},
        trace::v1::{ResourceSpans, ScopeSpans, Span},
    },
    seam::Clock,
};
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use std::{net::SocketAddr, sync::Arc, time::Instant};
use tokio::{
    net::TcpStream,
    sync::{mpsc, watch},
};

const CONNECTIONS: usize = 4;
const IN_FLIGHT: usize = 16;
const PATH: &str = "opentelemetry.proto.collector.trace.v1.TraceService/Export";

struct Still;

impl Clock for Still {
    fn now(&self) -> UnixNanos {
        UnixNanos(1)
    }
}

fn frame(spans: u64) -> Bytes {
    let pair = |place: u64| KeyValue {
        key: format!("some.attribute.{place}"),
        value: Some(AnyValue { value: Some(Value::StringValue(format!("its value {place}"))) }),
        ..KeyValue::default()
    };
    let span = |at: u64| Span {
        trace_id: [at + 1, at].map(u64::to_le_bytes).concat(),
        span_id: (at + 1).to_le_bytes().to_vec(),
        name: format!("GET /operation/{}", at % 40),
        kind: 2,
        start_time_unix_nano: 1_700_000_000_000_000_000,
        end_time_unix_nano: 1_700_000_000_100_000_000,
        attributes: (0..10).map(pair).collect(),
        ..Span::default()
    };
    let scope_spans = vec![ScopeSpans { spans: (0..spans).map(span).collect(), ..ScopeSpans::default() }];
    let request = ExportTraceServiceRequest { resource_spans: vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }] };
    let message = request.encode_to_vec();
    [&[0], u32::try_from(message.len()).expect("small").to_be_bytes().as_slice(), &message].concat().into()
}

/// CPU time of the whole process so far, in nanoseconds, from the kernel's ticks of 10 ms.
fn cpu_ns() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|ticks| ticks.parse::<f64>().ok()).unwrap_or_default();
    (ticks(11) + ticks(12)) * 1e7
}

async fn send(address: SocketAddr, body: Bytes, requests: usize) {
    let stream = TcpStream::connect(address).await.expect("the server listens");
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("HTTP/2");
    tokio::spawn(connection);
    let lanes = (0..IN_FLIGHT).map(|_| {
        let (mut sender, body) = (sender.clone(), body.clone());
        tokio::spawn(async move {
            for _ in 0..requests / IN_FLIGHT {
                let request = Request::post(format!("http://{address}/{PATH}")).header("content-type", "application/grpc");
                let request = request.body(Full::new(body.clone())).expect("valid");
                let answer = sender.send_request(request).await.expect("an answer").into_body().collect().await.expect("whole");
                assert_eq!(answer.trailers().map(|trailers| trailers["grpc-status"].as_bytes()), Some(b"0".as_slice()));
            }
        })
    });
    for lane in lanes.collect::<Vec<_>>() {
        lane.await.expect("no panic");
    }
}

#[tokio::main]
#[allow(clippy::print_stdout, reason = "a benchmark prints")]
async fn main() {
    let (sink, mut arrivals) = mpsc::channel::<Arrival>(64);
    let (_stop, stopped) = watch::channel(false);
    let config = Config { grpc: Some(SocketAddr::from(([127, 0, 0, 1], 0))), http: None, ..Config::default() };
    let listening = serve(config, Arc::new(Still), sink, stopped).await.expect("loopback has free ports");
    let address = listening.grpc.expect("configured");
    tokio::spawn(async move {
        while let Some(arrival) = arrivals.recv().await {
            arrival.receipt.ack();
        }
    });
    println!("{:>13} {:>9} {:>14} {:>12}", "spans/request", "requests", "CPU ns/span", "spans/s");
    for (spans, requests) in [(10u32, 20_000), (100, 8_000), (1000, 1_000)] {
        let body = frame(spans.into());
        let requests = requests / CONNECTIONS / IN_FLIGHT * IN_FLIGHT;
        let (start, before) = (Instant::now(), cpu_ns());
        let senders: Vec<_> = (0..CONNECTIONS).map(|_| tokio::spawn(send(address, body.clone(), requests))).collect();
        for sender in senders {
            sender.await.expect("no panic");
        }
        let sent = f64::from(spans) * f64::from(u32::try_from(requests * CONNECTIONS).expect("few"));
        let (cpu, wall) = ((cpu_ns() - before) / sent, start.elapsed().as_secs_f64());
        println!("{spans:13} {:9} {cpu:14.0} {:12.0}", requests * CONNECTIONS, sent / wall);
    }
}
