//! Entries of the log: their bytes for ever, their parts, and what was there before.

#![expect(
    clippy::unwrap_used,
    reason = "a test whose setting can't be made has failed"
)]

use std::fmt::Write as _;

use bindery_core::change::{Change, Entry, OneOperation, Origin, Part, PartsError, PlanDigest};
use bindery_core::given::{GivenAt, Giver};
use bindery_core::id::{
    AccountId, ApiKeyId, IdKey, Kind, OrganizationId, OrganizationMembershipId, Revision,
    RoleBindingId, RoleId, SpaceId, SpaceMembershipId, UserId,
};
use bindery_core::place::{Account, AccountSettings, Organization};
use bindery_core::resource::Bindable;
use bindery_core::role::{OrganizationRole, SpaceRole};
use bindery_core::role_binding::RoleBinding;
use bindery_core::rules::RulesVersion;
use bindery_core::state::State;
use bindery_core::text::{Description, Name, RequestId};
use bindery_core::time::Timestamp;
use bindery_core::user::{OrganizationMembership, SpaceMembership};

/// Written by the code of commit f7a5747, one entry a line. Never changed: they are decoded for ever.
const FORMAT_5: &str = include_str!("../golden/format-5.hex");
/// Written by the first version with format 6. Never changed either.
const FORMAT_6: &str = include_str!("../golden/format-6.hex");

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

fn bytes(hex: &str) -> Vec<u8> {
    let digits = hex.as_bytes().chunks(2);
    let digit = |pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.map(digit).collect()
}

