//! The 151 permissions, and sets of them. The table comes from `contract/permissions.tsv`.

use minicbor::decode::Error;
use minicbor::{Decode, Decoder, Encode, Encoder};

use crate::resource::Level;

mod names;
mod table;
pub use table::Permission;

impl Permission {
    /// How many there are.
    pub const COUNT: usize = Self::ALL.len();

    /// The permission with this `SCREAMING_SNAKE_CASE` name.
    pub fn from_name(name: &str) -> Option<Self> {
        names::find(name)
    }

    /// Whether a restriction keeps it from whoever holds it above the project. Who may manage a restriction from the space
    /// keeps that right, and no other (`docs/rules/authorization.md` §6).
    #[inline]
    pub const fn is_cut_by_restrictions(self) -> bool {
        !matches!(self, Self::ProjectRestrict)
    }

    /// The place of its bit in a [`PermissionSet`]. Never stored: it moves when a permission is added.
    #[expect(clippy::as_conversions, reason = "a fieldless enum's own discriminant")]
    pub(crate) const fn bit(self) -> u8 {
        self as u8
    }
}

/// A set of permissions, three machine words. Stored as names, so that the table may grow.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PermissionSet([u64; 3]);

impl PermissionSet {
    /// No permission.
    pub const EMPTY: Self = Self([0; 3]);

    /// The set of these permissions.
    pub const fn of(permissions: &[Permission]) -> Self {
        let mut set = Self::EMPTY;
        let mut rest = permissions;
        while let [first, tail @ ..] = rest {
            set = set.with(*first);
            rest = tail;
        }
        set
    }

    /// Every permission that means something on a resource of this level, or below it.
    pub const fn at_or_below(level: Level) -> Self {
        let mut set = Self::EMPTY;
        let mut rest: &[Permission] = &Permission::ALL;
        while let [first, tail @ ..] = rest {
            if level.reaches(first.lowest_level()) {
                set = set.with(*first);
            }
            rest = tail;
        }
        set
    }

    /// This set and one more permission.
    #[must_use]
    pub const fn with(self, permission: Permission) -> Self {
        let [a, b, c] = self.0;
        let bit = 1_u64 << (permission.bit() % 64);
        match permission.bit() / 64 {
            0 => Self([a | bit, b, c]),
            1 => Self([a, b | bit, c]),
            _ => Self([a, b, c | bit]),
        }
    }

    /// Whether the permission is in the set.
    #[inline]
    pub const fn contains(self, permission: Permission) -> bool {
        let [a, b, c] = self.0;
        let word = match permission.bit() / 64 {
            0 => a,
            1 => b,
            _ => c,
        };
        word & (1_u64 << (permission.bit() % 64)) != 0
    }

    /// What is in either set.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        let [first, second, third] = self.0;
        let [other_first, other_second, other_third] = other.0;
        Self([
            first | other_first,
            second | other_second,
            third | other_third,
        ])
    }

    /// What is in both sets.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        let [first, second, third] = self.0;
        let [other_first, other_second, other_third] = other.0;
        Self([
            first & other_first,
            second & other_second,
            third & other_third,
        ])
    }

    /// What is in this set and not in the other.
    #[must_use]
    pub const fn difference(self, other: Self) -> Self {
        let [first, second, third] = self.0;
        let [other_first, other_second, other_third] = other.0;
        Self([
            first & !other_first,
            second & !other_second,
            third & !other_third,
        ])
    }

    /// How many are in the set.
    pub const fn len(self) -> u32 {
        let [first, second, third] = self.0;
        // At most 192 bits.
        first
            .count_ones()
            .saturating_add(second.count_ones())
            .saturating_add(third.count_ones())
    }

    /// Whether nothing is in the set.
    pub const fn is_empty(self) -> bool {
        matches!(self.0, [0, 0, 0])
    }

    /// The words, a bit a permission.
    pub(crate) const fn words(self) -> [u64; 3] {
        self.0
    }

    /// The permissions in the set, sorted by name.
    pub fn iter(self) -> impl Iterator<Item = Permission> {
        Permission::ALL
            .into_iter()
            .filter(move |permission| self.contains(*permission))
    }
}

impl FromIterator<Permission> for PermissionSet {
    fn from_iter<I: IntoIterator<Item = Permission>>(permissions: I) -> Self {
        permissions.into_iter().fold(Self::EMPTY, Self::with)
    }
}

impl std::fmt::Debug for PermissionSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set()
            .entries(self.iter().map(Permission::name))
            .finish()
    }
}

impl<C> Encode<C> for PermissionSet {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        let names: Vec<&str> = self.iter().map(Permission::name).collect();
        e.array(u64::try_from(names.len()).unwrap_or(u64::MAX))?;
        for name in names {
            e.str(name)?;
        }
        Ok(())
    }
}

impl<'b, C> Decode<'b, C> for PermissionSet {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, Error> {
        let mut set = Self::EMPTY;
        for name in d.array_iter::<&str>()? {
            // A permission that this version doesn't know must not be dropped in silence.
            let permission = Permission::from_name(name?)
                .ok_or_else(|| Error::message("a permission that this version doesn't know"))?;
            set = set.with(permission);
        }
        Ok(set)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_the_contract() {
        let contract = include_str!("../../../contract/permissions.tsv");
        let rows: Vec<(String, String)> = contract
            .lines()
            .skip(1)
            .map(|line| {
                let cells: Vec<&str> = line.split('\t').collect();
                (cells[0].to_owned(), cells[3].to_owned())
            })
            .collect();
        let table: Vec<(String, String)> = Permission::ALL
            .iter()
            .map(|p| (p.name().to_owned(), p.lowest_level().name().to_owned()))
            .collect();
        assert_eq!(table, rows);
        assert_eq!(Permission::COUNT, 151);
        assert!(Permission::ALL.is_sorted_by_key(|permission| permission.name()));
    }

    #[test]
    fn every_permission_has_a_bit_of_its_own() {
        for permission in Permission::ALL {
            let alone = PermissionSet::of(&[permission]);
            assert_eq!(alone.iter().collect::<Vec<_>>(), [permission]);
            assert_eq!(alone.len(), 1);
            assert_eq!(Permission::from_name(permission.name()), Some(permission));
        }
        assert_eq!(
            Permission::ALL
                .into_iter()
                .collect::<PermissionSet>()
                .iter()
                .count(),
            151
        );
        assert_eq!(Permission::from_name("role_read"), None);
    }

    #[test]
    fn a_difference_is_what_the_other_set_lacks() {
        let all: PermissionSet = Permission::ALL.into_iter().collect();
        let below = PermissionSet::at_or_below(Level::Project);
        let above = all.difference(below);
        assert_eq!(all.len(), 151);
        assert_eq!(above.len(), all.len() - below.len());
        assert_eq!(above.intersection(below), PermissionSet::EMPTY);
        assert_eq!(above.union(below), all);
    }

    #[test]
    fn a_set_is_stored_as_names() {
        let set = PermissionSet::of(&[Permission::UserRead, Permission::AlyxRun]);
        let bytes = minicbor::to_vec(set).unwrap();
        assert_eq!(
            minicbor::decode::<Vec<&str>>(&bytes).unwrap(),
            ["ALYX_RUN", "USER_READ"]
        );
        assert_eq!(minicbor::decode::<PermissionSet>(&bytes).unwrap(), set);
        let newer = minicbor::to_vec(["ALYX_RUN", "MOON_WALK"]).unwrap();
        assert!(minicbor::decode::<PermissionSet>(&newer).is_err());
    }
}
