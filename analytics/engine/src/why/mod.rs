//! Which attribute values carry an anomaly, without anybody having declared any.
//!
//! `gallery` keeps a few rows of every operation and log template, chosen so that neither the order of
//! rows nor the traffic of others matters (`cell`). Nothing is decoded until somebody asks: then
//! `compare` holds the rows of an anomaly against those of before, and `answer` asks the detector what
//! the score would be without each value.

mod answer;
mod cell;
mod compare;
mod gallery;
#[cfg(test)]
mod tests;

pub use cell::Glance;
pub use gallery::{Gallery, Origin, Subject};
