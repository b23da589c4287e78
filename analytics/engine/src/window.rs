//! A closed window of one series: what was counted, in sums that add up over windows.
//!
//! Made by `observe`, read by `features`. Sums instead of averages, so that one, six and eighteen
//! windows can be tested with the number of samples they stand on.

pub mod open;

use geophone_proto::anomaly::Exemplar;
use serde::{Deserialize, Serialize};

/// Dense number of a series in this brain; never reused while it runs.
pub type SeriesIndex = u32;

/// Series that are handled at once: what that takes meanwhile stays in a core's cache.
pub(crate) const BLOCK: usize = 1_024;

/// Which law the sums follow, hence which test is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum StatKind {
    /// Events in time: `n` = `s1` = count. Poisson-like.
    Count,
    /// Share: `n` trials, `s1` hits. Binomial.
    Share,
    /// Positive durations: `n` samples, `s1` = sum of ln(seconds), `s2` = sum of squares of that.
    LogMean,
    /// Readings of a level: `n` readings, `s1` sum, `s2` sum of squares.
    Level,
}

/// Sums of one window. Additive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Stat {
    /// Samples or trials.
    pub n: f64,
    /// See `StatKind`.
    pub s1: f64,
    /// See `StatKind`.
    pub s2: f64,
}

/// One series in a closed window. A series without any sample has `n` 0; for `Count` that is a
/// measured zero (once the series is known and its sender alive or gone silent), else missing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WindowRow {
    /// Which series.
    pub series: SeriesIndex,
    /// Its sums.
    pub stat: Stat,
    /// The value people see (requests/s, ratio, seconds, the metric's unit); NaN if missing.
    pub shown: f64,
    /// A few spans of this window worth a look (slowest, failed).
    pub exemplars: Vec<Exemplar>,
}

/// All known series of one window, in series order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ClosedWindow {
    /// Start, nanoseconds since 1970, a multiple of the length.
    pub start_ns: u64,
    /// Length.
    pub length_ns: u64,
    /// True if this window was closed before and late rows have changed it; `rows` then holds only
    /// the changed series.
    pub amended: bool,
    /// One row per known series, ascending.
    pub rows: Vec<WindowRow>,
}
