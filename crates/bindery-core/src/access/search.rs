//! The same questions from the other side: where may this user, and who may here? Candidates come from the index, and each is
//! decided like any other question.

use bindery_index::{Kind, View, Where};

use super::{AccessIndex, IndexFacts, codes, way_to};
use crate::decision::{
    Acting, Asked, Codes, Facts, Path, Place, Principal, Question, allows, fallback,
};
use crate::id::{Id as _, OrganizationId, ProjectId, Revision, RoleId, SpaceId, UserId};
use crate::permission::{Permission, PermissionSet};
use crate::resource::{Bindable, Level, Resource};
use crate::role::{AccountRole, OrganizationRole, SpaceRole};
use crate::time::Timestamp;

impl AccessIndex {
    /// Every resource of this level on which the user may use the permission, in no order, and the one revision at which that
    /// is so; they replace what is in `found`. `None` as in [`AccessIndex::decide`].
    pub fn resources_of(
        &self,
        user: UserId,
        permission: Permission,
        level: Level,
        now: Timestamp,
        found: &mut Vec<Resource>,
    ) -> Option<Revision> {
        let made = self.0.read(|view| {
            found.clear();
            let facts = IndexFacts(view);
            let now = facts.clamp(now);
            let mut ask = |resource: Resource| {
                let question = Question {
                    principal: user,
                    permission,
                    resource,
                };
                if allows(&facts, &question, now) {
                    found.push(resource);
                }
            };
            match level {
                Level::Account => ask(Resource::Account),
                Level::Organization => view
                    .organizations()
                    .for_each(|number| ask(Resource::Organization(OrganizationId::new(number)))),
                Level::Space => view
                    .spaces()
                    .for_each(|number| ask(Resource::Space(SpaceId::new(number)))),
                Level::Project if is_account_admin(view, user) => view
                    .projects()
                    .for_each(|number| ask(Resource::Project(ProjectId::new(number)))),
                Level::Project => {
                    for_each_project_in_reach(facts, user, permission, |project, known| {
                        let question = Question {
                            principal: user,
                            permission,
                            resource: Resource::Project(project),
                        };
                        if allows(&known, &question, now) {
                            found.push(question.resource);
                        }
                    });
                }
            }
        });
        made.map(|((), revision)| Revision(revision))
    }

    /// Everyone who may use the permission on the resource, in no order, and the one revision at which that is so; they replace
    /// what is in `found`. `None` as in [`AccessIndex::decide`].
    pub fn users_of(
        &self,
        resource: Resource,
        permission: Permission,
        now: Timestamp,
        found: &mut Vec<UserId>,
    ) -> Option<Revision> {
        let made = self.0.read(|view| {
            found.clear();
            let facts = IndexFacts(view);
            let now = facts.clamp(now);
            let Some(place) = facts.place(resource) else {
                return;
            };
            for_each_candidate(view, place, permission, |number, codes| {
                let question = Question {
                    principal: UserId::new(number),
                    permission,
                    resource,
                };
                let known = Candidate {
                    facts,
                    place,
                    codes,
                };
                if allows(&known, &question, now) {
                    found.push(question.principal);
                }
            });
        });
        made.map(|((), revision)| Revision(revision))
    }
}

fn is_account_admin(view: View<'_>, user: UserId) -> bool {
    let principal = IndexFacts(view).principal(user);
    principal.is_some_and(|principal| principal.account_role == AccountRole::Admin)
}

/// Whether a role of this code may let the permission through: by itself, or because whoever holds it is admin.
#[inline]
fn may_grant(view: View<'_>, code: u16, permission: Permission) -> bool {
    let is_admin = [OrganizationRole::Admin.role(), SpaceRole::Admin.role()]
        .into_iter()
        .any(|role| role.number() == u32::from(code));
    is_admin || view.grants(code, permission.bit())
}

/// Whether the space role that this role in an organization becomes in public spaces has the permission.
#[inline]
fn falls_back_to(code: u16, permission: Permission) -> bool {
    Asked::of(permission).is_granted_by(fallback(u32::from(code)))
}

