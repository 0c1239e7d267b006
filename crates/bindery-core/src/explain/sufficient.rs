//! The smallest grant that would be enough.
//!
//! *Smallest* means: on the very resource that was asked about and nothing above it; taking away nothing that is held there; and of
//! what is left, bringing the fewest permissions there that weren't held. Several that bring as few are as good. It is one change that
//! an account admin can make: binding a role that exists, another role for the binding that is there, or a role in the organization.

use crate::decision::{Decision, Facts, Lack, Place, Principal, Question, decide};
use crate::id::{OrganizationId, RoleBindingId, RoleId, SpaceId, UserId};
use crate::permission::{Permission, PermissionSet};
use crate::resource::{Bindable, Level, Resource};
use crate::role::{AccountRole, OrganizationRole, PredefinedRole, SpaceRole};
use crate::state::{State, StateAt};
use crate::time::Timestamp;

/// What would make a no a yes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sufficient {
    /// Nothing more is needed.
    Nothing,
    /// Any one of these, by role; [`Sufficient::SHOWN_MAX`] of them at the most.
    Any(Vec<SufficientGrant>),
    /// No grant can.
    None(NoGrant),
    /// Whoever asks may not read roles.
    OutOfSight,
}

impl Sufficient {
    /// How many equally small grants are told.
    pub const SHOWN_MAX: usize = 5;
}

/// A grant that would be enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SufficientGrant {
    /// What would be done.
    pub change: SufficientChange,
    /// How many permissions it brings on the resource that weren't held there; the one that was asked for is among them.
    pub gained: u32,
}

/// A change that an account admin can make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SufficientChange {
    /// Binding the role.
    Bind {
        /// On what.
        on: Bindable,
        /// Which.
        role: RoleId,
    },
    /// Giving the binding that is there another role.
    Rebind {
        /// Which binding.
        binding: RoleBindingId,
        /// On what.
        on: Bindable,
        /// The role that it has.
        from: RoleId,
        /// The role that it would have.
        to: RoleId,
    },
    /// A role in the organization, or another one.
    Join {
        /// Where.
        organization: OrganizationId,
        /// Which.
        role: OrganizationRole,
    },
}

/// Why no grant can make it a yes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoGrant {
    /// The principal can't act.
    Principal,
    /// There is no such resource.
    Resource,
    /// The permission means nothing on a resource of that level.
    Level {
        /// The lowest level on which it means something.
        lowest: Level,
    },
    /// On the account only the role in the account counts, which is given once.
    AccountRole,
    /// The roles of a bot in organizations are given with its key.
    BotInOrganization,
    /// No role that an annotator of the account can have in an organization grants it.
    Annotator,
}

impl State {
    pub(super) fn sufficient(
        &self,
        question: &Question,
        decision: Decision,
        now: Timestamp,
    ) -> Sufficient {
        match decision {
            Decision::Allowed(_) => Sufficient::Nothing,
            Decision::Denied(Lack::Principal) => Sufficient::None(NoGrant::Principal),
            Decision::Denied(Lack::Resource) => Sufficient::None(NoGrant::Resource),
            Decision::Denied(Lack::Level { lowest }) => Sufficient::None(NoGrant::Level { lowest }),
            Decision::Denied(Lack::Restriction(..) | Lack::Grant) => match question.resource {
                Resource::Account => Sufficient::None(NoGrant::AccountRole),
                Resource::Organization(id) => self.sufficient_membership(question, id, now),
                Resource::Space(id) => self.sufficient_binding(question, Bindable::Space(id), now),
                Resource::Project(id) => {
                    self.sufficient_binding(question, Bindable::Project(id), now)
                }
            },
        }
    }

    fn sufficient_binding(&self, question: &Question, on: Bindable, now: Timestamp) -> Sufficient {
        let user = question.principal;
        let facts = self.at(now);
        let before = allowed(&facts, question);
        // A role that nothing has grants nothing, and is a role of one's own all the same.
        let bare = Supposed {
            facts,
            user,
            held: SupposedHeld::Bound(on, RoleId::new(u32::MAX)),
        };
        let bare = allowed(&bare, question);
        let reach = PermissionSet::at_or_below(question.resource.level());
        let predefined = PredefinedRole::all().filter(|(_, role)| role.listed);
        let predefined = predefined.map(|(id, role)| (id, role.permissions));
        let custom = self.roles.values().map(|role| (role.id, role.permissions));
        let after = |(role, permissions): (RoleId, PermissionSet)| {
            (role, bare.union(permissions.intersection(reach)))
        };
        let old = self.role_binding_on(on, user);
        smallest(
            predefined.chain(custom).map(after),
            before,
            question.permission,
            |role| match old {
                None => SufficientChange::Bind { on, role },
                Some(old) => SufficientChange::Rebind {
                    binding: old.id,
                    on,
                    from: old.role,
                    to: role,
                },
            },
        )
        // The predefined role `Admin` has all that means something on a space or below.
        .unwrap_or(Sufficient::None(NoGrant::Resource))
    }

