//! An account, and entries to append to it.

use bindery_core::change::{Change, Entry};
use bindery_core::id::{AccountId, IdKey, OrganizationId, Revision};
use bindery_core::place::{Account, AccountSettings, Organization};
use bindery_core::text::{Description, Name};
use bindery_core::time::Timestamp;

pub(crate) const ACCOUNT: AccountId = AccountId(1);

pub(crate) fn account() -> Account {
    Account {
        id: ACCOUNT,
        name: Name::parse("acme").expect("a name"),
        id_key: IdKey::new([7; 16]),
        created_at: Timestamp::from_millis(1),
        settings: AccountSettings::default(),
    }
}

/// Puts the organization with this number, at the revision with this number.
pub(crate) fn entry(number: u32) -> Entry {
    Entry {
        revision: Revision(number.into()),
        at: Timestamp::from_millis(number.into()),
        by: None,
        key: None,
        operation: "create_organization".to_owned(),
        batch: 1,
        changes: vec![Change::PutOrganization(Organization {
            id: OrganizationId::new(number),
            name: Name::parse(&format!("organization {number}")).expect("a name"),
            description: Description::default(),
            created_at: Timestamp::from_millis(number.into()),
        })],
    }
}
