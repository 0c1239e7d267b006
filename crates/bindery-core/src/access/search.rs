//! The same questions from the other side: where may this user, and who may here?
//!
//! What is held is read table by table, and each part of it is decided by itself: of the ways to a place (see
//! [`crate::decision`]) only the fallback of a public space asks about another one, whether there is a role in the space. So
//! who holds what is never looked up again, and each result costs little more than its slot.

use std::cell::Cell;

use bindery_index::{Kind, View};

use super::{AccessIndex, IndexFacts};
use crate::decision::fast::{
    Acting, Ancestors, AskState, CodedFacts, Codes, PermissionWord, allows, fallback, reaches,
};
use crate::decision::{Place, Question, SpacePlace};
use crate::id::{Id as _, OrganizationId, ProjectId, Revision, SpaceId, UserId};
use crate::permission::Permission;
use crate::resource::{Level, Resource};
use crate::role::{AccountRole, OrganizationRole, SpaceRole};
use crate::time::Timestamp;

impl AccessIndex {
    /// Every resource of this level on which the user may use the permission, in no order, and the one revision at which that
    /// is so; they replace what is in `found`. `None` as in [`AccessIndex::decide`]; then the whole
    /// state is searched.
    pub fn resources_of(
        &self,
        user: UserId,
        permission: Permission,
        level: Level,
        now: Timestamp,
        found: &mut Vec<Resource>,
    ) -> Option<Revision> {
        let made = self.0.read_long(|view| {
            found.clear();
            let (facts, unknown) = (IndexFacts::new(view, now), Unknown::default());
            let mut ask = |resource: Resource| {
                let question = Question {
                    principal: user,
                    permission,
                    resource,
                };
                if unknown.or(allows(facts, &question)) {
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
                Level::Project if is_account_admin(facts, user) => view
                    .projects()
                    .for_each(|number| ask(Resource::Project(ProjectId::new(number)))),
                Level::Project => projects_of(facts, &unknown, user, permission, |project| {
                    found.push(Resource::Project(project));
                }),
            }
            unknown.check()
        });
        made.and_then(|(known, revision)| known.ok().map(|()| Revision(revision)))
    }

    /// Everyone who may use the permission on the resource, in no order, and the one revision at which that is so; they replace
    /// what is in `found`. `None` as in [`AccessIndex::decide`]; then the whole
    /// state is searched.
    pub fn users_of(
        &self,
        resource: Resource,
        permission: Permission,
        now: Timestamp,
        found: &mut Vec<UserId>,
    ) -> Option<Revision> {
        let made = self.0.read_long(|view| {
            found.clear();
            let (facts, unknown) = (IndexFacts::new(view, now), Unknown::default());
            let Some(place) = facts.place_of(resource) else {
                return Ok(());
            };
            match place {
                Place::Account | Place::Organization(_) => {
                    for_each_above_spaces(view, place, |user| {
                        let question = Question {
                            principal: user,
                            permission,
                            resource,
                        };
                        if unknown.or(allows(facts, &question)) {
                            found.push(user);
                        }
                    });
                }
                Place::Space(space) => {
                    let here = Here::new(facts, &unknown, permission, space, None);
                    here.users(ProjectId::NOBODY, resource.level(), found);
                }
                Place::Project(project, space, is_restricted) => {
                    let restricted = Some(is_restricted);
                    let here = Here::new(facts, &unknown, permission, space, restricted);
                    here.users(project, resource.level(), found);
                }
            }
            unknown.check()
        });
        made.and_then(|(known, revision)| known.ok().map(|()| Revision(revision)))
    }
}

/// Whether a search met a code that says nothing: then the state is searched.
#[derive(Default)]
struct Unknown(Cell<bool>);

impl Unknown {
    /// What is known; else no, which is noted.
    #[inline]
    fn or(&self, known: Result<bool, AskState>) -> bool {
        known.unwrap_or_else(|AskState| {
            self.0.set(true);
            false
        })
    }

