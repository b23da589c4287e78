//! Which room hands what to which: the nine hops as a chain of named steps, and every thread.

mod answerer;
mod clock;
mod committer;
mod dispatcher;
mod footprint;
mod memory;
mod niceness;
mod outward;
mod pulse;
mod recovery;
mod service;
mod site;
mod stacks;
mod standstill;
#[cfg(test)]
mod standstill_tests;
mod submit;
mod thinker;
#[cfg(test)]
mod thinker_tests;
mod threads;
mod upkeep;

pub use clock::SystemClock;
pub use footprint::share_heaps;
pub use pulse::Pulse;
pub use recovery::decoder;
pub use service::Service;
pub use site::Addresses;
pub use submit::{Submission, Submitter};
pub use thinker::Memory;
pub use threads::io_runtime;
pub(crate) use threads::plain;
