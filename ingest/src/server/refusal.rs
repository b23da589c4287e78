//! Every way to say no, with the codes of both transports: the one place that maps classes to codes.

use crate::access::Denied;
use geophone_proto::Class;
use http::StatusCode;
use std::time::Duration;

/// gRPC codes in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Code {
    InvalidArgument = 3,
    DeadlineExceeded = 4,
    NotFound = 5,
    PermissionDenied = 7,
    ResourceExhausted = 8,
    Unimplemented = 12,
    Internal = 13,
    Unavailable = 14,
    Unauthenticated = 16,
}

/// Why a request is refused, for its sender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: Code,
    pub(crate) http: StatusCode,
    /// A word for metrics.
    pub(crate) reason: &'static str,
    /// For people.
    pub(crate) message: String,
    /// When to come again; only where coming again unchanged may help.
    pub(crate) retry_after: Option<Duration>,
}

/// The reason of a 401.
pub(crate) const UNAUTHENTICATED: &str = "unauthenticated";

/// Longest message that is sent.
const MESSAGE_BYTES_MAX: usize = 1024;

impl Refusal {
    pub(crate) fn new(code: Code, http: StatusCode, reason: &'static str, message: impl Into<String>) -> Self {
        let mut message = message.into();
        message.truncate(message.floor_char_boundary(MESSAGE_BYTES_MAX));
        Self { code, http, reason, message, retry_after: None }
    }

    /// Bad data: never to be sent again.
    pub(crate) fn malformed(message: impl Into<String>) -> Self {
        Self::new(Code::InvalidArgument, StatusCode::BAD_REQUEST, "malformed", message)
    }

    /// Larger than allowed, as sent or unpacked: not retryable, so without a delay.
    pub(crate) fn too_large(bytes_max: usize) -> Self {
        let message = format!("request is larger than {bytes_max} bytes, as sent or decompressed; send fewer items at once");
        Self::new(Code::ResourceExhausted, StatusCode::PAYLOAD_TOO_LARGE, "too_large", message)
    }

    /// More than all open requests may hold, even alone: as final as `too_large`.
    pub(crate) fn never_fits(bytes_max: usize) -> Self {
        let message = format!(
            "the request would hold more than {bytes_max} bytes, its columns included, which is more than it may of the memory for open \
             requests; send fewer items at once, or raise `memory_limit`"
        );
        Self::new(Code::ResourceExhausted, StatusCode::PAYLOAD_TOO_LARGE, "too_large", message)
    }

    /// Over budget or asked to slow down.
    pub(crate) fn busy(reason: &'static str, delay: Duration, message: impl Into<String>) -> Self {
        let refusal = Self::new(Code::Unavailable, StatusCode::SERVICE_UNAVAILABLE, reason, message);
        Self { retry_after: Some(delay), ..refusal }
    }

    /// Over its tenant's budget: retryable, and the sender must slow down.
    pub(crate) fn over_limit(reason: &'static str, delay: Duration) -> Self {
        let message = "the tenant has used up its budget, send again after the delay, and less";
        let refusal = Self::new(Code::ResourceExhausted, StatusCode::TOO_MANY_REQUESTS, reason, message);
        Self { retry_after: Some(delay), ..refusal }
    }

    /// Who asks is not known, or not allowed to: never to be sent again as it is.
    pub(crate) fn denied(denied: Denied) -> Self {
        match denied {
            Denied::Unauthenticated(message) => Self::new(Code::Unauthenticated, StatusCode::UNAUTHORIZED, UNAUTHENTICATED, message),
            Denied::Forbidden(message) => Self::new(Code::PermissionDenied, StatusCode::FORBIDDEN, "forbidden", message),
        }
    }

    /// The body came too slowly.
    pub(crate) fn slow() -> Self {
        let message = "the body did not come in time, send it again";
        Self::busy("slow_body", Duration::from_secs(1), message)
    }

    /// The sender's own deadline passed.
    pub(crate) fn deadline() -> Self {
        let message = "the deadline of the request passed before it was safe";
        Self::new(Code::DeadlineExceeded, StatusCode::GATEWAY_TIMEOUT, "deadline", message)
    }

    /// What the log answered. Only `Reject` is final: with any other class the data are still good,
    /// and a sender told 500 or INTERNAL would throw them away.
    pub(crate) fn from_class(class: Class, message: String, delay: Duration) -> Self {
        match class {
            Class::Reject => Self::malformed(message),
            Class::Busy => Self::busy("busy", delay, message),
            Class::Retry => Self::busy("retry", delay, message),
            Class::Config | Class::Fatal | Class::Bug => Self::busy(class.as_str(), delay, message),
        }
    }
}
