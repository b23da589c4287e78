//! An answer, read as far as it goes: status, fields, message, `Status`.

use super::call::Speech;
use crate::{
    answer::{RetryInfo, RpcStatus, grpc_name},
    wire::{from_base64, from_percent},
};
use bytes::Bytes;
use geophone_proto::otlp::collector::trace::v1::ExportTraceServiceResponse;
use http::HeaderMap;
use prost::Message;
use serde_json::Value;
use std::io::Read;

/// Answers are read up to here; OTLP wants them below half of it.
pub(crate) const READ_BYTES_MAX: usize = 8 << 20;

/// What came back.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// Headers, and for gRPC the trailers as well.
    pub(crate) fields: HeaderMap,
    /// As it came.
    pub(crate) body: Bytes,
}

/// `partial_success`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Partial {
    pub(crate) rejected: i64,
    pub(crate) message: String,
}

/// `google.rpc.Status` of an answer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Refusal {
    pub(crate) code: i32,
    pub(crate) message: String,
    pub(crate) details: Vec<String>,
    pub(crate) retry: Option<RetryInfo>,
}

impl Reply {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).and_then(|value| value.to_str().ok())
    }

    /// The content type without its parameters, lower case.
    pub(crate) fn content_type(&self) -> String {
        let essence = self.field("content-type").unwrap_or_default().split(';').next().unwrap_or_default();
        essence.trim().to_ascii_lowercase()
    }

    /// The body without its compression, declared or not.
    pub(crate) fn plain_body(&self) -> Bytes {
        if !self.body.starts_with(&[0x1f, 0x8b]) {
            return self.body.clone();
        }
        let mut plain = Vec::new();
        let read = flate2::read::MultiGzDecoder::new(&*self.body).take(READ_BYTES_MAX as u64).read_to_end(&mut plain);
        if read.is_ok() { plain.into() } else { self.body.clone() }
    }

    /// gRPC's status.
    pub(crate) fn grpc_status(&self) -> Option<u32> {
        self.field("grpc-status")?.parse().ok()
    }

    /// Whether it says that all or part was taken.
    pub(crate) fn is_ok(&self, speech: Speech) -> bool {
        if speech == Speech::Grpc { self.status == 200 && self.grpc_status() == Some(0) } else { self.status == 200 }
    }

    /// Whether the path or method is unknown to the server.
    pub(crate) fn is_unknown(&self, speech: Speech) -> bool {
        if speech == Speech::Grpc { self.grpc_status() == Some(12) } else { self.status == 404 }
    }

    /// Whether a client would send the same again (OTLP-30, OTLP-33).
    pub(crate) fn is_retryable(&self, speech: Speech) -> bool {
        match (speech, self.grpc_status()) {
            (Speech::Grpc, Some(8)) => self.refusal(speech).is_ok_and(|refusal| refusal.retry.is_some()),
            (Speech::Grpc, code) => matches!(code, Some(1 | 4 | 10 | 11 | 14 | 15)),
            (Speech::Protobuf | Speech::Json, _) => matches!(self.status, 429 | 502 | 503 | 504),
        }
    }

    /// The message of a successful call.
    fn message(&self, speech: Speech) -> Result<Bytes, String> {
        if speech != Speech::Grpc {
            return Ok(self.plain_body());
        }
        let Some((&[flag, a, b, c, d], rest)) = self.body.split_first_chunk() else {
            return Err("without a message".into());
        };
        let len = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
        let message = rest.get(..len).ok_or("with half a message")?;
        let reply = Self { body: Bytes::copy_from_slice(message), ..Self::default() };
        Ok(if flag == 0 { reply.body } else { reply.plain_body() })
    }

    /// `partial_success` of a successful answer; read in the encoding that the answer says it has.
    pub(crate) fn partial(&self, speech: Speech) -> Result<Option<Partial>, String> {
        let message = self.message(speech)?;
        let speech = match self.content_type().as_str() {
            "application/json" if speech != Speech::Grpc => Speech::Json,
            "application/x-protobuf" if speech != Speech::Grpc => Speech::Protobuf,
            _ => speech,
        };
        if speech == Speech::Json {
            return json_partial(&message);
        }
        // All signals have the same field numbers here.
        let response = ExportTraceServiceResponse::decode(message).map_err(|_| "whose body is no export response".to_owned())?;
        Ok(response.partial_success.map(|partial| Partial { rejected: partial.rejected_spans, message: partial.error_message }))
    }

    /// `Status` of an answer that says no, read in the request's encoding.
    pub(crate) fn refusal(&self, speech: Speech) -> Result<Refusal, String> {
        match speech {
            Speech::Grpc => Ok(self.grpc_refusal()),
            Speech::Protobuf if self.body.is_empty() => Err("with an empty body".into()),
            Speech::Protobuf => RpcStatus::decode(self.plain_body()).map(Refusal::from).map_err(|_| "whose body is no Status".into()),
            Speech::Json => json_refusal(&self.plain_body()),
        }
    }

    fn grpc_refusal(&self) -> Refusal {
        let details = self.field("grpc-status-details-bin").and_then(from_base64);
        let status = details.and_then(|bytes| RpcStatus::decode(bytes.as_slice()).ok()).unwrap_or_default();
        let mut refusal = Refusal::from(status);
        if let Some(message) = self.field("grpc-message") {
            refusal.message = from_percent(message);
        }
        refusal.code = self.grpc_status().and_then(|code| i32::try_from(code).ok()).unwrap_or_default();
        refusal
    }

    /// In a few words.
    pub(crate) fn shown(&self, speech: Speech) -> String {
        let head = match (speech, self.grpc_status()) {
            (Speech::Grpc, Some(code)) => format!("{code} {}", grpc_name(code)),
            (Speech::Grpc, None) => format!("HTTP {} without grpc-status", self.status),
            (Speech::Protobuf | Speech::Json, _) => {
                format!("{} ({})", self.status, self.field("content-type").unwrap_or("no content-type"))
            }
        };
        let rest = if self.is_ok(speech) {
            match self.partial(speech) {
                Ok(None) => String::new(),
                Ok(Some(Partial { rejected, message })) => format!(" partial_success {{rejected {rejected}, `{}`}}", short(&message)),
                Err(why) => format!(" {why}"),
            }
        } else {
            match self.refusal(speech) {
                Ok(refusal) => {
                    let retry = if refusal.retry.is_some() { " with RetryInfo" } else { "" };
                    format!(" `{}`{retry}", short(&refusal.message))
                }
                Err(why) => format!(" {why} `{}`", short(&String::from_utf8_lossy(&self.body))),
            }
        };
        head + &rest
    }
}

