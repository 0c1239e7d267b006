//! Lists: pages of what a caller may see.
//!
//! Account admins walk the tables; for others candidates are enumerated by their [`Reach`](super::reach::Reach), in the order of
//! ids from behind the cursor, and decided like everything else. So a page costs what the caller can reach, the places they
//! have roles in plus the things on the page, and not what there is. Filters are the exception: what they leave out is
//! looked at.

use std::sync::Arc;

use imbl::OrdMap;

use super::{KeyFilter, Page, ProjectFilter, Slice, Substring, UserFilter};
use crate::api_key::ApiKey;
use crate::command::Context;
use crate::id::{
    ApiKeyId, Id, Kind, OrganizationId, ProjectId, RoleBindingId, RoleId, SpaceId, UserId,
};
use crate::listing::{Candidates, KeyKind, Marked, Openness, Privacy, Validity, under};
use crate::permission::Permission;
use crate::place::{Organization, Project, Restriction, Space};
use crate::refusal::{Forbidden, Refusal};
use crate::resource::{BindableKind, Resource};
use crate::role::{AnyRole, PredefinedRole};
use crate::role_binding::RoleBinding;
use crate::state::State;
use crate::user::User;

impl State {
    /// Bindings of one kind that the caller may read, of one user if wanted. Who may read none gets none.
    ///
    /// Of one user, a page looks at that user's bindings of the kind at the most, readable or not.
    pub fn role_bindings(
        &self,
        context: &Context,
        kind: BindableKind,
        of: Option<UserId>,
        slice: Slice<RoleBindingId>,
    ) -> Result<Page<RoleBinding>, Refusal> {
        if let Some(user) = of {
            self.live_user(user)?;
        }
        let readable = |binding: &RoleBinding| {
            self.allows(context, Permission::RoleBindingRead, binding.resource)
        };
        let after = slice.after.unwrap_or(RoleBindingId::NOBODY);
        let bindings: Box<dyn Iterator<Item = RoleBinding>> = match of {
            Some(user) => match kind {
                BindableKind::Space => {
                    let ids = self.space_bindings.ids_of(user, after);
                    Box::new(ids.filter_map(|id| self.role_binding(id)))
                }
                BindableKind::Project => {
                    let ids = self.project_bindings.ids_of(user, after);
                    Box::new(ids.filter_map(|id| self.role_binding(id)))
                }
            },
            None if self.is_account_admin(context) => match kind {
                BindableKind::Space => Box::new(self.space_bindings.behind(after)),
                BindableKind::Project => Box::new(self.project_bindings.behind(after)),
            },
            None => {
                let mut candidates = slice.candidates();
                self.add_readable_bindings(context, kind, &mut candidates);
                let ids = candidates.merged();
                Box::new(ids.filter_map(|id| self.role_binding(id)))
            }
        };
        Ok(slice.page(bindings.filter(readable)))
    }

