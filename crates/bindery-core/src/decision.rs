//! The decision: may this principal use this permission on this resource, and by which grant?
//!
//! Written once (`contract/authorization.md` §7) over a few facts, and asked of the access index for the present, or of
//! any state for the past and for changes that were never made. There is no second rule book.
//!
//! It looks at every way to the resource at once and takes the first that is open, instead of trying one after the other:
//! branches that wait for a fact cost more than the facts do.

use crate::id::{Id as _, OrganizationId, ProjectId, RoleId, SpaceId, UserId};
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

/// The way down to a place: what isn't on it is nobody's, where nobody holds anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path {
    /// The organization.
    pub organization: OrganizationId,
    /// The space.
    pub space: SpaceId,
    /// The project.
    pub project: ProjectId,
}

/// What a user holds on the way down to a place, as roles ([`RoleId::NOBODY`] where they hold none), and which of it has the
/// permission that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// The role in the organization.
    pub organization: HeldRole,
    /// The predefined role in the space.
    pub membership: HeldRole,
    /// The role bound on the space.
    pub binding: HeldRole,
    /// The role bound on the project.
    pub on_project: HeldRole,
    /// Whether the space role that the role in the organization becomes in public spaces has the permission.
    pub fallback_grants: bool,
}

/// A role that is held, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldRole {
    /// Which; [`RoleId::NOBODY`] for none.
    pub role: RoleId,
    /// Whether it has the permission.
    pub grants: bool,
}

impl HeldRole {
    /// Nothing is held.
    pub const NONE: Self = Self {
        role: RoleId::NOBODY,
        grants: false,
    };

    #[inline]
    fn is(self, role: RoleId) -> bool {
        self.role == role
    }
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

    /// All that the user holds on the way down to a place. Who has it side by side says so at once.
    fn held(&self, user: UserId, on: Path, permission: Permission) -> Held {
        let held = |role: Option<RoleId>| match role {
            Some(role) => HeldRole {
                role,
                grants: self.permissions(role).contains(permission),
            },
            None => HeldRole::NONE,
        };
        let in_organization = self.organization_role(user, on.organization);
        let fallback = in_organization.map(OrganizationRole::in_public_spaces);
        Held {
            organization: held(in_organization.map(OrganizationRole::role)),
            membership: held(self.space_role(user, on.space).map(SpaceRole::role)),
            binding: held(self.bound_role(user, Bindable::Space(on.space))),
            on_project: held(self.bound_role(user, Bindable::Project(on.project))),
            fallback_grants: fallback.is_some_and(|role| role.permissions().contains(permission)),
        }
    }
}

impl Place {
    /// The way down to it.
    #[inline]
    pub fn path(self) -> Path {
        Path {
            organization: self.organization().unwrap_or(OrganizationId::NOBODY),
            space: self.space().map_or(SpaceId::NOBODY, |space| space.space),
            project: self.project().unwrap_or(ProjectId::NOBODY),
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

/// Answers the question from these facts, as of `now` (§7). Deny is the default; there are no negative grants.
#[inline]
pub fn decide(facts: &impl Facts, question: &Question, now: Timestamp) -> Decision {
    match weigh(facts, question, now) {
        Weighed::Decided(decision) => decision,
        Weighed::Ways(ways) => ways.decision(),
    }
}

/// [`decide`] for whoever doesn't ask why.
#[inline(always)]
#[expect(
    clippy::inline_always,
    reason = "a loop of these is as long as what isn't inlined"
)]
pub fn allows(facts: &impl Facts, question: &Question, now: Timestamp) -> bool {
    match weigh(facts, question, now) {
        Weighed::Decided(decision) => decision.is_allowed(),
        Weighed::Ways(ways) => ways.open.is_any_grant(),
    }
}

/// What a question comes to, before its reason is put together.
enum Weighed {
    Decided(Decision),
    Ways(WaysTo),
}

/// The ways to a space or a project, with what was found on them.
struct WaysTo {
    open: Ways,
    held: Held,
    space: SpacePlace,
    project: ProjectId,
}

#[inline(always)]
#[expect(
    clippy::inline_always,
    reason = "else what it found goes through memory, of which `allows` needs a bit"
)]
fn weigh(facts: &impl Facts, question: &Question, now: Timestamp) -> Weighed {
    let Question {
        principal: user,
        permission,
        resource,
    } = *question;
    let Some(principal) = facts
        .principal(user)
        .filter(|principal| principal.acts_at(now))
    else {
        return Weighed::Decided(Decision::Denied(Lack::Principal));
    };
    let Some(place) = facts.place(resource) else {
        return Weighed::Decided(Decision::Denied(Lack::Resource));
    };
    let lowest = permission.lowest_level();
    if !resource.level().reaches(lowest) {
        return Weighed::Decided(Decision::Denied(Lack::Level { lowest }));
    }
    if principal.account_role == AccountRole::Admin {
        return Weighed::Decided(Decision::Allowed(Grant::AccountAdmin));
    }
    let (space, project, is_restricted) = match place {
        Place::Account => {
            let role = principal.account_role;
            let is_granted = role.permissions().contains(permission);
            return Weighed::Decided(allow_if(is_granted, Grant::AccountRole(role)));
        }
        Place::Organization(organization) => {
            return Weighed::Decided(in_organization(
                facts,
                user,
                place,
                organization,
                permission,
            ));
        }
        Place::Space(space) => (space, ProjectId::NOBODY, false),
        Place::Project(project, space, is_restricted) => (space, project, is_restricted),
    };
    let on = Path {
        organization: space.organization,
        space: space.space,
        project,
    };
    let held = facts.held(user, on, permission);
    // Who may manage a restriction from the space keeps that right, and no other (§6).
    let is_cut = is_restricted && permission != Permission::ProjectRestrict;
    Weighed::Ways(WaysTo {
        open: Ways::to(&held, &principal, space, is_cut),
        held,
        space,
        project,
    })
}

