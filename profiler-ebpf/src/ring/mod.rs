//! The last minutes of everybody's stacks, in bounded memory: each stack once, addresses only.

mod epoch;
mod hasher;
mod store;

pub use epoch::{Entry, Found, Tag};
pub use store::{Limits, Ring, Wanted};
