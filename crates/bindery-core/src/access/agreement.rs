//! Whether an index says what the entities of a state say: for checks of a store, and for tests.

use bindery_index::{ASK, Where};

use super::{AccessIndex, IndexFacts};
use crate::decision::fast::Ancestors;
use crate::id::{Id as _, Kind, RoleId, UserId};
use crate::resource::{Bindable, Resource};
use crate::state::State;

impl AccessIndex {
    /// The first thing of the state of which the index says something else. `None` as well if the account has outgrown the
    /// index, which says nothing then.
    pub fn disagreement(&self, state: &State) -> Option<(Kind, u32)> {
        let now = state.latest();
        let read = self.0.read(|view| first(IndexFacts::new(view, now), state));
        read?.0
    }
}

fn first(facts: IndexFacts<'_>, state: &State) -> Option<(Kind, u32)> {
    let users = state.users.keys();
    let mut users = users.filter(|id| facts.principal(**id) != state.principal(**id));
    let place = |on: Resource| facts.place_of(on) != state.place(on);
    let mut organizations = state.organizations.keys().filter(|id| place((**id).into()));
    let mut spaces = state.spaces.keys().filter(|id| place((**id).into()));
    let mut projects = state.projects.keys().filter(|id| place((**id).into()));
    let mut in_organizations = state.organization_memberships.iter().filter(|one| {
        let on = Where {
            organization: one.organization.number(),
            ..Where::default()
        };
        facts.held(one.user, on).organization != one.role.role().number()
    });
    let mut in_spaces = state.space_memberships.iter().filter(|one| {
        let on = Where {
            space: one.space.number(),
            ..Where::default()
        };
        facts.held(one.user, on).membership != one.role.role().number()
    });
    let mut bindings = state
        .space_bindings
        .iter()
        .chain(state.project_bindings.iter())
        .filter(|one| !facts.has_bound(state, one.user, one.resource, one.role));
    users
        .next()
        .map(|id| (Kind::User, id.number()))
        .or_else(|| {
            let id = organizations.next()?;
            Some((Kind::Organization, id.number()))
        })
        .or_else(|| spaces.next().map(|id| (Kind::Space, id.number())))
        .or_else(|| projects.next().map(|id| (Kind::Project, id.number())))
        .or_else(|| {
            let one = in_organizations.next()?;
            Some((Kind::OrganizationMembership, one.id.number()))
        })
        .or_else(|| {
            let one = in_spaces.next()?;
            Some((Kind::SpaceMembership, one.id.number()))
        })
        .or_else(|| {
            let one = bindings.next()?;
            Some((Kind::RoleBinding, one.id.number()))
        })
}

impl IndexFacts<'_> {
    fn held(self, user: UserId, on: Where) -> bindery_index::Held {
        self.view.held(self.view.user(user.number()), on)
    }

    /// Whether the index says that this role is bound there, with the permissions that it has; or says that the state knows.
    fn has_bound(self, state: &State, user: UserId, on: Bindable, role: RoleId) -> bool {
        let code = match on {
            Bindable::Space(id) => {
                let on = Where {
                    space: id.number(),
                    ..Where::default()
                };
                self.held(user, on).binding
            }
            Bindable::Project(id) => {
                let place = self.place_of(Resource::Project(id));
                let on = place.map_or(Where::default(), |place| {
                    super::way_to(Ancestors::of(place))
                });
                self.held(user, on).on_project
            }
        };
        let has_its_permissions =
            || self.view.permissions(code) == Some(state.permissions(role).words());
        code == ASK || (self.view.name(code) == role.number() && has_its_permissions())
    }
}
