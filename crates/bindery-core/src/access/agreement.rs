//! Whether an index says what the entities of a state say: for whoever looks after a store.

use super::{AccessIndex, IndexFacts};
use crate::decision::Facts as _;
use crate::id::{Id as _, Kind};
use crate::resource::Resource;
use crate::state::State;

impl AccessIndex {
    /// The first thing of the state of which the index says something else. `None` as well if the account has outgrown the
    /// index, which says nothing then.
    pub fn disagreement(&self, state: &State) -> Option<(Kind, u32)> {
        self.read(state.latest(), |facts| first(facts, state))?.0
    }
}

fn first(facts: IndexFacts<'_>, state: &State) -> Option<(Kind, u32)> {
    let users = state.users.keys();
    let mut users = users.filter(|id| facts.principal(**id) != state.principal(**id));
    let place = |on: Resource| facts.place(on) != state.place(on);
    let mut organizations = state.organizations.keys().filter(|id| place((**id).into()));
    let mut spaces = state.spaces.keys().filter(|id| place((**id).into()));
    let mut projects = state.projects.keys().filter(|id| place((**id).into()));
    let roles = state.roles.keys();
    let mut roles = roles.filter(|id| facts.permissions(**id) != state.permissions(**id));
    let mut in_organizations = state
        .organization_memberships
        .iter()
        .filter(|one| facts.organization_role(one.user, one.organization) != Some(one.role));
    let mut in_spaces = state
        .space_memberships
        .iter()
        .filter(|one| facts.space_role(one.user, one.space) != Some(one.role));
    let mut bindings = state
        .space_bindings
        .iter()
        .chain(state.project_bindings.iter())
        .filter(|one| facts.bound_role(one.user, one.resource) != Some(one.role));
    users
        .next()
        .map(|id| (Kind::User, id.number()))
        .or_else(|| {
            let id = organizations.next()?;
            Some((Kind::Organization, id.number()))
        })
        .or_else(|| spaces.next().map(|id| (Kind::Space, id.number())))
        .or_else(|| projects.next().map(|id| (Kind::Project, id.number())))
        .or_else(|| roles.next().map(|id| (Kind::Role, id.number())))
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
