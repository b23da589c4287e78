//! A proxy before our own server that breaks one rule: what a server with that fault would answer.

use bytes::{BufMut, Bytes, BytesMut};
use geophone_ingest::{Arrival, Config, Listening, Receipt};
use geophone_proto::{UnixNanos, seam::Clock};
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use std::{
    collections::BTreeSet,
    convert::Infallible,
    io::Read,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
};

/// Largest request of the servers here.
pub const LIMIT: usize = 256 << 10;

struct Standing;

impl Clock for Standing {
    fn now(&self) -> UnixNanos {
        UnixNanos(1)
    }
}

/// Our own server with a log that takes everything. Stops when dropped.
pub struct Own {
    pub listening: Listening,
    _stop: watch::Sender<bool>,
}

impl Own {
    pub async fn start(budget_bytes: usize) -> Self {
        let any = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
        let config = Config { grpc: any, http: any, request_bytes_max: LIMIT, budget_bytes, ..Config::default() };
        let (sink, mut arrivals) = mpsc::channel::<Arrival>(64);
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(async move {
            while let Some(Arrival { receipt, .. }) = arrivals.recv().await {
                Receipt::ack(receipt)
            }
        });
        let listening = geophone_ingest::serve(config, Arc::new(Standing), sink, stopped).await.expect("loopback has free ports");
        Self { listening, _stop: stop }
    }

    pub fn grpc(&self) -> SocketAddr {
        self.listening.grpc.expect("configured")
    }

    pub fn http(&self) -> SocketAddr {
        self.listening.http.expect("configured")
    }
}

/// A request as a fault sees it.
#[derive(Clone, Debug)]
pub struct Seen {
    pub is_grpc: bool,
    pub path: String,
    pub method: String,
    pub fields: HeaderMap,
    /// As it came.
    pub body: Bytes,
    /// Without frame and compression, as far as that can be read.
    pub plain: Bytes,
    /// Requests open at this moment.
    pub open: usize,
    /// Whether the very same was seen before.
    pub is_repeated: bool,
}

impl Seen {
    pub fn is_json(&self) -> bool {
        self.field("content-type").starts_with("application/json")
    }

    pub fn field(&self, name: &str) -> &str {
        self.fields.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    pub fn holds(&self, part: &[u8]) -> bool {
        self.plain.windows(part.len()).any(|window| window == part)
    }
}

/// An answer that a fault may change.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    pub status: u16,
    /// Headers; for gRPC the trailers as well.
    pub fields: HeaderMap,
    /// Without gRPC's frame.
    pub body: Bytes,
}

impl Answer {
    pub fn put(&mut self, name: &'static str, value: &str) {
        self.fields.insert(name, value.parse().expect("a valid value"));
    }

    /// Takes all of it.
    pub fn taken(seen: &Seen) -> Self {
        let mut answer = Self { status: 200, ..Self::default() };
        if seen.is_grpc {
            answer.put("content-type", "application/grpc");
            answer.put("grpc-status", "0");
        } else if seen.is_json() {
            answer.put("content-type", "application/json");
            answer.body = "{}".into();
        } else {
            answer.put("content-type", "application/x-protobuf");
        }
        answer
    }

    /// Says no with these codes, in the right form.
    pub fn refused(seen: &Seen, grpc: u8, http: u16) -> Self {
        let mut answer = Self { status: if seen.is_grpc { 200 } else { http }, ..Self::default() };
        if seen.is_grpc {
            answer.put("content-type", "application/grpc");
            answer.put("grpc-status", &grpc.to_string());
            answer.put("grpc-message", "no");
        } else if seen.is_json() {
            answer.put("content-type", "application/json");
            answer.body = "{\"message\":\"no\"}".into();
        } else {
            answer.put("content-type", "application/x-protobuf");
            answer.body = Bytes::from_static(b"\x12\x02no");
        }
        answer
    }

    /// Success with `partial_success` set so.
    pub fn partial(seen: &Seen, rejected: u8, message: &str) -> Self {
        let mut answer = Self::taken(seen);
        if seen.is_json() {
            answer.body = format!("{{\"partialSuccess\":{{\"rejectedSpans\":\"{rejected}\",\"errorMessage\":\"{message}\"}}}}").into();
            return answer;
        }
        let mut partial = BytesMut::new();
        if rejected > 0 {
            partial.put_slice(&[0x08, rejected]);
        }
        if !message.is_empty() {
            partial.put_u8(0x12);
            varint(&mut partial, message.len());
            partial.put_slice(message.as_bytes());
        }
        let mut body = BytesMut::from(&b"\x0a"[..]);
        varint(&mut body, partial.len());
        body.put_slice(&partial);
        answer.body = body.freeze();
        answer
    }

    pub fn is_ok(&self) -> bool {
        self.status == 200 && self.fields.get("grpc-status").is_none_or(|status| status == "0")
    }

    /// Whether it is a success with something rejected or said.
    pub fn is_partial(&self) -> bool {
        self.is_ok() && self.body.len() > 2
    }
}

