//! Two accounts of one make, one small and one big, put together from changes as a store would.

use std::ops::RangeInclusive;

use bindery_core::api_key::{ApiKey, KeyOwner, Secret, SecretHash};
use bindery_core::change::Change;
use bindery_core::given::{GivenAt, Giver};
use bindery_core::id::{
    AccountId, ApiKeyId, IdKey, OrganizationId, OrganizationMembershipId, ProjectId, RoleBindingId,
    RoleId, SpaceId, SpaceMembershipId, UserId,
};
use bindery_core::permission::{Permission, PermissionSet};
use bindery_core::place::{
    Account, AccountSettings, Organization, Project, Restriction, Space, SpaceSettings,
};
use bindery_core::resource::Bindable;
use bindery_core::role::{AccountRole, OrganizationRole, PredefinedRole, Role, SpaceRole};
use bindery_core::role_binding::RoleBinding;
use bindery_core::state::State;
use bindery_core::text::{Description, Email, KeyName, Name, RoleName};
use bindery_core::time::Timestamp;
use bindery_core::user::{Identity, OrganizationMembership, SpaceMembership, Standing, User};

/// The moment of everything.
pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_767_225_600_000);

/// Who asks. They hold the same in both accounts, but for what their organizations hold.
pub(crate) const PERSONAS: [(&str, UserId); 4] = [
    ("account admin", UserId::new(1)),
    ("organization admin", UserId::new(2)),
    ("member, few grants", UserId::new(3)),
    ("member, by fallback", UserId::new(4)),
];
const ORGANIZATION_ADMIN: UserId = UserId::new(2);
const FEW_GRANTS: UserId = UserId::new(3);
const BY_FALLBACK: UserId = UserId::new(4);

/// Nearly all of its spaces are private; the first space has all the members, and many projects and bots.
pub(crate) const CLOSED: OrganizationId = OrganizationId::new(1);
/// The same few in both accounts.
const PUBLIC_IN_CLOSED: RangeInclusive<u32> = 2..=60;
/// All of its spaces are public.
const OPEN: OrganizationId = OrganizationId::new(2);
pub(crate) const BIG_SPACE: SpaceId = SpaceId::new(1);
/// Has a role on the first 250 spaces.
pub(crate) const SOMEBODY: UserId = UserId::new(5);

/// How many of each kind. Enough in the small account that every page of an admin is a full one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) users: u32,
    /// Of the first space.
    pub(crate) members: u32,
    pub(crate) organizations: u32,
    pub(crate) spaces: u32,
    pub(crate) projects: u32,
    /// Beside the 254 of two users.
    pub(crate) bindings: u32,
    pub(crate) roles: u32,
    /// User keys; and a fifth as many service keys, all of them in the first space.
    pub(crate) keys: u32,
}

pub(crate) const SMALL: Size = Size {
    users: 300,
    members: 100,
    organizations: 250,
    spaces: 600,
    projects: 1200,
    bindings: 750,
    roles: 250,
    keys: 1250,
};

pub(crate) const BIG: Size = Size {
    users: 110_000,
    members: 100_000,
    organizations: 2000,
    spaces: 10_000,
    projects: 20_000,
    bindings: 999_750,
    roles: 2000,
    keys: 100_000,
};

/// Puts an account of this size together.
pub(crate) fn build(size: Size) -> State {
    let mut state = State::new(Account {
        id: AccountId(1),
        name: name("account", 1),
        id_key: IdKey::new([7; 16]),
        created_at: NOW,
        settings: AccountSettings::default(),
    });
    put_people(&mut state, size);
    put_places(&mut state, size);
    put_roles(&mut state, size);
    put_memberships(&mut state, size);
    put_bindings(&mut state, size);
    put_keys(&mut state, size);
    state
}

fn put_people(state: &mut State, size: Size) {
    for number in 1..=size.users {
        let is_first = number == 1;
        let email = format!("User-{number}@example.com");
        let email = Email::parse(&email).unwrap();
        let role = if is_first {
            AccountRole::Admin
        } else {
            AccountRole::Member
        };
        let user = user(UserId::new(number), Identity::Human { email }, role);
        state.apply(&Change::PutUser(user));
    }
}

