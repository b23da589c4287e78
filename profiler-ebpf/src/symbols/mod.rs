//! From addresses to names: unwinding where frame pointers do not reach, symbols off the hot path.

mod perf_map;
mod resolve;
mod syscalls;
mod unwind;

pub use resolve::{Names, demangled};
pub use unwind::{UnwindCache, Unwinder};
