//! Which room hands what to which: the nine hops as a chain of named steps, and every thread.

mod pulse;
mod submit;

pub use pulse::Pulse;
pub use submit::{Submission, Submitter};
