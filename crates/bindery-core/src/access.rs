//! The access index of a loaded account: the facts of its decisions, arranged so that readers need not wait for the writer.
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
use crate::decision::fast::{Acting, Ancestors, AskState, CodedFacts, Codes, allows, decide};
use crate::decision::{Decision, Lack, Place, Principal, Question, SpacePlace};
use crate::id::{Id, OrganizationId, ProjectId, Revision, RoleId, SpaceId, UserId};
use crate::permission::Permission;
use crate::place::{Project, Space};
use crate::resource::{Bindable, Resource};
use crate::role::{AccountRole, CUSTOM_FIRST, OrganizationRole, SpaceRole};
use crate::state::State;
use crate::time::Timestamp;

mod agreement;
mod between;
mod codes;
mod search;

use codes::{FoundCodes, Given, RoleCodes};

/// Number of batch questions prefetched together.
const GROUP: usize = 128;

/// The readers' side. A clone is the same index.
#[derive(Clone, Debug)]
pub struct AccessIndex(Arc<Index>);

/// What an index takes, in bytes.
pub use bindery_index::Bytes;

impl AccessIndex {
    /// The decision, and the one revision that it was made at. `None`: ask the state, since changes are being made, the account has
    /// outgrown the index, or the index can't say what the user holds there.
    #[inline]
    pub fn decide(&self, question: &Question, now: Timestamp) -> Option<(Decision, Revision)> {
        let made = self
            .0
            .read_some(|view| IndexFacts::new(view, now).decide(question).ok());
        made.map(|(decision, revision)| (decision, Revision(revision)))
    }

    /// [`AccessIndex::decide`] without the reason, which a quarter of its time goes into.
    #[inline]
    pub fn allows(&self, question: &Question, now: Timestamp) -> Option<(bool, Revision)> {
        let made = self
            .0
            .read_some(|view| IndexFacts::new(view, now).allows(question).ok());
        made.map(|(is_allowed, revision)| (is_allowed, Revision(revision)))
    }

    /// The decisions on all of them in their order, at one revision; they replace what is in `decisions`. `None` while changes are
    /// being made, or if the account has outgrown the index: ask the state about all of them then.
    pub fn decide_many(
        &self,
        questions: &[Question],
        now: Timestamp,
        decisions: &mut Vec<Decision>,
    ) -> Option<Answered> {
        let unknown = Decision::Denied(Lack::Grant);
        self.answer_many(questions, now, decisions, unknown, |facts, question| {
            decide(facts, question)
        })
    }

    /// [`AccessIndex::decide_many`] without reasons.
    pub fn allows_many(
        &self,
        questions: &[Question],
        now: Timestamp,
        answers: &mut Vec<bool>,
    ) -> Option<Answered> {
        self.answer_many(questions, now, answers, false, |facts, question| {
            allows(facts, question)
        })
    }

    #[inline]
    fn answer_many<T: Copy>(
        &self,
        questions: &[Question],
        now: Timestamp,
        answers: &mut Vec<T>,
        unknown: T,
        answer: impl Fn(IndexFacts<'_>, &Question) -> Result<T, AskState> + Copy,
    ) -> Option<Answered> {
        let made = self.0.read(|view| {
            answers.clear();
            let facts = IndexFacts::new(view, now);
            let mut asks_state = false;
            for group in questions.chunks(GROUP) {
                if view.is_large() {
                    facts.read_ahead(group);
                }
                answers.extend(group.iter().map(|question| {
                    answer(facts, question).unwrap_or_else(|AskState| {
                        asks_state = true;
                        unknown
                    })
                }));
            }
            if asks_state {
                which_ask(facts, questions)
            } else {
                Vec::new()
            }
        });
        let answered = made.map(|(ask_state, revision)| Answered {
            revision: Revision(revision),
            ask_state,
        });
        debug_assert!(
            answered.is_none() || answers.len() == questions.len(),
            "each question has an answer"
        );
        answered
    }

    /// Runs the closure on the index as it is at one revision. It may run more than once, and on facts that never were: that result is
    /// discarded. For benchmarks, which compare reads of their own with it.
    #[doc(hidden)]
    pub fn read<T>(
        &self,
        now: Timestamp,
        mut with: impl FnMut(Frozen<'_>) -> T,
    ) -> Option<(T, Revision)> {
        let made = self.0.read(|view| with(Frozen(IndexFacts::new(view, now))));
        made.map(|(made, revision)| (made, Revision(revision)))
    }

    /// What it takes.
    pub fn bytes(&self) -> Bytes {
        self.0.bytes()
    }
}

/// The index at one revision, while [`AccessIndex::read`] runs.
#[doc(hidden)]
#[derive(Clone, Copy)]
#[expect(missing_debug_implementations, reason = "a view of memory")]
pub struct Frozen<'a>(IndexFacts<'a>);

impl Frozen<'_> {
    /// Whether it is allowed; `None` if only the state knows.
    #[inline]
    pub fn allows(self, question: &Question) -> Option<bool> {
        self.0.allows(question).ok()
    }
}

