//! What goes with a thing that is deleted (`docs/rules/authorization.md` §11). Each change is written out, so that applying them
//! needs no rule of its own.

use std::collections::BTreeSet;

use crate::api_key::{ApiKey, KeyOwner};
use crate::change::Change;
use crate::id::{ApiKeyId, Id as _, OrganizationId, ProjectId, RoleBindingId, SpaceId, UserId};
use crate::listing::{Candidates, KeyKind, Marked, Privacy, Validity, under};
use crate::resource::Bindable;
use crate::role_binding::RoleBinding;
use crate::state::State;
use crate::time::Timestamp;
use crate::user::{Identity, Standing, User};

/// A project: its bindings, its restriction, itself.
pub(super) fn project(state: &State, id: ProjectId, changes: &mut Vec<Change>) {
    let bindings = under(
        state.project_bindings.by_resource(),
        id,
        RoleBindingId::NOBODY,
    );
    changes.extend(bindings.map(Change::DeleteRoleBinding));
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
    let bindings = under(
        state.space_bindings.by_resource(),
        id,
        RoleBindingId::NOBODY,
    );
    changes.extend(bindings.map(Change::DeleteRoleBinding));
    let members = state.members_of_space.from((id, UserId::NOBODY));
    for member in members.take_while(|member| member.key.0 == id) {
        changes.push(Change::DeleteSpaceMembership(member.value));
    }
    changes.push(Change::DeleteSpace(id));
}

/// An organization: its spaces and memberships, itself, and the service keys that are left without any space.
pub(super) fn organization(state: &State, id: OrganizationId, changes: &mut Vec<Change>) {
    let spaces: Vec<SpaceId> = state.spaces_in(id).collect();
    let is_inside = |space: SpaceId| spaces.binary_search(&space).is_ok();
    // Keys whose bots stand in a space that goes, and in none that stays.
    let mut keys: BTreeSet<ApiKeyId> = spaces
        .iter()
        .flat_map(|space| state.service_keys_in(*space))
        .collect();
    // And those whose spaces went before, one by one.
    let members = || {
        let members = state.members_of_organization.from((id, UserId::NOBODY));
        members.take_while(|member| member.key.0 == id)
    };
    keys.extend(members().filter_map(|member| key_of_bot(state, member.key.1)));
    let mut ended = BTreeSet::new();
    for key in keys.into_iter().filter_map(|key| state.api_key(key)) {
        let bot = key.principal();
        if !key.is_revoked && state.spaces_bound_to(bot).all(is_inside) {
            end_service_key(
                state,
                key,
                |_, space| !is_inside(space),
                &mut ended,
                changes,
            );
        }
    }
    for space_id in &spaces {
        space(state, *space_id, changes);
    }
    for member in members() {
        changes.push(Change::DeleteOrganizationMembership(member.value));
    }
    changes.push(Change::DeleteOrganization(id));
    once_each(changes);
}

/// The key that this user is the bot of.
fn key_of_bot(state: &State, user: UserId) -> Option<ApiKeyId> {
    match state.user(user)?.identity {
        Identity::Bot { key } => Some(key),
        Identity::Human { .. } => None,
    }
}