/// Each project that any role of the user may let them to, once, with what they hold on the way: rather too many than too few.
fn for_each_project_in_reach<'a>(
    facts: IndexFacts<'a>,
    user: UserId,
    permission: Permission,
    mut with: impl FnMut(ProjectId, Candidate<'a>),
) {
    let IndexFacts(view) = facts;
    let mut spaces = Vec::new();
    let mut bound = Vec::new();
    view.each_held(user.number(), |kind, resource, code| match kind {
        Kind::Membership | Kind::Binding => {
            if may_grant(view, code, permission) {
                spaces.push(resource);
            }
        }
        Kind::OnProject => {
            if may_grant(view, code, permission) {
                bound.push(resource);
            }
        }
        Kind::Organization => {
            let is_admin = u32::from(code) == OrganizationRole::Admin.role().number();
            if is_admin || falls_back_to(code, permission) {
                view.each_space_of(resource, |space| {
                    if is_admin || view.space(space).is_some_and(|space| space.is_public) {
                        spaces.push(space);
                    }
                });
            }
        }
    });
    spaces.sort_unstable();
    spaces.dedup();
    for project in bound.into_iter().map(ProjectId::new) {
        let Some(place) = facts.place(Resource::Project(project)) else {
            continue;
        };
        let on = way_to(place.path());
        // Those in the spaces come with them.
        if spaces.binary_search(&on.space).is_err() {
            let codes = view.held(view.user(user.number()), on);
            with(
                project,
                Candidate {
                    facts,
                    place,
                    codes,
                },
            );
        }
    }
    for space in spaces {
        for_each_project_in(facts, user, SpaceId::new(space), &mut with);
    }
}

/// Each project of the space, with what the user holds on the way: most of it is the same for all of them.
fn for_each_project_in<'a>(
    facts: IndexFacts<'a>,
    user: UserId,
    space: SpaceId,
    with: &mut impl FnMut(ProjectId, Candidate<'a>),
) {
    let IndexFacts(view) = facts;
    let Some(above) = facts.space_at(space) else {
        return;
    };
    let on = way_to(Place::Space(above).path());
    let in_space = view.held(view.user(user.number()), on);
    view.each_project_of(on.space, |number| {
        let is_restricted = view.project(number).is_some_and(|one| one.is_restricted);
        let project = ProjectId::new(number);
        let codes = bindery_index::Held {
            on_project: view.held_on_project(user.number(), on.space, number),
            ..in_space
        };
        let place = Place::Project(project, above, is_restricted);
        with(
            project,
            Candidate {
                facts,
                place,
                codes,
            },
        );
    });
}

/// Each user whom any role may let to the place, once, with what they hold on the way: rather too many than too few.
fn for_each_candidate(
    view: View<'_>,
    place: Place,
    permission: Permission,
    mut with: impl FnMut(u32, bindery_index::Held),
) {
    let on = way_to(place.path());
    let Where {
        organization,
        space,
        project,
    } = on;
    if organization == 0 {
        view.users()
            .for_each(|user| with(user, bindery_index::Held::default()));
        return;
    }
    view.each_on_project(project, |_, user, _| with(user, view.held_by(user, on)));
    view.each_in_space(space, |kind, user, _| {
        let codes = view.held_by(user, on);
        // Whoever has a membership and a binding comes twice here.
        let is_second = kind == Kind::Binding && codes.membership != 0;
        if codes.on_project == 0 && !is_second {
            with(user, codes);
        }
    });
    let is_public = place.space().is_some_and(|space| space.is_public);
    let may_reach = |code: u16| {
        is_public && falls_back_to(code, permission) || may_grant(view, code, permission)
    };
    view.each_in_organization(organization, |_, user, code| {
        if may_reach(code) {
            let codes = view.held_by(user, on);
            if codes.on_project == 0 && codes.membership == 0 && codes.binding == 0 {
                with(user, codes);
            }
        }
    });
    view.each_admin(|user| {
        let codes = view.held_by(user, on);
        let came = codes.on_project != 0
            || codes.membership != 0
            || codes.binding != 0
            || codes.organization != 0 && may_reach(codes.organization);
        if !came {
            with(user, codes);
        }
    });
}

/// The facts about one user and one place, once what they hold there is known.
struct Candidate<'a> {
    facts: IndexFacts<'a>,
    place: Place,
    codes: bindery_index::Held,
}

impl Facts for Candidate<'_> {
    #[inline]
    fn principal(&self, user: UserId) -> Option<Principal> {
        self.facts.principal(user)
    }

    #[inline]
    fn place(&self, _: Resource) -> Option<Place> {
        Some(self.place)
    }

    #[inline]
    fn acting(&self, user: UserId, now: Timestamp) -> Option<Acting> {
        self.facts.acting(user, now)
    }

    #[inline]
    fn codes(&self, _: UserId, _: Path) -> Codes {
        codes(self.codes)
    }

    #[inline]
    fn role(&self, code: u32) -> RoleId {
        self.facts.role(code)
    }

    #[inline]
    fn grants(&self, code: u32, permission: Permission) -> bool {
        self.facts.grants(code, permission)
    }

    fn organization_role(&self, user: UserId, on: OrganizationId) -> Option<OrganizationRole> {
        self.facts.organization_role(user, on)
    }

    fn space_role(&self, user: UserId, on: SpaceId) -> Option<SpaceRole> {
        self.facts.space_role(user, on)
    }

    fn bound_role(&self, user: UserId, on: Bindable) -> Option<RoleId> {
        self.facts.bound_role(user, on)
    }

    fn permissions(&self, role: RoleId) -> PermissionSet {
        self.facts.permissions(role)
    }
}
