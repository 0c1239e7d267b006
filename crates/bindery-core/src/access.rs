//! The access index of an account at work: the facts of its decisions, arranged for asking while one writer goes on.
//!
//! `bindery-index` keeps them as dense integers and knows no rule; what they mean, and the one decision procedure over them, is
//! here and in [`crate::decision`]. A [`State`] answers the same from its entities, more slowly, whenever the index can't.

use std::hint::black_box;
use std::sync::Arc;

use bindery_index::{
    Changes, Holding, Index, Kind, Principal as IndexPrincipal, Project as IndexProject, Room,
    Source, Space as IndexSpace, View, Where, Writer,
};

use crate::api_key::KeyOwner;
use crate::change::Change;
use crate::decision::fast::{Acting, Ancestors, CodedFacts, Codes, allows, decide};
use crate::decision::{Decision, Facts, Place, Principal, Question, SpacePlace};
use crate::id::{Id, OrganizationId, ProjectId, Revision, RoleId, SpaceId, UserId};
use crate::permission::{Permission, PermissionSet};
use crate::place::{Project, Space};
use crate::resource::{Bindable, Resource};
use crate::role::{AccountRole, OrganizationRole, PredefinedRole, SpaceRole};
use crate::state::State;
use crate::time::Timestamp;

mod agreement;
mod between;
mod search;

/// So many questions of a batch are on their way through the memory at once.
const GROUP: usize = 128;

/// The readers' side. A clone is the same index.
#[derive(Clone, Debug)]
pub struct AccessIndex(Arc<Index>);

/// What an index takes, in bytes.
pub use bindery_index::Bytes;

impl AccessIndex {
    /// The decision, and the one revision that it was made at. `None` while changes are being made, or if the account has
    /// outgrown the index: ask the state then.
    #[inline]
    pub fn decide(&self, question: &Question, now: Timestamp) -> Option<(Decision, Revision)> {
        let made = self
            .0
            .read(|view| IndexFacts::new(view, now).decide(question));
        made.map(|(decision, revision)| (decision, Revision(revision)))
    }

    /// [`AccessIndex::decide`] for whoever doesn't ask why, which a quarter of its time goes into.
    #[inline]
    pub fn allows(&self, question: &Question, now: Timestamp) -> Option<(bool, Revision)> {
        let made = self
            .0
            .read(|view| IndexFacts::new(view, now).allows(question));
        made.map(|(is_allowed, revision)| (is_allowed, Revision(revision)))
    }

