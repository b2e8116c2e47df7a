//! Chance that can be repeated: the same seed, the same inputs, on every machine.

/// SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// Dice that fall the same way for the same `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: usize) -> usize {
        // The remainder's bias does not matter here.
        usize::try_from(self.bits() % (bound.max(1) as u64)).unwrap_or_default()
    }

    /// Whether one of `n` times it does.
    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// One of `from`, which is not empty.
    pub fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len())]
    }

    /// A number that is often small and sometimes at an edge.
    pub fn number(&mut self) -> u64 {
        match self.below(8) {
            0 => self.bits(),
            1 => u64::MAX >> self.below(64),
            2 => (1_u64 << self.below(64)).wrapping_sub(self.below(2) as u64),
            _ => self.below(1_000) as u64,
        }
    }
}
