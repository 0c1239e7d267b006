//! What goes with a thing that is deleted (`contract/authorization.md` §11). Each change is written out, so that applying them
//! needs no rule of its own.

use crate::api_key::{ApiKey, KeyOwner};
use crate::change::Change;
use crate::id::{ApiKeyId, OrganizationId, ProjectId, SpaceId, UserId};
use crate::resource::Bindable;
use crate::state::State;
use crate::user::{Identity, Standing, User};

/// The smallest and the largest id of a kind, to take a range over the second half of a key.
const FIRST: u32 = 0;
const LAST: u32 = u32::MAX;

/// A project: its bindings, its restriction, itself.
pub(super) fn project(state: &State, id: ProjectId, changes: &mut Vec<Change>) {
    bindings_on(state, Bindable::Project(id), changes);
    if state.restriction(id).is_some() {
        changes.push(Change::DeleteRestriction(id));
    }
    changes.push(Change::DeleteProject(id));
}

/// A space: its projects, bindings and memberships, itself.
pub(super) fn space(state: &State, id: SpaceId, changes: &mut Vec<Change>) {
    for project_id in state.projects_in(id) {
        project(state, project_id, changes);
    }
    bindings_on(state, Bindable::Space(id), changes);
    let members = (id, UserId::new(FIRST))..=(id, UserId::new(LAST));
    for (_, membership) in state.members_of_space.range(members) {
        changes.push(Change::DeleteSpaceMembership(*membership));
    }
    changes.push(Change::DeleteSpace(id));
}

/// An organization: its spaces and memberships, itself, and the service keys that are left without any space.
pub(super) fn organization(state: &State, id: OrganizationId, changes: &mut Vec<Change>) {
    let spaces: Vec<SpaceId> = state.spaces_in(id).collect();
    let is_inside = |space: SpaceId| spaces.binary_search(&space).is_ok();
    // Keys by their bots: those who stand in a space that goes, and in none that stays.
    for (key, bot) in state.service_keys() {
        let mut stands_in = state.spaces_bound_to(bot).peekable();
        if !key.is_revoked && stands_in.peek().is_some() && stands_in.all(is_inside) {
            revoke(key, changes);
            retire_bot(state, bot, changes);
        }
    }
    for space_id in &spaces {
        space(state, *space_id, changes);
    }
    let members = (id, UserId::new(FIRST))..=(id, UserId::new(LAST));
    for (_, membership) in state.members_of_organization.range(members) {
        changes.push(Change::DeleteOrganizationMembership(*membership));
    }
    changes.push(Change::DeleteOrganization(id));
    once_each(changes);
}

/// A user's place in an organization: the membership, and everything they hold in its spaces and projects.
pub(super) fn member(
    state: &State,
    organization: OrganizationId,
    user: UserId,
    changes: &mut Vec<Change>,
) {
    for binding in state.role_bindings_of(user) {
        let space = match binding.resource {
            Bindable::Space(space) => Some(space),
            Bindable::Project(project) => state.project(project).map(|project| project.space),
        };
        let space = space.and_then(|space| state.space(space));
        if space.is_some_and(|space| space.organization == organization) {
            changes.push(Change::DeleteRoleBinding(binding.id));
        }
    }
    for space in state.spaces_in(organization) {
        if let Some(membership) = state.space_membership(space, user) {
            changes.push(Change::DeleteSpaceMembership(membership.id));
        }
    }
    if let Some(membership) = state.organization_membership(organization, user) {
        changes.push(Change::DeleteOrganizationMembership(membership.id));
    }
}

/// Everything that a user holds anywhere.
pub(super) fn holdings(state: &State, user: UserId, changes: &mut Vec<Change>) {
    for binding in state.role_bindings_of(user) {
        changes.push(Change::DeleteRoleBinding(binding.id));
    }
    let spaces = (user, SpaceId::new(FIRST))..=(user, SpaceId::new(LAST));
    for (_, space) in state.spaces_of_user.range(spaces) {
        if let Some(membership) = state.space_membership(*space, user) {
            changes.push(Change::DeleteSpaceMembership(membership.id));
        }
    }
    let organizations = (user, OrganizationId::new(FIRST))..=(user, OrganizationId::new(LAST));
    for (_, organization) in state.organizations_of_user.range(organizations) {
        if let Some(membership) = state.organization_membership(*organization, user) {
            changes.push(Change::DeleteOrganizationMembership(membership.id));
        }
    }
}

