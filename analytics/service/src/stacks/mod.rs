//! Stacks of anomalies as files: folded text as the profiler answered it, and pprof made from it.

mod placed;
mod pprof;
mod shelf;
mod state;

pub use placed::PlacedSource;
pub use pprof::{encode, packed};
pub use shelf::{Shelf, Side};
pub use state::frame_of;
