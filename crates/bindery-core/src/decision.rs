//! The decision: may this principal use this permission on this resource, and by which grant?
//!
//! Written once (`docs/rules/authorization.md` §7) over a few facts, and asked of the access index for the present, or of
//! any state for the past and for changes that were never made. There is no second rule book.
//!
//! It looks at every way to the resource at once and takes the first that is open, instead of trying one after the other:
//! branches that wait for a fact cost more than the facts do.

use crate::id::{Id as _, OrganizationId, ProjectId, RoleId, SpaceId, UserId};
use crate::permission::{Permission, PermissionSet};
use crate::resource::{Bindable, Level, Resource};
use crate::role::{AccountRole, OrganizationRole, PREDEFINED_ROLES, PredefinedRole, SpaceRole};
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

/// The roles that a user holds on the way down to a place, as codes, 0 for none. Below [`CUSTOM_FIRST`](crate::role::CUSTOM_FIRST) a code is the number of a
/// predefined role; which role any other stands for, the facts know ([`Facts::role`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Codes {
    /// The role in the organization.
    pub organization: u32,
    /// The predefined role in the space.
    pub membership: u32,
    /// The role bound on the space.
    pub binding: u32,
    /// The role bound on the project.
    pub on_project: u32,
}

/// Someone who may act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acting {
    /// Their role in the account.
    pub account_role: AccountRole,
    /// Bots have no fallback in public spaces.
    pub is_human: bool,
    /// Who.
    pub user: UserId,
    /// What the facts know of them besides, for themselves alone.
    pub word: u64,
}

/// A role that is held, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldRole {
    /// Which; [`RoleId::NOBODY`] for none.
    pub role: RoleId,
    /// Whether it has the permission.
    pub grants: bool,
}

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
    /// What a role grants; nothing, if it doesn't exist.
    fn permissions(&self, role: RoleId) -> PermissionSet;

    /// The user, if they may act at the moment.
    #[inline]
    fn acting(&self, user: UserId) -> Option<Acting> {
        let principal = self.principal(user)?;
        principal.acts_at(self.moment()).then_some(Acting {
            account_role: principal.account_role,
            is_human: principal.is_human,
            user,
            word: 0,
        })
    }

    /// [`Facts::codes`] of someone who has been looked up, with the word of [`Acting`].
    #[inline]
    fn codes_of(&self, user: UserId, _word: u64, on: Path) -> Codes {
        self.codes(user, on)
    }

    /// All that the user holds on the way down to a place. Who has it side by side says so at once.
    fn codes(&self, user: UserId, on: Path) -> Codes {
        let organization = self.organization_role(user, on.organization);
        let membership = self.space_role(user, on.space);
        let code = |role: Option<RoleId>| role.map_or(0, RoleId::number);
        Codes {
            organization: code(organization.map(OrganizationRole::role)),
            membership: code(membership.map(SpaceRole::role)),
            binding: code(self.bound_role(user, Bindable::Space(on.space))),
            on_project: code(self.bound_role(user, Bindable::Project(on.project))),
        }
    }

    /// The role that a code stands for; [`RoleId::NOBODY`] for 0.
    fn role(&self, code: u32) -> RoleId {
        RoleId::new(code)
    }

    /// Whether the role that a code stands for has the permission.
    fn grants(&self, code: u32, permission: Permission) -> bool {
        code != 0 && self.permissions(self.role(code)).contains(permission)
    }

    /// What the user holds on the way down to a place, and what of it has the permission: for whoever says why.
    fn held(&self, user: UserId, on: Path, permission: Permission) -> Held {
        let codes = self.codes(user, on);
        let held = |code: u32| HeldRole {
            role: self.role(code),
            grants: self.grants(code, permission),
        };
        Held {
            organization: held(codes.organization),
            membership: held(codes.membership),
            binding: held(codes.binding),
            on_project: held(codes.on_project),
            fallback_grants: Asked::of(permission).is_granted_by(fallback(codes.organization)),
        }
    }
}

/// How far the space role that a role in an organization becomes in public spaces is behind it: both stand in the same order.
const FALLBACK: u32 = 4;

