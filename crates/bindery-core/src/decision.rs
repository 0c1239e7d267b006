//! The decision: may this principal use this permission on this resource, and by which grant?
//!
//! Written once (`contract/authorization.md` §7) over a few facts, and asked of the access index for the present, or of
//! any state for the past and for changes that were never made. There is no second rule book.

use crate::id::{OrganizationId, ProjectId, RoleId, SpaceId, UserId};
use crate::permission::{Permission, PermissionSet};
use crate::resource::{Bindable, Level, Resource};
use crate::role::{AccountRole, OrganizationRole, SpaceRole};
use crate::time::Timestamp;

/// May `principal` use `permission` on `resource`?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// Who: a human, or the bot user of a service key.
    pub principal: UserId,
    /// What they would do.
    pub permission: Permission,
    /// On what.
    pub resource: Resource,
}

/// The answer, with its reason. Small and free of allocation; words are made of it only when someone reads them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Yes, because of this grant.
    Allowed(Grant),
    /// No, for want of this.
    Denied(Lack),
}

impl Decision {
    /// Whether the answer is yes.
    pub const fn is_allowed(self) -> bool {
        matches!(self, Self::Allowed(_))
    }
}

/// One reason for a yes. A role binding is told by its user and resource; who shows it looks its id up in the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grant {
    /// The principal is account admin.
    AccountAdmin,
    /// The principal's role in the account grants it.
    AccountRole(AccountRole),
    /// The principal is admin of the organization.
    OrganizationAdmin(OrganizationId),
    /// The principal's role in the organization grants it.
    OrganizationRole(OrganizationId, OrganizationRole),
    /// The principal is admin of the space by membership.
    SpaceAdmin(SpaceId),
    /// The principal is admin of the space by a binding of the predefined role `Admin`.
    SpaceAdminByBinding(SpaceId),
    /// The principal's membership of the space grants it.
    SpaceMembership(SpaceId, SpaceRole),
    /// The space is public, the principal has no role of their own there, and their role in the organization stands for
    /// this space role.
    PublicSpace(SpaceId, OrganizationId, SpaceRole),
    /// A role bound on the space or on the project grants it.
    RoleBinding(Bindable, RoleId),
}

/// Why the answer is no.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lack {
    /// The principal is unknown, inactive, not yet there, of another account, or a bot whose key is dead.
    Principal,
    /// The resource is unknown, deleted or of another account.
    Resource,
    /// The permission means nothing so far down: `lowest` is the lowest level it is asked on.
    Level {
        /// The permission's lowest level.
        lowest: Level,
    },
    /// The project is restricted, which cut this grant.
    Restriction(ProjectId, CutGrant),
    /// Nothing that reaches the resource grants it.
    Grant,
}

/// A grant on the space that a restriction keeps from the project.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CutGrant {
    /// A membership of the space.
    SpaceMembership(SpaceRole),
    /// A role bound on the space.
    RoleBinding(RoleId),
    /// The fallback of a public space.
    PublicSpace(SpaceRole),
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

/// All that a decision is made from.
pub trait Facts {
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
    /// What a role grants; nothing, if it doesn't exist.
    fn permissions(&self, role: RoleId) -> PermissionSet;
}

/// Answers the question from these facts, as of `now` (§7). Deny is the default; there are no negative grants.
pub fn decide(facts: &impl Facts, question: &Question, now: Timestamp) -> Decision {
    let Question {
        principal: user,
        permission,
        resource,
    } = *question;
    let Some(principal) = facts
        .principal(user)
        .filter(|principal| principal.acts_at(now))
    else {
        return Decision::Denied(Lack::Principal);
    };
    let Some(place) = facts.place(resource) else {
        return Decision::Denied(Lack::Resource);
    };
    let lowest = permission.lowest_level();
    if !resource.level().reaches(lowest) {
        return Decision::Denied(Lack::Level { lowest });
    }
    if let Some(grant) = admin_grant(facts, user, &principal, place) {
        return Decision::Allowed(grant);
    }
    match place {
        Place::Account => allow_if(
            principal.account_role.permissions().contains(permission),
            Grant::AccountRole(principal.account_role),
        ),
        Place::Organization(organization) => match facts.organization_role(user, organization) {
            Some(role) => allow_if(
                role.permissions().contains(permission),
                Grant::OrganizationRole(organization, role),
            ),
            None => Decision::Denied(Lack::Grant),
        },
        Place::Space(space) => match space_grant(facts, user, &principal, space, permission) {
            Some(grant) => Decision::Allowed(grant.on(space)),
            None => Decision::Denied(Lack::Grant),
        },
        Place::Project(project, space, is_restricted) => {
            let inherited = space_grant(facts, user, &principal, space, permission);
            // Who may manage a restriction from the space keeps that right, and no other (§6).
            let is_cut = is_restricted && permission != Permission::ProjectRestrict;
            if let Some(grant) = inherited.filter(|_| !is_cut) {
                return Decision::Allowed(grant.on(space));
            }
            let on = Bindable::Project(project);
            match (facts.bound_role(user, on), inherited) {
                (Some(role), _) if facts.permissions(role).contains(permission) => {
                    Decision::Allowed(Grant::RoleBinding(on, role))
                }
                (_, Some(cut)) => Decision::Denied(Lack::Restriction(project, cut)),
                (_, None) => Decision::Denied(Lack::Grant),
            }
        }
    }
}

