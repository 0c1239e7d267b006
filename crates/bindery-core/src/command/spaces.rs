//! Spaces and their members (`docs/rules/operations.md`, spaces).
//!
//! A user's place in a space is two slots side by side: a predefined membership, and a role binding. A custom space role *is* the
//! binding (`docs/rules/authorization.md` §4).

use super::organizations::match_annotators;
use super::{Assignment, Command, Context, Decided, cascade, seats};
use crate::change::Change;
use crate::id::{Kind, OrganizationId, RoleId, SpaceId, UserId};
use crate::permission::Permission;
use crate::place::{LlmIntegration, Space, SpaceSettings};
use crate::refusal::{Conflict, Forbidden, Invalid, Refusal};
use crate::resource::Bindable;
use crate::role::SpaceRole;
use crate::role_binding::RoleBinding;
use crate::state::State;
use crate::text::{Description, Label, Name};
use crate::user::{SpaceMembership, User};

/// Makes a space in an organization. Whoever isn't admin above it becomes its admin: the creator of a private space could
/// not see it otherwise.
#[derive(Clone, Debug)]
pub struct CreateSpace {
    /// Free in the organization.
    pub name: Name,
    /// Where.
    pub organization: OrganizationId,
    /// Empty for none.
    pub description: Description,
    /// Closed to mere members of the organization.
    pub is_private: bool,
}

impl Command for CreateSpace {
    type Outcome = Space;
    const OPERATION: &str = "create_space";

    fn execute(&self, state: &State, context: &Context) -> Result<Decided<Space>, Refusal> {
        state
            .reader(*context)
            .visible_organization(self.organization)?;
        state.authorize(context, Permission::SpaceCreate, self.organization)?;
        check_name(state, self.organization, &self.name, None)?;
        let mut numbers = state.numbers();
        let space = Space {
            id: numbers.next(),
            organization: self.organization,
            name: self.name.clone(),
            description: self.description.clone(),
            is_private: self.is_private,
            created_at: context.now,
            settings: SpaceSettings::default(),
        };
        let mut changes = vec![Change::PutSpace(space.clone())];
        if state.admin_grant(context, self.organization).is_none() {
            changes.push(Change::PutSpaceMembership(SpaceMembership {
                id: numbers.next(),
                user: context.user(),
                space: space.id,
                role: SpaceRole::Admin,
                given_by: context.giver(),
                given_at: context.now.into(),
            }));
        }
        Ok(Decided {
            changes,
            outcome: space,
        })
    }
}

/// Changes a space. What is absent stays.
#[derive(Clone, Debug)]
pub struct UpdateSpace {
    /// Which.
    pub space: SpaceId,
    /// A new name.
    pub name: Option<Name>,
    /// A new description; empty clears it.
    pub description: Option<Description>,
    /// Private or public; takes effect on access at once.
    pub is_private: Option<bool>,
    /// Set, or cleared.
    pub default_llm_integration: Option<Option<LlmIntegration>>,
    /// Set, or cleared.
    pub default_agent_runtime: Option<Option<Label>>,
    /// Set.
    pub ml_models_enabled: Option<bool>,
    /// Set.
    pub gradient_start_color: Option<Label>,
    /// Set.
    pub gradient_end_color: Option<Label>,
}

impl UpdateSpace {
    /// Whether it names nothing to change.
    pub fn is_empty(&self) -> bool {
        self.name.is_none()
            && self.description.is_none()
            && self.is_private.is_none()
            && self.default_llm_integration.is_none()
            && self.default_agent_runtime.is_none()
            && self.ml_models_enabled.is_none()
            && self.gradient_start_color.is_none()
            && self.gradient_end_color.is_none()
    }

