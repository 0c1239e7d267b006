//! The numbers of kinds in a database, the same in every store, and the order in which current records are
//! loaded.

use bindery_core::id::Kind;

/// Every stored kind, with its permanent number in a database, which is also its number in the encoding. In
/// loading order: a referenced record comes first. The account is never a record, but its number counts as
/// issued.
pub(crate) const KINDS: [(Kind, u8); 12] = [
    (Kind::Account, 13),
    (Kind::User, 0),
    (Kind::ApiKey, 6),
    (Kind::Organization, 5),
    (Kind::OrganizationMembership, 8),
    (Kind::Space, 3),
    (Kind::SpaceMembership, 9),
    (Kind::Project, 4),
    (Kind::Restriction, 12),
    (Kind::Role, 1),
    (Kind::RoleBinding, 2),
    (Kind::Credential, 14),
];

/// The number of a kind; `None` for a kind that no store keeps and no load would find.
pub(crate) fn number_of(kind: Kind) -> Option<u8> {
    KINDS
        .iter()
        .find(|(stored, _)| *stored == kind)
        .map(|(_, number)| *number)
}

/// The kind with this number.
pub(crate) fn kind_of(number: u8) -> Option<Kind> {
    KINDS
        .iter()
        .find(|(_, stored)| *stored == number)
        .map(|(kind, _)| *kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_has_the_number_that_it_is_encoded_with() {
        for (kind, number) in KINDS {
            assert_eq!(minicbor::to_vec(kind).unwrap(), [number], "{kind:?}");
            assert_eq!(number_of(kind), Some(number));
            assert_eq!(kind_of(number), Some(kind));
        }
    }
}
