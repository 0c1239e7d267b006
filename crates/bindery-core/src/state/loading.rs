//! A state out of its current records. What roles that are held derive is collected, sorted and filed in order: with
//! millions of them, looking for the place of each takes a hundred times as long.

use std::collections::BTreeMap;
use std::panic::resume_unwind;
use std::thread;

use imbl::OrdMap;

use super::{Bindings, State};
use crate::change::Change;
use crate::decision::SpacePlace;
use crate::id::{Id, Kind, ProjectId, Revision, RoleId, SpaceId};
use crate::listing::Spot;
use crate::place::Account;
use crate::resource::Bindable;
use crate::role_binding::RoleBinding;
use crate::time::Timestamp;
use crate::tree::{Filed, Tree};
use crate::user::{Identity, OrganizationMembership, SpaceMembership};

/// A state that is told its current records, in any order, each once.
#[derive(Debug)]
pub struct Loading {
    state: State,
    organization_memberships: Vec<OrganizationMembership>,
    space_memberships: Vec<SpaceMembership>,
    space_bindings: Vec<(RoleBinding, SpaceId)>,
    project_bindings: Vec<(RoleBinding, ProjectId)>,
}

impl Loading {
    /// Before the first record.
    pub fn new(account: Account) -> Self {
        Self {
            state: State::new(account),
            organization_memberships: Vec::new(),
            space_memberships: Vec::new(),
            space_bindings: Vec::new(),
            project_bindings: Vec::new(),
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
                Bindable::Space(space) => self.space_bindings.push((*binding, space)),
                Bindable::Project(project) => self.project_bindings.push((*binding, project)),
            },
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
            space_bindings,
            project_bindings,
        } = self;
        state.note_issued(organization_memberships.iter().map(|one| one.id));
        state.note_issued(space_memberships.iter().map(|one| one.id));
        let on_spaces = space_bindings.iter().map(|(one, _)| one.id);
        state.note_issued(on_spaces.chain(project_bindings.iter().map(|(one, _)| one.id)));
        state.file_organization_memberships(&organization_memberships);
        drop(organization_memberships);
        state.file_space_memberships(&space_memberships);
        drop(space_memberships);
        state.file_bindings(&space_bindings, &project_bindings);
        drop((space_bindings, project_bindings));
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
        self.organization_memberships = Tree::of(all, |one| Some(*one));
        self.members_of_organization = Tree::of(all, |one| {
            Some(Filed {
                key: (one.organization, one.user),
                value: one.id,
            })
        });
        self.organizations_of_user = Tree::of(all, |one| Some((one.user, one.organization)));
    }

    fn file_space_memberships(&mut self, all: &[SpaceMembership]) {
        self.space_memberships = Tree::of(all, |one| Some(*one));
        self.members_of_space = Tree::of(all, |one| {
            Some(Filed {
                key: (one.space, one.user),
                value: one.id,
            })
        });
        self.spaces_of_user = Tree::of(all, |one| Some((one.user, one.space)));
    }

    /// What [`State::put_role_binding`](State) derives from each, on two threads.
    fn file_bindings(
        &mut self,
        on_spaces: &[(RoleBinding, SpaceId)],
        on_projects: &[(RoleBinding, ProjectId)],
    ) {
        let spots = Spots::new(self);
        let (spaces, projects) = thread::scope(|scope| {
            let spaces = scope.spawn(|| {
                let organization = |space| Some(spots.of_space(space)?.organization);
                let below = Tree::of(on_projects, |(one, project)| {
                    let spot = spots.of_project(*project)?;
                    Some(((spot.space, spot.mark), one.id))
                });
                (
                    Bindings::file(on_spaces, organization),
                    below,
                    uses(on_spaces, on_projects),
                )
            });
            let organization = |project| Some(spots.of_project(project)?.place?.organization);
            let projects = Bindings::file(on_projects, organization);
            let spaces = spaces.join().unwrap_or_else(|panic| resume_unwind(panic));
            (spaces, projects)
        });
        self.project_bindings = projects;
        (
            self.space_bindings,
            self.listing.project_bindings_of_space,
            self.uses_of_role,
        ) = spaces;
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

fn uses(
    on_spaces: &[(RoleBinding, SpaceId)],
    on_projects: &[(RoleBinding, ProjectId)],
) -> OrdMap<RoleId, u32> {
    let on_spaces = on_spaces.iter().map(|(one, _)| one.role);
    let on_projects = on_projects.iter().map(|(one, _)| one.role);
    let mut uses = BTreeMap::new();
    for role in on_spaces.chain(on_projects) {
        let count: &mut u32 = uses.entry(role).or_default();
        *count = count.saturating_add(1);
    }
    uses.into_iter().collect()
}
