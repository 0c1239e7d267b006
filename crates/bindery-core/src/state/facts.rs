//! What decisions are made from, looked up in the entities.

use super::{State, place_of};
use crate::decision::{Facts, Place, Principal};
use crate::id::{OrganizationId, RoleId, SpaceId, UserId};
use crate::permission::PermissionSet;
use crate::resource::{Bindable, Resource};
use crate::role::{OrganizationRole, PredefinedRole, SpaceRole};
use crate::time::Timestamp;
use crate::user::{Identity, Standing, User};

/// Look-ups of what decisions are made from. [`State::at`] adds the moment.
impl State {
    /// What decisions have to know of the user, if they exist.
    #[inline]
    pub fn principal(&self, user: UserId) -> Option<Principal> {
        self.users.get(&user).map(|user| self.principal_of(user))
    }

    /// What decisions have to know of this user.
    #[inline]
    pub(crate) fn principal_of(&self, user: &User) -> Principal {
        let is_active = user.standing == Standing::Active;
        let (is_human, is_active, until) = match &user.identity {
            Identity::Human { .. } => (true, is_active, None),
            Identity::Bot { key } => match self.api_keys.get(key) {
                Some(key) => (false, is_active && !key.is_revoked, key.expires_at),
                None => (false, false, None),
            },
        };
        Principal {
            account_role: user.account_role,
            is_human,
            is_active,
            until,
        }
    }

    /// The resource's place, if it exists.
    #[inline]
    pub fn place(&self, resource: Resource) -> Option<Place> {
        match resource {
            Resource::Account => Some(Place::Account),
            Resource::Organization(id) => self.organization(id).map(|_| Place::Organization(id)),
            Resource::Space(id) => self.space_place(id).map(Place::Space),
            Resource::Project(id) => {
                let space = self.space(self.project(id)?.space)?;
                Some(Place::Project(
                    id,
                    place_of(space),
                    self.restrictions.contains_key(&id),
                ))
            }
        }
    }

    /// The user's role in the organization.
    pub fn organization_role(&self, user: UserId, on: OrganizationId) -> Option<OrganizationRole> {
        self.organization_membership(on, user)
            .map(|membership| membership.role)
    }

    /// The user's predefined role in the space.
    pub fn space_role(&self, user: UserId, on: SpaceId) -> Option<SpaceRole> {
        self.space_membership(on, user)
            .map(|membership| membership.role)
    }

    /// The role bound to the user on the resource.
    pub fn bound_role(&self, user: UserId, on: Bindable) -> Option<RoleId> {
        match on {
            Bindable::Space(space) => self.space_bindings.role(user, space),
            Bindable::Project(project) => self.project_bindings.role(user, project),
        }
    }

    /// What the role grants; nothing, if it doesn't exist.
    pub fn permissions(&self, role: RoleId) -> PermissionSet {
        match PredefinedRole::by_id(role) {
            Some(predefined) => predefined.permissions,
            None => self
                .roles
                .get(&role)
                .map(|role| role.permissions)
                .unwrap_or_default(),
        }
    }

    /// The facts of decisions at this moment.
    pub const fn at(&self, moment: Timestamp) -> StateAt<'_> {
        StateAt {
            state: self,
            moment,
        }
    }
}

/// A state and the moment at which it is asked: the facts of decisions from the entities themselves.
///
/// The access index must agree with it. States without an index, past and imagined ones, answer from this alone.
#[derive(Clone, Copy, Debug)]
pub struct StateAt<'a> {
    state: &'a State,
    moment: Timestamp,
}

impl Facts for StateAt<'_> {
    #[inline]
    fn moment(&self) -> Timestamp {
        self.moment
    }

    #[inline]
    fn principal(&self, user: UserId) -> Option<Principal> {
        self.state.principal(user)
    }

    #[inline]
    fn place(&self, resource: Resource) -> Option<Place> {
        self.state.place(resource)
    }

    #[inline]
    fn organization_role(&self, user: UserId, on: OrganizationId) -> Option<OrganizationRole> {
        self.state.organization_role(user, on)
    }

    #[inline]
    fn space_role(&self, user: UserId, on: SpaceId) -> Option<SpaceRole> {
        self.state.space_role(user, on)
    }

    #[inline]
    fn bound_role(&self, user: UserId, on: Bindable) -> Option<RoleId> {
        self.state.bound_role(user, on)
    }

    #[inline]
    fn permissions(&self, role: RoleId) -> PermissionSet {
        self.state.permissions(role)
    }
}
