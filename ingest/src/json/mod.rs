//! OTLP/JSON to wire bytes, so that one walk serves both encodings.
//!
//! Rules: names in lowerCamelCase, unknown ones ignored; ids in hex of either case; enums as numbers
//! only; 64-bit integers as text or number; other bytes in base64; one document and nothing after it.

mod deep;
#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;
mod text;
mod transcode;

pub(crate) use text::from_base64;
pub use transcode::{JsonError, json_to_wire};