    fn add_readable_bindings<'a>(
        &'a self,
        context: &Context,
        kind: BindableKind,
        candidates: &mut Candidates<'a, RoleBindingId>,
    ) {
        let reach = self.reach(context, Permission::RoleBindingRead);
        let index = &self.listing;
        let of_organization = match kind {
            BindableKind::Space => self.space_bindings.by_organization(),
            BindableKind::Project => self.project_bindings.by_organization(),
        };
        for organization in &reach.whole_organizations {
            candidates.add(of_organization, *organization);
        }
        let public_spaces = self.public_spaces_of(&reach.fallback_organizations);
        let held_spaces = reach.held_spaces.iter().copied().chain(public_spaces);
        match kind {
            BindableKind::Space => {
                let bindings = self.space_bindings.by_resource();
                for space in reach.whole_spaces.iter().copied().chain(held_spaces) {
                    candidates.add(bindings, space);
                }
            }
            BindableKind::Project => {
                let bindings = &index.project_bindings_of_space;
                for space in &reach.whole_spaces {
                    candidates.add(bindings, (*space, Marked::Open));
                    candidates.add(bindings, (*space, Marked::Restricted));
                }
                for space in held_spaces {
                    candidates.add(bindings, (space, Marked::Open));
                }
                let bindings = &self.project_bindings;
                for project in bindings.bound_by(context.user(), ProjectId::NOBODY) {
                    if self.allows(context, Permission::RoleBindingRead, project) {
                        candidates.add(bindings.by_resource(), project);
                    }
                }
            }
        }
    }

    /// All roles: predefined ones first, then custom ones, oldest first.
    pub fn roles(
        &self,
        context: &Context,
        is_predefined: Option<bool>,
        slice: Slice<RoleId>,
    ) -> Result<Page<AnyRole<'_>>, Refusal> {
        self.authorize(context, Permission::RoleRead, Resource::Account)?;
        // Custom ids lie above predefined ones, so the order by id is the order that is promised.
        let predefined = PredefinedRole::all()
            .filter(|(id, role)| role.listed && slice.after.is_none_or(|after| *id > after))
            .map(|(id, role)| AnyRole::Predefined(id, role))
            .filter(|_| is_predefined != Some(false));
        let custom = slice
            .of(&self.roles)
            .take_while(|_| is_predefined != Some(true))
            .map(|(_, role)| AnyRole::Custom(role));
        Ok(slice.page(predefined.chain(custom)))
    }

    /// Restrictions that the caller may manage. Filtered before paging, so pages are full.
    pub fn restrictions(&self, context: &Context, slice: Slice<ProjectId>) -> Page<Restriction> {
        let manageable = |restriction: &Restriction| {
            self.allows(context, Permission::ProjectRestrict, restriction.project)
        };
        if self.is_account_admin(context) {
            let all = slice.of(&self.restrictions).map(|(_, one)| *one);
            return slice.page(all.filter(manageable));
        }
        let mut candidates = slice.candidates();
        let (index, reach) = (
            &self.listing,
            self.reach(context, Permission::ProjectRestrict),
        );
        for organization in &reach.whole_organizations {
            let prefix = (*organization, Openness::Restricted);
            candidates.add(&index.projects_of_organization, prefix);
        }
        let public_spaces = self.public_spaces_of(&reach.fallback_organizations);
        let spaces = reach.whole_spaces.iter().chain(&reach.held_spaces);
        for space in spaces.copied().chain(public_spaces) {
            candidates.add(&index.projects_of_space, (space, Marked::Restricted));
        }
        let user = context.user();
        candidates.add_found(|after| self.project_bindings.bound_by(user, after));
        let restrictions = candidates.merged().filter_map(|id| self.restriction(id));
        slice.page(restrictions.filter(manageable))
    }

    /// People, oldest first; the gone and the bots are left out.
    ///
    /// A page looks at the people from its beginning on until it is full, so with a filter that matches nothing at all of them.
    pub fn users(
        &self,
        context: &Context,
        filter: &UserFilter,
        slice: Slice<UserId>,
    ) -> Result<Page<&User>, Refusal> {
        self.authorize(context, Permission::UserRead, Resource::Account)?;
        let wanted = |user: &&User| {
            user.status(context.now).is_some_and(|status| {
                filter.statuses.is_empty() || filter.statuses.contains(&status)
            })
        };
        let people = named(&self.listing.people, &filter.email, slice)
            .filter_map(|id| self.user(id))
            .map(AsRef::as_ref)
            .filter(wanted);
        Ok(slice.page(people))
    }

    /// Organizations that the caller may see.
    pub fn organizations(
        &self,
        context: &Context,
        name: &Substring,
        slice: Slice<OrganizationId>,
    ) -> Page<&Organization> {
        let names = &self.listing.organization_names;
        let ids = if self.is_account_admin(context) {
            named(names, name, slice)
        } else {
            let mut candidates = slice.candidates();
            candidates.add(&self.organizations_of_user, context.user());
            named_among(names, name, candidates)
        };
        slice.page(ids.filter_map(|id| self.visible_organization(context, id).ok()))
    }

    /// Spaces that the caller may see, of one organization if wanted.
    pub fn spaces(
        &self,
        context: &Context,
        of: Option<OrganizationId>,
        name: &Substring,
        slice: Slice<SpaceId>,
    ) -> Result<Page<&Space>, Refusal> {
        if let Some(organization) = of {
            self.visible_organization(context, organization)?;
        }
        let names = &self.listing.space_names;
        let ids = if of.is_none() && self.is_account_admin(context) {
            named(names, name, slice)
        } else {
            let mut candidates = slice.candidates();
            self.add_spaces(context, of, &mut candidates);
            named_among(names, name, candidates)
        };
        Ok(slice.page(ids.filter_map(|id| self.visible_space(context, id).ok())))
    }

    fn add_spaces<'a>(
        &'a self,
        context: &Context,
        of: Option<OrganizationId>,
        candidates: &mut Candidates<'a, SpaceId>,
    ) {
        let (user, index) = (context.user(), &self.listing);
        let spaces = &index.spaces_of_organization;
        let reach = self.reach(context, Permission::SpaceRead);
        let admin_of = of.filter(|of| self.admin_grant(context, *of).is_some());
        let whole = match of {
            Some(_) => admin_of.as_slice(),
            None => &reach.whole_organizations,
        };
        for organization in whole {
            for privacy in Privacy::ALL {
                candidates.add(spaces, (*organization, privacy));
            }
        }
        let is_wanted = move |organization| of.is_none_or(|of| of == organization);
        let fallback = reach.fallback_organizations.iter().copied();
        for organization in fallback.filter(|id| is_wanted(*id)) {
            candidates.add(spaces, (organization, Privacy::Public));
        }
        // Who has a seat sees the space, whatever the role.
        let lies_there = move |id| {
            of.is_none()
                || self
                    .space(id)
                    .is_some_and(|space| is_wanted(space.organization))
        };
        candidates.add_found(|after| {
            let seats = under(&self.spaces_of_user, user, after);
            seats.filter(move |id| lies_there(*id))
        });
        candidates.add_found(|after| {
            let bound = self.space_bindings.bound_by(user, after);
            bound.filter(move |id| lies_there(*id))
        });
    }

    /// API keys, oldest first (`docs/rules/authorization.md` §10, `list_api_keys`).
    ///
    /// User keys are their owner's, and account admins'. Service keys are listed by the space they have a place in, for
    /// whoever may read service keys there, or without a space by who made them. Of a space, a page looks at the keys
    /// of that space at the most. An expired key is in neither list: it is not valid, and nobody has revoked it.
    pub fn keys(
        &self,
        context: &Context,
        filter: &KeyFilter,
        slice: Slice<ApiKeyId>,
    ) -> Result<Page<&ApiKey>, Refusal> {
        let of = if let Some(space) = filter.space {
            self.visible_space(context, space)?;
            self.authorize(context, Permission::ServiceKeyRead, space)?;
            filter.user
        } else {
            let of = filter.user.unwrap_or(context.user());
            if of != context.user() && !self.is_account_admin(context) {
                return Err(Refusal::Forbidden(Forbidden::NotAccountAdmin));
            }
            Some(of)
        };
        if let Some(user) = of {
            // Service keys outlive their creator, and account admins have to find them.
            let is_gone = self.live_user(user).is_err();
            if is_gone && !(self.is_account_admin(context) && self.user(user).is_some()) {
                return Err(Refusal::NotFound(Kind::User));
            }
        }
        let mut candidates = slice.candidates();
        match (filter.space, of) {
            (Some(space), _) if filter.is_revoked => {
                candidates.add(&self.listing.revoked_keys_of_space, space);
            }
            (Some(space), _) => candidates.add(&self.listing.service_keys_of_space, space),
            // A user key is made by its owner, so its creator is its owner.
            (None, Some(creator)) => {
                let prefix = (creator, filter.kind, Validity::of(filter.is_revoked));
                candidates.add(&self.listing.keys_of_creator, prefix);
            }
            (None, None) => {}
        }
        let wanted = |key: &&ApiKey| {
            let is_such = if filter.is_revoked {
                key.is_revoked
            } else {
                key.is_alive(context.now)
            };
            is_such
                && KeyKind::of(key.owner) == filter.kind
                && of.is_none_or(|user| key.created_by == user)
        };
        let keys = candidates.merged().filter_map(|id| self.api_key(id));
        Ok(slice.page(keys.map(AsRef::as_ref).filter(wanted)))
    }

    /// Keys that are marked as enforcement points, oldest first; for account admins.
    pub fn enforcement_points(
        &self,
        context: &Context,
        slice: Slice<ApiKeyId>,
    ) -> Result<Page<&ApiKey>, Refusal> {
        if !self.is_account_admin(context) {
            return Err(Refusal::Forbidden(Forbidden::NotAccountAdmin));
        }
        let after = slice.after.unwrap_or(ApiKeyId::NOBODY);
        let marked = self.listing.enforcement_points.behind(after);
        let keys = marked.filter_map(|id| self.api_key(*id));
        Ok(slice.page(keys.map(AsRef::as_ref)))
    }

    /// Projects that the caller may read.
    ///
    /// A space to list is accepted if it is visible or holds a project that the caller can read: such a user can still
    /// resolve a project by name with the id of its space.
    pub fn projects(
        &self,
        context: &Context,
        filter: &ProjectFilter,
        slice: Slice<ProjectId>,
    ) -> Result<Page<&Project>, Refusal> {
        let visible = |id| self.visible_project(context, id).ok();
        if let Some(space) = filter.space
            && self.visible_space(context, space).is_err()
        {
            let mut all = Candidates::behind(ProjectId::NOBODY);
            self.add_projects_of(context, space, &mut all);
            if !all.merged().any(|id| visible(id).is_some()) {
                return Err(Refusal::NotFound(Kind::Space));
            }
        }
        let names = &self.listing.project_names;
        let ids = if filter.space.is_none() && self.is_account_admin(context) {
            named(names, &filter.name, slice)
        } else {
            let mut candidates = slice.candidates();
            match filter.space {
                Some(space) => self.add_projects_of(context, space, &mut candidates),
                None => self.add_projects(context, &mut candidates),
            }
            named_among(names, &filter.name, candidates)
        };
        let space_names = &self.listing.space_names;
        let in_space_named = |project: &&Project| {
            filter.space_name.is_everything()
                || space_names
                    .get(&project.space)
                    .is_some_and(|folded| filter.space_name.matches(folded))
        };
        Ok(slice.page(ids.filter_map(visible).filter(in_space_named)))
    }

    /// Candidates in one space.
    fn add_projects_of<'a>(
        &'a self,
        context: &Context,
        space: SpaceId,
        candidates: &mut Candidates<'a, ProjectId>,
    ) {
        let projects = &self.listing.projects_of_space;
        if self.admin_grant(context, space).is_some() {
            candidates.add(projects, (space, Marked::Open));
            candidates.add(projects, (space, Marked::Restricted));
            return;
        }
        if self.allows(context, Permission::ProjectRead, space) {
            candidates.add(projects, (space, Marked::Open));
        }
        let lies_there = move |id| self.project(id).is_some_and(|one| one.space == space);
        let user = context.user();
        candidates.add_found(|after| {
            let bound = self.project_bindings.bound_by(user, after);
            bound.filter(move |id| lies_there(*id))
        });
    }

    /// Candidates anywhere, for callers who aren't account admin.
    fn add_projects<'a>(&'a self, context: &Context, candidates: &mut Candidates<'a, ProjectId>) {
        let (index, reach) = (&self.listing, self.reach(context, Permission::ProjectRead));
        for organization in &reach.whole_organizations {
            for openness in Openness::ALL {
                let prefix = (*organization, openness);
                candidates.add(&index.projects_of_organization, prefix);
            }
        }
        for organization in &reach.fallback_organizations {
            let prefix = (*organization, Openness::Public);
            candidates.add(&index.projects_of_organization, prefix);
        }
        for space in &reach.whole_spaces {
            candidates.add(&index.projects_of_space, (*space, Marked::Open));
            candidates.add(&index.projects_of_space, (*space, Marked::Restricted));
        }
        for space in &reach.held_spaces {
            candidates.add(&index.projects_of_space, (*space, Marked::Open));
        }
        let user = context.user();
        candidates.add_found(|after| self.project_bindings.bound_by(user, after));
    }
}

/// What of all names matches, for whoever may see everything: one walk over folded texts.
///
/// With a filter that matches nothing, this is what a page costs: a look at every text, without an allocation.
fn named<'a, I: Id + 'a>(
    names: &'a OrdMap<I, Arc<str>>,
    wanted: &'a Substring,
    slice: Slice<I>,
) -> Box<dyn Iterator<Item = I> + 'a> {
    let matching = slice
        .of(names)
        .filter(|(_, folded)| wanted.matches(folded))
        .map(|(id, _)| *id);
    Box::new(matching)
}

/// Candidates whose name matches. With a filter that matches nothing, a page costs a look at each candidate.
fn named_among<'a, I: Id + 'a>(
    names: &'a OrdMap<I, Arc<str>>,
    wanted: &'a Substring,
    candidates: Candidates<'a, I>,
) -> Box<dyn Iterator<Item = I> + 'a> {
    let matches = |id: &I| {
        wanted.is_everything() || names.get(id).is_some_and(|folded| wanted.matches(folded))
    };
    Box::new(candidates.merged().filter(matches))
}
