//! What a caller may see: the things themselves, and pages of them, each decided by the same engine as every answer.
//!
//! Pages go by id, which is the order of creation, so they are stable while things come and go between them.

use std::sync::Arc;

use imbl::OrdMap;

use crate::api_key::{ApiKey, SecretHash};
use crate::command::{Caller, Context};
use crate::decision::{Facts as _, Grant};
use crate::id::{
    ApiKeyId, Id, Kind, OrganizationId, ProjectId, RoleBindingId, RoleId, SpaceId, UserId,
};
pub use crate::listing::KeyKind;
use crate::listing::{Candidates, Marked, Openness, Privacy, Validity, under};
use crate::permission::Permission;
use crate::place::{Organization, Project, Restriction, Space};
use crate::refusal::{Forbidden, Refusal};
use crate::resource::{Bindable, BindableKind, Resource};
use crate::role::{AnyRole, OrganizationRole, PredefinedRole};
use crate::role_binding::RoleBinding;
use crate::state::State;
use crate::time::Timestamp;
use crate::user::{User, UserStatus};

/// A part of a list: the things, and whether there are more behind them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// At most as many as were asked for.
    pub items: Vec<T>,
    /// Whether another page follows.
    pub has_more: bool,
}

/// Where a page begins and how long it is.
#[derive(Clone, Copy, Debug)]
pub struct Slice<I> {
    /// The last id of the page before.
    pub after: Option<I>,
    /// How many at the most.
    pub limit: usize,
}

impl<I: Id> Slice<I> {
    fn page<T>(self, all: impl Iterator<Item = T>) -> Page<T> {
        let mut items: Vec<T> = all.take(self.limit.saturating_add(1)).collect();
        let has_more = items.len() > self.limit;
        items.truncate(self.limit);
        Page { items, has_more }
    }

    fn candidates<'a>(self) -> Candidates<'a, I>
    where
        I: 'a,
    {
        Candidates::behind(self.after.unwrap_or(I::NOBODY))
    }

    fn of<V: Clone>(self, things: &OrdMap<I, V>) -> impl Iterator<Item = (&I, &V)> {
        let first = I::from_number(self.after.map_or(0, |id| id.number().saturating_add(1)));
        things.range(first..)
    }
}

/// Who it is that shows a key.
impl State {
    /// The caller behind a key's hash at `now`: an unknown, revoked or ended key, or one whose user is not active, is nobody
    /// (`contract/README.md` §2).
    pub fn authenticate(&self, hash: &SecretHash, now: Timestamp) -> Option<Caller> {
        let key = self.api_key(*self.keys_by_secret.get(hash)?)?;
        let user = self.user(key.principal())?;
        let is_good = key.accepts(hash, now) && user.status(now) == Some(UserStatus::Active);
        is_good.then_some(Caller::Key {
            user: user.id,
            key: key.id,
        })
    }
}

/// Visibility of one thing (`contract/authorization.md` §7, derived words).
impl State {
    /// Whether the caller may act at all: a membership outlives the key of a bot, and shows nothing then.
    fn acts(&self, context: &Context) -> bool {
        let principal = self.access().principal(context.user());
        principal.is_some_and(|principal| principal.acts_at(context.now))
    }

    /// The person, if the caller may read users and they aren't gone.
    pub fn visible_user(&self, context: &Context, id: UserId) -> Result<&User, Refusal> {
        if !self.allows(context, Permission::UserRead, Resource::Account) {
            return Err(Refusal::NotFound(Kind::User));
        }
        self.live_human(id)
    }

    /// The organization, if the caller is account admin or a member with any role.
    pub fn visible_organization(
        &self,
        context: &Context,
        id: OrganizationId,
    ) -> Result<&Organization, Refusal> {
        self.organization(id)
            .filter(|_| self.acts(context))
            .filter(|_| {
                self.admin_grant(context, id).is_some()
                    || self
                        .access()
                        .organization_role(context.user(), id)
                        .is_some()
            })
            .map(AsRef::as_ref)
            .ok_or(Refusal::NotFound(Kind::Organization))
    }

    /// The space, if the caller is admin above it, a member, or may read it by the fallback.
    pub fn visible_space(&self, context: &Context, id: SpaceId) -> Result<&Space, Refusal> {
        let user = context.user();
        self.space(id)
            .filter(|_| self.acts(context))
            .filter(|_| {
                self.allows(context, Permission::SpaceRead, id)
                    || self.access().space_role(user, id).is_some()
                    || self.role_binding_on(Bindable::Space(id), user).is_some()
            })
            .map(AsRef::as_ref)
            .ok_or(Refusal::NotFound(Kind::Space))
    }

