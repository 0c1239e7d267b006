//! Lists: pages of what a caller may see.
//!
//! Account admins walk the tables; for others candidates are enumerated by their [`Reach`](super::reach::Reach), in the order of
//! ids from behind the cursor, and decided like everything else. So a page costs what the caller can reach, the places they
//! have roles in plus the things on the page, and not what there is. Filters are the exception: what they leave out is
//! looked at.
//!
//! Of past data, candidates are looked for where today's rights reach, under whatever mark things had then.

use std::sync::Arc;

use imbl::OrdMap;

use super::{KeyFilter, Page, ProjectFilter, Reader, Slice, Substring, UserFilter};
use crate::api_key::ApiKey;
use crate::id::{
    ApiKeyId, Id, Kind, OrganizationId, ProjectId, RoleBindingId, RoleId, SpaceId, UserId,
};
use crate::listing::{Candidates, KeyKind, Marked, Openness, Privacy, Validity, under};
use crate::permission::Permission;
use crate::place::{Organization, Project, Restriction, Space};
use crate::refusal::{Forbidden, Refusal};
use crate::resource::{BindableKind, Level, Resource};
use crate::role::{AnyRole, PredefinedRole};
use crate::role_binding::RoleBinding;
use crate::user::User;

impl<'a> Reader<'a> {
    /// Bindings of one kind that the caller may read, of one user if wanted. Who may read none gets none.
    ///
    /// Of one user, a page looks at that user's bindings of the kind at the most, readable or not.
    pub fn role_bindings(
        &self,
        kind: BindableKind,
        of: Option<UserId>,
        slice: Slice<RoleBindingId>,
    ) -> Result<Page<RoleBinding>, Refusal> {
        if let Some(user) = of {
            self.live_user(user).ok_or(Refusal::NotFound(Kind::User))?;
        }
        let readable =
            |binding: &RoleBinding| self.may(Permission::RoleBindingRead, binding.resource);
        let data = self.data;
        let after = slice.after.unwrap_or(RoleBindingId::NOBODY);
        let bindings: Box<dyn Iterator<Item = RoleBinding>> = match of {
            Some(user) => match kind {
                BindableKind::Space => {
                    let ids = data.space_bindings.ids_of(user, after);
                    Box::new(ids.filter_map(|id| data.role_binding(id)))
                }
                BindableKind::Project => {
                    let ids = data.project_bindings.ids_of(user, after);
                    Box::new(ids.filter_map(|id| data.role_binding(id)))
                }
            },
            None if self.sees_everything() => match kind {
                BindableKind::Space => Box::new(data.space_bindings.behind(after)),
                BindableKind::Project => Box::new(data.project_bindings.behind(after)),
            },
            None => {
                let mut candidates = slice.candidates();
                self.add_readable_bindings(kind, &mut candidates);
                let ids = candidates.merged();
                Box::new(ids.filter_map(|id| data.role_binding(id)))
            }
        };
        Ok(slice.page(bindings.filter(readable)))
    }

