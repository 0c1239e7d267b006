//! Base64 as ids have it, read without a detour: the letters that all ids of a kind begin with are compared, and the few behind
//! them read into one number. What this doesn't read (anything but the standard alphabet, padded or not, of no more than so many
//! octets), the library is asked about.

/// What a letter stands for at each place of a group of four; [`NONE`] for what is none. One look and one `or` a letter.
static VALUES: [[u32; 256]; 4] = values();
/// Above the three octets of a group.
const NONE: u32 = 1 << 31;
/// Padding at the third and fourth place, of which the third alone is none.
const PADDING: [u32; 2] = [1 << 25, 1 << 24];

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The letters that all ids of a kind begin with: whole groups of `Kind:`.
#[derive(Clone, Copy)]
pub(super) struct Start {
    letters: [u8; LETTERS_MAX],
    count: usize,
    /// What is left of `Kind:`, at most two octets, as the number that they are in a group.
    rest: u32,
    /// How many.
    rest_count: u32,
}

/// Enough for `AccountOrganizationMember:`.
const LETTERS_MAX: usize = 32;
/// So many groups are read between the first and the last: with them, fifteen octets.
const GROUPS_BETWEEN_MAX: usize = 3;

impl Start {
    #[expect(
        clippy::as_conversions,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        reason = "runs while compiling, where it would fail"
    )]
    pub(super) const fn of(tag: &str) -> Self {
        let tag = tag.as_bytes();
        let mut start = Self {
            letters: [0; LETTERS_MAX],
            count: 0,
            rest: 0,
            rest_count: 0,
        };
        let mut at = 0;
        while at <= tag.len() {
            let octet = if at == tag.len() { b':' } else { tag[at] };
            start.rest |= (octet as u32) << (16 - 8 * start.rest_count);
            start.rest_count += 1;
            if start.rest_count == 3 {
                let mut shift = 24;
                while shift > 0 {
                    shift -= 6;
                    let value = start.rest >> shift & 63;
                    start.letters[start.count] = ALPHABET[value as usize];
                    start.count += 1;
                }
                start.rest = 0;
                start.rest_count = 0;
            }
            at += 1;
        }
        start
    }

    /// The octets behind `Kind:` as one number, the last of them lowest, and how many they are; `None` if the text begins with
    /// something else, is not base64 to the letter, or goes on for longer than ids do.
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "what a kind begins with is known there"
    )]
    pub(super) fn read_behind(&self, text: &[u8]) -> Option<(u128, u32)> {
        let behind = text.strip_prefix(self.letters.get(..self.count)?)?;
        let (groups, open) = behind.as_chunks::<4>();
        let (groups, last) = if open.is_empty() {
            let (last, groups) = groups.split_last()?;
            (groups, *last)
        } else {
            (groups, padded(open)?)
        };
        let (first, groups) = groups.split_first()?;
        if groups.len() > GROUPS_BETWEEN_MAX {
            return None;
        }
        let mask = 0xff_ffff >> self.rest_count.wrapping_mul(8);
        let first = value(*first);
        let mut octets = u128::from(first & mask);
        let mut count = 6_u32.wrapping_sub(self.rest_count);
        let mut seen = 0;
        for group in groups {
            let group = value(*group);
            seen |= group;
            octets = octets << 24 | u128::from(group);
            count = count.wrapping_add(3);
        }
        let last = value(last);
        let padding = last >> 24;
        // Eight for each letter that is padding.
        let bits = padding.wrapping_add(1).wrapping_mul(4) & 0x18;
        let octets = octets << 24_u32.wrapping_sub(bits) | u128::from((last & 0xff_ffff) >> bits);
        let count = count.wrapping_sub(bits / 8);
        // Bits that are left over must be none.
        let wrong = (first ^ self.rest) & !mask | seen & !0xff_ffff | last & !(u32::MAX << bits);
        (wrong == 0 && matches!(padding, 0 | 1 | 3)).then_some((octets, count))
    }
}

/// The last group of a text without padding.
#[cold]
fn padded(letters: &[u8]) -> Option<[u8; 4]> {
    match *letters {
        [a, b] => Some([a, b, b'=', b'=']),
        // Padding fills the group, or there is none.
        [a, b, c] if c != b'=' => Some([a, b, c, b'=']),
        _ => None,
    }
}

