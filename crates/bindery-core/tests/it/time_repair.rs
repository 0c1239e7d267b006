//! Setting the time of an account back: which instants move, and how far.

#![expect(
    clippy::unwrap_used,
    reason = "a test whose setting can't be made has failed"
)]

use bindery_core::api_key::{ApiKey, KeyOwner, PreviousSecret, Secret, SecretHash};
use bindery_core::change::{Change, Entry, OneOperation};
use bindery_core::credential::{Credential, KnownTo, Link, LinkPurpose};
use bindery_core::given::Giver;
use bindery_core::id::{
    AccountId, ApiKeyId, IdKey, OrganizationId, OrganizationMembershipId, ProjectId, Revision,
    RoleBindingId, RoleId, SpaceId, SpaceMembershipId, UserId,
};
use bindery_core::permission::{Permission, PermissionSet};
use bindery_core::place::{
    Account, AccountSettings, Organization, Project, Restriction, Space, SpaceSettings,
};
use bindery_core::resource::Bindable;
use bindery_core::role::{AccountRole, OrganizationRole, Role, SpaceRole};
use bindery_core::role_binding::RoleBinding;
use bindery_core::state::State;
use bindery_core::text::{Description, Email, KeyName, Name, RoleName};
use bindery_core::time::Timestamp;
use bindery_core::time_repair::{End, EndOf, TimeRepair};
use bindery_core::user::{Identity, OrganizationMembership, SpaceMembership, Standing, User};

/// Minutes after the account was made.
const fn minute(number: i64) -> Timestamp {
    Timestamp::from_millis(1_800_000_000_000 + number * 60_000)
}

/// The clock was right until here, and the repair is made here as well.
const LATEST: i64 = 1_000;
/// The first entry that is ahead, and the last one.
const FIRST_AHEAD: i64 = 1_000_000;
const LAST_AHEAD: i64 = 1_000_600;

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn account() -> Account {
    Account {
        id: AccountId(1),
        name: name("acme"),
        id_key: IdKey::new([7; 16]),
        created_at: minute(0),
        settings: AccountSettings::default(),
    }
}

fn user(number: u32, at: i64, standing: Standing) -> User {
    User {
        id: UserId::new(number),
        name: name("Ada"),
        identity: Identity::Human {
            email: Email::parse(&format!("ada{number}@example.com")).unwrap(),
        },
        account_role: AccountRole::Member,
        is_developer: true,
        standing,
        created_at: minute(at),
        address_released_at: None,
    }
}

fn key(number: u8, at: i64, expires_at: Option<i64>) -> ApiKey {
    ApiKey {
        id: ApiKeyId::new(number.into()),
        name: KeyName::parse("a key").unwrap(),
        description: Description::default(),
        owner: KeyOwner::User(UserId::new(1)),
        created_by: UserId::new(1),
        created_at: minute(at),
        expires_at: expires_at.map(minute),
        is_revoked: false,
        secret: Secret {
            hash: SecretHash([number; 32]),
            redacted: "ak-abc...xyz".to_owned(),
        },
        previous: None,
        is_enforcement_point: false,
        is_sign_in: false,
        last_spaces: Vec::new(),
        ends_with: None,
    }
}

fn credential(user: u32, until: i64) -> Change {
    Change::PutCredential(Credential {
        user: UserId::new(user),
        password: None,
        link: Some(Link {
            token: SecretHash([u8::try_from(user).unwrap(); 32]),
            purpose: LinkPurpose::PasswordReset,
            until: minute(until),
        }),
        known_to: KnownTo::Owner,
    })
}

/// One of everything that is put, with this moment wherever something happened.
fn one_of_each(at: i64) -> Vec<Change> {
    let (role, space) = (RoleId::new(64), SpaceId::new(1));
    vec![
        Change::PutAccount(Account {
            created_at: minute(at),
            ..account()
        }),
        Change::PutUser(User {
            address_released_at: Some(minute(at)),
            ..user(1, at, Standing::Inactive)
        }),
        Change::PutOrganization(Organization {
            id: OrganizationId::new(1),
            name: name("acme"),
            description: Description::default(),
            created_at: minute(at),
        }),
        Change::PutOrganizationMembership(OrganizationMembership {
            id: OrganizationMembershipId::new(1),
            user: UserId::new(1),
            organization: OrganizationId::new(1),
            role: OrganizationRole::Member,
            given_by: Giver::OPERATOR,
            given_at: minute(at).into(),
        }),
        Change::PutSpace(Space {
            id: space,
            organization: OrganizationId::new(1),
            name: name("red"),
            description: Description::default(),
            is_private: true,
            created_at: minute(at),
            settings: SpaceSettings::default(),
        }),
        Change::PutSpaceMembership(SpaceMembership {
            id: SpaceMembershipId::new(1),
            user: UserId::new(1),
            space,
            role: SpaceRole::Member,
            given_by: Giver::OPERATOR,
            given_at: minute(at).into(),
        }),
        Change::PutProject(Project {
            id: ProjectId::new(1),
            space,
            name: name("sonar"),
            created_at: minute(at),
        }),
        Change::PutRestriction(Restriction {
            project: ProjectId::new(1),
            created_at: minute(at),
        }),
        Change::PutRole(Role {
            id: role,
            name: RoleName::parse("Reader").unwrap(),
            description: Description::default(),
            permissions: PermissionSet::of(&[Permission::ProjectRead]),
            created_at: minute(at),
            updated_at: minute(at),
        }),
        Change::PutRoleBinding(RoleBinding {
            id: RoleBindingId::new(1),
            user: UserId::new(1),
            resource: Bindable::Space(space),
            role,
            created_at: minute(at),
            updated_at: minute(at),
            given_by: Giver::OPERATOR,
        }),
        Change::PutApiKey(key(1, at, None)),
    ]
}

