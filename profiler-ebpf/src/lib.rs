//! Stacks for flagged spans: samples are kept for a while for everybody, and attached only to the
//! spans that the brain flags afterwards. Not here: deciding what is flagged (the brain's work).

pub mod attach;
pub mod replay;
pub mod sample;

pub use replay::{ReplayError, ReplaySource};
pub use sample::{Frame, Sample};