/// The code of the space role that a role in an organization becomes in public spaces. That of none is of a role in the
/// account, which grants nothing anywhere below.
#[inline]
pub(crate) const fn fallback(organization: u32) -> u32 {
    organization.wrapping_add(FALLBACK)
}

/// What decisions ask of a permission, in one word: a bit for each predefined role that has it, at the role's number, and its
/// lowest level above them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked(u32);

static ASKED: [Asked; Permission::COUNT] = asked();

/// Where the level stands in an [`Asked`]: roles whose numbers are below may be predefined.
const LEVEL: u32 = 30;
const _: () = assert!(PREDEFINED_ROLES.len() + 1 < 30);

const fn asked() -> [Asked; Permission::COUNT] {
    let mut asked = [Asked(0); Permission::COUNT];
    let mut permissions: &[Permission] = &Permission::ALL;
    let mut left: &mut [Asked] = &mut asked;
    while let ([permission, others @ ..], [Asked(word), more @ ..]) = (permissions, left) {
        *word = permission.lowest_level().number() << LEVEL;
        let mut roles: &[PredefinedRole] = &PREDEFINED_ROLES;
        let mut bit = 1_u32;
        while let [role, rest @ ..] = roles {
            bit <<= 1;
            if role.permissions.contains(*permission) {
                *word |= bit;
            }
            roles = rest;
        }
        (permissions, left) = (others, more);
    }
    asked
}

impl Asked {
    #[inline]
    pub(crate) fn of(permission: Permission) -> Self {
        let asked = ASKED.get(usize::from(permission.bit()));
        asked.copied().unwrap_or(Self(0))
    }

    /// Whether it means something on a resource of this level.
    #[inline]
    pub(crate) const fn means_something_on(self, level: Level) -> bool {
        level.number() >= self.0 >> LEVEL
    }

    /// Whether the predefined role with this number, or none, has it.
    #[inline]
    pub(crate) const fn is_granted_by(self, code: u32) -> bool {
        self.granted_by(code) != 0
    }

    /// The same as 1 or 0.
    #[inline]
    const fn granted_by(self, code: u32) -> u32 {
        self.0.wrapping_shr(code) & 1
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

/// Answers the question from these facts, at their moment (§7). Deny is the default; there are no negative grants.
#[inline]
pub fn decide(facts: &impl Facts, question: &Question) -> Decision {
    weigh(
        facts,
        question,
        |decision| decision,
        |ways| ways.decision(facts),
    )
}

/// [`decide`] for whoever doesn't ask why.
#[inline(always)]
#[expect(
    clippy::inline_always,
    reason = "a loop of these is as long as what isn't inlined"
)]
pub fn allows(facts: &impl Facts, question: &Question) -> bool {
    weigh(facts, question, Decision::is_allowed, |ways| {
        ways.open.lets_through()
    })
}

/// The ways to a space or a project, with what was found on them, before a reason is put together.
struct WaysTo {
    open: Open,
    held: Codes,
    space: SpacePlace,
    project: ProjectId,
}

#[inline(always)]
#[expect(
    clippy::inline_always,
    reason = "else what it found goes through memory, of which `allows` needs a bit: hence two ways to go on, too"
)]
fn weigh<T>(
    facts: &impl Facts,
    question: &Question,
    decided: impl Fn(Decision) -> T,
    by_ways: impl FnOnce(WaysTo) -> T,
) -> T {
    let Question {
        principal: user,
        permission,
        resource,
    } = *question;
    let Some(principal) = facts.acting(user) else {
        return decided(Decision::Denied(Lack::Principal));
    };
    // The kind of place is known here, so that none is looked at twice.
    let (space, project, is_restricted) = match resource {
        Resource::Project(_) => match facts.place(resource) {
            Some(Place::Project(project, space, is_restricted)) => (space, project, is_restricted),
            _ => return decided(Decision::Denied(Lack::Resource)),
        },
        Resource::Space(_) => match facts.place(resource) {
            Some(Place::Space(space)) => (space, ProjectId::NOBODY, false),
            _ => return decided(Decision::Denied(Lack::Resource)),
        },
        Resource::Account | Resource::Organization(_) => {
            let Acting {
                account_role, word, ..
            } = principal;
            return decided(above_spaces(facts, question, account_role, word));
        }
    };
    let asked = Asked::of(permission);
    if !asked.means_something_on(resource.level()) {
        let lowest = permission.lowest_level();
        return decided(Decision::Denied(Lack::Level { lowest }));
    }
    if principal.account_role == AccountRole::Admin {
        return decided(Decision::Allowed(Grant::AccountAdmin));
    }
    let on = Path {
        organization: space.organization,
        space: space.space,
        project,
    };
    let held = facts.codes_of(principal.user, principal.word, on);
    let is_cut = is_restricted && permission.is_cut_by_restrictions();
    by_ways(WaysTo {
        open: Open::of(facts, held, permission, principal, space, is_cut),
        held,
        space,
        project,
    })
}

