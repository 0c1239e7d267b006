//! A decision allocates nothing, whatever it comes to; a batch only what its answers need, once. In a binary of its own, since
//! it counts what this whole process allocates.

#![expect(
    clippy::unwrap_used,
    reason = "a test whose setting can't be made has failed"
)]

use bindery_core::access::AccessWriter;
use bindery_core::change::Change;
use bindery_core::decision::Question;
use bindery_core::given::{GivenAt, Giver};
use bindery_core::id::{
    AccountId, IdKey, OrganizationId, OrganizationMembershipId, ProjectId, RoleBindingId, SpaceId,
    UserId,
};
use bindery_core::permission::Permission;
use bindery_core::place::{
    Account, AccountSettings, Organization, Project, Restriction, Space, SpaceSettings,
};
use bindery_core::resource::{Bindable, Resource};
use bindery_core::role::{AccountRole, OrganizationRole, SpaceRole};
use bindery_core::role_binding::RoleBinding;
use bindery_core::state::State;
use bindery_core::text::{Description, Email, Name};
use bindery_core::time::Timestamp;
use bindery_core::user::{Identity, OrganizationMembership, Standing, User};

const NOW: Timestamp = Timestamp::from_millis(1_000);
const USER: UserId = UserId::new(2);

/// Somebody with a role in an organization, and one on the second of two projects in its public space; the third is restricted.
fn state() -> State {
    let name = |text| Name::parse(text).unwrap();
    let mut state = State::new(Account {
        id: AccountId(1),
        name: name("account"),
        id_key: IdKey::new([7; 16]),
        created_at: NOW,
        settings: AccountSettings::default(),
    });
    let (organization, space) = (OrganizationId::new(1), SpaceId::new(1));
    let mut changes = vec![
        Change::PutUser(User {
            id: USER,
            name: name("Somebody"),
            identity: Identity::Human {
                email: Email::parse("somebody@example.com").unwrap(),
            },
            account_role: AccountRole::Member,
            is_developer: true,
            standing: Standing::Active,
            created_at: NOW,
            address_released_at: None,
        }),
        Change::PutOrganization(Organization {
            id: organization,
            name: name("organization"),
            description: Description::default(),
            created_at: NOW,
        }),
        Change::PutSpace(Space {
            id: space,
            organization,
            name: name("space"),
            description: Description::default(),
            is_private: false,
            settings: SpaceSettings::default(),
            created_at: NOW,
        }),
        Change::PutOrganizationMembership(OrganizationMembership {
            id: OrganizationMembershipId::new(1),
            user: USER,
            organization,
            role: OrganizationRole::ReadOnly,
            given_by: Giver::UNKNOWN,
            given_at: GivenAt::UNKNOWN,
        }),
    ];
    for number in 1..=3 {
        changes.push(Change::PutProject(Project {
            id: ProjectId::new(number),
            space,
            name: name("project"),
            created_at: NOW,
        }));
    }
    changes.push(Change::PutRoleBinding(RoleBinding {
        id: RoleBindingId::new(1),
        user: USER,
        role: SpaceRole::Member.role(),
        resource: Bindable::Project(ProjectId::new(2)),
        created_at: NOW,
        updated_at: NOW,
        given_by: Giver::UNKNOWN,
    }));
    changes.push(Change::PutRestriction(Restriction {
        project: ProjectId::new(3),
        created_at: NOW,
    }));
    for change in &changes {
        state.apply(change);
    }
    state
}

fn ask(permission: Permission, project: u32) -> Question {
    Question {
        principal: USER,
        permission,
        resource: Resource::Project(ProjectId::new(project)),
    }
}

/// The number of allocations.
fn allocations(work: impl FnOnce()) -> u64 {
    allocation_counter::measure(work).count_total
}

#[test]
fn no_decision_allocates_and_a_batch_only_once() {
    let index = AccessWriter::new(&state()).index();
    let questions = [
        (ask(Permission::ProjectRead, 1), true),
        (ask(Permission::ProjectUpdate, 2), true),
        (ask(Permission::ProjectUpdate, 1), false),
        (ask(Permission::ProjectRead, 3), false),
        (ask(Permission::ProjectRead, 9), false),
    ];
    for (question, is_allowed) in &questions {
        let mut decided = None;
        let count = allocations(|| decided = index.decide(question, NOW));
        let (decision, _) = decided.unwrap();
        assert_eq!(decision.is_allowed(), *is_allowed, "{decision:?}");
        assert_eq!(count, 0, "{decision:?}");
    }
    let batch: Vec<Question> = questions.iter().map(|(question, _)| *question).collect();
    let mut decisions = Vec::new();
    let first = allocations(|| assert!(index.decide_many(&batch, NOW, &mut decisions).is_some()));
    assert!(first > 0, "the counter counts");
    let again = allocations(|| assert!(index.decide_many(&batch, NOW, &mut decisions).is_some()));
    assert_eq!(again, 0);
}
