//! Hash maps whose behaviour depends on nothing but their content: no random seed.
//!
//! Keys are hashes already (xxh3) or small dense numbers, so folding them once is enough. Iteration
//! order still follows the table: never let it reach an output, sort first.

use serde::{Deserialize, Serialize};
use std::{
    collections::{HashMap, HashSet},
    hash::{BuildHasherDefault, Hasher},
};

/// A map with a fixed hash function.
pub type FixedMap<K, V> = HashMap<K, V, BuildHasherDefault<Folding>>;
/// A set with a fixed hash function.
pub type FixedSet<K> = HashSet<K, BuildHasherDefault<Folding>>;

/// Folds words by multiplication.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Folding(u64);

impl Folding {
    const fn fold(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(23) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

impl Hasher for Folding {
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }

    fn write(&mut self, bytes: &[u8]) {
        self.fold(xxhash_rust::xxh3::xxh3_64(bytes));
    }

    fn write_u8(&mut self, word: u8) {
        self.fold(u64::from(word));
    }

    fn write_u32(&mut self, word: u32) {
        self.fold(u64::from(word));
    }

    fn write_u64(&mut self, word: u64) {
        self.fold(word);
    }

    fn write_usize(&mut self, word: usize) {
        self.fold(word as u64);
    }

    #[allow(clippy::cast_possible_truncation, reason = "both halves are folded")]
    fn write_u128(&mut self, word: u128) {
        self.fold(word as u64);
        self.fold((word >> 64) as u64);
    }
}

/// Hash of several texts that depends on where each ends.
pub fn of_parts<'a>(seed: u64, parts: impl IntoIterator<Item = &'a [u8]>) -> u128 {
    let mut hash = xxhash_rust::xxh3::Xxh3::with_seed(seed);
    for part in parts {
        hash.update(&(part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.digest128()
}
