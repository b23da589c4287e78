//! Requests that we send: one HTTP client for the command line, alerts and actions.

use bytes::Bytes;
use geophone_client::Trust;
use http::{Method, Request};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use std::{collections::BTreeMap, path::Path, time::Duration};

/// Longer answers are cut off as an error.
const ANSWER_BYTES_MAX: usize = 256 << 20;

/// Status and body of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// Body.
    pub body: Bytes,
}

/// Sends requests over HTTP and HTTPS. Cheap to clone; keeps connections.
#[derive(Clone, Debug)]
pub struct Outgoing {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl Default for Outgoing {
    fn default() -> Self {
        let connector = HttpsConnectorBuilder::new().with_webpki_roots().https_or_http().enable_http1().build();
        Self { client: Client::builder(TokioExecutor::new()).build(connector) }
    }
}

impl Outgoing {
    /// Trusts whom a PEM file names instead of the public authorities.
    pub fn trusting(path: &Path) -> Result<Self, String> {
        let config = Trust::of(Some(path)).map_err(|error| error.to_string())?.into_config();
        let connector = HttpsConnectorBuilder::new().with_tls_config(config).https_or_http().enable_http1().build();
        Ok(Self { client: Client::builder(TokioExecutor::new()).build(connector) })
    }

    /// Sends one request; the error is one sentence that names the URL.
    #[allow(clippy::too_many_arguments, reason = "the five parts of a request, and nothing else")]
    pub async fn send(
        &self,
        method: &str,
        url: &str,
        headers: &BTreeMap<String, String>,
        body: impl Into<Bytes>,
        timeout: Duration,
    ) -> Result<Reply, String> {
        let method = Method::from_bytes(method.as_bytes()).map_err(|_| format!("`{method}` is not an HTTP method"))?;
        let mut request = Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(body.into())).map_err(|error| format!("`{url}`: {error}"))?;
        let exchange = async {
            let answer = self.client.request(request).await.map_err(|error| format!("`{url}`: {}", innermost(&error)))?;
            let status = answer.status().as_u16();
            let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
            Ok(Reply { status, body: body.map_err(|error| format!("`{url}`: {error}"))?.to_bytes() })
        };
        tokio::time::timeout(timeout, exchange).await.unwrap_or_else(|_| Err(format!("`{url}` did not answer within {timeout:?}")))
    }
}

/// The cause at the bottom: `connection refused` rather than `client error`.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}
