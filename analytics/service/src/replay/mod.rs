//! Telemetry from files through the same path as live: decode, step, effects. Deterministic.

mod files;
mod fold;
mod merge;
mod recognise;

#[cfg(test)]
mod tests;

pub use files::find;
pub use fold::{Keep, Replay};
pub use merge::{Merged, Message};