    /// What the closure makes of any number of decisions, all at the one revision and at this moment.
    ///
    /// It may run more than once, and on facts that never were: what it comes to is then thrown away. `None` as in
    /// [`AccessIndex::decide`].
    pub fn read<T>(
        &self,
        now: Timestamp,
        mut with: impl FnMut(IndexFacts<'_>) -> T,
    ) -> Option<(T, Revision)> {
        let made = self.0.read(|view| with(IndexFacts::new(view, now)));
        made.map(|(made, revision)| (made, Revision(revision)))
    }

    /// The decisions on all of them in their order, at one revision; they replace what is in `decisions`.
    pub fn decide_many(
        &self,
        questions: &[Question],
        now: Timestamp,
        decisions: &mut Vec<Decision>,
    ) -> Option<Revision> {
        self.answer_many(questions, now, decisions, |facts, question| {
            decide(&facts, question)
        })
    }

    /// [`AccessIndex::decide_many`] for whoever doesn't ask why.
    pub fn allows_many(
        &self,
        questions: &[Question],
        now: Timestamp,
        answers: &mut Vec<bool>,
    ) -> Option<Revision> {
        self.answer_many(questions, now, answers, |facts, question| {
            allows(&facts, question)
        })
    }

    #[inline]
    fn answer_many<T>(
        &self,
        questions: &[Question],
        now: Timestamp,
        answers: &mut Vec<T>,
        answer: impl Fn(IndexFacts<'_>, &Question) -> T + Copy,
    ) -> Option<Revision> {
        let made = self.0.read(|view| {
            answers.clear();
            let facts = IndexFacts::new(view, now);
            for group in questions.chunks(GROUP) {
                if view.is_large() {
                    facts.read_ahead(group);
                }
                answers.extend(group.iter().map(move |question| answer(facts, question)));
            }
        });
        made.map(|((), revision)| Revision(revision))
    }

    /// What it takes.
    pub fn bytes(&self) -> Bytes {
        self.0.bytes()
    }
}

/// The one who changes an [`AccessIndex`].
#[derive(Debug)]
pub struct AccessWriter(Writer);

impl AccessWriter {
    /// An index of the state.
    pub fn new(state: &State) -> Self {
        let mut writer = Writer::build(state, state.revision().0);
        let latest = state.latest().as_millis();
        writer.write(state.revision().0, |changes| changes.set_latest(latest));
        Self(writer)
    }

    /// The readers' side.
    pub fn index(&self) -> AccessIndex {
        AccessIndex(Arc::clone(self.0.index()))
    }

    /// Brings the index to where `after` is: everything that was touched since it was there is taken from it anew.
    ///
    /// `publish` runs while readers of the index are sent to the state, so it is where the state that they find there is
    /// exchanged for `after`: before it, they find what the index has said last, and after it, what it will say next. No
    /// reader ever goes back.
    pub fn advance<T>(
        &mut self,
        after: &State,
        touched: &[Touched],
        publish: impl FnOnce() -> T,
    ) -> T {
        self.0.write(after.revision().0, |changes| {
            for one in touched {
                one.tell(after, changes);
            }
            changes.set_latest(after.latest().as_millis());
            publish()
        })
    }
}

/// A fact that a change touches. What it has become, the state after the change says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Touched {
    /// A user, or the key that a bot lives by.
    Principal(UserId),
    /// Whether an organization is there.
    Organization(OrganizationId),
    /// A space's place and mark.
    Space(SpaceId),
    /// A project's place and mark.
    Project(ProjectId),
    /// What a role grants.
    Role(RoleId),
    /// A role in an organization.
    OrganizationRole(UserId, OrganizationId),
    /// A membership of a space.
    SpaceRole(UserId, SpaceId),
    /// A role binding.
    BoundRole(UserId, Bindable),
}

impl Touched {
    /// What the change touches if it is applied to this state.
    pub fn by(change: &Change, before: &State) -> Option<Self> {
        match change {
            Change::PutUser(user) => Some(Self::Principal(user.id)),
            Change::PutApiKey(key) => match key.owner {
                KeyOwner::Service(bot) => Some(Self::Principal(bot)),
                KeyOwner::User(_) => None,
            },
            Change::PutOrganization(organization) => Some(Self::Organization(organization.id)),
            Change::DeleteOrganization(id) => Some(Self::Organization(*id)),
            Change::PutSpace(space) => Some(Self::Space(space.id)),
            Change::DeleteSpace(id) => Some(Self::Space(*id)),
            Change::PutProject(project) => Some(Self::Project(project.id)),
            Change::DeleteProject(id) | Change::DeleteRestriction(id) => Some(Self::Project(*id)),
            Change::PutRestriction(restriction) => Some(Self::Project(restriction.project)),
            Change::PutRole(role) => Some(Self::Role(role.id)),
            Change::DeleteRole(id) => Some(Self::Role(*id)),
            Change::PutOrganizationMembership(put) => {
                Some(Self::OrganizationRole(put.user, put.organization))
            }
            Change::DeleteOrganizationMembership(id) => before
                .organization_memberships
                .get(id)
                .map(|old| Self::OrganizationRole(old.user, old.organization)),
            Change::PutSpaceMembership(put) => Some(Self::SpaceRole(put.user, put.space)),
            Change::DeleteSpaceMembership(id) => before
                .space_memberships
                .get(id)
                .map(|old| Self::SpaceRole(old.user, old.space)),
            Change::PutRoleBinding(put) => Some(Self::BoundRole(put.user, put.resource)),
            Change::DeleteRoleBinding(id) => before
                .role_binding(*id)
                .map(|old| Self::BoundRole(old.user, old.resource)),
            Change::PutAccount(_) | Change::PutCredential(_) | Change::DeleteCredential(_) => None,
        }
    }

