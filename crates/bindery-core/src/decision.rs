//! The decision: may this principal use this permission on this resource, and by which grant?
//!
//! The rule (`docs/rules/authorization.md` §7), in words:
//!
//! 1. The principal must be able to act, the resource must exist, and the permission must mean something on its level. Else the
//!    answer is no.
//! 2. An account admin may do everything. So may an admin of the organization in it, and an admin of the space in it.
//! 3. On the account, the role in the account grants what it contains. On an organization, the role there does.
//! 4. On a space, the membership and the bound role grant what they contain. A person with neither has, in a public space, the
//!    space role that stands for their role in the organization.
//! 5. A project takes over what its space grants, and adds the role bound on the project. A restriction stops what comes from the
//!    space, but not from admins, and not the right to manage the restriction.
//! 6. Everything else is no. There are no negative grants.
//!
//! [`decide`] is this rule, step by step. Entities, past states and imagined ones answer with it. The access index answers
//! with [`fast`], which looks at all ways at once; its tests hold it to this rule.

use crate::id::{OrganizationId, ProjectId, RoleId, SpaceId, UserId};
use crate::permission::Permission;
use crate::resource::{Bindable, Level, Resource};
use crate::role::{AccountRole, OrganizationRole, SpaceRole};

mod facts;
pub(crate) mod fast;

pub use facts::{Facts, Held, Place, Principal, SpacePlace};

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

/// Answers the question from these facts, at their moment.
#[inline]
pub fn decide(facts: &impl Facts, question: &Question) -> Decision {
    let Question {
        principal: user,
        permission,
        resource,
    } = *question;
    // Step 1.
    let Some(principal) = facts.acting(user) else {
        return Decision::Denied(Lack::Principal);
    };
    let Some(place) = facts.place(resource) else {
        return Decision::Denied(Lack::Resource);
    };
    let lowest = permission.lowest_level();
    if !resource.level().reaches(lowest) {
        return Decision::Denied(Lack::Level { lowest });
    }
    // Step 2.
    if principal.account_role == AccountRole::Admin {
        return Decision::Allowed(Grant::AccountAdmin);
    }
    let held = Held::of(facts, user, place);
    if let Some(grant) = held.admin_grant(place) {
        return Decision::Allowed(grant);
    }
    // Steps 3 to 5.
    match place {
        Place::Account => {
            let role = principal.account_role;
            let is_granted = role.permissions().contains(permission);
            allowed(is_granted.then_some(Grant::AccountRole(role)))
        }
        Place::Organization(id) => {
            let granting = |role: &OrganizationRole| role.permissions().contains(permission);
            let role = held.organization.filter(granting);
            allowed(role.map(|role| Grant::OrganizationRole(id, role)))
        }
        Place::Space(space) => {
            let from_space = granted_by_space(facts, principal, held, permission, space);
            allowed(from_space.map(|grant| grant.on(space)))
        }
        Place::Project(project, space, is_restricted) => {
            let from_space = granted_by_space(facts, principal, held, permission, space);
            let is_cut = is_restricted && permission.is_cut_by_restrictions();
            if let Some(grant) = from_space
                && !is_cut
            {
                return Decision::Allowed(grant.on(space));
            }
            if let Some(role) = granted_on_project(facts, held, permission) {
                let project = Bindable::Project(project);
                return Decision::Allowed(Grant::RoleBinding(project, role));
            }
            let cut = from_space.map(|cut| Lack::Restriction(project, cut));
            Decision::Denied(cut.unwrap_or(Lack::Grant))
        }
    }
}

/// Step 4: what grants the permission on the space, not counting admins.
#[inline]
fn granted_by_space(
    facts: &impl Facts,
    principal: Principal,
    held: Held,
    permission: Permission,
    space: SpacePlace,
) -> Option<CutGrant> {
    if let Some(role) = held.membership
        && role.permissions().contains(permission)
    {
        return Some(CutGrant::SpaceMembership(role));
    }
    if let Some(role) = held.binding
        && facts.permissions(role).contains(permission)
    {
        return Some(CutGrant::RoleBinding(role));
    }
    // A role of one's own replaces the fallback, also when it grants less. Bots have no fallback.
    let is_seated = held.membership.is_some() || held.binding.is_some();
    if !space.is_public || !principal.is_human || is_seated {
        return None;
    }
    let role = held.organization?.in_public_spaces();
    let is_granted = role.permissions().contains(permission);
    is_granted.then_some(CutGrant::PublicSpace(role))
}

/// Step 5: the role bound on the project, if it grants the permission.
#[inline]
fn granted_on_project(facts: &impl Facts, held: Held, permission: Permission) -> Option<RoleId> {
    let granting = |role: &RoleId| facts.permissions(*role).contains(permission);
    held.on_project.filter(granting)
}

fn allowed(grant: Option<Grant>) -> Decision {
    grant.map_or(Decision::Denied(Lack::Grant), Decision::Allowed)
}

/// The grant that makes the user an admin over this resource, if they are one: account admin, admin of its organization, or
/// admin of its space. Restrictions don't cut these.
pub fn admin_over(facts: &impl Facts, user: UserId, resource: Resource) -> Option<Grant> {
    let principal = facts.acting(user)?;
    let place = facts.place(resource)?;
    if principal.account_role == AccountRole::Admin {
        return Some(Grant::AccountAdmin);
    }
    Held::of(facts, user, place).admin_grant(place)
}

impl Held {
    /// Step 2, below the account: what makes the user an admin of the organization or the space.
    #[inline]
    fn admin_grant(self, place: Place) -> Option<Grant> {
        if self.organization == Some(OrganizationRole::Admin) {
            return place.organization().map(Grant::OrganizationAdmin);
        }
        let space = place.space()?.space;
        if self.membership == Some(SpaceRole::Admin) {
            return Some(Grant::SpaceAdmin(space));
        }
        let is_bound = self.binding == Some(SpaceRole::Admin.role());
        is_bound.then_some(Grant::SpaceAdminByBinding(space))
    }
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
