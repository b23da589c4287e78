//! What to do about incidents, and whether it helped. Deciding only: doing is the roof's.

mod decider;
mod gates;
mod history;

#[cfg(test)]
mod tests;

pub use decider::{Decider, Move, Ward};