/// What the index makes of a batch of questions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// The one revision that all answers are of.
    pub revision: Revision,
    /// The questions that the index can't answer, by their place in the batch: ask the state of this revision about them. What
    /// stands among the answers in their place is no answer.
    pub ask_state: Vec<usize>,
}

/// The places of the questions that ask the state. Apart from the answers, which would take longer if each noted its place.
#[cold]
#[inline(never)]
fn which_ask(facts: IndexFacts<'_>, questions: &[Question]) -> Vec<usize> {
    let all = questions.iter().enumerate();
    all.filter(|(_, question)| allows(facts, question).is_err())
        .map(|(place, _)| place)
        .collect()
}

/// The one who changes an [`AccessIndex`].
#[derive(Debug)]
pub struct AccessWriter {
    writer: Writer,
    codes: RoleCodes,
}

impl AccessWriter {
    /// An index of the state.
    pub fn new(state: &State) -> Self {
        Self::with_custom_roles(state, RoleCodes::CUSTOM_MAX)
    }

    /// The same with so many custom roles at the most. For each question about another one, the state is asked.
    pub fn with_custom_roles(state: &State, custom_roles: usize) -> Self {
        let codes = RoleCodes::of(state, custom_roles);
        let source = Coded {
            state,
            codes: &codes,
            found: FoundCodes::new(&codes),
        };
        let mut writer = Writer::build(&source, state.revision().0);
        let latest = state.latest().as_millis();
        writer.write(state.revision().0, |changes| changes.set_latest(latest));
        Self { writer, codes }
    }

