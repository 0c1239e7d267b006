//! Any command as one value: what a history, a simulation or a plan is made of. This list has them all; the model, the tests of the
//! API and the simulation fail to compile or fail a test without one of its commands.

use std::fmt;

use super::api_keys::{
    CreateServiceKey, CreateUserKey, KeyOrganization, RefreshApiKey, RevokeApiKey,
};
use super::credentials::{
    AcceptInvitation, CompletePasswordReset, RenewTemporaryPassword, ResendInvitation,
    ResetPassword, SignIn,
};
use super::enforcement_points::{MarkEnforcementPoint, UnmarkEnforcementPoint};
use super::operator::{Bootstrap, IssueUserKey, SetQuota};
use super::organizations::{
    AddOrganizationUser, CreateOrganization, DeleteOrganization, RemoveOrganizationUser,
    UpdateOrganization,
};
use super::projects::{CreateProject, DeleteProject, UpdateProject};
use super::resource_restrictions::{CreateResourceRestriction, DeleteResourceRestriction};
use super::role_bindings::{CreateRoleBinding, DeleteRoleBinding, UpdateRoleBinding};
use super::roles::{CreateRole, DeleteRole, UpdateRole};
use super::spaces::{AddSpaceUser, CreateSpace, DeleteSpace, RemoveSpaceUser, UpdateSpace};
use super::users::{CreateUser, DeleteUser, ReleaseAddress, UpdateUser};
use super::{Assignment, Command, Context};
use crate::change::Change;
use crate::id::Id;
use crate::refusal::Refusal;
use crate::resource::Bindable;
use crate::state::State;

/// Something that is done with a command of any type.
pub trait WithCommand {
    /// What comes of it.
    type Output;

    /// Does it.
    fn with<C>(self, command: C) -> Self::Output
    where
        C: Command + Clone + Send + Sync + 'static,
        C::Outcome: PartialEq + Send + 'static;
}

macro_rules! commands {
    ($($name:ident)*) => {
        /// Each variant is the command of that name.
        #[derive(Clone)]
        #[expect(missing_docs, reason = "each command documents itself")]
        pub enum AnyCommand {
            $($name($name),)*
        }

        $(impl From<$name> for AnyCommand {
            fn from(command: $name) -> Self {
                Self::$name(command)
            }
        })*

        impl AnyCommand {
            /// Decides it on this state: what changes, or why nothing does.
            pub fn run_on(&self, state: &State, context: &Context) -> Result<Vec<Change>, Refusal> {
                match self {
                    $(Self::$name(command) => Ok(state.execute(command, context)?.changes),)*
                }
            }

            /// Does something with the command of its own type.
            pub fn with<W: WithCommand>(self, with: W) -> W::Output {
                match self {
                    $(Self::$name(command) => with.with(command),)*
                }
            }

            /// The operation id, as the log has it.
            pub fn operation(&self) -> &'static str {
                match self {
                    $(Self::$name(_) => $name::OPERATION,)*
                }
            }

            /// The operation ids of all commands.
            pub const OPERATIONS: &[&str] = &[$($name::OPERATION,)*];

            /// The name of the command; two of them may be one operation.
            pub fn name(&self) -> &'static str {
                match self {
                    $(Self::$name(_) => stringify!($name),)*
                }
            }
        }
    };
}

commands! {
    Bootstrap IssueUserKey SetQuota
    CreateRoleBinding UpdateRoleBinding DeleteRoleBinding
    CreateRole UpdateRole DeleteRole
    CreateResourceRestriction DeleteResourceRestriction
    CreateUser UpdateUser DeleteUser ReleaseAddress
    ResendInvitation RenewTemporaryPassword ResetPassword AcceptInvitation CompletePasswordReset SignIn
    CreateOrganization UpdateOrganization DeleteOrganization
    AddOrganizationUser RemoveOrganizationUser
    CreateSpace UpdateSpace DeleteSpace
    AddSpaceUser RemoveSpaceUser
    CreateProject UpdateProject DeleteProject
    CreateUserKey CreateServiceKey RefreshApiKey RevokeApiKey
    MarkEnforcementPoint UnmarkEnforcementPoint
}

/// An id as its kind and number: `user 3`.
fn id<I: Id>(id: I) -> String {
    format!("{} {}", I::KIND.noun(), id.number())
}

fn bindable(on: Bindable) -> String {
    match on {
        Bindable::Space(space) => id(space),
        Bindable::Project(project) => id(project),
    }
}

fn assignment<R: fmt::Debug>(role: Assignment<R>) -> String {
    match role {
        Assignment::Predefined(role) => format!("{role:?}"),
        Assignment::Custom(role) => id(role),
    }
}

fn place(place: &KeyOrganization) -> String {
    let mut parts = vec![format!(
        "{} of {}",
        assignment(place.role),
        id(place.organization)
    )];
    for seat in &place.spaces {
        parts.push(format!("{} on {}", assignment(seat.role), id(seat.space)));
    }
    parts.join(", ")
}

