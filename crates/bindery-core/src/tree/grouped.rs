//! A tree of entries that come in the order of something else: they are counted by the number that their keys begin with, and
//! each is put where its group stands. Numbers are dense, so that takes two looks at each entry, and most groups are in order by then.

use super::{Growing, Keyed, Tree};
use crate::id::Id;

/// What keys begin with, and whose values are dense.
pub(crate) trait Dense: Copy {
    /// Its place in the order of all of them.
    fn place(self) -> u64;
    /// The one at this place.
    fn at(place: u64) -> Self;
}

impl<I: Id> Dense for I {
    fn place(self) -> u64 {
        self.number().into()
    }

    fn at(place: u64) -> Self {
        Self::from_number(u32::try_from(place).unwrap_or(u32::MAX))
    }
}

/// So many places for each entry may be empty. Where numbers are further apart, most that were given out are nobody's any more (or
/// these are damaged), and comparing takes less than counting.
const PLACES_PER_ENTRY: usize = 4;
/// So many may be empty in any case.
const PLACES_MIN: usize = 1024;

impl<E: Keyed> Tree<E> {
    /// A tree of the entries that are made of these, each key once: of what its key begins with, and of the rest, in the order
    /// of which the entries of a group are. `all` yields the same each time, `count_max` at the most.
    pub(crate) fn grouped<P, V, I>(
        count_max: usize,
        all: impl Fn() -> I,
        entry: impl Fn(P, V) -> E,
    ) -> Self
    where
        P: Dense,
        V: Copy + Ord,
        I: Iterator<Item = (P, V)>,
    {
        let Some(Groups { ends, mut values }) = Groups::of(count_max, &all) else {
            return Self::of(all().map(|(first, rest)| entry(first, rest)));
        };
        let mut growing = Growing::with_room();
        let mut begin = 0;
        for (place, end) in (0..).zip(ends) {
            let end = usize::try_from(end).unwrap_or(usize::MAX);
            let group = values.get_mut(begin..end).unwrap_or_default();
            if !group.is_sorted() {
                group.sort_unstable();
            }
            for rest in group {
                growing.push(entry(P::at(place), *rest));
            }
            begin = end;
        }
        growing.finish()
    }
}

struct Groups<V> {
    /// Where the values of the group at each place end.
    ends: Vec<u32>,
    values: Vec<V>,
}

impl<V: Copy> Groups<V> {
    /// `None` if the places are too far apart, or there are more than can be counted so.
    fn of<P: Dense, I: Iterator<Item = (P, V)>>(
        count_max: usize,
        all: impl Fn() -> I,
    ) -> Option<Self> {
        let places_max = count_max.saturating_mul(PLACES_PER_ENTRY).max(PLACES_MIN);
        let at = |first: P| usize::try_from(first.place()).unwrap_or(usize::MAX);
        let (mut begins, mut filler): (Vec<u32>, _) = (Vec::new(), None);
        for (first, value) in all() {
            let place = at(first);
            if place >= begins.len() {
                if place >= places_max {
                    return None;
                }
                begins.resize(place.saturating_add(1), 0);
            }
            let counted = begins.get_mut(place)?;
            *counted = counted.checked_add(1)?;
            filler = Some(value);
        }
        let mut count = 0_u32;
        for counted in &mut begins {
            let end = count.checked_add(*counted)?;
            *counted = count;
            count = end;
        }
        let count = usize::try_from(count).ok()?;
        let mut values = filler.map_or_else(Vec::new, |filler| vec![filler; count]);
        // Where the next one of a group goes, which is where they end once all are there.
        for (first, value) in all() {
            let next = begins.get_mut(at(first))?;
            *values.get_mut(usize::try_from(*next).ok()?)? = value;
            *next = next.saturating_add(1);
        }
        Some(Self {
            ends: begins,
            values,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Filed;
    use super::*;
    use crate::id::{RoleBindingId, SpaceId};

    fn check(pairs: &[(u32, u32)]) {
        let ids = || {
            let ids = pairs.iter();
            ids.map(|(one, other)| (SpaceId::new(*one), RoleBindingId::new(*other)))
        };
        assert!(Tree::grouped(pairs.len(), ids, |first, rest| (first, rest)) == Tree::of(ids()));
        let filed = |first, (second, value)| Filed {
            key: (first, second),
            value,
        };
        let with_values = || ids().map(|(one, other)| (one, (other, one)));
        let expected = with_values().map(|(first, rest)| filed(first, rest));
        assert!(Tree::grouped(pairs.len(), with_values, filed) == Tree::of(expected));
    }

    /// Now and then some that are far from the others, before or after they are met.
    fn firsts() -> impl Strategy<Value = u32> {
        prop_oneof![
            400 => 0_u32..40,
            1 => 1_000_u32..1_100,
            1 => (u32::MAX - 3)..=u32::MAX,
        ]
    }

    proptest! {
        #[test]
        fn it_is_the_tree_that_comparing_makes(
            pairs in proptest::collection::btree_set((firsts(), 0_u32..2_000), 0..400),
            seed in any::<u32>(),
        ) {
            let mut pairs: Vec<(u32, u32)> = pairs.into_iter().collect();
            pairs.sort_unstable_by_key(|(one, other)| (one ^ other ^ seed).wrapping_mul(0x9e37_79b1));
            check(&pairs);
        }
    }

    #[test]
    fn numbers_that_nobody_gave_out_take_no_room() {
        check(&[(u32::MAX, 2), (7, 1), (u32::MAX, 1), (0, 0)]);
        check(&[]);
    }
}