    fn tell(self, after: &State, changes: &mut Changes) {
        match self {
            Self::Principal(user) => {
                let principal = after.principal(user);
                changes.set_principal(user.number(), principal.as_ref().map(packed));
            }
            Self::Organization(id) => {
                changes.set_organization(id.number(), after.organization(id).is_some());
            }
            Self::Space(id) => changes.set_space(id.number(), space_in(after, id)),
            Self::Project(id) => changes.set_project(id.number(), project_in(after, id)),
            Self::Role(id) => {
                let role = after.roles.get(&id).map(|role| role.permissions.words());
                changes.set_role(id.number(), role);
            }
            Self::OrganizationRole(user, on) => {
                let role = after
                    .organization_role(user, on)
                    .map(OrganizationRole::role);
                set_held(changes, user, Kind::Organization, on.number(), role);
            }
            Self::SpaceRole(user, on) => {
                let role = after.space_role(user, on).map(SpaceRole::role);
                set_held(changes, user, Kind::Membership, on.number(), role);
            }
            Self::BoundRole(user, on) => {
                set_held(
                    changes,
                    user,
                    kind_of(on),
                    on.number(),
                    after.bound_role(user, on),
                );
            }
        }
    }
}

fn set_held(changes: &mut Changes, user: UserId, kind: Kind, on: u32, role: Option<RoleId>) {
    changes.set_held(user.number(), kind, on, role.map(RoleId::number));
}

const fn kind_of(on: Bindable) -> Kind {
    match on {
        Bindable::Space(_) => Kind::Binding,
        Bindable::Project(_) => Kind::OnProject,
    }
}

fn packed(principal: &Principal) -> IndexPrincipal {
    IndexPrincipal {
        account_role: match principal.account_role {
            AccountRole::Admin => 0,
            AccountRole::Member => 1,
            AccountRole::MemberUiOnly => 2,
            AccountRole::Annotator => 3,
        },
        is_human: principal.is_human,
        is_active: principal.is_active,
        until: principal.until.map(Timestamp::as_millis),
    }
}

#[inline]
const fn account_role(number: u8) -> AccountRole {
    match number {
        0 => AccountRole::Admin,
        1 => AccountRole::Member,
        2 => AccountRole::MemberUiOnly,
        _ => AccountRole::Annotator,
    }
}

#[inline]
fn unpacked(principal: IndexPrincipal) -> Principal {
    Principal {
        account_role: account_role(principal.account_role),
        is_human: principal.is_human,
        is_active: principal.is_active,
        until: principal.until.map(Timestamp::from_millis),
    }
}

fn space_in(state: &State, id: SpaceId) -> Option<IndexSpace> {
    state.space(id).map(|space| indexed_space(space))
}

fn indexed_space(space: &Space) -> IndexSpace {
    IndexSpace {
        organization: space.organization.number(),
        is_public: !space.is_private,
    }
}

fn project_in(state: &State, id: ProjectId) -> Option<IndexProject> {
    let project = state.project(id);
    project.map(|project| indexed_project(state, project))
}

fn indexed_project(state: &State, project: &Project) -> IndexProject {
    IndexProject {
        space: project.space.number(),
        is_restricted: state.restriction(project.id).is_some(),
    }
}

fn room<I: Id, T>(count: usize, last: Option<&(I, T)>) -> Room {
    let end = last.map_or(0, |(id, _)| {
        let number = usize::try_from(id.number()).unwrap_or(usize::MAX);
        number.saturating_add(1)
    });
    Room { count, end }
}

/// Everything at once, when an account is loaded.
impl Source for State {
    fn rooms(&self) -> [Room; 4] {
        [
            room(self.users.len(), self.users.get_max()),
            room(self.organizations.len(), self.organizations.get_max()),
            room(self.spaces.len(), self.spaces.get_max()),
            room(self.projects.len(), self.projects.get_max()),
        ]
    }