    /// The project, if the caller may read it.
    pub fn visible_project(&self, context: &Context, id: ProjectId) -> Result<&Project, Refusal> {
        self.project(id)
            .filter(|_| self.allows(context, Permission::ProjectRead, id))
            .map(AsRef::as_ref)
            .ok_or(Refusal::NotFound(Kind::Project))
    }

    /// The role binding, if the caller may read bindings on its resource.
    pub fn visible_role_binding(
        &self,
        context: &Context,
        id: RoleBindingId,
    ) -> Result<RoleBinding, Refusal> {
        self.role_binding(id)
            .filter(|binding| self.allows(context, Permission::RoleBindingRead, binding.resource))
            .ok_or(Refusal::NotFound(Kind::RoleBinding))
    }

    /// The role, for callers who may read roles; others are told so before it is looked up.
    pub fn visible_role(&self, context: &Context, id: RoleId) -> Result<AnyRole<'_>, Refusal> {
        self.authorize(context, Permission::RoleRead, Resource::Account)?;
        self.role(id).ok_or(Refusal::NotFound(Kind::Role))
    }
}

/// Where a caller who isn't account admin has a permission, and on what lies below: what a list has to look through for them.
///
/// Rather too much than too little, since everything found there is decided one by one. Finding it costs a step for
/// each organization and space that the caller has a role in, and none for what they have nothing to do with.
#[derive(Default)]
struct Reach {
    /// They are admin of these: nothing in them is kept from them.
    whole_organizations: Vec<OrganizationId>,
    /// They may have it in the public spaces of these, by the fallback.
    fallback_organizations: Vec<OrganizationId>,
    /// They are admin of these.
    whole_spaces: Vec<SpaceId>,
    /// They have it on these by a role of their own, and below on what isn't restricted.
    held_spaces: Vec<SpaceId>,
}

impl State {
    fn reach(&self, context: &Context, permission: Permission) -> Reach {
        let mut reach = Reach::default();
        let user = context.user();
        let Some(principal) = self.access().principal(user) else {
            return reach;
        };
        if !principal.acts_at(context.now) {
            return reach;
        }
        for membership in self.organization_memberships_of(user) {
            let fallback = membership.role.in_public_spaces().permissions();
            if membership.role == OrganizationRole::Admin {
                reach.whole_organizations.push(membership.organization);
            } else if principal.is_human && fallback.contains(permission) {
                reach.fallback_organizations.push(membership.organization);
            }
        }
        for space in self.spaces_bound_to(user) {
            match self.admin_grant(context, space) {
                // It is found in the whole organization already.
                Some(Grant::OrganizationAdmin(_)) => {}
                Some(_) => reach.whole_spaces.push(space),
                None if self.allows(context, permission, space) => reach.held_spaces.push(space),
                None => {}
            }
        }
        reach
    }

