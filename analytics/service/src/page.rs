//! The web page: files of `ui/`, embedded. No build chain, no external asset.

use crate::api::{Refusal, Rooms};
use axum::{
    Router,
    extract::Path,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use sha2::{Digest, Sha256};
use std::sync::Arc;

const INDEX: &str = include_str!("../ui/index.html");

/// Addresses of the page; what to show is read from the address by the page itself.
const ADDRESSES: &[&str] = &[
    "/",
    "/incidents",
    "/incidents/{id}",
    "/anomalies",
    "/anomalies/{id}",
    "/services",
    "/series",
    "/series/{key}",
    "/stacks",
    "/spans/{id}",
    "/traces/{id}",
    "/actions",
    "/models",
    "/topology",
    "/traffic",
    "/query",
];

const JS: &str = "text/javascript; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// Files under `/assets/`: name, type, content.
const ASSETS: &[(&str, &str, &[u8])] = &[
    ("anomalies.js", JS, include_bytes!("../ui/anomalies.js")),
    ("api.js", JS, include_bytes!("../ui/api.js")),
    ("app.js", JS, include_bytes!("../ui/app.js")),
    ("attributes.js", JS, include_bytes!("../ui/attributes.js")),
    ("chart.js", JS, include_bytes!("../ui/chart.js")),
    ("dom.js", JS, include_bytes!("../ui/dom.js")),
    ("flame.js", JS, include_bytes!("../ui/flame.js")),
    ("format.js", JS, include_bytes!("../ui/format.js")),
    ("graph.js", JS, include_bytes!("../ui/graph.js")),
    ("incidents.js", JS, include_bytes!("../ui/incidents.js")),
    ("live.js", JS, include_bytes!("../ui/live.js")),
    ("overview.js", JS, include_bytes!("../ui/overview.js")),
    ("services.js", JS, include_bytes!("../ui/services.js")),
    ("stacks.js", JS, include_bytes!("../ui/stacks.js")),
    ("traffic.js", JS, include_bytes!("../ui/traffic.js")),
    ("workbench.js", JS, include_bytes!("../ui/workbench.js")),
    ("style.css", CSS, include_bytes!("../ui/style.css")),
    ("icon.svg", SVG, include_bytes!("../ui/icon.svg")),
];

/// Only our own files, no inline script.
const POLICY: &str = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; object-src 'none'; base-uri 'none'; frame-ancestors 'none'";

/// Routes of the page and its files.
pub fn routes() -> Router<Arc<Rooms>> {
    let page = || get(|headers: HeaderMap| async move { file(&headers, "text/html; charset=utf-8", INDEX.as_bytes()) });
    let router = ADDRESSES.iter().fold(Router::new(), |router, address| router.route(address, page()));
    router.route("/assets/{*name}", get(asset))
}

async fn asset(Path(name): Path<String>, headers: HeaderMap) -> Response {
    match ASSETS.iter().find(|(known, _, _)| *known == name) {
        Some((_, kind, content)) => file(&headers, kind, content),
        None => Refusal::new(StatusCode::NOT_FOUND, format!("no asset is named `{name}`")).into_response(),
    }
}

/// A file with its hash as entity tag: reloaded in no time, never stale.
fn file(headers: &HeaderMap, kind: &'static str, content: &'static [u8]) -> Response {
    let digest = Sha256::digest(content);
    let tag = format!("\"{}\"", digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect::<String>());
    let known = headers.get(header::IF_NONE_MATCH).is_some_and(|value| value.as_bytes() == tag.as_bytes());
    let mut response = if known { StatusCode::NOT_MODIFIED.into_response() } else { content.into_response() };
    let fields = response.headers_mut();
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    fields.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        fields.insert(header::ETAG, tag);
    }
    response
}
