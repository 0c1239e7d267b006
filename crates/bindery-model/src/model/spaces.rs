//! Spaces and their members (`docs/rules/operations.md`, `docs/rules/authorization.md` §4).

use bindery_core::command::spaces::{
    AddSpaceUser, CreateSpace, DeleteSpace, RemoveSpaceUser, UpdateSpace,
};
use bindery_core::command::{Assignment, Context};
use bindery_core::given::{GivenAt, Giver};
use bindery_core::id::{Kind, OrganizationId, RoleId, SpaceId, UserId};
use bindery_core::permission::{Permission, PermissionSet};
use bindery_core::place::{Space, SpaceSettings};
use bindery_core::refusal::{Conflict, Forbidden, Invalid, Refusal};
use bindery_core::resource::{Bindable, Level};
use bindery_core::role::{AccountRole, OrganizationRole, SpaceRole};
use bindery_core::role_binding::RoleBinding;
use bindery_core::text::Name;
use bindery_core::user::SpaceMembership;

use super::decision::named;
use super::organizations::check_annotator;
use super::{Model, is_human};

impl Model {
    pub(super) fn create_space(
        &mut self,
        context: &Context,
        command: &CreateSpace,
    ) -> Result<(), Refusal> {
        self.see_organization(context, command.organization)?;
        self.require(context, Permission::SpaceCreate, command.organization)?;
        self.check_space_name(command.organization, &command.name, None)?;
        let id = self.next();
        self.spaces.push(Space {
            id,
            organization: command.organization,
            name: command.name.clone(),
            description: command.description.clone(),
            is_private: command.is_private,
            created_at: context.now,
            settings: SpaceSettings::default(),
        });
        // The creator becomes space admin, unless account or organization admin.
        if !self.is_organization_admin(context.user(), command.organization, context.now) {
            let membership = SpaceMembership {
                id: self.next(),
                user: context.user(),
                space: id,
                role: SpaceRole::Admin,
                given_by: Giver::UNKNOWN,
                given_at: GivenAt::UNKNOWN,
            };
            self.space_memberships.push(membership);
        }
        Ok(())
    }

    pub(super) fn update_space(
        &mut self,
        context: &Context,
        command: &UpdateSpace,
    ) -> Result<(), Refusal> {
        self.see_space(context, command.space)?;
        self.require(context, Permission::SpaceUpdate, command.space)?;
        let organization = self.space(command.space).map(|space| space.organization);
        if let (Some(name), Some(organization)) = (&command.name, organization) {
            self.check_space_name(organization, name, Some(command.space))?;
        }
        for space in &mut self.spaces {
            if space.id == command.space {
                change_space(space, command);
            }
        }
        Ok(())
    }

    pub(super) fn delete_space(
        &mut self,
        context: &Context,
        command: &DeleteSpace,
    ) -> Result<(), Refusal> {
        self.see_space(context, command.space)?;
        self.require(context, Permission::SpaceDelete, command.space)?;
        self.drop_space(command.space);
        Ok(())
    }

    pub(super) fn add_space_user(
        &mut self,
        context: &Context,
        command: &AddSpaceUser,
    ) -> Result<(), Refusal> {
        self.see_space(context, command.space)?;
        match command.role {
            Assignment::Predefined(_) => {
                if !self.is_space_admin(context.user(), command.space, context.now) {
                    return Err(Refusal::Forbidden(Forbidden::NotSpaceAdmin));
                }
            }
            Assignment::Custom(_) => {
                self.require(context, Permission::RoleBindingCreate, command.space)?;
            }
        }
        let user = self.live_user(command.user)?;
        if let Assignment::Custom(role) = command.role {
            self.find_role(role)?;
        }
        let organization = self.space(command.space).map(|space| space.organization);
        let is_member =
            organization.is_some_and(|id| self.organization_membership(command.user, id).is_some());
        if !is_member {
            return Err(Refusal::Invalid(Invalid::NotInOrganization));
        }
        match command.role {
            Assignment::Predefined(role) => {
                check_annotator(user.account_role, role == SpaceRole::Annotator)?;
                self.seat(command, role);
            }
            Assignment::Custom(role) => {
                check_annotator(user.account_role, role == SpaceRole::Annotator.role())?;
                let on = Bindable::Space(command.space);
                let loses_binding =
                    (self.binding_on(user.id, on)).is_some_and(|binding| binding.role != role);
                if self.space_membership(user.id, command.space).is_some()
                    || loses_binding
                    || self.loses_fallback(user.id, command.space, role)
                {
                    self.require_removing(context, command.space)?;
                }
                self.bind(context, command, role);
            }
        }
        Ok(())
    }

    /// PREDEFINED: writes the membership, deletes a binding of the user on that space.
    fn seat(&mut self, command: &AddSpaceUser, role: SpaceRole) {
        let AddSpaceUser { space, user, .. } = *command;
        let on = Bindable::Space(space);
        self.role_bindings
            .retain(|binding| binding.user != user || binding.resource != on);
        for membership in &mut self.space_memberships {
            if membership.user == user && membership.space == space {
                membership.role = role;
                return;
            }
        }
        let id = self.next();
        self.space_memberships.push(SpaceMembership {
            id,
            user,
            space,
            role,
            given_by: Giver::UNKNOWN,
            given_at: GivenAt::UNKNOWN,
        });
    }