fn varint(out: &mut BytesMut, mut number: usize) {
    while number >= 0x80 {
        out.put_u8(u8::try_from(number & 0x7f).expect("seven bits") | 0x80);
        number >>= 7;
    }
    out.put_u8(u8::try_from(number).expect("seven bits"));
}

/// What is wrong with a server: may answer itself, may change what our server answers.
#[derive(Clone, Copy)]
pub struct Fault {
    pub before: fn(&Seen) -> Option<Answer>,
    pub after: fn(&Seen, &mut Answer),
}

type Line = Client<HttpConnector, Full<Bytes>>;

struct Proxy {
    fault: Fault,
    own: Own,
    grpc: Line,
    http: Line,
    open: AtomicUsize,
    known: Mutex<BTreeSet<String>>,
}

/// Starts a server with this fault; one address for both transports.
pub async fn faulty(fault: Fault) -> SocketAddr {
    let line = |is_grpc| Client::builder(TokioExecutor::new()).http2_only(is_grpc).build(HttpConnector::new());
    let (own, grpc, http) = (Own::start(64 << 20).await, line(true), line(false));
    let proxy = Arc::new(Proxy { fault, own, grpc, http, open: AtomicUsize::new(0), known: Mutex::default() });
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free loopback port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let proxy = Arc::clone(&proxy);
            tokio::spawn(async move {
                let service = service_fn(move |request| Arc::clone(&proxy).answer(request));
                auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await.ok();
            });
        }
    });
    address
}

type Body = http_body_util::combinators::BoxBody<Bytes, Infallible>;

impl Proxy {
    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
        self.open.fetch_add(1, Ordering::Relaxed);
        let (head, body) = request.into_parts();
        let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        let seen = self.look(&head, body);
        let mut answer = match (self.fault.before)(&seen) {
            Some(answer) => answer,
            None => self.forward(&seen).await,
        };
        (self.fault.after)(&seen, &mut answer);
        self.open.fetch_sub(1, Ordering::Relaxed);
        Ok(write(&seen, answer))
    }

    fn look(&self, head: &http::request::Parts, body: Bytes) -> Seen {
        let is_grpc = head.headers.get("content-type").is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"));
        let packed = if is_grpc { body.slice(5.min(body.len())..) } else { body.clone() };
        let mut plain = Vec::new();
        let is_gzip = packed.starts_with(&[0x1f, 0x8b]) && flate2::read::GzDecoder::new(&*packed).read_to_end(&mut plain).is_ok();
        let plain = if is_gzip { plain.into() } else { packed };
        let key = format!("{} {:?} {body:?}", head.uri.path(), head.headers);
        let is_repeated = !self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(key);
        Seen {
            is_grpc,
            path: head.uri.path().to_owned(),
            method: head.method.to_string(),
            fields: head.headers.clone(),
            body,
            plain,
            open: self.open.load(Ordering::Relaxed),
            is_repeated,
        }
    }

    async fn forward(&self, seen: &Seen) -> Answer {
        let address = if seen.is_grpc { self.own.grpc() } else { self.own.http() };
        let mut request = Request::builder().method(&*seen.method).uri(format!("http://{address}{}", seen.path));
        for (name, value) in &seen.fields {
            if !matches!(name.as_str(), "connection" | "content-length" | "host") {
                request = request.header(name, value);
            }
        }
        let request = request.body(Full::new(seen.body.clone())).expect("it was valid before");
        let line = if seen.is_grpc { &self.grpc } else { &self.http };
        let response = line.request(request).await.expect("every request has an answer");
        let (head, body) = response.into_parts();
        let body = body.collect().await.expect("a whole answer");
        let mut fields = head.headers;
        fields.extend(body.trailers().cloned().unwrap_or_default());
        fields.remove("content-length");
        fields.remove("date");
        let body = body.to_bytes();
        let body = if seen.is_grpc { body.slice(5.min(body.len())..) } else { body };
        Answer { status: head.status.as_u16(), fields, body }
    }
}

fn write(seen: &Seen, answer: Answer) -> Response<Body> {
    let mut response = Response::builder().status(answer.status);
    let is_end = |name: &str| seen.is_grpc && name.starts_with("grpc-") && !name.contains("encoding");
    let mut trailers = HeaderMap::new();
    for (name, value) in &answer.fields {
        if is_end(name.as_str()) && answer.is_ok() {
            trailers.insert(name, value.clone());
        } else {
            response = response.header(name, value);
        }
    }
    if !seen.is_grpc {
        return response.body(Full::new(answer.body).boxed()).expect("a valid answer");
    }
    if trailers.is_empty() {
        return response.body(Full::new(Bytes::new()).boxed()).expect("a valid answer");
    }
    let mut framed = BytesMut::from(&[0][..]);
    framed.put_u32(u32::try_from(answer.body.len()).expect("small"));
    framed.put_slice(&answer.body);
    let body = Full::new(framed.freeze()).with_trailers(async move { Some(Ok(trailers)) });
    response.body(body.boxed()).expect("a valid answer")
}
