//! The company as the changes that a store would load it from.

use anyhow::Result;
use bindery_core::change::Change;
use bindery_core::given::{GivenAt, Giver};
use bindery_core::id::{
    AccountId, Id as _, IdKey, OrganizationId, OrganizationMembershipId, ProjectId, Revision,
    RoleBindingId, RoleId, SpaceId, SpaceMembershipId, UserId,
};
use bindery_core::place::{
    Account, AccountSettings, Organization, Project, Restriction, Space, SpaceSettings,
};
use bindery_core::resource::Bindable;
use bindery_core::role::{AccountRole, CUSTOM_FIRST, OrganizationRole, Role, SpaceRole};
use bindery_core::role_binding::RoleBinding;
use bindery_core::state::{Loading, State};
use bindery_core::text::{Description, Email, Name, RoleName};
use bindery_core::time::Timestamp;
use bindery_core::user::{Identity, OrganizationMembership, SpaceMembership, Standing, User};

use crate::random::Random;
use crate::world::{On, World, is_account_admin};

/// When everything was made.
pub(crate) const THEN: Timestamp = Timestamp::from_millis(1_760_000_000_000);
/// When everything is asked.
pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_760_000_100_000);

pub(crate) fn account() -> Result<Account> {
    Ok(Account {
        id: AccountId(1),
        name: Name::parse("Bench")?,
        id_key: IdKey::new(*b"sixteen octets!!"),
        created_at: THEN,
        settings: AccountSettings::default(),
    })
}

/// The state that a load from the store comes to.
pub(crate) fn state(world: &World) -> Result<State> {
    let mut loading = Loading::new(account()?);
    for_each(world, |change| {
        loading.put(change);
        Ok(())
    })?;
    Ok(loading.finish(Revision(1).into(), THEN, []))
}

/// Every change, in the order in which a store loads them: by kind, then by number. What is held was given in no order.
pub(crate) fn for_each(world: &World, mut with: impl FnMut(Change) -> Result<()>) -> Result<()> {
    let mut order: Vec<(UserId, u32)> = Vec::with_capacity(world.held.len());
    for (user, held) in world.users() {
        order.extend((0..).zip(held).map(|(place, _)| (user, place)));
    }
    Random::new(7).shuffle(&mut order);
    let held = || {
        let at = |(user, place): &(UserId, u32)| (*user, world.held_by(*user)[*place as usize]);
        order.iter().map(at)
    };

    for (id, _) in world.users() {
        with(Change::PutUser(user(id)?))?;
    }
    for number in 1..=world.size.organizations() {
        with(Change::PutOrganization(organization(number)?))?;
    }
    let mut numbers = 1..;
    for (user, held) in held() {
        if let On::Organization(organization) = held.on
            && let Some(role) = OrganizationRole::from_role(held.role)
        {
            let id = OrganizationMembershipId::new(next(&mut numbers));
            with(Change::PutOrganizationMembership(OrganizationMembership {
                id,
                user,
                organization,
                role,
                given_by: Giver::UNKNOWN,
                given_at: GivenAt::UNKNOWN,
            }))?;
        }
    }
    for (number, space) in (1..).zip(&world.spaces) {
        with(Change::PutSpace(Space {
            id: SpaceId::new(number),
            organization: space.organization,
            name: Name::parse(&format!("Space {number}"))?,
            description: Description::parse("")?,
            is_private: !space.is_public,
            created_at: THEN,
            settings: SpaceSettings::default(),
        }))?;
    }
    let mut numbers = 1..;
    for (user, held) in held() {
        if let On::Membership(space) = held.on
            && let Some(role) = SpaceRole::from_role(held.role)
        {
            let id = SpaceMembershipId::new(next(&mut numbers));
            with(Change::PutSpaceMembership(SpaceMembership {
                id,
                user,
                space,
                role,
                given_by: Giver::UNKNOWN,
                given_at: GivenAt::UNKNOWN,
            }))?;
        }
    }
    projects(world, &mut with)?;
    for (number, permissions) in (CUSTOM_FIRST..).zip(&world.roles) {
        with(Change::PutRole(Role {
            id: RoleId::new(number),
            name: RoleName::parse(&format!("Role {number}"))?,
            description: Description::parse("")?,
            permissions: *permissions,
            created_at: THEN,
            updated_at: THEN,
        }))?;
    }
    let mut numbers = 1..;
    for (user, held) in held() {
        if let Some(resource) = bindable(held.on) {
            let id = RoleBindingId::new(next(&mut numbers));
            with(Change::PutRoleBinding(binding(
                id, user, resource, held.role,
            )))?;
        }
    }
    Ok(())
}

/// On what a role is bound, if it is.
pub(crate) const fn bindable(on: On) -> Option<Bindable> {
    match on {
        On::Space(id) => Some(Bindable::Space(id)),
        On::Project(id) => Some(Bindable::Project(id)),
        On::Organization(_) | On::Membership(_) => None,
    }
}

pub(crate) const fn binding(
    id: RoleBindingId,
    user: UserId,
    resource: Bindable,
    role: RoleId,
) -> RoleBinding {
    RoleBinding {
        id,
        user,
        resource,
        role,
        created_at: THEN,
        updated_at: THEN,
        given_by: Giver::UNKNOWN,
    }
}

fn next(numbers: &mut std::ops::RangeFrom<u32>) -> u32 {
    numbers.next().expect("ten million fit into 32 bits")
}

fn user(id: UserId) -> Result<User> {
    let number = id.number();
    Ok(User {
        id,
        name: Name::parse(&format!("Person {number}"))?,
        identity: Identity::Human {
            email: Email::parse(&format!("person.{number}@example.com"))?,
        },
        account_role: if is_account_admin(id) {
            AccountRole::Admin
        } else {
            AccountRole::Member
        },
        is_developer: true,
        standing: Standing::Active,
        created_at: THEN,
        address_released_at: None,
    })
}

fn organization(number: u32) -> Result<Organization> {
    Ok(Organization {
        id: OrganizationId::new(number),
        name: Name::parse(&format!("Organization {number}"))?,
        description: Description::parse("")?,
        created_at: THEN,
    })
}

fn projects(world: &World, with: &mut impl FnMut(Change) -> Result<()>) -> Result<()> {
    for (number, project) in (1..).zip(&world.projects) {
        with(Change::PutProject(Project {
            id: ProjectId::new(number),
            space: project.space,
            name: Name::parse(&format!("Project {number}"))?,
            created_at: THEN,
        }))?;
    }
    for (number, project) in (1..).zip(&world.projects) {
        if project.is_restricted {
            with(Change::PutRestriction(Restriction {
                project: ProjectId::new(number),
                created_at: THEN,
            }))?;
        }
    }
    Ok(())
}
