//! From a name to its permission: every question over HTTP comes with one, so a table that is made while compiling finds it
//! with one comparison, as a rule.

use super::Permission;

/// A power of two, some three times as many as there are names.
const SLOTS: usize = 512;
/// Spreads what differs over the upper bits.
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
/// So that a place is less than [`SLOTS`].
const SHIFT: u32 = u64::BITS - SLOTS.trailing_zeros();

static NAMES: [&str; Permission::COUNT] = names();

/// Where each name stands in [`Permission::ALL`], one further on; 0 where none does.
static PLACES: [u8; SLOTS] = places();

/// The permission with this name.
pub(super) fn find(name: &str) -> Option<Permission> {
    let mut slot = hash(name.as_bytes())?;
    loop {
        let place = usize::from(*PLACES.get(slot)?).checked_sub(1)?;
        if is_same(NAMES.get(place)?.as_bytes(), name.as_bytes()) {
            return Permission::ALL.get(place).copied();
        }
        slot = after(slot);
    }
}

/// Whether two names of eight octets or more are the same: the last eight, and all before in steps of eight. Calling what compares
/// any two texts takes longer than that.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    if one.len() != other.len() || one.last_chunk::<8>() != other.last_chunk() {
        return false;
    }
    let [one, other] = [one, other].map(|name| name.as_chunks::<8>().0);
    one.iter().zip(other).all(|(one, other)| one == other)
}

/// The next slot, around the end.
const fn after(slot: usize) -> usize {
    slot.wrapping_add(1) % SLOTS
}

/// The slot of a name: its length, its first and its last eight octets tell nearly all of them apart. `None` for a shorter one,
/// which none is.
#[expect(
    clippy::as_conversions,
    reason = "a constant function knows no other conversions, and a slot is small"
)]
const fn hash(name: &[u8]) -> Option<usize> {
    let (Some(first), Some(last)) = (name.first_chunk(), name.last_chunk()) else {
        return None;
    };
    let (first, last) = (u64::from_le_bytes(*first), u64::from_le_bytes(*last));
    let mixed = first.rotate_left(29) ^ last ^ (name.len() as u64);
    Some((mixed.wrapping_mul(FACTOR) >> SHIFT) as usize)
}

#[expect(
    clippy::indexing_slicing,
    reason = "runs while compiling, where it would fail"
)]
const fn names() -> [&'static str; Permission::COUNT] {
    let mut names = [""; Permission::COUNT];
    let mut place = 0;
    while place < Permission::COUNT {
        names[place] = Permission::ALL[place].name();
        place = place.wrapping_add(1);
    }
    names
}

#[expect(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "runs while compiling, where it would fail"
)]
const fn places() -> [u8; SLOTS] {
    const { assert!(Permission::COUNT < 255, "places are octets") };
    let mut places = [0; SLOTS];
    let mut place = 0;
    while place < Permission::COUNT {
        let Some(mut slot) = hash(Permission::ALL[place].name().as_bytes()) else {
            panic!("a name is shorter than eight octets");
        };
        while places[slot] != 0 {
            slot = after(slot);
        }
        place = place.wrapping_add(1);
        places[slot] = place as u8;
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_and_no_other() {
        for permission in Permission::ALL {
            let name = permission.name();
            assert_eq!(find(name), Some(permission));
            for other in [
                name.to_lowercase(),
                format!("{name}_"),
                format!(" {name}"),
                name.replacen('_', "-", 1),
                name.chars().rev().collect(),
            ] {
                assert_eq!(find(&other), None, "{other}");
            }
        }
        for short in ["", "A", "PROJECT", "PROJECTS"] {
            assert_eq!(find(short), None);
        }
    }
}