/// Whether someone who may act gets to a place below an organization by these roles; of a permission that means something
/// there. For whoever already has before them what is held: searches.
#[inline]
pub(crate) fn reaches(
    facts: &impl Facts,
    permission: Permission,
    acting: Acting,
    held: Codes,
    space: SpacePlace,
    is_cut: bool,
) -> bool {
    acting.account_role == AccountRole::Admin
        || Open::of(facts, held, permission, acting, space, is_cut).lets_through()
}

/// The account itself and organizations: few questions are about them. What is known of whoever asks comes in parts, which stay
/// where they are; as one it would be put together in memory for all questions.
#[cold]
#[inline(never)]
fn above_spaces(facts: &impl Facts, question: &Question, role: AccountRole, word: u64) -> Decision {
    let Question {
        principal: user,
        permission,
        resource,
    } = *question;
    let Some(place) = facts.place(resource) else {
        return Decision::Denied(Lack::Resource);
    };
    let lowest = permission.lowest_level();
    if !resource.level().reaches(lowest) {
        return Decision::Denied(Lack::Level { lowest });
    }
    if role == AccountRole::Admin {
        return Decision::Allowed(Grant::AccountAdmin);
    }
    let Some(organization) = place.organization() else {
        let is_granted = role.permissions().contains(permission);
        return allow_if(is_granted, Grant::AccountRole(role));
    };
    let held = facts.codes_of(user, word, place.path()).organization;
    match OrganizationRole::from_role(RoleId::new(held)) {
        Some(OrganizationRole::Admin) => Decision::Allowed(Grant::OrganizationAdmin(organization)),
        Some(role) => allow_if(
            Asked::of(permission).is_granted_by(held),
            Grant::OrganizationRole(organization, role),
        ),
        None => Decision::Denied(Lack::Grant),
    }
}

impl WaysTo {
    #[inline]
    fn decision(self, facts: &impl Facts) -> Decision {
        let Self {
            open,
            held,
            space,
            project,
        } = self;
        let in_space = |cut: CutGrant| cut.on(space);
        let cut_by = |cut: CutGrant| Decision::Denied(Lack::Restriction(project, cut));
        match open.ways().first() {
            Way::OrganizationAdmin => {
                Decision::Allowed(Grant::OrganizationAdmin(space.organization))
            }
            Way::SpaceAdmin => Decision::Allowed(Grant::SpaceAdmin(space.space)),
            Way::SpaceAdminByBinding => Decision::Allowed(Grant::SpaceAdminByBinding(space.space)),
            Way::Membership => Decision::Allowed(in_space(held.as_membership())),
            Way::Binding => Decision::Allowed(in_space(held.as_binding(facts))),
            Way::Fallback => Decision::Allowed(in_space(held.as_fallback())),
            Way::OnProject => Decision::Allowed(Grant::RoleBinding(
                Bindable::Project(project),
                facts.role(held.on_project),
            )),
            Way::CutMembership => cut_by(held.as_membership()),
            Way::CutBinding => cut_by(held.as_binding(facts)),
            Way::CutFallback => cut_by(held.as_fallback()),
            Way::None => Decision::Denied(Lack::Grant),
        }
    }
}

