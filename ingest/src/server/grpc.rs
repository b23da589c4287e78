//! OTLP over gRPC: framing, services, statuses. One message in, one message out.

use super::{
    body::{FIRST_SHARE_BYTES, Intake},
    budget::Permit,
    packing::{ACCEPTED, Packing},
    reception::{Envelope, Reception},
    refusal::{Code, Refusal, UNAUTHENTICATED},
    reply::Reply,
    status,
    tally::Guest,
};
use crate::access::{Access, Account, Place};
use bytes::{BufMut, Bytes, BytesMut};
use geophone_proto::{Signal, Transport};
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode,
    header::{CONTENT_TYPE, WWW_AUTHENTICATE},
};
use http_body::Body;
use std::{fmt::Write, sync::Arc, time::Duration};

/// Flag of compression and four bytes of length stand before each message.
const PREFIX_BYTES: usize = 5;
/// `HealthCheckResponse { status: SERVING }`.
const SERVING: &[u8] = &[0x08, 0x01];
/// `HealthCheckResponse { status: NOT_SERVING }`.
const NOT_SERVING: &[u8] = &[0x08, 0x02];

/// What a path asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    Export(Signal),
    HealthCheck,
}

/// Whether the content type is gRPC's, whatever follows `+`.
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let rest = value.strip_prefix(b"application/grpc");
    rest.is_some_and(|rest| rest.first().is_none_or(|byte| matches!(byte, b'+' | b';' | b' ')))
}

impl Reception {
    /// Answers one call; never fails, every refusal is an answer.
    pub(crate) async fn grpc<B>(&self, request: Request<B>) -> Response<Reply>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: std::fmt::Display,
    {
        let (head, mut body) = request.into_parts();
        let limit = head.headers.get("grpc-timeout").and_then(|value| timeout(value.to_str().ok()?));
        let called = call(&head);
        // Whether we are well may be asked by anybody, and is no telemetry.
        if called == Ok(Call::HealthCheck) {
            let answer = within(limit, self.health(&head, &mut body)).await;
            return answer.map_or_else(|refusal| refused(&refusal), |message| success(&message));
        }
        let signal = if let Ok(Call::Export(signal)) = called { Some(signal) } else { None };
        let (guest, welcome) = self.welcome(Place { signal, transport: Transport::Grpc }, &head.headers);
        let work = async {
            welcome?;
            called?;
            self.grpc_export(&guest, &head, &mut body).await
        };
        match within(limit, work).await {
            Ok(message) => {
                guest.acked();
                success(&message)
            }
            Err(refusal) => {
                guest.refused(&refusal);
                refused(&refusal)
            }
        }
    }

    /// What a client that speaks no gRPC gets on the gRPC port.
    pub(crate) fn not_grpc(&self) -> Response<Reply> {
        let refusal = Refusal::new(Code::Unimplemented, StatusCode::UNSUPPORTED_MEDIA_TYPE, "not_grpc", "only gRPC is spoken here");
        self.stranger(Place { signal: None, transport: Transport::Grpc }).refused(&refusal);
        let mut response = Response::new(Reply::default());
        *response.status_mut() = refusal.http;
        response
    }

    async fn grpc_export<B>(&self, guest: &Guest, head: &http::request::Parts, body: &mut B) -> Result<Bytes, Refusal>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: std::fmt::Display,
    {
        let (packing, message, permit) = self.message(&guest.account, head, body).await?;
        let Some(signal) = guest.place.signal else { return Err(unimplemented("unknown_path", "this method takes no telemetry")) };
        let envelope = Envelope { signal, packing, is_json: false };
        Ok(status::response_to_wire(&self.take(guest, envelope, (message, permit)).await?))
    }

    async fn health<B>(&self, head: &http::request::Parts, body: &mut B) -> Result<Bytes, Refusal>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: std::fmt::Display,
    {
        let (packing, message, mut permit) = self.message(&self.access.strangers(), head, body).await?;
        check_service(&packing.unpack(message, self.request_bytes_max, &mut permit, &self.pressure)?)?;
        // Who balances load by it sends elsewhere meanwhile, instead of being refused here.
        Ok(Bytes::from_static(if self.is_moving().is_ok() { SERVING } else { NOT_SERVING }))
    }

    /// The one message of a call, still packed.
    async fn message<B>(
        &self,
        account: &Arc<Account>,
        head: &http::request::Parts,
        body: &mut B,
    ) -> Result<(Packing, Bytes, Permit), Refusal>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: std::fmt::Display,
    {
        let name = head.headers.get("grpc-encoding").map_or(Ok(""), HeaderValue::to_str).unwrap_or("?");
        let Some(packing) = Packing::from_name(name) else {
            let message = format!("encoding `{name}` is not supported, use one of {ACCEPTED}");
            return Err(unimplemented("content_encoding", message));
        };
        let mut intake = Intake::open(self, account, FIRST_SHARE_BYTES.min(self.request_bytes_max))?;
        let packing = read_message(&mut intake, body, packing, self.request_bytes_max).await?;
        let (bytes, permit) = intake.finish();
        Ok((packing, bytes.slice(PREFIX_BYTES..), permit))
    }
}

/// Ends the work when the caller's own deadline has passed.
async fn within<T>(limit: Option<Duration>, work: impl Future<Output = Result<T, Refusal>>) -> Result<T, Refusal> {
    match limit {
        None => work.await,
        Some(limit) => tokio::time::timeout(limit, work).await.unwrap_or_else(|_| Err(Refusal::deadline())),
    }
}