fn entry(revision: u64, at: i64, changes: Vec<Change>) -> Entry {
    Entry::from(OneOperation {
        revision: Revision(revision),
        at: minute(at),
        by: None,
        key: None,
        operation: "change_something".to_owned(),
        batch: revision,
        changes,
    })
}

fn replayed(entries: &[Entry]) -> State {
    let mut state = State::new(account());
    for entry in entries {
        state.advance(entry);
    }
    state
}

/// The account before the clock ran ahead, in which these are put.
fn before(changes: Vec<Change>) -> State {
    replayed(&[entry(1, LATEST, changes)])
}

fn repair(before: &State) -> TimeRepair {
    TimeRepair::new(minute(LATEST), minute(LAST_AHEAD), Some(before.clone()))
}

#[test]
fn whatever_says_that_something_happened_is_not_later_than_the_latest_instant() {
    for (ahead, right) in one_of_each(FIRST_AHEAD).iter().zip(one_of_each(LATEST)) {
        let is_ahead = |one| TimeRepair::is_record_ahead(one, minute(LATEST));
        assert!(is_ahead(ahead) && !is_ahead(&right), "{ahead:?}");
        let repaired = repair(&State::new(account())).record(ahead);
        assert_eq!(repaired, right);
    }
}

/// The end of a key as an entry with a wrong instant has put it, after the repair.
#[track_caller]
fn assert_end(known: Option<i64>, put: i64, expected: i64) {
    let known = known.map(|end| Change::PutApiKey(key(1, 1, Some(end))));
    let before = before(known.into_iter().collect());
    let put = Change::PutApiKey(key(1, FIRST_AHEAD, Some(put)));
    let Change::PutApiKey(repaired) = repair(&before).record(&put) else {
        unreachable!("it stays a key")
    };
    assert_eq!(repaired.expires_at, Some(minute(expected)));
}

#[test]
fn an_end_that_a_wrong_instant_has_set_keeps_what_was_left_of_it() {
    // Twelve hours after the last entry.
    assert_end(None, LAST_AHEAD + 720, LATEST + 720);
    // Set before the last entry: what has passed since is gone.
    assert_end(None, FIRST_AHEAD + 720, LATEST + 120);
    // Passed at the last entry: it stays passed.
    assert_end(None, FIRST_AHEAD + 60, LATEST);
    assert_end(None, LAST_AHEAD, LATEST);
    // A new end in place of another.
    assert_end(Some(5_000), LAST_AHEAD + 720, LATEST + 720);
}

#[test]
fn an_end_from_before_the_clock_ran_ahead_stays_and_none_gets_later() {
    assert_end(Some(5_000), 5_000, 5_000);
    assert_end(Some(2_000_000), 2_000_000, 2_000_000);
    // Passed at the latest instant.
    assert_end(None, LATEST - 1, LATEST - 1);
    for put in [
        LATEST,
        LATEST + 1,
        FIRST_AHEAD,
        LAST_AHEAD,
        LAST_AHEAD + 1,
        2_000_000,
    ] {
        let change = Change::PutApiKey(key(1, FIRST_AHEAD, Some(put)));
        let Change::PutApiKey(repaired) = repair(&State::new(account())).record(&change) else {
            unreachable!("it stays a key")
        };
        assert!(repaired.expires_at.unwrap() <= minute(put), "{put}");
    }
}

