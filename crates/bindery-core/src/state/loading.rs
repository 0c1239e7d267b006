//! A state out of its current records. What roles that are held derive is collected, sorted and filed in order: with
//! millions of them, looking for the place of each takes a hundred times as long.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::thread::{self, Builder};

use imbl::OrdMap;

use super::State;
use super::bindings::{Lists, Loaded};
use crate::change::{Change, DecodeError, LogPosition};
use crate::decision::SpacePlace;
use crate::id::{
    Id, Kind, OrganizationId, OrganizationMembershipId, ProjectId, RoleBindingId, RoleId, SpaceId,
    SpaceMembershipId, UserId,
};
use crate::listing::{Marked, Spot};
use crate::place::Account;
use crate::resource::Bindable;
use crate::role_binding::RoleBinding;
use crate::time::Timestamp;
use crate::tree::{Dense, Filed, Growing, Tree};
use crate::user::{Identity, OrganizationMembership, SpaceMembership, User};

/// A state that is told its current records, in any order, each once.
pub struct Loading {
    state: State,
    people: Vec<Arc<User>>,
    organization_memberships: Growing<OrganizationMembership>,
    space_memberships: Growing<SpaceMembership>,
    space_bindings: Loaded<SpaceId>,
    project_bindings: Loaded<ProjectId>,
    /// The highest number of each kind of what isn't applied.
    highest: BTreeMap<Kind, u32>,
    /// The same of the kind that is told now.
    told: Option<(Kind, u32)>,
}

impl fmt::Debug for Loading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Loading");
        shown.field("state", &self.state).finish_non_exhaustive()
    }
}

impl Loading {
    /// Before the first record.
    pub fn new(account: Account) -> Self {
        Self {
            state: State::new(account),
            people: Vec::new(),
            organization_memberships: Growing::whole(),
            space_memberships: Growing::whole(),
            space_bindings: Loaded::default(),
            project_bindings: Loaded::default(),
            highest: BTreeMap::new(),
            told: None,
        }
    }

    /// Takes one more record, which is a put.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "what isn't collected is applied as ever, and so is what is added later"
    )]
    pub fn put(&mut self, record: Change) {
        match record {
            Change::PutUser(user) => {
                self.note(user.id);
                self.people.push(Arc::new(user));
            }
            Change::PutOrganizationMembership(membership) => {
                self.note(membership.id);
                self.organization_memberships.push(membership);
            }
            Change::PutSpaceMembership(membership) => {
                self.note(membership.id);
                self.space_memberships.push(membership);
            }
            Change::PutRoleBinding(binding) => self.put_role_binding(&binding),
            other => self.state.apply(&other),
        }
    }

    /// Takes one more as it is stored, if it is the record with this key.
    pub fn take(&mut self, kind: Kind, number: u32, stored: &[u8]) -> Result<(), RecordError> {
        // Of what there is most, a change costs more to move than the binding to read.
        if kind == Kind::RoleBinding
            && let Some(binding) = decode_role_binding(stored)
            && binding.id.number() == number
        {
            self.put_role_binding(&binding);
            return Ok(());
        }
        self.put(Change::decode_record(kind, number, stored)?);
        Ok(())
    }

    fn put_role_binding(&mut self, binding: &RoleBinding) {
        self.note(binding.id);
        match binding.resource {
            Bindable::Space(space) => self.space_bindings.put(binding, space),
            Bindable::Project(project) => self.project_bindings.put(binding, project),
        }
    }

    fn note<I: Id>(&mut self, id: I) {
        let number = id.number();
        match &mut self.told {
            Some((kind, highest)) if *kind == I::KIND => *highest = number.max(*highest),
            _ => {
                self.note_highest();
                self.told = Some((I::KIND, number));
            }
        }
    }

    fn note_highest(&mut self) {
        if let Some((kind, number)) = self.told {
            let highest = self.highest.entry(kind).or_default();
            *highest = number.max(*highest);
        }
    }

    /// The state at this revision; `issued` names the highest number ever given to each kind, since the things with those
    /// numbers may be gone.
    pub fn finish(
        mut self,
        position: LogPosition,
        latest: Timestamp,
        issued: impl IntoIterator<Item = (Kind, u32)>,
    ) -> State {
        self.note_highest();
        let Self {
            mut state,
            people,
            organization_memberships,
            space_memberships,
            space_bindings,
            project_bindings,
            highest,
            told: _,
        } = self;
        for (kind, number) in highest.into_iter().chain(issued) {
            state.note_issued(kind, number);
        }
        state.organization_memberships = organization_memberships.finish();
        state.space_memberships = space_memberships.finish();
        state.space_bindings = space_bindings.finish();
        state.project_bindings = project_bindings.finish();
        state.file(&people);
        state.file_service_keys();
        state.position = position;
        state.latest = latest;
        state
    }
}