    fn check(&self) -> Result<(), AskState> {
        if self.0.get() { Err(AskState) } else { Ok(()) }
    }
}

fn is_account_admin(facts: IndexFacts<'_>, user: UserId) -> bool {
    let principal = facts.principal(user);
    principal.is_some_and(|principal| principal.account_role == AccountRole::Admin)
}

/// Whether a role of this code may let the permission through: by itself, or because whoever holds it is admin.
#[inline]
fn may_grant(facts: IndexFacts<'_>, unknown: &Unknown, code: u32, permission: Permission) -> bool {
    let is_admin = [OrganizationRole::Admin.role(), SpaceRole::Admin.role()]
        .into_iter()
        .any(|role| role.number() == code);
    is_admin || unknown.or(facts.grants(code, permission))
}

/// Whether the space role that this role in an organization becomes in public spaces has the permission.
#[inline]
fn falls_back_to(code: u32, permission: Permission) -> bool {
    PermissionWord::of(permission).is_granted_by(fallback(code))
}

/// Everyone who may have something to say on an organization, or in the account: rather too many than too few.
fn for_each_above_spaces(view: View<'_>, place: Place, mut with: impl FnMut(UserId)) {
    let Some(organization) = place.organization() else {
        return view.users().map(UserId::new).for_each(with);
    };
    let mut marks = Marks::new(view);
    view.each_in_organization(organization.number(), |_, user, _| {
        if marks.add(user, Mark::Met) {
            with(UserId::new(user));
        }
    });
    view.each_admin(|user| {
        if marks.add(user, Mark::Met) {
            with(UserId::new(user));
        }
    });
}

/// A space or a project, and what is asked about it.
struct Here<'a> {
    facts: IndexFacts<'a>,
    unknown: &'a Unknown,
    permission: Permission,
    space: SpacePlace,
    is_cut: bool,
}

impl<'a> Here<'a> {
    /// `is_restricted` of a project; a space has none.
    fn new(
        facts: IndexFacts<'a>,
        unknown: &'a Unknown,
        permission: Permission,
        space: SpacePlace,
        is_restricted: Option<bool>,
    ) -> Self {
        let is_cut = is_restricted == Some(true) && permission.is_cut_by_restrictions();
        Self {
            facts,
            unknown,
            permission,
            space,
            is_cut,
        }
    }

    /// The user, if they may act; of their role in the account only whether it is that of admins.
    #[inline]
    fn acting(&self, user: u32) -> Option<Acting> {
        let view = self.facts.view;
        let (brief, user) = (view.brief(user), UserId::new(user));
        if brief.ends() {
            return self.facts.acting(user);
        }
        brief.is_active().then(|| Acting {
            account_role: if brief.is_admin() {
                AccountRole::Admin
            } else {
                AccountRole::Member
            },
            is_human: brief.is_human(),
            user,
            word: 0,
        })
    }

    /// Whether the user may act, and gets here by this part of what they hold.
    #[inline]
    fn admits(&self, user: u32, held: Codes, space: SpacePlace) -> bool {
        let acting = self.acting(user);
        acting.is_some_and(|acting| {
            let Self {
                facts, permission, ..
            } = self;
            let reaches = reaches(*facts, *permission, acting, held, space, self.is_cut);
            self.unknown.or(reaches)
        })
    }

    /// Whoever has a role in the space has no fallback there, as if it weren't public.
    fn space_of_the_seated(&self) -> SpacePlace {
        SpacePlace {
            is_public: false,
            ..self.space
        }
    }

    /// Everyone who may, each once.
    fn users(&self, project: ProjectId, level: Level, found: &mut Vec<UserId>) {
        let (view, permission) = (self.facts.view, self.permission);
        if !PermissionWord::of(permission).means_something_on(level) {
            return;
        }
        let mut marks = Marks::new(view);
        let find = |user: u32, marks: &mut Marks, found: &mut Vec<UserId>| {
            if marks.add(user, Mark::Met) {
                found.push(UserId::new(user));
            }
        };
        view.each_on_project(project.number(), |_, user, code| {
            let held = Codes {
                on_project: code,
                ..Codes::default()
            };
            let may_grant = self.unknown.or(self.facts.grants(code, permission));
            if may_grant && self.admits(user, held, self.space) {
                find(user, &mut marks, found);
            }
        });
        view.each_in_space(self.space.space.number(), |kind, user, code| {
            marks.add(user, Mark::Seated);
            if !may_grant(self.facts, self.unknown, code, permission) {
                return;
            }
            let held = match kind {
                Kind::Membership => Codes {
                    membership: code,
                    ..Codes::default()
                },
                Kind::Organization | Kind::Binding | Kind::OnProject => Codes {
                    binding: code,
                    ..Codes::default()
                },
            };
            if self.admits(user, held, self.space) {
                find(user, &mut marks, found);
            }
        });
        self.users_by_organization(&mut marks, found);
        view.each_admin(|user| {
            if self.admits(user, Codes::default(), self.space_of_the_seated()) {
                find(user, &mut marks, found);
            }
        });
    }
}