    fn on(&self, old: &Space) -> Space {
        let settings = old.settings.clone();
        Space {
            name: self.name.clone().unwrap_or_else(|| old.name.clone()),
            description: self
                .description
                .clone()
                .unwrap_or_else(|| old.description.clone()),
            is_private: self.is_private.unwrap_or(old.is_private),
            settings: SpaceSettings {
                default_llm_integration: self
                    .default_llm_integration
                    .clone()
                    .unwrap_or(settings.default_llm_integration),
                default_agent_runtime: self
                    .default_agent_runtime
                    .clone()
                    .unwrap_or(settings.default_agent_runtime),
                ml_models_enabled: self.ml_models_enabled.or(settings.ml_models_enabled),
                gradient_start_color: self
                    .gradient_start_color
                    .clone()
                    .or(settings.gradient_start_color),
                gradient_end_color: self
                    .gradient_end_color
                    .clone()
                    .or(settings.gradient_end_color),
            },
            ..old.clone()
        }
    }
}

impl Command for UpdateSpace {
    type Outcome = Space;
    const OPERATION: &str = "update_space";

    fn execute(&self, state: &State, context: &Context) -> Result<Decided<Space>, Refusal> {
        let old = state.reader(*context).visible_space(self.space)?;
        state.authorize(context, Permission::SpaceUpdate, self.space)?;
        let space = self.on(old);
        check_name(state, space.organization, &space.name, Some(self.space))?;
        if space == *old {
            return Ok(Decided::unchanged(space));
        }
        Ok(Decided {
            changes: vec![Change::PutSpace(space.clone())],
            outcome: space,
        })
    }
}

/// Deletes a space with everything in it.
#[derive(Clone, Debug)]
pub struct DeleteSpace {
    /// Which.
    pub space: SpaceId,
}

impl Command for DeleteSpace {
    type Outcome = ();
    const OPERATION: &str = "delete_space";

    fn execute(&self, state: &State, context: &Context) -> Result<Decided<()>, Refusal> {
        state.reader(*context).visible_space(self.space)?;
        state.authorize(context, Permission::SpaceDelete, self.space)?;
        let mut changes = Vec::new();
        cascade::space(state, self.space, &mut changes);
        Ok(Decided {
            changes,
            outcome: (),
        })
    }
}

/// Sets *the* role of a user in a space: after it, what the user holds there is what the answer says.
#[derive(Clone, Debug)]
pub struct AddSpaceUser {
    /// Where.
    pub space: SpaceId,
    /// Whom.
    pub user: UserId,
    /// Which role.
    pub role: Assignment<SpaceRole>,
}

/// A user's role in a space, in the slot that holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpaceSeat {
    /// A predefined role.
    Membership(SpaceMembership),
    /// A custom one.
    Binding {
        /// What holds it.
        binding: RoleBinding,
        /// The space it is on.
        space: SpaceId,
    },
}

impl Command for AddSpaceUser {
    type Outcome = SpaceSeat;
    const OPERATION: &str = "add_space_user";

    fn execute(&self, state: &State, context: &Context) -> Result<Decided<SpaceSeat>, Refusal> {
        let space = state.reader(*context).visible_space(self.space)?;
        match self.role {
            Assignment::Predefined(_) => {
                state
                    .admin_grant(context, self.space)
                    .ok_or(Refusal::Forbidden(Forbidden::NotSpaceAdmin))?;
            }
            Assignment::Custom(_) => {
                state.authorize(context, Permission::RoleBindingCreate, self.space)?;
            }
        }
        let user = state.live_user(self.user)?;
        if let Assignment::Custom(role) = self.role {
            state.role(role).ok_or(Refusal::NotFound(Kind::Role))?;
        }
        if state
            .organization_membership(space.organization, self.user)
            .is_none()
        {
            return Err(Refusal::Invalid(Invalid::NotInOrganization));
        }
        match self.role {
            Assignment::Predefined(role) => self.seat(state, context, user, role),
            Assignment::Custom(role) => self.bind(state, context, user, role),
        }
    }
}

