//! Doing what the engine decided: short, allow-listed by the configuration, audited through the log.
//! Deciding, gates and undo are the engine's; nothing here chooses anything.

mod effector;
mod errand;

#[cfg(test)]
mod tests;

pub use effector::LocalEffector;
pub use errand::{Errand, Past, run};
