//! Latencies in buckets that are never wider than 1/64 of their value: 30 KiB for any number of them.

use std::time::Duration;

const STEPS: usize = 64;
const STEP_BITS: u32 = 6;
/// Up to 2^40 us: twelve days.
const OCTAVES: usize = 41;

/// A histogram of latencies.
#[derive(Clone, Debug)]
pub struct Latencies {
    counts: Vec<u64>,
    total: u64,
}

impl Default for Latencies {
    fn default() -> Self {
        Self { counts: vec![0; STEPS * OCTAVES], total: 0 }
    }
}

impl Latencies {
    /// Adds one.
    pub fn add(&mut self, latency: Duration) {
        let place = place_of(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX)).min(self.counts.len() - 1);
        self.counts[place] += 1;
        self.total += 1;
    }

    /// Adds all of another.
    pub fn merge(&mut self, other: &Self) {
        self.counts.iter_mut().zip(&other.counts).for_each(|(count, more)| *count += more);
        self.total += other.total;
    }

    /// Milliseconds below which this share lies; 0 without any latency.
    pub fn quantile_ms(&self, share: f64) -> f64 {
        let wanted = (share * self.total as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        let found = self.counts.iter().position(|count| {
            seen += count;
            seen >= wanted
        });
        found.map_or(0.0, |place| middle_us(place) / 1000.0)
    }
}

/// Below 64 us a bucket per microsecond, then 64 buckets an octave.
fn place_of(us: u64) -> usize {
    if us < STEPS as u64 {
        return us as usize;
    }
    let octave = 63 - us.leading_zeros() - STEP_BITS;
    let step = (us >> octave) as usize - STEPS;
    (octave as usize + 1) * STEPS + step
}

fn middle_us(place: usize) -> f64 {
    if place < STEPS {
        return place as f64;
    }
    let (octave, step) = (place / STEPS - 1, place % STEPS);
    let width = (octave as f64).exp2();
    (STEPS + step) as f64 * width + width / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_within_one_part_in_sixty_four() {
        let mut latencies = Latencies::default();
        (1..=100_000u64).for_each(|us| latencies.add(Duration::from_micros(us)));
        for share in [0.5, 0.95, 0.99, 0.999] {
            let (found, exact) = (latencies.quantile_ms(share), share * 100.0);
            assert!((found / exact - 1.0).abs() < 1.0 / 64.0, "{share}: {found} for {exact}");
        }
        assert_eq!(Latencies::default().quantile_ms(0.99), 0.0);
    }

    #[test]
    fn merging_adds_and_extremes_fit() {
        let (mut left, mut right) = (Latencies::default(), Latencies::default());
        left.add(Duration::ZERO);
        right.add(Duration::MAX);
        left.merge(&right);
        assert_eq!((left.total, left.quantile_ms(0.5)), (2, 0.0));
        assert!(left.quantile_ms(1.0) > 1e9);
    }
}
