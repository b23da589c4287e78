//! OTLP over HTTP: paths, headers, answers in the request's own encoding.

use super::{
    body::{FIRST_SHARE_BYTES, Intake},
    packing::{ACCEPTED, Packing},
    reception::{Envelope, Reception},
    refusal::{Code, Refusal, UNAUTHENTICATED},
    reply::Reply,
    sampling,
    status::{self, Remarks},
    tally::Guest,
    tasks,
};
use crate::access::{Access, Place, Right};
use bytes::Bytes;
use geophone_proto::{Signal, Transport};
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version,
    header::{ACCEPT_ENCODING, ALLOW, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, RETRY_AFTER, WWW_AUTHENTICATE},
};
use http_body::Body;

const PROTOBUF: &str = "application/x-protobuf";
/// So much of a refused body is listened to on HTTP/2, where resetting the stream ends it for good.
const LINGER_BYTES_MAX: usize = 1 << 20;
const JSON: &str = "application/json";

impl Reception {
    /// Answers one HTTP request; never fails, every refusal is an answer.
    pub(crate) async fn http<B>(&self, request: Request<B>) -> Response<Reply>
    where
        B: Body<Data = Bytes> + Unpin + Send + 'static,
        B::Error: std::fmt::Display,
    {
        let (head, mut body) = request.into_parts();
        if head.uri.path() == sampling::PATH && head.method == Method::GET {
            return self.strategy(&head);
        }
        let is_json = content_type(&head.headers) == Some(JSON);
        let place = Place { signal: signal_of(head.uri.path()), transport: Transport::Http };
        let (guest, welcome) = self.welcome(place, &head.headers);
        let done = match welcome {
            Ok(()) => self.http_export(&guest, &head, &mut body).await,
            Err(refusal) => Err(refusal),
        };
        match done {
            Ok((signal, remarks)) => {
                guest.acked();
                success(signal, is_json, &remarks)
            }
            Err(refusal) => {
                // Who asks before sending must not be told to go on.
                let asks_first = head.headers.contains_key(EXPECT);
                if !body.is_end_stream() && !asks_first {
                    let bytes_max = if head.version < Version::HTTP_2 { usize::MAX } else { LINGER_BYTES_MAX };
                    tasks::linger(body, bytes_max);
                }
                guest.refused(&refusal);
                refused(is_json, &refusal)
            }
        }
    }

    /// How much a sender should sample. Not an export: the ledger of requests knows nothing of it.
    fn strategy(&self, head: &http::request::Parts) -> Response<Reply> {
        metrics::counter!("geophone_sampling_requests_total").increment(1);
        if let Err(denied) = self.access.identify(&head.headers, Right::Send) {
            return refused(true, &Refusal::denied(denied));
        }
        let Some(service) = sampling::service_of(head.uri.query().unwrap_or_default()) else {
            let message = "say which service asks: /sampling?service=NAME";
            return refused(true, &Refusal::new(Code::InvalidArgument, StatusCode::BAD_REQUEST, "no_service", message));
        };
        let strategy = self.sampling.strategy(&service, self.clock.now());
        response(StatusCode::OK, true, strategy.to_string().into())
    }

    async fn http_export<B>(&self, guest: &Guest, head: &http::request::Parts, body: &mut B) -> Result<(Signal, Remarks), Refusal>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: std::fmt::Display,
    {
        let envelope = envelope(head)?;
        let bytes_max = self.request_bytes_max;
        let announced = match head.headers.get(CONTENT_LENGTH).map(|length| length.to_str().ok().and_then(|text| text.parse().ok())) {
            None => FIRST_SHARE_BYTES.min(bytes_max),
            Some(Some(length)) if length <= bytes_max => length,
            Some(_) => return Err(Refusal::too_large(bytes_max)),
        };
        let mut intake = Intake::open(self, &guest.account, announced.min(FIRST_SHARE_BYTES))?;
        intake.foresee(announced)?;
        while intake.piece(body, bytes_max).await? {}
        Ok((envelope.signal, self.take(guest, envelope, intake.finish()).await?))
    }
}

/// The signal that a path is for.
fn signal_of(path: &str) -> Option<Signal> {
    match path {
        "/v1/traces" => Some(Signal::Traces),
        "/v1/metrics" => Some(Signal::Metrics),
        "/v1/logs" => Some(Signal::Logs),
        "/v1development/profiles" => Some(Signal::Profiles),
        _ => None,
    }
}

/// Reads path, method, content type and encoding, in this order: the first that does not fit answers.
fn envelope(head: &http::request::Parts) -> Result<Envelope, Refusal> {
    let Some(signal) = signal_of(head.uri.path()) else {
        let message = format!("path `{}` is unknown, use /v1/traces, /v1/metrics, /v1/logs or /v1development/profiles", head.uri.path());
        return Err(Refusal::new(Code::Unimplemented, StatusCode::NOT_FOUND, "unknown_path", message));
    };
    if head.method != Method::POST {
        let message = format!("method {} is not supported, use POST", head.method);
        return Err(Refusal::new(Code::Unimplemented, StatusCode::METHOD_NOT_ALLOWED, "method", message));
    }
    let is_json = match content_type(&head.headers) {
        Some(PROTOBUF) => false,
        Some(JSON) => true,
        _ => {
            let message = format!("content type is not supported, use {PROTOBUF} or {JSON}");
            return Err(Refusal::new(Code::InvalidArgument, StatusCode::UNSUPPORTED_MEDIA_TYPE, "content_type", message));
        }
    };
    let name = head.headers.get(CONTENT_ENCODING).map_or(Ok(""), HeaderValue::to_str).unwrap_or("?");
    let Some(packing) = Packing::from_name(name) else {
        let message = format!("content encoding `{name}` is not supported, use one of {ACCEPTED}");
        return Err(Refusal::new(Code::InvalidArgument, StatusCode::UNSUPPORTED_MEDIA_TYPE, "content_encoding", message));
    };
    Ok(Envelope { signal, packing, is_json })
}

/// The known content type of a request, parameters and case aside.
fn content_type(headers: &HeaderMap) -> Option<&'static str> {
    let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let essence = value.split(';').next().unwrap_or_default().trim();
    [PROTOBUF, JSON].into_iter().find(|known| known.eq_ignore_ascii_case(essence))
}

fn response(status: StatusCode, is_json: bool, body: Bytes) -> Response<Reply> {
    let mut response = Response::new(Reply::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(if is_json { JSON } else { PROTOBUF }));
    response
}

fn success(signal: Signal, is_json: bool, remarks: &Remarks) -> Response<Reply> {
    let body = if is_json { status::response_to_json(signal, remarks) } else { status::response_to_wire(remarks) };
    response(StatusCode::OK, is_json, body)
}

fn refused(is_json: bool, refusal: &Refusal) -> Response<Reply> {
    let body = if is_json { status::to_json(refusal) } else { status::to_wire(refusal) };
    let mut response = response(refusal.http, is_json, body);
    let headers = response.headers_mut();
    if let Some(delay) = refusal.retry_after {
        // Whole seconds, and never 0: that would be "at once".
        headers.insert(RETRY_AFTER, HeaderValue::from(delay.as_secs_f64().ceil().max(1.0) as u64));
    }
    match refusal.reason {
        "method" => headers.insert(ALLOW, HeaderValue::from_static("POST")),
        UNAUTHENTICATED => headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(Access::CHALLENGE)),
        "content_encoding" => headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(ACCEPTED)),
        _ => None,
    };
    response
}