impl Here<'_> {
    /// Whom their role in the organization brings here, by far the most. No branch hangs on one of them alone: who lies where is
    /// as good as random, and a wrong guess takes longer than to ask about all that lie side by side.
    fn users_by_organization(&self, marks: &mut Marks, found: &mut Vec<UserId>) {
        let (view, by_organization) = (self.facts.view, ByOrganization::new(self));
        view.each_few_in_organization(self.space.organization.number(), |few| {
            // But this one: of a place that isn't public, nearly nobody's role reaches it.
            let may_let = few.map(|(_, code)| by_organization.may_let(code));
            if !may_let.into_iter().fold(false, std::ops::BitOr::bitor) {
                return;
            }
            let (mut new, mut count) = ([UserId::NOBODY; View::FEW], 0_usize);
            for (user, code) in few {
                let (brief, is_seated) = (view.brief(user), marks.has(user, Mark::Seated));
                let lets = by_organization.of(code, is_seated);
                let acts = brief.is_active() & (!brief.ends() || self.acts_until(user));
                let is_let = acts & lets.lets(brief.is_human());
                if let Some(place) = new.get_mut(count) {
                    *place = UserId::new(user);
                }
                let is_new = marks.add_if(user, Mark::Met, is_let);
                count = count.wrapping_add(usize::from(is_new));
            }
            let before = found.len();
            found.extend_from_slice(&new);
            found.truncate(before.saturating_add(count));
        });
    }

    #[cold]
    #[inline(never)]
    fn acts_until(&self, user: u32) -> bool {
        self.facts.acting(UserId::new(user)).is_some()
    }
}

/// Whom their role in the organization brings to a place, decided once for all of its members: by role, whether they have one in
/// the space as well, and whether they are human. Account admins come by themselves. A bit for each; [`Let`] is two of them.
struct ByOrganization(u64);

/// Of those with one role and a seat or none: whether bots get there, and whether humans do.
#[derive(Clone, Copy)]
struct Let(u64);

impl ByOrganization {
    fn new(here: &Here<'_>) -> Self {
        let is_let = |role: OrganizationRole, is_seated: bool, is_human: bool| {
            let someone = Acting {
                account_role: AccountRole::Member,
                is_human,
                user: UserId::NOBODY,
                word: 0,
            };
            let held = Codes {
                organization: role.role().number(),
                ..Codes::default()
            };
            let space = if is_seated {
                here.space_of_the_seated()
            } else {
                here.space
            };
            let Here {
                facts, permission, ..
            } = here;
            here.unknown.or(reaches(
                *facts,
                *permission,
                someone,
                held,
                space,
                here.is_cut,
            ))
        };
        let mut all = 0;
        for role in OrganizationRole::ALL {
            debug_assert!(role.role().number() < 16, "four bits for each fit");
            for (is_seated, is_human) in
                [(false, false), (false, true), (true, false), (true, true)]
            {
                let bit = u64::from(is_let(role, is_seated, is_human)) << u32::from(is_human);
                all |= bit.wrapping_shl(Self::place(role.role().number(), is_seated));
            }
        }
        Self(all)
    }

    /// Whether anyone with this role is let.
    #[inline]
    const fn may_let(&self, code: u32) -> bool {
        self.0 >> Self::place(code, false) & 0xf != 0
    }

    /// Where the bits of those stand. Codes of roles in organizations are numbers of predefined ones, all below 16.
    #[inline]
    const fn place(code: u32, is_seated: bool) -> u32 {
        let seat = if is_seated { 2 } else { 0 };
        code.wrapping_mul(4) & 63 | seat
    }

    #[inline]
    const fn of(&self, code: u32, is_seated: bool) -> Let {
        Let(self.0 >> Self::place(code, is_seated) & 3)
    }
}

impl Let {
    #[inline]
    fn lets(self, is_human: bool) -> bool {
        self.0 >> u32::from(is_human) & 1 != 0
    }
}

