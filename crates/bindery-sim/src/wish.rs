//! What clients ask for: commands and questions about what is there, as far as their node knows, in a small account with few
//! names, so that they get in each other's way.

use bindery_core::api_key::SecretHash;
use bindery_core::command::AnyCommand;
use bindery_core::command::Assignment;
use bindery_core::command::api_keys::{CreateUserKey, RefreshApiKey, RevokeApiKey};
use bindery_core::command::operator::IssueUserKey;
use bindery_core::command::organizations::{
    AddOrganizationUser, CreateOrganization, DeleteOrganization, RemoveOrganizationUser,
    UpdateOrganization,
};
use bindery_core::command::projects::{CreateProject, DeleteProject};
use bindery_core::command::resource_restrictions::{
    CreateResourceRestriction, DeleteResourceRestriction,
};
use bindery_core::command::role_bindings::{
    CreateRoleBinding, DeleteRoleBinding, UpdateRoleBinding,
};
use bindery_core::command::roles::{CreateRole, DeleteRole, UpdateRole};
use bindery_core::command::spaces::{AddSpaceUser, CreateSpace, DeleteSpace, RemoveSpaceUser};
use bindery_core::command::users::{CreateUser, DeleteUser, Invitation, UpdateUser};
use bindery_core::decision::Question;
use bindery_core::id::{Id, Kind, RoleId, UserId};
use bindery_core::permission::{Permission, PermissionSet};
use bindery_core::resource::{Bindable, Resource};
use bindery_core::role::{AccountRole, CUSTOM_FIRST, OrganizationRole, SpaceRole};
use bindery_core::state::State;
use bindery_core::text::{Description, RoleName};

use crate::founded::{email, key_name, name, secret};
use crate::world::World;

/// Permissions that roles give and questions ask about.
const PERMISSIONS: [Permission; 6] = [
    Permission::ProjectRead,
    Permission::ProjectUpdate,
    Permission::RoleBindingRead,
    Permission::RoleBindingCreate,
    Permission::SpaceRead,
    Permission::OrganizationRead,
];

/// The key that a request shows: mostly of one of the first admins.
pub(crate) fn a_key(world: &World, state: &State) -> Option<SecretHash> {
    let keys = state.api_keys().count();
    let first = if world.chance(800) { keys.min(2) } else { keys };
    let at = world.index(first);
    state.api_keys().nth(at).map(|key| key.secret.hash)
}

/// Something of its kind, or now and then a number that nothing has.
fn any<I: Id>(world: &World, state: &State) -> I {
    let issued = state.issued().find(|(kind, _)| *kind == I::KIND);
    let highest = u64::from(issued.map_or(1, |(_, number)| number));
    let (first, many) = if I::KIND == Kind::Role {
        let custom = u64::from(CUSTOM_FIRST);
        (custom, (highest + 1).saturating_sub(custom))
    } else {
        (1, highest)
    };
    let extra = u64::from(world.chance(30));
    let number = first + world.below((many + extra).max(1));
    I::from_number(u32::try_from(number).unwrap_or(1))
}

fn on(world: &World, state: &State) -> Bindable {
    if world.chance(500) {
        Bindable::Space(any(world, state))
    } else {
        Bindable::Project(any(world, state))
    }
}

/// A role of the account, or a predefined one.
fn role(world: &World, state: &State) -> RoleId {
    if world.chance(700) {
        any(world, state)
    } else {
        SpaceRole::Member.role()
    }
}

fn permissions(world: &World) -> PermissionSet {
    let first = PERMISSIONS[world.index(PERMISSIONS.len())];
    let second = PERMISSIONS[world.index(PERMISSIONS.len())];
    PermissionSet::of(&[first, second])
}

/// One of few names, so that they are often taken.
fn some_name(world: &World) -> String {
    format!("name {}", world.below(6))
}

pub(crate) fn question(world: &World, state: &State) -> Question {
    let resource = match world.below(8) {
        0 => Resource::Account,
        1 => Resource::Organization(any(world, state)),
        2..5 => Resource::Space(any(world, state)),
        _ => Resource::Project(any(world, state)),
    };
    Question {
        principal: any(world, state),
        permission: PERMISSIONS[world.index(PERMISSIONS.len())],
        resource,
    }
}