/// Why what is stored isn't the record that it stands for.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// It is another thing, or one that is deleted.
    #[error("something else")]
    Other,
    /// It can't be read.
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

impl Change {
    /// What is stored, if it is the record with this key.
    pub fn decode_record(kind: Kind, number: u32, stored: &[u8]) -> Result<Self, RecordError> {
        let record = Self::decode(stored)?;
        if record.key() == (kind, number) && !record.is_delete() {
            Ok(record)
        } else {
            Err(RecordError::Other)
        }
    }
}

/// As [`Change::decode`] reads it.
fn decode_role_binding(stored: &[u8]) -> Option<RoleBinding> {
    // The number that `Change` gives to a role binding put.
    Change::decode_member(16, stored)
}

/// So many of one kind are worth a thread.
const MUCH: usize = 4096;

impl State {
    /// Users, and what memberships and bindings derive. If there is much, on two threads that have about as much to do.
    fn file(&mut self, users: &[Arc<User>]) {
        let spots = Spots::new(self);
        let (on_spaces, on_projects) = (&self.space_bindings, &self.project_bindings);
        let (in_organizations, in_spaces) =
            (&self.organization_memberships, &self.space_memberships);
        let organization_of_space = |space| Some(spots.of_space(space)?.organization);
        let organization_of_project = |project| spots.of_project(project)?.organization();
        let spot_above = |project| {
            let spot = spots.of_project(project)?;
            Some((spot.space, spot.mark))
        };
        let members = in_organizations.iter().count();
        let space_members = in_spaces.iter().count();
        let (spaces_bound, projects_bound) = (on_spaces.count(), on_projects.count());
        let is_much = [
            users.len(),
            members,
            space_members,
            spaces_bound,
            projects_bound,
        ]
        .into_iter()
        .any(|count| count >= MUCH);
        let find = || {
            (
                People::file(users),
                on_spaces.found_by_user(spaces_bound),
                on_projects.found_by_user(projects_bound),
            )
        };
        let listed = || Listed {
            members_of_organization: Tree::grouped(
                members,
                || {
                    let all = in_organizations.iter();
                    all.map(|one| (one.organization, (one.user, one.id)))
                },
                filed,
            ),
            organizations_of_user: Tree::grouped(
                members,
                || {
                    let all = in_organizations.iter();
                    all.map(|one| (one.user, one.organization))
                },
                |user, organization| (user, organization),
            ),
            members_of_space: Tree::grouped(
                space_members,
                || in_spaces.iter().map(|one| (one.space, (one.user, one.id))),
                filed,
            ),
            spaces_of_user: Tree::grouped(
                space_members,
                || in_spaces.iter().map(|one| (one.user, one.space)),
                |user, space| (user, space),
            ),
            on_spaces: on_spaces.listed(spaces_bound, organization_of_space),
            on_projects: on_projects.listed(projects_bound, organization_of_project),
            project_bindings_of_space: on_projects.listed_by(projects_bound, spot_above),
            uses_of_role: uses(on_spaces.roles().chain(on_projects.roles())),
        };
        let (found, listed) = if is_much {
            thread::scope(|scope| {
                // The system may give no thread: then it takes twice as long.
                let spawned = Builder::new().spawn_scoped(scope, find);
                let listed = listed();
                let found = spawned.map(|found| {
                    let found = found.join();
                    found.unwrap_or_else(|panic| resume_unwind(panic))
                });
                (found.unwrap_or_else(|_| find()), listed)
            })
        } else {
            (find(), listed())
        };
        let (people, by_space, by_project) = found;
        self.users = people.users;
        self.users_by_email = people.by_email;
        self.listing.people = people.listed;
        self.members_of_organization = listed.members_of_organization;
        self.organizations_of_user = listed.organizations_of_user;
        self.members_of_space = listed.members_of_space;
        self.spaces_of_user = listed.spaces_of_user;
        self.space_bindings.file(by_space, listed.on_spaces);
        self.project_bindings.file(by_project, listed.on_projects);
        self.listing.project_bindings_of_space = listed.project_bindings_of_space;
        self.uses_of_role = listed.uses_of_role;
    }