    fn principals(&self, with: &mut dyn FnMut(u32, IndexPrincipal)) {
        for user in self.users.values() {
            with(user.id.number(), packed(&self.principal_of(user)));
        }
    }

    fn organizations(&self, with: &mut dyn FnMut(u32)) {
        for id in self.organizations.keys() {
            with(id.number());
        }
    }

    fn spaces(&self, with: &mut dyn FnMut(u32, IndexSpace)) {
        for space in self.spaces.values() {
            with(space.id.number(), indexed_space(space));
        }
    }

    fn projects(&self, with: &mut dyn FnMut(u32, IndexProject)) {
        for project in self.projects.values() {
            with(project.id.number(), indexed_project(self, project));
        }
    }

    fn roles(&self, with: &mut dyn FnMut(u32, [u64; 3])) {
        for (id, role) in PredefinedRole::all() {
            with(id.number(), role.permissions.words());
        }
        for role in self.roles.values() {
            with(role.id.number(), role.permissions.words());
        }
    }

    fn holdings(&self, with: &mut dyn FnMut(Holding)) {
        let mut tell = |user: UserId, kind, resource: u32, role: RoleId| {
            with(Holding {
                user: user.number(),
                kind,
                resource,
                role: role.number(),
            });
        };
        for held in self.organization_memberships.iter() {
            let organization = held.organization.number();
            tell(
                held.user,
                Kind::Organization,
                organization,
                held.role.role(),
            );
        }
        for held in self.space_memberships.iter() {
            let space = held.space.number();
            tell(held.user, Kind::Membership, space, held.role.role());
        }
        self.space_bindings
            .each_held(|user, on, role| tell(user, Kind::Binding, on.number(), role));
        self.project_bindings
            .each_held(|user, on, role| tell(user, Kind::OnProject, on.number(), role));
    }
}

/// The facts of decisions from the index at one revision and moment, while a read runs.
#[derive(Clone, Copy, Debug)]
pub struct IndexFacts<'a> {
    view: View<'a>,
    moment: Timestamp,
}

impl<'a> IndexFacts<'a> {
    #[inline]
    const fn new(view: View<'a>, moment: Timestamp) -> Self {
        Self { view, moment }
    }

    /// The decision.
    #[inline]
    pub fn decide(self, question: &Question) -> Decision {
        decide(&self, question)
    }

    /// The decision without its reason.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "as of the function that it calls")]
    pub fn allows(self, question: &Question) -> bool {
        allows(&self, question)
    }

    /// Has everything that these questions need on its way at once, instead of one after the other.
    #[inline]
    fn read_ahead(self, questions: &[Question]) {
        let mut read = 0;
        for question in questions {
            read ^= self.view.touch_user(question.principal.number());
            read ^= match question.resource {
                Resource::Project(id) => self.view.touch_project(id.number()),
                Resource::Account | Resource::Organization(_) | Resource::Space(_) => 0,
            };
        }
        // Else nothing would have to be read.
        black_box(read);
        for question in questions {
            let on = self.way_to(question.resource);
            read ^= self.view.touch_held(question.principal.number(), on);
        }
        black_box(read);
    }

    #[inline]
    fn space_at(self, id: SpaceId) -> Option<SpacePlace> {
        self.view.space(id.number()).map(|space| SpacePlace {
            space: id,
            organization: OrganizationId::new(space.organization),
            is_public: space.is_public,
        })
    }

    fn held_on(self, user: UserId, on: Where) -> bindery_index::Held {
        self.view.held(self.view.user(user.number()), on)
    }

