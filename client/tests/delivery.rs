//! The client against a scripted server on loopback: every retryable and every final status, over
//! gRPC and HTTP, throttling, partial success, size limits, the queue.

use bytes::Bytes;
use geophone_client::{Client, ClientConfig, ClientError, Compression, ExportRequest, Protocol, Queue, RetryPolicy};
use geophone_proto::{
    Class, Signal,
    otlp::{
        collector::trace::v1::{ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse},
        trace::v1::{ResourceSpans, ScopeSpans, Span},
    },
};
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use prost::Message;
use std::{
    collections::VecDeque,
    convert::Infallible,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

/// What the server says next.
#[derive(Clone, Default)]
struct Reply {
    http_status: u16,
    fields: Vec<(&'static str, String)>,
    trailers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

/// What the server was sent.
#[derive(Clone, Debug)]
struct Got {
    path: String,
    fields: HeaderMap,
    body: Bytes,
}

#[derive(Clone, Default)]
struct Script {
    replies: Arc<Mutex<VecDeque<Reply>>>,
    got: Arc<Mutex<Vec<Got>>>,
}

impl Script {
    fn of(replies: impl IntoIterator<Item = Reply>) -> Self {
        Self { replies: Arc::new(Mutex::new(replies.into_iter().collect())), got: Arc::default() }
    }

    fn got(&self) -> Vec<Got> {
        self.got.lock().expect("no test panics while it holds the lock").clone()
    }

    async fn answer(
        self,
        request: Request<Incoming>,
    ) -> Result<Response<impl http_body::Body<Data = Bytes, Error = Infallible>>, Infallible> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        self.got.lock().expect("unpoisoned").push(Got { path: head.uri.path().to_owned(), fields: head.headers, body });
        let reply = self.replies.lock().expect("unpoisoned").pop_front().unwrap_or(Reply { http_status: 418, ..Reply::default() });
        let mut response = Response::builder().status(reply.http_status);
        for (name, value) in &reply.fields {
            response = response.header(*name, value);
        }
        let trailers: HeaderMap =
            reply.trailers.iter().map(|(name, value)| (name.parse().expect("a name"), value.parse().expect("a value"))).collect();
        let body = Full::new(Bytes::from(reply.body)).with_trailers(async move { (!trailers.is_empty()).then_some(Ok(trailers)) });
        Ok(response.body(body).expect("a valid answer"))
    }
}

/// Serves the script on a free port; ends with the runtime.
async fn serve(script: Script) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free loopback port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let script = script.clone();
            tokio::spawn(async move {
                let service = service_fn(move |request| script.clone().answer(request));
                auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await.ok();
            });
        }
    });
    format!("http://{address}")
}

fn config(endpoint: String, protocol: Protocol) -> ClientConfig {
    let retry = RetryPolicy {
        initial: Duration::from_millis(1),
        max: Duration::from_millis(4),
        max_elapsed: Duration::from_secs(20),
        ..RetryPolicy::default()
    };
    ClientConfig { endpoint, protocol, retry, ..ClientConfig::default() }
}

fn three_spans() -> ExportRequest {
    let spans = vec![Span { name: "a".repeat(200), ..Span::default() }; 3];
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    ExportRequest::Traces(ExportTraceServiceRequest { resource_spans: vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }] })
}

fn framed(message: &impl Message) -> Vec<u8> {
    let bytes = message.encode_to_vec();
    let mut framed = vec![0];
    framed.extend((bytes.len() as u32).to_be_bytes());
    framed.extend(bytes);
    framed
}

fn grpc_ok(partial: Option<(i64, &str)>) -> Reply {
    let partial = partial.map(|(rejected_spans, text)| ExportTracePartialSuccess { rejected_spans, error_message: text.to_owned() });
    Reply {
        http_status: 200,
        fields: vec![("content-type", "application/grpc".into())],
        trailers: vec![("grpc-status", "0".into())],
        body: framed(&ExportTraceServiceResponse { partial_success: partial }),
    }
}

fn grpc_error(code: u32, details: Option<&str>) -> Reply {
    let mut fields = vec![("content-type", "application/grpc".to_owned()), ("grpc-status", code.to_string())];
    fields.push(("grpc-message", "not%20now".to_owned()));
    fields.extend(details.map(|details| ("grpc-status-details-bin", details.to_owned())));
    Reply { http_status: 200, fields, ..Reply::default() }
}

