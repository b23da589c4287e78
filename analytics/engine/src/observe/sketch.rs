//! Durations in logarithmic buckets: mergeable quantiles with a proven relative error.
//!
//! A value lies in bucket `i` if `g^(i-1) < x <= g^i` with `g = (1 + a) / (1 - a)`; the bucket answers
//! `2 g^i / (g + 1)`, which is within `a` of every value in it. So any quantile is within `a` of the
//! sample of that rank. `a` is 0.99 %, which leaves room for rounding below the promised 1 %.
//! Adding and merging commute, so the order of samples never matters.

use serde::{Deserialize, Serialize};

/// `ln((1 + 0.0099) / (1 - 0.0099))`.
const LN_GAMMA: f64 = 0.019_800_646_904_5;
/// Narrowest and widest bucket: about 2e-9 to 5e8 seconds around 1.
const BUCKET_MIN: i16 = -1100;
const BUCKET_MAX: i16 = 1100;

/// Counts per bucket, sparse, ascending.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sketch {
    buckets: Vec<(i16, u32)>,
    n: u64,
}

/// The bucket of a value given by its natural logarithm; NaN falls into the lowest.
#[allow(clippy::cast_possible_truncation, reason = "clamped to the range of buckets before")]
pub fn bucket_of_ln(ln: f64) -> i16 {
    (ln / LN_GAMMA).ceil().clamp(f64::from(BUCKET_MIN), f64::from(BUCKET_MAX)) as i16
}

/// The value that stands for a bucket.
pub fn value_of(bucket: i16) -> f64 {
    let gamma = LN_GAMMA.exp();
    2.0 * (f64::from(bucket) * LN_GAMMA).exp() / (gamma + 1.0)
}

impl Sketch {
    /// Counts one sample. O(log buckets), a move of the tail when the bucket is new.
    pub fn add(&mut self, bucket: i16) {
        self.add_many(bucket, 1);
    }

    fn add_many(&mut self, bucket: i16, count: u32) {
        self.n += u64::from(count);
        match self.buckets.binary_search_by_key(&bucket, |entry| entry.0) {
            Ok(at) => self.buckets[at].1 = self.buckets[at].1.saturating_add(count),
            Err(at) => self.buckets.insert(at, (bucket, count)),
        }
    }

    /// Reads where a search begins, ahead of `add`.
    pub fn touch(&self) -> u64 {
        self.buckets.get(self.buckets.len() / 2).map_or(0, |(_, count)| u64::from(*count))
    }

    /// Takes another's samples.
    pub fn merge(&mut self, other: &Self) {
        for (bucket, count) in &other.buckets {
            self.add_many(*bucket, *count);
        }
    }

    /// Number of samples.
    pub const fn len(&self) -> u64 {
        self.n
    }

    /// Whether there is no sample.
    pub const fn is_empty(&self) -> bool {
        self.n == 0
    }

    /// Bucket of the sample with rank `ceil(q n)`; `None` if empty.
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a rank between 1 and n; counts below 2^53"
    )]
    pub fn quantile_bucket(&self, q: f64) -> Option<i16> {
        let rank = ((q * self.n as f64).ceil() as u64).clamp(1, self.n.max(1));
        let mut seen = 0;
        self.buckets.iter().find_map(|(bucket, count)| {
            seen += u64::from(*count);
            (seen >= rank).then_some(*bucket)
        })
    }

    /// Value of that rank, within 1 %; NaN if empty.
    pub fn quantile(&self, q: f64) -> f64 {
        self.quantile_bucket(q).map_or(f64::NAN, value_of)
    }

    /// Samples in buckets above this one.
    pub fn count_above(&self, bucket: i16) -> u64 {
        let from = self.buckets.partition_point(|entry| entry.0 <= bucket);
        self.buckets[from..].iter().map(|entry| u64::from(entry.1)).sum()
    }

    /// Forgets half of every bucket.
    pub fn halve(&mut self) {
        for entry in &mut self.buckets {
            entry.1 /= 2;
        }
        self.buckets.retain(|entry| entry.1 > 0);
        self.n = self.buckets.iter().map(|entry| u64::from(entry.1)).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_quantile_is_within_one_percent_of_the_sample_of_that_rank(
            mut samples in prop::collection::vec(1e-8f64..1e6, 1..400), q in 0.0f64..=1.0, cut in 0usize..400,
        ) {
            let cut = cut.min(samples.len());
            let (mut left, mut right) = (Sketch::default(), Sketch::default());
            for (at, sample) in samples.iter().enumerate() {
                (if at < cut { &mut left } else { &mut right }).add(bucket_of_ln(sample.ln()));
            }
            left.merge(&right);
            samples.sort_by(f64::total_cmp);
            let rank = ((q * samples.len() as f64).ceil() as usize).clamp(1, samples.len());
            let truth = samples[rank - 1];
            prop_assert!((left.quantile(q) - truth).abs() <= 0.01 * truth, "{} is not {truth}", left.quantile(q));
        }
    }

    #[test]
    fn an_empty_sketch_has_no_quantile_and_counts_nothing() {
        let mut empty = Sketch::default();
        empty.halve();
        assert!(empty.quantile(0.5).is_nan());
        assert_eq!((empty.len(), empty.count_above(0)), (0, 0));
    }

    #[test]
    fn samples_above_a_bucket_are_counted() {
        let mut sketch = Sketch::default();
        [0.1f64, 0.1, 0.2, 5.0].iter().for_each(|sample| sketch.add(bucket_of_ln(sample.ln())));
        assert_eq!(sketch.count_above(bucket_of_ln(0.1f64.ln())), 2);
        assert_eq!(sketch.count_above(bucket_of_ln(10f64.ln())), 0);
    }
}
