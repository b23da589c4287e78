//! `geophone demo`: the real service beside a simulated shop that sends it real OTLP.
//!
//! The service is never told what the shop does: the demo compares its own schedule with what the
//! public HTTP API answers, like any outsider.

mod args;
mod control;
mod drive;
mod outsider;
mod report;
mod senders;
mod server;
mod session;
mod till;

pub use args::DemoArgs;
pub use report::{Harm, Outcome, Report};
pub use till::Till;
