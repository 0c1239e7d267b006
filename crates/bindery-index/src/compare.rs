//! Comparing all slots of a line at once, without a branch.

use std::hint::select_unpredictable;

use crate::pool::Words;

/// The codes of the keys among the slots of two halves of a line, 0 for a key that isn't there; each key stands in one
/// slot at the most, or in the same slot of both halves.
#[inline]
pub(crate) fn find<const N: usize>(one: Words, other: Words, keys: [u32; N]) -> [u16; N] {
    let slots = [
        slot(one[0], one[3]),
        slot(one[0] >> 32, one[3] >> 16),
        slot(one[1], one[3] >> 32),
        slot(one[1] >> 32, one[3] >> 48),
        slot(one[2], one[2] >> 48),
        slot(other[0], other[3]),
        slot(other[0] >> 32, other[3] >> 16),
        slot(other[1], other[3] >> 32),
        slot(other[1] >> 32, other[3] >> 48),
        slot(other[2], other[2] >> 48),
    ];
    // A comparison and a conditional move for each: half of what masks take.
    let mut found = [0; N];
    for (there, code) in slots {
        for (found, key) in found.iter_mut().zip(keys) {
            *found = select_unpredictable(there == key, code, *found);
        }
    }
    found.map(|code| (code & 0xffff) as u16)
}

#[inline]
const fn slot(key: u64, code: u64) -> (u32, u32) {
    ((key & 0xffff_ffff) as u32, (code & 0xffff_ffff) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_slot_is_found_by_its_key_and_by_no_other() {
        let half = |first: u64| {
            let code = |at: u64| (first + 100 + at) & 0xffff;
            [
                first | (first + 1) << 32,
                (first + 2) | (first + 3) << 32,
                (first + 4) | code(4) << 48,
                code(0) | code(1) << 16 | code(2) << 32 | code(3) << 48,
            ]
        };
        let (one, other) = (half(10), half(0xffff_0020));
        for key in [
            0,
            9,
            10,
            11,
            12,
            13,
            14,
            15,
            0xffff_001f,
            0xffff_0020,
            0xffff_0024,
            110,
        ] {
            let expected = match key {
                10..=14 | 0xffff_0020..=0xffff_0024 => ((key + 100) & 0xffff) as u16,
                _ => 0,
            };
            let twice = find(one, one, [key])[0];
            assert_eq!(twice, if key < 20 { expected } else { 0 });
            let three = find(one, other, [key, 12, 0xffff_0023]);
            assert_eq!(three, [expected, 112, 135], "{key:x}");
        }
    }
}