    /// Whether the time of somebody whose time ends isn't over.
    #[cold]
    #[inline(never)]
    fn acts_until(self, user: bindery_index::User) -> bool {
        let principal = self.view.known(user).map(unpacked);
        principal.is_some_and(|principal| principal.acts_at(self.moment()))
    }

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "else the place goes through memory")]
    fn place_of(self, resource: Resource) -> Option<Place> {
        match resource {
            Resource::Account => Some(Place::Account),
            Resource::Organization(id) => {
                let is_there = self.view.organization(id.number());
                is_there.then_some(Place::Organization(id))
            }
            Resource::Space(id) => self.space_at(id).map(Place::Space),
            Resource::Project(id) => {
                let project = self.view.project(id.number())?;
                let space = self.space_at(SpaceId::new(project.space))?;
                Some(Place::Project(id, space, project.is_restricted))
            }
        }
    }

    #[inline]
    fn way_to(self, resource: Resource) -> Where {
        let place = self.place_of(resource);
        place.map_or(Where::default(), |place| way_to(Ancestors::of(place)))
    }
}

#[inline]
fn way_to(on: Ancestors) -> Where {
    Where {
        organization: on.organization.number(),
        space: on.space.number(),
        project: on.project.number(),
    }
}

/// As the index has them: its codes of predefined roles are their numbers.
#[inline]
const fn codes(held: bindery_index::Held) -> Codes {
    Codes {
        organization: held.organization,
        membership: held.membership,
        binding: held.binding,
        on_project: held.on_project,
    }
}

impl Facts for IndexFacts<'_> {
    /// Never earlier than the last change: a clock that was set back brings no key back to life.
    #[inline]
    fn moment(&self) -> Timestamp {
        self.moment.max(Timestamp::from_millis(self.view.latest()))
    }

    #[inline]
    fn principal(&self, user: UserId) -> Option<Principal> {
        self.view.principal(user.number()).map(unpacked)
    }

    fn place(&self, resource: Resource) -> Option<Place> {
        self.place_of(resource)
    }

    fn organization_role(&self, user: UserId, on: OrganizationId) -> Option<OrganizationRole> {
        let held = self.held_on(
            user,
            Where {
                organization: on.number(),
                ..Where::default()
            },
        );
        OrganizationRole::from_role(RoleId::new(held.organization))
    }

    fn space_role(&self, user: UserId, on: SpaceId) -> Option<SpaceRole> {
        let held = self.held_on(
            user,
            Where {
                space: on.number(),
                ..Where::default()
            },
        );
        SpaceRole::from_role(RoleId::new(held.membership))
    }

    fn bound_role(&self, user: UserId, on: Bindable) -> Option<RoleId> {
        let code = match on {
            Bindable::Space(id) => {
                let space = id.number();
                self.held_on(
                    user,
                    Where {
                        space,
                        ..Where::default()
                    },
                )
                .binding
            }
            Bindable::Project(id) => {
                self.held_on(user, self.way_to(Resource::Project(id)))
                    .on_project
            }
        };
        Some(self.role(code)).filter(|role| *role != RoleId::NOBODY)
    }

    fn permissions(&self, role: RoleId) -> PermissionSet {
        self.view
            .permissions(role.number())
            .map(PermissionSet::of_words)
            .unwrap_or_default()
    }
}

impl CodedFacts for IndexFacts<'_> {
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "as of the function that it calls")]
    fn place(&self, resource: Resource) -> Option<Place> {
        self.place_of(resource)
    }

    #[inline]
    fn acting(&self, user: UserId) -> Option<Acting> {
        let known = self.view.user(user.number());
        // Few are bots whose key ends.
        let may_act = known.is_active() && (!known.ends() || self.acts_until(known));
        may_act.then(|| Acting {
            account_role: account_role(known.account_role()),
            is_human: known.is_human(),
            user,
            word: known.bits(),
        })
    }

    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "else what is held goes through memory"
    )]
    fn codes(&self, _: UserId, word: u64, on: Ancestors) -> Codes {
        let known = bindery_index::User::from_bits(word);
        codes(self.view.held(known, way_to(on)))
    }

    #[inline]
    fn role(&self, code: u32) -> RoleId {
        RoleId::new(self.view.role(code))
    }

    #[inline]
    fn grants(&self, code: u32, permission: Permission) -> bool {
        self.view.grants(code, permission.bit())
    }
}