    fn add_readable_bindings(
        &self,
        kind: BindableKind,
        candidates: &mut Candidates<'a, RoleBindingId>,
    ) {
        let (rights, data) = (self.rights, self.data);
        let reach = rights.reach(&self.context, Permission::RoleBindingRead);
        let index = &data.listing;
        let of_organization = match kind {
            BindableKind::Space => data.space_bindings.by_organization(),
            BindableKind::Project => data.project_bindings.by_organization(),
        };
        for organization in &reach.whole_organizations {
            candidates.add(of_organization, *organization);
        }
        let public_spaces = rights.public_spaces_of(&reach.fallback_organizations);
        let held_spaces = reach.held_spaces.iter().copied().chain(public_spaces);
        match kind {
            BindableKind::Space => {
                let bindings = data.space_bindings.by_resource();
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
                    for mark in self.marks_of_open() {
                        candidates.add(bindings, (space, *mark));
                    }
                }
                let (user, own) = (self.context.user(), &rights.project_bindings);
                for project in own.bound_by(user, ProjectId::NOBODY) {
                    if self.may(Permission::RoleBindingRead, project) {
                        candidates.add(data.project_bindings.by_resource(), project);
                    }
                }
            }
        }
    }

    /// All roles: predefined ones first, then custom ones, oldest first.
    pub fn roles(
        &self,
        is_predefined: Option<bool>,
        slice: Slice<RoleId>,
    ) -> Result<Page<AnyRole<'a>>, Refusal> {
        self.rights
            .authorize(&self.context, Permission::RoleRead, Resource::Account)?;
        // Custom ids lie above predefined ones, so the order by id is the order that is promised.
        let predefined = PredefinedRole::all()
            .filter(|(id, role)| role.listed && slice.after.is_none_or(|after| *id > after))
            .map(|(id, role)| AnyRole::Predefined(id, role))
            .filter(|_| is_predefined != Some(false));
        let custom = slice
            .of(&self.data.roles)
            .take_while(|_| is_predefined != Some(true))
            .map(|(_, role)| AnyRole::Custom(role));
        Ok(slice.page(predefined.chain(custom)))
    }

    /// Restrictions that the caller may manage. Filtered before paging, so pages are full.
    pub fn restrictions(&self, slice: Slice<ProjectId>) -> Page<Restriction> {
        let manageable =
            |restriction: &Restriction| self.may(Permission::ProjectRestrict, restriction.project);
        let (rights, data) = (self.rights, self.data);
        if self.sees_everything() {
            let all = slice.of(&data.restrictions).map(|(_, one)| *one);
            return slice.page(all.filter(manageable));
        }
        let mut candidates = slice.candidates();
        let index = &data.listing;
        let reach = rights.reach(&self.context, Permission::ProjectRestrict);
        for organization in &reach.whole_organizations {
            let prefix = (*organization, Openness::Restricted);
            candidates.add(&index.projects_of_organization, prefix);
        }
        let public_spaces = rights.public_spaces_of(&reach.fallback_organizations);
        let spaces = reach.whole_spaces.iter().chain(&reach.held_spaces);
        for space in spaces.copied().chain(public_spaces) {
            candidates.add(&index.projects_of_space, (space, Marked::Restricted));
        }
        let user = self.context.user();
        candidates.add_found(|after| rights.project_bindings.bound_by(user, after));
        let restrictions = candidates.merged().filter_map(|id| data.restriction(id));
        slice.page(restrictions.filter(manageable))
    }

    /// People, oldest first; the gone and the bots are left out.
    ///
    /// A page looks at the people from its beginning on until it is full, so with a filter that matches nothing at all of them.
    pub fn users(
        &self,
        filter: &UserFilter,
        slice: Slice<UserId>,
    ) -> Result<Page<&'a User>, Refusal> {
        self.rights
            .authorize(&self.context, Permission::UserRead, Resource::Account)?;
        let wanted = |user: &&User| {
            user.status(self.moment).is_some_and(|status| {
                filter.statuses.is_empty() || filter.statuses.contains(&status)
            })
        };
        let people = named(&self.data.listing.people, &filter.email, slice)
            .filter_map(|id| self.live_user(id))
            .filter(wanted);
        Ok(slice.page(people))
    }

    /// Organizations that the caller may see.
    pub fn organizations(
        &self,
        name: &Substring,
        slice: Slice<OrganizationId>,
    ) -> Page<&'a Organization> {
        let names = &self.data.listing.organization_names;
        let ids = if self.sees_everything() {
            named(names, name, slice)
        } else {
            let mut candidates = slice.candidates();
            candidates.add(&self.rights.organizations_of_user, self.context.user());
            named_among(names, name, candidates)
        };
        slice.page(ids.filter_map(|id| self.visible_organization(id).ok()))
    }

    /// Spaces that the caller may see, of one organization if wanted.
    pub fn spaces(
        &self,
        of: Option<OrganizationId>,
        name: &Substring,
        slice: Slice<SpaceId>,
    ) -> Result<Page<&'a Space>, Refusal> {
        if let Some(organization) = of {
            self.visible_organization(organization)?;
        }
        let names = &self.data.listing.space_names;
        let ids = if of.is_none() && self.sees_everything() {
            named(names, name, slice)
        } else {
            let mut candidates = slice.candidates();
            self.add_spaces(of, &mut candidates);
            named_among(names, name, candidates)
        };
        Ok(slice.page(ids.filter_map(|id| self.visible_space(id).ok())))
    }

    fn add_spaces(&self, of: Option<OrganizationId>, candidates: &mut Candidates<'a, SpaceId>) {
        let (rights, data) = (self.rights, self.data);
        let (user, spaces) = (self.context.user(), &data.listing.spaces_of_organization);
        let reach = rights.reach(&self.context, Permission::SpaceRead);
        let sees_all_of = |of: &OrganizationId| {
            self.sees_everything() || rights.admin_grant(&self.context, *of).is_some()
        };
        let admin_of = of.filter(sees_all_of);
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
            for privacy in self.privacies_of_public() {
                candidates.add(spaces, (organization, *privacy));
            }
        }
        // Who has a seat sees the space, whatever the role.
        let lies_there = move |id| {
            of.is_none()
                || data
                    .space(id)
                    .is_some_and(|space| is_wanted(space.organization))
        };
        candidates.add_found(|after| {
            let seats = under(&rights.spaces_of_user, user, after);
            seats.filter(move |id| lies_there(*id))
        });
        candidates.add_found(|after| {
            let bound = rights.space_bindings.bound_by(user, after);
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
        filter: &KeyFilter,
        slice: Slice<ApiKeyId>,
    ) -> Result<Page<&'a ApiKey>, Refusal> {
        let of = if let Some(space) = filter.space {
            self.visible_space(space)?;
            if !self.may(Permission::ServiceKeyRead, space) {
                let (permission, level) = (Permission::ServiceKeyRead, Level::Space);
                return Err(Refusal::Forbidden(Forbidden::Permission(permission, level)));
            }
            filter.user
        } else {
            let of = filter.user.unwrap_or(self.context.user());
            if of != self.context.user() && !self.rights.is_account_admin(&self.context) {
                return Err(Refusal::Forbidden(Forbidden::NotAccountAdmin));
            }
            Some(of)
        };
        if let Some(user) = of {
            // Service keys outlive their creator, and account admins have to find them.
            let is_gone = self.live_user(user).is_none();
            let is_admin = self.rights.is_account_admin(&self.context);
            if is_gone && !(is_admin && self.data.user(user).is_some()) {
                return Err(Refusal::NotFound(Kind::User));
            }
        }
        let index = &self.data.listing;
        let mut candidates = slice.candidates();
        match (filter.space, of) {
            (Some(space), _) if filter.is_revoked => {
                candidates.add(&index.revoked_keys_of_space, space);
            }
            (Some(space), _) => candidates.add(&index.service_keys_of_space, space),
            // A user key is made by its owner, so its creator is its owner.
            (None, Some(creator)) => {
                let prefix = (creator, filter.kind, Validity::of(filter.is_revoked));
                candidates.add(&index.keys_of_creator, prefix);
            }
            (None, None) => {}
        }
        let wanted = |key: &&ApiKey| {
            let is_such = if filter.is_revoked {
                key.is_revoked
            } else {
                key.is_alive(self.moment)
            };
            is_such
                && KeyKind::of(key.owner) == filter.kind
                && of.is_none_or(|user| key.created_by == user)
        };
        let keys = candidates.merged().filter_map(|id| self.data.api_key(id));
        Ok(slice.page(keys.map(AsRef::as_ref).filter(wanted)))
    }

    /// Keys that are marked as enforcement points, oldest first; for account admins.
    pub fn enforcement_points(&self, slice: Slice<ApiKeyId>) -> Result<Page<&'a ApiKey>, Refusal> {
        if !self.rights.is_account_admin(&self.context) {
            return Err(Refusal::Forbidden(Forbidden::NotAccountAdmin));
        }
        let after = slice.after.unwrap_or(ApiKeyId::NOBODY);
        let marked = self.data.listing.enforcement_points.behind(after);
        let keys = marked.filter_map(|id| self.data.api_key(*id));
        Ok(slice.page(keys.map(AsRef::as_ref)))
    }

    /// Projects that the caller may read.
    ///
    /// A space to list is accepted if it is visible or holds a project that the caller can read: such a user can still
    /// resolve a project by name with the id of its space.
    pub fn projects(
        &self,
        filter: &ProjectFilter,
        slice: Slice<ProjectId>,
    ) -> Result<Page<&'a Project>, Refusal> {
        let visible = |id| self.visible_project(id).ok();
        if let Some(space) = filter.space
            && self.visible_space(space).is_err()
        {
            let mut all = Candidates::behind(ProjectId::NOBODY);
            self.add_projects_of(space, &mut all);
            if !all.merged().any(|id| visible(id).is_some()) {
                return Err(Refusal::NotFound(Kind::Space));
            }
        }
        let names = &self.data.listing.project_names;
        let ids = if filter.space.is_none() && self.sees_everything() {
            named(names, &filter.name, slice)
        } else {
            let mut candidates = slice.candidates();
            match filter.space {
                Some(space) => self.add_projects_of(space, &mut candidates),
                None => self.add_projects(&mut candidates),
            }
            named_among(names, &filter.name, candidates)
        };
        let space_names = &self.data.listing.space_names;
        let in_space_named = |project: &&Project| {
            filter.space_name.is_everything()
                || space_names
                    .get(&project.space)
                    .is_some_and(|folded| filter.space_name.matches(folded))
        };
        Ok(slice.page(ids.filter_map(visible).filter(in_space_named)))
    }

    /// Candidates in one space.
    fn add_projects_of(&self, space: SpaceId, candidates: &mut Candidates<'a, ProjectId>) {
        let (rights, data) = (self.rights, self.data);
        let projects = &data.listing.projects_of_space;
        if self.sees_everything() || rights.admin_grant(&self.context, space).is_some() {
            candidates.add(projects, (space, Marked::Open));
            candidates.add(projects, (space, Marked::Restricted));
            return;
        }
        if self.may(Permission::ProjectRead, space) {
            for mark in self.marks_of_open() {
                candidates.add(projects, (space, *mark));
            }
        }
        let lies_there = move |id| data.project(id).is_some_and(|one| one.space == space);
        let user = self.context.user();
        candidates.add_found(|after| {
            let bound = rights.project_bindings.bound_by(user, after);
            bound.filter(move |id| lies_there(*id))
        });
    }

    /// Candidates anywhere, for callers who aren't account admin.
    fn add_projects(&self, candidates: &mut Candidates<'a, ProjectId>) {
        let (rights, index) = (self.rights, &self.data.listing);
        let reach = rights.reach(&self.context, Permission::ProjectRead);
        for organization in &reach.whole_organizations {
            for openness in Openness::ALL {
                let prefix = (*organization, openness);
                candidates.add(&index.projects_of_organization, prefix);
            }
        }
        for organization in &reach.fallback_organizations {
            for openness in self.openness_of_public() {
                let prefix = (*organization, *openness);
                candidates.add(&index.projects_of_organization, prefix);
            }
        }
        for space in &reach.whole_spaces {
            candidates.add(&index.projects_of_space, (*space, Marked::Open));
            candidates.add(&index.projects_of_space, (*space, Marked::Restricted));
        }
        for space in &reach.held_spaces {
            for mark in self.marks_of_open() {
                candidates.add(&index.projects_of_space, (*space, *mark));
            }
        }
        let user = self.context.user();
        candidates.add_found(|after| rights.project_bindings.bound_by(user, after));
    }

    /// The marks under which the data may list what is open today. In the past the marks were others, so all count.
    fn marks_of_open(&self) -> &'static [Marked] {
        if self.is_present() {
            &[Marked::Open]
        } else {
            &Marked::ALL
        }
    }

    /// The same for spaces that are public today.
    fn privacies_of_public(&self) -> &'static [Privacy] {
        if self.is_present() {
            &[Privacy::Public]
        } else {
            &Privacy::ALL
        }
    }

    /// The same for open projects in spaces that are public today.
    fn openness_of_public(&self) -> &'static [Openness] {
        if self.is_present() {
            &[Openness::Public]
        } else {
            &Openness::ALL
        }
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
