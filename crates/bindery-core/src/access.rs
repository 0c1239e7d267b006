//! The access index: the facts of decisions, arranged for asking. Derived from the same changes as the entities and never
//! written apart; a test rebuilds it from scratch to compare.
//!
//! This one is plain. What is behind [`Facts`] may become fast without anything else noticing.

use imbl::OrdMap;

use crate::decision::{Facts, Place, Principal, SpacePlace};
use crate::id::{OrganizationId, ProjectId, RoleId, SpaceId, UserId};
use crate::permission::PermissionSet;
use crate::resource::{Bindable, Resource};
use crate::role::{OrganizationRole, PredefinedRole, SpaceRole};

/// The facts of one account, in persistent collections: a clone is O(1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessIndex {
    principals: OrdMap<UserId, Principal>,
    spaces: OrdMap<SpaceId, SpacePlace>,
    projects: OrdMap<ProjectId, (SpaceId, bool)>,
    organizations: OrdMap<OrganizationId, ()>,
    organization_roles: OrdMap<(UserId, OrganizationId), OrganizationRole>,
    // Invariant: an entry exists only while at least one of the two is there.
    held_on_spaces: OrdMap<(UserId, SpaceId), HeldOnSpace>,
    held_on_projects: OrdMap<(UserId, ProjectId), RoleId>,
    custom_roles: OrdMap<RoleId, PermissionSet>,
}

/// What a user holds on a space: both slots side by side, so that a check finds them together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct HeldOnSpace {
    membership: Option<SpaceRole>,
    binding: Option<RoleId>,
}

impl Facts for AccessIndex {
    fn principal(&self, user: UserId) -> Option<Principal> {
        self.principals.get(&user).copied()
    }

    fn place(&self, resource: Resource) -> Option<Place> {
        match resource {
            Resource::Account => Some(Place::Account),
            Resource::Organization(id) => self
                .organizations
                .contains_key(&id)
                .then_some(Place::Organization(id)),
            Resource::Space(id) => self.spaces.get(&id).copied().map(Place::Space),
            Resource::Project(id) => {
                let (space, is_restricted) = *self.projects.get(&id)?;
                Some(Place::Project(id, *self.spaces.get(&space)?, is_restricted))
            }
        }
    }

    fn organization_role(&self, user: UserId, on: OrganizationId) -> Option<OrganizationRole> {
        self.organization_roles.get(&(user, on)).copied()
    }

    fn space_role(&self, user: UserId, on: SpaceId) -> Option<SpaceRole> {
        self.held_on_spaces.get(&(user, on))?.membership
    }

    fn bound_role(&self, user: UserId, on: Bindable) -> Option<RoleId> {
        match on {
            Bindable::Space(space) => self.held_on_spaces.get(&(user, space))?.binding,
            Bindable::Project(project) => self.held_on_projects.get(&(user, project)).copied(),
        }
    }

    fn permissions(&self, role: RoleId) -> PermissionSet {
        match PredefinedRole::by_id(role) {
            Some(predefined) => predefined.permissions,
            None => self.custom_roles.get(&role).copied().unwrap_or_default(),
        }
    }
}

/// What [`crate::state::State::apply`] tells the index; each call sets or clears one fact.
impl AccessIndex {
    pub(crate) fn set_principal(&mut self, user: UserId, principal: Principal) {
        self.principals.insert(user, principal);
    }

    pub(crate) fn set_organization(&mut self, id: OrganizationId) {
        self.organizations.insert(id, ());
    }

    pub(crate) fn clear_organization(&mut self, id: OrganizationId) {
        self.organizations.remove(&id);
    }

    pub(crate) fn set_space(&mut self, place: SpacePlace) {
        self.spaces.insert(place.space, place);
    }

    pub(crate) fn clear_space(&mut self, id: SpaceId) {
        self.spaces.remove(&id);
    }

    pub(crate) fn set_project(&mut self, id: ProjectId, space: SpaceId, is_restricted: bool) {
        self.projects.insert(id, (space, is_restricted));
    }

    pub(crate) fn clear_project(&mut self, id: ProjectId) {
        self.projects.remove(&id);
    }

    pub(crate) fn set_organization_role(
        &mut self,
        user: UserId,
        on: OrganizationId,
        role: Option<OrganizationRole>,
    ) {
        match role {
            Some(role) => self.organization_roles.insert((user, on), role),
            None => self.organization_roles.remove(&(user, on)),
        };
    }

    pub(crate) fn set_space_role(&mut self, user: UserId, on: SpaceId, role: Option<SpaceRole>) {
        self.hold_on_space(user, on, |held| held.membership = role);
    }

    pub(crate) fn set_bound_role(&mut self, user: UserId, on: Bindable, bound: Option<RoleId>) {
        match (on, bound) {
            (Bindable::Space(space), _) => {
                self.hold_on_space(user, space, |held| held.binding = bound);
            }
            (Bindable::Project(project), Some(bound)) => {
                self.held_on_projects.insert((user, project), bound);
            }
            (Bindable::Project(project), None) => {
                self.held_on_projects.remove(&(user, project));
            }
        }
    }

    pub(crate) fn set_permissions(&mut self, role: RoleId, permissions: PermissionSet) {
        self.custom_roles.insert(role, permissions);
    }

    pub(crate) fn clear_role(&mut self, role: RoleId) {
        self.custom_roles.remove(&role);
    }

    fn hold_on_space(
        &mut self,
        user: UserId,
        space: SpaceId,
        change: impl FnOnce(&mut HeldOnSpace),
    ) {
        let mut held = self
            .held_on_spaces
            .get(&(user, space))
            .copied()
            .unwrap_or_default();
        change(&mut held);
        if held == HeldOnSpace::default() {
            self.held_on_spaces.remove(&(user, space));
        } else {
            self.held_on_spaces.insert((user, space), held);
        }
    }
}
