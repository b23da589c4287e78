//! Every way to say no, with the codes of both transports: the one place that maps classes to codes.

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
    ResourceExhausted = 8,
    Unimplemented = 12,
    Internal = 13,
    Unavailable = 14,
}

/// Why a request is refused, for its sender.
#[derive(Clone, Debug)]
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

    /// Over budget or asked to slow down.
    pub(crate) fn busy(reason: &'static str, delay: Duration, message: impl Into<String>) -> Self {
        let refusal = Self::new(Code::Unavailable, StatusCode::SERVICE_UNAVAILABLE, reason, message);
        Self { retry_after: Some(delay), ..refusal }
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
