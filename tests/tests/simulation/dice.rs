//! Seeded chance: every draw of a simulation comes from here.

use rand_pcg::{Pcg64Mcg, rand_core::Rng};

/// A stream of numbers that follows from seed and purpose.
pub struct Dice(Pcg64Mcg);

impl Dice {
    pub fn new(seed: u64, purpose: u64) -> Self {
        Self(Pcg64Mcg::new(u128::from(seed) << 64 | u128::from(purpose) << 8 | 0xcafe))
    }

    /// 0 to `bound - 1`; the tiny bias of a remainder does not matter here.
    pub fn below(&mut self, bound: u64) -> u64 {
        (self.0.next_u64() >> 8) % bound.max(1)
    }

    /// True with this probability.
    pub fn chance(&mut self, probability: f64) -> bool {
        (self.below(1 << 20) as f64) < probability * f64::from(1u32 << 20)
    }
}
