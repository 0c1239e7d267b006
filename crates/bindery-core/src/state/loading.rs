//! A state out of its current records. What roles that are held derive is collected, sorted and filed in order: with
//! millions of them, looking for the place of each in every map takes minutes, and leaves the maps' nodes half empty.

use std::collections::BTreeMap;
use std::panic::resume_unwind;
use std::thread;

use imbl::{OrdMap, OrdSet};

use super::State;
use crate::change::Change;
use crate::decision::SpacePlace;
use crate::id::{Id, Kind, Revision, RoleId, SpaceId};
use crate::listing::Spot;
use crate::place::Account;
use crate::resource::Bindable;
use crate::role_binding::RoleBinding;
use crate::time::Timestamp;
use crate::user::{Identity, OrganizationMembership, SpaceMembership};

/// A state that is told its current records, in any order, each once.
#[derive(Debug)]
pub struct Loading {
    state: State,
    organization_memberships: Vec<OrganizationMembership>,
    space_memberships: Vec<SpaceMembership>,
    bindings: Vec<RoleBinding>,
}

impl Loading {
    /// Before the first record.
    pub fn new(account: Account) -> Self {
        Self {
            state: State::new(account),
            organization_memberships: Vec::new(),
            space_memberships: Vec::new(),
            bindings: Vec::new(),
        }
    }

    /// Takes one more record, which is a put.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "what isn't collected is applied as ever, and so is what is added later"
    )]
    pub fn put(&mut self, record: &Change) {
        match record {
            Change::PutOrganizationMembership(membership) => {
                self.organization_memberships.push(*membership);
            }
            Change::PutSpaceMembership(membership) => self.space_memberships.push(*membership),
            Change::PutRoleBinding(binding) => self.bindings.push(*binding),
            _ => self.state.apply(record),
        }
    }

    /// The state at this revision; `issued` names the highest number ever given to each kind, since the things with those
    /// numbers may be gone.
    pub fn finish(
        self,
        revision: Revision,
        latest: Timestamp,
        issued: impl IntoIterator<Item = (Kind, u32)>,
    ) -> State {
        let Self {
            mut state,
            organization_memberships,
            space_memberships,
            bindings,
        } = self;
        state.note_issued(organization_memberships.iter().map(|one| one.id));
        state.note_issued(space_memberships.iter().map(|one| one.id));
        state.note_issued(bindings.iter().map(|one| one.id));
        state.file_organization_memberships(&organization_memberships);
        drop(organization_memberships);
        state.file_space_memberships(&space_memberships);
        drop(space_memberships);
        state.file_bindings(&bindings);
        drop(bindings);
        state.file_service_keys();
        state.issued.extend(issued);
        state.revision = revision;
        state.latest = latest;
        state
    }
}

impl State {
    fn note_issued<I: Id>(&mut self, ids: impl Iterator<Item = I>) {
        if let Some(highest) = ids.map(Id::number).max() {
            self.issued.insert(I::KIND, highest);
        }
    }

    fn file_organization_memberships(&mut self, all: &[OrganizationMembership]) {
        self.organization_memberships = map(all, |one| Some((one.id, *one)));
        self.members_of_organization = map(all, |one| Some(((one.organization, one.user), one.id)));
        self.organizations_of_user = set(all, |one| Some((one.user, one.organization)));
    }

    fn file_space_memberships(&mut self, all: &[SpaceMembership]) {
        self.space_memberships = map(all, |one| Some((one.id, *one)));
        self.members_of_space = map(all, |one| Some(((one.space, one.user), one.id)));
        self.spaces_of_user = set(all, |one| Some((one.user, one.space)));
    }