    /// The public spaces of these organizations.
    fn public_spaces_of(&self, organizations: &[OrganizationId]) -> impl Iterator<Item = SpaceId> {
        let spaces = &self.listing.spaces_of_organization;
        let public = |id: &OrganizationId| under(spaces, (*id, Privacy::Public), SpaceId::NOBODY);
        organizations.iter().flat_map(public)
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
}

/// Lists.
///
/// Account admins walk the tables; for others candidates are enumerated by their [`Reach`], in the order of ids from
/// behind the cursor, and decided like everything else. So a page costs what the caller can reach, the places they have roles in
/// plus the things on the page, and not what there is. Filters are the exception: what they leave out is looked at.
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
        let table = match kind {
            BindableKind::Space => &self.space_bindings,
            BindableKind::Project => &self.project_bindings,
        };
        let readable = |binding: &RoleBinding| {
            self.allows(context, Permission::RoleBindingRead, binding.resource)
        };
        if of.is_none() && self.is_account_admin(context) {
            let all = slice.of(table).map(|(_, binding)| *binding);
            return Ok(slice.page(all.filter(readable)));
        }
        let mut candidates = slice.candidates();
        match of {
            Some(user) => candidates.add(&self.listing.bindings_of_user, (user, kind)),
            None => self.add_readable_bindings(context, kind, &mut candidates),
        }
        let bindings = candidates.merged().filter_map(|id| table.get(&id).copied());
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
        for organization in &reach.whole_organizations {
            candidates.add(&index.bindings_of_organization, (*organization, kind));
        }
        let public_spaces = self.public_spaces_of(&reach.fallback_organizations);
        let held_spaces = reach.held_spaces.iter().copied().chain(public_spaces);
        match kind {
            BindableKind::Space => {
                for space in reach.whole_spaces.iter().copied().chain(held_spaces) {
                    candidates.add(&index.bindings_of_resource, Bindable::Space(space));
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
                let bound = &index.bound_projects_of_user;
                for project in under(bound, context.user(), ProjectId::NOBODY) {
                    if self.allows(context, Permission::RoleBindingRead, project) {
                        candidates.add(&index.bindings_of_resource, Bindable::Project(project));
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
        candidates.add(&index.bound_projects_of_user, context.user());
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
        let people = Self::named(&self.listing.people, &filter.email, slice)
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
            Self::named(names, name, slice)
        } else {
            let mut candidates = slice.candidates();
            candidates.add(&self.organizations_of_user, context.user());
            Self::named_among(names, name, candidates)
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
            Self::named(names, name, slice)
        } else {
            let mut candidates = slice.candidates();
            self.add_spaces(context, of, &mut candidates);
            Self::named_among(names, name, candidates)
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
        candidates.add_some(&self.spaces_of_user, user, lies_there);
        candidates.add_some(&index.bound_spaces_of_user, user, lies_there);
    }

    /// API keys, oldest first (`contract/authorization.md` §10, `list_api_keys`).
    ///
    /// User keys are their owner's, and account admins'. Service keys are listed by the space they have a place in, for
    /// whoever may read service keys there, or without a space by who made them. Of a space, a page looks at the keys
    /// of that space at the most.
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
            self.live_user(user)?;
        }
        let mut candidates = slice.candidates();
        match (filter.space, of) {
            (Some(space), _) => candidates.add(&self.listing.service_keys_of_space, space),
            // A user key is made by its owner, so its creator is its owner.
            (None, Some(creator)) => {
                let prefix = (creator, filter.kind, Validity::of(filter.is_revoked));
                candidates.add(&self.listing.keys_of_creator, prefix);
            }
            (None, None) => {}
        }
        let wanted = |key: &&ApiKey| {
            key.is_revoked == filter.is_revoked
                && KeyKind::of(key.owner) == filter.kind
                && of.is_none_or(|user| key.created_by == user)
        };
        let keys = candidates.merged().filter_map(|id| self.api_key(id));
        Ok(slice.page(keys.map(AsRef::as_ref).filter(wanted)))
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
            Self::named(names, &filter.name, slice)
        } else {
            let mut candidates = slice.candidates();
            match filter.space {
                Some(space) => self.add_projects_of(context, space, &mut candidates),
                None => self.add_projects(context, &mut candidates),
            }
            Self::named_among(names, &filter.name, candidates)
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
        let bound = &self.listing.bound_projects_of_user;
        candidates.add_some(bound, context.user(), lies_there);
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
        candidates.add(&index.bound_projects_of_user, context.user());
    }
}

/// Which users are wanted.
#[derive(Clone, Debug, Default)]
pub struct UserFilter {
    /// Part of the address.
    pub email: Substring,
    /// One of these; any, if empty.
    pub statuses: Vec<UserStatus>,
}

/// Which keys are wanted.
#[derive(Clone, Copy, Debug)]
pub struct KeyFilter {
    /// Keys of people, or of bots.
    pub kind: KeyKind,
    /// The revoked ones, or the others.
    pub is_revoked: bool,
    /// With a place in this space.
    pub space: Option<SpaceId>,
    /// Made by this user; without a space, absent means the caller.
    pub user: Option<UserId>,
}

/// Which projects are wanted; every part must hold.
#[derive(Clone, Debug, Default)]
pub struct ProjectFilter {
    /// In this space.
    pub space: Option<SpaceId>,
    /// In a space with this in its name.
    pub space_name: Substring,
    /// With this in their own name.
    pub name: Substring,
}

/// A filter on names: a part of them, ignoring case; the empty one matches all (`contract/README.md` §5).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Substring(String);

impl Substring {
    /// The longest filter, in code points.
    pub const LENGTH_MAX: usize = 255;

    /// Folds the case once, for all comparisons.
    pub fn new(text: &str) -> Self {
        Self(text.to_lowercase())
    }

    /// Whether it leaves nothing out.
    pub fn is_everything(&self) -> bool {
        self.0.is_empty()
    }

    fn matches(&self, folded: &str) -> bool {
        self.is_everything() || folded.contains(&self.0)
    }
}