    /// The readers' side.
    pub fn index(&self) -> AccessIndex {
        AccessIndex(Arc::clone(self.writer.index()))
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
        let Self { writer, codes } = self;
        writer.write(after.revision().0, |changes| {
            for one in touched {
                one.tell(after, codes, changes);
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

    fn tell(self, after: &State, codes: &mut RoleCodes, changes: &mut Changes) {
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
                if let Some(code) = codes.known(id) {
                    tell_code(after, code, id, changes);
                }
            }
            Self::OrganizationRole(user, on) => {
                let role = after
                    .organization_role(user, on)
                    .map(OrganizationRole::role);
                set_predefined(changes, user, Kind::Organization, on.number(), role);
            }
            Self::SpaceRole(user, on) => {
                let role = after.space_role(user, on).map(SpaceRole::role);
                set_predefined(changes, user, Kind::Membership, on.number(), role);
            }
            Self::BoundRole(user, on) => {
                let code = match after
                    .bound_role(user, on)
                    .map(|role| (role, codes.give(role)))
                {
                    None => 0,
                    Some((_, Given::Before(code))) => code,
                    Some((role, Given::Now(code))) => {
                        tell_code(after, code, role, changes);
                        code
                    }
                };
                let old = changes.set_held(user.number(), kind_of(on), on.number(), code);
                // Everyone else who held that role is touched as well, and told in this section.
                if let Some(role) = codes.role(old)
                    && !after.uses_of_role.contains_key(&role)
                {
                    codes.take_back(old);
                }
            }
        }
    }
}

fn tell_code(state: &State, code: u32, role: RoleId, changes: &mut Changes) {
    changes.set_code(code, state.permissions(role).words(), role.number());
}

/// Memberships are of predefined roles, whose numbers are their codes.
fn set_predefined(changes: &mut Changes, user: UserId, kind: Kind, on: u32, role: Option<RoleId>) {
    let code = role.map_or(0, RoleId::number);
    debug_assert!(code < CUSTOM_FIRST, "a membership is of a predefined role");
    changes.set_held(user.number(), kind, on, code);
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
struct Coded<'a> {
    state: &'a State,
    codes: &'a RoleCodes,
    found: FoundCodes<'a>,
}

impl Source for Coded<'_> {
    fn rooms(&self) -> [Room; 4] {
        [
            room(self.state.users.len(), self.state.users.get_max()),
            room(
                self.state.organizations.len(),
                self.state.organizations.get_max(),
            ),
            room(self.state.spaces.len(), self.state.spaces.get_max()),
            room(self.state.projects.len(), self.state.projects.get_max()),
        ]
    }

    fn principals(&self, with: &mut dyn FnMut(u32, IndexPrincipal)) {
        for user in self.state.users.values() {
            with(user.id.number(), packed(&self.state.principal_of(user)));
        }
    }

    fn organizations(&self, with: &mut dyn FnMut(u32)) {
        for id in self.state.organizations.keys() {
            with(id.number());
        }
    }

    fn spaces(&self, with: &mut dyn FnMut(u32, IndexSpace)) {
        for space in self.state.spaces.values() {
            with(space.id.number(), indexed_space(space));
        }
    }

    fn projects(&self, with: &mut dyn FnMut(u32, IndexProject)) {
        for project in self.state.projects.values() {
            with(project.id.number(), indexed_project(self.state, project));
        }
    }

    fn codes(&self, with: &mut dyn FnMut(u32, [u64; 3], u32)) {
        for (code, permissions, role) in self.codes.all(self.state) {
            with(code, permissions.words(), role.number());
        }
    }

    fn holdings(&self, with: &mut dyn FnMut(Holding)) {
        let state = self.state;
        let mut tell = |user: UserId, kind, resource: u32, code: u32| {
            with(Holding {
                user: user.number(),
                kind,
                resource,
                code,
            });
        };
        for held in state.organization_memberships.iter() {
            let organization = held.organization.number();
            tell(
                held.user,
                Kind::Organization,
                organization,
                held.role.role().number(),
            );
        }
        for held in state.space_memberships.iter() {
            let space = held.space.number();
            tell(
                held.user,
                Kind::Membership,
                space,
                held.role.role().number(),
            );
        }
        let code = |role| self.found.of(role);
        state
            .space_bindings
            .each_held(|user, on, role| tell(user, Kind::Binding, on.number(), code(role)));
        state
            .project_bindings
            .each_held(|user, on, role| tell(user, Kind::OnProject, on.number(), code(role)));
    }
}

/// The facts of decisions from the index at one revision and moment, while a read runs.
#[derive(Clone, Copy)]
struct IndexFacts<'a> {
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
    fn decide(self, question: &Question) -> Result<Decision, AskState> {
        decide(self, question)
    }

    /// The decision without its reason.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "as of the function that it calls")]
    fn allows(self, question: &Question) -> Result<bool, AskState> {
        allows(self, question)
    }

    /// Never earlier than the last change: a clock that was set back brings no key back to life.
    #[inline]
    fn moment(self) -> Timestamp {
        self.moment.max(Timestamp::from_millis(self.view.latest()))
    }

    fn principal(self, user: UserId) -> Option<Principal> {
        self.view.principal(user.number()).map(unpacked)
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

impl CodedFacts for IndexFacts<'_> {
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "as of the function that it calls")]
    fn place(self, resource: Resource) -> Option<Place> {
        self.place_of(resource)
    }

    #[inline]
    fn acting(self, user: UserId) -> Option<Acting> {
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
    fn codes(self, _: UserId, word: u64, on: Ancestors) -> Codes {
        let known = bindery_index::User::from_bits(word);
        codes(self.view.held(known, way_to(on)))
    }

    #[inline]
    fn role(self, code: u32) -> RoleId {
        RoleId::new(self.view.name(code))
    }

    #[inline]
    fn grants(self, code: u32, permission: Permission) -> Result<bool, AskState> {
        self.view.grants(code, permission.bit()).ok_or(AskState)
    }
}
