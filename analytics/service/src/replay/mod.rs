//! Telemetry from files through the same path as live: decode, step, effects. Deterministic.

mod compare;
mod files;
mod fold;
mod merge;
mod recognise;
mod window;

#[cfg(test)]
mod tests;

pub use compare::{Comparison, compare};
pub use files::find;
pub use fold::{Keep, Outcome, Replay};
pub use merge::{Merged, Message};
pub use window::Window;
