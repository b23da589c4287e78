//! From batches to closed windows: what is measured, per operation, call, metric and log template.

mod ahead;
pub mod counts;
pub mod drafts;
pub mod edge;
pub mod logs;
pub mod metric;
pub mod naming;
pub mod observer;
pub mod picks;
pub mod points;
pub mod requests;
pub mod rest;
pub mod sketch;
pub mod source;
pub mod spans;
pub mod sums;
pub mod template;

pub use drafts::Drafts;
pub use observer::Observer;
pub use picks::SpanSamples;

#[cfg(test)]
mod tests;
