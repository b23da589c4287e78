//! What a server's answer means: accepted, come back later, or never again (OTLP-20 to OTLP-35).

use crate::{
    client::Exported,
    wire::{from_base64, from_percent, unframe},
};
use bytes::Bytes;
use geophone_proto::{
    Signal,
    otlp::collector::{
        logs::v1::ExportLogsServiceResponse, metrics::v1::ExportMetricsServiceResponse,
        profiles::v1development::ExportProfilesServiceResponse, trace::v1::ExportTraceServiceResponse,
    },
};
use http::{HeaderMap, StatusCode, header};
use prost::Message;
use std::time::Duration;

/// The meaning of one attempt.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Answer {
    /// Delivered, perhaps in part.
    Done(Exported),
    /// Worth another attempt, not before `delay` where the server gave one.
    Again { delay: Option<Duration>, code: String, message: String },
    /// Not worth another attempt.
    Never { code: String, message: String },
}

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct RpcStatus {
    #[prost(int32, tag = "1")]
    pub(crate) code: i32,
    #[prost(string, tag = "2")]
    pub(crate) message: String,
    #[prost(message, repeated, tag = "3")]
    pub(crate) details: Vec<AnyMessage>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct AnyMessage {
    #[prost(string, tag = "1")]
    pub(crate) type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) value: Vec<u8>,
}

/// `google.rpc.RetryInfo`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    pub(crate) retry_delay: Option<Delay>,
}

/// `google.protobuf.Duration`.
#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct Delay {
    #[prost(int64, tag = "1")]
    pub(crate) seconds: i64,
    #[prost(int32, tag = "2")]
    pub(crate) nanos: i32,
}

impl RpcStatus {
    fn retry_info(&self) -> Option<RetryInfo> {
        let detail = self.details.iter().find(|detail| detail.type_url.ends_with("google.rpc.RetryInfo"))?;
        RetryInfo::decode(detail.value.as_slice()).ok()
    }
}

impl RetryInfo {
    pub(crate) fn delay(&self) -> Option<Duration> {
        let delay = self.retry_delay?;
        Some(Duration::new(u64::try_from(delay.seconds).ok()?, u32::try_from(delay.nanos).ok()?))
    }
}

/// Reads a gRPC answer; `fields` are the trailers, or the headers where there are only these.
pub(crate) fn read_grpc(signal: Signal, items: u64, fields: &HeaderMap, body: &Bytes) -> Answer {
    let text = |name: &str| fields.get(name).and_then(|value| value.to_str().ok());
    let Some(code) = text("grpc-status").and_then(|code| code.parse::<u32>().ok()) else {
        let message = "the answer has no grpc-status; is this a grpc server?".to_owned();
        return Answer::Never { code: "UNKNOWN".to_owned(), message };
    };
    if code == 0 {
        return match unframe(body).and_then(|message| read_response(signal, items, &message)) {
            Some(exported) => Answer::Done(exported),
            None => Answer::Never { code: "INTERNAL".to_owned(), message: "the answer cannot be decoded".to_owned() },
        };
    }
    let details = text("grpc-status-details-bin").and_then(from_base64);
    let status = details.and_then(|bytes| RpcStatus::decode(bytes.as_slice()).ok()).unwrap_or_default();
    let message = text("grpc-message").map(from_percent).unwrap_or(status.message.clone());
    let info = status.retry_info();
    let name = grpc_name(code).to_owned();
    // RESOURCE_EXHAUSTED is worth another attempt only where the server says when.
    let retryable = matches!(code, 1 | 4 | 10 | 11 | 14 | 15) || (code == 8 && info.is_some());
    if retryable {
        Answer::Again { delay: info.and_then(|info| info.delay()), code: name, message }
    } else {
        Answer::Never { code: name, message }
    }
}