/// The beginning of a text, on one line.
fn short(text: &str) -> String {
    let mut short: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(100).collect();
    if short.len() < text.len() {
        short.push_str("...");
    }
    short
}

fn json_partial(body: &[u8]) -> Result<Option<Partial>, String> {
    let answer: Value = serde_json::from_slice(body).map_err(|_| "whose body is no JSON".to_owned())?;
    let Value::Object(fields) = answer else { return Err("whose body is no export response".into()) };
    let Some(partial) = fields.get("partialSuccess").filter(|partial| !partial.is_null()) else { return Ok(None) };
    let count = |field: &str| partial.get(field).and_then(|count| count.as_i64().or_else(|| count.as_str()?.parse().ok()));
    let names = ["rejectedSpans", "rejectedDataPoints", "rejectedLogRecords", "rejectedProfiles"];
    let rejected = names.into_iter().find_map(count).unwrap_or(0);
    let message = partial.get("errorMessage").and_then(Value::as_str).unwrap_or_default().to_owned();
    Ok(Some(Partial { rejected, message }))
}

fn json_refusal(body: &[u8]) -> Result<Refusal, String> {
    let Ok(Value::Object(fields)) = serde_json::from_slice(body) else { return Err("whose body is no Status in JSON".into()) };
    let message = fields.get("message").and_then(Value::as_str).unwrap_or_default().to_owned();
    let code = fields.get("code").and_then(Value::as_i64).and_then(|code| i32::try_from(code).ok()).unwrap_or_default();
    let details = fields.get("details").and_then(Value::as_array).into_iter().flatten();
    let details: Vec<String> = details.filter_map(|detail| Some(detail.get("@type")?.as_str()?.to_owned())).collect();
    let retry = details.iter().any(|name| name.ends_with("RetryInfo")).then(RetryInfo::default);
    Ok(Refusal { code, message, details, retry })
}

impl From<RpcStatus> for Refusal {
    fn from(status: RpcStatus) -> Self {
        let info = status.details.iter().find(|detail| detail.type_url.ends_with("google.rpc.RetryInfo"));
        let retry = info.and_then(|detail| RetryInfo::decode(detail.value.as_slice()).ok());
        let details = status.details.into_iter().map(|detail| detail.type_url).collect();
        Self { code: status.code, message: status.message, details, retry }
    }
}