    /// The keys of bots, which were told before their seats.
    fn file_service_keys(&mut self) {
        let bots: Vec<_> = self
            .users
            .values()
            .filter_map(|user| match user.identity {
                Identity::Bot { key } => Some((user.id, key)),
                Identity::Human { .. } => None,
            })
            .collect();
        for (bot, key) in bots {
            let spaces: Vec<SpaceId> = self.spaces_bound_to(bot).collect();
            for space in spaces {
                self.listing.set_service_key(space, key, true);
            }
        }
    }
}

fn filed<K, U, V>(first: K, (second, value): (U, V)) -> Filed<(K, U), V> {
    Filed {
        key: (first, second),
        value,
    }
}

/// What memberships and bindings are listed by.
struct Listed {
    members_of_organization: Tree<Filed<(OrganizationId, UserId), OrganizationMembershipId>>,
    organizations_of_user: Tree<(UserId, OrganizationId)>,
    members_of_space: Tree<Filed<(SpaceId, UserId), SpaceMembershipId>>,
    spaces_of_user: Tree<(UserId, SpaceId)>,
    on_spaces: Lists<SpaceId>,
    on_projects: Lists<ProjectId>,
    project_bindings_of_space: Tree<((SpaceId, Marked), RoleBindingId)>,
    uses_of_role: OrdMap<RoleId, u32>,
}

/// Users with what finds and lists them.
#[derive(Default)]
struct People {
    users: OrdMap<UserId, Arc<User>>,
    by_email: OrdMap<Arc<str>, UserId>,
    listed: OrdMap<UserId, Arc<str>>,
}

impl People {
    /// As `State::put_user` does; since each is told once, nothing of them has to be looked for.
    fn file(users: &[Arc<User>]) -> Self {
        let mut people = Self::default();
        for user in users {
            if let Some(email) = user.held_email() {
                let email: Arc<str> = email.folded().into();
                if user.is_listed() {
                    people.listed.insert(user.id, Arc::clone(&email));
                }
                people.by_email.insert(email, user.id);
            }
            people.users.insert(user.id, Arc::clone(user));
        }
        people
    }
}

/// Where projects and spaces stand, most of them by their numbers.
struct Spots<'a> {
    state: &'a State,
    spaces: Vec<Option<SpacePlace>>,
    projects: Vec<Option<Spot>>,
}

impl<'a> Spots<'a> {
    fn new(state: &'a State) -> Self {
        let (spaces, projects) = (&state.spaces, &state.projects);
        Self {
            state,
            spaces: by_number(spaces.keys().copied(), |id| state.space_place(id)),
            projects: by_number(projects.keys().copied(), |id| state.spot(id)),
        }
    }

    fn of_project(&self, id: ProjectId) -> Option<Spot> {
        let found = self.projects.get(at(id)).copied();
        found.unwrap_or_else(|| self.state.spot(id))
    }

    fn of_space(&self, id: SpaceId) -> Option<SpacePlace> {
        let found = self.spaces.get(at(id)).copied();
        found.unwrap_or_else(|| self.state.space_place(id))
    }
}

