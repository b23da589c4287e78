//! Stacks of anomalies as files: folded text as the profiler answered it, and pprof made from it.

mod pprof;
mod shelf;

pub use pprof::{encode, packed};
pub use shelf::Shelf;
