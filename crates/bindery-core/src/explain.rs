//! The decision, explained: every way that it looks at, in its order, and what became of each; then what would be enough.
//!
//! It reads the same facts as [`decide`](crate::decision::decide) and says the same, way by way: the first that is open is the grant
//! of the decision. That costs what a decision must not, so nothing here runs unless somebody asks. `words.rs` says it in sentences,
//! `denied.rs` why the answer is no, `sufficient.rs` finds the smallest grant that would be enough.

use crate::command::Context;
use crate::decision::{
    CutGrant, Decision, Facts, Grant, Held, Lack, Place, Principal, Question, SpacePlace,
};
use crate::id::{Id as _, OrganizationId, ProjectId, RoleId, SpaceId, UserId};
use crate::permission::Permission;
use crate::resource::{Bindable, Resource};
use crate::role::{AccountRole, OrganizationRole, SpaceRole};
use crate::state::State;
use crate::time::Timestamp;
use crate::user::{Identity, Standing};

mod denied;
mod sufficient;
mod words;

pub use sufficient::{NoGrant, Sufficient, SufficientChange, SufficientGrant};
pub use words::Words;

/// A decision and how it came about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// What was asked.
    pub question: Question,
    /// The decision.
    pub verdict: Verdict,
    /// Every way in the order in which they count; none if principal, resource or permission settle it.
    pub paths: Vec<Path>,
    /// What would make it a yes.
    pub sufficient: Sufficient,
}

/// A decision, as far as whoever asks may know its reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The decision.
    Decided(Decision),
    /// The same for want of the principal, and why they can't act.
    Absent(Absence),
    /// Yes, by something that whoever asks may not read.
    AllowedOutOfSight,
}

/// Why a principal can do nothing at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absence {
    /// There is no such user.
    Unknown,
    /// They were deleted; of a bot, its key was revoked.
    Gone,
    /// They haven't accepted their invitation.
    Invited,
    /// They never accepted it, and can't any more.
    InvitationLapsed,
    /// The bot's key was revoked.
    KeyRevoked,
    /// The bot's key has ended.
    KeyEnded,
}

/// One way to a resource, and what became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path {
    /// Which.
    pub way: Way,
    /// What became of it.
    pub outcome: Outcome,
}

/// A way on which a permission can come to somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Being account admin.
    AccountAdmin,
    /// The role in the account, on the account itself.
    AccountRole,
    /// Being admin of the organization.
    OrganizationAdmin(OrganizationId),
    /// The role in the organization, on the organization itself.
    OrganizationRole(OrganizationId),
    /// Being admin of the space by membership.
    SpaceAdmin(SpaceId),
    /// Being admin of the space by a binding of the predefined role `Admin`.
    SpaceAdminByBinding(SpaceId),
    /// The membership of the space.
    SpaceMembership(SpaceId),
    /// The role bound on the space.
    SpaceBinding(SpaceId),
    /// The role in the organization, in its public spaces.
    PublicSpace(SpaceId, OrganizationId),
    /// The role bound on the project.
    ProjectBinding(ProjectId),
}

impl Way {
    /// Where that is held.
    pub const fn place(self) -> Resource {
        match self {
            Self::AccountAdmin | Self::AccountRole => Resource::Account,
            Self::OrganizationAdmin(id) | Self::OrganizationRole(id) | Self::PublicSpace(_, id) => {
                Resource::Organization(id)
            }
            Self::SpaceAdmin(id)
            | Self::SpaceAdminByBinding(id)
            | Self::SpaceMembership(id)
            | Self::SpaceBinding(id) => Resource::Space(id),
            Self::ProjectBinding(id) => Resource::Project(id),
        }
    }
}

/// What became of a way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is open.
    Allows(Grant),
    /// It would be, if the project weren't restricted.
    Cut(ProjectId, CutGrant),
    /// A role is held there, and doesn't grant this.
    Lacks(RoleId),
    /// Nothing is held there.
    NotHeld,
    /// The fallback of public spaces isn't for them here.
    NoFallback(NoFallback),
    /// Whoever asks may not read what is held there.
    OutOfSight,
}

/// Why a role in the organization doesn't count in a space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoFallback {
    /// The space is private.
    PrivateSpace,
    /// Bots have what they were given.
    Bot,
    /// A role of their own in the space replaces it.
    OwnRole,
    /// They have no role in the organization.
    NoMember,
}

