//! An account, and entries to append to it.

use bindery_core::api_key::{ApiKey, KeyOwner, Secret, SecretHash};
use bindery_core::change::{Change, Entry, OneOperation, Part};
use bindery_core::id::{AccountId, ApiKeyId, IdKey, OrganizationId, Revision, UserId};
use bindery_core::place::{Account, AccountSettings, Organization};
use bindery_core::text::{Description, KeyName, Name};
use bindery_core::time::Timestamp;
use bindery_store::{Batch, Store};

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
    Entry::from(OneOperation {
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
    })
}

/// Replaces the changes of the entry by these.
pub(crate) fn with(entry: Entry, changes: Vec<Change>) -> Entry {
    Entry {
        parts: vec![Part::of(entry.operation(), &changes)],
        changes,
        ..entry
    }
}

/// Turns a store of format 6 into the tables of format 5, on either database.
pub(crate) const TO_FORMAT_5: &str = "
    ALTER TABLE account RENAME COLUMN newest_audit TO latest_audit;
    ALTER TABLE base RENAME COLUMN newest_change TO latest_change;
    ALTER TABLE audit RENAME COLUMN newest TO latest;
    ALTER TABLE audit DROP COLUMN problem;
    ALTER TABLE audit DROP COLUMN key_number;
    ALTER TABLE audit DROP COLUMN request;
    ALTER TABLE audit DROP COLUMN revision;
    ALTER TABLE account DROP COLUMN content;
    ALTER TABLE account DROP COLUMN uses;
    ALTER TABLE account DROP COLUMN base_checksum;
    ALTER TABLE account DROP COLUMN oldest_audit;
    ALTER TABLE account DROP COLUMN checksum;
    ALTER TABLE base DROP COLUMN content;
    ALTER TABLE base DROP COLUMN checksum;
    ALTER TABLE base_record DROP COLUMN checksum;
    ALTER TABLE base_issued DROP COLUMN checksum;
    ALTER TABLE log DROP COLUMN checksum;
    ALTER TABLE record DROP COLUMN checksum;
    ALTER TABLE issued DROP COLUMN checksum;
    ALTER TABLE audit DROP COLUMN checksum;
    ALTER TABLE key_use DROP COLUMN checksum;
    ALTER TABLE secret DROP COLUMN checksum;
";

const SECRET: SecretHash = SecretHash([9; 32]);

/// Appends a key at this revision, the next one.
pub(crate) fn append_key(store: &dyn Store, number: u32) {
    let key = ApiKey {
        id: ApiKeyId::new(1),
        name: KeyName::parse("a key").expect("a name"),
        description: Description::default(),
        owner: KeyOwner::User(UserId::new(1)),
        created_by: UserId::new(1),
        created_at: Timestamp::from_millis(1),
        expires_at: None,
        is_revoked: false,
        secret: Secret {
            hash: SECRET,
            redacted: "ak-abc...xyz".to_owned(),
        },
        previous: None,
        is_enforcement_point: false,
        is_sign_in: false,
        last_spaces: Vec::new(),
        ends_with: None,
    };
    let entry = Entry {
        changes: vec![Change::PutApiKey(key)],
        ..entry(number)
    };
    let known = Revision(u64::from(number) - 1);
    let appended = store.append(ACCOUNT, known.into(), &mut |_| Batch {
        entries: vec![entry.clone()],
        ..Batch::default()
    });
    appended.expect("it continues the log");
}

/// The revision of the account that owns the key.
pub(crate) fn owner_of_key(store: &dyn Store) -> Option<Revision> {
    let owners = store.owners(&[SECRET]).expect("nothing is wrong");
    owners[0].map(|owner| owner.revision)
}
