//! OTLP in: bytes from the wire become a `Batch` and a `Receipt` (hops 1 and 2 of nine).
//!
//! `server` listens and answers, `json` turns JSON into wire bytes, `walk` turns wire bytes into
//! columns. Nothing here knows the log, the brain or the page.

mod error;
mod json;
mod server;
mod walk;

pub use error::IngestError;
pub use json::{JsonError, json_to_wire};
pub use server::{Arrival, Config, Listening, Pressure, Receipt, Throttle, serve};
pub use walk::{Rejected, WalkError, Walked, decode_export, walk};
