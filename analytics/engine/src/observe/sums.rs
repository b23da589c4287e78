//! Exact sums: integers, so that taking and giving back samples in any order ends in the same bits.

use crate::window::Stat;
use serde::{Deserialize, Serialize};

/// Units of a logarithm: 2^20 a nat, a relative step of one in a million.
const SCALE: f64 = 1_048_576.0;

/// One sample of a duration as it is summed: a fixed-point logarithm and the nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogSample {
    ln: i32,
    ns: u64,
}

impl LogSample {
    /// A duration, tested as at least `floor_ns` (below it differences mean nothing), shown as it is.
    #[allow(clippy::cast_precision_loss, reason = "nanoseconds of a span need no more than 53 bits")]
    pub fn of(ns: u64, floor_ns: u64) -> Self {
        Self::with_ln(ns, (ns.max(floor_ns) as f64 * 1e-9).ln())
    }

    /// The same where the logarithm of the seconds is known already.
    #[allow(clippy::cast_possible_truncation, reason = "logarithms of u64 nanoseconds lie within +-25")]
    pub fn with_ln(ns: u64, ln_seconds: f64) -> Self {
        Self { ln: (ln_seconds * SCALE).round() as i32, ns }
    }
}

/// Sums of `StatKind::LogMean`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogSums {
    n: u64,
    s1: i64,
    s2: i128,
    ns: i128,
}

impl LogSums {
    /// Takes a sample.
    pub fn add(&mut self, sample: LogSample) {
        let ln = i64::from(sample.ln);
        self.n += 1;
        self.s1 += ln;
        self.s2 += i128::from(ln * ln);
        self.ns += i128::from(sample.ns);
    }

    /// Reads itself, ahead of `add`.
    pub fn touch(&self) -> u64 {
        self.n
    }

    /// Gives a sample back that was taken before.
    pub fn remove(&mut self, sample: LogSample) {
        let ln = i64::from(sample.ln);
        self.n -= 1;
        self.s1 -= ln;
        self.s2 -= i128::from(ln * ln);
        self.ns -= i128::from(sample.ns);
    }

    /// The sums in nats.
    #[allow(clippy::cast_precision_loss, reason = "rounded once, at the end")]
    pub fn stat(&self) -> Stat {
        Stat { n: self.n as f64, s1: self.s1 as f64 / SCALE, s2: self.s2 as f64 / (SCALE * SCALE) }
    }

    /// Arithmetic mean in seconds; NaN if empty.
    #[allow(clippy::cast_precision_loss, reason = "rounded once, at the end")]
    pub fn mean_seconds(&self) -> f64 {
        if self.n == 0 { f64::NAN } else { self.ns as f64 * 1e-9 / self.n as f64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_back_leaves_no_trace() {
        let (a, b) = (LogSample::of(1_000_000, 1000), LogSample::of(u64::MAX, 1000));
        let mut sums = LogSums::default();
        sums.add(a);
        let before = sums;
        sums.add(b);
        sums.remove(b);
        assert_eq!(sums, before);
        assert!((sums.stat().s1 - 0.001f64.ln()).abs() < 1e-5);
        assert!((sums.mean_seconds() - 0.001).abs() < 1e-12);
    }
}
