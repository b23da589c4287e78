//! The client of one destination: delivers requests, tries again where that helps, and slows down
//! when told to. Cheap to share behind an `Arc`; one HTTP/2 connection, or a pool of HTTP/1 ones.
//!
//! Invariant: every item is counted once, as exported or as not, with the reason.

use crate::{
    answer::{Answer, read_grpc, read_http},
    config::{ClientConfig, Compression, Protocol},
    error::ClientError,
    json::to_json,
    request::ExportRequest,
    retry::Backoff,
    tls::Trust,
    wire::{compress, frame, grpc_path, http_path},
};
use bytes::Bytes;
use geophone_proto::Signal;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client as HyperClient, connect::HttpConnector},
    rt::TokioExecutor,
};
use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// Larger answers are not read.
const RESPONSE_BYTES_MAX: usize = 4 << 20;

/// How an accepted request came out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// Items taken.
    pub accepted: u64,
    /// Items refused for good (partial success).
    pub rejected: u64,
    /// The server's words, or empty; a warning where nothing was refused.
    pub message: String,
}

impl Exported {
    pub(crate) fn of(items: u64, rejected: u64, message: String) -> Self {
        Self { accepted: items.saturating_sub(rejected), rejected, message }
    }
}

/// See the module.
#[derive(Debug)]
pub struct Client {
    config: ClientConfig,
    base: String,
    fields: Vec<(HeaderName, HeaderValue)>,
    http: HyperClient<HttpsConnector<HttpConnector>, Full<Bytes>>,
    backoff: Mutex<Backoff>,
    /// The server asked for quiet until then.
    quiet_until: Mutex<Option<Instant>>,
}

