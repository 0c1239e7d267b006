//! The index takes as much memory as it says, built at once or grown, and no more than it should for each role that is held. In
//! a binary of its own, since the allocator counts.

#![expect(
    clippy::unwrap_used,
    reason = "a test whose setting can't be made has failed"
)]

use bindery_core::access::{AccessIndex, AccessWriter};
use bindery_core::change::{Change, Entry, OneOperation};
use bindery_core::given::{GivenAt, Giver};
use bindery_core::id::{
    AccountId, IdKey, OrganizationId, OrganizationMembershipId, ProjectId, RoleBindingId, SpaceId,
    UserId,
};
use bindery_core::place::{Account, AccountSettings, Organization, Project, Space, SpaceSettings};
use bindery_core::resource::Bindable;
use bindery_core::role::{AccountRole, OrganizationRole, SpaceRole};
use bindery_core::role_binding::RoleBinding;
use bindery_core::state::State;
use bindery_core::text::{Description, Email, Name};
use bindery_core::time::Timestamp;
use bindery_core::user::{Identity, OrganizationMembership, Standing, User};

const NOW: Timestamp = Timestamp::from_millis(0);
const USERS: u32 = 20_000;
const SPACES: u32 = 200;
const PROJECTS: u32 = 2_000;

fn account() -> Account {
    Account {
        id: AccountId(1),
        name: Name::parse("account").unwrap(),
        id_key: IdKey::new([7; 16]),
        created_at: NOW,
        settings: AccountSettings::default(),
    }
}

/// A fiftieth of the large company of the benchmark.
fn everything() -> Vec<Change> {
    let name = |kind: &str, number: u32| Name::parse(&format!("{kind} {number}")).unwrap();
    let organizations = SPACES / 50;
    let mut changes = Vec::new();
    changes.extend((1..=organizations).map(|number| {
        Change::PutOrganization(Organization {
            id: OrganizationId::new(number),
            name: name("organization", number),
            description: Description::default(),
            created_at: NOW,
        })
    }));
    changes.extend((1..=SPACES).map(|number| {
        Change::PutSpace(Space {
            id: SpaceId::new(number),
            organization: OrganizationId::new(number % organizations + 1),
            name: name("space", number),
            description: Description::default(),
            is_private: number % 5 < 3,
            settings: SpaceSettings::default(),
            created_at: NOW,
        })
    }));
    changes.extend((1..=PROJECTS).map(|number| {
        Change::PutProject(Project {
            id: ProjectId::new(number),
            space: SpaceId::new(number % SPACES + 1),
            name: name("project", number),
            created_at: NOW,
        })
    }));
    for user in 1..=USERS {
        changes.push(Change::PutUser(User {
            id: UserId::new(user),
            name: name("user", user),
            identity: Identity::Human {
                email: Email::parse(&format!("{user}@example.com")).unwrap(),
            },
            account_role: AccountRole::Member,
            is_developer: false,
            standing: Standing::Active,
            created_at: NOW,
            address_released_at: None,
        }));
        changes.push(Change::PutOrganizationMembership(OrganizationMembership {
            id: OrganizationMembershipId::new(user),
            user: UserId::new(user),
            organization: OrganizationId::new(user % organizations + 1),
            role: OrganizationRole::Member,
            given_by: Giver::UNKNOWN,
            given_at: GivenAt::UNKNOWN,
        }));
        changes.extend((0..bindings_of(user)).map(|number| binding(user, number)));
    }
    changes
}

/// How many bindings a user has beside one role in an organization: a fifth of them have four fifths of all.
fn bindings_of(user: u32) -> u32 {
    let some = user.wrapping_mul(2_654_435_761) >> 16;
    if user.is_multiple_of(5) {
        20 + some % 38
    } else {
        some % 4
    }
}

fn binding(user: u32, number: u32) -> Change {
    let place = user.wrapping_mul(2_654_435_761).wrapping_add(number * 131);
    Change::PutRoleBinding(RoleBinding {
        id: RoleBindingId::new(user * 100 + number),
        user: UserId::new(user),
        role: SpaceRole::Member.role(),
        resource: Bindable::Project(ProjectId::new(place % PROJECTS + 1)),
        created_at: NOW,
        updated_at: NOW,
        given_by: Giver::UNKNOWN,
    })
}

/// How much memory is given back when this goes: only its last owner gives back anything.
fn freed(owned: impl Sized) -> i64 {
    -allocation_counter::measure(|| drop(owned)).bytes_current
}

fn claimed(index: &AccessIndex) -> i64 {
    let bytes = index.bytes();
    i64::try_from(bytes.checks + bytes.searches).unwrap()
}

/// The index gives back what it claimed to take; what its writer knows besides is little.
fn assert_true(writer: AccessWriter) {
    let index = writer.index();
    let (claimed, books) = (claimed(&index), freed(writer));
    assert_eq!(freed(index), claimed);
    assert!(books < 8192 + claimed / 20, "{books} beside {claimed}");
}

#[test]
fn the_index_takes_as_much_memory_as_it_says() {
    let mut state = State::new(account());
    assert_true(AccessWriter::new(&state));
    for change in everything() {
        state.apply(&change);
    }
    assert_true(AccessWriter::new(&state));
}

#[test]
fn an_index_that_has_grown_takes_as_much_memory_as_it_says() {
    let mut state = State::new(account());
    let mut writer = AccessWriter::new(&state);
    let empty = claimed(&writer.index());
    for changes in everything().chunks(100) {
        let entry = Entry::from(OneOperation {
            revision: state.revision().next(),
            at: NOW,
            by: None,
            key: None,
            operation: String::new(),
            batch: 0,
            changes: changes.to_vec(),
        });
        let mut touched = Vec::new();
        state.advance_noting(&entry, &mut touched);
        writer.advance(&state, &touched, || ());
    }
    let grown = claimed(&writer.index());
    assert!(grown > 10 * empty);
    assert_true(writer);
    // What tables left behind as they grew has been used again.
    let at_once = claimed(&AccessWriter::new(&state).index());
    assert!(2 * grown < 3 * at_once, "{grown} and not {at_once}");
}

#[test]
fn a_role_that_is_held_takes_eighteen_octets_for_checks_and_thirty_two_in_all() {
    let mut state = State::new(account());
    for change in everything() {
        state.apply(&change);
    }
    let bytes = AccessWriter::new(&state).index().bytes();
    let held: u32 = (1..=USERS).map(|user| bindings_of(user) + 1).sum();
    let held = usize::try_from(held).unwrap();
    let (checks, all) = (bytes.checks, bytes.checks + bytes.searches);
    assert!(checks <= 18 * held, "{checks} for {held}");
    assert!(all <= 32 * held, "{all} for {held}");
}
