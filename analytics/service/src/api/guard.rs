//! Who may ask the API, and from where: a browser must not become a stranger's arm.
//!
//! Tokens: where one is configured for reading or acting, everything but the health checks asks for it.
//! DNS rebinding: a request must name us by an IP address, `localhost` or a name that the operator allowed.
//! Cross-site writes: a request that changes something must come from our own page or from no page.

use super::{refusal::Refusal, rooms::Rooms};
use axum::{
    extract::{Request, State},
    http::{HeaderMap, Method, StatusCode, Uri, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use geophone_ingest::{Access, Denied, Grant, Right};
use std::{net::IpAddr, sync::Arc};

/// Lets a request pass or answers 403 or 421.
pub async fn guard(State(rooms): State<Arc<Rooms>>, mut request: Request, next: Next) -> Response {
    let checked = check(request.method(), request.uri(), request.headers(), &rooms.allowed_hosts);
    match checked.and_then(|()| identify(&rooms.access, &request)) {
        Ok(grant) => {
            if let Some(grant) = grant {
                request.extensions_mut().insert(grant);
            }
            next.run(request).await
        }
        Err(refusal) => refusal.into_response(),
    }
}

/// Nobody is asked for a token here.
const OPEN_TO_ALL: [&str; 2] = ["/livez", "/readyz"];
/// Asks with a body, and changes nothing.
const READ_BY_POST: &str = "/api/v1/query";

/// Finds out who asks; `None` where nobody is asked.
fn identify(access: &Access, request: &Request) -> Result<Option<Grant>, Refusal> {
    let path = request.uri().path();
    if OPEN_TO_ALL.contains(&path) {
        return Ok(None);
    }
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS) || path == READ_BY_POST;
    let granted = access.identify(request.headers(), if is_read { Right::Read } else { Right::Act });
    granted.map(Some).map_err(|denied| match denied {
        Denied::Unauthenticated(message) => Refusal::new(StatusCode::UNAUTHORIZED, message),
        Denied::Forbidden(message) => Refusal::new(StatusCode::FORBIDDEN, message),
    })
}

pub(super) fn check(method: &Method, uri: &Uri, headers: &HeaderMap, allowed: &[String]) -> Result<(), Refusal> {
    let named = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let host = named.or_else(|| uri.authority().map(|authority| authority.as_str())).unwrap_or_default();
    if !is_ours(host_name(host), allowed) {
        let detail = format!("host `{host}` is not ours: ask by IP address or localhost, or add the name to `api.allowed_hosts`");
        return Err(Refusal::new(StatusCode::MISDIRECTED_REQUEST, detail));
    }
    if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) {
        return Ok(());
    }
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let foreign_origin = text(header::ORIGIN).filter(|origin| origin.split_once("://").is_none_or(|(_, authority)| authority != host));
    let foreign_site = text(header::HeaderName::from_static("sec-fetch-site")).filter(|site| !matches!(*site, "same-origin" | "none"));
    match foreign_origin.or(foreign_site) {
        Some(from) => Err(Refusal::new(StatusCode::FORBIDDEN, format!("a write from another site (`{from}`) is refused"))),
        None => Ok(()),
    }
}

/// The host without its port.
fn host_name(host: &str) -> &str {
    if host.starts_with('[') {
        return host.split_inclusive(']').next().unwrap_or(host);
    }
    host.rsplit_once(':').map_or(host, |(name, _)| name)
}

fn is_ours(name: &str, allowed: &[String]) -> bool {
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    bare.parse::<IpAddr>().is_ok() || name.eq_ignore_ascii_case("localhost") || allowed.iter().any(|host| host.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(method: &str, fields: &[(&'static str, &str)]) -> u16 {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.insert(*name, value.parse().expect("a header value"));
        }
        let method = method.parse().expect("a method");
        check(&method, &Uri::from_static("/x"), &headers, &["geo.example".into()]).map_or_else(|refusal| refusal.status.as_u16(), |()| 200)
    }

    #[test]
    fn only_our_own_names_are_answered() {
        for host in ["127.0.0.1:8080", "localhost:1", "localhost", "[::1]:8080", "10.0.0.1", "geo.example", "LOCALHOST:80"] {
            assert_eq!(status("GET", &[("host", host)]), 200, "{host}");
        }
        for host in ["evil.example:8080", "127.0.0.1.evil.example", "", "localhost.evil"] {
            assert_eq!(status("GET", &[("host", host)]), 421, "{host}");
        }
    }

    #[test]
    fn writes_come_from_our_page_or_from_none() {
        let host = ("host", "127.0.0.1:8080");
        assert_eq!(status("POST", &[host]), 200);
        assert_eq!(status("POST", &[host, ("origin", "http://127.0.0.1:8080"), ("sec-fetch-site", "same-origin")]), 200);
        assert_eq!(status("POST", &[host, ("origin", "http://evil.example")]), 403);
        assert_eq!(status("POST", &[host, ("origin", "null")]), 403);
        assert_eq!(status("POST", &[host, ("sec-fetch-site", "cross-site")]), 403);
        assert_eq!(status("GET", &[host, ("origin", "http://evil.example")]), 200);
    }
}
