//! Which tables of permissions and predefined roles an entry of the log was decided by.

use minicbor::{Decode, Encode};

/// The version of the permission and predefined-role tables. Each change of either table takes the next number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct RulesVersion(#[n(0)] pub u32);

impl RulesVersion {
    /// An entry of a format before 6 has no record of it.
    pub const UNKNOWN: Self = Self(0);
    /// The tables of this version of Bindery.
    pub const CURRENT: Self = Self(1);
}

#[cfg(test)]
mod tests {
    use std::hash::Hasher as _;

    use siphasher::sip::SipHasher24;

    use super::*;
    use crate::permission::Permission;
    use crate::role::PredefinedRole;

    /// The digest of the tables of each version, the first version first. A row that was released never changes.
    const DIGESTS: &[u64] = &[0xac75_25be_c51a_d20e];

    fn digest() -> u64 {
        let mut tables = SipHasher24::new();
        for permission in Permission::ALL {
            let level = permission.lowest_level();
            tables.write(format!("{}\t{}\n", permission.name(), level.name()).as_bytes());
        }
        for (id, role) in PredefinedRole::all() {
            tables.write(format!("{id:?}\t{role:?}\n").as_bytes());
        }
        tables.finish()
    }

    #[test]
    fn the_tables_change_only_together_with_their_version() {
        let released = usize::try_from(RulesVersion::CURRENT.0).unwrap();
        assert_eq!(
            (DIGESTS.len(), DIGESTS.last().copied()),
            (released, Some(digest())),
            "the tables have changed: raise `RulesVersion::CURRENT` and add this digest: {:#x}",
            digest()
        );
    }
}
