//! What a caller may see, as lists of ids in the order that is promised: oldest first.

use bindery_core::command::Context;
use bindery_core::id::{
    Id as _, Kind, OrganizationId, ProjectId, RoleBindingId, RoleId, SpaceId, UserId,
};
use bindery_core::permission::Permission;
use bindery_core::refusal::Refusal;
use bindery_core::resource::{Bindable, BindableKind, Resource};
use bindery_core::role::PREDEFINED_ROLES;

use super::Model;

impl Model {
    /// Bindings on resources where the caller has `ROLE_BINDING_READ`, perhaps of one user; an unknown user → 404.
    pub fn list_role_bindings(
        &self,
        context: &Context,
        kind: BindableKind,
        of: Option<UserId>,
    ) -> Result<Vec<RoleBindingId>, Refusal> {
        if let Some(user) = of {
            self.live_user(user)?;
        }
        let mut ids = Vec::new();
        for binding in &self.role_bindings {
            let is_wanted = match binding.resource {
                Bindable::Space(_) => kind == BindableKind::Space,
                Bindable::Project(_) => kind == BindableKind::Project,
            };
            let is_theirs = of.is_none() || of == Some(binding.user);
            let is_readable = self.can(context, Permission::RoleBindingRead, binding.resource);
            if is_wanted && is_theirs && is_readable {
                ids.push(binding.id);
            }
        }
        ids.sort_unstable();
        Ok(ids)
    }

    /// Predefined roles first, then custom ones; 403 without `ROLE_READ`.
    pub fn list_roles(
        &self,
        context: &Context,
        is_predefined: Option<bool>,
    ) -> Result<Vec<RoleId>, Refusal> {
        self.require(context, Permission::RoleRead, Resource::Account)?;
        let mut ids = Vec::new();
        if is_predefined != Some(false) {
            for (role, number) in PREDEFINED_ROLES.iter().zip(1..) {
                if role.listed {
                    ids.push(RoleId::from_number(number));
                }
            }
        }
        if is_predefined != Some(true) {
            ids.extend(self.roles.iter().map(|role| role.id));
        }
        Ok(ids)
    }

    /// Restrictions of projects on which the caller has `PROJECT_RESTRICT`, by project.
    pub fn list_restrictions(&self, context: &Context) -> Vec<ProjectId> {
        let mut ids = Vec::new();
        for restriction in &self.restrictions {
            if self.can(context, Permission::ProjectRestrict, restriction.project) {
                ids.push(restriction.project);
            }
        }
        ids.sort_unstable();
        ids
    }

    /// People who aren't gone; 403 without `USER_READ`.
    pub fn list_users(&self, context: &Context) -> Result<Vec<UserId>, Refusal> {
        self.require(context, Permission::UserRead, Resource::Account)?;
        let mut ids = Vec::new();
        for user in &self.users {
            if self.is_user_visible(context.user(), user.id, context.now) {
                ids.push(user.id);
            }
        }
        Ok(ids)
    }

    /// The visible ones.
    pub fn list_organizations(&self, context: &Context) -> Vec<OrganizationId> {
        let mut ids = Vec::new();
        for organization in &self.organizations {
            if self.is_organization_visible(context.user(), organization.id, context.now) {
                ids.push(organization.id);
            }
        }
        ids
    }

    /// The visible ones, perhaps of one organization; one that isn't visible → 404.
    pub fn list_spaces(
        &self,
        context: &Context,
        of: Option<OrganizationId>,
    ) -> Result<Vec<SpaceId>, Refusal> {
        if let Some(organization) = of {
            self.see_organization(context, organization)?;
        }
        let mut ids = Vec::new();
        for space in &self.spaces {
            let is_inside = of.is_none() || of == Some(space.organization);
            if is_inside && self.is_space_visible(context.user(), space.id, context.now) {
                ids.push(space.id);
            }
        }
        Ok(ids)
    }

    /// The readable ones, perhaps of one space; that must be visible or hold a project that the caller can read, else 404.
    pub fn list_projects(
        &self,
        context: &Context,
        of: Option<SpaceId>,
    ) -> Result<Vec<ProjectId>, Refusal> {
        let mut ids = Vec::new();
        for project in &self.projects {
            let is_inside = of.is_none() || of == Some(project.space);
            if is_inside && self.is_project_visible(context.user(), project.id, context.now) {
                ids.push(project.id);
            }
        }
        if let Some(space) = of
            && ids.is_empty()
            && !self.is_space_visible(context.user(), space, context.now)
        {
            return Err(Refusal::NotFound(Kind::Space));
        }
        Ok(ids)
    }
}