    /// What [`State::put_role_binding`](State) derives from each, on two threads.
    fn file_bindings(&mut self, all: &[RoleBinding]) {
        let spots = Spots::new(self);
        let in_organization = |one: &RoleBinding| {
            let place = spots.place_of(one.resource)?;
            Some(((place.organization, one.resource.kind()), one.id))
        };
        let in_space = |one: &RoleBinding| {
            let spot = spots.of_project(one.resource)?;
            Some(((spot.space, spot.mark), one.id))
        };
        let on_space = |one: &RoleBinding| match one.resource {
            Bindable::Space(space) => Some((one.user, space)),
            Bindable::Project(_) => None,
        };
        let on_project = |one: &RoleBinding| match one.resource {
            Bindable::Space(_) => None,
            Bindable::Project(project) => Some((one.user, project)),
        };
        let (bindings, listed) = thread::scope(|scope| {
            let bindings = scope.spawn(|| {
                let of = |is_wanted: fn(Bindable) -> bool| {
                    map(all, move |one: &RoleBinding| {
                        is_wanted(one.resource).then_some((one.id, *one))
                    })
                };
                (
                    of(|on| matches!(on, Bindable::Space(_))),
                    of(|on| matches!(on, Bindable::Project(_))),
                    map(all, |one| Some(((one.resource, one.user), one.id))),
                    uses(all),
                )
            });
            let listed = (
                set(all, in_organization),
                set(all, in_space),
                set(all, |one| Some((one.resource, one.id))),
                set(all, |one| Some(((one.user, one.resource.kind()), one.id))),
                set(all, on_space),
                set(all, on_project),
            );
            let bindings = bindings.join().unwrap_or_else(|panic| resume_unwind(panic));
            (bindings, listed)
        });
        (
            self.space_bindings,
            self.project_bindings,
            self.bindings_on,
            self.uses_of_role,
        ) = bindings;
        let listing = &mut self.listing;
        (
            listing.bindings_of_organization,
            listing.project_bindings_of_space,
            listing.bindings_of_resource,
            listing.bindings_of_user,
            listing.bound_spaces_of_user,
            listing.bound_projects_of_user,
        ) = listed;
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

/// Where projects and spaces stand, by their numbers.
struct Spots {
    spaces: Vec<Option<SpacePlace>>,
    projects: Vec<Option<Spot>>,
}

impl Spots {
    fn new(state: &State) -> Self {
        let spaces = state.spaces.keys().map(|id| (*id, state.space_place(*id)));
        let projects = state.projects.keys().map(|id| (*id, state.spot(*id)));
        Self {
            spaces: by_number(spaces),
            projects: by_number(projects),
        }
    }

    fn of_project(&self, on: Bindable) -> Option<Spot> {
        match on {
            Bindable::Space(_) => None,
            Bindable::Project(id) => self.projects.get(at(id)).copied().flatten(),
        }
    }

    fn place_of(&self, on: Bindable) -> Option<SpacePlace> {
        match on {
            Bindable::Space(id) => self.spaces.get(at(id)).copied().flatten(),
            Bindable::Project(_) => self.of_project(on)?.place,
        }
    }
}

fn at(id: impl Id) -> usize {
    usize::try_from(id.number()).unwrap_or(usize::MAX)
}

/// Ids come in their order.
fn by_number<I: Id, T>(all: impl Iterator<Item = (I, Option<T>)>) -> Vec<Option<T>> {
    let mut placed = Vec::new();
    for (id, one) in all {
        placed.resize_with(at(id), || None);
        placed.push(one);
    }
    placed
}

fn uses(all: &[RoleBinding]) -> OrdMap<RoleId, u32> {
    let mut uses = BTreeMap::new();
    for one in all {
        let count: &mut u32 = uses.entry(one.role).or_default();
        *count = count.saturating_add(1);
    }
    uses.into_iter().collect()
}

fn map<T, K: Ord + Clone, V: Clone>(
    all: &[T],
    pair: impl Fn(&T) -> Option<(K, V)>,
) -> OrdMap<K, V> {
    let mut pairs: Vec<(K, V)> = all.iter().filter_map(pair).collect();
    pairs.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
    let mut map = OrdMap::new();
    for (key, value) in every_second_first(&pairs) {
        map.insert(key.clone(), value.clone());
    }
    map
}

fn set<T, K: Ord + Clone>(all: &[T], key: impl Fn(&T) -> Option<K>) -> OrdSet<K> {
    let mut keys: Vec<K> = all.iter().filter_map(key).collect();
    keys.sort_unstable();
    let mut set = OrdSet::new();
    for key in every_second_first(&keys) {
        set.insert(key.clone());
    }
    set
}

/// A node that runs over in the order of its keys is left half full, and the rest of the keys fill it.
fn every_second_first<T>(sorted: &[T]) -> impl Iterator<Item = &T> {
    let rest = sorted.iter().skip(1).step_by(2);
    sorted.iter().step_by(2).chain(rest)
}