impl Client {
    /// Checks the configuration; connects with the first request.
    pub fn new(config: ClientConfig) -> Result<Self, ClientError> {
        let (base, fields) = (config.base()?, config.fields()?);
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(config.timeout));
        let trust = Trust::of(config.ca_file.as_deref())?.into_config();
        let secured = HttpsConnectorBuilder::new().with_tls_config(trust).https_or_http();
        let connector = if config.protocol == Protocol::Grpc { secured.enable_http2() } else { secured.enable_all_versions() }
            .wrap_connector(connector);
        let mut builder = HyperClient::builder(TokioExecutor::new());
        builder.http2_only(config.protocol == Protocol::Grpc);
        let http = builder.build(connector);
        let backoff = Mutex::new(Backoff::new(config.retry.clone()));
        Ok(Self { config, base, fields, http, backoff, quiet_until: Mutex::new(None) })
    }

    /// How it was configured.
    pub const fn config(&self) -> &ClientConfig {
        &self.config
    }

    /// Delivers a request.
    pub async fn export(&self, request: ExportRequest) -> Result<Exported, ClientError> {
        let (signal, items) = (request.signal(), request.items());
        let body = match self.config.protocol {
            Protocol::HttpJson => Bytes::from(to_json(&request).to_string()),
            Protocol::Grpc | Protocol::HttpProtobuf => request.encode(),
        };
        drop(request);
        self.deliver(signal, body, items).await
    }

    /// Delivers a request that is protobuf bytes already; `items` is how many rows it holds.
    pub async fn export_raw(&self, signal: Signal, body: Bytes, items: u64) -> Result<Exported, ClientError> {
        if self.config.protocol == Protocol::HttpJson {
            let request = ExportRequest::decode(signal, body).map_err(|error| ClientError::Encode { why: error.to_string() })?;
            return self.export(request).await;
        }
        self.deliver(signal, body, items).await
    }

    async fn deliver(&self, signal: Signal, body: Bytes, items: u64) -> Result<Exported, ClientError> {
        let begun = Instant::now();
        let outcome = self.attempts(signal, body, items).await;
        let name = signal.as_str();
        metrics::histogram!("otel.sdk.exporter.operation.duration", "signal" => name).record(begun.elapsed().as_secs_f64());
        match &outcome {
            Ok(exported) => {
                metrics::counter!("otel.sdk.exporter.exported", "signal" => name).increment(exported.accepted);
                if exported.rejected > 0 {
                    count_dropped(signal, "partial_success", exported.rejected);
                }
            }
            Err(error) => count_dropped(signal, error.reason(), items),
        }
        outcome
    }

    async fn attempts(&self, signal: Signal, body: Bytes, items: u64) -> Result<Exported, ClientError> {
        let limit = self.config.request_bytes_max;
        if body.len() > limit {
            return Err(ClientError::TooLarge { bytes: body.len(), limit });
        }
        let body = compress(body, self.config.compression)?;
        let body = if self.config.protocol == Protocol::Grpc { frame(&body, self.config.compression != Compression::None) } else { body };
        let begun = Instant::now();
        for attempt in 1.. {
            self.hush().await;
            let (delay, failure) = match self.attempt(signal, body.clone(), items).await {
                Ok(Answer::Done(exported)) => return Ok(exported),
                Ok(Answer::Never { code, message }) => return Err(ClientError::Refused { code, message }),
                Ok(Answer::Again { delay, code, message }) => {
                    (delay, ClientError::Exhausted { attempts: attempt, waited: begun.elapsed(), code, message })
                }
                Err(error) => (None, error),
            };
            let wait = self.backoff.lock().unwrap_or_else(PoisonError::into_inner).wait(attempt, begun.elapsed(), delay);
            let Some(wait) = wait else { return Err(failure) };
            metrics::counter!("geophone_client_retries_total", "signal" => signal.as_str()).increment(1);
            if delay.is_some() {
                self.be_quiet(wait);
            } else {
                tokio::time::sleep(wait).await;
            }
        }
        Err(ClientError::Encode { why: "more attempts than can be counted".to_owned() })
    }

    /// Waits while the server wants quiet.
    async fn hush(&self) {
        let until = *self.quiet_until.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(until) = until {
            tokio::time::sleep_until(until).await;
        }
    }

    /// No request of this client leaves before this has passed.
    fn be_quiet(&self, wait: Duration) {
        let until = Instant::now() + wait;
        let mut quiet = self.quiet_until.lock().unwrap_or_else(PoisonError::into_inner);
        *quiet = Some(quiet.map_or(until, |before| before.max(until)));
    }

    async fn attempt(&self, signal: Signal, body: Bytes, items: u64) -> Result<Answer, ClientError> {
        let request = self.request(signal, body)?;
        let exchange = async {
            let response = self.http.request(request).await.map_err(|error| self.unreachable(&error))?;
            self.read(signal, items, response).await
        };
        match tokio::time::timeout(self.config.timeout, exchange).await {
            Ok(answer) => answer,
            Err(_) => {
                let message = format!("no answer within {:?}", self.config.timeout);
                Ok(Answer::Again { delay: None, code: "DEADLINE_EXCEEDED".to_owned(), message })
            }
        }
    }

    fn request(&self, signal: Signal, body: Bytes) -> Result<Request<Full<Bytes>>, ClientError> {
        let is_grpc = self.config.protocol == Protocol::Grpc;
        let path = if is_grpc { grpc_path(signal) } else { http_path(signal) };
        let kind = match self.config.protocol {
            Protocol::Grpc => "application/grpc",
            Protocol::HttpProtobuf => "application/x-protobuf",
            Protocol::HttpJson => "application/json",
        };
        let mut request = Request::post(format!("{}{path}", self.base))
            .header(header::CONTENT_TYPE, kind)
            .header(header::USER_AGENT, concat!("geophone-client/", env!("CARGO_PKG_VERSION")));
        if is_grpc {
            request = request.header(header::TE, "trailers").header("grpc-timeout", format!("{}m", self.config.timeout.as_millis()));
        }
        if let Some(encoding) = self.config.compression.encoding() {
            request = request.header(if is_grpc { "grpc-encoding" } else { "content-encoding" }, encoding);
        }
        for (name, value) in &self.fields {
            request = request.header(name, value);
        }
        request.body(Full::new(body)).map_err(|error| ClientError::Encode { why: error.to_string() })
    }

    async fn read(&self, signal: Signal, items: u64, response: Response<Incoming>) -> Result<Answer, ClientError> {
        let (head, body) = response.into_parts();
        let collected = Limited::new(body, RESPONSE_BYTES_MAX).collect().await;
        let collected = collected.map_err(|error| ClientError::Unreachable { endpoint: self.base.clone(), why: error.to_string() })?;
        let trailers = collected.trailers().cloned();
        let body = collected.to_bytes();
        Ok(match self.config.protocol {
            Protocol::Grpc if head.status.is_success() => {
                let fields: HeaderMap = trailers.filter(|fields| fields.contains_key("grpc-status")).unwrap_or(head.headers);
                read_grpc(signal, items, &fields, &body)
            }
            Protocol::Grpc | Protocol::HttpProtobuf | Protocol::HttpJson => read_http(signal, items, head.status, &head.headers, &body),
        })
    }

    fn unreachable(&self, error: &(dyn std::error::Error + 'static)) -> ClientError {
        let mut why = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            why = cause.to_string();
            source = cause.source();
        }
        ClientError::Unreachable { endpoint: self.base.clone(), why }
    }
}

/// Counts items that will not arrive.
pub(crate) fn count_dropped(signal: Signal, reason: &'static str, items: u64) {
    metrics::counter!("geophone_client_dropped_items_total", "signal" => signal.as_str(), "reason" => reason).increment(items);
}
