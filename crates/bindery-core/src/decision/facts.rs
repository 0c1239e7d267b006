//! What a decision is made from.

use crate::id::{OrganizationId, ProjectId, RoleId, SpaceId, UserId};
use crate::permission::PermissionSet;
use crate::resource::{Bindable, Resource};
use crate::role::{AccountRole, OrganizationRole, SpaceRole};
use crate::time::Timestamp;

/// All that a decision is made from: data, and the moment at which it is asked.
///
/// The moment belongs to the facts, since keys expire between two revisions: the same data decides differently a minute later.
pub trait Facts {
    /// The moment that decisions are made at.
    fn moment(&self) -> Timestamp;
    /// The user, if they exist.
    fn principal(&self, user: UserId) -> Option<Principal>;
    /// The resource's place, if it exists.
    fn place(&self, resource: Resource) -> Option<Place>;
    /// The user's role in the organization.
    fn organization_role(&self, user: UserId, on: OrganizationId) -> Option<OrganizationRole>;
    /// The user's predefined role in the space.
    fn space_role(&self, user: UserId, on: SpaceId) -> Option<SpaceRole>;
    /// The role bound to the user on the resource.
    fn bound_role(&self, user: UserId, on: Bindable) -> Option<RoleId>;
    /// What the role grants; nothing, if it doesn't exist.
    fn permissions(&self, role: RoleId) -> PermissionSet;

    /// The user, if they may act at the moment.
    #[inline]
    fn acting(&self, user: UserId) -> Option<Principal> {
        let principal = self.principal(user)?;
        principal.acts_at(self.moment()).then_some(principal)
    }
}

/// What is known of a principal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Principal {
    /// Their role in the account.
    pub account_role: AccountRole,
    /// Bots have no fallback in public spaces.
    pub is_human: bool,
    /// Whether they may act at all.
    pub is_active: bool,
    /// The moment at which a bot's key ends.
    pub until: Option<Timestamp>,
}

impl Principal {
    /// Whether they may act at `now`.
    pub fn acts_at(&self, now: Timestamp) -> bool {
        self.is_active && self.until.is_none_or(|end| now < end)
    }
}

/// Where a resource lies, and its marks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The account itself.
    Account,
    /// An organization.
    Organization(OrganizationId),
    /// A space.
    Space(SpacePlace),
    /// A project, the space it lies in, and whether it is restricted.
    Project(ProjectId, SpacePlace, bool),
}

/// A space, where it lies, and its mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpacePlace {
    /// The space.
    pub space: SpaceId,
    /// Its organization.
    pub organization: OrganizationId,
    /// Whether members of the organization get in by themselves.
    pub is_public: bool,
}

impl Place {
    /// What it lies in; the account lies in nothing.
    pub const fn above(self) -> Option<Resource> {
        match self {
            Self::Account => None,
            Self::Organization(_) => Some(Resource::Account),
            Self::Space(space) => Some(Resource::Organization(space.organization)),
            Self::Project(_, space, _) => Some(Resource::Space(space.space)),
        }
    }

    /// The organization on the way, if there is one.
    #[inline]
    pub const fn organization(self) -> Option<OrganizationId> {
        match self {
            Self::Account => None,
            Self::Organization(organization) => Some(organization),
            Self::Space(space) | Self::Project(_, space, _) => Some(space.organization),
        }
    }

    /// The space on the way, if there is one.
    #[inline]
    pub const fn space(self) -> Option<SpacePlace> {
        match self {
            Self::Account | Self::Organization(_) => None,
            Self::Space(space) | Self::Project(_, space, _) => Some(space),
        }
    }

    /// The project, if it is one.
    #[inline]
    pub const fn project(self) -> Option<ProjectId> {
        match self {
            Self::Account | Self::Organization(_) | Self::Space(_) => None,
            Self::Project(project, ..) => Some(project),
        }
    }
}

/// The roles that a user holds on the way down to a place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// The role in the organization.
    pub organization: Option<OrganizationRole>,
    /// The predefined role in the space.
    pub membership: Option<SpaceRole>,
    /// The role bound on the space.
    pub binding: Option<RoleId>,
    /// The role bound on the project.
    pub on_project: Option<RoleId>,
}

impl Held {
    /// Looks them up.
    #[inline]
    pub fn of(facts: &impl Facts, user: UserId, place: Place) -> Self {
        let (organization, project) = (place.organization(), place.project());
        let space = place.space().map(|space| space.space);
        Self {
            organization: organization.and_then(|id| facts.organization_role(user, id)),
            membership: space.and_then(|id| facts.space_role(user, id)),
            binding: space.and_then(|id| facts.bound_role(user, Bindable::Space(id))),
            on_project: project.and_then(|id| facts.bound_role(user, Bindable::Project(id))),
        }
    }
}
