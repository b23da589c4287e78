//! `google.rpc.Status` and the export responses, as bytes and as JSON.

use super::refusal::{Code, Refusal};
use crate::walk::{Rejected, wire::put_varint};
use bytes::Bytes;
use geophone_proto::Signal;
use serde_json::{Value, json};
use std::time::Duration;

const RETRY_INFO: &str = "type.googleapis.com/google.rpc.RetryInfo";
const BAD_REQUEST: &str = "type.googleapis.com/google.rpc.BadRequest";

fn put_bytes(out: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    out.push(number << 3 | 2);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn put_number(out: &mut Vec<u8>, number: u8, value: u64) {
    if value > 0 {
        out.push(number << 3);
        put_varint(out, value);
    }
}

fn retry_info(delay: Duration) -> Vec<u8> {
    let (mut duration, mut info) = (Vec::new(), Vec::new());
    put_number(&mut duration, 1, delay.as_secs());
    put_number(&mut duration, 2, delay.subsec_nanos().into());
    put_bytes(&mut info, 1, &duration);
    info
}

fn bad_request(message: &str) -> Vec<u8> {
    let (mut violation, mut bad_request) = (Vec::new(), Vec::new());
    put_bytes(&mut violation, 2, message.as_bytes());
    put_bytes(&mut bad_request, 1, &violation);
    bad_request
}

/// A refusal as `google.rpc.Status`, with the details that OTLP asks for.
pub(crate) fn to_wire(refusal: &Refusal) -> Bytes {
    let mut status = Vec::new();
    put_number(&mut status, 1, refusal.code as u64);
    put_bytes(&mut status, 2, refusal.message.as_bytes());
    let mut detail = |url: &str, message: Vec<u8>| {
        let mut any = Vec::new();
        put_bytes(&mut any, 1, url.as_bytes());
        put_bytes(&mut any, 2, &message);
        put_bytes(&mut status, 3, &any);
    };
    if let Some(delay) = refusal.retry_after {
        detail(RETRY_INFO, retry_info(delay));
    }
    if refusal.code == Code::InvalidArgument {
        detail(BAD_REQUEST, bad_request(&refusal.message));
    }
    status.into()
}

/// The same in protobuf's JSON.
pub(crate) fn to_json(refusal: &Refusal) -> Bytes {
    let mut details = Vec::new();
    if let Some(delay) = refusal.retry_after {
        details.push(json!({"@type": RETRY_INFO, "retryDelay": format!("{}.{:09}s", delay.as_secs(), delay.subsec_nanos())}));
    }
    if refusal.code == Code::InvalidArgument {
        details.push(json!({"@type": BAD_REQUEST, "fieldViolations": [{"description": refusal.message}]}));
    }
    let mut status = json!({"code": refusal.code as u8, "message": refusal.message});
    if !details.is_empty() {
        status["details"] = Value::Array(details);
    }
    status.to_string().into()
}

/// What the sender of a request that was taken should know.
#[derive(Clone, Debug, Default)]
pub(crate) struct Remarks {
    /// Rows that were left out.
    pub(crate) rejected: Vec<Rejected>,
    /// Something else.
    pub(crate) warning: Option<&'static str>,
}

impl Remarks {
    const fn is_empty(&self) -> bool {
        self.rejected.is_empty() && self.warning.is_none()
    }
}

/// All of it in one sentence or two; empty if there is nothing to say.
fn message(Remarks { rejected, warning }: &Remarks) -> String {
    let parts = rejected.iter().map(|row| format!("{} for {} (first: `{}`)", row.count, row.reason, row.example));
    let parts: Vec<String> = parts.collect();
    let rejected = (!parts.is_empty()).then(|| format!("rejected: {}; the other items were accepted", parts.join(", ")));
    let sentences: Vec<String> = rejected.into_iter().chain(warning.map(str::to_owned)).collect();
    sentences.join(". ")
}

fn count(rejected: &[Rejected]) -> u64 {
    rejected.iter().map(|row| row.count).sum()
}

/// `Export*ServiceResponse`; all signals have the same field numbers. Empty after full success.
pub(crate) fn response_to_wire(remarks: &Remarks) -> Bytes {
    let (mut response, mut partial) = (Vec::new(), Vec::new());
    if !remarks.is_empty() {
        put_number(&mut partial, 1, count(&remarks.rejected));
        put_bytes(&mut partial, 2, message(remarks).as_bytes());
        put_bytes(&mut response, 1, &partial);
    }
    response.into()
}

/// The same in OTLP/JSON.
pub(crate) fn response_to_json(signal: Signal, remarks: &Remarks) -> Bytes {
    if remarks.is_empty() {
        return Bytes::from_static(b"{}");
    }
    let name = match signal {
        Signal::Traces => "rejectedSpans",
        Signal::Metrics => "rejectedDataPoints",
        Signal::Logs => "rejectedLogRecords",
        Signal::Profiles => "rejectedProfiles",
    };
    let count = count(&remarks.rejected);
    json!({"partialSuccess": {name: count.to_string(), "errorMessage": message(remarks)}}).to_string().into()
}
