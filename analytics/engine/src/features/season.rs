//! What `z_6` usually is in each half hour of the day: the mean over past days, once two are known.
//!
//! Learns from settled windows only, so late rows cannot change it twice.

use serde::{Deserialize, Serialize};

/// Half hours of a day.
const BINS: usize = 48;
const BIN_NS: u64 = 1_800_000_000_000;
/// Past days needed.
const DAYS_MIN: u8 = 2;

/// Profiles of all series, series-major.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Season {
    means: Vec<f32>,
    days: Vec<u8>,
    /// Half hours since 1970 of the bin being summed.
    open: u64,
    sums: Vec<f64>,
    counts: Vec<f64>,
}

impl Season {
    pub(crate) fn resize(&mut self, rows: usize) {
        self.means.resize(rows * BINS, 0.0);
        self.days.resize(rows * BINS, 0);
        self.sums.resize(rows, 0.0);
        self.counts.resize(rows, 0.0);
    }

    /// The usual `z_6` at this time, if known.
    pub(crate) fn usual(&self, row: usize, start_ns: u64) -> Option<f64> {
        let at = row * BINS + (start_ns / BIN_NS) as usize % BINS;
        (self.days[at] >= DAYS_MIN).then(|| f64::from(self.means[at]))
    }

    /// Takes a settled window.
    pub(crate) fn learn(&mut self, start_ns: u64, z_6: &[f64], present: &[f64]) {
        let bin = start_ns / BIN_NS;
        if bin != self.open {
            self.close();
            self.open = bin;
        }
        for (row, (z, present)) in z_6.iter().zip(present).enumerate() {
            let m = present.min(1.0);
            self.sums[row] += m * z.clamp(-6.0, 6.0);
            self.counts[row] += m;
        }
    }

    fn close(&mut self) {
        let bin = self.open as usize % BINS;
        for (row, (sum, count)) in self.sums.iter_mut().zip(&mut self.counts).enumerate() {
            if *count > 0.0 {
                let at = row * BINS + bin;
                let days = self.days[at].saturating_add(1);
                let rate = (1.0 / f32::from(days)).max(0.25);
                self.means[at] += rate * ((*sum / *count) as f32 - self.means[at]);
                self.days[at] = days;
            }
            (*sum, *count) = (0.0, 0.0);
        }
    }
}
