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

impl Novelty {
    /// Root mean square distance to the most similar stretch, in the value's unit; 0 before there is one.
    /// Cost: one pass over the lags, about a microsecond.
    pub(crate) fn distance(&mut self, value: f64) -> f64 {
        if self.head == 0 {
            self.past.copy_within(..LAGS, LAGS);
            self.head = LAGS;
        }
        let lags = self.rows.min(LAGS - 1);
        let past = &self.past[self.head..self.head + lags];
        let keep = 1.0 - 1.0 / REACH;
        for (difference, then) in self.differences.iter_mut().zip(past) {
            let step = value - then;
            *difference = *difference * keep + (1.0 - keep) * step * step;
        }
        self.head -= 1;
        self.past[self.head] = value;
        self.rows += 1;
        let mut least = [f64::MAX; LANES];
        for lanes in self.differences[GAP..lags.max(GAP)].chunks_exact(LANES) {
            least.iter_mut().zip(lanes).for_each(|(least, one)| *least = least.min(*one));
        }
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
