//! The score that a series would have had if some of its samples had not been there.
//!
//! The same fold, model and calibration as live, over the windows that can still change, with the sums
//! since the onset written anew: less evidence, less deviation. What older windows have left in smoothed
//! values goes in proportion. Nothing of the detector's state changes.

use super::{
    calibrate::{self, Voices},
    companion::scores_of,
    detector::Detector,
    judge::voices,
};
use crate::{
    features::{
        columns::{Columns, Fresh},
        define::WIDTH,
        kernel,
        ring::Slot,
    },
    window::{SeriesIndex, StatKind},
};
use geophone_proto::{UnixNanos, feature::FeatureFrame};

/// What is left: share of the samples, and of their deviation from what is expected.
pub(crate) type Left = (f64, f64);

impl Detector {
    /// Calibrated scores of a series in the window that ends at `at`, one for each of `left`, of which that
    /// much is left in the windows from `onset` on. `None` if that window can no longer be folded again.
    ///
    /// Cost: a fold of at most `tail` windows and one call of the model, with as many rows as `left` has.
    pub(crate) fn without(
        &mut self,
        series: SeriesIndex,
        (onset, at): (UnixNanos, UnixNanos),
        up: bool,
        left: &[Left],
    ) -> Option<Vec<f32>> {
        let (row, state) = (series as usize, &self.state);
        let its = state.traits.get(row).filter(|entry| entry.is_some()).map(|_| state.trait_of(row))?;
        // As if everything had been settled that can be: that may wait, the answer does not depend on it.
        let settled_len = state.settling();
        let position = state.ring.slots.iter().rposition(|slot| UnixNanos(slot.start_ns).plus(state.window_ns) == at)?;
        if position < settled_len || left.is_empty() {
            return None;
        }
        let rows = vec![row; left.len()];
        let (mut ring, mut columns) = (state.ring.gather(&rows), state.settled.gather(&rows));
        let (traits, mut fresh) = (vec![its; left.len()], Fresh::new(left.len()));
        for at in state.settled_len..settled_len {
            kernel::fold((&mut columns, &mut fresh), (&ring, 0), at, &traits);
        }
        let centre = columns.centre[0];
        let since = ring.slots.iter().position(|slot| slot.start_ns >= onset.0).unwrap_or(position);
        for slot in ring.slots.range_mut(since..=position) {
            left.iter().enumerate().for_each(|(copy, left)| shrink(slot, copy, (its.kind, centre, up), *left));
        }
        if since < settled_len {
            left.iter().enumerate().for_each(|(copy, left)| calm(&mut columns, copy, left.1));
        }
        for at in settled_len..=position {
            kernel::fold((&mut columns, &mut fresh), (&ring, 0), at, &traits);
        }
        let start_ns = state.ring.slots[position].start_ns;
        let usual = state.season.usual(row, start_ns);
        let mut features =
            FeatureFrame { at, width: WIDTH, keys: vec![geophone_proto::SeriesKey(0); left.len()], x: vec![0.0; left.len() * WIDTH] };
        for (copy, x) in features.x.chunks_mut(WIDTH).enumerate() {
            kernel::write_row((&columns, &fresh), copy, its, usual, x);
        }
        let (raw, _) = scores_of(self.model.as_mut(), &features);
        let reading = &self.state.readings[position];
        let score = |(copy, raw): (usize, f32)| {
            let x = features.row(copy);
            let heard: Voices = voices(raw, x);
            // As the ring keeps them.
            let heard = [heard[0], f64::from(heard[1] as f32), f64::from(heard[2] as f32)];
            calibrate::score_of(reading.level(row, its.kind, heard))
        };
        Some(raw.into_iter().enumerate().map(score).collect())
    }
}

/// What settled windows of the anomaly have left in the recursions goes in proportion.
fn calm(columns: &mut Columns, row: usize, excess: f64) {
    let c = columns;
    for column in [
        &mut c.u,
        &mut c.fast,
        &mut c.middle,
        &mut c.slow,
        &mut c.median,
        &mut c.cusum_up,
        &mut c.cusum_down,
        &mut c.persistence,
        &mut c.run,
    ] {
        column[row] *= excess;
    }
    c.square_fast[row] = c.square_slow[row] + excess * (c.square_fast[row] - c.square_slow[row]);
}

/// Writes one window anew: deviations to the side of the anomaly shrink, others stay.
fn shrink(slot: &mut Slot, row: usize, (kind, centre, up): (StatKind, f64, bool), (evidence, excess): Left) {
    let n = slot.n[row];
    let towards = |value: f64| if (value > centre) == up { centre + excess * (value - centre) } else { value };
    match kind {
        StatKind::Count => {
            slot.s1[row] = towards(slot.s1[row]).max(0.0);
            slot.n[row] = slot.s1[row];
        }
        StatKind::Share | StatKind::LogMean if n > 0.0 => {
            let mean = slot.s1[row] / n;
            let (kept, new) = (n * evidence, towards(mean));
            slot.n[row] = kept;
            slot.s1[row] = kept * new;
            if let Some(s2) = slot.s2.get_mut(row).filter(|_| kind == StatKind::LogMean) {
                let within = (*s2 / n - mean * mean).max(0.0);
                *s2 = kept * (within + new * new);
            }
        }
        StatKind::Share | StatKind::LogMean | StatKind::Level => {}
    }
}
