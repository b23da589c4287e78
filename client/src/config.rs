//! What a client is told before it starts.

use crate::{error::ClientError, retry::RetryPolicy};
use http::{HeaderName, HeaderValue, Uri};
use std::{path::PathBuf, time::Duration};

/// How requests travel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// OTLP/gRPC over HTTP/2.
    #[default]
    Grpc,
    /// OTLP/HTTP with protobuf bodies.
    HttpProtobuf,
    /// OTLP/HTTP with JSON bodies.
    HttpJson,
}

/// How bodies are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// gzip.
    Gzip,
    /// zstd.
    Zstd,
}

impl Compression {
    /// The name in headers; `None` for no compression.
    pub const fn encoding(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Gzip => Some("gzip"),
            Self::Zstd => Some("zstd"),
        }
    }
}

/// Everything about one destination.
#[derive(Clone, Debug, PartialEq)]
pub struct ClientConfig {
    /// `http://host:port`, `https://host:port`, or `host:port` without TLS; for HTTP a path is put before
    /// `/v1/traces`.
    pub endpoint: String,
    /// For `https`: PEM file with the authorities to trust instead of the public ones.
    pub ca_file: Option<PathBuf>,
    /// How requests travel.
    pub protocol: Protocol,
    /// How bodies are compressed.
    pub compression: Compression,
    /// One attempt at most, 10 s unless said otherwise.
    pub timeout: Duration,
    /// Further header fields of every request.
    pub headers: Vec<(String, String)>,
    /// When to try again.
    pub retry: RetryPolicy,
    /// Requests at the same time that `Queue::work` should be run for.
    pub concurrency: usize,
    /// Bytes that may wait in the queue.
    pub queue_bytes: usize,
    /// Larger requests are refused here, before compression.
    pub request_bytes_max: usize,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            endpoint: "http://127.0.0.1:4317".to_owned(),
            ca_file: None,
            protocol: Protocol::Grpc,
            compression: Compression::None,
            timeout: Duration::from_secs(10),
            headers: Vec::new(),
            retry: RetryPolicy::default(),
            concurrency: 1,
            queue_bytes: 16 << 20,
            request_bytes_max: 64 << 20,
        }
    }
}

impl ClientConfig {
    /// The address with its scheme, without a trailing slash.
    pub(crate) fn base(&self) -> Result<String, ClientError> {
        let text = self.endpoint.trim().trim_end_matches('/');
        let text = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let bad = |why: &str| ClientError::BadEndpoint { endpoint: self.endpoint.clone(), why: why.to_owned() };
        let uri: Uri = text.parse().map_err(|_| bad("it is no address"))?;
        match (uri.scheme_str(), uri.host()) {
            (Some("http" | "https"), Some(_)) => Ok(text),
            _ => Err(bad("it is no http or https address")),
        }
    }

    /// The further header fields, checked.
    pub(crate) fn fields(&self) -> Result<Vec<(HeaderName, HeaderValue)>, ClientError> {
        let one = |(name, value): &(String, String)| {
            let pair = name.parse().ok().zip(value.parse().ok());
            pair.ok_or_else(|| ClientError::BadHeader { name: name.clone() })
        };
        self.headers.iter().map(one).collect()
    }
}
