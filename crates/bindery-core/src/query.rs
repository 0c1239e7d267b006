//! What a caller may see: the things themselves, and pages of them, each decided by the same engine as every answer.
//!
//! Pages go by id, which is the order of creation, so they are stable while things come and go between them.

use imbl::OrdMap;

use crate::api_key::{ApiKey, KeyOwner, SecretHash};
use crate::command::{Caller, Context};
use crate::decision::Facts as _;
use crate::id::{
    ApiKeyId, Id, Kind, OrganizationId, ProjectId, RoleBindingId, RoleId, SpaceId, UserId,
};
use crate::permission::Permission;
use crate::place::{Organization, Project, Restriction, Space};
use crate::refusal::{Forbidden, Refusal};
use crate::resource::{Bindable, BindableKind, Resource};
use crate::role::{AnyRole, PredefinedRole};
use crate::role_binding::RoleBinding;
use crate::state::State;
use crate::text::Email;
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

    /// Refuses whoever may not read the audit log: it is for account admins, where it is switched on.
    pub fn may_read_audit_logs(&self, context: &Context) -> Result<(), Refusal> {
        if !self.is_account_admin(context) {
            return Err(Refusal::Forbidden(Forbidden::NotAccountAdmin));
        }
        if !self.account().settings.audit_logging {
            return Err(Refusal::Forbidden(Forbidden::AuditLogsOff));
        }
        Ok(())
    }

    /// The role, for callers who may read roles; others are told so before it is looked up.
    pub fn visible_role(&self, context: &Context, id: RoleId) -> Result<AnyRole<'_>, Refusal> {
        self.authorize(context, Permission::RoleRead, Resource::Account)?;
        self.role(id).ok_or(Refusal::NotFound(Kind::Role))
    }
}

/// Lists.
impl State {
    /// Bindings of one kind that the caller may read, of one user if wanted. Who may read none gets none.
    pub fn role_bindings(
        &self,
        context: &Context,
        kind: BindableKind,
        of: Option<UserId>,
        slice: Slice<RoleBindingId>,
    ) -> Result<Page<RoleBinding>, Refusal> {
        let readable = |binding: &RoleBinding| {
            self.allows(context, Permission::RoleBindingRead, binding.resource)
        };
        let table = match kind {
            BindableKind::Space => &self.space_bindings,
            BindableKind::Project => &self.project_bindings,
        };
        let Some(user) = of else {
            let all = slice.of(table).map(|(_, binding)| *binding);
            return Ok(slice.page(all.filter(readable)));
        };
        self.live_user(user)?;
        let first = slice.after.map_or(RoleBindingId::NOBODY, |id| {
            RoleBindingId::new(id.number().saturating_add(1))
        });
        let of_user = self
            .bindings_of_user
            .range((user, first)..)
            .take_while(|(holder, _)| *holder == user)
            .filter_map(|(_, id)| table.get(id).copied());
        Ok(slice.page(of_user.filter(readable)))
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
            .map(|(_, role)| AnyRole::Custom(role))
            .filter(|_| is_predefined != Some(true));
        Ok(slice.page(predefined.chain(custom)))
    }

    /// Restrictions that the caller may manage. Filtered before paging, so pages are full.
    pub fn restrictions(&self, context: &Context, slice: Slice<ProjectId>) -> Page<Restriction> {
        let manageable = |restriction: &Restriction| {
            self.allows(context, Permission::ProjectRestrict, restriction.project)
        };
        slice.page(
            slice
                .of(&self.restrictions)
                .map(|(_, one)| *one)
                .filter(manageable),
        )
    }

    /// People, oldest first; the gone and the bots are left out.
    pub fn users(
        &self,
        context: &Context,
        filter: &UserFilter,
        slice: Slice<UserId>,
    ) -> Result<Page<&User>, Refusal> {
        self.authorize(context, Permission::UserRead, Resource::Account)?;
        let wanted = |user: &&User| {
            let status = user.status(context.now);
            let has_status = status.is_some_and(|status| {
                filter.statuses.is_empty() || filter.statuses.contains(&status)
            });
            let email = user.email().map(Email::folded);
            has_status && email.is_some_and(|email| filter.email.matches_folded(&email))
        };
        Ok(slice.page(
            slice
                .of(&self.users)
                .map(|(_, user)| user.as_ref())
                .filter(wanted),
        ))
    }

    /// Organizations that the caller may see.
    pub fn organizations(
        &self,
        context: &Context,
        name: &Substring,
        slice: Slice<OrganizationId>,
    ) -> Page<&Organization> {
        let wanted = |organization: &&Organization| {
            name.matches(organization.name.as_str())
                && self.visible_organization(context, organization.id).is_ok()
        };
        slice.page(
            slice
                .of(&self.organizations)
                .map(|(_, one)| one.as_ref())
                .filter(wanted),
        )
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
        let wanted = |space: &&Space| {
            of.is_none_or(|organization| space.organization == organization)
                && name.matches(space.name.as_str())
                && self.visible_space(context, space.id).is_ok()
        };
        Ok(slice.page(
            slice
                .of(&self.spaces)
                .map(|(_, space)| space.as_ref())
                .filter(wanted),
        ))
    }

    /// API keys, oldest first (`contract/authorization.md` §10, `list_api_keys`).
    ///
    /// User keys are their owner's, and account admins'. Service keys are listed by the space they have a place in, for
    /// whoever may read service keys there, or without a space by who made them.
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
        let wanted = |key: &&ApiKey| {
            let is_in_space = |bot| {
                filter
                    .space
                    .is_none_or(|space| self.spaces_bound_to(bot).any(|one| one == space))
            };
            let is_of_kind = match (key.owner, filter.kind) {
                (KeyOwner::User(_), KeyKind::User) => filter.space.is_none(),
                (KeyOwner::Service(bot), KeyKind::Service) => is_in_space(bot),
                (KeyOwner::User(_), KeyKind::Service) | (KeyOwner::Service(_), KeyKind::User) => {
                    false
                }
            };
            // A user key is made by its owner, so its creator is its owner.
            key.is_revoked == filter.is_revoked
                && of.is_none_or(|user| key.created_by == user)
                && is_of_kind
        };
        Ok(slice.page(
            slice
                .of(&self.api_keys)
                .map(|(_, key)| key.as_ref())
                .filter(wanted),
        ))
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
        let readable = |id: ProjectId| self.allows(context, Permission::ProjectRead, id);
        if let Some(space) = filter.space
            && self.visible_space(context, space).is_err()
            && !self.projects_in(space).any(readable)
        {
            return Err(Refusal::NotFound(Kind::Space));
        }
        let in_space_named = |space: SpaceId| {
            filter.space_name.is_everything()
                || self
                    .space(space)
                    .is_some_and(|space| filter.space_name.matches(space.name.as_str()))
        };
        let wanted = |project: &&Project| {
            filter.space.is_none_or(|space| project.space == space)
                && filter.name.matches(project.name.as_str())
                && in_space_named(project.space)
                && readable(project.id)
        };
        Ok(slice.page(
            slice
                .of(&self.projects)
                .map(|(_, one)| one.as_ref())
                .filter(wanted),
        ))
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

/// The two kinds of key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// Acts as the person who made it.
    User,
    /// Acts as a bot of its own.
    Service,
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

    fn matches(&self, name: &str) -> bool {
        self.is_everything() || self.matches_folded(&name.to_lowercase())
    }

    fn matches_folded(&self, folded: &str) -> bool {
        folded.contains(&self.0)
    }
}