fn user(id: UserId, identity: Identity, account_role: AccountRole) -> User {
    User {
        id,
        name: Name::parse("Somebody").unwrap(),
        identity,
        account_role,
        is_developer: true,
        standing: Standing::Active,
        created_at: NOW,
        address_released_at: None,
    }
}

fn put_places(state: &mut State, size: Size) {
    for number in 1..=size.organizations {
        state.apply(&Change::PutOrganization(Organization {
            id: OrganizationId::new(number),
            name: name("Organization", number),
            description: Description::parse("").unwrap(),
            created_at: NOW,
        }));
    }
    for number in 1..=size.spaces {
        let organization = organization_of(number, size);
        state.apply(&Change::PutSpace(Space {
            id: SpaceId::new(number),
            organization,
            name: name("Space", number),
            description: Description::parse("").unwrap(),
            is_private: organization == CLOSED && !PUBLIC_IN_CLOSED.contains(&number),
            created_at: NOW,
            settings: SpaceSettings::default(),
        }));
    }
    for number in 1..=size.projects {
        // A quarter lies in the first space.
        let space = if number.is_multiple_of(4) {
            BIG_SPACE
        } else {
            SpaceId::new(spread(number, size.spaces))
        };
        let id = ProjectId::new(number);
        state.apply(&Change::PutProject(Project {
            id,
            space,
            name: name("Project", number),
            created_at: NOW,
        }));
        if number % 8 < 4 {
            let created_at = NOW;
            let project = id;
            state.apply(&Change::PutRestriction(Restriction {
                project,
                created_at,
            }));
        }
    }
}

/// Two thirds lie in the first two, the rest in all the others.
fn organization_of(space: u32, size: Size) -> OrganizationId {
    match space % 3 {
        1 => CLOSED,
        2 => OPEN,
        _ => OrganizationId::new(3 + space % (size.organizations - 2)),
    }
}

const READS_BINDINGS: RoleId = RoleId::new(bindery_core::role::CUSTOM_FIRST);

fn put_roles(state: &mut State, size: Size) {
    let permissions: PermissionSet = [
        Permission::ProjectRead,
        Permission::RoleBindingRead,
        Permission::ServiceKeyRead,
        Permission::ProjectRestrict,
    ]
    .into_iter()
    .collect();
    for number in 0..size.roles {
        state.apply(&Change::PutRole(Role {
            id: RoleId::new(bindery_core::role::CUSTOM_FIRST + number),
            name: RoleName::parse(&format!("Role {number}")).unwrap(),
            description: Description::parse("").unwrap(),
            permissions,
            created_at: NOW,
            updated_at: NOW,
        }));
    }
}

fn put_memberships(state: &mut State, size: Size) {
    let mut number = 0;
    let mut join = |state: &mut State, user, organization, role| {
        number += 1;
        let id = OrganizationMembershipId::new(number);
        state.apply(&Change::PutOrganizationMembership(OrganizationMembership {
            id,
            user,
            organization,
            role,
            given_by: Giver::UNKNOWN,
            given_at: GivenAt::UNKNOWN,
        }));
    };
    for user in 10..10 + size.members {
        let user = UserId::new(user);
        join(state, user, CLOSED, OrganizationRole::Member);
    }
    join(state, ORGANIZATION_ADMIN, CLOSED, OrganizationRole::Admin);
    join(state, FEW_GRANTS, CLOSED, OrganizationRole::ReadOnly);
    join(state, BY_FALLBACK, OPEN, OrganizationRole::Member);
    let seats = (10..10 + size.members).map(|user| (UserId::new(user), BIG_SPACE));
    let few = [(FEW_GRANTS, SpaceId::new(4)), (FEW_GRANTS, SpaceId::new(7))];
    for ((user, space), number) in seats.chain(few).zip(1..) {
        state.apply(&Change::PutSpaceMembership(SpaceMembership {
            id: SpaceMembershipId::new(number),
            user,
            space,
            role: SpaceRole::Member,
            given_by: Giver::UNKNOWN,
            given_at: GivenAt::UNKNOWN,
        }));
    }
}

