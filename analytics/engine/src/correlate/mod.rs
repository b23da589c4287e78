//! From flags to anomalies to incidents with their likeliest cause.

mod aspect;
mod bare;
mod blame;
mod book;
mod cluster;
mod correlator;
mod hush;
mod map;
mod metered;
mod neighbour;
mod phrase;
mod pulse;
mod suspects;
mod tails;
mod unanswered;
mod verdict;
mod visits;
mod weight;

#[cfg(test)]
mod tests;

pub(crate) use aspect::may_harm;
pub use book::short_id;
pub use correlator::{Correlator, Findings, Sight};
pub use map::{Release, ServiceMap};
pub use tails::Tails;