/// A bot whose key is gone: kept for the audit trail, with nothing in its hands.
pub(super) fn retire_bot(state: &State, bot: UserId, changes: &mut Vec<Change>) {
    holdings(state, bot, changes);
    if let Some(user) = state.user(bot) {
        changes.push(Change::PutUser(User {
            standing: Standing::Inactive,
            ..user.as_ref().clone()
        }));
    }
}

/// A key ends for good, with the secret in its grace time.
pub(super) fn revoke(key: &ApiKey, changes: &mut Vec<Change>) {
    changes.push(Change::PutApiKey(ApiKey {
        is_revoked: true,
        previous: None,
        ..key.clone()
    }));
}

fn bindings_on(state: &State, resource: Bindable, changes: &mut Vec<Change>) {
    let holders = (resource, UserId::new(FIRST))..=(resource, UserId::new(LAST));
    for (_, binding) in state.bindings_on.range(holders) {
        changes.push(Change::DeleteRoleBinding(*binding));
    }
}

/// Deletes reach some things on two ways (a bot's binding, by the bot and by the space): the first one counts.
fn once_each(changes: &mut Vec<Change>) {
    let mut seen = std::collections::BTreeSet::new();
    changes.retain(|change| !change.is_delete() || seen.insert(change.key()));
}

/// Ranges over the derived maps.
impl State {
    /// The spaces of an organization, by id.
    pub(crate) fn spaces_in(&self, organization: OrganizationId) -> impl Iterator<Item = SpaceId> {
        let mut spaces: Vec<SpaceId> = self
            .spaces_by_name
            .range((organization, crate::text::Name::first())..)
            .take_while(|((parent, _), _)| *parent == organization)
            .map(|(_, space)| *space)
            .collect();
        spaces.sort_unstable();
        spaces.into_iter()
    }

    /// The projects of a space, by id.
    pub(crate) fn projects_in(&self, space: SpaceId) -> impl Iterator<Item = ProjectId> {
        let mut projects: Vec<ProjectId> = self
            .projects_by_name
            .range((space, crate::text::Name::first())..)
            .take_while(|((parent, _), _)| *parent == space)
            .map(|(_, project)| *project)
            .collect();
        projects.sort_unstable();
        projects.into_iter()
    }

    /// A user's role bindings, by id.
    pub(crate) fn role_bindings_of(
        &self,
        user: UserId,
    ) -> impl Iterator<Item = crate::role_binding::RoleBinding> {
        let range = (user, crate::id::RoleBindingId::new(FIRST))..;
        self.bindings_of_user
            .range(range)
            .take_while(move |(holder, _)| *holder == user)
            .filter_map(|(_, id)| self.role_binding(*id))
    }

    /// The spaces in which a user has a membership or a binding, each once.
    pub fn spaces_bound_to(&self, user: UserId) -> impl Iterator<Item = SpaceId> {
        let memberships = self
            .spaces_of_user
            .range((user, SpaceId::new(FIRST))..=(user, SpaceId::new(LAST)))
            .map(|(_, space)| *space);
        let bindings = self
            .role_bindings_of(user)
            .filter_map(|binding| match binding.resource {
                Bindable::Space(space) => Some(space),
                Bindable::Project(_) => None,
            });
        let spaces: std::collections::BTreeSet<SpaceId> = memberships.chain(bindings).collect();
        spaces.into_iter()
    }

    /// Every service key with its bot user.
    pub(crate) fn service_keys(&self) -> impl Iterator<Item = (&ApiKey, UserId)> {
        self.api_keys.values().filter_map(|key| match key.owner {
            KeyOwner::Service(bot) => Some((key.as_ref(), bot)),
            KeyOwner::User(_) => None,
        })
    }

    /// The user keys of a person.
    pub(crate) fn user_keys_of(&self, user: UserId) -> impl Iterator<Item = &ApiKey> {
        self.api_keys
            .values()
            .map(AsRef::as_ref)
            .filter(move |key| key.owner == KeyOwner::User(user))
    }

    /// The key that a bot lives by.
    pub fn key_of_bot(&self, bot: UserId) -> Option<ApiKeyId> {
        match self.user(bot)?.identity {
            Identity::Bot { key } => Some(key),
            Identity::Human { .. } => None,
        }
    }
}
