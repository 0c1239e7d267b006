//! The same numbers on every run and on every machine.

/// `SplitMix64`: quick, even, and good enough to lay out a company.
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Below `bound`, which isn't 0.
    pub(crate) const fn below(&mut self, bound: u32) -> u32 {
        (((self.next() >> 32) * bound as u64) >> 32) as u32
    }

    /// True in so many of a hundred cases.
    pub(crate) const fn percent(&mut self, chance: u32) -> bool {
        self.below(100) < chance
    }

    /// One of them; there is at least one.
    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        let length =
            u32::try_from(from.len()).expect("nothing here has more than 32 bits can count");
        &from[self.below(length) as usize]
    }

    pub(crate) fn shuffle<T>(&mut self, all: &mut [T]) {
        for end in (1..all.len()).rev() {
            let bound =
                u32::try_from(end + 1).expect("nothing here has more than 32 bits can count");
            all.swap(end, self.below(bound) as usize);
        }
    }
}