fn at(id: impl Id) -> usize {
    usize::try_from(id.number()).unwrap_or(usize::MAX)
}

/// So many numbers for each thing may be nobody's, and a few more in any case. What is further away isn't worth the room.
const NUMBERS_PER_ONE: usize = 16;
const NUMBERS_MIN: usize = 1 << 16;

/// Those of low numbers in their places. Ids come in their order.
fn by_number<I: Id, T>(
    ids: impl ExactSizeIterator<Item = I>,
    find: impl Fn(I) -> Option<T>,
) -> Vec<Option<T>> {
    let dense = ids.len().saturating_mul(NUMBERS_PER_ONE);
    let end = dense.max(NUMBERS_MIN);
    let mut placed = Vec::new();
    for id in ids.take_while(|id| at(*id) < end) {
        placed.resize_with(at(id), || None);
        placed.push(find(id));
    }
    placed
}

/// So many roles are counted in places of their own.
const COUNTED_MAX: usize = 1 << 16;

fn uses(roles: impl Iterator<Item = RoleId>) -> OrdMap<RoleId, u32> {
    let mut counts: Vec<u32> = Vec::new();
    let mut others = BTreeMap::new();
    for role in roles {
        let place = at(role);
        if place >= counts.len() && place < COUNTED_MAX {
            counts.resize(place.saturating_add(1), 0);
        }
        let count: &mut u32 = match counts.get_mut(place) {
            Some(count) => count,
            None => others.entry(role).or_default(),
        };
        *count = count.saturating_add(1);
    }
    let counted = (0..).map(RoleId::from_number).zip(counts);
    counted
        .filter(|(_, count)| *count > 0)
        .chain(others)
        .collect()
}

/// A space and how the project in it is marked: what bindings on projects are listed under.
impl Dense for (SpaceId, Marked) {
    fn place(self) -> u64 {
        let (space, mark) = self;
        let mark = match mark {
            Marked::Open => 0,
            Marked::Restricted => 1,
        };
        u64::from(space.number()) << 1 | mark
    }

    fn at(place: u64) -> Self {
        let mark = if place & 1 == 0 {
            Marked::Open
        } else {
            Marked::Restricted
        };
        (Dense::at(place >> 1), mark)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::given::Giver;

    proptest! {
        #[test]
        fn a_role_binding_is_read_without_a_change_around_it(
            (id, user, on, role) in any::<(u32, u32, u32, u32)>(),
            is_on_space in any::<bool>(),
            (created_at, updated_at) in any::<(i64, i64)>(),
            by in any::<Option<u32>>(),
        ) {
            let binding = RoleBinding {
                id: RoleBindingId::new(id),
                user: UserId::new(user),
                resource: if is_on_space {
                    Bindable::Space(SpaceId::new(on))
                } else {
                    Bindable::Project(ProjectId::new(on))
                },
                role: RoleId::new(role),
                created_at: Timestamp::from_millis(created_at),
                updated_at: Timestamp::from_millis(updated_at),
                given_by: by.map_or(Giver::UNKNOWN, |by| Giver::by(Some(UserId::new(by)))),
            };
            let put = Change::PutRoleBinding(binding);
            prop_assert_eq!(decode_role_binding(&put.encode()), Some(binding));
            let stored = put.encode();
            for end in 0..stored.len() {
                let cut = stored.get(..end).unwrap();
                prop_assert_eq!(decode_role_binding(cut), None);
                prop_assert!(Change::decode(cut).is_err());
            }
            let delete = Change::DeleteRoleBinding(binding.id);
            prop_assert_eq!(decode_role_binding(&delete.encode()), None);
            // An array of two, and then which change it is.
            let mut another = stored;
            prop_assert_eq!(another.get(1), Some(&16));
            if let Some(variant) = another.get_mut(1) {
                *variant = 17;
            }
            prop_assert_eq!(decode_role_binding(&another), None);
        }
    }
}
