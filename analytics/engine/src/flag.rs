//! What detection tells correlation: one series, one window, that deserves attention.

use crate::window::SeriesIndex;
use geophone_proto::{
    anomaly::{AttributeShare, Contribution, Exemplar, Maturity},
    time::UnixNanos,
};
use serde::{Deserialize, Serialize};

/// Where a series stands after hysteresis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// Became anomalous in this window.
    Opened,
    /// Still is.
    Continues,
    /// Was, and has been normal long enough.
    Closed,
}

/// One series that is or was anomalous, in one window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Flag {
    /// Which series.
    pub series: SeriesIndex,
    /// Opened, continues or closed.
    pub phase: Phase,
    /// End of the window.
    pub at: UnixNanos,
    /// Estimated onset.
    pub onset: UnixNanos,
    /// Signed deviation in standard deviations of the expectation; positive = more than expected.
    pub z: f64,
    /// Calibrated score, 0 to 1.
    pub score: f32,
    /// Measured over the deciding span of windows, in the shown unit.
    pub actual: f64,
    /// Expected there.
    pub expected: f64,
    /// Lower end of the band.
    pub lower: f64,
    /// Upper end of the band.
    pub upper: f64,
    /// Samples it stands on.
    pub n: f64,
    /// How far the series is known.
    pub maturity: Maturity,
    /// The model's output.
    pub raw: f64,
    /// The model's output where every feature is as expected.
    pub raw_baseline: f64,
    /// Parts of the score: they add up to `raw - raw_baseline`.
    pub contributions: Vec<Contribution>,
    /// Attribute values that carry it; filled in by the brain where the anomaly is new or worse than before.
    pub attributes: Vec<AttributeShare>,
    /// Spans worth a look.
    pub exemplars: Vec<Exemplar>,
}
