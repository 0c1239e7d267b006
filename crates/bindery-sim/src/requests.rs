//! The commands and questions of clients, about things that their node knows, in a small account with few
//! names, so that they conflict often.

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
use crate::run::Run;

/// Permissions that roles give and questions ask about.
const PERMISSIONS: [Permission; 6] = [
    Permission::ProjectRead,
    Permission::ProjectUpdate,
    Permission::RoleBindingRead,
    Permission::RoleBindingCreate,
    Permission::SpaceRead,
    Permission::OrganizationRead,
];

/// The key of a request: mostly of one of the first admins.
pub(crate) fn a_key(run: &Run, state: &State) -> Option<SecretHash> {
    let keys = state.api_keys().count();
    let first = if run.chance(800) { keys.min(2) } else { keys };
    let at = run.index(first);
    state.api_keys().nth(at).map(|key| key.secret.hash)
}

/// An id of this kind, or now and then one that does not exist.
fn any<I: Id>(run: &Run, state: &State) -> I {
    let issued = state.issued().find(|(kind, _)| *kind == I::KIND);
    let highest = u64::from(issued.map_or(1, |(_, number)| number));
    let (first, many) = if I::KIND == Kind::Role {
        let custom = u64::from(CUSTOM_FIRST);
        (custom, (highest + 1).saturating_sub(custom))
    } else {
        (1, highest)
    };
    let extra = u64::from(run.chance(30));
    let number = first + run.below((many + extra).max(1));
    I::from_number(u32::try_from(number).unwrap_or(1))
}

fn on(run: &Run, state: &State) -> Bindable {
    if run.chance(500) {
        Bindable::Space(any(run, state))
    } else {
        Bindable::Project(any(run, state))
    }
}

/// A role of the account, or a predefined one.
fn role(run: &Run, state: &State) -> RoleId {
    if run.chance(700) {
        any(run, state)
    } else {
        SpaceRole::Member.role()
    }
}

fn permissions(run: &Run) -> PermissionSet {
    let first = PERMISSIONS[run.index(PERMISSIONS.len())];
    let second = PERMISSIONS[run.index(PERMISSIONS.len())];
    PermissionSet::of(&[first, second])
}

/// One of few names, so that they are often taken.
fn some_name(run: &Run) -> String {
    format!("name {}", run.below(6))
}

pub(crate) fn question(run: &Run, state: &State) -> Question {
    let resource = match run.below(8) {
        0 => Resource::Account,
        1 => Resource::Organization(any(run, state)),
        2..5 => Resource::Space(any(run, state)),
        _ => Resource::Project(any(run, state)),
    };
    Question {
        principal: any(run, state),
        permission: PERMISSIONS[run.index(PERMISSIONS.len())],
        resource,
    }
}

#[expect(clippy::too_many_lines, reason = "one flat match, a command an arm")]
pub(crate) fn command(run: &Run, state: &State) -> AnyCommand {
    let serial = 10_000 + run.below(u64::MAX - 10_000);
    match run.below(40) {
        0..8 => AnyCommand::CreateRoleBinding(CreateRoleBinding {
            user: any(run, state),
            role: role(run, state),
            on: on(run, state),
        }),
        8..13 => AnyCommand::UpdateRoleBinding(UpdateRoleBinding {
            binding: any(run, state),
            role: role(run, state),
        }),
        13..16 => AnyCommand::DeleteRoleBinding(DeleteRoleBinding {
            binding: any(run, state),
        }),
        16 => AnyCommand::CreateRole(CreateRole {
            name: RoleName::parse(&some_name(run)).expect("a name"),
            description: Description::default(),
            permissions: permissions(run),
        }),
        17 => AnyCommand::UpdateRole(UpdateRole {
            role: any(run, state),
            name: None,
            description: None,
            permissions: Some(permissions(run)),
        }),
        18 => AnyCommand::DeleteRole(DeleteRole {
            role: any(run, state),
        }),
        19 | 20 => AnyCommand::CreateUser(CreateUser {
            name: name("somebody"),
            email: email(&format!("user{}@example.com", run.below(6))),
            role: Assignment::Predefined(AccountRole::Member),
            invitation: Invitation::None,
            is_developer: Some(true),
        }),
        21 => AnyCommand::UpdateUser(UpdateUser {
            user: any(run, state),
            name: Some(name(&some_name(run))),
            is_developer: None,
        }),
        22 => AnyCommand::DeleteUser(DeleteUser {
            // Not the first user, so that an admin stays.
            user: UserId::new(2 + any::<UserId>(run, state).number()),
        }),
        23 => AnyCommand::CreateOrganization(CreateOrganization {
            name: name(&some_name(run)),
            description: Description::default(),
        }),
        24 => AnyCommand::UpdateOrganization(UpdateOrganization {
            organization: any(run, state),
            name: Some(name(&some_name(run))),
            description: None,
        }),
        25 if run.chance(300) => AnyCommand::DeleteOrganization(DeleteOrganization {
            organization: any(run, state),
        }),
        25 | 26 => AnyCommand::AddOrganizationUser(AddOrganizationUser {
            organization: any(run, state),
            user: any(run, state),
            role: Assignment::Predefined(OrganizationRole::Member),
        }),
        27 => AnyCommand::RemoveOrganizationUser(RemoveOrganizationUser {
            organization: any(run, state),
            user: any(run, state),
        }),
        28 => AnyCommand::CreateSpace(CreateSpace {
            name: name(&some_name(run)),
            organization: any(run, state),
            description: Description::default(),
            is_private: run.chance(500),
        }),
        29 => AnyCommand::DeleteSpace(DeleteSpace {
            space: any(run, state),
        }),
        30 => AnyCommand::AddSpaceUser(AddSpaceUser {
            space: any(run, state),
            user: any(run, state),
            role: Assignment::Predefined(SpaceRole::Member),
        }),
        31 => AnyCommand::RemoveSpaceUser(RemoveSpaceUser {
            space: any(run, state),
            user: any(run, state),
        }),
        32 | 33 => AnyCommand::CreateProject(CreateProject {
            name: name(&some_name(run)),
            space: any(run, state),
        }),
        34 => AnyCommand::DeleteProject(DeleteProject {
            project: any(run, state),
        }),
        35 => AnyCommand::CreateResourceRestriction(CreateResourceRestriction {
            project: any(run, state),
        }),
        36 => AnyCommand::DeleteResourceRestriction(DeleteResourceRestriction {
            project: any(run, state),
        }),
        37 => AnyCommand::CreateUserKey(CreateUserKey {
            name: key_name("made"),
            description: Description::default(),
            expires_at: None,
            secret: secret(serial),
        }),
        38 => AnyCommand::RefreshApiKey(RefreshApiKey {
            key: any(run, state),
            expires_at: None,
            grace_seconds: run.below(100),
            secret: secret(serial),
        }),
        _ => AnyCommand::RevokeApiKey(RevokeApiKey {
            key: any(run, state),
        }),
    }
}

/// A command that can always be decided, whatever happened to the account.
pub(crate) fn last_word(serial: u64) -> AnyCommand {
    AnyCommand::IssueUserKey(IssueUserKey {
        email: email("ada@example.com"),
        key_name: key_name("last"),
        secret: secret(serial),
        is_enforcement_point: false,
    })
}