    /// CUSTOM: creates or updates the binding, deletes the predefined membership.
    fn bind(&mut self, context: &Context, command: &AddSpaceUser, role: RoleId) {
        let AddSpaceUser { space, user, .. } = *command;
        let on = Bindable::Space(space);
        self.space_memberships
            .retain(|one| one.user != user || one.space != space);
        if let Some(binding) = self.binding_on(user, on) {
            let id = binding.id;
            self.give_role(id, role, context.now);
            return;
        }
        let id = self.next();
        self.role_bindings.push(RoleBinding {
            id,
            user,
            resource: on,
            role,
            created_at: context.now,
            updated_at: context.now,
            given_by: Giver::UNKNOWN,
        });
    }

    pub(super) fn remove_space_user(
        &mut self,
        context: &Context,
        command: &RemoveSpaceUser,
    ) -> Result<(), Refusal> {
        let RemoveSpaceUser { space, user } = *command;
        self.see_space(context, space)?;
        if !self.is_space_admin(context.user(), space, context.now)
            && !self.can(context, Permission::RoleBindingDelete, space)
        {
            return Err(Refusal::Forbidden(Forbidden::NotSpaceAdmin));
        }
        let on = Bindable::Space(space);
        if self.space_membership(user, space).is_none() && self.binding_on(user, on).is_none() {
            return Err(Refusal::NotFound(Kind::SpaceMembership));
        }
        if self.gains_fallback(user, space)
            && !self.can(context, Permission::RoleBindingCreate, space)
        {
            return Err(Refusal::Forbidden(Forbidden::GivesFallback));
        }
        self.space_memberships
            .retain(|one| one.user != user || one.space != space);
        self.role_bindings
            .retain(|one| one.user != user || one.resource != on);
        Ok(())
    }

    /// Taking something away needs the right to remove it.
    pub(super) fn require_removing(
        &self,
        context: &Context,
        space: SpaceId,
    ) -> Result<(), Refusal> {
        if self.can(context, Permission::RoleBindingDelete, space) {
            Ok(())
        } else {
            Err(Refusal::Forbidden(Forbidden::TakesAway))
        }
    }

    /// The rights of a person without a seat in a public space (`docs/rules/authorization.md` §3); none for
    /// admins above it.
    fn fallback(&self, user: UserId, space: SpaceId) -> PermissionSet {
        let Some(space) = self.space(space) else {
            return PermissionSet::EMPTY;
        };
        let role = self.organization_membership(user, space.organization);
        match (self.user(user), role.map(|one| one.role)) {
            (Some(user), Some(role))
                if !space.is_private
                    && is_human(user)
                    && user.account_role != AccountRole::Admin
                    && role != OrganizationRole::Admin =>
            {
                named("SPACE", role.name())
            }
            _ => PermissionSet::EMPTY,
        }
    }

    /// Whether a person without a seat has more than this role gives, which would replace it.
    pub(super) fn loses_fallback(&self, user: UserId, space: SpaceId, role: RoleId) -> bool {
        let has_seat = self.space_membership(user, space).is_some()
            || self.binding_on(user, Bindable::Space(space)).is_some();
        let given = self.permissions_of(role);
        !has_seat && has_more(self.fallback(user, space), given)
    }

    /// Whether a person has more without their seat than with it.
    pub(super) fn gains_fallback(&self, user: UserId, space: SpaceId) -> bool {
        let mut held = PermissionSet::EMPTY;
        if let Some(one) = self.space_membership(user, space) {
            held = held.union(named("SPACE", one.role.name()));
        }
        if let Some(one) = self.binding_on(user, Bindable::Space(space)) {
            held = held.union(self.permissions_of(one.role));
        }
        has_more(self.fallback(user, space), held)
    }

    /// Space not visible → 404.
    pub(super) fn see_space(&self, context: &Context, id: SpaceId) -> Result<(), Refusal> {
        if self.is_space_visible(context.user(), id, context.now) {
            Ok(())
        } else {
            Err(Refusal::NotFound(Kind::Space))
        }
    }

    fn check_space_name(
        &self,
        organization: OrganizationId,
        name: &Name,
        own: Option<SpaceId>,
    ) -> Result<(), Refusal> {
        for space in &self.spaces {
            if space.organization == organization && space.name == *name && Some(space.id) != own {
                return Err(Refusal::Conflict(Conflict::NameTaken(Kind::Space)));
            }
        }
        Ok(())
    }
}

/// Whether the first set has a permission that means something in a space and is not in the second.
fn has_more(first: PermissionSet, second: PermissionSet) -> bool {
    Permission::ALL.into_iter().any(|permission| {
        permission.lowest_level() <= Level::Space
            && first.contains(permission)
            && !second.contains(permission)
    })
}

fn change_space(space: &mut Space, command: &UpdateSpace) {
    if let Some(name) = &command.name {
        space.name = name.clone();
    }
    if let Some(description) = &command.description {
        space.description = description.clone();
    }
    if let Some(is_private) = command.is_private {
        space.is_private = is_private;
    }
    let settings = &mut space.settings;
    if let Some(integration) = &command.default_llm_integration {
        settings.default_llm_integration.clone_from(integration);
    }
    if let Some(runtime) = &command.default_agent_runtime {
        settings.default_agent_runtime.clone_from(runtime);
    }
    if let Some(is_enabled) = command.ml_models_enabled {
        settings.ml_models_enabled = Some(is_enabled);
    }
    if let Some(color) = &command.gradient_start_color {
        settings.gradient_start_color = Some(color.clone());
    }
    if let Some(color) = &command.gradient_end_color {
        settings.gradient_end_color = Some(color.clone());
    }
}