/// The grant that makes the user an admin over this resource, if they are one: account admin, admin of its
/// organization, or admin of its space. Restrictions don't cut these.
pub fn admin_over(facts: &impl Facts, user: UserId, resource: Resource) -> Option<Grant> {
    let principal = facts
        .principal(user)
        .filter(|principal| principal.acts_at(facts.moment()))?;
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

/// Which ways are open, before a restriction has cut any: 1 or 0 each. As `bool`s they would be packed into one word, and
/// taken out of it again.
#[derive(Clone, Copy)]
struct Open {
    is_organization_admin: u32,
    is_space_admin: u32,
    is_bound_admin: u32,
    by_membership: u32,
    by_binding: u32,
    by_fallback: u32,
    on_project: u32,
    is_cut: u32,
}

impl Open {
    /// Membership and binding count together; where there is neither, the fallback of a public space does (§3, §4).
    #[inline(always)]
    #[expect(
        clippy::needless_bitwise_bool,
        clippy::inline_always,
        reason = "a branch would wait for the facts"
    )]
    fn of(
        facts: &impl Facts,
        held: Codes,
        permission: Permission,
        principal: Acting,
        space: SpacePlace,
        is_cut: bool,
    ) -> Self {
        let asked = Asked::of(permission);
        // An explicit role replaces the fallback, also when it is lower; bots have none.
        let is_seated = held.membership | held.binding != 0;
        let falls_back = space.is_public & principal.is_human & !is_seated;
        let is = |code: u32, role: RoleId| u32::from(code == role.number());
        Self {
            is_organization_admin: is(held.organization, OrganizationRole::Admin.role()),
            is_space_admin: is(held.membership, SpaceRole::Admin.role()),
            is_bound_admin: is(held.binding, SpaceRole::Admin.role()),
            by_membership: asked.granted_by(held.membership),
            by_binding: u32::from(facts.grants(held.binding, permission)),
            by_fallback: u32::from(falls_back) & asked.granted_by(fallback(held.organization)),
            on_project: u32::from(facts.grants(held.on_project, permission)),
            is_cut: u32::from(is_cut),
        }
    }

    /// Whether one of those is open that let through.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "as of the function that calls it")]
    const fn lets_through(self) -> bool {
        let inherited = self.by_membership | self.by_binding | self.by_fallback;
        let open = self.is_organization_admin
            | self.is_space_admin
            | self.is_bound_admin
            | (inherited & !self.is_cut)
            | self.on_project;
        open != 0
    }

    #[inline]
    const fn ways(self) -> Ways {
        let inherited = self.by_membership | self.by_binding << 1 | self.by_fallback << 2;
        Ways(
            self.is_organization_admin
                | self.is_space_admin << 1
                | self.is_bound_admin << 2
                | inherited << if self.is_cut == 0 { 3 } else { 7 }
                | self.on_project << 6,
        )
    }
}

/// A bit for each [`Way`] that is open.
#[derive(Clone, Copy)]
struct Ways(u32);

impl Ways {
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
impl Codes {
    fn as_membership(self) -> CutGrant {
        let role = SpaceRole::from_role(RoleId::new(self.membership));
        CutGrant::SpaceMembership(role.unwrap_or(SpaceRole::Annotator))
    }

    fn as_binding(self, facts: &impl Facts) -> CutGrant {
        CutGrant::RoleBinding(facts.role(self.binding))
    }

    fn as_fallback(self) -> CutGrant {
        let role = OrganizationRole::from_role(RoleId::new(self.organization));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fallback_of_a_role_is_a_step_behind_it() {
        for role in OrganizationRole::ALL {
            let behind = fallback(role.role().number());
            assert_eq!(role.in_public_spaces().role(), RoleId::new(behind));
        }
        let behind_none = AccountRole::Annotator;
        assert_eq!(behind_none.role(), RoleId::new(fallback(0)));
        assert!(behind_none.permissions().is_empty());
    }

    #[test]
    fn what_predefined_roles_grant_is_what_their_sets_say() {
        for permission in Permission::ALL {
            for (id, role) in PredefinedRole::all() {
                let is_granted = Asked::of(permission).is_granted_by(id.number());
                let has = role.permissions.contains(permission);
                assert_eq!(is_granted, has, "{} {permission:?}", role.name);
            }
            assert!(!Asked::of(permission).is_granted_by(0));
            for level in [
                Level::Project,
                Level::Space,
                Level::Organization,
                Level::Account,
            ] {
                let means = Asked::of(permission).means_something_on(level);
                assert_eq!(means, level.reaches(permission.lowest_level()));
            }
        }
    }
}
