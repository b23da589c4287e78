//! A simulated shop: ten services on three hosts whose telemetry looks like that of real SDKs, with
//! a seeded schedule of faults and of harmless events. Pure: event time in, export requests out.
//!
//! Used by `geophone demo`, by the sample data under `tests/`, and by whoever develops detection.
//! The same seed and start give the same requests, byte for byte.

mod draw;
mod files;
mod floor;
mod meters;
mod outbox;
mod sample;
mod schedule;
mod simulation;
mod trouble;
mod visit;
mod words;

#[cfg(test)]
mod tests;

pub use files::{ExportError, FileFormat, FileReport, Recorder, export_files};
pub use floor::{CORES, Floor, HOSTS};
pub use sample::export_sample;
pub use schedule::{Fault, FaultKind, Harmless, HarmlessKind, Pace, Schedule};
pub use simulation::{Sent, Shop};