fn put_bindings(state: &mut State, size: Size) {
    let project_viewer = PredefinedRole::all()
        .find(|(_, role)| role.name == "Project Viewer")
        .unwrap()
        .0;
    let space = |number| Bindable::Space(SpaceId::new(number));
    let project = |number| Bindable::Project(ProjectId::new(number));
    let few = [
        (FEW_GRANTS, space(10), READS_BINDINGS),
        (FEW_GRANTS, project(5), READS_BINDINGS),
        (FEW_GRANTS, project(9), project_viewer),
        (FEW_GRANTS, project(14), project_viewer),
    ];
    let somebody = (1..=250).map(|number| (SOMEBODY, space(number), READS_BINDINGS));
    // Everyone has as many, on neighbouring resources, each of another part of the account.
    let holders = size.users - 10;
    let many = (0..size.bindings).map(|number| {
        let (user, round) = (10 + number % holders, number / holders);
        // No two of one user are the same: the strides are smaller than the counts.
        let place = 31 * user + 17 * round;
        let on = if (user + round).is_multiple_of(2) {
            space(1 + place % size.spaces)
        } else {
            project(1 + place % size.projects)
        };
        (UserId::new(user), on, READS_BINDINGS)
    });
    for ((user, resource, role), number) in few.into_iter().chain(somebody).chain(many).zip(1..) {
        state.apply(&Change::PutRoleBinding(RoleBinding {
            id: RoleBindingId::new(number),
            user,
            resource,
            role,
            created_at: NOW,
            updated_at: NOW,
            given_by: Giver::UNKNOWN,
        }));
    }
}

/// Every persona has 250 keys of their own; the others belong to everybody.
fn put_keys(state: &mut State, size: Size) {
    for number in 1..=size.keys {
        let owner = match number {
            1..=1000 => UserId::new(1 + number % 4),
            _ => UserId::new(spread(number, size.users)),
        };
        put_key(state, number, KeyOwner::User(owner), owner);
    }
    for place in 1..=size.keys / 5 {
        let (key, bot) = (size.keys + place, UserId::new(size.users + place));
        put_key(state, key, KeyOwner::Service(bot), ORGANIZATION_ADMIN);
        let identity = Identity::Bot {
            key: ApiKeyId::new(key),
        };
        state.apply(&Change::PutUser(user(bot, identity, AccountRole::Member)));
        state.apply(&Change::PutSpaceMembership(SpaceMembership {
            id: SpaceMembershipId::new(size.members + 2 + place),
            user: bot,
            space: BIG_SPACE,
            role: SpaceRole::ReadOnly,
            given_by: Giver::UNKNOWN,
            given_at: GivenAt::UNKNOWN,
        }));
    }
}

fn put_key(state: &mut State, number: u32, owner: KeyOwner, created_by: UserId) {
    let mut hash = [0; 32];
    hash[..4].copy_from_slice(&number.to_be_bytes());
    state.apply(&Change::PutApiKey(ApiKey {
        id: ApiKeyId::new(number),
        name: KeyName::parse("key").unwrap(),
        description: Description::parse("").unwrap(),
        owner,
        created_by,
        created_at: NOW,
        expires_at: None,
        is_revoked: false,
        secret: Secret {
            hash: SecretHash(hash),
            redacted: "ak-000...000".to_owned(),
        },
        previous: None,
        is_enforcement_point: false,
        is_sign_in: false,
        last_spaces: Vec::new(),
        ends_with: None,
    }));
}

fn name(noun: &str, number: u32) -> Name {
    Name::parse(&format!("{noun} {number}")).unwrap()
}

/// A number from 1 to `count`, neighbours far apart.
fn spread(number: u32, count: u32) -> u32 {
    1 + number.wrapping_mul(2_654_435_761) % count
}