/// A bot that leaves an organization and has no space in another: its key has nothing left to act on.
pub(super) fn bot_without_space(
    state: &State,
    organization: OrganizationId,
    user: UserId,
    changes: &mut Vec<Change>,
) {
    let stays_in = |space: SpaceId| {
        let space = state.space(space);
        space.is_some_and(|space| space.organization != organization)
    };
    let key = key_of_bot(state, user).and_then(|key| state.api_key(key));
    if let Some(key) = key
        && !key.is_revoked
        && !state.spaces_bound_to(user).any(stays_in)
    {
        // Those that it made stay where they are until they end.
        let is_kept = |one: &ApiKey, _| one.id != key.id;
        end_service_key(state, key, is_kept, &mut BTreeSet::new(), changes);
        once_each(changes);
    }
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
    let is_inside = |space: &SpaceId| {
        let space = state.space(*space);
        space.is_some_and(|space| space.organization == organization)
    };
    let seats = under(&state.spaces_of_user, user, SpaceId::NOBODY);
    for space in seats.filter(is_inside) {
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
    for space in under(&state.spaces_of_user, user, SpaceId::NOBODY) {
        if let Some(membership) = state.space_membership(space, user) {
            changes.push(Change::DeleteSpaceMembership(membership.id));
        }
    }
    for organization in under(&state.organizations_of_user, user, OrganizationId::NOBODY) {
        if let Some(membership) = state.organization_membership(organization, user) {
            changes.push(Change::DeleteOrganizationMembership(membership.id));
        }
    }
}

/// Whether [`holdings`] would find anything.
pub(super) fn holds_anything(state: &State, user: UserId) -> bool {
    let mut held = Vec::new();
    holdings(state, user, &mut held);
    !held.is_empty()
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

/// Revokes a service key, those that it made and those whose secrets it learned, at any depth.
pub(super) fn revoke_service_key(state: &State, key: &ApiKey, changes: &mut Vec<Change>) {
    end_service_key(state, key, |_, _| true, &mut BTreeSet::new(), changes);
}

/// Revokes the service keys that a user made.
pub(super) fn revoke_service_keys_of(state: &State, user: UserId, changes: &mut Vec<Change>) {
    for key in state.valid_service_keys_of(user) {
        // What the command itself puts is newer.
        let put = Change::PutApiKey(key.clone()).key();
        if changes.iter().all(|change| change.key() != put) {
            revoke_service_key(state, key, changes);
        }
    }
    once_each(changes);
}

/// Each of the keys that end keeps its last spaces for which `is_kept` says so: who may read it is decided there.
fn end_service_key(
    state: &State,
    key: &ApiKey,
    is_kept: impl Fn(&ApiKey, SpaceId) -> bool,
    ended: &mut BTreeSet<ApiKeyId>,
    changes: &mut Vec<Change>,
) {
    let mut waiting = vec![key];
    while let Some(key) = waiting.pop() {
        if !ended.insert(key.id) {
            continue;
        }
        let KeyOwner::Service(bot) = key.owner else {
            revoke(key, changes);
            continue;
        };
        let mut last_spaces = state.spaces_of_key(key);
        last_spaces.retain(|space| is_kept(key, *space));
        let last = ApiKey {
            last_spaces,
            ..key.clone()
        };
        revoke(&last, changes);
        retire_bot(state, bot, changes);
        waiting.extend(state.keys_that_end_with(bot));
    }
}

/// What a service key made, and what it learned the secret of, at any depth, ends no later than it.
pub(crate) fn shorten_what_ends_with(
    state: &State,
    bot: UserId,
    end: Timestamp,
    changes: &mut Vec<Change>,
) {
    let mut bots = vec![bot];
    let mut seen = BTreeSet::new();
    while let Some(bot) = bots.pop() {
        for key in state.keys_that_end_with(bot) {
            if !seen.insert(key.id) {
                continue;
            }
            if key.expires_at.is_none_or(|own| end < own) {
                changes.push(Change::PutApiKey(ApiKey {
                    expires_at: Some(end),
                    ..key.clone()
                }));
            }
            if let KeyOwner::Service(bot) = key.owner {
                bots.push(bot);
            }
        }
    }
}

/// A key ends for good, with the secret in its grace time.
pub(super) fn revoke(key: &ApiKey, changes: &mut Vec<Change>) {
    changes.push(Change::PutApiKey(ApiKey {
        is_revoked: true,
        previous: None,
        is_enforcement_point: false,
        ..key.clone()
    }));
}

/// Deletes reach some things on two ways (a bot's binding, by the bot and by the space): the first one counts.
fn once_each(changes: &mut Vec<Change>) {
    let mut seen = BTreeSet::new();
    changes.retain(|change| !change.is_delete() || seen.insert(change.key()));
}

/// Ranges over the derived maps.
impl State {
    /// The spaces of an organization, by id.
    pub(crate) fn spaces_in(&self, organization: OrganizationId) -> impl Iterator<Item = SpaceId> {
        let mut spaces = Candidates::behind(SpaceId::NOBODY);
        for privacy in Privacy::ALL {
            spaces.add(
                &self.listing.spaces_of_organization,
                (organization, privacy),
            );
        }
        spaces.merged()
    }

    /// The projects of a space, by id.
    pub(crate) fn projects_in(&self, space: SpaceId) -> impl Iterator<Item = ProjectId> {
        let mut projects = Candidates::behind(ProjectId::NOBODY);
        for mark in Marked::ALL {
            projects.add(&self.listing.projects_of_space, (space, mark));
        }
        projects.merged()
    }

    /// A user's role bindings, those on spaces first, by id.
    pub(crate) fn role_bindings_of(&self, user: UserId) -> impl Iterator<Item = RoleBinding> {
        let first = RoleBindingId::NOBODY;
        self.space_bindings
            .ids_of(user, first)
            .chain(self.project_bindings.ids_of(user, first))
            .filter_map(|id| self.role_binding(id))
    }

    /// The spaces in which a user has a membership or a binding, each once, by id.
    pub fn spaces_bound_to(&self, user: UserId) -> impl Iterator<Item = SpaceId> {
        let mut spaces = Candidates::behind(SpaceId::NOBODY);
        spaces.add(&self.spaces_of_user, user);
        spaces.add_found(|after| self.space_bindings.bound_by(user, after));
        spaces.merged()
    }

    /// The spaces that a service key reaches, or reached when it was revoked: who may read it is decided there.
    pub(crate) fn spaces_of_key(&self, key: &ApiKey) -> Vec<SpaceId> {
        if key.is_revoked {
            let last = key.last_spaces.iter().copied();
            last.filter(|space| self.space(*space).is_some()).collect()
        } else {
            self.spaces_bound_to(key.principal()).collect()
        }
    }

    /// The service keys whose bots have a seat in a space.
    pub(crate) fn service_keys_in(&self, space: SpaceId) -> impl Iterator<Item = ApiKeyId> {
        let keys = &self.listing.service_keys_of_space;
        under(keys, space, ApiKeyId::NOBODY)
    }

    /// The user keys of a person that aren't revoked: who makes one owns it.
    pub(crate) fn valid_user_keys_of(&self, user: UserId) -> impl Iterator<Item = &ApiKey> {
        let keys = &self.listing.keys_of_creator;
        under(
            keys,
            (user, KeyKind::User, Validity::Valid),
            ApiKeyId::NOBODY,
        )
        .filter_map(|key| self.api_key(key))
        .map(AsRef::as_ref)
    }

    /// The service keys that a person or bot made and that aren't revoked.
    pub(crate) fn valid_service_keys_of(&self, user: UserId) -> impl Iterator<Item = &ApiKey> {
        let keys = &self.listing.keys_of_creator;
        under(
            keys,
            (user, KeyKind::Service, Validity::Valid),
            ApiKeyId::NOBODY,
        )
        .filter_map(|key| self.api_key(key))
        .map(AsRef::as_ref)
    }

    /// The valid keys that end with a bot's key: those that the bot made, and those whose secrets it learned.
    pub(crate) fn keys_that_end_with(&self, bot: UserId) -> impl Iterator<Item = &ApiKey> {
        let learned = under(&self.listing.keys_that_end_with, bot, ApiKeyId::NOBODY);
        let learned = learned.filter_map(|key| self.api_key(key));
        (self.valid_service_keys_of(bot)).chain(learned.map(AsRef::as_ref))
    }

    /// The key that a bot lives by.
    pub fn key_of_bot(&self, bot: UserId) -> Option<ApiKeyId> {
        match self.user(bot)?.identity {
            Identity::Bot { key } => Some(key),
            Identity::Human { .. } => None,
        }
    }
}
