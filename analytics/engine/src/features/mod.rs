//! Features: what a model is told about each series in each window. One definition, streaming.
//!
//! `define` is the one list; `law` holds the tests by kind of sum; `kernel` folds windows into the
//! structure-of-arrays state of `columns`; `reference` (tests only) is the same definition written
//! once more, one series at a time, whole history given.

pub mod define;

pub(crate) mod columns;
pub(crate) mod kernel;
pub(crate) mod law;
#[cfg(test)]
mod reference;
pub(crate) mod ring;
pub(crate) mod season;
#[cfg(test)]
mod tests;

pub use define::{FEATURES, Feature, feature_schema};
