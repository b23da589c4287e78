//! The last windows' sums of all series, time-major: the only place that raw sums are kept.
//!
//! Late rows change a slot; whoever folds reads from here, so folding again gives the new values.

use crate::window::{Stat, StatKind};
use serde::{Deserialize, Serialize};
use std::{collections::VecDeque, ops::Range};

/// One window of all series.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Slot {
    /// Start of the window.
    pub(crate) start_ns: u64,
    /// Samples.
    pub(crate) n: Vec<f64>,
    /// First sums.
    pub(crate) s1: Vec<f64>,
    /// Whether the window's row has come; a sender that flushes slowly comes later.
    pub(crate) told: Vec<bool>,
    /// What only a window that can still change needs: second sums, shown values (NaN if missing), raw scores as
    /// last computed (NaN if none), and the other voices of calibration; empty once it is settled.
    pub(crate) s2: Vec<f64>,
    pub(crate) shown: Vec<f64>,
    pub(crate) raw: Vec<f32>,
    pub(crate) voices: Vec<[f32; 2]>,
    is_settled: bool,
}

/// Sums over some windows.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Span {
    /// Sums; the second only of windows that are not settled.
    pub(crate) stat: Stat,
    /// Windows that hold a sample; for counts: that were told.
    pub(crate) present: f64,
}

/// Oldest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Ring {
    pub(crate) slots: VecDeque<Slot>,
}

impl Slot {
    /// An empty window of `rows` series.
    pub(crate) fn empty(start_ns: u64, rows: usize) -> Self {
        Self {
            start_ns,
            n: vec![0.0; rows],
            s1: vec![0.0; rows],
            s2: vec![0.0; rows],
            told: vec![false; rows],
            shown: vec![f64::NAN; rows],
            raw: vec![f32::NAN; rows],
            voices: vec![[0.0; 2]; rows],
            is_settled: false,
        }
    }

    /// Forgets what a window that cannot change any more does not need: two thirds of its bytes.
    pub(crate) fn settle(&mut self) {
        let Self { start_ns, n, s1, told, .. } = std::mem::take(self);
        *self = Self { start_ns, n, s1, told, is_settled: true, ..Self::default() };
    }

    pub(crate) fn resize(&mut self, rows: usize) {
        self.n.resize(rows, 0.0);
        self.s1.resize(rows, 0.0);
        self.told.resize(rows, false);
        if self.is_settled {
            return;
        }
        self.s2.resize(rows, 0.0);
        self.shown.resize(rows, f64::NAN);
        self.raw.resize(rows, f32::NAN);
        self.voices.resize(rows, [0.0; 2]);
    }

    /// Writes a row.
    pub(crate) fn set(&mut self, row: usize, stat: Stat, shown: f64) {
        let stat = usable(stat);
        (self.n[row], self.s1[row], self.s2[row], self.shown[row]) = (stat.n, stat.s1, stat.s2, shown);
        self.told[row] = true;
    }

    /// Forgets what was written of a run of series.
    pub(crate) fn clear(&mut self, rows: Range<usize>) {
        for column in [&mut self.n, &mut self.s1, &mut self.s2] {
            column[rows.clone()].fill(0.0);
        }
        self.told[rows.clone()].fill(false);
        self.shown[rows.clone()].fill(f64::NAN);
        self.raw[rows.clone()].fill(f32::NAN);
        self.voices[rows].fill([0.0; 2]);
    }

    /// Whether a row is written as it would be now.
    pub(crate) fn holds(&self, row: usize, stat: Stat, shown: f64) -> bool {
        let held = [self.n[row], self.s1[row], self.s2[row], self.shown[row]];
        let stat = usable(stat);
        self.told[row] && held.map(f64::to_bits) == [stat.n, stat.s1, stat.s2, shown].map(f64::to_bits)
    }

    /// What was heard of a series in this window.
    pub(crate) fn voices(&self, row: usize) -> [f64; 3] {
        let [normal, sudden] = self.voices[row].map(f64::from);
        [f64::from(self.raw[row]), normal, sudden]
    }

    fn gather(&self, rows: &[usize]) -> Self {
        let pick = |column: &[f64]| rows.iter().map(|&row| column[row]).collect();
        let open = if self.is_settled { &[] } else { rows };
        Self {
            start_ns: self.start_ns,
            n: pick(&self.n),
            s1: pick(&self.s1),
            s2: open.iter().map(|&row| self.s2[row]).collect(),
            told: rows.iter().map(|&row| self.told[row]).collect(),
            shown: open.iter().map(|&row| self.shown[row]).collect(),
            raw: open.iter().map(|&row| self.raw[row]).collect(),
            voices: open.iter().map(|&row| self.voices[row]).collect(),
            is_settled: self.is_settled,
        }
    }
}

/// Sums that are not finite, or beyond what squares can hold, count as missing.
fn usable(stat: Stat) -> Stat {
    let is_usable = (1e-6..=1e15).contains(&stat.n) && stat.s1.abs() <= 1e120 && stat.s2.abs() <= 1e240;
    if is_usable { stat } else { Stat::default() }
}

impl Ring {
    /// Gives every slot room for this many series.
    pub(crate) fn resize(&mut self, rows: usize) {
        self.slots.iter_mut().for_each(|slot| slot.resize(rows));
    }

    /// Only these series, in this order.
    pub(crate) fn gather(&self, rows: &[usize]) -> Self {
        Self { slots: self.slots.iter().map(|slot| slot.gather(rows)).collect() }
    }

    /// Position of the window that starts here.
    pub(crate) fn position(&self, start_ns: u64) -> Option<usize> {
        self.slots.iter().rposition(|slot| slot.start_ns == start_ns)
    }

    /// Sums of one series over the `count` windows that end at `position`, at most `age` of them.
    pub(crate) fn span(&self, position: usize, count: usize, row: usize, born: (StatKind, usize)) -> Span {
        let (kind, age) = born;
        let count = count.min(age).min(position + 1);
        let mut span = Span::default();
        for slot in self.slots.range(position + 1 - count..=position) {
            span.stat.n += slot.n[row];
            span.stat.s1 += slot.s1[row];
            span.stat.s2 += slot.s2.get(row).copied().unwrap_or(0.0);
            let is_present = if kind == StatKind::Count { slot.told[row] } else { slot.n[row] > 0.0 };
            span.present += f64::from(u8::from(is_present));
        }
        span
    }
}