#[test]
fn invitations_links_and_secrets_in_grace_end_as_keys_do() {
    let invited = |until| Standing::Invited {
        until: minute(until),
    };
    let old_secret = |until| PreviousSecret {
        hash: SecretHash([9; 32]),
        until: minute(until),
    };
    let records = |user_number, end| {
        vec![
            Change::PutUser(user(user_number, 1, invited(end))),
            credential(user_number, end),
            Change::PutApiKey(ApiKey {
                previous: Some(old_secret(end)),
                ..key(u8::try_from(user_number).unwrap(), 1, None)
            }),
        ]
    };
    let before = before(records(1, 5_000));
    let repair = repair(&before);
    let repaired = |records: Vec<Change>| -> Vec<Change> {
        records.iter().map(|one| repair.record(one)).collect()
    };
    assert_eq!(repaired(records(1, 5_000)), records(1, 5_000));
    for number in [1, 2] {
        assert_eq!(
            repaired(records(number, LAST_AHEAD + 30)),
            records(number, LATEST + 30)
        );
    }
}

#[test]
fn replaying_repaired_entries_gives_the_repaired_records() {
    let mut good = one_of_each(1);
    good.push(Change::PutApiKey(key(2, 1, Some(5_000))));
    good.push(Change::PutUser(user(2, 1, Standing::Active)));
    let entries = [
        entry(1, LATEST, good),
        entry(2, FIRST_AHEAD, one_of_each(FIRST_AHEAD)),
        entry(
            3,
            FIRST_AHEAD,
            vec![
                Change::PutApiKey(key(3, FIRST_AHEAD, Some(LAST_AHEAD + 60))),
                // As it was, but for its end.
                Change::PutApiKey(key(2, 1, Some(LAST_AHEAD + 60))),
                credential(2, FIRST_AHEAD + 30),
            ],
        ),
        entry(
            4,
            LAST_AHEAD,
            vec![
                Change::DeleteCredential(UserId::new(2)),
                Change::PutApiKey(key(2, 1, Some(5_000))),
                Change::DeleteRoleBinding(RoleBindingId::new(1)),
            ],
        ),
    ];
    let (before, newest) = (replayed(&entries[..1]), replayed(&entries));
    let repair = repair(&before);
    let mut made = before;
    for entry in &entries[1..] {
        assert!(TimeRepair::is_entry_ahead(entry, minute(LATEST)));
        let repaired = repair.entry(entry, 99);
        assert!(!TimeRepair::is_entry_ahead(&repaired, minute(LATEST)));
        assert_eq!((repaired.at, repaired.batch), (minute(LATEST), 99));
        made.advance(&repaired);
    }
    let kinds = newest
        .issued()
        .flat_map(|(kind, last)| (1..=last).map(move |number| (kind, number)));
    for key in kinds {
        let repaired = newest.record(key).map(|record| repair.record(&record));
        assert_eq!(made.record(key), repaired, "{key:?}");
    }
    assert_eq!(made.latest(), minute(LATEST));
    // The good end of key 2 counted as passed, and that of key 3 has moved.
    let of = |number| EndOf::Key(ApiKeyId::new(number));
    let ends = repair.ends(&newest, &made);
    assert_eq!(
        ends,
        [
            End {
                of: of(2),
                before: Some(minute(5_000)),
                after: minute(5_000)
            },
            End {
                of: of(3),
                before: Some(minute(LAST_AHEAD + 60)),
                after: minute(LATEST + 60)
            },
        ]
    );
    assert!(!ends[0].has_moved() && ends[1].has_moved());
}

#[test]
fn a_service_key_expires_no_later_than_the_one_that_made_it_after_a_repair_either() {
    let service = |number: u8, maker: u32, at, end| ApiKey {
        owner: KeyOwner::Service(UserId::new(u32::from(number) + 10)),
        created_by: UserId::new(maker),
        ..key(number, at, Some(end))
    };
    let bot = |number: u8| {
        Change::PutUser(User {
            identity: Identity::Bot {
                key: ApiKeyId::new(number.into()),
            },
            ..user(u32::from(number) + 10, 1, Standing::Active)
        })
    };
    // Key 1 made key 2, which made key 3. While the clock was ahead, key 1 got an end that is later than those of both.
    let made = vec![
        bot(1),
        bot(2),
        bot(3),
        Change::PutApiKey(service(1, 1, 1, 9_000_000)),
        Change::PutApiKey(service(2, 11, 1, 500_000)),
        Change::PutApiKey(service(3, 12, 1, 400_000)),
    ];
    let before = before(made);
    let refreshed = entry(
        2,
        LAST_AHEAD,
        vec![Change::PutApiKey(service(1, 1, 1, LAST_AHEAD + 60))],
    );
    let repair = repair(&before);
    let (mut newest, mut repaired) = (before.clone(), before);
    newest.advance(&refreshed);
    repaired.advance(&repair.entry(&refreshed, 99));
    let moved = repair.ends(&newest, &repaired);
    for change in TimeRepair::last_changes(&repaired, &moved) {
        repaired.apply(&change);
    }
    for number in 1..=3 {
        let key = repaired.api_key(ApiKeyId::new(number)).unwrap();
        assert_eq!(key.expires_at, Some(minute(LATEST + 60)), "key {number}");
    }
}
