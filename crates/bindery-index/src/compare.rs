//! Comparing all slots of a line at once, without a branch.

use std::hint::select_unpredictable;

use crate::pool::{Words, unpacked};

/// The slots with these keys among those of two halves of a line, 0 for a key that isn't there; each key stands in one
/// slot at the most, or in the same slot of both halves.
#[inline(always)]
#[expect(clippy::inline_always, reason = "as of the function that calls it")]
pub(crate) fn find<const N: usize>(one: Words, other: Words, keys: [u32; N]) -> [u64; N] {
    // A comparison and a conditional move for each.
    let mut found = [0; N];
    for slot in [
        one[0], one[1], one[2], one[3], other[0], other[1], other[2], other[3],
    ] {
        let (there, _) = unpacked(slot);
        for (found, key) in found.iter_mut().zip(keys) {
            *found = select_unpredictable(there == key, slot, *found);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_slot_is_found_by_its_key_and_by_no_other() {
        let half = |first: u64| {
            [0, 1, 2, 3].map(|at| (first + at) | ((first + 100 + at) & 0xffff_ffff) << 32)
        };
        let (one, other) = (half(10), half(0xffff_0020));
        for key in [
            0_u32,
            9,
            10,
            11,
            12,
            13,
            14,
            0xffff_001f,
            0xffff_0020,
            0xffff_0023,
            0xffff_0024,
            110,
        ] {
            let expected = match key {
                10..=13 | 0xffff_0020..=0xffff_0023 => key.wrapping_add(100),
                _ => 0,
            };
            let twice = unpacked(find(one, one, [key])[0]).1;
            assert_eq!(twice, if key < 20 { expected } else { 0 });
            let three = find(one, other, [key, 12, 0xffff_0023]).map(|slot| unpacked(slot).1);
            assert_eq!(three, [expected, 112, 0xffff_0087], "{key:x}");
        }
    }
}
