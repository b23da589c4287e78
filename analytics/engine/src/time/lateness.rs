//! How late a sender's rows come behind the leading event time: a decayed histogram.

use serde::{Deserialize, Serialize};

/// Four buckets an octave of milliseconds, up to 2^24 ms: a quantile is at most 25 % too high.
const BUCKETS: usize = 92;

/// Decayed counts of lateness.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lateness {
    counts: Vec<f32>,
    total: f32,
}

impl Default for Lateness {
    fn default() -> Self {
        Self { counts: vec![0.0; BUCKETS], total: 0.0 }
    }
}

/// Bucket of so many milliseconds.
#[allow(clippy::cast_possible_truncation, reason = "at most BUCKETS - 1")]
fn bucket_of(ms: u64) -> usize {
    if ms < 4 {
        return ms as usize;
    }
    let octave = 63 - ms.leading_zeros() as usize;
    let quarter = (ms >> (octave - 2)) as usize & 3;
    ((octave - 1) * 4 + quarter).min(BUCKETS - 1)
}

/// First millisecond above a bucket.
const fn upper_ms(bucket: usize) -> u64 {
    if bucket < 4 {
        return bucket as u64 + 1;
    }
    let (octave, quarter) = (bucket / 4 + 1, bucket as u64 % 4);
    (5 + quarter) << (octave - 2)
}

impl Lateness {
    /// Counts one row.
    pub fn add(&mut self, late_ns: u64) {
        self.counts[bucket_of(late_ns / 1_000_000)] += 1.0;
        self.total += 1.0;
    }

    /// Forgets half.
    pub fn halve(&mut self) {
        self.counts.iter_mut().for_each(|count| *count *= 0.5);
        self.total *= 0.5;
    }

    /// Upper end of the bucket of this quantile; 0 where nothing is known.
    pub fn quantile_ns(&self, q: f32) -> u64 {
        let (mut seen, target) = (0.0, q * self.total);
        if self.total <= 0.0 {
            return 0;
        }
        let bucket = self.counts.iter().position(|count| {
            seen += count;
            *count > 0.0 && seen >= target
        });
        bucket.map_or(0, |bucket| if bucket == 0 { 0 } else { upper_ms(bucket) * 1_000_000 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_meet_and_a_quantile_is_at_most_a_quarter_too_high() {
        for ms in 1..100_000u64 {
            let upper = upper_ms(bucket_of(ms));
            assert!(upper > ms && upper <= ms + ms / 4 + 1, "{ms} ms in a bucket that ends at {upper}");
        }
        assert!(bucket_of(u64::MAX) < BUCKETS);
    }

    #[test]
    fn quantiles_follow_the_recent_past() {
        let mut lateness = Lateness::default();
        assert_eq!(lateness.quantile_ns(0.99), 0);
        (0..100).for_each(|_| lateness.add(10_000_000_000));
        (0..10).for_each(|_| lateness.halve());
        (0..100).for_each(|_| lateness.add(1_000_000_000));
        assert!(lateness.quantile_ns(0.99) <= 1_250_000_000);
    }
}
