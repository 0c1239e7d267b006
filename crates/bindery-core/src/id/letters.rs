//! Base64 as ids have it, read without a detour: together with how ids are read, it saves a third of the instructions. What this doesn't read
//! (anything but whole groups of the standard alphabet, padded or not), the library is asked about.

/// What a letter stands for; above 63 for what is none.
static VALUES: [u8; 256] = values();
const NONE: u8 = 0xff;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

#[expect(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "runs while compiling, where it would fail"
)]
const fn values() -> [u8; 256] {
    let mut values = [NONE; 256];
    let mut value = 0;
    while value < ALPHABET.len() {
        values[ALPHABET[value] as usize] = value as u8;
        value += 1;
    }
    values
}

/// Writes the octets of `text` into `into`, and tells how many there are; `None` if they don't fit or it is not base64 to the
/// letter.
pub(super) fn decode(text: &[u8], into: &mut [u8]) -> Option<usize> {
    let sent = text.len();
    let text = text.strip_suffix(b"=").unwrap_or(text);
    let text = text.strip_suffix(b"=").unwrap_or(text);
    // Padding fills the last group, or there is none.
    let is_padded = text.len() != sent;
    if is_padded && (!sent.is_multiple_of(4) || text.len().is_multiple_of(4)) {
        return None;
    }
    let (groups, rest) = text.as_chunks::<4>();
    let (whole, behind) = into.split_at_mut_checked(groups.len().checked_mul(3)?)?;
    let length = whole.len();
    for (group, octets) in groups.iter().zip(whole.as_chunks_mut::<3>().0) {
        let [a, b, c, d] = group.map(value);
        if (a | b | c | d) > 63 {
            return None;
        }
        let [_, read @ ..] = (a << 18 | b << 12 | c << 6 | d).to_be_bytes();
        *octets = read;
    }
    // Bits that are left over must be none.
    match *rest {
        [] => Some(length),
        [a, b] => {
            let (a, b) = (value(a), value(b));
            if (a | b) > 63 || b & 0xf != 0 {
                return None;
            }
            let [_, octet, ..] = (a << 18 | b << 12).to_be_bytes();
            *behind.first_mut()? = octet;
            length.checked_add(1)
        }
        [a, b, c] => {
            let [a, b, c] = [a, b, c].map(value);
            if (a | b | c) > 63 || c & 3 != 0 {
                return None;
            }
            let [_, first, second, _] = (a << 18 | b << 12 | c << 6).to_be_bytes();
            *behind.first_chunk_mut()? = [first, second];
            length.checked_add(2)
        }
        _ => None,
    }
}

#[inline]
fn value(letter: u8) -> u32 {
    u32::from(VALUES.get(usize::from(letter)).copied().unwrap_or(NONE))
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use proptest::prelude::*;

    use super::super::ENGINE;
    use super::*;

    /// What it reads, the library reads the same; what the library writes, it reads.
    fn check(text: &[u8]) -> Option<Vec<u8>> {
        let mut room = [0; 64];
        let read = decode(text, &mut room).map(|length| room[..length].to_vec());
        if let Some(read) = &read {
            assert_eq!(ENGINE.decode(text).as_ref(), Ok(read), "{text:?}");
        }
        read
    }

    proptest! {
        #[test]
        fn it_reads_what_the_library_writes_and_nothing_that_it_does_not_read(
            octets in proptest::collection::vec(any::<u8>(), 0..48),
            noise in "[A-Za-z0-9+/=_ -]{0,24}",
            at in 0_usize..64,
            with in any::<u8>(),
        ) {
            let mut text = ENGINE.encode(&octets).into_bytes();
            prop_assert_eq!(check(&text), Some(octets));
            check(noise.as_bytes());
            check(&[&text[..], &b"=="[..usize::from(with % 3)]].concat());
            if let Some(letter) = text.get_mut(at) {
                *letter = with;
                check(&text);
            }
        }
    }

    #[test]
    fn padding_is_whole_or_not_there() {
        for (text, is_read) in [
            ("AAAA", true),
            ("AAA=", true),
            ("AAA", true),
            ("AA==", true),
            ("AA", true),
            ("AAAA=", false),
            ("AAAA==", false),
            ("AAA==", false),
            ("AA=", false),
            ("A===", false),
            ("====", false),
            ("=", false),
            ("AB==", false),
        ] {
            assert_eq!(check(text.as_bytes()).is_some(), is_read, "{text}");
        }
    }

    #[test]
    fn what_does_not_fit_is_not_read() {
        let text = ENGINE.encode([7; 12]);
        assert_eq!(decode(text.as_bytes(), &mut [0; 12]), Some(12));
        assert_eq!(decode(text.as_bytes(), &mut [0; 11]), None);
    }
}
