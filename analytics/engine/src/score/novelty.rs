//! Has the series ever looked like this? The distance of the last rows to the most similar stretch before.
//!
//! A discord of the left matrix profile (Yeh et al. 2016), without normalisation and with a window that fades
//! instead of ending: for each lag, the mean squared difference between the series and itself that lag ago,
//! over about `REACH` rows. What repeats at any period has a lag where it is small: no calendar is needed.

/// Rows in which the weight of a difference falls to 1/e.
const REACH: f64 = 12.0;
/// Largest lag in rows.
const LAGS: usize = 2048;
/// Smallest lag: nearer ones are the same event.
const GAP: usize = 24;
/// Lags looked at together, so that the loop becomes vector instructions.
const LANES: usize = 8;

/// The past of one series and how it compares with now.
#[derive(Clone, Debug)]
pub(crate) struct Novelty {
    /// Newest first from `head`; twice as long as needed, so that it is moved once in `LAGS` rows.
    past: Box<[f64]>,
    head: usize,
    rows: usize,
    differences: Box<[f64]>,
}

impl Default for Novelty {
    fn default() -> Self {
        let (past, differences) = (vec![0.0; 2 * LAGS].into(), vec![0.0; LAGS].into());
        Self { past, head: LAGS, rows: 0, differences }
    }
}

/// The mean square of a lag takes in one more difference.
fn follow(mean: &mut f64, step: f64) {
    const KEEP: f64 = 1.0 - 1.0 / REACH;
    *mean = *mean * KEEP + (1.0 - KEEP) * step * step;
}

impl Novelty {
    /// Root mean square distance to the most similar stretch, in the value's unit; 0 before there is one.
    /// Cost: one pass over the lags, less than a microsecond.
    pub(crate) fn distance(&mut self, value: f64) -> f64 {
        if self.head == 0 {
            self.past.copy_within(..LAGS, LAGS);
            self.head = LAGS;
        }
        let lags = self.rows.min(LAGS - 1);
        let past = &self.past[self.head..self.head + lags];
        let (near, far) = self.differences[..lags].split_at_mut(GAP.min(lags));
        let (near_past, far_past) = past.split_at(near.len());
        near.iter_mut().zip(near_past).for_each(|(difference, then)| follow(difference, value - then));
        let mut least = [f64::MAX; LANES];
        let (mut all, mut thens) = (far.chunks_exact_mut(LANES), far_past.chunks_exact(LANES));
        for (differences, thens) in all.by_ref().zip(thens.by_ref()) {
            for ((difference, then), least) in differences.iter_mut().zip(thens).zip(&mut least) {
                follow(difference, value - then);
                // Not `min`: without its care for NaN this is one instruction.
                *least = if *difference < *least { *difference } else { *least };
            }
        }
        all.into_remainder().iter_mut().zip(thens.remainder()).for_each(|(difference, then)| follow(difference, value - then));
        self.head -= 1;
        self.past[self.head] = value;
        self.rows += 1;
        let nearest = least.into_iter().fold(f64::MAX, f64::min);
        if nearest < f64::MAX { nearest.sqrt() } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_repeats_is_no_news_and_a_new_shape_is() {
        let mut novelty = Novelty::default();
        let told: Vec<f64> = (0..3000)
            .map(|row| {
                let odd = if (2500..2520).contains(&row) { 2.0 } else { 0.0 };
                novelty.distance((f64::from(row) / 97.0 * std::f64::consts::TAU).sin() + odd)
            })
            .collect();
        assert!(told[2400] < 0.05, "{}", told[2400]);
        assert!(told[2515] > 0.5, "{}", told[2515]);
    }
}
