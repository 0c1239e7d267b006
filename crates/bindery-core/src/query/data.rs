//! What queries read: the things of one revision.

use crate::api_key::ApiKey;
use crate::id::{ApiKeyId, OrganizationId, ProjectId, RoleBindingId, RoleId, SpaceId, UserId};
use crate::place::{Organization, Project, Restriction, Space};
use crate::role::AnyRole;
use crate::role_binding::RoleBinding;
use crate::state::State;
use crate::user::User;

/// The things of one revision, by id.
///
/// The present is a [`State`], and so is a past that was built whole. For a few things of the past, a few facts are enough. None of
/// it says who may see it: that is up to the rights of the [`Reader`](super::Reader).
pub trait Data {
    /// The user, human or bot, whatever their standing.
    fn user(&self, id: UserId) -> Option<&User>;
    /// The organization.
    fn organization(&self, id: OrganizationId) -> Option<&Organization>;
    /// The space.
    fn space(&self, id: SpaceId) -> Option<&Space>;
    /// The project.
    fn project(&self, id: ProjectId) -> Option<&Project>;
    /// The restriction of the project.
    fn restriction(&self, id: ProjectId) -> Option<Restriction>;
    /// The custom or listed predefined role.
    fn role(&self, id: RoleId) -> Option<AnyRole<'_>>;
    /// The role binding.
    fn role_binding(&self, id: RoleBindingId) -> Option<RoleBinding>;
    /// The API key.
    fn api_key(&self, id: ApiKeyId) -> Option<&ApiKey>;
}

impl Data for State {
    fn user(&self, id: UserId) -> Option<&User> {
        Self::user(self, id).map(AsRef::as_ref)
    }

    fn organization(&self, id: OrganizationId) -> Option<&Organization> {
        Self::organization(self, id).map(AsRef::as_ref)
    }

    fn space(&self, id: SpaceId) -> Option<&Space> {
        Self::space(self, id).map(AsRef::as_ref)
    }

    fn project(&self, id: ProjectId) -> Option<&Project> {
        Self::project(self, id).map(AsRef::as_ref)
    }

    fn restriction(&self, id: ProjectId) -> Option<Restriction> {
        Self::restriction(self, id)
    }

    fn role(&self, id: RoleId) -> Option<AnyRole<'_>> {
        Self::role(self, id)
    }

    fn role_binding(&self, id: RoleBindingId) -> Option<RoleBinding> {
        Self::role_binding(self, id)
    }

    fn api_key(&self, id: ApiKeyId) -> Option<&ApiKey> {
        Self::api_key(self, id).map(AsRef::as_ref)
    }
}