fn golden(lines: &str) -> Vec<Vec<u8>> {
    lines.lines().map(bytes).collect()
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn organization(number: u32, called: &str) -> Change {
    Change::PutOrganization(Organization {
        id: OrganizationId::new(number),
        name: name(called),
        description: Description::default(),
        created_at: NOW,
    })
}

fn one(revision: u64, changes: Vec<Change>) -> Entry {
    Entry::from(OneOperation {
        revision: Revision(revision),
        at: NOW,
        by: None,
        key: None,
        operation: "create_organization".to_owned(),
        batch: 1,
        changes,
    })
}

fn state() -> State {
    State::new(Account {
        id: AccountId(1),
        name: name("acme"),
        id_key: IdKey::new([7; 16]),
        created_at: NOW,
        settings: AccountSettings::default(),
    })
}

/// Entries with every member of format 6.
fn of_format_6() -> Vec<Entry> {
    let membership = Change::PutOrganizationMembership(OrganizationMembership {
        id: OrganizationMembershipId::new(1),
        user: UserId::new(2),
        organization: OrganizationId::new(1),
        role: OrganizationRole::ReadOnly,
        given_by: Giver::by(Some(UserId::new(9))),
        given_at: NOW.into(),
    });
    let seat = |given_by, given_at| {
        Change::PutSpaceMembership(SpaceMembership {
            id: SpaceMembershipId::new(1),
            user: UserId::new(2),
            space: SpaceId::new(1),
            role: SpaceRole::Member,
            given_by,
            given_at,
        })
    };
    let binding = |given_by| {
        Change::PutRoleBinding(RoleBinding {
            id: RoleBindingId::new(1),
            user: UserId::new(2),
            resource: Bindable::Space(SpaceId::new(1)),
            role: RoleId::new(64),
            created_at: NOW,
            updated_at: NOW.just_after(),
            given_by,
        })
    };
    let several = Entry {
        revision: Revision(7),
        at: NOW,
        by: Some(UserId::new(9)),
        key: Some(ApiKeyId::new(3)),
        batch: u64::MAX,
        parts: vec![
            Part {
                operation: "add_space_user".to_owned(),
                request: RequestId::parse("r-1"),
                changes: 2,
            },
            Part {
                operation: "create_role_binding".to_owned(),
                request: None,
                changes: 1,
            },
        ],
        changes: vec![
            membership,
            seat(Giver::OPERATOR, GivenAt::UNKNOWN),
            binding(Giver::OPERATOR),
        ],
        before: vec![
            seat(Giver::UNKNOWN, GivenAt::UNKNOWN),
            binding(Giver::UNKNOWN),
        ],
        origin: Origin::IMPORT,
        plan: Some(PlanDigest([0xab; 32])),
        rules: RulesVersion(3),
    };
    let operator = Entry {
        by: None,
        key: None,
        origin: Origin::OPERATOR,
        plan: None,
        parts: vec![Part::of("create_organization", &[organization(1, "a")])],
        changes: vec![organization(1, "a")],
        before: Vec::new(),
        ..several.clone()
    };
    vec![several, operator, one(8, vec![organization(1, "b")])]
}

#[test]
fn entries_of_format_5_are_read_as_one_part_made_of_their_operation() {
    let entries = golden(FORMAT_5);
    assert_eq!(entries.len(), 19);
    for (revision, stored) in (1..).zip(&entries) {
        let entry = Entry::decode(stored).unwrap();
        assert_eq!(entry.revision, Revision(revision));
        let operation = if revision == 19 {
            "operator_change"
        } else {
            "create_something"
        };
        assert_eq!(entry.parts, [Part::of(operation, &entry.changes)]);
        assert_eq!(entry.by, (revision != 19).then_some(UserId::new(1)));
        assert_eq!((entry.origin, entry.rules, entry.plan), Default::default());
        assert!(entry.before.is_empty());
        // The records of format 5 keep their bytes.
        let written = Entry::decode_as_written(stored).unwrap();
        for change in &written.changes {
            let record = hex(&change.encode());
            assert!(hex(stored).contains(&record), "{change:?}");
        }
        // Who gave a role follows from the entry that put it.
        let giver = Giver::by(entry.by);
        for change in &entry.changes {
            match change {
                Change::PutRoleBinding(binding) => assert_eq!(binding.given_by, giver),
                Change::PutOrganizationMembership(OrganizationMembership {
                    given_by,
                    given_at,
                    ..
                })
                | Change::PutSpaceMembership(SpaceMembership {
                    given_by, given_at, ..
                }) => {
                    assert_eq!((*given_by, given_at.moment()), (giver, Some(entry.at)));
                }
                other => assert!(written.changes.contains(other)),
            }
        }
    }
}

#[test]
fn entries_of_format_6_are_read_as_they_were_written() {
    let stored = golden(FORMAT_6);
    let written: Vec<_> = of_format_6().iter().map(Entry::encode).collect();
    let lines: Vec<_> = written.iter().map(|one| hex(one)).collect();
    assert_eq!(written, stored, "{}", lines.join("\n"));
    let read: Vec<_> = stored
        .iter()
        .map(|one| Entry::decode(one).unwrap())
        .collect();
    assert_eq!(read, of_format_6());
}

#[test]
fn an_unknown_kind_of_thing_is_refused_and_never_dropped() {
    // Each small number in the bytes, kinds of things among them, becomes one that no kind has yet: what is read then fails, or
    // has as much in it as before.
    for stored in golden(FORMAT_5).into_iter().chain(golden(FORMAT_6)) {
        let was = Entry::decode(&stored).unwrap();
        for place in 0..stored.len() {
            let mut changed = stored.clone();
            if changed[place] >= 0x17 {
                continue;
            }
            changed[place] = 0x17;
            if let Ok(read) = Entry::decode(&changed) {
                assert_ne!(read, was, "byte {place} of {}", hex(&stored));
                let (now, before) = (read.encode().len(), was.encode().len());
                assert!(now >= before, "byte {place} of {was:?} makes {read:?}");
            }
        }
    }
}

#[test]
fn an_entry_or_a_change_with_more_behind_it_is_refused() {
    for mut stored in golden(FORMAT_5).into_iter().chain(golden(FORMAT_6)) {
        for change in Entry::decode(&stored).unwrap().changes {
            let mut stored = change.encode();
            stored.push(0);
            assert!(Change::decode(&stored).is_err(), "{change:?}");
        }
        stored.push(0);
        assert!(Entry::decode(&stored).is_err(), "{}", hex(&stored));
    }
}

#[test]
fn an_origin_that_this_version_has_no_name_for_is_kept() {
    let entry = of_format_6().remove(1);
    let origin: Origin = minicbor::decode(&[0x19, 0x01, 0x00]).unwrap();
    assert_eq!(origin.number(), 256);
    let entry = Entry { origin, ..entry };
    assert_eq!(Entry::decode(&entry.encode()).unwrap(), entry);
}

#[test]
fn several_parts_are_bounded_and_one_is_not() {
    let many = |parts: Vec<u32>| {
        let count: u32 = parts.iter().sum();
        let part = |changes| Part {
            operation: "create_organization".to_owned(),
            request: None,
            changes,
        };
        Entry {
            parts: parts.into_iter().map(part).collect(),
            ..one(
                1,
                (1..=count)
                    .map(|number| organization(number, "a"))
                    .collect(),
            )
        }
    };
    assert_eq!(many(vec![50_001]).check_parts(), Ok(()));
    assert_eq!(many(vec![25_000, 25_000]).check_parts(), Ok(()));
    let refused = many(vec![1, 50_000]).check_parts();
    assert_eq!(refused, Err(PartsError::Changes { actual: 50_001 }));
    let long = "x".repeat(250);
    let wide = Entry {
        changes: (1..=40_000)
            .map(|number| organization(number, &long))
            .collect(),
        ..many(vec![20_000, 20_000])
    };
    assert!(matches!(wide.check_parts(), Err(PartsError::Bytes { .. })));
    let miscounted = Entry {
        parts: many(vec![2]).parts,
        ..many(vec![1])
    };
    assert!(matches!(
        miscounted.check_parts(),
        Err(PartsError::Count { .. })
    ));
    assert!(Entry::decode(&miscounted.encode()).is_err());
}

#[test]
fn what_was_there_before_is_the_put_of_each_thing_that_is_replaced_or_deleted() {
    let mut state = state();
    let create = one(1, vec![organization(1, "a"), organization(2, "b")]);
    assert_eq!(state.before(&create.changes), []);
    state.advance(&create);
    let changes = vec![
        organization(1, "c"),
        organization(3, "d"),
        Change::DeleteOrganization(OrganizationId::new(2)),
        organization(1, "e"),
        Change::DeleteOrganization(OrganizationId::new(3)),
        organization(2, "f"),
        Change::PutAccount(state.account().clone()),
    ];
    let expected = [
        organization(1, "a"),
        organization(2, "b"),
        organization(1, "c"),
        organization(3, "d"),
        Change::PutAccount(state.account().clone()),
    ];
    assert_eq!(state.before(&changes), expected);
}

#[test]
fn every_thing_that_there_is_can_be_found_as_its_record() {
    let mut state = state();
    let mut kinds = std::collections::BTreeSet::new();
    for stored in golden(FORMAT_5) {
        let entry = Entry::decode(&stored).unwrap();
        for change in &entry.changes {
            state.apply(change);
            let found = state.record(change.key());
            let expected = (!change.is_delete()).then(|| change.clone());
            assert_eq!(found, expected);
            kinds.insert(change.key().0);
        }
    }
    let all = [Kind::AuditLog, Kind::Dashboard, Kind::Prompt];
    assert_eq!(kinds.len(), 12);
    assert!(all.iter().all(|kind| state.record((*kind, 1)).is_none()));
}
