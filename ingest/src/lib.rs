//! OTLP in: bytes from the wire become a `Batch` and a `Receipt` (hops 1 and 2 of nine).
//!
//! `access` says who may send, `server` listens and answers, `json` turns JSON into wire bytes, `walk` turns wire bytes into
//! columns. Nothing here knows the log, the brain or the page.

mod access;
#[cfg(test)]
mod campaign;
mod error;
mod json;
mod server;
mod walk;

pub use access::{
    Access, AccessRules, Counts, Denied, Grant, Limits, Right, SECRET_BYTES_MIN, SecretHash, Sums, TenantRule, Tls, TlsFiles, TlsVersion,
    TokenRule, Traffic, is_tenant_name,
};
pub use error::IngestError;
pub use json::{JsonError, json_to_wire};
pub use server::{Arrival, Config, Listening, Pressure, Receipt, Sampling, Seldom, Throttle, Writing, serve};
pub use walk::{Rejected, WalkError, Walked, decode_export, walk};