/// One short line each, for the transcript of a history that failed.
impl fmt::Debug for AnyCommand {
    #[expect(clippy::too_many_lines, reason = "one flat match, a command an arm")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.name())?;
        match self {
            Self::Bootstrap(command) => write!(f, "{}", command.email),
            Self::IssueUserKey(command) => {
                let mark = if command.is_enforcement_point {
                    ", an enforcement point"
                } else {
                    ""
                };
                write!(f, "{}{mark}", command.email)
            }
            Self::SetQuota(command) => write!(f, "{} to {:?}", command.quota.name(), command.limit),
            Self::CreateRoleBinding(CreateRoleBinding { user, role, on }) => {
                write!(f, "{}, {} on {}", id(*user), id(*role), bindable(*on))
            }
            Self::UpdateRoleBinding(UpdateRoleBinding { binding, role }) => {
                write!(f, "{}, {}", id(*binding), id(*role))
            }
            Self::DeleteRoleBinding(command) => f.write_str(&id(command.binding)),
            Self::CreateRole(command) => {
                write!(f, "`{}` {:?}", command.name, command.permissions)
            }
            Self::UpdateRole(command) => {
                let UpdateRole {
                    role,
                    name,
                    permissions,
                    ..
                } = command;
                write!(f, "{}, {name:?}, {permissions:?}", id(*role))
            }
            Self::DeleteRole(command) => f.write_str(&id(command.role)),
            Self::CreateResourceRestriction(command) => f.write_str(&id(command.project)),
            Self::DeleteResourceRestriction(command) => f.write_str(&id(command.project)),
            Self::CreateUser(command) => {
                let role = assignment(command.role);
                let CreateUser {
                    email,
                    invitation,
                    is_developer,
                    ..
                } = command;
                write!(
                    f,
                    "{email} {role}, invitation {invitation:?}, is_developer {is_developer:?}"
                )
            }
            Self::ResendInvitation(command) => f.write_str(&id(command.user)),
            Self::RenewTemporaryPassword(command) => f.write_str(&id(command.user)),
            Self::ResetPassword(command) => f.write_str(&id(command.user)),
            Self::AcceptInvitation(command) => write!(f, "by {:?}", command.token.0),
            Self::CompletePasswordReset(command) => write!(f, "by {:?}", command.token.0),
            Self::SignIn(command) => {
                write!(f, "has new password: {}", command.new_password.is_some())
            }
            Self::UpdateUser(command) => {
                let UpdateUser {
                    user,
                    name,
                    is_developer,
                } = command;
                write!(f, "{}, {name:?}, is_developer {is_developer:?}", id(*user))
            }
            Self::DeleteUser(command) => f.write_str(&id(command.user)),
            Self::ReleaseAddress(command) => write!(f, "{}", command.email),
            Self::CreateOrganization(command) => write!(f, "`{}`", command.name),
            Self::UpdateOrganization(command) => {
                write!(f, "{}, {:?}", id(command.organization), command.name)
            }
            Self::DeleteOrganization(command) => f.write_str(&id(command.organization)),
            Self::AddOrganizationUser(command) => {
                let AddOrganizationUser {
                    organization,
                    user,
                    role,
                } = command;
                let role = assignment(*role);
                write!(f, "{}, {} as {role}", id(*organization), id(*user))
            }
            Self::RemoveOrganizationUser(RemoveOrganizationUser { organization, user }) => {
                write!(f, "{}, {}", id(*organization), id(*user))
            }
            Self::CreateSpace(command) => {
                let privacy = if command.is_private {
                    "private"
                } else {
                    "public"
                };
                write!(
                    f,
                    "`{}` in {}, {privacy}",
                    command.name,
                    id(command.organization)
                )
            }
            Self::UpdateSpace(command) => {
                let UpdateSpace {
                    space,
                    name,
                    is_private,
                    ..
                } = command;
                write!(f, "{}, {name:?}, is_private {is_private:?}", id(*space))
            }
            Self::DeleteSpace(command) => f.write_str(&id(command.space)),
            Self::AddSpaceUser(AddSpaceUser { space, user, role }) => {
                write!(f, "{}, {} as {}", id(*space), id(*user), assignment(*role))
            }
            Self::RemoveSpaceUser(RemoveSpaceUser { space, user }) => {
                write!(f, "{}, {}", id(*space), id(*user))
            }
            Self::CreateProject(command) => {
                write!(f, "`{}` in {}", command.name, id(command.space))
            }
            Self::UpdateProject(command) => {
                write!(f, "{}, `{}`", id(command.project), command.name)
            }
            Self::DeleteProject(command) => f.write_str(&id(command.project)),
            Self::CreateUserKey(command) => write!(f, "until {:?}", command.expires_at),
            Self::CreateServiceKey(command) => {
                let role = assignment(command.account_role);
                let places: Vec<String> = command.organizations.iter().map(place).collect();
                let places = places.join("; ");
                write!(f, "{role}; {places}; until {:?}", command.expires_at)
            }
            Self::RefreshApiKey(command) => {
                let RefreshApiKey {
                    key,
                    expires_at,
                    grace_seconds,
                    ..
                } = command;
                write!(
                    f,
                    "{} until {expires_at:?}, grace {grace_seconds} s",
                    id(*key)
                )
            }
            Self::RevokeApiKey(command) => f.write_str(&id(command.key)),
            Self::MarkEnforcementPoint(command) => f.write_str(&id(command.key)),
            Self::UnmarkEnforcementPoint(command) => f.write_str(&id(command.key)),
        }
    }
}