/// Reads an HTTP answer. `Retry-After` as a date counts as no delay given: our own back-off then holds.
pub(crate) fn read_http(signal: Signal, items: u64, status: StatusCode, fields: &HeaderMap, body: &Bytes) -> Answer {
    let is_json = fields.get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
    if status.is_success() {
        let exported = if is_json { read_json(signal, items, body) } else { read_response(signal, items, body) };
        return match exported {
            Some(exported) => Answer::Done(exported),
            None => Answer::Never { code: status.as_u16().to_string(), message: "the answer cannot be decoded".to_owned() },
        };
    }
    let code = status.as_u16().to_string();
    let message = if is_json {
        let parsed: Option<serde_json::Value> = serde_json::from_slice(body).ok();
        parsed.and_then(|status| status.get("message")?.as_str().map(str::to_owned)).unwrap_or_default()
    } else {
        RpcStatus::decode(body.clone()).map(|status| status.message).unwrap_or_default()
    };
    if matches!(status.as_u16(), 429 | 502 | 503 | 504) {
        let delay = fields.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()).and_then(|text| text.trim().parse().ok());
        Answer::Again { delay: delay.map(Duration::from_secs), code, message }
    } else {
        Answer::Never { code, message }
    }
}

/// Reads an `Export*ServiceResponse`.
fn read_response(signal: Signal, items: u64, message: &Bytes) -> Option<Exported> {
    let partial = match signal {
        Signal::Traces => {
            let response = ExportTraceServiceResponse::decode(message.clone()).ok()?;
            response.partial_success.map(|partial| (partial.rejected_spans, partial.error_message))
        }
        Signal::Metrics => {
            let response = ExportMetricsServiceResponse::decode(message.clone()).ok()?;
            response.partial_success.map(|partial| (partial.rejected_data_points, partial.error_message))
        }
        Signal::Logs => {
            let response = ExportLogsServiceResponse::decode(message.clone()).ok()?;
            response.partial_success.map(|partial| (partial.rejected_log_records, partial.error_message))
        }
        Signal::Profiles => {
            let response = ExportProfilesServiceResponse::decode(message.clone()).ok()?;
            response.partial_success.map(|partial| (partial.rejected_profiles, partial.error_message))
        }
    };
    let (rejected, message) = partial.unwrap_or_default();
    Some(Exported::of(items, u64::try_from(rejected).unwrap_or(0), message))
}

fn read_json(signal: Signal, items: u64, body: &Bytes) -> Option<Exported> {
    let answer: serde_json::Value = serde_json::from_slice(body).ok()?;
    let partial = answer.get("partialSuccess");
    let field = match signal {
        Signal::Traces => "rejectedSpans",
        Signal::Metrics => "rejectedDataPoints",
        Signal::Logs => "rejectedLogRecords",
        Signal::Profiles => "rejectedProfiles",
    };
    let rejected = partial.and_then(|partial| partial.get(field));
    let rejected = rejected.and_then(|count| count.as_u64().or_else(|| count.as_str()?.parse().ok())).unwrap_or(0);
    let message = partial.and_then(|partial| partial.get("errorMessage")?.as_str()).unwrap_or_default();
    Some(Exported::of(items, rejected, message.to_owned()))
}

/// gRPC's word for a status number.
pub(crate) const fn grpc_name(code: u32) -> &'static str {
    match code {
        0 => "OK",
        1 => "CANCELLED",
        3 => "INVALID_ARGUMENT",
        4 => "DEADLINE_EXCEEDED",
        5 => "NOT_FOUND",
        6 => "ALREADY_EXISTS",
        7 => "PERMISSION_DENIED",
        8 => "RESOURCE_EXHAUSTED",
        9 => "FAILED_PRECONDITION",
        10 => "ABORTED",
        11 => "OUT_OF_RANGE",
        12 => "UNIMPLEMENTED",
        13 => "INTERNAL",
        14 => "UNAVAILABLE",
        15 => "DATA_LOSS",
        16 => "UNAUTHENTICATED",
        _ => "UNKNOWN",
    }
}