fn http_reply(status: u16, fields: Vec<(&'static str, String)>) -> Reply {
    Reply { http_status: status, fields, ..Reply::default() }
}

/// `Status { details: [Any { type.googleapis.com/google.rpc.RetryInfo { 50 ms } }] }` in base64.
fn retry_info() -> String {
    let mut delay = vec![0x0a, 0x05, 0x10];
    prost::encoding::encode_varint(50_000_000, &mut delay);
    let mut any = vec![0x0a, 40];
    any.extend(b"type.googleapis.com/google.rpc.RetryInfo");
    any.extend([0x12, delay.len() as u8]);
    any.extend(&delay);
    let mut status = vec![0x1a, any.len() as u8];
    status.extend(&any);
    base64(&status)
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = |chunk: &[u8]| {
        let word = chunk.iter().fold(0u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        (0..=chunk.len()).map(|place| char::from(ALPHABET[((word >> (18 - 6 * place)) & 63) as usize])).collect::<String>()
    };
    bytes.chunks(3).map(digits).collect()
}

// Scenario: a server answers each gRPC status once, then accepts.
// Guarantees: exactly the statuses that the specification calls retryable are tried again (OTLP-30).
#[tokio::test]
async fn grpc_statuses_are_retried_as_the_specification_says() {
    for code in 1..=16u32 {
        let script = Script::of([grpc_error(code, None), grpc_ok(None)]);
        let client = Client::new(config(serve(script.clone()).await, Protocol::Grpc)).expect("a valid configuration");
        let outcome = client.export(three_spans()).await;
        if matches!(code, 1 | 4 | 10 | 11 | 14 | 15) {
            assert_eq!(outcome.expect("accepted at last").accepted, 3, "status {code}");
            assert_eq!(script.got().len(), 2, "status {code}");
        } else {
            let error = outcome.expect_err("final");
            assert!(matches!(&error, ClientError::Refused { message, .. } if message == "not now"), "status {code}: {error}");
            assert_eq!((error.class(), script.got().len()), (Class::Reject, 1), "status {code}");
        }
    }
}

// Scenario: RESOURCE_EXHAUSTED with RetryInfo of 50 ms, then accepted.
// Guarantees: it is tried again, and not before the 50 ms have passed.
#[tokio::test]
async fn retry_info_is_honoured() {
    let script = Script::of([grpc_error(8, Some(&retry_info())), grpc_ok(None)]);
    let client = Client::new(config(serve(script.clone()).await, Protocol::Grpc)).expect("a valid configuration");
    let begun = Instant::now();
    assert_eq!(client.export(three_spans()).await.expect("accepted at last").accepted, 3);
    assert!(begun.elapsed() >= Duration::from_millis(50));
    assert_eq!(script.got().len(), 2);
}

// Scenario: a server answers each HTTP status once, then accepts.
// Guarantees: 429, 502, 503, 504 are tried again, no other (OTLP-33); the path and type are right.
#[tokio::test]
async fn http_statuses_are_retried_as_the_specification_says() {
    for status in [400u16, 401, 404, 408, 413, 429, 500, 501, 502, 503, 504] {
        let script = Script::of([http_reply(status, vec![]), http_reply(200, vec![("content-type", "application/x-protobuf".into())])]);
        let client = Client::new(config(serve(script.clone()).await, Protocol::HttpProtobuf)).expect("a valid configuration");
        let outcome = client.export(three_spans()).await;
        let retried = matches!(status, 429 | 502 | 503 | 504);
        assert_eq!(outcome.is_ok(), retried, "status {status}: {outcome:?}");
        assert_eq!(script.got().len(), if retried { 2 } else { 1 }, "status {status}");
        assert_eq!(script.got()[0].path, "/v1/traces");
        assert_eq!(script.got()[0].fields["content-type"], "application/x-protobuf");
    }
}

// Scenario: 503 with `Retry-After: 1`.
// Guarantees: the client stays quiet for a second, for other requests too.
#[tokio::test]
async fn retry_after_is_honoured() {
    let ok = || http_reply(200, vec![]);
    let script = Script::of([http_reply(503, vec![("retry-after", "1".into())]), ok(), ok()]);
    let client = Client::new(config(serve(script).await, Protocol::HttpProtobuf)).expect("a valid configuration");
    let begun = Instant::now();
    client.export(three_spans()).await.expect("accepted at last");
    assert!(begun.elapsed() >= Duration::from_secs(1));
}

// Scenario: partial success over gRPC and JSON.
// Guarantees: counts and words come through, nothing is tried again (OTLP-24).
#[tokio::test]
async fn partial_success_is_surfaced_and_final() {
    let script = Script::of([grpc_ok(Some((2, "two were odd")))]);
    let client = Client::new(config(serve(script.clone()).await, Protocol::Grpc)).expect("a valid configuration");
    let exported = client.export(three_spans()).await.expect("accepted in part");
    assert_eq!((exported.accepted, exported.rejected, exported.message.as_str()), (1, 2, "two were odd"));
    assert_eq!(script.got().len(), 1);

    let body = br#"{"partialSuccess":{"rejectedSpans":"1","errorMessage":"odd"}}"#.to_vec();
    let fields = vec![("content-type", "application/json".to_owned())];
    let script = Script::of([Reply { http_status: 200, fields, body, ..Reply::default() }]);
    let client = Client::new(config(serve(script.clone()).await, Protocol::HttpJson)).expect("a valid configuration");
    let exported = client.export(three_spans()).await.expect("accepted in part");
    assert_eq!((exported.accepted, exported.rejected), (2, 1));
    assert!(script.got()[0].body.starts_with(b"{\"resourceSpans\""));
}

// Scenario: each compression over both transports.
// Guarantees: the right header, a smaller body, and the bytes come back whole.
#[tokio::test]
async fn bodies_are_compressed_as_configured() {
    let whole = three_spans().encode();
    for compression in [Compression::Gzip, Compression::Zstd] {
        let script = Script::of([http_reply(200, vec![])]);
        let config_http = ClientConfig { compression, ..config(serve(script.clone()).await, Protocol::HttpProtobuf) };
        Client::new(config_http).expect("a valid configuration").export(three_spans()).await.expect("accepted");
        let got = &script.got()[0];
        assert_eq!(got.fields["content-encoding"], compression.encoding().expect("it has a name"));
        assert_eq!(inflate(&got.body, compression), whole);

        let script = Script::of([grpc_ok(None)]);
        let config_grpc = ClientConfig { compression, ..config(serve(script.clone()).await, Protocol::Grpc) };
        Client::new(config_grpc).expect("a valid configuration").export(three_spans()).await.expect("accepted");
        let got = &script.got()[0];
        assert_eq!((got.path.as_str(), got.body[0]), ("/opentelemetry.proto.collector.trace.v1.TraceService/Export", 1));
        assert_eq!(inflate(&got.body.slice(5..), compression), whole);
    }
}

fn inflate(body: &[u8], compression: Compression) -> Bytes {
    let mut whole = Vec::new();
    match compression {
        Compression::Zstd => whole = zstd::decode_all(body).expect("zstd"),
        Compression::Gzip | Compression::None => {
            std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(body), &mut whole).expect("gzip");
        }
    }
    whole.into()
}

// Scenario: a request over the client's limit; a server that never has time.
// Guarantees: the first never leaves; the second ends with attempts and words.
#[tokio::test]
async fn too_large_never_leaves_and_patience_ends() {
    let script = Script::of([]);
    let small = ClientConfig { request_bytes_max: 100, ..config(serve(script.clone()).await, Protocol::Grpc) };
    let error = Client::new(small).expect("a valid configuration").export(three_spans()).await.expect_err("too large");
    assert!(matches!(error, ClientError::TooLarge { limit: 100, .. }));
    assert!(script.got().is_empty());

    let script = Script::of(std::iter::repeat_n(grpc_error(14, None), 1000));
    let mut brief = config(serve(script).await, Protocol::Grpc);
    brief.retry.max_elapsed = Duration::from_millis(30);
    let error = Client::new(brief).expect("a valid configuration").export(three_spans()).await.expect_err("never has time");
    assert!(matches!(&error, ClientError::Exhausted { code, attempts, .. } if code == "UNAVAILABLE" && *attempts > 1), "{error}");
}

// Scenario: nothing listens at the endpoint; an endpoint that is none.
// Guarantees: sentences that name the place.
#[tokio::test]
async fn a_dead_endpoint_is_named() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free loopback port");
    let address = listener.local_addr().expect("bound").to_string();
    drop(listener);
    let never = ClientConfig { retry: RetryPolicy::never(), ..config(address.clone(), Protocol::Grpc) };
    let error = Client::new(never).expect("a valid configuration").export(three_spans()).await.expect_err("nobody there");
    assert!(error.to_string().contains(&address) && error.class() == Class::Retry, "{error}");
    let error = Client::new(config("ftp://x".into(), Protocol::Grpc)).expect_err("no http");
    assert_eq!(error.class(), Class::Config);
}

// Scenario: a queue with room for two requests, no worker at first.
// Guarantees: the third is dropped at once; what was taken is delivered in order after `close`.
#[tokio::test]
async fn a_full_queue_drops_and_a_closed_one_drains() {
    let script = Script::of([grpc_ok(None), grpc_ok(None)]);
    let mut sized = config(serve(script.clone()).await, Protocol::Grpc);
    sized.queue_bytes = three_spans().encode().len() * 2;
    let queue = Queue::new(Arc::new(Client::new(sized).expect("a valid configuration")));
    assert_eq!([queue.push(&three_spans()), queue.push(&three_spans()), queue.push(&three_spans())], [true, true, false]);
    queue.close();
    queue.work().await;
    assert_eq!((script.got().len(), queue.bytes()), (2, 0));
    assert!(!queue.push(&three_spans()), "a closed queue takes nothing");
    assert_eq!(three_spans().signal(), Signal::Traces);
}
