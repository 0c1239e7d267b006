//! A reader: a caller with today's rights, over the data of any revision.
//!
//! Rights and data are two things. Today's rights decide what the caller may see of any revision's data, so a right that was lost
//! shows nothing of the past either. This works because no space ever changes its organization, and no project its space: what lies
//! above a thing today lay above it then.
//!
//! No one has rights today on a place or user that was deleted since. Only account admins and enforcement points see it. A binding, role or
//! restriction that was deleted since is visible to a reader with rights on its place.

use super::Data;
use crate::command::Context;
use crate::decision::Place;
use crate::id::{Kind, OrganizationId, ProjectId, RoleBindingId, RoleId, SpaceId, UserId};
use crate::permission::Permission;
use crate::place::{Organization, Project, Space};
use crate::refusal::Refusal;
use crate::resource::{Bindable, Resource};
use crate::role::AnyRole;
use crate::role_binding::RoleBinding;
use crate::state::State;
use crate::time::Timestamp;
use crate::user::{Standing, User};

/// Reads data for a caller, as far as the caller's rights of today allow.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a, D = State> {
    pub(super) context: Context,
    pub(super) rights: &'a State,
    pub(super) data: &'a D,
    /// The moment of the data: what has expired by then.
    pub(super) moment: Timestamp,
    era: Era,
}

/// Whether rights and data are of the same revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Era {
    Present,
    Past,
}

impl State {
    /// Reads the present for a caller.
    pub const fn reader(&self, context: Context) -> Reader<'_> {
        Reader {
            context,
            rights: self,
            data: self,
            moment: context.now,
            era: Era::Present,
        }
    }
}

impl<'a, D: Data> Reader<'a, D> {
    /// Reads data of another revision, as of `moment`, for a caller with these rights.
    pub const fn past(context: Context, rights: &'a State, data: &'a D, moment: Timestamp) -> Self {
        Self {
            context,
            rights,
            data,
            moment,
            era: Era::Past,
        }
    }

    /// The user, if the caller may read users and this one is a person who wasn't deleted.
    pub fn visible_user(&self, id: UserId) -> Result<&'a User, Refusal> {
        let may_read = self.may(Permission::UserRead, Resource::Account);
        self.live_user(id)
            .filter(|user| may_read && user.is_human())
            .ok_or(Refusal::NotFound(Kind::User))
    }

    /// The organization, if the caller is account admin or a member with any role.
    pub fn visible_organization(&self, id: OrganizationId) -> Result<&'a Organization, Refusal> {
        self.data
            .organization(id)
            .filter(|_| self.is_in_organization(id) || self.sees_deleted(id))
            .ok_or(Refusal::NotFound(Kind::Organization))
    }

    /// The space, if the caller is admin above it, a member, or may read it by the fallback.
    pub fn visible_space(&self, id: SpaceId) -> Result<&'a Space, Refusal> {
        self.data
            .space(id)
            .filter(|space| self.is_where_it_was(space.id, space.organization))
            .filter(|_| self.is_in_space(id) || self.sees_deleted(id))
            .ok_or(Refusal::NotFound(Kind::Space))
    }

    /// The project, if the caller may read it.
    pub fn visible_project(&self, id: ProjectId) -> Result<&'a Project, Refusal> {
        self.data
            .project(id)
            .filter(|project| self.is_where_it_was(project.id, project.space))
            .filter(|_| self.may(Permission::ProjectRead, id))
            .ok_or(Refusal::NotFound(Kind::Project))
    }

    /// The role binding, if the caller may read bindings on its resource.
    pub fn visible_role_binding(&self, id: RoleBindingId) -> Result<RoleBinding, Refusal> {
        self.data
            .role_binding(id)
            .filter(|binding| self.may(Permission::RoleBindingRead, binding.resource))
            .ok_or(Refusal::NotFound(Kind::RoleBinding))
    }

    /// The role, for callers who may read roles. Others are refused before it is looked up.
    pub fn visible_role(&self, id: RoleId) -> Result<AnyRole<'a>, Refusal> {
        self.rights
            .authorize(&self.context, Permission::RoleRead, Resource::Account)?;
        self.data.role(id).ok_or(Refusal::NotFound(Kind::Role))
    }

    /// Whether the caller may use the permission on the resource today, or sees it although it was deleted since.
    pub(super) fn may(&self, permission: Permission, resource: impl Into<Resource>) -> bool {
        let resource = resource.into();
        self.rights.allows(&self.context, permission, resource) || self.sees_deleted(resource)
    }

    /// The user, human or bot, who was there then. One that was deleted since is only for those who see such.
    pub(super) fn live_user(&self, id: UserId) -> Option<&'a User> {
        let is_live = |user: &&User| user.standing != Standing::Inactive;
        let is_live_today = || self.is_present() || self.rights.live_user(id).is_ok();
        self.data
            .user(id)
            .filter(is_live)
            .filter(|_| is_live_today() || self.sees_all_deleted())
    }

    /// Whether the caller sees all of the data, so that lists may walk its tables.
    pub(super) fn sees_everything(&self) -> bool {
        self.rights.is_account_admin(&self.context) || self.sees_all_deleted()
    }

    pub(super) fn is_present(&self) -> bool {
        self.era == Era::Present
    }

    /// Whether the resource was deleted since, and the caller sees such.
    fn sees_deleted(&self, resource: impl Into<Resource>) -> bool {
        self.sees_all_deleted() && self.rights.place(resource.into()).is_none()
    }

    /// Whether the caller sees what was deleted since. In the present nothing was.
    fn sees_all_deleted(&self) -> bool {
        !self.is_present() && self.acts() && self.rights.asks_about_everything(&self.context)
    }

    /// Whether the rights of today on this place are about what lay there then.
    fn is_where_it_was(&self, id: impl Into<Resource>, above: impl Into<Resource>) -> bool {
        if self.is_present() {
            return true;
        }
        let today = self.rights.place(id.into()).and_then(Place::above);
        let is_there = today.is_none_or(|today| today == above.into());
        debug_assert!(
            is_there,
            "no space changes its organization, no project its space"
        );
        is_there
    }

    /// Whether the caller may act at all: a membership outlives the key of a bot, and shows nothing then.
    fn acts(&self) -> bool {
        let principal = self.rights.principal(self.context.user());
        principal.is_some_and(|principal| principal.acts_at(self.context.now))
    }

    fn is_in_organization(&self, id: OrganizationId) -> bool {
        let user = self.context.user();
        self.acts()
            && (self.rights.admin_grant(&self.context, id).is_some()
                || self.rights.organization_role(user, id).is_some())
    }

    fn is_in_space(&self, id: SpaceId) -> bool {
        let user = self.context.user();
        self.acts()
            && (self.may(Permission::SpaceRead, id)
                || self.rights.space_role(user, id).is_some()
                || self.rights.bound_role(user, Bindable::Space(id)).is_some())
    }
}
