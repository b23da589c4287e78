//! Telling others of incidents: Alertmanager and webhooks. One incident is one alert; it fires, is
//! sent again, and is resolved; what a receiver has not taken is tried again, over restarts too.
//!
//! Reads the view only; the brain knows nothing of receivers.

mod alertmanager;
mod board;
mod courier;
mod ledger;
mod notice;
mod signature;
mod webhook;

#[cfg(test)]
mod tests;

pub use board::{Board, Delivery};
pub use courier::{Courier, Parts, run};
pub use ledger::Ledger;
pub use notice::Notice;
