//! Asking a running server.

use crate::{error::ServiceError, outgoing::Outgoing};
use clap::Args;
use serde_json::Value;
use std::{collections::BTreeMap, path::PathBuf, time::Duration};

/// `--endpoint`, for commands that ask a running server.
#[derive(Clone, Debug, Args)]
pub struct Remote {
    /// Where the server is [default: http://127.0.0.1:8080].
    #[arg(long, env = "GEOPHONE_ENDPOINT", value_name = "URL")]
    endpoint: Option<String>,
    /// Token to show, where the server asks for one.
    #[arg(long, env = "GEOPHONE_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// PEM file with who vouches for the server's certificate [default: the public authorities].
    #[arg(long, env = "GEOPHONE_CA_FILE", value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

/// Content type of everything but files.
const JSON: &str = "application/json";
/// Queries end after 10 s by themselves.
const PATIENCE: Duration = Duration::from_secs(60);

impl Remote {
    /// Whether somebody named a server.
    pub fn is_named(&self) -> bool {
        self.endpoint.is_some()
    }

    /// `GET`, JSON back.
    pub fn get(&self, path: &str, params: &[(&str, Option<String>)]) -> Result<Value, ServiceError> {
        let mut query = String::new();
        for (name, value) in params {
            if let Some(value) = value {
                query += &format!("{}{name}={}", if query.is_empty() { '?' } else { '&' }, escape(value));
            }
        }
        self.exchange("GET", &format!("{path}{query}"), (Vec::new(), JSON))
    }

    /// `POST`, JSON in, JSON back.
    pub fn post(&self, path: &str, body: &Value) -> Result<Value, ServiceError> {
        self.exchange("POST", path, (body.to_string().into_bytes(), JSON))
    }

    /// `POST` of other content, JSON back.
    pub fn post_content(&self, path: &str, (body, kind): (Vec<u8>, &str)) -> Result<Value, ServiceError> {
        self.exchange("POST", path, (body, kind))
    }

    /// `POST`, JSON in, a file back, after the work of `length` that it asks for.
    pub fn post_for_file(&self, path: &str, body: &Value, length: Duration) -> Result<Vec<u8>, ServiceError> {
        self.send("POST", path, (body.to_string().into_bytes(), JSON), PATIENCE + length)
    }

    fn exchange(&self, method: &str, path: &str, content: (Vec<u8>, &str)) -> Result<Value, ServiceError> {
        Ok(serde_json::from_slice(&self.send(method, path, content, PATIENCE)?).unwrap_or_default())
    }

    fn send(&self, method: &str, path: &str, (body, kind): (Vec<u8>, &str), patience: Duration) -> Result<Vec<u8>, ServiceError> {
        let base = self.endpoint.as_deref().unwrap_or("http://127.0.0.1:8080").trim_end_matches('/');
        let scheme = if base.contains("://") { "" } else { "http://" };
        let url = format!("{scheme}{base}{path}");
        let mut headers = BTreeMap::from([("content-type".to_owned(), kind.to_owned())]);
        headers.extend(self.token.as_ref().map(|token| ("authorization".to_owned(), format!("Bearer {token}"))));
        let outgoing = self.ca_file.as_deref().map_or_else(|| Ok(Outgoing::default()), Outgoing::trusting).map_err(ServiceError::Usage)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(ServiceError::io("start a runtime"))?;
        let reply = runtime.block_on(async { outgoing.send(method, &url, &headers, body, patience).await });
        let reply = reply
            .map_err(|error| ServiceError::Remote(format!("{error}: is `geophone serve` running there? else name it with --endpoint")))?;
        if (200..300).contains(&reply.status) {
            return Ok(reply.body.into());
        }
        let answer: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
        let detail = answer.get("detail").and_then(Value::as_str);
        Err(ServiceError::Negative(detail.map_or_else(|| format!("the server answered {}", reply.status), str::to_owned)))
    }
}

/// Percent-encodes everything but letters, digits and `-._~`.
pub(crate) fn escape(text: &str) -> String {
    let byte = |byte: u8| {
        let plain = byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        if plain { char::from(byte).to_string() } else { format!("%{byte:02X}") }
    };
    text.bytes().map(byte).collect()
}
