//! A hash for numbers that a peer chooses: quick, and keyed so that the peer cannot choose them to collide.

use std::hash::{BuildHasher, Hasher, RandomState};

/// Makes hashers with keys that nobody outside this process knows.
#[derive(Clone)]
pub(super) struct Keyed {
    mask: u64,
    factor: u64,
}

impl Default for Keyed {
    fn default() -> Self {
        let random = RandomState::new();
        Self {
            mask: random.hash_one(0_u8),
            factor: random.hash_one(1_u8) | 1,
        }
    }
}

impl BuildHasher for Keyed {
    type Hasher = Number;

    fn build_hasher(&self) -> Number {
        Number {
            state: self.mask,
            factor: self.factor,
        }
    }
}

/// The upper and the lower half of a product with a secret factor, mixed.
pub(super) struct Number {
    state: u64,
    factor: u64,
}

impl Hasher for Number {
    fn finish(&self) -> u64 {
        self.state
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u32(u32::from(*byte)));
    }

    fn write_u32(&mut self, number: u32) {
        let product = u128::from(self.state ^ u64::from(number)) * u128::from(self.factor);
        #[expect(clippy::cast_possible_truncation, reason = "both halves are used")]
        let (low, high) = (product as u64, (product >> 64) as u64);
        self.state = low ^ high;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_a_row_and_at_a_distance_spread() {
        let keys = Keyed::default();
        for distance in [1, 2, 1 << 8, 1 << 20] {
            let mut buckets = [0_u32; 64];
            for number in 0..4096_u32 {
                let hash = keys.hash_one(number.wrapping_mul(distance));
                buckets[(hash % 64) as usize] += 1;
            }
            let fullest = buckets.iter().max().unwrap();
            assert!(
                *fullest < 64 * 16,
                "{fullest} of 4096 share a bucket of 64 at distance {distance}"
            );
        }
        assert_ne!(keys.hash_one(7_u32), Keyed::default().hash_one(7_u32));
    }
}
