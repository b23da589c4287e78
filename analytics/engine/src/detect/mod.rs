//! Detection: closed windows in; features, raw and calibrated scores, bands and flags out.
//!
//! `Detector` is the whole of it. `calibrate` turns raw scores into tail probabilities, `hysteresis`
//! decides what is open, `drafts` scores a new window, ahead where it can; `explain` takes a raw score apart, `band` speaks in shown units, `harm` knows
//! `company` holds the models beside the active one, each a `companion` whose trial `comparison` judges;
//! `judge` says which span of windows decides, `heat` what of a window counts as a lasting sign, `swap` exchanges models between two windows. `harm` knows which side of a series hurts, `baseline` is a scorer that needs no file.

pub mod baseline;

pub(crate) mod band;
mod block;
pub(crate) mod calibrate;
mod cohort;
mod companion;
mod company;
mod comparison;
mod detector;
mod drafts;
mod explain;
pub(crate) mod harm;
mod heat;
pub(crate) mod hysteresis;
mod judge;
#[cfg(test)]
pub(crate) mod simulated;
mod swap;
#[cfg(test)]
mod tests;
mod without;

pub use comparison::TrialBounds;
pub use detector::{Detector, DetectorSnapshot, Scored};
pub use explain::{Explained, explain};
pub use heat::Candidate;
