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

/// Parts up to this together are hashed at once.
const ROOM_BYTES: usize = 240;

/// Hash of several texts that depends on where each ends.
pub fn of_parts<'a>(seed: u64, parts: impl IntoIterator<Item = &'a [u8]>) -> u128 {
    // Short ones, and nearly all are, are put together and hashed at once, which ends in the same bits.
    let (mut room, mut length) = ([0; ROOM_BYTES], 0);
    let mut long: Option<xxhash_rust::xxh3::Xxh3> = None;
    let mut put = |bytes: &[u8]| match &mut long {
        Some(hash) => hash.update(bytes),
        None => match room.get_mut(length..length + bytes.len()) {
            Some(place) => {
                place.copy_from_slice(bytes);
                length += bytes.len();
            }
            None => {
                let mut hash = xxhash_rust::xxh3::Xxh3::with_seed(seed);
                hash.update(&room[..length]);
                hash.update(bytes);
                long = Some(hash);
            }
        },
    };
    for part in parts {
        put(&(part.len() as u64).to_le_bytes());
        put(part);
    }
    long.map_or_else(|| xxhash_rust::xxh3::xxh3_128_with_seed(&room[..length], seed), |hash| hash.digest128())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_of_parts_is_that_of_a_stream() {
        for length in [0, 1, 100, 223, 224, 225, 500] {
            let (long, short) = (vec![7; length], [1, 2, 3]);
            let mut hash = xxhash_rust::xxh3::Xxh3::with_seed(9);
            for part in [&long[..], &short] {
                hash.update(&(part.len() as u64).to_le_bytes());
                hash.update(part);
            }
            assert_eq!(of_parts(9, [&long[..], &short]), hash.digest128(), "{length}");
        }
    }
}
