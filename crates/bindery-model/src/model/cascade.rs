//! What ends with what (`docs/rules/authorization.md` §11).

use bindery_core::api_key::KeyOwner;
use bindery_core::id::{ApiKeyId, OrganizationId, ProjectId, SpaceId, UserId};
use bindery_core::resource::Bindable;
use bindery_core::user::Standing;

use super::Model;

impl Model {
    /// A project, with its bindings and its restriction.
    pub(super) fn drop_project(&mut self, id: ProjectId) {
        self.role_bindings
            .retain(|binding| binding.resource != Bindable::Project(id));
        self.restrictions.retain(|one| one.project != id);
        self.projects.retain(|project| project.id != id);
    }

    /// A space, with projects, memberships and bindings.
    pub(super) fn drop_space(&mut self, id: SpaceId) {
        for project in self.projects.clone() {
            if project.space == id {
                self.drop_project(project.id);
            }
        }
        self.role_bindings
            .retain(|binding| binding.resource != Bindable::Space(id));
        self.space_memberships.retain(|one| one.space != id);
        self.spaces.retain(|space| space.id != id);
    }

    /// An organization, with memberships and all its spaces. A service key with a place there and without
    /// another space is revoked.
    pub(super) fn drop_organization(&mut self, id: OrganizationId) {
        let mut places_there: Vec<UserId> = Vec::new();
        for one in &self.organization_memberships {
            if one.organization == id {
                places_there.push(one.user);
            }
        }
        let bound_before = self.service_keys_with_a_space();
        for space in self.spaces.clone() {
            if space.organization == id {
                self.drop_space(space.id);
            }
        }
        self.organization_memberships
            .retain(|one| one.organization != id);
        self.organizations.retain(|one| one.id != id);
        let bound_after = self.service_keys_with_a_space();
        for key in bound_before {
            if !bound_after.contains(&key) {
                self.revoke_by_hand(key);
            }
        }
        for user in places_there {
            self.revoke_without_space(user);
        }
    }

    /// The key of a bot that has no space any more.
    pub(super) fn revoke_without_space(&mut self, user: UserId) {
        if self.spaces_bound_to(user).is_empty() {
            let mut of_bot = Vec::new();
            for key in &self.api_keys {
                if key.owner == KeyOwner::Service(user) {
                    of_bot.push(key.id);
                }
            }
            for key in of_bot {
                self.revoke_by_hand(key);
            }
        }
    }

    /// A user's membership in an organization, and in all its spaces memberships, space bindings and project
    /// bindings.
    pub(super) fn drop_member(&mut self, user: UserId, organization: OrganizationId) {
        let inside: Vec<SpaceId> = self
            .spaces
            .iter()
            .filter(|space| space.organization == organization)
            .map(|space| space.id)
            .collect();
        let projects: Vec<ProjectId> = self
            .projects
            .iter()
            .filter(|project| inside.contains(&project.space))
            .map(|project| project.id)
            .collect();
        self.organization_memberships
            .retain(|one| one.user != user || one.organization != organization);
        self.space_memberships
            .retain(|one| one.user != user || !inside.contains(&one.space));
        self.role_bindings.retain(|binding| {
            let is_inside = match binding.resource {
                Bindable::Space(space) => inside.contains(&space),
                Bindable::Project(project) => projects.contains(&project),
            };
            binding.user != user || !is_inside
        });
    }

    /// Everything that a user holds anywhere.
    pub(super) fn drop_holdings(&mut self, user: UserId) {
        self.organization_memberships.retain(|one| one.user != user);
        self.space_memberships.retain(|one| one.user != user);
        self.role_bindings.retain(|binding| binding.user != user);
    }

    /// A revoked service key keeps the spaces that it still reaches, and so do the keys that it made.
    pub(super) fn revoke_by_hand(&mut self, id: ApiKeyId) {
        if self.api_key(id).is_some_and(|key| key.is_revoked) {
            return;
        }
        let mut reached = Vec::new();
        let mut makers = vec![id];
        while let Some(id) = makers.pop() {
            if let Some(KeyOwner::Service(bot)) = self.api_key(id).map(|key| key.owner)
                && reached.iter().all(|(other, _)| *other != id)
            {
                reached.push((id, self.spaces_bound_to(bot)));
                makers.extend(self.ending_with(bot));
            }
        }
        self.revoke(id);
        for key in &mut self.api_keys {
            for (id, spaces) in &reached {
                if key.id == *id {
                    key.last_spaces.clone_from(spaces);
                }
            }
        }
    }

    /// The keys that a bot made or learned the secret of, and that aren't revoked.
    pub(super) fn ending_with(&self, bot: UserId) -> Vec<ApiKeyId> {
        let mut made = Vec::new();
        for key in &self.api_keys {
            if (key.created_by == bot || key.ends_with == Some(bot)) && !key.is_revoked {
                made.push(key.id);
            }
        }
        made
    }

    /// A key, including its old secret in its grace period. For a service key also its bot, which stays
    /// without any rights, and all keys that end with the bot.
    pub(super) fn revoke(&mut self, id: ApiKeyId) {
        for key in &mut self.api_keys {
            if key.id == id {
                key.is_revoked = true;
                key.previous = None;
                key.is_enforcement_point = false;
            }
        }
        if let Some(KeyOwner::Service(bot)) = self.api_key(id).map(|key| key.owner) {
            self.drop_holdings(bot);
            self.make_inactive(bot);
            for key in self.ending_with(bot) {
                self.revoke(key);
            }
        }
    }

    pub(super) fn make_inactive(&mut self, id: UserId) {
        for user in &mut self.users {
            if user.id == id {
                user.standing = Standing::Inactive;
            }
        }
        self.credentials.retain(|one| one.user != id);
    }

    /// The spaces on which a user has a membership or a binding.
    pub(super) fn spaces_bound_to(&self, user: UserId) -> Vec<SpaceId> {
        let mut bound = Vec::new();
        for space in &self.spaces {
            if self.space_membership(user, space.id).is_some()
                || self.binding_on(user, Bindable::Space(space.id)).is_some()
            {
                bound.push(space.id);
            }
        }
        bound
    }

    fn service_keys_with_a_space(&self) -> Vec<ApiKeyId> {
        let mut bound = Vec::new();
        for key in &self.api_keys {
            if let KeyOwner::Service(bot) = key.owner
                && !self.spaces_bound_to(bot).is_empty()
            {
                bound.push(key.id);
            }
        }
        bound
    }
}
