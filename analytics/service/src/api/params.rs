//! Query parameters: read strictly, unknown ones refused by name.

use super::refusal::Refusal;
use crate::view::{Page, Place};
use axum::{
    extract::{FromRequestParts, Query},
    http::request::Parts,
};
use geophone_proto::UnixNanos;

/// Items a page where nobody says.
const LIMIT_DEFAULT: usize = 100;
/// Items a page at most.
const LIMIT_MAX: usize = 1_000;

/// The parameters of one request.
#[derive(Clone, Debug, Default)]
pub struct Params(Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let query = Query::<Vec<(String, String)>>::from_request_parts(parts, state).await;
        query.map(|Query(pairs)| Self(pairs)).map_err(|error| Refusal::bad(format!("query parameters cannot be read: {error}")))
    }
}

impl Params {
    /// Refuses names that the route does not know.
    pub fn only(self, known: &[&str]) -> Result<Self, Refusal> {
        match self.0.iter().find(|(name, _)| !known.contains(&&**name)) {
            Some((name, _)) if known.is_empty() => Err(Refusal::bad(format!("unknown parameter `{name}`: none is known here"))),
            Some((name, _)) => Err(Refusal::bad(format!("unknown parameter `{name}`: known here are {}", known.join(", ")))),
            None => Ok(self),
        }
    }

    /// The last value of a name; empty counts as absent.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().rev().find(|(key, _)| key == name).map(|(_, value)| &**value).filter(|value| !value.is_empty())
    }

    /// A value read by `parse`.
    pub fn parsed<T>(&self, name: &str, expected: &str, parse: impl Fn(&str) -> Option<T>) -> Result<Option<T>, Refusal> {
        self.text(name)
            .map(|text| parse(text).ok_or_else(|| Refusal::bad(format!("parameter `{name}` is `{text}`: must be {expected}"))))
            .transpose()
    }

    /// RFC 3339, or nanoseconds since 1970.
    pub fn time(&self, name: &str) -> Result<Option<UnixNanos>, Refusal> {
        self.parsed(name, "a time such as 2026-01-31T12:00:00Z, or nanoseconds since 1970", |text| {
            UnixNanos::from_rfc3339(text).or_else(|| text.parse().ok().map(UnixNanos))
        })
    }

    /// `limit`.
    pub fn limit(&self, default: usize, most: usize) -> Result<usize, Refusal> {
        let expected = format!("a number from 1 to {most}");
        let parsed = self.parsed("limit", &expected, |text| text.parse().ok().filter(|limit| (1..=most).contains(limit)))?;
        Ok(parsed.unwrap_or(default))
    }

    /// `limit` and `cursor` of a list by time.
    pub fn page(&self) -> Result<Page, Refusal> {
        let after = self.parsed("cursor", "a `next_cursor` of this list", |text| {
            let (at, id) = text.split_once('.')?;
            Some((UnixNanos(u64::from_str_radix(at, 16).ok()?), id.to_owned()))
        })?;
        Ok(Page { after, limit: self.limit(LIMIT_DEFAULT, LIMIT_MAX)? })
    }
}

/// The cursor that `page` reads.
pub fn cursor(place: &Place) -> String {
    format!("{:x}.{}", place.0.0, place.1)
}