/// Each project on which the user may, once. Account admins are asked about each there is instead.
fn projects_of(
    facts: IndexFacts<'_>,
    unknown: &Unknown,
    user: UserId,
    permission: Permission,
    mut with: impl FnMut(ProjectId),
) {
    let view = facts.view;
    let Some(acting) = facts.acting(user) else {
        return;
    };
    if !PermissionWord::of(permission).means_something_on(Level::Project) {
        return;
    }
    let (mut spaces, mut bound) = (Vec::new(), Vec::new());
    view.each_held(user.number(), |kind, resource, code| match kind {
        Kind::Membership | Kind::Binding if may_grant(facts, unknown, code, permission) => {
            spaces.push(resource);
        }
        Kind::OnProject if unknown.or(facts.grants(code, permission)) => {
            bound.push((resource, code));
        }
        Kind::Membership | Kind::Binding | Kind::OnProject => {}
        Kind::Organization => {
            let is_admin = code == OrganizationRole::Admin.role().number();
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
    let mut open: Vec<Inherited> = Vec::with_capacity(spaces.len());
    for space in spaces.into_iter().map(SpaceId::new) {
        let inherited = Inherited::of(facts, unknown, acting, space, permission);
        let Some(inherited) = inherited.filter(|inherited| inherited.to_open) else {
            continue;
        };
        view.each_project_of(space.number(), |number| {
            // Who gets to restricted ones gets to all of them, and needs no look at each.
            if inherited.to_restricted || !is_restricted(view, number) {
                with(ProjectId::new(number));
            }
        });
        open.push(inherited);
    }
    for (number, code) in bound {
        let project = ProjectId::new(number);
        let Some(Place::Project(_, above, is_restricted)) =
            facts.place_of(Resource::Project(project))
        else {
            continue;
        };
        // Those that their space lets through have come with it.
        let with_space = open.binary_search_by_key(&above.space, |open| open.space);
        let came = with_space.is_ok_and(|at| {
            let inherited = open.get(at);
            inherited.is_some_and(|open| !is_restricted || open.to_restricted)
        });
        let held = Codes {
            on_project: code,
            ..Codes::default()
        };
        let reaches = || reaches(facts, permission, acting, held, above, is_restricted);
        if !came && unknown.or(reaches()) {
            with(project);
        }
    }
}

#[inline]
fn is_restricted(view: View<'_>, project: u32) -> bool {
    view.project(project)
        .is_some_and(|project| project.is_restricted)
}

/// How far what a user holds in a space, or above it, reaches down.
struct Inherited {
    space: SpaceId,
    /// To the projects that aren't restricted.
    to_open: bool,
    /// To those that are.
    to_restricted: bool,
}

impl Inherited {
    fn of(
        facts: IndexFacts<'_>,
        unknown: &Unknown,
        acting: Acting,
        space: SpaceId,
        permission: Permission,
    ) -> Option<Self> {
        let above = facts.space_at(space)?;
        let on = Ancestors {
            organization: above.organization,
            space,
            project: ProjectId::NOBODY,
        };
        let held = facts.codes(acting.user, acting.word, on);
        let to = |is_cut: bool| unknown.or(reaches(facts, permission, acting, held, above, is_cut));
        Some(Self {
            space,
            to_open: to(false),
            to_restricted: to(permission.is_cut_by_restrictions()),
        })
    }
}

/// What a search notes of a user.
#[derive(Clone, Copy)]
enum Mark {
    /// That they need not be looked at again.
    Met,
    /// That they have a role in the space.
    Seated,
}

/// Two bits for each user, side by side: both are asked for at once.
struct Marks(Vec<u64>);

impl Marks {
    fn new(view: View<'_>) -> Self {
        let words = usize::try_from(view.users_end() / 32).unwrap_or(0);
        Self(vec![0; words.saturating_add(1)])
    }

    /// Whether the user didn't have the mark. A number that nobody has, which a torn read can come up with, never gets one.
    #[inline]
    fn add(&mut self, user: u32, mark: Mark) -> bool {
        let (word, bit) = Self::place(user, mark);
        let Some(word) = self.0.get_mut(word) else {
            return false;
        };
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }

    /// The same without a branch, if `is_so`.
    #[inline]
    fn add_if(&mut self, user: u32, mark: Mark, is_so: bool) -> bool {
        let (word, bit) = Self::place(user, mark);
        let Some(word) = self.0.get_mut(word) else {
            return false;
        };
        let before = *word;
        *word = before | bit.wrapping_mul(u64::from(is_so));
        *word != before
    }

    #[inline]
    fn has(&self, user: u32, mark: Mark) -> bool {
        let (word, bit) = Self::place(user, mark);
        self.0.get(word).is_some_and(|word| word & bit != 0)
    }

    #[inline]
    fn place(user: u32, mark: Mark) -> (usize, u64) {
        let mark: u64 = match mark {
            Mark::Met => 1,
            Mark::Seated => 2,
        };
        let word = usize::try_from(user / 32).unwrap_or(usize::MAX);
        (word, mark.wrapping_shl((user % 32).wrapping_mul(2)))
    }
}
