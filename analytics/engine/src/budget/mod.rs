//! The false-alarm budget: so many incidents a week that are none, for the whole installation.
//!
//! `Ledger` is told how strongly every window stands out (`strength`, of a series and then of its
//! service) and what opened; it answers with the bar that a strength must reach to open an incident by
//! itself. `peaks` knows how rarely a strength is exceeded, `account` what was promised and what came.

mod account;
mod ledger;
mod peaks;

pub use ledger::Ledger;
