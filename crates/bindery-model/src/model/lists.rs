//! What a caller may see, as lists of ids in the promised order: oldest first. A text filter matches a part,
//! ignoring case; the empty one matches all (`docs/rules/api.md` §5).

use bindery_core::api_key::KeyOwner;
use bindery_core::command::Context;
use bindery_core::id::{
    ApiKeyId, Id as _, Kind, OrganizationId, ProjectId, RoleBindingId, RoleId, SpaceId, UserId,
};
use bindery_core::permission::Permission;
use bindery_core::query::{KeyFilter, KeyKind};
use bindery_core::refusal::{Forbidden, Refusal};
use bindery_core::resource::{Bindable, BindableKind, Resource};
use bindery_core::role::PREDEFINED_ROLES;
use bindery_core::user::{Identity, Standing, UserStatus};

use super::Model;

impl Model {
    /// Bindings on resources where the caller has `ROLE_BINDING_READ`, optionally of one user; an unknown
    /// user → 404.
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

    /// People who aren't deleted, with this in their address and one of these statuses, or any; 403 without
    /// `USER_READ`.
    pub fn list_users(
        &self,
        context: &Context,
        email: &str,
        statuses: &[UserStatus],
    ) -> Result<Vec<UserId>, Refusal> {
        self.require(context, Permission::UserRead, Resource::Account)?;
        let mut ids = Vec::new();
        for user in &self.users {
            let status = match user.standing {
                Standing::Active => UserStatus::Active,
                Standing::Invited { until } if context.now < until => UserStatus::Invited,
                Standing::Invited { .. } => UserStatus::Expired,
                Standing::Inactive => continue,
            };
            let Identity::Human { email: address } = &user.identity else {
                continue;
            };
            let has_status = statuses.is_empty() || statuses.contains(&status);
            let is_visible = self.is_user_visible(context.user(), user.id, context.now);
            if has_status && has_part(address.as_str(), email) && is_visible {
                ids.push(user.id);
            }
        }
        Ok(ids)
    }

    /// The visible ones with this in their name.
    pub fn list_organizations(&self, context: &Context, name: &str) -> Vec<OrganizationId> {
        let mut ids = Vec::new();
        for organization in &self.organizations {
            let is_wanted = has_part(organization.name.as_str(), name);
            if is_wanted
                && self.is_organization_visible(context.user(), organization.id, context.now)
            {
                ids.push(organization.id);
            }
        }
        ids
    }

    /// The visible ones with this in their name, optionally of one organization; one that isn't visible →
    /// 404.
    pub fn list_spaces(
        &self,
        context: &Context,
        of: Option<OrganizationId>,
        name: &str,
    ) -> Result<Vec<SpaceId>, Refusal> {
        if let Some(organization) = of {
            self.see_organization(context, organization)?;
        }
        let mut ids = Vec::new();
        for space in &self.spaces {
            let is_inside = of.is_none() || of == Some(space.organization);
            let is_wanted = is_inside && has_part(space.name.as_str(), name);
            if is_wanted && self.is_space_visible(context.user(), space.id, context.now) {
                ids.push(space.id);
            }
        }
        Ok(ids)
    }

    /// The readable ones with this in their name and this in their space's, optionally of one space. The
    /// space must be visible or have a project that the caller can read, else 404.
    pub fn list_projects(
        &self,
        context: &Context,
        of: Option<SpaceId>,
        space_name: &str,
        name: &str,
    ) -> Result<Vec<ProjectId>, Refusal> {
        let mut readable = Vec::new();
        for project in &self.projects {
            let is_inside = of.is_none() || of == Some(project.space);
            if is_inside && self.is_project_visible(context.user(), project.id, context.now) {
                readable.push(project);
            }
        }
        if let Some(space) = of
            && readable.is_empty()
            && !self.is_space_visible(context.user(), space, context.now)
        {
            return Err(Refusal::NotFound(Kind::Space));
        }
        let mut ids = Vec::new();
        for project in readable {
            let is_in_such_a_space = self
                .space(project.space)
                .is_some_and(|space| has_part(space.name.as_str(), space_name));
            if is_in_such_a_space && has_part(project.name.as_str(), name) {
                ids.push(project.id);
            }
        }
        Ok(ids)
    }

    /// Keys of one kind, revoked or not. Without a space: those that `user` made, or the caller; of others
    /// only for account admins. With a space: those whose bots have it, for holders of `SERVICE_KEY_READ`,
    /// optionally of one creator.
    pub fn list_keys(
        &self,
        context: &Context,
        filter: &KeyFilter,
    ) -> Result<Vec<ApiKeyId>, Refusal> {
        let mut creator = filter.user;
        match filter.space {
            None => {
                let user = creator.unwrap_or(context.user());
                creator = Some(user);
                if user != context.user() && !self.is_account_admin(context.user(), context.now) {
                    return Err(Refusal::Forbidden(Forbidden::NotAccountAdmin));
                }
            }
            Some(space) => {
                if !self.is_space_visible(context.user(), space, context.now) {
                    return Err(Refusal::NotFound(Kind::Space));
                }
                self.require(context, Permission::ServiceKeyRead, space)?;
            }
        }
        if let Some(user) = creator {
            let is_there = match self.user(user).map(|user| user.standing) {
                None => false,
                Some(Standing::Inactive) => self.is_account_admin(context.user(), context.now),
                Some(_) => true,
            };
            if !is_there {
                return Err(Refusal::NotFound(Kind::User));
            }
        }
        let mut ids = Vec::new();
        for key in &self.api_keys {
            let (kind, spaces) = match key.owner {
                KeyOwner::User(_) => (KeyKind::User, Vec::new()),
                KeyOwner::Service(_) => (KeyKind::Service, self.spaces_of_key(key)),
            };
            let is_in_space = match filter.space {
                None => true,
                Some(space) => spaces.contains(&space),
            };
            let is_theirs = creator.is_none() || creator == Some(key.created_by);
            // `ACTIVE` lists "only keys that are valid for use", so an expired key is in neither list.
            let is_in_list = if filter.is_revoked {
                key.is_revoked
            } else {
                self.is_key_alive(key.id, context.now)
            };
            let is_such = kind == filter.kind && is_in_list;
            if is_such && is_in_space && is_theirs {
                ids.push(key.id);
            }
        }
        Ok(ids)
    }
}

fn has_part(text: &str, part: &str) -> bool {
    text.to_lowercase().contains(&part.to_lowercase())
}
