//! The decision, fast: the same rule over codes of roles, for the access index.
//!
//! It looks at every way to the resource at once and takes the first that is open, instead of trying one after the other:
//! branches that wait for a fact cost more than the facts do. [`decide`](super::decide) is the rule. The tests below compare the
//! two over combinations of roles and marks for each kind of resource, and `bindery-model` over generated histories.

use super::{CutGrant, Decision, Grant, Lack, Place, Question, SpacePlace};
use crate::id::{Id as _, OrganizationId, ProjectId, RoleId, SpaceId, UserId};
use crate::permission::Permission;
use crate::resource::{Bindable, Level, Resource};
use crate::role::{AccountRole, OrganizationRole, PREDEFINED_ROLES, PredefinedRole, SpaceRole};

/// The facts of a decision, with roles as codes. A few words that are passed in registers.
pub(crate) trait CodedFacts: Copy {
    /// The user, if they may act at the moment.
    fn acting(self, user: UserId) -> Option<Acting>;
    /// The resource's place, if it exists.
    fn place(self, resource: Resource) -> Option<Place>;
    /// All that the user holds on the way down to a place; with the word of [`Acting`].
    fn codes(self, user: UserId, word: u64, on: Ancestors) -> Codes;
    /// The role that a code stands for; [`RoleId::NOBODY`] for 0.
    fn role(self, code: u32) -> RoleId;
    /// Whether the role that a code stands for has the permission, if the facts can say.
    fn grants(self, code: u32, permission: Permission) -> Result<bool, AskState>;
}

/// A code doesn't say what is held: only the state answers this question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AskState;

/// A place and what is above it. What isn't there has the number 0, on which nothing is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ancestors {
    /// The organization.
    pub(crate) organization: OrganizationId,
    /// The space.
    pub(crate) space: SpaceId,
    /// The project.
    pub(crate) project: ProjectId,
}

impl Ancestors {
    #[inline]
    pub(crate) fn of(place: Place) -> Self {
        Self {
            organization: place.organization().unwrap_or(OrganizationId::NOBODY),
            space: place.space().map_or(SpaceId::NOBODY, |space| space.space),
            project: place.project().unwrap_or(ProjectId::NOBODY),
        }
    }
}

/// The roles that a user holds on the way down to a place, as codes, 0 for none. Below [`CUSTOM_FIRST`](crate::role::CUSTOM_FIRST) a code is the number of a
/// predefined role; [`CodedFacts::role`] knows which role any other stands for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Codes {
    /// The role in the organization.
    pub(crate) organization: u32,
    /// The predefined role in the space.
    pub(crate) membership: u32,
    /// The role bound on the space.
    pub(crate) binding: u32,
    /// The role bound on the project.
    pub(crate) on_project: u32,
}

/// Someone who may act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Acting {
    /// Their role in the account.
    pub(crate) account_role: AccountRole,
    /// Bots have no fallback in public spaces.
    pub(crate) is_human: bool,
    /// Who.
    pub(crate) user: UserId,
    /// What the facts know of them besides, for themselves alone.
    pub(crate) word: u64,
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
pub(crate) struct PermissionWord(u32);

static PERMISSION_WORDS: [PermissionWord; Permission::COUNT] = permission_words();

/// Where the level stands in an [`PermissionWord`]: roles whose numbers are below may be predefined.
const LEVEL: u32 = 30;
const _: () = assert!(PREDEFINED_ROLES.len() + 1 < 30);