    fn sufficient_membership(
        &self,
        question: &Question,
        organization: OrganizationId,
        now: Timestamp,
    ) -> Sufficient {
        let user = question.principal;
        let Some(principal) = self.principal(user) else {
            return Sufficient::None(NoGrant::Principal);
        };
        if !principal.is_human {
            return Sufficient::None(NoGrant::BotInOrganization);
        }
        // Annotators of the account are annotators everywhere, and nobody else is (§4).
        let is_annotator = principal.account_role == AccountRole::Annotator;
        let fitting = OrganizationRole::ALL
            .into_iter()
            .filter(|role| is_annotator == (*role == OrganizationRole::Annotator));
        let facts = self.at(now);
        let after = fitting.map(|role| {
            let supposed = Supposed {
                facts,
                user,
                held: SupposedHeld::Joined(organization, role),
            };
            (role, allowed(&supposed, question))
        });
        let before = allowed(&facts, question);
        smallest(after, before, question.permission, |role| {
            SufficientChange::Join { organization, role }
        })
        .unwrap_or(Sufficient::None(NoGrant::Annotator))
    }
}

/// Those that bring the fewest, of those that have the permission and take nothing away.
fn smallest<R: Copy>(
    after: impl Iterator<Item = (R, PermissionSet)>,
    before: PermissionSet,
    wanted: Permission,
    change: impl Fn(R) -> SufficientChange,
) -> Option<Sufficient> {
    let mut found: Vec<SufficientGrant> = Vec::new();
    for (role, after) in after {
        if !after.contains(wanted) || !before.difference(after).is_empty() {
            continue;
        }
        let gained = after.difference(before).len();
        let fewest = found.first().map_or(u32::MAX, |first| first.gained);
        if gained < fewest {
            found.clear();
        }
        if gained <= fewest && found.len() < Sufficient::SHOWN_MAX {
            found.push(SufficientGrant {
                change: change(role),
                gained,
            });
        }
    }
    (!found.is_empty()).then_some(Sufficient::Any(found))
}

/// Everything that the principal of the question may do on its resource.
fn allowed(facts: &impl Facts, question: &Question) -> PermissionSet {
    let may = |permission: &Permission| {
        let question = Question {
            permission: *permission,
            ..*question
        };
        decide(facts, &question).is_allowed()
    };
    Permission::ALL.into_iter().filter(may).collect()
}

/// The facts as they would be if one user held one thing more.
struct Supposed<'a> {
    facts: StateAt<'a>,
    user: UserId,
    held: SupposedHeld,
}

#[derive(Clone, Copy)]
enum SupposedHeld {
    Bound(Bindable, RoleId),
    Joined(OrganizationId, OrganizationRole),
}

impl Facts for Supposed<'_> {
    fn moment(&self) -> Timestamp {
        self.facts.moment()
    }

    fn principal(&self, user: UserId) -> Option<Principal> {
        self.facts.principal(user)
    }

    fn place(&self, resource: Resource) -> Option<Place> {
        self.facts.place(resource)
    }

    fn organization_role(&self, user: UserId, on: OrganizationId) -> Option<OrganizationRole> {
        match self.held {
            SupposedHeld::Joined(supposed, role) if (user, on) == (self.user, supposed) => {
                Some(role)
            }
            SupposedHeld::Joined(..) | SupposedHeld::Bound(..) => {
                self.facts.organization_role(user, on)
            }
        }
    }

    fn space_role(&self, user: UserId, on: SpaceId) -> Option<SpaceRole> {
        self.facts.space_role(user, on)
    }

    fn bound_role(&self, user: UserId, on: Bindable) -> Option<RoleId> {
        match self.held {
            SupposedHeld::Bound(supposed, role) if (user, on) == (self.user, supposed) => {
                Some(role)
            }
            SupposedHeld::Bound(..) | SupposedHeld::Joined(..) => self.facts.bound_role(user, on),
        }
    }

    fn permissions(&self, role: RoleId) -> PermissionSet {
        self.facts.permissions(role)
    }
}