/// The grant that makes the user an admin over this resource, if they are one: account admin, admin of its
/// organization, or admin of its space. Restrictions don't cut these.
pub fn admin_over(
    facts: &impl Facts,
    user: UserId,
    resource: Resource,
    now: Timestamp,
) -> Option<Grant> {
    let principal = facts
        .principal(user)
        .filter(|principal| principal.acts_at(now))?;
    admin_grant(facts, user, &principal, facts.place(resource)?)
}

fn admin_grant(
    facts: &impl Facts,
    user: UserId,
    principal: &Principal,
    place: Place,
) -> Option<Grant> {
    if principal.account_role == AccountRole::Admin {
        return Some(Grant::AccountAdmin);
    }
    let (organization, space) = match place {
        Place::Account => return None,
        Place::Organization(organization) => (organization, None),
        Place::Space(space) | Place::Project(_, space, _) => {
            (space.organization, Some(space.space))
        }
    };
    if facts.organization_role(user, organization) == Some(OrganizationRole::Admin) {
        return Some(Grant::OrganizationAdmin(organization));
    }
    let space = space?;
    if facts.space_role(user, space) == Some(SpaceRole::Admin) {
        return Some(Grant::SpaceAdmin(space));
    }
    let bound = facts.bound_role(user, Bindable::Space(space));
    (bound == Some(SpaceRole::Admin.role())).then_some(Grant::SpaceAdminByBinding(space))
}

/// What grants the permission at the level of the space: membership and binding together, or, where there is neither,
/// the fallback of a public space (§3, §4).
fn space_grant(
    facts: &impl Facts,
    user: UserId,
    principal: &Principal,
    place: SpacePlace,
    permission: Permission,
) -> Option<CutGrant> {
    let membership = facts.space_role(user, place.space);
    let binding = facts.bound_role(user, Bindable::Space(place.space));
    if membership.is_none() && binding.is_none() {
        // An explicit role replaces the fallback, also when it is lower; bots have none.
        let may_fall_back = place.is_public && principal.is_human;
        let role = facts
            .organization_role(user, place.organization)
            .filter(|_| may_fall_back)?;
        let role = role.in_public_spaces();
        return role
            .permissions()
            .contains(permission)
            .then_some(CutGrant::PublicSpace(role));
    }
    let by_membership = membership
        .filter(|role| role.permissions().contains(permission))
        .map(CutGrant::SpaceMembership);
    let by_binding = binding
        .filter(|role| facts.permissions(*role).contains(permission))
        .map(CutGrant::RoleBinding);
    by_membership.or(by_binding)
}

impl CutGrant {
    /// The grant where nothing cuts it.
    fn on(self, place: SpacePlace) -> Grant {
        match self {
            Self::SpaceMembership(role) => Grant::SpaceMembership(place.space, role),
            Self::RoleBinding(role) => Grant::RoleBinding(Bindable::Space(place.space), role),
            Self::PublicSpace(role) => Grant::PublicSpace(place.space, place.organization, role),
        }
    }
}

const fn allow_if(granted: bool, grant: Grant) -> Decision {
    if granted {
        Decision::Allowed(grant)
    } else {
        Decision::Denied(Lack::Grant)
    }
}
