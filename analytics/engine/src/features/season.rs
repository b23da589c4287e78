//! What `z_6` usually is in each half hour of the day: the mean over past days, once two are known.
//!
//! Learns from settled windows only, so late rows cannot change it twice.

use serde::{Deserialize, Serialize};

/// Half hours of a day.
const BINS: usize = 48;
const BIN_NS: u64 = 1_800_000_000_000;
/// Past days needed.
const DAYS_MIN: u8 = 2;

/// One half hour of the day: what is known of each series.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Bin {
    means: Vec<f32>,
    days: Vec<u8>,
}

/// Profiles of all series. A half hour that no series has lived through takes no room.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Season {
    bins: Vec<Bin>,
    /// Half hours since 1970 of the bin being summed.
    open: u64,
    sums: Vec<f64>,
    counts: Vec<f64>,
}

impl Season {
    pub(crate) fn resize(&mut self, rows: usize) {
        self.sums.resize(rows, 0.0);
        self.counts.resize(rows, 0.0);
    }

    /// The usual `z_6` at this time, if known.
    pub(crate) fn usual(&self, row: usize, start_ns: u64) -> Option<f64> {
        let bin = self.bins.get((start_ns / BIN_NS) as usize % BINS)?;
        (*bin.days.get(row)? >= DAYS_MIN).then(|| f64::from(bin.means[row]))
    }

    /// Takes a settled window of neighbours, the first of them `first`.
    pub(crate) fn learn(&mut self, start_ns: u64, first: usize, (z_6, present): (&[f64], &[f64])) {
        let bin = start_ns / BIN_NS;
        if bin != self.open {
            self.close();
            self.open = bin;
        }
        for (row, (z, present)) in (first..).zip(z_6.iter().zip(present)) {
            let m = present.min(1.0);
            self.sums[row] += m * z.clamp(-6.0, 6.0);
            self.counts[row] += m;
        }
    }

    fn close(&mut self) {
        let is_empty = self.counts.iter().all(|count| *count <= 0.0);
        if is_empty {
            return;
        }
        self.bins.resize(BINS, Bin::default());
        let bin = &mut self.bins[self.open as usize % BINS];
        bin.means.resize(self.sums.len(), 0.0);
        bin.days.resize(self.sums.len(), 0);
        for (row, (sum, count)) in self.sums.iter_mut().zip(&mut self.counts).enumerate() {
            if *count > 0.0 {
                let days = bin.days[row].saturating_add(1);
                let rate = (1.0 / f32::from(days)).max(0.25);
                bin.means[row] += rate * ((*sum / *count) as f32 - bin.means[row]);
                bin.days[row] = days;
            }
            (*sum, *count) = (0.0, 0.0);
        }
    }
}