impl WaysTo {
    #[inline]
    fn decision(self) -> Decision {
        let Self {
            open,
            held,
            space,
            project,
        } = self;
        let in_space = |cut: CutGrant| cut.on(space);
        let cut_by = |cut: CutGrant| Decision::Denied(Lack::Restriction(project, cut));
        match open.first() {
            Way::OrganizationAdmin => {
                Decision::Allowed(Grant::OrganizationAdmin(space.organization))
            }
            Way::SpaceAdmin => Decision::Allowed(Grant::SpaceAdmin(space.space)),
            Way::SpaceAdminByBinding => Decision::Allowed(Grant::SpaceAdminByBinding(space.space)),
            Way::Membership => Decision::Allowed(in_space(held.as_membership())),
            Way::Binding => Decision::Allowed(in_space(held.as_binding())),
            Way::Fallback => Decision::Allowed(in_space(held.as_fallback())),
            Way::OnProject => Decision::Allowed(Grant::RoleBinding(
                Bindable::Project(project),
                held.on_project.role,
            )),
            Way::CutMembership => cut_by(held.as_membership()),
            Way::CutBinding => cut_by(held.as_binding()),
            Way::CutFallback => cut_by(held.as_fallback()),
            Way::None => Decision::Denied(Lack::Grant),
        }
    }
}

fn in_organization(
    facts: &impl Facts,
    user: UserId,
    place: Place,
    organization: OrganizationId,
    permission: Permission,
) -> Decision {
    let held = facts.held(user, place.path(), permission).organization;
    match OrganizationRole::from_role(held.role) {
        Some(OrganizationRole::Admin) => Decision::Allowed(Grant::OrganizationAdmin(organization)),
        Some(role) => allow_if(held.grants, Grant::OrganizationRole(organization, role)),
        None => Decision::Denied(Lack::Grant),
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
    let place = facts.place(resource)?;
    if principal.account_role == AccountRole::Admin {
        return Some(Grant::AccountAdmin);
    }
    let organization = place.organization()?;
    if facts.organization_role(user, organization) == Some(OrganizationRole::Admin) {
        return Some(Grant::OrganizationAdmin(organization));
    }
    let space = place.space()?.space;
    if facts.space_role(user, space) == Some(SpaceRole::Admin) {
        return Some(Grant::SpaceAdmin(space));
    }
    let bound = facts.bound_role(user, Bindable::Space(space));
    (bound == Some(SpaceRole::Admin.role())).then_some(Grant::SpaceAdminByBinding(space))
}

/// The ways to a space or a project, in the order in which they count; the lower ones keep what a restriction cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    OrganizationAdmin,
    SpaceAdmin,
    SpaceAdminByBinding,
    Membership,
    Binding,
    Fallback,
    OnProject,
    CutMembership,
    CutBinding,
    CutFallback,
    None,
}

/// A bit for each [`Way`] that is open.
#[derive(Clone, Copy)]
struct Ways(u32);

impl Ways {
    /// Membership and binding count together; where there is neither, the fallback of a public space does (§3, §4).
    #[inline]
    #[expect(
        clippy::needless_bitwise_bool,
        reason = "a branch would wait for the facts"
    )]
    fn to(held: &Held, principal: &Principal, space: SpacePlace, is_cut: bool) -> Self {
        // An explicit role replaces the fallback, also when it is lower; bots have none.
        let is_seated = !held.membership.is(RoleId::NOBODY) | !held.binding.is(RoleId::NOBODY);
        let falls_back = space.is_public & principal.is_human & !is_seated;
        let inherited = u32::from(held.membership.grants)
            | u32::from(held.binding.grants) << 1
            | u32::from(falls_back & held.fallback_grants) << 2;
        Self(
            u32::from(held.organization.is(OrganizationRole::Admin.role()))
                | u32::from(held.membership.is(SpaceRole::Admin.role())) << 1
                | u32::from(held.binding.is(SpaceRole::Admin.role())) << 2
                | inherited << if is_cut { 7 } else { 3 }
                | u32::from(held.on_project.grants) << 6
                | 1 << 10,
        )
    }

    /// Whether one of those is open that let through.
    #[inline]
    const fn is_any_grant(self) -> bool {
        self.0 & 0b111_1111 != 0
    }

    #[inline]
    fn first(self) -> Way {
        match self.0.trailing_zeros() {
            0 => Way::OrganizationAdmin,
            1 => Way::SpaceAdmin,
            2 => Way::SpaceAdminByBinding,
            3 => Way::Membership,
            4 => Way::Binding,
            5 => Way::Fallback,
            6 => Way::OnProject,
            7 => Way::CutMembership,
            8 => Way::CutBinding,
            9 => Way::CutFallback,
            _ => Way::None,
        }
    }
}

/// The same as grants; what isn't held can't have been a way.
impl Held {
    fn as_membership(&self) -> CutGrant {
        let role = SpaceRole::from_role(self.membership.role);
        CutGrant::SpaceMembership(role.unwrap_or(SpaceRole::Annotator))
    }

    fn as_binding(&self) -> CutGrant {
        CutGrant::RoleBinding(self.binding.role)
    }

    fn as_fallback(&self) -> CutGrant {
        let role = OrganizationRole::from_role(self.organization.role);
        let role = role.unwrap_or(OrganizationRole::Annotator);
        CutGrant::PublicSpace(role.in_public_spaces())
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

const fn allow_if(granted: bool, grant: Grant) -> Decision {
    if granted {
        Decision::Allowed(grant)
    } else {
        Decision::Denied(Lack::Grant)
    }
}