/// Explains a decision by these facts, at their moment. What would be enough, facts alone don't tell.
pub fn explain(facts: &impl Facts, question: &Question) -> (Decision, Vec<Path>) {
    let Question {
        principal: user,
        permission,
        resource,
    } = *question;
    let Some(principal) = facts.acting(user) else {
        return (Decision::Denied(Lack::Principal), Vec::new());
    };
    let Some(place) = facts.place(resource) else {
        return (Decision::Denied(Lack::Resource), Vec::new());
    };
    let lowest = permission.lowest_level();
    if !resource.level().reaches(lowest) {
        return (Decision::Denied(Lack::Level { lowest }), Vec::new());
    }
    let paths = Paths {
        principal,
        place,
        permission,
        held: Granting::of(facts, Held::of(facts, user, place), permission),
    }
    .all();
    (verdict(&paths), paths)
}

/// The first way that is open; else what was cut; else nothing.
fn verdict(paths: &[Path]) -> Decision {
    let mut cut = None;
    for path in paths {
        match path.outcome {
            Outcome::Allows(grant) => return Decision::Allowed(grant),
            Outcome::Cut(project, grant) => {
                cut = cut.or(Some(Lack::Restriction(project, grant)));
            }
            Outcome::Lacks(_) | Outcome::NotHeld | Outcome::NoFallback(_) | Outcome::OutOfSight => {
            }
        }
    }
    Decision::Denied(cut.unwrap_or(Lack::Grant))
}

/// What the ways are told from.
struct Paths {
    principal: Principal,
    place: Place,
    permission: Permission,
    held: Granting,
}

/// What a user holds on the way down to a place, and which of it has the permission.
#[derive(Clone, Copy)]
struct Granting {
    organization: HeldRole,
    membership: HeldRole,
    binding: HeldRole,
    on_project: HeldRole,
    /// Whether the space role that stands for the role in the organization has it.
    fallback_grants: bool,
}

/// A role that is held, or none.
#[derive(Clone, Copy)]
struct HeldRole {
    /// Which; [`RoleId::NOBODY`] for none.
    role: RoleId,
    grants: bool,
}

impl Granting {
    fn of(facts: &impl Facts, held: Held, permission: Permission) -> Self {
        let one = |role: Option<RoleId>| HeldRole {
            role: role.unwrap_or(RoleId::NOBODY),
            grants: role.is_some_and(|role| facts.permissions(role).contains(permission)),
        };
        let fallback = held.organization.map(OrganizationRole::in_public_spaces);
        Self {
            organization: one(held.organization.map(OrganizationRole::role)),
            membership: one(held.membership.map(SpaceRole::role)),
            binding: one(held.binding),
            on_project: one(held.on_project),
            fallback_grants: fallback.is_some_and(|role| role.permissions().contains(permission)),
        }
    }
}

impl Paths {
    fn all(&self) -> Vec<Path> {
        let mut paths = vec![self.account_admin()];
        if self.place == Place::Account {
            paths.push(self.account_role());
        }
        if let Some(organization) = self.place.organization() {
            paths.push(self.organization_admin(organization));
            if self.place == Place::Organization(organization) {
                paths.push(self.organization_role(organization));
            }
        }
        if let Some(space) = self.place.space() {
            let is_admin = |held: HeldRole| held.role == SpaceRole::Admin.role();
            let admin = |held, way, grant| Path {
                way,
                outcome: if is_admin(held) {
                    Outcome::Allows(grant)
                } else {
                    lacks(held)
                },
            };
            let (membership, binding) = (self.held.membership, self.held.binding);
            let id = space.space;
            paths.push(admin(
                membership,
                Way::SpaceAdmin(id),
                Grant::SpaceAdmin(id),
            ));
            let grant = Grant::SpaceAdminByBinding(id);
            paths.push(admin(binding, Way::SpaceAdminByBinding(id), grant));
            paths.push(self.space_membership(space));
            paths.push(self.space_binding(space));
            paths.push(self.public_space(space));
        }
        if let Some(project) = self.place.project() {
            paths.push(self.project_binding(project));
        }
        paths
    }

    fn account_admin(&self) -> Path {
        let role = self.principal.account_role;
        Path {
            way: Way::AccountAdmin,
            outcome: if role == AccountRole::Admin {
                Outcome::Allows(Grant::AccountAdmin)
            } else {
                Outcome::Lacks(role.role())
            },
        }
    }

    fn account_role(&self) -> Path {
        let role = self.principal.account_role;
        Path {
            way: Way::AccountRole,
            outcome: if role.permissions().contains(self.permission) {
                Outcome::Allows(Grant::AccountRole(role))
            } else {
                Outcome::Lacks(role.role())
            },
        }
    }

    fn organization_admin(&self, id: OrganizationId) -> Path {
        let held = self.held.organization;
        Path {
            way: Way::OrganizationAdmin(id),
            outcome: if held.role == OrganizationRole::Admin.role() {
                Outcome::Allows(Grant::OrganizationAdmin(id))
            } else {
                lacks(held)
            },
        }
    }

