//! Detection: closed windows in; features, raw and calibrated scores, bands and flags out.
//!
//! `Detector` is the whole of it. `calibrate` turns raw scores into tail probabilities, `hysteresis`
//! decides what is open, `explain` takes a raw score apart, `band` speaks in shown units, `harm` knows
//! which side of a series hurts, `baseline` is a scorer that needs no file.

pub mod baseline;

pub(crate) mod band;
pub(crate) mod calibrate;
mod detector;
mod explain;
pub(crate) mod harm;
pub(crate) mod hysteresis;
#[cfg(test)]
pub(crate) mod simulated;
#[cfg(test)]
mod tests;

pub use detector::{Detector, DetectorSnapshot, Scored};