impl AddSpaceUser {
    fn seat(
        &self,
        state: &State,
        context: &Context,
        user: &User,
        role: SpaceRole,
    ) -> Result<Decided<SpaceSeat>, Refusal> {
        match_annotators(user.account_role, role == SpaceRole::Annotator)?;
        let old = state.space_membership(self.space, self.user);
        let mut changes = Vec::new();
        let membership = if let Some(same) = old.filter(|old| old.role == role) {
            same
        } else {
            let membership = SpaceMembership {
                id: old.map_or_else(|| state.numbers().next(), |old| old.id),
                user: self.user,
                space: self.space,
                role,
                given_by: context.giver(),
                given_at: context.now.into(),
            };
            changes.push(Change::PutSpaceMembership(membership));
            membership
        };
        if let Some(binding) = state.role_binding_on(Bindable::Space(self.space), self.user) {
            changes.push(Change::DeleteRoleBinding(binding.id));
        }
        Ok(Decided {
            changes,
            outcome: SpaceSeat::Membership(membership),
        })
    }

    fn bind(
        &self,
        state: &State,
        context: &Context,
        user: &User,
        role: RoleId,
    ) -> Result<Decided<SpaceSeat>, Refusal> {
        // A predefined role named by its id counts as that role.
        match_annotators(user.account_role, role == SpaceRole::Annotator.role())?;
        if seats::takes_away(state, user, self.space, role, seats::Way::Replace) {
            seats::authorize_taking(state, context, self.space)?;
        }
        let resource = Bindable::Space(self.space);
        let mut changes = Vec::new();
        let binding = match state.role_binding_on(resource, self.user) {
            Some(same) if same.role == role => same,
            Some(old) => {
                let updated_at = context.now.max(old.updated_at.just_after());
                RoleBinding {
                    role,
                    updated_at,
                    given_by: context.giver(),
                    ..old
                }
            }
            None => RoleBinding {
                id: state.numbers().next(),
                user: self.user,
                resource,
                role,
                created_at: context.now,
                updated_at: context.now,
                given_by: context.giver(),
            },
        };
        if state.role_binding(binding.id) != Some(binding) {
            changes.push(Change::PutRoleBinding(binding));
        }
        if let Some(membership) = state.space_membership(self.space, self.user) {
            changes.push(Change::DeleteSpaceMembership(membership.id));
        }
        Ok(Decided {
            changes,
            outcome: SpaceSeat::Binding {
                binding,
                space: self.space,
            },
        })
    }
}

/// Takes a user out of a space: the membership and the binding on it. Bindings on its projects stay. Where the user would have more
/// without the seat, as a member of the organization in a public space, this takes the right to give roles there too.
#[derive(Clone, Debug)]
pub struct RemoveSpaceUser {
    /// Where.
    pub space: SpaceId,
    /// Whom.
    pub user: UserId,
}

impl Command for RemoveSpaceUser {
    type Outcome = ();
    const OPERATION: &str = "remove_space_user";

    fn execute(&self, state: &State, context: &Context) -> Result<Decided<()>, Refusal> {
        state.reader(*context).visible_space(self.space)?;
        let is_admin = state.admin_grant(context, self.space).is_some();
        if !is_admin && !state.allows(context, Permission::RoleBindingDelete, self.space) {
            return Err(Refusal::Forbidden(Forbidden::NotSpaceAdmin));
        }
        let membership = state.space_membership(self.space, self.user);
        let binding = state.role_binding_on(Bindable::Space(self.space), self.user);
        let membership = membership.map(|seat| Change::DeleteSpaceMembership(seat.id));
        let binding = binding.map(|seat| Change::DeleteRoleBinding(seat.id));
        let changes: Vec<Change> = membership.into_iter().chain(binding).collect();
        if changes.is_empty() {
            return Err(Refusal::NotFound(Kind::SpaceMembership));
        }
        if seats::gives_fallback(state, self.user, self.space)
            && !state.allows(context, Permission::RoleBindingCreate, self.space)
        {
            return Err(Refusal::Forbidden(Forbidden::GivesFallback));
        }
        Ok(Decided {
            changes,
            outcome: (),
        })
    }
}

fn check_name(
    state: &State,
    organization: OrganizationId,
    name: &Name,
    own: Option<SpaceId>,
) -> Result<(), Refusal> {
    match state.spaces_by_name.get(&(organization, name.clone())) {
        Some(holder) if Some(*holder) != own => {
            Err(Refusal::Conflict(Conflict::NameTaken(Kind::Space)))
        }
        Some(_) | None => Ok(()),
    }
}