    fn organization_role(&self, id: OrganizationId) -> Path {
        let held = self.held.organization;
        let role = OrganizationRole::from_role(held.role).filter(|_| held.grants);
        Path {
            way: Way::OrganizationRole(id),
            outcome: role.map_or(lacks(held), |role| {
                Outcome::Allows(Grant::OrganizationRole(id, role))
            }),
        }
    }

    fn space_membership(&self, space: SpacePlace) -> Path {
        let held = self.held.membership;
        let role = SpaceRole::from_role(held.role).filter(|_| held.grants);
        Path {
            way: Way::SpaceMembership(space.space),
            outcome: role.map_or(lacks(held), |role| {
                self.inherited(
                    CutGrant::SpaceMembership(role),
                    Grant::SpaceMembership(space.space, role),
                )
            }),
        }
    }

    fn space_binding(&self, space: SpacePlace) -> Path {
        let held = self.held.binding;
        Path {
            way: Way::SpaceBinding(space.space),
            outcome: if held.grants {
                self.inherited(
                    CutGrant::RoleBinding(held.role),
                    Grant::RoleBinding(Bindable::Space(space.space), held.role),
                )
            } else {
                lacks(held)
            },
        }
    }

    fn public_space(&self, space: SpacePlace) -> Path {
        let in_organization = OrganizationRole::from_role(self.held.organization.role);
        let is_seated = [self.held.membership, self.held.binding]
            .into_iter()
            .any(|held| held.role != RoleId::NOBODY);
        let outcome = match in_organization {
            _ if !space.is_public => Outcome::NoFallback(NoFallback::PrivateSpace),
            _ if !self.principal.is_human => Outcome::NoFallback(NoFallback::Bot),
            _ if is_seated => Outcome::NoFallback(NoFallback::OwnRole),
            None => Outcome::NoFallback(NoFallback::NoMember),
            Some(role) if self.held.fallback_grants => {
                let role = role.in_public_spaces();
                let grant = Grant::PublicSpace(space.space, space.organization, role);
                self.inherited(CutGrant::PublicSpace(role), grant)
            }
            Some(role) => Outcome::Lacks(role.in_public_spaces().role()),
        };
        Path {
            way: Way::PublicSpace(space.space, space.organization),
            outcome,
        }
    }

    fn project_binding(&self, id: ProjectId) -> Path {
        let held = self.held.on_project;
        Path {
            way: Way::ProjectBinding(id),
            outcome: if held.grants {
                Outcome::Allows(Grant::RoleBinding(Bindable::Project(id), held.role))
            } else {
                lacks(held)
            },
        }
    }

    /// What comes down from the space, unless a restriction cuts it. Managing the restriction it leaves (§6).
    fn inherited(&self, cut: CutGrant, grant: Grant) -> Outcome {
        match self.place {
            Place::Project(project, _, true) if self.permission.is_cut_by_restrictions() => {
                Outcome::Cut(project, cut)
            }
            Place::Account | Place::Organization(_) | Place::Space(_) | Place::Project(..) => {
                Outcome::Allows(grant)
            }
        }
    }
}

fn lacks(held: HeldRole) -> Outcome {
    if held.role == RoleId::NOBODY {
        Outcome::NotHeld
    } else {
        Outcome::Lacks(held.role)
    }
}

impl Grant {
    /// The role that grants it.
    pub fn role(self) -> RoleId {
        match self {
            Self::AccountAdmin => AccountRole::Admin.role(),
            Self::AccountRole(role) => role.role(),
            Self::OrganizationAdmin(_) => OrganizationRole::Admin.role(),
            Self::OrganizationRole(_, role) => role.role(),
            Self::SpaceAdmin(_) | Self::SpaceAdminByBinding(_) => SpaceRole::Admin.role(),
            Self::SpaceMembership(_, role) | Self::PublicSpace(_, _, role) => role.role(),
            Self::RoleBinding(_, role) => role,
        }
    }
}

impl CutGrant {
    /// The role that would grant it.
    pub fn role(self) -> RoleId {
        match self {
            Self::SpaceMembership(role) | Self::PublicSpace(role) => role.role(),
            Self::RoleBinding(role) => role,
        }
    }
}

impl Explanation {
    /// Whether the answer is yes.
    pub const fn is_allowed(&self) -> bool {
        match self.verdict {
            Verdict::Decided(decision) => decision.is_allowed(),
            Verdict::Absent(_) => false,
            Verdict::AllowedOutOfSight => true,
        }
    }