/// Reads exactly one message; refuses what is announced too large before it comes.
async fn read_message<B>(intake: &mut Intake<'_>, body: &mut B, packing: Packing, bytes_max: usize) -> Result<Packing, Refusal>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    let frame_max = bytes_max.saturating_add(PREFIX_BYTES);
    let mut announced = None;
    loop {
        let more = intake.piece(body, frame_max).await?;
        if announced.is_none()
            && let Some(&[flag, a, b, c, d]) = intake.bytes().first_chunk::<PREFIX_BYTES>()
        {
            let len = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
            if len > bytes_max {
                return Err(Refusal::too_large(bytes_max));
            }
            intake.foresee(len + PREFIX_BYTES)?;
            announced = Some((flag, len));
        }
        if !more {
            break;
        }
    }
    let (flag, len) = announced.ok_or_else(|| Refusal::malformed("the call has no message"))?;
    if intake.bytes().len() != len + PREFIX_BYTES {
        let message = format!("the call must have one message of the announced {len} bytes, got {} in all", intake.bytes().len());
        return Err(Refusal::malformed(message));
    }
    match (flag, packing) {
        (0, _) => Ok(Packing::Identity),
        (1, Packing::Identity) => {
            let message = "the message is marked as compressed, but no grpc-encoding says how";
            Err(Refusal::new(Code::Internal, StatusCode::BAD_REQUEST, "malformed", message))
        }
        (1, packing) => Ok(packing),
        (other, _) => Err(Refusal::malformed(format!("flag {other} before the message is none, use 0 or 1"))),
    }
}

fn unimplemented(reason: &'static str, message: impl Into<String>) -> Refusal {
    Refusal::new(Code::Unimplemented, StatusCode::NOT_FOUND, reason, message)
}

fn call(head: &http::request::Parts) -> Result<Call, Refusal> {
    if head.method != Method::POST {
        return Err(unimplemented("method", format!("method {} is not supported, use POST", head.method)));
    }
    match head.uri.path() {
        "/opentelemetry.proto.collector.trace.v1.TraceService/Export" => Ok(Call::Export(Signal::Traces)),
        "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export" => Ok(Call::Export(Signal::Metrics)),
        "/opentelemetry.proto.collector.logs.v1.LogsService/Export" => Ok(Call::Export(Signal::Logs)),
        "/opentelemetry.proto.collector.profiles.v1development.ProfilesService/Export" => Ok(Call::Export(Signal::Profiles)),
        "/grpc.health.v1.Health/Check" => Ok(Call::HealthCheck),
        other => Err(unimplemented("unknown_path", format!("method `{other}` is unknown"))),
    }
}

/// Whether the service asked about is one of ours: they are up and down together. `message` is a `HealthCheckRequest`.
fn check_service(message: &[u8]) -> Result<(), Refusal> {
    let mut reader = crate::walk::wire::Reader::new(message, 1);
    let mut service: &[u8] = b"";
    while let Some((number, value)) = reader.next().map_err(|error| Refusal::malformed(error.to_string()))? {
        if number == 1 {
            service = value.bytes().map_err(|error| Refusal::malformed(error.to_string()))?;
        }
    }
    let known = [
        b"".as_slice(),
        b"opentelemetry.proto.collector.trace.v1.TraceService",
        b"opentelemetry.proto.collector.metrics.v1.MetricsService",
        b"opentelemetry.proto.collector.logs.v1.LogsService",
        b"opentelemetry.proto.collector.profiles.v1development.ProfilesService",
    ];
    if known.contains(&service) {
        Ok(())
    } else {
        Err(Refusal::new(Code::NotFound, StatusCode::NOT_FOUND, "unknown_path", "this service is unknown"))
    }
}

/// Reads `grpc-timeout`: up to eight digits and a unit.
fn timeout(value: &str) -> Option<Duration> {
    let (digits, unit) = value.split_at_checked(value.len().checked_sub(1)?)?;
    let number: u64 = Some(digits).filter(|digits| digits.len() <= 8)?.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(number * 3600)),
        "M" => Some(Duration::from_secs(number * 60)),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

fn response(body: Reply) -> Response<Reply> {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response.headers_mut().insert("grpc-accept-encoding", HeaderValue::from_static(ACCEPTED));
    response
}

fn success(message: &[u8]) -> Response<Reply> {
    let mut frame = BytesMut::with_capacity(PREFIX_BYTES + message.len());
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).expect("responses are a few KiB"));
    frame.extend_from_slice(message);
    let trailers = HeaderMap::from_iter([(http::HeaderName::from_static("grpc-status"), HeaderValue::from_static("0"))]);
    response(Reply::with_trailers(frame.freeze(), trailers))
}

/// A refusal is headers only ("trailers-only"), so it may go out before the body came in.
fn refused(refusal: &Refusal) -> Response<Reply> {
    let mut response = response(Reply::default());
    let headers = response.headers_mut();
    headers.insert("grpc-status", HeaderValue::from(refusal.code as u16));
    // Both texts hold visible ASCII only, by construction.
    headers.insert("grpc-message", HeaderValue::from_str(&percent(&refusal.message)).expect("percent-encoded"));
    let details = base64(&status::to_wire(refusal));
    headers.insert("grpc-status-details-bin", HeaderValue::from_str(&details).expect("base64"));
    if refusal.reason == UNAUTHENTICATED {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(Access::CHALLENGE));
    }
    response
}

fn percent(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut out, byte| {
        if matches!(byte, b' '..=b'~') && byte != b'%' {
            out.push(char::from(byte));
        } else {
            write!(out, "%{byte:02X}").expect("writing to a string never fails");
        }
        out
    })
}

/// Base64 without padding, as gRPC prefers for binary headers.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        (0..=chunk.len()).for_each(|place| text.push(char::from(ALPHABET[((word >> (18 - 6 * place)) & 63) as usize])));
    }
    text
}
