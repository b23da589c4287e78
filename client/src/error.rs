//! Why a request was not delivered.

use geophone_proto::Class;
use std::{path::PathBuf, time::Duration};

/// A request that was not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// The endpoint cannot be used.
    #[error("endpoint `{endpoint}` cannot be used: {why}; write http://host:port or https://host:port")]
    BadEndpoint {
        /// As given.
        endpoint: String,
        /// What is wrong with it.
        why: String,
    },
    /// The certificates to trust cannot be read.
    #[error("`{}`: {why}; name a PEM file with certificates", path.display())]
    BadTrust {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A header field cannot be sent.
    #[error("header `{name}` has a name or value that http does not allow; change the client's headers")]
    BadHeader {
        /// Its name.
        name: String,
    },
    /// The request is larger than this client may send.
    #[error("request of {bytes} bytes is over the limit of {limit}; send smaller batches")]
    TooLarge {
        /// Its size before compression.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The server refused it for good.
    #[error("server refused the request: {code}: {message}")]
    Refused {
        /// gRPC or HTTP status.
        code: String,
        /// The server's words.
        message: String,
    },
    /// Nobody answers at the endpoint.
    #[error("nothing answers at {endpoint}: {why}; is the server running there?")]
    Unreachable {
        /// Where.
        endpoint: String,
        /// What the connection said.
        why: String,
    },
    /// The server said to come back later until patience ran out.
    #[error("gave up after {attempts} attempts in {waited:?}: {code}: {message}")]
    Exhausted {
        /// Attempts made.
        attempts: u32,
        /// Time since the first.
        waited: Duration,
        /// Last gRPC or HTTP status.
        code: String,
        /// Last words.
        message: String,
    },
    /// The body could not be compressed or transcoded.
    #[error("request body cannot be encoded: {why}")]
    Encode {
        /// What failed.
        why: String,
    },
}

impl ClientError {
    /// What it asks of the caller.
    pub const fn class(&self) -> Class {
        match self {
            Self::BadEndpoint { .. } | Self::BadTrust { .. } | Self::BadHeader { .. } => Class::Config,
            Self::TooLarge { .. } | Self::Refused { .. } | Self::Encode { .. } => Class::Reject,
            Self::Unreachable { .. } => Class::Retry,
            Self::Exhausted { .. } => Class::Busy,
        }
    }

    /// The label value in metrics.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::BadEndpoint { .. } => "bad_endpoint",
            Self::BadTrust { .. } => "bad_trust",
            Self::BadHeader { .. } => "bad_header",
            Self::TooLarge { .. } => "too_large",
            Self::Refused { .. } => "refused",
            Self::Unreachable { .. } => "unreachable",
            Self::Exhausted { .. } => "exhausted",
            Self::Encode { .. } => "encode",
        }
    }
}
