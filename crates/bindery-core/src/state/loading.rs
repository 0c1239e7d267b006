//! A state out of its current records. What roles that are held derive is collected, sorted and filed in order: with
//! millions of them, looking for the place of each takes a hundred times as long.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::resume_unwind;
use std::thread;

use imbl::OrdMap;

use super::State;
use super::bindings::{Bindings, Loaded};
use crate::change::{Change, LogPosition};
use crate::decision::SpacePlace;
use crate::id::{Id, Kind, ProjectId, RoleId, SpaceId};
use crate::listing::Spot;
use crate::place::Account;
use crate::resource::Bindable;
use crate::time::Timestamp;
use crate::tree::{Filed, Growing, Tree};
use crate::user::{Identity, OrganizationMembership, SpaceMembership};

/// A state that is told its current records, in any order, each once.
pub struct Loading {
    state: State,
    organization_memberships: Growing<OrganizationMembership>,
    space_memberships: Growing<SpaceMembership>,
    space_bindings: Loaded<SpaceId>,
    project_bindings: Loaded<ProjectId>,
    /// The highest number of each kind of what is collected.
    highest: BTreeMap<Kind, u32>,
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
            organization_memberships: Growing::whole(),
            space_memberships: Growing::whole(),
            space_bindings: Loaded::default(),
            project_bindings: Loaded::default(),
            highest: BTreeMap::new(),
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
            Change::PutRoleBinding(binding) => match binding.resource {
                Bindable::Space(space) => self.space_bindings.put(binding, space),
                Bindable::Project(project) => self.project_bindings.put(binding, project),
            },
            _ => {
                self.state.apply(record);
                return;
            }
        }
        let (kind, number) = record.key();
        let highest = self.highest.entry(kind).or_default();
        *highest = number.max(*highest);
    }

    /// The state at this revision; `issued` names the highest number ever given to each kind, since the things with those
    /// numbers may be gone.
    pub fn finish(
        self,
        position: LogPosition,
        latest: Timestamp,
        issued: impl IntoIterator<Item = (Kind, u32)>,
    ) -> State {
        let Self {
            mut state,
            organization_memberships,
            space_memberships,
            space_bindings,
            project_bindings,
            highest,
        } = self;
        state.issued.extend(highest);
        state.file_organization_memberships(organization_memberships.finish());
        state.file_space_memberships(space_memberships.finish());
        state.file_bindings(space_bindings.finish(), project_bindings.finish());
        state.file_service_keys();
        state.issued.extend(issued);
        state.position = position;
        state.latest = latest;
        state
    }
}

impl State {
    fn file_organization_memberships(&mut self, all: Tree<OrganizationMembership>) {
        self.members_of_organization = Tree::of(all.iter().map(|one| Filed {
            key: (one.organization, one.user),
            value: one.id,
        }));
        self.organizations_of_user = Tree::of(all.iter().map(|one| (one.user, one.organization)));
        self.organization_memberships = all;
    }

    fn file_space_memberships(&mut self, all: Tree<SpaceMembership>) {
        self.members_of_space = Tree::of(all.iter().map(|one| Filed {
            key: (one.space, one.user),
            value: one.id,
        }));
        self.spaces_of_user = Tree::of(all.iter().map(|one| (one.user, one.space)));
        self.space_memberships = all;
    }

    /// What [`State::put_role_binding`](State) derives from each, on two threads.
    fn file_bindings(
        &mut self,
        mut on_spaces: Bindings<SpaceId>,
        mut on_projects: Bindings<ProjectId>,
    ) {
        let spots = Spots::new(self);
        let shared = on_projects.clone();
        let below = thread::scope(|scope| {
            let below = scope.spawn(|| {
                on_spaces.file(|space| Some(spots.of_space(space)?.organization));
                self.uses_of_role = uses(on_spaces.roles().chain(shared.roles()));
                Tree::of(shared.resources().filter_map(|(id, project)| {
                    let spot = spots.of_project(project)?;
                    Some(((spot.space, spot.mark), id))
                }))
            });
            on_projects.file(|project| Some(spots.of_project(project)?.place?.organization));
            below.join().unwrap_or_else(|panic| resume_unwind(panic))
        });
        self.listing.project_bindings_of_space = below;
        self.space_bindings = on_spaces;
        self.project_bindings = on_projects;
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

    fn of_project(&self, id: ProjectId) -> Option<Spot> {
        self.projects.get(at(id)).copied().flatten()
    }

    fn of_space(&self, id: SpaceId) -> Option<SpacePlace> {
        self.spaces.get(at(id)).copied().flatten()
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

fn uses(roles: impl Iterator<Item = RoleId>) -> OrdMap<RoleId, u32> {
    let mut uses = BTreeMap::new();
    for role in roles {
        let count: &mut u32 = uses.entry(role).or_default();
        *count = count.saturating_add(1);
    }
    uses.into_iter().collect()
}
