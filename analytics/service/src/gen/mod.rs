//! `geophone gen`: a load generator for OTLP receivers, ours or others'.
//!
//! Closed loop (each connection sends as soon as it was answered) or open loop (requests leave at a
//! fixed rate, and latency counts from when they should have left).

mod args;
mod drive;
mod latency;
mod payload;
mod report;

pub use args::GenArgs;
pub use drive::drive;
pub use report::Report;
