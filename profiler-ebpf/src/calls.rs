//! Durations of a probed function: a histogram in powers of two.

use serde::Serialize;

/// One row: calls that took at least `from_ns` and less than twice that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Bucket {
    /// Lower end.
    pub from_ns: u64,
    /// Calls.
    pub calls: u64,
}

/// How long calls took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Calls {
    by_power: [u64; 64],
    total_ns: u64,
}

impl Default for Calls {
    fn default() -> Self {
        Self { by_power: [0; 64], total_ns: 0 }
    }
}

impl Calls {
    /// Counts a call.
    pub fn add(&mut self, ns: u64) {
        self.by_power[ns.max(1).ilog2() as usize] += 1;
        self.total_ns = self.total_ns.saturating_add(ns);
    }

    /// Calls.
    pub fn count(&self) -> u64 {
        self.by_power.iter().sum()
    }

    /// Their time.
    pub const fn total_ns(&self) -> u64 {
        self.total_ns
    }

    /// From the shortest to the longest, without gaps.
    pub fn buckets(&self) -> Vec<Bucket> {
        let used = |power: &usize| self.by_power[*power] > 0;
        let (Some(first), Some(last)) = ((0..64).find(used), (0..64).rev().find(used)) else { return Vec::new() };
        (first..=last).map(|power| Bucket { from_ns: 1 << power, calls: self.by_power[power] }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_of_two() {
        let mut calls = Calls::default();
        assert_eq!(calls.buckets(), []);
        [0, 1, 1_000, 1_023, 4_096].into_iter().for_each(|ns| calls.add(ns));
        let buckets = calls.buckets();
        assert_eq!((buckets[0], buckets.len()), (Bucket { from_ns: 1, calls: 2 }, 13));
        assert_eq!(buckets[9], Bucket { from_ns: 512, calls: 2 });
        assert_eq!((calls.count(), calls.total_ns()), (5, 6_120));
    }
}
