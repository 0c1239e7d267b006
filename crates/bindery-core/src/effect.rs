//! The effect of a change: who gains and who loses which permissions, and where.
//!
//! An effect compares two sides, each a state and a moment. A *pair* is a user and a place. It is affected if the decision allows
//! another set of permissions on one side than on the other. Someone who can't act, and a place that isn't there, have the empty set.
//! Restrictions, the fallback, admins, bots and levels follow from the decision: there is no second rule.
//!
//! A *row* sums up the affected pairs of one [`Signature`]. It opens into rows of the same signature, one for each place below
//! it, down to single pairs. Pairs of users or places that are there on one side alone are counted by thing, apart from the rows.
//!
//! These are the types. What an effect is, by comparing everything, is defined in `bindery-model` (`effect.rs`).

use crate::id::UserId;
use crate::permission::PermissionSet;
use crate::resource::Resource;

/// What a pair gains and loses. Never both empty, and never the same permission in both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Signature {
    gained: PermissionSet,
    lost: PermissionSet,
}

impl Signature {
    /// The difference between what was allowed before and what is after; `None` if there is none.
    pub fn between(before: PermissionSet, after: PermissionSet) -> Option<Self> {
        let (gained, lost) = (after.difference(before), before.difference(after));
        debug_assert!(
            gained.intersection(lost).is_empty(),
            "nothing is gained and lost at once"
        );
        (before != after).then_some(Self { gained, lost })
    }

    /// What is allowed after and wasn't before.
    pub const fn gained(self) -> PermissionSet {
        self.gained
    }

    /// What was allowed before and isn't after.
    pub const fn lost(self) -> PermissionSet {
        self.lost
    }

    /// The signature of the change back.
    #[must_use]
    pub const fn reversed(self) -> Self {
        Self {
            gained: self.lost,
            lost: self.gained,
        }
    }
}

/// An affected pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AffectedPair {
    /// Who.
    pub user: UserId,
    /// Where.
    pub place: Resource,
    /// What they gain and lose there.
    pub signature: Signature,
}

/// How much some affected pairs are. A row has at least one of each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size {
    /// The pairs.
    pub pairs: u64,
    /// Different users among them.
    pub users: u64,
    /// Different places among them.
    pub places: u64,
}

/// Where the pairs of a row lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// All on this place: the row opens into pairs.
    On(Resource),
    /// On more than one place, and this is the lowest that holds them all: the row opens into rows.
    Within(Resource),
}

impl Scope {
    /// The lowest place that holds all pairs.
    pub const fn place(self) -> Resource {
        match self {
            Self::On(place) | Self::Within(place) => place,
        }
    }
}

/// All affected pairs of one signature, or those of them below one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// What each of them gains and loses.
    pub signature: Signature,
    /// Where they lie.
    pub scope: Scope,
    /// How many they are.
    pub size: Size,
}

/// The rows that are left out, as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rest {
    /// How many rows it stands for.
    pub rows: u64,
    /// Where their pairs lie.
    pub scope: Scope,
    /// How many pairs they have.
    pub size: Size,
}

/// Rows with the most pairs first, at most [`Rows::SHOWN_MAX`], and the rest as one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rows {
    shown: Vec<Row>,
    rest: Option<Rest>,
}

impl Rows {
    /// How many rows are shown.
    pub const SHOWN_MAX: usize = 100;

    /// Sorts all rows, most pairs first, and takes those to show. `sum_up` makes one of the others, if there are any.
    ///
    /// # Panics
    /// If a row has no pairs, or if the one that `sum_up` makes has not as many as the others.
    pub fn new(mut rows: Vec<Row>, sum_up: impl FnOnce(&[Row]) -> Rest) -> Self {
        rows.sort_unstable_by_key(|row| {
            let most_first = std::cmp::Reverse(row.size.pairs);
            (most_first, row.scope, row.signature)
        });
        let others = rows.split_off(rows.len().min(Self::SHOWN_MAX));
        let rest = (!others.is_empty()).then(|| sum_up(&others));
        let pairs = |rows: &[Row]| rows.iter().map(|row| row.size.pairs).sum::<u64>();
        assert_eq!(
            rest.map_or(0, |rest| rest.size.pairs),
            pairs(&others),
            "the rest has the pairs of the rows that it stands for"
        );
        assert!(
            rows.iter().chain(&others).all(|row| row.size.pairs > 0),
            "each row has a pair"
        );
        Self { shown: rows, rest }
    }

    /// The rows that are shown.
    pub fn shown(&self) -> &[Row] {
        &self.shown
    }

    /// The others, as one.
    pub const fn rest(&self) -> Option<Rest> {
        self.rest
    }

    /// How many pairs all rows have.
    pub fn pairs(&self) -> u64 {
        let rest = self.rest.map_or(0, |rest| rest.size.pairs);
        let shown = self.shown.iter().map(|row| row.size.pairs);
        shown.fold(rest, u64::saturating_add)
    }
}

/// What a row opens into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opened {
    /// Rows of the same signature: one for the place itself, if it has pairs, and one for each place directly below that has.
    Rows(Rows),
    /// Single pairs, by user.
    Pairs(Vec<AffectedPair>),
}

/// A user or a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Thing {
    /// A user.
    User(UserId),
    /// A place.
    Place(Resource),
}

/// On which side a thing is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fate {
    /// After, and not before.
    Appears,
    /// Before, and not after.
    Disappears,
}