    /// What is said of a resource that isn't there, also when it is and whoever asks may not know.
    fn of_nothing(question: Question) -> Self {
        Self {
            question,
            verdict: Verdict::Decided(Decision::Denied(Lack::Resource)),
            paths: Vec::new(),
            sufficient: Sufficient::None(NoGrant::Resource),
        }
    }
}

impl State {
    /// The decision with every way to it, for whoever may know everything.
    pub fn explain(&self, question: &Question, now: Timestamp) -> Explanation {
        let (decision, paths) = explain(&self.at(now), question);
        let verdict = match decision {
            Decision::Denied(Lack::Principal) => {
                Verdict::Absent(self.absence(question.principal, now))
            }
            Decision::Allowed(_) | Decision::Denied(_) => Verdict::Decided(decision),
        };
        Explanation {
            question: *question,
            verdict,
            paths,
            sufficient: self.sufficient(question, decision, now),
        }
    }

    /// The same as far as this caller may know it, who may ask ([`State::authorize_inquiry`]).
    ///
    /// About themselves, people are told what they hold, and of a resource that they can't see and have no way to, nothing but
    /// that. About others they are told what is held where they may read role bindings, and the role in the account.
    pub fn explain_to(&self, context: &Context, question: &Question) -> Explanation {
        let mut explanation = self.explain(question, context.now);
        if self.asks_about_everything(context) {
            return explanation;
        }
        if question.principal == context.user() {
            if !explanation.is_allowed() && !self.sees(context, question.resource) {
                return Explanation::of_nothing(*question);
            }
            self.hide_privacy(context, &mut explanation.paths);
        } else {
            self.hide(context, &mut explanation);
        }
        if !self.allows(context, Permission::RoleRead, Resource::Account)
            && matches!(explanation.sufficient, Sufficient::Any(_))
        {
            explanation.sufficient = Sufficient::OutOfSight;
        }
        explanation
    }

    /// Whether a space that they can't see is private is not theirs to know.
    fn hide_privacy(&self, context: &Context, paths: &mut [Path]) {
        for path in paths {
            if let (Way::PublicSpace(space, _), Outcome::NoFallback(_)) = (path.way, path.outcome)
                && !self.sees(context, space.into())
            {
                path.outcome = Outcome::NotHeld;
            }
        }
    }

    fn hide(&self, context: &Context, explanation: &mut Explanation) {
        for path in &mut explanation.paths {
            let place = path.way.place();
            let is_shown = place == Resource::Account || self.reads_bindings_on(context, place);
            if !is_shown {
                path.outcome = Outcome::OutOfSight;
            }
        }
        let Verdict::Decided(decision) = explanation.verdict else {
            return;
        };
        let is_shown = explanation.paths.iter().any(|path| match decision {
            Decision::Allowed(grant) => path.outcome == Outcome::Allows(grant),
            Decision::Denied(Lack::Restriction(project, cut)) => {
                path.outcome == Outcome::Cut(project, cut)
            }
            Decision::Denied(_) => true,
        });
        let is_settled = explanation.paths.is_empty();
        if is_shown || is_settled {
            return;
        }
        explanation.verdict = match (decision, verdict(&explanation.paths)) {
            (Decision::Denied(_), shown) => Verdict::Decided(shown),
            // Another way that is open, and may be read, is as good a reason.
            (Decision::Allowed(_), Decision::Allowed(grant)) => {
                Verdict::Decided(Decision::Allowed(grant))
            }
            (Decision::Allowed(_), Decision::Denied(_)) => Verdict::AllowedOutOfSight,
        };
    }

    fn sees(&self, context: &Context, resource: Resource) -> bool {
        match resource {
            Resource::Account => true,
            Resource::Organization(id) => self.reader(*context).visible_organization(id).is_ok(),
            Resource::Space(id) => self.reader(*context).visible_space(id).is_ok(),
            Resource::Project(id) => self.reader(*context).visible_project(id).is_ok(),
        }
    }

    fn absence(&self, user: UserId, now: Timestamp) -> Absence {
        let Some(user) = self.user(user) else {
            return Absence::Unknown;
        };
        let key = match user.identity {
            Identity::Human { .. } => None,
            Identity::Bot { key } => Some(self.api_key(key)),
        };
        match (key, user.standing) {
            (Some(Some(key)), _) if !key.is_revoked => Absence::KeyEnded,
            (Some(_), _) => Absence::KeyRevoked,
            (None, Standing::Invited { until }) if now < until => Absence::Invited,
            (None, Standing::Invited { .. }) => Absence::InvitationLapsed,
            (None, Standing::Active | Standing::Inactive) => Absence::Gone,
        }
    }
}
