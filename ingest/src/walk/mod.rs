//! Wire bytes to columns: the walk over an export request (hop 2). No `prost` on this path.
//!
//! Not a general decoder: it reads what the columns need and checks the rest. Called by the servers,
//! by the log's readers and by `replay`. Invariant: the same bytes always give the same rows.

mod check;
mod column;
mod dictionary;
mod envelope;
mod exponential;
mod fill;
mod logs;
mod metrics;
mod points;
mod profiles;
mod refused;
mod sample;
pub(crate) mod schema;
mod slab;
#[cfg(test)]
pub(crate) mod tests;
mod traces;
pub(crate) mod wire;
mod work;

pub use refused::Rejected;
pub(crate) use work::walk_within;
pub use work::{WalkError, Walked, decode_export, walk};