const fn permission_words() -> [PermissionWord; Permission::COUNT] {
    let mut asked = [PermissionWord(0); Permission::COUNT];
    let mut permissions: &[Permission] = &Permission::ALL;
    let mut left: &mut [PermissionWord] = &mut asked;
    while let ([permission, others @ ..], [PermissionWord(word), more @ ..]) = (permissions, left) {
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

impl PermissionWord {
    #[inline]
    pub(crate) fn of(permission: Permission) -> Self {
        let asked = PERMISSION_WORDS.get(usize::from(permission.bit()));
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

/// [`decide`](super::decide) over codes.
#[inline]
pub(crate) fn decide(facts: impl CodedFacts, question: &Question) -> Result<Decision, AskState> {
    weigh(
        facts,
        question,
        |decision| decision,
        |ways| ways.decision(facts),
    )
}

/// [`decide`] without the reason.
#[inline(always)]
#[expect(
    clippy::inline_always,
    reason = "a loop of these is as long as what isn't inlined"
)]
pub(crate) fn allows(facts: impl CodedFacts, question: &Question) -> Result<bool, AskState> {
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
    facts: impl CodedFacts,
    question: &Question,
    decided: impl Fn(Decision) -> T,
    by_ways: impl FnOnce(WaysTo) -> T,
) -> Result<T, AskState> {
    let Question {
        principal: user,
        permission,
        resource,
    } = *question;
    let Some(principal) = facts.acting(user) else {
        return Ok(decided(Decision::Denied(Lack::Principal)));
    };
    // The kind of place is known here, so that none is looked at twice.
    let (space, project, is_restricted) = match resource {
        Resource::Project(_) => match facts.place(resource) {
            Some(Place::Project(project, space, is_restricted)) => (space, project, is_restricted),
            _ => return Ok(decided(Decision::Denied(Lack::Resource))),
        },
        Resource::Space(_) => match facts.place(resource) {
            Some(Place::Space(space)) => (space, ProjectId::NOBODY, false),
            _ => return Ok(decided(Decision::Denied(Lack::Resource))),
        },
        Resource::Account | Resource::Organization(_) => {
            let Acting {
                account_role, word, ..
            } = principal;
            return Ok(decided(above_spaces(facts, question, account_role, word)));
        }
    };
    let asked = PermissionWord::of(permission);
    if !asked.means_something_on(resource.level()) {
        let lowest = permission.lowest_level();
        return Ok(decided(Decision::Denied(Lack::Level { lowest })));
    }
    if principal.account_role == AccountRole::Admin {
        return Ok(decided(Decision::Allowed(Grant::AccountAdmin)));
    }
    let on = Ancestors {
        organization: space.organization,
        space: space.space,
        project,
    };
    let held = facts.codes(principal.user, principal.word, on);
    let is_cut = is_restricted && permission.is_cut_by_restrictions();
    Ok(by_ways(WaysTo {
        open: Open::of(facts, held, permission, principal, space, is_cut)?,
        held,
        space,
        project,
    }))
}

/// Whether someone who may act gets to a place below an organization by these roles; of a permission that means something
/// there. For searches, which have already read what is held.
#[inline]
pub(crate) fn reaches(
    facts: impl CodedFacts,
    permission: Permission,
    acting: Acting,
    held: Codes,
    space: SpacePlace,
    is_cut: bool,
) -> Result<bool, AskState> {
    if acting.account_role == AccountRole::Admin {
        return Ok(true);
    }
    let open = Open::of(facts, held, permission, acting, space, is_cut)?;
    Ok(open.lets_through())
}

/// The account itself and organizations: few questions are about them. What is known of the principal comes in parts, which stay
/// in registers. A reference to all of it would put it into memory for every question.
#[cold]
#[inline(never)]
fn above_spaces(
    facts: impl CodedFacts,
    question: &Question,
    role: AccountRole,
    word: u64,
) -> Decision {
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
    let held = facts.codes(user, word, Ancestors::of(place)).organization;
    match OrganizationRole::from_role(RoleId::new(held)) {
        Some(OrganizationRole::Admin) => Decision::Allowed(Grant::OrganizationAdmin(organization)),
        Some(role) => allow_if(
            PermissionWord::of(permission).is_granted_by(held),
            Grant::OrganizationRole(organization, role),
        ),
        None => Decision::Denied(Lack::Grant),
    }
}

impl WaysTo {
    #[inline]
    fn decision(self, facts: impl CodedFacts) -> Decision {
        let Self {
            open,
            held,
            space,
            project,
        } = self;
        let in_space = |cut: CutGrant| cut.on(space);
        let cut_by = |cut: CutGrant| Decision::Denied(Lack::Restriction(project, cut));
        match open.ways().first() {
            OpenWay::OrganizationAdmin => {
                Decision::Allowed(Grant::OrganizationAdmin(space.organization))
            }
            OpenWay::SpaceAdmin => Decision::Allowed(Grant::SpaceAdmin(space.space)),
            OpenWay::SpaceAdminByBinding => {
                Decision::Allowed(Grant::SpaceAdminByBinding(space.space))
            }
            OpenWay::Membership => Decision::Allowed(in_space(held.as_membership())),
            OpenWay::Binding => Decision::Allowed(in_space(held.as_binding(facts))),
            OpenWay::Fallback => Decision::Allowed(in_space(held.as_fallback())),
            OpenWay::OnProject => Decision::Allowed(Grant::RoleBinding(
                Bindable::Project(project),
                facts.role(held.on_project),
            )),
            OpenWay::CutMembership => cut_by(held.as_membership()),
            OpenWay::CutBinding => cut_by(held.as_binding(facts)),
            OpenWay::CutFallback => cut_by(held.as_fallback()),
            OpenWay::None => Decision::Denied(Lack::Grant),
        }
    }
}

/// The ways to a space or a project, in the order in which they count; the lower ones keep what a restriction cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OpenWay {
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
        facts: impl CodedFacts,
        held: Codes,
        permission: Permission,
        principal: Acting,
        space: SpacePlace,
        is_cut: bool,
    ) -> Result<Self, AskState> {
        let asked = PermissionWord::of(permission);
        debug_assert!(
            held.membership < LEVEL && fallback(held.organization) < LEVEL,
            "memberships are of predefined roles, whose codes have a bit each"
        );
        // An explicit role replaces the fallback, also when it is lower; bots have none.
        let is_seated = held.membership | held.binding != 0;
        let falls_back = space.is_public & principal.is_human & !is_seated;
        let is = |code: u32, role: RoleId| u32::from(code == role.number());
        Ok(Self {
            is_organization_admin: is(held.organization, OrganizationRole::Admin.role()),
            is_space_admin: is(held.membership, SpaceRole::Admin.role()),
            is_bound_admin: is(held.binding, SpaceRole::Admin.role()),
            by_membership: asked.granted_by(held.membership),
            by_binding: u32::from(facts.grants(held.binding, permission)?),
            by_fallback: u32::from(falls_back) & asked.granted_by(fallback(held.organization)),
            on_project: u32::from(facts.grants(held.on_project, permission)?),
            is_cut: u32::from(is_cut),
        })
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

/// A bit for each [`OpenWay`] that is open.
#[derive(Clone, Copy)]
struct Ways(u32);

impl Ways {
    #[inline]
    fn first(self) -> OpenWay {
        match self.0.trailing_zeros() {
            0 => OpenWay::OrganizationAdmin,
            1 => OpenWay::SpaceAdmin,
            2 => OpenWay::SpaceAdminByBinding,
            3 => OpenWay::Membership,
            4 => OpenWay::Binding,
            5 => OpenWay::Fallback,
            6 => OpenWay::OnProject,
            7 => OpenWay::CutMembership,
            8 => OpenWay::CutBinding,
            9 => OpenWay::CutFallback,
            _ => OpenWay::None,
        }
    }
}

/// The same as grants; what isn't held can't have been a way.
impl Codes {
    fn as_membership(self) -> CutGrant {
        let role = SpaceRole::from_role(RoleId::new(self.membership));
        CutGrant::SpaceMembership(role.unwrap_or(SpaceRole::Annotator))
    }

    fn as_binding(self, facts: impl CodedFacts) -> CutGrant {
        CutGrant::RoleBinding(facts.role(self.binding))
    }

    fn as_fallback(self) -> CutGrant {
        let role = OrganizationRole::from_role(RoleId::new(self.organization));
        let role = role.unwrap_or(OrganizationRole::Annotator);
        CutGrant::PublicSpace(role.in_public_spaces())
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
mod tests;