/// A thing that is there on one side alone, and the affected pairs that it has part in.
///
/// A pair of two such things counts for its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passing {
    /// What.
    pub thing: Thing,
    /// What becomes of it.
    pub fate: Fate,
    /// How many affected pairs count for it.
    pub pairs: u64,
}

/// Things that appear or disappear, most pairs first, at most [`Rows::SHOWN_MAX`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PassingThings {
    shown: Vec<Passing>,
    rest: u64,
}

impl PassingThings {
    /// Sorts them, and takes those to show.
    pub fn new(mut things: Vec<Passing>) -> Self {
        things.sort_unstable_by_key(|one| {
            let most_first = std::cmp::Reverse(one.pairs);
            (most_first, one.thing, one.fate)
        });
        let others = things.split_off(things.len().min(Rows::SHOWN_MAX));
        Self {
            shown: things,
            rest: others.iter().map(|one| one.pairs).sum(),
        }
    }

    /// Those that are shown.
    pub fn shown(&self) -> &[Passing] {
        &self.shown
    }

    /// How many pairs count for the others.
    pub const fn rest(&self) -> u64 {
        self.rest
    }

    /// How many pairs count for all of them.
    pub fn pairs(&self) -> u64 {
        let shown = self.shown.iter().map(|one| one.pairs);
        shown.fold(self.rest, u64::saturating_add)
    }
}

/// What changes between two sides, or the part of it that one reader may ask about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effect {
    /// Affected pairs whose user and place are there on both sides, by signature.
    pub rows: Rows,
    /// The other affected pairs, by what appears or disappears.
    pub passing: PassingThings,
    /// Whether pairs were left out that the reader may not ask about. How many is not said.
    pub has_others: bool,
}

impl Effect {
    /// How many pairs are affected whose user and place are there on both sides.
    pub fn total(&self) -> u64 {
        self.rows.pairs()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::SpaceId;
    use crate::permission::Permission::{ProjectRead, SpaceRead, SpaceUpdate};

    fn signature() -> Signature {
        Signature::between(PermissionSet::EMPTY, PermissionSet::of(&[ProjectRead])).unwrap()
    }

    fn row(space: u32, pairs: u64) -> Row {
        Row {
            signature: signature(),
            scope: Scope::On(SpaceId::new(space).into()),
            size: Size {
                pairs,
                users: pairs,
                places: 1,
            },
        }
    }

    fn sum_up(rows: &[Row]) -> Rest {
        Rest {
            rows: u64::try_from(rows.len()).unwrap(),
            scope: Scope::Within(Resource::Account),
            size: Size {
                pairs: rows.iter().map(|row| row.size.pairs).sum(),
                users: 1,
                places: 1,
            },
        }
    }

    #[test]
    fn a_signature_is_what_was_gained_and_what_was_lost() {
        let (before, after) = (
            PermissionSet::of(&[ProjectRead, SpaceRead]),
            PermissionSet::of(&[SpaceRead, SpaceUpdate]),
        );
        let signature = Signature::between(before, after).unwrap();
        assert_eq!(signature.gained(), PermissionSet::of(&[SpaceUpdate]));
        assert_eq!(signature.lost(), PermissionSet::of(&[ProjectRead]));
        assert_eq!(
            Signature::between(after, before),
            Some(signature.reversed())
        );
        assert_eq!(Signature::between(before, before), None);
    }

    #[test]
    fn rows_with_most_pairs_are_shown_and_the_others_are_summed_up() {
        let rows: Vec<Row> = (1..=150)
            .map(|pairs| row(pairs, u64::from(pairs)))
            .collect();
        let rows = Rows::new(rows, sum_up);
        let shown: Vec<u64> = rows.shown().iter().map(|row| row.size.pairs).collect();
        assert!(shown.is_sorted_by(|one, next| one > next), "{shown:?}");
        assert_eq!(shown.len(), Rows::SHOWN_MAX);
        assert_eq!(shown.last(), Some(&51));
        let rest = rows.rest().unwrap();
        assert_eq!((rest.rows, rest.size.pairs), (50, 50 * 51 / 2));
        assert_eq!(rows.pairs(), 150 * 151 / 2);
    }

    #[test]
    fn rows_of_as_many_pairs_go_by_place() {
        let rows = Rows::new(vec![row(3, 5), row(1, 5), row(2, 5)], sum_up);
        assert_eq!(rows.shown(), [row(1, 5), row(2, 5), row(3, 5)]);
        assert_eq!(rows.rest(), None);
    }

    #[test]
    #[should_panic(expected = "the rest has the pairs of the rows that it stands for")]
    fn a_rest_that_leaves_pairs_out_is_refused() {
        let rows: Vec<Row> = (1..=150).map(|space| row(space, 2)).collect();
        Rows::new(rows, |rows| Rest {
            size: Size::default(),
            ..sum_up(rows)
        });
    }

    #[test]
    fn things_with_most_pairs_are_shown_and_the_others_are_counted() {
        let passing = |number| Passing {
            thing: Thing::Place(SpaceId::new(number).into()),
            fate: Fate::Appears,
            pairs: u64::from(number),
        };
        let things = PassingThings::new((1..=101).map(passing).collect());
        assert_eq!(things.shown().len(), Rows::SHOWN_MAX);
        assert_eq!(things.shown().first(), Some(&passing(101)));
        assert_eq!(things.rest(), 1);
        assert_eq!(things.pairs(), 101 * 102 / 2);
    }
}