/// The three octets that a group of letters stands for, as one number; with [`NONE`] if it stands for none.
#[inline]
fn value([a, b, c, d]: [u8; 4]) -> u32 {
    let [first, second, third, fourth] = &VALUES;
    let of = |values: &[u32; 256], letter: u8| {
        let value = values.get(usize::from(letter));
        value.copied().unwrap_or(NONE)
    };
    of(first, a) | of(second, b) | of(third, c) | of(fourth, d)
}

#[expect(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "runs while compiling, where it would fail"
)]
const fn values() -> [[u32; 256]; 4] {
    let mut values = [[NONE; 256]; 4];
    let mut value = 0;
    while value < ALPHABET.len() {
        let mut place = 0;
        while place < 4 {
            values[place][ALPHABET[value] as usize] = (value as u32) << (18 - 6 * place);
            place += 1;
        }
        value += 1;
    }
    values[2][b'=' as usize] = PADDING[0];
    values[3][b'=' as usize] = PADDING[1];
    values
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use proptest::prelude::*;

    use super::super::{ENGINE, Kind};
    use super::*;

    /// What it reads, the library reads the same.
    fn check(kind: Kind, text: &[u8]) -> Option<Vec<u8>> {
        let (octets, count) = Start::of(kind.tag()).read_behind(text)?;
        let octets = octets.to_be_bytes();
        let (above, behind) = octets.split_at(16_usize.abs_diff(usize::try_from(count).unwrap()));
        let plain = [format!("{}:", kind.tag()).as_bytes(), behind].concat();
        assert!(above.iter().all(|octet| *octet == 0), "{text:?}");
        assert_eq!(ENGINE.decode(text).as_ref(), Ok(&plain), "{text:?}");
        Some(behind.to_vec())
    }

    proptest! {
        #[test]
        fn it_reads_what_the_library_writes_and_nothing_that_it_does_not_read(
            kind in proptest::sample::select(&Kind::PUBLIC[..]),
            octets in proptest::collection::vec(any::<u8>(), 0..20),
            noise in "[A-Za-z0-9+/=_ -]{0,24}",
            at in 0_usize..48,
            with in any::<u8>(),
        ) {
            let plain = [format!("{}:", kind.tag()).as_bytes(), &octets].concat();
            let mut text = ENGINE.encode(plain).into_bytes();
            let read = check(kind, &text);
            let unpadded = text.strip_suffix(b"=").unwrap_or(&text);
            let unpadded = unpadded.strip_suffix(b"=").unwrap_or(unpadded);
            prop_assert_eq!(&check(kind, unpadded), &read);
            // From one digit to eight, `:`, and a check of four.
            if (6..=13).contains(&octets.len()) {
                prop_assert_eq!(read, Some(octets));
            }
            check(kind, noise.as_bytes());
            let start = text.get(..8).unwrap_or(&text);
            check(kind, &[start, noise.as_bytes()].concat());
            check(kind, &[&text[..], &b"=="[..usize::from(with % 3)]].concat());
            if let Some(letter) = text.get_mut(at) {
                *letter = with;
                check(kind, &text);
            }
        }
    }

    #[test]
    fn padding_is_whole_or_not_there() {
        // `Space:` is eight letters.
        let start = "U3BhY2U6";
        for (end, is_read) in [
            ("AAAAAAAA", true),
            ("AAAAAAA=", true),
            ("AAAAAAA", true),
            ("AAAAAA==", true),
            ("AAAAAA", true),
            ("AAAA", false),
            ("AAAAA", false),
            ("AAAAAAAA=", false),
            ("AAAAAAAA==", false),
            ("AAAAAAA==", false),
            ("AAAAAA=", false),
            ("AAAAAA=A", false),
            ("AAAAA===", false),
            ("AAAA====", false),
            ("AAAA=", false),
            ("AA==AAAA", false),
            ("AAAAAB==", false),
            ("AAAAAAB=", false),
        ] {
            let read = check(Kind::Space, format!("{start}{end}").as_bytes());
            assert_eq!(read.is_some(), is_read, "{end}");
        }
        assert_eq!(check(Kind::Space, b"U3BhY2U"), None);
        assert_eq!(check(Kind::Space, b""), None);
        assert_eq!(check(Kind::User, b"VXNlcjAAAAAA"), None);
    }

    #[test]
    fn what_goes_on_for_longer_than_ids_do_is_not_read() {
        for (octets, is_read) in [(15, true), (16, false), (1000, false)] {
            let text = ENGINE.encode(format!("Space:{}", "1".repeat(octets)));
            assert_eq!(check(Kind::Space, text.as_bytes()).is_some(), is_read);
        }
    }
}
