//! Whom to ask: addresses, limits, patience.

use crate::{error::ClientError, tls::Trust};
use geophone_proto::UnixNanos;
use http::{HeaderName, HeaderValue, Uri};
use std::time::Duration;

/// Sizes that OTLP recommends for requests, and for responses.
pub(crate) const REQUEST_BYTES: usize = 64 << 20;
pub(crate) const RESPONSE_BYTES: usize = 4 << 20;
/// Default ports (OTLP-02).
pub(crate) const GRPC_PORT: u16 = 4317;
pub(crate) const HTTP_PORT: u16 = 4318;

/// A host, a port, and for HTTP what stands before `/v1/traces`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Begins with `/` or is empty; never ends with `/`.
    pub prefix: String,
    /// Whether TLS is spoken there.
    pub is_tls: bool,
}

/// An address that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// It is no address.
    #[error("`{0}` is no address: write host:port, http://host:port or https://host:port")]
    NotAnAddress(String),
    /// The certificates to trust cannot be used.
    #[error("{0}")]
    Trust(#[from] ClientError),
    /// A header cannot be sent.
    #[error("header `{0}` is none: write name=value")]
    Header(String),
    /// Neither transport is named.
    #[error("nothing to check: name an ENDPOINT, --grpc or --http")]
    Nothing,
    /// Nobody answers.
    #[error("nothing answers at {place}: {why}; is the server running there?")]
    Unreachable {
        /// Where.
        place: String,
        /// What the connection said.
        why: String,
    },
}

impl Place {
    /// Reads `host`, `host:port` or a URL.
    pub fn parse(text: &str, default_port: u16) -> Result<Self, TargetError> {
        let wrong = || TargetError::NotAnAddress(text.into());
        let whole = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let uri: Uri = whole.parse().map_err(|_| wrong())?;
        let is_tls = match uri.scheme_str() {
            Some("http" | "grpc") => false,
            Some("https" | "grpcs") => true,
            _ => return Err(wrong()),
        };
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(wrong)?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        // `host:` and `host:99999` have a colon and no port.
        let port = match uri.port_u16() {
            Some(port) => port,
            None if uri
                .authority()
                .is_some_and(|authority| authority.as_str().trim_end_matches(|c| c != ':' && c != ']').ends_with(':')) =>
            {
                return Err(wrong());
            }
            None => default_port,
        };
        Ok(Self { host, port, prefix: uri.path().trim_end_matches('/').to_owned(), is_tls })
    }

    /// `host:port`, as it stands in a request.
    pub(crate) fn authority(&self) -> String {
        if self.host.contains(':') { format!("[{}]:{}", self.host, self.port) } else { format!("{}:{}", self.host, self.port) }
    }
}

/// Whom to ask, and how.
#[derive(Clone, Debug)]
pub struct Target {
    /// Where gRPC is spoken.
    pub grpc: Option<Place>,
    /// Where HTTP is spoken.
    pub http: Option<Place>,
    /// The request size that the server is known to refuse above.
    pub request_bytes_max: usize,
    /// Fill open requests with so many bytes to provoke an overload answer; 0 = only many small requests.
    pub overload_bytes: usize,
    /// Requests held open at once to see whether the server has a bound.
    pub requests_at_once: u64,
    /// Leave out a transport that is not spoken at its address, where the address was not given for it.
    pub is_guessed: bool,
    /// Sent with every request: tokens, tenants.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// For `https` addresses: whom to trust instead of the public authorities.
    pub trust: Option<Trust>,
    /// Longest wait for one answer.
    pub timeout: Duration,
    /// Time of the rows that are sent; ids are made from it as well.
    pub at: UnixNanos,
}

impl Target {
    /// The usual limits, no address yet.
    pub const fn new(at: UnixNanos) -> Self {
        Self {
            at,
            grpc: None,
            http: None,
            request_bytes_max: REQUEST_BYTES,
            overload_bytes: 0,
            requests_at_once: 128,
            is_guessed: false,
            headers: Vec::new(),
            trust: None,
            timeout: Duration::from_secs(10),
        }
    }

    /// Asks one address for the transports that have none yet: a host alone means the default ports, and a
    /// port of its own is asked for both. What is not spoken there is left out.
    pub fn with_endpoint(mut self, endpoint: &str) -> Result<Self, TargetError> {
        let (grpc, http) = (Place::parse(endpoint, GRPC_PORT)?, Place::parse(endpoint, HTTP_PORT)?);
        self.is_guessed = true;
        self.grpc = self.grpc.or(Some(grpc));
        self.http = self.http.or(Some(http));
        Ok(self)
    }

    /// Sets the address of gRPC.
    pub fn with_grpc(mut self, address: &str) -> Result<Self, TargetError> {
        self.grpc = Some(Place::parse(address, GRPC_PORT)?);
        Ok(self)
    }

    /// Sets the address of HTTP.
    pub fn with_http(mut self, url: &str) -> Result<Self, TargetError> {
        self.http = Some(Place::parse(url, HTTP_PORT)?);
        Ok(self)
    }

    /// Adds a header, given as `name=value` or `name: value`.
    pub fn with_header(mut self, text: &str) -> Result<Self, TargetError> {
        let wrong = || TargetError::Header(text.into());
        let (name, value) = text.split_once(['=', ':']).ok_or_else(wrong)?;
        let name = name.trim().to_ascii_lowercase().parse().map_err(|_| wrong())?;
        let value = value.trim().parse().map_err(|_| wrong())?;
        self.headers.push((name, value));
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_people_write_them() {
        let place = |host: &str, port, prefix: &str| Ok(Place { host: host.into(), port, prefix: prefix.into(), is_tls: false });
        assert_eq!(Place::parse("localhost", 4317), place("localhost", 4317, ""));
        assert_eq!(Place::parse("127.0.0.1:9", 4317), place("127.0.0.1", 9, ""));
        assert_eq!(Place::parse("http://h:9/otlp/", 1), place("h", 9, "/otlp"));
        assert_eq!(Place::parse("http://[::1]:9", 1), place("::1", 9, ""));
        assert_eq!(Place::parse("[::1]", 7), place("::1", 7, ""));
        assert!(Place::parse("https://h", 1).is_ok_and(|place| place.is_tls));
        for wrong in ["", ":9", "h:", "h:99999", "ftp://h", "a b"] {
            assert!(matches!(Place::parse(wrong, 1), Err(TargetError::NotAnAddress(_))), "{wrong}");
        }
    }

    #[test]
    fn headers_are_read_in_both_forms() {
        let target =
            Target::new(UnixNanos(1)).with_header("authorization: Bearer a=b").and_then(|target| target.with_header("X-Tenant=blue"));
        let headers = target.map(|target| target.headers).unwrap_or_default();
        assert_eq!(headers.len(), 2);
        assert_eq!((headers[0].1.as_bytes(), headers[1].0.as_str()), (b"Bearer a=b".as_slice(), "x-tenant"));
        assert!(Target::new(UnixNanos(1)).with_header("nothing").is_err());
    }
}