#[expect(clippy::too_many_lines, reason = "one flat match, a command an arm")]
pub(crate) fn wish(world: &World, state: &State) -> AnyCommand {
    let serial = 10_000 + world.below(u64::MAX - 10_000);
    match world.below(40) {
        0..8 => AnyCommand::CreateRoleBinding(CreateRoleBinding {
            user: any(world, state),
            role: role(world, state),
            on: on(world, state),
        }),
        8..13 => AnyCommand::UpdateRoleBinding(UpdateRoleBinding {
            binding: any(world, state),
            role: role(world, state),
        }),
        13..16 => AnyCommand::DeleteRoleBinding(DeleteRoleBinding {
            binding: any(world, state),
        }),
        16 => AnyCommand::CreateRole(CreateRole {
            name: RoleName::parse(&some_name(world)).expect("a name"),
            description: Description::default(),
            permissions: permissions(world),
        }),
        17 => AnyCommand::UpdateRole(UpdateRole {
            role: any(world, state),
            name: None,
            description: None,
            permissions: Some(permissions(world)),
        }),
        18 => AnyCommand::DeleteRole(DeleteRole {
            role: any(world, state),
        }),
        19 | 20 => AnyCommand::CreateUser(CreateUser {
            name: name("somebody"),
            email: email(&format!("user{}@example.com", world.below(6))),
            role: Assignment::Predefined(AccountRole::Member),
            invitation: Invitation::None,
            is_developer: Some(true),
        }),
        21 => AnyCommand::UpdateUser(UpdateUser {
            user: any(world, state),
            name: Some(name(&some_name(world))),
            is_developer: None,
        }),
        22 => AnyCommand::DeleteUser(DeleteUser {
            // Not the first: somebody stays who may do things.
            user: UserId::new(2 + any::<UserId>(world, state).number()),
        }),
        23 => AnyCommand::CreateOrganization(CreateOrganization {
            name: name(&some_name(world)),
            description: Description::default(),
        }),
        24 => AnyCommand::UpdateOrganization(UpdateOrganization {
            organization: any(world, state),
            name: Some(name(&some_name(world))),
            description: None,
        }),
        25 if world.chance(300) => AnyCommand::DeleteOrganization(DeleteOrganization {
            organization: any(world, state),
        }),
        25 | 26 => AnyCommand::AddOrganizationUser(AddOrganizationUser {
            organization: any(world, state),
            user: any(world, state),
            role: Assignment::Predefined(OrganizationRole::Member),
        }),
        27 => AnyCommand::RemoveOrganizationUser(RemoveOrganizationUser {
            organization: any(world, state),
            user: any(world, state),
        }),
        28 => AnyCommand::CreateSpace(CreateSpace {
            name: name(&some_name(world)),
            organization: any(world, state),
            description: Description::default(),
            is_private: world.chance(500),
        }),
        29 => AnyCommand::DeleteSpace(DeleteSpace {
            space: any(world, state),
        }),
        30 => AnyCommand::AddSpaceUser(AddSpaceUser {
            space: any(world, state),
            user: any(world, state),
            role: Assignment::Predefined(SpaceRole::Member),
        }),
        31 => AnyCommand::RemoveSpaceUser(RemoveSpaceUser {
            space: any(world, state),
            user: any(world, state),
        }),
        32 | 33 => AnyCommand::CreateProject(CreateProject {
            name: name(&some_name(world)),
            space: any(world, state),
        }),
        34 => AnyCommand::DeleteProject(DeleteProject {
            project: any(world, state),
        }),
        35 => AnyCommand::CreateResourceRestriction(CreateResourceRestriction {
            project: any(world, state),
        }),
        36 => AnyCommand::DeleteResourceRestriction(DeleteResourceRestriction {
            project: any(world, state),
        }),
        37 => AnyCommand::CreateUserKey(CreateUserKey {
            name: key_name("made"),
            description: Description::default(),
            expires_at: None,
            secret: secret(serial),
        }),
        38 => AnyCommand::RefreshApiKey(RefreshApiKey {
            key: any(world, state),
            expires_at: None,
            grace_seconds: world.below(100),
            secret: secret(serial),
        }),
        _ => AnyCommand::RevokeApiKey(RevokeApiKey {
            key: any(world, state),
        }),
    }
}

/// A command that can always be decided, whatever became of the account.
pub(crate) fn last_word(serial: u64) -> AnyCommand {
    AnyCommand::IssueUserKey(IssueUserKey {
        email: email("ada@example.com"),
        key_name: key_name("last"),
        secret: secret(serial),
        is_enforcement_point: false,
    })
}
