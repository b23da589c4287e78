//! The other side: a sender over `hyper`, a clock that stands still, and a log that answers at once.

use crate::{
    Arrival, Config, Listening, Receipt,
    server::{listen::serve_with, reception::Patience},
};
use bytes::Bytes;
use geophone_proto::{
    UnixNanos,
    otlp::{
        collector::trace::v1::ExportTraceServiceRequest,
        trace::v1::{ResourceSpans, ScopeSpans, Span},
    },
    seam::Clock,
};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::{
    net::TcpStream,
    sync::{mpsc, watch},
};

/// A clock that moves when told.
pub(crate) struct Hands(pub(crate) AtomicU64);

impl Clock for Hands {
    fn now(&self) -> UnixNanos {
        UnixNanos(self.0.load(Ordering::Relaxed))
    }
}

/// A running server and its sink.
pub(crate) struct Site {
    pub(crate) listening: Listening,
    pub(crate) arrivals: mpsc::Receiver<Arrival>,
    pub(crate) stop: watch::Sender<bool>,
    pub(crate) hands: Arc<Hands>,
}

/// Any free ports, small limits.
pub(crate) fn config() -> Config {
    let any = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
    Config { grpc: any, http: any, request_bytes_max: 1 << 20, budget_bytes: 16 << 20, connections_max: 16, ..Config::default() }
}

pub(crate) async fn site(config: Config) -> Site {
    patient_site(config, Patience::default()).await
}

pub(crate) async fn patient_site(config: Config, patience: Patience) -> Site {
    let (sink, arrivals) = mpsc::channel(8);
    let (stop, stopped) = watch::channel(false);
    let hands = Arc::new(Hands(AtomicU64::new(1)));
    let clock: Arc<dyn Clock> = hands.clone();
    let listening = serve_with(config, patience, (clock, sink), stopped).await.expect("loopback has free ports");
    Site { listening, arrivals, stop, hands }
}

impl Site {
    pub(crate) fn grpc(&self) -> SocketAddr {
        self.listening.grpc.expect("configured")
    }

    pub(crate) fn http(&self) -> SocketAddr {
        self.listening.http.expect("configured")
    }

    /// Runs `call` while every arrival is answered by `verdict`; gives the answer and what arrived.
    pub(crate) async fn answering<T>(
        &mut self,
        call: impl Future<Output = T>,
        mut verdict: impl FnMut(Receipt),
    ) -> (T, Vec<geophone_proto::record::Export>) {
        let mut seen = Vec::new();
        tokio::pin!(call);
        loop {
            tokio::select! {
                answer = call.as_mut() => return (answer, seen),
                Some(arrival) = self.arrivals.recv() => {
                    seen.push(arrival.export);
                    verdict(arrival.receipt);
                }
            }
        }
    }
}

/// A valid request of so many spans.
pub(crate) fn spans(count: u8) -> ExportTraceServiceRequest {
    let span = |at: u8| Span { trace_id: vec![1; 16], span_id: vec![at + 1; 8], name: format!("span {at}"), ..Span::default() };
    let scope_spans = vec![ScopeSpans { spans: (0..count).map(span).collect(), ..ScopeSpans::default() }];
    ExportTraceServiceRequest { resource_spans: vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }] }
}

/// The same with a second span that has no trace id.
pub(crate) fn odd_spans() -> ExportTraceServiceRequest {
    let mut request = spans(3);
    request.resource_spans[0].scope_spans[0].spans[1].trace_id.clear();
    request
}

/// What a unary call gave.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: i32,
    pub(crate) message: Bytes,
    pub(crate) headers: HeaderMap,
    /// `google.rpc.Status` of the details header.
    pub(crate) details: Status,
}

/// `google.rpc.Status`, as peers know it.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Status {
    #[prost(int32, tag = "1")]
    pub(crate) code: i32,
    #[prost(string, tag = "2")]
    pub(crate) message: String,
    #[prost(message, repeated, tag = "3")]
    pub(crate) details: Vec<Any>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Any {
    #[prost(string, tag = "1")]
    pub(crate) type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) value: Vec<u8>,
}

impl Status {
    pub(crate) fn has(&self, name: &str) -> bool {
        self.details.iter().any(|any| any.type_url == format!("type.googleapis.com/google.rpc.{name}"))
    }
}

/// A message with gRPC's prefix.
pub(crate) fn frame(flag: u8, message: &[u8]) -> Bytes {
    let len = u32::try_from(message.len()).expect("small").to_be_bytes();
    [&[flag], len.as_slice(), message].concat().into()
}

pub(crate) const TRACES: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// Sends one request over HTTP/2 with prior knowledge.
pub(crate) async fn http2<B>(address: SocketAddr, request: Request<B>) -> Response<hyper::body::Incoming>
where
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let stream = TcpStream::connect(address).await.expect("the server listens");
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.expect("the server speaks HTTP/2");
    tokio::spawn(connection);
    sender.send_request(request).await.expect("every request has an answer")
}

pub(crate) async fn call(address: SocketAddr, path: &str, headers: &[(&'static str, &str)], body: Bytes) -> Answer {
    let mut request = Request::post(format!("http://{address}{path}")).header("content-type", "application/grpc").header("te", "trailers");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    read_answer(http2(address, request.body(Full::new(body)).expect("valid")).await).await
}

pub(crate) async fn read_answer(response: Response<hyper::body::Incoming>) -> Answer {
    assert_eq!((response.status(), response.headers()["content-type"].as_bytes()), (StatusCode::OK, b"application/grpc".as_slice()));
    let mut headers = response.headers().clone();
    let body = response.into_body().collect().await.expect("a whole answer");
    headers.extend(body.trailers().cloned().unwrap_or_default());
    let bytes = body.to_bytes();
    let status = headers["grpc-status"].to_str().expect("digits").parse().expect("a number");
    let details = headers.get("grpc-status-details-bin").map(|value| value.to_str().expect("base64").to_owned()).unwrap_or_default();
    let details = crate::json::from_base64(&details).expect("base64");
    let message = if status == 0 { bytes.slice(5..) } else { Bytes::new() };
    Answer { status, message, headers, details: Status::decode(&*details).expect("a status") }
}

/// Sends bytes over a fresh HTTP/1.1 connection and reads the whole answer: status, headers, body.
pub(crate) async fn post(address: SocketAddr, path: &str, headers: &[(&'static str, &str)], body: Bytes) -> Response<Bytes> {
    let mut request = Request::post(path).header("host", "x");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    http1(address, request.body(Full::new(body)).expect("valid")).await
}

pub(crate) async fn http1<B>(address: SocketAddr, request: Request<B>) -> Response<Bytes>
where
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let stream = TcpStream::connect(address).await.expect("the server listens");
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("a connection");
    tokio::spawn(connection);
    let (head, body) = sender.send_request(request).await.expect("every request has an answer").into_parts();
    Response::from_parts(head, body.collect().await.expect("a whole answer").to_bytes())
}

pub(crate) fn gzip(bytes: &[u8]) -> Bytes {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).expect("memory takes all");
    encoder.finish().expect("memory takes all").into()
}
